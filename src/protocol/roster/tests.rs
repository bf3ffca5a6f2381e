//! Wishes taken and wishes void, with real keys and certificates.
//! Owns: nothing.
//! Must not know: who leads.
//! Invariants: none.
//! Start reading at: the first test.

mod roles;
mod vouchers;

use bytes::Bytes;

use super::*;
use crate::identity::keys::{AuthorityKey, Device, make_credential};
use crate::identity::{Domain, Proofs as _, revocation, testkeys as stored};
use crate::limits::CLOCK_SKEW_MAX;
use crate::refusal::{Refusal, Refused};
use crate::time::Millis;
use crate::wire::identity::{Certified, RevocationIn, Withdrawn};
use crate::wire::roster::{Wish, intent, intent_body};

fn founded(key: &AuthorityKey) -> Roster {
    let authority = stored::authority(key);
    let bytes = stored::credential(key, "alice", 1, &stored::device(1));
    let alice = stored::device(8).credential(&authority, &bytes).unwrap();
    Roster::founded(authority, &alice)
}

fn wish(key: &AuthorityKey, author: &str, id: u8, wish: &Wish, by: &Device) -> Bytes {
    let body = intent_body(key.network(), IntentId([id; 16]), wish);
    intent(stored::member(author).peer(), &body, &by.sign(Domain::Intent, &body))
}

fn admit(key: &AuthorityKey, name: &str, id: u8, serial: u64) -> Bytes {
    let device = stored::device(id);
    let credential = stored::credential(key, name, serial, &device);
    wish(key, name, id, &Wish::Admit { credential }, &device)
}

fn apply(roster: &mut Roster, at: Wall, bytes: &Bytes) -> Result<Change, Refusal> {
    let index = roster.applied().next();
    let taken = roster.apply(index, at, Some(bytes), &stored::device(8));
    taken.map_err(|Refused { refusal, .. }| refusal)
}

#[test]
fn who_is_certified_enters_once_and_two_replicas_agree() {
    let key = stored::authority_key();
    let (mut one, mut other) = (founded(&key), founded(&key));
    let bob = stored::member("bob").peer();
    let bytes = admit(&key, "bob", 2, 2);
    for roster in [&mut one, &mut other] {
        assert_eq!(apply(roster, stored::NOW, &bytes), Ok(Change::Admitted(bob)));
    }
    assert_eq!(one.state_hash(), other.state_hash());
    assert_eq!(one.name_of(&bob), "bob");
    assert_eq!(apply(&mut one, stored::NOW, &bytes), Err(Refusal::FrameUnexpected));
    assert_eq!(one.members().count(), 2);
}

#[test]
fn a_certificate_admits_only_while_it_holds_by_the_leaders_stamp() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let bytes = admit(&key, "bob", 2, 2);
    let credential = stored::credential(&key, "bob", 2, &stored::device(2));
    let bob = stored::device(8).credential(roster.authority(), &credential).unwrap();
    let late = bob.not_after.after(Millis(1));
    assert_eq!(apply(&mut roster, late, &bytes), Err(Refusal::CertificateExpired));
    let early = Wall(bob.not_before.0 - CLOCK_SKEW_MAX.0 - 1);
    assert_eq!(apply(&mut roster, early, &bytes), Err(Refusal::CertificateEarly));
    assert!(!roster.is_in(&bob.peer));
    assert_eq!(apply(&mut roster, bob.not_after, &bytes), Ok(Change::Admitted(bob.peer)));
}

#[test]
fn a_wish_in_anothers_name_or_under_another_key_is_void() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let credential = stored::credential(&key, "bob", 2, &stored::device(2));
    let admit = Wish::Admit { credential };
    let forged = wish(&key, "bob", 2, &admit, &stored::device(3));
    assert_eq!(apply(&mut roster, stored::NOW, &forged), Err(Refusal::SignatureBad));
    let borrowed = wish(&key, "carol", 2, &admit, &stored::device(2));
    assert_eq!(apply(&mut roster, stored::NOW, &borrowed), Err(Refusal::CertificateOfOther));
    let foreign = self::admit(&stored::other_authority_key(), "bob", 2, 2);
    assert_eq!(apply(&mut roster, stored::NOW, &foreign), Err(Refusal::NetworkOther));
    assert_eq!(roster.members().count(), 1);
}

#[test]
fn a_name_belongs_to_its_first_key_whatever_the_authority_signs() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let (bob, device) = (stored::member("bob"), stored::device(2));
    let certificate = stored::certificate(&key, "bob", "alice", 2);
    let network = key.network();
    let life = Incarnation(2);
    let certified = Certified::ByAuthority(certificate);
    let credential = make_credential(&bob, &network, certified, device.device(), life).unwrap();
    let bytes = wish(&key, "bob", 2, &Wish::Admit { credential }, &device);
    assert_eq!(apply(&mut roster, stored::NOW, &bytes), Err(Refusal::NameTaken));
}

#[test]
fn a_revocation_removes_for_good_and_any_member_may_bring_it() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let bob = stored::member("bob").peer();
    apply(&mut roster, stored::NOW, &admit(&key, "bob", 2, 2)).unwrap();
    let revoke = |by: &AuthorityKey| {
        let body = RevocationIn {
            network: key.network(),
            of: Withdrawn::Certificate { serial: 2, peer: bob },
            revoked_at: stored::NOW,
            reason: "gone".to_owned(),
        };
        Wish::Revoke { revocation: revocation::make(by, &body).unwrap() }
    };
    let forged =
        wish(&key, "alice", 5, &revoke(&stored::other_authority_key()), &stored::device(1));
    assert_eq!(apply(&mut roster, stored::NOW, &forged), Err(Refusal::SignatureBad));
    assert!(roster.is_in(&bob));
    let bytes = wish(&key, "alice", 6, &revoke(&key), &stored::device(1));
    let removed = Change::Removed { peer: bob, by: None, reason: "gone".to_owned() };
    assert_eq!(apply(&mut roster, stored::NOW, &bytes), Ok(removed));
    assert!(!roster.is_in(&bob) && roster.is_revoked(2));
    let again = admit(&key, "bob", 7, 2);
    assert_eq!(apply(&mut roster, stored::NOW, &again), Err(Refusal::CertificateRevoked));
    let renewed = admit(&key, "bob", 9, 3);
    assert_eq!(apply(&mut roster, stored::NOW, &renewed), Err(Refusal::Removed));
}
