//! The local API as `curl` meets it.
//! Owns: what a program without any library of ours can rely on.
//! Must not know: how the API is built.
//! Invariants: as in `main.rs`.
//! Start reading at: `ten_thousand_messages_reach_three_clients_once_over_a_kill`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest as _;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::harness::{LONG, LOOK, Lab, Proc, Value, json, list, lock, settled};
use crate::lab::free_port;

/// A member with an API.
pub struct Served<'a> {
    lab: &'a Lab,
    name: &'static str,
    port: u16,
}

/// What came back.
#[derive(Debug)]
pub struct Came {
    pub status: u16,
    pub text: String,
}

impl Came {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl<'a> Served<'a> {
    pub fn new(lab: &'a Lab, name: &'static str) -> Self {
        Self { lab, name, port: free_port() }
    }

    pub fn start(&self) -> Proc {
        let member = self.begin();
        member.ready();
        member
    }

    /// Starts it, and does not wait until it is in.
    pub fn begin(&self) -> Proc {
        let address = format!("127.0.0.1:{}", self.port);
        self.lab.start_with(self.name, &["--no-embedded", "--api", &address])
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn token(&self) -> String {
        let path = self.lab.home(self.name).join("api.token");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    fn made(&self, args: &[&str]) -> String {
        let home = self.lab.home(self.name);
        let args = [&["api"], args, &["--home", home.to_str().unwrap()]].concat();
        let ended = self.lab.run(&args, "");
        assert_eq!(ended.code, Some(0), "{}", ended.text());
        ended.events[0].as_str().unwrap().to_owned()
    }

    /// With no token and no headers but those given.
    fn bare(&self, path: &str, args: &[&str]) -> Came {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]);
        let output = command.args(args).arg(self.url(path)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (text, status) = text.rsplit_once('\n').unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let status = status.parse().unwrap_or_else(|_| panic!("{path}: {text}{status} {stderr}"));
        Came { status, text: text.to_owned() }
    }

    pub fn with(&self, token: &str, path: &str, args: &[&str]) -> Came {
        let header = format!("Authorization: Bearer {token}");
        self.bare(path, &[&["-H", &header], args].concat())
    }

    pub fn get(&self, path: &str) -> Came {
        self.with(&self.token(), path, &[])
    }

    pub fn delete(&self, path: &str) -> Came {
        self.with(&self.token(), path, &["-X", "DELETE"])
    }

    pub fn post(&self, path: &str, body: &Value, more: &[&str]) -> Came {
        let (kind, body) = ("Content-Type: application/json", body.to_string());
        self.with(&self.token(), path, &[&["-H", kind, "-d", &body], more].concat())
    }

    fn say(&self, path: &str, text: &str, more: &[&str]) -> Came {
        self.post(path, &json!({ "text": text }), more)
    }
}

const MAIN: &str = "/v1/rooms/main/messages";

#[test]
fn whoever_is_not_meant_is_refused_before_anything_is_done() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    assert_eq!(api.bare("/healthz", &[]).text, "ok\n");
    let refused = |came: Came, status: u16, code: &str| {
        assert_eq!((came.status, came.code().as_str()), (status, code), "{}", came.text);
        let problem = came.json();
        assert_eq!(problem["type"], format!("urn:p2pgroup:{code}"));
        assert_eq!(problem["status"], status);
    };
    refused(api.bare("/v1/status", &[]), 401, "token_missing");
    let page = api.bare("/", &["-i"]);
    assert_eq!(page.status, 200);
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "x-frame-options: DENY",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "permissions-policy: camera=(), microphone=()",
        "x-content-type-options: nosniff",
    ] {
        assert!(page.text.contains(header), "{header}: {}", page.text);
    }
    let token = api.token();
    let shorter: String = token.chars().skip(1).collect();
    for wrong in ["x".to_owned(), shorter, format!("{token}0")] {
        refused(api.with(&wrong, "/v1/status", &[]), 401, "token_missing");
    }
    refused(api.get(&format!("/v1/status?token={token}")), 400, "token_in_url");
    for header in ["Host: evil.example", "Origin: null", "Origin: http://evil.example"] {
        refused(api.with(&token, "/v1/status", &["-H", header]), 403, "origin_foreign");
    }
    let handshake = [
        "-H",
        "Origin: http://evil.example",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    refused(api.with(&token, "/v1/socket", &handshake), 403, "origin_foreign");
    let form = ["-H", "Content-Type: text/plain", "-d", "{\"text\":\"x\"}"];
    refused(api.with(&token, MAIN, &form), 415, "request_bad");
    refused(api.with(&token, MAIN, &["-d", "text=x"]), 415, "request_bad");
    refused(api.get("/v1/nothing"), 404, "request_bad");
    // What is no text as a name.
    for path in ["/v1/rooms/%ff", "/v1/files/%ff/content", "/v1/rooms/%ff/export"] {
        refused(api.get(path), 400, "request_bad");
    }
    refused(api.say("/v1/rooms/%ff/messages", "x", &[]), 400, "request_bad");
    refused(api.with(&token, "/v1/status", &["-X", "PUT"]), 405, "request_bad");
    refused(api.with(&token, "/v1/status", &["-X", "DELETE"]), 405, "request_bad");
    let huge = lab.dir.path().join("huge");
    std::fs::write(&huge, format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20))).unwrap();
    let huge = format!("@{}", huge.display());
    let kind = ["-H", "Content-Type: application/json", "-H", "Expect:", "-d", &huge];
    refused(api.with(&token, MAIN, &kind), 413, "request_bad");
    let header = format!("X-Long: {}", "x".repeat(20_000));
    refused(api.with(&token, "/v1/status", &["-H", &header]), 431, "request_bad");
    refused(api.post(MAIN, &json!({ "text": "x", "more": 1 }), &[]), 400, "request_bad");
    refused(api.post(MAIN, &json!({ "text": -1 }), &[]), 400, "request_bad");
    refused(api.get("/v1/messages?after=-1"), 400, "request_bad");
    refused(api.get("/v1/messages?after=9007199254740993000000"), 400, "request_bad");
    refused(api.say("/v1/rooms/nowhere/messages", "x", &[]), 404, "room_unknown");
    refused(api.say(MAIN, "", &[]), 400, "message_empty");
    refused(api.get("/v1/events?since=99999"), 400, "cursor_unknown");
    refused(api.get("/v1/messages?after=99999"), 400, "cursor_unknown");
    assert_eq!(api.get("/v1/messages?after=99999&last=0").json()["last"], 0);

    let read = api.made(&["token", "--scope", "read"]);
    let send = api.made(&["token", "--scope", "send"]);
    assert_eq!(api.with(&read, "/v1/members", &[]).status, 200);
    let said = ["-H", "Content-Type: application/json", "-d", "{\"text\":\"x\"}"];
    refused(api.with(&read, MAIN, &said), 403, "scope_missing");
    assert_eq!(api.with(&send, MAIN, &said).status, 201);
    refused(api.with(&send, "/v1/rooms/main/rekey", &["-X", "POST"]), 403, "scope_missing");
    refused(api.with(&send, "/v1/webhooks", &[]), 403, "scope_missing");
    // An address that others reach is refused before anything starts.
    let args = ["join", "--name", "bob", "--json", "--api", "0.0.0.0:8700"];
    let ended = lab.run(&args, "");
    assert_eq!((ended.code, ended.fatal()), (Some(2), "api_exposed"), "{}", ended.text());
    alice.exit();
}

