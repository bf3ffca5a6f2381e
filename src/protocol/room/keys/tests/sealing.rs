//! Entries under keys: what opens, what does not, and what is never used twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::keyring::{Keyring, Opened, Session};
use super::super::schedule::{ChunkKey, RoomSecret};
use super::super::seal::Cipher;
use super::scale::timed;
use super::*;
use crate::ids::{Incarnation, KeyId, LogId, NetworkId, Seq, SessionSalt};
use crate::limits::{
    CHUNK_ENTRIES, CHUNK_KEYS_MAX, PADDED_BYTES, STRETCH_CHUNKS, STRETCHES_MAX, TEXT_BYTES_MAX,
};
use crate::terms::About;
use crate::time::Wall;
use crate::wire::room::Payload;
use crate::wire::sealed::{Body, Header, Sealed};

fn log(author: u8) -> LogId {
    LogId { room: ROOM, author: peer(author), incarnation: Incarnation(u64::from(author) + 1) }
}

const SALT: SessionSalt = SessionSalt([3; 16]);

fn secret(number: u8) -> RoomSecret {
    RoomSecret::new([number; 32])
}

fn header(key_id: KeyId, log: LogId, seq: u64) -> Header {
    Header {
        network: NetworkId([1; 32]),
        log,
        session_salt: SALT,
        seq: Seq(seq),
        previous: Hash::ZERO,
        key_id,
        lamport: seq,
        expires_at: None,
    }
}

fn payload(text: &str) -> Payload {
    let (text, about) = (text.to_owned(), About::Nothing);
    Payload { sent_at: Wall(1_795_254_067_000), text, about, code_proof: None }
}

/// A ring that holds one secret, and the secret's name.
fn ring(number: u8) -> (Keyring, KeyId) {
    let mut ring = Keyring::new(ROOM);
    let (id, _) = ring.add(secret(number)).unwrap();
    (ring, id)
}

fn rows(changes: &Changes) -> Rows {
    changes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
}

#[test]
fn an_entry_opens_under_its_key_and_under_no_other() {
    let (mut ring, id) = ring(1);
    let entry = ring.seal(header(id, log(0), 65), &payload("hi")).unwrap();
    let entry = Sealed::decode(&entry.encode()).unwrap();
    assert_eq!(ring.open(&entry), Opened::Plain(payload("hi")));
    assert_eq!(ring.open(&entry.deleted()), Opened::Deleted);

    let (mut other, other_id) = self::ring(2);
    assert_ne!(id, other_id);
    assert_eq!(other.open(&entry), Opened::Unknown(id));
    // Somebody who names one key and seals under another: nothing else is tried.
    let (secret, renamed) = (secret(1), header(other_id, log(0), 65));
    let key = ChunkKey::first(&secret, &log(0), &SALT).advance(1).unwrap();
    let forged = Cipher::new(&key).seal(renamed, &payload("hi")).unwrap();
    let _ = other.add(secret).unwrap();
    assert_eq!(other.open(&forged), Opened::Unreadable);
    // Another room's entry is not opened, whatever it names.
    let mut foreign = header(id, log(0), 65);
    foreign.log.room = RoomId([7; 16]);
    assert_eq!(ring.seal(foreign, &payload("hi")), Err(Error::KeyUnknown));
}

#[test]
fn one_bit_of_header_or_ciphertext_makes_it_unreadable() {
    let (mut ring, id) = ring(1);
    let entry = ring.seal(header(id, log(0), 1), &payload("hi")).unwrap();
    let bytes = entry.encode();
    let mut tried = 0;
    for at in 0..bytes.len() * 8 {
        let mut other = bytes.to_vec();
        other[at / 8] ^= 1 << (at % 8);
        let Ok(other) = Sealed::decode(&other.into()) else { continue };
        tried += 1;
        match ring.open(&other) {
            Opened::Unreadable => {}
            Opened::Unknown(named) => assert!(named != id || other.header.log.room != ROOM),
            opened => panic!("bit {at}: {opened:?}"),
        }
    }
    assert!(tried > 3_000, "{tried}");
}

