mod rights;
mod vouchers;
mod work;

use std::collections::BTreeMap;

use super::*;
use crate::identity::certificate::check_member;
use crate::identity::keys::{AuthorityKey, MemberKey, make_credential};
use crate::identity::revocation::Revocation;
use crate::identity::testkeys as stored;
use crate::ids::{DeviceKey, Hash, Index, LogId, RoomId, Seq};
use crate::limits::{CERTIFICATE_GRACE, REGISTER_PAGE_MAX};
use crate::protocol::{StoredEntry, StoredHead};
use crate::time::{Millis, Mono};
use crate::wire::identity::{Certified, OrderCommand, OrderIn, Withdrawn};

const DAY: u64 = 24 * 3_600_000;

/// What the store would hold.
#[derive(Clone, Default)]
struct Disk {
    settings: BTreeMap<String, Bytes>,
    rows: BTreeMap<u64, CertificateRow>,
}

impl Disk {
    fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Setting { key, value: Some(value) } => {
                    self.settings.insert(key, value);
                }
                Write::Setting { key, value: None } => {
                    self.settings.remove(&key);
                }
                Write::Certificate(row) => {
                    self.rows.insert(row.serial, row);
                }
                other => panic!("the authority has no business writing {other:?}"),
            }
        }
    }
}

impl Reads for Disk {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.settings.get(key).cloned()
    }
    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let all = self.settings.iter().filter(|(key, _)| key.starts_with(prefix));
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        self.rows.values().cloned().collect()
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
}

/// An authority, its disk, and somebody who asks.
struct Desk {
    core: AuthorityCore,
    disk: Disk,
    now: Now,
    asked: u64,
    authority: Authority,
    /// Shown with every registration.
    work: Option<crate::wire::identity::Work>,
    notices: Vec<Notice>,
}

impl Desk {
    fn open(admission: Admission) -> Self {
        Self::on(Disk::default(), admission)
    }

    fn on(disk: Disk, admission: Admission) -> Self {
        let core = AuthorityCore::load(setup(admission, stored::authority_key()), &disk).unwrap();
        let now = Now { mono: Mono(1_000), wall: stored::NOW };
        let authority = stored::authority(&stored::authority_key());
        let mut desk =
            Self { core, disk, now, asked: 0, authority, work: None, notices: Vec::new() };
        desk.tell(Event::Started);
        desk
    }

    /// The process dies and comes back from what is on disk.
    fn restart(&mut self, admission: Admission) {
        let now = self.now;
        *self = Self::on(std::mem::take(&mut self.disk), admission);
        self.now = now;
    }

    fn later(&mut self, span: Millis) {
        self.now = Now { mono: self.now.mono.after(span), wall: self.now.wall.after(span) };
    }

    fn tell(&mut self, event: Event) -> Vec<Send> {
        let actions = self.core.handle(event, self.now, &self.disk);
        self.disk.write(actions.writes);
        self.notices.extend(actions.notices);
        actions.sends
    }

    fn put(&mut self, from: PeerId, bytes: &Bytes) -> Bytes {
        let id = RequestId(self.asked);
        let sends = self.tell(Event::Asked { from, id, bytes: bytes.clone() });
        match sends.as_slice() {
            [Send::Answer { id: answered, bytes }] if *answered == id => bytes.clone(),
            other => panic!("not one answer: {other:?}"),
        }
    }

