//! Lines that are commands: `/who`, `/history 20`, `$exit`; and `//x`, which is a message after all.
//! Owns: their names, arguments and help.
//! Must not know: how an answer is shown.
//! Invariants: an unknown command is an error and never a message.
//! Start reading at: [`parse`].

use super::json::MAIN;
use crate::config::nearest;
use crate::limits::HISTORY_MAX;
use crate::protocol::{Command, PeopleCommand, Words};
use crate::refusal::{Refusal, Refused};

/// A line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slash {
    /// What commands there are, or one of them.
    Help(Option<String>),
    /// The members.
    Who,
    /// Who leads.
    Leader,
    /// Everything.
    Status,
    /// The newest messages.
    History(usize),
    /// The newest messages that hold these words, and the words as typed.
    Search(Words, String),
    /// What the control log changed.
    Audit,
    /// A member's safety words, and whether to mark it as verified.
    Verify(String, Option<bool>),
    /// Every alarm there was.
    Alarms,
    /// How the room's keys stand.
    Room,
    /// Agree on new keys.
    Rekey,
    /// Leave.
    Exit,
    /// A message.
    Say(String),
}

/// A command as `/help` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
}

/// Every command.
pub(super) const COMMANDS: &[Entry] = &[
    Entry { name: "help", usage: "/help [command]", about: "what commands there are" },
    Entry { name: "who", usage: "/who", about: "the members and where they stand" },
    Entry { name: "leader", usage: "/leader", about: "who leads, in which term" },
    Entry { name: "status", usage: "/status", about: "leader, quorum, voters, links, queues" },
    Entry { name: "history", usage: "/history [n]", about: "the newest n messages (20)" },
    Entry {
        name: "search",
        usage: "/search words",
        about: "the newest messages with all these words; wor* for a beginning",
    },
    Entry { name: "audit", usage: "/audit", about: "who was admitted and removed, when, by whom" },
    Entry {
        name: "verify",
        usage: "/verify name [ok|undo]",
        about: "words to compare aloud with a member; ok if they are the same on both sides",
    },
    Entry { name: "alarms", usage: "/alarms", about: "keys and names that did not fit together" },
    Entry { name: "room", usage: "/room [info]", about: "the room's keys: epoch, who holds it" },
    Entry { name: "rekey", usage: "/rekey", about: "agree on new keys for the room" },
    Entry { name: "exit", usage: "/exit", about: "leave cleanly; $exit does the same" },
];

const HISTORY_DEFAULT: usize = 20;
/// Messages that a typed search finds at most.
const FOUND_MAX: usize = 20;

/// Understands a line. A line that is no command is a message; `//x` is the message `/x`.
///
/// # Errors
/// [`Refusal::CommandUnknown`], or [`Refusal::CommandBad`] for wrong arguments.
pub(super) fn parse(line: &str) -> Result<Slash, Refused> {
    if line.trim_end() == "$exit" {
        return Ok(Slash::Exit);
    }
    let Some(rest) = line.strip_prefix('/') else {
        return Ok(Slash::Say(line.to_owned()));
    };
    if rest.starts_with('/') {
        return Ok(Slash::Say(rest.to_owned()));
    }
    let mut words = rest.split_whitespace();
    // "/ who" is no command either.
    let name = if rest.starts_with(char::is_whitespace) { "" } else { words.next().unwrap_or("") };
    let argument = words.next();
    let no_more = |allowed: usize, slash: Slash| {
        let given = usize::from(argument.is_some()) + words.clone().count();
        if given <= allowed { Ok(slash) } else { Err(wrong_arguments(name)) }
    };
    match name {
        "help" => no_more(1, Slash::Help(argument.map(ToOwned::to_owned))),
        "who" => no_more(0, Slash::Who),
        "leader" => no_more(0, Slash::Leader),
        "status" => no_more(0, Slash::Status),
        "audit" => no_more(0, Slash::Audit),
        "alarms" => no_more(0, Slash::Alarms),
        "verify" => {
            let mark = match words.clone().next() {
                None => None,
                Some("ok") => Some(true),
                Some("undo") => Some(false),
                Some(_) => return Err(wrong_arguments(name)),
            };
            let member = argument.ok_or_else(|| wrong_arguments(name))?;
            no_more(2, Slash::Verify(member.to_owned(), mark))
        }
        "rekey" => no_more(0, Slash::Rekey),
        "room" if argument.is_none_or(|argument| argument == "info") => no_more(1, Slash::Room),
        "room" => Err(wrong_arguments(name)),
        "exit" => no_more(0, Slash::Exit),
        "search" => {
            let typed = rest.strip_prefix(name).unwrap_or_default().trim();
            let words = Words::parse(typed).map_err(|_| wrong_arguments(name))?;
            Ok(Slash::Search(words, typed.to_owned()))
        }
        "history" => {
            let last = match argument {
                None => HISTORY_DEFAULT,
                Some(number) => number
                    .parse()
                    .ok()
                    .filter(|last| (1..=HISTORY_MAX).contains(last))
                    .ok_or_else(|| wrong_arguments(name))?,
            };
            no_more(1, Slash::History(last))
        }
        _ => Err(unknown(name)),
    }
}

/// The typed search as a command.
pub(super) fn search(words: &Words) -> Command {
    Command::Search { room: MAIN.to_owned(), words: words.clone(), last: FOUND_MAX }
}

