//! Pre-vote, vote, promise: how somebody comes to lead, and stops.
//! Owns: whom we ask, what we grant, when a poll is won.
//! Must not know: what is in the log beyond its end and its voter sets.
//! Invariants: a grant leaves only with its promise among the writes of the same turn; a poll is
//! counted by the newest voter set of the candidate's own log.
//! Start reading at: [`Control::on_request`].

use std::collections::BTreeMap;

use super::{Control, Happened, Lead, Poll, Role, Turn};
use crate::identity::{Domain, Proofs};
use crate::ids::{DeviceKey, PeerId};
use crate::limits::RANK_LEN;
use crate::refusal::Refusal;
use crate::time::{Millis, Now};
use crate::wire::control::{
    Ballot, HandOver, Message, Payload, Position, Proof, VoteReply, VoteRequest, Voter, VoterSet,
    hand_over_bytes, request_bytes, vote_bytes,
};

impl Control {
    /// No leader was heard for a whole timeout.
    pub(super) fn time_out(&mut self, turn: &mut Turn<'_>) {
        self.role = Role::Follower;
        self.heard_at = None;
        self.set_leader(None, turn);
        self.rest(turn.now);
        if let Some(witness) = self.witness {
            self.want_log(witness.peer, turn);
        }
        if self.may_lead() {
            self.ask(turn);
        }
    }

    /// A voter may be a candidate; while parked any member may, and the witness never. In the
    /// night a new database of a member will do: if its only other one is lost, nobody else could
    /// order that it is known.
    fn may_lead(&self) -> bool {
        let is_named =
            self.voters().contains(&self.setup.me) && self.members.contains(&self.setup.me);
        self.setup.can_lead
            && !self.is_damaged
            && !self.doubts()
            && self.departure.is_none()
            && (is_named || self.voters().is_parked() && self.is_member(&self.me()))
    }

    /// Pre-vote: would a majority vote for us? Nothing is written.
    fn ask(&mut self, turn: &mut Turn<'_>) {
        let rank = self.draw_rank();
        let poll = self.poll(rank, None, Domain::PreVote, turn);
        let ballot = poll.ballot;
        self.role = Role::Asking(poll);
        let request = self.request(ballot, None, Domain::PreVote, turn);
        self.send_to_voters(&Message::PreVote(request), turn);
        self.tally(turn);
    }

    /// Asks for votes: our own promise is written, then the requests leave.
    fn campaign(
        &mut self,
        rank: [u32; RANK_LEN],
        hand_over: Option<HandOver>,
        turn: &mut Turn<'_>,
    ) {
        let poll = self.poll(rank, hand_over, Domain::Vote, turn);
        let ballot = poll.ballot;
        self.set_leader(None, turn);
        self.heard_at = None;
        self.promise(ballot, turn);
        self.role = Role::Candidate(poll);
        self.rest(turn.now);
        let request = self.request(ballot, hand_over, Domain::Vote, turn);
        self.send_to_voters(&Message::Vote(request), turn);
        self.tally(turn);
    }

    fn poll(
        &self,
        rank: [u32; RANK_LEN],
        hand_over: Option<HandOver>,
        domain: Domain,
        turn: &Turn<'_>,
    ) -> Poll {
        let known = self.promised.max(self.seen).max(self.log.last().ballot);
        let ballot = known.next(rank, self.me());
        let position = self.log.last();
        let mut granted = BTreeMap::new();
        if self.voters().contains(&self.setup.me) {
            let bytes = self.ballot_paper(&ballot, &self.setup.me.key, &position);
            granted.insert(self.me(), turn.proofs.sign(domain, &bytes));
        }
        Poll { ballot, position, granted, hand_over }
    }

    fn request(
        &self,
        ballot: Ballot,
        hand_over: Option<HandOver>,
        domain: Domain,
        turn: &Turn<'_>,
    ) -> VoteRequest {
        let last = self.log.last();
        let bytes = request_bytes(&self.setup.network, &ballot, &last);
        VoteRequest { ballot, last, signature: turn.proofs.sign(domain, &bytes), hand_over }
    }

