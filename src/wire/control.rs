//! The shapes of the control log and of what is said about it, and their bytes.
//! Owns: the typed forms of everything in `control.proto`, complete and in range once they exist.
//! Must not know: who votes for whom, what commits (`protocol/control` decides).
//! Invariants: decoding what was encoded gives the same value; nothing out of range is decoded.
//! Start reading at: [`Message`].

mod canonical;
mod convert;

use bytes::Bytes;
use prost::Message as _;

use crate::ids::{DeviceKey, Hash, Incarnation, Index, IntentId, NetworkId, PeerId, Signature};
use crate::limits::{RANK_LEN, VOTERS_MAX};
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::pb;

pub use canonical::{entry_bytes, hand_over_bytes, request_bytes, vote_bytes};

/// A candidacy, and the leadership it may become: totally ordered, compared whole, everywhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Counts recoveries of a group that lost its majority.
    pub generation: u64,
    /// Counts elections.
    pub term: u64,
    /// Drawn at random for each candidacy: settles a tie inside one term at once.
    pub rank: [u32; RANK_LEN],
    /// The candidate; `None` only in the ballot before the first.
    pub peer: Option<PeerId>,
}

/// A place in a log. Ordered as "at least as up to date" asks: by ballot, then by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The ballot of the entry there.
    pub ballot: Ballot,
    /// Where.
    pub index: Index,
}

/// One that counts for majorities: this database of this peer, signing with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// Who.
    pub peer: PeerId,
    /// In which life of its database.
    pub incarnation: Incarnation,
    /// The key that signs its votes.
    pub key: DeviceKey,
    /// Whether it is the witness: votes and holds the log, cannot lead.
    pub is_witness: bool,
}

/// The voters, sorted by peer, no peer twice, never more than six.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterSet(Vec<Voter>);

impl VoterSet {
    /// In transit a set holds one more than [`VOTERS_MAX`]: the new one before the old one goes.
    pub const LEN_MAX: usize = VOTERS_MAX + 1;

    /// `None` if a peer occurs twice or there are too many.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Option<Self> {
        let mut voters: Vec<Voter> = voters.into_iter().take(Self::LEN_MAX + 1).collect();
        voters.sort_unstable();
        let is_doubled =
            voters.windows(2).any(|pair| matches!(pair, [one, next] if one.peer == next.peer));
        (voters.len() <= Self::LEN_MAX && !is_doubled).then_some(Self(voters))
    }

    /// The voters by peer.
    pub fn as_slice(&self) -> &[Voter] {
        &self.0
    }
}

/// What an entry orders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing: the first entry of a new leader, which commits what came before.
    Empty,
    /// A signed wish, opaque here.
    Intent {
        /// Given by its author; takes effect once.
        id: IntentId,
        /// The encoded intent.
        bytes: Bytes,
    },
    /// The voters from here on: in force as soon as it is in the log.
    Voters(VoterSet),
}

/// One entry of the control log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Of the leader that appended it.
    pub ballot: Ballot,
    /// Its place.
    pub index: Index,
    /// The leader's wall clock; never decreases along the log.
    pub stamp: Wall,
    /// The digest of the entry before; [`Hash::ZERO`] in the first.
    pub previous: Hash,
    /// What it orders.
    pub payload: Payload,
    /// The leader's device key.
    pub signer: DeviceKey,
    /// In the first entry of a ballot: the votes by which it was elected, each naming the signer.
    pub votes: Vec<(PeerId, Signature)>,
    /// By the signer, over [`entry_bytes`].
    pub signature: Signature,
}

impl Entry {
    /// Where it stands.
    pub fn position(&self) -> Position {
        Position { ballot: self.ballot, index: self.index }
    }

    /// The bytes as stored.
    pub fn encode(&self) -> Bytes {
        pb::ControlEntry::from(self).encode_to_vec().into()
    }

    /// Reads a stored entry.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        pb::ControlEntry::decode(bytes).map_err(|_| Refusal::FrameBad)?.try_into()
    }
}

/// That a majority voted for a ballot: by whom it was elected, on which log, and their signatures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proof {
    /// The voters as the candidate's log named them.
    pub voters: VoterSet,
    /// The end of the candidate's log when it asked.
    pub position: Position,
    /// The votes, by voter.
    pub votes: Vec<(PeerId, Signature)>,
    /// The candidate's device key, which every vote names.
    pub key: DeviceKey,
}

/// "Would you vote for me", "vote for me".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VoteRequest {
    /// The candidacy.
    pub ballot: Ballot,
    /// The end of the candidate's log.
    pub last: Position,
    /// By the candidate.
    pub signature: Signature,
    /// The leader's own wish to be followed by this candidate.
    pub hand_over: Option<HandOver>,
}

/// The answer to a [`VoteRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VoteReply {
    /// As asked.
    pub ballot: Ballot,
    /// The highest ballot the voter promised.
    pub promised: Ballot,
    /// The end of the voter's log.
    pub last: Position,
    /// The life of the voter's database.
    pub incarnation: Incarnation,
    /// With a grant: the vote.
    pub grant: Option<Signature>,
}

