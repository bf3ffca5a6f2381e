//! Searches: in steps, so that nobody waits for one but who asked, and little is held at a time.
//! Owns: what is looked through for which search, how far each is, and what is found so far.
//! Must not know: how the index is kept, how answers are shown.
//! Invariants: what is counted, looked through, found and looked at after it goes in pages, and a
//! step is bounded in entries, bytes and rows of the index, but for its last page; outside of that is
//! what the index does before its first row, and of a room the ends beyond gaps and the forks, which
//! are read with each page of its newest; what the index lacks is looked through first, and the index
//! asked last, so what it takes in meanwhile is found all the same, and once; of what is found no more
//! is held than is asked for, and as much again of the room looked through.
//! Start reading at: [`Member::go_on_searching`].

use std::collections::{BTreeMap, VecDeque};

use super::asked::Reader;
use super::{Context, Member};
use crate::ids::{CommandId, Hash, LogId, RoomId, Seq};
use crate::limits::{PAGE_ENTRIES_MAX, SEARCHES_MAX};
use crate::protocol::{Command, Doing, MessageView, Notice, Reads, Shown, StoredEntry, Words};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};

/// Entries that are looked through one by one where the index does not reach.
const SCAN_MAX: usize = 20_000;
/// Entries of a room that are looked through in any case, however many rooms there are.
const SHARE_MIN: usize = 128;
/// Rows of the index that are looked at for a room: they may belong to other rooms.
const ROWS_MAX: usize = 100_000;
/// Entries after those found that are looked at, in all, for whether they were deleted.
const AFTER_MAX: usize = 4_096;
/// Entries read at once …
const PIECE: usize = 32;
/// … and of those that the index found.
const HITS: usize = 256;
/// What may be looked through in one step: entries, and bytes of them.
const STEP_ENTRIES: usize = 512;
const STEP_BYTES: usize = 2 << 20;
/// What else costs as much as so many entries: a room, a question to the index, …
const ROOM_COST: usize = 16;
const QUESTION_COST: usize = 32;
/// … and so many rows of it as much as one.
const ROWS_AS_ENTRY: usize = 4;
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

/// What is searched for.
#[derive(Debug)]
struct Wanted {
    words: Words,
    last: usize,
}

/// A search, and how far it is.
#[derive(Debug)]
pub(super) struct Search {
    wanted: Wanted,
    /// Rooms of which nothing is known yet.
    uncounted: VecDeque<RoomId>,
    /// Rooms that are left, and how many entries of each the index lacks.
    rooms: VecDeque<(RoomId, usize)>,
    /// Entries of a room that may be looked through.
    limit: usize,
    scan: Option<Scan>,
    found: Vec<MessageView>,
    looked: u64,
    /// As far as it is known.
    of: u64,
}

/// A room that is looked through.
#[derive(Debug)]
struct Scan {
    room: RoomId,
    limit: usize,
    looked: usize,
    /// Of what the index found.
    hits: usize,
    lot: Lot,
    /// The newest that were found, in the order of the room.
    found: BTreeMap<(Shown, Hash), (LogId, MessageView)>,
    /// Those of them that are still there, newest first.
    kept: Vec<MessageView>,
}

/// What of a room is looked through.
#[derive(Debug)]
enum Lot {
    /// All that the index lacks: log, the next of them, how many.
    Lacking(VecDeque<(LogId, Seq, usize)>),
    /// The newest, from here back.
    Newest(Option<StoredEntry>),
    /// What the index knows, from here back, and so many rows of it.
    Indexed(Option<u64>, usize),
    /// What follows those that were found, so many entries of each; of the newest the next of them,
    /// and how many are left.
    After(usize, Option<(Seq, usize)>),
}

/// What may still be looked through in this step.
#[derive(Debug)]
struct Step {
    entries: usize,
    bytes: usize,
}

impl Step {
    fn new() -> Self {
        Self { entries: STEP_ENTRIES, bytes: STEP_BYTES }
    }

    fn is_spent(&self) -> bool {
        self.entries == 0 || self.bytes == 0
    }

    fn spend(&mut self, entry: &StoredEntry) {
        self.spend_some(1);
        self.bytes = self.bytes.saturating_sub(entry.bytes.len());
    }

    /// What costs as much as so many entries.
    fn spend_some(&mut self, count: usize) {
        self.entries = self.entries.saturating_sub(count);
    }
}

