//! What a person does not want to see: ignored members, muted rooms, a cleared view; and actions.
//! Owns: what is on the screen then.
//! Must not know: terminals, who is ignored by whom.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::protocol::{About, PeopleCommand};

fn hidden(room: &str, number: u64, text: &str) -> MessageView {
    MessageView { is_ignored: true, ..message(room, "bob", number, text) }
}

fn ignored(is_ignored: bool) -> Notice {
    let bob = member("bob", MemberState::Active, NetworkRole::Member);
    Notice::Member(MemberView { is_ignored, ..bob })
}

impl Desk {
    /// Answers the newest question for a page of a room.
    fn page(&mut self, of: &str, messages: Vec<MessageView>) {
        let is_it = |it: &&(CommandId, Command)| matches!(&it.1, Command::History { room, .. } if room == of);
        let number = self.handed.iter().rev().find(is_it).unwrap().0;
        self.tell(Notice::History { command: number, messages });
    }

    fn shown(&self, text: &str) -> usize {
        self.screen().iter().filter(|row| row.contains(text)).count()
    }
}

#[test]
fn an_action_is_shown_as_what_its_author_does() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "/me waves at alice");
    assert!(desk.shows("* bob waves at alice"), "{:#?}", desk.screen());
    assert_eq!(desk.rung.len(), 1);
    desk.line("/me  bows");
    let (number, command) = desk.handed.pop().unwrap();
    let text = "/me bows".to_owned();
    assert_eq!(command, Command::Send { room: "main".to_owned(), text: text.clone() });
    assert!(desk.shows("* alice bows"), "at once");
    desk.tell(Notice::Sent { command: number, message: message("main", "alice", 2, &text) });
    assert!(desk.shows("* alice bows") && !desk.shows("/me"));
    let about = About::Reply(id(2));
    desk.tell(Notice::Message(MessageView { about, ..message("main", "carol", 3, "why?") }));
    assert!(desk.shows("↳ * alice bows"), "{:#?}", desk.screen());
    let about = About::Edit(id(1));
    desk.tell(Notice::Message(MessageView { about, ..message("main", "bob", 4, "I waved") }));
    assert!(desk.shows("<bob> I waved (edited)"), "{:#?}", desk.screen());
    // A dot is a dot, not a message.
    desk.line("/me . . .");
    assert!(desk.shows("* alice . . ."));
}

#[test]
fn what_an_ignored_member_writes_is_not_shown_nor_counted_and_does_not_ring() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "before");
    desk.hear("ops", "bob", 2, "alice, look");
    desk.hear("ops", "carol", 3, "fine");
    assert!(desk.shows("2 @1"));
    desk.line("/ignore bob");
    let name = "bob".to_owned();
    let command = Command::People(PeopleCommand::Ignore { name, is_ignored: true });
    assert_eq!(desk.handed.pop().unwrap().1, command);
    desk.rung.clear();
    desk.wait(5_000);
    desk.tell(ignored(true));
    assert_eq!((desk.shown("before"), desk.shown("@1")), (0, 0), "{:#?}", desk.screen());
    assert!(desk.screen()[2].contains("#ops") && desk.screen()[2].contains(" 1"));
    for notice in [hidden("main", 4, "alice!"), hidden("@bob", 5, "alice!"), hidden("@new", 6, "x")]
    {
        desk.tell(Notice::Message(notice));
    }
    desk.page("main", vec![hidden("main", 1, "before"), message("main", "carol", 7, "after")]);
    assert_eq!((desk.shown("alice!"), desk.shown("before"), desk.shown("after")), (0, 0, 1));
    assert_eq!(desk.rung, []);
    assert!(!desk.state.rooms.iter().any(|room| room.name == "@new"));
    assert!(desk.shows("bob") && desk.shows("ignored"), "he is still there");
    // All of it comes back.
    desk.tell(ignored(false));
    let all = [(1, "before"), (4, "alice!")].map(|(n, text)| message("main", "bob", n, text));
    desk.page("main", all.into_iter().chain([message("main", "carol", 7, "after")]).collect());
    assert_eq!((desk.shown("alice!"), desk.shown("before"), desk.shown("after")), (1, 1, 1));
}

