//! What a member and a bootstrap refuse at their door, with real keys and no network.
//! Owns: nothing but its cases.
//! Must not know: how a refusal travels.
//! Invariants: see each test's name.
//! Start reading at: the first test.

mod claims;
mod links;
mod people;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::bootstrap::{self, Bootstrap};
use super::control::Mistakes;
use super::member::{self, Holder, Member, Trust};
use super::*;
use crate::identity::genesis;
use crate::identity::keys::{AuthorityKey, Device, MemberKey, make_credential};
use crate::identity::testkeys as stored;
use crate::identity::{AuthorityDomain, Domain, Proofs, answer};
use crate::ids::{Incarnation, IntentId, NetworkId, SessionSalt};
use crate::limits::{CERTIFICATE_GRACE, CERTIFICATE_LIFE, ROOMS_PER_MEMBER_MAX};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Wall};
use crate::wire::frame::{Body, Frame, Hello};
use crate::wire::identity::{AuthorityReply, AuthoritySignedIn, Certified, GenesisIn};
use crate::wire::roster::{Submitted, Wish, intent, intent_body};

/// The life of every database here, as in `testkeys`.
const LIFE: Incarnation = Incarnation(7);
pub(super) const NOW: Now = Now { mono: Mono(1_000), wall: stored::NOW };

#[derive(Default)]
pub(super) struct Disk(pub(super) BTreeMap<String, Bytes>);

impl Disk {
    /// Takes settings alone.
    pub(super) fn store(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            match write {
                Write::Setting { key, value: Some(value) } => self.0.insert(key, value),
                Write::Setting { key, value: None } => self.0.remove(&key),
                other => panic!("{other:?}"),
            };
        }
    }
}

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
    /// One entry, if there is a setting that stands for one.
    fn newest(&self, room: RoomId, _: usize) -> Vec<StoredEntry> {
        let entry = |bytes: &Bytes| StoredEntry {
            log: LogId { room, author: witness(), incarnation: LIFE },
            seq: Seq(1),
            hash: Hash::of("p2pgroup/1 entry", &[bytes]),
            lamport: 1,
            signature: None,
            bytes: bytes.clone(),
        };
        self.0.get("an entry").map(entry).into_iter().collect()
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
pub(super) fn genesis_of(key: &AuthorityKey) -> Bytes {
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
        keeps: false,
        tells_links: true,
        session: None,
        at: None,
    })
}

/// Links a peer and hands over its frames; what the core refused it with at the last.
fn refused(
    core: &mut dyn Core,
    from: PeerId,
    network: NetworkId,
    said: &[&Body],
) -> Option<Refusal> {
    refused_at(NOW, core, from, network, said)
}

fn refused_at(
    now: Now,
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
    let mut actions = core.handle(Event::LinkUp { peer: from, link }, now, &disk);
    for body in said {
        let bytes = Frame { network, body: (*body).clone() }.encode();
        actions = core.handle(Event::Frame { from, bytes }, now, &disk);
    }
    a_no(&actions)
}

