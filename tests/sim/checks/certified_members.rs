//! Invariant 12: nobody is a member without a certificate, no two share a skeleton.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: certificates are judged at the time of the admitting entry.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::identity::Proofs;
use p2pgroup::ids::{DeviceKey, Index};

use super::{Check, Seen};
use crate::proofs::Toy;
use crate::world::World;

#[derive(Default)]
pub struct Certified(BTreeMap<usize, (u64, Index)>);

impl Check for Certified {
    fn name(&self) -> &'static str {
        "certified_members"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let (Seen::Started { node } | Seen::Turned { node }) = seen else { return Ok(()) };
        let it = &world.nodes[*node];
        let Some(ledger) = it.ledger() else { return Ok(()) };
        let place = (it.boot, ledger.applied());
        if self.0.insert(*node, place) == Some(place) {
            return Ok(());
        }
        let toy = Toy::of(DeviceKey([0; 32]));
        let mut skeletons = BTreeSet::new();
        for member in ledger.roster().members() {
            if !skeletons.insert(&member.skeleton) {
                return Err(format!("two members look like {}", member.name));
            }
            let credential = toy
                .credential(ledger.roster().authority(), &member.credential)
                .map_err(|refusal| format!("{}: {refusal}", member.name))?;
            if (credential.peer, &credential.name) != (member.peer, &member.name) {
                return Err(format!("{} is certified as somebody else", member.name));
            }
        }
        Ok(())
    }
}
