//! A link: frames to and from one peer over one stream, with bounded queues both ways.
//! Owns: the queues, the reading and writing of frames, `LinkUp` and `LinkDown`.
//! Must not know: what a frame says, or why a peer is linked.
//! Invariants: frames of one direction keep their order; every `LinkUp` has one `LinkDown`.
//! Start reading at: [`Links::add`], then `serve`.
//!
//! ```text
//!  NetHandle::frame -> Queue -> write -> stream -> ... -> stream -> read -> NetEvent::Frame
//!                     (bounded)  (many frames a write)            (awaits room in the channel)
//! ```
//!
//! One task serves one peer. Its first stream is the link: we write to it until it ends. Further
//! streams, of either side, are only read:
//! - nothing was read from the first one yet: both sides dialled at once. Each side writes to the
//!   stream that it had first and reads both, so no frame is lost and none overtakes another.
//! - otherwise, if the peer opened it and writes to it, the peer has lost the link and starts
//!   afresh: `LinkDown`, then `LinkUp` with the new stream.
//! - a stream that ends without a byte was not needed by the other side and is forgotten.
//!
//! The end of a stream that carried frames ends the link, and with it every stream of the peer.
//!
//! A link may move to another connection (see `moving`): each side writes a mark on the old stream
//! after its last frame there and the rest on the new one, and reads in that order.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt,
    io::{ReadHalf, WriteHalf},
    stream::FuturesUnordered,
};
use libp2p::{Stream, swarm::ConnectionId};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::{
    NetEvent, Via, moving,
    queue::{DRAIN_TIME, Queue, State, Taken},
    reader::{End, FrameReader},
};
use crate::{ids::PeerId, limits::FRAME_BYTES_MAX, refusal::Refusal, wire::codec};

/// A stream that may become a link, and where it came from.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) stream: Stream,
    pub(super) connection: ConnectionId,
    pub(super) via: Via,
    pub(super) address: String,
    pub(super) is_outbound: bool,
    pub(super) dialled: Vec<String>,
    /// Measured on its connection before, in microseconds.
    pub(super) round_trip: Option<u64>,
    /// Where the peer sees us.
    pub(super) seen_at: Option<String>,
    /// Whether the present link is to move to this stream, and whether we ask for that.
    pub(super) moves: Option<Leads>,
}

/// Whether this side begins what both must agree on.
pub(super) type Leads = bool;

/// A link's use of a connection is over, for whoever keeps the connections.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    /// Whether the link goes on over another connection: what is under way on this one may end.
    pub(super) has_moved: bool,
}

/// All links, one per peer.
#[derive(Debug)]
pub(super) struct Links {
    slots: Mutex<BTreeMap<PeerId, Slot>>,
    events: mpsc::Sender<NetEvent>,
    ended: mpsc::Sender<Ended>,
    frame_deadline: Duration,
}

/// One peer's place: its task takes candidates, its queue takes frames.
#[derive(Debug)]
struct Slot {
    queue: Arc<Queue>,
    candidates: mpsc::Sender<Candidate>,
    task: tokio::task::AbortHandle,
}

impl Links {
    pub(super) fn new(
        events: mpsc::Sender<NetEvent>,
        ended: mpsc::Sender<Ended>,
        frame_deadline: Duration,
    ) -> Self {
        Self { slots: Mutex::new(BTreeMap::new()), events, ended, frame_deadline }
    }

