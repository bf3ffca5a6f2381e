//! JSON-RPC 2.0 on a member's socket: another spelling of the commands and events of `--json`.
//! Owns: the envelope, and which call an event answers.
//! Must not know: what a command does, which fields it takes.
//! Invariants: every call with an id is answered once, in a batch together with the others of it; a
//! call without one never; nothing is told unasked before `subscribe`.
//! Start reading at: [`Rpc::take`], [`Rpc::heard`].
//!
//! ```text
//!   {"jsonrpc":"2.0","id":1,"method":"roomCreate",…} ─ take ─► {"cmd":"room_create","ref":"1",…}
//!   {"jsonrpc":"2.0","id":1,"result":{…}} ◄─ heard ─ {"event":"room","ref":"1",…}
//! ```

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::client;
use crate::cli::{json as contract, report, serve};
use crate::config::Config;
use crate::limits::FACE_COMMANDS_MAX;
use crate::refusal::{Refusal, Refused};

/// Calls in one batch.
const BATCH_MAX: usize = 256;

const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
/// A no of the member; which one is said in `data`.
const REFUSED: i64 = -32_000;

/// What a call means for the connection.
#[derive(Debug, PartialEq)]
pub(super) enum Ask {
    /// A line of the contract.
    Line(Vec<u8>),
    /// Events from now on; every message after a place.
    Subscribe { after: Option<u64>, reference: Option<String> },
    /// No events any more.
    Unsubscribe { reference: Option<String> },
}

/// The calls of a connection that are not answered.
#[derive(Debug, Default)]
pub(super) struct Rpc {
    calls: BTreeMap<String, Call>,
    batches: BTreeMap<u64, Batch>,
    last: u64,
    is_subscribed: bool,
}

#[derive(Debug)]
struct Call {
    id: Value,
    is_slash: bool,
    batch: Option<u64>,
    /// The messages of a history, or the parts of an export, until its end comes.
    parts: Vec<Value>,
}

#[derive(Debug, Default)]
struct Batch {
    open: usize,
    answers: Vec<Value>,
}

/// Whether a line is a call, or a batch of them: no line of the contract is either.
pub(super) fn is_call(line: &[u8]) -> bool {
    let name = b"\"jsonrpc\"";
    line.windows(name.len()).any(|part| part == name)
}

/// `roomCreate` as the contract has it: `room_create`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// `peer_id` as a caller has it: `peerId`.
fn camel(name: &str) -> String {
    let mut camel = String::new();
    let mut is_next = false;
    for c in name.chars() {
        match c {
            '_' => is_next = !camel.is_empty(),
            c if std::mem::take(&mut is_next) => camel.push(c.to_ascii_uppercase()),
            c => camel.push(c),
        }
    }
    camel
}

