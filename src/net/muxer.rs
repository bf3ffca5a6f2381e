//! Yamux on a TCP connection, with frames larger than libp2p's own wrapping of it allows.
//! Owns: how long a frame of a stream may be, streams that arrived and wait to be taken.
//! Must not know: what a stream carries.
//! Invariants: on the wire it is what every libp2p speaks; streams that wait are bounded.
//! Start reading at: [`Yamux`].

// With 16 KiB a frame, which libp2p-yamux leaves to nobody to choose, a file cost a third more: each
// frame is an allocation, records to be sealed, a system call and a thread or two woken.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// The longest frame that is sent: four records under TLS. A message of another stream
/// waits behind two at the most, the second of them sealed already, and what the system has taken.
const FRAME_BYTES: usize = 64 << 10;

/// Streams of one connection that arrived and wait to be taken; more are reset. As many as Yamux
/// lets a peer open before they are acknowledged.
const WAITING_MAX: usize = 256;

/// Agreed upon when a connection is made; becomes its [`Muxer`].
#[derive(Clone, Debug)]
pub(super) struct Yamux(Config);

impl Yamux {
    /// With so many streams on one connection, at the most.
    pub(super) fn new(streams_max: usize) -> Self {
        let mut config = Config::default();
        config.set_max_num_streams(streams_max).set_split_send_size(FRAME_BYTES);
        Self(config)
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(connection, self.0, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(connection, self.0, Mode::Client)))
    }
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    /// Arrived while nobody asked for one: the connection goes on by being asked for the next one.
    waiting: VecDeque<Stream>,
    /// Who asked when there was none.
    taker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(connection: C, config: Config, mode: Mode) -> Self {
        let connection = Connection::new(connection, config, mode);
        Self { connection, waiting: VecDeque::new(), taker: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let next = self.connection.poll_next_inbound(cx);
        next.map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.taker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        match self.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // Dropping it resets it.
            Poll::Ready(Ok(stream)) if self.waiting.len() >= WAITING_MAX => drop(stream),
            Poll::Ready(Ok(stream)) => self.waiting.push_back(stream),
        }
        self.taker.take().into_iter().for_each(Waker::wake);
        // There may be more, after the others had their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection, as a member and another libp2p have them.
    async fn ends()
    -> (Muxer<libp2p::tcp::tokio::TcpStream>, libp2p::yamux::Muxer<libp2p::tcp::tokio::TcpStream>)
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let [ours, theirs] = [ours.unwrap(), theirs.unwrap().0].map(libp2p::tcp::tokio::TcpStream);
        let info = "/yamux/1.0.0";
        let ours = Yamux::new(8).upgrade_outbound(ours, info).await.unwrap();
        let theirs = libp2p::yamux::Config::default().upgrade_inbound(theirs, info).await.unwrap();
        (ours, theirs)
    }

    async fn run<M: StreamMuxer + Unpin>(mut muxer: M) {
        while poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await.is_ok() {}
    }

    #[tokio::test]
    async fn a_long_frame_is_read_by_another_libp2p() {
        let (mut ours, mut theirs) = ends().await;
        let mut stream = poll_fn(|cx| Pin::new(&mut ours).poll_outbound(cx)).await.unwrap();
        let bytes = vec![7; FRAME_BYTES + 1];
        // One frame at once, and no more than one.
        let written = stream.write(&bytes).await.unwrap();
        assert_eq!(written, FRAME_BYTES);
        stream.write_all(&bytes[written..]).await.unwrap();
        let ours = tokio::spawn(run(ours));
        let mut arrived = poll_fn(|cx| Pin::new(&mut theirs).poll_inbound(cx)).await.unwrap();
        let theirs = tokio::spawn(run(theirs));
        let mut read = vec![0; bytes.len()];
        arrived.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
        ours.abort();
        theirs.abort();
    }

    #[tokio::test]
    async fn a_stream_that_arrives_while_nobody_asks_for_one_waits_to_be_taken() {
        let (mut ours, mut theirs) = ends().await;
        let mut stream = poll_fn(|cx| Pin::new(&mut theirs).poll_outbound(cx)).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let theirs = tokio::spawn(run(theirs));
        let taken = poll_fn(|cx| {
            // As a connection does it: it goes on, and takes a stream when it has room for one.
            assert!(Pin::new(&mut ours).poll(cx).is_pending());
            if ours.waiting.is_empty() {
                return Poll::Pending;
            }
            Pin::new(&mut ours).poll_inbound(cx)
        });
        let mut taken = taken.await.unwrap();
        let mut read = [0];
        taken.read_exact(&mut read).await.unwrap();
        assert_eq!(read, *b"x");
        theirs.abort();
    }
}
