//! The newest first: who comes back to a long log is shown its end before the rest has come.
//! Owns: which ends were asked for, what was shown of them, what waits for a key.
//! Must not know: how the rest comes; it comes as ever, the oldest first, and alone is stored.
//! Invariants: nothing is shown but under its author's signature (20), and nothing twice by one
//! process (19); what is shown ahead is neither stored nor acknowledged; bounded, whatever is told.
//! Start reading at: [`Member::ask_for_newest`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Member};
use crate::ids::{Hash, KeyId, LogId, MessageId, PeerId, RoomId, Seq};
use crate::protocol::StoredEntry;
use crate::protocol::room::Broken;
use crate::protocol::sync::{NEWEST_COUNT, NEWEST_GAP};
use crate::refusal::Refusal;
use crate::wire::frame::Body;
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Head, Page, Sync as Frame};

/// Ends that are shown ahead at one time; of other logs everything comes in order.
const LOGS_MAX: usize = 64;

/// The ends of logs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Newest(BTreeMap<LogId, End>);

/// The end of a log, while what is before it is on its way.
#[derive(Debug)]
struct End {
    /// Whom it was asked of, until it came.
    asked: Option<PeerId>,
    /// Its author sent it: nobody has a newer one.
    is_authors: bool,
    /// The last entry of it: once we hold that, nothing of this is needed.
    upto: Seq,
    shown: BTreeSet<MessageId>,
    /// Its key is not here yet.
    sealed: Vec<(StoredEntry, Sealed)>,
}

impl Newest {
    /// Whether an entry that is stored now was shown ahead; it is asked once.
    pub(super) fn take_shown(&mut self, entry: &StoredEntry) -> bool {
        let end = self.0.get_mut(&entry.log);
        end.is_some_and(|end| end.shown.remove(&MessageId::of(&entry.hash)))
    }

    /// We hold a log up to this place. What was shown ahead and could not be opened when it was
    /// stored is still remembered.
    fn on_held(&mut self, log: &LogId, held: Seq) {
        let Some(end) = self.0.get_mut(log) else { return };
        if end.upto <= held {
            end.sealed.clear();
            end.asked = None;
            if end.shown.is_empty() {
                self.0.remove(log);
            }
        }
    }

    /// Nothing comes of this room for now; what was shown stays shown.
    pub(super) fn on_quit(&mut self, room: RoomId) {
        self.0.retain(|log, end| log.room != room || !end.shown.is_empty());
        for (_, end) in self.0.iter_mut().filter(|(log, _)| log.room == room) {
            end.sealed.clear();
            end.asked = None;
        }
    }

    /// What was asked for there does not come.
    pub(super) fn on_unlink(&mut self, peer: &PeerId) {
        self.0.retain(|_, end| end.asked != Some(*peer));
    }
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
            if self.setup.mistakes.early_newest { (4, 2) } else { (NEWEST_GAP, NEWEST_COUNT) };
        let (Some(ledger), Some(talk)) = (self.ledger.as_ref(), self.talks.rooms.get(&id)) else {
            return;
        };
        let is_meant = |head: &&Head| {
            let held = talk.room.head(&head.log).seq;
            head.log.author != from
                && head.log != talk.room.own()
                && head.seq.0.saturating_sub(held.0) > gap
                && talk.room.is_open(&head.log)
                && !full.contains(&head.log.author)
                && ledger.roster().member(&head.log.author).is_some()
        };
        let mut wants = Vec::new();
        for head in heads.iter().filter(is_meant) {
            let ends = &mut self.talks.newest.0;
            if ends.len() >= LOGS_MAX || ends.contains_key(&head.log) {
                continue;
            }
            let (shown, sealed) = (BTreeSet::new(), Vec::new());
            let (asked, upto, is_authors) = (Some(from), head.seq, false);
            ends.insert(head.log, End { asked, is_authors, upto, shown, sealed });
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
        let ends = &self.talks.newest.0;
        let may = match ends.get(&page.log) {
            Some(end) => end.asked == Some(from) || (is_author && !end.is_authors),
            None => is_author && ends.len() < LOGS_MAX,
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
        let upto = entries.last().map_or(Seq(0), |(entry, _)| entry.seq);
        let before = self.talks.newest.0.remove(&page.log);
        let shown = before.map(|end| end.shown).unwrap_or_default();
        let is_news =
            |(entry, _): &(StoredEntry, Sealed)| !shown.contains(&MessageId::of(&entry.hash));
        let sealed = entries.into_iter().filter(is_news).collect();
        let end = End { asked: None, is_authors: is_author, upto, shown, sealed };
        self.talks.newest.0.insert(page.log, end);
        self.show_newest(page.log, from, cx);
        true
    }

    /// Shows of an end what can be opened now; of the rest the keys are asked for.
    fn show_newest(&mut self, log: LogId, from: PeerId, cx: &mut Context<'_>) {
        let Some(end) = self.talks.newest.0.get_mut(&log) else {
            return;
        };
        let mut left = Vec::new();
        for (entry, sealed) in std::mem::take(&mut end.sealed) {
            if self.open_entry(Some(from), &entry, &sealed, cx) {
                let id = MessageId::of(&entry.hash);
                let end = self.talks.newest.0.get_mut(&log);
                end.into_iter().for_each(|end| _ = end.shown.insert(id));
            } else if !self.holds_key(&sealed) {
                left.push((entry, sealed));
            }
        }
        if let Some(end) = self.talks.newest.0.get_mut(&log) {
            end.sealed = left;
        }
    }

    fn holds_key(&self, sealed: &Sealed) -> bool {
        let talk = self.talks.rooms.get(&sealed.header.log.room);
        talk.is_some_and(|talk| talk.keys.ring.secret(&sealed.header.key_id).is_some())
    }

    /// Entries of a log are stored.
    pub(super) fn on_stored(&mut self, entries: &[StoredEntry]) {
        if let Some(last) = entries.last() {
            self.talks.newest.on_held(&last.log, last.seq);
        }
    }

    /// A key came: what waits for it of the ends is shown, before older messages are.
    pub(super) fn open_newest(&mut self, room: RoomId, key: KeyId, cx: &mut Context<'_>) {
        let waits = |(log, end): (&LogId, &End)| {
            let of_key = |(_, sealed): &(StoredEntry, Sealed)| sealed.header.key_id == key;
            (log.room == room && end.sealed.iter().any(of_key)).then_some(*log)
        };
        let logs: Vec<LogId> = self.talks.newest.0.iter().filter_map(waits).collect();
        for log in logs {
            self.show_newest(log, self.me, cx);
        }
    }
}
