//! What a member and a bootstrap refuse at their door, with real keys and no network.
//! Owns: nothing but its cases.
//! Must not know: how a refusal travels.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::bootstrap::{self, Bootstrap};
use super::control::Mistakes;
use super::member::{self, Holder, Member, Trust};
use super::*;
use crate::identity::genesis;
use crate::identity::keys::{AuthorityKey, Device, MemberKey, make_credential};
use crate::identity::testkeys as stored;
use crate::identity::{Domain, Proofs};
use crate::ids::{Incarnation, IntentId, NetworkId, SessionSalt};
use crate::refusal::Refusal;
use crate::wire::frame::{Body, Frame, Hello};
use crate::wire::identity::Certified;
use crate::wire::identity::GenesisIn;
use crate::wire::roster::{Submitted, Wish, intent, intent_body};

/// The life of every database here, as in `testkeys`.
const LIFE: Incarnation = Incarnation(7);
const NOW: Now = Now { mono: Mono(1_000), wall: stored::NOW };

#[derive(Default)]
struct Disk(BTreeMap<String, Bytes>);

impl Reads for Disk {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).cloned()
    }
    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let all = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
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
}

struct Keys {
    member: MemberKey,
    device: crate::ids::DeviceKey,
}

impl Holder for Keys {
    fn peer(&self) -> PeerId {
        self.member.peer()
    }
    fn spki(&self) -> Vec<u8> {
        self.member.spki().to_vec()
    }
    fn possession(&self, of: NetworkId, name: &str, nonce: &[u8; 16]) -> Result<Vec<u8>, Refusal> {
        self.member.possession(&of, name, nonce)
    }
    fn vouched(&self, _: &str) -> Option<Result<Bytes, Refusal>> {
        None
    }
    fn credential(
        &self,
        of: NetworkId,
        by: &Certified,
        life: Incarnation,
    ) -> Result<Bytes, Refusal> {
        make_credential(&self.member, &of, by.clone(), self.device, life)
    }
}

fn witness() -> PeerId {
    PeerId::of_ed25519(&stored::device(9).device())
}

/// A genesis that names alice the founder. Signatures are salted, so each call makes another.
fn genesis_of(key: &AuthorityKey) -> Bytes {
    let body = GenesisIn {
        network: key.network(),
        authority: stored::authority(key).der,
        founder: stored::credential(key, "alice", 1, &stored::device(1)),
        witness: witness(),
        witness_incarnation: Incarnation(3),
        created_at: stored::NOW,
        nonce: [5; 16],
    };
    genesis::make(key, &body).unwrap()
}

fn hello(key: &AuthorityKey, name: &str, serial: u64, device: &Device, genesis: Bytes) -> Body {
    Body::Hello(Hello {
        authority: stored::authority(key).der,
        credential: stored::credential(key, name, serial, device),
        genesis,
        incarnation: LIFE,
        addresses: Vec::new(),
        is_bootstrap: false,
    })
}

/// Links a peer and hands over its frames; what the core refused it with at the last.
fn refused(
    core: &mut dyn Core,
    from: PeerId,
    network: NetworkId,
    said: &[&Body],
) -> Option<Refusal> {
    let link = Link {
        transport: Transport::Tcp,
        address: "/ip4/192.0.2.1/tcp/1".to_owned(),
        is_outbound: false,
    };
    let disk = Disk::default();
    let mut actions = core.handle(Event::LinkUp { peer: from, link }, NOW, &disk);
    for body in said {
        let bytes = Frame { network, body: (*body).clone() }.encode();
        actions = core.handle(Event::Frame { from, bytes }, NOW, &disk);
    }
    answers(&actions).into_iter().find_map(|body| match body {
        Body::Refused { refusal, .. } => Some(refusal),
        Body::Submitted(Submitted { refused, .. }) => refused.map(|(refusal, _)| refusal),
        _ => None,
    })
}

fn answers(actions: &Actions) -> Vec<Body> {
    let frames = actions.sends.iter().filter_map(|send| match send {
        Send::Frame { bytes, .. } => Some(Frame::decode(bytes).unwrap().body),
        _ => None,
    });
    frames.collect()
}

fn a_bootstrap(networks_max: usize) -> Bootstrap {
    let setup = bootstrap::Setup {
        me: witness(),
        incarnation: Incarnation(3),
        timers: Timers::LAN,
        seed: [1; 32],
        networks_max,
        mistakes: Mistakes::default(),
    };
    Bootstrap::load(setup, Rc::new(stored::device(9)), &Disk::default(), NOW).unwrap()
}

/// Carol, certified and knowing this genesis; or with an empty disk.
fn carol(genesis: Option<&Bytes>) -> (Member, Vec<Notice>) {
    let key = stored::authority_key();
    let mut disk = Disk::default();
    if let Some(genesis) = genesis {
        for (name, value) in [
            ("identity/authority", stored::authority(&key).der),
            ("identity/certificate", stored::certificate(&key, "carol", "carol", 3)),
            ("identity/name", Bytes::from_static(b"carol")),
            ("network/genesis", genesis.clone()),
        ] {
            disk.0.insert(name.to_owned(), value);
        }
    }
    let setup = member::Setup {
        name: "carol".to_owned(),
        bootstrap: Vec::new(),
        keyauth: Vec::new(),
        trust: Trust::First,
        incarnation: LIFE,
        salt: SessionSalt([0; 16]),
        timers: Timers::LAN,
        seed: [3; 32],
        mistakes: Mistakes::default(),
    };
    let device = stored::device(3);
    let holder = Keys { member: stored::member("carol"), device: device.device() };
    let mut member = Member::load(setup, Rc::new(device), Rc::new(holder), &disk, NOW).unwrap();
    let notices = member.handle(Event::Started, NOW, &disk).notices;
    (member, notices)
}

