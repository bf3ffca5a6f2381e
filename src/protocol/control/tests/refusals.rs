//! What is refused, and that it changes nothing.
//! Owns: nothing but its cases.
//! Must not know: anything outside the control core.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::super::*;
use super::world::*;
use crate::identity::Domain;
use crate::ids::{Hash, NetworkId};
use crate::limits::TERM_JUMP_MAX;
use crate::time::Wall;
use crate::wire::control::{hand_over_bytes, request_bytes};

/// Hands a message to a follower of a settled group and says what it refused; nothing may change.
fn refused(make: impl Fn(&World, u8) -> (u8, Message)) -> Option<Refusal> {
    let mut world = World::settled(&[A, B, C]);
    let follower = if world.leader() == A { B } else { A };
    // Nobody is protected by having heard a leader just now.
    let leader = world.leader();
    world.freeze(leader);
    world.run(800);
    world.forget_happened();
    let (from, message) = make(&world, follower);
    let before = world.core(follower).clone();
    world.input(follower, Input::Message { from: peer(from), message });
    let after = world.core(follower);
    assert_eq!(after.promised(), before.promised());
    assert_eq!(after.last(), before.last());
    assert_eq!(after.commit(), before.commit());
    world.nodes[&follower].happened.iter().find_map(|(_, happened)| match happened {
        Happened::Refused { refusal, .. } => Some(*refusal),
        _ => None,
    })
}

/// The digest of the newest entry.
fn end(world: &World, at: u8) -> Hash {
    let core = world.core(at);
    core.entry(core.last().0).map_or(Hash::ZERO, Entry::digest)
}

fn request(world: &World, at: u8, from: u8, jump: u64) -> VoteRequest {
    let core = world.core(at);
    let term = core.promised().term.saturating_add(jump);
    let ballot = Ballot { term, rank: [1; 4], peer: Some(peer(from)), generation: 0 };
    let (index, last) = core.last();
    let last = Position { ballot: last, index };
    let bytes = request_bytes(&NETWORK, &ballot, &last);
    let signature = toy_sign(&key(from), Domain::Vote, &bytes);
    VoteRequest { ballot, last, signature, hand_over: None }
}

#[test]
fn a_vote_request_of_a_stranger_is_refused() {
    let refusal = refused(|world, at| (F, Message::Vote(request(world, at, F, 1))));
    assert_eq!(refusal, Some(Refusal::NotAMember));
}

#[test]
fn a_vote_request_of_the_witness_is_refused() {
    let mut world = World::settled(&[A, B]);
    let follower = if world.leader() == A { B } else { A };
    let message = Message::Vote(request(&world, follower, W, 1));
    world.input(follower, Input::Message { from: peer(W), message });
    assert!(world.has(follower, |h| *h
        == Happened::Refused { from: peer(W), refusal: Refusal::NotAMember }));
}

#[test]
fn a_ballot_in_anothers_name_is_refused() {
    let refusal =
        refused(|world, at| (C, Message::Vote(request(world, at, if at == A { B } else { A }, 1))));
    assert_eq!(refusal, Some(Refusal::FieldBad));
}

#[test]
fn a_ballot_far_in_the_future_is_refused() {
    for jump in [TERM_JUMP_MAX + 1, 1 << 20, u64::MAX] {
        let refusal = refused(|world, at| (C, Message::Vote(request(world, at, C, jump))));
        assert_eq!(refusal, Some(Refusal::BallotFar), "{jump}");
    }
}

#[test]
fn a_forged_signature_is_refused() {
    let refusal = refused(|world, at| {
        let mut forged = request(world, at, C, 1);
        forged.signature.0[0] ^= 1;
        (C, Message::Vote(forged))
    });
    assert_eq!(refusal, Some(Refusal::SignatureBad));
}

#[test]
fn a_pre_vote_is_no_vote() {
    let refusal = refused(|world, at| {
        let asked = request(world, at, C, 1);
        let bytes = request_bytes(&NETWORK, &asked.ballot, &asked.last);
        let signature = toy_sign(&key(C), Domain::PreVote, &bytes);
        (C, Message::Vote(VoteRequest { signature, ..asked }))
    });
    assert_eq!(refusal, Some(Refusal::SignatureBad));
}

