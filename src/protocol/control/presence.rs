//! Who is reachable, as the leader sees it. Heartbeat state, never in the log.
//! Owns: `active`, `away` and `left` of every member.
//! Must not know: names, addresses.
//! Invariants: a member that said goodbye stays `left` until its link is up again.
//! Start reading at: [`Control::presence`].

use super::{Control, Happened, Role, Turn};
use crate::ids::PeerId;
use crate::protocol::MemberState;
use crate::time::Now;

impl Control {
    /// Where every member stands, in order of admission. Only the leader knows.
    pub fn presence(&self, now: Now) -> Vec<(PeerId, MemberState)> {
        let Role::Leader(lead) = &self.role else { return Vec::new() };
        let away_after = self.setup.timers.away_after;
        let state = |peer: &PeerId| {
            let heard = lead.peers.get(peer).and_then(|progress| progress.heard_at);
            if *peer == self.me() {
                MemberState::Active
            } else if self.left.contains(peer) {
                MemberState::Left
            } else if heard.is_some_and(|at| now.mono.since(at) < away_after) {
                MemberState::Active
            } else if heard.is_none() && self.is_linked(peer) {
                // A new leader believes a link until it has had time to hear.
                let is_new = now.mono.since(lead.since) < away_after;
                if is_new { MemberState::Active } else { MemberState::Away }
            } else {
                MemberState::Away
            }
        };
        self.members.iter().map(|member| (member.peer, state(&member.peer))).collect()
    }

    /// Tells if presence changed since the last time; also notes who was away, so that somebody who
    /// comes and goes is not given a vote each time.
    pub(super) fn review_presence(&mut self, turn: &mut Turn<'_>) {
        let presence = self.presence(turn.now);
        let away_after = self.setup.timers.away_after;
        let Role::Leader(lead) = &mut self.role else { return };
        for progress in lead.peers.values_mut() {
            let silence = progress.heard_at.map(|at| turn.now.mono.since(at));
            if silence.is_some_and(|silence| silence >= away_after) {
                progress.was_away = true;
            }
        }
        if lead.presence != presence {
            lead.presence = presence;
            turn.tell(Happened::PresenceChanged);
        }
    }

    /// A peer says that it leaves: as leader we replace its vote without waiting.
    pub(super) fn on_left(&mut self, peer: PeerId, turn: &mut Turn<'_>) {
        if peer == self.me() || !self.is_known(&peer) {
            return;
        }
        self.left.insert(peer);
        if self.is_leader() {
            self.review_presence(turn);
            self.change_voters(turn);
        }
    }
}
