//! What goes, what stays, and that chains without their ciphertexts are still chains.
//! Owns: [`Author`], a log whose entries have times.
//! Must not know: links, the store.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::identity::Proofs;
use crate::identity::keys::Device;
use crate::identity::testkeys;
use crate::ids::{Incarnation, KeyId, PeerId, SessionSalt};
use crate::protocol::room::keys::schedule::RoomSecret;
use crate::protocol::room::tests::{NETWORK, Shelf};
use crate::protocol::room::{Accepted, Draft, Lack, State};
use crate::refusal::Refusal;
use crate::terms::History;
use crate::time::Now;
use crate::wire::order::Snapshot;
use crate::wire::sync::Page;

const HOUR: u64 = 3_600_000;

struct Author {
    room: Room,
    device: Device,
    shelf: Shelf,
    ring: Keyring,
    key: KeyId,
    /// Of what is posted.
    life: Option<Millis>,
}

fn author(number: u8) -> Author {
    let shelf = Shelf::default();
    let me = PeerId::of_rsa_spki(&[number]);
    let salt = SessionSalt([number; 16]);
    let room = Room::load(RoomId::MAIN, NETWORK, me, Incarnation(1), salt, &shelf);
    let mut ring = Keyring::new(RoomId::MAIN);
    let (key, _) = ring.add(RoomSecret::new([6; 32])).unwrap();
    Author { room, device: testkeys::device(number), shelf, ring, key, life: None }
}

impl Author {
    /// So many messages, a batch, sent at this hour.
    fn post(&mut self, count: usize, hour: u64) {
        let now = Now { mono: Mono(1), wall: Wall(hour * HOUR) };
        for _ in 0..count {
            let key = (self.key, &mut self.ring);
            let draft = Draft { life: self.life, ..Draft::from("x".to_owned()) };
            let posted = self.room.post(vec![draft], key, now, &self.device).unwrap();
            self.shelf.put(&posted.entries);
        }
    }

    /// Steps until nothing is left to do; gives what each of them erased.
    fn erase(&mut self, scan: &mut Scan, rule: Rule) -> Vec<usize> {
        let mut steps = Vec::new();
        for _ in 0..1_000 {
            match scan.step(&self.room, &mut self.ring, rule, &self.shelf) {
                Step::Erased(entries) => {
                    steps.push(entries.len());
                    self.shelf.put(&entries);
                }
                Step::Branches(rows) => self.shelf.forks = rows,
                Step::Looked => {}
                Step::Done => return steps,
            }
        }
        panic!("it never ends");
    }

    fn is_whole(&self) -> Vec<bool> {
        self.shelf.entries.values().map(|it| whole(it).is_some()).collect()
    }

    fn page(&self, from: u64) -> Page {
        let entries = self.shelf.entries(self.room.own(), Seq(from), 100);
        crate::protocol::sync::page(self.room.own(), entries).unwrap()
    }

    fn take(&mut self, page: &Page, from: &Self) -> Result<usize, Refusal> {
        let lack = Lack::of(Wall(0));
        let (key, shelf) = (from.device.device(), &self.shelf);
        let taken = self.room.accept(page, &key, lack, (shelf, &self.device));
        match taken {
            Ok(Accepted::New(entries)) => {
                let entries: Vec<_> = entries.into_iter().map(|(entry, _)| entry).collect();
                self.shelf.put(&entries);
                Ok(entries.len())
            }
            Ok(_) => Ok(0),
            Err(broken) => Err(broken.0),
        }
    }
}

fn aged(hours: u64, now: u64) -> Rule {
    let keep = Keep { age: Some(Millis(hours * HOUR)), bytes: None };
    Rule { keep, now: Wall(now * HOUR) }
}

/// How a room stands in which messages are, or once were, kept for a time.
fn ruled(keep: &[Keep]) -> State {
    let mut state = State::main(History::All);
    let mut snapshot = state.snapshot().clone();
    for keep in keep {
        snapshot.was_kept |= *keep != Keep::default();
        snapshot.charter.keep = *keep;
    }
    state = State::of(RoomId::MAIN, snapshot);
    state
}

