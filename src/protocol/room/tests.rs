//! Two members and a shelf of entries: what a room takes, and what it refuses.
//! Owns: [`Shelf`], a `Reads` in memory, which `sync`'s tests use too.
//! Must not know: links, leaders.
//! Invariants: none.
//! Start reading at: [`Writer`].

use std::collections::BTreeMap;

use super::*;
use crate::identity::keys::Device;
use crate::identity::testkeys;
use crate::limits::{BATCH_MAX, LAMPORT_JUMP_MAX};
use crate::protocol::{CertificateRow, StoredHead};
use crate::refusal::Refusal;
use crate::time::Mono;
use crate::wire::sync::Page;

pub(in crate::protocol) const NETWORK: NetworkId = NetworkId([7; 32]);

/// Entries in memory.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Shelf {
    pub(in crate::protocol) entries: BTreeMap<(LogId, Seq), StoredEntry>,
    pub(in crate::protocol) forks: Vec<StoredEntry>,
}

impl Shelf {
    pub(in crate::protocol) fn put(&mut self, entries: &[StoredEntry]) {
        for entry in entries {
            self.entries.insert((entry.log, entry.seq), entry.clone());
        }
    }
}

impl Reads for Shelf {
    fn setting(&self, _: &str) -> Option<Bytes> {
        None
    }
    fn settings(&self, _: &str) -> Vec<(String, Bytes)> {
        Vec::new()
    }
    fn control(&self, _: &str, _: crate::ids::Index, _: usize) -> Vec<Bytes> {
        Vec::new()
    }
    fn control_spaces(&self) -> Vec<String> {
        Vec::new()
    }
    fn heads(&self, _: RoomId) -> Vec<StoredHead> {
        let mut heads: BTreeMap<LogId, StoredHead> = BTreeMap::new();
        for ((log, seq), entry) in &self.entries {
            let head = StoredHead {
                log: *log,
                seq: *seq,
                hash: entry.hash,
                lamport: entry.lamport,
                signed: *seq,
            };
            heads.insert(*log, head);
        }
        heads.into_values().collect()
    }
    fn entries(&self, log: LogId, from: Seq, count: usize) -> Vec<StoredEntry> {
        let range = self.entries.range((log, from)..=(log, Seq(u64::MAX)));
        range.take(count).map(|(_, entry)| entry.clone()).collect()
    }
    fn newest(&self, _: RoomId, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn held(&self, _: LogId) -> Vec<(PeerId, Seq)> {
        Vec::new()
    }
    fn forks(&self, log: LogId) -> Vec<StoredEntry> {
        self.forks.iter().filter(|fork| fork.log == log).cloned().collect()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        Vec::new()
    }
}

/// A member with its room and what it stored.
pub(in crate::protocol) struct Writer {
    pub(in crate::protocol) room: Room,
    pub(in crate::protocol) device: Device,
    pub(in crate::protocol) shelf: Shelf,
}

pub(in crate::protocol) fn writer(number: u8) -> Writer {
    let me = PeerId::of_rsa_spki(&[number]);
    let shelf = Shelf::default();
    let salt = SessionSalt([number; 16]);
    let room = Room::load(RoomId::MAIN, NETWORK, me, Incarnation(1), salt, &shelf);
    Writer { room, device: testkeys::device(number), shelf }
}

impl Writer {
    pub(in crate::protocol) fn post(&mut self, texts: &[&str]) -> Vec<StoredEntry> {
        let now = Now { mono: Mono(1), wall: Wall(1) };
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        let entries = self.room.post(texts, now, &self.device).entries;
        self.shelf.put(&entries);
        entries
    }

    fn page(&self, from: u64) -> Page {
        let entries = self.shelf.entries(self.room.own(), Seq(from), 512);
        crate::protocol::sync::page(self.room.own(), entries).unwrap()
    }

