//! Files on their way: those that come, and those that are read before they are sent.
//! Owns: how far each is, and when that is worth a word.
//! Must not know: how a file is carried, keys.
//! Invariants: in its first second nothing is shown of a file; what has come, stopped or failed is no
//! longer on its way; names are made harmless.
//! Start reading at: [`Transfers::line`].

use std::collections::BTreeMap;

use super::cells::clip;
use super::state::{SLOW, State};
use crate::ids::{CommandId, FileId};
use crate::protocol::{Command, FileCommand, FileView, Notice};
use crate::terms::FileState;
use crate::text::{bar, one_line};
use crate::time::{Mono, Now};

/// Columns that a name takes at most.
const NAME: usize = 20;

/// A file that comes.
#[derive(Debug)]
struct Coming {
    name: String,
    have: u64,
    size: u64,
    since: Mono,
}

/// A file that is read, so that it can be sent.
#[derive(Debug)]
struct Reading {
    name: String,
    since: Mono,
    /// Bytes that were read, of how many.
    share: Option<(u64, u64)>,
}

impl Reading {
    fn words(&self, now: Now) -> String {
        match self.share {
            Some((done, of)) => format!("reading {} {}", self.name, bar(done, of)),
            None => {
                let seconds = now.mono.since(self.since).0 / SLOW.0;
                format!("reading {}… {seconds} s", self.name)
            }
        }
    }
}

/// Files on their way.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    coming: BTreeMap<FileId, Coming>,
    reading: BTreeMap<CommandId, Reading>,
    /// As it is shown.
    shown: Option<String>,
}

impl Transfers {
    /// How far they are: a bar, and its share of what comes.
    pub(super) fn line(&self) -> Option<&str> {
        self.shown.as_deref()
    }

    fn words(&self, now: Now) -> Option<String> {
        let is_slow = |since: Mono| now.mono.since(since) >= SLOW;
        let coming: Vec<&Coming> = self.coming.values().filter(|it| is_slow(it.since)).collect();
        let sum =
            |of: fn(&Coming) -> u64| coming.iter().map(|it| of(it)).fold(0, u64::saturating_add);
        let bar = bar(sum(|it| it.have), sum(|it| it.size));
        match (coming.as_slice(), self.reading.values().find(|it| is_slow(it.since))) {
            ([], None) => None,
            ([], Some(reading)) => Some(reading.words(now)),
            ([one], _) => Some(format!("fetching {} {bar}", one.name)),
            (several, _) => Some(format!("fetching {} files {bar}", several.len())),
        }
    }

    /// When something is to be shown that is not yet.
    pub(super) fn wake_at(&self, now: Now) -> Option<Mono> {
        let coming = self.coming.values().map(|it| it.since.after(SLOW));
        let coming = coming.filter(|at| *at > now.mono).min();
        // Of one that is read, the seconds are counted.
        let reading = self.reading.values().map(|it| {
            let whole = now.mono.since(it.since).0 / SLOW.0;
            it.since.after(crate::time::Millis(whole.saturating_add(1).saturating_mul(SLOW.0)))
        });
        reading.chain(coming).min()
    }
}

fn shown_name(name: &str) -> String {
    clip(&one_line(name), NAME)
}

impl State {
    /// What is said of a file; whether that is a bar's matter, and needs no words.
    pub(super) fn on_file(&mut self, file: &FileView, is_asked: bool, now: Now) -> bool {
        let is_coming = file.state == FileState::Fetching && !file.is_own;
        if is_coming {
            let new = || Coming {
                name: shown_name(&file.name),
                have: 0,
                size: file.size,
                since: now.mono,
            };
            let coming = self.transfers.coming.entry(file.id).or_insert_with(new);
            coming.have = file.have;
        } else {
            self.transfers.coming.remove(&file.id);
        }
        is_coming && !is_asked
    }

    /// A command is handed over: one that sends a file has it read first.
    pub(super) fn note_reading(&mut self, number: CommandId, command: &Command, now: Now) {
        if let Command::File(FileCommand::Send { path, name, .. }) = command {
            let last = path.rsplit('/').next().unwrap_or_default();
            let name = shown_name(if name.is_empty() { last } else { name });
            self.transfers.reading.insert(number, Reading { name, since: now.mono, share: None });
        }
    }

    /// So much of one was read.
    pub(super) fn note_share(&mut self, number: CommandId, share: (u64, u64)) {
        if let Some(reading) = self.transfers.reading.get_mut(&number) {
            reading.share = Some(share);
        }
    }

    /// Whatever answers it, it was read, or could not be.
    pub(super) fn note_read(&mut self, notice: &Notice) {
        if let Some(number) = notice.command() {
            self.transfers.reading.remove(&number);
        }
    }

    pub(super) fn look_at_transfers(&mut self, now: Now) {
        let shown = self.transfers.words(now);
        self.is_dirty |= self.transfers.shown != shown;
        self.transfers.shown = shown;
        self.due.transfers = self.transfers.wake_at(now);
    }
}
