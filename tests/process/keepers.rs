//! Keepers: members outside a room that carry what is said in it to who was away, and read nothing.
//! Owns: the flag `--keep` as it is seen from outside, and an attack with all that a keeper has.
//! Must not know: how deposits travel.
//! Invariants: as in `main.rs`; what the attack opens with a member's keys shows that it works.
//! Start reading at: the first test.

use std::time::Instant;

use p2pgroup::ids::{NetworkId, PeerId, RoomId};
use p2pgroup::protocol::Reads;
use p2pgroup::protocol::room::keys::deposit::{DepositKey, Place};
use p2pgroup::protocol::room::keys::keyring::{Keyring, Opened};
use p2pgroup::protocol::room::keys::schedule::RoomSecret;
use p2pgroup::store::Store;
use p2pgroup::wire::keep::Kept;
use p2pgroup::wire::sealed::Sealed;

use crate::harness::{LONG, Lab, Proc, Value, json, settled};
use crate::rooms::{create, done, hear_in, holds, say_in, texts};
use crate::secrets::rows;
use crate::stores::open;

/// What everybody uses here: two in a room, and a third that keeps.
const ROOM: &str = "walnut";

fn keep(lab: &Lab, name: &str) -> Proc {
    let keeper = lab.start_with(name, &["--no-embedded", "--keep"]);
    keeper.ready();
    keeper
}

/// Members of whom the last keeps and the others are in a room; the room's id.
fn with_room(lab: &Lab, names: &[&str]) -> (Vec<Proc>, RoomId) {
    let (keeper, inside) = names.split_last().unwrap();
    let mut members: Vec<Proc> = inside.iter().map(|name| lab.join(name)).collect();
    members.push(keep(lab, keeper));
    settled(&members);
    let room = create(&members[0], ROOM, json!({}));
    let room = RoomId::parse(room["id"].as_str().unwrap()).unwrap();
    for name in &inside[1..] {
        done(&members[0], json!({"cmd": "room_invite", "room": ROOM, "name": name}));
    }
    for member in &members[..inside.len()] {
        holds(member, ROOM, inside);
    }
    (members, room)
}

/// Sends, and gives the id.
fn send(member: &Proc, text: &str) -> String {
    let sent = member.ask(json!({"cmd": "send", "room": ROOM, "text": text}));
    assert_eq!(sent["event"], "sent", "{}: {sent}\n{}", member.name, member.story());
    sent["id"].as_str().unwrap().to_owned()
}

/// Waits until a keeper has a message in its care.
fn kept(member: &Proc, id: &str) -> Value {
    let until = Instant::now() + LONG;
    loop {
        let info = member.ask(json!({"cmd": "info", "id": id}));
        if info["kept_by"] != json!([]) {
            return info;
        }
        assert!(Instant::now() < until, "{}: {info}\n{}", member.name, member.story());
        member.status();
    }
}

/// A shelf's view of a room.
fn place(lab_status: &Value, room: RoomId, keeper: &Proc) -> Place {
    let hex = lab_status["network"].as_str().unwrap().as_bytes().to_vec();
    let pairs = hex.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let keeper = PeerId::parse(keeper.ready()["peer_id"].as_str().unwrap()).unwrap();
    Place { network: NetworkId::from_bytes(&bytes).unwrap(), room, keeper }
}

fn keyring(store: &Store, room: RoomId) -> Keyring {
    let prefix = if room == RoomId::MAIN { "main".to_owned() } else { room.to_string() };
    Keyring::load(room, &rows(store, &format!("room/{prefix}/keys/"))).unwrap()
}

fn secrets(store: &Store, room: RoomId) -> Vec<RoomSecret> {
    let ring = keyring(store, room);
    ring.ids().filter_map(|id| ring.secret(&id).cloned()).collect()
}

