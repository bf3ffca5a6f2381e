//! The store, tested from outside and against what disks and people do to it.
//! Owns: nothing; each test has a home of its own.
//! Must not know: the order in which tests run.
//! Invariants: those of `store`, each with the test that would fail without it.
//! Start reading at: [`everything`], which most tests compare.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::ids::{
    DeviceKey, Hash, Incarnation, Index, LogId, MessageId, PeerId, RoomId, Seq, Signature,
};
use crate::protocol::{CertificateRow, CertificateState, Reads, StoredEntry};
use crate::time::Wall;

fn opened(path: &Path) -> Store {
    Store::open(&Home::open(path).unwrap()).unwrap()
}

fn fresh() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = opened(directory.path());
    (directory, store)
}

fn peer(n: u8) -> PeerId {
    PeerId::of_ed25519(&DeviceKey([n; 32]))
}

fn log(n: u8) -> LogId {
    LogId { room: RoomId::MAIN, author: peer(n), incarnation: Incarnation(u64::MAX - u64::from(n)) }
}

fn entry(log: LogId, seq: u64) -> StoredEntry {
    let place = [log.author.as_bytes(), &log.incarnation.0.to_be_bytes(), &seq.to_be_bytes()];
    let hash = Hash::of("test", &place);
    // The most of it as in every entry of the log, as real ones are.
    let head = [log.author.as_bytes(), &[9; 90][..], &seq.to_be_bytes(), hash.as_bytes(), &[7; 60]];
    let text = [seq.to_le_bytes()[0]; 100];
    StoredEntry {
        log,
        seq: Seq(seq),
        hash,
        lamport: seq,
        signature: seq.is_multiple_of(2).then_some(Signature([7; 64])),
        bytes: [&head.concat()[..], &text].concat().into(),
    }
}

fn setting(key: &str, value: &[u8]) -> Write {
    Write::Setting { key: key.to_owned(), value: Some(Bytes::copy_from_slice(value)) }
}

fn control(space: &str, index: u64, byte: u8) -> Write {
    Write::Control {
        space: space.to_owned(),
        index: Index(index),
        bytes: Bytes::from(vec![byte; 40]),
    }
}

fn certificate(serial: u64, state: CertificateState) -> CertificateRow {
    CertificateRow {
        serial,
        name: format!("name {serial}"),
        skeleton: format!("skeleton {serial}"),
        peer: peer(9),
        spki: vec![1; 30],
        state,
        der: vec![2; 50],
        asked_at: Wall(5),
        revoked_at: (state == CertificateState::Revoked).then_some(Wall(6)),
        reason: "because".to_owned(),
    }
}

fn stored(store: &mut Store, writes: Vec<Write>) {
    store.begin();
    store.apply(writes).unwrap();
    store.commit(Sync::Full).unwrap();
}

fn seqs(entries: &[StoredEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

/// A little of everything.
fn sample() -> Vec<Write> {
    let mut writes: Vec<Write> = (1..=60).map(|seq| Write::Entry(entry(log(1), seq))).collect();
    writes.extend((1..=20).map(|seq| Write::Entry(entry(log(2), seq))));
    writes.push(Write::Held { log: log(1), by: peer(2), upto: Seq(9) });
    writes.push(Write::Fork(vec![StoredEntry { hash: Hash([3; 32]), ..entry(log(1), 4) }]));
    writes.push(setting("a/1", b"one"));
    writes.push(setting("a/2", &[8; 9_000]));
    writes.push(setting("b", b""));
    writes.extend((1..=30).map(|index| control("x", index, 5)));
    writes.push(control("y", 1, 6));
    writes.push(Write::Certificate(certificate(1, CertificateState::Waiting)));
    writes.push(Write::Certificate(certificate(2, CertificateState::Valid)));
    writes.push(Write::Certificate(certificate(3, CertificateState::Revoked)));
    writes
}

/// Everything that can be read, so that two stores can be compared.
fn everything(store: &Store) -> String {
    let mut logs: BTreeSet<LogId> = (0..=9).map(log).collect();
    logs.extend(store.heads(RoomId::MAIN).into_iter().map(|head| head.log));
    let by_log: Vec<_> = logs
        .into_iter()
        .map(|log| (store.entries(log, Seq(0), 999), store.held(log), store.forks(log)))
        .collect();
    let spaces: Vec<_> = store
        .control_spaces()
        .into_iter()
        .map(|space| (store.control(&space, Index(1), 999), space))
        .collect();
    format!(
        "{:?}\n{by_log:?}\n{:?}\n{:?}\n{spaces:?}\n{:?}",
        store.heads(RoomId::MAIN),
        store.newest(RoomId::MAIN, 999),
        store.settings(""),
        store.certificates()
    )
}

// --- home and keys

#[test]
fn a_new_home_and_its_files_are_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("home");
    let mut store = opened(&path);
    stored(&mut store, sample());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    let names: BTreeSet<String> = fs::read_dir(&path)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
            file.file_name().into_string().unwrap()
        })
        .collect();
    let expected = ["database.key", "lock", "store.db", "store.db-wal"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
}

#[test]
fn a_second_process_on_one_home_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    let refused = Home::open(directory.path()).unwrap_err();
    assert_eq!(refused.refusal, Refusal::HomeInUse);
    assert!(refused.detail.ends_with(&format!("in use by pid {}", std::process::id())));
    drop(home);
    let home = Home::open(directory.path()).unwrap();
    let store = Store::open(&home).unwrap();
    drop(home);
    let refused = Home::open(directory.path()).unwrap_err();
    assert_eq!(refused.refusal, Refusal::HomeInUse, "an open database keeps its home locked");
    drop(store);
    Home::open(directory.path()).unwrap();
}

#[test]
fn a_lock_file_with_nonsense_in_it_locks_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    fs::write(directory.path().join("lock"), [0xff; 99]).unwrap();
    let refused = Home::open(directory.path()).unwrap_err();
    assert_eq!(refused.refusal, Refusal::HomeInUse);
    assert!(refused.detail.ends_with("in use by another process"));
    drop(home);
}

#[test]
fn a_home_that_is_a_file_or_lies_under_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("home")] {
        assert_eq!(Home::open(&path).unwrap_err().refusal, Refusal::HomeUnusable);
    }
    // A lock that cannot be opened for writing, whoever runs this test.
    fs::create_dir(directory.path().join("lock")).unwrap();
    assert_eq!(Home::open(directory.path()).unwrap_err().refusal, Refusal::HomeUnusable);
}

#[test]
fn a_key_file_is_written_whole_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    assert!(home.key_file("identity.key").unwrap().is_none());
    // What a process that died midway left, readable by all.
    let beside = directory.path().join("identity.key.new");
    fs::write(&beside, "half").unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).unwrap();
    for bytes in [&b"first"[..], b"second, longer", b""] {
        home.write_key_file("identity.key", bytes).unwrap();
        assert_eq!(home.key_file("identity.key").unwrap().unwrap().as_slice(), bytes);
        assert!(!beside.exists());
        let path = directory.path().join("identity.key");
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_key_file_that_others_may_read_is_refused_with_the_line_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    home.write_key_file("identity.key", b"secret").unwrap();
    let path = directory.path().join("identity.key");
    for mode in [0o644, 0o640, 0o602, 0o611] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = home.key_file("identity.key").unwrap_err();
        assert_eq!(refused.refusal, Refusal::KeyFileOpen);
        assert_eq!(refused.detail, format!("run: chmod 600 {}", path.display()));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(home.key_file("identity.key").unwrap().is_some());
}

