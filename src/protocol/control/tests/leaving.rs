//! Leaving, the witness that comes back, voters that are replaced.
//! Owns: nothing but its cases.
//! Must not know: anything outside the control core.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::super::*;
use super::world::*;

fn names(set: &VoterSet) -> Vec<u8> {
    (0..=F).filter(|id| set.voter(&peer(*id)).is_some()).collect()
}

#[test]
fn the_voters_follow_the_table() {
    let table: [(&[u8], &[u8]); 6] = [
        (&[A], &[W]),
        (&[A, B], &[W, A, B]),
        (&[A, B, C], &[A, B, C]),
        (&[A, B, C, D], &[W, A, B, C, D]),
        (&[A, B, C, D, E], &[A, B, C, D, E]),
        (&[A, B, C, D, E, F], &[A, B, C, D, E, F]),
    ];
    for (members, voters) in table {
        let world = World::settled(members);
        let set = names(world.core(world.leader()).voters());
        if members.len() == 6 {
            assert_eq!(set.len(), 5);
            assert!(!set.contains(&W));
        } else {
            assert_eq!(set, voters);
        }
    }
}

#[test]
fn every_change_of_voters_is_of_one_voter() {
    let mut world = World::settled(&[A, B, C, D, E]);
    world.kill(B);
    world.run(9_000);
    world.kill(C);
    world.run(9_000);
    world.start(B);
    world.run(9_000);
    let core = world.core(world.leader());
    let mut before = set(&[W]);
    let mut changes = 0;
    for index in 1..=core.last().0.0 {
        if let Some(Payload::Voters(next)) = core.entry(Index(index)).map(|entry| &entry.payload) {
            assert_eq!(before.distance(next), 1);
            before = next.clone();
            changes += 1;
        }
    }
    assert!(changes > 8, "{changes}");
}

#[test]
fn a_leader_that_leaves_hands_over_without_a_gap() {
    let mut world = World::settled(&[A, B, C]);
    let old = world.leader();
    let witness = [A, B, C].into_iter().find(|id| *id != old).unwrap();
    world.forget_happened();
    world.input(old, Input::Leave);
    let from = world.now;
    while !world.has(old, |h| *h == Happened::MayExit) {
        world.run(1);
        assert!(world.now - from <= 2_001, "it takes too long");
    }
    world.kill(old);
    world.run(1_000);
    let new = world.leader();
    assert_ne!(new, old);
    let third = [A, B, C].into_iter().find(|id| *id != old && *id != new).unwrap();
    let heard = &world.nodes[&third].heard;
    let gap = heard.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(gap <= 300, "a gap of {gap} ms, seen from {third} ({witness})");
    assert!(!world.core(new).voters().contains(&voter(old)), "its vote was given back");
}

#[test]
fn a_follower_that_leaves_is_taken_out_of_the_voters_first() {
    let mut world = World::settled(&[A, B]);
    let leader = world.leader();
    let other = if leader == A { B } else { A };
    world.input(other, Input::Leave);
    world.run(100);
    assert!(world.has(other, |h| *h == Happened::MayExit));
    world.kill(other);
    world.run(500);
    assert_eq!(names(world.core(leader).voters()), [W]);
    let presence = world.core(leader).presence(world.time());
    assert!(presence.contains(&(peer(other), MemberState::Left)));
}

#[test]
fn the_last_one_out_leaves_the_witness_alone() {
    let mut world = World::settled(&[A]);
    world.input(A, Input::Leave);
    world.run(50);
    assert!(world.has(A, |h| *h == Happened::MayExit));
    assert_eq!(names(world.core(W).voters()), [W]);
}

#[test]
fn leaving_ends_in_time_even_when_nobody_answers() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    for id in [A, B, C, W] {
        if id != leader {
            world.freeze(id);
        }
    }
    world.input(leader, Input::Leave);
    world.run(2_001);
    assert!(world.has(leader, |h| *h == Happened::MayExit));
}

#[test]
fn a_dead_voter_is_replaced_after_a_while_and_a_short_absence_changes_nothing() {
    let mut world = World::settled(&[A, B, C, D, E, F]);
    let leader = world.leader();
    let before = world.core(leader).voters().clone();
    let victim = names(&before).into_iter().find(|id| *id != leader).unwrap();
    world.kill(victim);
    world.run(2_000);
    world.start(victim);
    world.run(1_000);
    assert_eq!(*world.core(leader).voters(), before);
    world.kill(victim);
    world.run(8_000);
    let after = world.core(leader).voters();
    assert!(!after.contains(&voter(victim)));
    assert_eq!(after.as_slice().len(), 5);
}

#[test]
fn a_witness_that_lost_its_state_becomes_a_voter_again_through_the_log() {
    let mut world = World::settled(&[A, B]);
    world.propose(world.leader(), 1);
    world.run(50);
    world.kill(W);
    world.run(500);
    world.wipe(W, 77);
    world.start(W);
    world.run(8_000);
    let leader = world.leader();
    let witness = world.core(leader).voters().voter(&peer(W)).copied();
    assert_eq!(witness.map(|w| w.incarnation), Some(Incarnation(77)));
    assert!(world.holds(W, 1));
}

#[test]
fn a_member_with_a_new_database_counts_only_once_the_log_names_it() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let other = if leader == A { B } else { A };
    world.kill(other);
    world.wipe(other, 5);
    world.start(other);
    world.run(500);
    let core = world.core(leader);
    assert!(core.voters().contains(&voter(other)), "the old life is still named");
    assert_eq!(core.missing_voters(world.time()), [peer(other)]);
    // Admitted with its new database, the lives are swapped, one entry each.
    let new = Voter { incarnation: Incarnation(5), ..voter(other) };
    let members = [A, B, C].map(|id| if id == other { new } else { voter(id) });
    for id in world.up() {
        world.input(id, Input::Members(members.to_vec()));
    }
    world.run(1_000);
    assert!(world.core(leader).voters().contains(&new));
    assert_eq!(world.core(leader).voters().as_slice().len(), 3);
}

#[test]
fn two_alive_and_one_dead_still_admit_with_the_help_of_the_witness() {
    let mut world = World::settled(&[A, B]);
    let leader = world.leader();
    let other = if leader == A { B } else { A };
    world.kill(leader);
    world.run(3_000);
    assert_eq!(world.leader(), other);
    world.admit(C);
    world.propose(other, 3);
    world.run(500);
    assert!(world.holds(other, 3) && world.holds(C, 3) && world.holds(W, 3));
}
