//! What people knew from the systems before: keys renewed, history asked for, many rooms, and what
//! is not signed or too much dropped.
//! Owns: one scene for each of them.
//! Must not know: how keys, orders and pages travel.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::harness::{LONG, Lab, Proc, json, list, same_talk};
use crate::rooms::{create, done, hear_in, holds, refused, rooms_of, say_in, texts};
use crate::stores::{entries, open, verified};

/// The epoch of a room as a member has it, and what names its secret to people.
fn epoch(member: &Proc, room: &str) -> (u64, String) {
    let room = done(member, json!({"cmd": "room", "room": room}));
    (room["epoch"].as_u64().unwrap(), room["authenticator"].as_str().unwrap().to_owned())
}

#[test]
fn who_was_away_reads_the_room_from_another_while_the_author_is_away() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob", "carol"]);
    create(&members[0], "ops", json!({}));
    for name in ["bob", "carol"] {
        done(&members[0], json!({"cmd": "room_invite", "room": "ops", "name": name}));
    }
    holds(&members[1], "ops", &["alice", "bob", "carol"]);
    holds(&members[2], "ops", &["alice", "bob", "carol"]);
    members.remove(1).exit();
    let [alice, carol] = members.as_slice() else { panic!("two") };
    for part in 0..100 {
        say_in(alice, "ops", &format!("while bob is away {part}"));
    }
    hear_in(carol, "ops", "while bob is away 99");
    alice.exit();
    let start = std::time::Instant::now();
    let bob = lab.join("bob");
    hear_in(&bob, "ops", "while bob is away 99");
    eprintln!("100 entries of one who is off, read from another {:?} after", start.elapsed());
    assert_eq!(texts(&bob, "ops"), texts(carol, "ops"));
    assert_eq!(texts(&bob, "ops").len(), 100);
}

#[test]
fn a_room_key_renewed_by_its_owner_reaches_all_and_seals_what_is_said_then() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    create(alice, "ops", json!({}));
    for name in ["bob", "carol"] {
        done(alice, json!({"cmd": "room_invite", "room": "ops", "name": name}));
    }
    for member in &members {
        holds(member, "ops", &["alice", "bob", "carol"]);
    }
    let mut said = 0;
    let mut say = |member: &Proc| {
        let text = format!("under this key {said}");
        said += 1;
        say_in(member, "ops", &text);
        for other in &members {
            if other.name != member.name {
                hear_in(other, "ops", &text);
            }
        }
    };
    let mut known = BTreeSet::from([epoch(alice, "ops")]);
    say(bob);
    for _ in 0..3 {
        let before = epoch(alice, "ops").0;
        let start = std::time::Instant::now();
        done(alice, json!({"cmd": "rekey", "room": "ops"}));
        for member in &members {
            member.wait("the new key", |e| {
                e["event"] == "epoch" && e["room"] == "ops" && e["epoch"].as_u64() > Some(before)
            });
        }
        eprintln!("a new key was brought to all in {:?}", start.elapsed());
        let now = epoch(alice, "ops");
        for member in [bob, carol] {
            member.until("it is at the same epoch", |_| epoch(member, "ops") == now);
        }
        assert!(now.0 > before && known.insert(now), "a key comes back");
        say(bob);
        say(carol);
    }
    let room = done(carol, json!({"cmd": "rooms"}));
    assert_eq!(list(&room["rooms"]).len(), 2, "{room}");
    for member in &members {
        member.exit();
    }
    // What was said under different keys is under different keys, in every store.
    let keys = |name: &str| {
        let in_ops = entries(&open(&lab.home(name))).into_iter();
        in_ops.map(|(_, entry)| (entry.header.key_id, entry.header.seq)).collect::<BTreeSet<_>>()
    };
    let of_alice = keys("alice");
    assert_eq!(of_alice.iter().map(|it| it.0).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!((&of_alice, &of_alice), (&keys("bob"), &keys("carol")));
    // Whoever stops and starts holds them all.
    let bob = lab.join("bob");
    assert_eq!(texts(&bob, "ops").len(), 7);
}

