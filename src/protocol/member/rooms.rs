//! The rooms of a member as the control log brings them: who made which, who came, who went.
//! Owns: the way from an ordered entry to the room it is about, and what people are told of it.
//! Must not know: the rules of a room (`room/state`), how commits are followed (`rekey`).
//! Invariants: every entry is looked at once in every room, restarts included; a sealed order that
//! its epoch's key does not open is void for all who hold that epoch.
//! Start reading at: [`Member::change_rooms`].

use super::suspended::{Past, unheeded};
use super::talks::{Talk, store_state};
use super::{Context, Member};
use crate::ids::{Index, IntentId, PeerId, RoomId};
use crate::limits::ROOMS_MAX;
use crate::protocol::ledger::Ledger;
use crate::protocol::room::State;
use crate::protocol::room::keys::orders::Address;
use crate::protocol::room::state::{Effect, Scene};
use crate::protocol::roster::{Change, Ordered};
use crate::protocol::{Notice, RoomChange, RoomMemberView, RoomView};
use crate::refusal::{Refusal, Refused};
use crate::terms::History;
use crate::wire::order::{Kind, Order, RoomOrder, Setting};
use crate::wire::roster::Wish;

/// The room every network has.
pub(super) const MAIN: &str = "main";

impl Member {
    /// What the stored control log holds that the rooms have not followed yet.
    pub(super) fn recall_rooms(&mut self, cx: &mut Context<'_>) {
        for (index, change) in std::mem::take(&mut self.recalled) {
            self.change_rooms(index, &change, cx);
        }
    }

    /// What an ordered entry means for the rooms.
    pub(super) fn change_rooms(&mut self, index: Index, change: &Change, cx: &mut Context<'_>) {
        match change {
            Change::Removed { peer, .. } => self.on_removed(index, &[*peer], cx),
            Change::VoucherRevoked(_, removed, _) => self.on_removed(index, removed, cx),
            Change::Ordered(ordered) => self.on_order(index, ordered, cx),
            Change::Admitted(peer) => self.on_admitted(index, *peer, cx),
            Change::Renewed(_) | Change::Role(..) | Change::Nothing => {}
        }
    }

    /// The network has a new member: it is in `main`.
    fn on_admitted(&mut self, index: Index, peer: PeerId, cx: &mut Context<'_>) {
        if let Some(talk) = self.talks.rooms.get_mut(&RoomId::MAIN)
            && talk.state.charter().history == History::SinceJoin
            && index > talk.state.handled()
            && peer != self.me
        {
            talk.state.handle(index);
            cx.actions.writes.push(store_state(&talk.state));
            self.begin_since_join(RoomId::MAIN, cx);
        }
    }

    /// Somebody belongs to a room whose rule gives it what is said from now on: under a key that
    /// began before it that could not be told from what was said earlier.
    fn begin_since_join(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let rule = self.talks.rooms.get(&room).map(|talk| talk.state.charter().history);
        if rule == Some(History::SinceJoin) {
            self.seal_apart(room, cx);
        }
    }

    /// The network removed somebody: it is out of every room.
    fn on_removed(&mut self, index: Index, removed: &[PeerId], cx: &mut Context<'_>) {
        if removed.is_empty() || removed.contains(&self.me) {
            return;
        }
        let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
        for room in rooms {
            let Some(talk) = self.talks.rooms.get_mut(&room) else { continue };
            if index <= talk.state.handled() || !talk.state.is_ordered() {
                continue;
            }
            talk.state.handle(index);
            cx.actions.writes.push(store_state(&talk.state));
            if removed.iter().any(|peer| talk.state.has_seat(peer)) {
                self.seal_apart(room, cx);
            }
            if room == RoomId::MAIN {
                for peer in removed {
                    self.begin_receipt(*peer, None, index, cx);
                }
            }
        }
    }

