//! Who may not commit, by whose word, and for how long.
//! Owns: nothing.
//! Must not know: MLS, links.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::limits::{CLAIM_WITHIN, CLAIMS_MAX, COMMITS_MAX, SUSPENDED_FOR};
use crate::time::Millis;

const NONE: Index = Index(0);

impl Stage {
    /// Somebody has a commit ordered; its place.
    fn commit(&mut self, by: &str) -> Index {
        let (group, commit) = (self.state.group().unwrap(), Bytes::from_static(b"commit"));
        self.order(by, &Order::Commit { group, commit, cuts: Vec::new() }).unwrap();
        Index(self.index)
    }

    fn commits(&mut self, by: &str) -> Result<Effect, Refusal> {
        let (group, commit) = (self.state.group().unwrap(), Bytes::from_static(b"commit"));
        self.order(by, &Order::Commit { group, commit, cuts: Vec::new() })
    }

    fn says(&mut self, by: &str, commit: Index) -> Result<Effect, Refusal> {
        self.order(by, &Order::Stranded { commit })
    }

    fn forgives(&mut self, by: &str, whom: &str) -> Result<Effect, Refusal> {
        self.order(by, &Order::Forgive { peer: peer(whom) })
    }

    /// `main`, or a listed or private room with all four in it.
    fn of_four(kind: Kind) -> Self {
        let mut stage = Self::new(kind);
        match kind {
            Kind::Main => {
                stage.order("alice", &Order::Group { group: GROUP, replaces: None }).unwrap();
            }
            Kind::Private => {
                for name in ["bob", "carol", "dave"] {
                    stage.invite("alice", name, Role::Member).unwrap();
                }
            }
            _ => {
                for name in ["bob", "carol", "dave"] {
                    stage.order(name, &Order::Join { proof: None }).unwrap();
                }
            }
        }
        stage
    }

    /// As for somebody who opens nothing of what the log held before it was told how the room stands.
    fn told(&self) -> Self {
        let state = State::of(self.state.room(), self.state.snapshot().clone());
        let (proofs, stamp) = (stored::device(8), self.stamp);
        let (roster, index) = (self.roster.clone(), self.index);
        Self { roster, proofs, index, state, stamp, log: Log::default() }
    }

    fn later(&mut self, by: Millis) {
        self.stamp = self.stamp.after(by);
    }
}

fn suspended(name: &str, commit: Index) -> Result<Effect, Refusal> {
    Ok(Effect::Suspended { peer: peer(name), commit })
}

#[test]
fn most_of_the_others_suspend_and_what_the_suspended_one_commits_is_void() {
    for kind in [Kind::Main, Kind::Listed, Kind::Private] {
        let mut stage = Stage::of_four(kind);
        let bad = stage.commit("bob");
        assert_eq!(stage.says("carol", bad), Ok(Effect::Stranded(peer("bob"))));
        stage.commits("bob").unwrap();
        assert_eq!(stage.says("dave", bad), suspended("bob", bad), "two of three");
        assert_eq!(stage.commits("bob"), Err(Refusal::Suspended));
        let group = Order::Group { group: GroupId([8; 16]), replaces: Some(GROUP) };
        assert_eq!(stage.order("bob", &group), Err(Refusal::Suspended));
        // Nothing else is taken from it, and nothing from others.
        assert_eq!(stage.role("bob"), Some(Role::Member));
        assert!(stage.state.may_write(&peer("bob"), &stage.roster));
        assert_eq!(stage.says("alice", bad), Err(Refusal::NotAllowed), "that is settled");
        stage.order("carol", &group).unwrap();
        stage.commits("carol").unwrap();
        assert!(stage.state.snapshot().stranded.is_empty());
        let again = Snapshot::decode(&stage.state.snapshot().encode());
        assert_eq!(again.as_ref(), Ok(stage.state.snapshot()), "it is stored");
    }
}

