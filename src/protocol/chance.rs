//! Randomness inside the cores: a stream from a seed given in, so that a run can be replayed.
//! Owns: the generator.
//! Must not know: where the seed comes from.
//! Invariants: the same seed and the same calls give the same numbers.
//! Start reading at: [`Chance`].

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::time::Millis;

/// A replayable source of random numbers.
#[derive(Clone)]
pub struct Chance(ChaCha20Rng);

impl Chance {
    /// From a seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A time between the two, both included.
    pub fn between(&mut self, least: Millis, most: Millis) -> Millis {
        let span = most.0.saturating_sub(least.0).saturating_add(1);
        Millis(least.0.saturating_add(self.number().checked_rem(span).unwrap_or(0)))
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_within_bounds() {
        let (mut one, mut other) = (Chance::new([7; 32]), Chance::new([7; 32]));
        for _ in 0..100 {
            let span = one.between(Millis(750), Millis(1500));
            assert_eq!(span, other.between(Millis(750), Millis(1500)));
            assert!((750..=1500).contains(&span.0));
        }
        assert_eq!(one.bytes::<16>(), other.bytes::<16>());
    }
}
