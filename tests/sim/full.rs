//! Disks that are full for a while: nothing is stored, and all goes on once there is space.
//! Owns: the plan, and what a full disk does to a node.
//! Must not know: what the cores make of it.
//! Invariants: everything is drawn from the seed; a transaction that fails is undone whole, and the
//! core is loaded again, as `node/driver.rs` does it.
//! Start reading at: [`run`] and [`World::start_over`].

use p2pgroup::ids::SessionSalt;
use p2pgroup::protocol::{Command, Event, Notice, RoomAction, RoomEntry};

use crate::broken::Broken;
use crate::checks::Seen;
use crate::dice::Dice;
use crate::node::{Kind, Node, Once};
use crate::plan::{self, Outcome};
use crate::world::{Happening, World};

/// Members talk while one disk after another is full.
pub fn run(seed: u64, broken: Broken, keeps_lines: bool) -> Outcome {
    let mut world = World::new(seed, broken, keeps_lines);
    let mut dice = Dice::new(seed, 7);
    world.delays = (1, dice.between(2, 60));
    let count = 3 + dice.below(3);
    plan::found(&mut world, count, 500, &mut dice);
    if plan::quiet(&mut world, 20_000) {
        let has_crashes = dice.percent(40);
        for number in 0..dice.between(4, 8) {
            fill(&mut world, number, has_crashes, &mut dice);
        }
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

fn fill(world: &mut World, number: u64, has_crashes: bool, dice: &mut Dice) {
    let any = |it: &Node| it.is_up() && it.kind != Kind::Authority;
    let Some(full) = plan::pick(world, dice, any) else { return };
    let span = dice.between(100, 6_000);
    world.fill_disk(full, span);
    world.crashes = if has_crashes { 400 } else { 0 };
    let end = world.now + span + dice.between(0, 4_000);
    let mut said = 0;
    while world.violation.is_none() && world.now < end {
        let member = |it: &Node| it.is_up() && it.kind == Kind::Member;
        let author = if dice.percent(50) { Some(full) } else { plan::pick(world, dice, member) };
        if let Some(author) = author.filter(|it| world.nodes[*it].kind == Kind::Member) {
            let count = if dice.one_in(10) { dice.between(20, 100) } else { dice.between(1, 5) };
            let name = world.nodes[author].name.clone();
            let text = |it| format!("{name} says {number}.{said}.{it}");
            let texts = (0..count).map(text).collect();
            said += 1;
            world.post(author, texts);
            if dice.one_in(4) {
                let entry = RoomEntry::Free;
                let description = String::new();
                let action = RoomAction::Create { entry, is_listed: dice.one_in(2), description };
                let room = format!("r{number}-{said}");
                world.command(author, Command::Act { room, action });
            }
        }
        let next = world.now + dice.between(5, 400);
        world.run_until(next);
        world.due.clear();
    }
    match dice.below(5) {
        0 => world.lose_power(full),
        1 if world.nodes[full].kind == Kind::Member => {
            // It ends, whatever its disk takes.
            world.command(full, Command::Exit);
            let at = world.now + dice.between(5_000, 8_000);
            world.at(at, Happening::Start { node: full });
        }
        _ => {}
    }
}

impl World {
    /// For so long nothing can be committed.
    pub fn fill_disk(&mut self, node: usize, span: u64) {
        self.say(node, &format!("has a full disk for {span} ms"));
        self.nodes[node].full_until = self.now + span;
    }

    /// The transaction failed for want of space: nothing of it happened. The core is loaded anew and
    /// every link starts again.
    pub fn start_over(&mut self, node: usize) {
        self.say(node, "has no space, and starts over");
        let now = self.now;
        let once = Once { salt: SessionSalt(self.dice.bytes()), seed: self.dice.bytes() };
        let it = &mut self.nodes[node];
        it.undone();
        let safe = std::mem::take(&mut it.true_late);
        let late = it.late.drain(..).enumerate();
        let told = late.filter_map(|(at, notice)| notice.after_undoing(at < safe));
        let told: Vec<Notice> = told.collect();
        // Who is told in a moment that its message is stored is not told that it is not.
        let not_stored = it.unanswered.undone(&told);
        if !self.broken.keeps_core
            && let Err(why) = self.load(node, once)
        {
            return self.fail("every_disk_loads", why);
        }
        self.see(&Seen::Started { node });
        for other in 0..self.nodes.len() {
            if self.has_link(node, other) {
                self.drop_conn(node, other);
            }
        }
        for notice in told {
            self.tell(node, &notice);
        }
        let addresses = vec![self.nodes[node].address()];
        for event in [Event::Started, Event::Listening { addresses }, not_stored] {
            let it = &mut self.nodes[node];
            let time = it.time(now);
            let Some(running) = it.running.as_mut() else { return };
            let actions = running.core().handle(event, time, &it.disk);
            it.wake_at = actions.wake_at;
            // Written with the next transaction.
            let writes = actions.writes;
            self.write_later(node, writes);
            for send in actions.sends {
                self.send(node, send);
            }
            for notice in actions.notices {
                self.tell(node, &notice);
            }
        }
        if self.nodes[node].unanswered.is_leaving() {
            return self.tell(node, &Notice::Exited);
        }
        self.go_on(node);
    }
}