    /// Asks slowly enough, and believes only what a member would.
    fn ask(
        &mut self,
        from: PeerId,
        question: AuthorityQuestion,
    ) -> Result<AuthorityReply, Refused> {
        self.later(Millis(1_000));
        self.asked += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.asked.to_be_bytes());
        let bytes = AuthorityAsk { nonce, question }.encode();
        let answer = self.put(from, &bytes);
        answer::open(&stored::device(99), &self.authority, &bytes, &answer)
    }

    fn register(&mut self, key: &MemberKey, name: &str) -> Result<Bytes, Refused> {
        self.register_with(key, name, &Bytes::new())
    }

    fn register_with(
        &mut self,
        key: &MemberKey,
        name: &str,
        brought: &Bytes,
    ) -> Result<Bytes, Refused> {
        self.asked += 1;
        let mut nonce = [0; 16];
        nonce[8..].copy_from_slice(&self.asked.to_be_bytes());
        let possession = key.possession(&self.authority.network, name, &nonce).unwrap().into();
        let spki = Bytes::copy_from_slice(key.spki());
        let (name, credential) = (name.to_owned(), brought.clone());
        let work = self.work.clone();
        let question = AuthorityQuestion::Register { name, spki, possession, credential, work };
        self.later(Millis(1_000));
        let bytes = AuthorityAsk { nonce, question }.encode();
        let answer = self.put(key.peer(), &bytes);
        match answer::open(&stored::device(99), &self.authority, &bytes, &answer)? {
            AuthorityReply::Certificate(der) => Ok(der),
            other => panic!("no certificate but {other:?}"),
        }
    }

    fn order(&mut self, command: OrderCommand) -> Result<AuthorityReply, Refused> {
        self.asked += 1;
        let order = self.ordered(command);
        let ask = answer::make_order(&stored::authority_key(), &order).unwrap();
        self.ask(stranger(200), ask.question)
    }

    fn ordered(&self, command: OrderCommand) -> OrderIn {
        let mut nonce = [0; 16];
        nonce[4..12].copy_from_slice(&self.asked.to_be_bytes());
        OrderIn { network: self.authority.network, at: self.now.wall, nonce, command }
    }

    fn approve(&mut self, name: &str) -> Result<AuthorityReply, Refused> {
        self.order(OrderCommand::Approve { name: name.to_owned() })
    }

    fn revoke(&mut self, name: &str) -> Result<AuthorityReply, Refused> {
        self.order(OrderCommand::Revoke { name: name.to_owned(), reason: "stolen".to_owned() })
    }

    fn found(&mut self, key: &MemberKey, certificate: &[u8]) -> Result<Bytes, Refused> {
        let credential = credential(key, &self.authority, certificate);
        self.found_as(key.peer(), credential)
    }

    fn found_as(&mut self, from: PeerId, credential: Bytes) -> Result<Bytes, Refused> {
        let (witness, witness_incarnation) = (stranger(9), Incarnation(4));
        let question = AuthorityQuestion::Found { credential, witness, witness_incarnation };
        match self.ask(from, question)? {
            AuthorityReply::Genesis(bytes) => Ok(bytes),
            other => panic!("no genesis but {other:?}"),
        }
    }

    fn rows(&mut self, from: u64) -> (Vec<RegisterRow>, Option<u64>) {
        match self.ask(stranger(1), AuthorityQuestion::List { from }).unwrap() {
            AuthorityReply::Rows { rows, next } => (rows, next),
            other => panic!("no rows but {other:?}"),
        }
    }

    fn crl(&mut self) -> (Bytes, Vec<Bytes>) {
        match self.ask(stranger(1), AuthorityQuestion::Crl { from: 0 }).unwrap() {
            AuthorityReply::Crl { crl, revocations, next: None } => (crl, revocations),
            other => panic!("no list but {other:?}"),
        }
    }
}

fn setup(admission: Admission, key: AuthorityKey) -> AuthoritySetup {
    AuthoritySetup {
        issuer: Arc::new(key),
        proofs: Arc::new(stored::device(50)),
        admission,
        work_bits: 0,
        peer: stranger(50),
        seed: [6; 32],
    }
}

fn stranger(number: u8) -> PeerId {
    PeerId::of_ed25519(&DeviceKey([number; 32]))
}

fn credential(key: &MemberKey, authority: &Authority, certificate: &[u8]) -> Bytes {
    let device = stored::device(1).device();
    let certified = Certified::ByAuthority(Bytes::copy_from_slice(certificate));
    make_credential(key, &authority.network, certified, device, Incarnation(7)).unwrap()
}

fn code<T: fmt::Debug>(result: Result<T, Refused>) -> Refusal {
    result.unwrap_err().refusal
}

