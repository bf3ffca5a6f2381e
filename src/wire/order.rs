//! What is ordered about rooms, and how a room stands, as bytes and as values.
//! Owns: their encoding and bounds.
//! Must not know: who may order what (`room/state` judges), how orders are sealed.
//! Invariants: what is decoded is within its bounds; a name or a text in it is not yet harmless.
//! Start reading at: [`Order`], [`Charter`].

mod state;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;

pub use self::state::{Barrier, Seat, Snapshot};
use super::pb;
use crate::ids::{DeviceKey, GroupId, Hash, Incarnation, KeyId, PeerId, Seq, Signature};
use crate::limits::{
    COMMIT_BYTES_MAX, CUT_LOGS_MAX, CUTS_MAX, DETAIL_BYTES_MAX, NAME_BYTES_MAX, ORDER_SEALED_MAX,
    TOPIC_BYTES_MAX,
};
use crate::refusal::Refusal;
use crate::time::Millis;

/// What a member of a room may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes.
    Member,
    /// Invites and removes members, too, and sets the topic.
    Admin,
    /// Everything.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Member, Self::Admin, Self::Owner];

    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    const fn number(self) -> u32 {
        match self {
            Self::Reader => 1,
            Self::Member => 2,
            Self::Admin => 3,
            Self::Owner => 4,
        }
    }

    fn of(number: u32) -> Result<Self, Refusal> {
        Self::ALL.into_iter().find(|role| role.number() == number).ok_or(Refusal::FieldBad)
    }
}

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

/// What of a room's past a new member may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Nothing from before it held the room's key.
    None,
    /// What was said since it belongs to the room.
    SinceJoin,
    /// So many of the newest messages.
    Last(u32),
    /// All that is kept.
    All,
}

impl History {
    /// What a room begins with.
    pub const DEFAULT: Self = Self::Last(500);

    /// As typed and printed.
    pub fn text(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::SinceJoin => "since-join".to_owned(),
            Self::Last(count) => format!("last {count}"),
            Self::All => "all".to_owned(),
        }
    }
}

/// What is kept of a room's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So long.
    pub age: Option<Millis>,
    /// So many bytes, the newest.
    pub bytes: Option<u64>,
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

/// Where somebody's logs in a room end: of each the last entry that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Whose.
    pub peer: PeerId,
    /// The ends, in ascending order.
    pub heads: Vec<(Incarnation, Seq, Hash)>,
}

/// Something about a room that is to be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To agree on keys in another group from now on.
    Group {
        /// The group.
        group: GroupId,
        /// The group it takes the place of; `None`: there is none yet.
        replaces: Option<GroupId>,
    },
    /// A commit of the room's group.
    Commit {
        /// The group.
        group: GroupId,
        /// The MLS message.
        commit: Bytes,
        /// Where the logs end of those whom the network removed, and who now leave the group.
        cuts: Vec<Cut>,
    },
    /// A new room, its author the owner.
    Create {
        /// Its group.
        group: GroupId,
        /// What it is.
        charter: Box<Charter>,
    },
    /// To have somebody in the room.
    Invite {
        /// Whom.
        peer: PeerId,
        /// As what.
        role: Role,
    },
    /// To come into a listed room.
    Join {
        /// That one knows the join code.
        proof: Option<Signature>,
    },
    /// To leave the room.
    Leave {
        /// Where one's own logs end.
        cut: Cut,
    },
    /// To have somebody out of the room.
    Kick {
        /// Whom, and where its logs end.
        cut: Cut,
        /// Why.
        reason: String,
    },
    /// To give a member another role.
    Role {
        /// Whom.
        peer: PeerId,
        /// Which.
        role: Role,
        /// Who shall only read writes nothing after this.
        cut: Option<Cut>,
    },
    /// To change what the room is.
    Set(Setting),
    /// To end the room.
    Delete,
}

