//! Leaving cleanly: hand over what we lead, give back our vote, then go.
//! Owns: the order of these steps and the time they may take.
//! Must not know: why the process ends.
//! Invariants: `MayExit` comes once, at the latest [`LEAVE_TIME`] after `Leave`.
//! Start reading at: [`Control::depart`].

use super::{Control, Happened, Role, Turn};
use crate::identity::Domain;
use crate::ids::PeerId;
use crate::time::{Millis, Mono};
use crate::wire::control::{Ballot, HandOver, Message, hand_over_bytes};

/// A person waits for the process to end.
const LEAVE_TIME: Millis = Millis(2_000);

/// How far we are with leaving.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    until: Mono,
    /// The leader that we asked to take our vote.
    told: Option<Ballot>,
    /// When we handed over last.
    handed_at: Option<Mono>,
    is_over: bool,
}

impl Departure {
    pub(super) fn deadline(&self, next: Mono) -> Mono {
        if self.is_over { next } else { next.min(self.until) }
    }
}

impl Control {
    /// We exit; the witness keeps its vote, since it comes back with the same log.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>) {
        if self.departure.is_some() {
            return;
        }
        let until = turn.now.mono.after(LEAVE_TIME);
        self.departure =
            Some(Departure { until, told: None, handed_at: None, is_over: !self.setup.can_lead });
        if self.setup.can_lead {
            self.role = match std::mem::replace(&mut self.role, Role::Follower) {
                Role::Leader(lead) => Role::Leader(lead),
                _ => Role::Follower,
            };
        } else {
            turn.tell(Happened::MayExit);
        }
    }

    /// The next step of leaving, looked at after every input.
    pub(super) fn depart(&mut self, turn: &mut Turn<'_>) {
        let Some(departure) = &self.departure else { return };
        if departure.is_over {
            return;
        }
        let is_late = turn.now.mono >= departure.until;
        let is_done = is_late
            || match &self.role {
                Role::Leader(_) => self.depart_as_leader(turn),
                _ => self.depart_as_follower(turn),
            };
        if is_done {
            if let Some(departure) = &mut self.departure {
                departure.is_over = true;
            }
            turn.tell(Happened::MayExit);
        }
    }

    /// Everything committed, then the most up-to-date voter is told to take over. With nobody else
    /// there, the voters become the witness alone.
    fn depart_as_leader(&mut self, turn: &mut Turn<'_>) -> bool {
        let (changed_at, set) = self.log.voters();
        let is_settled = self.log.commit() == self.log.last().index;
        let Some(successor) = self.successor(turn.now.mono) else {
            let is_parked = set.is_parked() && self.log.commit() >= changed_at;
            let has_witness = self.witness.is_some() || !set.contains(&self.setup.me);
            self.change_voters(turn);
            return is_parked && is_settled || !has_witness;
        };
        let patience = self.setup.timers.election_min;
        let Some(departure) = &mut self.departure else { return true };
        let is_waiting = departure.handed_at.is_some_and(|at| turn.now.mono.since(at) < patience);
        if is_settled && !is_waiting {
            departure.handed_at = Some(turn.now.mono);
            self.hand_over(successor, turn);
        }
        false
    }

    fn hand_over(&self, to: PeerId, turn: &mut Turn<'_>) {
        let Role::Leader(lead) = &self.role else { return };
        let bytes = hand_over_bytes(&self.setup.network, &lead.ballot, &to);
        let signature = turn.proofs.sign(Domain::HandOver, &bytes);
        turn.send(to, Message::HandOver(HandOver { ballot: lead.ballot, to, signature }));
    }

    /// The live member that may lead and holds the most.
    fn successor(&self, now: Mono) -> Option<PeerId> {
        let Role::Leader(lead) = &self.role else { return None };
        let patience = self.setup.timers.election_max;
        let is_parked = self.voters().is_parked();
        let may_follow = |peer: &PeerId| {
            let answers = lead.peers.get(peer).and_then(|p| p.heard_at);
            *peer != self.me()
                && self.is_linked(peer)
                && !self.left.contains(peer)
                && answers.is_some_and(|at| now.since(at) <= patience)
        };
        self.members
            .iter()
            .filter(|member| is_parked || self.voters().contains(member))
            .map(|member| member.peer)
            .filter(may_follow)
            .max_by_key(|peer| lead.peers.get(peer).map(|progress| progress.matched))
    }

    /// The leader takes our vote away; we wait for the entry that says so.
    fn depart_as_follower(&mut self, turn: &mut Turn<'_>) -> bool {
        let (changed_at, set) = self.log.voters();
        let is_out = !set.contains(&self.setup.me) && self.log.commit() >= changed_at;
        let is_alone = set.as_slice().iter().all(|voter| !self.is_linked(&voter.peer));
        if is_out || (is_alone && self.leader.is_none()) {
            return true;
        }
        let Some((leader, ballot)) = self.leader else { return false };
        if let Some(departure) = &mut self.departure
            && departure.told != Some(ballot)
        {
            departure.told = Some(ballot);
            turn.send(leader, Message::Leaving);
        }
        false
    }
}
