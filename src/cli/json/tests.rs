//! Tests of the `--json` contract: golden lines out, commands in.
//! Owns: the exact shapes that scripts rely on.
//! Must not know: how the shapes are made.
//! Invariants: a changed line here is a changed promise to users.
//! Start reading at: the first test.

use bytes::Bytes;

use super::*;
use crate::cli::slash::Slash;
use crate::ids::{CommandId, DeviceKey, Hash, Incarnation, Index, PeerId, Seq};
use crate::protocol::{
    AlarmView, ClockView, EvidenceView, LeaderView, Link, LinkView, MemberState, MemberView,
    MessageId, MessageView, Ready, SeenAt, SeenView, Status, Transport, Vantage, VerifyView,
    WhoisView,
};

fn face() -> Face {
    Face::new(|| Wall(1_795_254_067_250))
}

fn peer() -> PeerId {
    PeerId::of_ed25519(&DeviceKey([7; 32]))
}

fn message(text: &str) -> MessageView {
    MessageView {
        id: MessageId([0xab; 16]),
        room: MAIN.to_owned(),
        from: "alice".to_owned(),
        peer: peer(),
        seq: Seq(7),
        lamport: 1,
        about: crate::protocol::About::Nothing,
        text: text.to_owned(),
        sent_at: Wall(1_795_254_067_249),
        expires_at: None,
        is_own: false,
        is_fork: false,
        missing: 0,
        is_ignored: false,
    }
}

fn leader() -> LeaderView {
    LeaderView { name: "carol".to_owned(), peer: peer(), generation: 0, term: 3 }
}

fn member() -> MemberView {
    MemberView {
        is_verified: false,
        is_ignored: false,
        last_seen: None,
        was_before: false,
        name: "bob".to_owned(),
        peer: peer(),
        state: MemberState::Away,
        role: crate::ids::NetworkRole::Admin,
        is_self: false,
        is_voter: true,
        is_linked: false,
    }
}

fn asked(reference: &str) -> Option<Asked> {
    Some(Asked { reference: Some(reference.to_owned()), question: Question::Plain })
}

fn by_slash(line: &str) -> Option<Asked> {
    let slash = slash::parse(line, MAIN).unwrap();
    let question = Question::Slash { line: line.to_owned(), slash };
    Some(Asked { reference: Some("r".to_owned()), question })
}

/// The line, with what every event shares checked and cut off.
fn shown(notice: Notice, asked: Option<Asked>) -> String {
    let mut out = Vec::new();
    face().notice(notice, asked, &mut out);
    cut(out)
}

fn cut(out: Vec<u8>) -> String {
    let text = String::from_utf8(out).unwrap();
    let mut lines = Vec::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["event"].is_string(), "{line}");
        assert_eq!(value["at"], "2026-11-21T09:41:07.250Z", "{line}");
        let line = line.replace("\"at\":\"2026-11-21T09:41:07.250Z\"", "\"at\":…");
        lines.push(line.replace(&peer().to_string(), "PEER"));
    }
    assert!(text.ends_with('\n'));
    lines.join("\n")
}

#[test]
fn a_message_has_the_fields_that_scripts_rely_on() {
    assert_eq!(
        shown(Notice::Message(message("hi")), None),
        "{\"event\":\"message\",\"at\":…,\"id\":\"abababababababababababababababab\",\
         \"room\":\"main\",\"from\":\"alice\",\"peer_id\":\"PEER\",\"seq\":7,\"lamport\":1,\
         \"text\":\"hi\",\
         \"sent_at\":\"2026-11-21T09:41:07.249Z\"}"
    );
}

#[test]
fn the_answer_to_send_echoes_its_ref() {
    let sent = |asked| shown(Notice::Sent { command: CommandId(1), message: message("hi") }, asked);
    assert_eq!(
        sent(asked("x\"1")),
        "{\"event\":\"sent\",\"at\":…,\"id\":\"abababababababababababababababab\",\
         \"room\":\"main\",\"seq\":7,\"text\":\"hi\",\"ref\":\"x\\\"1\"}"
    );
    assert!(!sent(None).contains("ref"));
}