#[test]
fn a_heartbeat_without_a_proof_makes_nobody_follow() {
    let heartbeat = |world: &World, at: u8, proof| {
        let asked = request(world, at, C, 1);
        Message::Append(Append {
            ballot: asked.ballot,
            prev: asked.last,
            prev_digest: end(world, at),
            entries: Vec::new(),
            commit: Index(0),
            proof,
        })
    };
    assert_eq!(refused(|world, at| (C, heartbeat(world, at, None))), None);
    let forged = refused(|world, at| {
        let asked = request(world, at, C, 1);
        let voters = world.core(at).voters().clone();
        let votes = voters.as_slice().iter().map(|v| (v.peer, Signature([9; 64]))).collect();
        let key = key(C);
        (C, heartbeat(world, at, Some(Proof { voters, position: asked.last, votes, key })))
    });
    assert_eq!(forged, Some(Refusal::SignatureBad));
}

#[test]
fn a_heartbeat_of_a_lower_ballot_is_answered_with_the_higher_promise() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let follower = if leader == A { B } else { A };
    let promised = world.core(follower).promised();
    let low = Ballot { term: 0, rank: [0; 4], peer: Some(peer(C)), generation: 0 };
    let append = Append {
        ballot: low,
        prev: Position::ZERO,
        prev_digest: Hash::ZERO,
        entries: Vec::new(),
        commit: Index(0),
        proof: None,
    };
    let now = world.time();
    let node = world.nodes.get_mut(&follower).unwrap();
    let input = Input::Message { from: peer(C), message: Message::Append(append) };
    let output = node.core.handle(input, now, &Toy(key(follower)));
    assert!(output.sends.iter().any(|(to, message)| *to == peer(C)
        && matches!(message, Message::AppendReply(AppendReply { verdict: Verdict::Stale(high), .. }) if *high == promised)));
    assert!(output.writes.is_empty());
}

#[test]
fn replayed_votes_elect_nobody() {
    // A yes to an earlier ballot says nothing about a later one: the answer is dropped.
    let mut world = World::settled(&[A, B, C]);
    let now = world.time();
    let stale = VoteReply {
        ballot: world.core(A).promised(),
        promised: world.core(A).promised(),
        last: Position::ZERO,
        incarnation: Incarnation(1),
        grant: Some(Signature([1; 64])),
    };
    let node = world.nodes.get_mut(&A).unwrap();
    let _ = node.core.campaign_now([1; 4], now, &Toy(key(A)));
    world.input(A, Input::Message { from: peer(B), message: Message::VoteReply(stale.clone()) });
    assert!(!world.core(A).is_leader());
    // With the right ballot and a signature over another, it is refused.
    let forged = VoteReply { ballot: world.core(A).promised(), ..stale };
    world.input(A, Input::Message { from: peer(B), message: Message::VoteReply(forged) });
    assert!(!world.core(A).is_leader());
    assert!(
        world.has(A, |h| matches!(h, Happened::Refused { refusal: Refusal::SignatureBad, .. }))
    );
}

#[test]
fn votes_of_learners_and_of_other_lives_elect_nobody() {
    let mut world = World::settled(&[A, B, C, D, E, F]);
    let voters = world.core(world.leader()).voters().clone();
    let is_voter = |id: &u8| voters.voter(&peer(*id)).is_some();
    let candidate = [A, B, C].into_iter().find(|id| *id != world.leader()).unwrap();
    let learner = [A, B, C, D, E, F].into_iter().find(|id| !is_voter(id)).unwrap();
    let other = [D, E].into_iter().find(|id| is_voter(id)).unwrap();
    let now = world.time();
    let node = world.nodes.get_mut(&candidate).unwrap();
    let _ = node.core.campaign_now([1; 4], now, &Toy(key(candidate)));
    let reply = VoteReply {
        ballot: world.core(candidate).promised(),
        promised: world.core(candidate).promised(),
        last: Position::ZERO,
        incarnation: Incarnation(1),
        grant: Some(Signature([1; 64])),
    };
    let another_life = VoteReply { incarnation: Incarnation(2), ..reply.clone() };
    for (from, reply) in [(learner, reply), (other, another_life)] {
        world.forget_happened();
        world.input(
            candidate,
            Input::Message { from: peer(from), message: Message::VoteReply(reply) },
        );
        let refusal = Refusal::NotAVoter;
        assert!(world.has(candidate, |h| *h == Happened::Refused { from: peer(from), refusal }));
    }
}

