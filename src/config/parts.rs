//! What some settings hold: who is admitted, what is relayed; and where a value came from.
//! Owns: these values.
//! Must not know: how settings are written, read and checked.
//! Invariants: none.
//! Start reading at: [`Admission`].

use std::fmt;
use std::path::PathBuf;

/// Whom the key authority certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whoever asks for a free name.
    Open,
    /// Whom its operator approves, and whoever brings an invite.
    Approve,
    /// Whoever brings an invite.
    Voucher,
}

/// Limits of the relay at the bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Members that may be reachable through it at once.
    pub reservations: usize,
    /// Connections through it at once.
    pub circuits: usize,
    /// Bytes one connection may carry each way.
    pub circuit_bytes: u64,
    /// Seconds one connection may last.
    pub circuit_seconds: u64,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The timer profile says so.
    Profile,
    /// A line of the settings file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// A variable of the environment.
    Env(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile => f.write_str("default of timers.profile"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
