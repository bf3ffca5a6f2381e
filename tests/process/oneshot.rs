//! Commands that ask a running member over its socket, and the socket itself.
//! Owns: what a script meets that has no connection of its own.
//! Must not know: how a connection works inside.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use crate::harness::{Ended, LONG, Lab, Proc, Value, json, list, set_mode};

fn ask(lab: &Lab, name: &str, args: &[&str]) -> Ended {
    fed(lab, name, args, "")
}

fn fed(lab: &Lab, name: &str, args: &[&str], input: &str) -> Ended {
    let home = lab.home(name);
    let args = [args, &["--home", home.to_str().unwrap()]].concat();
    lab.run(&args, input)
}

/// One member beside its servers.
fn alone() -> (Lab, [Proc; 2], Proc) {
    let lab = Lab::new();
    let servers = [lab.bootstrap(), lab.keyauth()];
    let alice = lab.group(&["alice"]).remove(0);
    (lab, servers, alice)
}

/// A connection of one's own, spoken to as a program would.
struct Wire {
    lines: BufReader<UnixStream>,
}

impl Wire {
    fn open(lab: &Lab, name: &str) -> Self {
        let stream = UnixStream::connect(lab.home(name).join("control.sock")).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self { lines: BufReader::new(stream) }
    }

    fn say(&mut self, line: &Value) {
        self.lines.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.hear().unwrap();
            if is(&event) {
                return event;
            }
        }
    }
}

#[test]
fn one_shot_commands_are_answered_by_the_member_that_runs() {
    let lab = Lab::new().with("DIRECT", "everyone");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let sent = ask(&lab, "alice", &["send", "hello all", "--wait", "all", "--timeout", "30s"]);
    assert_eq!(sent.code, Some(0), "{}", sent.text());
    assert!(sent.text().contains("\tdelivered to 2 of 2"), "{}", sent.text());
    for other in &members[1..] {
        other.hear("hello all");
    }
    // The main face hears what was sent beside it.
    members[0].wait("it hears of it", |e| e["event"] == "sent" && e["text"] == "hello all");
    let sent = ask(&lab, "alice", &["send", "#main", "--json", "again"]);
    let id = sent.events[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&sent.events[0]["event"], sent.events.len()), (&json!("sent"), 1));
    assert!(sent.events[0].get("ref").is_none(), "{}", sent.text());
    let sent = fed(&lab, "alice", &["send", "-", "--wait", "one", "--json"], "two\nlines\n");
    assert_eq!((sent.code, &sent.events[0]["text"]), (Some(0), &json!("two\nlines")));
    assert_eq!(sent.events[1]["event"], "delivery", "{}", sent.text());
    let sent = fed(&lab, "alice", &["send", "-", "--lines"], "a1\n\na2\na3\n");
    assert_eq!((sent.code, sent.events.len()), (Some(0), 3), "{}", sent.text());
    let sent = ask(&lab, "alice", &["send", "@bob", "for you alone"]);
    assert_eq!(sent.code, Some(0), "{}", sent.text());
    members[1].hear("for you alone");
    let sent = ask(&lab, "alice", &["send", "gone soon", "--expires", "20m", "--json"]);
    assert!(sent.events[0]["expires_at"].is_string(), "{}", sent.text());
    let missing = &["send", "#main", "--file", "missing", "--expires", "20m", "--json"];
    let no = ask(&lab, "alice", missing);
    assert_eq!((no.code, no.fatal()), (Some(1), "file_unread"), "{}", no.text());
    let no = ask(&lab, "alice", &["send", "x", "--expires", "soon"]);
    assert_eq!(no.code, Some(2), "{}", no.text());
    let no = ask(&lab, "alice", &["send", "#nowhere", "x", "--json"]);
    assert_eq!((no.code, no.fatal()), (Some(1), "room_unknown"), "{}", no.text());
    let no = ask(&lab, "alice", &["send", "", "--json"]);
    assert_eq!((no.code, no.fatal()), (Some(2), "message_empty"), "{}", no.text());

    for (args, event, shown) in [
        (&["members"][..], "members", "carol"),
        (&["rooms"], "rooms", "main"),
        (&["status"], "status", "leader"),
        (&["leader"], "result", "term"),
        (&["links"], "links", "you and carol: direct"),
        (&["audit"], "audit", "admitted"),
        (&["room", "#main"], "result", "main"),
        (&["do", "/who"], "result", "bob"),
        (&["search", "hello"], "search", "hello all"),
        (&["history", "--last", "50"], "history", "again"),
    ] {
        let ended = ask(&lab, "alice", args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.text());
        assert!(ended.text().contains(shown), "{args:?}: {}", ended.text());
        let ended = ask(&lab, "alice", &[args, &["--json"]].concat());
        let last = ended.events.last().unwrap();
        assert_eq!((ended.code, &last["event"]), (Some(0), &json!(event)), "{}", ended.text());
        assert!(ended.events.iter().all(|e| e.get("ref").is_none()), "{}", ended.text());
    }
    let made = ask(&lab, "alice", &["room", "create", "ops", "free", "what breaks"]);
    assert_eq!(made.code, Some(0), "{}", made.text());
    let rooms = members[0].ask(json!({"cmd": "rooms"}));
    assert!(list(&rooms["rooms"]).iter().any(|it| it["room"] == "ops"), "{rooms}");
    let no = ask(&lab, "alice", &["do", "/nonsense"]);
    assert_eq!(no.code, Some(2), "{}", no.text());
    assert!(no.stderr.contains("[command_unknown, exit 2]"), "{}", no.text());

    let talk = members[0].history_of(7);
    let export = ask(&lab, "alice", &["export", "--format", "jsonl", "--room", "main"]);
    assert_eq!(export.events.iter().map(Value::to_string).collect::<Vec<_>>(), talk);
    let told = ask(&lab, "alice", &["do", &format!("/info {id}")]);
    assert!(told.code == Some(0) && told.text().contains("bob"), "{}", told.text());
    let doctor = ask(&lab, "alice", &["doctor"]);
    assert_eq!(doctor.code, Some(0), "{}", doctor.text());
    assert!(doctor.text().contains("ok\tmember\tbob: directly by"), "{}", doctor.text());
    assert!(
        doctor.text().contains("\tnat\tit listens for this machine alone"),
        "{}",
        doctor.text()
    );
    let doctor = ask(&lab, "alice", &["doctor", "--json"]);
    assert_eq!(doctor.events[0]["ok"], true, "{}", doctor.text());
}

