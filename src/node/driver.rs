//! The one loop where core, store, net and clock meet.
//! Owns: the order of things: written, then sent, then told.
//! Must not know: what any event or frame means.
//! Invariants: nothing is sent or told before what it rests on is as safe as its
//! [`Durability`] asks; a transaction that fails leaves no trace in the core, which is loaded again.
//! Start reading at: [`Driver::run`].
//!
//! ```text
//!  turn ─┬─ Soft: ──────────────────► send, tell ──┐
//!        ├─ Committed: note or commit ► send ──────┤ some milliseconds later, for all at once:
//!        └─ Synced: commit and sync ► send, tell   └─► commit and sync ─► acknowledge, tell
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::Batch;
use super::clock::Clock;
use super::files::Files;
use super::hub::Hub;
use super::mirror::Mirror;
use super::quick::Quick;
use super::unsynced::{ACK_DELAY, SENT_DELAY, SOFT_DELAY, Unsynced};
use crate::ids::{CommandId, PeerId};
use crate::limits::EVENTS_PER_TURN_MAX;
use crate::net::{NetEvent, NetHandle, Via};
use crate::protocol::{
    Actions, Command, Core, Durability, Event, FileReport, Link, Notice, Reads, SeenAt, Send,
    Transport, Unanswered, Write,
};
use crate::refusal::{Refusal, Refused};
use crate::store::{self, Store, Sync};
use crate::time::{Millis, Mono, Now};

/// Notices kept for a face that lags before the network is left unread.
const BACKLOG_MAX: usize = 16_384;
/// The driver looks around at least this often.
const IDLE_MAX: Millis = Millis(60_000);

/// Builds the core from the store: at the start, and after a transaction failed.
pub(super) type Load = Box<dyn FnMut(&dyn Reads, Now) -> Result<Box<dyn Core>, Refused>>;

/// All that the loop holds.
pub(super) struct Driver {
    pub(super) core: Box<dyn Core>,
    pub(super) load: Load,
    pub(super) store: Store,
    pub(super) net: NetHandle,
    pub(super) net_events: mpsc::Receiver<NetEvent>,
    pub(super) files: Files,
    pub(super) commands: mpsc::Receiver<Batch>,
    pub(super) leave: Arc<Notify>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) quick: Arc<Quick>,
    /// The faces beside the main one.
    pub(super) hub: Hub,
    pub(super) clock: Clock,
    /// Sent and told once what it rests on is safe.
    pub(super) outgoing: Actions,
    pub(super) unsynced: Unsynced,
    pub(super) backlog: VecDeque<Notice>,
    pub(super) links: BTreeMap<PeerId, Link>,
    pub(super) listening: Vec<String>,
    pub(super) wake_at: Option<Mono>,
    /// What the core holds goes with it when it is loaded again.
    pub(super) unanswered: Unanswered,
    pub(super) is_over: bool,
    /// Whether the faces are gone and the core was told to exit.
    pub(super) is_alone: bool,
    /// Keeps the directory locked, and takes the copies for other programs.
    pub(super) mirror: Mirror,
    /// Written at a good end, after everything else.
    pub(super) last_writes: Vec<Write>,
}

enum Input {
    Woke,
    Commands(Batch),
    Net(NetEvent),
    File(FileReport),
    Leave,
    /// A face took a notice; there may be room for more.
    Room,
    /// The faces are gone.
    Alone,
}

impl Driver {
    /// Runs until the core has exited or the faces are gone.
    pub(super) async fn run(mut self) {
        let mut turn = vec![Event::Started];
        loop {
            self.turn(std::mem::take(&mut turn));
            if self.is_over {
                break;
            }
            let Some(input) = self.next().await else {
                break;
            };
            self.take(input, &mut turn);
            self.drain(&mut turn);
        }
        self.end_well();
        self.flush_backlog().await;
        self.files.end().await;
        self.net.shutdown().await;
    }

    /// Stores what is left. What was acknowledged by nobody is no loss if it cannot be stored.
    fn end_well(&mut self) {
        if self.store.is_sound().is_err() {
            return;
        }
        self.unsynced.writes.append(&mut self.last_writes);
        match self.sync() {
            Ok(()) => self.release(),
            Err(error) => tracing::warn!(%error, "the end could not be noted"),
        }
    }

    /// Waits for the next thing to happen.
    async fn next(&mut self) -> Option<Input> {
        let deadline = self.deadline();
        let takes_commands = self.core.takes_commands();
        let has_backlog = !self.backlog.is_empty();
        let reads_net = self.reads_net();
        tokio::select! {
            biased;
            () = self.leave.notified() => Some(Input::Leave),
            () = tokio::time::sleep_until(deadline.into()) => Some(Input::Woke),
            room = self.notices.reserve(), if has_backlog && !self.is_alone => {
                Some(if room.is_ok() { Input::Room } else { Input::Alone })
            }
            batch = self.commands.recv(), if takes_commands && !self.is_alone => {
                Some(batch.map_or(Input::Alone, Input::Commands))
            }
            event = self.net_events.recv(), if reads_net => event.map(Input::Net),
            report = self.files.report(), if reads_net => Some(Input::File(report)),
        }
    }

