//! The commands about rooms: `/room create ops`, `/kick bob`, `/join ops`.
//! Owns: their verbs and arguments.
//! Must not know: what they do.
//! Invariants: what is not understood whole is not done in part.
//! Start reading at: [`parse`].

use super::room_in;
use crate::protocol::{Command, RoomAction, RoomEntry};
use crate::terms::{History, Keep, Role};
use crate::time::Millis;

const DAY: u64 = 24 * 3_600_000;

/// Understands a command about a room; `None` for wrong arguments.
pub(super) fn parse(name: &str, arguments: &str, here: &str) -> Option<Command> {
    let (room, more) = room_in(arguments, here);
    let act = |action| Some(Command::Act { room: room.to_owned(), action });
    match name {
        "join" => {
            let (room, code) = first(arguments);
            let room = room.trim_start_matches('#').to_owned();
            let code = (!code.is_empty()).then(|| code.to_owned());
            let is_fine = !room.is_empty();
            is_fine.then_some(Command::Act { room, action: RoomAction::Join { code } })
        }
        "leave" | "part" => act(RoomAction::Leave).filter(|_| more.is_empty()),
        "kick" => act(kick(more)?),
        "topic" => act(RoomAction::Topic { text: more.to_owned() }),
        _ => {
            let (verb, more) = first(more);
            match verb {
                "" => Some(Command::Room { room: room.to_owned() }),
                "info" if more.is_empty() => Some(Command::Room { room: room.to_owned() }),
                "list" if more.is_empty() => Some(Command::Rooms),
                "create" => create(more),
                _ => act(action(verb, more)?),
            }
        }
    }
}

/// The first word, and what follows.
fn first(arguments: &str) -> (&str, &str) {
    let (word, more) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    (word, more.trim())
}

fn create(arguments: &str) -> Option<Command> {
    let (name, more) = first(arguments);
    let (word, rest) = first(more);
    let (entry, is_listed, description) = match word {
        "free" | "listed" => (RoomEntry::Free, true, rest),
        "approval" => (RoomEntry::Approval, true, rest),
        "code" => {
            let (code, rest) = first(rest);
            (code_entry(code)?, true, rest)
        }
        "private" => (RoomEntry::Invited, false, rest),
        _ => (RoomEntry::Invited, false, more),
    };
    let name = name.trim_start_matches('#');
    let description = description.to_owned();
    (!name.is_empty()).then(|| Command::Act {
        room: name.to_owned(),
        action: RoomAction::Create { entry, is_listed, description },
    })
}

fn code_entry(code: &str) -> Option<RoomEntry> {
    (code.chars().count() >= CODE_CHARS_MIN).then(|| RoomEntry::Code(code.to_owned()))
}

/// A join code that is shorter is soon guessed.
pub(in crate::cli) const CODE_CHARS_MIN: usize = 12;

fn kick(arguments: &str) -> Option<RoomAction> {
    let (name, reason) = first(arguments);
    let (name, reason) = (member(name)?, reason.to_owned());
    Some(RoomAction::Kick { name, reason })
}

fn member(name: &str) -> Option<String> {
    let name = name.trim_start_matches('@');
    (!name.is_empty()).then(|| name.to_owned())
}

fn action(verb: &str, more: &str) -> Option<RoomAction> {
    let (word, rest) = first(more);
    let alone = rest.is_empty();
    Some(match verb {
        "invite" | "approve" => {
            let role = if alone { None } else { Some(Role::parse(rest)?) };
            RoomAction::Invite { name: member(word)?, role }
        }
        "leave" if more.is_empty() => RoomAction::Leave,
        "join" => RoomAction::Join { code: (!more.is_empty()).then(|| more.to_owned()) },
        "kick" => kick(more)?,
        "role" => RoomAction::Role { name: member(word)?, role: Role::parse(rest)? },
        "rename" if alone && !word.is_empty() => RoomAction::Rename { name: word.to_owned() },
        "topic" => RoomAction::Topic { text: more.to_owned() },
        "describe" => RoomAction::Describe { text: more.to_owned() },
        "entry" => RoomAction::Entry(match (word, rest) {
            ("invited", "") => RoomEntry::Invited,
            ("free", "") => RoomEntry::Free,
            ("approval", "") => RoomEntry::Approval,
            ("code", code) => code_entry(code)?,
            _ => return None,
        }),
        "capacity" if alone => RoomAction::Capacity(match word {
            "none" => None,
            number => Some(number.parse().ok().filter(|count| *count > 0)?),
        }),
        "history" => RoomAction::History(history(more)?),
        "keep" if alone => RoomAction::Keep(Keep { age: keep_age(word)?, bytes: None }),
        "archive" => RoomAction::Archive(match more {
            "" | "on" => true,
            "off" => false,
            _ => return None,
        }),
        "rekey" if more.is_empty() => RoomAction::Rekey,
        "delete" if more.is_empty() => RoomAction::Delete,
        "forgive" if alone => RoomAction::Forgive { name: member(word)? },
        _ => return None,
    })
}

