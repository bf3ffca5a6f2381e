//! A store as a member leaves it, and every way in which it may have been changed since.
//! Owns: [`Kept`], a `Reads` in memory that anything can be done to.
//! Must not know: tables.
//! Invariants: each test changes one thing and expects the fault that names it.
//! Start reading at: [`kept`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::identity::testkeys as stored;
use crate::identity::{Proofs, genesis};
use crate::ids::{Incarnation, IntentId, PeerId, RoomId, SessionSalt, Signature};
use crate::protocol::control;
use crate::protocol::ledger::witness;
use crate::protocol::room::Room;
use crate::protocol::room::keys::keyring::Keyring;
use crate::protocol::room::keys::schedule::RoomSecret;
use crate::protocol::{CertificateRow, StoredHead};
use crate::time::{Mono, Now};
use crate::wire::control::{Position, Voter, vote_bytes};
use crate::wire::identity::GenesisIn;
use crate::wire::roster::{Wish, intent, intent_body};

/// The life of every database here, as in `testkeys`.
const LIFE: Incarnation = Incarnation(7);

struct Kept {
    settings: BTreeMap<String, Bytes>,
    control: Vec<Bytes>,
    entries: BTreeMap<(LogId, Seq), StoredEntry>,
    forks: Vec<StoredEntry>,
    survey: Survey,
}

impl Reads for Kept {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.settings.get(key).cloned()
    }
    fn settings(&self, _: &str) -> Vec<(String, Bytes)> {
        Vec::new()
    }
    fn control(&self, _: &str, from: Index, count: usize) -> Vec<Bytes> {
        let skip = usize::try_from(from.0 - 1).unwrap();
        self.control.iter().skip(skip).take(count).cloned().collect()
    }
    fn control_spaces(&self) -> Vec<String> {
        Vec::new()
    }
    fn heads(&self, _: RoomId) -> Vec<StoredHead> {
        Vec::new()
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
    fn forks(&self, _: LogId) -> Vec<StoredEntry> {
        self.forks.clone()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        Vec::new()
    }
}

impl Kept {
    fn check(&self) -> Report {
        self.told_while_checked().0
    }

    fn told_while_checked(&self) -> (Report, Vec<u64>) {
        let mut told = Vec::new();
        let report =
            check(&self.survey, self, &stored::device(5), &mut |entries| told.push(entries));
        (report, told)
    }

    fn faults(&self) -> Vec<String> {
        let report = self.check();
        assert_eq!(report.is_sound(), report.faults.is_empty());
        report.faults.into_iter().map(|fault| format!("{}: {}", fault.place, fault.what)).collect()
    }

    fn entry(&mut self, name: &str, seq: u64) -> &mut StoredEntry {
        let author = stored::member(name).peer();
        let log = LogId { room: RoomId::MAIN, author, incarnation: LIFE };
        self.entries.get_mut(&(log, Seq(seq))).unwrap()
    }

    fn remove(&mut self, name: &str, seq: u64) {
        let entry = self.entry(name, seq).clone();
        self.entries.remove(&(entry.log, entry.seq));
    }

    fn edit(&mut self, at: usize, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry::decode(&self.control[at]).unwrap();
        change(&mut entry);
        self.control[at] = entry.encode();
    }

    /// As the leader itself would have changed it.
    fn sign_anew(&mut self, at: usize, change: impl FnOnce(&mut Entry)) {
        let network = stored::authority_key().network();
        self.edit(at, |entry| {
            change(entry);
            *entry = control::sign(entry.clone(), &network, &stored::device(1));
        });
    }
}

