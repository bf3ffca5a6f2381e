//! What guards a person's identity: passphrases, safety words, alarms, backups.
//! Owns: what a thief of the disk finds, what somebody who poses as another sets off, and what a
//! person at the keyboard does about it.
//! Must not know: how a group works.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use p2pgroup::protocol::Reads;
use p2pgroup::store::{Home, Store};

use crate::harness::{Ended, LONG, Lab, Proc, Value, json, list, same_talk, set_mode};

/// A file with a passphrase in it.
fn secret(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let file = lab.dir.path().join(name);
    std::fs::write(&file, format!("{text}\n")).unwrap();
    set_mode(&file, 0o600);
    file
}

/// Runs a command on a member's home.
fn on(lab: &Lab, name: &str, args: &[&str], passphrase: Option<&Path>) -> Ended {
    let home = lab.home(name);
    let mut all = args.to_vec();
    all.extend(["--json", "--home", home.to_str().unwrap()]);
    if let Some(file) = passphrase {
        all.extend(["--passphrase-file", file.to_str().unwrap()]);
    }
    lab.run(&all, "")
}

fn assert_refused(ended: &Ended, code: &str, exit: i32) {
    assert_eq!((ended.fatal(), ended.code), (code, Some(exit)), "{}", ended.text());
}

fn assert_done(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.text());
}

/// Everything in a directory, its files' names and contents.
fn files(home: &Path) -> Vec<(String, Vec<u8>)> {
    let list = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = list
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

fn holds(home: &Path, what: &[u8]) -> bool {
    files(home).iter().any(|(_, bytes)| bytes.windows(what.len()).any(|part| part == what))
}

#[test]
fn a_home_under_a_passphrase_opens_with_it_alone_and_shows_a_thief_nothing() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let (old, new) = (secret(&lab, "old", "correct horse"), secret(&lab, "new", "battery staple"));
    let alice = lab.join("alice");
    let with = |file: &Path| {
        lab.start_with("bob", &["--no-embedded", "--passphrase-file", file.to_str().unwrap()])
    };
    // The key brought along lies open until the first start.
    lab.prepare("bob", "bob.pem");
    let home = lab.home("bob");
    let key = std::fs::read(home.join("member.key")).unwrap();
    let bob = with(&old);
    bob.ready();
    bob.say("hello alice");
    alice.hear("hello alice");
    bob.exit();
    let middle = &key[key.len() / 2..key.len() / 2 + 48];
    assert!(!holds(&home, middle) && !holds(&home, b"hello alice"));
    let stored = std::fs::read(home.join("database.key")).unwrap();
    assert!(stored.starts_with(b"p2pgroup passphrase\n"));

    // Without it, and with others, nothing opens and nothing changes.
    let before = files(&home);
    let unchanged =
        || files(&home).iter().zip(&before).all(|(now, then)| now.0 == "lock" || now == then);
    assert_refused(&lab.start("bob").ended(LONG), "passphrase_needed", 2);
    assert_refused(&with(&new).ended(LONG), "passphrase_wrong", 4);
    for command in ["history", "audit", "verify"] {
        assert_refused(&on(&lab, "bob", &[command], None), "passphrase_needed", 2);
        assert_refused(&on(&lab, "bob", &[command], Some(&new)), "passphrase_wrong", 4);
        assert_done(&on(&lab, "bob", &[command], Some(&old)));
    }
    let change = |now: Option<&Path>, after: &[&str]| {
        on(&lab, "bob", &[&["id", "passphrase"], after].concat(), now)
    };
    let to = |file: &Path| ["--new-passphrase-file".to_owned(), file.to_str().unwrap().to_owned()];
    let to_new = to(&new);
    let to_new = [to_new[0].as_str(), to_new[1].as_str()];
    assert_refused(&change(Some(&new), &to_new), "passphrase_wrong", 4);
    assert_refused(&change(None, &to_new), "passphrase_needed", 2);
    let weak = to(&secret(&lab, "weak", "1234567"));
    assert_refused(&change(Some(&old), &[&weak[0], &weak[1]]), "passphrase_weak", 2);
    let open = secret(&lab, "open", "correct horse");
    set_mode(&open, 0o644);
    assert_refused(&change(Some(&open), &to_new), "key_file_open", 3);
    let missing = lab.dir.path().join("missing");
    assert_refused(&change(Some(&missing), &to_new), "passphrase_unread", 3);
    assert!(unchanged() && stored == std::fs::read(home.join("database.key")).unwrap());

    // Another, then none, then one again.
    let bob = with(&old);
    bob.ready();
    assert_refused(&change(Some(&old), &to_new), "home_in_use", 1);
    bob.exit();
    let done = change(Some(&old), &to_new);
    assert_done(&done);
    assert_eq!(done.events[0]["state"], "changed", "{}", done.text());
    assert_refused(&with(&old).ended(LONG), "passphrase_wrong", 4);
    assert_done(&change(Some(&new), &["--remove"]));
    assert_refused(&with(&new).ended(LONG), "passphrase_none", 2);
    let bob = lab.join("bob");
    bob.say("still bob");
    same_talk(&[&alice, &bob], 2);
    bob.exit();
    assert_done(&change(None, &to_new));
    let bob = with(&new);
    bob.ready();
    same_talk(&[&alice, &bob], 2);
}