#[test]
fn search_and_export_go_over_all_rooms_and_show_nothing_that_was_deleted() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let made = ask(&lab, "alice", &["room", "create", "ops", "free"]);
    assert_eq!(made.code, Some(0), "{}", made.text());
    let send = |room: &str, text: &str| {
        let sent = ask(&lab, "alice", &["send", room, text, "--json"]);
        assert_eq!(sent.code, Some(0), "{}", sent.text());
        sent.events[0]["id"].as_str().unwrap().to_owned()
    };
    send("#main", "walnut one");
    send("#ops", "walnut two");
    let secret = send("#ops", "hazel secret");
    let deleted = members[0].ask(json!({"cmd": "delete", "room": "ops", "id": secret}));
    assert_eq!(deleted["event"], "sent", "{deleted}");

    let look = |args: &[&str]| {
        let ended = ask(&lab, "alice", args);
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        ended
    };
    let running = over_all_rooms(&look);
    let shown = out(&look(&["members"]));
    assert!(shown.contains("alice\tactive\t") && !shown.contains("-- "), "{shown}");
    let shown = out(&look(&["rooms"]));
    assert!(shown.contains("ops\tlisted\tin\t1\t-"), "{shown}");
    let shown = out(&look(&["leader"]));
    assert!(shown.starts_with("leader: "), "{shown}");
    let call = |params: &str| {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"export","params":{params}}}"#);
        let ended = fed(&lab, "alice", &["rpc"], &format!("{line}\n"));
        ended.events[0].clone()
    };
    let told = call("{}");
    let text = told["result"]["text"].as_str().unwrap();
    assert_eq!(text.lines().count(), running[0].lines().count(), "{told}");
    let wrong = call(r#"{"format":"pdf"}"#).to_string();
    assert!(wrong.contains("export: unknown variant"), "{wrong}");
    members[0].exit();
    assert_eq!(over_all_rooms(&look), running);
}

