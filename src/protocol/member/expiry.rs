//! Messages with an end: when it has come their ciphertext goes, and it is not passed on any more.
//! Owns: the next end of all, and what goes then.
//! Must not know: how the store finds what has ended.
//! Invariants: header and hash stay, so every chain still verifies; one deadline, whatever the
//! number of entries; what has ended when it comes is stored without its ciphertext.
//! Start reading at: [`Member::go_on_expiring`].
//!
//! The end is in the header, in the clear and signed, and is measured by everybody's own clock. So
//! a clock that is ahead hides a message too early from its owner alone: others take an entry
//! without its ciphertext before its end only where nobody linked has it whole (`room/accept.rs`).

use super::retention::erased;
use super::{Context, Member};
use crate::ids::{CommandId, Hash, LogId, PeerId, Seq};
use crate::limits::{EXPIRY_MAX, EXPIRY_MIN};
use crate::protocol::room::{Draft, Lack};
use crate::protocol::{Reads, StoredEntry, Write};
use crate::refusal::{Refusal, Refused};
use crate::terms::Keep;
use crate::time::{Millis, Mono, Now, Wall};
use crate::wire::sealed::{self, Sealed};
use crate::wire::sync::Page;

/// Entries that lose their ciphertext in one step.
const STEP: usize = 128;
/// Between two steps.
const PAUSE: Millis = Millis(25);
/// Clocks are set, and machines sleep: the wall clock is looked at so often at the least.
pub(super) const LOOK_EVERY: Millis = Millis(600_000);

/// When the next message ends.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    is_loaded: bool,
    next: Option<Wall>,
    /// Not before; there is more to do.
    again: Mono,
}

/// What has ended is not passed on, be it still stored.
pub(super) fn without_ended(mut page: Page, now: Wall) -> Page {
    for bytes in &mut page.envelopes {
        if sealed::expires_at(bytes).is_some_and(|at| at <= now)
            && let Ok(entry) = Sealed::decode(bytes)
        {
            *bytes = entry.deleted().encode();
        }
    }
    page
}

/// An entry beyond a gap.
fn pending(log: &LogId, seq: Seq, reads: &dyn Reads) -> Option<StoredEntry> {
    reads.pending(log.room).into_iter().find(|it| it.log == *log && it.seq == seq)
}

/// Whether something may live so long.
pub(super) fn check_life(life: Millis) -> Result<(), Refused> {
    match (EXPIRY_MIN..=EXPIRY_MAX).contains(&life) {
        true => Ok(()),
        false => Err(Refused::new(Refusal::CommandBad, "a message lives from 1s to 366d")),
    }
}

impl Member {
    /// An entry is stored: if it ends some day, that day is noted.
    pub(super) fn note_expiry(&mut self, entry: &StoredEntry, cx: &mut Context<'_>) {
        let Some(at) = sealed::expires_at(&entry.bytes) else {
            return;
        };
        if sealed::is_deleted(&entry.bytes) {
            return;
        }
        cx.actions.writes.push(Write::Expires { log: entry.log, seq: entry.seq, at });
        self.expiry.next = Some(self.expiry.next.map_or(at, |next| next.min(at)));
    }

    /// A message with an end.
    pub(super) fn on_send_for(
        &mut self,
        command: CommandId,
        room: &str,
        text: String,
        life: Millis,
        cx: &mut Context<'_>,
    ) {
        if let Err(refused) = check_life(life) {
            return cx.fail(command, refused);
        }
        let draft = Draft { life: Some(life), ..Draft::from(text) };
        self.on_posts(room, vec![(command, draft)], cx);
    }

    /// What a page of somebody may lack, as things stand with us and with who sent it.
    pub(super) fn lack_of(&self, from: PeerId, page: &Page, now: Now) -> Lack {
        let talk = self.talks.rooms.get(&page.log.room);
        let lacks = || page.envelopes.iter().any(|bytes| sealed::is_deleted(bytes));
        // Nearly always all of it is there.
        let Some(talk) = talk.filter(|_| lacks()) else {
            return Lack::of(now.wall);
        };
        let held = talk.room.head(&page.log).seq;
        let is_last_source = !talk.sync.others_have(&from, &page.log, held);
        // What its author wrote since it is linked cannot be older than the room keeps.
        let fresh_after = match talk.state.charter().keep {
            Keep { age: Some(age), bytes: None } if from == page.log.author => {
                talk.sync.fresh_after(&page.log, age, now.mono)
            }
            _ => None,
        };
        Lack { is_last_source, fresh_after, ..Lack::of(now.wall) }
    }

