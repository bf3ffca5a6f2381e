//! What is said, as it is said: server-sent events and a WebSocket, from a cursor on.
//! Owns: how a stream begins, and how many there may be.
//! Must not know: what an event says.
//! Invariants: every message comes once and in the order of arrival, with its cursor; what else
//! happens comes as it happens and is kept nowhere; a client that reads slowly is behind, and loses
//! no message; whoever's token was taken back does nothing more, and is told nothing a second later.
//! Start reading at: [`events`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Here;
use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use super::routes::scope_of;
use crate::limits::{API_STREAMS_MAX, INPUT_LINE_BYTES_MAX};
use crate::node::{Follow, Followed};
use crate::protocol::Notice;
use crate::refusal::{Refusal, Refused};

/// From where on to tell.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    since: Option<u64>,
}

/// A comment goes to a client of which nothing was heard for so long: so a broken one is noticed.
const ALIVE: Duration = Duration::from_secs(15);
/// So often it is looked whether the token of a stream is one still.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const AGAIN: &str = "last-event-id";
const WORD: &str = "p2pgroup.v1";

/// A stream that has begun, with its place among those there may be.
struct Stream {
    here: Here,
    follow: Follow,
    first: Option<Followed>,
    granted: Granted,
    looked: Instant,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    async fn begin(here: &Here, granted: Granted, since: Option<u64>) -> Result<Self, Problem> {
        let place = Arc::clone(&here.streams).try_acquire_owned().map_err(|_| {
            let detail = format!("{API_STREAMS_MAX} streams are open");
            Problem::from(Refused::new(Refusal::TooMany, detail))
        })?;
        let mut follow = here.handle.follow(since).await?;
        // What is missing is said before anything is told.
        let first = match follow.next().await? {
            Some(Followed::Gap(upto)) => return Err(Problem::gone(upto)),
            Some(first) => Some(first),
            None => return Err(Refusal::NothingRunning.into()),
        };
        let (here, looked) = (Arc::clone(here), Instant::now());
        Ok(Self { here, follow, first, granted, looked, _place: place })
    }

    fn is_taken_back(&mut self) -> bool {
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked = Instant::now();
        !self.granted.holds(&self.here.access)
    }

    /// The next thing as its name, its cursor and its fields; `None` at the end, also that of the token.
    async fn next(&mut self) -> Option<(String, Option<u64>, String)> {
        loop {
            let followed = match self.first.take() {
                Some(first) => first,
                None => match self.follow.next().await {
                    Ok(followed) => followed?,
                    Err(refused) => {
                        let fields = json!({ "code": refused.refusal.code() });
                        return Some(("error".to_owned(), None, fields.to_string()));
                    }
                },
            };
            if self.is_taken_back() {
                return None;
            }
            let (notice, cursor) = match followed {
                Followed::Message(number, message) => (Notice::Message(*message), Some(number)),
                Followed::Live(notice) => (*notice, None),
                Followed::CaughtUp(upto) => {
                    let fields = json!({ "event": "caught_up", "cursor": upto }).to_string();
                    return Some(("caught_up".to_owned(), Some(upto), fields));
                }
                Followed::Gap(upto) => {
                    let fields = json!({ "event": "gap", "upto": upto }).to_string();
                    return Some(("gap".to_owned(), Some(upto), fields));
                }
            };
            let is_last = matches!(notice, Notice::Exited);
            let line = self.here.contract.event(notice);
            let Some((name, text)) = told(&line, cursor) else { continue };
            if is_last {
                tracing::debug!("a stream ends with its member");
            }
            return Some((name, cursor, text));
        }
    }
}

/// The event in a line: its name, and the line with its cursor.
fn told(line: &[u8], cursor: Option<u64>) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let fields: Value = serde_json::from_str(line).ok()?;
    let name = fields["event"].as_str()?.to_owned();
    let text = match (cursor, line.strip_prefix('{')) {
        (Some(cursor), Some(rest)) => format!("{{\"cursor\":{cursor},{rest}"),
        _ => line.to_owned(),
    };
    Some((name, text))
}

