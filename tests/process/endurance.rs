//! Processes that stop, are killed at any moment, or find no room on the disk.
//! Owns: what must be there afterwards.
//! Must not know: how it is stored.
//! Invariants: as in `main.rs`; a random choice is made from a seed that is printed.
//! Start reading at: the first test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{LONG, LOOK, Lab, Proc, Value, json, leader_of, list, same_talk, settled};

/// How long a process is stopped: as long as a person looks away.
const STOPPED: Duration = Duration::from_secs(30);
/// Between the messages that others write meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

fn is_away(name: &str) -> impl Fn(&Value) -> bool + use<'_> {
    move |e| e["event"] == "member" && e["name"] == name && e["state"] == "away"
}

fn is_active(name: &str) -> impl Fn(&Value) -> bool + use<'_> {
    move |e| e["event"] == "member" && e["name"] == name && e["state"] == "active"
}

#[test]
fn a_member_that_was_stopped_comes_back_deposes_nobody_and_has_lost_nothing() {
    let lab = Lab::new().with("TIMERS_AWAY_AFTER_MS", "2000");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    let at = leader_of(&members);
    members.rotate_left(at);
    let (leader, other, sleeper) = (&members[0], &members[1], &members[2]);
    let ballot = leader.status()["ballot"].clone();
    let marks = [leader.mark(), other.mark()];
    sleeper.signal("STOP");
    let stopped = Instant::now();
    leader.wait_from(marks[0], LONG, "the sleeper is away", is_away(&sleeper.name));
    let mut count = 0;
    while stopped.elapsed() < STOPPED {
        other.say(&format!("while you slept {count}"));
        leader.hear(&format!("while you slept {count}"));
        count += 1;
        std::thread::sleep(PAUSE);
    }
    let mark = leader.mark();
    sleeper.signal("CONT");
    leader.wait_from(mark, LONG, "the sleeper is back", is_active(&sleeper.name));
    settled(&members);
    sleeper.say("good morning");
    same_talk(&[leader, other, sleeper], count + 1);
    let status = leader.status();
    assert_eq!((&status["role"], &status["ballot"]), (&json!("leader"), &ballot), "{status}");
    let deposed = leader.events().iter().skip(mark).any(|e| e["event"] == "leader");
    assert!(!deposed, "{}", leader.story());
}

#[test]
fn a_leader_that_was_stopped_finds_a_new_one_and_follows_it() {
    let lab = Lab::new().with("TIMERS_AWAY_AFTER_MS", "2000");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    let at = leader_of(&members);
    members.rotate_left(at);
    let sleeper = &members[0];
    let mark = members[1].mark();
    sleeper.signal("STOP");
    let stopped = Instant::now();
    let (_, new) = members[1].wait_from(mark, LONG, "a new leader", |e| {
        e["event"] == "leader" && e["name"].is_string() && e["name"] != *sleeper.name
    });
    members[1].say("under a new one");
    members[1].wait_from(mark, LONG, "the sleeper is away", is_away(&sleeper.name));
    // Written into the pipe of a process that stands still; sent when it goes on.
    sleeper.order(&json!({"cmd": "send", "room": "main", "text": "from my dream"}));
    let mut count = 2;
    while stopped.elapsed() < STOPPED {
        members[2].say(&format!("while you slept {count}"));
        count += 1;
        std::thread::sleep(PAUSE);
    }
    sleeper.signal("CONT");
    settled(&members);
    let at = leader_of(&members);
    assert_eq!(new["name"], *members[at].name, "the new leader was deposed");
    same_talk(&members.iter().collect::<Vec<_>>(), count);
}

