//! `p2pgroup backup`: create, verify, restore.
//! Owns: the orders there are, and how their results look.
//! Must not know: what is in a backup.
//! Invariants: as in `operator.rs`.
//! Start reading at: [`run`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::args::Named;
use super::progress::Progress;
use super::secret::Under;
use super::{json, offline, report};
use crate::config::Config;
use crate::node;
use crate::refusal::Refused;
use crate::text::one_line;

/// What of backups.
#[derive(Debug, Subcommand)]
pub(super) enum BackupVerb {
    /// Write one: keys, messages and all else that is stored
    #[command(before_help = "Examples:\n  p2pgroup backup create alice.backup --name alice")]
    Create {
        /// Where to
        file: PathBuf,
        /// Whose home
        #[command(flatten)]
        member: Named,
        #[command(flatten)]
        under: Under,
    },
    /// Read all of one and check that it is whole and unaltered
    #[command(before_help = "Examples:\n  p2pgroup backup verify alice.backup")]
    Verify {
        /// Which
        file: PathBuf,
        #[command(flatten)]
        under: Under,
    },
    /// Make a home of one; with --home or --name, which must not have one yet.
    ///
    /// The member comes back under its name, reads what it read, and writes on in new logs. The
    /// home that the backup was made of must not be used any more.
    #[command(before_help = "Examples:\n  p2pgroup backup restore alice.backup --name alice")]
    Restore {
        /// Which
        file: PathBuf,
        /// The member of this name on this machine
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        under: Under,
    },
}

/// Carries out an order about backups.
///
/// # Errors
/// What keeps it from being done; nothing is left half done.
pub(super) fn run(config: &Config, verb: &BackupVerb, is_json: bool) -> Result<ExitCode, Refused> {
    let (state, file, backup) = match verb {
        BackupVerb::Create { file, member, under } => {
            let passphrase = member.lock.passphrase(config)?;
            let under = under.set()?;
            let progress = Progress::start("writing the backup");
            let made =
                node::backup::create(config, passphrase.as_ref(), (file, &under), |done, of| {
                    progress.at(done, of);
                });
            drop(progress);
            ("created", file, made.map_err(offline::at_rest)?)
        }
        BackupVerb::Verify { file, under } => {
            let under = under.given()?;
            let progress = Progress::start("reading the backup");
            let told = |done, of| progress.at(done, of);
            ("verified", file, node::backup::verify(file, &under, told)?)
        }
        BackupVerb::Restore { file, under, .. } => {
            config.member_home()?;
            let under = under.given()?;
            let progress = Progress::start("restoring");
            let told = |done, of| progress.at(done, of);
            ("restored", file, node::backup::restore(config, file, &under, told)?)
        }
    };
    let mut out = Vec::new();
    if is_json {
        json::Face::new(node::wall).backup(state, file, &backup, &mut out);
    } else {
        out.extend_from_slice(told(state, file, &backup).as_bytes());
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn told(state: &str, file: &Path, backup: &node::backup::Backup) -> String {
    let file = one_line(&file.display().to_string());
    format!("{state}\t{file}\t{}\t{}\t{} bytes\n", backup.name, backup.made_at, backup.bytes)
}