#[test]
fn what_the_commands_do_goes_over_http_too() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let bob = lab.join("bob");
    bob.until("alice is linked", |status| {
        list(&status["members"]).iter().any(|it| it["name"] == "alice" && it["linked"] == true)
    });
    let came = api.say(&format!("{MAIN}?wait=all&timeout=30"), "hello", &[]);
    assert_eq!((came.status, &came.json()["state"]), (201, &json!("all")), "{}", came.text);
    bob.hear("hello");
    let id = came.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/v1/messages/{id}")).json()["to"], json!(["bob"]));
    assert_eq!(api.get("/v1/status").json()["name"], "alice");
    assert_eq!(list(&api.get("/v1/members").json()["members"]).len(), 2);
    let made = api.post("/v1/rooms/ops", &json!({ "entry": "free", "text": "what breaks" }), &[]);
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(api.get("/v1/rooms/ops").json()["description"], "what breaks");
    assert_eq!(list(&api.get("/v1/rooms").json()["rooms"]).len(), 2);
    bob.say("the deploy failed");
    alice.hear("the deploy failed");
    let found = api.get("/v1/search?words=deploy");
    assert_eq!(found.json()["messages"][0]["text"], "the deploy failed", "{}", found.text);
    let history = api.get(&format!("{MAIN}?last=10")).json();
    assert_eq!(list(&history["messages"]).len(), 2, "{history}");
    let group = api.get("/v1/group").json();
    let link = list(&group["links"]).iter().find(|it| it["name"] == "bob").unwrap();
    assert_eq!((&link["from"], &link["direct"]), (&json!("alice"), &json!(true)), "{group}");
    assert!(!list(&group["terms"]).is_empty() && !group["leader"].is_null(), "{group}");
    let metrics = api.get("/metrics").text;
    assert!(metrics.contains("\np2pgroup_members{state=\"active\"} 2\n"), "{metrics}");
    assert!(metrics.contains("\np2pgroup_control_commit "), "{metrics}");
    assert!(!metrics.contains("\np2pgroup_control_commit 0\n"), "{metrics}");
    let document = api.get("/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let came = api.post("/v1/commands", &json!({ "cmd": "status" }), &[]);
    assert_eq!(came.json()["events"][0]["name"], "alice", "{}", came.text);

    own_messages_are_found_page_by_page(&api, &alice);

    // Once, whoever asks how often, and over a kill.
    let key = ["-H", "Idempotency-Key: 7f3a"];
    let first = api.say(MAIN, "only once", &key).json();
    assert_eq!(api.say(MAIN, "only once", &key).json()["id"], first["id"]);
    let other = api.say(MAIN, "something else", &key);
    assert_eq!((other.status, other.code().as_str()), (422, "key_reused"));
    // So an answer, a message for programs and a file, and waited for.
    let id = first["id"].as_str().unwrap();
    let reply = format!("/v1/messages/{id}/reply?wait=one&timeout=30");
    for (path, key) in
        [(reply.as_str(), "reply"), ("/v1/rooms/main/apps/org.example.poll%2F1", "app")]
    {
        let header = format!("Idempotency-Key: {key}");
        let once = || api.post(path, &json!({ "text": "twice?" }), &["-H", &header]);
        let came = once();
        assert_eq!(came.status, 201, "{path}: {}", came.text);
        assert_eq!(once().json()["id"], came.json()["id"], "{path}");
    }
    a_deletion_is_done_once_and_waited_for(&api);
    assert_eq!(api.post("/v1/rooms/main/rekey?wait=one", &json!({}), &[]).status, 400);
    let file = ["-H", "Idempotency-Key: file", "-H", "Content-Type: application/octet-stream"];
    let send = |bytes: &str| {
        let args = [&file[..], &["--data-binary", bytes]].concat();
        api.with(&api.token(), "/v1/rooms/main/files?name=notes.txt", &args)
    };
    let came = send("some bytes");
    assert_eq!(came.status, 201, "{}", came.text);
    assert_eq!(send("some bytes").json()["id"], came.json()["id"]);
    assert_eq!(send("other bytes").status, 422);
    alice.kill();
    let alice = api.start();
    assert_eq!(api.say(MAIN, "only once", &key).json()["id"], first["id"]);
    let history = alice.history();
    assert_eq!(history.iter().filter(|line| line.contains("only once")).count(), 1);

    // By a hook, from others' programs.
    let hook = api.made(&["hook", "#main"]);
    let slack = "{\"text\":\"build failed <!everyone>\",\"username\":\"ci\",\"blocks\":[]}";
    let said = ["-H", "Content-Type: application/json", "-d", slack];
    assert_eq!(api.bare(&hook, &said).status, 200);
    bob.hear("build failed <!everyone>");
    assert_eq!(api.bare(&format!("{hook}0"), &said).status, 401);
    assert_eq!(api.with(hook.rsplit('/').next().unwrap(), "/v1/status", &[]).status, 401);

    // Who is away gets it later, and the answer says so.
    bob.exit();
    let came = api.say(&format!("{MAIN}?wait=one&timeout=500ms"), "later", &[]);
    assert_eq!((came.status, &came.json()["state"]), (202, &json!("queued")), "{}", came.text);
    let exit = api.post("/v1/commands", &json!({ "cmd": "exit" }), &[]);
    assert_eq!(exit.status, 200, "whoever has it leave is told so: {}", exit.text);
    assert_eq!(alice.ended(LONG).code, Some(0));
}

