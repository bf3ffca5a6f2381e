//! What somebody removed can read afterwards: tried in earnest, with all it ever held.
//! Owns: an attack with the removed member's whole home on what was said later.
//! Must not know: how keys are renewed.
//! Invariants: as in `main.rs`; what the attack opens before the removal shows that it works.
//! Start reading at: the first test.

use std::collections::BTreeSet;
use std::time::Instant;

use p2pgroup::ids::{Index, KeyId, PeerId, RoomId, Seq};
use p2pgroup::protocol::Reads;
use p2pgroup::protocol::room::keys::keyring::{Keyring, Opened};
use p2pgroup::protocol::room::keys::mls::Mls;
use p2pgroup::protocol::room::keys::schedule::ChunkKey;
use p2pgroup::protocol::room::keys::seal::Cipher;
use p2pgroup::protocol::room::keys::{Change, Judge, KeyAgreements, Leaf, Rows};
use p2pgroup::store::{Home, Store};
use p2pgroup::wire::control::{Entry, Payload};
use p2pgroup::wire::order::{Order, RoomOrder};
use p2pgroup::wire::roster::{IntentIn, Wish};
use p2pgroup::wire::sealed::Sealed;

use crate::harness::{LONG, LOOK, Lab, Proc, json, list, same_talk};
use crate::servers::copy;

/// To whom everything is right.
#[derive(Debug)]
struct Anything;

impl Judge for Anything {
    fn is_bound(&self, _: &Leaf) -> bool {
        true
    }
    fn may_hold(&self, _: &Leaf) -> bool {
        true
    }
    fn may_change(&self, _: &Change) -> bool {
        true
    }
}

fn store(lab: &Lab, name: &str) -> Store {
    Store::open(&Home::open(&lab.home(name)).unwrap()).unwrap()
}

/// The rows stored under a prefix, by their names as bytes.
pub fn rows(store: &Store, prefix: &str) -> Rows {
    let unhex = |text: &str| {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect::<Vec<u8>>()
    };
    let stored = store.settings(prefix).into_iter();
    stored.map(|(name, it)| (unhex(name.strip_prefix(prefix).unwrap()).into(), it)).collect()
}

fn keyring(store: &Store) -> Keyring {
    Keyring::load(RoomId::MAIN, &rows(store, "room/main/keys/")).unwrap()
}

/// All entries of the room.
fn talk(store: &Store) -> Vec<Sealed> {
    let heads = store.heads(RoomId::MAIN);
    let entries = heads.iter().flat_map(|head| store.entries(head.log, Seq(1), 10_000));
    entries.map(|entry| Sealed::decode(&entry.bytes).unwrap()).collect()
}

/// The text, if one of these keys opens it: the named one, or any other.
fn read(ring: &mut Keyring, entry: &Sealed) -> Option<String> {
    if let Opened::Plain(says) = ring.open(entry) {
        return Some(says.text);
    }
    let header = &entry.header;
    let ids: Vec<KeyId> = ring.ids().collect();
    ids.iter().find_map(|id| {
        let first = ChunkKey::first(ring.secret(id)?, &header.log, &header.session_salt);
        let key = first.advance(ChunkKey::index_of(header.seq))?;
        Cipher::new(&key).open(entry).map(|says| says.text)
    })
}

fn holds_without(proc: &Proc, gone: &str) {
    proc.wait("an epoch without the removed member", |e| {
        let members = list(&e["members"]);
        e["event"] == "epoch" && members.len() == 2 && members.iter().all(|it| it != gone)
    });
}

#[test]
fn what_a_removed_member_ever_held_opens_nothing_said_later() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob", "carol"]);
    let bob = PeerId::parse(members[1].ready()["peer_id"].as_str().unwrap()).unwrap();
    members[0].say("before");
    same_talk(&members.iter().collect::<Vec<_>>(), 1);
    // A copy from before is what a cautious attacker keeps: the program tidies up after itself.
    members[1].exit();
    copy(&lab.home("bob"), &lab.home("kept"));
    members[1] = lab.join("bob");
    let home = lab.home("keyauth");
    let home = home.to_str().unwrap();
    let done = lab.run(&["keyauth", "revoke", "bob", "--json", "--home", home], "");
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert_eq!(members.remove(1).ended(LONG).fatal(), "removed");
    let [alice, carol] = members.as_slice() else { panic!("two remain") };
    for member in [alice, carol] {
        holds_without(member, "bob");
    }
    alice.say("after, by alice");
    carol.hear("after, by alice");
    carol.say("after, by carol");
    same_talk(&[alice, carol], 3);
    let room = alice.ask(json!({"cmd": "slash", "line": "/room info"}));
    assert_eq!(list(&room["data"]["holders"]).len(), 2, "{room}");
    let epoch = room["data"]["epoch"].as_u64().unwrap();
    let rekeyed = alice.ask(json!({"cmd": "slash", "line": "/rekey"}));
    assert_eq!(rekeyed["ok"], true, "{rekeyed}");
    carol.wait("new keys", |e| e["event"] == "epoch" && e["epoch"].as_u64() > Some(epoch));
    carol.say("after, under new keys");
    alice.hear("after, under new keys");
    alice.exit();
    carol.exit();

    let attack = attack(&lab, "alice", "kept", "bob", bob);
    assert!(attack.tried >= 4, "two came in, one was taken out, one renewed: {}", attack.tried);
    let (after, before): (Vec<_>, Vec<_>) =
        attack.read.iter().partition(|(text, _)| text.starts_with("after"));
    assert_eq!((before.len(), after.len()), (1, 3));
    assert_eq!(before[0].1.as_deref(), Some("before"), "the attack works");
    for (text, read) in after {
        assert_eq!(*read, None, "{text}");
    }
}

