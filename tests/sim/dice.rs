//! Randomness of the world itself.
//! Owns: what is drawn.
//! Must not know: what for.
//! Invariants: a run is a function of its seed.
//! Start reading at: [`Dice`].

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Randomness of the world itself.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64, stream: u8) -> Self {
        let mut bytes = [stream; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
    /// Both ends included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }
    pub fn below(&mut self, count: usize) -> usize {
        (self.number() % count.max(1) as u64) as usize
    }
    pub fn one_in(&mut self, count: u64) -> bool {
        self.number().is_multiple_of(count)
    }
    pub fn percent(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
