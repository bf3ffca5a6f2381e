//! Commands that do one thing and end: orders to an authority, exports, the settings.
//! Owns: how their results look.
//! Must not know: how they are carried out.
//! Invariants: tab-separated lines for a person and a script alike; JSON when asked.
//! Start reading at: [`order`].

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::args::KeyauthOrder;
use super::json::{self, state_name};
use super::report;
use crate::config::Config;
use crate::node;
use crate::node::operator::{Exported, Order};
use crate::protocol::CertificateRow;
use crate::refusal::{Refusal, Refused};
use crate::text::one_line;

/// Carries out an order.
///
/// # Errors
/// Whatever the authority says.
pub(super) fn order(
    config: &Config,
    order: &KeyauthOrder,
    is_json: bool,
) -> Result<ExitCode, Refused> {
    let order = match order {
        KeyauthOrder::Export { file } => {
            let exported = node::operator::export_authority(config, file)?;
            return told(file, &exported, is_json);
        }
        KeyauthOrder::List => Order::List,
        KeyauthOrder::Approve { name } => Order::Approve { name: name.clone() },
        KeyauthOrder::Allow { name, rights } => {
            let has = |right: &str| rights.iter().any(|it| it == right);
            let (invites, approvals) = (has("invites"), has("approvals"));
            Order::Entrust { name: name.clone(), invites, approvals }
        }
        KeyauthOrder::Disallow { name } => {
            Order::Entrust { name: name.clone(), invites: false, approvals: false }
        }
        KeyauthOrder::Revoke { name, reason } => {
            Order::Revoke { name: name.clone(), reason: reason.clone() }
        }
    };
    let runtime = super::serve::runtime()?;
    let result = runtime.block_on(node::operator::order(config, order))?;
    let mut out = Vec::new();
    if is_json {
        let mut face = json::Face::new(node::wall);
        for row in &result.rows {
            face.certificate(row, &mut out);
        }
    } else {
        for row in &result.rows {
            out.extend_from_slice(row_line(row).as_bytes());
        }
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Exports one's own certificate.
///
/// # Errors
/// Whatever keeps it from being written.
pub(super) fn export_id(config: &Config, file: &Path, is_json: bool) -> Result<ExitCode, Refused> {
    config.member_home()?;
    let exported = node::operator::export_id(config, file)?;
    told(file, &exported, is_json)
}

fn told(file: &Path, exported: &Exported, is_json: bool) -> Result<ExitCode, Refused> {
    let file = file.display().to_string();
    let mut out = Vec::new();
    if is_json {
        json::Face::new(node::wall).exported(&file, &exported.fingerprint, &mut out);
    } else {
        let line = format!("{}\t{}\n", one_line(&file), one_line(&exported.fingerprint));
        out.extend_from_slice(line.as_bytes());
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every setting and where it came from.
///
/// # Errors
/// [`Refusal::FileUnwritable`].
pub(super) fn show(config: &Config, is_json: bool) -> Result<ExitCode, Refused> {
    let mut out = Vec::new();
    if is_json {
        let mut face = json::Face::new(node::wall);
        for shown in &config.shown {
            face.setting(shown, &mut out);
        }
    } else {
        let mut text = String::new();
        for shown in &config.shown {
            let (value, origin) = (shown.value.to_string(), shown.origin.to_string());
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{}\t{}\t{}", shown.path, one_line(&value), one_line(&origin));
        }
        out.extend_from_slice(text.as_bytes());
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn row_line(row: &CertificateRow) -> String {
    let mut line = format!(
        "{}\t{}\t{}\t{}\t{}",
        row.serial,
        one_line(&row.name),
        state_name(row.state),
        row.peer,
        row.asked_at
    );
    if let Some(at) = row.revoked_at {
        let _ = write!(line, "\t{at}\t{}", one_line(&row.reason));
    }
    line.push('\n');
    line
}

/// A runtime that could not be started.
pub(super) fn no_runtime(error: &std::io::Error) -> Refused {
    Refused::new(Refusal::Internal, format!("the runtime does not start: {error}"))
}
