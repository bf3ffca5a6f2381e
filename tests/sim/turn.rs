//! A turn of a node: its core and its disk in the driver's order.
//! Owns: crashes at every boundary of a turn.
//! Must not know: what is right; `checks/` say so.
//! Invariants: as `node/driver.rs`: written, sent, told, in this order.
//! Start reading at: [`World::turn`].

use p2pgroup::limits::EVENTS_PER_TURN_MAX;
use p2pgroup::protocol::{Durability, Event, Notice, Send, Unanswered, Write};
use p2pgroup::wire::frame::{Body, Frame};
use p2pgroup::wire::keep::Keep;

use crate::checks::Seen;
use crate::trace::short;
use crate::world::{Happening, World};

/// As the driver waits.
const ACK_DELAY: u64 = 5;
const SENT_DELAY: u64 = 2;
const SOFT_DELAY: u64 = 1_000;

/// Where a turn is cut short.
#[derive(Clone, Copy)]
enum Cut {
    BeforeCommit,
    AfterSends(usize),
    AfterNotices(usize),
}

impl World {
    /// Handles what is there in one transaction, then sends, then tells: as `node/driver.rs` does.
    pub fn turn(&mut self, node: usize) {
        let it = &self.nodes[node];
        let has_work = !it.inbox.is_empty() || it.sync_at.is_some_and(|at| at <= self.now);
        if !it.is_up() || !has_work {
            return;
        }
        if self.nodes[node].is_asleep(self.now) {
            return self.plan_turn(node);
        }
        let spin = &mut self.nodes[node].spin;
        *spin = if spin.0 == self.now { (self.now, spin.1 + 1) } else { (self.now, 0) };
        if spin.1 > 500 {
            let text = format!("{} has 500 turns at one instant", self.nodes[node].label);
            return self.fail("nobody_spins", text);
        }
        let cut = self.draw_cut();
        let count = self.nodes[node].inbox.len().min(EVENTS_PER_TURN_MAX);
        let mut writes: Vec<Write> = Vec::new();
        let (mut sends, mut acks, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut events: Vec<Event> = self.nodes[node].inbox.drain(..count).collect();
        for event in events.drain(..) {
            self.note_event(node, &event);
            self.nodes[node].note_commands(&event);
            let it = &mut self.nodes[node];
            let now = it.time(self.now);
            let Some(running) = it.running.as_mut() else { return };
            let actions = running.core().handle(event, now, &it.disk);
            for write in &actions.writes {
                it.disk.apply(write.clone());
            }
            writes.extend(actions.writes);
            sends.extend(actions.sends);
            acks.extend(actions.acks);
            notices.extend(actions.notices);
            it.wake_at = actions.wake_at;
        }
        if matches!(cut, Some(Cut::BeforeCommit)) {
            return self.kill(node, "before the commit");
        }
        if !self.commit(node, &writes, acks, &mut notices) {
            return self.undo(node, notices);
        }
        sends.append(&mut self.nodes[node].ready);
        self.nodes[node].unanswered.end_turn();
        if self.broken.forgets_held {
            self.nodes[node].unanswered = Unanswered::default();
        }
        if !writes.is_empty() {
            self.see(&Seen::Stored { node, writes: &writes });
        }
        for (count, send) in sends.into_iter().enumerate() {
            if matches!(cut, Some(Cut::AfterSends(after)) if after == count) {
                return self.kill(node, "between two sends");
            }
            self.send(node, send);
        }
        for (count, notice) in notices.into_iter().enumerate() {
            if matches!(cut, Some(Cut::AfterNotices(after)) if after == count) {
                return self.kill(node, "between two notices");
            }
            self.tell(node, &notice);
            if !self.nodes[node].is_up() {
                return;
            }
        }
        self.see(&Seen::Turned { node });
        self.go_on(node);
    }

    /// Commits as far as what was written asks; makes ready the acknowledgements that may leave now,
    /// and holds back notices that wait for a sync: as `node/driver.rs` does. `false` if the disk is
    /// full.
    fn commit(
        &mut self,
        node: usize,
        writes: &[Write],
        acks: Vec<Send>,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let (now, is_hasty) = (self.now, self.broken.ack_before_store);
        let it = &mut self.nodes[node];
        let needs = writes.iter().map(Write::durability).max().unwrap_or(Durability::Soft);
        it.acks.extend(acks);
        let is_due = it.sync_at.is_some_and(|at| at <= now);
        let is_committed = needs != Durability::Soft || is_due;
        if is_committed && it.full_until > now && it.disk.is_open() {
            return false;
        }
        if is_committed {
            it.shown.clear();
        }
        if needs == Durability::Synced || is_due {
            it.disk.commit(true);
            it.sync_at = None;
            it.has_sent = false;
            it.true_late = 0;
            it.late.append(notices);
            *notices = std::mem::take(&mut it.late);
            it.ready = std::mem::take(&mut it.acks);
            return true;
        }
        let mut wait = if writes.is_empty() { None } else { Some(SOFT_DELAY) };
        if needs == Durability::Committed {
            it.disk.commit(false);
            it.has_sent = true;
            wait = Some(SENT_DELAY);
        }
        if !it.acks.is_empty() {
            wait = Some(wait.map_or(ACK_DELAY, |wait| wait.min(ACK_DELAY)));
        }
        if it.has_sent {
            it.late.append(notices);
            if needs == Durability::Committed {
                it.true_late = it.late.len();
            }
        }
        if let Some(due) = wait.map(|wait| now + wait)
            && it.sync_at.is_none_or(|at| due < at)
        {
            it.sync_at = Some(due);
            let boot = it.boot;
            self.at(due, Happening::Sync { node, boot });
        }
        if is_hasty {
            self.nodes[node].ready = std::mem::take(&mut self.nodes[node].acks);
        }
        true
    }

    /// The transaction failed; with a mistake something of it leaves all the same.
    fn undo(&mut self, node: usize, notices: Vec<Notice>) {
        if self.broken.acks_unstored {
            for ack in std::mem::take(&mut self.nodes[node].acks) {
                self.send(node, ack);
            }
        }
        if self.broken.tells_unstored {
            for notice in notices {
                self.tell(node, &notice);
            }
        }
        self.start_over(node);
    }

    /// Written in its own time.
    pub fn write_later(&mut self, node: usize, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        for write in writes {
            self.nodes[node].disk.apply(write);
        }
        let (due, boot) = (self.now + SOFT_DELAY, self.nodes[node].boot);
        self.nodes[node].sync_at = Some(due);
        self.at(due, Happening::Sync { node, boot });
    }

    fn draw_cut(&mut self) -> Option<Cut> {
        if self.crashes == 0 || !self.dice.one_in(self.crashes) {
            return None;
        }
        Some(match self.dice.below(4) {
            0 => Cut::BeforeCommit,
            1 => Cut::AfterSends(0),
            2 => Cut::AfterSends(self.dice.below(4)),
            _ => Cut::AfterNotices(self.dice.below(2)),
        })
    }

    /// Until the next turn: a disk takes time, and a deadline is kept.
    pub fn go_on(&mut self, node: usize) {
        let cost = if self.is_slow && self.dice.one_in(40) {
            self.dice.between(20, 600)
        } else {
            self.dice.between(0, 1)
        };
        let now = self.now;
        let it = &mut self.nodes[node];
        it.busy_until = now + cost;
        it.wake += 1;
        if let Some(at) = it.wake_at {
            let at = (at.0 + it.booted_at + it.stood_still).saturating_sub(1_000);
            let (at, boot, wake) = (at.max(now + cost), it.boot, it.wake);
            self.at(at, Happening::Wake { node, boot, wake });
        }
        if !self.nodes[node].inbox.is_empty() {
            self.plan_turn(node);
        }
    }

    fn note_event(&mut self, node: usize, event: &Event) {
        let label = &self.nodes[node].label;
        let (bytes, text): (&[u8], String) = match event {
            Event::Frame { from, bytes } => {
                let from = self.node_of(from).map(|it| self.nodes[it].label.clone());
                let label = label.clone();
                self.trace.note(self.now, &label, bytes, || {
                    let body = Frame::decode(bytes).map(|frame| short(&frame.body));
                    format!("<- {} {}", from.unwrap_or_default(), body.unwrap_or_default())
                });
                return;
            }
            Event::Asked { bytes, .. } => (bytes, "asked".to_owned()),
            Event::Answered { result: Ok((_, bytes)), .. } => (bytes, "answered".to_owned()),
            Event::Answered { result: Err(why), .. } => (b"no", format!("no answer: {why}")),
            Event::Posts { posts, .. } => (b"posts", format!("posts {}", posts.len())),
            Event::Command { command, .. } => (b"command", format!("{command:?}")),
            Event::DialFailed { addresses } => (b"dial", format!("dial failed {addresses:?}")),
            Event::Woke => (b"woke", "woke".to_owned()),
            _ => return,
        };
        self.trace.note(self.now, label, bytes, || text);
    }

    pub fn send(&mut self, node: usize, send: Send) {
        match send {
            Send::Frame { to, bytes } => {
                let Some(mut other) = self.node_of(&to) else { return };
                if let Ok(frame) = Frame::decode(&bytes) {
                    let body = &frame.body;
                    if self.broken.gives_elsewhere
                        && matches!(body, Body::Keep(Keep::Collected { .. }))
                    {
                        other = self.someone_else(node, other);
                    }
                    self.see(&Seen::Sent { node, to: other, body });
                    if let (Some(copies), Body::Sync(p2pgroup::wire::sync::Sync::Entries(page))) =
                        (self.copies.as_mut(), body)
                    {
                        crate::large::count(copies, other, page);
                    }
                    if !matches!(body, Body::Hello(_)) {
                        let label = self.nodes[node].label.clone();
                        let to = self.nodes[other].label.clone();
                        self.trace
                            .note(self.now, &label, &bytes, || format!("-> {to} {}", short(body)));
                    }
                } else {
                    let text = format!("{} sends what cannot be read", self.nodes[node].label);
                    self.fail("what_is_sent_can_be_read", text);
                }
                self.send_frame(node, other, bytes);
            }
            Send::Dial { peer, addresses } => self.dial(node, peer, addresses),
            Send::Trust { peer } => self.trust(node, peer),
            Send::Close { peer } => {
                if let Some(other) = self.node_of(&peer) {
                    self.say(node, &format!("hangs up on {}", self.nodes[other].label.clone()));
                    self.drop_conn(node, other);
                }
            }
            Send::Ask { id, addresses, bytes, .. } => self.ask(node, id, &addresses, bytes),
            Send::Answer { id, bytes } => self.answer(id, bytes),
            Send::Reserve { .. } | Send::Punch { .. } | Send::File(_) => {}
        }
    }

    /// A member that a frame for another one may go to by mistake.
    fn someone_else(&self, node: usize, meant: usize) -> usize {
        let mut others = self.members().map(|it| it.id);
        let is_linked = |it: &usize| *it != meant && self.has_link(node, *it);
        others.find(is_linked).unwrap_or(meant)
    }

    pub fn tell(&mut self, node: usize, notice: &Notice) {
        let it = &mut self.nodes[node];
        it.unanswered.told(notice);
        if let Some(id) = notice.command() {
            it.waiting.remove(&id);
        }
        if let Notice::Message(message) = notice {
            if it.shown_before.contains(&message.id) {
                return;
            }
            if it.disk.is_open() {
                it.shown.push(message.id);
            }
        }
        let text = format!("{notice:?}");
        let label = self.nodes[node].label.clone();
        self.trace.note(self.now, &label, text.as_bytes(), || format!("** {text}"));
        match notice {
            Notice::Ready(_) => self.nodes[node].is_ready = true,
            Notice::Exited => {
                let is_told = true;
                self.nodes[node].disk.commit(true);
                self.nodes[node].running = None;
                self.nodes[node].is_over = true;
                self.unplug(node, is_told);
                self.restart_later(node);
            }
            // No plan gives two members one name.
            Notice::Failed { is_fatal: true, refused, .. } => {
                if !self.is_out(node) {
                    let text = format!("{} is thrown out: {refused}", self.nodes[node].label);
                    return self.fail("nobody_is_thrown_out", text);
                }
                self.say(node, "was removed, and ends");
                self.nodes[node].disk.commit(true);
                self.nodes[node].running = None;
                self.unplug(node, true);
            }
            _ => {}
        }
        if let Notice::Message(message) = notice {
            let boot = self.nodes[node].boot;
            self.oracle.shown.push((node, boot, message.seq));
        }
        self.oracle.told(node, notice);
        self.accused(node, notice);
        self.cut_off(node, notice);
        self.see(&Seen::Told { node, notice });
    }
}
