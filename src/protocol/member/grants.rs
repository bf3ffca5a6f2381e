//! Keys that come after what was said under them: asked for, handed over, opened with.
//! Owns: who is asked for which key, who is given one, what is told when one comes.
//! Must not know: how keys are agreed on.
//! Invariants: only members of the room are given keys, of the past as the room's rule says; an
//! entry is told once, when its key is here, in the order of its log.
//! Start reading at: [`Member::open_entry`].

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{FIRST_WAIT, Stretch};
use super::talks::Talk;
use super::{Context, Member};
use crate::ids::{Index, KeyId, PeerId, RoomId, Seq};
use crate::limits::{CHUNK_ENTRIES, CHUNKS_MAX, KEYS_MAX, PAGE_ENTRIES_MAX};
use crate::protocol::ledger::Ledger;
use crate::protocol::room::keys::keyring::{Opened, Session};
use crate::protocol::room::keys::schedule::{ChunkKey, RoomSecret};
use crate::protocol::{About, Notice, Reads, StoredEntry, Write};
use crate::terms::History;
use crate::time::Millis;
use crate::wire::frame::Body;
use crate::wire::sealed::Sealed;
use crate::wire::sync::{ChunkGrant, Secret, Sync as Frame};

/// A key that nobody who is linked has is asked for this rarely.
const PATIENCE: Millis = Millis(8_000);
/// Of the past at most so many entries are looked through for one who asks.
const LAST_MAX: usize = 10_000;

