//! Files: what a member has the hands do with them and hears of it, and what faces ask and see.
//! Owns: [`FileOrder`], [`FileReport`], [`FileCommand`], [`FileView`].
//! Must not know: how a file is read, sealed, written or carried.
//! Invariants: whoever asks for a file is named by its transport, and gets it by a core's word alone.
//! Start reading at: [`FileOrder`].

use crate::ids::{CommandId, FileId, MessageId, NetworkId, PeerId};
use crate::refusal::Refused;
use crate::terms::{FileKey, FileState, FileTerms};
use crate::time::{Millis, Wall};

/// What a core wants done with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOrder {
    /// Read a file and seal it, so that it can be sent. Answered by [`FileReport::Prepared`] or
    /// [`FileReport::NotPrepared`].
    Prepare {
        /// Echoed in the answer.
        command: CommandId,
        /// Where it lies.
        path: String,
        /// The name to send it under; empty: its own.
        name: String,
        /// What its chunks are sealed under.
        key: FileKey,
    },
    /// Fetch a file, or go on with it.
    Fetch {
        /// Of which network it is.
        network: NetworkId,
        /// Which file.
        terms: FileTerms,
        /// The name it shall have.
        name: String,
        /// Who may have it.
        sources: Vec<PeerId>,
    },
    /// Others may have it now.
    Sources {
        /// Which file.
        id: FileId,
        /// All who may.
        sources: Vec<PeerId>,
    },
    /// Fetch it no further, and remove what came of it.
    Stop {
        /// Which file.
        id: FileId,
    },
    /// Give it to nobody any more. The file itself stays where it is, but for a copy that the home
    /// keeps of what a program sent.
    Forget {
        /// Which file.
        id: FileId,
        /// Where it lies.
        path: String,
    },
    /// The answer to [`FileReport::Asked`].
    Answer {
        /// Which question.
        ticket: u64,
        /// What to give; `None`: nothing.
        given: Option<GivenFile>,
    },
}

/// A file that may be given to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFile {
    /// Its terms.
    pub terms: FileTerms,
    /// Where it lies; empty: it is still being fetched.
    pub path: String,
}

/// What became of an order, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileReport {
    /// So much of a file that is to be sent was read.
    Reading {
        /// As in the order.
        command: CommandId,
        /// Bytes.
        done: u64,
        /// Of how many.
        of: u64,
    },
    /// A file can be sent.
    Prepared {
        /// As in the order.
        command: CommandId,
        /// Its terms.
        terms: FileTerms,
        /// Its name.
        name: String,
        /// Where it lies, from the root on.
        path: String,
    },
    /// A file cannot be sent.
    NotPrepared {
        /// As in the order.
        command: CommandId,
        /// Why.
        refused: Refused,
    },
    /// Somebody wants a file.
    Asked {
        /// Who; proved by the transport.
        from: PeerId,
        /// Of which network.
        network: NetworkId,
        /// Which file.
        id: FileId,
        /// What to answer under.
        ticket: u64,
    },
    /// So much of a file is here.
    Progress {
        /// Which file.
        id: FileId,
        /// Bytes.
        have: u64,
    },
    /// It cannot go on for now, and is tried again.
    Paused {
        /// Which file.
        id: FileId,
        /// Why.
        refused: Refused,
    },
    /// It is here, whole.
    Completed {
        /// Which file.
        id: FileId,
        /// Where.
        path: String,
    },
    /// It cannot be had.
    Failed {
        /// Which file.
        id: FileId,
        /// Why.
        refused: Refused,
    },
    /// What was sent is not there any more as it was, so others cannot have it.
    Changed {
        /// Which file.
        id: FileId,
    },
}

/// What a person or a program may ask about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileCommand {
    /// Send one. Answered as a message is, once it was read.
    Send {
        /// The room's name.
        room: String,
        /// Where it lies.
        path: String,
        /// The name to send it under; empty: its own.
        name: String,
        /// After how long it is had from nobody any more; `None`: no end.
        life: Option<Millis>,
    },
    /// Which there are.
    List,
    /// Fetch one.
    Get {
        /// Its id, or the first digits of it.
        id: String,
        /// The name it shall have here; empty: its own.
        name: String,
    },
    /// Fetch one no further; of one that is here: give it to nobody any more.
    Drop {
        /// Its id, or the first digits of it.
        id: String,
    },
}

/// A file as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Which file.
    pub id: FileId,
    /// The room it was sent to, by name.
    pub room: String,
    /// The message that brought it.
    pub message: MessageId,
    /// Its name, without a path.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// The name of who sent it.
    pub from: String,
    /// Whether oneself did.
    pub is_own: bool,
    /// How many bytes of it are here.
    pub have: u64,
    /// Where it stands.
    pub state: FileState,
    /// Why it stands there, if that is not as it should be.
    pub reason: Option<Refused>,
    /// Where it lies, once it is here.
    pub path: Option<String>,
    /// When nobody gives it any more.
    pub expires_at: Option<Wall>,
}
