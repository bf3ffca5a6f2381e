//! Reads ahead from a socket: the more comes at once, the more.
//! Owns: the bytes that were read and not taken yet.
//! Must not know: what they mean.
//! Invariants: who sent little costs a page of memory, whatever it announced; what is written passes
//! through.
//! Start reading at: [`Ahead`].

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

/// Read at once to begin with …
const LEAST_BYTES: usize = 4 << 10;
/// … and as long as more comes twice as much, up to this.
const MOST_BYTES: usize = 64 << 10;

/// A connection that is read in pieces as large as what comes.
#[derive(Debug)]
pub(super) struct Ahead<C> {
    inner: C,
    buffer: Vec<u8>,
    /// From here …
    next: usize,
    /// … to here it was not taken yet.
    end: usize,
}

impl<C> Ahead<C> {
    pub(super) fn new(inner: C) -> Self {
        Self { inner, buffer: vec![0; LEAST_BYTES], next: 0, end: 0 }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Ahead<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.next == this.end {
            if this.end == this.buffer.len() && this.end < MOST_BYTES {
                this.buffer.resize(this.end.saturating_mul(2), 0);
            }
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.buffer))?;
            (this.next, this.end) = (0, read);
        }
        let there = this.buffer.get(this.next..this.end).unwrap_or_default();
        let count = there.len().min(out.len());
        out.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
        this.next = this.next.saturating_add(count);
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Ahead<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncReadExt as _;

    use super::*;

    /// Gives as much as is asked for, up to so much in all, and notes how much that was.
    struct Source {
        left: usize,
        asked: Vec<usize>,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = out.len().min(self.left);
            let begin = self.left;
            for (at, to) in out.iter_mut().enumerate().take(count) {
                *to = u8::try_from((begin - at) % 251).unwrap();
            }
            self.left -= count;
            self.asked.push(out.len());
            Poll::Ready(Ok(count))
        }
    }

    #[tokio::test]
    async fn more_is_read_at_once_as_more_comes_and_nothing_is_lost() {
        const ALL: usize = 300_000;
        let mut ahead = Ahead::new(Source { left: ALL, asked: Vec::new() });
        let mut all = Vec::new();
        let mut piece = [0; 1_000];
        loop {
            let count = ahead.read(&mut piece).await.unwrap();
            if count == 0 {
                break;
            }
            all.extend_from_slice(&piece[..count]);
        }
        let expected: Vec<u8> = (1..=ALL).rev().map(|at| u8::try_from(at % 251).unwrap()).collect();
        assert!(all == expected);
        let kib: Vec<usize> = ahead.inner.asked.iter().map(|bytes| bytes >> 10).collect();
        assert_eq!(kib, [4, 8, 16, 32, 64, 64, 64, 64, 64]);
    }

    #[tokio::test]
    async fn who_sends_little_costs_little() {
        let mut ahead = Ahead::new(Source { left: 100, asked: Vec::new() });
        let mut piece = [0; 1_000];
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 100);
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 0);
        assert_eq!(ahead.buffer.len(), LEAST_BYTES);
    }
}
