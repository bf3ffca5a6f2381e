use rsa::pkcs1::{RsaPublicKey as Pkcs1Key, UintRef};
use x509_cert::der::asn1::{Any, BitString, Null};
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::super::testkeys as stored;
use super::*;
use crate::identity::CertificateOrder;
use crate::identity::Issuer as _;

/// The public key with these numbers as SPKI DER, whatever they are.
fn spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = Pkcs1Key {
        modulus: UintRef::new(modulus).unwrap(),
        public_exponent: UintRef::new(exponent).unwrap(),
    };
    let whole = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: rsa::pkcs1::ALGORITHM_OID,
            parameters: Some(Any::from(Null)),
        },
        subject_public_key: BitString::from_bytes(&key.to_der().unwrap()).unwrap(),
    };
    whole.to_der().unwrap()
}

fn odd(bits: usize) -> Vec<u8> {
    assert_eq!(bits % 8, 0);
    vec![0xff; bits / 8]
}

#[test]
fn a_device_signs_for_one_purpose_and_one_text() {
    let (device, other) = (stored::device(1), stored::device(2));
    let signature = device.sign(Domain::Vote, b"ballot");
    let check =
        |key: &Device, domain, bytes: &[u8]| other.verify(&key.device(), domain, bytes, &signature);
    assert!(check(&device, Domain::Vote, b"ballot"));
    assert!(!check(&device, Domain::Vote, b"ballot!"));
    assert!(!check(&device, Domain::PreVote, b"ballot"));
    assert!(!check(&other, Domain::Vote, b"ballot"));
}

#[test]
fn no_tag_is_the_start_of_another() {
    // "vote" + "\0x" must not be what "vote\0x" + "" would sign.
    assert_ne!(tagged("p2pgroup/1 vote", b"s"), tagged("p2pgroup/1 votes", b""));
    let domains = [
        Domain::PreVote,
        Domain::Vote,
        Domain::HandOver,
        Domain::Statement,
        Domain::Intent,
        Domain::Batch,
    ];
    let authority = [
        AuthorityDomain::Answer,
        AuthorityDomain::Genesis,
        AuthorityDomain::Revocation,
        AuthorityDomain::Order,
    ];
    let mut tags: Vec<_> = domains.iter().map(|domain| domain.tag()).collect();
    tags.extend(authority.iter().map(|domain| domain.tag()));
    tags.extend([POSSESSION_TAG, CREDENTIAL_TAG]);
    for (at, one) in tags.iter().enumerate() {
        assert!(one.starts_with("p2pgroup/1 "));
        assert!(tags.iter().skip(at + 1).all(|other| other != one));
    }
}

#[test]
fn what_mls_signs_is_nothing_that_we_sign_and_the_other_way_round() {
    use ed25519_dalek::Verifier as _;
    let device = stored::device(1);
    for label in ["FramedContentTBS", "LeafNodeTBS", "KeyPackageTBS", "GroupInfoTBS"] {
        let label = format!("MLS 1.0 {label}");
        let content =
            [&[u8::try_from(label.len()).unwrap()], label.as_bytes(), b"\x03abc"].concat();
        let signature = device.sign_mls(&content).unwrap();
        let key = ed25519_dalek::VerifyingKey::from_bytes(&device.device().0).unwrap();
        key.verify(&content, &ed25519_dalek::Signature::from_bytes(&signature.0)).unwrap();
    }
    let domains = [
        Domain::PreVote,
        Domain::Vote,
        Domain::HandOver,
        Domain::Statement,
        Domain::Intent,
        Domain::Batch,
    ];
    for domain in domains {
        assert!(domain.tag().starts_with('p'), "{domain:?}");
        assert_eq!(device.sign_mls(&tagged(domain.tag(), b"MLS 1.0 ")), None);
    }
    // A label that is cut, too long, or does not say MLS.
    for content in [&b""[..], b"\x08", b"\x07MLS 1.0 ", b"\x40MLS 1.0 ", b"\x13mls 1.0 LeafNodeTBS"]
    {
        assert_eq!(device.sign_mls(content), None, "{content:?}");
    }
}

