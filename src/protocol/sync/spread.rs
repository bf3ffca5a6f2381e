//! Passing on what others say, where not everybody is linked with everybody.
//! Owns: what was passed on to whom, and what is to be told to neighbours.
//! Must not know: who should pass on what to whom; the caller names the receivers.
//! Invariants: an entry is passed on to a linked member at most once, in order, and only while what
//! it has not acknowledged is bounded; who missed something hears of it and asks.
//! Start reading at: [`Sync::pass_on`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Sends, Sync, page, size_of};
use crate::ids::{LogId, PeerId, Seq};
use crate::protocol::StoredEntry;
use crate::time::{Millis, Mono};
use crate::wire::sync::{Head, Sync as Frame};

/// Bytes passed on to one member that it has not acknowledged: a quarter of what its queue holds.
/// Who takes no more asks for the rest when it can.
const UNDER_WAY_MAX: usize = 2 << 20;
/// Of one log: whose entries somebody does not take must not hold up those of others.
const UNDER_WAY_OF_LOG_MAX: usize = UNDER_WAY_MAX / 8;
/// What came is told to neighbours after this: by then it has come to them, too, if all is well.
const TELL_AFTER: Millis = Millis(150);
/// Who hears of entries that it lacks waits so long for them to come by themselves.
const LACK_FOR: Millis = Millis(100);

/// What was passed on to one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    logs: BTreeMap<LogId, (Seq, usize)>,
    bytes: usize,
}