impl Member {
    /// Shows an entry, or notes that its key is still to come; whether it was shown.
    pub(super) fn open_entry(
        &mut self,
        from: Option<PeerId>,
        entry: &StoredEntry,
        sealed: &Sealed,
        cx: &mut Context<'_>,
    ) -> bool {
        let room = entry.log.room;
        let label = self.room_label(&room);
        let name = self.label(&entry.log.author);
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return false;
        };
        let has_ended = sealed.header.expires_at.is_some_and(|at| at <= cx.now.wall);
        if !talk.room.counts(entry) || has_ended {
            return false;
        }
        let keys = &mut talk.keys;
        let says = match keys.ring.open(sealed) {
            Opened::Plain(says) => says,
            Opened::Unknown(key)
                // The room's rule keeps it from us.
                if keys.ring.is_granted(&(key, entry.log, sealed.header.session_salt)) =>
            {
                return false;
            }
            Opened::Unknown(key) => {
                let is_new = !keys.waiting.contains_key(&key);
                let noted = keys.wait_for(key, (entry.log, sealed.header.session_salt), entry.seq);
                let is_new = is_new && noted.is_some();
                cx.actions.writes.extend(noted);
                if is_new {
                    keys.wants.hint = from;
                    keys.wants.next = Some(cx.now.mono);
                    keys.wants.wait = FIRST_WAIT;
                }
                return false;
            }
            Opened::Unreadable => {
                if keys.unreadable.insert(entry.log) {
                    let text = format!(
                        "{name} signed what cannot be read (entry {}): its program is at fault",
                        entry.seq
                    );
                    cx.notice(Notice::Info { text });
                }
                return false;
            }
            Opened::Deleted => return false,
        };
        if entry.log.author != self.me
            && let Some(stranger) = self.stranger_in(&room)
        {
            self.judge_stranger(stranger, room, says.code_proof.as_ref(), cx);
            return false;
        }
        self.note_known(room, cx);
        if self.talks.newest.take_shown(entry) {
            return true;
        }
        let Some(talk) = self.talks.rooms.get(&room) else {
            return false;
        };
        let mut view = talk.room.view(entry, says, (&label, name));
        view.is_ignored = self.ignoring.is_ignored(&view.peer);
        view.missing = self.talks.newest.missing_before(entry, talk.room.head(&entry.log).seq);
        let file = matches!(view.about, About::File(_) | About::Deletion(_)).then(|| view.clone());
        cx.notice(Notice::Message(view));
        if let Some(view) = file {
            self.note_file(room, &view, cx);
        }
        true
    }

    /// Entries that are not shown as they come: their keys are asked for all the same.
    pub(super) fn want_keys_of(&mut self, entries: &[StoredEntry], cx: &mut Context<'_>) {
        for entry in entries {
            let Some(talk) = self.talks.rooms.get_mut(&entry.log.room) else { continue };
            let keys = &mut talk.keys;
            let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
            let session = |key| (key, entry.log, sealed.header.session_salt);
            if let Opened::Unknown(key) = keys.ring.open(&sealed)
                && !keys.ring.is_granted(&session(key))
            {
                cx.actions.writes.extend(keys.wait_for(
                    key,
                    (entry.log, sealed.header.session_salt),
                    entry.seq,
                ));
                keys.wants.next.get_or_insert(cx.now.mono);
            }
        }
    }

    /// A key is here: what waited for it is shown.
    pub(super) fn open_waiting(&mut self, room: RoomId, key: KeyId, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let (stretches, writes) = talk.keys.take_waiting(&key);
        cx.actions.writes.extend(writes);
        self.receipts.is_stale = true;
        self.open_newest(room, key, cx);
        let waited = self.stranger_in(&room).is_some();
        for (stretch, from) in stretches {
            self.open_from(key, stretch, from, cx);
        }
        if waited && self.stranger_in(&room).is_none() {
            self.show_request(room, &[], cx);
        }
    }

    fn open_from(&mut self, key: KeyId, (log, salt): Stretch, from: Seq, cx: &mut Context<'_>) {
        let mut next = from;
        loop {
            let entries = cx.reads.entries(log, next, PAGE_ENTRIES_MAX);
            let Some(last) = entries.last().map(|entry| entry.seq) else { return };
            for entry in &entries {
                let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
                if sealed.header.key_id == key && sealed.header.session_salt == salt {
                    if self.open_entry(None, entry, &sealed, cx) {
                        let (log, seq) = (entry.log, entry.seq);
                        cx.actions.writes.push(Write::Opened { log, seq });
                    }
                    self.index_late(entry, cx);
                }
            }
            next = last.next();
        }
    }

    /// Asks one linked member after the other for the keys that are missing.
    pub(super) fn go_on_wanting(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        if talk.keys.waiting.is_empty() {
            talk.keys.wants.next = None;
            return;
        }
        let (waiting, wants) = (&talk.keys.waiting, &mut talk.keys.wants);
        let may_have = |peer: &PeerId, key: &KeyId| {
            wants.withheld.get(peer).is_none_or(|withheld| !withheld.contains(key))
        };
        // Who said that the room's rules keep them from us is not asked again.
        let linked: Vec<PeerId> = talk
            .sync
            .linked()
            .into_iter()
            .filter(|peer| waiting.keys().any(|key| may_have(peer, key)))
            .collect();
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
        let withheld = wants.withheld.get(&peer);
        let may_have = |key: &&KeyId| withheld.is_none_or(|withheld| !withheld.contains(key));
        let later = waiting.keys().filter(|key| wants.after.is_none_or(|after| **key > after));
        let mut keys: Vec<KeyId> = later.filter(may_have).copied().take(KEYS_MAX).collect();
        if keys.is_empty() {
            keys = waiting.keys().filter(may_have).copied().take(KEYS_MAX).collect();
        }
        wants.after = keys.last().copied().filter(|_| waiting.len() > KEYS_MAX);
        self.send(peer, Body::Sync(Frame::KeyWant { room, keys }), cx);
    }

    /// A member of the room lacks keys. Those in force since it belongs to the room are its own; of
    /// those before it gets what the room's rule says.
    pub(super) fn on_key_want(
        &self,
        (room, from): (RoomId, PeerId),
        wanted: &[KeyId],
        cx: &mut Context<'_>,
    ) {
        let (Some(ledger), Some(talk)) = (&self.ledger, self.talks.rooms.get(&room)) else {
            return;
        };
        let (roster, index) = (ledger.roster(), ledger.applied());
        let is_in = talk.state.is_in(&from, roster) || self.setup.mistakes.gone_stay_linked;
        if index < talk.state.handled() || !is_in {
            // Started a moment ago: whom the log removed is not known again yet.
            return;
        }
        let ring = &talk.keys.ring;
        if !wanted.iter().any(|key| ring.secret(key).is_some() || ring.has_grant(key)) {
            return;
        }
        let since = talk.state.since(&from, roster);
        let suspended = talk.state.suspension(&from, cx.now.wall).map(|it| it.commit);
        let rule = match talk.state.charter().history {
            // As long as there is no more than that, it is all.
            History::Last(count) if !has_more(talk, last_of(count)) => History::All,
            rule => rule,
        };
        let (mut secrets, mut withheld) = (Vec::new(), Vec::new());
        let (mut past, mut parts) = (BTreeSet::new(), BTreeSet::new());
        for key in wanted {
            let began = talk.keys.since(key);
            let asker = Asker { since, suspended };
            let is_owed = asker.is_owed(rule, began, talk.keys.is_own(key));
            match talk.keys.ring.secret(key) {
                Some(secret) if is_owed => {
                    let bytes = Secret(zeroize::Zeroizing::new(*secret.expose()));
                    secrets.push((bytes, began.unwrap_or_default()));
                }
                Some(_) => drop(past.insert(*key)),
                // A part of it may be held: messages were deleted, and keys with them.
                None if is_owed && talk.keys.ring.has_grant(key) => drop(parts.insert(*key)),
                None if talk.keys.ring.has_grant(key) => drop(past.insert(*key)),
                None => {}
            }
        }
        let count = match rule {
            History::Last(count) => last_of(count),
            History::All => LAST_MAX,
            History::None | History::SinceJoin => 0,
        };
        let chunks = chunks_of(talk, (&past, count), &parts, cx.reads);
        let is_whole = |key: &&KeyId| talk.keys.ring.secret(key).is_some();
        withheld.extend(past.iter().filter(is_whole).copied());
        if secrets.is_empty() && chunks.is_empty() && withheld.is_empty() {
            return;
        }
        let grant = Frame::KeyGrant { room, secrets, index, chunks, withheld };
        self.send(from, Body::Sync(grant), cx);
    }

    /// Keys came. What was not asked for is left: a key is known by its hash. Whoever holds a key
    /// knows of all removals that its maker knew of, and so hands it to nobody it was made against.
    pub(super) fn on_key_grant(
        &mut self,
        (room, from): (RoomId, PeerId),
        (secrets, chunks, withheld): (&[(Secret, Index)], &[ChunkGrant], &[KeyId]),
        index: Index,
        cx: &mut Context<'_>,
    ) {
        let applied = self.ledger.as_ref().map(Ledger::applied);
        if applied.is_none_or(|applied| applied < index) {
            return;
        }
        for (secret, since) in secrets {
            let secret = RoomSecret::new(*secret.0);
            let key = secret.id(room);
            let Some(talk) = self.talks.rooms.get_mut(&room) else { return };
            if !talk.keys.waiting.contains_key(&key) {
                continue;
            }
            match talk.keys.add(secret) {
                Ok((key, writes)) => {
                    cx.actions.writes.extend(writes);
                    cx.actions.writes.push(talk.keys.note_since(key, *since));
                    self.open_waiting(room, key, cx);
                }
                // It would only be asked for again and again.
                Err(error) => {
                    tracing::warn!(%error, "a key cannot be kept");
                    cx.actions.writes.extend(talk.keys.take_waiting(&key).1);
                }
            }
        }
        for grant in chunks {
            self.on_chunk(room, grant, cx);
        }
        let Some(talk) = self.talks.rooms.get_mut(&room) else { return };
        talk.keys.withheld_by(from, withheld, index);
        if !talk.keys.waiting.is_empty() {
            // The same member may have more of them. Whoever tells of it all the time delays nothing.
            let soon = cx.now.mono.after(FIRST_WAIT);
            let wants = &mut talk.keys.wants;
            wants.next = Some(wants.next.map_or(soon, |next| next.min(soon)));
        }
    }

    /// A key that opens a log from a place on.
    fn on_chunk(&mut self, room: RoomId, grant: &ChunkGrant, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let stretch = (grant.log, grant.salt);
        let waits = talk.keys.waiting.get(&grant.key).and_then(|it| it.get(&stretch));
        let (Some(waits), Some(chunk)) = (waits.copied(), ChunkKey::decode(&grant.chunk)) else {
            return;
        };
        let first = Seq(chunk.index().saturating_mul(CHUNK_ENTRIES).saturating_add(1));
        let session: Session = (grant.key, grant.log, grant.salt);
        match talk.keys.grant(session, chunk) {
            Ok(writes) => {
                cx.actions.writes.extend(writes);
                cx.actions.writes.extend(talk.keys.waits_no_more(&grant.key, &stretch));
                self.open_newest(room, grant.key, cx);
                self.open_from(grant.key, stretch, first.max(waits), cx);
            }
            Err(error) => {
                tracing::warn!(%error, "a key cannot be kept");
                cx.actions.writes.extend(talk.keys.waits_no_more(&grant.key, &stretch));
            }
        }
    }
}