#[test]
fn what_a_room_no_longer_keeps_opens_with_no_store_from_after_it() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let mut members = lab.group(&["alice", "bob"]);
    for number in 0..30 {
        members[0].say(&format!("gone {number}"));
    }
    same_talk(&members.iter().collect::<Vec<_>>(), 30);
    // What somebody kept elsewhere: ciphertexts, and to compare with the keys of then.
    members.remove(1).exit();
    let before = store(&lab, "bob");
    let (copied, mut then) = (talk(&before), keyring(&before));
    drop(before);
    assert_eq!(copied.iter().filter(|it| read(&mut then, it).is_some()).count(), 30);
    let mut bob = lab.join("bob");
    let alice = &members[0];
    let mark = bob.mark();
    let rekeyed = alice.ask(json!({"cmd": "slash", "line": "/rekey"}));
    assert_eq!(rekeyed["ok"], true, "{rekeyed}");
    bob.wait_from(mark, LONG, "new keys", |e| e["event"] == "epoch" && e["room"] == "main");
    for number in 0..60 {
        alice.say(&format!("kept {number}"));
    }
    bob.hear("kept 59");
    let keep = json!({"cmd": "room_keep", "room": "main", "text": "forever", "last": 15_000});
    assert_eq!(alice.ask(keep)["event"], "room");
    let deadline = Instant::now() + LONG * 2;
    loop {
        // Keys go last, and say nothing: as long as there are some left it goes on working.
        while bob.history().iter().any(|line| line.contains("gone")) {
            assert!(Instant::now() < deadline, "{}", bob.story());
            std::thread::sleep(LOOK);
        }
        bob.exit();
        let after = store(&lab, "bob");
        let mut now = keyring(&after);
        let open = copied.iter().filter(|it| read(&mut now, it).is_some()).count();
        let left = talk(&after).iter().filter(|it| read(&mut now, it).is_some()).count();
        drop(after);
        if open == 0 {
            assert!((5..60).contains(&left), "what is kept opens: {left}");
            break;
        }
        assert!(Instant::now() < deadline, "{open} that are gone still open");
        bob = lab.join("bob");
        let until = Instant::now() + LONG / 6;
        while Instant::now() < until {
            bob.status();
            std::thread::sleep(LOOK);
        }
    }
    alice.exit();
}

/// What an attack came to.
pub struct Attack {
    /// Commits that were tried.
    pub tried: usize,
    /// What was said, and what the attacker reads of it.
    pub read: Vec<(String, Option<String>)>,
}

/// Tries to read all that a member holds of `main`, with a copy of a removed member's home and
/// with the home as it was in the end.
pub fn attack(lab: &Lab, ours: &str, kept: &str, last: &str, removed: PeerId) -> Attack {
    let (ours, theirs) = (store(lab, ours), store(lab, kept));
    let mut ring = keyring(&theirs);
    let last = keyring(&store(lab, last));
    for secret in last.ids().filter_map(|id| last.secret(&id)) {
        ring.add(secret.clone()).unwrap();
    }
    // The group as the removed member had it, with every commit that was ever ordered.
    let group = rows(&theirs, "room/main/group/");
    assert!(!group.is_empty(), "there is something to try");
    let mut tried = BTreeSet::new();
    let mut agreed = Mls.load(RoomId::MAIN, removed, &group, [1; 32]).unwrap();
    for bytes in ours.control("main", Index(1), 100_000) {
        let entry = Entry::decode(&bytes).unwrap();
        let Payload::Intent { bytes, .. } = &entry.payload else { continue };
        let Ok(IntentIn { wish: Wish::Room { order, .. }, .. }) = IntentIn::decode(bytes) else {
            continue;
        };
        let Ok(RoomOrder::Plain(order)) = RoomOrder::decode(&order) else { continue };
        let Ok(Order::Commit { commit, .. }) = Order::decode(&order) else { continue };
        tried.insert(entry.index);
        let _ = agreed.ordered(&commit, &Anything);
        if let Ok(secret) = agreed.secret() {
            ring.add(secret).unwrap();
        }
    }
    assert!(!agreed.is_member(), "it follows its own removal, and no further");
    let mut all = keyring(&ours);
    let entries = talk(&ours);
    let read = entries.iter().filter_map(|it| Some((read(&mut all, it)?, read(&mut ring, it))));
    Attack { tried: tried.len(), read: read.collect() }
}