#[test]
fn whoever_speaks_before_its_hello_is_refused() {
    let key = stored::authority_key();
    let peer = stored::member("bob").peer();
    let mut bootstrap = a_bootstrap(1);
    let said = refused(&mut bootstrap, peer, key.network(), &[&Body::WhoLeads]);
    assert_eq!(said, Some(Refusal::FrameUnexpected));
    let (mut member, _) = carol(Some(&genesis_of(&stored::authority_key())));
    let said = refused(&mut member, peer, key.network(), &[&Body::Goodbye]);
    assert_eq!(said, Some(Refusal::FrameUnexpected));
}

#[test]
fn another_members_credential_opens_no_door() {
    let key = stored::authority_key();
    let alice = hello(&key, "alice", 1, &stored::device(1), Bytes::new());
    let bob = stored::member("bob").peer();
    let (mut member, _) = carol(Some(&genesis_of(&stored::authority_key())));
    let mut bootstrap = a_bootstrap(1);
    let both: [&mut dyn Core; 2] = [&mut bootstrap, &mut member];
    for core in both {
        let said = refused(core, bob, key.network(), &[&alice]);
        assert_eq!(said, Some(Refusal::CertificateOfOther));
    }
}

#[test]
fn a_bootstrap_serves_so_many_networks_and_no_more() {
    let mut bootstrap = a_bootstrap(1);
    let (key, other) = (stored::authority_key(), stored::other_authority_key());
    let device = stored::device(1);
    let alice = hello(&key, "alice", 1, &device, genesis_of(&key));
    let peer = stored::member("alice").peer();
    assert_eq!(refused(&mut bootstrap, peer, key.network(), &[&alice]), None);
    let bob = hello(&other, "bob", 1, &device, genesis_of(&other));
    let peer = stored::member("bob").peer();
    let said = refused(&mut bootstrap, peer, other.network(), &[&bob]);
    assert_eq!(said, Some(Refusal::NetworksFull));
}

#[test]
fn a_member_that_knows_no_authority_yet_lets_nobody_in() {
    let (mut member, _) = carol(None);
    let key = stored::authority_key();
    let peer = stored::member("bob").peer();
    let bob = hello(&key, "bob", 2, &stored::device(2), Bytes::new());
    // Without an authority there is no network to answer in; the link is closed all the same.
    let link = Link { transport: Transport::Tcp, address: String::new(), is_outbound: false };
    let disk = Disk::default();
    let _ = member.handle(Event::LinkUp { peer, link }, NOW, &disk);
    let bytes = Frame { network: key.network(), body: bob }.encode();
    let actions = member.handle(Event::Frame { from: peer, bytes }, NOW, &disk);
    assert!(actions.sends.contains(&Send::Close { peer }), "{:?}", actions.sends);
}

#[test]
fn who_was_founded_otherwise_is_refused() {
    let key = stored::authority_key();
    let peer = stored::member("bob").peer();
    let (ours, theirs) = (genesis_of(&key), genesis_of(&key));
    let device = stored::device(2);
    let (mut member, _) = carol(Some(&ours));
    let same = hello(&key, "bob", 2, &device, ours.clone());
    assert_eq!(refused(&mut member, peer, key.network(), &[&same]), None);
    let (mut member, _) = carol(Some(&ours));
    let other = hello(&key, "bob", 2, &device, theirs);
    let said = refused(&mut member, peer, key.network(), &[&other]);
    assert_eq!(said, Some(Refusal::GenesisOther));
}

#[test]
fn without_a_leader_a_wish_is_refused_for_now() {
    let key = stored::authority_key();
    let (bob, device) = (stored::member("bob").peer(), stored::device(2));
    let credential = stored::credential(&key, "bob", 2, &device);
    let body = intent_body(key.network(), IntentId([1; 16]), &Wish::Admit { credential });
    let wish = intent(bob, &body, &device.sign(Domain::Intent, &body));
    let (mut member, _) = carol(Some(&genesis_of(&stored::authority_key())));
    let hello = hello(&key, "bob", 2, &device, Bytes::new());
    let said = refused(&mut member, bob, key.network(), &[&hello, &Body::Submit(wish)]);
    assert_eq!(said, Some(Refusal::NoLeader));
    assert!(Refusal::NoLeader.is_retryable());
}

#[test]
fn a_copy_of_oneself_is_told_and_hung_up_on() {
    let (mut member, _) = carol(Some(&genesis_of(&stored::authority_key())));
    let peer = stored::member("carol").peer();
    let link = Link { transport: Transport::Tcp, address: String::new(), is_outbound: true };
    let actions = member.handle(Event::LinkUp { peer, link }, NOW, &Disk::default());
    assert!(actions.sends.contains(&Send::Close { peer }));
    let told = Refusal::IdentityInUse.why();
    assert!(actions.notices.iter().any(|it| *it == Notice::Info { text: told.to_owned() }));
}

#[test]
fn a_joiner_before_the_founder_says_whom_it_waits_for() {
    let (mut member, notices) = carol(Some(&genesis_of(&stored::authority_key())));
    let why = Refusal::FoundingElsewhere.why();
    let is_said = |notice: &Notice| matches!(notice, Notice::Waiting { text } if text.contains(why) && text.contains("alice"));
    assert!(!notices.iter().any(is_said), "a wait is not worth a line before it lasts");
    let later = Now { mono: Mono(3_000), ..NOW };
    let notices = member.handle(Event::Woke, later, &Disk::default()).notices;
    assert!(notices.iter().any(is_said), "{notices:?}");
}
