//! Sending: into a room, to a member alone, by an incoming webhook; once, and waited for.
//! Owns: what is answered when, of how far a message has come.
//! Must not know: how a message travels.
//! Invariants: 201 says that the message is on this machine's disk, and of `wait` that it came as
//! far; 202 that it is on the disk and has not come so far in time.
//! Start reading at: [`to_room`].

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Here;
use super::access::{Grant, Scope, Shown};
use super::guard::Granted;
use super::once::Used;
use super::problem::Problem;
use super::routes::ask;
use crate::limits::API_WAIT_MAX;
use crate::node::Told;
use crate::protocol::{Command, DeliveryView, Notice};
use crate::refusal::{Refusal, Refused};

/// A message to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    text: String,
    /// How long it lives: `30s`, `2h`.
    #[serde(default)]
    expires: Option<String>,
}

/// A message to a member alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alone {
    text: String,
    /// The contact code of whoever it is for: who has it need not wait for a yes.
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    expires: Option<String>,
}

/// A message as others' webhooks write it: what else they say is not for us.
#[derive(Debug, Deserialize)]
pub(super) struct Slack {
    text: String,
}

/// Until when to wait.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default)]
    wait: Wait,
    /// Seconds, or `500ms`, `10s`.
    timeout: Option<String>,
}

/// As what to send a file, and until when to wait.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileWish {
    pub(super) name: Option<String>,
    /// After how long nobody has it from anybody any more.
    pub(super) expires: Option<String>,
    #[serde(default)]
    wait: Wait,
    timeout: Option<String>,
}

impl From<FileWish> for Wish {
    fn from(FileWish { wait, timeout, .. }: FileWish) -> Self {
        Self { wait, timeout }
    }
}

