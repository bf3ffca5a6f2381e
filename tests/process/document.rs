//! What `/v1/openapi.json` says of every answer, held against the answers.
//! Owns: nothing but its case.
//! Must not know: how the document is made.
//! Invariants: see each test's name.
//! Start reading at: `every_answer_is_as_the_document_says`.

use std::collections::BTreeSet;

use crate::api::{Came, Served};
use crate::harness::{Lab, Proc, Value, json, list};
use crate::members::operator;
use crate::rooms::holds;

/// The document, and which of its paths were tried.
struct Document {
    whole: Value,
    tried: BTreeSet<(String, String)>,
    /// What does not fit, all of it told at once.
    wrong: Vec<String>,
}

impl Document {
    /// Holds an answer against what is said of it, and gives it.
    fn check(&mut self, method: &str, path: &str, came: &Came) -> Value {
        let described = &self.whole["paths"][path][method]["responses"][came.status.to_string()];
        let schema = &described["content"]["application/json"]["schema"];
        let value = came.json();
        if let Err(why) = self.fits(schema, &value, "answer") {
            self.wrong.push(format!("{method} {path}: {}: {why}: {value}", came.status));
        }
        self.tried.insert((method.to_owned(), path.to_owned()));
        value
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/components/schemas/").unwrap();
            return self.fits(&self.whole["components"]["schemas"][name], value, at);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let tried: Vec<String> =
                any.iter().filter_map(|schema| self.fits(schema, value, at).err()).collect();
            return match tried.len() < any.len() {
                true => Ok(()),
                false => Err(tried.join(", and ")),
            };
        }
        let kind = schema["type"].as_str().ok_or_else(|| format!("{at} is not described"))?;
        let is = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => return Err(format!("{at}: what is {other}?")),
        };
        if !is {
            return Err(format!("{at} is no {kind}"));
        }
        if schema["format"] == "date-time" {
            let text = value.as_str().unwrap();
            if !(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T') {
                return Err(format!("{at} is no time"));
            }
        }
        if kind == "array" {
            for (n, item) in list(value).iter().enumerate() {
                self.fits(&schema["items"], item, &format!("{at}[{n}]"))?;
            }
        }
        if let Some(fields) = value.as_object().filter(|_| schema["properties"].is_object()) {
            for name in list(&schema["required"]).iter().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Err(format!("{at}.{name} is missing"));
                }
            }
            for (name, value) in fields {
                self.fits(&schema["properties"][name], value, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }
}

/// Asks, and holds the answers against the document.
struct Asking<'a> {
    api: &'a Served<'a>,
    document: Document,
}

