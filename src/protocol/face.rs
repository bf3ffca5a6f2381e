//! What faces ask of a role, and what a role tells them.
//! Owns: [`Command`], [`Notice`].
//! Must not know: who asks, how an answer is shown.
//! Invariants: every command that carries a number is answered under it.
//! Start reading at: [`Command`].

use super::{
    Address, AlarmView, AuditView, CompareView, ContactCommand, DeliveryView, Doing, EpochView,
    FileCommand, FileView, InviteText, InviteView, LeaderView, LinksView, MemberView, MessageId,
    MessagePlace, MessageView, PeopleCommand, Ready, ReceiptView, RequestView, RoomAction,
    RoomChange, RoomView, SinceView, Status, VerifyView, WhoisView, WishView, Words,
};
use crate::ids::{CommandId, NetworkRole};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Wall};

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
    /// Say something about a message.
    Say {
        /// The room in which `last` is looked for.
        room: String,
        /// Which message: its id, the first digits of it, or `last`: the newest that may be meant.
        to: String,
        /// What.
        deed: Deed,
    },
    /// Write a message for programs.
    Apply {
        /// The room's name.
        room: String,
        /// The application's name for it, such as `org.example.poll/1`.
        kind: String,
        /// What it says.
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
    /// The messages of a room right before one of them.
    Earlier {
        /// The room's name.
        room: String,
        /// That one.
        before: MessagePlace,
        /// How many.
        last: usize,
    },
    /// Up to which message a person has read a room: note it, or tell what was noted.
    Seen {
        /// The room's name.
        room: String,
        /// The message; `None` asks.
        upto: Option<MessageId>,
    },
    /// What arrived in all rooms after a number, in the order of arrival: the cursor of who follows.
    Since {
        /// The number of the last one known; 0: from the first on.
        after: u64,
        /// How many entries are looked at.
        count: usize,
    },
    /// The newest messages that hold certain words.
    Search {
        /// The room's name; `None`: all rooms one is in.
        room: Option<String>,
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
    /// Where one's own messages have arrived: of a page of a room.
    Deliveries {
        /// The room's name.
        room: String,
        /// The page before this one; `None`: the newest.
        before: Option<MessagePlace>,
        /// How many messages of all authors are looked at.
        last: usize,
    },
    /// What the control log changed.
    Audit,
    /// Whether all who are linked hold the same.
    Compare,
    /// Who is linked with whom: those who are linked with us are asked, which takes a moment.
    Links,
    /// About members as people.
    People(PeopleCommand),
    /// Whether a room calls its person; the answer is as to [`Command::Room`].
    Mute {
        /// The room's name.
        room: String,
        /// Whether it does not; nobody else learns of it.
        is_muted: bool,
    },
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
    /// Write a message that is gone everywhere after a time.
    SendFor {
        /// The room's name.
        room: String,
        /// The text.
        text: String,
        /// How long it lives.
        life: Millis,
    },
    /// About who may write to us alone.
    Contact(ContactCommand),
    /// About files.
    File(FileCommand),
    /// The answer to [`Notice::ConfirmAuthority`].
    TrustAuthority {
        /// Whether a person compared the fingerprint and found it right.
        is_trusted: bool,
    },
    /// Leave cleanly: hand over, say goodbye, end.
    Exit,
}

impl Command {
    /// Whether something answers it, soon or late: so it does if the core is loaded again meanwhile.
    pub const fn is_answered(&self) -> bool {
        !matches!(self, Self::TrustAuthority { .. } | Self::Exit)
    }

    /// Whether the leader or the authority carries it out: they may do so although the core that
    /// asked them has forgotten it.
    pub const fn is_for_others(&self) -> bool {
        matches!(
            self,
            Self::Act { .. }
                | Self::Role { .. }
                | Self::Remove { .. }
                | Self::Invite { .. }
                | Self::RevokeInvite { .. }
                | Self::Approve { .. }
                | Self::Refuse { .. }
        )
    }
}

/// What may be said about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// An answer to it.
    Reply {
        /// The text.
        text: String,
    },
    /// Another text in its place; of one's own alone.
    Edit {
        /// The text.
        text: String,
    },
    /// It is not to be shown any more; of one's own alone.
    Delete,
    /// A mark on it.
    React {
        /// The mark, such as a thumb.
        mark: String,
        /// Whether to take it back.
        is_removed: bool,
    },
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
    /// The answer to [`Command::History`] and [`Command::Earlier`], oldest first.
    History {
        /// The command.
        command: CommandId,
        /// The answer.
        messages: Vec<MessageView>,
    },
    /// The answer to [`Command::Seen`].
    Seen {
        /// The command.
        command: CommandId,
        /// The room's name.
        room: String,
        /// The message; `None`: nothing was noted yet.
        upto: Option<MessageId>,
    },
    /// The answer to [`Command::Since`]; what it says is on the disk, numbers included.
    Since {
        /// The command.
        command: CommandId,
        /// The answer.
        page: Box<SinceView>,
    },
    /// The answer to [`Command::Search`], newest first.
    Found {
        /// The command.
        command: CommandId,
        /// The answer.
        messages: Vec<MessageView>,
    },
    /// How far a command is that takes its time; its answer follows.
    Progress {
        /// The command.
        command: CommandId,
        /// What is done for it.
        doing: Doing,
        /// How much of it is done.
        done: u64,
        /// Of how much.
        of: u64,
    },
    /// The answer to [`Command::Delivery`].
    Delivery {
        /// The command.
        command: CommandId,
        /// The answer.
        delivery: Box<DeliveryView>,
    },
    /// The answer to [`Command::Deliveries`], oldest first.
    Deliveries {
        /// The command.
        command: CommandId,
        /// The room's name.
        room: String,
        /// The answer.
        deliveries: Vec<DeliveryView>,
    },
    /// The answer to [`Command::Audit`], in the order of the control log.
    Audit {
        /// The command.
        command: CommandId,
        /// The answer.
        records: Vec<AuditView>,
    },
    /// The answer to [`Command::Compare`].
    Compared {
        /// The command.
        command: CommandId,
        /// The answer.
        compared: Box<CompareView>,
    },
    /// The answer to [`Command::Links`].
    Links {
        /// The command.
        command: CommandId,
        /// The answer.
        links: Box<LinksView>,
    },
    /// The answer to [`PeopleCommand::Verify`].
    Verify {
        /// The command.
        command: CommandId,
        /// The answer.
        verify: VerifyView,
    },
    /// Something does not fit together: told once.
    Alarm(Box<AlarmView>),
    /// The answer to [`PeopleCommand::Alarms`].
    Alarms {
        /// The command.
        command: CommandId,
        /// The answer.
        alarms: Vec<AlarmView>,
    },
    /// The answer to [`PeopleCommand::Whois`].
    Whois {
        /// The command.
        command: CommandId,
        /// The answer.
        whois: Box<WhoisView>,
    },
    /// The answer to [`PeopleCommand::Ignored`], and to [`PeopleCommand::Ignore`]: who is ignored.
    Ignored {
        /// The command.
        command: CommandId,
        /// The answer.
        members: Vec<MemberView>,
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
    RoomChanged(Box<RoomChange>),
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
        invite: Box<InviteView>,
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
    /// The answer to [`ContactCommand::Code`].
    Code {
        /// The command.
        command: CommandId,
        /// The code: for whom it is meant, by a way that others do not read.
        code: String,
        /// Since when it holds.
        since: Wall,
    },
    /// Somebody waits to be let in, or to write to us; or the answer to [`Command::Approve`],
    /// [`Command::Refuse`] and [`ContactCommand::Accept`].
    Request {
        /// The command, where one asked.
        command: Option<CommandId>,
        /// Who, and how it stands.
        request: RequestView,
    },
    /// The answer to [`Command::Requests`] and [`ContactCommand::Requests`].
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
    /// A file: how far it is here; or the answer to [`FileCommand::Get`] and [`FileCommand::Drop`].
    File {
        /// The command, where one asked.
        command: Option<CommandId>,
        /// The file.
        file: Box<FileView>,
    },
    /// The answer to [`FileCommand::List`], in the order they came to be known.
    Files {
        /// The command.
        command: CommandId,
        /// The answer.
        files: Vec<FileView>,
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

impl Notice {
    /// The no to a command.
    pub(super) fn failed(command: CommandId, refused: Refused) -> Self {
        Self::Failed { command: Some(command), refused, is_fatal: false }
    }

    /// What of a notice that waited for a sync may be told although the transaction before the sync
    /// was undone. `is_committed`: all that it rests on was committed before.
    pub fn after_undoing(self, is_committed: bool) -> Option<Self> {
        match self {
            // Its entry was committed or noted before.
            Self::Sent { .. } => Some(self),
            // A number that a loss of power takes back would be given to something else.
            Self::Since { command, .. } => {
                let refused = Refusal::NotStored.into();
                Some(Self::Failed { command: Some(command), refused, is_fatal: false })
            }
            _ if is_committed => Some(self),
            _ => None,
        }
    }

    /// The command that it answers. Every kind is named here, so that a new one is not forgotten.
    pub fn command(&self) -> Option<CommandId> {
        match self {
            Self::Sent { command, .. }
            | Self::Status { command, .. }
            | Self::Members { command, .. }
            | Self::History { command, .. }
            | Self::Seen { command, .. }
            | Self::Since { command, .. }
            | Self::Found { command, .. }
            | Self::Delivery { command, .. }
            | Self::Deliveries { command, .. }
            | Self::Audit { command, .. }
            | Self::Compared { command, .. }
            | Self::Links { command, .. }
            | Self::Verify { command, .. }
            | Self::Alarms { command, .. }
            | Self::Whois { command, .. }
            | Self::Ignored { command, .. }
            | Self::Room { command, .. }
            | Self::Rooms { command, .. }
            | Self::Receipts { command, .. }
            | Self::Rekeying { command }
            | Self::Code { command, .. }
            | Self::Invites { command, .. }
            | Self::Files { command, .. }
            | Self::Requests { command, .. } => Some(*command),
            Self::Wish { command, .. }
            | Self::Invite { command, .. }
            | Self::Request { command, .. }
            | Self::File { command, .. }
            | Self::Failed { command, .. } => *command,
            // It answers nothing yet.
            Self::Progress { .. }
            | Self::Ready(_)
            | Self::Leader(_)
            | Self::Member(_)
            | Self::Message(_)
            | Self::Delivered { .. }
            | Self::Alarm(_)
            | Self::Epoch(_)
            | Self::RoomChanged(_)
            | Self::Receipt(_)
            | Self::ConfirmAuthority { .. }
            | Self::Waiting { .. }
            | Self::Info { .. }
            | Self::Exited => None,
        }
    }
}
