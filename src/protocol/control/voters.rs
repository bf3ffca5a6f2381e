//! Which voters there should be, and the next single step towards them.
//! Owns: the table by number of live members, the order of the steps, check-quorum.
//! Must not know: how entries reach the others.
//! Invariants: one voter per entry, the change before committed first, an own entry committed
//! first; no step to a set whose live voters could not commit.
//! Start reading at: [`Control::change_voters`].
//!
//! | live members | voters          |                                                      |
//! |--------------|-----------------|------------------------------------------------------|
//! | 1            | W               | parked: the member leads without a vote              |
//! | 2            | A B W           | either member may die                                |
//! | 3            | A B C           | any one may die                                      |
//! | 4            | A B C D W       | any two may die                                      |
//! | 5 and more   | any five        | any two may die                                      |
//!
//! Without a linked witness: the members alone.

use super::{Control, Role, Turn};
use crate::ids::PeerId;
use crate::limits::VOTERS_MAX;
use crate::time::{Millis, Mono, Now};
use crate::wire::control::{Payload, Voter, VoterSet};

impl Control {
    /// As leader: one step towards the voters there should be, if one may be made.
    pub(super) fn change_voters(&mut self, turn: &mut Turn<'_>) {
        if self.setup.mistakes.timeless || !self.may_change_voters() {
            return;
        }
        if let Some(next) = self.next_voters(turn.now.mono) {
            self.set_voters(next, turn);
        }
    }

    fn may_change_voters(&self) -> bool {
        let Role::Leader(lead) = &self.role else { return false };
        let mistakes = self.setup.mistakes;
        let (changed_at, _) = self.log.voters();
        (self.log.commit() >= lead.own || mistakes.no_own_entry)
            && (self.log.commit() >= changed_at || mistakes.two_voters_per_entry)
    }

    fn set_voters(&mut self, next: VoterSet, turn: &mut Turn<'_>) {
        self.append(Payload::Voters(next), turn);
        self.replicate_all(turn);
        self.advance(turn);
    }

    /// Orders a voter set, if the rules allow it now: for the model checker.
    #[doc(hidden)]
    pub fn change_voters_now(
        &mut self,
        next: VoterSet,
        now: Now,
        proofs: &dyn crate::identity::Proofs,
    ) -> super::Output {
        let mut turn = Turn::new(now, proofs);
        turn.out.writes.append(&mut self.late);
        let steps = if self.setup.mistakes.two_voters_per_entry { 2 } else { 1 };
        if self.may_change_voters() && (1..=steps).contains(&self.voters().distance(&next)) {
            self.set_voters(next, &mut turn);
        }
        turn.out
    }

    /// The next set: first somebody new, so that the set never gets weaker than it must; then out
    /// with the dead; and out with the living only when everybody wanted is in.
    fn next_voters(&self, now: Mono) -> Option<VoterSet> {
        let set = self.voters();
        let wanted = self.wanted_voters(now);
        let missing: Vec<&Voter> = wanted.iter().filter(|voter| !set.contains(voter)).collect();
        // Room for five, and for a sixth only until another goes.
        let may_grow = set.as_slice().len() <= VOTERS_MAX;
        let complete = missing.iter().filter(|voter| may_grow && self.is_caught_up(voter));
        let mut grown = complete.filter_map(|voter| set.with(**voter));
        if let Some(next) = grown.find(|next| self.can_commit(next, now)) {
            return Some(next);
        }
        let is_whole = missing.is_empty();
        let mut surplus: Vec<(bool, &Voter)> = set
            .as_slice()
            .iter()
            .filter(|voter| !wanted.contains(voter))
            .map(|voter| (self.is_alive(voter, now), voter))
            .filter(|(is_alive, _)| is_whole || !is_alive)
            .collect();
        surplus.sort_by_key(|(is_alive, voter)| (*is_alive, voter.peer == self.me()));
        surplus.into_iter().find_map(|(_, voter)| self.without(voter, now))
    }

    /// Whether it holds everything committed, so that its vote is a help at once.
    fn is_caught_up(&self, voter: &Voter) -> bool {
        let Role::Leader(lead) = &self.role else { return false };
        let matched = lead.peers.get(&voter.peer).map(|progress| progress.matched);
        voter.peer == self.me() || matched.is_some_and(|matched| matched >= self.log.commit())
    }

    fn without(&self, voter: &Voter, now: Mono) -> Option<VoterSet> {
        let next = self.voters().without(&voter.peer)?;
        // A leader gives up its own vote only for the night.
        let may_go = voter.peer != self.me() || next.is_parked();
        (may_go && self.can_commit(&next, now)).then_some(next)
    }

    /// Whether a majority of the set answers now.
    fn can_commit(&self, set: &VoterSet, now: Mono) -> bool {
        let patience = self.setup.timers.election_max;
        // Who was heard a moment ago and has no link any more will not answer the next entry.
        let is_here = |voter: &Voter| voter.peer == self.me() || self.is_linked(&voter.peer);
        self.is_majority(set, |voter| is_here(voter) && self.answers(voter, now, patience))
    }

