//! Rooms: private, listed and of two; who comes in, who is put out, and what each of them reads.
//! Owns: the commands about rooms as scripts give them.
//! Must not know: how keys and orders travel.
//! Invariants: none.
//! Start reading at: the first test.

use serde_json::{Value, json};

use crate::harness::{LONG, Proc, list};
use crate::lab::Lab;

/// Asks, and takes no no.
pub fn done(member: &Proc, command: Value) -> Value {
    let answer = member.ask(command);
    assert_ne!(answer["event"], "error", "{}: {answer}\n{}", member.name, member.story());
    answer
}

/// Asks, and takes no yes; gives the code.
pub fn refused(member: &Proc, command: Value) -> String {
    let answer = member.ask(command);
    assert_eq!(answer["event"], "error", "{}: {answer}", member.name);
    answer["code"].as_str().unwrap().to_owned()
}

pub fn create(member: &Proc, room: &str, more: Value) -> Value {
    let mut command = json!({"cmd": "room_create", "room": room});
    for (name, value) in more.as_object().unwrap() {
        command[name] = value.clone();
    }
    done(member, command)
}

pub fn say_in(member: &Proc, room: &str, text: &str) {
    let sent = member.ask(json!({"cmd": "send", "room": room, "text": text}));
    assert_eq!(sent["event"], "sent", "{}: {sent}\n{}", member.name, member.story());
    assert_eq!(sent["room"], room);
}

pub fn hear_in(member: &Proc, room: &str, text: &str) -> Value {
    let what = format!("it hears \"{text}\" in {room}");
    let is = |e: &Value| e["event"] == "message" && e["text"] == text && e["room"] == room;
    member.wait(&what, is)
}

/// Waits until a member holds the keys of a room together with these.
pub fn holds(member: &Proc, room: &str, names: &[&str]) {
    let mut names: Vec<&str> = names.to_vec();
    names.sort_unstable();
    let what = format!("{names:?} hold the keys of {room}");
    let is = |e: &Value| {
        let mut held: Vec<&str> = list(&e["members"]).iter().filter_map(Value::as_str).collect();
        held.sort_unstable();
        e["event"] == "epoch" && e["room"] == room && held == names
    };
    member.wait(&what, is);
}

/// Waits until all who remain hold keys without somebody.
pub fn receipt(member: &Proc, name: &str) -> Value {
    let is = |e: &Value| e["event"] == "receipt" && e["name"] == name && e["done_at"].is_string();
    let receipt = member.wait("the receipt is complete", is);
    assert_eq!((&receipt["done"], list(&receipt["pending"]).len()), (&receipt["of"], 0));
    receipt
}

pub fn rooms_of(member: &Proc) -> Vec<String> {
    let rooms = done(member, json!({"cmd": "rooms"}));
    list(&rooms["rooms"])
        .iter()
        .filter(|it| it["in"] == true)
        .map(|it| it["room"].as_str().unwrap().to_owned())
        .collect()
}

