//! Many faces on one node: who asked is answered, and what happens is told to all.
//! Owns: which face a command's number belongs to, and the queue of every face beside the main one.
//! Must not know: what a command or a notice means, beyond whom it concerns.
//! Invariants: a face that lags slows only itself; every queue is bounded; while there is no face
//! beside the main one a notice costs one look at a number.
//! Start reading at: [`Hub::tell`].
//!
//! ```text
//!                       ┌─ answers, by the number ─► whoever awaits Handle::command
//!   driver ── tell ─────┼─ own answers, all that happens ─► queue of a Face (bounded; `Lagged`)
//!                       └─ the rest, as ever ──────► the main face, which holds the driver back
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::{Batch, Input};
use crate::ids::CommandId;
use crate::limits::{FACE_BYTES_MAX, FACE_COMMANDS_MAX, FACE_NOTICES_MAX, FACES_MAX};
use crate::protocol::{Command, Notice, Ready};
use crate::refusal::{Refusal, Refused};

/// Above these bits of a command's number stands the face that gave it.
const FACE_SHIFT: u32 = 48;
/// The face of the process: standard input and output, or the terminal.
const MAIN: u16 = 0;
/// Those who await one answer each; they have no queue.
const AWAITED: u16 = 1;

/// What reaches a [`Face`].
pub type Told = Result<Notice, Lagged>;

/// A face read too slowly, and what happened meanwhile was not kept for it. Answers are never left
/// out. What was said is in the store: [`Command::Since`] reads on from the last place known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

/// Where a node's notices part.
#[derive(Clone, Debug, Default)]
pub(super) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Faces and awaited answers; read without the lock.
    others: AtomicUsize,
    desk: Mutex<Desk>,
    over: watch::Sender<bool>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            others: AtomicUsize::new(0),
            desk: Mutex::default(),
            over: watch::Sender::new(false),
        }
    }
}

#[derive(Debug, Default)]
struct Desk {
    faces: BTreeMap<u16, Arc<Queue>>,
    /// The number given last.
    last: u16,
    answers: BTreeMap<CommandId, oneshot::Sender<Notice>>,
    /// For faces that come later.
    ready: Option<Ready>,
    is_over: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number with its face above it.
pub(super) fn numbered(face: u16, number: u64) -> CommandId {
    let below = (1_u64 << FACE_SHIFT).wrapping_sub(1);
    CommandId((u64::from(face) << FACE_SHIFT) | (number & below))
}

/// Whether a command was given by the main face.
pub fn is_of_main(command: CommandId) -> bool {
    face_of(command) == MAIN
}

fn face_of(command: CommandId) -> u16 {
    u16::try_from(command.0 >> FACE_SHIFT).unwrap_or(MAIN)
}

impl Hub {
    /// Tells all whom it concerns but the main face, and says whether that one is to be told.
    pub(super) fn tell(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Ready(ready) => lock(&self.0.desk).ready = Some(ready.clone()),
            Notice::Leader(leader) => {
                if let Some(ready) = &mut lock(&self.0.desk).ready {
                    ready.leader.clone_from(leader);
                }
            }
            _ => {}
        }
        if let Notice::Progress { command, .. } = notice {
            return self.tell_asker(*command, notice);
        }
        let asker = notice.command().map(face_of);
        // One's own message is an answer to one face and news to the others.
        let is_news = asker.is_none() || matches!(notice, Notice::Sent { .. });
        let is_for_main = is_news || asker == Some(MAIN);
        if self.0.others.load(Ordering::Acquire) == 0 || (!is_news && asker == Some(MAIN)) {
            return is_for_main;
        }
        let mut desk = lock(&self.0.desk);
        if is_news {
            for (face, queue) in &desk.faces {
                queue.push(notice, asker == Some(*face));
            }
        }
        match (asker, notice.command()) {
            (Some(AWAITED), Some(command)) => {
                if let Some(waiting) = desk.answers.remove(&command) {
                    self.0.others.fetch_sub(1, Ordering::AcqRel);
                    // Whoever awaited it may be gone.
                    waiting.send(notice.clone()).ok();
                }
            }
            (Some(face), _) if !is_news => {
                if let Some(queue) = desk.faces.get(&face) {
                    queue.push(notice, true);
                }
            }
            _ => {}
        }
        is_for_main
    }

