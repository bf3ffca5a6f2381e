//! Who leads, and what is ordered: Raft with whole ballots, a witness and a parked night.
//! Owns: ballots, promises, the control log, the voter set, presence as the leader sees it.
//! Must not know: what an intent says (`roster`), rooms, names, addresses.
//! Invariants: one_leader_per_ballot, promise_never_decreases, committed_in_later_leaders,
//! equal_position_equal_log, one_voter_per_entry, unnamed_never_counts (tests/checker).
//! Start reading at: [`Control::handle`].
//!
//! ```text
//!            nobody heard, may lead            a majority would           a majority does
//!  Follower ───────────────────────► Asking ───────────────────► Candidate ──────────────► Leader
//!     ▲        pre-vote, unwritten               promise written             own empty entry │
//!     └──────── a higher ballot, a leader, no majority in time, a long sleep ────────────────┘
//! ```

mod ballot;
mod chain;
mod contract;
mod doubt;
mod election;
mod leave;
mod log;
mod presence;
mod replication;
mod statement;
mod voters;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::identity::Proofs;
use crate::ids::{Incarnation, Index, IntentId, PeerId, Signature};
use crate::limits::RANK_LEN;
use crate::protocol::{MemberState, Reads, Write};
use crate::refusal::Refusal;
use crate::time::{Millis, Mono, Now};

use doubt::Doubt;
use leave::Departure;
use log::Log;
use replication::Progress;

pub use chain::{Chain, contradict, keep, sign};
pub use contract::{Base, Happened, Input, Mistakes, Output, Setup};

pub use crate::wire::control::{
    Append, AppendReply, Ballot, Entry, HandOver, LogPage, LogWant, Message, Payload, Position,
    Proof, Statement, Verdict, VoteReply, VoteRequest, Voter, VoterSet,
};

/// The control core of one network. Everything in it but the links and the timers is on disk.
#[derive(Clone, Debug)]
pub struct Control {
    setup: Setup,
    rng: ChaCha8Rng,
    promised: Ballot,
    /// The highest ballot met in answers; only raises the term of our next candidacy.
    seen: Ballot,
    log: Log,
    /// The store held something unreadable: follow, but never count.
    is_damaged: bool,
    role: Role,
    /// Whom we follow, ourselves included.
    leader: Option<(PeerId, Ballot)>,
    heard_at: Option<Mono>,
    election_at: Mono,
    last_now: Now,
    members: Vec<Voter>,
    certified: Vec<Voter>,
    witness: Option<Voter>,
    links: BTreeSet<PeerId>,
    left: BTreeSet<PeerId>,
    asked: BTreeSet<IntentId>,
    /// Whom we asked for its log.
    wanted: BTreeSet<PeerId>,
    departure: Option<Departure>,
    doubt: Option<Doubt>,
    /// When the log is compared with another's next, and with whose it was.
    compare_at: Mono,
    compared: Option<PeerId>,
    /// Ballots whose leader is known to have contradicted itself.
    contradicted: BTreeSet<Ballot>,
    /// The last whose log contradicts what is committed here.
    rejected: Option<Ballot>,
    /// Only with [`Mistakes::grant_before_write`].
    late: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Role {
    Follower,
    /// Pre-vote under way.
    Asking(Poll),
    Candidate(Poll),
    Leader(Box<Lead>),
}

#[derive(Clone, Debug)]
struct Poll {
    ballot: Ballot,
    position: Position,
    granted: BTreeMap<PeerId, Signature>,
    hand_over: Option<HandOver>,
}

#[derive(Clone, Debug)]
struct Lead {
    ballot: Ballot,
    proof: Proof,
    since: Mono,
    beat_at: Mono,
    /// Where the first entry of our own ballot stands.
    own: Index,
    peers: BTreeMap<PeerId, Progress>,
    presence: Vec<(PeerId, MemberState)>,
}

/// One call of `handle`: when, with which keys, and what came of it so far.
struct Turn<'a> {
    now: Now,
    proofs: &'a dyn Proofs,
    out: Output,
}

impl<'a> Turn<'a> {
    fn new(now: Now, proofs: &'a dyn Proofs) -> Self {
        Self { now, proofs, out: Output::default() }
    }

