//! Talk: messages out, entries in, and the sync that closes every gap.
//! Owns: when messages leave, and what becomes of what comes.
//! Must not know: leaders; nothing here waits for one.
//! Invariants: an entry is in the writes before it is in the sends, and acknowledged after it is
//! written (18); what is said in a room goes to its members alone.
//! Start reading at: [`Member::on_posts`] and [`Member::on_sync`].

use super::expiry::without_ended;
use super::talks::{fresh_log, wanted};
use super::{Context, Member};
use crate::identity::Proofs;
use crate::ids::{CommandId, DeviceKey, Incarnation, LogId, PeerId, RoomId, Seq};
use crate::limits::{PADDED_BYTES, PAGE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::protocol::room::keys;
use crate::protocol::room::{Accepted, Broken, Draft};
use crate::protocol::sync::Sends;
use crate::protocol::{About, MessageView, Notice, Reads, Saying, StoredEntry, Write};
use crate::refusal::{Refusal, Refused};
use crate::time::Millis;
use crate::wire::frame::Body;
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Head, Page, Sync as Frame};

/// How long the first message waits for a linked member to say what it holds of our log.
const OWN_HEAD_WAIT: Millis = Millis(1_500);
/// Bytes of sealed entries under one signature; a batch must fit a page.
const BATCH_BYTES_MAX: usize = PAGE_BYTES_MAX / 2;
/// Bytes of an entry beside what is sealed, at the most.
const ENTRY_EXTRA: usize = 512;

/// The bytes of an entry that says this, and perhaps shows a code.
fn sealed_size(Draft { saying, code_proof, .. }: &Draft) -> usize {
    let beside = 32 + crate::limits::APPLICATION_BYTES_MAX;
    let least = saying.text.len().saturating_add(match (&saying.about, code_proof) {
        (About::Nothing, None) => 32,
        _ => beside.saturating_add(72),
    });
    let padded = PADDED_BYTES.into_iter().find(|size| *size >= least);
    padded.unwrap_or(TEXT_BYTES_MAX).saturating_add(ENTRY_EXTRA)
}

impl Member {
    /// A member is linked and both belong: tell each other what is held, room by room.
    pub(super) fn talk_with(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
        for room in rooms {
            self.talk_in(room, peer, cx);
        }
    }

