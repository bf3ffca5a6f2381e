//! The part of the swarm task that makes direct connections where there are relayed ones.
//! Owns: the steps of hole punching, and which connection a link moves to.
//! Must not know: who may have a direct link, when to try again (the cores decide).
//! Invariants: a punch that was begun here ends in one `NotPunched`, in `Moved`, or with its link.
//! Start reading at: [`Task::punch`].

use std::io;

use libp2p::{
    PeerId as TransportPeer, Stream,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{Exchanged, Task, Timer, transport, words};
use crate::{
    ids::PeerId,
    net::{
        NetEvent, Via, address,
        link::Leads,
        punch::{self, Stage},
        stream::Happened,
    },
    text,
};

impl Task {
    /// The core wants a direct link with this peer; here it begins, if it leads.
    pub(super) fn punch(&mut self, peer: PeerId, leads: Leads) {
        let Some(to) = transport(&peer) else { return };
        if !self.links.is_linked(&peer) || !self.gate.is_relayed(&to) {
            if leads {
                self.not_punched(peer, "the link is not relayed");
            }
            return;
        }
        self.punches.allow(to);
        if !leads {
            return;
        }
        let Some(number) = self.punches.begin(to, true, None) else {
            return self.not_punched(peer, "too many at once");
        };
        if let Some(direct) = self.gate.direct_to(&to) {
            self.later(punch::PUNCH_TIME, Timer::Punched(to, number));
            return self.move_to(to, direct);
        }
        self.look(to, number);
    }

    /// Asks the peer to move the link to this connection.
    fn move_to(&mut self, peer: TransportPeer, direct: ConnectionId) {
        if let Some(punch) = self.punches.get(&peer) {
            punch.stage = Stage::Moves(direct);
            self.swarm.behaviour_mut().punches.open(peer, direct);
        }
    }

    /// Asks relays where they see us over the protocols of which none is known yet.
    fn look(&mut self, peer: TransportPeer, number: u64) {
        self.later(punch::PUNCH_TIME, Timer::Punched(peer, number));
        let mut wanted = Vec::new();
        for (relay, addresses) in self.reservations.relays() {
            for via in [Via::Tcp, Via::Quic] {
                let mut seen = self.gate.seen_by(|it| it == relay);
                if seen.any(|(_, seen_via, _)| seen_via == via) {
                    continue;
                }
                let both = addresses.iter().flat_map(address::over_both);
                let mut over: Vec<_> = both.filter(|it| address::via(it) == via).collect();
                over.dedup();
                if !over.is_empty() {
                    wanted.push((*relay, over));
                }
            }
        }
        if wanted.is_empty() {
            return self.looked(&peer, Some(number));
        }
        self.later(punch::LOOK_TIME, Timer::Looked(peer, number));
        if self.punches.looking().iter().any(|other| *other != peer) {
            // They are asked already.
            return;
        }
        for (relay, addresses) in wanted {
            let options = DialOpts::peer_id(relay)
                .condition(PeerCondition::Always)
                .addresses(addresses)
                .build();
            // What cannot be dialled is not seen.
            let _unseen = self.swarm.dial(options);
        }
    }

    /// Somebody said where we are seen: perhaps that is all that was wanted.
    pub(super) fn go_on_looking(&mut self) {
        let looking = self.punches.looking();
        if looking.is_empty() {
            return;
        }
        let is_seen = |relay: &TransportPeer, via| {
            self.gate.seen_by(|it| it == relay).any(|(_, seen_via, _)| seen_via == via)
        };
        let is_seen_twice = |it: &TransportPeer| is_seen(it, Via::Tcp) && is_seen(it, Via::Quic);
        let are_all = self.reservations.relays().all(|(relay, _)| is_seen_twice(relay));
        if are_all {
            for peer in looking {
                self.looked(&peer, None);
            }
        }
    }

    /// Enough is known of where we are seen: the words with the peer begin.
    pub(super) fn looked(&mut self, peer: &TransportPeer, number: Option<u64>) {
        let Some(punch) = self.punches.get(peer) else { return };
        let Stage::Looks(stream) = &mut punch.stage else { return };
        if number.is_some_and(|number| number != punch.number) {
            return;
        }
        let (stream, number) = (stream.take(), punch.number);
        punch.stage = Stage::Talks;
        match (stream, self.gate.relayed_in_use(peer)) {
            (_, None) => self.punch_ended(peer, "the link is not relayed"),
            (None, Some(relayed)) => self.swarm.behaviour_mut().punches.open(*peer, relayed),
            (Some(stream), Some(_)) => self.exchange(*peer, number, false, stream),
        }
    }

    fn exchange(&mut self, peer: TransportPeer, number: u64, leads: Leads, stream: Stream) {
        let seen = self.gate.seen_by(|it| self.reservations.is_wished(it));
        let ours = punch::told(seen.map(|(_, _, address)| address));
        if ours.is_empty() {
            return self.punch_ended(&peer, "no relay says at which address it sees us");
        }
        self.timers.push(Box::pin(async move {
            let theirs = punch::exchange(stream, leads, &ours).await;
            let said = theirs.map(|theirs| Exchanged { theirs, ours });
            Timer::Exchanged(peer, number, Box::new(said))
        }));
    }

    /// Both dial now. Over TCP one of two who connect to each other must take the part of who was
    /// connected to; over QUIC there are two connections then, of which the link takes one.
    pub(super) fn exchanged(
        &mut self,
        peer: TransportPeer,
        number: u64,
        said: io::Result<Exchanged>,
    ) {
        let Some(punch) = self.punches.get(&peer).filter(|it| it.number == number) else { return };
        let Exchanged { theirs, ours } = match said {
            Ok(said) => said,
            Err(error) => return self.punch_ended(&peer, &error.to_string()),
        };
        punch.stage = Stage::Dials;
        let leads = punch.leads;
        let [tcp, quic] = punch::dialled(theirs, &ours);
        if tcp.is_empty() && quic.is_empty() {
            return self.punch_ended(&peer, "no address of the peer can be dialled from here");
        }
        tracing::debug!(%peer, ?tcp, ?quic, ?ours, leads, "hole punching");
        if let Some(direct) = self.gate.direct_to(&peer) {
            // The peer was quicker than we, and nothing stood between.
            if leads {
                self.move_to(peer, direct);
            }
            return;
        }
        self.later(punch::DIAL_TIME, Timer::Dialled(peer, number));
        for addresses in [tcp, quic].into_iter().filter(|it| !it.is_empty()) {
            let is_tcp = addresses.first().is_some_and(|it| address::via(it) == Via::Tcp);
            let options =
                DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses);
            let options = if is_tcp && leads { options.override_role() } else { options };
            // The time given to all of it says when it has failed.
            let _failed = self.swarm.dial(options.build());
        }
    }

    /// A connection is there that no attempt of the core led to: the link of this peer may move to it.
    pub(super) fn found_direct(&mut self, connection: ConnectionId, peer: TransportPeer) {
        let is_direct = self.gate.get(connection).is_some_and(|it| it.via != Via::Relay);
        if !is_direct || !self.punches.is_allowed(&peer) {
            return;
        }
        // Also one that comes when the link has moved to another.
        self.gate.punched(connection);
        let Some(punch) = self.punches.get(&peer) else { return };
        if punch.leads && matches!(punch.stage, Stage::Dials) {
            self.move_to(peer, connection);
        }
    }

    /// A direct connection is of no use: perhaps the link can move to another one. Each side takes
    /// so many of one peer alone, and they need not be the same.
    pub(super) fn lost_direct(&mut self, connection: ConnectionId, peer: TransportPeer) {
        let Some(punch) = self.punches.get(&peer).filter(|it| it.leads) else { return };
        if !matches!(punch.stage, Stage::Moves(taken) if taken == connection) {
            return;
        }
        punch.stage = Stage::Dials;
        let others = self.gate.directs(&peer);
        if let Some(other) = others.into_iter().find(|other| *other != connection) {
            self.move_to(peer, other);
        }
    }

    /// The link has moved: other direct connections that came about are not needed.
    pub(super) fn punch_done(&mut self, peer: &TransportPeer) {
        if !self.punches.end(peer).is_some_and(|punch| punch.leads) {
            return;
        }
        for connection in self.gate.directs(peer) {
            if self.gate.is_idle(connection) {
                let _closing = self.swarm.close_connection(connection);
            }
        }
    }

    pub(super) fn punch_stream(
        &mut self,
        peer: TransportPeer,
        connection: ConnectionId,
        what: Happened,
    ) {
        let is_relayed = self.gate.get(connection).is_some_and(|it| it.via == Via::Relay);
        match what {
            // Whoever is not named by the core has its stream reset.
            Happened::Arrived(stream) if is_relayed => {
                self.asked_to_punch(peer, connection, stream)
            }
            Happened::Arrived(stream) => self.moved_to(peer, connection, stream, false),
            Happened::Opened(stream) if is_relayed => {
                if let Some(punch) = self.punches.get(&peer).filter(|it| it.leads) {
                    let number = punch.number;
                    self.exchange(peer, number, true, stream);
                }
            }
            Happened::Opened(stream) => self.moved_to(peer, connection, stream, true),
            Happened::Failed(why) if is_relayed => self.punch_ended(&peer, &why),
            Happened::Failed(why) => {
                tracing::debug!(%peer, why, "a link does not move to this connection");
                if self.gate.is_idle(connection) {
                    let _closing = self.swarm.close_connection(connection);
                }
                self.lost_direct(connection, peer);
            }
        }
    }

    fn asked_to_punch(&mut self, peer: TransportPeer, connection: ConnectionId, stream: Stream) {
        // If both dialled at once, the link is on two.
        if self.gate.is_idle(connection) {
            return;
        }
        if let Some(number) = self.punches.begin(peer, false, Some(stream)) {
            self.later(punch::REST, Timer::Rested(peer));
            self.look(peer, number);
        }
    }

    /// Hands the stream to the link, which moves to it once both sides are ready.
    fn moved_to(
        &mut self,
        peer: TransportPeer,
        connection: ConnectionId,
        stream: Stream,
        leads: Leads,
    ) {
        if !self.punches.is_allowed(&peer) {
            return;
        }
        let Some(from) = words(&peer).filter(|peer| self.links.is_linked(peer)) else { return };
        let Some(mut candidate) = self.candidate(connection, stream, None) else { return };
        candidate.moves = Some(leads);
        if self.links.add(from, candidate).is_ok() {
            self.gate.hold(connection);
        }
    }

    /// It had its time, or the dials had theirs.
    pub(super) fn punch_over(&mut self, peer: &TransportPeer, number: u64, are_dials: bool) {
        let Some(punch) = self.punches.get(peer).filter(|it| it.number == number) else { return };
        if !are_dials || matches!(punch.stage, Stage::Dials) {
            self.punch_ended(peer, "no direct connection came about");
        }
    }

    fn punch_ended(&mut self, peer: &TransportPeer, why: &str) {
        let Some(punch) = self.punches.end(peer) else { return };
        if let (true, Some(peer)) = (punch.leads, words(peer)) {
            self.not_punched(peer, why);
        }
    }

    fn not_punched(&mut self, peer: PeerId, why: &str) {
        let why = text::one_line(why);
        self.out.push_back(NetEvent::NotPunched { peer, why });
    }
}
