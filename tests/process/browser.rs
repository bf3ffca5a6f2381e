//! A real browser without a window, driven by its own protocol over two pipes.
//! Owns: the process, its profile, and what its pages asked for and complained of.
//! Must not know: what a page is about.
//! Invariants: no browser outlives its test; every wait has a deadline.
//! Start reading at: [`Browser::open`].

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::{LONG, LOOK, Value, json, lock};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The first start makes a profile, and the machine is shared.
const START: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Heard {
    answers: BTreeMap<u64, Value>,
    events: Vec<Value>,
    is_closed: bool,
}

type Ear = Arc<(Mutex<Heard>, Condvar)>;

/// A browser.
pub struct Browser {
    child: Mutex<Child>,
    stdin: Mutex<ChildStdin>,
    ear: Ear,
    next: AtomicU64,
    _profile: tempfile::TempDir,
}

/// A tab with storage of its own, as in another browser.
pub struct Page<'a> {
    browser: &'a Browser,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        drop(child.kill());
        drop(child.wait());
    }
}

fn program() -> &'static str {
    let is_there = |name: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(Path::new(**name)).is_file())
    };
    NAMES.iter().find(is_there).unwrap_or_else(|| {
        panic!("the tests of the web page need Chromium: apt-get install chromium ({NAMES:?})")
    })
}

impl Browser {
    pub fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("p2pgroup-browser-").tempdir().unwrap();
        let directory = format!("--user-data-dir={}", profile.path().display());
        // Its protocol is spoken over the descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", program()])
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-extensions", "--mute-audio"])
            .args(["--window-size=1280,800", &directory, "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = Mutex::new(child.stdin.take().unwrap());
        let stdout = child.stdout.take().unwrap();
        let ear = Ear::default();
        let at = Arc::clone(&ear);
        std::thread::spawn(move || listen(stdout, &at));
        let child = Mutex::new(child);
        let browser = Self { child, stdin, ear, next: AtomicU64::new(1), _profile: profile };
        browser.asked(START, None, "Browser.getVersion", json!({})).unwrap();
        browser
    }

    fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.asked(LONG, session, method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// What is answered, or why not.
    fn asked(
        &self,
        within: Duration,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        lock(&self.stdin).write_all(&bytes).unwrap();
        let deadline = Instant::now() + within;
        let mut heard = lock(&self.ear.0);
        loop {
            if let Some(answer) = heard.answers.remove(&id) {
                return match answer["error"].is_null() {
                    true => Ok(answer["result"].clone()),
                    false => Err(answer["error"].clone()),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !heard.is_closed, "{method} is not answered");
            heard = self.ear.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A tab that shares nothing with the others.
    pub fn open(&self, url: &str) -> Page<'_> {
        let context = self.call(None, "Target.createBrowserContext", json!({}));
        let context = context["browserContextId"].as_str().unwrap();
        let params = json!({ "url": "about:blank", "browserContextId": context });
        let target = self.call(None, "Target.createTarget", params);
        let params = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", params);
        let page =
            Page { browser: self, session: session["sessionId"].as_str().unwrap().to_owned() };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        page.call("Page.navigate", json!({ "url": url }));
        page
    }
}

fn listen(stdout: impl Read, ear: &Ear) {
    let mut reader = BufReader::new(stdout);
    let mut message = Vec::new();
    loop {
        message.clear();
        let read = reader.read_until(0, &mut message);
        let mut heard = lock(&ear.0);
        if !matches!(read, Ok(1..)) {
            heard.is_closed = true;
            ear.1.notify_all();
            return;
        }
        message.pop();
        let message: Value = serde_json::from_slice(&message).unwrap_or_default();
        match message["id"].as_u64() {
            Some(id) => drop(heard.answers.insert(id, message)),
            None => heard.events.push(message),
        }
        ear.1.notify_all();
    }
}

impl Page<'_> {
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }

    /// What an expression is worth.
    pub fn eval(&self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
            "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Looks again and again until an expression is true.
    pub fn until(&self, what: &str, expression: &str) {
        let deadline = Instant::now() + LONG;
        // A page that is being loaded lacks this and that.
        let whole = format!(
            "(() => {{ try {{ return Boolean(document.body && ({expression})); }} \
             catch {{ return false; }} }})()"
        );
        let params = json!({ "expression": whole, "returnByValue": true });
        let is_true = || {
            let (session, params) = (Some(self.session.as_str()), params.clone());
            let answer = self.browser.asked(LONG, session, "Runtime.evaluate", params);
            answer.is_ok_and(|it| it["result"]["value"] == true)
        };
        while !is_true() {
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}\n{}\ncomplaints: {:?}",
                self.eval("document.body.innerText").as_str().unwrap_or_default(),
                self.complaints(),
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Types where the focus is.
    pub fn insert(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key; 1 is Alt, 2 Ctrl, 4 Meta, 8 Shift.
    pub fn press(&self, key: &str, modifiers: u32) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => key.chars().next().map_or(0, |c| u32::from(c.to_ascii_uppercase())),
        };
        let text = match key {
            "Enter" => Some("\r"),
            one if one.len() == 1 => Some(one),
            _ => None,
        };
        let mut params = json!({
            "type": "keyDown", "key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code,
        });
        if let Some(text) = text.filter(|_| modifiers == 0) {
            params["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", params.clone());
        params["type"] = "keyUp".into();
        params.as_object_mut().unwrap().remove("text");
        self.call("Input.dispatchKeyEvent", params);
    }

    fn events(&self, method: &str) -> Vec<Value> {
        let heard = lock(&self.browser.ear.0);
        let ours = |it: &&Value| it["method"] == method && it["sessionId"] == *self.session;
        heard.events.iter().filter(ours).map(|it| it["params"].clone()).collect()
    }

    /// Every address that was asked for.
    pub fn requests(&self) -> Vec<String> {
        let urls = self.events("Network.requestWillBeSent");
        urls.iter().filter_map(|it| it["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// Whether some request got this status.
    pub fn was_answered(&self, status: u64) -> bool {
        let answers = self.events("Network.responseReceived");
        answers.iter().any(|it| it["response"]["status"].as_u64() == Some(status))
    }

    /// Errors of scripts, and what the policy of the page did not allow.
    pub fn complaints(&self) -> Vec<String> {
        let thrown = self.events("Runtime.exceptionThrown");
        let logged = self
            .events("Log.entryAdded")
            .into_iter()
            .filter(|it| it["entry"]["level"] == "error" && it["entry"]["source"] != "network");
        let called = self.events("Runtime.consoleAPICalled");
        let called = called.into_iter().filter(|it| it["type"] == "error");
        thrown.into_iter().chain(logged).chain(called).map(|it| it.to_string()).collect()
    }
}