#[test]
fn delivered_leader_and_member_have_their_fields() {
    let id = MessageId([1; 16]);
    assert_eq!(
        shown(Notice::Delivered { id, to: "bob".to_owned() }, None),
        "{\"event\":\"delivered\",\"at\":…,\"id\":\"01010101010101010101010101010101\",\"to\":\"bob\"}"
    );
    assert_eq!(
        shown(Notice::Leader(Some(leader())), None),
        "{\"event\":\"leader\",\"at\":…,\"name\":\"carol\",\"peer_id\":\"PEER\",\"generation\":0,\
         \"term\":3}"
    );
    assert_eq!(
        shown(Notice::Leader(None), None),
        "{\"event\":\"leader\",\"at\":…,\"name\":null,\"peer_id\":null,\"generation\":null,\
         \"term\":null}"
    );
    assert_eq!(
        shown(Notice::Member(member()), None),
        "{\"event\":\"member\",\"at\":…,\"name\":\"bob\",\"peer_id\":\"PEER\",\"state\":\"away\",\
         \"role\":\"admin\",\"verified\":false}"
    );
}

#[test]
fn ready_says_what_its_role_has() {
    let ready = |role: &'static str, leader| {
        let (name, network) = match role {
            "member" => ("alice".to_owned(), "aa".to_owned()),
            _ => (String::new(), String::new()),
        };
        let listen = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
        Notice::Ready(Ready { role, name, peer: peer(), network, listen, leader })
    };
    assert_eq!(
        shown(ready("member", Some(leader())), None),
        "{\"event\":\"ready\",\"at\":…,\"role\":\"member\",\"name\":\"alice\",\"peer_id\":\"PEER\",\
         \"network\":\"aa\",\"listen\":[\"/ip4/127.0.0.1/tcp/1\"],\"leader\":\"carol\",\"term\":3}"
    );
    assert!(shown(ready("member", None), None).ends_with("\"leader\":null,\"term\":null}"));
    assert_eq!(
        shown(ready("bootstrap", None), None),
        "{\"event\":\"ready\",\"at\":…,\"role\":\"bootstrap\",\"peer_id\":\"PEER\",\
         \"listen\":[\"/ip4/127.0.0.1/tcp/1\"]}"
    );
}

#[test]
fn an_error_has_code_message_hint_and_whether_it_ends_all() {
    let refused = Refused::new(Refusal::NameTaken, "alice");
    let failed = Notice::Failed { command: None, refused, is_fatal: true };
    assert_eq!(
        shown(failed, None),
        "{\"event\":\"error\",\"at\":…,\"code\":\"name_taken\",\
         \"message\":\"the name is taken by another key: alice\",\
         \"hint\":\"choose another name, or use the home directory that holds this name's key\",\
         \"retryable\":false,\"fatal\":true}"
    );
    let refused = Refused::from(Refusal::NotStored);
    let failed = Notice::Failed { command: Some(CommandId(1)), refused, is_fatal: false };
    assert!(shown(failed, asked("7")).ends_with("\"fatal\":false,\"ref\":\"7\"}"));
}

#[test]
fn history_is_marked_and_its_end_is_told() {
    let question = Question::History { room: MAIN.to_owned() };
    let asked = Some(Asked { reference: None, question });
    let messages = vec![message("one"), message("two")];
    let text = shown(Notice::History { command: CommandId(1), messages }, asked);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("\"text\":\"one\"") && lines[0].ends_with("\"history\":true}"));
    assert!(lines[1].contains("\"text\":\"two\"") && lines[1].ends_with("\"history\":true}"));
    assert_eq!(lines[2], "{\"event\":\"history\",\"at\":…,\"room\":\"main\",\"count\":2}");
}

fn status() -> Status {
    let link = Link {
        transport: Transport::Quic,
        address: "/ip4/127.0.0.1/udp/1/quic-v1".to_owned(),
        is_outbound: true,
    };
    Status {
        name: "alice".to_owned(),
        network: "aa".to_owned(),
        members: vec![member()],
        leader: Some(leader()),
        role: "follower",
        ballot: "0.3.1@x".to_owned(),
        voters: vec!["alice".to_owned(), "witness".to_owned()],
        has_quorum: false,
        frozen_because: "bob is away".to_owned(),
        control_last: Index(9),
        control_commit: Index(8),
        listen: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        vantage: Vantage {
            seen_at: vec![SeenView {
                by: "bob".to_owned(),
                seen: SeenAt { address: "/ip4/192.0.2.7/tcp/5".to_owned(), is_outbound: true },
            }],
            clocks: vec![ClockView { name: "bob".to_owned(), ahead: -61_000 }],
        },
        links: vec![LinkView {
            name: "bob".to_owned(),
            transport: link.transport,
            address: link.address,
            rtt_micros: Some(1_250),
            unacknowledged: 2,
        }],
        links_wanted: 1,
        bootstrap: true,
        queued: 5,
        behind: 6,
        vector: vec![("bob".to_owned(), Incarnation(1), Seq(4), Hash::ZERO)],
        keeping: None,
    }
}