impl Asking<'_> {
    /// A path of the document with what stands in its braces, and what follows it.
    fn at(path: &str, named: &[&str], query: &str) -> String {
        let mut named = named.iter();
        let part = |part: &str| match part.starts_with('{') {
            true => (*named.next().unwrap()).to_owned(),
            false => part.to_owned(),
        };
        path.split('/').map(part).collect::<Vec<_>>().join("/") + query
    }

    fn get(&mut self, path: &str, named: &[&str], query: &str) -> Value {
        let came = self.api.get(&Self::at(path, named, query));
        self.document.check("get", path, &came)
    }

    fn post(&mut self, path: &str, named: &[&str], body: &Value) -> Value {
        let came = self.api.post(&Self::at(path, named, ""), body, &[]);
        self.document.check("post", path, &came)
    }

    /// What only an attack would have succeed.
    fn refused(&mut self, path: &str, named: &[&str], body: &Value, code: &str) {
        let problem = self.api.post(&Self::at(path, named, ""), body, &[]).json();
        assert_eq!(problem["code"], code, "{problem}");
        self.document.tried.insert(("post".to_owned(), path.to_owned()));
    }

    fn delete(&mut self, path: &str, named: &[&str], query: &str) -> Value {
        let came = self.api.delete(&Self::at(path, named, query));
        self.document.check("delete", path, &came)
    }

    fn talk(&mut self) -> String {
        let said = self.post("/v1/rooms/{room}/messages", &["main"], &json!({"text": "hello"}));
        let id = said["id"].as_str().unwrap().to_owned();
        let expires = json!({"text": "soon gone", "expires": "1h"});
        self.post("/v1/rooms/{room}/messages", &["main"], &expires);
        self.post("/v1/messages/{id}/reply", &[&id], &json!({"text": "yes"}));
        self.post("/v1/messages/{id}/edit", &[&id], &json!({"text": "hello again"}));
        self.post("/v1/messages/{id}/react", &[&id], &json!({"text": "+1"}));
        self.post("/v1/messages/{id}/unreact", &[&id], &json!({"text": "+1"}));
        let poll = ["main", "org.example.poll%2F1"];
        self.post("/v1/rooms/{room}/apps/{name}", &poll, &json!({"text": "{}"}));
        let bytes = ["-H", "Content-Type: application/octet-stream", "--data-binary", "some bytes"];
        let came = self.api.with(&self.api.token(), "/v1/rooms/main/files?name=notes.txt", &bytes);
        self.document.check("post", "/v1/rooms/{room}/files", &came);
        let gone = self.post("/v1/rooms/{room}/messages", &["main"], &json!({"text": "wrong"}));
        self.delete("/v1/messages/{id}", &[gone["id"].as_str().unwrap()], "");
        let words = self.get("/v1/search", &[], "?words=hello");
        assert!(!list(&words["messages"]).is_empty(), "{words}");
        self.get("/v1/messages/{id}", &[&id], "");
        self.post("/v1/rooms/{room}/seen", &["main"], &json!({"id": id}));
        let seen = self.get("/v1/rooms/{room}/seen", &["main"], "");
        assert_eq!(seen["id"], id, "{seen}");
        for query in ["", "?last=3"] {
            self.get("/v1/rooms/{room}/messages", &["main"], query);
            self.get("/v1/rooms/{room}/deliveries", &["main"], query);
            self.get("/v1/messages", &[], query);
        }
        id
    }

    fn rooms(&mut self, alice: &Proc, bob: &Proc) {
        self.post("/v1/rooms/{room}", &["ops"], &json!({}));
        self.post("/v1/rooms/{room}/invite", &["ops"], &json!({"name": "bob"}));
        holds(alice, "ops", &["alice", "bob"]);
        for (what, body) in [
            ("topic", json!({"text": "what breaks"})),
            ("describe", json!({"text": "those who mend it"})),
            ("capacity", json!({"last": 20})),
            ("history", json!({"text": "all"})),
            ("keep", json!({"text": "30d", "last": 1_000_000})),
            ("role", json!({"name": "bob", "role": "admin"})),
            ("mute", json!({})),
            ("unmute", json!({})),
            ("rename", json!({"name": "operations"})),
        ] {
            self.post(&format!("/v1/rooms/{{room}}/{what}"), &["ops"], &body);
        }
        let room = self.get("/v1/rooms/{room}", &["operations"], "");
        assert_eq!((&room["history"], &room["keep_hours"]), (&json!("all"), &json!(720)), "{room}");
        self.post("/v1/rooms/{room}", &["hall"], &json!({"entry": "free"}));
        let asks = json!({"entry": "code", "code": "twelve letters"});
        self.post("/v1/rooms/{room}/entry", &["hall"], &asks);
        self.post("/v1/rooms/{room}/rekey", &["operations"], &json!({}));
        self.post("/v1/rooms/{room}/archive", &["operations"], &json!({}));
        self.post("/v1/rooms/{room}/reopen", &["operations"], &json!({}));
        // Nobody did what it takes to be forgiven.
        let to_bob = json!({"name": "bob"});
        self.refused("/v1/rooms/{room}/forgive", &["operations"], &to_bob, "not_allowed");
        self.post("/v1/rooms/{room}/kick", &["operations"], &json!({"name": "bob"}));
        self.delete("/v1/rooms/{room}", &["operations"], "");
        let made = bob.ask(json!({"cmd": "room_create", "room": "lab", "entry": "free"}));
        assert_eq!(made["event"], "room", "{made}");
        alice.wait("the lab", |e| e["event"] == "room" && e["room"] == "lab");
        self.post("/v1/rooms/{room}/join", &["lab"], &json!({}));
        holds(alice, "lab", &["alice", "bob"]);
        self.post("/v1/rooms/{room}/leave", &["lab"], &json!({}));
        self.get("/v1/rooms", &[], "");
    }

    /// Who was let in, who may write, who is put out.
    fn people(&mut self, alice: &Proc, bob: &Proc, carol: &Proc) {
        let waits = |name: &'static str| {
            move |e: &Value| {
                (&e["kind"], &e["name"], &e["state"])
                    == (&json!("direct"), &json!(name), &json!("waiting"))
            }
        };
        for member in [bob, carol] {
            let sent = member.ask(json!({"cmd": "msg", "name": "alice", "text": "may I?"}));
            assert_eq!(sent["event"], "sent", "{sent}");
        }
        alice.wait("bob asks", waits("bob"));
        alice.wait("carol asks", waits("carol"));
        let waiting = self.get("/v1/accept", &[], "");
        assert_eq!(list(&waiting["requests"]).len(), 2, "{waiting}");
        self.post("/v1/accept/{name}", &["bob"], &json!({}));
        self.post("/v1/requests/{name}/refuse", &["carol"], &json!({}));
        let waiting = self.get("/v1/accept", &[], "");
        assert_eq!(waiting["requests"], json!([]), "accepted and turned down");
        alice.wait("what bob wrote", |e| e["text"] == "may I?" && e["from"] == "bob");
        self.post("/v1/members/{name}/messages", &["bob"], &json!({"text": "yes"}));
        bob.hear("yes");
        self.get("/v1/code", &[], "");
        self.post("/v1/code", &[], &json!({}));
        self.post("/v1/members/{name}/role", &["bob"], &json!({"role": "admin"}));
        self.post("/v1/members/{name}/verify", &["bob"], &json!({}));
        self.post("/v1/members/{name}/verify", &["bob"], &json!({"verified": true}));
        let bob = self.get("/v1/members/{name}", &["bob"], "");
        assert!(bob["verified_at"].is_string() && bob["link"].is_object(), "{bob}");
        self.post("/v1/ignore/{name}", &["bob"], &json!({}));
        let ignored = self.get("/v1/ignore", &[], "");
        assert_eq!(ignored["members"][0]["ignored"], true, "{ignored}");
        let ignored = self.delete("/v1/ignore/{name}", &["bob"], "");
        assert_eq!(ignored["members"], json!([]));
        let made = self.post("/v1/invites", &[], &json!({"uses": 2, "expires": "1h"}));
        self.get("/v1/invites", &[], "");
        self.delete("/v1/invites/{id}", &[made["id"].as_str().unwrap()], "?reason=lost");
        self.get("/v1/invites", &[], "");
        self.delete("/v1/members/{name}", &["carol"], "?reason=moved");
        alice.wait("carol is out", |e| e["event"] == "receipt" && e["name"] == "carol");
        let receipts = self.get("/v1/receipts", &[], "");
        assert!(!list(&receipts["receipts"]).is_empty(), "{receipts}");
    }
}

