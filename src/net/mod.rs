//! The net hand: bytes in and out over libp2p, which appears nowhere else.
//! Owns: connections, links (one stream of frames a peer), questions, addresses.
//! Must not know: what a frame or a question says, who is a member, when to try again.
//! Invariants: every queue has a bound; a peer that does not read loses its link only.
//! Start reading at: [`NetHandle`], [`NetEvent`], [`start`].
//!
//! ```text
//!  driver --NetHandle--> commands --> swarm task --> libp2p   (dial, ask, close, reserve, punch)
//!         --frame------> a link's queue --> its task --> stream
//!         <--NetEvent--- one bounded channel <-- link tasks, swarm task
//! ```

mod address;
mod ahead;
mod ask;
mod behaviour;
mod dialer;
mod file;
mod gate;
mod link;
mod listen;
mod moving;
mod muxer;
mod punch;
mod queue;
mod reader;
mod reserve;
mod stream;
mod swarm;
#[cfg(test)]
mod tests;
mod tls;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use address::{check as check_address, peer_in as peer_in_address};
pub use file::FileStream;

use crate::{
    ids::{PeerId, RequestId},
    limits::{CONNECTIONS_MAX, FRAME_DEADLINE},
    refusal::Refusal,
    time::Millis,
};

/// The key that is this node's libp2p identity.
#[derive(Clone)]
pub enum TransportKey {
    /// A member's RSA key.
    Rsa {
        /// PKCS#8 in DER.
        pkcs8_der: Vec<u8>,
    },
    /// The key of a bootstrap or key authority process.
    Ed25519 {
        /// The 32 secret bytes.
        secret: [u8; 32],
    },
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "TransportKey::Rsa(..)",
            Self::Ed25519 { .. } => "TransportKey::Ed25519(..)",
        })
    }
}

/// How to start.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Who we are.
    pub key: TransportKey,
    /// Where to listen: `host:port` (TCP and QUIC on that port) or multiaddr; port 0 is a free one.
    pub listen: Vec<String>,
    /// Relays for others within these limits; `None` for not at all.
    pub relay_server: Option<RelayLimits>,
    /// Looks for peers on the local network, and can be found there.
    pub has_mdns: bool,
    /// Connections that others may make, in all.
    pub connections_max: u32,
    /// Whether [`NetHandle::dial`] opens a link; else it only connects.
    pub opens_links_to_dialled: bool,
    /// How long a frame may take once it has begun.
    pub frame_deadline: Millis,
}

impl NetConfig {
    /// The usual settings: no relaying, no discovery, links to whom is dialled.
    pub fn new(key: TransportKey, listen: Vec<String>) -> Self {
        Self {
            key,
            listen,
            relay_server: None,
            has_mdns: false,
            connections_max: CONNECTIONS_MAX,
            opens_links_to_dialled: true,
            frame_deadline: FRAME_DEADLINE,
        }
    }
}

/// What a relay gives to others.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Peers that can be reached through us.
    pub reservations_max: usize,
    /// Connections through us at once.
    pub circuits_max: usize,
    /// Connections through us at once, of one peer.
    pub circuits_per_peer_max: usize,
    /// Bytes of one connection, one way; 0 for no limit.
    pub circuit_bytes_max: u64,
    /// How long one connection lasts.
    pub circuit_life: Millis,
    /// Reservations, and connections, that one peer may ask for in a minute; 8 times that for one
    /// IP address.
    pub requests_per_minute_max: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations_max: 256,
            circuits_max: 1_024,
            circuits_per_peer_max: 32,
            circuit_bytes_max: 1 << 30,
            circuit_life: Millis(24 * 3_600_000),
            requests_per_minute_max: 60,
        }
    }
}

/// How a link's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// TCP with TLS, or Noise, and Yamux.
    Tcp,
    /// QUIC.
    Quic,
    /// Through a relay; still end to end encrypted.
    Relay,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
        })
    }
}

/// Why the net does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    ListenFailed {
        /// As it was given.
        address: String,
        /// Why, as the system says.
        reason: String,
    },
    /// An address is not understood.
    #[error("{address} is no address")]
    AddressBad {
        /// As it was given.
        address: String,
    },
    /// The key is unusable.
    #[error("the key cannot be used: {reason}")]
    Key {
        /// Why.
        reason: String,
    },
    /// Something that libp2p needs is missing.
    #[error("the network cannot be started: {reason}")]
    NotStarted {
        /// Why.
        reason: String,
    },
}

