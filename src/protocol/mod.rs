//! The contract between the decisions and the hands: what a core is told and what it may ask for.
//! Owns: [`Core`], [`Event`], [`Actions`], [`Reads`], and the vocabulary of commands and notices.
//! Must not know: tokio, libp2p, SQLite, clocks, randomness, printing.
//! Invariants: the order of the fields of [`Actions`] is the law: written, then sent, then told.
//! Start reading at: [`Core::handle`].
//!
//! ```text
//!            Event, Now, &Reads                     Actions
//!   driver ───────────────────────►  Core  ───────────────────────►  driver
//!                                            writes   one transaction, synced
//!                                            sends    only after the writes are on disk
//!                                            notices  to the faces
//!                                            wake_at  the one deadline
//! ```

pub mod action;
pub mod authority;
pub mod bootstrap;
pub mod chance;
pub mod check;
pub mod control;
pub mod ledger;
pub mod member;
pub mod room;
pub mod roster;
pub mod search;
pub mod sync;
#[cfg(test)]
mod tests;
mod timers;
pub mod view;
mod write;

use bytes::Bytes;

pub use self::action::{ReceiptView, RoomAction, RoomChange, RoomEntry, RoomMemberView, RoomView};
pub use self::search::Words;
pub use self::timers::Timers;
pub use self::view::{
    AlarmView, AuditView, CertificateRow, CertificateState, DeliveryState, DeliveryView, EpochView,
    EvidenceView, InviteState, InviteText, InviteView, LackView, LeaderView, LinkView, MemberState,
    MemberView, MessageId, MessageView, Ready, RequestState, RequestView, Status, VerifyView,
    WishState, WishView,
};
pub use self::write::{Durability, Write};
use crate::ids::{
    CommandId, Hash, Index, LogId, NetworkRole, PeerId, RequestId, RoomId, Seq, Signature,
};
use crate::refusal::Refused;
use crate::time::{Millis, Mono, Now};

/// One of the three roles as a machine without I/O.
///
/// Everything it holds in memory can be rebuilt from [`Reads`] by its `load`: the driver may throw
/// it away after a failed transaction and load it again.
pub trait Core {
    /// Takes one event and says what must happen. Never blocks and never fails: a bad frame yields
    /// a refusal among the sends, a person's mistake yields [`Notice::Failed`].
    fn handle(&mut self, event: Event, now: Now, reads: &dyn Reads) -> Actions;

    /// Whether the driver may take another message from the faces. `false` while a connected
    /// member lacks so much of what was sent that more input would only pile up.
    fn takes_commands(&self) -> bool {
        true
    }
}

/// A multiaddr or `host:port` as text; parsed by `net`.
pub type Address = String;

/// What a core is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// First event after `load`.
    Started,
    /// The addresses we are reachable at (full set each time).
    Listening {
        /// Multiaddrs without `/p2p/…`.
        addresses: Vec<Address>,
    },
    /// A connection with a direct stream to this peer is up.
    LinkUp {
        /// Who; proved by the transport.
        peer: PeerId,
        /// How it runs.
        link: Link,
    },
    /// The last connection to this peer is gone.
    LinkDown {
        /// Who.
        peer: PeerId,
    },
    /// A frame from a peer whose link is up; its length is already bounded.
    Frame {
        /// Who sent it; proved by the transport.
        from: PeerId,
        /// The encoded frame.
        bytes: Bytes,
    },
    /// A dial that brought no link.
    DialFailed {
        /// What was dialled.
        addresses: Vec<Address>,
    },
    /// Somebody asks and waits for one [`Send::Answer`].
    Asked {
        /// Who.
        from: PeerId,
        /// Which question; unique within this process.
        id: RequestId,
        /// The encoded question.
        bytes: Bytes,
    },
    /// The answer to our [`Send::Ask`].
    Answered {
        /// Which question.
        id: RequestId,
        /// Who answered (`None` with an error), and what; or why there is no answer, for a person.
        result: Result<(PeerId, Bytes), String>,
    },
    /// A peer announced itself on the local network.
    Discovered {
        /// Who, by its own account.
        peer: PeerId,
        /// Where.
        addresses: Vec<Address>,
    },
    /// A person or a program wants something.
    Command {
        /// Echoed in what answers it.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// Several [`Command::Send`] to one room at once: one batch under one signature.
    Posts {
        /// The room's name.
        room: String,
        /// The texts with their commands' numbers.
        posts: Vec<(CommandId, String)>,
    },
    /// The transaction that held these commands failed: nothing of them is stored. The core was
    /// loaded again before this event.
    NotStored {
        /// The commands.
        commands: Vec<CommandId>,
    },
    /// A round-trip time was measured.
    RoundTrip {
        /// To whom.
        peer: PeerId,
        /// Microseconds.
        micros: u64,
    },
    /// The deadline passed.
    Woke,
}

