//! The timers of the protocol, and their two profiles.
//! Owns: the defaults.
//! Must not know: who waits for what.
//! Invariants: none; `config` checks how they relate.
//! Start reading at: [`Timers`].

use crate::time::Millis;

/// The timers of the protocol; from config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// How often a leader says that it leads.
    pub heartbeat: Millis,
    /// A follower that heard nothing for a random time from here …
    pub election_min: Millis,
    /// … to here asks to be elected.
    pub election_max: Millis,
    /// A member unheard for so long is away and its vote is given to another.
    pub away_after: Millis,
}

impl Timers {
    /// The defaults, for a LAN.
    pub const LAN: Self = Self {
        heartbeat: Millis(250),
        election_min: Millis(750),
        election_max: Millis(1_500),
        away_after: Millis(5_000),
    };

    /// Four times the LAN's: for links over the internet.
    pub const WAN: Self = Self {
        heartbeat: Millis(1_000),
        election_min: Millis(3_000),
        election_max: Millis(6_000),
        away_after: Millis(20_000),
    };
}
