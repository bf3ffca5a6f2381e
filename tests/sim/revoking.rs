//! The authority revokes somebody while a partition separates a group.
//! Owns: the plan, and how soon a revocation must be in force on which side.
//! Must not know: how a revocation travels.
//! Invariants: everything is drawn from the seed; who is revoked is not on the authority's side.
//! Start reading at: [`run`].

use p2pgroup::identity::{AuthorityDomain, Issuer};
use p2pgroup::ids::RequestId;
use p2pgroup::protocol::{Command, Event, RoomAction, RoomEntry, Timers};
use p2pgroup::wire::identity::{
    AuthorityAsk, AuthorityQuestion, AuthoritySignedIn, OrderCommand, OrderIn,
};

use crate::broken::Broken;
use crate::checks::revoked_everywhere::in_force;
use crate::dice::Dice;
use crate::node::{Kind, Node};
use crate::plan::{self, Outcome};
use crate::proofs::{ToyIssuer, network};
use crate::rooms;
use crate::world::World;

/// A leader looks at the authority's list every 15 s; a new one at once.
const LEARNED: u64 = 15_000 + 20 * Timers::LAN.election_max.0;
/// The same after a heal, when a connection may have to be given up first.
const HEALED: u64 = LEARNED + 15_000;

/// A group is split, somebody is revoked, both sides go on, and come together again.
/// Also whether one side knew of it before the heal and the other did not.
pub fn run(seed: u64, broken: Broken, keeps_lines: bool) -> (Outcome, bool) {
    let mut world = World::new(seed, broken, keeps_lines);
    let mut dice = Dice::new(seed, 6);
    world.delays = (1, dice.between(2, 60));
    // Who came by an invite is revoked with the invite, which is another story.
    world.invited = 0;
    let count = 4 + dice.below(3);
    plan::found(&mut world, count, 500, &mut dice);
    let mut is_apart = false;
    if plan::quiet(&mut world, 20_000) {
        let end = world.now + 3_000;
        world.run_until(end);
        make_room(&mut world, &mut dice);
        is_apart = split(&mut world, &mut dice);
    }
    (Outcome::of(&world), is_apart)
}

/// A private room of three, for which the rest of the group carries nothing.
fn make_room(world: &mut World, dice: &mut Dice) {
    let members: Vec<usize> = world.members().map(|it| it.id).collect();
    let first = dice.below(members.len());
    let inside: Vec<usize> = (0..3).map(|it| members[(first + it) % members.len()]).collect();
    let act = |action| Command::Act { room: "den".to_owned(), action };
    let (entry, description) = (RoomEntry::Invited, String::new());
    let create = RoomAction::Create { entry, is_listed: false, description };
    world.command(inside[0], act(create));
    for other in &inside[1..] {
        let next = world.now + 1_000;
        world.run_until(next);
        let name = world.nodes[*other].name.clone();
        world.command(inside[0], act(RoomAction::Invite { name, role: None }));
    }
    let next = world.now + 3_000;
    world.run_until(next);
}

/// People talk, in all rooms, and some are killed.
fn talk(world: &mut World, until: u64, has_faults: bool, dice: &mut Dice) {
    while world.violation.is_none() && world.now < until {
        if dice.percent(50) {
            plan::post(world, dice);
        } else {
            rooms::post(world, dice);
        }
        if has_faults && dice.one_in(30) {
            let member = |it: &Node| it.is_up() && it.kind == Kind::Member;
            let node = plan::pick(world, dice, member);
            node.into_iter().for_each(|node| world.kill(node, "by a signal"));
        }
        let next = world.now + dice.between(50, 600);
        world.run_until(next);
    }
}

fn split(world: &mut World, dice: &mut Dice) -> bool {
    let members: Vec<usize> = world.members().map(|it| it.id).collect();
    let victim = members[dice.below(members.len())];
    // On whose side the authority is; one of the others stays with who is revoked.
    // Mostly all the rest: enough of them to order what the authority says.
    let are_most = dice.percent(70);
    let mut is_with: Vec<bool> =
        (0..world.nodes.len()).map(|_| are_most || dice.percent(60)).collect();
    is_with[world.authority] = true;
    is_with[victim] = false;
    let beside =
        members[(members.iter().position(|it| *it == victim).unwrap_or(0) + 1) % members.len()];
    is_with[beside] = false;
    let until = world.now + dice.between(200, 2_000);
    talk(world, until, false, dice);
    for one in 0..is_with.len() {
        for other in 0..is_with.len() {
            if is_with[one] != is_with[other] {
                world.cut(one, other);
            }
        }
    }
    let until = world.now + dice.between(0, 4_000);
    talk(world, until, false, dice);
    revoke(world, victim);
    let has_faults = dice.percent(40);
    let until = world.now + LEARNED;
    talk(world, until, has_faults, dice);
    let knows = |node: &Node| {
        let peer = world.nodes[victim].peer;
        node.ledger().is_some_and(|it| it.roster().member(&peer).is_some_and(|it| !it.is_in()))
    };
    let (knowing, others): (Vec<&Node>, Vec<&Node>) =
        world.members().filter(|it| it.id != victim).partition(|it| knows(it));
    // Whether a side can order anything depends on the seed, and both must be seen.
    let is_apart = !knowing.is_empty() && !others.is_empty();
    world.heal();
    let until = world.now + HEALED;
    while world.violation.is_none() && world.now < until && in_force(world).is_err() {
        let next = world.now + 500;
        talk(world, next, false, dice);
    }
    if let Err(why) = in_force(world) {
        world.fail("revoked_everywhere", why);
        return is_apart;
    }
    // A receipt waits some seconds for keys that do not come.
    let until = world.now + 5_000;
    talk(world, until, false, dice);
    plan::settle_and(world, |world| {
        for node in members {
            world.command(node, Command::Receipts);
        }
        let next = world.now + 1_000;
        world.run_until(next);
    });
    is_apart
}

/// As the operator does it.
fn revoke(world: &mut World, victim: usize) {
    let (name, reason) = (world.nodes[victim].name.clone(), "stolen".to_owned());
    let at = world.nodes[world.authority].wall(world.now);
    let command = OrderCommand::Revoke { name, reason };
    let order = OrderIn { network: network(), at, nonce: [9; 16], command };
    let body = order.encode();
    let Ok(signature) = ToyIssuer.sign(AuthorityDomain::Order, &body) else { return };
    let order = AuthoritySignedIn { body, signature: signature.into() }.encode();
    let ask = AuthorityAsk { nonce: [9; 16], question: AuthorityQuestion::Order { order } };
    let (authority, from) = (world.authority, world.nodes[world.authority].peer);
    world.say(victim, "is revoked");
    let asked = Event::Asked { from, id: RequestId(0), bytes: ask.encode() };
    world.push(authority, asked);
}
