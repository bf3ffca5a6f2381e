//! A room that keeps messages for some seconds: what is past its time is gone from every disk.
//! Owns: the plan, and what must be gone.
//! Must not know: how the cores find what is past its time.
//! Invariants: everything is drawn from the seed.
//! Start reading at: [`past_its_time`].

use std::collections::BTreeSet;

use p2pgroup::ids::{KeyId, RoomId};
use p2pgroup::protocol::{Command, Reads, RoomAction};
use p2pgroup::terms::Keep;
use p2pgroup::time::Millis;
use p2pgroup::wire::sealed::{Body, Sealed};

use crate::broken::Broken;
use crate::plan::{Outcome, founded};
use crate::world::World;

/// How long the room keeps what is said.
const AGE: u64 = 5_000;
/// By then it was looked for: ages are looked at once a minute.
const LOOKED: u64 = 130_000;

/// Members talk, their room keeps nothing for long, and gets another key: in the end no disk holds
/// what they said, nor the key that opens it. `is_lax`: a mistake, disks forget nothing.
pub fn past_its_time(seed: u64, is_lax: bool) -> Outcome {
    let mut world = World::new(seed, Broken::default(), false);
    if founded(&mut world, seed, 3) {
        forget(&mut world, is_lax);
    }
    Outcome::of(&world)
}

/// The keys under which whole entries of the room lie on a disk.
fn keys(world: &World, node: usize) -> BTreeSet<KeyId> {
    let logs = world.nodes[node].disk.all_entries().iter();
    let entries = logs.filter(|(log, _)| log.room == RoomId::MAIN).flat_map(|(_, it)| it.values());
    let sealed = entries.filter_map(|entry| Sealed::decode(&entry.bytes).ok());
    let whole = sealed.filter(|it| matches!(it.body, Body::Ciphertext(_)));
    whole.map(|it| it.header.key_id).collect()
}

/// Those of them that lie there, too.
fn held(world: &World, node: usize, keys: &BTreeSet<KeyId>) -> usize {
    let rows = world.nodes[node].disk.settings("room/main/keys/");
    let hex = |key: &KeyId| key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let hex: Vec<String> = keys.iter().map(hex).collect();
    hex.iter().filter(|key| rows.iter().any(|(name, _)| name.contains(key.as_str()))).count()
}

fn forget(world: &mut World, is_lax: bool) {
    let members: Vec<usize> = world.members().map(|it| it.id).collect();
    for node in &members {
        // A message is as old as its author's clock says, and these differ by up to an hour.
        world.set_clock(*node, 0);
        world.nodes[*node].disk.is_lax = is_lax;
        world.post(*node, (0..30).map(|it| format!("{node} says {it}")).collect());
    }
    let end = world.now + 3_000;
    world.run_until(end);
    let said: Vec<_> = members.iter().map(|node| keys(world, *node)).collect();
    for (node, said) in members.iter().zip(&said) {
        if said.is_empty() || held(world, *node, said) == 0 {
            return world.fail("past_its_time_is_gone", "nothing was said".to_owned());
        }
    }
    let act = |action| Command::Act { room: "main".to_owned(), action };
    for node in &members {
        // Who may not is told so.
        let keep = Keep { age: Some(Millis(AGE)), bytes: None };
        world.command(*node, act(RoomAction::Keep(keep)));
    }
    world.command(members[0], act(RoomAction::Rekey));
    let end = world.now + LOOKED;
    world.run_until(end);
    for (node, said) in members.iter().zip(&said) {
        let label = world.nodes[*node].label.clone();
        let left = keys(world, *node);
        if !left.is_empty() {
            let text = format!("{label} keeps what is past its time");
            return world.fail("past_its_time_is_gone", text);
        }
        if held(world, *node, said) > 0 {
            let text = format!("{label} keeps the key of what is gone");
            return world.fail("past_its_time_is_gone", text);
        }
    }
}
