//! How a file is put together from several who have parts of it: who is asked for which chunk.
//! Owns: what is missing, what was asked of whom, and when somebody is too slow.
//! Must not know: streams, disks, keys, what a chunk holds.
//! Invariants: of each source no more is asked than its window holds; a chunk counts once; who gave
//! something wrong is asked for nothing more.
//! Start reading at: [`Fetch::ask`].
//!
//! Everybody begins at another place, so that those who fetch at the same time soon have what the
//! others lack, and the one who sent the file sends each part about once.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::PeerId;
use crate::limits::{FILE_WINDOW_BYTES, FILE_WINDOW_BYTES_MAX};
use crate::terms::FileTerms;
use crate::time::{Millis, Mono};
use crate::wire::file::Chunks;

/// Nothing came for so long from one who was asked: the chunks are asked of others.
const PATIENCE: Millis = Millis(15_000);
/// At the end, with nothing left to ask for, a chunk that is late is asked of a second one.
const LATE: Millis = Millis(2_000);
/// Who gives a chunk so soon after it was asked for may be asked for more at once.
const QUICK: Millis = Millis(250);
/// How long one who had nothing is left alone, at first and at most.
const WAIT_MIN: Millis = Millis(500);
const WAIT_MAX: Millis = Millis(30_000);

/// A file that is being fetched.
#[derive(Debug)]
pub struct Fetch {
    terms: FileTerms,
    held: Chunks,
    /// Neither held nor asked for.
    missing: BTreeSet<u32>,
    start: u32,
    sources: BTreeMap<PeerId, Source>,
}

/// One who may have it.
#[derive(Debug, Default)]
struct Source {
    has: Option<Chunks>,
    asked: BTreeMap<u32, Mono>,
    /// Bytes that may be asked for and not here, if that is more than anybody's.
    window: u32,
    /// When something came, or was first asked for.
    heard: Mono,
    is_open: bool,
    is_bad: bool,
    wait: Millis,
    again: Mono,
}

/// What a chunk that came is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is missing here.
    Wanted,
    /// It is here already.
    Known,
    /// Nobody asked for it.
    Unasked,
}

impl Fetch {
    /// What is held of it already counts; `start` is where to begin.
    pub fn new(terms: FileTerms, held: Chunks, start: u32) -> Self {
        let count = terms.chunks();
        let missing = (0..count).filter(|index| !held.has(*index)).collect();
        let start = start.checked_rem(count).unwrap_or(0);
        Self { terms, held, missing, start, sources: BTreeMap::new() }
    }

    /// Who may have it, all of them: who is not among them any more is forgotten.
    pub fn set_sources(&mut self, peers: &[PeerId]) {
        let gone: Vec<PeerId> =
            self.sources.keys().filter(|peer| !peers.contains(peer)).copied().collect();
        for peer in gone {
            self.free(&peer);
            self.sources.remove(&peer);
        }
        for peer in peers {
            self.sources.entry(*peer).or_default();
        }
    }

    /// Who may have it.
    pub fn sources(&self) -> Vec<PeerId> {
        self.sources.keys().copied().collect()
    }

    /// Whom to open a stream to, at most so many at once.
    pub fn to_open(&self, most: usize, now: Mono) -> Vec<PeerId> {
        let open = self.sources.values().filter(|it| it.is_open).count();
        let may = |it: &Source| !it.is_open && !it.is_bad && it.again <= now;
        let waiting = self.sources.iter().filter(|(_, it)| may(it)).map(|(peer, _)| *peer);
        // Who was tried least comes first.
        let mut waiting: Vec<PeerId> = waiting.collect();
        waiting.sort_by_key(|peer| self.sources.get(peer).map(|it| it.wait));
        waiting.truncate(most.saturating_sub(open));
        waiting
    }

    /// When somebody may be tried again.
    pub fn next_try(&self) -> Option<Mono> {
        let may = |it: &&Source| !it.is_open && !it.is_bad;
        self.sources.values().filter(may).map(|it| it.again).min()
    }

    /// A stream to it is being opened.
    pub fn opened(&mut self, peer: PeerId, now: Mono) {
        let source = self.sources.entry(peer).or_default();
        source.is_open = true;
        source.heard = now;
    }

    /// The stream to it is over.
    pub fn closed(&mut self, peer: &PeerId, now: Mono) {
        self.free(peer);
        if let Some(source) = self.sources.get_mut(peer) {
            source.is_open = false;
            source.has = None;
            source.wait = Millis(source.wait.0.saturating_mul(2)).max(WAIT_MIN).min(WAIT_MAX);
            source.again = now.after(source.wait);
        }
    }

