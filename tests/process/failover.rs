//! Members die, leave and come back.
//! Owns: leaders killed and leaving, majorities lost and found, the night.
//! Must not know: what happens to the servers.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::time::{Duration, Instant};

use crate::harness::{LONG, Lab, Proc, leader_of, names, same_talk, settled, voters};

/// What a figure of the default timers may become on a machine that does much else.
const PATIENT: Duration = Duration::from_secs(15);

fn kill_leaders(who: &[&str], kills: usize) {
    let lab = Lab::new();
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(who);
    let mut count = 0;
    let mut times = Vec::new();
    for round in 0..kills {
        let at = leader_of(&members);
        let dead = members[at].name.clone();
        let mark = bootstrap.mark();
        let moment = members[at].kill();
        let alive: Vec<&Proc> = members.iter().filter(|it| it.name != dead).collect();
        for member in &alive {
            for part in ["a", "b"] {
                member.say(&format!("{round}{part} without {dead}"));
                count += 1;
            }
        }
        let (found, event) = bootstrap.wait_from(mark, LONG, "a new leader is told", |e| {
            e["event"] == "leader" && e["name"].is_string() && e["name"] != *dead
        });
        times.push((found - moment).as_millis());
        for member in &alive {
            member.until("it follows the new leader", |status| {
                status["leader"]["name"].is_string() && status["leader"]["name"] != *dead
            });
        }
        assert!(alive.iter().any(|it| event["name"] == *it.name), "{event}");
        members[at] = lab.join(&dead);
        settled(&members);
        same_talk(&members.iter().collect::<Vec<_>>(), count);
    }
    for member in &members {
        member.assert_heard_once();
    }
    times.sort_unstable();
    eprintln!(
        "{} members, {kills} leaders killed: ms until the bootstrap knew: {times:?}",
        who.len()
    );
    assert!(times[times.len() / 2] < PATIENT.as_millis());
}

#[test]
fn ten_leaders_of_three_are_killed_and_the_talk_goes_on() {
    kill_leaders(&["alice", "bob", "carol"], 10);
}

#[test]
fn ten_leaders_of_five_are_killed_and_the_talk_goes_on() {
    kill_leaders(&["alice", "bob", "carol", "dave", "erin"], 10);
}

#[test]
fn a_leader_that_exits_hands_over_without_waiting_for_an_election_timeout() {
    // So long that an election by timeout cannot be taken for a hand-over.
    let lab = Lab::new()
        .with("TIMERS_ELECTION_MIN_MS", "6000")
        .with("TIMERS_ELECTION_MAX_MS", "7000")
        .with("TIMERS_AWAY_AFTER_MS", "8000");
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    let at = leader_of(&members);
    let old = members.remove(at);
    let marks: Vec<usize> = members.iter().map(Proc::mark).collect();
    let told = bootstrap.mark();
    let start = Instant::now();
    let took = old.exit();
    let is_new = |e: &crate::harness::Value| {
        e["event"] == "leader" && e["name"].is_string() && e["name"] != *old.name
    };
    for (member, mark) in members.iter().zip(marks) {
        let (at, _) = member.wait_from(mark, LONG, "it sees the new leader", is_new);
        eprintln!(
            "hand-over seen by {} after {:?}; the exit took {took:?}",
            member.name,
            at - start
        );
        assert!(at - start < Duration::from_secs(4), "{:?}", at - start);
    }
    let (at, _) = bootstrap.wait_from(told, LONG, "the bootstrap is told", is_new);
    eprintln!("hand-over known to the bootstrap after {:?}", at - start);
}

fn one_of_two_dies(leader_dies: bool) {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob"]);
    for member in &members {
        member.until("two and the witness vote", |s| {
            voters(s) == names(&["alice", "bob", "witness"])
        });
    }
    let at = leader_of(&members);
    let dead = members.remove(if leader_dies { at } else { 1 - at });
    let alive = members.remove(0);
    dead.kill();
    alive.say("alone");
    let start = Instant::now();
    let carol = lab.join("carol");
    eprintln!(
        "two, {} dies: carol was in after {:?}",
        if leader_dies { "the leader" } else { "the other" },
        start.elapsed()
    );
    carol.hear("alone");
    carol.say("not any more");
    alive.hear("not any more");
    same_talk(&[&alive, &carol], 2);
}

#[test]
fn when_the_follower_of_two_dies_the_leader_alone_admits_a_third() {
    one_of_two_dies(false);
}

