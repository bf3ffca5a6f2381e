//! Invariant 22: two entries at one place of a log lead everywhere to the same report and the same
//! kept set.
//! Owns: the choice of what must be kept, made from outside.
//! Must not know: how the cores come to it.
//! Invariants: looked at when all is healed; of the entries that anybody holds at the first place
//! where a log forks, everybody keeps those of lowest hash, each with its author's signature.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::identity::{Domain, Proofs};
use p2pgroup::ids::{Hash, LogId, Seq};
use p2pgroup::limits::FORK_BRANCHES_MAX;
use p2pgroup::protocol::StoredEntry;
use p2pgroup::protocol::room::{batch_bytes, branches};

use super::{Check, Seen};
use crate::node::Node;
use crate::proofs::{Toy, network};
use crate::world::World;

#[derive(Default)]
pub struct Forks;

/// Everything that those who are in the room hold of a log, by place, as far as it counts.
fn held(nodes: &[&Node], log: &LogId) -> BTreeMap<Seq, BTreeSet<Hash>> {
    let mut held: BTreeMap<Seq, BTreeSet<Hash>> = BTreeMap::new();
    // A branch that nobody else ever got is gone with its author's disk.
    for node in nodes {
        let state = node.member().and_then(|it| it.room_state(&log.room));
        let end = state.and_then(|state| state.end_of(log));
        let entries = node.disk.all_entries().get(log).into_iter().flat_map(|it| it.values());
        let kept = node.disk.all_forks().get(log).into_iter().flatten();
        let counts = |it: &&StoredEntry| end.is_none_or(|end| it.seq <= end);
        for entry in entries.chain(kept).filter(counts) {
            held.entry(entry.seq).or_default().insert(entry.hash);
        }
    }
    held
}

fn keeps(world: &World, node: &Node, log: LogId, wanted: &[Hash]) -> Result<(), String> {
    let kept = branches(log, &node.disk);
    let roots: Vec<Hash> = kept.iter().map(|branch| branch[0].hash).collect();
    if roots != wanted {
        return Err(format!("keeps {roots:?} of {log:?}, and should keep {wanted:?}"));
    }
    let is_signed = |end: &StoredEntry| {
        let bytes = batch_bytes(network(), &log, end.seq, &end.hash);
        end.signature.as_ref().is_some_and(|signature| {
            let keys = world.keys_of(&log.author);
            keys.iter().any(|key| Toy::of(*key).verify(key, Domain::Batch, &bytes, signature))
        })
    };
    match kept.iter().all(|branch| branch.last().is_some_and(is_signed)) {
        true => Ok(()),
        false => Err(format!("cannot prove that {log:?} forks")),
    }
}

impl Check for Forks {
    fn name(&self) -> &'static str {
        "forks_are_reported"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Ended = seen else { return Ok(()) };
        let rooms = world.rooms();
        let logs: BTreeSet<LogId> =
            world.members().flat_map(|it| it.disk.all_entries().keys().copied()).collect();
        for log in logs {
            let nodes = rooms.get(&log.room).map(Vec::as_slice).unwrap_or_default();
            let held = held(nodes, &log);
            let wanted: Vec<Hash> = held
                .values()
                .find(|hashes| hashes.len() > 1)
                .map(|hashes| hashes.iter().copied().take(FORK_BRANCHES_MAX).collect())
                .unwrap_or_default();
            for node in nodes {
                keeps(world, node, log, &wanted)
                    .map_err(|text| format!("{} {text}", node.label))?;
            }
        }
        Ok(())
    }
}
