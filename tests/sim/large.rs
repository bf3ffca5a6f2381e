//! Groups in which not everybody is linked with everybody.
//! Owns: what is counted there: copies, how soon everybody has it, who hears of it.
//! Must not know: how the graph is made.
//! Invariants: everything is drawn from the seed.
//! Start reading at: [`run`].

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{LogId, RoomId};
use p2pgroup::protocol::{Command, RoomAction, RoomEntry};
use p2pgroup::wire::sync::Page;

use crate::broken::Broken;
use crate::dice::Dice;
use crate::node::Kind;
use crate::plan::{self, Outcome};
use crate::world::{Happening, World};

/// Everybody has what is said by then, in peace: sooner than it would be told and asked for.
const SOON: u64 = 120;
/// Its author knows by then that everybody has it.
const KNOWN: u64 = 1_500;
/// How long a large group takes to come together.
const FOUND: u64 = 60_000;

/// Takes note of a page on its way.
pub fn count(copies: &mut BTreeMap<(usize, LogId, u64), usize>, to: usize, page: &Page) {
    let last = page.signatures.last().map_or(0, |(seq, _)| seq.0);
    for seq in (last + 1).saturating_sub(page.envelopes.len() as u64)..=last {
        *copies.entry((to, page.log, seq)).or_default() += 1;
    }
}

