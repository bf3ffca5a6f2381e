//! Marks of what was said before a start, and keys bound anew.
//! Owns: what a person sees of both.
//! Must not know: terminals, settings.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::protocol::{DeliveryState, DeliveryView};
use crate::tui::Told;
use crate::tui::bindings::{Bindings, Bound};
use crate::tui::work::{Going, Work};

fn delivery(number: u64, to: &[&str]) -> DeliveryView {
    DeliveryView {
        id: id(number),
        room: "main".to_owned(),
        from: "alice".to_owned(),
        peer: peer("alice"),
        seq: Seq(number),
        sent_at: None,
        state: DeliveryState::Delivered,
        to: to.iter().map(|&name| name.to_owned()).collect(),
        lacks: Vec::new(),
        kept_by: Vec::new(),
    }
}

#[test]
fn what_was_said_before_the_start_gets_its_marks_from_the_store() {
    let mut desk = Desk::joined(100, 20);
    desk.state.open_for_tests(CommandId(9_000));
    let texts = [("alice", "all have it"), ("bob", "hi"), ("alice", "one has it"), ("alice", "no")];
    let messages: Vec<MessageView> = (1..)
        .zip(texts)
        .map(|(number, (from, text))| message("main", from, number, text))
        .collect();
    desk.tell(Notice::History { command: CommandId(9_000), messages });
    let asked = std::mem::take(&mut desk.handed);
    let number = asked.iter().find_map(|(number, command)| match command {
        Command::Deliveries { room, before: None, last: 4 } if room == "main" => Some(*number),
        _ => None,
    });
    let row =
        |desk: &Desk, text: &str| desk.screen().into_iter().find(|row| row.contains(text)).unwrap();
    assert!(!row(&desk, "all have it").contains('✓'));
    desk.tell(Notice::Delivered { id: id(4), to: "carol".to_owned() });
    desk.tell(Notice::Deliveries {
        command: number.unwrap(),
        room: "main".to_owned(),
        deliveries: vec![delivery(1, &["bob", "carol"]), delivery(3, &["bob"]), delivery(4, &[])],
    });
    assert!(row(&desk, "all have it").contains('✓'), "{:#?}", desk.screen());
    assert!(row(&desk, "one has it").contains("1/2"), "{:#?}", desk.screen());
    // What was heard meanwhile is not taken back.
    assert!(row(&desk, "> no").contains("1/2"), "{:#?}", desk.screen());
    // Where nothing is one's own, nothing is asked.
    desk.state.open_for_tests(CommandId(9_001));
    let messages = vec![message("main", "bob", 9, "only bob")];
    desk.tell(Notice::History { command: CommandId(9_001), messages });
    assert!(!desk.commands().iter().any(|it| matches!(it, Command::Deliveries { .. })));
}

#[test]
fn a_key_bound_anew_does_it_and_the_old_one_nothing() {
    let mut desk = Desk::joined(180, 30);
    let bound = |action: &str, preset: &str, key: &str| Bound {
        action: action.to_owned(),
        preset: preset.to_owned(),
        key: key.to_owned(),
        about: "what it does".to_owned(),
    };
    desk.state.bindings = Bindings::new(vec![
        bound("next-room", "ctrl+n", "ctrl+x"),
        bound("redraw", "ctrl+l", "ctrl+l"),
    ]);
    let here = desk.state.here;
    desk.ctrl('n');
    assert_eq!(desk.state.here, here);
    desk.ctrl('x');
    assert_ne!(desk.state.here, here);
    desk.line("/keys");
    assert!(desk.shows("ctrl+x         next-room"), "{:#?}", desk.screen());
    assert!(desk.shows("(instead of ctrl+n)") && desk.shows("redraw"));
    assert!(desk.commands().iter().all(|it| !matches!(it, Command::Send { .. })));
}

fn exporting(done: u64, of: Option<u64>) -> Event {
    let what = "exporting #main".to_owned();
    Event::Going(Going::On(Work { what, done, of }))
}

fn exported() -> Event {
    let lines = vec!["exported 40,000 messages of #main to talk.md".to_owned()];
    Event::Going(Going::Over(Told { lines, errors: Vec::new() }))
}

#[test]
fn an_export_shows_how_far_it_is_once_it_takes_over_a_second_and_one_talks_on() {
    let mut desk = Desk::joined(100, 20);
    desk.line("/export talk.md");
    assert!(desk.commands().is_empty(), "it asks by itself");
    desk.take(exporting(2_000, None));
    desk.wait(900);
    assert!(!desk.shows("exporting"), "{:#?}", desk.screen());
    let wake_at = desk.state.wake_at().unwrap();
    assert!(wake_at <= desk.now.mono.after(Millis(100)));
    desk.wait(100);
    assert!(desk.shows("exporting #main: 2,000…"), "{:#?}", desk.screen());
    desk.take(exporting(0, Some(40_000)));
    assert!(desk.shows("exporting #main ░░░░░░░░░░ 0%"), "{:#?}", desk.screen());
    desk.take(exporting(14_000, Some(40_000)));
    assert!(desk.shows("exporting #main ███░░░░░░░ 35%"), "{:#?}", desk.screen());
    // One talks on, and elsewhere.
    desk.line("/go #ops");
    desk.line("meanwhile");
    let sent = |it: &Command| matches!(it, Command::Send { room, .. } if room == "ops");
    assert!(desk.commands().iter().any(sent));
    desk.take(exported());
    assert!(!desk.shows("exporting") && !desk.shows("exported"), "{:#?}", desk.screen());
    // The answer stands where it was asked for.
    desk.line("/go #main");
    assert!(desk.shows("exported 40,000 messages of #main to talk.md"), "{:#?}", desk.screen());
}

