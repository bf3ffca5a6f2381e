//! What is said about a message, as typed.
//! Owns: the words of these commands.
//! Must not know: which message an id means.
//! Invariants: none of its own.
//! Start reading at: [`typed`].

use super::{Entry, Slash};
use crate::protocol::{Command, Deed};

/// The commands about a message.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "reply",
        usage: "/reply ID|last text",
        about: "an answer to a message; last: the newest that is not yours",
    },
    Entry {
        name: "edit",
        usage: "/edit ID|last text",
        about: "another text for a message of yours; everybody sees that it was edited",
    },
    Entry {
        name: "delete",
        usage: "/delete ID|last",
        about: "have a message of yours shown as deleted; who has it keeps what it has",
    },
    Entry { name: "react", usage: "/react ID|last MARK", about: "a mark on a message, such as +1" },
    Entry { name: "unreact", usage: "/unreact ID|last MARK", about: "take a mark back" },
];

/// `None` for wrong arguments.
pub(super) fn typed(name: &str, arguments: &str, here: &str) -> Option<Slash> {
    let (to, text) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    let deed = deed(name, text.trim_start())?;
    let to = (!to.is_empty()).then(|| to.to_owned())?;
    Some(Slash::Do(Command::Say { room: here.to_owned(), to, deed }))
}

/// What a command of this name says with this text; `None` if it needs one, or takes none.
pub(in crate::cli) fn deed(name: &str, text: &str) -> Option<Deed> {
    Some(match (name, text.is_empty()) {
        ("delete", true) => Deed::Delete,
        ("reply", false) => Deed::Reply { text: text.to_owned() },
        ("edit", false) => Deed::Edit { text: text.to_owned() },
        ("react" | "unreact", false) => {
            Deed::React { mark: text.to_owned(), is_removed: name == "unreact" }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_a_message_is_understood() {
        let say = |deed| {
            let (room, to) = ("ops".to_owned(), "12ab".to_owned());
            Some(Slash::Do(Command::Say { room, to, deed }))
        };
        let text = || "two words".to_owned();
        assert_eq!(typed("reply", "12ab  two words", "ops"), say(Deed::Reply { text: text() }));
        assert_eq!(typed("edit", "12ab two words", "ops"), say(Deed::Edit { text: text() }));
        assert_eq!(typed("delete", "12ab", "ops"), say(Deed::Delete));
        let react = |is_removed| say(Deed::React { mark: "+1".to_owned(), is_removed });
        assert_eq!(typed("react", "12ab +1", "ops"), react(false));
        assert_eq!(typed("unreact", "12ab +1", "ops"), react(true));
        for (name, arguments) in [
            ("reply", "12ab"),
            ("reply", ""),
            ("edit", "last "),
            ("delete", "12ab x"),
            ("react", "x"),
        ] {
            assert_eq!(typed(name, arguments, "ops"), None, "{name} {arguments}");
        }
    }
}
