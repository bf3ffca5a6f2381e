//! Keys that come after what was said under them: asked for, handed over, opened with.
//! Owns: who is asked for which key, who is given one, what is told when one comes.
//! Must not know: how keys are agreed on.
//! Invariants: only members of the roster are given keys; an entry is told once, when its key is
//! here, in the order of its log.
//! Start reading at: [`Member::open_entry`].

use super::keys::FIRST_WAIT;
use super::talk::MAIN;
use super::{Context, Member};
use crate::ids::{Index, KeyId, LogId, PeerId, RoomId, Seq};
use crate::limits::{KEYS_MAX, PAGE_ENTRIES_MAX};
use crate::protocol::room::keys::keyring::Opened;
use crate::protocol::room::keys::schedule::RoomSecret;
use crate::protocol::{Notice, StoredEntry};
use crate::time::Millis;
use crate::wire::frame::Body;
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Secret, Sync as Frame};

/// A key that nobody who is linked has is asked for this rarely.
const PATIENCE: Millis = Millis(8_000);

impl Member {
    /// Shows an entry, or notes that its key is still to come.
    pub(super) fn open_entry(
        &mut self,
        from: Option<PeerId>,
        entry: &StoredEntry,
        sealed: &Sealed,
        cx: &mut Context<'_>,
    ) {
        let keys = &mut self.talk.keys;
        let says = match keys.ring.open(sealed) {
            Opened::Plain(says) => says,
            Opened::Unknown(key) => {
                let is_new = !keys.waiting.contains_key(&key);
                let noted = keys.wait_for(key, entry.log, entry.seq);
                let is_new = is_new && noted.is_some();
                cx.actions.writes.extend(noted);
                if is_new {
                    keys.wants.hint = from;
                    keys.wants.next = Some(cx.now.mono);
                    keys.wants.wait = FIRST_WAIT;
                }
                return;
            }
            Opened::Unreadable => {
                if keys.unreadable.insert(entry.log) {
                    let name = self.label(&entry.log.author);
                    let text = format!(
                        "{name} signed what cannot be read (entry {}): its program is at fault",
                        entry.seq
                    );
                    cx.notice(Notice::Info { text });
                }
                return;
            }
            Opened::Deleted => return,
        };
        let name = self.label(&entry.log.author);
        if let Some(room) = self.talk.room() {
            cx.notice(Notice::Message(room.view(entry, says, (MAIN, name))));
        }
    }

    /// Entries that are not shown as they come: their keys are asked for all the same.
    pub(super) fn want_keys_of(&mut self, entries: &[StoredEntry], cx: &mut Context<'_>) {
        let keys = &mut self.talk.keys;
        for entry in entries {
            let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
            if let Opened::Unknown(key) = keys.ring.open(&sealed) {
                cx.actions.writes.extend(keys.wait_for(key, entry.log, entry.seq));
                keys.wants.next.get_or_insert(cx.now.mono);
            }
        }
    }

    /// A key is here: what waited for it is shown.
    pub(super) fn open_waiting(&mut self, key: KeyId, cx: &mut Context<'_>) {
        let (logs, writes) = self.talk.keys.take_waiting(&key);
        cx.actions.writes.extend(writes);
        for (log, from) in logs {
            self.open_from(key, log, from, cx);
        }
    }

    fn open_from(&mut self, key: KeyId, log: LogId, from: Seq, cx: &mut Context<'_>) {
        let mut next = from;
        loop {
            let entries = cx.reads.entries(log, next, PAGE_ENTRIES_MAX);
            let Some(last) = entries.last().map(|entry| entry.seq) else { return };
            for entry in &entries {
                let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
                if sealed.header.key_id == key {
                    self.open_entry(None, entry, &sealed, cx);
                    self.index_late(entry, cx);
                }
            }
            next = last.next();
        }
    }

    /// Asks one linked member after the other for the keys that are missing.
    pub(super) fn go_on_wanting(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        if self.talk.keys.waiting.is_empty() {
            self.talk.keys.wants.next = None;
            return;
        }
        let linked = self.talk.linked();
        let wants = &mut self.talk.keys.wants;
        let due = *wants.next.get_or_insert(now);
        if now < due || linked.is_empty() {
            // A link that comes up wakes us.
            cx.actions.wake_by((!linked.is_empty()).then_some(due));
            return;
        }
        let hint = wants.hint.take().filter(|hint| linked.contains(hint));
        let Some(peer) = hint.or_else(|| after(&linked, wants.last)) else { return };
        wants.last = Some(peer);
        wants.wait = Millis(wants.wait.0.saturating_mul(2)).max(FIRST_WAIT).min(PATIENCE);
        wants.next = Some(now.after(wants.wait));
        cx.actions.wake_by(wants.next);
        // More than one frame holds: the next ones the next time.
        let waiting = &self.talk.keys.waiting;
        let later = waiting.keys().filter(|key| wants.after.is_none_or(|after| **key > after));
        let mut keys: Vec<KeyId> = later.copied().take(KEYS_MAX).collect();
        if keys.is_empty() {
            keys = waiting.keys().copied().take(KEYS_MAX).collect();
        }
        wants.after = keys.last().copied().filter(|_| waiting.len() > KEYS_MAX);
        self.send(peer, Body::Sync(Frame::KeyWant { room: RoomId::MAIN, keys }), cx);
    }

    /// Somebody linked, and so of the roster, lacks keys. The room's history is for all its members.
    pub(super) fn on_key_want(&self, from: PeerId, keys: &[KeyId], cx: &mut Context<'_>) {
        let Some(roster) = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster) else {
            return;
        };
        let index = roster.applied();
        if index < self.talk.keys.handled {
            // Started a moment ago: whom the log removed is not known again yet.
            return;
        }
        let ring = &self.talk.keys.ring;
        let secret = |key| ring.secret(key).map(|it| Secret(zeroize::Zeroizing::new(*it.expose())));
        let secrets: Vec<Secret> = keys.iter().filter_map(secret).collect();
        if !secrets.is_empty() {
            let grant = Frame::KeyGrant { room: RoomId::MAIN, secrets, index };
            self.send(from, Body::Sync(grant), cx);
        }
    }

    /// Keys came. What was not asked for is left: a key is known by its hash. Whoever holds a key
    /// knows of all removals that its maker knew of, and so hands it to nobody it was made against.
    pub(super) fn on_key_grant(&mut self, secrets: &[Secret], index: Index, cx: &mut Context<'_>) {
        let applied = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::applied);
        if applied.is_none_or(|applied| applied < index) {
            return;
        }
        for secret in secrets {
            let secret = RoomSecret::new(*secret.0);
            let key = secret.id(RoomId::MAIN);
            if !self.talk.keys.waiting.contains_key(&key) {
                continue;
            }
            match self.talk.keys.add(secret) {
                Ok((key, writes)) => {
                    cx.actions.writes.extend(writes);
                    self.open_waiting(key, cx);
                }
                Err(error) => tracing::warn!(%error, "a key cannot be kept"),
            }
        }
        if !self.talk.keys.waiting.is_empty() {
            // The same member may have more of them.
            self.talk.keys.wants.next = Some(cx.now.mono.after(FIRST_WAIT));
        }
    }
}

/// The one after this, by turns.
pub(super) fn after(peers: &[PeerId], last: Option<PeerId>) -> Option<PeerId> {
    let next = peers.iter().find(|peer| last.is_none_or(|last| **peer > last));
    next.or_else(|| peers.first()).copied()
}