    /// Whether what comes from the network, and of files, is taken: there is room for it.
    fn reads_net(&self) -> bool {
        let rests = self.unsynced.rests_until(|| self.clock.now().mono).is_some();
        self.backlog.len() < BACKLOG_MAX && !rests
    }

    fn deadline(&self) -> std::time::Instant {
        let now = self.clock.now().mono;
        let latest = self.unsynced.rests_until(|| now).unwrap_or_else(|| now.after(IDLE_MAX));
        let wake = self.wake_at.unwrap_or(latest).min(self.unsynced.sync_at.unwrap_or(latest));
        self.clock.instant(wake.min(latest))
    }

    fn take(&mut self, input: Input, turn: &mut Vec<Event>) {
        match input {
            Input::Woke => {
                let now = self.clock.now().mono;
                // A wake-up for the sync alone need not bother the core.
                if self.wake_at.is_none_or(|at| at <= now) {
                    turn.push(Event::Woke);
                }
            }
            Input::Commands(batch) => take_commands(batch, turn),
            Input::Net(event) => self.take_net(event, turn),
            Input::File(report) => turn.push(Event::File(report)),
            Input::Leave => {
                // What was handed over before the signal is not lost.
                while let Ok(batch) = self.commands.try_recv() {
                    take_commands(batch, turn);
                }
                turn.push(Event::Command { id: CommandId(0), command: Command::Exit });
            }
            Input::Room => {}
            Input::Alone => {
                self.is_alone = true;
                self.backlog.clear();
                turn.push(Event::Command { id: CommandId(0), command: Command::Exit });
            }
        }
    }

    /// Takes what is there without waiting, so that one commit serves many events.
    fn drain(&mut self, turn: &mut Vec<Event>) {
        if self.reads_net() {
            while turn.len() < EVENTS_PER_TURN_MAX
                && let Ok(event) = self.net_events.try_recv()
            {
                self.take_net(event, turn);
            }
            while turn.len() < EVENTS_PER_TURN_MAX
                && let Some(report) = self.files.try_report()
            {
                turn.push(Event::File(report));
            }
        }
        if self.core.takes_commands() {
            while turn.len() < EVENTS_PER_TURN_MAX {
                let Ok(batch) = self.commands.try_recv() else {
                    break;
                };
                take_commands(batch, turn);
            }
        }
    }

    fn take_net(&mut self, event: NetEvent, turn: &mut Vec<Event>) {
        turn.push(match event {
            NetEvent::Listening { addresses } => {
                self.listening.clone_from(&addresses);
                self.mirror.addresses(&addresses);
                Event::Listening { addresses }
            }
            NetEvent::LinkUp { peer, transport, address, is_outbound, .. } => {
                let link = Link { transport: of_via(transport), address, is_outbound };
                self.links.insert(peer, link.clone());
                Event::LinkUp { peer, link }
            }
            NetEvent::Moved { peer, transport, address } => {
                let transport = of_via(transport);
                tracing::info!(%peer, address, "a relayed link is direct now");
                if let Some(link) = self.links.get_mut(&peer) {
                    (link.transport, link.address) = (transport, address.clone());
                }
                Event::Punched { peer, moved: Some((transport, address)) }
            }
            NetEvent::NotPunched { peer, why } => {
                tracing::info!(%peer, why, "a link stays relayed");
                Event::Punched { peer, moved: None }
            }
            NetEvent::LinkDown { peer } => {
                self.links.remove(&peer);
                Event::LinkDown { peer }
            }
            NetEvent::Frame { from, bytes } => Event::Frame { from, bytes },
            NetEvent::DialFailed { addresses, why, .. } => {
                tracing::debug!(?addresses, why, "dial failed");
                Event::DialFailed { addresses }
            }
            NetEvent::File { from, stream } => return self.files.serve(from, stream),
            NetEvent::Asked { from, id, bytes } => Event::Asked { from, id, bytes },
            NetEvent::Answered { id, result } => Event::Answered { id, result },
            NetEvent::Discovered { peer, addresses } => Event::Discovered { peer, addresses },
            NetEvent::RoundTrip { peer, micros } => Event::RoundTrip { peer, micros },
            NetEvent::SeenAt { peer, address, is_outbound } => {
                Event::SeenAt { peer, seen: SeenAt { address, is_outbound } }
            }
            NetEvent::Refused { peer, refusal } => {
                let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
                tracing::warn!(code = refusal.code(), peer, "refused");
                return;
            }
        });
    }

