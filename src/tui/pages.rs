//! Pages of what was said: the newest of a room, those before, and what a search finds.
//! Owns: when which page is asked for.
//! Must not know: what a page does to the screen.
//! Invariants: of each room one page at most is on its way; every page is bounded.
//! Start reading at: [`State::open_page`].

use super::Door;
use super::state::{PAGE, Pending, Results, State};
use crate::ids::CommandId;
use crate::protocol::{Command, MessagePlace, MessageView, Words};
use crate::time::Now;

/// Messages that a search finds at most.
const FOUND_MAX: usize = 100;
/// Rooms whose newest page is asked for at the start; the others follow when they are opened.
const OPENED_MAX: usize = 30;

impl State {
    /// Asks for the newest page of a room.
    pub(super) fn open_page(&mut self, at: usize, last: usize, door: &mut dyn Door) {
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.asked.is_some() {
            return;
        }
        room.is_opened = true;
        let number = door.number();
        room.asked = Some(number);
        let name = room.name.clone();
        let command = Command::History { room: name.clone(), last };
        self.hand(number, command, Pending::Newest { room: name });
    }

    /// As if the newest page of the room one is in had been asked for under this number.
    #[cfg(test)]
    pub(super) fn open_for_tests(&mut self, number: CommandId) {
        let name = self.here_name();
        self.pending.insert(number, Pending::Newest { room: name });
    }

    /// Asks for what was said before the window of the room one is in.
    pub(super) fn open_earlier(&mut self, door: &mut dyn Door) {
        let Some(room) = self.room_mut() else { return };
        let Some(before) = room.oldest else { return };
        if room.asked.is_some() || room.is_whole {
            return;
        }
        let number = door.number();
        room.asked = Some(number);
        let name = room.name.clone();
        let command = Command::Earlier { room: name.clone(), before, last: PAGE };
        self.hand(number, command, Pending::Earlier { room: name });
    }

    /// Asks for what was said before a message, to show it with that.
    pub(super) fn jump(&mut self, to: MessageView, now: Now, door: &mut dyn Door) {
        let at = self.named_or_new(&to.room);
        self.enter(at, now, door);
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.go_to(&to.id) {
            return;
        }
        let before: MessagePlace = to.place();
        let name = room.name.clone();
        let number = door.number();
        room.asked = Some(number);
        let command = Command::Earlier { room: name.clone(), before, last: PAGE };
        self.hand(number, command, Pending::Jump { room: name, to: Box::new(to) });
    }

    /// Starts a search.
    pub(super) fn search(&mut self, words: &str, now: Now, door: &mut dyn Door) {
        match Words::parse(words) {
            Ok(parsed) => {
                let room = Some(self.here_name());
                let command = Command::Search { room, words: parsed, last: FOUND_MAX };
                self.start_search(words, command, None, now, door);
            }
            Err(refused) => self.say_hint(&refused.to_string(), now),
        }
    }

    pub(super) fn start_search(
        &mut self,
        words: &str,
        command: Command,
        number: Option<CommandId>,
        now: Now,
        door: &mut dyn Door,
    ) {
        let words = words.to_owned();
        self.results = Some(Results { words, found: Vec::new(), at: 0 });
        (self.searching, self.searched_for) = (Some(now.mono), 0);
        let number = number.unwrap_or_else(|| door.number());
        self.hand(number, command, Pending::Search);
        self.is_dirty = true;
    }

    /// Asks what the rooms say and up to where they were read, once they are known.
    pub(super) fn open_rooms(&mut self, door: &mut dyn Door) {
        for at in 0..self.rooms.len().min(OPENED_MAX) {
            let Some(room) = self.rooms.get(at) else { continue };
            if room.is_opened || !room.view.as_ref().is_some_and(|view| view.is_in) {
                continue;
            }
            let name = room.name.clone();
            let command = Command::Seen { room: name.clone(), upto: None };
            self.ask(command, Pending::Seen { room: name }, door);
            self.open_page(at, PAGE, door);
        }
    }
}
