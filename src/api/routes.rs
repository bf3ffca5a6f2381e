//! The table of paths: each is a command of the contract, with its fields from path, query and body.
//! Owns: which path means which command, and which scope it needs.
//! Must not know: what a command does.
//! Invariants: what is served and what `/v1/openapi.json` says come from one table.
//! Start reading at: [`ROUTES`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, RawPathParams, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::Here;
use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use super::send;
use crate::refusal::{Refusal, Refused};

/// How long the member may take: what needs a majority waits for one, and a client not for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// The methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// A path and its command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    pub(super) scope: Scope,
    pub(super) cmd: &'static str,
    /// Fields that the query (of GET and DELETE) or the body (of POST) may hold.
    pub(super) fields: &'static [&'static str],
    pub(super) about: &'static str,
}

const fn get(path: &'static str, cmd: &'static str, about: &'static str) -> Route {
    Route { verb: Verb::Get, path, scope: Scope::Read, cmd, fields: &[], about }
}

const fn act(
    path: &'static str,
    cmd: &'static str,
    fields: &'static [&'static str],
    about: &'static str,
) -> Route {
    Route { verb: Verb::Post, path, scope: Scope::Admin, cmd, fields, about }
}

const fn say(path: &'static str, cmd: &'static str, about: &'static str) -> Route {
    let fields = &["room", "text"];
    Route { verb: Verb::Post, path, scope: Scope::Send, cmd, fields, about }
}

impl Route {
    /// Whether it sends a message: once for an `Idempotency-Key`, and waited for.
    pub(super) fn is_message(&self) -> bool {
        matches!(self.cmd, "reply" | "edit" | "delete" | "react" | "unreact" | "app")
    }
}

const fn gone(path: &'static str, cmd: &'static str, about: &'static str) -> Route {
    Route { verb: Verb::Delete, path, scope: Scope::Admin, cmd, fields: &["reason"], about }
}

const fn with(route: Route, fields: &'static [&'static str]) -> Route {
    Route { fields, ..route }
}

