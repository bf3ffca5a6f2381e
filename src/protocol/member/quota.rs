//! What one author may have us store, and what is said when that is used up.
//! Owns: how much is stored of each author, whose entries are taken no more, who takes none of ours.
//! Must not know: who is linked, what entries say.
//! Invariants: of who is over its bound nothing is stored nor acknowledged; nobody else notices.
//! Start reading at: [`Member::is_full_for`].
//!
//! Two bounds, of bytes in all and of entries over minutes. The second counts only what an author
//! sends us itself: a history may come as fast as it can, from whoever has it. What is stored of an
//! author is written down now and then, so a kill may lose the count of some of it, never more than
//! [`NOTED_EVERY`].

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Budget;
use super::{Context, Member};
use crate::ids::{PeerId, RoomId};
use crate::limits::RATE_MINUTES;
use crate::protocol::{Notice, Reads, StoredEntry, Write};
use crate::refusal::{Refusal, Refused};
use crate::time::Mono;
use crate::wire::frame::Body;
use crate::wire::sync::Sync as Frame;

/// How much is stored of an author, under its peer id: bytes (8 bytes).
const STORED: &str = "quota/";
/// It is written down when it has changed by so much.
const NOTED_EVERY: u64 = 1 << 20;

/// What one author may have us store; `None`: without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of sealed entries, in all rooms.
    pub bytes: Option<u64>,
    /// Entries a second, over [`RATE_MINUTES`].
    pub rate: Option<u64>,
}

/// What is stored of one author.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    bytes: u64,
    noted: u64,
}

/// What is stored of all of them.
#[derive(Debug)]
pub(super) struct Quotas {
    bytes_max: u64,
    stored: BTreeMap<PeerId, Stored>,
    rate: Option<Budget>,
}

impl Quotas {
    pub(super) fn load(quota: Quota, reads: &dyn Reads) -> Self {
        let rows = reads.settings(STORED).into_iter().filter_map(|(key, value)| {
            let bytes = u64::from_be_bytes(value.as_ref().try_into().ok()?);
            Some((PeerId::parse(key.strip_prefix(STORED)?)?, Stored { bytes, noted: bytes }))
        });
        let burst = |rate: u64| rate.saturating_mul(60).saturating_mul(RATE_MINUTES);
        Self {
            bytes_max: quota.bytes.unwrap_or(u64::MAX),
            stored: rows.collect(),
            rate: quota.rate.map(|rate| Budget::new(burst(rate), rate)),
        }
    }

    fn is_full(&self, author: &PeerId, now: Mono) -> bool {
        self.stored.get(author).is_some_and(|it| it.bytes >= self.bytes_max)
            || self.rate.as_ref().is_some_and(|rate| !rate.has_left(author, now))
    }

    /// Entries of somebody are stored; those it sent itself count against its rate.
    fn add(
        &mut self,
        author: &PeerId,
        entries: &[StoredEntry],
        now: Option<Mono>,
    ) -> Option<Write> {
        if let (Some(rate), Some(now)) = (&mut self.rate, now) {
            rate.take(author, u64::try_from(entries.len()).unwrap_or(u64::MAX), now);
        }
        let bytes = entries.iter().fold(0, |sum: u64, it| sum.saturating_add(size(it)));
        self.change(author, |stored| stored.saturating_add(bytes))
    }

    /// So many bytes of somebody were erased.
    fn free(&mut self, author: &PeerId, bytes: u64) -> Option<Write> {
        self.change(author, |stored| stored.saturating_sub(bytes))
    }

    fn change(&mut self, author: &PeerId, by: impl Fn(u64) -> u64) -> Option<Write> {
        let stored = self.stored.entry(*author).or_default();
        stored.bytes = by(stored.bytes);
        if stored.bytes.abs_diff(stored.noted) < NOTED_EVERY {
            return None;
        }
        stored.noted = stored.bytes;
        let value = Some(stored.bytes.to_be_bytes().to_vec().into());
        Some(Write::Setting { key: format!("{STORED}{author}"), value })
    }
}

fn size(entry: &StoredEntry) -> u64 {
    u64::try_from(entry.bytes.len()).unwrap_or(u64::MAX)
}

impl Member {
    /// Whether no more is stored of what somebody writes in a room.
    pub(super) fn is_full_for(&self, room: RoomId, author: &PeerId, now: Mono) -> bool {
        *author != self.me && (self.quotas.is_full(author, now) || self.is_request_full(&room))
    }

    /// Those of whom no more is stored in a room.
    pub(super) fn full_in(&self, room: RoomId, now: Mono) -> BTreeSet<PeerId> {
        let known = self.quotas.stored.keys().copied().chain(self.stranger_in(&room));
        known.filter(|author| self.is_full_for(room, author, now)).collect()
    }

