//! Bootstrap and key authority die, come back, or come back empty.
//! Owns: what members can do meanwhile and afterwards.
//! Must not know: what happens to members beyond that.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::time::Instant;

use crate::harness::{Lab, Proc, leader_of, names, same_talk, settled, voters};

#[test]
fn a_bootstrap_that_is_killed_and_restarted_serves_the_group_again() {
    let lab = Lab::new();
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    bootstrap.kill();
    for member in &members {
        member.until("it misses the bootstrap", |s| s["bootstrap"] == false);
        member.say("talk goes on");
    }
    let talk = same_talk(&[&members[0], &members[1]], 2);
    let carol = lab.start("carol");
    carol.wait("it says what it waits for", |e| e["event"] == "waiting");
    let again = lab.bootstrap();
    let start = Instant::now();
    carol.ready();
    eprintln!("joined {:?} after the bootstrap was back", start.elapsed());
    again.wait("it knows the leader", |e| e["event"] == "leader" && e["name"].is_string());
    assert_eq!(same_talk(&[&carol, &members[0]], 2), talk);
}

#[test]
fn a_bootstrap_that_comes_back_empty_becomes_witness_again_through_the_log() {
    let lab = Lab::new();
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob"]);
    members[0].until("the witness votes", |s| voters(s) == names(&["alice", "bob", "witness"]));
    let before = members[0].status()["control"]["committed"].as_u64().unwrap();
    bootstrap.kill();
    std::fs::remove_dir_all(lab.home("bootstrap")).unwrap();
    members[0].say("while it is gone");
    let _bootstrap = lab.bootstrap();
    for member in &members {
        member.until("the new witness votes", |s| {
            // The old one goes and the new one comes: two entries.
            s["control"]["committed"].as_u64() >= Some(before + 2)
                && voters(s) == names(&["alice", "bob", "witness"])
                && s["bootstrap"] == true
        });
    }
    // Only with the new witness is one of two a majority.
    let at = leader_of(&members);
    let dead = members.remove(at);
    dead.kill();
    let carol = lab.join("carol");
    carol.say("in");
    same_talk(&[&carol, &members[0]], 2);
}

#[test]
fn without_the_key_authority_talk_goes_on_and_a_joiner_waits_and_gets_in_when_it_is_back() {
    let lab = Lab::new();
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    keyauth.kill();
    members[0].say("no authority");
    members[1].hear("no authority");
    let carol = lab.start("carol");
    carol.wait("it says what it waits for", |e| {
        e["event"] == "waiting" && e["text"].as_str().is_some_and(|it| it.contains("key authority"))
    });
    let _keyauth = lab.keyauth();
    let start = Instant::now();
    carol.ready();
    eprintln!("joined {:?} after the key authority was back", start.elapsed());
    same_talk(&[&carol, &members[0]], 1);
    // A member that has its certificate needs no authority at all.
    drop(_keyauth);
    members[1].exit();
    let bob = lab.join("bob");
    same_talk(&[&carol, &members[0], &bob], 1);
}

#[test]
fn joiners_that_come_before_the_servers_wait_and_get_in() {
    let lab = Lab::new();
    let (alice, bob) = (lab.start("alice"), lab.start("bob"));
    for member in [&alice, &bob] {
        member.wait("it says what it waits for", |e| e["event"] == "waiting");
    }
    let (_keyauth, _bootstrap) = (lab.keyauth(), lab.bootstrap());
    one_group(&[alice, bob]);
}

fn one_group(members: &[Proc]) {
    let networks: Vec<_> = members.iter().map(|it| it.ready()["network"].clone()).collect();
    assert!(networks.iter().all(|network| network == &networks[0]), "{networks:?}");
    settled(members);
    for member in members {
        member.say(&format!("{} is here", member.name));
    }
    same_talk(&members.iter().collect::<Vec<_>>(), members.len());
}

#[test]
fn two_first_members_at_once_found_one_group() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    one_group(&[lab.start("alice"), lab.start("bob")]);
}

#[test]
fn three_first_members_at_once_that_may_host_found_one_group() {
    let lab = Lab::new();
    one_group(&["alice", "bob", "carol"].map(|name| lab.start_with(name, &[])));
}