#[test]
fn a_key_file_has_a_plain_name_and_a_bounded_size() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    for name in ["", ".", "..", "../x", "a/b", "/etc/passwd"] {
        assert_eq!(home.key_file(name).unwrap_err().refusal, Refusal::HomeUnusable);
        assert_eq!(home.write_key_file(name, b"x").unwrap_err().refusal, Refusal::HomeUnusable);
    }
    home.write_key_file("large.key", &vec![1; 70_000]).unwrap();
    assert_eq!(home.key_file("large.key").unwrap_err().refusal, Refusal::HomeUnusable);
    fs::create_dir(directory.path().join("directory.key")).unwrap();
    assert_eq!(home.key_file("directory.key").unwrap_err().refusal, Refusal::HomeUnusable);
}

#[test]
fn a_wrong_damaged_open_or_missing_database_key_is_refused() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    drop(store);
    let home = Home::open(directory.path()).unwrap();
    let key = home.key_file("database.key").unwrap().unwrap();
    let open = || Store::open(&home).unwrap_err().refusal;
    for wrong in [&b"0"[..], &[b'0'; 64], &[b'x'; 64], &[0xff; 64], b"", &[b'0'; 65]] {
        home.write_key_file("database.key", wrong).unwrap();
        assert_eq!(open(), Refusal::DatabaseKey);
    }
    fs::remove_file(directory.path().join("database.key")).unwrap();
    assert_eq!(open(), Refusal::DatabaseKey);
    assert!(!directory.path().join("database.key").exists(), "no new key for an old database");
    home.write_key_file("database.key", &[&key[..], b"\n"].concat()).unwrap();
    let path = directory.path().join("database.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(open(), Refusal::KeyFileOpen);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(everything(&Store::open(&home).unwrap()), before);
}

#[test]
fn a_database_whose_creation_was_cut_short_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    home.write_key_file("database.key", &[b'a'; 64]).unwrap();
    fs::write(directory.path().join("store.db"), "").unwrap();
    let mut store = Store::open(&home).unwrap();
    stored(&mut store, sample());
}

#[test]
fn nothing_readable_is_on_disk() {
    let (directory, mut store) = fresh();
    stored(&mut store, vec![setting("plain name", b"plain value"), setting("x", &[0x55; 5_000])]);
    let wal = fs::read(directory.path().join("store.db-wal")).unwrap();
    drop(store);
    let database = fs::read(directory.path().join("store.db")).unwrap();
    for file in [wal, database] {
        assert!(file.len() > 5_000);
        for needle in [&b"plain"[..], b"settings", b"SQLite format", &[0x55; 16]] {
            assert!(!file.windows(needle.len()).any(|bytes| bytes == needle));
        }
    }
}

#[test]
fn debug_forms_show_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    let store = Store::open(&home).unwrap();
    let key = home.key_file("database.key").unwrap().unwrap();
    let key = std::str::from_utf8(&key).unwrap();
    assert!(!format!("{home:?} {store:?}").contains(key));
}

// --- contents

#[test]
fn everything_is_there_after_the_database_is_opened_again() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    assert_eq!(store.is_sound(), Ok(()));
    drop(store);
    let store = opened(directory.path());
    assert_eq!(everything(&store), before);
    assert_eq!(store.is_sound(), Ok(()));
}

#[test]
fn settings_are_replaced_deleted_and_found_by_prefix() {
    let (_directory, mut store) = fresh();
    let delete = |key: &str| Write::Setting { key: key.to_owned(), value: None };
    let writes = ["a", "a/1", "a/2", "a0", "b/1", "ä/1"].map(|key| setting(key, key.as_bytes()));
    stored(&mut store, writes.to_vec());
    stored(&mut store, vec![setting("a/1", b"new"), delete("a/2"), delete("never there")]);
    assert_eq!(store.setting("a/1").as_deref(), Some(&b"new"[..]));
    assert_eq!(store.setting("a/2"), None);
    let names = |prefix| store.settings(prefix).into_iter().map(|(name, _)| name);
    assert!(names("a/").eq(["a/1"]));
    assert!(names("a").eq(["a", "a/1", "a0"]));
    assert!(names("").eq(["a", "a/1", "a0", "b/1", "ä/1"]));
    assert!(names("ä").eq(["ä/1"]));
    assert_eq!(names("c").count(), 0);
}

#[test]
fn control_entries_are_replaced_cut_and_read_in_order() {
    let (_directory, mut store) = fresh();
    stored(&mut store, (1..=9).map(|index| control("x", index, 1)).collect());
    stored(&mut store, (1..=3).map(|index| control("y", index, 3)).collect());
    let cut = |space: &str, from| Write::ControlCut { space: space.to_owned(), from: Index(from) };
    stored(&mut store, vec![cut("x", 6), control("x", 6, 2)]);
    let first = |space, from, count| -> Vec<u8> {
        store.control(space, Index(from), count).iter().map(|bytes| bytes[0]).collect()
    };
    assert_eq!(first("x", 1, 99), [1, 1, 1, 1, 1, 2]);
    assert_eq!(first("x", 5, 99), [1, 2]);
    assert_eq!(first("x", 0, 2), [1, 1]);
    assert_eq!(first("x", 7, 99), Vec::<u8>::new());
    assert_eq!(first("y", 1, usize::MAX), [3, 3, 3]);
    assert_eq!(first("z", 1, 9), Vec::<u8>::new());
    assert_eq!(store.control_spaces(), ["x", "y"]);
    stored(&mut store, vec![cut("x", 0)]);
    assert_eq!(store.control_spaces(), ["y"]);
}

#[test]
fn a_gap_in_the_control_log_ends_the_answer() {
    let (_directory, mut store) = fresh();
    stored(&mut store, [2, 3, 5].map(|index| control("x", index, 1)).to_vec());
    assert_eq!(store.control("x", Index(1), 9).len(), 0);
    assert_eq!(store.control("x", Index(2), 9).len(), 2);
}

