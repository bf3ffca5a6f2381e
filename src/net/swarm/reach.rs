//! The part of the swarm task that reaches out: dials, questions, farewells, reservations.
//! Owns: what follows when a connection is there, or cannot be made.
//! Must not know: when to try again (the cores decide).
//! Invariants: each dial and each question ends once.
//! Start reading at: [`Task::attempt`].

use bytes::Bytes;
use libp2p::{PeerId as TransportPeer, swarm::ConnectionId};

use super::{ASKS_MAX, Task, Timer, transport, words};
use crate::{
    ids::{PeerId, RequestId},
    limits::ASK_BYTES_MAX,
    net::{
        FileStream, NetEvent,
        dialer::{self, Attempt, AttemptId, Next, Purpose},
        file::Reply,
        stream::Happened,
    },
};

impl Task {
    pub(super) fn open_file(&mut self, peer: &PeerId, reply: Reply) {
        let peer = transport(peer).filter(|_| self.links.is_linked(peer));
        // Dropping the reply is the answer where there is no link.
        let Some((peer, connection)) =
            peer.and_then(|peer| self.gate.in_use(&peer).map(|connection| (peer, connection)))
        else {
            return;
        };
        if self.opening.add(connection, reply) {
            self.swarm.behaviour_mut().files.open(peer, connection);
        }
    }

    pub(super) fn file_stream(
        &mut self,
        peer: TransportPeer,
        connection: ConnectionId,
        what: Happened,
    ) {
        match what {
            Happened::Arrived(stream) => {
                // Of a stranger: dropping it resets it.
                if let Some(from) = words(&peer).filter(|peer| self.links.is_linked(peer)) {
                    let stream = FileStream(stream);
                    self.out.push_back(NetEvent::File { from, stream });
                }
            }
            Happened::Opened(stream) => self.opening.opened(connection, stream),
            Happened::Failed(why) => {
                tracing::debug!(why, "no stream for a file");
                self.opening.failed(connection);
            }
        }
    }

    pub(super) fn dial(&mut self, peer: Option<PeerId>, addresses: Vec<String>) {
        if peer.is_some_and(|peer| self.links.is_linked(&peer)) {
            return;
        }
        let mut attempt =
            Attempt::new(peer.as_ref().and_then(transport), Purpose::Link(Vec::new()));
        attempt.add_addresses(&addresses);
        attempt.purpose = Purpose::Link(addresses);
        self.attempt(attempt);
    }

    pub(super) fn ask(
        &mut self,
        id: RequestId,
        peer: Option<PeerId>,
        addresses: &[String],
        bytes: Bytes,
    ) {
        let is_long = bytes.len() > ASK_BYTES_MAX;
        let mut attempt = Attempt::new(peer.as_ref().and_then(transport), Purpose::Ask(id, bytes));
        if is_long || self.questions.ours() >= ASKS_MAX {
            attempt.note(
                if is_long { "longer than allowed" } else { "too many questions" }.to_owned(),
            );
            return self.failed(attempt);
        }
        attempt.add_addresses(addresses);
        self.attempt(attempt);
    }

    /// Uses a connection that is there, or dials.
    fn attempt(&mut self, mut attempt: Attempt) {
        if attempt.peer == Some(self.local) {
            attempt.note("that is this node itself".to_owned());
            return self.failed(attempt);
        }
        let present = match attempt.peer {
            Some(peer) => self.gate.direct_to(&peer).map(|connection| (connection, peer)),
            None => attempt.addresses().find_map(|address| self.gate.dialled(address)),
        };
        match self.dialer.start(attempt) {
            Ok(id) => match present {
                Some((connection, peer)) => self.reached(id, connection, peer),
                None => self.dial_stage(id),
            },
            Err(attempt) => self.failed(*attempt),
        }
    }

    pub(super) fn dial_stage(&mut self, id: AttemptId) {
        let Some((options, has_more)) = self.dialer.next_stage(id) else {
            if let Some(attempt) = self.dialer.end_if_idle(id) {
                self.failed(attempt);
            }
            return;
        };
        if has_more {
            self.later(dialer::STAGGER, Timer::Stage(id));
        } else if self.dialer.is_refused(id) {
            self.later(dialer::AFTER_REFUSAL, Timer::GiveUp(id));
        }
        for option in options {
            let connection = option.connection_id();
            if let Err(error) = self.swarm.dial(option) {
                let next = self.dialer.dial_failed(connection, &error);
                self.follow(next);
            }
        }
    }

    pub(super) fn follow(&mut self, next: Next) {
        match next {
            Next::Wait => {}
            Next::Dial(id) => self.dial_stage(id),
            Next::Failed(attempt) => self.failed(*attempt),
        }
    }

    pub(super) fn failed(&mut self, attempt: Attempt) {
        let why = attempt.why();
        self.out.push_back(match attempt.purpose {
            Purpose::Link(addresses) => {
                NetEvent::DialFailed { peer: attempt.peer.as_ref().and_then(words), addresses, why }
            }
            Purpose::Ask(id, _) => NetEvent::Answered { id, result: Err(why) },
        });
    }

    /// An attempt has its connection.
    pub(super) fn reached(&mut self, id: AttemptId, connection: ConnectionId, peer: TransportPeer) {
        let Some(attempt) = self.dialer.attempt(id) else { return };
        if matches!(attempt.purpose, Purpose::Ask(..)) {
            if let Some(Attempt { purpose: Purpose::Ask(id, bytes), .. }) = self.dialer.end(id) {
                let request = self.swarm.behaviour_mut().asks.send_request(&peer, bytes);
                self.questions.asked(request, id);
            }
        } else if words(&peer).is_some_and(|peer| self.links.is_linked(&peer)) {
            let attempt = self.dialer.end(id);
            self.not_needed(attempt, connection, peer);
        } else if self.opens_links {
            self.dialer.opening(id, connection);
            self.swarm.behaviour_mut().streams.open(peer, connection);
        } else {
            let _reached = self.dialer.end(id);
        }
    }

    /// The peer was linked already: tells whoever could not know whom the address leads to.
    pub(super) fn not_needed(
        &mut self,
        attempt: Option<Attempt>,
        connection: ConnectionId,
        peer: TransportPeer,
    ) {
        if self.gate.is_idle(connection) {
            let _closing = self.swarm.close_connection(connection);
        }
        if let Some(mut attempt) = attempt
            && attempt.peer.is_none()
        {
            attempt.note(format!("already linked with {peer}"));
            attempt.peer = Some(peer);
            self.failed(attempt);
        }
    }

    pub(super) fn close(&mut self, peer: PeerId) {
        let Some(transport) = transport(&peer) else { return };
        if self.links.queue(&peer).is_none() {
            let _gone = self.swarm.disconnect_peer_id(transport);
            return;
        }
        // The link's own connection follows when the link has written what was queued.
        for connection in self.gate.of_peer(&transport) {
            if self.gate.is_idle(connection) {
                let _closing = self.swarm.close_connection(connection);
            }
        }
    }

    pub(super) fn reserve(&mut self, relay: TransportPeer) {
        let Some(address) = self.reservations.address(&relay) else { return };
        match self.swarm.listen_on(address) {
            Ok(listener) => self.reservations.listening(&relay, listener),
            Err(error) => {
                tracing::debug!(%relay, %error, "no reservation");
                if let Some(wait) = self.reservations.failed(&relay) {
                    self.later(wait, Timer::Reserve(relay));
                }
            }
        }
    }
}
