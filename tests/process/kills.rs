//! Kills at random moments of everything that changes keys, rooms and members.
//! Owns: what holds afterwards: stores are whole, and no key and nonce was used twice.
//! Must not know: how a life, a session or a room key comes about.
//! Invariants: as in `main.rs`; a random choice is made from a seed that is printed.
//! Start reading at: the test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{LONG, Lab, Proc, Value, json, list, set_mode, settled};
use crate::random::Random;
use crate::stores::{Nonces, open, verified};

/// Kills of members at work, and of each kind of beginning.
const AT_WORK: usize = 150;
const OF_JOINS: usize = 20;
const OF_BACKUPS: usize = 12;
const OF_RESTORES: usize = 18;
/// The longest that a process works before it is killed.
const MOMENTS_MS: usize = 150;

/// What a killed process said: how often which orders were carried out or refused.
#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, usize>,
    /// Room and id of what must be there in the end.
    promised: Vec<(String, String)>,
}

impl Seen {
    /// Takes in what a process said. Where its home is lost, others have what was delivered.
    fn add(&mut self, events: &[Value], is_home_lost: bool) {
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let of = |kind: &'static str| events.iter().filter(move |e| e["event"] == kind);
        let delivered: BTreeSet<String> = of("delivered").map(|e| text(e, "id")).collect();
        for sent in of("sent").filter(|e| !is_home_lost || delivered.contains(&text(e, "id"))) {
            self.promised.push((text(sent, "room"), text(sent, "id")));
        }
        for event in events {
            let kind = event["event"].as_str().unwrap_or_default();
            match kind {
                // An order that comes too late, too early or twice is refused; nothing worse.
                "error" => {
                    let code = event["code"].as_str().unwrap_or_default();
                    let worse = ["internal", "database_failed", "database_key", "not_stored"];
                    assert!(event["fatal"] != true && !worse.contains(&code), "{event}");
                }
                _ => {}
            }
            let what = event["what"].as_str().or_else(|| event["code"].as_str());
            let name = what.map_or_else(|| kind.to_owned(), |what| format!("{kind} {what}"));
            *self.counts.entry(name).or_default() += 1;
        }
    }

    fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or_default()
    }
}

/// What a member is asked to do, some of it impossible at that moment.
fn orders(random: &mut Random, round: usize, name: &str) -> Vec<Value> {
    let rooms = ["ops", "den"];
    let mut orders = Vec::new();
    for part in 0..4 + random.below(6) {
        let room = *random.of(&["main", "main", "ops", "den"]);
        let (whom, shared) = (*random.of(&["alice", "bob", "carol"]), *random.of(&rooms));
        let text = format!("{name} {round}.{part}");
        let send = json!({"cmd": "send", "room": room, "text": text});
        orders.push(match random.below(24) {
            0 => json!({"cmd": "rekey", "room": *random.of(&["main", "ops", "den"])}),
            1 | 2 => json!({"cmd": "room_invite", "room": shared, "name": whom}),
            3 => json!({"cmd": "kick", "room": shared, "name": whom}),
            4 if whom != name => json!({"cmd": "msg", "name": whom, "text": text}),
            5 if round % 2 == 0 => {
                json!({"cmd": "room_create", "room": format!("{name}{round}x{part}")})
            }
            _ => send,
        });
    }
    orders
}

/// Runs `p2pgroup backup` and kills it at a random moment; gives whether it was done before.
fn killed(lab: &Lab, random: &mut Random, args: &[&str], most: usize) -> bool {
    let secret = lab.dir.path().join("secret");
    if !secret.exists() {
        std::fs::write(&secret, "tin of beans\n").unwrap();
        set_mode(&secret, 0o600);
    }
    let mut all = vec!["backup"];
    all.extend_from_slice(args);
    all.extend(["--json", "--backup-passphrase-file", secret.to_str().unwrap()]);
    let proc = Proc::start("backup", lab.command(&all));
    if most > 0 {
        // The moment itself is what is random here.
        std::thread::sleep(Duration::from_millis(random.below(most) as u64));
        proc.kill();
    }
    let ended = proc.ended(LONG);
    assert!(ended.code.is_none_or(|code| code == 0), "{}", ended.text());
    ended.code == Some(0)
}

