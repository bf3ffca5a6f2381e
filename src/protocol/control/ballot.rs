//! The order of candidacies, and the sets that are counted.
//! Owns: which ballot comes next, which lies too far ahead, what a majority is.
//! Must not know: who is reachable, what is in an entry.
//! Invariants: ballots are totally ordered by generation, term, rank, peer; two majorities of sets
//! that differ by one voter share a voter.
//! Start reading at: [`Ballot::next`].

use std::fmt;

use crate::ids::{Incarnation, PeerId};
use crate::limits::{RANK_LEN, TERM_JUMP_MAX};
use crate::wire::control::{Ballot, Position, Voter, VoterSet};

impl Ballot {
    /// The ballot before the first.
    pub const ZERO: Self = Self { generation: 0, term: 0, rank: [0; RANK_LEN], peer: None };

    /// A candidacy above this ballot.
    #[must_use]
    pub fn next(&self, rank: [u32; RANK_LEN], peer: PeerId) -> Self {
        Self {
            generation: self.generation,
            term: self.term.saturating_add(1),
            rank,
            peer: Some(peer),
        }
    }

    /// Whether its term lies so far above `known` that nobody honest can have counted there.
    pub fn is_far_above(&self, known: &Self) -> bool {
        self.generation > known.generation || self.term.saturating_sub(known.term) > TERM_JUMP_MAX
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.", self.generation, self.term)?;
        write!(f, "{:08x}", self.rank.first().copied().unwrap_or_default())?;
        match &self.peer {
            Some(peer) => write!(f, "@{}", peer.short()),
            None => f.write_str("@-"),
        }
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self { ballot: Ballot::ZERO, index: crate::ids::Index(0) };
}

impl VoterSet {
    /// How many make a majority.
    pub fn majority(&self) -> usize {
        self.as_slice().len() / 2 + 1
    }

    /// Whether exactly this database of this peer counts.
    pub fn contains(&self, voter: &Voter) -> bool {
        self.as_slice().contains(voter)
    }

    /// The voter with this peer id, in whatever life.
    pub fn voter(&self, peer: &PeerId) -> Option<&Voter> {
        self.as_slice().iter().find(|voter| voter.peer == *peer)
    }

    /// Whether this life of this peer counts.
    pub fn counts(&self, peer: &PeerId, incarnation: Incarnation) -> bool {
        self.voter(peer).is_some_and(|voter| voter.incarnation == incarnation)
    }

    /// Whether the witness alone is left: any member may lead then.
    pub fn is_parked(&self) -> bool {
        matches!(self.as_slice(), [only] if only.is_witness)
    }

    /// The set with one more; `None` if it is full or holds the peer already.
    pub fn with(&self, voter: Voter) -> Option<Self> {
        Self::new(self.as_slice().iter().copied().chain([voter]))
    }

    /// The set without a peer; `None` if nobody would be left.
    pub fn without(&self, peer: &PeerId) -> Option<Self> {
        let rest = self.as_slice().iter().copied().filter(|voter| voter.peer != *peer);
        Self::new(rest).filter(|set| !set.as_slice().is_empty())
    }

    /// How many voters are in one of the two sets only.
    pub fn distance(&self, other: &Self) -> usize {
        let missing = |one: &Self, other: &Self| {
            one.as_slice().iter().filter(|voter| !other.contains(voter)).count()
        };
        missing(self, other) + missing(other, self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::DeviceKey;

    fn peer(n: u8) -> PeerId {
        PeerId::of_ed25519(&DeviceKey([n; 32]))
    }

    fn voter(n: u8) -> Voter {
        Voter {
            peer: peer(n),
            incarnation: Incarnation(1),
            key: DeviceKey([n; 32]),
            is_witness: false,
        }
    }

    fn ballot() -> impl Strategy<Value = Ballot> {
        (0..3u64, 0..3u64, any::<[u8; RANK_LEN]>(), 0..3u8).prop_map(
            |(generation, term, rank, p)| Ballot {
                generation,
                term,
                rank: rank.map(u32::from),
                peer: Some(peer(p)),
            },
        )
    }

    proptest! {
        #[test]
        fn ballots_compare_by_generation_then_term_then_rank_then_peer(a in ballot(), b in ballot()) {
            let by_hand = a.generation.cmp(&b.generation)
                .then(a.term.cmp(&b.term))
                .then(a.rank.cmp(&b.rank))
                .then(a.peer.cmp(&b.peer));
            prop_assert_eq!(a.cmp(&b), by_hand);
            prop_assert!(a > Ballot::ZERO);
            prop_assert!(a.next([0; RANK_LEN], peer(0)) > a);
        }
    }

    #[test]
    fn majorities_of_neighbouring_sets_share_a_voter() {
        for size in 1..=5u8 {
            let set = VoterSet::new((0..size).map(voter)).unwrap();
            let larger = set.with(voter(99)).unwrap();
            assert_eq!(set.distance(&larger), 1);
            // The two need more votes than there are voters to give them.
            assert!(set.majority() + larger.majority() > larger.as_slice().len());
        }
    }

    #[test]
    fn a_set_refuses_a_peer_twice_and_a_seventh_voter() {
        let other_life = Voter { incarnation: Incarnation(2), ..voter(1) };
        assert_eq!(VoterSet::new([voter(1), other_life]), None);
        assert_eq!(VoterSet::new((0..7).map(voter)), None);
        assert!(VoterSet::new((0..6).map(voter)).is_some());
        assert_eq!(VoterSet::new([voter(1)]).unwrap().without(&peer(1)), None);
    }

    #[test]
    fn another_life_of_a_voter_does_not_count() {
        let set = VoterSet::new([voter(1)]).unwrap();
        assert!(set.counts(&peer(1), Incarnation(1)));
        assert!(!set.counts(&peer(1), Incarnation(2)));
    }

    #[test]
    fn a_term_a_little_ahead_is_near_and_one_past_the_bound_is_far() {
        let known = Ballot { term: 7, ..Ballot::ZERO };
        let at = |term| Ballot { term, ..Ballot::ZERO };
        assert!(!at(7 + TERM_JUMP_MAX).is_far_above(&known));
        assert!(at(8 + TERM_JUMP_MAX).is_far_above(&known));
        assert!(at(u64::MAX).is_far_above(&known));
        assert!(Ballot { generation: 1, ..Ballot::ZERO }.is_far_above(&known));
    }

    #[test]
    fn a_ballot_prints_short() {
        let shown = Ballot::ZERO.next([0xab, 0, 0, 0], peer(1)).to_string();
        assert_eq!(shown, format!("0.1.000000ab@{}", peer(1).short()));
    }
}