#[test]
fn when_the_leader_of_two_dies_the_other_alone_admits_a_third() {
    one_of_two_dies(true);
}

fn majority_dies(who: &[&str], dying: usize) {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(who);
    for member in &members {
        member.until("all vote", |status| voters(status) == names(who));
    }
    members[0].say("before");
    let at = leader_of(&members);
    members.rotate_left(at);
    let dead: Vec<Proc> = members.drain(..dying).collect();
    for one in &dead {
        one.kill();
    }
    for member in &members {
        member.say(&format!("{} lives", member.name));
    }
    let alive: Vec<&Proc> = members.iter().collect();
    same_talk(&alive, 1 + alive.len());
    for member in &members {
        let status = member.until("it says that membership is frozen", |s| s["quorum"] == false);
        let why = status["frozen_because"].as_str().unwrap_or_default();
        assert!(why.contains("voters are away"), "{status}");
    }
    let newcomer = lab.start("frank");
    newcomer.wait("it says what it waits for", |e| e["event"] == "waiting");
    let marks: Vec<usize> = members.iter().map(Proc::mark).collect();
    members[0].say("still frozen");
    let start = Instant::now();
    let back = lab.start(&dead[0].name);
    newcomer.ready();
    let took = start.elapsed();
    eprintln!("{} of {}: the joiner was in {took:?} after one came back", dying, who.len());
    assert!(took < PATIENT, "{took:?}");
    for (member, mark) in members.iter().zip(marks) {
        member.wait_from(mark, LONG, "a leader is there", |e| {
            e["event"] == "leader" && e["name"].is_string()
        });
    }
    back.ready();
    newcomer.say("in at last");
    let mut all: Vec<&Proc> = members.iter().collect();
    all.extend([&back, &newcomer]);
    same_talk(&all, 3 + members.len());
}

#[test]
fn when_two_of_three_die_talk_goes_on_and_a_joiner_gets_in_when_one_returns() {
    majority_dies(&["alice", "bob", "carol"], 2);
}

#[test]
fn when_three_of_five_die_talk_goes_on_and_a_joiner_gets_in_when_one_returns() {
    majority_dies(&["alice", "bob", "carol", "dave", "erin"], 3);
}

const FIVE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

fn night(lab: &Lab, opens: &str, go: impl Fn(&Proc, &[Proc])) {
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&FIVE);
    for member in &members {
        member.say(&format!("good night from {}", member.name));
    }
    same_talk(&members.iter().collect::<Vec<_>>(), 5);
    while !members.is_empty() {
        let one = members.remove(0);
        go(&one, &members);
    }
    let start = Instant::now();
    let first = lab.join(opens);
    first.until("it leads alone", |s| s["leader"]["name"] == opens && s["quorum"] == true);
    eprintln!("the morning: {opens} leads alone after {:?}", start.elapsed());
    assert!(start.elapsed() < PATIENT);
    let newcomer = lab.join("frank");
    newcomer.say("good morning");
    same_talk(&[&first, &newcomer], 6);
    // The others come back to the same group.
    let other = lab.join(if opens == "alice" { "bob" } else { "alice" });
    same_talk(&[&first, &newcomer, &other], 6);
}

#[test]
fn after_all_left_one_by_one_any_of_them_opens_alone_and_admits_a_newcomer() {
    let lab = Lab::new();
    night(&lab, "bob", |one, others| {
        let took = one.exit();
        assert!(took < Duration::from_secs(6), "{} took {took:?} to leave", one.name);
        for other in others {
            other.until("the voters follow", |s| !voters(s).contains(&one.name));
        }
    });
}

#[test]
fn after_all_left_quickly_the_first_to_leave_opens_alone() {
    let lab = Lab::new();
    night(&lab, "alice", |one, _| {
        one.exit();
    });
}

#[test]
fn after_all_were_killed_one_by_one_any_of_them_opens_alone_and_admits_a_newcomer() {
    let lab = Lab::new().with("TIMERS_AWAY_AFTER_MS", "2000");
    night(&lab, "carol", |one, others| {
        one.kill();
        for other in others {
            // Who dies before its vote has gone to the witness takes the majority along.
            other.until("the dead is no voter", |s| {
                let is_parked = voters(s) == names(&["witness"]);
                !voters(s).contains(&one.name)
                    && s["quorum"] == true
                    && s["control"]["committed"] == s["control"]["last"]
                    && (others.len() > 1 || is_parked)
            });
        }
    });
}
