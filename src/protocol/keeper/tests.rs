//! The rules of a keeper, one a test.
//! Owns: a disk with deposits and nothing else.
//! Must not know: the store.
//! Invariants: none.
//! Start reading at: the first test.

use bytes::Bytes;

use super::*;
use crate::identity::keys::Device;
use crate::identity::testkeys as stored;
use crate::ids::{Hash, Index, IntentId, LogId, RoomId, Seq};
use crate::protocol::{CertificateRow, StoredEntry, StoredHead};
use crate::time::Millis;
use crate::wire::keep::DEPOSIT_EXTRA_BYTES;
use crate::wire::roster::{Wish, intent, intent_body};

/// What the smallest deposit counts.
const SMALL: u64 = 1_024 + 28 + DEPOSIT_ROW_BYTES;

#[derive(Clone, Default)]
struct Disk {
    rows: BTreeMap<u64, StoredDeposit>,
    last: u64,
}

impl Disk {
    fn apply(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Deposit(row) => {
                    assert!(row.number > self.last, "a number is given once");
                    self.last = row.number;
                    self.rows.insert(row.number, row);
                }
                Write::Withdraw(numbers) => {
                    for number in numbers {
                        assert!(self.rows.remove(&number).is_some(), "{number} goes once");
                    }
                }
                other => panic!("a keeper writes nothing else: {other:?}"),
            }
        }
    }

    fn bytes(&self) -> u64 {
        let bytes = |row: &StoredDeposit| u64::try_from(row.sealed.len()).unwrap();
        self.rows.values().map(|row| bytes(row) + DEPOSIT_ROW_BYTES).sum()
    }

    fn count_of(&self, by: PeerId) -> usize {
        self.rows.values().filter(|row| row.by == by).count()
    }
}

impl Reads for Disk {
    fn setting(&self, _: &str) -> Option<Bytes> {
        None
    }
    fn settings(&self, _: &str) -> Vec<(String, Bytes)> {
        Vec::new()
    }
    fn control(&self, _: &str, _: Index, _: usize) -> Vec<Bytes> {
        Vec::new()
    }
    fn control_spaces(&self) -> Vec<String> {
        Vec::new()
    }
    fn heads(&self, _: RoomId) -> Vec<StoredHead> {
        Vec::new()
    }
    fn entries(&self, _: LogId, _: Seq, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn newest(&self, _: RoomId, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn held(&self, _: LogId) -> Vec<(PeerId, Seq)> {
        Vec::new()
    }
    fn forks(&self, _: LogId) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        Vec::new()
    }
    fn depositors(&self) -> Vec<(PeerId, u64, u64)> {
        let mut all: BTreeMap<PeerId, (u64, u64)> = BTreeMap::new();
        for row in self.rows.values() {
            let (count, bytes) = all.entry(row.by).or_default();
            *count += 1;
            *bytes += u64::try_from(row.sealed.len()).unwrap();
        }
        all.into_iter().map(|(peer, (count, bytes))| (peer, count, bytes)).collect()
    }
    fn last_deposit(&self) -> u64 {
        self.last
    }
    fn oldest_deposits(&self, by: Option<PeerId>, count: usize) -> Vec<DepositRow> {
        let meant = self.rows.values().filter(|row| by.is_none_or(|by| by == row.by));
        let row = |row: &StoredDeposit| DepositRow {
            number: row.number,
            by: row.by,
            at: row.at,
            bytes: u64::try_from(row.sealed.len()).unwrap(),
        };
        meant.map(row).take(count).collect()
    }
    fn deposited_at(&self, hash: Hash) -> Option<Wall> {
        self.rows.values().find(|row| row.hash == hash).map(|row| row.at)
    }
    fn deposits(&self, shelf: ShelfId, after: u64, count: usize) -> Vec<(u64, Bytes)> {
        let meant = self.rows.range(after + 1..).filter(|(_, row)| row.shelf == shelf);
        meant.map(|(number, row)| (*number, row.sealed.clone())).take(count).collect()
    }
}

/// Carol, who keeps for alice, bob and dave.
struct World {
    keeper: Keeper,
    disk: Disk,
    roster: Roster,
    now: Wall,
    next: u8,
}

fn peer(name: &str) -> PeerId {
    stored::member(name).peer()
}

fn device(name: &str) -> Device {
    let place = stored::MEMBERS.iter().position(|it| *it == name).unwrap();
    stored::device(u8::try_from(place + 1).unwrap())
}

fn shelf(number: u8) -> ShelfId {
    ShelfId([number; 32])
}

impl World {
    fn new(quota: u64) -> Self {
        let key = stored::authority_key();
        let authority = stored::authority(&key);
        let credential = stored::credential(&key, "alice", 1, &device("alice"));
        let alice = stored::device(8).credential(&authority, &credential).unwrap();
        let rule = KeeperRule { quota, age: Millis(1_000_000) };
        let disk = Disk::default();
        let mut world = Self {
            keeper: Keeper::load(rule, &disk),
            disk,
            roster: Roster::founded(authority, &alice),
            now: stored::NOW,
            next: 1,
        };
        for (serial, name) in [(2, "bob"), (3, "carol"), (4, "dave")] {
            let credential = stored::credential(&key, name, serial, &device(name));
            world.order(name, &Wish::Admit { credential });
        }
        world
    }

