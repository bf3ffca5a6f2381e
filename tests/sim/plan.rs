//! What a seed does: a time of faults, then peace, and what must come of it.
//! Owns: the choice of faults, and the bounds after which peace must have come.
//! Must not know: how the cores work.
//! Invariants: everything is drawn from the seed.
//! Start reading at: [`run`].

use std::collections::BTreeSet;

use p2pgroup::ids::{Index, NetworkRole, RoomId, Seq};
use p2pgroup::protocol::control::{Ballot, Entry, Payload};
use p2pgroup::protocol::ledger::witness_of;
use p2pgroup::protocol::{Command, Reads, Timers};

use crate::broken::{Broken, Hunt};
use crate::dice::Dice;
use crate::node::{Kind, Node, Running};
use crate::rooms::{self, Rooms};
use crate::world::{Happening, Violation, World};

/// "Within 20 election timeouts".
const SETTLE: u64 = 20 * Timers::LAN.election_max.0;
/// A connection that is dead at one end is noticed at the other by then.
const SILENCE: u64 = 15_000;

/// How a difference in what is kept of a fork begins, which is another invariant's.
const FORKED: &str = "the forked log";

const FAULT: u32 = 1;
const POST: u32 = 2;
const ACT: u32 = 3;

/// What came of a run.
pub struct Outcome {
    pub violation: Option<Violation>,
    pub hash: u64,
    pub lines: Vec<String>,
    pub happenings: u64,
    pub virtual_ms: u64,
}

impl Outcome {
    pub fn of(world: &World) -> Self {
        Self {
            violation: world.violation.clone(),
            hash: world.trace.hash(),
            lines: world.trace.lines().to_vec(),
            happenings: world.trace.count,
            virtual_ms: world.now,
        }
    }
}

/// What a seed draws for itself.
struct Profile {
    members: usize,
    chaos: u64,
    fault_every: u64,
    post_every: u64,
    weights: [u64; 12],
    rooms: Option<Rooms>,
}

impl Profile {
    fn draw(dice: &mut Dice, world: &mut World, has_rooms: bool) -> Self {
        world.crashes = 0;
        // Some faults are left out altogether, so that others are not hidden by them.
        let mut weights = [0; 12];
        for weight in &mut weights {
            *weight = if dice.percent(45) { dice.between(1, 10) } else { 0 };
        }
        world.hunt(&mut weights, dice);
        world.delays = match dice.below(4) {
            0 => (1, 2),
            1 => (1, 20),
            2 => (10, 60),
            _ => (1, 150),
        };
        world.duplicates = dice.percent(20);
        if world.crashes == 0 && dice.percent(40) {
            world.crashes = dice.between(150, 3_000);
        }
        world.tampers = if dice.percent(20) { dice.between(50, 400) } else { 0 };
        if world.broken.hunt == Some(Hunt::Forgeries) {
            world.tampers = 20;
        }
        world.is_slow = dice.percent(30);
        Self {
            members: 2 + dice.below(6),
            chaos: dice.between(8_000, 40_000),
            fault_every: dice.between(400, 6_000),
            post_every: dice.between(50, 1_500),
            weights,
            rooms: has_rooms.then(|| Rooms::draw(dice)),
        }
    }
}

impl World {
    /// Where something is looked for, the faults that bring it to light come often.
    fn hunt(&mut self, weights: &mut [u64; 12], dice: &mut Dice) {
        match self.broken.hunt {
            Some(Hunt::Crashes) => self.crashes = dice.between(20, 200),
            Some(Hunt::PowerLosses) => weights[1] = 20,
            Some(Hunt::OldCopies) => (weights[4], weights[5], weights[9]) = (10, 10, 60),
            Some(Hunt::LostDisks) => weights[10] = 20,
            Some(Hunt::Rooms | Hunt::Forgeries) | None => {}
        }
    }
}

/// One whole run.
pub fn run(seed: u64, broken: Broken, keeps_lines: bool) -> Outcome {
    let mut world = World::new(seed, broken, keeps_lines);
    let mut dice = Dice::new(seed, 2);
    match seed % 10 {
        8 => majority(&mut world, &mut dice),
        9 => returner(&mut world, &mut dice),
        // Where it is hunted in rooms, every run has some.
        kind => chaos(&mut world, &mut dice, kind < 2 || broken.hunt == Some(Hunt::Rooms)),
    }
    Outcome::of(&world)
}