    fn send(&mut self, to: PeerId, message: Message) {
        self.out.sends.push((to, message));
    }

    fn tell(&mut self, happened: Happened) {
        self.out.happened.push(happened);
    }

    fn refuse(&mut self, from: PeerId, refusal: Refusal) {
        self.tell(Happened::Refused { from, refusal });
    }
}

impl Control {
    /// The core as its disk left it.
    pub fn load(setup: Setup, reads: &dyn Reads, now: Now) -> Self {
        let mut log = Log::new(setup.base.voters.clone());
        let mut is_damaged = false;
        loop {
            let rows = reads.control(&setup.space, log.last().index.next(), LOAD_PAGE);
            for row in &rows {
                match Entry::decode(row) {
                    Ok(entry)
                        if Log::is_run(log.last(), std::slice::from_ref(&entry))
                            && log.digest(log.last().index) == Some(entry.previous) =>
                    {
                        log.push(entry);
                    }
                    _ => is_damaged = true,
                }
            }
            if rows.len() < LOAD_PAGE || is_damaged {
                break;
            }
        }
        let stored = |name: &str| reads.setting(&format!("control/{}/{name}", setup.space));
        let promised = match stored("promise").map(|bytes| Ballot::decode(&bytes)) {
            Some(Ok(ballot)) => ballot,
            Some(Err(_)) => {
                is_damaged = true;
                Ballot::ZERO
            }
            None => Ballot::ZERO,
        };
        let commit = stored("commit").and_then(|bytes| bytes.as_ref().try_into().ok());
        log.commit_to(Index(commit.map(u64::from_be_bytes).unwrap_or_default()));
        let mut control = Self {
            rng: ChaCha8Rng::from_seed(setup.seed),
            // An entry of a ballot is accepted only together with its promise.
            promised: if setup.mistakes.forgotten_promise {
                promised
            } else {
                promised.max(log.last().ballot)
            },
            seen: Ballot::ZERO,
            log,
            is_damaged,
            role: Role::Follower,
            leader: None,
            heard_at: None,
            election_at: now.mono,
            last_now: now,
            members: Vec::new(),
            certified: Vec::new(),
            witness: None,
            links: BTreeSet::new(),
            left: BTreeSet::new(),
            asked: BTreeSet::new(),
            wanted: BTreeSet::new(),
            departure: None,
            doubt: None,
            compare_at: now.mono.after(setup.timers.heartbeat),
            compared: None,
            contradicted: BTreeSet::new(),
            rejected: None,
            late: Vec::new(),
            setup,
        };
        control.rest(now);
        control.begin_to_doubt(now);
        control
    }

    /// Takes one input and says what must happen. Never blocks and never fails.
    pub fn handle(&mut self, input: Input, now: Now, proofs: &dyn Proofs) -> Output {
        let mut turn = Turn::new(now, proofs);
        turn.out.writes.append(&mut self.late);
        if matches!(input, Input::Started) {
            self.rest(now);
        } else if self.slept(now) {
            self.wake_up(&mut turn);
        }
        self.last_now = now;
        self.end_doubt();
        match input {
            Input::Started | Input::Woke => {}
            Input::Message { from, message } => self.on_message(from, message, &mut turn),
            Input::LinkUp { peer } => self.on_link_up(peer, &mut turn),
            Input::LinkDown { peer } => self.on_link_down(peer, &mut turn),
            Input::Members(members) => self.on_members(members, &mut turn),
            Input::Certified(certified) => self.certified = certified,
            Input::Witness(witness) => self.on_witness(witness, &mut turn),
            Input::Propose { id, bytes } => self.propose(id, bytes, &mut turn),
            Input::Left { peer } => self.on_left(peer, &mut turn),
            Input::Leave => self.leave(&mut turn),
        }
        self.tick(&mut turn);
        self.depart(&mut turn);
        turn.out.wake_at = Some(self.deadline());
        turn.out
    }

