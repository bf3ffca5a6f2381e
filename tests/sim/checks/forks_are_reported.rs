//! Invariant 22: two entries at one place of a log lead everywhere to the same report.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: whoever knows of both has kept both, and everybody comes to know.
//! Start reading at: `see`.

use std::collections::BTreeSet;

use p2pgroup::ids::Hash;

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Forks;

impl Check for Forks {
    fn name(&self) -> &'static str {
        "forks_are_reported"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Ended = seen else { return Ok(()) };
        for ((log, seq), _) in world.oracle.hashes.iter().filter(|(_, it)| it.len() > 1) {
            // A branch that nobody else ever got is gone with its author's disk.
            let held: BTreeSet<Hash> = world
                .members()
                .filter_map(|it| it.disk.all_entries().get(log)?.get(&seq.0))
                .map(|entry| entry.hash)
                .collect();
            let evidence = |node: &crate::world::Node| {
                node.disk.all_forks().get(log).is_some_and(|it| !it.is_empty())
            };
            if held.len() < 2 {
                continue;
            }
            for node in world.members().filter(|it| it.is_up() && it.is_ready) {
                if !evidence(node) {
                    let label = &node.label;
                    return Err(format!("{label} does not know that {log:?} forks at {seq}"));
                }
            }
        }
        Ok(())
    }
}
