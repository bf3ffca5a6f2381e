//! The newest first: who comes back to a long log is shown its end before the rest has come.
//! Owns: which ends were asked for, what was shown of them, what waits for a key, and that they are
//! stored beside their logs until the gap before them closes.
//! Must not know: how the rest comes; it comes as ever, the oldest first, up to the end.
//! Invariants: nothing is shown but under its author's signature (20), and nothing twice (19); what
//! lies beyond a gap is not acknowledged, nor told to be held (18); bounded, whatever is told.
//! Start reading at: [`Member::ask_for_newest`] and [`Member::close_gap`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Member};
use crate::ids::{Hash, KeyId, LogId, MessageId, PeerId, RoomId, Seq};
use crate::limits::{PENDING_BYTES_MAX, PENDING_ENTRIES_MAX, PENDING_LOGS_MAX};
use crate::protocol::room::keys::keyring::{Keyring, Opened};
use crate::protocol::room::{Accepted, Broken, Chain, Room};
use crate::protocol::sync::{NEWEST_ASKED, NEWEST_COUNT, NEWEST_GAP};
use crate::protocol::{Reads, StoredEntry, Write};
use crate::refusal::Refusal;
use crate::wire::frame::Body;
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Head, Page, Span, Sync as Frame};

/// The ends of logs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Newest {
    ends: BTreeMap<LogId, End>,
    /// What is stored of these is of no use any more.
    stale: BTreeSet<LogId>,
}

/// The end of a log, while what is before it is on its way.
#[derive(Debug, Default)]
struct End {
    /// Whom it was asked of, until it came.
    asked: Option<PeerId>,
    /// Its author sent it: nobody has a newer one.
    is_authors: bool,
    /// It is from an earlier process: there may be a newer one.
    is_old: bool,
    /// The last entry of it: once we hold that, nothing of this is needed.
    upto: Seq,
    shown: BTreeSet<MessageId>,
    /// Its key is not here yet.
    sealed: Vec<(StoredEntry, Sealed)>,
    stored: Option<Stored>,
}

/// What is stored of an end.
#[derive(Clone, Copy, Debug)]
struct Stored {
    first: Seq,
    last: Seq,
    /// The hash of the last.
    hash: Hash,
    bytes: usize,
}

impl Newest {
    /// Takes up what an earlier process stored of a room.
    pub(super) fn load(&mut self, room: &Room, ring: &mut Keyring, reads: &dyn Reads) {
        let kept = room.pending(reads);
        let of_use: BTreeSet<LogId> = kept.iter().map(|entry| entry.log).collect();
        let stored = reads.pending(room.id());
        self.stale.extend(stored.iter().map(|it| it.log).filter(|log| !of_use.contains(log)));
        for entry in kept {
            let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
            let end = self.ends.entry(entry.log).or_default();
            end.is_old = true;
            end.upto = entry.seq;
            let stored = end.stored.get_or_insert(Stored {
                first: entry.seq,
                last: entry.seq,
                hash: entry.hash,
                bytes: 0,
            });
            (stored.last, stored.hash) = (entry.seq, entry.hash);
            stored.bytes = stored.bytes.saturating_add(entry.bytes.len());
            match ring.open(&sealed) {
                Opened::Unknown(_) => end.sealed.push((entry, sealed)),
                // It was shown when it came.
                _ => _ = end.shown.insert(MessageId::of(&entry.hash)),
            }
        }
    }

    /// Whether an entry that is stored now was shown ahead; it is asked once.
    pub(super) fn take_shown(&mut self, entry: &StoredEntry) -> bool {
        let end = self.ends.get_mut(&entry.log);
        end.is_some_and(|end| end.shown.remove(&MessageId::of(&entry.hash)))
    }

    /// What is stored beyond gaps in a room.
    pub(super) fn spans(&self, room: RoomId) -> Vec<Span> {
        let of_room = self.ends.iter().filter(|(log, _)| log.room == room);
        let span = |(log, end): (&LogId, &End)| {
            end.stored.map(|it| Span { log: *log, first: it.first, last: it.last })
        };
        of_room.filter_map(span).collect()
    }

