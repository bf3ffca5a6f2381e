//! Tests of the terminal interface as a machine: keys and notices in, screens as text out.
//! Owns: the screens that people rely on.
//! Must not know: terminals.
//! Invariants: a changed screen here is a changed promise to users.
//! Start reading at: [`Desk`].

mod comfort;
mod copying;
mod ignoring;
mod scrolling;
mod talking;
mod text;
mod transfers;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::cells::width;
use super::draw::draw;
use super::state::{Effect, Event, Key, Press, State};
use crate::cli::screen::Speech;
use crate::ids::{CommandId, DeviceKey, NetworkRole, PeerId, RoomId, Seq};
use crate::protocol::{
    Command, LeaderView, MemberState, MemberView, MessageId, MessageView, Notice, Ready,
    RoomMemberView, RoomView, Status,
};
use crate::time::{Millis, Mono, Now, Wall};

/// 2026-11-21T09:41:07Z.
const NOON: Wall = Wall(1_795_254_067_250);

/// A screen with a person in front of it and a node behind it.
struct Desk {
    state: State,
    speech: Speech,
    now: Now,
    handed: Vec<(CommandId, Command)>,
    rung: Vec<(String, String, String)>,
    copied: Vec<String>,
}

fn peer(name: &str) -> PeerId {
    let mut key = [0; 32];
    key.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    PeerId::of_ed25519(&DeviceKey(key))
}

fn id(number: u64) -> MessageId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

fn message(room: &str, from: &str, number: u64, text: &str) -> MessageView {
    MessageView {
        id: id(number),
        room: room.to_owned(),
        from: from.to_owned(),
        peer: peer(from),
        seq: Seq(number),
        lamport: number,
        about: crate::protocol::About::Nothing,
        text: text.to_owned(),
        sent_at: NOON.after(Millis(number * 1_000)),
        expires_at: None,
        is_own: from == "alice",
        is_fork: false,
        missing: 0,
        is_ignored: false,
    }
}

fn member(name: &str, state: MemberState, role: NetworkRole) -> MemberView {
    MemberView {
        name: name.to_owned(),
        peer: peer(name),
        state,
        role,
        is_self: name == "alice",
        is_voter: true,
        is_linked: true,
        is_verified: name == "bob",
        is_ignored: false,
        last_seen: None,
        was_before: false,
    }
}

fn room(name: &str, members: &[&str]) -> RoomView {
    let number = name.bytes().fold(0_u8, u8::wrapping_add);
    RoomView {
        room: name.to_owned(),
        id: RoomId([number; 16]),
        kind: if name == "main" { "main" } else { "private" },
        is_in: true,
        topic: if name == "ops" { "what runs where".to_owned() } else { String::new() },
        description: String::new(),
        entry: "invited",
        capacity: None,
        history: "all".to_owned(),
        keep_age: None,
        keep_bytes: None,
        is_archived: false,
        is_muted: false,
        is_deleted: false,
        members: members
            .iter()
            .map(|name| RoomMemberView {
                name: (*name).to_owned(),
                peer: peer(name),
                role: "member",
                epoch: None,
            })
            .collect(),
        waiting: Vec::new(),
        suspended: Vec::new(),
        stranded: Vec::new(),
        keys: None,
    }
}

impl Desk {
    /// Nothing has happened yet.
    fn empty(columns: u16, rows: u16) -> Self {
        Self {
            state: State::new("alice", (columns, rows)),
            speech: Speech::for_tests(),
            now: Now { mono: Mono(1_000), wall: NOON.after(Millis(8_000)) },
            handed: Vec::new(),
            rung: Vec::new(),
            copied: Vec::new(),
        }
    }

