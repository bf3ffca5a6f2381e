//! Commits that most cannot follow: said by each who cannot, and what follows from it.
//! Owns: when it is said; that a suspended member commits nothing; what people are told of it.
//! Must not know: whose word counts, and how many it takes (`room/state/suspension`).
//! Invariants: of a commit of our own nothing is said; who is suspended talks on, and asks members for
//! the keys that it lacks.
//! Start reading at: [`Member::say_stranded`] and [`Member::holds_back`].

use std::collections::{BTreeMap, BTreeSet};

use super::keys::RoomKeys;
use super::{Context, Member};
use crate::ids::{CommandId, Index, PeerId, RoomId};
use crate::protocol::ledger::Ledger;
use crate::protocol::room::State;
use crate::protocol::room::state::{Commits, Effect, Made, until};
use crate::protocol::roster::{Change, Ordered};
use crate::protocol::{AlarmView, EvidenceView, Notice, StrandedView, SuspendedView};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Wall};
use crate::wire::order::{Order, RoomOrder, Suspension};

/// By our clock we may commit again, and by the leader's not yet: then it is tried again after so long.
const HELD_FOR: Millis = Millis(60_000);

/// What the control log holds.
pub(super) struct Past<'a>(pub(super) &'a Ledger);

impl Past<'_> {
    /// The leader's stamp of an entry.
    pub(super) fn stamp(&self, index: Index) -> Wall {
        self.0.control().entry(index).map_or(Wall(0), |entry| entry.stamp)
    }

    /// What was ordered about a room at this place.
    fn ordered(&self, index: Index) -> Option<&Ordered> {
        let history = self.0.history();
        let place = history.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        match history.get(place) {
            Some((_, Ok(Change::Ordered(ordered)))) => Some(ordered),
            _ => None,
        }
    }
}

impl Commits for Past<'_> {
    fn commit(&self, room: RoomId, index: Index) -> Option<Made> {
        let ordered = self.ordered(index)?;
        let Ok(RoomOrder::Plain(bytes)) = RoomOrder::decode(&ordered.order) else {
            return None;
        };
        let is_commit = matches!(Order::decode(&bytes), Ok(Order::Commit { .. }));
        let made = Made { by: ordered.by, at: self.stamp(index) };
        (is_commit && ordered.room == room).then_some(made)
    }
}

/// For the tests that prove the tests: as if nobody were suspended.
pub(super) fn unheeded(
    order: Option<Order>,
    why: Refused,
    state: &State,
) -> Result<Effect, Refused> {
    match order {
        Some(Order::Commit { group, commit, .. })
            if why.refusal == Refusal::Suspended && state.group() == Some(group) =>
        {
            Ok(Effect::Commit { group, commit })
        }
        _ => Err(why),
    }
}

impl Member {
    /// That we cannot follow a commit is said, unless it changes nothing any more.
    pub(super) fn say_stranded(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get(&room) else { return };
        let Some(commit) = talk.keys.stranded() else { return };
        // Of a sealed room nobody who is cut off can say anything that all others would open: it is
        // said when somebody lets us in.
        let can = talk.state.charter().kind.is_plain() || talk.keys.order_key().is_some();
        if !can || self.is_saying(room, commit) {
            return;
        }
        match self.begin_order(CommandId(0), room, Order::Stranded { commit }, cx) {
            Ok(()) => self.go_on_ordering(cx),
            // Others come first.
            Err(refused) if refused.refusal == Refusal::TooMany => {}
            Err(refused) => {
                tracing::debug!(%refused, "nothing to be said of a commit");
                self.said_stranded(room, commit, cx);
            }
        }
    }

