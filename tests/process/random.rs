//! Choices that differ from run to run.
//! Owns: a seed that is printed, and taken from `P2PGROUP_SEED` to choose the same again.
//! Must not know: what is chosen.
//! Invariants: equal seeds choose equally.
//! Start reading at: [`Random`].

/// A small generator (xorshift): good enough to choose moments and victims.
pub struct Random(u64);

impl Random {
    /// From the environment, or from the id of this process.
    pub fn new() -> Self {
        let given = std::env::var("P2PGROUP_SEED").ok().and_then(|it| it.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("P2PGROUP_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below another one, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % u64::try_from(end).unwrap()).unwrap()
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