    fn answers(&self, voter: &Voter, now: Mono, patience: Millis) -> bool {
        if voter.peer == self.me() {
            return *voter == self.setup.me;
        }
        let Role::Leader(lead) = &self.role else { return false };
        lead.peers.get(&voter.peer).is_some_and(|progress| {
            progress.incarnation == Some(voter.incarnation)
                && progress.heard_at.is_some_and(|at| now.since(at) <= patience)
        })
    }

    /// By the table: members first, those that vote already before others.
    fn wanted_voters(&self, now: Mono) -> Vec<Voter> {
        let mut live: Vec<Voter> =
            self.members.iter().copied().filter(|member| self.is_fit(member, now)).collect();
        // Stable: among equals the order of admission stays.
        live.sort_by_key(|member| (member.peer != self.me(), !self.voters().contains(member)));
        live.truncate(VOTERS_MAX);
        let named = self.voters().as_slice().iter().copied().find(|voter| voter.is_witness);
        let witness = self.witness.or(named).filter(|witness| self.is_fit(witness, now));
        match (live.len(), witness) {
            (0 | 1, Some(witness)) => vec![witness],
            (2 | 4, Some(witness)) => live.into_iter().chain([witness]).collect(),
            _ => live,
        }
    }

    /// Whether somebody may hold a vote: a voter keeps it until it is silent for long; another gets
    /// one when it answers and has not just come back.
    fn is_fit(&self, voter: &Voter, now: Mono) -> bool {
        if voter.peer == self.me() {
            return *voter == self.setup.me;
        }
        if self.voters().contains(voter) {
            return self.is_alive(voter, now);
        }
        let timers = self.setup.timers;
        let Role::Leader(lead) = &self.role else { return false };
        let Some(progress) = lead.peers.get(&voter.peer) else { return false };
        let is_steady = !progress.was_away
            || progress.alive_since.is_some_and(|at| now.since(at) >= timers.away_after);
        self.is_linked(&voter.peer)
            && !self.left.contains(&voter.peer)
            && self.answers(voter, now, timers.election_max)
            && is_steady
    }

    /// Whether a voter still counts as there: neither gone by its own word nor silent for long.
    fn is_alive(&self, voter: &Voter, now: Mono) -> bool {
        let Role::Leader(lead) = &self.role else { return false };
        if voter.peer == self.me() {
            return true;
        }
        if self.left.contains(&voter.peer) {
            return false;
        }
        let is_other = |known: &Voter| known.peer == voter.peer && known != voter;
        if self.members.iter().any(is_other) || self.witness.iter().any(is_other) {
            return false;
        }
        if !voter.is_witness && !self.is_member(&voter.peer) {
            return false;
        }
        let timers = self.setup.timers;
        // Whoever leaves cannot wait for long to learn who is there.
        let is_leaving = self.departure.is_some();
        let patience = if is_leaving { timers.election_max } else { timers.away_after };
        let heard = lead.peers.get(&voter.peer).and_then(|progress| progress.heard_at);
        now.since(heard.unwrap_or(lead.since)) < patience
    }

    /// The leader's heartbeat: lead on only while a majority answers.
    pub(super) fn beat(&mut self, turn: &mut Turn<'_>) {
        if !self.has_quorum(turn.now) {
            return self.step_down("no majority answers", turn);
        }
        if let Role::Leader(lead) = &mut self.role {
            lead.beat_at = turn.now.mono.after(self.setup.timers.heartbeat);
        }
        self.change_voters(turn);
        self.replicate_all(turn);
        self.review_presence(turn);
    }

    /// As leader: whether a majority acknowledged us within one election timeout. Otherwise:
    /// whether we hear a leader.
    pub fn has_quorum(&self, now: Now) -> bool {
        let patience = self.setup.timers.election_max;
        let Role::Leader(lead) = &self.role else {
            let is_fresh = |at| now.mono.since(at) <= patience;
            return self.leader.is_some() && self.heard_at.is_some_and(is_fresh);
        };
        let is_new = now.mono.since(lead.since) <= patience;
        is_new || self.can_commit(self.voters(), now.mono)
    }

    /// The voters that are not heard: why membership is frozen, if it is.
    pub fn missing_voters(&self, now: Now) -> Vec<PeerId> {
        let patience = self.setup.timers.election_max;
        let is_missing = |voter: &&Voter| {
            if voter.peer == self.me() {
                return **voter != self.setup.me;
            }
            match &self.role {
                Role::Leader(_) => !self.answers(voter, now.mono, patience),
                _ => !self.is_linked(&voter.peer),
            }
        };
        self.voters().as_slice().iter().filter(is_missing).map(|voter| voter.peer).collect()
    }
}
