//! Bytes, names and texts that mean harm.
//! Owns: raw sockets against the program, and what comes out at the other end of a talk.
//! Must not know: frames; their garbage is tested where they are parsed.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{LONG, Lab, Proc, json, list, same_talk};

/// Where a process listens on TCP, as `host:port`.
fn address_of(proc: &Proc) -> String {
    let ready = proc.ready();
    let tcp = list(&ready["listen"]).iter().filter_map(|it| it.as_str());
    let found = tcp.filter(|it| it.contains("/tcp/")).find_map(|it| {
        let mut parts = it.split('/').skip(2);
        let host = parts.next()?;
        Some(format!("{host}:{}", parts.nth(1)?))
    });
    found.unwrap_or_else(|| panic!("no TCP address in {ready}"))
}

/// Bytes that look random and are the same every time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next(&mut state)).collect()
}

fn resident_kib(proc: &Proc) -> u64 {
    let path = format!("/proc/{}/status", proc.id());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn garbage_on_the_wire_closes_that_connection_and_nothing_else() {
    let lab = Lab::new();
    let bootstrap = lab.bootstrap();
    let keyauth = lab.keyauth();
    let members = lab.group(&["alice", "bob"]);
    let hello = b"\x13/multistream/1.0.0\n".to_vec();
    let noise_protocol = [hello.clone(), b"\x07/noise\n".to_vec()].concat();
    let tls_protocol = [hello.clone(), b"\x0b/tls/1.0.0\n".to_vec()].concat();
    let starts = [Vec::new(), hello, noise_protocol.clone(), tls_protocol.clone()];
    for target in [&bootstrap, &keyauth, &members[0]] {
        let before = resident_kib(target);
        let mut open = Vec::new();
        for (seed, start) in (1_u64..).zip(&starts) {
            for (n, length) in (0_u64..).zip([0, 1, 2, 1_000, 300_000]) {
                let mut socket = TcpStream::connect(address_of(target)).unwrap();
                socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
                // It may hang up in the middle: that is its right.
                drop(socket.write_all(start));
                drop(socket.write_all(&noise(seed * 7 + n, length)));
                open.push(socket);
            }
        }
        // Those that say a huge length and then drip.
        let mut socket = TcpStream::connect(address_of(target)).unwrap();
        drop(socket.write_all(&noise_protocol));
        drop(socket.write_all(&[0xff, 0xff, 0x00]));
        open.push(socket);
        let mut socket = TcpStream::connect(address_of(target)).unwrap();
        drop(socket.write_all(&tls_protocol));
        // A record of 16 KiB, in it a greeting of 64 KiB.
        drop(socket.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0xff, 0xff, 0x03]));
        open.push(socket);
        members[0].say(&format!("{} was shouted at", target.name));
        members[1].hear(&format!("{} was shouted at", target.name));
        let after = resident_kib(target);
        eprintln!("{}: {before} KiB before, {after} KiB with 22 shouting", target.name);
        assert!(after < before + 65_536, "{}: {before} KiB, then {after} KiB", target.name);
    }
    let carol = lab.join("carol");
    same_talk(&[&members[0], &members[1], &carol], 3);
}

#[test]
fn a_thousand_idle_connections_do_not_keep_anybody_from_joining() {
    let lab = Lab::new();
    let (bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let start = Instant::now();
    let bob = lab.join("bob");
    let normal = start.elapsed();
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        match TcpStream::connect_timeout(&lab.bootstrap.parse().unwrap(), Duration::from_secs(5)) {
            Ok(socket) => idle.push(socket),
            Err(error) => eprintln!("connection {} was not taken: {error}", idle.len()),
        }
    }
    let start = Instant::now();
    let carol = lab.join("carol");
    let crowded = start.elapsed();
    eprintln!("join: {normal:?} normally, {crowded:?} beside {} idle connections", idle.len());
    // Twice the normal time, and what the machine does besides.
    assert!(crowded < normal * 2 + Duration::from_secs(3), "{normal:?}, then {crowded:?}");
    carol.say("in");
    same_talk(&[&alice, &bob, &carol], 1);
    assert!(bootstrap.is_running());
    drop(idle);
}