#[test]
fn a_change_of_the_passphrase_that_is_killed_leaves_the_old_one_or_the_new_one() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let files = [secret(&lab, "one", "passphrase 1"), secret(&lab, "two", "passphrase 2")];
    let bob = lab.join("bob");
    bob.say("kept");
    bob.exit();
    let home = lab.home("bob");
    let home = home.to_str().unwrap();
    let mut now: Option<usize> = None;
    let mut changed = 0;
    for round in 0..16 {
        let next = now.map_or(0, |now| 1 - now);
        let new = files[next].to_str().unwrap();
        let mut args = vec!["id", "passphrase", "--home", home, "--new-passphrase-file", new];
        if let Some(now) = now {
            args.extend(["--passphrase-file", files[now].to_str().unwrap()]);
        }
        let change = Proc::start("change", lab.command(&args));
        std::thread::sleep(Duration::from_millis(40 * (round % 8) + round));
        change.kill();
        let opens = |with: Option<usize>| {
            on(&lab, "bob", &["history"], with.map(|at| files[at].as_path())).code == Some(0)
        };
        let (before, after) = (opens(now), opens(Some(next)));
        assert!(before != after, "round {round}: old {before}, new {after}");
        if after {
            now = Some(next);
            changed += 1;
        }
    }
    eprintln!("{changed} of 16 changes were done before the kill");
    let history = on(&lab, "bob", &["history"], now.map(|at| files[at].as_path()));
    assert!(history.events.iter().any(|event| event["text"] == "kept"), "{}", history.text());
}

