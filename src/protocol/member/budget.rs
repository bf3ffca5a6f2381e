//! So much at once, and so much a second from then on, for each member on its own.
//! Owns: what each has left.
//! Must not know: of what.
//! Invariants: whoever takes more than its share leaves the others theirs.
//! Start reading at: [`Budget::take`].

use std::collections::BTreeMap;

use crate::ids::PeerId;
use crate::limits::MEMBERS_MAX;
use crate::time::Mono;

/// What members have left of something.
#[derive(Debug)]
pub(super) struct Budget {
    burst: u64,
    per_second: u64,
    /// Thousandths, as of then.
    left: BTreeMap<PeerId, (u64, Mono)>,
}

impl Budget {
    /// So much at once, and so much a second.
    pub(super) fn new(burst: u64, per_second: u64) -> Self {
        Self { burst, per_second, left: BTreeMap::new() }
    }

    fn left(&self, who: &PeerId, now: Mono) -> u64 {
        let full = self.burst.saturating_mul(1_000);
        self.left.get(who).map_or(full, |(left, at)| {
            let grown = now.since(*at).0.saturating_mul(self.per_second);
            left.saturating_add(grown).min(full)
        })
    }

    /// Whether somebody has anything left.
    pub(super) fn has_left(&self, who: &PeerId, now: Mono) -> bool {
        self.left(who, now) >= 1_000
    }

    /// Takes one if there is one left. Asking again and again costs nothing.
    pub(super) fn take_one(&mut self, who: &PeerId, now: Mono) -> bool {
        self.has_left(who, now) && self.take(who, 1, now)
    }

    /// Takes so much, or what is left; whether it was all there.
    pub(super) fn take(&mut self, who: &PeerId, count: u64, now: Mono) -> bool {
        let left = self.left(who, now);
        let wanted = count.saturating_mul(1_000);
        if self.left.len() > MEMBERS_MAX {
            // Who was not heard for long has all of it again.
            self.left.clear();
        }
        self.left.insert(*who, (left.saturating_sub(wanted), now));
        left >= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_and_again_has_its_share() {
        let alice = PeerId::of_rsa_spki(b"alice");
        let mut budget = Budget::new(10, 4);
        let taken = (0..1_000).filter(|at| budget.take_one(&alice, Mono(at * 10))).count();
        // Ten at once; then four a second in the ten that are over.
        assert_eq!(taken, 10 + 39);
    }

    #[test]
    fn a_burst_then_so_much_a_second_and_others_are_not_affected() {
        let (alice, bob) = (PeerId::of_rsa_spki(b"alice"), PeerId::of_rsa_spki(b"bob"));
        let mut budget = Budget::new(10, 2);
        assert!((0..10).all(|_| budget.take(&alice, 1, Mono(5))));
        assert!(!budget.has_left(&alice, Mono(5)) && !budget.take(&alice, 1, Mono(5)));
        assert!(budget.has_left(&bob, Mono(5)) && budget.take(&bob, 10, Mono(5)));
        assert!(!budget.has_left(&alice, Mono(504)) && budget.has_left(&alice, Mono(505)));
        assert!(budget.take(&alice, 2, Mono(1_005)) && !budget.has_left(&alice, Mono(1_005)));
        // Never more than the burst, however long it was quiet.
        assert!(budget.take(&alice, 10, Mono(999_999_999)));
        assert!(!budget.has_left(&alice, Mono(999_999_999)));
        // More than there is takes what there is.
        assert!(!budget.take(&bob, 99, Mono(2_005)) && !budget.has_left(&bob, Mono(2_005)));
    }
}
