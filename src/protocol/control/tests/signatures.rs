//! Signed entries: every log can be checked from the genesis on, what is forged changes nothing, and a
//! leader that tells two stories is found out by those who compare.
//! Owns: nothing but its cases.
//! Must not know: anything outside the control core.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::super::*;
use super::world::*;
use crate::identity::Domain;
use crate::ids::{DeviceKey, Hash};
use crate::time::Wall;
use crate::wire::control::entry_bytes;

/// Follows a whole log from the base.
fn check(world: &World, id: u8) {
    let core = world.core(id);
    let mut chain = Chain::new(NETWORK, set(&[W]));
    for index in 1..=core.last().0.0 {
        let entry = core.entry(Index(index)).unwrap();
        assert_eq!(chain.follow(entry, &Toy(key(9))), Ok(()), "{id} at {index}: {entry:?}");
    }
}

#[test]
fn every_log_is_proved_from_the_genesis_on_whoever_led_and_left() {
    let mut world = World::settled(&[A, B, C]);
    for n in 0..6 {
        let leader = world.leader();
        world.propose(leader, n);
        world.run(500);
        match n % 3 {
            // Killed, handed over, and its vote given back by then.
            0 => world.kill(leader),
            1 => world.input(leader, Input::Leave),
            _ => {}
        }
        world.run(9_000);
        for id in [A, B, C] {
            if !world.up().contains(&id) || n % 3 == 1 {
                world.kill(id);
                world.start(id);
            }
        }
        world.run(9_000);
    }
    // The night: everybody goes, one after another, and one alone begins the morning in a new life.
    for id in [A, B, C] {
        world.input(id, Input::Leave);
        world.run(3_000);
        world.kill(id);
        world.run(9_000);
    }
    world.wipe(A, 2);
    world.start(A);
    world.run(9_000);
    assert_eq!(world.leaders(), [A]);
    world.start(B);
    world.run(9_000);
    let ballots = |id: u8| {
        let core = world.core(id);
        let at = |index| core.entry(Index(index)).unwrap().ballot;
        (1..=core.last().0.0).map(at).collect::<BTreeSet<Ballot>>().len()
    };
    for id in [A, B, W] {
        assert!(ballots(id) >= 5, "{id} saw {} ballots", ballots(id));
        check(&world, id);
    }
}

/// A follower of a settled group, and the append that brings it the leader's next entry.
fn next_append() -> (World, u8, Append) {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let follower = if leader == A { B } else { A };
    let now = world.time();
    let node = world.nodes.get_mut(&leader).unwrap();
    let input = Input::Propose { id: intent(7), bytes: Bytes::from_static(b"seven") };
    let output = node.core.handle(input, now, &Toy(key(leader)));
    node.disk.write(&output.writes);
    let append = output.sends.into_iter().find_map(|(to, message)| match message {
        Message::Append(append) if to == peer(follower) && !append.entries.is_empty() => {
            Some(append)
        }
        _ => None,
    });
    (world, follower, append.unwrap())
}

/// Hands a changed append to the follower; what it refused. It may have changed nothing.
fn refused(change: impl FnOnce(&mut Append)) -> Option<Refusal> {
    let (mut world, follower, mut append) = next_append();
    let leader = world.leader();
    change(&mut append);
    world.forget_happened();
    let before = world.core(follower).clone();
    let input = Input::Message { from: peer(leader), message: Message::Append(append) };
    world.input(follower, input);
    let after = world.core(follower);
    let refusal = world.nodes[&follower].happened.iter().find_map(|(_, happened)| match happened {
        Happened::Refused { refusal, .. } => Some(*refusal),
        _ => None,
    });
    let is_same = after.last() == before.last();
    assert_eq!(after.promised(), before.promised());
    assert_eq!(refusal.is_some(), is_same);
    assert_eq!(after.commit(), before.commit());
    refusal
}

fn signed_by(entry: &Entry, by: DeviceKey) -> Signature {
    toy_sign(&by, Domain::Entry, &entry_bytes(&NETWORK, entry))
}

