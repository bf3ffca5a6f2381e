//! The way into a room that not everybody may know: shown to who belongs and does not hold its keys.
//! Owns: what is told about a room, to whom, and when what is told is believed.
//! Must not know: how a commit is made, how it is ordered (`rekey`).
//! Invariants: a room is shown to its members alone; what is told is as old as the control log it
//! names, and waits until ours is.
//! Start reading at: [`Member::welcome`] and [`Member::on_room_info`].

use super::talks::{Talk, store_state};
use super::{Context, Member};
use crate::ids::{GroupId, Index, PeerId, RoomId};
use crate::limits::ROOMS_MAX;
use crate::protocol::ledger::Ledger;
use crate::protocol::room::State;
use crate::protocol::room::keys::KeyAgreement;
use crate::protocol::room::keys::orders::OrderKey;
use crate::wire::frame::Body;
use crate::wire::sync::{Inside, Secret, Sync as Frame};

/// Ways into rooms that wait for the control log; of more the oldest goes.
const EARLY_MAX: usize = 16;

/// A way into a room, told by somebody whose control log is ahead of ours.
#[derive(Debug)]
pub(super) struct Early {
    room: RoomId,
    from: PeerId,
    info: (GroupId, bytes::Bytes),
    index: Index,
    inside: Box<Inside>,
}

impl Member {
    /// What was told before our control log had come so far.
    pub(super) fn take_early(&mut self, cx: &mut Context<'_>) {
        let applied = self.ledger.as_ref().map(Ledger::applied).unwrap_or_default();
        let (now, later) =
            std::mem::take(&mut self.talks.early).into_iter().partition(|it| it.index <= applied);
        self.talks.early = later;
        for Early { room, from, info, index, inside } in now {
            self.on_room_info((room, from), Some(info), index, Some(inside), cx);
        }
    }

    /// Somebody wants to come in.
    pub(super) fn on_room_ask(&self, (room, from): (RoomId, PeerId), cx: &mut Context<'_>) {
        if let Some(info) = self.room_info(room) {
            self.send(from, Body::Sync(info), cx);
        }
    }

    /// What somebody needs to come in; with nothing in it while we cannot tell.
    fn room_info(&self, room: RoomId) -> Option<Frame> {
        let roster = self.ledger.as_ref().map(Ledger::roster)?;
        let talk = self.talks.rooms.get(&room)?;
        // What follows in the log is not in the room's state yet: it is not to be skipped.
        let index = self.changing.unwrap_or(roster.applied());
        let group = talk
            .keys
            .group()
            .filter(|it| talk.state.group() == Some(it.group()) && self.is_in_step(talk));
        let info = group.and_then(|group| {
            let info = group.group_info(&*self.proofs);
            Some((group.group(), info.ok()?))
        });
        let mut inside = None;
        if info.is_some() && !talk.state.charter().kind.is_plain() {
            let key = talk.keys.order_key()?;
            let mut state = talk.state.clone();
            state.handle(index);
            let order_key = Secret(zeroize::Zeroizing::new(*key.expose()));
            inside = Some(Box::new(Inside { state: state.snapshot().clone(), order_key }));
        }
        Some(Frame::RoomInfo { room, info, index, inside })
    }

    /// Who is in the room and not in its group is shown the way in, if it cannot know of it.
    pub(super) fn welcome(&self, room: RoomId, peer: PeerId, cx: &mut Context<'_>) {
        self.tell_members_epoch(room, Some(peer), cx);
        self.show_in(room, peer, cx);
    }

    fn show_in(&self, room: RoomId, peer: PeerId, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get(&room) else {
            return;
        };
        let has_leaf = |it: &dyn KeyAgreement| it.leaves().iter().any(|leaf| leaf.peer == peer);
        if talk.state.charter().kind.is_plain() || talk.keys.group().is_none_or(has_leaf) {
            return;
        }
        self.show_room(room, peer, cx);
    }

    /// Shows somebody the way in. Also to who has a leaf and is silent: its home may be a copy from
    /// before it came in.
    pub(super) fn show_room(&self, room: RoomId, peer: PeerId, cx: &mut Context<'_>) {
        if let Some(info @ Frame::RoomInfo { info: Some(_), .. }) = self.room_info(room) {
            self.send(peer, Body::Sync(info), cx);
        }
    }

