//! What faces ask about members as people, and what they are told of them.
//! Owns: [`PeopleCommand`], [`ContactCommand`], and the records that answer them.
//! Must not know: who asks, how an answer is shown.
//! Invariants: names are as typed; what they stand for is looked up by the core.
//! Start reading at: [`PeopleCommand`].

use bytes::Bytes;

use super::{LinkView, MemberView};
use crate::ids::PeerId;
use crate::time::Wall;

/// What may be asked about members as people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeopleCommand {
    /// The words of a member's key and one's own.
    Verify {
        /// The member.
        name: String,
        /// Whether to mark its key as compared, or to take the mark away.
        is_verified: Option<bool>,
    },
    /// Every alarm there was.
    Alarms,
    /// All that is known of a member.
    Whois {
        /// The member.
        name: String,
    },
    /// Whether a member's messages are shown here; nobody else learns of it.
    Ignore {
        /// The member.
        name: String,
        /// Whether they are not.
        is_ignored: bool,
    },
    /// Whose messages are not shown here.
    Ignored,
}

/// What may be wished about messages from one member to another alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactCommand {
    /// Our contact code: whoever shows it writes to us without waiting.
    Code {
        /// Whether a new one takes the place of the one before, which opens nothing any more.
        is_new: bool,
    },
    /// Who waits for our yes.
    Requests,
    /// A yes: what somebody wrote is shown, and what it writes from now on.
    Accept {
        /// Who.
        name: String,
    },
    /// As [`Command::Direct`](super::Command::Direct), with the contact code of who is to read it.
    Direct {
        /// To whom.
        name: String,
        /// The text.
        text: String,
        /// The code, as it was given to us.
        code: String,
    },
}

/// Two keys as words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyView {
    /// Whose key beside one's own.
    pub name: String,
    /// Who.
    pub peer: PeerId,
    /// The words; the same on both sides.
    pub words: Vec<String>,
    /// Since when it is marked as compared.
    pub verified_at: Option<Wall>,
}

/// Something that does not fit together, with proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmView {
    /// `second_certificate`, `second_name`, `serial_twice`, `two_places`, `two_orders` or
    /// `unusable_keys`.
    pub code: &'static str,
    /// The member it concerns.
    pub name: String,
    /// What and what to do, for a person.
    pub message: String,
    /// Whether that member was verified here.
    pub is_verified: bool,
    /// When it was first told here.
    pub at: Wall,
    /// The two credentials: what the group knows first; of `two_places`, `two_orders` and
    /// `unusable_keys` one.
    pub evidence: Vec<EvidenceView>,
    /// Of `two_orders` the two control entries, encoded, as anybody can check them.
    pub entries: Vec<Bytes>,
}

/// A credential that proves something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceView {
    /// The name in it.
    pub name: String,
    /// The key in it.
    pub peer: PeerId,
    /// The certificate's number.
    pub serial: u64,
    /// The encoded credential, as anybody can check it.
    pub credential: Bytes,
}

/// All that is known of a member.
#[derive(Clone, Debug, PartialEq)]
pub struct WhoisView {
    /// As everybody is shown.
    pub member: MemberView,
    /// The number of its newest certificate; 0: it came by a voucher.
    pub serial: u64,
    /// How long that holds.
    pub not_after: Wall,
    /// When it was removed.
    pub removed_at: Option<Wall>,
    /// Since when its key is marked as compared.
    pub verified_at: Option<Wall>,
    /// The link with it.
    pub link: Option<LinkView>,
    /// The rooms that both are in, as they are called here.
    pub rooms: Vec<String>,
}