#[test]
fn a_stored_device_is_the_same_device() {
    let device = Device::create(&mut stored::rng(5));
    assert_eq!(Device::from_secret(&device.secret()).device(), device.device());
    assert_ne!(device.device(), Device::create(&mut stored::rng(6)).device());
}

#[test]
fn keys_never_print_themselves() {
    let (member, authority) = (stored::member("alice"), stored::authority_key());
    assert_eq!(format!("{member:?}"), "MemberKey(..)");
    assert_eq!(format!("{authority:?}"), "AuthorityKey(..)");
    let device = stored::device(7);
    let secret: String = device.secret().iter().map(|byte| format!("{byte:02x}")).collect();
    let start: String = secret.chars().take(8).collect();
    assert!(!format!("{device:?}").contains(&start));
}

#[test]
fn a_stored_member_key_is_the_same_peer() {
    let alice = stored::member("alice");
    let again = MemberKey::from_pkcs8_der(&alice.to_pkcs8_der().unwrap(), &mut stored::rng(9));
    assert_eq!(again.unwrap().peer(), alice.peer());
    assert_eq!(PeerId::parse(&alice.peer().to_string()), Some(alice.peer()));
    assert_ne!(alice.peer(), stored::member("bob").peer());
}

#[test]
fn a_new_key_is_rsa_3072_and_signs() {
    let key = MemberKey::create(&mut stored::rng(11)).unwrap();
    let public = public_key(key.spki()).unwrap();
    assert_eq!((public.n().bits(), public.e_bytes().as_ref()), (3072, &[1, 0, 1][..]));
    assert!(is_signed(&public, "tag", b"text", &key.sign("tag", b"text").unwrap()));
}

#[test]
fn stored_keys_that_are_weak_damaged_or_no_keys_are_refused() {
    let load = |pem: &str| MemberKey::from_pkcs8_pem(pem, &mut stored::rng(1)).err();
    assert_eq!(load(stored::WEAK), Some(Refusal::HomeUnusable));
    assert_eq!(load(""), Some(Refusal::HomeUnusable));
    assert_eq!(load(&"x".repeat(1 << 20)), Some(Refusal::HomeUnusable));
    let der = stored::member("alice").to_pkcs8_der().unwrap();
    let load = |der: &[u8]| AuthorityKey::from_pkcs8_der(der, &mut stored::rng(1)).err();
    assert_eq!(load(&der[..der.len() - 1]), Some(Refusal::HomeUnusable));
    assert_eq!(load(&vec![0; 1 << 20]), Some(Refusal::HomeUnusable));
    assert_eq!(load(&der), None);
}

/// FAULTS group C, 27.
#[test]
fn public_keys_too_small_too_large_or_with_a_bad_exponent_are_refused() {
    let check = |modulus: &[u8], exponent: &[u8]| public_key(&spki(modulus, exponent)).err();
    let bad = Some(Refusal::CertificateBad);
    assert_eq!(check(&odd(3072), &[1, 0, 1]), None);
    assert_eq!(check(&odd(4096), &[1, 0, 1]), None);
    assert_eq!(check(&odd(3072), &[3]), None);
    assert_eq!(check(&odd(3064), &[1, 0, 1]), bad);
    assert_eq!(check(&odd(2048), &[1, 0, 1]), bad);
    assert_eq!(check(&odd(4104), &[1, 0, 1]), bad);
    assert_eq!(check(&odd(16_384), &[1, 0, 1]), bad);
    assert_eq!(check(&odd(3072), &[1]), bad);
    assert_eq!(check(&odd(3072), &[4]), bad);
    assert_eq!(check(&odd(3072), &[1, 0, 0]), bad);
    assert_eq!(check(&odd(3072), &[0xff; 9]), bad);
    let mut even = odd(3072);
    *even.last_mut().unwrap() = 0xfe;
    assert_eq!(check(&even, &[1, 0, 1]), bad);
}

