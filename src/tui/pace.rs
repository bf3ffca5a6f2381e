//! When the next frame is drawn.
//! Owns: how often there are frames.
//! Must not know: what is drawn, clocks.
//! Invariants: nothing changed, no frame; what a person did shows sooner than what others did.
//! Start reading at: [`Pace::frame_at`].

use crate::time::{Millis, Mono};

/// From frame to frame, while others talk.
pub const FRAME: Millis = Millis(16);
/// From frame to frame, while keys are pressed.
pub const URGENT: Millis = Millis(4);

/// The pace of drawing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    drawn: Mono,
    is_dirty: bool,
    is_urgent: bool,
}

impl Pace {
    /// Something changed; by a person's hand, or not.
    pub fn changed(&mut self, is_urgent: bool) {
        self.is_dirty = true;
        self.is_urgent |= is_urgent;
    }

    /// When the next frame is due; `None`: nothing changed.
    pub fn frame_at(&self) -> Option<Mono> {
        let pause = if self.is_urgent { URGENT } else { FRAME };
        self.is_dirty.then(|| self.drawn.after(pause))
    }

    /// A frame is drawn now.
    pub fn drawn(&mut self, now: Mono) {
        *self = Self { drawn: now, is_dirty: false, is_urgent: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_when_something_changed_and_sooner_for_who_types() {
        let mut pace = Pace::default();
        assert_eq!(pace.frame_at(), None);
        pace.changed(false);
        assert_eq!(pace.frame_at(), Some(Mono(16)));
        pace.changed(true);
        pace.changed(false);
        assert_eq!(pace.frame_at(), Some(Mono(4)));
        pace.drawn(Mono(100));
        assert_eq!(pace.frame_at(), None);
        pace.changed(false);
        assert_eq!(pace.frame_at(), Some(Mono(116)));
    }
}
