//! What happened, as a hash for comparing runs and as lines for people.
//! Owns: both.
//! Must not know: what any of it means.
//! Invariants: the hash does not depend on whether lines are kept.
//! Start reading at: [`Trace::note`].

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

pub struct Trace {
    hash: DefaultHasher,
    lines: Option<Vec<String>>,
    pub count: u64,
}

impl Trace {
    pub fn new(keeps_lines: bool) -> Self {
        Self { hash: DefaultHasher::new(), lines: keeps_lines.then(Vec::new), count: 0 }
    }

    /// Time, who, what; `text` is made only when lines are kept.
    pub fn note(&mut self, at: u64, who: &str, bytes: &[u8], text: impl FnOnce() -> String) {
        (at, who, bytes).hash(&mut self.hash);
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>8}.{:03} {who:<10} {}", at / 1000, at % 1000, text()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