    fn ballot_paper(&self, ballot: &Ballot, key: &DeviceKey, position: &Position) -> Vec<u8> {
        let who = (&self.me(), self.incarnation());
        vote_bytes(&self.setup.network, ballot, key, position, who)
    }

    fn send_to_voters(&self, message: &Message, turn: &mut Turn<'_>) {
        for voter in self.voters().as_slice() {
            if voter.peer != self.me() && self.is_linked(&voter.peer) {
                turn.send(voter.peer, message.clone());
            }
        }
    }

    /// Somebody asks for our vote, or whether we would give it.
    pub(super) fn on_request(
        &mut self,
        from: PeerId,
        request: &VoteRequest,
        is_real: bool,
        turn: &mut Turn<'_>,
    ) {
        let domain = if is_real { Domain::Vote } else { Domain::PreVote };
        let key = match self.check_request(from, request, domain, turn.proofs) {
            Ok(key) => key,
            Err(refusal) => return turn.refuse(from, refusal),
        };
        let is_high = self.at_least(&request.ballot, &self.promised);
        let is_complete = self.setup.mistakes.log_blind || self.is_as_complete(&request.last);
        let is_free = !self.hears_leader(turn.now) || self.is_wished(from, request, turn.proofs);
        let is_sure = !self.is_damaged && !self.doubts();
        let is_granted = is_high && is_complete && is_free && is_sure;
        if is_granted && is_real {
            if self.is_leader() {
                self.step_down("voted for another", turn);
            }
            self.role = Role::Follower;
            self.heard_at = None;
            self.set_leader(None, turn);
            self.promise(request.ballot, turn);
            self.rest(turn.now);
        }
        let reply = VoteReply {
            ballot: request.ballot,
            promised: self.promised,
            last: self.log.last(),
            incarnation: self.incarnation(),
            grant: is_granted.then(|| {
                let paper = self.ballot_paper(&request.ballot, &key, &request.last);
                turn.proofs.sign(domain, &paper)
            }),
        };
        let wrap = if is_real { Message::VoteReply } else { Message::PreVoteReply };
        turn.send(from, wrap(reply));
    }

    /// The candidate's key, if it may ask.
    fn check_request(
        &self,
        from: PeerId,
        request: &VoteRequest,
        domain: Domain,
        proofs: &dyn Proofs,
    ) -> Result<DeviceKey, Refusal> {
        if request.ballot.peer != Some(from) || request.last.ballot >= request.ballot {
            return Err(Refusal::FieldBad);
        }
        let is_witness = |voter: &Voter| voter.peer == from && voter.is_witness;
        if !self.is_known(&from) || self.voters().as_slice().iter().any(is_witness) {
            return Err(Refusal::NotAMember);
        }
        if request.ballot.is_far_above(&self.promised) {
            return Err(Refusal::BallotFar);
        }
        let bytes = request_bytes(&self.setup.network, &request.ballot, &request.last);
        let mut keys = self.keys_of(&from);
        let signer = keys.find(|key| proofs.verify(key, domain, &bytes, &request.signature));
        signer.ok_or(Refusal::SignatureBad)
    }

    /// The keys under which a peer may sign: those of its lives that the roster or the log name, and
    /// of a member that is linked in a life still to be known, the certified one.
    fn keys_of(&self, peer: &PeerId) -> impl Iterator<Item = DeviceKey> {
        let peer = *peer;
        let sets = [self.voters().voter(&peer), self.log.voters_before().voter(&peer)];
        let members = self.members.iter().filter(move |member| member.peer == peer);
        let is_member = self.is_member(&peer);
        let certified = self.certified.iter().filter(move |it| is_member && it.peer == peer);
        members.chain(certified).chain(sets.into_iter().flatten()).map(|voter| voter.key)
    }

    /// Whether a candidate's log is at least as up to date as ours.
    fn is_as_complete(&self, last: &Position) -> bool {
        let own = self.log.last();
        if self.setup.mistakes.term_only {
            return (last.ballot.term, last.index) >= (own.ballot.term, own.index);
        }
        *last >= own
    }