#[test]
fn a_free_name_is_certified_and_on_disk_before_the_answer() {
    let mut desk = Desk::open(Admission::Open);
    let alice = stored::member("alice");
    let der = desk.register(&alice, "alice").unwrap();
    let member = check_member(&desk.authority, &der).unwrap();
    assert_eq!((member.name.name.as_str(), member.peer, member.serial), ("alice", alice.peer(), 1));
    let left = member.not_after.since(desk.now.wall);
    assert_eq!(left, CERTIFICATE_LIFE);
    assert!(member.not_before < desk.now.wall);
    let row = desk.disk.rows.get(&1).unwrap();
    assert_eq!((row.state, row.der.as_slice()), (CertificateState::Valid, &der[..]));
}

#[test]
fn the_same_key_gets_the_same_certificate_across_restarts() {
    let mut desk = Desk::open(Admission::Open);
    let alice = stored::member("alice");
    let der = desk.register(&alice, "alice").unwrap();
    assert_eq!(desk.register(&alice, "alice"), Ok(der.clone()));
    desk.restart(Admission::Open);
    assert_eq!(desk.register(&alice, "alice"), Ok(der));
    assert_eq!(desk.disk.rows.len(), 1);
}

#[test]
fn a_certificate_is_renewed_under_a_new_number_in_its_last_30_days() {
    let mut desk = Desk::open(Admission::Open);
    let alice = stored::member("alice");
    let first = desk.register(&alice, "alice").unwrap();
    desk.later(Millis(59 * DAY));
    assert_eq!(desk.register(&alice, "alice"), Ok(first.clone()));
    desk.later(Millis(DAY));
    let second = desk.register(&alice, "alice").unwrap();
    assert_ne!(first, second);
    let renewed = check_member(&desk.authority, &second).unwrap();
    assert_eq!((renewed.serial, renewed.peer), (2, alice.peer()));
    assert_eq!(desk.register(&alice, "alice"), Ok(second), "once is enough");
    // Also long after it ran out.
    desk.later(Millis(400 * DAY));
    let third = desk.register(&alice, "alice").unwrap();
    assert_eq!(check_member(&desk.authority, &third).unwrap().serial, 3);
}

#[test]
fn a_name_belongs_to_its_first_key() {
    let mut desk = Desk::open(Admission::Open);
    desk.register(&stored::member("alice"), "alice").unwrap();
    let bob = stored::member("bob");
    let refused = desk.register(&bob, "alice").unwrap_err();
    assert_eq!(refused.refusal, Refusal::NameTaken);
    let key = shown_key(stored::member("alice").spki());
    assert_eq!(refused.detail, format!("alice (key {key}) was certified on 2026-11-21"));
    for look_alike in ["Alice", "a1ice", "aIice", "ALICE"] {
        assert_eq!(code(desk.register(&bob, look_alike)), Refusal::NameLooksAlike, "{look_alike}");
    }
    assert_eq!(code(desk.register(&bob, "аlice")), Refusal::NameBad);
    assert_eq!(code(desk.register(&bob, "")), Refusal::NameBad);
    assert_eq!(code(desk.register(&bob, "system")), Refusal::NameBad);
    assert_eq!(desk.disk.rows.len(), 1, "a refusal leaves no trace");
    assert!(desk.register(&bob, "bob").is_ok());
}

#[test]
fn a_key_has_one_name() {
    let mut desk = Desk::open(Admission::Open);
    let alice = stored::member("alice");
    desk.register(&alice, "alice").unwrap();
    let refused = desk.register(&alice, "alina").unwrap_err();
    assert_eq!((refused.refusal, refused.detail.as_str()), (Refusal::KeyHasOtherName, "alice"));
    assert_eq!(code(desk.register(&alice, "Alice")), Refusal::KeyHasOtherName);
}

#[test]
fn who_does_not_hold_the_key_gets_no_certificate() {
    let mut desk = Desk::open(Admission::Open);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    let claim = |key: &MemberKey, proof: Vec<u8>| AuthorityQuestion::Register {
        name: "alice".to_owned(),
        spki: Bytes::copy_from_slice(key.spki()),
        possession: proof.into(),
        credential: Bytes::new(),
        work: None,
    };
    // Bob signs for alice's key; then alice's own proof is played again under another nonce.
    let network = desk.authority.network;
    let bobs = bob.possession(&network, "alice", &[0; 16]).unwrap();
    assert_eq!(code(desk.ask(bob.peer(), claim(&alice, bobs))), Refusal::PossessionUnproved);
    let replayed = alice.possession(&network, "alice", &[77; 16]).unwrap();
    assert_eq!(code(desk.ask(bob.peer(), claim(&alice, replayed))), Refusal::PossessionUnproved);
    assert!(desk.disk.rows.is_empty());
}

