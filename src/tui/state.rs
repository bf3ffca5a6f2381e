//! The terminal interface as a machine: keys, notices and time in; commands and bells out.
//! Owns: which room one is in, what is typed, what was asked, what the person is asked.
//! Must not know: the terminal, clocks, how things are drawn.
//! Invariants: what is typed is shown at once and lost never; a list asked for is bounded; no
//! question is asked twice while its answer is on the way.
//! Start reading at: [`State::handle`].

use std::collections::BTreeMap;

use super::catch_up::{CatchUp, MISSED};
use super::complete::Completion;
use super::editor::Editor;
use super::ignoring::Comings;
use super::look::{Moment, Said};
use super::pages::Searching;
use super::room::{Room, Scroll};
use super::transfers::Transfers;
use super::work::{Going, Working};
use super::{Door, Told};
use crate::ids::{CommandId, PeerId};
use crate::protocol::fold::Fold;
use crate::protocol::{Command, InviteText, LeaderView, MemberView, MessageView, Notice};
use crate::time::{Millis, Mono, Now};

/// The room that every network has.
pub const MAIN: &str = "main";
/// Messages in a page of history.
pub const PAGE: usize = 200;
/// Status is asked for at most so often, …
const STATUS_PAUSE: Millis = Millis(1_000);
/// … and at least so often.
const STATUS_EVERY: Millis = Millis(30_000);
/// A change of members or rooms waits so long for more of them.
const ROOMS_PAUSE: Millis = Millis(300);
/// What was read is noted at most so often.
const NOTE_PAUSE: Millis = Millis(3_000);
/// A room whose messages came in another order is read again after so long a quiet.
const QUIET: Millis = Millis(700);
/// What takes longer is shown to take its time.
pub(super) const SLOW: Millis = Millis(1_000);
/// A hint stays so long.
const HINT: Millis = Millis(5_000);
/// Who is told by a bell is told once in so long.
const BELL_PAUSE: Millis = Millis(1_000);

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Key {
    Char(char),
    Enter,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    PageUp,
    PageDown,
    Esc,
}

/// A key with what is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// The key.
    pub key: Key,
    /// Whether Alt is held.
    pub alt: bool,
    /// Whether Ctrl is held.
    pub ctrl: bool,
}

/// What the machine is told.
#[derive(Debug)]
pub enum Event {
    /// A key was pressed.
    Press(Press),
    /// Text was pasted.
    Paste(String),
    /// The screen has so many columns and rows.
    Resize(u16, u16),
    /// The terminal is in front, or not.
    Focus(bool),
    /// The node says something.
    Notice(Notice),
    /// The log says something.
    Log(String),
    /// Work beside the talk went on.
    Going(Going),
    /// The deadline passed.
    Woke,
}

/// What must happen after an event.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Hand this to the node.
    Hand(CommandId, Command),
    /// Tell the person that somebody calls: room, who, what.
    Ring(String, String, String),
    /// Put this on the clipboard.
    Copy(String),
    /// Draw everything anew.
    Redraw,
    /// The node was told to leave.
    Leaving,
}

/// What a command was for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pending {
    Post {
        room: String,
    },
    Typed {
        room: String,
    },
    /// Makes a room, or wants into one: whoever comes in goes there.
    Enter {
        room: String,
    },
    Go,
    Rooms,
    Members,
    Status,
    Newest {
        room: String,
    },
    Earlier {
        room: String,
    },
    Jump {
        room: String,
        to: Box<MessageView>,
    },
    Seen {
        room: String,
    },
    Deliveries {
        room: String,
    },
    Search,
}

/// A question to the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the authority is the right one.
    Authority {
        /// Its fingerprint, harmless.
        fingerprint: String,
        /// Where it answered, harmless.
        address: String,
    },
    /// Whether several lines are meant.
    Paste(String),
    /// What to look for.
    Search,
}

/// What a search found.
#[derive(Debug)]
pub struct Results {
    /// What was looked for.
    pub words: String,
    /// Newest first.
    pub found: Vec<(MessageView, Moment)>,
    /// The one that is chosen.
    pub at: usize,
}

/// What the status line tells, beside the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// Links to members without a relay.
    pub direct: usize,
    /// Links to members through one.
    pub relayed: usize,
    /// Whether membership can change.
    pub has_quorum: bool,
    /// Why not.
    pub frozen_because: String,
    /// Own messages that not everybody has.
    pub queued: u64,
}

