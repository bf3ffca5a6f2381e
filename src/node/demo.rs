//! `p2pgroup demo`: a whole group in one process, whose leader dies in the middle of the talk.
//! Owns: the play, its homes, and the figures.
//! Must not know: how it is shown.
//! Invariants: every role is the real one, on sockets of this machine; what is claimed at the end was
//! read back from every member's store; the homes are gone at the end.
//! Start reading at: [`play`].
//!
//! ```text
//!   bootstrap, authority ─► five join ─► all talk ─► the leader is killed ─► the others elect
//!                                          └── talk goes on all the while ──┐
//!        figures ◄── all stores compared ◄── it catches up ◄── it comes back ◄┘
//! ```

mod stage;

use std::path::PathBuf;

use tokio::sync::mpsc;

use self::stage::Stage;
use super::keys;
use crate::refusal::{Refusal, Refused};
use crate::time::Millis;

/// Who plays.
pub const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// Something that happened, and when, counted from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Millis,
    /// What.
    pub scene: Scene,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scene {
    /// A server runs.
    Serving {
        /// `bootstrap` or `keyauth`.
        role: &'static str,
        /// Where.
        address: String,
    },
    /// A member is in.
    Joined {
        /// Which, as in [`NAMES`].
        member: usize,
        /// How long its coming in took.
        took: Millis,
    },
    /// A member knows of this leader now; `None`: it knows of none.
    Knows {
        /// Which.
        member: usize,
        /// Who leads, and in which term.
        leader: Option<(usize, u64)>,
    },
    /// All have links with all, and know one leader.
    Settled {
        /// Who leads.
        leader: usize,
        /// In which term.
        term: u64,
    },
    /// Somebody said something.
    Said {
        /// Who.
        member: usize,
        /// What.
        text: String,
    },
    /// How far the talk has come.
    Talk {
        /// Messages said.
        said: usize,
        /// How many of them each holds, as in [`NAMES`].
        held: Vec<usize>,
    },
    /// A member is killed.
    Killed {
        /// Which.
        member: usize,
    },
    /// All who are left know a new leader.
    Elected {
        /// Who leads.
        leader: usize,
        /// In which term.
        term: u64,
        /// How long there was none that all knew.
        after: Millis,
    },
    /// The dead one is started again, on its home.
    Restarted {
        /// Which.
        member: usize,
    },
    /// It has all that was said without it.
    CaughtUp {
        /// Which.
        member: usize,
        /// How long that took, from its start on.
        after: Millis,
        /// How many messages it had missed.
        missed: usize,
    },
    /// All is over.
    Done(Figures),
}

/// What came of it, read back from every store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many members.
    pub members: usize,
    /// From the kill until all who were left knew the new leader.
    pub leaderless: Millis,
    /// The term before, and the term after.
    pub terms: (u64, u64),
    /// Messages said.
    pub said: usize,
    /// Of those, handed over after the kill and before all who were left knew the new leader.
    pub said_leaderless: usize,
    /// Messages found in the stores of members other than their authors.
    pub delivered: usize,
    /// How many of these there should be.
    pub expected: usize,
    /// What is missing somewhere.
    pub lost: usize,
    /// What some member shows twice.
    pub doubled: usize,
    /// Whether all show the same messages in the same order.
    pub is_same: bool,
    /// From the restart until the member had all that it had missed.
    pub catch_up: Millis,
    /// How many messages that were.
    pub missed: usize,
    /// How long all of it took.
    pub took: Millis,
}

impl Figures {
    /// Whether what the demo claims held: another leader in a later term, talk that went on
    /// meanwhile, nothing lost, nothing twice, one order everywhere.
    pub fn holds(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.is_same
            && self.delivered == self.expected
            && self.terms.1 > self.terms.0
            && self.said_leaderless > 0
            && self.missed > 0
    }
}

/// Plays it, and tells every step. Whoever stops listening ends it: the homes are removed.
///
/// # Refusals
/// What keeps a role from starting; [`Refusal::TimedOut`] with what did not happen.
pub async fn play(told: mpsc::Sender<Step>) -> Result<Figures, Refused> {
    let homes = Homes::create()?;
    let mut stage = Stage::new(told);
    let played = stage.play(&homes.0).await;
    stage.end().await;
    played
}

/// The directory that all homes lie in; removed when it goes.
#[derive(Debug)]
struct Homes(PathBuf);

impl Homes {
    fn create() -> Result<Self, Refused> {
        let secret = keys::secret()?;
        let name: String = secret.chars().take(16).collect();
        let path = std::env::temp_dir().join(format!("p2pgroup-demo-{name}"));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| {
            Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
        })?;
        Ok(Self(path))
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the demo's directory stays");
        }
    }
}
