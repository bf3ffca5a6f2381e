//! The way in by an invite, with the key authority off.
//! Owns: invites made, passed on, spent, expired, withdrawn; and what comes when it is back.
//! Must not know: what is in an invite.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::{Ended, LONG, Lab, Proc, Value, json, list, same_talk, set_mode, settled};
use crate::lab::free_port;

/// Gives an order about invites to the authority of this lab, and returns its rows.
fn invites(lab: &Lab, args: &[&str]) -> Vec<Value> {
    let ended = order(lab, args);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    ended.events
}

fn order(lab: &Lab, args: &[&str]) -> Ended {
    let home = lab.home("keyauth");
    let mut line = vec!["invite"];
    line.extend(args);
    line.extend(["--json", "--home", home.to_str().unwrap()]);
    lab.run(&line, "")
}

/// Makes an invite that leads to the bootstrap of this lab.
fn invite(lab: &Lab, more: &[&str]) -> Value {
    let mut args = vec!["create", "--bootstrap", lab.bootstrap.as_str()];
    args.extend(["--keyauth", lab.keyauth.as_str()]);
    args.extend(more);
    invites(lab, &args).remove(0)
}

/// Starts somebody who has nothing but a name and an invite, in a file.
fn start(lab: &Lab, name: &str, invite: &Value) -> Proc {
    let keys = ["alice", "bob", "carol", "dave", "erin"];
    if keys.contains(&name) {
        lab.prepare(name, &format!("{name}.pem"));
    }
    let file = lab.dir.path().join(format!("{name}.invite"));
    std::fs::write(&file, format!("{}\n", invite["invite"].as_str().unwrap())).unwrap();
    let home = lab.home(name);
    let mut args = vec!["join", "--json", "--listen", "127.0.0.1:0"];
    args.extend(["--name", name, "--home", home.to_str().unwrap()]);
    args.extend(["--invite-file", file.to_str().unwrap()]);
    Proc::start(name, lab.command(&args))
}

fn assert_refused(proc: &Proc, code: &str) {
    let ended = proc.ended(LONG);
    assert_eq!((ended.fatal(), ended.code), (code, Some(4)), "{}", ended.text());
}

/// Alice leads a group whose authority is off; before that, it made invites as told.
fn group(lab: &Lab, wanted: &[&[&str]]) -> (Proc, Proc, Vec<Value>) {
    let bootstrap = lab.bootstrap();
    let keyauth = lab.keyauth();
    let alice = lab.join("alice");
    let made = wanted.iter().map(|more| invite(lab, more)).collect();
    keyauth.kill();
    (bootstrap, alice, made)
}

fn certificates(lab: &Lab) -> Vec<Value> {
    let home = lab.home("keyauth");
    let args = ["keyauth", "list", "--json", "--home", home.to_str().unwrap()];
    lab.run(&args, "").events
}

#[test]
fn an_invite_made_before_brings_dave_in_while_the_authority_is_off() {
    let lab = Lab::new();
    let (_bootstrap, alice, made) = group(&lab, &[&[]]);
    alice.say("before");
    let dave = start(&lab, "dave", &made[0]);
    dave.ready();
    dave.hear("before");
    dave.say("here by an invite");
    alice.hear("here by an invite");
    // A second one finds it spent, whatever its name.
    assert_refused(&start(&lab, "erin", &made[0]), "voucher_spent");
    // Dave is a member like any other: it comes back without the invite, and needs no addresses.
    dave.exit();
    alice.say("while dave is away");
    let home = lab.home("dave");
    let args = ["join", "--json", "--name", "dave", "--listen", "127.0.0.1:0"];
    let args: Vec<&str> = args.into_iter().chain(["--home", home.to_str().unwrap()]).collect();
    let dave = Proc::start("dave", lab.command(&args));
    dave.ready();
    dave.hear("while dave is away");
    // And it may lead: the group goes on without alice, and she comes back to it.
    let members = vec![alice, dave];
    settled(&members);
    members[0].exit();
    members[1].until("dave leads", |it| it["leader"]["name"] == "dave" && it["quorum"] == true);
    let alice = lab.join("alice");
    same_talk(&[&alice, &members[1]], 3);
}

