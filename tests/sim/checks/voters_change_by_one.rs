//! Invariant 5: voter sets change by one voter, the change before committed first.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at in every stored log and at every leader that appends.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::Index;
use p2pgroup::protocol::control::{Entry, Payload, VoterSet};
use p2pgroup::protocol::ledger::witness_of;
use p2pgroup::protocol::{Reads, Write};

use super::{Check, Seen};
use crate::node::Kind;
use crate::world::World;

#[derive(Default)]
pub struct VoterSteps(BTreeMap<usize, Vec<(u64, VoterSet)>>);

impl VoterSteps {
    fn add(
        &mut self,
        world: &World,
        node: usize,
        bytes: &[u8],
        is_new: bool,
    ) -> Result<(), String> {
        let it = &world.nodes[node];
        let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
        let sets = self.0.entry(node).or_default();
        sets.retain(|(index, _)| *index < entry.index.0);
        let Payload::Voters(set) = entry.payload else { return Ok(()) };
        let Some(ledger) = it.ledger() else { return Ok(()) };
        let base = witness_of(ledger.genesis()).and_then(|voter| VoterSet::new([voter]));
        let (at, before) = match sets.last() {
            Some((at, before)) => (*at, before.clone()),
            None => (0, base.ok_or("no base")?),
        };
        if before.distance(&set) != 1 {
            let steps = before.distance(&set);
            return Err(format!("entry {} of {} changes {steps} voters", entry.index, it.label));
        }
        let control = ledger.control();
        let leads = control.is_leader() && control.leader().map(|it| it.1) == Some(entry.ballot);
        if is_new && leads {
            let own = (1..=entry.index.0)
                .find(|index| {
                    control.entry(Index(*index)).is_some_and(|it| it.ballot == entry.ballot)
                })
                .unwrap_or(entry.index.0);
            if control.commit().0 < at || control.commit().0 < own || own == entry.index.0 {
                let label = &it.label;
                return Err(format!("{label} changes voters before {at} and {own} are committed"));
            }
        }
        sets.push((entry.index.0, set));
        Ok(())
    }
}

impl Check for VoterSteps {
    fn name(&self) -> &'static str {
        "voters_change_by_one"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Started { node } if world.nodes[*node].kind != Kind::Authority => {
                self.0.remove(node);
                let it = &world.nodes[*node];
                for bytes in it.disk.control(&it.space(), Index(1), usize::MAX) {
                    self.add(world, *node, &bytes, false)?;
                }
            }
            Seen::Stored { node, writes } => {
                for write in *writes {
                    match write {
                        Write::Control { bytes, .. } => self.add(world, *node, bytes, true)?,
                        Write::ControlCut { from, .. } => {
                            let sets = self.0.entry(*node).or_default();
                            sets.retain(|(index, _)| *index < from.0);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
