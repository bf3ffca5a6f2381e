//! The swarm task: one loop between libp2p, the commands and the events.
//! Owns: the libp2p swarm and the tables around it.
//! Must not know: what frames and questions say.
//! Invariants: it never waits for the driver with commands in its queue; its own queue is bounded.
//! Start reading at: [`Task::run`].

mod punching;
mod reach;

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId as TransportPeer, Stream, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    identify, mdns, ping, relay, request_response as asks,
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    Command, Error, NetConfig, NetEvent, Via, address,
    ask::Questions,
    behaviour::{self, Behaviour, BehaviourEvent},
    dialer::{AttemptId, Dialer, Purpose},
    file::Opening,
    gate::{Connection, Gate},
    link::{Candidate, Ended, Links},
    listen::{self, Listening},
    punch::Punches,
    reserve::Reservations,
    stream::{Happened, StreamEvent},
};
use crate::{
    ids::PeerId,
    limits::{ADDRESSES_MAX, ASK_BYTES_MAX},
    refusal::Refusal,
    text,
};

/// Events that wait while the driver's channel is full; beyond it the swarm is not polled.
const OUT_MAX: usize = 256;
/// Questions of ours at once.
const ASKS_MAX: usize = 1_024;
/// Links that ended and wait for their connection to be closed.
const ENDED_MAX: usize = 64;
/// How long connections may take to close when the node ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// Listens, then starts the task.
pub(super) async fn start(
    config: NetConfig,
    events: mpsc::Sender<NetEvent>,
    commands: mpsc::Receiver<Command>,
) -> Result<(Arc<Links>, PeerId), Error> {
    let mut swarm = behaviour::build(&config)?;
    let local = *swarm.local_peer_id();
    let this = words(&local)
        .ok_or_else(|| Error::Key { reason: "its peer id has an unknown form".to_owned() })?;
    let listening = listen::start(&mut swarm, &config.listen).await?;
    let (ended, ends) = mpsc::channel(ENDED_MAX);
    let deadline = Duration::from_millis(config.frame_deadline.0);
    let links = Arc::new(Links::new(events.clone(), ended, deadline));
    let task = Task {
        swarm,
        local,
        links: Arc::clone(&links),
        events,
        out: VecDeque::new(),
        dialer: Dialer::default(),
        gate: Gate::new(config.connections_max),
        questions: Questions::default(),
        reservations: Reservations::default(),
        listening,
        timers: FuturesUnordered::new(),
        round_trips: BTreeMap::new(),
        opening: Opening::default(),
        punches: Punches::default(),
        opens_links: config.opens_links_to_dialled,
        is_relay: config.relay_server.is_some(),
    };
    drop(tokio::spawn(task.run(commands, ends)));
    Ok((links, this))
}

type InLine = Pin<
    Box<
        dyn Future<Output = Result<mpsc::OwnedPermit<NetEvent>, mpsc::error::SendError<()>>> + Send,
    >,
>;
type TimerFuture = Pin<Box<dyn Future<Output = Timer> + Send>>;

/// What is to be done later.
#[derive(Debug)]
enum Timer {
    Stage(AttemptId),
    GiveUp(AttemptId),
    Reserve(TransportPeer),
    Listeners,
    /// Who sees us had time to say where.
    Looked(TransportPeer, u64),
    /// The addresses of both were exchanged, or not.
    Exchanged(TransportPeer, u64, Box<std::io::Result<Exchanged>>),
    /// Both had time to dial.
    Dialled(TransportPeer, u64),
    /// A punch had its time.
    Punched(TransportPeer, u64),
    Rested(TransportPeer),
}

/// What a peer told, and what it was told.
#[derive(Debug)]
struct Exchanged {
    theirs: Vec<Multiaddr>,
    ours: Vec<Multiaddr>,
}

