//! What leaves the view of a room without leaving the store.
//! Owns: how items are taken out of the window.
//! Must not know: why.
//! Invariants: as in `room.rs`; what one looks at stays where it is.
//! Start reading at: [`Room::clear`].

use super::{Item, Room, Scroll};
use crate::ids::PeerId;
use crate::tui::look::Mark;

/// News that are looked through for one that is taken back.
const NEWS_MAX: usize = 64;

impl Room {
    /// Shows nothing of what is here until one scrolls back; news and what was refused are gone.
    pub fn clear(&mut self) {
        self.retain(|item| match item {
            Item::News(..) => false,
            Item::Said(said) => !matches!(said.mark, Mark::Failed(_)),
        });
        self.cleared = self.newest().and_then(crate::tui::look::Said::id);
        self.scroll = Scroll::Bottom;
        (self.chosen, self.marker) = (None, None);
    }

    /// Takes what somebody wrote out of the window; whether there was any.
    pub fn forget(&mut self, peer: &PeerId) -> bool {
        let before = self.items.len();
        self.retain(|item| match item {
            Item::News(..) => true,
            Item::Said(said) => said.place.is_none_or(|place| place.peer != *peer),
        });
        self.items.len() < before
    }

    /// Takes back the newest line of news that says so.
    pub fn unsay(&mut self, line: &str) {
        let is_it = |item: &Item| matches!(item, Item::News(text, _) if text == line);
        let from_end = self.items.iter().rev().take(NEWS_MAX).position(is_it);
        let Some(at) = from_end.and_then(|it| self.items.len().checked_sub(it + 1)) else { return };
        let mut n = 0;
        self.retain(|_| {
            n += 1;
            n != at + 1
        });
    }

    /// The number of the first item that is in sight at the newest.
    pub(super) fn top(&self) -> i64 {
        let cleared = self.cleared.filter(|_| self.scroll == Scroll::Bottom);
        cleared.and_then(|id| self.ids.get(&id)).map_or(self.first, |key| key + 1)
    }

    /// Items that are not kept go; those behind them are numbered anew.
    fn retain(&mut self, mut keep: impl FnMut(&Item) -> bool) {
        let (mut scroll, mut chosen) = (self.scroll, self.chosen);
        let mut key = self.first;
        self.items.retain(|item| {
            let is_kept = keep(item);
            if !is_kept {
                if let Scroll::At(bottom, hidden) = &mut scroll
                    && key <= *bottom
                {
                    // The one before it is the last in sight then.
                    let is_it = key == *bottom;
                    (*bottom, *hidden) = (*bottom - 1, if is_it { 0 } else { *hidden });
                }
                chosen = match chosen {
                    Some(it) if it == key => None,
                    Some(it) if it > key => Some(it - 1),
                    other => other,
                };
                return false;
            }
            key += 1;
            true
        });
        self.ids.clear();
        self.number(0);
        let is_bottom = self.items.is_empty();
        self.scroll = match scroll {
            Scroll::At(bottom, hidden) if !is_bottom => Scroll::At(bottom.max(self.first), hidden),
            _ => Scroll::Bottom,
        };
        self.chosen = chosen;
    }
}