/// An order as the control log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomOrder {
    /// For all to read.
    Plain(Bytes),
    /// For the room's members.
    Sealed(SealedOrder),
}

/// An order under an epoch's order key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedOrder {
    /// The name of the key.
    pub key: KeyId,
    /// Random.
    pub nonce: [u8; 12],
    /// With its tag.
    pub ciphertext: Bytes,
}

impl RoomOrder {
    /// The bytes for the control log.
    pub fn encode(&self) -> Bytes {
        let body = match self {
            Self::Plain(order) => pb::room_order::Body::Plain(order.clone()),
            Self::Sealed(it) => pb::room_order::Body::Sealed(pb::SealedOrder {
                key: Bytes::copy_from_slice(it.key.as_bytes()),
                nonce: Bytes::copy_from_slice(&it.nonce),
                ciphertext: it.ciphertext.clone(),
            }),
        };
        pb::RoomOrder { body: Some(body) }.encode_to_vec().into()
    }

    /// Reads an order as the control log holds it.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FrameTooLong`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > ORDER_SEALED_MAX {
            return Err(Refusal::FrameTooLong);
        }
        let it = pb::RoomOrder::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)?;
        Ok(match it.body.ok_or(Refusal::FieldBad)? {
            pb::room_order::Body::Plain(order) => Self::Plain(order),
            pb::room_order::Body::Sealed(it) => Self::Sealed(SealedOrder {
                key: KeyId::from_bytes(&it.key).ok_or(Refusal::FieldBad)?,
                nonce: it.nonce.as_ref().try_into().map_err(|_| Refusal::FieldBad)?,
                ciphertext: it.ciphertext,
            }),
        })
    }
}

impl Order {
    /// The bytes to be ordered, or to be sealed.
    pub fn encode(&self) -> Bytes {
        use pb::order::Order as Pb;
        let order = match self {
            Self::Group { group, replaces } => Pb::Group(pb::OrderGroup {
                group: bytes(group.as_bytes()),
                replaces: replaces.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
            }),
            Self::Commit { group, commit, cuts } => Pb::Commit(pb::OrderCommit {
                group: bytes(group.as_bytes()),
                commit: commit.clone(),
                cuts: cuts.iter().map(encode_cut).collect(),
            }),
            Self::Create { group, charter } => Pb::Create(pb::OrderCreate {
                group: bytes(group.as_bytes()),
                charter: Some(encode_charter(charter)),
            }),
            Self::Invite { peer, role } => {
                Pb::Invite(pb::OrderInvite { peer: bytes(peer.as_bytes()), role: role.number() })
            }
            Self::Join { proof } => Pb::Join(pb::OrderJoin {
                proof: proof.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
            }),
            Self::Leave { cut } => Pb::Leave(pb::OrderLeave { cut: Some(encode_cut(cut)) }),
            Self::Kick { cut, reason } => {
                Pb::Kick(pb::OrderKick { cut: Some(encode_cut(cut)), reason: reason.clone() })
            }
            Self::Role { peer, role, cut } => Pb::Role(pb::OrderRole {
                peer: bytes(peer.as_bytes()),
                role: role.number(),
                cut: cut.as_ref().map(encode_cut),
            }),
            Self::Set(setting) => Pb::Set(pb::Setting { setting: Some(encode_setting(setting)) }),
            Self::Delete => Pb::Delete(pb::OrderDelete {}),
        };
        pb::Order { order: Some(order) }.encode_to_vec().into()
    }