/// How a link runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// `tcp`, `quic` or `relay`.
    pub transport: Transport,
    /// The remote address.
    pub address: Address,
    /// Whether we dialled.
    pub is_outbound: bool,
}

/// The transports there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP with Noise and Yamux.
    Tcp,
    /// QUIC.
    Quic,
    /// Through a circuit relay.
    Relay,
}

impl Transport {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
        }
    }
}

/// What must happen after an event, in the order of the fields.
#[derive(Debug, Default)]
#[must_use]
pub struct Actions {
    /// One transaction, synced to disk; [`Write::Received`] and [`Write::Held`] alone need no sync.
    pub writes: Vec<Write>,
    /// Only after the writes are on disk.
    pub sends: Vec<Send>,
    /// Acknowledgements: only once everything written so far would survive a loss of power. They
    /// may wait some milliseconds, so that one sync serves many; all else goes ahead of them.
    pub acks: Vec<Send>,
    /// To the faces, after the sends.
    pub notices: Vec<Notice>,
    /// When to send [`Event::Woke`]; replaces the deadline before it.
    pub wake_at: Option<Mono>,
}

impl Actions {
    /// Takes over a child's actions; the earlier deadline wins.
    pub fn absorb(&mut self, child: Self) {
        self.writes.extend(child.writes);
        self.sends.extend(child.sends);
        self.acks.extend(child.acks);
        self.notices.extend(child.notices);
        self.wake_by(child.wake_at);
    }

    /// Moves the deadline forward to `at` if that is earlier.
    pub fn wake_by(&mut self, at: Option<Mono>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// An author entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Which log.
    pub log: LogId,
    /// Its place there.
    pub seq: Seq,
    /// Hash of the entry.
    pub hash: Hash,
    /// Its Lamport time.
    pub lamport: u64,
    /// The author's signature, where the batch ends with this entry.
    pub signature: Option<Signature>,
    /// The encoded envelope (`wire`).
    pub bytes: Bytes,
}

/// What a core wants from the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// A frame on the direct stream; dropped if the link is down or its queue is full.
    Frame {
        /// To whom.
        to: PeerId,
        /// The encoded frame.
        bytes: Bytes,
    },
    /// Try to get a link. Answered by [`Event::LinkUp`] or [`Event::DialFailed`].
    Dial {
        /// Whom, where known; a peer that proves to be another is hung up on.
        peer: Option<PeerId>,
        /// Where.
        addresses: Vec<Address>,
    },
    /// This peer proved to be a certified one: its frames may be long from now on.
    Trust {
        /// Who.
        peer: PeerId,
    },
    /// Hang up.
    Close {
        /// On whom.
        peer: PeerId,
    },
    /// Ask and wait. Answered by exactly one [`Event::Answered`].
    Ask {
        /// Chosen by the core.
        id: RequestId,
        /// Whom, where known.
        peer: Option<PeerId>,
        /// Where.
        addresses: Vec<Address>,
        /// The encoded question.
        bytes: Bytes,
    },
    /// The answer to an [`Event::Asked`].
    Answer {
        /// Which question.
        id: RequestId,
        /// The encoded answer.
        bytes: Bytes,
    },
    /// Reserve a slot at this relay and listen through it.
    Reserve {
        /// The relay.
        relay: PeerId,
        /// Where it is.
        addresses: Vec<Address>,
    },
}

