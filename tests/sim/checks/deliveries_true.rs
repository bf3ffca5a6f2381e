//! Delivered is what its receiver holds.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at when it is told: the entry is on the disk of whom it names, unless that
//! disk was lost or is an older one.
//! Start reading at: `see`.

use p2pgroup::protocol::room::Kept;
use p2pgroup::protocol::{MessageId, Notice, Reads};

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Deliveries;

impl Check for Deliveries {
    fn name(&self) -> &'static str {
        "deliveries_true"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Told { node, notice: Notice::Delivered { id, to } } = seen else {
            return Ok(());
        };
        let Some(receiver) = world.members().find(|it| it.name == *to) else {
            return Err(format!("{id} is delivered to nobody we know: {to}"));
        };
        let Some(entry) = world.oracle.authored.get(id) else { return Ok(()) };
        if world.oracle.lost.contains(&receiver.id) {
            return Ok(());
        }
        let held = receiver.disk.entries(entry.log, entry.seq, 1);
        let has_it = held.first().is_some_and(|it| MessageId::of(&it.hash) == *id);
        let is_fork = || Kept::load(entry.log, &receiver.disk).is_some_and(|it| entry.seq >= it.at);
        if has_it || is_fork() {
            return Ok(());
        }
        let author = &world.nodes[*node].label;
        Err(format!("{author} is told that {to} has {id}, and it has not"))
    }
}
