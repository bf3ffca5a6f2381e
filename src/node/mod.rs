//! A running role, as its faces see it: commands in, notices out.
//! Owns: the handle.
//! Must not know: what a command means.
//! Invariants: every queue is bounded; a face that lags slows only itself.
//! Start reading at: [`Node`].

pub mod backup;
mod builder;
pub mod clock;
pub mod demo;
mod driver;
mod embedded;
mod files;
mod follow;
mod hub;
mod invited;
mod keys;
#[cfg(unix)]
mod local;
pub mod mirror;
pub mod offline;
pub mod operator;
mod pace;
pub mod passphrase;
mod quick;
mod start;
mod unsynced;

pub use builder::Builder;
pub use clock::wall;
pub use follow::{Follow, Followed};
pub use hub::{Events, Face, Handle, Lagged, Told, is_of_main};
pub use invited::Invite;
pub use keys::secret;
#[cfg(unix)]
pub use local::local_socket;
pub use quick::Show;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc, oneshot};

use crate::config::{Config, TimerSettings};
use crate::ids::CommandId;
use crate::limits::LEAVE_DEADLINE;
use crate::protocol::{Command, Notice, Timers};
use crate::refusal::Refused;

use self::embedded::Embedded;
use self::hub::Life;
use self::passphrase::Passphrase;
use self::quick::Quick;

/// Which role to run.
#[derive(Clone, Debug)]
pub enum Role {
    /// `p2pgroup join`.
    Member {
        /// The name to be known by.
        name: String,
        /// Whether a person can be asked about an authority not seen before.
        can_ask: bool,
        /// What brings it in, where it is new.
        invite: Option<Invite>,
        /// What its home is under, or will be if it is new.
        passphrase: Option<Passphrase>,
    },
    /// `p2pgroup bootstrap`.
    Bootstrap,
    /// `p2pgroup keyauth`.
    Authority,
}

impl Role {
    fn passphrase(&self) -> Option<&Passphrase> {
        match self {
            Self::Member { passphrase, .. } => passphrase.as_ref(),
            // Servers start by themselves, with nobody there to type.
            Self::Bootstrap | Self::Authority => None,
        }
    }
}

/// A running role, and its main face: whoever reads [`Node::notice`] holds the role back by not
/// reading. Any number of other faces ask and listen by a [`Handle`].
///
/// A program that only wants a member starts one with [`Node::builder`].
#[derive(Debug)]
pub struct Node {
    input: Input,
    life: Life,
    notices: mpsc::Receiver<Notice>,
    quick: Arc<Quick>,
    /// Notices of the queue that were given out and are not said to be shown.
    given: usize,
    /// Ends with the thread of the core: by then the database is closed and the home is free.
    closed: Option<oneshot::Receiver<()>>,
    /// Stops it where it stands.
    halt: oneshot::Sender<()>,
    /// The last notice, kept while what it speaks of is being closed.
    last: Option<Notice>,
    embedded: Option<Hosting>,
}

/// Embedded roles beside a member, and what they have to say.
#[derive(Debug)]
struct Hosting {
    embedded: Embedded,
    infos: mpsc::Receiver<Notice>,
}

impl Node {
    /// Opens the home, starts the threads, returns at once; progress comes as notices.
    ///
    /// # Refusals
    /// Whatever keeps the home, the store or the sockets from opening.
    pub async fn start(role: Role, config: Config) -> Result<Self, Refused> {
        let config = match &role {
            Role::Member { invite: Some(_), .. } => {
                Config { embedded: config.embedded && invited::hosts(&config), ..config }
            }
            Role::Member { invite: None, .. } => invited::recall(config),
            Role::Bootstrap | Role::Authority => config,
        };
        if !matches!(role, Role::Member { .. }) || !config.embedded {
            return start::start(role, config).await;
        }
        let (sender, infos) = mpsc::channel(16);
        let mut embedded = Embedded::host(config.clone(), sender).await;
        match start::start(role, config).await {
            Ok(node) => Ok(Self { embedded: Some(Hosting { embedded, infos }), ..node }),
            Err(refused) => {
                embedded.end().await;
                Err(refused)
            }
        }
    }

    /// For a member within another program.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// For faces beside the main one.
    pub fn handle(&self) -> Handle {
        Handle::new(self.input.clone(), self.life.0.clone())
    }

    /// Ends it as kill -9 would: in the middle of what it does, with no farewell and nothing handed
    /// over; what was not committed is lost. Afterwards its home is free.
    pub async fn kill(mut self) {
        // It may have ended by itself.
        self.halt.send(()).ok();
        if let Some(closed) = self.closed.take() {
            closed.await.ok();
        }
    }

