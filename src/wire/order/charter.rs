//! What a room is, as bytes and as a value.
//! Owns: the encoding of charters and settings, and their bounds.
//! Must not know: who may set what (`room/state` judges).
//! Invariants: texts are within their bounds, and not yet harmless.
//! Start reading at: [`Charter`].

use bytes::Bytes;

use super::{bytes, peer, text};
use crate::ids::{DeviceKey, PeerId};
use crate::limits::{NAME_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::refusal::Refusal;
use crate::terms::{History, Keep, Role};
use crate::time::Millis;
use crate::wire::pb;

/// Who may know of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The room that every network has, with every member in it.
    Main,
    /// Its members alone.
    Private,
    /// Everybody in the network.
    Listed,
    /// Two members; the name of each is its name for the other.
    Direct,
}

impl Kind {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Private => "private",
            Self::Listed => "listed",
            Self::Direct => "direct",
        }
    }

    /// Whether its orders are in the clear.
    pub const fn is_plain(self) -> bool {
        matches!(self, Self::Main | Self::Listed)
    }

    const fn number(self) -> u32 {
        match self {
            Self::Main => 4,
            Self::Private => 1,
            Self::Listed => 2,
            Self::Direct => 3,
        }
    }

    fn of(number: u32) -> Result<Self, Refusal> {
        let all = [Self::Main, Self::Private, Self::Listed, Self::Direct];
        all.into_iter().find(|kind| kind.number() == number).ok_or(Refusal::FieldBad)
    }
}

/// How somebody comes into a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Invited by an admin.
    Invited,
    /// By wishing so.
    Free,
    /// By wishing so, and an admin's yes.
    Approval,
    /// By showing that one knows the join code; this is its public key.
    Code(DeviceKey),
}

impl Entry {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Free => "free",
            Self::Approval => "approval",
            Self::Code(_) => "code",
        }
    }
}

/// What a room is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// Who may know of it.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it is about now.
    pub topic: String,
    /// What it is for.
    pub description: String,
    /// How somebody comes in.
    pub entry: Entry,
    /// How many it holds.
    pub capacity: Option<u32>,
    /// What new members may read.
    pub history: History,
    /// What is kept.
    pub keep: Keep,
    /// Whether nothing more is said.
    pub is_archived: bool,
    /// Of a direct room the one whom its maker talks with.
    pub with: Option<PeerId>,
}

impl Charter {
    /// A room with nothing set but its kind and name.
    pub fn new(kind: Kind, name: String) -> Self {
        Self {
            kind,
            name,
            topic: String::new(),
            description: String::new(),
            entry: if kind == Kind::Listed { Entry::Free } else { Entry::Invited },
            capacity: None,
            history: History::DEFAULT,
            keep: Keep::default(),
            is_archived: false,
            with: None,
        }
    }
}

/// One field of a charter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Its name.
    Name(String),
    /// Its topic.
    Topic(String),
    /// Its description.
    Description(String),
    /// How somebody comes in.
    Entry(Entry),
    /// How many it holds.
    Capacity(Option<u32>),
    /// What new members may read.
    History(History),
    /// What is kept.
    Keep(Keep),
    /// Whether nothing more is said.
    Archived(bool),
}

pub(super) const fn role_number(role: Role) -> u32 {
    match role {
        Role::Reader => 1,
        Role::Member => 2,
        Role::Admin => 3,
        Role::Owner => 4,
    }
}

pub(super) fn role_of(number: u32) -> Result<Role, Refusal> {
    Role::ALL.into_iter().find(|role| role_number(*role) == number).ok_or(Refusal::FieldBad)
}

fn encode_entry(entry: Entry) -> (u32, Bytes) {
    match entry {
        Entry::Invited => (1, Bytes::new()),
        Entry::Free => (2, Bytes::new()),
        Entry::Approval => (3, Bytes::new()),
        Entry::Code(key) => (4, bytes(key.as_bytes())),
    }
}

fn decode_entry(number: u32, code: &[u8]) -> Result<Entry, Refusal> {
    match number {
        1 => Ok(Entry::Invited),
        2 => Ok(Entry::Free),
        3 => Ok(Entry::Approval),
        4 => Ok(Entry::Code(DeviceKey::from_bytes(code).ok_or(Refusal::FieldBad)?)),
        _ => Err(Refusal::FieldBad),
    }
}

