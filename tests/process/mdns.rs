//! Members that find each other on the local network, with nobody left who knows where they are: two
//! network namespaces and a cable between them.
//! Owns: discovery, seen from outside.
//! Must not know: how it is done.
//! Invariants: as in `main.rs`; where the system gives no namespaces of one's own, the test says so
//! and checks nothing.
//! Start reading at: the test.

use std::process::Command;

use crate::harness::{LOOK, Lab, Proc, Value, json, list};

/// A network of its own, as long as it lives.
struct Net(Proc);

impl Net {
    /// What runs a program in it.
    fn inside<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        vec!["-t", id, "-U", "-n", "--preserve-credentials"]
    }

    fn start(&self, lab: &Lab, name: &str, args: &[&str]) -> Proc {
        let id = self.0.id().to_string();
        let program = crate::harness::program();
        let args = [self.inside(&id), vec![&program], args.to_vec()].concat();
        let mut command = lab.wrapped("nsenter", &args);
        command.env("P2PGROUP_MDNS", "true");
        Proc::start(name, command)
    }

    fn ip(&self, line: &str) {
        let id = self.0.id().to_string();
        let args = [self.inside(&id), vec!["ip"], line.split(' ').collect()].concat();
        let done = Command::new("nsenter").args(&args).output().unwrap();
        assert!(done.status.success(), "ip {line}: {done:?}");
    }
}

/// Two networks with a cable between them; `None`: the system allows none.
fn cabled(lab: &Lab) -> Option<(Net, Net)> {
    let ready = "ip link set lo up && echo up && exec sleep 600";
    let cable = format!("ip link add v0 type veth peer name v1 && {ready}");
    let here = Proc::start("here", lab.wrapped("unshare", &["-rn", "sh", "-c", &cable]));
    let is_up = |proc: &Proc| loop {
        if proc.events().iter().any(|line| line == "up") {
            return true;
        }
        if !proc.is_running() {
            return false;
        }
        std::thread::sleep(LOOK);
    };
    if !is_up(&here) {
        return None;
    }
    let id = here.id().to_string();
    let args = ["-t", &id, "-U", "--preserve-credentials", "unshare", "-n", "sh", "-c", ready];
    let there = Proc::start("there", lab.wrapped("nsenter", &args));
    if !is_up(&there) {
        return None;
    }
    let (here, there) = (Net(here), Net(there));
    here.ip(&format!("link set v1 netns {}", there.0.id()));
    here.ip("link set v0 up");
    there.ip("link set v1 up");
    Some((here, there))
}

fn linked(member: &Proc, name: &str) -> Value {
    member.until("it is linked", |status| {
        list(&status["members"]).iter().any(|it| it["name"] == name && it["linked"] == true)
    })
}

#[test]
fn two_members_find_each_other_on_a_network_where_nobody_knows_where_they_are() {
    let mut lab = Lab::new();
    let Some((here, there)) = cabled(&lab) else {
        eprintln!("no network namespaces of one's own here: discovery is not tested");
        return;
    };
    here.ip("addr add 10.77.0.1/24 dev v0");
    there.ip("addr add 10.77.0.2/24 dev v1");
    let at = |port: &str| format!("10.77.0.1:{port}");
    (lab.bootstrap, lab.keyauth) = (at("9001"), at("8999"));
    let home = |name: &str| lab.home(name).to_str().unwrap().to_owned();
    let server = |role: &str, listen: &str| {
        let args = [role, "--json", "--listen", listen, "--home", &home(role)];
        let server = here.start(&lab, role, &args);
        let ready = server.wait("it is ready", |it| it["event"] == "ready");
        (server, ready)
    };
    let (bootstrap, _) = server("bootstrap", &lab.bootstrap);
    let (keyauth, ready) = server("keyauth", &lab.keyauth);
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
