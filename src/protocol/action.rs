//! What people may want done to rooms, and rooms as they are shown.
//! Owns: [`RoomAction`], [`RoomView`].
//! Must not know: who may do what, how it is ordered.
//! Invariants: names are as typed; what they stand for is looked up by the core.
//! Start reading at: [`RoomAction`].

use crate::ids::{Index, PeerId, RoomId, Seq};
use crate::protocol::EpochView;
use crate::terms::{History, Keep, Role};
use crate::time::{Millis, Wall};

/// How others shall come into a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEntry {
    /// Invited alone.
    Invited,
    /// As they like.
    Free,
    /// With an admin's yes.
    Approval,
    /// With this code.
    Code(String),
}

/// Something a person wants done to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomAction {
    /// A new room of this name.
    Create {
        /// How others come in, if it is listed.
        entry: RoomEntry,
        /// Whether everybody in the network may know of it.
        is_listed: bool,
        /// What it is for.
        description: String,
    },
    /// Have somebody in; also the yes to who asked.
    Invite {
        /// Whom.
        name: String,
        /// As what; a member if not said.
        role: Option<Role>,
    },
    /// Come into a listed room.
    Join {
        /// The join code, where it has one.
        code: Option<String>,
    },
    /// Leave it.
    Leave,
    /// Have somebody out.
    Kick {
        /// Whom.
        name: String,
        /// Why.
        reason: String,
    },
    /// Give a member another role.
    Role {
        /// Whom.
        name: String,
        /// Which.
        role: Role,
    },
    /// Another name.
    Rename {
        /// The name.
        name: String,
    },
    /// Another topic.
    Topic {
        /// The topic.
        text: String,
    },
    /// Another description.
    Describe {
        /// The description.
        text: String,
    },
    /// Another way in.
    Entry(RoomEntry),
    /// So many members at most.
    Capacity(Option<u32>),
    /// What new members may read.
    History(History),
    /// What is kept.
    Keep(Keep),
    /// Whether nothing more is said.
    Archive(bool),
    /// New keys.
    Rekey,
    /// End it.
    Delete,
    /// Let a suspended member commit again.
    Forgive {
        /// Whom.
        name: String,
    },
}

/// A room as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Its name here: of a direct room `@` and the other's.
    pub room: String,
    /// Its id.
    pub id: RoomId,
    /// `main`, `private`, `listed` or `direct`.
    pub kind: &'static str,
    /// Whether we are in it.
    pub is_in: bool,
    /// What it is about now.
    pub topic: String,
    /// What it is for.
    pub description: String,
    /// How others come in: `invited`, `free`, `approval`, `code`.
    pub entry: &'static str,
    /// How many it holds at most.
    pub capacity: Option<u32>,
    /// What new members may read.
    pub history: String,
    /// How long messages are kept.
    pub keep_age: Option<Millis>,
    /// How many bytes of them.
    pub keep_bytes: Option<u64>,
    /// Whether nothing more is said.
    pub is_archived: bool,
    /// Whether it does not call its person here.
    pub is_muted: bool,
    /// Whether it was ended.
    pub is_deleted: bool,
    /// Who is in it.
    pub members: Vec<RoomMemberView>,
    /// Who asks to be let in.
    pub waiting: Vec<String>,
    /// Who may not renew its keys for now.
    pub suspended: Vec<SuspendedView>,
    /// Keys that not everybody could follow, as was said of them of late, and those for which we are cut
    /// off.
    pub stranded: Vec<StrandedView>,
    /// Its keys, while we hold them.
    pub keys: Option<EpochView>,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMemberView {
    /// The name.
    pub name: String,
    /// Who.
    pub peer: PeerId,
    /// `reader`, `member`, `admin` or `owner`.
    pub role: &'static str,
    /// The epoch of the keys it holds, as far as it told.
    pub epoch: Option<u64>,
}

/// A member of whose commits most could not follow one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspendedView {
    /// The name.
    pub name: String,
    /// Who.
    pub peer: PeerId,
    /// Since when, by the leader's stamp.
    pub since: Wall,
    /// Until when, unless an admin of the room ends it.
    pub until: Wall,
}

/// Keys of a room that some could not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrandedView {
    /// Who made them.
    pub name: String,
    /// The same.
    pub peer: PeerId,
    /// Where in the control log.
    pub entry: Index,
    /// Who could not follow them.
    pub members: Vec<String>,
    /// Whether we are out of the room's keys since then.
    pub is_cut_off: bool,
}

/// What happened to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomChange {
    /// `created`, `entered`, `asked`, `left`, `kicked`, `role`, `changed`, `stranded` (we cannot
    /// follow keys of its), `suspended`, `forgiven` or `deleted`.
    pub what: &'static str,
    /// Whom it is about, or who did it.
    pub name: String,
    /// The room after it.
    pub room: RoomView,
}

/// How far a removal has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptView {
    /// `removed` from the network, or `kicked` from a room.
    pub kind: &'static str,
    /// Who.
    pub name: String,
    /// Of which room.
    pub room: Option<String>,
    /// When, by the leader's stamp.
    pub at: Wall,
    /// How many of those who share a room with it hold keys without it …
    pub done: usize,
    /// … of so many.
    pub of: usize,
    /// Who does not, or has not told yet.
    pub pending: Vec<String>,
    /// When the last of them did.
    pub done_at: Option<Wall>,
    /// By room the last message that it could read: its author and place.
    pub last_readable: Vec<(String, String, Seq)>,
}
