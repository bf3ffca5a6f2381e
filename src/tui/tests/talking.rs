//! Screens, rooms, keys and lines.
//! Owns: what a person sees of a talk, and what typing does.
//! Must not know: how it is done.
//! Invariants: screens are compared whole where it matters where things stand.
//! Start reading at: the first test.

use super::*;
use crate::protocol::{About, Deed};
use crate::refusal::{Refusal, Refused};
use crate::tui::state::Question;

fn spoken(columns: u16, rows: u16) -> Desk {
    let mut desk = Desk::joined(columns, rows);
    desk.hear("main", "bob", 1, "good morning");
    desk.hear("main", "carol", 2, "is the backup done, alice?");
    desk.line("yes, since four");
    let (number, command) = desk.handed.pop().unwrap();
    let text = "yes, since four".to_owned();
    assert_eq!(command, Command::Send { room: "main".to_owned(), text });
    let message = message("main", "alice", 3, "yes, since four");
    desk.tell(Notice::Sent { command: number, message });
    desk.tell(Notice::Delivered { id: id(3), to: "bob".to_owned() });
    desk.hear("ops", "bob", 4, "disk at 80 %");
    desk.hear("ops", "bob", 5, "@alice look");
    desk.hear("@bob", "bob", 6, "psst");
    desk
}

#[test]
fn at_eighty_columns_rooms_messages_and_members_stand_side_by_side() {
    assert_screen(
        &spoken(80, 24),
        "
 #main
1 #main      │                                                  │● alice owner
2 #ops   2 @1│                                                  │● bob ✓
3 @bob   1 @1│                                                  │○ carol admin
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │                                                  │
             │-- you are alice in network 01234567; /help lists │
             │   commands                                       │
             │-- leader: carol (term 3)                         │
             │── 2026-11-21 ────────────────────────────────────│
             │09:41 <bob> good morning                          │
             │09:41 <carol> is the backup done, alice?          │
             │09:41 <alice> yes, since four 1/2                 │
 alice · #main · leader carol (term 3) · no links · quorum
#main>",
    );
}