    /// Whole ballots, everywhere.
    pub(super) fn at_least(&self, ballot: &Ballot, bound: &Ballot) -> bool {
        if self.setup.mistakes.term_only { ballot.term >= bound.term } else { ballot >= bound }
    }

    /// Whether we have a leader that works: then nobody needs another.
    fn hears_leader(&self, now: Now) -> bool {
        match &self.role {
            _ if self.setup.mistakes.timeless => false,
            Role::Leader(_) => self.has_quorum(now),
            _ => {
                let is_fresh = |at| now.mono.since(at) < self.setup.timers.election_min;
                self.leader.is_some() && self.heard_at.is_some_and(is_fresh)
            }
        }
    }

    /// Whether the leader that we follow chose this candidate itself.
    fn is_wished(&self, from: PeerId, request: &VoteRequest, proofs: &dyn Proofs) -> bool {
        let (Some(wish), Some((leader, ballot))) = (&request.hand_over, self.leader) else {
            return false;
        };
        wish.to == from && wish.ballot == ballot && self.is_signed_wish(leader, wish, proofs)
    }

    fn is_signed_wish(&self, leader: PeerId, wish: &HandOver, proofs: &dyn Proofs) -> bool {
        let bytes = hand_over_bytes(&self.setup.network, &wish.ballot, &wish.to);
        self.keys_of(&leader)
            .any(|key| proofs.verify(&key, Domain::HandOver, &bytes, &wish.signature))
    }

    /// Our leader leaves and chose us: no pre-vote, no waiting.
    pub(super) fn on_hand_over(&mut self, from: PeerId, wish: HandOver, turn: &mut Turn<'_>) {
        if self.leader != Some((from, wish.ballot)) || wish.to != self.me() || self.is_leader() {
            return turn.refuse(from, Refusal::FrameUnexpected);
        }
        if !self.is_signed_wish(from, &wish, turn.proofs) {
            return turn.refuse(from, Refusal::SignatureBad);
        }
        if self.may_lead() {
            let rank = self.draw_rank();
            self.campaign(rank, Some(wish), turn);
        }
    }

    /// An answer to our poll.
    pub(super) fn on_vote(
        &mut self,
        from: PeerId,
        reply: &VoteReply,
        is_real: bool,
        turn: &mut Turn<'_>,
    ) {
        let (poll, domain) = match &self.role {
            Role::Asking(poll) if !is_real => (poll, Domain::PreVote),
            Role::Candidate(poll) if is_real => (poll, Domain::Vote),
            _ => return,
        };
        if poll.ballot != reply.ballot {
            return;
        }
        let Some(voter) = self.voters().voter(&from).copied() else {
            return turn.refuse(from, Refusal::NotAVoter);
        };
        let Some(signature) = reply.grant else {
            return self.on_no(from, reply, turn);
        };
        let blind = self.setup.mistakes.incarnation_blind;
        if voter.incarnation != reply.incarnation && !blind {
            return turn.refuse(from, Refusal::NotAVoter);
        }
        let (network, key) = (&self.setup.network, &self.setup.me.key);
        let who = (&from, reply.incarnation);
        let paper = vote_bytes(network, &poll.ballot, key, &poll.position, who);
        if !blind && !turn.proofs.verify(&voter.key, domain, &paper, &signature) {
            return turn.refuse(from, Refusal::SignatureBad);
        }
        if let Role::Asking(poll) | Role::Candidate(poll) = &mut self.role {
            poll.granted.insert(from, signature);
        }
        self.tally(turn);
    }

    fn on_no(&mut self, from: PeerId, reply: &VoteReply, turn: &mut Turn<'_>) {
        let (Role::Asking(poll) | Role::Candidate(poll)) = &self.role else { return };
        let is_outbid = reply.promised > poll.ballot;
        if is_outbid && !reply.promised.is_far_above(&self.promised) {
            self.seen = self.seen.max(reply.promised);
            if matches!(self.role, Role::Asking(_)) {
                // Only our ballot was too low: ask again with a higher one, soon.
                self.expect_election(turn);
            }
            self.role = Role::Follower;
        }
        if reply.last > self.log.last() {
            self.want_log(from, turn);
        }
    }