#[test]
fn a_page_nobody_asked_for_is_ignored() {
    let refusal = refused(|world, at| {
        let asked = request(world, at, C, 1);
        let last = Position { ballot: asked.ballot, index: asked.last.index.next() };
        let entry = Entry {
            ballot: last.ballot,
            index: last.index,
            stamp: Wall(0),
            previous: end(world, at),
            payload: Payload::Empty,
            signer: key(C),
            votes: Vec::new(),
            signature: Signature([0; 64]),
        };
        let (prev, promised) = (asked.last, last.ballot);
        let (entries, commit, prev_digest) = (vec![entry], last.index, end(world, at));
        let page = LogPage { last, prev, prev_digest, entries, commit, promised };
        (C, Message::LogPage(page))
    });
    assert_eq!(refusal, None);
}

#[test]
fn a_hand_over_that_the_leader_did_not_sign_is_refused() {
    let mut world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let other = if leader == A { B } else { A };
    let (_, ballot) = world.core(other).leader().unwrap();
    let bytes = hand_over_bytes(&NETWORK, &ballot, &peer(other));
    let signature = toy_sign(&key(other), Domain::HandOver, &bytes);
    let wish = HandOver { ballot, to: peer(other), signature };
    world.input(other, Input::Message { from: peer(leader), message: Message::HandOver(wish) });
    assert!(
        world.has(other, |h| matches!(h, Happened::Refused { refusal: Refusal::SignatureBad, .. }))
    );
    assert_eq!(world.leader(), leader);
}

#[test]
fn statements_verify_until_anything_in_them_changes() {
    let world = World::settled(&[A, B, C]);
    let leader = world.leader();
    let now = world.time();
    let toy = Toy(key(leader));
    let made = |id: u8| {
        world.core(id).statement(
            Bytes::from(vec![id]),
            Bytes::from_static(b"authority"),
            vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
            now,
            &toy,
        )
    };
    let statement = made(leader).unwrap();
    let follower = if leader == A { B } else { A };
    assert!(made(follower).is_none());
    assert_eq!(Statement::decode(&statement.encode()).as_ref(), Ok(&statement));
    let (authority, credential) = statement.verify(&toy, now.wall).unwrap();
    assert_eq!((authority.network, credential.peer), (NETWORK, peer(leader)));

    let bad = |change: &dyn Fn(&mut Statement)| {
        let mut changed = statement.clone();
        change(&mut changed);
        changed.verify(&toy, now.wall).map(|_| ()).unwrap_err()
    };
    assert_eq!(bad(&|s| s.commit = Index(0)), Refusal::SignatureBad);
    assert_eq!(bad(&|s| s.addresses.clear()), Refusal::SignatureBad);
    assert_eq!(bad(&|s| s.credential = Bytes::from_static(&[F])), Refusal::StatementBad);
    assert_eq!(bad(&|s| s.network = NetworkId([8; 32])), Refusal::NetworkOther);
    assert_eq!(bad(&|s| s.issued_at = Wall(0)), Refusal::StatementExpired);
    // Signed again by its maker, but without the votes.
    let unvoted = bad(&|s| {
        s.proof.votes.clear();
        s.signature = toy_sign(&key(leader), Domain::Statement, &s.signed_bytes());
    });
    assert_eq!(unvoted, Refusal::StatementBad);
}
