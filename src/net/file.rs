//! Streams on which files are carried: beside the link, so that no message waits behind a file.
//! Owns: the protocol's name, the streams that are being opened.
//! Must not know: what such a stream carries, who may have which file.
//! Invariants: streams of linked peers alone; every wish for one is answered, or its asker is told by
//! the end of the channel.
//! Start reading at: [`FileStream`].

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{Stream, StreamProtocol, swarm::ConnectionId};
use tokio::sync::oneshot;

/// One file on one stream, wishes one way, chunks the other.
pub(super) const FILE: StreamProtocol = StreamProtocol::new("/p2pgroup/1/file");

/// Streams of one connection that are being opened; more are refused.
const OPENING_MAX: usize = 16;

/// A stream to or from a linked peer; may be read and written on any thread.
#[derive(Debug)]
pub struct FileStream(pub(super) Stream);

impl AsyncRead for FileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FileStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Who waits for a stream; nothing is sent where there is none.
pub(super) type Reply = oneshot::Sender<FileStream>;

/// Streams that are being opened, by connection.
#[derive(Debug, Default)]
pub(super) struct Opening(BTreeMap<ConnectionId, VecDeque<Reply>>);

impl Opening {
    /// Notes a wish; `false`: there are too many.
    pub(super) fn add(&mut self, connection: ConnectionId, reply: Reply) -> bool {
        let waiting = self.0.entry(connection).or_default();
        // Whoever gave up waiting does not count.
        let may = waiting.iter().filter(|reply| !reply.is_closed()).count() < OPENING_MAX;
        if may {
            waiting.push_back(reply);
        }
        may
    }

    /// The stream goes to who waited longest: they are all alike.
    pub(super) fn opened(&mut self, connection: ConnectionId, stream: Stream) {
        if let Some(reply) = self.next(connection) {
            // Who gave up has no use for it: dropping it ends it.
            let _gone = reply.send(FileStream(stream));
        }
    }

    /// One could not be opened.
    pub(super) fn failed(&mut self, connection: ConnectionId) {
        drop(self.next(connection));
    }

    /// None will be opened on it any more.
    pub(super) fn closed(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }

    fn next(&mut self, connection: ConnectionId) -> Option<Reply> {
        let waiting = self.0.get_mut(&connection)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.0.remove(&connection);
        }
        next
    }
}