#[test]
fn a_group_led_by_one_who_came_by_an_invite_admits_the_next() {
    let lab = Lab::new();
    let (_bootstrap, alice, made) = group(&lab, &[&["--uses", "2"]]);
    let bob = start(&lab, "bob", &made[0]);
    bob.ready();
    alice.exit();
    bob.until("bob leads", |it| it["leader"]["name"] == "bob" && it["quorum"] == true);
    let carol = start(&lab, "carol", &made[0]);
    carol.ready();
    carol.say("the third");
    bob.hear("the third");
    assert_refused(&start(&lab, "dave", &made[0]), "voucher_spent");
}

#[test]
fn an_invite_that_has_expired_brings_nobody_in() {
    let lab = Lab::new();
    let (_bootstrap, _alice, made) = group(&lab, &[&["--expires", "1s"]]);
    let until = made[0]["expires_at"].as_str().unwrap();
    while now().as_str() <= until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_refused(&start(&lab, "dave", &made[0]), "voucher_expired");
    let rows = invites(&lab, &["list"]);
    assert_eq!(rows[0]["state"], "expired", "{rows:?}");
}

/// The wall clock as events print it.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    p2pgroup::time::Wall(u64::try_from(since.as_millis()).unwrap()).rfc3339()
}

#[test]
fn an_invite_that_was_revoked_brings_nobody_in_and_takes_along_whom_it_brought() {
    let lab = Lab::new();
    let _bootstrap = lab.bootstrap();
    let keyauth = lab.keyauth();
    let alice = lab.join("alice");
    let (two, other) = (invite(&lab, &["--uses", "3"]), invite(&lab, &[]));
    let dave = start(&lab, "dave", &two);
    dave.ready();
    let told = |id: &Value| {
        let line = format!("the invite {} is revoked", id.as_str().unwrap());
        move |e: &Value| e["event"] == "info" && e["text"] == *line
    };
    let id = two["id"].as_str().unwrap();
    let rows = invites(&lab, &["revoke", id.get(..10).unwrap(), "--reason", "sent to all"]);
    assert_eq!((&rows[0]["state"], &rows[0]["reason"]), (&json!("revoked"), &json!("sent to all")));
    alice.wait("the group knows", told(&two["id"]));
    keyauth.kill();
    // Dave came before, and stays.
    assert_refused(&start(&lab, "erin", &two), "voucher_revoked");
    dave.say("still here");
    alice.hear("still here");
    // With its members, on the store alone; the group hears of it when the authority is back.
    let mark = alice.mark();
    invites(&lab, &["revoke", id, "--with-members"]);
    let unknown = order(&lab, &["revoke", "ffffffffffffffff"]);
    assert_eq!((unknown.fatal(), unknown.code), ("voucher_unknown", Some(1)), "{}", unknown.text());
    let keyauth = lab.keyauth();
    assert_refused(&dave, "removed");
    alice.wait_from(mark, LONG, "dave is removed", |e| {
        e["event"] == "member" && e["name"] == "dave" && e["state"] == "removed"
    });
    keyauth.kill();
    // The other invite is as good as before.
    start(&lab, "bob", &other).ready();
}

