//! What the node says, as it changes the screen.
//! Owns: which notice changes what, and which is told in the words of line mode.
//! Must not know: keys, drawing.
//! Invariants: an answer goes where it was asked for; news goes where one is.
//! Start reading at: [`State::on_notice`].

use super::Door;
use super::look::{Mark, Moment, Said};
use super::room::{Room, Scroll};
use super::state::{Brief, MAIN, Pending, Question, State};
use crate::ids::CommandId;
use crate::protocol::{
    Command, MemberState, MessageId, MessagePlace, MessageView, Notice, RoomView, Status,
    Transport, fold,
};
use crate::refusal::Refused;
use crate::text::one_line;
use crate::time::Now;

impl State {
    pub(super) fn on_notice(&mut self, notice: Notice, now: Now, door: &mut dyn Door) {
        self.note_read(&notice);
        match &notice {
            Notice::File { command, file } if self.on_file(file, command.is_some(), now) => return,
            Notice::Progress { command, done, of, .. } => {
                return self.on_progress(*command, (*done, *of));
            }
            Notice::Message(view) => return self.on_message(view, now, door),
            Notice::Sent { command, message } => {
                self.want_status(now);
                return self.on_sent(*command, message, now, door);
            }
            Notice::Delivered { id, to } => {
                let by = one_line(to);
                for room in &mut self.rooms {
                    self.is_dirty |= room.held(id, &by);
                }
                return self.want_status(now);
            }
            Notice::Ready(ready) => {
                self.me.clone_from(&ready.name);
                self.leader.clone_from(&ready.leader);
                self.is_ready = true;
                self.due.rooms = Some(now.mono);
                self.want_status(now);
            }
            Notice::Leader(leader) => {
                self.leader.clone_from(leader);
                self.want_status(now);
            }
            Notice::Member(member) => return self.on_member(member, now, door),
            Notice::RoomChanged(change) => {
                self.on_room(&change.room);
                self.want_rooms(now);
            }
            Notice::ConfirmAuthority { fingerprint, address } => {
                let (fingerprint, address) = (one_line(fingerprint), one_line(address));
                let question = Question::Authority { fingerprint, address };
                self.question = Some((question, super::editor::Editor::default()));
                self.is_dirty = true;
                return;
            }
            Notice::Failed { command: Some(command), refused, is_fatal: false }
                if self.on_failed(*command, refused, now) =>
            {
                return;
            }
            _ => {}
        }
        self.on_answer(notice, now, door);
    }

