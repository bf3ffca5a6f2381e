//! What may stand at the end of a command that is being typed: its fixed words, rooms, members, files.
//! Owns: the grammar of the commands, as far as Tab needs it.
//! Must not know: which rooms and members there are, keys.
//! Invariants: what is offered is understood as what it stands for; a directory is read up to
//! [`ENTRIES_MAX`] entries; no name with a control character is offered.
//! Start reading at: [`fits`].

use std::path::Path;

use super::{commands, file, room_in};
use crate::cli::args::Format;
use crate::ids::NetworkRole;
use crate::terms::Role;
use crate::text::{is_deceptive, one_line};
use crate::tui::{Fit, Fits};

/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 4_096;
/// Names of files that are offered.
const PATHS_MAX: usize = 256;

/// The words behind `/room`.
const ROOM_VERBS: &[&str] = &[
    "archive", "capacity", "create", "delete", "describe", "entry", "forgive", "history", "info",
    "invite", "join", "keep", "kick", "leave", "list", "rekey", "rename", "role", "topic",
];
const ENTRIES: &[&str] = &["approval", "code", "free", "invited"];

/// What may stand at the end of this line, which begins with `/`.
pub(in crate::cli) fn fits(line: &str) -> Fits {
    let last = line.char_indices().rev().find(|(_, c)| c.is_whitespace());
    let at = last.map_or(0, |(at, c)| at.saturating_add(c.len_utf8()));
    let begun = line.get(1..).and_then(|rest| rest.split_once(char::is_whitespace));
    let Some((name, arguments)) = begun else {
        let names = commands().filter_map(|entry| entry.name.split(' ').next());
        return Fits { at: 0, of: sorted(names.map(|name| format!("/{name} "))) };
    };
    let (_, own) = room_in(arguments.trim_start(), "");
    // The room itself is still being typed.
    let is_room_open = arguments.trim_start().starts_with(['#', '@'])
        && !arguments.trim_start().contains(char::is_whitespace);
    let before = line.get(..at).unwrap_or_default();
    let (_, done) =
        room_in(before.split_once(char::is_whitespace).map_or("", |it| it.1).trim(), "");
    let done: Vec<&str> = done.split_whitespace().collect();
    match name {
        _ if is_room_open && !matches!(name, "go" | "join") => Fits { at, of: vec![Fit::Text] },
        "send" | "export" => of_files(name, line, own),
        _ => Fits { at, of: words(name, &done) },
    }
}

/// What may come after these words of a command.
fn words(name: &str, done: &[&str]) -> Vec<Fit> {
    let fixed = |words: &[&str]| sorted(words.iter().map(|word| format!("{word} ")));
    match (name, done) {
        ("help", []) => {
            let names = commands().filter_map(|entry| entry.name.split(' ').next());
            sorted(names.chain(["all"]).map(|name| format!("{name} ")))
        }
        ("go", []) => vec![Fit::Room],
        ("join", []) => vec![Fit::Joinable],
        ("code", []) => fixed(&["rotate"]),
        ("copy", []) => fixed(&["id", "last"]),
        ("copy", ["id"]) => fixed(&["last"]),
        ("verify", [_]) => fixed(&["ok", "undo"]),
        ("role", [_]) => fixed(&NetworkRole::ALL.map(NetworkRole::name)),
        ("msg" | "query", [_]) => [fixed(&["--code"]), vec![Fit::Text]].concat(),
        ("invite", []) => fixed(&["create", "list", "revoke"]),
        ("invite", ["create", .., "--name"]) => vec![Fit::Member],
        ("invite", ["create", .., "--room"]) => vec![Fit::Room],
        ("invite", ["create", pairs @ ..]) if pairs.len().is_multiple_of(2) => {
            fixed(&["--expires", "--name", "--room", "--uses"])
        }
        ("get", [_]) => fixed(&["as"]),
        ("room", []) => fixed(ROOM_VERBS),
        ("room", ["invite" | "approve" | "kick" | "role" | "forgive"]) => vec![Fit::Member],
        ("room", ["invite" | "approve" | "role", _]) => fixed(&Role::ALL.map(Role::name)),
        ("room", ["create", _]) => fixed(&["approval", "code", "free", "private"]),
        ("room", ["entry"]) => fixed(ENTRIES),
        ("room", ["capacity"]) => fixed(&["none"]),
        ("room", ["history"]) => fixed(&["all", "last", "none", "since-join"]),
        ("room", ["keep"]) => fixed(&["forever"]),
        ("room", ["archive"]) => fixed(&["off", "on"]),
        ("room", ["topic" | "describe", ..]) => vec![Fit::Text],
        (
            "accept" | "refuse" | "approve" | "remove" | "kick" | "verify" | "role" | "msg"
            | "query" | "whois" | "ignore" | "unignore",
            [],
        ) => vec![Fit::Member],
        (
            "help" | "go" | "join" | "code" | "copy" | "verify" | "role" | "invite" | "get"
            | "room" | "accept" | "approve" | "whois" | "ignore" | "unignore" | "mute" | "unmute",
            _,
        ) => Vec::new(),
        _ => vec![Fit::Text],
    }
}