#[test]
fn with_approval_a_name_waits_for_the_operator() {
    let mut desk = Desk::open(Admission::Approve);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::ApprovalPending);
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::ApprovalPending);
    assert_eq!(code(desk.register(&bob, "alice")), Refusal::NameTaken);
    assert_eq!(desk.disk.rows.len(), 1);
    desk.restart(Admission::Approve);
    assert_eq!(code(desk.approve("nobody")), Refusal::NameUnknown);
    let refused = desk.approve("Alice").unwrap_err();
    assert_eq!(refused.refusal, Refusal::NameUnknown);
    assert!(refused.detail.contains("did you mean alice?"));
    let done = desk.approve("alice").unwrap();
    assert_eq!(done, AuthorityReply::Done("alice is certified, number 1".to_owned()));
    assert!(desk.approve("alice").is_ok(), "once more changes nothing");
    let der = desk.register(&alice, "alice").unwrap();
    assert_eq!(check_member(&desk.authority, &der).unwrap().serial, 1);
}

#[test]
fn who_waits_is_let_in_when_the_policy_opens() {
    let mut desk = Desk::open(Admission::Approve);
    let alice = stored::member("alice");
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::ApprovalPending);
    desk.restart(Admission::Open);
    assert!(desk.register(&alice, "alice").is_ok());
    assert_eq!(desk.disk.rows.len(), 1);
}

#[test]
fn a_name_turned_down_while_waiting_is_free_again_and_its_key_is_not() {
    let mut desk = Desk::open(Admission::Approve);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::ApprovalPending);
    let done = desk.revoke("alice").unwrap();
    assert!(
        matches!(&done, AuthorityReply::Done(text) if text.contains("turned down")),
        "{done:?}"
    );
    for _ in 0..2 {
        assert_eq!(code(desk.register(&alice, "alice")), Refusal::CertificateRevoked);
        desk.restart(Admission::Approve);
    }
    assert_eq!(code(desk.register(&bob, "alice")), Refusal::ApprovalPending);
    assert!(desk.crl().1.is_empty(), "there was no certificate to revoke");
}

#[test]
fn a_revoked_key_stays_out_and_its_name_stays_taken() {
    let mut desk = Desk::open(Admission::Open);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    desk.register(&alice, "alice").unwrap();
    desk.revoke("alice").unwrap();
    desk.restart(Admission::Open);
    let refused = desk.register(&alice, "alice").unwrap_err();
    assert_eq!(refused.refusal, Refusal::CertificateRevoked);
    assert_eq!(refused.detail, "alice was revoked on 2026-11-21: stolen");
    assert_eq!(code(desk.register(&alice, "other")), Refusal::CertificateRevoked);
    assert_eq!(code(desk.register(&bob, "alice")), Refusal::NameTaken);
    assert_eq!(code(desk.approve("alice")), Refusal::CertificateRevoked);
    assert!(desk.revoke("alice").is_ok(), "once more changes nothing");
    assert_eq!(desk.crl().1.len(), 1);
}

#[test]
fn a_revocation_covers_every_certificate_of_the_key_and_is_verified_offline() {
    let mut desk = Desk::open(Admission::Open);
    let alice = stored::member("alice");
    desk.register(&alice, "alice").unwrap();
    desk.later(Millis(70 * DAY));
    desk.register(&alice, "alice").unwrap();
    assert!(desk.crl().1.is_empty());
    desk.revoke("alice").unwrap();
    let (_, before) = desk.crl();
    desk.restart(Admission::Open);
    let (_, revocations) = desk.crl();
    assert_eq!(before, revocations);
    let verify = |bytes| Revocation::verify(&stored::device(3), &desk.authority, bytes).unwrap();
    let revoked: Vec<_> = revocations.iter().map(verify).collect();
    let of = |serial| Withdrawn::Certificate { serial, peer: alice.peer() };
    assert_eq!(revoked.iter().map(|one| one.of).collect::<Vec<_>>(), [of(1), of(2)]);
    assert!(revoked.iter().all(|one| one.reason == "stolen"));
}