/// Alice founded, bob was admitted, both wrote 40 entries, five to a signature.
fn kept() -> Kept {
    let key = stored::authority_key();
    let network = key.network();
    let boot = PeerId::of_ed25519(&stored::device(9).device());
    let founding = GenesisIn {
        network,
        authority: stored::authority(&key).der,
        founder: stored::credential(&key, "alice", 1, &stored::device(1)),
        witness: boot,
        witness_incarnation: Incarnation(3),
        created_at: stored::NOW,
        nonce: [5; 16],
    };
    let (alice, bob) = (stored::member("alice").peer(), stored::member("bob").peer());
    let ballot = Ballot { term: 1, peer: Some(alice), ..Ballot::ZERO };
    let credential = stored::credential(&key, "bob", 2, &stored::device(2));
    let id = IntentId([4; 16]);
    let body = intent_body(network, id, &Wish::Admit { credential });
    let signature = stored::device(2).sign(Domain::Intent, &body);
    let admission = intent(bob, &body, &signature);
    let voter = |peer, n: u8| Voter {
        peer,
        incarnation: LIFE,
        key: stored::device(n).device(),
        is_witness: false,
    };
    let voters = [witness(boot, Incarnation(3)).unwrap(), voter(alice, 1)];
    let payloads = [
        Payload::Empty,
        Payload::Intent { id, bytes: admission },
        Payload::Voters(VoterSet::new(voters).unwrap()),
        Payload::Empty,
    ];
    // In the night the witness alone elects her.
    let signer = stored::device(1).device();
    let who = (&boot, Incarnation(3));
    let paper = vote_bytes(&network, &ballot, &signer, &Position::ZERO, who);
    let vote = (boot, stored::device(9).sign(Domain::Vote, &paper));
    let mut previous = Hash::ZERO;
    let control: Vec<Entry> = (1..)
        .zip(payloads)
        .map(|(index, payload)| {
            let entry = Entry {
                ballot,
                index: Index(index),
                stamp: stored::NOW,
                previous,
                payload,
                signer,
                votes: if index == 1 { vec![vote] } else { Vec::new() },
                signature: Signature([0; 64]),
            };
            previous = entry.digest();
            control::sign(entry, &network, &stored::device(1))
        })
        .collect();
    let mut kept = Kept {
        settings: BTreeMap::new(),
        control: control.iter().map(Entry::encode).collect(),
        entries: BTreeMap::new(),
        forks: Vec::new(),
        survey: Survey { control_last: Index(4), ..Survey::default() },
    };
    kept.settings.insert("network/genesis".to_owned(), genesis::make(&key, &founding).unwrap());
    let commit = Bytes::copy_from_slice(&4_u64.to_be_bytes());
    kept.settings.insert("control/main/commit".to_owned(), commit);
    let mut ring = Keyring::new(RoomId::MAIN);
    let (key_id, _) = ring.add(RoomSecret::new([6; 32])).unwrap();
    for (author, device) in [(alice, 1), (bob, 2)] {
        let salt = SessionSalt([device; 16]);
        let mut room = Room::load(RoomId::MAIN, network, author, LIFE, salt, &kept);
        let now = Now { mono: Mono(1), wall: stored::NOW };
        for _ in 0..8 {
            let texts = (0..5).map(|n| format!("text {n}").into()).collect();
            let posted = room.post(texts, (key_id, &mut ring), now, &stored::device(device));
            for entry in posted.unwrap().entries {
                kept.entries.insert((entry.log, entry.seq), entry);
            }
        }
        kept.survey.logs.push((room.own(), Seq(40)));
    }
    kept
}

#[test]
fn a_sound_store_is_counted_whole() {
    let (report, told) = kept().told_while_checked();
    assert_eq!(report.faults, []);
    assert!(told.is_sorted() && told.last() == Some(&80), "{told:?}");
    assert_eq!((report.entries, report.logs, report.batches, report.forks), (80, 2, 16, 0));
    assert_eq!((report.control, report.committed, report.void, report.members), (4, 4, 0, 2));
    let empty = Kept {
        settings: BTreeMap::new(),
        control: Vec::new(),
        entries: BTreeMap::new(),
        forks: Vec::new(),
        survey: Survey::default(),
    };
    assert!(empty.check().is_sound());
}

#[test]
fn missing_entries_are_named_at_the_start_in_the_middle_and_at_the_end() {
    let mut store = kept();
    store.remove("alice", 1);
    for seq in [12, 13, 14] {
        store.remove("bob", seq);
    }
    store.remove("bob", 40);
    let faults = store.faults();
    assert!(faults.iter().any(|it| it.ends_with("entry 1 is missing")), "{faults:?}");
    assert!(faults.iter().any(|it| it.ends_with("entries 12 to 14 are missing")), "{faults:?}");
    assert!(faults.iter().any(|it| it.ends_with("entries 40 to 40 are missing")), "{faults:?}");
    assert!(faults.iter().any(|it| it.ends_with("entries 36 to 39 are not signed")), "{faults:?}");
    assert!(faults.iter().all(|it| it.starts_with("log of ")), "{faults:?}");
}

