//! Roles and removals by members, as programs see them.
//! Owns: nothing.
//! Must not know: how a wish is ordered.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use crate::harness::{LONG, Lab, Proc, Value, json, list, settled};

/// A wish that is ordered at once.
fn ordered(proc: &Proc, command: Value) {
    let answer = proc.ask(command);
    assert_eq!(
        (&answer["event"], &answer["state"]),
        (&json!("wish"), &json!("ordered")),
        "{answer}"
    );
}

fn refused(proc: &Proc, command: Value) -> String {
    let answer = proc.ask(command);
    assert_eq!(answer["event"], "error", "{answer}");
    answer["code"].as_str().unwrap().to_owned()
}

fn role(name: &str, role: &str) -> Value {
    json!({"cmd": "role", "name": name, "role": role})
}

fn remove(name: &str, reason: &str) -> Value {
    json!({"cmd": "remove", "name": name, "reason": reason})
}

/// How one member sees another.
fn row(status: &Value, name: &str) -> Value {
    let mut rows = list(&status["members"]).iter();
    rows.find(|row| row["name"] == *name).cloned().unwrap_or_default()
}

fn sees(proc: &Proc, name: &str, field: &str, value: &str) {
    proc.until(&format!("{name} is {value}"), |status| row(status, name)[field] == *value);
}

#[test]
fn a_removed_member_is_told_and_who_was_away_learns_it() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members.remove(2).exit();
    let (alice, bob) = (&members[0], &members[1]);
    assert_eq!(refused(bob, remove("alice", "")), "not_allowed");
    assert_eq!(refused(alice, remove("nobody", "")), "name_unknown");
    let mark = alice.mark();
    ordered(alice, remove("bob", "left the company"));
    let ended = bob.ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("removed", Some(4)), "{}", ended.text());
    let (_, told) = alice.wait_from(mark, LONG, "it is told", |e| {
        e["event"] == "info" && e["text"] == "bob was removed by alice: left the company"
    });
    assert!(told["at"].is_string());
    // Removed once is removed; and nobody is appointed who is out.
    ordered(alice, remove("bob", "again"));
    assert_eq!(refused(alice, role("bob", "admin")), "removed");
    let carol = lab.join("carol");
    carol.ready();
    sees(&carol, "bob", "state", "removed");
    assert_eq!(refused(&carol, remove("alice", "")), "not_allowed");
    alice.say("without bob");
    carol.hear("without bob");
    // The key and the name stay out: it is told so at the door.
    let ended = lab.start("bob").ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("removed", Some(4)), "{}", ended.text());
    let audit = carol.ask(json!({"cmd": "audit"}));
    let mut changes = list(&audit["changes"]).iter();
    let removal = changes.find(|it| it["what"] == "removed").unwrap();
    assert_eq!(removal["name"], "bob");
    assert_eq!(removal["detail"], "by alice: left the company");
}

#[test]
fn who_was_removed_while_away_is_told_when_it_comes_back() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members.remove(2).exit();
    ordered(&members[0], remove("carol", ""));
    let ended = lab.start("carol").ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("removed", Some(4)), "{}", ended.text());
    settled(&members);
}