/// What of a keeper's store opens with the keys of somebody's.
fn opened(keeper: &Store, theirs: &Store, at: &Place) -> Vec<String> {
    let mut ring = keyring(theirs, at.room);
    let mut read = Vec::new();
    for secret in secrets(theirs, at.room) {
        let key = DepositKey::of(&secret, at);
        for (_, sealed) in keeper.deposits(key.shelf(), 0, 1_000) {
            let kept = Kept::decode(key.open(&sealed).unwrap()).unwrap();
            for (secret, _) in &kept.secrets {
                ring.add(RoomSecret::new(*secret.0)).unwrap();
            }
            for bytes in &kept.page.envelopes {
                let entry = Sealed::decode(bytes).unwrap();
                if let Opened::Plain(says) = ring.open(&entry) {
                    read.push(says.text);
                }
            }
        }
    }
    read.sort();
    read
}

#[test]
fn two_who_are_never_on_together_reach_each_other_by_a_keeper_that_can_read_nothing() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let (mut members, room) = with_room(&lab, &["alice", "bob", "carol"]);
    let carol = members.pop().unwrap();
    let bob = members.pop().unwrap();
    let alice = members.pop().unwrap();
    assert_eq!(alice.status()["keeping"], Value::Null);
    bob.exit();
    let id = send(&alice, "the chestnut falls at nine");
    let info = kept(&alice, &id);
    assert_eq!((&info["state"], &info["kept_by"]), (&json!("queued"), &json!(["carol"])), "{info}");
    assert_eq!((&info["to"], &info["lacks"][0]["name"]), (&json!([]), &json!("bob")));
    let slash = alice.ask(json!({"cmd": "slash", "line": format!("/info {id}")}));
    assert_eq!(slash["data"]["kept_by"], json!(["carol"]));
    // Said, and gone at once: an exit waits for the keeper.
    say_in(&alice, ROOM, "and I am off");
    alice.exit();

    let bob = lab.join("bob");
    let heard = hear_in(&bob, ROOM, "the chestnut falls at nine");
    assert_eq!((&heard["from"], &heard["id"]), (&json!("alice"), &json!(id)));
    hear_in(&bob, ROOM, "and I am off");
    say_in(&bob, ROOM, "nine it is");
    bob.exit();
    let alice = lab.join("alice");
    hear_in(&alice, ROOM, "nine it is");
    assert_eq!(texts(&alice, ROOM).len(), 3);
    let status = carol.status();
    let keeping = &status["keeping"];
    assert!(keeping["deposits"].as_u64() >= Some(3), "{status}");
    assert!(keeping["bytes"].as_u64() <= keeping["quota"].as_u64(), "{status}");
    let slash = carol.ask(json!({"cmd": "slash", "line": "/status"}));
    assert_eq!(&slash["data"]["keeping"], keeping);
    let at = place(&status, room, &carol);
    alice.exit();
    carol.exit();

    // All that carol has, against what she keeps.
    let (keeper, member) = (open(&lab.home("carol")), open(&lab.home("alice")));
    let said = ["and I am off", "nine it is", "the chestnut falls at nine"];
    assert_eq!(opened(&keeper, &member, &at), said, "with a member's keys the attack works");
    assert_eq!(opened(&keeper, &keeper, &at), Vec::<String>::new());
    let sealed: Vec<Vec<u8>> = secrets(&member, room)
        .iter()
        .flat_map(|it| keeper.deposits(DepositKey::of(it, &at).shelf(), 0, 1_000))
        .map(|(_, sealed)| sealed.to_vec())
        .collect();
    assert_eq!(sealed.len(), keeper.oldest_deposits(None, 1_000).len(), "all of it is seen");
    let hers = secrets(&keeper, RoomId::MAIN);
    assert!(!hers.is_empty(), "there is something to try");
    for secret in &hers {
        for room in [room, RoomId::MAIN] {
            let key = DepositKey::of(secret, &Place { room, ..at });
            assert!(sealed.iter().all(|it| key.open(it).is_none()));
            assert_eq!(keeper.deposits(key.shelf(), 0, 1_000), []);
        }
    }
    // And nowhere in her store is the name of the room, or what was said.
    let stored = keeper.settings("").into_iter().map(|(_, value)| value.to_vec());
    let ordered = keeper.control("main", p2pgroup::ids::Index(1), 100_000);
    let all: Vec<Vec<u8>> =
        stored.chain(ordered.into_iter().map(|it| it.to_vec())).chain(sealed).collect();
    for word in [ROOM, "chestnut", "nine it is"] {
        let has = |bytes: &Vec<u8>| bytes.windows(word.len()).any(|it| it == word.as_bytes());
        assert!(!all.iter().any(has), "{word}");
    }
}

