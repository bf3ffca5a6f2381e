//! The exact bytes that votes, entries, hand-overs and statements are signed over.
//! Owns: their layout, which is frozen per protocol version.
//! Must not know: keys, and whether a signature holds.
//! Invariants: every field has a fixed length or its length before it, so no two lists collide.
//! Start reading at: [`vote_bytes`].

use crate::ids::{DeviceKey, Hash, Incarnation, NetworkId, PeerId};
use crate::wire::control::{Ballot, Entry, Payload, Position, Statement, VoterSet};

/// What a candidate signs: its candidacy and the end of its log.
pub fn request_bytes(network: &NetworkId, ballot: &Ballot, last: &Position) -> Vec<u8> {
    let mut bytes = Canonical::new(b"request", network);
    bytes.ballot(ballot);
    bytes.position(last);
    bytes.0
}

/// What a voter signs: whom it votes for and under which key that one will order, on which log, and
/// as which of its databases (`voter`).
pub fn vote_bytes(
    network: &NetworkId,
    ballot: &Ballot,
    key: &DeviceKey,
    last: &Position,
    voter: (&PeerId, Incarnation),
) -> Vec<u8> {
    let mut bytes = Canonical::new(b"grant", network);
    bytes.ballot(ballot);
    bytes.part(key.as_bytes());
    bytes.position(last);
    bytes.part(voter.0.as_bytes());
    bytes.number(voter.1.0);
    bytes.0
}

/// What a leader signs of an entry.
pub fn entry_bytes(network: &NetworkId, entry: &Entry) -> Vec<u8> {
    let mut bytes = Canonical::new(b"entry", network);
    bytes.ballot(&entry.ballot);
    bytes.number(entry.index.0);
    bytes.part(entry.digest().as_bytes());
    bytes.0
}

impl Entry {
    /// All that it says but the signature, and by [`Entry::previous`] all that stands before it.
    pub fn digest(&self) -> Hash {
        let mut bytes = Canonical(Vec::with_capacity(256));
        bytes.ballot(&self.ballot);
        bytes.number(self.index.0);
        bytes.number(self.stamp.0);
        bytes.part(self.previous.as_bytes());
        bytes.part(self.signer.as_bytes());
        bytes.count(self.votes.len());
        for (voter, vote) in &self.votes {
            bytes.part(voter.as_bytes());
            bytes.part(vote.as_bytes());
        }
        match &self.payload {
            Payload::Empty => bytes.part(b"empty"),
            Payload::Intent { id, bytes: intent } => {
                bytes.part(b"intent");
                bytes.part(id.as_bytes());
                bytes.part(intent);
            }
            Payload::Voters(voters) => {
                bytes.part(b"voters");
                bytes.voters(voters);
            }
        }
        Hash::of("p2pgroup/1 control entry", &[&bytes.0])
    }
}

/// What a leader signs that hands over.
pub fn hand_over_bytes(network: &NetworkId, ballot: &Ballot, to: &PeerId) -> Vec<u8> {
    let mut bytes = Canonical::new(b"hand-over", network);
    bytes.ballot(ballot);
    bytes.part(to.as_bytes());
    bytes.0
}

impl Statement {
    /// What the leader signs. The votes are signed themselves; the set they were counted by is
    /// in here.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Canonical::new(b"statement", &self.network);
        bytes.part(self.genesis_hash.as_bytes());
        bytes.ballot(&self.ballot);
        bytes.part(&self.credential);
        bytes.part(&self.authority);
        bytes.count(self.addresses.len());
        for address in &self.addresses {
            bytes.part(address.as_bytes());
        }
        bytes.voters(&self.proof.voters);
        bytes.position(&self.proof.position);
        bytes.position(&self.last);
        bytes.number(self.commit.0);
        bytes.number(self.issued_at.0);
        bytes.0
    }
}

struct Canonical(Vec<u8>);

impl Canonical {
    fn new(what: &[u8], network: &NetworkId) -> Self {
        let mut bytes = Self(Vec::with_capacity(256));
        bytes.part(what);
        bytes.part(network.as_bytes());
        bytes
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn part(&mut self, part: &[u8]) {
        self.count(part.len());
        self.0.extend_from_slice(part);
    }

    fn ballot(&mut self, ballot: &Ballot) {
        self.number(ballot.generation);
        self.number(ballot.term);
        for number in ballot.rank {
            self.number(u64::from(number));
        }
        self.part(ballot.peer.as_ref().map(PeerId::as_bytes).unwrap_or_default());
    }

    fn voters(&mut self, voters: &VoterSet) {
        self.count(voters.as_slice().len());
        for voter in voters.as_slice() {
            self.part(voter.peer.as_bytes());
            self.number(voter.incarnation.0);
            self.part(voter.key.as_bytes());
            self.number(u64::from(voter.is_witness));
        }
    }

    fn position(&mut self, position: &Position) {
        self.ballot(&position.ballot);
        self.number(position.index.0);
    }
}
