//! Forked logs: what is kept of them, the same everywhere, whichever branch came first.
//! Owns: the place of a fork, the choice of the branches kept, and how history shows them.
//! Must not know: whom a branch came from, to whom it goes.
//! Invariants: a log forks at the first place where two signed entries differ; of all entries seen
//! there those of lowest hash are kept, each with the chain to its signature (22); nothing of the
//! log beyond that place counts.
//! Start reading at: [`Room::branch`].
//!
//! ```text
//!   1 ── 2 ── 3 ── 4 ── 5*        * signed. The log forks at 4 and ends before it; of the entries
//!              └── 4' ── 5' ── 6'*  at 4 the lowest hashes are kept and shown, nothing after them
//! ```

use super::accept::{Accepted, Broken, Chain, before};
use super::{LogHead, Room};
use crate::identity::Proofs;
use crate::ids::{DeviceKey, Hash, Incarnation, LogId, PeerId, Seq};
use crate::limits::{FORK_BRANCHES_MAX, PAGE_ENTRIES_MAX};
use crate::protocol::{Reads, Shown, StoredEntry};
use crate::refusal::Refusal;
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Head, Page};

/// What is kept of a forked log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The place where the log forks.
    pub at: Seq,
    /// The hashes of the entries kept there, ascending.
    pub roots: Vec<Hash>,
}

impl Kept {
    /// What is kept of this log, if it is known to fork.
    pub fn load(log: LogId, reads: &dyn Reads) -> Option<Self> {
        Self::of(&branches(log, reads))
    }

    fn of(branches: &[Vec<StoredEntry>]) -> Option<Self> {
        let roots: Vec<&StoredEntry> = branches.iter().filter_map(|it| it.first()).collect();
        let at = roots.first()?.seq;
        Some(Self { at, roots: roots.into_iter().map(|root| root.hash).collect() })
    }

    /// What is told to be held of the log: who holds the same has the same head.
    pub fn head(&self, log: LogId) -> Head {
        let roots: Vec<&[u8]> = self.roots.iter().map(|root| root.0.as_slice()).collect();
        Head { log, seq: self.at, hash: Hash::of("p2pgroup/1 fork", &roots) }
    }
}

/// The branches kept of a forked log, by ascending hash: each from the fork to its first signature.
pub fn branches(log: LogId, reads: &dyn Reads) -> Vec<Vec<StoredEntry>> {
    let rows = reads.forks(log);
    let at = rows.iter().map(|row| row.seq).min();
    let roots = rows.iter().filter(|row| Some(row.seq) == at);
    let mut branches: Vec<Vec<StoredEntry>> = roots.map(|root| chain(root, &rows)).collect();
    branches.sort_by_key(|branch| branch.first().map(|root| root.hash));
    branches
}

/// The entries that follow this one, up to the first signature.
fn chain(root: &StoredEntry, rows: &[StoredEntry]) -> Vec<StoredEntry> {
    let mut chain = vec![root.clone()];
    while let Some(last) = chain.last().filter(|last| last.signature.is_none()) {
        let follows = |row: &&StoredEntry| {
            row.seq == last.seq.next()
                && Sealed::decode(&row.bytes).is_ok_and(|it| it.header.previous == last.hash)
        };
        let Some(next) = rows.iter().find(follows).cloned() else { break };
        chain.push(next);
    }
    chain
}

/// Entries up to the first signature.
fn upto_signed(entries: impl IntoIterator<Item = StoredEntry>) -> Vec<StoredEntry> {
    let mut upto = Vec::new();
    for entry in entries {
        let is_signed = entry.signature.is_some();
        upto.push(entry);
        if is_signed {
            break;
        }
    }
    upto
}

impl Room {
    /// What is kept of a log that is known to fork.
    pub fn kept(&self, log: &LogId) -> Option<&Kept> {
        self.forks.get(log)
    }

    /// What is told to be held of a log.
    pub fn told(&self, log: &LogId) -> Head {
        let head = self.head(log);
        let (seq, hash) = match self.end_of(log) {
            Some(end) if end.0 < head.seq => end,
            _ => (head.seq, head.hash),
        };
        let plain = Head { log: *log, seq, hash };
        self.forks.get(log).map_or(plain, |kept| kept.head(*log))
    }

