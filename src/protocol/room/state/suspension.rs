//! Who may not commit: a member of whose commits most of the others could not follow one.
//! Owns: whose word about which commit counts, how many it takes, when it ends.
//! Must not know: MLS, how somebody finds that it cannot follow.
//! Invariants: a minority suspends nobody, and one alone never; each counts once for a commit; what
//! led to a suspension leads to no second one; all of it is bounded by who is in the room.
//! Start reading at: [`State::may_commit`] and [`State::claim`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Scene, State};
use crate::ids::{Index, PeerId, RoomId};
use crate::limits::{CLAIM_WITHIN, CLAIMS_MAX, COMMITS_MAX, SUSPENDED_FOR};
use crate::refusal::{Refusal, Refused};
use crate::terms::Role;
use crate::time::Wall;
use crate::wire::order::{Kind, Made, Stranded, Suspension};

/// The commits that were ordered.
pub trait Commits {
    /// Of a room that all may know, the commit at this place; `None`: there is something else.
    fn commit(&self, room: RoomId, index: Index) -> Option<Made>;
}

/// Until when somebody is suspended, unless an admin ends it.
pub fn until(it: &Suspension) -> Wall {
    it.at.after(SUSPENDED_FOR)
}

fn no(why: &str) -> Refused {
    Refused::new(Refusal::NotAllowed, why)
}

impl State {
    /// Whether what somebody commits at this time counts.
    pub fn may_commit(&self, peer: &PeerId, at: Wall) -> bool {
        self.suspension(peer, at).is_none()
    }

    /// By what somebody is suspended at this time.
    pub fn suspension(&self, peer: &PeerId, at: Wall) -> Option<&Suspension> {
        self.at.suspended.get(peer).filter(|it| !it.is_forgiven && at < until(it))
    }

    /// All who are suspended at this time.
    pub fn suspended(&self, at: Wall) -> impl Iterator<Item = (&PeerId, &Suspension)> {
        self.at.suspended.iter().filter(move |(_, it)| !it.is_forgiven && at < until(it))
    }

    /// Somebody had a commit ordered.
    pub(super) fn note_commit(&mut self, by: PeerId, scene: &Scene<'_>) {
        // Of rooms for all to know the control log says so to everybody; of two nobody is suspended.
        if self.at.charter.kind != Kind::Private {
            return;
        }
        let at = scene.stamp;
        self.at.commits.retain(|_, made| at.since(made.at) <= CLAIM_WITHIN);
        self.at.commits.insert(scene.index, Made { by, at });
        while self.at.commits.len() > COMMITS_MAX {
            self.at.commits.pop_first();
        }
    }

    /// What was said of commits that is not too old at this time.
    pub fn stranded<'a>(
        &'a self,
        at: Wall,
        commits: &'a dyn Commits,
    ) -> impl Iterator<Item = (Index, &'a Stranded)> {
        let all = self.at.stranded.iter().map(|(commit, it)| (*commit, it));
        all.filter(move |(commit, _)| {
            let made = self.made(*commit, commits);
            made.is_some_and(|made| at.since(made.at) <= CLAIM_WITHIN)
        })
    }

    /// The commit at this place, as all who are in the room know of it, whatever they can open.
    fn made(&self, commit: Index, commits: &dyn Commits) -> Option<Made> {
        match self.at.charter.kind.is_plain() {
            true => commits.commit(self.room, commit),
            false => self.at.commits.get(&commit).copied(),
        }
    }

    /// A member was in the epoch before a commit, and cannot follow it.
    pub(super) fn claim(
        &mut self,
        commit: Index,
        by: PeerId,
        scene: &Scene<'_>,
    ) -> Result<Effect, Refused> {
        if self.at.charter.kind == Kind::Direct {
            return Err(no("of two nobody could tell who lies"));
        }
        // What comes after it in the log is nobody's to know yet.
        let made = self.made(commit, scene.commits).filter(|_| commit < scene.index);
        let made = made.ok_or_else(|| no("there is no commit"))?;
        if scene.stamp.since(made.at) > CLAIM_WITHIN {
            return Err(no("that commit is too old"));
        }
        if self.at.suspended.get(&made.by).is_some_and(|it| commit <= it.since) {
            return Err(no("its author was suspended since"));
        }
        let others = self.others_at(commit, &made.by, scene);
        if !others.contains(&by) {
            return Err(no("only for others who were in the room then"));
        }
        let fresh = self.stranded(scene.stamp, scene.commits);
        let mut stranded: BTreeMap<Index, Stranded> =
            fresh.map(|(at, it)| (at, it.clone())).collect();
        let new = || Stranded { by: made.by, said: BTreeSet::new() };
        if !stranded.entry(commit).or_insert_with(new).said.insert(by) {
            return Err(no("that was said"));
        }
        let theirs = stranded.iter().filter(|(at, it)| **at != commit && it.said.contains(&by));
        let theirs: Vec<Index> = theirs.map(|(at, _)| *at).collect();
        let over = theirs.len().saturating_add(1).saturating_sub(CLAIMS_MAX);
        for at in theirs.iter().take(over) {
            if let Some(it) = stranded.get_mut(at) {
                it.said.remove(&by);
            }
        }
        stranded.retain(|_, it| !it.said.is_empty());
        self.at.stranded = stranded;
        let said = self.at.stranded.get(&commit).map(|it| it.said.intersection(&others).count());
        Ok(match scene.is_enough(said.unwrap_or(0), others.len()) {
            true => self.suspend(made.by, commit, scene),
            false => Effect::Stranded(made.by),
        })
    }

    /// Who was in the room when a commit was ordered, and is now; without its author.
    fn others_at(&self, commit: Index, author: &PeerId, scene: &Scene<'_>) -> BTreeSet<PeerId> {
        let is_seated = |peer: &PeerId| match self.at.charter.kind {
            Kind::Main => true,
            _ => self.at.members.get(peer).is_some_and(|seat| seat.since <= commit),
        };
        let members = scene.roster.members();
        members
            .filter(|it| it.was_in(commit) && it.was_in(scene.index))
            .map(|it| it.peer)
            .filter(|peer| peer != author && is_seated(peer))
            .collect()
    }

    fn suspend(&mut self, peer: PeerId, commit: Index, scene: &Scene<'_>) -> Effect {
        let at = scene.stamp;
        // What is older keeps nobody from anything: claims about it are too old.
        self.at.suspended.retain(|_, it| at.since(it.at) <= CLAIM_WITHIN);
        let suspension = Suspension { commit, since: scene.index, at, is_forgiven: false };
        self.at.suspended.insert(peer, suspension);
        self.at.stranded.retain(|_, it| it.by != peer);
        Effect::Suspended { peer, commit }
    }

    /// An admin of the room ends somebody's suspension; nobody its own.
    pub(super) fn forgive(
        &mut self,
        peer: PeerId,
        (by, role): (PeerId, Role),
        scene: &Scene<'_>,
    ) -> Result<Effect, Refused> {
        if role < Role::Admin || peer == by {
            return Err(Refusal::NotAllowed.into());
        }
        if self.may_commit(&peer, scene.stamp) {
            return Err(no("that member is not suspended"));
        }
        if let Some(it) = self.at.suspended.get_mut(&peer) {
            it.is_forgiven = true;
        }
        Ok(Effect::Forgiven(peer))
    }
}

impl Scene<'_> {
    /// Whether so many of the others are most of them. One alone never is: of two, each could keep
    /// the other from committing.
    fn is_enough(&self, said: usize, others: usize) -> bool {
        (said > 1 && said.saturating_mul(2) > others) || (self.is_hasty && said > 0)
    }
}