    /// As [`Member::talk_with`], in one room that both are in.
    pub(super) fn talk_in(&mut self, room: RoomId, peer: PeerId, cx: &mut Context<'_>) {
        let Some(roster) = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster) else {
            return;
        };
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let are_in = talk.state.is_ordered() && talk.state.is_in(&peer, roster);
        if talk.sync.is_linked(&peer) || !are_in || self.is_shut(&room) {
            return;
        }
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let (revision, vector) = (talk.room.revision(), talk.room.vector());
        let sends = talk.sync.on_link(peer, cx.now.mono, revision, vector);
        self.send_sync(sends, cx);
        self.welcome(room, peer, cx);
    }

    pub(super) fn send_sync(&self, sends: Sends, cx: &mut Context<'_>) {
        for (to, frame) in sends {
            let frame = match frame {
                Frame::Entries(page) => Frame::Entries(without_ended(page, cx.now.wall)),
                Frame::Vector { room, heads, wants_answer, .. } => {
                    let pending = self.talks.newest.spans(room);
                    Frame::Vector { room, heads, wants_answer, pending }
                }
                other => other,
            };
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
        posts: Vec<(CommandId, Draft)>,
        cx: &mut Context<'_>,
    ) {
        let target = match self.talks.is_open {
            true => self.begun(room, cx).and_then(|()| self.writable(room).map(Some)),
            false => Ok(None),
        };
        for (id, draft) in posts {
            let refused = match (draft.saying.check(), &target) {
                (_, Err(refused)) => refused.clone(),
                (Err(refusal), _) => refusal.into(),
                (Ok(()), Ok(None)) => {
                    self.talks.held.push((id, room.to_owned(), draft));
                    continue;
                }
                (Ok(()), Ok(Some(target))) => {
                    if let Some(talk) = self.talks.rooms.get_mut(target) {
                        talk.held.push((id, draft));
                    }
                    continue;
                }
            };
            cx.fail(id, refused);
        }
        if let Ok(Some(room)) = target {
            self.befriend(&room, cx);
            self.release_posts(room, cx);
        }
    }

    /// The room of us and another one, `@NAME`, is made by what is first said there.
    fn begun(&mut self, room: &str, cx: &mut Context<'_>) -> Result<(), Refused> {
        match room.strip_prefix('@') {
            Some(name) if self.room_named(room).is_err() => self.direct_room(name, cx).map(drop),
            _ => Ok(()),
        }
    }

    /// Whether we may write into the room of this name.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`], [`Refusal::NotInRoom`], [`Refusal::RoomArchived`],
    /// [`Refusal::NotAllowed`].
    pub(super) fn may_write(&self, name: &str) -> Result<(), Refused> {
        self.writable(name).map(drop)
    }

    /// The room of this name, if we may write there.
    fn writable(&self, name: &str) -> Result<RoomId, Refused> {
        let room = self.room_named(name)?;
        let roster = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster);
        let (Some(talk), Some(roster)) = (self.talks.rooms.get(&room), roster) else {
            return Err(Refused::new(Refusal::NotInRoom, name));
        };
        if talk.state.charter().is_archived {
            return Err(Refused::new(Refusal::RoomArchived, name));
        }
        // Who is not ordered yet is its maker; in main who is removed hears of it otherwise.
        let may = !talk.state.is_ordered()
            || room == RoomId::MAIN
            || talk.state.may_write(&self.me, roster);
        if may { Ok(room) } else { Err(Refused::new(Refusal::NotAllowed, "a reader cannot write")) }
    }

    /// What was held before `ready` goes to its rooms.
    fn release_held(&mut self, cx: &mut Context<'_>) {
        if !self.talks.is_open || self.talks.held.is_empty() {
            return;
        }
        for (id, room, draft) in std::mem::take(&mut self.talks.held) {
            self.on_posts(&room, vec![(id, draft)], cx);
        }
    }

    /// Posts what is held, once there is a key and our own head is known from others.
    pub(super) fn release_posts(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let is_open = self.talks.is_open;
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        if talk.held.is_empty() || !is_open || talk.keys.key().is_none() || !talk.state.is_ordered()
        {
            return;
        }
        if !talk.has_posted && talk.sync.awaits_vectors() {
            let until = *talk.hold_until.get_or_insert(cx.now.mono.after(OWN_HEAD_WAIT));
            if cx.now.mono < until {
                cx.actions.wake_by(Some(until));
                return;
            }
        }
        talk.has_posted = true;
        let mut held = std::mem::take(&mut talk.held).into_iter().peekable();
        if talk.room.is_cut(&talk.room.own()) {
            // We were out of the room, or read only: what we write now goes into another log.
            self.write_elsewhere(cx);
        }
        while held.peek().is_some() {
            let mut bytes: usize = 0;
            let mut batch = Vec::new();
            while let Some((_, draft)) = held.peek()
                && batch.len() < crate::limits::BATCH_MAX
                && (batch.is_empty() || bytes.saturating_add(sealed_size(draft)) <= BATCH_BYTES_MAX)
            {
                bytes = bytes.saturating_add(sealed_size(draft));
                batch.extend(held.next());
            }
            self.post(room, batch, cx);
        }
        self.push(room, cx);
    }

    fn post(&mut self, id: RoomId, batch: Vec<(CommandId, Draft)>, cx: &mut Context<'_>) {
        let label = self.room_label(&id);
        let Some(talk) = self.talks.rooms.get_mut(&id) else {
            return;
        };
        let Some(key) = talk.keys.key() else {
            return;
        };
        let (ids, drafts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let sayings: Vec<Saying> = drafts.iter().map(|draft| draft.saying.clone()).collect();
        let ring = &mut talk.keys.ring;
        let posted = match talk.room.post(drafts, (key, ring), cx.now, &*self.proofs) {
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
        talk.sync.on_posted(&posted.entries);
        for entry in &posted.entries {
            self.note_expiry(entry, cx);
        }
        cx.actions.writes.extend(posted.entries.into_iter().map(Write::Entry));
        let said = ids.into_iter().zip(sayings).zip(posted.views);
        for ((command, Saying { text, about }), (message, seq, lamport, expires_at)) in said {
            let message = MessageView {
                id: message,
                room: label.clone(),
                from: self.name.clone(),
                peer: self.me,
                seq,
                lamport,
                text,
                about,
                sent_at: cx.now.wall,
                expires_at,
                is_own: true,
                is_fork: false,
                missing: 0,
                is_ignored: false,
            };
            self.note_file(id, &message, cx);
            cx.actions.notices.push(Notice::Sent { command, message });
        }
    }

    fn push(&mut self, room: RoomId, cx: &mut Context<'_>) {
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            let sends = talk.sync.push(talk.own_head().0, cx.now.mono, cx.reads);
            self.send_sync(sends, cx);
        }
    }

    pub(super) fn on_sync(&mut self, from: PeerId, frame: Frame, cx: &mut Context<'_>) {
        let room = frame.room();
        if let Frame::RoomInfo { info, index, inside, .. } = frame {
            return self.on_room_info((room, from), info, index, inside, cx);
        }
        let is_peer = self.talks.rooms.get(&room).is_some_and(|talk| talk.sync.is_linked(&from));
        if !is_peer {
            // Not admitted here yet, or no longer, or a room that we are not in: when it is
            // otherwise, vectors are exchanged anew.
            return;
        }
        match frame {
            Frame::Vector { heads, wants_answer, pending, .. } => {
                if let Some(talk) = self.talks.rooms.get_mut(&room) {
                    talk.sync.on_pending(&from, &pending);
                }
                self.on_vector((room, from), &heads, wants_answer, cx);
            }
            Frame::Ack { heads, .. } => self.on_ack((room, from), &heads, cx),
            Frame::Entries(page) => self.on_page(from, &page, cx),
            Frame::Want { log, from: start, .. } => self.on_want(from, log, start, cx),
            Frame::Full { .. } => self.on_full((room, from), cx),
            Frame::Marks { marks, .. } => self.on_marks((room, from), marks, cx),
            // Who asks too much asks again.
            Frame::RoomAsk { .. } | Frame::KeyWant { .. }
                if !self.asks.take_one(&from, cx.now.mono) => {}
            Frame::RoomAsk { .. } => self.on_room_ask((room, from), cx),
            Frame::RoomEpoch { group, epoch, .. } => {
                self.on_room_epoch((room, from), (group, epoch), cx);
            }
            Frame::KeyWant { keys, .. } => self.on_key_want((room, from), &keys, cx),
            Frame::KeyGrant { secrets, index, chunks, withheld, .. } => {
                self.on_key_grant((room, from), (&secrets, &chunks, &withheld), index, cx);
            }
            Frame::RoomInfo { .. } => {}
        }
    }

    fn on_vector(
        &mut self,
        (id, from): (RoomId, PeerId),
        heads: &[Head],
        wants_answer: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(talk) = self.talks.rooms.get_mut(&id) else {
            return;
        };
        let own = talk.own_head();
        if wants_answer {
            talk.sync.on_open(&from);
        }
        let told = talk.sync.on_vector(from, heads, own, cx.now.mono, cx.reads);
        if wants_answer && self.is_full_for(id, &from, cx.now.mono) {
            self.tell_full((id, from), cx);
        } else if wants_answer && let Some(talk) = self.talks.rooms.get(&id) {
            let heads = talk.room.vector();
            let pending = Vec::new();
            let answer = Frame::Vector { room: id, heads, wants_answer: false, pending };
            self.send_sync(vec![(from, answer)], cx);
        }
        match told.ahead {
            Some(head) => self.on_own_head_ahead(head, cx),
            None => self.told_delivered((id, from), told.delivered, cx),
        }
        self.note_past((id, from), heads, cx);
        self.want_branches(from, id, heads, true, cx);
        self.ask_for_newest((id, from), heads, cx);
        self.ask_for_missing(id, cx);
        self.push(id, cx);
    }

    /// Our own log lived on elsewhere: this database is an old copy. Write into new logs.
    pub(super) fn on_own_head_ahead(&mut self, head: Head, cx: &mut Context<'_>) {
        let talk = self.talks.rooms.get(&head.log.room);
        // Where our log was cut, others hold what does not count.
        let is_idle = talk.is_none_or(|it| it.room.own() != head.log || it.room.is_cut(&head.log));
        if is_idle || !self.talks.may_reopen() {
            return;
        }
        let text = "this home is an older copy of itself: others hold more of what it wrote; \
                    writing goes on in a new log"
            .to_owned();
        cx.notice(Notice::Info { text });
        self.write_elsewhere(cx);
    }

    /// Opens new logs of our own, in all rooms.
    pub(super) fn write_elsewhere(&mut self, cx: &mut Context<'_>) {
        let life = Incarnation(self.chance.number());
        if let Some((_, _, ours)) = self.talks.place.as_mut() {
            *ours = life;
        }
        for talk in self.talks.rooms.values_mut() {
            let held = std::mem::take(&mut talk.held_by);
            talk.past.insert(talk.room.own(), held);
            talk.room.reopen(life);
            talk.sync.reopen(talk.room.own());
        }
        cx.actions.writes.push(fresh_log(life));
    }

    fn on_ack(&mut self, (id, from): (RoomId, PeerId), heads: &[Head], cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&id) else {
            return;
        };
        let own = talk.own_head().0;
        // Who holds something else there acknowledges nothing of ours.
        let (room, sync) = (&talk.room, &mut talk.sync);
        let differs = |head: &Head| match sync.recent_hash(&head.log, head.seq) {
            Some(ours) if room.is_open(&head.log) => ours != head.hash,
            _ => room.differs(head, cx.reads),
        };
        let (other, same): (Vec<Head>, Vec<Head>) = heads.iter().partition(|head| differs(head));
        let told = sync.on_ack(from, &same, own, cx.now.mono);
        for head in &other {
            self.on_own_head_ahead(*head, cx);
        }
        self.note_past((id, from), &same, cx);
        self.want_branches(from, id, &other, false, cx);
        self.told_delivered((id, from), told.delivered, cx);
        self.hear_of_more(id, heads, cx);
        self.push(id, cx);
    }

    pub(super) fn told_delivered(
        &mut self,
        (id, to): (RoomId, PeerId),
        range: Option<(Seq, Seq)>,
        cx: &mut Context<'_>,
    ) {
        let name = self.label(&to);
        let (Some((after, upto)), Some(talk)) = (range, self.talks.rooms.get_mut(&id)) else {
            return;
        };
        let log = talk.room.own();
        // Across restarts only what was not known before is told.
        let after = after.max(talk.held_by.get(&to).copied().unwrap_or_default());
        if after >= upto {
            return;
        }
        let ids = talk.sync.ids_between(after, upto, cx.reads);
        talk.held_by.insert(to, upto);
        cx.actions.writes.push(Write::Held { log, by: to, upto });
        for id in ids {
            cx.actions.notices.push(Notice::Delivered { id, to: name.clone() });
        }
    }

    pub(super) fn ask_for_missing(&mut self, id: RoomId, cx: &mut Context<'_>) {
        let full = self.full_in(id, cx.now.mono);
        let (Some(ledger), Some(talk)) = (self.ledger.as_ref(), self.talks.rooms.get_mut(&id))
        else {
            return;
        };
        let head = wanted(&talk.room, ledger.roster(), &full);
        let sends = talk.sync.wants(head, cx.now.mono);
        self.send_sync(sends, cx);
    }

    /// The next page of a log whose author belongs, if somebody linked has more of it.
    fn ask_for_more(&mut self, log: LogId, cx: &mut Context<'_>) {
        if let Some(talk) = self.talks.rooms.get_mut(&log.room)
            && talk.room.is_open(&log)
        {
            let held = talk.room.head(&log);
            let sends = talk.sync.wants_of(&log, (held.seq, held.hash), cx.now.mono);
            self.send_sync(sends, cx);
        }
    }

    /// Under which keys the entries of a log may be signed; `None`: nothing is known of its author
    /// here yet.
    pub(super) fn author_keys(&self, log: &LogId) -> Option<Vec<DeviceKey>> {
        let author = log.author;
        // Its admission may not have reached us; the log will bring it, and sync the entries.
        let member = self.ledger.as_ref().and_then(|it| it.roster().member(&author))?;
        // A log that was opened anew has a life of its own, under the key of any of its author's.
        let keys: Vec<DeviceKey> = match member.key_of(log.incarnation) {
            Some(key) => vec![key],
            None => member.devices.iter().rev().map(|(_, key)| *key).collect(),
        };
        let talk = self.talks.rooms.get(&log.room)?;
        let is_known =
            talk.state.has_seat(&author) || talk.state.snapshot().cuts.contains_key(&author);
        // Never in the room as far as we have heard; the orders will say otherwise if so.
        is_known.then_some(keys)
    }

    /// Judges a page, whoever brought it; `None`: nothing is known of its author here yet.
    pub(super) fn judge_page(
        &mut self,
        from: PeerId,
        page: &Page,
        cx: &Context<'_>,
    ) -> Option<Result<Accepted, Broken>> {
        let keys = self.author_keys(&page.log)?;
        let lack = self.lack_of(from, page, cx.now);
        let talk = self.talks.rooms.get_mut(&page.log.room)?;
        let foreign = Err(Broken(Refusal::SignatureBad));
        let from_here: (&dyn Reads, &dyn Proofs) = (cx.reads, &*self.proofs);
        let mut judged = keys.iter().map(|key| talk.room.accept(page, key, lack, from_here));
        Some(judged.find(|taken| *taken != foreign).unwrap_or(foreign))
    }

    /// Entries that are new here, whoever brought them: shown, counted, stored.
    pub(super) fn take_new(
        &mut self,
        from: PeerId,
        room: RoomId,
        entries: Vec<(StoredEntry, Sealed)>,
        cx: &mut Context<'_>,
    ) {
        let waited = self.stranger_in(&room).is_some();
        for (entry, sealed) in &entries {
            self.open_entry(Some(from), entry, sealed, cx);
        }
        let entries: Vec<StoredEntry> = entries.into_iter().map(|(it, _)| it).collect();
        for entry in &entries {
            self.note_expiry(entry, cx);
        }
        let log = entries.last().map(|last| last.log);
        self.on_stored(&entries, cx);
        self.pass_on((room, from), &entries, cx);
        self.count_stored(from, &entries, cx);
        if waited && self.stranger_in(&room).is_none() {
            self.show_request(room, &entries, cx);
        }
        cx.actions.writes.extend(entries.into_iter().map(Write::Received));
        if let Some(log) = log {
            self.close_gap(from, log, cx);
        }
    }

    fn on_page(&mut self, from: PeerId, page: &Page, cx: &mut Context<'_>) {
        let (id, author) = (page.log.room, page.log.author);
        if self.is_full_for(id, &author, cx.now.mono) {
            if from == author {
                self.tell_full((id, from), cx);
            }
            return;
        }
        let Some(taken) = self.judge_page(from, page, cx) else {
            return;
        };
        if taken == Ok(Accepted::Gap) && self.take_newest(from, page, cx) {
            return;
        }
        let Some(talk) = self.talks.rooms.get_mut(&id) else {
            return;
        };
        let (room, sync) = (&talk.room, &mut talk.sync);
        match taken {
            Ok(Accepted::New(entries)) => {
                sync.on_page(from, &page.log, cx.now.mono);
                self.take_new(from, id, entries, cx);
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
            Ok(Accepted::Lacking) => {
                sync.on_lacking(&from, &page.log);
                self.ask_for_more(page.log, cx);
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
        let Some(talk) = self.talks.rooms.get(&log.room) else {
            return;
        };
        let ack = Frame::Ack { room: log.room, heads: vec![talk.room.told(&log)] };
        self.send_ack(to, Body::Sync(ack), cx);
    }

    /// What is due: held messages, offers of news, pages that did not come.
    pub(super) fn go_on_talking(&mut self, cx: &mut Context<'_>) {
        self.release_held(cx);
        let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
        for room in rooms {
            self.go_on_in(room, cx);
        }
    }

    fn go_on_in(&mut self, id: RoomId, cx: &mut Context<'_>) {
        self.release_posts(id, cx);
        let now = cx.now.mono;
        let Some(talk) = self.talks.rooms.get_mut(&id) else {
            return;
        };
        let (room, sync) = (&talk.room, &mut talk.sync);
        let mut sends = sync.offer(now, room.revision(), || room.vector());
        sends.extend(sync.ask_full(now, || room.vector()));
        let stalled = sync.stalled(now);
        let is_plain = talk.state.charter().kind.is_plain();
        let silent = if is_plain { Vec::new() } else { sync.silent(now) };
        let is_due = sync.wants_due(now);
        self.send_sync(sends, cx);
        if is_due {
            self.ask_for_missing(id, cx);
        }
        self.go_on_spreading(id, cx);
        for peer in silent {
            self.show_room(id, peer, cx);
        }
        for peer in stalled {
            // It reads nothing: a new link starts from what it holds then.
            cx.actions.sends.push(crate::protocol::Send::Close { peer });
        }
        if let Some(talk) = self.talks.rooms.get_mut(&id) {
            let head = talk.own_head().0;
            talk.takes_input = talk.sync.takes_input(head, now);
            cx.actions.wake_by(talk.sync.wake_at(talk.room.revision()));
            cx.actions.wake_by(talk.sync.silent_at().filter(|_| !is_plain));
        }
    }
}