#[test]
fn the_head_is_the_newest_entry_without_a_gap_before_it() {
    let (directory, mut store) = fresh();
    stored(&mut store, [5, 4, 2].map(|seq| Write::Entry(entry(log(1), seq))).to_vec());
    assert_eq!(store.heads(RoomId::MAIN), []);
    stored(&mut store, vec![Write::Entry(entry(log(1), 1))]);
    let head = store.heads(RoomId::MAIN)[0];
    assert_eq!((head.log, head.seq, head.signed), (log(1), Seq(2), Seq(2)));
    assert_eq!((head.hash, head.lamport), (entry(log(1), 2).hash, 2));
    stored(&mut store, vec![Write::Entry(entry(log(1), 3))]);
    let head = store.heads(RoomId::MAIN)[0];
    assert_eq!((head.seq, head.signed, head.hash), (Seq(5), Seq(4), entry(log(1), 5).hash));
    assert_eq!(seqs(&store.entries(log(1), Seq(2), 3)), [2, 3, 4]);
    assert_eq!(store.entries(log(1), Seq(5), 9), [entry(log(1), 5)]);
    assert_eq!(store.entries(log(1), Seq(6), 9), []);
    assert_eq!(store.entries(log(2), Seq(1), 9), []);
    drop(store);
    assert_eq!(opened(directory.path()).heads(RoomId::MAIN), [head]);
}

#[test]
fn logs_of_other_rooms_authors_and_incarnations_do_not_mix() {
    let (directory, mut store) = fresh();
    let other_room = LogId { room: RoomId([1; 16]), ..log(1) };
    let other_life = LogId { incarnation: Incarnation(3), ..log(1) };
    let logs = [log(1), log(2), other_room, other_life];
    for (n, log) in (1_u64..).zip(logs) {
        stored(&mut store, (1..=n).map(|seq| Write::Entry(entry(log, seq))).collect());
    }
    drop(store);
    let store = opened(directory.path());
    for (n, log) in (1_usize..).zip(logs) {
        assert_eq!(store.entries(log, Seq(1), 99).len(), n);
    }
    let heads: BTreeSet<LogId> =
        store.heads(RoomId::MAIN).into_iter().map(|head| head.log).collect();
    assert_eq!(heads, BTreeSet::from([log(1), log(2), other_life]));
    assert_eq!(store.heads(other_room.room).len(), 1);
    assert_eq!(store.newest(other_room.room, 99).len(), 3);
    assert_eq!(store.heads(RoomId([9; 16])), []);
    assert_eq!(store.newest(RoomId([9; 16]), 9), []);
}

#[test]
fn an_entry_that_is_there_stays_and_only_gains_a_signature() {
    let (_directory, mut store) = fresh();
    stored(&mut store, (1..=4).map(|seq| Write::Entry(entry(log(1), seq))).collect());
    let other = StoredEntry { hash: Hash([1; 32]), bytes: Bytes::from("x"), ..entry(log(1), 2) };
    let unsigned = StoredEntry { signature: None, ..entry(log(1), 4) };
    stored(&mut store, vec![Write::Entry(other), Write::Entry(unsigned)]);
    let expected: Vec<_> = (1..=4).map(|seq| entry(log(1), seq)).collect();
    assert_eq!(store.entries(log(1), Seq(1), 9), expected);
    assert_eq!(store.heads(RoomId::MAIN)[0].signed, Seq(4));
    stored(&mut store, vec![Write::Entry(entry(log(1), 5))]);
    assert_eq!(store.heads(RoomId::MAIN)[0].signed, Seq(4));
    let signed = StoredEntry { signature: Some(Signature([1; 64])), ..entry(log(1), 5) };
    stored(&mut store, vec![Write::Entry(signed.clone())]);
    assert_eq!(store.heads(RoomId::MAIN)[0].signed, Seq(5));
    assert_eq!(store.entries(log(1), Seq(5), 1), [signed]);
    assert_eq!(store.is_sound(), Ok(()));
}

#[test]
fn an_entry_at_an_impossible_place_is_not_stored() {
    let (_directory, mut store) = fresh();
    let far = |seq| StoredEntry { lamport: 1, ..entry(log(1), seq) };
    let late = StoredEntry { lamport: u64::MAX, ..entry(log(1), 1) };
    let writes = vec![far(0), far(1 << 40), far(u64::MAX), late];
    stored(&mut store, writes.into_iter().map(Write::Entry).collect());
    assert_eq!(store.newest(RoomId::MAIN, 9), []);
    assert_eq!(store.heads(RoomId::MAIN), []);
    assert_eq!(store.entries(log(1), Seq(u64::MAX), 9), []);
    // The farthest that fits is not taken for an entry of the next log.
    stored(&mut store, vec![far((1 << 40) - 1)].into_iter().map(Write::Entry).collect());
    stored(&mut store, vec![Write::Entry(entry(log(2), 1))]);
    assert_eq!(seqs(&store.entries(log(1), Seq(0), 9)), [(1 << 40) - 1]);
    assert_eq!(seqs(&store.entries(log(2), Seq(0), 9)), [1]);
}

#[test]
fn the_newest_come_in_display_order_with_the_oldest_of_them_first() {
    let (_directory, mut store) = fresh();
    let other_life = LogId { incarnation: Incarnation(0), ..log(2) };
    let mut all = Vec::new();
    // Logs get their numbers in another order than authors sort.
    for log in [log(3), log(2), other_life, log(1)] {
        for seq in 1..=20 {
            // Ties everywhere, also within a log.
            all.push(StoredEntry { lamport: seq / 3, ..entry(log, seq) });
        }
    }
    stored(&mut store, all.iter().cloned().map(Write::Entry).collect());
    all.sort_by_key(|entry| (entry.lamport, entry.log.author, entry.log.incarnation, entry.seq));
    for count in [1, 2, 3, 7, 11, 12, 13, 40, 79, 80, 81, 1_000, usize::MAX] {
        let expected: Vec<_> = all.iter().skip(all.len().saturating_sub(count)).cloned().collect();
        assert_eq!(store.newest(RoomId::MAIN, count), expected, "{count}");
    }
    assert_eq!(store.newest(RoomId::MAIN, 0), []);
}

#[test]
fn what_others_hold_only_grows() {
    let (_directory, mut store) = fresh();
    let held = |by, upto| Write::Held { log: log(1), by: peer(by), upto: Seq(upto) };
    stored(&mut store, vec![held(1, 5), held(2, 7), held(1, 3), held(2, 9)]);
    stored(&mut store, vec![held(1, 4)]);
    let mut expected = vec![(peer(1), Seq(5)), (peer(2), Seq(9))];
    expected.sort_unstable();
    assert_eq!(store.held(log(1)), expected);
    assert_eq!(store.held(log(2)), []);
    assert_eq!(store.heads(RoomId::MAIN), [], "hearing of a log is not having it");
}

#[test]
fn what_is_kept_of_a_fork_lies_beside_the_first_entry_and_is_replaced_as_a_whole() {
    let (_directory, mut store) = fresh();
    let branch = |n: u8, seq: u64| StoredEntry { hash: Hash([n; 32]), ..entry(log(1), seq) };
    stored(&mut store, vec![Write::Fork(vec![branch(3, 4), branch(2, 4), branch(5, 5)])]);
    assert_eq!(store.forks(log(1)), [branch(2, 4), branch(3, 4), branch(5, 5)]);
    assert_eq!(store.forks(log(2)), []);
    assert_eq!(store.entries(log(1), Seq(0), 9), []);
    stored(&mut store, vec![Write::Fork(vec![branch(1, 2), branch(4, 2)])]);
    assert_eq!(store.forks(log(1)), [branch(1, 2), branch(4, 2)]);
}