    /// Takes a stream: as a new link, or handed to the task of the peer's present one.
    ///
    /// Gives it back if too many wait already.
    pub(super) fn add(
        self: &Arc<Self>,
        peer: PeerId,
        candidate: Candidate,
    ) -> Result<(), Box<Candidate>> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(&peer) {
            let sent = slot.candidates.try_send(candidate);
            return sent.map_err(|error| Box::new(error.into_inner()));
        }
        if candidate.moves.is_some() {
            // The link that was to move has ended.
            return Err(Box::new(candidate));
        }
        let queue = Arc::new(Queue::new());
        // Few: more can only come from a peer that opens streams for sport.
        let (sender, candidates) = mpsc::channel(SECONDS_MAX);
        let task = serve(Arc::clone(self), peer, Arc::clone(&queue), candidates, candidate);
        let task = tokio::spawn(task).abort_handle();
        let _first = slots.insert(peer, Slot { queue, candidates: sender, task });
        Ok(())
    }

    /// Whether frames can be sent to this peer.
    pub(super) fn is_linked(&self, peer: &PeerId) -> bool {
        self.lock().get(peer).is_some_and(|slot| slot.queue.is_open())
    }

    /// The queue of a linked peer.
    pub(super) fn queue(&self, peer: &PeerId) -> Option<Arc<Queue>> {
        self.lock().get(peer).map(|slot| Arc::clone(&slot.queue))
    }

    /// Lets every link write what is queued, then ends them all.
    pub(super) async fn shut(&self) {
        let queues: Vec<_> = self.lock().values().map(|slot| Arc::clone(&slot.queue)).collect();
        for queue in &queues {
            queue.set(State::Draining);
        }
        let all_over = async {
            for queue in &queues {
                queue.until_over().await;
            }
        };
        let _late = timeout(DRAIN_TIME, all_over).await;
        for slot in std::mem::take(&mut *self.lock()).into_values() {
            slot.task.abort();
        }
    }

    /// The next stream of a peer whose link ended, or the end of its slot.
    fn retire(&self, peer: &PeerId, waiting: &mut mpsc::Receiver<Candidate>) -> Option<Candidate> {
        let mut slots = self.lock();
        while let Ok(next) = waiting.try_recv() {
            if next.moves.is_none() {
                return Some(next);
            }
            let (peer, connection) = (*peer, next.connection);
            let ended = Ended { peer, connection, has_moved: false };
            // A full channel leaves an idle connection, which ends by itself.
            let _full = self.ended.try_send(ended);
        }
        let _slot = slots.remove(peer);
        None
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One peer's links, one after the other, until none is left.
async fn serve(
    links: Arc<Links>,
    peer: PeerId,
    queue: Arc<Queue>,
    mut waiting: mpsc::Receiver<Candidate>,
    first: Candidate,
) {
    let mut next = Some(Incoming::fresh(first));
    while let Some(incoming) = next.take() {
        queue.reopen();
        let is_moving = AtomicBool::new(false);
        let task = LinkTask { links: &links, peer, queue: &queue, is_moving };
        next = task.run(incoming, &mut waiting).await;
        if next.is_none() {
            next = links.retire(&peer, &mut waiting).map(Incoming::fresh);
        }
    }
}

/// A stream with what was already read from it.
struct Incoming {
    about: About,
    reader: FrameReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
}

/// A [`Candidate`] without its stream.
struct About {
    connection: ConnectionId,
    via: Via,
    address: String,
    is_outbound: bool,
    dialled: Vec<String>,
    round_trip: Option<u64>,
    seen_at: Option<String>,
}

impl Incoming {
    fn fresh(candidate: Candidate) -> Self {
        let Candidate { stream, connection, via, address, is_outbound, dialled, .. } = candidate;
        let Candidate { round_trip, seen_at, .. } = candidate;
        let (reader, writer) = stream.split();
        Self {
            about: About { connection, via, address, is_outbound, dialled, round_trip, seen_at },
            reader: FrameReader::new(reader),
            writer,
        }
    }
}

struct LinkTask<'a> {
    links: &'a Links,
    peer: PeerId,
    queue: &'a Queue,
    /// Whether the peer may say that it goes on elsewhere.
    is_moving: AtomicBool,
}

/// What became of a second stream.
enum Second {
    /// It ended before its first byte.
    Unused,
    /// It ended after frames came over it.
    Ended(End),
    /// It is the peer's new link: the old one is lost.
    Replaces(Box<Incoming>),
}

