//! Invariant 24: of a room's group at most one commit is merged per epoch, so that who is in the
//! same epoch of it holds the same.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: one authenticator for each group and epoch.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{GroupId, Hash};

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Epochs(BTreeMap<(GroupId, u64), Hash>);

impl Check for Epochs {
    fn name(&self) -> &'static str {
        "one_merge_per_epoch"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Started { node } | Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let Some((group, epoch, held)) = it.member().and_then(|it| it.epoch()) else {
                    return Ok(());
                };
                if *self.0.entry((group, epoch)).or_insert(held) != held {
                    let label = &it.label;
                    return Err(format!("{label} holds another epoch {epoch} than others"));
                }
            }
            Seen::Ended => {
                let ready = world.members().filter(|it| it.is_up() && it.is_ready);
                let mut epochs = Vec::new();
                for node in ready {
                    let Some(epoch) = node.member().and_then(|it| it.epoch()) else {
                        return Err(format!("{} is not in the room", node.label));
                    };
                    epochs.push((node.label.clone(), epoch));
                }
                let first = epochs.first().map(|(_, epoch)| *epoch);
                if let Some((label, _)) = epochs.iter().find(|(_, epoch)| Some(*epoch) != first) {
                    return Err(format!("{label} is in another epoch at the end"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
