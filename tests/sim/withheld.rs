//! Keys that a room's rule keeps from who comes later, and another rule hands over.
//! Owns: the plan, and how soon what was closed is open.
//! Must not know: who is asked for which key.
//! Invariants: what is withheld is not asked for again until the rule is another one.
//! Start reading at: [`run`].

use std::collections::BTreeMap;

use p2pgroup::ids::RoomId;
use p2pgroup::protocol::{Command, RoomAction};
use p2pgroup::terms::History;

use crate::absent;
use crate::broken::Broken;
use crate::node::Kind;
use crate::plan::{self, Outcome};
use crate::world::World;

const WHAT: &str = "another_rule_hands_over";
const ALICE: usize = 2;

/// Dave comes when something was said that only those who were there may read; later all may.
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed, Broken::default(), false);
    if plan::founded(&mut world, seed, 3) && rule(&mut world, History::SinceJoin) {
        world.post_in(ALICE, "main", vec!["not for those who come later".to_owned()]);
        if plan::quiet(&mut world, 20_000) {
            comes_late(&mut world);
        }
    }
    if world.violation.is_none() {
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

fn rule(world: &mut World, history: History) -> bool {
    let founder = world.nodes[ALICE].ledger().and_then(|it| it.roster().founder());
    let Some(owner) = founder.and_then(|it| world.node_of(&it)) else { return false };
    let action = RoomAction::History(history);
    world.command(owner, Command::Act { room: "main".to_owned(), action });
    plan::quiet(world, 20_000)
}

fn comes_late(world: &mut World) {
    let dave = world.add(Kind::Member, "dave");
    world.start(dave);
    let is_closed = |world: &World| {
        let member = world.nodes[dave].member();
        member.is_some_and(|it| !it.room_waits_for(&RoomId::MAIN).is_empty())
    };
    if !absent::until(world, 20_000, is_closed) {
        return world.fail(WHAT, "nothing was closed to dave".to_owned());
    }
    // Everybody has told him by then that it hands over nothing.
    let next = world.now + 10_000;
    world.run_until(next);
    world.oracle.key_wants = Some(BTreeMap::new());
    let next = world.now + 30_000;
    world.run_until(next);
    let wants = world.oracle.key_wants.take().unwrap_or_default();
    if !is_closed(world) && world.violation.is_none() {
        return world.fail(WHAT, "dave reads what was said before".to_owned());
    }
    if let Some(count) = wants.get(&dave).filter(|_| world.violation.is_none()) {
        return world.fail(WHAT, format!("dave asked {count} times again for what is withheld"));
    }
    if rule(world, History::All) && !absent::until(world, 20_000, |it| !is_closed(it)) {
        world.fail(WHAT, "what all may read is closed to dave".to_owned());
    }
}
