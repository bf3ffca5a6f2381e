//! Certificates that do not fit together, with real keys: who is told, how often, on what proof.
//! Owns: nothing but its cases.
//! Must not know: how an alarm looks.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use super::*;
use crate::identity::keys::AuthorityKey;
use crate::ids::{DeviceKey, Hash, Signature};
use crate::protocol::control::sign;
use crate::wire::control::{Ballot, Entry, Payload};
use crate::wire::frame::Evidence;

/// A key certified under any name.
fn credential(issuer: &AuthorityKey, holder: &str, name: &str, serial: u64) -> Bytes {
    let device = stored::device(8).device();
    let by = Certified::ByAuthority(stored::certificate(issuer, holder, name, serial));
    make_credential(&stored::member(holder), &issuer.network(), by, device, LIFE).unwrap()
}

/// A disk with a control log.
pub(super) struct Logged(pub(super) Disk, pub(super) Vec<Bytes>);

impl Reads for Logged {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.0.setting(key)
    }
    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)> {
        self.0.settings(prefix)
    }
    fn control(&self, _: &str, from: Index, count: usize) -> Vec<Bytes> {
        let skipped = usize::try_from(from.0).unwrap().saturating_sub(1);
        self.1.iter().skip(skipped).take(count).cloned().collect()
    }
    fn control_spaces(&self) -> Vec<String> {
        vec!["main".to_owned()]
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
}

/// Carol, linked with alice, who founded the network.
fn linked() -> Member {
    let key = stored::authority_key();
    let genesis = genesis_of(&key);
    let (mut member, _) = carol(Some(&genesis));
    let alice = stored::member("alice").peer();
    let said = hello(&key, "alice", 1, &stored::device(1), genesis);
    assert_eq!(refused(&mut member, alice, key.network(), &[&said]), None);
    member
}

fn told(member: &mut Member, credentials: [Bytes; 2]) -> Actions {
    told_of(member, Evidence { credentials, entries: None })
}

fn told_of(member: &mut Member, evidence: Evidence) -> Actions {
    let from = stored::member("alice").peer();
    let network = stored::authority_key().network();
    let bytes = Frame { network, body: Body::Evidence(evidence) }.encode();
    member.handle(Event::Frame { from, bytes }, NOW, &Disk::default())
}

fn alarms(actions: &Actions) -> Vec<&AlarmView> {
    let told = actions.notices.iter();
    told.filter_map(|it| if let Notice::Alarm(alarm) = it { Some(&**alarm) } else { None })
        .collect()
}

#[test]
fn what_others_saw_is_told_once_and_stored_and_each_kind_has_its_code() {
    let key = stored::authority_key();
    let alice = credential(&key, "alice", "alice", 1);
    for (other, code, name) in [
        (credential(&key, "bob", "alice", 7), "second_certificate", "alice"),
        (credential(&key, "bob", "a1ice", 7), "second_certificate", "alice"),
        (credential(&key, "alice", "alicia", 7), "second_name", "alice"),
        (credential(&key, "bob", "bob", 1), "serial_twice", "alice"),
    ] {
        let mut member = linked();
        let actions = told(&mut member, [other.clone(), alice.clone()]);
        let [alarm] = alarms(&actions).try_into().unwrap();
        assert_eq!((alarm.code, alarm.name.as_str()), (code, name));
        // What the group knows comes first, whatever came first.
        assert_eq!(alarm.evidence[0].serial, 1);
        assert_eq!(alarm.evidence[1].credential, other);
        let [Write::Setting { key: row, value: Some(value) }] = actions.writes.as_slice() else {
            panic!("{:?}", actions.writes);
        };
        // Again, the other way round, and with the other certificate renewed.
        let again = told(&mut member, [alice.clone(), other.clone()]);
        assert!(alarms(&again).is_empty() && again.writes.is_empty() && a_no(&again).is_none());

        // After a restart it is known, and not told again.
        let mut disk = disk_of("carol", 3, Some(&genesis_of(&key)));
        disk.0.insert(row.clone(), value.clone());
        let (mut member, started) = member_with("carol", 3, disk);
        assert!(alarms(&started).is_empty());
        let command = Command::People(PeopleCommand::Alarms);
        let event = Event::Command { id: CommandId(1), command };
        let asked = member.handle(event, NOW, &Disk::default());
        let known = asked.notices.iter().find_map(|notice| match notice {
            Notice::Alarms { alarms, .. } => Some(alarms.as_slice()),
            _ => None,
        });
        assert_eq!(known, Some([alarm.clone()].as_slice()));
    }
}

