//! What keys do.
//! Owns: the keys, and what is done with a line once it is typed.
//! Must not know: how the terminal reports keys.
//! Invariants: no key sends anything but Enter; an unknown command is never sent as a message;
//! every key with Alt can be had by Esc and then the key.
//! Start reading at: [`State::on_press`].

use super::complete;
use super::draw::panes;
use super::editor::Editor;
use super::look::{Mark, Moment, Said, harmless};
use super::state::{Effect, Key, PAGE, Pending, Press, Question, State};
use super::{Door, Told, Typed};
use crate::ids::{DeviceKey, PeerId, Seq};
use crate::protocol::{Command, RoomAction};
use crate::text::{action, one_line};
use crate::time::{Millis, Mono, Now};

/// Esc and then a key counts as that key with Alt.
const META: Millis = Millis(1_000);
/// The second Ctrl+C comes within.
const TWICE: Millis = Millis(2_000);

impl State {
    pub(super) fn on_press(&mut self, mut press: Press, now: Now, door: &mut dyn Door) {
        self.is_dirty = true;
        if self.meta_until.take().is_some_and(|until| now.mono <= until) && press.key != Key::Esc {
            press.alt = true;
        }
        match self.bindings.meant(press) {
            Some(meant) => press = meant,
            None => return,
        }
        if press.key != Key::Tab && press.key != Key::BackTab {
            self.completion = None;
        }
        if press.ctrl && press.key == Key::Char('c') {
            return self.on_interrupt(now, door);
        }
        if press.ctrl && press.key == Key::Char('l') {
            self.effects.push(Effect::Redraw);
            return;
        }
        if self.question.is_some() {
            return self.on_answer_key(press, now, door);
        }
        if self.results.is_some() && self.on_result_key(press, now, door) {
            return;
        }
        if press.alt && self.on_alt(press.key, now, door) {
            return;
        }
        if press.ctrl {
            return self.on_ctrl(press.key, now, door);
        }
        self.on_plain(press.key, now, door);
    }

    fn on_plain(&mut self, key: Key, now: Now, door: &mut dyn Door) {
        let (width, height) = panes(self).talk;
        match key {
            Key::Enter => self.on_line(now, door),
            Key::Tab => self.complete(door, true),
            Key::BackTab => self.complete(door, false),
            Key::PageUp => self.scroll_up(height.saturating_sub(1).max(1), door),
            Key::PageDown => {
                let room = self.room_mut();
                let is_on = room.is_some_and(|it| it.down(height.saturating_sub(1).max(1), width));
                if !is_on {
                    self.show_newest(now, door);
                }
            }
            Key::End if !self.editor.parts().1.is_empty() => self.editor.end(),
            Key::End => self.show_newest(now, door),
            Key::Esc => {
                self.meta_until = Some(now.mono.after(META));
                self.show_newest(now, door);
            }
            Key::Up if !self.editor.parts().0.contains('\n') => self.editor.older(),
            Key::Down if !self.editor.parts().1.contains('\n') => self.editor.newer(),
            key => edit(&mut self.editor, key),
        }
        if self.editor.text().len() > crate::limits::TEXT_BYTES_MAX {
            self.say_hint("the line is as long as a message can be", now);
        }
    }

    fn on_ctrl(&mut self, key: Key, now: Now, door: &mut dyn Door) {
        match key {
            Key::Char('d') if self.editor.is_empty() => self.asked_to_exit(now, door),
            Key::Char('d') => self.editor.delete(),
            Key::Char('j') | Key::Enter => {
                self.editor.insert("\n");
            }
            Key::Char('n') => self.step_room(1, now, door),
            Key::Char('p') => self.step_room(-1, now, door),
            Key::Char('r') => self.question = Some((Question::Search, Editor::default())),
            other => edit_ctrl(&mut self.editor, other),
        }
    }

    /// `false`: the key has no meaning with Alt.
    fn on_alt(&mut self, key: Key, now: Now, door: &mut dyn Door) -> bool {
        match key {
            Key::Enter => {
                self.editor.insert("\n");
            }
            Key::Char(digit) if digit.is_ascii_digit() => {
                let digit = digit.to_digit(10).and_then(|it| usize::try_from(it).ok());
                let at = digit.map_or(0, |it| if it == 0 { 9 } else { it - 1 });
                if at < self.rooms.len() {
                    self.enter(at, now, door);
                } else {
                    self.say_hint("there is no such room", now);
                }
            }
            Key::Char('a') => self.next_active(now, door),
            Key::Char('b') => self.editor.word_left(),
            Key::Char('f') => self.editor.word_right(),
            Key::Backspace => self.editor.cut_word(),
            Key::Up | Key::Down => {
                let (width, height) = panes(self).talk;
                if let Some(room) = self.room_mut() {
                    room.choose(key == Key::Up);
                    room.follow_choice(width, height);
                }
                self.hint_choice(now);
                self.look_back(door);
            }
            _ => return false,
        }
        true
    }

