//! Noes: each with its code and its exit code.
//! Owns: names, authorities, homes, settings and addresses that cannot be.
//! Must not know: what a group does when all is well.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::net::UdpSocket;
use std::path::Path;

use crate::harness::{Ended, LONG, Lab, Proc, json, same_talk, set_mode};

fn assert_refused(ended: &Ended, code: &str, exit: i32) {
    assert_eq!((ended.fatal(), ended.code), (code, Some(exit)), "{}", ended.text());
}

/// Joins from a home of its own name and waits for the end.
fn refused(lab: &Lab, home: &str, name: &str, more: &[&str]) -> Ended {
    lab.prepare(home, &format!("{home}.pem"));
    let mut args = lab.join_args(home, &["--no-embedded"]);
    args[3] = name.to_owned();
    args.extend(more.iter().map(|&it| it.to_owned()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Proc::start(home, lab.command(&args)).ended(LONG)
}

#[test]
fn names_that_are_taken_look_alike_or_are_bad_are_refused() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    assert_refused(&refused(&lab, "bob", "alice", &[]), "name_taken", 4);
    assert_refused(&refused(&lab, "bob", "a1ice", &[]), "name_looks_alike", 4);
    assert_refused(&refused(&lab, "bob", "ALICE", &[]), "name_looks_alike", 4);
    for bad in ["\u{430}lice", "bo\u{202e}b", "b\u{1b}[2Job", "b\u{200b}ob", &"x".repeat(33)] {
        assert_refused(&refused(&lab, "bob", bad, &[]), "name_bad", 4);
    }
    // None of this kept the home from being used.
    let bob = lab.join("bob");
    bob.say("hello");
    alice.hear("hello");
    bob.exit();
    assert_refused(&refused(&lab, "bob", "robert", &[]), "key_has_other_name", 4);
}

#[test]
fn another_authority_than_the_pinned_one_is_refused() {
    let lab = Lab::new();
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let network = lab.join("alice").ready()["network"].as_str().unwrap().to_owned();
    let other = "ab".repeat(32);
    let pinned = refused(&lab, "bob", "bob", &["--authority", &other]);
    assert_refused(&pinned, "authority_changed", 4);
    let moved = refused(&lab, "alice", "alice", &["--authority", &other]);
    assert_refused(&moved, "authority_changed", 4);
    // Pinned in a home that never finished joining, by the first contact.
    keyauth.kill();
    let key = lab.home("keyauth").join("authority.key");
    std::fs::remove_dir_all(lab.home("keyauth")).unwrap();
    std::fs::create_dir_all(lab.home("keyauth")).unwrap();
    set_mode(&lab.home("keyauth"), 0o700);
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/other_authority.pem");
    std::fs::copy(stored, &key).unwrap();
    set_mode(&key, 0o600);
    let _posing = lab.keyauth();
    let cheated = refused(&lab, "carol", "carol", &["--authority", &network]);
    assert_refused(&cheated, "authority_changed", 4);
}

#[test]
fn a_certificate_of_another_authority_does_not_get_in() {
    let (ours, theirs) = (Lab::new(), Lab::new());
    let (bootstrap, _keyauth) = (ours.bootstrap(), ours.keyauth());
    let alice = ours.join("alice");
    let key = theirs.home("keyauth").join("authority.key");
    std::fs::create_dir_all(theirs.home("keyauth")).unwrap();
    set_mode(&theirs.home("keyauth"), 0o700);
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/other_authority.pem");
    std::fs::copy(stored, &key).unwrap();
    set_mode(&key, 0o600);
    let _other = theirs.keyauth();
    // Certified there, but at our bootstrap: another network, and none of our talk.
    let args = ["--no-embedded", "--bootstrap", ours.bootstrap.as_str()];
    let mut line = theirs.join_args("bob", &args);
    line.retain(|it| *it != theirs.bootstrap);
    let at = line.iter().position(|it| it == "--bootstrap").unwrap();
    line.remove(at);
    theirs.prepare("bob", "bob.pem");
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let bob = Proc::start("bob", theirs.command(&line));
    let ready = bob.ready();
    assert_ne!(ready["network"], alice.ready()["network"]);
    alice.say("ours");
    bob.say("theirs");
    assert_eq!(alice.history_of(1).len(), 1);
    assert_eq!(bob.history_of(1).len(), 1);
    let noticed = alice.events().iter().any(|e| e["event"] == "member" && e["name"] == "bob");
    assert!(!noticed, "{}", alice.story());
    assert!(bootstrap.is_running());
    // Nor does it by dialling a member: its home belongs elsewhere.
    bob.exit();
    let moved = ours.join_args("bob", &["--no-embedded"]);
    let mut moved: Vec<&str> = moved.iter().map(String::as_str).collect();
    let home = theirs.home("bob");
    let at = moved.iter().position(|it| *it == "--home").unwrap();
    moved[at + 1] = home.to_str().unwrap();
    let bob = Proc::start("bob", ours.command(&moved));
    bob.order(&json!({"cmd": "status"}));
    bob.wait("it answers", |e| e["event"] == "status" || e["event"] == "error");
    alice.say("still ours");
    let talk = alice.history_of(2);
    assert!(talk.iter().all(|line| !line.contains("theirs")), "{talk:?}");
}

#[test]
fn a_taken_port_of_the_api_is_one_clear_no_and_leaves_the_home_free() {
    let lab = Lab::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = lab.home("alice");
    // A home that is made, one that is used again; to a program, and to a person.
    for form in [&["--json"][..], &["--json"], &["--plain"]] {
        lab.prepare("alice", "alice.pem");
        let mut args = lab.join_args("alice", &["--no-embedded", "--api", &address]);
        args[1] = form[0].to_owned();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = Proc::start("alice", lab.command(&args)).ended(LONG);
        // A signal would leave no exit code.
        assert_eq!(ended.code, Some(3), "{}", ended.text());
        if form == ["--json"] {
            assert_eq!(ended.fatal(), "listen_failed", "{}", ended.text());
            assert_eq!(ended.events.len(), 1, "{}", ended.text());
        } else {
            let what = format!("the API on {address}");
            assert_eq!(ended.stderr.matches(&what).count(), 1, "{}", ended.text());
            assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.text());
        }
        assert!(!home.join("control.sock").exists(), "nobody listens there");
        let sound = lab.run(&["verify", "--home", home.to_str().unwrap()], "");
        assert_eq!(sound.code, Some(0), "{}", sound.text());
    }
    let alice = lab.start("alice");
    alice.status();
    alice.exit();
}