/// It comes a second time only without the key.
fn a_deletion_is_done_once_and_waited_for(api: &Served<'_>) {
    let gone = api.say(MAIN, "to be deleted", &[]).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/messages/{gone}?room=main&wait=one&timeout=30");
    let delete = |more: &[&str]| {
        let came = api.with(&api.token(), &path, &[&["-X", "DELETE"], more].concat());
        assert_eq!(came.status, 201, "{}", came.text);
        assert_eq!(came.json()["to"], json!(["bob"]), "{}", came.text);
        came.json()["id"].clone()
    };
    let once = delete(&["-H", "Idempotency-Key: delete"]);
    assert_eq!(delete(&["-H", "Idempotency-Key: delete"]), once);
    assert_ne!(delete(&[]), once);
    assert_eq!(api.delete(&format!("/v1/messages/{gone}?last=3")).status, 400);
}

/// Where one's own messages have arrived: the newest of a room, and those before one.
fn own_messages_are_found_page_by_page(api: &Served<'_>, alice: &Proc) {
    const DELIVERIES: &str = "/v1/rooms/main/deliveries";
    let say = |n: usize| {
        let came = api.say(&format!("{MAIN}?wait=all&timeout=30"), &format!("step {n}"), &[]);
        assert_eq!((came.status, &came.json()["state"]), (201, &json!("all")), "{}", came.text);
        came.json()["id"].clone()
    };
    let said: Vec<Value> = (0..4).map(say).collect();
    let ids = |page: &Value| -> Vec<Value> {
        let rows = list(&page["messages"]).iter();
        rows.inspect(|it| assert_eq!((&it["state"], &it["to"]), (&json!("all"), &json!(["bob"]))))
            .map(|it| it["id"].clone())
            .collect()
    };
    let place = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
        format!("{}.{}.{}", text("id"), text("peer_id"), it["seq"])
    };
    let newest = api.get(&format!("{DELIVERIES}?last=2")).json();
    assert_eq!(ids(&newest), said[2..], "{newest}");
    let before = place(&newest["messages"][0]);
    let older = api.get(&format!("{DELIVERIES}?last=2&before={before}")).json();
    assert_eq!(ids(&older), said[..2], "{older}");
    let same = alice.ask(json!({"cmd": "deliveries", "last": 2, "before": before}));
    assert_eq!((&same["event"], ids(&same)), (&json!("deliveries"), ids(&older)), "{same}");
    // What others wrote counts for the page and is not on it: before these are one's first message
    // and one of bob's.
    let before = place(&older["messages"][0]);
    let first = api.get(&format!("{DELIVERIES}?last=2&before={before}")).json();
    assert_eq!(list(&first["messages"]).len(), 1, "{first}");
    let before = place(&first["messages"][0]);
    let none = api.get(&format!("{DELIVERIES}?before={before}")).json();
    assert_eq!(none["messages"], json!([]), "{none}");
    let no = api.get(&format!("{DELIVERIES}?before=last"));
    assert_eq!((no.status, no.code().as_str()), (400, "command_bad"), "{}", no.text);
}

