//! Lines that are commands: `/who`, `/history 20`, `$exit`; and `//x`, which is a message after all.
//! Owns: their names, arguments and help.
//! Must not know: how an answer is shown.
//! Invariants: an unknown command is an error and never a message.
//! Start reading at: [`parse`].
//!
//! A first argument that begins with `#` names a room, one with `@` the room of two with a member;
//! without one a command is about the room one is in.

mod contact;
mod file;
mod fits;
mod foreign;
mod people;
mod room;
mod say;

pub(super) use self::contact::send;
pub(super) use self::fits::fits;
pub(super) use self::room::{CODE_CHARS_MIN, history, keep_age};
pub(super) use self::say::deed;
use super::export::Export;
use super::network;
use crate::config::nearest;
use crate::limits::HISTORY_MAX;
use crate::protocol::{Command, PeopleCommand, RoomAction, Words};
use crate::refusal::{Refusal, Refused};

/// A line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slash {
    /// What commands there are, or one of them.
    Help(Option<String>),
    /// Who leads.
    Leader,
    /// Something of the node.
    Do(Command),
    /// Further lines go to this room.
    Go(String),
    /// All of a room into a file.
    Export(Export),
    /// Leave.
    Exit,
    /// A message, and to which room.
    Say {
        /// The room.
        room: String,
        /// The message.
        text: String,
    },
}

/// A command as `/help` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
}

/// Every command.
pub(super) fn commands() -> impl Iterator<Item = &'static Entry> {
    let words = say::COMMANDS.iter().chain(contact::COMMANDS).chain(file::COMMANDS);
    COMMANDS.iter().chain(people::COMMANDS).chain(words).chain(network::COMMANDS)
}

/// Every command but those about who belongs.
const COMMANDS: &[Entry] = &[
    Entry {
        name: "help",
        usage: "/help [command|all]",
        about: "what commands there are; what one does; what each does",
    },
    Entry { name: "who", usage: "/who", about: "the members and where they stand" },
    Entry { name: "leader", usage: "/leader", about: "who leads, in which term" },
    Entry { name: "status", usage: "/status", about: "leader, quorum, voters, links, queues" },
    Entry { name: "history", usage: "/history [#room] [n]", about: "the newest n messages (20)" },
    Entry {
        name: "search",
        usage: "/search [#room] words",
        about: "the newest messages with all these words; wor* for a beginning",
    },
    Entry { name: "info", usage: "/info ID", about: "who has a message, who lacks it since when" },
    Entry { name: "audit", usage: "/audit", about: "who was admitted and removed, when, by whom" },
    Entry {
        name: "compare",
        usage: "/compare",
        about: "whether all who are connected hold the same; who lacks what",
    },
    Entry { name: "links", usage: "/links", about: "who is connected with whom, and how fast" },
    Entry {
        name: "receipts",
        usage: "/receipts",
        about: "removals: who holds new keys, what was the last message the removed could read",
    },
    Entry {
        name: "verify",
        usage: "/verify [name [ok|undo]]",
        about: "words to compare aloud with a member; ok if they are the same on both sides; without \
                a name as /compare",
    },
    Entry { name: "alarms", usage: "/alarms", about: "keys and names that did not fit together" },
    Entry { name: "rooms", usage: "/rooms", about: "the rooms you are in, and those you may join" },
    Entry { name: "go", usage: "/go ROOM", about: "further lines go to this room" },
    Entry {
        name: "say",
        usage: "/say #room text | /say [#room] --expires 10m text",
        about: "one message to another room; with a time it is gone on every member then",
    },
    Entry {
        name: "room",
        usage: "/room [#room] [info]",
        about: "how a room stands: members, keys, settings",
    },
    Entry {
        name: "room create",
        usage: "/room create NAME [free|approval|code CODE] [description]",
        about: "a new room: private, or listed and joined so",
    },
    Entry {
        name: "room invite",
        usage: "/room [#room] invite NAME [reader|member|admin|owner]",
        about: "have somebody in the room; the yes to who asks",
    },
    Entry { name: "join", usage: "/join ROOM [code]", about: "come into a listed room" },
    Entry { name: "leave", usage: "/leave [#room]", about: "leave a room; /part does the same" },
    Entry {
        name: "kick",
        usage: "/kick [#room] NAME [reason]",
        about: "have somebody out of a room",
    },
    Entry { name: "topic", usage: "/topic [#room] text", about: "what the room is about now" },
    Entry {
        name: "room role",
        usage: "/room [#room] role NAME reader|member|admin|owner",
        about: "what somebody may do in the room",
    },
    Entry {
        name: "room set",
        usage: "/room [#room] rename|describe|entry|capacity|history|keep|archive|delete …",
        about: "rename NAME; describe TEXT; entry invited|free|approval|code CODE; capacity N|none; \
                history none|since-join|last N|all; keep DAYS|forever; archive on|off; delete",
    },
    Entry {
        name: "room forgive",
        usage: "/room [#room] forgive NAME",
        about: "let somebody renew the room's keys again of whom most could not follow some",
    },
    Entry { name: "rekey", usage: "/rekey [#room]", about: "agree on new keys for the room" },
    Entry {
        name: "keys",
        usage: "/keys",
        about: "what keys do in the terminal interface; bound anew under keys: in config.yml",
    },
    Entry {
        name: "copy",
        usage: "/copy [id] [last|ID]",
        about: "put on the clipboard: the newest invite, code or link here; last: the newest message; \
                ID: that one; id: its id instead of its text. In tmux: set -g set-clipboard on",
    },
    Entry { name: "exit", usage: "/exit", about: "leave cleanly; $exit does the same" },
];