#[test]
fn a_minority_suspends_nobody_however_often_it_says_so() {
    let mut stage = Stage::of_four(Kind::Main);
    for _ in 0..10 {
        let commit = stage.commit("bob");
        stage.says("carol", commit).unwrap();
        assert_eq!(stage.says("carol", commit), Err(Refusal::NotAllowed), "once for a commit");
    }
    stage.commits("bob").unwrap();
    let kept = &stage.state.snapshot().stranded;
    assert_eq!(kept.len(), CLAIMS_MAX, "what one says takes a bounded place");
    assert!(kept.values().all(|it| it.by == peer("bob") && it.said == [peer("carol")].into()));
    // One says so of one commit, and one of another: of neither most do.
    let (first, last) = (stage.commit("bob"), stage.commit("bob"));
    stage.says("carol", first).unwrap();
    assert_eq!(stage.says("dave", last), Ok(Effect::Stranded(peer("bob"))));
    stage.commits("bob").unwrap();
}

#[test]
fn of_two_none_suspends_the_other() {
    let mut stage = Stage::new(Kind::Listed);
    stage.order("bob", &Order::Join { proof: None }).unwrap();
    let bad = stage.commit("bob");
    assert_eq!(stage.says("alice", bad), Ok(Effect::Stranded(peer("bob"))));
    stage.commits("bob").unwrap();
    let mut stage = Stage::new(Kind::Private);
    stage.invite("alice", "bob", Role::Member).unwrap();
    let bad = stage.commit("bob");
    assert_eq!(stage.says("alice", bad), Ok(Effect::Stranded(peer("bob"))));
    stage.commits("bob").unwrap();
    // In the room of the two it is not even counted.
    let mut stage = Stage::new(Kind::Private);
    let charter = Charter { with: Some(peer("bob")), ..Charter::new(Kind::Direct, String::new()) };
    stage.state = State::new(RoomId([8; 16]), charter.clone());
    stage.order("alice", &Order::Create { group: GROUP, charter: Box::new(charter) }).unwrap();
    let bad = stage.commit("bob");
    assert_eq!(stage.says("alice", bad), Err(Refusal::NotAllowed));
    assert!(stage.state.snapshot().commits.is_empty(), "nor remembered");
}

#[test]
fn of_a_sealed_room_who_was_told_how_it_stands_counts_as_those_who_were_there() {
    let mut stage = Stage::of_four(Kind::Private);
    let bad = stage.commit("bob");
    let mut late = [stage.told()].into_iter().collect::<Vec<_>>();
    stage.says("carol", bad).unwrap();
    late.push(stage.told());
    assert_eq!(late[0].says("carol", bad), Ok(Effect::Stranded(peer("bob"))));
    let verdict = stage.says("dave", bad);
    assert_eq!(verdict, suspended("bob", bad));
    for other in &mut late {
        assert_eq!(other.says("dave", bad), verdict);
        assert_eq!(other.state, stage.state);
        assert_eq!(other.commits("bob"), Err(Refusal::Suspended));
    }
    // Of what all may read the log itself tells which entries are commits.
    let mut plain = Stage::of_four(Kind::Listed);
    plain.commit("bob");
    assert!(plain.state.snapshot().commits.is_empty());
}

#[test]
fn the_commits_of_a_sealed_room_are_remembered_as_long_as_they_matter() {
    let mut stage = Stage::of_four(Kind::Private);
    let first = stage.commit("bob");
    for _ in 0..COMMITS_MAX {
        stage.commits("dave").unwrap();
    }
    assert_eq!(stage.state.snapshot().commits.len(), COMMITS_MAX);
    assert_eq!(stage.says("carol", first), Err(Refusal::NotAllowed), "of more the oldest goes");
    let second = Index(first.0 + 1);
    assert_eq!(stage.says("carol", second), Ok(Effect::Stranded(peer("dave"))));
    stage.later(Millis(CLAIM_WITHIN.0 + 1));
    stage.commits("carol").unwrap();
    let kept: Vec<Index> = stage.state.snapshot().commits.keys().copied().collect();
    assert_eq!(kept, [Index(stage.index)], "what is too old is forgotten");
}

