//! A room stands the same for all who are in it: who that is, what it is called, what is kept.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at when all is healed; whoever is in a room by the word of one is in it by its
//! own.
//! Start reading at: `see`.

use p2pgroup::ids::{Index, RoomId};
use p2pgroup::protocol::room::State;

use super::{Check, Seen};
use crate::node::Node;
use crate::world::World;

#[derive(Default)]
pub struct Standing;

/// How a room stands for a node, but for what it looked at last.
fn stands(node: &Node, id: &RoomId) -> Option<State> {
    let mut at = node.member()?.room_state(id)?.snapshot().clone();
    at.handled = Index(0);
    Some(State::of(*id, at))
}

impl Check for Standing {
    fn name(&self) -> &'static str {
        "rooms_stand_equal"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Ended = seen else { return Ok(()) };
        for (id, nodes) in world.rooms() {
            let mut first: Option<(&str, State)> = None;
            for node in &nodes {
                // Who follows its own commit, void as it is, is out of the keys that all others have.
                let is_plain = |it: &State| it.charter().kind.is_plain();
                let state = node.member().and_then(|it| it.room_state(&id));
                if node.is_stubborn && !state.is_some_and(is_plain) {
                    continue;
                }
                let Some(now) = stands(node, &id) else { continue };
                let (label, others) = first.get_or_insert_with(|| (&node.label, now.clone()));
                if *others != now {
                    let (ours, theirs) = (now.snapshot(), others.snapshot());
                    let label = format!("{} and {label}", node.label);
                    return Err(format!("{label} differ about {id}: {ours:?}, {theirs:?}"));
                }
            }
            let roster = nodes.first().and_then(|it| it.ledger()).map(|it| it.roster());
            let (Some(roster), Some((label, state))) = (roster, first) else { continue };
            for (peer, _) in state.members(roster) {
                let other = world.members().find(|it| it.peer == peer && it.is_up());
                if other.is_some_and(|it| !nodes.iter().any(|node| node.id == it.id)) {
                    let other = other.map(|it| it.label.clone()).unwrap_or_default();
                    return Err(format!("{other} is in {id} for {label}, and not for itself"));
                }
            }
        }
        Ok(())
    }
}
