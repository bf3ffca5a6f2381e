//! Commands about who belongs, typed or in JSON: roles, removals, invites, approvals.
//! Owns: their arguments and help, and the lines that answer them.
//! Must not know: who may give them.
//! Invariants: both forms lead to the same command.
//! Start reading at: [`typed`], [`Given::command`].

use std::fmt::Write;

use super::args::{room, span};
use super::slash::Entry;
use crate::ids::NetworkRole;
use crate::limits::{DETAIL_BYTES_MAX, VOUCHER_USES_MAX};
use crate::protocol::{Command, RequestKind, RequestState, RequestView, WishState, WishView};
use crate::text::one_line;

/// The commands of this file.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "role",
        usage: "/role NAME member|admin|owner",
        about: "what a member may do in the network (admins and owners)",
    },
    Entry {
        name: "remove",
        usage: "/remove NAME [reason]",
        about: "remove a member from the network for good (admins and owners)",
    },
    Entry {
        name: "invite",
        usage: "/invite create [--uses N] [--expires 24h] [--name NAME] [--room ROOM] | list \
                | revoke ID [reason]",
        about: "one line that brings somebody in (admins and owners); made by you, so it can lead into \
                a room: p2pgroup invite create makes the key authority's",
    },
    Entry {
        name: "approve",
        usage: "/approve [NAME]",
        about: "let somebody in who waits; without a name: who waits (admins and owners)",
    },
    Entry {
        name: "refuse",
        usage: "/refuse NAME [reason]",
        about: "turn somebody down who waits to be let in (admins and owners), or to write to you",
    },
];

/// The names of these commands in JSON, with what each takes.
pub(super) const FIELDS: &[(&str, &[&str])] = &[
    ("role", &["name", "role"]),
    ("remove", &["name", "reason"]),
    ("invite", &["uses", "expires", "name", "room"]),
    ("invites", &[]),
    ("revoke_invite", &["id", "reason"]),
    ("requests", &[]),
    ("approve", &["name"]),
    ("refuse", &["name", "reason"]),
];

const EXPIRES_DEFAULT: &str = "24h";

/// What a JSON command gave.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) uses: Option<u32>,
    pub(super) expires: Option<String>,
    pub(super) room: Option<String>,
    pub(super) id: Option<String>,
}

impl Given {
    /// The command; what is wrong with it otherwise.
    pub(super) fn command(self, cmd: &str) -> Result<Command, String> {
        let needs = |field: &str| format!("{cmd} needs {field}");
        let reason = self.reason.clone().unwrap_or_default();
        if reason.len() > DETAIL_BYTES_MAX {
            return Err(format!("reason is longer than {DETAIL_BYTES_MAX} bytes"));
        }
        let name = || self.name.clone().ok_or_else(|| needs("name"));
        Ok(match cmd {
            "role" => {
                let role = self.role.as_deref().and_then(NetworkRole::parse);
                let role = role.ok_or("role needs role: member, admin or owner")?;
                Command::Role { name: name()?, role }
            }
            "invite" => invite(self.uses, self.expires, self.name, self.room)?,
            "invites" => Command::Invites,
            "revoke_invite" => {
                Command::RevokeInvite { id: self.id.ok_or_else(|| needs("id"))?, reason }
            }
            "requests" => Command::Requests,
            "approve" => Command::Approve { name: name()? },
            "refuse" => Command::Refuse { name: name()?, reason },
            _ => Command::Remove { name: name()?, reason },
        })
    }
}

fn invite(
    uses: Option<u32>,
    expires: Option<String>,
    name: Option<String>,
    to: Option<String>,
) -> Result<Command, String> {
    let uses = uses.unwrap_or(1);
    if !(1..=VOUCHER_USES_MAX).contains(&uses) {
        return Err(format!("uses is a number from 1 to {VOUCHER_USES_MAX}"));
    }
    let life = span(expires.as_deref().unwrap_or(EXPIRES_DEFAULT))?;
    let room = room(&to.unwrap_or_default())?;
    Ok(Command::Invite { uses, life, name: name.unwrap_or_default(), room })
}

/// A typed command: its name, and the rest of the line. `None`: the arguments are wrong.
pub(super) fn typed(name: &str, rest: &str) -> Option<Command> {
    let (first, more) = split(rest);
    let reason = || (more.len() <= DETAIL_BYTES_MAX).then(|| more.to_owned());
    match name {
        "approve" if first.is_empty() => Some(Command::Requests),
        _ if first.is_empty() => None,
        "approve" if more.is_empty() => Some(Command::Approve { name: first.to_owned() }),
        "refuse" => Some(Command::Refuse { name: first.to_owned(), reason: reason()? }),
        "remove" => Some(Command::Remove { name: first.to_owned(), reason: reason()? }),
        "role" => Some(Command::Role { name: first.to_owned(), role: NetworkRole::parse(more)? }),
        "invite" => match first {
            "create" => typed_invite(more),
            "list" if more.is_empty() => Some(Command::Invites),
            "revoke" => {
                let (id, reason) = split(more);
                let is_right = !id.is_empty() && reason.len() <= DETAIL_BYTES_MAX;
                let (id, reason) = (id.to_owned(), reason.to_owned());
                is_right.then_some(Command::RevokeInvite { id, reason })
            }
            _ => None,
        },
        _ => None,
    }
}

