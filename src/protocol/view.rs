//! What a role shows of itself: the records that notices carry to the faces.
//! Owns: the shape of what is shown.
//! Must not know: how it is printed, and how it came about.
//! Invariants: names and texts are as they came; faces make them harmless.
//! Start reading at: [`Status`].

use zeroize::Zeroizing;

use super::{About, Address, MessageId, Transport, Vantage};
use crate::ids::{Hash, Incarnation, Index, NetworkRole, PeerId, Seq};
use crate::time::Wall;

/// What `ready` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// `member`, `bootstrap` or `keyauth`.
    pub role: &'static str,
    /// The member's name; empty for the other roles.
    pub name: String,
    /// Who we are.
    pub peer: PeerId,
    /// The network in hex; empty for the bootstrap.
    pub network: String,
    /// Where we listen.
    pub listen: Vec<Address>,
    /// Who leads.
    pub leader: Option<LeaderView>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderView {
    /// The leader's name.
    pub name: String,
    /// The leader's peer id.
    pub peer: PeerId,
    /// The ballot's generation.
    pub generation: u64,
    /// The ballot's term.
    pub term: u64,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// The leader can reach it.
    Active,
    /// The leader has not heard from it for `away_after`.
    Away,
    /// It said goodbye.
    Left,
    /// It was removed from the network.
    Removed,
}

impl MemberState {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Away => "away",
            Self::Left => "left",
            Self::Removed => "removed",
        }
    }
}

/// A member as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// Name.
    pub name: String,
    /// Peer id.
    pub peer: PeerId,
    /// State.
    pub state: MemberState,
    /// What it may do in the network.
    pub role: NetworkRole,
    /// Whether it is oneself.
    pub is_self: bool,
    /// Whether it counts for majorities.
    pub is_voter: bool,
    /// Whether a link to it is up.
    pub is_linked: bool,
    /// Whether its key was compared, word by word, and marked.
    pub is_verified: bool,
    /// Whether its messages are not shown here.
    pub is_ignored: bool,
    /// When the last link with it began or ended, as far as is known here.
    pub last_seen: Option<Wall>,
    /// Whether it was told before we were there: that is how it stands, and no news.
    pub was_before: bool,
}

impl MemberView {
    /// Somebody of whom no more is known than what its certificate says.
    pub fn of_certificate(name: String, peer: PeerId, state: MemberState) -> Self {
        Self {
            name,
            peer,
            state,
            role: NetworkRole::Member,
            is_self: false,
            is_voter: false,
            is_linked: false,
            is_verified: false,
            is_ignored: false,
            last_seen: None,
            was_before: false,
        }
    }
}

/// A wish about a member, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WishView {
    /// Whom it is about, by name.
    pub name: String,
    /// Whom it is about.
    pub peer: PeerId,
    /// The role it is to have; `None`: it is to be removed.
    pub role: Option<NetworkRole>,
    /// Why it is to be removed.
    pub reason: String,
    /// How far it has come.
    pub state: WishState,
}

/// How far a wish has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WishState {
    /// It is in force, and stays so.
    Ordered,
    /// It goes on being submitted, also after a restart.
    Waiting {
        /// What for, one line.
        because: String,
    },
}

/// Where an invite stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteState {
    /// It admits.
    Valid,
    /// Its time is over.
    Expired,
    /// It was withdrawn.
    Revoked,
}

/// An invite in the authority's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteView {
    /// Its id, in hex.
    pub id: String,
    /// Whom alone it admits; empty: anybody.
    pub name: String,
    /// Which room it leads to; empty: none.
    pub room: String,
    /// How many it admits.
    pub uses: u32,
    /// How many came in by it, where that is known: the group counts.
    pub used: Option<usize>,
    /// When it was made.
    pub issued_at: Wall,
    /// Until when it admits.
    pub expires_at: Wall,
    /// Where it stands.
    pub state: InviteState,
    /// When it was revoked.
    pub revoked_at: Option<Wall>,
    /// Why it was revoked.
    pub reason: String,
}

/// An invite as passed on: a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteText {
    /// One word, for one person, by a way that others do not read.
    pub text: Zeroizing<String>,
    /// Whether every address in it is of this machine.
    pub is_local: bool,
}

impl std::fmt::Debug for InviteText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteText(..)")
    }
}

/// Somebody who asked to be certified, or to write to us alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The name, of who is to be certified the one wanted.
    pub name: String,
    /// Whose key, where that is known.
    pub peer: Option<PeerId>,
    /// When it asked.
    pub asked_at: Option<Wall>,
    /// How it stands.
    pub state: RequestState,
    /// What it asked for.
    pub kind: RequestKind,
}

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// To be certified by the authority.
    Admission,
    /// To write to us alone.
    Direct,
}

