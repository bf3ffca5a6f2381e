//! Reservations at relays: through which relays we want to be reachable, and when to ask again.
//! Owns: the wished relays, their listeners, the wait between attempts.
//! Must not know: why a relay was chosen.
//! Invariants: one listener a relay at most; relays are bounded.
//! Start reading at: [`Reservations`].

use std::{collections::BTreeMap, time::Duration};

use libp2p::{
    Multiaddr, PeerId as TransportPeer, core::transport::ListenerId, multiaddr::Protocol,
};

use super::address;
use crate::limits::ADDRESSES_MAX;

/// Relays at once; one is enough, a few survive its end.
const RELAYS_MAX: usize = 8;
/// The wait before a lost reservation is sought again: at first, and at most.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Wish {
    addresses: Vec<Multiaddr>,
    turn: usize,
    listener: Option<ListenerId>,
    wait: Duration,
}

/// All relays we want to be reachable through.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    wishes: BTreeMap<TransportPeer, Wish>,
}

impl Reservations {
    /// Adds a relay or its newer addresses; whether it should be tried now.
    pub(super) fn want(&mut self, relay: TransportPeer, texts: &[String]) -> bool {
        let addresses: Vec<Multiaddr> = texts
            .iter()
            .take(ADDRESSES_MAX)
            .filter_map(|text| address::parse(text).ok())
            .flatten()
            .map(address::without_peer)
            .collect();
        if addresses.is_empty() {
            return false;
        }
        if let Some(wish) = self.wishes.get_mut(&relay) {
            wish.addresses = addresses;
            return false;
        }
        if self.wishes.len() >= RELAYS_MAX {
            return false;
        }
        let wish = Wish { addresses, turn: 0, listener: None, wait: WAIT_MIN };
        self.wishes.insert(relay, wish).is_none()
    }

    /// Whether this is a relay through which we want to be reachable.
    pub(super) fn is_wished(&self, relay: &TransportPeer) -> bool {
        self.wishes.contains_key(relay)
    }

    /// All relays with their addresses.
    pub(super) fn relays(&self) -> impl Iterator<Item = (&TransportPeer, &[Multiaddr])> {
        self.wishes.iter().map(|(relay, wish)| (relay, wish.addresses.as_slice()))
    }

    /// Where to listen next for this relay: its addresses take turns.
    pub(super) fn address(&mut self, relay: &TransportPeer) -> Option<Multiaddr> {
        let wish = self.wishes.get_mut(relay).filter(|wish| wish.listener.is_none())?;
        let address = wish.addresses.iter().cycle().nth(wish.turn)?;
        wish.turn = wish.turn.saturating_add(1) % wish.addresses.len().max(1);
        Some(address.clone().with(Protocol::P2p(*relay)).with(Protocol::P2pCircuit))
    }

    /// A listener was made for this relay.
    pub(super) fn listening(&mut self, relay: &TransportPeer, listener: ListenerId) {
        if let Some(wish) = self.wishes.get_mut(relay) {
            wish.listener = Some(listener);
        }
    }

    /// The relay accepted: the next loss starts with a short wait again.
    pub(super) fn accepted(&mut self, listener: ListenerId) {
        if let Some(wish) = self.wishes.values_mut().find(|wish| wish.listener == Some(listener)) {
            wish.wait = WAIT_MIN;
        }
    }

    /// A listener ended: which relay to try again, and after how long.
    pub(super) fn lost(&mut self, listener: ListenerId) -> Option<(TransportPeer, Duration)> {
        let (relay, wish) =
            self.wishes.iter_mut().find(|(_, wish)| wish.listener == Some(listener))?;
        wish.listener = None;
        Some((*relay, next_wait(wish)))
    }

    /// No listener could be made: after how long to try again.
    pub(super) fn failed(&mut self, relay: &TransportPeer) -> Option<Duration> {
        self.wishes.get_mut(relay).map(next_wait)
    }
}

fn next_wait(wish: &mut Wish) -> Duration {
    let wait = wish.wait;
    wish.wait = wait.saturating_mul(2).min(WAIT_MAX);
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_reservation_is_sought_again_later_and_later() {
        let mut reservations = Reservations::default();
        let relay = TransportPeer::random();
        assert!(!reservations.want(relay, &["nonsense".to_owned()]));
        assert!(reservations.want(relay, &["127.0.0.1:9001".to_owned()]));
        assert!(!reservations.want(relay, &["127.0.0.1:9001".to_owned()]));
        let first = reservations.address(&relay).unwrap();
        assert!(first.to_string().starts_with("/ip4/127.0.0.1/tcp/9001/p2p/"));
        assert!(first.to_string().ends_with("/p2p-circuit"));
        assert!(reservations.address(&relay).unwrap().to_string().contains("quic"));
        let mut waits = Vec::new();
        for _ in 0..7 {
            let listener = ListenerId::next();
            reservations.listening(&relay, listener);
            assert_eq!(reservations.address(&relay), None);
            waits.push(reservations.lost(listener).unwrap().1.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        let listener = ListenerId::next();
        reservations.listening(&relay, listener);
        reservations.accepted(listener);
        assert_eq!(reservations.lost(listener), Some((relay, WAIT_MIN)));
    }
}
