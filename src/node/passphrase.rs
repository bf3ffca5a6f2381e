//! The passphrase of a member's home: whether there is one, and setting another.
//! Owns: which key files lie under it.
//! Must not know: who is asked for it, and how.
//! Invariants: it changes only while no process has the home.
//! Start reading at: [`change`].

use crate::config::Config;
use crate::refusal::Refused;
use crate::store::Home;

use super::{keys, offline};

pub use crate::store::{Passphrase, read_passphrase as read};

/// Whether the home of this member opens only with a passphrase.
///
/// # Refusals
/// What keeps its key file from being read.
pub fn is_needed(config: &Config) -> Result<bool, Refused> {
    Home::is_under_passphrase(config.member_home()?)
}

/// Puts the home of this member under another passphrase, or under none.
///
/// # Refusals
/// As [`Home::change_passphrase`]; what keeps the home from being locked.
pub fn change(
    config: &Config,
    before: Option<&Passphrase>,
    after: Option<&Passphrase>,
) -> Result<(), Refused> {
    offline::locked(config)?.change_passphrase(before, after, &[keys::MEMBER_KEY])
}
