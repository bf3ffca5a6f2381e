//! What is said in a room: author logs, their chains and their order.
//! Owns: one's own log, the heads of all logs, the Lamport clock of the room.
//! Must not know: leaders, links, who lacks what (`sync`).
//! Invariants: nothing is accepted beyond a verified signature (20); one hash at one place, or a
//! fork that everybody learns of (22); display order is (Lamport, author, incarnation, seq).
//! Start reading at: [`Room::post`] and [`Room::accept`].

mod accept;
mod fork;
pub mod keys;
mod pending;
mod standing;
pub mod state;
#[cfg(test)]
pub(super) mod tests;
mod walk;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use accept::{Accepted, Broken, Chain, Lack};
pub use fork::{Kept, branches};
pub use pending::Gap;
pub use standing::Standing;
pub use state::State;
pub use walk::Walk;

use self::keys::keyring::Keyring;

use super::{MessageId, MessageView, Reads, StoredEntry};
use crate::identity::{Domain, Proofs};
use crate::ids::{
    Hash, Incarnation, KeyId, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt, Signature,
};
use crate::refusal::{Refusal, Refused};
use crate::terms::Saying;
use crate::time::{Millis, Now, Wall};
use crate::wire::order::Barrier;
use crate::wire::room::Payload;
use crate::wire::sealed::{self, Header, Sealed};
use crate::wire::sync::Head;

/// A message to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it says.
    pub saying: Saying,
    /// That we were given the reader's contact code.
    pub code_proof: Option<Signature>,
    /// After so long it is gone everywhere.
    pub life: Option<Millis>,
}

impl From<Saying> for Draft {
    fn from(saying: Saying) -> Self {
        Self { saying, code_proof: None, life: None }
    }
}

impl From<String> for Draft {
    fn from(text: String) -> Self {
        Saying::from(text).into()
    }
}

/// A room as one member holds it.
#[derive(Clone, Debug)]
pub struct Room {
    id: RoomId,
    network: NetworkId,
    own: LogId,
    salt: SessionSalt,
    logs: BTreeMap<LogId, LogHead>,
    forks: BTreeMap<LogId, Kept>,
    /// Whose logs end where, as the room's state says.
    cuts: BTreeMap<PeerId, Barrier>,
    /// Whether the room's rules let others hold entries without their ciphertext.
    may_lack: bool,
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
    /// Of each its id, place, Lamport time and end.
    pub views: Vec<(MessageId, Seq, u64, Option<Wall>)>,
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
            cuts: BTreeMap::new(),
            may_lack: false,
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

    /// The room's Lamport time.
    pub fn lamport(&self) -> u64 {
        self.lamport
    }

    /// Grows with every change of a head.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is held, by author log: the vector that sync exchanges.
    pub fn vector(&self) -> Vec<Head> {
        self.logs.keys().map(|log| self.told(log)).filter(|head| head.seq > Seq(0)).collect()
    }

    /// Takes over the rules of the room as it stands now.
    pub fn rule(&mut self, state: &State) {
        self.cut(&state.snapshot().cuts);
        self.may_lack = state.may_lack();
    }

    /// The logs of which something is held.
    pub fn logs(&self) -> impl Iterator<Item = &LogId> {
        self.logs.keys()
    }

    /// Logs end as the room's state says.
    pub fn cut(&mut self, cuts: &BTreeMap<PeerId, Barrier>) {
        if self.cuts != *cuts {
            self.cuts.clone_from(cuts);
            self.revision = self.revision.saturating_add(1);
        }
    }

    /// The last entry of a log that counts, if it was cut: the place and the hash there.
    fn end_of(&self, log: &LogId) -> Option<(Seq, Hash)> {
        let barrier = self.cuts.get(&log.author)?;
        let named = barrier.heads.get(&log.incarnation).copied();
        named.or_else(|| barrier.is_barred.then_some((Seq(0), Hash::ZERO)))
    }

    /// Whether a log was cut.
    pub fn is_cut(&self, log: &LogId) -> bool {
        self.end_of(log).is_some()
    }