#[test]
fn at_sixty_by_fifteen_the_panes_fold_away_and_rooms_stand_on_top() {
    assert_screen(
        &spoken(60, 15),
        "
 [1 #main]  2 #ops 2 @1  3 @bob 1 @1






-- you are alice in network 01234567; /help lists commands
-- leader: carol (term 3)
── 2026-11-21 ──────────────────────────────────────────────
09:41 <bob> good morning
09:41 <carol> is the backup done, alice?
09:41 <alice> yes, since four 1/2
 alice · #main · leader carol (term 3) · no links · quorum
#main>",
    );
}

#[test]
fn at_a_hundred_and_twenty_columns_there_is_more_room_for_names() {
    let screen = spoken(120, 40).screen();
    assert_eq!(screen.len(), 40);
    assert!(screen[1].starts_with("1 #main             │"), "{}", screen[1]);
    assert!(screen[2].starts_with("2 #ops          2 @1│"), "{}", screen[2]);
    assert!(screen[1].ends_with("│● alice owner"), "{}", screen[1]);
    assert!(screen[37].contains("│09:41 <alice> yes, since four 1/2"), "{}", screen[37]);
}

#[test]
fn any_size_can_be_drawn_and_the_cursor_is_on_the_screen() {
    let mut desk = spoken(80, 24);
    desk.write("a line that is being typed, with 日本語 in it");
    for columns in (1..140).step_by(3) {
        for rows in (1..50).step_by(3) {
            desk.resize(columns, rows);
            let terminal = desk.drawn(true);
            let at = terminal.backend().cursor_position();
            assert!(at.x < columns && at.y < rows, "{at} on {columns}x{rows}");
            desk.key(Key::PageUp);
            desk.key(Key::PageDown);
        }
    }
}

#[test]
fn without_colors_no_cell_has_one_and_with_them_only_the_sixteen() {
    let desk = spoken(80, 24);
    let plain = desk.drawn(false);
    let buffer = plain.backend().buffer();
    assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let colored = desk.drawn(true);
    let basic = |color: Color| !matches!(color, Color::Rgb(..) | Color::Indexed(_));
    assert!(colored.backend().buffer().content().iter().all(|it| basic(it.fg) && basic(it.bg)));
    assert!(colored.backend().buffer().content().iter().any(|it| it.fg != Color::Reset));
}

#[test]
fn a_message_shows_how_far_it_has_come() {
    let mut desk = Desk::joined(140, 24);
    desk.line("hello");
    assert!(desk.shows("<alice> hello …"));
    let (number, _) = desk.handed.pop().unwrap();
    desk.tell(Notice::Sent { command: number, message: message("main", "alice", 1, "hello") });
    assert!(desk.shows("<alice> hello …"));
    desk.tell(Notice::Delivered { id: id(1), to: "bob".to_owned() });
    desk.tell(Notice::Delivered { id: id(1), to: "bob".to_owned() });
    assert!(desk.shows("<alice> hello 1/2"));
    desk.tell(Notice::Delivered { id: id(1), to: "carol".to_owned() });
    assert!(desk.shows("<alice> hello ✓"));
    desk.line("lost");
    let (number, _) = desk.handed.pop().unwrap();
    let refused = Refused::from(Refusal::NotStored);
    desk.tell(Notice::Failed { command: Some(number), refused, is_fatal: false });
    let rows = desk.screen().join(" ");
    assert!(rows.contains("! the message could not be stored"), "{rows}");
    assert!(desk.shows("free some disk space"));
}

#[test]
fn an_unknown_command_is_an_error_and_never_sent_and_two_slashes_are_one() {
    let mut desk = Desk::joined(100, 24);
    desk.line("/wo");
    assert_eq!(desk.commands(), []);
    assert!(desk.shows("error: no such command: /wo; did you mean /who?"));
    desk.line("//wo");
    let text = "/wo".to_owned();
    assert_eq!(desk.commands(), [Command::Send { room: "main".to_owned(), text }]);
    desk.line("/help search");
    assert!(desk.shows("/search [#room] words"));
    desk.line("/help");
    assert!(desk.shows("-- rooms    /rooms /room /join /leave"), "{:#?}", desk.screen());
    assert!(desk.shows("/help all each of them"));
    desk.line("/help all");
    // As many pages as the list has by now.
    for _ in 0..5 {
        if !desk.shows("/leave [#room]") {
            desk.key(Key::PageUp);
        }
    }
    assert!(desk.shows("/leave [#room]") && desk.commands().is_empty());
}

#[test]
fn who_joins_a_room_that_it_is_in_goes_there() {
    let mut desk = spoken(80, 24);
    desk.handed.clear();
    desk.line("/join #ops");
    assert!(desk.shows(" #ops: what runs where") && desk.last_row() == "#ops>");
    assert!(!desk.handed.iter().any(|it| matches!(it.1, Command::Act { .. })), "{:?}", desk.handed);
    desk.line("/join #elsewhere");
    assert!(desk.handed.iter().any(|it| matches!(it.1, Command::Act { .. })), "{:?}", desk.handed);
}

#[test]
fn what_one_types_goes_to_the_room_one_is_in_and_drafts_stay_there() {
    let mut desk = spoken(80, 24);
    desk.write("half a sen");
    desk.alt(Key::Char('2'));
    assert!(desk.shows(" #ops: what runs where") && desk.last_row() == "#ops>");
    desk.line("looking");
    let text = "looking".to_owned();
    let sent = Command::Send { room: "ops".to_owned(), text };
    assert!(desk.commands().contains(&sent));
    desk.ctrl('p');
    assert_eq!(desk.last_row(), "#main> half a sen");
    desk.ctrl('u');
    desk.line("/go @bob");
    assert_eq!(desk.last_row(), "@bob>");
    desk.key(Key::Esc);
    desk.key(Key::Char('1'));
    assert_eq!(desk.last_row(), "#main>");
    desk.alt(Key::Char('9'));
    assert!(desk.shows("there is no such room"));
}

#[test]
fn who_makes_a_room_or_comes_into_one_goes_there() {
    let mut desk = Desk::joined(80, 24);
    for (line, name) in [("/room create lab", "lab"), ("/join #tea code", "tea")] {
        let before = desk.last_row();
        desk.line(line);
        let (number, _) = desk.handed.pop().unwrap();
        assert_eq!(desk.last_row(), before, "not before it is done");
        desk.tell(Notice::Room { command: number, room: Box::new(room(name, &["alice"])) });
        assert_eq!(desk.last_row(), format!("#{name}>"));
    }
    // Somebody there has to let one in first.
    desk.line("/join #closed");
    let (number, _) = desk.handed.pop().unwrap();
    let room = RoomView { is_in: false, ..room("closed", &["bob"]) };
    desk.tell(Notice::Room { command: number, room: Box::new(room) });
    assert_eq!(desk.last_row(), "#tea>");
    desk.line("/room create taken");
    let (number, _) = desk.handed.pop().unwrap();
    let refused = Refused::from(Refusal::NotAllowed);
    desk.tell(Notice::Failed { command: Some(number), refused, is_fatal: false });
    assert_eq!(desk.last_row(), "#tea>");
}

#[test]
fn active_rooms_come_one_after_the_other_mentions_first() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("ops", "bob", 1, "disk at 80 %");
    desk.hear("@bob", "bob", 2, "psst");
    desk.alt(Key::Char('a'));
    assert_eq!(desk.last_row(), "@bob>");
    desk.alt(Key::Char('a'));
    assert_eq!(desk.last_row(), "#ops>");
    desk.alt(Key::Char('a'));
    assert!(desk.shows("nothing new elsewhere"));
}