    fn order(&mut self, author: &str, wish: &Wish) {
        let key = stored::authority_key();
        self.next += 1;
        let body = intent_body(key.network(), IntentId([self.next; 16]), wish);
        let signature = device(author).sign(Domain::Intent, &body);
        let bytes = intent(peer(author), &body, &signature);
        let index = self.roster.applied().next();
        self.roster.apply(index, stored::NOW, Some(&bytes), &stored::device(8)).unwrap();
    }

    fn remove(&mut self, name: &str) {
        self.order("alice", &Wish::Remove { peer: peer(name), reason: String::new() });
    }

    fn of(&self, name: &str, on: u8, number: u64, size: usize) -> Deposit {
        let mut sealed = vec![0; size + DEPOSIT_EXTRA_BYTES];
        sealed[..8].copy_from_slice(&number.to_be_bytes());
        let mut deposit = Deposit {
            shelf: shelf(on),
            sealed: sealed.into(),
            signature: crate::ids::Signature([0; 64]),
        };
        let network = stored::authority_key().network();
        let body = deposit_body(network, &peer("carol"), &deposit.hash());
        deposit.signature = device(name).sign(Domain::Deposit, &body);
        deposit
    }

    /// With what a keeper does hang together: written before anything else is asked.
    fn with<T>(&mut self, act: impl FnOnce(&mut Keeper, &Scene<'_>) -> T) -> T {
        let disk = self.disk.clone();
        let proofs = stored::device(8);
        let place = (stored::authority_key().network(), peer("carol"));
        let scene =
            Scene { place, roster: &self.roster, proofs: &proofs, reads: &disk, now: self.now };
        act(&mut self.keeper, &scene)
    }

    fn take(&mut self, from: &str, deposit: Deposit) -> Result<Vec<(PeerId, Keep)>, Refusal> {
        let outcome = self.with(|keeper, scene| keeper.take(peer(from), deposit, scene))?;
        self.disk.apply(outcome.writes);
        self.check();
        Ok(outcome.says)
    }

    /// Leaves a new small deposit; whether it is kept.
    fn leave(&mut self, name: &str, on: u8, number: u64) -> bool {
        let deposit = self.of(name, on, number, 1_024);
        let says = self.take(name, deposit).unwrap();
        matches!(says.as_slice(), [(to, Keep::Deposited { is_kept: true, .. }), ..] if *to == peer(name))
    }

    fn tidy(&mut self) -> Option<Wall> {
        for _ in 0..100 {
            let (write, next) = self.with(Keeper::tidy);
            self.disk.apply(write.into_iter().collect());
            self.check();
            if next.is_none_or(|next| next > self.now) {
                return next;
            }
        }
        panic!("it comes to no end");
    }

    fn collect(&mut self, name: &str, asked: &[(ShelfId, u64)]) -> Vec<Shelved> {
        match self.with(|keeper, scene| keeper.collect(peer(name), asked, scene)) {
            Keep::Collected { shelves, is_answer: true } => shelves,
            other => panic!("{other:?}"),
        }
    }

    /// The books are those of a keeper that was loaded this moment.
    fn check(&self) {
        let loaded = Keeper::load(self.keeper.rule, &self.disk);
        assert_eq!((loaded.last, &loaded.shares), (self.keeper.last, &self.keeper.shares));
        assert_eq!(self.keeper.view().bytes, self.disk.bytes());
    }
}

#[test]
fn a_member_leaves_something_and_whoever_knows_the_shelf_collects_it() {
    let mut world = World::new(1 << 20);
    let (one, two) = (world.of("alice", 1, 1, 1_024), world.of("alice", 1, 2, 4_096));
    let until = world.now.after(Millis(1_000_000));
    for deposit in [&one, &two] {
        let hash = deposit.hash();
        let says = world.take("alice", deposit.clone()).unwrap();
        assert_eq!(says, [(peer("alice"), Keep::Deposited { hash, is_kept: true, until })]);
    }
    let sealed = vec![one.sealed, two.sealed.clone()];
    let both = Shelved { shelf: shelf(1), sealed, upto: 2, has_more: false };
    assert_eq!(world.collect("bob", &[(shelf(1), 0), (shelf(2), 0)]), [both]);
    let second = Shelved { shelf: shelf(1), sealed: vec![two.sealed], upto: 2, has_more: false };
    assert_eq!(world.collect("bob", &[(shelf(1), 1)]), [second]);
    assert_eq!(world.collect("bob", &[(shelf(1), 2)]), []);
    assert_eq!(world.keeper.view().deposits, 2);
}

#[test]
fn the_same_again_is_said_to_be_kept_and_kept_once() {
    let mut world = World::new(1 << 20);
    let deposit = world.of("alice", 1, 1, 1_024);
    let first = world.take("alice", deposit.clone()).unwrap();
    world.now = world.now.after(Millis(500));
    assert_eq!(world.take("alice", deposit.clone()).unwrap(), first, "until when, too");
    // Under another's name it is that one's word, and the same thing.
    let again = Deposit { signature: world.of("bob", 1, 1, 1_024).signature, ..deposit };
    assert_eq!(again.hash(), world.of("bob", 1, 1, 1_024).hash());
    let says = world.take("bob", again).unwrap();
    assert!(matches!(says.as_slice(), [(_, Keep::Deposited { is_kept: true, .. })]));
    assert_eq!(world.disk.rows.len(), 1);
}

#[test]
fn a_forged_deposit_and_one_of_who_does_not_belong_are_refused() {
    let mut world = World::new(1 << 20);
    let forged = Deposit { shelf: shelf(2), ..world.of("alice", 1, 1, 1_024) };
    assert_eq!(world.take("alice", forged), Err(Refusal::SignatureBad));
    let others = world.of("bob", 1, 1, 1_024);
    assert_eq!(world.take("alice", others), Err(Refusal::SignatureBad));
    // Signed for another keeper.
    let mut elsewhere = world.of("alice", 1, 1, 1_024);
    let network = stored::authority_key().network();
    let body = deposit_body(network, &peer("dave"), &elsewhere.hash());
    elsewhere.signature = device("alice").sign(Domain::Deposit, &body);
    assert_eq!(world.take("alice", elsewhere), Err(Refusal::SignatureBad));
    let unknown = world.of("erin", 1, 1, 1_024);
    assert_eq!(world.take("erin", unknown), Err(Refusal::NotAMember));
    world.remove("bob");
    let removed = world.of("bob", 1, 1, 1_024);
    assert_eq!(world.take("bob", removed), Err(Refusal::Removed));
    assert_eq!((world.disk.rows.len(), world.keeper.view().bytes), (0, 0));
}

#[test]
fn what_a_removed_member_left_goes() {
    let mut world = World::new(1 << 20);
    for number in 0..5 {
        assert!(world.leave("alice", 1, number) && world.leave("bob", 2, number));
    }
    world.tidy();
    world.remove("bob");
    world.tidy();
    assert_eq!((world.disk.count_of(peer("bob")), world.disk.count_of(peer("alice"))), (0, 5));
    assert_eq!(world.collect("dave", &[(shelf(2), 0)]), []);
}

#[test]
fn no_depositor_has_more_than_its_share_and_its_own_oldest_goes() {
    let quota = SMALL * 4 * 10;
    let mut world = World::new(quota);
    assert!(world.leave("bob", 2, 1_000));
    for number in 0..25 {
        assert!(world.leave("alice", 1, number));
        assert!(world.disk.count_of(peer("alice")) <= 10);
    }
    let kept: Vec<u64> = world.disk.rows.keys().copied().collect();
    assert_eq!(kept, [vec![1], (17..=26).collect()].concat(), "bob's stays, and alice's newest");
    // What is larger than a share is never kept, and nothing goes for it.
    let large = world.of("alice", 1, 99, 16 << 10);
    let says = world.take("alice", large).unwrap();
    assert!(matches!(says.as_slice(), [(_, Keep::Deposited { is_kept: false, .. })]), "{says:?}");
    assert_eq!(world.disk.rows.len(), 11);
}

#[test]
fn all_together_never_have_more_than_the_quota_and_the_oldest_goes() {
    let quota = SMALL * 4 * 2 + SMALL / 2;
    let mut world = World::new(quota);
    let names = ["alice", "bob", "dave", "carol"];
    for number in 0..40_u64 {
        let name = names[usize::try_from(number).unwrap() % 4];
        assert!(world.leave(name, 1, number));
        assert!(world.disk.bytes() <= quota, "{} of {quota}", world.disk.bytes());
    }
    let kept: Vec<u64> = world.disk.rows.keys().copied().collect();
    assert_eq!(kept, (33..=40).collect::<Vec<_>>());
    // A larger one takes the place of several, whoever left them, within its depositor's share.
    let mut world = World::new((4_096 + 28 + DEPOSIT_ROW_BYTES) * 4);
    for (number, name) in (0..9).zip(names.iter().cycle()) {
        assert!(world.leave(name, 1, number));
    }
    let larger = world.of("alice", 1, 99, 4_096);
    world.take("alice", larger).unwrap();
    assert_eq!(world.disk.count_of(peer("alice")), 1);
    assert!(world.disk.bytes() <= world.keeper.rule.quota);
}

#[test]
fn what_is_too_old_goes_and_a_restart_gives_no_number_twice() {
    let mut world = World::new(1 << 20);
    for number in 0..3 {
        assert!(world.leave("alice", 1, number));
        world.now = world.now.after(Millis(1_000));
    }
    let first_ends = stored::NOW.after(Millis(1_000_000));
    assert_eq!(world.tidy(), Some(first_ends));
    world.now = first_ends.after(Millis(1_000));
    assert_eq!(world.tidy(), Some(first_ends.after(Millis(2_000))));
    assert_eq!(world.disk.rows.keys().copied().collect::<Vec<_>>(), [3]);
    world.now = world.now.after(Millis(1_000_000));
    assert_eq!(world.tidy(), None);
    assert_eq!(world.keeper.view(), KeepView { deposits: 0, bytes: 0, quota: 1 << 20 });
    world.keeper = Keeper::load(world.keeper.rule, &world.disk);
    assert!(world.leave("alice", 1, 9));
    assert_eq!(world.disk.rows.keys().copied().collect::<Vec<_>>(), [4]);
}

#[test]
fn a_smaller_quota_takes_effect_at_the_next_start() {
    let mut world = World::new(SMALL * 4_000);
    for number in 0..900 {
        assert!(world.leave("alice", 1, number));
    }
    for number in 900..1_500 {
        assert!(world.leave("bob", 1, number));
    }
    let quota = SMALL * 40;
    world.keeper = Keeper::load(KeeperRule { quota, age: Millis(1_000_000) }, &world.disk);
    world.tidy();
    assert_eq!((world.disk.count_of(peer("alice")), world.disk.count_of(peer("bob"))), (10, 10));
    let quota = SMALL * 15;
    world.keeper = Keeper::load(KeeperRule { quota, age: Millis(1_000_000) }, &world.disk);
    world.tidy();
    assert!(world.disk.bytes() <= quota && world.disk.count_of(peer("bob")) == 3);
}

#[test]
fn much_is_collected_in_parts_and_nothing_is_left_out() {
    let mut world = World::new(64 << 20);
    for number in 0..10 {
        let deposit = world.of("alice", 1, number, 256 << 10);
        world.take("alice", deposit).unwrap();
    }
    for number in 10..13 {
        assert!(world.leave("bob", 2, number));
    }
    let mut asked = vec![(shelf(1), 0), (shelf(2), 0), (shelf(3), 0)];
    let (mut rounds, mut seen) = (0, BTreeMap::new());
    while !asked.is_empty() {
        let shelves = world.collect("dave", &asked);
        let bytes: usize = shelves.iter().flat_map(|it| &it.sealed).map(Bytes::len).sum();
        assert!(bytes <= COLLECTED_BYTES_MAX);
        // Nothing of a later shelf before all of an earlier one.
        let first_open = shelves.iter().position(|it| it.has_more).unwrap_or(shelves.len());
        assert!(shelves.iter().skip(first_open + 1).all(|it| it.sealed.is_empty()));
        asked.clear();
        for it in shelves {
            *seen.entry(it.shelf).or_insert(0) += it.sealed.len();
            if it.has_more {
                asked.push((it.shelf, it.upto));
            }
        }
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(seen, BTreeMap::from([(shelf(1), 10), (shelf(2), 3), (shelf(3), 0)]));
}

#[test]
fn who_has_collected_all_is_told_of_more_and_who_has_not_is_not() {
    let mut world = World::new(64 << 20);
    for number in 0..4 {
        let deposit = world.of("alice", 1, number, 256 << 10);
        world.take("alice", deposit).unwrap();
    }
    let first = world.collect("bob", &[(shelf(1), 0)]);
    assert!(first[0].has_more);
    let of = |says: &[(PeerId, Keep)]| {
        says.iter().filter(|(_, it)| matches!(it, Keep::Collected { .. })).count()
    };
    let next = world.of("alice", 1, 10, 1_024);
    assert_eq!(of(&world.take("alice", next).unwrap()), 0, "it comes in its turn");
    let rest = world.collect("bob", &[(shelf(1), first[0].upto)]);
    assert!(!rest[0].has_more && rest[0].upto == 5);
    assert_eq!(world.collect("alice", &[(shelf(1), 5)]), []);
    let next = world.of("alice", 1, 11, 1_024);
    let says = world.take("alice", next.clone()).unwrap();
    let shelved = Shelved { shelf: shelf(1), sealed: vec![next.sealed], upto: 6, has_more: false };
    let news = Keep::Collected { shelves: vec![shelved], is_answer: false };
    assert_eq!(says[1..], [(peer("bob"), news)], "alice has it herself");
    let elsewhere = world.of("alice", 2, 12, 1_024);
    assert_eq!(of(&world.take("alice", elsewhere).unwrap()), 0);
    world.keeper.on_unlink(&peer("bob"));
    let next = world.of("alice", 1, 13, 1_024);
    assert_eq!(of(&world.take("alice", next).unwrap()), 0);
}

#[test]
fn a_large_deposit_waits_for_no_turn_where_small_ones_lie() {
    // The most that one deposit may have go at once.
    let mut world = World::new(4 * (SMALL * 600));
    for number in 0..600 {
        assert!(world.leave("alice", 1, number));
    }
    let large = world.of("alice", 1, 9_999, 512 << 10);
    let says = world.take("alice", large).unwrap();
    assert!(matches!(says.as_slice(), [(_, Keep::Deposited { is_kept: true, .. })]));
}
