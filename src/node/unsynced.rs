//! What the driver keeps back until the next commit with a sync.
//! Owns: writes, acknowledgements and notices that wait, and since when.
//! Must not know: when a turn begins or ends, how anything is sent or told.
//! Invariants: a notice that rests on a write comes out no sooner than that write is safe.
//! Start reading at: [`Unsynced`].

use std::collections::{BTreeMap, BTreeSet};

use super::pace::Pace;
use crate::ids::{LogId, MessageId, PeerId, Seq};
use crate::protocol::{Durability, Notice, Send, StoredEntry, Write};
use crate::time::{Millis, Mono};

/// How long one's own entries wait for their sync, while they travel already.
pub(super) const SENT_DELAY: Millis = Millis(2);
/// How long acknowledgements wait, so that one sync serves many; longer where syncs take long.
pub(super) const ACK_DELAY: Millis = Millis(5);
/// How long what nobody waits for stays uncommitted.
pub(super) const SOFT_DELAY: Millis = Millis(1_000);
/// How long the network is left unread after a disk that took nothing: this, and twice as long each time
/// that it takes nothing again after that, up to the other.
const REST: (Millis, Millis) = (Millis(250), Millis(4_000));
/// Messages remembered as shown although storing them failed.
const SHOWN_MAX: usize = 16_384;

/// What waits for the next commit with a sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// When it is due.
    pub(super) sync_at: Option<Mono>,
    pub(super) pace: Pace,
    /// Written when the core looks next, or when the sync is due: the work for one message must not
    /// delay that it is shown, here or by others on this machine.
    pub(super) writes: Vec<Write>,
    /// What others hold; the core reads it at its start only.
    held: BTreeMap<(LogId, PeerId), Seq>,
    /// Whether a transaction is open.
    pub(super) is_open: bool,
    /// Own entries that are neither noted nor committed: the next one may not be noted before them.
    own: usize,
    /// Whether own entries are noted or committed, and not synced.
    pub(super) has_sent: bool,
    pub(super) acks: Vec<Send>,
    /// Told after the sync: that something is stored, and what came after.
    pub(super) notices: Vec<Notice>,
    /// So many of them rest on what is committed.
    true_notices: usize,
    /// Messages shown that are not committed.
    shown: Vec<MessageId>,
    /// Messages shown whose transaction failed: they come again and are not shown again.
    shown_before: BTreeSet<MessageId>,
    /// The last transaction failed: for how long there is rest, and until when.
    rest: Option<(Millis, Mono)>,
}

impl Unsynced {
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

    /// These wait for the sync, in their order. `is_committed`: all that they rest on is.
    pub(super) fn hold(&mut self, notices: &mut Vec<Notice>, is_committed: bool) {
        self.notices.append(notices);
        if is_committed {
            self.true_notices = self.notices.len();
        }
    }

    /// Everything written is committed.
    pub(super) fn committed(&mut self) {
        if self.is_open {
            // There was space for something.
            self.rest = None;
        }
        self.own = 0;
        self.is_open = false;
        self.shown.clear();
    }

    /// Everything written is committed and synced, which took from `began` until `now`.
    pub(super) fn synced(&mut self, began: Mono, now: Mono) {
        self.committed();
        self.has_sent = false;
        self.true_notices = 0;
        self.sync_at = None;
        self.pace.synced(began, now);
    }

    /// A message is shown. Whether it was before, in a transaction that failed.
    pub(super) fn show(&mut self, id: MessageId) -> bool {
        let was_shown = self.shown_before.contains(&id);
        if !was_shown && (self.is_open || !self.writes.is_empty()) {
            self.shown.push(id);
        }
        was_shown
    }

    /// The transaction failed: what was written in it is gone, and what was shown is remembered.
    /// Gives what waited to be told and may be.
    pub(super) fn undo(&mut self, now: Mono) -> Vec<Notice> {
        let mut undone = std::mem::take(self);
        let room = SHOWN_MAX.saturating_sub(undone.shown_before.len());
        undone.shown_before.extend(undone.shown.into_iter().take(room));
        self.shown_before = undone.shown_before;
        let (shortest, longest) = REST;
        self.rest = match undone.rest {
            // What was tried meanwhile, a command, says nothing new: however often that happens, the
            // network is read again.
            Some((_, until)) if until > now => undone.rest,
            before => {
                let twice =
                    |(rest, _): (Millis, Mono)| Millis(rest.0.saturating_mul(2)).min(longest);
                let rest = before.map_or(shortest, twice);
                Some((rest, now.after(rest)))
            }
        };
        let notices = undone.notices.into_iter().enumerate();
        notices.filter_map(|(at, notice)| notice.after_undoing(at < undone.true_notices)).collect()
    }

