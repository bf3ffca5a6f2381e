//! Tests of line mode: what is read, and what hostile text turns into.
//! Owns: the exact lines that people rely on.
//! Must not know: how the shapes are made.
//! Invariants: a changed line here is a changed promise to users.
//! Start reading at: the first test.

use super::*;
use crate::ids::{CommandId, DeviceKey, NetworkRole, Seq};
use crate::limits::TEXT_BYTES_MAX;
use crate::protocol::{LinkView, MessageId, Transport, WhoisView};

fn style() -> Style {
    Style { is_colored: false, is_quiet: false, clock: Clock::Utc }
}

fn face() -> Face {
    Face::new(style())
}

fn peer(byte: u8) -> PeerId {
    PeerId::of_ed25519(&DeviceKey([byte; 32]))
}

fn message(from: &str, text: &str) -> MessageView {
    MessageView {
        id: MessageId([0; 16]),
        room: MAIN.to_owned(),
        from: from.to_owned(),
        peer: peer(1),
        seq: Seq(1),
        lamport: 1,
        about: crate::protocol::About::Nothing,
        text: text.to_owned(),
        sent_at: Wall(1_795_254_067_250),
        expires_at: None,
        is_own: false,
        is_fork: false,
        missing: 0,
        is_ignored: false,
    }
}

fn member(name: &str, state: MemberState) -> MemberView {
    MemberView {
        is_verified: false,
        is_ignored: false,
        last_seen: None,
        was_before: false,
        name: name.to_owned(),
        peer: peer(2),
        state,
        role: NetworkRole::Member,
        is_self: false,
        is_voter: true,
        is_linked: true,
    }
}

fn leader(term: u64) -> LeaderView {
    LeaderView { name: "carol".to_owned(), peer: peer(3), generation: 0, term }
}

fn shown(face: &mut Face, notice: Notice) -> String {
    let (mut out, mut err) = (String::new(), String::new());
    face.notice(notice, None, &mut out, &mut err);
    assert_eq!(err, "");
    out
}

#[test]
fn a_message_is_time_name_and_text() {
    let out = shown(&mut face(), Notice::Message(message("bob", "hello there")));
    assert_eq!(out, "09:41 <bob> hello there\n");
}

#[test]
fn hostile_text_moves_no_cursor_and_starts_no_line_of_ours() {
    let text = "a\u{1b}[2J\n09:41 <alice> fake\n-- bob left\r\u{9b}\u{202e}";
    let out = shown(&mut face(), Notice::Message(message("b\u{1b}[0m\nob\u{202e}", text)));
    assert!(!out.replace('\n', "").chars().any(char::is_control), "{out}");
    assert!(!out.contains('\u{202e}'));
    let mut lines = out.lines();
    assert!(lines.next().unwrap().starts_with("09:41 <b\\u{1b}[0m\\u{a}ob\\u{202e}> a\\u{1b}[2J"));
    for line in lines {
        assert!(line.starts_with("      "), "{line}");
    }
    let mut notices = face();
    let joined = shown(&mut notices, Notice::Member(member("x\n-- y", MemberState::Active)));
    assert_eq!(joined, "-- x\\u{a}-- y joined\n");
    let info = shown(&mut notices, Notice::Info { text: "a\nb".to_owned() });
    assert_eq!(info, "-- a\\u{a}b\n");
}

#[test]
fn further_lines_stand_under_the_first() {
    let out = shown(&mut face(), Notice::Message(message("bob", "one\n\ttwo\n")));
    assert_eq!(out, "09:41 <bob> one\n                two\n            \n");
    // Wide characters take two columns.
    let out = shown(&mut face(), Notice::Message(message("日本", "one\ntwo")));
    assert_eq!(out, format!("09:41 <日本> one\n{}two\n", " ".repeat(13)));
}

#[test]
fn ten_thousand_lines_do_not_fill_the_screen() {
    let text = "\n".repeat(10_000);
    let out = shown(&mut face(), Notice::Message(message("bob", &text)));
    assert_eq!(out.lines().count(), SHOWN_LINES_MAX + 2);
    assert!(out.trim_end().ends_with("(9800 more lines)"), "{}", out.trim_end());
}

