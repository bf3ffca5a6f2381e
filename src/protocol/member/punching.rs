//! Relayed links that should become direct: with whom, when, and how often.
//! Owns: the attempts and the waits between them.
//! Must not know: how a hole is punched, addresses.
//! Invariants: with members alone; of two one leads, so never both at once; waits double up to a
//! bound; without a relayed link there is nothing to do and nothing to wake for.
//! Start reading at: [`Member::go_on_punching`].

use std::collections::BTreeMap;

use super::{Context, Member};
use crate::ids::PeerId;
use crate::protocol::{Address, Send, Transport};
use crate::time::{Millis, Mono};

/// After a link came up: the other side should know us, too, by then.
const START: Millis = Millis(1_000);
/// After the first attempt that brought nothing; twice as long after each further one.
const FIRST_WAIT: Millis = Millis(10_000);
/// What stands between changes with the place of a laptop or a router's settings: seldom.
const LONGEST_WAIT: Millis = Millis(3_600_000);
/// A direct link that ends sooner than this was no success.
const SHORT_LIFE: Millis = Millis(60_000);
/// An attempt of which nothing was heard by then is taken for failed.
const DEADLINE: Millis = Millis(60_000);

/// How a peer is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Through a relay.
    Relayed {
        /// Whether the net knows that the peer may.
        is_named: bool,
        /// Until when an attempt may take.
        deadline: Option<Mono>,
    },
    /// Directly, since then.
    Punched(Mono),
    /// Not at all.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    path: Path,
    /// Attempts in a row that brought nothing that lasted.
    failures: u32,
    next_at: Mono,
}

impl Peer {
    fn fail(&mut self, now: Mono) {
        let doubled = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let wait = Millis(FIRST_WAIT.0.saturating_mul(doubled)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.next_at = now.after(wait);
    }
}

/// Peers that are linked through a relay or were, until a direct link lasted.
#[derive(Clone, Debug, Default)]
pub(super) struct Punching(BTreeMap<PeerId, Peer>);

impl Punching {
    /// A link is up.
    pub(super) fn linked(&mut self, peer: PeerId, transport: Transport, now: Mono) {
        if transport != Transport::Relay {
            self.0.remove(&peer);
            return;
        }
        let path = Path::Relayed { is_named: false, deadline: None };
        let new = Peer { path, failures: 0, next_at: Mono(0) };
        let it = self.0.entry(peer).or_insert(new);
        it.path = path;
        it.next_at = it.next_at.max(now.after(START));
    }

    /// A link is gone. Who was never tried with is forgotten, so that strangers leave nothing.
    pub(super) fn unlinked(&mut self, peer: &PeerId, now: Mono) {
        let Some(it) = self.0.get_mut(peer) else { return };
        match it.path {
            Path::Punched(since) if now.since(since) >= SHORT_LIFE => it.failures = 0,
            Path::Punched(_) | Path::Relayed { deadline: Some(_), .. } => it.fail(now),
            Path::Relayed { .. } | Path::Gone => {}
        }
        it.path = Path::Gone;
        if it.failures == 0 {
            self.0.remove(peer);
        }
    }

    fn ended(&mut self, peer: &PeerId, is_direct: bool, now: Mono) {
        let Some(it) = self.0.get_mut(peer) else { return };
        if is_direct {
            it.path = Path::Punched(now);
        } else if let Path::Relayed { deadline: deadline @ Some(_), .. } = &mut it.path {
            *deadline = None;
            it.fail(now);
        }
    }
}

impl Member {
    /// The net says what became of an attempt, ours or the peer's.
    pub(super) fn on_punched(
        &mut self,
        peer: PeerId,
        moved: Option<(Transport, Address)>,
        now: Mono,
    ) {
        self.punching.ended(&peer, moved.is_some(), now);
        if let (Some((transport, address)), Some(link)) = (moved, self.links.get_mut(&peer)) {
            (link.link.transport, link.link.address) = (transport, address);
            self.views.is_stale = true;
        }
    }

    /// Tries with whoever belongs and is linked through a relay. Of two the one with the lesser peer
    /// id leads; the other one only lets it.
    pub(super) fn go_on_punching(&mut self, cx: &mut Context<'_>) {
        if self.punching.0.is_empty() || !self.setup.punches || !self.is_in() {
            return;
        }
        let Some(roster) = self.ledger.as_ref().map(|it| it.roster()) else { return };
        let now = cx.now.mono;
        for (peer, it) in &mut self.punching.0 {
            let is_member = self.links.get(peer).is_some_and(|link| link.is_member());
            let belongs = is_member && roster.is_in(peer);
            if let Path::Relayed { deadline: Some(at), .. } = it.path
                && at <= now
            {
                it.path = Path::Relayed { is_named: true, deadline: None };
                it.fail(now);
            }
            let Path::Relayed { is_named, deadline } = &mut it.path else { continue };
            if !belongs {
                continue;
            }
            let leads = self.me < *peer;
            if !leads {
                if !std::mem::replace(is_named, true) {
                    cx.actions.sends.push(Send::Punch { peer: *peer, leads });
                }
            } else if deadline.is_some() {
                cx.actions.wake_by(*deadline);
            } else if it.next_at <= now {
                *deadline = Some(now.after(DEADLINE));
                cx.actions.wake_by(*deadline);
                cx.actions.sends.push(Send::Punch { peer: *peer, leads });
            } else {
                cx.actions.wake_by(Some(it.next_at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerId {
        PeerId::of_ed25519(&crate::ids::DeviceKey([7; 32]))
    }

    fn next_at(punching: &Punching) -> u64 {
        punching.0[&peer()].next_at.0
    }

    #[test]
    fn waits_double_up_to_an_hour_and_links_that_come_and_go_do_not_shorten_them() {
        let mut punching = Punching::default();
        let mut now = Mono(0);
        punching.linked(peer(), Transport::Relay, now);
        assert_eq!(next_at(&punching), 1_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            if let Path::Relayed { deadline, .. } = &mut punching.0.get_mut(&peer()).unwrap().path {
                *deadline = Some(now.after(DEADLINE));
            }
            punching.ended(&peer(), false, now);
            waits.push(next_at(&punching) - now.0);
            punching.unlinked(&peer(), now);
            punching.linked(peer(), Transport::Relay, now);
            now = Mono(next_at(&punching));
        }
        assert_eq!(waits[..4], [10_000, 20_000, 40_000, 80_000]);
        assert_eq!(waits[9..], [3_600_000; 3]);
    }

    #[test]
    fn a_direct_link_that_ends_at_once_counts_as_none_and_one_that_lasts_as_new() {
        for (lasts, is_kept) in [(59_999, true), (60_000, false)] {
            let mut punching = Punching::default();
            punching.linked(peer(), Transport::Relay, Mono(0));
            punching.ended(&peer(), true, Mono(5_000));
            punching.unlinked(&peer(), Mono(5_000 + lasts));
            assert_eq!(punching.0.contains_key(&peer()), is_kept, "{lasts}");
        }
    }

    #[test]
    fn who_was_never_tried_with_or_is_reached_without_is_forgotten() {
        let mut punching = Punching::default();
        punching.linked(peer(), Transport::Relay, Mono(0));
        punching.unlinked(&peer(), Mono(1));
        assert!(punching.0.is_empty());
        punching.linked(peer(), Transport::Relay, Mono(2));
        punching.linked(peer(), Transport::Tcp, Mono(3));
        assert!(punching.0.is_empty());
    }
}
