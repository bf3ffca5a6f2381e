//! The short way of a notice: shown on the node's own thread, where that cannot block.
//! Owns: who shows it, and whether anything is still under way by the long one.
//! Must not know: what a notice says, how it is shown.
//! Invariants: no notice overtakes another; the node never waits for a face.
//! Start reading at: [`Quick::show`].
//!
//! Waking another thread costs more than all that is done with one message. So the main face may
//! leave a function here that writes a line at once if its reader takes it, and gives the notice
//! back if not. While one is under way by the queue, all go by the queue.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::protocol::Notice;

/// Shows a notice if that cannot block, and gives it back otherwise.
pub type Show = Box<dyn FnMut(Notice) -> Option<Notice> + Send>;

/// What driver and main face share.
#[derive(Default)]
pub(super) struct Quick {
    show: Mutex<Option<Show>>,
    /// Notices in the queue, or taken out of it and not shown yet.
    under_way: AtomicUsize,
}

impl Quick {
    /// From now on notices may go the short way.
    pub(super) fn set(&self, show: Show) {
        if let Ok(mut slot) = self.show.lock() {
            *slot = Some(show);
        }
    }

    /// A notice went into the queue.
    pub(super) fn queued(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// So many of the queue are shown.
    pub(super) fn shown(&self, count: usize) {
        self.under_way.fetch_sub(count, Ordering::AcqRel);
    }

    /// Shows a notice at once, or gives it back for the queue.
    pub(super) fn show(&self, notice: Notice) -> Option<Notice> {
        if self.under_way.load(Ordering::Acquire) > 0 {
            return Some(notice);
        }
        match self.show.try_lock().ok().as_deref_mut() {
            Some(Some(show)) => show(notice),
            _ => Some(notice),
        }
    }
}

impl fmt::Debug for Quick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quick").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn note(text: &str) -> Notice {
        Notice::Info { text: text.to_owned() }
    }

    #[test]
    fn nothing_overtakes_what_is_under_way() {
        let quick = Quick::default();
        assert_eq!(quick.show(note("nobody shows it")), Some(note("nobody shows it")));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (into, mut may) = (Arc::clone(&shown), 3);
        quick.set(Box::new(move |notice| {
            may -= 1;
            if may < 0 {
                return Some(notice);
            }
            into.lock().unwrap().push(notice);
            None
        }));
        assert_eq!(quick.show(note("1")), None);
        quick.queued();
        quick.queued();
        assert_eq!(quick.show(note("2")), Some(note("2")));
        quick.shown(1);
        assert_eq!(quick.show(note("2")), Some(note("2")));
        quick.shown(1);
        assert_eq!((quick.show(note("3")), quick.show(note("4"))), (None, None));
        // The face may decline.
        assert_eq!(quick.show(note("5")), Some(note("5")));
        assert_eq!(*shown.lock().unwrap(), [note("1"), note("3"), note("4")]);
    }
}