    fn on_message(&mut self, from: PeerId, message: Message, turn: &mut Turn<'_>) {
        match message {
            Message::PreVote(request) => self.on_request(from, &request, false, turn),
            Message::PreVoteReply(reply) => self.on_vote(from, &reply, false, turn),
            Message::Vote(request) => self.on_request(from, &request, true, turn),
            Message::VoteReply(reply) => self.on_vote(from, &reply, true, turn),
            Message::Append(append) => self.on_append(from, append, turn),
            Message::AppendReply(reply) => self.on_append_reply(from, &reply, turn),
            Message::HandOver(hand_over) => self.on_hand_over(from, hand_over, turn),
            Message::Leaving => self.on_left(from, turn),
            Message::LogWant(want) => self.on_log_want(from, &want, turn),
            Message::LogPage(page) => self.on_log_page(from, page, turn),
        }
    }

    fn on_link_up(&mut self, peer: PeerId, turn: &mut Turn<'_>) {
        self.links.insert(peer);
        self.left.remove(&peer);
        if let Role::Leader(lead) = &mut self.role {
            if let Some(progress) = lead.peers.get_mut(&peer) {
                progress.forget_flight();
            }
            if self.is_target(&peer) {
                self.replicate(peer, turn);
            }
            self.review_presence(turn);
        } else if self.leader.is_none() || self.doubts() {
            // Whoever comes back after the night first asks what happened; the witness knows.
            self.want_log(peer, turn);
        }
    }

    fn on_link_down(&mut self, peer: PeerId, turn: &mut Turn<'_>) {
        self.links.remove(&peer);
        if self.witness.is_some_and(|witness| witness.peer == peer) {
            self.witness = None;
        }
        if let Role::Leader(lead) = &mut self.role {
            if let Some(progress) = lead.peers.get_mut(&peer) {
                progress.forget_flight();
            }
            self.review_presence(turn);
        } else if self.leader.is_some_and(|(leader, _)| leader == peer) {
            // The link is gone, not only late. Who still hears the leader says no to our pre-vote.
            self.heard_at = None;
            let soon = turn.now.mono.after(self.draw(Millis(0), self.setup.timers.heartbeat));
            self.election_at = self.election_at.min(soon);
        }
    }

    fn on_members(&mut self, members: Vec<Voter>, turn: &mut Turn<'_>) {
        if self.members == members {
            return;
        }
        self.members = members;
        if let Role::Leader(_) = self.role {
            if self.is_member(&self.setup.me.peer) {
                self.replicate_all(turn);
                self.review_presence(turn);
            } else {
                self.step_down("removed from the network", turn);
            }
        }
    }

    fn on_witness(&mut self, witness: Option<Voter>, turn: &mut Turn<'_>) {
        let before = self.witness;
        if before == witness {
            return;
        }
        self.witness = witness;
        match witness {
            Some(voter) => self.on_link_up(voter.peer, turn),
            None => {
                if let Some(voter) = before {
                    self.on_link_down(voter.peer, turn);
                }
            }
        }
    }

    /// The deadlines that passed. Looked at after every input, in case `Woke` is late.
    fn tick(&mut self, turn: &mut Turn<'_>) {
        match &self.role {
            Role::Leader(lead) if turn.now.mono >= lead.beat_at => self.beat(turn),
            Role::Leader(_) => self.change_voters(turn),
            _ if turn.now.mono >= self.election_at => self.time_out(turn),
            _ => {}
        }
        self.compare_in_turn(turn);
    }

    fn deadline(&self) -> Mono {
        let next = match &self.role {
            Role::Leader(lead) => lead.beat_at,
            _ => self.election_at,
        };
        self.departure.as_ref().map_or(next, |departure| departure.deadline(next))
    }

    fn slept(&self, now: Now) -> bool {
        let limit = self.setup.timers.election_max.times(2);
        // The driver's clock goes on in suspend; wall time may be set by anybody and tells nothing.
        now.mono.since(self.last_now.mono) > limit
    }