/// What the cores may read; answers as of the writes handed over so far.
pub trait Reads {
    /// A small named value.
    fn setting(&self, key: &str) -> Option<Bytes>;
    /// All named values whose names start with `prefix`, ordered by name.
    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)>;
    /// Control entries of a space from an index on, at most `count`.
    fn control(&self, space: &str, from: Index, count: usize) -> Vec<Bytes>;
    /// The spaces that have control entries.
    fn control_spaces(&self) -> Vec<String>;
    /// The newest contiguous entry of every author log of a room.
    fn heads(&self, room: RoomId) -> Vec<StoredHead>;
    /// Entries of a log in order from `from` on, at most `count`.
    fn entries(&self, log: LogId, from: Seq, count: usize) -> Vec<StoredEntry>;
    /// The newest entries of a room in display order (oldest of them first), at most `count`.
    fn newest(&self, room: RoomId, count: usize) -> Vec<StoredEntry>;
    /// Entries of a room whose words were not handed over yet, at most `count`, each log's in
    /// order; `None` if no index is kept.
    fn unindexed(&self, _room: RoomId, _count: usize) -> Option<Vec<StoredEntry>> {
        None
    }
    /// The newest indexed entries of a room that hold these words, at most `count`.
    fn search(&self, _room: RoomId, _words: &Words, _count: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    /// What others hold of a log.
    fn held(&self, log: LogId) -> Vec<(PeerId, Seq)>;
    /// The branches kept of a forked log, as they were written.
    fn forks(&self, log: LogId) -> Vec<StoredEntry>;
    /// The authority's register, by serial number.
    fn certificates(&self) -> Vec<CertificateRow>;
}

/// The head of a stored author log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// Which log.
    pub log: LogId,
    /// The highest seq stored.
    pub seq: Seq,
    /// Its hash.
    pub hash: Hash,
    /// Its Lamport time.
    pub lamport: u64,
    /// The last seq under a verified signature (never below `seq` once a batch is whole).
    pub signed: Seq,
}

/// What a person or a program may ask of a running role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write a message into a room.
    Send {
        /// The room's name.
        room: String,
        /// The text.
        text: String,
    },
    /// Tell everything.
    Status,
    /// Tell the roster.
    Members,
    /// The newest messages of a room.
    History {
        /// The room's name.
        room: String,
        /// How many.
        last: usize,
    },
    /// The newest messages of a room that hold certain words.
    Search {
        /// The room's name.
        room: String,
        /// The words.
        words: Words,
        /// How many messages at most.
        last: usize,
    },
    /// Where a message has arrived.
    Delivery {
        /// Its id, or the first digits of it.
        id: String,
    },
    /// What the control log changed.
    Audit,
    /// About members as people.
    People(PeopleCommand),
    /// How a room stands.
    Room {
        /// The room's name.
        room: String,
    },
    /// Which rooms there are.
    Rooms,
    /// How far removals have come.
    Receipts,
    /// Do something to a room.
    Act {
        /// The room's name; of a new one the name it shall have.
        room: String,
        /// What.
        action: RoomAction,
    },
    /// Write a message to one member.
    Direct {
        /// The member's name.
        name: String,
        /// The text.
        text: String,
    },
    /// Give a member another role.
    Role {
        /// Whom.
        name: String,
        /// Which.
        role: NetworkRole,
    },
    /// Remove a member from the network.
    Remove {
        /// Whom.
        name: String,
        /// Why; may be empty.
        reason: String,
    },
    /// Make an invite.
    Invite {
        /// How many it admits.
        uses: u32,
        /// For how long.
        life: Millis,
        /// Whom alone; empty: anybody.
        name: String,
        /// Which room it leads to; empty: none.
        room: String,
    },
    /// The invites made here.
    Invites,
    /// Withdraw an invite.
    RevokeInvite {
        /// Its id, or the first characters of it.
        id: String,
        /// Why; may be empty.
        reason: String,
    },
    /// Who waits to be let in.
    Requests,
    /// Let somebody in who waits.
    Approve {
        /// Whom.
        name: String,
    },
    /// Turn somebody down who waits.
    Refuse {
        /// Whom.
        name: String,
        /// Why; may be empty.
        reason: String,
    },
    /// The answer to [`Notice::ConfirmAuthority`].
    TrustAuthority {
        /// Whether a person compared the fingerprint and found it right.
        is_trusted: bool,
    },
    /// Leave cleanly: hand over, say goodbye, end.
    Exit,
}

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
}