    /// Takes the next step if something has ended.
    pub(super) fn go_on_expiring(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.expiry.is_loaded, true) {
            let stored = cx.reads.next_expiry();
            self.expiry.next = [self.expiry.next, stored].into_iter().flatten().min();
        }
        if self.setup.mistakes.keeps_ended {
            return;
        }
        self.end_files(cx);
        let Some(next) = self.expiry.next else {
            return;
        };
        let now = cx.now;
        if next > now.wall {
            let left = next.since(now.wall).min(LOOK_EVERY);
            return cx.actions.wake_by(Some(now.mono.after(left)));
        }
        if now.mono >= self.expiry.again {
            let ended = cx.reads.expired(now.wall, STEP);
            if ended.is_empty() {
                self.expiry.next = cx.reads.next_expiry();
            } else {
                self.expire(&ended, cx);
            }
            self.expiry.again = now.mono.after(PAUSE);
        }
        cx.actions.wake_by(Some(self.expiry.again));
    }

    fn expire(&mut self, ended: &[(LogId, Seq)], cx: &mut Context<'_>) {
        let mut gone: Vec<StoredEntry> = Vec::new();
        let mut ahead: Vec<StoredEntry> = Vec::new();
        for (log, seq) in ended {
            let stored = cx.reads.entries(*log, *seq, 1).into_iter().find(|it| it.seq == *seq);
            if let Some(entry) = stored.is_none().then(|| pending(log, *seq, cx.reads)).flatten() {
                ahead.push(erased(&entry).unwrap_or(entry));
            } else if let Some(entry) = stored {
                self.retention_lost(&entry);
                gone.push(erased(&entry).unwrap_or(entry));
            } else {
                // Of a forked log it may stand in a branch alone; the day is crossed out here.
                let (hash, lamport, bytes) = (Hash::ZERO, 0, bytes::Bytes::new());
                let (log, seq, signature) = (*log, *seq, None);
                gone.push(StoredEntry { log, seq, hash, lamport, signature, bytes });
            }
            if let Some(talk) = self.talks.rooms.get_mut(&log.room) {
                talk.sync.on_erased(log, *seq);
            }
        }
        self.count_erased(&gone, cx);
        gone.extend(ahead);
        cx.actions.writes.push(Write::Erase(gone));
        let mut logs: Vec<LogId> = ended.iter().map(|(log, _)| *log).collect();
        logs.dedup();
        for log in logs {
            self.expire_branches(log, cx);
        }
    }

    fn expire_branches(&self, log: LogId, cx: &mut Context<'_>) {
        let is_forked =
            self.talks.rooms.get(&log.room).is_some_and(|it| it.room.kept(&log).is_some());
        if !is_forked {
            return;
        }
        let rows = cx.reads.forks(log);
        let has_ended = |it: &StoredEntry| {
            sealed::expires_at(&it.bytes).is_some_and(|at| at <= cx.now.wall)
                && !sealed::is_deleted(&it.bytes)
        };
        if rows.iter().any(has_ended) {
            let without = |it: StoredEntry| match has_ended(&it) {
                true => erased(&it).unwrap_or(it),
                false => it,
            };
            let rows = rows.into_iter().map(without).collect();
            cx.actions.writes.push(Write::Fork(rows));
        }
    }

    /// What has ended while nothing ran: without it a store that is only looked into would show it.
    pub fn expire_step(&self, now: Wall, reads: &dyn Reads) -> Vec<Write> {
        let erase = |(log, seq): (LogId, Seq)| {
            let stored = reads.entries(log, seq, 1).into_iter().find(|it| it.seq == seq);
            stored
                .or_else(|| pending(&log, seq, reads))
                .map(|entry| erased(&entry).unwrap_or(entry))
        };
        let gone: Vec<StoredEntry> =
            reads.expired(now, STEP).into_iter().filter_map(erase).collect();
        if gone.is_empty() { Vec::new() } else { vec![Write::Erase(gone)] }
    }
}
