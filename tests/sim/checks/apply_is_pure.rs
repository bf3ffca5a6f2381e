//! Invariant 9: apply is pure.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: two replicas at one index have one state hash, whatever their clocks and restarts.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{Hash, Index};

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Pure {
    known: BTreeMap<Index, Hash>,
    seen: BTreeMap<usize, (u64, Index)>,
}

impl Check for Pure {
    fn name(&self) -> &'static str {
        "apply_is_pure"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let (Seen::Started { node } | Seen::Turned { node }) = seen else { return Ok(()) };
        let it = &world.nodes[*node];
        let Some(ledger) = it.ledger() else { return Ok(()) };
        let place = (it.boot, ledger.applied());
        if self.seen.insert(*node, place) == Some(place) {
            return Ok(());
        }
        if ledger.applied() != ledger.control().commit() {
            return Err(format!("{} has not applied what is committed", it.label));
        }
        let hash = ledger.roster().state_hash();
        if *self.known.entry(ledger.applied()).or_insert(hash) != hash {
            return Err(format!("{} has another roster at {}", it.label, ledger.applied()));
        }
        Ok(())
    }
}
