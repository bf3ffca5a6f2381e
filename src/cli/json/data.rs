//! What answers hold: roster, status, history, errors.
//! Owns: their field names and order.
//! Must not know: which event they are part of.
//! Invariants: a field is never renamed nor given another meaning.
//! Start reading at: [`Everything`].

use serde::Serialize;

use super::files::Brought;
use super::links::{Clock, Seen};
use crate::cli::export::Written;
use crate::cli::slash::Entry;
use crate::protocol::{
    About, EpochView, LeaderView, LinkView, MemberView, MessageView, SinceView, Status,
};
use crate::refusal::Refused;
use crate::time::Wall;

#[derive(Serialize)]
pub(super) struct What<'a> {
    code: &'static str,
    message: String,
    hint: &'a str,
    retryable: bool,
}

impl<'a> What<'a> {
    pub(super) fn of(refused: &'a Refused) -> Self {
        Self {
            code: refused.refusal.code(),
            message: refused.to_string(),
            hint: refused.refusal.hint(),
            retryable: refused.refusal.is_retryable(),
        }
    }
}

/// A member as everybody is shown.
#[derive(Serialize)]
pub(super) struct Member<'a> {
    name: &'a str,
    peer_id: String,
    state: &'static str,
    role: &'static str,
    #[serde(rename = "self")]
    is_self: bool,
    voter: bool,
    linked: bool,
    verified: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

impl<'a> Member<'a> {
    pub(super) fn of(view: &'a MemberView) -> Self {
        Self {
            name: &view.name,
            peer_id: view.peer.to_string(),
            state: view.state.name(),
            role: view.role.name(),
            is_self: view.is_self,
            voter: view.is_voter,
            linked: view.is_linked,
            verified: view.is_verified,
            ignored: view.is_ignored,
            last_seen: view.last_seen.map(Wall::rfc3339),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Members<'a> {
    members: Vec<Member<'a>>,
}

impl<'a> Members<'a> {
    pub(super) fn of(views: &'a [MemberView]) -> Self {
        Self { members: views.iter().map(Member::of).collect() }
    }
}

#[derive(Serialize)]
struct LeaderData<'a> {
    name: &'a str,
    peer_id: String,
    generation: u64,
    term: u64,
}

impl<'a> LeaderData<'a> {
    fn of(view: &'a LeaderView) -> Self {
        Self {
            name: &view.name,
            peer_id: view.peer.to_string(),
            generation: view.generation,
            term: view.term,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LeaderAnswer<'a> {
    leader: Option<LeaderData<'a>>,
}

impl<'a> LeaderAnswer<'a> {
    pub(super) fn of(status: &'a Status) -> Self {
        Self { leader: status.leader.as_ref().map(LeaderData::of) }
    }
}

/// Microseconds as they are shown to programs.
pub(super) fn millis(micros: u64) -> f64 {
    f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0
}

#[derive(Serialize)]
pub(super) struct Link<'a> {
    name: &'a str,
    transport: &'static str,
    address: &'a str,
    rtt_ms: Option<f64>,
    queued: u64,
}

impl<'a> Link<'a> {
    pub(super) fn of(view: &'a LinkView) -> Self {
        Self {
            name: &view.name,
            transport: view.transport.name(),
            address: &view.address,
            rtt_ms: view.rtt_micros.map(millis),
            queued: view.unacknowledged,
        }
    }
}

#[derive(Serialize)]
struct Control {
    last: u64,
    committed: u64,
}

#[derive(Serialize)]
struct Head<'a> {
    from: &'a str,
    incarnation: String,
    seq: u64,
    hash: String,
}

#[derive(Serialize)]
pub(super) struct Everything<'a> {
    name: &'a str,
    network: &'a str,
    role: &'static str,
    leader: Option<LeaderData<'a>>,
    ballot: &'a str,
    voters: &'a [String],
    quorum: bool,
    frozen_because: &'a str,
    control: Control,
    members: Vec<Member<'a>>,
    listen: &'a [String],
    seen_at: Vec<Seen<'a>>,
    clocks: Vec<Clock<'a>>,
    links: Vec<Link<'a>>,
    links_wanted: usize,
    bootstrap: bool,
    queued: u64,
    behind: u64,
    vector: Vec<Head<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keeping: Option<Keeping>,
}

/// What a keeper holds.
#[derive(Serialize)]
struct Keeping {
    deposits: u64,
    bytes: u64,
    quota: u64,
}

