//! Files: sent, fetched, gone on with after kills, refused.
//! Owns: what becomes of a file between members.
//! Must not know: how it is cut and sealed.
//! Invariants: none.
//! Start reading at: the first test.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::Proc;
use crate::lab::Lab;

/// Bytes that nobody guesses, the same every time.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length / 8 + 1).flatten().take(length).collect()
}

fn written(lab: &Lab, name: &str, bytes: &[u8]) -> PathBuf {
    let path = lab.dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Sends a file; gives its id.
fn sent(by: &Proc, path: &Path) -> String {
    let sent = by.ask(json!({"cmd": "send_file", "path": path}));
    assert_eq!((&sent["event"], &sent["kind"]), (&json!("sent"), &json!("file")), "{sent}");
    sent["file"]["id"].as_str().unwrap().to_owned()
}

fn is(event: &Value, id: &str, state: &str) -> bool {
    event["event"] == "file" && event["id"] == id && event["state"] == state
}

/// Waits until it is there; gives where.
fn arrived(at: &Proc, id: &str) -> PathBuf {
    let event = at.wait("the file is here", |e| is(e, id, "complete"));
    PathBuf::from(event["path"].as_str().unwrap())
}

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}

#[test]
fn a_file_arrives_whole_although_who_sent_it_and_who_fetches_it_are_killed() {
    let lab = Lab::new().with("FILES_ACCEPT_MIB", "1024");
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = [&members[0], &members[1], &members[2]];
    let bytes = content((160 << 20) + 12_345, 1);
    let id = sent(alice, &written(&lab, "disk.img", &bytes));

    let half = bob.wait("a part is here", |e| is(e, &id, "fetching") && e["have"] != 0);
    bob.kill();
    let before = half["have"].as_u64().unwrap();
    assert!(before < half["size"].as_u64().unwrap());
    let at_carol = arrived(carol, &id);
    alice.kill();

    let bob = lab.join("bob");
    // What is on the disk is looked through first, and told as far as it is right.
    bob.wait("it goes on", |e| is(e, &id, "fetching") && e["have"].as_u64() >= Some(before));
    let at_bob = arrived(&bob, &id);
    for path in [at_carol, at_bob] {
        assert_eq!(path.file_name().unwrap(), "disk.img");
        assert!(std::fs::read(&path).unwrap() == bytes, "{path:?} is another file");
    }
    let left = std::fs::read_dir(lab.home("bob").join("files/received")).unwrap().count();
    assert_eq!(left, 1, "nothing is left of the way");
}