/// Runs a command in a terminal and types an answer at each prompt once nothing is echoed; gives
/// the exit code and what was to be seen.
fn typed(lab: &Lab, args: &str, home: &Path, answers: &[(&str, &str)]) -> (i32, String) {
    let file = lab.dir.path().join("tty");
    drop(std::fs::remove_file(&file));
    let (program, home) = (crate::harness::program(), home.display());
    let line = format!("tty > {}; exec {program} {args} --home {home}", file.display());
    let mut terminal = lab.wrapped("script", &["-qec", &line, "/dev/null"]).spawn().unwrap();
    let (mut stdin, mut stdout) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut byte = [0];
    let mut answers = answers.iter();
    let mut next = answers.next();
    while let Ok(1) = stdout.read(&mut byte) {
        seen.push(byte[0]);
        let Some((prompt, answer)) = next else { continue };
        if !seen.ends_with(prompt.as_bytes()) {
            continue;
        }
        let tty = std::fs::read_to_string(&file).unwrap();
        let hides = || {
            let shown = Command::new("stty").args(["-a", "-F", tty.trim()]).output().unwrap();
            String::from_utf8_lossy(&shown.stdout).contains("-echo ")
        };
        while !hides() {
            std::thread::sleep(Duration::from_millis(10));
        }
        stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
        next = answers.next();
    }
    let code = terminal.wait().unwrap().code().unwrap();
    (code, String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn in_a_terminal_the_passphrase_is_asked_for_without_echo_and_twice_when_it_is_set() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    lab.join("alice").exit();
    let home = lab.home("alice");
    let typed = |args: &str, answers: &[(&str, &str)]| typed(&lab, args, &home, answers);
    let set = [("new passphrase: ", "correct horse"), ("once more: ", "correct horse")];
    let (code, text) = typed("id passphrase", &set);
    assert!(code == 0 && text.contains("the passphrase is set"), "{text}");
    assert!(!text.contains("correct"), "{text}");
    let (code, text) = typed("audit", &[("passphrase: ", "correct horse")]);
    assert!(code == 0 && text.contains("founded") && !text.contains("horse"), "{text}");
    let (code, text) = typed("audit", &[("passphrase: ", "wrong horse")]);
    assert!(code == 4 && text.contains("passphrase_wrong"), "{text}");
    let differing = [
        ("passphrase: ", "correct horse"),
        ("new passphrase: ", "one of them"),
        ("once more: ", "another"),
    ];
    let (code, text) = typed("id passphrase", &differing);
    assert!(code == 4 && text.contains("the two are not the same"), "{text}");
    assert_done(&on(&lab, "alice", &["audit"], Some(&secret(&lab, "right", "correct horse"))));
}

/// Words are compared over another channel; here the test is the channel.
#[test]
fn safety_words_are_the_same_on_both_sides_and_a_mark_outlives_a_restart() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    let verify = |who: &Proc, name: &str| who.ask(json!({"cmd": "verify", "name": name}));
    let (seen, said) = (verify(alice, "bob"), verify(bob, "alice"));
    assert_eq!(seen["words"], said["words"], "{seen} {said}");
    assert_eq!((list(&seen["words"]).len(), &seen["verified"]), (12, &Value::from(false)));
    let other = verify(carol, "alice");
    assert_ne!(other["words"], said["words"]);
    assert_eq!(verify(alice, "nobody")["code"], "name_unknown");
    assert_eq!(verify(alice, "alice")["code"], "name_unknown");
    let typed = |who: &Proc, line: &str| who.ask(json!({"cmd": "slash", "line": line}));
    assert_eq!(typed(alice, "/verify bob")["data"]["words"], seen["words"]);

    let is_verified = |who: &Proc, name: &str| {
        let members = typed(who, "/who");
        let rows = list(&members["data"]["members"]).to_vec();
        rows.iter().find(|row| row["name"] == name).unwrap()["verified"].as_bool().unwrap()
    };
    assert!(!is_verified(alice, "bob"));
    assert_eq!(typed(alice, "/verify bob ok")["data"]["verified"], true);
    assert!(is_verified(alice, "bob") && !is_verified(alice, "carol"));
    assert!(!is_verified(bob, "alice") && !is_verified(carol, "bob"), "a mark is one's own");
    alice.kill();
    let alice = lab.join("alice");
    assert!(is_verified(&alice, "bob"));
    let status = alice.status();
    let row = list(&status["members"]).iter().find(|row| row["name"] == "bob");
    assert_eq!(row.unwrap()["verified"], true, "{status}");
    let undone = alice.ask(json!({"cmd": "verify", "name": "bob", "verified": false}));
    assert_eq!(undone["verified"], false, "{undone}");
    assert!(!is_verified(&alice, "bob"));
}

/// What an ignored member writes is there all the same, marked; on this home alone, for good.
#[test]
fn who_is_ignored_is_ignored_on_this_home_alone_and_after_a_restart() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = members.as_slice() else { panic!("two") };
    let whois = alice.ask(json!({"cmd": "whois", "name": "bob"}));
    assert_eq!((&whois["linked"], &whois["rooms"]), (&json!(true), &json!(["main"])), "{whois}");
    assert!(whois["link"]["transport"].is_string(), "{whois}");
    let names = |answer: &Value| -> Vec<String> {
        list(&answer["members"]).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&alice.ask(json!({"cmd": "ignore", "name": "bob"}))), ["bob"]);
    alice.wait("told to all", |e| e["event"] == "member" && e["ignored"] == true);
    bob.say("psst");
    let heard = |who: &Proc, text: &str| {
        who.wait(text, |e| e["event"] == "message" && e["text"] == text)["ignored"].clone()
    };
    assert_eq!(heard(alice, "psst"), json!(true));
    alice.kill();
    let alice = lab.join("alice");
    assert_eq!(names(&alice.ask(json!({"cmd": "ignore"}))), ["bob"]);
    let row = alice.ask(json!({"cmd": "slash", "line": "/history 1"}));
    assert_eq!(row["data"]["messages"][0]["ignored"], true, "{row}");
    assert_eq!(names(&alice.ask(json!({"cmd": "unignore", "name": "bob"}))), Vec::<String>::new());
    let row = alice.ask(json!({"cmd": "slash", "line": "/history 1"}));
    assert_eq!(row["data"]["messages"][0].get("ignored"), None, "{row}");
    bob.say("again");
    assert_eq!(heard(&alice, "again"), Value::Null);
    assert_eq!(alice.ask(json!({"cmd": "mute"}))["muted"], true);
    assert_eq!(alice.ask(json!({"cmd": "room"}))["muted"], true);
    assert_eq!(alice.ask(json!({"cmd": "unmute"})).get("muted"), None);
}