fn cameled(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (camel(&name), cameled(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(cameled).collect()),
        value => value,
    }
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// A no as the contract tells it.
fn refused(id: &Value, what: &Value) -> Value {
    let code = match what["code"].as_str() {
        Some("command_bad") => INVALID_PARAMS,
        _ => REFUSED,
    };
    let data = json!({
        "code": what["code"],
        "hint": what["hint"],
        "retryable": what["retryable"],
    });
    let error = json!({ "code": code, "message": what["message"], "data": data });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn result(id: &Value, fields: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": cameled(fields) })
}

/// One line on the wire, harmless to a terminal.
fn line(value: &Value, out: &mut Vec<u8>) {
    contract::value(value, out);
}

impl Rpc {
    /// What a line is answered that is longer than any call.
    pub(super) fn too_long(out: &mut Vec<u8>) {
        let why = Refused::new(Refusal::MessageTooLong, "the line was skipped");
        let data = json!({
            "code": why.refusal.code(),
            "hint": why.refusal.hint(),
            "retryable": why.refusal.is_retryable(),
        });
        let mut no = error(&Value::Null, PARSE_ERROR, &why.to_string());
        no["error"]["data"] = data;
        line(&no, out);
    }

    /// Understands a line; gives what it asks for, and writes what is answered at once.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Vec<Ask> {
        let value: Value = match serde_json::from_slice(bytes) {
            Ok(value) => value,
            Err(why) => {
                line(&error(&Value::Null, PARSE_ERROR, &why.to_string()), out);
                return Vec::new();
            }
        };
        match value {
            Value::Array(calls) if calls.is_empty() || calls.len() > BATCH_MAX => {
                let what = format!("a batch holds 1 to {BATCH_MAX} calls");
                line(&error(&Value::Null, INVALID_REQUEST, &what), out);
                Vec::new()
            }
            Value::Array(calls) => self.batch(calls, out),
            call => match self.call(&call, None) {
                Ok(ask) => vec![ask],
                Err(Some(no)) => {
                    line(&no, out);
                    Vec::new()
                }
                Err(None) => Vec::new(),
            },
        }
    }

    fn batch(&mut self, calls: Vec<Value>, out: &mut Vec<u8>) -> Vec<Ask> {
        self.last = self.last.saturating_add(1);
        let number = self.last;
        self.batches.insert(number, Batch::default());
        let mut asks = Vec::new();
        for call in calls {
            match self.call(&call, Some(number)) {
                Ok(ask) => asks.push(ask),
                Err(no) => {
                    if let Some(batch) = self.batches.get_mut(&number) {
                        batch.answers.extend(no);
                    }
                }
            }
        }
        self.ended(number, out);
        asks
    }

    /// `Err`: what to answer at once; nothing to one who wants no answer.
    fn call(&mut self, call: &Value, batch: Option<u64>) -> Result<Ask, Option<Value>> {
        let id = call.get("id").cloned();
        let is_id = |id: &Value| id.is_string() || id.is_number() || id.is_null();
        let known = id.clone().filter(is_id).unwrap_or(Value::Null);
        let no = |code, what: &str| Some(error(&known, code, what));
        let fields = ["jsonrpc", "id", "method", "params"];
        let is_call = call["jsonrpc"] == "2.0"
            && id.as_ref().is_none_or(is_id)
            && call.as_object().is_some_and(|it| it.keys().all(|name| fields.contains(&&**name)));
        let (true, Some(method)) = (is_call, call["method"].as_str()) else {
            return Err(no(INVALID_REQUEST, "this is no JSON-RPC 2.0 request"));
        };
        // Nobody waits for an answer to a call without an id.
        let no = |code, what: &str| no(code, what).filter(|_| id.is_some());
        let params = match call.get("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params.clone(),
            Some(_) => return Err(no(INVALID_PARAMS, "params are given by name")),
        };
        let cmd = snake(method);
        let is_own = ["subscribe", "unsubscribe", "export"].contains(&cmd.as_str());
        if cmd == method && method.contains('_')
            || !(is_own || contract::commands().any(|known| known == cmd))
        {
            return Err(no(METHOD_NOT_FOUND, &format!("there is no method {method}")));
        }
        if self.calls.len() >= FACE_COMMANDS_MAX {
            return Err(no(REFUSED, "too many calls wait for their answers"));
        }
        let mut given = Map::new();
        for (name, value) in params {
            let field = snake(&name);
            if field == "cmd" || field == "ref" || given.insert(field, value).is_some() {
                return Err(no(INVALID_PARAMS, &format!("{method} takes no {name}")));
            }
        }
        if cmd == "subscribe" && given.keys().any(|name| name != "since")
            || cmd == "unsubscribe" && !given.is_empty()
            || given.get("since").is_some_and(|it| cmd == "subscribe" && it.as_u64().is_none())
        {
            return Err(no(INVALID_PARAMS, "subscribe takes since, a cursor, and nothing else"));
        }
        let reference = id.map(|id| self.note(id, cmd == "slash", batch));
        Ok(match cmd.as_str() {
            "subscribe" => Ask::Subscribe { after: given["since"].as_u64(), reference },
            "unsubscribe" => Ask::Unsubscribe { reference },
            _ => {
                if let Some(reference) = reference {
                    given.insert("ref".to_owned(), Value::from(reference));
                }
                given.insert("cmd".to_owned(), Value::from(cmd));
                Ask::Line(Value::Object(given).to_string().into_bytes())
            }
        })
    }

    fn note(&mut self, id: Value, is_slash: bool, batch: Option<u64>) -> String {
        self.last = self.last.saturating_add(1);
        if let Some(batch) = batch.and_then(|number| self.batches.get_mut(&number)) {
            batch.open = batch.open.saturating_add(1);
        }
        let reference = self.last.to_string();
        self.calls.insert(reference.clone(), Call { id, is_slash, batch, parts: Vec::new() });
        reference
    }

    /// A call is done and has nothing to tell.
    pub(super) fn done(&mut self, reference: &str, out: &mut Vec<u8>) {
        if let Some(call) = self.calls.remove(reference) {
            let answer = result(&call.id, json!({}));
            self.answer(&call, answer, out);
        }
    }

    /// Whether events are told from now on.
    pub(super) fn subscribe(&mut self, is_subscribed: bool) {
        self.is_subscribed = is_subscribed;
    }

    /// Writes lines of the contract as responses and notifications; what is one already stays.
    pub(super) fn heard(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        for bytes in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Value>(bytes) {
                Ok(value) if value.is_array() || value["jsonrpc"] == "2.0" => line(&value, out),
                Ok(event) => self.event(event, out),
                Err(error) => tracing::error!(%error, "an event is no JSON"),
            }
        }
    }

    fn event(&mut self, mut event: Value, out: &mut Vec<u8>) {
        let reference = event["ref"].as_str().map(str::to_owned);
        let Some(reference) = reference.filter(|it| self.calls.contains_key(it)) else {
            // What answers a call that wanted no answer is nobody's news.
            if self.is_subscribed && event["ref"].is_null() {
                let params = cameled(event);
                line(&json!({ "jsonrpc": "2.0", "method": "event", "params": params }), out);
            }
            return;
        };
        let kind = event["event"].as_str().unwrap_or_default().to_owned();
        if client::is_progress(&event) {
            // A call has one answer.
            return;
        }
        let is_slash = self.calls.get(&reference).is_some_and(|call| call.is_slash);
        let is_part = kind == "message" && event["history"] == true
            || kind == "part"
            || is_slash && kind != "result" && kind != "error";
        if let Some(fields) = event.as_object_mut() {
            for common in ["event", "at", "ref", "history"] {
                fields.remove(common);
            }
        }
        if is_part {
            if let Some(call) = self.calls.get_mut(&reference) {
                call.parts.push(event);
            }
            return;
        }
        let Some(mut call) = self.calls.remove(&reference) else { return };
        let parts = std::mem::take(&mut call.parts);
        let answer = match kind.as_str() {
            "error" => refused(&call.id, &event),
            "result" if event["ok"] == false => refused(&call.id, &event["error"]),
            "history" | "search" => {
                event["messages"] = Value::Array(parts);
                result(&call.id, event)
            }
            "parted" => {
                let text: String = parts.iter().filter_map(|it| it["text"].as_str()).collect();
                result(&call.id, json!({ "text": text }))
            }
            _ => result(&call.id, event),
        };
        self.answer(&call, answer, out);
    }

    fn answer(&mut self, call: &Call, answer: Value, out: &mut Vec<u8>) {
        let Some(number) = call.batch else { return line(&answer, out) };
        if let Some(batch) = self.batches.get_mut(&number) {
            batch.open = batch.open.saturating_sub(1);
            batch.answers.push(answer);
        }
        self.ended(number, out);
    }

    /// Answers a batch once all of it is answered.
    fn ended(&mut self, number: u64, out: &mut Vec<u8>) {
        if self.batches.get(&number).is_some_and(|batch| batch.open > 0) {
            return;
        }
        if let Some(batch) = self.batches.remove(&number)
            && !batch.answers.is_empty()
        {
            line(&Value::Array(batch.answers), out);
        }
    }
}

