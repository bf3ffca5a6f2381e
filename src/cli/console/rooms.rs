//! Rooms for a person.
//! Owns: their lines.
//! Must not know: how they came to stand so.
//! Invariants: names and texts of others are harmless here.
//! Start reading at: [`lines`].

use crate::protocol::{RoomChange, RoomView};
use crate::text::one_line;

/// A room at length; the authenticator's beginning is enough to compare aloud.
pub(super) fn lines(view: &RoomView) -> Vec<String> {
    let mut lines = vec![summary(view)];
    if !view.description.is_empty() {
        lines.push(format!("for: {}", one_line(&view.description)));
    }
    let members: Vec<String> = view
        .members
        .iter()
        .map(|member| match member.role {
            "member" => one_line(&member.name),
            role => format!("{} ({role})", one_line(&member.name)),
        })
        .collect();
    lines.push(format!("members: {}", members.join(", ")));
    if !view.waiting.is_empty() {
        let waiting: Vec<String> = view.waiting.iter().map(|name| one_line(name)).collect();
        lines.push(format!("ask to be let in: {}", waiting.join(", ")));
    }
    if let Some(keys) = &view.keys {
        let authenticator: String = keys.authenticator.to_string().chars().take(16).collect();
        lines.push(format!("keys: epoch {}, authenticator {authenticator}", keys.epoch));
        let holders: Vec<String> = keys.members.iter().map(|name| one_line(name)).collect();
        lines.push(format!("{} hold its keys: {}", holders.len(), holders.join(", ")));
    }
    let keep = match view.keep_age {
        Some(age) => format!("{} h", age.0 / 3_600_000),
        None => "for ever".to_owned(),
    };
    lines.push(format!("new members read: {}; messages are kept: {keep}", view.history));
    lines
}

/// A room in one line.
pub(super) fn summary(view: &RoomView) -> String {
    let mut line = one_line(&view.room);
    line.push_str(": ");
    line.push_str(view.kind);
    if view.kind == "listed" {
        line.push_str(", ");
        line.push_str(match view.entry {
            "free" => "free to join",
            "approval" => "joined by approval",
            "code" => "joined with a code",
            _ => "joined by invitation",
        });
    }
    let count = view.members.len();
    line.push_str(&match (view.capacity, count) {
        (Some(capacity), _) => format!(", {count} of {capacity} members"),
        (None, 1) => ", 1 member".to_owned(),
        (None, _) => format!(", {count} members"),
    });
    for (is, word) in [
        (!view.is_in, "you are not in it"),
        (view.is_archived, "archived"),
        (view.is_deleted, "deleted"),
    ] {
        if is {
            line.push_str(", ");
            line.push_str(word);
        }
    }
    if !view.topic.is_empty() {
        line.push_str("; topic: ");
        line.push_str(&one_line(&view.topic));
    }
    line
}

/// What happened to a room.
pub(super) fn news(change: &RoomChange) -> String {
    let (room, name) = (one_line(&change.room.room), one_line(&change.name));
    let role = || {
        let found = change.room.members.iter().find(|member| member.name == change.name);
        found.map_or("nothing", |member| member.role)
    };
    match change.what {
        "created" => format!("{name} created the room {room}"),
        "entered" => format!("{name} is in {room} now"),
        "asked" => format!("{name} asks to be let into {room}: /room #{room} invite {name}"),
        "left" => format!("{name} left {room}"),
        "kicked" => format!("{name} was put out of {room}"),
        "role" => format!("{name} is {} of {room} now", role()),
        "deleted" => format!("{name} ended the room {room}"),
        _ => format!("{name} changed {}", summary(&change.room)),
    }
}