fn sorted(words: impl Iterator<Item = String>) -> Vec<Fit> {
    let mut words: Vec<String> = words.collect();
    words.sort_unstable();
    words.dedup();
    words.into_iter().map(Fit::Word).collect()
}

/// The file of `/send` and `/export` is all that follows, spaces included.
fn of_files(name: &str, line: &str, own: &str) -> Fits {
    // What `room_in` gives is trimmed at its end; a space there may belong to a name.
    let own = match own.strip_prefix("--expires ").filter(|_| name == "send") {
        None => own,
        Some(rest) => rest.trim_start().split_once(char::is_whitespace).map_or("", |it| it.1),
    };
    let own = own.trim_start();
    let rest = line.trim_end().len().saturating_sub(own.trim_end().len());
    let typed = if own.is_empty() { "" } else { line.get(rest..).unwrap_or_default() };
    let at = line.len().saturating_sub(typed.len());
    let mut of: Vec<Fit> = paths(typed).into_iter().map(Fit::Word).collect();
    if name == "export" {
        // `/export FILE md` is the file `FILE`.
        let means_format = |path: &str| {
            path.rsplit_once(char::is_whitespace).is_some_and(|it| Format::named(it.1).is_some())
        };
        of.retain(|fit| !matches!(fit, Fit::Word(path) if means_format(path)));
        if of.is_empty()
            && let Some((path, word)) = typed.rsplit_once(char::is_whitespace)
            && !path.trim().is_empty()
        {
            let formats = ["jsonl", "md", "txt"].into_iter().filter(|it| it.starts_with(word));
            let at = line.len().saturating_sub(word.len());
            return Fits { at, of: sorted(formats.map(|it| format!("{it} "))) };
        }
    }
    if name == "send" && !typed.is_empty() && "--expires".starts_with(typed) {
        of.push(Fit::Word("--expires ".to_owned()));
    }
    Fits { at, of }
}

/// The files and directories whose paths begin so; a directory ends in `/`.
fn paths(typed: &str) -> Vec<String> {
    let (directory, beginning) =
        match typed.rfind('/').and_then(|at| typed.split_at_checked(at + 1)) {
            Some((directory, beginning)) => (directory, beginning),
            None => ("", typed),
        };
    let place = match directory {
        "" => Path::new(".").to_owned(),
        directory => file::placed(directory),
    };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .take(ENTRIES_MAX)
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_hidden = name.starts_with('.') && !beginning.starts_with('.');
            if !name.starts_with(beginning) || is_hidden || !is_typable(&name) {
                return None;
            }
            let kind = entry.file_type().ok()?;
            // Only a link makes one look again.
            let is_directory = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
            // A command takes off what stands at its end.
            if !is_directory && name.ends_with(char::is_whitespace) {
                return None;
            }
            let end = if is_directory { "/" } else { "" };
            // It would be read as a room, an option, one's home, or lose its space.
            let is_odd =
                name.starts_with(['#', '@', '-', '~']) || name.starts_with(char::is_whitespace);
            let lead = if directory.is_empty() && is_odd { "./" } else { "" };
            Some(format!("{lead}{directory}{name}{end}"))
        })
        .collect();
    found.sort_unstable();
    found.truncate(PATHS_MAX);
    found
}

