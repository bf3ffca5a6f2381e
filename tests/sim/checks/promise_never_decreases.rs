//! Invariant 2: a promise never decreases within a life, over every crash point.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: what left a node binds it after any restart.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::Incarnation;
use p2pgroup::protocol::control::{Ballot, Message, Verdict};
use p2pgroup::wire::frame::Body;

use super::{Check, Seen};
use crate::world::World;

/// The highest ballot each life has acted on towards others.
#[derive(Default)]
pub struct Promise(BTreeMap<(usize, Incarnation), Ballot>);

impl Check for Promise {
    fn name(&self) -> &'static str {
        "promise_never_decreases"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Started { node } | Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let bound = self.0.get(&(*node, it.incarnation)).copied();
                if let (Some(ledger), Some(bound)) = (it.ledger(), bound)
                    && ledger.control().promised() < bound
                {
                    let promised = ledger.control().promised();
                    return Err(format!("{} promises {promised} after {bound}", it.label));
                }
            }
            Seen::Sent { node, body: Body::Control(message), .. } => {
                let it = &world.nodes[*node];
                let ballot = match message {
                    Message::VoteReply(reply) if reply.grant.is_some() => reply.ballot,
                    Message::AppendReply(reply) if matches!(reply.verdict, Verdict::Matched(_)) => {
                        reply.ballot
                    }
                    Message::Vote(request) => request.ballot,
                    Message::Append(append) => append.ballot,
                    _ => return Ok(()),
                };
                let bound = self.0.entry((*node, it.incarnation)).or_insert(ballot);
                if ballot < *bound {
                    return Err(format!("{} acts on {ballot} after {bound}", it.label));
                }
                *bound = ballot;
            }
            _ => {}
        }
        Ok(())
    }
}
