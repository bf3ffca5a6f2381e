//! Searches: in steps, so that nobody waits for one but who asked, and little is held at a time.
//! Owns: what is looked through for which search, how far each is, and what is found so far.
//! Must not know: how the index is kept, how answers are shown.
//! Invariants: a step is bounded in entries and bytes; what the index lacks is looked through first, and
//! the index asked last, so what it takes in meanwhile is found all the same, and once; of what is
//! found no more is held than is asked for.
//! Start reading at: [`Member::go_on_searching`].

use std::collections::{BTreeMap, VecDeque};

use super::asked::Reader;
use super::{Context, Member};
use crate::ids::{CommandId, Hash, LogId, RoomId, Seq};
use crate::limits::SEARCHES_MAX;
use crate::protocol::{Command, Doing, MessageView, Notice, Reads, Shown, StoredEntry, Words};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};

/// Entries that are looked through one by one where the index does not reach.
const SCAN_MAX: usize = 20_000;
/// Entries of a room that are looked through in any case, however many rooms there are.
const SHARE_MIN: usize = 128;
/// Entries read at once.
const PIECE: usize = 32;
/// What may be looked through in one step: entries, and bytes of them.
const STEP_ENTRIES: usize = 512;
const STEP_BYTES: usize = 2 << 20;
/// What else a room costs, as entries.
const ROOM_COST: usize = 64;
/// Between two steps, for everything else to have its turn.
const PAUSE: Millis = Millis(1);
/// When it is first told how far a search is, and how often from then on.
const TELL_AFTER: Millis = Millis(500);
const TELL_EVERY: Millis = Millis(250);

/// Searches under way; each has a step in its turn.
#[derive(Debug, Default)]
pub(super) struct Searches {
    waiting: VecDeque<Asked>,
    next: Mono,
}

/// A search that somebody waits for.
#[derive(Debug)]
struct Asked {
    command: CommandId,
    search: Search,
    tell_at: Mono,
}

/// A search, and how far it is.
#[derive(Debug)]
pub(super) struct Search {
    words: Words,
    last: usize,
    /// Rooms that are left, and how many entries of each may be looked through.
    rooms: VecDeque<(RoomId, usize)>,
    scan: Option<Scan>,
    /// Of these rooms there is more than their share.
    cut: Vec<(RoomId, Vec<MessageView>)>,
    found: Vec<MessageView>,
    /// The share of each room of several, until all had it.
    share: Option<usize>,
    /// Entries that may be looked through beyond that.
    left: usize,
    looked: u64,
    of: u64,
}

/// A room that is looked through.
#[derive(Debug)]
struct Scan {
    room: RoomId,
    limit: usize,
    looked: usize,
    lot: Lot,
    /// The newest that were found, in the order of the room.
    found: BTreeMap<(Shown, Hash), (LogId, MessageView)>,
}

/// What of a room is looked through.
#[derive(Debug)]
enum Lot {
    /// All that the index lacks: log, the next of them, how many.
    Lacking(VecDeque<(LogId, Seq, usize)>),
    /// The newest, from here back.
    Newest(Option<StoredEntry>),
    /// Nothing is left.
    Done,
}

/// What may still be looked through in this step.
#[derive(Debug)]
struct Budget {
    entries: usize,
    bytes: usize,
}

impl Budget {
    fn of_a_step() -> Self {
        Self { entries: STEP_ENTRIES, bytes: STEP_BYTES }
    }

    fn is_spent(&self) -> bool {
        self.entries == 0 || self.bytes == 0
    }

    fn spend(&mut self, entry: &StoredEntry) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.bytes.len());
    }
}