impl<'a> Everything<'a> {
    pub(super) fn of(status: &'a Status) -> Self {
        Self {
            name: &status.name,
            network: &status.network,
            role: status.role,
            leader: status.leader.as_ref().map(LeaderData::of),
            ballot: &status.ballot,
            voters: &status.voters,
            quorum: status.has_quorum,
            frozen_because: &status.frozen_because,
            control: Control { last: status.control_last.0, committed: status.control_commit.0 },
            members: status.members.iter().map(Member::of).collect(),
            listen: &status.listen,
            seen_at: status.vantage.seen_at.iter().map(Seen::of).collect(),
            clocks: status.vantage.clocks.iter().map(Clock::of).collect(),
            links: status.links.iter().map(Link::of).collect(),
            links_wanted: status.links_wanted,
            bootstrap: status.bootstrap,
            queued: status.queued,
            behind: status.behind,
            vector: status
                .vector
                .iter()
                .map(|(from, incarnation, seq, hash)| Head {
                    from,
                    incarnation: incarnation.to_string(),
                    seq: seq.0,
                    hash: hash.to_string(),
                })
                .collect(),
            keeping: status.keeping.map(|it| Keeping {
                deposits: it.deposits,
                bytes: it.bytes,
                quota: it.quota,
            }),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Room<'a> {
    pub(super) room: &'a str,
    pub(super) count: usize,
}

#[derive(Serialize)]
pub(super) struct Helped<'a> {
    commands: Vec<Help<'a>>,
}

impl<'a> Helped<'a> {
    pub(super) fn of(entries: &'a [Entry]) -> Self {
        Self { commands: entries.iter().map(|e| Help { usage: e.usage, about: e.about }).collect() }
    }
}

#[derive(Serialize)]
struct Help<'a> {
    usage: &'a str,
    about: &'a str,
}

#[derive(Serialize)]
pub(super) struct WrittenOut<'a> {
    room: &'a str,
    file: String,
    format: &'static str,
    messages: u64,
}

impl<'a> WrittenOut<'a> {
    pub(super) fn of(written: &'a Written) -> Self {
        let Written { export, messages } = written;
        Self {
            room: &export.room,
            file: export.path.to_string_lossy().into_owned(),
            format: export.format.name(),
            messages: *messages,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Talk<'a> {
    messages: Vec<MessageData<'a>>,
}

impl<'a> Talk<'a> {
    pub(super) fn of(views: &'a [MessageView]) -> Self {
        Self { messages: views.iter().map(MessageData::of).collect() }
    }
}

/// What arrived after a number, in the order of arrival.
#[derive(Serialize)]
pub(super) struct SinceData<'a> {
    messages: Vec<Numbered<'a>>,
    upto: u64,
    last: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_upto: Option<u64>,
}

#[derive(Serialize)]
struct Numbered<'a> {
    cursor: u64,
    #[serde(flatten)]
    message: MessageData<'a>,
}

impl<'a> SinceData<'a> {
    pub(super) fn of(page: &'a SinceView) -> Self {
        let numbered = |(cursor, view): &'a (u64, MessageView)| Numbered {
            cursor: *cursor,
            message: MessageData::of(view),
        };
        Self {
            messages: page.messages.iter().map(numbered).collect(),
            upto: page.upto,
            last: page.last,
            deleted_upto: page.deleted_upto,
        }
    }
}

/// A message.
#[derive(Serialize)]
pub(super) struct MessageData<'a> {
    id: String,
    room: &'a str,
    from: &'a str,
    peer_id: String,
    seq: u64,
    lamport: u64,
    text: &'a str,
    sent_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    /// Of an exported message: whether its author deleted it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Brought<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fork: bool,
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignored: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a message is about; a plain one says nothing of it.
pub(super) fn kind(about: &About) -> Option<&'static str> {
    match about {
        About::Nothing => None,
        About::Reply(_) => Some("reply"),
        About::Edit(_) => Some("edit"),
        About::Deletion(_) => Some("deletion"),
        About::Reaction { .. } => Some("reaction"),
        About::Application(_) => Some("application"),
        About::File(_) => Some("file"),
    }
}

/// The id of the message it is about.
pub(super) fn of(about: &About) -> Option<String> {
    about.target().map(|id| id.to_string())
}

/// Whether a mark is taken back.
pub(super) fn is_removed(about: &About) -> bool {
    matches!(about, About::Reaction { is_removed: true, .. })
}

/// The application it is for.
pub(super) fn app(about: &About) -> Option<&str> {
    match about {
        About::Application(name) => Some(name),
        _ => None,
    }
}

impl<'a> MessageData<'a> {
    pub(super) fn of(view: &'a MessageView) -> Self {
        Self {
            id: view.id.to_string(),
            room: &view.room,
            from: &view.from,
            peer_id: view.peer.to_string(),
            seq: view.seq.0,
            lamport: view.lamport,
            text: &view.text,
            sent_at: view.sent_at.rfc3339(),
            expires_at: view.expires_at.map(Wall::rfc3339),
            kind: kind(&view.about),
            of: of(&view.about),
            removed: is_removed(&view.about),
            deleted: false,
            app: app(&view.about),
            file: Brought::of(&view.about, &view.text),
            fork: view.is_fork,
            missing: view.missing,
            ignored: view.is_ignored,
        }
    }
}

/// Under which keys a room talks.
#[derive(Serialize)]
pub(super) struct Epoch<'a> {
    room: &'a str,
    epoch: u64,
    members: &'a [String],
    authenticator: String,
}

impl<'a> Epoch<'a> {
    pub(super) fn of(view: &'a EpochView) -> Self {
        Self {
            room: &view.room,
            epoch: view.epoch,
            members: &view.members,
            authenticator: view.authenticator.to_string(),
        }
    }
}
