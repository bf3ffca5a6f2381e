//! Invariant 23, its second half: nothing of somebody past the cut of its log is shown, or passed on
//! by who knows of the cut.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at with what a node knew when its last turn ended; a cut never moves.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{Hash, Incarnation, PeerId, RoomId, Seq};
use p2pgroup::protocol::Notice;

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct PastTheCut {
    /// Where a log was cut, as the first one who knew said.
    cuts: BTreeMap<(RoomId, PeerId, Incarnation), (Seq, Hash)>,
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
                let state = it.member().and_then(|it| it.room_state(&written.log.room));
                let end = state.and_then(|state| state.end_of(&written.log));
                if end.is_some_and(|end| written.seq > end) {
                    return Err(format!("{} shows {} past the cut", it.label, message.id));
                }
            }
            Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let Some(member) = it.member() else { return Ok(()) };
                for id in it.rooms() {
                    let Some(state) = member.room_state(&id) else { continue };
                    for (peer, barrier) in &state.snapshot().cuts {
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
            }
            _ => {}
        }
        Ok(())
    }
}
