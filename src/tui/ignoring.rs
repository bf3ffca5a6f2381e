//! What a person does not want to see: messages of who is ignored, what was cleared, that somebody
//! was gone for a moment.
//! Owns: how the rooms on the screen are rid of it, and have it again.
//! Must not know: who is ignored (messages and members say so), keys, drawing.
//! Invariants: nothing is lost: it is in the store, and read from there.
//! Start reading at: [`State::on_member`].

use std::collections::BTreeMap;

use super::Door;
use super::notices::count_unread;
use super::room::Room;
use super::state::{PAGE, State};
use crate::ids::PeerId;
use crate::protocol::fold::Fold;
use crate::protocol::{MemberState, MemberView, Notice};
use crate::time::{Millis, Mono, Now};

/// Who comes back within, was hardly gone.
const MOMENT: Millis = Millis(15_000);
/// Messages of a room that are read anew at most.
const ANEW_MAX: usize = 2_000;

/// What was told of members who come and go: in which room, in which words, when.
#[derive(Debug, Default)]
pub(super) struct Comings(BTreeMap<PeerId, Vec<(String, String, Mono)>>);

impl State {
    /// How a member stands changed.
    pub(super) fn on_member(&mut self, member: &MemberView, now: Now, door: &mut dyn Door) {
        let before = self.members.insert(member.peer, member.clone());
        self.want_rooms(now);
        self.want_status(now);
        self.is_dirty = true;
        if before.as_ref().is_some_and(|before| before.is_ignored != member.is_ignored) {
            self.on_ignored(member, door);
        }
        let told = door.tell(Notice::Member(member.clone()));
        let here = self.here_name();
        // A role is not taken back by who comes and goes.
        let is_coming = before.is_some_and(|it| it.state != member.state && it.role == member.role);
        if is_coming && let [line] = told.lines.as_slice() {
            let mut lately = self.comings.0.remove(&member.peer).unwrap_or_default();
            lately.retain(|(.., at)| now.mono.since(*at) < MOMENT);
            if member.state == MemberState::Active {
                // That somebody is back says that it was gone.
                for (room, line, _) in lately.drain(..) {
                    if let Some(room) = self.named(&room) {
                        room.unsay(&line);
                    }
                }
            }
            lately.push((here.clone(), line.clone(), now.mono));
            self.comings.0.insert(member.peer, lately);
        }
        self.tell(&here, told);
    }

    /// What a member wrote is shown no more, or again: also what it made of other messages.
    fn on_ignored(&mut self, member: &MemberView, door: &mut dyn Door) {
        self.fold = Fold::default();
        for at in 0..self.rooms.len() {
            let Some(room) = self.rooms.get_mut(at) else { continue };
            if member.is_ignored && room.forget(&member.peer) && room.unread > 0 {
                let (unread, mentions) = (room.unread, room.mentions);
                count_unread(room);
                (room.unread, room.mentions) =
                    (room.unread.min(unread), room.mentions.min(mentions));
            }
            if room.is_opened {
                // What is on its way was asked for before.
                room.asked = None;
                let last = room.len().clamp(PAGE, ANEW_MAX);
                self.open_page(at, last, door);
            }
        }
    }

    /// Clears the view of the room one is in.
    pub(super) fn clear(&mut self) {
        self.is_dirty = true;
        if let Some(room) = self.room_mut() {
            room.clear();
        }
    }
}

impl Room {
    /// Whether it does not call its person.
    pub fn is_muted(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_muted)
    }
}