#[test]
fn marks_of_an_ignored_member_go_with_its_messages() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "carol", 1, "hello");
    let about = About::Reaction { to: id(1), is_removed: false };
    desk.tell(Notice::Message(MessageView { about, ..message("main", "bob", 2, "+1") }));
    assert!(desk.shows("+1 bob"));
    desk.state.open_for_tests(CommandId(9_000));
    desk.tell(ignored(true));
    desk.page("main", vec![message("main", "carol", 1, "hello")]);
    assert!(desk.shows("hello") && !desk.shows("+1 bob"), "{:#?}", desk.screen());
}

#[test]
fn a_muted_room_counts_without_a_call() {
    let mut desk = Desk::joined(80, 24);
    desk.line("/mute #ops");
    let (number, command) = desk.handed.pop().unwrap();
    assert_eq!(command, Command::Mute { room: "ops".to_owned(), is_muted: true });
    let view = RoomView { is_muted: true, ..room("ops", &["alice", "bob"]) };
    desk.tell(Notice::Room { command: number, room: Box::new(view) });
    assert!(desk.shows("ops does not call you any more: /unmute #ops"));
    desk.hear("ops", "bob", 1, "alice, alice");
    assert_eq!(desk.rung, []);
    assert!(desk.screen()[2].contains(" 1") && !desk.screen()[2].contains('@'));
    let terminal = desk.drawn(true);
    let cell = &terminal.backend().buffer()[(0, 2)];
    assert!(cell.fg == Color::Reset && !cell.modifier.contains(ratatui::style::Modifier::BOLD));
    desk.alt(Key::Char('a'));
    assert!(desk.shows("nothing new elsewhere"));
    desk.line("/unmute #ops");
    let (number, _) = desk.handed.pop().unwrap();
    desk.tell(Notice::Room { command: number, room: Box::new(room("ops", &["alice", "bob"])) });
    desk.hear("ops", "bob", 2, "alice?");
    assert_eq!(desk.rung.len(), 1);
    assert!(desk.screen()[2].contains("2 @1"));
}

#[test]
fn a_cleared_view_is_empty_until_one_scrolls_back() {
    let mut desk = Desk::joined(80, 24);
    for number in 1..=40 {
        desk.hear("main", "bob", number, &format!("line {number}."));
    }
    desk.tell(Notice::Info { text: "some news".to_owned() });
    desk.line("/clear");
    assert_eq!(desk.shown("line "), 0, "{:#?}", desk.screen());
    assert!(!desk.shows("some news") && desk.commands().is_empty());
    desk.hear("main", "bob", 41, "line 41.");
    assert_eq!((desk.shown("line "), desk.shown("line 41.")), (1, 1));
    // A page back: what stood right before it.
    desk.key(Key::PageUp);
    let screen = desk.screen();
    assert!(screen[21].contains("line 41.") && screen[20].contains("line 40."), "{screen:#?}");
    assert_eq!(desk.shown("line "), 21);
    desk.key(Key::PageUp);
    desk.key(Key::End);
    assert_eq!(desk.shown("line "), 21, "and stays");
    desk.line("/clear");
    desk.alt(Key::Up);
    assert!(desk.shows("line 41.") && desk.shows("line 25."), "whoever chooses sees");
}

#[test]
fn who_is_back_within_seconds_is_told_of_in_one_line() {
    let mut desk = Desk::joined(80, 24);
    let bob = |state| Notice::Member(member("bob", state, NetworkRole::Member));
    desk.tell(bob(MemberState::Left));
    assert!(desk.shows("bob left"));
    desk.hear("main", "carol", 1, "hm");
    desk.wait(2_000);
    desk.tell(bob(MemberState::Away));
    desk.wait(2_000);
    desk.tell(bob(MemberState::Active));
    let (left, away, back) =
        (desk.shown("bob left"), desk.shown("bob is away"), desk.shown("bob is back"));
    assert_eq!((left, away, back, desk.shown("hm")), (0, 0, 1, 1), "{:#?}", desk.screen());
    // Who was gone for longer was gone.
    desk.tell(bob(MemberState::Away));
    desk.wait(60_000);
    desk.tell(bob(MemberState::Active));
    assert_eq!((desk.shown("bob is away"), desk.shown("bob is back")), (1, 2));
}
