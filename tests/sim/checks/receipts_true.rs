//! The receipt of a removal is true, and complete in the end.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: who is told that all hold keys without the removed one is told so when they do;
//! where receipts were asked for in the end, none is open.
//! Start reading at: `see`.

use p2pgroup::ids::RoomId;
use p2pgroup::protocol::member::Member;
use p2pgroup::protocol::{Notice, ReceiptView};

use super::{Check, Seen};
use crate::node::Node;
use crate::world::World;

#[derive(Default)]
pub struct Receipts;

/// Everybody who was in a room with the removed one holds keys of it without that one.
fn is_true(world: &World, teller: &Node, receipt: &ReceiptView) -> Result<(), String> {
    let removed = world.members().find(|it| it.name == receipt.name).map(|it| it.peer);
    let (Some(removed), Some(member)) = (removed, teller.member()) else { return Ok(()) };
    let Some(roster) = member.ledger().map(|it| it.roster()) else { return Ok(()) };
    let shared: Vec<RoomId> = member
        .room_ids()
        .filter(|id| member.room_state(id).is_some_and(|it| it.has_seat(&removed)))
        .collect();
    for id in shared {
        let Some(state) = member.room_state(&id) else { continue };
        let inside: Vec<_> = state.members(roster).map(|(peer, _)| peer).collect();
        let holders = world.members().filter(|it| inside.contains(&it.peer));
        // A home that was lost or is an older copy knows less than it told.
        for node in holders.filter(|it| !world.oracle.lost.contains(&it.id)) {
            let leaves = node.member().and_then(|it: &Member| it.room_leaves(&id));
            if leaves.is_some_and(|it| it.contains(&removed)) {
                let (label, name) = (&teller.label, &receipt.name);
                let of = &node.label;
                return Err(format!("{label} is told that {name} is out, and {of} has it in {id}"));
            }
        }
    }
    Ok(())
}

impl Check for Receipts {
    fn name(&self) -> &'static str {
        "receipts_true"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Told { node, notice: Notice::Receipt(receipt) }
                if receipt.kind == "removed" && receipt.done == receipt.of =>
            {
                is_true(world, &world.nodes[*node], receipt)
            }
            Seen::Ended => {
                for (node, receipts) in &world.oracle.receipts {
                    if let Some(open) = receipts.iter().find(|it| it.done_at.is_none()) {
                        let (label, name) = (&world.nodes[*node].label, &open.name);
                        let (done, of) = (open.done, open.of);
                        return Err(format!("{label}: {name} removed, {done} of {of} for ever"));
                    }
                    if receipts.is_empty() {
                        let label = &world.nodes[*node].label;
                        return Err(format!("{label} has no receipt of a removal"));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
