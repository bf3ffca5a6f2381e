//! Rooms in JSON: the commands about them, and how they are shown.
//! Owns: the names of these commands and fields.
//! Must not know: what a command does.
//! Invariants: every command takes the fields it needs and no other.
//! Start reading at: [`read`], [`RoomData`].

use serde::Serialize;

use super::check_text;
use super::line::line;
use super::shapes::Answered;
use crate::cli::slash::{CODE_CHARS_MIN, history, keep_age};
use crate::protocol::{
    Command, ContactCommand, PeopleCommand, ReceiptView, RoomAction, RoomChange, RoomEntry,
    RoomView,
};
use crate::refusal::{Refusal, Refused};
use crate::terms::{Keep, Role};
use crate::time::Wall;

/// The commands about rooms.
pub(super) const COMMANDS: &[(&str, &[&str])] = &[
    ("rooms", &[]),
    ("receipts", &[]),
    ("room", &["room"]),
    ("msg", &["name", "text", "code"]),
    ("code", &[]),
    ("code_rotate", &[]),
    ("accept", &["name"]),
    ("room_create", &["room", "entry", "code", "text"]),
    ("room_invite", &["room", "name", "role"]),
    ("room_join", &["room", "code"]),
    ("room_leave", &["room"]),
    ("kick", &["room", "name", "reason"]),
    ("room_role", &["room", "name", "role"]),
    ("room_rename", &["room", "name"]),
    ("topic", &["room", "text"]),
    ("room_describe", &["room", "text"]),
    ("room_entry", &["room", "entry", "code"]),
    ("room_capacity", &["room", "last"]),
    ("room_history", &["room", "text"]),
    ("room_keep", &["room", "text", "last"]),
    ("room_archive", &["room"]),
    ("room_reopen", &["room"]),
    ("room_delete", &["room"]),
    ("room_forgive", &["room", "name"]),
    ("rekey", &["room"]),
    ("whois", &["name"]),
    ("ignore", &["name"]),
    ("unignore", &["name"]),
    ("mute", &["room"]),
    ("unmute", &["room"]),
];

/// What such a command was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) room: String,
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) entry: Option<String>,
    pub(super) code: Option<String>,
    pub(super) text: Option<String>,
    pub(super) last: Option<usize>,
}

fn bad(what: &str) -> Refused {
    Refused::new(Refusal::CommandBad, what)
}

/// Understands a command about rooms; `None` if it is none.
pub(super) fn read(cmd: &str, given: Given) -> Option<Result<Command, Refused>> {
    if !COMMANDS.iter().any(|(name, _)| *name == cmd) {
        return None;
    }
    Some(command(cmd, given))
}

