//! What faces are told about leader, members and links; and what only a leader tells others.
//! Owns: what was told last, so that only changes are.
//! Must not know: how it is shown.
//! Invariants: a change is told once; asking for a status changes nothing.
//! Start reading at: [`Member::refresh_views`].

use std::collections::BTreeMap;

use super::links::{Known, PeerLink};
use super::talks::{Talk, wanted};
use super::{Context, Member, STATEMENT_EVERY};
use crate::ids::{NetworkRole, PeerId, RoomId};
use crate::protocol::control::{Ballot, Happened};
use crate::protocol::{
    LeaderView, LinkView, MemberState, MemberView, Notice, Ready, SeenAt, Status, Vantage,
};
use crate::time::Now;
use crate::wire::frame::Body;
use crate::wire::roster::{Presence, PresenceState};

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) is_stale: bool,
    /// Whether a leader has to tell the members anew who is where.
    pub(super) is_presence_stale: bool,
    /// The leader's view of who is where.
    pub(super) presence: BTreeMap<PeerId, PresenceState>,
    presence_version: u64,
    /// Where linked peers see us.
    pub(super) seen_at: BTreeMap<PeerId, SeenAt>,
    leader: Option<Option<(PeerId, Ballot)>>,
    members: BTreeMap<PeerId, (MemberState, NetworkRole, [bool; 2])>,
}

impl Member {
    /// Whether there is a key to write under: for the simulator's checks.
    #[doc(hidden)]
    pub fn has_key(&self) -> bool {
        self.talks.has_key()
    }

    /// Whether entries are held that cannot be opened yet: for the simulator's checks.
    #[doc(hidden)]
    pub fn waits_for_keys(&self) -> bool {
        self.talks.main().is_some_and(|talk| !talk.keys.waiting.is_empty())
    }

    /// The epoch held, and its authenticator: for the simulator's checks.
    #[doc(hidden)]
    pub fn epoch(&self) -> Option<(crate::ids::GroupId, u64, crate::ids::Hash)> {
        let group = self.talks.main()?.keys.group()?;
        Some((group.group(), group.epoch(), group.authenticator()))
    }

    /// Somebody's name for people: certified, or the end of the peer id.
    pub(super) fn label(&self, peer: &PeerId) -> String {
        let name = self.ledger.as_ref().and_then(|it| it.roster().member(peer));
        match (name, self.links.get(peer).and_then(|link| link.known.as_ref())) {
            (Some(member), _) => member.name.clone(),
            (None, Some(Known::Member(credential))) => credential.name.clone(),
            (None, Some(Known::Bootstrap)) => "bootstrap".to_owned(),
            (None, None) => peer.short(),
        }
    }

    pub(super) fn leader_view(&self) -> Option<LeaderView> {
        let (peer, ballot) = self.ledger.as_ref()?.control().leader()?;
        Some(self.view_of_leader(peer, ballot))
    }

    fn view_of_leader(&self, peer: PeerId, ballot: Ballot) -> LeaderView {
        LeaderView {
            name: self.label(&peer),
            peer,
            generation: ballot.generation,
            term: ballot.term,
        }
    }

    pub(super) fn ready_view(&self, leader: Option<LeaderView>) -> Ready {
        Ready {
            role: "member",
            name: self.name.clone(),
            peer: self.me,
            network: self.authority.as_ref().map(|it| it.network.to_string()).unwrap_or_default(),
            listen: self.listening.clone(),
            leader,
        }
    }

    /// What control reports, carried out.
    pub(super) fn on_happened(&mut self, happened: Happened, cx: &mut Context<'_>) {
        match happened {
            Happened::Committed { .. } => {
                self.next_statement = cx.now.mono;
                self.dials.touch();
            }
            Happened::LeaderChanged { .. } => {
                self.views.is_stale = true;
                self.dials.touch();
            }
            Happened::Elected => {
                self.views.is_stale = true;
                self.views.is_presence_stale = true;
                self.next_statement = cx.now.mono;
                self.next_revocations = cx.now.mono;
            }
            Happened::Deposed { why } => {
                tracing::info!(why, "leads no longer");
                let waiting: Vec<_> = self.submitted.keys().copied().collect();
                for id in waiting {
                    self.on_ordered(id, Some(crate::refusal::Refusal::NotLeader), cx);
                }
            }
            Happened::Ordered { id, .. } => self.on_ordered(id, None, cx),
            Happened::NotOrdered { id, refusal } => self.on_ordered(id, Some(refusal), cx),
            Happened::PresenceChanged => {
                self.views.is_stale = true;
                self.views.is_presence_stale = true;
            }
            Happened::Refused { from, refusal } => {
                tracing::warn!(code = refusal.code(), peer = %from, "refused");
            }
            Happened::Contradicted { pair } => self.on_contradicted(&pair, cx),
            Happened::MayExit => {
                if let Some(leaving) = self.leaving.as_mut() {
                    leaving.may_exit = true;
                }
            }
        }
    }