#[test]
fn where_one_stopped_reading_stands_a_line_until_one_has_answered() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "read");
    desk.alt(Key::Char('2'));
    desk.hear("main", "bob", 2, "not read");
    desk.alt(Key::Char('1'));
    let screen = desk.screen();
    let at = screen.iter().position(|row| row.contains("── new ──")).unwrap();
    assert!(screen[at - 1].contains("> read") && screen[at + 1].contains("> not read"));
    // It is noted for the next start.
    desk.wait(5_000);
    let seen = Command::Seen { room: "main".to_owned(), upto: Some(id(2)) };
    assert!(desk.commands().contains(&seen));
    desk.line("answered");
    assert!(!desk.shows("── new ──"));
}

#[test]
fn what_came_while_away_is_counted_from_the_note() {
    let mut desk = Desk::empty(80, 24);
    desk.tell(Notice::Ready(Ready {
        role: "member",
        name: "alice".to_owned(),
        peer: peer("alice"),
        network: String::new(),
        listen: Vec::new(),
        leader: None,
    }));
    let rooms = vec![room("main", &["alice", "bob"]), room("ops", &["alice", "bob"])];
    desk.answer(
        |it| {
            (*it == Command::Rooms)
                .then_some(|command, rooms, (), ()| Notice::Rooms { command, rooms })
        },
        (rooms, (), ()),
    );
    for (number, command) in std::mem::take(&mut desk.handed) {
        match command {
            Command::Seen { room, .. } => {
                desk.tell(Notice::Seen { command: number, room, upto: Some(id(2)) });
            }
            Command::History { room, .. } => {
                let texts = [(1, "one"), (2, "two"), (3, "three, alice"), (4, "four")];
                let message = |(number, text)| message(&room, "bob", number, text);
                let messages = texts.into_iter().map(message).collect();
                desk.tell(Notice::History { command: number, messages });
            }
            _ => {}
        }
    }
    assert!(desk.shows("2 #ops   2 @1"), "{:#?}", desk.screen());
    assert!(desk.shows("── new ──"));
    assert_eq!(desk.rung, [], "what was missed rings no bell");
}

#[test]
fn tab_completes_commands_names_and_rooms_and_comes_round() {
    let mut desk = spoken(80, 24);
    desk.write("/sear");
    desk.key(Key::Tab);
    assert_eq!(desk.last_row(), "#main> /search");
    desk.ctrl('u');
    desk.write("ca");
    desk.key(Key::Tab);
    assert_eq!(desk.state.editor.text(), "carol: ");
    desk.ctrl('u');
    desk.write("ask ");
    desk.write("@b");
    desk.key(Key::Tab);
    assert_eq!(desk.state.editor.text(), "ask @bob ");
    desk.ctrl('u');
    desk.write("/go o");
    desk.key(Key::Tab);
    assert_eq!(desk.state.editor.text(), "/go ops ");
    desk.ctrl('u');
    desk.write("/a");
    let mut seen = Vec::new();
    loop {
        desk.key(Key::Tab);
        seen.push(desk.state.editor.text());
        if desk.state.editor.text() == "/a" {
            break;
        }
    }
    assert_eq!(seen, ["/accept ", "/alarms ", "/approve ", "/audit ", "/a"]);
    desk.key(Key::BackTab);
    assert_eq!(desk.state.editor.text(), "/audit ");
}