#[test]
fn only_others_who_were_there_count_and_only_for_a_commit_that_was_ordered() {
    let mut stage = Stage::new(Kind::Listed);
    for name in ["bob", "carol"] {
        stage.order(name, &Order::Join { proof: None }).unwrap();
    }
    let bad = stage.commit("bob");
    let ahead = Index(stage.index + 20);
    let made = Made { by: peer("bob"), at: stage.stamp };
    stage.log.0.borrow_mut().insert(ahead, made);
    stage.order("dave", &Order::Join { proof: None }).unwrap();
    assert_eq!(stage.says("dave", bad), Err(Refusal::NotAllowed), "it came later");
    assert_eq!(stage.says("bob", bad), Err(Refusal::NotAllowed), "its own");
    for nothing in [NONE, Index(bad.0 - 1), ahead] {
        assert_eq!(stage.says("carol", nothing), Err(Refusal::NotAllowed), "{nothing}");
    }
    stage.says("carol", bad).unwrap();
    // Who left and came again was not there: alice alone is left of the others.
    stage.order("carol", &Order::Leave { cut: cut("carol") }).unwrap();
    assert_eq!(stage.says("carol", bad), Err(Refusal::NotInRoom));
    stage.order("carol", &Order::Join { proof: None }).unwrap();
    assert_eq!(stage.says("carol", bad), Err(Refusal::NotAllowed));
    assert_eq!(stage.says("alice", bad), Ok(Effect::Stranded(peer("bob"))));
    stage.commits("bob").unwrap();
}

#[test]
fn a_suspension_ends_by_time_and_its_commits_lead_to_no_other() {
    let mut stage = Stage::of_four(Kind::Main);
    let earlier = stage.commit("bob");
    let bad = stage.commit("bob");
    stage.says("carol", bad).unwrap();
    assert_eq!(stage.says("dave", bad), suspended("bob", bad));
    stage.later(Millis(SUSPENDED_FOR.0 - 1));
    assert_eq!(stage.commits("bob"), Err(Refusal::Suspended));
    assert_eq!(stage.state.suspended(stage.stamp).count(), 1);
    stage.later(Millis(1));
    assert_eq!(stage.state.suspended(stage.stamp).count(), 0);
    let next = stage.commit("bob");
    for (name, commit) in [("alice", bad), ("alice", earlier), ("carol", bad), ("dave", earlier)] {
        assert_eq!(stage.says(name, commit), Err(Refusal::NotAllowed), "{name} {commit}");
    }
    // The next bad one is another matter.
    stage.says("alice", next).unwrap();
    assert_eq!(stage.says("dave", next), suspended("bob", next));
}

#[test]
fn what_is_long_past_is_nobodys_business() {
    let mut stage = Stage::of_four(Kind::Main);
    let bad = stage.commit("bob");
    stage.says("carol", bad).unwrap();
    stage.later(CLAIM_WITHIN);
    let other = stage.commit("carol");
    let said = |stage: &Stage| {
        let all = stage.state.stranded(stage.stamp, &stage.log);
        all.map(|(commit, it)| (commit, it.by)).collect::<Vec<_>>()
    };
    assert_eq!(said(&stage), [(bad, peer("bob"))]);
    stage.later(Millis(1));
    assert_eq!(said(&stage), [], "nor is it shown");
    assert_eq!(stage.says("dave", bad), Err(Refusal::NotAllowed));
    stage.says("dave", other).unwrap();
    let kept: Vec<Index> = stage.state.snapshot().stranded.keys().copied().collect();
    assert_eq!(kept, [other], "what is too old is forgotten");
}

#[test]
fn an_admin_forgives_another_member_and_nobody_else_does() {
    for kind in [Kind::Main, Kind::Listed, Kind::Private] {
        let mut stage = Stage::of_four(kind);
        assert_eq!(stage.forgives("alice", "bob"), Err(Refusal::NotAllowed), "there is nothing");
        let bad = stage.commit("bob");
        stage.says("carol", bad).unwrap();
        stage.says("dave", bad).unwrap();
        for name in ["bob", "carol"] {
            assert_eq!(stage.forgives(name, "bob"), Err(Refusal::NotAllowed));
        }
        assert_eq!(stage.forgives("alice", "bob"), Ok(Effect::Forgiven(peer("bob"))));
        stage.commits("bob").unwrap();
        assert_eq!(stage.says("alice", bad), Err(Refusal::NotAllowed), "it is forgiven");
        // An owner has no word about itself.
        let own = stage.commit("alice");
        stage.says("carol", own).unwrap();
        assert_eq!(stage.says("dave", own), suspended("alice", own));
        assert_eq!(stage.forgives("alice", "alice"), Err(Refusal::NotAllowed));
    }
}
