//! What a member has stored, asked while nobody runs on it, and the same asked of one that runs.
//! Owns: history, search, export, verify and audit, seen from outside.
//! Must not know: how a store is laid out.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use crate::harness::{Ended, LONG, Lab, Value, json};

fn offline(lab: &Lab, name: &str, args: &[&str]) -> Ended {
    let home = lab.home(name);
    let mut args = args.to_vec();
    args.extend(["--home", home.to_str().unwrap()]);
    lab.run(&args, "")
}

/// Has a command answer onto a full disk: it says so, and does not end as if all was told.
#[cfg(target_os = "linux")]
fn answers_a_full_disk(lab: &Lab, args: &[&str]) {
    let home = lab.home("bob");
    let mut command = lab.command(&[args, &["--home", home.to_str().unwrap()]].concat());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = command.stdin(std::process::Stdio::null()).stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{args:?}: {told}");
    assert!(told.contains("[file_unwritable, exit 3]"), "{args:?}: {told}");
}

fn texts(events: &[Value]) -> Vec<&str> {
    let messages = events.iter().filter(|e| e["event"] == "message" && e["history"] == true);
    messages.map(|e| e["text"].as_str().unwrap()).collect()
}

/// What must be the same in every form of a message.
fn bare(event: &Value) -> String {
    let mut event = event.clone();
    for local in ["event", "at", "ref", "history"] {
        event.as_object_mut().unwrap().remove(local);
    }
    event.to_string()
}