fn long(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// How many entries of a room would be looked through, up to so many.
fn lacking(room: RoomId, limit: usize, reads: &dyn Reads) -> usize {
    let lacking = reads.lacking(room, limit);
    lacking.map_or(limit, |it| it.iter().fold(0, |sum, (_, _, count)| sum.saturating_add(*count)))
}

impl Scan {
    fn of(room: RoomId, limit: usize, reads: &dyn Reads) -> Self {
        let lot = match reads.lacking(room, limit) {
            // So many would not be the newest of them.
            Some(runs) if lacking(room, limit, reads) < limit => Lot::Lacking(runs.into()),
            _ => Lot::Newest(None),
        };
        Self { room, limit, looked: 0, lot, found: BTreeMap::new() }
    }

    /// Whether there were more than it was to look through.
    fn is_cut(&self) -> bool {
        self.looked >= self.limit
    }

    /// Looks on; whether nothing is left.
    fn go_on(
        &mut self,
        reader: &mut Reader<'_>,
        (words, last): (&Words, usize),
        budget: &mut Budget,
        reads: &dyn Reads,
    ) -> bool {
        while !budget.is_spent() {
            let page = self.page(reader, last, reads);
            if page.is_empty() {
                return true;
            }
            self.looked = self.looked.saturating_add(page.len());
            for (entry, is_fork) in page {
                budget.spend(&entry);
                self.look_at(reader, (&entry, is_fork), (words, last));
            }
        }
        false
    }

    /// The next entries; none when there are no more, or no more are wanted.
    fn page(
        &mut self,
        reader: &Reader<'_>,
        last: usize,
        reads: &dyn Reads,
    ) -> Vec<(StoredEntry, bool)> {
        let room = reader.room;
        let piece = PIECE.min(self.limit.saturating_sub(self.looked));
        match &mut self.lot {
            Lot::Lacking(runs) => {
                while let Some((log, from, count)) = runs.pop_front() {
                    let page = reads.entries(log, from, count.min(piece));
                    let rest = count.saturating_sub(page.len());
                    let Some(end) = page.last().map(|entry| entry.seq) else { continue };
                    if rest > 0 {
                        runs.push_front((log, end.next(), rest));
                    }
                    return page.into_iter().map(|it| (it, false)).collect();
                }
                Vec::new()
            }
            // They come newest first: what is older than enough is not wanted.
            Lot::Newest(_) if piece == 0 || self.found.len() >= last => Vec::new(),
            Lot::Newest(before) => {
                let page = match before {
                    Some(entry) => room.before(entry, piece, reads),
                    None => room.newest(piece, reads),
                };
                *before = page.first().map(|(entry, _)| entry.clone());
                if before.is_none() {
                    self.lot = Lot::Done;
                }
                page
            }
            Lot::Done => Vec::new(),
        }
    }

    fn look_at(
        &mut self,
        reader: &mut Reader<'_>,
        (entry, is_fork): (&StoredEntry, bool),
        (words, last): (&Words, usize),
    ) {
        if !is_fork && !reader.room.is_shown(entry) {
            return;
        }
        let Some(view) = reader.shown(entry, is_fork).filter(|it| words.matches(&it.text)) else {
            return;
        };
        let shown = Shown { lamport: entry.lamport, log: entry.log, seq: entry.seq };
        self.found.insert((shown, entry.hash), (entry.log, view));
        if self.found.len() > last {
            self.found.pop_first();
        }
    }

    /// With what the index knows: the newest, newest first, without what was deleted.
    fn finish(
        mut self,
        reader: &mut Reader<'_>,
        (words, last): (&Words, usize),
        reads: &dyn Reads,
    ) -> Vec<MessageView> {
        let indexed = reads.search(reader.room.id(), words, last);
        for (entry, is_fork) in reader.room.shown(indexed, reads) {
            self.look_at(reader, (&entry, is_fork), (words, last));
        }
        let found: Vec<(LogId, MessageView)> = self.found.into_values().rev().collect();
        let deleted = reader.deleted(&found, reads);
        let kept = found.into_iter().map(|(_, view)| view);
        kept.filter(|view| !deleted.contains(&view.id)).collect()
    }
}

/// Two lists, each newest first, as one of so many at most: each keeps its order.
fn merged(one: Vec<MessageView>, other: Vec<MessageView>, last: usize) -> Vec<MessageView> {
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    let next = std::iter::from_fn(|| match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if b.sent_at > a.sent_at => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    });
    next.take(last).collect()
}

impl Search {
    /// A room was looked through.
    fn take(&mut self, scan: Scan, reader: &mut Reader<'_>, reads: &dyn Reads) {
        let (room, looked, is_cut) = (scan.room, scan.looked, scan.is_cut());
        let found = scan.finish(reader, (&self.words, self.last), reads);
        if is_cut && self.share.is_some() {
            return self.cut.push((room, found));
        }
        self.left = self.left.saturating_sub(looked);
        self.found = merged(std::mem::take(&mut self.found), found, self.last);
    }