    /// Whether somebody holds something else than we do where this head stands.
    pub fn differs(&self, theirs: &Head, reads: &dyn Reads) -> bool {
        let ours = self.told(&theirs.log);
        if let Some(kept) = self.forks.get(&theirs.log).filter(|kept| theirs.seq >= kept.at) {
            return *theirs != kept.head(theirs.log);
        }
        if theirs.seq == Seq(0) || theirs.seq > ours.seq {
            return false;
        }
        if theirs.seq == ours.seq {
            return theirs.hash != ours.hash;
        }
        let held = reads.entries(theirs.log, theirs.seq, 1);
        held.first().is_some_and(|entry| entry.seq == theirs.seq && entry.hash != theirs.hash)
    }

    /// Judges a page that differs from what is held, or one of a log that is closed: it may show
    /// that the log forks, that it forks earlier, or another branch.
    pub(super) fn branch(
        &mut self,
        page: &Page,
        chain: &Chain,
        (key, proofs): (&DeviceKey, &dyn Proofs),
        reads: &dyn Reads,
    ) -> Result<Accepted, Broken> {
        let signatures = self.verify_signatures(page, chain, key, proofs)?;
        let Some((first, sealed)) = chain.first() else { return Ok(Accepted::Known) };
        let kept = self.forks.get(&page.log).cloned();
        let end = kept.as_ref().map_or(self.head(&page.log).seq, |kept| kept.at.before());
        let held = reads.entries(page.log, first.seq.before().max(Seq(1)), PAGE_ENTRIES_MAX + 1);
        let held_at = |seq: Seq| held.iter().find(|it| it.seq == seq && seq <= end);
        let differs =
            |theirs: &StoredEntry| held_at(theirs.seq).is_some_and(|ours| ours.hash != theirs.hash);
        let place = chain.iter().map(|(entry, _)| entry).find(|entry| differs(entry));
        let at = match (place, &kept) {
            (Some(place), _) => place.seq,
            (None, Some(kept)) => kept.at,
            (None, None) => return Ok(Accepted::Known),
        };
        let before_it = held_at(first.seq.before());
        let joins =
            first.seq == Seq(1) || before_it.is_some_and(|it| it.hash == sealed.header.previous);
        if at == first.seq && !joins {
            return Ok(before(first.seq));
        }
        if at == first.seq && before_it.is_some_and(|it| it.lamport >= first.lamport) {
            return Err(Broken(Refusal::EntryBroken));
        }
        let signed = chain.iter().map(|(entry, _)| {
            let found = signatures.iter().find(|(seq, _)| *seq == entry.seq);
            StoredEntry { signature: found.map(|(_, it)| *it), ..entry.clone() }
        });
        let theirs = upto_signed(signed.filter(|entry| entry.seq >= at));
        let Some(root) = theirs.first().filter(|root| root.seq == at).map(|root| root.hash) else {
            return Ok(Accepted::Known);
        };
        let is_new = kept.is_none_or(|kept| kept.at != at);
        let mut all = match is_new {
            true => vec![upto_signed(reads.entries(page.log, at, PAGE_ENTRIES_MAX))],
            false => branches(page.log, reads),
        };
        Ok(self.keep(page.log, root, theirs, &mut all).map_or(Accepted::Known, |kept| {
            let entries = all.into_iter().flatten().collect();
            Accepted::Fork { at: kept.at, is_new, entries }
        }))
    }

    /// Adds a branch to those kept, if it belongs to the lowest; `None` if nothing changed.
    fn keep(
        &mut self,
        log: LogId,
        root: Hash,
        branch: Vec<StoredEntry>,
        all: &mut Vec<Vec<StoredEntry>>,
    ) -> Option<Kept> {
        let root_of = |branch: &Vec<StoredEntry>| branch.first().map(|root| root.hash);
        if all.iter().any(|known| root_of(known) == Some(root)) {
            return None;
        }
        all.push(branch);
        all.sort_by_key(root_of);
        all.truncate(FORK_BRANCHES_MAX);
        if all.iter().all(|kept| root_of(kept) != Some(root)) {
            return None;
        }
        let kept = Kept::of(all)?;
        self.forks.insert(log, kept.clone());
        let head = self.head(&log);
        self.logs.insert(log, LogHead { forked_at: Some(kept.at), ..head });
        self.revision = self.revision.saturating_add(1);
        Some(kept)
    }