#[test]
fn lengths_show_only_as_a_few_sizes() {
    let (mut ring, id) = ring(1);
    let mut sizes = BTreeSet::new();
    for len in (0..300).chain((300..TEXT_BYTES_MAX).step_by(997)).chain([TEXT_BYTES_MAX]) {
        let text = payload(&"x".repeat(len));
        let entry = ring.seal(header(id, log(0), 1), &text).unwrap();
        let Body::Ciphertext(ciphertext) = &entry.body else { panic!("deleted") };
        sizes.insert(ciphertext.len());
        assert_eq!(ring.open(&Sealed::decode(&entry.encode()).unwrap()), Opened::Plain(text));
    }
    assert_eq!(sizes, PADDED_BYTES.iter().map(|size| size + 16).collect());
    let long = payload(&"x".repeat(TEXT_BYTES_MAX + 2_000));
    assert_eq!(ring.seal(header(id, log(0), 1), &long), Err(Error::TooLong));
}

#[test]
fn a_grant_opens_from_its_chunk_on_and_nothing_earlier() {
    let (mut all, id) = ring(1);
    let session: Session = (id, log(0), SALT);
    let last = CHUNK_ENTRIES * STRETCH_CHUNKS * 3;
    let seqs = [1, 64, 65, 128, 129, 640, 641, last, last + 1, last + 64, last + 65, 2 * last];
    let entries: Vec<Sealed> =
        seqs.iter().map(|seq| all.seal(header(id, log(0), *seq), &payload("x")).unwrap()).collect();
    for from in seqs {
        let key = all.chunk_key(&session, Seq(from)).unwrap();
        let start = key.index() * CHUNK_ENTRIES + 1;
        let mut granted = Keyring::new(ROOM);
        let changes = granted.grant(session, ChunkKey::decode(&key.encode()).unwrap()).unwrap();
        let mut again = Keyring::load(ROOM, &rows(&changes)).unwrap();
        // From the newest to the oldest, and back again: what was opened opens no more than that.
        for entry in entries.iter().rev().chain(&entries) {
            let expected = if entry.header.seq.0 >= start {
                Opened::Plain(payload("x"))
            } else {
                Opened::Unknown(id)
            };
            assert_eq!(granted.open(entry), expected, "{} from {from}", entry.header.seq);
            assert_eq!(again.open(entry), expected);
        }
        // Nor does it lead to another session, log or key.
        let mut elsewhere = header(id, log(1), 2 * last);
        assert_eq!(granted.seal(elsewhere.clone(), &payload("x")), Err(Error::KeyUnknown));
        elsewhere = Header { session_salt: SessionSalt([4; 16]), ..header(id, log(0), 2 * last) };
        assert_eq!(granted.seal(elsewhere, &payload("x")), Err(Error::KeyUnknown));
    }
}

#[test]
fn chunk_keys_have_an_end_and_one_way() {
    let first = ChunkKey::first(&secret(1), &log(0), &SALT);
    let end = STRETCH_CHUNKS * STRETCHES_MAX;
    let last = first.advance(end - 1).unwrap();
    assert_eq!(last.index(), end - 1);
    assert_eq!(first.advance(end), None);
    assert_eq!(first.advance(u64::MAX), None);
    assert_eq!(last.advance(end - 2), None);
    assert_eq!(ChunkKey::decode(&[0xff; ChunkKey::BYTES]), None);
    assert_eq!(ChunkKey::decode(&[0; ChunkKey::BYTES - 1]), None);
    assert_eq!(ChunkKey::index_of(Seq(64)), 0);
    assert_eq!(ChunkKey::index_of(Seq(65)), 1);
    assert_eq!(format!("{first:?} {:?}", secret(1)), "ChunkKey(from 0) RoomSecret(..)");
}

