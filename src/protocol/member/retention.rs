//! What a room no longer keeps: messages lose their ciphertext, on every member by the same rule.
//! Owns: which entries are past their time or beyond the room's bytes, and when they are looked for.
//! Must not know: how the store forgets, who is linked.
//! Invariants: header and hash stay, so every chain still verifies; of a log the oldest go first,
//! so what is gone is its beginning; it goes in bounded steps, in quiet moments.
//! Start reading at: [`Scan::step`].
//!
//! The age of a message is counted from when its author says it was sent: that is under the seal,
//! and the same for all, so all delete it at one time, and one that comes late, or again, is as old
//! as it is elsewhere. A clock of our own would give everything a new life with whoever joins. An
//! author who says a later time keeps that message alive until a later one of its log goes: all
//! before it goes with it.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::Sessions;
use super::{Context, Member};
use crate::ids::{KeyId, LogId, RoomId, Seq};
use crate::protocol::room::Room;
use crate::protocol::room::keys::keyring::{Keyring, Opened, Session};
use crate::protocol::{Reads, StoredEntry, Write};
use crate::terms::Keep;
use crate::time::{Millis, Mono, Wall};
use crate::wire::sealed::{self, Body, Header, Sealed};

/// Entries looked at or erased in one step.
const STEP: usize = 128;
/// Between two steps.
const PAUSE: Millis = Millis(25);
/// Until it is looked again, once nothing was left to do; ages are counted in hours.
const LOOK_EVERY: Millis = Millis(60_000);
/// Steps wait until nothing was said for so long …
const QUIET: Millis = Millis(2_000);
/// … or this long at the latest.
const LATEST: Millis = Millis(30_000);

/// How far each room was looked through.
#[derive(Debug, Default)]
pub(super) struct Retention {
    rooms: BTreeMap<RoomId, Scan>,
    due: Option<Mono>,
    /// Since when a step waits for quiet.
    waits_since: Option<Mono>,
}

/// A room, looked through from the beginning of each log.
#[derive(Debug, Default)]
struct Scan {
    logs: BTreeMap<LogId, Place>,
    /// Bytes of the entries looked at that are whole.
    bytes: u64,
    /// Of each session with whole entries among those looked at the first such, and the last.
    sessions: BTreeMap<Session, (Seq, Seq)>,
    /// Keys under which something was that is gone.
    emptied: BTreeSet<KeyId>,
}

/// Where a log stands: `first <= next`; what lies before `first` has no ciphertext.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: Seq,
    next: Seq,
    /// Everything up to here goes.
    gone: Seq,
}

impl Default for Place {
    fn default() -> Self {
        Self { first: Seq(1), next: Seq(1), gone: Seq(0) }
    }
}

/// What a step brought.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// These lose their ciphertext.
    Erased(Vec<StoredEntry>),
    /// Of this log, what is kept of its branches.
    Branches(Vec<StoredEntry>),
    /// There may be more to do.
    Looked,
    /// Nothing is to be done now.
    Done,
}

/// What a room keeps, and what time it is.
#[derive(Clone, Copy)]
struct Rule {
    keep: Keep,
    now: Wall,
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn whole(entry: &StoredEntry) -> Option<Sealed> {
    let sealed = Sealed::decode(&entry.bytes).ok()?;
    matches!(sealed.body, Body::Ciphertext(_)).then_some(sealed)
}

/// Without its ciphertext; `None` if it has none.
pub(super) fn erased(entry: &StoredEntry) -> Option<StoredEntry> {
    let sealed = whole(entry)?;
    Some(StoredEntry { bytes: sealed.deleted().encode(), ..entry.clone() })
}

impl Rule {
    /// Whether an entry that can be opened is past its time.
    fn is_past(&self, sealed: &Sealed, ring: &mut Keyring) -> bool {
        let Some(age) = self.keep.age else { return false };
        match ring.open(sealed) {
            Opened::Plain(says) => says.sent_at.0.saturating_add(age.0) <= self.now.0,
            Opened::Unknown(_) | Opened::Unreadable | Opened::Deleted => false,
        }
    }
}

impl Scan {
    /// An entry is whole, or has lost what it says.
    fn note_key(&mut self, header: &Header, is_whole: bool) {
        let session = (header.key_id, header.log, header.session_salt);
        let seq = header.seq;
        if is_whole {
            let (first, last) = self.sessions.entry(session).or_insert((seq, seq));
            (*first, *last) = (seq.min(*first), seq.max(*last));
            return;
        }
        self.emptied.insert(header.key_id);
        if let Some((first, last)) = self.sessions.get_mut(&session)
            && *first == seq
        {
            *first = seq.next();
            if first > last {
                self.sessions.remove(&session);
            }
        }
    }