    /// It says which chunks it has.
    pub fn has(&mut self, peer: &PeerId, chunks: Chunks) {
        if let Some(source) = self.sources.get_mut(peer)
            && chunks.count() == self.held.count()
        {
            source.has = Some(chunks);
        }
    }

    /// It gave what does not belong to the file, or has another one: it is asked no more.
    pub fn is_bad(&mut self, peer: &PeerId) {
        self.free(peer);
        if let Some(source) = self.sources.get_mut(peer) {
            source.is_bad = true;
        }
    }

    /// Whether all who may have it are of no use.
    pub fn is_hopeless(&self) -> bool {
        !self.sources.is_empty() && self.sources.values().all(|source| source.is_bad)
    }

    fn free(&mut self, peer: &PeerId) {
        let Some(source) = self.sources.get_mut(peer) else { return };
        for index in std::mem::take(&mut source.asked).into_keys() {
            let elsewhere = self.sources.values().any(|it| it.asked.contains_key(&index));
            if !elsewhere && !self.held.has(index) {
                self.missing.insert(index);
            }
        }
    }

    /// What to ask of it now: as much as its window holds.
    pub fn ask(&mut self, peer: &PeerId, now: Mono) -> Vec<u32> {
        let Some(source) = self.sources.get(peer).filter(|it| it.is_open && !it.is_bad) else {
            return Vec::new();
        };
        let Some(has) = source.has.as_ref() else { return Vec::new() };
        // At least two, so that one is on its way while the other is written.
        let window = source.window.max(FILE_WINDOW_BYTES) / self.terms.chunk.max(1);
        let window = window.max(2);
        let window = usize::try_from(window).unwrap_or(2);
        // Asked for in halves of a window: fewer frames.
        if source.asked.len() > window / 2 {
            return Vec::new();
        }
        let room = window.saturating_sub(source.asked.len());
        let in_turn = self.missing.range(self.start..).chain(self.missing.range(..self.start));
        let mut wanted: Vec<u32> = in_turn.copied().filter(|it| has.has(*it)).take(room).collect();
        if wanted.is_empty() && self.missing.is_empty() {
            let others = self.sources.iter().filter(|(other, _)| *other != peer);
            let late = others.flat_map(|(_, it)| &it.asked).filter(|(index, at)| {
                now.since(**at) >= LATE && has.has(**index) && !source.asked.contains_key(index)
            });
            wanted = late.map(|(index, _)| *index).take(room).collect();
            wanted.sort_unstable();
            wanted.dedup();
        }
        for index in &wanted {
            self.missing.remove(index);
        }
        if let Some(source) = self.sources.get_mut(peer) {
            if source.asked.is_empty() {
                source.heard = now;
            }
            source.asked.extend(wanted.iter().map(|index| (*index, now)));
        }
        wanted
    }

    /// A chunk came from it.
    pub fn came(&mut self, peer: &PeerId, index: u32, now: Mono) -> Came {
        let Some(source) = self.sources.get_mut(peer) else { return Came::Unasked };
        let Some(asked) = source.asked.remove(&index) else { return Came::Unasked };
        source.heard = now;
        let window = source.window.max(FILE_WINDOW_BYTES);
        source.window = match now.since(asked) {
            took if took <= QUICK => window.saturating_add(self.terms.chunk),
            took if took >= LATE => window / 2,
            _ => window,
        };
        source.window = source.window.min(FILE_WINDOW_BYTES_MAX);
        if self.held.has(index) { Came::Known } else { Came::Wanted }
    }

    /// A chunk that came is not the right one, or could not be stored: it is missing again.
    pub fn lost(&mut self, index: u32) {
        let elsewhere = self.sources.values().any(|it| it.asked.contains_key(&index));
        if !self.held.has(index) && !elsewhere {
            self.missing.insert(index);
        }
    }

    /// A chunk is stored.
    pub fn stored(&mut self, peer: &PeerId, index: u32) {
        self.held.add(index);
        self.missing.remove(&index);
        if let Some(source) = self.sources.get_mut(peer) {
            source.wait = Millis(0);
        }
    }

    /// Nothing of it is here any more: all of it is missing, but for what is on its way.
    pub fn restart(&mut self) {
        let asked: BTreeSet<u32> =
            self.sources.values().flat_map(|it| it.asked.keys().copied()).collect();
        self.held = Chunks::none(self.terms.chunks());
        self.missing = (0..self.terms.chunks()).filter(|index| !asked.contains(index)).collect();
    }

    /// When it must have given something; `None`: nothing is asked of it.
    pub fn due(&self, peer: &PeerId) -> Option<Mono> {
        let source = self.sources.get(peer)?;
        let waits = !source.asked.is_empty() || source.has.is_none();
        waits.then(|| source.heard.after(PATIENCE))
    }

