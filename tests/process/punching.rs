//! Members behind NATs: linked through the bootstrap's relay at first, directly as soon as that can be.
//! Owns: hole punching, seen from outside, through NATs that the kernel makes.
//! Must not know: how it is done.
//! Invariants: as in `main.rs`; where the system gives no namespaces of one's own, the tests say so
//! and check nothing.
//! Start reading at: [`Town`].
//!
//! ```text
//!  alice 192.168.1.2 -- 192.168.1.1 NAT 198.51.100.2 --+
//!                                                   the world, 192.0.2.1: bootstrap, authority
//!  bob   192.168.2.2 -- 192.168.2.1 NAT 203.0.113.2 ---+
//! ```

use std::time::Instant;

use crate::harness::{LONG, LOOK, Lab, Proc, Value, json, list};
use crate::net::Net;

/// As routers at home do: all share one address, as many as can keep their ports; what nobody
/// asked for is dropped.
const USUAL: &str = "masquerade";
/// Every destination gets to see another port.
const HARD: &str = "masquerade random,fully-random";

/// The world with two homes, and who lives there. Networks end after the processes in them.
struct Town {
    alice: Proc,
    bob: Proc,
    bootstrap: Proc,
    _keyauth: Proc,
    world: Net,
    _homes: Vec<Net>,
    _lab: Lab,
}

/// A home's network behind a router.
fn home(world: &Net, lab: &Lab, name: &str, lan: &str, wan: &str, nat: &str) -> Option<[Net; 2]> {
    let router = world.beside(lab, &format!("{name}'s router"))?;
    let home = world.beside(lab, &format!("{name}'s home"))?;
    let port = format!("to-{name}");
    world.cable(&port, &router, "wan");
    world.ip(&format!("addr add {wan}.1/24 dev {port}"));
    router.cable("lan", &home, "eth");
    router.ip(&format!("addr add {wan}.2/24 dev wan"));
    router.ip(&format!("addr add {lan}.1/24 dev lan"));
    router.ip(&format!("route add default via {wan}.1"));
    home.ip(&format!("addr add {lan}.2/24 dev eth"));
    home.ip(&format!("route add default via {lan}.1"));
    router.run("echo 1 > /proc/sys/net/ipv4/ip_forward", "");
    let rules = format!(
        "table ip nat {{\n\
         chain out {{ type nat hook postrouting priority 100; oifname wan {nat}; }}\n\
         chain in {{ type filter hook input priority 0; policy drop;\n\
         ct state established,related accept; iifname lan accept; }}\n\
         chain through {{ type filter hook forward priority 0; policy drop;\n\
         ct state established,related accept; iifname lan accept; }}\n}}\n"
    );
    router.run("nft -f -", &rules);
    Some([router, home])
}

impl Town {
    /// Two members that are linked through the relay, since nothing goes from NAT to NAT yet.
    fn new(nat: &str) -> Option<Self> {
        let mut lab = Lab::new().with("LOG", "p2pgroup=info");
        let world = Net::first(&lab, "the world")?;
        world.ip("addr add 192.0.2.1/32 dev lo");
        world.run("echo 1 > /proc/sys/net/ipv4/ip_forward", "");
        let rules = "table ip between {\n\
                     chain through { type filter hook forward priority 0; policy drop; }\n}\n";
        world.run("nft -f - || { echo install nftables; exit 1; }", rules);
        let [router_a, home_a] = home(&world, &lab, "alice", "192.168.1", "198.51.100", nat)?;
        let [router_b, home_b] = home(&world, &lab, "bob", "192.168.2", "203.0.113", nat)?;
        (lab.bootstrap, lab.keyauth) = ("192.0.2.1:9001".to_owned(), "192.0.2.1:8999".to_owned());
        let (bootstrap, _) = world.server(&lab, "bootstrap", &lab.bootstrap);
        let (keyauth, ready) = world.server(&lab, "keyauth", &lab.keyauth);
        let authority = ready["network"].as_str().unwrap().to_owned();
        let join = |net: &Net, name: &str| {
            lab.prepare(name, &format!("{name}.pem"));
            let mut args = lab.join_args(name, &["--no-embedded", "--authority", &authority]);
            let any = args.iter_mut().filter(|it| *it == "127.0.0.1:0");
            any.for_each(|it| *it = "0.0.0.0:0".into());
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let member = net.start(&lab, name, &args);
            member.ready();
            member
        };
        let (alice, bob) = (join(&home_a, "alice"), join(&home_b, "bob"));
        let homes = vec![router_a, home_a, router_b, home_b];
        let town =
            Self { alice, bob, bootstrap, _keyauth: keyauth, world, _homes: homes, _lab: lab };
        for (member, other) in [(&town.alice, "bob"), (&town.bob, "alice")] {
            member.until("it is linked", |status| transport(status, other).is_some());
            assert_eq!(transport(&member.status(), other).as_deref(), Some("relay"));
        }
        Some(town)
    }