/// What somebody who comes late reads of a room where two wrote 150 messages each.
fn late(policy: &str) -> Vec<String> {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    create(alice, "ops", json!({}));
    done(alice, json!({"cmd": "room_history", "room": "ops", "text": policy}));
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "carol"}));
    holds(carol, "ops", &["alice", "carol"]);
    // One after the other, so that their order is the same everywhere.
    for part in 0..150 {
        for member in [alice, carol] {
            say_in(member, "ops", &format!("{part} of {}", member.name));
        }
    }
    hear_in(alice, "ops", "149 of carol");
    hear_in(carol, "ops", "149 of alice");
    let all = texts(alice, "ops");
    assert_eq!(all.len(), 300);
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "bob"}));
    holds(bob, "ops", &["alice", "bob", "carol"]);
    say_in(alice, "ops", "welcome, bob");
    hear_in(bob, "ops", "welcome, bob");
    say_in(bob, "ops", "thank you");
    hear_in(alice, "ops", "thank you");
    // The entries themselves come as ciphertext, and what may be opened is opened after them.
    let deadline = std::time::Instant::now() + LONG;
    let wanted = match policy {
        "all" => 300,
        "last 100" => 100,
        _ => 0,
    };
    loop {
        let mut read = texts(bob, "ops");
        assert_eq!(read.pop().as_deref(), Some("thank you"));
        assert_eq!(read.pop().as_deref(), Some("welcome, bob"));
        if read.len() >= wanted {
            // An unbroken end of the talk.
            let own: Vec<String> = read.clone();
            assert!(own.iter().all(|text| all.contains(text)));
            let newest = &all[all.len() - wanted..];
            assert!(newest.iter().all(|text| own.contains(text)), "{own:?}");
            assert!(all.ends_with(&own) || wanted > 0, "{own:?}");
            bob.exit();
            // What it may not read it holds all the same, whole, for others.
            let held = entries(&open(&lab.home("bob"))).len();
            eprintln!("history {policy}: {} of 300 are read, {held} are held", own.len());
            verified(&lab, &lab.home("bob"));
            return own;
        }
        assert!(std::time::Instant::now() < deadline, "{policy}: {} are read", read.len());
    }
}

#[test]
fn who_comes_late_reads_the_newest_that_the_room_grants_and_little_more() {
    let read = late("last 100").len();
    // A key opens from the start of its chunk on: of 64 entries of an author.
    assert!((100..=100 + 2 * 64).contains(&read), "{read}");
}

#[test]
fn who_comes_late_reads_nothing_where_the_room_grants_nothing() {
    assert_eq!(late("none"), Vec::<String>::new());
}

#[test]
fn who_comes_late_reads_everything_where_the_room_grants_everything() {
    assert_eq!(late("all").len(), 300);
}