#[test]
fn an_invite_for_three_brings_in_three_of_five_who_come_at_once() {
    let lab = Lab::new();
    let (_bootstrap, alice, made) = group(&lab, &[&["--uses", "3"]]);
    let names = ["bob", "carol", "dave", "erin", "frank"];
    let joiners: Vec<Proc> = names.iter().map(|name| start(&lab, name, &made[0])).collect();
    let deadline = Instant::now() + LONG + LONG;
    let fate = |proc: &Proc| {
        let is = |e: &&Value| e["event"] == "ready" || e["fatal"] == true;
        proc.events().iter().find(is).cloned()
    };
    while joiners.iter().any(|it| fate(it).is_none()) {
        assert!(
            Instant::now() < deadline,
            "{}",
            joiners.iter().map(Proc::story).collect::<String>()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let (inside, outside): (Vec<Proc>, Vec<Proc>) =
        joiners.into_iter().partition(|it| fate(it).is_some_and(|it| it["event"] == "ready"));
    assert_eq!((inside.len(), outside.len()), (3, 2), "{}", alice.story());
    for proc in &outside {
        assert_refused(proc, "voucher_spent");
    }
    let mut members = inside;
    members.insert(0, alice);
    settled(&members);
    members[1].say("three of us");
    for member in &members {
        member.history_of(1);
    }
}

#[test]
fn who_came_by_an_invite_is_certified_when_the_authority_is_back() {
    // It certifies nobody but who brings an invite, so the invite must count there, too.
    let lab = Lab::new().with("ADMISSION", "voucher");
    let _bootstrap = lab.bootstrap();
    let keyauth = lab.keyauth();
    let stranger = lab.start("erin");
    let ended = stranger.ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("voucher_needed", Some(4)), "{}", ended.text());
    // The first member of all comes by an invite, too: the authority founds, so it must be there.
    let founding = invite(&lab, &["--name", "alice"]);
    let alice = start(&lab, "alice", &founding);
    alice.ready();
    let made = invite(&lab, &[]);
    keyauth.kill();
    let dave = start(&lab, "dave", &made);
    dave.ready();
    assert!(!lab.home("dave").join("certificate.pem").exists());
    let keyauth = lab.keyauth();
    let file = lab.home("dave").join("certificate.pem");
    let deadline = Instant::now() + LONG;
    while !file.exists() {
        assert!(Instant::now() < deadline, "{}{}", dave.story(), keyauth.story());
        std::thread::sleep(Duration::from_millis(20));
    }
    let rows = certificates(&lab);
    assert!(rows.iter().any(|it| it["name"] == "dave" && it["state"] == "valid"), "{rows:?}");
    // Its certificate names the invite, and is a certificate like any other.
    let authority = lab.home("keyauth").join("authority.pem");
    let args = ["verify", "-x509_strict", "-CAfile", authority.to_str().unwrap()];
    let args: Vec<&str> = args.into_iter().chain([file.to_str().unwrap()]).collect();
    if std::process::Command::new("openssl").arg("version").output().is_ok() {
        let verified = Proc::start("openssl", lab.wrapped("openssl", &args)).ended(LONG);
        assert_eq!(verified.code, Some(0), "{}", verified.text());
    }
    // Certified and still the same member, with the authority off again and after a restart.
    keyauth.kill();
    dave.say("certified");
    alice.hear("certified");
    dave.exit();
    let dave = lab.join("dave");
    same_talk(&[&alice, &dave], 1);
    let status = dave.until("both are there", |it| list(&it["members"]).len() == 2);
    assert_eq!(status["quorum"], true);
    // The invite brought in one, by whichever way: not a second one by way of the authority.
    let keyauth = lab.keyauth();
    assert_refused(&start(&lab, "bob", &made), "voucher_spent");
    drop(keyauth);
}

#[test]
fn an_invite_for_a_name_gives_that_name_and_no_other() {
    let lab = Lab::new();
    let _bootstrap = lab.bootstrap();
    let keyauth = lab.keyauth();
    let alice = lab.join("alice");
    let made = invite(&lab, &["--name", "dave", "--expires", "7d"]);
    assert_eq!(made["name"], "dave");
    // The authority's operator is in no room, puts nobody into one, and is told so.
    let led = order(&lab, &["create", "--room", "ops"]);
    assert_eq!(led.code, Some(0), "{}", led.text());
    assert!(led.text().contains("puts nobody into one"), "{}", led.text());
    // The name is kept free for whoever has the invite, and what is taken is not promised.
    lab.prepare("bob", "bob.pem");
    let mut args = lab.join_args("bob", &["--no-embedded"]);
    args[3] = "dave".to_owned();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_refused(&Proc::start("bob", lab.command(&args)), "name_taken");
    let taken = order(&lab, &["create", "--name", "alice"]);
    assert_eq!((taken.fatal(), taken.code), ("name_taken", Some(4)), "{}", taken.text());
    let twice = order(&lab, &["create", "--name", "Dave"]);
    assert_eq!((twice.fatal(), twice.code), ("name_taken", Some(4)), "{}", twice.text());
    keyauth.kill();
    assert_refused(&start(&lab, "erin", &made), "voucher_name");
    // From the environment, without a name: it is the invite's.
    lab.prepare("dave", "dave.pem");
    let home = lab.home("dave");
    let args = ["join", "--json", "--listen", "127.0.0.1:0", "--home", home.to_str().unwrap()];
    let mut command = lab.command(&args);
    command.env("P2PGROUP_INVITE", made["invite"].as_str().unwrap());
    let dave = Proc::start("dave", command);
    assert_eq!(dave.ready()["name"], "dave");
    dave.say("it is me");
    assert_eq!(alice.hear("it is me")["from"], "dave");
}

#[test]
fn a_damaged_invite_or_one_of_another_network_is_refused_in_one_line() {
    let lab = Lab::new();
    let (_bootstrap, _alice, made) = group(&lab, &[&[]]);
    let text = made[0]["invite"].as_str().unwrap();
    let cut = json!({"invite": text.get(..text.len() - 1).unwrap()});
    let ended = start(&lab, "dave", &cut).ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("invite_bad", Some(2)), "{}", ended.text());
    // Signed by another authority, and pointing at our bootstrap.
    let other = lab.home("other");
    let key = other.join("authority.key");
    std::fs::create_dir_all(&other).unwrap();
    set_mode(&other, 0o700);
    let stored =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/other_authority.pem");
    std::fs::copy(stored, &key).unwrap();
    set_mode(&key, 0o600);
    let args = ["invite", "create", "--json", "--home", other.to_str().unwrap()];
    // Nobody answers for that authority, whatever runs at the usual address.
    let nobody = format!("127.0.0.1:{}", free_port());
    let more = ["--bootstrap", lab.bootstrap.as_str(), "--keyauth", nobody.as_str()];
    let args: Vec<&str> = args.into_iter().chain(more).collect();
    let foreign = lab.run(&args, "").events.remove(0);
    let lost = start(&lab, "dave", &foreign);
    lost.wait("it says what it waits for", |e| e["event"] == "waiting");
    lost.exit();
    // A home that belongs to our network stays there, whatever an invite says.
    let erin = start(&lab, "erin", &made[0]);
    erin.ready();
    erin.exit();
    assert_refused(&start(&lab, "erin", &foreign), "authority_changed");
}