/// Who asks for a key.
#[derive(Clone, Copy, Debug)]
struct Asker {
    /// Since when it belongs to the room.
    since: Index,
    /// For which commit it may make none now.
    suspended: Option<Index>,
}

impl Asker {
    /// Whether it is handed a whole key that is in force since `began`, as far as that is known;
    /// `is_ours`: we made it for ourselves.
    fn is_owed(self, rule: History, began: Option<Index>, is_ours: bool) -> bool {
        let is_since = began.is_some_and(|began| began >= self.since);
        match rule {
            History::All => true,
            // Who did not hold a key when something was said under it never does. What an author
            // made for itself it alone hands over: nobody else can have it but by asking.
            // Who may not come into the epochs that follow is in the room all the same.
            History::None => {
                let is_shut_out = self.suspended.is_some_and(|commit| began >= Some(commit));
                is_since && (is_ours || is_shut_out)
            }
            History::SinceJoin | History::Last(_) => is_since,
        }
    }
}

fn last_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(LAST_MAX)
}

/// Whether more was ever said in a room than so many entries.
fn has_more(talk: &Talk, count: usize) -> bool {
    let said = talk.room.vector().iter().fold(0, |sum: u64, head| sum.saturating_add(head.seq.0));
    usize::try_from(said).unwrap_or(usize::MAX) > count
}