/// Its owner alone may speak to it; whoever else may not is not told that nothing runs.
#[test]
fn a_member_that_is_somebody_elses_is_told_apart_from_none() {
    let (lab, _servers, alice) = alone();
    let home = lab.home("alice");
    let is_root = lab.dir.path().metadata().unwrap().uid() == 0;
    let program = lab.dir.path().join("p2pgroup");
    if is_root {
        // Nothing is closed to root, so somebody else asks, who may come as far as the socket.
        std::fs::copy(crate::harness::program(), &program).unwrap();
        for path in [&program, lab.dir.path(), home.parent().unwrap(), home.as_path()] {
            set_mode(path, 0o755);
        }
    } else {
        // As little as the socket of somebody else this one takes anybody.
        set_mode(&home.join("control.sock"), 0);
    }
    for verb in ["status", "rpc"] {
        let args = [verb, "--json", "--home", home.to_str().unwrap()];
        let mut command = lab.command(&args);
        if is_root {
            command = lab.wrapped(program.to_str().unwrap(), &args);
            command.uid(65_534).gid(65_534);
        }
        let ended = Proc::start("other", command).ended(LONG);
        assert_eq!((ended.code, ended.fatal()), (Some(3), "home_unusable"), "{}", ended.text());
        let text = ended.text();
        assert!(text.contains("control.sock") && !text.contains("no member runs"), "{text}");
    }
    set_mode(&home, 0o700);
    set_mode(&home.join("control.sock"), 0o600);
    let ended = ask(&lab, "alice", &["status", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    alice.exit();
}

/// What the bar of `p2pgroup send --file` is drawn from.
#[test]
fn the_reading_of_a_file_is_told_of_to_who_wants_to_hear_it() {
    let (lab, _servers, alice) = alone();
    let path = lab.dir.path().join("disk.img");
    let size = 100_u64 << 20;
    std::fs::File::create(&path).unwrap().set_len(size).unwrap();
    let read = |is_wanted: bool| {
        let mut wire = Wire::open(&lab, "alice");
        wire.say(&json!({"cmd": "attach", "answers_only": true, "progress": is_wanted}));
        wire.say(&json!({"cmd": "send_file", "path": path, "ref": "1"}));
        let mut shares = Vec::new();
        loop {
            let event = wire.until(|it| it["ref"] == "1");
            if event["event"] == "sent" {
                return shares;
            }
            assert_eq!((&event["event"], &event["doing"]), (&json!("progress"), &json!("read")));
            assert_eq!(event["of"], size, "{event}");
            shares.push(event["done"].as_u64().unwrap());
        }
    };
    let shares = read(true);
    assert!(shares.len() > 5 && shares.is_sorted_by(|a, b| a < b), "{shares:?}");
    assert!(shares.iter().all(|done| *done <= size), "{shares:?}");
    assert!(read(false).is_empty(), "who knows nothing of it has one answer");
    alice.exit();
}

#[test]
fn tail_ends_with_who_reads_it_also_where_nothing_more_is_said_to_it() {
    let (lab, _servers, alice) = alone();
    let made = alice.ask(json!({"cmd": "room_create", "room": "ops", "entry": "free"}));
    assert_eq!(made["event"], "room", "{made}");
    alice.say("hello");
    let (program, home) = (crate::harness::program(), lab.home("alice"));
    let tail = format!("'{program}' tail --since 0 --room main --home '{}'", home.display());
    let line = format!("{{ {tail}; echo \"tail: $?\" >&2; }} | head -n 1");
    for is_busy_elsewhere in [false, true] {
        let tail = Proc::start("tail", lab.wrapped("sh", &["-c", &line]));
        tail.wait("the message", |it| it.as_str().is_some_and(|it| it.ends_with("\thello")));
        let deadline = Instant::now() + LONG;
        while is_busy_elsewhere && tail.is_running() && Instant::now() < deadline {
            alice.ask(json!({"cmd": "send", "room": "ops", "text": "busy"}));
            std::thread::sleep(Duration::from_millis(100));
        }
        let ended = tail.ended(LONG);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), "tail: 0\n"), "{is_busy_elsewhere}");
    }
    alice.exit();
}