#[test]
fn a_keeper_that_is_killed_has_what_it_acknowledged() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let (mut members, _) = with_room(&lab, &["alice", "bob", "carol"]);
    members[1].exit();
    let ids: Vec<String> = (0..20).map(|n| send(&members[0], &format!("number {n}"))).collect();
    for id in &ids {
        kept(&members[0], id);
    }
    members[2].kill();
    let more = send(&members[0], "while the keeper is gone");
    members[2] = keep(&lab, "carol");
    kept(&members[0], &more);
    members[0].kill();
    members[2].kill();
    members[2] = keep(&lab, "carol");
    let bob = lab.join("bob");
    for n in 0..20 {
        hear_in(&bob, ROOM, &format!("number {n}"));
    }
    hear_in(&bob, ROOM, "while the keeper is gone");
    bob.assert_heard_once();
    assert_eq!(texts(&bob, ROOM).len(), 21);
    // What was collected is not collected again, and nothing is shown twice.
    bob.exit();
    let bob = lab.join("bob");
    assert_eq!(texts(&bob, ROOM).len(), 21);
    assert_eq!(bob.heard(), Vec::<String>::new());
}

#[test]
fn who_was_put_out_finds_nothing_said_later_and_who_was_away_reads_over_epochs() {
    let lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let (mut members, room) = with_room(&lab, &["alice", "bob", "dave", "carol"]);
    members[1].exit();
    let first = send(&members[0], "with dave");
    kept(&members[0], &first);
    hear_in(&members[2], ROOM, "with dave");
    let kicked = json!({"cmd": "kick", "room": ROOM, "name": "dave"});
    members[0].order(&kicked);
    members[0].wait("dave is out", |e| e["event"] == "room" && e["what"] == "kicked");
    // Most likely under a key of her own, for keys without dave are not agreed on yet.
    let second = send(&members[0], "without dave");
    kept(&members[0], &second);
    let rekeyed = members[0].ask(json!({"cmd": "slash", "line": format!("/rekey #{ROOM}")}));
    assert_eq!(rekeyed["ok"], true, "{rekeyed}");
    let third = send(&members[0], "under newer keys");
    kept(&members[0], &third);
    let at = place(&members[0].status(), room, &members[3]);
    members[0].exit();
    let bob = lab.join("bob");
    for text in ["with dave", "without dave", "under newer keys"] {
        hear_in(&bob, ROOM, text);
    }
    bob.exit();
    members.remove(2).exit();
    members.pop().unwrap().exit();

    let (keeper, bob, dave) =
        (open(&lab.home("carol")), open(&lab.home("bob")), open(&lab.home("dave")));
    let all = ["under newer keys", "with dave", "without dave"];
    assert_eq!(opened(&keeper, &bob, &at), all);
    assert_eq!(opened(&keeper, &dave, &at), ["with dave"], "he was in the room then");
}

#[test]
fn a_keeper_keeps_no_more_than_its_quota() {
    let quota: u64 = 65_536;
    let lab = Lab::new().with("KEEP_QUOTA", &quota.to_string()).with("KEEP_DAYS", "2");
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let (members, _) = with_room(&lab, &["alice", "bob", "carol"]);
    members[1].exit();
    let mut last = String::new();
    for n in 0..40 {
        last = send(&members[0], &format!("{n} {}", "x".repeat(700)));
        kept(&members[0], &last);
        let status = members[2].status();
        let keeping = &status["keeping"];
        assert_eq!(keeping["quota"], json!(quota));
        // Of one depositor at most a quarter.
        assert!(keeping["bytes"].as_u64().unwrap() <= quota / 4, "{status}");
        assert!(keeping["deposits"].as_u64().unwrap() > 0, "{status}");
    }
    let status = members[2].status();
    assert!(status["keeping"]["deposits"].as_u64().unwrap() < 40, "the oldest went: {status}");
    members[2].exit();
    let keeper = open(&lab.home("carol"));
    let bytes: u64 = keeper.oldest_deposits(None, 1_000).iter().map(|row| row.bytes).sum();
    assert!(bytes > 0 && bytes <= quota / 4, "{bytes}");
    drop(last);
}
