//! The API as a machine reads it: OpenAPI 3.1, from the table of routes.
//! Owns: the description of what is not in that table.
//! Must not know: what a command does.
//! Invariants: a path that is served is described, and none besides.
//! Start reading at: [`document`].

use axum::Json;
use axum::extract::Extension;
use serde_json::{Map, Value, json};

use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use super::routes::{ROUTES, Route, Verb};
use super::schemas;

const JSON: &str = "application/json";

/// Method, path, scope, about, fields of query and body.
type Other = (
    &'static str,
    &'static str,
    Option<Scope>,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// What is served beside the table.
const OTHERS: &[Other] = &[
    ("get", "/healthz", None, "Whether the member runs.", &[], &[]),
    ("get", "/metrics", Some(Scope::Read), "Numbers for Prometheus.", &[], &[]),
    ("get", "/v1/openapi.json", Some(Scope::Read), "This document.", &[], &[]),
    ("get", "/v1/group", Some(Scope::Read), "Members, links of all, leader and terms.", &[], &[]),
    (
        "get",
        "/v1/events",
        Some(Scope::Read),
        "Server-sent events from a cursor on; 410 with the earliest where it is gone.",
        &["since"],
        &[],
    ),
    (
        "get",
        "/v1/socket",
        Some(Scope::Read),
        "The same as a WebSocket, which also takes commands of the --json contract.",
        &["since"],
        &[],
    ),
    (
        "post",
        "/v1/rooms/{room}/messages",
        Some(Scope::Send),
        "Sends; Idempotency-Key makes it happen once. 202: stored, and not as far as waited for.",
        &["wait", "timeout"],
        &["text", "expires"],
    ),
    (
        "post",
        "/v1/members/{name}/messages",
        Some(Scope::Send),
        "Sends to a member alone; with its contact code the message need not wait there.",
        &["wait", "timeout"],
        &["text", "code", "expires"],
    ),
    (
        "post",
        "/v1/rooms/{room}/files",
        Some(Scope::Send),
        "Sends a file: its bytes are the body, of the type application/octet-stream.",
        &["name", "expires", "wait", "timeout"],
        &[],
    ),
    (
        "get",
        "/v1/files/{id}/content",
        Some(Scope::Read),
        "The bytes of a file that is here, as an attachment.",
        &[],
        &[],
    ),
    (
        "get",
        "/v1/rooms/{room}/export",
        Some(Scope::Read),
        "All messages of a room, oldest first, as `p2pgroup export` writes them.",
        &["format"],
        &[],
    ),
    (
        "get",
        "/v1/export",
        Some(Scope::Read),
        "The same of all rooms, one after the other.",
        &["format"],
        &[],
    ),
    ("post", "/v1/hooks/{token}", None, "An incoming webhook.", &[], &["text"]),
    ("get", "/v1/webhooks", Some(Scope::Admin), "The outgoing webhooks.", &[], &[]),
    (
        "post",
        "/v1/webhooks",
        Some(Scope::Admin),
        "Adds one; the answer holds the secret that its requests are signed with.",
        &[],
        &["url", "room", "allow_local"],
    ),
    (
        "get",
        "/v1/webhooks/dead",
        Some(Scope::Admin),
        "Messages that an outgoing webhook could not deliver.",
        &[],
        &[],
    ),
    ("delete", "/v1/webhooks/{id}", Some(Scope::Admin), "Removes one.", &[], &[]),
    ("get", "/", None, "The web page.", &[], &[]),
    ("post", "/v1/qr", Some(Scope::Read), "A text as a QR code: rows, 1 is dark.", &[], &["text"]),
];

/// The document.
pub(super) async fn serve(Extension(granted): Extension<Granted>) -> Result<Json<Value>, Problem> {
    granted.needs(Scope::Read)?;
    Ok(Json(document()))
}

/// All that is served.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let Route { verb, path, scope, cmd, fields, about } = route;
        let (query, body) = match verb {
            Verb::Post => (&[][..], *fields),
            _ => (*fields, &[][..]),
        };
        let done = match (verb, cmd) {
            _ if route.is_message() => ("201", Some(JSON), Some("Sent")),
            (Verb::Post, &"accept") => ("200", Some(JSON), Some("Request")),
            _ => ("200", Some(JSON), Some(schemas::of_command(cmd))),
        };
        let described = operation(path, Some(*scope), about, (query, body), done);
        put(&mut paths, path, verb.name(), described);
    }
    for (method, path, scope, about, query, body) in OTHERS {
        let done = schemas::of_other(method, path);
        put(&mut paths, path, method, operation(path, *scope, about, (query, body), done));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "p2pgroup local API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a running member can do. Fields are those of the --json contract.",
        },
        "servers": [{ "url": "/" }],
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas::schemas(),
        },
        "paths": paths,
    })
}