/// `none`, `since-join`, `last N` or `all`.
pub(in crate::cli) fn history(text: &str) -> Option<History> {
    match first(text) {
        ("none", "") => Some(History::None),
        ("since-join", "") => Some(History::SinceJoin),
        ("all", "") => Some(History::All),
        ("last", count) => Some(History::Last(count.parse().ok()?)),
        _ => None,
    }
}

/// Days as in `30` or `30d`, hours as in `12h`, `forever`.
#[expect(clippy::option_option, reason = "not understood, and for ever")]
pub(in crate::cli) fn keep_age(text: &str) -> Option<Option<Millis>> {
    if text == "forever" {
        return Some(None);
    }
    let (number, unit) = match text.strip_suffix('h') {
        Some(hours) => (hours, 3_600_000),
        None => (text.strip_suffix('d').unwrap_or(text), DAY),
    };
    let count: u64 = number.parse().ok().filter(|count| *count > 0)?;
    Some(Some(Millis(count.checked_mul(unit)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(line: (&str, &str), room: &str, action: RoomAction) {
        let command = Command::Act { room: room.to_owned(), action };
        assert_eq!(parse(line.0, line.1, "main"), Some(command), "{line:?}");
    }

    #[test]
    fn rooms_are_created_private_unless_a_way_in_is_given() {
        let create = |entry, is_listed, text: &str| RoomAction::Create {
            entry,
            is_listed,
            description: text.to_owned(),
        };
        acts(("room", "create ops"), "ops", create(RoomEntry::Invited, false, ""));
        acts(
            ("room", "create #ops what for"),
            "ops",
            create(RoomEntry::Invited, false, "what for"),
        );
        acts(("room", "create ops free tea"), "ops", create(RoomEntry::Free, true, "tea"));
        acts(("room", "create ops approval"), "ops", create(RoomEntry::Approval, true, ""));
        let code = RoomEntry::Code("abcdefghijkl".to_owned());
        acts(("room", "create ops code abcdefghijkl tea"), "ops", create(code, true, "tea"));
        assert_eq!(parse("room", "create ops code short", "main"), None);
    }

    #[test]
    fn every_verb_is_understood_here_and_in_another_room() {
        let name = || "bob".to_owned();
        let verbs = [
            ("invite bob", RoomAction::Invite { name: name(), role: None }),
            ("invite @bob admin", RoomAction::Invite { name: name(), role: Some(Role::Admin) }),
            ("leave", RoomAction::Leave),
            ("kick bob so it is", RoomAction::Kick { name: name(), reason: "so it is".to_owned() }),
            ("role bob reader", RoomAction::Role { name: name(), role: Role::Reader }),
            ("rename bob", RoomAction::Rename { name: name() }),
            ("topic now", RoomAction::Topic { text: "now".to_owned() }),
            ("describe x y", RoomAction::Describe { text: "x y".to_owned() }),
            ("entry approval", RoomAction::Entry(RoomEntry::Approval)),
            ("capacity 5", RoomAction::Capacity(Some(5))),
            ("capacity none", RoomAction::Capacity(None)),
            ("history last 20", RoomAction::History(History::Last(20))),
            ("history since-join", RoomAction::History(History::SinceJoin)),
            ("keep 2d", RoomAction::Keep(Keep { age: Some(Millis(2 * DAY)), bytes: None })),
            ("keep 3h", RoomAction::Keep(Keep { age: Some(Millis(10_800_000)), bytes: None })),
            ("keep forever", RoomAction::Keep(Keep::default())),
            ("archive off", RoomAction::Archive(false)),
            ("rekey", RoomAction::Rekey),
            ("delete", RoomAction::Delete),
            ("forgive @bob", RoomAction::Forgive { name: name() }),
        ];
        for (line, action) in verbs {
            acts(("room", line), "main", action.clone());
            acts(("room", &format!("#ops {line}")), "ops", action);
        }
        acts(("kick", "#ops bob"), "ops", RoomAction::Kick { name: name(), reason: String::new() });
        let code = Some("x y".to_owned());
        acts(("join", "#ops x y"), "ops", RoomAction::Join { code });
        acts(("leave", "#ops"), "ops", RoomAction::Leave);
    }
}