#[test]
fn a_public_key_has_one_encoding() {
    let good = stored::member("alice").spki().to_vec();
    assert!(public_key(&good).is_ok());
    let trailing = [good.as_slice(), &[0]].concat();
    assert_eq!(public_key(&trailing).err(), Some(Refusal::CertificateBad));
    // The same key under the name of the PSS algorithm would be another peer id.
    let mut pss = SubjectPublicKeyInfoOwned::from_der(&good).unwrap();
    pss.algorithm.oid = "1.2.840.113549.1.1.10".parse().unwrap();
    assert!(public_key(&pss.to_der().unwrap()).is_err());
    let mut bare = SubjectPublicKeyInfoOwned::from_der(&good).unwrap();
    bare.algorithm.parameters = None;
    assert!(public_key(&bare.to_der().unwrap()).is_err());
    assert!(public_key(&[]).is_err());
    assert!(public_key(&vec![0x30; 1 << 20]).is_err());
}

#[test]
fn possession_is_proved_for_one_network_name_key_and_nonce() {
    let (alice, bob) = (stored::member("alice"), stored::member("bob"));
    let (network, other) = (NetworkId([1; 32]), NetworkId([2; 32]));
    let nonce = [3; 16];
    let proof = alice.possession(&network, "alice", &nonce).unwrap();
    let check = |network, name, key: &MemberKey, nonce: [u8; 16], proof: &[u8]| {
        check_possession(network, name, key.spki(), &nonce, proof)
    };
    assert_eq!(check(&network, "alice", &alice, nonce, &proof), Ok(alice.peer()));
    let unproved = Err(Refusal::PossessionUnproved);
    assert_eq!(check(&other, "alice", &alice, nonce, &proof), unproved);
    assert_eq!(check(&network, "alicf", &alice, nonce, &proof), unproved);
    assert_eq!(check(&network, "alice", &bob, nonce, &proof), unproved);
    assert_eq!(check(&network, "alice", &alice, [4; 16], &proof), unproved);
    assert_eq!(check(&network, "alice", &alice, nonce, &[]), unproved);
    assert_eq!(check(&network, "alice", &alice, nonce, &proof[1..]), unproved);
    let longer = [proof.as_slice(), &[0]].concat();
    assert_eq!(check(&network, "alice", &alice, nonce, &longer), unproved);
    let weak = MemberKeyWeak::spki();
    let refused = check_possession(&network, "alice", &weak, &nonce, &proof);
    assert_eq!(refused, Err(Refusal::CertificateBad));
}

/// The public half of the stored RSA-2048 key.
struct MemberKeyWeak;

impl MemberKeyWeak {
    fn spki() -> Vec<u8> {
        let key = RsaPrivateKey::from_pkcs8_pem(stored::WEAK).unwrap();
        key.as_ref().to_public_key_der().unwrap().into_vec()
    }
}

#[test]
fn a_credential_proves_name_key_device_and_incarnation() {
    let issuer = stored::authority_key();
    let (authority, device) = (stored::authority(&issuer), stored::device(1));
    let bytes = stored::credential(&issuer, "alice", 5, &device);
    let credential = stored::device(2).credential(&authority, &bytes).unwrap();
    assert_eq!(credential.peer, stored::member("alice").peer());
    assert_eq!((credential.name.as_str(), credential.serial), ("alice", 5));
    assert_eq!((credential.device, credential.incarnation), (device.device(), Incarnation(7)));
    assert_eq!(
        (credential.not_before, credential.not_after.0 > stored::NOW.0),
        (stored::NOW, true)
    );
    assert_eq!(credential.bytes, bytes);
}

#[test]
fn a_credential_with_any_part_exchanged_is_refused() {
    let issuer = stored::authority_key();
    let authority = stored::authority(&issuer);
    let bytes = stored::credential(&issuer, "alice", 5, &stored::device(1));
    let good = CredentialIn::decode(&bytes).unwrap();
    let check = |changed: CredentialIn| {
        stored::device(2).credential(&authority, &changed.encode()).map(|_| ()).unwrap_err()
    };
    let signature = Refusal::SignatureBad;
    assert_eq!(
        check(CredentialIn { device: stored::device(9).device(), ..good.clone() }),
        signature
    );
    assert_eq!(check(CredentialIn { incarnation: Incarnation(8), ..good.clone() }), signature);
    let bobs = stored::certificate(&issuer, "bob", "bob", 6);
    assert_eq!(
        check(CredentialIn { certified: Certified::ByAuthority(bobs), ..good.clone() }),
        signature
    );
    let cut = good.signature.slice(1..);
    assert_eq!(check(CredentialIn { signature: cut, ..good.clone() }), signature);
    assert_eq!(
        check(CredentialIn {
            certified: Certified::ByAuthority(Bytes::from_static(b"x")),
            ..good.clone()
        }),
        Refusal::CertificateBad
    );
    let foreign =
        stored::credential(&stored::other_authority_key(), "alice", 5, &stored::device(1));
    let refused = stored::device(2).credential(&authority, &foreign).unwrap_err();
    assert_eq!(refused, Refusal::CertificateForeign);
}

