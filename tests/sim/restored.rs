//! A member of a private room that comes back from a backup while nobody else of the room is there.
//! Owns: the plan.
//! Must not know: how a group is agreed on.
//! Invariants: in the end both are in one group, and both know what was ordered.
//! Start reading at: [`alone`].

use p2pgroup::protocol::{Command, RoomAction, RoomEntry};

use crate::broken::Broken;
use crate::plan::{self, Outcome};
use crate::world::World;

/// The two of the room, as `plan::found` adds them.
const PAIR: [usize; 2] = [2, 3];

/// Bob's backup is from before the last renewals of the room's keys; he comes back from it while
/// alice, with whom he is in the room, is off.
pub fn alone(seed: u64) -> Outcome {
    let mut world = World::new(seed, Broken::default(), false);
    if is_back(&mut world, seed) {
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

fn is_back(world: &mut World, seed: u64) -> bool {
    if !plan::founded(world, seed, 4) {
        return false;
    }
    let [alice, bob] = PAIR;
    let order = |world: &mut World, node: usize, action: RoomAction| {
        world.command(node, Command::Act { room: "den".to_owned(), action });
        plan::quiet(world, 20_000)
    };
    let (entry, description) = (RoomEntry::Invited, String::new());
    let create = RoomAction::Create { entry, is_listed: false, description };
    let invite = RoomAction::Invite { name: world.nodes[bob].name.clone(), role: None };
    if !order(world, alice, create) || !order(world, alice, invite) {
        return false;
    }
    world.nodes[bob].copy = Some(world.nodes[bob].disk.clone());
    if !(0..2).all(|_| order(world, alice, RoomAction::Rekey)) {
        return false;
    }
    world.switch_off(alice);
    world.nodes[alice].stays_off = true;
    world.restore_backup(bob);
    // Longer than somebody outside looks for somebody inside.
    let until = world.now + 30_000;
    world.run_until(until);
    world.nodes[alice].stays_off = false;
    world.start(alice);
    world.violation.is_none()
}
