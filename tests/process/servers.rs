//! Bootstrap and key authority die, come back, or come back empty.
//! Owns: what members can do meanwhile and afterwards.
//! Must not know: what happens to members beyond that.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::time::Instant;

use crate::harness::{LONG, Lab, Proc, leader_of, names, same_talk, settled, voters};

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

#[test]
fn leader_and_bootstrap_die_together_and_the_rest_goes_on() {
    let lab = Lab::new();
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    let at = leader_of(&members);
    let dead = members.remove(at);
    bootstrap.kill();
    dead.kill();
    for member in &members {
        member.say(&format!("{} goes on", member.name));
        member.until("it follows a new leader", |s| {
            s["leader"]["name"].is_string() && s["leader"]["name"] != *dead.name
        });
    }
    let bootstrap = lab.bootstrap();
    bootstrap.wait("it learns the new leader", |e| {
        e["event"] == "leader" && e["name"].is_string() && e["name"] != *dead.name
    });
    members.push(lab.join(&dead.name));
    members.push(lab.join("dave"));
    settled(&members);
    same_talk(&members.iter().collect::<Vec<_>>(), 2);
}

#[test]
fn after_a_power_cut_everything_comes_back_as_it_was() {
    let lab = Lab::new();
    let (bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let who = ["alice", "bob", "carol"];
    let members = lab.group(&who);
    for member in &members {
        member.say(&format!("{} before the cut", member.name));
    }
    let talk = same_talk(&members.iter().collect::<Vec<_>>(), 3);
    for proc in members.iter().chain([&bootstrap, &keyauth]) {
        proc.kill();
    }
    drop(members);
    // In the wrong order, too.
    let members: Vec<Proc> = who.iter().map(|name| lab.start(name)).collect();
    let (_keyauth, _bootstrap) = (lab.keyauth(), lab.bootstrap());
    settled(&members);
    for member in &members {
        assert_eq!(member.history(), talk);
    }
    for member in &members {
        member.say(&format!("{} after the cut", member.name));
    }
    same_talk(&members.iter().collect::<Vec<_>>(), 6);
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            // With its permissions; the socket of a process that was killed is no part of a home.
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_home_restored_from_a_backup_takes_back_what_it_said_since() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    members[1].say("in the backup");
    same_talk(&members.iter().collect::<Vec<_>>(), 1);
    members[1].exit();
    let backup = lab.dir.path().join("backup");
    copy(&lab.home("bob"), &backup);
    let bob = lab.join("bob");
    for part in 0..3 {
        bob.say(&format!("after the backup {part}"));
    }
    same_talk(&[&members[0], &members[2], &bob], 4);
    bob.kill();
    std::fs::remove_dir_all(lab.home("bob")).unwrap();
    copy(&backup, &lab.home("bob"));
    let bob = lab.join("bob");
    bob.say("from the backup");
    same_talk(&[&members[0], &members[2], &bob], 5);
}

#[test]
fn a_database_that_is_damaged_is_refused_and_an_emptied_home_with_its_key_joins_again() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let bob = lab.join("bob");
    bob.say("kept by alice");
    same_talk(&[&alice, &bob], 1);
    bob.exit();
    let home = lab.home("bob");
    let mut largest = (0, home.clone());
    for entry in std::fs::read_dir(&home).unwrap() {
        let entry = entry.unwrap();
        largest = largest.max((entry.metadata().unwrap().len(), entry.path()));
    }
    let mut bytes = std::fs::read(&largest.1).unwrap();
    for page in bytes.chunks_mut(4_096) {
        page[100] ^= 1;
    }
    std::fs::write(&largest.1, bytes).unwrap();
    let ended = lab.start("bob").ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("database_key", Some(3)), "{}", ended.text());
    // Only the key is left: the same person with a new life.
    for entry in std::fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("member.key") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let bob = lab.join("bob");
    bob.say("in a new life");
    same_talk(&[&alice, &bob], 2);
}

#[test]
fn a_bootstrap_that_stands_still_holds_nobody_up() {
    let lab = Lab::new();
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members.push(lab.join("dave"));
    settled(&members);
    members[0].until("the witness votes among four", |s| {
        voters(s) == names(&["alice", "bob", "carol", "dave", "witness"])
    });
    bootstrap.signal("STOP");
    let at = leader_of(&members);
    let dead = members.remove(at);
    dead.kill();
    for member in &members {
        member.say(&format!("{} goes on", member.name));
        member.until("it follows a new leader", |s| {
            s["leader"]["name"].is_string() && s["leader"]["name"] != *dead.name
        });
    }
    // An address of a member is all that the one who returns needs.
    let back = lab.join(&dead.name);
    same_talk(&[&members[0], &members[1], &members[2], &back], 3);
    bootstrap.signal("CONT");
    let erin = lab.join("erin");
    same_talk(&[&erin, &back], 3);
}
