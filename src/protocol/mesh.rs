//! Who keeps a link with whom, and who passes on whose entries: functions of who is there.
//! Owns: the circulant graph, the hubs, the tree of each author.
//! Must not know: links that are up, addresses, rooms, what is passed on.
//! Invariants: a link that one keeps the other keeps, too; those who are there are connected; of
//! everybody but hubs the number of links is bounded; each has exactly one who passes an author's
//! entries on to it, unless the author does so itself.
//! Start reading at: [`Mesh::are_linked`] and [`Mesh::tree`].
//!
//! ```text
//!   few members:   everybody with everybody
//!   more:          those who are there in a ring, by peer id; each with those 1, 2, 4, … places
//!                  before and after it, and with the hubs (leader and voters), who keep everybody
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::ids::PeerId;

/// Those who are there, and who of them keeps a link with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mesh {
    /// By peer id.
    ring: Vec<PeerId>,
    /// Whether each of them keeps a link with everybody.
    is_hub: Vec<bool>,
    /// How many places apart neighbours are, ascending.
    offsets: Vec<usize>,
    is_full: bool,
}

/// How what one author says comes to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// By place in the ring how many links away from the author.
    depths: Vec<usize>,
    /// Who passes the author's entries on to us, if not the author.
    pub parent: Option<PeerId>,
    /// To whom we pass them on.
    pub children: Vec<PeerId>,
}

/// How often `count` can be halved before nothing but one is left, rounded up.
fn bits_of(count: usize) -> u32 {
    usize::BITS.saturating_sub(count.saturating_sub(1).leading_zeros())
}

impl Mesh {
    /// Of a group of `size`, those who are there, oneself included. With up to `max_links` others
    /// everybody is linked with everybody, be they there or not.
    pub fn new(
        there: &BTreeSet<PeerId>,
        hubs: &BTreeSet<PeerId>,
        size: usize,
        max_links: usize,
    ) -> Self {
        let ring: Vec<PeerId> = there.iter().copied().collect();
        let is_hub = ring.iter().map(|peer| hubs.contains(peer)).collect();
        // Two links for each offset: where few links are allowed, the offsets are farther apart.
        let bits = bits_of(ring.len()).max(1);
        let most = u32::try_from(max_links / 2).unwrap_or(u32::MAX).max(1);
        let step = usize::try_from(bits.div_ceil(most.min(bits))).unwrap_or(1);
        let shifts = (0..bits).step_by(step);
        let offsets = shifts.filter_map(|shift| 1_usize.checked_shl(shift)).collect();
        Self { ring, is_hub, offsets, is_full: size <= max_links.saturating_add(1) }
    }

    /// Whether everybody is linked with everybody.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether somebody is there.
    pub fn has(&self, peer: &PeerId) -> bool {
        self.place(peer).is_some()
    }

    fn place(&self, peer: &PeerId) -> Option<usize> {
        self.ring.binary_search(peer).ok()
    }

    fn hub_at(&self, place: usize) -> bool {
        self.is_hub.get(place).copied().unwrap_or_default()
    }

    /// Whether so many places apart, in a ring, are neighbours.
    fn is_near(&self, one: usize, other: usize) -> bool {
        let apart = one.abs_diff(other);
        let around = self.ring.len().saturating_sub(apart);
        self.offsets.contains(&apart) || self.offsets.contains(&around)
    }

    fn are_adjacent(&self, one: usize, other: usize) -> bool {
        one != other
            && (self.is_full || self.hub_at(one) || self.hub_at(other) || self.is_near(one, other))
    }

    /// Whether these two, both there, keep a link.
    pub fn are_linked(&self, one: &PeerId, other: &PeerId) -> bool {
        let places = self.place(one).zip(self.place(other));
        places.is_some_and(|(one, other)| self.are_adjacent(one, other))
    }

    /// With whom somebody keeps a link.
    pub fn links_of(&self, peer: &PeerId) -> BTreeSet<PeerId> {
        let Some(place) = self.place(peer) else { return BTreeSet::new() };
        let all = self.ring.iter().enumerate();
        all.filter(|(other, _)| self.are_adjacent(place, *other)).map(|(_, it)| *it).collect()
    }

    /// Somebody's neighbours in the ring, whether or not there are hubs.
    pub fn near(&self, peer: &PeerId) -> BTreeSet<PeerId> {
        let Some(place) = self.place(peer) else { return BTreeSet::new() };
        let all = self.ring.iter().enumerate();
        let near = all.filter(|(other, _)| *other != place && self.is_near(place, *other));
        near.map(|(_, peer)| *peer).collect()
    }

    /// How what `author` says comes to everybody, as far as it concerns `me`. It says it to all it
    /// is linked with; of those who pass it on to somebody farther away one is chosen, differently
    /// for each author and receiver, so that none has all the work.
    pub fn tree(&self, author: &PeerId, me: &PeerId) -> Tree {
        let (Some(root), Some(mine)) = (self.place(author), self.place(me)) else {
            return Tree::default();
        };
        let mut tree = Tree { depths: vec![usize::MAX; self.ring.len()], ..Tree::default() };
        if let Some(depth) = tree.depths.get_mut(root) {
            *depth = 0;
        }
        let mut layer = vec![root];
        let mut depth: usize = 0;
        while !layer.is_empty() {
            depth = depth.saturating_add(1);
            let mut next = Vec::new();
            for (place, peer) in self.ring.iter().enumerate() {
                if tree.depths.get(place) != Some(&usize::MAX) {
                    continue;
                }
                let givers: Vec<usize> =
                    layer.iter().copied().filter(|it| self.are_adjacent(*it, place)).collect();
                let Some(giver) = choose(&givers, author, peer) else { continue };
                next.push(place);
                if giver == mine && depth > 1 {
                    tree.children.push(*peer);
                }
                if place == mine && depth > 1 {
                    tree.parent = self.ring.get(giver).copied();
                }
            }
            for place in &next {
                if let Some(it) = tree.depths.get_mut(*place) {
                    *it = depth;
                }
            }
            layer = next;
        }
        tree
    }

    /// How many links away from a tree's author somebody is; `None`: not there, or not connected.
    pub fn depth(&self, tree: &Tree, peer: &PeerId) -> Option<usize> {
        let depth = tree.depths.get(self.place(peer)?).copied()?;
        (depth != usize::MAX).then_some(depth)
    }
}

/// One of these, by both peer ids: the same for all who ask.
fn choose(givers: &[usize], author: &PeerId, receiver: &PeerId) -> Option<usize> {
    let tail = |peer: &PeerId| {
        let end = peer.as_bytes().last_chunk::<8>().copied().unwrap_or_default();
        u64::from_be_bytes(end)
    };
    let mixed = tail(author).rotate_left(17) ^ tail(receiver);
    let count = u64::try_from(givers.len()).unwrap_or(u64::MAX);
    let at = mixed.checked_rem(count)?;
    givers.get(usize::try_from(at).ok()?).copied()
}
