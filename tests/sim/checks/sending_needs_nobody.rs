//! Invariant 17: sending works with no leader, majority, bootstrap, authority or peer.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: a message handed to a ready member is stored within a bounded time, whatever is cut.
//! Start reading at: `see`.

use p2pgroup::protocol::Notice;
use p2pgroup::refusal::{Refusal, Refused};

use super::{Check, Seen};
use crate::oracle::Post;
use crate::world::World;

/// The wait for a linked member to say what it holds of our log, and one slow turn.
const PATIENCE: u64 = 1_500 + 2_000;

/// Whether this is the answer to a message for a room that its author may not write in any more.
fn is_due(post: &Post, refused: &Refused) -> bool {
    let gone = [
        Refusal::NotInRoom,
        Refusal::RoomUnknown,
        Refusal::RoomArchived,
        Refusal::NotAllowed,
        Refusal::Removed,
    ];
    // A disk without space stores nothing for anybody, and says so.
    refused.refusal == Refusal::NotStored || post.room != "main" && gone.contains(&refused.refusal)
}

/// How many posts of the oracle are settled.
#[derive(Default)]
pub struct Sending {
    asked: u64,
}

impl Check for Sending {
    fn name(&self) -> &'static str {
        "sending_needs_nobody"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Told { node, notice: Notice::Failed { command: Some(id), refused, .. } }
                if world.oracle.posts.get(id).is_some_and(|post| !is_due(post, refused)) =>
            {
                return Err(format!("{} does not send: {refused}", world.nodes[*node].label));
            }
            Seen::Turned { node } => {
                self.asked += 1;
                if !self.asked.is_multiple_of(64) {
                    return Ok(());
                }
                let it = &world.nodes[*node];
                let newest = world.oracle.posts.iter().rev().take(200);
                for (id, post) in newest.filter(|(_, post)| post.node == *node) {
                    let is_due = world.now > post.at + PATIENCE + it.pauses_since(post.at);
                    if post.boot == it.boot && post.was_ready && !post.is_answered && is_due {
                        let waited = world.now - post.at;
                        let label = &it.label;
                        return Err(format!("{label} has not sent {id:?} for {waited} ms"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