#[test]
fn who_is_linked_with_whom_among_others_is_shown_with_round_trip_times() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let members = [api.start(), lab.join("bob"), lab.join("carol")];
    settled(&members);
    let until = |what: &str, is: &dyn Fn(&Value) -> bool| {
        let deadline = Instant::now() + LONG;
        loop {
            let group = api.get("/v1/group").json();
            if is(&group) {
                return group;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}\n{group}");
            std::thread::sleep(LOOK);
        }
    };
    // Each end measures on its own; one of them is enough.
    let group = until("bob's and carol's link is told", &|group| {
        let other = &group["others"][0];
        other["told_by"] == json!(["bob", "carol"]) && other["rtt_ms"].as_f64() > Some(0.0)
    });
    let others = list(&group["others"]);
    let ends = (&others[0]["from"], &others[0]["name"], &others[0]["direct"]);
    assert_eq!((others.len(), ends), (1, (&json!("bob"), &json!("carol"), &json!(true))));
    assert_eq!(group["untold"], json!([]), "{group}");
    let fields: Vec<&String> = others[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["direct", "from", "name", "rtt_ms", "told_by"], "no address is told");
    let own = list(&group["links"]).iter().filter(|it| it["from"] == "alice");
    assert_eq!(own.filter(|it| ["bob", "carol"].map(Value::from).contains(&it["name"])).count(), 2);
    // By a command, too, from another's side.
    let links = members[1].ask(json!({"cmd": "links"}));
    let other = &links["others"][0];
    assert_eq!((&other["from"], &other["name"]), (&json!("alice"), &json!("carol")), "{links}");
    // Who left is linked with nobody, by anybody's word.
    members[2].exit();
    let group = until("carol's link is gone", &|group| group["others"] == json!([]));
    assert_eq!(group["untold"], json!(["carol"]), "{group}");
}

/// A client that follows with `curl` and comes again with the last id it has.
struct Client {
    api: String,
    token: String,
    slow: bool,
    seen: Arc<Shared<Seen>>,
    /// Whether the member serves.
    serves: Arc<Shared<bool>>,
}

/// Something that is waited for.
#[derive(Default)]
struct Shared<T>(Mutex<T>, Condvar);

