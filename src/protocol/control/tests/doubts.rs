//! A voter whose database is an older copy of itself.
//! Owns: nothing but its cases.
//! Must not know: anything outside the control core.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::super::*;
use super::world::*;

/// The leader, a follower, and one more, of a settled group of three.
fn group() -> (World, u8, u8, u8) {
    let world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let mut others = [A, B, C].into_iter().filter(|id| *id != leader);
    let (voter, other) = (others.next().unwrap(), others.next().unwrap());
    (world, leader, voter, other)
}

fn cut_off(world: &mut World, id: u8) {
    for other in [W, A, B, C] {
        if other != id {
            world.part(id, other);
        }
    }
}

#[test]
fn an_older_copy_of_a_voter_hears_those_it_reaches_before_it_votes() {
    let (mut world, leader, voter, other) = group();
    let copy = world.nodes[&voter].disk.clone();
    cut_off(&mut world, other);
    world.propose(leader, 1);
    world.run(20);
    assert!(world.holds(leader, 1), "ordered by the leader and the voter");
    world.kill(voter);
    world.nodes.get_mut(&voter).unwrap().disk = copy;
    world.heal();
    world.start(voter);
    assert_eq!(world.core(voter).last(), world.core(other).last(), "as if it had never been");
    let now = world.time();
    let node = world.nodes.get_mut(&other).unwrap();
    let asked = node.core.campaign_now([u32::MAX; 4], now, &Toy(key(other)));
    let (_, vote) = asked.sends.into_iter().find(|(to, _)| *to == peer(voter)).unwrap();
    world.input(voter, Input::Message { from: peer(other), message: vote });
    assert_ne!(world.core(voter).promised(), world.core(other).promised(), "no vote yet");
    world.run(4_000);
    assert!([A, B, C].into_iter().all(|id| world.holds(id, 1)), "nothing committed is lost");
}

#[test]
fn an_older_copy_takes_over_the_promises_of_those_it_reaches() {
    let (mut world, leader, voter, other) = group();
    let copy = world.nodes[&voter].disk.clone();
    cut_off(&mut world, leader);
    world.run(3_000);
    let ballot = world.core(voter).promised();
    assert_eq!(world.core(other).promised(), ballot);
    for id in [voter, other] {
        world.kill(id);
    }
    world.nodes.get_mut(&voter).unwrap().disk = copy;
    world.start(voter);
    assert!(world.core(voter).promised() < ballot);
    world.start(other);
    world.run(10);
    assert!(world.core(voter).promised() >= ballot);
}

#[test]
fn whoever_reaches_nobody_votes_again_after_two_heartbeats() {
    let (mut world, leader, voter, other) = group();
    world.kill(leader);
    world.kill(voter);
    world.start(voter);
    world.freeze(other);
    world.run(400);
    assert!(world.core(voter).doubts());
    world.run(200);
    world.input(voter, Input::Woke);
    assert!(!world.core(voter).doubts());
}

#[test]
fn a_leader_begins_again_with_a_peer_that_lost_what_it_acknowledged() {
    let (mut world, leader, voter, _) = group();
    world.propose(leader, 1);
    world.run(100);
    let (_, ballot) = world.core(leader).leader().unwrap();
    let verdict = Verdict::Conflict(Index(1));
    let reply = AppendReply { ballot, incarnation: Incarnation(1), verdict };
    let now = world.time();
    let node = world.nodes.get_mut(&leader).unwrap();
    let input = Input::Message { from: peer(voter), message: Message::AppendReply(reply) };
    let output = node.core.handle(input, now, &Toy(key(leader)));
    let begins = |message: &Message| matches!(message, Message::Append(it) if it.prev.index == Index(1) && !it.entries.is_empty());
    assert!(output.sends.iter().any(|(to, message)| *to == peer(voter) && begins(message)));
}
