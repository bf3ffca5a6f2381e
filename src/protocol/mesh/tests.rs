//! What the graph promises, on many groups.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Mesh, bits_of};
use crate::ids::PeerId;

fn peer(number: usize) -> PeerId {
    PeerId::of_rsa_spki(&number.to_be_bytes())
}

fn group(count: usize) -> BTreeSet<PeerId> {
    (0..count).map(peer).collect()
}

fn hubs(count: usize) -> BTreeSet<PeerId> {
    (0..count).map(|number| peer(number * 3)).collect()
}

/// How many links away from one everybody is.
fn distances(mesh: &Mesh, from: &PeerId) -> BTreeMap<PeerId, usize> {
    let mut known = BTreeMap::from([(*from, 0)]);
    let mut open = VecDeque::from([*from]);
    while let Some(at) = open.pop_front() {
        for next in mesh.links_of(&at) {
            if !known.contains_key(&next) {
                known.insert(next, known[&at] + 1);
                open.push_back(next);
            }
        }
    }
    known
}

#[test]
fn up_to_max_links_everybody_is_linked_with_everybody() {
    for count in 1..=9 {
        let mesh = Mesh::new(&group(count), &BTreeSet::new(), count, 8);
        assert!(mesh.is_full());
        assert!(group(count).iter().all(|it| mesh.links_of(it).len() == count - 1));
    }
    // Those who are away count, too: the graph does not change its kind with every sleep.
    assert!(!Mesh::new(&group(5), &BTreeSet::new(), 10, 8).is_full());
}

#[test]
fn links_are_mutual_bounded_and_lead_everywhere_in_few_steps() {
    for count in [2, 3, 10, 34, 35, 64, 65, 100, 257, 500] {
        for hub_count in [0, 1, 5] {
            for max_links in [4, 8, 32] {
                let all = group(count);
                let mesh = Mesh::new(&all, &hubs(hub_count), usize::MAX, max_links);
                let bits = usize::try_from(bits_of(count)).unwrap();
                let most = max_links.min(2 * bits) + hub_count;
                for one in &all {
                    let links = mesh.links_of(one);
                    let is_hub = hubs(hub_count).contains(one);
                    assert!(is_hub || links.len() <= most, "{count} {max_links}: {}", links.len());
                    assert!(!links.contains(one));
                    assert!(links.iter().all(|other| mesh.links_of(other).contains(one)));
                }
                let far = distances(&mesh, all.first().unwrap());
                assert_eq!(far.len(), count, "not connected: {count} {hub_count} {max_links}");
                let diameter = far.values().max().copied().unwrap();
                if max_links == 32 {
                    assert!(diameter <= bits.max(1), "{count}: {diameter}");
                }
                if hub_count > 0 {
                    assert!(diameter <= 2, "{count}: {diameter}");
                }
            }
        }
    }
}

#[test]
fn whoever_goes_is_jumped_over_and_few_links_change() {
    let all = group(100);
    let before = Mesh::new(&all, &hubs(5), 100, 32);
    let mut changed = 0;
    for gone in &all {
        let mut left = all.clone();
        left.remove(gone);
        let after = Mesh::new(&left, &hubs(5), 100, 32);
        assert_eq!(distances(&after, left.first().unwrap()).len(), 99);
        for one in &left {
            changed += after.links_of(one).difference(&before.links_of(one)).count();
        }
    }
    // Of 12 links to neighbours, somebody's coming or going moves about two.
    let cases = 100 * 99;
    assert!(changed * 2 < cases * 5, "{changed} links change in {cases} cases");
    // Half of them gone at once.
    let half: BTreeSet<PeerId> = all.iter().step_by(2).copied().collect();
    let mesh = Mesh::new(&half, &BTreeSet::new(), 100, 32);
    assert_eq!(distances(&mesh, half.first().unwrap()).len(), 50);
}

#[test]
fn everybody_gets_what_an_author_says_exactly_once() {
    for (count, hub_count, max_links) in
        [(40, 5, 32), (40, 0, 4), (100, 5, 32), (100, 0, 32), (35, 1, 6)]
    {
        let all = group(count);
        let mesh = Mesh::new(&all, &hubs(hub_count), usize::MAX, max_links);
        for author in all.iter().take(12) {
            let far = distances(&mesh, author);
            let mut copies: BTreeMap<PeerId, usize> = BTreeMap::new();
            let mut most = 0;
            for one in &all {
                let tree = mesh.tree(author, one);
                assert_eq!(mesh.depth(&tree, one), Some(far[one]));
                most = most.max(tree.children.len());
                for child in &tree.children {
                    *copies.entry(*child).or_default() += 1;
                    assert!(mesh.are_linked(one, child));
                    assert_eq!(mesh.tree(author, child).parent, Some(*one));
                }
            }
            for one in all.iter().filter(|one| *one != author) {
                let direct = usize::from(mesh.are_linked(author, one));
                let passed = copies.get(one).copied().unwrap_or_default();
                assert_eq!(direct + passed, 1, "{count} {hub_count}");
            }
            // Nobody passes on to all the others.
            assert!(hub_count != 5 || most <= count / 3, "{count}: {most}");
        }
    }
}

#[test]
fn whoever_is_not_there_has_no_links_and_no_tree() {
    let mesh = Mesh::new(&group(40), &hubs(5), 60, 8);
    assert!(mesh.links_of(&peer(99)).is_empty() && mesh.near(&peer(99)).is_empty());
    let tree = mesh.tree(&peer(99), &peer(1));
    assert!(tree.children.is_empty() && mesh.depth(&tree, &peer(1)).is_none());
    assert!(!mesh.has(&peer(99)) && mesh.has(&peer(1)));
}
