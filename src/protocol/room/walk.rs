//! A whole room from its first entry to its last, a page at a time.
//! Owns: the merging of author logs into display order.
//! Must not know: what entries say, how many there are.
//! Invariants: the order is that of [`Room::newest`]; at most one page of each log is in memory.
//! Start reading at: [`Room::walk`].

use std::collections::{BTreeMap, VecDeque};

use super::Room;
use super::fork::place;
use crate::ids::{LogId, Seq};
use crate::protocol::{Reads, StoredEntry};

/// Entries of one log read at once.
const PAGE: usize = 128;

/// The entries of a room as they are shown, oldest first, and whether each is one of several at
/// its place.
pub struct Walk<'a> {
    room: &'a Room,
    reads: &'a dyn Reads,
    pages: BTreeMap<LogId, VecDeque<StoredEntry>>,
    /// The entries kept where logs fork, newest first.
    roots: Vec<(StoredEntry, bool)>,
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("logs", &self.pages.len()).finish_non_exhaustive()
    }
}

impl Room {
    /// All entries in display order, oldest first.
    pub fn walk<'a>(&'a self, reads: &'a dyn Reads) -> Walk<'a> {
        let mut roots = self.roots(reads);
        roots.sort_by_key(|(root, _)| std::cmp::Reverse(place(root)));
        let mut walk = Walk { room: self, reads, pages: BTreeMap::new(), roots };
        for log in self.logs.keys() {
            walk.turn(*log, Seq(1));
        }
        walk
    }
}

impl Walk<'_> {
    /// Reads a page of a log; within a log Lamport times grow, so its entries are in order.
    fn turn(&mut self, log: LogId, from: Seq) {
        let end = self.room.head(&log).seq;
        let page: VecDeque<StoredEntry> = self
            .reads
            .entries(log, from, PAGE)
            .into_iter()
            .filter(|entry| entry.seq <= end && self.room.is_shown(entry))
            .collect();
        if page.is_empty() {
            self.pages.remove(&log);
        } else {
            self.pages.insert(log, page);
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = (StoredEntry, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let fronts = self.pages.values().filter_map(VecDeque::front);
        let first = fronts.min_by_key(|entry| place(entry)).map(|entry| (place(entry), entry.log));
        let root = self.roots.last().map(|(root, _)| place(root));
        match (first, root) {
            (None, _) => self.roots.pop(),
            (Some((first, _)), Some(root)) if root < first => self.roots.pop(),
            (Some((_, log)), _) => {
                let page = self.pages.get_mut(&log)?;
                let entry = page.pop_front()?;
                if page.is_empty() {
                    self.turn(log, entry.seq.next());
                }
                Some((entry, false))
            }
        }
    }
}
