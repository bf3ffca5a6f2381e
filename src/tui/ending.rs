//! Messages as they come to be shown, and as they end.
//! Owns: which of those shown have an end, and when the next one is due.
//! Must not know: keys, commands, who deletes them from the store.
//! Invariants: what has ended is on the screen no more, whether or not anything else happens.
//! Start reading at: [`State::take_in`].

use std::collections::BTreeSet;

use super::look::{Moment, Said};
use super::state::State;
use crate::protocol::{MessageId, MessageView};
use crate::time::{Mono, Now, Wall};

/// Ends that are known at one time. Past it the latest are left: the window moves on before them.
const ENDS_MAX: usize = 20_000;

/// The ends of messages that were shown.
#[derive(Debug, Default)]
pub(super) struct Ends {
    of: BTreeSet<(Wall, MessageId)>,
    wake: Option<Mono>,
}

impl Ends {
    pub(super) fn wake_at(&self) -> Option<Mono> {
        self.wake
    }
}

impl State {
    /// A message to be shown; `None`: it changes another one, and that is done.
    pub(super) fn take_in(&mut self, view: &MessageView, moment: Moment) -> Option<Said> {
        self.ends.of.extend(view.expires_at.map(|at| (at, view.id)));
        if self.ends.of.len() > ENDS_MAX {
            self.ends.of.pop_last();
        }
        let changed = self.fold.take(view.clone());
        let told = self.fold.told(&changed?)?;
        if told.view.id == view.id {
            return Some(Said::of(told, &self.me, moment));
        }
        let name = &told.view.room;
        if let Some(room) = self.rooms.iter_mut().find(|room| room.name == *name) {
            room.changed(told, &self.me);
            self.is_dirty = true;
        }
        None
    }

    /// What has ended is shown no more.
    pub(super) fn look_at_ends(&mut self, now: Now) {
        while let Some((at, id)) = self.ends.of.first().copied().filter(|(at, _)| *at <= now.wall) {
            self.ends.of.remove(&(at, id));
            let Some(told) = self.fold.end(&id) else { continue };
            let name = &told.view.room;
            if let Some(room) = self.rooms.iter_mut().find(|room| room.name == *name) {
                room.changed(told, &self.me);
                self.is_dirty = true;
            }
        }
        let left = self.ends.of.first().map(|(at, _)| at.since(now.wall));
        self.ends.wake = left.map(|left| now.mono.after(left));
    }
}
