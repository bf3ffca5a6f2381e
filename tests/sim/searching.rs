//! A search through many entries: in steps, told of while it goes on, and nobody waits for it.
//! Owns: the plan.
//! Must not know: how entries are sealed.
//! Invariants: what is found is what a look at everything finds.
//! Start reading at: [`steps`].

use p2pgroup::ids::CommandId;
use p2pgroup::protocol::{Actions, Command, Doing, Event, Notice, Words, Write};
use p2pgroup::time::{Millis, Now};

use crate::broken::Broken;
use crate::disk::Disk;
use crate::plan;
use crate::world::World;

/// Messages that are said before somebody searches, some of which hold the word.
const SAID: usize = 3_000;
const EVERY: usize = 100;
const ASKED: CommandId = CommandId(900_001);
const SAID_MEANWHILE: CommandId = CommandId(900_002);

/// What became of a search.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// The texts found, as told.
    pub found: Vec<String>,
    /// How many turns it took.
    pub turns: usize,
    /// How far it was when that was told: done, of how much.
    pub told: Vec<(u64, u64)>,
    /// What was said meanwhile was stored before the search was answered.
    pub is_heard: bool,
}

/// A member that said much searches its room, each step so long after the one before.
pub fn steps(seed: u64, pause: Millis, last: usize) -> Option<Searched> {
    let mut world = World::new(seed, Broken::default(), false);
    if !plan::founded(&mut world, seed, 1) {
        return None;
    }
    let member = world.members().next()?.id;
    let mut now: Now = world.nodes[member].time(world.now);
    let node = &mut world.nodes[member];
    let core = node.running.as_mut()?.core();
    let text = |at: usize| match at % EVERY {
        0 => format!("walnut {at}"),
        _ => format!("hazel {at}"),
    };
    for first in (0..SAID).step_by(500) {
        let posts = (first..first + 500).map(|at| (CommandId(at as u64 + 1), text(at).into()));
        let posts = Event::Posts { room: "main".to_owned(), posts: posts.collect() };
        let actions = core.handle(posts, now, &node.disk);
        store(&mut node.disk, actions.writes);
    }
    let words = Words::parse("walnut").ok()?;
    let search = Command::Search { room: None, words, last };
    let mut event = Event::Command { id: ASKED, command: search };
    let mut searched = Searched::default();
    loop {
        let actions: Actions = core.handle(event, now, &node.disk);
        searched.turns += 1;
        store(&mut node.disk, actions.writes);
        for notice in actions.notices {
            match notice {
                Notice::Progress { command: ASKED, doing: Doing::Searching, done, of } => {
                    searched.told.push((done, of));
                }
                Notice::Sent { command: SAID_MEANWHILE, .. } => searched.is_heard = true,
                Notice::Found { command: ASKED, messages } => {
                    searched.found = messages.into_iter().map(|it| it.text).collect();
                    return Some(searched);
                }
                _ => {}
            }
        }
        // It goes on by itself, at once.
        assert!(actions.wake_at.is_some_and(|at| at <= now.mono.after(Millis(1))));
        now = Now { mono: now.mono.after(pause), wall: now.wall.after(pause) };
        event = match searched.turns {
            1 => Event::Posts {
                room: "main".to_owned(),
                posts: vec![(SAID_MEANWHILE, "walnut last".to_owned().into())],
            },
            _ => Event::Woke,
        };
    }
}

/// All that hold the word, newest first.
pub fn all() -> Vec<String> {
    let said = (0..SAID).rev().filter(|at| at % EVERY == 0);
    said.map(|at| format!("walnut {at}")).collect()
}

fn store(disk: &mut Disk, writes: Vec<Write>) {
    writes.into_iter().for_each(|write| disk.apply(write));
    disk.commit(true);
}