pub fn found(world: &mut World, count: usize, within: u64, dice: &mut Dice) {
    let names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace"];
    for name in names.into_iter().take(count) {
        let node = world.add(Kind::Member, name);
        let at = dice.between(0, within);
        world.at(at, Happening::Start { node });
    }
    world.at(0, Happening::Start { node: world.authority });
    let at = dice.between(0, within / 4);
    world.at(at, Happening::Start { node: world.bootstrap });
}

fn chaos(world: &mut World, dice: &mut Dice, has_rooms: bool) {
    let mut profile = Profile::draw(dice, world, has_rooms);
    let within = if dice.percent(50) { 500 } else { 15_000 };
    found(world, profile.members, within, dice);
    // Half of the seeds begin in peace, so that there is something to lose.
    let start = if dice.percent(50) { 6_000 } else { 0 };
    if let Some(rooms) = &profile.rooms {
        rooms.begin(world, dice);
        world.at(dice.between(1_000, 5_000), Happening::Plan(ACT));
    }
    let crashes = std::mem::take(&mut world.crashes);
    let end = start + profile.chaos;
    world.at(start, Happening::Plan(FAULT));
    world.at(dice.between(500, 3_000), Happening::Plan(POST));
    while world.violation.is_none() && world.now < end {
        world.run_until(end);
        if world.now >= start {
            world.crashes = crashes;
        }
        for what in std::mem::take(&mut world.due) {
            if what == FAULT {
                fault(world, &profile, dice);
                let at = world.now + dice.between(1, profile.fault_every * 2);
                world.at(at, Happening::Plan(FAULT));
            } else if what == ACT {
                let wait = profile.rooms.as_mut().map_or(u64::MAX, |it| it.act(world, dice));
                let at = world.now + wait;
                world.at(at, Happening::Plan(ACT));
            } else {
                // A hunt goes on as it did before anybody had a role.
                if world.broken.hunt.is_none() && dice.percent(5) {
                    appoint(world, dice);
                } else if profile.rooms.is_none() || dice.percent(30) {
                    post(world, dice);
                } else {
                    rooms::post(world, dice);
                }
                let at = world.now + dice.between(1, profile.post_every * 2);
                world.at(at, Happening::Plan(POST));
            }
        }
    }
    settle(world);
}

/// Peace, and what must come of it (14, 16, 19).
pub fn settle(world: &mut World) {
    settle_and(world, |_| {});
}

/// The same, and something that is looked at in the end.
pub fn settle_and(world: &mut World, last: impl FnOnce(&mut World)) {
    world.calm();
    let healed = world.now;
    let bound = healed + SETTLE + SILENCE;
    while world.violation.is_none() {
        let next = world.now + 250;
        world.run_until(next);
        world.due.clear();
        let (name, why) = match (is_settled(world), all_answered(world)) {
            (Err(why), _) if why.starts_with(FORKED) => ("forks_are_reported", why),
            (Err(why), _) => ("one_leader_one_log_one_roster_after_healing", why),
            (_, Err(why)) => ("commands_answered", why),
            _ => break,
        };
        if world.now >= bound && world.violation.is_none() {
            world.fail(name, why);
            break;
        }
    }
    if world.violation.is_none() {
        last(world);
    }
    if world.violation.is_none() {
        world.finish();
    }
}

/// Whoever asked for something was answered, also if the core that was asked was loaded again.
fn all_answered(world: &World) -> Result<(), String> {
    for node in world.nodes.iter().filter(|it| it.is_up()) {
        if let Some(id) = node.waiting.first() {
            return Err(format!("{} has not answered {id:?}", node.label));
        }
    }
    Ok(())
}

