//! Streams on connections: offers a protocol and opens it where it is wished for.
//! Owns: the link protocol's name, and which connection a stream belongs to.
//! Must not know: what a stream carries.
//! Invariants: a connection holds back at most a few negotiated streams; more are reset.
//! Start reading at: [`Streams`].

// libp2p-stream would do, but it opens on any one connection of a peer, does not say which, and
// drops streams that arrive while another waits: a restarted bootstrap would lose some of its
// members' links.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId as TransportPeer, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};

/// The link protocol: one stream, frames both ways.
pub(super) const LINK: StreamProtocol = StreamProtocol::new("/p2pgroup/1/link");

/// Negotiated streams of one connection that wait to be taken; a link needs one.
const WAITING_MAX: usize = 4;

/// The behaviour: streams of one protocol on all connections.
#[derive(Debug)]
pub(super) struct Streams {
    protocol: StreamProtocol,
    wishes: VecDeque<(TransportPeer, ConnectionId)>,
    happened: VecDeque<StreamEvent>,
}

/// What happened on one connection.
#[derive(Debug)]
pub(super) struct StreamEvent {
    pub(super) peer: TransportPeer,
    pub(super) connection: ConnectionId,
    pub(super) what: Happened,
}

/// A stream, or why there is none.
#[derive(Debug)]
pub(super) enum Happened {
    /// The peer opened a stream.
    Arrived(Stream),
    /// Our wish was fulfilled.
    Opened(Stream),
    /// Our wish was not fulfilled.
    Failed(String),
}

/// The wish for a stream, on its way to a connection.
#[derive(Debug)]
pub(super) struct Wish;

impl Default for Streams {
    fn default() -> Self {
        Self::of(LINK)
    }
}

impl Streams {
    /// Streams of this protocol.
    pub(super) fn of(protocol: StreamProtocol) -> Self {
        Self { protocol, wishes: VecDeque::new(), happened: VecDeque::new() }
    }

    /// Opens a stream on a connection; answered by `Opened`, `Failed` or the connection's end.
    pub(super) fn open(&mut self, peer: TransportPeer, connection: ConnectionId) {
        self.wishes.push_back((peer, connection));
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: TransportPeer,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::of(self.protocol.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: TransportPeer,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::of(self.protocol.clone()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: TransportPeer,
        connection: ConnectionId,
        what: THandlerOutEvent<Self>,
    ) {
        self.happened.push_back(StreamEvent { peer, connection, what });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // No waker: the swarm polls again after each event it gave and each command it took.
        if let Some(event) = self.happened.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        match self.wishes.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(connection),
                event: Wish,
            }),
            None => Poll::Pending,
        }
    }
}

/// One connection's part.
#[derive(Debug)]
pub(super) struct Handler {
    protocol: StreamProtocol,
    wishes: usize,
    happened: VecDeque<Happened>,
}

impl Handler {
    fn of(protocol: StreamProtocol) -> Self {
        Self { protocol, wishes: 0, happened: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Wish;
    type ToBehaviour = Happened;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(happened) = self.happened.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(happened));
        }
        if self.wishes > 0 {
            self.wishes = self.wishes.saturating_sub(1);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ()),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, _: Self::FromBehaviour) {
        self.wishes = self.wishes.saturating_add(1);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) if self.happened.len() < WAITING_MAX => {
                self.happened.push_back(Happened::Arrived(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol, ..
            }) => self.happened.push_back(Happened::Opened(protocol)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                let why = match error {
                    StreamUpgradeError::Timeout => "no answer to the link protocol".to_owned(),
                    StreamUpgradeError::NegotiationFailed => {
                        "the peer does not speak the link protocol".to_owned()
                    }
                    StreamUpgradeError::Io(error) => error.to_string(),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                self.happened.push_back(Happened::Failed(why));
            }
            _ => {}
        }
    }
}
