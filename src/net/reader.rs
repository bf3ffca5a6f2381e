//! What a link's stream is read into.
//! Owns: how much one read asks for, and how long a frame may take once it has begun.
//! Must not know: where frames begin and end, what becomes of them.
//! Invariants: one frame and one chunk at most are held.
//! Start reading at: [`FrameReader::fill`].

use std::{future::pending, pin::Pin, time::Duration};

use bytes::BytesMut;
use futures::{AsyncRead, AsyncReadExt};
use tokio::time::{Sleep, sleep};

use crate::refusal::Refusal;

/// What one read asks for: at first, and at most.
const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Why a stream was read no further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer writes what follows to the stream that the link moves to.
    Moved,
    /// The peer closed it, it broke, or we did.
    Over,
    /// The same, before its first byte.
    Silent,
    /// The peer broke a rule.
    Refused(Refusal),
}

/// Bytes read and not yet handed out.
pub(super) struct FrameReader<R> {
    io: R,
    pub(super) buffer: BytesMut,
    /// Whether anything was ever read.
    pub(super) has_bytes: bool,
    chunk: usize,
    /// Runs while the buffer holds the start of a frame.
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(io: R) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            has_bytes: false,
            chunk: CHUNK_BYTES_MIN,
            deadline: None,
        }
    }

    /// Reads once. The buffer holds at most one frame and one chunk.
    pub(super) async fn fill(&mut self, frame_deadline: Duration) -> Result<(), End> {
        let held = self.buffer.len();
        if held > 0 && self.deadline.is_none() {
            self.deadline = Some(Box::pin(sleep(frame_deadline)));
        }
        self.buffer.resize(held.saturating_add(self.chunk), 0);
        let space = self.buffer.get_mut(held..).unwrap_or_default();
        let late = async {
            match self.deadline.as_mut() {
                Some(deadline) => deadline.await,
                None => pending().await,
            }
        };
        let read = tokio::select! {
            biased;
            read = self.io.read(space) => read,
            () = late => {
                return Err(End::Refused(Refusal::FrameSlow));
            }
        };
        let count = read.map_err(|_| End::Over)?;
        self.buffer.truncate(held.saturating_add(count));
        if count == 0 {
            return Err(End::Over);
        }
        self.has_bytes = true;
        // Busy links read much at once, idle ones hold little.
        self.chunk = if count == self.chunk {
            self.chunk.saturating_mul(2).min(CHUNK_BYTES_MAX)
        } else if count < self.chunk / 4 {
            (self.chunk / 2).max(CHUNK_BYTES_MIN)
        } else {
            self.chunk
        };
        Ok(())
    }
}