#[test]
fn status_tells_everything() {
    let status = Box::new(status());
    let text = shown(Notice::Status { command: CommandId(1), status }, asked("s"));
    assert_eq!(
        text,
        "{\"event\":\"status\",\"at\":…,\"ref\":\"s\",\"name\":\"alice\",\"network\":\"aa\",\
         \"role\":\"follower\",\"leader\":{\"name\":\"carol\",\"peer_id\":\"PEER\",\
         \"generation\":0,\"term\":3},\"ballot\":\"0.3.1@x\",\"voters\":[\"alice\",\"witness\"],\
         \"quorum\":false,\"frozen_because\":\"bob is away\",\"control\":{\"last\":9,\
         \"committed\":8},\"members\":[{\"name\":\"bob\",\"peer_id\":\"PEER\",\"state\":\"away\",\
         \"role\":\"admin\",\"self\":false,\"voter\":true,\"linked\":false,\"verified\":false}],\
         \"listen\":[\"/ip4/127.0.0.1/tcp/1\"],\"seen_at\":[{\"by\":\"bob\",\
         \"address\":\"/ip4/192.0.2.7/tcp/5\",\"dialled\":true}],\"clocks\":[{\"name\":\"bob\",\
         \"ahead_ms\":-61000}],\"links\":[{\"name\":\"bob\",\
         \"transport\":\"quic\",\"address\":\"/ip4/127.0.0.1/udp/1/quic-v1\",\"rtt_ms\":1.25,\
         \"queued\":2}],\"links_wanted\":1,\"bootstrap\":true,\"queued\":5,\"behind\":6,\"vector\":[{\"from\":\"bob\",\
         \"incarnation\":\"0000000000000001\",\"seq\":4,\"hash\":\
         \"0000000000000000000000000000000000000000000000000000000000000000\"}]}"
    );
    // Who asks for the leader alone is told as of a new one.
    let wish = || read(b"{\"cmd\":\"leader\",\"ref\":\"7\"}").command.unwrap();
    assert_eq!(wish().0, Command::Status);
    for (leader, fields) in [
        (Some(leader()), "\"name\":\"carol\",\"peer_id\":\"PEER\",\"generation\":0,\"term\":3"),
        (None, "\"name\":null,\"peer_id\":null,\"generation\":null,\"term\":null"),
    ] {
        let status = Box::new(Status { leader, ..self::status() });
        let text = shown(Notice::Status { command: CommandId(1), status }, wish().1);
        assert_eq!(text, format!("{{\"event\":\"leader\",\"at\":…,{fields},\"ref\":\"7\"}}"));
    }
    let keeping = Some(crate::protocol::KeepView { deposits: 3, bytes: 5_000, quota: 65_536 });
    let keeper = Box::new(Status { keeping, ..self::status() });
    let text = shown(Notice::Status { command: CommandId(1), status: keeper }, asked("s"));
    assert!(
        text.ends_with(",\"keeping\":{\"deposits\":3,\"bytes\":5000,\"quota\":65536}}"),
        "{text}"
    );
}