    /// Something about a room was ordered.
    fn on_order(&mut self, index: Index, ordered: &Ordered, cx: &mut Context<'_>) {
        let room = ordered.room;
        let read = self.read_order(ordered);
        if ordered.is_new && self.talks.state(&room).is_none() {
            self.on_new_room(room, read.as_ref());
        }
        let is_news = self.talks.state(&room).is_some_and(|state| index > state.handled());
        let (Some(ledger), true) = (&self.ledger, is_news) else {
            return;
        };
        let commits = Past(ledger);
        let scene = Scene {
            roster: ledger.roster(),
            index,
            proofs: &*self.proofs,
            stamp: commits.stamp(index),
            commits: &commits,
            is_hasty: self.setup.mistakes.hasty_suspension,
        };
        let state = match self.talks.rooms.get_mut(&room) {
            Some(talk) => Some(&mut talk.state),
            None => self.talks.known.get_mut(&room),
        };
        let Some(state) = state else {
            return;
        };
        let outcome = match &read {
            Some(order) => state.apply(order, ordered.by, &scene),
            None => Err(Refusal::RoomMoved.into()),
        };
        let outcome = match outcome {
            Err(why) if self.setup.mistakes.suspension_unheeded => unheeded(read, why, state),
            other => other,
        };
        state.handle(index);
        cx.actions.writes.push(store_state(state));
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            talk.room.rule(&talk.state);
        }
        match &outcome {
            Ok(effect) => {
                self.on_effect((room, index, ordered.by), effect.clone(), cx);
                self.show_in_all(room, cx);
            }
            Err(refused) => tracing::info!(%index, %refused, "a void order"),
        }
        let is_void = outcome.as_ref().is_err_and(|it| it.refusal == Refusal::Suspended);
        if is_void && ordered.by == self.me {
            self.hold(room, cx);
        }
        self.on_order_done(room, &ordered.id, outcome.err(), cx);
    }

    /// A room begins that everybody may know of; of others those who are in it are told.
    fn on_new_room(&mut self, room: RoomId, order: Option<&Order>) {
        let Some(Order::Create { charter, .. }) = order else {
            return;
        };
        if charter.kind == Kind::Listed && self.talks.known.len() < ROOMS_MAX {
            self.talks.known.insert(room, State::new(room, (**charter).clone()));
        }
    }

    /// An order as it can be read here: in the clear exactly where the room is for all to know.
    fn read_order(&self, ordered: &Ordered) -> Option<Order> {
        let state = self.talks.state(&ordered.room);
        let order = RoomOrder::decode(&ordered.order).ok()?;
        let bytes = match order {
            RoomOrder::Plain(bytes) => bytes,
            RoomOrder::Sealed(sealed) => {
                let key = self.talks.rooms.get(&ordered.room)?.keys.order_key()?;
                let network = self.authority.as_ref()?.network;
                let at = Address { network, room: ordered.room, by: ordered.by };
                let bytes = key.open(&sealed, &at)?;
                let order = Order::decode(&bytes).ok()?;
                let is_plain = state.is_some_and(|state| state.charter().kind.is_plain());
                return (!is_plain).then_some(order);
            }
        };
        let order = Order::decode(&bytes).ok()?;
        let is_plain = match (&order, state) {
            (Order::Create { charter, .. }, None) => charter.kind.is_plain(),
            (_, state) => state.is_some_and(|state| state.charter().kind.is_plain()),
        };
        is_plain.then_some(order)
    }

    /// The intent that has this ordered, and the name of the key it is sealed under.
    pub(super) fn make_order(
        &mut self,
        room: RoomId,
        id: IntentId,
        order: &Order,
    ) -> Option<(bytes::Bytes, Option<crate::ids::KeyId>)> {
        let is_new = matches!(order, Order::Create { .. });
        let is_plain = self.talks.state(&room)?.charter().kind.is_plain();
        let (order, key) = if is_plain {
            (RoomOrder::Plain(order.encode()), None)
        } else {
            let key = self.talks.rooms.get(&room)?.keys.order_key()?;
            let at = Address { network: self.authority.as_ref()?.network, room, by: self.me };
            let sealed = key.seal(&order.encode(), self.chance.bytes(), &at)?;
            (RoomOrder::Sealed(sealed), Some(key.id(room)))
        };
        let wish = Wish::Room { room, is_new, order: order.encode() };
        Some((self.make_intent(id, &wish)?, key))
    }

    fn on_effect(
        &mut self,
        (room, index, by): (RoomId, Index, PeerId),
        effect: Effect,
        cx: &mut Context<'_>,
    ) {
        match effect {
            Effect::Created => {
                self.settle_group(room, index, cx);
                self.talk_in_all(room, cx);
                let is_listed =
                    self.talks.state(&room).is_some_and(|it| it.charter().kind == Kind::Listed);
                if by == self.me || is_listed {
                    self.tell_room(room, "created", Some(by), cx);
                }
            }
            Effect::Grouped => {
                self.settle_group(room, index, cx);
                if let Some(talk) = self.talks.rooms.get_mut(&room)
                    && talk.keys.agreed.is_none()
                {
                    cx.actions.writes.extend(talk.keys.end_visit());
                }
            }
            Effect::Commit { group, commit } => {
                self.on_commit(room, (index, by), (group, &commit), cx);
                self.welcome_all(room, cx);
            }
            Effect::Entered(peer) if peer == self.me => {
                if let Some(state) = self.talks.state(&room).cloned() {
                    self.talks.enter(state, self.chance.bytes(), cx.reads);
                }
                self.tell_room(room, "entered", Some(peer), cx);
                self.talk_in_all(room, cx);
            }
            Effect::Entered(peer) => {
                self.begin_since_join(room, cx);
                self.tell_room(room, "entered", Some(peer), cx);
                self.talk_in_all(room, cx);
            }
            Effect::Asked(peer) => self.tell_room(room, "asked", Some(peer), cx),
            Effect::Left(peer) => self.on_gone(room, peer, "left", cx),
            Effect::Kicked(peer, _) => {
                self.on_gone(room, peer, "kicked", cx);
                self.begin_receipt(peer, Some(room), index, cx);
            }
            Effect::RoleSet(peer, _) => {
                self.tell_room(room, "role", Some(peer), cx);
            }
            Effect::Set(setting) => {
                if let (Setting::History(_), Some(talk)) =
                    (setting, self.talks.rooms.get_mut(&room))
                {
                    talk.keys.ask_anew(index);
                }
                self.tell_room(room, "changed", Some(by), cx);
            }
            Effect::Deleted => {
                self.tell_room(room, "deleted", Some(by), cx);
                self.quit_room(room, cx);
            }
            Effect::Stranded(_) => {}
            Effect::Suspended { peer, .. } => self.on_suspended(room, peer, cx),
            Effect::Forgiven(peer) => {
                if let Some(talk) = self.talks.rooms.get_mut(&room) {
                    talk.keys.held_until = cx.now.mono;
                }
                self.tell_room(room, "forgiven", Some(peer), cx);
            }
        }
    }

    /// Somebody is in the room no more.
    fn on_gone(&mut self, room: RoomId, peer: PeerId, how: &'static str, cx: &mut Context<'_>) {
        self.tell_room(room, how, Some(peer), cx);
        if peer == self.me {
            return self.quit_room(room, cx);
        }
        if let Some(talk) = self.talks.rooms.get_mut(&room)
            && !self.setup.mistakes.gone_stay_linked
        {
            talk.sync.on_unlink(&peer);
        }
        self.seal_apart(room, cx);
    }

    /// We are in the room no more: what waits to be said there is said nowhere.
    fn quit_room(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let (held, writes) = self.talks.quit(room);
        cx.actions.writes.extend(writes);
        for id in held {
            cx.fail(id, Refusal::NotInRoom);
        }
    }

    /// Everybody who is linked and in the room is talked with there.
    pub(super) fn talk_in_all(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let linked: Vec<PeerId> =
            self.links.iter().filter(|(_, link)| link.is_member()).map(|(peer, _)| *peer).collect();
        for peer in linked {
            self.talk_in(room, peer, cx);
        }
    }

    /// Tells people what happened to a room; nothing before `ready`.
    pub(super) fn tell_room(
        &self,
        room: RoomId,
        what: &'static str,
        about: Option<PeerId>,
        cx: &mut Context<'_>,
    ) {
        let (Some(view), true) = (self.room_view(&room), self.joining.is_announced()) else {
            return;
        };
        if self.stranger_in(&room).is_some() {
            return;
        }
        let name = about.map(|peer| self.label(&peer)).unwrap_or_default();
        cx.notice(Notice::RoomChanged(Box::new(RoomChange { what, name, room: view })));
    }

    /// The name of a room as it is typed here: of a direct one `@` and the other's name.
    pub(super) fn room_label(&self, room: &RoomId) -> String {
        if *room == RoomId::MAIN {
            return MAIN.to_owned();
        }
        let Some(state) = self.talks.state(room) else {
            return room.to_string();
        };
        let name = self.plain_label(state);
        // Two rooms of one name: the older has it, the others show a part of their ids.
        let age = |state: &State| (state.snapshot().created_at, state.room());
        let is_first = |other: &State| {
            self.plain_label(other) != name || !other.is_ordered() || age(other) >= age(state)
        };
        let rooms = self.talks.rooms.values().map(|talk| &talk.state);
        if state.is_ordered() && rooms.chain(self.talks.known.values()).all(is_first) {
            return name;
        }
        let id: String = room.to_string().chars().take(4).collect();
        if state.is_ordered() { format!("{name}~{id}") } else { name }
    }

    fn plain_label(&self, state: &State) -> String {
        if state.charter().kind != Kind::Direct {
            return state.charter().name.clone();
        }
        let members = state.snapshot().members.keys().chain(&state.charter().with);
        let other = members.copied().find(|peer| *peer != self.me);
        format!("@{}", other.map(|peer| self.label(&peer)).unwrap_or_default())
    }

    /// The room of this name.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`].
    pub(super) fn room_named(&self, name: &str) -> Result<RoomId, Refused> {
        let name = crate::text::nfc(name.strip_prefix('#').unwrap_or(name));
        if name == MAIN {
            return Ok(RoomId::MAIN);
        }
        let ours = self.talks.rooms.keys().copied();
        let others = self.talks.known.values().filter(|state| !state.snapshot().is_deleted);
        ours.chain(others.map(State::room))
            .find(|room| self.room_label(room) == name)
            .ok_or_else(|| Refused::new(Refusal::RoomUnknown, name))
    }

    /// A room, for people.
    pub(super) fn room_view(&self, room: &RoomId) -> Option<RoomView> {
        let roster = self.ledger.as_ref().map(Ledger::roster)?;
        let state = self.talks.state(room)?;
        let talk = self.talks.rooms.get(room);
        let group = talk.and_then(|talk| talk.keys.group());
        let epoch_of = |peer: &PeerId| match group {
            Some(group) if *peer == self.me => Some(group.epoch()),
            Some(group) => talk?.epochs.get(peer).filter(|it| it.0 == group.group()).map(|it| it.1),
            None => None,
        };
        let members = state.members(roster).map(|(peer, role)| RoomMemberView {
            name: self.label(&peer),
            peer,
            role: role.name(),
            epoch: epoch_of(&peer),
        });
        let charter = state.charter();
        let waiting = state.snapshot().waiting.iter().filter(|peer| roster.is_in(peer));
        Some(RoomView {
            room: self.room_label(room),
            id: *room,
            kind: charter.kind.name(),
            is_in: talk.is_some() && state.is_in(&self.me, roster),
            topic: charter.topic.clone(),
            description: charter.description.clone(),
            entry: charter.entry.name(),
            capacity: charter.capacity,
            history: charter.history.text(),
            keep_age: charter.keep.age,
            keep_bytes: charter.keep.bytes,
            is_archived: charter.is_archived,
            is_muted: self.ignoring.is_muted(room),
            is_deleted: state.snapshot().is_deleted,
            members: members.collect(),
            waiting: waiting.map(|peer| self.label(peer)).collect(),
            suspended: self.suspended_views(state),
            stranded: self.stranded_views(state),
            keys: self.epoch_view(*room),
        })
    }

    /// The rooms we are in and those we may know of.
    pub(super) fn room_views(&self) -> Vec<RoomView> {
        let ours = self.talks.rooms.keys();
        let listed = self.talks.known.values().filter(|it| {
            it.charter().kind == Kind::Listed && !it.snapshot().is_deleted && it.is_ordered()
        });
        let ours = ours.copied().filter(|room| self.stranger_in(room).is_none());
        let ids: Vec<RoomId> = ours.chain(listed.map(State::room)).collect();
        let mut views: Vec<RoomView> = ids.iter().filter_map(|id| self.room_view(id)).collect();
        views.sort_by_key(|view| (view.room != MAIN, !view.is_in, view.room.clone()));
        views
    }

    /// Another member holds this epoch.
    pub(super) fn on_room_epoch(
        &mut self,
        (room, from): (RoomId, PeerId),
        epoch: (crate::ids::GroupId, u64),
        cx: &Context<'_>,
    ) {
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            let before = talk.epochs.insert(from, epoch);
            if before != Some(epoch) {
                self.receipts.look_soon(cx.now.mono);
            }
        }
    }
}

impl Talk {
    /// Whether the room is one of two.
    pub(super) fn is_direct(&self) -> bool {
        self.state.charter().kind == Kind::Direct
    }
}