    /// What answers a command that was not typed changes the screen; the rest is told in words.
    fn on_answer(&mut self, notice: Notice, now: Now, door: &mut dyn Door) {
        let number = notice.command();
        let pending = number.and_then(|number| self.pending.remove(&number));
        let room = match (pending, notice) {
            (Some(Pending::Rooms), Notice::Rooms { rooms, .. }) => {
                return self.on_rooms(rooms, door);
            }
            (Some(Pending::Members), Notice::Members { members, .. }) => {
                self.members = members.into_iter().map(|it| (it.peer, it)).collect();
                self.is_dirty = true;
                return;
            }
            (Some(Pending::Status), Notice::Status { status, .. }) => {
                return self.on_status(*status, now);
            }
            (Some(Pending::Newest { room }), Notice::History { messages, .. }) => {
                return self.on_newest(&room, &messages, now, door);
            }
            (Some(Pending::Earlier { room }), Notice::History { messages, .. }) => {
                return self.on_earlier(&room, &messages, door);
            }
            (Some(Pending::Jump { room, to }), Notice::History { messages, .. }) => {
                return self.on_jump(&room, *to, messages, door);
            }
            (Some(Pending::Seen { room }), Notice::Seen { upto, .. }) => {
                return self.on_seen(&room, upto);
            }
            (Some(Pending::Deliveries { room }), Notice::Deliveries { deliveries, .. }) => {
                if let Some(room) = self.named(&room) {
                    for it in &deliveries {
                        room.delivered(&it.id, &it.to);
                    }
                }
                self.is_dirty = true;
                return;
            }
            // Another one was asked for meanwhile.
            (Some(Pending::Search), _) if !self.is_found(number) => return,
            (Some(Pending::Search), Notice::Found { messages, .. }) => {
                let found: Vec<_> = messages
                    .into_iter()
                    .filter(|view| !view.is_ignored)
                    .map(|view| {
                        let moment = Moment::of(door.local(view.sent_at));
                        (view, moment)
                    })
                    .collect();
                if let Some(results) = &mut self.results {
                    (results.found, results.at) = (found, 0);
                }
                self.is_dirty = true;
                return;
            }
            (Some(Pending::Go), Notice::Room { room, .. }) if room.is_in => {
                return self.go_into(&room, now, door);
            }
            (Some(Pending::Enter { .. }), Notice::Room { room, command }) if room.is_in => {
                self.want_rooms(now);
                self.go_into(&room, now, door);
                (room.room.clone(), door.tell(Notice::Room { command, room }))
            }
            (Some(Pending::Typed { room } | Pending::Enter { room }), notice) => {
                let is_to_be_copied = self.is_to_be_copied(&notice);
                if let Notice::Room { room, .. } = &notice {
                    self.on_room(room);
                    self.want_rooms(now);
                }
                let mut told = door.tell(notice);
                if is_to_be_copied {
                    told.lines.push("/copy puts it on the clipboard".to_owned());
                }
                return self.tell(&room, told);
            }
            // One goes there.
            (_, Notice::RoomChanged(change)) if change.what == "created" && change.room.is_in => {
                let name = change.room.room.clone();
                (name, door.tell(Notice::RoomChanged(change)))
            }
            (_, notice) => {
                let is_alarm = matches!(notice, Notice::Alarm(_));
                let mut told = door.tell(notice);
                if is_alarm {
                    // Somebody may be posing as somebody: as loud as an error.
                    told.errors.append(&mut told.lines);
                }
                (self.here_name(), told)
            }
        };
        self.tell(&room.0, room.1);
    }

    fn on_status(&mut self, status: Status, now: Now) {
        let brief = Some(Self::brief_of(&status));
        self.is_dirty |= self.brief != brief || self.leader != status.leader;
        self.is_dirty |= self.catch_up.behind(status.behind, now);
        self.brief = brief;
        self.leader = status.leader;
        if self.catch_up.since().is_some() {
            self.want_status(now);
        }
    }

    /// The status in brief.
    fn brief_of(status: &Status) -> Brief {
        let members = status.links.iter().filter(|link| link.name != "bootstrap");
        let (relayed, direct): (Vec<_>, Vec<_>) =
            members.partition(|link| link.transport == Transport::Relay);
        Brief {
            direct: direct.len(),
            relayed: relayed.len(),
            has_quorum: status.has_quorum,
            frozen_because: one_line(&status.frozen_because),
            queued: status.queued,
        }
    }

    fn go_into(&mut self, room: &RoomView, now: Now, door: &mut dyn Door) {
        self.on_room(room);
        let at = self.named_or_new(&room.room);
        self.enter(at, now, door);
    }

    pub(super) fn said_of(&mut self, messages: &[MessageView], door: &dyn Door) -> Vec<Said> {
        let ids: Vec<MessageId> = messages
            .iter()
            .filter(|view| !view.is_ignored)
            .filter_map(|view| {
                let said = self.take_in(view, Moment::of(door.local(view.sent_at)))?;
                said.id()
            })
            .collect();
        // Taken in first, so that each stands as the last of them left it.
        let told = ids.iter().filter_map(|id| self.fold.told(id));
        let moment = |told: &fold::Told| Moment::of(door.local(told.view.sent_at));
        told.map(|told| Said::of(told, &self.me, moment(told))).collect()
    }

