//! Work beside the talk that may take its time: an export.
//! Owns: how far it is, and when that is worth a word.
//! Must not know: who does it, what becomes of it.
//! Invariants: one at a time; in its first second it is not shown; its end is told where it began.
//! Start reading at: [`Work`].

use super::state::{SLOW, State};
use super::{Door, Told};
use crate::time::{Mono, Now};

/// Something that goes on beside the talk and may take its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What, harmless: "exporting #ops".
    pub what: String,
    /// What is done of it.
    pub done: u64,
    /// How much there is, once that is known.
    pub of: Option<u64>,
}

/// What is heard of such work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Going {
    /// How far it is.
    On(Work),
    /// It is over: what came of it.
    Over(Told),
}

/// Work that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Working {
    work: Work,
    since: Mono,
    /// Whether it takes long enough to be shown.
    is_slow: bool,
    /// Whether the person was told that leaving would end it.
    is_warned: bool,
    /// Where it was begun.
    room: String,
}

impl Work {
    /// How far it is: a bar and its share, once it is known how much there is.
    fn line(&self) -> String {
        let Some(of) = self.of else {
            return format!("{}: {}…", self.what, crate::text::grouped(self.done));
        };
        format!("{} {}", self.what, crate::text::bar(self.done, of))
    }
}

impl Working {
    /// How far it is, if it takes its time.
    pub(super) fn line(&self) -> Option<String> {
        self.is_slow.then(|| self.work.line())
    }
}

impl State {
    /// Work was begun in the room one is in.
    pub(super) fn begin(&mut self, work: Work, now: Now) {
        let (since, room) = (now.mono, self.here_name());
        self.working = Some(Working { work, since, is_slow: false, is_warned: false, room });
    }

    pub(super) fn on_going(&mut self, going: Going) {
        match (going, &mut self.working) {
            (Going::On(work), Some(working)) => {
                self.is_dirty |= working.is_slow && working.work != work;
                working.work = work;
            }
            (Going::On(_), None) => {}
            (Going::Over(told), _) => {
                let room = self.working.take().map(|it| it.room);
                self.tell(&room.unwrap_or_else(|| self.here_name()), told);
            }
        }
    }

    /// When it begins to be shown.
    pub(super) fn work_wakes(&self) -> Option<Mono> {
        let working = self.working.as_ref().filter(|it| !it.is_slow);
        working.map(|it| it.since.after(SLOW))
    }

    pub(super) fn look_at_work(&mut self, now: Now) {
        if self.work_wakes().is_some_and(|at| at <= now.mono)
            && let Some(working) = &mut self.working
        {
            (working.is_slow, self.is_dirty) = (true, true);
        }
    }

    /// Leaves; what goes on beside the talk would end in the middle, so then when asked twice.
    pub(super) fn asked_to_exit(&mut self, now: Now, door: &mut dyn Door) {
        let Some(working) = self.working.as_mut().filter(|it| !it.is_warned) else {
            return self.exit(door);
        };
        working.is_warned = true;
        let hint = format!("{} is not over; once more leaves without it", working.work.what);
        self.say_hint(&hint, now);
    }
}