pub fn texts(member: &Proc, room: &str) -> Vec<String> {
    let mark = member.mark();
    let end = done(member, json!({"cmd": "history", "room": room, "last": 1_000}));
    let events = member.events();
    let of = |e: &&Value| e["event"] == "message" && e["ref"] == end["ref"];
    events[mark..].iter().filter(of).map(|e| e["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_private_room_is_known_to_its_members_alone() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    let room = create(alice, "walnut", json!({"text": "what it is for"}));
    assert_eq!((&room["room"], &room["kind"]), (&json!("walnut"), &json!("private")));
    say_in(alice, "walnut", "before bob");
    let room = done(alice, json!({"cmd": "room_invite", "room": "walnut", "name": "bob"}));
    assert_eq!(list(&room["members"]).len(), 2, "{room}");
    holds(alice, "walnut", &["alice", "bob"]);
    holds(bob, "walnut", &["alice", "bob"]);
    hear_in(bob, "walnut", "before bob");
    say_in(bob, "walnut", "from bob");
    hear_in(alice, "walnut", "from bob");
    assert_eq!(texts(alice, "walnut"), texts(bob, "walnut"));

    assert_eq!(rooms_of(bob), ["main", "walnut"]);
    assert_eq!(rooms_of(carol), ["main"]);
    for command in [
        json!({"cmd": "send", "room": "walnut", "text": "x"}),
        json!({"cmd": "history", "room": "walnut"}),
        json!({"cmd": "room", "room": "walnut"}),
        json!({"cmd": "room_join", "room": "walnut"}),
    ] {
        assert_eq!(refused(carol, command), "room_unknown");
    }
    alice.say("in main, for all");
    carol.hear("in main, for all");
    let about = |e: &&Value| e["room"] == "walnut" || e["text"] == "from bob";
    let events = carol.events();
    let told: Vec<&Value> = events.iter().filter(about).filter(|e| e["event"] != "error").collect();
    assert_eq!(told, Vec::<&Value>::new());
    for member in &members {
        member.exit();
    }
    // Both talks are whole after a restart, and each where it belongs.
    let bob = lab.join("bob");
    assert_eq!(texts(&bob, "walnut"), ["before bob", "from bob"]);
    assert_eq!(texts(&bob, "main"), ["in main, for all"]);
}

#[test]
fn who_was_away_when_it_was_invited_comes_in_when_it_is_back() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members.remove(1).exit();
    let [alice, carol] = members.as_slice() else { panic!("two") };
    create(alice, "ops", json!({}));
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "carol"}));
    holds(carol, "ops", &["alice", "carol"]);
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "bob"}));
    say_in(alice, "ops", "while bob is away");
    hear_in(carol, "ops", "while bob is away");
    alice.exit();
    // Who invited it is gone; another member of the room lets it in.
    let bob = lab.join("bob");
    holds(&bob, "ops", &["alice", "bob", "carol"]);
    hear_in(&bob, "ops", "while bob is away");
    say_in(&bob, "ops", "back");
    hear_in(carol, "ops", "back");
}

#[test]
fn who_is_put_out_reads_nothing_more_and_may_be_invited_again() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    create(alice, "ops", json!({}));
    for name in ["bob", "carol"] {
        done(alice, json!({"cmd": "room_invite", "room": "ops", "name": name}));
    }
    holds(bob, "ops", &["alice", "bob", "carol"]);
    holds(carol, "ops", &["alice", "bob", "carol"]);
    say_in(bob, "ops", "still here");
    hear_in(carol, "ops", "still here");
    let kick = |by: &Proc, name: &str| by.ask(json!({"cmd": "kick", "room": "ops", "name": name}));
    assert_eq!(kick(bob, "carol")["code"], "not_allowed");
    assert_eq!(kick(bob, "alice")["code"], "not_allowed");
    let done_ = kick(alice, "bob");
    assert_eq!(list(&done_["members"]).len(), 2, "{done_}");
    bob.wait("it is put out", |e| e["event"] == "room" && e["what"] == "kicked");
    holds(alice, "ops", &["alice", "carol"]);
    holds(carol, "ops", &["alice", "carol"]);
    say_in(alice, "ops", "without bob");
    hear_in(carol, "ops", "without bob");
    for member in [alice, carol] {
        let receipt = receipt(member, "bob");
        assert_eq!((&receipt["kind"], &receipt["room"]), (&json!("kicked"), &json!("ops")));
        let last = json!([{"room": "ops", "from": "bob", "seq": 1}]);
        assert_eq!(receipt["last_readable"], last, "{receipt}");
    }
    assert_eq!(refused(bob, json!({"cmd": "send", "room": "ops", "text": "x"})), "not_in_room");
    bob.say("still in main");
    alice.hear("still in main");
    done(alice, json!({"cmd": "room_history", "room": "ops", "text": "since-join"}));
    let mark = bob.mark();
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "bob"}));
    bob.wait_from(mark, LONG, "it is back", |e| e["what"] == "entered" && e["room"] == "ops");
    say_in(bob, "ops", "again");
    hear_in(alice, "ops", "again");
    hear_in(carol, "ops", "again");
    // What was said while it was out may stand before or after it.
    let mut all = texts(alice, "ops");
    all.sort();
    assert_eq!(all, ["again", "still here", "without bob"]);
    assert_eq!(texts(bob, "ops"), ["still here", "again"], "what was said without it stays closed");
}

