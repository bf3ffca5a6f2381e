//! Append, acknowledge, commit, and pulling a log that is ahead of one's own.
//! Owns: the leader's view of each peer's log, the follower's answer, the commit rule.
//! Must not know: how somebody came to lead, which voters there should be.
//! Invariants: an acknowledgement leaves only with its entries among the writes of the same turn;
//! only entries of the leader's own ballot are committed by counting.
//! Start reading at: [`Control::on_append`].
//!
//! One peer as the leader sees it:
//! ```text
//!             page sent                matched to the page's end
//!   idle ───────────────► in flight ───────────────────────────► idle
//!                            │  conflict: back up, send again
//!                            └─ no answer for two heartbeats: from `matched` again
//! ```

use bytes::Bytes;

use super::chain::{self, Candidacy};
use super::log::Log;
use super::{Control, Happened, Role, Turn};
use crate::identity::Proofs;
use crate::ids::{Hash, Incarnation, Index, IntentId, PeerId, Signature};
use crate::limits::INTENT_BYTES_MAX;
use crate::protocol::Write;
use crate::refusal::Refusal;
use crate::time::{Mono, Now};
use crate::wire::control::{
    Append, AppendReply, Ballot, Entry, LogPage, LogWant, Message, Payload, Position, Verdict,
    Voter,
};

/// What the leader knows of a peer's log.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The life of the database that answered last.
    pub(super) incarnation: Option<Incarnation>,
    /// Held on its disk, equal to ours.
    pub(super) matched: Index,
    /// The next to send.
    next: Index,
    /// The commit that the last append told it.
    told: Index,
    /// When the page was sent that it has not acknowledged.
    flight: Option<Mono>,
    /// Whether it acknowledged this ballot, so that the proof need not go along.
    is_convinced: bool,
    /// When it last answered.
    pub(super) heard_at: Option<Mono>,
    /// Since when it answers without a long silence.
    pub(super) alive_since: Option<Mono>,
    /// Whether it was away before, as far as this leader has seen.
    pub(super) was_away: bool,
}

impl Progress {
    fn new(next: Index) -> Self {
        Self {
            incarnation: None,
            matched: Index(0),
            next,
            told: Index(0),
            flight: None,
            is_convinced: false,
            heard_at: None,
            alive_since: None,
            was_away: false,
        }
    }

    pub(super) fn fingerprint(&self) -> impl std::hash::Hash {
        (
            self.incarnation,
            self.matched,
            self.next,
            self.told,
            self.flight.is_some(),
            self.is_convinced,
        )
    }

    /// The link is another: what was on the way may be lost, and the peer may have restarted.
    pub(super) fn forget_flight(&mut self) {
        self.flight = None;
        self.is_convinced = false;
    }
}

impl Control {
    /// Orders an intent, if we lead. An id that is in the log already is answered with its place.
    pub(super) fn propose(&mut self, id: IntentId, bytes: Bytes, turn: &mut Turn<'_>) {
        let refusal = if !self.is_leader() {
            Some(if self.leader.is_some() { Refusal::NotLeader } else { Refusal::NoLeader })
        } else if bytes.len() > INTENT_BYTES_MAX {
            Some(Refusal::FieldBad)
        } else if self.departure.is_some() {
            Some(Refusal::NotLeader)
        } else {
            None
        };
        let place = self.log.index_of(&id);
        match (place.filter(|index| *index <= self.log.commit()), refusal) {
            (Some(index), _) => turn.tell(Happened::Ordered { id, index }),
            (None, Some(refusal)) => turn.tell(Happened::NotOrdered { id, refusal }),
            (None, None) => {
                self.asked.insert(id);
                if place.is_none() {
                    self.append(Payload::Intent { id, bytes }, turn);
                    self.replicate_all(turn);
                    self.advance(turn);
                }
            }
        }
    }

    /// Appends to our own log as leader; the caller replicates.
    pub(super) fn append(&mut self, payload: Payload, turn: &mut Turn<'_>) {
        let Role::Leader(lead) = &self.role else { return };
        let last = self.log.last();
        let stamp =
            self.log.entry(last.index).map_or(turn.now.wall, |e| e.stamp.max(turn.now.wall));
        // The first of a ballot shows who elected it, and under which key.
        let is_first = last.ballot != lead.ballot;
        let entry = Entry {
            ballot: lead.ballot,
            index: last.index.next(),
            stamp,
            previous: self.log.digest(last.index).unwrap_or(Hash::ZERO),
            payload,
            signer: lead.proof.key,
            votes: if is_first { lead.proof.votes.clone() } else { Vec::new() },
            signature: Signature([0; 64]),
        };
        let entry = chain::sign(entry, &self.setup.network, turn.proofs);
        turn.out.writes.push(self.row(&entry));
        self.log.push(entry);
    }