    /// Tells who asked, whose answer follows; whether that is the main face.
    fn tell_asker(&self, command: CommandId, notice: &Notice) -> bool {
        let asker = face_of(command);
        if let Some(queue) = lock(&self.0.desk).faces.get(&asker) {
            queue.push(notice, false);
        }
        asker == MAIN
    }

    /// The node has ended: nobody is told anything more.
    pub(super) fn end(&self) {
        let mut desk = lock(&self.0.desk);
        desk.is_over = true;
        // Whoever awaits an answer finds its sender gone.
        let unanswered = std::mem::take(&mut desk.answers).len();
        self.0.others.fetch_sub(unanswered, Ordering::AcqRel);
        for queue in desk.faces.values() {
            queue.close();
        }
    }

    /// Everything of it is closed, what it hosted too.
    pub(super) fn close_all(&self) {
        self.end();
        self.0.over.send_replace(true);
    }

    fn open(&self, is_terse: bool) -> Result<(u16, Arc<Queue>), Refused> {
        let mut desk = lock(&self.0.desk);
        if desk.is_over {
            return Err(ended());
        }
        if desk.faces.len() >= FACES_MAX {
            return Err(Refused::new(Refusal::TooMany, format!("{FACES_MAX} faces are open")));
        }
        // Not the number of one that closed a moment ago: answers to it may be on their way.
        let first = AWAITED + 1;
        let next = desk.last.wrapping_add(1).max(first);
        let mut round = (next..=u16::MAX).chain(first..next);
        let face = round.find(|face| !desk.faces.contains_key(face)).ok_or_else(ended)?;
        desk.last = face;
        let queue = Arc::new(Queue { is_terse, ..Queue::default() });
        if let Some(ready) = &desk.ready {
            queue.push(&Notice::Ready(ready.clone()), false);
        }
        desk.faces.insert(face, Arc::clone(&queue));
        self.0.others.fetch_add(1, Ordering::AcqRel);
        Ok((face, queue))
    }