#[test]
fn a_certificate_replaces_the_one_with_its_number() {
    let (_directory, mut store) = fresh();
    let states = [CertificateState::Waiting, CertificateState::Valid, CertificateState::Revoked];
    for state in states {
        let rows = [certificate(2, state), certificate(1, state)];
        stored(&mut store, rows.map(Write::Certificate).to_vec());
        assert_eq!(store.certificates(), [certificate(1, state), certificate(2, state)]);
    }
}

// --- transactions

#[test]
fn reads_see_the_open_transaction_and_rollback_takes_it_back() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    let other_room = LogId { room: RoomId([5; 16]), ..log(1) };
    let more = || {
        vec![
            Write::Entry(entry(log(1), 61)),
            Write::Entry(entry(log(7), 1)),
            Write::Entry(entry(other_room, 1)),
            Write::Held { log: log(8), by: peer(1), upto: Seq(1) },
            setting("c", b"new"),
        ]
    };
    store.begin();
    store.apply(more()).unwrap();
    assert_eq!(store.heads(RoomId::MAIN).len(), 3);
    assert_eq!(store.entries(log(1), Seq(61), 9), [entry(log(1), 61)]);
    assert!(store.setting("c").is_some());
    store.rollback();
    assert_eq!(everything(&store), before);
    assert_eq!(store.heads(other_room.room), []);
    // The same again finds no trace of the first time.
    store.begin();
    store.apply(more()).unwrap();
    store.commit(Sync::Normal).unwrap();
    let after = everything(&store);
    assert_ne!(after, before);
    assert_eq!(store.newest(other_room.room, 9), [entry(other_room, 1)]);
    drop(store);
    assert_eq!(everything(&opened(directory.path())), after);
}

#[test]
fn a_transaction_that_was_not_committed_is_gone_after_the_end() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    store.begin();
    store.apply(vec![setting("c", b"new"), Write::Entry(entry(log(1), 61))]).unwrap();
    drop(store);
    assert_eq!(everything(&opened(directory.path())), before);
}

#[test]
fn a_transaction_begun_inside_another_does_not_take_it_over() {
    let (_directory, mut store) = fresh();
    store.begin();
    store.apply(vec![setting("forgotten", b"x")]).unwrap();
    store.begin();
    store.apply(vec![setting("kept", b"x")]).unwrap();
    store.commit(Sync::Full).unwrap();
    assert_eq!(store.setting("forgotten"), None);
    assert!(store.setting("kept").is_some());
}

#[test]
fn empty_transactions_write_nothing() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let length = || fs::metadata(directory.path().join("store.db-wal")).unwrap().len();
    let before = length();
    for sync in [Sync::Normal, Sync::Full] {
        store.begin();
        store.apply(Vec::new()).unwrap();
        store.commit(sync).unwrap();
        store.rollback();
    }
    assert_eq!(length(), before);
}

#[test]
fn a_full_disk_stores_nothing_and_recovers_when_space_returns() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    let pages: u32 = store.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = |store: &Store, pages: u32| {
        store.conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    let large = || -> Vec<Write> {
        (61..400)
            .map(|seq| Write::Entry(entry(log(1), seq)))
            .chain([Write::Entry(entry(log(6), 1)), setting("c", &[1; 30_000])])
            .collect()
    };
    limit(&store, pages + 1);
    for _ in 0..3 {
        store.begin();
        assert_eq!(store.apply(large()), Err(Error::Full));
        // The driver may not have noticed yet.
        store.rollback();
        assert_eq!(store.is_sound(), Ok(()));
        assert_eq!(everything(&store), before);
        // What fits is stored in the meantime.
        store.begin();
        store.apply(vec![setting("a/1", b"one")]).unwrap();
        store.commit(Sync::Full).unwrap();
    }
    limit(&store, 1_000_000);
    store.begin();
    store.apply(large()).unwrap();
    store.commit(Sync::Full).unwrap();
    let after = everything(&store);
    assert!(after.len() > before.len());
    drop(store);
    assert_eq!(everything(&opened(directory.path())), after);
}

#[test]
fn asking_for_space_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    assert!(!vault::is_full(directory.path()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    // A directory that is gone is a failure, not a lack of space.
    assert!(!vault::is_full(&directory.path().join("gone")));
}

#[test]
fn a_transaction_that_fails_midway_takes_its_earlier_writes_with_it() {
    let (_directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    store
        .conn
        .execute_batch(
            "CREATE TRIGGER no BEFORE INSERT ON forks BEGIN SELECT RAISE(FAIL, 'no'); END",
        )
        .unwrap();
    let fork = Write::Fork(vec![StoredEntry { hash: Hash([9; 32]), ..entry(log(1), 4) }]);
    store.begin();
    store.apply(vec![setting("c", b"1"), Write::Entry(entry(log(5), 1))]).unwrap();
    let failed = store.apply(vec![Write::Entry(entry(log(1), 61)), fork]);
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    assert_eq!(everything(&store), before);
}

#[test]
fn what_was_decided_on_a_failed_read_is_not_stored() {
    let (_directory, mut store) = fresh();
    stored(&mut store, sample());
    store.begin();
    store.apply(vec![setting("c", b"1")]).unwrap();
    store.conn.execute_batch("UPDATE held SET peer = x'00'").unwrap();
    assert_eq!(store.held(log(1)), []);
    assert!(matches!(store.is_sound(), Err(Error::Failed(_))));
    assert!(store.commit(Sync::Full).is_err());
    assert_eq!(store.setting("c"), None);
    // It stays unsound: the process ends.
    store.begin();
    assert!(store.apply(vec![setting("c", b"1")]).is_err());
    assert!(store.is_sound().is_err());
}

#[test]
fn a_log_that_cannot_be_synced_ends_the_store() {
    let (_directory, mut store) = fresh();
    stored(&mut store, sample());
    // A pipe takes no sync, as a broken disk takes none.
    let (_, pipe) = io::pipe().unwrap();
    store.wal = Some(File::from(std::os::fd::OwnedFd::from(pipe)));
    store.begin();
    store.apply(vec![setting("c", b"1")]).unwrap();
    assert!(matches!(store.commit(Sync::Full), Err(Error::Failed(_))));
    store.begin();
    assert!(store.commit(Sync::Full).is_err(), "the next sync would succeed without the pages");
    assert!(store.is_sound().is_err());
}

// --- the end of the process, of the power, of the disk

/// The files of an open store as a process that is killed now leaves them.
fn copied(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in ["database.key", "store.db", "store.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.path().join(name)).unwrap();
        }
    }
    to
}

#[test]
fn what_was_committed_is_there_when_the_process_is_killed() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    store.begin();
    store.apply(vec![setting("c", b"new"), Write::Entry(entry(log(1), 61))]).unwrap();
    let killed = copied(directory.path());
    assert_eq!(everything(&opened(killed.path())), before);
    store.commit(Sync::Normal).unwrap();
    let killed = copied(directory.path());
    assert_eq!(everything(&opened(killed.path())), everything(&store));
}

