//! What guards a person's identity: the passphrase of a home.
//! Owns: what a thief of the disk finds, and what a person at the keyboard does about it.
//! Must not know: how a group works.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Ended, LONG, Lab, Proc, same_talk, set_mode};

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
