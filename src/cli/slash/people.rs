//! The commands about members as people: `/whois`, `/ignore`; what they do: `/me`; and which room calls.
//! Owns: their arguments and help.
//! Must not know: whose messages are shown where.
//! Invariants: what is not understood whole is not done in part.
//! Start reading at: [`parse`].

use super::{Entry, Slash, one_word, room_in};
use crate::protocol::{Command, PeopleCommand};
use crate::refusal::{Refusal, Refused};

/// The commands of this file.
pub(super) const COMMANDS: &[Entry] = &[
    Entry { name: "me", usage: "/me text", about: "what you do: everybody sees * you text" },
    Entry {
        name: "whois",
        usage: "/whois NAME",
        about: "all that is known of a member: role, key, link, rooms",
    },
    Entry {
        name: "ignore",
        usage: "/ignore [NAME]",
        about: "show nothing that somebody writes, on this home alone; without a name: who is ignored",
    },
    Entry {
        name: "unignore",
        usage: "/unignore NAME",
        about: "show it again, what was written meanwhile too",
    },
    Entry {
        name: "mute",
        usage: "/mute [#room]",
        about: "no bell and no colour for what is said in a room, on this home alone",
    },
    Entry { name: "unmute", usage: "/unmute [#room]", about: "let a room call again" },
    Entry {
        name: "nick",
        usage: "/nick",
        about: "your name is given by the key authority and stays; for another one join with a new \
                home: p2pgroup join --home DIR --name NAME",
    },
    Entry {
        name: "clear",
        usage: "/clear",
        about: "clear the view in the terminal interface; scrolling back shows what is stored",
    },
];

/// Understands such a command; `None` for wrong arguments.
///
/// # Errors
/// [`Refusal::CommandBad`] for what is of the screen alone.
pub(super) fn parse(name: &str, arguments: &str, here: &str) -> Option<Result<Slash, Refused>> {
    let people = |command| Some(Ok(Slash::Do(Command::People(command))));
    let person = || {
        let name = arguments.trim_start_matches('@');
        (one_word(arguments) && !name.is_empty()).then(|| name.to_owned())
    };
    match name {
        "me" if arguments.is_empty() => None,
        // The word goes with it: that is how everybody knows.
        "me" => Some(Ok(Slash::Say { room: here.to_owned(), text: format!("/me {arguments}") })),
        "whois" => people(PeopleCommand::Whois { name: person()? }),
        "ignore" if arguments.is_empty() => people(PeopleCommand::Ignored),
        "ignore" | "unignore" => {
            people(PeopleCommand::Ignore { name: person()?, is_ignored: name == "ignore" })
        }
        "mute" | "unmute" => {
            let (room, more) = room_in(arguments, here);
            let (room, is_muted) = (room.to_owned(), name == "mute");
            more.is_empty().then_some(Ok(Slash::Do(Command::Mute { room, is_muted })))
        }
        // Whatever name is wished for.
        "nick" => Some(Ok(Slash::Help(Some(name.to_owned())))),
        _ => Some(Err(Refused::new(Refusal::CommandBad, "lines stay where they are"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::slash;

    fn typed(line: &str) -> Result<Slash, Refused> {
        slash::parse(line, "main")
    }

    #[test]
    fn commands_about_people_are_understood() {
        let people = |command| Ok(Slash::Do(Command::People(command)));
        let bob = || "bob".to_owned();
        let said = |text: &str| Ok(Slash::Say { room: "main".to_owned(), text: text.to_owned() });
        assert_eq!(typed("/me  waves  twice "), said("/me waves  twice"));
        assert_eq!(typed("/whois @bob"), people(PeopleCommand::Whois { name: bob() }));
        assert_eq!(typed("/ignore"), people(PeopleCommand::Ignored));
        let ignore = |is_ignored| people(PeopleCommand::Ignore { name: bob(), is_ignored });
        assert_eq!(typed("/ignore bob"), ignore(true));
        assert_eq!(typed("/unignore bob"), ignore(false));
        let mute =
            |room: &str, is_muted| Ok(Slash::Do(Command::Mute { room: room.to_owned(), is_muted }));
        assert_eq!(typed("/mute"), mute("main", true));
        assert_eq!(typed("/mute #ops"), mute("ops", true));
        assert_eq!(typed("/unmute @bob"), mute("@bob", false));
        assert_eq!(typed("/lastlog a b"), typed("/search a b"));
        let help = Ok(Slash::Help(Some("nick".to_owned())));
        assert_eq!((typed("/nick"), typed("/nick bob")), (help.clone(), help));
        let [entry] = slash::help(Some("nick")).unwrap()[..] else { panic!("one line") };
        assert!(entry.about.contains("key authority") && entry.about.contains("--name"));
    }

    #[test]
    fn wrong_arguments_show_the_usage() {
        for (line, usage) in [
            ("/me", "usage: /me text"),
            ("/whois", "usage: /whois NAME"),
            ("/whois a b", "usage: /whois NAME"),
            ("/ignore a b", "usage: /ignore [NAME]"),
            ("/unignore", "usage: /unignore NAME"),
            ("/mute now", "usage: /mute [#room]"),
            ("/lastlog", "usage: /search [#room] words"),
            ("/clear", "lines stay where they are"),
        ] {
            let refused = typed(line).unwrap_err();
            assert_eq!((refused.refusal, refused.detail.as_str()), (Refusal::CommandBad, usage));
        }
    }
}
