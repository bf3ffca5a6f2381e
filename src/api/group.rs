//! The group as a whole: a picture for people, numbers for Prometheus, and whether all is well.
//! Owns: what is seen of elections while this process runs.
//! Must not know: how members are linked, and how what others say of it is heard.
//! Invariants: `/healthz` tells nothing but that the member runs.
//! Start reading at: [`picture`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Here;
use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use super::routes::ask;
use crate::limits::API_STREAMS_MAX;
use crate::node;
use crate::protocol::Notice;

/// Elections kept.
const ELECTIONS_MAX: usize = 256;

/// Who led since when, as seen from here.
#[derive(Debug, Default)]
pub(super) struct Timeline(Mutex<VecDeque<Value>>);

impl Timeline {
    fn rows(&self) -> std::sync::MutexGuard<'_, VecDeque<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told once, however often it is heard.
    fn push(&self, row: Value) {
        let mut rows = self.rows();
        let is_same =
            |last: &Value| ["peer_id", "generation", "term"].iter().all(|it| last[it] == row[it]);
        if rows.back().is_some_and(is_same) {
            return;
        }
        if rows.len() >= ELECTIONS_MAX {
            rows.pop_front();
        }
        rows.push_back(row);
    }
}

/// Writes elections down while the member runs.
pub(super) async fn watch(here: Here) {
    let Ok(events) = here.handle.events() else { return };
    while let Some(told) = events.next().await {
        let at = node::wall().rfc3339();
        let leader = match told {
            Ok(Notice::Leader(leader)) => leader,
            // The one who led when this face came.
            Ok(Notice::Ready(ready)) if here.timeline.rows().is_empty() => ready.leader,
            _ => continue,
        };
        here.timeline.push(match leader {
            Some(leader) => json!({
                "at": at,
                "name": leader.name,
                "peer_id": leader.peer.to_string(),
                "generation": leader.generation,
                "term": leader.term,
            }),
            None => json!({
                "at": at, "name": null, "peer_id": null, "generation": null, "term": null,
            }),
        });
    }
}

/// Who leads, who is where, how they are linked, and how the terms went.
pub(super) async fn picture(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
) -> Result<Json<Value>, Problem> {
    granted.needs(Scope::Read)?;
    // Waits a moment for others to say with whom they are linked.
    let told = one(ask(&here, &json!({ "cmd": "links" })).await?);
    let status = one(ask(&here, &json!({ "cmd": "status" })).await?);
    let audit = one(ask(&here, &json!({ "cmd": "audit" })).await?);
    let links = status["links"].as_array().cloned().unwrap_or_default();
    let links: Vec<Value> = links
        .into_iter()
        .map(|mut link| {
            let is_direct = link["transport"] != "relay";
            if let Some(fields) = link.as_object_mut() {
                fields.insert("from".to_owned(), status["name"].clone());
                fields.insert("direct".to_owned(), is_direct.into());
            }
            link
        })
        .collect();
    let seen: Vec<Value> = here.timeline.rows().iter().cloned().collect();
    Ok(Json(json!({
        "name": status["name"],
        "network": status["network"],
        "leader": status["leader"],
        "role": status["role"],
        "quorum": status["quorum"],
        "frozen_because": status["frozen_because"],
        "voters": status["voters"],
        "members": status["members"],
        "links": links,
        "others": told["others"],
        "untold": told["untold"],
        "bootstrap": status["bootstrap"],
        "terms": terms(&audit["changes"]),
        "elections": seen,
    })))
}

fn one(mut events: Vec<Value>) -> Value {
    events.pop().unwrap_or_default()
}

/// Under which leaders the control log grew: the terms that left a trace in it.
fn terms(changes: &Value) -> Vec<Value> {
    let mut terms: Vec<Value> = Vec::new();
    for change in changes.as_array().map(Vec::as_slice).unwrap_or_default() {
        let is_same = terms.last().is_some_and(|last: &Value| {
            last["term"] == change["term"] && last["leader"] == change["leader"]
        });
        if is_same || change["leader"].is_null() {
            continue;
        }
        terms.push(json!({
            "since": change["stamp"],
            "leader": change["leader"],
            "generation": change["generation"],
            "term": change["term"],
            "index": change["index"],
        }));
    }
    terms
}

