//! The exact bytes that votes, hand-overs and statements are signed over.
//! Owns: their layout, which is frozen per protocol version.
//! Must not know: keys, and whether a signature holds.
//! Invariants: every field has a fixed length or its length before it, so no two lists collide.
//! Start reading at: [`vote_bytes`].

use crate::ids::{Incarnation, NetworkId, PeerId};
use crate::wire::control::{Ballot, Position, Statement};

/// What a candidate signs: its candidacy and the end of its log.
pub fn request_bytes(network: &NetworkId, ballot: &Ballot, last: &Position) -> Vec<u8> {
    let mut bytes = Canonical::new(b"request", network);
    bytes.ballot(ballot);
    bytes.position(last);
    bytes.0
}

/// What a voter signs: whom it votes for, on which log, and as which of its databases.
pub fn vote_bytes(
    network: &NetworkId,
    ballot: &Ballot,
    last: &Position,
    voter: &PeerId,
    incarnation: Incarnation,
) -> Vec<u8> {
    let mut bytes = Canonical::new(b"grant", network);
    bytes.ballot(ballot);
    bytes.position(last);
    bytes.part(voter.as_bytes());
    bytes.number(incarnation.0);
    bytes.0
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
        bytes.count(self.proof.voters.as_slice().len());
        for voter in self.proof.voters.as_slice() {
            bytes.part(voter.peer.as_bytes());
            bytes.number(voter.incarnation.0);
            bytes.part(voter.key.as_bytes());
            bytes.number(u64::from(voter.is_witness));
        }
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

    fn position(&mut self, position: &Position) {
        self.ballot(&position.ballot);
        self.number(position.index.0);
    }
}