/// An authority that lost its register, or forgets it when asked to, certifies a name again.
fn forgetful(lab: &Lab, keyauth: &Proc) -> Proc {
    keyauth.kill();
    for file in files(&lab.home("keyauth")) {
        if file.0.starts_with("store.db") {
            std::fs::remove_file(lab.home("keyauth").join(file.0)).unwrap();
        }
    }
    lab.keyauth()
}

fn alarm(member: &Proc, code: &str, name: &str) -> Value {
    let what = format!("an alarm {code} about {name}");
    member.wait(&what, |e| e["event"] == "alarm" && e["code"] == code && e["name"] == name)
}

#[test]
fn a_second_certificate_for_a_name_raises_one_alarm_on_everybody_with_both_as_proof() {
    let lab = Lab::new();
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members[0].ask(json!({"cmd": "verify", "name": "bob", "verified": true}));
    let carol = members.pop().unwrap();
    carol.exit();
    let _keyauth = forgetful(&lab, &keyauth);
    // Another key, certified under a name that the group knows.
    lab.prepare("mallory", "erin.pem");
    let mut args = lab.join_args("mallory", &["--no-embedded"]);
    args[3] = "bob".to_owned();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let posing = || Proc::start("mallory", lab.command(&args)).ended(LONG);
    assert_refused(&posing(), "name_taken", 4);
    let told: Vec<Value> =
        members.iter().map(|member| alarm(member, "second_certificate", "bob")).collect();
    let names = |alarm: &Value| -> Vec<String> {
        let evidence = list(&alarm["evidence"]).iter();
        evidence.map(|it| it["name"].to_string()).collect()
    };
    for alarm in &told {
        assert_eq!(names(alarm), ["\"bob\"", "\"bob\""], "{alarm}");
        let credential = &alarm["evidence"][1]["credential"];
        assert!(credential.as_str().unwrap().len() > 1_000, "{alarm}");
        let peers = [&alarm["evidence"][0], &alarm["evidence"][1]].map(|it| &it["peer_id"]);
        assert_ne!(peers[0], peers[1]);
        assert_eq!(peers[0], &members[1].ready()["peer_id"], "what the group knows comes first");
    }
    assert_eq!((&told[0]["verified"], &told[1]["verified"]), (&true.into(), &false.into()));
    assert!(told[0]["message"].as_str().unwrap().contains("whom you verified"), "{}", told[0]);
    assert!(told[1]["message"].as_str().unwrap().contains("which is you"), "{}", told[1]);

    // Who was away hears of it from the others, who are not told again.
    let carol = lab.join("carol");
    alarm(&carol, "second_certificate", "bob");
    assert_refused(&posing(), "name_taken", 4);
    members[0].kill();
    let alice = lab.join("alice");
    for other in [&members[1], &carol] {
        alice.until("it is linked with the others", |status| {
            list(&status["members"])
                .iter()
                .any(|row| row["name"] == *other.name && row["linked"] == true)
        });
    }
    let alarms = alice.ask(json!({"cmd": "alarms"}));
    let count =
        |alarms: &[Value]| alarms.iter().filter(|it| it["code"] == "second_certificate").count();
    assert_eq!(count(list(&alarms["alarms"])), 1, "{alarms}");
    for (member, times) in [(&alice, 0), (&members[1], 1), (&carol, 1)] {
        let events: Vec<Value> =
            member.events().into_iter().filter(|e| e["event"] == "alarm").collect();
        assert_eq!(count(&events), times, "{}: {events:?}", member.name);
    }
}