/// Whether the member runs.
pub(super) async fn health() -> Response {
    (StatusCode::OK, "ok\n").into_response()
}

/// Numbers for Prometheus.
pub(super) async fn metrics(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
) -> Result<Response, Problem> {
    granted.needs(Scope::Read)?;
    let status = one(ask(&here, &json!({ "cmd": "status" })).await?);
    let end = here.handle.since(u64::MAX, 0).await?.last;
    let mut text = String::new();
    let mut gauge = |name: &str, about: &str, rows: &[(String, f64)]| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP p2pgroup_{name} {about}\n# TYPE p2pgroup_{name} gauge");
        for (labels, value) in rows {
            let _ = writeln!(text, "p2pgroup_{name}{labels} {value}");
        }
    };
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let plain = |value: f64| [(String::new(), value)];
    let yes = |is: bool| plain(f64::from(u8::from(is)));
    let list = |field: &str| status[field].as_array().cloned().unwrap_or_default();
    let count = |rows: &[Value], field: &str, value: &str| {
        let count = rows.iter().filter(|row| row[field] == *value).count();
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        (format!("{{{field}=\"{value}\"}}"), count)
    };
    gauge("up", "Whether the member runs.", &plain(1.0));
    gauge("has_leader", "Whether somebody leads.", &yes(!status["leader"].is_null()));
    gauge("leads", "Whether it is this member.", &yes(status["role"] == "leader"));
    gauge("quorum", "Whether membership can change.", &yes(status["quorum"] == true));
    gauge("term", "The leader's term.", &plain(number(&status["leader"]["term"])));
    gauge(
        "control_commit",
        "Control entries committed.",
        &plain(number(&status["control"]["committed"])),
    );
    gauge("queued", "Own messages that a linked member lacks.", &plain(number(&status["queued"])));
    let what = "Entries that linked members hold and this one does not yet.";
    gauge("behind", what, &plain(number(&status["behind"])));
    let arrivals = f64::from(u32::try_from(end).unwrap_or(u32::MAX));
    gauge("arrivals", "Messages that arrived here.", &plain(arrivals));
    let members = list("members");
    let states = ["active", "away", "left", "removed"].map(|it| count(&members, "state", it));
    gauge("members", "Members by state.", &states);
    let links = list("links");
    let ways = ["tcp", "quic", "relay"].map(|it| count(&links, "transport", it));
    gauge("links", "Links by transport.", &ways);
    let free = u32::try_from(here.streams.available_permits()).unwrap_or(u32::MAX);
    let most = u32::try_from(API_STREAMS_MAX).unwrap_or(u32::MAX);
    let open = f64::from(most.saturating_sub(free));
    gauge("api_streams", "Streams of events that are open.", &plain(open));
    for (name, about, value) in [
        ("api_requests_total", "Requests to this API.", &here.requests),
        ("api_refused_total", "Requests that did not get in.", &here.refused),
    ] {
        let value = value.load(Ordering::Relaxed);
        let _ = writeln!(
            text,
            "# HELP p2pgroup_{name} {about}\n# TYPE p2pgroup_{name} counter\n\
             p2pgroup_{name} {value}"
        );
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_is_told_once_however_often_it_is_heard() {
        let timeline = Timeline::default();
        let row =
            |at: &str, term: u64| json!({"at": at, "peer_id": "Qm", "generation": 0, "term": term});
        for (at, term) in [("one", 1), ("two", 1), ("three", 2), ("four", 1)] {
            timeline.push(row(at, term));
        }
        let told: Vec<Value> = timeline.rows().iter().map(|row| row["at"].clone()).collect();
        assert_eq!(told, ["one", "three", "four"]);
    }
}