/// A typed question about members as people.
pub(super) fn people(slash: &Slash) -> PeopleCommand {
    match slash {
        Slash::Verify(name, is_verified) => {
            PeopleCommand::Verify { name: name.clone(), is_verified: *is_verified }
        }
        _ => PeopleCommand::Alarms,
    }
}

/// The commands that `/help` tells about.
///
/// # Errors
/// [`Refusal::CommandUnknown`].
pub(super) fn help(topic: Option<&str>) -> Result<Vec<Entry>, Refused> {
    let Some(topic) = topic else { return Ok(COMMANDS.to_vec()) };
    let name = topic.trim_start_matches(['/', '$']);
    match COMMANDS.iter().find(|entry| entry.name == name) {
        Some(entry) => Ok(vec![*entry]),
        None => Err(unknown(name)),
    }
}

fn wrong_arguments(name: &str) -> Refused {
    let usage = COMMANDS.iter().find(|entry| entry.name == name).map_or("", |entry| entry.usage);
    Refused::new(Refusal::CommandBad, format!("usage: {usage}"))
}

fn unknown(name: &str) -> Refused {
    let name: String = name.chars().take(64).collect();
    Refused::new(
        Refusal::CommandUnknown,
        match nearest(&name, COMMANDS.iter().map(|entry| entry.name)) {
            Some(near) => format!("/{name}; did you mean /{near}?"),
            None => format!("/{name}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_slash_is_a_message() {
        assert_eq!(parse("hello /who"), Ok(Slash::Say("hello /who".to_owned())));
        assert_eq!(parse(" /who"), Ok(Slash::Say(" /who".to_owned())));
        assert_eq!(parse("$exit now"), Ok(Slash::Say("$exit now".to_owned())));
    }

    #[test]
    fn two_slashes_send_one() {
        assert_eq!(parse("//who"), Ok(Slash::Say("/who".to_owned())));
        assert_eq!(parse("//"), Ok(Slash::Say("/".to_owned())));
    }

    #[test]
    fn commands_are_understood_with_their_arguments() {
        assert_eq!(parse("/who"), Ok(Slash::Who));
        assert_eq!(parse("/leader "), Ok(Slash::Leader));
        assert_eq!(parse("/status"), Ok(Slash::Status));
        assert_eq!(parse("/room"), Ok(Slash::Room));
        assert_eq!(parse("/room info"), Ok(Slash::Room));
        assert_eq!(parse("/rekey"), Ok(Slash::Rekey));
        assert_eq!(parse("/exit"), Ok(Slash::Exit));
        assert_eq!(parse("$exit"), Ok(Slash::Exit));
        assert_eq!(parse("/history"), Ok(Slash::History(HISTORY_DEFAULT)));
        assert_eq!(parse("/history 7"), Ok(Slash::History(7)));
        assert_eq!(parse("/audit"), Ok(Slash::Audit));
        assert_eq!(parse("/alarms"), Ok(Slash::Alarms));
        let verify = |mark| Ok(Slash::Verify("bob".to_owned(), mark));
        assert_eq!(parse("/verify bob"), verify(None));
        assert_eq!(parse("/verify bob ok"), verify(Some(true)));
        assert_eq!(parse("/verify bob undo"), verify(Some(false)));
        assert_eq!(parse("/verify ok"), Ok(Slash::Verify("ok".to_owned(), None)));
        let words = Words::parse("a b*").unwrap();
        assert_eq!(parse("/search a b*"), Ok(Slash::Search(words, "a b*".to_owned())));
        assert_eq!(parse("/help who"), Ok(Slash::Help(Some("who".to_owned()))));
    }

    #[test]
    fn unknown_commands_are_errors_and_name_the_nearest() {
        for line in ["/", "/ who", "/whoo", "/WHO", "/quit", "/\u{1b}[2J"] {
            let refused = parse(line).unwrap_err();
            assert_eq!(refused.refusal, Refusal::CommandUnknown, "{line}");
            assert!(!refused.detail.contains('\u{1b}'));
        }
        assert_eq!(parse("/whoo").unwrap_err().detail, "/whoo; did you mean /who?");
        let endless = format!("/{}", "x".repeat(70_000));
        assert!(parse(&endless).unwrap_err().detail.len() < 200);
    }

    #[test]
    fn wrong_arguments_are_errors_that_show_the_usage() {
        for line in [
            "/who bob",
            "/search",
            "/search ?!",
            "/audit x",
            "/verify",
            "/verify bob yes",
            "/verify bob ok ok",
            "/alarms bob",
            "/history x",
            "/history 0",
            "/history -1",
            "/history 1 2",
            "/help a b",
            "/room x",
        ] {
            assert_eq!(parse(line).unwrap_err().refusal, Refusal::CommandBad, "{line}");
        }
        assert_eq!(parse("/history x").unwrap_err().detail, "usage: /history [n]");
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for entry in COMMANDS {
            let argument = match entry.name {
                "search" | "verify" => " word",
                _ => "",
            };
            assert!(parse(&format!("/{}{argument}", entry.name)).is_ok());
            assert_eq!(help(Some(entry.name)), Ok(vec![*entry]));
        }
        assert_eq!(help(None).unwrap().len(), COMMANDS.len());
        assert!(help(Some("nothing")).is_err());
    }
}