/// Where the message is that is to be deleted, and until when to wait.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleting {
    #[expect(dead_code, reason = "the table of routes has it")]
    room: Option<String>,
    #[serde(default)]
    wait: Wait,
    timeout: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wait {
    #[default]
    Stored,
    One,
    All,
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How often delivery is asked for although nothing was heard of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The fields of [`Wish`].
pub(super) const WISHES: &[&str] = &["wait", "timeout"];
pub(super) const KEY: &str = "idempotency-key";

impl Wish {
    fn timeout(&self) -> Result<Duration, Problem> {
        let Some(text) = self.timeout.as_deref() else { return Ok(TIMEOUT_DEFAULT) };
        let (number, unit) = match text.strip_suffix("ms") {
            Some(number) => (number, 1),
            None => (text.strip_suffix('s').unwrap_or(text), 1_000),
        };
        let millis: Option<u64> = number.parse().ok().and_then(|it: u64| it.checked_mul(unit));
        let wait = millis.filter(|millis| *millis <= API_WAIT_MAX.0).map(Duration::from_millis);
        wait.ok_or_else(|| Problem::bad("timeout is a number of seconds up to 300, or as 500ms"))
    }
}

/// Into a room.
pub(super) async fn to_room(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    Path(room): Path<String>,
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Result<Json<Body>, JsonRejection>,
) -> Result<Response, Problem> {
    granted.needs(Scope::Send)?;
    let (wish, Body { text, expires }) = (read(wish)?, said(body)?);
    let mut command = json!({ "cmd": "send", "room": room, "text": text });
    if let (Some(fields), Some(expires)) = (command.as_object_mut(), expires) {
        fields.insert("expires".to_owned(), Value::from(expires));
    }
    send(&here, &headers, &wish, command).await
}

/// To a member alone.
pub(super) async fn to_member(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    Path(name): Path<String>,
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Result<Json<Alone>, JsonRejection>,
) -> Result<Response, Problem> {
    granted.needs(Scope::Send)?;
    let wish = read(wish)?;
    let Alone { text, code, expires } = body.map_err(|error| unread(&error))?.0;
    let command = match (code, expires) {
        (None, None) => json!({ "cmd": "msg", "name": name, "text": text }),
        (Some(code), None) => json!({ "cmd": "msg", "name": name, "text": text, "code": code }),
        (None, Some(expires)) => {
            let room = format!("@{name}");
            json!({ "cmd": "send", "room": room, "text": text, "expires": expires })
        }
        (Some(_), Some(_)) => {
            return Err(Problem::bad(
                "a message with a code has no end: send another one after it",
            ));
        }
    };
    send(&here, &headers, &wish, command).await
}

/// A message that is about another one, or for programs: a command with `id` or `name`.
pub(super) async fn other(
    here: &Here,
    headers: &HeaderMap,
    query: &str,
    command: Value,
) -> Result<Response, Problem> {
    let uri: axum::http::Uri =
        format!("/?{query}").parse().map_err(|_| Problem::bad("the query cannot be read"))?;
    let wish = match command.get("cmd").is_some_and(|it| it == "delete") {
        // Its other fields stand there, too.
        true => Query::try_from_uri(&uri)
            .map(|Query(Deleting { wait, timeout, .. })| Query(Wish { wait, timeout })),
        false => Query::try_from_uri(&uri),
    };
    send(here, headers, &read(wish)?, command).await
}

/// By an incoming webhook: its token says into which room. Names in it call nobody.
pub(super) async fn by_hook(
    State(here): State<Here>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Slack>, JsonRejection>,
) -> Result<Response, Problem> {
    let Some(Grant::Hook(room)) = here.access.grant(Shown::of(&token)) else {
        return Err(Refused::new(Refusal::TokenMissing, "no such hook").into());
    };
    let Json(Slack { text }) = body.map_err(|error| unread(&error))?;
    let command = json!({ "cmd": "send", "room": room, "text": text });
    send(&here, &headers, &Wish::default(), command).await?;
    // What senders of such hooks expect.
    Ok((StatusCode::OK, "ok").into_response())
}

fn read(
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
) -> Result<Wish, Problem> {
    wish.map(|Query(wish)| wish).map_err(|error| Problem::bad(error.body_text()))
}

fn said(body: Result<Json<Body>, JsonRejection>) -> Result<Body, Problem> {
    body.map(|Json(body)| body).map_err(|error| unread(&error))
}

fn unread(error: &JsonRejection) -> Problem {
    let status = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Problem::bad(error.body_text()).with(status)
}

/// Sends, and answers how far the message has come.
pub(super) async fn send(
    here: &Here,
    headers: &HeaderMap,
    wish: &Wish,
    command: Value,
) -> Result<Response, Problem> {
    let body = command.to_string();
    Ok(send_once(here, headers, wish, (command, &body)).await?.0)
}

/// The same for a command that says the same as another if their `body` is the same; also whether
/// it was sent now.
pub(super) async fn send_once(
    here: &Here,
    headers: &HeaderMap,
    wish: &Wish,
    (command, body): (Value, &str),
) -> Result<(Response, bool), Problem> {
    let within = wish.timeout()?;
    // Before the message goes, so that nothing about it is missed.
    let events = here.handle.events()?;
    let (id, is_new) = match headers.get(KEY).map(|key| key.to_str()) {
        None => (sent(here, command).await?, true),
        Some(Ok(key)) => once(here, key, (command, body)).await?,
        Some(Err(_)) => return Err(Problem::bad("the Idempotency-Key is not plain text")),
    };
    let waited = tokio::time::timeout(within, async {
        loop {
            let delivery = delivery(here, &id).await?;
            let is_enough = match wish.wait {
                Wait::Stored => true,
                Wait::One => !delivery.to.is_empty() || delivery.lacks.is_empty(),
                Wait::All => delivery.lacks.is_empty(),
            };
            if is_enough {
                return Ok::<_, Problem>(delivery);
            }
            let news = async {
                loop {
                    match events.next().await {
                        Some(Ok(Notice::Delivered { id: of, .. })) if of == delivery.id => break,
                        // What was left out may be what is waited for.
                        Some(Told::Err(_)) | None => break,
                        Some(Ok(_)) => {}
                    }
                }
            };
            // Late is late: whatever it was, it is asked for again.
            tokio::time::timeout(LOOK_EVERY, news).await.ok();
        }
    });
    let (status, delivery) = match waited.await {
        Ok(delivery) => (StatusCode::CREATED, delivery?),
        Err(_) => (StatusCode::ACCEPTED, delivery(here, &id).await?),
    };
    let place = [("location", format!("/v1/messages/{id}"))];
    let body = json!({
        "id": id,
        "room": delivery.room,
        "seq": delivery.seq.0,
        "state": delivery.state.name(),
        "to": delivery.to,
        "lacks": delivery.lacks.iter().map(|lack| &lack.name).collect::<Vec<_>>(),
    });
    Ok(((status, place, Json(body)).into_response(), is_new))
}

async fn delivery(here: &Here, id: &str) -> Result<DeliveryView, Problem> {
    match here.handle.command(Command::Delivery { id: id.to_owned() }).await? {
        Notice::Delivery { delivery, .. } => Ok(*delivery),
        _ => Err(Refusal::Internal.into()),
    }
}

/// Sends, and gives the message's id.
async fn sent(here: &Here, command: Value) -> Result<String, Refused> {
    let answer = ask(here, &command).await?;
    let id = answer.iter().find_map(|event| event["id"].as_str());
    id.map(str::to_owned).ok_or_else(|| Refusal::Internal.into())
}

/// Sends unless this key did already; and whether it did not.
async fn once(
    here: &Here,
    key: &str,
    (command, body): (Value, &str),
) -> Result<(String, bool), Problem> {
    let _turn = here.once.turn.lock().await;
    let end = here.handle.since(u64::MAX, 0).await?.last;
    match here.once.begin(key, body, end)? {
        Used::Done(id) => return Ok((id, false)),
        Used::Fresh => {}
        Used::Begun(after) => {
            if let Some(id) = stored(here, after, &command).await? {
                here.once.done(key, &id)?;
                return Ok((id, false));
            }
        }
    }
    match sent(here, command).await {
        Ok(id) => {
            here.once.done(key, &id)?;
            Ok((id, true))
        }
        Err(refused) => {
            // Of one that was not answered nobody knows whether it is stored: whoever comes again
            // looks.
            if !matches!(refused.refusal, Refusal::TimedOut | Refusal::NothingRunning) {
                here.once.forget(key);
            }
            Err(refused.into())
        }
    }
}

/// The message that an earlier process was killed over, if it was stored.
async fn stored(here: &Here, mut after: u64, command: &Value) -> Result<Option<String>, Problem> {
    let room = match (command["room"].as_str(), command["name"].as_str()) {
        (Some(room), _) => Some(room.to_owned()),
        (None, name) => name.map(|name| format!("@{name}")),
    };
    let about = command["id"].as_str();
    let text = match command["cmd"].as_str() {
        // Of a file it is the name.
        Some("send_file") => &command["name"],
        Some("delete") => &Value::from(""),
        _ => &command["text"],
    };
    loop {
        let page = here.handle.since(after, crate::limits::SINCE_MAX).await?;
        let is_it = |it: &crate::protocol::MessageView| {
            it.is_own
                && room.as_ref().is_none_or(|room| it.room == *room)
                && *text == it.text
                && about.is_none_or(|id| it.about.target().is_some_and(|of| of.to_string() == id))
        };
        if let Some((_, message)) = page.messages.iter().find(|(_, it)| is_it(it)) {
            return Ok(Some(message.id.to_string()));
        }
        if page.upto >= page.last {
            return Ok(None);
        }
        after = page.upto;
    }
}
