//! One's own entries posted not long ago: for pushing without reading, for sizes and for names.
//! Owns: a bounded number of them.
//! Must not know: peers.
//! Invariants: consecutive, the newest last.
//! Start reading at: [`Recent`].

use std::collections::VecDeque;

use crate::ids::Seq;
use crate::protocol::StoredEntry;

/// Own entries kept in memory.
const RECENT_MAX: usize = 16_384;

/// The newest entries of one's own log.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    posts: VecDeque<Post>,
    /// Bytes ever posted by this process; differences of it are sizes of ranges.
    posted_bytes: u64,
}

#[derive(Clone, Debug)]
struct Post {
    entry: StoredEntry,
    /// `posted_bytes` after this entry.
    bytes_upto: u64,
}

impl Recent {
    pub(super) fn push(&mut self, entries: &[StoredEntry]) {
        for entry in entries {
            let size = u64::try_from(entry.bytes.len()).unwrap_or(u64::MAX);
            self.posted_bytes = self.posted_bytes.saturating_add(size);
            self.posts.push_back(Post { entry: entry.clone(), bytes_upto: self.posted_bytes });
        }
        while self.posts.len() > RECENT_MAX {
            self.posts.pop_front();
        }
    }

    /// The entries up to this one are read from the disk from now on.
    pub(super) fn drop_upto(&mut self, upto: Seq) {
        while self.posts.front().is_some_and(|post| post.entry.seq <= upto) {
            self.posts.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.posts.clear();
    }

    pub(super) fn at(&self, seq: Seq) -> Option<&StoredEntry> {
        self.post_at(seq).map(|post| &post.entry)
    }

    /// Entries in order from `seq` on; none if that one is not kept.
    pub(super) fn from(&self, seq: Seq) -> impl Iterator<Item = &StoredEntry> {
        let skip = self.place(seq).unwrap_or(usize::MAX);
        self.posts.iter().skip(skip).map(|post| &post.entry)
    }

    /// The size of the range `(after, upto]`, as far as it is remembered.
    pub(super) fn bytes_between(&self, after: Seq, upto: Seq) -> u64 {
        let end = self.post_at(upto).map_or(0, |post| post.bytes_upto);
        let size = |post: &Post| u64::try_from(post.entry.bytes.len()).unwrap_or(u64::MAX);
        let start = match self.post_at(after) {
            Some(post) => post.bytes_upto,
            None => self.posts.front().map_or(0, |it| it.bytes_upto.saturating_sub(size(it))),
        };
        end.saturating_sub(start)
    }

    fn post_at(&self, seq: Seq) -> Option<&Post> {
        self.posts.get(self.place(seq)?)
    }

    fn place(&self, seq: Seq) -> Option<usize> {
        let first = self.posts.front()?.entry.seq;
        let offset = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        Some(offset).filter(|offset| *offset < self.posts.len())
    }
}