    fn on_sent(&mut self, command: CommandId, view: &MessageView, now: Now, door: &mut dyn Door) {
        let moment = Moment::of(door.local(view.sent_at));
        let pending = self.pending.remove(&command);
        let Some(mut said) = self.take_in(view, moment) else {
            self.is_dirty = true;
            return;
        };
        said.mark = Mark::Sent(std::collections::BTreeSet::new());
        let at = self.named_or_new(&view.room);
        let is_typed = matches!(&pending, Some(Pending::Post { room }) if *room == view.room);
        let Some(room) = self.rooms.get_mut(at) else { return };
        if !(is_typed && room.stored(command, said.clone())) {
            room.came(said);
        }
        // To a room of two that is new, one goes.
        if matches!(pending, Some(Pending::Typed { .. }))
            && view.room.starts_with('@')
            && at != self.here
        {
            self.want_rooms(now);
            self.enter(at, now, door);
        }
        if at == self.here {
            self.read(now);
        }
        self.is_dirty = true;
    }

    /// Whether the no is shown where it belongs, without further words.
    fn on_failed(&mut self, command: CommandId, refused: &Refused, now: Now) -> bool {
        let pending = self.pending.get(&command).cloned();
        self.is_dirty = true;
        let why = refused.refusal.why().to_owned();
        match pending {
            Some(Pending::Post { room }) => {
                self.pending.remove(&command);
                let is_shown = self.named(&room).is_some_and(|it| it.refused(command, &why));
                if !refused.refusal.hint().is_empty() {
                    let hint = format!("{why}: {}", refused.refusal.hint());
                    self.say_hint(&hint, now);
                }
                is_shown
            }
            Some(
                Pending::Newest { room } | Pending::Earlier { room } | Pending::Jump { room, .. },
            ) => {
                self.pending.remove(&command);
                if let Some(room) = self.named(&room) {
                    room.asked = None;
                    room.is_whole = true;
                }
                true
            }
            Some(
                Pending::Seen { .. }
                | Pending::Deliveries { .. }
                | Pending::Rooms
                | Pending::Members
                | Pending::Status,
            ) => {
                self.pending.remove(&command);
                true
            }
            Some(Pending::Search) => {
                self.pending.remove(&command);
                if !self.is_found(Some(command)) {
                    return true;
                }
                self.close_results();
                self.say_hint(&refused.to_string(), now);
                true
            }
            _ => false,
        }
    }

    /// What was said in an earlier process has no mark: what is stored tells where it is.
    fn ask_deliveries(
        &mut self,
        name: &str,
        before: Option<MessagePlace>,
        messages: &[MessageView],
        door: &mut dyn Door,
    ) {
        if messages.iter().any(|view| view.is_own) {
            let room = name.to_owned();
            let last = messages.len();
            let command = Command::Deliveries { room: room.clone(), before, last };
            self.ask(command, Pending::Deliveries { room }, door);
        }
    }

    fn on_newest(&mut self, name: &str, messages: &[MessageView], now: Now, door: &mut dyn Door) {
        let page = self.said_of(messages, door);
        self.ask_deliveries(name, None, messages, door);
        let is_here = self.here_name() == name;
        let Some(room) = self.named(name) else { return };
        room.asked = None;
        room.is_whole = messages.len() < super::state::PAGE;
        room.oldest = messages.first().map(MessageView::place).or(room.oldest);
        let is_first = !std::mem::replace(&mut room.is_counted, true) && room.noted.is_some();
        room.replace(page, true);
        if is_first {
            count_unread(room);
        }
        if is_here && is_first {
            // What is still to come is new, too.
            room.marker = room.noted;
        }
        if is_here {
            self.read(now);
            let (width, height) = super::draw::panes(self).talk;
            // Much of it may have been about other messages.
            if self.room().is_some_and(|room| room.sight(width, height).0.len() < height) {
                self.look_back(door);
            }
        }
        self.is_dirty = true;
    }

    fn on_earlier(&mut self, name: &str, messages: &[MessageView], door: &mut dyn Door) {
        let page = self.said_of(messages, door);
        let before = self.named(name).and_then(|room| room.oldest);
        self.ask_deliveries(name, before, messages, door);
        if let Some(room) = self.named(name) {
            room.asked = None;
            room.is_whole |= messages.is_empty();
            room.oldest = messages.first().map(MessageView::place).or(room.oldest);
            room.prepend(page);
        }
        // A page of what is about other messages shows nothing: on to the one before.
        if self.here_name() == name && !messages.is_empty() {
            self.look_back(door);
        }
        self.is_dirty = true;
    }