    /// When a late chunk may be asked of it, too.
    pub fn next_late(&self, peer: &PeerId) -> Option<Mono> {
        let source = self.sources.get(peer)?;
        if !self.missing.is_empty() || !source.asked.is_empty() {
            return None;
        }
        let others = self.sources.iter().filter(|(other, _)| *other != peer);
        others.flat_map(|(_, it)| it.asked.values()).min().map(|at| at.after(LATE))
    }

    /// What is held.
    pub fn held(&self) -> &Chunks {
        &self.held
    }

    /// Its terms.
    pub fn terms(&self) -> &FileTerms {
        &self.terms
    }

    /// The bytes that are held.
    pub fn bytes(&self) -> u64 {
        if self.held.is_whole() {
            return self.terms.size;
        }
        let last = self.terms.chunks().saturating_sub(1);
        let whole = u64::from(self.held.held()).saturating_mul(u64::from(self.terms.chunk));
        let short = self.terms.chunk.saturating_sub(self.terms.length(last));
        if self.held.has(last) { whole.saturating_sub(u64::from(short)) } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, FileId};
    use crate::terms::FileKey;

    const CHUNK: u64 = 256 << 10;

    fn peer(n: u8) -> PeerId {
        PeerId::of_ed25519(&DeviceKey([n; 32]))
    }

    fn fetch(count: u32, start: u32) -> Fetch {
        let terms = FileTerms {
            id: FileId([0; 32]),
            key: FileKey([0; 32]),
            size: u64::from(count) * CHUNK - 1,
            chunk: 256 << 10,
        };
        Fetch::new(terms, Chunks::none(count), start)
    }

    fn with(count: u32, peers: &[u8]) -> Fetch {
        let mut fetch = fetch(count, 0);
        let peers: Vec<PeerId> = peers.iter().map(|n| peer(*n)).collect();
        fetch.set_sources(&peers);
        for peer in peers {
            fetch.opened(peer, Mono(0));
            fetch.has(&peer, Chunks::all(count));
        }
        fetch
    }

    #[test]
    fn who_is_quick_is_asked_for_more_at_once_and_who_is_late_for_less_again() {
        let mut fetch = with(400, &[1]);
        let one = peer(1);
        let mut now = Mono(0);
        let mut most = Vec::new();
        for round in 0..40_u64 {
            let asked = fetch.ask(&one, now);
            most.push(asked.len());
            now = now.after(if round < 30 { QUICK } else { LATE });
            for index in asked {
                assert_eq!(fetch.came(&one, index, now), Came::Wanted);
                // Wrong each time, so that there is always more.
                fetch.lost(index);
            }
        }
        assert_eq!((most[0], most[1], most[2], most[29]), (8, 16, 32, 32));
        assert_eq!(most[39], 8);
        // In between nothing changes.
        let asked = fetch.ask(&one, now);
        now = now.after(Millis(QUICK.0 + 1));
        for index in asked {
            assert_eq!(fetch.came(&one, index, now), Came::Wanted);
        }
        assert_eq!(fetch.ask(&one, now).len(), 8);
    }

    #[test]
    fn each_chunk_is_asked_of_one_and_no_more_than_a_window_of_anybody() {
        let mut fetch = with(20, &[1, 2]);
        assert_eq!(fetch.ask(&peer(1), Mono(0)), (0..8).collect::<Vec<_>>());
        assert_eq!(fetch.ask(&peer(2), Mono(0)), (8..16).collect::<Vec<_>>());
        assert!(fetch.ask(&peer(1), Mono(0)).is_empty(), "its window is full");
        for index in 0..8 {
            assert_eq!(fetch.came(&peer(1), index, Mono(1)), Came::Wanted);
            fetch.stored(&peer(1), index);
        }
        assert_eq!(fetch.ask(&peer(1), Mono(1)), [16, 17, 18, 19]);
        assert_eq!(fetch.came(&peer(1), 3, Mono(1)), Came::Unasked, "it was not asked again");
        assert_eq!(fetch.bytes(), 8 * CHUNK);
    }

    #[test]
    fn what_one_does_not_give_is_asked_of_another() {
        let mut fetch = with(8, &[1, 2]);
        assert_eq!(fetch.ask(&peer(1), Mono(0)).len(), 8);
        assert!(fetch.ask(&peer(2), Mono(0)).is_empty());
        assert_eq!(fetch.due(&peer(1)), Some(Mono(PATIENCE.0)));
        assert_eq!(fetch.due(&peer(2)), None);
        fetch.closed(&peer(1), Mono(5));
        assert_eq!(fetch.ask(&peer(2), Mono(5)).len(), 8);
        assert!(fetch.to_open(8, Mono(5)).is_empty(), "it is left alone for a while");
        assert_eq!(fetch.to_open(8, Mono(505)), [peer(1)]);
        assert_eq!(fetch.next_try(), Some(Mono(505)));
    }

