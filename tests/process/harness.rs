//! Real processes for tests: started, spoken to in JSON, listened to, killed.
//! Owns: both ends of each process's pipes, and its end.
//! Must not know: what any test is about.
//! Invariants: every wait has a deadline and no wait is a guess; no process outlives its test.
//! Start reading at: [`Proc::wait`].

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use serde_json::{Value, json};

pub use crate::lab::{Lab, set_mode};

/// How long anything may take before a test gives up: generous, for the machine is shared.
pub const LONG: Duration = Duration::from_secs(60);
/// How often something is looked at that announces nothing.
pub const LOOK: Duration = Duration::from_millis(20);
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program: the one built for this test, or another one to compare with.
pub fn program() -> String {
    let other = std::env::var("P2PGROUP_TEST_PROGRAM");
    other.unwrap_or_else(|_| env!("CARGO_BIN_EXE_p2pgroup").to_owned())
}

/// Waits until all see all as active and linked, and agree on a leader with a majority.
pub fn settled(members: &[Proc]) {
    for member in members {
        member.until("all are linked and there is a leader", |status| {
            let linked = members.iter().filter(|other| other.name != member.name).all(|other| {
                list(&status["members"]).iter().any(|row| {
                    row["name"] == *other.name && row["state"] == "active" && row["linked"] == true
                })
            });
            linked && !status["leader"].is_null() && status["quorum"] == true
        });
    }
}