#[test]
fn what_was_said_is_read_searched_and_exported_with_nothing_running() {
    let lab = Lab::new();
    let (bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let (alice, bob) = (&members[0], &members[1]);
    alice.say("The DEPLOY of v2.1 failed");
    bob.hear("The DEPLOY of v2.1 failed");
    bob.say("deploying again");
    alice.hear("deploying again");
    alice.say("\u{1b}[2Jevil\n2026-01-01 00:00:00 <bob> [x](http://e.example)");
    let talk = bob.history_of(3);
    // A running member answers itself, also for what is not indexed yet.
    let found = bob.ask(json!({"cmd": "search", "words": "deploy*", "last": 10}));
    assert_eq!((&found["event"], &found["count"]), (&json!("search"), &json!(2)), "{found}");
    let typed = bob.ask(json!({"cmd": "slash", "line": "/search V2.1 failed"}));
    assert_eq!(typed["data"]["messages"][0]["text"], "The DEPLOY of v2.1 failed", "{typed}");
    assert_eq!(typed["data"]["messages"].as_array().unwrap().len(), 1);
    // While it runs it answers for its store, with the same.
    let running = |args: &[&str]| {
        let ended = offline(&lab, "bob", args);
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        ended.text()
    };
    let exports = ["txt", "md", "jsonl"].map(|format| running(&["export", "--format", format]));
    let told = running(&["history"]);
    #[cfg(target_os = "linux")]
    for args in [
        "history",
        "history --json",
        "export --format md",
        "search deploy*",
        "members",
        "audit",
        "tail --since 0",
        "config show",
    ] {
        answers_a_full_disk(&lab, &args.split(' ').collect::<Vec<_>>());
    }
    for member in &members {
        member.exit();
    }
    drop((bootstrap, keyauth));

    let ended = offline(&lab, "bob", &["history", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    let shown: Vec<String> =
        ended.events.iter().filter(|e| e["event"] == "message").map(bare).collect();
    assert_eq!(shown, talk);
    assert_eq!(ended.events.last().unwrap()["count"], 3);
    let ended = offline(&lab, "bob", &["history", "--last", "1", "--json"]);
    assert!(texts(&ended.events)[0].starts_with("\u{1b}[2Jevil"), "{}", ended.text());
    let ended = offline(&lab, "bob", &["history"]);
    // Into a pipe: columns, one line a message, whatever is in it.
    assert!(ended.events[1].as_str().unwrap().ends_with("\tmain\tbob\tdeploying again"));

    let search = |words: &[&str]| {
        let ended = offline(&lab, "bob", &[&["search", "--json"], words].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        texts(&ended.events).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(search(&["deploy*"]), ["deploying again", "The DEPLOY of v2.1 failed"]);
    assert_eq!(search(&["deploy*", "--last", "1"]), ["deploying again"]);
    assert_eq!(search(&["deploy", "FAILED"]), ["The DEPLOY of v2.1 failed"]);
    assert_eq!(search(&["deplo"]), Vec::<String>::new());
    let ended = offline(&lab, "bob", &["search", "nothing"]);
    assert!(ended.code == Some(0) && ended.events.is_empty(), "{}", ended.text());
    let ended = offline(&lab, "bob", &["search", "?!", "--json"]);
    assert_eq!((ended.code, ended.fatal()), (Some(2), "command_bad"), "{}", ended.text());

    let resting = ["txt", "md", "jsonl"]
        .map(|format| offline(&lab, "bob", &["export", "--format", format]).text());
    assert_eq!(exports, resting);
    assert_eq!(told, offline(&lab, "bob", &["history"]).text());
    #[cfg(target_os = "linux")]
    for args in ["history", "export --format jsonl", "search deploy*", "verify"] {
        answers_a_full_disk(&lab, &args.split(' ').collect::<Vec<_>>());
    }
    let ended = offline(&lab, "bob", &["export", "--format", "jsonl"]);
    assert_eq!(ended.events.iter().map(Value::to_string).collect::<Vec<_>>(), talk);
    let one = ["export", "--format", "txt", "--room", "main", "--output", "talk.txt"];
    let ended = offline(&lab, "bob", &one);
    assert!(ended.code == Some(0) && ended.events.is_empty(), "{}", ended.text());
    let text = std::fs::read_to_string(lab.dir.path().join("talk.txt")).unwrap();
    assert!(!text.contains('\u{1b}') && text.lines().count() == 4, "{text}");
    assert!(text.contains("> \\u{1b}[2Jevil\n    2026-01-01"), "{text}");
    let ended = offline(&lab, "bob", &["export", "--format", "md"]);
    assert!(ended.text().contains("**alice**") && !ended.text().contains("](http"));
    let ended =
        offline(&lab, "bob", &["export", "--format", "md", "--output", "no/a.md", "--json"]);
    assert_eq!((ended.code, ended.fatal()), (Some(3), "file_unwritable"), "{}", ended.text());
    let ended = offline(&lab, "bob", &["export", "--format", "md", "--room", "ops", "--json"]);
    assert_eq!((ended.code, ended.fatal()), (Some(1), "room_unknown"), "{}", ended.text());
    let ended = offline(&lab, "nobody", &["history", "--json"]);
    assert_eq!((ended.code, ended.fatal()), (Some(4), "not_a_member"), "{}", ended.text());
    assert!(!lab.home("nobody").exists());

    // And the member starts again from the same store.
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    assert_eq!(lab.join("bob").history_of(3), talk);
}

#[test]
fn a_store_is_verified_and_what_the_control_log_changed_is_told() {
    let lab = Lab::new();
    let (bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    for round in 0..20 {
        members[0].say(&format!("alice {round}"));
        members[1].say(&format!("bob {round}"));
    }
    for member in &members {
        member.history_of(40);
    }
    let home = lab.home("keyauth");
    let revoke = ["keyauth", "revoke", "bob", "--reason", "le\u{7}ft", "--home"];
    let ended = lab.run(&[&revoke[..], &[home.to_str().unwrap()]].concat(), "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    members[0].wait("bob is removed", |e| {
        e["event"] == "member" && e["name"] == "bob" && e["state"] == "removed"
    });
    members[1].ended(LONG);
    let asked = members[0].ask(json!({"cmd": "audit"}));
    members[0].exit();
    drop((bootstrap, keyauth));

    let ended = offline(&lab, "alice", &["verify"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert!(ended.text().contains("40 entries in 2 logs, no gap, every batch signed"));
    let ended = offline(&lab, "alice", &["verify", "--json"]);
    let verified = &ended.events[0];
    assert_eq!((&verified["event"], &verified["ok"]), (&json!("verified"), &json!(true)));
    assert_eq!((&verified["entries"], &verified["members"]), (&json!(40), &json!(1)), "{verified}");

    let ended = offline(&lab, "alice", &["audit", "--json"]);
    assert_eq!((ended.code, &ended.events[0]["event"]), (Some(0), &json!("audit")));
    let changes = ended.events[0]["changes"].as_array().unwrap();
    // Leaving may have changed the voters since.
    assert!(changes.starts_with(asked["changes"].as_array().unwrap()), "{asked}");
    let of = |what: &str, name: &str| {
        let found = changes.iter().find(|it| it["what"] == what && it["name"] == name);
        found.unwrap_or_else(|| panic!("{what} {name}: {}", ended.text()))
    };
    assert_eq!(of("founded", "alice")["leader"], json!(null));
    let admitted = of("admitted", "bob");
    assert_eq!(admitted["leader"], "alice");
    assert!(admitted["term"].as_u64().unwrap() > 0 && admitted["stamp"].is_string());
    assert_eq!(of("removed", "bob")["detail"], "le\\u{7}ft");
    of("voter_added", "alice");
    let ended = offline(&lab, "alice", &["audit"]);
    assert!(ended.text().contains("\tremoved\tbob\tleader alice (term"), "{}", ended.text());
    assert!(!ended.text().contains('\u{7}'));
}

#[test]
fn what_was_said_under_keys_from_before_is_found_by_who_came_later() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    alice.say("the harbour is closed");
    let bob = lab.join("bob");
    alice.say("the harbour opens again");
    bob.hear("the harbour opens again");
    let talk = bob.history_of(2);
    let found = bob.ask(json!({"cmd": "search", "words": "harbour"}));
    assert_eq!(found["count"], json!(2), "{found}");
    alice.exit();
    bob.exit();
    let ended = offline(&lab, "bob", &["search", "harbour", "--json"]);
    assert_eq!(texts(&ended.events), ["the harbour opens again", "the harbour is closed"]);
    let ended = offline(&lab, "bob", &["export", "--format", "jsonl"]);
    assert_eq!(ended.events.iter().map(Value::to_string).collect::<Vec<_>>(), talk);
    assert_eq!(offline(&lab, "bob", &["verify"]).code, Some(0));
    let ended = offline(&lab, "bob", &["audit", "--json"]);
    let changes = ended.events[0]["changes"].as_array().unwrap();
    let is_rekeyed = |it: &Value| ["rekeyed", "regrouped"].contains(&it["what"].as_str().unwrap());
    let rekeyed = changes.iter().find(|it| is_rekeyed(it));
    assert!(rekeyed.is_some_and(|it| it["name"] == "alice"), "{}", ended.text());
}

#[test]
fn a_store_with_a_damaged_page_is_not_called_whole() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let long = "x".repeat(20_000);
    for round in 0..10 {
        alice.say(&format!("{long} {round}"));
    }
    alice.exit();
    let path = lab.home("alice").join("store.db");
    let whole = std::fs::read(&path).unwrap();
    let sound = offline(&lab, "alice", &["verify"]);
    assert_eq!(sound.code, Some(0), "{}", sound.text());
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2 / 4_096 * 4_096 + 100;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let ended = offline(&lab, "alice", &["verify", "--json"]);
    let is_told = ended.events.iter().any(|e| {
        e["event"] == "verified" && e["ok"] == false
            || matches!(e["code"].as_str(), Some("database_key" | "database_failed"))
    });
    assert!(is_told && ended.code != Some(0), "{}", ended.text());
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(offline(&lab, "alice", &["verify"]).code, Some(0));
}
