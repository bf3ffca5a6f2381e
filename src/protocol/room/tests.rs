//! Two members and a shelf of entries: what a room takes, and what it refuses.
//! Owns: [`Shelf`], a `Reads` in memory, which `sync`'s tests use too.
//! Must not know: links, leaders.
//! Invariants: none.
//! Start reading at: [`Writer`].

use std::collections::BTreeMap;

use super::keys::keyring::Opened;
use super::keys::schedule::RoomSecret;
use super::*;
use crate::identity::keys::Device;
use crate::identity::testkeys;
use crate::limits::{BATCH_MAX, EXPIRY_SKEW, LAMPORT_JUMP_MAX};
use crate::protocol::{CertificateRow, StoredHead};
use crate::refusal::Refusal;
use crate::time::{Mono, Wall};
use crate::wire::sealed::Body;
use crate::wire::sync::Page;

pub(in crate::protocol) const NETWORK: NetworkId = NetworkId([7; 32]);

/// Entries in memory.
#[derive(Clone, Debug, Default)]
pub(in crate::protocol) struct Shelf {
    pub(in crate::protocol) entries: BTreeMap<(LogId, Seq), StoredEntry>,
    pub(in crate::protocol) forks: Vec<StoredEntry>,
    /// Who holds how much of a log.
    pub(in crate::protocol) held: BTreeMap<LogId, Vec<(PeerId, Seq)>>,
    pub(in crate::protocol) settings: BTreeMap<String, Bytes>,
}

impl Shelf {
    pub(in crate::protocol) fn put(&mut self, entries: &[StoredEntry]) {
        for entry in entries {
            self.entries.insert((entry.log, entry.seq), entry.clone());
        }
    }
}

impl Reads for Shelf {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.settings.get(key).cloned()
    }
    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let meant = self.settings.iter().filter(|(key, _)| key.starts_with(prefix));
        meant.map(|(key, value)| (key.clone(), value.clone())).collect()
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
    fn newest(&self, _: RoomId, count: usize) -> Vec<StoredEntry> {
        let mut all: Vec<StoredEntry> = self.entries.values().cloned().collect();
        all.sort_by_key(|it| (it.lamport, it.log.author, it.log.incarnation, it.seq));
        let first = all.len().saturating_sub(count);
        all.split_off(first)
    }
    fn held(&self, log: LogId) -> Vec<(PeerId, Seq)> {
        self.held.get(&log).cloned().unwrap_or_default()
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
    keyring: Keyring,
}

/// All writers hold the one key of their room.
fn keyring() -> (KeyId, Keyring) {
    let mut keyring = Keyring::new(RoomId::MAIN);
    let (key, _) = keyring.add(RoomSecret::new([6; 32])).unwrap();
    (key, keyring)
}

pub(in crate::protocol) fn writer(number: u8) -> Writer {
    let me = PeerId::of_rsa_spki(&[number]);
    writer_of(NETWORK, me, Incarnation(1), number)
}

/// Somebody's log of this life, signed by this device.
pub(in crate::protocol) fn writer_of(
    network: NetworkId,
    author: PeerId,
    life: Incarnation,
    device: u8,
) -> Writer {
    let shelf = Shelf::default();
    let salt = SessionSalt([device; 16]);
    let room = Room::load(RoomId::MAIN, network, author, life, salt, &shelf);
    let keyring = keyring().1;
    Writer { room, device: testkeys::device(device), shelf, keyring }
}

impl Writer {
    pub(in crate::protocol) fn post(&mut self, texts: &[&str]) -> Vec<StoredEntry> {
        self.post_for(texts, None)
    }

    fn post_for(&mut self, texts: &[&str], life: Option<Millis>) -> Vec<StoredEntry> {
        let now = Now { mono: Mono(1), wall: Wall(1) };
        let draft = |text: &&str| Draft { life, ..Draft::from((*text).to_owned()) };
        let texts = texts.iter().map(draft).collect();
        let key = (keyring().0, &mut self.keyring);
        let entries = self.room.post(texts, key, now, &self.device).unwrap().entries;
        self.shelf.put(&entries);
        entries
    }

    fn page(&self, from: u64) -> Page {
        let entries = self.shelf.entries(self.room.own(), Seq(from), 512);
        crate::protocol::sync::page(self.room.own(), entries).unwrap()
    }