    fn close(&self, face: u16) {
        if lock(&self.0.desk).faces.remove(&face).is_some() {
            self.0.others.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn await_answer(&self, command: CommandId) -> Result<oneshot::Receiver<Notice>, Refused> {
        let (sender, answer) = oneshot::channel();
        let mut desk = lock(&self.0.desk);
        if desk.is_over {
            return Err(ended());
        }
        if desk.answers.len() >= FACE_COMMANDS_MAX {
            let what = format!("{FACE_COMMANDS_MAX} commands wait for their answers");
            return Err(Refused::new(Refusal::TooMany, what));
        }
        desk.answers.insert(command, sender);
        self.0.others.fetch_add(1, Ordering::AcqRel);
        Ok(answer)
    }

    fn forget(&self, command: CommandId) {
        if lock(&self.0.desk).answers.remove(&command).is_some() {
            self.0.others.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Says that all is over when its node is gone.
#[derive(Debug)]
pub(super) struct Life(pub(super) Hub);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.close_all();
    }
}

/// Nobody is told anything more when the thread of the core ends.
#[derive(Debug)]
pub(super) struct Voice(pub(super) Hub);

impl Drop for Voice {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn ended() -> Refused {
    Refused::new(Refusal::NothingRunning, "it has ended")
}

/// What waits for a face.
#[derive(Debug)]
struct Queue {
    is_terse: bool,
    waiting: Mutex<Waiting>,
    filled: Notify,
    /// How many more commands may be under way: bounds the answers that wait unread.
    room: Semaphore,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            is_terse: false,
            waiting: Mutex::default(),
            filled: Notify::new(),
            room: Semaphore::new(FACE_COMMANDS_MAX),
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// With whether it answers this face.
    told: VecDeque<(Told, bool)>,
    /// How much of it is news.
    news: usize,
    bytes: usize,
    /// News is left out until what waits is read.
    is_lagging: bool,
    is_closed: bool,
}

impl Queue {
    fn push(&self, notice: &Notice, is_answer: bool) {
        let mut waiting = lock(&self.waiting);
        if !is_answer {
            let before = waiting.told.back().and_then(|(told, _)| told.as_ref().ok());
            let is_said = self.is_terse && is_message(notice) && before.is_some_and(is_message);
            if waiting.is_lagging || is_said {
                return;
            }
            let bytes = waiting.bytes.saturating_add(weight(notice));
            if waiting.news >= FACE_NOTICES_MAX || bytes > FACE_BYTES_MAX {
                waiting.is_lagging = true;
                waiting.told.push_back((Err(Lagged), false));
                drop(waiting);
                return self.filled.notify_one();
            }
            waiting.news = waiting.news.saturating_add(1);
            waiting.bytes = bytes;
        }
        waiting.told.push_back((Ok(notice.clone()), is_answer));
        drop(waiting);
        self.filled.notify_one();
    }

    fn close(&self) {
        lock(&self.waiting).is_closed = true;
        self.room.close();
        self.filled.notify_one();
    }

    /// `Err`: nothing is there yet.
    fn pop(&self) -> Result<Option<Told>, ()> {
        let mut waiting = lock(&self.waiting);
        let Some((told, is_answer)) = waiting.told.pop_front() else {
            return if waiting.is_closed { Ok(None) } else { Err(()) };
        };
        match &told {
            Err(Lagged) => waiting.is_lagging = false,
            Ok(_) if is_answer => {
                drop(waiting);
                self.room.add_permits(1);
            }
            Ok(notice) => {
                waiting.news = waiting.news.saturating_sub(1);
                waiting.bytes = waiting.bytes.saturating_sub(weight(notice));
            }
        }
        Ok(Some(told))
    }
}

fn is_message(notice: &Notice) -> bool {
    matches!(notice, Notice::Message(_) | Notice::Sent { .. })
}

/// Roughly how much memory a notice takes.
fn weight(notice: &Notice) -> usize {
    let text = match notice {
        Notice::Message(message) | Notice::Sent { message, .. } => message.text.len(),
        _ => 0,
    };
    text.saturating_add(512)
}

/// A way to a running node: asks, and is answered. Cheap to clone.
///
/// ```no_run
/// use p2pgroup::node::Node;
/// use p2pgroup::protocol::{Command, Notice};
///
/// # async fn example() -> Result<(), p2pgroup::refusal::Refused> {
/// let handle = Node::builder().name("bot").start().await?;
/// handle.ready().await?;
/// let send = Command::Send { room: "main".to_owned(), text: "good morning".to_owned() };
/// if let Notice::Sent { message, .. } = handle.command(send).await? {
///     println!("stored as {}", message.id);
/// }
/// handle.leave();
/// handle.ended().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    input: Input,
    hub: Hub,
}

impl Handle {
    pub(super) fn new(input: Input, hub: Hub) -> Self {
        Self { input, hub }
    }

    /// Asks, and waits for the notice that answers. Cancel safe: dropped, the answer is forgotten,
    /// but not what was asked for.
    ///
    /// [`Command::Exit`] is answered by [`Notice::Exited`] once all is over.
    ///
    /// # Refusals
    /// Whatever [`Notice::Failed`] says; [`Refusal::NothingRunning`] once the node has ended;
    /// [`Refusal::TooMany`].
    pub async fn command(&self, command: Command) -> Result<Notice, Refused> {
        if command == Command::Exit {
            self.leave();
            self.ended().await;
            return Ok(Notice::Exited);
        }
        let number = self.input.of(AWAITED).number();
        let is_answered = command.is_answered();
        let answer = self.hub.await_answer(number)?;
        let _awaited = Awaited { hub: &self.hub, number };
        self.input.hand_over(vec![(number, command)]).await.ok_or_else(ended)?;
        if !is_answered {
            return Ok(Notice::Info { text: String::new() });
        }
        match answer.await {
            Ok(Notice::Failed { refused, .. }) => Err(refused),
            Ok(notice) => Ok(notice),
            Err(_) => Err(ended()),
        }
    }

    /// Everything that happens from now on; first that the node is ready, if it is.
    ///
    /// # Refusals
    /// As [`Handle::face`].
    pub fn events(&self) -> Result<Events, Refused> {
        self.face().map(Events)
    }

    /// A face of its own: commands in, their answers and all that happens out, in one order.
    ///
    /// # Refusals
    /// [`Refusal::TooMany`]; [`Refusal::NothingRunning`] once the node has ended.
    pub fn face(&self) -> Result<Face, Refused> {
        self.open(false)
    }

    /// As [`Handle::events`], but of messages that come one after another only the first: for who
    /// reads them from the store.
    pub(super) fn news(&self) -> Result<Events, Refused> {
        self.open(true).map(Events)
    }

    fn open(&self, is_terse: bool) -> Result<Face, Refused> {
        let (id, queue) = self.hub.open(is_terse)?;
        Ok(Face { id, queue, input: self.input.of(id), hub: self.hub.clone() })
    }

    /// Waits until the node does its work, or ends.
    ///
    /// # Refusals
    /// What keeps it from its work; [`Refusal::NothingRunning`] once it has ended.
    pub async fn ready(&self) -> Result<Ready, Refused> {
        let events = self.events()?;
        loop {
            match events.next().await {
                Some(Ok(Notice::Ready(ready))) => return Ok(ready),
                Some(Ok(Notice::Failed { refused, is_fatal: true, .. })) => {
                    return Err(refused);
                }
                Some(_) => {}
                None => return Err(ended()),
            }
        }
    }

    /// Tells the node to leave cleanly.
    pub fn leave(&self) {
        self.input.leave();
    }

    /// Waits until the node has ended.
    pub async fn ended(&self) {
        let mut over = self.hub.0.over.subscribe();
        // The sender lives as long as the hub does.
        over.wait_for(|is_over| *is_over).await.ok();
    }
}

/// Forgets an answer that nobody awaits any more.
struct Awaited<'a> {
    hub: &'a Hub,
    number: CommandId,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.hub.forget(self.number);
    }
}

/// What happens, as a stream.
#[derive(Debug)]
pub struct Events(Face);

impl Events {
    /// The next thing; `None` once the node has ended. Cancel safe.
    pub async fn next(&self) -> Option<Told> {
        self.0.next().await
    }

