//! Invariant 19: members come to equal sets of entries in equal order; none twice.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: looked at when all is healed; a message is told once.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{LogId, RoomId, Seq};
use p2pgroup::protocol::{MessageId, Notice, Reads, StoredEntry};
use p2pgroup::wire::sealed::Sealed;

use super::{Check, Seen};
use crate::node::Node;
use crate::world::World;

/// Where it is stored that a key of a room is waited for; the key's name follows.
const WAITING: &str = "/waiting/";

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
                let waiting: Vec<String> = match is_old {
                    true => disk.settings("room/").into_iter().map(|(name, _)| name).collect(),
                    false => Vec::new(),
                };
                let is_open = |entry: &StoredEntry| {
                    let Ok(sealed) = Sealed::decode(&entry.bytes) else { return true };
                    let key = sealed.header.key_id.as_bytes().iter();
                    let key: String = key.map(|byte| format!("{byte:02x}")).collect();
                    !waiting.iter().any(|name| name.contains(&format!("{WAITING}{key}")))
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
                world
                    .rooms()
                    .into_iter()
                    .try_for_each(|(id, nodes)| shows_equal(world, id, nodes))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is shown, and where it stands.
type Place = (MessageId, LogId, Seq);

fn shows_equal(world: &World, id: RoomId, nodes: Vec<&Node>) -> Result<(), String> {
    let mut first: Option<(&str, Vec<Place>)> = None;
    // What was shown ahead stays shown where everybody who held what is before it lost that.
    let is_held = |entry: &StoredEntry| {
        nodes.iter().any(|it| world.room(it, id).head(&entry.log).seq >= entry.seq)
    };
    for node in &nodes {
        let room = world.room(node, id);
        let beyond = room.pending(&node.disk);
        let is_lost = |it: &StoredEntry| beyond.iter().any(|end| end == it) && !is_held(it);
        let shown = room.newest(usize::MAX, &node.disk);
        let ids: Vec<_> = shown
            .iter()
            .filter(|(entry, _)| !is_lost(entry))
            .map(|(entry, _)| (MessageId::of(&entry.hash), entry.log, entry.seq))
            .collect();
        let (label, others) = first.get_or_insert_with(|| (&node.label, ids.clone()));
        if *others != ids {
            let (here, there, node) = (ids.len(), others.len(), &node.label);
            let apart = ids.iter().zip(others.iter()).find(|(one, other)| one != other);
            return Err(format!("in {id} {node} shows {here}, {label} {there}, from {apart:?} on"));
        }
    }
    Ok(())
}
