//! Replies, edits, deletions and marks; and following what arrives by its number.
//! Owns: the commands about a message, `since`.
//! Must not know: how entries are numbered.
//! Invariants: none.
//! Start reading at: the first test.

use serde_json::{Value, json};

use crate::harness::Proc;
use crate::lab::Lab;

/// The next message of a kind.
fn heard(member: &Proc, kind: &str) -> Value {
    member.wait(kind, |e: &Value| e["event"] == "message" && e["kind"] == kind)
}

#[test]
fn what_is_said_about_a_message_reaches_everybody_and_is_judged() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = [&members[0], &members[1]];
    let id = alice.say("hello");
    bob.hear("hello");

    let said = bob.ask(json!({"cmd": "reply", "id": id, "text": "hello yourself"}));
    assert_eq!(
        (&said["event"], &said["kind"], &said["of"]),
        (&json!("sent"), &json!("reply"), &json!(id))
    );
    let reply = heard(alice, "reply");
    assert_eq!((&reply["text"], &reply["of"]), (&json!("hello yourself"), &json!(id)));

    // By slash, and by `last`: the newest of one's own.
    let edit = alice.ask(json!({"cmd": "slash", "line": "/edit last hello, all"}));
    assert_eq!(edit["kind"], "edit", "{edit}");
    let edited = heard(bob, "edit");
    assert_eq!((&edited["text"], &edited["of"]), (&json!("hello, all"), &json!(id)));
    // What is said of the edit is said of the message.
    let mark = bob.ask(json!({"cmd": "react", "id": edited["id"], "text": "👍"}));
    assert_eq!(mark["of"], json!(id), "{mark}");
    assert_eq!(heard(alice, "reaction")["text"], "👍");
    bob.ask(json!({"cmd": "unreact", "id": id, "text": "👍"}));
    alice.wait("taken back", |e: &Value| e["kind"] == "reaction" && e["removed"] == true);

    let code = |answer: Value| answer["code"].as_str().unwrap_or_default().to_owned();
    for (ask, refusal) in [
        (json!({"cmd": "edit", "id": id, "text": "not mine"}), "not_allowed"),
        (json!({"cmd": "delete", "id": id}), "not_allowed"),
        (json!({"cmd": "reply", "id": "0123456789ab", "text": "x"}), "message_unknown"),
        (json!({"cmd": "react", "id": id, "text": "two words"}), "mark_bad"),
        (json!({"cmd": "react", "id": id, "text": "x".repeat(65)}), "mark_bad"),
        (json!({"cmd": "react", "id": mark["id"], "text": "+1"}), "message_unknown"),
        (json!({"cmd": "reply", "id": id}), "command_bad"),
    ] {
        assert_eq!(code(bob.ask(ask.clone())), refusal, "{ask}");
    }

    let found = |member: &Proc| {
        let ended = member.ask(json!({"cmd": "search", "words": "hello"}));
        let is_it =
            |e: &Value| e["event"] == "message" && e["id"] == json!(id) && e["ref"] == ended["ref"];
        (ended["count"].clone(), member.events().iter().any(is_it))
    };
    assert_eq!(found(bob), (json!(3), true), "it, its other text, its answer");
    alice.ask(json!({"cmd": "delete", "id": id}));
    assert_eq!(heard(bob, "deletion")["of"], json!(id));
    assert_eq!(found(bob), (json!(1), false), "its answer alone");
    let poll = json!({"cmd": "app", "name": "org.example.poll/1", "text": "{\"q\":1}"});
    alice.ask(poll);
    let poll = heard(bob, "application");
    assert_eq!((&poll["app"], &poll["text"]), (&json!("org.example.poll/1"), &json!("{\"q\":1}")));
}

/// All messages after a number, as those get them who ask again and again.
fn follow(member: &Proc, mut after: u64) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    loop {
        let page = member.ask(json!({"cmd": "since", "after": after, "last": 3}));
        assert_eq!(page["event"], "since", "{page}");
        for message in page["messages"].as_array().unwrap() {
            let text = message["text"].as_str().unwrap().to_owned();
            found.push((message["cursor"].as_u64().unwrap(), text));
        }
        let upto = page["upto"].as_u64().unwrap();
        if upto == page["last"].as_u64().unwrap() {
            return found;
        }
        assert!(upto > after, "{page}");
        after = upto;
    }
}

#[test]
fn who_follows_by_number_gets_everything_once_across_a_kill() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut members = lab.group(&["alice", "bob"]);
    let texts = |from: u64, n: u64| (from..from + n).map(|n| format!("text {n}")).collect();
    let all: Vec<String> = texts(0, 10);
    all.iter().for_each(|text| drop(members[0].say(text)));
    members[1].hear("text 9");
    let first = follow(&members[1], 0);
    assert_eq!(first.iter().map(|it| &it.1).collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    let upto = first.last().unwrap().0;
    members.pop().unwrap().kill();
    let more: Vec<String> = texts(10, 10);
    more.iter().for_each(|text| drop(members[0].say(text)));
    let bob = lab.join("bob");
    bob.hear("text 19");
    let own = bob.say("and mine");
    let then = follow(&bob, upto);
    let heard: Vec<&String> = then.iter().map(|it| &it.1).collect();
    let expected: Vec<String> = more.into_iter().chain(["and mine".to_owned()]).collect();
    assert_eq!(heard, expected.iter().collect::<Vec<_>>(), "{own}");
    assert!(then.iter().all(|it| it.0 > upto) && then.is_sorted());
    assert_eq!(follow(&bob, 0)[..first.len()], first[..]);
    // A number from elsewhere: nothing, and the newest there is.
    assert_eq!(follow(&bob, 1 << 40), Vec::new());
}