fn long(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn total(counts: impl IntoIterator<Item = usize>) -> usize {
    counts.into_iter().fold(0, usize::saturating_add)
}

/// How many entries of a room the index lacks, up to what may be looked through.
fn lacking(reader: &Reader<'_>, reads: &dyn Reads) -> usize {
    let room = reader.room;
    if let Some(runs) = reads.lacking(room.id(), SCAN_MAX) {
        return total(runs.into_iter().map(|(_, _, count)| count));
    }
    let all = room.logs().map(|log| usize::try_from(room.head(log).seq.0).unwrap_or(usize::MAX));
    total(all).min(SCAN_MAX)
}

impl Scan {
    fn of(room: RoomId, limit: usize, reads: &dyn Reads) -> Self {
        let is_all = |runs: &Vec<(LogId, Seq, usize)>| {
            total(runs.iter().map(|(_, _, count)| *count)) < limit
        };
        // So many would not be the newest of them.
        let runs = reads.lacking(room, limit).filter(is_all);
        let lot = runs.map_or(Lot::Newest(None), |runs| Lot::Lacking(runs.into()));
        Self { room, limit, looked: 0, hits: 0, lot, found: BTreeMap::new(), kept: Vec::new() }
    }

    /// Looks on; whether nothing is left.
    fn go_on(
        &mut self,
        reader: &mut Reader<'_>,
        wanted: &Wanted,
        step: &mut Step,
        reads: &dyn Reads,
    ) -> bool {
        while !step.is_spent() {
            match self.lot {
                Lot::Lacking(_) | Lot::Newest(_) => {
                    let page = self.page(reader, wanted.last, reads);
                    if page.is_empty() {
                        // What is kept where logs fork stands in no log, so in no index either.
                        for (root, is_fork) in reader.room.shown(Vec::new(), reads) {
                            self.look_at(reader, (&root, is_fork), wanted, step);
                        }
                        self.lot = Lot::Indexed(None, ROWS_MAX);
                    }
                    self.looked = self.looked.saturating_add(page.len());
                    for (entry, is_fork) in page {
                        self.look_at(reader, (&entry, is_fork), wanted, step);
                    }
                }
                Lot::Indexed(from, left) => {
                    self.ask_index(reader, wanted, (from, left), step, reads);
                }
                Lot::After(..) if self.found.is_empty() => return true,
                Lot::After(..) => self.look_after(reader, step, reads),
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
                if let Some((entry, _)) = page.first() {
                    *before = Some(entry.clone());
                }
                page
            }
            Lot::Indexed(..) | Lot::After(..) => Vec::new(),
        }
    }

    fn look_at(
        &mut self,
        reader: &mut Reader<'_>,
        (entry, is_fork): (&StoredEntry, bool),
        wanted: &Wanted,
        step: &mut Step,
    ) {
        step.spend(entry);
        if !is_fork && !reader.room.is_shown(entry) {
            return;
        }
        let view = reader.shown(entry, is_fork);
        let Some(view) = view.filter(|it| wanted.words.matches(&it.text)) else { return };
        let shown = Shown { lamport: entry.lamport, log: entry.log, seq: entry.seq };
        self.found.insert((shown, entry.hash), (entry.log, view));
        if self.found.len() > wanted.last {
            self.found.pop_first();
        }
    }

    /// Looks at the next that the index knows; once that is all, what was found is looked at again.
    fn ask_index(
        &mut self,
        reader: &mut Reader<'_>,
        wanted: &Wanted,
        (from, left): (Option<u64>, usize),
        step: &mut Step,
        reads: &dyn Reads,
    ) {
        let count = wanted.last.clamp(1, HITS);
        let hits = reads.search(self.room, &wanted.words, from, count);
        let rows = hits.looked.checked_div(ROWS_AS_ENTRY).unwrap_or(0);
        step.spend_some(QUESTION_COST.saturating_add(rows));
        self.hits = self.hits.saturating_add(hits.entries.len());
        for entry in &hits.entries {
            self.look_at(reader, (entry, false), wanted, step);
        }
        // They come newest first; which of one Lamport time are the newest is all the same.
        let oldest = self.found.first_key_value().map_or(0, |((shown, _), _)| shown.lamport);
        let is_enough = self.found.len() >= wanted.last
            && hits.entries.last().is_some_and(|entry| entry.lamport <= oldest);
        let left = left.saturating_sub(hits.looked);
        self.lot = match hits.next {
            Some(next) if left > 0 && !is_enough => Lot::Indexed(Some(next), left),
            _ => {
                let each = AFTER_MAX.checked_div(self.found.len()).unwrap_or(0);
                Lot::After(each.min(PAGE_ENTRIES_MAX), None)
            }
        };
    }

    /// Looks whether the newest of what is left was deleted, as far as is seen from it.
    fn look_after(&mut self, reader: &mut Reader<'_>, step: &mut Step, reads: &dyn Reads) {
        let Lot::After(each, next) = &mut self.lot else { return };
        let Some(newest) = self.found.last_entry() else { return };
        let (log, view) = newest.get();
        let (from, left) = next.take().unwrap_or((view.seq.next(), *each));
        let page = match left.min(PIECE) {
            0 => Vec::new(),
            count => reads.entries(*log, from, count),
        };
        step.spend_some(1);
        page.iter().for_each(|entry| step.spend(entry));
        if reader.is_deleted(view, &page) {
            newest.remove();
            return;
        }
        let left = left.saturating_sub(page.len());
        match page.last() {
            Some(entry) if left > 0 => *next = Some((entry.seq.next(), left)),
            _ => self.kept.push(newest.remove().1),
        }
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
    fn count(&mut self, reader: &Reader<'_>, step: &mut Step, reads: &dyn Reads) {
        step.spend_some(reader.room.logs().count().max(ROOM_COST));
        self.rooms.push_back((reader.room.id(), lacking(reader, reads)));
    }

    /// Each room has its share, and what most leave of theirs is for those that have more than it: a
    /// history that just came is all in one room.
    fn share_out(&mut self) {
        let share = SCAN_MAX.checked_div(self.rooms.len()).unwrap_or(0).max(SHARE_MIN);
        let counts = self.rooms.iter().map(|(_, count)| *count);
        let (few, many): (Vec<usize>, Vec<usize>) = counts.partition(|count| *count < share);
        let left = SCAN_MAX.saturating_sub(total(few));
        self.limit = left.checked_div(many.len()).unwrap_or(0).max(share);
        self.of = long(total(self.rooms.iter().map(|(_, count)| (*count).min(self.limit))));
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
        let mut search = self.new_search(name, words, last)?;
        while !self.search_step(&mut search, reads) {}
        Ok(search.found)
    }

    fn new_search(
        &mut self,
        name: Option<&str>,
        words: &Words,
        last: usize,
    ) -> Result<Search, Refused> {
        let rooms: VecDeque<RoomId> = match name {
            Some(name) => self.room_called(name)?.iter().map(|it| it.room.id()).collect(),
            None => self.talks.rooms.keys().copied().collect(),
        };
        Ok(Search {
            wanted: Wanted { words: words.clone(), last },
            uncounted: rooms,
            rooms: VecDeque::new(),
            limit: 0,
            scan: None,
            found: Vec::new(),
            looked: 0,
            of: 0,
        })
    }

    /// Looks through some more; whether all is done.
    fn search_step(&mut self, search: &mut Search, reads: &dyn Reads) -> bool {
        let mut step = Step::new();
        while !step.is_spent() {
            if let Some(room) = search.uncounted.pop_front() {
                if let Some(reader) = self.reader(room) {
                    search.count(&reader, &mut step, reads);
                }
                if search.uncounted.is_empty() {
                    search.share_out();
                }
                continue;
            }
            let Some(scan) = &mut search.scan else {
                let Some((room, _)) = search.rooms.pop_front() else { return true };
                search.scan = Some(Scan::of(room, search.limit, reads));
                step.spend_some(ROOM_COST);
                continue;
            };
            // One may have left it meanwhile.
            let Some(mut reader) = self.reader(scan.room) else {
                search.scan = None;
                continue;
            };
            let (looked, hits) = (scan.looked, scan.hits);
            let is_over = scan.go_on(&mut reader, &search.wanted, &mut step, reads);
            let looked = scan.looked.saturating_sub(looked);
            let hits = scan.hits.saturating_sub(hits);
            search.of = search.of.saturating_add(long(hits));
            search.looked = search.looked.saturating_add(long(looked.saturating_add(hits)));
            if is_over && let Some(scan) = search.scan.take() {
                let found = std::mem::take(&mut search.found);
                search.found = merged(found, scan.kept, search.wanted.last);
            }
        }
        false
    }

    pub(super) fn on_search(&mut self, command: CommandId, asked: &Command, cx: &mut Context<'_>) {
        let Command::Search { room, words, last } = asked else { return };
        if self.searches.waiting.len() >= SEARCHES_MAX {
            return cx.fail(command, Refused::new(Refusal::TooMany, "searches are under way"));
        }
        match self.new_search(room.as_deref(), words, *last) {
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
                    // More may have come meanwhile.
                    let of = of.max(done);
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
