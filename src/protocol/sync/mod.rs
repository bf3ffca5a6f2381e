//! Who lacks what: vectors, pages, acknowledgements, and how much may be under way.
//! Owns: what each linked member is known to hold, and what was sent to it.
//! Must not know: what an entry says, names, who leads.
//! Invariants: an author's entries go to every linked member in order and within a window; what a
//! vector shows as missing is asked for from one peer at a time (19).
//! Start reading at: [`Sync::on_vector`].

mod flow;
mod marks;
mod pages;
mod pending;
mod recent;
mod spread;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;

use bytes::Bytes;

use flow::Flow;
pub use marks::Marks;
pub use pages::{page, page_within};
pub use pending::end;
use recent::Recent;
use spread::{Passed, Spread};

use super::{MessageId, Reads, StoredEntry};
use crate::ids::{Hash, LogId, PeerId, RoomId, Seq};
use crate::limits::QUEUE_BYTES_MAX;
use crate::time::{Millis, Mono};
use crate::wire::sync::{Head, Sync as Frame};

/// Own entries that may be under way to one peer before it acknowledges.
const WINDOW_ENTRIES: u64 = 4_096;
/// Bytes that may be under way to one peer: half of what its queue holds.
const WINDOW_BYTES: u64 = 4 << 20;
const _: () = assert!(QUEUE_BYTES_MAX == 8 << 20);
/// A peer that acknowledges nothing for so long no longer holds up the input.
const STALLED_AFTER: Millis = Millis(5_000);
/// A page asked for and not come by then is asked for elsewhere.
const FETCH_DEADLINE: Millis = Millis(3_000);
/// An author that was asked for its log is asked for the rest if nothing more comes so long.
const NEXT_WITHIN: Millis = Millis(300);
/// A clean exit waits for no member that acknowledged nothing for so long.
const FLUSH_PATIENCE: Millis = Millis(1_500);
/// How often news is offered to one more peer (rumour by rotation).
pub const OFFER_EVERY: Millis = Millis(500);
/// Who is in a room and says so long nothing of what it holds may not know that it is.
const SILENT_AFTER: Millis = Millis(5_000);
/// A member that stores no more of ours is asked so often whether it does again.
const FULL_PAUSE: Millis = Millis(60_000);

/// Who lacks more of a log than this is shown its end first; less comes soon by itself.
pub const NEWEST_GAP: u64 = 512;
/// So much of it: what a screen shows, and a little more.
pub const NEWEST_COUNT: u64 = 64;
/// So much is sent of it, so that it can begin right after a signature: then the rest ends right
/// before it.
pub const NEWEST_ASKED: u64 = 127;
const _: () = assert!(NEWEST_ASKED == NEWEST_COUNT + 63 && crate::limits::BATCH_MAX == 64);

/// Sync of one room with all linked members.
#[derive(Clone, Debug)]
pub struct Sync {
    room: RoomId,
    own: LogId,
    peers: BTreeMap<PeerId, Peer>,
    fetches: BTreeMap<LogId, Fetch>,
    recent: Recent,
    next_offer: Mono,
    flow: Flow,
    spread: Spread,
}

#[derive(Clone, Debug)]
struct Peer {
    /// What it said to hold, by log; all of it once its vector came.
    held: BTreeMap<LogId, (Seq, Hash)>,
    /// Whether its vector came since the link is up.
    is_ready: bool,
    /// How much of one's own log was sent, and how much acknowledged.
    sent: Seq,
    acked: Seq,
    progress_at: Mono,
    /// Whether it was up with us since it last stalled: who catches up holds up nobody.
    is_in_step: bool,
    /// Whether the end of our log goes to it before all that it lacks.
    is_newest_due: bool,
    /// The revision of our heads that it was told last.
    told: u64,
    /// Since when it stores no more of ours, by its own account.
    full_since: Option<Mono>,
    /// What it has beyond gaps.
    pending: BTreeMap<LogId, (Seq, Seq)>,
    /// When its first vector came, and how far its own logs went then.
    began: Option<(Mono, BTreeMap<LogId, Seq>)>,
    /// What was passed on to it of others' logs.
    passed: Passed,
}

#[derive(Clone, Copy, Debug)]
struct Fetch {
    from: PeerId,
    /// When it is overdue.
    by: Mono,
    /// Nobody was asked: the author is about to push.
    is_pushed: bool,
}