/// An address of this machine that is not loopback, if it has one.
pub fn outside() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.77:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn an_unknown_authority_elsewhere_is_refused_without_a_terminal_and_accepted_when_pinned() {
    let Some(address) = outside() else {
        eprintln!("this machine has only a loopback address: nothing to see here");
        return;
    };
    let mut lab = Lab::new();
    lab.keyauth = lab.keyauth.replace("127.0.0.1", &address.to_string());
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let unknown = refused(&lab, "alice", "alice", &[]);
    assert_refused(&unknown, "authority_unknown", 4);
    let hint = unknown.events.iter().rev().find(|e| e["event"] == "error").unwrap();
    assert!(hint["hint"].as_str().unwrap().contains("--authority"), "{hint}");
    let said = hint["message"].as_str().unwrap();
    let fingerprint = said.rsplit(' ').next().unwrap();
    let alice = lab.start_with("alice", &["--no-embedded", "--authority", fingerprint]);
    alice.ready();
    drop(keyauth);
}

#[test]
fn a_second_process_on_one_home_is_refused() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    assert_refused(&lab.start("alice").ended(LONG), "home_in_use", 1);
    alice.say("the first one goes on");
    alice.kill();
    lab.join("alice").history_of(1);
}

#[test]
fn a_key_that_others_may_read_or_that_is_wrong_is_refused() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    lab.join("alice").exit();
    let key = lab.home("alice").join("member.key");
    set_mode(&key, 0o644);
    assert_refused(&lab.start("alice").ended(LONG), "key_file_open", 3);
    set_mode(&key, 0o600);
    let database = lab.home("alice").join("database.key");
    let right = std::fs::read(&database).unwrap();
    std::fs::write(&database, "0f".repeat(32)).unwrap();
    assert_refused(&lab.start("alice").ended(LONG), "database_key", 3);
    std::fs::remove_file(&database).unwrap();
    assert_refused(&lab.start("alice").ended(LONG), "database_key", 3);
    std::fs::write(&database, right).unwrap();
    set_mode(&database, 0o600);
    lab.join("alice");
}