    /// How many are missing right before an entry that is shown ahead, `held` being the last that
    /// is held.
    pub(super) fn missing_before(&self, entry: &StoredEntry, held: Seq) -> u64 {
        let stored = self.ends.get(&entry.log).and_then(|end| end.stored);
        let is_first = stored.is_some_and(|it| it.first == entry.seq);
        if is_first { entry.seq.0.saturating_sub(held.next().0) } else { 0 }
    }

    /// We hold a log up to this place. What was shown ahead and could not be opened when it was
    /// stored is still remembered.
    fn on_held(&mut self, log: &LogId, held: Seq) {
        let Some(end) = self.ends.get_mut(log) else { return };
        if end.upto <= held {
            end.sealed.clear();
            end.asked = None;
            if end.stored.take().is_some() {
                self.stale.insert(*log);
            }
            if end.shown.is_empty() {
                self.ends.remove(log);
            }
        }
    }

    /// Of this log nothing is kept beyond a gap any more; what was shown stays shown.
    fn forget(&mut self, log: &LogId) {
        if let Some(end) = self.ends.get_mut(log) {
            end.sealed.clear();
            end.asked = None;
            if end.stored.take().is_some() {
                self.stale.insert(*log);
            }
            if end.shown.is_empty() {
                self.ends.remove(log);
            }
        }
    }

    /// Nothing comes of this room for now.
    pub(super) fn on_quit(&mut self, room: RoomId) {
        let logs: Vec<LogId> = self.ends.keys().copied().filter(|it| it.room == room).collect();
        for log in logs {
            self.forget(&log);
        }
    }

    /// What was asked for there does not come.
    pub(super) fn on_unlink(&mut self, peer: &PeerId) {
        for end in self.ends.values_mut().filter(|end| end.asked == Some(*peer)) {
            end.asked = None;
        }
        self.ends.retain(|_, end| end.upto > Seq(0) || !end.shown.is_empty());
    }

    /// What is stored and of no use goes.
    pub(super) fn take_stale(&mut self) -> impl Iterator<Item = Write> {
        std::mem::take(&mut self.stale).into_iter().map(Write::PendingGone)
    }

    fn bytes(&self) -> usize {
        let stored = self.ends.values().filter_map(|end| end.stored);
        stored.fold(0, |sum, it| sum.saturating_add(it.bytes))
    }

    /// Takes in an end that came: what is new of it waits to be shown, and it is stored as far as
    /// the bounds allow; what is to be written.
    fn take_in(&mut self, log: LogId, is_authors: bool, mut chain: Chain) -> Vec<Write> {
        let Some((last, _)) = chain.last() else { return Vec::new() };
        let (upto, hash) = (last.seq, last.hash);
        let mut end = self.ends.remove(&log).unwrap_or_default();
        let first = chain.first().map(|(entry, sealed)| (entry.seq, sealed.header.previous));
        let goes_on = |it: &Stored| {
            let count = upto.0.saturating_sub(it.first.0).saturating_add(1);
            first == Some((it.last.next(), it.hash))
                && count <= u64::try_from(PENDING_ENTRIES_MAX).unwrap_or(u64::MAX)
        };
        let before = end.stored.filter(goes_on);
        let mut writes = Vec::new();
        if self.stale.remove(&log) {
            writes.push(Write::PendingGone(log));
        }
        if before.is_none() {
            if end.stored.take().is_some() {
                writes.push(Write::PendingGone(log));
            }
            end.sealed.clear();
        }
        let size = |(entry, _): &(StoredEntry, Sealed)| entry.bytes.len();
        let bytes = chain.iter().map(size).fold(0, usize::saturating_add);
        let first = before.map(|it| it.first).or_else(|| first.map(|(seq, _)| seq)).unwrap_or(upto);
        let all = bytes.saturating_add(before.map_or(0, |it| it.bytes));
        let others = self.bytes();
        let is_short = before.is_some() || chain.len() <= PENDING_ENTRIES_MAX;
        if is_short && others.saturating_add(all) <= PENDING_BYTES_MAX {
            end.stored = Some(Stored { first, last: upto, hash, bytes: all });
            let entries = chain.iter().map(|(entry, _)| entry.clone());
            writes.extend(entries.map(Write::Pending));
        } else if end.stored.take().is_some() {
            writes.push(Write::PendingGone(log));
        }
        let is_news =
            |(entry, _): &(StoredEntry, Sealed)| !end.shown.contains(&MessageId::of(&entry.hash));
        chain.retain(is_news);
        end.sealed.extend(chain);
        (end.asked, end.is_authors, end.is_old, end.upto) = (None, is_authors, false, upto);
        self.ends.insert(log, end);
        writes
    }
}