#[test]
fn what_is_past_its_time_goes_in_bounded_steps_and_the_chain_still_verifies() {
    let (mut alice, mut bob) = (author(1), author(2));
    alice.post(300, 1);
    alice.post(50, 9);
    let mut scan = Scan::default();
    assert_eq!(alice.erase(&mut scan, aged(5, 3)), Vec::<usize>::new());
    let steps = alice.erase(&mut scan, aged(5, 10));
    assert!(steps.iter().sum::<usize>() == 300 && steps.iter().all(|step| *step <= STEP));
    assert_eq!(alice.is_whole(), [vec![false; 300], vec![true; 50]].concat());
    // Later it goes on from there; a process that begins then comes to the same.
    alice.post(1, 10);
    let mut again = Scan::default();
    assert_eq!(alice.erase(&mut again, aged(5, 13)), Vec::<usize>::new());
    assert_eq!(again.bytes, scan.bytes + size(&alice.shelf.entries.values().last().unwrap().bytes));
    assert_eq!(alice.erase(&mut again, aged(5, 14)), [50]);

    // Who comes late gets an unbroken chain, if the room has or had such a rule.
    let first = alice.page(1);
    assert_eq!(bob.take(&first, &alice), Err(Refusal::EntryBroken));
    bob.room.rule(&ruled(&[aged(5, 0).keep, Keep::default()]));
    let mut next = 1;
    while next <= 351 {
        next += u64::try_from(bob.take(&alice.page(next), &alice).unwrap()).unwrap();
    }
    assert_eq!(bob.room.head(&alice.room.own()), alice.room.head(&alice.room.own()));
    let bare: Vec<StoredEntry> = bob.shelf.entries.values().cloned().collect();
    assert!(bare.iter().zip(alice.shelf.entries.values()).all(|(it, other)| it.hash == other.hash));
}

#[test]
fn beyond_the_rooms_bytes_the_oldest_go_whoever_wrote_them() {
    let (mut alice, mut bob) = (author(1), author(2));
    alice.post(150, 1);
    let first = alice.page(1);
    bob.take(&first, &alice).unwrap();
    bob.take(&alice.page(101), &alice).unwrap();
    bob.post(150, 1);
    let each = size(&bob.shelf.entries.values().last().unwrap().bytes);
    let keep = Keep { age: None, bytes: Some(100 * each + 1) };
    let mut scan = Scan::default();
    bob.erase(&mut scan, Rule { keep, now: Wall(0) });
    assert!(scan.bytes <= 100 * each + 1 && scan.bytes > 99 * each);
    let mut all: Vec<&StoredEntry> = bob.shelf.entries.values().collect();
    all.sort_by_key(|it| it.lamport);
    let whole: Vec<bool> = all.into_iter().map(|it| whole(it).is_some()).collect();
    let kept = whole.iter().filter(|is| **is).count();
    assert_eq!(whole, [vec![false; 300 - kept], vec![true; kept]].concat());
}

#[test]
fn what_was_erased_elsewhere_takes_what_is_before_it_along() {
    let (mut alice, mut bob) = (author(1), author(2));
    alice.post(10, 1);
    bob.take(&alice.page(1), &alice).unwrap();
    alice.post(10, 1);
    alice.post(5, 9);
    alice.erase(&mut Scan::default(), aged(5, 10));
    bob.room.rule(&ruled(&[aged(5, 0).keep]));
    bob.take(&alice.page(11), &alice).unwrap();
    // By bob's own clock nothing is past its time yet.
    assert_eq!(bob.erase(&mut Scan::default(), aged(5, 2)), [10]);
    assert_eq!(bob.is_whole(), [vec![false; 20], vec![true; 5]].concat());
}

#[test]
fn what_had_an_end_of_its_own_takes_nothing_along() {
    let (mut alice, mut bob) = (author(1), author(2));
    alice.post(10, 1);
    alice.life = Some(Millis(HOUR));
    alice.post(1, 1);
    alice.life = None;
    alice.post(4, 1);
    bob.room.rule(&ruled(&[aged(50, 0).keep]));
    let page = alice.page(1);
    let (key, lack) = (alice.device.device(), Lack::of(Wall(2 * HOUR)));
    let taken = bob.room.accept(&page, &key, lack, (&bob.shelf, &bob.device));
    let Ok(Accepted::New(entries)) = taken else { panic!("taken") };
    bob.shelf.put(&entries.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>());
    let mut scan = Scan::default();
    assert_eq!(bob.erase(&mut scan, aged(50, 3)), Vec::<usize>::new());
    assert_eq!(bob.is_whole(), [vec![true; 10], vec![false], vec![true; 4]].concat());
    // One that ends after it was counted is counted no more.
    let (before, entry) = (scan.bytes, bob.shelf.entries.values().next().unwrap().clone());
    scan.on_ended(&entry);
    assert_eq!(scan.bytes, before - size(&entry.bytes));
}