    /// What is there already, without waiting.
    pub fn try_next(&self) -> Option<Told> {
        self.0.try_next()
    }
}

/// A face beside the main one. One task may ask while another reads.
#[derive(Debug)]
pub struct Face {
    id: u16,
    input: Input,
    queue: Arc<Queue>,
    hub: Hub,
}

impl Face {
    /// A fresh number, so that a face can note what it belongs to before any answer can come.
    pub fn number(&self) -> CommandId {
        self.input.number()
    }

    /// Hands over commands under numbers of this face; waits while the node takes none, and while
    /// too many of this face's answers are unread. `None`: it has ended.
    pub async fn hand_over(&self, batch: Batch) -> Option<()> {
        let answers = batch.iter().filter(|(_, command)| command.is_answered()).count();
        let room = u32::try_from(answers.min(FACE_COMMANDS_MAX)).ok()?;
        // Given back when the answers are read.
        self.queue.room.acquire_many(room).await.ok()?.forget();
        self.input.hand_over(batch).await
    }

    /// The next answer or event; `None` once the node has ended. Cancel safe.
    pub async fn next(&self) -> Option<Told> {
        loop {
            match self.queue.pop() {
                Ok(told) => return told,
                Err(()) => self.queue.filled.notified().await,
            }
        }
    }

    /// What is there already, without waiting.
    pub fn try_next(&self) -> Option<Told> {
        self.queue.pop().ok().flatten()
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.hub.close(self.id);
    }
}

#[cfg(test)]
mod tests;