/// What the bar of `p2pgroup export` is drawn from.
#[test]
fn an_export_over_the_socket_says_how_far_it_is() {
    const SAID: usize = 5_000;
    let (lab, _servers, alice) = alone();
    let lines: String = (0..SAID).map(|at| format!("line {at}\n")).collect();
    let sent = fed(&lab, "alice", &["send", "-", "--lines"], &lines);
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let mut wire = Wire::open(&lab, "alice");
    wire.say(&json!({"cmd": "attach", "answers_only": true}));
    wire.say(&json!({"cmd": "export", "room": "main", "format": "txt", "ref": "1"}));
    let (mut text, mut shares) = (String::new(), Vec::new());
    loop {
        let event = wire.until(|it| it["ref"] == "1");
        if event["event"] == "parted" {
            break;
        }
        assert_eq!(event["event"], "part", "{event}");
        text.push_str(event["text"].as_str().unwrap());
        shares.extend(event["done"].as_u64().zip(event["of"].as_u64()));
    }
    assert_eq!(text.lines().count(), SAID);
    // That it is counting first; then how far it is, up to all of it.
    let known: Vec<(u64, u64)> = shares.iter().copied().filter(|(_, of)| *of > 0).collect();
    assert!(known.len() > 1 && shares.len() > known.len(), "{shares:?}");
    assert!(known.is_sorted() && known.iter().all(|(done, of)| done <= of), "{known:?}");
    assert_eq!(known.last(), Some(&(100, 100)), "{known:?}");
    alice.exit();
}