#[test]
fn roles_are_given_and_taken_and_everybody_sees_them() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = members.as_slice() else { panic!("three") };
    for member in &members {
        sees(member, "alice", "role", "owner");
        sees(member, "bob", "role", "member");
    }
    assert_eq!(refused(bob, role("bob", "owner")), "not_allowed");
    assert_eq!(refused(alice, role("alice", "member")), "last_owner");
    let (mark, marked) = (bob.mark(), carol.mark());
    ordered(alice, role("bob", "admin"));
    let is_told = |e: &Value| e["event"] == "member" && e["name"] == "bob" && e["role"] == "admin";
    bob.wait_from(mark, LONG, "it hears of its own role", is_told);
    carol.wait_from(marked, LONG, "it hears of another's role", is_told);
    ordered(bob, role("carol", "admin"));
    assert_eq!(refused(bob, role("carol", "owner")), "not_allowed");
    assert_eq!(refused(bob, remove("alice", "")), "not_allowed");
    sees(carol, "carol", "role", "admin");
    // Typed, the same; and the answer says what came of it.
    let typed = carol.ask(json!({"cmd": "slash", "line": "/role bob member"}));
    assert_eq!(
        (&typed["ok"], &typed["data"]["state"]),
        (&json!(true), &json!("ordered")),
        "{typed}"
    );
    sees(bob, "bob", "role", "member");
    assert_eq!(refused(bob, role("bob", "admin")), "not_allowed");
    // The owner passes the network on and goes; carol, who got it, removes it while it leads.
    ordered(alice, role("carol", "owner"));
    sees(carol, "carol", "role", "owner");
    ordered(carol, remove("alice", "as agreed"));
    let ended = alice.ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("removed", Some(4)), "{}", ended.text());
    settled(&members[1..]);
    let what = |audit: &Value| -> Vec<String> {
        let roles = list(&audit["changes"]).iter().filter(|it| it["what"] == "role");
        roles.map(|it| format!("{} {}", it["name"], it["detail"]).replace('"', "")).collect()
    };
    let expected =
        ["bob admin by alice", "carol admin by bob", "bob member by carol", "carol owner by alice"];
    assert_eq!(what(&bob.ask(json!({"cmd": "audit"}))), expected);
}

#[test]
fn a_wish_without_a_majority_waits_outlives_a_kill_and_is_ordered_when_it_can_be() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    members[0].until("three vote", |status| list(&status["voters"]).len() == 3);
    members[1].kill();
    members[2].kill();
    let waiting = members[0].ask(remove("bob", "gone"));
    assert_eq!((&waiting["event"], &waiting["state"]), (&json!("wish"), &json!("waiting")));
    assert!(!waiting["because"].as_str().unwrap().is_empty(), "{waiting}");
    members[0].kill();
    let alice = lab.join("alice");
    let carol = lab.join("carol");
    alice.wait("it is ordered", |e| {
        e["event"] == "wish" && e["name"] == "bob" && e["state"] == "ordered"
    });
    sees(&carol, "bob", "state", "removed");
    let ended = lab.start("bob").ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("removed", Some(4)), "{}", ended.text());
    // Done once is done: another start submits nothing any more.
    alice.exit();
    let alice = lab.join("alice");
    alice.ready();
    settled(&[alice, carol]);
}