    fn row(&self, entry: &Entry) -> Write {
        Write::Control {
            space: self.setup.space.clone(),
            index: entry.index,
            bytes: entry.encode(),
        }
    }

    /// Whom the leader replicates to: linked members, voters and the witness.
    pub(super) fn is_target(&self, peer: &PeerId) -> bool {
        *peer != self.me() && self.is_linked(peer) && self.is_known(peer)
    }

    fn targets(&self) -> Vec<PeerId> {
        self.links.iter().copied().filter(|peer| self.is_target(peer)).collect()
    }

    /// Sends everybody what they lack, or that we lead.
    pub(super) fn replicate_all(&mut self, turn: &mut Turn<'_>) {
        for peer in self.targets() {
            self.replicate(peer, turn);
        }
    }

    /// Sends a peer its next page; while one is on the way, an empty append that surely fits.
    pub(super) fn replicate(&mut self, peer: PeerId, turn: &mut Turn<'_>) {
        let heartbeat = self.setup.timers.heartbeat;
        let now = turn.now.mono;
        let Role::Leader(lead) = &mut self.role else { return };
        let fresh = || Progress::new(lead.proof.position.index.next());
        let progress = lead.peers.entry(peer).or_insert_with(fresh);
        if progress.flight.is_some_and(|at| now.since(at) > heartbeat.times(2)) {
            progress.flight = None;
            progress.next = progress.matched.next();
        }
        let is_busy = progress.flight.is_some();
        let prev = if is_busy { progress.matched } else { progress.next.before() };
        let Some((prev, prev_digest)) = self.log.position(prev).zip(self.log.digest(prev)) else {
            return;
        };
        let entries = if is_busy { Vec::new() } else { self.log.page(progress.next) };
        if let Some(end) = entries.last() {
            progress.next = end.index.next();
            progress.flight = Some(now);
        }
        progress.told = self.log.commit();
        let proof = (!progress.is_convinced).then(|| lead.proof.clone());
        let ballot = lead.ballot;
        let commit = self.log.commit();
        let append = Append { ballot, prev, prev_digest, entries, commit, proof };
        turn.send(peer, Message::Append(append));
    }

    /// Entries or a heartbeat from somebody who leads, or says so.
    pub(super) fn on_append(&mut self, from: PeerId, append: Append, turn: &mut Turn<'_>) {
        let ballot = append.ballot;
        if ballot.peer != Some(from) || append.entries.iter().any(|entry| entry.ballot > ballot) {
            return turn.refuse(from, Refusal::FieldBad);
        }
        if self.doubts() {
            return;
        }
        if self.rejected == Some(ballot) {
            return self.look_for_contradiction(&append.entries, turn);
        }
        if !self.at_least(&ballot, &self.promised) && !self.setup.mistakes.takes_lower {
            if !self.is_known(&from) {
                return turn.refuse(from, Refusal::NotAMember);
            }
            return self.answer(from, ballot, Verdict::Stale(self.promised), turn);
        }
        let is_news = self.leader != Some((from, ballot));
        if is_news {
            match self.is_proven(from, &append, turn) {
                Ok(true) => {}
                Ok(false) => return self.answer(from, ballot, Verdict::NeedsProof, turn),
                Err(refusal) => return turn.refuse(from, refusal),
            }
        }
        let is_run = Log::is_run(append.prev, &append.entries) || self.setup.mistakes.takes_lower;
        let agrees = self.agrees(append.prev, append.prev_digest);
        if is_run
            && agrees
            && let Err(refusal) = self.check_run(append.prev.index, &append.entries, turn.proofs)
        {
            return turn.refuse(from, refusal);
        }
        if is_news {
            self.follow(from, ballot, turn);
        }
        self.role = Role::Follower;
        self.heard_at = Some(turn.now.mono);
        self.rest(turn.now);
        if !is_run {
            return turn.refuse(from, Refusal::EntryBroken);
        }
        self.look_for_contradiction(&append.entries, turn);
        if !agrees {
            return self.disagree(from, &append, turn);
        }
        if !self.take(&append.entries, turn) {
            return self.reject(from, ballot, turn);
        }
        let end = append.entries.last().map_or(append.prev.index, |entry| entry.index);
        self.answer(from, ballot, Verdict::Matched(end), turn);
        // The only voter there is holds whatever is committed, and commits whatever it holds.
        let is_alone = matches!(self.voters().as_slice(), [only] if *only == self.setup.me);
        let commit = if is_alone { self.log.last().index } else { append.commit.min(end) };
        self.commit_to(commit, turn);
    }

