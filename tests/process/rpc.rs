//! JSON-RPC with a running member: the page that documents it, as it is written.
//! Owns: what a caller meets.
//! Must not know: how calls become commands.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::harness::{LONG, Lab, Proc, Value, json, list};

/// Whether what came is as written, where more than is written may have come.
fn is_as(written: &Value, came: &Value) -> bool {
    match (written, came) {
        (Value::String(any), came) if any == "…" => !came.is_null(),
        (Value::Object(written), Value::Object(came)) => {
            written.iter().all(|(name, it)| came.get(name).is_some_and(|came| is_as(it, came)))
        }
        (Value::Array(written), Value::Array(came)) => {
            written.len() == came.len()
                && written.iter().zip(came).all(|(it, came)| is_as(it, came))
        }
        (written, came) => written == came,
    }
}

#[test]
fn every_example_of_the_page_runs_as_it_is_written() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let home = lab.home("alice");
    let rpc = Proc::start("rpc", lab.command(&["rpc", "--home", home.to_str().unwrap()]));
    // What comes before the first call is answered as one, and the next one heard.
    rpc.feed("nonsense\n");
    rpc.wait("nonsense answered", |it| it["error"]["code"] == -32700 && it["id"].is_null());
    rpc.feed(&format!("{}\n", "x".repeat(2 << 20)));
    let is_too_long = |it: &Value| it["error"]["data"]["code"] == "message_too_long";
    rpc.wait("a long line answered", |it| it["error"]["code"] == -32700 && is_too_long(it));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rpc.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```rpc\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() > 18, "{}", lines.len());
    let mut mark = 0;
    for line in lines {
        if let Some(request) = line.strip_prefix("--> ") {
            mark = rpc.mark();
            rpc.feed(&format!("{request}\n"));
        } else {
            let written: Value = serde_json::from_str(line.strip_prefix("<-- ").unwrap()).unwrap();
            // The harness takes an array for a line of text.
            let parsed = |came: &Value| came.as_str().and_then(|it| serde_json::from_str(it).ok());
            rpc.wait_from(mark, LONG, line, |came| {
                is_as(&written, parsed(came).as_ref().unwrap_or(came))
            });
        }
    }
    // What was not subscribed to was not told, and nothing was answered twice.
    let events = rpc.events();
    let mut ids: Vec<&Value> =
        events.iter().map(|it| &it["id"]).filter(|it| !it.is_null()).collect();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    let first = events.iter().position(|it| it["method"] == "event").unwrap();
    assert!(events[..first].iter().any(|it| it["id"] == 10), "{}", rpc.story());
    alice.wait("unanswered, and said", |it| it["event"] == "sent" && it["text"] == "unanswered");
    // It ends with its input, and by that alone.
    rpc.feed("{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"status\"}\n");
    rpc.close_input();
    let ended = rpc.ended(LONG);
    assert_eq!((ended.code, &ended.events.last().unwrap()["id"]), (Some(0), &json!("last")));
    alice.exit();
    let none = lab.run(&["rpc", "--home", home.to_str().unwrap()], "");
    assert_eq!(none.code, Some(7), "{}", none.text());
}

#[test]
fn the_socket_speaks_it_too_and_an_exit_is_answered() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let stream = UnixStream::connect(lab.home("alice").join("control.sock")).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut lines = BufReader::new(stream);
    let mut call = |text: &str| {
        lines.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "closed before {text} was answered");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value.get("jsonrpc").is_some() {
                return value;
            }
        }
    };
    let members = call("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"members\"}");
    assert_eq!(list(&members["result"]["members"])[0]["name"], "alice", "{members}");
    assert_eq!(call("nonsense")["error"]["code"], -32700);
    assert_eq!(call("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"exit\"}")["result"], json!({}));
    assert_eq!(alice.ended(LONG).code, Some(0));
}