/// What a command printed.
fn out(ended: &Ended) -> String {
    let line = |event: &Value| event.as_str().map_or_else(|| event.to_string(), str::to_owned);
    ended.events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same from a member that runs and from its store: gives all in each format.
fn over_all_rooms(look: &dyn Fn(&[&str]) -> Ended) -> [String; 3] {
    let found = look(&["search", "walnut", "--json"]);
    let (last, hits) = found.events.split_last().unwrap();
    let rooms: Vec<&Value> = hits.iter().map(|it| &it["room"]).collect();
    assert_eq!(rooms, ["ops", "main"], "{}", found.text());
    assert_eq!((&last["room"], &last["count"]), (&Value::Null, &json!(2)), "{last}");
    let found = look(&["search", "walnut", "--room", "#main"]);
    assert_eq!(found.events.len(), 1, "{}", found.text());
    assert!(out(&found).ends_with("\tmain\talice\twalnut one"), "{}", found.text());
    let whole = ["jsonl", "txt", "md"].map(|format| out(&look(&["export", "--format", format])));
    assert!(whole.iter().all(|text| !text.contains("hazel")), "{whole:?}");
    let lines = &whole[0];
    assert!(lines.contains(r#""room":"ops""#) && lines.contains(r#""deleted":true"#), "{lines}");
    let txt = &whole[1];
    assert!(txt.starts_with("== #main ==\n") && txt.contains("\n== #ops ==\n"), "{txt}");
    assert!(txt.contains("<alice> [deleted]\n"), "{txt}");
    assert!(whole[2].contains("\n# \\#ops\n"), "{}", whole[2]);
    let one = out(&look(&["export", "--format", "txt", "--room", "main"]));
    assert!(!one.contains("==") && one.contains("walnut one") && !one.contains("two"), "{one}");
    whole
}

#[test]
fn what_was_just_said_in_one_room_of_many_is_found_from_the_first_on() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice"]);
    for number in 0..9 {
        let room = format!("room{number}");
        assert_eq!(members[0].ask(json!({"cmd": "room_create", "room": room}))["event"], "room");
    }
    // More than the share of a room, and nothing of it is in the index yet.
    let lines: Vec<String> = (0..3_000).map(|number| format!("word{number}")).collect();
    let sent = fed(&lab, "alice", &["send", "-", "--lines", "--timeout", "60s"], &lines.join("\n"));
    assert_eq!(sent.events.len(), 3_000, "{}", sent.stderr);
    let found = ask(&lab, "alice", &["search", "word0"]);
    assert_eq!(found.events.len(), 1, "{}", found.text());
}

#[test]
fn a_room_that_is_not_there_is_refused_and_tokens_are_listed_and_taken_back() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let socket = lab.dir.path().join("api.sock");
    let address = format!("unix:{}", socket.display());
    let alice = lab.start_with("alice", &["--no-embedded", "--api", &address]);
    alice.ready();
    let no = ask(&lab, "alice", &["tail", "--room", "nosuch", "--json"]);
    assert_eq!((no.code, no.fatal()), (Some(1), "room_unknown"), "{}", no.text());
    let hook = |room: &str| ask(&lab, "alice", &["api", "hook", room, "--json"]);
    let api = |args: &[&str]| ask(&lab, "alice", &[&["api"], args, &["--json"]].concat());
    assert_eq!(hook("nosuch").fatal(), "room_unknown");
    assert_eq!(hook("#main").code, Some(0));
    assert_eq!(api(&["token", "--scope", "send", "--label", "backups"]).code, Some(0));
    let twice = api(&["token", "--label", "backups"]);
    assert_eq!((twice.code, twice.fatal()), (Some(2), "command_bad"), "{}", twice.text());
    let tokens = || {
        let listed = api(&["list"]);
        assert_eq!(listed.code, Some(0), "{}", listed.text());
        list(&listed.events[0]["tokens"]).to_vec()
    };
    let listed = tokens();
    let told: Vec<(&Value, &Value, &Value)> =
        listed.iter().map(|it| (&it["kind"], &it["scope"], &it["room"])).collect();
    let (token, none) = (json!("token"), Value::Null);
    let (admin, send) = (json!("admin"), json!("send"));
    let expected =
        [(&token, &admin, &none), (&json!("hook"), &none, &json!("main")), (&token, &send, &none)];
    assert_eq!(told, expected);
    let id = listed[2]["id"].as_str().unwrap();
    let labels: Vec<&Value> = listed.iter().map(|it| &it["label"]).collect();
    assert_eq!(labels, [&none, &none, &json!("backups")]);
    let shown = ask(&lab, "alice", &["api", "list"]);
    assert!(shown.text().contains("\tbackups"), "{}", shown.text());
    assert_eq!(api(&["revoke", "backups"]).events[0]["tokens"][0]["id"], id);
    assert_eq!(tokens().len(), 2);
    let no = api(&["revoke", id]);
    assert_eq!((no.code, no.fatal()), (Some(1), "token_unknown"), "{}", no.text());
    // The whole API is there, for those who may open it and have a token.
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let token = std::fs::read_to_string(lab.home("alice").join("api.token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let curl = |headers: &[&str]| {
        let mut command = std::process::Command::new("curl");
        command.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]);
        command.arg("--unix-socket").arg(&socket);
        for header in headers {
            command.args(["-H", header]);
        }
        let came = command.arg("http://localhost/v1/members").output().unwrap();
        String::from_utf8(came.stdout).unwrap()
    };
    let came = curl(&[&bearer]);
    assert!(came.ends_with("\n200") && came.contains("\"alice\""), "{came}");
    assert!(curl(&[]).ends_with("\n401"));
    assert!(curl(&[&bearer, "Host: evil.example"]).ends_with("\n403"));
    alice.exit();
    assert!(!socket.exists(), "the socket of the API goes with it");
    // Nothing runs: its store knows the rooms.
    assert_eq!(hook("nosuch").fatal(), "room_unknown");
    assert_eq!(hook("main").code, Some(0));
    let file = lab.dir.path().join("exposed.yml");
    std::fs::write(&file, "api: 0.0.0.0:8700\n").unwrap();
    let shown = lab.run(&["config", "show", "--json", "--config", file.to_str().unwrap()], "");
    assert_eq!(shown.fatal(), "api_exposed", "{}", shown.text());
}