impl Passed {
    /// It holds a log so far.
    pub(super) fn on_held(&mut self, log: &LogId, seq: Seq) {
        if let Some((upto, bytes)) = self.logs.get(log).copied()
            && upto <= seq
        {
            self.logs.remove(log);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    fn upto(&self, log: &LogId) -> Seq {
        self.logs.get(log).map(|(upto, _)| *upto).unwrap_or_default()
    }

    /// Whether so much more of a log may be under way: one page always, if all the others leave room.
    fn has_room(&self, log: &LogId, size: usize) -> bool {
        let of_log = self.logs.get(log).map_or(0, |(_, bytes)| bytes.saturating_add(size));
        self.bytes.saturating_add(size) <= UNDER_WAY_MAX && of_log <= UNDER_WAY_OF_LOG_MAX
    }

    fn add(&mut self, log: LogId, upto: Seq, size: usize) {
        let passed = self.logs.entry(log).or_default();
        *passed = (upto, passed.1.saturating_add(size));
        self.bytes = self.bytes.saturating_add(size);
    }
}

/// What is to be told and asked soon.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    news: BTreeSet<LogId>,
    tell_at: Option<Mono>,
    ask_at: Option<Mono>,
}

impl Sync {
    /// Passes entries of somebody else's log on to those of these who are linked and have what is
    /// before them, but not them.
    pub fn pass_on(&mut self, entries: &[StoredEntry], to: &[PeerId]) -> Sends {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Vec::new();
        };
        let size: usize = entries.iter().map(|entry| size_of(&entry.bytes)).sum();
        let mut sends = Vec::new();
        let mut made = None;
        for id in to {
            // What it holds is not known before its vector came.
            let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.began.is_some()) else {
                continue;
            };
            let held = peer.held.get(&first.log).map(|(seq, _)| *seq).unwrap_or_default();
            let has = held.max(peer.passed.upto(&first.log));
            let is_full = !peer.passed.has_room(&first.log, size);
            if has >= last.seq || has.next() < first.seq || is_full {
                continue;
            }
            if made.is_none() {
                made = page(first.log, entries.to_vec()).map(Frame::Entries);
            }
            let Some(frame) = made.clone() else { break };
            peer.passed.add(first.log, last.seq, size);
            sends.push((*id, frame));
        }
        sends
    }

    /// Entries of this log came: neighbours will be told.
    pub fn note_news(&mut self, log: LogId, now: Mono) {
        self.spread.news.insert(log);
        self.spread.tell_at.get_or_insert(now.after(TELL_AFTER));
    }

    /// Of which logs neighbours are to be told now.
    pub fn take_news(&mut self, now: Mono) -> BTreeSet<LogId> {
        if self.spread.tell_at.is_none_or(|at| now < at) {
            return BTreeSet::new();
        }
        self.spread.tell_at = None;
        std::mem::take(&mut self.spread.news)
    }

    /// Tells these, as far as they are linked and have not said that they hold as much.
    pub fn tell(&self, heads: &[Head], to: &BTreeSet<PeerId>) -> Sends {
        let lacks = |id: &PeerId, head: &Head| {
            let held = self.told_by(id, &head.log).map(|(seq, _)| seq).unwrap_or_default();
            head.log.author != *id && held < head.seq
        };
        let told = to.iter().filter(|id| self.is_linked(id)).filter_map(|id| {
            let heads: Vec<Head> = heads.iter().filter(|head| lacks(id, head)).copied().collect();
            (!heads.is_empty()).then_some((*id, Frame::Ack { room: self.room, heads }))
        });
        told.collect()
    }

    /// A neighbour holds what we lack: it is asked for if it does not come soon.
    pub fn note_lack(&mut self, now: Mono) {
        self.spread.ask_at.get_or_insert(now.after(LACK_FOR));
    }

    /// Whether it is time to ask for what did not come.
    pub fn take_lack(&mut self, now: Mono) -> bool {
        self.spread.ask_at.take_if(|at| now >= *at).is_some()
    }

    /// When [`Sync::take_news`] and [`Sync::take_lack`] have something next.
    pub fn spread_at(&self) -> Option<Mono> {
        [self.spread.tell_at, self.spread.ask_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::{Hash, Incarnation, RoomId, Signature};
    use crate::protocol::room::tests::writer;

    fn peer(number: u8) -> PeerId {
        PeerId::of_rsa_spki(&[number])
    }

    fn log(number: u8) -> LogId {
        LogId { room: RoomId::MAIN, author: peer(number), incarnation: Incarnation(1) }
    }

    fn entries(from: u64, upto: u64, size: usize) -> Vec<StoredEntry> {
        entries_of(9, from, upto, size)
    }

    fn entries_of(author: u8, from: u64, upto: u64, size: usize) -> Vec<StoredEntry> {
        let entry = |seq| StoredEntry {
            log: log(author),
            seq: Seq(seq),
            hash: Hash([u8::try_from(seq % 251).unwrap(); 32]),
            lamport: seq,
            bytes: Bytes::from(vec![0; size]),
            signature: Some(Signature([0; 64])),
        };
        (from..=upto).map(entry).collect()
    }

    fn linked(sync: &mut Sync, number: u8) {
        let _ = sync.on_link(peer(number), Mono(0), 0, Vec::new());
        let own = (Seq(0), Hash::ZERO);
        sync.on_vector(peer(number), &[], own, Mono(0), &writer(1).shelf);
    }

    fn ack(sync: &mut Sync, number: u8, seq: u64) {
        let head = Head { log: log(9), seq: Seq(seq), hash: Hash::ZERO };
        sync.on_ack(peer(number), &[head], Seq(0), Mono(1));
    }

    #[test]
    fn an_entry_is_passed_on_once_in_order_and_to_whom_it_follows_on() {
        let mut sync = Sync::new(RoomId::MAIN, log(0));
        linked(&mut sync, 1);
        let _ = sync.on_link(peer(2), Mono(0), 0, Vec::new());
        let to = [peer(1), peer(2), peer(3)];
        // Of the second nothing is known yet, and the third is not linked.
        assert_eq!(sync.pass_on(&entries(1, 2, 10), &to).len(), 1);
        assert_eq!(sync.pass_on(&entries(1, 2, 10), &to).len(), 0);
        assert_eq!(sync.pass_on(&entries(3, 3, 10), &to).len(), 1);
        assert_eq!(sync.pass_on(&entries(5, 5, 10), &to).len(), 0, "a gap");
        ack(&mut sync, 1, 6);
        assert_eq!(sync.pass_on(&entries(5, 6, 10), &to).len(), 0, "it has them");
        assert_eq!(sync.pass_on(&entries(7, 7, 10), &to).len(), 1);
    }

    #[test]
    fn who_acknowledges_nothing_is_given_a_bounded_amount() {
        let mut sync = Sync::new(RoomId::MAIN, log(0));
        linked(&mut sync, 1);
        let mut given = 0;
        for seq in 1..100 {
            given += sync.pass_on(&entries(seq, seq, 64 << 10), &[peer(1)]).len();
        }
        assert_eq!(given, UNDER_WAY_OF_LOG_MAX / (64 << 10));
        // That is no reason to keep back what others say, until all of it is too much.
        let others = (10..30).filter(|author| {
            sync.pass_on(&entries_of(*author, 1, 4, 64 << 10), &[peer(1)]).len() == 1
        });
        assert_eq!(others.count(), UNDER_WAY_MAX / UNDER_WAY_OF_LOG_MAX - 1);
        ack(&mut sync, 1, 99);
        assert_eq!(sync.pass_on(&entries(100, 100, 64 << 10), &[peer(1)]).len(), 1);
    }

    #[test]
    fn neighbours_are_told_of_what_they_are_not_known_to_hold() {
        let mut sync = Sync::new(RoomId::MAIN, log(0));
        linked(&mut sync, 1);
        linked(&mut sync, 2);
        linked(&mut sync, 9);
        sync.note_news(log(9), Mono(1_000));
        assert!(sync.take_news(Mono(1_100)).is_empty());
        assert_eq!(sync.spread_at(), Some(Mono(1_150)));
        assert_eq!(sync.take_news(Mono(1_150)).len(), 1);
        assert_eq!(sync.spread_at(), None);
        ack(&mut sync, 2, 4);
        let head = Head { log: log(9), seq: Seq(4), hash: Hash::ZERO };
        let all = BTreeSet::from([peer(1), peer(2), peer(3), peer(9)]);
        let told: Vec<PeerId> = sync.tell(&[head], &all).into_iter().map(|(to, _)| to).collect();
        assert_eq!(told, [peer(1)]);
        sync.note_lack(Mono(2_000));
        assert!(!sync.take_lack(Mono(2_050)) && sync.take_lack(Mono(2_100)));
        assert!(!sync.take_lack(Mono(9_000)));
    }
}
