//! Invariant 6: no life of a voter counts unless the voter set names it.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: every vote in a proof was given by exactly that life.
//! Start reading at: `see`.

use std::collections::BTreeSet;

use p2pgroup::ids::{Incarnation, PeerId};
use p2pgroup::protocol::control::{Ballot, Message};
use p2pgroup::wire::frame::Body;

use super::{Check, Seen};
use crate::world::World;

/// Who voted, in which life, for what.
#[derive(Default)]
pub struct Unnamed(BTreeSet<(PeerId, Incarnation, Ballot)>);

impl Check for Unnamed {
    fn name(&self) -> &'static str {
        "unnamed_never_counts"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Sent { node, body: Body::Control(message), .. } = seen else { return Ok(()) };
        let it = &world.nodes[*node];
        match message {
            Message::VoteReply(reply) if reply.grant.is_some() => {
                if reply.incarnation != it.incarnation {
                    return Err(format!("{} votes as another life", it.label));
                }
                self.0.insert((it.peer, it.incarnation, reply.ballot));
            }
            Message::Append(append) => {
                let Some(proof) = &append.proof else { return Ok(()) };
                for (peer, _) in &proof.votes {
                    let Some(voter) = proof.voters.voter(peer) else {
                        return Err(format!("{peer} voted and is no voter"));
                    };
                    let own = *peer == it.peer && voter.incarnation == it.incarnation;
                    let vote = (*peer, voter.incarnation, append.ballot);
                    if !own && !self.0.contains(&vote) {
                        let label = &it.label;
                        return Err(format!("{label} leads by a vote that {peer} did not give"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