impl Fetch {
    /// What was asked of somebody just now.
    fn asked(from: PeerId, now: Mono) -> Self {
        Self { from, by: now.after(FETCH_DEADLINE), is_pushed: false }
    }
}

/// What sync wants sent.
pub type Sends = Vec<(PeerId, Frame)>;

/// What an acknowledgement or vector told about one's own log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// One's own log is held further there than here: this database is an old copy.
    pub ahead: Option<Head>,
    /// The range `(after, upto]` of one's own log newly held there.
    pub delivered: Option<(Seq, Seq)>,
}

impl Sync {
    /// Nobody is linked yet.
    pub fn new(room: RoomId, own: LogId) -> Self {
        Self {
            room,
            own,
            peers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            recent: Recent::default(),
            next_offer: Mono(0),
            flow: Flow::default(),
            spread: Spread::default(),
        }
    }

    /// Another own log was opened.
    pub fn reopen(&mut self, own: LogId) {
        self.own = own;
        self.recent.clear();
        for peer in self.peers.values_mut() {
            peer.sent = Seq(0);
            peer.acked = Seq(0);
        }
    }

    /// A member is linked: tell what we hold.
    pub fn on_link(&mut self, peer: PeerId, now: Mono, revision: u64, vector: Vec<Head>) -> Sends {
        let state = Peer {
            held: BTreeMap::new(),
            is_ready: false,
            sent: Seq(0),
            acked: Seq(0),
            progress_at: now,
            is_in_step: false,
            is_newest_due: false,
            told: revision,
            full_since: None,
            pending: BTreeMap::new(),
            began: None,
            passed: Passed::default(),
        };
        self.peers.insert(peer, state);
        vec![(
            peer,
            Frame::Vector {
                room: self.room,
                heads: vector,
                wants_answer: true,
                pending: Vec::new(),
            },
        )]
    }

    /// A link is gone; what was asked for there is asked for elsewhere.
    pub fn on_unlink(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.fetches.retain(|_, fetch| fetch.from != *peer);
    }

    /// After which entry of a log its author wrote since it is linked; `None` if that is longer ago
    /// than `within`, or not known.
    pub fn fresh_after(&self, log: &LogId, within: Millis, now: Mono) -> Option<Seq> {
        let (at, heads) = self.peers.get(&log.author)?.began.as_ref()?;
        let seq = heads.get(log).copied().unwrap_or_default();
        (now.since(*at) < within).then_some(seq)
    }