/// The generation and term of a ballot as `status` prints it.
fn promise(status: &Value) -> (u64, u64) {
    let text = status["ballot"].as_str().unwrap_or_default();
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[test]
fn a_hundred_kills_at_random_moments_lose_nothing_that_was_acknowledged() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut pair = [lab.join("alice"), lab.join("bob")];
    settled(&pair);
    let mut state = 0x9e37_79b9_u64 ^ u64::from(std::process::id());
    eprintln!("the moments come from {state:#x}");
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut follower = 1 - leader_of(&pair);
    let mut acknowledged = BTreeSet::new();
    let mut promised = [(0, 0); 2];
    for round in 0..100 {
        // Mostly the one that follows, so that it gets far; now and then the one that leads.
        let at = if round % 10 == 9 { leader_of(&pair) } else { follower };
        let victim = &pair[at];
        for part in 0..4 {
            let text = format!("{round}.{part} {}", victim.name);
            victim.order(&json!({"cmd": "send", "room": "main", "text": text, "ref": "s"}));
            let text = format!("{round}.{part} beside");
            pair[1 - at].order(&json!({"cmd": "send", "room": "main", "text": text, "ref": "s"}));
        }
        victim.order(&json!({"cmd": "status"}));
        if random(2) == 0 {
            victim.ready();
        }
        // The moment itself is what is random here: before, while or after it works on that.
        std::thread::sleep(Duration::from_millis(random(150)));
        victim.kill();
        for event in victim.events() {
            if event["event"] == "sent" {
                acknowledged.insert(event["id"].as_str().unwrap().to_owned());
            }
            if event["event"] == "status" {
                let now = promise(&event);
                assert!(now >= promised[at], "{now:?} after {:?}", promised[at]);
                promised[at] = now;
            }
        }
        let name = victim.name.clone();
        pair[at] = lab.start(&name);
        if round % 10 == 9 {
            follower = 1 - leader_of(&pair);
        }
    }
    for member in &pair {
        member.ready();
        for event in member.events().iter().filter(|e| e["event"] == "sent") {
            acknowledged.insert(event["id"].as_str().unwrap().to_owned());
        }
        assert!(!member.events().iter().any(|e| e["event"] == "error"), "{}", member.story());
    }
    settled(&pair);
    pair[0].say("the end of alice");
    pair[1].say("the end of bob");
    pair[0].hear("the end of bob");
    pair[1].hear("the end of alice");
    let talk = pair[0].history();
    assert_eq!(talk, pair[1].history());
    let ids: Vec<String> = talk
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), known.len(), "something is there twice");
    let lost: Vec<_> = acknowledged.difference(&known).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    eprintln!("{} acknowledged, {} in the talk", acknowledged.len(), ids.len());
    for (member, before) in pair.iter().zip(promised) {
        assert!(promise(&member.status()) >= before);
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
}

#[test]
fn end_of_input_and_signals_end_the_process_cleanly() {
    let lab = Lab::new();
    let (bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let members = lab.group(&["alice", "bob", "carol"]);
    let limit = Duration::from_secs(6);
    members[0].close_input();
    assert_eq!(members[0].ended(limit).code, Some(0));
    members[1].signal("TERM");
    assert_eq!(members[1].ended(limit).code, Some(0));
    members[2].signal("INT");
    assert_eq!(members[2].ended(limit).code, Some(0));
    // Servers go on without input.
    bootstrap.close_input();
    lab.join("bob");
    assert!(bootstrap.is_running());
    for server in [&bootstrap, &keyauth] {
        server.signal("TERM");
        assert_eq!(server.ended(limit).code, Some(0));
    }
    // Before anything was reached, too.
    let dave = lab.start("dave");
    dave.wait("it waits", |e| e["event"] == "waiting");
    dave.signal("TERM");
    let ended = dave.ended(limit);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
}

#[test]
fn a_member_whose_output_nobody_reads_ends_quietly() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    lab.prepare("bob", "bob.pem");
    let args = lab.join_args("bob", &["--no-embedded"]);
    let line = format!(
        "'{}' {} | head -n 1",
        crate::harness::program(),
        args.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(" ")
    );
    // The shell ends when both sides of the pipe have: it still listens to nobody.
    let bob = Proc::start("bob", lab.wrapped("sh", &["-c", &line]));
    // It notices when it has something to say.
    let deadline = Instant::now() + LONG;
    while bob.is_running() && Instant::now() < deadline {
        alice.say("anybody?");
    }
    let ended = bob.ended(LONG);
    assert!(!ended.stderr.contains("panic"), "{}", ended.text());
    assert!(ended.stderr.is_empty(), "{}", ended.text());
}

/// Whether a file system of our own may be mounted here, in a namespace of its own.
fn may_mount(lab: &Lab) -> bool {
    let place = lab.dir.path().join("try");
    std::fs::create_dir_all(&place).unwrap();
    let line = format!("mount -t tmpfs -o size=64k tmpfs '{}'", place.display());
    let ended = Proc::start("mount", lab.wrapped("unshare", &["-rm", "sh", "-c", &line]));
    ended.ended(LONG).code == Some(0)
}

#[test]
fn a_full_disk_refuses_to_send_and_recovers_when_there_is_space() {
    let Some((lab, [_bootstrap, _keyauth, bob], place)) = beside_a_small_disk() else { return };
    let alice = on_a_small_disk(&lab, &place, |program| format!("exec {program}"));
    alice.ready();
    alice.say("room enough");
    let ballast = fill(&alice, &place);
    let (stored, refused) = until_full(&alice);
    assert_eq!((&refused["event"], &refused["code"]), (&json!("error"), &json!("not_stored")));
    assert_eq!(refused["fatal"], false, "{refused}");
    let links = link_changes(&bob, "alice", Duration::from_secs(6));
    assert!(links < 30, "{links} links came up or went down in six seconds");
    std::fs::remove_file(&ballast).unwrap();
    let mark = bob.mark();
    let deadline = Instant::now() + LONG;
    while alice.ask(json!({"cmd": "send", "room": "main", "text": "room again"}))["event"] != "sent"
    {
        assert!(Instant::now() < deadline, "{}", alice.story());
    }
    bob.hear_from(mark, "room again");
    same_talk(&[&alice, &bob], stored + 1);
}