/// `p2pgroup rpc`: stdin to the socket, what is answered to stdout, until stdin ends and all is
/// answered.
///
/// # Errors
/// [`Refusal::NothingRunning`]; [`Refusal::HomeUnusable`] where it is not ours.
pub(in crate::cli) fn run(config: &Config) -> Result<ExitCode, Refused> {
    let home = config.member_home()?.to_owned();
    let path = super::path(&home);
    let runtime = serve::runtime()?;
    let code = runtime.block_on(async {
        let connected = UnixStream::connect(&path).await;
        let stream = connected.map_err(|error| client::unconnected(&error, &home, &path))?;
        let (read, mut write) = stream.into_split();
        let asking = tokio::spawn(async move {
            // So that whatever comes first is answered as a call is. Whoever answers no more is seen
            // below.
            write.write_all(b"{\"cmd\":\"attach\",\"rpc\":true}\n").await.ok();
            hand_on(tokio::io::stdin(), &mut write).await.ok();
            write.shutdown().await.ok();
        });
        let mut lines = BufReader::new(read);
        let mut bytes = Vec::new();
        while lines.read_until(b'\n', &mut bytes).await.is_ok_and(|count| count > 0) {
            if is_call(&bytes) {
                if !report::print(&bytes)? {
                    break;
                }
            } else if let Some(no) = ended(&bytes) {
                asking.abort();
                return Err(no);
            }
            // All else is what the member told before it knew how it is spoken to.
            bytes.clear();
        }
        asking.abort();
        Ok(ExitCode::SUCCESS)
    });
    // The thread that waits for more of stdin is not waited for.
    runtime.shutdown_background();
    code
}

/// Why the member takes no calls, where it says so to a connection it will not have.
fn ended(line: &[u8]) -> Option<Refused> {
    let event: Value = serde_json::from_slice(line).ok()?;
    client::no(&event).filter(|_| event["fatal"] == true)
}

