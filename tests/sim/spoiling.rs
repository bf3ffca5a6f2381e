//! A member whose commits nobody else can follow.
//! Owns: the plan, and how soon the others go on.
//! Must not know: how a group is agreed on.
//! Invariants: talk goes on in every room, whoever cannot follow; a room that its network may read
//! has keys again without the one who spoiled them; a private one when that one lets the others in.
//! Start reading at: [`run`].

use p2pgroup::ids::RoomId;
use p2pgroup::protocol::{Command, RoomAction, RoomEntry};

use crate::absent;
use crate::broken::Broken;
use crate::node::Node;
use crate::plan::{self, Outcome};
use crate::rooms;
use crate::world::World;

/// As `plan::found` adds them; the last one spoils.
const ALICE: usize = 2;
const BOB: usize = 3;
const DAVE: usize = 5;
/// Who is put out comes back by then, in peace.
const BACK: u64 = 20_000;
const WHAT: &str = "who_cannot_follow_comes_back";

/// Dave renews the keys of `main` and of a private room, alone follows, and is away or stays.
pub fn run(seed: u64, is_away: bool) -> Outcome {
    let mut world = World::new(seed, Broken::default(), false);
    if spoil(&mut world, seed, is_away) {
        world.nodes[DAVE].stays_off = false;
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

fn act(world: &mut World, node: usize, room: &str, action: RoomAction) {
    world.command(node, Command::Act { room: room.to_owned(), action });
}

fn spoil(world: &mut World, seed: u64, is_away: bool) -> bool {
    let mut dice = crate::dice::Dice::new(seed, 3);
    plan::found(world, 4, 500, &mut dice);
    world.nodes[DAVE].spoils = true;
    if !plan::quiet(world, 20_000) {
        return false;
    }
    let (entry, description) = (RoomEntry::Invited, String::new());
    act(world, ALICE, "den", RoomAction::Create { entry, is_listed: false, description });
    for node in [BOB, DAVE] {
        if !plan::quiet(world, 20_000) {
            return false;
        }
        let name = world.nodes[node].name.clone();
        act(world, ALICE, "den", RoomAction::Invite { name, role: None });
    }
    if !plan::quiet(world, 20_000) {
        return false;
    }
    let Some(den) = world.nodes[BOB].rooms().into_iter().find(|it| *it != RoomId::MAIN) else {
        world.fail(WHAT, "no room".to_owned());
        return false;
    };
    let epoch = |world: &World, id| world.nodes[DAVE].member().and_then(|it| it.room_epoch(&id));
    let before = [RoomId::MAIN, den].map(|id| epoch(world, id));
    for room in ["main", "den"] {
        act(world, DAVE, room, RoomAction::Rekey);
    }
    // As soon as dave alone is in the new epochs, or the others may be back by his help already.
    let is_spoilt = |world: &World| {
        [RoomId::MAIN, den].map(|id| epoch(world, id)) != before
            && [RoomId::MAIN, den].iter().zip(before).all(|(id, was)| epoch(world, *id) != was)
    };
    let end = world.now + 5_000;
    while !is_spoilt(world) && world.now < end && world.violation.is_none() {
        let next = world.now + 1;
        world.run_until(next);
    }
    let is_lost = |world: &World, id| {
        world.nodes[ALICE].member().is_some_and(|it| it.room_epoch(id) != epoch(world, *id))
    };
    if !is_spoilt(world) || ![RoomId::MAIN, den].iter().any(|id| is_lost(world, id)) {
        world.fail(WHAT, "nothing was spoilt".to_owned());
        return false;
    }
    if is_away {
        world.nodes[DAVE].stays_off = true;
        world.switch_off(DAVE);
    }
    talk_goes_on(world, den, is_away)
}

fn talk_goes_on(world: &mut World, den: RoomId, is_away: bool) -> bool {
    for (author, room) in [(ALICE, "den"), (BOB, "den"), (ALICE, "main"), (BOB, "main")] {
        let name = world.nodes[author].name.clone();
        world.post_in(author, room, vec![format!("{name} goes on in {room}")]);
    }
    let unread = |world: &World| {
        let pairs = [(ALICE, BOB), (BOB, ALICE)].into_iter();
        pairs
            .flat_map(|pair| [(pair, den), (pair, RoomId::MAIN)])
            .find_map(|((author, reader), id)| absent::unread(world, id, author, reader))
    };
    let held = |world: &World| {
        let is_there = |it: &&Node| it.id != DAVE || !is_away;
        let nodes: Vec<&Node> = world.members().filter(is_there).collect();
        let epochs: Vec<_> =
            nodes.iter().map(|it| it.member()?.room_epoch(&RoomId::MAIN)).collect();
        match epochs.first() {
            Some(Some(first)) => epochs.iter().all(|it| *it == Some(*first)),
            _ => false,
        }
    };
    let is_well = |world: &World| {
        let rooms = world.rooms();
        let in_den = rooms.get(&den).map(|nodes| rooms::is_one_epoch(world, den, nodes));
        unread(world).is_none() && held(world) && (is_away || in_den == Some(Ok(())))
    };
    if !absent::until(world, BACK, is_well) {
        let why = unread(world).unwrap_or_else(|| "no keys in common".to_owned());
        world.fail(WHAT, why);
    }
    world.violation.is_none()
}