    fn take(&mut self, page: &Page, from: &Self) -> Result<Accepted, Broken> {
        let taken = self.room.accept(page, &from.device.device(), &self.shelf, &self.device);
        if let Ok(Accepted::New(entries)) = &taken {
            let entries: Vec<_> = entries.iter().map(|(entry, _)| entry.clone()).collect();
            self.shelf.put(&entries);
        }
        taken
    }
}

fn texts(taken: Result<Accepted, Broken>) -> Vec<String> {
    match taken {
        Ok(Accepted::New(entries)) => {
            entries.into_iter().map(|(_, envelope)| envelope.payload.text).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_taken_in_order_under_one_signature_and_only_once() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    let posted = alice.post(&["one", "two", "three"]);
    assert_eq!(posted.iter().filter(|entry| entry.signature.is_some()).count(), 1);
    let page = alice.page(1);
    assert_eq!(texts(bob.take(&page, &alice)), ["one", "two", "three"]);
    assert_eq!(bob.take(&page, &alice), Ok(Accepted::Known));
    let own = alice.room.own();
    assert_eq!(bob.room.head(&own), alice.room.head(&own));
    assert_eq!(bob.room.vector(), alice.room.vector());
}

#[test]
fn pages_that_overlap_bring_only_what_is_new() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    alice.post(&["one"]);
    assert_eq!(texts(bob.take(&alice.page(1), &alice)), ["one"]);
    alice.post(&["two"]);
    assert_eq!(texts(bob.take(&alice.page(1), &alice)), ["two"]);
}

#[test]
fn a_gap_is_told_and_changes_nothing() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    alice.post(&["one"]);
    alice.post(&["two"]);
    assert_eq!(bob.take(&alice.page(2), &alice), Ok(Accepted::Gap));
    assert!(bob.room.vector().is_empty());
}

#[test]
fn a_page_without_its_last_signature_or_with_anothers_is_refused() {
    let (mut alice, mut bob, carol) = (writer(1), writer(2), writer(3));
    alice.post(&["one", "two"]);
    let whole = alice.page(1);
    assert_eq!(bob.take(&whole, &carol), Err(Broken(Refusal::SignatureBad)));
    let mut cut = whole.clone();
    cut.envelopes.pop();
    assert_eq!(bob.take(&cut, &alice), Err(Broken(Refusal::SignatureBad)));
    let mut swapped = whole.clone();
    swapped.envelopes.swap(0, 1);
    assert_eq!(bob.take(&swapped, &alice), Err(Broken(Refusal::EntryBroken)));
    assert!(bob.room.vector().is_empty());
    assert_eq!(texts(bob.take(&whole, &alice)).len(), 2);
}

#[test]
fn an_entry_of_another_network_or_log_is_refused() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    alice.post(&["one"]);
    let mut page = alice.page(1);
    page.log.incarnation = Incarnation(9);
    assert_eq!(bob.take(&page, &alice), Err(Broken(Refusal::EntryBroken)));
}

#[test]
fn a_lamport_time_far_ahead_is_refused() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    alice.room.lamport = LAMPORT_JUMP_MAX + 10;
    alice.post(&["from the future"]);
    assert_eq!(bob.take(&alice.page(1), &alice), Err(Broken(Refusal::EntryFar)));
}

#[test]
fn what_is_written_after_reading_comes_later_in_order() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    let question = alice.post(&["question"]);
    bob.take(&alice.page(1), &alice).unwrap();
    let answer = bob.post(&["answer"]);
    assert!(answer[0].lamport > question[0].lamport);
}

#[test]
fn two_entries_at_one_place_are_a_fork_and_close_the_log() {
    let (mut alice, mut copy, mut bob) = (writer(1), writer(1), writer(2));
    alice.post(&["one way"]);
    copy.post(&["another way"]);
    bob.take(&alice.page(1), &alice).unwrap();
    let Ok(Accepted::Fork { other, is_new: true }) = bob.take(&copy.page(1), &copy) else {
        panic!("no fork seen");
    };
    assert_eq!(other.seq, Seq(1));
    bob.shelf.forks.push(other);
    assert!(matches!(bob.take(&copy.page(1), &copy), Ok(Accepted::Fork { is_new: false, .. })));
    alice.post(&["too late"]);
    assert_eq!(bob.take(&alice.page(1), &alice), Ok(Accepted::Known));
    assert_eq!(bob.room.head(&alice.room.own()).forked_at, Some(Seq(1)));
}

#[test]
fn a_fork_without_the_authors_signature_proves_nothing() {
    let (mut alice, mut mallory, mut bob) = (writer(1), writer(1), writer(2));
    alice.post(&["one way"]);
    mallory.device = testkeys::device(9);
    mallory.post(&["framed"]);
    bob.take(&alice.page(1), &alice).unwrap();
    let framed = mallory.page(1);
    assert_eq!(bob.take(&framed, &alice), Err(Broken(Refusal::SignatureBad)));
    assert_eq!(bob.room.head(&alice.room.own()).forked_at, None);
}

#[test]
fn a_room_loaded_again_goes_on_where_it_was() {
    let mut alice = writer(1);
    alice.post(&["one", "two"]);
    let own = alice.room.own();
    let salt = SessionSalt([8; 16]);
    let again = Room::load(RoomId::MAIN, NETWORK, own.author, own.incarnation, salt, &alice.shelf);
    assert_eq!(again.vector(), alice.room.vector());
    assert_eq!(again.lamport, alice.room.lamport);
}

#[test]
fn long_pages_keep_a_signature_for_every_batch() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    for _ in 0..BATCH_MAX * 3 {
        alice.post(&["x"]);
    }
    bob.take(&alice.page(1), &alice).unwrap();
    let signed = bob.shelf.entries.values().filter(|entry| entry.signature.is_some()).count();
    assert_eq!(signed, 3, "one for each batch, the end included");
    let from_bob = bob.shelf.entries(alice.room.own(), Seq(1), 100);
    let page = crate::protocol::sync::page(alice.room.own(), from_bob).unwrap();
    assert!(page.envelopes.len() >= BATCH_MAX);
}
