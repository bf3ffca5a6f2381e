//! Two of a room who are never on at the same time, and a keeper that is not in the room.
//! Owns: the plan, and how soon what is said must be with a keeper and be read.
//! Must not know: how a keeper keeps.
//! Invariants: everything is drawn from the seed; from its start on nobody but a keeper can bring
//! one of the two what the other says.
//! Start reading at: [`run`].

use p2pgroup::ids::{LogId, RoomId, Seq};
use p2pgroup::protocol::{Command, MessageId, RoomAction, RoomEntry};
use p2pgroup::wire::sealed::Sealed;

use crate::broken::Broken;
use crate::dice::Dice;
use crate::node::Kind;
use crate::plan::{self, Outcome};
use crate::world::World;

/// What is said is with a keeper by then, in peace.
const LEFT: u64 = 30_000;
/// Who comes on has read by then what lies there, in peace.
const READ: u64 = 30_000;
/// How long the room takes until both can write in it.
const MADE: u64 = 20_000;

/// The two, as `plan::found` adds them.
const PAIR: [usize; 2] = [2, 3];
/// The first of those who keep.
const KEEPER: usize = 4;

/// A group makes a room of two; then one of them is on at a time, and talks.
pub fn run(seed: u64, broken: Broken, keeps_lines: bool) -> Outcome {
    let mut world = World::new(seed, broken, keeps_lines);
    let mut dice = Dice::new(seed, 5);
    world.delays = (1, dice.between(2, 60));
    let count = 4 + dice.below(3);
    plan::found(&mut world, count, 500, &mut dice);
    for keeper in KEEPER..=KEEPER + usize::from(dice.percent(30)) {
        world.nodes[keeper].is_keeper = true;
        world.nodes[keeper].disk.forgets_deposits = broken.keeper_forgets;
    }
    if plan::quiet(&mut world, 20_000)
        && let Some(room) = make_room(&mut world, &mut dice)
    {
        take_turns(&mut world, room, &mut dice);
    }
    if world.violation.is_none() {
        PAIR.into_iter().for_each(|node| world.nodes[node].stays_off = false);
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

/// Runs until something is so; `false` if it is not by then.
pub fn until(world: &mut World, bound: u64, is_so: impl Fn(&World) -> bool) -> bool {
    let end = world.now + bound;
    while world.violation.is_none() && world.now < end {
        if is_so(world) {
            return true;
        }
        let next = world.now + 100;
        world.run_until(next);
    }
    world.violation.is_none() && is_so(world)
}

/// A private room of the two, or the one of their direct messages.
fn make_room(world: &mut World, dice: &mut Dice) -> Option<RoomId> {
    let [one, other] = PAIR;
    let name = world.nodes[other].name.clone();
    if dice.percent(50) {
        let room = "den".to_owned();
        let (entry, description) = (RoomEntry::Invited, String::new());
        let create = RoomAction::Create { entry, is_listed: false, description };
        world.command(one, Command::Act { room: room.clone(), action: create });
        let next = world.now + 1_000;
        world.run_until(next);
        let action = RoomAction::Invite { name, role: None };
        world.command(one, Command::Act { room, action });
    } else {
        world.command(one, Command::Direct { name, text: "are you there?".to_owned() });
    }
    let shared = |world: &World| {
        let rooms = world.rooms().into_iter().filter(|(id, _)| *id != RoomId::MAIN);
        let mut both = rooms.filter(|(_, nodes)| nodes.len() == PAIR.len());
        both.next().map(|(id, _)| id)
    };
    let is_made = |world: &World| {
        shared(world).is_some_and(|id| {
            let typed = |node: usize| world.nodes[node].member().map(|it| it.room_typed(&id));
            PAIR.iter().all(|it| typed(*it).is_some_and(|room| world.nodes[*it].has_key_of(&room)))
        })
    };
    // Where a key was asked for and did not come, only its giver has it.
    let is_read = |world: &World| {
        let waits = |node: &usize| {
            let member = world.nodes[*node].member();
            member.zip(shared(world)).is_none_or(|(it, id)| !it.room_waits_for(&id).is_empty())
        };
        !PAIR.iter().any(waits) && plan::is_settled(world).is_ok()
    };
    if !until(world, MADE, |world| is_made(world) && is_read(world)) {
        world.fail("the_keeper_alone_delivers", "no room of two is made".to_owned());
    }
    shared(world).filter(|_| world.violation.is_none())
}

fn take_turns(world: &mut World, room: RoomId, dice: &mut Dice) {
    // The first one away holds all that was said so far, or lacks some of it: both are right.
    let (mut here, mut away) = if dice.percent(50) { (0, 1) } else { (1, 0) };
    go_off(world, PAIR[away], dice);
    for _ in 0..dice.between(3, 5) {
        talk(world, room, PAIR[here], dice);
        world.calm();
        let (author, reader) = (PAIR[here], PAIR[away]);
        if !until(world, LEFT, |world| unkept(world, room, author, reader).is_none()) {
            let left = unkept(world, room, author, reader).unwrap_or_default();
            let label = &world.nodes[author].label;
            let text = format!("{label} left {left} with nobody in {LEFT} ms");
            return world.fail("the_keeper_alone_delivers", text);
        }
        go_off(world, author, dice);
        // Keepers restart while nobody of the room is there.
        if dice.percent(30) {
            world.lose_power(KEEPER);
        }
        let pause = world.now + dice.between(0, 3_000);
        world.run_until(pause);
        world.calm();
        world.nodes[reader].stays_off = false;
        world.start(reader);
        if !until(world, READ, |world| unread(world, room, author, reader).is_none()) {
            let why = unread(world, room, author, reader).unwrap_or_default();
            return world.fail("the_keeper_alone_delivers", why);
        }
        (here, away) = (away, here);
    }
}

/// A clean exit, or none.
fn go_off(world: &mut World, node: usize, dice: &mut Dice) {
    world.nodes[node].stays_off = true;
    if dice.percent(50) {
        world.command(node, Command::Exit);
        until(world, 10_000, |world| !world.nodes[node].is_up());
    }
    if world.nodes[node].is_up() {
        world.switch_off(node);
    }
}

/// Somebody talks on its own, and things go wrong with it, with keepers and with others.
fn talk(world: &mut World, room: RoomId, author: usize, dice: &mut Dice) {
    world.crashes = if dice.percent(30) { dice.between(100, 1_000) } else { 0 };
    for _ in 0..dice.between(2, 6) {
        say(world, room, author, dice);
        let pause = world.now + dice.between(20, 3_000);
        world.run_until(pause);
        let is_peer = |it: &crate::node::Node| it.is_up() && it.kind != Kind::Authority;
        match dice.below(12) {
            0 => world.kill(KEEPER, "while it keeps"),
            1 => world.lose_power(KEEPER),
            2 => world.sleep(KEEPER, dice.between(500, 8_000), dice.percent(50)),
            3 => world.kill(author, "by a signal"),
            4 => world.lose_power(author),
            5 => world.drop_conn(author, KEEPER),
            6 => {
                world.cut(author, KEEPER);
                world.cut(KEEPER, author);
            }
            7 => {
                let other = plan::pick(world, dice, |it| is_peer(it) && !PAIR.contains(&it.id));
                other.into_iter().for_each(|node| world.kill(node, "by a signal"));
            }
            8 => {
                let typed = world.nodes[author].member().map(|it| it.room_typed(&room));
                let rekey = RoomAction::Rekey;
                if let Some(room) = typed {
                    world.command(author, Command::Act { room, action: rekey });
                }
            }
            _ => {}
        }
    }
}

fn say(world: &mut World, room: RoomId, author: usize, dice: &mut Dice) {
    let Some(member) = world.nodes[author].member() else { return };
    let typed = member.room_typed(&room);
    let count = if dice.one_in(8) { dice.between(65, 300) } else { dice.between(1, 12) };
    // In all less than one member's share of a keeper: of more, what came first goes.
    let length = if dice.one_in(12) { 40_000 } else { dice.below(100) };
    let count = if length > 100 { 1 } else { count };
    let name = world.nodes[author].name.clone();
    let text = |number| format!("{name} says {number} to itself: {}", "x".repeat(length));
    world.post_in(author, &typed, (0..count).map(text).collect());
}

/// What one said as its disk has it, and the other's has not.
fn lacking(world: &World, room: RoomId, author: usize, reader: usize) -> Vec<(LogId, Seq)> {
    let peer = world.nodes[author].peer;
    let held = world.nodes[reader].disk.all_entries();
    let logs = world.nodes[author].disk.all_entries().iter();
    let own = logs.filter(|(log, _)| log.room == room && log.author == peer);
    let all = own.flat_map(|(log, entries)| entries.keys().map(|seq| (*log, *seq)));
    let lacks = |(log, seq): &(LogId, u64)| !held.get(log).is_some_and(|it| it.contains_key(seq));
    all.filter(lacks).map(|(log, seq)| (log, Seq(seq))).collect()
}

/// The first of it that its author does not know to be with a keeper.
fn unkept(world: &World, room: RoomId, author: usize, reader: usize) -> Option<Seq> {
    let Some(member) = world.nodes[author].member() else { return Some(Seq(0)) };
    let lacks = lacking(world, room, author, reader);
    let is_open = |(log, seq): &(LogId, Seq)| !member.is_kept(log, *seq);
    lacks.into_iter().find(is_open).map(|(_, seq)| seq)
}

/// Why something that one said is not read by the other; and `None` once all is.
pub fn unread(world: &World, room: RoomId, author: usize, reader: usize) -> Option<String> {
    let label = &world.nodes[reader].label;
    let Some(member) = world.nodes[reader].member() else {
        return Some(format!("{label} is not there"));
    };
    let lacks = lacking(world, room, author, reader);
    if let Some((log, seq)) = lacks.first() {
        let (count, life) = (lacks.len(), log.incarnation);
        return Some(format!("{label} lacks {count}, from {seq} of {life} on"));
    }
    let waits = member.room_waits_for(&room);
    let peer = world.nodes[author].peer;
    let logs = world.nodes[reader].disk.all_entries().iter();
    let theirs = logs.filter(|(log, _)| log.room == room && log.author == peer);
    for entry in theirs.flat_map(|(_, entries)| entries.values()) {
        let sealed = Sealed::decode(&entry.bytes).ok();
        if sealed.is_some_and(|it| waits.contains(&it.header.key_id)) {
            return Some(format!("{label} cannot open {}", entry.seq));
        }
        // What came before its process ended was shown, or is in the history.
        let boot = world.nodes[reader].boot;
        let id = MessageId::of(&entry.hash);
        let came = world.oracle.came.get(&(reader, entry.log, entry.seq));
        if came == Some(&boot) && !world.oracle.read.contains(&(reader, id)) {
            return Some(format!("{label} is not shown {}", entry.seq));
        }
    }
    None
}