#[test]
fn safety_words_are_the_same_on_both_sides_and_mark_a_member_from_a_script() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let _members = lab.group(&["alice", "bob"]);
    let words = |mine: &str, other: &str| {
        let told = ask(&lab, mine, &["verify", other, "--json"]);
        assert_eq!((told.code, &told.events[0]["event"]), (Some(0), &json!("verify")));
        assert_eq!(told.events[0]["verified"], false, "{}", told.text());
        told.events[0]["words"].clone()
    };
    assert_eq!(words("alice", "bob"), words("bob", "@alice"));
    let verified = |args: &[&str]| {
        let told = ask(&lab, "alice", &[&["verify", "bob"], args, &["--json"]].concat());
        told.events[0]["verified"].clone()
    };
    assert_eq!(verified(&["ok"]), true);
    assert_eq!(verified(&[]), true);
    assert_eq!(verified(&["undo"]), false);
    let shown = ask(&lab, "alice", &["verify", "bob"]);
    assert!(shown.text().contains("compare with bob"), "{}", shown.text());
    let no = ask(&lab, "alice", &["verify", "nobody", "--json"]);
    assert_eq!((no.code, no.fatal()), (Some(1), "name_unknown"), "{}", no.text());
    let no = ask(&lab, "carol", &["verify", "bob", "--json"]);
    assert_eq!((no.code, no.fatal()), (Some(7), "nothing_running"), "{}", no.text());
}

#[test]
fn verify_compares_with_all_who_are_linked_and_names_who_lacks_what() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    for round in 0..5 {
        for member in &members {
            member.say(&format!("{} {round}", member.name));
        }
    }
    for member in &members {
        member.history_of(15);
    }
    let same = ask(&lab, "alice", &["verify"]);
    assert_eq!(same.code, Some(0), "{}", same.text());
    let told = "15 entries in 3 logs, no gap, same head on 2 of 2";
    assert!(same.text().contains(told), "{}", same.text());
    // Who stands still takes nothing in, and its link is up for a while.
    members[2].signal("STOP");
    members[0].say("carol misses this");
    members[1].hear("carol misses this");
    let not = ask(&lab, "alice", &["verify", "--json"]);
    let compared = not.events.last().unwrap();
    let with = list(&compared["rooms"][0]["with"]);
    let carol = with.iter().find(|it| it["name"] == "carol");
    match carol {
        Some(carol) => {
            assert_eq!((not.code, &compared["ok"]), (Some(1), &json!(false)), "{compared}");
            let lack = &list(&carol["lacks"])[0];
            assert_eq!((&lack["from"], &lack["last"]), (&json!("alice"), &json!(6)), "{compared}");
        }
        None => assert!(list(&compared["unlinked"]).contains(&json!("carol")), "{compared}"),
    }
    members[2].signal("CONT");
    members[2].hear("carol misses this");
    members.truncate(0);
}

#[test]
fn a_message_that_is_not_delivered_in_time_is_queued_and_the_exit_code_says_so() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    members[1].exit();
    let late = ["send", "are you there?", "--wait", "one", "--timeout", "1s"];
    let ended = ask(&lab, "alice", &late);
    assert_eq!(ended.code, Some(6), "{}", ended.text());
    assert!(ended.stderr.contains("0 of 1") && ended.stderr.contains("[not_delivered, exit 6]"));
    let ended = ask(&lab, "alice", &[&late[..], &["--json"]].concat());
    assert_eq!((ended.code, ended.fatal()), (Some(6), "not_delivered"), "{}", ended.text());
    let bob = lab.join("bob");
    bob.hear("are you there?");
    bob.history_of(2);
}

