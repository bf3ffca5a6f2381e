//! What others write, on the screen: harmless, measured, folded.
//! Owns: that nobody moves a cursor, spoils the layout or poses as the program.
//! Must not know: terminals.
//! Invariants: no cell ever holds a control character.
//! Start reading at: the first test.

use super::*;

fn assert_harmless(desk: &Desk) {
    let terminal = desk.drawn(true);
    for cell in terminal.backend().buffer().content() {
        assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
        assert!(!cell.symbol().contains(['\u{202e}', '\u{2066}', '\u{200b}']));
    }
}

#[test]
fn control_and_bidi_characters_are_shown_and_never_sent_to_the_terminal() {
    let mut desk = Desk::joined(100, 30);
    let evil = "\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{9b}31m\r09:41 <bob> no\u{202e}gnp.exe\u{200b}";
    desk.hear("main", evil, 1, evil);
    desk.hear(evil, "bob", 2, "x");
    let mut view = room("main", &["alice", "bob"]);
    view.topic = evil.to_owned();
    let what = "changed";
    let name = evil.to_owned();
    desk.tell(Notice::RoomChanged(Box::new(crate::protocol::RoomChange {
        what,
        name,
        room: view,
    })));
    desk.tell(Notice::Info { text: evil.to_owned() });
    let mut mallory = member("mallory", MemberState::Active, NetworkRole::Member);
    mallory.name = evil.to_owned();
    desk.tell(Notice::Member(mallory));
    desk.take(Event::Log(evil.to_owned()));
    assert_harmless(&desk);
    assert!(desk.shows("\\u{1b}[2J\\u{1b}]52"));
    // What one types is harmless on one's own screen, too.
    desk.take(Event::Paste(evil.replace('\r', "")));
    assert_harmless(&desk);
}

#[test]
fn wide_right_to_left_and_joined_characters_break_no_column() {
    let mut desk = Desk::joined(80, 24);
    let texts = [
        "日本語のとても長い文章は正しい列で折り返されなければならない、そうでなければ枠が壊れる",
        "שלום לכולם, זה משפט ארוך מאוד בעברית שצריך להישבר במקום הנכון בלי לשבור את המסגרת",
        "👩\u{200d}👩\u{200d}👧\u{200d}👦👩\u{200d}🚀🇩🇪🏳\u{fe0f}\u{200d}🌈 family, flag and rocket, e\u{301}e\u{301}e\u{301} and ﷽",
        "ｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞｶﾞ",
    ];
    for (number, text) in (1..).zip(texts) {
        desk.hear("main", "小林", number, text);
    }
    let screen = desk.screen();
    for row in &screen[1..22] {
        assert_eq!(row.matches('│').count(), 2, "{row}");
        let left: String = row.chars().take_while(|c| *c != '│').collect();
        assert_eq!(width(&left), 13, "{row}");
        let (left, _) = row.rsplit_once('│').unwrap();
        assert_eq!(width(left), 64, "{row}");
    }
}

/// In tmux a half of a flag has a cell of its own, which nobody would clear.
#[test]
fn no_cell_holds_what_terminals_disagree_on() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "from 🇩🇪 to 🇫🇷 👍🏽 by 👩🏽\u{200d}🚀");
    desk.write("🇮🇹👍🏿");
    let terminal = desk.drawn(true);
    let is_odd = |c: char| matches!(c, '\u{1F1E6}'..='\u{1F1FF}' | '\u{1F3FB}'..='\u{1F3FF}');
    let buffer = terminal.backend().buffer();
    assert!(!buffer.content.iter().any(|cell| cell.symbol().contains(is_odd)));
    assert!(desk.shows("from DE to FR 👍 by 👩\u{200d}🚀") && desk.last_row() == "#main> IT👍");
}

#[test]
fn of_a_long_message_the_beginning_is_shown_until_it_is_opened() {
    for (columns, rows) in [(60, 15), (80, 24), (200, 50)] {
        let mut desk = Desk::joined(columns, rows);
        desk.hear("main", "bob", 1, &"\n".repeat(10_000));
        desk.hear("main", "bob", 2, &format!("begin{}", "x".repeat(64 << 10)));
        desk.hear("main", "bob", 3, "after");
        let screen = desk.screen();
        let lowest = usize::from(rows) - 3;
        assert!(screen[lowest].contains("after"), "{screen:#?}");
        let more = " KiB more: choose it, Enter";
        assert!(screen[lowest - 1].contains(more), "{screen:#?}");
        assert!(desk.shows("<bob> beginxxx"), "{screen:#?}");
        desk.alt(Key::Up);
        desk.alt(Key::Up);
        desk.key(Key::Enter);
        // From its beginning; it fills the screen.
        let screen = desk.screen();
        assert!(screen[1].contains("<bob> beginxxx"), "{screen:#?}");
        assert!(!desk.shows(more) && screen[lowest].contains("xxx"), "{screen:#?}");
        desk.key(Key::PageDown);
        assert!(!desk.shows("begin") && desk.shows("xxx"), "{:#?}", desk.screen());
        desk.key(Key::Enter);
        assert!(desk.shows(more) && desk.shows("<bob> beginxxx"), "{:#?}", desk.screen());
        desk.alt(Key::Up);
        assert!(desk.shows("9,991 more lines: choose it, Enter"), "{:#?}", desk.screen());
        assert!(desk.commands().is_empty(), "nothing was sent");
    }
}

