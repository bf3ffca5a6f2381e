//! A leader that orders one thing to some and another to the rest, and signs both.
//! Owns: the liar, and what must come of it: everybody learns of it, nobody's log breaks, talk goes on.
//! Must not know: how the cores find out.
//! Invariants: everything is drawn from the seed; the liar tells each side one story, without a gap.
//! Start reading at: [`run`].

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{Hash, Index};
use p2pgroup::protocol::control::{Ballot, Control, Entry, Message, Payload, sign};
use p2pgroup::protocol::{Command, Notice, RoomAction, RoomEntry, Timers};
use p2pgroup::wire::frame::Body;

use crate::broken::Broken;
use crate::dice::Dice;
use crate::node::Running;
use crate::plan::{self, Outcome};
use crate::proofs::{Toy, network};
use crate::world::World;

/// Logs are compared every ten seconds, with one other at a time.
const FOUND: u64 = 60_000;
/// A group without its leader has another, and whoever was told lies is out of the voters.
const LED: u64 = 20 * Timers::LAN.election_max.0 + 15_000;

/// Who lies to whom, from which place of the log on.
#[derive(Clone)]
pub struct Liar {
    pub node: usize,
    victims: BTreeSet<usize>,
    ballot: Ballot,
    fork: Index,
}

impl Liar {
    /// The entry that the victims are given in place of this one of the liar's own log.
    fn twisted(&self, control: &Control, upto: Index, key: Toy) -> BTreeMap<u64, Entry> {
        let mut story = BTreeMap::new();
        let mut previous = Hash::ZERO;
        for index in self.fork.0..=upto.0 {
            let Some(own) = control.entry(Index(index)) else { break };
            let mut entry = own.clone();
            if index == self.fork.0 {
                entry.payload = Payload::Empty;
            } else {
                entry.previous = previous;
            }
            let entry = if entry.ballot == self.ballot {
                sign(entry, &network(), &Toy::of(key.0))
            } else {
                entry
            };
            previous = entry.digest();
            story.insert(index, entry);
        }
        story
    }

    /// What arrives at a node in place of what the liar's core sent it; `None`: nothing.
    pub fn tells(&self, world: &World, to: usize, mut body: Body) -> Option<Body> {
        // It neither asks what would show it to be one, nor says so itself.
        if matches!(body, Body::Evidence(_))
            || matches!(&body, Body::Control(Message::LogWant(want)) if want.compares)
        {
            return None;
        }
        let liar = &world.nodes[self.node];
        let control = liar.ledger()?.control();
        if !self.victims.contains(&to) {
            return Some(body);
        }
        let story = self.twisted(control, control.last().0, Toy::of(liar.device));
        let twist = |at: Index, digest: &mut Hash, entries: &mut Vec<Entry>| {
            if let Some(entry) = story.get(&at.0) {
                *digest = entry.digest();
            }
            for entry in entries {
                if let Some(other) = story.get(&entry.index.0) {
                    *entry = other.clone();
                }
            }
        };
        match &mut body {
            Body::Control(Message::Append(it)) => {
                twist(it.prev.index, &mut it.prev_digest, &mut it.entries);
            }
            Body::Control(Message::LogPage(it)) => {
                twist(it.prev.index, &mut it.prev_digest, &mut it.entries);
            }
            _ => {}
        }
        Some(body)
    }
}

/// The digests of what is committed at a node.
fn committed(world: &World, node: usize) -> Vec<Hash> {
    let Some(control) = world.nodes[node].ledger().map(|it| it.control()) else {
        return Vec::new();
    };
    (1..=control.commit().0).filter_map(|it| Some(control.entry(Index(it))?.digest())).collect()
}

/// A group whose leader lies, is found out, and goes.
pub fn run(seed: u64, broken: Broken, keeps_lines: bool) -> Outcome {
    let mut world = World::new(seed, broken, keeps_lines);
    let mut dice = Dice::new(seed, 8);
    world.delays = (1, dice.between(2, 60));
    let count = 4 + dice.below(3);
    plan::found(&mut world, count, 500, &mut dice);
    if plan::quiet(&mut world, 20_000) {
        let end = world.now + 3_000;
        world.run_until(end);
        lie(&mut world, &mut dice);
    }
    Outcome::of(&world)
}

