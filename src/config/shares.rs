//! What a process gives to others and takes from them, as configured: relaying, keeping, files.
//! Owns: how these settings become values.
//! Must not know: who relays or keeps.
//! Invariants: none.
//! Start reading at: `Checked::relay`.

use super::{Checked, Key, RelayLimits};
use crate::terms::{FilesRule, KeeperRule};
use crate::time::Millis;

impl Checked {
    pub(super) fn relay(&self) -> RelayLimits {
        RelayLimits {
            reservations: self.size(Key::RelayReservations),
            circuits: self.size(Key::RelayCircuits),
            circuit_bytes: self.number(Key::RelayCircuitBytes).unwrap_or_default(),
            circuit_seconds: self.number(Key::RelayCircuitSeconds).unwrap_or_default(),
        }
    }

    pub(super) fn files(&self) -> FilesRule {
        let bytes = |key| self.number(key).unwrap_or_default().saturating_mul(1 << 20);
        let quota = bytes(Key::FilesQuotaMib);
        FilesRule { accept: bytes(Key::FilesAcceptMib), quota: (quota > 0).then_some(quota) }
    }

    pub(super) fn keep(&self) -> Option<KeeperRule> {
        let days = self.number(Key::KeepDays).unwrap_or_default();
        self.is_on(Key::Keep).then(|| KeeperRule {
            quota: self.number(Key::KeepQuota).unwrap_or_default(),
            age: Millis(24 * 3_600_000).times(days),
        })
    }
}