/// Every path that is a command. What a path holds in braces is a field of the command.
pub(super) const ROUTES: &[Route] = &[
    get("/v1/status", "status", "Leader, quorum, voters, members, links, queues."),
    get("/v1/leader", "leader", "Who leads, since which term; null where nobody does."),
    get("/v1/members", "members", "Who belongs, and where they stand."),
    get("/v1/rooms", "rooms", "The rooms one is in, and those one may join."),
    get("/v1/rooms/{room}", "room", "How a room stands."),
    with(
        get(
            "/v1/rooms/{room}/messages",
            "history",
            "The newest messages of a room, or those before one: ID.PEER_ID.SEQ; oldest first.",
        ),
        &["last", "before"],
    ),
    get("/v1/rooms/{room}/seen", "seen", "Up to which message its person has read a room."),
    Route {
        verb: Verb::Post,
        path: "/v1/rooms/{room}/seen",
        scope: Scope::Send,
        cmd: "seen",
        fields: &["id"],
        about: "Notes up to which message a room is read; the note stays on this home.",
    },
    with(
        get(
            "/v1/rooms/{room}/deliveries",
            "deliveries",
            "Who holds one's own messages among the newest of a room, or those before one: \
             ID.PEER_ID.SEQ.",
        ),
        &["last", "before"],
    ),
    with(
        get("/v1/messages", "since", "What arrived after a cursor, in all rooms, in that order."),
        &["after", "last"],
    ),
    get("/v1/messages/{id}", "info", "Who holds a message, and who lacks it since when."),
    say("/v1/messages/{id}/reply", "reply", "Answers a message."),
    say("/v1/messages/{id}/edit", "edit", "Another text in place of one's own message."),
    say("/v1/messages/{id}/react", "react", "A mark on a message."),
    say("/v1/messages/{id}/unreact", "unreact", "Takes a mark back."),
    Route {
        verb: Verb::Delete,
        path: "/v1/messages/{id}",
        scope: Scope::Send,
        cmd: "delete",
        fields: &["room"],
        about: "Takes one's own message back.",
    },
    Route {
        verb: Verb::Post,
        path: "/v1/rooms/{room}/apps/{name}",
        scope: Scope::Send,
        cmd: "app",
        fields: &["text"],
        about: "A message for programs.",
    },
    with(
        get("/v1/search", "search", "The newest messages that hold all these words."),
        &["room", "words", "last"],
    ),
    get("/v1/files", "files", "The files that were sent, and how far each is here."),
    Route {
        verb: Verb::Post,
        path: "/v1/files/{id}/fetch",
        scope: Scope::Send,
        cmd: "get",
        fields: &["name"],
        about: "Fetches a file.",
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/files/{id}",
        scope: Scope::Send,
        cmd: "drop",
        fields: &[],
        about: "Fetches a file no further; gives one that is here to nobody any more.",
    },
    get("/v1/audit", "audit", "What the control log changed."),
    get("/v1/receipts", "receipts", "How far removals have come."),
    get("/v1/alarms", "alarms", "Keys and names that did not fit together."),
    get("/v1/links", "links", "Who is linked with whom, by the word of those who are linked."),
    get("/v1/compare", "compare", "Whether all who are linked hold the same."),
    act("/v1/rooms/{room}", "room_create", &["entry", "code", "text"], "Makes a room."),
    gone("/v1/rooms/{room}", "room_delete", "Deletes a room."),
    act("/v1/rooms/{room}/invite", "room_invite", &["name", "role"], "Has somebody in a room."),
    act("/v1/rooms/{room}/join", "room_join", &["code"], "Comes into a listed room."),
    act("/v1/rooms/{room}/leave", "room_leave", &[], "Leaves a room."),
    act("/v1/rooms/{room}/kick", "kick", &["name", "reason"], "Has somebody out of a room."),
    act("/v1/rooms/{room}/forgive", "room_forgive", &["name"], "Lets somebody renew keys again."),
    act("/v1/rooms/{room}/role", "room_role", &["name", "role"], "What somebody may do there."),
    act("/v1/rooms/{room}/rename", "room_rename", &["name"], "Another name for a room."),
    act("/v1/rooms/{room}/topic", "topic", &["text"], "What the room is about now."),
    act("/v1/rooms/{room}/describe", "room_describe", &["text"], "What the room is for."),
    act("/v1/rooms/{room}/entry", "room_entry", &["entry", "code"], "How one comes in."),
    act("/v1/rooms/{room}/capacity", "room_capacity", &["last"], "How many it holds."),
    act("/v1/rooms/{room}/history", "room_history", &["text"], "What newcomers may read."),
    act("/v1/rooms/{room}/keep", "room_keep", &["text", "last"], "How long messages are kept."),
    act("/v1/rooms/{room}/archive", "room_archive", &[], "Closes a room for messages."),
    act("/v1/rooms/{room}/reopen", "room_reopen", &[], "Opens it again."),
    act("/v1/rooms/{room}/rekey", "rekey", &[], "Agrees on new keys."),
    act("/v1/members/{name}/role", "role", &["role"], "What a member may do in the network."),
    gone("/v1/members/{name}", "remove", "Removes a member from the network."),
    act("/v1/members/{name}/verify", "verify", &["verified"], "The words of its key and yours."),
    get("/v1/members/{name}", "whois", "All that is known of a member."),
    act("/v1/ignore/{name}", "ignore", &[], "Marks what a member writes as not to be shown here."),
    Route { fields: &[], ..gone("/v1/ignore/{name}", "unignore", "Takes the mark away.") },
    get("/v1/ignore", "ignore", "Whose messages are not to be shown here."),
    act("/v1/rooms/{room}/mute", "mute", &[], "Has a room call nobody here."),
    act("/v1/rooms/{room}/unmute", "unmute", &[], "Has it call again."),
    get("/v1/invites", "invites", "The invites made here."),
    act("/v1/invites", "invite", &["uses", "expires", "name", "room"], "Makes an invite."),
    gone("/v1/invites/{id}", "revoke_invite", "Withdraws an invite."),
    get("/v1/requests", "requests", "Who waits to be let in."),
    act("/v1/requests/{name}/approve", "approve", &[], "Lets somebody in who waits."),
    act("/v1/requests/{name}/refuse", "refuse", &["reason"], "Turns somebody down."),
    get("/v1/accept", "accept", "Who waits to write to you alone."),
    act("/v1/accept/{name}", "accept", &[], "Lets somebody write to you alone."),
    // Whoever has it may write to this member: not for all who may read.
    Route {
        scope: Scope::Admin,
        ..get("/v1/code", "code", "The contact code by which others may write to you alone.")
    },
    act("/v1/code", "code_rotate", &[], "Another contact code; the old one is of no use any more."),
    Route {
        verb: Verb::Post,
        path: "/v1/commands",
        scope: Scope::Admin,
        cmd: "",
        fields: &[],
        about: "Any command of the --json contract, as its body; its events are the answer.",
    },
];

/// What a command needs that comes without a path: as much as the path of it that needs most.
pub(super) fn scope_of(cmd: &str) -> Scope {
    if matches!(cmd, "send" | "msg") {
        return Scope::Send;
    }
    let paths = ROUTES.iter().filter(|route| !cmd.is_empty() && route.cmd == cmd);
    // A path of this machine (`send_file`) is for an admin alone: it may lead to any file.
    paths.map(|route| route.scope).max().unwrap_or(Scope::Admin)
}

/// The commands that have a path.
#[cfg(test)]
pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
    // Those whose answers say how far a message has come have handlers of their own.
    ROUTES.iter().map(|route| route.cmd).chain(["send", "msg", "send_file"])
}

/// Adds them to a router.
pub(super) fn add(mut app: Router<Here>) -> Router<Here> {
    for route in ROUTES {
        let filter = match route.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        };
        let answer = move |State(here): State<Here>,
                           Extension(granted): Extension<Granted>,
                           path: RawPathParams,
                           RawQuery(query): RawQuery,
                           headers: HeaderMap,
                           body: Bytes| async move {
            let query = query.unwrap_or_default();
            answer(route, &here, granted, (path, query, headers), &body).await
        };
        app = app.route(route.path, on(filter, answer));
    }
    app
}