/// Whether a name can stand in a line as it is, and is seen as what it is.
fn is_typable(name: &str) -> bool {
    !name.chars().any(|c| c.is_control() || is_deceptive(c)) && one_line(name) == name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::slash::{Slash, parse};
    use crate::protocol::{Command, FileCommand};

    fn offered(line: &str) -> Vec<String> {
        let Fits { at, of } = fits(line);
        let before = line.get(..at).unwrap();
        let word = |fit: Fit| match fit {
            Fit::Word(word) => format!("{before}{word}"),
            other => format!("{before}{other:?}"),
        };
        of.into_iter().map(word).collect()
    }

    #[test]
    fn fixed_words_come_where_the_grammar_has_them() {
        assert_eq!(offered("/code "), ["/code rotate "]);
        assert_eq!(offered("/verify bob "), ["/verify bob ok ", "/verify bob undo "]);
        assert!(offered("/room ").contains(&"/room create ".to_owned()));
        assert!(offered("/room #ops ").contains(&"/room #ops rename ".to_owned()));
        assert!(
            offered("/room #ops role bob ").contains(&"/room #ops role bob reader ".to_owned())
        );
        assert!(offered("/room create ops ").contains(&"/room create ops free ".to_owned()));
        assert!(offered("/room entry ").contains(&"/room entry approval ".to_owned()));
        assert!(offered("/role bob ").contains(&"/role bob admin ".to_owned()));
        assert!(offered("/help ").contains(&"/help room ".to_owned()));
        assert!(offered("/help a").contains(&"/help all ".to_owned()));
        assert_eq!(offered("/join o"), ["/join Joinable"]);
        assert_eq!(offered("/go o"), ["/go Room"]);
        assert_eq!(offered("/kick #ops b"), ["/kick #ops Member"]);
        assert_eq!(offered("/kick #o"), ["/kick Text"]);
        assert_eq!(offered("/invite create --name "), ["/invite create --name Member"]);
        assert_eq!(offered("/invite create --uses "), [""; 0]);
        assert!(offered("/join ops ").is_empty());
    }

    /// Each fixed word that is offered, with what it still needs, is understood.
    #[test]
    fn what_is_offered_is_understood() {
        for (line, rest) in [
            ("/code ", ""),
            ("/verify bob ", ""),
            ("/role bob ", ""),
            ("/room entry ", " 123456789012"),
            ("/room archive ", ""),
            ("/room keep ", ""),
            ("/room capacity ", ""),
            ("/room history ", " 5"),
            ("/room create ops ", " 123456789012"),
            ("/room role bob ", ""),
            ("/room invite bob ", ""),
            ("/room ", " on"),
            ("/room ", " bob admin"),
            ("/room ", " 1"),
            ("/help ", ""),
        ] {
            for whole in offered(line) {
                let alone = parse(whole.trim_end(), "main");
                let more = parse(&format!("{}{rest}", whole.trim_end()), "main");
                let is_one_of_many = line == "/room ";
                assert!(alone.is_ok() || more.is_ok() || is_one_of_many, "{whole}");
            }
        }
        for verb in ROOM_VERBS {
            let ways = ["", " ops", " bob admin", " free", " forever", " none", " on"];
            let is_known = |rest| parse(&format!("/room {verb}{rest}"), "main").is_ok();
            assert!(ways.into_iter().any(is_known), "{verb}");
        }
    }

    #[test]
    fn a_file_that_is_offered_is_the_file_that_is_sent() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at("a dir")).unwrap();
        for name in ["a b  c.txt", "a dir/#x y", "a\u{1b}[2J", "a\u{202e}b", ".hidden", "a end "] {
            std::fs::write(at(name), name).unwrap();
        }
        let base = home.path().to_str().unwrap();
        for room in ["", "#ops "] {
            let line = format!("/send {room}{base}/a");
            let found = offered(&line);
            let expected = ["a b  c.txt", "a dir/"].map(|it| format!("/send {room}{base}/{it}"));
            assert_eq!(found, expected);
            let inside = offered(&format!("/send {room}{base}/a dir/"));
            assert_eq!(inside, [format!("/send {room}{base}/a dir/#x y")]);
            for whole in [&found[0], &inside[0]] {
                let Ok(Slash::Do(Command::File(FileCommand::Send { path, .. }))) =
                    parse(whole, "main")
                else {
                    panic!("{whole}");
                };
                assert!(std::fs::exists(&path).unwrap(), "{path}");
            }
        }
        assert_eq!(offered(&format!("/send {base}/.h")), [format!("/send {base}/.hidden")]);
        assert_eq!(offered(&format!("/send {base}/a b ")), [format!("/send {base}/a b  c.txt")]);
        assert_eq!(offered(&format!("/export {base}/x m")), [format!("/export {base}/x md ")]);
        assert_eq!(offered("/send --e"), ["/send --expires "]);
        let ends = format!("/send --expires 1d {base}/a b ");
        assert_eq!(offered(&ends), [format!("/send --expires 1d {base}/a b  c.txt")]);
        assert!(offered("/send --expires 1d ").contains(&"/send --expires 1d src/".to_owned()));
    }

    #[test]
    fn names_that_would_mean_something_else_come_with_their_directory() {
        // Relative to where tests run, which is the root of the source.
        assert!(offered("/send Cargo.t").contains(&"/send Cargo.toml".to_owned()));
        assert!(offered("/send sr").contains(&"/send src/".to_owned()));
        assert!(paths("src/tui/comp").contains(&"src/tui/complete.rs".to_owned()));
        assert!(!offered("/send ").iter().any(|it| it.starts_with("/send .")));
    }

    #[test]
    fn a_directory_of_many_is_read_in_part() {
        let home = tempfile::tempdir().unwrap();
        for n in 0..PATHS_MAX + 50 {
            std::fs::write(home.path().join(format!("f{n}")), "").unwrap();
        }
        let found = paths(&format!("{}/", home.path().display()));
        assert_eq!(found.len(), PATHS_MAX);
    }
}