impl RequestKind {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Direct => "direct",
        }
    }
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// It waits.
    Waiting,
    /// It is certified.
    Approved,
    /// It is turned down.
    Refused,
}

impl RequestState {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Refused => "refused",
        }
    }
}

/// A message as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageView {
    /// The same on every member.
    pub id: MessageId,
    /// The room's name.
    pub room: String,
    /// The author's name.
    pub from: String,
    /// The author.
    pub peer: PeerId,
    /// Its place in the author's log.
    pub seq: Seq,
    /// Its Lamport time: a room is shown by it, then by author and place.
    pub lamport: u64,
    /// The text as written; faces make it harmless.
    pub text: String,
    /// What it is about.
    pub about: About,
    /// When the author says it was sent; never used for order.
    pub sent_at: Wall,
    /// When it is gone everywhere, if ever.
    pub expires_at: Option<Wall>,
    /// Whether oneself wrote it.
    pub is_own: bool,
    /// Whether its author signed another message for the same place: its home was copied, or it
    /// cheats.
    pub is_fork: bool,
    /// So many of its author's messages right before it are still on their way.
    pub missing: u64,
    /// Whether people do not want to see it: its author is ignored here.
    pub is_ignored: bool,
}

/// A message as a command names one that is shown: its id, and what leads to it without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePlace {
    /// Its id.
    pub id: MessageId,
    /// Its author.
    pub peer: PeerId,
    /// Its place in the author's log.
    pub seq: Seq,
}

impl MessageView {
    /// How a command names it.
    pub fn place(&self) -> MessagePlace {
        MessagePlace { id: self.id, peer: self.peer, seq: self.seq }
    }
}

/// What arrived after a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinceView {
    /// The messages with their numbers, in the order of arrival.
    pub messages: Vec<(u64, MessageView)>,
    /// The number to ask after the next time; what lies before and is not here is no message.
    pub upto: u64,
    /// The newest number there is.
    pub last: u64,
    /// The newest number among those looked at whose message was deleted since it arrived.
    pub deleted_upto: Option<u64>,
}

/// Where a message has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// Which message.
    pub id: MessageId,
    /// The room's name.
    pub room: String,
    /// The author's name.
    pub from: String,
    /// The author.
    pub peer: PeerId,
    /// Its place in the author's log.
    pub seq: Seq,
    /// When the author says it was sent; `None` if it cannot be opened here.
    pub sent_at: Option<Wall>,
    /// How far it has come.
    pub state: DeliveryState,
    /// Who of those in the room is known to hold it, by name; without the author.
    pub to: Vec<String>,
    /// Who of them is not.
    pub lacks: Vec<LackView>,
    /// Keepers that have it in their care for those who lack it, by name: that delivers it to
    /// nobody yet.
    pub kept_by: Vec<String>,
}

/// What a keeper holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepView {
    /// Deposits.
    pub deposits: u64,
    /// Bytes of them, as they count for the quota.
    pub bytes: u64,
    /// The quota.
    pub quota: u64,
}

/// Somebody who is not known to hold a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackView {
    /// By name.
    pub name: String,
    /// Since the message was sent, or since it came into the room; as far as that is known.
    pub since: Option<Wall>,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Nobody but its author is known to hold it.
    Queued,
    /// Some hold it.
    Delivered,
    /// All who are in the room hold it.
    All,
}

impl DeliveryState {
    /// As printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::All => "all",
        }
    }
}

/// Everything about a running member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// One's own name.
    pub name: String,
    /// The network in hex.
    pub network: String,
    /// The roster.
    pub members: Vec<MemberView>,
    /// Who leads.
    pub leader: Option<LeaderView>,
    /// `leader`, `follower`, `candidate` or `joining`.
    pub role: &'static str,
    /// `generation.term.rank@peer` of the highest ballot promised.
    pub ballot: String,
    /// The voters: names, and `witness`.
    pub voters: Vec<String>,
    /// Whether membership can change now.
    pub has_quorum: bool,
    /// Why not, one line; empty while it can.
    pub frozen_because: String,
    /// The end of the control log, and how much of it is committed.
    pub control_last: Index,
    /// Committed up to here.
    pub control_commit: Index,
    /// Where one says that one can be reached, the furthest reaching first.
    pub listen: Vec<Address>,
    /// How linked peers see this machine.
    pub vantage: Vantage,
    /// Links.
    pub links: Vec<LinkView>,
    /// With how many members a link is wanted.
    pub links_wanted: usize,
    /// Whether the bootstrap is linked.
    pub bootstrap: bool,
    /// Own entries that not every member of the room holds yet.
    pub queued: u64,
    /// Entries of all rooms that linked members hold and this one does not yet.
    pub behind: u64,
    /// What we hold: author's name, incarnation, highest seq, hash.
    pub vector: Vec<(String, Incarnation, Seq, Hash)>,
    /// What others left here, if this member keeps.
    pub keeping: Option<KeepView>,
}