#[test]
fn every_answer_is_as_the_document_says() {
    let lab = Lab::new().with("ADMISSION", "approve");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.begin();
    alice.wait("it waits", |e| e["event"] == "waiting");
    operator(&lab, &["approve", "alice"]);
    alice.ready();
    let whole = api.get("/v1/openapi.json").json();
    let document = Document { whole, tried: BTreeSet::new(), wrong: Vec::new() };
    let mut asking = Asking { api: &api, document };
    let [bob, carol] = ["bob", "carol"].map(|name| lab.start(name));
    for member in [&bob, &carol] {
        let name = member.name.as_str();
        alice.wait("somebody asks", |e| e["event"] == "request" && e["name"] == name);
        let waiting = asking.get("/v1/requests", &[], "");
        let mut names = list(&waiting["requests"]).iter().map(|it| &it["name"]);
        assert!(names.any(|it| it == name), "{waiting}");
        asking.post("/v1/requests/{name}/approve", &[name], &json!({}));
    }
    bob.ready();
    carol.ready();
    holds(&alice, "main", &["alice", "bob", "carol"]);

    asking.talk();
    asking.rooms(&alice, &bob);
    let sent = lab.dir.path().join("sent.txt");
    std::fs::write(&sent, "from bob").unwrap();
    let sent = bob.ask(json!({"cmd": "send_file", "path": sent.to_str().unwrap()}));
    assert_eq!(sent["event"], "sent", "{sent}");
    alice.wait("bob's file", |e| e["event"] == "file" && e["from"] == "bob");
    let files = asking.get("/v1/files", &[], "");
    let file = list(&files["files"]).iter().find(|it| it["from"] == "bob").unwrap();
    let id = file["id"].as_str().unwrap().to_owned();
    asking.post("/v1/files/{id}/fetch", &[&id], &json!({}));
    asking.delete("/v1/files/{id}", &[&id], "");
    asking.people(&alice, &bob, &carol);
    for path in ["status", "leader", "members", "audit", "alarms", "links", "compare", "group"] {
        asking.get(&format!("/v1/{path}"), &[], "");
    }
    let hook = json!({"url": "http://127.0.0.1:9/", "room": "main", "allow_local": true});
    let hook = asking.post("/v1/webhooks", &[], &hook);
    asking.get("/v1/webhooks", &[], "");
    asking.get("/v1/webhooks/dead", &[], "");
    let gone = api.delete(&format!("/v1/webhooks/{}", hook["id"].as_str().unwrap()));
    assert_eq!(gone.status, 204, "{}", gone.text);
    asking.post("/v1/qr", &[], &json!({"text": "p2pgroup"}));
    asking.post("/v1/commands", &[], &json!({"cmd": "status"}));

    // Whatever has a body of JSON was tried; the document itself is one.
    let Document { whole, tried, wrong } = asking.document;
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (path, methods) in whole["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let is_described = |it: &Value| it["content"]["application/json"]["schema"].is_object();
            let key = (method.clone(), path.clone());
            let was_tried = tried.contains(&key);
            assert_eq!(responses.values().any(is_described), was_tried, "{method} {path}");
            let problem = &operation["responses"]["default"]["content"];
            assert!(problem["application/problem+json"].is_object(), "{method} {path}");
        }
    }
    let no = api.get("/v1/rooms/nosuch");
    let document = Document { whole, tried, wrong };
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    assert_eq!((no.status, document.fits(&problem, &no.json(), "problem")), (404, Ok(())));
}