    /// Lets this protocol through from one NAT to the other.
    fn open(&self, protocol: &str) {
        let rule = format!("add rule ip between through meta l4proto {protocol} accept\n");
        self.world.run("nft -f -", &rule);
    }

    /// Waits until whoever leads has tried once more in vain.
    fn fails(&self, times: usize) {
        let deadline = Instant::now() + LONG;
        let failures = |member: &Proc| member.stderr().matches("a link stays relayed").count();
        while failures(&self.alice) + failures(&self.bob) < times {
            let stories = || [self.alice.story(), self.bob.story()].join("\n");
            assert!(Instant::now() < deadline, "no attempt failed\n{}", stories());
            std::thread::sleep(LOOK);
        }
    }

    /// Both talk until this is so, and some more; all must come, once and in order.
    fn talk_until(&self, is: impl Fn(&Value, &Value) -> bool) {
        let (deadline, mut said, mut last) = (Instant::now() + LONG, 0, usize::MAX);
        while said < last {
            for (member, name) in [(&self.alice, "alice"), (&self.bob, "bob")] {
                for n in said..said + 20 {
                    let text = format!("{name} {n}");
                    member.order(&json!({"cmd": "send", "room": "main", "text": text}));
                }
            }
            said += 20;
            let (one, other) = (self.alice.status(), self.bob.status());
            if is(&one, &other) {
                last = last.min(said + 100);
            }
            let stories = || [self.alice.story(), self.bob.story()].join("\n");
            assert!(Instant::now() < deadline, "waited in vain\n{}", stories());
        }
        for (member, name) in [(&self.alice, "bob"), (&self.bob, "alice")] {
            let wanted: Vec<String> = (0..said).map(|n| format!("{name} {n}")).collect();
            member.hear(wanted.last().unwrap());
            let heard = member.heard();
            let theirs: Vec<&String> =
                heard.iter().filter(|text| text.split(' ').next() == Some(name)).collect();
            assert_eq!(theirs, wanted.iter().collect::<Vec<_>>());
            member.assert_heard_once();
        }
        let (one, other) = (self.alice.status(), self.bob.status());
        assert!(is(&one, &other), "{one}\n{other}");
    }

    fn end(&self) {
        self.alice.exit();
        self.bob.exit();
    }
}

fn transport(status: &Value, name: &str) -> Option<String> {
    let link = list(&status["links"]).iter().find(|it| it["name"] == name)?;
    link["transport"].as_str().map(str::to_owned)
}

fn are_both(one: &Value, other: &Value, way: &str) -> bool {
    [transport(one, "bob"), transport(other, "alice")].iter().all(|it| it.as_deref() == Some(way))
}

/// A relayed link becomes one over this transport while both talk, and needs no bootstrap then.
fn becomes_direct(protocol: &str, way: &str) {
    let Some(town) = Town::new(USUAL) else {
        eprintln!("no network namespaces of one's own here: hole punching is not tested");
        return;
    };
    town.fails(1);
    town.open(protocol);
    town.talk_until(|one, other| are_both(one, other, way));
    let nat = |member: &Proc, name: &str| {
        let status = member.status();
        let link = list(&status["links"]).iter().find(|it| it["name"] == name).unwrap();
        link["address"].as_str().unwrap().split('/').nth(2).unwrap().to_owned()
    };
    assert_eq!(nat(&town.alice, "bob"), "203.0.113.2");
    assert_eq!(nat(&town.bob, "alice"), "198.51.100.2");
    town.bootstrap.kill();
    town.alice.say("nobody relays this");
    town.bob.hear("nobody relays this");
    town.bob.say("nor that");
    town.alice.hear("nor that");
    assert!(are_both(&town.alice.status(), &town.bob.status(), way));
    for (member, name) in [(&town.alice, "bob"), (&town.bob, "alice")] {
        let is_end =
            |it: &Value| it["event"] == "member" && it["name"] == name && it["state"] != "active";
        assert!(!member.events().iter().any(is_end), "it ended\n{}", member.story());
    }
    town.end();
}

#[test]
fn two_behind_nats_come_from_the_relay_to_a_direct_link_over_quic_and_nothing_is_lost() {
    becomes_direct("udp", "quic");
}

#[test]
fn two_behind_nats_come_from_the_relay_to_a_direct_link_over_tcp_and_nothing_is_lost() {
    becomes_direct("tcp", "tcp");
}

#[test]
fn two_behind_nats_that_no_hole_goes_through_talk_on_through_the_relay() {
    let Some(town) = Town::new(HARD) else {
        eprintln!("no network namespaces of one's own here: hole punching is not tested");
        return;
    };
    town.open("udp");
    town.open("tcp");
    town.fails(1);
    town.talk_until(|one, other| are_both(one, other, "relay"));
    town.fails(2);
    town.alice.say("still here");
    town.bob.hear("still here");
    town.end();
}
