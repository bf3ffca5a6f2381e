//! Rooms beside `main`: who makes them, comes, goes, is put out, and what is ordered about them.
//! Owns: the choice of what people want, and what peace must bring to rooms.
//! Must not know: how the cores work.
//! Invariants: everything is drawn from the seed; people try what they may not, too.
//! Start reading at: [`Rooms::act`].

use p2pgroup::ids::RoomId;
use p2pgroup::protocol::{Command, RoomAction, RoomEntry};
use p2pgroup::terms::{History, Keep, Role};
use p2pgroup::time::Millis;

use crate::dice::Dice;
use crate::node::{Kind, Node};
use crate::plan::pick;
use crate::world::World;

/// What a seed wants of rooms.
pub struct Rooms {
    act_every: u64,
    /// How many may be made.
    count: u64,
    made: u64,
    weights: [u64; 12],
    /// How many may be removed from the network.
    removals: u64,
    has_keeper: bool,
}

impl Rooms {
    pub fn draw(dice: &mut Dice) -> Self {
        let mut weights = [0; 12];
        for weight in &mut weights {
            *weight = if dice.percent(50) { dice.between(1, 6) } else { 0 };
        }
        // Without people there is nothing to see.
        weights[0] = 10;
        Self {
            act_every: dice.between(200, 2_000),
            count: dice.between(1, 3),
            made: 0,
            weights,
            removals: dice.between(0, 2),
            has_keeper: dice.percent(30),
        }
    }

    /// Before anybody starts.
    pub fn begin(&self, world: &mut World, dice: &mut Dice) {
        let keeper = pick(world, dice, |it| it.kind == Kind::Member);
        if let Some(node) = keeper.filter(|_| self.has_keeper) {
            world.nodes[node].is_keeper = true;
        }
    }

    /// Somebody wants something; gives how long it is until the next one does.
    pub fn act(&mut self, world: &mut World, dice: &mut Dice) -> u64 {
        let member = |it: &Node| it.kind == Kind::Member;
        let is_here = |it: &Node| it.is_up() && member(it) && it.is_ready;
        let whom = pick(world, dice, member).map(|it| world.nodes[it].name.clone());
        if let (Some(node), Some(name)) = (pick(world, dice, is_here), whom) {
            if self.made < self.count && dice.percent(40) {
                self.made += 1;
                create(world, node, self.made, dice);
            } else {
                self.wish(world, node, name, dice);
            }
        }
        dice.between(1, self.act_every * 2)
    }

    fn wish(&mut self, world: &mut World, node: usize, name: String, dice: &mut Dice) {
        let mut rooms = world.nodes[node].rooms();
        if dice.percent(80) {
            rooms.retain(|id| *id != RoomId::MAIN);
        }
        let Some(id) = (!rooms.is_empty()).then(|| rooms[dice.below(rooms.len())]) else {
            return join(world, node, dice);
        };
        let room = typed(&world.nodes[node], &id);
        let act = |action| Command::Act { room: room.clone(), action };
        let command = match drawn(&self.weights, dice) {
            0 => {
                let role = Role::ALL[dice.below(4)];
                act(RoomAction::Invite { name, role: dice.percent(50).then_some(role) })
            }
            1 => act(RoomAction::Kick { name, reason: "so".to_owned() }),
            2 => act(RoomAction::Leave),
            3 => act(RoomAction::Role { name, role: Role::ALL[dice.below(4)] }),
            4 => match dice.below(4) {
                0 => act(RoomAction::Rename { name: format!("{room}x") }),
                1 => act(RoomAction::Topic { text: "this and that".to_owned() }),
                2 => act(RoomAction::Capacity(Some(dice.between(2, 5) as u32))),
                _ => act(RoomAction::Archive(dice.percent(40))),
            },
            5 => act(RoomAction::Keep(Keep {
                age: dice.percent(50).then(|| Millis(dice.between(2_000, 30_000))),
                bytes: dice.percent(50).then(|| dice.between(2_000, 60_000)),
            })),
            6 => act(RoomAction::Rekey),
            7 => {
                let life = Millis(dice.between(1_000, 20_000));
                Command::SendFor { room, text: "not for long".to_owned(), life }
            }
            8 => Command::Direct { name, text: "for you alone".to_owned() },
            9 if self.removals > 0 => {
                self.removals -= 1;
                // Who may not is told so.
                Command::Remove { name, reason: String::new() }
            }
            10 => act(RoomAction::History(match dice.below(4) {
                0 => History::None,
                1 => History::SinceJoin,
                2 => History::Last(dice.between(1, 50) as u32),
                _ => History::All,
            })),
            11 if dice.percent(20) => act(RoomAction::Delete),
            _ => return join(world, node, dice),
        };
        world.command(node, command);
    }
}