/// The commands by what they are about, as `/help` names them.
pub(super) const TOPICS: &[(&str, &[&str])] = &[
    ("talk", &["say", "me", "msg", "reply", "edit", "delete", "react", "unreact"]),
    ("read", &["history", "search", "info", "go", "mute", "unmute", "ignore", "unignore"]),
    ("files", &["send", "files", "get", "drop", "export", "copy"]),
    ("rooms", &["rooms", "room", "join", "leave", "topic", "kick", "rekey"]),
    ("people", &["who", "whois", "verify", "alarms", "code", "accept", "nick"]),
    ("network", &["invite", "approve", "refuse", "role", "remove", "receipts", "audit"]),
    ("state", &["status", "leader", "links", "compare"]),
    ("here", &["help", "keys", "clear", "exit"]),
];

const HISTORY_DEFAULT: usize = 20;
/// Messages that a typed search finds at most.
const FOUND_MAX: usize = 20;

/// Understands a line typed in this room. A line that is no command is a message; `//x` is the
/// message `/x`.
///
/// # Errors
/// [`Refusal::CommandUnknown`], or [`Refusal::CommandBad`] for wrong arguments.
pub(super) fn parse(line: &str, here: &str) -> Result<Slash, Refused> {
    if line.trim_end() == "$exit" {
        return Ok(Slash::Exit);
    }
    let say = |text: &str| Slash::Say { room: here.to_owned(), text: text.to_owned() };
    let Some(rest) = line.strip_prefix('/') else {
        return Ok(say(line));
    };
    if rest.starts_with('/') {
        return Ok(say(rest));
    }
    // "/ who" is no command either.
    let (name, arguments) = match rest.split_once(char::is_whitespace) {
        Some((name, arguments)) => (name, arguments.trim()),
        None => (rest, ""),
    };
    let bad = || wrong_arguments(name);
    let nothing = |slash: Slash| if arguments.is_empty() { Ok(slash) } else { Err(bad()) };
    let (room, more) = room_in(arguments, here);
    let act = |action| Slash::Do(Command::Act { room: room.to_owned(), action });
    Ok(match name {
        "help" => Slash::Help((!arguments.is_empty()).then(|| arguments.to_owned())),
        "who" | "names" => nothing(Slash::Do(Command::Members))?,
        "leader" => nothing(Slash::Leader)?,
        "status" => nothing(Slash::Do(Command::Status))?,
        "audit" => nothing(Slash::Do(Command::Audit))?,
        "compare" => nothing(Slash::Do(Command::Compare))?,
        "links" => nothing(Slash::Do(Command::Links))?,
        "alarms" => nothing(Slash::Do(Command::People(PeopleCommand::Alarms)))?,
        "info" if one_word(arguments) => Slash::Do(Command::Delivery { id: arguments.to_owned() }),
        "verify" => {
            let (name, mark) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
            let is_verified = match mark.trim_start() {
                // What `p2pgroup verify` asks of a member that runs.
                _ if name.is_empty() => return Ok(Slash::Do(Command::Compare)),
                "" => None,
                "ok" => Some(true),
                "undo" => Some(false),
                _ => return Err(bad()),
            };
            let name = name.trim_start_matches('@').to_owned();
            Slash::Do(Command::People(PeopleCommand::Verify { name, is_verified }))
        }
        "exit" | "quit" => nothing(Slash::Exit)?,
        "receipts" => nothing(Slash::Do(Command::Receipts))?,
        "rooms" => nothing(Slash::Do(Command::Rooms))?,
        "rekey" if more.is_empty() => act(RoomAction::Rekey),
        "go" if one_word(arguments) => Slash::Go(arguments.trim_start_matches('#').to_owned()),
        "say" if let Some(command) = contact::typed_say(room, more) => {
            Slash::Do(command.ok_or_else(bad)?)
        }
        "say" if room != here || arguments.starts_with('#') || arguments.starts_with('@') => {
            Slash::Say { room: room.to_owned(), text: more.to_owned() }
        }
        "msg" | "query" | "code" | "accept" => {
            Slash::Do(contact::parse(name, arguments).ok_or_else(bad)?)
        }
        "send" => Slash::Do(contact::typed_send(room, more).ok_or_else(bad)?),
        "export" => Slash::Export(file::export(room, more).ok_or_else(bad)?),
        "files" | "get" | "drop" => Slash::Do(file::parse(name, arguments).ok_or_else(bad)?),
        "search" | "lastlog" => {
            let words = Words::parse(more).map_err(|_| bad())?;
            let room = Some(room.to_owned());
            Slash::Do(Command::Search { room, words, last: FOUND_MAX })
        }
        "history" => {
            let last = match more {
                "" => HISTORY_DEFAULT,
                number => number
                    .parse()
                    .ok()
                    .filter(|last| (1..=HISTORY_MAX).contains(last))
                    .ok_or_else(bad)?,
            };
            Slash::Do(Command::History { room: room.to_owned(), last })
        }
        "room" | "join" | "leave" | "part" | "kick" | "topic" => {
            Slash::Do(room::parse(name, arguments, here).ok_or_else(bad)?)
        }
        "del" => say::typed("delete", arguments, here).ok_or_else(|| wrong_arguments("delete"))?,
        "reply" | "edit" | "delete" | "react" | "unreact" => {
            say::typed(name, arguments, here).ok_or_else(bad)?
        }
        "me" | "whois" | "ignore" | "unignore" | "mute" | "unmute" | "nick" | "clear" => {
            people::parse(name, arguments, here).ok_or_else(bad)??
        }
        // The screen answers it.
        "keys" | "copy" => return Err(of_the_screen(name)),
        "rekey" | "go" | "say" | "info" => return Err(bad()),
        _ if network::COMMANDS.iter().any(|entry| entry.name == name) => {
            Slash::Do(network::typed(name, arguments).ok_or_else(bad)?)
        }
        _ => return Err(unknown(name)),
    })
}