#[test]
fn an_entry_that_an_elected_leader_did_not_sign_is_refused_and_changes_nothing() {
    assert_eq!(refused(|_| {}), None);
    let forged = Some(Refusal::EntryForged);
    assert_eq!(refused(|it| it.entries[0].signature.0[0] ^= 1), forged);
    assert_eq!(refused(|it| it.entries[0].stamp = Wall(1)), forged);
    assert_eq!(refused(|it| it.entries[0].payload = Payload::Empty), forged);
    // Signed whole by another key, and as if it had been voted for.
    let by_another = |it: &mut Append| {
        let entry = &mut it.entries[0];
        entry.signer = key(F);
        entry.signature = signed_by(entry, key(F));
    };
    assert_eq!(refused(by_another), forged);
    let with_votes = |it: &mut Append| {
        let entry = &mut it.entries[0];
        entry.votes = vec![(peer(A), Signature([1; 64]))];
        entry.signature = signed_by(entry, entry.signer);
    };
    assert_eq!(refused(with_votes), forged);
    let elsewhere = |it: &mut Append| {
        let entry = &mut it.entries[0];
        entry.previous = Hash([5; 32]);
        entry.signature = signed_by(entry, entry.signer);
    };
    assert_eq!(refused(elsewhere), Some(Refusal::EntryBroken));
}

#[test]
fn a_page_in_a_leaders_name_is_refused_by_who_pulls_it() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let [asker, liar] = [A, B, C].into_iter().filter(|id| *id != leader).collect::<Vec<_>>()[..]
    else {
        panic!("three")
    };
    // It hears of no leader and can elect none.
    world.freeze(liar);
    world.kill(leader);
    world.run(4_000);
    let now = world.time();
    let core = world.core(asker).clone();
    let (index, ballot) = core.last();
    let end = core.entry(index).unwrap().digest();
    let made = |ballot: Ballot, signer: u8, votes: Vec<(PeerId, Signature)>| {
        let mut entry = Entry {
            ballot,
            index: index.next(),
            stamp: Wall(WALL + 99_999),
            previous: end,
            payload: Payload::Intent { id: intent(66), bytes: Bytes::from_static(b"forged") },
            signer: key(signer),
            votes,
            signature: Signature([0; 64]),
        };
        entry.signature = signed_by(&entry, key(signer));
        entry
    };
    let own = Ballot { term: ballot.term + 1, peer: Some(peer(liar)), ..ballot };
    let votes = vec![(peer(liar), Signature([1; 64])), (peer(asker), Signature([1; 64]))];
    for entry in [made(ballot, liar, Vec::new()), made(own, liar, votes), made(own, liar, vec![])] {
        let page = LogPage {
            last: entry.position(),
            prev: Position { ballot, index },
            prev_digest: end,
            commit: entry.index,
            promised: entry.ballot,
            entries: vec![entry],
        };
        let mut asking = core.clone();
        let output = asking.want_log_now(peer(liar), now, &Toy(key(asker)));
        assert!(output.sends.iter().any(|(to, _)| *to == peer(liar)));
        let input = Input::Message { from: peer(liar), message: Message::LogPage(page) };
        let output = asking.handle(input, world.time(), &Toy(key(asker)));
        let refusal = Refusal::EntryForged;
        assert!(output.happened.contains(&Happened::Refused { from: peer(liar), refusal }));
        assert_eq!(asking.last(), core.last());
        assert_eq!(asking.commit(), core.commit());
        assert_eq!(asking.promised(), core.promised());
    }
}