    /// What most leave of their share is for those that have more than it: a history that just came is
    /// all in one room. `false`: that is done.
    fn share_the_rest(&mut self, reads: &dyn Reads) -> bool {
        let Some(share) = self.share.take() else { return false };
        let more = self.left.checked_div(self.cut.len()).unwrap_or(0);
        for (room, found) in std::mem::take(&mut self.cut) {
            if more > share {
                self.of = self.of.saturating_add(long(lacking(room, more, reads)));
                self.rooms.push_back((room, more));
            } else {
                self.found = merged(std::mem::take(&mut self.found), found, self.last);
            }
        }
        true
    }
}

impl Member {
    /// The newest messages that hold these words, newest first: of a room, or of all rooms one is
    /// in, each in its order and one among the other by when they say they were sent.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`].
    pub fn search(
        &mut self,
        name: Option<&str>,
        words: &Words,
        last: usize,
        reads: &dyn Reads,
    ) -> Result<Vec<MessageView>, Refused> {
        let mut search = self.new_search(name, words, last, reads)?;
        while !self.search_step(&mut search, reads) {}
        Ok(search.found)
    }

    fn new_search(
        &mut self,
        name: Option<&str>,
        words: &Words,
        last: usize,
        reads: &dyn Reads,
    ) -> Result<Search, Refused> {
        let (rooms, limit): (Vec<RoomId>, usize) = match name {
            Some(name) => {
                let reader = self.room_called(name)?;
                (reader.iter().map(|it| it.room.id()).collect(), SCAN_MAX)
            }
            None => {
                let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
                let share = SCAN_MAX.checked_div(rooms.len()).unwrap_or(0).max(SHARE_MIN);
                (rooms, share)
            }
        };
        let of = rooms.iter().map(|room| long(lacking(*room, limit, reads)));
        Ok(Search {
            words: words.clone(),
            last,
            of: of.fold(0, u64::saturating_add),
            rooms: rooms.into_iter().map(|room| (room, limit)).collect(),
            scan: None,
            cut: Vec::new(),
            found: Vec::new(),
            share: name.is_none().then_some(limit),
            left: SCAN_MAX,
            looked: 0,
        })
    }

    /// Looks through some more; whether all is done.
    fn search_step(&mut self, search: &mut Search, reads: &dyn Reads) -> bool {
        let mut budget = Budget::of_a_step();
        while !budget.is_spent() {
            let Some(scan) = &mut search.scan else {
                match search.rooms.pop_front() {
                    Some((room, limit)) => search.scan = Some(Scan::of(room, limit, reads)),
                    None if search.share_the_rest(reads) => {}
                    None => return true,
                }
                continue;
            };
            // One may have left it meanwhile.
            let Some(mut reader) = self.reader(scan.room) else {
                search.scan = None;
                continue;
            };
            let before = scan.looked;
            let is_over = scan.go_on(&mut reader, (&search.words, search.last), &mut budget, reads);
            let looked = scan.looked.saturating_sub(before);
            search.looked = search.looked.saturating_add(long(looked));
            if is_over && let Some(scan) = search.scan.take() {
                search.take(scan, &mut reader, reads);
                budget.entries = budget.entries.saturating_sub(ROOM_COST);
            }
        }
        false
    }

    pub(super) fn on_search(&mut self, command: CommandId, asked: &Command, cx: &mut Context<'_>) {
        let Command::Search { room, words, last } = asked else { return };
        if self.searches.waiting.len() >= SEARCHES_MAX {
            return cx.fail(command, Refused::new(Refusal::TooMany, "searches are under way"));
        }
        match self.new_search(room.as_deref(), words, *last, cx.reads) {
            Ok(search) => {
                let tell_at = cx.now.mono.after(TELL_AFTER);
                self.searches.waiting.push_back(Asked { command, search, tell_at });
            }
            Err(refused) => cx.fail(command, refused),
        }
    }

    /// Goes on with the search whose turn it is.
    pub(super) fn go_on_searching(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        if self.searches.next <= now
            && let Some(mut asked) = self.searches.waiting.pop_front()
        {
            self.searches.next = now.after(PAUSE);
            let (command, search) = (asked.command, &mut asked.search);
            if self.search_step(search, cx.reads) {
                let messages = std::mem::take(&mut search.found);
                cx.notice(Notice::Found { command, messages });
            } else {
                if asked.tell_at <= now {
                    let (doing, done, of) = (Doing::Searching, search.looked, search.of);
                    cx.notice(Notice::Progress { command, doing, done, of });
                    asked.tell_at = now.after(TELL_EVERY);
                }
                self.searches.waiting.push_back(asked);
            }
        }
        if !self.searches.waiting.is_empty() {
            cx.actions.wake_by(Some(self.searches.next));
        }
    }
}