/// Numbers that look random and are the same in every run.
fn scattered(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        let hash = Hash::of("scattered", &[&state.to_be_bytes()]);
        state += 1;
        let bytes: [u8; 8] = hash.0[..8].try_into().unwrap();
        usize::try_from(u64::from_be_bytes(bytes) % u64::try_from(below).unwrap()).unwrap()
    }
}

#[test]
fn power_lost_anywhere_in_the_log_leaves_a_prefix_of_the_transactions() {
    let (directory, mut store) = fresh();
    let transactions = 40_u64;
    for n in 1..=transactions {
        stored(
            &mut store,
            vec![
                Write::Entry(entry(log(1), n)),
                setting("count", &n.to_be_bytes()),
                control("x", n, 1),
                setting("filling", &vec![n.to_le_bytes()[0]; 6_000]),
            ],
        );
    }
    let killed = copied(directory.path());
    let wal = fs::read(killed.path().join("store.db-wal")).unwrap();
    let database = fs::read(killed.path().join("store.db")).unwrap();
    let mut below = scattered(1);
    let mut seen = BTreeSet::new();
    for round in 0..100 {
        let cut = if round == 0 { wal.len() } else { below(wal.len()) };
        let mut torn = wal[..cut].to_vec();
        match round % 3 {
            // The file grew, its last blocks never came.
            1 => torn.resize(wal.len(), 0),
            // Blocks arrived out of order, or something else stood there before.
            2 => torn.extend(wal[cut..].iter().map(|byte| byte ^ 0x5a)),
            _ => {}
        }
        fs::write(killed.path().join("store.db-wal"), torn).unwrap();
        fs::write(killed.path().join("store.db"), &database).unwrap();
        let store = opened(killed.path());
        let head = store.heads(RoomId::MAIN).first().map_or(0, |head| head.seq.0);
        let count = store
            .setting("count")
            .map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()));
        let logged = u64::try_from(store.control("x", Index(1), 999).len()).unwrap();
        let shown = u64::try_from(store.newest(RoomId::MAIN, 999).len()).unwrap();
        assert_eq!([head, logged, shown], [count; 3], "cut at {cut} of {}", wal.len());
        assert_eq!(store.is_sound(), Ok(()));
        seen.insert(count);
    }
    assert!(seen.contains(&transactions) && seen.len() > 20, "{seen:?}");
}

#[test]
fn a_flipped_bit_anywhere_in_the_database_is_an_error_and_never_other_data() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    let before = everything(&store);
    drop(store);
    let path = directory.path().join("store.db");
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    assert_eq!(whole.len() % 4_096, 0);
    let mut below = scattered(2);
    let mut detected = BTreeSet::new();
    let home = Home::open(directory.path()).unwrap();
    let ends = (0..pages).flat_map(|page| [page * 4_096, page * 4_096 + 4_095]);
    let inside: Vec<usize> = (0..pages * 6).map(|n| (n % pages) * 4_096 + below(4_096)).collect();
    for offset in ends.chain(inside) {
        let mut damaged = whole.clone();
        damaged[offset] ^= 1 << below(8);
        fs::write(&path, &damaged).unwrap();
        match Store::open(&home) {
            Err(refused) => {
                assert_eq!(refused.refusal, Refusal::DatabaseKey, "{refused:?}");
                detected.insert(offset / 4_096);
            }
            Ok(store) => {
                let after = everything(&store);
                if store.is_sound().is_ok() {
                    assert_eq!(after, before, "silent damage at {offset}");
                }
                if store.survey("x").map_or(true, |survey| !survey.damage.is_empty()) {
                    detected.insert(offset / 4_096);
                }
            }
        }
    }
    // A survey finds also what reading everything does not need.
    assert_eq!(detected.len(), pages);
    // And a file that ends early.
    for length in [whole.len() - 4_096, whole.len() - 100, 4_096, 100] {
        fs::write(&path, &whole[..length]).unwrap();
        let is_seen = Store::open(&home).map_or(true, |store| {
            everything(&store);
            store.is_sound().is_err()
        });
        assert!(is_seen, "{length} of {} bytes", whole.len());
    }
}

#[test]
fn a_database_from_a_newer_version_is_refused_and_left_alone() {
    let (directory, mut store) = fresh();
    stored(&mut store, sample());
    store.conn.execute_batch("PRAGMA user_version = 77").unwrap();
    drop(store);
    let before = fs::read(directory.path().join("store.db")).unwrap();
    let home = Home::open(directory.path()).unwrap();
    let refused = Store::open(&home).unwrap_err();
    assert_eq!(refused.refusal, Refusal::DatabaseNewer);
    let known = format!("has schema 77, this program knows {}", schema::STEPS.len());
    assert!(refused.detail.ends_with(&known), "{refused:?}");
    assert_eq!(fs::read(directory.path().join("store.db")).unwrap(), before);
}

fn words_of(log: LogId, seq: u64, words: &str) -> Write {
    Write::Words { log, seq: Seq(seq), lamport: seq, words: words.to_owned(), is_late: false }
}

fn late_words_of(log: LogId, seq: u64, words: &str) -> Write {
    Write::Words { log, seq: Seq(seq), lamport: seq, words: words.to_owned(), is_late: true }
}

fn found(store: &Store, words: &str, count: usize) -> Vec<(PeerId, u64)> {
    let words = crate::protocol::Words::parse(words).unwrap();
    let found = store.search(RoomId::MAIN, &words, None, count);
    store.is_sound().unwrap();
    found.entries.into_iter().map(|entry| (entry.log.author, entry.seq.0)).collect()
}