    /// Those who are linked and not in the group are welcomed again: what they were told is old.
    pub(super) fn welcome_all(&self, room: RoomId, cx: &mut Context<'_>) {
        for peer in self.talks.rooms.get(&room).map(Talk::linked).unwrap_or_default() {
            self.welcome(room, peer, cx);
        }
    }

    /// A room stands otherwise than it was told to those who are linked and not in the group: they
    /// are shown the way in again, for what is older than the last order is not believed.
    pub(super) fn show_in_all(&self, room: RoomId, cx: &mut Context<'_>) {
        for peer in self.talks.rooms.get(&room).map(Talk::linked).unwrap_or_default() {
            self.show_in(room, peer, cx);
        }
    }

    /// Which epoch we hold: to one member, or to all that are linked.
    pub(super) fn tell_members_epoch(
        &self,
        room: RoomId,
        to: Option<PeerId>,
        cx: &mut Context<'_>,
    ) {
        let Some(talk) = self.talks.rooms.get(&room) else {
            return;
        };
        let Some(group) = talk.keys.group() else {
            return;
        };
        let peers = to.map_or_else(|| talk.linked(), |peer| vec![peer]);
        for peer in peers {
            let (epoch, authenticator) = (group.epoch(), group.authenticator());
            let told = Frame::RoomEpoch { room, group: group.group(), epoch, authenticator };
            self.send(peer, Body::Sync(told), cx);
        }
    }

    /// The way in, or that this member does not know it either.
    pub(super) fn on_room_info(
        &mut self,
        (room, from): (RoomId, PeerId),
        info: Option<(GroupId, bytes::Bytes)>,
        index: Index,
        inside: Option<Box<Inside>>,
        cx: &mut Context<'_>,
    ) {
        if let (Some(inside), Some(info)) = (inside, &info) {
            // Everybody sees the id of a room in the control log, and could invent the rest.
            if !inside.state.is_genuine(&room) {
                return;
            }
            let applied = self.ledger.as_ref().map(Ledger::applied);
            if applied.is_some_and(|applied| applied < index) {
                let early = &mut self.talks.early;
                early.retain(|it| (it.room, it.from) != (room, from));
                let over = early.len().saturating_sub(EARLY_MAX.saturating_sub(1));
                early.drain(..over);
                early.push(Early { room, from, info: info.clone(), index, inside });
                return;
            }
            if !self.on_inside((room, from), *inside, index, cx) {
                return;
            }
        }
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let is_plain = talk.state.charter().kind.is_plain();
        let way = &mut talk.keys.way;
        if talk.keys.agreed.is_some() || (is_plain && way.last != Some(from)) {
            return;
        }
        match info {
            Some((group, info)) => way.info = Some((from, index, group, info)),
            None => {
                way.out.insert(from);
                way.next = cx.now.mono;
            }
        }
    }

    /// Somebody tells how a room stands that not everybody may know. Whether that is so shows when
    /// our commit is ordered: who was not told the truth stays outside.
    fn on_inside(
        &mut self,
        (room, from): (RoomId, PeerId),
        inside: Inside,
        index: Index,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(roster) = self.ledger.as_ref().map(Ledger::roster) else {
            return false;
        };
        let mut state = State::of(room, inside.state);
        state.handle(index);
        let before = self.talks.state(&room);
        let is_known = before.is_some_and(|it| it.is_in(&self.me, roster));
        let is_inside = self.talks.rooms.get(&room).is_some_and(|it| it.keys.agreed.is_some());
        let is_older = before.is_some_and(|it| it.handled() > index)
            || (roster.applied() > index && roster.moved_at(&room) > index);
        let may = roster.has_room(&room)
            && state.is_ordered()
            && !state.charter().kind.is_plain()
            && before.is_none_or(|it| !it.charter().kind.is_plain())
            && state.is_in(&self.me, roster)
            && state.is_in(&from, roster)
            && (self.talks.rooms.contains_key(&room) || self.talks.rooms.len() < ROOMS_MAX);
        if is_inside || is_older || !may {
            return false;
        }
        cx.actions.writes.push(store_state(&state));
        self.talks.enter(state, self.chance.bytes(), cx.reads);
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            cx.actions.writes.push(talk.keys.visit(OrderKey::new(*inside.order_key.0)));
        }
        if !is_known {
            self.tell_room(room, "entered", Some(self.me), cx);
        }
        self.talk_in_all(room, cx);
        true
    }
}
