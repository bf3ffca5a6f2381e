//! Invariant 23: nothing is written into a room that somebody can open who is gone from it as far
//! as its author knows: removed from the network, put out, or left. And who was never in a room
//! holds no key of it.
//! Owns: who ever held which key, whole or from a place of a log on.
//! Must not know: how the cores come to it.
//! Invariants: a key once held counts for ever, whatever is deleted later; who is let in again may
//! be so before an author knows.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{Index, LogId, PeerId, RoomId};
use p2pgroup::protocol::{Reads, Write};
use p2pgroup::wire::sealed::{Header, Sealed};

use super::{Check, Seen};
use crate::node::Node;
use crate::world::World;

/// What the rows of keys are stored under, after the room: whole ones, and those of one session.
const SECRETS: &str = "/keys/73";
const GRANTS: &str = "/keys/67";

#[derive(Default)]
pub struct Removed {
    /// What opens something, as it is stored, and who ever held it, since which control entry.
    held: BTreeMap<String, BTreeMap<PeerId, Index>>,
    /// Who was gone from each room as far as a node knew when its last turn ended.
    gone: BTreeMap<usize, Known>,
    /// What something was sealed under, and who was out of the network then as far as its author knew.
    sealed: BTreeMap<String, BTreeSet<PeerId>>,
    /// Who ever was in a room as far as others in it knew.
    ever: BTreeMap<RoomId, BTreeSet<PeerId>>,
}

/// What a node knew: in which of its processes, and up to which control entry; by room who is gone,
/// and who is out of the network.
type Known = (u64, Index, BTreeMap<RoomId, BTreeSet<PeerId>>, BTreeSet<PeerId>);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a key, and of that of a session under it.
fn names(header: &Header) -> [String; 2] {
    let LogId { author, incarnation, .. } = header.log;
    let key = hex(header.key_id.as_bytes());
    let session =
        [&incarnation.0.to_be_bytes()[..], header.session_salt.as_bytes(), author.as_bytes()];
    [format!("{SECRETS}{key}"), format!("{GRANTS}{key}{}", hex(&session.concat()))]
}

/// Who is in a room of a node as far as it knows, and who is gone from it.
fn split(node: &Node, id: RoomId) -> Option<(BTreeSet<PeerId>, BTreeSet<PeerId>)> {
    let member = node.member()?;
    let (state, roster) = (member.room_state(&id)?, member.ledger()?.roster());
    let inside: BTreeSet<PeerId> = state.members(roster).map(|(peer, _)| peer).collect();
    let cut = state.snapshot().cuts.iter().filter(|(_, it)| it.is_barred).map(|(peer, _)| *peer);
    let out = roster.members().filter(|it| !it.is_in()).map(|it| it.peer);
    let gone = cut.chain(out).filter(|peer| !inside.contains(peer)).collect();
    Some((inside, gone))
}

impl Removed {
    fn note_key(&mut self, node: &Node, key: &str) {
        let applied = node.ledger().map(|it| it.applied()).unwrap_or_default();
        for kind in [SECRETS, GRANTS] {
            let found = key.find(kind).filter(|_| key.starts_with("room/"));
            if let Some(kept) = found.and_then(|at| key.get(at..)) {
                let held = self.held.entry(kept.to_owned()).or_default();
                held.entry(node.peer).or_insert(applied);
            }
        }
    }

    fn wrote(&mut self, world: &World, node: usize, header: &Header) -> Result<(), String> {
        let it = &world.nodes[node];
        let Some((boot, applied, rooms, out)) = self.gone.get(&node) else { return Ok(()) };
        let Some(gone) = rooms.get(&header.log.room).filter(|_| *boot == it.boot) else {
            return Ok(());
        };
        for name in names(header) {
            if !out.is_empty() {
                self.sealed.entry(name.clone()).or_default().extend(out);
            }
            let held = self.held.get(&name).into_iter().flatten();
            let reads = held.into_iter().find(|(peer, at)| gone.contains(peer) && *at <= applied);
            if let Some((peer, _)) = reads {
                let who = world.node_of(peer).map(|it| world.nodes[it].label.clone());
                let who = who.unwrap_or_default();
                return Err(format!("{} writes what {who} can read", it.label));
            }
        }
        Ok(())
    }

    /// Nobody who is out for good came to what was sealed by who knew of it, however late.
    fn got_later(&self, world: &World) -> Result<(), String> {
        for (name, out) in &self.sealed {
            let held = self.held.get(name).into_iter().flatten();
            for (peer, _) in held.filter(|(peer, _)| out.contains(*peer)) {
                let node = world.node_of(peer).filter(|it| world.oracle.fatal.contains_key(it));
                if let Some(node) = node {
                    let label = &world.nodes[node].label;
                    return Err(format!("{label} came to read what was written without it"));
                }
            }
        }
        Ok(())
    }

    fn know(&mut self, node: &Node) {
        let mut rooms = BTreeMap::new();
        for id in node.rooms() {
            let Some((inside, gone)) = split(node, id) else { continue };
            // Who made it is in it before anybody else knows.
            let is_alone = inside.len() == 1;
            let others = inside.iter().filter(|peer| is_alone || **peer != node.peer);
            self.ever.entry(id).or_default().extend(others);
            rooms.insert(id, gone);
        }
        let applied = node.ledger().map(|it| it.applied()).unwrap_or_default();
        let roster = node.ledger().map(|it| it.roster());
        let out = roster.into_iter().flat_map(|it| it.members()).filter(|it| !it.is_in());
        let out = out.map(|it| it.peer).collect();
        self.gone.insert(node.id, (node.boot, applied, rooms, out));
    }
}

impl Check for Removed {
    fn name(&self) -> &'static str {
        "removed_read_no_more"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Stored { node, writes } => {
                for write in *writes {
                    match write {
                        Write::Setting { key, value: Some(_) } => {
                            self.note_key(&world.nodes[*node], key)
                        }
                        Write::Entry(entry) => {
                            if let Ok(sealed) = Sealed::decode(&entry.bytes) {
                                self.wrote(world, *node, &sealed.header)?;
                            }
                        }
                        _ => {}
                    }
                }
            }
            Seen::Started { node } | Seen::Turned { node } => self.know(&world.nodes[*node]),
            Seen::Ended => {
                self.got_later(world)?;
                // Whoever holds a key of a room was in it once.
                for node in world.members() {
                    for (name, _) in node.disk.settings("room/") {
                        let name = name.strip_prefix("room/").unwrap_or_default();
                        let Some((room, _)) = name.split_once("/keys/") else { continue };
                        let room = RoomId::parse(room).unwrap_or(RoomId::MAIN);
                        let was_in = |peer: &PeerId| {
                            let kicked = world.members().filter_map(Node::member);
                            let states = kicked.filter_map(|it| it.room_state(&room));
                            self.ever.get(&room).is_some_and(|ever| ever.contains(peer))
                                || states
                                    .into_iter()
                                    .any(|it| it.snapshot().cuts.contains_key(peer))
                        };
                        if room != RoomId::MAIN && !was_in(&node.peer) {
                            let label = &node.label;
                            return Err(format!("{label} holds keys of {room} and was never in"));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
