//! Frames off a stream, one at a time, each within its bound.
//! Owns: what was read of a frame that is not whole.
//! Must not know: what a frame means.
//! Invariants: giving up a read loses nothing; memory for a body is taken once its length is checked.
//! Start reading at: [`Frames::next`].

use futures::io::ReadHalf;
use futures::{AsyncRead, AsyncReadExt as _};

use super::Stream;
use crate::refusal::Refusal;
use crate::wire::file::{HEAD_BYTES, read_head};

/// Reads frames.
pub(super) struct Frames<R = ReadHalf<Stream>> {
    io: R,
    bytes_max: usize,
    head: [u8; HEAD_BYTES],
    /// The kind and the length of the body, once the head is whole.
    body_of: Option<(u8, usize)>,
    body: Vec<u8>,
    filled: usize,
}

/// Why there is no frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream is over.
    Over,
    /// What came is no frame.
    Bad(Refusal),
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(io: R, bytes_max: usize) -> Self {
        let (head, body) = ([0; HEAD_BYTES], Vec::new());
        Self { io, bytes_max, head, body_of: None, body, filled: 0 }
    }

    /// The next one: its kind and its body. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<(u8, &mut [u8]), End> {
        let (kind, length) = loop {
            if let Some((kind, length)) = self.body_of {
                if self.filled >= length {
                    break (kind, length);
                }
                let rest = self.body.get_mut(self.filled..length).unwrap_or_default();
                let count = self.io.read(rest).await.map_err(|_| End::Over)?;
                self.advance(count)?;
                continue;
            }
            let rest = self.head.get_mut(self.filled..).unwrap_or_default();
            let count = self.io.read(rest).await.map_err(|_| End::Over)?;
            self.advance(count)?;
            if self.filled == HEAD_BYTES {
                let (kind, length) = read_head(self.head, self.bytes_max).map_err(End::Bad)?;
                // Cleared once: the next ones overwrite what is there.
                if self.body.len() < length {
                    self.body.resize(length, 0);
                }
                (self.body_of, self.filled) = (Some((kind, length)), 0);
            }
        };
        (self.body_of, self.filled) = (None, 0);
        Ok((kind, self.body.get_mut(..length).unwrap_or_default()))
    }

    /// The buffer in which the frame lies that was just given, for this one, so that it can be worked
    /// on elsewhere.
    pub(super) fn swap_body(&mut self, other: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.body, other)
    }

    fn advance(&mut self, count: usize) -> Result<(), End> {
        self.filled = self.filled.saturating_add(count);
        if count == 0 { Err(End::Over) } else { Ok(()) }
    }
}
