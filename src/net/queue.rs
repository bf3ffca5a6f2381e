//! The queue of one link: frames that wait to be written, and how far the link is.
//! Owns: the bounds on what waits for one peer.
//! Must not know: what writes the frames, and to where.
//! Invariants: it never holds more than the limits; a full queue ends its link.
//! Start reading at: [`Queue`].

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::limits::{FRAME_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_FRAMES_MAX, STRANGER_FRAME_BYTES_MAX};

/// Frames on their way to one peer.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// The writer waits here for frames.
    pub(super) wake: Notify,
    room: Notify,
    state: watch::Sender<State>,
    is_admitted: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Frames come and go.
    Open,
    /// What is queued is written, then the stream is closed.
    Draining,
    /// The link is over.
    Shut,
}

/// What there was to write.
#[derive(Debug)]
pub(super) enum Taken {
    /// Frames.
    Some,
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Drained,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
            state: watch::Sender::new(State::Open),
            is_admitted: watch::Sender::new(false),
        }
    }

    /// Puts a frame in; `false` if there is no link, or it is full and thereby ends.
    pub(super) fn push(&self, frame: Bytes) -> bool {
        if frame.is_empty() || frame.len() > FRAME_BYTES_MAX || !self.is_open() {
            return false;
        }
        let mut waiting = self.lock();
        let bytes = waiting.bytes.saturating_add(frame.len());
        if waiting.frames.len() >= QUEUE_FRAMES_MAX || bytes > QUEUE_BYTES_MAX {
            drop(waiting);
            self.set(State::Shut);
            return false;
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(frame);
        let is_first = waiting.frames.len() == 1;
        drop(waiting);
        if is_first {
            self.wake.notify_one();
        }
        true
    }

    /// Frames and bytes that wait.
    pub(super) fn len(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.frames.len(), waiting.bytes)
    }

    /// Until at most half of the queue is in use, or the link is over.
    pub(super) async fn until_room(&self) {
        loop {
            let mut notified = pin!(self.room.notified());
            let _waits = notified.as_mut().enable();
            let (frames, bytes) = self.len();
            let has_room = frames <= QUEUE_FRAMES_MAX / 2 && bytes <= QUEUE_BYTES_MAX / 2;
            if has_room || !self.is_open() {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        *self.state.borrow() == State::Open
    }

    /// Frames up to `FRAME_BYTES_MAX` are read from now on.
    pub(super) fn admit(&self) {
        let _before = self.is_admitted.send_replace(true);
    }

    /// Moves the link on; it never goes back.
    pub(super) fn set(&self, state: State) {
        let _changed = self.state.send_if_modified(|present| {
            let is_later = state > *present;
            *present = state.max(*present);
            is_later
        });
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// Empty, open and unadmitted: a new link starts.
    pub(super) fn reopen(&self) {
        *self.lock() = Waiting::default();
        let _before = self.is_admitted.send_replace(false);
        let _before = self.state.send_replace(State::Open);
    }

    pub(super) fn frame_bytes_max(&self) -> usize {
        if *self.is_admitted.borrow() { FRAME_BYTES_MAX } else { STRANGER_FRAME_BYTES_MAX }
    }

    /// Takes what one write should carry: bounded, so that the queue keeps the overview.
    pub(super) fn take(&self, frames: &mut Vec<Bytes>) -> Taken {
        let mut waiting = self.lock();
        let mut bytes: usize = 0;
        while bytes < BATCH_BYTES {
            let Some(frame) = waiting.frames.pop_front() else { break };
            waiting.bytes = waiting.bytes.saturating_sub(frame.len());
            bytes = bytes.saturating_add(frame.len());
            frames.push(frame);
        }
        drop(waiting);
        if !frames.is_empty() {
            self.room.notify_waiters();
            return Taken::Some;
        }
        if self.is_open() { Taken::Nothing } else { Taken::Drained }
    }

    /// Until the link must end: shut, or draining for too long.
    pub(super) async fn until_stopped(&self) {
        let mut state = self.state.subscribe();
        let _gone = state.wait_for(|state| *state != State::Open).await.map(|_| ());
        let shut = state.wait_for(|state| *state == State::Shut);
        let _late = timeout(DRAIN_TIME, shut).await.map(|_| ());
    }

    pub(super) async fn until_over(&self) {
        let mut state = self.state.subscribe();
        let _gone = state.wait_for(|state| *state == State::Shut).await.map(|_| ());
    }

    pub(super) async fn until_admitted(&self) {
        let mut is_admitted = self.is_admitted.subscribe();
        let _gone = is_admitted.wait_for(|is_admitted| *is_admitted).await.map(|_| ());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a closing link may take to write what is queued.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(2);
/// What one write carries; more only lengthens the wait of the frames behind.
const BATCH_BYTES: usize = 128 << 10;
