//! A running role, as its faces see it: commands in, notices out.
//! Owns: the handle.
//! Must not know: what a command means.
//! Invariants: every queue is bounded; a face that lags slows only itself.
//! Start reading at: [`Node`].

pub mod operator;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc};

use crate::config::{Config, TimerSettings};
use crate::ids::CommandId;
use crate::protocol::{Command, Notice, Timers};
use crate::refusal::Refused;
use crate::time::Wall;

/// Which role to run.
#[derive(Clone, Debug)]
pub enum Role {
    /// `p2pgroup join`.
    Member {
        /// The name to be known by.
        name: String,
        /// Whether a person can be asked about an authority not seen before.
        can_ask: bool,
    },
    /// `p2pgroup bootstrap`.
    Bootstrap,
    /// `p2pgroup keyauth`.
    Authority,
}

/// A running role.
#[derive(Debug)]
pub struct Node {
    input: Input,
}

impl Node {
    /// Opens the home, starts the threads, returns at once; progress comes as notices.
    ///
    /// # Refusals
    /// Whatever keeps the home, the store or the sockets from opening.
    pub async fn start(_role: Role, _config: Config) -> Result<Self, Refused> {
        let (input, _queue, _leave) = Input::new();
        Ok(Self { input })
    }

    /// Where commands go in; may be cloned and used from other threads.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Hands over a command; waits while the node takes none (flow control). `None`: it has ended.
    pub async fn command(&self, command: Command) -> Option<CommandId> {
        self.input.command(command).await
    }

    /// The next notice; `None` after the last. Cancel safe.
    pub async fn notice(&mut self) -> Option<Notice> {
        None
    }
}

/// Commands with their numbers, in the order they take effect.
pub type Batch = Vec<(CommandId, Command)>;

/// How commands reach a running role: bounded, in order, and waiting while the role takes none.
#[derive(Clone, Debug)]
pub struct Input {
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
            Self { numbers: Arc::new(AtomicU64::new(1)), queue: sender, leave: Arc::clone(&leave) };
        (input, queue, leave)
    }

    /// A fresh number, so that a face can note what it belongs to before any answer can come.
    pub fn number(&self) -> CommandId {
        CommandId(self.numbers.fetch_add(1, Ordering::Relaxed))
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

/// Wall time, for stamps that a person or a program reads.
#[expect(clippy::disallowed_methods, reason = "moves to the driver, which alone reads clocks")]
pub fn wall() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Wall(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
