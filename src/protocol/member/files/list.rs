//! The files that are known: under which id and by which message, and what must go when they are too many.
//! Owns: the list, how it is stored, how a file is named by its first digits.
//! Must not know: links, rooms, what is ordered of the hand.
//! Invariants: what was fetched counts for the quota until it is dropped.
//! Start reading at: [`Files`].

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{CommandId, FileId, MessageId, PeerId, RoomId};
use crate::protocol::{FileView, Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::terms::{FileState, FileTerms, FilesRule};
use crate::time::{Millis, Mono, Wall};
use crate::wire::file::StoredFile;

/// Known files, by their ids.
const STORED: &str = "files/";
/// Digits that name a file at the least.
const ID_DIGITS_MIN: usize = 4;

/// A file of which nothing came for so long makes way for another one.
pub(super) const STANDS_STILL_AFTER: Millis = Millis(10_000);

/// A file's id, and the message that brought it: who posts an id first, under another key, does not
/// stand in the way of who sent the file.
pub(super) type Key = (FileId, MessageId);

/// A file, and what is known of it beside what is stored.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) file: StoredFile,
    /// Bytes that are here.
    pub(super) have: u64,
    /// What keeps it back, or why it failed.
    pub(super) reason: Option<Refused>,
    /// Who was named as its sources; `None`: it was not ordered to be fetched.
    pub(super) sources: Option<Vec<PeerId>>,
    /// When it was ordered, or something of it came last.
    pub(super) moved: Mono,
}

impl Known {
    pub(super) fn key(&self) -> Key {
        (self.file.terms.id, self.file.message)
    }

    pub(super) fn is_running(&self) -> bool {
        self.sources.is_some()
    }

    pub(super) fn is_still(&self, now: Mono) -> bool {
        now.since(self.moved) >= STANDS_STILL_AFTER
    }

    pub(super) fn has_ended(&self, now: Wall) -> bool {
        self.file.expires_at.is_some_and(|at| at <= now)
    }

    /// What it takes of the quota.
    fn takes(&self) -> u64 {
        let is_here = self.file.state == FileState::Complete || self.is_running();
        if is_here && !self.file.is_own { self.file.terms.size } else { 0 }
    }

