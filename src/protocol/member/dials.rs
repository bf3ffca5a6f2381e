//! Whom to dial, when, and how long to wait after a failure.
//! Owns: addresses of peers as far as known, and back-off.
//! Must not know: what a link is for.
//! Invariants: a dial under way is not repeated; waits double up to a bound.
//! Start reading at: [`Dials::due`].

use std::collections::BTreeMap;

use crate::ids::PeerId;
use crate::limits::ADDRESSES_MAX;
use crate::protocol::Address;
use crate::time::{Millis, Mono};

const FIRST_WAIT: Millis = Millis(300);
const LONGEST_WAIT: Millis = Millis(5_000);
/// The bootstrap is what others wait for, so it is tried more often.
const LONGEST_BOOTSTRAP_WAIT: Millis = Millis(2_000);
/// Who said that we do not belong is asked again after so long, and twice as long each time.
const FIRST_REFUSED_WAIT: Millis = Millis(10_000);
const LONGEST_REFUSED_WAIT: Millis = Millis(300_000);
/// A dial that gave neither link nor failure by then is taken for failed.
const DIAL_DEADLINE: Millis = Millis(12_000);

/// Who was dialled in vain so often is taken for not there.
const FAILURES: u32 = 3;

/// Somebody to be linked with.
#[derive(Clone, Debug)]
struct Target {
    addresses: Vec<Address>,
    next_at: Mono,
    wait: Millis,
    is_under_way: bool,
    /// Whether it waits for no failure, but because others come first.
    is_held_back: bool,
    /// How long to wait since it last said that we do not belong.
    refused: Option<Millis>,
    /// Dials in a row that brought nothing.
    failures: u32,
}

impl Target {
    fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            next_at: Mono(0),
            wait: FIRST_WAIT,
            is_under_way: false,
            is_held_back: false,
            refused: None,
            failures: 0,
        }
    }

    fn start(&mut self, now: Mono) {
        self.is_under_way = true;
        self.is_held_back = false;
        self.next_at = now.after(DIAL_DEADLINE);
    }

    fn fail(&mut self, now: Mono) {
        self.is_under_way = false;
        self.next_at = now.after(self.refused.unwrap_or(self.wait));
        self.wait = Millis(self.wait.0.saturating_mul(2)).min(LONGEST_WAIT);
    }
}

/// All dials of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Dials {
    peers: BTreeMap<PeerId, Target>,
    bootstrap: BTreeMap<Address, Target>,
    /// Whether something changed since whom to dial was looked at last.
    is_stale: bool,
    /// When to look again even if nothing changes.
    look_at: Option<Mono>,
    /// Whether somebody said that we do not belong.
    is_any_refused: bool,
}

impl Dials {
    /// Something changed that decides whom to dial.
    pub(super) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Whether it is time to look whom to dial.
    pub(super) fn is_look_due(&self, now: Mono) -> bool {
        self.is_stale || self.look_at.is_some_and(|at| at <= now)
    }

    /// Everybody was looked at.
    pub(super) fn looked(&mut self, wanted: &[PeerId], wants_bootstrap: bool) {
        self.is_stale = false;
        self.look_at = self.wake_at(wanted, wants_bootstrap);
    }

    /// When to look again.
    pub(super) fn look_at(&self) -> Option<Mono> {
        self.look_at
    }

    /// These addresses belong to that peer, by its own or the leader's account.
    pub(super) fn learn(&mut self, peer: PeerId, addresses: Vec<Address>) {
        if addresses.is_empty() {
            return;
        }
        self.is_stale = true;
        let target = self.peers.entry(peer).or_insert_with(|| Target::new(Vec::new()));
        let mut merged = addresses;
        for known in std::mem::take(&mut target.addresses) {
            if !merged.contains(&known) {
                merged.push(known);
            }
        }
        merged.truncate(ADDRESSES_MAX);
        target.addresses = merged;
    }

    /// Where a peer was last known to be.
    pub(super) fn addresses_of(&self, peer: &PeerId) -> Vec<Address> {
        self.peers.get(peer).map(|target| target.addresses.clone()).unwrap_or_default()
    }

    /// Peers with addresses.
    pub(super) fn known(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// The addresses to dial for this peer now, if it is time.
    pub(super) fn due(&mut self, peer: PeerId, now: Mono) -> Option<Vec<Address>> {
        let target = self.peers.get_mut(&peer)?;
        if now < target.next_at || target.addresses.is_empty() {
            return None;
        }
        if target.is_under_way {
            target.fail(now);
            target.failures = target.failures.saturating_add(1);
            return None;
        }
        target.start(now);
        Some(target.addresses.clone())
    }

    /// A peer must be waited for before it is dialled (the other side, or somebody else is first).
    pub(super) fn hold_back(&mut self, peer: PeerId, until: Mono) {
        if let Some(target) = self.peers.get_mut(&peer)
            && target.next_at == Mono(0)
        {
            target.next_at = until;
            target.is_held_back = true;
        }
    }

    /// A peer need not be waited for any longer.
    pub(super) fn go_ahead(&mut self, peer: PeerId) {
        if let Some(target) = self.peers.get_mut(&peer)
            && std::mem::take(&mut target.is_held_back)
        {
            target.next_at = Mono(0);
        }
    }

    /// Whether a bootstrap address is to be dialled now.
    pub(super) fn bootstrap_due(&mut self, address: &Address, now: Mono) -> bool {
        let target = self
            .bootstrap
            .entry(address.clone())
            .or_insert_with(|| Target::new(vec![address.clone()]));
        target.wait = target.wait.min(LONGEST_BOOTSTRAP_WAIT);
        if now < target.next_at {
            return false;
        }
        if target.is_under_way {
            target.fail(now);
            return false;
        }
        target.start(now);
        true
    }

    /// A link to this peer is up.
    pub(super) fn linked(&mut self, peer: PeerId) {
        self.is_stale = true;
        if let Some(target) = self.peers.get_mut(&peer) {
            target.wait = FIRST_WAIT;
            target.is_under_way = false;
            target.failures = 0;
        }
    }

    /// Whether a peer was dialled in vain again and again.
    pub(super) fn is_unreachable(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|target| target.failures >= FAILURES)
    }

