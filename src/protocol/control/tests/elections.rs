//! Who comes to lead, how fast, and who does not.
//! Owns: nothing but its cases.
//! Must not know: anything outside the control core.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::super::*;
use super::world::*;

#[test]
fn the_first_member_is_elected_by_the_witness_alone() {
    let mut world = World::of(&[A]);
    world.run(2_000);
    assert_eq!(world.leader(), A);
    assert!(world.core(A).voters().is_parked());
    world.propose(A, 1);
    world.run(10);
    assert!(world.holds(A, 1) && world.holds(W, 1));
}

#[test]
fn a_killed_leader_is_replaced_and_what_it_committed_stays() {
    for size in [2, 3, 5] {
        let members: Vec<u8> = (A..A + size).collect();
        let mut world = World::settled(&members);
        let old = world.leader();
        world.propose(old, 9);
        world.run(100);
        world.kill(old);
        world.run(1_000);
        let new = world.leader();
        assert_ne!(new, old);
        world.propose(new, 10);
        world.run(20);
        assert!(world.holds(new, 9) && world.holds(new, 10), "size {size}");
    }
}

#[test]
fn a_frozen_leader_is_replaced_after_the_election_timeout_and_comes_back_as_follower() {
    let mut world = World::settled(&[A, B, C]);
    let old = world.leader();
    world.freeze(old);
    world.run(3_000);
    assert_eq!(world.leaders().len(), 1);
    let new = world.leader();
    world.run(30_000);
    world.thaw(old);
    assert!(!world.core(old).is_leader(), "it slept");
    world.run(2_000);
    assert_eq!(world.leader(), new);
    assert_eq!(world.core(old).leader().unwrap().0, peer(new));
}

#[test]
fn a_follower_that_slept_deposes_nobody() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let sleeper = if leader == A { B } else { A };
    let ballot = world.core(leader).leader();
    world.freeze(sleeper);
    world.run(30_000);
    world.thaw(sleeper);
    world.run(10_000);
    assert_eq!(world.core(leader).leader(), ballot);
    assert_eq!(world.core(sleeper).leader(), ballot);
}

#[test]
fn a_member_cut_off_from_the_leader_alone_causes_no_election() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let ballot = world.core(leader).leader();
    let other = if leader == A { B } else { A };
    world.part(leader, other);
    world.run(4_000);
    assert_eq!(world.core(leader).leader(), ballot);
    world.heal();
    world.run(1_000);
    assert_eq!(world.core(other).leader(), ballot);
}

#[test]
fn a_leader_without_a_majority_steps_down_within_two_timeouts() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    for other in [A, B, C, W] {
        if other != leader {
            world.part(leader, other);
        }
    }
    world.run(2_000);
    assert!(world.has(leader, |h| matches!(h, Happened::Deposed { .. })));
    assert!(!world.core(leader).is_leader());
    assert!(!world.core(leader).missing_voters(world.time()).is_empty());
}

#[test]
fn the_majority_lost_at_once_freezes_and_one_that_returns_resumes() {
    let mut world = World::settled(&[A, B, C]);
    world.kill(A);
    world.kill(B);
    world.run(10_000);
    assert!(world.leaders().is_empty());
    assert!(!world.core(C).has_quorum(world.time()));
    assert_eq!(world.core(C).missing_voters(world.time()), [peer(A), peer(B)]);
    world.start(A);
    world.run(3_000);
    let leader = world.leader();
    world.propose(leader, 5);
    world.run(20);
    assert!(world.holds(leader, 5));
}

#[test]
fn in_the_morning_whoever_comes_first_pulls_the_witness_and_leads() {
    let mut world = World::settled(&[A, B, C, D, E]);
    world.propose(world.leader(), 1);
    world.run(100);
    for id in [A, B, C, D, E] {
        world.input(id, Input::Leave);
        world.run(2_100);
        world.kill(id);
        world.run(500);
    }
    assert!(world.core(W).voters().is_parked(), "{:?}", world.core(W).voters());
    world.run(8 * 3_600);
    let first = C;
    world.start(first);
    world.run(3_000);
    assert_eq!(world.leader(), first);
    assert!(world.holds(first, 1));
    world.admit(F);
    world.propose(first, 2);
    world.run(1_000);
    assert!(world.holds(F, 1) && world.holds(F, 2));
}