    /// After a sleep others may have elected somebody: lead no longer, and listen for one whole
    /// timeout before asking.
    fn wake_up(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.role, Role::Leader(_)) {
            self.step_down("slept", turn);
        }
        self.role = Role::Follower;
        self.heard_at = None;
        self.rest(turn.now);
        self.election_at =
            self.election_at.max(turn.now.mono.after(self.setup.timers.election_max));
    }

    /// Starts the wait for a leader anew.
    fn rest(&mut self, now: Now) {
        let timers = self.setup.timers;
        self.election_at = now.mono.after(self.draw(timers.election_min, timers.election_max));
    }

    fn draw(&mut self, from: Millis, to: Millis) -> Millis {
        let span = to.0.saturating_sub(from.0).saturating_add(1);
        Millis(from.0.saturating_add(self.rng.next_u64() % span))
    }

    fn draw_rank(&mut self) -> [u32; RANK_LEN] {
        std::array::from_fn(|_| self.rng.next_u32())
    }

    fn me(&self) -> PeerId {
        self.setup.me.peer
    }

    /// The life that our answers name. A damaged database counts nowhere.
    fn incarnation(&self) -> Incarnation {
        if self.is_damaged { Incarnation(0) } else { self.setup.me.incarnation }
    }

    fn is_member(&self, peer: &PeerId) -> bool {
        self.members.iter().any(|member| member.peer == *peer)
    }

    fn is_linked(&self, peer: &PeerId) -> bool {
        self.links.contains(peer)
    }

    /// Whether a peer is a member, or one that the log names as a voter.
    fn is_known(&self, peer: &PeerId) -> bool {
        self.is_member(peer)
            || self.certified.iter().any(|voter| voter.peer == *peer)
            || self.log.voters().1.voter(peer).is_some()
            || self.log.voters_before().voter(peer).is_some()
            || self.witness.is_some_and(|witness| witness.peer == *peer)
    }

    fn setting(&self, name: &str, value: Bytes) -> Write {
        Write::Setting { key: format!("control/{}/{name}", self.setup.space), value: Some(value) }
    }

    fn set_leader(&mut self, leader: Option<(PeerId, Ballot)>, turn: &mut Turn<'_>) {
        if self.leader != leader {
            self.leader = leader;
            turn.tell(Happened::LeaderChanged {
                leader: leader.map(|(peer, _)| peer),
                ballot: leader.map_or(self.promised, |(_, ballot)| ballot),
            });
        }
    }

    /// Whether we lead.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether we ask to lead.
    pub fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Asking(_) | Role::Candidate(_))
    }

    /// Who leads, as far as we know, and under which ballot.
    pub fn leader(&self) -> Option<(PeerId, Ballot)> {
        self.leader
    }

    /// The highest ballot promised.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// The newest voter set in the log, committed or not.
    pub fn voters(&self) -> &VoterSet {
        self.log.voters().1
    }

    /// Whether the newest voter set in the log names this life of our database.
    pub fn is_voter(&self) -> bool {
        self.voters().contains(&self.setup.me)
    }

    /// Up to where the log holds for ever.
    pub fn commit(&self) -> Index {
        self.log.commit()
    }

    /// The end of the log.
    pub fn last(&self) -> (Index, Ballot) {
        let last = self.log.last();
        (last.index, last.ballot)
    }

    /// Everything that decides what this core does next, timers and randomness left out: two cores
    /// with one fingerprint are one state of the model checker.
    #[doc(hidden)]
    pub fn fingerprint(&self, mut into: &mut dyn Hasher) {
        (self.promised, self.seen, self.leader, &self.wanted, self.rejected).hash(&mut into);
        (self.log.entries(), self.log.commit(), &self.asked).hash(&mut into);
        self.late.len().hash(&mut into);
        match &self.role {
            Role::Follower => 0.hash(&mut into),
            Role::Asking(poll) => (1, poll.ballot, &poll.granted).hash(&mut into),
            Role::Candidate(poll) => (2, poll.ballot, &poll.granted).hash(&mut into),
            Role::Leader(lead) => {
                (3, lead.ballot, lead.own).hash(&mut into);
                for (peer, progress) in &lead.peers {
                    (peer, progress.fingerprint()).hash(&mut into);
                }
            }
        }
    }

    /// The entry at an index.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.entry(index)
    }
}

/// Rows read at once when loading.
const LOAD_PAGE: usize = 512;

#[cfg(test)]
mod tests;