/// One leader, one roster, one log, everybody linked, everything delivered; or what is not yet so.
pub fn is_settled(world: &World) -> Result<(), String> {
    let members: Vec<_> =
        world.members().filter(|it| !world.oracle.fatal.contains_key(&it.id)).collect();
    let mut leader = None;
    for node in &members {
        let label = &node.label;
        if !node.is_up() || !node.is_ready {
            return Err(format!("{label} is not ready"));
        }
        let control = node.ledger().ok_or(format!("{label} knows no network"))?.control();
        let led = control.leader().ok_or(format!("{label} follows nobody"))?;
        if *leader.get_or_insert(led) != led {
            return Err(format!("{label} follows {} and others do not", led.1));
        }
    }
    let states: BTreeSet<_> = world
        .nodes
        .iter()
        .filter_map(|node| node.ledger())
        .map(|it| (it.control().last(), it.control().commit(), it.roster().state_hash()))
        .collect();
    if states.len() > 1 {
        let ends: Vec<_> = states.iter().map(|(last, commit, _)| (last.0, commit)).collect();
        return Err(format!("control logs differ: {ends:?}"));
    }
    for (id, nodes) in world.rooms() {
        let said = nodes.iter().filter_map(|it| it.member()?.room_said(&id));
        let vectors: BTreeSet<Vec<_>> = said.map(|it| it.vector()).collect();
        if vectors.len() > 1 {
            return Err(differing(world, id, &nodes));
        }
    }
    for one in &members {
        if members.len() > world.max_links + 1 {
            let lacking = one.member().map(|it| it.links_lacking()).unwrap_or_default();
            let lacking = lacking.iter().filter_map(|peer| world.node_of(peer));
            let mut lacking = lacking.filter(|it| !world.oracle.fatal.contains_key(it));
            if let Some(other) = lacking.next() {
                return Err(format!(
                    "{} wants a link with {}",
                    one.label, world.nodes[other].label
                ));
            }
            continue;
        }
        let is_peer =
            |it: &&Node| it.kind != Kind::Authority && !world.oracle.fatal.contains_key(&it.id);
        for other in world.nodes.iter().filter(is_peer) {
            if one.id != other.id && !world.has_link(one.id, other.id) {
                return Err(format!("{} has no link with {}", one.label, other.label));
            }
        }
    }
    world.rooms().into_iter().try_for_each(|(id, nodes)| rooms::is_one_epoch(world, id, &nodes))
}

/// The first log of a room that two members hold differently.
fn differing(world: &World, id: RoomId, nodes: &[&Node]) -> String {
    let room = |node: &&Node| (node.label.clone(), world.room(node, id));
    let rooms: Vec<_> = nodes.iter().map(room).collect();
    let logs = nodes.iter().flat_map(|it| it.disk.all_entries().keys());
    for log in logs.filter(|log| log.room == id) {
        let heads: BTreeSet<_> = rooms.iter().map(|(_, room)| room.told(log)).collect();
        if heads.len() > 1 {
            let held = rooms.iter().map(|(label, room)| {
                let (told, kept) = (room.told(log), room.kept(log).map(|kept| kept.roots.len()));
                format!("{label}: {} {:?} {kept:?}", told.seq, told.hash)
            });
            let held: Vec<String> = held.collect();
            let author = world.node_of(&log.author).map(|it| world.nodes[it].label.clone());
            let author = author.unwrap_or_default();
            let what = if world.is_forked(log) { FORKED } else { "the log" };
            let held = held.join(", ");
            return format!("{what} {} of {author} in {id} differs: {held}", log.incarnation);
        }
    }
    format!("vectors of {id} differ")
}

pub fn pick(world: &World, dice: &mut Dice, is_meant: impl Fn(&Node) -> bool) -> Option<usize> {
    let meant: Vec<usize> = world.nodes.iter().filter(|it| is_meant(it)).map(|it| it.id).collect();
    (!meant.is_empty()).then(|| meant[dice.below(meant.len())])
}

