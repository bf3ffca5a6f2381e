//! How others see this machine: at which address, and by which time.
//! Owns: what linked peers told of it, as long as they are linked.
//! Must not know: what follows from it.
//! Invariants: no more is kept than there are links; a clock of ours that is set meanwhile is
//! compared as it stands now.
//! Start reading at: [`Member::seen_views`], [`Member::clock_views`].

use super::Member;
use super::links::PeerLink;
use crate::ids::PeerId;
use crate::protocol::{ClockView, SeenAt, SeenView};
use crate::time::{Mono, Now, Wall};

/// The net tells of a link in one queue and of what its other end sees in another one: so many may
/// come before their links do.
const EARLY_MAX: usize = 64;

impl Member {
    pub(super) fn on_seen_at(&mut self, peer: PeerId, seen: SeenAt) {
        let early = self.views.seen_at.keys().filter(|peer| !self.links.contains_key(peer)).count();
        if self.links.contains_key(&peer) || early < EARLY_MAX {
            self.views.seen_at.insert(peer, seen);
        }
    }

    pub(super) fn seen_views(&self) -> Vec<SeenView> {
        let linked = self.views.seen_at.iter().filter(|(peer, _)| self.links.contains_key(peer));
        linked.map(|(peer, seen)| SeenView { by: self.label(peer), seen: seen.clone() }).collect()
    }

    pub(super) fn clock_views(&self, now: Now) -> Vec<ClockView> {
        let told = |(peer, link): (&PeerId, &PeerLink)| {
            let ahead = ahead(link.clock?, now);
            Some(ClockView { name: self.label(peer), ahead })
        };
        self.links.iter().filter_map(told).collect()
    }
}

/// How far a clock is ahead of ours that showed `at` when we heard of it.
fn ahead((at, heard): (Wall, Mono), now: Now) -> i64 {
    let there = i64::try_from(at.after(now.mono.since(heard)).0).unwrap_or(i64::MAX);
    there.saturating_sub(i64::try_from(now.wall.0).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_as_ours_stands_now() {
        let now = |mono, wall| Now { mono: Mono(mono), wall: Wall(wall) };
        let told = (Wall(70_000), Mono(5_000));
        assert_eq!(ahead(told, now(5_000, 70_000)), 0);
        assert_eq!(ahead(told, now(65_000, 130_000)), 0, "a minute later on both");
        assert_eq!(ahead(told, now(65_000, 120_000)), 10_000);
        assert_eq!(ahead(told, now(5_000, 99_000)), -29_000);
        assert_eq!(ahead((Wall(u64::MAX), Mono(0)), now(9, 0)), i64::MAX);
    }
}
