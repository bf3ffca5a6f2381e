//! Invariant 1: one leader, and one stream of appends, per ballot.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: one process leads under a ballot, once and for all.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::protocol::control::{Ballot, Message};
use p2pgroup::wire::frame::Body;

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct OneLeader(BTreeMap<Ballot, (usize, u64)>);

impl Check for OneLeader {
    fn name(&self) -> &'static str {
        "one_leader_per_ballot"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let Some(control) = it.ledger().map(|ledger| ledger.control()) else {
                    return Ok(());
                };
                let Some((_, ballot)) = control.leader().filter(|_| control.is_leader()) else {
                    return Ok(());
                };
                let known = *self.0.entry(ballot).or_insert((*node, it.boot));
                if known != (*node, it.boot) {
                    let other = &world.nodes[known.0].label;
                    return Err(format!("{} leads under {ballot}, as {other} did", it.label));
                }
            }
            Seen::Sent { node, body: Body::Control(Message::Append(append)), .. } => {
                let it = &world.nodes[*node];
                if append.ballot.peer != Some(it.peer) {
                    return Err(format!("{} appends under {}", it.label, append.ballot));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