/// What the screen does by itself, and lines cannot.
fn of_the_screen(name: &str) -> Refused {
    let why = match name {
        "keys" => "lines have no keys",
        _ => "lines are copied as the terminal does it; /copy is for the whole screen",
    };
    Refused::new(Refusal::CommandBad, why)
}

/// The room that the first argument names, or else the one one is in; and the other arguments.
fn room_in<'a>(arguments: &'a str, here: &'a str) -> (&'a str, &'a str) {
    if !arguments.starts_with(['#', '@']) {
        return (here, arguments);
    }
    let (room, more) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    (room.trim_start_matches('#'), more.trim())
}

fn one_word(arguments: &str) -> bool {
    !arguments.is_empty() && !arguments.contains(char::is_whitespace)
}

/// Whether a name is a command of ours.
pub(super) fn is_command(name: &str) -> bool {
    parse(&format!("/{name}"), "").err().is_none_or(|no| no.refusal != Refusal::CommandUnknown)
}

/// The commands that `/help` tells about.
///
/// # Errors
/// [`Refusal::CommandUnknown`].
pub(super) fn help(topic: Option<&str>) -> Result<Vec<Entry>, Refused> {
    let Some(topic) = topic.filter(|it| *it != "all") else {
        return Ok(commands().copied().collect());
    };
    let name = match topic.trim_start_matches(['/', '$']) {
        "names" => "who",
        "quit" => "exit",
        "part" => "leave",
        "lastlog" => "search",
        "query" => "msg",
        "del" => "delete",
        name => name,
    };
    let about = |entry: &&Entry| entry.name == name || entry.name.split(' ').next() == Some(name);
    let found: Vec<Entry> = commands().filter(about).copied().collect();
    if found.is_empty() { Err(unknown(name)) } else { Ok(found) }
}