#[test]
fn no_key_and_nonce_serve_twice_over_restarts_copies_and_members() {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for secret in [secret(1), secret(2)] {
        for author in [log(0), log(1), LogId { incarnation: Incarnation(99), ..log(0) }] {
            // A restart, a restored backup, a copied home: the same seqs under another salt.
            for salt in 0..4_u8 {
                let first = ChunkKey::first(&secret, &author, &SessionSalt([salt; 16]));
                for seq in (1..400).step_by(13) {
                    let chunk = first.advance(ChunkKey::index_of(Seq(seq))).unwrap();
                    assert!(seen.insert((*chunk.key(), seq)));
                    count += 1;
                }
            }
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn a_ring_is_what_is_stored_and_what_is_deleted_is_gone() {
    let (mut ring, old) = ring(1);
    let mut stored: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut store = |changes: Changes| {
        for (key, value) in changes {
            match value {
                Some(value) => drop(stored.insert(key, value)),
                None => drop(stored.remove(&key)),
            }
        }
        stored.clone().into_iter().collect::<Rows>()
    };
    let mut fresh = Keyring::new(ROOM);
    store(fresh.add(secret(1)).unwrap().1);
    let (new, changes) = ring.add(secret(2)).unwrap();
    let rows = store(changes);
    assert_eq!(ring.add(secret(2)).unwrap(), (new, Changes::new()));
    let mut loaded = Keyring::load(ROOM, &rows).unwrap();
    assert_eq!(loaded.ids().collect::<BTreeSet<_>>(), BTreeSet::from([old, new]));
    assert_eq!(loaded.secret(&old), Some(&secret(1)));

    let entries: Vec<Sealed> = [1, 100, 300]
        .map(|seq| loaded.seal(header(old, log(0), seq), &payload("x")).unwrap())
        .into();
    let other = loaded.seal(header(old, log(1), 1), &payload("x")).unwrap();
    // Retention: of the old epoch, one log from seq 100 on.
    let rows = store(loaded.narrow(&old, &[(log(0), SALT, Seq(100))]));
    for mut ring in [loaded, Keyring::load(ROOM, &rows).unwrap()] {
        assert_eq!(ring.open(&entries[0]), Opened::Unknown(old));
        assert_eq!(ring.open(&entries[1]), Opened::Plain(payload("x")));
        assert_eq!(ring.open(&entries[2]), Opened::Plain(payload("x")));
        assert_eq!(ring.open(&other), Opened::Unknown(old));
        assert_eq!(ring.secret(&old), None);
        let changes = ring.forget(&old);
        assert_eq!(changes.len(), 1);
        assert_eq!(ring.open(&entries[2]), Opened::Unknown(old));
        assert_eq!(ring.forget(&old), Changes::new());
    }
    // A row that does not fit its name is not believed.
    let bad: Rows = rows.iter().map(|(key, _)| (key.clone(), vec![0; 32].into())).collect();
    assert!(matches!(Keyring::load(ROOM, &bad), Err(Error::Malformed)));
    assert!(matches!(Keyring::load(RoomId([1; 16]), &rows), Err(Error::Malformed)));
}

#[test]
fn a_grant_that_opens_less_changes_nothing() {
    let (mut all, id) = ring(1);
    let session: Session = (id, log(0), SALT);
    let keys = [640, 64, 6_400].map(|seq| all.chunk_key(&session, Seq(seq)).unwrap());
    let mut granted = Keyring::new(ROOM);
    let [middle, early, late] = keys;
    assert_eq!(granted.grant(session, middle.clone()).unwrap().len(), 1);
    assert_eq!(granted.grant(session, late).unwrap(), Changes::new());
    assert_eq!(granted.grant(session, early).unwrap().len(), 1);
    assert_eq!(all.grant(session, middle.clone()).unwrap(), Changes::new());
    let foreign = (id, LogId { room: RoomId([1; 16]), ..log(0) }, SALT);
    assert_eq!(granted.grant(foreign, middle), Err(Error::Malformed));
}

#[test]
fn more_logs_than_are_remembered_still_open() {
    let (mut ring, id) = ring(1);
    let authors: Vec<LogId> = (0..u64::try_from(CHUNK_KEYS_MAX).unwrap() + 20)
        .map(|life| LogId { incarnation: Incarnation(life), ..log(0) })
        .collect();
    for seq in [1, 70, 2] {
        for author in &authors {
            let entry = ring.seal(header(id, *author, seq), &payload("x")).unwrap();
            assert_eq!(ring.open(&entry), Opened::Plain(payload("x")));
        }
    }
}

#[test]
fn fifty_thousand_entries_open_in_a_second() {
    let (mut ring, id) = ring(1);
    let text = payload(&"x".repeat(200));
    let entries: Vec<Bytes> = (1..=5_000)
        .map(|seq| {
            ring.seal(header(id, log(u8::try_from(seq % 10).unwrap()), seq), &text)
                .unwrap()
                .encode()
        })
        .collect();
    let measure = |label: &str, entries: Vec<&Bytes>| {
        let (mut ring, _) = self::ring(1);
        let (_, took) = timed(|| {
            for bytes in &entries {
                let entry = Sealed::decode(bytes).unwrap();
                std::hint::black_box(entry.hash());
                assert!(matches!(ring.open(&entry), Opened::Plain(_)));
            }
        });
        println!("{label}: {:.0} entries/s decoded, hashed, opened", 5e6 / took);
        took
    };
    measure("oldest first", entries.iter().collect());
    let took = measure("newest first", entries.iter().rev().collect());
    // A tenth of what is wanted: the machine of a test may be busy.
    assert!(took < 1_000.0, "{took} ms");
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_the_same(
        text in ".{0,400}", seq in 1_u64..200_000_000, sent_at in any::<u64>(), author in 0_u8..4,
    ) {
        let (mut ring, id) = ring(1);
        let about = About::Nothing;
        let said = Payload { sent_at: Wall(sent_at), text, about, code_proof: None };
        let entry = ring.seal(header(id, log(author), seq), &said).unwrap();
        let read = Sealed::decode(&entry.encode()).unwrap();
        prop_assert_eq!(&read, &entry);
        prop_assert_eq!(ring.open(&read), Opened::Plain(said));
    }

    #[test]
    fn a_walk_in_steps_ends_where_one_walk_does(mut stops in prop::collection::vec(0_u64..5_000, 1..6)) {
        stops.sort_unstable();
        let first = ChunkKey::first(&secret(1), &log(0), &SALT);
        let stepwise = stops.iter().try_fold(first.clone(), |at, to| at.advance(*to));
        prop_assert_eq!(stepwise, first.advance(stops[stops.len() - 1]));
    }

    #[test]
    fn no_bytes_make_a_header_or_a_keyring_stumble(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        let _ = Sealed::decode(&bytes);
        let _ = ChunkKey::decode(&bytes);
        let _ = Payload::decode(&bytes);
        let _ = Keyring::load(ROOM, &[(bytes.clone(), bytes)]);
    }
}

#[test]
fn what_others_hand_over_leaves_room_for_what_was_agreed_on() {
    let secret = |number: u64| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        RoomSecret::new(bytes)
    };
    let mut keyring = Keyring::new(ROOM);
    let most = u64::try_from(crate::limits::KEYRING_MAX).unwrap();
    for number in 0..most {
        keyring.add(secret(number)).unwrap();
    }
    assert_eq!(keyring.add(secret(most)), Err(Error::Full));
    assert!(keyring.add(secret(0)).unwrap().1.is_empty(), "that one is here");
    let (id, changes) = keyring.add_own(secret(most));
    assert_eq!((keyring.secret(&id), changes.len()), (Some(&secret(most)), 1));
    assert!(keyring.add_own(secret(most)).1.is_empty());
}
