//! The commands about files: `/send`, `/files`, `/get`, `/drop`, `/export`.
//! Owns: their arguments and help.
//! Must not know: what lies at a path.
//! Invariants: what is not understood whole is not done in part.
//! Start reading at: [`parse`].

use std::path::PathBuf;

use super::Entry;
use crate::cli::args::Format;
use crate::cli::export::Export;
use crate::protocol::{Command, FileCommand};
use crate::time::Millis;

/// The commands of this file.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "send",
        usage: "/send [#room] [--expires 1d] FILE",
        about: "a file; with a time it can be had from nobody any more then",
    },
    Entry {
        name: "files",
        usage: "/files",
        about: "the files that were sent, and how far they are",
    },
    Entry {
        name: "get",
        usage: "/get ID [as NAME]",
        about: "fetch a file; small ones come by themselves",
    },
    Entry {
        name: "drop",
        usage: "/drop ID",
        about: "fetch a file no further; one that is here: give it to nobody any more",
    },
    Entry {
        name: "export",
        usage: "/export [#room] FILE [jsonl|md|txt]",
        about: "all messages into a file, oldest first; the format may be the end of its name",
    },
];

/// Understands such a command, but for its text; `None` for wrong arguments.
pub(super) fn parse(name: &str, arguments: &str) -> Option<Command> {
    let (id, more) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    let (id, more) = (id.to_owned(), more.trim());
    Some(Command::File(match name {
        "files" if arguments.is_empty() => FileCommand::List,
        "get" if !id.is_empty() => {
            let name = match more {
                "" => "",
                more => more.strip_prefix("as ").map(str::trim).filter(|it| !it.is_empty())?,
            };
            FileCommand::Get { id, name: name.to_owned() }
        }
        "drop" if !id.is_empty() && more.is_empty() => FileCommand::Drop { id },
        _ => return None,
    }))
}

/// A file to a room.
pub(super) fn send(room: &str, path: &str, life: Option<Millis>) -> Option<Command> {
    let path = placed(path).into_os_string().into_string().ok()?;
    let (room, name) = (room.to_owned(), String::new());
    (!path.is_empty()).then_some(Command::File(FileCommand::Send { room, path, name, life }))
}

/// As shells have it, who are not asked here.
pub(super) fn placed(path: &str) -> PathBuf {
    match path.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => PathBuf::from(path),
    }
}

/// A room into a file; spaces are part of its name. The last word may be the format, else the file
/// is called after it.
pub(super) fn export(room: &str, words: &str) -> Option<Export> {
    let last = words.rsplit_once(char::is_whitespace);
    let said = last.and_then(|(path, word)| Some((path.trim_end(), Format::named(word)?)));
    let (path, format) = match said {
        Some((path, format)) => (placed(path), format),
        None => {
            let path = placed(words);
            let end = path.extension()?.to_str()?.to_lowercase();
            (path, Format::named(&end)?)
        }
    };
    Some(Export { room: room.to_owned(), path, format })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_id_and_may_get_another_name() {
        let get = |id: &str, name: &str| {
            let (id, name) = (id.to_owned(), name.to_owned());
            Some(Command::File(FileCommand::Get { id, name }))
        };
        assert_eq!(parse("get", "3f9a"), get("3f9a", ""));
        assert_eq!(parse("get", "3f9a as my report.pdf"), get("3f9a", "my report.pdf"));
        let drop = Command::File(FileCommand::Drop { id: "3f9a".to_owned() });
        assert_eq!(parse("drop", "3f9a"), Some(drop));
        assert_eq!(parse("files", ""), Some(Command::File(FileCommand::List)));
        for (name, arguments) in [("get", ""), ("get", "3f9a x"), ("drop", ""), ("drop", "3f 9a")] {
            assert_eq!(parse(name, arguments), None, "/{name} {arguments}");
        }
        let sent = |path: &str| FileCommand::Send {
            room: "ops".to_owned(),
            path: path.to_owned(),
            name: String::new(),
            life: None,
        };
        assert_eq!(send("ops", "my file.txt", None), Some(Command::File(sent("my file.txt"))));
        assert_eq!(send("ops", "", None), None);
    }

    #[test]
    fn an_export_is_in_the_format_that_is_said_or_that_its_file_is_called_after() {
        let made = |path: &str, format| {
            let (room, path) = ("ops".to_owned(), PathBuf::from(path));
            Some(Export { room, path, format })
        };
        assert_eq!(export("ops", "talk.md"), made("talk.md", Format::Md));
        assert_eq!(export("ops", "my talk.TXT"), made("my talk.TXT", Format::Txt));
        assert_eq!(export("ops", "my talk  jsonl"), made("my talk", Format::Jsonl));
        assert_eq!(export("ops", "talk.md txt"), made("talk.md", Format::Txt));
        assert_eq!(export("ops", "/tmp/a.jsonl"), made("/tmp/a.jsonl", Format::Jsonl));
        for wrong in ["", "talk", "talk.pdf", "md", ".md", "talk pdf"] {
            assert_eq!(export("ops", wrong), None, "{wrong}");
        }
        if let Some(home) = std::env::home_dir() {
            let path = export("ops", "~/a.md").unwrap().path;
            assert_eq!(path, home.join("a.md"));
        }
    }
}