#[test]
fn a_role_is_told_once_as_news_or_as_the_answer() {
    let is_now = "-- bob is now: admin\n";
    let role = |role| Notice::Member(MemberView { role, ..member("bob", MemberState::Active) });
    let answer = || Notice::Wish {
        command: Some(CommandId(1)),
        wish: WishView {
            name: "bob".to_owned(),
            peer: peer(2),
            role: Some(NetworkRole::Admin),
            reason: String::new(),
            state: WishState::Ordered,
        },
    };
    let mut face = face();
    shown(&mut face, role(NetworkRole::Member));
    assert_eq!(shown(&mut face, role(NetworkRole::Admin)), is_now);
    assert_eq!(shown(&mut face, answer()), "", "the news came first");
    assert_eq!(shown(&mut face, answer()), is_now, "asked for once more");
    shown(&mut face, role(NetworkRole::Member));
    assert_eq!(shown(&mut face, answer()), is_now);
    assert_eq!(shown(&mut face, role(NetworkRole::Admin)), "", "the answer came first");
}

#[test]
fn notices_read_as_the_readme_says() {
    let mut face = face();
    let mut state = |state| shown(&mut face, Notice::Member(member("bob", state)));
    assert_eq!(state(MemberState::Active), "-- bob joined\n");
    assert_eq!(state(MemberState::Active), "");
    assert_eq!(state(MemberState::Away), "-- bob is away\n");
    assert_eq!(state(MemberState::Active), "-- bob is back\n");
    assert_eq!(state(MemberState::Left), "-- bob left\n");
    assert_eq!(state(MemberState::Away), "", "gone is gone");
    assert_eq!(state(MemberState::Active), "-- bob is back\n");
    assert_eq!(state(MemberState::Removed), "-- bob was removed\n");
    let mut first = |name: &str, state| {
        let peer = PeerId::of_rsa_spki(name.as_bytes());
        let member = MemberView { was_before: true, peer, ..member(name, state) };
        shown(&mut face, Notice::Member(member))
    };
    assert_eq!(first("dave", MemberState::Active), "-- dave is here\n");
    assert_eq!(first("erin", MemberState::Away), "-- erin is away\n");
    assert_eq!(first("frank", MemberState::Left), "", "before we came");
    let mut leads = |leader| shown(&mut face, Notice::Leader(leader));
    assert_eq!(leads(Some(leader(3))), "-- leader: carol (term 3)\n");
    assert_eq!(leads(Some(leader(3))), "");
    assert!(leads(None).starts_with("-- no leader: "));
    let later = LeaderView { generation: 1, ..leader(4) };
    assert_eq!(leads(Some(later)), "-- leader: carol (term 4, generation 1)\n");
}

#[test]
fn one_is_not_told_about_oneself() {
    let mut face = face();
    let own = MemberView { is_self: true, ..member("alice", MemberState::Active) };
    assert_eq!(shown(&mut face, Notice::Member(own)), "");
    let command = CommandId(1);
    assert_eq!(shown(&mut face, Notice::Sent { command, message: message("alice", "hi") }), "");
}

#[test]
fn quiet_drops_notices_but_no_message_and_no_answer() {
    let mut face = Face::new(Style { is_quiet: true, ..style() });
    assert_eq!(shown(&mut face, Notice::Member(member("bob", MemberState::Active))), "");
    assert_eq!(shown(&mut face, Notice::Leader(Some(leader(1)))), "");
    assert_eq!(shown(&mut face, Notice::Waiting { text: "x".to_owned() }), "");
    assert!(shown(&mut face, Notice::Message(message("bob", "x"))).contains("<bob> x"));
    let members = vec![member("bob", MemberState::Away)];
    let who = shown(&mut face, Notice::Members { command: CommandId(1), members });
    assert_eq!(who, "-- bob: away, voter, linked\n");
}

#[test]
fn colours_are_only_where_asked_for_and_always_end() {
    let mut plain = face();
    assert!(!shown(&mut plain, Notice::Message(message("bob", "x"))).contains('\u{1b}'));
    let mut colored = Face::new(Style { is_colored: true, ..style() });
    let out = shown(&mut colored, Notice::Message(message("bob", "x\ny")));
    assert!(out.contains("\u{1b}[") && out.contains("bob\u{1b}[0m> x\n            y\n"), "{out:?}");
    let out = shown(&mut colored, Notice::Info { text: "x".to_owned() });
    assert_eq!(out, "\u{1b}[2m-- x\u{1b}[0m\n");
}

