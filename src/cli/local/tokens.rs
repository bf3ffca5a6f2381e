//! `p2pgroup api` and `p2pgroup web`: tokens for the local API of a member, and where its page is.
//! Owns: how they are printed.
//! Must not know: how they are kept.
//! Invariants: stdout gets the token alone; nothing of it is logged.
//! Start reading at: [`run`].

use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::api::{self, Scope};
use crate::cli::args::ApiVerb;
use crate::cli::beside::ADDRESS;
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
    print(kind, &text, is_json)
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
        less => api::create_token(home, less)?,
    };
    print("web", &format!("{place}/#token={token}"), is_json)
}
