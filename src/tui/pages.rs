//! Pages of what was said: the newest of a room, those before, and what a search finds.
//! Owns: when which page is asked for, and how far a search is.
//! Must not know: what a page does to the screen.
//! Invariants: of each room one page at most is on its way; every page is bounded.
//! Start reading at: [`State::open_page`].

use super::Door;
use super::state::{PAGE, Pending, Results, SLOW, State};
use crate::ids::CommandId;
use crate::protocol::{Command, MessagePlace, MessageView, Words};
use crate::text::bar;
use crate::time::{Millis, Mono, Now};

/// Messages that a search finds at most.
const FOUND_MAX: usize = 100;
/// Rooms whose newest page is asked for at the start; the others follow when they are opened.
const OPENED_MAX: usize = 30;

/// A search that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Searching {
    number: CommandId,
    since: Mono,
    /// For how many whole seconds.
    seconds: u64,
    /// How much was looked through, of how much.
    share: Option<(u64, u64)>,
}

impl Searching {
    /// What is said of it: nothing in its first second but that it goes on.
    pub(super) fn title(&self, words: &str) -> String {
        match (self.seconds, self.share) {
            (0, _) => format!("searching for {words}…"),
            (seconds, None) => format!("searching for {words}… {seconds} s"),
            (_, Some((done, of))) => format!("searching for {words} {}", bar(done, of)),
        }
    }

    /// When there is something new to say of it.
    pub(super) fn wakes_at(&self) -> Mono {
        self.since.after(Millis(self.seconds.saturating_add(1).saturating_mul(SLOW.0)))
    }

    /// Looks at the clock; whether that changes what is said.
    pub(super) fn look(&mut self, now: Now) -> bool {
        let seconds = now.mono.since(self.since).0 / SLOW.0;
        std::mem::replace(&mut self.seconds, seconds) != seconds
    }
}

impl State {
    /// Something takes its time; its answer follows.
    pub(super) fn on_progress(&mut self, number: CommandId, share: (u64, u64)) {
        let searching = self.searching.as_mut().filter(|it| it.number == number);
        match searching {
            Some(searching) => {
                searching.share = Some(share);
                self.is_dirty = true;
            }
            None => self.note_share(number, share),
        }
    }

    /// Whether an answer is to the search that one waits for, which is over then.
    pub(super) fn is_found(&mut self, number: Option<CommandId>) -> bool {
        let is_it = self.searching.as_ref().is_some_and(|it| Some(it.number) == number);
        if is_it {
            self.searching = None;
        }
        is_it
    }

    /// Shows the talk again in place of what a search finds, which need not go on for that; gives what
    /// it found.
    pub(super) fn close_results(&mut self) -> Option<Results> {
        self.searching = None;
        self.results.take()
    }

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
        let number = number.unwrap_or_else(|| door.number());
        self.searching = Some(Searching { number, since: now.mono, seconds: 0, share: None });
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
