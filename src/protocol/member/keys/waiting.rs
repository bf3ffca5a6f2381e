//! Entries that came before their key.
//! Owns: how many are waited for, and how they are stored.
//! Must not know: who is asked for the key.
//! Invariants: what an author invents takes a bounded place, in memory and on disk, and leaves the others
//! theirs.
//! Start reading at: `RoomKeys::wait_for`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{RoomKeys, Stretch, WAITING, row_name};
use crate::ids::{Incarnation, KeyId, LogId, PeerId, RoomId, Seq, SessionSalt};
use crate::limits::KEYRING_MAX;
use crate::protocol::Write;

/// Keys that are waited for at one time: far more than a room has had epochs and removals.
const WAITING_MAX: usize = 4_096;
/// Sessions of logs that wait for them: of more than this the keys could not be kept either.
const SESSIONS_MAX: usize = KEYRING_MAX;
/// What of both one author may take: a quarter.
const SHARE: usize = 4;

/// Entries that wait for their keys: from where on, by the session of a log.
#[derive(Debug, Default)]
pub(in crate::protocol::member) struct Waiting {
    keys: BTreeMap<KeyId, BTreeMap<Stretch, Seq>>,
    sessions: usize,
    authors: BTreeMap<PeerId, Places>,
}

/// What one author takes.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    keys: usize,
    sessions: usize,
}

/// Whether sessions of this author are among these.
fn has_any(stretches: &BTreeMap<Stretch, Seq>, of: &LogId) -> bool {
    let log = |life| LogId { incarnation: Incarnation(life), ..*of };
    let all = (log(0), SessionSalt([0; 16]))..=(log(u64::MAX), SessionSalt([u8::MAX; 16]));
    stretches.range(all).next().is_some()
}

impl Waiting {
    pub(in crate::protocol::member) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are waited for.
    pub(in crate::protocol::member) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that are waited for.
    pub(in crate::protocol::member) fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.keys()
    }

    pub(in crate::protocol::member) fn contains_key(&self, key: &KeyId) -> bool {
        self.keys.contains_key(key)
    }

    /// What waits for a key.
    pub(in crate::protocol::member) fn get(&self, key: &KeyId) -> Option<&BTreeMap<Stretch, Seq>> {
        self.keys.get(key)
    }

    /// Whether there is a place for one more session.
    fn has_room(&self, key: &KeyId, (log, _): &Stretch) -> bool {
        let places = self.authors.get(&log.author).copied().unwrap_or_default();
        let stretches = self.keys.get(key);
        let is_new = stretches.is_none_or(|it| !has_any(it, log));
        let may_begin = (stretches.is_some() || self.keys.len() < WAITING_MAX)
            && (!is_new || places.keys < WAITING_MAX / SHARE);
        may_begin && self.sessions < SESSIONS_MAX && places.sessions < SESSIONS_MAX / SHARE
    }

    pub(super) fn insert(&mut self, key: KeyId, stretch: Stretch, seq: Seq) {
        let stretches = self.keys.entry(key).or_default();
        let is_first = !has_any(stretches, &stretch.0);
        if stretches.insert(stretch, seq).is_none() {
            self.sessions = self.sessions.saturating_add(1);
            let places = self.authors.entry(stretch.0.author).or_default();
            places.sessions = places.sessions.saturating_add(1);
            places.keys = places.keys.saturating_add(usize::from(is_first));
        }
    }

    /// Whether it waited.
    fn remove(&mut self, key: &KeyId, stretch: &Stretch) -> bool {
        let Some(stretches) = self.keys.get_mut(key) else { return false };
        if stretches.remove(stretch).is_none() {
            return false;
        }
        let was_last = !has_any(stretches, &stretch.0);
        if stretches.is_empty() {
            self.keys.remove(key);
        }
        self.sessions = self.sessions.saturating_sub(1);
        let author = stretch.0.author;
        if let Some(places) = self.authors.get_mut(&author) {
            places.sessions = places.sessions.saturating_sub(1);
            places.keys = places.keys.saturating_sub(usize::from(was_last));
            if places.sessions == 0 {
                self.authors.remove(&author);
            }
        }
        true
    }
}

impl RoomKeys {
    /// An entry came before its key. Where there is no place for it, it is stored and not waited for:
    /// so many unknown ones are its author's invention.
    pub(in crate::protocol::member) fn wait_for(
        &mut self,
        key: KeyId,
        stretch: Stretch,
        seq: Seq,
    ) -> Option<Write> {
        let before = self.waiting.get(&key).and_then(|stretches| stretches.get(&stretch));
        let is_wanted = match before {
            Some(from) => *from > seq,
            None => self.waiting.has_room(&key, &stretch),
        };
        if !is_wanted {
            return None;
        }
        self.waiting.insert(key, stretch, seq);
        let value = Bytes::copy_from_slice(&seq.0.to_be_bytes());
        Some(self.setting(&waiting_name(&key, &stretch), Some(value)))
    }

    /// What can be read of these entries can be read now.
    pub(in crate::protocol::member) fn waits_no_more(
        &mut self,
        key: &KeyId,
        stretch: &Stretch,
    ) -> Option<Write> {
        let has_waited = self.waiting.remove(key, stretch);
        has_waited.then(|| self.setting(&waiting_name(key, stretch), None))
    }