impl LinkTask<'_> {
    /// `LinkUp`, frames, `LinkDown`; gives the stream that replaced this one, if one did.
    async fn run(
        &self,
        incoming: Incoming,
        waiting: &mut mpsc::Receiver<Candidate>,
    ) -> Option<Incoming> {
        let Incoming { mut about, reader, writer } = incoming;
        let up = NetEvent::LinkUp {
            peer: self.peer,
            transport: about.via,
            address: std::mem::take(&mut about.address),
            is_outbound: about.is_outbound,
            dialled: std::mem::take(&mut about.dialled),
        };
        if self.links.events.send(up).await.is_err() {
            return None;
        }
        if let Some(micros) = about.round_trip {
            let measured = NetEvent::RoundTrip { peer: self.peer, micros };
            let _closed = self.links.events.send(measured).await;
        }
        if let Some(address) = about.seen_at.take() {
            let is_outbound = about.is_outbound;
            let seen = NetEvent::SeenAt { peer: self.peer, address, is_outbound };
            let _closed = self.links.events.send(seen).await;
        }
        let mut shaking = None;
        let carried = self.carry(&mut about, &mut shaking, reader, writer, waiting);
        let (end, next) = carried.await;
        self.queue.set(State::Shut);
        if let End::Refused(refusal) = end {
            let refused = NetEvent::Refused { peer: Some(self.peer), refusal };
            let _closed = self.links.events.send(refused).await;
        }
        let _closed = self.links.events.send(NetEvent::LinkDown { peer: self.peer }).await;
        self.leave(about.connection, false).await;
        if let Some(connection) = shaking {
            self.leave(connection, false).await;
        }
        next
    }

    /// The link does not use this connection any more.
    async fn leave(&self, connection: ConnectionId, has_moved: bool) {
        let ended = Ended { peer: self.peer, connection, has_moved };
        let _closed = self.links.ended.send(ended).await;
    }

    /// From now on the link is on another connection: everything on the one before was read.
    async fn settle(&self, about: &mut About, next: About) {
        let before = std::mem::replace(about, next);
        self.is_moving.store(false, Ordering::Relaxed);
        let moved = NetEvent::Moved {
            peer: self.peer,
            transport: about.via,
            address: std::mem::take(&mut about.address),
        };
        let _closed = self.links.events.send(moved).await;
        self.leave(before.connection, true).await;
    }

    /// Reads and writes until the link ends.
    async fn carry(
        &self,
        about: &mut About,
        shaking: &mut Option<ConnectionId>,
        reader: FrameReader<ReadHalf<Stream>>,
        writer: WriteHalf<Stream>,
        waiting: &mut mpsc::Receiver<Candidate>,
    ) -> (End, Option<Incoming>) {
        let has_read = watch::Sender::new(false);
        let mut reading = pin!(self.read(reader, &has_read));
        let (writers, next_writers) = mpsc::channel(1);
        let mut writing = pin!(write(writer, self.queue, next_writers));
        let mut is_written = false;
        let mut is_read_out = false;
        let mut is_silent = false;
        let mut shakes = FuturesUnordered::new();
        let mut moved = None;
        let mut stopping = pin!(self.queue.until_stopped());
        let mut seconds = FuturesUnordered::new();
        loop {
            tokio::select! {
                end = &mut reading, if !is_read_out && !is_silent => match end {
                    End::Moved => is_read_out = true,
                    // Both dialled: it carried only our frames, and the peer has read our mark.
                    // What the peer writes ends on the other one.
                    End::Silent if self.is_moving() && !seconds.is_empty() => is_silent = true,
                    end => return (end, None),
                },
                is_complete = &mut writing, if !is_written => {
                    if !is_complete {
                        return (End::Over, None);
                    }
                    // The peer ends its side when it has read everything; until then QUIC could
                    // lose what is under way.
                    is_written = true;
                }
                () = &mut stopping => return (End::Over, None),
                Some(end) = seconds.next(), if !seconds.is_empty() => match end {
                    Second::Unused if is_silent && seconds.is_empty() => return (End::Over, None),
                    Second::Unused => {}
                    Second::Ended(End::Moved) => is_read_out = true,
                    Second::Ended(end) => return (end, None),
                    Second::Replaces(incoming) => return (End::Over, Some(*incoming)),
                },
                Some(agreed) = shakes.next(), if !shakes.is_empty() => {
                    let connection = shaking.take();
                    match agreed {
                        Some(Incoming { about, reader, writer }) => {
                            // It has room: one moves at a time.
                            let _taken = writers.try_send(writer);
                            moved = Some((about, reader));
                        }
                        // The peer has left the old stream for one that is broken.
                        None if is_read_out => return (End::Over, None),
                        None => {
                            self.is_moving.store(false, Ordering::Relaxed);
                            if let Some(connection) = connection {
                                self.leave(connection, false).await;
                            }
                        }
                    }
                }
                Some(candidate) = waiting.recv(), if seconds.len() < SECONDS_MAX => {
                    let Some(leads) = candidate.moves else {
                        seconds.push(self.read_second(Incoming::fresh(candidate), &has_read));
                        continue;
                    };
                    let connection = candidate.connection;
                    if about.via != Via::Relay || self.is_moving.swap(true, Ordering::Relaxed) {
                        self.leave(connection, false).await;
                        continue;
                    }
                    *shaking = Some(connection);
                    shakes.push(agree(candidate, leads));
                }
            }
            if is_read_out && let Some((next, reader)) = moved.take() {
                self.settle(about, next).await;
                reading.set(self.read(reader, &has_read));
                (is_read_out, is_silent) = (false, false);
            }
        }
    }

    fn is_moving(&self) -> bool {
        self.is_moving.load(Ordering::Relaxed)
    }

    /// Reads a stream that came while there was a link.
    async fn read_second(&self, mut incoming: Incoming, has_read: &watch::Sender<bool>) -> Second {
        let is_ours = incoming.about.is_outbound;
        let mut not_needed = has_read.subscribe();
        let first = tokio::select! {
            biased;
            first = incoming.reader.fill(self.links.frame_deadline) => first,
            // The peer writes to another one, so it never will to this one of ours.
            _ = not_needed.wait_for(|has_read| *has_read), if is_ours => return Second::Unused,
        };
        if first.is_err() {
            return Second::Unused;
        }
        if !is_ours && *has_read.borrow() {
            return Second::Replaces(Box::new(incoming));
        }
        // The writing half stays open: closing it would look like the stream's end over there.
        let Incoming { reader, writer: _open, about: _ } = incoming;
        Second::Ended(self.read(reader, has_read).await)
    }

    /// Hands out frames until the stream ends. Reads no further while there is no room for them.
    async fn read<R: AsyncRead + Unpin>(
        &self,
        mut reader: FrameReader<R>,
        has_read: &watch::Sender<bool>,
    ) -> End {
        let mut has_frame = false;
        loop {
            if !reader.buffer.is_empty() && !has_frame {
                let _before = has_read.send_replace(true);
            }
            loop {
                if reader.buffer.first() == Some(&moving::MARK) && self.is_moving() {
                    return End::Moved;
                }
                let max = self.queue.frame_bytes_max();
                match codec::split_frame(&mut reader.buffer, max) {
                    Ok(Some(bytes)) => {
                        reader.deadline = None;
                        has_frame = true;
                        let frame = NetEvent::Frame { from: self.peer, bytes };
                        if self.links.events.send(frame).await.is_err() {
                            return End::Over;
                        }
                    }
                    Ok(None) => break,
                    // What it said before may just be admitting it: wait, reading nothing.
                    Err(Refusal::FrameTooLong) if has_frame && max < FRAME_BYTES_MAX => {
                        let admitted = self.queue.until_admitted();
                        if timeout(self.links.frame_deadline, admitted).await.is_err() {
                            return End::Refused(Refusal::FrameTooLong);
                        }
                    }
                    Err(refusal) => return End::Refused(refusal),
                }
            }
            if let Err(end) = reader.fill(self.links.frame_deadline).await {
                return if end == End::Over && !reader.has_bytes { End::Silent } else { end };
            }
        }
    }
}

