//! Passphrases at the door: from a file, or typed without echo; and the command that sets one.
//! Owns: the flags and the questions for them.
//! Must not know: what lies under a passphrase.
//! Invariants: no passphrase is ever an argument, in the environment or in a log; without a
//! terminal nothing is asked.
//! Start reading at: [`Lock`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::args::Named;
use super::{json, offline, report};
use crate::config::Config;
use crate::node::passphrase::{self, Passphrase};
use crate::refusal::{Refusal, Refused};

/// What opens a member's home, where it is under a passphrase.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Lock {
    /// The passphrase of the home, in a file that only you may read; a new home is put under it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Lock {
    /// The passphrase of this home: from the file, or asked for if it is needed and a person is
    /// there.
    ///
    /// # Errors
    /// [`Refusal::PassphraseNeeded`], [`Refusal::PassphraseUnread`], [`Refusal::KeyFileOpen`].
    pub(super) fn passphrase(&self, config: &Config) -> Result<Option<Passphrase>, Refused> {
        match &self.passphrase_file {
            Some(path) => passphrase::read(path).map(Some),
            None if !passphrase::is_needed(config)? => Ok(None),
            None => asked("passphrase: ", "--passphrase-file FILE").map(Some),
        }
    }
}

/// What opens a backup.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Under {
    /// The passphrase of the backup, in a file that only you may read [default: asked for in a
    /// terminal]
    #[arg(long, value_name = "FILE")]
    backup_passphrase_file: Option<PathBuf>,
}

const BACKUP_FLAG: &str = "--backup-passphrase-file FILE";

impl Under {
    /// The passphrase of a backup to be made.
    ///
    /// # Errors
    /// As [`set`] and [`Lock::passphrase`].
    pub(super) fn set(&self) -> Result<Passphrase, Refused> {
        match &self.backup_passphrase_file {
            Some(path) => passphrase::read(path),
            None => set("passphrase for the backup: ", BACKUP_FLAG),
        }
    }

    /// The passphrase of a backup that is there.
    ///
    /// # Errors
    /// As [`asked`] and [`Lock::passphrase`].
    pub(super) fn given(&self) -> Result<Passphrase, Refused> {
        match &self.backup_passphrase_file {
            Some(path) => passphrase::read(path),
            None => asked("passphrase of the backup: ", BACKUP_FLAG),
        }
    }
}

/// Flags of `id passphrase`.
#[derive(Debug, clap::Args)]
pub(super) struct Change {
    #[command(flatten)]
    pub(super) named: Named,
    /// The new passphrase, in a file that only you may read [default: asked for in a terminal]
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    new_passphrase_file: Option<PathBuf>,
    /// Leave the home under no passphrase
    #[arg(long)]
    remove: bool,
}

/// Sets, changes or removes the passphrase of a home.
///
/// # Errors
/// What keeps it from being changed; it is as before then.
pub(super) fn change(config: &Config, change: &Change, is_json: bool) -> Result<ExitCode, Refused> {
    let before = change.named.lock.passphrase(config)?;
    let after = match &change.new_passphrase_file {
        _ if change.remove => None,
        Some(path) => Some(passphrase::read(path)?),
        None => Some(set("new passphrase: ", "--new-passphrase-file FILE")?),
    };
    passphrase::change(config, before.as_ref(), after.as_ref()).map_err(offline::at_rest)?;
    let done = match (before, after) {
        (None, Some(_)) => "set",
        (_, Some(_)) => "changed",
        (_, None) => "removed",
    };
    let mut out = Vec::new();
    if is_json {
        json::Face::new(crate::node::wall).passphrase(done, &mut out);
    } else {
        out.extend_from_slice(format!("the passphrase is {done}\n").as_bytes());
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// A new passphrase, typed twice.
///
/// # Errors
/// [`Refusal::PassphraseNeeded`] with the flag to use, without a terminal;
/// [`Refusal::PassphraseWeak`]; [`Refusal::PassphraseWrong`] if the two differ.
fn set(prompt: &str, flag: &str) -> Result<Passphrase, Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused::new(Refusal::PassphraseNeeded, format!("give it by {flag}")));
    }
    let typed = read(prompt)?;
    let passphrase = Passphrase::new(&typed)?;
    passphrase.check_strength()?;
    if *read("once more: ")? != *typed {
        return Err(Refused::new(Refusal::PassphraseWrong, "the two are not the same"));
    }
    Ok(passphrase)
}

/// A passphrase set before.
///
/// # Errors
/// [`Refusal::PassphraseNeeded`] without a terminal.
fn asked(prompt: &str, flag: &str) -> Result<Passphrase, Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused::new(Refusal::PassphraseNeeded, format!("give it by {flag}")));
    }
    Passphrase::new(&read(prompt)?)
}

fn read(prompt: &str) -> Result<Zeroizing<String>, Refused> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Refused::new(Refusal::PassphraseUnread, error.to_string()))
}