/// What is shown ahead of a page that was sent for it: so much as a screen shows, from right after a
/// signature on where there is one.
fn end_of(page: &Page, mut chain: Chain, count: u64) -> Chain {
    let last = chain.last().map(|(entry, _)| entry.seq).unwrap_or_default();
    let latest = last.0.saturating_sub(count);
    let signed = page.signatures.iter().map(|(seq, _)| *seq).filter(|seq| seq.0 <= latest).max();
    chain.retain(|(entry, _)| signed.is_none_or(|signed| entry.seq > signed));
    chain
}

impl Member {
    /// Somebody holds much more of some logs than we do: it is asked for their ends. Of its own log
    /// it sends the end unasked.
    pub(super) fn ask_for_newest(
        &mut self,
        (id, from): (RoomId, PeerId),
        heads: &[Head],
        cx: &mut Context<'_>,
    ) {
        let full = self.full_in(id, cx.now.mono);
        let (gap, count) =
            if self.setup.mistakes.early_newest { (4, 2) } else { (NEWEST_GAP, NEWEST_ASKED) };
        let (Some(ledger), Some(talk)) = (self.ledger.as_ref(), self.talks.rooms.get(&id)) else {
            return;
        };
        let is_meant = |head: &&Head| {
            let held = talk.room.head(&head.log).seq;
            // Whoever is linked to us sends the end of its log itself. If that is on its way here, a
            // page of it from elsewhere would be shown before what was said before it.
            head.log.author != from
                && (self.setup.mistakes.early_newest || !talk.sync.is_linked(&head.log.author))
                && head.log != talk.room.own()
                && head.seq.0.saturating_sub(held.0) > gap
                && talk.room.is_open(&head.log)
                && !full.contains(&head.log.author)
                && ledger.roster().member(&head.log.author).is_some()
        };
        let mut wants = Vec::new();
        for head in heads.iter().filter(is_meant) {
            let ends = &mut self.talks.newest.ends;
            let is_asked = |end: &End| {
                !end.is_old || end.asked.is_some() || head.seq.0.saturating_sub(end.upto.0) <= gap
            };
            let is_full = ends.len() >= PENDING_LOGS_MAX;
            match ends.get_mut(&head.log) {
                Some(end) if is_asked(end) => continue,
                Some(end) => end.asked = Some(from),
                None if is_full => continue,
                None => {
                    let end = End { asked: Some(from), ..End::default() };
                    ends.insert(head.log, end);
                }
            }
            let start = Seq(head.seq.0.saturating_sub(count)).next();
            wants.push(Frame::Want { log: head.log, from: start, previous: Hash::ZERO });
        }
        for want in wants {
            self.send(from, Body::Sync(want), cx);
        }
    }

