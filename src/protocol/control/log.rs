//! The control log in memory: a base of voters, the entries above it, and what is committed.
//! Owns: finding, appending and replacing entries; the voter set in force at the end.
//! Must not know: who leads, when an entry may be committed.
//! Invariants: indices without gaps, ballots never decrease, nothing committed is ever replaced.
//! Start reading at: [`Log::merge`].

use std::collections::BTreeMap;

use super::Mistakes;
use crate::ids::{Hash, Index, IntentId};
use crate::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX};
use crate::wire::control::{Entry, Payload, Position, VoterSet};

/// The log of one network as one database holds it.
#[derive(Clone, Debug)]
pub(super) struct Log {
    entries: Vec<Entry>,
    /// Of each entry; each covers all before it.
    digests: Vec<Hash>,
    commit: Index,
    /// In force before the first set of the log.
    base: VoterSet,
    /// Every set in the log: it is in force from its index on.
    sets: Vec<(Index, VoterSet)>,
    ids: BTreeMap<IntentId, Index>,
}

/// What [`Log::merge`] changed, to be repeated on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Everything from here on went.
    pub(super) cut: Option<Index>,
    /// Everything from here on is new.
    pub(super) fresh: Option<Index>,
}

impl Log {
    pub(super) fn new(base: VoterSet) -> Self {
        let (entries, digests, sets) = (Vec::new(), Vec::new(), Vec::new());
        Self { entries, digests, commit: Index(0), base, sets, ids: BTreeMap::new() }
    }

    pub(super) fn last(&self) -> Position {
        self.entries.last().map(Entry::position).unwrap_or_default()
    }

    pub(super) fn commit(&self) -> Index {
        self.commit
    }

    /// Moves the commit forward, never past the end; says whether it moved.
    pub(super) fn commit_to(&mut self, index: Index) -> bool {
        let target = index.min(self.last().index);
        let is_news = target > self.commit;
        if is_news {
            self.commit = target;
        }
        is_news
    }

    pub(super) fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The position at an index; `None` past the end.
    pub(super) fn position(&self, index: Index) -> Option<Position> {
        match index {
            Index(0) => Some(Position::ZERO),
            index => self.entry(index).map(Entry::position),
        }
    }

    /// The digest of the entry at an index; `None` past the end.
    pub(super) fn digest(&self, index: Index) -> Option<Hash> {
        let Some(place) = index.0.checked_sub(1) else { return Some(Hash::ZERO) };
        self.digests.get(usize::try_from(place).ok()?).copied()
    }

    pub(super) fn index_of(&self, id: &IntentId) -> Option<Index> {
        self.ids.get(id).copied()
    }

    /// The newest set, committed or not, and where it stands.
    pub(super) fn voters(&self) -> (Index, &VoterSet) {
        self.sets.last().map_or((Index(0), &self.base), |(index, set)| (*index, set))
    }

    /// The set before the newest; the base before the first.
    pub(super) fn voters_before(&self) -> &VoterSet {
        self.sets.iter().rev().nth(1).map_or(&self.base, |(_, set)| set)
    }

    /// The set in force right after an index.
    pub(super) fn voters_at(&self, index: Index) -> &VoterSet {
        let set = self.sets.iter().rev().find(|(from, _)| *from <= index);
        set.map_or(&self.base, |(_, set)| set)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        match &entry.payload {
            Payload::Empty => {}
            Payload::Intent { id, .. } => {
                self.ids.entry(*id).or_insert(entry.index);
            }
            Payload::Voters(set) => self.sets.push((entry.index, set.clone())),
        }
        self.digests.push(entry.digest());
        self.entries.push(entry);
    }

    fn cut(&mut self, from: Index) {
        let keep = usize::try_from(from.before().0).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
        self.digests.truncate(keep);
        self.sets.retain(|(index, _)| *index < from);
        self.ids.retain(|_, index| *index < from);
    }

    /// Entries from an index on, as many as fit one frame; at least one if there is one.
    pub(super) fn page(&self, from: Index) -> Vec<Entry> {
        let skip = usize::try_from(from.before().0).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.entries
            .iter()
            .skip(skip)
            .take(APPEND_ENTRIES_MAX)
            .take_while(|entry| {
                let is_first = bytes == 0;
                bytes += match &entry.payload {
                    Payload::Intent { bytes, .. } => bytes.len() + 1_280,
                    Payload::Empty | Payload::Voters(_) => 2_048,
                };
                is_first || bytes <= APPEND_BYTES_MAX
            })
            .cloned()
            .collect()
    }

    /// Where a log that differs from ours before `prev` may still agree with it: before our run of
    /// the ballot that stands there. Never below the commit, which all logs share.
    pub(super) fn hint(&self, prev: Index) -> Index {
        let at = prev.min(self.last().index);
        if at == prev { self.run_start(at).max(self.commit) } else { at }
    }

    /// The index before the first entry of the ballot that stands at an index.
    pub(super) fn run_start(&self, at: Index) -> Index {
        let Some(entry) = self.entry(at) else { return at };
        let start = self.entries.partition_point(|other| other.ballot < entry.ballot);
        Index(u64::try_from(start).unwrap_or(0))
    }

    /// Whether entries that follow `prev` make a log: no gap, no ballot going back.
    pub(super) fn is_run(prev: Position, entries: &[Entry]) -> bool {
        let mut before = prev;
        entries.iter().all(|entry| {
            let fits = entry.index == before.index.next() && entry.ballot >= before.ballot;
            before = entry.position();
            fits
        })
    }

    /// Takes over entries that follow `prev`, which stands in this log too. What differs goes;
    /// what is equal stays, and so does all that follows it. `None`, and nothing changes, if that
    /// would replace a committed entry.
    ///
    pub(super) fn merge(&mut self, entries: &[Entry], mistakes: Mistakes) -> Option<Merged> {
        let differs = |entry: &&Entry| match self.position(entry.index) {
            Some(own) if mistakes.term_only => own.ballot.term != entry.ballot.term,
            own if mistakes.chain_blind => own != Some(entry.position()),
            _ => self.digest(entry.index) != Some(entry.digest()),
        };
        let Some(first) = entries.iter().find(differs).map(|entry| entry.index) else {
            return Some(Merged::default());
        };
        if first <= self.commit {
            return None;
        }
        let cut = (first <= self.last().index).then_some(first);
        if cut.is_some() {
            self.cut(first);
        }
        for entry in entries.iter().filter(|entry| entry.index >= first) {
            self.push(entry.clone());
        }
        Some(Merged { cut, fresh: Some(first) })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
