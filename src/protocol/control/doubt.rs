//! A process that just started doubts its own database: it may be an older copy of itself, whose
//! promise and log lie behind what it once said.
//! Owns: the wait for the other voters before the first vote and the first acknowledgement.
//! Must not know: where a database comes from.
//! Invariants: while in doubt nobody is voted for, oneself included, and nothing is acknowledged
//! (6); doubt ends when every other voter was heard, or after two heartbeats.
//! Start reading at: [`Control::doubts`].
//!
//! What a voter said it said to a candidate or a leader: that one promised the same ballot and holds
//! the same entries. So it is enough to take over the promises and the logs of those that are
//! reached. Nobody need remember what we said, and nothing that we are told makes us less careful.
//! If none of them is reached, what was forgotten stays forgotten.

use std::collections::BTreeSet;

use super::{Control, Turn};
use crate::ids::PeerId;
use crate::time::{Mono, Now};
use crate::wire::control::{LogPage, Position, Voter};

/// Whom a new process heard about the time before it.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    until: Mono,
    heard: BTreeSet<PeerId>,
}

impl Control {
    /// Begins to doubt, unless there is nothing yet that could have been more.
    pub(super) fn begin_to_doubt(&mut self, now: Now) {
        // The checker's crashes lose nothing, and it has no time to wait.
        if self.log.last() != Position::ZERO && !self.setup.mistakes.timeless {
            let until = now.mono.after(self.setup.timers.heartbeat.times(2));
            self.doubt = Some(Doubt { until, heard: BTreeSet::new() });
        }
    }

    /// Doubt that has ended does not come back with other voters.
    pub(super) fn end_doubt(&mut self) {
        if !self.doubts() {
            self.doubt = None;
        }
    }

    /// Whether our promise and our log may lie behind what an earlier process of ours said.
    pub(super) fn doubts(&self) -> bool {
        let Some(doubt) = &self.doubt else { return false };
        let is_unheard =
            |voter: &Voter| voter.peer != self.me() && !doubt.heard.contains(&voter.peer);
        self.last_now.mono < doubt.until && self.voters().as_slice().iter().any(is_unheard)
    }

    /// A member or the witness tells what it promised and holds. Its log is pulled first, if it is
    /// ahead.
    pub(super) fn hear_out(&mut self, from: PeerId, page: &LogPage, turn: &mut Turn<'_>) {
        let belongs = self.is_member(&from) || self.voters().voter(&from).is_some();
        if !self.doubts() || !belongs {
            return;
        }
        if page.promised > self.promised && !page.promised.is_far_above(&self.promised) {
            self.promise(page.promised, turn);
        }
        if page.last <= self.log.last()
            && let Some(doubt) = self.doubt.as_mut()
        {
            doubt.heard.insert(from);
        }
    }
}