#[test]
fn the_revocation_list_is_made_once_until_it_ages_or_somebody_is_revoked() {
    let mut desk = Desk::open(Admission::Open);
    desk.register(&stored::member("alice"), "alice").unwrap();
    let (first, _) = desk.crl();
    assert_eq!(desk.crl().0, first);
    desk.restart(Admission::Open);
    assert_eq!(desk.crl().0, first, "kept on disk");
    desk.later(Millis(DAY));
    let (second, _) = desk.crl();
    assert_ne!(second, first);
    desk.revoke("alice").unwrap();
    desk.restart(Admission::Open);
    let (third, _) = desk.crl();
    assert_ne!(third, second, "out of date across a restart too");
    assert_eq!(desk.core.crl.number, 3, "numbers only grow");
    // Past the grace nobody takes the certificate any more, so the list forgets it.
    desk.later(Millis(CERTIFICATE_LIFE.0 + CERTIFICATE_GRACE.0 + DAY));
    assert!(desk.crl().0.len() < third.len());
}

#[test]
fn there_is_one_genesis_for_the_first_member_that_asks() {
    let mut desk = Desk::open(Admission::Open);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    let alices = desk.register(&alice, "alice").unwrap();
    let bobs = desk.register(&bob, "bob").unwrap();
    let first = desk.found(&alice, &alices).unwrap();
    let genesis = Genesis::verify(&first, &stored::device(3)).unwrap();
    assert_eq!((genesis.founder.peer, genesis.witness), (alice.peer(), stranger(9)));
    assert_eq!((genesis.witness_incarnation, genesis.created_at), (Incarnation(4), desk.now.wall));
    assert_eq!(genesis.authority.network, desk.authority.network);
    assert_eq!(desk.disk.settings.get(GENESIS_KEY), Some(&first), "on disk before it is answered");
    assert_eq!(desk.found(&bob, &bobs), Ok(first.clone()));
    desk.restart(Admission::Open);
    assert_eq!(desk.found(&alice, &alices), Ok(first.clone()));
    assert_eq!(desk.found(&bob, &bobs), Ok(first));
}

#[test]
fn a_genesis_lost_with_its_transaction_was_never_answered() {
    let mut desk = Desk::open(Admission::Open);
    let alice = stored::member("alice");
    let der = desk.register(&alice, "alice").unwrap();
    let before = desk.disk.clone();
    let lost = desk.found(&alice, &der).unwrap();
    // The write failed: no answer left, the core is loaded again.
    desk.disk = before;
    desk.restart(Admission::Open);
    let bob = stored::member("bob");
    let bobs = desk.register(&bob, "bob").unwrap();
    let genesis = desk.found(&bob, &bobs).unwrap();
    assert_ne!(genesis, lost);
    assert_eq!(desk.found(&alice, &der), Ok(genesis));
}

#[test]
fn nobody_founds_with_a_credential_that_is_not_in_force() {
    let mut desk = Desk::open(Admission::Open);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    let alices = desk.register(&alice, "alice").unwrap();
    let bobs = desk.register(&bob, "bob").unwrap();
    // Another's credential, played by who is connected.
    let authority = desk.authority.clone();
    let played = desk.found_as(bob.peer(), credential(&alice, &authority, &alices));
    assert_eq!(code(played), Refusal::CertificateOfOther);
    // Another authority's, and one of ours that the register does not know.
    let foreign = stored::certificate(&stored::other_authority_key(), "alice", "alice", 1);
    assert_eq!(code(desk.found(&alice, &foreign)), Refusal::CertificateForeign);
    let lost = stored::certificate(&stored::authority_key(), "carol", "carol", 77);
    assert_eq!(code(desk.found(&stored::member("carol"), &lost)), Refusal::CertificateBad);
    let number = stored::certificate(&stored::authority_key(), "carol", "carol", 1);
    assert_eq!(code(desk.found(&stored::member("carol"), &number)), Refusal::CertificateBad);
    assert_eq!(code(desk.found_as(bob.peer(), Bytes::from_static(b"x"))), Refusal::CertificateBad);
    desk.revoke("bob").unwrap();
    assert_eq!(code(desk.found(&bob, &bobs)), Refusal::CertificateRevoked);
    desk.now.wall = Wall(desk.now.wall.0 - 2 * DAY);
    assert_eq!(code(desk.found(&alice, &alices)), Refusal::CertificateEarly);
    desk.later(Millis(100 * DAY));
    assert_eq!(code(desk.found(&alice, &alices)), Refusal::CertificateExpired);
    assert_eq!(desk.disk.settings.get(GENESIS_KEY), None);
}

