//! What people want done to rooms: judged here first, ordered by the leader, answered when it is in
//! force.
//! Owns: the orders under way and their commands.
//! Must not know: the rules of a room; `room/state` judges, here and at everybody else's.
//! Invariants: every command is answered once; an order that was overtaken by an epoch is sealed
//! anew; speaking never waits for an order (17).
//! Start reading at: [`Member::on_room_command`].

use super::keys::{FIRST_WAIT, LONGEST_WAIT};
use super::rekey::cut_of;
use super::suspended::Past;
use super::talks::store_state;
use super::{Context, Member};
use crate::ids::{CommandId, GroupId, Index, IntentId, KeyId, PeerId, RoomId, RoomOrigin};
use crate::limits::{ROOMS_MAX, ROOMS_PER_MEMBER_MAX};
use crate::protocol::ledger::Ledger;
use crate::protocol::room::State;
use crate::protocol::room::state::{Scene, check_name, join_body};
use crate::protocol::{Notice, RoomAction, RoomEntry};
use crate::refusal::{Refusal, Refused};
use crate::terms::Role;
use crate::time::{Millis, Mono};
use crate::wire::order::{Charter, Entry, Kind, Order, Setting};

/// An order under way.
#[derive(Debug)]
pub(super) struct Ordering {
    command: CommandId,
    room: RoomId,
    /// `None`: the room's creation, which goes as the errand of its keys.
    order: Option<Order>,
    id: IntentId,
    /// Under which key it is sealed; another epoch, another seal.
    key: Option<KeyId>,
    intent: bytes::Bytes,
    next: Mono,
    wait: Millis,
    since: Mono,
    is_told: bool,
}

/// Orders of people under way at one time.
const ORDERINGS_MAX: usize = 256;
/// Places beside those for what nobody typed: however busy people keep us, whoever came by an
/// invite of ours is invited.
const ORDERINGS_OF_OUR_OWN: usize = 16;
/// Then people are told what is waited for.
const PATIENCE: Millis = Millis(3_000);

impl Member {
    /// A person wants something done to a room.
    pub(super) fn on_room_command(
        &mut self,
        command: CommandId,
        room: &str,
        action: RoomAction,
        cx: &mut Context<'_>,
    ) {
        let done = match action {
            RoomAction::Create { entry, is_listed, description } => {
                let kind = if is_listed { Kind::Listed } else { Kind::Private };
                self.create_room(command, (kind, room), (entry, description), cx)
            }
            RoomAction::Rekey => {
                self.room_named(room).and_then(|room| self.rekey(command, room, cx))
            }
            other => self
                .room_named(room)
                .and_then(|room| Ok((room, self.order_of(room, other)?)))
                .and_then(|(room, order)| self.begin_order(command, room, order, cx)),
        };
        if let Err(refused) = done {
            cx.fail(command, refused);
        }
    }

    /// A message to one member: into the room of the two, which is made if there is none.
    pub(super) fn on_direct(
        &mut self,
        command: CommandId,
        name: &str,
        text: String,
        cx: &mut Context<'_>,
    ) {
        match self.direct_room(name, cx) {
            Ok(room) => {
                let label = self.room_label(&room);
                self.on_posts(&label, vec![(command, text.into())], cx);
            }
            Err(refused) => cx.fail(command, refused),
        }
    }

    pub(super) fn direct_room(
        &mut self,
        name: &str,
        cx: &mut Context<'_>,
    ) -> Result<RoomId, Refused> {
        let peer = self.member_named(name)?;
        if peer == self.me {
            return Err(Refused::new(Refusal::NameUnknown, "that is you"));
        }
        let is_of = |talk: &&super::talks::Talk| {
            let with = talk.state.charter().with == Some(peer);
            talk.is_direct() && (with || talk.state.snapshot().members.contains_key(&peer))
        };
        let existing = self.talks.rooms.values().filter(is_of);
        // Both may have begun one at the same time: the older holds.
        let age = |it: &&super::talks::Talk| {
            (!it.state.is_ordered(), it.state.snapshot().created_at, it.state.room())
        };
        if let Some(talk) = existing.min_by_key(age) {
            return Ok(talk.state.room());
        }
        let charter = Charter {
            with: Some(peer),
            history: crate::terms::History::All,
            ..Charter::new(Kind::Direct, String::new())
        };
        self.begin_room(charter, cx)
    }

    /// The member of this name.
    pub(super) fn member_named(&self, name: &str) -> Result<PeerId, Refused> {
        let name = crate::text::nfc(name.strip_prefix('@').unwrap_or(name));
        let roster = self.ledger.as_ref().map(Ledger::roster).ok_or(Refusal::NotAMember)?;
        let found = roster.members().find(|member| member.is_in() && member.name == name);
        found.map(|member| member.peer).ok_or_else(|| Refused::new(Refusal::NameUnknown, name))
    }

