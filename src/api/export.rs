//! All messages of a room or of all rooms over HTTP, as `p2pgroup export` writes them.
//! Owns: the two paths whose answers are texts of any length.
//! Must not know: how a message is written down: that is the contract's.
//! Invariants: never more than some parts are held, however much there is; what keeps it from
//! beginning is a problem as others are, and one that ends before its end is seen to have been cut.
//! Start reading at: [`of_room`].

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use super::{Here, Written};
use crate::refusal::{Refusal, Refused};

/// Exports at once.
pub(super) const AT_ONCE: usize = 4;
/// Parts that wait for the client to read on.
const PARTS_AHEAD: usize = 2;

/// How it is to be written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    format: Option<String>,
}

type Asked = Result<Query<Wish>, QueryRejection>;

/// `GET /v1/rooms/{room}/export?format=jsonl|md|txt`.
pub(super) async fn of_room(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    Path(room): Path<String>,
    wish: Asked,
) -> Result<Response, Problem> {
    export(&here, granted, Some(room), wish).await
}

/// `GET /v1/export?format=…`: all rooms, one after the other.
pub(super) async fn of_all(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    wish: Asked,
) -> Result<Response, Problem> {
    export(&here, granted, None, wish).await
}

/// The kind of text that a format is, and how names of its files end; `None`: there is no such.
fn kind_of(format: &str) -> Option<&'static str> {
    match format {
        "jsonl" => Some("application/x-ndjson"),
        "md" => Some("text/markdown; charset=utf-8"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}

async fn export(
    here: &Here,
    granted: Granted,
    room: Option<String>,
    wish: Asked,
) -> Result<Response, Problem> {
    granted.needs(Scope::Read)?;
    let Query(Wish { format }) = wish.map_err(|error| Problem::bad(error.body_text()))?;
    let format = format.unwrap_or_else(|| "jsonl".to_owned());
    let kind = kind_of(&format).ok_or_else(|| Problem::bad("format is jsonl, md or txt"))?;
    let turn = Arc::clone(&here.exports).try_acquire_owned().map_err(|_| {
        let detail = format!("{AT_ONCE} exports are being read");
        Problem::from(Refused::new(Refusal::TooMany, detail))
    })?;
    let (give, mut parts) = mpsc::channel::<Part>(PARTS_AHEAD);
    let written = Written { room, format: format.clone(), give: give.clone() };
    let writing = here.contract.export(here.handle.clone(), written);
    tokio::spawn(async move {
        if let Err(refused) = writing.await {
            // Whoever asked may be gone.
            give.send(Err(refused)).await.ok();
        }
        drop(turn);
    });
    let first = parts.recv().await.transpose()?;
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"export.{format}\"")),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
    ];
    Ok((headers, Body::from_stream(texts(first, parts))).into_response())
}

type Part = Result<String, Refused>;

/// The parts as a body; a no among them breaks it off.
fn texts(
    first: Option<String>,
    parts: mpsc::Receiver<Part>,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((first, parts), |(first, mut parts)| async move {
        let part = match first {
            Some(first) => Ok(first),
            None => parts.recv().await?.map_err(|refused| {
                tracing::warn!(code = refused.refusal.code(), "an export was cut");
                std::io::Error::other(refused.refusal.code())
            }),
        };
        Some((part.map(Bytes::from), (None, parts)))
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn an_export_that_is_cut_is_no_shorter_one() {
        let (give, parts) = mpsc::channel::<Part>(3);
        give.send(Ok("b".to_owned())).await.unwrap();
        give.send(Err(Refusal::NothingRunning.into())).await.unwrap();
        drop(give);
        let told: Vec<_> = texts(Some("a".to_owned()), parts).collect().await;
        let told: Vec<_> = told.into_iter().map(|it| it.map_err(|it| it.to_string())).collect();
        let cut = Err(Refusal::NothingRunning.code().to_owned());
        assert_eq!(told, [Ok(Bytes::from("a")), Ok(Bytes::from("b")), cut]);
    }

    #[test]
    fn each_format_is_sent_as_what_it_is() {
        assert_eq!(kind_of("jsonl"), Some("application/x-ndjson"));
        assert!(["md", "txt"].iter().all(|it| kind_of(it).is_some_and(|it| it.contains("utf-8"))));
        assert_eq!(kind_of("html"), None);
    }
}