/// Entries from the leader; without any, a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// The leader's.
    pub ballot: Ballot,
    /// What the entries follow.
    pub prev: Position,
    /// The digest of the entry there.
    pub prev_digest: Hash,
    /// In order, without gaps.
    pub entries: Vec<Entry>,
    /// What the leader knows to be committed.
    pub commit: Index,
    /// Until the receiver has acknowledged this ballot.
    pub proof: Option<Proof>,
}

/// What a follower made of an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Its log equals the leader's up to here, on disk.
    Matched(Index),
    /// Its log differs; it may agree up to here.
    Conflict(Index),
    /// It does not know yet that this ballot was elected.
    NeedsProof,
    /// It promised this higher ballot.
    Stale(Ballot),
}

/// The answer to an [`Append`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendReply {
    /// As received.
    pub ballot: Ballot,
    /// The life of the sender's database.
    pub incarnation: Incarnation,
    /// What became of it.
    pub verdict: Verdict,
}

/// The leader's wish to be followed by a certain voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandOver {
    /// The leader's.
    pub ballot: Ballot,
    /// Whom it chose.
    pub to: PeerId,
    /// By the leader.
    pub signature: Signature,
}

/// "Send me what you hold past this, if your log is ahead of mine."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogWant {
    /// The end of the asker's log; of who compares, a place in it.
    pub last: Position,
    /// The digest of the entry there.
    pub digest: Hash,
    /// What the asker knows to be committed.
    pub commit: Index,
    /// The asker just started, and its database may be an older copy of itself: an answer is due
    /// even if nothing lies past its end.
    pub in_doubt: bool,
    /// The asker only wants to know whether both hold the same at this place.
    pub compares: bool,
}

/// A page of somebody's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogPage {
    /// The end of the sender's log.
    pub last: Position,
    /// What the entries follow.
    pub prev: Position,
    /// The digest of the entry there.
    pub prev_digest: Hash,
    /// In order, without gaps.
    pub entries: Vec<Entry>,
    /// What the sender knows to be committed.
    pub commit: Index,
    /// The highest ballot the sender promised.
    pub promised: Ballot,
}

/// What one control core says to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Would you vote for me? Nothing is written.
    PreVote(VoteRequest),
    /// I would, or not.
    PreVoteReply(VoteReply),
    /// Vote for me.
    Vote(VoteRequest),
    /// I do, or not.
    VoteReply(VoteReply),
    /// Entries or a heartbeat.
    Append(Append),
    /// The answer.
    AppendReply(AppendReply),
    /// You may be elected at once.
    HandOver(HandOver),
    /// Take me out of the voters, I go.
    Leaving,
    /// Send me your log.
    LogWant(LogWant),
    /// A page of it.
    LogPage(LogPage),
}

impl Message {
    /// The bytes of a `ControlFrame`.
    pub fn encode(&self) -> Bytes {
        pb::ControlFrame::from(self).encode_to_vec().into()
    }
}

/// Reads a `ControlFrame`.
///
/// # Refusals
/// [`Refusal::FrameBad`] for what is no protobuf or no known body, [`Refusal::FieldBad`] for a
/// field that is missing or out of range.
pub fn decode(bytes: &[u8]) -> Result<Message, Refusal> {
    pb::ControlFrame::decode(bytes).map_err(|_| Refusal::FrameBad)?.try_into()
}

/// The leader's signed "I lead", for those who are not in the log. Unverified until
/// [`Statement::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Of which network.
    pub network: NetworkId,
    /// The genesis it was founded with.
    pub genesis_hash: Hash,
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The leader's credential, encoded.
    pub credential: Bytes,
    /// The authority's certificate (DER).
    pub authority: Bytes,
    /// Where the leader listens.
    pub addresses: Vec<String>,
    /// By whom it was elected, and their votes.
    pub proof: Proof,
    /// The end of its log.
    pub last: Position,
    /// What is committed.
    pub commit: Index,
    /// When it was signed, by the leader's clock.
    pub issued_at: Wall,
    /// By the leader's device key.
    pub signature: Signature,
}

impl Statement {
    /// The bytes of a `Statement`.
    pub fn encode(&self) -> Bytes {
        pb::Statement::from(self).encode_to_vec().into()
    }

    /// Reads a statement; nothing in it is verified yet.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        pb::Statement::decode(bytes).map_err(|_| Refusal::FrameBad)?.try_into()
    }
}

impl Ballot {
    /// The bytes as stored; empty for the ballot before the first.
    pub fn encode(&self) -> Bytes {
        convert::ballot_out(self).map(|ballot| ballot.encode_to_vec().into()).unwrap_or_default()
    }

    /// Reads a stored ballot.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        convert::ballot_in(Some(pb::Ballot::decode(bytes).map_err(|_| Refusal::FrameBad)?))
    }
}

#[cfg(test)]
mod tests;