    fn create_room(
        &mut self,
        command: CommandId,
        (kind, name): (Kind, &str),
        (entry, description): (RoomEntry, String),
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let name = check_name(name.strip_prefix('#').unwrap_or(name))?;
        if self.room_named(&name).is_ok() {
            return Err(Refused::new(Refusal::RoomExists, name));
        }
        if self.talks.orderings.len() >= ORDERINGS_MAX {
            return Err(too_many());
        }
        let mut charter = Charter { description, ..Charter::new(kind, name) };
        if kind == Kind::Listed {
            charter.entry = self.entry_of(entry)?;
        }
        let room = self.begin_room(charter, cx)?;
        self.talks.orderings.push(Ordering {
            command,
            room,
            order: None,
            id: IntentId([0; 16]),
            key: None,
            intent: bytes::Bytes::new(),
            next: cx.now.mono,
            wait: FIRST_WAIT,
            since: cx.now.mono,
            is_told: false,
        });
        Ok(())
    }

    /// A room of our own making, on its way to be ordered; it survives a restart.
    fn begin_room(&mut self, charter: Charter, cx: &mut Context<'_>) -> Result<RoomId, Refused> {
        if !self.is_current() {
            return Err(Refusal::NotAMember.into());
        }
        if self.talks.rooms.len() >= ROOMS_MAX {
            return Err(Refused::new(
                Refusal::TooMany,
                "you are in as many rooms as there may be: leave one",
            ));
        }
        // The leader would not order it: it would wait for ever.
        let begun = self.talks.rooms.values().filter(|it| !it.state.is_ordered()).count();
        let ordered = self.ledger.as_ref().map_or(0, |it| it.roster().rooms_by(&self.me));
        if ordered + begun >= ROOMS_PER_MEMBER_MAX {
            return Err(Refused::new(
                Refusal::TooMany,
                "you have made as many rooms as one member may: somebody else has to make it",
            ));
        }
        let (group, seed) = (GroupId(self.chance.bytes()), self.chance.bytes());
        check_bounds(&Order::Create { group, charter: Box::new(charter.clone()) })?;
        let state = State::founded(RoomOrigin(self.chance.bytes()), charter);
        let room = state.room();
        cx.actions.writes.push(store_state(&state));
        self.talks.enter(state, self.chance.bytes(), cx.reads);
        let talk = self.talks.rooms.get_mut(&room).ok_or(Refusal::Internal)?;
        let made = talk.keys.from.create(room, group, self.me, &*self.proofs, seed);
        let (agreed, changes) = made.map_err(|_| Refusal::Internal)?;
        let writes = talk.keys.begin(agreed, changes, Some(None));
        cx.actions.writes.extend(writes);
        Ok(room)
    }

    fn entry_of(&self, entry: RoomEntry) -> Result<Entry, Refused> {
        Ok(match entry {
            RoomEntry::Invited => Entry::Invited,
            RoomEntry::Free => Entry::Free,
            RoomEntry::Approval => Entry::Approval,
            RoomEntry::Code(code) => {
                Entry::Code(self.proofs.code_key(&code).ok_or(Refusal::Internal)?)
            }
        })
    }

    /// What is to be ordered for an action.
    fn order_of(&self, room: RoomId, action: RoomAction) -> Result<Order, Refused> {
        let talk = self.talks.rooms.get(&room);
        let cut = |peer| {
            let talk = talk.ok_or_else(|| Refused::from(Refusal::NotInRoom))?;
            Ok::<_, Refused>(cut_of(talk, peer))
        };
        Ok(match action {
            RoomAction::Invite { name, role } => {
                let role = role.unwrap_or(Role::Member);
                Order::Invite { peer: self.member_named(&name)?, role }
            }
            RoomAction::Join { code } => Order::Join {
                proof: code
                    .and_then(|code| self.proofs.code_proof(&code, &join_body(room, &self.me))),
            },
            RoomAction::Leave => Order::Leave { cut: cut(self.me)? },
            RoomAction::Kick { name, reason } => {
                Order::Kick { cut: cut(self.member_named(&name)?)?, reason }
            }
            RoomAction::Role { name, role } => {
                let peer = self.member_named(&name)?;
                let cut = if role == Role::Reader { Some(cut(peer)?) } else { None };
                Order::Role { peer, role, cut }
            }
            RoomAction::Rename { name } => Order::Set(Setting::Name(check_name(&name)?)),
            RoomAction::Topic { text } => Order::Set(Setting::Topic(text)),
            RoomAction::Describe { text } => Order::Set(Setting::Description(text)),
            RoomAction::Entry(entry) => Order::Set(Setting::Entry(self.entry_of(entry)?)),
            RoomAction::Capacity(capacity) => Order::Set(Setting::Capacity(capacity)),
            RoomAction::History(history) => Order::Set(Setting::History(history)),
            RoomAction::Keep(keep) => Order::Set(Setting::Keep(keep)),
            RoomAction::Archive(is_archived) => Order::Set(Setting::Archived(is_archived)),
            RoomAction::Delete => Order::Delete,
            RoomAction::Forgive { name } => Order::Forgive { peer: self.member_named(&name)? },
            RoomAction::Create { .. } | RoomAction::Rekey => return Err(Refusal::Internal.into()),
        })
    }

