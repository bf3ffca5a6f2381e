//! `p2pgroup api` and `p2pgroup web`: tokens for the local API of a member, and where its page is.
//! Owns: how they are printed.
//! Must not know: how they are kept.
//! Invariants: stdout gets the token alone, once, when it is made; nothing of it is logged.
//! Start reading at: [`run`].

use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::verbs;
use crate::api::{self, Grant, Scope, Token};
use crate::cli::args::{ApiVerb, Named};
use crate::cli::beside::ADDRESS;
use crate::cli::{json, offline, report};
use crate::config::Config;
use crate::refusal::{Refusal, Refused};
use crate::text::one_line;
use crate::time::Wall;

/// Makes one, lists all, or takes one back.
///
/// # Errors
/// What keeps it from being kept; a room that the member is not in; a label that another one has, or
/// one or an id that none has.
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
        ApiVerb::Token { scope, label, .. } => {
            let scope = Scope::parse(scope).ok_or(Refusal::CommandBad)?;
            ("token", api::create_token(home, scope, label.as_deref())?)
        }
        ApiVerb::Hook { whose, room, label } => {
            check_room(config, whose, room)?;
            ("hook", format!("/v1/hooks/{}", api::create_hook(home, room, label.as_deref())?))
        }
        ApiVerb::List(_) => return rows(&api::list_tokens(home)?, is_json),
        ApiVerb::Revoke { id, .. } => return rows(&[api::revoke_token(home, id)?], is_json),
    };
    print(kind, &text, is_json)
}

/// A hook into a room that the member is not in would take in what nobody gets.
fn check_room(config: &Config, whose: &Named, room: &str) -> Result<(), Refused> {
    match verbs::asked(config, serde_json::json!({ "cmd": "room", "room": room })) {
        Ok(heard) if heard.last().get("in") == Some(&serde_json::Value::Bool(false)) => {
            Err(Refused::new(Refusal::NotInRoom, room))
        }
        Ok(_) => Ok(()),
        Err(refused) if refused.refusal == Refusal::NothingRunning => {
            offline::open(config, whose)?.entry_count(room).map(drop)
        }
        // Nothing is known of the rooms yet.
        Err(refused) if refused.refusal == Refusal::NoKeys => Ok(()),
        Err(refused) => Err(refused),
    }
}

/// Prints which there are: tab-separated, as the other lists.
fn rows(tokens: &[Token], is_json: bool) -> Result<ExitCode, Refused> {
    let mut out = Vec::new();
    if is_json {
        json::tokens(tokens, &mut out);
    } else {
        for token in tokens {
            let (good_for, room) = match &token.grant {
                Grant::Scope(scope) => (scope.name(), "-".to_owned()),
                Grant::Hook(room) => ("hook", one_line(room)),
            };
            let made_at = token.made_at.map_or_else(|| "-".to_owned(), Wall::rfc3339);
            let label = token.label.as_deref().map_or_else(|| "-".to_owned(), one_line);
            let line = format!("{}\t{good_for}\t{room}\t{made_at}\t{label}\n", token.id);
            out.extend_from_slice(line.as_bytes());
        }
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn print(kind: &'static str, text: &str, is_json: bool) -> Result<ExitCode, Refused> {
    let mut out = Vec::new();
    if is_json {
        json::made(kind, text, &mut out);
    } else {
        out.extend_from_slice(format!("{text}\n").as_bytes());
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// How long the API may take to be reached: it is on this machine.
const NEAR: Duration = Duration::from_secs(2);

/// The address of the web page of the member that runs.
///
/// # Errors
/// [`Refusal::NothingRunning`] unless it serves the API on a port.
pub(in crate::cli) fn web(
    scope: &str,
    config: &Config,
    is_json: bool,
) -> Result<ExitCode, Refused> {
    let home = config.member_home()?;
    let none = |why: &str| {
        let detail = format!("{why}; p2pgroup join --api 127.0.0.1:8700 serves the web page");
        Refused::new(Refusal::NothingRunning, detail)
    };
    let noted = std::fs::read_to_string(home.join(ADDRESS));
    let place = noted.map_err(|_| none("no member of this home serves an API"))?;
    let place = place.trim();
    let address = place.strip_prefix("http://").and_then(|it| it.parse::<SocketAddr>().ok());
    let address = address.ok_or_else(|| none(&format!("the API is at {place}")))?;
    if let Err(error) = TcpStream::connect_timeout(&address, NEAR) {
        return Err(none(&format!("{place}: {error}")));
    }
    let scope = Scope::parse(scope).ok_or(Refusal::CommandBad)?;
    let token = match scope {
        Scope::Admin => api::first_token(home)?,
        less => api::create_token(home, less, None)?,
    };
    print("web", &format!("{place}/#token={token}"), is_json)
}