#[test]
fn links_between_others_say_who_told_of_them_and_hold_no_address() {
    let told = crate::protocol::ToldLink {
        between: ["bob".to_owned(), "carol".to_owned()],
        is_relayed: true,
        rtt_micros: Some(20_500),
        told_by: vec!["carol".to_owned()],
    };
    let unmeasured = crate::protocol::ToldLink { rtt_micros: None, ..told.clone() };
    let links = Box::new(crate::protocol::LinksView {
        own: status().links,
        others: vec![told, unmeasured],
        untold: vec!["dave".to_owned()],
    });
    let notice = Notice::Links { command: CommandId(1), links };
    let other = |rtt: &str| {
        format!(
            "{{\"from\":\"bob\",\"name\":\"carol\",\"direct\":false,\"rtt_ms\":{rtt},\
             \"told_by\":[\"carol\"]}}"
        )
    };
    let data = format!(
        "\"links\":[{{\"name\":\"bob\",\"transport\":\"quic\",\
         \"address\":\"/ip4/127.0.0.1/udp/1/quic-v1\",\"rtt_ms\":1.25,\"queued\":2}}],\
         \"others\":[{},{}],\"untold\":[\"dave\"]",
        other("20.5"),
        other("null")
    );
    assert_eq!(
        shown(notice.clone(), asked("s")),
        format!("{{\"event\":\"links\",\"at\":…,\"ref\":\"s\",{data}}}")
    );
    let result = shown(notice, by_slash("/links"));
    assert!(result.ends_with(&format!("\"ok\":true,\"data\":{{{data}}}}}")), "{result}");
}

#[test]
fn slash_commands_are_answered_by_results() {
    let members = vec![member()];
    let who = shown(Notice::Members { command: CommandId(1), members }, by_slash("/who"));
    assert!(who.starts_with(
        "{\"event\":\"result\",\"at\":…,\"line\":\"/who\",\"ref\":\"r\",\"ok\":true,\
         \"data\":{\"members\":[{\"name\":\"bob\""
    ));
    let status_of = |line| {
        let status = Box::new(status());
        shown(Notice::Status { command: CommandId(1), status }, by_slash(line))
    };
    assert!(status_of("/leader").ends_with(
        "\"data\":{\"leader\":{\"name\":\"carol\",\"peer_id\":\"PEER\",\"generation\":0,\"term\":3}}}"
    ));
    assert!(status_of("/status").contains("\"quorum\":false"));
    let messages = vec![message("one")];
    let history = Notice::History { command: CommandId(1), messages };
    let text = shown(history, by_slash("/history 3"));
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("\"data\":{\"messages\":[{\"id\":\"ab"));
    let sent = Notice::Sent { command: CommandId(1), message: message("/x") };
    let text = shown(sent, by_slash("//x"));
    assert!(text.contains("\"event\":\"sent\"") && text.contains("\"event\":\"result\""));
    let refused = Refusal::NotStored.into();
    let failed = Notice::Failed { command: Some(CommandId(1)), refused, is_fatal: false };
    let text = shown(failed, by_slash("//x"));
    assert!(text.contains("\"ok\":false,\"error\":{\"code\":\"not_stored\""), "{text}");
}

