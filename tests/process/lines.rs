//! Line mode: what a person types and reads, and what a pipe does.
//! Owns: the form of lines, seen from outside.
//! Must not know: JSON.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use crate::harness::{LONG, Lab, Proc, json};

/// A member in line mode.
fn person(lab: &Lab, name: &str, more: &[&str]) -> Proc {
    lab.prepare(name, &format!("{name}.pem"));
    let args = lab.join_args(name, &["--no-embedded"]);
    let mut args: Vec<&str> =
        args.iter().map(String::as_str).filter(|it| *it != "--json").collect();
    args.extend(more);
    Proc::start(name, lab.command(&args))
}

fn line(proc: &Proc, what: &str, is: impl Fn(&str) -> bool) -> String {
    let found = proc.wait(what, |line| line.as_str().is_some_and(&is));
    found.as_str().unwrap().to_owned()
}

#[test]
fn people_read_messages_notices_and_answers_as_lines() {
    let lab = Lab::new().with("ALIASES", "w=/who,hi=hello $2 and $1");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = person(&lab, "alice", &[]);
    line(&alice, "the greeting", |it| it.starts_with("-- you are alice"));
    line(&alice, "the leader", |it| it.starts_with("-- leader: alice (term "));
    let bob = lab.join("bob");
    line(&alice, "the notice", |it| it == "-- bob joined");
    bob.say("hello alice");
    let shown = line(&alice, "the message", |it| it.ends_with("<bob> hello alice"));
    let (time, _) = shown.split_once(' ').unwrap();
    let (hour, minute) = time.split_once(':').unwrap();
    assert!(hour.parse::<u8>().unwrap() < 24 && minute.parse::<u8>().unwrap() < 60, "{shown}");
    alice.feed("hello bob\n//slashed\n/wrong\n/hi a b\n/w\nlast\n");
    bob.hear("last");
    assert_eq!(bob.heard(), ["hello bob", "/slashed", "hello b and a", "last"]);
    line(&alice, "/who", |it| it.starts_with("-- bob: active"));
    assert!(alice.stderr().contains("command_unknown"), "{}", alice.story());
    bob.exit();
    line(&alice, "the parting", |it| it == "-- bob left" || it == "-- bob is away");
    alice.feed("/export talk.pdf\n/export no/talk.md\n/export my talk.txt\n");
    line(&alice, "the export", |it| it == "-- exported 5 messages of #main to my talk.txt");
    let text = std::fs::read_to_string(lab.dir.path().join("my talk.txt")).unwrap();
    let said = ["<bob> hello alice", "<alice> hello bob", "<alice> /slashed", "b and a", "last"];
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 5 && lines.iter().zip(said).all(|(it, end)| it.ends_with(end)),
        "{text}"
    );
    let errors = alice.stderr();
    assert!(errors.contains("usage: /export [#room] FILE") && errors.contains("file_unwritable"));
    // What comes before the end is done before it.
    alice.feed("/export md.md\n$exit\n");
    assert_eq!(alice.ended(LONG).code, Some(0));
    assert!(std::fs::read_to_string(lab.dir.path().join("md.md")).unwrap().contains("**bob**"));
}

#[test]
fn what_is_piped_in_is_delivered_before_the_process_ends() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let cron = person(&lab, "bob", &["--quiet"]);
    cron.feed("hi\n");
    cron.close_input();
    assert_eq!(alice.hear("hi")["from"], "bob");
    let ended = cron.ended(LONG);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    assert!(ended.events.is_empty() && ended.stderr.is_empty(), "{}", ended.text());
    // And again, from a home that has been in before.
    let cron = person(&lab, "bob", &["--quiet"]);
    cron.feed("ho");
    cron.close_input();
    alice.hear("ho");
    assert_eq!(cron.ended(LONG).code, Some(0));
}

#[test]
fn slash_commands_answer_in_json_too() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    alice.say("one");
    let who = alice.ask(json!({"cmd": "slash", "line": "/who"}));
    assert_eq!((&who["event"], &who["ok"]), (&json!("result"), &json!(true)), "{who}");
    assert_eq!(who["data"]["members"][0]["name"], "alice");
    let history = alice.ask(json!({"cmd": "slash", "line": "/history 5"}));
    assert_eq!(history["data"]["messages"][0]["text"], "one", "{history}");
    let export = alice.ask(json!({"cmd": "slash", "line": "/export all.jsonl"}));
    let data = json!({"room": "main", "file": "all.jsonl", "format": "jsonl", "messages": 1});
    assert_eq!((&export["ok"], &export["data"]), (&json!(true), &data), "{export}");
    let unknown = alice.ask(json!({"cmd": "slash", "line": "/export #ops all.md"}));
    assert_eq!(unknown["error"]["code"], "room_unknown", "{unknown}");
    assert!(!lab.dir.path().join("all.md").exists());
    let wrong = alice.ask(json!({"cmd": "slash", "line": "/nonsense"}));
    assert_eq!((&wrong["ok"], &wrong["error"]["code"]), (&json!(false), &json!("command_unknown")));
}
