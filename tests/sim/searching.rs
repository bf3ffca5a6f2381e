//! A search through many entries: in steps, told of while it goes on, and nobody waits for it.
//! Owns: the plan.
//! Must not know: how entries are sealed.
//! Invariants: what is found is what a look at everything finds.
//! Start reading at: [`steps`].

use p2pgroup::ids::CommandId;
use p2pgroup::protocol::{About, Actions, Command, Doing, Event, Notice, Saying, Words, Write};
use p2pgroup::refusal::Refusal;
use p2pgroup::time::{Millis, Now};

use crate::broken::Broken;
use crate::disk::{Disk, Texts};
use crate::node::Running;
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

/// A member that said all this, and when that was.
fn said(seed: u64, texts: &[String], keeps_index: bool) -> Option<(World, usize, Now)> {
    let mut world = World::new(seed, Broken::default(), false);
    if !plan::founded(&mut world, seed, 1) {
        return None;
    }
    let member = world.members().next()?.id;
    let now: Now = world.nodes[member].time(world.now);
    let node = &mut world.nodes[member];
    node.disk.texts = keeps_index.then(Texts::default);
    for (texts, first) in texts.chunks(500).zip((1..).step_by(500)) {
        let posts = texts.iter().zip(first..);
        let posts = posts.map(|(text, at)| (CommandId(at), text.clone().into())).collect();
        let posts = Event::Posts { room: "main".to_owned(), posts };
        let actions = node.running.as_mut()?.core().handle(posts, now, &node.disk);
        store(&mut node.disk, actions.writes);
    }
    Some((world, member, now))
}

fn search(id: CommandId, last: usize) -> Option<Event> {
    let words = Words::parse("walnut").ok()?;
    Some(Event::Command { id, command: Command::Search { room: None, words, last } })
}

/// A member that said much searches its room, each step so long after the one before.
pub fn steps(seed: u64, pause: Millis, last: usize) -> Option<Searched> {
    let text = |at: usize| match at % EVERY {
        0 => format!("walnut {at}"),
        _ => format!("hazel {at}"),
    };
    let texts: Vec<String> = (0..SAID).map(text).collect();
    let (mut world, member, mut now) = said(seed, &texts, false)?;
    let node = &mut world.nodes[member];
    let core = node.running.as_mut()?.core();
    let mut event = search(ASKED, last)?;
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

/// What a search read.
#[derive(Debug, Default)]
pub struct Read {
    pub found: Vec<String>,
    pub turns: usize,
    /// The most entries in one turn.
    pub most: usize,
}

/// A member finds as many as it asks for, in its index and where that does not reach; so many of what
/// it said it deletes at once.
pub fn much(seed: u64, deleted: usize) -> Option<Read> {
    let texts: Vec<String> = (0..SAID - deleted).map(|at| format!("walnut {at}")).collect();
    let (mut world, member, mut now) = said(seed, &texts, true)?;
    let node = &mut world.nodes[member];
    for at in 0..deleted {
        let said = |number, saying| Event::Posts {
            room: "main".to_owned(),
            posts: vec![(CommandId(number), saying)],
        };
        let number = (SAID + 2 * at) as u64;
        let core = node.running.as_mut()?.core();
        let gone = core.handle(said(number, "walnut gone".to_owned().into()), now, &node.disk);
        let id = gone.notices.iter().find_map(|it| match it {
            Notice::Sent { message, .. } => Some(message.id),
            _ => None,
        })?;
        store(&mut node.disk, gone.writes);
        let saying = Saying { text: String::new(), about: About::Deletion(id) };
        let deletion = core.handle(said(number + 1, saying), now, &node.disk);
        store(&mut node.disk, deletion.writes);
    }
    // Half of it is in the index.
    let mut indexed = 0;
    while indexed < SAID / 2 {
        let Running::Member(core) = node.running.as_mut()? else { return None };
        let words = core.index_step(&node.disk);
        indexed += words.len();
        store(&mut node.disk, words);
    }
    let mut read = Read::default();
    let mut event = search(ASKED, SAID)?;
    loop {
        let before = node.disk.read.get();
        let actions = node.running.as_mut()?.core().handle(event, now, &node.disk);
        read.turns += 1;
        read.most = read.most.max(node.disk.read.get() - before);
        for notice in actions.notices {
            if let Notice::Found { command: ASKED, messages } = notice {
                read.found = messages.into_iter().map(|it| it.text).collect();
                return Some(read);
            }
        }
        now = now_after(now);
        event = Event::Woke;
    }
}

/// What became of searches asked for at once, the first of them 1.
#[derive(Debug, Default)]
pub struct Together {
    /// In which turn each was answered.
    pub answered: Vec<(u64, usize)>,
    pub refused: Vec<u64>,
}

/// So many search at once.
pub fn together(seed: u64, count: u64) -> Option<Together> {
    let texts: Vec<String> = (0..SAID).map(|at| format!("walnut {at}")).collect();
    let (mut world, member, mut now) = said(seed, &texts, false)?;
    let node = &mut world.nodes[member];
    let core = node.running.as_mut()?.core();
    let mut together = Together::default();
    let asked = (1..=count).map(|at| search(CommandId(ASKED.0 + at), SAID));
    let asked: Option<Vec<Event>> = asked.collect();
    let events = asked?.into_iter().chain(std::iter::repeat_with(|| Event::Woke));
    for (turn, event) in events.enumerate() {
        for notice in core.handle(event, now, &node.disk).notices {
            match notice {
                Notice::Found { command, .. } => {
                    together.answered.push((command.0 - ASKED.0, turn));
                }
                Notice::Failed { command: Some(command), refused: why, .. } => {
                    assert_eq!(why.refusal, Refusal::TooMany);
                    together.refused.push(command.0 - ASKED.0);
                }
                _ => {}
            }
        }
        if (together.answered.len() + together.refused.len()) as u64 == count {
            break;
        }
        // They ask all at once.
        if turn as u64 + 1 >= count {
            now = now_after(now);
        }
    }
    Some(together)
}

fn now_after(now: Now) -> Now {
    Now { mono: now.mono.after(Millis(1)), wall: now.wall.after(Millis(1)) }
}

fn store(disk: &mut Disk, writes: Vec<Write>) {
    writes.into_iter().for_each(|write| disk.apply(write));
    disk.commit(true);
}
