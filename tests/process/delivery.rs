//! Where a message has arrived, as its author and others learn it.
//! Owns: `info` and its answer, the event `delivery`.
//! Must not know: how acknowledgements travel.
//! Invariants: none.
//! Start reading at: the first test.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{LONG, Proc};
use crate::lab::Lab;

fn info(member: &Proc, id: &str) -> Value {
    let answer = member.ask(json!({"cmd": "info", "id": id}));
    assert_eq!(answer["event"], "delivery", "{}: {answer}", member.name);
    answer
}

fn refused(member: &Proc, id: &str) -> String {
    let answer = member.ask(json!({"cmd": "info", "id": id}));
    assert_eq!(answer["event"], "error", "{}: {answer}", member.name);
    answer["code"].as_str().unwrap().to_owned()
}

/// Asks again until the answer says so; whoever is linked tells what it holds within a second.
fn becomes(member: &Proc, id: &str, state: &str) -> Value {
    let until = Instant::now() + LONG;
    loop {
        let answer = info(member, id);
        if answer["state"] == state {
            return answer;
        }
        assert!(Instant::now() < until, "{}: {answer}\n{}", member.name, member.story());
        member.status();
    }
}

#[test]
fn a_message_tells_who_has_it_and_who_lacks_it_since_when() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob", "carol"]);
    members.pop().unwrap().exit();
    let id = members[0].say("carol is not here");
    let is = |e: &Value| e["event"] == "delivered" && e["id"] == json!(id) && e["to"] == "bob";
    members[0].wait("bob has it", is);
    let some = info(&members[0], &id);
    assert_eq!((&some["state"], &some["of"]), (&json!("delivered"), &json!(2)), "{some}");
    assert_eq!(some["to"], json!(["bob"]));
    assert_eq!(some["lacks"], json!([{"name": "carol", "since": some["sent_at"]}]));
    assert_eq!((&some["from"], &some["room"]), (&json!("alice"), &json!("main")));
    // By its first digits, in either case, as a slash command too.
    let short = id.get(..10).unwrap().to_uppercase();
    assert_eq!(info(&members[0], &short)["id"], json!(id));
    let slash = members[0].ask(json!({"cmd": "slash", "line": format!("/info {short}")}));
    assert_eq!((&slash["ok"], &slash["data"]["lacks"]), (&json!(true), &some["lacks"]));

    // It is known after a restart, with nobody there who could tell it again.
    members.pop().unwrap().exit();
    members.pop().unwrap().exit();
    let alice = lab.join("alice");
    let after = info(&alice, &id);
    assert_eq!((&after["to"], &after["lacks"]), (&some["to"], &some["lacks"]));
    // So do all of one's own on a page, in one answer.
    let page = alice.ask(json!({"cmd": "deliveries", "last": 10}));
    let it = page["messages"].as_array().unwrap().iter().find(|it| it["id"] == json!(id)).unwrap();
    assert_eq!((&it["to"], &it["of"]), (&some["to"], &json!(2)), "{page}");
    let alone = alice.say("nobody is here");
    assert_eq!(info(&alice, &alone)["state"], "queued");

    let [bob, carol] = [lab.join("bob"), lab.join("carol")];
    carol.hear("nobody is here");
    for told in [&id, &alone] {
        assert_eq!(becomes(&alice, told, "all")["to"], json!(["bob", "carol"]));
        // Others know what those said who are linked with them.
        assert_eq!(becomes(&bob, told, "all")["to"], json!(["bob", "carol"]));
    }
}

#[test]
fn an_id_means_one_message_or_none() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let alice = lab.join("alice");
    assert_eq!(refused(&alice, "abc"), "command_bad");
    assert_eq!(refused(&alice, "wxyz"), "command_bad");
    assert_eq!(refused(&alice, &"0".repeat(33)), "command_bad");
    assert_eq!(refused(&alice, &"0".repeat(32)), "message_unknown");
    // Of 2,000 ids two begin with the same four digits, but for one time in 10^13.
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let (one, other) = loop {
        let id = alice.say("again");
        if let Some(before) = known.insert(id.get(..4).unwrap().to_owned(), id.clone()) {
            break (before, id);
        }
        assert!(known.len() < 2_000);
    };
    assert_eq!(refused(&alice, one.get(..4).unwrap()), "message_ambiguous");
    for id in [one, other] {
        assert_eq!(info(&alice, &id)["id"], json!(id));
    }
}
