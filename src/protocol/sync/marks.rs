//! Members' words that they hold an author's log, on their way to an author they are not linked with.
//! Owns: the newest mark of each member for each log, and over whom it was passed on.
//! Must not know: signatures, keys, who is nearer to whom; the caller has checked and says so.
//! Invariants: of one member and log only the newest is kept; what was passed on to somebody who is
//! gone since is passed on again; the number is bounded.
//! Start reading at: [`Marks::take`] and [`Marks::due`].

use std::collections::BTreeMap;

use crate::ids::{Hash, LogId, PeerId, RoomId, Seq};
use crate::limits::{MARKS_KEPT_MAX, MARKS_MAX};
use crate::wire::sync::{Mark, Sync as Frame};

use super::Sends;

/// Of one member: whoever makes up logs to say that it holds them fills its own share alone.
const MARKS_OF_ONE_MAX: usize = MARKS_KEPT_MAX / 16;

/// Marks of one room.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    kept: BTreeMap<(LogId, PeerId), Kept>,
    /// How many of them each member made.
    counts: BTreeMap<PeerId, usize>,
    is_stale: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    mark: Mark,
    passed: Option<PeerId>,
}

impl Marks {
    /// The newest that is known of somebody and a log.
    pub fn newest(&self, log: &LogId, by: &PeerId) -> Option<(Seq, Hash)> {
        self.kept.get(&(*log, *by)).map(|kept| (kept.mark.head.seq, kept.mark.head.hash))
    }

    /// Whether a mark says more than is known.
    pub fn is_news(&self, mark: &Mark) -> bool {
        let key = (mark.head.log, mark.by);
        self.kept.get(&key).is_none_or(|kept| kept.mark.head.seq < mark.head.seq)
    }

    /// Keeps a mark to be passed on.
    pub fn take(&mut self, mark: Mark) {
        let (key, by) = ((mark.head.log, mark.by), mark.by);
        if !self.kept.contains_key(&key) {
            // What was passed on is kept only in case it is lost there.
            if self.kept.len() >= MARKS_KEPT_MAX {
                self.drop_passed(|_| true);
            }
            if self.of(&by) >= MARKS_OF_ONE_MAX {
                self.drop_passed(|whose| *whose == by);
            }
            if self.kept.len() >= MARKS_KEPT_MAX || self.of(&by) >= MARKS_OF_ONE_MAX {
                return;
            }
            *self.counts.entry(by).or_default() += 1;
        }
        self.kept.insert(key, Kept { mark, passed: None });
        self.is_stale = true;
    }

    fn of(&self, by: &PeerId) -> usize {
        self.counts.get(by).copied().unwrap_or_default()
    }

    fn drop_passed(&mut self, is_meant: impl Fn(&PeerId) -> bool) {
        let counts = &mut self.counts;
        self.kept.retain(|(_, by), kept| {
            let stays = kept.passed.is_none() || !is_meant(by);
            if !stays && let Some(count) = counts.get_mut(by) {
                *count = count.saturating_sub(1);
            }
            stays
        });
        counts.retain(|_, count| *count > 0);
    }

    /// Something changed that decides over whom marks go.
    pub fn touch(&mut self) {
        self.is_stale = true;
    }

    /// The ways are others: all is passed on anew that did not go to its author.
    pub fn reroute(&mut self) {
        self.is_stale = true;
        for kept in self.kept.values_mut() {
            kept.passed = kept.passed.filter(|to| *to == kept.mark.head.log.author);
        }
    }

    /// A link is gone, and with it perhaps what was passed on over it.
    pub fn on_unlink(&mut self, peer: &PeerId) {
        self.is_stale = true;
        for kept in self.kept.values_mut() {
            kept.passed = kept.passed.filter(|to| to != peer);
        }
    }

    /// To whom something is to be passed on.
    pub fn authors(&self) -> Vec<PeerId> {
        let waiting = self.kept.iter().filter(|(_, kept)| kept.passed.is_none());
        let mut authors: Vec<PeerId> = waiting.map(|((log, _), _)| log.author).collect();
        authors.dedup();
        if self.is_stale { authors } else { Vec::new() }
    }

    /// What is to be passed on: `next` says over whom an author is reached.
    pub fn due(&mut self, room: RoomId, next: impl Fn(&PeerId) -> Option<PeerId>) -> Sends {
        if !std::mem::take(&mut self.is_stale) {
            return Vec::new();
        }
        let mut ways: BTreeMap<PeerId, Option<PeerId>> = BTreeMap::new();
        let mut by_peer: BTreeMap<PeerId, Vec<Mark>> = BTreeMap::new();
        for ((log, by), kept) in self.kept.iter_mut().filter(|(_, kept)| kept.passed.is_none()) {
            let way = *ways.entry(log.author).or_insert_with(|| next(&log.author));
            if let Some(to) = way.filter(|to| to != by) {
                kept.passed = Some(to);
                by_peer.entry(to).or_default().push(kept.mark.clone());
            }
        }
        let mut sends = Vec::new();
        for (to, marks) in by_peer {
            for part in marks.chunks(MARKS_MAX) {
                sends.push((to, Frame::Marks { room, marks: part.to_vec() }));
            }
        }
        sends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, Signature};
    use crate::wire::sync::Head;