    /// The messages before one that was found, and that one.
    fn on_jump(
        &mut self,
        name: &str,
        to: MessageView,
        mut messages: Vec<MessageView>,
        door: &mut dyn Door,
    ) {
        let id = to.id;
        self.ask_deliveries(name, Some(to.place()), &messages, door);
        messages.push(to);
        let page = self.said_of(&messages, door);
        if let Some(room) = self.named(name) {
            room.asked = None;
            room.is_whole = false;
            room.oldest = messages.first().map(MessageView::place);
            room.replace(page, false);
            room.go_to(&id);
        }
        self.is_dirty = true;
    }

    fn on_seen(&mut self, name: &str, upto: Option<MessageId>) {
        let Some(room) = self.named(name) else { return };
        if room.noted.is_none() {
            room.noted = upto;
        }
        if room.seen.is_none() {
            room.seen = upto;
        }
    }

    fn on_room(&mut self, view: &RoomView) {
        if view.is_in || self.rooms.iter().any(|room| room.name == view.room) {
            let at = self.named_or_new(&view.room);
            if let Some(room) = self.rooms.get_mut(at) {
                room.view = Some(view.clone());
                room.mentions = if view.is_muted { 0 } else { room.mentions };
            }
        }
        self.is_dirty = true;
    }

    fn on_rooms(&mut self, views: Vec<RoomView>, door: &mut dyn Door) {
        for view in &views {
            // A room that was renamed keeps what was said in it.
            let renamed = self.rooms.iter_mut().find(|room| {
                room.name != view.room && room.view.as_ref().is_some_and(|it| it.id == view.id)
            });
            if let Some(room) = renamed {
                room.name.clone_from(&view.room);
            }
            self.on_room(view);
        }
        let others = views.iter().filter(|view| !view.is_in && !view.is_deleted);
        self.joinable = others.map(|view| one_line(&view.room)).collect();
        let here = self.here_name();
        self.rooms.retain(|room| {
            let is_in = views.iter().any(|view| view.room == room.name && view.is_in);
            is_in || room.name == here || room.name == MAIN || !room.draft.is_empty()
        });
        self.rooms.sort_by_key(|room| {
            let is_direct = room.name.starts_with('@');
            (room.name != MAIN, is_direct, room.name.clone())
        });
        self.here = self.rooms.iter().position(|room| room.name == here).unwrap_or(0);
        self.open_rooms(door);
        self.is_dirty = true;
    }

    /// Everybody of the room one is in: those present first; else everybody of the network.
    pub fn present(&self) -> Vec<(&crate::protocol::MemberView, &'static str)> {
        let view = self.room().and_then(|room| room.view.as_ref());
        let mut members: Vec<_> = match view {
            Some(view) => view
                .members
                .iter()
                .filter_map(|it| {
                    let member = self.members.get(&it.peer)?;
                    let role = match (member.role.name(), it.role) {
                        ("member", role) => role,
                        (role, _) => role,
                    };
                    Some((member, role))
                })
                .collect(),
            None => self.members.values().map(|it| (it, it.role.name())).collect(),
        };
        members.retain(|(member, _)| member.state != MemberState::Removed);
        members.sort_by_key(|(member, _)| {
            (member.state != MemberState::Active, member.name.to_lowercase())
        });
        members
    }
}

/// What came since one read last.
pub(super) fn count_unread(room: &mut Room) {
    let (seen, is_muted) = (room.seen, room.is_muted());
    let mut is_found = false;
    let (mut unread, mut mentions) = (0, 0);
    for said in room.messages().rev() {
        if said.id() == seen {
            is_found = true;
            break;
        }
        if !said.is_own {
            unread += 1;
            mentions += usize::from(said.is_mention && !is_muted);
        }
    }
    room.is_uncounted = !is_found && unread > 0 && !room.is_whole;
    (room.unread, room.mentions) = (unread, mentions);
    if room.scroll != Scroll::Bottom {
        room.below = unread;
    }
}