#[test]
fn ctrl_c_clears_and_twice_quits_and_so_does_ctrl_d_on_an_empty_line() {
    let mut desk = Desk::joined(80, 24);
    desk.write("never mind");
    desk.ctrl('c');
    assert!(desk.state.editor.is_empty() && desk.shows("Ctrl+C once more quits"));
    desk.wait(3_000);
    assert_eq!(desk.commands(), []);
    desk.ctrl('c');
    assert_eq!(desk.commands(), []);
    desk.ctrl('c');
    assert!(desk.commands().contains(&Command::Exit) && desk.shows("leaving…"));
    let mut desk = Desk::joined(80, 24);
    desk.write("x");
    desk.ctrl('d');
    assert!(desk.commands().is_empty());
    desk.ctrl('u');
    desk.ctrl('d');
    assert!(desk.commands().contains(&Command::Exit));
}

#[test]
fn several_pasted_lines_are_asked_about_and_one_is_not() {
    let mut desk = Desk::joined(80, 24);
    desk.take(Event::Paste("one line\n".to_owned()));
    assert_eq!(desk.state.editor.text(), "one line");
    desk.ctrl('u');
    desk.take(Event::Paste("rm -rf /\r\nyes\r\n".to_owned()));
    assert_eq!(desk.last_row(), "paste 2 lines as one message? (y/n)");
    desk.key(Key::Enter);
    assert!(desk.commands().is_empty() && desk.state.question.is_some());
    desk.key(Key::Char('n'));
    assert!(desk.state.editor.is_empty());
    desk.take(Event::Paste("a\nb".to_owned()));
    desk.key(Key::Char('y'));
    assert_eq!(desk.state.editor.text(), "a\nb");
    desk.key(Key::Enter);
    let text = "a\nb".to_owned();
    assert_eq!(desk.commands(), [Command::Send { room: "main".to_owned(), text }]);
}

#[test]
fn lines_are_broken_by_alt_enter_and_ctrl_j_and_the_input_grows() {
    let mut desk = Desk::joined(80, 24);
    desk.write("one");
    desk.alt(Key::Enter);
    desk.write("two");
    desk.ctrl('j');
    desk.write("three");
    let screen = desk.screen();
    assert_eq!(&screen[21..], ["#main> one", "two", "three"]);
    desk.key(Key::Up);
    assert_eq!(desk.state.editor.text(), "one\ntwo\nthree");
    desk.key(Key::Enter);
    desk.key(Key::Up);
    assert_eq!(desk.state.editor.text(), "one\ntwo\nthree");
}

#[test]
fn an_authority_that_is_not_known_is_asked_about_on_the_screen() {
    let mut desk = Desk::empty(60, 15);
    let fingerprint = "ab".repeat(32);
    let address = "192.0.2.1:8999".to_owned();
    desk.tell(Notice::ConfirmAuthority { fingerprint: fingerprint.clone(), address });
    let screen = desk.screen().concat();
    assert!(screen.contains(&"ab".repeat(20)) && desk.last_row() == "the same? (yes/no)");
    desk.line("perhaps");
    assert_eq!(desk.commands(), []);
    desk.key(Key::Esc);
    assert!(matches!(desk.state.question, Some((Question::Authority { .. }, _))));
    (0..7).for_each(|_| desk.key(Key::Backspace));
    desk.line("yes");
    assert_eq!(desk.commands(), [Command::TrustAuthority { is_trusted: true }]);
}

#[test]
fn a_mention_rings_once_a_second_and_a_message_to_oneself_alone_does_too() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "malice and palice are words");
    assert_eq!(desk.rung, []);
    for number in 2..500 {
        desk.hear("main", "bob", number, "ALICE!");
    }
    assert_eq!(desk.rung.len(), 1, "a bomb rings once");
    desk.wait(2_000);
    desk.hear("@bob", "bob", 500, "you there?");
    assert_eq!(desk.rung[1], ("@bob".to_owned(), "bob".to_owned(), "you there?".to_owned()));
}