fn typed_invite(text: &str) -> Option<Command> {
    let mut given = Given::default();
    let mut words = text.split_whitespace();
    while let Some(flag) = words.next() {
        let value = words.next()?.to_owned();
        match flag {
            "--uses" => given.uses = Some(value.parse().ok()?),
            "--expires" => given.expires = Some(value),
            "--name" => given.name = Some(value),
            "--room" => given.room = Some(value),
            _ => return None,
        }
    }
    given.command("invite").ok()
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (first, more) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, more.trim())
}

/// What became of a wish, for a person.
pub(super) fn wish_line(wish: &WishView) -> String {
    let name = one_line(&wish.name);
    let mut line = match (wish.role, &wish.state) {
        (Some(role), WishState::Ordered) => format!("{name} is now: {}", role.name()),
        (None, WishState::Ordered) => format!("{name} is removed"),
        (Some(role), WishState::Waiting { .. }) => {
            format!("{name} will be {} once that is ordered", role.name())
        }
        (None, WishState::Waiting { .. }) => {
            format!("{name} will be removed once that is ordered")
        }
    };
    if let WishState::Waiting { because } = &wish.state {
        // Writing into a String cannot fail.
        let _ = write!(line, "; it waits: {}", one_line(because));
    }
    line
}

/// Our contact code, and what it is for.
pub(super) fn code_lines(code: &str) -> [String; 2] {
    [
        one_line(code),
        "whoever gives it writes to you without waiting: /msg NAME --code CODE text".to_owned(),
    ]
}

/// Somebody who waits, or waits no more.
pub(super) fn request_line(request: &RequestView) -> String {
    let name = one_line(&request.name);
    match request.state {
        _ if request.kind == RequestKind::Direct => match request.state {
            RequestState::Waiting => {
                format!("{name} wants to write to you: /accept {name}, or /refuse {name}")
            }
            RequestState::Approved => format!("{name} may write to you"),
            RequestState::Refused => format!("{name} may not write to you"),
        },
        RequestState::Waiting => {
            let since = request.asked_at.map(|at| format!(" since {at}")).unwrap_or_default();
            format!("{name} waits to be let in{since}: /approve {name}, or /refuse {name}")
        }
        RequestState::Approved => format!("{name} is let in"),
        RequestState::Refused => format!("{name} is turned down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    fn create(uses: u32, hours: u64, name: &str, room: &str) -> Option<Command> {
        let (name, room) = (name.to_owned(), room.to_owned());
        Some(Command::Invite { uses, life: Millis(hours * 3_600_000), name, room })
    }

    #[test]
    fn invites_are_typed_as_on_the_command_line() {
        assert_eq!(typed("invite", " create"), create(1, 24, "", ""));
        let all = " create --uses 3 --expires 2h --name bob --room ops ";
        assert_eq!(typed("invite", all), create(3, 2, "bob", "ops"));
        assert_eq!(typed("invite", "list"), Some(Command::Invites));
        let (id, reason) = ("3f9a".to_owned(), "sent to all".to_owned());
        let revoke = Some(Command::RevokeInvite { id, reason });
        assert_eq!(typed("invite", "revoke 3f9a  sent to all"), revoke);
        for wrong in [
            "",
            "make",
            "list x",
            "revoke",
            "create --uses",
            "create --uses 0",
            "create --uses 4097",
            "create --uses x",
            "create --expires soon",
            "create --expires 367d",
            "create --colour red",
            "create 5",
        ] {
            assert_eq!(typed("invite", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_waits_is_listed_let_in_and_turned_down() {
        assert_eq!(typed("approve", ""), Some(Command::Requests));
        assert_eq!(typed("approve", " bob"), Some(Command::Approve { name: "bob".to_owned() }));
        assert_eq!(typed("approve", " bob carol"), None);
        let (name, reason) = ("bob".to_owned(), "who are you".to_owned());
        let refuse = Some(Command::Refuse { name, reason });
        assert_eq!(typed("refuse", " bob who are you"), refuse);
        assert_eq!(typed("refuse", ""), None);
        assert_eq!(typed("refuse", &format!("bob {}", "x".repeat(201))), None);
    }

    #[test]
    fn a_json_command_says_what_it_needs() {
        let wrong = |cmd: &str, given: Given| given.command(cmd).unwrap_err();
        assert_eq!(wrong("approve", Given::default()), "approve needs name");
        assert_eq!(wrong("revoke_invite", Given::default()), "revoke_invite needs id");
        let uses = Some(5_000);
        let far = wrong("invite", Given { uses, ..Given::default() });
        assert_eq!(far, "uses is a number from 1 to 4096");
        let (name, reason) = (Some("bob".to_owned()), Some("x".repeat(201)));
        let long = wrong("remove", Given { name, reason, ..Given::default() });
        assert_eq!(long, "reason is longer than 200 bytes");
        let role = Some("boss".to_owned());
        let role = wrong("role", Given { role, ..Given::default() });
        assert_eq!(role, "role needs role: member, admin or owner");
    }
}
