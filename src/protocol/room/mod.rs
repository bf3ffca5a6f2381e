//! What is said in a room: author logs, their chains and their order.
//! Owns: one's own log, the heads of all logs, the Lamport clock of the room.
//! Must not know: leaders, links, who lacks what (`sync`).
//! Invariants: nothing is accepted beyond a verified signature (20); one hash at one place, or a
//! fork that everybody learns of (22); display order is (Lamport, author, incarnation, seq).
//! Start reading at: [`Room::post`] and [`Room::accept`].

mod accept;
mod fork;
pub mod keys;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use accept::{Accepted, Broken};
pub use fork::{Kept, branches};

use super::{MessageId, MessageView, Reads, StoredEntry};
use crate::identity::{Domain, Proofs};
use crate::ids::{Hash, Incarnation, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt};
use crate::time::{Now, Wall};
use crate::wire::room::{Envelope, Payload, entry_hash};
use crate::wire::sync::Head;

/// A room as one member holds it.
#[derive(Clone, Debug)]
pub struct Room {
    id: RoomId,
    network: NetworkId,
    own: LogId,
    salt: SessionSalt,
    logs: BTreeMap<LogId, LogHead>,
    forks: BTreeMap<LogId, Kept>,
    lamport: u64,
    /// Grows with every change of a head, so that sync knows whether there is news.
    revision: u64,
}

/// The end of an author log as held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The highest contiguous seq under a verified signature.
    pub seq: Seq,
    /// Its hash.
    pub hash: Hash,
    /// Its Lamport time.
    pub lamport: u64,
    /// Where the author was seen to fork; nothing from there on counts.
    pub forked_at: Option<Seq>,
}

impl LogHead {
    const EMPTY: Self = Self { seq: Seq(0), hash: Hash::ZERO, lamport: 0, forked_at: None };
}

/// Entries of one's own, made by one [`Room::post`].
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// In order; the last carries the signature.
    pub entries: Vec<StoredEntry>,
    /// The same as shown.
    pub views: Vec<(MessageId, Seq, Wall)>,
}

impl Room {
    /// Rebuilds a room from what is stored.
    pub fn load(
        id: RoomId,
        network: NetworkId,
        me: PeerId,
        incarnation: Incarnation,
        salt: SessionSalt,
        reads: &dyn Reads,
    ) -> Self {
        let own = LogId { room: id, author: me, incarnation };
        let mut room = Self {
            id,
            network,
            own,
            salt,
            logs: BTreeMap::new(),
            forks: BTreeMap::new(),
            lamport: 0,
            revision: 1,
        };
        for stored in reads.heads(id) {
            let kept = Kept::load(stored.log, reads);
            let forked_at = kept.as_ref().map(|kept| kept.at);
            room.forks.extend(kept.map(|kept| (stored.log, kept)));
            room.lamport = room.lamport.max(stored.lamport);
            let head =
                LogHead { seq: stored.seq, hash: stored.hash, lamport: stored.lamport, forked_at };
            room.logs.insert(stored.log, head);
        }
        room
    }

    /// The room's id.
    pub fn id(&self) -> RoomId {
        self.id
    }

    /// One's own log.
    pub fn own(&self) -> LogId {
        self.own
    }

    /// The head of a log; seq 0 if nothing is held.
    pub fn head(&self, log: &LogId) -> LogHead {
        self.logs.get(log).copied().unwrap_or(LogHead::EMPTY)
    }

    /// Grows with every change of a head.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is held, by author log: the vector that sync exchanges.
    pub fn vector(&self) -> Vec<Head> {
        self.logs.keys().map(|log| self.told(log)).collect()
    }

    /// Writes messages into one's own log: one batch under one signature.
    pub fn post(&mut self, texts: Vec<String>, now: Now, proofs: &dyn Proofs) -> Posted {
        let mut posted = Posted::default();
        let mut head = self.head(&self.own);
        for text in texts {
            self.lamport = self.lamport.saturating_add(1);
            let envelope = Envelope {
                network: self.network,
                log: self.own,
                session_salt: self.salt,
                seq: head.seq.next(),
                previous: head.hash,
                lamport: self.lamport,
                expires_at: None,
                payload: Payload { sent_at: now.wall, text },
            };
            let bytes = envelope.encode();
            let hash = entry_hash(&bytes);
            head = LogHead { seq: envelope.seq, hash, lamport: self.lamport, forked_at: None };
            posted.views.push((MessageId::of(&hash), envelope.seq, now.wall));
            posted.entries.push(StoredEntry {
                log: self.own,
                seq: envelope.seq,
                hash,
                lamport: self.lamport,
                signature: None,
                bytes,
            });
        }
        if let Some(last) = posted.entries.last_mut() {
            let signed = batch_bytes(self.network, &self.own, last.seq, &last.hash);
            last.signature = Some(proofs.sign(Domain::Batch, &signed));
            self.logs.insert(self.own, head);
            self.revision = self.revision.saturating_add(1);
        }
        posted
    }

    /// Opens a new log of one's own, after the old one was found to have lived on elsewhere.
    pub fn reopen(&mut self, incarnation: Incarnation) {
        self.own.incarnation = incarnation;
        self.revision = self.revision.saturating_add(1);
    }

    /// A stored entry as shown; `None` if it holds no message.
    pub fn view(
        &self,
        entry: &StoredEntry,
        is_fork: bool,
        room: &str,
        name_of: impl Fn(&PeerId) -> String,
    ) -> Option<MessageView> {
        let envelope = Envelope::decode(&entry.bytes).ok()?;
        Some(MessageView {
            id: MessageId::of(&entry.hash),
            room: room.to_owned(),
            from: name_of(&entry.log.author),
            peer: entry.log.author,
            seq: entry.seq,
            text: envelope.payload.text,
            sent_at: envelope.payload.sent_at,
            is_own: entry.log.author == self.own.author,
            is_fork,
        })
    }
}

/// The bytes a batch signature covers: everything that says which entry of which log it is.
pub fn batch_bytes(network: NetworkId, log: &LogId, last: Seq, hash: &Hash) -> Bytes {
    let mut bytes = Vec::with_capacity(160);
    bytes.extend_from_slice(network.as_bytes());
    bytes.extend_from_slice(log.room.as_bytes());
    // A peer id's length follows from its first byte, so the concatenation is unambiguous.
    bytes.extend_from_slice(log.author.as_bytes());
    bytes.extend_from_slice(&log.incarnation.0.to_be_bytes());
    bytes.extend_from_slice(&last.0.to_be_bytes());
    bytes.extend_from_slice(hash.as_bytes());
    bytes.into()
}
