//! The only place that reads clocks.
//! Owns: the zero of monotonic time, and the name of the machine's boot.
//! Must not know: what time is used for.
//! Invariants: monotonic readings never go back, and go on while the machine is suspended.
//! Start reading at: [`Clock`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::time::{Mono, Now, Wall};

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Duration,
}

impl Clock {
    /// Monotonic time starts at one second, so that zero stays "never".
    pub fn start() -> Self {
        Self { zero: since_boot().saturating_sub(Duration::from_secs(1)) }
    }

    /// Both readings.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    fn mono(&self) -> Mono {
        let elapsed = since_boot().saturating_sub(self.zero);
        Mono(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant at which monotonic time reaches `at`, for timers.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn instant(&self, at: Mono) -> Instant {
        let wait = Duration::from_millis(at.since(self.mono()).0);
        let now = Instant::now();
        now.checked_add(wait).unwrap_or(now)
    }
}

/// Time since the machine started, suspension included: `std`'s clock stands still in it.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Time since the first reading; elsewhere `std`'s clock has to do.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn since_boot() -> Duration {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let now = Instant::now();
    now.duration_since(*FIRST.get_or_init(|| now)) + Duration::from_secs(2)
}

/// What names this boot of the machine, where the system has such a name.
pub(super) fn boot() -> Option<Bytes> {
    let name = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    Some(Bytes::copy_from_slice(name.trim_ascii()))
}

/// Wall time.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
