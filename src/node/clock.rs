//! The only place that reads clocks.
//! Owns: the zero of monotonic time.
//! Must not know: what time is used for.
//! Invariants: monotonic readings never go back.
//! Start reading at: [`Clock`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Mono, Now, Wall};

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// Monotonic time starts at one second, so that zero stays "never".
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        let now = Instant::now();
        Self { zero: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// Both readings.
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), wall: wall() }
    }

    /// The instant at which monotonic time reaches `at`.
    pub fn instant(&self, at: Mono) -> Instant {
        self.zero.checked_add(Duration::from_millis(at.0)).unwrap_or(self.zero)
    }
}

/// Wall time.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