#[test]
fn words_are_found_newest_first_and_every_entry_is_indexed_once() {
    let (_directory, mut store) = fresh();
    let mut writes: Vec<Write> = (1..=5).map(|seq| Write::Entry(entry(log(1), seq))).collect();
    writes.extend((1..=3).map(|seq| Write::Entry(entry(log(2), seq))));
    stored(&mut store, writes);
    let lacking = |store: &Store, count| {
        let entries = store.unindexed(RoomId::MAIN, count).unwrap();
        entries.iter().map(|entry| (entry.log.author, entry.seq.0)).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&store, 99).len(), 8);
    assert_eq!(lacking(&store, 2).len(), 2);
    stored(
        &mut store,
        vec![
            words_of(log(1), 1, "the deploy failed"),
            words_of(log(1), 2, ""),
            words_of(log(1), 3, "deploy again v2 1"),
            words_of(log(2), 1, "deployed żółw"),
        ],
    );
    let (one, two) = (peer(1), peer(2));
    let mut left = vec![(one, 4), (one, 5), (two, 2), (two, 3)];
    left.sort_unstable();
    let mut now = lacking(&store, 99);
    now.sort_unstable();
    assert_eq!(now, left);
    assert_eq!(found(&store, "deploy", 9), [(one, 3), (one, 1)]);
    assert_eq!(found(&store, "deploy", 1), [(one, 3)]);
    let mut all = found(&store, "depl*", 9);
    assert_eq!(all.remove(0), (one, 3));
    assert_eq!(all.len(), 2);
    assert_eq!(found(&store, "FAILED deploy", 9), [(one, 1)]);
    assert_eq!(found(&store, "v2.1", 9), [(one, 3)]);
    assert_eq!(found(&store, "ŻÓŁW", 9), [(two, 1)]);
    assert_eq!(found(&store, "failed again", 9), []);
    // What could not be opened at first comes later; what is known stays.
    stored(&mut store, vec![late_words_of(log(1), 2, "late"), late_words_of(log(1), 1, "other")]);
    assert_eq!(found(&store, "late", 9), [(one, 2)]);
    assert_eq!((found(&store, "other", 9), found(&store, "failed", 9).len()), (vec![], 1));
    // It may come before the turn of others, which is not taken from them.
    stored(&mut store, vec![late_words_of(log(1), 5, "early")]);
    assert_eq!(lacking(&store, 99).len(), 4);
    stored(&mut store, vec![words_of(log(1), 4, ""), words_of(log(1), 5, "early")]);
    assert_eq!((lacking(&store, 99).len(), found(&store, "early", 9)), (2, vec![(one, 5)]));
    // A room of its own.
    let elsewhere = RoomId([9; 16]);
    let words = crate::protocol::Words::parse("deploy").unwrap();
    let nothing = store.search(elsewhere, &words, None, 9);
    assert!(nothing.entries.is_empty() && nothing.next.is_none());
    assert_eq!(store.unindexed(elsewhere, 9), Some(Vec::new()));
}

/// All that is found in a room, in pages of so many: their places, and how many rows each took.
fn pages(store: &Store, room: RoomId, word: &str, count: usize) -> (Vec<u64>, Vec<usize>) {
    let words = crate::protocol::Words::parse(word).unwrap();
    let (mut found, mut looked, mut from) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.search(room, &words, from, count);
        store.is_sound().unwrap();
        assert!(page.entries.len() <= count && looked.len() < 99);
        found.extend(page.entries.iter().map(|entry| entry.seq.0));
        looked.push(page.looked);
        from = page.next;
        if from.is_none() {
            return (found, looked);
        }
    }
}

#[test]
fn what_is_found_comes_in_pages_of_bounded_rows_and_bytes() {
    let (_directory, mut store) = fresh();
    let elsewhere = RoomId([9; 16]);
    let other = LogId { room: elsewhere, ..log(1) };
    let mut writes = vec![Write::Entry(entry(log(1), 1)), words_of(log(1), 1, "walnut")];
    for seq in 1..=2_100 {
        writes.push(Write::Entry(entry(other, seq)));
        let words = "walnut".to_owned();
        writes.push(Write::Words {
            log: other,
            seq: Seq(seq),
            lamport: seq,
            words,
            is_late: false,
        });
    }
    // Two of one Lamport time, and one that says very much.
    for (of, seq) in [(log(1), 2), (log(2), 1)] {
        let bytes = Bytes::from(vec![7; 1 << 20]);
        writes.push(Write::Entry(StoredEntry { lamport: 2_000, bytes, ..entry(of, seq) }));
        let words = "walnut".to_owned();
        writes.push(Write::Words { log: of, seq: Seq(seq), lamport: 2_000, words, is_late: false });
    }
    stored(&mut store, writes);
    let (found, looked) = pages(&store, RoomId::MAIN, "walnut", 2);
    assert_eq!(found, [1, 2, 1]);
    // What others say counts too; a page ends where much was read.
    assert!(looked.iter().all(|rows| *rows <= 2_048) && looked.len() > 2, "{looked:?}");
    let (found, looked) = pages(&store, elsewhere, "walnut", 100);
    assert!(found.into_iter().eq((1..=2_100).rev()) && looked.len() == 22, "{looked:?}");
    assert_eq!(pages(&store, elsewhere, "hazel", 100), (Vec::new(), vec![0]));
}

#[test]
fn a_survey_tells_what_stands_in_the_tables_and_what_is_damaged() {
    let (_directory, mut store) = fresh();
    stored(&mut store, sample());
    let survey = store.survey("x").unwrap();
    assert_eq!((survey.strays, survey.control_last), (0, Index(30)));
    assert_eq!(survey.logs.len(), 2);
    assert_eq!(survey.damage, Vec::<String>::new());
    store
        .conn
        .execute_batch("DELETE FROM held; DELETE FROM forks; DELETE FROM logs WHERE id = 1")
        .unwrap();
    assert!(store.survey("x").unwrap().strays > 0);
}

#[test]
fn what_is_erased_leaves_neither_its_ciphertext_nor_its_words() {
    let (_directory, mut store) = fresh();
    stored(&mut store, (1..=600).map(|seq| Write::Entry(entry(log(1), seq))).collect());
    let words = |seq: u64| words_of(log(1), seq, &format!("walnut{seq} tree"));
    stored(&mut store, (1..=300).map(words).collect());
    stored(&mut store, (301..=600).map(words).collect());
    let left = |store: &Store, word: &str| -> i64 {
        let count = "SELECT count(*) FROM texts_data WHERE instr(block, ?1) > 0";
        store.conn.query_row(count, [word.as_bytes()], |row| row.get(0)).unwrap()
    };
    // FTS5 writes of a term what differs from the one before.
    assert!(left(&store, "walnut") > 0);
    let header =
        |seq: u64| StoredEntry { bytes: Bytes::from_static(b"bare"), ..entry(log(1), seq) };
    for first in (1..=600).step_by(100) {
        stored(&mut store, vec![Write::Erase((first..first + 100).map(header).collect())]);
        store.is_sound().unwrap();
    }
    assert_eq!(found(&store, "tree", 999), Vec::<(PeerId, u64)>::new());
    let all = store.entries(log(1), Seq(1), 999);
    assert!(all.iter().all(|it| it.bytes == b"bare".as_slice()) && all.len() == 600);
    assert_eq!(left(&store, "walnut"), 0);
    // Another entry at that place is not touched.
    let other = StoredEntry { hash: Hash([9; 32]), bytes: Bytes::new(), ..entry(log(1), 1) };
    stored(&mut store, vec![Write::Erase(vec![other])]);
    assert_eq!(store.entries(log(1), Seq(1), 1)[0].bytes, b"bare".as_slice());
    let secure: i64 = store.conn.query_row("PRAGMA secure_delete", [], |row| row.get(0)).unwrap();
    assert_eq!(secure, 1);
}