#[test]
fn what_proves_nothing_alarms_nobody_and_ends_the_link() {
    let (key, foreign) = (stored::authority_key(), stored::other_authority_key());
    let alice = credential(&key, "alice", "alice", 1);
    let mut altered = credential(&key, "bob", "alice", 7).to_vec();
    *altered.last_mut().unwrap() ^= 1;
    for other in [
        // The same, renewed, of somebody else, of another authority, altered, nothing.
        alice.clone(),
        credential(&key, "alice", "alice", 7),
        credential(&key, "bob", "bob", 7),
        credential(&foreign, "bob", "alice", 7),
        altered.into(),
        Bytes::new(),
    ] {
        let mut member = linked();
        let actions = told(&mut member, [alice.clone(), other]);
        assert!(alarms(&actions).is_empty() && actions.writes.is_empty());
        assert_eq!(a_no(&actions), Some(Refusal::FieldBad));
    }
}

/// Alice, as leader, orders this at one place.
fn ordered(serial: u8, payload: Payload) -> Bytes {
    let network = stored::authority_key().network();
    let device = stored::device(serial);
    let entry = Entry {
        ballot: Ballot { generation: 0, term: 3, rank: [1; 4], peer: Some(id_of("alice")) },
        index: Index(9),
        stamp: stored::NOW,
        previous: Hash::ZERO,
        payload,
        signer: device.device(),
        votes: Vec::new(),
        signature: Signature([0; 64]),
    };
    sign(entry, &network, &device).encode()
}

fn id_of(name: &str) -> PeerId {
    stored::member(name).peer()
}

#[test]
fn a_leader_that_signed_two_things_for_one_place_is_named_once_with_both() {
    let key = stored::authority_key();
    let other = Payload::Intent { id: IntentId([4; 16]), bytes: Bytes::from_static(b"other") };
    let leader = stored::credential(&key, "alice", 1, &stored::device(1));
    let entries = [ordered(1, Payload::Empty), ordered(1, other.clone())];
    let credentials = [leader.clone(), leader.clone()];
    let evidence = Evidence { credentials: credentials.clone(), entries: Some(entries.clone()) };
    let mut member = linked();
    let actions = told_of(&mut member, evidence.clone());
    let [alarm] = alarms(&actions).try_into().unwrap();
    assert_eq!((alarm.code, alarm.name.as_str()), ("two_orders", "alice"));
    assert_eq!(alarm.entries, entries);
    assert_eq!(alarm.evidence[0].credential, leader);
    assert!(alarm.message.contains("term 3") && alarm.message.contains("number 9"));
    assert_eq!(passed_on(&actions), std::slice::from_ref(&evidence));
    // Told once, and after a restart from what was stored.
    let again = told_of(&mut member, evidence.clone());
    assert!(alarms(&again).is_empty() && again.writes.is_empty() && a_no(&again).is_none());
    // Her other life signed the one of them: as good a proof.
    let elder = [leader.clone(), stored::credential(&key, "alice", 1, &stored::device(8))];
    let entries = Some([ordered(1, Payload::Empty), ordered(8, other.clone())]);
    let lives = Evidence { credentials: elder, entries };
    assert_eq!(alarms(&told_of(&mut linked(), lives)).len(), 1);
    // The same twice, under another's name or key, unsigned: it ends the link of who says so.
    let bob = stored::credential(&key, "bob", 2, &stored::device(2));
    let same = [ordered(1, Payload::Empty), ordered(1, Payload::Empty)];
    let by_bob = [ordered(1, Payload::Empty), ordered(2, other.clone())];
    let mut forged = Entry::decode(&ordered(1, other)).unwrap();
    forged.stamp = Wall(1);
    let forged = [ordered(1, Payload::Empty), forged.encode()];
    let junk = [Bytes::from_static(b"x"), Bytes::from_static(b"y")];
    for (credentials, entries) in [
        (credentials.clone(), same),
        (credentials.clone(), by_bob.clone()),
        ([leader.clone(), bob.clone()], by_bob),
        ([bob.clone(), bob], forged.clone()),
        (credentials.clone(), forged),
        (credentials, junk),
    ] {
        let mut member = linked();
        let actions = told_of(&mut member, Evidence { credentials, entries: Some(entries) });
        assert!(alarms(&actions).is_empty() && actions.writes.is_empty());
        assert_eq!(a_no(&actions), Some(Refusal::FieldBad));
    }
}

