//! The message that is chosen in a room.
//! Owns: which one it is, that it is in sight, and whether all of it is shown.
//! Must not know: what is done with it.
//! Invariants: as in `room.rs`; one that is not stored is not chosen.
//! Start reading at: [`Room::choose`].

use super::{Room, Scroll};

impl Room {
    /// Chooses the message before the chosen one or after it, and keeps it in sight.
    pub fn choose(&mut self, is_back: bool) {
        self.cleared = None;
        let mut key = self.chosen.unwrap_or_else(|| match self.scroll {
            Scroll::Bottom => self.end(),
            Scroll::At(key, _) => key + 1,
        });
        loop {
            key = if is_back { key - 1 } else { key + 1 };
            if key < self.first {
                return;
            }
            if key >= self.end() {
                self.chosen = None;
                return;
            }
            if self.said(key).is_some_and(|said| said.place.is_some()) {
                break;
            }
        }
        self.chosen = Some(key);
    }

    /// Keeps the chosen message in sight.
    pub fn follow_choice(&mut self, max: usize, height: usize) {
        let Some(key) = self.chosen else { return };
        let last = match self.scroll {
            Scroll::Bottom => self.end() - 1,
            Scroll::At(key, _) => key,
        };
        let mut rows = 0;
        let mut at = last;
        while at >= self.first && rows < height {
            rows += self.rows(at, max).len();
            at -= 1;
        }
        if key > last {
            self.scroll = Scroll::At(key, 0);
        } else if key <= at + 1 {
            self.show_from(key, max, height);
        }
    }

    /// Scrolls so that an item stands at the top.
    fn show_from(&mut self, key: i64, max: usize, height: usize) {
        let (mut low, mut rows) = (key, self.rows(key, max).len());
        while rows < height && low + 1 < self.end() {
            low += 1;
            rows += self.rows(low, max).len();
        }
        self.scroll = Scroll::At(low, rows.saturating_sub(height));
    }

    /// Shows all of the chosen message, from its beginning, or again what of a long one is shown else.
    pub fn open(&mut self, max: usize, height: usize) {
        let Some(key) = self.chosen else { return };
        let Some(said) = self.said_mut(key) else { return };
        said.is_open = !said.is_open;
        // What was in sight of it may not be there any more.
        if self.rows(key, max).len() > height || self.scroll != Scroll::Bottom {
            self.show_from(key, max, height);
        } else {
            self.follow_choice(max, height);
        }
    }
}
