//! Rooms for a person.
//! Owns: their lines.
//! Must not know: how they came to stand so.
//! Invariants: names and texts of others are harmless here.
//! Start reading at: [`lines`].

use super::Clock;
use crate::cli::slash::Slash;
use crate::cli::{Asked, Question};
use crate::protocol::{Command, ReceiptView, RoomAction, RoomChange, RoomView, StrandedView};
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
    for it in &view.suspended {
        let (name, until) = (one_line(&it.name), it.until.rfc3339());
        let why = "most could not follow keys of its";
        lines.push(format!("{name} may not renew its keys until {until}: {why}"));
    }
    for it in &view.stranded {
        lines.extend(stranded(it, view.kind));
    }
    if let Some(keys) = &view.keys {
        let authenticator: String = keys.authenticator.to_string().chars().take(16).collect();
        lines.push(format!("keys: epoch {}, authenticator {authenticator}", keys.epoch));
        let holders: Vec<String> = keys.members.iter().map(|name| one_line(name)).collect();
        lines.push(format!("{} hold its keys: {}", holders.len(), holders.join(", ")));
        let older = view.members.iter().filter_map(|it| Some((it, it.epoch?)));
        let older: Vec<String> = older
            .filter(|(_, epoch)| *epoch < keys.epoch)
            .map(|(it, epoch)| format!("{} (epoch {epoch})", one_line(&it.name)))
            .collect();
        if !older.is_empty() {
            lines.push(format!("away since, or cannot follow: {}", older.join(", ")));
        }
    } else if view.is_in && view.stranded.iter().all(|it| !it.is_cut_off) {
        lines.push("keys: none yet; who holds them lets you in once you are linked".to_owned());
    }
    let keep = match view.keep_age {
        Some(age) => format!("{} h", age.0 / 3_600_000),
        None => "for ever".to_owned(),
    };
    lines.push(format!("new members read: {}; messages are kept: {keep}", view.history));
    lines
}

/// Keys that some could not follow, and what to do.
fn stranded(it: &StrandedView, kind: &str) -> Vec<String> {
    let (name, entry) = (one_line(&it.name), it.entry);
    if !it.is_cut_off {
        let who: Vec<String> = it.members.iter().map(|name| one_line(name)).collect();
        let why = format!("could not follow the keys that {name} made (control entry {entry})");
        let then = format!("if most of the others say so, {name} makes none for a day");
        return vec![format!("{} {why}; {then}", who.join(", "))];
    }
    let next = match kind {
        "direct" => {
            format!(
                "{name} alone can let you in; if you stay out, {name} should start p2pgroup anew"
            )
        }
        "private" => {
            "who holds them lets you in once you are linked; if nobody does, make another \
                      room: /room create NAME"
                .to_owned()
        }
        _ => "you come in with the next keys, which others make in a moment".to_owned(),
    };
    vec![
        format!("keys: you cannot follow those that {name} made (control entry {entry}): {next}"),
        "until then you write under the keys you have, and ask for those of others".to_owned(),
    ]
}

/// What a command about a room is answered by.
pub(super) fn answer(view: &RoomView, asked: Option<&Asked>) -> Vec<String> {
    let room = one_line(&view.room);
    match asked.map(|asked| &asked.question) {
        Some(Question::Slash {
            slash: Slash::Do(Command::Mute { is_muted: true, .. }), ..
        }) => {
            vec![format!("{room} does not call you any more: /unmute #{room}")]
        }
        Some(Question::Slash { slash: Slash::Do(Command::Mute { .. }), .. }) => {
            vec![format!("{room} calls you again")]
        }
        Some(Question::Slash { slash: Slash::Do(Command::Act { action, .. }), .. })
            if is_brief(action) =>
        {
            vec![summary(view)]
        }
        _ => lines(view),
    }
}

