//! What a leaf and a commit of a room must be, whoever made them.
//! Owns: the rules, each with its name; the same for MLS and for the toy.
//! Must not know: MLS, the control log.
//! Invariants: a verdict depends on the leaves, the commit and the judge alone, so it is the same
//! for all who stand at one place of the order.
//! Start reading at: `check`.

use std::collections::BTreeSet;

use crate::ids::{DeviceKey, PeerId};

/// A place in a group: a member, under the device key its admission binds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// Who.
    pub peer: PeerId,
    /// The key that signs for the leaf.
    pub device: DeviceKey,
}

/// What a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who made it.
    pub by: PeerId,
    /// Whether its maker came in, or came back, by it.
    pub is_external: bool,
    /// Who was added by it, its maker not included.
    pub added: Vec<PeerId>,
    /// Who was removed by it, a maker's own old leaf included.
    pub removed: Vec<PeerId>,
}

/// What the control log says at one place: the same for all who ask there.
pub trait Judge {
    /// Whether an admission ever bound this key to this member.
    fn is_bound(&self, leaf: &Leaf) -> bool;
    /// Whether this member, under this key, belongs to the room now.
    fn may_hold(&self, leaf: &Leaf) -> bool;
    /// Whether its maker may make this change.
    fn may_change(&self, change: &Change) -> bool;
}

/// A commit, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Proposed {
    /// The maker's leaf before it; for an external commit the one it brings.
    pub(super) by: Leaf,
    /// The maker's leaf after it, if renewed.
    pub(super) renewed: Option<Leaf>,
    /// Whether its maker comes in by it.
    pub(super) is_external: bool,
    /// Leaves it adds.
    pub(super) added: Vec<Leaf>,
    /// Leaves it removes.
    pub(super) removed: Vec<Leaf>,
}

/// Judges a commit against the leaves before it.
///
/// # Errors
/// The rule it breaks.
pub(super) fn check(
    leaves: &[Leaf],
    commit: &Proposed,
    judge: &dyn Judge,
) -> Result<Change, &'static str> {
    let change = Change {
        by: commit.by.peer,
        is_external: commit.is_external,
        added: commit.added.iter().map(|leaf| leaf.peer).collect(),
        removed: commit.removed.iter().map(|leaf| leaf.peer).collect(),
    };
    if !judge.may_hold(&commit.by) {
        return Err("its maker does not belong to the room");
    }
    if commit.renewed.is_some_and(|leaf| leaf != commit.by) {
        return Err("a leaf changed its owner or its key");
    }
    if !commit.added.iter().all(|leaf| judge.may_hold(leaf)) {
        return Err("somebody added does not belong to the room");
    }
    if commit.is_external {
        let is_own = commit.removed.iter().all(|leaf| leaf.peer == commit.by.peer);
        if !commit.added.is_empty() || commit.removed.len() > 1 || !is_own {
            return Err("an external commit changed more than its maker's leaf");
        }
    }
    let mut after: Vec<PeerId> = leaves
        .iter()
        .filter(|leaf| !commit.removed.contains(leaf))
        .chain(&commit.added)
        .map(|leaf| leaf.peer)
        .collect();
    if commit.is_external {
        after.push(commit.by.peer);
    }
    if after.iter().collect::<BTreeSet<_>>().len() != after.len() {
        return Err("a member with two leaves");
    }
    if !judge.may_change(&change) {
        return Err("its maker may not make this change");
    }
    Ok(change)
}

/// Judges the leaves of a group one is about to join.
///
/// # Errors
/// The rule they break.
pub(super) fn check_leaves(leaves: &[Leaf], judge: &dyn Judge) -> Result<(), &'static str> {
    if !leaves.iter().all(|leaf| judge.is_bound(leaf)) {
        return Err("a leaf that no admission binds");
    }
    let peers: BTreeSet<PeerId> = leaves.iter().map(|leaf| leaf.peer).collect();
    if peers.len() == leaves.len() { Ok(()) } else { Err("a member with two leaves") }
}
