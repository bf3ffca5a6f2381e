//! Scrolling through what was said, to its beginning.
//! Owns: that nothing is skipped, shown twice or moved while one reads.
//! Must not know: stores.
//! Invariants: a node is played that has any number of messages.
//! Start reading at: the first test.

use super::*;

const ALL: u64 = 10_000;

fn line(number: u64) -> MessageView {
    message("main", "bob", number, &format!("line {number:05} of many"))
}

/// Gives the pages that are asked for, from messages numbered 1 to `last`.
fn serve(desk: &mut Desk, last: u64) {
    while let Some((number, command)) = desk.handed.pop() {
        let messages = match command {
            Command::History { last: count, .. } => {
                let first = last.saturating_sub(u64::try_from(count).unwrap()) + 1;
                (first..=last).map(line).collect()
            }
            Command::Earlier { before, last: count, .. } => {
                let first = before.seq.0.saturating_sub(u64::try_from(count).unwrap()).max(1);
                (first..before.seq.0).map(line).collect()
            }
            _ => continue,
        };
        desk.tell(Notice::History { command: number, messages });
    }
}

fn numbers(desk: &Desk) -> Vec<u64> {
    let number = |row: &String| row.split("line ").nth(1)?.get(..5)?.parse().ok();
    desk.screen().iter().filter_map(number).collect()
}

fn opened(columns: u16, rows: u16) -> Desk {
    let mut desk = Desk::joined(columns, rows);
    desk.state.rooms[0].is_whole = false;
    desk.take(Event::Woke);
    let number = desk.speech_number();
    desk.state.open_for_tests(number);
    desk.tell(Notice::History { command: number, messages: (ALL - 199..=ALL).map(line).collect() });
    desk
}

impl Desk {
    fn speech_number(&mut self) -> CommandId {
        crate::tui::Door::number(&mut self.speech)
    }
}

#[test]
fn ten_thousand_messages_scroll_by_without_a_gap_or_a_repetition() {
    for (columns, rows) in [(60, 15), (80, 24), (120, 40)] {
        let mut desk = opened(columns, rows);
        let mut seen = numbers(&desk);
        assert_eq!(seen.last(), Some(&ALL));
        let mut presses = 0;
        while seen[0] > 1 {
            desk.key(Key::PageUp);
            serve(&mut desk, ALL);
            let shown = numbers(&desk);
            // One page shows the first row of the page before it again.
            let before: Vec<u64> =
                shown.iter().copied().take_while(|number| *number < seen[0]).collect();
            let expected: Vec<u64> =
                (seen[0] - u64::try_from(before.len()).unwrap()..seen[0]).collect();
            assert_eq!(before, expected, "after {presses} on {columns}x{rows}");
            assert!(!before.is_empty() && shown.windows(2).all(|two| two[0] + 1 == two[1]));
            seen.splice(0..0, before);
            presses += 1;
        }
        assert_eq!(seen, (1..=ALL).collect::<Vec<_>>());
        // At the top it stands still, and the first row of all is the uppermost.
        desk.key(Key::PageUp);
        assert_eq!(numbers(&desk)[0], 1);
        assert!(desk.screen()[1].contains("2026-11-21"), "{:#?}", desk.screen());
        // Down again the same way.
        let mut at = numbers(&desk)[0];
        while numbers(&desk).last() != Some(&ALL) {
            desk.key(Key::PageDown);
            assert!(numbers(&desk)[0] > at, "{at}");
            at = numbers(&desk)[0];
        }
        desk.key(Key::PageDown);
        assert_eq!(desk.state.room().unwrap().scroll, crate::tui::room::Scroll::Bottom);
    }
}

#[test]
fn what_one_reads_stays_where_it_is_while_others_talk() {
    let mut desk = opened(80, 24);
    desk.key(Key::PageUp);
    serve(&mut desk, ALL);
    let talk = |desk: &Desk| -> Vec<String> {
        let talk = |row: &String| row.split('│').nth(1).unwrap_or_default().to_owned();
        desk.screen().iter().map(talk).collect()
    };
    let before = talk(&desk);
    for number in ALL + 1..=ALL + 12 {
        desk.tell(Notice::Message(line(number)));
    }
    assert_eq!(talk(&desk), before);
    assert!(desk.shows("↓ 12 new"), "{:#?}", desk.screen());
    desk.key(Key::End);
    assert_eq!(numbers(&desk).last(), Some(&(ALL + 12)));
    assert!(!desk.shows("new"));
}

#[test]
fn a_message_that_is_longer_than_the_screen_can_be_read_whole() {
    let mut desk = Desk::joined(60, 15);
    let text: Vec<String> = (0..100).map(|n| format!("row {n:03}")).collect();
    desk.hear("main", "bob", 1, &text.join("\n"));
    desk.alt(Key::Up);
    desk.key(Key::Enter);
    desk.key(Key::End);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let rows = desk.screen();
        seen.extend(rows.iter().filter_map(|row| row.split("row ").nth(1).map(str::to_owned)));
        desk.key(Key::PageUp);
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn resizing_keeps_the_place() {
    let mut desk = opened(120, 40);
    for _ in 0..5 {
        desk.key(Key::PageUp);
        serve(&mut desk, ALL);
    }
    let last = *numbers(&desk).last().unwrap();
    for (columns, rows) in [(60, 15), (200, 60), (80, 24), (30, 8), (120, 40)] {
        desk.resize(columns, rows);
        assert_eq!(numbers(&desk).last(), Some(&last), "{columns}x{rows}");
    }
}

#[test]
fn messages_that_came_in_another_order_are_put_in_that_of_the_store() {
    let mut desk = Desk::joined(80, 24);
    // So many that the late ones are not sorted in one by one.
    for number in (100..180).chain([4, 5, 200]) {
        desk.tell(Notice::Message(line(number)));
    }
    desk.line("/help who");
    assert!(numbers(&desk).ends_with(&[179, 4, 5, 200]));
    desk.wait(1_000);
    let (number, command) = desk.handed.pop().unwrap();
    assert!(matches!(command, Command::History { .. }), "{command:?}");
    let messages = [4, 5].into_iter().chain(100..180).chain([200]).map(line).collect();
    desk.tell(Notice::History { command: number, messages });
    assert!(numbers(&desk).ends_with(&[178, 179, 200]));
    assert!(desk.shows("/who"), "what is not stored stays");
}

#[test]
fn memory_is_bounded_while_one_reads_along() {
    let mut desk = Desk::joined(80, 24);
    for number in 1..=12_000 {
        desk.tell(Notice::Message(line(number)));
    }
    let here = desk.state.room().unwrap();
    assert!(here.len() <= 5_000, "{}", here.len());
    desk.key(Key::PageUp);
    desk.handed.clear();
    for _ in 0..260 {
        desk.key(Key::PageUp);
    }
    let before = line(7_001).place();
    let room = "main".to_owned();
    assert_eq!(desk.commands(), [Command::Earlier { room, before, last: 200 }]);
}