/// Whether a line says all that this changed: what people hear of it comes as news.
fn is_brief(action: &RoomAction) -> bool {
    use RoomAction::{
        Archive, Capacity, Delete, Forgive, Invite, Join, Kick, Leave, Rename, Role, Topic,
    };
    matches!(
        action,
        Invite { .. }
            | Join { .. }
            | Leave
            | Kick { .. }
            | Role { .. }
            | Rename { .. }
            | Topic { .. }
            | Capacity(_)
            | Archive(_)
            | Delete
            | Forgive { .. }
    )
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
        (view.is_muted, "muted"),
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

/// What happened to a room; `me` is our own name.
pub(super) fn news(change: &RoomChange, me: &str) -> String {
    let (room, name) = (one_line(&change.room.room), one_line(&change.name));
    let role = || {
        let found = change.room.members.iter().find(|member| member.name == change.name);
        found.map_or("nothing", |member| member.role)
    };
    let is_me = change.name == me;
    match change.what {
        "created" if is_me => format!("you created the room {room}"),
        "created" => format!("{name} created the room {room}"),
        // The other one made it, by writing.
        "entered" if is_me && change.room.kind == "direct" => {
            format!("{room} and you can write to each other alone: /go {room}")
        }
        "entered" if is_me => format!("you are in {room} now: /go {room}"),
        "entered" => format!("{name} is in {room} now"),
        "asked" if is_me => format!("an admin of {room} has to let you in"),
        "asked" => format!("{name} asks to be let into {room}: /room #{room} invite {name}"),
        "left" if is_me => format!("you left {room}"),
        "left" => format!("{name} left {room}"),
        "kicked" if is_me => format!("you were put out of {room}"),
        "kicked" => format!("{name} was put out of {room}"),
        "role" if is_me => format!("you are {} of {room} now", role()),
        "role" => format!("{name} is {} of {room} now", role()),
        "stranded" => {
            format!("you cannot follow the keys that {name} made for {room}: /room #{room} info")
        }
        "suspended" if is_me => {
            format!("you may not renew the keys of {room} for now: most could not follow yours")
        }
        "suspended" => {
            format!(
                "{name} may not renew the keys of {room} for now: most could not follow its keys"
            )
        }
        "forgiven" if is_me => format!("you may renew the keys of {room} again"),
        "forgiven" => format!("{name} may renew the keys of {room} again"),
        "deleted" => format!("{name} ended the room {room}"),
        _ => format!("{name} changed {}", summary(&change.room)),
    }
}

/// `bob removed 14:05:10; new keys on 5 of 5 by 14:05:13; last message bob could read: ops 217`.
pub(super) fn receipt(view: &ReceiptView, clock: Clock) -> String {
    let time = |wall| match clock.at(wall) {
        Some(at) => format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
        None => "--:--:--".to_owned(),
    };
    let name = one_line(&view.name);
    let mut line = match &view.room {
        Some(room) => format!("{name} put out of {} {}", one_line(room), time(view.at)),
        None => format!("{name} removed {}", time(view.at)),
    };
    line.push_str(&format!("; new keys on {} of {}", view.done, view.of));
    if let Some(done_at) = view.done_at {
        line.push_str(&format!(" by {}", time(done_at)));
    } else if !view.pending.is_empty() {
        let pending: Vec<String> = view.pending.iter().map(|name| one_line(name)).collect();
        line.push_str(&format!(", not yet: {}", pending.join(", ")));
    }
    let last: Vec<String> = view
        .last_readable
        .iter()
        .map(|(room, from, seq)| format!("{} {seq} of {}", one_line(room), one_line(from)))
        .collect();
    if last.is_empty() {
        line.push_str(&format!("; {name} could read no message"));
    } else {
        line.push_str(&format!("; last message {name} could read: {}", last.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Index, PeerId, RoomId};
    use crate::protocol::SuspendedView;
    use crate::time::Wall;

    fn view() -> RoomView {
        RoomView {
            room: "ops".to_owned(),
            id: RoomId([1; 16]),
            kind: "listed",
            is_in: false,
            topic: "\u{1b}[2Jtea".to_owned(),
            description: String::new(),
            entry: "code",
            capacity: Some(5),
            history: "last 500".to_owned(),
            keep_age: None,
            keep_bytes: None,
            is_archived: true,
            is_muted: false,
            is_deleted: false,
            members: Vec::new(),
            waiting: vec!["dave".to_owned()],
            suspended: Vec::new(),
            stranded: Vec::new(),
            keys: None,
        }
    }

    #[test]
    fn what_a_line_says_is_answered_in_a_line_and_settings_at_length() {
        let asked = |action| {
            let command = Command::Act { room: "ops".to_owned(), action };
            let (line, slash) = (String::new(), Slash::Do(command));
            Asked { reference: None, question: Question::Slash { line, slash } }
        };
        let invite = RoomAction::Invite { name: "bob".to_owned(), role: None };
        assert_eq!(answer(&view(), Some(&asked(invite))), [summary(&view())]);
        let history = RoomAction::History(crate::terms::History::All);
        assert_eq!(answer(&view(), Some(&asked(history))), lines(&view()));
        assert_eq!(answer(&view(), None), lines(&view()));
    }

    #[test]
    fn who_cannot_follow_keys_is_shown_with_what_to_do() {
        let keys = |is_cut_off| StrandedView {
            name: "bob".to_owned(),
            peer: PeerId::of_rsa_spki(b"bob"),
            entry: Index(12),
            members: vec!["carol".to_owned(), "\u{1b}dave".to_owned()],
            is_cut_off,
        };
        let shown = |kind, is_cut_off| {
            let (is_in, stranded) = (true, vec![keys(is_cut_off)]);
            lines(&RoomView { kind, is_in, stranded, ..view() }).join("\n")
        };
        let others = shown("private", false);
        assert!(others.contains("dave could not follow the keys that bob made"), "{others}");
        assert!(!others.contains('\u{1b}'), "{others}");
        assert!(others.contains("keys: none yet"), "{others}");
        for (kind, todo) in [
            ("direct", "bob alone can let you in"),
            ("private", "/room create NAME"),
            ("main", "others make in a moment"),
        ] {
            let own = shown(kind, true);
            assert!(own.contains("you cannot follow those that bob"), "{own}");
            assert!(own.contains("(control entry 12)") && own.contains(todo), "{own}");
            assert!(!own.contains("none yet"), "{own}");
        }
        let change = RoomChange { what: "stranded", name: "bob".to_owned(), room: view() };
        assert!(news(&change, "alice").starts_with("you cannot follow the keys that bob made"));
    }

    #[test]
    fn who_holds_older_keys_is_shown() {
        let member = |name: &str, epoch| crate::protocol::RoomMemberView {
            name: name.to_owned(),
            peer: PeerId::of_rsa_spki(name.as_bytes()),
            role: "member",
            epoch,
        };
        let members = vec![member("bob", Some(7)), member("carol", Some(6)), member("dave", None)];
        let keys = crate::protocol::EpochView {
            room: "ops".to_owned(),
            epoch: 7,
            members: vec!["bob".to_owned()],
            authenticator: crate::ids::Hash([1; 32]),
        };
        let lines = lines(&RoomView { is_in: true, members, keys: Some(keys), ..view() });
        let older: Vec<&String> = lines.iter().filter(|it| it.contains("cannot follow")).collect();
        assert_eq!(older, ["away since, or cannot follow: carol (epoch 6)"]);
    }

    #[test]
    fn what_happens_to_oneself_is_told_to_oneself() {
        let change = |what, name: &str| RoomChange { what, name: name.to_owned(), room: view() };
        assert_eq!(news(&change("entered", "bob"), "bob"), "you are in ops now: /go ops");
        assert_eq!(news(&change("entered", "bob"), "alice"), "bob is in ops now");
        let mut direct = change("entered", "bob");
        (direct.room.kind, direct.room.room) = ("direct", "@carol".to_owned());
        let told = "@carol and you can write to each other alone: /go @carol";
        assert_eq!(news(&direct, "bob"), told);
        assert_eq!(news(&change("kicked", "bob"), "bob"), "you were put out of ops");
        let asks = news(&change("asked", "bob"), "alice");
        assert_eq!(asks, "bob asks to be let into ops: /room #ops invite bob");
    }

    #[test]
    fn who_may_not_renew_keys_is_told_and_shown() {
        let change = |what| RoomChange { what, name: "bob".to_owned(), room: view() };
        for (me, start) in [("bob", "you may not"), ("alice", "bob may not")] {
            assert!(news(&change("suspended"), me).starts_with(start));
        }
        assert_eq!(news(&change("forgiven"), "bob"), "you may renew the keys of ops again");
        let suspended = SuspendedView {
            name: "bob\u{1b}[2J".to_owned(),
            peer: PeerId::of_rsa_spki(b"bob"),
            since: Wall(0),
            until: Wall(86_400_000),
        };
        let lines = lines(&RoomView { suspended: vec![suspended], ..view() });
        let line = lines.iter().find(|line| line.contains("may not renew")).unwrap();
        assert!(
            line.contains("until 1970-01-02T00:00:00.000Z") && !line.contains('\u{1b}'),
            "{line}"
        );
    }

    #[test]
    fn a_room_is_one_line_and_harmless() {
        let line = summary(&view());
        assert!(line.starts_with("ops: listed, joined with a code, 0 of 5 members, you are not"));
        assert!(line.contains("archived") && !line.contains('\u{1b}'), "{line}");
        assert!(lines(&view()).iter().any(|line| line == "ask to be let in: dave"));
    }

    #[test]
    fn a_receipt_says_who_when_how_far_and_what_was_readable() {
        let mut view = ReceiptView {
            kind: "removed",
            name: "bob".to_owned(),
            room: None,
            at: Wall(0),
            done: 4,
            of: 5,
            pending: vec!["dave".to_owned()],
            done_at: None,
            last_readable: vec![("ops".to_owned(), "carol".to_owned(), crate::ids::Seq(217))],
        };
        let first = "bob removed 00:00:00; new keys on 4 of 5, not yet: dave; \
                     last message bob could read: ops 217 of carol";
        assert_eq!(receipt(&view, Clock::Utc), first);
        (view.done, view.done_at) = (5, Some(Wall(3_000)));
        view.last_readable.clear();
        let whole =
            "bob removed 00:00:00; new keys on 5 of 5 by 00:00:03; bob could read no message";
        assert_eq!(receipt(&view, Clock::Utc), whole);
    }
}
