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
                // One that heeds no suspension is alone in what it makes of an epoch.
                let Some(member) = it.member().filter(|_| !it.is_stubborn) else { return Ok(()) };
                for (group, epoch, held) in
                    member.room_ids().filter_map(|id| member.room_epoch(&id))
                {
                    if *self.0.entry((group, epoch)).or_insert(held) != held {
                        let label = &it.label;
                        return Err(format!("{label} holds another epoch {epoch} than others"));
                    }
                }
            }
            Seen::Ended => {
                for (id, nodes) in world.rooms() {
                    let mut first = None;
                    // Who may not come into an epoch is in the room all the same.
                    for node in nodes.into_iter().filter(|it| !it.is_suspended(&id)) {
                        let epoch = node.member().and_then(|it| it.room_epoch(&id));
                        let Some(epoch) = epoch else {
                            return Err(format!("{} is not in the room {id}", node.label));
                        };
                        if *first.get_or_insert(epoch) != epoch {
                            let label = &node.label;
                            return Err(format!("{label} is in another epoch of {id} at the end"));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