#[test]
fn a_night_of_kills_ends_with_the_witness_alone_too() {
    let mut world = World::settled(&[A, B, C, D, E]);
    world.propose(world.leader(), 1);
    world.run(100);
    for id in [A, B, C, D, E] {
        world.kill(id);
        // Time to notice, to elect and to take the dead one's vote.
        world.run(9_000);
    }
    assert!(world.core(W).voters().is_parked(), "{:?}", world.core(W).voters());
    world.start(A);
    world.run(3_000);
    assert_eq!(world.leader(), A);
    assert!(world.holds(A, 1));
}

#[test]
fn a_restarted_member_keeps_its_promise_and_its_log() {
    let mut world = World::settled(&[A, B, C]);
    world.propose(world.leader(), 1);
    world.run(50);
    let before = (world.core(B).promised(), world.core(B).last(), world.core(B).commit());
    world.kill(B);
    world.start(B);
    let core = world.core(B);
    assert_eq!((core.promised(), core.last(), core.commit()), before);
}

#[test]
fn a_proposal_is_ordered_once_however_often_it_is_made() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    world.propose(leader, 1);
    world.propose(leader, 1);
    world.run(20);
    let end = world.core(leader).last();
    world.propose(leader, 1);
    world.run(20);
    assert_eq!(world.core(leader).last(), end);
    let ordered = world.nodes[&leader].happened.iter();
    let ordered = ordered.filter(|(_, h)| matches!(h, Happened::Ordered { .. })).count();
    assert_eq!(ordered, 2);
    let follower = if leader == A { B } else { A };
    world.propose(follower, 2);
    assert!(world.has(follower, |h| *h
        == Happened::NotOrdered { id: intent(2), refusal: Refusal::NotLeader }));
}

#[test]
fn two_candidates_of_one_term_are_settled_by_rank() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    world.kill(leader);
    // Both ask in the same moment; the higher rank wins without another round.
    let others: Vec<u8> = [A, B, C].into_iter().filter(|id| *id != leader).collect();
    let now = world.time();
    let mut sent = Vec::new();
    for (id, rank) in [(others[0], [9, 0, 0, 0]), (others[1], [8, 0, 0, 0])] {
        let node = world.nodes.get_mut(&id).unwrap();
        let output = node.core.campaign_now(rank, now, &Toy(key(id)));
        node.disk.write(&output.writes);
        sent.extend(output.sends.into_iter().map(|(to, message)| (id, to, message)));
    }
    for (from, to, message) in sent {
        if let Some(to) = others.iter().copied().find(|id| peer(*id) == to) {
            world.input(to, Input::Message { from: peer(from), message });
        }
    }
    world.run(20);
    assert_eq!(world.leader(), others[0]);
    assert_eq!(world.core(others[1]).leader().unwrap().0, peer(others[0]));
}

#[test]
fn a_hundred_kills_of_leaders_lose_nothing() {
    let mut world = World::settled(&[A, B, C, D, E]);
    let mut worst = 0;
    for n in 0..100 {
        let old = world.leader();
        world.propose(old, n);
        world.run(10);
        world.kill(old);
        let from = world.now;
        while world.leaders().is_empty() {
            world.run(1);
            assert!(world.now - from < 5_000, "no leader after kill {n}");
        }
        worst = worst.max(world.now - from);
        world.start(old);
        world.run(7_000);
        let leader = world.leader();
        assert!((0..=n).all(|earlier| world.holds(leader, earlier)), "kill {n}");
    }
    assert!(worst <= 1_500, "slowest election {worst} ms");
}

#[test]
fn a_quiet_group_of_ten_says_little() {
    let members: Vec<u8> = (1..=5).collect();
    let mut world = World::settled(&members);
    *world.bytes.borrow_mut() = 0;
    world.run(1_000);
    let per_second = *world.bytes.borrow();
    // Four beats a second to five peers, and the answers.
    assert!(per_second <= 4 * 5 * 220, "{per_second} bytes a second");
}