fn command(cmd: &str, given: Given) -> Result<Command, Refused> {
    let Given { room, name, role, reason, entry, code, text, last } = given;
    let name = || name.ok_or_else(|| bad("name is missing"));
    let text = || text.ok_or_else(|| bad("text is missing"));
    let role = match role {
        None => None,
        Some(role) => {
            let known = Role::parse(&role);
            Some(known.ok_or_else(|| bad("role is reader, member, admin or owner"))?)
        }
    };
    let action = match cmd {
        "rooms" => return Ok(Command::Rooms),
        "receipts" => return Ok(Command::Receipts),
        "room" => return Ok(Command::Room { room }),
        "msg" => return direct(name()?, text()?, code),
        "code" => return Ok(Command::Contact(ContactCommand::Code { is_new: false })),
        "code_rotate" => return Ok(Command::Contact(ContactCommand::Code { is_new: true })),
        "accept" => return Ok(Command::Contact(accept(name().ok()))),
        "mute" | "unmute" => return Ok(Command::Mute { room, is_muted: cmd == "mute" }),
        "whois" => return Ok(Command::People(PeopleCommand::Whois { name: name()? })),
        "ignore" => return Ok(Command::People(ignore(name().ok()))),
        "unignore" => {
            let name = name()?;
            return Ok(Command::People(PeopleCommand::Ignore { name, is_ignored: false }));
        }
        "room_create" => RoomAction::Create {
            is_listed: entry.is_some(),
            entry: entry_of(entry, code)?,
            description: text().unwrap_or_default(),
        },
        "room_invite" => RoomAction::Invite { name: name()?, role },
        "room_join" => RoomAction::Join { code },
        "room_leave" => RoomAction::Leave,
        "kick" => RoomAction::Kick { name: name()?, reason: reason.unwrap_or_default() },
        "room_role" => {
            RoomAction::Role { name: name()?, role: role.ok_or_else(|| bad("role is missing"))? }
        }
        "room_rename" => RoomAction::Rename { name: name()? },
        "topic" => RoomAction::Topic { text: text()? },
        "room_describe" => RoomAction::Describe { text: text()? },
        "room_entry" => RoomAction::Entry(entry_of(entry, code)?),
        "room_capacity" => {
            let count =
                last.map(u32::try_from).transpose().map_err(|_| bad("last is too large"))?;
            RoomAction::Capacity(count.filter(|count| *count > 0))
        }
        "room_history" => {
            let rule = history(&text()?);
            RoomAction::History(rule.ok_or_else(|| bad("text is none, since-join, last N or all"))?)
        }
        "room_keep" => {
            let age = keep_age(&text().unwrap_or_else(|_| "forever".to_owned()));
            let age = age.ok_or_else(|| bad("text is forever, days as 30d, or hours as 12h"))?;
            let bytes = last.and_then(|bytes| u64::try_from(bytes).ok()).filter(|it| *it > 0);
            RoomAction::Keep(Keep { age, bytes })
        }
        "room_archive" => RoomAction::Archive(true),
        "room_reopen" => RoomAction::Archive(false),
        "room_delete" => RoomAction::Delete,
        "room_forgive" => RoomAction::Forgive { name: name()? },
        _ => RoomAction::Rekey,
    };
    Ok(Command::Act { room, action })
}

fn direct(name: String, text: String, code: Option<String>) -> Result<Command, Refused> {
    check_text(&text)?;
    Ok(match code {
        Some(code) => Command::Contact(ContactCommand::Direct { name, text, code }),
        None => Command::Direct { name, text },
    })
}

/// Without a name: who waits.
fn accept(name: Option<String>) -> ContactCommand {
    name.map_or(ContactCommand::Requests, |name| ContactCommand::Accept { name })
}

/// Without a name: who is ignored.
fn ignore(name: Option<String>) -> PeopleCommand {
    let ignore = |name| PeopleCommand::Ignore { name, is_ignored: true };
    name.map_or(PeopleCommand::Ignored, ignore)
}

/// Our contact code.
#[derive(Serialize)]
pub(super) struct CodeData<'a> {
    code: &'a str,
    since: String,
}

impl<'a> CodeData<'a> {
    pub(super) fn of(code: &'a str, since: Wall) -> Self {
        Self { code, since: since.rfc3339() }
    }
}

pub(super) fn code(
    at: &str,
    (code, since): (&str, Wall),
    reference: Option<&str>,
    out: &mut Vec<u8>,
) {
    line(&Answered { event: "code", at, reference, data: CodeData::of(code, since) }, out);
}

fn entry_of(entry: Option<String>, code: Option<String>) -> Result<RoomEntry, Refused> {
    match (entry.as_deref(), code) {
        (Some("code"), Some(code)) if code.chars().count() >= CODE_CHARS_MIN => {
            Ok(RoomEntry::Code(code))
        }
        (Some("code"), _) => Err(bad("code is missing or shorter than 12 characters")),
        (_, Some(_)) => Err(bad("code goes with entry \"code\"")),
        (None | Some("invited"), None) => Ok(RoomEntry::Invited),
        (Some("free"), None) => Ok(RoomEntry::Free),
        (Some("approval"), None) => Ok(RoomEntry::Approval),
        (Some(_), None) => Err(bad("entry is invited, free, approval or code")),
    }
}