fn a_no(actions: &Actions) -> Option<Refusal> {
    answers(actions).into_iter().find_map(|body| match body {
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
    let (member, started) = member_with("carol", 3, disk_of("carol", 3, genesis));
    (member, started.notices)
}

pub(super) fn disk_of(name: &str, serial: u8, genesis: Option<&Bytes>) -> Disk {
    let key = stored::authority_key();
    let mut disk = Disk::default();
    if let Some(genesis) = genesis {
        for (setting, value) in [
            ("identity/authority", stored::authority(&key).der),
            ("identity/certificate", stored::certificate(&key, name, name, serial.into())),
            ("identity/name", name.as_bytes().to_vec().into()),
            ("network/genesis", genesis.clone()),
        ] {
            disk.0.insert(setting.to_owned(), value);
        }
    }
    disk
}

/// A member with this disk and device; what it did when it started.
fn member_with(name: &str, device: u8, disk: Disk) -> (Member, Actions) {
    let mut member = load(setup(name, device), device, &disk).unwrap();
    let actions = member.handle(Event::Started, NOW, &disk);
    (member, actions)
}

pub(super) fn setup(name: &str, device: u8) -> member::Setup {
    member::Setup {
        name: name.to_owned(),
        bootstrap: Vec::new(),
        keyauth: vec!["/ip4/192.0.2.2/tcp/8999".to_owned()],
        reach: member::Reach::default(),
        trust: Trust::First,
        incarnation: LIFE,
        salt: SessionSalt([0; 16]),
        agreements: member::MLS,
        history: crate::terms::History::DEFAULT,
        direct: crate::terms::Direct::Known,
        quota: member::Quota::default(),
        max_links: 32,
        punches: true,
        files: Default::default(),
        keep: None,
        timers: Timers::LAN,
        seed: [device; 32],
        mistakes: Mistakes::default(),
    }
}

pub(super) fn load(setup: member::Setup, device: u8, disk: &Disk) -> Result<Member, Refused> {
    let device = stored::device(device);
    let holder = Keys { member: stored::member(&setup.name), device: device.device() };
    Member::load(setup, Rc::new(device), Rc::new(holder), disk, NOW)
}

/// Alice, who founded the network, and the bootstrap, with a link between them.
struct Founding {
    alice: Member,
    bootstrap: Bootstrap,
    /// To whom, what.
    wire: VecDeque<(PeerId, Bytes)>,
    /// The last statement that alice made.
    statement: Option<Body>,
    at: u64,
    is_cut: bool,
}

impl Founding {
    fn new() -> Self {
        let genesis = genesis_of(&stored::authority_key());
        let (alice, _) = member_with("alice", 1, disk_of("alice", 1, Some(&genesis)));
        let (wire, at) = (VecDeque::new(), NOW.mono.0);
        let bootstrap = a_bootstrap(1);
        let mut world = Self { alice, bootstrap, wire, statement: None, at, is_cut: false };
        let link = Link { transport: Transport::Tcp, address: String::new(), is_outbound: true };
        let peer = stored::member("alice").peer();
        let _ = world.tell(peer, Event::LinkUp { peer: witness(), link: link.clone() });
        let _ = world.tell(witness(), Event::LinkUp { peer, link });
        world.run(3_000);
        assert!(world.leads());
        world
    }

    fn leads(&self) -> bool {
        self.alice.ledger().is_some_and(|ledger| ledger.control().is_leader())
    }

    fn tell(&mut self, to: PeerId, event: Event) -> Actions {
        let since = self.at.saturating_sub(NOW.mono.0);
        let now = Now { mono: Mono(self.at), wall: Wall(stored::NOW.0 + since) };
        let core: &mut dyn Core =
            if to == witness() { &mut self.bootstrap } else { &mut self.alice };
        let actions = core.handle(event, now, &Disk::default());
        for send in &actions.sends {
            let Send::Frame { to, bytes } = send else { continue };
            let body = Frame::decode(bytes).unwrap().body;
            if matches!(body, Body::Statement(_)) {
                self.statement = Some(body);
            }
            if !self.is_cut && [witness(), stored::member("alice").peer()].contains(to) {
                self.wire.push_back((*to, bytes.clone()));
            }
        }
        actions
    }

    fn frame(&mut self, from: PeerId, to: PeerId, body: &Body) -> Actions {
        let network = stored::authority_key().network();
        let bytes = Frame { network, body: body.clone() }.encode();
        self.tell(to, Event::Frame { from, bytes })
    }

    fn run(&mut self, millis: u64) {
        let alice = stored::member("alice").peer();
        for _ in 0..millis / 10 {
            self.at += 10;
            while let Some((to, bytes)) = self.wire.pop_front() {
                let from = if to == alice { witness() } else { alice };
                let _ = self.tell(to, Event::Frame { from, bytes });
            }
            let _ = self.tell(alice, Event::Woke);
            let _ = self.tell(witness(), Event::Woke);
        }
    }
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

#[test]
fn an_expired_certificate_opens_no_door_and_a_members_own_only_for_a_while() {
    let key = stored::authority_key();
    let at = |life: Millis| Now { wall: stored::NOW.after(life).after(Millis(1)), ..NOW };
    let (expired, long_ago) =
        (at(CERTIFICATE_LIFE), at(Millis(CERTIFICATE_LIFE.0 + CERTIFICATE_GRACE.0)));
    let genesis = genesis_of(&key);
    // Alice belongs already, bob does not.
    for (name, serial, at_first) in [("alice", 1, None), ("bob", 2, Some(()))] {
        let said = hello(&key, name, serial.into(), &stored::device(serial), Bytes::new());
        let peer = stored::member(name).peer();
        for (now, is_refused) in [(NOW, None), (expired, at_first), (long_ago, Some(()))] {
            let (mut member, _) = carol(Some(&genesis));
            let no = refused_at(now, &mut member, peer, key.network(), &[&said]);
            assert_eq!(no, is_refused.map(|()| Refusal::CertificateExpired), "{name}");
        }
        // The bootstrap does not judge who belongs: the same grace for all.
        for (now, no) in [(expired, None), (long_ago, Some(Refusal::CertificateExpired))] {
            let mut bootstrap = a_bootstrap(1);
            let peer = stored::member(name).peer();
            assert_eq!(refused_at(now, &mut bootstrap, peer, key.network(), &[&said]), no);
        }
    }
}

#[test]
fn a_certificate_for_another_name_than_was_asked_for_is_refused() {
    let key = stored::authority_key();
    let mut disk = Disk::default();
    disk.0.insert("identity/authority".to_owned(), stored::authority(&key).der);
    let (mut member, started) = member_with("carol", 3, disk);
    let asked = started.sends.iter().find_map(|send| match send {
        Send::Ask { id, bytes, .. } => Some((*id, bytes.clone())),
        _ => None,
    });
    let (id, question) = asked.expect("the authority is asked for a certificate");
    let der = stored::certificate(&key, "carol", "dave", 3);
    let body = AuthorityReply::Certificate(der).encode();
    let signed = answer::answer_bytes(&question, &body);
    let signature = key.sign(AuthorityDomain::Answer.tag(), &signed).unwrap().into();
    let answer = AuthoritySignedIn { body, signature }.encode();
    let result = Ok((witness(), answer));
    let actions = member.handle(Event::Answered { id, result }, NOW, &Disk::default());
    let is_no = |notice: &Notice| matches!(notice, Notice::Failed { refused, is_fatal: true, .. } if refused.refusal == Refusal::CertificateName);
    assert!(actions.notices.iter().any(is_no), "{:?}", actions.notices);
}

#[test]
fn a_leader_whose_majority_is_silent_orders_nothing() {
    let mut world = Founding::new();
    let key = stored::authority_key();
    let (alice, bob, device) =
        (stored::member("alice").peer(), stored::member("bob").peer(), stored::device(2));
    let link = Link { transport: Transport::Tcp, address: String::new(), is_outbound: false };
    let _ = world.tell(alice, Event::LinkUp { peer: bob, link });
    let hello = hello(&key, "bob", 2, &device, Bytes::new());
    assert_eq!(a_no(&world.frame(bob, alice, &hello)), None);
    world.is_cut = true;
    // So long that nobody counts as heard, and before the next heartbeat draws the conclusion.
    world.at += Timers::LAN.election_max.0 + 100;
    let credential = stored::credential(&key, "bob", 2, &device);
    let body = intent_body(key.network(), IntentId([1; 16]), &Wish::Admit { credential });
    let wish = intent(bob, &body, &device.sign(Domain::Intent, &body));
    let no = a_no(&world.frame(bob, alice, &Body::Submit(wish)));
    assert_eq!(no, Some(Refusal::NoQuorum));
    assert!(Refusal::NoQuorum.is_retryable());
}

#[test]
fn a_statement_of_a_ballot_that_was_outbid_is_refused_and_so_is_one_of_an_unknown_network() {
    let mut world = Founding::new();
    let alice = stored::member("alice").peer();
    let old = world.statement.clone().expect("a leader tells the bootstrap");
    assert_eq!(a_no(&world.frame(alice, witness(), &old)), None, "it holds still");
    world.is_cut = true;
    world.run(3_000);
    assert!(!world.leads());
    world.is_cut = false;
    world.run(3_000);
    assert!(world.leads(), "again, and under a higher ballot");
    assert_eq!(a_no(&world.frame(alice, witness(), &old)), Some(Refusal::BallotStale));

    let key = stored::authority_key();
    let hello = hello(&key, "alice", 1, &stored::device(1), Bytes::new());
    let said = refused(&mut a_bootstrap(1), alice, key.network(), &[&hello, &old]);
    assert_eq!(said, Some(Refusal::NetworkUnknown));
}

#[test]
fn a_database_with_messages_in_the_clear_is_refused_with_one_line() {
    let mut disk = disk_of("alice", 1, Some(&genesis_of(&stored::authority_key())));
    disk.0.insert("an entry".to_owned(), Bytes::from_static(b"hello in the clear"));
    let refused = load(setup("alice", 1), 1, &disk).unwrap_err();
    assert_eq!(refused.refusal, Refusal::DatabaseOlder);
}

#[test]
fn without_a_rooms_keys_there_is_nothing_to_renew_and_without_a_network_no_room() {
    let genesis = genesis_of(&stored::authority_key());
    let act = |room: &str| Command::Act { room: room.to_owned(), action: RoomAction::Rekey };
    let asked = |room: &str| Command::Room { room: room.to_owned() };
    for (genesis, command, refusal) in [
        (Some(&genesis), act("main"), Refusal::NoKeys),
        (None, act("main"), Refusal::NotInRoom),
        (None, asked("main"), Refusal::NoKeys),
        (Some(&genesis), asked("ops"), Refusal::RoomUnknown),
    ] {
        let (mut member, _) = carol(genesis);
        let event = Event::Command { id: CommandId(1), command: command.clone() };
        let notices = member.handle(event, NOW, &Disk::default()).notices;
        let is_no = |it: &Notice| matches!(it, Notice::Failed { refused, .. } if refused.refusal == refusal);
        assert!(notices.iter().any(is_no), "{command:?}: {notices:?}");
    }
}

#[test]
fn who_waits_when_the_core_is_loaded_again_hears_what_is_undone_and_what_may_come_about() {
    let (mut member, _) = carol(Some(&genesis_of(&stored::authority_key())));
    let event = Event::NotStored { commands: vec![CommandId(1)], asked: vec![CommandId(2)] };
    let notices = member.handle(event, NOW, &Disk::default()).notices;
    let refusals: Vec<_> = notices
        .iter()
        .filter_map(|it| match it {
            Notice::Failed { command, refused, is_fatal: false } => {
                Some((command.map(|id| id.0), refused.refusal))
            }
            _ => None,
        })
        .collect();
    assert_eq!(refusals, [(Some(1), Refusal::NotStored), (Some(2), Refusal::TimedOut)]);
    let event = Event::NotStored { commands: vec![CommandId(1)], asked: vec![CommandId(2)] };
    let notices = a_bootstrap(1).handle(event, NOW, &Disk::default()).notices;
    let ids: Vec<_> = notices.iter().filter_map(Notice::command).map(|id| id.0).collect();
    assert_eq!(ids, [1, 2]);
}

/// Alice's wish for a room of this number.
fn new_room(number: usize) -> Body {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let order = Bytes::from_static(&[7; 64]);
    let wish = Wish::Room { room: RoomId(id), is_new: true, order };
    let body = intent_body(stored::authority_key().network(), IntentId(id), &wish);
    let signature = stored::device(1).sign(Domain::Intent, &body);
    Body::Submit(intent(stored::member("alice").peer(), &body, &signature))
}

#[test]
fn who_has_made_as_many_rooms_as_one_may_is_told_and_does_not_wait() {
    let mut world = Founding::new();
    let alice = stored::member("alice").peer();
    let made = |world: &Founding| world.alice.ledger().map(|it| it.roster().rooms_by(&alice));
    let create = |world: &mut Founding, id: u64| {
        let entry = RoomEntry::Invited;
        let action = RoomAction::Create { entry, is_listed: false, description: String::new() };
        let command = Command::Act { room: format!("ops{id}"), action };
        let event = Event::Command { id: CommandId(id), command };
        let notices = world.tell(alice, event).notices;
        notices.into_iter().find_map(|it| match it {
            Notice::Failed { refused, .. } => Some(refused.refusal),
            _ => None,
        })
    };
    for number in 0..ROOMS_PER_MEMBER_MAX - 1 {
        while a_no(&world.frame(witness(), alice, &new_room(number))).is_some() {
            // A minute brings more; the leader was silent meanwhile, and is elected again.
            world.at += 60_000;
            world.run(3_000);
            assert!(world.leads());
        }
    }
    world.run(1_000);
    assert_eq!(made(&world), Some(ROOMS_PER_MEMBER_MAX - 1));
    // The one begun counts before it is ordered, and once.
    assert_eq!(create(&mut world, 1), None);
    assert_eq!(create(&mut world, 2), Some(Refusal::TooMany));
    world.run(1_000);
    assert_eq!(made(&world), Some(ROOMS_PER_MEMBER_MAX));
    assert_eq!(create(&mut world, 3), Some(Refusal::TooMany));
}

#[test]
fn a_leader_orders_only_so_many_changes_of_rooms_of_one_member_at_once() {
    let mut world = Founding::new();
    let alice = stored::member("alice").peer();
    let most = usize::try_from(crate::limits::ROOM_ORDERS_BURST).unwrap();
    let mut refused = Vec::new();
    for number in 0..=most {
        let actions = world.frame(witness(), alice, &new_room(number));
        refused.extend(a_no(&actions).map(|refusal| (number, refusal)));
    }
    // Some were used up by the founding itself.
    let (first, refusal) = *refused.first().expect("one too many");
    assert!(first > most - 8 && refusal == Refusal::TooMany, "{first} {refusal:?}");
    assert!(refused.iter().all(|(_, refusal)| *refusal == Refusal::TooMany));
    // Time brings more, and what was refused comes through.
    world.run(2_000);
    let again = world.frame(witness(), alice, &new_room(first));
    assert_eq!(a_no(&again), None);
}
