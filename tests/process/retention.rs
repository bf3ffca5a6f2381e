//! Messages that a room no longer keeps: gone on every member, and no gap for who comes late.
//! Owns: the rule on bytes, which shows within seconds; that on age is tested beside the code.
//! Must not know: how the store forgets.
//! Invariants: none.
//! Start reading at: the first test.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{LONG, Proc};
use crate::lab::Lab;

fn done(member: &Proc, command: Value) -> Value {
    let answer = member.ask(command);
    assert_ne!(answer["event"], "error", "{}: {answer}\n{}", member.name, member.story());
    answer
}

fn texts(member: &Proc, command: Value) -> Vec<String> {
    let mark = member.mark();
    let end = done(member, command);
    let events = member.events();
    let of = |e: &&Value| e["event"] == "message" && e["ref"] == end["ref"];
    events[mark..].iter().filter(of).map(|e| e["text"].as_str().unwrap().to_owned()).collect()
}

/// Asks again until the history is as meant.
fn becomes(member: &Proc, is: impl Fn(&[String]) -> bool) -> Vec<String> {
    let until = Instant::now() + LONG;
    loop {
        let history = texts(member, json!({"cmd": "history", "last": 1_000}));
        if is(&history) {
            return history;
        }
        assert!(Instant::now() < until, "{}: {history:?}\n{}", member.name, member.story());
    }
}

#[test]
fn what_a_room_no_longer_keeps_is_gone_everywhere_and_leaves_no_gap() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob"]);
    let [alice, bob] = members.as_slice() else { panic!("two") };
    done(alice, json!({"cmd": "room_history", "room": "main", "text": "all"}));
    for number in 0..60 {
        alice.say(&format!("message {number}"));
    }
    bob.hear("message 59");
    assert_eq!(texts(alice, json!({"cmd": "search", "words": "message"})).len(), 60);
    let bytes = 20_000;
    done(alice, json!({"cmd": "room_keep", "room": "main", "text": "forever", "last": bytes}));
    let kept = becomes(alice, |history| history.len() < 60);
    let first = 60 - kept.len();
    assert!((1..60).contains(&first), "{kept:?}");
    let newest: Vec<String> = (first..60).map(|number| format!("message {number}")).collect();
    assert_eq!(kept, newest);
    assert_eq!(becomes(bob, |history| history.len() < 60), newest);
    assert_eq!(texts(alice, json!({"cmd": "search", "words": "message"})).len(), newest.len());

    // Who comes now gets the whole chain, and reads what is left of it.
    let carol = lab.join("carol");
    carol.say("carol is here");
    alice.hear("carol is here");
    becomes(&carol, |history| history.contains(&"message 59".to_owned()));
    let head = |member: &Proc| {
        let status = member.status();
        let vector = status["vector"].as_array().unwrap();
        vector.iter().find(|it| it["from"] == "alice").cloned().unwrap()
    };
    assert_eq!(head(&carol)["seq"], 60);
    assert_eq!(head(&carol), head(alice));
    let shown = becomes(&carol, |history| history.len() <= newest.len() + 1);
    assert!(shown.iter().all(|text| newest.contains(text) || text == "carol is here"));
}