#[test]
fn a_member_who_hosts_the_authority_invites_as_an_operator_does() {
    let lab = Lab::new();
    let alice = lab.start_with("alice", &[]);
    alice.ready();
    let args = ["invite", "create", "--json", "--bootstrap", &lab.bootstrap];
    let made = lab.run(&args, "");
    assert_eq!(made.code, Some(0), "{}", made.text());
    let dave = start(&lab, "dave", &made.events[0]);
    dave.ready();
    dave.say("invited by alice");
    alice.hear("invited by alice");
    let listed = lab.run(&["invite", "list"], "");
    let line = listed.events[0].as_str().unwrap().to_owned();
    let id = made.events[0]["id"].as_str().unwrap();
    assert!(line.starts_with(&format!("{id}\tvalid\t1\t-\t-\t")), "{line}");
    // As a person sees it: stdout holds the invite alone.
    let plain = lab.run(&["invite", "create", "--bootstrap", &lab.bootstrap], "");
    assert_eq!(plain.events.len(), 1, "{}", plain.text());
    assert!(plain.events[0].as_str().unwrap().starts_with("p2pgroup1-"));
    assert!(plain.stderr.contains("of this machine alone"), "{}", plain.stderr);
}

#[test]
fn a_member_that_runs_makes_lists_and_withdraws_invites_from_a_script() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let home = lab.home("alice");
    let by = |args: &[&str]| {
        let more = ["--by", "alice", "--home", home.to_str().unwrap()];
        lab.run(&[&["invite"], args, &more].concat(), "")
    };
    let made = by(&["create", "--uses", "2", "--expires", "90s", "--json"]);
    assert_eq!(made.code, Some(0), "{}", made.text());
    let first = &made.events[0];
    assert_eq!((&first["uses"], made.events.len()), (&json!(2), 1), "{}", made.text());
    let dave = start(&lab, "dave", first);
    dave.ready();
    alice.say("by an invite of mine");
    dave.hear("by an invite of mine");
    // Stdout gets the invite alone.
    let made = by(&["create", "--room", "main"]);
    assert_eq!((made.code, made.events.len()), (Some(0), 1), "{}", made.text());
    assert!(made.events[0].as_str().unwrap().starts_with("p2pgroup"), "{}", made.text());
    let listed = by(&["list", "--json"]);
    assert_eq!(list(&listed.events[0]["invites"]).len(), 2, "{}", listed.text());
    let id = first["id"].as_str().unwrap();
    let gone = by(&["revoke", id, "--reason", "enough", "--json"]);
    assert_eq!((gone.code, &gone.events[0]["state"]), (Some(0), &json!("revoked")));
    let no = by(&["create", "--room", "nosuch", "--json"]);
    assert_eq!((no.code, no.fatal()), (Some(1), "room_unknown"), "{}", no.text());
    alice.exit();
    assert_eq!(by(&["list"]).code, Some(7));
}
