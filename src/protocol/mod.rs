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
mod doing;
mod face;
pub mod fetch;
mod file;
pub mod fold;
pub mod keeper;
pub mod ledger;
mod linked;
pub mod member;
pub mod mesh;
mod people;
pub mod room;
pub mod roster;
pub mod search;
pub mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod unanswered;
pub mod view;
mod write;

use bytes::Bytes;

pub use self::action::{
    ReceiptView, RoomAction, RoomChange, RoomEntry, RoomMemberView, RoomView, StrandedView,
    SuspendedView,
};
pub use self::doing::Doing;
pub use self::face::{Command, Deed, Notice};
pub use self::file::{FileCommand, FileOrder, FileReport, FileView, GivenFile};
pub use self::linked::{ClockView, LinksView, SeenAt, SeenView, ToldLink, Vantage};
pub use self::people::{
    AlarmView, ContactCommand, EvidenceView, PeopleCommand, VerifyView, WhoisView,
};
pub use self::search::Words;
pub use self::timers::Timers;
pub use self::unanswered::Unanswered;
pub use self::view::{
    AuditView, CertificateRow, CertificateState, CompareView, ComparedMember, ComparedRoom,
    DeliveryState, DeliveryView, EpochView, InviteState, InviteText, InviteView, KeepView,
    LackView, LeaderView, LinkView, MemberState, MemberView, MessagePlace, MessageView, Ready,
    RequestKind, RequestState, RequestView, SinceView, SpanView, Status, WishState, WishView,
};
pub use self::write::{Durability, Write};
pub use crate::ids::MessageId;
use crate::ids::{
    CommandId, Hash, Index, LogId, PeerId, RequestId, RoomId, Seq, ShelfId, Signature,
};
pub use crate::terms::{About, Saying};
use crate::time::{Mono, Now, Wall};

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
    /// What became of a [`Send::Punch`], here or over there.
    Punched {
        /// With whom.
        peer: PeerId,
        /// How the link runs now: no frame was lost, none comes twice. `None`: as it did.
        moved: Option<(Transport, Address)>,
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
        posts: Vec<(CommandId, Saying)>,
    },
    /// A transaction failed, and the core was loaded again before this event.
    NotStored {
        /// Commands of which nothing is stored, and nothing left.
        commands: Vec<CommandId>,
        /// Commands that others were asked to carry out before: they may come about all the same.
        asked: Vec<CommandId>,
    },
    /// A round-trip time was measured.
    RoundTrip {
        /// To whom.
        peer: PeerId,
        /// Microseconds.
        micros: u64,
    },
    /// A linked peer says at which address it sees us.
    SeenAt {
        /// Who.
        peer: PeerId,
        /// What it says.
        seen: SeenAt,
    },
    /// What became of files.
    File(FileReport),
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
    /// TCP with TLS, or Noise, and Yamux.
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
    /// Let the relayed link with this peer become direct, by hole punching, for as long as it is up.
    Punch {
        /// With whom.
        peer: PeerId,
        /// Whether to try now. Answered by [`Event::Punched`], or by nothing if the link ends.
        leads: bool,
    },
    /// Do something with files.
    File(FileOrder),
}

/// A page of what an index found.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// The newest first.
    pub entries: Vec<StoredEntry>,
    /// Rows of the index that were looked at: they may belong to other rooms.
    pub looked: usize,
    /// Where the next page begins; `None`: there is no more.
    pub next: Option<u64>,
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
    /// Entries of a room in display order before a place in it, at most `count`, the newest of them.
    fn older(&self, _room: RoomId, _than: Shown, _count: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    /// Entries of all rooms that arrived after a number, at most `count`, with their numbers: the
    /// order in which they were stored, or could be opened at last.
    fn arrived(&self, _after: u64, _count: usize) -> Vec<(u64, StoredEntry)> {
        Vec::new()
    }
    /// The number of the newest; 0 if there is none.
    fn last_arrival(&self) -> u64 {
        0
    }
    /// Where entries of a room lie whose words were not handed over yet, at most `count` of them:
    /// log, the first of them, how many; `None` if no index is kept.
    fn lacking(&self, _room: RoomId, _count: usize) -> Option<Vec<(LogId, Seq, usize)>> {
        None
    }
    /// Those entries, each log's in order; `None` if no index is kept.
    fn unindexed(&self, room: RoomId, count: usize) -> Option<Vec<StoredEntry>> {
        let lacking = self.lacking(room, count)?.into_iter();
        Some(lacking.flat_map(|(log, from, count)| self.entries(log, from, count)).collect())
    }
    /// A page of the indexed entries of a room that hold these words, from a place in the index on or
    /// from the newest, at most `count`. It may hold fewer although more follow.
    fn search(&self, _room: RoomId, _words: &Words, _from: Option<u64>, _count: usize) -> Hits {
        Hits::default()
    }
    /// Indexed entries of all rooms whose messages' ids lie between two, both included, at most
    /// `count`; `None` if no index is kept.
    fn called(&self, _between: (MessageId, MessageId), _count: usize) -> Option<Vec<StoredEntry>> {
        None
    }
    /// Where entries stand that have an end, and had it by then, at most `count`; the earliest
    /// first. Those that were erased are not among them.
    fn expired(&self, _until: Wall, _count: usize) -> Vec<(LogId, Seq)> {
        Vec::new()
    }
    /// When the next stored entry ends.
    fn next_expiry(&self) -> Option<Wall> {
        None
    }
    /// Entries of a room that lie beyond a gap of their log, by log and place.
    fn pending(&self, _room: RoomId) -> Vec<StoredEntry> {
        Vec::new()
    }
    /// What others hold of a log.
    fn held(&self, log: LogId) -> Vec<(PeerId, Seq)>;
    /// The branches kept of a forked log, as they were written.
    fn forks(&self, log: LogId) -> Vec<StoredEntry>;
    /// The authority's register, by serial number.
    fn certificates(&self) -> Vec<CertificateRow>;
    /// Who has how many deposits here, and their bytes in all.
    fn depositors(&self) -> Vec<(PeerId, u64, u64)> {
        Vec::new()
    }
    /// The highest number a deposit was ever given; 0 before the first.
    fn last_deposit(&self) -> u64 {
        0
    }
    /// The deposits that came first, of one depositor or of all, at most `count`.
    fn oldest_deposits(&self, _by: Option<PeerId>, _count: usize) -> Vec<DepositRow> {
        Vec::new()
    }
    /// When the deposit of this hash came, if it is here.
    fn deposited_at(&self, _hash: Hash) -> Option<Wall> {
        None
    }
    /// Deposits of a shelf after a number, in order, at most `count`: their numbers and bytes.
    fn deposits(&self, _shelf: ShelfId, _after: u64, _count: usize) -> Vec<(u64, Bytes)> {
        Vec::new()
    }
}

/// Something that was left here to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeposit {
    /// Given here: ascending, and never twice.
    pub number: u64,
    /// Where it lies.
    pub shelf: ShelfId,
    /// Who brought it.
    pub by: PeerId,
    /// What names it.
    pub hash: Hash,
    /// When it came, by the clock here.
    pub at: Wall,
    /// What it is.
    pub sealed: Bytes,
}

/// A deposit without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositRow {
    /// Its number.
    pub number: u64,
    /// Who brought it.
    pub by: PeerId,
    /// When it came.
    pub at: Wall,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Where an entry is shown among those of its room: display order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// Its Lamport time.
    pub lamport: u64,
    /// Its log; of one room, so its author and incarnation decide.
    pub log: LogId,
    /// Its place there.
    pub seq: Seq,
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