#[test]
fn what_was_noted_while_the_database_had_no_space_is_said_once_and_outlives_a_kill() {
    let Some((lab, [_bootstrap, _keyauth, bob], place)) = beside_a_small_disk() else { return };
    let roomy = lab.dir.path().join("entries.journal");
    // The journal lies where there is room: a message can be noted and its commit fails.
    let alice = on_a_small_disk(&lab, &place, |program| {
        let (home, roomy) = (place.join("alice"), roomy.display());
        let home = home.display();
        let link = format!("mkdir -m 700 '{home}' && ln -s '{roomy}' '{home}/entries.journal'");
        format!("{link} && {{ {program}; rm '{}/ballast'; {program}; }}", place.display())
    });
    alice.ready();
    alice.say("room enough");
    fill(&alice, &place);
    let (stored, refused) = until_full(&alice);
    assert_eq!((&refused["event"], &refused["code"]), (&json!("error"), &json!("not_stored")));
    let noted = std::fs::metadata(&roomy).unwrap().len();
    assert!(noted > 60_000, "{noted} bytes noted");
    let mark = alice.mark();
    let children = format!("/proc/{0}/task/{0}/children", alice.id());
    let program = std::fs::read_to_string(children).unwrap();
    let killed = std::process::Command::new("kill").args(["-KILL", program.trim()]).status();
    assert!(killed.unwrap().success());
    alice.wait_from(mark, LONG, "ready", |e| e["event"] == "ready");
    same_talk(&[&alice, &bob], stored);
    bob.assert_heard_once();
    assert_eq!(std::fs::metadata(&roomy).unwrap().len(), 0);
}

/// Servers, a member, and where another one may have a file system of its own, if that can be made.
fn beside_a_small_disk() -> Option<(Lab, [Proc; 3], PathBuf)> {
    let lab = Lab::new();
    if !may_mount(&lab) {
        eprintln!("no file system can be mounted here: a full disk cannot be made");
        return None;
    }
    let others = [lab.bootstrap(), lab.keyauth(), lab.join("bob")];
    let place = lab.home("small");
    Some((lab, others, place))
}

/// Sends until nothing is stored any more, since the log may have room left in its file. Gives how many
/// messages are stored, with the one before, and the no.
fn until_full(alice: &Proc) -> (usize, Value) {
    for stored in 1..200 {
        let answer = alice.ask(json!({"cmd": "send", "room": "main", "text": "z".repeat(60_000)}));
        if answer["event"] != "sent" {
            return (stored, answer);
        }
    }
    panic!("the disk is not full");
}

/// How often a link with somebody begins or ends in this time, as far as looking shows.
fn link_changes(proc: &Proc, name: &str, during: Duration) -> usize {
    let (until, mut seen) = (Instant::now() + during, BTreeSet::new());
    while Instant::now() < until {
        let members = proc.ask(json!({"cmd": "members"}));
        let row = list(&members["members"]).iter().find(|it| it["name"] == name).cloned().unwrap();
        seen.insert(row["last_seen"].to_string());
        std::thread::sleep(LOOK);
    }
    seen.len()
}

/// A member whose home is in a file system of its own with little room; `script` says how its program
/// is run there.
fn on_a_small_disk(lab: &Lab, place: &Path, script: impl Fn(&str) -> String) -> Proc {
    std::fs::create_dir_all(place).unwrap();
    let home = place.join("alice");
    let mut args = lab.join_args("alice", &["--no-embedded"]);
    let at = args.iter().position(|it| it == "--home").unwrap();
    args[at + 1] = home.to_str().unwrap().to_owned();
    let args: Vec<_> = args.iter().map(|it| format!("'{it}'")).collect();
    let program = format!("'{}' {}", crate::harness::program(), args.join(" "));
    let mount = format!("mount -t tmpfs -o size=6m,mode=700 tmpfs '{}'", place.display());
    let line = format!("{mount} && {}", script(&program));
    Proc::start("alice", lab.wrapped("unshare", &["-rm", "sh", "-c", &line]))
}

/// Takes all the room in it; gives the file that has it.
fn fill(alice: &Proc, place: &Path) -> PathBuf {
    use std::io::Write;
    let inside = PathBuf::from(format!("/proc/{}/root", alice.id()));
    let ballast = inside.join(place.strip_prefix("/").unwrap()).join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [65_536, 4_096] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    ballast
}
