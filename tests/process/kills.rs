//! Kills at random moments of everything that changes keys, rooms and members.
//! Owns: what holds afterwards: stores are whole, and no key and nonce was used twice.
//! Must not know: how a life, a session or a room key comes about.
//! Invariants: as in `main.rs`; a random choice is made from a seed that is printed.
//! Start reading at: the test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{LONG, Lab, Proc, Value, json, set_mode, settled};
use crate::random::Random;
use crate::rooms::{create, done};
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
            // An order that comes too late, too early or twice is refused; nothing worse.
            if kind == "error" {
                let code = event["code"].as_str().unwrap_or_default();
                let worse = ["internal", "database_failed", "database_key", "not_stored"];
                assert!(event["fatal"] != true && !worse.contains(&code), "{event}");
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
            5 if round.is_multiple_of(2) => {
                json!({"cmd": "room_create", "room": format!("{name}{round}x{part}")})
            }
            _ => send,
        });
    }
    orders
}

/// A time below so many milliseconds.
fn moment(random: &mut Random, end_ms: usize) -> Duration {
    Duration::from_millis(u64::try_from(random.below(end_ms)).unwrap())
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
        std::thread::sleep(moment(random, most));
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

/// A group whose processes are killed, and what was seen of it.
struct Run {
    lab: Lab,
    members: Vec<Proc>,
    random: Random,
    nonces: Nonces,
    seen: Seen,
    kills: usize,
}

impl Run {
    /// A moment later kills a process, and looks into its home.
    fn kill(&mut self, proc: &Proc, within_ms: usize, is_home_lost: bool) -> bool {
        // The moment itself is what is random here.
        std::thread::sleep(moment(&mut self.random, within_ms));
        proc.kill();
        self.seen.add(&proc.ended(LONG).events, is_home_lost);
        self.inspect(&proc.name)
    }

    fn inspect(&mut self, name: &str) -> bool {
        self.kills += 1;
        inspect(&self.lab, &self.lab.home(name), &mut self.nonces)
    }

    /// Members at work.
    fn work(&mut self) {
        for round in 0..AT_WORK {
            let at = self.random.below(self.members.len());
            for member in &self.members {
                for order in orders(&mut self.random, round, &member.name) {
                    member.order(&order);
                }
            }
            let victim = self.members.remove(at);
            if self.random.below(3) > 0 {
                victim.ready();
            }
            assert!(self.kill(&victim, MOMENTS_MS, false), "{} has a store", victim.name);
            self.members.insert(at, self.lab.start(&victim.name));
        }
        for member in &self.members {
            member.ready();
        }
        settled(&self.members);
    }

    /// Members that come; gives how often one had a store when it was killed.
    fn join(&mut self) -> usize {
        let mut begun = 0;
        for name in ["dave", "erin"] {
            for _ in 0..OF_JOINS / 2 {
                let newcomer = self.lab.start(name);
                newcomer.order(&json!({"cmd": "send", "room": "main", "text": "in?"}));
                self.members[0].order(&json!({"cmd": "rekey", "room": "main"}));
                begun += usize::from(self.kill(&newcomer, 1_500, false));
            }
            let newcomer = self.lab.join(name);
            newcomer.say(&format!("{name} is in"));
            for member in &self.members {
                member.hear(&format!("{name} is in"));
            }
            self.members.push(newcomer);
        }
        begun
    }

    /// Backups of carol, made and brought back; gives how many of each were done before the kill.
    fn back_up(&mut self) -> (usize, usize) {
        let file = self.lab.dir.path().join("carol.backup");
        let home = self.lab.home("carol");
        let create = ["create", file.to_str().unwrap(), "--home", home.to_str().unwrap()];
        let restore = ["restore", file.to_str().unwrap(), "--home", home.to_str().unwrap()];
        let (mut made, mut restored) = (0, 0);
        for turn in 0..3 {
            let carol = self.members.remove(2);
            carol.exit();
            self.seen.add(&carol.events(), false);
            for _ in 0..OF_BACKUPS / 3 {
                drop(std::fs::remove_file(&file));
                made += usize::from(killed(&self.lab, &mut self.random, &create, 1_000));
                self.inspect("carol");
            }
            drop(std::fs::remove_file(&file));
            assert!(killed(&self.lab, &mut self.random, &create, 0));
            // She goes on, so that the backup is old.
            let carol = self.lab.join("carol");
            for part in 0..5 {
                carol.say(&format!("after backup {turn}.{part}"));
            }
            self.kill(&carol, 1, true);
            std::fs::remove_dir_all(&home).unwrap();
            for part in 0..OF_RESTORES / 3 {
                let is_done = killed(&self.lab, &mut self.random, &restore, 1_000);
                restored += usize::from(is_done);
                // Whole or absent.
                let is_there = self.inspect("carol");
                assert!(is_there || !is_done && !home.exists());
                if is_there {
                    // And killed again as soon as it writes.
                    let carol = self.lab.start("carol");
                    for _ in 0..8 {
                        let text = format!("restored {turn}.{part}");
                        carol.order(&json!({"cmd": "send", "room": "main", "text": text}));
                    }
                    self.kill(&carol, 1_000, true);
                    std::fs::remove_dir_all(&home).unwrap();
                }
            }
            assert!(killed(&self.lab, &mut self.random, &restore, 0));
            self.members.insert(2, self.lab.join("carol"));
            self.members[2].say(&format!("carol is back {turn}"));
        }
        settled(&self.members);
        (made, restored)
    }

    /// What all hold in the end; gives how much is in `main`.
    fn agree(&self) -> usize {
        let mains = self.seen.promised.iter().filter(|(room, _)| room == "main");
        let mains: Vec<String> = mains.map(|(_, id)| id.clone()).collect();
        let count = same(&self.members[..3].iter().collect::<Vec<_>>(), "main", &mains);
        // Who came late reads the newest 500 and what goes with them.
        let talk: BTreeSet<String> = ids(&self.members[0], "main").into_iter().collect();
        for late in &self.members[3..] {
            let read = ids(late, "main");
            assert!(read.len() >= talk.len().min(500) && read.iter().all(|id| talk.contains(id)));
        }
        count
    }
}

#[test]
fn two_hundred_kills_leave_whole_stores_and_no_key_with_a_nonce_twice() {
    let lab = Lab::new();
    let servers = [lab.bootstrap(), lab.keyauth()];
    let start = Instant::now();
    let members = lab.group(&["alice", "bob", "carol"]);
    for room in ["ops", "den"] {
        create(&members[0], room, json!({}));
        for name in ["bob", "carol"] {
            let order = json!({"cmd": "room_invite", "room": room, "name": name, "role": "admin"});
            done(&members[0], order);
        }
    }
    let (nonces, seen) = (Nonces::default(), Seen::default());
    let mut run = Run { lab, members, random: Random::new(), nonces, seen, kills: 0 };
    run.work();
    let at_work = start.elapsed();
    let begun = run.join();
    let (made, restored) = run.back_up();
    for member in &run.members {
        member.say(&format!("the end of {}", member.name));
    }
    let in_main = run.agree();
    let kills = run.kills;
    for member in std::mem::take(&mut run.members) {
        let bad = |e: &Value| e["fork"] == true || e["event"] == "alarm";
        assert!(!member.events().iter().any(bad), "{}", member.story());
        member.exit();
        run.seen.add(&member.events(), false);
        run.inspect(&member.name);
    }
    // Before the directory that they work in.
    drop(servers);
    let [keys, logs, sessions] = run.nonces.kinds();
    eprintln!(
        "{kills} kills ({begun} of {OF_JOINS} joins had a store, {made} of {OF_BACKUPS} backups \
         and {restored} of {OF_RESTORES} restores were done before); {} entries sealed once each \
         under {keys} room secrets in {logs} logs of {sessions} sessions; {in_main} in main, {} \
         acknowledged; at work {at_work:?}, all {:?}",
        run.nonces.len(),
        run.seen.promised.len(),
        start.elapsed()
    );
    eprintln!("{:?}", run.seen.counts);
    assert!(kills >= 200 && sessions > 20 && keys > 20, "{kills} {sessions} {keys}");
    for what in ["room created", "room entered", "room kicked", "epoch", "sent"] {
        assert!(run.seen.count(what) > 0, "{what}: {:?}", run.seen.counts);
    }
}