#[test]
fn an_order_is_heeded_only_from_the_operator() {
    let mut desk = Desk::open(Admission::Approve);
    assert_eq!(code(desk.register(&stored::member("alice"), "alice")), Refusal::ApprovalPending);
    let order = desk.ordered(OrderCommand::Approve { name: "alice".to_owned() });
    let forged = answer::make_order(&stored::other_authority_key(), &order).unwrap();
    assert_eq!(code(desk.ask(stranger(1), forged.question)), Refusal::SignatureBad);
    let network = stored::other_authority_key().network();
    let elsewhere = OrderIn { network, ..order };
    let elsewhere = answer::make_order(&stored::authority_key(), &elsewhere).unwrap();
    assert_eq!(code(desk.ask(stranger(1), elsewhere.question)), Refusal::NetworkOther);
    assert_eq!(desk.disk.rows.get(&1).unwrap().state, CertificateState::Waiting);
}

#[test]
fn an_order_is_heeded_once_and_while_it_is_fresh() {
    let mut desk = Desk::open(Admission::Approve);
    assert_eq!(code(desk.register(&stored::member("alice"), "alice")), Refusal::ApprovalPending);
    let order = desk.ordered(OrderCommand::Approve { name: "alice".to_owned() });
    let question =
        |order: &OrderIn| answer::make_order(&stored::authority_key(), order).unwrap().question;
    let old = OrderIn { at: Wall(order.at.0 - 6 * 60_000), ..order.clone() };
    assert_eq!(code(desk.ask(stranger(1), question(&old))), Refusal::OrderStale);
    let ahead = OrderIn { at: Wall(order.at.0 + 6 * 60_000), ..order.clone() };
    assert_eq!(code(desk.ask(stranger(1), question(&ahead))), Refusal::OrderStale);
    let given = question(&order);
    assert!(desk.ask(stranger(1), given.clone()).is_ok());
    assert_eq!(code(desk.ask(stranger(1), given.clone())), Refusal::OrderStale);
    desk.restart(Admission::Approve);
    assert_eq!(code(desk.ask(stranger(1), given.clone())), Refusal::OrderStale);
    desk.later(Millis(5 * 60_000));
    assert_eq!(code(desk.ask(stranger(1), given)), Refusal::OrderStale);
    // What can no longer come back is no longer remembered.
    assert!(desk.approve("alice").is_ok());
    assert_eq!(desk.disk.settings.get("authority/orders").unwrap().len(), 24);
}

#[test]
fn everybody_may_look_up_and_list_what_is_certified() {
    let mut desk = Desk::open(Admission::Open);
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    let alices = desk.register(&alice, "alice").unwrap();
    desk.register(&bob, "bob").unwrap();
    desk.revoke("bob").unwrap();
    let (rows, next) = desk.rows(0);
    assert_eq!((rows.len(), next), (2, None));
    assert_eq!((rows[0].name.as_str(), rows[0].certificate.clone()), ("alice", alices));
    assert_eq!((rows[1].state, rows[1].reason.as_str()), (RegisterState::Revoked, "stolen"));
    assert_eq!(desk.rows(2).0.len(), 1);
    assert_eq!(desk.rows(u64::MAX).0.len(), 0);
    let mut look = |by| desk.ask(stranger(1), AuthorityQuestion::Lookup(by));
    let found = AuthorityReply::Rows { rows: vec![rows[0].clone()], next: None };
    assert_eq!(look(LookupBy::Name("alice".to_owned())), Ok(found.clone()));
    assert_eq!(look(LookupBy::Peer(alice.peer())), Ok(found));
    assert_eq!(code(look(LookupBy::Name("Alice".to_owned()))), Refusal::NameUnknown);
    assert_eq!(code(look(LookupBy::Peer(stranger(1)))), Refusal::NameUnknown);
    let listed = desk.order(OrderCommand::List { from: 0 }).unwrap();
    assert_eq!(listed, AuthorityReply::Rows { rows, next: None });
}