    pub(super) fn state(&self) -> FileState {
        match (self.file.state, &self.reason) {
            (FileState::Fetching, Some(_)) => FileState::Paused,
            // It was whole once, and somebody changed it.
            (FileState::Complete, Some(_)) => FileState::Failed,
            (state, _) => state,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::protocol::member) struct Files {
    pub(super) rule: FilesRule,
    pub(super) known: BTreeMap<Key, Known>,
    /// Being read, so that they can be sent: to which room, and for how long.
    pub(super) preparing: BTreeMap<CommandId, (String, Option<Millis>)>,
    /// Read, and not yet in a message of ours: where they lie.
    pub(super) prepared: BTreeMap<FileId, String>,
    /// Whether it was said that no more can be known.
    pub(super) is_full_told: bool,
    /// When the next one ends.
    pub(super) next_end: Option<Wall>,
}

impl Files {
    pub(in crate::protocol::member) fn load(rule: FilesRule, reads: &dyn Reads) -> Self {
        let rows = reads.settings(STORED).into_iter();
        let files = rows.filter_map(|(_, bytes)| StoredFile::decode(&bytes));
        let known = files.map(|file| {
            let have = if file.state == FileState::Complete { file.terms.size } else { 0 };
            let known = Known { file, have, reason: None, sources: None, moved: Mono(0) };
            (known.key(), known)
        });
        let known: BTreeMap<Key, Known> = known.collect();
        let next_end = known.values().filter_map(|it| it.file.expires_at).min();
        Self { rule, known, next_end, ..Self::default() }
    }

    /// Those that have ended.
    pub(super) fn ended(&self, now: Wall) -> Vec<Key> {
        self.known.values().filter(|it| it.has_ended(now)).map(Known::key).collect()
    }

    pub(super) fn used(&self) -> u64 {
        self.known.values().map(Known::takes).fold(0, u64::saturating_add)
    }

    /// All that came under this id.
    pub(super) fn of(&self, id: &FileId) -> impl Iterator<Item = &Known> {
        let all = (*id, MessageId([0; 16]))..=(*id, MessageId([u8::MAX; 16]));
        self.known.range(all).map(|(_, known)| known)
    }

    /// The one that is fetched, of those under this id.
    pub(super) fn running(&self, id: &FileId) -> Option<Key> {
        self.of(id).find(|it| it.is_running()).map(Known::key)
    }

    /// The one that is here, of those under this id.
    pub(super) fn whole(&self, id: &FileId) -> Option<Key> {
        self.of(id).find(|it| it.file.state == FileState::Complete).map(Known::key)
    }

    /// Those that are to be fetched, of those under this id.
    pub(super) fn wanted(&self, id: &FileId) -> Vec<Key> {
        let wanted = self.of(id).filter(|it| it.file.state == FileState::Fetching);
        wanted.map(Known::key).collect()
    }

    /// Whether another one under the same id needs what the hand keeps of it.
    pub(super) fn is_needed(&self, key: &Key) -> bool {
        let needs = |it: &Known| it.is_running() || it.file.state == FileState::Complete;
        self.of(&key.0).any(|it| it.key() != *key && needs(it))
    }

    /// What goes so that one more can be known; `None`: nothing of it may.
    pub(super) fn least(&self, is_for_own: bool) -> Option<Key> {
        let rank = |it: &Known| match it.file.state {
            FileState::Offered | FileState::Failed => Some((0, it.file.at.0)),
            // The one whose turn would come last.
            _ if it.is_running() => None,
            FileState::Fetching | FileState::Paused => {
                Some((1, u64::MAX.saturating_sub(it.file.at.0)))
            }
            // What was fetched lies here and counts for the quota, so it stays known.
            FileState::Complete => Some((2, it.file.at.0)).filter(|_| it.file.is_own && is_for_own),
        };
        let ranked = self.known.values().filter_map(|it| Some((rank(it)?, it.key())));
        ranked.min().map(|(_, key)| key)
    }

    /// The file whose id, or whose message's id, begins so. Where several came under one id, the one
    /// that is here, or else is most likely to be had.
    pub(super) fn called(&self, id: &str) -> Result<Key, Refused> {
        let digits = id.to_ascii_lowercase();
        let is_id =
            digits.len() >= ID_DIGITS_MIN && digits.bytes().all(|it| it.is_ascii_hexdigit());
        if !is_id {
            let why = format!("a file is named by {ID_DIGITS_MIN} or more hex digits of its id");
            return Err(Refused::new(Refusal::CommandBad, why));
        }
        let is_meant = |it: &&Known| {
            it.file.terms.id.to_string().starts_with(&digits)
                || it.file.message.to_string().starts_with(&digits)
        };
        let found: Vec<&Known> = self.known.values().filter(is_meant).collect();
        let ids: BTreeSet<FileId> = found.iter().map(|it| it.file.terms.id).collect();
        if ids.len() > 1 {
            return Err(Refused::new(Refusal::MessageAmbiguous, digits));
        }
        let rank = |it: &Known| match it.file.state {
            FileState::Complete => 0,
            _ if it.have > 0 => 1,
            FileState::Offered if !self.comes_otherwise(it) => 2,
            FileState::Fetching | FileState::Paused => 3,
            FileState::Offered | FileState::Failed => 4,
        };
        let best = found.into_iter().min_by_key(|it| (rank(it), it.file.at, it.key()));
        best.map(Known::key).ok_or_else(|| Refused::new(Refusal::FileUnknown, digits))
    }

    /// Whether the same comes, or is here, by another message.
    fn comes_otherwise(&self, known: &Known) -> bool {
        let is_same = |it: &Known| it.key() != known.key() && it.file.terms == known.file.terms;
        let comes = |it: &Known| matches!(it.file.state, FileState::Fetching | FileState::Complete);
        self.of(&known.file.terms.id).any(|it| is_same(it) && comes(it))
    }
}

pub(super) fn write(file: &StoredFile) -> Write {
    let key = format!("{STORED}{}/{}", file.terms.id, file.message);
    Write::Setting { key, value: Some(file.encode()) }
}

pub(super) fn erase((id, message): &Key) -> [Write; 2] {
    // Builds before this one stored it under its id alone.
    [format!("{STORED}{id}/{message}"), format!("{STORED}{id}")]
        .map(|key| Write::Setting { key, value: None })
}

/// As shown, but for the names of its room and of who sent it.
pub(super) fn known_view(known: &Known) -> (RoomId, PeerId, FileView) {
    let file = &known.file;
    let FileTerms { id, size, .. } = file.terms;
    let view = FileView {
        id,
        room: String::new(),
        message: file.message,
        name: file.name.clone(),
        size,
        from: String::new(),
        is_own: file.is_own,
        have: known.have,
        state: known.state(),
        reason: known.reason.clone(),
        path: (!file.path.is_empty()).then(|| file.path.clone()),
        expires_at: file.expires_at,
    };
    (file.room, file.author, view)
}
