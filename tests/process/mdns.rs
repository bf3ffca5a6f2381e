//! Members that find each other on the local network, with nobody left who knows where they are: two
//! network namespaces and a cable between them.
//! Owns: discovery, seen from outside.
//! Must not know: how it is done.
//! Invariants: as in `main.rs`; where the system gives no namespaces of one's own, the test says so
//! and checks nothing.
//! Start reading at: the test.

use crate::harness::{Lab, Proc, Value, json, list};
use crate::net::Net;

fn linked(member: &Proc, name: &str) -> Value {
    member.until("it is linked", |status| {
        list(&status["members"]).iter().any(|it| it["name"] == name && it["linked"] == true)
    })
}

#[test]
fn two_members_find_each_other_on_a_network_where_nobody_knows_where_they_are() {
    let mut lab = Lab::new().with("MDNS", "true");
    let nets = Net::first(&lab, "here")
        .and_then(|here| here.beside(&lab, "there").map(|there| (here, there)));
    let Some((here, there)) = nets else {
        eprintln!("no network namespaces of one's own here: discovery is not tested");
        return;
    };
    here.cable("v0", &there, "v1");
    here.ip("addr add 10.77.0.1/24 dev v0");
    there.ip("addr add 10.77.0.2/24 dev v1");
    let at = |port: &str| format!("10.77.0.1:{port}");
    (lab.bootstrap, lab.keyauth) = (at("9001"), at("8999"));
    let (bootstrap, _) = here.server(&lab, "bootstrap", &lab.bootstrap);
    let (keyauth, ready) = here.server(&lab, "keyauth", &lab.keyauth);
    let authority = ready["network"].as_str().unwrap().to_owned();
    let join = |net: &Net, name: &str| {
        lab.prepare(name, &format!("{name}.pem"));
        let more = ["--no-embedded", "--authority", &authority];
        let mut args = lab.join_args(name, &more);
        // Any port, so that an address known from before leads nowhere.
        args.iter_mut().filter(|it| *it == "127.0.0.1:0").for_each(|it| *it = "0.0.0.0:0".into());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        net.start(&lab, name, &args)
    };
    let alice = join(&here, "alice");
    alice.ready();
    let bob = join(&there, "bob");
    bob.ready();
    linked(&alice, "bob");
    bootstrap.kill();
    keyauth.kill();
    bob.exit();
    alice.exit();

    // Another network: other addresses, and nobody to ask.
    here.ip("addr del 10.77.0.1/24 dev v0");
    there.ip("addr del 10.77.0.2/24 dev v1");
    here.ip("addr add 10.78.0.1/24 dev v0");
    there.ip("addr add 10.78.0.2/24 dev v1");
    let (alice, bob) = (join(&here, "alice"), join(&there, "bob"));
    let status = linked(&alice, "bob");
    let link = list(&status["links"]).iter().find(|it| it["name"] == "bob").unwrap();
    assert!(link["address"].as_str().unwrap().starts_with("/ip4/10.78.0.2/"), "{link}");
    assert_eq!(status["bootstrap"], json!(false));
    alice.say("found you");
    bob.hear("found you");
    bob.exit();
    alice.exit();
}
