//! Nobody loses the right to commit but who makes commits that others cannot follow.
//! Owns: nothing.
//! Must not know: by whose word somebody is suspended.
//! Invariants: looked at after every turn, in every room.
//! Start reading at: `see`.

use p2pgroup::protocol::Notice;

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Just;

impl Check for Just {
    fn name(&self) -> &'static str {
        "only_who_spoils_is_suspended"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        if let Seen::Told { notice: Notice::Alarm(alarm), .. } = seen
            && alarm.code == "unusable_keys"
        {
            let mut named = alarm.evidence.iter().filter_map(|it| world.node_of(&it.peer));
            let is_just = named.all(|it| world.nodes[it].spoils);
            return if is_just { Ok(()) } else { Err(alarm.message.clone()) };
        }
        let (Seen::Started { node } | Seen::Turned { node }) = seen else { return Ok(()) };
        let Some(member) = world.nodes[*node].member() else { return Ok(()) };
        for state in member.room_ids().filter_map(|id| member.room_state(&id)) {
            for peer in state.snapshot().suspended.keys() {
                let who = world.node_of(peer).map(|it| &world.nodes[it]);
                if !who.is_some_and(|it| it.spoils) {
                    let name = who.map(|it| it.label.clone()).unwrap_or_default();
                    return Err(format!("{name} is suspended in {}", state.room()));
                }
            }
        }
        Ok(())
    }
}
