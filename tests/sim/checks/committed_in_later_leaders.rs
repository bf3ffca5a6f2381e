//! Invariant 3: a committed entry is in the log of every leader of a higher ballot.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at when somebody begins to lead.
//! Start reading at: `see`.

use std::collections::BTreeSet;

use p2pgroup::ids::Index;
use p2pgroup::protocol::control::Ballot;

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Committed(BTreeSet<Ballot>);

impl Check for Committed {
    fn name(&self) -> &'static str {
        "committed_in_later_leaders"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Turned { node } = seen else { return Ok(()) };
        let it = &world.nodes[*node];
        let Some(control) = it.ledger().map(|ledger| ledger.control()) else { return Ok(()) };
        let Some((_, ballot)) = control.leader().filter(|_| control.is_leader()) else {
            return Ok(());
        };
        if !self.0.insert(ballot) {
            return Ok(());
        }
        for (index, (entry, under)) in (1..).zip(&world.oracle.history) {
            if *under < ballot && control.entry(Index(index)) != Some(entry) {
                let label = &it.label;
                return Err(format!("{label} leads under {ballot} without committed {index}"));
            }
        }
        Ok(())
    }
}
