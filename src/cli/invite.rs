//! `p2pgroup invite`: what an operator sees of the invites.
//! Owns: how a new invite is shown, as text and as a picture.
//! Must not know: what is in an invite, how it is made.
//! Invariants: stdout gets the invite alone, so that it can be redirected; all else is on stderr.
//! Start reading at: [`run`].

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::args::InviteVerb;
use super::json::{self, invite_state};
use super::{report, serve};
use crate::config::Config;
use crate::node;
use crate::node::operator::invites::{self, Created, InviteRow, Wanted};
use crate::refusal::Refused;
use crate::text::one_line;

/// Carries out an order about invites.
///
/// # Errors
/// Whatever the authority says.
pub(super) fn run(config: &Config, verb: &InviteVerb, is_json: bool) -> Result<ExitCode, Refused> {
    let runtime = serve::runtime()?;
    let rows = match verb {
        InviteVerb::Create { uses, expires, name, room, .. } => {
            let (name, room) = (name.clone(), room.clone());
            let wanted = Wanted { uses: *uses, life: *expires, name, room };
            let created = runtime.block_on(invites::create(config, wanted))?;
            show(&created, is_json);
            return Ok(ExitCode::SUCCESS);
        }
        InviteVerb::List => runtime.block_on(invites::list(config))?,
        InviteVerb::Revoke { id, reason, with_members } => {
            vec![runtime.block_on(invites::revoke(config, id, reason, *with_members))?]
        }
    };
    let mut out = Vec::new();
    if is_json {
        let mut face = json::Face::new(node::wall);
        for row in &rows {
            face.invite(row, None, &mut out);
        }
    } else {
        for row in &rows {
            out.extend_from_slice(row_line(row).as_bytes());
        }
    }
    report::print(&out);
    Ok(ExitCode::SUCCESS)
}

fn show(created: &Created, is_json: bool) {
    let mut out = Vec::new();
    if is_json {
        json::Face::new(node::wall).invite(&created.row, Some(&created.text), &mut out);
        report::print(&out);
        return;
    }
    if std::io::stdout().is_terminal()
        && let Some(picture) = picture(&created.text)
    {
        report::complain(&picture);
    }
    report::complain(&notes(created));
    out.extend_from_slice(created.text.as_bytes());
    out.push(b'\n');
    report::print(&out);
}

/// The invite as a QR code: two rows of it in one line of text.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    // Dark on light, whatever the terminal: a camera wants it so.
    let mut picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(true)
        .build();
    picture.push('\n');
    Some(picture)
}

/// What to know before passing it on.
fn notes(created: &Created) -> String {
    let row = &created.row;
    let whom = if row.name.is_empty() { "whoever has it" } else { row.name.as_str() };
    let mut notes = format!(
        "invite {} for {}, {} {} until {}\n",
        row.id,
        one_line(whom),
        row.uses,
        if row.uses == 1 { "time" } else { "times" },
        row.expires_at
    );
    if created.is_local {
        notes.push_str(
            "its addresses are of this machine alone; for others: --bootstrap HOST:PORT\n",
        );
    }
    notes.push_str("keep it secret: whoever has this line may come in\n");
    notes
}

fn row_line(row: &InviteRow) -> String {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { one_line(text) };
    let mut line = format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        row.id,
        invite_state(row.state),
        row.uses,
        dash(&row.name),
        dash(&row.room),
        row.expires_at
    );
    if let Some(at) = row.revoked_at {
        // Writing into a String cannot fail.
        let _ = write!(line, "\t{at}\t{}", one_line(&row.reason));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_of_the_longest_usual_invite_fits_a_wide_terminal() {
        let text = format!("p2pgroup1-{}", "x".repeat(900));
        let picture = picture(&text).unwrap();
        let widths: Vec<usize> = picture.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width < 120), "{widths:?}");
        assert!(widths.len() < 60, "{}", widths.len());
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert_eq!(picture(&"x".repeat(4_000)), None);
    }
}
