//! What people say of rooms: roles, what new members read, what is kept.
//! Owns: these words and how they are printed.
//! Must not know: who may change them, how they are encoded.
//! Invariants: roles are ordered, the least first.
//! Start reading at: [`Role`].

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

/// How much a keeper keeps for others, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperRule {
    /// Bytes in all, rows included.
    pub quota: u64,
    /// The longest that something is kept.
    pub age: Millis,
}