    /// What only a leader does: tell the bootstrap that it leads, and the members who is where.
    pub(super) fn go_on_leading(&mut self, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        if !ledger.control().is_leader() {
            return;
        }
        let (Some(authority), Some(credential)) = (&self.authority, &self.credential) else {
            return;
        };
        if let Some(witness) = self.witness
            && cx.now.mono >= self.next_statement
        {
            let statement = ledger.control().statement(
                credential.bytes.clone(),
                authority.der.clone(),
                self.listening.clone(),
                cx.now,
                &*self.proofs,
            );
            if let Some(statement) = statement {
                self.send(witness.peer, Body::Statement(statement.encode()), cx);
                self.next_statement = cx.now.mono.after(STATEMENT_EVERY);
            }
        }
        if self.witness.is_some() {
            cx.actions.wake_by(Some(self.next_statement.max(cx.now.mono.after(LATER))));
        }
        if self.views.is_presence_stale {
            self.views.is_presence_stale = false;
            self.tell_presence(cx);
        }
    }

    fn tell_presence(&mut self, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        self.views.presence_version = self.views.presence_version.saturating_add(1);
        let version = self.views.presence_version;
        let states: BTreeMap<PeerId, MemberState> =
            ledger.control().presence(cx.now).into_iter().collect();
        let mut members = Vec::new();
        for member in ledger.roster().members().filter(|member| member.is_in()) {
            let peer = member.peer;
            let is_self = peer == self.me;
            let state = match states.get(&peer) {
                _ if is_self => PresenceState::Active,
                Some(MemberState::Active) => PresenceState::Active,
                Some(MemberState::Left) => PresenceState::Left,
                _ => PresenceState::Away,
            };
            let addresses =
                if is_self { self.listening.clone() } else { self.dials.addresses_of(&peer) };
            let addresses = addresses.into_iter().take(crate::limits::ADDRESSES_MAX).collect();
            members.push(Presence { peer, state, addresses });
        }
        for presence in &members {
            self.views.presence.insert(presence.peer, presence.state);
        }
        self.dials.touch();
        self.views.is_stale = true;
        let linked: Vec<PeerId> =
            self.links.iter().filter(|(_, link)| link.is_member()).map(|(peer, _)| *peer).collect();
        for peer in linked {
            self.send(peer, Body::Presence { version, members: members.clone() }, cx);
        }
    }

    /// Tells faces what changed since the last time.
    pub(super) fn refresh_views(&mut self, cx: &mut Context<'_>) {
        self.look_at_void(cx);
        if !self.views.is_stale || !self.joining.is_announced() {
            return;
        }
        self.views.is_stale = false;
        let leader = self.ledger.as_ref().and_then(|it| it.control().leader());
        if self.views.leader != Some(leader) {
            self.views.leader = Some(leader);
            let view = leader.map(|(peer, ballot)| self.view_of_leader(peer, ballot));
            cx.notice(Notice::Leader(view));
        }
        let is_first = self.views.members.is_empty();
        for mut view in self.member_views() {
            view.was_before = is_first;
            let now = (view.state, view.role, [view.is_verified, view.is_ignored]);
            let before = self.views.members.insert(view.peer, now);
            // One's own state is no news; one's own role is.
            let is_news = if view.is_self {
                before.is_some_and(|(_, role, _)| role != view.role)
            } else {
                before != Some(now)
            };
            if is_news {
                cx.notice(Notice::Member(view));
            }
        }
    }

    fn state_of(&self, peer: &PeerId) -> MemberState {
        let is_linked = self.links.get(peer).is_some_and(PeerLink::is_member);
        match self.views.presence.get(peer) {
            _ if *peer == self.me => MemberState::Active,
            Some(PresenceState::Left) => MemberState::Left,
            Some(PresenceState::Active) => MemberState::Active,
            // A link outlives a process that stands still; the leader hears that nobody answers.
            Some(PresenceState::Away) => MemberState::Away,
            None if is_linked => MemberState::Active,
            None => MemberState::Away,
        }
    }