/// A large group comes together, talks in peace, goes through faults, and comes to rest.
pub fn run(seed: u64, broken: Broken, keeps_lines: bool) -> Outcome {
    let mut world = World::new(seed, broken, keeps_lines);
    let mut dice = Dice::new(seed, 4);
    world.invited = 0;
    world.delays = (1, 2);
    let count = 20 + dice.below(13);
    world.max_links = [4, 6, 8][dice.below(3)];
    for number in 0..count {
        let node = world.add(Kind::Member, &format!("m{number:02}"));
        let at = dice.between(0, 3_000);
        world.at(at, Happening::Start { node });
    }
    world.at(0, Happening::Start { node: world.authority });
    world.at(0, Happening::Start { node: world.bootstrap });
    if come_together(&mut world) {
        talk_in_peace(&mut world, &mut dice);
    }
    if world.violation.is_none() && seed.is_multiple_of(2) {
        talk_apart(&mut world);
    }
    if world.violation.is_none() {
        // Some pass on what is not so.
        world.tampers = if dice.percent(50) { dice.between(50, 200) } else { 0 };
        faults(&mut world, &mut dice);
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

fn come_together(world: &mut World) -> bool {
    let end = world.now + FOUND;
    while world.violation.is_none() {
        let next = world.now + 500;
        world.run_until(next);
        match plan::is_settled(world) {
            Ok(()) => break,
            Err(why) if world.now >= end => world.fail("a_group_is_founded", why),
            Err(_) => {}
        }
    }
    // Until links that are not wanted any more are closed.
    let end = world.now + 30_000;
    world.run_until(end);
    world.violation.is_none()
}

/// Everybody says something: it comes to everybody soon and once, and its author hears of it.
fn talk_in_peace(world: &mut World, dice: &mut Dice) {
    let members: Vec<usize> = world.members().map(|it| it.id).collect();
    let pairs = |world: &World| {
        let all = members.iter().flat_map(|one| members.iter().map(move |other| (*one, *other)));
        all.filter(|(one, other)| one < other && world.has_link(*one, *other)).count()
    };
    let (links, all) = (pairs(world), members.len() * (members.len() - 1) / 2);
    if links == all {
        return world.fail("few_links", format!("all {all} links are there"));
    }
    world.copies = Some(BTreeMap::new());
    for author in &members {
        let text = format!("{} has something to say", world.nodes[*author].name);
        world.post(*author, vec![text]);
        let end = world.now + SOON;
        world.run_until(end);
        let rooms = world.members().filter_map(|it| it.member()?.room_said(&RoomId::MAIN));
        let vectors: BTreeSet<Vec<_>> = rooms.map(|it| it.vector()).collect();
        if vectors.len() > 1 {
            let text = format!("after {SOON} ms not all have what {author} says");
            return world.fail("everybody_hears_it_soon", text);
        }
        let pause = world.now + dice.between(0, 300);
        world.run_until(pause);
    }
    let end = world.now + KNOWN;
    world.run_until(end);
    let copies = world.copies.take().unwrap_or_default();
    let most = copies.values().max().copied().unwrap_or_default();
    let sum: usize = copies.values().sum();
    if most > 2 || sum * 10 > copies.len() * 11 {
        let text = format!("{sum} copies of {} entries, {most} of one", copies.len());
        return world.fail("passed_on_once", text);
    }
    let said: Vec<_> = world.oracle.authored.iter().map(|(id, it)| (*id, it.node)).collect();
    for (id, author) in said {
        for other in members.iter().filter(|it| **it != author) {
            let name = world.nodes[*other].name.clone();
            if !world.oracle.delivered.contains(&(id, name.clone())) {
                let author = world.nodes[author].label.clone();
                let text = format!("{author} does not hear that {name} has {id}");
                return world.fail("everybody_is_known_to_have_it", text);
            }
        }
    }
    eprintln!("{} members, {} of {all} links, {sum} copies", members.len(), links);
}

/// A room of some of them, without leader and voters as a rule: what is said there passes through
/// its members alone, and comes to all of them.
fn talk_apart(world: &mut World) {
    let count = world.max_links + 4;
    let members: Vec<usize> = world.members().map(|it| it.id).collect();
    let inside: Vec<usize> = members.iter().rev().take(count).copied().collect();
    let act = |action| Command::Act { room: "den".to_owned(), action };
    let (entry, description) = (RoomEntry::Free, String::new());
    let create = RoomAction::Create { entry, is_listed: false, description };
    world.command(inside[0], act(create));
    for other in &inside[1..] {
        let next = world.now + 500;
        world.run_until(next);
        let name = world.nodes[*other].name.clone();
        world.command(inside[0], act(RoomAction::Invite { name, role: None }));
    }
    let has_key = |world: &World| inside.iter().all(|it| world.nodes[*it].has_key_of("den"));
    let end = world.now + 20_000;
    while world.violation.is_none() && world.now < end && !has_key(world) {
        let next = world.now + 250;
        world.run_until(next);
    }
    for author in &inside {
        world.post_in(*author, "den", vec!["between us".to_owned()]);
    }
    let end = world.now + KNOWN;
    world.run_until(end);
    for node in &inside {
        let member = world.nodes[*node].member();
        let den = member.and_then(|it| it.room_ids().find(|id| it.room_typed(id) == "den"));
        let said = den.and_then(|id| Some(member?.room_said(&id)?.vector().len()));
        if said != Some(count) {
            let text = format!(
                "{} has {said:?} of {count} in a room of its own",
                world.nodes[*node].label
            );
            return world.fail("everybody_hears_it_soon", text);
        }
    }
}

/// Kills, sleeps, splits, lost links; the leader is among those who are hit.
fn faults(world: &mut World, dice: &mut Dice) {
    world.delays = (1, dice.between(2, 60));
    for round in 0..12 {
        let member = |it: &crate::node::Node| it.is_up() && it.kind == Kind::Member;
        let Some(node) = plan::pick(world, dice, member) else { continue };
        match if round == 3 { 9 } else { dice.below(7) } {
            0 | 1 => world.kill(node, "by a signal"),
            2 => {
                let span = dice.between(500, 8_000);
                world.sleep(node, span, dice.percent(50));
            }
            3 => {
                for other in 0..world.nodes.len() {
                    if other % 2 == node % 2 && other != node {
                        world.cut(node, other);
                        world.cut(other, node);
                    }
                }
            }
            4 => world.heal(),
            5 => {
                if let Some(other) = plan::pick(world, dice, member).filter(|it| *it != node) {
                    world.drop_conn(node, other);
                }
            }
            6 => world.lose_power(node),
            _ => {
                let leader = plan::agreed(world).map(|(leader, _)| leader);
                leader.into_iter().for_each(|it| world.kill(it, "while it leads"));
            }
        }
        for _ in 0..3 {
            if let Some(author) = plan::pick(world, dice, member) {
                let text = format!("round {round}");
                world.post(author, vec![text]);
            }
            let next = world.now + dice.between(50, 500);
            world.run_until(next);
            world.due.clear();
        }
    }
}