fn fault(world: &mut World, profile: &Profile, dice: &mut Dice) {
    let total: u64 = profile.weights.iter().sum();
    if total == 0 {
        return;
    }
    let mut drawn = dice.number() % total;
    let mut kind = 0;
    for (index, weight) in profile.weights.iter().enumerate() {
        if drawn < *weight {
            kind = index;
            break;
        }
        drawn -= weight;
    }
    let is_peer = |it: &Node| it.kind != Kind::Authority;
    let any = pick(world, dice, |it| it.is_up());
    let member = pick(world, dice, |it| it.is_up() && it.kind == Kind::Member);
    let one = pick(world, dice, is_peer).unwrap_or_default();
    let other = pick(world, dice, is_peer).unwrap_or_default();
    match kind {
        0 => any.into_iter().for_each(|node| world.kill(node, "by a signal")),
        1 => any.into_iter().for_each(|node| world.lose_power(node)),
        2 if one != other => world.cut(one, other),
        3 if one != other => {
            world.cut(one, other);
            world.cut(other, one);
        }
        4 => split(world, dice),
        5 => world.heal(),
        6 => {
            let span = dice.between(500, 20_000);
            let stands_still = dice.percent(50);
            if let Some(node) = any.filter(|node| !world.nodes[*node].is_asleep(world.now)) {
                world.sleep(node, span, stands_still);
            }
        }
        7 if one != other => world.drop_conn(one, other),
        8 => {
            if let Some(node) = member {
                world.command(node, Command::Exit);
                let at = world.now + dice.between(5_000, 20_000);
                world.at(at, Happening::Start { node });
            }
        }
        9 => {
            if let Some(node) = member.filter(|_| dice.percent(30)) {
                let is_backup = profile.rooms.is_some() && dice.percent(50);
                match world.nodes[node].copy.is_some() {
                    true if is_backup && may_lose(world, node) => world.restore_backup(node),
                    true => world.restore(node),
                    false => world.nodes[node].copy = Some(world.nodes[node].disk.clone()),
                }
            }
        }
        10 => {
            if let Some(node) = any.filter(|node| dice.percent(30) && may_lose(world, *node)) {
                world.wipe(node);
            }
        }
        11 => world.kill(world.bootstrap, "with its machine"),
        _ => {}
    }
}

fn split(world: &mut World, dice: &mut Dice) {
    let side: Vec<bool> = (0..world.nodes.len()).map(|_| dice.percent(50)).collect();
    for one in 0..side.len() {
        for other in 0..side.len() {
            if side[one] != side[other] {
                world.cut(one, other);
            }
        }
    }
}

/// Whether nothing else is wrong and every voter set on any disk keeps a majority of intact databases without this one.
fn may_lose(world: &World, node: usize) -> bool {
    // A disk is lost for ever: with a voter gone at that moment a majority may be.
    let is_calm = world.net.cut.is_empty()
        && world.nodes.iter().all(|it| it.is_up() && !it.is_asleep(world.now));
    if node == world.authority || !is_calm {
        return false;
    }
    world.nodes.iter().filter(|it| it.kind != Kind::Authority).all(|it| {
        let rows = it.disk.control(&it.space(), Index(1), usize::MAX);
        let sets = rows.iter().rev().filter_map(|bytes| match Entry::decode(bytes).ok()?.payload {
            Payload::Voters(set) => Some(set.as_slice().to_vec()),
            _ => None,
        });
        let base = it.ledger().and_then(|it| witness_of(it.genesis()));
        let mut sets: Vec<Vec<_>> = sets.take(2).collect();
        if sets.len() < 2 {
            // The founding set: the witness alone.
            sets.extend(base.map(|voter| vec![voter]));
            if node == world.bootstrap {
                return false;
            }
        }
        sets.iter().all(|set| {
            let is_intact = |voter: &&p2pgroup::protocol::control::Voter| {
                world.node_of(&voter.peer).is_some_and(|at| {
                    at != node && world.nodes[at].incarnation == voter.incarnation
                })
            };
            set.iter().filter(is_intact).count() > set.len() / 2
        })
    })
}

pub fn post(world: &mut World, dice: &mut Dice) {
    let Some(node) = pick(world, dice, |it| it.is_up() && it.kind == Kind::Member) else {
        return;
    };
    let count = match dice.below(20) {
        0 => dice.between(65, 300),
        1..=3 => dice.between(2, 20),
        _ => 1,
    };
    let length = if dice.one_in(60) { 40_000 } else { dice.below(40) };
    let texts = (0..count)
        .map(|number| format!("{} says {number}: {}", world.nodes[node].name, "x".repeat(length)));
    let texts = texts.collect();
    world.post(node, texts);
}