impl Error {
    /// The refusal that a person reads.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::ListenFailed { .. } => Refusal::ListenFailed,
            Self::AddressBad { .. } => Refusal::AddressBad,
            Self::Key { .. } | Self::NotStarted { .. } => Refusal::Internal,
        }
    }
}

/// What happened outside.
#[derive(Debug)]
pub enum NetEvent {
    /// Where we can be reached: the full set, first once all listeners are up, then at changes.
    ///
    /// For `0.0.0.0` and `::` these are the addresses of each interface; relayed ones come last.
    Listening {
        /// Multiaddrs, the furthest reaching first.
        addresses: Vec<String>,
    },
    /// Frames can be exchanged with this peer.
    LinkUp {
        /// Who; proved by the connection.
        peer: PeerId,
        /// How.
        transport: Via,
        /// Where the peer is.
        address: String,
        /// Whether we dialled.
        is_outbound: bool,
        /// The addresses as given to [`NetHandle::dial`]; empty if the peer dialled.
        dialled: Vec<String>,
    },
    /// The link is over; frames under way may be lost.
    LinkDown {
        /// Whose.
        peer: PeerId,
    },
    /// The link goes on over another connection; no frame was lost, none comes twice.
    Moved {
        /// Whose.
        peer: PeerId,
        /// How it runs now.
        transport: Via,
        /// Where the peer is.
        address: String,
    },
    /// A [`NetHandle::punch`] led to no direct connection; the link goes on as it was.
    NotPunched {
        /// With whom.
        peer: PeerId,
        /// Why, as one harmless line.
        why: String,
    },
    /// A frame: whole, not empty, within the limit.
    Frame {
        /// From whom.
        from: PeerId,
        /// What.
        bytes: Bytes,
    },
    /// A dial led to no link.
    DialFailed {
        /// Whom, if that was given.
        peer: Option<PeerId>,
        /// The addresses as given.
        addresses: Vec<String>,
        /// Why, as one harmless line.
        why: String,
    },
    /// Somebody asks; see [`NetHandle::answer`].
    Asked {
        /// Who.
        from: PeerId,
        /// The number to answer under.
        id: RequestId,
        /// What.
        bytes: Bytes,
    },
    /// A linked peer opened a stream on which it wants a file.
    File {
        /// Who.
        from: PeerId,
        /// The stream.
        stream: FileStream,
    },
    /// A question of ours was answered or failed.
    Answered {
        /// As given to [`NetHandle::ask`].
        id: RequestId,
        /// By whom and what, or why not, as one harmless line.
        result: Result<(PeerId, Bytes), String>,
    },
    /// A peer was found on the local network; nothing about it is proved.
    Discovered {
        /// Who it claims to be.
        peer: PeerId,
        /// Where.
        addresses: Vec<String>,
    },
    /// A connection's round trip was measured: soon after it starts, then every 15 s.
    RoundTrip {
        /// Of whom.
        peer: PeerId,
        /// In microseconds.
        micros: u64,
    },
    /// A linked peer said at which address it sees us on a direct connection; it may lie.
    SeenAt {
        /// Who.
        peer: PeerId,
        /// A multiaddr of a form that we dial.
        address: String,
        /// Whether we began that connection.
        is_outbound: bool,
    },
    /// A peer broke a rule here; its link, if it was on one, ends.
    Refused {
        /// Who.
        peer: Option<PeerId>,
        /// Which rule.
        refusal: Refusal,
    },
}

/// Events that wait for the driver.
///
/// Small, because each may hold a member's largest frame (a stranger's are much smaller), and
/// because readers take turns in this queue: a peer that floods delays others by this much.
pub const EVENTS_MAX: usize = 128;

/// Commands that wait for the swarm task, which takes them at once.
const COMMANDS_MAX: usize = 1_024;

/// What the driver does with the net. Nothing here waits but [`shutdown`](Self::shutdown) and
/// [`room`](Self::room).
#[derive(Clone, Debug)]
pub struct NetHandle {
    links: Arc<link::Links>,
    commands: mpsc::Sender<Command>,
}

/// What the swarm task is told.
#[derive(Debug)]
enum Command {
    Dial { peer: Option<PeerId>, addresses: Vec<String> },
    Close { peer: PeerId },
    Ask { id: RequestId, peer: Option<PeerId>, addresses: Vec<String>, bytes: Bytes },
    Answer { id: RequestId, bytes: Bytes },
    Reserve { relay: PeerId, addresses: Vec<String> },
    Punch { peer: PeerId, leads: bool },
    OpenFile { peer: PeerId, reply: oneshot::Sender<FileStream> },
    Shutdown { done: oneshot::Sender<()> },
}