    #[test]
    fn who_gives_a_wrong_chunk_is_asked_no_more_and_the_chunk_is_asked_elsewhere() {
        let mut fetch = with(4, &[1, 2]);
        assert_eq!(fetch.ask(&peer(1), Mono(0)), [0, 1, 2, 3]);
        assert_eq!(fetch.came(&peer(1), 0, Mono(1)), Came::Wanted);
        fetch.lost(0);
        fetch.is_bad(&peer(1));
        assert!(fetch.ask(&peer(1), Mono(1)).is_empty());
        assert_eq!(fetch.ask(&peer(2), Mono(1)), [0, 1, 2, 3]);
        assert!(!fetch.is_hopeless());
        fetch.is_bad(&peer(2));
        assert!(fetch.is_hopeless());
        fetch.set_sources(&[peer(2), peer(3)]);
        assert!(!fetch.is_hopeless(), "somebody else may have it");
    }

    #[test]
    fn a_part_is_asked_only_of_who_has_it_and_everybody_begins_elsewhere() {
        let mut fetch = fetch(6, 10);
        fetch.set_sources(&[peer(1), peer(2)]);
        let mut part = Chunks::none(6);
        part.add(1);
        for (who, chunks) in [(1, part), (2, Chunks::all(6))] {
            fetch.opened(peer(who), Mono(0));
            assert!(fetch.ask(&peer(who), Mono(0)).is_empty(), "it did not say yet what it has");
            fetch.has(&peer(who), chunks);
        }
        assert_eq!(fetch.ask(&peer(1), Mono(0)), [1]);
        assert_eq!(fetch.ask(&peer(2), Mono(0)), [4, 5, 0, 2, 3]);
        fetch.has(&peer(2), Chunks::all(7));
        assert_eq!(fetch.held().count(), 6, "what speaks of another file is not heard");
    }

    #[test]
    fn at_the_end_a_late_chunk_is_asked_of_a_second_one_and_counts_once() {
        let mut fetch = with(2, &[1, 2]);
        assert_eq!(fetch.ask(&peer(1), Mono(0)), [0, 1]);
        assert_eq!(fetch.next_late(&peer(2)), Some(Mono(LATE.0)));
        assert!(fetch.ask(&peer(2), Mono(LATE.0 - 1)).is_empty());
        assert_eq!(fetch.ask(&peer(2), Mono(LATE.0)), [0, 1]);
        assert_eq!(fetch.came(&peer(2), 0, Mono(LATE.0)), Came::Wanted);
        fetch.stored(&peer(2), 0);
        assert_eq!(fetch.came(&peer(1), 0, Mono(LATE.0)), Came::Known);
        fetch.closed(&peer(2), Mono(LATE.0));
        assert!(fetch.ask(&peer(2), Mono(LATE.0)).is_empty(), "it is not open");
        assert_eq!(fetch.came(&peer(1), 1, Mono(LATE.0)), Came::Wanted);
        fetch.stored(&peer(1), 1);
        assert!(fetch.held().is_whole());
        assert_eq!(fetch.bytes(), 2 * CHUNK - 1);
    }

    #[test]
    fn what_was_lost_as_a_whole_is_asked_for_again() {
        let mut fetch = with(3, &[1, 2]);
        assert_eq!(fetch.ask(&peer(1), Mono(0)), [0, 1, 2]);
        for index in 0..2 {
            fetch.came(&peer(1), index, Mono(1));
            fetch.stored(&peer(1), index);
        }
        fetch.restart();
        assert_eq!(fetch.bytes(), 0);
        assert_eq!(fetch.ask(&peer(2), Mono(1)), [0, 1], "one is on its way");
        assert_eq!(fetch.came(&peer(1), 2, Mono(1)), Came::Wanted);
    }

    #[test]
    fn what_is_held_at_the_start_is_not_asked_for() {
        let mut held = Chunks::none(3);
        held.add(2);
        let terms = fetch(3, 0).terms.clone();
        let mut fetch = Fetch::new(terms, held, 0);
        assert_eq!(fetch.bytes(), CHUNK - 1, "the last one is short");
        fetch.set_sources(&[peer(1)]);
        fetch.opened(peer(1), Mono(0));
        fetch.has(&peer(1), Chunks::all(3));
        assert_eq!(fetch.ask(&peer(1), Mono(0)), [0, 1]);
    }
}