/// A room as shown.
#[derive(Serialize)]
pub(super) struct RoomData<'a> {
    room: &'a str,
    id: String,
    kind: &'static str,
    #[serde(rename = "in")]
    is_in: bool,
    topic: &'a str,
    description: &'a str,
    entry: &'static str,
    capacity: Option<u32>,
    history: &'a str,
    keep_hours: Option<u64>,
    keep_bytes: Option<u64>,
    archived: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    muted: bool,
    deleted: bool,
    members: Vec<MemberData<'a>>,
    waiting: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suspended: Vec<SuspendedData<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stranded: Vec<StrandedData<'a>>,
    epoch: Option<u64>,
    authenticator: Option<String>,
    holders: &'a [String],
}

#[derive(Serialize)]
struct MemberData<'a> {
    name: &'a str,
    peer_id: String,
    role: &'static str,
    epoch: Option<u64>,
}

/// Who may not renew a room's keys for now.
#[derive(Serialize)]
struct SuspendedData<'a> {
    name: &'a str,
    peer_id: String,
    since: String,
    until: String,
}

/// Keys of a room that some could not follow.
#[derive(Serialize)]
struct StrandedData<'a> {
    name: &'a str,
    peer_id: String,
    entry: u64,
    members: &'a [String],
    cut_off: bool,
}

impl<'a> RoomData<'a> {
    pub(super) fn of(view: &'a RoomView) -> Self {
        let keys = view.keys.as_ref();
        let members = view.members.iter().map(|it| MemberData {
            name: &it.name,
            peer_id: it.peer.to_string(),
            role: it.role,
            epoch: it.epoch,
        });
        let suspended = view.suspended.iter().map(|it| SuspendedData {
            name: &it.name,
            peer_id: it.peer.to_string(),
            since: it.since.rfc3339(),
            until: it.until.rfc3339(),
        });
        let stranded = view.stranded.iter().map(|it| StrandedData {
            name: &it.name,
            peer_id: it.peer.to_string(),
            entry: it.entry.0,
            members: &it.members,
            cut_off: it.is_cut_off,
        });
        Self {
            room: &view.room,
            id: view.id.to_string(),
            kind: view.kind,
            is_in: view.is_in,
            topic: &view.topic,
            description: &view.description,
            entry: view.entry,
            capacity: view.capacity,
            history: &view.history,
            keep_hours: view.keep_age.and_then(|it| it.0.checked_div(3_600_000)),
            keep_bytes: view.keep_bytes,
            archived: view.is_archived,
            muted: view.is_muted,
            deleted: view.is_deleted,
            members: members.collect(),
            waiting: &view.waiting,
            suspended: suspended.collect(),
            stranded: stranded.collect(),
            epoch: keys.map(|keys| keys.epoch),
            authenticator: keys.map(|keys| keys.authenticator.to_string()),
            holders: keys.map(|keys| keys.members.as_slice()).unwrap_or_default(),
        }
    }
}

/// The rooms there are.
#[derive(Serialize)]
pub(super) struct RoomsData<'a> {
    rooms: Vec<RoomData<'a>>,
}

impl<'a> RoomsData<'a> {
    pub(super) fn of(views: &'a [RoomView]) -> Self {
        Self { rooms: views.iter().map(RoomData::of).collect() }
    }
}

/// Something happened to a room.
#[derive(Serialize)]
pub(super) struct ChangeData<'a> {
    what: &'static str,
    name: &'a str,
    #[serde(flatten)]
    room: RoomData<'a>,
}

impl<'a> ChangeData<'a> {
    pub(super) fn of(change: &'a RoomChange) -> Self {
        Self { what: change.what, name: &change.name, room: RoomData::of(&change.room) }
    }

    /// As the answer to who asked.
    pub(super) fn state(view: &'a RoomView) -> Self {
        Self { what: "state", name: "", room: RoomData::of(view) }
    }
}