/// FAULTS group C, 33: a device key under which anybody could sign.
#[test]
fn a_credential_for_a_key_of_small_order_is_refused() {
    let issuer = stored::authority_key();
    let authority = stored::authority(&issuer);
    let certificate = stored::certificate(&issuer, "alice", "alice", 1);
    let mut identity = [0; 32];
    identity[0] = 1;
    for weak in [[0; 32], identity, [0xff; 32]] {
        let bytes = make_credential(
            &stored::member("alice"),
            &authority.network,
            Certified::ByAuthority(certificate.clone()),
            DeviceKey(weak),
            Incarnation(1),
        );
        let refused = stored::device(2).credential(&authority, &bytes.unwrap()).unwrap_err();
        assert_eq!(refused, Refusal::SignatureBad);
    }
    // And no signature verifies under one, whatever the message.
    let forged = Signature([0; 64]);
    assert!(!stored::device(1).verify(&DeviceKey([0; 32]), Domain::Vote, b"any", &forged));
    assert!(!stored::device(1).verify(&DeviceKey(identity), Domain::Vote, b"any", &forged));
}

/// FAULTS group C, 32.
#[test]
fn a_credential_beyond_the_limit_is_refused_before_it_is_read() {
    let authority = stored::authority(&stored::authority_key());
    for len in [CREDENTIAL_BYTES_MAX + 1, 1 << 20] {
        let refused = stored::device(1).credential(&authority, &vec![0; len].into()).unwrap_err();
        assert_eq!(refused, Refusal::CertificateBad);
    }
}

#[test]
fn the_authority_signs_for_one_purpose_and_one_text() {
    let (key, other) = (stored::authority_key(), stored::other_authority_key());
    let (ours, theirs) = (stored::authority(&key), stored::authority(&other));
    let signature = key.sign(AuthorityDomain::Genesis.tag(), b"body").unwrap();
    let check = |authority, domain, bytes: &[u8], signature: &[u8]| {
        stored::device(1).authority_signed(authority, domain, bytes, signature)
    };
    assert!(check(&ours, AuthorityDomain::Genesis, b"body", &signature));
    assert!(!check(&theirs, AuthorityDomain::Genesis, b"body", &signature));
    assert!(!check(&ours, AuthorityDomain::Answer, b"body", &signature));
    assert!(!check(&ours, AuthorityDomain::Genesis, b"bodY", &signature));
    assert!(!check(&ours, AuthorityDomain::Genesis, b"body", b""));
    assert_eq!(fingerprint(key.spki()), ours.fingerprint());
}

#[test]
fn a_signature_over_a_certificate_is_none_over_anything_else() {
    let key = stored::authority_key();
    let alice = stored::member("alice");
    let order = CertificateOrder {
        serial: 1,
        name: "alice",
        spki: alice.spki(),
        not_before: stored::NOW,
        not_after: stored::NOW.after(crate::limits::CERTIFICATE_LIFE),
        voucher: None,
    };
    let der = key.certificate(&order).unwrap();
    let certificate = x509_cert::Certificate::from_der(&der).unwrap();
    let signed = certificate.tbs_certificate().to_der().unwrap();
    let signature = certificate.signature().as_bytes().unwrap();
    let authority = stored::authority(&key);
    assert!(is_signed_raw(&certificate_key(&authority), &signed, signature));
    let device = stored::device(1);
    assert!(!device.authority_signed(&authority, AuthorityDomain::Answer, &signed, signature));
}

fn certificate_key(authority: &Authority) -> RsaPublicKey {
    certificate::authority_key(authority).unwrap()
}
