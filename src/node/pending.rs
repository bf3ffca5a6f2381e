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

    /// One's own entry, if it is the only one that waits.
    pub(super) fn alone(&self) -> Option<&StoredEntry> {
        let mut own = self.writes.iter().filter_map(|write| match write {
            Write::Entry(entry) => Some(entry),
            _ => None,
        });
        // The end of a message is stored with it.
        let has_end = self.writes.iter().any(|write| matches!(write, Write::Expires { .. }));
        own.next().filter(|_| own.next().is_none() && !has_end)
    }
}
