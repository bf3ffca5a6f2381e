//! The order of arrival and of display, against a plain list that does the same.
//! Owns: the list.
//! Must not know: how often the tables are told.
//! Invariants: none of its own.
//! Start reading at: [`Plain`].

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::ids::{DeviceKey, Hash, Incarnation, LogId, PeerId, RoomId, Seq};
use crate::protocol::{Reads, Shown, StoredEntry, Write};
use crate::store::{Home, Store, Sync};

fn log(n: u8) -> LogId {
    let room = if n.is_multiple_of(3) { RoomId([7; 16]) } else { RoomId::MAIN };
    LogId { room, author: PeerId::of_ed25519(&DeviceKey([n; 32])), incarnation: Incarnation(1) }
}

fn entry(log: LogId, seq: u64) -> StoredEntry {
    let place = [log.author.as_bytes(), &seq.to_be_bytes()];
    StoredEntry {
        log,
        seq: Seq(seq),
        hash: Hash::of("test", &place),
        // Several of one Lamport time.
        lamport: seq / 3,
        signature: None,
        bytes: Bytes::from(vec![1; 20]),
    }
}

/// What the store must say.
#[derive(Clone, Default)]
struct Plain {
    last: u64,
    numbers: BTreeMap<(LogId, Seq), u64>,
}

impl Plain {
    fn add(&mut self, log: LogId, seq: u64) {
        if !self.numbers.contains_key(&(log, Seq(seq))) {
            self.last += 1;
            self.numbers.insert((log, Seq(seq)), self.last);
        }
    }

    fn open(&mut self, log: LogId, seq: u64) {
        if let Some(number) = self.numbers.get_mut(&(log, Seq(seq))) {
            self.last += 1;
            *number = self.last;
        }
    }

    fn shown(&self, room: RoomId) -> Vec<Shown> {
        let of_room = self.numbers.keys().filter(|(log, _)| log.room == room);
        let shown = of_room.map(|(log, seq)| Shown {
            lamport: entry(*log, seq.0).lamport,
            log: *log,
            seq: *seq,
        });
        let mut shown: Vec<Shown> = shown.collect();
        shown.sort();
        shown
    }

    fn agrees(&self, store: &Store) {
        let mut arrived: Vec<_> = self.numbers.iter().map(|(at, number)| (*number, *at)).collect();
        arrived.sort();
        let told = store.arrived(0, usize::MAX);
        let told: Vec<_> = told.iter().map(|(number, it)| (*number, (it.log, it.seq))).collect();
        assert_eq!(told, arrived);
        assert_eq!(store.last_arrival(), self.last);
        let half = self.last / 2;
        let later = arrived.iter().filter(|(number, _)| *number > half).take(5).map(|it| it.0);
        let told = store.arrived(half, 5);
        assert_eq!(told.iter().map(|it| it.0).collect::<Vec<_>>(), later.collect::<Vec<_>>());
        let place = |it: &StoredEntry| Shown { lamport: it.lamport, log: it.log, seq: it.seq };
        for room in [RoomId::MAIN, log(0).room] {
            let shown = self.shown(room);
            for count in [1, 2, 7, 2_000] {
                let newest: Vec<Shown> = store.newest(room, count).iter().map(place).collect();
                assert_eq!(newest, shown[shown.len().saturating_sub(count)..]);
                for at in [0, shown.len() / 2, shown.len().saturating_sub(1)] {
                    let Some(than) = shown.get(at) else { continue };
                    let older = store.older(room, *than, count);
                    let older: Vec<Shown> = older.iter().map(place).collect();
                    assert_eq!(older, shown[at.saturating_sub(count)..at]);
                }
            }
        }
        for n in 0..6 {
            let seqs: Vec<Seq> =
                self.numbers.keys().filter(|(it, _)| *it == log(n)).map(|(_, seq)| *seq).collect();
            let whole = store.entries(log(n), Seq(0), usize::MAX);
            assert_eq!(whole.iter().map(|it| it.seq).collect::<Vec<_>>(), seqs);
            let some = store.entries(log(n), Seq(9), 4);
            let expected: Vec<Seq> = seqs.iter().filter(|it| it.0 >= 9).take(4).copied().collect();
            assert_eq!(some.iter().map(|it| it.seq).collect::<Vec<_>>(), expected);
            let heads = store.heads(log(n).room);
            let head = heads.iter().find(|it| it.log == log(n)).map_or(0, |it| it.seq.0);
            let run = seqs.iter().zip(1..).take_while(|(seq, at)| seq.0 == *at).count();
            assert_eq!(head, u64::try_from(run).unwrap());
        }
        assert!(store.is_sound().is_ok());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, u64, u64),
    Open(u8, u64),
    Commit,
    Drop,
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8, 1..1_500_u64, 1..400_u64).prop_map(|(n, at, len)| Step::Add(n, at, len)),
        3 => (0..6_u8, 1..60_u64, 1..200_u64).prop_map(|(n, at, len)| Step::Add(n, at, len)),
        2 => (0..6_u8, 1..1_500_u64).prop_map(|(n, at)| Step::Open(n, at)),
        4 => Just(Step::Commit),
        1 => Just(Step::Drop),
        1 => Just(Step::Again),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, is undone, or opened late, and however often the process
    /// starts: arrivals, display and logs are those of a plain list.
    #[test]
    fn arrivals_and_display_are_those_of_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let open = || Store::open(&Home::open(directory.path()).unwrap()).unwrap();
        let mut store = open();
        let (mut safe, mut plain) = (Plain::default(), Plain::default());
        for step in steps {
            match step {
                Step::Add(n, at, len) => {
                    let entries = (at..at + len).map(|seq| Write::Received(entry(log(n), seq)));
                    store.apply(entries.collect()).unwrap();
                    (at..at + len).for_each(|seq| plain.add(log(n), seq));
                }
                Step::Open(n, at) => {
                    store.apply(vec![Write::Opened { log: log(n), seq: Seq(at) }]).unwrap();
                    plain.open(log(n), at);
                }
                Step::Commit => {
                    store.commit(Sync::Normal).unwrap();
                    safe = plain.clone();
                }
                Step::Drop => {
                    store.rollback();
                    plain = safe.clone();
                }
                Step::Again => {
                    drop(store);
                    store = open();
                    plain = safe.clone();
                }
            }
        }
        plain.agrees(&store);
        store.commit(Sync::Normal).unwrap();
        plain.agrees(&store);
        drop(store);
        plain.agrees(&open());
    }
}