    /// The entries that waited for this key, from where on in which log.
    pub(in crate::protocol::member) fn take_waiting(
        &mut self,
        key: &KeyId,
    ) -> (Vec<(Stretch, Seq)>, Vec<Write>) {
        let stretches = self.waiting.get(key).cloned().unwrap_or_default();
        let writes = stretches.keys().filter_map(|it| self.waits_no_more(key, it)).collect();
        (stretches.into_iter().collect(), writes)
    }
}

fn waiting_name(key: &KeyId, (log, salt): &Stretch) -> String {
    let life = log.incarnation.0.to_be_bytes();
    let parts = [key.as_bytes(), life.as_slice(), salt.as_bytes(), log.author.as_bytes()];
    row_name(WAITING, &parts.concat())
}

pub(super) fn waiting_of(room: RoomId, name: &[u8], value: &[u8]) -> Option<(KeyId, Stretch, Seq)> {
    let (key, rest) = name.split_first_chunk::<32>()?;
    let (life, rest) = rest.split_first_chunk::<8>()?;
    let (salt, author) = rest.split_first_chunk::<16>()?;
    let incarnation = Incarnation(u64::from_be_bytes(*life));
    let log = LogId { room, author: PeerId::from_bytes(author)?, incarnation };
    let from = Seq(u64::from_be_bytes(value.try_into().ok()?));
    Some((KeyId(*key), (log, SessionSalt(*salt)), from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::room::keys::toy::Toy;
    use crate::protocol::tests::Disk;

    fn log(author: u8) -> LogId {
        let author = PeerId::of_ed25519(&crate::ids::DeviceKey([author; 32]));
        LogId { room: RoomId::MAIN, author, incarnation: Incarnation(1) }
    }

    fn keys() -> RoomKeys {
        RoomKeys::new(RoomId::MAIN, &Toy::SOUND)
    }

    fn named(number: usize) -> KeyId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        KeyId(id)
    }

    fn session(author: u8, number: usize) -> Stretch {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&number.to_be_bytes());
        (log(author), SessionSalt(salt))
    }

    /// From there on an author has no place.
    fn fill(
        numbers: std::ops::Range<usize>,
        mut wait: impl FnMut(usize) -> Option<Write>,
    ) -> usize {
        numbers.clone().take_while(|number| wait(*number).is_some()).count() + numbers.start
    }

    #[test]
    fn an_author_that_invents_keys_fills_no_memory_and_leaves_the_others_their_places() {
        let mut keys = keys();
        let mut total = 0;
        for author in 0..5 {
            let first = usize::from(author) * WAITING_MAX;
            let all = first..first + WAITING_MAX;
            let end = fill(all, |it| keys.wait_for(named(it), session(author, 0), Seq(9)));
            total += end - first;
            let share = if author < 4 { WAITING_MAX / SHARE } else { 0 };
            assert_eq!(end - first, share, "author {author}");
        }
        assert_eq!((keys.waiting.len(), total), (WAITING_MAX, WAITING_MAX));
        assert!(keys.wait_for(named(0), session(0, 0), Seq(8)).is_some(), "known ones go on");
        assert_eq!(keys.wait_for(named(0), session(0, 0), Seq(8)), None, "once");
        assert!(keys.wait_for(named(0), session(4, 0), Seq(8)).is_some(), "a key that is known");
        keys.take_waiting(&named(1));
        assert!(keys.wait_for(named(WAITING_MAX / SHARE), session(0, 0), Seq(9)).is_some());
        assert_eq!(keys.wait_for(named(WAITING_MAX / SHARE + 1), session(0, 0), Seq(9)), None);
    }

    #[test]
    fn an_author_that_invents_sessions_fills_no_memory_after_a_restart_either() {
        let mut keys = keys();
        let (one, other) = (named(1), named(2));
        let mut disk = Disk::default();
        let end = fill(0..SESSIONS_MAX, |it| {
            let write = keys.wait_for(one, session(1, it), Seq(9));
            disk.store(write.clone());
            write
        });
        assert_eq!(end, SESSIONS_MAX / SHARE);
        let load = |disk: &Disk| {
            let me = log(7).author;
            RoomKeys::load(RoomId::MAIN, me, (&Toy::SOUND, [1; 32]), disk).unwrap()
        };
        for mut keys in [keys, load(&disk)] {
            assert_eq!(keys.wait_for(other, session(1, 0), Seq(9)), None);
            assert!(keys.wait_for(other, session(2, 0), Seq(9)).is_some(), "others have places");
            assert!(keys.wait_for(one, session(1, 0), Seq(8)).is_some(), "known ones go on");
            assert!(keys.waits_no_more(&one, &session(1, 0)).is_some());
            assert!(keys.wait_for(other, session(1, 0), Seq(9)).is_some(), "there is room again");
            assert_eq!(keys.wait_for(other, session(1, 1), Seq(9)), None);
            keys.take_waiting(&one);
            assert!(keys.wait_for(other, session(1, 1), Seq(9)).is_some());
        }
    }
}
