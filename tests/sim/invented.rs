//! Somebody outside a private room, who sees its id in the control log, invents the rest of it.
//! Owns: the plan, and what is invented.
//! Must not know: how a room is told of, by whom else.
//! Invariants: who is told nothing but inventions knows of no room, and comes into the true one when
//! it is invited.
//! Start reading at: [`run`].

use p2pgroup::ids::{GroupId, Index, PeerId, RoomId, RoomOrigin};
use p2pgroup::protocol::room::keys::KeyAgreements;
use p2pgroup::protocol::room::keys::toy::Toy as ToyKeys;
use p2pgroup::protocol::{Command, Event, RoomAction, RoomEntry};
use p2pgroup::terms::Role;
use p2pgroup::wire::frame::{Body, Frame};
use p2pgroup::wire::order::{Charter, Kind, Seat, Snapshot};
use p2pgroup::wire::sync::{Inside, Secret, Sync};

use crate::absent;
use crate::broken::Broken;
use crate::dice::Dice;
use crate::plan::{self, Outcome};
use crate::proofs::{Toy, network};
use crate::world::World;

const WHAT: &str = "who_is_outside_tells_of_no_room";
/// As `plan::found` adds them.
const ALICE: usize = 2;
const BOB: usize = 3;
const CAROL: usize = 4;
const DAVE: usize = 5;

/// Dave tells carol of a group of his own in the place of alice's and bob's; then alice invites her.
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed, Broken::default(), false);
    let mut dice = Dice::new(seed, 3);
    plan::found(&mut world, 4, 500, &mut dice);
    if plan::quiet(&mut world, 20_000)
        && let Some(den) = make_room(&mut world)
    {
        for origin in [None, Some(RoomOrigin([7; 32]))] {
            invent(&mut world, den, origin);
        }
        let next = world.now + 5_000;
        world.run_until(next);
        if knows(&world, CAROL, &den) {
            world.fail(WHAT, "carol believes dave".to_owned());
        }
        act(&mut world, RoomAction::Invite { name: "carol".to_owned(), role: None });
        let is_in = |world: &World| world.nodes[CAROL].has_key_of("den");
        if !absent::until(&mut world, 20_000, is_in) {
            world.fail(WHAT, "carol does not come into the room".to_owned());
        }
    }
    if world.violation.is_none() {
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

fn act(world: &mut World, action: RoomAction) {
    world.command(ALICE, Command::Act { room: "den".to_owned(), action });
}

fn make_room(world: &mut World) -> Option<RoomId> {
    let (entry, description) = (RoomEntry::Invited, String::new());
    act(world, RoomAction::Create { entry, is_listed: false, description });
    if !plan::quiet(world, 20_000) {
        return None;
    }
    act(world, RoomAction::Invite { name: "bob".to_owned(), role: None });
    let is_in = |world: &World| world.nodes[BOB].has_key_of("den");
    absent::until(world, 20_000, is_in).then_some(())?;
    world.nodes[ALICE].rooms().into_iter().find(|it| *it != RoomId::MAIN)
}

fn knows(world: &World, node: usize, room: &RoomId) -> bool {
    world.nodes[node].member().is_some_and(|it| it.room_state(room).is_some())
}

/// What dave can make up: he and carol are in it, and the keys are his.
fn invent(world: &mut World, den: RoomId, origin: Option<RoomOrigin>) {
    let dave = world.nodes[DAVE].peer;
    let proofs = Toy::of(world.nodes[DAVE].device);
    let group = GroupId([6; 16]);
    let made = ToyKeys::SOUND.create(den, group, dave, &proofs, [6; 32]);
    let info = made.ok().and_then(|(made, _)| made.group_info(&proofs).ok());
    let applied = world.nodes[CAROL].ledger().map(|it| it.applied());
    let (Some(info), Some(index)) = (info, applied) else {
        return world.fail(WHAT, "dave can invent nothing".to_owned());
    };
    let seat = |peer: PeerId, role| (peer, Seat { role, since: Index(1) });
    let members = [seat(dave, Role::Owner), seat(world.nodes[CAROL].peer, Role::Member)].into();
    let charter = Charter::new(Kind::Private, "den".to_owned());
    let (created_at, moved_at) = (index, index);
    let state = Snapshot {
        members,
        group: Some(group),
        created_at,
        moved_at,
        origin,
        ..Snapshot::new(charter)
    };
    let inside = Some(Box::new(Inside { state, order_key: Secret([6; 32].into()) }));
    let told = Sync::RoomInfo { room: den, info: Some((group, info)), index, inside };
    let bytes = Frame { network: network(), body: Body::Sync(told) }.encode();
    world.push(CAROL, Event::Frame { from: dave, bytes });
}
