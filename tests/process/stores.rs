//! The stores of members at rest: opened, verified, and what was sealed in them collected.
//! Owns: how a test looks into a home, and which pairs of key and nonce a run has used.
//! Must not know: what any test is about.
//! Invariants: nothing in a home changes by being looked at.
//! Start reading at: [`Nonces`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use p2pgroup::ids::{Hash, KeyId, LogId, Seq};
use p2pgroup::protocol::Reads;
use p2pgroup::store::{Home, Store};
use p2pgroup::wire::sealed::Sealed;

use crate::harness::{Lab, Value};

/// Opens the store of a home that no process runs on.
pub fn open(home: &Path) -> Store {
    Store::open(&Home::open(home).unwrap()).unwrap()
}

/// Everything sealed in a store, in all rooms, the branches of forked logs among it.
pub fn entries(store: &Store) -> Vec<(Hash, Sealed)> {
    let mut all = Vec::new();
    for (log, last) in store.survey("main").unwrap().logs {
        let stored = store.entries(log, Seq(1), usize::try_from(last.0).unwrap());
        for entry in stored.into_iter().chain(store.forks(log)) {
            all.push((entry.hash, Sealed::decode(&entry.bytes).unwrap()));
        }
    }
    all
}

/// Asks the program whether the store of a home is sound, and gives its answer.
pub fn verified(lab: &Lab, home: &Path) -> Value {
    let ended = lab.run(&["verify", "--json", "--home", home.to_str().unwrap()], "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    let found = ended.events.into_iter().find(|e| e["event"] == "verified").unwrap();
    assert_eq!(found["ok"], true, "{found}");
    found
}

/// What a ciphertext was made with: the key is derived from the secret, the log, the salt of the
/// process and the chunk of the seq; the nonce is the seq.
type Pair = (KeyId, LogId, [u8; 16], Seq);

/// Every pair of key and nonce that was seen, with what was sealed under it.
#[derive(Default)]
pub struct Nonces {
    seen: BTreeMap<Pair, Hash>,
}

impl Nonces {
    /// Takes in everything sealed in a store.
    pub fn add(&mut self, store: &Store) {
        for (hash, entry) in entries(store) {
            let header = &entry.header;
            let pair = (header.key_id, header.log, header.session_salt.0, header.seq);
            let before = self.seen.insert(pair, hash);
            assert!(before.is_none_or(|it| it == hash), "a nonce twice: {header:?}");
        }
    }

    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// How many room secrets, logs, and starts of processes were at work.
    pub fn kinds(&self) -> [usize; 3] {
        let count =
            |what: fn(&Pair) -> Vec<u8>| self.seen.keys().map(what).collect::<BTreeSet<_>>().len();
        [
            count(|it| it.0.0.to_vec()),
            self.seen.keys().map(|it| it.1).collect::<BTreeSet<_>>().len(),
            count(|it| it.2.to_vec()),
        ]
    }
}