#[test]
fn a_file_is_fetched_by_itself_or_on_demand_and_nothing_is_written_over() {
    let lab = Lab::new().with("FILES_ACCEPT_MIB", "1").with("FILES_QUOTA_MIB", "4");
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = [&members[0], &members[1]];
    let received = lab.home("bob").join("files/received");
    // Where files should go there is something else: it waits, and goes on by itself.
    std::fs::create_dir_all(lab.home("bob").join("files")).unwrap();
    std::fs::write(&received, "in the way").unwrap();
    let small = content(300_000, 2);
    let path = written(&lab, "-rf NUL.txt", &small);
    let id = sent(alice, &path);
    let heard = bob.wait("a file", |e| e["event"] == "message" && e["kind"] == "file");
    assert_eq!((&heard["text"], &heard["file"]["name"]), (&json!("_-rf NUL.txt"), &heard["text"]));
    assert_eq!((&heard["file"]["id"], &heard["file"]["size"]), (&json!(id), &json!(300_000)));
    let paused = bob.wait("it waits", |e| is(e, &id, "paused"));
    assert_eq!(paused["code"], "downloads_unusable", "{paused}");
    std::fs::remove_file(&received).unwrap();
    let first = arrived(bob, &id);
    assert_eq!(first, received.join("_-rf NUL.txt"));
    // The same file again is another one, and the first stays.
    let second = arrived(bob, &sent(alice, &path));
    assert_eq!(second, received.join("_-rf NUL (2).txt"));
    for path in [first, second] {
        assert!(std::fs::read(&path).unwrap() == small);
    }
    let empty = arrived(bob, &sent(alice, &written(&lab, "empty", b"")));
    assert_eq!(std::fs::read(empty).unwrap(), b"");

    // A larger one waits to be asked for, and gets the name that is wished.
    let large = content(2 << 20, 3);
    let id = sent(alice, &written(&lab, "large.bin", &large));
    bob.wait("it is offered", |e| is(e, &id, "offered"));
    let digits: String = id.chars().take(8).collect();
    bob.ask(json!({"cmd": "slash", "line": format!("/get {digits} as ../mine.bin")}));
    let path = arrived(bob, &id);
    assert_eq!(path, received.join("mine.bin"));
    assert!(std::fs::read(path).unwrap() == large);

    // No more than the quota holds, until something goes.
    let other = sent(alice, &written(&lab, "other.bin", &content(3 << 20, 4)));
    bob.wait("it is offered", |e| is(e, &other, "offered"));
    let held_up = bob.ask(json!({"cmd": "get", "id": other}));
    assert_eq!((&held_up["state"], code(&held_up)), (&json!("paused"), "files_quota"));
    bob.ask(json!({"cmd": "drop", "id": id}));
    arrived(bob, &other);
    let files = bob.ask(json!({"cmd": "files"}));
    let states: Vec<&Value> =
        files["files"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    let (here, dropped) = (json!("complete"), json!("offered"));
    assert_eq!(states, [&here, &here, &here, &dropped, &here], "{files}");
}

#[test]
fn what_cannot_be_sent_or_had_is_said() {
    let lab = Lab::new().with("FILES_ACCEPT_MIB", "0").with("FILES_QUOTA_MIB", "1");
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = [&members[0], &members[1]];
    let path = written(&lab, "notes.txt", b"as it was");
    let id = sent(alice, &path);
    bob.wait("it is offered", |e| is(e, &id, "offered"));
    std::fs::write(&path, b"otherwise").unwrap();
    bob.ask(json!({"cmd": "get", "id": id}));
    let failed = bob.wait("it cannot be had", |e| is(e, &id, "failed"));
    assert_eq!(failed["code"], "file_changed", "{failed}");
    alice.wait("it is told where it was sent", |e| {
        e["event"] == "info" && e["text"].as_str().is_some_and(|it| it.contains("notes.txt"))
    });
    let told = alice.wait("it stands there, too", |e| is(e, &id, "failed"));
    assert_eq!((code(&told), &told["own"]), ("file_changed", &json!(true)), "{told}");
    // It is as it was again: who asks again gets it.
    std::fs::write(&path, b"as it was").unwrap();
    bob.ask(json!({"cmd": "get", "id": id}));
    assert_eq!(std::fs::read(arrived(bob, &id)).unwrap(), b"as it was");

    // The first thing that is said to somebody alone may be a file.
    let home = lab.home("alice");
    let to_bob = ["send", "@bob", "--file", path.to_str().unwrap(), "--home"];
    let ended = lab.run(&[&to_bob[..], &[home.to_str().unwrap()]].concat(), "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    alice.wait("it is in their room", |e| {
        e["event"] == "file" && e["room"] == "@bob" && e["own"] == true
            || e["event"] == "sent" && e["room"] == "@bob"
            || e["event"] == "message" && e["room"] == "@bob"
    });

    let huge = written(&lab, "huge", b"");
    std::fs::File::options().write(true).open(&huge).unwrap().set_len(65 << 30).unwrap();
    let large = sent(alice, &written(&lab, "large", &content(2 << 20, 5)));
    bob.wait("it is offered", |e| is(e, &large, "offered"));
    for (member, ask, refusal) in [
        (alice, json!({"cmd": "send_file", "path": huge}), "file_too_large"),
        (alice, json!({"cmd": "send_file", "path": "not there"}), "file_unread"),
        (alice, json!({"cmd": "send_file", "path": lab.dir.path()}), "file_unread"),
        (alice, json!({"cmd": "send_file", "path": path, "room": "ops"}), "room_unknown"),
        (alice, json!({"cmd": "send_file"}), "command_bad"),
        (alice, json!({"cmd": "slash", "line": "/send"}), "command_bad"),
        (bob, json!({"cmd": "get", "id": "0123456789abcdef"}), "file_unknown"),
        (bob, json!({"cmd": "drop", "id": "x"}), "command_bad"),
        (bob, json!({"cmd": "get", "id": large}), "files_quota"),
    ] {
        let mut answer = member.ask(ask.clone());
        if answer["event"] == "result" {
            answer = answer["error"].take();
        }
        assert_eq!(code(&answer), refusal, "{ask}");
    }
    // Taken back by who sent it, nobody has it from there any more.
    let message = bob.ask(json!({"cmd": "files"}))["files"][1]["message"].clone();
    alice.ask(json!({"cmd": "delete", "id": message}));
    bob.wait("it is taken back", |e| e["event"] == "message" && e["kind"] == "deletion");
    let gone = bob.ask(json!({"cmd": "get", "id": large}));
    assert_eq!(code(&gone), "file_unknown");
}