/// What a role tells its faces.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The role does its work now.
    Ready(Ready),
    /// Who leads changed.
    Leader(Option<LeaderView>),
    /// A member's state changed.
    Member(MemberView),
    /// One's own message is stored and on its way.
    Sent {
        /// The command that asked for it.
        command: CommandId,
        /// The message.
        message: MessageView,
    },
    /// A message from another member.
    Message(MessageView),
    /// Another member has stored one's own message.
    Delivered {
        /// The message's id.
        id: MessageId,
        /// The member's name.
        to: String,
    },
    /// The answer to [`Command::Status`].
    Status {
        /// The command.
        command: CommandId,
        /// The answer.
        status: Box<Status>,
    },
    /// The answer to [`Command::Members`].
    Members {
        /// The command.
        command: CommandId,
        /// The answer.
        members: Vec<MemberView>,
    },
    /// The answer to [`Command::History`], oldest first.
    History {
        /// The command.
        command: CommandId,
        /// The answer.
        messages: Vec<MessageView>,
    },
    /// The answer to [`Command::Search`], newest first.
    Found {
        /// The command.
        command: CommandId,
        /// The answer.
        messages: Vec<MessageView>,
    },
    /// The answer to [`Command::Delivery`].
    Delivery {
        /// The command.
        command: CommandId,
        /// The answer.
        delivery: Box<DeliveryView>,
    },
    /// The answer to [`Command::Audit`], in the order of the control log.
    Audit {
        /// The command.
        command: CommandId,
        /// The answer.
        records: Vec<AuditView>,
    },
    /// The answer to [`PeopleCommand::Verify`].
    Verify {
        /// The command.
        command: CommandId,
        /// The answer.
        verify: VerifyView,
    },
    /// Something does not fit together: told once.
    Alarm(AlarmView),
    /// The answer to [`PeopleCommand::Alarms`].
    Alarms {
        /// The command.
        command: CommandId,
        /// The answer.
        alarms: Vec<AlarmView>,
    },
    /// There are new keys in a room.
    Epoch(EpochView),
    /// The answer to [`Command::Room`]; to [`Command::Act`] once it is in force.
    Room {
        /// The command.
        command: CommandId,
        /// The answer.
        room: Box<RoomView>,
    },
    /// The answer to [`Command::Rooms`].
    Rooms {
        /// The command.
        command: CommandId,
        /// The answer.
        rooms: Vec<RoomView>,
    },
    /// Something happened to a room.
    RoomChanged(RoomChange),
    /// A removal has come further.
    Receipt(ReceiptView),
    /// The answer to [`Command::Receipts`], the oldest first.
    Receipts {
        /// The command.
        command: CommandId,
        /// The answer.
        receipts: Vec<ReceiptView>,
    },
    /// New keys are asked for by [`RoomAction::Rekey`]; [`Notice::Epoch`] follows.
    Rekeying {
        /// The command.
        command: CommandId,
    },
    /// What became of a wish about a member: the answer to [`Command::Role`] and
    /// [`Command::Remove`], and once more when one that waited is ordered.
    Wish {
        /// The command, where it was not answered before.
        command: Option<CommandId>,
        /// The wish.
        wish: WishView,
    },
    /// The answer to [`Command::Invite`], with what to pass on, and to [`Command::RevokeInvite`].
    Invite {
        /// The command.
        command: Option<CommandId>,
        /// The invite.
        invite: InviteView,
        /// The invite itself, where it is new.
        text: Option<InviteText>,
    },
    /// The answer to [`Command::Invites`], in the order they were made.
    Invites {
        /// The command.
        command: CommandId,
        /// The answer.
        invites: Vec<InviteView>,
    },
    /// Somebody waits to be let in; or the answer to [`Command::Approve`] and [`Command::Refuse`].
    Request {
        /// The command, where one asked.
        command: Option<CommandId>,
        /// Who, and how it stands.
        request: RequestView,
    },
    /// The answer to [`Command::Requests`].
    Requests {
        /// The command.
        command: CommandId,
        /// The answer.
        requests: Vec<RequestView>,
    },
    /// An authority never seen before: a person must compare the fingerprint and answer with
    /// [`Command::TrustAuthority`]. Sent only where a terminal can ask.
    ConfirmAuthority {
        /// SHA-256 of its public key, in hex.
        fingerprint: String,
        /// Where it answered.
        address: Address,
    },
    /// Something a person waits for has not come yet, and why.
    Waiting {
        /// What and why, one line.
        text: String,
    },
    /// Something worth a line.
    Info {
        /// One line.
        text: String,
    },
    /// A no.
    Failed {
        /// The command, where one asked.
        command: Option<CommandId>,
        /// Which no, about what.
        refused: Refused,
        /// Whether the process ends with it.
        is_fatal: bool,
    },
    /// The last notice: all is done, the process may end.
    Exited,
}