#[test]
fn long_lists_come_in_pages_without_gaps_and_fit_an_answer() {
    let mut disk = Disk::default();
    let der = stored::certificate(&stored::authority_key(), "alice", "alice", 1);
    for serial in 1..=200_u64 {
        disk.write(vec![Write::Certificate(waiting(serial, CertificateState::Valid, &der))]);
    }
    let mut desk = Desk::on(disk, Admission::Open);
    let (mut from, mut seen) = (0, Vec::new());
    loop {
        let (rows, next) = desk.rows(from);
        assert!(rows.len() <= REGISTER_PAGE_MAX);
        seen.extend(rows.iter().map(|row| row.serial));
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

/// A row as if somebody with a made-up key had come.
fn waiting(serial: u64, state: CertificateState, der: &[u8]) -> CertificateRow {
    CertificateRow {
        serial,
        name: format!("n{serial}x"),
        skeleton: format!("n{serial}x"),
        peer: PeerId::of_rsa_spki(&serial.to_be_bytes()),
        spki: Hash::of("key", &[&serial.to_be_bytes()]).0.to_vec(),
        state,
        der: if state == CertificateState::Waiting { Vec::new() } else { der.to_vec() },
        asked_at: stored::NOW,
        revoked_at: None,
        reason: String::new(),
    }
}

#[test]
fn the_waiting_room_is_bounded_and_opens_again() {
    let mut disk = Disk::default();
    for serial in 1..=1_000_u64 {
        let row = waiting(serial, CertificateState::Waiting, &[]);
        disk.write(vec![Write::Certificate(row)]);
    }
    let mut desk = Desk::on(disk, Admission::Approve);
    let alice = stored::member("alice");
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::TooMany);
    assert_eq!(desk.disk.rows.len(), 1_000);
    desk.revoke("n7x").unwrap();
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::ApprovalPending);
    assert_eq!(desk.disk.rows.last_key_value().unwrap().0, &1_001, "numbers have no gaps");
}

#[test]
fn a_flood_of_questions_is_refused_without_a_signature_and_others_are_served() {
    let mut desk = Desk::open(Admission::Open);
    let bytes = AuthorityAsk { nonce: [1; 16], question: AuthorityQuestion::About }.encode();
    let mut refused = 0;
    for _ in 0..200 {
        let answer = AuthoritySignedIn::decode(&desk.put(stranger(1), &bytes)).unwrap();
        if answer.signature.is_empty() {
            let no = AuthorityReply::No(Refusal::TooMany.into());
            assert_eq!(AuthorityReply::decode(&answer.body), Ok(no));
            refused += 1;
        }
    }
    assert_eq!(refused, 200 - 32);
    let answer = desk.put(stranger(2), &bytes);
    assert!(answer::open_about(&stored::device(3), &bytes, &answer).is_ok());
}

#[test]
fn questions_that_are_no_questions_are_refused_and_cost_no_signature() {
    let mut desk = Desk::open(Admission::Open);
    let long = vec![0; crate::limits::ORDER_BYTES_MAX + 1];
    for bytes in [&b""[..], b"\xff\xff\xff", b"hello", &[0; 64], &long] {
        let answer = desk.put(stranger(1), &Bytes::copy_from_slice(bytes));
        let signed = AuthoritySignedIn::decode(&answer).unwrap();
        assert!(signed.signature.is_empty());
        assert!(matches!(AuthorityReply::decode(&signed.body), Ok(AuthorityReply::No(_))));
    }
    let wrapped = Bytes::from_static(b"not an order");
    let refused = desk.ask(stranger(2), AuthorityQuestion::Order { order: wrapped });
    assert!(matches!(code(refused), Refusal::FrameBad | Refusal::FieldBad));
}