fn encode_history(history: History) -> (u32, u32) {
    match history {
        History::None => (1, 0),
        History::SinceJoin => (2, 0),
        History::Last(count) => (3, count),
        History::All => (4, 0),
    }
}

fn decode_history(number: u32, last: u32) -> Result<History, Refusal> {
    match number {
        1 => Ok(History::None),
        2 => Ok(History::SinceJoin),
        3 => Ok(History::Last(last)),
        4 => Ok(History::All),
        _ => Err(Refusal::FieldBad),
    }
}

fn decode_keep(age: u64, bytes: u64) -> Keep {
    Keep { age: (age > 0).then_some(Millis(age)), bytes: (bytes > 0).then_some(bytes) }
}

pub(super) fn encode_charter(charter: &Charter) -> pb::Charter {
    let (entry, code) = encode_entry(charter.entry);
    let (history, history_last) = encode_history(charter.history);
    pb::Charter {
        kind: charter.kind.number(),
        name: charter.name.clone(),
        topic: charter.topic.clone(),
        description: charter.description.clone(),
        entry,
        code,
        capacity: charter.capacity.unwrap_or(0),
        history,
        history_last,
        keep_for: charter.keep.age.map_or(0, |it| it.0),
        keep_bytes: charter.keep.bytes.unwrap_or(0),
        is_archived: charter.is_archived,
        with: charter.with.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
    }
}

pub(super) fn decode_charter(it: pb::Charter) -> Result<Charter, Refusal> {
    Ok(Charter {
        kind: Kind::of(it.kind)?,
        name: text(it.name, NAME_BYTES_MAX)?,
        topic: text(it.topic, TOPIC_BYTES_MAX)?,
        description: text(it.description, TOPIC_BYTES_MAX)?,
        entry: decode_entry(it.entry, &it.code)?,
        capacity: (it.capacity > 0).then_some(it.capacity),
        history: decode_history(it.history, it.history_last)?,
        keep: decode_keep(it.keep_for, it.keep_bytes),
        is_archived: it.is_archived,
        with: match it.with.is_empty() {
            true => None,
            false => Some(peer(&it.with)?),
        },
    })
}

pub(super) fn encode_setting(setting: &Setting) -> pb::setting::Setting {
    use pb::setting::Setting as Pb;
    match setting {
        Setting::Name(name) => Pb::Name(name.clone()),
        Setting::Topic(topic) => Pb::Topic(topic.clone()),
        Setting::Description(text) => Pb::Description(text.clone()),
        Setting::Entry(entry) => {
            let (entry, code) = encode_entry(*entry);
            Pb::Entry(pb::Entry { entry, code })
        }
        Setting::Capacity(capacity) => Pb::Capacity(capacity.unwrap_or(0)),
        Setting::History(history) => {
            let (history, last) = encode_history(*history);
            Pb::History(pb::History { history, last })
        }
        Setting::Keep(keep) => Pb::Keep(pb::Keep {
            keep_for: keep.age.map_or(0, |it| it.0),
            keep_bytes: keep.bytes.unwrap_or(0),
        }),
        Setting::Archived(is_archived) => Pb::IsArchived(*is_archived),
    }
}

pub(super) fn decode_setting(setting: pb::setting::Setting) -> Result<Setting, Refusal> {
    use pb::setting::Setting as Pb;
    Ok(match setting {
        Pb::Name(name) => Setting::Name(text(name, NAME_BYTES_MAX)?),
        Pb::Topic(topic) => Setting::Topic(text(topic, TOPIC_BYTES_MAX)?),
        Pb::Description(it) => Setting::Description(text(it, TOPIC_BYTES_MAX)?),
        Pb::Entry(it) => Setting::Entry(decode_entry(it.entry, &it.code)?),
        Pb::Capacity(capacity) => Setting::Capacity((capacity > 0).then_some(capacity)),
        Pb::History(it) => Setting::History(decode_history(it.history, it.last)?),
        Pb::Keep(it) => Setting::Keep(decode_keep(it.keep_for, it.keep_bytes)),
        Pb::IsArchived(is_archived) => Setting::Archived(is_archived),
    })
}