    /// Judges an order as if it stood next, and has it ordered.
    pub(super) fn begin_order(
        &mut self,
        command: CommandId,
        room: RoomId,
        order: Order,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let ledger = self.ledger.as_ref().ok_or(Refusal::NotAMember)?;
        let state = self.talks.state(&room).ok_or(Refusal::RoomUnknown)?;
        let (roster, index) = (ledger.roster(), ledger.applied().next());
        let commits = Past(ledger);
        let scene = Scene {
            roster,
            index,
            proofs: &*self.proofs,
            stamp: cx.now.wall,
            commits: &commits,
            is_hasty: false,
        };
        check_bounds(&order)?;
        state.clone().apply(&order, self.me, &scene)?;
        let is_ours = command == CommandId(0);
        let places = ORDERINGS_MAX + if is_ours { ORDERINGS_OF_OUR_OWN } else { 0 };
        if self.talks.orderings.len() >= places {
            return Err(too_many());
        }
        let id = IntentId(self.chance.bytes());
        let (intent, key) = self.make_order(room, id, &order).ok_or(Refusal::NoKeys)?;
        let now = cx.now.mono;
        // Nobody typed it.
        let is_told = matches!(order, Order::Stranded { .. });
        let order = Some(order);
        let (next, wait, since) = (now, FIRST_WAIT, now);
        let under_way =
            Ordering { command, room, order, id, key, intent, next, wait, since, is_told };
        self.talks.orderings.push(under_way);
        Ok(())
    }

    /// Whether somebody's invitation is under way already.
    pub(super) fn is_inviting(&self, room: RoomId, whom: &PeerId) -> bool {
        let is_it = |it: &Ordering| match &it.order {
            Some(Order::Invite { peer, .. }) => it.room == room && peer == whom,
            _ => false,
        };
        self.talks.orderings.iter().any(is_it)
    }

    /// Whether it is under way already that we cannot follow a commit.
    pub(super) fn is_saying(&self, room: RoomId, commit: Index) -> bool {
        let said = Some(Order::Stranded { commit });
        self.talks.orderings.iter().any(|it| it.room == room && it.order == said)
    }

    fn rekey(
        &mut self,
        command: CommandId,
        room: RoomId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let talk = self.talks.rooms.get_mut(&room).ok_or(Refusal::NotInRoom)?;
        let may = talk.state.may_commit(&self.me, cx.now.wall);
        if !may && !self.setup.mistakes.suspension_unheeded {
            return Err(Refusal::Suspended.into());
        }
        if talk.keys.group().is_none() {
            return Err(Refusal::NoKeys.into());
        }
        talk.keys.is_rekey_wished = true;
        talk.keys.rekey_at = None;
        cx.notice(Notice::Rekeying { command });
        Ok(())
    }

    /// Submits what is not ordered yet, again and again.
    pub(super) fn go_on_ordering(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        self.give_up_orders(cx);
        let mut ready = Vec::new();
        for at in 0..self.talks.orderings.len() {
            let Some(it) = self.talks.orderings.get(at) else { break };
            let (room, is_late) = (it.room, now.since(it.since) >= PATIENCE);
            if is_late && !it.is_told {
                let keys = self.talks.rooms.get(&room).map(|talk| &talk.keys);
                let is_out = it.key.is_some() && keys.is_some_and(|it| it.order_key().is_none());
                let why = match self.frozen_because(cx.now) {
                    why if !why.is_empty() => why,
                    _ if is_out => "somebody in it has to let you in first".to_owned(),
                    _ => "its order by the leader".to_owned(),
                };
                let text = format!("a change of {} waits: {why}", self.room_label(&room));
                cx.notice(Notice::Waiting { text });
            }
            let is_due = now >= it.next;
            if is_due && let Some(order) = it.order.clone() {
                let current = self.talks.rooms.get(&room).and_then(|talk| talk.keys.order_key());
                let is_overtaken = it.key.is_some() && it.key != current.map(|key| key.id(room));
                let anew = if is_overtaken { self.seal_anew(room, &order) } else { None };
                let Some(it) = self.talks.orderings.get_mut(at) else { break };
                if let Some((id, intent, key)) = anew {
                    (it.id, it.intent, it.key) = (id, intent, key);
                }
                ready.push(it.intent.clone());
            }
            let Some(it) = self.talks.orderings.get_mut(at) else { break };
            it.is_told |= is_late;
            if is_due {
                it.next = now.after(it.wait);
                // What nobody typed is few, and does not stand behind all that somebody typed.
                let longest = if it.command == CommandId(0) { FIRST_WAIT } else { LONGEST_WAIT };
                it.wait = Millis(it.wait.0.saturating_mul(2)).min(longest);
            }
            let told_at = (!it.is_told).then_some(it.since.after(PATIENCE));
            cx.actions.wake_by(Some(it.next));
            cx.actions.wake_by(told_at);
        }
        for intent in ready {
            self.submit(intent, cx);
        }
    }