/// What opens the newest entries of a room: so many as far as they are under the keys of the past, and all
/// that are looked through under those of which parts are held.
fn chunks_of(
    talk: &Talk,
    (past, count): (&BTreeSet<KeyId>, usize),
    parts: &BTreeSet<KeyId>,
    reads: &dyn Reads,
) -> Vec<ChunkGrant> {
    let looked = match (past.is_empty(), parts.is_empty()) {
        (_, false) => LAST_MAX,
        (false, true) => count,
        (true, true) => 0,
    };
    if looked == 0 {
        return Vec::new();
    }
    let mut first: BTreeMap<Session, Seq> = BTreeMap::new();
    let entries = talk.room.newest(looked, reads);
    let older = entries.len().saturating_sub(count);
    for (place, (entry, _)) in entries.into_iter().enumerate() {
        let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
        let header = &sealed.header;
        let is_past = place >= older && past.contains(&header.key_id);
        if is_past || parts.contains(&header.key_id) {
            let session = (header.key_id, entry.log, header.session_salt);
            let from = first.entry(session).or_insert(entry.seq);
            *from = entry.seq.min(*from);
        }
    }
    let grant = |(session, from): (Session, Seq)| {
        let chunk = talk.keys.ring.chunk_key(&session, from)?.encode();
        let (key, log, salt) = session;
        Some(ChunkGrant { key, log, salt, chunk })
    };
    first.into_iter().filter_map(grant).take(CHUNKS_MAX).collect()
}

/// The one after this, by turns.
pub(super) fn after(peers: &[PeerId], last: Option<PeerId>) -> Option<PeerId> {
    let next = peers.iter().find(|peer| last.is_none_or(|last| **peer > last));
    next.or_else(|| peers.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Option<Index> = Some(Index(3));
    const JOINED: Option<Index> = Some(Index(10));
    const LATER: Option<Index> = Some(Index(30));

    fn asker(suspended: Option<Index>) -> Asker {
        Asker { since: Index(10), suspended }
    }

    #[test]
    fn whole_keys_are_handed_over_as_the_rule_of_the_room_says() {
        for (rule, before, joined) in [
            (History::All, true, true),
            (History::SinceJoin, false, true),
            (History::Last(500), false, true),
            (History::None, false, false),
        ] {
            let is_owed = |began| asker(None).is_owed(rule, began, false);
            assert_eq!((is_owed(BEFORE), is_owed(JOINED)), (before, joined), "{rule:?}");
            assert_eq!(is_owed(None), rule == History::All, "{rule:?}");
        }
        // A key for oneself is told to who was in the room then, and to nobody before.
        let ours = |began| asker(None).is_owed(History::None, began, true);
        assert!(ours(LATER) && ours(JOINED) && !ours(BEFORE) && !ours(None));
    }

    #[test]
    fn where_no_history_is_handed_over_who_is_suspended_gets_the_keys_it_could_not_come_to() {
        let suspended = asker(Some(Index(20)));
        let is_owed = |began| suspended.is_owed(History::None, began, false);
        assert!(is_owed(LATER) && is_owed(Some(Index(20))), "in force since that commit");
        assert!(!is_owed(Some(Index(19))) && !is_owed(JOINED) && !is_owed(None), "older ones");
        // Who was invited after that commit belongs to the room since then.
        let late = Asker { since: Index(25), suspended: Some(Index(20)) };
        assert!(!late.is_owed(History::None, Some(Index(22)), false));
        assert!(late.is_owed(History::None, LATER, false));
    }
}