    /// Keys of which less may be needed than is held, and from where on what is needed of them.
    fn needed(&mut self, room: &Room, reads: &dyn Reads) -> Option<(BTreeSet<KeyId>, Sessions)> {
        let keys = std::mem::take(&mut self.emptied);
        if keys.is_empty() {
            return None;
        }
        let firsts = self.sessions.iter().map(|(session, (first, _))| (*session, *first));
        let mut needed: Sessions = firsts.collect();
        let forked = self.logs.keys().filter(|log| room.kept(log).is_some());
        for sealed in forked.flat_map(|log| reads.forks(*log)).filter_map(|it| whole(&it)) {
            let header = sealed.header;
            let session = (header.key_id, header.log, header.session_salt);
            let first = needed.entry(session).or_insert(header.seq);
            *first = header.seq.min(*first);
        }
        for sealed in reads.pending(room.id()).iter().filter_map(whole) {
            let header = sealed.header;
            needed.entry((header.key_id, header.log, header.session_salt)).or_insert(header.seq);
        }
        needed.retain(|(key, _, _), _| keys.contains(key));
        Some((keys, needed))
    }

    /// The next step of a room.
    fn step(&mut self, room: &Room, ring: &mut Keyring, rule: Rule, reads: &dyn Reads) -> Step {
        for log in room.logs() {
            self.logs.entry(*log).or_default();
        }
        if let Some(entries) = self.erase(reads) {
            return Step::Erased(entries);
        }
        if self.look_on(room, ring, rule, reads)
            || self.find_beyond(rule.keep.bytes, reads)
            || self.find_past(ring, rule, reads)
        {
            return Step::Looked;
        }
        match self.branches(room, ring, rule, reads) {
            Some(entries) => Step::Branches(entries),
            None => Step::Done,
        }
    }

    /// Takes the ciphertext from the next of those that go.
    fn erase(&mut self, reads: &dyn Reads) -> Option<Vec<StoredEntry>> {
        let is_left = |place: &Place| place.first <= place.gone && place.first < place.next;
        let (log, place) = self.logs.iter_mut().find(|(_, place)| is_left(place))?;
        let page = reads.entries(*log, place.first, STEP);
        let page: Vec<StoredEntry> =
            page.into_iter().filter(|it| it.seq <= place.gone && it.seq < place.next).collect();
        place.first = page.last().map_or(place.next, |last| last.seq.next());
        let mut gone = Vec::new();
        for entry in &page {
            if let Some(sealed) = whole(entry) {
                self.bytes = self.bytes.saturating_sub(size(&entry.bytes));
                self.note_key(&sealed.header, false);
                gone.push(StoredEntry { bytes: sealed.deleted().encode(), ..entry.clone() });
            }
        }
        Some(gone)
    }

    /// Looks at a page that was not looked at yet.
    fn look_on(&mut self, room: &Room, ring: &mut Keyring, rule: Rule, reads: &dyn Reads) -> bool {
        let is_left = |log: &LogId, place: &Place| place.next <= room.head(log).seq;
        let found = self.logs.iter_mut().find(|(log, place)| is_left(log, place));
        let Some((log, place)) = found else { return false };
        let page = reads.entries(*log, place.next, STEP);
        let mut noted = Vec::new();
        for entry in &page {
            if let Ok(sealed) = Sealed::decode(&entry.bytes) {
                noted.push((sealed.header, matches!(sealed.body, Body::Ciphertext(_))));
            }
            match whole(entry) {
                Some(sealed) => {
                    self.bytes = self.bytes.saturating_add(size(&entry.bytes));
                    if rule.is_past(&sealed, ring) {
                        place.gone = entry.seq;
                    }
                }
                // It came without: whoever sent it had found it past its time, so what is before
                // it is past it, too.
                None if place.first == entry.seq => place.first = entry.seq.next(),
                // It had an end of its own.
                None if sealed::expires_at(&entry.bytes).is_some() => {}
                None => place.gone = entry.seq,
            }
        }
        place.next = page.last().map_or(room.head(log).seq.next(), |last| last.seq.next());
        for (header, is_whole) in &noted {
            self.note_key(header, *is_whole);
        }
        true
    }

    /// An entry has ended: its bytes count no more.
    fn on_ended(&mut self, entry: &StoredEntry) {
        let place = self.logs.get(&entry.log).copied().unwrap_or_default();
        if (place.first..place.next).contains(&entry.seq)
            && let Some(sealed) = whole(entry)
        {
            self.bytes = self.bytes.saturating_sub(size(&entry.bytes));
            self.note_key(&sealed.header, false);
        }
    }

    /// What is beyond the room's bytes: the oldest in display order.
    fn find_beyond(&mut self, most: Option<u64>, reads: &dyn Reads) -> bool {
        let Some(most) = most.filter(|most| self.bytes > *most) else { return false };
        let mut firsts: Vec<(u64, LogId)> = Vec::new();
        for (log, place) in self.logs.iter().filter(|(_, place)| place.first < place.next) {
            let first = reads.entries(*log, place.first, 1);
            firsts.extend(first.first().map(|first| (first.lamport, *log)));
        }
        firsts.sort_unstable();
        let Some((_, oldest)) = firsts.first() else { return false };
        let until = firsts.get(1).map_or(u64::MAX, |(lamport, _)| *lamport);
        let mut beyond = self.bytes.saturating_sub(most);
        let Some(place) = self.logs.get_mut(oldest) else { return false };
        for entry in reads.entries(*oldest, place.first, STEP) {
            if beyond == 0 || entry.lamport > until || entry.seq >= place.next {
                break;
            }
            beyond = beyond.saturating_sub(size(&entry.bytes));
            place.gone = entry.seq;
        }
        place.first <= place.gone
    }