    /// Somebody holds entries of a log without what they say, too early: another one is asked.
    pub fn on_lacking(&mut self, from: &PeerId, log: &LogId) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.held.remove(log);
        }
        if self.fetches.get(log).is_some_and(|fetch| fetch.from == *from) {
            self.fetches.remove(log);
        }
    }

    /// A member said what it holds.
    pub fn on_vector(
        &mut self,
        from: PeerId,
        heads: &[Head],
        own: (Seq, Hash),
        now: Mono,
        reads: &dyn Reads,
    ) -> Told {
        let own_log = self.own;
        let Some(peer) = self.peers.get_mut(&from) else {
            return Told::default();
        };
        for head in heads {
            peer.held.insert(head.log, (head.seq, head.hash));
            peer.passed.on_held(&head.log, head.seq);
        }
        if peer.began.is_none() {
            let own_logs = heads.iter().filter(|head| head.log.author == from);
            peer.began = Some((now, own_logs.map(|head| (head.log, head.seq)).collect()));
        }
        let theirs = heads.iter().find(|head| head.log == own_log).copied();
        let mut told = Told::default();
        let held = match theirs {
            None => Seq(0),
            Some(head) if head.seq > own.0 => {
                told.ahead = Some(head);
                own.0
            }
            Some(head) => {
                let ours = match head.seq {
                    seq if seq == own.0 => Some(own.1),
                    Seq(0) => Some(Hash::ZERO),
                    seq => reads.entries(own_log, seq, 1).first().map(|entry| entry.hash),
                };
                if ours != Some(head.hash) {
                    told.ahead = Some(head);
                }
                head.seq
            }
        };
        let was_ready = peer.is_ready;
        peer.is_ready = peer.full_since.is_none();
        if peer.is_ready && !was_ready {
            peer.sent = held;
            peer.progress_at = now;
            peer.is_in_step = held >= own.0;
            peer.is_newest_due = own.0.0.saturating_sub(held.0) > NEWEST_GAP;
            // The author pushes its own log by itself; ask for it only if nothing comes.
            for head in heads.iter().filter(|head| head.log.author == from) {
                let fetch = Fetch { is_pushed: true, ..Fetch::asked(from, now) };
                self.fetches.entry(head.log).or_insert(fetch);
            }
        }
        if held > peer.acked {
            told.delivered = Some((peer.acked, held));
            peer.acked = held;
            peer.sent = peer.sent.max(held);
            peer.progress_at = now;
        }
        told
    }

    /// A member stores no more of what we write; whether that is news. Nothing is sent to it until
    /// it says again what it holds.
    pub fn on_full(&mut self, from: &PeerId, now: Mono) -> bool {
        let Some(peer) = self.peers.get_mut(from) else {
            return false;
        };
        peer.is_ready = false;
        peer.sent = peer.acked;
        peer.full_since.replace(now).is_none()
    }

    /// A member asks what we hold: it stores ours again.
    pub fn on_open(&mut self, from: &PeerId) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.full_since = None;
        }
    }

    /// Asks those who stored no more of ours whether they do again.
    pub fn ask_full(&mut self, now: Mono, vector: impl Fn() -> Vec<Head>) -> Sends {
        let is_due =
            |peer: &Peer| peer.full_since.is_some_and(|since| now.since(since) >= FULL_PAUSE);
        let due: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| is_due(peer)).map(|(id, _)| *id).collect();
        for id in &due {
            self.on_open(id);
        }
        let frame = |heads| Frame::Vector {
            room: self.room,
            heads,
            wants_answer: true,
            pending: Vec::new(),
        };
        due.into_iter().map(|id| (id, frame(vector()))).collect()
    }

    /// A member acknowledged.
    pub fn on_ack(&mut self, from: PeerId, heads: &[Head], own: Seq, now: Mono) -> Told {
        let own_log = self.own;
        let mut told = Told::default();
        let Some(peer) = self.peers.get_mut(&from) else {
            return told;
        };
        for head in heads {
            peer.held.insert(head.log, (head.seq, head.hash));
            peer.passed.on_held(&head.log, head.seq);
            if head.log == own_log && head.seq > peer.acked && head.seq <= own {
                told.delivered = Some((peer.acked, head.seq));
                peer.acked = head.seq;
                peer.sent = peer.sent.max(head.seq);
                peer.progress_at = now;
            }
        }
        told
    }

    /// Own entries were posted.
    pub fn on_posted(&mut self, entries: &[StoredEntry]) {
        self.recent.push(entries);
    }

    /// Entries of a log lost their ciphertext, up to this one.
    pub fn on_erased(&mut self, log: &LogId, upto: Seq) {
        if *log == self.own {
            self.recent.drop_upto(upto);
        }
    }

    /// The hash of an entry of one's own posted not long ago: what is acknowledged nearly always.
    pub fn recent_hash(&self, log: &LogId, seq: Seq) -> Option<Hash> {
        self.recent.at(seq).filter(|_| *log == self.own).map(|entry| entry.hash)
    }

    /// The ids of one's own messages in the range `(after, upto]`.
    pub fn ids_between(&self, after: Seq, upto: Seq, reads: &dyn Reads) -> Vec<MessageId> {
        let mut ids = Vec::new();
        let mut next = after.next();
        while next <= upto {
            if let Some(entry) = self.recent.at(next) {
                ids.push(MessageId::of(&entry.hash));
                next = next.next();
                continue;
            }
            let entries = reads.entries(self.own, next, crate::limits::PAGE_ENTRIES_MAX);
            let Some(last) = entries.last().map(|entry| entry.seq) else {
                break;
            };
            ids.extend(
                entries.iter().filter(|it| it.seq <= upto).map(|it| MessageId::of(&it.hash)),
            );
            next = last.next();
        }
        ids
    }

    /// Sends every linked member what it lacks of one's own log, within its window.
    pub fn push(&mut self, own_head: Seq, now: Mono, reads: &dyn Reads) -> Sends {
        let mut sends = Vec::new();
        let mut pages: BTreeMap<(Seq, Option<Seq>), (Seq, Frame)> = BTreeMap::new();
        let lacking: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_ready && peer.sent < own_head)
            .map(|(id, _)| *id)
            .collect();
        for id in lacking {
            let newest = self.take_newest(&id, own_head, reads);
            sends.extend(newest.map(|frame| (id, frame)));
            while let Some((sent, acked)) = self.next_for(&id, own_head) {
                let is_full = sent.0.saturating_sub(acked.0) >= WINDOW_ENTRIES
                    || self.recent.bytes_between(acked, sent) >= WINDOW_BYTES;
                if sent >= own_head || is_full {
                    break;
                }
                let end = self.end_before(&id, &self.own, sent.next());
                let made = pages.get(&(sent, end)).cloned();
                let Some((upto, frame)) = made.or_else(|| self.own_page(sent, end, reads)) else {
                    break;
                };
                pages.insert((sent, end), (upto, frame.clone()));
                sends.push((id, frame));
                if let Some(peer) = self.peers.get_mut(&id) {
                    if peer.sent == peer.acked {
                        // The wait for an acknowledgement begins now.
                        peer.progress_at = now;
                    }
                    peer.sent = upto;
                }
            }
        }
        sends
    }

    fn own_page(&self, after: Seq, end: Option<Seq>, reads: &dyn Reads) -> Option<(Seq, Frame)> {
        let from = after.next();
        let mut entries: Vec<StoredEntry> =
            self.recent.from(from).take(crate::limits::PAGE_ENTRIES_MAX).cloned().collect();
        if entries.is_empty() {
            entries = reads.entries(self.own, from, crate::limits::PAGE_ENTRIES_MAX);
        }
        pending::end(&mut entries, end);
        let made = page(self.own, entries)?;
        let upto = made.signatures.last().map(|(seq, _)| *seq)?;
        Some((upto, Frame::Entries(made)))
    }

    /// Asks for what linked members hold beyond our heads: each log from one peer at a time.
    pub fn wants(&mut self, head: impl Fn(&LogId) -> Option<(Seq, Hash)>, now: Mono) -> Sends {
        self.fetches.retain(|_, fetch| now < fetch.by);
        let mut sends = Vec::new();
        for (id, peer) in &self.peers {
            for (log, (seq, _)) in &peer.held {
                if *log == self.own || self.fetches.contains_key(log) {
                    continue;
                }
                let Some((ours, previous)) = head(log) else {
                    continue;
                };
                if ours < *seq {
                    let want = Frame::Want { log: *log, from: ours.next(), previous };
                    sends.push((*id, want));
                    self.fetches.insert(*log, Fetch::asked(*id, now));
                }
            }
        }
        sends
    }

    /// Asks for the rest of one log: after a page nothing else has changed.
    pub fn wants_of(&mut self, log: &LogId, (ours, previous): (Seq, Hash), now: Mono) -> Sends {
        let is_asked = self.fetches.get(log).is_some_and(|fetch| now < fetch.by);
        if *log == self.own || is_asked {
            return Vec::new();
        }
        let has_more = |peer: &Peer| peer.held.get(log).is_some_and(|(seq, _)| *seq > ours);
        let Some(id) = self.peers.iter().find(|(_, peer)| has_more(peer)).map(|(id, _)| *id) else {
            self.fetches.remove(log);
            return Vec::new();
        };
        self.fetches.insert(*log, Fetch::asked(id, now));
        vec![(id, Frame::Want { log: *log, from: ours.next(), previous })]
    }

    /// A page of this log came from that peer: the next may be asked for, unless the author
    /// pushes it anyway.
    pub fn on_page(&mut self, from: PeerId, log: &LogId, now: Mono) {
        self.flow.on_heard(log, now);
        let Some(fetch) = self.fetches.get_mut(log) else {
            return;
        };
        if log.author == from {
            // Who had to be asked may not push the rest either.
            let within = if fetch.is_pushed { FETCH_DEADLINE } else { NEXT_WITHIN };
            fetch.by = now.after(within);
        } else if fetch.from == from {
            self.fetches.remove(log);
        }
    }

    /// Whether a page that was asked for is overdue.
    pub fn wants_due(&self, now: Mono) -> bool {
        self.fetches.values().any(|fetch| now >= fetch.by)
    }

    /// Whether a linked member that makes progress still lacks something of our log.
    pub fn is_flushing(&self, own_head: Seq, now: Mono) -> bool {
        self.peers.values().any(|peer| {
            peer.is_ready && peer.acked < own_head && now.since(peer.progress_at) < FLUSH_PATIENCE
        })
    }

    /// A page left a gap before it: ask its sender from our head.
    pub fn on_gap(&mut self, from: PeerId, log: LogId, ours: (Seq, Hash), now: Mono) -> Sends {
        let is_asked = self.fetches.get(&log).is_some_and(|fetch| now < fetch.by);
        if is_asked {
            return Vec::new();
        }
        self.fetches.insert(log, Fetch::asked(from, now));
        vec![(from, Frame::Want { log, from: ours.0.next(), previous: ours.1 })]
    }

    /// Offers news to one more member, by rotation.
    pub fn offer(&mut self, now: Mono, revision: u64, vector: impl Fn() -> Vec<Head>) -> Sends {
        if now < self.next_offer {
            return Vec::new();
        }
        let behind = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.told < revision)
            .min_by_key(|(_, peer)| peer.told)
            .map(|(id, _)| *id);
        let Some(id) = behind else {
            return Vec::new();
        };
        self.next_offer = now.after(OFFER_EVERY);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.told = revision;
        }
        vec![(
            id,
            Frame::Vector {
                room: self.room,
                heads: vector(),
                wants_answer: false,
                pending: Vec::new(),
            },
        )]
    }

    /// When [`Self::offer`] and [`Self::wants`] have something to do next.
    pub fn wake_at(&self, revision: u64) -> Option<Mono> {
        let offer = self.peers.values().any(|peer| peer.told < revision).then_some(self.next_offer);
        let fetch = self.fetches.values().map(|fetch| fetch.by).min();
        let full = self.peers.values().filter_map(|peer| peer.full_since).min();
        let full = full.map(|since| since.after(FULL_PAUSE));
        [offer, fetch, full].into_iter().flatten().min()
    }

    /// Whether more input may be taken: no linked member that was up with us is far behind. Who
    /// comes back to a long history has it from the disk, and holds up nobody until it has it.
    pub fn takes_input(&mut self, own_head: Seq, now: Mono) -> bool {
        let share = self.flow.share(now);
        let mut takes = true;
        for peer in self.peers.values_mut().filter(|peer| peer.is_ready) {
            let is_near = own_head.0.saturating_sub(peer.acked.0) < share.entries
                && self.recent.bytes_between(peer.acked, own_head) < share.bytes;
            let is_stalled = now.since(peer.progress_at) >= STALLED_AFTER;
            peer.is_in_step = is_near || (peer.is_in_step && !is_stalled);
            takes &= is_near || !peer.is_in_step;
        }
        takes
    }

    /// Linked members that owe an acknowledgement and have given none for long.
    pub fn stalled(&self, now: Mono) -> Vec<PeerId> {
        let is_stalled = |peer: &Peer| {
            peer.is_ready
                && peer.sent > peer.acked
                && now.since(peer.progress_at) >= STALLED_AFTER.times(3)
        };
        self.peers.iter().filter(|(_, peer)| is_stalled(peer)).map(|(id, _)| *id).collect()
    }

    /// Linked members that have said for long nothing of what they hold; each is named again after
    /// as long.
    pub fn silent(&mut self, now: Mono) -> Vec<PeerId> {
        let is_silent = |peer: &&mut Peer| now.since(peer.progress_at) >= SILENT_AFTER;
        let mut silent = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.began.is_none()) {
            if is_silent(&peer) {
                peer.progress_at = now;
                silent.push(*id);
            }
        }
        silent
    }

    /// When [`Self::silent`] names the next.
    pub fn silent_at(&self) -> Option<Mono> {
        let waits = self.peers.values().filter(|peer| peer.began.is_none());
        waits.map(|peer| peer.progress_at.after(SILENT_AFTER)).min()
    }

    /// Own entries sent to a member and not acknowledged.
    pub fn unacknowledged(&self, peer: &PeerId) -> u64 {
        self.peers.get(peer).map_or(0, |peer| peer.sent.0.saturating_sub(peer.acked.0))
    }
}

/// The encoded bytes of entries, for sizes.
pub(super) fn size_of(bytes: &Bytes) -> usize {
    bytes.len()
}