#[test]
fn what_ends_is_found_by_its_time_until_it_is_erased() {
    let (_directory, mut store) = fresh();
    stored(&mut store, (1..=3).map(|seq| Write::Entry(entry(log(1), seq))).collect());
    assert_eq!((store.next_expiry(), store.expired(Wall(99), 9)), (None, Vec::new()));
    let ends = |seq, at| Write::Expires { log: log(1), seq: Seq(seq), at: Wall(at) };
    stored(&mut store, vec![ends(3, 10), ends(1, 20), ends(2, 15), ends(2, 99)]);
    assert_eq!(store.next_expiry(), Some(Wall(10)));
    let places = |seqs: &[u64]| seqs.iter().map(|seq| (log(1), Seq(*seq))).collect::<Vec<_>>();
    assert_eq!(store.expired(Wall(9), 9), places(&[]));
    assert_eq!(store.expired(Wall(15), 9), places(&[3, 2]), "the earliest first");
    assert_eq!(store.expired(Wall(99), 2), places(&[3, 2]), "not more than asked for");
    let bare = StoredEntry { bytes: Bytes::from_static(b"bare"), ..entry(log(1), 3) };
    stored(&mut store, vec![Write::Erase(vec![bare])]);
    assert_eq!(store.expired(Wall(99), 9), places(&[2, 1]));
    // Also where no entry stands, and another process finds the rest.
    let nothing = StoredEntry { hash: Hash::ZERO, bytes: Bytes::new(), ..entry(log(1), 2) };
    stored(&mut store, vec![Write::Erase(vec![nothing])]);
    assert_eq!(store.next_expiry(), Some(Wall(20)));
}

#[test]
fn a_message_is_found_by_its_id_without_looking_through_all_of_them() {
    let (_directory, mut store) = fresh();
    stored(&mut store, vec![Write::Entry(entry(log(1), 1))]);
    store
        .conn
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 200000)
             INSERT INTO entries (place, room, lamport, hash, signature, bytes)
                 SELECT (1 << 40) + n, 1, n, randomblob(32), x'00', x'00' FROM n;
             INSERT INTO named SELECT substr(hash, 1, 16), place FROM entries WHERE lamport > 1;",
        )
        .unwrap();
    let plan = |question: &str| -> String {
        let mut statement = store.conn.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
        let row = |row: &rusqlite::Row<'_>| row.get::<_, String>(3);
        let lines = statement.query_map([&[0_u8][..], &[9], &[9]], row).unwrap();
        lines.map(|line| line.unwrap()).collect()
    };
    let called = plan(index::CALLED);
    assert!(called.contains("SEARCH named USING PRIMARY KEY (id>? AND id<?)"), "{called}");
    assert!(!called.contains("SCAN"), "{called}");

    // What is indexed is found; what is not yet is not, and the index says how far it reaches.
    let id = MessageId::of(&entry(log(1), 1).hash);
    assert_eq!(store.called((id, id), 9), Some(Vec::new()));
    let words =
        Write::Words { log: log(1), seq: Seq(1), lamport: 1, words: String::new(), is_late: false };
    stored(&mut store, vec![words.clone(), words]);
    assert_eq!(store.called((id, id), 9), Some(vec![entry(log(1), 1)]));
    let all = (MessageId([0; 16]), MessageId([0xff; 16]));
    assert_eq!(store.called(all, 16).map(|found| found.len() <= 16), Some(true));
}

#[test]
fn what_lies_beyond_a_gap_is_apart_and_survives() {
    let (directory, mut store) = fresh();
    let pending = |seq| Write::Pending(entry(log(1), seq));
    stored(&mut store, vec![Write::Received(entry(log(1), 1)), pending(8), pending(9)]);
    stored(&mut store, vec![Write::Pending(entry(log(2), 5))]);
    let two = vec![entry(log(1), 8), entry(log(1), 9)];
    let check = |store: &Store| {
        let mut all = two.clone();
        all.push(entry(log(2), 5));
        all.sort_by_key(|it| (it.log, it.seq));
        assert_eq!(store.pending(RoomId::MAIN), all);
        // Heads, logs, histories and arrivals say nothing of it.
        let heads: Vec<_> = store.heads(RoomId::MAIN).iter().map(|it| (it.log, it.seq)).collect();
        assert_eq!(heads, [(log(1), Seq(1))]);
        assert_eq!(store.entries(log(1), Seq(1), 9), [entry(log(1), 1)]);
        assert_eq!(store.newest(RoomId::MAIN, 9), [entry(log(1), 1)]);
        assert_eq!(store.last_arrival(), 1);
    };
    check(&store);
    drop(store);
    let mut store = opened(directory.path());
    check(&store);
    // What is erased loses what it said there, too.
    let bare = StoredEntry { bytes: Bytes::from_static(b"bare"), ..entry(log(1), 9) };
    stored(&mut store, vec![Write::Erase(vec![bare.clone()])]);
    assert_eq!(store.pending(RoomId::MAIN).into_iter().find(|it| it.seq == Seq(9)), Some(bare));
    stored(&mut store, vec![Write::PendingGone(log(1)), Write::PendingGone(log(3))]);
    assert_eq!(store.pending(RoomId::MAIN), [entry(log(2), 5)]);
    store.begin();
    store.apply(vec![Write::PendingGone(log(2))]).unwrap();
    store.rollback();
    assert_eq!(store.pending(RoomId::MAIN), [entry(log(2), 5)]);
}

