//! Round trips of everything in `control.proto`, and what is refused.
//! Owns: nothing but its cases.
//! Must not know: the protocol's decisions.
//! Invariants: what is decoded equals what was encoded; random bytes never panic.
//! Start reading at: [`every_message_survives_its_encoding`].

use proptest::prelude::*;

use super::*;

fn peer() -> impl Strategy<Value = PeerId> {
    any::<[u8; 32]>().prop_map(|bytes| PeerId::of_ed25519(&DeviceKey(bytes)))
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (any::<u64>(), any::<u64>(), any::<[u32; RANK_LEN]>(), peer()).prop_map(
        |(generation, term, rank, peer)| Ballot { generation, term, rank, peer: Some(peer) },
    )
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        Just(Position::default()),
        (ballot(), 1..u64::MAX)
            .prop_map(|(ballot, index)| Position { ballot, index: Index(index) }),
    ]
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<u8>().prop_map(|byte| Signature([byte; 64]))
}

fn voters() -> impl Strategy<Value = VoterSet> {
    prop::collection::vec((peer(), any::<u64>(), any::<[u8; 32]>(), any::<bool>()), 1..=6).prop_map(
        |voters| {
            VoterSet::new(voters.into_iter().map(|(peer, life, key, is_witness)| Voter {
                peer,
                incarnation: Incarnation(life),
                key: DeviceKey(key),
                is_witness,
            }))
            .unwrap()
        },
    )
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Empty),
        (any::<[u8; 16]>(), prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(id, bytes)| { Payload::Intent { id: IntentId(id), bytes: bytes.into() } }),
        voters().prop_map(Payload::Voters),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let said = (ballot(), 1..u64::MAX, any::<u64>(), payload());
    let entry = (said, any::<[u8; 32]>(), any::<[u8; 32]>(), votes(), signature()).prop_map(
        |((ballot, index, stamp, payload), previous, signer, votes, signature)| Entry {
            ballot,
            index: Index(index),
            stamp: Wall(stamp),
            previous: Hash(previous),
            payload,
            signer: DeviceKey(signer),
            votes,
            signature,
        },
    );
    prop::collection::vec(entry, 0..4)
}

fn votes() -> impl Strategy<Value = Vec<(PeerId, Signature)>> {
    prop::collection::vec((peer(), signature()), 0..=6)
}

fn digest() -> impl Strategy<Value = Hash> {
    prop_oneof![Just(Hash::ZERO), any::<[u8; 32]>().prop_map(Hash)]
}

fn proof() -> impl Strategy<Value = Proof> {
    (voters(), position(), votes(), any::<[u8; 32]>()).prop_map(|(voters, position, votes, key)| {
        Proof { voters, position, votes, key: DeviceKey(key) }
    })
}

