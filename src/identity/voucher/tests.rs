//! Vouchers with real keys: who is vouched for, and who is not.
//! Owns: nothing.
//! Must not know: how often a voucher was used.
//! Invariants: none.
//! Start reading at: the first test.

use super::super::keys::{AuthorityKey, make_credential};
use super::super::testkeys as stored;
use super::super::{CertificateOrder, Credential, Issuer as _};
use super::*;
use crate::ids::Incarnation;
use crate::limits::CERTIFICATE_LIFE;
use crate::time::Millis;
use crate::wire::identity::Certified;

fn voucher_key(seed: u8) -> VoucherKey {
    VoucherKey::from_secret(&[seed; 32])
}

fn body(issuer: &AuthorityKey, name: &str) -> VoucherIn {
    VoucherIn {
        network: issuer.network(),
        id: VoucherId([7; 16]),
        key: voucher_key(70).public(),
        uses: 2,
        issued_at: stored::NOW,
        expires_at: stored::NOW.after(Millis(1_000)),
        name: name.to_owned(),
        room: "ops".to_owned(),
        by: None,
    }
}

/// The credential of a stored member under a name, by what certifies it.
fn credential(issuer: &AuthorityKey, holder: &str, certified: Certified) -> Bytes {
    let device = stored::device(1).device();
    let life = Incarnation(7);
    make_credential(&stored::member(holder), &issuer.network(), certified, device, life).unwrap()
}

fn check(issuer: &AuthorityKey, bytes: &Bytes) -> Result<Credential, Refusal> {
    stored::device(8).credential(&stored::authority(issuer), bytes)
}

fn vouched(issuer: &AuthorityKey, name: &str, as_name: &str) -> Result<Credential, Refusal> {
    let signed = make(issuer, &body(issuer, name)).unwrap();
    let bytes = vouch(&voucher_key(70), &signed, &stored::member("dave"), as_name).unwrap();
    check(issuer, &credential(issuer, "dave", Certified::ByVoucher(bytes)))
}

#[test]
fn a_voucher_stands_for_a_certificate_until_the_authority_is_met() {
    let key = stored::authority_key();
    let dave = vouched(&key, "", "dave").unwrap();
    assert_eq!(dave.peer, stored::member("dave").peer());
    assert_eq!((dave.name.as_str(), dave.serial), ("dave", 0));
    let voucher = dave.voucher.unwrap();
    assert_eq!((voucher.id, voucher.uses), (VoucherId([7; 16]), 2));
    assert_eq!(voucher.expires_at, stored::NOW.after(Millis(1_000)));
    assert!(dave.not_before < stored::NOW);
    assert_eq!(dave.not_after, voucher.expires_at.after(CERTIFICATE_LIFE));
    let signed = make(&key, &body(&key, "")).unwrap();
    let opened = Voucher::verify(&stored::device(1), &stored::authority(&key), &signed).unwrap();
    assert_eq!((opened.name, opened.room.as_deref()), (None, Some("ops")));
}

#[test]
fn a_voucher_for_a_name_is_for_that_name_alone() {
    let key = stored::authority_key();
    assert_eq!(vouched(&key, "dave", "dave").unwrap().name, "dave");
    assert_eq!(vouched(&key, "dave", "bob").unwrap_err(), Refusal::VoucherName);
    assert_eq!(vouched(&key, "", "d\u{430}ve").unwrap_err(), Refusal::NameBad);
}

#[test]
fn nobody_but_the_authority_makes_vouchers() {
    let (key, other) = (stored::authority_key(), stored::other_authority_key());
    let (authority, proofs) = (stored::authority(&key), stored::device(1));
    let verify = |bytes: &Bytes| Voucher::verify(&proofs, &authority, bytes).unwrap_err();
    assert_eq!(verify(&make(&other, &body(&key, "")).unwrap()), Refusal::VoucherBad);
    assert_eq!(verify(&make(&other, &body(&other, "")).unwrap()), Refusal::NetworkOther);
    let mut signed = AuthoritySignedIn::decode(&make(&key, &body(&key, "")).unwrap()).unwrap();
    signed.body = VoucherIn { uses: 3, ..body(&key, "") }.encode();
    assert_eq!(verify(&signed.encode()), Refusal::VoucherBad);
    assert_eq!(verify(&Bytes::from_static(b"nonsense")), Refusal::VoucherBad);
    // An order's or a revocation's signature is none under a voucher.
    let body = body(&key, "").encode();
    let signature = Issuer::sign(&key, AuthorityDomain::Order, &body).unwrap().into();
    assert_eq!(verify(&AuthoritySignedIn { body, signature }.encode()), Refusal::VoucherBad);
}

