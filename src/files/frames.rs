//! Frames off a stream and on it, one at a time, each within its bound.
//! Owns: the buffers of a stream, what was read and what was written of a frame that is not whole.
//! Must not know: what a frame means.
//! Invariants: a stream has so many buffers and no more, so neither side runs ahead further; giving up
//! a read loses nothing; memory for a body is taken once its length is checked.
//! Start reading at: [`frames`].
//!
//! ```text
//!  this thread                    the thread of the connection
//!   Mouth::say --a whole frame-->  write, piece by piece   --> stream
//!         <----its buffer-------
//!   Frames::next <--a whole frame- read                    <-- stream
//!         -----its buffer------>
//! ```
//!
//! What touches the stream runs beside its connection: there a piece passes on without waking anybody,
//! and this thread is woken once a frame. Waking cost more than all that was done with a piece.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Stream;
use crate::refusal::Refusal;
use crate::wire::file::{HEAD_BYTES, read_head};

/// So much is read by who asked for it in the time that it has, at the least.
const PIECE_BYTES: usize = 64 << 10;
/// Buffers of one stream, one way, at the most: as many as who fetches the shortest chunks reads ahead.
pub(super) const BUFFERS_MAX: usize = 17;
/// Freed memory that the allocator keeps is twice this.
const KEPT_BYTES: usize = 4 << 20;

/// Something that runs until it ends.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream is over.
    Over,
    /// What came is no frame.
    Bad(Refusal),
}

/// Both ways of a stream, which is carried by tasks that `beside` runs.
///
/// `idle` is how long who reads may take for a piece; no frame is longer than `bytes_max`, and no more
/// than `ahead` of them are read before those before them are done with.
pub(super) fn frames(
    beside: &dyn Fn(Task),
    stream: Stream,
    idle: Duration,
    bytes_max: usize,
    ahead: usize,
) -> (Frames, Mouth) {
    keep_freed_memory();
    let (reader, writer) = stream.split();
    let (came, coming) = mpsc::channel(BUFFERS_MAX);
    let (home, empty) = mpsc::channel(BUFFERS_MAX);
    for _ in 0..ahead.clamp(1, BUFFERS_MAX) {
        // There is room for all of them.
        let _fits = home.try_send(Vec::new());
    }
    beside(Box::pin(read(reader, bytes_max, came, (home, empty))));
    let (due, dues) = mpsc::channel(BUFFERS_MAX);
    let (back, written) = mpsc::channel(BUFFERS_MAX);
    beside(Box::pin(write(writer, idle, dues, back)));
    (Frames(coming), Mouth { due, written, spare: vec![Vec::new()] })
}

/// Keeps what pieces of files were in for the next ones.
///
/// glibc gives back to the system what lies free at the end of its heap, past a bound, and the next piece
/// faults it in again, page by page: a third of the processor's time in the system. It raises that bound
/// to twice the largest block that was freed (mallopt(3), `M_MMAP_THRESHOLD`). No page of this one is
/// ever touched; other allocators take no notice.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

/// What comes on a stream.
pub(super) struct Frames(mpsc::Receiver<Result<Frame, End>>);

impl Frames {
    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Frame, End> {
        self.0.recv().await.unwrap_or(Err(End::Over))
    }
}

/// A frame that came; its buffer is read into again once it is dropped.
pub(super) struct Frame {
    pub(super) kind: u8,
    length: usize,
    /// At least so long: what is there is overwritten, not cleared.
    bytes: Vec<u8>,
    home: mpsc::Sender<Vec<u8>>,
}

impl Frame {
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { kind: 0, length: bytes.len(), bytes, home: mpsc::channel(1).0 }
    }

    pub(super) fn body_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // Who reads may have ended.
        let _gone = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