/// A group whose leader told one follower something else than the other, and is gone.
fn told_two_stories() -> (World, u8, u8, u8) {
    let (mut world, follower, mut append) = next_append();
    let leader = world.leader();
    let other = [A, B, C].into_iter().find(|id| ![leader, follower].contains(id)).unwrap();
    // The one is told "seven" by the real core, the other something else, and that it is committed.
    let commit = append.entries[0].index;
    let says = |append: &Append| {
        let append = Append { commit, ..append.clone() };
        Input::Message { from: peer(leader), message: Message::Append(append) }
    };
    world.input(follower, says(&append));
    let entry = &mut append.entries[0];
    entry.payload = Payload::Intent { id: intent(8), bytes: Bytes::from_static(b"eight") };
    entry.signature = signed_by(entry, key(leader));
    world.input(other, says(&append));
    assert_eq!(world.core(follower).commit(), commit);
    assert_eq!(world.core(other).commit(), commit);
    world.forget_happened();
    world.kill(leader);
    (world, leader, follower, other)
}

fn contradictions(world: &World, id: u8) -> Vec<[Entry; 2]> {
    let happened = world.nodes[&id].happened.iter();
    let found = happened.filter_map(|(_, it)| match it {
        Happened::Contradicted { pair } => Some((**pair).clone()),
        _ => None,
    });
    found.collect()
}

#[test]
fn who_compares_finds_both_signatures_and_nothing_committed_is_replaced() {
    let (mut world, leader, follower, other) = told_two_stories();
    let at = world.core(follower).commit();
    let (seven, eight) = (
        world.core(follower).entry(at).unwrap().clone(),
        world.core(other).entry(at).unwrap().clone(),
    );
    world.run(30_000);
    let found: Vec<_> =
        [follower, other].into_iter().flat_map(|id| contradictions(&world, id)).collect();
    assert!(!found.is_empty(), "nobody noticed");
    for [one, two] in &found {
        assert!(contradict(&NETWORK, one, two, &Toy(key(9))));
        assert_eq!(one.ballot.peer, Some(peer(leader)));
    }
    // Each is told once by a core, however often the two meet.
    assert!(found.len() <= 2, "{}", found.len());
    assert_eq!(world.core(follower).entry(at), Some(&seven));
    assert_eq!(world.core(other).entry(at), Some(&eight));
    // Who is led by one of the other story says why it cannot follow.
    let says_so = |id| {
        let refusal = Refusal::LogContradicts;
        world.has(id, |it| matches!(it, Happened::Refused { refusal: it, .. } if *it == refusal))
    };
    assert!(says_so(follower) || says_so(other));
    let appends = world.nodes.values().map(|node| node.heard.len()).max().unwrap();
    assert!(appends < 30_000 / 100, "{appends} appends: they answer each other without end");
}

#[test]
fn two_entries_prove_a_contradiction_or_they_do_not() {
    let (world, leader, follower, other) = told_two_stories();
    let at = world.core(follower).commit();
    let one = world.core(follower).entry(at).unwrap().clone();
    let two = world.core(other).entry(at).unwrap().clone();
    let proves = |one: &Entry, two: &Entry| contradict(&NETWORK, one, two, &Toy(key(9)));
    assert!(proves(&one, &two) && proves(&two, &one));
    assert!(!proves(&one, &one), "the same");
    let before = world.core(follower).entry(at.before()).unwrap();
    assert!(!proves(&one, before), "another place");
    let changed = |change: &dyn Fn(&mut Entry)| {
        let mut two = two.clone();
        change(&mut two);
        two
    };
    assert!(!proves(&one, &changed(&|it| it.stamp = Wall(1))), "unsigned");
    let resigned = |change: &dyn Fn(&mut Entry)| {
        changed(&|it| {
            change(it);
            it.signature = signed_by(it, key(leader));
        })
    };
    assert!(proves(&one, &resigned(&|it| it.stamp = Wall(1))));
    assert!(!proves(&one, &resigned(&|it| it.ballot.term += 1)), "another ballot");
    assert!(!proves(&one, &resigned(&|it| it.signer = key(F))), "signed by another key");
    let elsewhere = crate::ids::NetworkId([8; 32]);
    assert!(!contradict(&elsewhere, &one, &two, &Toy(key(9))), "another network");
}
