//! The gate: how many connections there may be, and which goes when there are too many.
//! Owns: the list of established connections and their uses.
//! Must not know: who is a member.
//! Invariants: idle connections never keep a new one out; every list is bounded by the limits.
//! Start reading at: [`Gate`].

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId as TransportPeer,
    connection_limits::{Behaviour, ConnectionLimits},
    swarm::ConnectionId,
};

use super::{Via, address};
use crate::limits::CONNECTIONS_PER_PEER_MAX;

/// Connections that we make ourselves at once, beyond those that others make.
const OUTBOUND_MAX: u32 = 1_024;

/// The hard limits, kept by libp2p itself.
pub(super) fn limits(connections_max: u32) -> Behaviour {
    let limits = ConnectionLimits::default()
        // As many as established ones: who connects and says nothing must not keep others out.
        .with_max_pending_incoming(Some(connections_max))
        .with_max_pending_outgoing(Some(OUTBOUND_MAX))
        .with_max_established_incoming(Some(connections_max))
        .with_max_established_outgoing(Some(OUTBOUND_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    Behaviour::new(limits)
}

/// An established connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: TransportPeer,
    pub(super) address: Multiaddr,
    pub(super) via: Via,
    pub(super) is_outbound: bool,
    /// Where the peer says that it sees us.
    pub(super) seen_at: Option<String>,
    /// Whether both sides had to begin it at the same time.
    pub(super) is_punched: bool,
    /// Links, questions and reservations on it.
    uses: usize,
}

/// All established connections, oldest first.
#[derive(Debug)]
pub(super) struct Gate {
    connections: BTreeMap<ConnectionId, Connection>,
    inbound: usize,
    inbound_soft_max: usize,
}

impl Gate {
    pub(super) fn new(connections_max: u32) -> Self {
        let max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        // An eighth stays free for those who come while an idle one is being closed.
        let soft = max.saturating_sub(max / 8).max(1);
        Self { connections: BTreeMap::new(), inbound: 0, inbound_soft_max: soft }
    }

    /// Notes a connection; gives the idle one that should make room, if it is time for that.
    pub(super) fn opened(
        &mut self,
        id: ConnectionId,
        peer: TransportPeer,
        address: Multiaddr,
        via: Via,
        is_outbound: bool,
    ) -> Option<ConnectionId> {
        let connection = Connection {
            peer,
            address,
            via,
            is_outbound,
            seen_at: None,
            is_punched: false,
            uses: 0,
        };
        let _new = self.connections.insert(id, connection);
        if is_outbound {
            return None;
        }
        self.inbound = self.inbound.saturating_add(1);
        if self.inbound <= self.inbound_soft_max {
            return None;
        }
        self.connections
            .iter()
            .find(|(other, connection)| {
                **other != id && !connection.is_outbound && connection.uses == 0
            })
            .map(|(other, _)| *other)
    }

    /// Forgets a connection.
    pub(super) fn closed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id)
            && !connection.is_outbound
        {
            self.inbound = self.inbound.saturating_sub(1);
        }
    }

    /// The connection is in use once more.
    pub(super) fn hold(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.uses = connection.uses.saturating_add(1);
        }
    }

    /// One use of the connection ended; tells whether it was the last.
    pub(super) fn release(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        connection.uses = connection.uses.saturating_sub(1);
        connection.uses == 0
    }

    /// Whether nothing uses the connection.
    pub(super) fn is_idle(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.uses == 0)
    }

    /// The peer says where it sees us; gives the connection, if this is news. Through a relay it
    /// would be the relay.
    pub(super) fn seen_at(&mut self, id: ConnectionId, at: &Multiaddr) -> Option<&Connection> {
        let connection = self.connections.get_mut(&id).filter(|it| it.via != Via::Relay)?;
        let told = address::told(at).filter(|told| connection.seen_at.as_ref() != Some(told))?;
        connection.seen_at = Some(told);
        Some(connection)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// The oldest direct connection to a peer.
    pub(super) fn direct_to(&self, peer: &TransportPeer) -> Option<ConnectionId> {
        self.connections
            .iter()
            .find(|(_, connection)| connection.peer == *peer && connection.via != Via::Relay)
            .map(|(id, _)| *id)
    }

    /// The connection to a peer that its link is on; a direct one rather than through a relay.
    pub(super) fn in_use(&self, peer: &TransportPeer) -> Option<ConnectionId> {
        let used = self.connections.iter().filter(|(_, it)| it.peer == *peer && it.uses > 0);
        used.min_by_key(|(_, it)| it.via == Via::Relay).map(|(id, _)| *id)
    }

    /// All direct connections to a peer.
    pub(super) fn directs(&self, peer: &TransportPeer) -> Vec<ConnectionId> {
        let directs = self.connections.iter().filter(|(_, it)| it.via != Via::Relay);
        directs.filter(|(_, it)| it.peer == *peer).map(|(id, _)| *id).collect()
    }

    /// Whether the link with a peer is on a connection through a relay.
    pub(super) fn is_relayed(&self, peer: &TransportPeer) -> bool {
        self.relayed_in_use(peer).is_some()
    }

    /// The connection through a relay that a peer's link is on.
    pub(super) fn relayed_in_use(&self, peer: &TransportPeer) -> Option<ConnectionId> {
        let mut used = self.connections.iter().filter(|(_, it)| it.peer == *peer && it.uses > 0);
        used.find(|(_, it)| it.via == Via::Relay).map(|(id, _)| *id)
    }

    /// The peer of this connection could be reached by hole punching alone: that it began it says
    /// nothing about how others reach us.
    pub(super) fn punched(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_punched = true;
        }
    }

    /// Where one of these sees connections that we began, which is where others may find us, too.
    pub(super) fn seen_by<'a>(
        &'a self,
        is_asked: impl Fn(&TransportPeer) -> bool + 'a,
    ) -> impl Iterator<Item = (TransportPeer, Via, &'a str)> + 'a {
        let ours = self.connections.values().filter(move |it| {
            it.is_outbound && !it.is_punched && it.via != Via::Relay && is_asked(&it.peer)
        });
        ours.filter_map(|it| Some((it.peer, it.via, it.seen_at.as_deref()?)))
    }

    /// Whom we reached at this address.
    pub(super) fn dialled(&self, wanted: &Multiaddr) -> Option<(ConnectionId, TransportPeer)> {
        let wanted = address::without_peer(wanted.clone());
        self.connections
            .iter()
            .find(|(_, connection)| connection.is_outbound && connection.address == wanted)
            .map(|(id, connection)| (*id, connection.peer))
    }

    /// All connections of a peer.
    pub(super) fn of_peer(&self, peer: &TransportPeer) -> Vec<ConnectionId> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.peer == *peer)
            .map(|(id, _)| *id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(gate: &mut Gate, number: usize) -> Option<ConnectionId> {
        let id = ConnectionId::new_unchecked(number);
        gate.opened(id, TransportPeer::random(), Multiaddr::empty(), Via::Tcp, false)
    }

    #[test]
    fn the_oldest_idle_connection_makes_room() {
        let mut gate = Gate::new(8);
        for number in 0..7 {
            assert_eq!(open(&mut gate, number), None);
        }
        gate.hold(ConnectionId::new_unchecked(0));
        assert_eq!(open(&mut gate, 7), Some(ConnectionId::new_unchecked(1)));
        gate.closed(ConnectionId::new_unchecked(1));
        assert!(gate.release(ConnectionId::new_unchecked(0)));
        assert_eq!(open(&mut gate, 8), Some(ConnectionId::new_unchecked(0)));
    }

    #[test]
    fn connections_in_use_are_never_closed_for_new_ones() {
        let mut gate = Gate::new(2);
        for number in 0..6 {
            assert_eq!(open(&mut gate, number), None);
            gate.hold(ConnectionId::new_unchecked(number));
        }
    }
}
