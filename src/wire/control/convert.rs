//! Protobuf to typed and back, for everything in `control.proto`.
//! Owns: the checks of presence and range.
//! Must not know: what the values mean.
//! Invariants: what is out of range is refused here and nowhere later.
//! Start reading at: the conversion of [`Message`].

use bytes::Bytes;

use crate::ids::{DeviceKey, Hash, Incarnation, Index, IntentId, NetworkId, PeerId, Signature};
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, APPEND_ENTRIES_MAX, CERTIFICATE_BYTES_MAX, INTENT_BYTES_MAX,
    ORDER_BYTES_MAX,
};
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::control::{
    Append, AppendReply, Ballot, Entry, HandOver, LogPage, LogWant, Message, Payload, Position,
    Proof, Statement, Verdict, VoteReply, VoteRequest, Voter, VoterSet,
};
use crate::wire::pb;
use crate::wire::pb::control_frame::Body;

const BAD: Refusal = Refusal::FieldBad;

impl From<&Message> for pb::ControlFrame {
    fn from(message: &Message) -> Self {
        Self {
            body: Some(match message {
                Message::PreVote(request) => Body::PreVote(request_out(request)),
                Message::PreVoteReply(reply) => Body::PreVoteReply(reply_out(reply)),
                Message::Vote(request) => Body::Vote(request_out(request)),
                Message::VoteReply(reply) => Body::VoteReply(reply_out(reply)),
                Message::Append(append) => Body::Append(append_out(append)),
                Message::AppendReply(reply) => Body::AppendReply(append_reply_out(reply)),
                Message::HandOver(hand_over) => Body::HandOver(hand_over_out(hand_over)),
                Message::Leaving => Body::Leaving(pb::Leaving {}),
                Message::LogWant(want) => Body::LogWant(pb::LogWant {
                    last: Some(position_out(&want.last)),
                    commit: want.commit.0,
                    in_doubt: want.in_doubt,
                    digest: digest_out(&want.digest),
                    compares: want.compares,
                }),
                Message::LogPage(page) => Body::LogPage(pb::LogPage {
                    last: Some(position_out(&page.last)),
                    prev: Some(position_out(&page.prev)),
                    entries: page.entries.iter().map(pb::ControlEntry::from).collect(),
                    commit: page.commit.0,
                    promised: ballot_out(&page.promised),
                    prev_digest: digest_out(&page.prev_digest),
                }),
            }),
        }
    }
}

impl TryFrom<pb::ControlFrame> for Message {
    type Error = Refusal;

    fn try_from(frame: pb::ControlFrame) -> Result<Self, Refusal> {
        Ok(match frame.body.ok_or(Refusal::FrameBad)? {
            Body::PreVote(request) => Self::PreVote(request_in(request)?),
            Body::PreVoteReply(reply) => Self::PreVoteReply(reply_in(reply)?),
            Body::Vote(request) => Self::Vote(request_in(request)?),
            Body::VoteReply(reply) => Self::VoteReply(reply_in(reply)?),
            Body::Append(append) => Self::Append(append_in(append)?),
            Body::AppendReply(reply) => Self::AppendReply(append_reply_in(reply)?),
            Body::HandOver(hand_over) => Self::HandOver(hand_over_in(hand_over)?),
            Body::Leaving(pb::Leaving {}) => Self::Leaving,
            Body::LogWant(want) => Self::LogWant(LogWant {
                last: position_in(want.last)?,
                commit: Index(want.commit),
                in_doubt: want.in_doubt,
                digest: digest_in(&want.digest)?,
                compares: want.compares,
            }),
            Body::LogPage(page) => Self::LogPage(LogPage {
                last: position_in(page.last)?,
                prev: position_in(page.prev)?,
                entries: entries_in(page.entries)?,
                commit: Index(page.commit),
                promised: ballot_in(page.promised)?,
                prev_digest: digest_in(&page.prev_digest)?,
            }),
        })
    }
}

pub(super) fn ballot_out(ballot: &Ballot) -> Option<pb::Ballot> {
    (*ballot != Ballot::default()).then(|| pb::Ballot {
        generation: ballot.generation,
        term: ballot.term,
        rank: ballot.rank.to_vec(),
        peer: ballot.peer.as_ref().map(peer_out).unwrap_or_default(),
    })
}

