//! What is left of a request that was answered with a no.
//! Owns: reading on for a while, so that the answer is read.
//! Must not know: who asked for what.
//! Invariants: bounded in bytes and in time, whoever sends.
//! Start reading at: [`Shared`].
//!
//! A server that answers and closes while its client still writes makes the system throw the
//! connection away, and the answer with it: the client sees a broken pipe and not why.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures::{Stream, StreamExt};

/// Read of a body that nobody wants.
const DRAINED_BYTES: usize = 8 << 20;
/// For so long.
const DRAINED_FOR: Duration = Duration::from_secs(2);

/// A body that is handed out and can be read on by whoever handed it out.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<BodyDataStream>>);

impl Shared {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body.into_data_stream())))
    }

    /// The same body, for the handler.
    pub(super) fn body(&self) -> Body {
        Body::from_stream(self.clone())
    }

    /// Reads what the handler left, of a request with these headers.
    pub(super) async fn drain(self, headers: &HeaderMap) {
        // Whoever waits for leave to send has sent nothing yet.
        if !headers.contains_key(header::EXPECT) {
            self.read_on().await;
        }
    }

    async fn read_on(mut self) {
        let read = async {
            let mut left = DRAINED_BYTES;
            while let Some(Ok(chunk)) = self.next().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever sends on after that does not read.
        tokio::time::timeout(DRAINED_FOR, read).await.ok();
    }
}

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, stream};

    use super::*;

    fn body(chunks: usize) -> Body {
        let chunk = Bytes::from(vec![7; 1 << 20]);
        Body::from_stream(stream::iter(
            (0..chunks).map(move |_| Ok::<_, axum::Error>(chunk.clone())),
        ))
    }

    #[tokio::test]
    async fn what_a_handler_leaves_is_read_up_to_a_bound() {
        let shared = Shared::new(body(3));
        let mut handler = shared.body().into_data_stream();
        assert!(handler.next().await.is_some());
        drop(handler);
        shared.clone().drain(&HeaderMap::new()).await;
        assert!(shared.body().into_data_stream().next().await.is_none());
        let shared = Shared::new(body(10));
        shared.clone().drain(&HeaderMap::new()).await;
        assert!(shared.body().into_data_stream().next().await.is_some(), "8 MiB and no more");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_who_sends_nothing() {
        silent().drain(&HeaderMap::new()).await;
    }

    fn silent() -> Shared {
        Shared::new(Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>()))
    }

    #[tokio::test]
    async fn who_waits_for_leave_to_send_is_answered_at_once() {
        let headers = HeaderMap::from_iter([(header::EXPECT, "100-continue".parse().unwrap())]);
        let drained = silent().drain(&headers);
        assert!(drained.now_or_never().is_some(), "nothing was sent, so nothing is read");
        assert!(silent().drain(&HeaderMap::new()).now_or_never().is_none());
    }
}
