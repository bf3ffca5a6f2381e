//! Messages with an end: shown with it, gone with it, and not passed on after it.
//! Owns: nothing but its cases.
//! Must not know: how the store forgets.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use std::path::Path;
use std::time::Instant;

use p2pgroup::wire::sealed::Body;
use serde_json::json;

use crate::harness::{LONG, LOOK, Proc};
use crate::lab::Lab;
use crate::rooms::{done, refused, texts};
use crate::stores::{entries, open, verified};

/// Sends a message that lives for some seconds.
fn say_for(member: &Proc, text: &str, expires: &str) {
    let sent = done(member, json!({"cmd": "send", "text": text, "expires": expires}));
    assert!(sent["event"] == "sent" && sent["expires_at"].is_string(), "{sent}");
}

/// Waits until a text is in nobody's history any more.
fn is_gone(members: &[&Proc], text: &str) {
    let until = Instant::now() + LONG;
    for member in members {
        while texts(member, "main").iter().any(|it| it == text) {
            assert!(Instant::now() < until, "{} still shows it\n{}", member.name, member.story());
            std::thread::sleep(LOOK);
        }
    }
}

/// Of how many entries with an end a store still has what they say, and of how many not.
fn kept(home: &Path) -> (usize, usize) {
    let all = entries(&open(home));
    let with_end: Vec<_> = all.iter().filter(|(_, it)| it.header.expires_at.is_some()).collect();
    let whole = with_end.iter().filter(|(_, it)| matches!(it.body, Body::Ciphertext(_))).count();
    (whole, with_end.len() - whole)
}

#[test]
fn expired_messages_are_neither_kept_nor_passed_on_and_the_chain_stays_whole() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob", "carol"]);
    done(&members[0], json!({"cmd": "room_history", "room": "main", "text": "all"}));
    members.remove(2).exit();
    let [alice, bob] = members.as_slice() else { panic!("two") };
    alice.say("before it");
    say_for(alice, "walnut for a while", "4s");
    alice.say("after it");
    let heard = bob.hear("walnut for a while");
    assert!(heard["expires_at"].is_string(), "{heard}");
    assert!(bob.hear("after it")["expires_at"].is_null());
    say_for(bob, "much longer", "1h");
    alice.hear("much longer");
    is_gone(&[alice, bob], "walnut for a while");
    let found = done(bob, json!({"cmd": "search", "words": "walnut"}));
    assert_eq!(found["count"], 0, "{found}");

    // Who comes now, or for the first time, gets the chain without it.
    let (carol, dave) = (lab.join("carol"), lab.join("dave"));
    for member in [&carol, &dave] {
        member.hear("after it");
        member.hear("much longer");
        assert_eq!(texts(member, "main"), ["before it", "after it", "much longer"]);
        assert!(!member.heard().contains(&"walnut for a while".to_owned()));
    }
    for member in [alice, bob, &carol, &dave] {
        member.exit();
        let home = lab.home(&member.name);
        assert_eq!(kept(&home), (1, 1), "{}", member.name);
        verified(&lab, &home);
    }
}

#[test]
fn what_ends_while_nothing_runs_is_gone_before_anybody_looks() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = members.as_slice() else { panic!("two") };
    assert_eq!(
        refused(alice, json!({"cmd": "send", "text": "x", "expires": "400d"})),
        "command_bad"
    );
    say_for(alice, "for a moment", "3s");
    bob.hear("for a moment");
    bob.exit();
    assert_eq!(kept(&lab.home("bob")), (1, 0), "its time has not come");
    is_gone(&[alice], "for a moment");
    let home = lab.home("bob");
    let ended = lab.run(&["history", "--json", "--home", home.to_str().unwrap()], "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert!(!ended.text().contains("for a moment"), "{}", ended.text());
    assert_eq!(kept(&home), (0, 1));
    verified(&lab, &home);
}

#[test]
fn a_file_with_an_end_is_had_from_nobody_after_it_and_what_was_saved_stays() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = members.as_slice() else { panic!("two") };
    done(alice, json!({"cmd": "room_history", "room": "main", "text": "all"}));
    let path = lab.dir.path().join("keys.txt");
    std::fs::write(&path, "for a while").unwrap();
    let home = lab.home("alice");
    let args = ["send", "--file", path.to_str().unwrap(), "--expires", "8s", "--wait", "one"];
    let sent = lab.run(&[&args[..], &["--json", "--home", home.to_str().unwrap()]].concat(), "");
    assert_eq!(sent.code, Some(0), "{}", sent.text());
    let here = bob.wait("the file", |e| e["event"] == "file" && e["state"] == "complete");
    assert!(here["expires_at"].is_string(), "{here}");
    let saved = here["path"].as_str().unwrap();
    let files = |member: &Proc| done(member, json!({"cmd": "files"}))["files"].clone();
    assert_eq!(files(alice)[0]["name"], "keys.txt");
    let until = Instant::now() + LONG;
    for member in [alice, bob] {
        while files(member) != json!([]) {
            assert!(Instant::now() < until, "{} still has it\n{}", member.name, member.story());
            std::thread::sleep(LOOK);
        }
    }
    is_gone(&[alice, bob], "keys.txt");
    assert_eq!(std::fs::read_to_string(saved).unwrap(), "for a while", "what was saved stays");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "for a while", "and what was sent");
    // Whoever comes later is offered nothing; a restart brings nothing back.
    alice.say("after it");
    let carol = lab.join("carol");
    carol.hear("after it");
    assert_eq!(files(&carol), json!([]));
    bob.exit();
    let bob = lab.join("bob");
    assert_eq!(files(&bob), json!([]));
}
