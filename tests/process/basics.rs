//! A group starts, talks, remembers.
//! Owns: the ways of the first minute.
//! Must not know: failures beyond one kill.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::time::{Duration, Instant};

use crate::harness::{LONG, Lab, Proc, Value, json, same_talk, settled};

fn embedded(lab: &Lab, name: &str) -> Proc {
    let member = lab.start_with(name, &[]);
    member.ready();
    member
}

#[test]
fn with_nothing_running_the_first_member_hosts_and_the_next_takes_over_when_it_is_killed() {
    let lab = Lab::new();
    let alice = embedded(&lab, "alice");
    alice.wait("it says that it hosts", |e| {
        e["event"] == "info" && e["text"].as_str().is_some_and(|text| text.contains("hosting"))
    });
    let bob = embedded(&lab, "bob");
    alice.say("hello bob");
    bob.hear("hello bob");
    bob.say("hello alice");
    alice.hear("hello alice");
    let dead = alice.kill();
    let (at, _) = bob.wait_from(0, Duration::from_secs(10), "it hosts", |e| {
        e["event"] == "info" && e["text"].as_str().is_some_and(|text| text.contains("hosting"))
    });
    eprintln!("embedded roles taken over after {:?}", at - dead);
    assert!(at - dead < Duration::from_secs(3), "took {:?}", at - dead);
    bob.say("alone");
    let carol = embedded(&lab, "carol");
    carol.hear("alone");
    carol.say("here");
    bob.hear("here");
    assert_eq!(bob.history_of(4), carol.history_of(4));
}

#[test]
fn three_members_with_separate_servers_talk_and_remember_the_same_after_a_restart() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let names = ["alice", "bob", "carol"];
    let members = lab.group(&names);
    for round in 0..5 {
        for member in &members {
            member.say(&format!("{} says {round}", member.name));
        }
    }
    let talk = members[0].history_of(15);
    assert_eq!(talk, members[1].history_of(15));
    assert_eq!(talk, members[2].history_of(15));
    for member in &members {
        member.exit();
    }
    drop(members);
    let members: Vec<Proc> = names.iter().map(|name| lab.join(name)).collect();
    settled(&members);
    for member in &members {
        assert_eq!(member.history(), talk);
    }
    members[2].say("again");
    let talk = members[2].history_of(16);
    assert_eq!(members[0].history_of(16), talk);
    assert_eq!(members[1].history_of(16), talk);
}

fn hosts(member: &Proc) {
    member.wait("it says that it hosts", is_hosting);
}

#[test]
fn the_embedded_roles_go_from_process_to_process_and_survive_the_night() {
    let lab = Lab::new();
    let alice = embedded(&lab, "alice");
    let bob = embedded(&lab, "bob");
    let carol = embedded(&lab, "carol");
    for member in [&alice, &bob, &carol] {
        member.say(&format!("{} was here", member.name));
    }
    same_talk(&[&alice, &bob, &carol], 3);
    hosts(&alice);
    alice.exit();
    // Whichever waited first.
    let (host, other) = if first_to_host(&bob, &carol) { (bob, carol) } else { (carol, bob) };
    hosts(&host);
    host.kill();
    hosts(&other);
    other.say("the last one");
    other.exit();
    // Everybody is gone; the directory of the embedded roles remains.
    let alice = embedded(&lab, "alice");
    hosts(&alice);
    // The last two votes may lie with who was killed: it comes back, too.
    let host = embedded(&lab, &host.name);
    let dave = embedded(&lab, "dave");
    let other = embedded(&lab, &other.name);
    dave.say("good morning");
    same_talk(&[&alice, &host, &other, &dave], 5);
}

/// Whether the first of two came to host.
fn first_to_host(one: &Proc, other: &Proc) -> bool {
    let deadline = Instant::now() + LONG;
    loop {
        match [one, other].map(|it| it.events().iter().any(is_hosting)) {
            [true, false] => return true,
            [false, true] => return false,
            found => assert!(Instant::now() < deadline && found == [false; 2], "{found:?}"),
        }
        one.status();
    }
}

fn is_hosting(e: &Value) -> bool {
    e["event"] == "info" && e["text"].as_str().is_some_and(|text| text.contains("hosting"))
}

#[test]
fn a_flood_from_three_sides_arrives_everywhere_once_and_in_one_order() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let each = 1_000;
    for member in &members {
        let orders: String = (0..each)
            .map(|n| json!({"cmd": "send", "text": format!("{} {n}", member.name)}))
            .map(|order| format!("{order}\n"))
            .collect();
        member.feed(&orders);
    }
    let talk = same_talk(&members.iter().collect::<Vec<_>>(), 3 * each);
    for member in &members {
        member.assert_heard_once();
        let from: Vec<&String> =
            talk.iter().filter(|line| line.contains(&format!("\"{} ", member.name))).collect();
        assert_eq!(from.len(), each);
        assert!(from.iter().zip(0..).all(|(line, n)| line.contains(&format!(" {n}\""))));
    }
}

#[test]
fn what_is_exported_satisfies_openssl() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let home = |name: &str| lab.home(name).to_str().unwrap().to_owned();
    let authority =
        lab.run(&["keyauth", "export", "authority.pem", "--home", &home("keyauth")], "");
    assert_eq!(authority.code, Some(0), "{}", authority.text());
    let own = lab.run(&["id", "export", "alice.pem", "--home", &home("alice")], "");
    assert_eq!(own.code, Some(0), "{}", own.text());
    drop(alice);
    let args = ["verify", "-x509_strict", "-CAfile", "authority.pem", "alice.pem"];
    let mut command = lab.wrapped("openssl", &args);
    if command.spawn().and_then(|mut child| child.wait()).is_err() {
        eprintln!("there is no openssl here to ask");
        return;
    }
    let verified = Proc::start("openssl", command).ended(LONG);
    assert_eq!(verified.code, Some(0), "{}", verified.text());
}
