//! Invariant 19: members come to equal sets of entries in equal order; none twice.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at when all is healed; a message is told once.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::protocol::{MessageId, Notice, Reads, StoredEntry};
use p2pgroup::wire::sealed::Sealed;

use super::{Check, Seen};
use crate::world::World;

const WAITING: &str = "room/main/waiting/";

#[derive(Default)]
pub struct EqualEntries(BTreeMap<usize, BTreeSet<MessageId>>);

impl Check for EqualEntries {
    fn name(&self) -> &'static str {
        "equal_entries"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Started { node } => {
                // What a loss of power took away is shown again, by another process; and what an
                // older copy holds and had not opened yet.
                let disk = &world.nodes[*node].disk;
                let is_old = world.oracle.lost.contains(node);
                let waiting = if is_old { disk.settings(WAITING) } else { Vec::new() };
                let is_open = |entry: &StoredEntry| {
                    let Ok(sealed) = Sealed::decode(&entry.bytes) else { return true };
                    let key = sealed.header.key_id.as_bytes().iter();
                    let key: String = key.map(|byte| format!("{byte:02x}")).collect();
                    !waiting.iter().any(|(name, _)| name.starts_with(&format!("{WAITING}{key}")))
                };
                let entries = disk.all_entries().values().flat_map(|it| it.values());
                let held: BTreeSet<MessageId> = entries
                    .filter(|it| waiting.is_empty() || is_open(it))
                    .map(|it| MessageId::of(&it.hash))
                    .collect();
                self.0.entry(*node).or_default().retain(|id| held.contains(id));
            }
            Seen::Told { node, notice: Notice::Message(message) }
                if !self.0.entry(*node).or_default().insert(message.id) =>
            {
                let label = &world.nodes[*node].label;
                return Err(format!("{label} shows {} twice", message.id));
            }
            Seen::Ended => {
                let mut first: Option<(String, Vec<MessageId>)> = None;
                for node in world.members().filter(|it| it.is_up() && it.is_ready) {
                    let shown = world.room(node).newest(usize::MAX, &node.disk);
                    let ids: Vec<MessageId> =
                        shown.iter().map(|(entry, _)| MessageId::of(&entry.hash)).collect();
                    match &first {
                        None => first = Some((node.label.clone(), ids)),
                        Some((label, others)) if *others != ids => {
                            let (here, there) = (ids.len(), others.len());
                            let node = &node.label;
                            return Err(format!(
                                "{node} shows {here}, {label} {there} or another order"
                            ));
                        }
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
