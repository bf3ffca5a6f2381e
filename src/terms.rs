//! What people say, and what they say of rooms: roles, what new members read, what is kept.
//! Owns: these words and how they are printed.
//! Must not know: who may change them, how they are encoded.
//! Invariants: roles are ordered, the least first.
//! Start reading at: [`Role`].

use crate::ids::MessageId;
use crate::limits::{APPLICATION_BYTES_MAX, MARK_BYTES_MAX, TEXT_BYTES_MAX};
use crate::refusal::Refusal;
use crate::time::Millis;

/// What a message is about, where it is about something said before, or not for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// Nothing but what it says.
    #[default]
    Nothing,
    /// It answers a message.
    Reply(MessageId),
    /// Its text takes the place of that of a message of the same author.
    Edit(MessageId),
    /// A message of the same author is not to be shown any more; there is no text.
    Deletion(MessageId),
    /// Its text is a mark on a message, such as a thumb.
    Reaction {
        /// Which message.
        to: MessageId,
        /// Whether the mark is taken back.
        is_removed: bool,
    },
    /// Its text is for a program that knows this kind, such as `org.example.poll/1`.
    Application(String),
}

impl About {
    /// The message it is about.
    pub fn target(&self) -> Option<MessageId> {
        match self {
            Self::Nothing | Self::Application(_) => None,
            Self::Reply(of) | Self::Edit(of) | Self::Deletion(of) => Some(*of),
            Self::Reaction { to, .. } => Some(*to),
        }
    }

    /// Whether the text is what a person has to say.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Nothing | Self::Reply(_) | Self::Edit(_))
    }
}

/// Something to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saying {
    /// The text.
    pub text: String,
    /// What it is about.
    pub about: About,
}

impl From<String> for Saying {
    fn from(text: String) -> Self {
        Self { text, about: About::Nothing }
    }
}

impl Saying {
    /// Whether it may be said, whoever says it.
    ///
    /// # Refusals
    /// [`Refusal::MessageEmpty`], [`Refusal::MessageTooLong`]; [`Refusal::FieldBad`] for a mark or
    /// an application's name that is none.
    pub fn check(&self) -> Result<(), Refusal> {
        let size = self.text.len();
        match &self.about {
            About::Deletion(_) if size == 0 => Ok(()),
            About::Deletion(_) => Err(Refusal::FieldBad),
            _ if size == 0 => Err(Refusal::MessageEmpty),
            _ if size > TEXT_BYTES_MAX => Err(Refusal::MessageTooLong),
            About::Reaction { .. } if size > MARK_BYTES_MAX || !is_mark(&self.text) => {
                Err(Refusal::FieldBad)
            }
            About::Application(name) if !is_application(name) => Err(Refusal::FieldBad),
            _ => Ok(()),
        }
    }
}

/// A few signs in a row: nothing that spreads over lines or steers a terminal.
fn is_mark(text: &str) -> bool {
    !text.chars().any(|it| it.is_control() || it.is_whitespace())
}

fn is_application(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= APPLICATION_BYTES_MAX
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"._/-".contains(&it))
}

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

/// How much a keeper keeps for others, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperRule {
    /// Bytes in all, rows included.
    pub quota: u64,
    /// The longest that something is kept.
    pub age: Millis,
}