    /// Reads an order.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`], [`Refusal::VersionOther`] for one that a newer
    /// version knows.
    pub fn decode(from: &[u8]) -> Result<Self, Refusal> {
        use pb::order::Order as Pb;
        let it = pb::Order::decode(from).map_err(|_| Refusal::FrameBad)?;
        Ok(match it.order.ok_or(Refusal::VersionOther)? {
            Pb::Group(it) => Self::Group {
                group: group_id(&it.group)?,
                replaces: match it.replaces.is_empty() {
                    true => None,
                    false => Some(group_id(&it.replaces)?),
                },
            },
            Pb::Commit(it) => {
                if it.commit.len() > COMMIT_BYTES_MAX || it.cuts.len() > CUTS_MAX {
                    return Err(Refusal::FieldBad);
                }
                Self::Commit {
                    group: group_id(&it.group)?,
                    commit: it.commit,
                    cuts: it.cuts.iter().map(decode_cut).collect::<Result<_, _>>()?,
                }
            }
            Pb::Create(it) => Self::Create {
                group: group_id(&it.group)?,
                charter: Box::new(decode_charter(it.charter.ok_or(Refusal::FieldBad)?)?),
            },
            Pb::Invite(it) => Self::Invite { peer: peer(&it.peer)?, role: Role::of(it.role)? },
            Pb::Join(it) => Self::Join {
                proof: match it.proof.is_empty() {
                    true => None,
                    false => Some(Signature::from_bytes(&it.proof).ok_or(Refusal::FieldBad)?),
                },
            },
            Pb::Leave(it) => Self::Leave { cut: decode_cut(&it.cut.ok_or(Refusal::FieldBad)?)? },
            Pb::Kick(it) => Self::Kick {
                cut: decode_cut(&it.cut.ok_or(Refusal::FieldBad)?)?,
                reason: text(it.reason, DETAIL_BYTES_MAX)?,
            },
            Pb::Role(it) => Self::Role {
                peer: peer(&it.peer)?,
                role: Role::of(it.role)?,
                cut: it.cut.as_ref().map(decode_cut).transpose()?,
            },
            Pb::Set(it) => Self::Set(decode_setting(it.setting.ok_or(Refusal::VersionOther)?)?),
            Pb::Delete(_) => Self::Delete,
        })
    }
}

fn bytes(from: &[u8]) -> Bytes {
    Bytes::copy_from_slice(from)
}

fn group_id(from: &[u8]) -> Result<GroupId, Refusal> {
    GroupId::from_bytes(from).ok_or(Refusal::FieldBad)
}

fn peer(from: &[u8]) -> Result<PeerId, Refusal> {
    PeerId::from_bytes(from).ok_or(Refusal::FieldBad)
}

fn text(text: String, bytes_max: usize) -> Result<String, Refusal> {
    if text.len() > bytes_max { Err(Refusal::FieldBad) } else { Ok(text) }
}

fn encode_cut(cut: &Cut) -> pb::Cut {
    let heads = cut.heads.iter().map(|(life, seq, hash)| pb::Head {
        author: Bytes::new(),
        incarnation: life.0,
        seq: seq.0,
        hash: bytes(hash.as_bytes()),
    });
    pb::Cut { peer: bytes(cut.peer.as_bytes()), heads: heads.collect() }
}

fn decode_cut(cut: &pb::Cut) -> Result<Cut, Refusal> {
    if cut.heads.len() > CUT_LOGS_MAX {
        return Err(Refusal::FieldBad);
    }
    let mut heads: Vec<(Incarnation, Seq, Hash)> = Vec::with_capacity(cut.heads.len());
    for head in &cut.heads {
        let life = Incarnation(head.incarnation);
        if heads.last().is_some_and(|(before, _, _)| *before >= life) {
            return Err(Refusal::FieldBad);
        }
        let hash = Hash::from_bytes(&head.hash).ok_or(Refusal::FieldBad)?;
        heads.push((life, Seq(head.seq), hash));
    }
    Ok(Cut { peer: peer(&cut.peer)?, heads })
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

fn encode_charter(charter: &Charter) -> pb::Charter {
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

fn decode_charter(it: pb::Charter) -> Result<Charter, Refusal> {
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

fn encode_setting(setting: &Setting) -> pb::setting::Setting {
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

fn decode_setting(setting: pb::setting::Setting) -> Result<Setting, Refusal> {
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