    fn peer(number: u64) -> PeerId {
        PeerId::of_rsa_spki(&number.to_be_bytes())
    }

    fn mark(by: u64, author: u64, seq: u64) -> Mark {
        let log = LogId { room: RoomId::MAIN, author: peer(author), incarnation: Incarnation(1) };
        Mark {
            by: peer(by),
            life: Incarnation(1),
            head: Head { log, seq: Seq(seq), hash: Hash::ZERO },
            signature: Signature([0; 64]),
        }
    }

    fn passed(sends: &Sends) -> Vec<(PeerId, usize)> {
        let count = |frame: &Frame| match frame {
            Frame::Marks { marks, .. } => marks.len(),
            _ => 0,
        };
        sends.iter().map(|(to, frame)| (*to, count(frame))).collect()
    }

    #[test]
    fn only_the_newest_is_passed_on_and_once() {
        let mut marks = Marks::default();
        let way = |_: &PeerId| Some(peer(7));
        assert!(marks.is_news(&mark(1, 9, 4)));
        marks.take(mark(1, 9, 4));
        assert!(!marks.is_news(&mark(1, 9, 4)) && !marks.is_news(&mark(1, 9, 3)));
        marks.take(mark(1, 9, 5));
        marks.take(mark(2, 9, 5));
        assert_eq!(passed(&marks.due(RoomId::MAIN, way)), [(peer(7), 2)]);
        marks.touch();
        assert!(marks.due(RoomId::MAIN, way).is_empty());
    }

    #[test]
    fn what_found_no_way_or_lost_it_goes_when_there_is_one() {
        let mut marks = Marks::default();
        marks.take(mark(1, 9, 4));
        assert!(marks.due(RoomId::MAIN, |_| None).is_empty());
        marks.touch();
        assert_eq!(marks.due(RoomId::MAIN, |_| Some(peer(7))).len(), 1);
        marks.on_unlink(&peer(8));
        assert!(marks.due(RoomId::MAIN, |_| Some(peer(6))).is_empty());
        marks.on_unlink(&peer(7));
        assert_eq!(passed(&marks.due(RoomId::MAIN, |_| Some(peer(6)))), [(peer(6), 1)]);
        // To its author it went for good; another way is no reason to send it again.
        marks.reroute();
        assert_eq!(passed(&marks.due(RoomId::MAIN, |_| Some(peer(9)))), [(peer(9), 1)]);
        marks.reroute();
        assert!(marks.due(RoomId::MAIN, |_| Some(peer(6))).is_empty());
        // Nobody is told what it said itself.
        marks.take(mark(6, 9, 1));
        assert!(marks.due(RoomId::MAIN, |_| Some(peer(6))).is_empty());
    }

    #[test]
    fn frames_and_what_is_kept_are_bounded() {
        let mut marks = Marks::default();
        for by in 0..700 {
            marks.take(mark(by, 9_000, 1));
        }
        let sends = marks.due(RoomId::MAIN, |_| Some(peer(8_000)));
        assert_eq!(passed(&sends).iter().map(|(_, count)| count).sum::<usize>(), 700);
        assert!(passed(&sends).iter().all(|(_, count)| *count <= MARKS_MAX));
        let many = u64::try_from(MARKS_KEPT_MAX).unwrap_or(0);
        for by in 0..many * 2 {
            marks.take(mark(by, 9_001, 1));
        }
        assert_eq!(marks.kept.len(), MARKS_KEPT_MAX);
        assert_eq!(passed(&marks.due(RoomId::MAIN, |_| None)).len(), 0);
        assert_eq!(passed(&sends)[0].0, peer(8_000));
    }

    #[test]
    fn who_says_too_much_leaves_room_for_others() {
        let mut marks = Marks::default();
        let many = u64::try_from(MARKS_OF_ONE_MAX).unwrap_or(0);
        for author in 0..many + 10 {
            marks.take(mark(1, author, 1));
        }
        assert_eq!(marks.of(&peer(1)), MARKS_OF_ONE_MAX);
        // A newer one of what is kept is no more than before.
        marks.take(mark(1, 0, 2));
        assert_eq!(marks.newest(&mark(1, 0, 2).head.log, &peer(1)), Some((Seq(2), Hash::ZERO)));
        marks.take(mark(2, 0, 1));
        assert_eq!(marks.of(&peer(2)), 1);
        // What it said last takes the place of what was passed on.
        marks.due(RoomId::MAIN, |_| Some(peer(8_000)));
        marks.take(mark(1, 9_000, 1));
        assert_eq!((marks.of(&peer(1)), marks.of(&peer(2)), marks.kept.len()), (1, 1, 2));
    }
}