    fn hint_choice(&mut self, now: Now) {
        let chosen = self.room().and_then(|room| room.said(room.chosen?)?.id());
        match chosen {
            Some(id) => {
                let id: String = id.to_string().chars().take(8).collect();
                let hint = format!("message {id}: in a command . stands for it; Enter opens it");
                self.say_hint(&hint, now);
            }
            None => self.hint = None,
        }
    }

    fn on_interrupt(&mut self, now: Now, door: &mut dyn Door) {
        let is_second = self.quit_until.take().is_some_and(|until| now.mono <= until);
        if is_second {
            return self.exit(door);
        }
        self.question = match self.question.take() {
            // The answer no is as good as none, and it must be given.
            Some((question @ Question::Authority { .. }, _)) => Some((question, Editor::default())),
            _ => None,
        };
        self.close_results();
        self.editor.clear();
        self.quit_until = Some(now.mono.after(TWICE));
        self.say_hint("Ctrl+C once more quits", now);
        self.hint = self.hint.take().map(|(text, _)| (text, now.mono.after(TWICE)));
    }

    pub(super) fn exit(&mut self, door: &mut dyn Door) {
        if self.is_leaving {
            return;
        }
        self.is_leaving = true;
        self.note_seen(door);
        let number = door.number();
        self.effects.push(Effect::Hand(number, Command::Exit));
        self.effects.push(Effect::Leaving);
    }

