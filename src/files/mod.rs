//! The file hand: reads, seals, checks and writes files, and carries them over streams it is given.
//! Owns: one thread of its own and those that write for it, what lies in the home for files, the
//! directory for files from others.
//! Must not know: who is a member, which files there are, where a stream leads.
//! Invariants: on the node's thread bytes go from a stream to a buffer and back, nothing else; a chunk
//! leaves or is written only if its hash is that of the file; no file that is there is ever written
//! over, and no link is followed.
//! Start reading at: [`start`].
//!
//! ```text
//!  core --FileOrder--> node --Job--> this thread --FileReport--> node --> core
//!                                      │
//!   give:  read -> seal -> hash, as sent? -> stream ~~~> stream -> hash, as sent? -> open -> write
//! ```

mod disk;
mod fetch;
mod frames;
mod pen;
mod prepare;
mod seal;
mod serve;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use self::disk::Shelf;
use self::fetch::Fetching;
pub use self::frames::Task;
use crate::ids::{FileId, PeerId};
use crate::protocol::{FileOrder, FileReport, GivenFile};
use crate::time::Mono;

/// A stream to or from somebody.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A stream, whatever carries it.
pub type Stream = Box<dyn Duplex>;

/// A stream that is being opened.
pub type Opened = Pin<Box<dyn Future<Output = Option<Stream>> + Send>>;

/// What this hand works with.
pub struct Setup {
    /// Where it keeps what it must know again after a restart.
    pub shelf: PathBuf,
    /// Where files from others go.
    pub downloads: PathBuf,
    /// Opens a stream to somebody.
    pub open: Box<dyn Fn(PeerId) -> Opened + Send>,
    /// Runs something on the thread on which streams are carried.
    pub beside: Box<dyn Fn(Task) + Send>,
    /// Reads the clock.
    pub clock: Box<dyn Fn() -> Mono + Send>,
    /// Drawn for this process: where in a file to begin.
    pub start: u32,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("downloads", &self.downloads).finish_non_exhaustive()
    }
}

/// Something to do.
pub enum Job {
    /// What the core wants.
    Order(FileOrder),
    /// Somebody opened a stream.
    Serve(PeerId, Stream),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Order(order) => order.fmt(f),
            Self::Serve(peer, _) => f.debug_tuple("Serve").field(peer).finish_non_exhaustive(),
        }
    }
}

/// What all tasks of the thread share.
struct Hand {
    setup: Setup,
    shelf: Shelf,
    reports: mpsc::Sender<FileReport>,
    fetching: RefCell<BTreeMap<FileId, Rc<Fetching>>>,
    asked: RefCell<Asked>,
    serving: RefCell<BTreeMap<PeerId, usize>>,
    /// Files of which it was said that they changed.
    changed: RefCell<BTreeSet<FileId>>,
    /// How long a stream may stand still.
    idle: Duration,
}

/// Questions that wait for the core.
#[derive(Default)]
struct Asked {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Option<GivenFile>>>,
}

impl Hand {
    fn now(&self) -> Mono {
        (self.setup.clock)()
    }

    async fn report(&self, report: FileReport) {
        // Nobody reads any more: the end is near.
        let _gone = self.reports.send(report).await;
    }
}

/// Starts the thread; it ends when nobody can give it anything to do any more. What is given back
/// ends with it.
///
/// # Errors
/// What keeps a thread from being started.
pub fn start(
    setup: Setup,
    mut jobs: mpsc::Receiver<Job>,
    reports: mpsc::Sender<FileReport>,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (open, closed) = oneshot::channel::<()>();
    let run = move || {
        let _open = open;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            // For what takes long: hashing a whole file, waiting for the disk.
            .max_blocking_threads(BLOCKING_MAX)
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "files cannot be carried"),
        };
        let shelf = Shelf::new(setup.shelf.clone());
        let hand = Rc::new(Hand {
            setup,
            shelf,
            reports,
            fetching: RefCell::default(),
            asked: RefCell::default(),
            serving: RefCell::default(),
            changed: RefCell::default(),
            idle: serve::IDLE,
        });
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async {
            while let Some(job) = jobs.recv().await {
                take(&hand, job);
            }
            // How far it came is known again at the next start.
            for fetching in hand.fetching.borrow().values() {
                fetching.note();
            }
        });
        drop(tasks);
        runtime.shutdown_timeout(Duration::from_millis(200));
    };
    std::thread::Builder::new().name("files".to_owned()).spawn(run)?;
    Ok(closed)
}

fn take(hand: &Rc<Hand>, job: Job) {
    let order = match job {
        Job::Serve(from, stream) => {
            tokio::task::spawn_local(serve::serve(Rc::clone(hand), from, stream));
            return;
        }
        Job::Order(order) => order,
    };
    match order {
        FileOrder::Prepare { command, path, name, key } => {
            tokio::task::spawn_local(prepare::prepare(Rc::clone(hand), command, path, name, key));
        }
        FileOrder::Fetch { network, terms, name, sources } => {
            fetch::begin(hand, network, terms, name, &sources);
        }
        FileOrder::Sources { id, sources } => {
            if let Some(fetching) = hand.fetching.borrow().get(&id) {
                fetching.set_sources(&sources);
            }
        }
        FileOrder::Stop { id } => {
            match hand.fetching.borrow_mut().remove(&id) {
                Some(fetching) => fetching.stop(),
                None => hand.shelf.forget_part(&id),
            }
            hand.shelf.forget(&id);
        }
        FileOrder::Forget { id, path } => {
            hand.shelf.forget(&id);
            hand.shelf.forget_sent(std::path::Path::new(&path));
        }
        FileOrder::Answer { ticket, given } => {
            if let Some(waiting) = hand.asked.borrow_mut().waiting.remove(&ticket) {
                // Who asked may be gone.
                let _gone = waiting.send(given);
            }
        }
    }
}

/// Threads for what blocks.
const BLOCKING_MAX: usize = 4;