    fn take(&mut self, page: &Page, from: &Self) -> Result<Accepted, Broken> {
        self.take_at(page, from, Lack::of(Wall(1)))
    }

    fn take_at(&mut self, page: &Page, from: &Self, lack: Lack) -> Result<Accepted, Broken> {
        let key = from.device.device();
        let taken = self.room.accept(page, &key, lack, (&self.shelf, &self.device));
        match &taken {
            Ok(Accepted::New(entries)) => {
                let entries: Vec<_> = entries.iter().map(|(entry, _)| entry.clone()).collect();
                self.shelf.put(&entries);
            }
            Ok(Accepted::Fork { entries, .. }) => self.shelf.forks.clone_from(entries),
            _ => {}
        }
        taken
    }

    fn load(&mut self) {
        let own = self.room.own();
        let salt = SessionSalt([8; 16]);
        let room = Room::load(own.room, NETWORK, own.author, own.incarnation, salt, &self.shelf);
        self.room = room;
    }
}

fn texts(taken: Result<Accepted, Broken>) -> Vec<String> {
    match taken {
        Ok(Accepted::New(entries)) => {
            let mut keyring = keyring().1;
            let mut text = |sealed| match keyring.open(&sealed) {
                Opened::Plain(says) => says.text,
                other => panic!("{other:?}"),
            };
            entries.into_iter().map(|(_, sealed)| text(sealed)).collect()
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
    let Ok(Accepted::Fork { at: Seq(1), is_new: true, entries }) = bob.take(&copy.page(1), &copy)
    else {
        panic!("no fork seen");
    };
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.signature.is_some()));
    assert_eq!(bob.take(&copy.page(1), &copy), Ok(Accepted::Known));
    assert_eq!(bob.take(&alice.page(1), &alice), Ok(Accepted::Known));
    alice.post(&["too late"]);
    assert_eq!(bob.take(&alice.page(1), &alice), Ok(Accepted::Known));
    assert_eq!(bob.room.head(&alice.room.own()).forked_at, Some(Seq(1)));
}

/// Copies of one home that wrote differently after so many common messages, each in one batch.
fn copies(common: usize, count: usize) -> Vec<Writer> {
    let mut first = writer(1);
    for _ in 0..common {
        first.post(&["common"]);
    }
    let write = |number: usize| {
        let mut copy =
            Writer { room: first.room.clone(), device: testkeys::device(1), ..writer(1) };
        copy.shelf = first.shelf.clone();
        let text = format!("branch {number}");
        copy.post(&[text.as_str(), "more of it", "and more"]);
        copy
    };
    (0..count).map(write).collect()
}

fn shown(writer: &Writer, count: usize) -> Vec<(String, bool)> {
    let newest = writer.room.newest(count, &writer.shelf);
    let mut keyring = keyring().1;
    let mut view = |entry: &StoredEntry, is_fork| {
        let sealed = Sealed::decode(&entry.bytes).unwrap();
        let Opened::Plain(says) = keyring.open(&sealed) else { panic!("{entry:?}") };
        (writer.room.view(entry, says, ("main", String::new())).text, is_fork)
    };
    newest.iter().map(|(entry, is_fork)| view(entry, *is_fork)).collect()
}

#[test]
fn the_lowest_branches_are_kept_and_shown_whichever_came_first() {
    let copies = copies(2, 7);
    let own = copies[0].room.own();
    let mut roots: Vec<Hash> =
        copies.iter().map(|copy| copy.shelf.entries(own, Seq(3), 1)[0].hash).collect();
    roots.sort_unstable();
    roots.truncate(4);
    let mut seen = Vec::new();
    for first in 0..copies.len() {
        let mut bob = writer(2);
        for number in 0..copies.len() {
            let copy = &copies[(first + number) % copies.len()];
            bob.take(&copy.page(1), copy).unwrap();
        }
        assert_eq!(bob.room.kept(&own).unwrap().roots, roots);
        let again = bob.room.told(&own);
        bob.load();
        assert_eq!(bob.room.told(&own), again, "the same after a restart");
        assert!(branches(own, &bob.shelf).iter().all(|it| it.last().unwrap().signature.is_some()));
        assert_eq!(shown(&bob, 3), shown(&bob, 9)[3..]);
        seen.push(shown(&bob, 9));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "one history");
    let flags: Vec<bool> = seen[0].iter().map(|(_, is_fork)| *is_fork).collect();
    assert_eq!(flags, [false, false, true, true, true, true]);
}