#[test]
fn what_was_missed_is_shown_as_it_comes_in() {
    let mut desk = Desk::joined(110, 24);
    desk.now.wall = NOON.after(Millis(3_600_000));
    for number in 1..=700 {
        desk.hear("main", "bob", number, "missed");
    }
    assert!(desk.shows("catching up: 700 messages, at 2026-11-21 09:52"), "{:#?}", desk.screen());
    // The status says how many others have: from then on there is a bar.
    desk.wait(1_000);
    let is_status = |it: &&(CommandId, Command)| it.1 == Command::Status;
    let command = desk.handed.iter().find(is_status).unwrap().0;
    let status = Status { behind: 1_300, has_quorum: true, ..Status::default() };
    desk.tell(Notice::Status { command, status: Box::new(status.clone()) });
    assert!(desk.shows("catching up ░░░░░░░░░░ 0%: 700 messages, at 2"), "{:#?}", desk.screen());
    for number in 701..=1_355 {
        desk.hear("main", "bob", number, "missed");
    }
    desk.handed.retain(|it| !is_status(&it));
    desk.wait(1_000);
    let command = desk.handed.iter().find(is_status).unwrap().0;
    desk.tell(Notice::Status { command, status: Box::new(Status { behind: 650, ..status }) });
    assert!(desk.shows("catching up █████░░░░░ 50%: 1,355 messages"), "{:#?}", desk.screen());
    desk.wait(6_000);
    assert!(!desk.shows("catching up"));
}

#[test]
fn a_search_shows_what_it_found_and_goes_there() {
    let mut desk = Desk::joined(80, 24);
    desk.ctrl('r');
    assert_eq!(desk.last_row(), "search:");
    desk.line("backup");
    assert!(desk.shows("searching for backup…"));
    let (number, command) = desk.handed.pop().unwrap();
    assert!(
        matches!(&command, Command::Search { room: Some(room), .. } if room == "main"),
        "{command:?}"
    );
    let found = vec![
        message("main", "bob", 90, "the backup failed"),
        message("main", "carol", 40, "no backup today"),
    ];
    desk.tell(Notice::Found { command: number, messages: found });
    assert!(desk.shows("2 with backup") && desk.shows("<carol> no backup today"));
    desk.key(Key::Up);
    desk.key(Key::Enter);
    let (number, command) = desk.handed.pop().unwrap();
    let before = message("main", "carol", 40, "").place();
    assert_eq!(command, Command::Earlier { room: "main".to_owned(), before, last: 200 });
    let messages = (1..40).map(|n| message("main", "bob", n, &format!("number {n}"))).collect();
    desk.tell(Notice::History { command: number, messages });
    let screen = desk.screen();
    assert!(screen[22 - 1].contains("no backup today"), "{screen:#?}");
    assert!(desk.shows("number 39"));
    // Back to the newest, which are read anew.
    desk.key(Key::End);
    let history = Command::History { room: "main".to_owned(), last: 200 };
    assert_eq!(desk.commands(), [history]);
}

#[test]
fn what_ends_leaves_the_screen_by_itself() {
    let mut desk = Desk::joined(80, 24);
    let ends = |number, text: &str, left| {
        let expires_at = Some(Desk::joined(80, 24).now.wall.after(Millis(left)));
        Notice::Message(MessageView { expires_at, ..message("main", "bob", number, text) })
    };
    desk.tell(ends(1, "for two seconds", 2_000));
    desk.tell(ends(2, "for five", 5_000));
    desk.hear("main", "bob", 3, "for ever");
    desk.wait(1_000);
    assert!(desk.shows("for two seconds") && desk.shows("for five"));
    let wake = desk.state.wake_at().unwrap();
    assert!(wake <= desk.now.mono.after(Millis(1_000)), "{wake:?} at {:?}", desk.now.mono);
    desk.wait(1_000);
    assert!(!desk.shows("for two seconds") && desk.shows("for five"), "{:#?}", desk.screen());
    assert!(desk.shows("<bob> (expired)") && !desk.shows("(deleted)"), "nobody deleted it");
    desk.wait(3_000);
    assert!(!desk.shows("for five") && desk.shows("for ever"));
}