/// What is passed on to those linked.
fn passed_on(actions: &Actions) -> Vec<Evidence> {
    let frames = actions.sends.iter().filter_map(|send| match send {
        Send::Frame { bytes, .. } => Frame::decode(bytes).ok(),
        _ => None,
    });
    let told = frames.filter_map(|frame| match frame.body {
        Body::Evidence(it) => Some(it),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_void_admission_in_the_control_log_is_looked_at() {
    let key = stored::authority_key();
    let device = stored::device(8);
    let wish = Wish::Admit { credential: credential(&key, "bob", "alice", 7) };
    let id = IntentId([4; 16]);
    let body = intent_body(key.network(), id, &wish);
    let signature = device.sign(Domain::Intent, &body);
    let bytes = intent(stored::member("bob").peer(), &body, &signature);
    let peer = Some(stored::member("alice").peer());
    let entry = Entry {
        ballot: Ballot { generation: 0, term: 1, rank: [1; 4], peer },
        index: Index(1),
        stamp: stored::NOW,
        previous: Hash::ZERO,
        payload: Payload::Intent { id, bytes },
        signer: DeviceKey([0; 32]),
        votes: Vec::new(),
        signature: Signature([0; 64]),
    };
    let mut disk = disk_of("carol", 3, Some(&genesis_of(&key)));
    let commit = Bytes::copy_from_slice(&1_u64.to_be_bytes());
    disk.0.insert("control/main/commit".to_owned(), commit);
    let device = stored::device(3);
    let holder = Keys { member: stored::member("carol"), device: device.device() };
    let logged = Logged(disk, vec![entry.encode()]);
    let mut member =
        Member::load(setup("carol", 3), Rc::new(device), Rc::new(holder), &logged, NOW).unwrap();
    assert_eq!(member.ledger().unwrap().applied(), Index(1));
    let actions = member.handle(Event::Started, NOW, &logged);
    let [alarm] = alarms(&actions).try_into().unwrap();
    assert_eq!(alarm.code, "second_certificate");
    assert_eq!(alarm.evidence[1].peer, stored::member("bob").peer());
    let again = member.handle(Event::Woke, NOW, &logged);
    assert!(alarms(&again).is_empty());
}

#[test]
fn who_is_ignored_and_what_is_muted_is_known_after_a_restart_and_told_to_nobody() {
    let mut member = linked();
    let disk = Disk::default();
    let ask = |member: &mut Member, command: Command| {
        let actions = member.handle(Event::Command { id: CommandId(1), command }, NOW, &disk);
        assert!(actions.sends.is_empty(), "{:?}", actions.sends);
        actions
    };
    let ignore = |name: &str, is_ignored| {
        let name = name.to_owned();
        Command::People(PeopleCommand::Ignore { name, is_ignored })
    };
    let names = |actions: &Actions| -> Option<Vec<String>> {
        actions.notices.iter().find_map(|notice| match notice {
            Notice::Ignored { members, .. } => {
                assert!(members.iter().all(|member| member.is_ignored));
                Some(members.iter().map(|member| member.name.clone()).collect())
            }
            _ => None,
        })
    };
    let no = |actions: &Actions| {
        actions.notices.iter().find_map(|notice| match notice {
            Notice::Failed { refused, .. } => Some(refused.refusal),
            _ => None,
        })
    };
    assert_eq!(no(&ask(&mut member, ignore("nobody", true))), Some(Refusal::NameUnknown));
    let done = ask(&mut member, ignore("@alice", true));
    assert_eq!(names(&done), Some(vec!["alice".to_owned()]));
    let [Write::Setting { key, value: Some(value) }] = done.writes.as_slice() else {
        panic!("{:?}", done.writes);
    };
    let mute = |is_muted| Command::Mute { room: "main".to_owned(), is_muted };
    let muted = ask(&mut member, mute(true));
    let [Write::Setting { key: room, value: Some(on) }] = muted.writes.as_slice() else {
        panic!("{:?}", muted.writes);
    };
    assert_eq!(
        no(&ask(&mut member, Command::Mute { room: "x".to_owned(), is_muted: true })),
        Some(Refusal::RoomUnknown)
    );

    let mut disk = disk_of("carol", 3, Some(&genesis_of(&stored::authority_key())));
    disk.0.insert(key.clone(), value.clone());
    disk.0.insert(room.clone(), on.clone());
    let (mut member, _) = member_with("carol", 3, disk);
    let list = || Command::People(PeopleCommand::Ignored);
    assert_eq!(names(&ask(&mut member, list())), Some(vec!["alice".to_owned()]));
    let rooms = ask(&mut member, Command::Rooms);
    let is_muted = |it: &Notice| matches!(it, Notice::Rooms { rooms, .. } if rooms[0].is_muted);
    assert!(rooms.notices.iter().any(is_muted), "{:?}", rooms.notices);
    let done = ask(&mut member, ignore("alice", false));
    assert_eq!(names(&done), Some(Vec::new()));
    assert!(matches!(done.writes.as_slice(), [Write::Setting { value: None, .. }]));
    let done = ask(&mut member, mute(false));
    assert!(matches!(done.writes.as_slice(), [Write::Setting { value: None, .. }]));
}

#[test]
fn whois_tells_where_a_member_stands_how_it_is_linked_and_when_it_was_seen() {
    let mut member = linked();
    let disk = Disk::default();
    let mut whois = |event: Option<Event>| {
        if let Some(event) = event {
            drop(member.handle(event, NOW, &disk));
        }
        let command = Command::People(PeopleCommand::Whois { name: "alice".to_owned() });
        let actions = member.handle(Event::Command { id: CommandId(1), command }, NOW, &disk);
        let told = actions.notices.into_iter().find_map(|notice| match notice {
            Notice::Whois { whois, .. } => Some(whois),
            _ => None,
        });
        told.unwrap()
    };
    let alice = stored::member("alice").peer();
    let view = whois(Some(Event::RoundTrip { peer: alice, micros: 1_234 }));
    assert_eq!((view.member.peer, view.serial), (alice, 1));
    assert_eq!(view.link.as_ref().and_then(|link| link.rtt_micros), Some(1_234));
    assert_eq!((view.verified_at, view.removed_at), (None, None));
    let view = whois(Some(Event::LinkDown { peer: alice }));
    assert_eq!((view.link, view.member.last_seen), (None, Some(NOW.wall)));
}

#[test]
fn when_a_member_was_seen_last_is_known_after_a_restart_and_of_strangers_nothing_is_kept() {
    let seen = |actions: &Actions| -> Vec<(String, Bytes)> {
        let rows = actions.writes.iter().filter_map(|it| match it {
            Write::Setting { key, value: Some(value) } if key.starts_with("last_seen/") => {
                assert_eq!(it.durability(), Durability::Soft);
                Some((key.clone(), value.clone()))
            }
            _ => None,
        });
        rows.collect()
    };
    let alice = stored::member("alice").peer();
    let mut member = linked();
    let later = Now { wall: Wall(NOW.wall.0 + 5_000), ..NOW };
    let gone = member.handle(Event::LinkDown { peer: alice }, later, &Disk::default());
    let rows = seen(&gone);
    assert_eq!(rows.len(), 1, "{rows:?}");
    // Another one, whom the network does not know.
    let key = stored::authority_key();
    let genesis = genesis_of(&key);
    let (mut member, _) = carol(Some(&genesis));
    let bob = stored::member("bob").peer();
    let said = hello(&key, "bob", 2, &stored::device(2), genesis.clone());
    assert_eq!(refused(&mut member, bob, key.network(), &[&said]), None);
    let gone = member.handle(Event::LinkDown { peer: bob }, later, &Disk::default());
    assert!(seen(&gone).is_empty(), "{:?}", seen(&gone));

    let mut disk = disk_of("carol", 3, Some(&genesis));
    disk.0.extend(rows);
    let (mut member, _) = member_with("carol", 3, disk);
    let disk = Disk::default();
    let command = Command::People(PeopleCommand::Whois { name: "alice".to_owned() });
    let told = member.handle(Event::Command { id: CommandId(1), command }, later, &disk);
    let is_it = |it: &Notice| matches!(it, Notice::Whois { whois, .. } if whois.member.last_seen == Some(later.wall));
    assert!(told.notices.iter().any(is_it), "{:?}", told.notices);
}
