//! What people say, and what they say of rooms: roles, what new members read, what is kept.
//! Owns: these words and how they are printed.
//! Must not know: who may change them, how they are encoded.
//! Invariants: roles are ordered, the least first.
//! Start reading at: [`Role`].

use crate::ids::{FileId, MessageId};
use crate::limits::{
    APPLICATION_BYTES_MAX, FILE_CHUNK_BYTES_MAX, FILE_CHUNK_BYTES_MIN, FILE_CHUNKS_MAX,
    FILE_TAG_BYTES, MARK_BYTES_MAX, TEXT_BYTES_MAX,
};
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
    /// It brings a file, and its text is the file's name.
    File(Box<FileTerms>),
}

impl About {
    /// The message it is about.
    pub fn target(&self) -> Option<MessageId> {
        match self {
            Self::Nothing | Self::Application(_) | Self::File(_) => None,
            Self::Reply(of) | Self::Edit(of) | Self::Deletion(of) => Some(*of),
            Self::Reaction { to, .. } => Some(*to),
        }
    }

    /// Whether the text is what a person has to say.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Nothing | Self::Reply(_) | Self::Edit(_) | Self::File(_))
    }

    /// The file it brings.
    pub fn file(&self) -> Option<&FileTerms> {
        match self {
            Self::File(terms) => Some(terms),
            _ => None,
        }
    }
}

/// What a file's chunks are sealed under: drawn for each file that is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(pub [u8; 32]);

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(..)")
    }
}

/// What one must know of a file to fetch it, to check it and to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTerms {
    /// Which file: what the other terms and all sealed chunks hash to.
    pub id: FileId,
    /// What its chunks are sealed under.
    pub key: FileKey,
    /// Its bytes.
    pub size: u64,
    /// The bytes of a chunk, but for the last one.
    pub chunk: u32,
}

impl FileTerms {
    /// How long the chunks of a file of this size are; `None`: it is too large.
    pub fn chunk_for(size: u64) -> Option<u32> {
        let mut chunk = FILE_CHUNK_BYTES_MIN;
        while size.div_ceil(u64::from(chunk)) > u64::from(FILE_CHUNKS_MAX) {
            chunk = chunk.checked_mul(2).filter(|it| *it <= FILE_CHUNK_BYTES_MAX)?;
        }
        Some(chunk)
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        let count = self.size.div_ceil(u64::from(self.chunk.max(1)));
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Where a chunk begins.
    pub fn begin(&self, index: u32) -> u64 {
        u64::from(index).saturating_mul(u64::from(self.chunk))
    }

    /// The bytes of a chunk; 0 beyond the last.
    pub fn length(&self, index: u32) -> u32 {
        let left = self.size.saturating_sub(self.begin(index));
        u32::try_from(left).map_or(self.chunk, |left| left.min(self.chunk))
    }

    /// The bytes of a sealed chunk.
    pub fn sealed_length(&self, index: u32) -> u32 {
        self.length(index).saturating_add(FILE_TAG_BYTES)
    }

    /// Whether they can be those of a file.
    ///
    /// # Refusals
    /// [`Refusal::FieldBad`].
    pub fn check(&self) -> Result<(), Refusal> {
        // No more than one way to cut a file, so that a size says how much memory it takes.
        match Self::chunk_for(self.size) {
            Some(chunk) if chunk == self.chunk => Ok(()),
            _ => Err(Refusal::FieldBad),
        }
    }
}

/// Where a file stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It may be fetched.
    Offered,
    /// It comes, or waits for somebody who has it.
    Fetching,
    /// It would come, but for something here: the quota, a full disk.
    Paused,
    /// It is here.
    Complete,
    /// It cannot be had.
    Failed,
}

impl FileState {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Fetching => "fetching",
            Self::Paused => "paused",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
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
            About::File(_) if crate::text::file_name(&self.text) != self.text => {
                Err(Refusal::FieldBad)
            }
            About::File(terms) => terms.check(),
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

/// What files from others may do by themselves, and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesRule {
    /// Files up to so many bytes are fetched without a word.
    pub accept: u64,
    /// All files that were fetched may take so many bytes; `None`: without a bound.
    pub quota: Option<u64>,
}

/// How much a keeper keeps for others, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperRule {
    /// Bytes in all, rows included.
    pub quota: u64,
    /// The longest that something is kept.
    pub age: Millis,
}