impl NetHandle {
    /// Queues a frame for a linked peer.
    ///
    /// `false` if there is no link, the frame is empty or beyond `FRAME_BYTES_MAX`, or the queue
    /// is full; a full queue ends the link, and sync repairs what was lost.
    #[must_use]
    pub fn frame(&self, to: PeerId, bytes: Bytes) -> bool {
        self.links.queue(&to).is_some_and(|queue| queue.push(bytes))
    }

    /// Frames and bytes that wait for this peer; `None` without a link.
    pub fn queued(&self, peer: PeerId) -> Option<(usize, usize)> {
        self.links.queue(&peer).filter(|queue| queue.is_open()).map(|queue| queue.len())
    }

    /// Until the queue of this peer is at most half full, or there is no link.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn room(&self, peer: PeerId) {
        if let Some(queue) = self.links.queue(&peer) {
            queue.until_room().await;
        }
    }

    /// Frames of this peer up to `FRAME_BYTES_MAX` are read from now on, until its link ends.
    pub fn admit(&self, peer: PeerId) {
        if let Some(queue) = self.links.queue(&peer) {
            queue.admit();
        }
    }

    /// Wants a link. Ends in `LinkUp` or `DialFailed`, or in nothing when that peer is linked.
    ///
    /// Without `peer`, whoever answers is linked; if that one was linked before, `DialFailed` says
    /// so. A dial is one attempt; when to try again is for the caller to decide.
    pub fn dial(&self, peer: Option<PeerId>, addresses: Vec<String>) {
        self.tell(Command::Dial { peer, addresses });
    }

    /// Ends a link once what is queued is written (2 s at most), and every connection with it.
    pub fn close(&self, peer: PeerId) {
        if let Some(queue) = self.links.queue(&peer) {
            queue.set(queue::State::Draining);
        }
        self.tell(Command::Close { peer });
    }

    /// Asks a peer, or whoever answers at the addresses. Ends in one `Answered`, within about 20 s.
    pub fn ask(&self, id: RequestId, peer: Option<PeerId>, addresses: Vec<String>, bytes: Bytes) {
        self.tell(Command::Ask { id, peer, addresses, bytes });
    }

    /// Answers a question that came as `Asked`; too late is the same as never.
    pub fn answer(&self, id: RequestId, bytes: Bytes) {
        self.tell(Command::Answer { id, bytes });
    }

    /// Wants to be reachable through this relay, from now on: renewed, and sought again when lost.
    pub fn reserve(&self, relay: PeerId, addresses: Vec<String>) {
        self.tell(Command::Reserve { relay, addresses });
    }

    /// Lets a peer that is linked through a relay have a direct connection, by hole punching.
    ///
    /// Both sides must want it, until the link ends; with `leads` this one tries, once. That ends in
    /// `Moved`, in `NotPunched`, or in nothing with the link.
    pub fn punch(&self, peer: PeerId, leads: bool) {
        self.tell(Command::Punch { peer, leads });
    }

    /// Opens a stream to a linked peer, for a file; `None` where there is no link, or it does not
    /// take one.
    ///
    /// # Cancel safety
    /// Safe: a stream that nobody waits for is closed.
    pub async fn open_file(&self, peer: PeerId) -> Option<FileStream> {
        let (reply, opened) = oneshot::channel();
        self.tell(Command::OpenFile { peer, reply });
        opened.await.ok()
    }

    /// Writes what is queued (2 s at most), closes everything and ends the tasks.
    pub async fn shutdown(self) {
        let (done, ended) = oneshot::channel();
        // A closed channel means that it has ended already.
        if self.commands.send(Command::Shutdown { done }).await.is_ok() {
            let _gone = ended.await;
        }
    }

    fn tell(&self, command: Command) {
        // The swarm task never waits with commands in its queue, so a full one is a driver gone
        // wild; its timeouts repair what is lost here.
        if let Err(error) = self.commands.try_send(command) {
            tracing::warn!(%error, "a command to the net was dropped");
        }
    }
}

/// Starts listening and the net's tasks. Call it inside a tokio runtime.
///
/// # Errors
/// `ListenFailed` or `AddressBad` for the first address that cannot be used.
pub async fn start(
    config: NetConfig,
) -> Result<(NetHandle, PeerId, mpsc::Receiver<NetEvent>), Error> {
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let (commands, orders) = mpsc::channel(COMMANDS_MAX);
    let (links, this) = swarm::start(config, events, orders).await?;
    Ok((NetHandle { links, commands }, this, receiver))
}