#[test]
fn lines_are_sent_as_they_come_and_what_is_refused_is_the_last() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let home = lab.home("alice");
    let args = ["send", "-", "--lines", "--timeout", "2s", "--home", home.to_str().unwrap()];
    let log = Proc::start("log", lab.command(&args));
    log.feed("the first of many\n");
    members[1].hear("the first of many");
    // Whoever writes may take longer than a message may.
    std::thread::sleep(Duration::from_millis(2_500));
    log.feed("the second\n");
    members[1].hear("the second");
    log.close_input();
    let ended = log.ended(LONG);
    assert_eq!((ended.code, ended.events.len()), (Some(0), 2), "{}", ended.text());
    // All before a line that cannot be sent is sent.
    let long = format!("before it\n{}\nbehind it\n", "😀".repeat(20_000));
    let ended = fed(&lab, "alice", &["send", "-", "--lines"], &long);
    assert_eq!(ended.code, Some(2), "{}", ended.text());
    assert!(ended.stderr.contains("line 2 of stdin") && ended.stderr.contains("[message_too_long"));
    members[1].hear("before it");
    // A member that says nothing has stored nothing, as far as is known.
    members[0].signal("STOP");
    let ended = ask(&lab, "alice", &["send", "anybody?", "--timeout", "1s"]);
    members[0].signal("CONT");
    assert_eq!(ended.code, Some(6), "{}", ended.text());
    assert!(ended.stderr.contains("1 of 1 may be stored or not"), "{}", ended.stderr);
    assert!(ended.stderr.contains("[timed_out, exit 6]"), "{}", ended.stderr);
}

#[test]
fn who_names_no_member_is_told_which_run_here_and_pictures_go_to_who_asks() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let _members = lab.group(&["alice"]);
    let usual = lab.dir.path().join("members");
    std::fs::create_dir(&usual).unwrap();
    std::os::unix::fs::symlink(lab.home("alice"), usual.join("alice")).unwrap();
    for args in [&["status"][..], &["send", "hi"], &["history"], &["do", "/who"]] {
        let ended = lab.run(args, "");
        assert_eq!(ended.code, Some(2), "{}", ended.text());
        assert!(ended.stderr.contains("alice runs here: --name alice"), "{}", ended.stderr);
    }
    // A picture is for the terminal of who asks, if it has one; the member has none.
    let mut wire = Wire::open(&lab, "alice");
    for (columns, is_drawn) in [(json!(200), true), (Value::Null, false)] {
        wire.say(
            &json!({"cmd": "attach", "answers_only": true, "shown": true, "columns": columns}),
        );
        wire.say(&json!({"cmd": "slash", "line": "/invite create", "ref": "i"}));
        let shown = wire.until(|event| event["event"] == "shown");
        let shown = shown["text"].as_str().unwrap();
        assert!(shown.contains("p2pgroup1-"), "{shown}");
        assert_eq!(shown.contains('█'), is_drawn, "{shown}");
        let result = wire.until(|event| event["ref"] == "i");
        assert_eq!(result["ok"], true, "{result}");
    }
}

#[test]
fn without_a_running_member_there_is_nobody_to_ask() {
    let lab = Lab::new();
    for args in [
        &["send", "x"][..],
        &["tail"],
        &["members"],
        &["rooms"],
        &["room", "create", "x"],
        &["status"],
        &["leader"],
        &["links"],
        &["do", "/who"],
    ] {
        let ended = ask(&lab, "alice", &[args, &["--json"]].concat());
        let fatal = ended.fatal();
        assert_eq!((ended.code, fatal), (Some(7), "nothing_running"), "{}", ended.text());
    }
    let doctor = ask(&lab, "alice", &["doctor"]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.text());
    assert!(doctor.text().contains("bad\tmember\tno member runs"), "{}", doctor.text());
    // A socket that an ended process left behind is nobody, too.
    let home = lab.home("bob");
    std::fs::create_dir_all(&home).unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.join("control.sock")).unwrap());
    let ended = ask(&lab, "bob", &["status", "--json"]);
    assert_eq!((ended.code, ended.fatal()), (Some(7), "nothing_running"), "{}", ended.text());
}

fn tail(lab: &Lab, name: &str, since: &str) -> Proc {
    let home = lab.home(name);
    let args = ["tail", "--json", "--since", since, "--home", home.to_str().unwrap()];
    Proc::start("tail", lab.command(&args))
}