#[test]
fn a_time_that_lies_ahead_saves_nothing_once_a_later_message_goes() {
    let mut alice = author(1);
    alice.post(3, 1);
    alice.post(1, 1_000_000);
    alice.post(1, 2);
    alice.post(1, 9);
    let mut scan = Scan::default();
    alice.erase(&mut scan, aged(5, 6));
    assert_eq!(alice.is_whole(), [false, false, false, true, true, true]);
    alice.erase(&mut scan, aged(5, 7));
    assert_eq!(alice.is_whole(), [false, false, false, false, false, true]);
}

#[test]
fn a_rule_once_set_is_remembered_after_a_restart() {
    assert!(!State::main(History::All).may_lack());
    let state = ruled(&[aged(5, 0).keep, Keep::default()]);
    let stored = Snapshot::decode(&state.snapshot().encode()).unwrap();
    assert!(State::of(RoomId::MAIN, stored).may_lack());
}

#[test]
fn what_is_gone_opens_no_more_though_somebody_kept_a_copy_of_it() {
    let mut alice = author(1);
    alice.post(100, 1);
    alice.post(100, 9);
    let before: Vec<Sealed> =
        alice.shelf.entries.values().map(|entry| Sealed::decode(&entry.bytes).unwrap()).collect();
    // Another epoch, in force now.
    let (now, _) = alice.ring.add(RoomSecret::new([7; 32])).unwrap();
    let old = std::mem::replace(&mut alice.key, now);
    alice.post(1, 10);
    let mut scan = Scan::default();
    assert!(scan.needed(&alice.room, &alice.shelf).is_none());
    alice.erase(&mut scan, aged(5, 10));
    let Some((keys, needed)) = scan.needed(&alice.room, &alice.shelf) else { panic!("needed") };
    assert_eq!(keys, BTreeSet::from([old]));
    let salt = SessionSalt([1; 16]);
    assert_eq!(needed, Sessions::from([((old, alice.room.own(), salt), Seq(101))]));
    let changes = alice.ring.narrow(&old, &[(alice.room.own(), salt, Seq(101))]);
    let is_open = |ring: &mut Keyring, it: &Sealed| matches!(ring.open(it), Opened::Plain(_));
    let open: Vec<bool> = before.iter().map(|it| is_open(&mut alice.ring, it)).collect();
    // Keys come in chunks of 64: what shares one with the first that is kept opens still.
    assert_eq!(open, [vec![false; 64], vec![true; 136]].concat());
    // As it is stored, too.
    let rows: Vec<_> = changes.into_iter().filter_map(|(name, row)| Some((name, row?))).collect();
    let mut loaded = Keyring::load(RoomId::MAIN, &rows).unwrap();
    assert!(before.iter().zip(open).all(|(it, open)| is_open(&mut loaded, it) == open));
    assert!(scan.needed(&alice.room, &alice.shelf).is_none(), "once");
    assert!(alice.ring.narrow(&old, &[(alice.room.own(), salt, Seq(101))]).is_empty());
    // Later all of it goes, and then the key as a whole.
    alice.erase(&mut scan, aged(5, 14));
    let Some((keys, needed)) = scan.needed(&alice.room, &alice.shelf) else { panic!("needed") };
    assert_eq!((keys, needed), (BTreeSet::from([old]), Sessions::new()));
    alice.ring.narrow(&old, &[]);
    assert!(!before.iter().any(|it| is_open(&mut alice.ring, it)));
}

#[test]
fn a_new_process_finds_what_keys_are_needed_for() {
    let mut alice = author(1);
    alice.post(70, 1);
    alice.post(70, 9);
    alice.erase(&mut Scan::default(), aged(5, 10));
    let mut again = Scan::default();
    alice.erase(&mut again, aged(5, 10));
    let (keys, needed) = again.needed(&alice.room, &alice.shelf).unwrap();
    assert_eq!(keys, BTreeSet::from([alice.key]));
    let places: Vec<Seq> = needed.into_values().collect();
    assert_eq!(places, [Seq(71)]);
}
