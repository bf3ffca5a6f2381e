//! Invariant 23, its second half: nothing of somebody past the cut of its log is shown, or passed on
//! by who knows of the cut.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at with what a node knew when its last turn ended; a cut never moves.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{Hash, Incarnation, LogId, PeerId, RoomId, Seq};
use p2pgroup::protocol::Notice;
use p2pgroup::wire::order::Barrier;

use super::{Check, Seen};
use crate::node::Node;
use crate::world::World;

/// Where what somebody says in a room ends.
type Barriers = BTreeMap<(RoomId, PeerId), Barrier>;

#[derive(Default)]
pub struct PastTheCut {
    /// Where a log was cut, as the first one who knew said.
    cuts: BTreeMap<(RoomId, PeerId, Incarnation), (Seq, Hash)>,
    /// By node the barriers that it knew of when its last turn ended, and in which process.
    known: BTreeMap<usize, (u64, Barriers)>,
}

impl PastTheCut {
    /// Where a log ends for a node, as far as it knew.
    fn end_of(&self, node: &Node, log: &LogId) -> Option<Seq> {
        let (boot, known) = self.known.get(&node.id)?;
        let barrier = known.get(&(log.room, log.author)).filter(|_| *boot == node.boot)?;
        let named = barrier.heads.get(&log.incarnation).map(|(seq, _)| *seq);
        named.or(barrier.is_barred.then_some(Seq(0)))
    }
}

impl Check for PastTheCut {
    fn name(&self) -> &'static str {
        "past_the_cut"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Told { node, notice: Notice::Message(message) } => {
                let Some(written) = world.oracle.authored.get(&message.id) else { return Ok(()) };
                let it = &world.nodes[*node];
                let end = self.end_of(it, &written.log);
                if end.is_some_and(|end| written.seq > end) {
                    return Err(format!("{} shows {} past the cut", it.label, message.id));
                }
            }
            Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let Some(member) = it.member() else { return Ok(()) };
                let mut known = BTreeMap::new();
                for id in it.rooms() {
                    let Some(state) = member.room_state(&id) else { continue };
                    for (peer, barrier) in &state.snapshot().cuts {
                        known.insert((id, *peer), barrier.clone());
                        for (life, head) in &barrier.heads {
                            let first = *self.cuts.entry((id, *peer, *life)).or_insert(*head);
                            if first != *head {
                                let (label, now, was) = (&it.label, head.0, first.0);
                                return Err(format!(
                                    "{label} cuts a log at {now}, others at {was}"
                                ));
                            }
                        }
                    }
                }
                self.known.insert(*node, (it.boot, known));
            }
            _ => {}
        }
        Ok(())
    }
}