    /// Until when the network is left unread, if there was no space: each link would only be closed
    /// again for what cannot be stored. The clock is asked only after that.
    pub(super) fn rests_until(&self, now: impl FnOnce() -> Mono) -> Option<Mono> {
        self.rest.map(|(_, until)| until).filter(|until| *until > now())
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
        let mut unsynced = Unsynced::default();
        assert_eq!(unsynced.add(vec![Write::Received(entry(9))]), Durability::Soft);
        assert_eq!(unsynced.alone(), None);
        assert_eq!(unsynced.add(vec![Write::Entry(entry(1))]), Durability::Committed);
        assert_eq!(unsynced.alone(), Some(&entry(1)));
        unsynced.noted();
        // The next one in the same transaction, as after another event.
        unsynced.writes.clear();
        unsynced.add(vec![Write::Entry(entry(2))]);
        assert_eq!(unsynced.alone(), Some(&entry(2)));
        // Of two one was handed to the transaction already: both must be committed.
        unsynced.writes.clear();
        unsynced.add(vec![Write::Entry(entry(3))]);
        assert_eq!(unsynced.alone(), None);
        unsynced.committed();
        unsynced.writes.clear();
        unsynced.add(vec![Write::Entry(entry(4)), Write::Entry(entry(5))]);
        assert_eq!(unsynced.alone(), None);
        unsynced.committed();
        unsynced.writes.clear();
        let log = entry(6).log;
        let end = Write::Expires { log, seq: Seq(6), at: Wall(1) };
        unsynced.add(vec![Write::Entry(entry(6)), end]);
        assert_eq!(unsynced.alone(), None);
    }

    #[test]
    fn after_a_disk_that_takes_nothing_there_is_rest_longer_each_time_until_something_is_committed()
    {
        let mut unsynced = Unsynced::default();
        let mut at = Mono(10_000);
        assert_eq!(unsynced.rests_until(|| panic!("there is no rest")), None);
        for rest in [250, 500, 1_000, 2_000, 4_000, 4_000] {
            unsynced.undo(at);
            let until = at.after(Millis(rest));
            assert_eq!(unsynced.rests_until(|| at), Some(until));
            // Somebody tries again and again to send something.
            for after in [0, 1, rest / 2, rest - 1] {
                let now = at.after(Millis(after));
                unsynced.undo(now);
                assert_eq!(unsynced.rests_until(|| now), Some(until), "after {after} ms of {rest}");
            }
            at = until;
            assert_eq!(unsynced.rests_until(|| at), None);
        }
        unsynced.undo(at);
        // Nothing was written: that says nothing about the disk.
        unsynced.synced(at, at);
        assert!(unsynced.rests_until(|| at).is_some());
        unsynced.is_open = true;
        unsynced.synced(at, at);
        assert_eq!(unsynced.rests_until(|| at), None);
        unsynced.undo(at);
        assert_eq!(unsynced.rests_until(|| at), Some(at.after(Millis(250))));
    }

    #[test]
    fn what_rests_on_what_is_committed_is_told_although_the_sync_fails() {
        let rooms = |id| Notice::Rekeying { command: crate::ids::CommandId(id) };
        let mut unsynced = Unsynced { has_sent: true, ..Unsynced::default() };
        unsynced.hold(&mut vec![rooms(1)], false);
        unsynced.hold(&mut vec![rooms(2)], true);
        unsynced.hold(&mut vec![rooms(3)], false);
        let told = unsynced.undo(Mono(1));
        let ids: Vec<_> = told.iter().filter_map(Notice::command).map(|id| id.0).collect();
        assert_eq!(ids, [1, 2]);
        unsynced.hold(&mut vec![rooms(4)], true);
        unsynced.synced(Mono(1), Mono(1));
        unsynced.hold(&mut vec![rooms(5)], false);
        unsynced.notices.remove(0);
        assert!(unsynced.undo(Mono(1)).is_empty());
    }

    #[test]
    fn what_was_shown_in_a_transaction_that_failed_is_not_shown_again() {
        let mut unsynced = Unsynced::default();
        let [first, second] = [1, 2].map(|byte| MessageId([byte; 16]));
        unsynced.add(vec![Write::Received(entry(1))]);
        assert!(!unsynced.show(first));
        unsynced.committed();
        unsynced.add(vec![Write::Received(entry(2))]);
        assert!(!unsynced.show(second));
        unsynced.undo(Mono(1));
        assert!(unsynced.writes.is_empty() && unsynced.acks.is_empty());
        assert!(!unsynced.show(first));
        assert!(unsynced.show(second));
    }
}