pub(super) fn ballot_in(ballot: Option<pb::Ballot>) -> Result<Ballot, Refusal> {
    let Some(ballot) = ballot else { return Ok(Ballot::default()) };
    Ok(Ballot {
        generation: ballot.generation,
        term: ballot.term,
        rank: ballot.rank.try_into().map_err(|_| BAD)?,
        peer: Some(peer_in(&ballot.peer)?),
    })
}

/// A ballot that somebody stands for: the one before the first will not do.
fn candidacy_in(ballot: Option<pb::Ballot>) -> Result<Ballot, Refusal> {
    ballot_in(Some(ballot.ok_or(BAD)?))
}

fn peer_out(peer: &PeerId) -> Bytes {
    Bytes::copy_from_slice(peer.as_bytes())
}

fn peer_in(bytes: &[u8]) -> Result<PeerId, Refusal> {
    PeerId::from_bytes(bytes).ok_or(BAD)
}

fn signature_out(signature: &Signature) -> Bytes {
    Bytes::copy_from_slice(signature.as_bytes())
}

fn signature_in(bytes: &[u8]) -> Result<Signature, Refusal> {
    Signature::from_bytes(bytes).ok_or(BAD)
}

/// No entry: no digest.
fn digest_out(digest: &Hash) -> Bytes {
    match *digest {
        Hash::ZERO => Bytes::new(),
        _ => Bytes::copy_from_slice(digest.as_bytes()),
    }
}

fn digest_in(bytes: &[u8]) -> Result<Hash, Refusal> {
    if bytes.is_empty() { Ok(Hash::ZERO) } else { Hash::from_bytes(bytes).ok_or(BAD) }
}

fn key_in(bytes: &[u8]) -> Result<DeviceKey, Refusal> {
    DeviceKey::from_bytes(bytes).ok_or(BAD)
}

fn votes_out(votes: &[(PeerId, Signature)]) -> Vec<pb::SignedVote> {
    let vote_out = |(voter, signature): &(PeerId, Signature)| pb::SignedVote {
        voter: peer_out(voter),
        signature: signature_out(signature),
    };
    votes.iter().map(vote_out).collect()
}

fn votes_in(votes: Vec<pb::SignedVote>) -> Result<Vec<(PeerId, Signature)>, Refusal> {
    if votes.len() > VoterSet::LEN_MAX {
        return Err(BAD);
    }
    votes
        .into_iter()
        .map(|vote| Ok((peer_in(&vote.voter)?, signature_in(&vote.signature)?)))
        .collect()
}

fn position_out(position: &Position) -> pb::Position {
    pb::Position { ballot: ballot_out(&position.ballot), index: position.index.0 }
}

fn position_in(position: Option<pb::Position>) -> Result<Position, Refusal> {
    let Some(position) = position else { return Ok(Position::default()) };
    let ballot = ballot_in(position.ballot)?;
    // Index 0 and the ballot before the first stand for each other.
    if (position.index == 0) != ballot.peer.is_none() {
        return Err(BAD);
    }
    Ok(Position { ballot, index: Index(position.index) })
}

fn voters_out(voters: &VoterSet) -> pb::VoterSet {
    let voter_out = |voter: &Voter| pb::Voter {
        peer: peer_out(&voter.peer),
        incarnation: voter.incarnation.0,
        key: Bytes::copy_from_slice(voter.key.as_bytes()),
        is_witness: voter.is_witness,
    };
    pb::VoterSet { voters: voters.as_slice().iter().map(voter_out).collect() }
}

fn voters_in(voters: pb::VoterSet) -> Result<VoterSet, Refusal> {
    if voters.voters.is_empty() || voters.voters.len() > VoterSet::LEN_MAX {
        return Err(BAD);
    }
    let voters: Vec<Voter> = voters
        .voters
        .into_iter()
        .map(|voter| {
            Ok(Voter {
                peer: peer_in(&voter.peer)?,
                incarnation: Incarnation(voter.incarnation),
                key: key_in(&voter.key)?,
                is_witness: voter.is_witness,
            })
        })
        .collect::<Result<_, Refusal>>()?;
    VoterSet::new(voters).ok_or(BAD)
}