impl<T> Shared<T> {
    fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut lock(&self.0));
        self.1.notify_all();
    }

    /// Until it is as meant; `false`: it was not within the time.
    fn wait(&self, until: Instant, is: impl Fn(&T) -> bool) -> bool {
        let within = until.saturating_duration_since(Instant::now());
        let waited = self.1.wait_timeout_while(lock(&self.0), within, |it| !is(it));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

#[derive(Default)]
struct Seen {
    last: u64,
    texts: Vec<String>,
    child: Option<Child>,
}

impl Client {
    fn follow(self, count: usize) {
        let deadline = Instant::now() + LONG * 4;
        while lock(&self.seen.0).texts.len() < count && self.serves.wait(deadline, |it| *it) {
            self.once(count);
        }
    }

    fn once(&self, count: usize) {
        let last = lock(&self.seen.0).last;
        let mut command = Command::new("curl");
        command.args(["-sSN", "-H", &format!("Authorization: Bearer {}", self.token)]);
        if last > 0 {
            command.args(["-H", &format!("Last-Event-ID: {last}")]);
        }
        if self.slow {
            command.args(["--limit-rate", "400k"]);
        }
        command.arg(format!("{}/v1/events?since=0", self.api));
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        lock(&self.seen.0).child = Some(child);
        let (mut id, mut data) = (None, String::new());
        for line in stdout.lines() {
            let Ok(line) = line else { break };
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse::<u64>().ok();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = text.to_owned();
            } else if line.is_empty() && !data.is_empty() {
                let event: Value = serde_json::from_str(&std::mem::take(&mut data)).unwrap();
                let mut seen = lock(&self.seen.0);
                if event["event"] == "message" {
                    assert_eq!(event["cursor"].as_u64(), id);
                    seen.texts.push(event["text"].as_str().unwrap().to_owned());
                }
                if let Some(id) = id.take() {
                    assert!(id >= seen.last, "{id} after {}", seen.last);
                    seen.last = id;
                }
                self.seen.1.notify_all();
                if seen.texts.len() >= count {
                    break;
                }
            }
        }
        let child = lock(&self.seen.0).child.take();
        if let Some(mut child) = child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn ten_thousand_messages_reach_three_clients_once_over_a_kill() {
    const COUNT: usize = 10_000;
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let bob = lab.join("bob");
    let came = api.say(&format!("{MAIN}?wait=all&timeout=30"), "0", &[]);
    assert_eq!((came.status, &came.json()["state"]), (201, &json!("all")), "{}", came.text);
    let seen: Vec<Arc<Shared<Seen>>> = (0..3).map(|_| Arc::default()).collect();
    let serves = Arc::<Shared<bool>>::default();
    serves.change(|it| *it = true);
    let clients: Vec<_> = seen
        .iter()
        .enumerate()
        .map(|(at, seen)| {
            let (token, seen, serves) = (api.token(), Arc::clone(seen), Arc::clone(&serves));
            let client = Client { api: api.url(""), token, slow: at == 2, seen, serves };
            std::thread::spawn(move || client.follow(COUNT))
        })
        .collect();
    for number in 1..COUNT {
        bob.order(&json!({ "cmd": "send", "room": "main", "text": number.to_string() }));
    }
    let deadline = Instant::now() + LONG * 4;
    let wait = |what: &str, count: usize| {
        let has_come = seen[0].wait(deadline, |it| it.texts.len() >= count);
        assert!(has_come, "{what}: {} came", lock(&seen[0].0).texts.len());
    };
    wait("the first thousands", 3_000);
    serves.change(|it| *it = false);
    alice.kill();
    drop(alice);
    let alice = api.start();
    serves.change(|it| *it = true);
    wait("all after the kill", COUNT);
    for client in clients {
        client.join().unwrap();
    }
    let all: BTreeSet<String> = (0..COUNT).map(|number| number.to_string()).collect();
    for seen in &seen {
        let seen = lock(&seen.0);
        assert_eq!(seen.texts.len(), COUNT);
        assert_eq!(seen.texts.iter().cloned().collect::<BTreeSet<_>>(), all);
    }
    // The order is that of arrival: the same for all, and for whoever pages.
    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let page = api.get(&format!("/v1/messages?after={after}&last=1000")).json();
        for message in list(&page["messages"]) {
            paged.push(message["text"].as_str().unwrap().to_owned());
        }
        after = page["upto"].as_u64().unwrap();
        if page["upto"] == page["last"] {
            break;
        }
    }
    for seen in &seen {
        assert_eq!(lock(&seen.0).texts, paged);
    }
    alice.exit();
}

/// A WebSocket of the API.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    /// The status of a no.
    fn open(api: &Served<'_>, path: &str, header: (&'static str, &str)) -> Result<Self, u16> {
        let stream = TcpStream::connect(("127.0.0.1", api.port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let url = format!("ws://127.0.0.1:{}{path}", api.port);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert(header.0, header.1.parse().unwrap());
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(tungstenite::Error::Http(no))) => Err(no.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    fn say(&mut self, command: &Value) {
        self.0.send(Message::text(command.to_string())).unwrap();
    }

    /// The first event that is it; `None`: the socket was closed before.
    fn hear(&mut self, is: impl Fn(&Value) -> bool) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    let event: Value = serde_json::from_str(&text).unwrap();
                    if is(&event) {
                        return Some(event);
                    }
                }
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn answer(&mut self, reference: &str) -> Value {
        self.hear(|event| event["ref"] == reference).unwrap_or_else(|| panic!("no answer"))
    }
}

#[test]
fn a_socket_tells_from_a_cursor_on_takes_commands_and_ends_with_its_token() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    alice.say("before");
    let admin = format!("Bearer {}", api.token());
    let admin = ("authorization", admin.as_str());
    let is_message = |event: &Value| event["event"] == "message";
    let mut socket = Socket::open(&api, "/v1/socket?since=0", admin).unwrap();
    let before = socket.hear(is_message).unwrap();
    assert_eq!(before["text"], "before");
    let send = |text: &str, reference: &str| json!({"cmd": "send", "room": "main", "text": text, "ref": reference});
    socket.say(&send("by socket", "r1"));
    assert_eq!(socket.answer("r1")["event"], "sent");
    socket.say(&json!({"cmd": "nonsense", "ref": "r2"}));
    let no = socket.answer("r2");
    assert_eq!((&no["event"], &no["code"]), (&json!("error"), &json!("command_bad")));
    // Another one goes on from there.
    let path = format!("/v1/socket?since={}", before["cursor"]);
    let mut second = Socket::open(&api, &path, admin).unwrap();
    assert_eq!(second.hear(is_message).unwrap()["text"], "by socket");
    for (path, header, status) in [
        ("/v1/socket?since=99999", admin, 400),
        ("/v1/socket", ("authorization", "Bearer x"), 401),
        ("/v1/socket", ("x-nothing", "x"), 401),
    ] {
        assert_eq!(Socket::open(&api, path, header).err(), Some(status), "{path}");
    }
    // As a page brings its token; and no more than the token is for.
    let eyes = api.made(&["token", "--scope", "read", "--label", "eyes"]);
    let protocols = format!("p2pgroup.v1, bearer.{eyes}");
    let header = ("sec-websocket-protocol", protocols.as_str());
    let mut reader = Socket::open(&api, "/v1/socket?since=0", header).unwrap();
    assert_eq!(reader.hear(is_message).unwrap()["text"], "before");
    reader.say(&send("not allowed", "r3"));
    assert_eq!(reader.answer("r3")["code"], "scope_missing");
    let bearer = format!("Authorization: Bearer {eyes}");
    let mut curl = Command::new("curl")
        .args(["-sSN", "-H", &bearer, &api.url("/v1/events?since=0")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("before")));
    let events = std::thread::spawn(move || lines.count());
    // Taken back: what it opened ends, and nothing more is done for it.
    let home = lab.home("alice");
    let ended = lab.run(&["api", "revoke", "eyes", "--home", home.to_str().unwrap()], "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    reader.say(&json!({"cmd": "status", "ref": "r4"}));
    assert_eq!(reader.hear(|event| event["ref"] == "r4"), None);
    let deadline = Instant::now() + LONG;
    while !events.is_finished() {
        assert!(Instant::now() < deadline, "it goes on telling");
        // Each is told, or is the end.
        alice.say("is anybody there");
    }
    assert!(curl.wait().unwrap().success());
    assert!(socket.hear(|event| event["text"] == "is anybody there").is_some());
}

#[test]
fn a_reader_is_told_what_was_deleted_before_it_came_and_streams_are_bounded() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let long = "x".repeat(10_000);
    for round in 0..20 {
        alice.say(&format!("{round} {long}"));
    }
    let kept = api.post("/v1/rooms/main/keep", &json!({ "text": "forever", "last": 60_000 }), &[]);
    assert_eq!(kept.status, 200, "{}", kept.text);
    let deadline = Instant::now() + LONG;
    let gone = loop {
        let came = api.get("/v1/messages?after=1");
        if came.status == 410 {
            break came;
        }
        assert!(Instant::now() < deadline, "nothing is gone: {}", came.status);
        std::thread::sleep(LOOK);
    };
    assert_eq!(gone.code(), "cursor_gone");
    let earliest = gone.json()["earliest"].as_u64().unwrap();
    assert!(earliest > 1, "{}", gone.text);
    let came = api.get("/v1/events?since=1");
    assert_eq!((came.status, came.json()["earliest"].as_u64()), (410, Some(earliest)));
    assert_eq!(api.get(&format!("/v1/messages?after={earliest}")).status, 200);
    let home = lab.home("alice");
    let tail = ["tail", "--json", "--since", "1", "--home", home.to_str().unwrap()];
    let ended = lab.run(&tail, "");
    assert_eq!((ended.code, ended.fatal()), (Some(1), "cursor_gone"), "{}", ended.text());

    let header = format!("Authorization: Bearer {}", api.token());
    let mut streams: Vec<Child> = (0..64)
        .map(|_| {
            let mut command = Command::new("curl");
            command.args(["-sSN", "-H", &header, &api.url("/v1/events")]);
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for stream in &mut streams {
        // Its first byte shows that it is open.
        stream.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }
    let came = api.with(&api.token(), "/v1/events", &[]);
    assert_eq!((came.status, came.code().as_str()), (429, "too_many"), "{}", came.text);
    assert_eq!(api.get("/v1/status").status, 200);
    for stream in &mut streams {
        drop(stream.kill());
        drop(stream.wait());
    }
    alice.exit();
}

/// Takes requests, and answers each with the next status.
fn target(listener: TcpListener, statuses: Vec<u16>) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let answer = |status: &u16| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let (mut request, mut part) = (Vec::new(), [0; 4_096]);
            loop {
                let count = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..count]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head.lines().find_map(|it| it.strip_prefix("Content-Length: "));
                    length.is_some_and(|length| body.len() == length.parse::<usize>().unwrap())
                });
                if whole || count == 0 {
                    break;
                }
            }
            stream.write_all(format!("HTTP/1.1 {status} x\r\n\r\n").as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        };
        statuses.iter().map(answer).collect()
    })
}