#[test]
fn nobody_but_the_voucher_key_vouches() {
    let key = stored::authority_key();
    let signed = make(&key, &body(&key, "")).unwrap();
    let dave = stored::member("dave");
    let wrong = vouch(&voucher_key(71), &signed, &dave, "dave").unwrap_err();
    assert_eq!(wrong, Refusal::InviteBad);
    let good = vouch(&voucher_key(70), &signed, &dave, "dave").unwrap();
    let by = |given: VouchedIn| {
        let bytes = credential(&key, "dave", Certified::ByVoucher(given.encode()));
        check(&key, &bytes).unwrap_err()
    };
    let given = VouchedIn::decode(&good).unwrap();
    // Overheard, and used for another name or key.
    assert_eq!(by(VouchedIn { name: "erin".to_owned(), ..given.clone() }), Refusal::VoucherBad);
    let spki = Bytes::copy_from_slice(stored::member("erin").spki());
    assert_eq!(by(VouchedIn { spki, ..given.clone() }), Refusal::VoucherBad);
    let forged = voucher_key(71).sign(b"anything");
    assert_eq!(by(VouchedIn { signature: forged, ..given.clone() }), Refusal::VoucherBad);
    // Overheard whole, but without the key that it names.
    let bytes = credential(&key, "erin", Certified::ByVoucher(good));
    assert_eq!(check(&key, &bytes).unwrap_err(), Refusal::SignatureBad);
}

#[test]
fn keys_too_weak_to_certify_are_too_weak_to_vouch_for() {
    let key = stored::authority_key();
    let signed = make(&key, &body(&key, "")).unwrap();
    let dave = stored::member("dave");
    let good =
        VouchedIn::decode(&vouch(&voucher_key(70), &signed, &dave, "dave").unwrap()).unwrap();
    let spki = Bytes::from_static(b"no key");
    let bound = vouched_bytes(&key.network(), VoucherId([7; 16]), "dave", &spki);
    let given = VouchedIn { spki, signature: voucher_key(70).sign(&bound), ..good };
    let bytes = credential(&key, "dave", Certified::ByVoucher(given.encode()));
    assert_eq!(check(&key, &bytes).unwrap_err(), Refusal::CertificateBad);
}

#[test]
fn a_certificate_tells_by_which_voucher_its_holder_came() {
    let key = stored::authority_key();
    let by = Some(stored::member("alice").peer());
    let voucher = VoucherUse { id: VoucherId([9; 16]), uses: 4, expires_at: stored::NOW, by };
    let member = stored::member("dave");
    let order = CertificateOrder {
        serial: 6,
        name: "dave",
        spki: member.spki(),
        not_before: stored::NOW,
        not_after: stored::NOW.after(CERTIFICATE_LIFE),
        voucher: Some(voucher),
    };
    let der = key.certificate(&order).unwrap();
    assert_eq!(key.terms(&der).unwrap().voucher, Some(voucher));
    let dave = check(&key, &credential(&key, "dave", Certified::ByAuthority(der))).unwrap();
    assert_eq!((dave.serial, dave.voucher), (6, Some(voucher)));
}

#[test]
fn what_a_certificate_says_of_a_voucher_has_one_form() {
    let voucher = VoucherUse { id: VoucherId([0xab; 16]), uses: 4, expires_at: Wall(99), by: None };
    let uri = voucher.to_uri();
    assert_eq!(VoucherUse::from_uri(&uri), Some(voucher));
    let upper = uri.replace("ab", "AB");
    for wrong in ["", "p2pgroup-voucher:", &format!("{uri}:1"), &format!("{uri}1")] {
        assert_ne!(VoucherUse::from_uri(wrong), Some(voucher), "{wrong}");
    }
    for wrong in [uri.replace(":4:", ":04:"), uri.replace(":4:", ":+4:"), upper] {
        assert_eq!(VoucherUse::from_uri(&wrong), None, "{wrong}");
    }
    let by = Some(stored::member("alice").peer());
    let (uri, voucher) = (VoucherUse { by, ..voucher }.to_uri(), VoucherUse { by, ..voucher });
    assert_eq!(VoucherUse::from_uri(&uri), Some(voucher));
    for wrong in [format!("{uri}:1"), format!("{uri}x"), uri.replace("Qm", "QM")] {
        assert_eq!(VoucherUse::from_uri(&wrong), None, "{wrong}");
    }
}