fn texts(events: &[Value]) -> Vec<String> {
    let messages = events.iter().filter(|e| e["event"] == "message");
    messages.map(|e| e["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn tail_goes_on_from_its_cursor_over_a_kill_without_loss_or_repetition() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let (alice, bob) = (&members[0], &members[1]);
    for round in 0..10 {
        alice.say(&format!("alice {round}"));
        bob.say(&format!("bob {round}"));
    }
    alice.history_of(20);
    let first = tail(&lab, "alice", "0");
    first.wait("it has all", |e| e["event"] == "caught_up");
    alice.say("new");
    first.hear("new");
    let seen = first.events();
    assert_eq!(texts(&seen).len(), 21);
    let cursor = seen.iter().filter_map(|e| e["cursor"].as_u64()).max().unwrap();
    alice.kill();
    let ended = first.ended(LONG);
    assert_eq!(ended.code, Some(7), "{}", ended.text());
    bob.say("while nobody listened");
    let alice = lab.join("alice");
    alice.hear("while nobody listened");
    let second = tail(&lab, "alice", &cursor.to_string());
    second.hear("while nobody listened");
    bob.say("and live");
    second.hear("and live");
    assert_eq!(texts(&second.events()), ["while nobody listened", "and live"]);
    let far = ask(&lab, "alice", &["tail", "--json", "--since", "999999"]);
    assert_eq!((far.code, far.fatal()), (Some(1), "cursor_unknown"), "{}", far.text());
}

#[test]
fn the_socket_is_the_owners_and_a_connection_that_is_not_read_slows_nobody() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let (alice, bob) = (&members[0], &members[1]);
    let path = lab.home("alice").join("control.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut deaf = Wire::open(&lab, "alice");
    let mut quick = Wire::open(&lab, "alice");
    assert_eq!(quick.hear().unwrap()["event"], "ready");
    let reading = std::thread::spawn(move || {
        let mut last = 0;
        while last < 1_999 {
            let event = quick.until(|e| e["event"] == "message" || e["event"] == "lagged");
            assert_ne!(event["event"], "lagged");
            last = event["text"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
        }
        quick
    });
    let long = "x".repeat(10_000);
    for round in 0..2_000 {
        bob.order(&json!({"cmd": "send", "room": "main", "text": format!("{round} {long}")}));
    }
    alice.hear(&format!("1999 {long}"));
    let mut quick = reading.join().unwrap();
    // What it asks is answered all the same, after what had gathered.
    deaf.say(&json!({"cmd": "members", "ref": "m"}));
    deaf.until(|e| e["event"] == "lagged");
    deaf.until(|e| e["event"] == "members" && e["ref"] == "m");
    // A line that is no command is a no to that line alone.
    quick.say(&json!({"cmd": "nonsense", "ref": "n"}));
    let no = quick.until(|e| e["ref"] == "n");
    assert_eq!((&no["code"], &no["fatal"]), (&json!("command_bad"), &json!(false)));
    // At the end of its input it is answered to the end and hung up on.
    quick.say(&json!({"cmd": "status", "ref": "s"}));
    quick.lines.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    quick.until(|e| e["event"] == "status" && e["ref"] == "s");
    while quick.hear().is_some() {}
}

#[test]
fn a_daemon_needs_no_input_and_ends_by_order() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.start_with("alice", &["--no-embedded", "--daemon"]);
    alice.close_input();
    alice.ready();
    let sent = ask(&lab, "alice", &["send", "on my own"]);
    assert_eq!(sent.code, Some(0), "{}", sent.text());
    let path = lab.home("alice").join("control.sock");
    assert!(path.exists());
    let mut wire = Wire::open(&lab, "alice");
    let exit = ask(&lab, "alice", &["do", "/exit"]);
    assert_eq!(exit.code, Some(0), "{}", exit.text());
    assert_eq!(alice.ended(LONG).code, Some(0));
    wire.until(|e| e["event"] == "exited");
    assert!(!path.exists());
}
