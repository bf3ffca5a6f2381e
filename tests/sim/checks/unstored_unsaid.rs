//! A disk that is full for a while: what was told to be stored is, and what was told not to be is
//! said nowhere.
//! Owns: what it remembers for that.
//! Must not know: how a store fails.
//! Invariants: every message handed in to a full disk is answered; who is told `not_stored` may say
//! it again, and it is said once.
//! Start reading at: `see`.

use std::collections::BTreeSet;

use p2pgroup::protocol::{MessageId, Notice, Reads};
use p2pgroup::refusal::Refusal;

use super::{Check, Seen};
use crate::world::World;

/// What was told not to be stored; texts are told apart by the plan that fills disks.
#[derive(Default)]
pub struct Unsaid(BTreeSet<String>);

impl Check for Unsaid {
    fn name(&self) -> &'static str {
        "unstored_unsaid"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Told { notice: Notice::Failed { command: Some(id), refused, .. }, .. }
                if refused.refusal == Refusal::NotStored =>
            {
                self.0.extend(world.oracle.posts.get(id).map(|post| post.text.clone()));
            }
            Seen::Told { node, notice: Notice::Message(message) }
                if self.0.contains(message.text.as_str()) =>
            {
                let label = &world.nodes[*node].label;
                return Err(format!("{label} shows {}, which was not stored", message.id));
            }
            Seen::Ended => {
                for (id, node) in &world.oracle.sent {
                    let it = &world.nodes[*node];
                    if world.oracle.lost.contains(node) || it.stays_off {
                        continue;
                    }
                    let Some(entry) = world.oracle.authored.get(id) else {
                        return Err(format!("{} was told that {id} is stored", it.label));
                    };
                    let held = it.disk.entries(entry.log, entry.seq, 1);
                    let is_held = held.first().is_some_and(|it| MessageId::of(&it.hash) == *id);
                    if !is_held && !world.is_forked(&entry.log) {
                        let label = &it.label;
                        return Err(format!("{label} was told that {id} is stored"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