#[test]
fn what_is_kept_by_one_makes_others_keep_the_same() {
    let copies = copies(3, 6);
    let own = copies[0].room.own();
    let (mut bob, mut carol, mut dave) = (writer(2), writer(3), writer(4));
    for copy in &copies[..3] {
        bob.take(&copy.page(1), copy).unwrap();
    }
    for copy in &copies[3..] {
        carol.take(&copy.page(1), copy).unwrap();
    }
    dave.take(&copies[5].page(1), &copies[5]).unwrap();
    assert!(carol.room.differs(&bob.room.told(&own), &carol.shelf));
    assert!(dave.room.differs(&bob.room.told(&own), &dave.shelf), "who knows of no fork asks");
    for _ in 0..2 {
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
            let all = [&mut bob, &mut carol, &mut dave];
            let pages: Vec<Page> = branches(own, &all[from].shelf)
                .into_iter()
                .filter_map(|branch| crate::protocol::sync::page(own, branch))
                .collect();
            for page in pages {
                all[to].take(&page, &copies[0]).unwrap();
            }
        }
    }
    let heads = [&bob, &carol, &dave].map(|it| it.room.told(&own));
    assert!(heads.iter().all(|head| *head == heads[0] && head.seq == Seq(4)));
    assert!(!dave.room.differs(&heads[0], &dave.shelf));
}

#[test]
fn a_fork_that_lies_earlier_replaces_the_later_one() {
    let later = copies(3, 2);
    let mut early = writer(1);
    early.post(&["common"]);
    early.post(&["very different", "and on", "and on"]);
    let own = early.room.own();
    let histories = [&later[0], &later[1], &early];
    let mut heads = Vec::new();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut bob = writer(2);
        for number in order {
            bob.take(&histories[number].page(1), histories[number]).unwrap();
        }
        heads.push(bob.room.told(&own));
        assert_eq!(bob.room.kept(&own).unwrap().at, Seq(2));
        assert_eq!(shown(&bob, 9).len(), 3);
    }
    assert!(heads.iter().all(|head| *head == heads[0]));
}

#[test]
fn a_branch_whose_beginning_is_not_seen_is_asked_for_from_further_back() {
    let mut copies = copies(1, 2);
    copies[1].post(&["at last"]);
    let mut bob = writer(2);
    bob.take(&copies[0].page(1), &copies[0]).unwrap();
    let far = bob.take(&copies[1].page(5), &copies[1]);
    assert_eq!(far, Ok(Accepted::Before(Seq(1))));
    assert_eq!(bob.room.kept(&copies[0].room.own()), None);
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

#[test]
fn a_walk_goes_the_way_of_history_however_many_pages_there_are() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    let (mut from_alice, mut from_bob) = (1, 1);
    for round in 0_u64..150 {
        let texts: Vec<String> = (0..=round % 4).map(|n| format!("{round} {n}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (writer, other, from) = match round % 3 {
            0 => (&mut alice, &mut bob, &mut from_alice),
            _ => (&mut bob, &mut alice, &mut from_bob),
        };
        writer.post(&texts);
        // Now and then both speak at the same time.
        if round % 5 == 0 {
            let page = writer.page(*from);
            *from += u64::try_from(page.envelopes.len()).unwrap();
            assert!(matches!(other.take(&page, writer), Ok(Accepted::New(_))));
        }
    }
    let page = alice.page(from_alice);
    assert!(matches!(bob.take(&page, &alice), Ok(Accepted::New(_))));
    let page = bob.page(from_bob);
    assert!(matches!(alice.take(&page, &bob), Ok(Accepted::New(_))));
    let walked: Vec<_> = alice.room.walk(&alice.shelf).collect();
    assert_eq!(walked, alice.room.newest(usize::MAX, &alice.shelf));
    assert!(walked.len() > 300);
    let other: Vec<_> = bob.room.walk(&bob.shelf).map(|(entry, _)| entry.hash).collect();
    assert_eq!(walked.iter().map(|(entry, _)| entry.hash).collect::<Vec<_>>(), other);
}

#[test]
fn a_walk_shows_a_forked_log_as_history_does() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    alice.post(&["one", "two"]);
    let mut copy = Writer {
        room: alice.room.clone(),
        device: testkeys::device(1),
        shelf: alice.shelf.clone(),
        keyring: keyring().1,
    };
    alice.post(&["mine"]);
    copy.post(&["theirs", "more"]);
    bob.post(&["before"]);
    assert!(matches!(bob.take(&alice.page(1), &alice), Ok(Accepted::New(_))));
    bob.post(&["after"]);
    assert!(matches!(bob.take(&copy.page(3), &copy), Ok(Accepted::Fork { .. })));
    let walked: Vec<_> = bob.room.walk(&bob.shelf).collect();
    assert_eq!(walked, bob.room.newest(usize::MAX, &bob.shelf));
    assert_eq!(walked.iter().filter(|(_, is_fork)| *is_fork).count(), 2);
    assert_eq!(walked.len(), 6);
}