#[test]
fn history_names_the_days() {
    let mut old = message("bob", "yesterday");
    old.sent_at = Wall(old.sent_at.0 - 24 * 3_600_000);
    let messages = vec![old, message("bob", "today")];
    let out = shown(&mut face(), Notice::History { command: CommandId(1), messages });
    assert_eq!(out, "-- 2026-11-20\n09:41 <bob> yesterday\n-- 2026-11-21\n09:41 <bob> today\n");
    let messages = Vec::new();
    let out = shown(&mut face(), Notice::History { command: CommandId(1), messages });
    assert_eq!(out, "-- nothing was said yet\n");
}

#[test]
fn impossible_times_are_shown_as_none() {
    let mut view = message("bob", "x");
    view.sent_at = Wall(u64::MAX);
    assert_eq!(shown(&mut face(), Notice::Message(view)), "--:-- <bob> x\n");
}

#[test]
fn errors_go_to_the_other_stream() {
    let (mut out, mut err) = (String::new(), String::new());
    let refused = Refusal::NotStored.into();
    let failed = Notice::Failed { command: None, refused, is_fatal: false };
    face().notice(failed, None, &mut out, &mut err);
    assert_eq!(out, "");
    assert!(err.starts_with("error: ") && err.ends_with("[not_stored]\n"));
}

#[test]
fn status_says_that_membership_is_frozen_and_why() {
    let status = Box::new(Status {
        name: "alice".to_owned(),
        frozen_because: "bob and carol are away".to_owned(),
        ..Status::default()
    });
    let out = shown(&mut face(), Notice::Status { command: CommandId(1), status });
    assert!(out.contains("-- quorum: no, membership is frozen: bob and carol are away\n"), "{out}");
    assert!(out.lines().all(|line| line.starts_with("-- ")));
}

fn command(line: &str) -> Option<Command> {
    read(line.as_bytes(), false, &mut MAIN.to_owned()).command.map(|(command, _)| command)
}

fn refusal(line: &[u8]) -> Option<Refusal> {
    match read(line, false, &mut MAIN.to_owned()) {
        Wish { answer: Some(Answer::Failed { refused, .. }), .. } => Some(refused.refusal),
        _ => None,
    }
}

#[test]
fn what_is_typed_is_a_message_or_a_command() {
    let send = |text: &str| Some(Command::Send { room: MAIN.to_owned(), text: text.to_owned() });
    assert_eq!(command("hello\r"), send("hello"));
    assert_eq!(command("//x"), send("/x"));
    assert_eq!(command("/exit"), Some(Command::Exit));
    assert_eq!(command("$exit"), Some(Command::Exit));
    assert_eq!(command("/who"), Some(Command::Members));
    assert_eq!(read(b"", false, &mut MAIN.to_owned()), Wish::default());
    assert_eq!(refusal(b"/nothing"), Some(Refusal::CommandUnknown));
    assert_eq!(refusal(b"\xff\xfe"), Some(Refusal::CommandBad));
    assert_eq!(refusal(&vec![b'x'; TEXT_BYTES_MAX + 1]), Some(Refusal::MessageTooLong));
    assert_eq!(refusal(&vec![b'x'; TEXT_BYTES_MAX]), None);
}

#[test]
fn lines_go_to_the_room_one_goes_to_or_makes() {
    let mut here = MAIN.to_owned();
    for (line, room) in [
        ("/room create lab", "lab"),
        ("/go ops", "ops"),
        ("/join #closed", "ops"),
        ("/room #lab topic tests", "ops"),
    ] {
        read(line.as_bytes(), false, &mut here);
        assert_eq!(here, room, "{line}");
    }
}

#[test]
fn a_question_takes_yes_or_no_and_nothing_else() {
    let trust =
        |line: &[u8]| read(line, true, &mut MAIN.to_owned()).command.map(|(command, _)| command);
    assert_eq!(trust(b"yes"), Some(Command::TrustAuthority { is_trusted: true }));
    assert_eq!(trust(b" No\r"), Some(Command::TrustAuthority { is_trusted: false }));
    for line in [&b"y"[..], b"", b"hello", b"/exit"] {
        assert_eq!(trust(line), None);
        assert!(read(line, true, &mut MAIN.to_owned()).answer.is_some());
    }
    let notice = Notice::ConfirmAuthority {
        fingerprint: "ab12".to_owned(),
        address: "192.0.2.1:8999".to_owned(),
    };
    let out = shown(&mut face(), notice);
    assert!(out.contains("ab12") && out.contains("192.0.2.1:8999") && out.contains("yes/no"));
}