impl From<&Entry> for pb::ControlEntry {
    fn from(entry: &Entry) -> Self {
        use pb::control_entry::Payload as Out;
        Self {
            ballot: ballot_out(&entry.ballot),
            index: entry.index.0,
            stamp: entry.stamp.0,
            payload: match &entry.payload {
                Payload::Empty => None,
                Payload::Intent { id, bytes } => Some(Out::Intent(pb::ControlIntent {
                    id: Bytes::copy_from_slice(id.as_bytes()),
                    bytes: bytes.clone(),
                })),
                Payload::Voters(voters) => Some(Out::Voters(voters_out(voters))),
            },
            previous: digest_out(&entry.previous),
            signer: Bytes::copy_from_slice(entry.signer.as_bytes()),
            votes: votes_out(&entry.votes),
            signature: signature_out(&entry.signature),
        }
    }
}

impl TryFrom<pb::ControlEntry> for Entry {
    type Error = Refusal;

    fn try_from(entry: pb::ControlEntry) -> Result<Self, Refusal> {
        use pb::control_entry::Payload as In;
        if entry.index == 0 {
            return Err(BAD);
        }
        Ok(Self {
            ballot: candidacy_in(entry.ballot)?,
            index: Index(entry.index),
            stamp: Wall(entry.stamp),
            payload: match entry.payload {
                None => Payload::Empty,
                Some(In::Intent(intent)) if intent.bytes.len() <= INTENT_BYTES_MAX => {
                    Payload::Intent {
                        id: IntentId::from_bytes(&intent.id).ok_or(BAD)?,
                        bytes: intent.bytes,
                    }
                }
                Some(In::Intent(_)) => return Err(BAD),
                Some(In::Voters(voters)) => Payload::Voters(voters_in(voters)?),
            },
            previous: digest_in(&entry.previous)?,
            signer: key_in(&entry.signer)?,
            votes: votes_in(entry.votes)?,
            signature: signature_in(&entry.signature)?,
        })
    }
}

fn entries_in(entries: Vec<pb::ControlEntry>) -> Result<Vec<Entry>, Refusal> {
    if entries.len() > APPEND_ENTRIES_MAX {
        return Err(BAD);
    }
    entries.into_iter().map(Entry::try_from).collect()
}

fn proof_out(proof: &Proof) -> pb::ElectionProof {
    pb::ElectionProof {
        voters: Some(voters_out(&proof.voters)),
        position: Some(position_out(&proof.position)),
        votes: votes_out(&proof.votes),
        key: Bytes::copy_from_slice(proof.key.as_bytes()),
    }
}

fn proof_in(proof: pb::ElectionProof) -> Result<Proof, Refusal> {
    Ok(Proof {
        voters: voters_in(proof.voters.ok_or(BAD)?)?,
        position: position_in(proof.position)?,
        votes: votes_in(proof.votes)?,
        key: key_in(&proof.key)?,
    })
}

fn request_out(request: &VoteRequest) -> pb::VoteRequest {
    pb::VoteRequest {
        ballot: ballot_out(&request.ballot),
        last: Some(position_out(&request.last)),
        signature: signature_out(&request.signature),
        hand_over: request.hand_over.as_ref().map(hand_over_out),
    }
}

fn request_in(request: pb::VoteRequest) -> Result<VoteRequest, Refusal> {
    Ok(VoteRequest {
        ballot: candidacy_in(request.ballot)?,
        last: position_in(request.last)?,
        signature: signature_in(&request.signature)?,
        hand_over: request.hand_over.map(hand_over_in).transpose()?,
    })
}

fn reply_out(reply: &VoteReply) -> pb::VoteReply {
    pb::VoteReply {
        ballot: ballot_out(&reply.ballot),
        is_granted: reply.grant.is_some(),
        promised: ballot_out(&reply.promised),
        last: Some(position_out(&reply.last)),
        incarnation: reply.incarnation.0,
        signature: reply.grant.as_ref().map(signature_out).unwrap_or_default(),
    }
}

fn reply_in(reply: pb::VoteReply) -> Result<VoteReply, Refusal> {
    Ok(VoteReply {
        ballot: candidacy_in(reply.ballot)?,
        promised: ballot_in(reply.promised)?,
        last: position_in(reply.last)?,
        incarnation: Incarnation(reply.incarnation),
        grant: match reply.is_granted {
            true => Some(signature_in(&reply.signature)?),
            false => None,
        },
    })
}

fn append_out(append: &Append) -> pb::Append {
    // A heartbeat in a quiet group follows an entry of its own ballot: said by saying nothing.
    let is_own = append.prev.ballot == append.ballot;
    pb::Append {
        ballot: ballot_out(&append.ballot),
        prev_index: append.prev.index.0,
        prev_ballot: if is_own { None } else { ballot_out(&append.prev.ballot) },
        entries: append.entries.iter().map(pb::ControlEntry::from).collect(),
        commit: append.commit.0,
        proof: append.proof.as_ref().map(proof_out),
        prev_digest: digest_out(&append.prev_digest),
    }
}