#[test]
fn what_entries_of_a_log_share_is_stored_once() {
    let (directory, mut store) = fresh();
    let all: Vec<StoredEntry> =
        (1..=40).flat_map(|seq| [entry(log(1), seq), entry(log(2), seq)]).collect();
    for few in all.chunks(7) {
        stored(&mut store, few.iter().cloned().map(Write::Entry).collect());
    }
    // One that is undone takes its pattern along.
    store.begin();
    store.apply((1..=3).map(|seq| Write::Entry(entry(log(3), seq))).collect()).unwrap();
    store.rollback();
    stored(&mut store, (1..=3).map(|seq| Write::Entry(entry(log(4), seq))).collect());
    let number = |store: &Store, question: &str| -> i64 {
        store.conn.query_row(question, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(number(&store, "SELECT count(*) FROM patterns"), 3);
    assert_eq!(number(&store, "SELECT count(*) FROM entries WHERE pattern IS NULL"), 3);
    let full = i64::try_from(entry(log(1), 1).bytes.len()).unwrap();
    let packed = number(&store, "SELECT max(length(bytes)) FROM entries WHERE pattern NOT NULL");
    assert!(packed * 3 < full * 2, "{packed} of {full} bytes");
    let before = everything(&store);
    drop(store);
    let mut store = opened(directory.path());
    assert_eq!(everything(&store), before);
    for n in [1, 2] {
        let own: Vec<_> = all.iter().filter(|entry| entry.log == log(n)).cloned().collect();
        assert_eq!(store.entries(log(n), Seq(1), 99), own);
    }
    // After a start the pattern is the one from before.
    stored(&mut store, vec![Write::Entry(entry(log(1), 41))]);
    assert_eq!(number(&store, "SELECT count(*) FROM patterns"), 3);
    // A pattern that is damaged is an error, not another text.
    store.conn.execute_batch("UPDATE patterns SET bytes = x'00'").unwrap();
    drop(store);
    let store = opened(directory.path());
    assert!(store.entries(log(1), Seq(2), 1).iter().all(|read| *read != entry(log(1), 2)));
}

#[test]
fn a_database_made_with_the_proof_of_before_opens_and_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    let key = Zeroizing::new("5a".repeat(32));
    home.write_key_file("database.key", key.as_bytes()).unwrap();
    let path = directory.path().join(DATABASE);
    fs::write(&path, "").unwrap();
    drop(connect_by(&path, &key, PAGE_PROOF_BEFORE).unwrap());
    for _ in 0..2 {
        let mut store = Store::open(&home).unwrap();
        stored(&mut store, sample());
        let proof: String =
            store.conn.query_row("PRAGMA cipher_hmac_algorithm", [], |row| row.get(0)).unwrap();
        assert_eq!(proof, PAGE_PROOF_BEFORE);
        assert!(store.survey("x").unwrap().damage.is_empty());
    }
    let (_directory, store) = fresh();
    let proof: String =
        store.conn.query_row("PRAGMA cipher_hmac_algorithm", [], |row| row.get(0)).unwrap();
    assert_eq!(proof, PAGE_PROOF);
}

fn head_of(store: &Store, log: LogId) -> Option<crate::protocol::StoredHead> {
    store.heads(log.room).into_iter().find(|head| head.log == log)
}

fn noted_seqs(store: &Store) -> Vec<u64> {
    store.journal.noted().iter().map(|entry| entry.seq.0).collect()
}

fn journal(directory: &TempDir) -> PathBuf {
    directory.path().join("entries.journal")
}

#[test]
fn what_was_noted_is_there_after_the_process_died_without_a_commit() {
    let (directory, mut store) = fresh();
    stored(&mut store, vec![Write::Entry(entry(log(1), 1))]);
    // As the driver does it: applied some time later, and killed before the commit.
    for seq in [2, 3] {
        assert!(store.note(&entry(log(1), seq)).unwrap());
    }
    store.begin();
    store.apply(vec![Write::Entry(entry(log(1), 2)), Write::Received(entry(log(2), 1))]).unwrap();
    assert_eq!(fs::metadata(journal(&directory)).unwrap().mode() & 0o777, 0o600);
    drop(store);
    let store = opened(directory.path());
    let head = head_of(&store, log(1)).unwrap();
    assert_eq!((head.seq, head.hash), (Seq(3), entry(log(1), 3).hash));
    let kept = store.entries(log(1), Seq(1), 9);
    assert_eq!(kept, [1, 2, 3].map(|seq| entry(log(1), seq)));
    // What was not noted went with the transaction.
    assert_eq!(head_of(&store, log(2)), None);
    assert_eq!(fs::read(journal(&directory)).unwrap(), b"");
    assert!(noted_seqs(&store).is_empty());
}

#[test]
fn a_commit_takes_what_was_noted_and_empties_the_journal() {
    let (directory, mut store) = fresh();
    assert!(store.note(&entry(log(1), 1)).unwrap());
    assert!(fs::metadata(journal(&directory)).unwrap().len() > 0);
    // Applied by nobody, and yet part of it.
    stored(&mut store, vec![setting("another", b"thing")]);
    assert_eq!(head_of(&store, log(1)).unwrap().seq, Seq(1));
    assert_eq!(fs::metadata(journal(&directory)).unwrap().len(), 0);
    // Once more, on the file that was emptied.
    assert!(store.note(&entry(log(1), 2)).unwrap());
    store.begin();
    store.apply(vec![Write::Entry(entry(log(1), 2))]).unwrap();
    store.commit(Sync::Full).unwrap();
    assert!(store.note(&entry(log(1), 3)).unwrap());
    drop(store);
    let store = opened(directory.path());
    assert_eq!(store.entries(log(1), Seq(1), 9).len(), 3);
}

#[test]
fn what_was_noted_outlives_a_transaction_that_failed() {
    let (_directory, mut store) = fresh();
    assert!(store.note(&entry(log(1), 1)).unwrap());
    store.begin();
    store.apply(vec![Write::Entry(entry(log(1), 1)), setting("other", b"lost")]).unwrap();
    store.rollback();
    assert_eq!(head_of(&store, log(1)), None);
    assert_eq!(store.recall(), Ok(true));
    // For reads at once, and with the next commit for good.
    assert_eq!(head_of(&store, log(1)).unwrap().seq, Seq(1));
    assert_eq!(store.setting("other"), None);
    store.commit(Sync::Full).unwrap();
    assert_eq!((noted_seqs(&store).len(), store.recall()), (0, Ok(false)));
    assert_eq!(head_of(&store, log(1)).unwrap().seq, Seq(1));
}

#[test]
fn a_journal_that_is_torn_altered_or_of_another_home_gives_what_is_whole() {
    let (directory, mut store) = fresh();
    for seq in [1, 2] {
        assert!(store.note(&entry(log(1), seq)).unwrap());
    }
    drop(store);
    let whole = fs::read(journal(&directory)).unwrap();
    let key = fs::read_to_string(directory.path().join("database.key")).unwrap();
    let key = Zeroizing::new(key.trim().to_owned());
    let read = |bytes: &[u8], key: &Zeroizing<String>| -> Vec<u64> {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("entries.journal"), bytes).unwrap();
        let journal = Journal::load(place.path(), key).unwrap();
        journal.noted().iter().map(|entry| entry.seq.0).collect()
    };
    assert_eq!(read(&whole, &key), [1, 2]);
    // However much of it a loss of power left, and whatever lies behind.
    let length = u32::from_be_bytes(whole[24..28].try_into().unwrap());
    let first = 28 + usize::try_from(length).unwrap();
    for length in 0..whole.len() {
        let expected: &[u64] = if length < first { &[] } else { &[1] };
        assert_eq!(read(&whole[..length], &key), expected, "{length}");
    }
    assert_eq!(read(&[&whole[..], &[0; 4_096]].concat(), &key), [1, 2]);
    assert_eq!(read(&[&whole[..], &[255; 40]].concat(), &key), [1, 2]);
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        let expected: &[u64] = if at < first { &[] } else { &[1] };
        assert_eq!(read(&altered, &key), expected, "{at}");
    }
    let other = Zeroizing::new("ab".repeat(32));
    assert_eq!(read(&whole, &other), [0_u64; 0]);
}

#[test]
fn so_much_is_noted_and_no_more_until_a_commit() {
    let (directory, mut store) = fresh();
    let long = |seq| StoredEntry { bytes: vec![7; 100_000].into(), ..entry(log(1), seq) };
    let noted = (1..=20).take_while(|seq| store.note(&long(*seq)).unwrap()).count();
    assert_eq!(noted, 10);
    assert_eq!(noted_seqs(&store).len(), noted);
    let length = fs::metadata(journal(&directory)).unwrap().len();
    assert!((1_000_000..=1 << 20).contains(&length), "{length}");
    // All of it is read again, however long.
    drop(store);
    let mut store = opened(directory.path());
    assert_eq!(head_of(&store, log(1)).unwrap().seq, Seq(10));
    let noted = (11..=30).take_while(|seq| store.note(&long(*seq)).unwrap()).count();
    assert_eq!(noted, 10);
    store.begin();
    store.commit(Sync::Normal).unwrap();
    assert_eq!(store.note(&long(21)), Ok(true));
}
