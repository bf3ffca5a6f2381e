//! A group starts, talks, remembers.
//! Owns: the ways of the first minute.
//! Must not know: failures beyond one kill.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::time::Duration;

use crate::harness::{Lab, Proc, settled};

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
