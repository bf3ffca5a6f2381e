//! The one loop where core, store, net and clock meet.
//! Owns: the order of things: written, then sent, then told.
//! Must not know: what any event or frame means.
//! Invariants: nothing is sent or told before what it rests on is on disk; a transaction that fails
//! leaves no trace in the core, which is loaded again.
//! Start reading at: [`Driver::run`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::Batch;
use super::clock::Clock;
use super::mirror::Mirror;
use crate::ids::{CommandId, PeerId};
use crate::limits::EVENTS_PER_TURN_MAX;
use crate::net::{NetEvent, NetHandle, Via};
use crate::protocol::{Actions, Command, Core, Event, Link, Notice, Reads, Send, Transport, Write};
use crate::refusal::{Refusal, Refused};
use crate::store::{self, Store, Sync};
use crate::time::{Millis, Mono, Now};

/// Notices kept for a face that lags before the network is left unread.
const BACKLOG_MAX: usize = 16_384;
/// How long acknowledgements wait, so that one sync serves many.
const ACK_DELAY: Millis = Millis(5);
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
    pub(super) commands: mpsc::Receiver<Batch>,
    pub(super) leave: Arc<Notify>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) clock: Clock,
    /// Sent and told once the store has committed.
    pub(super) outgoing: Actions,
    /// Sent once everything written is synced, and when that is due.
    pub(super) acks: Vec<Send>,
    pub(super) sync_at: Option<Mono>,
    pub(super) backlog: VecDeque<Notice>,
    pub(super) links: BTreeMap<PeerId, Link>,
    pub(super) listening: Vec<String>,
    pub(super) wake_at: Option<Mono>,
    /// Commands whose effects are in the open transaction.
    pub(super) open_commands: Vec<CommandId>,
    pub(super) is_over: bool,
    /// Whether the faces are gone and the core was told to exit.
    pub(super) is_alone: bool,
    /// Keeps the directory locked, and takes the copies for other programs.
    pub(super) mirror: Mirror,
}

