//! Commands about who belongs, typed or in JSON: roles, removals.
//! Owns: their arguments and help, and the lines that answer them.
//! Must not know: who may give them.
//! Invariants: both forms lead to the same command.
//! Start reading at: [`typed`], [`Given::command`].

use std::fmt::Write;

use super::slash::Entry;
use crate::ids::NetworkRole;
use crate::limits::DETAIL_BYTES_MAX;
use crate::protocol::{Command, WishState, WishView};
use crate::text::one_line;

/// The commands of this file.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "role",
        usage: "/role NAME member|admin|owner",
        about: "what a member may do in the network (admins and owners)",
    },
    Entry {
        name: "remove",
        usage: "/remove NAME [reason]",
        about: "remove a member from the network for good (admins and owners)",
    },
];

/// The names of these commands in JSON, with what each takes.
pub(super) const FIELDS: &[(&str, &[&str])] =
    &[("role", &["name", "role"]), ("remove", &["name", "reason"])];

/// What a JSON command gave.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    pub(super) reason: Option<String>,
}

impl Given {
    /// The command; what is wrong with it otherwise.
    pub(super) fn command(self, cmd: &str) -> Result<Command, String> {
        let name = || self.name.clone().ok_or_else(|| format!("{cmd} needs name"));
        match cmd {
            "role" => {
                let role = self.role.as_deref().and_then(NetworkRole::parse);
                let role = role.ok_or("role needs role: member, admin or owner")?;
                Ok(Command::Role { name: name()?, role })
            }
            _ => {
                let reason = self.reason.clone().unwrap_or_default();
                if reason.len() > DETAIL_BYTES_MAX {
                    return Err(format!("reason is longer than {DETAIL_BYTES_MAX} bytes"));
                }
                Ok(Command::Remove { name: name()?, reason })
            }
        }
    }
}

/// A typed command: its name, and the rest of the line. `None`: the arguments are wrong.
pub(super) fn typed(name: &str, rest: &str) -> Option<Command> {
    let (first, more) = match rest.trim().split_once(char::is_whitespace) {
        Some((first, more)) => (first.to_owned(), more.trim()),
        None => (rest.trim().to_owned(), ""),
    };
    if first.is_empty() {
        return None;
    }
    match name {
        "role" => Some(Command::Role { name: first, role: NetworkRole::parse(more)? }),
        "remove" if more.len() <= DETAIL_BYTES_MAX => {
            Some(Command::Remove { name: first, reason: more.to_owned() })
        }
        _ => None,
    }
}

/// What became of a wish, for a person.
pub(super) fn wish_line(wish: &WishView) -> String {
    let name = one_line(&wish.name);
    let mut line = match (wish.role, &wish.state) {
        (Some(role), WishState::Ordered) => format!("{name} is now: {}", role.name()),
        (None, WishState::Ordered) => format!("{name} is removed"),
        (Some(role), WishState::Waiting { .. }) => {
            format!("{name} will be {} once that is ordered", role.name())
        }
        (None, WishState::Waiting { .. }) => {
            format!("{name} will be removed once that is ordered")
        }
    };
    if let WishState::Waiting { because } = &wish.state {
        // Writing into a String cannot fail.
        let _ = write!(line, "; it waits: {}", one_line(because));
    }
    line
}