    /// These entries are stored; `from`: who sent them.
    pub(super) fn count_stored(
        &mut self,
        from: PeerId,
        entries: &[StoredEntry],
        cx: &mut Context<'_>,
    ) {
        let Some(author) = entries.first().map(|entry| entry.log.author) else {
            return;
        };
        if author != self.me {
            let now = (from == author).then_some(cx.now.mono);
            cx.actions.writes.extend(self.quotas.add(&author, entries, now));
        }
    }

    /// These entries lose their ciphertext: what they took is free again.
    pub(super) fn count_erased(&mut self, bare: &[StoredEntry], cx: &mut Context<'_>) {
        for entry in bare.iter().filter(|entry| entry.log.author != self.me) {
            let stored = cx.reads.entries(entry.log, entry.seq, 1);
            let before = stored.first().filter(|it| it.seq == entry.seq).map_or(0, size);
            let freed = before.saturating_sub(size(entry));
            cx.actions.writes.extend(self.quotas.free(&entry.log.author, freed));
        }
    }

    /// Says so to the author.
    pub(super) fn tell_full(&self, (room, to): (RoomId, PeerId), cx: &mut Context<'_>) {
        self.send_ack(to, Body::Sync(Frame::Full { room }), cx);
    }

    /// A linked member stores no more of what we write in a room.
    pub(super) fn on_full(&mut self, (room, from): (RoomId, PeerId), cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        if talk.sync.on_full(&from, cx.now.mono) {
            let detail = format!("{} in {}", self.label(&from), self.room_label(&room));
            let refused = Refused::new(Refusal::QuotaFull, detail);
            cx.notice(Notice::Failed { command: None, refused, is_fatal: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Hash, Incarnation, LogId, Seq};
    use crate::protocol::room::tests::Shelf;

    fn entries(author: PeerId, count: u64, bytes: usize) -> Vec<StoredEntry> {
        let log = LogId { room: RoomId::MAIN, author, incarnation: Incarnation(1) };
        let entry = |seq| StoredEntry {
            log,
            seq: Seq(seq),
            hash: Hash::ZERO,
            lamport: seq,
            signature: None,
            bytes: vec![7; bytes].into(),
        };
        (1..=count).map(entry).collect()
    }

    fn quotas(bytes: Option<u64>, rate: Option<u64>) -> Quotas {
        Quotas::load(Quota { bytes, rate }, &Shelf::default())
    }

    #[test]
    fn an_author_is_bound_in_bytes_and_others_have_their_own() {
        let (alice, bob) = (PeerId::of_rsa_spki(b"alice"), PeerId::of_rsa_spki(b"bob"));
        let mut quotas = quotas(Some(3 << 20), None);
        let half = entries(alice, 2, 256 << 10);
        for taken in 1..=6 {
            assert!(!quotas.is_full(&alice, Mono(0)));
            let noted = quotas.add(&alice, &half, Some(Mono(0)));
            assert_eq!(noted.is_some(), taken % 2 == 0, "once in a MiB");
        }
        assert!(quotas.is_full(&alice, Mono(0)) && !quotas.is_full(&bob, Mono(0)));
        // Time alone opens nothing, erasing does.
        assert!(quotas.is_full(&alice, Mono(u64::MAX)));
        assert!(quotas.free(&alice, 1 << 20).is_some());
        assert!(!quotas.is_full(&alice, Mono(0)));
    }

    #[test]
    fn what_was_written_down_is_found_again() {
        let alice = PeerId::of_rsa_spki(b"alice");
        let limit = Some(1 << 20);
        let noted = quotas(limit, None).add(&alice, &entries(alice, 4, 256 << 10), None);
        let Some(Write::Setting { key, value: Some(value) }) = noted else { panic!("noted") };
        let mut shelf = Shelf::default();
        shelf.settings.insert("quota/nobody".to_owned(), value.clone());
        shelf.settings.insert(key, value);
        let quotas = Quotas::load(Quota { bytes: limit, rate: None }, &shelf);
        assert!(quotas.is_full(&alice, Mono(0)) && quotas.stored.len() == 1);
    }

    #[test]
    fn a_history_may_come_as_fast_as_it_can_and_an_author_may_not_go_on_flooding() {
        let alice = PeerId::of_rsa_spki(b"alice");
        let mut quotas = quotas(None, Some(1));
        let burst = 60 * RATE_MINUTES;
        assert!(quotas.add(&alice, &entries(alice, burst * 3, 10), None).is_none());
        assert!(!quotas.is_full(&alice, Mono(0)), "others passed it on");
        let _ = quotas.add(&alice, &entries(alice, burst, 10), Some(Mono(0)));
        assert!(quotas.is_full(&alice, Mono(999)) && !quotas.is_full(&alice, Mono(1_000)));
    }
}