struct Task {
    swarm: Swarm<Behaviour>,
    local: TransportPeer,
    links: Arc<Links>,
    events: mpsc::Sender<NetEvent>,
    out: VecDeque<NetEvent>,
    dialer: Dialer,
    gate: Gate,
    questions: Questions,
    reservations: Reservations,
    listening: Listening,
    timers: FuturesUnordered<TimerFuture>,
    /// Measured before there was a link.
    round_trips: BTreeMap<ConnectionId, u64>,
    opening: Opening,
    punches: Punches,
    opens_links: bool,
    is_relay: bool,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut ends: mpsc::Receiver<Ended>) {
        self.later(listen::PATIENCE, Timer::Listeners);
        // Kept from turn to turn: readers of links queue for the same channel, and each gets its
        // turn only as long as it stays in line.
        let mut in_line: Option<InLine> = None;
        let done = loop {
            if in_line.is_none() && !self.out.is_empty() {
                in_line = Some(Box::pin(self.events.clone().reserve_owned()));
            }
            let has_room = self.out.len() < OUT_MAX;
            let permit = async {
                match in_line.as_mut() {
                    Some(in_line) => in_line.await.ok(),
                    None => pending().await,
                }
            };
            tokio::select! {
                permit = permit => {
                    in_line = None;
                    // Without a permit nobody reads any more.
                    let Some(permit) = permit else { break None };
                    if let Some(event) = self.out.pop_front() {
                        drop(permit.send(event));
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Shutdown { done }) => break Some(done),
                    Some(command) => self.obey(command),
                    None => break None,
                },
                Some(ended) = ends.recv() => self.link_ended(&ended),
                Some(timer) = self.timers.next(), if !self.timers.is_empty() => self.due(timer),
                event = self.swarm.select_next_some(), if has_room => self.happened(event),
            }
        };
        self.end(done).await;
    }

    /// Lets links write out what is queued, then closes connections in good order.
    async fn end(mut self, done: Option<oneshot::Sender<()>>) {
        let links = Arc::clone(&self.links);
        let mut shut = std::pin::pin!(links.shut());
        loop {
            tokio::select! {
                () = &mut shut => break,
                _event = self.swarm.select_next_some() => {}
            }
        }
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let all_closed = async {
            while self.swarm.connected_peers().next().is_some() {
                let _event = self.swarm.select_next_some().await;
            }
        };
        let _late = timeout(FAREWELL, all_closed).await;
        drop(self);
        if let Some(done) = done {
            let _gone = done.send(());
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Dial { peer, addresses } => self.dial(peer, addresses),
            Command::Ask { id, peer, addresses, bytes } => self.ask(id, peer, &addresses, bytes),
            Command::Answer { id, bytes } => {
                if let Some(channel) = self.questions.take(id)
                    && bytes.len() <= ASK_BYTES_MAX
                {
                    // The asker may be gone: its loss.
                    let _late = self.swarm.behaviour_mut().asks.send_response(channel, bytes);
                }
            }
            Command::Close { peer } => self.close(peer),
            Command::Reserve { relay, addresses } => {
                if let Some(relay) = transport(&relay)
                    && self.reservations.want(relay, &addresses)
                {
                    self.reserve(relay);
                }
            }
            Command::Punch { peer, leads } => self.punch(peer, leads),
            Command::OpenFile { peer, reply } => self.open_file(&peer, reply),
            Command::Shutdown { done } => drop(done),
        }
    }

    // --- what libp2p says

    fn happened(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaved(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(connection_id, peer_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, peer_id, .. } => {
                self.gate.closed(connection_id);
                self.lost_direct(connection_id, peer_id);
                let _last = self.round_trips.remove(&connection_id);
                self.opening.closed(connection_id);
                let next = self.dialer.open_failed(connection_id, "the connection was closed");
                self.follow(next);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                let next = self.dialer.dial_failed(connection_id, &error);
                self.follow(next);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(error = %text::one_line(&error.to_string()), "no connection");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.new_address(listener_id, address);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.lost_addresses(&[address]),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.listener_closed(listener_id, &addresses, reason);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::debug!(%error, "a listener reports an error");
            }
            _ => {}
        }
    }

    fn connected(&mut self, id: ConnectionId, peer: TransportPeer, endpoint: &ConnectedPoint) {
        let remote = endpoint.get_remote_address();
        let via = match endpoint {
            ConnectedPoint::Listener { local_addr, .. } => address::via(local_addr),
            ConnectedPoint::Dialer { address, .. } => address::via(address),
        };
        let address = address::without_peer(remote.clone());
        let idle = self.gate.opened(id, peer, address, via, endpoint.is_dialer());
        if let Some(idle) = idle {
            let _closing = self.swarm.close_connection(idle);
        }
        match self.dialer.established(id) {
            None => self.found_direct(id, peer),
            Some(None) => {
                let _surplus = self.swarm.close_connection(id);
            }
            Some(Some(attempt)) => self.reached(attempt, id, peer),
        }
    }

    fn behaved(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(StreamEvent { peer, connection, what }) => {
                self.stream(peer, connection, what);
            }
            BehaviourEvent::Files(StreamEvent { peer, connection, what }) => {
                self.file_stream(peer, connection, what);
            }
            BehaviourEvent::Punches(StreamEvent { peer, connection, what }) => {
                self.punch_stream(peer, connection, what);
            }
            BehaviourEvent::Asks(event) => self.asked(event),
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => match result {
                Ok(span) => self.round_trip(peer, connection, span),
                Err(ping::Failure::Unsupported) => {}
                // A suspended laptop or a cable pulled: nothing else would notice for hours.
                Err(_) => {
                    let _closing = self.swarm.close_connection(connection);
                }
            },
            BehaviourEvent::Identify(identify::Event::Received { connection_id, info, .. }) => {
                self.seen_at(connection_id, &info.observed_addr);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.discovered(found),
            BehaviourEvent::RelayServer(event) => self.relayed(&event),
            _ => {}
        }
    }

    fn round_trip(&mut self, peer: TransportPeer, connection: ConnectionId, span: Duration) {
        let Some(peer) = words(&peer) else { return };
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let is_left = |it: &Connection| it.via == Via::Relay && !self.gate.is_relayed(&it.peer);
        if self.gate.get(connection).is_some_and(is_left) {
            // The link has moved to a direct one.
            return;
        }
        if self.links.is_linked(&peer) {
            self.out.push_back(NetEvent::RoundTrip { peer, micros });
        } else {
            let _before = self.round_trips.insert(connection, micros);
        }
    }

    /// Told of linked peers alone: strangers say nothing that anybody reads.
    fn seen_at(&mut self, connection: ConnectionId, at: &Multiaddr) {
        let Some(about) = self.gate.seen_at(connection, at) else { return };
        let (peer, is_outbound) = (words(&about.peer), about.is_outbound || about.is_punched);
        if let (Some(peer), Some(address)) = (peer, about.seen_at.clone())
            && self.links.is_linked(&peer)
        {
            self.out.push_back(NetEvent::SeenAt { peer, address, is_outbound });
        }
        self.go_on_looking();
    }

    fn discovered(&mut self, found: Vec<(TransportPeer, Multiaddr)>) {
        let mut peers: BTreeMap<PeerId, Vec<String>> = BTreeMap::new();
        for (peer, address) in found {
            if let Some(peer) = words(&peer).filter(|_| peer != self.local)
                && address::is_worth_telling(&address)
            {
                let addresses = peers.entry(peer).or_default();
                if addresses.len() < ADDRESSES_MAX {
                    addresses.push(address.to_string());
                }
            }
        }
        let peers = peers.into_iter().take(OUT_MAX);
        self.out.extend(peers.map(|(peer, addresses)| NetEvent::Discovered { peer, addresses }));
    }

    /// Who is reachable through us keeps its connection when others must make room.
    fn relayed(&mut self, event: &relay::Event) {
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, renewed: false } => {
                for connection in self.gate.of_peer(src_peer_id) {
                    self.gate.hold(connection);
                }
            }
            relay::Event::ReservationClosed { src_peer_id }
            | relay::Event::ReservationTimedOut { src_peer_id } => {
                for connection in self.gate.of_peer(src_peer_id) {
                    let _is_last = self.gate.release(connection);
                }
            }
            _ => {}
        }
    }

    // --- links

    fn stream(&mut self, peer: TransportPeer, connection: ConnectionId, what: Happened) {
        let Some(from) = words(&peer) else { return };
        match what {
            Happened::Arrived(stream) => {
                let candidate = self.candidate(connection, stream, None);
                // Too many at once: dropping it resets it.
                if candidate.is_some_and(|candidate| self.links.add(from, candidate).is_ok()) {
                    self.gate.hold(connection);
                }
            }
            Happened::Opened(stream) => {
                let Some(mut attempt) = self.dialer.opened(connection) else { return };
                let dialled = match &mut attempt.purpose {
                    Purpose::Link(addresses) => std::mem::take(addresses),
                    Purpose::Ask(..) => return,
                };
                let Some(candidate) = self.candidate(connection, stream, Some(dialled)) else {
                    return;
                };
                match self.links.add(from, candidate) {
                    Ok(()) => self.gate.hold(connection),
                    Err(candidate) => {
                        attempt.purpose = Purpose::Link(candidate.dialled);
                        drop(candidate.stream);
                        self.not_needed(Some(attempt), connection, peer);
                    }
                }
            }
            Happened::Failed(why) => {
                let next = self.dialer.open_failed(connection, &why);
                self.follow(next);
            }
        }
    }

    fn candidate(
        &mut self,
        connection: ConnectionId,
        stream: Stream,
        dialled: Option<Vec<String>>,
    ) -> Option<Candidate> {
        let about = self.gate.get(connection)?;
        Some(Candidate {
            stream,
            connection,
            via: about.via,
            address: about.address.to_string(),
            is_outbound: dialled.is_some(),
            dialled: dialled.unwrap_or_default(),
            seen_at: about.seen_at.clone(),
            round_trip: self.round_trips.remove(&connection),
            moves: None,
        })
    }

    fn link_ended(&mut self, ended: &Ended) {
        if let Some(peer) = transport(&ended.peer) {
            if ended.has_moved {
                self.punch_done(&peer);
            } else if !self.links.is_linked(&ended.peer) {
                self.punches.forget(&peer);
            }
        }
        // Where a link has moved, files may be under way on the old connection; without any it ends by
        // itself.
        if self.gate.release(ended.connection) && !ended.has_moved {
            let _closing = self.swarm.close_connection(ended.connection);
        }
    }

    // --- questions

    fn asked(&mut self, event: asks::Event<Bytes, Bytes>) {
        match event {
            asks::Event::Message { peer, connection_id, message } => match message {
                asks::Message::Request { request_id, request, channel } => {
                    let Some(from) = words(&peer) else { return };
                    let Some(id) = self.questions.arrived(request_id, channel) else {
                        let refusal = Refusal::TooMany;
                        return self.out.push_back(NetEvent::Refused { peer: Some(from), refusal });
                    };
                    self.gate.hold(connection_id);
                    self.out.push_back(NetEvent::Asked { from, id, bytes: request });
                }
                asks::Message::Response { request_id, response } => {
                    let Some(from) = words(&peer) else { return };
                    if let Some(id) = self.questions.answered(request_id) {
                        let result = Ok((from, response));
                        self.out.push_back(NetEvent::Answered { id, result });
                    }
                }
            },
            asks::Event::OutboundFailure { request_id, error, .. } => {
                if let Some(id) = self.questions.answered(request_id) {
                    let result = Err(text::one_line(&error.to_string()));
                    self.out.push_back(NetEvent::Answered { id, result });
                }
            }
            asks::Event::InboundFailure { peer, connection_id, request_id, error } => {
                if let asks::InboundFailure::Io(error) = &error
                    && error.kind() == std::io::ErrorKind::InvalidData
                {
                    let refusal = Refusal::FrameTooLong;
                    self.out.push_back(NetEvent::Refused { peer: words(&peer), refusal });
                }
                if self.questions.forget(request_id) {
                    let _is_last = self.gate.release(connection_id);
                }
            }
            asks::Event::ResponseSent { connection_id, .. } => {
                let _is_last = self.gate.release(connection_id);
            }
        }
    }

    // --- addresses

    fn new_address(&mut self, listener: ListenerId, address: Multiaddr) {
        self.reservations.accepted(listener);
        if self.is_relay {
            // A reservation names the relay's addresses; without one it would be refused.
            self.swarm.add_external_address(address.clone());
        }
        if self.listening.add(listener, address) {
            self.tell_addresses();
        }
    }

    fn lost_addresses(&mut self, addresses: &[Multiaddr]) {
        let mut has_changed = false;
        for address in addresses {
            self.swarm.remove_external_address(address);
            has_changed |= self.listening.remove(address);
        }
        if has_changed {
            self.tell_addresses();
        }
    }

    fn listener_closed(
        &mut self,
        listener: ListenerId,
        addresses: &[Multiaddr],
        reason: Result<(), std::io::Error>,
    ) {
        self.lost_addresses(addresses);
        if let Some((relay, wait)) = self.reservations.lost(listener) {
            self.later(wait, Timer::Reserve(relay));
        } else if let Err(error) = reason {
            tracing::warn!(error = %text::one_line(&error.to_string()), "a listener was closed");
            let refusal = Refusal::ListenFailed;
            self.out.push_back(NetEvent::Refused { peer: None, refusal });
        }
    }

    /// The newest set replaces one that the driver has not seen yet.
    fn tell_addresses(&mut self) {
        self.out.retain(|event| !matches!(event, NetEvent::Listening { .. }));
        self.out.push_back(NetEvent::Listening { addresses: self.listening.addresses() });
    }

    // --- time

    fn later(&mut self, wait: Duration, timer: Timer) {
        self.timers.push(Box::pin(async move {
            sleep(wait).await;
            timer
        }));
    }

    fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Stage(id) => {
                if self.dialer.attempt(id).is_some() {
                    self.dial_stage(id);
                }
            }
            Timer::GiveUp(id) => {
                if let Some(attempt) = self.dialer.give_up(id) {
                    self.failed(attempt);
                }
            }
            Timer::Reserve(relay) => self.reserve(relay),
            Timer::Looked(peer, number) => self.looked(&peer, Some(number)),
            Timer::Exchanged(peer, number, said) => self.exchanged(peer, number, *said),
            Timer::Dialled(peer, number) => self.punch_over(&peer, number, true),
            Timer::Punched(peer, number) => self.punch_over(&peer, number, false),
            Timer::Rested(peer) => self.punches.rested(&peer),
            Timer::Listeners => {
                if self.listening.give_up_waiting() {
                    self.tell_addresses();
                }
            }
        }
    }
}

/// The peer id as the rest of the program knows it; only the forms that members may have.
fn words(peer: &TransportPeer) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes())
}

/// The peer id as libp2p knows it.
fn transport(peer: &PeerId) -> Option<TransportPeer> {
    TransportPeer::from_bytes(peer.as_bytes()).ok()
}
