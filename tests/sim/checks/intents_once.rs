//! Invariant 11: an intent takes effect at most once on a history, a voucher at most its uses.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: a replica of the roster refuses an id that it has taken.
//! Start reading at: `see`.

use std::collections::BTreeSet;

use p2pgroup::ids::{DeviceKey, Index, IntentId};
use p2pgroup::protocol::control::Payload;
use p2pgroup::protocol::roster::{Change, Roster};

use super::{Check, Seen};
use crate::proofs::{Toy, VOUCHER};
use crate::world::World;

#[derive(Default)]
pub struct Once {
    roster: Option<Roster>,
    effective: BTreeSet<IntentId>,
}

impl Check for Once {
    fn name(&self) -> &'static str {
        "intents_once"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Turned { node } = seen else { return Ok(()) };
        let Some(ledger) = world.nodes[*node].ledger() else { return Ok(()) };
        let roster = self.roster.get_or_insert_with(|| {
            let genesis = ledger.genesis();
            Roster::founded(genesis.authority.clone(), &genesis.founder)
        });
        while let Some((entry, _)) = world.oracle.history.get(roster.applied().0 as usize) {
            let (id, bytes) = match &entry.payload {
                Payload::Intent { id, bytes } => (Some(*id), Some(bytes)),
                _ => (None, None),
            };
            let at = Index(roster.applied().0 + 1);
            let before = roster.members().map(|it| it.devices.len()).sum::<usize>();
            let change = roster.apply(at, entry.stamp, bytes, &Toy::of(DeviceKey([0; 32])));
            let is_change = matches!(&change, Ok(change) if *change != Change::Nothing);
            let after = roster.members().map(|it| it.devices.len()).sum::<usize>();
            if change.is_err() && before != after {
                return Err(format!("entry {at} is void and changes something"));
            }
            if is_change && !id.is_some_and(|id| self.effective.insert(id)) {
                return Err(format!("the intent at {at} takes effect again"));
            }
        }
        let uses = usize::try_from(world.invited).unwrap_or(usize::MAX);
        if roster.uses_of(&VOUCHER) > uses {
            return Err(format!("an invite for {uses} brought in {}", roster.uses_of(&VOUCHER)));
        }
        if roster.applied() == ledger.applied()
            && roster.state_hash() != ledger.roster().state_hash()
        {
            return Err(format!("the roster at {} is not the log applied", ledger.applied()));
        }
        Ok(())
    }
}