    fn agrees(&self, prev: Position, digest: Hash) -> bool {
        let own = self.log.position(prev.index);
        if self.setup.mistakes.term_only {
            return own.is_some_and(|own| own.ballot.term == prev.ballot.term);
        }
        let is_equal = self.log.digest(prev.index) == Some(digest);
        own == Some(prev) && (is_equal || self.setup.mistakes.chain_blind)
    }

    /// Our log is another where the leader's entries would go.
    fn disagree(&mut self, from: PeerId, append: &Append, turn: &mut Turn<'_>) {
        let prev = append.prev;
        if self.log.position(prev.index) == Some(prev) {
            // Equal by ballot and index: whoever led then told two things. Ask for the other one.
            self.compare_with(from, prev.index, turn);
        }
        if prev.index <= self.log.commit() {
            return self.reject(from, append.ballot, turn);
        }
        let hint = self.log.hint(prev.index);
        self.answer(from, append.ballot, Verdict::Conflict(hint), turn);
    }

    /// What is committed is never replaced, so nothing of this leader can be taken. It gets no answer
    /// any more: with a majority that cannot follow it, it must not lead.
    fn reject(&mut self, from: PeerId, ballot: Ballot, turn: &mut Turn<'_>) {
        self.rejected = Some(ballot);
        self.heard_at = None;
        self.set_leader(None, turn);
        turn.refuse(from, Refusal::LogContradicts);
    }

    fn answer(&self, to: PeerId, ballot: Ballot, verdict: Verdict, turn: &mut Turn<'_>) {
        let incarnation = self.incarnation();
        turn.send(to, Message::AppendReply(AppendReply { ballot, incarnation, verdict }));
    }

    /// Whether we may follow this ballot: we did before, or its votes prove that it was elected.
    /// `Ok(false)`: a proof is missing.
    fn is_proven(&self, from: PeerId, append: &Append, turn: &Turn<'_>) -> Result<bool, Refusal> {
        let ballot = append.ballot;
        // Our log holds an entry of it: then we have seen the proof, or somebody we pulled from.
        if self.promised == ballot && self.log.last().ballot == ballot {
            return Ok(true);
        }
        let Some(proof) = &append.proof else {
            return if self.is_known(&from) { Ok(false) } else { Err(Refusal::NotAMember) };
        };
        let candidacy = Candidacy::of(&self.setup.network, &ballot, proof);
        if !self.has_majority(&candidacy, &proof.voters, turn.proofs) {
            return Err(Refusal::SignatureBad);
        }
        let is_ours = proof.voters == *self.voters() || proof.voters == *self.log.voters_before();
        let is_behind = self.log.last() < proof.position;
        let counts = self.voters().contains(&self.setup.me);
        match (is_ours, is_behind) {
            (true, _) => Ok(true),
            // We cannot know those voters yet. A term that cannot be right is refused all the same
            // by whoever has a vote to lose.
            (false, true) if counts && ballot.is_far_above(&self.promised) => {
                Err(Refusal::BallotFar)
            }
            (false, true) => Ok(true),
            (false, false) => Err(Refusal::NotAVoter),
        }
    }

    fn follow(&mut self, leader: PeerId, ballot: Ballot, turn: &mut Turn<'_>) {
        if self.is_leader() {
            self.step_down("another leads", turn);
        }
        self.promise(ballot, turn);
        self.wanted.clear();
        self.set_leader(Some((leader, ballot)), turn);
    }

    /// Takes entries into the log and onto the disk. `false` if they contradict what is committed.
    fn take(&mut self, entries: &[Entry], turn: &mut Turn<'_>) -> bool {
        let Some(merged) = self.log.merge(entries, self.setup.mistakes) else {
            return false;
        };
        let space = &self.setup.space;
        if let Some(from) = merged.cut {
            turn.out.writes.push(Write::ControlCut { space: space.clone(), from });
        }
        if let Some(from) = merged.fresh {
            for entry in entries.iter().filter(|entry| entry.index >= from) {
                turn.out.writes.push(self.row(entry));
            }
        }
        true
    }

