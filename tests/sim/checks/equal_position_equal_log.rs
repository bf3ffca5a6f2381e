//! Invariant 4: two logs with equal (ballot, index) are equal up to it.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: one chain of hashes per position, over all disks.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{Hash, Index};
use p2pgroup::protocol::control::{Ballot, Entry};
use p2pgroup::protocol::{Reads, Write};

use super::{Check, Seen};
use crate::node::Kind;
use crate::world::World;

#[derive(Default)]
pub struct EqualLogs {
    chains: BTreeMap<usize, Vec<Hash>>,
    known: BTreeMap<(Ballot, u64), Hash>,
}

impl EqualLogs {
    fn add(&mut self, node: usize, index: u64, bytes: &[u8]) -> Result<(), String> {
        let chain = self.chains.entry(node).or_default();
        chain.truncate(index as usize - 1);
        if chain.len() as u64 != index - 1 {
            return Err(format!("node {node} stores control entry {index} after a gap"));
        }
        let entry = Entry::decode(bytes).map_err(|refusal| refusal.to_string())?;
        let before = chain.last().copied().unwrap_or(Hash::ZERO);
        let hash = Hash::of("chain", &[before.as_bytes(), bytes]);
        chain.push(hash);
        if *self.known.entry((entry.ballot, index)).or_insert(hash) != hash {
            return Err(format!("two logs differ at or before {index} of {}", entry.ballot));
        }
        Ok(())
    }
}

impl Check for EqualLogs {
    fn name(&self) -> &'static str {
        "equal_position_equal_log"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Started { node } if world.nodes[*node].kind != Kind::Authority => {
                self.chains.remove(node);
                let it = &world.nodes[*node];
                let rows = it.disk.control(&it.space(), Index(1), usize::MAX);
                for (index, bytes) in (1..).zip(rows) {
                    self.add(*node, index, &bytes)?;
                }
            }
            Seen::Stored { node, writes } => {
                for write in *writes {
                    match write {
                        Write::Control { index, bytes, .. } => self.add(*node, index.0, bytes)?,
                        Write::ControlCut { from, .. } => {
                            let chain = self.chains.entry(*node).or_default();
                            chain.truncate(from.0 as usize - 1);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