const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}txt\u{2066}\r-- bob joined\u{9b}31m\u{0}end";

#[test]
fn a_text_full_of_escape_sequences_is_harmless_in_line_mode_and_whole_in_json() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    lab.prepare("bob", "bob.pem");
    let args = lab.join_args("bob", &["--no-embedded"]);
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|it| *it != "--json").collect();
    let bob = Proc::start("bob", lab.command(&args));
    bob.wait("bob is in", |line| line.as_str().is_some_and(|it| it.starts_with("-- you are bob")));
    let carol = lab.join("carol");
    alice.say(HOSTILE);
    assert_eq!(carol.hear(HOSTILE)["from"], "alice");
    alice.say("after");
    bob.wait("the next line", |line| line.as_str().is_some_and(|it| it.ends_with("<alice> after")));
    let lines = bob.events();
    for line in lines.iter().filter_map(|it| it.as_str()) {
        let bad = |c: char| {
            c.is_control()
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        assert!(!line.chars().any(bad), "{line:?}");
        assert!(line != "-- bob joined", "{lines:?}");
    }
    let shown = lines.iter().filter_map(|it| it.as_str()).any(|it| it.contains("end"));
    assert!(shown, "{lines:?}");
}

#[test]
fn the_longest_text_is_delivered_and_a_longer_one_is_refused_to_its_sender() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob"]);
    let longest = "x".repeat(64 << 10);
    members[0].say(&longest);
    members[1].hear(&longest);
    let refused = |text: &str| members[0].ask(json!({"cmd": "send", "room": "main", "text": text}));
    let error = refused(&format!("{longest}x"));
    assert_eq!(
        (error["event"].as_str(), error["code"].as_str()),
        (Some("error"), Some("message_too_long"))
    );
    assert_eq!(error["fatal"], false);
    assert_eq!(refused("")["code"], "message_empty");
    // Far beyond any line, then on as if nothing had been.
    let mark = members[0].mark();
    members[0].feed(&format!("{}\n", "y".repeat(2 << 20)));
    members[0].wait_from(mark, LONG, "the line is refused", |e| e["code"] == "message_too_long");
    members[0].feed("not json\n[1]\n{\"cmd\":\"sned\"}\n{\"cmd\":\"send\",\"text\":\"x\",\"room\":\"cellar\"}\n");
    for code in ["command_bad", "room_unknown"] {
        members[0].wait_from(mark, LONG, code, |e| e["code"] == code && e["fatal"] == false);
    }
    members[0].say("and on");
    members[1].hear("and on");
    same_talk(&[&members[0], &members[1]], 2);
}

#[test]
fn a_member_whose_output_is_not_read_slows_nobody_and_misses_nothing() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let deaf = &members[1];
    deaf.be_deaf(true);
    let before = resident_kib(deaf);
    let count = 3_000;
    let text = "w".repeat(500);
    let orders: String = (0..count)
        .map(|n| format!("{}\n", json!({"cmd": "send", "text": format!("{n} {text}")})))
        .collect();
    members[0].feed(&orders);
    same_talk(&[&members[0], &members[2]], count);
    members[2].say("the others go on");
    members[0].hear("the others go on");
    let after = resident_kib(deaf);
    eprintln!("unread: {before} KiB before, {after} KiB after {count} messages");
    assert!(after < before + 65_536, "{before} KiB, then {after} KiB");
    deaf.be_deaf(false);
    deaf.hear("the others go on");
    same_talk(&[&members[0], deaf], count + 1);
    deaf.assert_heard_once();
    assert_eq!(deaf.heard().len(), count + 1);
}
