//! Messages from one member to another alone: requests of strangers, and contact codes.
//! Owns: nothing but its cases.
//! Must not know: how a proof of a code looks.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use serde_json::{Value, json};

use crate::harness::{Proc, list};
use crate::lab::Lab;
use crate::rooms::{done, hear_in, refused, texts};

fn write_to(member: &Proc, name: &str, text: &str) {
    let sent = done(member, json!({"cmd": "msg", "name": name, "text": text}));
    assert_eq!(sent["event"], "sent", "{sent}");
}

fn write_with(member: &Proc, name: &str, code: &str, text: &str) {
    let command = json!({"cmd": "msg", "name": name, "text": text, "code": code});
    assert_eq!(done(member, command)["event"], "sent");
}

/// Waits until somebody asks to write to a member.
fn asked_by(member: &Proc, name: &str) -> Value {
    let is = |e: &Value| e["event"] == "request" && e["name"] == name && e["state"] == "waiting";
    let request = member.wait("somebody wants to write", is);
    assert_eq!(request["kind"], "direct", "{request}");
    request
}

/// What came live in a room of two.
fn heard_in(member: &Proc, room: &str) -> Vec<String> {
    let is = |e: &&Value| e["event"] == "message" && e["room"] == room && e["history"] != true;
    let events = member.events();
    events.iter().filter(is).map(|e| e["text"].as_str().unwrap().to_owned()).collect()
}

fn waiting(member: &Proc) -> Vec<String> {
    let answer = done(member, json!({"cmd": "accept"}));
    assert_eq!(answer["event"], "requests", "{answer}");
    list(&answer["requests"]).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

/// Who is verified, or shares a closed room, needs no yes any more: nothing of it is left to answer.
#[test]
fn a_request_that_is_settled_by_other_ways_waits_no_longer() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    for who in [alice, carol] {
        write_to(who, "bob", "hello stranger");
    }
    asked_by(bob, "alice");
    asked_by(bob, "carol");
    assert_eq!(waiting(bob), ["alice", "carol"]);
    done(bob, json!({"cmd": "verify", "name": "alice", "verified": true}));
    hear_in(bob, "@alice", "hello stranger");
    assert_eq!(waiting(bob), ["carol"]);
    done(bob, json!({"cmd": "room_create", "room": "ops"}));
    done(bob, json!({"cmd": "room_invite", "room": "ops", "name": "carol"}));
    assert_eq!(waiting(bob), Vec::<String>::new());
    write_to(carol, "bob", "and at once");
    hear_in(bob, "@carol", "and at once");
}

#[test]
fn a_direct_message_of_a_stranger_waits_until_it_is_accepted() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    write_to(alice, "bob", "hello stranger");
    asked_by(bob, "alice");
    assert_eq!(refused(bob, json!({"cmd": "history", "room": "@alice"})), "request_waiting");
    assert_eq!(waiting(bob), ["alice"]);
    assert!(heard_in(bob, "@alice").is_empty(), "{}", bob.story());
    let accepted = done(bob, json!({"cmd": "accept", "name": "alice"}));
    assert_eq!((&accepted["kind"], &accepted["state"]), (&json!("direct"), &json!("approved")));
    hear_in(bob, "@alice", "hello stranger");
    write_to(alice, "bob", "and at once");
    hear_in(bob, "@alice", "and at once");
    // Who wrote first is no stranger to the answer.
    write_to(bob, "alice", "an answer");
    hear_in(alice, "@bob", "an answer");
    assert_eq!(waiting(bob), Vec::<String>::new());

    // Turned down: nothing more comes, and a restart forgets nothing of it.
    write_to(carol, "bob", "buy this");
    asked_by(bob, "carol");
    let answer = done(bob, json!({"cmd": "refuse", "name": "carol"}));
    assert_eq!((&answer["kind"], &answer["state"]), (&json!("direct"), &json!("refused")));
    carol.wait("bob stores no more", |e| e["event"] == "error" && e["code"] == "quota_full");
    write_to(carol, "bob", "and this");
    bob.exit();
    let bob = lab.join("bob");
    carol.until("bob is linked again", |status| {
        list(&status["members"]).iter().any(|it| it["name"] == "bob" && it["linked"] == true)
    });
    carol.say("a mark in main");
    bob.hear("a mark in main");
    assert!(heard_in(&bob, "@carol").is_empty(), "{}", bob.story());
    assert!(waiting(&bob).is_empty());
    done(&bob, json!({"cmd": "accept", "name": "carol"}));
    hear_in(&bob, "@carol", "and this");
    assert_eq!(heard_in(&bob, "@carol"), ["buy this", "and this"]);
    assert_eq!(texts(&bob, "@carol"), ["buy this", "and this"]);
}