fn wrong_arguments(name: &str) -> Refused {
    let name = match name {
        "lastlog" => "search",
        "query" => "msg",
        "part" => "leave",
        name => name,
    };
    let usage = commands().find(|entry| entry.name == name).map_or("", |entry| entry.usage);
    Refused::new(Refusal::CommandBad, format!("usage: {usage}"))
}

fn unknown(name: &str) -> Refused {
    let name: String = name.chars().take(64).collect();
    if let Some(here) = foreign::instead(&name) {
        return Refused::new(Refusal::CommandUnknown, format!("/{name}; here it is {here}"));
    }
    Refused::new(
        Refusal::CommandUnknown,
        match nearest(&name, commands().map(|entry| entry.name)) {
            Some(near) => format!("/{name}; did you mean /{near}?"),
            None => format!("/{name}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NetworkRole;

    fn typed(line: &str) -> Result<Slash, Refused> {
        parse(line, "main")
    }

    fn say(text: &str) -> Result<Slash, Refused> {
        Ok(Slash::Say { room: "main".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn a_line_without_a_slash_is_a_message() {
        for line in ["hello /who", " /who", "$exit now"] {
            assert_eq!(typed(line), say(line));
        }
    }

    #[test]
    fn del_is_delete() {
        assert_eq!(typed("/del 12ab"), typed("/delete 12ab"));
        assert_eq!(typed("/del").unwrap_err().detail, "usage: /delete ID|last");
        assert_eq!(help(Some("del")), help(Some("delete")));
    }

    #[test]
    fn two_slashes_send_one() {
        assert_eq!(typed("//who"), say("/who"));
        assert_eq!(typed("//"), say("/"));
    }

    #[test]
    fn commands_are_understood_with_their_arguments() {
        let done = |command: Command| Ok(Slash::Do(command));
        let main = || "main".to_owned();
        assert_eq!(typed("/who"), done(Command::Members));
        assert_eq!(typed("/leader "), Ok(Slash::Leader));
        assert_eq!(typed("/status"), done(Command::Status));
        assert_eq!(typed("/rooms"), done(Command::Rooms));
        assert_eq!(typed("/links"), done(Command::Links));
        assert_eq!(typed("/exit"), Ok(Slash::Exit));
        assert_eq!(typed("$exit"), Ok(Slash::Exit));
        let history = |room: &str, last| done(Command::History { room: room.to_owned(), last });
        assert_eq!(typed("/history"), history("main", HISTORY_DEFAULT));
        assert_eq!(typed("/history 7"), history("main", 7));
        assert_eq!(typed("/history #ops 7"), history("ops", 7));
        assert_eq!(parse("/history", "@bob"), history("@bob", HISTORY_DEFAULT));
        assert_eq!(typed("/audit"), done(Command::Audit));
        let delivery = Command::Delivery { id: "12ab".to_owned() };
        assert_eq!(typed("/info 12ab"), done(delivery));
        let role = Command::Role { name: "bob".to_owned(), role: NetworkRole::Admin };
        assert_eq!(typed("/role  bob admin "), done(role));
        let remove = |reason: &str| {
            let (name, reason) = ("bob".to_owned(), reason.to_owned());
            done(Command::Remove { name, reason })
        };
        assert_eq!(typed("/remove bob"), remove(""));
        assert_eq!(typed("/remove bob left the firm"), remove("left the firm"));
        assert_eq!(typed("/alarms"), done(Command::People(PeopleCommand::Alarms)));
        let verify = |name: &str, is_verified| {
            let name = name.to_owned();
            done(Command::People(PeopleCommand::Verify { name, is_verified }))
        };
        assert_eq!(typed("/verify bob"), verify("bob", None));
        assert_eq!(typed("/verify @bob ok"), verify("bob", Some(true)));
        assert_eq!(typed("/verify bob undo"), verify("bob", Some(false)));
        assert_eq!(typed("/verify ok"), verify("ok", None));
        assert_eq!(typed("/verify"), done(Command::Compare));
        let words = Words::parse("a b*").unwrap();
        let found = Command::Search { room: Some(main()), words, last: FOUND_MAX };
        assert_eq!(typed("/search a b*"), done(found));
        assert_eq!(typed("/help who"), Ok(Slash::Help(Some("who".to_owned()))));
        assert_eq!(typed("/go #ops"), Ok(Slash::Go("ops".to_owned())));
        assert_eq!(typed("/go @bob"), Ok(Slash::Go("@bob".to_owned())));
        let direct = Command::Direct { name: "bob".to_owned(), text: "hi there".to_owned() };
        assert_eq!(typed("/msg bob hi there"), done(direct));
        let said = Slash::Say { room: "ops".to_owned(), text: "hi there".to_owned() };
        assert_eq!(typed("/say #ops hi there"), Ok(said));
        let rekey = |room: &str| Command::Act { room: room.to_owned(), action: RoomAction::Rekey };
        assert_eq!(typed("/rekey"), done(rekey("main")));
        assert_eq!(typed("/rekey #ops"), done(rekey("ops")));
    }

    #[test]
    fn unknown_commands_are_errors_and_name_the_nearest() {
        for line in ["/", "/ who", "/whoo", "/WHO", "/ban", "/\u{1b}[2J"] {
            let refused = typed(line).unwrap_err();
            assert_eq!(refused.refusal, Refusal::CommandUnknown, "{line}");
            assert!(!refused.detail.contains('\u{1b}'));
        }
        assert_eq!(typed("/whoo").unwrap_err().detail, "/whoo; did you mean /who?");
        let endless = format!("/{}", "x".repeat(70_000));
        assert!(typed(&endless).unwrap_err().detail.len() < 200);
    }

    #[test]
    fn wrong_arguments_are_errors_that_show_the_usage() {
        for line in [
            "/who bob",
            "/search",
            "/search ?!",
            "/audit x",
            "/info",
            "/info 12ab 34cd",
            "/verify bob yes",
            "/verify bob ok ok",
            "/alarms bob",
            "/history x",
            "/history 0",
            "/history -1",
            "/history 1 2",
            "/room x",
            "/room create",
            "/room invite",
            "/room role bob king",
            "/kick",
            "/join",
            "/go",
            "/go a b",
            "/say hello",
            "/msg bob",
            "/rekey now",
            "/role",
            "/role bob",
            "/role bob boss",
            "/role bob admin now",
            "/remove",
        ] {
            assert_eq!(typed(line).unwrap_err().refusal, Refusal::CommandBad, "{line}");
        }
        assert_eq!(typed("/history x").unwrap_err().detail, "usage: /history [#room] [n]");
    }

    #[test]
    fn every_command_of_the_help_is_told_about() {
        for entry in commands() {
            assert!(help(Some(entry.name)).unwrap().contains(entry));
            let first = entry.name.split(' ').next().unwrap();
            let refused = typed(&format!("/{first}")).err();
            assert!(refused.is_none_or(|it| it.refusal == Refusal::CommandBad), "{first}");
        }
        assert_eq!(help(None).unwrap().len(), commands().count());
        assert!(help(Some("room")).unwrap().len() > 3);
        assert!(help(Some("nothing")).is_err());
    }
}