/// Somebody wishes another role for somebody, be it allowed to or not.
fn appoint(world: &mut World, dice: &mut Dice) {
    let member = |it: &Node| it.kind == Kind::Member;
    let node = pick(world, dice, |it| it.is_up() && member(it));
    let whom = pick(world, dice, member);
    let role = NetworkRole::ALL[dice.below(NetworkRole::ALL.len())];
    if let (Some(node), Some(whom)) = (node, whom) {
        let name = world.nodes[whom].name.clone();
        world.command(node, Command::Role { name, role });
    }
}

/// A majority of the voters stays connected while the rest is cut off (14).
fn majority(world: &mut World, dice: &mut Dice) {
    let count = 3 + dice.below(5);
    world.delays = (1, dice.between(1, 40));
    found(world, count, 500, dice);
    if !quiet(world, 20_000) {
        return;
    }
    // So that the voters are what the table says.
    let end = world.now + 3_000;
    world.run_until(end);
    let Some((leader, ballot)) = agreed(world) else {
        return world.fail("a_majority_leads", "nobody leads after founding".to_owned());
    };
    let voters: Vec<usize> = world.nodes[leader]
        .ledger()
        .map(|it| it.control().voters().as_slice().to_vec())
        .unwrap_or_default()
        .iter()
        .filter_map(|voter| world.node_of(&voter.peer))
        .collect();
    // The minority may hold the leader, the witness, or neither.
    let mut minority = BTreeSet::new();
    while minority.len() < (voters.len() - 1) / 2 {
        minority.insert(voters[dice.below(voters.len())]);
    }
    for one in 0..world.nodes.len() {
        for other in &minority {
            if one != *other && !minority.contains(&one) {
                world.cut(one, *other);
                world.cut(*other, one);
            }
        }
    }
    let late = world.add(Kind::Member, "heidi");
    for other in minority.clone() {
        world.cut(late, other);
        world.cut(other, late);
    }
    let joins = !minority.contains(&world.bootstrap);
    if joins {
        world.start(late);
    }
    let end = world.now + 10 * Timers::LAN.election_max.0;
    while world.violation.is_none() && world.now < end {
        post(world, dice);
        let next = world.now + 300;
        world.run_until(next);
    }
    if world.violation.is_some() {
        return;
    }
    let leads = |node: &Node| {
        let control = node.ledger().map(|it| it.control());
        control.filter(|it| it.is_leader()).and_then(|it| it.leader()).map(|it| it.1)
    };
    let here = world.nodes.iter().filter(|it| !minority.contains(&it.id));
    let leaders: Vec<Ballot> = here.filter_map(leads).collect();
    if leaders.len() != 1 {
        let text = format!("{} leaders on the side of the majority: {leaders:?}", leaders.len());
        return world.fail("a_majority_leads", text);
    }
    let must_stay = !minority.contains(&leader);
    if must_stay && leaders[0] != ballot {
        let text = format!("{ballot} was heard by a majority and {} leads", leaders[0]);
        return world.fail("no_needless_election", text);
    }
    if joins && !world.nodes[late].is_ready {
        return world.fail("a_majority_leads", "an admission does not commit".to_owned());
    }
    if !joins {
        world.start(late);
    }
    settle(world);
}

