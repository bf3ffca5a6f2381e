//! A keeper opens nothing of what it keeps, and hands it only to who can.
//! Owns: who ever held which whole key of a room.
//! Must not know: how a shelf is named, what a deposit holds.
//! Invariants: looked at when a deposit is stored, and when something of a shelf is handed out; a
//! key once held counts for ever, whatever is deleted later; who is in a room may hold its keys.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{PeerId, RoomId, ShelfId};
use p2pgroup::protocol::room::keys::deposit::{DepositKey, Place};
use p2pgroup::protocol::room::keys::schedule::RoomSecret;
use p2pgroup::protocol::{StoredDeposit, Write};
use p2pgroup::wire::frame::Body;
use p2pgroup::wire::keep::Keep;

use super::{Check, Seen};
use crate::proofs::network;
use crate::world::World;

/// What the rows of whole keys are stored under, after the room.
const SECRETS: &str = "/keys/73";

#[derive(Default)]
pub struct Blind(BTreeMap<usize, BTreeSet<(RoomId, [u8; 32])>>);

impl Blind {
    fn note(&mut self, node: usize, key: &str, value: &[u8]) {
        let Some((room, _)) = key.strip_prefix("room/").and_then(|it| it.split_once(SECRETS))
        else {
            return;
        };
        let room = RoomId::parse(room).unwrap_or(RoomId::MAIN);
        if let Ok(secret) = value.try_into() {
            self.0.entry(node).or_default().insert((room, secret));
        }
    }

    /// The shelves at a keeper that somebody knows of: by every key it ever held, of every room.
    fn shelves(
        &self,
        node: usize,
        keeper: PeerId,
        rooms: &BTreeSet<RoomId>,
    ) -> impl Iterator<Item = (RoomId, DepositKey)> {
        let held = self.0.get(&node).into_iter().flatten();
        held.flat_map(move |(of, secret)| {
            let secret = RoomSecret::new(*secret);
            rooms.iter().map(move |room| {
                let at = Place { network: network(), room: *room, keeper };
                (*of, DepositKey::of(&secret, &at))
            })
        })
    }

    fn kept(&self, world: &World, node: usize, row: &StoredDeposit) -> Result<(), String> {
        let it = &world.nodes[node];
        let inside = it.rooms();
        let rooms = self.rooms();
        for (of, key) in self.shelves(node, it.peer, &rooms) {
            // `main` is everybody's, so what its keys open is open to every keeper.
            let is_out = of == RoomId::MAIN || !inside.contains(&of);
            if is_out && (key.shelf() == row.shelf || key.open(&row.sealed).is_some()) {
                return Err(format!("{} can open what it keeps by a key of {of}", it.label));
            }
        }
        Ok(())
    }

    /// All that anybody holds keys of.
    fn rooms(&self) -> BTreeSet<RoomId> {
        self.0.values().flatten().map(|(room, _)| *room).collect()
    }
}

impl Check for Blind {
    fn name(&self) -> &'static str {
        "keepers_blind"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Stored { node, writes } => {
                for write in *writes {
                    match write {
                        Write::Setting { key, value: Some(value) } => self.note(*node, key, value),
                        Write::Deposit(row) => self.kept(world, *node, row)?,
                        _ => {}
                    }
                }
            }
            Seen::Sent { node, to, body: Body::Keep(Keep::Collected { shelves, .. }) } => {
                let given = shelves.iter().filter(|it| !it.sealed.is_empty());
                let given: BTreeSet<ShelfId> = given.map(|it| it.shelf).collect();
                if given.is_empty() {
                    return Ok(());
                }
                let keeper = &world.nodes[*node];
                let rooms = self.rooms();
                let known = self.shelves(*to, keeper.peer, &rooms);
                let known: BTreeSet<ShelfId> = known.map(|(_, key)| key.shelf()).collect();
                if !given.is_subset(&known) {
                    let to = &world.nodes[*to].label;
                    return Err(format!("{} hands {to} what it cannot open", keeper.label));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