#[test]
fn listed_rooms_are_joined_freely_by_approval_or_with_a_code() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    create(alice, "tea", json!({"entry": "free", "text": "for all who like tea"}));
    bob.wait("it hears of the room", |e| e["event"] == "room" && e["room"] == "tea");
    let room = done(bob, json!({"cmd": "room", "room": "tea"}));
    assert_eq!(
        (&room["in"], &room["description"]),
        (&json!(false), &json!("for all who like tea"))
    );
    assert_eq!(refused(bob, json!({"cmd": "send", "room": "tea", "text": "x"})), "not_in_room");
    done(bob, json!({"cmd": "room_join", "room": "tea"}));
    say_in(bob, "tea", "hello");
    hear_in(alice, "tea", "hello");
    assert_eq!(refused(bob, json!({"cmd": "room_join", "room": "tea"})), "already_in_room");
    done(alice, json!({"cmd": "room_capacity", "room": "tea", "last": 2}));
    carol.wait("the limit", |e| e["event"] == "room" && e["capacity"] == 2);
    assert_eq!(refused(carol, json!({"cmd": "room_join", "room": "tea"})), "room_full");

    create(alice, "board", json!({"entry": "approval"}));
    carol.wait("it hears of the room", |e| e["event"] == "room" && e["room"] == "board");
    let room = done(carol, json!({"cmd": "room_join", "room": "board"}));
    assert_eq!((&room["in"], &room["waiting"]), (&json!(false), &json!(["carol"])));
    alice.wait("carol asks", |e| e["event"] == "room" && e["what"] == "asked");
    done(alice, json!({"cmd": "room_invite", "room": "board", "name": "carol"}));
    carol.wait("it is let in", |e| e["what"] == "entered" && e["room"] == "board");
    say_in(carol, "board", "thank you");
    hear_in(alice, "board", "thank you");

    create(alice, "vault", json!({"entry": "code", "code": "correct horse"}));
    carol.wait("it hears of the room", |e| e["event"] == "room" && e["room"] == "vault");
    for wrong in [json!({}), json!({"code": "wrong horse!!"})] {
        let mut command = json!({"cmd": "room_join", "room": "vault"});
        if let Some(code) = wrong.get("code") {
            command["code"] = code.clone();
        }
        assert_eq!(refused(carol, command), "code_wrong");
    }
    done(carol, json!({"cmd": "room_join", "room": "vault", "code": "correct horse"}));
    say_in(carol, "vault", "inside");
    hear_in(alice, "vault", "inside");
    let secret = json!("correct horse").to_string();
    assert!(!bob.events().iter().any(|e| e.to_string().contains(&secret)));
}

#[test]
fn roles_are_kept_by_everybody() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    create(alice, "ops", json!({}));
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "bob", "role": "reader"}));
    holds(bob, "ops", &["alice", "bob"]);
    say_in(alice, "ops", "to be read");
    hear_in(bob, "ops", "to be read");
    let say = json!({"cmd": "send", "room": "ops", "text": "x"});
    assert_eq!(refused(bob, say.clone()), "not_allowed");
    let topic = |text: &str| json!({"cmd": "topic", "room": "ops", "text": text});
    assert_eq!(refused(bob, topic("x")), "not_allowed");
    done(alice, json!({"cmd": "room_role", "room": "ops", "name": "bob", "role": "admin"}));
    bob.wait("it is admin", |e| e["event"] == "room" && e["what"] == "role");
    say_in(bob, "ops", "as admin");
    hear_in(alice, "ops", "as admin");
    done(bob, topic("what we do now"));
    alice.wait("the topic", |e| e["event"] == "room" && e["topic"] == "what we do now");
    done(bob, json!({"cmd": "room_invite", "room": "ops", "name": "carol"}));
    hear_in(carol, "ops", "as admin");
    for command in [
        json!({"cmd": "room_rename", "room": "ops", "name": "mine"}),
        json!({"cmd": "room_delete", "room": "ops"}),
        json!({"cmd": "room_role", "room": "ops", "name": "carol", "role": "admin"}),
        json!({"cmd": "kick", "room": "ops", "name": "alice"}),
        json!({"cmd": "room_forgive", "room": "ops", "name": "alice"}),
    ] {
        assert_eq!(refused(bob, command), "not_allowed");
    }
    done(alice, json!({"cmd": "room_role", "room": "ops", "name": "bob", "role": "reader"}));
    bob.wait("it only reads", |e| {
        e["what"] == "role" && e["members"].to_string().contains("reader")
    });
    assert_eq!(refused(bob, say), "not_allowed");
    done(alice, json!({"cmd": "room_rename", "room": "ops", "name": "works"}));
    carol.wait("the new name", |e| e["event"] == "room" && e["room"] == "works");
    say_in(carol, "works", "under a new name");
    hear_in(alice, "works", "under a new name");
    done(alice, json!({"cmd": "room_archive", "room": "works"}));
    carol.wait("the end of talk", |e| e["event"] == "room" && e["archived"] == true);
    let say = json!({"cmd": "send", "room": "works", "text": "x"});
    assert_eq!(refused(carol, say), "room_archived");
    let leave = json!({"cmd": "room_leave", "room": "works"});
    assert_eq!(refused(alice, leave.clone()), "not_allowed", "the last owner names another first");
    done(carol, leave);
    assert_eq!(rooms_of(carol), ["main"]);
    done(alice, json!({"cmd": "room_delete", "room": "works"}));
    bob.wait("the end of the room", |e| e["event"] == "room" && e["what"] == "deleted");
    assert_eq!(
        (rooms_of(alice), rooms_of(bob)),
        (vec!["main".to_owned()], vec!["main".to_owned()])
    );
}