    /// Alice is in, with bob and carol, and the rooms main, ops and @bob; nothing was said.
    fn joined(columns: u16, rows: u16) -> Self {
        let mut desk = Self::empty(columns, rows);
        let leader = Some(LeaderView {
            name: "carol".to_owned(),
            peer: peer("carol"),
            generation: 0,
            term: 3,
        });
        desk.tell(Notice::Ready(Ready {
            role: "member",
            name: "alice".to_owned(),
            peer: peer("alice"),
            network: "0123456789abcdef".to_owned(),
            listen: Vec::new(),
            leader: leader.clone(),
        }));
        desk.wait(1_000);
        let all = ["alice", "bob", "carol"];
        let members = vec![
            member("alice", MemberState::Active, NetworkRole::Owner),
            member("bob", MemberState::Active, NetworkRole::Member),
            member("carol", MemberState::Away, NetworkRole::Admin),
        ];
        let rooms = vec![room("main", &all), room("ops", &all), room("@bob", &all[..2])];
        desk.answer(
            |command| match command {
                Command::Rooms => Some(|command, rooms, _, _| Notice::Rooms { command, rooms }),
                Command::Members => {
                    Some(|command, _, members, _| Notice::Members { command, members })
                }
                Command::Status => Some(|command, _, _, status| Notice::Status {
                    command,
                    status: Box::new(status),
                }),
                _ => None,
            },
            (rooms, members, Status { leader, has_quorum: true, ..Status::default() }),
        );
        for (number, command) in std::mem::take(&mut desk.handed) {
            match command {
                Command::Seen { room, .. } => {
                    desk.tell(Notice::Seen { command: number, room, upto: None });
                }
                Command::History { .. } => {
                    desk.tell(Notice::History { command: number, messages: Vec::new() });
                }
                _ => {}
            }
        }
        desk
    }

    fn answer<T: Clone, U: Clone, V: Clone>(
        &mut self,
        with: impl Fn(&Command) -> Option<fn(CommandId, T, U, V) -> Notice>,
        (one, two, three): (T, U, V),
    ) {
        for (number, command) in std::mem::take(&mut self.handed) {
            match with(&command) {
                Some(notice) => {
                    self.tell(notice(number, one.clone(), two.clone(), three.clone()));
                }
                None => self.handed.push((number, command)),
            }
        }
    }

    fn take(&mut self, event: Event) {
        for effect in self.state.handle(event, self.now, &mut self.speech) {
            match effect {
                Effect::Hand(number, command) => self.handed.push((number, command)),
                Effect::Ring(room, from, text) => self.rung.push((room, from, text)),
                Effect::Copy(text) => self.copied.push(text),
                Effect::Redraw | Effect::Leaving => {}
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        self.take(Event::Notice(notice));
    }

    fn hear(&mut self, room: &str, from: &str, number: u64, text: &str) {
        self.tell(Notice::Message(message(room, from, number, text)));
    }

    fn key(&mut self, key: Key) {
        self.take(Event::Press(Press { key, alt: false, ctrl: false }));
    }

    fn ctrl(&mut self, c: char) {
        self.take(Event::Press(Press { key: Key::Char(c), alt: false, ctrl: true }));
    }

    fn alt(&mut self, key: Key) {
        self.take(Event::Press(Press { key, alt: true, ctrl: false }));
    }

    fn write(&mut self, text: &str) {
        text.chars().for_each(|c| self.key(Key::Char(c)));
    }

    fn line(&mut self, text: &str) {
        self.write(text);
        self.key(Key::Enter);
    }

    fn wait(&mut self, millis: u64) {
        self.now.mono = self.now.mono.after(Millis(millis));
        self.now.wall = self.now.wall.after(Millis(millis));
        self.take(Event::Woke);
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.take(Event::Resize(columns, rows));
    }

    /// Takes what was handed over since.
    fn commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.handed).into_iter().map(|(_, command)| command).collect()
    }

    fn drawn(&self, is_colored: bool) -> Terminal<TestBackend> {
        let (columns, rows) = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(&self.state, is_colored, frame)).unwrap();
        terminal
    }

    /// The screen as text, without the spaces at the ends of its rows.
    fn screen(&self) -> Vec<String> {
        let terminal = self.drawn(true);
        let buffer = terminal.backend().buffer();
        (0..buffer.area.height)
            .map(|y| {
                let mut row = String::new();
                let mut x = 0;
                while x < buffer.area.width {
                    let symbol = buffer[(x, y)].symbol();
                    row.push_str(symbol);
                    x += u16::try_from(width(symbol)).unwrap().max(1);
                }
                row.trim_end().to_owned()
            })
            .collect()
    }

    fn shows(&self, text: &str) -> bool {
        self.screen().iter().any(|row| row.contains(text))
    }

    fn last_row(&self) -> String {
        self.screen().pop().unwrap()
    }
}

fn assert_screen(desk: &Desk, expected: &str) {
    let shown = desk.screen();
    let expected: Vec<&str> = expected.trim_matches('\n').split('\n').collect();
    assert!(shown == expected, "\n{}\n--- expected\n{}\n", shown.join("\n"), expected.join("\n"));
}