/// New keys are on their way; the event `epoch` tells when they are there.
#[derive(Serialize)]
struct Rekeying {
    text: &'static str,
}

/// Answers who wished for new keys.
pub(super) fn rekeying(at: &str, reference: Option<&str>, out: &mut Vec<u8>) {
    let data = Rekeying { text: "new keys are on their way" };
    line(&Answered { event: "info", at, reference, data }, out);
}

/// How far a removal has come.
#[derive(Serialize)]
pub(super) struct ReceiptData<'a> {
    kind: &'static str,
    name: &'a str,
    room: Option<&'a str>,
    removed_at: String,
    done: usize,
    of: usize,
    pending: &'a [String],
    done_at: Option<String>,
    last_readable: Vec<LastData<'a>>,
}

#[derive(Serialize)]
struct LastData<'a> {
    room: &'a str,
    from: &'a str,
    seq: u64,
}

impl<'a> ReceiptData<'a> {
    pub(super) fn of(view: &'a ReceiptView) -> Self {
        let last = view.last_readable.iter();
        Self {
            kind: view.kind,
            name: &view.name,
            room: view.room.as_deref(),
            removed_at: view.at.rfc3339(),
            done: view.done,
            of: view.of,
            pending: &view.pending,
            done_at: view.done_at.map(Wall::rfc3339),
            last_readable: last
                .map(|(room, from, seq)| LastData { room, from, seq: seq.0 })
                .collect(),
        }
    }
}

/// All of them.
#[derive(Serialize)]
pub(super) struct ReceiptsData<'a> {
    receipts: Vec<ReceiptData<'a>>,
}

impl<'a> ReceiptsData<'a> {
    pub(super) fn of(views: &'a [ReceiptView]) -> Self {
        Self { receipts: views.iter().map(ReceiptData::of).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Index, PeerId, RoomId};
    use crate::protocol::{StrandedView, SuspendedView};

    #[test]
    fn who_may_not_renew_keys_is_shown_where_there_is_somebody_and_may_be_forgiven() {
        let given =
            Given { room: "ops".to_owned(), name: Some("bob".to_owned()), ..Given::default() };
        let action = RoomAction::Forgive { name: "bob".to_owned() };
        let forgive = Command::Act { room: "ops".to_owned(), action };
        assert_eq!(read("room_forgive", given), Some(Ok(forgive)));
        let suspended = SuspendedView {
            name: "bob".to_owned(),
            peer: PeerId::of_rsa_spki(b"bob"),
            since: Wall(0),
            until: Wall(86_400_000),
        };
        let mut view = RoomView {
            room: "ops".to_owned(),
            id: RoomId([1; 16]),
            kind: "listed",
            is_in: true,
            topic: String::new(),
            description: String::new(),
            entry: "free",
            capacity: None,
            history: "all".to_owned(),
            keep_age: None,
            keep_bytes: None,
            is_archived: false,
            is_muted: false,
            is_deleted: false,
            members: Vec::new(),
            waiting: Vec::new(),
            suspended: vec![suspended],
            stranded: vec![StrandedView {
                name: "bob".to_owned(),
                peer: PeerId::of_rsa_spki(b"bob"),
                entry: Index(12),
                members: vec!["carol".to_owned()],
                is_cut_off: true,
            }],
            keys: None,
        };
        let shown = serde_json::to_value(RoomData::of(&view)).unwrap();
        let bob = &shown["suspended"][0];
        assert_eq!(
            (&bob["name"], &bob["until"]),
            (&"bob".into(), &"1970-01-02T00:00:00.000Z".into())
        );
        let keys = &shown["stranded"][0];
        assert_eq!((&keys["entry"], &keys["cut_off"]), (&12.into(), &true.into()));
        assert_eq!(keys["members"][0], "carol");
        (view.suspended, view.stranded) = (Vec::new(), Vec::new());
        let shown = serde_json::to_value(RoomData::of(&view)).unwrap();
        assert!(shown.get("suspended").is_none() && shown.get("stranded").is_none(), "{shown}");
    }
}
