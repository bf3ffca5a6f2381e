//! The chain of signed entries: what shows that an elected leader wrote an entry, and what shows that
//! a leader contradicts itself.
//! Owns: whether an entry may follow another; the search for contradictions between two logs.
//! Must not know: when an entry is committed, what is done about a contradiction.
//! Invariants: no entry enters a log without the signature of a key that a majority of the voters
//! before it voted for; two entries at one (ballot, index) that differ are told with both signatures.
//! Start reading at: [`Chain::follow`].
//!
//! ```text
//!   genesis: voters {W}
//!     └─ entry 1, ballot x: votes of {W} for x and key K, signed by K   ─┐ each names the digest
//!         └─ entry 2, ballot x: signed by K                               │ of the one before it
//!             └─ entry 3, ballot y: votes of the voters as of 2 for y, L ─┘
//! ```
//!
//! A ballot does not say in which life its candidate stood, and the roster may lag behind the log, so
//! the signer's key is found in neither: voters sign for ballot and key together, and the first entry
//! of a ballot brings their votes. Who knows the genesis can check the whole log, whoever sent it.

use super::{Control, Happened, Message, Turn};
use crate::identity::{Domain, Proofs};
use crate::ids::{DeviceKey, Hash, Index, NetworkId, PeerId, Signature};
use crate::protocol::Write;
use crate::refusal::Refusal;
use crate::wire::control::{
    Ballot, Entry, LogWant, Payload, Position, Proof, Voter, VoterSet, entry_bytes, vote_bytes,
};

/// How often a log is compared with that of another, in heartbeats.
const COMPARE_BEATS: u64 = 40;

/// The end of a log being checked: what its next entry must follow.
#[derive(Clone, Debug)]
pub struct Chain {
    network: NetworkId,
    position: Position,
    digest: Hash,
    voters: VoterSet,
    signer: Option<DeviceKey>,
    /// Only with [`super::Mistakes::chain_blind`].
    is_blind: bool,
}

/// What voters signed for.
pub(super) struct Candidacy<'a> {
    pub(super) network: &'a NetworkId,
    pub(super) ballot: &'a Ballot,
    pub(super) key: &'a DeviceKey,
    pub(super) position: &'a Position,
    pub(super) votes: &'a [(PeerId, Signature)],
}

impl<'a> Candidacy<'a> {
    pub(super) fn of(network: &'a NetworkId, ballot: &'a Ballot, proof: &'a Proof) -> Self {
        Self { network, ballot, key: &proof.key, position: &proof.position, votes: &proof.votes }
    }

    /// The vote of a voter, if there is one under its name; not verified.
    pub(super) fn vote(&self, voter: &Voter) -> Option<&Signature> {
        self.votes.iter().find(|(peer, _)| *peer == voter.peer).map(|(_, vote)| vote)
    }

    /// Whether this life of a voter signed for it.
    pub(super) fn has_vote(&self, voter: &Voter, proofs: &dyn Proofs) -> bool {
        self.vote(voter).is_some_and(|vote| {
            let who = (&voter.peer, voter.incarnation);
            let paper = vote_bytes(self.network, self.ballot, self.key, self.position, who);
            proofs.verify(&voter.key, Domain::Vote, &paper, vote)
        })
    }

    fn is_carried(&self, set: &VoterSet, proofs: &dyn Proofs) -> bool {
        let votes = set.as_slice().iter().filter(|voter| self.has_vote(voter, proofs));
        votes.count() >= set.majority()
    }
}

/// Signs an entry as its leader.
pub fn sign(mut entry: Entry, network: &NetworkId, proofs: &dyn Proofs) -> Entry {
    entry.signature = proofs.sign(Domain::Entry, &entry_bytes(network, &entry));
    entry
}

fn is_signed(entry: &Entry, network: &NetworkId, proofs: &dyn Proofs) -> bool {
    proofs.verify(&entry.signer, Domain::Entry, &entry_bytes(network, entry), &entry.signature)
}

/// Whether two entries show that the leader they name ordered different things at one place. Nothing
/// but the two is looked at; that the keys are that leader's is for who has its credentials.
pub fn contradict(network: &NetworkId, one: &Entry, other: &Entry, proofs: &dyn Proofs) -> bool {
    one.position() == other.position()
        && one.digest() != other.digest()
        && is_signed(one, network, proofs)
        && is_signed(other, network, proofs)
}

/// What a witness keeps of a contradiction, one pair for each leader; members warn each other.
pub fn keep(network: &NetworkId, [one, other]: &[Entry; 2]) -> Vec<Write> {
    let Some(leader) = one.ballot.peer else { return Vec::new() };
    tracing::warn!(peer = %leader, index = %one.index, "a leader contradicts itself");
    let row = |(name, entry): (&str, &Entry)| Write::Setting {
        key: format!("contradiction/{network}/{leader}/{name}"),
        value: Some(entry.encode()),
    };
    [("one", one), ("other", other)].map(row).into()
}

impl Chain {
    /// Before the first entry of a network's log.
    pub fn new(network: NetworkId, voters: VoterSet) -> Self {
        let (position, digest) = (Position::ZERO, Hash::ZERO);
        Self { network, position, digest, voters, signer: None, is_blind: false }
    }

    /// Checks the next entry: that it follows, that its leader was elected by the voters before it,
    /// and signed it.
    ///
    /// # Refusals
    /// [`Refusal::EntryBroken`]: it does not follow; [`Refusal::EntryForged`].
    pub fn follow(&mut self, entry: &Entry, proofs: &dyn Proofs) -> Result<(), Refusal> {
        self.step(entry, proofs, |it, set| it.is_carried(set, proofs))
    }