async fn read(
    mut io: impl AsyncRead + Unpin,
    bytes_max: usize,
    came: mpsc::Sender<Result<Frame, End>>,
    (home, mut empty): (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>),
) {
    loop {
        let frame = tokio::select! {
            frame = read_one(&mut io, bytes_max, &home, &mut empty) => frame,
            () = came.closed() => return,
        };
        let is_last = frame.is_err();
        if came.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

async fn read_one(
    io: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
    home: &mpsc::Sender<Vec<u8>>,
    empty: &mut mpsc::Receiver<Vec<u8>>,
) -> Result<Frame, End> {
    let mut head = [0; HEAD_BYTES];
    io.read_exact(&mut head).await.map_err(|_| End::Over)?;
    let (kind, length) = read_head(head, bytes_max).map_err(End::Bad)?;
    let bytes = empty.recv().await.ok_or(End::Over)?;
    let mut frame = Frame { kind, length, bytes, home: home.clone() };
    if frame.bytes.len() < length {
        frame.bytes.resize(length, 0);
    }
    io.read_exact(frame.body_mut()).await.map_err(|_| End::Over)?;
    Ok(frame)
}

/// What is said on a stream: who asked and does not read does not hold it for ever.
pub(super) struct Mouth {
    due: mpsc::Sender<Vec<u8>>,
    written: mpsc::Receiver<Vec<u8>>,
    /// Not used yet.
    spare: Vec<Vec<u8>>,
}

impl Mouth {
    /// So many frames may wait to be written, or be made, at once.
    pub(super) fn widen(&mut self, frames: usize) {
        self.spare.resize(frames.clamp(1, BUFFERS_MAX), Vec::new());
    }

    /// A buffer to make a frame in; what is in it is of a frame before. Waits until there is one.
    pub(super) async fn buffer(&mut self) -> Result<Vec<u8>, End> {
        // Those that were used are warm.
        if let Ok(used) = self.written.try_recv() {
            return Ok(used);
        }
        match self.spare.pop() {
            Some(fresh) => Ok(fresh),
            None => self.written.recv().await.ok_or(End::Over),
        }
    }

    /// A frame that was made in a buffer.
    pub(super) async fn give(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.due.send(frame).await.map_err(|_| End::Over)
    }

    pub(super) async fn say(&mut self, frame: &[u8]) -> Result<(), End> {
        let mut buffer = self.buffer().await?;
        buffer.clear();
        buffer.extend_from_slice(frame);
        self.give(buffer).await
    }

    /// Nothing more is said; waits until all of it is written, or nobody reads it.
    pub(super) async fn end(mut self) {
        drop(self.due);
        while self.written.recv().await.is_some() {}
    }
}

async fn write(
    mut io: impl AsyncWrite + Unpin,
    idle: Duration,
    mut dues: mpsc::Receiver<Vec<u8>>,
    back: mpsc::Sender<Vec<u8>>,
) {
    loop {
        let frame = match dues.try_recv() {
            Ok(frame) => frame,
            // Nothing waits: all that was written goes out.
            Err(_) if !is_done(idle, io.flush()).await => return,
            Err(_) => match dues.recv().await {
                Some(frame) => frame,
                None => break,
            },
        };
        for piece in frame.chunks(PIECE_BYTES) {
            if !is_done(idle, io.write_all(piece)).await {
                return;
            }
        }
        // Nobody may make frames any more.
        let _gone = back.try_send(frame);
    }
    let _broken = is_done(idle, io.close()).await;
}

async fn is_done(idle: Duration, step: impl Future<Output = io::Result<()>>) -> bool {
    matches!(timeout(idle, step).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::files::tests::pipe;

    const IDLE: Duration = Duration::from_secs(60);

    fn beside(task: Task) {
        drop(tokio::spawn(task));
    }

    /// Whoever runs beside has done what it can.
    async fn all_stand_still() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn no_more_is_read_ahead_than_there_are_buffers() {
        let (here, mut there) = pipe();
        let (mut frames, _mouth) = frames(&beside, Box::new(here), IDLE, 10, 2);
        for kind in 1..=3 {
            there.write_all(&[0, 0, 0, 2, kind, 7]).await.unwrap();
        }
        there.flush().await.unwrap();
        let first = frames.next().await.unwrap();
        let second = frames.next().await.unwrap();
        assert_eq!((first.kind, first.body(), second.kind), (1, &[7][..], 2));
        all_stand_still().await;
        assert!(frames.next().now_or_never().is_none(), "both buffers are in use");
        drop(first);
        assert_eq!(frames.next().await.unwrap().kind, 3);
    }

    #[tokio::test]
    async fn what_is_too_long_ends_the_stream() {
        let (here, mut there) = pipe();
        let (mut frames, _mouth) = frames(&beside, Box::new(here), IDLE, 10, 1);
        there.write_all(&[0, 0, 0, 12, 1]).await.unwrap();
        there.flush().await.unwrap();
        let bad = frames.next().await.err();
        assert_eq!(bad, Some(End::Bad(Refusal::FrameTooLong)));
        assert_eq!(frames.next().await.err(), Some(End::Over));
    }

    #[tokio::test]
    async fn so_many_frames_wait_to_be_written_and_the_end_waits_for_them() {
        let (here, mut there) = pipe();
        let (_frames, mut mouth) = frames(&beside, Box::new(here), IDLE, 10, 1);
        mouth.widen(2);
        let (one, other) = (mouth.buffer().await.unwrap(), mouth.buffer().await.unwrap());
        assert!(mouth.buffer().now_or_never().is_none(), "both are being made");
        for mut frame in [one, other] {
            frame.push(7);
            mouth.give(frame).await.unwrap();
        }
        mouth.say(&[8]).await.unwrap();
        mouth.end().await;
        let mut all = Vec::new();
        there.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [7, 7, 8]);
    }

    #[tokio::test]
    async fn who_does_not_read_is_given_up() {
        let (here, there) = pipe();
        let (mut frames, mut mouth) = frames(&beside, Box::new(here), IDLE, 10, 1);
        drop(there);
        assert_eq!(frames.next().await.err(), Some(End::Over));
        // The first one is taken, and comes back never.
        drop(mouth.say(&[7]).await);
        assert_eq!(mouth.say(&[8]).await, Err(End::Over));
        mouth.end().await;
    }
}