    pub(super) fn member_views(&self) -> Vec<MemberView> {
        let Some(ledger) = &self.ledger else {
            return Vec::new();
        };
        let voters = ledger.control().voters();
        ledger
            .roster()
            .members()
            .map(|member| MemberView {
                name: member.name.clone(),
                peer: member.peer,
                state: if member.is_in() {
                    self.state_of(&member.peer)
                } else {
                    MemberState::Removed
                },
                role: ledger.roster().role_of(&member.peer),
                is_self: member.peer == self.me,
                is_voter: voters.as_slice().iter().any(|voter| voter.peer == member.peer),
                is_linked: self.links.get(&member.peer).is_some_and(PeerLink::is_member),
                is_verified: self.people.is_verified(&member.peer),
                is_ignored: self.ignoring.is_ignored(&member.peer),
                last_seen: self.people.last_seen(&member.peer),
                was_before: false,
            })
            .collect()
    }

    /// Why membership cannot change now, for people; empty while it can.
    pub(super) fn frozen_because(&self, now: Now) -> String {
        let Some(ledger) = &self.ledger else {
            return "not a member yet".to_owned();
        };
        if ledger.control().has_quorum(now) {
            return String::new();
        }
        let voters = ledger.control().voters();
        let names: Vec<String> = ledger
            .control()
            .missing_voters(now)
            .iter()
            .map(|peer| {
                let is_witness =
                    voters.as_slice().iter().any(|it| it.peer == *peer && it.is_witness);
                if is_witness { "witness".to_owned() } else { self.label(peer) }
            })
            .collect();
        let total = voters.as_slice().iter().count();
        format!(
            "{} of {total} voters are away ({}); membership resumes when a majority is back",
            names.len(),
            names.join(", ")
        )
    }

    pub(super) fn status(&self, now: Now) -> Status {
        let mut status = Status {
            name: self.name.clone(),
            network: self.authority.as_ref().map(|it| it.network.to_string()).unwrap_or_default(),
            members: self.member_views(),
            leader: self.leader_view(),
            role: "joining",
            bootstrap: self.witness.is_some(),
            listen: self.listening.clone(),
            vantage: Vantage { seen_at: self.seen_views(), clocks: self.clock_views(now) },
            links: self.link_views(),
            links_wanted: self.links_wanted().len(),
            frozen_because: self.frozen_because(now),
            behind: self.behind(now),
            keeping: self.keeping.view(),
            ..Status::default()
        };
        if let Some(ledger) = &self.ledger {
            let control = ledger.control();
            status.role = match (&status.leader, self.is_in()) {
                _ if control.is_leader() => "leader",
                (_, false) => "joining",
                (Some(_), true) => "follower",
                (None, true) => "candidate",
            };
            status.ballot = control.promised().to_string();
            status.has_quorum = control.has_quorum(now);
            status.control_last = control.last().0;
            status.control_commit = control.commit();
            let label = |peer: &PeerId, is_witness: bool| {
                if is_witness { "witness".to_owned() } else { self.label(peer) }
            };
            status.voters = control
                .voters()
                .as_slice()
                .iter()
                .map(|it| label(&it.peer, it.is_witness))
                .collect();
        }
        status.queued = status.links.iter().map(|link| link.unacknowledged).max().unwrap_or(0);
        status.vector = self
            .talks
            .main()
            .map(|talk| talk.room.vector())
            .unwrap_or_default()
            .into_iter()
            .map(|head| (self.label(&head.log.author), head.log.incarnation, head.seq, head.hash))
            .collect();
        status
    }

    /// What linked members hold of all rooms and we do not.
    fn behind(&self, now: Now) -> u64 {
        let Some(ledger) = &self.ledger else { return 0 };
        let of_room = |(id, talk): (&RoomId, &Talk)| {
            let full = self.full_in(*id, now.mono);
            talk.sync.behind(wanted(&talk.room, ledger.roster(), &full))
        };
        self.talks.rooms.iter().map(of_room).fold(0, u64::saturating_add)
    }

    pub(super) fn link_views(&self) -> Vec<LinkView> {
        self.links.keys().filter_map(|peer| self.link_view(peer)).collect()
    }

    pub(super) fn link_view(&self, peer: &PeerId) -> Option<LinkView> {
        let link = self.links.get(peer)?;
        Some(LinkView {
            name: self.label(peer),
            transport: link.link.transport,
            address: link.link.address.clone(),
            rtt_micros: link.rtt_micros,
            unacknowledged: self.talks.unacknowledged(peer),
        })
    }
}

/// The soonest a statement that could not be made is tried again.
const LATER: crate::time::Millis = crate::time::Millis(100);
