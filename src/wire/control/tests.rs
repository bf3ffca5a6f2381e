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
    let entry = (ballot(), 1..u64::MAX, any::<u64>(), payload()).prop_map(
        |(ballot, index, stamp, payload)| Entry {
            ballot,
            index: Index(index),
            stamp: Wall(stamp),
            payload,
        },
    );
    prop::collection::vec(entry, 0..4)
}

fn proof() -> impl Strategy<Value = Proof> {
    (voters(), position(), prop::collection::vec((peer(), signature()), 0..=6))
        .prop_map(|(voters, position, votes)| Proof { voters, position, votes })
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
    let append = (ballot(), position(), entries(), any::<u64>(), prop::option::of(proof()))
        .prop_map(|(ballot, prev, entries, commit, proof)| Append {
            ballot,
            prev,
            entries,
            commit: Index(commit),
            proof,
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
    let want = (position(), any::<u64>(), any::<bool>())
        .prop_map(|(last, commit, in_doubt)| LogWant { last, commit: Index(commit), in_doubt });
    let page = (position(), position(), entries(), any::<u64>(), ballot()).prop_map(
        |(last, prev, entries, commit, promised)| {
            let commit = Index(commit);
            LogPage { last, prev, entries, commit, promised }
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
    let entry = pb::ControlEntry { ballot: heartbeat().ballot, index: 8, ..Default::default() };
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
fn a_heartbeat_is_a_few_dozen_bytes() {
    let Ok(message) = read(heartbeat()) else { panic!("a heartbeat") };
    assert!(message.encode().len() <= 80, "{}", message.encode().len());
}
