//! How far ahead of the others an author may be, so that all authors together stay within a bound.
//! Owns: who wrote a moment ago.
//! Must not know: entries, frames, why somebody writes.
//! Invariants: what one receiver may have before it is bounded, however many write; whoever writes
//! alone has the most.
//! Start reading at: [`Flow::share`].

use std::collections::BTreeMap;

use crate::ids::LogId;
use crate::time::{Millis, Mono};

/// Entries that all authors together may be ahead of one receiver: it takes tens of thousands a
/// second, so nothing lies about for long.
const AHEAD_ALL: u64 = 8_192;
/// Entries that one author may be ahead: enough to fill the pipe to anywhere.
pub(super) const AHEAD_MOST: u64 = 4_096;
/// What is left to each of very many: one batch is always on its way while the next is made.
const AHEAD_LEAST: u64 = 128;
/// The same in bytes.
const BYTES_ALL: u64 = 16 << 20;
const BYTES_MOST: u64 = 8 << 20;
const BYTES_LEAST: u64 = 256 << 10;
/// Whoever wrote within this time is counted.
const WRITES_FOR: Millis = Millis(1_000);
/// How often they are counted.
const COUNT_EVERY: Millis = Millis(100);

/// What one author may be ahead of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// Who writes at present.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    heard: BTreeMap<LogId, Mono>,
    count_at: Mono,
}

impl Flow {
    /// Somebody else's entries came.
    pub(super) fn on_heard(&mut self, log: &LogId, now: Mono) {
        match self.heard.get_mut(log) {
            Some(at) => *at = now,
            None => {
                self.heard.insert(*log, now);
            }
        }
    }

    /// What we may be ahead of a receiver: all who write share what it may have before it.
    pub(super) fn share(&mut self, now: Mono) -> Share {
        if now >= self.count_at {
            self.count_at = now.after(COUNT_EVERY);
            self.heard.retain(|_, at| now.since(*at) < WRITES_FOR);
        }
        let authors = u64::try_from(self.heard.len()).unwrap_or(u64::MAX).saturating_add(1);
        let part = |all: u64| all.checked_div(authors).unwrap_or(all);
        Share {
            entries: part(AHEAD_ALL).clamp(AHEAD_LEAST, AHEAD_MOST),
            bytes: part(BYTES_ALL).clamp(BYTES_LEAST, BYTES_MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, PeerId, RoomId};

    fn log(number: u8) -> LogId {
        let author = PeerId::of_rsa_spki(&[number, number]);
        LogId { room: RoomId::MAIN, author, incarnation: Incarnation(1) }
    }

    #[test]
    fn whoever_writes_alone_has_the_most_and_many_share() {
        let mut flow = Flow::default();
        assert_eq!(flow.share(Mono(10)).entries, AHEAD_MOST);
        (0..29).for_each(|number| flow.on_heard(&log(number), Mono(500)));
        let share = flow.share(Mono(600));
        assert!(share.entries * 30 <= AHEAD_ALL && share.entries >= AHEAD_LEAST);
        (0..200).for_each(|number| flow.on_heard(&log(number), Mono(700)));
        assert_eq!(flow.share(Mono(700)), Share { entries: AHEAD_LEAST, bytes: BYTES_LEAST });
    }

    #[test]
    fn who_has_fallen_silent_counts_no_more() {
        let mut flow = Flow::default();
        (0..29).for_each(|number| flow.on_heard(&log(number), Mono(500)));
        flow.on_heard(&log(1), Mono(1_400));
        assert_eq!(flow.share(Mono(1_500)).entries, AHEAD_MOST);
        assert_eq!(flow.heard.len(), 1);
    }
}
