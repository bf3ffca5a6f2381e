//! How often each peer may ask: a token bucket for every asker, and one for all strangers.
//! Owns: the buckets.
//! Must not know: what is asked.
//! Invariants: memory is bounded whatever peers come; a known peer is not held up by strangers.
//! Start reading at: [`Askers::may_ask`].

use std::collections::BTreeMap;

use crate::ids::PeerId;
use crate::limits::{ASK_BURST, ASK_BURST_ALL, ASK_PER_SECOND, ASK_PER_SECOND_ALL, ASKERS_MAX};
use crate::time::Mono;

#[derive(Debug)]
pub(super) struct Askers {
    each: BTreeMap<PeerId, Bucket>,
    strangers: Bucket,
}

impl Default for Askers {
    fn default() -> Self {
        let strangers = Bucket { milli: ASK_BURST_ALL.saturating_mul(1000), at: Mono(0) };
        Self { each: BTreeMap::new(), strangers }
    }
}

impl Askers {
    /// Whether this question is answered; counts it if so.
    pub(super) fn may_ask(&mut self, peer: PeerId, is_known: bool, now: Mono) -> bool {
        if self.each.len() >= ASKERS_MAX && !self.each.contains_key(&peer) {
            // Who has been quiet long enough is as good as new.
            self.each.retain(|_, bucket| !bucket.is_full(ASK_BURST, ASK_PER_SECOND, now));
            if self.each.len() >= ASKERS_MAX {
                return false;
            }
        }
        let full = Bucket { milli: ASK_BURST.saturating_mul(1000), at: now };
        let own = self.each.entry(peer).or_insert(full);
        own.take(ASK_BURST, ASK_PER_SECOND, now)
            && (is_known || self.strangers.take(ASK_BURST_ALL, ASK_PER_SECOND_ALL, now))
    }
}

/// Tokens in thousandths, so that a millisecond adds as many as a second adds whole ones.
#[derive(Debug)]
struct Bucket {
    milli: u64,
    at: Mono,
}

impl Bucket {
    fn filled(&self, burst: u64, per_second: u64, now: Mono) -> u64 {
        let more = now.since(self.at).0.saturating_mul(per_second);
        self.milli.saturating_add(more).min(burst.saturating_mul(1000))
    }

    fn is_full(&self, burst: u64, per_second: u64, now: Mono) -> bool {
        self.filled(burst, per_second, now) == burst.saturating_mul(1000)
    }

    fn take(&mut self, burst: u64, per_second: u64, now: Mono) -> bool {
        self.milli = self.filled(burst, per_second, now);
        self.at = self.at.max(now);
        match self.milli.checked_sub(1000) {
            Some(rest) => {
                self.milli = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceKey;

    fn peer(number: u64) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        PeerId::of_ed25519(&DeviceKey(key))
    }

    #[test]
    fn a_peer_has_a_burst_and_then_so_many_a_second() {
        let mut askers = Askers::default();
        let granted = |askers: &mut Askers, at| {
            (0..1000).filter(|_| askers.may_ask(peer(1), true, Mono(at))).count()
        };
        assert_eq!(granted(&mut askers, 5), 32);
        assert_eq!(granted(&mut askers, 5 + 1_000), 8);
        assert_eq!(granted(&mut askers, 5 + 1_000_000), 32);
        // Time that stands still or runs back gives nothing.
        assert_eq!(granted(&mut askers, 0), 0);
    }

    #[test]
    fn many_strangers_share_one_bucket_and_known_peers_do_not_wait_for_them() {
        let mut askers = Askers::default();
        let granted = (0..3_000).filter(|n| askers.may_ask(peer(*n), false, Mono(0))).count();
        assert_eq!(granted, 1_024);
        assert!(!askers.may_ask(peer(5_000), false, Mono(0)));
        assert!(askers.may_ask(peer(5_001), true, Mono(0)));
    }

    #[test]
    fn the_number_of_peers_counted_is_bounded_and_quiet_ones_make_room() {
        let mut askers = Askers::default();
        for n in 0..20_000 {
            askers.may_ask(peer(n), true, Mono(0));
        }
        assert_eq!(askers.each.len(), ASKERS_MAX);
        assert!(!askers.may_ask(peer(30_000), true, Mono(0)));
        assert!(askers.may_ask(peer(30_000), true, Mono(1_000)));
        assert_eq!(askers.each.len(), 1);
    }
}