async fn answer(
    route: &Route,
    here: &Here,
    granted: Granted,
    (path, query, headers): (RawPathParams, String, HeaderMap),
    body: &Bytes,
) -> Result<Response, Problem> {
    granted.needs(route.scope)?;
    let given = match (route.verb, body.is_empty()) {
        (Verb::Post, false) => serde_json::from_slice(body)
            .map_err(|error| Problem::bad(format!("the body is no JSON object: {error}")))?,
        (Verb::Post, true) => Map::new(),
        _ => {
            let mut given = parameters(&query)?;
            if route.is_message() {
                // How long to wait is no matter of the message.
                given.retain(|name, _| !send::WISHES.contains(&name.as_str()));
            }
            given
        }
    };
    if route.cmd.is_empty() {
        let events = ask(here, &Value::Object(given)).await?;
        return Ok(Json(json!({ "events": events })).into_response());
    }
    let mut command = Map::new();
    for (name, value) in given {
        if !route.fields.contains(&name.as_str()) {
            let detail = format!("{} takes no {name}", route.path);
            return Err(Problem::bad(detail));
        }
        command.insert(name, value);
    }
    for (name, value) in &path {
        command.insert(name.to_owned(), Value::from(value));
    }
    command.insert("cmd".to_owned(), Value::from(route.cmd));
    if route.is_message() {
        return send::other(here, &headers, &query, Value::Object(command)).await;
    }
    if route.verb == Verb::Post && !query.is_empty() {
        return Err(Problem::bad(format!("{} takes no query", route.path)));
    }
    // Where a reader is that the store has moved away from is no empty page.
    let after = command.get("after").and_then(Value::as_u64).unwrap_or(0);
    let asks_only = command.get("last") == Some(&Value::from(0));
    let mut events = ask(here, &Value::Object(command)).await?;
    let Some(mut last) = events.pop() else {
        return Err(Refusal::Internal.into());
    };
    let end = last["last"].as_u64().unwrap_or(u64::MAX);
    // A cursor of another store, or of this one before it was set back. Who wants no messages may
    // ask where the end is.
    if after > end && !asks_only {
        let detail = format!("{after}; the newest is {end}");
        return Err(Refused::new(Refusal::CursorUnknown, detail).into());
    }
    if let Some(upto) = last["deleted_upto"].as_u64().filter(|_| after > 0) {
        return Err(Problem::gone(upto));
    }
    if let Some(fields) = last.as_object_mut()
        && matches!(route.cmd, "history" | "search")
    {
        fields.insert("messages".to_owned(), Value::Array(events));
    }
    Ok(Json(last).into_response())
}

/// The parameters of a query: numbers as numbers where a field is one.
fn parameters(query: &str) -> Result<Map<String, Value>, Problem> {
    let pairs: Vec<(String, String)> = serde_urlencoded_pairs(query)?;
    let mut given = Map::new();
    for (name, value) in pairs {
        let value = match (name.as_str(), value.parse::<u64>()) {
            ("after" | "last" | "uses", Ok(number)) => Value::from(number),
            ("after" | "last" | "uses", Err(_)) => {
                return Err(Problem::bad(format!("{name} is a number")));
            }
            _ => Value::from(value),
        };
        if given.insert(name.clone(), value).is_some() {
            return Err(Problem::bad(format!("{name} is given twice")));
        }
    }
    Ok(given)
}

fn serde_urlencoded_pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let uri: axum::http::Uri =
        format!("/?{query}").parse().map_err(|_| Problem::bad("the query cannot be read"))?;
    let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
    read.map(|axum::extract::Query(pairs)| pairs).map_err(|error| Problem::bad(error.body_text()))
}

/// Asks a command of the contract; gives the events that answer it, without what every event has.
pub(super) async fn ask(here: &Here, command: &Value) -> Result<Vec<Value>, Refused> {
    let asking = here.contract.understand(command.to_string().as_bytes())?;
    let answer = tokio::time::timeout(PATIENCE, here.handle.command(asking.command)).await;
    let late =
        |_| Refused::new(Refusal::TimedOut, format!("no answer in {} s", PATIENCE.as_secs()));
    let notice = answer.map_err(late)??;
    Ok(events(&(asking.answer)(notice)))
}

/// Lines of events as values.
pub(super) fn events(lines: &[u8]) -> Vec<Value> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let bare = |line: &[u8]| {
        let mut fields: BTreeMap<String, Value> = serde_json::from_slice(line).ok()?;
        for common in ["event", "at", "ref"] {
            fields.remove(common);
        }
        // Of a message: that it is not new. Of a room it is what newcomers may read.
        if fields.get("history").is_some_and(Value::is_boolean) {
            fields.remove("history");
        }
        Some(Value::Object(fields.into_iter().collect()))
    };
    lines.filter_map(bare).collect()
}
