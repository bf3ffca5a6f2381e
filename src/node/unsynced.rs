//! What the driver keeps back until the next commit with a sync.
//! Owns: writes, acknowledgements and notices that wait, and since when.
//! Must not know: when a turn begins or ends, how anything is sent or told.
//! Invariants: a notice that rests on a write comes out no sooner than that write is safe.
//! Start reading at: [`Pending`].

use std::collections::{BTreeMap, BTreeSet};

use super::pace::Pace;
use crate::ids::{LogId, MessageId, PeerId, Seq};
use crate::protocol::{Durability, Notice, Send, StoredEntry, Write};
use crate::time::{Millis, Mono};

/// How long one's own entries wait for their sync, while they travel already.
pub(super) const SENT_DELAY: Millis = Millis(2);
/// Messages remembered as shown although storing them failed.
pub(super) const SHOWN_MAX: usize = 16_384;
/// How long what nobody waits for stays uncommitted.
pub(super) const SOFT_DELAY: Millis = Millis(1_000);
/// How long acknowledgements wait, so that one sync serves many; longer where syncs take long.
pub(super) const ACK_DELAY: Millis = Millis(5);

/// What waits for the next commit with a sync.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// When it is due.
    pub(super) sync_at: Option<Mono>,
    pub(super) pace: Pace,
    /// Written when the core looks next, or when the sync is due: the work for one message must not
    /// delay that it is shown, here or by others on this machine.
    pub(super) writes: Vec<Write>,
    /// What others hold; the core reads it at its start only.
    pub(super) held: BTreeMap<(LogId, PeerId), Seq>,
    /// Whether a transaction is open.
    pub(super) is_open: bool,
    /// Own entries that are neither noted nor committed: the next one may not be noted before them.
    pub(super) own: usize,
    /// Whether own entries are noted or committed, and not synced.
    pub(super) has_sent: bool,
    pub(super) acks: Vec<Send>,
    /// Told after the sync: that something is stored, and what came after.
    pub(super) notices: Vec<Notice>,
    /// Messages shown that are not committed.
    pub(super) shown: Vec<MessageId>,
    /// Messages shown whose transaction failed: they come again and are not shown again.
    pub(super) shown_before: BTreeSet<MessageId>,
}

impl Pending {
    pub(super) fn due_by(&mut self, at: Mono) {
        self.sync_at = Some(self.sync_at.map_or(at, |due| due.min(at)));
    }

    /// Takes writes in; gives what must hold before their sends and notices.
    pub(super) fn add(&mut self, writes: Vec<Write>) -> Durability {
        let mut needs = Durability::Soft;
        for write in writes {
            needs = needs.max(write.durability());
            self.own = self.own.saturating_add(usize::from(matches!(write, Write::Entry(_))));
            match write {
                Write::Held { log, by, upto } => {
                    let held = self.held.entry((log, by)).or_default();
                    *held = upto.max(*held);
                }
                write => self.writes.push(write),
            }
        }
        needs
    }

    pub(super) fn held(&mut self) -> Vec<Write> {
        let held = std::mem::take(&mut self.held).into_iter();
        held.map(|((log, by), upto)| Write::Held { log, by, upto }).collect()
    }

    /// One's own entry, if it is the only one that is not safe yet.
    pub(super) fn alone(&self) -> Option<&StoredEntry> {
        // The end of a message is stored with it.
        let has_end = self.writes.iter().any(|write| matches!(write, Write::Expires { .. }));
        let own = self.writes.iter().find_map(|write| match write {
            Write::Entry(entry) => Some(entry),
            _ => None,
        });
        own.filter(|_| self.own == 1 && !has_end)
    }

    /// Own entries are noted.
    pub(super) fn noted(&mut self) {
        self.own = 0;
        self.has_sent = true;
    }

    /// Everything written is committed.
    pub(super) fn committed(&mut self) {
        self.own = 0;
        self.is_open = false;
        self.shown.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, Hash, Incarnation, RoomId};
    use crate::time::Wall;

    fn entry(seq: u64) -> StoredEntry {
        let author = PeerId::of_ed25519(&DeviceKey([1; 32]));
        let log = LogId { room: RoomId::MAIN, author, incarnation: Incarnation(1) };
        let (hash, bytes) = (Hash::ZERO, bytes::Bytes::new());
        StoredEntry { log, seq: Seq(seq), hash, lamport: seq, signature: None, bytes }
    }

    #[test]
    fn only_an_entry_with_none_before_it_that_is_not_safe_is_noted() {
        let mut pending = Pending::default();
        assert_eq!(pending.add(vec![Write::Received(entry(9))]), Durability::Soft);
        assert_eq!(pending.alone(), None);
        assert_eq!(pending.add(vec![Write::Entry(entry(1))]), Durability::Committed);
        assert_eq!(pending.alone(), Some(&entry(1)));
        pending.noted();
        // The next one in the same transaction, as after another event.
        pending.writes.clear();
        pending.add(vec![Write::Entry(entry(2))]);
        assert_eq!(pending.alone(), Some(&entry(2)));
        // Of two one was handed to the transaction already: both must be committed.
        pending.writes.clear();
        pending.add(vec![Write::Entry(entry(3))]);
        assert_eq!(pending.alone(), None);
        pending.committed();
        pending.writes.clear();
        pending.add(vec![Write::Entry(entry(4)), Write::Entry(entry(5))]);
        assert_eq!(pending.alone(), None);
        pending.committed();
        pending.writes.clear();
        let log = entry(6).log;
        let end = Write::Expires { log, seq: Seq(6), at: Wall(1) };
        pending.add(vec![Write::Entry(entry(6)), end]);
        assert_eq!(pending.alone(), None);
    }
}