/// What is said about a message.
fn about(number: u64, from: &str, text: &str, about: About) -> Notice {
    Notice::Message(MessageView { about, ..message("main", from, number, text) })
}

#[test]
fn a_reply_quotes_an_edit_and_a_deletion_show_and_marks_stand_below() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "is the backup done?\nor not");
    desk.tell(about(2, "carol", "since four", About::Reply(id(1))));
    let talk = |desk: &Desk, from: usize| -> Vec<String> {
        let talk = |row: &String| row.split('│').nth(1).unwrap_or_default().trim_end().to_owned();
        desk.screen()[from..22].iter().map(talk).collect()
    };
    assert_eq!(
        talk(&desk, 18),
        [
            "09:41 <bob> is the backup done?",
            "            or not",
            "09:41 <carol> ↳ bob: is the backup done?",
            "              since four",
        ]
    );
    desk.tell(about(3, "bob", "is the backup of today done?", About::Edit(id(1))));
    // Nobody changes what another wrote.
    desk.tell(about(4, "carol", "mine now", About::Edit(id(1))));
    desk.tell(about(5, "carol", "👍", About::Reaction { to: id(1), is_removed: false }));
    desk.tell(about(6, "bob", "👍", About::Reaction { to: id(1), is_removed: false }));
    desk.tell(about(7, "carol", "+1", About::Reaction { to: id(1), is_removed: false }));
    assert_eq!(
        talk(&desk, 18),
        [
            "09:41 <bob> is the backup of today done? (edited)",
            "            +1 carol   👍 bob, carol",
            "09:41 <carol> ↳ bob: is the backup of today done?",
            "              since four",
        ]
    );
    desk.tell(about(8, "bob", "", About::Deletion(id(1))));
    assert_eq!(
        talk(&desk, 19),
        ["09:41 <bob> (deleted)", "09:41 <carol> ↳ bob: (deleted)", "              since four"]
    );
    assert_eq!(desk.rung, [], "nobody was named");
    desk.tell(about(9, "bob", "{\"q\":1}", About::Application("poll/1".to_owned())));
    assert!(desk.shows("<bob> [7 bytes for poll/1]"));
}

#[test]
fn a_chosen_message_is_meant_by_a_dot() {
    let mut desk = Desk::joined(80, 24);
    for number in 1..=5 {
        desk.hear("main", "bob", number, &format!("number {number}"));
    }
    desk.alt(Key::Up);
    desk.alt(Key::Up);
    assert!(desk.shows("in a command . stands for it"));
    desk.line("/reply . which one?");
    let to = id(4).to_string();
    let deed = Deed::Reply { text: "which one?".to_owned() };
    let room = "main".to_owned();
    assert_eq!(desk.commands(), [Command::Say { room, to, deed }]);
    // Without a choice it is the newest, or the newest of one's own.
    desk.line("mine");
    let (number, _) = desk.handed.pop().unwrap();
    desk.tell(Notice::Sent { command: number, message: message("main", "alice", 6, "mine") });
    desk.hear("main", "bob", 7, "number 7");
    desk.commands();
    desk.line("/edit . mine, too");
    let to = id(6).to_string();
    let deed = Deed::Edit { text: "mine, too".to_owned() };
    let room = "main".to_owned();
    assert_eq!(desk.commands(), [Command::Say { room, to, deed }]);
    desk.line("/react . +1");
    assert!(matches!(&desk.commands()[0], Command::Say { to, .. } if *to == id(7).to_string()));
}

#[test]
fn what_comes_late_is_put_where_everybody_has_it() {
    let mut desk = Desk::joined(80, 24);
    for number in [1, 2, 5, 6, 3] {
        desk.hear("main", "bob", number, &format!("number {number}"));
    }
    let shown = desk.screen().concat();
    let at = |number: u64| shown.find(&format!("number {number}")).unwrap();
    assert!(at(2) < at(3) && at(3) < at(5) && at(5) < at(6));
    // An edit finds its message still.
    desk.tell(about(7, "bob", "number 6, edited", About::Edit(id(6))));
    assert!(desk.shows("number 6, edited (edited)"));
}
