//! Invariants 1 to 6, each under its name, looked at after every step.
//! Owns: what an outside observer can see to be wrong.
//! Must not know: how the core decides.
//! Invariants: one_leader_per_ballot, promise_never_decreases, committed_in_later_leaders,
//! equal_position_equal_log, one_voter_per_entry, unnamed_never_counts.
//! Start reading at: [`check`].

use p2pgroup::identity::Domain;
use p2pgroup::ids::Index;
use p2pgroup::protocol::control::{Ballot, Control, Message, Payload, Position, Voter};
use p2pgroup::wire::control::vote_bytes;

use crate::model::{Model, NETWORK, NODES, Seen, State, Step};
use crate::toy;

/// Looks at what one step did to one node. Returns what the observer remembers, if that changed.
pub(crate) fn check(
    model: &Model,
    before: &State,
    after: &State,
    node: usize,
    step: Step,
    sent: &[&Message],
) -> Result<Option<Seen>, &'static str> {
    let old = &model.node(before.nodes[node]).core;
    let new = &model.node(after.nodes[node]).core;
    if !matches!(step, Step::Wipe(_)) && new.promised() < old.promised() {
        return Err("promise_never_decreases");
    }
    equal_position_equal_log(model, after, node)?;
    unnamed_never_counts(sent)?;
    if matches!(step, Step::Change(..)) {
        one_voter_per_entry(old, new)?;
    }
    let mut seen = None;
    one_leader_per_ballot(before, old, new, &mut seen)?;
    note_commits(before, new, &mut seen)?;
    let known = seen.as_ref().unwrap_or(&before.seen);
    committed_in_later_leaders(model, after, known)?;
    Ok(seen)
}

fn own_ballot(core: &Control) -> Option<Ballot> {
    core.leader().filter(|_| core.is_leader()).map(|(_, ballot)| ballot)
}

fn position(core: &Control, index: u64) -> Option<Position> {
    core.entry(Index(index)).map(|entry| Position { ballot: entry.ballot, index: entry.index })
}

/// Nobody comes to lead under a ballot that has led before, itself in an earlier life included.
fn one_leader_per_ballot(
    before: &State,
    old: &Control,
    new: &Control,
    seen: &mut Option<Seen>,
) -> Result<(), &'static str> {
    let Some(ballot) = own_ballot(new).filter(|ballot| own_ballot(old) != Some(*ballot)) else {
        return Ok(());
    };
    if before.seen.elected.contains(&ballot) {
        return Err("one_leader_per_ballot");
    }
    let seen = seen.get_or_insert_with(|| (*before.seen).clone());
    seen.elected.push(ballot);
    seen.elected.sort_unstable();
    Ok(())
}

/// All that is ever committed, by anybody, is one sequence.
fn note_commits(
    before: &State,
    new: &Control,
    seen: &mut Option<Seen>,
) -> Result<(), &'static str> {
    for index in 1..=new.commit().0 {
        let Some(at) = position(new, index) else { return Err("committed_in_later_leaders") };
        let place = index as usize - 1;
        let known = seen.as_ref().unwrap_or(&before.seen).committed.get(place).copied();
        match known {
            Some((known, _)) if known != at => return Err("committed_in_later_leaders"),
            Some(_) => {}
            None => {
                let seen = seen.get_or_insert_with(|| (*before.seen).clone());
                seen.committed.push((at, new.promised()));
            }
        }
    }
    Ok(())
}

fn committed_in_later_leaders(
    model: &Model,
    after: &State,
    seen: &Seen,
) -> Result<(), &'static str> {
    for id in after.nodes {
        let core = &model.node(id).core;
        let Some(ballot) = own_ballot(core) else { continue };
        for (at, under) in &seen.committed {
            if ballot > *under && position(core, at.index.0) != Some(*at) {
                return Err("committed_in_later_leaders");
            }
        }
    }
    Ok(())
}

fn equal_position_equal_log(model: &Model, after: &State, node: usize) -> Result<(), &'static str> {
    let new = &model.node(after.nodes[node]).core;
    for other in (0..NODES).filter(|other| *other != node) {
        let other = &model.node(after.nodes[other]).core;
        let shared = new.last().0.0.min(other.last().0.0);
        let mut is_equal = false;
        for index in (1..=shared).rev() {
            is_equal |= position(new, index) == position(other, index);
            if is_equal && new.entry(Index(index)) != other.entry(Index(index)) {
                return Err("equal_position_equal_log");
            }
        }
    }
    Ok(())
}

fn one_voter_per_entry(old: &Control, new: &Control) -> Result<(), &'static str> {
    let changes: Vec<u64> = (1..=new.last().0.0)
        .filter(|index| {
            let payload = new.entry(Index(*index)).map(|entry| &entry.payload);
            matches!(payload, Some(Payload::Voters(_)))
        })
        .collect();
    if new.last() == old.last() {
        return Ok(());
    }
    let is_single = old.voters().distance(new.voters()) == 1;
    let is_settled = changes.iter().rev().nth(1).is_none_or(|index| *index <= old.commit().0);
    let own = own_ballot(old);
    let has_own = (1..=old.commit().0).any(|index| position(old, index).map(|p| p.ballot) == own);
    if is_single && is_settled && has_own { Ok(()) } else { Err("one_voter_per_entry") }
}

/// Whoever shows a proof shows votes of the very lives that the voter set names.
fn unnamed_never_counts(sent: &[&Message]) -> Result<(), &'static str> {
    for message in sent {
        let Message::Append(append) = message else { continue };
        let Some(proof) = &append.proof else { continue };
        let has_voted = |voter: &&Voter| {
            let who = (&voter.peer, voter.incarnation);
            let paper = vote_bytes(&NETWORK, &append.ballot, &proof.key, &proof.position, who);
            let signature = toy::sign(&voter.key, Domain::Vote, &paper);
            proof.votes.iter().any(|(peer, by)| *peer == voter.peer && *by == signature)
        };
        let count = proof.voters.as_slice().iter().filter(has_voted).count();
        if count < proof.voters.majority() {
            return Err("unnamed_never_counts");
        }
    }
    Ok(())
}