/// Somebody sleeps, is paused or cut off, and comes back: no election (15).
fn returner(world: &mut World, dice: &mut Dice) {
    let count = 3 + dice.below(5);
    world.delays = (1, dice.between(1, 40));
    found(world, count, 500, dice);
    if !quiet(world, 20_000) {
        return;
    }
    let end = world.now + 3_000;
    world.run_until(end);
    let Some((leader, ballot)) = agreed(world) else {
        return world.fail("no_needless_election", "nobody leads after founding".to_owned());
    };
    let Some(node) = pick(world, dice, |it| it.kind != Kind::Authority && it.id != leader) else {
        return;
    };
    let span = dice.between(300, 15_000);
    match dice.below(5) {
        0 => world.sleep(node, span, true),
        1 => world.sleep(node, span, false),
        2 | 3 => {
            let is_deaf = dice.percent(50);
            for other in 0..world.nodes.len() {
                if other != node {
                    world.cut(other, node);
                    if !is_deaf {
                        world.cut(node, other);
                    }
                }
            }
        }
        _ => world.kill(node, "by a signal"),
    }
    let end = world.now + span;
    world.run_until(end);
    world.heal();
    let end = world.now + 25_000;
    while world.violation.is_none() && world.now < end {
        post(world, dice);
        let next = world.now + 500;
        world.run_until(next);
        if let Some((_, now)) = agreed(world)
            && now != ballot
        {
            let text = format!("{ballot} led, and after a return {now} does");
            world.fail("no_needless_election", text);
        }
    }
    if world.violation.is_none() {
        settle(world);
    }
}

/// Somebody's clock is set back an hour while a group talks: nobody is deposed, nothing is lost,
/// and a newcomer is admitted.
pub fn clock_set_back(seed: u64, is_leader: bool) -> Outcome {
    let mut world = World::new(seed, Broken::default(), false);
    let mut dice = Dice::new(seed, 3);
    found(&mut world, 3, 500, &mut dice);
    for node in 0..world.nodes.len() {
        world.set_clock(node, 3_600_000);
    }
    if quiet(&mut world, 20_000) {
        let end = world.now + 3_000;
        world.run_until(end);
        set_back(&mut world, is_leader, &mut dice);
    }
    Outcome::of(&world)
}

fn set_back(world: &mut World, is_leader: bool, dice: &mut Dice) {
    let Some((leader, ballot)) = agreed(world) else {
        return world.fail("no_needless_election", "nobody leads after founding".to_owned());
    };
    let is_meant = |it: &Node| it.kind == Kind::Member && (it.id == leader) == is_leader;
    let Some(node) = pick(world, dice, is_meant) else { return };
    world.set_clock(node, 0);
    let late = world.add(Kind::Member, "heidi");
    world.set_clock(late, 3_600_000);
    world.start(late);
    let end = world.now + 20_000;
    while world.violation.is_none() && world.now < end {
        post(world, dice);
        let next = world.now + 300;
        world.run_until(next);
    }
    if let Some((_, now)) = agreed(world)
        && now != ballot
    {
        world.fail("no_needless_election", format!("{ballot} led, and now {now} does"));
    }
    if !world.nodes[late].is_ready {
        world.fail("a_majority_leads", "an admission does not commit".to_owned());
    }
    settle(world);
}

/// Somebody comes back to a log that is 8,000 entries longer, and is killed before it has them all:
/// the newest are shown first, are in its history with the gap before them from then on, restart or
/// not, come once, and in the end nothing is missing.
pub fn back_to_a_long_log(seed: u64, broken: Broken) -> Outcome {
    let mut world = World::new(seed, broken, false);
    let mut dice = Dice::new(seed, 3);
    found(&mut world, 3, 500, &mut dice);
    if quiet(&mut world, 20_000) {
        come_back(&mut world);
    }
    Outcome::of(&world)
}

const BACKLOG: u64 = 8_000;