#[test]
fn whoever_shows_the_contact_code_need_not_wait_and_an_old_code_opens_nothing() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol", "dave"]);
    let [alice, bob, carol, dave] = members.as_slice() else { panic!("four") };
    let code = |more: &str| {
        let answer = done(bob, json!({"cmd": more}));
        assert_eq!(answer["event"], "code", "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    };
    let first = code("code");
    assert_eq!(first.split('-').count(), 6);
    assert_eq!(code("code"), first, "the same until it is rotated");
    write_with(alice, "bob", &first, "with the code");
    hear_in(bob, "@alice", "with the code");

    // Rotated: the old one opens nothing, be it shown before or after.
    let second = code("code_rotate");
    assert_ne!(first, second);
    write_with(carol, "bob", &first, "with the old code");
    asked_by(bob, "carol");
    write_to(dave, "bob", "without any");
    asked_by(bob, "dave");
    assert_eq!(waiting(bob), ["carol", "dave"]);
    write_with(carol, "bob", &second, "with the new code");
    hear_in(bob, "@carol", "with the new code");
    assert_eq!(heard_in(bob, "@carol"), ["with the old code", "with the new code"]);
    assert_eq!(waiting(bob), ["dave"]);
    // Whom it let in stays in.
    write_to(alice, "bob", "still here");
    hear_in(bob, "@alice", "still here");
    assert!(heard_in(bob, "@dave").is_empty());
}

#[test]
fn whom_one_let_into_a_room_is_no_stranger_and_everyone_may_write_where_that_is_wished() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    crate::rooms::create(bob, "walnut", json!({}));
    done(bob, json!({"cmd": "room_invite", "room": "walnut", "name": "alice"}));
    crate::rooms::holds(alice, "walnut", &["alice", "bob"]);
    write_to(alice, "bob", "as we know each other");
    hear_in(bob, "@alice", "as we know each other");
    write_to(carol, "bob", "as we do not");
    asked_by(bob, "carol");
    drop(members);

    let lab = Lab::new().with("DIRECT", "everyone");
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    write_to(&members[0], "bob", "no ceremony");
    hear_in(&members[1], "@alice", "no ceremony");
}

/// The room of two is made by what is first said there, with an end, too, and by a file.
#[test]
fn a_first_message_to_somebody_alone_may_have_an_end() {
    let lab = Lab::new().with("DIRECT", "everyone");
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = members.as_slice() else { panic!("two") };
    let home = lab.home("alice");
    let send = |args: &[&str]| {
        let more = ["--json", "--home", home.to_str().unwrap()];
        lab.run(&[&["send"], args, &more].concat(), "")
    };
    let no = send(&["@nobody", "hello", "--expires", "10m"]);
    assert_eq!((no.code, no.fatal()), (Some(1), "name_unknown"), "{}", no.text());
    let sent = send(&["@bob", "the code is 1234", "--expires", "10m", "--wait", "all"]);
    assert_eq!(sent.code, Some(0), "{}", sent.text());
    let heard = bob.wait("a message", |e| e["event"] == "message" && e["room"] == "@alice");
    assert_eq!(heard["text"], "the code is 1234", "{heard}");
    assert!(heard["expires_at"].is_string(), "{heard}");
    // Neither is it made twice, nor for oneself.
    done(alice, json!({"cmd": "send", "room": "@bob", "text": "and 5678"}));
    bob.hear("and 5678");
    let rooms = done(alice, json!({"cmd": "rooms"}));
    let direct = list(&rooms["rooms"]).iter().filter(|it| it["kind"] == "direct").count();
    assert_eq!(direct, 1, "{rooms}");
    assert_eq!(
        refused(alice, json!({"cmd": "send", "room": "@alice", "text": "x"})),
        "name_unknown"
    );
}