    /// Handles events in one transaction, then sends, then tells.
    fn turn(&mut self, events: Vec<Event>) {
        match self.handle_all(events) {
            Ok(()) => self.release(),
            Err(store::Error::Full) => self.start_over(),
            Err(error) => {
                // An fsync that failed is never tried again: what it left is unknown.
                let refused = Refused::new(Refusal::DatabaseFailed, error.to_string());
                self.outgoing = Actions::default();
                self.end(refused);
            }
        }
    }

    fn handle_all(&mut self, events: Vec<Event>) -> Result<(), store::Error> {
        let mut needs = Durability::Soft;
        // All of them, should the first one come to nothing.
        for event in &events {
            self.unanswered.note(event);
        }
        for event in events {
            self.apply()?;
            let now = self.clock.now();
            let actions = self.core.handle(event, now, &self.store);
            self.store.is_sound()?;
            if !actions.writes.is_empty() {
                self.mirror.note(&actions.writes);
                needs = needs.max(self.unsynced.add(actions.writes));
                self.unsynced.due_by(now.mono.after(SOFT_DELAY));
            }
            gather(&mut self.outgoing.sends, actions.sends);
            gather(&mut self.outgoing.acks, actions.acks);
            gather(&mut self.outgoing.notices, actions.notices);
            self.wake_at = actions.wake_at;
        }
        self.make_safe(needs)?;
        self.unanswered.end_turn();
        Ok(())
    }

    /// Commits as far as what was written asks, and holds back what must wait for more.
    fn make_safe(&mut self, needs: Durability) -> Result<(), store::Error> {
        let now = self.clock.now().mono;
        self.unsynced.acks.append(&mut self.outgoing.acks);
        if !self.unsynced.acks.is_empty() {
            self.unsynced.due_by(self.unsynced.pace.due(now, ACK_DELAY));
        }
        let is_due = self.unsynced.sync_at.is_some_and(|at| at <= now);
        if needs == Durability::Synced || is_due {
            return self.sync();
        }
        let mut is_committed = false;
        if needs == Durability::Committed && self.note_alone()? {
            self.unsynced.noted();
            self.unsynced.due_by(now.after(SENT_DELAY));
        } else if needs == Durability::Committed {
            self.apply()?;
            self.store.commit(Sync::Normal)?;
            self.unsynced.committed();
            is_committed = true;
            self.unsynced.has_sent = true;
            self.unsynced.due_by(now.after(SENT_DELAY));
        }
        if self.unsynced.has_sent {
            // In their order: nothing overtakes what waits for the sync.
            self.unsynced.hold(&mut self.outgoing.notices, is_committed);
        } else if self.unsynced.is_open || !self.unsynced.writes.is_empty() {
            // A number that a loss of power takes back would be given to something else.
            let since = |notice: &mut Notice| matches!(notice, Notice::Since { .. });
            self.unsynced.notices.extend(self.outgoing.notices.extract_if(.., since));
            if !self.unsynced.notices.is_empty() {
                self.unsynced.due_by(self.unsynced.pace.due(now, ACK_DELAY));
            }
        }
        Ok(())
    }

    /// Notes one's own entry if it comes alone: the commit follows when it is on its way. Whether it
    /// was noted.
    fn note_alone(&mut self) -> Result<bool, store::Error> {
        self.unsynced.alone().map_or(Ok(false), |entry| self.store.note(entry))
    }

    /// Writes what waits, within the transaction.
    fn apply(&mut self) -> Result<(), store::Error> {
        if self.unsynced.writes.is_empty() {
            return Ok(());
        }
        if !self.unsynced.is_open {
            self.store.begin();
            self.unsynced.is_open = true;
        }
        self.store.apply(std::mem::take(&mut self.unsynced.writes))
    }

    /// Everything written is on the disk; what waited for that may go.
    fn sync(&mut self) -> Result<(), store::Error> {
        let began = self.clock.now().mono;
        let held = self.unsynced.held();
        self.unsynced.writes.extend(held);
        self.apply()?;
        self.store.commit(Sync::Full)?;
        self.mirror.write();
        let unsynced = &mut self.unsynced;
        self.outgoing.sends.append(&mut unsynced.acks);
        unsynced.notices.append(&mut self.outgoing.notices);
        std::mem::swap(&mut unsynced.notices, &mut self.outgoing.notices);
        unsynced.synced(began, self.clock.now().mono);
        Ok(())
    }

