//! A running role, as its faces see it: commands in, notices out.
//! Owns: the handle.
//! Must not know: what a command means.
//! Invariants: every queue is bounded; a face that lags slows only itself.
//! Start reading at: [`Node`].

use crate::config::Config;
use crate::ids::CommandId;
use crate::protocol::{Command, Notice};
use crate::refusal::Refused;

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
pub struct Node {}

impl Node {
    /// Opens the home, starts the threads, returns at once; progress comes as notices.
    ///
    /// # Refusals
    /// Whatever keeps the home, the store or the sockets from opening.
    pub async fn start(_role: Role, _config: Config) -> Result<Self, Refused> {
        Ok(Self {})
    }

    /// Hands over a command; waits while the node takes none (flow control). `None`: it has ended.
    pub async fn command(&self, _command: Command) -> Option<CommandId> {
        None
    }

    /// The next notice; `None` after the last. Cancel safe.
    pub async fn notice(&mut self) -> Option<Notice> {
        None
    }
}