#[test]
fn the_authority_introduces_itself_the_same_way_after_a_restart() {
    let mut desk = Desk::open(Admission::Approve);
    let about = |desk: &mut Desk| {
        let bytes = AuthorityAsk { nonce: [1; 16], question: AuthorityQuestion::About }.encode();
        let answer = desk.put(stranger(1), &bytes);
        answer::open_about(&stored::device(3), &bytes, &answer).unwrap()
    };
    let first = about(&mut desk);
    assert_eq!((first.0.network, first.1), (desk.authority.network, Admission::Approve));
    desk.later(Millis(DAY));
    desk.restart(Admission::Approve);
    assert_eq!(about(&mut desk), first);
    assert_eq!(desk.disk.settings.get(CERTIFICATE_KEY), Some(&first.0.der));
}

#[test]
fn state_of_another_authority_key_is_refused() {
    let desk = Desk::open(Admission::Open);
    let other = setup(Admission::Open, stored::other_authority_key());
    let refused = AuthorityCore::load(other, &desk.disk).unwrap_err();
    assert_eq!(refused.refusal, Refusal::AuthorityChanged);
}

#[test]
fn it_is_ready_once_and_when_it_listens() {
    let mut desk = Desk::open(Admission::Open);
    assert!(desk.notices.is_empty());
    desk.tell(Event::Listening { addresses: Vec::new() });
    assert!(desk.notices.is_empty());
    for addresses in
        [vec!["/ip4/127.0.0.1/tcp/8999".to_owned()], vec!["/ip4/10.0.0.1/tcp/1".to_owned()]]
    {
        desk.tell(Event::Listening { addresses });
    }
    let [Notice::Ready(ready)] = desk.notices.as_slice() else { panic!("{:?}", desk.notices) };
    assert_eq!((ready.role, ready.peer), ("keyauth", stranger(50)));
    assert_eq!(ready.network, desk.authority.fingerprint());
    assert_eq!(ready.listen, ["/ip4/127.0.0.1/tcp/8999"]);
}

#[test]
fn commands_are_answered_each_with_its_number() {
    let mut desk = Desk::open(Admission::Open);
    desk.register(&stored::member("alice"), "alice").unwrap();
    desk.register(&stored::member("bob"), "bob").unwrap();
    desk.revoke("bob").unwrap();
    desk.notices.clear();
    let command = |id, command| Event::Command { id: CommandId(id), command };
    desk.tell(command(1, Command::Members));
    desk.tell(command(2, Command::Status));
    desk.tell(command(3, Command::Send { room: "main".to_owned(), text: "x".to_owned() }));
    desk.tell(Event::NotStored { commands: vec![CommandId(4)], asked: vec![] });
    let posts = vec![(CommandId(5), "x".to_owned().into())];
    desk.tell(Event::Posts { room: "main".to_owned(), posts });
    desk.tell(command(6, Command::Exit));
    let [
        Notice::Members { command: CommandId(1), members },
        Notice::Status { command: CommandId(2), status },
        Notice::Failed { command: Some(CommandId(3)), refused, is_fatal: false },
        Notice::Failed { command: Some(CommandId(4)), refused: unstored, .. },
        Notice::Failed { command: Some(CommandId(5)), refused: talk, .. },
        Notice::Exited,
    ] = desk.notices.as_slice()
    else {
        panic!("{:?}", desk.notices)
    };
    let states: Vec<_> = members.iter().map(|one| (one.name.as_str(), one.state)).collect();
    assert_eq!(states, [("alice", MemberState::Active), ("bob", MemberState::Removed)]);
    assert_eq!((status.role, &status.members), ("keyauth", members));
    assert_eq!((refused.refusal, talk.refusal), (Refusal::CommandBad, Refusal::CommandBad));
    assert_eq!(unstored.refusal, Refusal::NotStored);
}

#[test]
fn a_frame_is_hung_up_on_and_other_events_change_nothing() {
    let mut desk = Desk::open(Admission::Open);
    let bytes = Bytes::from_static(b"frame");
    let sends = desk.tell(Event::Frame { from: stranger(1), bytes });
    assert_eq!(sends, [Send::Close { peer: stranger(1) }]);
    assert!(desk.tell(Event::Woke).is_empty());
    assert!(desk.tell(Event::LinkDown { peer: stranger(1) }).is_empty());
}