#[test]
fn who_leaves_in_the_middle_of_an_export_is_told_once() {
    let mut desk = Desk::joined(100, 20);
    desk.line("/export talk.md");
    desk.line("/exit");
    assert!(!desk.state.is_leaving);
    assert!(desk.shows("exporting #main is not over; once more leaves"), "{:#?}", desk.screen());
    desk.line("/exit");
    assert!(desk.state.is_leaving);
    // When it is over there is nothing to ask about.
    let mut desk = Desk::joined(100, 20);
    desk.line("/export talk.md");
    desk.take(exported());
    desk.line("/exit");
    assert!(desk.state.is_leaving);
}

#[test]
fn an_export_that_is_not_understood_begins_nothing() {
    let mut desk = Desk::joined(100, 20);
    desk.line("/export talk.pdf");
    assert!(desk.shows("[jsonl|md|txt]"), "{:#?}", desk.screen());
    desk.wait(2_000);
    assert!(desk.state.working.is_none());
    // Steps of one that nobody knows of change nothing.
    desk.take(exporting(2_000, None));
    assert!(desk.state.working.is_none());
}

#[test]
fn tab_completes_what_may_follow_in_a_command() {
    let mut desk = Desk::joined(80, 24);
    let open = RoomView { is_in: false, entry: "free", ..room("orchids", &["bob"]) };
    let gone = RoomView { is_deleted: true, ..open.clone() };
    let gone = RoomView { room: "orbits".to_owned(), ..gone };
    desk.state.due.rooms = Some(desk.now.mono);
    desk.wait(1);
    let asked = desk.handed.iter().find(|(_, it)| *it == Command::Rooms).unwrap().0;
    let rooms = vec![room("main", &["alice"]), room("ops", &["alice"]), open, gone];
    desk.tell(Notice::Rooms { command: asked, rooms });
    for (typed, expected) in [
        ("/join o", "/join orchids "),
        ("/join #o", "/join #orchids "),
        ("/go o", "/go ops "),
        ("/room cr", "/room create "),
        ("/room #ops role b", "/room #ops role bob "),
        ("/room role bob re", "/room role bob reader "),
        ("/code ", "/code rotate "),
        ("/help aud", "/help audit "),
        ("/kick ", "/kick bob "),
        ("/send src/tui/comp", "/send src/tui/complete.rs"),
        ("/send #ops sr", "/send #ops src/"),
        ("/export talk.x m", "/export talk.x md "),
        ("/say #ops ask ca", "/say #ops ask carol "),
        ("/verify bob ", "/verify bob ok "),
    ] {
        desk.ctrl('u');
        desk.write(typed);
        desk.key(Key::Tab);
        assert_eq!(desk.state.editor.text(), expected, "{typed}");
    }
    // A directory that is all there is: what is in it comes next.
    desk.ctrl('u');
    desk.write("/send src/tu");
    desk.key(Key::Tab);
    assert_eq!(desk.state.editor.text(), "/send src/tui/");
    desk.key(Key::Tab);
    assert_eq!(desk.state.editor.text(), "/send src/tui/bell.rs");
}

#[test]
fn where_rooms_are_a_row_the_one_that_one_is_in_is_in_sight() {
    let mut desk = Desk::joined(60, 15);
    let names: Vec<String> = ('a'..='l').map(|c| format!("room-number-{c}")).collect();
    desk.state.due.rooms = Some(desk.now.mono);
    desk.wait(1);
    let asked = desk.handed.iter().find(|(_, it)| *it == Command::Rooms).unwrap().0;
    let mut rooms = vec![room("main", &["alice"])];
    rooms.extend(names.iter().map(|name| room(name, &["alice"])));
    desk.tell(Notice::Rooms { command: asked, rooms });
    assert!(desk.screen()[0].starts_with(" [1 #main]  2 #room-number-a"), "{}", desk.screen()[0]);
    assert!(desk.screen()[0].ends_with('…'));
    for (at, name) in names.iter().enumerate() {
        desk.ctrl('n');
        let head = desk.screen().remove(0);
        let tab = format!("[{} #{name}]", at + 2);
        assert!(head.contains(&tab) && width(&head) <= 60, "{head}");
        assert_eq!(head.starts_with(" … "), !head.contains("#main"), "{head}");
        assert_eq!(
            head.ends_with('…'),
            at + 1 < names.len() && !head.contains("-number-l"),
            "{head}"
        );
    }
}
