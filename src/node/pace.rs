//! How often the disk is synced while there is much to do.
//! Owns: when a sync that could wait is worth its cost again.
//! Must not know: what is synced, clocks.
//! Invariants: syncs that may wait take a fifth of the time at the most, and none waits longer
//! than [`WAIT_MAX`] for that.
//! Start reading at: [`Pace::due`].

use crate::time::{Millis, Mono};

/// A sync is followed by so many times its length without one. Every sync writes each page it finds
/// changed, whether one entry changed it or twenty; so the fewer, the less there is to write.
const REST: u64 = 4;
/// Longer than this no acknowledgement waits for that.
const WAIT_MAX: Millis = Millis(50);

/// The rhythm of syncs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    rests_until: Mono,
}

impl Pace {
    /// A sync ended.
    pub(super) fn synced(&mut self, began: Mono, ended: Mono) {
        let rest = ended.since(began).times(REST).min(WAIT_MAX);
        self.rests_until = ended.after(rest);
    }

    /// When a sync is due that was asked for now and may wait so long.
    pub(super) fn due(&self, now: Mono, wait: Millis) -> Mono {
        now.after(wait).max(self.rests_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_quiet_machine_nothing_waits_longer_than_it_may() {
        let mut pace = Pace::default();
        pace.synced(Mono(100), Mono(101));
        assert_eq!(pace.due(Mono(101), Millis(5)), Mono(106));
        assert_eq!(pace.due(Mono(200), Millis(5)), Mono(205));
    }

    #[test]
    fn slow_syncs_are_rare_but_never_far_apart() {
        let mut pace = Pace::default();
        pace.synced(Mono(100), Mono(110));
        assert_eq!(pace.due(Mono(111), Millis(5)), Mono(150));
        pace.synced(Mono(1_000), Mono(9_000));
        assert_eq!(pace.due(Mono(9_000), Millis(5)), Mono(9_000).after(WAIT_MAX));
    }
}