/// The terminal interface.
#[derive(Debug)]
pub struct State {
    /// One's own name.
    pub me: String,
    /// Whether the member is in its group.
    pub is_ready: bool,
    /// Whether the node was told to leave.
    pub is_leaving: bool,
    /// Keys bound anew.
    pub bindings: super::bindings::Bindings,
    /// The rooms, in the order they are shown.
    pub rooms: Vec<Room>,
    /// The room one is in.
    pub here: usize,
    /// Rooms that one is not in and may ask to come into.
    pub joinable: Vec<String>,
    /// Everybody.
    pub members: BTreeMap<PeerId, MemberView>,
    /// Who leads.
    pub leader: Option<LeaderView>,
    /// What later messages made of earlier ones.
    pub(super) fold: Fold,
    pub(super) ends: super::ending::Ends,
    pub(super) comings: Comings,
    /// How the network stands.
    pub brief: Option<Brief>,
    /// What is being typed.
    pub editor: Editor,
    /// What the person is asked, and what it answers so far.
    pub question: Option<(Question, Editor)>,
    /// What a search found.
    pub results: Option<Results>,
    /// A word about the last key, and until when.
    pub hint: Option<(String, Mono)>,
    /// Messages that were missed and come now.
    pub catch_up: CatchUp,
    /// What goes on beside the talk.
    pub working: Option<Working>,
    /// Files on their way.
    pub(super) transfers: Transfers,
    /// Columns and rows of the screen.
    pub size: (u16, u16),
    /// A search that is on its way.
    pub(super) searching: Option<Searching>,
    /// Invites that were made on this screen.
    pub invites: Vec<InviteText>,
    /// Whether anything on the screen may have changed.
    pub is_dirty: bool,
    pub(super) is_focused: bool,
    pub(super) pending: BTreeMap<CommandId, Pending>,
    pub(super) completion: Option<Completion>,
    /// Esc was pressed: the next key may be meant with Alt.
    pub(super) meta_until: Option<Mono>,
    /// Ctrl+C was pressed: once more quits.
    pub(super) quit_until: Option<Mono>,
    pub(super) effects: Vec<Effect>,
    pub(super) due: Due,
    rung: Mono,
    last_came: Mono,
}

/// What is to be done, and when.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) status: Option<Mono>,
    pub(super) rooms: Option<Mono>,
    pub(super) note: Option<Mono>,
    pub(super) rough: Option<Mono>,
    pub(super) transfers: Option<Mono>,
    status_asked: Mono,
}

impl State {
    /// Nothing is known yet; `me` may be empty.
    pub fn new(me: &str, size: (u16, u16)) -> Self {
        Self {
            me: me.to_owned(),
            is_ready: false,
            is_leaving: false,
            bindings: super::bindings::Bindings::default(),
            rooms: vec![Room::new(MAIN)],
            here: 0,
            joinable: Vec::new(),
            members: BTreeMap::new(),
            leader: None,
            fold: Fold::default(),
            ends: super::ending::Ends::default(),
            comings: Comings::default(),
            brief: None,
            editor: Editor::default(),
            question: None,
            results: None,
            hint: None,
            catch_up: CatchUp::default(),
            working: None,
            transfers: Transfers::default(),
            size,
            searching: None,
            invites: Vec::new(),
            is_dirty: true,
            is_focused: true,
            pending: BTreeMap::new(),
            completion: None,
            meta_until: None,
            quit_until: None,
            effects: Vec::new(),
            due: Due::default(),
            rung: Mono(0),
            last_came: Mono(0),
        }
    }

    /// Takes one event and says what must happen.
    pub fn handle(&mut self, event: Event, now: Now, door: &mut dyn Door) -> Vec<Effect> {
        match event {
            Event::Press(press) => self.on_press(press, now, door),
            Event::Paste(text) => self.on_paste(&text, now),
            Event::Resize(width, height) => {
                self.size = (width, height);
                self.is_dirty = true;
            }
            Event::Focus(is_focused) => self.on_focus(is_focused),
            Event::Notice(notice) => self.on_notice(notice, now, door),
            Event::Log(line) => {
                let told = Told { errors: vec![crate::text::one_line(&line)], ..Told::default() };
                let here = self.here_name();
                self.tell(&here, told);
            }
            Event::Going(going) => self.on_going(going),
            Event::Woke => {}
        }
        self.go_on(now, door);
        std::mem::take(&mut self.effects)
    }