fn come_back(world: &mut World) {
    // Of the two that may: who shows the end of a log ahead only where it is far ahead.
    let (author, away) = (2, 3);
    world.switch_off(away);
    world.oracle.counts_pages = true;
    let mut said = 0;
    while world.violation.is_none() && said < BACKLOG {
        if world.nodes[author].takes_commands() {
            world.post(author, (0..100).map(|it| format!("number {}", said + it + 1)).collect());
            said += 100;
        }
        let next = world.now + 50;
        world.run_until(next);
    }
    let held = |world: &World, node: usize| {
        let logs = world.nodes[node].disk.all_entries().values();
        logs.map(|log| log.len() as u64).max().unwrap_or_default()
    };
    let end = world.now + 30_000;
    while world.violation.is_none() && world.now < end && held(world, 4) < BACKLOG {
        let next = world.now + 50;
        world.run_until(next);
    }
    let mut ahead = Vec::new();
    for is_last in [false, true] {
        let before = held(world, away);
        world.start(away);
        let boot = world.nodes[away].boot;
        if is_last {
            // What the killed process was shown ahead is there before anybody is linked.
            let (found, missing) = history(world, away);
            if found != ahead || missing != ahead[0] - before - 1 {
                let text = format!("after a restart: {missing} missing before {found:?}");
                world.fail("the_newest_first", text);
            }
        }
        let end = world.now + 30_000;
        while world.violation.is_none() && world.now < end && !is_last && held(world, away) == 0 {
            let next = world.now + 1;
            world.run_until(next);
        }
        if is_last {
            settle(world);
        } else {
            // What others wrote is committed in its own time.
            for other in 0..world.nodes.len() {
                world.cut(other, away);
            }
            let end = world.now + 1_500;
            world.run_until(end);
            ahead = history(world, away).0;
            world.switch_off(away);
            world.heal();
        }
        let shown = world.oracle.shown.iter().filter(|it| (it.0, it.1) == (away, boot));
        let shown: Vec<u64> = shown.map(|(_, _, seq)| seq.0).collect();
        let is_newest = ahead.ends_with(&[BACKLOG])
            && (64..128).contains(&ahead.len())
            && ahead.windows(2).all(|two| two[0] + 1 == two[1]);
        let first = shown.first().copied();
        let is_right = match is_last {
            false => is_newest && shown.starts_with(&ahead),
            // What was shown is not shown again, and the rest comes in its order.
            true => first == Some(before + 1) && !shown.iter().any(|it| ahead.contains(it)),
        };
        if !is_right {
            let text = format!("{away} shows {first:?} first, ahead {ahead:?}");
            return world.fail("the_newest_first", text);
        }
    }
    let shown = world.oracle.shown.iter().filter(|it| it.0 == away);
    let all: BTreeSet<u64> = shown.map(|(_, _, seq)| seq.0).collect();
    if all.len() as u64 != BACKLOG {
        world.fail("the_newest_first", format!("{} of {BACKLOG} are shown", all.len()));
    }
    let twice = ahead.iter().find(|seq| world.oracle.brought.get(&(away, Seq(**seq))) != Some(&1));
    if let Some(seq) = twice {
        let times = world.oracle.brought.get(&(away, Seq(*seq)));
        world.fail("the_newest_first", format!("{seq} was brought {times:?} times"));
    }
    if !world.nodes[away].disk.all_pending().is_empty() {
        world.fail("the_newest_first", "the end is still beyond a gap".to_owned());
    }
}

/// What the history of a member shows beyond a gap, by place, and how many are missing before it.
fn history(world: &mut World, node: usize) -> (Vec<u64>, u64) {
    let node = &mut world.nodes[node];
    let Some(Running::Member(member)) = &mut node.running else { return Default::default() };
    let history = member.history("main", 200, &node.disk).unwrap_or_default();
    let after = history.iter().position(|it| it.missing > 0).unwrap_or(history.len());
    let missing = history.get(after).map_or(0, |it| it.missing);
    (history[after..].iter().map(|it| it.seq.0).collect(), missing)
}

/// A group of so many members in peace; or a violation.
pub fn founded(world: &mut World, seed: u64, count: usize) -> bool {
    let mut dice = Dice::new(seed, 3);
    found(world, count, 500, &mut dice);
    quiet(world, 20_000)
}

/// Runs until everything is settled; a violation if that takes too long.
pub fn quiet(world: &mut World, bound: u64) -> bool {
    let end = world.now + bound;
    while world.violation.is_none() {
        let next = world.now + 250;
        world.run_until(next);
        match is_settled(world) {
            Ok(()) => return true,
            Err(why) if world.now >= end => {
                world.fail("a_group_is_founded", why);
            }
            Err(_) => {}
        }
    }
    false
}

/// Who leads, if everybody that is up says the same.
pub fn agreed(world: &World) -> Option<(usize, Ballot)> {
    let leads = world
        .members()
        .filter_map(|it| Some((it.id, it.ledger()?.control())))
        .filter(|(_, control)| control.is_leader())
        .filter_map(|(id, control)| Some((id, control.leader()?.1)));
    leads.max_by_key(|(_, ballot)| *ballot)
}
