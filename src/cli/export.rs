//! `/export`: all that a room holds, into a file, while the member runs and one talks on.
//! Owns: the thread that writes, and what is said of how far it is.
//! Must not know: how a message is read, how one is written down.
//! Invariants: one at a time, and never on the thread that shows; the file is there whole or not at
//! all; whoever ordered it is answered once.
//! Start reading at: [`Exports::start`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::args::Format;
use super::pages::{Asked, Pages};
use super::whole::WholeFile;
use super::{Answer, offline, serve};
use crate::node::Handle;
use crate::refusal::{Refusal, Refused};
use crate::text::one_line;

/// Messages that are asked for at once: few enough that nobody else waits long for the member.
const PAGE: usize = 2_000;

/// What is to be written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Export {
    pub(super) room: String,
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

/// Whose wish it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) export: Export,
    /// The command as a program wrote it.
    pub(super) line: String,
    pub(super) reference: Option<String>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) export: Export,
    pub(super) messages: u64,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many messages are read, of how many is not known yet.
    Counting(u64),
    /// So many are written, of about so many.
    Writing(u64, u64),
    /// Over.
    Over(Answer),
}

/// Where exports are ordered; its copies are the same place.
#[derive(Clone, Debug)]
pub(super) struct Exports {
    handle: Handle,
    writing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Exports {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, writing: Arc::default() }
    }

    fn writing(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one; `tell` hears of every step on another thread, and the answer is the last of
    /// them, unless it is given here.
    pub(super) fn start(
        &self,
        order: Order,
        mut tell: impl FnMut(Step) + Send + 'static,
    ) -> Option<Answer> {
        let mut writing = self.writing();
        if writing.as_ref().is_some_and(|it| !it.is_finished()) {
            let refused = Refused::new(Refusal::TooMany, "an export is being written");
            return Some(order.answer(Err(refused)));
        }
        let handle = self.handle.clone();
        let unstarted = order.clone();
        let run = move || {
            let done = serve::runtime()
                .and_then(|runtime| runtime.block_on(write(&handle, &order.export, &mut tell)));
            tell(Step::Over(order.answer(done)));
        };
        match std::thread::Builder::new().name("export".to_owned()).spawn(run) {
            Ok(thread) => {
                *writing = Some(thread);
                None
            }
            Err(error) => {
                let refused = Refused::new(Refusal::Internal, format!("no thread: {error}"));
                Some(unstarted.answer(Err(refused)))
            }
        }
    }

    /// Waits until nothing is being written any more.
    pub(super) fn finish(&self) {
        let writing = self.writing().take();
        if let Some(thread) = writing {
            // It only writes; what it had to say it has said.
            thread.join().ok();
        }
    }
}

impl Order {
    fn answer(self, done: Result<u64, Refused>) -> Answer {
        let Self { export, line, reference } = self;
        match done {
            Ok(messages) => {
                let exported = Written { export, messages };
                Answer::Exported { line, reference, exported }
            }
            Err(refused) => Answer::SlashFailed { line, reference, refused },
        }
    }
}

/// Writes it; gives how many messages there were.
async fn write(
    handle: &Handle,
    export: &Export,
    tell: &mut impl FnMut(Step),
) -> Result<u64, Refused> {
    let long = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut file = plain_file(&export.path)?;
    let teller = Asked { handle, room: &export.room };
    let counted = |pages: usize| tell(Step::Counting(long(pages.saturating_mul(PAGE))));
    let mut pages = Pages::new(teller, PAGE, counted).await?;
    let mut pen = offline::Pen::new(export.format, pages.deletions());
    let (mut messages, mut text) = (0_u64, Vec::new());
    while let Some(page) = pages.next().await? {
        pen.note(&page);
        for message in &page {
            pen.write(message, &mut text);
        }
        file.write(&text)?;
        text.clear();
        messages = messages.saturating_add(long(page.len()));
        let about = messages.saturating_add(long(pages.left().saturating_mul(PAGE)));
        tell(Step::Writing(messages, about));
    }
    file.finish()?;
    Ok(messages)
}

/// What is no plain file may keep its writer waiting for ever, and with it the end of the member.
fn plain_file(path: &Path) -> Result<WholeFile, Refused> {
    if path.metadata().is_ok_and(|it| !it.is_file()) {
        let detail = format!(
            "{}: it is no plain file; p2pgroup export --output writes into pipes and devices, too",
            path.display()
        );
        return Err(Refused::new(Refusal::FileUnwritable, detail));
    }
    WholeFile::create(path)
}

impl Export {
    /// The room, harmless.
    pub(super) fn place(&self) -> String {
        let room = one_line(&self.room);
        if room.starts_with('@') { room } else { format!("#{room}") }
    }
}

impl Written {
    /// In words, harmless.
    pub(super) fn line(&self) -> String {
        let count = offline::of(self.messages, "message", "messages");
        let path = one_line(&self.export.path.to_string_lossy());
        format!("exported {count} of {} to {path}", self.export.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody may ever read what is in a pipe.
    #[test]
    fn a_member_writes_plain_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(plain_file(&dir.path().join("new.md")).is_ok());
        for path in [dir.path(), Path::new("/dev/full")] {
            let refused = plain_file(path).unwrap_err();
            assert_eq!(refused.refusal, Refusal::FileUnwritable, "{}", path.display());
        }
    }
}