#[test]
fn help_lists_every_command() {
    let helped = |line: &str| {
        let answer = read(line.as_bytes(), false, &mut MAIN.to_owned()).answer.unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        face().answer(&answer, &mut out, &mut err);
        assert_eq!(err, "");
        out
    };
    let (brief, all) = (helped("/help"), helped("/help all"));
    for entry in slash::commands() {
        assert!(all.contains(entry.usage), "{all}");
        // In one topic, once.
        let name = entry.name.split(' ').next().unwrap();
        let named = brief.split_whitespace().filter(|word| *word == format!("/{name}")).count();
        assert!(named == 1 || (name == "help" && named > 1), "{name}: {brief}");
    }
    assert!(brief.lines().count() < 12 && brief.lines().all(|line| line.len() < 80), "{brief}");
}

#[test]
fn what_an_ignored_member_writes_is_no_line_and_an_action_is_one_of_its_own() {
    let mut face = face();
    let hidden = MessageView { is_ignored: true, ..message("bob", "psst") };
    let action = message("bob", "/me waves\n-- and more");
    assert_eq!(shown(&mut face, Notice::Message(hidden.clone())), "");
    assert_eq!(
        shown(&mut face, Notice::Message(action.clone())),
        "09:41 * bob waves\n            -- and more\n"
    );
    let history = |messages| Notice::History { command: CommandId(1), messages };
    assert_eq!(shown(&mut face, history(vec![hidden.clone()])), "-- nothing was said yet\n");
    let both = shown(&mut face, history(vec![hidden.clone(), message("carol", "hi")]));
    assert_eq!(both, "-- 2026-11-21\n09:41 <carol> hi\n");
    let found = Notice::Found { command: CommandId(1), messages: vec![hidden] };
    assert_eq!(shown(&mut face, found), "-- nothing was found\n");
    let about = crate::protocol::About::Reply(action.id);
    let reply = MessageView { about, id: MessageId([1; 16]), ..message("carol", "hello") };
    assert_eq!(
        shown(&mut face, Notice::Message(reply)),
        "09:41 <carol> [to * bob waves\\u{a}-- and more] hello\n"
    );
}

#[test]
fn whois_tells_all_that_is_known_and_who_is_ignored_is_listed() {
    let mut face = face();
    let mut whois = WhoisView {
        member: MemberView {
            is_ignored: true,
            last_seen: Some(Wall(60_000)),
            ..member("bob", MemberState::Away)
        },
        serial: 5,
        not_after: Wall(1_795_254_067_250),
        removed_at: None,
        verified_at: Some(Wall(0)),
        link: Some(LinkView {
            name: "bob".to_owned(),
            transport: Transport::Relay,
            address: String::new(),
            rtt_micros: Some(12_345),
            unacknowledged: 0,
        }),
        rooms: vec!["main".to_owned(), "o\u{1b}ps".to_owned()],
    };
    let told =
        |whois: &WhoisView| Notice::Whois { command: CommandId(1), whois: Box::new(whois.clone()) };
    let lines = shown(&mut face, told(&whois));
    for line in [
        "bob: away, voter, linked, ignored",
        "certificate 5 of the key authority, until 2026-11-21 09:41",
        "verified 1970-01-01 00:00",
        "linked relayed (relay), round trip 12.345 ms",
        "rooms you share: main, o\\u{1b}ps",
        "what it writes is not shown: /unignore bob",
    ] {
        assert!(lines.contains(&format!("-- {line}\n")), "{line}: {lines}");
    }
    assert!(lines.contains(&format!("-- key {}\n", whois.member.peer)), "{lines}");
    whois = WhoisView { link: None, verified_at: None, serial: 0, ..whois };
    let lines = shown(&mut face, told(&whois));
    assert!(lines.contains("-- not linked; last seen 1970-01-01 00:01\n"), "{lines}");
    assert!(lines.contains("-- not verified: /verify bob\n"), "{lines}");
    assert!(lines.contains("-- came by an invite"), "{lines}");
    let mut ignored =
        |members| shown(&mut face, Notice::Ignored { command: CommandId(1), members });
    assert_eq!(ignored(Vec::new()), "-- nobody is ignored\n");
    let members = vec![member("bob", MemberState::Away), member("x\ny", MemberState::Left)];
    assert!(ignored(members).starts_with("-- ignored here: bob, x\\u{a}y; /unignore"));
}
