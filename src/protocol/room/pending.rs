//! Ends of logs beyond a gap: shown with the room, and nothing else.
//! Owns: which of the stored ends belong to the room as it stands, and where something is missing.
//! Must not know: how an end came, how its gap is closed.
//! Invariants: heads, vectors and acknowledgements never speak of them (18, 19).
//! Start reading at: [`Room::pending`].

use std::collections::BTreeMap;

use super::Room;
use crate::ids::{LogId, Seq};
use crate::protocol::{Reads, StoredEntry};

/// Where entries of a log are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first entry after them.
    pub before: Seq,
    /// How many are missing.
    pub missing: u64,
}

impl Room {
    /// The stored entries that lie beyond a gap of their log, by log and place.
    pub fn pending(&self, reads: &dyn Reads) -> Vec<StoredEntry> {
        let mut pending = reads.pending(self.id);
        pending.retain(|entry| {
            self.is_open(&entry.log)
                && self.counts(entry)
                && entry.seq > self.head(&entry.log).seq.next()
        });
        pending
    }

    /// Where entries are missing before those of [`Room::pending`].
    pub fn gaps(&self, reads: &dyn Reads) -> BTreeMap<LogId, Gap> {
        let mut gaps = BTreeMap::new();
        for entry in self.pending(reads) {
            let held = self.head(&entry.log).seq.next();
            let missing = entry.seq.0.saturating_sub(held.0);
            gaps.entry(entry.log).or_insert(Gap { before: entry.seq, missing });
        }
        gaps
    }
}