    /// Moves the next pre-vote forward to within a heartbeat.
    pub(super) fn expect_election(&mut self, turn: &Turn<'_>) {
        let heartbeat = self.setup.timers.heartbeat;
        let wait = self.draw(Millis(heartbeat.0 / 8), heartbeat);
        self.election_at = self.election_at.min(turn.now.mono.after(wait));
    }

    fn tally(&mut self, turn: &mut Turn<'_>) {
        let (Role::Asking(poll) | Role::Candidate(poll)) = &self.role else { return };
        if !self.is_majority(self.voters(), |voter| poll.granted.contains_key(&voter.peer)) {
            return;
        }
        let is_real = matches!(self.role, Role::Candidate(_));
        match std::mem::replace(&mut self.role, Role::Follower) {
            Role::Candidate(poll) if is_real => self.become_leader(poll, turn),
            Role::Asking(poll) => self.campaign(poll.ballot.rank, poll.hand_over, turn),
            _ => {}
        }
    }

    /// Whether the voters that `says_yes` make a majority of the set.
    pub(super) fn is_majority(&self, set: &VoterSet, says_yes: impl Fn(&Voter) -> bool) -> bool {
        let yes = |voter: &&Voter| says_yes(voter);
        if self.setup.mistakes.tie_break_witness {
            let (witness, members): (Vec<&Voter>, Vec<&Voter>) =
                set.as_slice().iter().partition(|voter| voter.is_witness);
            let count = members.iter().copied().filter(yes).count();
            let is_tie = count * 2 == members.len();
            return count * 2 > members.len() || (is_tie && witness.into_iter().any(says_yes));
        }
        set.as_slice().iter().filter(yes).count() >= set.majority()
    }

    fn become_leader(&mut self, poll: Poll, turn: &mut Turn<'_>) {
        let proof = Proof {
            voters: self.voters().clone(),
            position: poll.position,
            votes: poll.granted.into_iter().collect(),
            key: self.setup.me.key,
        };
        let now = turn.now.mono;
        self.role = Role::Leader(Box::new(Lead {
            ballot: poll.ballot,
            proof,
            since: now,
            beat_at: now.after(self.setup.timers.heartbeat),
            own: poll.position.index.next(),
            peers: BTreeMap::new(),
            presence: Vec::new(),
        }));
        self.wanted.clear();
        turn.tell(Happened::Elected);
        self.set_leader(Some((self.me(), poll.ballot)), turn);
        if !self.setup.mistakes.no_own_entry {
            self.append(Payload::Empty, turn);
        }
        self.replicate_all(turn);
        self.review_presence(turn);
        self.advance(turn);
    }

    /// Leads no longer. What was proposed here and is not committed has an unknown fate.
    pub(super) fn step_down(&mut self, why: &'static str, turn: &mut Turn<'_>) {
        self.role = Role::Follower;
        self.heard_at = None;
        turn.tell(Happened::Deposed { why });
        self.set_leader(None, turn);
        for id in std::mem::take(&mut self.asked) {
            turn.tell(Happened::NotOrdered { id, refusal: Refusal::NotLeader });
        }
        self.rest(turn.now);
    }

    /// Promises a ballot. On disk before anything of this turn is sent.
    pub(super) fn promise(&mut self, ballot: Ballot, turn: &mut Turn<'_>) {
        if ballot == self.promised || (ballot < self.promised && !self.setup.mistakes.term_only) {
            return;
        }
        self.promised = ballot;
        let write = self.setting("promise", ballot.encode());
        if self.setup.mistakes.grant_before_write {
            self.late.push(write);
        } else if !self.setup.mistakes.forgotten_promise {
            turn.out.writes.push(write);
        }
    }

    /// Asks for votes at once with a given rank: for the model checker, which has no time.
    #[doc(hidden)]
    pub fn campaign_now(
        &mut self,
        rank: [u32; RANK_LEN],
        now: Now,
        proofs: &dyn Proofs,
    ) -> super::Output {
        let mut turn = Turn::new(now, proofs);
        turn.out.writes.append(&mut self.late);
        if self.may_lead() && !self.is_leader() {
            self.campaign(rank, None, &mut turn);
        }
        turn.out
    }
}