    /// Leaves as if asked to, unheard: for who finds after the start that it cannot go on. Whoever
    /// just left the process would pull the database's library from under the thread of the core.
    /// Whatever blocks, it takes no longer than [`LEAVE_DEADLINE`].
    pub async fn leave(mut self) {
        self.input.leave();
        let ended = async { while self.notice().await.is_some() {} };
        let deadline = std::time::Duration::from_millis(LEAVE_DEADLINE.0);
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("the node does not end");
        }
    }

    /// Where commands go in; may be cloned and used from other threads.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Hands over a command; waits while the node takes none (flow control). `None`: it has ended.
    pub async fn command(&self, command: Command) -> Option<CommandId> {
        self.input.command(command).await
    }

    /// Lets notices go the short way: those that come alone are handed to `show` on the node's own
    /// thread, and to [`Node::notice`] if it gives them back. It must not block. From then on
    /// [`Node::shown`] says when what went the long way is shown.
    pub fn show_quickly(&self, show: Show) {
        self.quick.set(show);
    }

    /// Everything that [`Node::notice`] gave out is shown.
    pub fn shown(&mut self) {
        self.quick.shown(std::mem::take(&mut self.given));
    }

    /// The next notice; `None` after the last. Cancel safe.
    ///
    /// Before the last one, all threads have ended: whoever leaves the process while the database
    /// is being closed pulls its library from under it.
    pub async fn notice(&mut self) -> Option<Notice> {
        if self.last.is_none() && self.closed.is_some() {
            let notice = match self.embedded.as_mut() {
                None => self.notices.recv().await,
                Some(hosting) => tokio::select! {
                    notice = self.notices.recv() => notice,
                    Some(info) = hosting.infos.recv() => return Some(info),
                },
            };
            self.given = self.given.saturating_add(usize::from(notice.is_some()));
            match notice {
                Some(Notice::Exited) => self.last = notice,
                None => {}
                Some(_) => return notice,
            }
        }
        if let Some(closed) = self.closed.as_mut() {
            // An error is the end, too: nothing is ever sent.
            closed.await.ok();
            self.closed = None;
        }
        if let Some(hosting) = self.embedded.as_mut() {
            hosting.embedded.end().await;
            self.embedded = None;
        }
        self.life.0.close_all();
        self.last.take()
    }
}

/// Commands with their numbers, in the order they take effect.
pub type Batch = Vec<(CommandId, Command)>;

/// How commands reach a running role: bounded, in order, and waiting while the role takes none.
#[derive(Clone, Debug)]
pub struct Input {
    /// The face whose numbers it gives; 0 is the main one.
    face: u16,
    numbers: Arc<AtomicU64>,
    queue: mpsc::Sender<Batch>,
    leave: Arc<Notify>,
}

impl Input {
    /// The way in, the queue the driver reads, and the bell that says "leave now".
    pub fn new() -> (Self, mpsc::Receiver<Batch>, Arc<Notify>) {
        let (sender, queue) = mpsc::channel(crate::limits::COMMAND_BATCHES_MAX);
        let leave = Arc::new(Notify::new());
        let input =
            Self { face: 0, numbers: Arc::default(), queue: sender, leave: Arc::clone(&leave) };
        (input, queue, leave)
    }

    /// The same way in, with the numbers of another face.
    fn of(&self, face: u16) -> Self {
        Self { face, ..self.clone() }
    }

    /// A fresh number, so that a face can note what it belongs to before any answer can come.
    pub fn number(&self) -> CommandId {
        // 0 is nobody's.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        hub::numbered(self.face, number)
    }

    /// Hands over numbered commands; waits while the node takes none. `None`: it has ended.
    pub async fn hand_over(&self, batch: Batch) -> Option<()> {
        self.queue.send(batch).await.ok()
    }

    /// Hands over commands; waits while the node takes none. `None`: it has ended.
    pub async fn commands(&self, batch: Vec<Command>) -> Option<Vec<CommandId>> {
        let batch: Batch = batch.into_iter().map(|command| (self.number(), command)).collect();
        let numbers = batch.iter().map(|(number, _)| *number).collect();
        self.hand_over(batch).await?;
        Some(numbers)
    }

    /// Hands over one command; waits while the node takes none. `None`: it has ended.
    pub async fn command(&self, command: Command) -> Option<CommandId> {
        let number = self.number();
        self.hand_over(vec![(number, command)]).await?;
        Some(number)
    }

    /// Leave cleanly and now: overtakes the commands that still wait, for a signal must not stand
    /// in a queue. What was taken before is kept.
    pub fn leave(&self) {
        self.leave.notify_one();
    }
}

impl From<TimerSettings> for Timers {
    fn from(timers: TimerSettings) -> Self {
        Self {
            heartbeat: timers.heartbeat,
            election_min: timers.election_min,
            election_max: timers.election_max,
            away_after: timers.away_after,
        }
    }
}

impl From<&crate::config::RelayLimits> for crate::net::RelayLimits {
    fn from(limits: &crate::config::RelayLimits) -> Self {
        Self {
            reservations_max: limits.reservations,
            circuits_max: limits.circuits,
            circuit_bytes_max: limits.circuit_bytes,
            circuit_life: crate::time::Millis(limits.circuit_seconds.saturating_mul(1_000)),
            ..Self::default()
        }
    }
}

impl From<crate::config::Admission> for crate::wire::identity::Admission {
    fn from(admission: crate::config::Admission) -> Self {
        match admission {
            crate::config::Admission::Open => Self::Open,
            crate::config::Admission::Approve => Self::Approve,
            crate::config::Admission::Voucher => Self::Voucher,
        }
    }
}