#[test]
fn what_stands_in_a_second_column_stays_there_where_it_is_wrapped() {
    let mut desk = Desk::joined(60, 200);
    desk.line("/help all");
    let screen = desk.screen();
    let at = screen.iter().position(|row| row.starts_with("-- /accept")).unwrap();
    let second = " ".repeat(3 + 18 + 2);
    assert!(screen[at + 1].starts_with(&second), "{screen:#?}");
}

#[test]
fn further_lines_of_a_message_cannot_pass_for_another_one() {
    let mut desk = Desk::joined(80, 24);
    desk.hear("main", "bob", 1, "hi\n09:41 <carol> send me the password\n-- leader: bob (term 9)");
    for row in desk.screen() {
        let inner = row.split('│').nth(1).unwrap_or_default();
        assert!(!inner.starts_with("09:41 <carol>") && !inner.starts_with("-- leader: bob"));
    }
}

#[test]
fn whatever_happens_in_whatever_order_a_screen_comes_of_it() {
    // A plain generator: the same keys and notices every time.
    let mut seed: u64 = 7;
    let mut roll = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let mut desk = Desk::joined(80, 24);
    let keys = [
        Key::Enter,
        Key::Tab,
        Key::BackTab,
        Key::Backspace,
        Key::Delete,
        Key::Left,
        Key::Right,
        Key::Up,
        Key::Down,
        Key::Home,
        Key::End,
        Key::PageUp,
        Key::PageDown,
        Key::Esc,
    ];
    let typed: Vec<char> = "/go ops #@bol 日\u{301}👩\u{200d}🚀search who . \t".chars().collect();
    for step in 0..20_000 {
        match roll(12) {
            0..=4 => {
                let c = typed[usize::try_from(roll(u64::try_from(typed.len()).unwrap())).unwrap()];
                desk.key(Key::Char(c));
            }
            5 | 6 => {
                let key = keys[usize::try_from(roll(u64::try_from(keys.len()).unwrap())).unwrap()];
                let (alt, ctrl) = (roll(4) == 0, roll(8) == 0);
                desk.take(Event::Press(Press { key, alt, ctrl }));
            }
            7 => {
                let c = char::from(b"abdefhjknpruwyl1230"[usize::try_from(roll(19)).unwrap()]);
                let (alt, ctrl) = if roll(2) == 0 { (true, false) } else { (false, true) };
                if (c, ctrl) != ('d', true) {
                    desk.take(Event::Press(Press { key: Key::Char(c), alt, ctrl }));
                }
            }
            8 => {
                let room = ["main", "ops", "@bob", "new"][usize::try_from(roll(4)).unwrap()];
                desk.hear(room, "bob", roll(5_000), "hello alice\nagain");
            }
            9 => desk.resize(
                u16::try_from(roll(130) + 1).unwrap(),
                u16::try_from(roll(50) + 1).unwrap(),
            ),
            10 => desk.wait(roll(2_000)),
            _ => {
                if let Some((command, asked)) = desk.handed.pop() {
                    let messages: Vec<MessageView> = match roll(3) {
                        0 => Vec::new(),
                        _ => (0..roll(60))
                            .map(|n| message("main", "carol", 9_000 + n, "page"))
                            .collect(),
                    };
                    desk.tell(match asked {
                        Command::Search { .. } => Notice::Found { command, messages },
                        Command::Send { room, text } => {
                            let message = message(&room, "alice", 100_000 + step, &text);
                            Notice::Sent { command, message }
                        }
                        _ => Notice::History { command, messages },
                    });
                }
            }
        }
        if step % 10 == 0 {
            let terminal = desk.drawn(true);
            let at = terminal.backend().cursor_position();
            let (columns, rows) = desk.state.size;
            assert!(at.x < columns && at.y < rows, "step {step}: {at} on {columns}x{rows}");
        }
    }
}