    /// When to say [`Event::Woke`].
    pub fn wake_at(&self) -> Option<Mono> {
        let catch_up = self.catch_up.ends_at();
        let hint = self.hint.as_ref().map(|(_, until)| *until);
        let searching = self.searching.as_ref().map(Searching::wakes_at);
        let due = &self.due;
        let rest = [catch_up, hint, searching, self.work_wakes(), self.ends.wake_at()];
        [due.status, due.rooms, due.note, due.rough, due.transfers]
            .into_iter()
            .chain(rest)
            .flatten()
            .min()
    }

    /// The room one is in.
    pub fn room(&self) -> Option<&Room> {
        self.rooms.get(self.here)
    }

    pub(super) fn room_mut(&mut self) -> Option<&mut Room> {
        self.rooms.get_mut(self.here)
    }

    pub(super) fn here_name(&self) -> String {
        self.room().map_or_else(|| MAIN.to_owned(), |room| room.name.clone())
    }

    pub(super) fn named(&mut self, name: &str) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.name == name)
    }

    /// The room of this name; a new one if need be.
    pub(super) fn named_or_new(&mut self, name: &str) -> usize {
        match self.rooms.iter().position(|room| room.name == name) {
            Some(at) => at,
            None => {
                self.rooms.push(Room::new(name));
                self.rooms.len() - 1
            }
        }
    }

    pub(super) fn hand(&mut self, number: CommandId, command: Command, pending: Pending) {
        self.pending.insert(number, pending);
        self.effects.push(Effect::Hand(number, command));
    }

    pub(super) fn ask(&mut self, command: Command, pending: Pending, door: &mut dyn Door) {
        let number = door.number();
        self.hand(number, command, pending);
    }

    pub(super) fn say_hint(&mut self, text: &str, now: Now) {
        self.hint = Some((text.to_owned(), now.mono.after(HINT)));
        self.is_dirty = true;
    }

    /// Lines of line mode, as news in a room.
    pub(super) fn tell(&mut self, room: &str, told: Told) {
        let at = self.named_or_new(room);
        let Some(room) = self.rooms.get_mut(at) else { return };
        for line in told.lines {
            room.news(&line, false);
        }
        for line in told.errors {
            room.news(&line, true);
        }
        self.is_dirty = true;
    }

    /// What is due by now.
    fn go_on(&mut self, now: Now, door: &mut dyn Door) {
        let is_due = |at: &mut Option<Mono>| {
            let is_due = at.is_some_and(|at| at <= now.mono);
            if is_due {
                *at = None;
            }
            is_due
        };
        if is_due(&mut self.due.rooms) {
            self.ask(Command::Rooms, Pending::Rooms, door);
            self.ask(Command::Members, Pending::Members, door);
        }
        if is_due(&mut self.due.status) && self.is_ready && !self.is_leaving {
            self.due.status_asked = now.mono;
            self.due.status = Some(now.mono.after(STATUS_EVERY));
            self.ask(Command::Status, Pending::Status, door);
        }
        if is_due(&mut self.due.note) {
            self.note_seen(door);
        }
        if self.due.rough.is_some() && now.mono.since(self.last_came) >= QUIET {
            self.due.rough = None;
            for at in 0..self.rooms.len() {
                if self.rooms.get(at).is_some_and(|it| it.is_rough && !it.is_detached) {
                    let last = self.rooms.get(at).map_or(PAGE, Room::len);
                    self.open_page(at, last.clamp(PAGE, 2_000), door);
                }
            }
        } else if is_due(&mut self.due.rough) {
            self.due.rough = Some(self.last_came.after(QUIET));
        }
        if self.hint.as_ref().is_some_and(|(_, until)| *until <= now.mono) {
            self.hint = None;
            self.is_dirty = true;
        }
        self.is_dirty |= self.catch_up.is_over(now);
        self.is_dirty |= self.searching.as_mut().is_some_and(|it| it.look(now));
        self.look_at_work(now);
        self.look_at_transfers(now);
        self.look_at_ends(now);
    }

    /// The status is asked for soon.
    pub(super) fn want_status(&mut self, now: Now) {
        let at = now.mono.max(self.due.status_asked.after(STATUS_PAUSE));
        self.due.status = Some(self.due.status.map_or(at, |due| due.min(at)));
    }

    pub(super) fn want_rooms(&mut self, now: Now) {
        self.due.rooms.get_or_insert(now.mono.after(ROOMS_PAUSE));
    }

    /// Goes into a room.
    pub(super) fn enter(&mut self, at: usize, now: Now, door: &mut dyn Door) {
        if at >= self.rooms.len() || (at == self.here && self.room().is_some_and(|it| it.is_opened))
        {
            return;
        }
        self.completion = None;
        self.close_results();
        self.read(now);
        self.note_seen(door);
        let draft = self.editor.text();
        if let Some(room) = self.room_mut() {
            room.draft = draft;
            room.marker = None;
        }
        self.here = at;
        let Some(room) = self.room_mut() else { return };
        let draft = std::mem::take(&mut room.draft);
        // What one had not read yet begins behind this.
        room.marker = if room.unread > 0 { room.seen } else { None };
        let is_opened = room.is_opened;
        self.editor.set(&draft);
        if !is_opened {
            self.open_page(at, PAGE, door);
        }
        self.read(now);
        self.is_dirty = true;
    }

    /// Whether one looks at the newest messages of the room one is in.
    pub(super) fn is_reading(&self) -> bool {
        self.is_focused
            && self.results.is_none()
            && self.room().is_some_and(|it| it.scroll == Scroll::Bottom && !it.is_detached)
    }

    /// What is in sight is read.
    pub(super) fn read(&mut self, now: Now) {
        if !self.is_reading() {
            return;
        }
        let Some(room) = self.room_mut() else { return };
        (room.unread, room.mentions, room.is_uncounted, room.below) = (0, 0, false, 0);
        let newest = room.newest().and_then(Said::id);
        if newest.is_some() && newest != room.seen {
            room.seen = newest;
            self.due.note.get_or_insert(now.mono.after(NOTE_PAUSE));
        }
    }

    /// Has noted up to where rooms were read.
    pub(super) fn note_seen(&mut self, door: &mut dyn Door) {
        self.due.note = None;
        let mut news = Vec::new();
        for room in &mut self.rooms {
            if room.seen.is_some() && room.seen != room.noted {
                room.noted = room.seen;
                news.push((room.name.clone(), room.seen));
            }
        }
        for (room, upto) in news {
            let command = Command::Seen { room: room.clone(), upto };
            self.ask(command, Pending::Seen { room }, door);
        }
    }

    fn on_focus(&mut self, is_focused: bool) {
        if self.is_focused
            && !is_focused
            && let Some(room) = self.room_mut()
        {
            // What comes from now on is new when one comes back.
            room.marker = room.newest().and_then(Said::id);
        }
        self.is_focused = is_focused;
        self.is_dirty = true;
    }

    /// A message of another member: counts it, and calls the person if it is meant.
    pub(super) fn on_message(&mut self, view: &MessageView, now: Now, door: &mut dyn Door) {
        if view.is_ignored {
            return;
        }
        let moment = Moment::of(door.local(view.sent_at));
        if self.catch_up.came(view.sent_at, moment, now) {
            // It says how much is still to come.
            self.want_status(now);
        }
        self.last_came = now.mono;
        let Some(said) = self.take_in(view, moment) else { return };
        let is_muted = self.rooms.iter().any(|it| it.name == view.room && it.is_muted());
        let is_mention = (said.is_mention || view.room.starts_with('@')) && !is_muted;
        let from = said.from.clone();
        let is_known = self.rooms.iter().any(|room| room.name == view.room);
        if !is_known {
            self.want_rooms(now);
        }
        let at = self.named_or_new(&view.room);
        let is_here = at == self.here;
        let is_reading = is_here && self.is_reading();
        let Some(room) = self.rooms.get_mut(at) else { return };
        let is_detached = room.is_detached;
        if !room.came(said) && !is_detached {
            return;
        }
        if room.oldest.is_none() {
            room.oldest = Some(view.place());
        }
        let dropped = std::mem::take(&mut room.dropped);
        for id in dropped {
            // What others made of it is kept: they may not say it again.
            if self
                .fold
                .told(&id)
                .is_some_and(|it| !it.is_edited && !it.is_deleted && it.marks.is_empty())
            {
                self.fold.forget(&id);
            }
        }
        let Some(room) = self.rooms.get_mut(at) else { return };
        if room.is_rough {
            self.due.rough.get_or_insert(now.mono.after(QUIET));
        }
        if !is_reading {
            room.unread += 1;
            room.mentions += usize::from(is_mention);
        }
        if is_reading {
            self.read(now);
        }
        if is_mention
            && now.mono.since(self.rung) >= BELL_PAUSE
            && now.wall.since(view.sent_at) < MISSED
        {
            self.rung = now.mono;
            let text = super::look::folded(&view.text);
            self.effects.push(Effect::Ring(view.room.clone(), from, text));
        }
        self.is_dirty = true;
    }
}
