//! What the roster says of a room's leaves and commits at one place of the control log.
//! Owns: who may hold a leaf, and who may change what.
//! Must not know: MLS, ballots, links.
//! Invariants: a verdict depends on the control log up to its place and on nothing else, so that all
//! come to the same, whenever they judge.
//! Start reading at: [`Standing`].

use super::keys::{Change, Judge, Leaf};
use super::state::State;
use crate::ids::Index;
use crate::protocol::roster::{Member, Roster};

/// Roster and room as they stood when an entry was applied.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The roster, at this place or later.
    pub roster: &'a Roster,
    /// The room, at this place.
    pub state: &'a State,
    /// The place.
    pub at: Index,
}

impl Standing<'_> {
    fn holder(&self, leaf: &Leaf) -> Option<&Member> {
        let member = self.roster.member(&leaf.peer)?;
        member.was_bound(&leaf.device, self.at).then_some(member)
    }
}

impl Judge for Standing<'_> {
    fn is_bound(&self, leaf: &Leaf) -> bool {
        self.holder(leaf).is_some()
    }

    fn may_hold(&self, leaf: &Leaf) -> bool {
        self.holder(leaf).is_some_and(|member| member.was_in(self.at))
            && self.state.has_seat(&leaf.peer)
    }

    /// Everybody may bring everybody in, and take out who is out, or whose leaf may be that of a
    /// database which is gone.
    fn may_change(&self, change: &Change) -> bool {
        let is_stale = |member: &Member| {
            let keys = member.bound.values().filter(|since| **since <= self.at).count();
            !member.was_in(self.at) || !self.state.has_seat(&member.peer) || keys > 1
        };
        change.is_external
            || change.removed.iter().all(|peer| self.roster.member(peer).is_none_or(is_stale))
    }
}