/// Gives an order to the authority of this lab.
pub fn operator(lab: &Lab, args: &[&str]) {
    let home = lab.home("keyauth");
    let line: Vec<&str> = ["keyauth"].iter().chain(args).copied().collect();
    let line = [line.as_slice(), &["--json", "--home", home.to_str().unwrap()]].concat();
    let ended = lab.run(&line, "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
}

fn come(lab: &Lab, name: &str, invite: &Value) -> Proc {
    let file = lab.dir.path().join(format!("{name}.invite"));
    std::fs::write(&file, invite["invite"].as_str().unwrap()).unwrap();
    lab.start_with(name, &["--no-embedded", "--invite-file", file.to_str().unwrap()])
}

#[test]
fn an_admin_makes_invites_that_admit_with_the_authority_off_while_it_is_one() {
    let lab = Lab::new();
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let (alice, bob) = (&members[0], &members[1]);
    assert_eq!(refused(bob, json!({"cmd": "invite"})), "not_allowed");
    ordered(alice, role("bob", "admin"));
    sees(bob, "bob", "role", "admin");
    // The group made it an admin; the authority's operator has not entrusted it yet.
    assert_eq!(refused(bob, json!({"cmd": "invite"})), "not_allowed");
    operator(&lab, &["allow", "bob", "invites"]);
    let by_bob = bob.ask(json!({"cmd": "invite", "uses": 2, "expires": "2h"}));
    assert_eq!((&by_bob["event"], &by_bob["uses"]), (&json!("invite"), &json!(2)), "{by_bob}");
    // Into a room invites who is in it and may invite there.
    let into_ops = || json!({"cmd": "invite", "room": "ops"});
    assert_eq!(refused(alice, into_ops()), "room_unknown");
    let made = alice.ask(json!({"cmd": "slash", "line": "/room create ops"}));
    assert_eq!(made["ok"], true, "{made}");
    assert_eq!(refused(bob, into_ops()), "room_unknown");
    let by_alice =
        alice.ask(json!({"cmd": "slash", "line": "/invite create --name dave --room ops"}));
    let by_alice = by_alice["data"].clone();
    assert_eq!((&by_alice["name"], &by_alice["room"]), (&json!("dave"), &json!("ops")));
    let lost = alice.ask(json!({"cmd": "invite", "uses": 5}));
    let id = lost["id"].as_str().unwrap();
    let gone = alice.ask(json!({"cmd": "revoke_invite", "id": id.get(..8), "reason": "lost"}));
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("revoked"), &json!("lost")), "{gone}");
    let theirs = alice.ask(json!({"cmd": "revoke_invite", "id": by_bob["id"]}));
    assert_eq!(theirs["code"], "voucher_unknown", "{theirs}");
    keyauth.kill();
    assert_eq!(refused(alice, json!({"cmd": "invite"})), "authority_silent");
    let carol = come(&lab, "carol", &by_bob);
    carol.ready();
    let dave = come(&lab, "dave", &by_alice);
    dave.ready();
    // Alice brings it into the room that its invite leads to, and nobody else.
    alice.wait("dave holds the keys of ops", |e| {
        e["event"] == "epoch" && e["room"] == "ops" && e["members"] == json!(["alice", "dave"])
    });
    dave.ask(json!({"cmd": "send", "room": "ops", "text": "dave in ops"}));
    assert_eq!(alice.hear("dave in ops")["room"], "ops");
    alice.ask(json!({"cmd": "send", "room": "ops", "text": "alice in ops"}));
    assert_eq!(dave.hear("alice in ops")["room"], "ops");
    assert!(!carol.heard().iter().any(|text| text.contains("in ops")));
    // Bob is no admin any more: what is left of its invite admits nobody.
    ordered(alice, role("bob", "member"));
    sees(&carol, "bob", "role", "member");
    let ended = come(&lab, "erin", &by_bob).ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("voucher_revoked", Some(4)), "{}", ended.text());
    let _keyauth = lab.keyauth();
    let rows = alice.ask(json!({"cmd": "invites"}));
    let rows = list(&rows["invites"]);
    assert_eq!(rows.len(), 2, "its own alone: {rows:?}");
    assert_eq!((&rows[0]["used"], &rows[0]["state"]), (&json!(1), &json!("valid")));
    assert_eq!((&rows[1]["used"], &rows[1]["state"]), (&json!(0), &json!("revoked")));
    assert!(rows.iter().all(|row| row.get("invite").is_none()), "the secret is told once");
}

#[test]
fn an_admin_hears_who_waits_and_lets_it_in_or_turns_it_down() {
    let lab = Lab::new().with("ADMISSION", "approve");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.start("alice");
    let waits = |proc: &Proc| {
        proc.wait("it waits", |e| {
            e["event"] == "waiting" && e["text"].as_str().is_some_and(|it| it.contains("approve"))
        });
    };
    waits(&alice);
    operator(&lab, &["approve", "alice"]);
    alice.ready();
    let (bob, carol) = (lab.start("bob"), lab.start("carol"));
    waits(&bob);
    waits(&carol);
    let asked = alice.ask(json!({"cmd": "requests"}));
    let mut names: Vec<&str> =
        list(&asked["requests"]).iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bob", "carol"], "{asked}");
    let approved = alice.ask(json!({"cmd": "approve", "name": "bob"}));
    assert_eq!((&approved["event"], &approved["state"]), (&json!("request"), &json!("approved")));
    bob.ready();
    assert_eq!(refused(&bob, json!({"cmd": "approve", "name": "carol"})), "not_allowed");
    let turned = alice.ask(json!({"cmd": "slash", "line": "/refuse carol who are you"}));
    assert_eq!((&turned["ok"], &turned["data"]["state"]), (&json!(true), &json!("refused")));
    let ended = carol.ended(LONG);
    assert_eq!((ended.fatal(), ended.code), ("certificate_revoked", Some(4)), "{}", ended.text());
    // Nobody asks for them: whoever comes is announced to those who may let it in.
    let dave = lab.start("dave");
    waits(&dave);
    let told = alice.wait("it hears of dave", |e| {
        e["event"] == "request" && e["name"] == "dave" && e["state"] == "waiting"
    });
    assert!(told["peer_id"].is_string() && told["asked_at"].is_string(), "{told}");
}