#[test]
fn safety_words_and_alarms_have_their_fields() {
    let peer = peer();
    let words = vec!["apple".to_owned(), "zoo".to_owned()];
    let verify = VerifyView { name: "bob".to_owned(), peer, words, verified_at: Some(Wall(0)) };
    assert_eq!(
        shown(Notice::Verify { command: CommandId(1), verify }, None),
        "{\"event\":\"verify\",\"at\":…,\"name\":\"bob\",\"peer_id\":\"PEER\",\
         \"words\":[\"apple\",\"zoo\"],\"verified\":true,\
         \"verified_at\":\"1970-01-01T00:00:00.000Z\"}"
    );
    let one = |serial: u64| EvidenceView {
        name: "bob".to_owned(),
        peer,
        serial,
        credential: Bytes::from_static(&[0x0a, 0xff]),
    };
    let alarm = AlarmView {
        code: "second_certificate",
        name: "bob".to_owned(),
        message: "why".to_owned(),
        is_verified: true,
        at: Wall(0),
        evidence: vec![one(3), one(7)],
        entries: Vec::new(),
    };
    let orders = AlarmView { entries: vec![Bytes::from_static(&[0x0b]); 2], ..alarm.clone() };
    let orders = shown(Notice::Alarm(Box::new(orders)), None);
    assert!(orders.ends_with("}],\"entries\":[\"0b\",\"0b\"]}"), "{orders}");
    assert_eq!(
        shown(Notice::Alarm(Box::new(alarm)), None),
        "{\"event\":\"alarm\",\"at\":…,\"code\":\"second_certificate\",\"name\":\"bob\",\
         \"message\":\"why\",\"verified\":true,\"since\":\"1970-01-01T00:00:00.000Z\",\
         \"evidence\":[{\"name\":\"bob\",\"peer_id\":\"PEER\",\"serial\":3,\"credential\":\"0aff\"},\
         {\"name\":\"bob\",\"peer_id\":\"PEER\",\"serial\":7,\"credential\":\"0aff\"}]}"
    );
    let asked = |line: &str| read(line.as_bytes()).command.map(|(command, _)| command);
    let verify = |is_verified| {
        let name = "bob".to_owned();
        Some(Command::People(PeopleCommand::Verify { name, is_verified }))
    };
    assert_eq!(asked(r#"{"cmd":"verify","name":"bob"}"#), verify(None));
    assert_eq!(asked(r#"{"cmd":"verify","name":"bob","verified":true}"#), verify(Some(true)));
    assert_eq!(asked(r#"{"cmd":"verify"}"#), None);
    assert_eq!(asked(r#"{"cmd":"alarms","name":"bob"}"#), None);
    let delivery = Some(Command::Delivery { id: "12ab".to_owned() });
    assert_eq!(asked(r#"{"cmd":"info","id":"12ab"}"#), delivery);
    assert_eq!(asked(r#"{"cmd":"info"}"#), None);
}

#[test]
fn every_slash_command_of_the_help_has_an_answer_in_json() {
    for entry in slash::commands() {
        let name = entry.name;
        let words = match name {
            "search" | "topic" | "verify" | "send" | "me" | "whois" | "ignore" | "unignore" => {
                " word"
            }
            "export" => " talk.md",
            "info" | "delete" | "get" | "drop" => " 12ab",
            "reply" | "edit" | "react" | "unreact" => " last word",
            "say" => " #ops word",
            "msg" => " bob word",
            "room create" | "room invite" | "room forgive" | "join" | "kick" => " bob",
            "room role" | "role" => " bob admin",
            "remove" | "refuse" => " bob",
            "invite" => " create",
            "room set" => continue,
            // Which room a line is about is in the line; keys are of the screen.
            "go" | "keys" | "clear" | "copy" => continue,
            _ => "",
        };
        let line = format!("{{\"cmd\":\"slash\",\"line\":\"/{name}{words}\",\"ref\":\"r\"}}");
        let wish = read(line.as_bytes());
        let is_refused = matches!(wish.answer, Some(Answer::SlashFailed { .. }));
        assert!(
            !is_refused
                && (wish.command.is_some() || wish.answer.is_some() || wish.export.is_some()),
            "{line}"
        );
    }
}

#[test]
fn hostile_text_is_the_same_text_but_disturbs_no_terminal() {
    let hostile =
        "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}evil\u{2028}\r\n\t\"\\ \u{e0001} żółw 日本 👩\u{200d}🚀";
    let mut view = message(hostile);
    view.from = "\u{1b}]0;x\u{7}".to_owned();
    let mut out = Vec::new();
    face().notice(Notice::Message(view), None, &mut out);
    let line = String::from_utf8(out).unwrap();
    assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{line}");
    assert!(!line.contains(['\u{202e}', '\u{2028}', '\u{e0001}']));
    assert!(line.contains("żółw 日本"));
    let back: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(back["text"], hostile);
    assert_eq!(back["from"], "\u{1b}]0;x\u{7}");
}

#[test]
fn stamps_are_rfc_3339_however_they_are_reached() {
    let mut stamp = Stamp::default();
    for wall in [0, 1, 999, 1_000, 1_795_254_067_250, 1_795_254_067_009, u64::MAX, u64::MAX - 1] {
        assert_eq!(stamp.of(Wall(wall)), Wall(wall).rfc3339());
    }
}

fn command(line: &str) -> Command {
    let wish = read(line.as_bytes());
    assert_eq!(wish.answer, None, "{line}");
    wish.command.unwrap().0
}

#[test]
fn commands_are_understood() {
    let send =
        |room: &str, text: &str| Command::Send { room: room.to_owned(), text: text.to_owned() };
    assert_eq!(command("{\"cmd\":\"send\",\"room\":\"x\",\"text\":\"hi\"}"), send("x", "hi"));
    assert_eq!(command(" {\"text\":\"\\u0041\\n\", \"cmd\":\"send\"} "), send(MAIN, "A\n"));
    assert_eq!(command("{\"cmd\":\"status\"}\r"), Command::Status);
    assert_eq!(command("{\"cmd\":\"members\"}"), Command::Members);
    assert_eq!(command("{\"cmd\":\"links\"}"), Command::Links);
    assert_eq!(command("{\"cmd\":\"exit\"}"), Command::Exit);
    let history = |last| Command::History { room: MAIN.to_owned(), last };
    assert_eq!(command("{\"cmd\":\"history\",\"room\":\"main\",\"last\":5}"), history(5));
    assert_eq!(command("{\"cmd\":\"history\"}"), history(HISTORY_DEFAULT));
    assert_eq!(command("{\"cmd\":\"slash\",\"line\":\"/history 3\"}"), history(3));
    assert_eq!(command("{\"cmd\":\"slash\",\"line\":\"//who\"}"), send(MAIN, "/who"));
    let wish = read(b"{\"cmd\":\"send\",\"text\":\"hi\",\"ref\":\"7\"}");
    assert_eq!(wish.command.unwrap().1, asked("7"));
    assert_eq!(read(b"{\"cmd\":\"send\",\"text\":\"hi\"}").command.unwrap().1, None);
    let wish = read(b"{\"cmd\":\"slash\",\"line\":\"/who\",\"ref\":\"r\"}");
    let (_, asked) = wish.command.unwrap();
    assert_eq!(asked, by_slash("/who"));
    assert!(matches!(
        asked.unwrap().question,
        Question::Slash { slash: Slash::Do(Command::Members), .. }
    ));
}

#[test]
fn a_line_that_is_none_of_these_is_an_error_and_changes_nothing() {
    let long_ref = format!("{{\"cmd\":\"exit\",\"ref\":\"{}\"}}", "x".repeat(300));
    let many = format!("{{\"cmd\":\"history\",\"last\":{}}}", HISTORY_MAX + 1);
    for line in [
        "",
        "hello",
        "7",
        "null",
        "[\"exit\"]",
        "{",
        "{}",
        "{\"cmd\":7}",
        "{\"cmd\":\"exitt\"}",
        "{\"cmd\":\"exit\"} x",
        "{\"cmd\":\"exit\"}{\"cmd\":\"exit\"}",
        "{\"cmd\":\"exit\",\"cmd\":\"exit\"}",
        "{\"cmd\":\"exit\",\"now\":true}",
        "{\"cmd\":\"exit\",\"text\":\"x\"}",
        "{\"cmd\":\"send\"}",
        "{\"cmd\":\"send\",\"text\":7}",
        "{\"cmd\":\"send\",\"text\":\"x\",\"last\":1}",
        "{\"cmd\":\"send\",\"text\":\"\\ud800\"}",
        "{\"cmd\":\"history\",\"last\":-1}",
        "{\"cmd\":\"history\",\"last\":1.5}",
        "{\"cmd\":\"slash\"}",
        &long_ref,
        &many,
    ] {
        let wish = read(line.as_bytes());
        assert_eq!(wish.command, None, "{line}");
        let Some(Answer::Failed { refused, .. }) = wish.answer else { panic!("{line}") };
        assert_eq!(refused.refusal, Refusal::CommandBad, "{line}");
    }
    assert!(read(b"{\"cmd\":\"send\",\"text\":\"\xff\"}").command.is_none());
    let Some(Answer::Failed { refused, reference }) =
        read(b"{\"cmd\":\"stats\",\"ref\":\"9\"}").answer
    else {
        panic!()
    };
    assert!(refused.detail.contains("did you mean \"status\"?"));
    assert_eq!(reference.as_deref(), Some("9"));
}

#[test]
fn a_page_before_a_message_and_the_mark_of_what_was_read_are_asked_for() {
    let before = message("x").place();
    let line = format!(
        r#"{{"cmd":"history","last":5,"before":"{}.{}.{}"}}"#,
        before.id, before.peer, before.seq.0
    );
    assert_eq!(command(&line), Command::Earlier { room: MAIN.to_owned(), before, last: 5 });
    let room = MAIN.to_owned();
    assert_eq!(
        command(&line.replace("history", "deliveries")),
        Command::Deliveries { room, before: Some(before), last: 5 }
    );
    assert_eq!(
        command(&format!(r#"{{"cmd":"seen","room":"ops","id":"{}"}}"#, before.id)),
        Command::Seen { room: "ops".to_owned(), upto: Some(before.id) }
    );
    let asks = command(r#"{"cmd":"seen"}"#);
    assert_eq!(asks, Command::Seen { room: MAIN.to_owned(), upto: None });
    for bad in [
        r#"{"cmd":"history","before":""}"#,
        r#"{"cmd":"history","before":"00.x.1"}"#,
        r#"{"cmd":"deliveries","before":"00.x.1"}"#,
        &format!(r#"{{"cmd":"history","before":"{}.{}.1.2"}}"#, before.id, before.peer),
        r#"{"cmd":"search","words":"a","before":"1"}"#,
        r#"{"cmd":"seen","id":"3f9a"}"#,
    ] {
        let answer = read(bad.as_bytes()).answer;
        assert!(
            matches!(&answer, Some(Answer::Failed { refused, .. })
                if refused.refusal == Refusal::CommandBad),
            "{bad}: {answer:?}"
        );
    }
    let mut out = Vec::new();
    let notice =
        Notice::Seen { command: CommandId(1), room: "ops".to_owned(), upto: Some(before.id) };
    face().notice(notice, None, &mut out);
    let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&told["event"], &told["room"]), (&"seen".into(), &"ops".into()));
    assert_eq!(told["id"], before.id.to_string());
}

#[test]
fn texts_that_cannot_be_sent_are_refused_with_their_code() {
    let refusal = |text: &str| {
        let line = serde_json::json!({"cmd": "send", "text": text, "ref": "1"}).to_string();
        match read(line.as_bytes()) {
            Wish { answer: Some(Answer::Failed { refused, reference }), .. } => {
                assert_eq!(reference.as_deref(), Some("1"));
                Some(refused.refusal)
            }
            _ => None,
        }
    };
    assert_eq!(refusal(""), Some(Refusal::MessageEmpty));
    assert_eq!(refusal(&"x".repeat(TEXT_BYTES_MAX)), None);
    assert_eq!(refusal(&"x".repeat(TEXT_BYTES_MAX + 1)), Some(Refusal::MessageTooLong));
    // The longest text fits the longest line, however it is escaped.
    let escaped = "\\u0001".repeat(TEXT_BYTES_MAX);
    let line = format!("{{\"cmd\":\"send\",\"text\":\"{escaped}\"}}");
    assert!(line.len() <= crate::limits::INPUT_LINE_BYTES_MAX);
    assert!(read(line.as_bytes()).command.is_some());
}

#[test]
fn slash_lines_that_are_wrong_are_results_that_say_so() {
    for (line, code) in
        [("/whoo", "command_unknown"), ("who", "command_bad"), ("/who x", "command_bad")]
    {
        let input = serde_json::json!({"cmd": "slash", "line": line, "ref": "r"}).to_string();
        let wish = read(input.as_bytes());
        assert_eq!(wish.command, None);
        let mut out = Vec::new();
        face().answer(&wish.answer.unwrap(), &mut out);
        let text = cut(out);
        let start = format!("{{\"event\":\"result\",\"at\":…,\"line\":\"{line}\",\"ref\":\"r\",");
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains(&format!("\"ok\":false,\"error\":{{\"code\":\"{code}\"")), "{text}");
    }
}

#[test]
fn a_search_and_an_audit_are_asked_for_and_answered_with_their_fields() {
    let words = Words::parse("dep* now").unwrap();
    assert_eq!(
        command(r#"{"cmd":"search","words":"dep* now","last":5}"#),
        Command::Search { room: None, words, last: 5 }
    );
    assert_eq!(command(r#"{"cmd":"audit"}"#), Command::Audit);
    for bad in [
        r#"{"cmd":"search"}"#,
        r#"{"cmd":"search","words":" ! "}"#,
        r#"{"cmd":"history","words":"a"}"#,
        r#"{"cmd":"audit","last":1}"#,
        r#"{"cmd":"search","words":"a","last":100001}"#,
    ] {
        let answer = read(bad.as_bytes()).answer;
        assert!(
            matches!(&answer, Some(Answer::Failed { refused, .. })
                if refused.refusal == Refusal::CommandBad),
            "{bad}: {answer:?}"
        );
    }
    let question = Question::Search { room: Some(MAIN.to_owned()), words: "dep*".to_owned() };
    let asked = Asked { reference: Some("r".to_owned()), question };
    let found = Notice::Found { command: CommandId(1), messages: vec![message("deployed")] };
    let mut out = Vec::new();
    face().notice(found, Some(asked), &mut out);
    let text = String::from_utf8(out).unwrap();
    let (first, last) = text.split_once('\n').unwrap();
    assert!(first.contains("\"text\":\"deployed\"") && first.contains("\"history\":true"));
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["event"], &last["words"]), (&"search".into(), &"dep*".into()));
    assert_eq!(
        (&last["count"], &last["ref"], &last["room"]),
        (&1.into(), &"r".into(), &"main".into())
    );
}

#[test]
fn a_command_with_a_field_of_another_type_is_answered_with_its_ref() {
    for line in [r#"{"cmd":"send","text":5,"ref":"r"}"#, r#"{"cmd":"send","bogus":1,"ref":"r"}"#] {
        let wish = read(line.as_bytes());
        assert!(wish.command.is_none());
        let Some(Answer::Failed { reference, .. }) = wish.answer else { panic!("{line}") };
        assert_eq!(reference.as_deref(), Some("r"), "{line}");
    }
}

#[test]
fn what_one_does_not_want_to_see_is_marked_and_asked_for_by_the_same_verbs() {
    let hidden = MessageView { is_ignored: true, ..message("psst") };
    let text = shown(Notice::Message(hidden.clone()), None);
    assert!(text.ends_with(",\"ignored\":true}"), "{text}");
    let history = Notice::History { command: CommandId(1), messages: vec![hidden] };
    assert!(shown(history, by_slash("/history 3")).contains("\"ignored\":true"));
    assert!(!shown(Notice::Message(message("hi")), None).contains("ignored"));
    let ignored = MemberView { is_ignored: true, last_seen: Some(Wall(0)), ..member() };
    let members = || vec![ignored.clone()];
    let told = shown(Notice::Ignored { command: CommandId(1), members: members() }, None);
    assert!(told.starts_with("{\"event\":\"ignored\",\"at\":…,\"members\":[{\"name\":\"bob\""));
    assert!(
        told.ends_with(
            "\"verified\":false,\"ignored\":true,\"last_seen\":\"1970-01-01T00:00:00.000Z\"}]}"
        ),
        "{told}"
    );
    let whois = WhoisView {
        member: ignored.clone(),
        serial: 3,
        not_after: Wall(0),
        removed_at: None,
        verified_at: None,
        link: None,
        rooms: vec![MAIN.to_owned()],
    };
    let told = shown(Notice::Whois { command: CommandId(1), whois: Box::new(whois) }, None);
    assert!(
        told.ends_with(
            "\"last_seen\":\"1970-01-01T00:00:00.000Z\",\"serial\":3,\
             \"not_after\":\"1970-01-01T00:00:00.000Z\",\"rooms\":[\"main\"]}"
        ),
        "{told}"
    );
    let asked = |line: &str| read(line.as_bytes()).command.map(|(command, _)| command);
    let people = |command| Some(Command::People(command));
    let bob = || "bob".to_owned();
    let ignore = |is_ignored| people(PeopleCommand::Ignore { name: bob(), is_ignored });
    assert_eq!(asked(r#"{"cmd":"ignore","name":"bob"}"#), ignore(true));
    assert_eq!(asked(r#"{"cmd":"unignore","name":"bob"}"#), ignore(false));
    assert_eq!(asked(r#"{"cmd":"ignore"}"#), people(PeopleCommand::Ignored));
    assert_eq!(
        asked(r#"{"cmd":"whois","name":"bob"}"#),
        people(PeopleCommand::Whois { name: bob() })
    );
    let mute = |is_muted| Some(Command::Mute { room: "ops".to_owned(), is_muted });
    assert_eq!(asked(r#"{"cmd":"mute","room":"ops"}"#), mute(true));
    assert_eq!(asked(r#"{"cmd":"unmute","room":"ops"}"#), mute(false));
    for line in [r#"{"cmd":"unignore"}"#, r#"{"cmd":"whois"}"#, r#"{"cmd":"mute","name":"bob"}"#] {
        assert_eq!(asked(line), None, "{line}");
    }
}