/// A path as the manual tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathHelp {
    /// The method, in capitals.
    pub method: String,
    /// The path.
    pub path: &'static str,
    /// Which scope of a token it needs; `None`: no token.
    pub scope: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
    /// The fields that query and body may hold.
    pub fields: Vec<&'static str>,
}

/// Every path, from the same tables as the document.
pub fn paths() -> Vec<PathHelp> {
    let routes = ROUTES.iter().map(|route| PathHelp {
        method: route.verb.name().to_uppercase(),
        path: route.path,
        scope: Some(route.scope.name()),
        about: route.about,
        fields: route.fields.to_vec(),
    });
    let others = OTHERS.iter().map(|(method, path, scope, about, query, body)| PathHelp {
        method: method.to_uppercase(),
        path,
        scope: scope.map(|scope| scope.name()),
        about,
        fields: query.iter().chain(*body).copied().collect(),
    });
    routes.chain(others).collect()
}

fn put(paths: &mut Map<String, Value>, path: &str, method: &str, described: Value) {
    let entry = paths.entry(path.to_owned()).or_insert_with(|| json!({}));
    if let Some(methods) = entry.as_object_mut() {
        methods.insert(method.to_owned(), described);
    }
}

/// Status, type of the body or which it may have, and its shape.
type Done = (&'static str, Option<&'static str>, Option<&'static str>);

/// What comes back: what was asked for, or a problem.
fn responses((status, kind, shape): Done) -> Value {
    let body = |kinds: &str, shape: Option<&str>| {
        let described = match shape {
            Some(shape) => json!({ "schema": schemas::reference(shape) }),
            None => json!({}),
        };
        let kinds = kinds.split(' ').map(|kind| (kind.to_owned(), described.clone()));
        Value::Object(kinds.collect())
    };
    let mut responses = Map::new();
    let mut tell = |status: &str, about: &str| {
        let mut answer = json!({ "description": about });
        if let (Some(kind), Some(fields)) = (kind, answer.as_object_mut()) {
            fields.insert("content".to_owned(), body(kind, shape));
        }
        responses.insert(status.to_owned(), answer);
    };
    if (status, shape) == ("201", Some("Sent")) {
        tell("201", "It is stored here, and has come as far as wished.");
        tell("202", "It is stored here, and has not come so far in time.");
    } else {
        tell(status, "Done.");
    }
    let problem = body("application/problem+json", Some("Problem"));
    responses.insert("default".to_owned(), json!({ "description": "A no.", "content": problem }));
    Value::Object(responses)
}

/// What may be said in a query.
fn parameter(name: &str, kind: &str) -> Value {
    let schema = match name {
        "wait" => json!({ "type": "string", "enum": ["stored", "one", "all"] }),
        "format" => json!({ "type": "string", "enum": ["jsonl", "md", "txt"] }),
        _ => json!({ "type": kind }),
    };
    json!({ "name": name, "in": "query", "schema": schema })
}

fn operation(
    path: &str,
    scope: Option<Scope>,
    about: &str,
    (query, body): (&[&str], &[&str]),
    done: Done,
) -> Value {
    let kind = |field: &str| match field {
        "after" | "last" | "since" | "uses" => "integer",
        "verified" | "allow_local" => "boolean",
        _ => "string",
    };
    let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = named
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    for name in query {
        parameters.push(parameter(name, kind(name)));
    }
    let is_message = |verb| {
        let is_it = |it: &&Route| it.path == path && it.verb == verb;
        ROUTES.iter().find(is_it).is_some_and(Route::is_message)
    };
    // Of two methods of a path that is one, one takes a body.
    let is_other = match body.is_empty() {
        true => is_message(Verb::Delete) && query.contains(&"room"),
        false => is_message(Verb::Post),
    };
    let is_send = is_other
        || query.contains(&"wait")
        || path.ends_with("/messages") && body.contains(&"text");
    if is_other {
        for name in ["wait", "timeout"] {
            parameters.push(parameter(name, kind(name)));
        }
    }
    if is_send {
        let schema = json!({ "type": "string" });
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "schema": schema }));
    }
    let mut described = json!({ "summary": about, "parameters": parameters });
    if let Some(fields) = described.as_object_mut() {
        if let Some(scope) = scope {
            fields.insert("security".to_owned(), json!([{ "token": [scope.name()] }]));
        }
        fields.insert("responses".to_owned(), responses(done));
        if !body.is_empty() || path == "/v1/commands" {
            let properties: Map<String, Value> = body
                .iter()
                .map(|name| ((*name).to_owned(), json!({ "type": kind(name) })))
                .collect();
            let schema = json!({ "type": "object", "properties": properties });
            let content = json!({ "application/json": { "schema": schema } });
            fields.insert("requestBody".to_owned(), json!({ "content": content }));
        }
    }
    described
}