    /// A page leaves a gap before it; whether it is an end that was asked for, or that its author
    /// sends, and is shown.
    pub(super) fn take_newest(&mut self, from: PeerId, page: &Page, cx: &mut Context<'_>) -> bool {
        let is_author = from == page.log.author;
        let ends = &self.talks.newest.ends;
        let may = match ends.get(&page.log) {
            Some(end) => end.asked == Some(from) || (is_author && !end.is_authors),
            None => {
                let of_author = ends.keys().filter(|it| it.author == page.log.author).count();
                is_author && ends.len() < PENDING_LOGS_MAX && of_author < PENDING_LOGS_MAX / 4
            }
        };
        let (true, Some(keys)) = (may, self.author_keys(&page.log)) else {
            return false;
        };
        let lack = self.lack_of(from, page, cx.now);
        let Some(talk) = self.talks.rooms.get(&page.log.room) else {
            return false;
        };
        let foreign = Err(Broken(Refusal::SignatureBad));
        let mut judged = keys.iter().map(|key| talk.room.glance(page, key, lack, &*self.proofs));
        let entries = match judged.find(|taken| *taken != foreign).unwrap_or(foreign) {
            Ok(entries) => entries,
            Err(Broken(refusal)) => {
                self.refuse(from, refusal, cx);
                return true;
            }
        };
        let known = self.talks.newest.ends.get_mut(&page.log);
        let upto = entries.last().map_or(Seq(0), |(entry, _)| entry.seq);
        if let Some(end) = known.filter(|end| upto <= end.upto) {
            // Nothing that is newer than what is here.
            (end.asked, end.is_old) = (None, false);
            return true;
        }
        let count = if self.setup.mistakes.early_newest { 2 } else { NEWEST_COUNT };
        let chain = end_of(page, entries, count);
        let writes = self.talks.newest.take_in(page.log, is_author, chain);
        for write in &writes {
            if let Write::Pending(entry) = write {
                self.note_expiry(entry, cx);
            }
        }
        cx.actions.writes.extend(writes);
        self.show_newest(page.log, from, cx);
        self.tell_pending(page.log.room, cx);
        if self.setup.mistakes.acks_pending {
            let heads = entries_end(&self.talks.newest, page.log);
            let ack = Frame::Ack { room: page.log.room, heads };
            self.send_ack(from, Body::Sync(ack), cx);
        }
        true
    }

    /// Everybody linked learns what need not be sent again, once it is safe.
    fn tell_pending(&self, room: RoomId, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get(&room) else { return };
        let heads = talk.room.vector();
        let frame = |heads| Frame::Vector { room, heads, wants_answer: false, pending: Vec::new() };
        let linked = talk.linked().into_iter();
        let sends = linked.map(|peer| (peer, frame(heads.clone()))).collect();
        self.send_sync(sends, cx);
    }

    /// A log was stored up to where its end may go on: the end is judged like any page, and is part
    /// of the log from then on.
    pub(super) fn close_gap(&mut self, from: PeerId, log: LogId, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get(&log.room) else { return };
        let held = talk.room.head(&log).seq;
        let stored = self.talks.newest.ends.get(&log).and_then(|end| end.stored);
        if stored.is_none_or(|it| it.first > held.next() || it.last <= held) {
            return;
        }
        let mut entries = cx.reads.pending(log.room);
        entries.retain(|entry| entry.log == log && entry.seq > held);
        let signed = entries.iter().filter_map(|it| it.signature.map(|by| (it.seq, by)));
        let signatures = signed.collect();
        let envelopes = entries.iter().map(|it| it.bytes.clone()).collect();
        let page = Page { log, envelopes, signatures };
        match self.judge_page(from, &page, cx) {
            Some(Ok(Accepted::New(entries))) => self.take_new(from, log.room, entries, cx),
            // It does not follow, or not any more: what does comes as ever.
            _ => self.talks.newest.forget(&log),
        }
    }

