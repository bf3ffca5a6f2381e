//! An invite that leads into a room, while its maker has more under way than is taken at once.
//! Owns: the plan.
//! Must not know: how an invitation is ordered.
//! Invariants: who came by the invite is invited, however many changes come first.
//! Start reading at: [`behind_many_changes`].

use p2pgroup::ids::RoomId;
use p2pgroup::protocol::{Command, RoomAction, RoomEntry, Write};

use crate::broken::Broken;
use crate::node::Kind;
use crate::plan::{self, Outcome};
use crate::proofs::VOUCHER;
use crate::world::{Happening, World};

/// Orders that one member may have under way.
const ORDERINGS: usize = 256;

/// Alice has as many changes under way as she may, and more than her leader takes at once, when
/// somebody comes by her invite, and makes more as long as the run lasts; what came of the run,
/// and whether the newcomer is in the room at the end.
pub fn behind_many_changes(seed: u64) -> (Outcome, bool) {
    let mut world = World::new(seed, Broken::default(), false);
    world.invited = 0;
    let is_in = is_invited_in(&mut world, seed);
    (Outcome::of(&world), is_in)
}

fn is_invited_in(world: &mut World, seed: u64) -> bool {
    if !plan::founded(world, seed, 2) {
        return false;
    }
    let named =
        |world: &World, name: &str| world.members().find(|it| it.name == name).map(|it| it.id);
    let (Some(alice), Some(bob)) = (named(world, "alice"), named(world, "bob")) else {
        return false;
    };
    let description = String::new();
    let action = RoomAction::Create { entry: RoomEntry::Free, is_listed: false, description };
    world.command(alice, Command::Act { room: "ops".to_owned(), action });
    if !plan::quiet(world, 20_000) {
        return false;
    }
    let rooms = world.nodes[alice].rooms();
    let Some(room) = rooms.into_iter().find(|it| *it != RoomId::MAIN) else { return false };
    // As if she had made the one invite there is, which leads into her room; and bob leads now.
    world.switch_off(alice);
    let leads = [room.as_bytes(), &u64::MAX.to_be_bytes()[..]].concat();
    let (key, value) = (format!("inviting/{VOUCHER}"), Some(leads.into()));
    world.nodes[alice].disk.apply(Write::Setting { key, value });
    world.nodes[alice].disk.commit(true);
    let until = world.now + 10_000;
    world.run_until(until);
    world.start(alice);
    if !plan::quiet(world, 20_000) || plan::agreed(world).map(|(leader, _)| leader) != Some(bob) {
        return false;
    }
    let change = |number: usize| Command::Act {
        room: "ops".to_owned(),
        action: RoomAction::Topic { text: number.to_string() },
    };
    // What a leader takes at once; then as much again, of which it takes a few a second.
    for number in 0..ORDERINGS {
        world.command(alice, change(number));
    }
    let until = world.now + 5_000;
    world.run_until(until);
    for number in 0..ORDERINGS {
        world.command(alice, change(number));
    }
    world.invited = 1;
    let dave = world.add(Kind::Member, "dave");
    world.at(world.now, Happening::Start { node: dave });
    // Every place that people have is taken again as soon as it is free.
    let until = world.now + 20_000;
    while world.now < until && world.violation.is_none() {
        let next = world.now + 10;
        world.run_until(next);
        for number in 0..8 {
            world.command(alice, change(number));
        }
    }
    world.nodes[dave].is_ready && world.nodes[dave].rooms().contains(&room)
}