#[test]
fn several_rooms_are_joined_left_and_joined_again() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    let rooms = ["tea", "ale", "wine"];
    for room in rooms {
        create(alice, room, json!({"entry": "free"}));
        done(alice, json!({"cmd": "room_history", "room": room, "text": "since-join"}));
        for member in [bob, carol] {
            member.wait("it hears of the room", |e| e["event"] == "room" && e["room"] == room);
            done(member, json!({"cmd": "room_join", "room": room}));
        }
        for member in &members {
            holds(member, room, &["alice", "bob", "carol"]);
        }
    }
    for room in rooms {
        say_in(bob, room, &format!("{room} to all"));
        for member in [alice, carol] {
            hear_in(member, room, &format!("{room} to all"));
        }
    }
    done(bob, json!({"cmd": "room_leave", "room": "ale"}));
    done(carol, json!({"cmd": "room_leave", "room": "wine"}));
    assert_eq!(rooms_of(bob).into_iter().collect::<BTreeSet<_>>(), set(&["main", "tea", "wine"]));
    assert_eq!(rooms_of(carol).into_iter().collect::<BTreeSet<_>>(), set(&["main", "tea", "ale"]));
    for (room, other) in [("ale", carol), ("wine", bob)] {
        holds(alice, room, &["alice", &other.name]);
        holds(other, room, &["alice", &other.name]);
        say_in(alice, room, &format!("{room} without one"));
        hear_in(other, room, &format!("{room} without one"));
    }
    let say = |room: &str| json!({"cmd": "send", "room": room, "text": "x"});
    assert_eq!(refused(bob, say("ale")), "not_in_room");
    assert_eq!(refused(carol, say("wine")), "not_in_room");
    say_in(bob, "tea", "still all three");
    hear_in(carol, "tea", "still all three");
    let mark = bob.mark();
    done(bob, json!({"cmd": "room_join", "room": "ale"}));
    bob.wait_from(mark, LONG, "it is back", |e| e["event"] == "epoch" && e["room"] == "ale");
    say_in(bob, "ale", "again");
    for member in [alice, carol] {
        hear_in(member, "ale", "again");
    }
    assert_eq!(texts(bob, "ale"), ["ale to all", "again"], "what was said without it is closed");
    assert_eq!(refused(carol, json!({"cmd": "history", "room": "wine"})), "not_in_room");
    for (member, text) in [(bob, "ale without one"), (carol, "wine without one")] {
        assert!(!member.events().iter().any(|e| e["text"] == text), "{}", member.story());
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Changes the newest entry of a store at rest, as somebody does who has its key.
fn alter(lab: &Lab, name: &str, column: &str, change: fn(Vec<u8>) -> Option<Vec<u8>>) {
    let home = lab.home(name);
    let key = std::fs::read_to_string(home.join("database.key")).unwrap();
    let store = Connection::open(home.join("store.db")).unwrap();
    let key = format!("PRAGMA key = \"x'{}'\"", key.trim());
    store.execute_batch(&key).unwrap();
    store.execute_batch("PRAGMA cipher_hmac_algorithm = HMAC_SHA256").unwrap();
    let newest = format!("SELECT id, {column} FROM entries ORDER BY lamport DESC LIMIT 1");
    let (id, before): (i64, Vec<u8>) =
        store.query_row(&newest, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let update = format!("UPDATE entries SET {column} = ?2 WHERE id = ?1");
    assert_eq!(store.execute(&update, params![id, change(before)]).unwrap(), 1);
}

fn flip(mut bytes: Vec<u8>, from_end: usize) -> Option<Vec<u8>> {
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    Some(bytes)
}

fn is_called_broken(lab: &Lab, name: &str) -> String {
    let home = lab.home(name);
    let ended = lab.run(&["verify", "--json", "--home", home.to_str().unwrap()], "");
    let found = ended.events.iter().find(|e| e["event"] == "verified").unwrap();
    assert!(ended.code != Some(0) && found["ok"] == false, "{}", ended.text());
    found["faults"].to_string()
}

/// A member whose newest entry was altered in its store shows it to the others, if it starts.
fn altered(column: &str, change: fn(Vec<u8>) -> Option<Vec<u8>>, fault: &str) {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members[1].say("sound");
    same_talk(&members.iter().collect::<Vec<_>>(), 1);
    members.remove(2).kill();
    members.remove(0).kill();
    members[0].say("sound and held back");
    members[0].say("altered");
    members[0].exit();
    alter(&lab, "bob", column, change);
    let faults = is_called_broken(&lab, "bob");
    eprintln!("{faults}");
    assert!(faults.contains(fault), "{faults}");
    let bob = lab.start("bob");
    let (alice, carol) = (lab.join("alice"), lab.join("carol"));
    alice.say("what alice says");
    carol.hear("what alice says");
    if column == "bytes" {
        assert_eq!(bob.ended(LONG).fatal(), "database_failed");
    } else {
        bob.hear("what alice says");
    }
    carol.say("what carol says");
    alice.hear("what carol says");
    for member in [&alice, &carol] {
        assert!(!texts(member, "main").contains(&"altered".to_owned()), "{}", member.story());
        member.exit();
        verified(&lab, &lab.home(&member.name));
    }
}

#[test]
fn an_entry_with_a_wrong_signature_is_found_by_verify_and_taken_by_nobody() {
    altered("signature", |bytes| flip(bytes, 10), "wrong signature");
}

#[test]
fn an_entry_without_a_signature_is_found_by_verify_and_taken_by_nobody() {
    altered("signature", |_| None, "not signed");
}

#[test]
fn an_entry_with_another_ciphertext_is_found_by_verify_and_taken_by_nobody() {
    altered("bytes", |bytes| flip(bytes, 100), "another hash than the one stored");
}