fn drawn(weights: &[u64], dice: &mut Dice) -> usize {
    let mut drawn = dice.number() % weights.iter().sum::<u64>().max(1);
    for (kind, weight) in weights.iter().enumerate() {
        if drawn < *weight {
            return kind;
        }
        drawn -= weight;
    }
    0
}

fn typed(node: &Node, id: &RoomId) -> String {
    node.member().map(|it| it.room_typed(id)).unwrap_or_default()
}

fn create(world: &mut World, node: usize, number: u64, dice: &mut Dice) {
    let is_listed = dice.percent(40);
    let entry = match dice.below(3) {
        0 => RoomEntry::Free,
        1 => RoomEntry::Approval,
        _ => RoomEntry::Code("sesame".to_owned()),
    };
    let (room, description) = (format!("room{number}"), String::new());
    let action = RoomAction::Create { entry, is_listed, description };
    world.command(node, Command::Act { room, action });
}

/// Somebody comes into whatever is listed.
fn join(world: &mut World, node: usize, dice: &mut Dice) {
    let Some(member) = world.nodes[node].member() else { return };
    let is_out = |it: &RoomId| !world.nodes[node].rooms().contains(it);
    let known: Vec<RoomId> = world.rooms().into_keys().filter(is_out).collect();
    let known: Vec<RoomId> =
        known.into_iter().filter(|id| member.room_state(id).is_some()).collect();
    if known.is_empty() {
        return;
    }
    let room = typed(&world.nodes[node], &known[dice.below(known.len())]);
    let code = dice.percent(70).then(|| "sesame".to_owned());
    world.command(node, Command::Act { room, action: RoomAction::Join { code } });
}

/// Somebody says something in a room it is in.
pub fn post(world: &mut World, dice: &mut Dice) {
    let node = pick(world, dice, |it| it.is_up() && it.kind == Kind::Member);
    let Some(node) = node else { return };
    let mut rooms = world.nodes[node].rooms();
    if dice.percent(80) {
        rooms.retain(|id| *id != RoomId::MAIN);
    }
    let Some(id) = (!rooms.is_empty()).then(|| rooms[dice.below(rooms.len())]) else { return };
    let room = typed(&world.nodes[node], &id);
    let count = if dice.one_in(30) { dice.between(65, 200) } else { dice.between(1, 4) };
    let length = dice.below(400);
    let name = &world.nodes[node].name;
    let text = |number| format!("{name} says {number} in {room}: {}", "x".repeat(length));
    let texts = (0..count).map(text).collect();
    world.post_in(node, &room, texts);
}

/// Everybody in a room holds one epoch of it, and opens what another one there can open.
pub fn is_one_epoch(world: &World, id: RoomId, nodes: &[&Node]) -> Result<(), String> {
    let roster = nodes.first().and_then(|it| it.ledger()).map(|it| it.roster());
    let states = nodes.iter().filter_map(|it| it.member()?.room_state(&id));
    for (peer, _) in
        roster.iter().flat_map(|roster| states.clone().flat_map(|it| it.members(roster)))
    {
        let out = world
            .members()
            .find(|it| it.peer == peer && !nodes.iter().any(|node| node.id == it.id));
        if let Some(out) = out.filter(|it| !world.oracle.fatal.contains_key(&it.id)) {
            return Err(format!("{} does not know that it is in {id}", out.label));
        }
    }
    let mut held = None;
    for node in nodes {
        let label = &node.label;
        let member = node.member().ok_or(format!("{label} is not there"))?;
        // Who may not come into an epoch asks for its keys, and opens what others do.
        if !node.is_suspended(&id) {
            let epoch = member.room_epoch(&id).ok_or(format!("{label} holds no keys of {id}"))?;
            if *held.get_or_insert(epoch) != epoch {
                return Err(format!("{label} is in another epoch of {id}"));
            }
        }
        // Where a disk is lost or old, the only copy of a key may be lost with it; and so it is
        // where its maker is gone, or the room's rule keeps it from who came later.
        let is_whole = id == RoomId::MAIN && world.oracle.fatal.is_empty() && !has_rule(member, id);
        if world.oracle.lost.is_empty() && is_whole && !member.room_waits_for(&id).is_empty() {
            return Err(format!("{label} lacks the keys of what it holds"));
        }
    }
    Ok(())
}

fn has_rule(member: &p2pgroup::protocol::member::Member, id: RoomId) -> bool {
    let charter = member.room_state(&id).map(|it| it.charter().history);
    charter != Some(History::All)
}