fn append_in(append: pb::Append) -> Result<Append, Refusal> {
    let ballot = candidacy_in(append.ballot)?;
    let prev = match (append.prev_index, append.prev_ballot) {
        (0, None) => Position::default(),
        (index, None) => Position { ballot, index: Index(index) },
        (index, prev) => position_in(Some(pb::Position { ballot: prev, index }))?,
    };
    Ok(Append {
        ballot,
        prev,
        entries: entries_in(append.entries)?,
        commit: Index(append.commit),
        proof: append.proof.map(proof_in).transpose()?,
        prev_digest: digest_in(&append.prev_digest)?,
    })
}

fn append_reply_out(reply: &AppendReply) -> pb::AppendReply {
    let (verdict, index, promised) = match &reply.verdict {
        Verdict::Matched(index) => (1, index.0, None),
        Verdict::Conflict(index) => (2, index.0, None),
        Verdict::NeedsProof => (3, 0, None),
        Verdict::Stale(promised) => (4, 0, ballot_out(promised)),
    };
    pb::AppendReply {
        ballot: ballot_out(&reply.ballot),
        verdict,
        index,
        incarnation: reply.incarnation.0,
        promised,
    }
}

fn append_reply_in(reply: pb::AppendReply) -> Result<AppendReply, Refusal> {
    Ok(AppendReply {
        ballot: candidacy_in(reply.ballot)?,
        incarnation: Incarnation(reply.incarnation),
        verdict: match reply.verdict {
            1 => Verdict::Matched(Index(reply.index)),
            2 => Verdict::Conflict(Index(reply.index)),
            3 => Verdict::NeedsProof,
            4 => Verdict::Stale(candidacy_in(reply.promised)?),
            _ => return Err(BAD),
        },
    })
}

fn hand_over_out(hand_over: &HandOver) -> pb::HandOver {
    pb::HandOver {
        ballot: ballot_out(&hand_over.ballot),
        to: peer_out(&hand_over.to),
        signature: signature_out(&hand_over.signature),
    }
}

fn hand_over_in(hand_over: pb::HandOver) -> Result<HandOver, Refusal> {
    Ok(HandOver {
        ballot: candidacy_in(hand_over.ballot)?,
        to: peer_in(&hand_over.to)?,
        signature: signature_in(&hand_over.signature)?,
    })
}

impl From<&Statement> for pb::Statement {
    fn from(statement: &Statement) -> Self {
        Self {
            network: Bytes::copy_from_slice(statement.network.as_bytes()),
            genesis_hash: Bytes::copy_from_slice(statement.genesis_hash.as_bytes()),
            ballot: ballot_out(&statement.ballot),
            leader: statement.credential.clone(),
            authority: statement.authority.clone(),
            addresses: statement.addresses.clone(),
            proof: Some(proof_out(&statement.proof)),
            last: Some(position_out(&statement.last)),
            commit: statement.commit.0,
            issued_at: statement.issued_at.0,
            signature: signature_out(&statement.signature),
        }
    }
}

impl TryFrom<pb::Statement> for Statement {
    type Error = Refusal;

    fn try_from(statement: pb::Statement) -> Result<Self, Refusal> {
        let has_long_address = statement.addresses.iter().any(|a| a.len() > ADDRESS_BYTES_MAX);
        if statement.addresses.len() > ADDRESSES_MAX
            || has_long_address
            || statement.leader.len() > ORDER_BYTES_MAX
            || statement.authority.len() > CERTIFICATE_BYTES_MAX
        {
            return Err(BAD);
        }
        Ok(Self {
            network: NetworkId::from_bytes(&statement.network).ok_or(BAD)?,
            genesis_hash: Hash::from_bytes(&statement.genesis_hash).ok_or(BAD)?,
            ballot: candidacy_in(statement.ballot)?,
            credential: statement.leader,
            authority: statement.authority,
            addresses: statement.addresses,
            proof: proof_in(statement.proof.ok_or(BAD)?)?,
            last: position_in(statement.last)?,
            commit: Index(statement.commit),
            issued_at: Wall(statement.issued_at),
            signature: signature_in(&statement.signature)?,
        })
    }
}