#[test]
fn a_key_certified_under_a_second_name_raises_an_alarm() {
    let lab = Lab::new();
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    lab.join("carol").exit();
    let _keyauth = forgetful(&lab, &keyauth);
    lab.prepare("dave", "carol.pem");
    let dave = lab.start("dave");
    for member in &members {
        let told = alarm(member, "second_name", "carol");
        assert_eq!(told["evidence"][0]["peer_id"], told["evidence"][1]["peer_id"], "{told}");
        assert_eq!(told["evidence"][1]["name"], "dave", "{told}");
    }
    assert!(dave.events().iter().all(|event| event["event"] != "ready"), "{}", dave.story());
}

#[test]
fn a_backup_brings_a_member_back_under_its_name_in_a_new_life_and_nothing_is_lost() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    bob.say("before the backup");
    same_talk(&[alice, bob, carol], 1);
    alice.ask(json!({"cmd": "verify", "name": "bob", "verified": true}));
    let file = lab.dir.path().join("bob.backup");
    let path = file.to_str().unwrap();
    let (under, wrong) =
        (secret(&lab, "under", "tin of beans"), secret(&lab, "wrong", "tin of peas"));
    let backup = |args: &[&str], under: &Path| {
        let mut all = vec!["backup"];
        all.extend_from_slice(args);
        all.extend(["--json", "--backup-passphrase-file", under.to_str().unwrap()]);
        lab.run(&all, "")
    };
    let home = lab.home("bob");
    let home = home.to_str().unwrap();
    assert_refused(&backup(&["create", path, "--home", home], &under), "home_in_use", 1);
    bob.exit();
    let weak = secret(&lab, "weak", "tin");
    assert_refused(&backup(&["create", path, "--home", home], &weak), "passphrase_weak", 2);
    assert!(!file.exists());
    let made = backup(&["create", path, "--home", home], &under);
    assert_done(&made);
    assert_eq!(
        (&made.events[0]["name"], &made.events[0]["state"]),
        (&"bob".into(), &"created".into())
    );
    let left = files(&lab.home("bob"));
    assert!(left.iter().all(|(name, _)| !name.contains("copy")), "a copy was left behind");
    // The others talk on, and so does bob, until his home is lost.
    let bob = lab.join("bob");
    for round in 0..3 {
        bob.say(&format!("bob after the backup {round}"));
        alice.say(&format!("alice after the backup {round}"));
    }
    same_talk(&[alice, &bob, carol], 7);
    bob.kill();
    alice.say("while bob is gone");

    assert_done(&backup(&["verify", path], &under));
    assert_refused(&backup(&["verify", path], &wrong), "passphrase_wrong", 4);
    assert_refused(&backup(&["restore", path, "--home", home], &under), "home_not_empty", 1);
    let again = lab.home("again");
    let again = again.to_str().unwrap();
    let missing = lab.dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    assert_refused(&backup(&["restore", missing, "--home", again], &under), "backup_unread", 3);
    assert_refused(&backup(&["restore", path, "--home", again], &wrong), "passphrase_wrong", 4);
    assert!(!lab.home("again").exists());
    // What one leaves behind that is killed holds keys; the next one clears it.
    let mut line = vec!["backup", "restore", path, "--home", again, "--json"];
    line.extend(["--backup-passphrase-file", under.to_str().unwrap()]);
    let restoring = Proc::start("restore", lab.command(&line));
    let part = lab.dir.path().join(format!("{again}.restoring-{}", restoring.id()));
    // It signs its lock before it makes a key of the passphrase, which takes long. One that has not
    // yet holds nothing, and is left alone.
    let is_signed = || std::fs::read(part.join("lock")).is_ok_and(|lock| !lock.is_empty());
    while !is_signed() && restoring.is_running() {
        std::thread::sleep(Duration::from_millis(1));
    }
    restoring.kill();
    assert!(part.exists(), "it was killed in the middle");
    let restored = backup(&["restore", path, "--home", again], &under);
    assert!(!part.exists());
    assert_done(&restored);

    let mut args = lab.join_args("again", &["--no-embedded"]);
    args[3] = "bob".to_owned();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = || Proc::start("bob", lab.command(&args));
    let bob = start();
    bob.ready();
    same_talk(&[alice, &bob, carol], 8);
    bob.say("back again");
    same_talk(&[alice, &bob, carol], 9);
    alice.say("welcome back");
    same_talk(&[alice, &bob, carol], 10);
    // The same key: what was compared holds.
    let members = alice.ask(json!({"cmd": "members"}));
    let row = list(&members["members"]).iter().find(|row| row["name"] == "bob").unwrap();
    assert_eq!((&row["verified"], &row["state"]), (&true.into(), &"active".into()), "{members}");
    bob.exit();
    // The home of before is an old copy now; it harms nobody.
    let old = lab.join("bob");
    old.say("from the old home");
    same_talk(&[alice, &old, carol], 11);
    old.exit();
    let bob = start();
    bob.ready();
    bob.say("from the restored home");
    same_talk(&[alice, &bob, carol], 12);
    bob.exit();
    ["bob", "again"].iter().for_each(|home| assert_done(&on(&lab, home, &["verify"], None)));
    assert_ne!(lives(&lab, "bob"), lives(&lab, "again"), "each home has its own life");
}

