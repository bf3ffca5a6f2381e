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
    /// Nothing that was said while it held no key of the room, be it a member already: keys are
    /// handed over to nobody.
    None,
    /// All that was said since it belongs to the room, also while it was away.
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

/// Who may write to one alone without asking first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direct {
    /// Every member.
    Everyone,
    /// Whoever one wrote to, verified or accepted, or shares a room with into which one is let. The
    /// others wait, and that is told.
    #[default]
    Known,
    /// The same; and the others wait without a word, unless they show the contact code.
    Code,
}

impl Direct {
    /// As in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Known => "known",
            Self::Code => "code",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Everyone, Self::Known, Self::Code].into_iter().find(|it| it.name() == name)
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
