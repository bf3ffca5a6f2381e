//! Invariant 18: an entry acknowledged by another member survives a crash.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: what a member acknowledged is on its disk then, and after every restart.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{Hash, LogId, Seq};
use p2pgroup::protocol::room::Kept;
use p2pgroup::protocol::{MessageId, Reads};
use p2pgroup::wire::frame::Body;
use p2pgroup::wire::sync::Sync;

use super::{Check, Seen};
use crate::node::Node;
use crate::world::World;

/// By node and log: the highest acknowledged entry.
#[derive(Default)]
pub struct Acknowledged(BTreeMap<(usize, LogId), (Seq, Hash)>);

/// Of a fork it is enough to know: what is kept of it may have grown since it was told.
fn holds(world: &World, node: usize, log: LogId, seq: Seq, hash: Hash) -> bool {
    Kept::load(log, &world.nodes[node].disk).is_some_and(|kept| seq >= kept.at)
        || has_entry(world, node, log, seq, hash)
}

fn has_entry(world: &World, node: usize, log: LogId, seq: Seq, hash: Hash) -> bool {
    let held = world.nodes[node].disk.entries(log, seq, 1);
    held.first().is_some_and(|entry| entry.seq == seq && entry.hash == hash)
}

impl Check for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged_survives"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Sent {
                node,
                body: Body::Sync(Sync::Ack { heads, .. } | Sync::Vector { heads, .. }),
                ..
            } => {
                for head in heads.iter().filter(|head| head.seq > Seq(0)) {
                    if !holds(world, *node, head.log, head.seq, head.hash) {
                        let label = &world.nodes[*node].label;
                        return Err(format!("{label} tells of {} and has it not", head.seq));
                    }
                    self.0.insert((*node, head.log), (head.seq, head.hash));
                }
            }
            Seen::Started { node } => {
                if world.oracle.lost.contains(node) {
                    // Its disk was taken away or replaced; what it said before does not count.
                    self.0.retain(|(of, _), _| of != node);
                }
                for ((_, log), (seq, hash)) in self.0.iter().filter(|((of, _), _)| of == node) {
                    if !holds(world, *node, *log, *seq, *hash) {
                        let label = &world.nodes[*node].label;
                        return Err(format!("{label} acknowledged {seq} and lost it"));
                    }
                }
            }
            Seen::Ended => {
                for (id, to) in &world.oracle.delivered {
                    let is_lost = |node: &usize| world.nodes[*node].name == *to;
                    if world.oracle.lost.iter().any(is_lost) {
                        continue;
                    }
                    let Some(entry) = world.oracle.authored.get(id) else { continue };
                    // Two losses of disks may take an entry and its only copy; a fork hides one.
                    if world.oracle.lost.len() > 1 || world.is_forked(&entry.log) {
                        continue;
                    }
                    // Who leaves a room hands nothing of it on: once its author and who had it are
                    // both gone, nobody in the room need have it.
                    let is_in = |it: &Node| it.rooms().contains(&entry.log.room);
                    let had_it =
                        |it: &&Node| it.name == *to || world.nodes[entry.node].name == it.name;
                    if !world.members().filter(had_it).any(is_in) {
                        continue;
                    }
                    // Where a log was cut, what lies beyond is nobody's.
                    let counts = |node: &&Node| {
                        let state = node.member().and_then(|it| it.room_state(&entry.log.room));
                        let end = state.and_then(|state| state.end_of(&entry.log));
                        is_in(node) && end.is_none_or(|end| entry.seq <= end)
                    };
                    for node in world.members().filter(|it| it.is_up()).filter(counts) {
                        let held = node.disk.entries(entry.log, entry.seq, 1);
                        if held.first().is_none_or(|it| MessageId::of(&it.hash) != *id) {
                            let label = &node.label;
                            return Err(format!("{label} lacks {id}, delivered to {to}"));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