    /// What we said of a commit stands in the log, or changes nothing any more.
    pub(super) fn said_stranded(&mut self, room: RoomId, commit: Index, cx: &mut Context<'_>) {
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            cx.actions.writes.extend(talk.keys.is_said(commit));
        }
    }

    /// Whether we may commit nothing in a room now: what waits to be is given up.
    pub(super) fn holds_back(&mut self, room: RoomId, cx: &mut Context<'_>) -> bool {
        let (now, me) = (cx.now, self.me);
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return false;
        };
        let is_heeded = !self.setup.mistakes.suspension_unheeded;
        let suspension = talk.state.suspension(&me, now.wall).filter(|_| is_heeded);
        let left = suspension.map(|it| until(it).since(now.wall));
        if left.is_none() && now.mono >= talk.keys.held_until {
            return false;
        }
        let due = left.map_or(talk.keys.held_until, |left| now.mono.after(left));
        cx.actions.wake_by(Some(due));
        cx.actions.writes.extend(talk.keys.give_up());
        // Without one of its own nobody could read what it says.
        if talk.keys.key().is_none() {
            self.make_own_key(room, cx);
        }
        true
    }

    /// What we had ordered is void, for we are suspended.
    pub(super) fn hold(&mut self, room: RoomId, cx: &mut Context<'_>) {
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            talk.keys.held_until = cx.now.mono.after(HELD_FOR);
        }
    }

    /// Most could not follow somebody's commit.
    pub(super) fn on_suspended(&self, room: RoomId, peer: PeerId, cx: &mut Context<'_>) {
        self.tell_room(room, "suspended", Some(peer), cx);
        let state = self.talks.state(&room);
        let it = state.and_then(|state| state.suspension(&peer, cx.now.wall));
        let alarm = it.and_then(|it| self.suspended_alarm(room, peer, it));
        if let Some(alarm) = alarm.filter(|_| self.joining.is_announced()) {
            cx.notice(Notice::Alarm(Box::new(alarm)));
        }
    }

    /// The same, of all who are suspended now.
    pub(super) fn suspended_alarms(&self, now: Wall) -> Vec<AlarmView> {
        let rooms = self.talks.rooms.values().map(|talk| &talk.state);
        let all = rooms.flat_map(|state| state.suspended(now).map(|it| (state.room(), it)));
        all.filter_map(|(room, (peer, it))| self.suspended_alarm(room, *peer, it)).collect()
    }

    fn suspended_alarm(&self, room: RoomId, peer: PeerId, it: &Suspension) -> Option<AlarmView> {
        let member = self.ledger.as_ref()?.roster().member(&peer)?;
        let (name, label) = (self.label(&peer), self.room_label(&room));
        let (commit, until) = (it.commit, until(it).rfc3339());
        let whose = if peer == self.me { "you".to_owned() } else { name.clone() };
        let message = format!(
            "most members of {label} could not follow the new keys that {whose} made (control entry \
             {commit}): a broken store, or a program of its own; {whose} can make none there until \
             {until}, and talks on; an admin ends that: /room #{label} forgive {name}"
        );
        let evidence = vec![EvidenceView {
            name: name.clone(),
            peer,
            serial: member.serial,
            credential: member.credential.clone(),
        }];
        Some(AlarmView {
            code: "unusable_keys",
            name,
            message,
            is_verified: self.people.is_verified(&peer),
            at: it.at,
            evidence,
            entries: Vec::new(),
        })
    }

    /// Keys that some could not follow: as they said of late, and ourselves.
    pub(super) fn stranded_views(&self, state: &State) -> Vec<StrandedView> {
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let now = Past(ledger).stamp(ledger.applied());
        let mut all: BTreeMap<Index, (PeerId, BTreeSet<PeerId>)> = BTreeMap::new();
        for (commit, it) in state.stranded(now, &Past(ledger)) {
            all.insert(commit, (it.by, it.said.clone()));
        }
        let keys = self.talks.rooms.get(&state.room()).map(|talk| &talk.keys);
        let cut_off = keys.and_then(RoomKeys::cut_off);
        let author = |commit| Some((commit, Past(ledger).ordered(commit)?.by));
        if let Some((commit, by)) = cut_off.and_then(author) {
            all.entry(commit).or_insert((by, BTreeSet::new())).1.insert(self.me);
        }
        let view = |(commit, (by, said)): (Index, (PeerId, BTreeSet<PeerId>))| StrandedView {
            name: self.label(&by),
            peer: by,
            entry: commit,
            members: said.iter().map(|peer| self.label(peer)).collect(),
            is_cut_off: cut_off == Some(commit),
        };
        all.into_iter().map(view).collect()
    }

    /// Who may not renew a room's keys: by the last stamp of the control log.
    pub(super) fn suspended_views(&self, state: &State) -> Vec<SuspendedView> {
        let now = self.ledger.as_ref().map(|it| Past(it).stamp(it.applied())).unwrap_or_default();
        let view = |(peer, it): (&PeerId, &Suspension)| SuspendedView {
            name: self.label(peer),
            peer: *peer,
            since: it.at,
            until: until(it),
        };
        state.suspended(now).map(view).collect()
    }
}