pub fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    request.lines().find_map(|line| line.strip_prefix(prefix.as_str())).unwrap()
}

#[test]
fn outgoing_webhooks_are_signed_tried_again_and_listed_when_dead() {
    use hmac::{KeyInit, Mac};
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    for url in ["http://169.254.169.254/x", "http://127.0.0.1:1/x", "https://127.0.0.1/x", "h"] {
        let came = api.post("/v1/webhooks", &json!({ "url": url }), &[]);
        assert_eq!((came.status, came.code().as_str()), (400, "webhook_refused"), "{url}");
    }
    let never = json!({ "url": "http://169.254.169.254/x", "allow_local": true });
    assert_eq!(api.post("/v1/webhooks", &never, &[]).status, 400);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in?a=b", listener.local_addr().unwrap());
    let taken = target(listener, vec![500, 204, 404, 200]);
    let wanted = json!({ "url": url, "allow_local": true, "room": "#main" });
    let added = api.post("/v1/webhooks", &wanted, &[]);
    assert_eq!(added.status, 201, "{}", added.text);
    let (id, secret) = (added.json()["id"].clone(), added.json()["secret"].clone());
    for text in ["tried twice", "not wanted", "the last"] {
        alice.say(text);
    }
    let requests = taken.join().unwrap();
    let bodies: Vec<Value> = requests
        .iter()
        .map(|it| serde_json::from_str(it.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    let texts: Vec<&str> = bodies.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["tried twice", "tried twice", "not wanted", "the last"]);
    for request in &requests {
        assert!(request.starts_with("POST /in?a=b HTTP/1.1\r\n"), "{request}");
        let key = secret.as_str().unwrap().as_bytes();
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        let body = request.split_once("\r\n\r\n").unwrap().1;
        mac.update(format!("{}.{body}", header(request, "X-P2pgroup-Timestamp")).as_bytes());
        let mut expected = "sha256=".to_owned();
        for byte in mac.finalize().into_bytes() {
            write!(expected, "{byte:02x}").unwrap();
        }
        assert_eq!(header(request, "X-P2pgroup-Signature"), expected);
    }
    let dead = api.get("/v1/webhooks/dead").json();
    let dead = list(&dead["dead"]);
    assert_eq!((dead.len(), &dead[0]["message"]["text"]), (1, &json!("not wanted")));
    assert_eq!((&dead[0]["webhook"], &dead[0]["why"]), (&id, &json!("status 404")));
    let listed = api.get("/v1/webhooks");
    assert!(!listed.text.contains(secret.as_str().unwrap()), "{}", listed.text);
    let path = format!("/v1/webhooks/{}", id.as_str().unwrap());
    assert_eq!(api.with(&api.token(), &path, &["-X", "DELETE"]).status, 204);
    assert_eq!(api.with(&api.token(), &path, &["-X", "DELETE"]).status, 404);
    alice.exit();
}

#[test]
fn a_file_goes_in_and_comes_out_by_http_and_no_browser_shows_it() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let bob = lab.join("bob");
    bob.until("alice is linked", |status| {
        list(&status["members"]).iter().any(|it| it["name"] == "alice" && it["linked"] == true)
    });
    let bytes = format!("<script>alert(1)</script>\n{}", "0123456789".repeat(200_000));
    let source = lab.dir.path().join("page.html");
    std::fs::write(&source, &bytes).unwrap();
    let data = format!("@{}", source.display());
    let path = "/v1/rooms/main/files?name=..%2F..%2Fpage.html&wait=all&timeout=30";
    let send = api.made(&["token", "--scope", "send"]);
    let put = |token: &str, kind: &str| {
        api.with(token, path, &["-H", kind, "-H", "Expect:", "--data-binary", &data])
    };
    let kind = "Content-Type: application/octet-stream";
    assert_eq!(put(&api.made(&["token", "--scope", "read"]), kind).code(), "scope_missing");
    assert_eq!(put(&send, "Content-Type: text/plain").status, 415);
    let sent = put(&send, kind);
    assert_eq!(sent.status, 201, "{}", sent.text);
    let arrived = bob.wait("the file", |e| e["event"] == "file" && e["state"] == "complete");
    assert_eq!(arrived["name"], "page.html", "{arrived}");
    assert!(std::fs::read_to_string(arrived["path"].as_str().unwrap()).unwrap() == bytes);

    let listed = api.get("/v1/files").json();
    let file = &listed["files"][0];
    assert_eq!((&file["message"], &file["own"]), (&sent.json()["id"], &json!(true)), "{listed}");
    let content = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    assert!(api.get(&content).text == bytes);
    let head = api.with(&send, &content, &["-D", "-", "-o", "/dev/null"]).text.to_lowercase();
    for header in [
        "content-disposition: attachment; filename*=utf-8''page.html",
        "content-type: application/octet-stream",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!(api.get("/v1/files/0123/content").code(), "file_unknown");
    let copies = || std::fs::read_dir(lab.home("alice").join("files/sent")).unwrap().count();
    assert_eq!(copies(), 1);
    let path = content.trim_end_matches("/content");
    assert_eq!(api.with(&send, path, &["-X", "DELETE"]).status, 200);
    assert_eq!(api.get(&content).status, 404);
    // A path of this machine is for an admin alone.
    let command = json!({ "cmd": "send_file", "path": "/etc/passwd" }).to_string();
    let json = "Content-Type: application/json";
    let no = api.with(&send, "/v1/commands", &["-H", json, "-d", &command]);
    assert_eq!(no.code(), "scope_missing");
    alice.exit();
}

#[test]
fn an_export_over_http_is_what_the_command_writes() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let home = lab.home("alice");
    let home = home.to_str().unwrap();
    let made = api.post("/v1/rooms/ops", &json!({ "entry": "free" }), &[]);
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(api.say("/v1/rooms/ops/messages", "walnut *two*", &[]).status, 201);
    let gone = api.say(MAIN, "hazel", &[]).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(api.delete(&format!("/v1/messages/{gone}")).status, 201);
    // More than a page, and more than a part.
    let lines: String = (0..2_100).fold(String::new(), |mut lines, n| {
        let _ = writeln!(lines, "walnut {n} {}", "x".repeat(100));
        lines
    });
    let sent = lab.run(&["send", "-", "--lines", "--timeout", "2m", "--home", home], &lines);
    assert_eq!(sent.code, Some(0), "{}", sent.text());
    for format in ["jsonl", "md", "txt"] {
        for (path, room) in [("/v1/export", None), ("/v1/rooms/main/export", Some("main"))] {
            let file = lab.dir.path().join("export");
            let args = ["export", "--format", format, "--output", file.to_str().unwrap()];
            let room = room.map(|room| vec!["--room", room]).unwrap_or_default();
            let written = lab.run(&[&args[..], &room, &["--home", home]].concat(), "");
            assert_eq!(written.code, Some(0), "{}", written.text());
            let came = api.get(&format!("{path}?format={format}"));
            assert_eq!(came.status, 200, "{}", came.text);
            let is_same = came.text == std::fs::read_to_string(&file).unwrap();
            assert!(is_same, "{path} as {format}");
            assert!(came.text.contains("walnut") && !came.text.contains("hazel"), "{path}");
            assert_eq!(came.text.contains("two"), room.is_empty(), "{path}");
        }
    }
    let read = api.made(&["token", "--scope", "read"]);
    let whole = api.with(&read, "/v1/export", &["-D", "-"]).text;
    assert!(
        whole.to_lowercase().contains("content-type: application/x-ndjson\r\n"),
        "{whole:.300}"
    );
    let refused = |path: &str, status: u16, code: &str| {
        let no = api.get(path);
        assert_eq!((no.status, no.code().as_str()), (status, code), "{}", no.text);
    };
    refused("/v1/rooms/nosuch/export", 404, "room_unknown");
    refused("/v1/export?format=pdf", 400, "request_bad");
    refused("/v1/rooms/main/export?last=3", 400, "request_bad");
    assert_eq!(api.bare("/v1/export", &[]).status, 401);
    alice.exit();
}

#[test]
fn every_example_of_the_page_runs_as_it_is_written() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let bob = lab.join("bob");
    bob.until("alice is linked", |status| {
        list(&status["members"]).iter().any(|it| it["name"] == "alice" && it["linked"] == true)
    });
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .filter(|block| !block.contains("p2pgroup join"))
        .collect();
    assert!(blocks.len() > 8, "{}", blocks.len());
    let script = blocks.join("\n").replace(":8700", &format!(":{}", api.port));
    // A tool that is not there on every machine.
    let bin = lab.dir.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(crate::harness::program(), bin.join("p2pgroup")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = lab.wrapped("bash", &["-euo", "pipefail", "-c", &script]);
    command.env("PATH", path).env("P2PGROUP_HOME", lab.home("alice"));
    let ended = Proc::start("page", command).ended(LONG * 2);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    bob.hear("the build is green");
    bob.hear("deploy done");
    assert!(ended.text().contains("openapi") && ended.text().contains("p2pgroup_up 1"));
    alice.exit();
}