    fn release(&mut self) {
        for send in std::mem::take(&mut self.outgoing.sends) {
            self.send(send);
        }
        for notice in std::mem::take(&mut self.outgoing.notices) {
            self.tell(notice);
        }
        // Several at once are written together by the face's own thread.
        if self.backlog.len() == 1
            && let Some(notice) = self.backlog.pop_front()
            && let Some(notice) = self.quick.show(notice)
        {
            self.backlog.push_front(notice);
        }
        while let Some(notice) = self.backlog.pop_front() {
            // Counted before the face can have shown it.
            self.quick.queued();
            if let Err(
                mpsc::error::TrySendError::Full(notice) | mpsc::error::TrySendError::Closed(notice),
            ) = self.notices.try_send(notice)
            {
                self.quick.shown(1);
                self.backlog.push_front(notice);
                break;
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        self.unanswered.told(&notice);
        if self.is_alone && !matches!(notice, Notice::Exited) {
            return;
        }
        if let Notice::Message(message) = &notice
            && self.unsynced.show(message.id)
        {
            return;
        }
        self.is_over |= matches!(notice, Notice::Exited);
        if self.hub.tell(&notice) {
            self.backlog.push_back(notice);
        }
    }

    fn send(&mut self, send: Send) {
        match send {
            Send::Frame { to, bytes } => {
                if !self.net.frame(to, bytes) {
                    tracing::debug!(peer = %to, "a frame found no link");
                }
            }
            Send::Dial { peer, addresses } => self.net.dial(peer, addresses),
            Send::Close { peer } => self.net.close(peer),
            Send::Trust { peer } => self.net.admit(peer),
            Send::Ask { id, peer, addresses, bytes } => self.net.ask(id, peer, addresses, bytes),
            Send::Answer { id, bytes } => self.net.answer(id, bytes),
            Send::Reserve { relay, addresses } => self.net.reserve(relay, addresses),
            Send::Punch { peer, leads } => self.net.punch(peer, leads),
            Send::File(order) => self.files.order(order),
        }
    }

    /// The transaction failed for want of space: nothing of it happened. The core is loaded anew
    /// and every link starts again, so that no peer counts on what was lost.
    fn start_over(&mut self) {
        self.outgoing = Actions::default();
        // Their links are closed below; what they acknowledge is told anew by vectors.
        let now = self.clock.now().mono;
        let told = self.unsynced.undo(now);
        let next_try = self.unsynced.rests_until(|| now).unwrap_or(now);
        self.outgoing.notices = told;
        // What is on its way already cannot be undone.
        match self.store.recall() {
            Ok(is_open) => self.unsynced.is_open = is_open,
            Err(error) => return self.end(error.into()),
        }
        if self.unsynced.is_open {
            self.unsynced.due_by(next_try);
        }
        self.mirror.forget();
        // Who is told in a moment that its message is stored is not told that it is not.
        let not_stored = self.unanswered.undone(&self.outgoing.notices);
        tracing::warn!("no space on the disk; the last events are undone");
        let loaded = (self.load)(&self.store, self.clock.now());
        match loaded {
            Ok(core) => self.core = core,
            Err(refused) => return self.end(refused),
        }
        for peer in self.links.keys() {
            self.net.close(*peer);
        }
        let listening = Event::Listening { addresses: self.listening.clone() };
        for event in [Event::Started, listening, not_stored] {
            let actions = self.core.handle(event, self.clock.now(), &self.store);
            // What the core wants to write at its start waits until there is space.
            if !actions.writes.is_empty() {
                self.mirror.note(&actions.writes);
                self.unsynced.add(actions.writes);
                self.unsynced.due_by(next_try);
            }
            self.outgoing.sends.extend(actions.sends);
            self.outgoing.notices.extend(actions.notices);
            self.wake_at = actions.wake_at;
        }
        if self.unanswered.is_leaving() {
            // The new core does not know, and what it would hand over could not be stored.
            self.outgoing.notices.push(Notice::Exited);
        }
        self.release();
    }

    fn end(&mut self, refused: Refused) {
        self.tell(Notice::Failed { command: None, refused, is_fatal: true });
        self.tell(Notice::Exited);
        self.release();
    }

    async fn flush_backlog(&mut self) {
        while let Some(notice) = self.backlog.pop_front() {
            self.quick.queued();
            if self.notices.send(notice).await.is_err() {
                break;
            }
        }
    }
}

/// Puts what came behind what is there; a turn has one event mostly, and then nothing is moved.
fn gather<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.extend(more);
    }
}

fn of_via(via: Via) -> Transport {
    match via {
        Via::Tcp => Transport::Tcp,
        Via::Quic => Transport::Quic,
        Via::Relay => Transport::Relay,
    }
}

/// Messages that follow each other become one batch.
fn take_commands(batch: Batch, turn: &mut Vec<Event>) {
    for (id, command) in batch {
        match command {
            Command::Send { room, text } => match turn.last_mut() {
                Some(Event::Posts { room: same, posts }) if *same == room => {
                    posts.push((id, text.into()));
                }
                _ => turn.push(Event::Posts { room, posts: vec![(id, text.into())] }),
            },
            command => turn.push(Event::Command { id, command }),
        }
    }
}