/// Which of them leads, once all agree on it and a majority is there.
pub fn leader_of(members: &[Proc]) -> usize {
    settled(members);
    let deadline = Instant::now() + LONG;
    loop {
        let leaders: BTreeSet<String> = members
            .iter()
            .map(|it| it.status()["leader"]["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        let found = members.iter().position(|it| leaders.contains(&it.name));
        if let (1, Some(at)) = (leaders.len(), found) {
            return at;
        }
        assert!(Instant::now() < deadline, "no agreement on a leader: {leaders:?}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until all have the whole talk of so many messages, checks that it is the same everywhere
/// and returns it.
pub fn same_talk(members: &[&Proc], count: usize) -> Vec<String> {
    let talk = members[0].history_of(count);
    for other in &members[1..] {
        assert_eq!(talk, other.history_of(count), "{} and {}", members[0].name, other.name);
    }
    talk
}

/// The voters of a status by name, the witness among them.
pub fn voters(status: &Value) -> BTreeSet<String> {
    list(&status["voters"]).iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What was heard of a process.
#[derive(Default)]
struct Heard {
    /// Events of `--json`, or lines as strings, with the moment they came.
    events: Vec<(Instant, Value)>,
    stderr: String,
    is_closed: bool,
    is_stderr_closed: bool,
    /// Whether its output is left unread.
    is_deaf: bool,
}

type Ear = Arc<(Mutex<Heard>, Condvar)>;

/// A running process of ours; killed when dropped.
pub struct Proc {
    pub name: String,
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    ear: Ear,
}

/// A process that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub events: Vec<Value>,
    pub stderr: String,
}

impl Ended {
    /// The code of the error that ended it.
    pub fn fatal(&self) -> &str {
        let errors = || self.events.iter().rev().filter(|e| e["event"] == "error");
        errors().find(|e| e["fatal"] == true).and_then(|e| e["code"].as_str()).unwrap_or_default()
    }
    pub fn text(&self) -> String {
        let lines: Vec<String> = self
            .events
            .iter()
            .map(|event| event.as_str().map_or_else(|| event.to_string(), str::to_owned))
            .collect();
        format!("exit {:?}\n{}\n--- stderr\n{}", self.code, lines.join("\n"), self.stderr)
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
        let mut child = lock(&self.child);
        if matches!(child.try_wait(), Ok(None)) {
            drop(child.kill());
        }
        drop(child.wait());
    }
}

static REFS: AtomicU64 = AtomicU64::new(1);

impl Proc {
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let ear = Ear::default();
        if let Some(stdout) = child.stdout.take() {
            let ear = Arc::clone(&ear);
            std::thread::spawn(move || listen(stdout, &ear));
        }
        if let Some(mut stderr) = child.stderr.take() {
            let ear = Arc::clone(&ear);
            std::thread::spawn(move || {
                let mut chunk = [0; 4_096];
                while let Ok(n @ 1..) = stderr.read(&mut chunk) {
                    lock(&ear.0).stderr.push_str(&String::from_utf8_lossy(&chunk[..n]));
                }
                lock(&ear.0).is_stderr_closed = true;
                ear.1.notify_all();
            });
        }
        Self { name: name.to_owned(), child: Mutex::new(child), stdin: Mutex::new(stdin), ear }
    }

    /// Leaves its output unread from now on, or reads on.
    pub fn be_deaf(&self, is_deaf: bool) {
        lock(&self.ear.0).is_deaf = is_deaf;
        self.ear.1.notify_all();
    }

    /// Where the events to come begin.
    pub fn mark(&self) -> usize {
        lock(&self.ear.0).events.len()
    }

    /// The first event, from the start on, that is meant.
    pub fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_from(0, LONG, what, is).1
    }

    /// The first event from a mark on that is meant, and when it came.
    pub fn wait_from(
        &self,
        mark: usize,
        within: Duration,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> (Instant, Value) {
        let deadline = Instant::now() + within;
        let mut next = mark;
        let mut heard = lock(&self.ear.0);
        loop {
            while let Some((at, event)) = heard.events.get(next) {
                if is(event) {
                    return (*at, event.clone());
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.is_closed {
                drop(heard);
                panic!("{}: waited in vain until {what}\n{}", self.name, self.story());
            }
            heard = self.ear.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.ear.0).events.iter().map(|(_, event)| event.clone()).collect()
    }

    /// Everything heard, for a person who wonders why a test failed.
    pub fn story(&self) -> String {
        let heard = lock(&self.ear.0);
        let mut story = format!("--- {} said:\n", self.name);
        let skipped = heard.events.len().saturating_sub(80);
        for (_, event) in heard.events.iter().skip(skipped) {
            let line: String = event.to_string().chars().take(1_200).collect();
            let _ = writeln!(story, "{line}");
        }
        let tail: Vec<&str> = heard.stderr.lines().rev().take(60).collect();
        let _ = writeln!(story, "--- {} on stderr:", self.name);
        for line in tail.iter().rev() {
            let _ = writeln!(story, "{line}");
        }
        story
    }

    pub fn stderr(&self) -> String {
        lock(&self.ear.0).stderr.clone()
    }

    /// Writes to its input; a process that is gone reads nothing.
    pub fn feed(&self, text: &str) {
        if let Some(stdin) = lock(&self.stdin).as_mut() {
            drop(stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()));
        }
    }

    pub fn close_input(&self) {
        drop(lock(&self.stdin).take());
    }

    pub fn order(&self, command: &Value) {
        self.feed(&format!("{command}\n"));
    }

    /// Gives an order and waits for what answers it.
    pub fn ask(&self, mut command: Value) -> Value {
        let reference = format!("r{}", REFS.fetch_add(1, Ordering::Relaxed));
        command["ref"] = Value::from(reference.as_str());
        let mark = self.mark();
        self.order(&command);
        let what = format!("{command} is answered");
        self.wait_from(mark, LONG, &what, |e| e["ref"] == *reference && e["event"] != "message").1
    }

    pub fn ready(&self) -> Value {
        self.wait("it is ready", |e| e["event"] == "ready")
    }

    pub fn status(&self) -> Value {
        self.ask(json!({"cmd": "status"}))
    }

    /// Asks for the status again and again until it is as meant.
    pub fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LONG;
        loop {
            let status = self.status();
            if is(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{}: waited in vain until {what}\nlast status: {status}\n{}",
                self.name,
                self.story()
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Sends, and returns the id once the message is stored here.
    pub fn say(&self, text: &str) -> String {
        let sent = self.ask(json!({"cmd": "send", "room": "main", "text": text}));
        assert_eq!(sent["event"], "sent", "{}: {sent}", self.name);
        sent["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a message of this text has come, be it live or as history.
    pub fn hear(&self, text: &str) -> Value {
        let what = format!("it hears \"{text}\"");
        self.wait(&what, |e| e["event"] == "message" && e["text"] == text)
    }

    pub fn hear_from(&self, mark: usize, text: &str) -> (Instant, Value) {
        let what = format!("it hears \"{text}\"");
        self.wait_from(mark, LONG, &what, |e| e["event"] == "message" && e["text"] == text)
    }

    /// The whole talk as lines that must be the same on every member.
    pub fn history(&self) -> Vec<String> {
        let mark = self.mark();
        let end = self.ask(json!({"cmd": "history", "room": "main", "last": 100_000}));
        assert_eq!(end["event"], "history", "{end}");
        let heard = lock(&self.ear.0);
        let rows = heard.events[mark..].iter().filter(|(_, e)| {
            e["event"] == "message" && e["history"] == true && e["ref"] == end["ref"]
        });
        rows.map(|(_, event)| {
            let mut event = event.clone();
            for local in ["event", "at", "ref", "history"] {
                event.as_object_mut().unwrap().remove(local);
            }
            event.to_string()
        })
        .collect()
    }

    /// Waits until the whole talk has so many messages, and returns it.
    pub fn history_of(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + LONG;
        let mut pause = LOOK;
        loop {
            let history = self.history();
            if history.len() == count {
                return history;
            }
            assert!(
                Instant::now() < deadline && history.len() < count,
                "{}: has {} messages, not {count}\n{}\n{}",
                self.name,
                history.len(),
                history.join("\n"),
                self.story()
            );
            // The whole of a long talk each time keeps everybody busy.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Nothing came live more than once.
    pub fn assert_heard_once(&self) {
        let mut known = BTreeSet::new();
        let events = self.events();
        for event in events.iter().filter(|e| e["event"] == "message" && e["history"] != true) {
            assert!(known.insert(event["id"].to_string()), "{}: twice: {event}", self.name);
        }
    }

    /// Texts that came live (not as history), in order.
    pub fn heard(&self) -> Vec<String> {
        self.events()
            .iter()
            .filter(|e| e["event"] == "message" && e["history"] != true)
            .filter_map(|e| e["text"].as_str().map(str::to_owned))
            .collect()
    }

    /// kill -9; returns the moment.
    pub fn kill(&self) -> Instant {
        let mut child = lock(&self.child);
        let at = Instant::now();
        drop(child.kill());
        drop(child.wait());
        at
    }

    pub fn signal(&self, name: &str) {
        let id = lock(&self.child).id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success(), "kill -s {name} {id}");
    }

    pub fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    pub fn is_running(&self) -> bool {
        matches!(lock(&self.child).try_wait(), Ok(None))
    }

    /// Waits until it has ended by itself.
    pub fn ended(&self, within: Duration) -> Ended {
        let deadline = Instant::now() + within;
        loop {
            let done = lock(&self.child).try_wait().unwrap();
            if let Some(status) = done {
                let mut heard = lock(&self.ear.0);
                let is_whole = |heard: &Heard| heard.is_closed && heard.is_stderr_closed;
                while !is_whole(&heard) && Instant::now() < deadline {
                    heard = self
                        .ear
                        .1
                        .wait_timeout(heard, LOOK)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                let events = heard.events.iter().map(|(_, event)| event.clone()).collect();
                return Ended { code: status.code(), events, stderr: heard.stderr.clone() };
            }
            assert!(Instant::now() < deadline, "{} does not end\n{}", self.name, self.story());
            std::thread::sleep(LOOK);
        }
    }

    /// Leaves by order; returns how long that took.
    pub fn exit(&self) -> Duration {
        let start = Instant::now();
        self.order(&json!({"cmd": "exit"}));
        let ended = self.ended(LONG);
        assert_eq!(ended.code, Some(0), "{}: {}", self.name, ended.text());
        start.elapsed()
    }
}

fn listen(stdout: impl Read, ear: &Ear) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        let mut heard = lock(&ear.0);
        if !matches!(read, Ok(1..)) {
            heard.is_closed = true;
            ear.1.notify_all();
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\n');
        let event = serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::from(text));
        heard.events.push((Instant::now(), event));
        ear.1.notify_all();
        while heard.is_deaf {
            heard = ear.1.wait(heard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
