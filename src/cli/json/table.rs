//! Which fields a command of `--json` may have.
//! Owns: the fields of the commands that are in no table of their own, and those that have none.
//! Must not know: what a command does.
//! Invariants: a field that is not named here is refused.
//! Start reading at: [`allowed`].

use super::{files, rooms};
use crate::cli::network::FIELDS;
use crate::protocol::{Command, PeopleCommand};

/// A table of commands, each with the fields that it may have.
pub(super) type Table = &'static [(&'static str, &'static [&'static str])];

/// The fields that a command of a table may have; `None`: it is not in it.
pub(super) fn fields_in(table: Table, cmd: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|(name, _)| *name == cmd).map(|(_, fields)| *fields)
}

/// The fields that a command may have; `None`: there is no such command.
pub(super) fn allowed(cmd: &str) -> Option<&'static [&'static str]> {
    Some(match cmd {
        "send" => &["room", "text", "expires"],
        "history" => &["room", "last", "before"],
        "seen" => &["room", "id"],
        "since" => &["after", "last"],
        "reply" | "edit" | "react" | "unreact" => &["room", "id", "text"],
        "delete" => &["room", "id"],
        "app" => &["room", "name", "text"],
        "search" => &["room", "words", "last"],
        "slash" => &["line"],
        "verify" => &["name", "verified"],
        "info" => &["id"],
        "deliveries" => &["room", "last", "before"],
        "status" | "leader" | "members" | "audit" | "compare" | "links" | "alarms" | "exit" => &[],
        _ => {
            let tables: [Table; 3] = [FIELDS, rooms::COMMANDS, files::COMMANDS];
            return tables.into_iter().find_map(|table| fields_in(table, cmd));
        }
    })
}

/// A command that is nothing but its name.
pub(super) fn bare(cmd: &str) -> Command {
    match cmd {
        "status" => Command::Status,
        "members" => Command::Members,
        "audit" => Command::Audit,
        "compare" => Command::Compare,
        "links" => Command::Links,
        "alarms" => Command::People(PeopleCommand::Alarms),
        _ => Command::Exit,
    }
}

/// The names of all commands.
pub(in crate::cli) fn commands() -> impl Iterator<Item = &'static str> {
    let known = [
        "send", "status", "leader", "members", "history", "since", "search", "audit", "compare",
        "verify", "alarms", "exit", "seen", "links",
    ];
    let known = known.into_iter().chain(["slash", "info", "deliveries", "app"]);
    let known = known.chain(["reply", "edit", "delete", "react", "unreact"]);
    let known = known.chain(FIELDS.iter().map(|(name, _)| *name));
    let known = known.chain(files::COMMANDS.iter().map(|(name, _)| *name));
    known.chain(rooms::COMMANDS.iter().map(|(name, _)| *name))
}