/// Hands on what is read; the last line counts without its end, too.
async fn hand_on(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let (mut buffer, mut is_open) = (vec![0; 64 << 10], false);
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        is_open = bytes.last() != Some(&b'\n');
        to.write_all(bytes).await?;
    }
    if is_open {
        to.write_all(b"\n").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(rpc: &mut Rpc, text: &str) -> (Vec<Ask>, Vec<Value>) {
        let mut out = Vec::new();
        let asks = rpc.take(text.as_bytes(), &mut out);
        (asks, values(&out))
    }

    fn heard(rpc: &mut Rpc, lines: &str) -> Vec<Value> {
        let mut out = Vec::new();
        rpc.heard(lines.as_bytes(), &mut out);
        values(&out)
    }

    fn values(out: &[u8]) -> Vec<Value> {
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn asked(asks: &[Ask]) -> Value {
        match asks {
            [Ask::Line(line)] => serde_json::from_slice(line).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_a_command_of_the_contract_and_its_event_the_result() {
        let mut rpc = Rpc::default();
        let (asks, now) = take(
            &mut rpc,
            r#"{"jsonrpc":"2.0","id":"a","method":"roomCreate","params":{"room":"ops","entry":"free"}}"#,
        );
        let line = asked(&asks);
        assert_eq!(
            (now.len(), &line["cmd"], &line["entry"]),
            (0, &json!("room_create"), &json!("free"))
        );
        let reference = line["ref"].as_str().unwrap();
        let answer = format!(
            r#"{{"event":"room","at":"x","ref":"{reference}","room":"ops","peer_id":[{{"a_b":1}}]}}"#
        );
        let result = json!({"jsonrpc":"2.0","id":"a","result":{"room":"ops","peerId":[{"aB":1}]}});
        assert_eq!(heard(&mut rpc, &answer), [result]);
        assert!(heard(&mut rpc, &answer).is_empty(), "answered once");
    }

    #[test]
    fn a_history_is_one_result_and_a_no_an_error_with_our_code() {
        let mut rpc = Rpc::default();
        let line = asked(&take(&mut rpc, r#"{"jsonrpc":"2.0","id":7,"method":"history"}"#).0);
        let reference = line["ref"].as_str().unwrap();
        let part = format!(
            r#"{{"event":"message","history":true,"ref":"{reference}","text":"hi","sent_at":"y"}}"#
        );
        let end = format!(r#"{{"event":"history","ref":"{reference}","room":"main","count":1}}"#);
        assert!(heard(&mut rpc, &part).is_empty());
        let [answer] = &heard(&mut rpc, &end)[..] else { panic!() };
        assert_eq!(answer["result"]["messages"], json!([{"text":"hi","sentAt":"y"}]));

        let line = asked(&take(&mut rpc, r#"{"jsonrpc":"2.0","id":8,"method":"room"}"#).0);
        let no = json!({"event":"error","ref":line["ref"],"code":"room_unknown","message":"m",
            "hint":"h","retryable":false,"fatal":false});
        let [answer] = &heard(&mut rpc, &no.to_string())[..] else { panic!() };
        assert_eq!(answer["error"]["code"], REFUSED);
        assert_eq!(answer["error"]["data"]["code"], "room_unknown");
        let line = asked(
            &take(
                &mut rpc,
                r#"{"jsonrpc":"2.0","id":9,"method":"slash","params":{"line":"/kick"}}"#,
            )
            .0,
        );
        let no = json!({"event":"result","ref":line["ref"],"ok":false,
            "error":{"code":"command_bad","message":"m"}});
        let [answer] = &heard(&mut rpc, &no.to_string())[..] else { panic!() };
        assert_eq!(answer["error"]["code"], INVALID_PARAMS);
    }

    #[test]
    fn how_far_it_is_is_no_answer_to_a_call_nor_a_part_of_it() {
        let mut rpc = Rpc::default();
        for (text, end) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"search","params":{"words":"x"}}"#, "search"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"slash","params":{"line":"/send f"}}"#, "result"),
        ] {
            let line = asked(&take(&mut rpc, text).0);
            let reference = &line["ref"];
            let far = json!({"event":"progress","ref":reference,"doing":"search","done":1,"of":2});
            assert!(heard(&mut rpc, &far.to_string()).is_empty());
            let end = json!({"event":end,"ref":reference,"ok":true});
            let [answer] = &heard(&mut rpc, &end.to_string())[..] else { panic!() };
            assert!(answer["id"] == 7 && !answer.to_string().contains("doing"), "{answer}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused_as_the_standard_says() {
        let mut rpc = Rpc::default();
        for (text, code, id) in [
            ("{", PARSE_ERROR, json!(null)),
            ("[]", INVALID_REQUEST, json!(null)),
            (r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#, INVALID_REQUEST, json!(1)),
            (r#"{"jsonrpc":"2.0","id":{},"method":"status"}"#, INVALID_REQUEST, json!(null)),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_REQUEST, json!(1)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"nonsense"}"#, METHOD_NOT_FOUND, json!(1)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"room_create"}"#, METHOD_NOT_FOUND, json!(1)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"attach"}"#, METHOD_NOT_FOUND, json!(1)),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"status","params":[1]}"#,
                INVALID_PARAMS,
                json!(1),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"send","params":{"ref":"1"}}"#,
                INVALID_PARAMS,
                json!(1),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"since":"x"}}"#,
                INVALID_PARAMS,
                json!(1),
            ),
        ] {
            let (asks, now) = take(&mut rpc, text);
            assert!(asks.is_empty() && now.len() == 1, "{text}");
            assert_eq!((&now[0]["error"]["code"], &now[0]["id"]), (&json!(code), &id), "{text}");
        }
        let silent = r#"{"jsonrpc":"2.0","method":"nonsense"}"#;
        assert_eq!(take(&mut rpc, silent), (Vec::new(), Vec::new()));
        assert!(rpc.calls.is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_answered_with_our_code() {
        let mut out = Vec::new();
        Rpc::too_long(&mut out);
        let [no] = &values(&out)[..] else { panic!() };
        assert_eq!((&no["error"]["code"], &no["id"]), (&json!(PARSE_ERROR), &json!(null)));
        assert_eq!(no["error"]["data"]["code"], "message_too_long");
        assert!(is_call(&out), "it is handed on");
    }

    #[test]
    fn a_member_that_takes_no_calls_is_heard_saying_why() {
        let mut out = Vec::new();
        let no = Refused::new(Refusal::TooMany, "x");
        contract::Face::new(crate::node::wall).failed(&no, None, true, &mut out);
        assert_eq!(ended(&out), Some(no));
        assert_eq!(ended(b"{\"event\":\"ready\"}"), None);
    }

    #[test]
    fn a_batch_is_answered_together_and_calls_without_an_id_not_at_all() {
        let mut rpc = Rpc::default();
        let (asks, now) = take(
            &mut rpc,
            r#"[{"jsonrpc":"2.0","id":1,"method":"status"},
                {"jsonrpc":"2.0","method":"send","params":{"text":"x"}},
                {"jsonrpc":"2.0","id":2,"method":"nonsense"},
                {"jsonrpc":"2.0","id":3,"method":"unsubscribe"}]"#,
        );
        assert!(now.is_empty());
        let [Ask::Line(status), Ask::Line(send), Ask::Unsubscribe { reference: Some(it) }] =
            &asks[..]
        else {
            panic!("{asks:?}")
        };
        let send: Value = serde_json::from_slice(send).unwrap();
        assert!(send["ref"].is_null());
        let mut out = Vec::new();
        rpc.done(it, &mut out);
        assert!(out.is_empty());
        let status: Value = serde_json::from_slice(status).unwrap();
        let event = json!({"event":"status","ref":status["ref"],"quorum":true});
        let [answers] = &heard(&mut rpc, &event.to_string())[..] else { panic!() };
        let ids: Vec<&Value> = answers.as_array().unwrap().iter().map(|it| &it["id"]).collect();
        assert_eq!(ids, [&json!(2), &json!(3), &json!(1)]);
        assert!(rpc.batches.is_empty() && rpc.calls.is_empty());
        let all_silent = r#"[{"jsonrpc":"2.0","method":"status"}]"#;
        assert!(take(&mut rpc, all_silent).1.is_empty());
    }

    #[test]
    fn events_are_told_to_who_subscribed_alone() {
        let mut rpc = Rpc::default();
        let event = r#"{"event":"leader","at":"x","name":"bob","peer_id":"p"}"#;
        assert!(heard(&mut rpc, event).is_empty());
        let (asks, _) =
            take(&mut rpc, r#"{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"since":4}}"#);
        let reference = Some("1".to_owned());
        assert_eq!(asks, [Ask::Subscribe { after: Some(4), reference }]);
        rpc.subscribe(true);
        let [told] = &heard(&mut rpc, event)[..] else { panic!() };
        assert!(told.get("id").is_none());
        assert_eq!((&told["method"], &told["params"]["peerId"]), (&json!("event"), &json!("p")));
        rpc.subscribe(false);
        assert!(heard(&mut rpc, event).is_empty());
    }
}