    /// What is past its time since it was looked at.
    fn find_past(&mut self, ring: &mut Keyring, rule: Rule, reads: &dyn Reads) -> bool {
        if rule.keep.age.is_none() {
            return false;
        }
        let mut is_found = false;
        for (log, place) in self.logs.iter_mut().filter(|(_, place)| place.first < place.next) {
            let page = reads.entries(*log, place.first, STEP);
            let past = |it: &&StoredEntry| whole(it).is_some_and(|it| rule.is_past(&it, ring));
            if let Some(last) = page.iter().rev().find(past) {
                place.gone = last.seq;
                is_found = true;
            }
        }
        is_found
    }

    /// The branches of a forked log go when all of them are past their time, or when all before
    /// them went.
    fn branches(
        &self,
        room: &Room,
        ring: &mut Keyring,
        rule: Rule,
        reads: &dyn Reads,
    ) -> Option<Vec<StoredEntry>> {
        for (log, place) in &self.logs {
            let Some(kept) = room.kept(log) else { continue };
            let rows = reads.forks(*log);
            let mut whole = rows.iter().filter_map(whole).peekable();
            let is_due =
                place.first > kept.at || whole.clone().all(|sealed| rule.is_past(&sealed, ring));
            if whole.peek().is_some() && is_due {
                let without = |it: StoredEntry| erased(&it).unwrap_or(it);
                return Some(rows.into_iter().map(without).collect());
            }
        }
        None
    }
}

impl Member {
    /// An entry is about to lose its ciphertext because it has ended.
    pub(super) fn retention_lost(&mut self, entry: &StoredEntry) {
        if let Some(scan) = self.retention.rooms.get_mut(&entry.log.room) {
            scan.on_ended(entry);
        }
    }

    /// Takes the next step, once it is quiet.
    pub(super) fn go_on_erasing(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let has_rule = |keep: Keep| keep != Keep::default();
        let rooms: Vec<RoomId> = self
            .talks
            .rooms
            .iter()
            .filter(|(_, talk)| has_rule(talk.state.charter().keep))
            .map(|(room, _)| *room)
            .collect();
        if rooms.is_empty() {
            self.retention = Retention::default();
            return;
        }
        self.retention.rooms.retain(|room, _| rooms.contains(room));
        let is_news = cx
            .actions
            .writes
            .iter()
            .any(|write| matches!(write, Write::Entry(_) | Write::Received(_)));
        let due = *self.retention.due.get_or_insert(now.after(QUIET));
        if is_news {
            let since = *self.retention.waits_since.get_or_insert(now);
            let wait = now.after(QUIET).min(since.after(LATEST));
            self.retention.due = Some(if due < wait { wait } else { due.min(wait) });
        } else if due <= now {
            self.retention.waits_since = None;
            let is_more = rooms.into_iter().any(|room| self.erase_in(room, cx));
            self.retention.due = Some(now.after(if is_more { PAUSE } else { LOOK_EVERY }));
        }
        cx.actions.wake_by(self.retention.due);
    }

    /// One step of a room; whether there may be more to do.
    fn erase_in(&mut self, room: RoomId, cx: &mut Context<'_>) -> bool {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return false;
        };
        let rule = Rule { keep: talk.state.charter().keep, now: cx.now.wall };
        let scan = self.retention.rooms.entry(room).or_default();
        let (opened, ring) = (&talk.room, &mut talk.keys.ring);
        match scan.step(opened, ring, rule, cx.reads) {
            Step::Erased(entries) => {
                if let Some(last) = entries.last() {
                    talk.sync.on_erased(&last.log, last.seq);
                    self.count_erased(&entries, cx);
                    cx.actions.writes.push(Write::Erase(entries));
                }
                true
            }
            Step::Branches(entries) => {
                cx.actions.writes.push(Write::Fork(entries));
                true
            }
            Step::Looked => true,
            Step::Done => {
                let pending = cx.reads.pending(room);
                let past =
                    pending.iter().filter(|it| whole(it).is_some_and(|it| rule.is_past(&it, ring)));
                let past: Vec<StoredEntry> = past.filter_map(erased).collect();
                cx.actions.writes.extend(past.into_iter().map(Write::Pending));
                // Nothing opens what is gone any more, be there a copy of it somewhere.
                if let Some((keys, needed)) = scan.needed(&talk.room, cx.reads) {
                    cx.actions.writes.extend(talk.keys.narrow(&keys, &needed));
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