#[test]
fn two_talk_alone_and_speaking_needs_no_leader() {
    let lab = Lab::new().with("DIRECT", "everyone");
    let servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    let sent = done(alice, json!({"cmd": "msg", "name": "bob", "text": "between us"}));
    assert_eq!((&sent["event"], &sent["room"]), (&json!("sent"), &json!("@bob")));
    hear_in(bob, "@alice", "between us");
    done(bob, json!({"cmd": "msg", "name": "alice", "text": "and back"}));
    hear_in(alice, "@bob", "and back");
    say_in(bob, "@alice", "by the room's name");
    hear_in(alice, "@bob", "by the room's name");
    assert_eq!(rooms_of(alice), ["main", "@bob"]);
    assert_eq!(rooms_of(carol), ["main"]);
    assert_eq!(refused(alice, json!({"cmd": "msg", "name": "zed", "text": "x"})), "name_unknown");
    // Neither a majority nor a bootstrap, and the talk of two goes on.
    carol.kill();
    for server in servers {
        server.kill();
    }
    say_in(alice, "@bob", "all the others are gone");
    hear_in(bob, "@alice", "all the others are gone");
}

#[test]
fn the_receipt_of_a_removal_waits_for_those_who_are_away() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob", "carol", "dave"]);
    create(&members[0], "ops", json!({}));
    for name in ["bob", "dave"] {
        done(&members[0], json!({"cmd": "room_invite", "room": "ops", "name": name}));
    }
    holds(&members[1], "ops", &["alice", "bob", "dave"]);
    holds(&members[3], "ops", &["alice", "bob", "dave"]);
    say_in(&members[0], "ops", "the last that bob reads in ops");
    hear_in(&members[1], "ops", "the last that bob reads in ops");
    members[2].say("the last that bob reads in main");
    members[1].hear("the last that bob reads in main");
    members.pop().unwrap().exit();
    let home = lab.home("keyauth");
    let home = home.to_str().unwrap();
    let done_ = lab.run(&["keyauth", "revoke", "bob", "--json", "--home", home], "");
    assert_eq!(done_.code, Some(0), "{}", done_.text());
    assert_eq!(members.remove(1).ended(LONG).fatal(), "removed");
    let [alice, carol] = members.as_slice() else { panic!("two") };
    let first = |member: &Proc| {
        let is = |e: &Value| e["event"] == "receipt" && e["name"] == "bob" && e["done"] == 2;
        member.wait("all who are there hold new keys", is)
    };
    for member in [alice, carol] {
        let receipt = first(member);
        assert_eq!((&receipt["of"], &receipt["pending"]), (&json!(3), &json!(["dave"])));
        assert_eq!(receipt["done_at"], Value::Null);
    }
    say_in(alice, "ops", "after bob");
    let dave = lab.join("dave");
    hear_in(&dave, "ops", "after bob");
    let whole = receipt(alice, "bob");
    let last = json!([
        {"room": "main", "from": "carol", "seq": 1},
        {"room": "ops", "from": "alice", "seq": 1},
    ]);
    let mut read: Vec<Value> = list(&whole["last_readable"]).to_vec();
    read.sort_by_key(ToString::to_string);
    let mut last: Vec<Value> = list(&last).to_vec();
    last.sort_by_key(ToString::to_string);
    assert_eq!(read, last);
    let main = receipt(carol, "bob");
    assert_eq!(list(&main["last_readable"]).len(), 1, "carol is not in ops: {main}");
    let all = done(alice, json!({"cmd": "receipts"}));
    assert_eq!(list(&all["receipts"]).len(), 1, "{all}");
}