    /// The newest entries as they are shown, oldest first, and whether each is one of several at
    /// its place. The same everywhere once synced: of a forked log what stands before the fork, and
    /// the branches kept there.
    pub fn newest(&self, count: usize, reads: &dyn Reads) -> Vec<(StoredEntry, bool)> {
        // So many stored entries at most are not shown.
        let hidden = self.forks.iter().map(|(log, kept)| {
            let stored = self.head(log).seq.0.saturating_sub(kept.at.before().0);
            usize::try_from(stored).unwrap_or(usize::MAX)
        });
        let cut = self.logs.iter().filter_map(|(log, head)| {
            let (end, _) = self.end_of(log)?;
            usize::try_from(head.seq.0.saturating_sub(end.0)).ok()
        });
        let hidden = hidden.chain(cut).fold(0, usize::saturating_add);
        let newest = reads.newest(self.id, count.saturating_add(hidden));
        let mut shown = self.shown(newest, reads);
        let pending = self.pending(reads);
        if !pending.is_empty() {
            shown.extend(pending.into_iter().map(|it| (it, false)));
            shown.sort_by_key(|(it, _)| place(it));
        }
        let first = shown.len().saturating_sub(count);
        shown.split_off(first)
    }
    /// The entries right before this one as they are shown, oldest first, at most `count`, and
    /// whether each is one of several at its place.
    pub fn before(
        &self,
        entry: &StoredEntry,
        count: usize,
        reads: &dyn Reads,
    ) -> Vec<(StoredEntry, bool)> {
        let mut found: Vec<(StoredEntry, bool)> = Vec::new();
        let mut oldest = entry.clone();
        let mut is_first = false;
        // What is stored and not shown must not make a page short.
        while found.len() < count && !is_first {
            let page = reads.older(self.id, shown_at(&oldest), count);
            is_first = page.len() < count;
            if let Some(first) = page.first() {
                oldest = first.clone();
            }
            found.extend(page.into_iter().filter(|it| self.is_shown(it)).map(|it| (it, false)));
        }
        let is_between = |it: &StoredEntry| {
            place(it) < place(entry) && (is_first || place(it) >= place(&oldest))
        };
        let pending = self.pending(reads).into_iter().map(|it| (it, false));
        let apart = self.roots(reads).into_iter().chain(pending);
        found.extend(apart.filter(|(it, _)| is_between(it)));
        found.sort_by_key(|(it, _)| place(it));
        let first = found.len().saturating_sub(count);
        found.split_off(first)
    }

    /// The entry that an author wrote at a place and that is meant, of whichever of its logs.
    pub fn entry_at(
        &self,
        (author, seq): (PeerId, Seq),
        is_meant: impl Fn(&StoredEntry) -> bool,
        reads: &dyn Reads,
    ) -> Option<StoredEntry> {
        let logs = self.logs.keys().filter(|log| log.author == author);
        let stored = logs.flat_map(|log| reads.entries(*log, seq, 1));
        let roots = self.roots(reads).into_iter().map(|(root, _)| root);
        let pending = self.pending(reads);
        stored
            .chain(roots)
            .chain(pending)
            .find(|it| it.log.author == author && it.seq == seq && is_meant(it))
    }

    /// Those of these entries that are shown, with the kept branches of all forked logs, in display
    /// order, and whether each is one of several at its place.
    pub fn shown(&self, entries: Vec<StoredEntry>, reads: &dyn Reads) -> Vec<(StoredEntry, bool)> {
        let entries = entries.into_iter().filter(|entry| self.is_shown(entry));
        let mut shown: Vec<_> =
            entries.map(|entry| (entry, false)).chain(self.roots(reads)).collect();
        shown.sort_by_key(|(it, _)| place(it));
        shown
    }

    /// Whether the entry stands before the fork and the cut of its log, if there are such.
    pub fn is_shown(&self, entry: &StoredEntry) -> bool {
        self.forks.get(&entry.log).is_none_or(|kept| entry.seq < kept.at) && self.counts(entry)
    }

    /// The entries kept where logs fork.
    pub(super) fn roots(&self, reads: &dyn Reads) -> Vec<(StoredEntry, bool)> {
        let kept = self.forks.keys().flat_map(|log| branches(*log, reads));
        let roots = kept.filter_map(|branch| branch.into_iter().next());
        roots.filter(|root| self.counts(root)).map(|root| (root, true)).collect()
    }
}

/// Where an entry stands in its room.
fn shown_at(entry: &StoredEntry) -> Shown {
    Shown { lamport: entry.lamport, log: entry.log, seq: entry.seq }
}

/// What entries are shown by.
pub(super) fn place(entry: &StoredEntry) -> (u64, PeerId, Incarnation, Seq, Hash) {
    (entry.lamport, entry.log.author, entry.log.incarnation, entry.seq, entry.hash)
}
