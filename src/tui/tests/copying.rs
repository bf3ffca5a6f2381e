//! What `/copy` puts on the clipboard, and what it says of it.
//! Owns: what a person can rely on.
//! Must not know: terminals.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::protocol::{Doing, InviteState, InviteText, InviteView};
use crate::refusal::{Refusal, Refused};

fn invite(text: &str) -> InviteText {
    InviteText { text: text.to_owned().into(), is_local: false }
}

fn made(command: CommandId, text: &str) -> Notice {
    let view = InviteView {
        id: "0707070707070707".to_owned(),
        state: InviteState::Valid,
        uses: 1,
        used: Some(0),
        name: String::new(),
        room: String::new(),
        issued_at: NOON,
        expires_at: NOON,
        revoked_at: None,
        reason: String::new(),
    };
    Notice::Invite { command: Some(command), invite: Box::new(view), text: Some(invite(text)) }
}

#[test]
fn an_invite_that_is_broken_over_rows_is_copied_whole_and_told_again_at_the_end() {
    let mut desk = Desk::joined(60, 20);
    desk.line("/invite create");
    let (number, _) = desk.handed.pop().unwrap();
    let text = format!("p2pgroup1-{}", "abc123".repeat(60));
    desk.tell(made(number, &text));
    assert!(desk.shows("/copy puts it on the clipboard"), "{:#?}", desk.screen());
    assert!(!desk.shows(&text));
    // Others talk on.
    for n in 0..40 {
        desk.hear("main", "bob", n + 1, "short words only");
    }
    desk.line("/copy");
    assert_eq!(desk.copied, [text.as_str()]);
    assert!(desk.shows("copied 370 characters: p2pgroup1-abc"), "{:#?}", desk.screen());
    assert_eq!(desk.state.invites, [invite(&text)]);
    // Neither a message nor a command of the node.
    assert!(!desk.commands().iter().any(|it| matches!(it, Command::Send { .. })));
}

#[test]
fn messages_and_their_ids_are_copied_harmless_and_nothing_is_copied_by_mistake() {
    let mut desk = Desk::joined(100, 20);
    desk.line("/copy");
    desk.line("/copy last");
    assert!(desk.copied.is_empty() && desk.shows("nothing was said here yet"));
    desk.hear("main", "bob", 1, "see https://example.org/a/long/path?q=1 (now)");
    desk.hear("main", "bob", 2, "rm -rf \u{1b}[201~x\nsecond line\n");
    desk.line("/copy");
    desk.line("/copy last");
    let first = id(1).to_string();
    desk.line(&format!("/copy {first}"));
    desk.line(&format!("/copy id {first}"));
    desk.line("/copy id");
    let expected = [
        "https://example.org/a/long/path?q=1",
        "rm -rf \\u{1b}[201~x\nsecond line",
        "see https://example.org/a/long/path?q=1 (now)",
        &first,
        &id(2).to_string(),
    ];
    assert_eq!(desk.copied, expected);
    desk.copied.clear();
    for (line, why) in [
        ("/copy 0000", "several messages begin with that"),
        ("/copy ffff", "no message here begins with that"),
        ("/copy x", "usage: /copy"),
    ] {
        desk.line(line);
        assert!(desk.shows(why), "{line}: {:#?}", desk.screen());
    }
    desk.hear("main", "bob", 3, &"long ".repeat(12_000));
    desk.line("/copy last");
    assert!(desk.shows("too long for a clipboard"), "{:#?}", desk.screen());
    assert!(desk.copied.is_empty());
    // A command that only begins so is another one.
    desk.line("/copying");
    assert!(desk.copied.is_empty() && desk.shows("did you mean /copy?"), "{:#?}", desk.screen());
}

#[test]
fn a_search_that_takes_its_time_says_for_how_long() {
    let mut desk = Desk::joined(100, 20);
    desk.line("/search walnut");
    assert!(desk.shows("searching for walnut… "), "{:#?}", desk.screen());
    assert!(!desk.shows(" s ─"));
    for seconds in 1..4 {
        let at = desk.state.wake_at().unwrap();
        assert!(at <= desk.now.mono.after(Millis(1_000)));
        desk.wait(1_000);
        assert!(desk.shows(&format!("searching for walnut… {seconds} s")), "{:#?}", desk.screen());
    }
    let (command, _) = desk.handed.pop().unwrap();
    let at =
        |command, done| Notice::Progress { command, doing: Doing::Searching, done, of: 20_000 };
    desk.tell(at(command, 7_000));
    assert!(desk.shows("searching for walnut ███░░░░░░░ 35%"), "{:#?}", desk.screen());
    // Another one: what is heard of the one before concerns nobody any more.
    desk.line("/search hazel");
    let (next, _) = desk.handed.pop().unwrap();
    desk.tell(at(command, 9_000));
    desk.wait(1_000);
    assert!(desk.shows("searching for hazel… 1 s"), "{:#?}", desk.screen());
    let messages = vec![message("main", "bob", 9, "a walnut")];
    desk.tell(Notice::Found { command, messages });
    assert!(desk.shows("searching for hazel… 1 s"), "{:#?}", desk.screen());
    let refused = Refused::from(Refusal::NotStored);
    desk.tell(Notice::Failed { command: Some(next), refused, is_fatal: false });
    assert!(!desk.shows("searching"), "{:#?}", desk.screen());
}

#[test]
fn a_search_that_nobody_waits_for_any_more_wakes_nobody() {
    let mut desk = Desk::joined(100, 20);
    // Whatever else is due is due in whole seconds, too, or later.
    let others = desk.state.wake_at();
    for leave in [Key::Esc, Key::Enter, Key::Tab] {
        desk.line("/search walnut");
        assert!(desk.shows("searching for walnut…") && desk.state.searching.is_some());
        desk.key(leave);
        assert!(!desk.shows("searching for walnut…"), "{leave:?}");
        assert!(desk.state.searching.is_none() && desk.state.wake_at() == others, "{leave:?}");
        let (command, _) = desk.handed.pop().unwrap();
        desk.tell(Notice::Found { command, messages: vec![message("main", "bob", 9, "a walnut")] });
        assert!(!desk.shows("a walnut"), "{:#?}", desk.screen());
    }
}
