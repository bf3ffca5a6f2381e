//! Talk: messages out, entries in, and the sync that closes every gap.
//! Owns: the room, its sync, and messages that wait for the right moment.
//! Must not know: leaders; nothing here waits for one.
//! Invariants: an entry is in the writes before it is in the sends, and acknowledged after it is
//! written (18).
//! Start reading at: [`Member::on_posts`] and [`Member::on_sync`].

use std::collections::BTreeMap;

use super::keys::RoomKeys;
use super::{Context, Member};
use crate::ids::{
    CommandId, DeviceKey, Hash, Incarnation, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt,
};
use crate::limits::{PADDED_BYTES, PAGE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::protocol::room::keys::keyring::Keyring;
use crate::protocol::room::keys::{self, KeyAgreements};
use crate::protocol::room::{Accepted, Broken, Room, is_sealed};
use crate::protocol::sync::{Sends, Sync};
use crate::protocol::{MessageView, Notice, Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};
use crate::wire::frame::Body;
use crate::wire::sync::{Head, Page, Sync as Frame};

/// The room every network has.
pub(super) const MAIN: &str = "main";
/// The incarnation of one's own log, once it differs from the database's.
const LIFE_KEY: &str = "room/main/incarnation";
/// Messages that may wait for admission.
const HELD_MAX: usize = 256;
/// How long the first message waits for a linked member to say what it holds of our log.
const OWN_HEAD_WAIT: Millis = Millis(1_500);
/// Bytes of sealed entries under one signature; a batch must fit a page.
const BATCH_BYTES_MAX: usize = PAGE_BYTES_MAX / 2;
/// Bytes of an entry beside what is sealed, at the most.
const ENTRY_EXTRA: usize = 512;

/// The room `main` of a member.
#[derive(Debug)]
pub(super) struct Talk {
    salt: SessionSalt,
    inner: Option<(Room, Sync)>,
    /// Beside the room: a group cannot be copied, and a room can.
    pub(super) keys: RoomKeys,
    /// Messages from before `ready`, or before our own head was asked for.
    held: Vec<(CommandId, String)>,
    hold_until: Option<Mono>,
    has_posted: bool,
    takes_input: bool,
    /// Whether we are admitted and announced.
    pub(super) is_open: bool,
    /// What others are known to hold of our log, restarts included.
    held_by: BTreeMap<PeerId, Seq>,
}

/// From the next start on, messages go into a new log: the end of the old one is not known here.
pub fn fresh_log(life: Incarnation) -> Write {
    Write::Setting { key: LIFE_KEY.to_owned(), value: Some(life.0.to_be_bytes().to_vec().into()) }
}

impl Talk {
    pub(super) fn new(salt: SessionSalt, from: &'static dyn KeyAgreements) -> Self {
        Self {
            salt,
            inner: None,
            keys: RoomKeys::new(RoomId::MAIN, from),
            held: Vec::new(),
            hold_until: None,
            has_posted: false,
            takes_input: true,
            is_open: false,
            held_by: BTreeMap::new(),
        }
    }

    /// Loads the room and its keys. `seed` is fresh and secret.
    pub(super) fn open(
        &mut self,
        network: NetworkId,
        (me, life): (PeerId, Incarnation),
        (from, seed): (&'static dyn KeyAgreements, [u8; 32]),
        reads: &dyn Reads,
    ) -> Result<(), Refused> {
        let life = reads
            .setting(LIFE_KEY)
            .and_then(|bytes| bytes.as_ref().try_into().ok())
            .map_or(life, |bytes| Incarnation(u64::from_be_bytes(bytes)));
        if !reads.newest(RoomId::MAIN, 1).iter().all(is_sealed) {
            return Err(Refusal::DatabaseOlder.into());
        }
        let room = Room::load(RoomId::MAIN, network, me, life, self.salt, reads);
        let sync = Sync::new(RoomId::MAIN, room.own());
        self.held_by = reads.held(room.own()).into_iter().collect();
        let failed = |_| Refused::new(Refusal::DatabaseFailed, "the room's keys are damaged");
        self.keys = RoomKeys::load(RoomId::MAIN, me, (from, seed), reads).map_err(failed)?;
        self.inner = Some((room, sync));
        Ok(())
    }

    /// Whether there is a key to write under.
    pub(super) fn has_key(&self) -> bool {
        self.keys.key().is_some()
    }

    /// The members that are linked and talk with us, in the order of their peer ids.
    pub(super) fn linked(&self) -> Vec<PeerId> {
        self.inner.as_ref().map(|(_, sync)| sync.linked()).unwrap_or_default()
    }

    pub(super) fn room(&self) -> Option<&Room> {
        self.inner.as_ref().map(|(room, _)| room)
    }

    /// The room and what opens its entries.
    pub(super) fn opened(&mut self) -> Option<(&Room, &mut Keyring)> {
        let (room, _) = self.inner.as_ref()?;
        Some((room, &mut self.keys.ring))
    }

    pub(super) fn takes_input(&self) -> bool {
        self.takes_input && self.held.len() < HELD_MAX
    }

    pub(super) fn on_unlink(&mut self, peer: &PeerId) {
        if let Some((_, sync)) = self.inner.as_mut() {
            sync.on_unlink(peer);
        }
    }

    pub(super) fn is_linked(&self, peer: &PeerId) -> bool {
        self.inner.as_ref().is_some_and(|(_, sync)| sync.is_linked(peer))
    }

    pub(super) fn unacknowledged(&self, peer: &PeerId) -> u64 {
        self.inner.as_ref().map_or(0, |(_, sync)| sync.unacknowledged(peer))
    }

    /// Whether an exit should still wait: messages held, or under way to somebody who listens.
    pub(super) fn has_unsent(&self, now: Mono) -> bool {
        !self.held.is_empty()
            || self
                .inner
                .as_ref()
                .is_some_and(|(room, sync)| sync.is_flushing(room.head(&room.own()).seq, now))
    }

    fn own_head(&self) -> (Seq, Hash) {
        self.room().map_or((Seq(0), Hash::ZERO), |room| {
            let head = room.head(&room.own());
            (head.seq, head.hash)
        })
    }
}

/// The bytes of an entry with this text.
fn sealed_size(text: &str) -> usize {
    let padded = PADDED_BYTES.into_iter().find(|size| *size >= text.len().saturating_add(32));
    padded.unwrap_or(TEXT_BYTES_MAX).saturating_add(ENTRY_EXTRA)
}

impl Member {
    /// A member is linked and both belong: tell each other what is held.
    pub(super) fn talk_with(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        let Some((room, sync)) = self.talk.inner.as_mut() else {
            return;
        };
        if sync.is_linked(&peer) {
            return;
        }
        let sends = sync.on_link(peer, cx.now.mono, room.revision(), room.vector());
        self.send_sync(sends, cx);
    }

    fn send_sync(&self, sends: Sends, cx: &mut Context<'_>) {
        for (to, frame) in sends {
            // A vector says what is held, so it counts as an acknowledgement.
            let is_ack = matches!(frame, Frame::Vector { .. } | Frame::Ack { .. });
            if is_ack {
                self.send_ack(to, Body::Sync(frame), cx);
            } else {
                self.send(to, Body::Sync(frame), cx);
            }
        }
    }

    pub(super) fn on_posts(
        &mut self,
        room: &str,
        posts: Vec<(CommandId, String)>,
        cx: &mut Context<'_>,
    ) {
        for (id, text) in posts {
            let refusal = match text.len() {
                _ if room != MAIN => Refusal::RoomUnknown,
                0 => Refusal::MessageEmpty,
                length if length > TEXT_BYTES_MAX => Refusal::MessageTooLong,
                _ => {
                    self.talk.held.push((id, text));
                    continue;
                }
            };
            let detail = if refusal == Refusal::RoomUnknown { room } else { "" };
            cx.fail(id, Refused::new(refusal, detail));
        }
        self.release_posts(cx);
    }

    /// Posts what is held, once there is a room and our own head is known from others.
    fn release_posts(&mut self, cx: &mut Context<'_>) {
        if self.talk.held.is_empty() || !self.talk.is_open || !self.talk.has_key() {
            return;
        }
        let awaits = !self.talk.has_posted
            && self.talk.inner.as_ref().is_some_and(|(_, sync)| sync.awaits_vectors());
        if awaits {
            let until = *self.talk.hold_until.get_or_insert(cx.now.mono.after(OWN_HEAD_WAIT));
            if cx.now.mono < until {
                cx.actions.wake_by(Some(until));
                return;
            }
        }
        self.talk.has_posted = true;
        let mut held = std::mem::take(&mut self.talk.held).into_iter().peekable();
        while held.peek().is_some() {
            let mut bytes: usize = 0;
            let mut batch = Vec::new();
            while let Some((_, text)) = held.peek()
                && batch.len() < crate::limits::BATCH_MAX
                && (batch.is_empty() || bytes.saturating_add(sealed_size(text)) <= BATCH_BYTES_MAX)
            {
                bytes = bytes.saturating_add(sealed_size(text));
                batch.extend(held.next());
            }
            self.post(batch, cx);
        }
        self.push(cx);
    }

    fn post(&mut self, batch: Vec<(CommandId, String)>, cx: &mut Context<'_>) {
        let key = self.talk.keys.key();
        let (Some((room, sync)), Some(key)) = (self.talk.inner.as_mut(), key) else {
            return;
        };
        let (ids, texts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let ring = &mut self.talk.keys.ring;
        let posted = match room.post(texts.clone(), (key, ring), cx.now, &*self.proofs) {
            Ok(posted) => posted,
            Err(error) => {
                let refusal = match error {
                    keys::Error::TooLong => Refusal::MessageTooLong,
                    _ => Refusal::Internal,
                };
                for id in ids {
                    cx.fail(id, refusal);
                }
                return;
            }
        };
        sync.on_posted(&posted.entries);
        cx.actions.writes.extend(posted.entries.into_iter().map(Write::Entry));
        for ((command, text), (id, seq, sent_at)) in ids.into_iter().zip(texts).zip(posted.views) {
            let message = MessageView {
                id,
                room: MAIN.to_owned(),
                from: self.name.clone(),
                peer: self.me,
                seq,
                text,
                sent_at,
                is_own: true,
                is_fork: false,
            };
            cx.actions.notices.push(Notice::Sent { command, message });
        }
    }

    fn push(&mut self, cx: &mut Context<'_>) {
        let head = self.talk.own_head().0;
        if let Some((_, sync)) = self.talk.inner.as_mut() {
            let sends = sync.push(head, cx.now.mono, cx.reads);
            self.send_sync(sends, cx);
        }
    }

    pub(super) fn on_sync(&mut self, from: PeerId, frame: Frame, cx: &mut Context<'_>) {
        let is_peer = self.talk.inner.as_ref().is_some_and(|(_, sync)| sync.is_linked(&from));
        if !is_peer {
            // Not admitted here yet, or no longer: when it is, vectors are exchanged anew.
            return;
        }
        match frame {
            Frame::Vector { room, heads, wants_answer } if room == RoomId::MAIN => {
                self.on_vector(from, &heads, wants_answer, cx);
            }
            Frame::Ack { room, heads } if room == RoomId::MAIN => self.on_ack(from, &heads, cx),
            Frame::Entries(page) => self.on_page(from, &page, cx),
            Frame::Want { log, from: start, .. } => self.on_want(from, log, start, cx),
            Frame::RoomAsk { room: RoomId::MAIN } => self.on_room_ask(from, cx),
            Frame::RoomInfo { room: RoomId::MAIN, info, index } => {
                self.on_room_info(from, info, index, cx);
            }
            Frame::KeyWant { room: RoomId::MAIN, keys } => self.on_key_want(from, &keys, cx),
            Frame::KeyGrant { room: RoomId::MAIN, secrets, index } => {
                self.on_key_grant(&secrets, index, cx);
            }
            // Of a room we are not in.
            Frame::Vector { .. }
            | Frame::Ack { .. }
            | Frame::RoomAsk { .. }
            | Frame::RoomInfo { .. }
            | Frame::KeyWant { .. }
            | Frame::KeyGrant { .. } => {}
        }
    }

    fn on_vector(
        &mut self,
        from: PeerId,
        heads: &[Head],
        wants_answer: bool,
        cx: &mut Context<'_>,
    ) {
        let own = self.talk.own_head();
        let Some((room, sync)) = self.talk.inner.as_mut() else {
            return;
        };
        let told = sync.on_vector(from, heads, own, cx.now.mono, cx.reads);
        if wants_answer {
            let answer =
                Frame::Vector { room: RoomId::MAIN, heads: room.vector(), wants_answer: false };
            self.send_ack(from, Body::Sync(answer), cx);
        }
        match told.ahead {
            Some(head) => self.on_own_head_ahead(head, cx),
            None => self.told_delivered(from, told.delivered, cx),
        }
        self.want_branches(from, heads, true, cx);
        self.ask_for_missing(cx);
        self.push(cx);
    }

    /// Our own log lived on elsewhere: this database is an old copy. Write into a new log.
    fn on_own_head_ahead(&mut self, head: Head, cx: &mut Context<'_>) {
        if self.talk.room().is_none_or(|room| room.own() != head.log) {
            return;
        }
        let text = "this home is an older copy of itself: others hold more of what it wrote; \
                    writing goes on in a new log"
            .to_owned();
        cx.notice(Notice::Info { text });
        self.write_elsewhere(cx);
    }

    /// Opens a new log of our own.
    pub(super) fn write_elsewhere(&mut self, cx: &mut Context<'_>) {
        let life = Incarnation(self.chance.number());
        if let Some((room, sync)) = self.talk.inner.as_mut() {
            room.reopen(life);
            sync.reopen(room.own());
            self.talk.held_by.clear();
        }
        cx.actions.writes.push(fresh_log(life));
    }

    fn on_ack(&mut self, from: PeerId, heads: &[Head], cx: &mut Context<'_>) {
        let own = self.talk.own_head().0;
        let Some((room, sync)) = self.talk.inner.as_mut() else {
            return;
        };
        // Who holds something else there acknowledges nothing of ours.
        let differs = |head: &Head| match sync.recent_hash(&head.log, head.seq) {
            Some(ours) if room.head(&head.log).forked_at.is_none() => ours != head.hash,
            _ => room.differs(head, cx.reads),
        };
        let (other, same): (Vec<Head>, Vec<Head>) = heads.iter().partition(|head| differs(head));
        let told = sync.on_ack(from, &same, own, cx.now.mono);
        for head in &other {
            self.on_own_head_ahead(*head, cx);
        }
        self.want_branches(from, &other, false, cx);
        self.told_delivered(from, told.delivered, cx);
        self.push(cx);
    }

    fn told_delivered(&mut self, to: PeerId, range: Option<(Seq, Seq)>, cx: &mut Context<'_>) {
        let (Some((after, upto)), Some((room, sync))) = (range, self.talk.inner.as_ref()) else {
            return;
        };
        let log = room.own();
        // Across restarts only what was not known before is told.
        let after = after.max(self.talk.held_by.get(&to).copied().unwrap_or_default());
        if after >= upto {
            return;
        }
        let ids = sync.ids_between(after, upto, cx.reads);
        self.talk.held_by.insert(to, upto);
        cx.actions.writes.push(Write::Held { log, by: to, upto });
        let name = self.label(&to);
        for id in ids {
            cx.actions.notices.push(Notice::Delivered { id, to: name.clone() });
        }
    }

    fn ask_for_missing(&mut self, cx: &mut Context<'_>) {
        let Some(ledger) = self.ledger.as_ref() else {
            return;
        };
        let Some((room, sync)) = self.talk.inner.as_mut() else {
            return;
        };
        let head = |log: &LogId| {
            let held = room.head(log);
            let is_open = held.forked_at.is_none() && ledger.roster().member(&log.author).is_some();
            is_open.then_some((held.seq, held.hash))
        };
        let sends = sync.wants(head, cx.now.mono);
        self.send_sync(sends, cx);
    }

    /// The next page of a log whose author belongs, if somebody linked has more of it.
    fn ask_for_more(&mut self, log: LogId, cx: &mut Context<'_>) {
        if let Some((room, sync)) = self.talk.inner.as_mut() {
            let held = room.head(&log);
            let sends = sync.wants_of(&log, (held.seq, held.hash), cx.now.mono);
            self.send_sync(sends, cx);
        }
    }

    fn on_page(&mut self, from: PeerId, page: &Page, cx: &mut Context<'_>) {
        let author = page.log.author;
        let Some(member) = self.ledger.as_ref().and_then(|it| it.roster().member(&author)) else {
            // Its admission has not reached us; the log will bring it, and sync the entries.
            return;
        };
        // A log that was opened anew has a life of its own, under the key of any of its author's.
        let keys: Vec<DeviceKey> = match member.key_of(page.log.incarnation) {
            Some(key) => vec![key],
            None => member.devices.iter().rev().map(|(_, key)| *key).collect(),
        };
        let Some((room, sync)) = self.talk.inner.as_mut() else {
            return;
        };
        let foreign = Err(Broken(Refusal::SignatureBad));
        let mut judged = keys.iter().map(|key| room.accept(page, key, cx.reads, &*self.proofs));
        let taken = judged.find(|taken| *taken != foreign).unwrap_or(foreign);
        match taken {
            Ok(Accepted::New(entries)) => {
                sync.on_page(from, &page.log, cx.now.mono);
                for (entry, sealed) in entries {
                    self.open_entry(Some(from), &entry, &sealed, cx);
                    cx.actions.writes.push(Write::Received(entry));
                }
                self.acknowledge(from, page.log, cx);
                self.ask_for_more(page.log, cx);
            }
            Ok(Accepted::Known) => {
                sync.on_page(from, &page.log, cx.now.mono);
                self.acknowledge(from, page.log, cx);
            }
            Ok(Accepted::Gap) => {
                let head = room.head(&page.log);
                let sends = sync.on_gap(from, page.log, (head.seq, head.hash), cx.now.mono);
                self.send_sync(sends, cx);
            }
            Ok(Accepted::Before(start)) => self.want_branch(from, page.log, start, cx),
            Ok(Accepted::Fork { at, is_new, entries }) => {
                sync.on_page(from, &page.log, cx.now.mono);
                self.on_fork(page, (at, is_new), entries, cx);
            }
            Err(Broken(refusal)) => self.refuse(from, refusal, cx),
        }
    }

    fn acknowledge(&self, to: PeerId, log: LogId, cx: &mut Context<'_>) {
        let Some(room) = self.talk.room() else {
            return;
        };
        let ack = Frame::Ack { room: log.room, heads: vec![room.told(&log)] };
        self.send_ack(to, Body::Sync(ack), cx);
    }

    /// What is due: held messages, offers of news, pages that did not come.
    pub(super) fn go_on_talking(&mut self, cx: &mut Context<'_>) {
        self.release_posts(cx);
        let now = cx.now.mono;
        let Some((room, sync)) = self.talk.inner.as_mut() else {
            return;
        };
        let revision = room.revision();
        let sends = sync.offer(now, revision, || room.vector());
        let stalled = sync.stalled(now);
        let is_due = sync.wants_due(now);
        self.send_sync(sends, cx);
        if is_due {
            self.ask_for_missing(cx);
        }
        for peer in stalled {
            // It reads nothing: a new link starts from what it holds then.
            cx.actions.sends.push(crate::protocol::Send::Close { peer });
        }
        let head = self.talk.own_head().0;
        if let Some((room, sync)) = self.talk.inner.as_mut() {
            self.talk.takes_input = sync.takes_input(head, now);
            cx.actions.wake_by(sync.wake_at(room.revision()));
        }
    }
}
