//! Invariant 23, as far as removal goes: who has applied somebody's removal writes nothing under a
//! key that somebody ever held.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: a key once held counts for ever, whatever is deleted later.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{KeyId, PeerId};
use p2pgroup::protocol::Write;
use p2pgroup::wire::sealed::Sealed;

use super::{Check, Seen};
use crate::world::World;

const SECRETS: &str = "room/main/keys/73";

#[derive(Default)]
pub struct Removed {
    held: BTreeMap<PeerId, BTreeSet<String>>,
    /// Whom a node knew for removed when its last turn ended.
    gone: BTreeMap<usize, (u64, Vec<PeerId>)>,
}

fn name(key: &KeyId) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Check for Removed {
    fn name(&self) -> &'static str {
        "removed_read_no_more"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Stored { node, writes } => {
                let it = &world.nodes[*node];
                let (boot, gone) = self.gone.get(node).cloned().unwrap_or_default();
                for write in *writes {
                    match write {
                        Write::Setting { key, value: Some(_) } => {
                            if let Some(secret) = key.strip_prefix(SECRETS) {
                                self.held.entry(it.peer).or_default().insert(secret.to_owned());
                            }
                        }
                        Write::Entry(entry) if boot == it.boot => {
                            let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
                            let key = name(&sealed.header.key_id);
                            let reads = |peer: &&PeerId| {
                                self.held.get(*peer).is_some_and(|held| held.contains(&key))
                            };
                            if let Some(peer) = gone.iter().find(reads) {
                                let label = &it.label;
                                return Err(format!("{label} writes what {peer} can read"));
                            }
                        }
                        _ => {}
                    }
                }
            }
            Seen::Started { node } | Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let Some(ledger) = it.ledger() else { return Ok(()) };
                let gone = ledger.roster().members().filter(|member| !member.is_in());
                self.gone.insert(*node, (it.boot, gone.map(|member| member.peer).collect()));
            }
            _ => {}
        }
        Ok(())
    }
}