fn lie(world: &mut World, dice: &mut Dice) {
    let Some((leader, ballot)) = plan::agreed(world) else {
        return world.fail("a_group_is_founded", "nobody leads".to_owned());
    };
    let honest: Vec<usize> = world.members().map(|it| it.id).filter(|it| *it != leader).collect();
    // One alone, so that those who hear the other story can go on without the liar.
    let first = dice.below(honest.len());
    let victims = BTreeSet::from([honest[first]]);
    let Some(ledger) = world.nodes[leader].ledger() else { return };
    let fork = ledger.control().last().0.next();
    world.look_away();
    world.liar = Some(Liar { node: leader, victims, ballot, fork });
    let entry = RoomEntry::Invited;
    let create = RoomAction::Create { entry, is_listed: false, description: String::new() };
    world.command(honest[first], Command::Act { room: "den".to_owned(), action: create });
    let end = world.now + 3_000;
    world.run_until(end);
    let before: Vec<Vec<Hash>> = honest.iter().map(|it| committed(world, *it)).collect();
    let stories: BTreeSet<Option<&Hash>> =
        before.iter().map(|it| it.get(fork.0 as usize - 1)).collect();
    if stories.len() != 2 || stories.contains(&None) {
        return world.fail("the_liar_lies", format!("{} stories are committed", stories.len()));
    }
    let end = world.now + FOUND;
    let told =
        |world: &World| honest.iter().all(|it| world.oracle.accused.contains(&(*it, leader)));
    while world.violation.is_none() && world.now < end && !told(world) {
        talk(world, &honest, dice);
    }
    if !told(world) {
        let who = world.oracle.accused.clone();
        return world.fail("contradictions_are_told", format!("accused: {who:?}"));
    }
    // The liar is sent home.
    world.switch_off(leader);
    world.nodes[leader].stays_off = true;
    let end = world.now + LED;
    let goes_on = |world: &World| {
        let next = plan::agreed(world).filter(|(next, _)| *next != leader);
        next.is_some_and(|(next, _)| {
            committed(world, next).len() > before.iter().map(Vec::len).max().unwrap_or(0)
        })
    };
    while world.violation.is_none() && world.now < end && !goes_on(world) {
        talk(world, &honest, dice);
    }
    if !goes_on(world) {
        world.fail("the_others_go_on", "nobody leads and orders".to_owned());
    }
    for (node, before) in honest.iter().zip(&before) {
        if !committed(world, *node).starts_with(before) {
            let label = world.nodes[*node].label.clone();
            world.fail("committed_is_never_replaced", label);
        }
    }
    everybody_hears(world, &honest);
}

fn talk(world: &mut World, honest: &[usize], dice: &mut Dice) {
    let node = honest[dice.below(honest.len())];
    world.post(node, vec![format!("at {}", world.now)]);
    let next = world.now + 500;
    world.run_until(next);
}

/// What each says now is read by all the others.
fn everybody_hears(world: &mut World, honest: &[usize]) {
    for node in honest {
        let text = format!("after all {node}");
        world.post(*node, vec![text]);
    }
    let end = world.now + 15_000;
    world.run_until(end);
    for node in honest {
        for other in honest {
            let text = format!("after all {other}");
            let it = &mut world.nodes[*node];
            let Some(Running::Member(member)) = &mut it.running else { continue };
            let history = member.history("main", 400, &it.disk).unwrap_or_default();
            if !history.iter().any(|it| it.text == text) {
                let label = world.nodes[*node].label.clone();
                return world.fail("talk_goes_on", format!("{label} does not read \"{text}\""));
            }
        }
    }
}

impl World {
    /// Takes note of an alarm; where nobody lies, there is none about a leader.
    pub fn accused(&mut self, node: usize, notice: &Notice) {
        let Notice::Alarm(alarm) = notice else { return };
        let about = alarm.evidence.first().and_then(|it| self.node_of(&it.peer));
        let liar = self.liar.as_ref().map(|it| it.node);
        let is_true = match alarm.code {
            "two_orders" => about.is_some() && about == liar && alarm.entries.len() == 2,
            // Another check looks whom these name.
            "unusable_keys" => true,
            _ => return,
        };
        if !is_true {
            let text = format!("{} is told: {}", self.nodes[node].label, alarm.message);
            return self.fail("nobody_is_wrongly_accused", text);
        }
        self.oracle.accused.extend(about.map(|about| (node, about)));
    }
}