/// The same without what its entries say, as somebody passes it on who took it out.
fn emptied(page: &Page) -> Page {
    let bare = |bytes: &Bytes| Sealed::decode(bytes).unwrap().deleted().encode();
    Page { envelopes: page.envelopes.iter().map(bare).collect(), ..page.clone() }
}

#[test]
fn what_has_ended_is_taken_without_what_it_says_and_the_chain_goes_on() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    alice.post_for(&["for a second"], Some(Millis(1_000)));
    alice.post(&["for ever"]);
    let late = Lack::of(Wall(1_001));
    let Ok(Accepted::New(taken)) = bob.take_at(&alice.page(1), &alice, late) else {
        panic!("taken")
    };
    let is_bare: Vec<bool> =
        taken.iter().map(|(_, it)| matches!(it.body, Body::Deleted(_))).collect();
    assert_eq!(is_bare, [true, false]);
    let held = bob.shelf.entries(alice.room.own(), Seq(1), 2);
    assert_eq!(Sealed::decode(&held[0].bytes).unwrap().hash(), held[0].hash);
    assert!(sealed::is_deleted(&held[0].bytes), "nothing of it is stored");
    alice.post(&["and more"]);
    assert_eq!(texts(bob.take_at(&alice.page(1), &alice, late)), ["and more"]);
    // A moment earlier it is whole.
    let mut carol = writer(3);
    let early = Lack::of(Wall(1_000));
    let taken = texts(carol.take_at(&alice.page(1), &alice, early));
    assert_eq!(taken, ["for a second", "for ever", "and more"]);
}

#[test]
fn what_was_taken_out_before_its_end_is_asked_for_elsewhere_first() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    let hour = Millis(3_600_000);
    alice.post_for(&["for an hour"], Some(hour));
    let page = emptied(&alice.page(1));
    let lack = Lack::of(Wall(1));
    assert_eq!(bob.take_at(&page, &alice, lack), Ok(Accepted::Lacking));
    assert_eq!(bob.room.head(&alice.room.own()).seq, Seq(0), "nothing has changed");
    // Clocks differ by some minutes.
    let nearly = Lack::of(Wall(1 + hour.0 - EXPIRY_SKEW.0));
    assert!(matches!(writer(3).take_at(&page, &alice, nearly), Ok(Accepted::New(_))));
    // And by more than that: then nobody has it, and the log must go on.
    let last = Lack { is_last_source: true, ..lack };
    assert!(matches!(bob.take_at(&page, &alice, last), Ok(Accepted::New(_))));
}

#[test]
fn in_a_room_with_a_rule_what_an_author_wrote_a_moment_ago_comes_whole() {
    let (mut alice, mut bob) = (writer(1), writer(2));
    bob.room.may_lack = true;
    alice.post(&["one"]);
    alice.post(&["two"]);
    let page = emptied(&alice.page(1));
    let fresh = Lack { fresh_after: Some(Seq(1)), ..Lack::of(Wall(1)) };
    let refused = Err(Broken(Refusal::EntryBroken));
    assert_eq!(bob.take_at(&page, &alice, fresh), refused, "the second cannot be old");
    let before = Lack { fresh_after: Some(Seq(2)), ..fresh };
    assert!(matches!(bob.take_at(&page, &alice, before), Ok(Accepted::New(_))));
    // Without a rule nothing comes bare, be it old.
    assert_eq!(writer(3).take_at(&page, &alice, Lack::of(Wall(1))), refused);
}