    /// Whether an entry stands before the cut of its log, if there is one.
    pub fn counts(&self, entry: &StoredEntry) -> bool {
        self.end_of(&entry.log).is_none_or(|(end, _)| entry.seq <= end)
    }

    /// Whether a log may still grow here by what others hold.
    pub fn is_open(&self, log: &LogId) -> bool {
        let head = self.head(log);
        head.forked_at.is_none() && self.end_of(log).is_none_or(|(end, _)| head.seq < end)
    }

    /// Where the logs of somebody end as they are held here, by incarnation.
    pub fn heads_of(&self, author: &PeerId) -> Vec<(Incarnation, Seq, Hash)> {
        let theirs = self.logs.iter().filter(|(log, _)| log.author == *author);
        theirs.map(|(log, head)| (log.incarnation, head.seq, head.hash)).collect()
    }

    /// Writes messages into one's own log: one batch under one signature, sealed under `key`.
    ///
    /// # Errors
    /// What [`Keyring::seal`] says; nothing has changed then.
    pub fn post(
        &mut self,
        drafts: Vec<Draft>,
        (key, keyring): (KeyId, &mut Keyring),
        now: Now,
        proofs: &dyn Proofs,
    ) -> Result<Posted, keys::Error> {
        let mut posted = Posted::default();
        let (mut head, mut lamport) = (self.head(&self.own), self.lamport);
        for Draft { saying: Saying { text, about }, code_proof, life } in drafts {
            lamport = lamport.saturating_add(1);
            let expires_at = life.map(|life| now.wall.after(life));
            let header = Header {
                network: self.network,
                log: self.own,
                session_salt: self.salt,
                seq: head.seq.next(),
                previous: head.hash,
                key_id: key,
                lamport,
                expires_at,
            };
            let payload = Payload { sent_at: now.wall, text, about, code_proof };
            let sealed = keyring.seal(header, &payload)?;
            let (seq, hash) = (sealed.header.seq, sealed.hash());
            head = LogHead { seq, hash, lamport, forked_at: None };
            posted.views.push((MessageId::of(&hash), seq, lamport, expires_at));
            posted.entries.push(StoredEntry {
                log: self.own,
                seq,
                hash,
                lamport,
                signature: None,
                bytes: sealed.encode(),
            });
        }
        if let Some(last) = posted.entries.last_mut() {
            let signed = batch_bytes(self.network, &self.own, last.seq, &last.hash);
            last.signature = Some(proofs.sign(Domain::Batch, &signed));
            self.logs.insert(self.own, head);
            self.lamport = lamport;
            self.revision = self.revision.saturating_add(1);
        }
        Ok(posted)
    }

    /// Opens a new log of one's own, after the old one was found to have lived on elsewhere.
    pub fn reopen(&mut self, incarnation: Incarnation) {
        self.own.incarnation = incarnation;
        self.revision = self.revision.saturating_add(1);
    }

    /// A stored entry as shown, once it is opened.
    pub fn view(
        &self,
        entry: &StoredEntry,
        says: Payload,
        (room, from): (&str, String),
    ) -> MessageView {
        MessageView {
            id: MessageId::of(&entry.hash),
            room: room.to_owned(),
            from,
            peer: entry.log.author,
            seq: entry.seq,
            lamport: entry.lamport,
            text: says.text,
            about: says.about,
            sent_at: says.sent_at,
            expires_at: sealed::expires_at(&entry.bytes),
            is_own: entry.log.author == self.own.author,
            is_fork: false,
            missing: 0,
            is_ignored: false,
        }
    }
}

/// Whether this is an entry as this version stores them, and the one it is named as.
///
/// # Refusals
/// [`Refusal::DatabaseOlder`] if it is none; [`Refusal::DatabaseFailed`] if it was altered.
pub fn check_stored(entry: &StoredEntry) -> Result<(), Refused> {
    let sealed = Sealed::decode(&entry.bytes).map_err(|_| Refusal::DatabaseOlder)?;
    if sealed.hash() == entry.hash {
        return Ok(());
    }
    Err(Refused::new(Refusal::DatabaseFailed, "a stored entry was altered: p2pgroup verify"))
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