enum Input {
    Woke,
    Commands(Batch),
    Net(NetEvent),
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
        self.flush_backlog().await;
        self.net.shutdown().await;
    }

    /// Waits for the next thing to happen.
    async fn next(&mut self) -> Option<Input> {
        let deadline = self.deadline();
        let takes_commands = self.core.takes_commands();
        let has_backlog = !self.backlog.is_empty();
        let reads_net = self.backlog.len() < BACKLOG_MAX;
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
        }
    }

    fn deadline(&self) -> std::time::Instant {
        let now = self.clock.now().mono;
        let latest = now.after(IDLE_MAX);
        let wake = self.wake_at.unwrap_or(latest).min(self.sync_at.unwrap_or(latest));
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
        while turn.len() < EVENTS_PER_TURN_MAX && self.backlog.len() < BACKLOG_MAX {
            let Ok(event) = self.net_events.try_recv() else {
                break;
            };
            self.take_net(event, turn);
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
                let transport = match transport {
                    Via::Tcp => Transport::Tcp,
                    Via::Quic => Transport::Quic,
                    Via::Relay => Transport::Relay,
                };
                let link = Link { transport, address, is_outbound };
                self.links.insert(peer, link.clone());
                Event::LinkUp { peer, link }
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
            NetEvent::Asked { from, id, bytes } => Event::Asked { from, id, bytes },
            NetEvent::Answered { id, result } => Event::Answered { id, result },
            NetEvent::Discovered { peer, addresses } => Event::Discovered { peer, addresses },
            NetEvent::RoundTrip { peer, micros } => Event::RoundTrip { peer, micros },
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
        let mut sync = Sync::Normal;
        let mut has_begun = false;
        for event in events {
            note_commands(&event, &mut self.open_commands);
            let now = self.clock.now();
            let actions = self.core.handle(event, now, &self.store);
            self.store.is_sound()?;
            if !actions.writes.is_empty() {
                if !has_begun {
                    self.store.begin();
                    has_begun = true;
                }
                if actions.writes.iter().any(must_survive_power_loss) {
                    sync = Sync::Full;
                }
                self.mirror.note(&actions.writes);
                self.store.apply(actions.writes)?;
            }
            self.outgoing.sends.extend(actions.sends);
            self.outgoing.acks.extend(actions.acks);
            self.outgoing.notices.extend(actions.notices);
            self.wake_at = actions.wake_at;
        }
        let now = self.clock.now().mono;
        if !self.outgoing.acks.is_empty() && self.sync_at.is_none() {
            self.sync_at = Some(now.after(ACK_DELAY));
        }
        let is_due = self.sync_at.is_some_and(|at| at <= now);
        if is_due {
            sync = Sync::Full;
        }
        if has_begun || is_due {
            self.store.commit(sync)?;
            self.mirror.write();
        }
        self.acks.append(&mut self.outgoing.acks);
        if sync == Sync::Full && (has_begun || is_due) {
            // A full commit syncs all earlier ones with it.
            self.sync_at = None;
            self.outgoing.sends.append(&mut self.acks);
        }
        self.open_commands.clear();
        Ok(())
    }

    fn release(&mut self) {
        for send in std::mem::take(&mut self.outgoing.sends) {
            self.send(send);
        }
        for notice in std::mem::take(&mut self.outgoing.notices) {
            self.tell(notice);
        }
        while let Some(notice) = self.backlog.pop_front() {
            match self.notices.try_send(notice) {
                Ok(()) => {}
                Err(
                    mpsc::error::TrySendError::Full(notice)
                    | mpsc::error::TrySendError::Closed(notice),
                ) => {
                    self.backlog.push_front(notice);
                    break;
                }
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        if self.is_alone && !matches!(notice, Notice::Exited) {
            return;
        }
        self.is_over |= matches!(notice, Notice::Exited);
        self.backlog.push_back(notice);
    }

    fn send(&self, send: Send) {
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
        }
    }

    /// The transaction failed for want of space: nothing of it happened. The core is loaded anew
    /// and every link starts again, so that no peer counts on what was lost.
    fn start_over(&mut self) {
        self.outgoing = Actions::default();
        // Their links are closed below; what they acknowledge is told anew by vectors.
        self.acks.clear();
        self.sync_at = None;
        self.mirror.forget();
        let commands = std::mem::take(&mut self.open_commands);
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
        for event in [Event::Started, listening, Event::NotStored { commands }] {
            let actions = self.core.handle(event, self.clock.now(), &self.store);
            // What the core wants to write at its start waits until there is space.
            self.outgoing.sends.extend(actions.sends);
            self.outgoing.notices.extend(actions.notices);
            self.wake_at = actions.wake_at;
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
            if self.notices.send(notice).await.is_err() {
                break;
            }
        }
    }
}

/// Messages that follow each other become one batch.
fn take_commands(batch: Batch, turn: &mut Vec<Event>) {
    for (id, command) in batch {
        match command {
            Command::Send { room, text } => match turn.last_mut() {
                Some(Event::Posts { room: same, posts }) if *same == room => posts.push((id, text)),
                _ => turn.push(Event::Posts { room, posts: vec![(id, text)] }),
            },
            command => turn.push(Event::Command { id, command }),
        }
    }
}

fn note_commands(event: &Event, open: &mut Vec<CommandId>) {
    match event {
        Event::Posts { posts, .. } => open.extend(posts.iter().map(|(id, _)| *id)),
        Event::Command { id, .. } => open.push(*id),
        _ => {}
    }
}

/// Whether others will count on it: promises, orders, entries. What can be learnt again may be lost
/// with the power.
fn must_survive_power_loss(write: &Write) -> bool {
    match write {
        Write::Held { .. } | Write::Received(_) => false,
        Write::Setting { key, .. } => !key.starts_with("peers/"),
        Write::Control { .. }
        | Write::ControlCut { .. }
        | Write::Entry(_)
        | Write::Fork(_)
        | Write::Certificate(_) => true,
    }
}