    /// A peer's answer to our append.
    pub(super) fn on_append_reply(
        &mut self,
        from: PeerId,
        reply: &AppendReply,
        turn: &mut Turn<'_>,
    ) {
        let is_known = self.is_known(&from);
        let now = turn.now.mono;
        let silence = self.setup.timers.away_after;
        let end = self.log.last().index;
        let Role::Leader(lead) = &mut self.role else { return };
        if reply.ballot != lead.ballot {
            return;
        }
        if !is_known {
            return turn.refuse(from, Refusal::NotAMember);
        }
        let fresh = || Progress::new(lead.proof.position.index.next());
        let progress = lead.peers.entry(from).or_insert_with(fresh);
        if progress.incarnation != Some(reply.incarnation) {
            // A life begins: what the one before held is gone.
            progress.incarnation = Some(reply.incarnation);
            progress.matched = Index(0);
        }
        match reply.verdict {
            Verdict::Stale(promised) => return self.on_stale(promised, turn),
            Verdict::NeedsProof => {
                progress.forget_flight();
                return self.replicate(from, turn);
            }
            Verdict::Matched(index) if index > end => {
                return turn.refuse(from, Refusal::FieldBad);
            }
            Verdict::Matched(index) => {
                progress.matched = progress.matched.max(index);
                if progress.matched.next() >= progress.next {
                    progress.next = progress.matched.next();
                    progress.flight = None;
                }
            }
            Verdict::Conflict(hint) => {
                if progress.next == progress.matched.next() {
                    // It lost what it acknowledged: its database is an older copy.
                    progress.matched = progress.matched.min(hint);
                }
                progress.next = hint.next().min(progress.next).max(progress.matched.next());
                progress.flight = None;
            }
        }
        progress.is_convinced = true;
        if progress.heard_at.is_none_or(|at| now.since(at) >= silence) {
            progress.alive_since = Some(now);
        }
        progress.heard_at = Some(now);
        let is_conflict = matches!(reply.verdict, Verdict::Conflict(_));
        self.advance(turn);
        if is_conflict || self.is_short_of_news(&from) {
            self.replicate(from, turn);
        }
    }

    /// Whether a peer waits for nothing, yet lacks entries or does not know the commit.
    fn is_short_of_news(&self, peer: &PeerId) -> bool {
        let Role::Leader(lead) = &self.role else { return false };
        lead.peers.get(peer).is_some_and(|progress| {
            progress.flight.is_none()
                && (progress.next <= self.log.last().index || progress.told < self.log.commit())
        })
    }

    fn on_stale(&mut self, promised: Ballot, turn: &mut Turn<'_>) {
        let Role::Leader(lead) = &self.role else { return };
        if promised > lead.ballot && !promised.is_far_above(&self.promised) {
            self.seen = self.seen.max(promised);
            self.step_down("a higher ballot was promised", turn);
            // Nobody need wait: the next candidacy stands above that promise.
            self.expect_election(turn);
        }
    }