fn hand_over() -> impl Strategy<Value = HandOver> {
    (ballot(), peer(), signature()).prop_map(|(ballot, to, signature)| HandOver {
        ballot,
        to,
        signature,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let request = || {
        (ballot(), position(), signature(), prop::option::of(hand_over())).prop_map(
            |(ballot, last, signature, hand_over)| VoteRequest {
                ballot,
                last,
                signature,
                hand_over,
            },
        )
    };
    let reply = || {
        (ballot(), ballot(), position(), any::<u64>(), prop::option::of(signature())).prop_map(
            |(ballot, promised, last, life, grant)| VoteReply {
                ballot,
                promised,
                last,
                incarnation: Incarnation(life),
                grant,
            },
        )
    };
    let append =
        (ballot(), position(), digest(), entries(), any::<u64>(), prop::option::of(proof()))
            .prop_map(|(ballot, prev, prev_digest, entries, commit, proof)| {
                let commit = Index(commit);
                Append { ballot, prev, prev_digest, entries, commit, proof }
            });
    let verdict = prop_oneof![
        any::<u64>().prop_map(|index| Verdict::Matched(Index(index))),
        any::<u64>().prop_map(|index| Verdict::Conflict(Index(index))),
        Just(Verdict::NeedsProof),
        ballot().prop_map(Verdict::Stale),
    ];
    let append_reply = (ballot(), any::<u64>(), verdict).prop_map(|(ballot, life, verdict)| {
        AppendReply { ballot, incarnation: Incarnation(life), verdict }
    });
    let want = (position(), digest(), any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
        |(last, digest, commit, in_doubt, compares)| {
            let commit = Index(commit);
            LogWant { last, digest, commit, in_doubt, compares }
        },
    );
    let page = (position(), position(), digest(), entries(), any::<u64>(), ballot()).prop_map(
        |(last, prev, prev_digest, entries, commit, promised)| {
            let commit = Index(commit);
            LogPage { last, prev, prev_digest, entries, commit, promised }
        },
    );
    prop_oneof![
        request().prop_map(Message::PreVote),
        reply().prop_map(Message::PreVoteReply),
        request().prop_map(Message::Vote),
        reply().prop_map(Message::VoteReply),
        append.prop_map(Message::Append),
        append_reply.prop_map(Message::AppendReply),
        hand_over().prop_map(Message::HandOver),
        Just(Message::Leaving),
        want.prop_map(Message::LogWant),
        page.prop_map(Message::LogPage),
    ]
}

proptest! {
    #[test]
    fn every_message_survives_its_encoding(message in message()) {
        prop_assert_eq!(decode(&message.encode()), Ok(message));
    }

    #[test]
    fn entries_and_ballots_survive_the_disk(entries in entries(), ballot in ballot()) {
        for entry in entries {
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
        prop_assert_eq!(Ballot::decode(&ballot.encode()), Ok(ballot));
    }

    #[test]
    fn random_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = Statement::decode(&bytes);
        let _ = Entry::decode(&bytes);
    }

    #[test]
    fn a_message_cut_short_is_refused_or_another(message in message(), at in any::<prop::sample::Index>()) {
        let bytes = message.encode();
        let cut = at.index(bytes.len().max(1));
        prop_assert_ne!(decode(&bytes[..cut.min(bytes.len().saturating_sub(1))]), Ok(message));
    }
}

#[test]
fn the_ballot_before_the_first_is_no_bytes() {
    assert!(Ballot::default().encode().is_empty());
    assert_eq!(Ballot::decode(&[]), Ok(Ballot::default()));
}

fn heartbeat() -> pb::Append {
    let peer = PeerId::of_ed25519(&DeviceKey([1; 32]));
    let ballot = pb::Ballot {
        generation: 0,
        term: 3,
        rank: vec![1, 2, 3, 4],
        peer: Bytes::copy_from_slice(peer.as_bytes()),
    };
    pb::Append { ballot: Some(ballot), prev_index: 7, commit: 7, ..Default::default() }
}

fn read(append: pb::Append) -> Result<Message, Refusal> {
    let body = pb::control_frame::Body::Append(append);
    decode(&pb::ControlFrame { body: Some(body) }.encode_to_vec())
}

#[test]
fn a_rank_of_another_length_is_refused() {
    for len in [0, 3, 5, 1_000] {
        let mut append = heartbeat();
        append.ballot.as_mut().unwrap().rank = vec![1; len];
        assert_eq!(read(append), Err(Refusal::FieldBad));
    }
}

#[test]
fn an_append_without_a_ballot_or_with_too_many_entries_is_refused() {
    assert!(read(heartbeat()).is_ok());
    assert_eq!(read(pb::Append { ballot: None, ..heartbeat() }), Err(Refusal::FieldBad));
    let entry = pb::ControlEntry {
        ballot: heartbeat().ballot,
        index: 8,
        signer: vec![1; 32].into(),
        signature: vec![1; 64].into(),
        ..Default::default()
    };
    assert!(read(pb::Append { entries: vec![entry.clone(); 64], ..heartbeat() }).is_ok());
    assert_eq!(
        read(pb::Append { entries: vec![entry; 65], ..heartbeat() }),
        Err(Refusal::FieldBad)
    );
}

#[test]
fn an_empty_frame_and_an_unknown_body_are_refused() {
    assert_eq!(decode(&[]), Err(Refusal::FrameBad));
    assert_eq!(decode(&[0xfa, 0x01, 0x00]), Err(Refusal::FrameBad));
    assert_eq!(decode(&[0xff; 32]), Err(Refusal::FrameBad));
}

#[test]
fn a_heartbeat_is_about_a_hundred_bytes() {
    let Ok(message) = read(heartbeat()) else { panic!("a heartbeat") };
    let Message::Append(append) = message else { panic!("a heartbeat") };
    let whole = Message::Append(Append { prev_digest: Hash([7; 32]), ..append }).encode();
    assert!(whole.len() <= 114, "{}", whole.len());
}

#[test]
fn an_entry_without_signer_or_signature_or_with_too_many_votes_is_refused() {
    let vote =
        pb::SignedVote { voter: heartbeat().ballot.unwrap().peer, signature: vec![1; 64].into() };
    let whole = || pb::ControlEntry {
        ballot: heartbeat().ballot,
        index: 8,
        previous: vec![1; 32].into(),
        signer: vec![1; 32].into(),
        votes: vec![vote.clone(); VoterSet::LEN_MAX],
        signature: vec![1; 64].into(),
        ..Default::default()
    };
    let read = |entry: pb::ControlEntry| Entry::decode(&entry.encode_to_vec()).map(|_| ());
    assert_eq!(read(whole()), Ok(()));
    let bad = Err(Refusal::FieldBad);
    assert_eq!(read(pb::ControlEntry { signer: Bytes::new(), ..whole() }), bad);
    assert_eq!(read(pb::ControlEntry { signature: Bytes::new(), ..whole() }), bad);
    assert_eq!(read(pb::ControlEntry { previous: vec![1; 31].into(), ..whole() }), bad);
    let many = vec![vote.clone(); VoterSet::LEN_MAX + 1];
    assert_eq!(read(pb::ControlEntry { votes: many, ..whole() }), bad);
}

#[test]
fn a_digest_covers_all_that_an_entry_says_but_its_signature() {
    let peer = PeerId::of_ed25519(&DeviceKey([1; 32]));
    let entry = Entry {
        ballot: Ballot { term: 3, peer: Some(peer), ..Ballot::default() },
        index: Index(8),
        stamp: Wall(5),
        previous: Hash([2; 32]),
        payload: Payload::Empty,
        signer: DeviceKey([1; 32]),
        votes: vec![(peer, Signature([1; 64]))],
        signature: Signature([1; 64]),
    };
    let digest = |change: &dyn Fn(&mut Entry)| {
        let mut changed = entry.clone();
        change(&mut changed);
        changed.digest()
    };
    assert_eq!(digest(&|it| it.signature = Signature([9; 64])), entry.digest());
    let intent = |n: u8| Payload::Intent { id: IntentId([n; 16]), bytes: Bytes::from(vec![n]) };
    let digests = [
        entry.digest(),
        digest(&|it| it.ballot.rank[3] = 1),
        digest(&|it| it.index = Index(9)),
        digest(&|it| it.stamp = Wall(6)),
        digest(&|it| it.previous = Hash([3; 32])),
        digest(&|it| it.signer = DeviceKey([2; 32])),
        digest(&|it| it.votes.clear()),
        digest(&|it| it.payload = intent(1)),
        digest(&|it| it.payload = intent(2)),
        digest(&|it| it.payload = Payload::Voters(VoterSet::default())),
    ];
    let distinct: std::collections::BTreeSet<Hash> = digests.into_iter().collect();
    assert_eq!(distinct.len(), digests.len());
}