    pub(super) fn on_paste(&mut self, text: &str, now: Now) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        self.is_dirty = true;
        if let Some((_, answer)) = &mut self.question {
            answer.insert(text.lines().next().unwrap_or_default());
        } else if text.trim_end_matches('\n').contains('\n') {
            self.question = Some((Question::Paste(text), Editor::default()));
        } else if !self.editor.insert(text.trim_end_matches('\n')) {
            self.say_hint("too long for a message", now);
        }
    }

    fn on_answer_key(&mut self, press: Press, now: Now, door: &mut dyn Door) {
        let Some((question, answer)) = &mut self.question else { return };
        let is_yes_or_no = matches!(question, Question::Paste(_));
        match press.key {
            Key::Esc if !matches!(question, Question::Authority { .. }) => self.question = None,
            Key::Char(c @ ('y' | 'Y' | 'n' | 'N')) if is_yes_or_no => {
                let Some((Question::Paste(text), _)) = self.question.take() else { return };
                let text = text.trim_end_matches('\n').to_owned();
                if c.eq_ignore_ascii_case(&'y') && !self.editor.insert(&text) {
                    self.say_hint("too long for a message", now);
                }
            }
            _ if is_yes_or_no => {}
            Key::Enter => self.on_answered(now, door),
            key if press.ctrl => edit_ctrl(answer, key),
            key => edit(answer, key),
        }
    }

    fn on_answered(&mut self, now: Now, door: &mut dyn Door) {
        let Some((question, mut answer)) = self.question.take() else { return };
        let text = answer.take();
        match question {
            Question::Search if text.trim().is_empty() => {}
            Question::Search => self.search(text.trim(), now, door),
            Question::Paste(_) => {}
            Question::Authority { .. } => {
                let is_trusted = match text.trim().to_lowercase().as_str() {
                    "yes" => true,
                    "no" => false,
                    _ => {
                        self.say_hint("type yes or no", now);
                        self.question = Some((question, answer));
                        return;
                    }
                };
                let number = door.number();
                let command = Command::TrustAuthority { is_trusted };
                self.effects.push(Effect::Hand(number, command));
            }
        }
    }

    /// `false`: the key has no meaning among results, which are closed.
    fn on_result_key(&mut self, press: Press, now: Now, door: &mut dyn Door) -> bool {
        let Some(results) = &mut self.results else { return false };
        let page = 10;
        let last = results.found.len().saturating_sub(1);
        match press.key {
            Key::Up => results.at = (results.at + 1).min(last),
            Key::Down => results.at = results.at.saturating_sub(1),
            Key::PageUp => results.at = (results.at + page).min(last),
            Key::PageDown => results.at = results.at.saturating_sub(page),
            Key::Esc => {
                self.close_results();
                self.meta_until = Some(now.mono.after(META));
            }
            Key::Enter => {
                let found = self.close_results();
                let chosen = found.and_then(|it| it.found.into_iter().nth(it.at));
                if let Some((view, _)) = chosen {
                    self.jump(view, now, door);
                }
            }
            _ => {
                self.close_results();
                return false;
            }
        }
        true
    }

    pub(super) fn scroll_up(&mut self, by: usize, door: &mut dyn Door) {
        let (width, height) = panes(self).talk;
        if let Some(room) = self.room_mut() {
            room.up(by, width, height);
        }
        self.look_back(door);
    }

    /// Asks for earlier messages if one has scrolled near to the oldest here.
    pub(super) fn look_back(&mut self, door: &mut dyn Door) {
        let (width, height) = panes(self).talk;
        if self.room().is_some_and(|room| room.sight(width, height).1) {
            self.open_earlier(door);
        }
    }

    fn show_newest(&mut self, now: Now, door: &mut dyn Door) {
        let here = self.here;
        let Some(room) = self.room_mut() else { return };
        room.to_bottom();
        if room.is_detached {
            self.open_page(here, PAGE, door);
        }
        self.read(now);
    }

    fn step_room(&mut self, by: isize, now: Now, door: &mut dyn Door) {
        let count = self.rooms.len().max(1);
        let at = self.here.saturating_add(count).saturating_add_signed(by) % count;
        self.enter(at, now, door);
    }

    fn next_active(&mut self, now: Now, door: &mut dyn Door) {
        let count = self.rooms.len();
        let after = (1..count).map(|step| (self.here + step) % count).filter(|at| {
            // One that does not call waits until one goes there.
            !self.rooms.get(*at).is_some_and(super::room::Room::is_muted)
        });
        let active = |is: fn(&super::room::Room) -> bool| {
            after.clone().find(|at| self.rooms.get(*at).is_some_and(is))
        };
        match active(|room| room.mentions > 0).or_else(|| active(|room| room.unread > 0)) {
            Some(at) => self.enter(at, now, door),
            None => self.say_hint("nothing new elsewhere", now),
        }
    }

    fn complete(&mut self, door: &dyn Door, is_forward: bool) {
        let completion = match self.completion.take() {
            Some(mut completion) => {
                completion.step(is_forward);
                Some(completion)
            }
            None => complete::start(self, door),
        };
        if let Some(completion) = &completion {
            self.editor.set_before(&completion.line());
        }
        self.completion = completion.filter(|it| !it.leads_on());
    }

    /// Enter: a message, a command, or nothing.
    fn on_line(&mut self, now: Now, door: &mut dyn Door) {
        if self.editor.text().trim().is_empty() || self.is_leaving {
            let (width, height) = panes(self).talk;
            if let Some(room) = self.room_mut().filter(|it| it.chosen.is_some()) {
                room.open(width, height);
            }
            return self.editor.clear();
        }
        let line = self.editor.take();
        let here = self.here_name();
        if matches!(line.trim(), "/keys" | "/help keys") {
            let lines = self.bindings.lines();
            return self.tell(&here, Told { lines, errors: Vec::new() });
        }
        if line.trim() == "/clear" {
            self.show_newest(now, door);
            return self.clear();
        }
        let line = self.with_choice(&line);
        if let Some(words) = line.strip_prefix("/copy")
            && (words.is_empty() || words.starts_with(char::is_whitespace))
        {
            return self.copy(words.trim(), now);
        }
        let mut to = here.clone();
        let Typed { command, told, work } = door.read(&line, &mut to);
        let is_refused = !told.errors.is_empty();
        self.tell(&here, told);
        if is_refused && !line.starts_with('/') {
            // What was typed is not lost.
            self.editor.set(&line);
        }
        if let Some(work) = work {
            self.begin(work, now);
        }
        let Some((number, command)) = command else { return };
        match command {
            Command::Send { room, text } if room == here => {
                self.typed(number, room, text, now, door);
            }
            // `/say`: one stays where one is.
            Command::Send { room, text } => {
                self.hand(
                    number,
                    Command::Send { room: room.clone(), text },
                    Pending::Post { room },
                );
            }
            Command::Exit => self.asked_to_exit(now, door),
            Command::Room { room } if to != here => {
                // `/go`: at once where the room is known, else once the node knows it.
                match self.rooms.iter().position(|it| it.name == room) {
                    Some(at) => self.enter(at, now, door),
                    None => self.hand(number, Command::Room { room }, Pending::Go),
                }
            }
            // `/join` of a room that one is in: there is nothing to ask for.
            Command::Act { room, action: RoomAction::Join { .. } } if self.is_in(&room) => {
                let at = self.named_or_new(&room);
                self.enter(at, now, door);
            }
            Command::Search { .. } => {
                let words = line.split_once(' ').map_or("", |(_, words)| words.trim());
                let words = one_line(words);
                self.start_search(&words, command, Some(number), now, door);
            }
            Command::Act {
                action: RoomAction::Create { .. } | RoomAction::Join { .. }, ..
            } => {
                self.hand(number, command, Pending::Enter { room: here });
            }
            other => {
                self.note_reading(number, &other, now);
                self.hand(number, other, Pending::Typed { room: here });
            }
        }
        if let Some(room) = self.room_mut() {
            room.chosen = None;
        }
    }

    fn is_in(&self, name: &str) -> bool {
        let room = self.rooms.iter().find(|it| it.name == name);
        room.and_then(|it| it.view.as_ref()).is_some_and(|view| view.is_in)
    }

    fn typed(
        &mut self,
        number: crate::ids::CommandId,
        room: String,
        text: String,
        now: Now,
        door: &mut dyn Door,
    ) {
        self.show_newest(now, door);
        let said = Said {
            place: None,
            from: one_line(&self.me),
            hue: self.my_hue(),
            order: (u64::MAX, PeerId::of_ed25519(&DeviceKey([0; 32])), Seq(0)),
            reply_to: None,
            text: harmless(action(&text).unwrap_or(&text)),
            is_open: false,
            is_action: action(&text).is_some(),
            is_edited: false,
            is_deleted: false,
            is_ended: false,
            is_for_programs: false,
            marks: Vec::new(),
            sent_at: now.wall,
            moment: Moment::of(door.local(now.wall)),
            is_own: true,
            is_mention: false,
            mark: Mark::Typed(number),
        };
        if let Some(here) = self.room_mut() {
            here.typed(said);
            // Who speaks has read.
            here.marker = None;
        }
        let pending = Pending::Post { room: room.clone() };
        self.hand(number, Command::Send { room, text }, pending);
    }

    fn my_hue(&self) -> u8 {
        let own = self.room().and_then(|room| room.messages().rev().find(|it| it.is_own));
        let me = self.members.values().find(|it| it.is_self);
        own.map(|it| it.hue).or_else(|| me.map(|it| super::look::hue(&it.peer))).unwrap_or(0)
    }

    /// In a command a lone `.` stands for the message that is chosen, else for the newest.
    fn with_choice(&self, line: &str) -> String {
        let Some((verb, rest)) = line.split_once(' ') else { return line.to_owned() };
        let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
        if !verb.starts_with('/') || verb.starts_with("//") || verb == "/me" || first != "." {
            return line.to_owned();
        }
        let Some(room) = self.room() else { return line.to_owned() };
        let chosen = room.chosen.and_then(|key| room.said(key)?.id());
        // One edits and deletes what one wrote oneself.
        let is_own = matches!(verb, "/edit" | "/delete" | "/del");
        let newest = || room.messages().rev().filter(|it| !is_own || it.is_own).find_map(Said::id);
        match chosen.or_else(newest) {
            Some(id) => format!("{verb} {id} {more}").trim_end().to_owned(),
            None => line.to_owned(),
        }
    }

    /// When a key that waits for another stops waiting; nothing is drawn then.
    pub fn meta_until(&self) -> Option<Mono> {
        self.meta_until
    }
}

/// The keys of every line that is typed.
fn edit(editor: &mut Editor, key: Key) {
    match key {
        Key::Char(c) => {
            let mut bytes = [0; 4];
            editor.insert(c.encode_utf8(&mut bytes));
        }
        Key::Backspace => editor.backspace(),
        Key::Delete => editor.delete(),
        Key::Left => editor.left(),
        Key::Right => editor.right(),
        Key::Home => editor.home(),
        Key::End => editor.end(),
        _ => {}
    }
}

fn edit_ctrl(editor: &mut Editor, key: Key) {
    match key {
        Key::Char('a') => editor.home(),
        Key::Char('e') => editor.end(),
        Key::Char('u') => editor.cut_start(),
        Key::Char('k') => editor.cut_end(),
        Key::Char('w') => editor.cut_word(),
        Key::Char('y') => editor.paste_cut(),
        Key::Char('b') => editor.left(),
        Key::Char('f') => editor.right(),
        Key::Char('h') => editor.backspace(),
        Key::Left => editor.word_left(),
        Key::Right => editor.word_right(),
        _ => {}
    }
}
