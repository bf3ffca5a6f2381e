//! `p2pgroup api`: tokens for the local API of a member, running or not.
//! Owns: how they are printed.
//! Must not know: how they are kept.
//! Invariants: stdout gets the token alone; nothing of it is logged.
//! Start reading at: [`run`].

use std::process::ExitCode;

use crate::api::{self, Scope};
use crate::cli::args::ApiVerb;
use crate::cli::{json, report};
use crate::config::Config;
use crate::refusal::{Refusal, Refused};

/// Makes one.
///
/// # Errors
/// What keeps it from being kept.
pub(in crate::cli) fn run(
    verb: &ApiVerb,
    config: &Config,
    is_json: bool,
) -> Result<ExitCode, Refused> {
    let home = config.member_home()?;
    if !home.is_dir() {
        let detail = format!("{} holds no member", home.display());
        return Err(Refused::new(Refusal::NotAMember, detail));
    }
    let (kind, text) = match verb {
        ApiVerb::Token { scope, .. } => {
            let scope = Scope::parse(scope).ok_or(Refusal::CommandBad)?;
            ("token", api::create_token(home, scope)?)
        }
        ApiVerb::Hook { room, .. } => {
            ("hook", format!("/v1/hooks/{}", api::create_hook(home, room)?))
        }
    };
    let mut out = Vec::new();
    if is_json {
        json::made(kind, &text, &mut out);
    } else {
        out.extend_from_slice(format!("{text}\n").as_bytes());
    }
    report::print(&out);
    Ok(ExitCode::SUCCESS)
}