/// Somebody is invited while it is away, something is said before and after, and it comes: what it
/// reads of that under a rule.
fn read_by_who_was_away(rule: &str) -> Vec<String> {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob"]);
    let bob = members.remove(1);
    let alice = &members[0];
    create(alice, "ops", json!({}));
    done(alice, json!({"cmd": "room_history", "room": "ops", "text": rule}));
    bob.exit();
    say_in(alice, "ops", "before the invitation");
    done(alice, json!({"cmd": "room_invite", "room": "ops", "name": "bob"}));
    say_in(alice, "ops", "while bob is away");
    let bob = lab.join("bob");
    // Nobody is told of keys before `ready`, and bob may come in before it: alice is asked.
    holds(alice, "ops", &["alice", "bob"]);
    say_in(alice, "ops", "now that bob is in");
    hear_in(&bob, "ops", "now that bob is in");
    if rule == "since-join" {
        hear_in(&bob, "ops", "while bob is away");
    }
    // Whatever is to come of the past has come when it is said to be withheld; and a member that
    // lost nothing goes on reading.
    done(alice, json!({"cmd": "rekey", "room": "ops"}));
    say_in(alice, "ops", "under other keys");
    hear_in(&bob, "ops", "under other keys");
    texts(&bob, "ops")
}

#[test]
fn since_join_is_all_since_the_invitation_and_none_what_is_said_while_one_holds_the_keys() {
    let later = ["now that bob is in", "under other keys"];
    assert_eq!(read_by_who_was_away("none"), later);
    assert_eq!(read_by_who_was_away("since-join"), [&["while bob is away"], &later[..]].concat());
}

#[test]
fn an_order_under_way_is_given_up_when_its_author_is_put_out() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    create(&members[0], "ops", json!({}));
    let invite = json!({"cmd": "room_invite", "room": "ops", "name": "bob", "role": "admin"});
    done(&members[0], invite);
    holds(&members[1], "ops", &["alice", "bob"]);
    let mut members = members.into_iter();
    let (alice, bob, carol) =
        (members.next().unwrap(), members.next().unwrap(), members.next().unwrap());
    // Alone bob has nothing ordered; and it hears nothing of what the others order.
    alice.kill();
    carol.kill();
    bob.until("it is alone", |status| status["quorum"] == false);
    bob.order(&json!({"cmd": "topic", "room": "ops", "text": "too late", "ref": "late"}));
    bob.wait("it waits", |e| e["event"] == "waiting" && e["text"].to_string().contains("ops"));
    bob.signal("STOP");
    let members = [lab.join("alice"), lab.join("carol")];
    crate::harness::settled(&members);
    let alice = &members[0];
    done(alice, json!({"cmd": "kick", "room": "ops", "name": "bob"}));
    bob.signal("CONT");
    let refused = bob.wait("it is given up", |e| e["ref"] == "late");
    assert_eq!((&refused["event"], &refused["code"]), (&json!("error"), &json!("not_in_room")));
    // Nothing more is asked for in that room.
    let last = |member: &Proc| member.status()["control"]["last"].as_u64().unwrap();
    say_in(alice, "ops", "among ourselves");
    holds(alice, "ops", &["alice"]);
    let before = last(alice);
    for number in 0..3 {
        let text = format!("round {number}");
        bob.say(&text);
        alice.hear(&text);
    }
    assert_eq!(last(alice), before);
}