    /// Commits what a majority of the newest voters holds, if the end of it is of our own ballot.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        let Role::Leader(lead) = &self.role else { return };
        let mistakes = self.setup.mistakes;
        let holds = |voter: &Voter, index: Index| {
            if voter.peer == self.me() {
                return voter.incarnation == self.setup.me.incarnation;
            }
            lead.peers.get(&voter.peer).is_some_and(|progress| {
                progress.matched >= index
                    && (progress.incarnation == Some(voter.incarnation)
                        || mistakes.incarnation_blind)
            })
        };
        let is_held = |index: Index| {
            if mistakes.counts_learners {
                let others = lead.peers.values().filter(|progress| progress.matched >= index);
                return others.count() + 1 >= self.voters().majority();
            }
            self.is_majority(self.voters(), |voter| holds(voter, index))
        };
        let mut index = self.log.last().index;
        while index > self.log.commit() {
            let is_own = self.log.entry(index).is_some_and(|entry| entry.ballot == lead.ballot);
            if !is_own && !mistakes.stale_commit {
                break;
            }
            if is_held(index) {
                self.commit_to(index, turn);
                self.replicate_idle(turn);
                break;
            }
            index = index.before();
        }
    }

    /// Tells those who wait for nothing that the commit moved.
    fn replicate_idle(&mut self, turn: &mut Turn<'_>) {
        for peer in self.targets() {
            let Role::Leader(lead) = &self.role else { return };
            if lead.peers.get(&peer).is_some_and(|progress| progress.flight.is_none()) {
                self.replicate(peer, turn);
            }
        }
    }

    fn commit_to(&mut self, index: Index, turn: &mut Turn<'_>) {
        let before = self.log.commit();
        if !self.log.commit_to(index) {
            return;
        }
        let upto = self.log.commit();
        let value = Bytes::copy_from_slice(&upto.0.to_be_bytes());
        turn.out.writes.push(self.setting("commit", value));
        turn.tell(Happened::Committed { upto });
        let mut at = before.next();
        while at <= upto && !self.asked.is_empty() {
            if let Some(Entry { payload: Payload::Intent { id, .. }, .. }) = self.log.entry(at) {
                let id = *id;
                if self.asked.remove(&id) {
                    turn.tell(Happened::Ordered { id, index: at });
                }
            }
            at = at.next();
        }
    }

    /// Asks a peer for its log, in case it is ahead of ours. Nobody who may lead can be elected
    /// while a voter that must say yes holds more.
    pub(super) fn want_log(&mut self, from: PeerId, turn: &mut Turn<'_>) {
        let in_doubt = self.doubts();
        let is_of_use = self.setup.can_lead || in_doubt;
        if is_of_use && self.is_linked(&from) && self.is_known(&from) {
            self.wanted.insert(from);
            let last = self.log.last();
            let digest = self.log.digest(last.index).unwrap_or(Hash::ZERO);
            let commit = self.log.commit();
            let want = LogWant { last, digest, commit, in_doubt, compares: false };
            turn.send(from, Message::LogWant(want));
        }
    }

    /// Asks for a log: for the model checker.
    #[doc(hidden)]
    pub fn want_log_now(&mut self, from: PeerId, now: Now, proofs: &dyn Proofs) -> super::Output {
        let mut turn = Turn::new(now, proofs);
        turn.out.writes.append(&mut self.late);
        if self.leader.is_none() {
            self.want_log(from, &mut turn);
        }
        turn.out
    }

    /// Somebody wants our log.
    pub(super) fn on_log_want(&mut self, from: PeerId, want: &LogWant, turn: &mut Turn<'_>) {
        if !self.is_known(&from) {
            return turn.refuse(from, Refusal::NotAMember);
        }
        if want.compares {
            return self.on_compare(from, want, turn);
        }
        let last = self.log.last();
        let shared = self.agrees(want.last, want.digest).then_some(want.last.index);
        let has_commit = self.log.position(want.commit).is_some();
        let prev = shared.or(has_commit.then_some(want.commit)).filter(|_| last > want.last);
        match prev {
            Some(prev) => self.send_page(from, prev, usize::MAX, turn),
            None if want.in_doubt => self.send_page(from, last.index, 0, turn),
            None => {}
        }
    }

    /// Sends what follows an index, at most so many entries.
    pub(super) fn send_page(&self, to: PeerId, prev: Index, count: usize, turn: &mut Turn<'_>) {
        let Some((at, prev_digest)) = self.log.position(prev).zip(self.log.digest(prev)) else {
            return;
        };
        let mut entries = if count == 0 { Vec::new() } else { self.log.page(prev.next()) };
        entries.truncate(count);
        let page = LogPage {
            last: self.log.last(),
            prev: at,
            prev_digest,
            entries,
            commit: self.log.commit(),
            promised: self.promised,
        };
        turn.send(to, Message::LogPage(page));
    }

    /// A page of a log that is ahead of ours. We promise its last ballot with it: whatever a lower
    /// ballot still orders, we have already passed.
    pub(super) fn on_log_page(&mut self, from: PeerId, page: LogPage, turn: &mut Turn<'_>) {
        if self.is_known(&from) {
            self.look_for_contradiction(&page.entries, turn);
        }
        if self.wanted.contains(&from) {
            self.hear_out(from, &page, turn);
        }
        let is_led = self.leader.is_some() || self.is_leader();
        if !self.wanted.contains(&from) || is_led || page.last <= self.log.last() {
            return;
        }
        let counts = self.voters().contains(&self.setup.me);
        if counts && page.last.ballot.is_far_above(&self.promised) {
            return turn.refuse(from, Refusal::BallotFar);
        }
        if page.entries.is_empty() {
            // Only an answer to our doubt.
            return;
        }
        let is_past = page.entries.last().is_some_and(|entry| entry.position() > page.last);
        if is_past || !Log::is_run(page.prev, &page.entries) {
            return turn.refuse(from, Refusal::EntryBroken);
        }
        if !self.agrees(page.prev, page.prev_digest) {
            return;
        }
        if let Err(refusal) = self.check_run(page.prev.index, &page.entries, turn.proofs) {
            return turn.refuse(from, refusal);
        }
        self.wanted.remove(&from);
        self.role = Role::Follower;
        self.promise(page.last.ballot, turn);
        if !self.take(&page.entries, turn) {
            return turn.refuse(from, Refusal::EntryBroken);
        }
        let end = page.entries.last().map_or(page.prev.index, |entry| entry.index);
        self.commit_to(page.commit.min(end), turn);
        if self.log.last() < page.last {
            self.want_log(from, turn);
        } else {
            self.hear_out(from, &page, turn);
            self.expect_election(turn);
        }
    }
}