/// The stream, once both sides agree that the link moves to it.
async fn agree(mut candidate: Candidate, leads: Leads) -> Option<Incoming> {
    let agreed = moving::agree(&mut candidate.stream, leads).await;
    let why = |error: &std::io::Error| tracing::debug!(%error, "a link did not move");
    agreed.inspect_err(why).ok().map(|()| Incoming::fresh(candidate))
}

/// Writes what is queued until the stream breaks or the draining queue is empty; tells which. Goes
/// on over another stream when it is given one.
async fn write<W: AsyncWrite + Unpin>(
    mut io: W,
    queue: &Queue,
    mut others: mpsc::Receiver<W>,
) -> bool {
    let mut frames = Vec::new();
    let mut batch = BytesMut::new();
    loop {
        if let Ok(next) = others.try_recv() {
            let left = moving::leave(&mut io).await;
            if left.is_err() {
                return false;
            }
            io = next;
        }
        match queue.take(&mut frames) {
            Taken::Some => {}
            Taken::Nothing => {
                if io.flush().await.is_err() {
                    return false;
                }
                if others.is_empty() {
                    tokio::select! {
                        () = queue.wake.notified() => {}
                        Some(next) = others.recv() => {
                            if moving::leave(&mut io).await.is_err() {
                                return false;
                            }
                            io = next;
                        }
                    }
                }
                continue;
            }
            Taken::Drained => {
                return io.close().await.is_ok();
            }
        }
        for frame in frames.drain(..) {
            codec::put_prefix(&mut batch, frame.len());
            if frame.len() <= COPY_BYTES_MAX {
                batch.extend_from_slice(&frame);
                continue;
            }
            if io.write_all(&batch).await.is_err() || io.write_all(&frame).await.is_err() {
                return false;
            }
            batch.clear();
        }
        if io.write_all(&batch).await.is_err() {
            return false;
        }
        batch.clear();
    }
}

/// Streams of one peer that are read besides its link: a dial from each side, and a fresh start.
const SECONDS_MAX: usize = 3;
/// Longer frames are written from where they lie instead of being copied together.
const COPY_BYTES_MAX: usize = 16 << 10;
