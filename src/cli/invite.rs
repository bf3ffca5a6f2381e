//! `p2pgroup invite`: what an operator sees of the invites.
//! Owns: how a new invite is shown, as text and as a picture.
//! Must not know: what is in an invite, how it is made.
//! Invariants: a member makes one only where it is named; stdout gets the invite alone, so that it can be redirected; all else is on stderr.
//! Start reading at: [`run`].

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
#[cfg(unix)]
use serde_json::json;

use super::args::InviteVerb;
use super::json::{self, invite_state};
#[cfg(unix)]
use super::local::verbs;
use super::{report, serve};
use crate::config::{Color, Config};
use crate::node;
use crate::node::operator::invites::{self, Created, InviteRow, Wanted};
use crate::refusal::{Refusal, Refused};
use crate::text::one_line;

/// Homes that are looked at for members that run.
const HOMES_MAX: usize = 64;

/// Carries out an order about invites.
///
/// # Errors
/// Whatever the authority says.
pub(super) fn run(config: &Config, verb: &InviteVerb, is_json: bool) -> Result<ExitCode, Refused> {
    #[cfg(unix)]
    if verb.by().is_some() {
        return by_member(config, verb, is_json);
    }
    let runtime = serve::runtime()?;
    let rows = match verb {
        InviteVerb::Create { uses, expires, name, room, .. } => {
            let (name, room) = (name.clone(), room.clone());
            let wanted = Wanted { uses: *uses, life: *expires, name, room };
            let created = runtime.block_on(invites::create(config, wanted));
            let created = created.map_err(|no| offering(no, &usual_homes(config)))?;
            show(&created, config.color != Color::Never, is_json)?;
            return Ok(ExitCode::SUCCESS);
        }
        InviteVerb::List { .. } => runtime.block_on(invites::list(config))?,
        InviteVerb::Revoke { id, reason, with_members, .. } => {
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
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Where there is no authority, a member that runs here may make an invite, too.
fn offering(refused: Refused, homes: &Path) -> Refused {
    let running = running(homes);
    let Some(name) = running.first().filter(|_| refused.refusal == Refusal::NothingRunning) else {
        return refused;
    };
    let detail = format!(
        "{}; {} here and can make one, as an admin or owner: p2pgroup invite create --by {name}",
        refused.detail,
        who_run(&running)
    );
    Refused { detail, ..refused }
}

/// Where nobody said which member is meant, those that run here are named.
pub(super) fn naming(refused: Refused, config: &Config) -> Refused {
    let running = match refused.refusal {
        Refusal::NameMissing => running(&usual_homes(config)),
        _ => Vec::new(),
    };
    let Some(name) = running.first() else { return refused };
    let detail = format!("{} here: --name {name}", who_run(&running));
    Refused { detail, ..refused }
}

fn who_run(names: &[String]) -> String {
    match names {
        [one] => format!("{one} runs"),
        names => format!("{} run", names.join(", ")),
    }
}

/// Where members have their homes unless they are told otherwise.
fn usual_homes(config: &Config) -> PathBuf {
    config.embedded_home.parent().unwrap_or_else(|| Path::new(".")).join("members")
}

/// The members that run on homes in there, by the names of these.
fn running(homes: &Path) -> Vec<String> {
    let homes = std::fs::read_dir(homes).into_iter().flatten();
    let mut names: Vec<String> = homes
        .take(HOMES_MAX)
        .flatten()
        .filter(|home| is_running(&home.path()))
        .filter_map(|home| home.file_name().into_string().ok())
        .filter(|name| one_line(name) == *name)
        .collect();
    names.sort_unstable();
    names
}

#[cfg(unix)]
fn is_running(home: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(super::local::path(home)).is_ok()
}

#[cfg(not(unix))]
fn is_running(_: &Path) -> bool {
    false
}

/// The same of a member that runs, as its person would type it.
#[cfg(unix)]
fn by_member(config: &Config, verb: &InviteVerb, is_json: bool) -> Result<ExitCode, Refused> {
    let question = match verb {
        InviteVerb::Create { uses, expires, name, room, .. } => {
            let seconds = expires.0.div_ceil(1_000);
            json!({
                "cmd": "invite", "uses": uses, "expires": format!("{seconds}s"), "name": name,
                "room": room,
            })
        }
        InviteVerb::List { .. } => json!({ "cmd": "invites" }),
        InviteVerb::Revoke { id, reason, .. } => {
            json!({ "cmd": "revoke_invite", "id": id, "reason": reason })
        }
    };
    let heard = verbs::asked(config, question)?;
    let made = heard.last().get("invite").and_then(|it| it.as_str()).map(str::to_owned);
    let Some(text) = made.filter(|_| !is_json) else {
        verbs::print(&heard, is_json)?;
        return Ok(ExitCode::SUCCESS);
    };
    // Only the invite itself is data; what is said of it is for who reads along.
    if std::io::stdout().is_terminal()
        && let Some(picture) =
            picture(&text, config.color != Color::Never, crate::tui::run::columns())
    {
        report::complain(&picture);
    }
    for line in heard.shown.lines().filter_map(|line| line.strip_prefix("-- ")) {
        report::complain(&format!("{line}\n"));
    }
    report::print(format!("{text}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn show(created: &Created, is_colored: bool, is_json: bool) -> Result<(), Refused> {
    let mut out = Vec::new();
    let room = &created.row.room;
    if !room.is_empty() && room != json::MAIN {
        let room = one_line(room);
        report::complain(&format!(
            "the authority is in no room and puts nobody into one: who comes in asks for {room} \
             itself (/join {room}); so that it is brought in, somebody who may invite there makes \
             the invite (/invite create --room {room})\n"
        ));
    }
    if is_json {
        json::Face::new(node::wall).invite(&created.row, Some(&created.text), &mut out);
        return report::print(&out).map(drop);
    }
    if std::io::stdout().is_terminal()
        && let Some(picture) = picture(&created.text, is_colored, crate::tui::run::columns())
    {
        report::complain(&picture);
    }
    report::complain(&notes(&created.row, created.is_local));
    out.extend_from_slice(created.text.as_bytes());
    out.push(b'\n');
    report::print(&out).map(drop)
}

/// The invite as a QR code: two rows of it in one line of text. A camera wants it dark on light:
/// so it is where colours may be used, and without them where the terminal is light on dark. Where
/// the window is too narrow for it, words say so: a line that is broken ruins the picture.
pub(super) fn picture(text: &str, is_colored: bool, window: Option<usize>) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (dark, light) = if is_colored {
        (Dense1x2::Dark, Dense1x2::Light)
    } else {
        (Dense1x2::Light, Dense1x2::Dark)
    };
    let drawn = code.render::<Dense1x2>().dark_color(dark).light_color(light).build();
    let columns = drawn.lines().next().map_or(0, |line| line.chars().count());
    if let Some(window) = window.filter(|window| *window < columns) {
        return Some(format!(
            "(its QR code is {columns} columns wide, and there are {window} here: make the \
             window wider or its letters smaller for the next one, or make it on the web page)\n"
        ));
    }
    let mut picture = String::new();
    for line in drawn.lines() {
        let (on, off) = if is_colored { (BLACK_ON_WHITE, PLAIN) } else { ("", "") };
        // Writing into a String cannot fail.
        let _ = writeln!(picture, "{on}{line}{off}");
    }
    Some(picture)
}

const BLACK_ON_WHITE: &str = "\u{1b}[38;5;16;48;5;231m";
const PLAIN: &str = "\u{1b}[0m";

/// What to know before passing it on.
pub(super) fn notes(row: &InviteRow, is_local: bool) -> String {
    let whom = if row.name.is_empty() { "whoever has it" } else { row.name.as_str() };
    let mut notes = format!(
        "invite {} for {}, {} {} until {}\n",
        row.id,
        one_line(whom),
        row.uses,
        if row.uses == 1 { "time" } else { "times" },
        row.expires_at
    );
    if is_local {
        notes.push_str(
            "its addresses are of this machine alone; for others: --bootstrap HOST:PORT, of a member's \
             invite when that is started\n",
        );
    }
    notes.push_str("keep it secret: whoever has this line may come in\n");
    notes
}

pub(super) fn row_line(row: &InviteRow) -> String {
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
        let plain = picture(&text, false, None).unwrap();
        let drawn: Vec<&str> = plain.lines().collect();
        let widths: Vec<usize> = drawn.iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width < 120), "{widths:?}");
        assert!(drawn.len() < 60);
        let width = widths[0];
        assert_eq!(picture(&text, false, Some(width)), Some(plain.clone()));
        // A window that is one column too narrow has words in its place.
        let words = picture(&text, false, Some(width - 1)).unwrap();
        assert!(words.lines().count() == 1 && words.contains(&width.to_string()), "{words}");
        // In colours, every line sets and resets them.
        let colored = picture(&text, true, None).unwrap();
        let is_framed = |line: &&str| line.starts_with(BLACK_ON_WHITE) && line.ends_with(PLAIN);
        assert_eq!(colored.lines().filter(is_framed).count(), drawn.len());
    }

    #[cfg(unix)]
    #[test]
    fn where_no_authority_is_at_hand_the_members_that_run_are_named() {
        let homes = tempfile::tempdir().unwrap();
        let no = |refusal: Refusal| offering(Refused::new(refusal, "holds none"), homes.path());
        let mut sockets = Vec::new();
        for name in ["alice", "bob", "carol", "da\u{7}ve"] {
            let home = homes.path().join(name);
            std::fs::create_dir(&home).unwrap();
            if name == "carol" {
                continue;
            }
            assert!(sockets.len() > 1 || running(homes.path()).len() == sockets.len());
            let socket = super::super::local::path(&home);
            sockets.push(std::os::unix::net::UnixListener::bind(socket).unwrap());
        }
        let offered = no(Refusal::NothingRunning).detail;
        let words = "alice, bob run here and can make one, as an admin or owner: \
                     p2pgroup invite create --by alice";
        assert_eq!(offered, format!("holds none; {words}"));
        assert_eq!(no(Refusal::NameTaken).detail, "holds none", "another no is another matter");
        drop(sockets);
        assert_eq!(no(Refusal::NothingRunning).detail, "holds none");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert_eq!(picture(&"x".repeat(4_000), true, None), None);
    }
}
