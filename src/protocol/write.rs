//! What a core asks to be stored, and how safe it must be before anything rests on it.
//! Owns: [`Write`], [`Durability`].
//! Must not know: tables, transactions, syncs.
//! Invariants: what others count on is on the disk before it is sent (18).
//! Start reading at: [`Write::durability`].

use bytes::Bytes;

use super::{CertificateRow, StoredDeposit, StoredEntry};
use crate::ids::{Index, LogId, PeerId, Seq};
use crate::time::Wall;

/// A change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A small named value; replaces the one before.
    Setting {
        /// Its name, such as `control/promise`.
        key: String,
        /// Its bytes; `None` deletes it.
        value: Option<Bytes>,
    },
    /// A control entry at its index; replaces what stood there.
    Control {
        /// `network` in hex for the bootstrap, which serves many; members use one space.
        space: String,
        /// Where.
        index: Index,
        /// The encoded entry.
        bytes: Bytes,
    },
    /// Removes the control entries from this index on.
    ControlCut {
        /// As above.
        space: String,
        /// The first to go.
        from: Index,
    },
    /// An author entry of one's own.
    Entry(StoredEntry),
    /// An author entry of somebody else: synced before it is acknowledged. Its author has it on
    /// disk, so nothing else rests on ours.
    Received(StoredEntry),
    /// An entry that was stored before could be opened only now: its arrival is now, so that who
    /// asks what came after something gets it.
    Opened {
        /// The log.
        log: LogId,
        /// The entry's place there.
        seq: Seq,
    },
    /// The head another member said to hold of a log; only ever grows.
    Held {
        /// The log.
        log: LogId,
        /// Who holds it.
        by: PeerId,
        /// Up to where.
        upto: Seq,
    },
    /// The branches kept of a forked log, each from the fork to its signature, all of one log:
    /// replaces what was kept of it before.
    Fork(Vec<StoredEntry>),
    /// An entry beyond a gap: the end of a log whose rest is on its way. It is shown and nothing
    /// rests on it.
    Pending(StoredEntry),
    /// Nothing is kept beyond a gap of this log any more.
    PendingGone(LogId),
    /// These entries lose their ciphertext for good: the bytes given replace those of the entry of
    /// the same hash, and its words leave the index.
    Erase(Vec<StoredEntry>),
    /// The entry at this place has an end: [`Reads::expired`](super::Reads::expired) names it from
    /// then on, until it is erased.
    Expires {
        /// The log.
        log: LogId,
        /// The entry's place there.
        seq: Seq,
        /// When it ends.
        at: Wall,
    },
    /// The words of an entry, for the search; what is known already stays. Those of a log come in
    /// order, save where an entry could not be opened before.
    Words {
        /// The log.
        log: LogId,
        /// The entry's place there.
        seq: Seq,
        /// Its Lamport time.
        lamport: u64,
        /// Its words, as [`tokens`](super::search::tokens) gives them, parted by spaces; empty if it has none.
        words: String,
        /// It could not be opened when its turn was: says nothing of the entries before it.
        is_late: bool,
    },
    /// A row of the authority's register; replaces the one with the same serial number.
    Certificate(CertificateRow),
    /// Somebody's deposit, kept here: synced before it is said to be.
    Deposit(StoredDeposit),
    /// The deposits of these numbers go.
    Withdraw(Vec<u64>),
}

/// How safe a write is before anything else may rest on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Comes again if it is lost: committed in its own time.
    Soft,
    /// Noted or committed before anything is sent, so that no end of the process takes it; synced
    /// before anything is told.
    Committed,
    /// On the disk itself before anything is sent: others count on it for ever.
    Synced,
}

impl Write {
    /// What must hold before the sends and notices that come with this write.
    pub fn durability(&self) -> Durability {
        match self {
            Self::Held { .. } | Self::Received(_) | Self::Opened { .. } | Self::Words { .. } => {
                Durability::Soft
            }
            // What is still there after a loss of power is found again; the end of a log comes
            // again.
            Self::Pending(_) | Self::PendingGone(_) | Self::Erase(_) => Durability::Soft,
            // It goes with its entry.
            Self::Expires { .. } => Durability::Soft,
            // Acknowledged once it is synced; what goes is found to go again.
            Self::Deposit(_) | Self::Withdraw(_) => Durability::Soft,
            // Where peers are, what keepers have, up to where one has read: told again if it is
            // lost, or read again.
            Self::Setting { key, .. }
                if ["peers/", "keeping/", "seen/", "last_seen/"]
                    .iter()
                    .any(|it| key.starts_with(it)) =>
            {
                Durability::Soft
            }
            // Of what is stored a part is not counted then.
            Self::Setting { key, .. } if key.starts_with("quota/") => Durability::Soft,
            // Whoever holds it gives it back, and after a loss of power its author writes into a
            // new log.
            Self::Entry(_) => Durability::Committed,
            Self::Setting { .. }
            | Self::Control { .. }
            | Self::ControlCut { .. }
            | Self::Fork(_)
            | Self::Certificate(_) => Durability::Synced,
        }
    }
}