    /// What is wished about a room that we are in no more is nobody's business: it is not submitted
    /// for ever.
    fn give_up_orders(&mut self, cx: &mut Context<'_>) {
        let Some(roster) = self.ledger.as_ref().map(Ledger::roster) else {
            return;
        };
        let me = self.me;
        let is_void = |it: &Ordering| match self.talks.state(&it.room) {
            // Coming in is wished by who is not in.
            Some(_) if matches!(it.order, Some(Order::Join { .. })) => false,
            Some(state) => state.is_ordered() && it.order.is_some() && !state.is_in(&me, roster),
            None => true,
        };
        let void: Vec<(IntentId, CommandId)> = {
            let void = self.talks.orderings.iter().filter(|it| is_void(it));
            void.map(|it| (it.id, it.command)).collect()
        };
        if void.is_empty() {
            return;
        }
        self.talks.orderings.retain(|it| void.iter().all(|(id, _)| it.id != *id));
        // Nobody typed the others.
        for (_, command) in void.into_iter().filter(|(_, command)| *command != CommandId(0)) {
            cx.fail(command, Refusal::NotInRoom);
        }
    }

    fn seal_anew(
        &mut self,
        room: RoomId,
        order: &Order,
    ) -> Option<(IntentId, bytes::Bytes, Option<KeyId>)> {
        let id = IntentId(self.chance.bytes());
        let (intent, key) = self.make_order(room, id, order)?;
        Some((id, intent, key))
    }

    /// An order of ours, perhaps, is in force, or void.
    pub(super) fn on_order_done(
        &mut self,
        room: RoomId,
        id: &IntentId,
        refused: Option<Refused>,
        cx: &mut Context<'_>,
    ) {
        let is_ordered = self.talks.state(&room).is_some_and(State::is_ordered);
        let is_it = |it: &Ordering| match it.order {
            Some(_) => it.id == *id,
            None => it.room == room && is_ordered,
        };
        let Some(place) = self.talks.orderings.iter().position(is_it) else {
            return;
        };
        let it = self.talks.orderings.remove(place);
        let is_overtaken =
            it.key.is_some() && refused.as_ref().is_some_and(|it| it.refusal == Refusal::RoomMoved);
        if let Some(Order::Stranded { commit }) = it.order {
            // Overtaken, it is said again.
            if !is_overtaken {
                self.said_stranded(room, commit, cx);
            }
            return;
        }
        match refused {
            // Another epoch came first: it is sealed anew.
            Some(_) if is_overtaken => {
                self.talks.orderings.push(Ordering { next: cx.now.mono, ..it });
            }
            Some(refused) => cx.fail(it.command, refused),
            None => match self.room_view(&room) {
                Some(view) => {
                    cx.notice(Notice::Room { command: it.command, room: Box::new(view) });
                }
                // It is done, and nothing is left here to be shown.
                None => cx.fail(it.command, Refusal::RoomUnknown),
            },
        }
    }
}

fn too_many() -> Refused {
    Refused::new(Refusal::TooMany, "too many changes wait to be ordered")
}

/// What others would not read is not ordered: a text beyond its bound. Sealed, nobody could tell it
/// from an order under another epoch's key, and it would be sealed anew for ever.
fn check_bounds(order: &Order) -> Result<(), Refused> {
    let why = "a topic or description has 512 bytes at most, a reason 200";
    Order::decode(&order.encode()).map(|_| ()).map_err(|_| Refused::new(Refusal::CommandBad, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TOPIC_BYTES_MAX;

    #[test]
    fn a_text_that_nobody_would_read_is_refused_before_it_is_ordered() {
        let topic = |bytes| Order::Set(Setting::Topic("x".repeat(bytes)));
        assert_eq!(check_bounds(&topic(TOPIC_BYTES_MAX)), Ok(()));
        let refused = check_bounds(&topic(TOPIC_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(refused.refusal, Refusal::CommandBad);
    }
}