#[test]
fn a_changed_entry_is_found_whatever_of_it_was_changed() {
    let ends_with = |store: &Kept, end: &str| {
        let faults = store.faults();
        assert!(faults.iter().any(|it| it.ends_with(end)), "{end}: {faults:?}");
    };
    let mut store = kept();
    let entry = store.entry("bob", 7);
    let mut bytes = entry.bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    entry.bytes = bytes.into();
    ends_with(&store, "entry 7 has another hash than the one stored");
    // With its hash made to fit, the chain and the signature tell.
    let mut store = kept();
    let entry = store.entry("bob", 5);
    let mut bytes = entry.bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    entry.bytes = bytes.into();
    entry.hash = Sealed::decode(&entry.bytes).unwrap().hash();
    ends_with(&store, "entry 5 has a wrong signature");
    ends_with(&store, "entry 6 does not follow the one before it");
    let mut store = kept();
    store.entry("bob", 5).signature = Some(Signature([1; 64]));
    ends_with(&store, "entry 5 has a wrong signature");
    let mut store = kept();
    store.entry("alice", 40).signature = None;
    ends_with(&store, "entries 36 to 40 are not signed");
    let mut store = kept();
    store.entry("alice", 9).lamport += 1;
    ends_with(&store, "entry 9 has a wrong Lamport time");
    let mut store = kept();
    store.entry("alice", 9).bytes = Bytes::from_static(b"\xff");
    ends_with(&store, "entry 9: a frame is malformed");
    // Another author's entry in this place, whole and signed.
    let mut store = kept();
    let other = store.entry("bob", 9).clone();
    let place = store.entry("alice", 9);
    (place.bytes, place.hash) = (other.bytes, other.hash);
    ends_with(&store, "entry 9 was written for another place");
}

#[test]
fn a_control_log_that_was_changed_cut_or_reordered_is_found() {
    let mut store = kept();
    store.edit(1, |entry| {
        if let Payload::Intent { bytes, .. } = &mut entry.payload {
            let mut changed = bytes.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            *bytes = changed.into();
        }
    });
    let faults = store.faults();
    assert!(faults[0].starts_with("control log: entry 2: "), "{faults:?}");
    assert!(faults.iter().any(|it| it.ends_with("its author is not in the roster")), "{faults:?}");
    let mut store = kept();
    store.control.swap(2, 3);
    assert!(store.faults()[0].ends_with("entry 3 says that it is number 4"));
    let mut store = kept();
    store.control.pop();
    assert_eq!(
        store.faults(),
        [
            "control log: entry 4 is missing; there are later ones",
            "control log: 4 entries are committed, 3 are there"
        ]
    );
    let mut store = kept();
    store.sign_anew(3, |entry| entry.stamp = Wall(1));
    assert_eq!(store.faults(), ["control log: entry 4 is older than the one before it"]);
    let mut store = kept();
    let other = witness(PeerId::of_ed25519(&stored::device(8).device()), LIFE).unwrap();
    store.sign_anew(3, |entry| {
        entry.payload = Payload::Voters(VoterSet::new([other]).unwrap());
    });
    assert_eq!(store.faults(), ["control log: entry 4 changes several voters at once"]);
    // One bit of what is behind: of a signature, of a vote, of what it follows.
    let forged = |at: usize, change: &dyn Fn(&mut Entry)| {
        let mut store = kept();
        store.edit(at, change);
        store.faults()
    };
    let at = |n: u64| format!("control log: entry {n}: {}", Refusal::EntryForged.why());
    assert_eq!(forged(3, &|it| it.signature.0[0] ^= 1), [at(4)]);
    assert_eq!(forged(3, &|it| it.stamp = Wall(it.stamp.0 + 1)), [at(4)]);
    assert_eq!(forged(0, &|it| it.votes.clear()), [at(1)]);
    assert_eq!(forged(0, &|it| it.votes[0].1.0[0] ^= 1), [at(1)]);
    let broken = format!("control log: entry 4: {}", Refusal::EntryBroken.why());
    assert_eq!(forged(3, &|it| it.previous = Hash::ZERO), [broken]);
    // Signed whole, by a key that nobody voted for.
    let mut store = kept();
    store.edit(3, |entry| {
        entry.signer = stored::device(2).device();
        let network = stored::authority_key().network();
        *entry = control::sign(entry.clone(), &network, &stored::device(2));
    });
    assert_eq!(store.faults(), [at(4)]);
    let mut store = kept();
    store.settings.remove("network/genesis");
    assert_eq!(store.faults(), ["genesis: is missing"]);
}

#[test]
fn a_fork_is_no_fault_but_a_branch_that_proves_nothing_is() {
    let mut store = kept();
    let root = store.entry("bob", 5).clone();
    store.survey.logs.retain(|(log, _)| *log == root.log);
    store.forks = vec![root.clone()];
    assert_eq!((store.faults(), store.check().forks), (Vec::new(), 1));
    store.forks = vec![StoredEntry { signature: None, ..root }];
    assert!(store.faults()[0].ends_with("a branch kept of its fork at 5 proves nothing"));
}

#[test]
fn what_the_tables_show_is_passed_on_and_faults_are_counted_beyond_those_named() {
    let mut store = kept();
    store.survey.strays = 3;
    store.survey.damage = vec!["page 7".to_owned()];
    assert_eq!(store.faults(), ["database: page 7", "database: 3 entries belong to no log"]);
    store.survey.damage = vec!["page".to_owned(); 250];
    let report = store.check();
    assert_eq!((report.faults.len(), report.fault_count), (100, 251));
}