    /// Shows of an end what can be opened now; of the rest the keys are asked for.
    fn show_newest(&mut self, log: LogId, from: PeerId, cx: &mut Context<'_>) {
        let Some(end) = self.talks.newest.ends.get_mut(&log) else {
            return;
        };
        let mut left = Vec::new();
        for (entry, sealed) in std::mem::take(&mut end.sealed) {
            if self.open_entry(Some(from), &entry, &sealed, cx) {
                let id = MessageId::of(&entry.hash);
                let end = self.talks.newest.ends.get_mut(&log);
                end.into_iter().for_each(|end| _ = end.shown.insert(id));
            } else if !self.holds_key(&sealed) {
                left.push((entry, sealed));
            }
        }
        // What is not stored waits for no key: memory is bounded as the disk is.
        if let Some(end) = self.talks.newest.ends.get_mut(&log).filter(|it| it.stored.is_some()) {
            end.sealed = left;
        }
    }

    fn holds_key(&self, sealed: &Sealed) -> bool {
        let talk = self.talks.rooms.get(&sealed.header.log.room);
        talk.is_some_and(|talk| talk.keys.ring.secret(&sealed.header.key_id).is_some())
    }

    /// Entries of a log are stored.
    pub(super) fn on_stored(&mut self, entries: &[StoredEntry], cx: &mut Context<'_>) {
        if let Some(last) = entries.last() {
            self.talks.newest.on_held(&last.log, last.seq);
            cx.actions.writes.extend(self.talks.newest.take_stale());
        }
    }

    /// A log forks, or ends here: nothing beyond its gap counts.
    pub(super) fn forget_end(&mut self, log: &LogId, cx: &mut Context<'_>) {
        self.talks.newest.forget(log);
        cx.actions.writes.extend(self.talks.newest.take_stale());
    }

    /// A key came: what waits for it of the ends is shown, before older messages are.
    pub(super) fn open_newest(&mut self, room: RoomId, key: KeyId, cx: &mut Context<'_>) {
        let waits = |(log, end): (&LogId, &End)| {
            let of_key = |(_, sealed): &(StoredEntry, Sealed)| sealed.header.key_id == key;
            (log.room == room && end.sealed.iter().any(of_key)).then_some(*log)
        };
        let logs: Vec<LogId> = self.talks.newest.ends.iter().filter_map(waits).collect();
        for log in logs {
            self.show_newest(log, self.me, cx);
        }
    }
}

/// Of the mistake: the end is told to be held.
fn entries_end(newest: &Newest, log: LogId) -> Vec<Head> {
    let stored = newest.ends.get(&log).and_then(|end| end.stored);
    stored.into_iter().map(|it| Head { log, seq: it.last, hash: it.hash }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, NetworkId};
    use crate::protocol::room::tests::writer_of;

    #[test]
    fn what_is_stored_of_an_end_and_of_no_use_goes_before_the_next_one_is_stored() {
        let author = PeerId::of_rsa_spki(b"bob");
        let mut bob = writer_of(NetworkId([7; 32]), author, Incarnation(1), 2);
        bob.post(&["x"; 3]);
        let log = bob.room.own();
        let chain = |from: u64| -> Chain {
            let entries = bob.shelf.entries(log, Seq(from), 9).into_iter();
            entries.map(|it| (it.clone(), Sealed::decode(&it.bytes).unwrap())).collect()
        };
        let places = |writes: &[Write]| -> Vec<Option<u64>> {
            let place = |write: &Write| match write {
                Write::PendingGone(of) if *of == log => None,
                Write::Pending(entry) => Some(entry.seq.0),
                other => panic!("{other:?}"),
            };
            writes.iter().map(place).collect()
        };
        let mut newest = Newest::default();
        // An earlier process left rows that its log has passed since.
        newest.stale.insert(log);
        assert_eq!(places(&newest.take_in(log, true, chain(2))), [None, Some(2), Some(3)]);
        assert_eq!(newest.take_stale().count(), 0, "the new rows stay");
        // With nothing left behind nothing goes.
        let mut newest = Newest::default();
        assert_eq!(places(&newest.take_in(log, true, chain(3))), [Some(3)]);
        // Another end in its place takes what is there with it, once.
        assert_eq!(places(&newest.take_in(log, true, chain(2))), [None, Some(2), Some(3)]);
    }
}
