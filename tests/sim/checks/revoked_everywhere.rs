//! Invariant 13: a revocation by the authority is in force everywhere after sync, whoever wins a
//! heal.
//! Owns: what in force means.
//! Must not know: how a revocation travels.
//! Invariants: looked at when all is healed, and by the plan that revokes.
//! Start reading at: [`in_force`].

use p2pgroup::protocol::{CertificateState, Reads};

use super::{Check, Seen};
use crate::node::Kind;
use crate::world::World;

#[derive(Default)]
pub struct Revoked;

/// Of all that the authority revoked: out of every roster, linked with nobody, and told so.
pub fn in_force(world: &World) -> Result<(), String> {
    let rows = world.nodes[world.authority].disk.certificates();
    for row in rows.iter().filter(|row| row.state == CertificateState::Revoked) {
        let Some(out) = world.node_of(&row.peer) else { continue };
        let gone = &world.nodes[out].label;
        let others = world.nodes.iter().filter(|it| it.id != out && it.kind != Kind::Authority);
        for node in others.filter(|it| !world.oracle.fatal.contains_key(&it.id)) {
            let Some(roster) = node.ledger().map(|it| it.roster()) else {
                return Err(format!("{} knows no roster", node.label));
            };
            if !roster.is_revoked(row.serial) || roster.is_in(&row.peer) {
                return Err(format!("for {} {gone} still belongs", node.label));
            }
            if world.has_link(node.id, out) || world.has_link(out, node.id) {
                return Err(format!("{} is still linked with {gone}", node.label));
            }
        }
        if !world.oracle.fatal.contains_key(&out) {
            return Err(format!("{gone} does not know that it is revoked"));
        }
    }
    Ok(())
}

impl Check for Revoked {
    fn name(&self) -> &'static str {
        "revoked_everywhere"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        if matches!(seen, Seen::Ended) { in_force(world) } else { Ok(()) }
    }
}