/// A link as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkView {
    /// The member's name, `bootstrap`, or a peer id.
    pub name: String,
    /// How it runs.
    pub transport: Transport,
    /// The remote address.
    pub address: Address,
    /// Round-trip time in microseconds, once measured.
    pub rtt_micros: Option<u64>,
    /// Own entries sent to it and not yet acknowledged.
    pub unacknowledged: u64,
}

/// A change that the control log ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditView {
    /// Where in the control log; 0 is the genesis.
    pub index: Index,
    /// The leader's stamp; of the genesis the authority's.
    pub at: Wall,
    /// `founded`, `admitted`, `renewed`, `removed`, `role`, `voucher_revoked`, `regrouped`,
    /// `rekeyed`, `voter_added`, `voter_removed` or `void`.
    pub what: &'static str,
    /// Whom it is about, by name; `witness` for the bootstrap.
    pub name: String,
    /// Whom it is about; of new keys who asked for them.
    pub peer: Option<PeerId>,
    /// The reason of a removal and by whom, which role from whom, which voucher, why an entry is
    /// void; else empty.
    pub detail: String,
    /// Who led, by name; empty for the genesis.
    pub leader: String,
    /// Who led.
    pub leader_peer: Option<PeerId>,
    /// The generation of the ballot under which it was ordered.
    pub generation: u64,
    /// Its term.
    pub term: u64,
}

/// A row of the authority's register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// The authority's number for it; without gaps.
    pub serial: u64,
    /// The name as registered.
    pub name: String,
    /// The skeleton of the name (UTS 39), which is what must be unique.
    pub skeleton: String,
    /// Whose key.
    pub peer: PeerId,
    /// The public key (SPKI DER).
    pub spki: Vec<u8>,
    /// `waiting` for approval, `valid` or `revoked`.
    pub state: CertificateState,
    /// X.509 DER; empty while waiting.
    pub der: Vec<u8>,
    /// When it was asked for.
    pub asked_at: Wall,
    /// When it was revoked.
    pub revoked_at: Option<Wall>,
    /// Why it was revoked.
    pub reason: String,
}

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// For the operator to approve.
    Waiting,
    /// Issued.
    Valid,
    /// Withdrawn.
    Revoked,
}

/// Under which keys a room talks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochView {
    /// The room's name.
    pub room: String,
    /// Which epoch of its group.
    pub epoch: u64,
    /// Who holds it.
    pub members: Vec<String>,
    /// Equal for all who hold the same epoch: to be compared aloud.
    pub authenticator: Hash,
}

/// Whether all who are linked hold the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompareView {
    /// Entries held here, in all rooms.
    pub entries: u64,
    /// In so many author logs, each without a gap.
    pub logs: usize,
    /// Room by room.
    pub rooms: Vec<ComparedRoom>,
    /// Who could not be compared with, by name.
    pub unlinked: Vec<String>,
}

impl CompareView {
    /// Whether nothing is missing or different.
    pub fn is_same(&self) -> bool {
        self.rooms.iter().flat_map(|room| &room.with).all(ComparedMember::is_same)
    }
}

/// How a room is held by those who are linked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedRoom {
    /// The room's name.
    pub room: String,
    /// Entries held here.
    pub entries: u64,
    /// The linked members who are in it.
    pub with: Vec<ComparedMember>,
}

/// What a member holds, compared with what is held here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedMember {
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub lacks: Vec<SpanView>,
    /// What is lacking here.
    pub ahead: Vec<SpanView>,
    /// Where it holds something else: one of the two was altered, or a log forks.
    pub differs: Vec<SpanView>,
}

impl ComparedMember {
    /// Whether nothing is missing or different.
    pub fn is_same(&self) -> bool {
        self.lacks.is_empty() && self.ahead.is_empty() && self.differs.is_empty()
    }
}

/// A stretch of an author log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanView {
    /// The author's name.
    pub from: String,
    /// Which of the author's logs.
    pub incarnation: Incarnation,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
}
