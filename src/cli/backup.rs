//! `p2pgroup backup`: create, verify, restore.
//! Owns: how their results look.
//! Must not know: what is in a backup.
//! Invariants: as in `operator.rs`.
//! Start reading at: [`run`].

use std::path::Path;
use std::process::ExitCode;

use super::args::BackupVerb;
use super::{json, offline, report};
use crate::config::Config;
use crate::node;
use crate::refusal::Refused;
use crate::text::one_line;

/// Carries out an order about backups.
///
/// # Errors
/// What keeps it from being done; nothing is left half done.
pub(super) fn run(config: &Config, verb: &BackupVerb, is_json: bool) -> Result<ExitCode, Refused> {
    let (state, file, backup) = match verb {
        BackupVerb::Create { file, member, under } => {
            let passphrase = member.lock.passphrase(config)?;
            let under = under.set()?;
            let made = node::backup::create(config, passphrase.as_ref(), (file, &under));
            ("created", file, made.map_err(offline::at_rest)?)
        }
        BackupVerb::Verify { file, under } => {
            ("verified", file, node::backup::verify(file, &under.given()?)?)
        }
        BackupVerb::Restore { file, under, .. } => {
            config.member_home()?;
            ("restored", file, node::backup::restore(config, file, &under.given()?)?)
        }
    };
    let mut out = Vec::new();
    if is_json {
        json::Face::new(node::wall).backup(state, file, &backup, &mut out);
    } else {
        out.extend_from_slice(told(state, file, &backup).as_bytes());
    }
    report::print(&out);
    Ok(ExitCode::SUCCESS)
}

fn told(state: &str, file: &Path, backup: &node::backup::Backup) -> String {
    let file = one_line(&file.display().to_string());
    format!("{state}\t{file}\t{}\t{}\t{} bytes\n", backup.name, backup.made_at, backup.bytes)
}
