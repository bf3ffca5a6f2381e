//! Entries that came before their key.
//! Owns: how many are waited for, and how they are stored.
//! Must not know: who is asked for the key.
//! Invariants: what an author invents takes a bounded place, in memory and on disk.
//! Start reading at: `RoomKeys::wait_for`.

use bytes::Bytes;

use super::{RoomKeys, Stretch, WAITING, row_name};
use crate::ids::{Incarnation, KeyId, LogId, PeerId, RoomId, Seq, SessionSalt};
use crate::limits::KEYRING_MAX;
use crate::protocol::Write;

/// Keys that are waited for at one time: far more than a room has had epochs and removals.
const WAITING_MAX: usize = 4_096;
/// Sessions of logs that wait for them: of more than this the keys could not be kept either.
const SESSIONS_MAX: usize = KEYRING_MAX;

impl RoomKeys {
    /// An entry came before its key. Past [`WAITING_MAX`] keys, or [`SESSIONS_MAX`] sessions, it is
    /// stored and not waited for: so many unknown ones are an author's invention.
    pub(in crate::protocol::member) fn wait_for(
        &mut self,
        key: KeyId,
        stretch: Stretch,
        seq: Seq,
    ) -> Option<Write> {
        let before = self.waiting.get(&key).map(|stretches| stretches.get(&stretch));
        let is_known = before.flatten().is_some();
        let is_over = (before.is_none() && self.waiting.len() >= WAITING_MAX)
            || (!is_known && self.stretches >= SESSIONS_MAX);
        if is_over || before.flatten().is_some_and(|from| *from <= seq) {
            return None;
        }
        self.stretches = self.stretches.saturating_add(usize::from(!is_known));
        self.waiting.entry(key).or_default().insert(stretch, seq);
        let value = Bytes::copy_from_slice(&seq.0.to_be_bytes());
        Some(self.setting(&waiting_name(&key, &stretch), Some(value)))
    }

    /// What can be read of these entries can be read now.
    pub(in crate::protocol::member) fn waits_no_more(
        &mut self,
        key: &KeyId,
        stretch: &Stretch,
    ) -> Option<Write> {
        let stretches = self.waiting.get_mut(key)?;
        stretches.remove(stretch)?;
        self.stretches = self.stretches.saturating_sub(1);
        if stretches.is_empty() {
            self.waiting.remove(key);
        }
        Some(self.setting(&waiting_name(key, stretch), None))
    }

    /// The entries that waited for this key, from where on in which log.
    pub(in crate::protocol::member) fn take_waiting(
        &mut self,
        key: &KeyId,
    ) -> (Vec<(Stretch, Seq)>, Vec<Write>) {
        let stretches = self.waiting.remove(key).unwrap_or_default();
        self.stretches = self.stretches.saturating_sub(stretches.len());
        let write = |it: &Stretch| self.setting(&waiting_name(key, it), None);
        let writes = stretches.keys().map(write).collect();
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

    #[test]
    fn an_author_that_invents_keys_fills_no_memory() {
        let mut keys = RoomKeys::new(RoomId::MAIN, &Toy::SOUND);
        let author = PeerId::of_ed25519(&crate::ids::DeviceKey([7; 32]));
        let log = LogId { room: RoomId::MAIN, author, incarnation: Incarnation(1) };
        let stretch = (log, SessionSalt([0; 16]));
        let named = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            KeyId(id)
        };
        for number in 0..WAITING_MAX {
            assert!(keys.wait_for(named(number), stretch, Seq(9)).is_some());
        }
        assert_eq!(keys.wait_for(named(WAITING_MAX), stretch, Seq(9)), None);
        assert_eq!(keys.waiting.len(), WAITING_MAX);
        assert!(keys.wait_for(named(0), stretch, Seq(8)).is_some(), "known keys go on");
        keys.take_waiting(&named(1));
        assert!(
            keys.wait_for(named(WAITING_MAX), stretch, Seq(9)).is_some(),
            "there is room again"
        );
    }

    #[test]
    fn an_author_that_invents_sessions_fills_no_memory() {
        let mut keys = RoomKeys::new(RoomId::MAIN, &Toy::SOUND);
        let author = PeerId::of_ed25519(&crate::ids::DeviceKey([7; 32]));
        let log = LogId { room: RoomId::MAIN, author, incarnation: Incarnation(1) };
        let (one, other) = (KeyId([1; 32]), KeyId([2; 32]));
        let stretch = |number: usize| {
            let mut salt = [0; 16];
            salt[..8].copy_from_slice(&number.to_be_bytes());
            (log, SessionSalt(salt))
        };
        for number in 0..SESSIONS_MAX {
            assert!(keys.wait_for(one, stretch(number), Seq(9)).is_some());
        }
        assert_eq!(keys.wait_for(one, stretch(SESSIONS_MAX), Seq(9)), None);
        assert_eq!(keys.wait_for(other, stretch(0), Seq(9)), None);
        assert!(keys.wait_for(one, stretch(0), Seq(8)).is_some(), "known ones go on");
        assert_eq!(keys.wait_for(one, stretch(0), Seq(8)), None, "once");
        assert!(keys.waits_no_more(&one, &stretch(0)).is_some());
        assert!(keys.wait_for(other, stretch(0), Seq(9)).is_some(), "there is room again");
        assert_eq!(keys.wait_for(other, stretch(1), Seq(9)), None);
        keys.take_waiting(&one);
        assert!(keys.wait_for(other, stretch(1), Seq(9)).is_some());
    }
}
