//! Two halves of a group that cannot hear each other, and two of one.
//! Owns: what is read and believed of those who did not know.
//! Must not know: how a removal is carried out.
//! Invariants: as in `main.rs`. Halves are apart in time: while one runs the other is killed, so
//! that nothing waits in a socket between them.
//! Start reading at: the first test.

use p2pgroup::ids::PeerId;

use crate::harness::{LONG, LOOK, Lab, Proc, json, list, same_talk, settled};
use crate::lab::free_port;
use crate::rooms::{create, done, holds, receipt, say_in, texts};
use crate::secrets::attack;
use crate::servers::copy;
use crate::stores::{Nonces, open, verified};

/// Starts a member at an address that stays its own, so that others find it with no help.
fn start_at(lab: &Lab, name: &str, port: u16) -> Proc {
    lab.prepare(name, &format!("{name}.pem"));
    let mut args = lab.join_args(name, &["--no-embedded"]);
    let at = args.iter().position(|it| it == "127.0.0.1:0").unwrap();
    args[at] = format!("127.0.0.1:{port}");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Proc::start(name, lab.command(&args))
}

#[test]
fn what_those_who_knew_of_a_removal_said_stays_closed_to_the_removed_after_a_partition() {
    let lab = Lab::new();
    let servers = [lab.bootstrap(), lab.keyauth()];
    let names = ["alice", "carol", "dave", "erin", "bob"];
    let ports = names.map(|_| free_port());
    let start = |at: usize| {
        let member = start_at(&lab, names[at], ports[at]);
        member.ready();
        member
    };
    let mut all: Vec<Proc> = (0..5).map(start).collect();
    settled(&all);
    let bob = PeerId::parse(all[4].ready()["peer_id"].as_str().unwrap()).unwrap();
    for member in &all {
        member.say(&format!("before, by {}", member.name));
    }
    same_talk(&all.iter().collect::<Vec<_>>(), 5);
    // One half: it has the majority, and removes bob.
    for member in all.drain(3..) {
        member.kill();
    }
    copy(&lab.home("bob"), &lab.home("kept"));
    done(&all[0], json!({"cmd": "remove", "name": "bob", "reason": "left"}));
    for member in &all {
        member.wait("keys without bob", |e| {
            let names = list(&e["members"]);
            e["event"] == "epoch" && !names.is_empty() && names.iter().all(|it| it != "bob")
        });
        let text = format!("after, by {}, who knows", member.name);
        member.say(&text);
        for other in &all {
            if other.name != member.name {
                other.hear(&text);
            }
        }
    }
    for gone in all.drain(..).chain(servers) {
        gone.kill();
    }
    // The other half knows nothing of it, and talks.
    let (erin, removed) = (start(3), start(4));
    erin.say("by erin, who does not know");
    removed.hear("by erin, who does not know");
    removed.say("past the cut, by bob");
    erin.hear("past the cut, by bob");
    removed.kill();
    // They meet again.
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut all: Vec<Proc> = (0..3).map(start).collect();
    all.push(erin);
    settled(&all);
    for member in &all[..3] {
        member.hear("by erin, who does not know");
    }
    let whole = receipt(&all[0], "bob");
    eprintln!("{whole}");
    for member in &all {
        member.say(&format!("after the heal, by {}", member.name));
    }
    for member in &all {
        for other in names.iter().take(4).filter(|it| **it != member.name) {
            member.hear(&format!("after the heal, by {other}"));
        }
    }
    let talks: Vec<Vec<String>> = all.iter().map(|it| texts(it, "main")).collect();
    for (member, talk) in all.iter().zip(&talks) {
        assert_eq!(talk, &talks[0], "{}", member.name);
        assert!(!talk.iter().any(|text| text.starts_with("past the cut")), "{talk:?}");
    }
    for member in &all {
        member.exit();
        verified(&lab, &lab.home(&member.name));
    }
    let attack = attack(&lab, "alice", "kept", "bob", bob);
    let (mut open, mut closed) = (0, 0);
    for (text, read) in &attack.read {
        if text.starts_with("after") {
            assert_eq!(*read, None, "{text}");
            closed += 1;
        } else {
            assert_eq!(read.as_deref(), Some(text.as_str()), "the attack works");
            open += 1;
        }
    }
    eprintln!("{open} are open to who was removed, {closed} closed; {} commits", attack.tried);
    assert_eq!((open, closed), (6, 7));
}