    /// A peer is there by the word of others: it may be reached again.
    pub(super) fn is_there(&mut self, peer: &PeerId) {
        if let Some(target) = self.peers.get_mut(peer) {
            target.failures = 0;
        }
    }

    /// The bootstrap answered with a hello.
    pub(super) fn bootstrap_linked(&mut self) {
        self.is_stale = true;
        for target in self.bootstrap.values_mut() {
            target.wait = FIRST_WAIT;
            target.is_under_way = false;
        }
    }

    /// The link to the bootstrap is gone.
    pub(super) fn bootstrap_lost(&mut self, now: Mono) {
        self.is_stale = true;
        for target in self.bootstrap.values_mut() {
            target.fail(now);
        }
    }

    /// The link to this peer is gone: soon again.
    pub(super) fn lost(&mut self, peer: PeerId, now: Mono) {
        self.is_stale = true;
        if let Some(target) = self.peers.get_mut(&peer) {
            target.fail(now);
        }
    }

    /// This peer says that we do not belong: a link to it is no reason to try again soon.
    pub(super) fn refused(&mut self, peer: PeerId) {
        if let Some(target) = self.peers.get_mut(&peer) {
            let twice = target.refused.map(|it| Millis(it.0.saturating_mul(2)));
            target.refused = Some(twice.unwrap_or(FIRST_REFUSED_WAIT).min(LONGEST_REFUSED_WAIT));
            self.is_any_refused = true;
        }
    }

    /// This peer talks with us.
    pub(super) fn welcomed(&mut self, peer: PeerId) {
        if self.is_any_refused
            && let Some(target) = self.peers.get_mut(&peer)
        {
            target.refused = None;
            self.is_any_refused = self.peers.values().any(|target| target.refused.is_some());
        }
    }

    /// A dial of these addresses brought nothing.
    pub(super) fn failed(&mut self, addresses: &[Address], now: Mono) {
        self.is_stale = true;
        let is_same = |target: &&mut Target| {
            target.is_under_way && addresses.iter().any(|it| target.addresses.contains(it))
        };
        for target in self.peers.values_mut().chain(self.bootstrap.values_mut()).filter(is_same) {
            target.fail(now);
            target.failures = target.failures.saturating_add(1);
        }
    }

    /// When the next of these peers (or the bootstrap) is due.
    fn wake_at(&self, wanted: &[PeerId], wants_bootstrap: bool) -> Option<Mono> {
        let peers = wanted.iter().filter_map(|peer| self.peers.get(peer));
        let peers = peers.filter(|target| !target.addresses.is_empty()).map(|it| it.next_at);
        let bootstrap = self.bootstrap.values().filter(|_| wants_bootstrap).map(|it| it.next_at);
        peers.chain(bootstrap).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often somebody is dialled within half an hour, who takes every link and then does this.
    fn dials(mut after_each: impl FnMut(&mut Dials, PeerId)) -> usize {
        let peer = PeerId::of_rsa_spki(b"somebody");
        let mut dials = Dials::default();
        dials.learn(peer, vec!["/ip4/192.0.2.1/tcp/9000".to_owned()]);
        let mut count = 0;
        for now in (0..1_800_000).step_by(100).map(Mono) {
            if dials.due(peer, now).is_some() {
                count += 1;
                dials.linked(peer);
                after_each(&mut dials, peer);
                dials.lost(peer, now);
            }
        }
        count
    }

    #[test]
    fn who_says_that_we_do_not_belong_is_dialled_in_minutes_and_not_three_times_a_second() {
        assert!(dials(|_, _| {}) > 4_000, "who is lost is dialled soon");
        let refused = dials(|dials, peer| dials.refused(peer));
        // 0, 10, 30, 70, 150, 310 s, and once in five minutes from then on.
        assert_eq!(refused, 10);
        // It thought better of it.
        let mut turn = 0;
        let forgiven = dials(|dials, peer| {
            turn += 1;
            if turn == 3 {
                dials.welcomed(peer)
            } else if turn < 3 {
                dials.refused(peer)
            }
        });
        assert!(forgiven > 4_000, "{forgiven}");
    }
}