    fn step(
        &mut self,
        entry: &Entry,
        proofs: &dyn Proofs,
        is_carried: impl Fn(&Candidacy<'_>, &VoterSet) -> bool,
    ) -> Result<(), Refusal> {
        let is_next = entry.index == self.position.index.next()
            && entry.ballot >= self.position.ballot
            && (entry.previous == self.digest || self.is_blind);
        if !is_next {
            return Err(Refusal::EntryBroken);
        }
        let is_theirs = if entry.ballot == self.position.ballot {
            self.signer == Some(entry.signer) && entry.votes.is_empty()
        } else {
            let candidacy = Candidacy {
                network: &self.network,
                ballot: &entry.ballot,
                key: &entry.signer,
                position: &self.position,
                votes: &entry.votes,
            };
            is_carried(&candidacy, &self.voters)
        };
        if !is_theirs || !is_signed(entry, &self.network, proofs) {
            return Err(Refusal::EntryForged);
        }
        self.position = entry.position();
        self.digest = entry.digest();
        self.signer = Some(entry.signer);
        if let Payload::Voters(set) = &entry.payload {
            self.voters = set.clone();
        }
        Ok(())
    }
}

impl Control {
    /// Our log up to an index, to be followed on.
    fn chain_at(&self, index: Index) -> Option<Chain> {
        Some(Chain {
            network: self.setup.network,
            position: self.log.position(index)?,
            digest: self.log.digest(index)?,
            voters: self.log.voters_at(index).clone(),
            signer: self.log.entry(index).map(|entry| entry.signer),
            is_blind: self.setup.mistakes.chain_blind,
        })
    }

    /// Checks entries that follow a place in our log; those that we hold were checked when they came.
    pub(super) fn check_run(
        &self,
        prev: Index,
        entries: &[Entry],
        proofs: &dyn Proofs,
    ) -> Result<(), Refusal> {
        let mistakes = self.setup.mistakes;
        if mistakes.signature_blind || mistakes.term_only {
            return Ok(());
        }
        let is_held = |entry: &&Entry| self.log.digest(entry.index) == Some(entry.digest());
        let held = entries.iter().take_while(is_held).count();
        let (known, fresh) = entries.split_at(held);
        let after = known.last().map_or(prev, |entry| entry.index);
        let mut chain = self.chain_at(after).ok_or(Refusal::EntryBroken)?;
        for entry in fresh {
            chain.step(entry, proofs, |it, set| self.has_majority(it, set, proofs))?;
        }
        Ok(())
    }

    /// Whether a majority of a set signed for a candidacy.
    pub(super) fn has_majority(
        &self,
        candidacy: &Candidacy<'_>,
        set: &VoterSet,
        proofs: &dyn Proofs,
    ) -> bool {
        let is_blind = self.setup.mistakes.incarnation_blind;
        let has_voted = |voter: &Voter| match is_blind {
            true => candidacy.vote(voter).is_some(),
            false => candidacy.has_vote(voter, proofs),
        };
        self.is_majority(set, has_voted)
    }

    /// Looks whether entries that came contradict what we hold; tells each leader's once.
    pub(super) fn look_for_contradiction(&mut self, entries: &[Entry], turn: &mut Turn<'_>) {
        if self.setup.mistakes.chain_blind {
            return;
        }
        let pair = entries.iter().find_map(|entry| {
            let own = self.log.entry(entry.index)?;
            let is_news = !self.contradicted.contains(&entry.ballot);
            let differs = is_news
                && self.log.digest(entry.index) != Some(entry.digest())
                && contradict(&self.setup.network, own, entry, turn.proofs);
            differs.then(|| [own.clone(), entry.clone()])
        });
        if let Some(pair) = pair {
            self.contradicted.extend(pair.first().map(|entry| entry.ballot));
            turn.tell(Happened::Contradicted { pair: Box::new(pair) });
        }
    }

    /// Asks somebody whether it holds the same as we do at a place.
    pub(super) fn compare_with(&self, peer: PeerId, at: Index, turn: &mut Turn<'_>) {
        let (Some(last), Some(digest)) = (self.log.position(at), self.log.digest(at)) else {
            return;
        };
        let is_told = self.contradicted.contains(&last.ballot) || at == Index(0);
        if !is_told && !self.setup.mistakes.timeless && !self.setup.mistakes.chain_blind {
            let commit = self.log.commit();
            let want = LogWant { last, digest, commit, in_doubt: false, compares: true };
            turn.send(peer, Message::LogWant(want));
        }
    }

    /// Now and then compares what is committed with one of those we are linked with, one after the
    /// other: two who are told different things by one leader learn of it while it leads.
    pub(super) fn compare_in_turn(&mut self, turn: &mut Turn<'_>) {
        if turn.now.mono < self.compare_at || !self.setup.can_lead {
            return;
        }
        self.compare_at = turn.now.mono.after(self.setup.timers.heartbeat.times(COMPARE_BEATS));
        let known = || self.links.iter().copied().filter(|peer| self.is_known(peer));
        let next = known().find(|peer| self.compared.is_none_or(|before| *peer > before));
        self.compared = next.or_else(|| known().next());
        if let Some(peer) = self.compared {
            self.compare_with(peer, self.log.commit(), turn);
        }
    }

    /// Somebody asks whether we hold the same at a place of its log.
    pub(super) fn on_compare(&self, from: PeerId, want: &LogWant, turn: &mut Turn<'_>) {
        let at = want.last.index;
        let Some(own) = self.log.position(at) else { return };
        if own != want.last {
            // Another ballot there: where ours began there may be one that both hold.
            return self.compare_with(from, self.log.run_start(at), turn);
        }
        if self.log.digest(at) != Some(want.digest) {
            self.send_page(from, at.before(), 1, turn);
        }
    }
}