/// Looks into a home that nothing runs on, if it has come so far.
fn inspect(lab: &Lab, home: &Path, nonces: &mut Nonces) -> bool {
    let is_there = home.join("store.db").exists();
    if is_there {
        nonces.add(&open(home));
        verified(lab, home);
    }
    is_there
}

fn ids(member: &Proc, room: &str) -> Vec<String> {
    let mark = member.mark();
    let end = member.ask(json!({"cmd": "history", "room": room, "last": 100_000}));
    let events = member.events();
    let of = |e: &&Value| e["event"] == "message" && e["ref"] == end["ref"];
    events[mark..].iter().filter(of).map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until this talk is the same for these and holds what was promised.
fn same(members: &[&Proc], room: &str, promised: &[String]) -> usize {
    let deadline = Instant::now() + LONG * 2;
    loop {
        let talks: Vec<Vec<String>> = members.iter().map(|it| ids(it, room)).collect();
        let lost = promised.iter().filter(|id| !talks[0].contains(id)).count();
        if lost == 0 && talks.iter().all(|talk| *talk == talks[0]) {
            return talks[0].len();
        }
        let counts: Vec<usize> = talks.iter().map(Vec::len).collect();
        assert!(Instant::now() < deadline, "{room}: {counts:?}, {lost} promised ones lacking");
    }
}

/// A copy of a home from before, as a backup that is restored over and over.
struct Backups {
    file: PathBuf,
    made: usize,
    restored: usize,
}

#[test]
fn two_hundred_kills_leave_whole_stores_and_no_key_with_a_nonce_twice() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let mut random = Random::new();
    let (mut nonces, mut seen) = (Nonces::default(), Seen::default());
    let start = Instant::now();
    let mut members = lab.group(&["alice", "bob", "carol"]);
    for room in ["ops", "den"] {
        let made = members[0].ask(json!({"cmd": "room_create", "room": room}));
        assert_eq!(made["event"], "room", "{made}");
        for name in ["bob", "carol"] {
            let order = json!({"cmd": "room_invite", "room": room, "name": name, "role": "admin"});
            let made = members[0].ask(order);
            assert_eq!(made["event"], "room", "{made}");
        }
    }
    let mut kills = 0;
    // 1. Members at work.
    for round in 0..AT_WORK {
        let at = random.below(members.len());
        for member in &members {
            for order in orders(&mut random, round, &member.name) {
                member.order(&order);
            }
        }
        if random.below(3) > 0 {
            members[at].ready();
        }
        std::thread::sleep(Duration::from_millis(random.below(MOMENTS_MS) as u64));
        members[at].kill();
        kills += 1;
        seen.add(&members[at].ended(LONG).events, false);
        let name = members[at].name.clone();
        assert!(inspect(&lab, &lab.home(&name), &mut nonces), "{name} has a store");
        members[at] = lab.start(&name);
    }
    let at_work = start.elapsed();
    for member in &members {
        member.ready();
    }
    settled(&members);
    // 2. Members that come.
    let mut begun = 0;
    for name in ["dave", "erin"] {
        for _ in 0..OF_JOINS / 2 {
            let newcomer = lab.start(name);
            newcomer.order(&json!({"cmd": "send", "room": "main", "text": "in?"}));
            members[0].order(&json!({"cmd": "rekey", "room": "main"}));
            std::thread::sleep(Duration::from_millis(random.below(1_500) as u64));
            newcomer.kill();
            kills += 1;
            seen.add(&newcomer.ended(LONG).events, false);
            begun += usize::from(inspect(&lab, &lab.home(name), &mut nonces));
        }
        let newcomer = lab.join(name);
        newcomer.say(&format!("{name} is in"));
        for member in &members {
            member.hear(&format!("{name} is in"));
        }
        members.push(newcomer);
    }
    // 3. A backup of carol, made and brought back at the third try or so.
    let mut backups = Backups { file: lab.dir.path().join("carol.backup"), made: 0, restored: 0 };
    let home = lab.home("carol");
    for turn in 0..3 {
        let carol = members.remove(2);
        carol.exit();
        seen.add(&carol.events(), false);
        drop(std::fs::remove_file(&backups.file));
        let (file, at) = (backups.file.to_str().unwrap().to_owned(), home.to_str().unwrap());
        for _ in 0..OF_BACKUPS / 3 {
            backups.made +=
                usize::from(killed(&lab, &mut random, &["create", &file, "--home", at], 1_000));
            kills += 1;
            inspect(&lab, &home, &mut nonces);
            drop(std::fs::remove_file(&backups.file));
        }
        assert!(killed(&lab, &mut random, &["create", &file, "--home", at], 0));
        // She goes on, so that the backup is old.
        let carol = lab.join("carol");
        for part in 0..5 {
            carol.say(&format!("after backup {turn}.{part}"));
        }
        carol.kill();
        kills += 1;
        seen.add(&carol.ended(LONG).events, true);
        inspect(&lab, &home, &mut nonces);
        std::fs::remove_dir_all(&home).unwrap();
        for _ in 0..OF_RESTORES / 3 {
            let is_done = killed(&lab, &mut random, &["restore", &file, "--home", at], 1_000);
            kills += 1;
            backups.restored += usize::from(is_done);
            // Whole or absent.
            let is_there = inspect(&lab, &home, &mut nonces);
            assert!(is_there || !is_done && !home.exists());
            if is_there {
                // And killed again as soon as it writes.
                let carol = lab.start("carol");
                for part in 0..8 {
                    let text = format!("restored {turn}.{part}");
                    carol.order(&json!({"cmd": "send", "room": "main", "text": text}));
                }
                std::thread::sleep(Duration::from_millis(random.below(1_000) as u64));
                carol.kill();
                kills += 1;
                seen.add(&carol.ended(LONG).events, true);
                inspect(&lab, &home, &mut nonces);
                std::fs::remove_dir_all(&home).unwrap();
            }
        }
        assert!(killed(&lab, &mut random, &["restore", &file, "--home", at], 0));
        members.insert(2, lab.join("carol"));
        members[2].say(&format!("carol is back {turn}"));
    }
    settled(&members);
    for member in &members {
        member.say(&format!("the end of {}", member.name));
    }
    let mains = seen.promised.iter().filter(|(room, _)| room == "main");
    let mains: Vec<String> = mains.map(|(_, id)| id.clone()).collect();
    let in_main = same(&members[..3].iter().collect::<Vec<_>>(), "main", &mains);
    // Who came late reads the newest 500 and what goes with them.
    let talk: BTreeSet<String> = ids(&members[0], "main").into_iter().collect();
    for late in &members[3..] {
        let read = ids(late, "main");
        assert!(read.len() >= talk.len().min(500) && read.iter().all(|id| talk.contains(id)));
    }
    let rooms = members[0].ask(json!({"cmd": "rooms"}));
    let rooms = list(&rooms["rooms"]).iter().filter(|it| it["in"] == true).count();
    for member in &members {
        let bad = |e: &Value| e["fork"] == true || e["event"] == "alarm";
        assert!(!member.events().iter().any(bad), "{}", member.story());
        member.exit();
        seen.add(&member.events(), false);
        inspect(&lab, &lab.home(&member.name), &mut nonces);
    }
    let [keys, logs, sessions] = nonces.kinds();
    eprintln!(
        "{kills} kills ({begun} of {OF_JOINS} joins had a store, {} of {OF_BACKUPS} backups and \
         {} of {OF_RESTORES} restores were done before); {} entries sealed once each under {keys} \
         room secrets in {logs} logs of {sessions} sessions; {in_main} in main, {} acknowledged, \
         alice is in {rooms} rooms; at work {at_work:?}, all {:?}",
        backups.made,
        backups.restored,
        nonces.len(),
        seen.promised.len(),
        start.elapsed()
    );
    eprintln!("{:?}", seen.counts);
    assert!(kills >= 200 && sessions > 20 && keys > 20, "{kills} {sessions} {keys}");
    for what in ["room created", "room entered", "room kicked", "epoch", "sent"] {
        assert!(seen.count(what) > 0, "{what}: {:?}", seen.counts);
    }
}