fn since(
    query: Result<Query<From>, axum::extract::rejection::QueryRejection>,
    headers: &HeaderMap,
) -> Result<Option<u64>, Problem> {
    let Query(From { since }) = query.map_err(|error| Problem::bad(error.body_text()))?;
    // A browser that comes again says where it was; that is later than what the page asked for.
    match headers.get(AGAIN) {
        None => Ok(since),
        Some(last) => {
            let last = last.to_str().ok().and_then(|last| last.parse().ok());
            last.map(Some).ok_or_else(|| Problem::bad("Last-Event-ID is no cursor"))
        }
    }
}

/// As server-sent events.
pub(super) async fn events(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    query: Result<Query<From>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    granted.needs(Scope::Read)?;
    let begun = Stream::begin(&here, granted, since(query, &headers)?).await?;
    let told = stream::unfold(begun, |mut stream| async move {
        let (name, cursor, text) = stream.next().await?;
        let mut event = Event::default().event(name).data(text);
        if let Some(cursor) = cursor {
            event = event.id(cursor.to_string());
        }
        Some((Ok::<_, Infallible>(event), stream))
    });
    let alive = KeepAlive::new().interval(ALIVE);
    Ok(Sse::new(told).keep_alive(alive).into_response())
}

/// As a WebSocket, which also takes commands of the contract.
pub(super) async fn socket(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    query: Result<Query<From>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    granted.needs(Scope::Read)?;
    let upgrade = upgrade
        .map_err(|error| Problem::bad(error.body_text()).with(StatusCode::UPGRADE_REQUIRED))?;
    let begun = Stream::begin(&here, granted, since(query, &headers)?).await?;
    let upgrade = upgrade
        .protocols([WORD])
        .max_message_size(INPUT_LINE_BYTES_MAX)
        .max_frame_size(INPUT_LINE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| talk(socket, begun)))
}

async fn talk(mut socket: WebSocket, mut stream: Stream) {
    loop {
        let lines = tokio::select! {
            told = stream.next() => match told {
                Some((_, _, text)) => vec![text],
                None => break,
            },
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(line))) if stream.granted.holds(&stream.here.access) => {
                    answer(&stream.here, stream.granted, &line).await
                }
                Some(Ok(Message::Text(_))) => break,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered below us; bytes are nothing we know.
                Some(Ok(_)) => continue,
            },
        };
        for line in lines {
            if socket.send(Message::Text(Utf8Bytes::from(line))).await.is_err() {
                return;
            }
        }
    }
    socket.send(Message::Close(None)).await.ok();
}

/// Carries a command out; gives the lines that answer it.
async fn answer(here: &Here, granted: Granted, line: &str) -> Vec<String> {
    let fields: Value = serde_json::from_str(line).unwrap_or_default();
    let reference = fields["ref"].as_str().map(str::to_owned);
    let refused = match may(granted, fields["cmd"].as_str().unwrap_or_default()) {
        Err(refused) => refused,
        Ok(()) => match here.contract.understand(line.as_bytes()) {
            Err(refused) => refused,
            Ok(asking) => match here.handle.command(asking.command).await {
                Err(refused) => refused,
                Ok(notice) => {
                    let lines = (asking.answer)(notice);
                    let lines = String::from_utf8_lossy(&lines);
                    return lines.lines().map(str::to_owned).collect();
                }
            },
        },
    };
    let error = json!({
        "event": "error",
        "code": refused.refusal.code(),
        "message": refused.to_string(),
        "hint": refused.refusal.hint(),
        "retryable": refused.refusal.is_retryable(),
        "fatal": false,
        "ref": reference,
    });
    vec![error.to_string()]
}

fn may(granted: Granted, cmd: &str) -> Result<(), Refused> {
    let needs = scope_of(cmd);
    if granted.scope() >= needs {
        return Ok(());
    }
    Err(Refused::new(Refusal::ScopeMissing, format!("{cmd} needs {}", needs.name())))
}