#[test]
fn a_home_that_runs_twice_among_others_seals_nothing_twice_and_all_show_the_same() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let members = lab.group(&["alice", "bob", "carol"]);
    let mut members = members.into_iter();
    let (alice, bob, carol) =
        (members.next().unwrap(), members.next().unwrap(), members.next().unwrap());
    create(&alice, "ops", json!({}));
    for name in ["bob", "carol"] {
        done(&alice, json!({"cmd": "room_invite", "room": "ops", "name": name}));
    }
    for member in [&alice, &bob, &carol] {
        holds(member, "ops", &["alice", "bob", "carol"]);
    }
    for room in ["main", "ops"] {
        say_in(&bob, room, &format!("one bob in {room}"));
        for other in [&alice, &carol] {
            other.wait("one bob", |e| e["text"] == format!("one bob in {room}"));
        }
    }
    bob.exit();
    copy(&lab.home("bob"), &lab.home("twin"));
    let mut args = lab.join_args("twin", &["--no-embedded"]);
    let name = args.iter().position(|it| it == "twin").unwrap();
    args[name] = "bob".to_owned();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start_twin = || Proc::start("bob", lab.command(&args));
    let twins = [lab.start("bob"), start_twin()];
    let mut promised = Vec::new();
    for (which, twin) in twins.iter().enumerate() {
        twin.ready();
        for room in ["main", "ops"] {
            for part in 0..10 {
                let text = format!("bob {which} in {room} {part}");
                say_in(twin, room, &text);
                promised.push((room, text));
            }
        }
    }
    // One after the other goes on alone, so that each can bring what it has. What it says before it
    // heard that its log forks would end with that log, so it speaks when all show the same.
    let [one, two] = twins;
    one.exit();
    for room in ["main", "ops"] {
        same_texts([&alice, &two, &carol], room);
        say_in(&two, room, &format!("the second alone in {room}"));
        for other in [&alice, &carol] {
            let text = format!("the second alone in {room}");
            other.wait_from(0, LONG, "it hears the second", |e| e["text"] == text);
        }
    }
    two.exit();
    let bob = lab.join("bob");
    for room in ["main", "ops"] {
        same_texts([&alice, &bob, &carol], room);
        say_in(&bob, room, &format!("the first alone in {room}"));
        let text = format!("the first alone in {room}");
        for other in [&alice, &carol] {
            other.wait_from(0, LONG, "it hears the first", |e| e["text"] == text);
        }
    }
    // The first may have been linked to nobody until now: then the second has not heard yet that what
    // it said is to be said again.
    bob.exit();
    let bob = start_twin();
    bob.ready();
    // Nobody may have heard of the fork before both had spoken alone.
    for room in ["main", "ops"] {
        promised.push((room, format!("the second alone in {room}")));
        promised.push((room, format!("the first alone in {room}")));
    }
    let (again, shown) = same_after_a_fork([&alice, &bob, &carol], &promised);
    let alarms: Vec<_> = alice.events().into_iter().filter(|e| e["event"] == "alarm").collect();
    let mut nonces = Nonces::default();
    for member in [alice, bob, carol] {
        member.exit();
    }
    for name in ["alice", "bob", "carol", "twin"] {
        verified(&lab, &lab.home(name));
        nonces.add(&open(&lab.home(name)));
    }
    let [_, logs, sessions] = nonces.kinds();
    eprintln!(
        "{} entries sealed once each in {logs} logs of {sessions} sessions; {shown} shown as of a \
         fork, {again} said twice, alarms {alarms:?}",
        nonces.len()
    );
}

/// Waits until all show the same of a room, and returns it.
fn same_texts(all: [&Proc; 3], room: &str) -> Vec<String> {
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let talks = all.map(|it| texts(it, room));
        if talks.iter().all(|talk| *talk == talks[0]) {
            return talks[0].clone();
        }
        assert!(std::time::Instant::now() < deadline, "{room}: {talks:#?}");
        std::thread::sleep(LOOK);
    }
}

/// All show everything of a log that two wrote: gives how much of it twice, and how much flagged.
fn same_after_a_fork(all: [&Proc; 3], promised: &[(&str, String)]) -> (usize, usize) {
    // Where both wrote at one place the log ends, with what each of them said there, flagged; what
    // they said after that is said again in another log.
    let (mut again, mut shown) = (0, 0);
    for room in ["main", "ops"] {
        let deadline = std::time::Instant::now() + LONG;
        let talk = loop {
            let talk = same_texts(all, room);
            let of_room = promised.iter().filter(|it| it.0 == room);
            let lost: Vec<_> = of_room.filter(|it| !talk.contains(&it.1)).collect();
            if lost.is_empty() {
                break talk;
            }
            let is_late = std::time::Instant::now() > deadline;
            assert!(!is_late, "{room}: gone although told to be sent: {lost:?}");
        };
        let mark = all[0].mark();
        texts(all[0], room);
        let rows = all[0].events().split_off(mark);
        let flagged = rows.iter().filter(|e| e["fork"] == true).count();
        let twice = talk.iter().collect::<std::collections::BTreeSet<_>>().len();
        (again, shown) = (again + talk.len() - twice, shown + flagged);
    }
    (again, shown)
}
