//! The commands about messages to one member alone: `/msg`, `/code`, `/accept`.
//! Owns: their arguments and help.
//! Must not know: who may write to whom.
//! Invariants: what is not understood whole is not done in part.
//! Start reading at: [`parse`].

use super::Entry;
use crate::cli::args::span;
use crate::protocol::{Command, ContactCommand};
use crate::time::Millis;

/// The commands of this file.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "msg",
        usage: "/msg NAME [--code CODE] text",
        about: "a message to one member alone; with its contact code it need not wait there",
    },
    Entry {
        name: "accept",
        usage: "/accept [NAME]",
        about: "let somebody write to you who waits; without a name: who waits; /refuse NAME: no",
    },
    Entry {
        name: "code",
        usage: "/code [rotate]",
        about: "your contact code: whom you give it writes to you without waiting; rotate: a new one",
    },
];

/// Understands such a command; `None` for wrong arguments.
pub(super) fn parse(name: &str, arguments: &str) -> Option<Command> {
    let (first, more) = split(arguments);
    let someone = || Some(first.trim_start_matches('@').to_owned()).filter(|it| !it.is_empty());
    match name {
        "code" => {
            let is_new = match arguments {
                "" => false,
                "rotate" => true,
                _ => return None,
            };
            Some(Command::Contact(ContactCommand::Code { is_new }))
        }
        "accept" if first.is_empty() => Some(Command::Contact(ContactCommand::Requests)),
        "accept" if more.is_empty() => {
            Some(Command::Contact(ContactCommand::Accept { name: someone()? }))
        }
        "accept" => None,
        _ => direct(someone()?, more),
    }
}

fn direct(name: String, more: &str) -> Option<Command> {
    if more.is_empty() {
        return None;
    }
    let Some(("--code", rest)) = more.split_once(char::is_whitespace) else {
        return Some(Command::Direct { name, text: more.to_owned() });
    };
    let (code, text) = split(rest.trim_start());
    let is_whole = !code.is_empty() && !text.is_empty();
    let (code, text) = (code.to_owned(), text.to_owned());
    is_whole.then_some(Command::Contact(ContactCommand::Direct { name, text, code }))
}

/// A message to a room, perhaps with an end.
///
/// # Errors
/// What is wrong with the time.
pub(in crate::cli) fn send(
    room: String,
    text: String,
    expires: Option<&str>,
) -> Result<Command, String> {
    Ok(match expires {
        Some(expires) => Command::SendFor { room, text, life: span(expires)? },
        None => Command::Send { room, text },
    })
}

/// What follows `/send` and the room: a file, perhaps with an end.
pub(super) fn typed_send(room: &str, more: &str) -> Option<Command> {
    match ending(more) {
        None => super::file::send(room, more, None),
        Some(ending) => {
            let (life, path) = ending?;
            super::file::send(room, path, Some(life))
        }
    }
}

/// What follows `/say` and the room, where it begins with an end: a text with one. `None`: it does not.
pub(super) fn typed_say(room: &str, more: &str) -> Option<Option<Command>> {
    Some(ending(more)?.and_then(|(life, text)| {
        let (room, text) = (room.to_owned(), text.to_owned());
        (!text.is_empty()).then_some(Command::SendFor { room, text, life })
    }))
}

/// `--expires TIME` and what follows; `None`: it does not begin so; in it `None`: that is no time.
fn ending(more: &str) -> Option<Option<(Millis, &str)>> {
    let ("--expires", rest) = split(more) else { return None };
    let (time, rest) = split(rest);
    Some(span(time).ok().map(|life| (life, rest)))
}

fn split(text: &str) -> (&str, &str) {
    let (first, more) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, more.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FileCommand;

    fn contact(asked: ContactCommand) -> Option<Command> {
        Some(Command::Contact(asked))
    }

    #[test]
    fn a_message_may_have_an_end() {
        let room = || "ops".to_owned();
        let text = || "hi there".to_owned();
        let life = Millis(600_000);
        let ends = Some(Command::SendFor { room: room(), text: text(), life });
        assert_eq!(typed_say("ops", "--expires 10m hi there"), Some(ends));
        assert_eq!(typed_say("ops", "hi there"), None);
        let file = |life| {
            let (path, name) = (text(), String::new());
            Some(Command::File(FileCommand::Send { room: room(), path, name, life }))
        };
        assert_eq!(typed_send("ops", "hi there"), file(None));
        assert_eq!(typed_send("ops", "--expires 10m hi there"), file(Some(life)));
        for more in ["--expires", "--expires 10m", "--expires soon hi", "--expires 0s hi"] {
            assert_eq!(typed_send("ops", more), None, "{more}");
            assert_eq!(typed_say("ops", more), Some(None), "{more}");
        }
        assert_eq!(typed_send("ops", ""), None);
    }

    #[test]
    fn direct_messages_codes_and_requests_are_understood() {
        let bob = || "bob".to_owned();
        let direct = |text: &str| Some(Command::Direct { name: bob(), text: text.to_owned() });
        assert_eq!(parse("msg", "@bob hi there"), direct("hi there"));
        assert_eq!(parse("msg", "bob --codes are fun"), direct("--codes are fun"));
        let (text, code) = ("hi there".to_owned(), "a-b-c".to_owned());
        let with_code = ContactCommand::Direct { name: bob(), text, code };
        assert_eq!(parse("msg", "bob --code a-b-c hi there"), contact(with_code));
        assert_eq!(parse("code", ""), contact(ContactCommand::Code { is_new: false }));
        assert_eq!(parse("code", "rotate"), contact(ContactCommand::Code { is_new: true }));
        assert_eq!(parse("accept", ""), contact(ContactCommand::Requests));
        assert_eq!(parse("accept", "bob"), contact(ContactCommand::Accept { name: bob() }));
        for (name, arguments) in [
            ("msg", ""),
            ("msg", "bob"),
            ("msg", "bob --code a-b-c"),
            ("msg", "bob --code"),
            ("code", "x"),
            ("accept", "bob carol"),
        ] {
            let parsed = parse(name, arguments);
            let is_text = parsed == direct("--code");
            assert!(parsed.is_none() || is_text, "{name} {arguments}");
        }
    }
}
