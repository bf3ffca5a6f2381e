//! Ten members that all write while one after another is killed.
//! Owns: what all of them must hold in the end.
//! Must not know: how it comes there.
//! Invariants: as in `main.rs`; a random choice is made from a seed that is printed.
//! Start reading at: the test.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::harness::{LONG, Lab, Proc, Value, json, settled};
use crate::random::Random;

const NAMES: [&str; 10] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"];
/// Messages that each of them writes.
const EACH: usize = 500;
/// How many of them it writes in a round: in each round another one is killed.
const PART: usize = EACH / NAMES.len();
/// Ten debug builds on one machine, after all that was said.
const WITHIN: Duration = Duration::from_secs(90);

fn is_sent(event: &Value) -> bool {
    event["event"] == "sent"
}

/// Has a member write, without waiting for it.
fn write(member: &Proc, what: &str, count: usize) {
    let mut lines = String::new();
    for part in 0..count {
        let text = format!("{} {what}.{part}", member.name);
        let _ = writeln!(lines, "{}", json!({"cmd": "send", "room": "main", "text": text}));
    }
    member.feed(&lines);
}

/// Waits until a process has acknowledged so many of its messages since a mark.
fn acknowledged(member: &Proc, mark: usize, count: usize) {
    if count == 0 {
        return;
    }
    let seen = Cell::new(0);
    let what = format!("{count} messages are stored");
    member.wait_from(mark, LONG, &what, |event| {
        seen.set(seen.get() + usize::from(is_sent(event)));
        seen.get() >= count
    });
}

/// What processes acknowledged, by the id of each message.
#[derive(Default)]
struct Promised {
    texts: BTreeMap<String, String>,
}

impl Promised {
    fn add(&mut self, events: &[Value]) {
        for event in events.iter().filter(|it| is_sent(it)) {
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            self.texts.insert(text("id"), text("text"));
        }
    }

    fn of(&self, name: &str) -> usize {
        let own = format!("{name} ");
        self.texts.values().filter(|text| text.starts_with(&own)).count()
    }
}

/// Waits until all hold the same, and gives it.
fn same_everywhere(members: &[Proc], at_least: usize) -> Vec<Value> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let talks: Vec<Vec<String>> = members.iter().map(Proc::history).collect();
        if talks[0].len() >= at_least && talks.iter().all(|talk| *talk == talks[0]) {
            return talks[0].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        let counts: Vec<usize> = talks.iter().map(Vec::len).collect();
        assert!(Instant::now() < deadline, "not the same everywhere: {counts:?}");
    }
}

#[test]
fn ten_that_are_killed_one_after_another_hold_the_same_five_thousand_messages() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let start = Instant::now();
    let mut random = Random::new();
    let mut members = lab.group(&NAMES);
    let joined = start.elapsed();
    let mut promised = Promised::default();
    let mut alive: BTreeSet<usize> = (0..members.len()).collect();
    // What each process was asked to write since it started.
    let mut fed = [0; NAMES.len()];
    let mut leaders = 0;
    let mut slowest = Duration::ZERO;
    for round in 0..NAMES.len() {
        let leader = members[0].status()["leader"]["name"].clone();
        let leads = alive.iter().copied().find(|&at| leader == *members[at].name);
        leaders += usize::from(leads.is_some());
        let at = leads.unwrap_or_else(|| *alive.first().unwrap());
        alive.remove(&at);
        let mark = members[at].mark();
        for (member, fed) in members.iter().zip(&mut fed) {
            write(member, &round.to_string(), PART);
            *fed += PART;
        }
        acknowledged(&members[at], mark, 1 + random.below(PART));
        let killed = members[at].kill();
        promised.add(&members[at].ended(LONG).events);
        members[at] = lab.start(NAMES[at]);
        fed[at] = 0;
        members[at].ready();
        slowest = slowest.max(killed.elapsed());
    }
    settled(&members);
    let killing = start.elapsed() - joined;
    // What was read from the pipe of a process that died was never promised: each writes on
    // until as much as was asked of it is.
    for (member, fed) in members.iter().zip(fed) {
        acknowledged(member, 0, fed);
        promised.add(&member.events());
        let missing = EACH.saturating_sub(promised.of(&member.name));
        write(member, "again", missing);
        acknowledged(member, 0, fed + missing);
        promised.add(&member.events());
    }
    let talk = same_everywhere(&members, promised.texts.len());
    let all = start.elapsed();

    let field = |name: &str| talk.iter().map(|it| it[name].as_str().unwrap()).collect::<Vec<_>>();
    let (ids, texts) = (field("id"), field("text"));
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(known.len(), ids.len(), "an id twice");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len(), "a text twice");
    let lost: Vec<_> = promised.texts.iter().filter(|(id, _)| !known.contains(&***id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    for member in &members {
        member.assert_heard_once();
        let events = member.events();
        let told = events.iter().filter(|e| e["event"] == "delivered");
        assert!(told.clone().all(|e| known.contains(e["id"].as_str().unwrap())));
        assert!(!events.iter().any(|e| e["event"] == "error"), "{}", member.story());
        assert!(talk.iter().all(|it| it["fork"] != true));
    }
    assert!(promised.texts.len() >= EACH * NAMES.len() && leaders >= 1);
    eprintln!(
        "{} acknowledged, {} held by all ten in one order; {leaders} of 10 kills met the leader; \
         joining {joined:?}, kills {killing:?} (slowest return {slowest:?}), all {all:?}",
        promised.texts.len(),
        talk.len()
    );
}