#[test]
fn settings_that_are_wrong_are_one_clear_line() {
    let lab = Lab::new();
    let file = lab.dir.path().join("config.yml");
    let path = file.to_str().unwrap();
    let check = |text: &str, code: &str, exit: i32, word: &str| {
        std::fs::write(&file, text).unwrap();
        let ended = lab.run(&["join", "--json", "--name", "alice", "--config", path], "");
        assert_refused(&ended, code, exit);
        let error = ended.events.last().unwrap();
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
        assert_eq!(ended.events.len(), 1, "{}", ended.text());
    };
    check("bootstap: 127.0.0.1:1\n", "config_bad", 2, "bootstrap");
    check("timers: [\n", "config_bad", 2, "");
    check("mdns: perhaps\n", "config_bad", 2, "mdns");
    check("timers:\n  heartbeat_ms: soon\n", "config_bad", 2, "heartbeat_ms");
    // Whatever is started with it, also what only looks: with the line of the one that is wrong.
    check("aliases:\n  w: /who\n  who: /members\n", "config_bad", 2, "config.yml:3");
    let shown = lab.run(&["config", "show", "--json", "--config", file.to_str().unwrap()], "");
    assert_refused(&shown, "config_bad", 2);
    let gone =
        lab.run(&["join", "--json", "--name", "alice", "--config", "/nowhere/config.yml"], "");
    assert_refused(&gone, "config_unreadable", 3);
    let flag = lab.run(&["join", "--json", "--nmae", "alice"], "");
    assert_eq!(flag.code, Some(2), "{}", flag.text());
}

#[test]
fn a_port_in_use_and_a_home_that_is_none_are_refused() {
    let lab = Lab::new();
    let first = lab.bootstrap();
    let other = lab.home("other");
    let other = other.to_str().unwrap();
    let args = ["bootstrap", "--json", "--listen", &lab.bootstrap, "--home", other];
    assert_refused(&lab.run(&args, ""), "listen_failed", 3);
    assert!(first.is_running());
    let file = lab.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let home = file.join("home");
    for home in [&file, &home] {
        let home = home.to_str().unwrap();
        let ended = lab.run(&["join", "--json", "--name", "alice", "--home", home], "");
        assert_refused(&ended, "home_unusable", 3);
    }
}

fn order(lab: &Lab, args: &[&str]) -> Ended {
    let home = lab.home("keyauth");
    let mut line = vec!["keyauth"];
    line.extend(args);
    line.extend(["--json", "--home", home.to_str().unwrap()]);
    lab.run(&line, "")
}

#[test]
fn a_revoked_certificate_keeps_its_holder_out_and_throws_it_out() {
    let lab = Lab::new();
    let bootstrap = lab.bootstrap();
    assert_refused(&order(&lab, &["list"]), "nothing_running", 7);
    let keyauth = lab.keyauth();
    let members = lab.group(&["alice", "bob", "carol"]);
    members[2].say("before");
    same_talk(&members.iter().collect::<Vec<_>>(), 1);
    assert_refused(&order(&lab, &["revoke", "nobody"]), "name_unknown", 1);
    let done = order(&lab, &["revoke", "carol", "--reason", "left the company"]);
    assert_eq!(done.code, Some(0), "{}", done.text());
    // The leader looks at the list by itself.
    assert_refused(&members[2].ended(LONG), "removed", 4);
    let again = refused(&lab, "carol", "carol", &[]);
    // Whoever says it first: a member, or the bootstrap, which holds the log, too.
    assert!(["removed", "certificate_revoked"].contains(&again.fatal()), "{}", again.text());
    assert_eq!(again.code, Some(4));
    // With an empty home the authority itself says it.
    for entry in std::fs::read_dir(lab.home("carol")).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("member.key") && path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let anew = refused(&lab, "carol", "carol", &[]);
    assert_refused(&anew, "certificate_revoked", 4);
    assert!(keyauth.is_running() && bootstrap.is_running());
    members[0].say("after");
    same_talk(&[&members[0], &members[1]], 2);
}

#[test]
fn where_the_operator_approves_a_joiner_waits_for_it() {
    let lab = Lab::new().with("ADMISSION", "approve");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.start("alice");
    alice.wait("it says what it waits for", |e| {
        e["event"] == "waiting" && e["text"].as_str().is_some_and(|it| it.contains("approve"))
    });
    let rows = order(&lab, &["list"]);
    assert!(rows.events.iter().any(|e| e["name"] == "alice"), "{}", rows.text());
    let done = order(&lab, &["approve", "alice"]);
    assert_eq!(done.code, Some(0), "{}", done.text());
    alice.ready();
}