/// The life and the device key of a home's database.
fn lives(lab: &Lab, name: &str) -> Vec<bytes::Bytes> {
    let store = Store::open(&Home::open(&lab.home(name)).unwrap()).unwrap();
    let keys = ["identity/incarnation", "identity/device"];
    keys.iter().map(|key| store.setting(key).unwrap()).collect()
}

#[test]
fn a_backup_that_is_cut_altered_or_newer_is_refused_with_its_code_and_makes_no_home() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let (under, home_under) =
        (secret(&lab, "under", "tin of beans"), secret(&lab, "home", "correct horse"));
    let home_file = home_under.to_str().unwrap();
    let alice = lab.start_with("alice", &["--no-embedded", "--passphrase-file", home_file]);
    alice.ready();
    alice.say("kept");
    alice.exit();
    let file = lab.dir.path().join("alice.backup");
    let path = file.to_str().unwrap();
    let with = ["--backup-passphrase-file", under.to_str().unwrap()];
    let create = [&["backup", "create", path], with.as_slice()].concat();
    assert_refused(&on(&lab, "alice", &create, None), "passphrase_needed", 2);
    assert_done(&on(&lab, "alice", &create, Some(&home_under)));
    let whole = std::fs::read(&file).unwrap();
    let restored = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        on(&lab, "new", &[&["backup", "restore", path], with.as_slice()].concat(), None)
    };
    let altered = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut newer = whole.clone();
    newer[17] = 2;
    let middle = whole.len() / 2;
    for (bytes, code, exit) in [
        (whole[..middle].to_vec(), "backup_truncated", 3),
        (whole[..whole.len() - 1].to_vec(), "backup_truncated", 3),
        (altered(middle), "backup_altered", 3),
        (altered(40), "backup_altered", 3),
        (altered(whole.len() - 1), "backup_altered", 3),
        (newer, "backup_newer", 3),
        (b"hello".to_vec(), "backup_bad", 1),
    ] {
        assert_refused(&restored(&bytes), code, exit);
        let homes = std::fs::read_dir(lab.dir.path().join("homes")).unwrap();
        let homes: Vec<_> = homes.map(|entry| entry.unwrap().file_name()).collect();
        assert!(homes.iter().all(|name| !name.to_str().unwrap().starts_with("new")), "{homes:?}");
    }
    assert_done(&restored(&whole));
    // Under the passphrase that the home was under.
    assert_refused(&on(&lab, "new", &["history"], None), "passphrase_needed", 2);
    let history = on(&lab, "new", &["history"], Some(&home_under));
    assert!(history.events.iter().any(|event| event["text"] == "kept"), "{}", history.text());
    for (name, _) in files(&lab.home("new")) {
        let mode = std::fs::metadata(lab.home("new").join(&name)).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o077, 0, "{name}");
    }
}
