use std::path::Path;
use std::process::Command;

use rsa::pkcs8::DecodePrivateKey;
use x509_cert::der::Header;

use super::super::testkeys as stored;
use super::*;
use crate::limits::CERTIFICATE_LIFE;

/// A profile whose extensions are bent before they are signed.
struct Bent<F> {
    straight: Profile,
    bend: F,
}

impl<F: Fn(&mut Vec<Extension>)> BuilderProfile for Bent<F> {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.straight.get_issuer(subject)
    }

    fn get_subject(&self) -> Name {
        self.straight.get_subject()
    }

    fn build_extensions(
        &self,
        spki: SubjectPublicKeyInfoRef<'_>,
        issuer: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let mut extensions = self.straight.build_extensions(spki, issuer, tbs)?;
        (self.bend)(&mut extensions);
        Ok(extensions)
    }
}

fn life() -> (Wall, Wall) {
    (stored::NOW, stored::NOW.after(CERTIFICATE_LIFE))
}

fn members_profile() -> Profile {
    Profile::Member {
        issuer: authority_name(&stored::authority_key().network()).unwrap(),
        subject: common_name("alice").unwrap(),
        peer: stored::member("alice").peer(),
        voucher: None,
    }
}

/// Alice's certificate, bent and signed by the right authority all the same.
fn bent(bend: impl Fn(&mut Vec<Extension>)) -> Bytes {
    let profile = Bent { straight: members_profile(), bend };
    let alice = stored::member("alice");
    issue(&stored::authority_key(), profile, 1, life(), alice.spki()).unwrap()
}

/// The authority's own certificate, bent.
fn bent_root(bend: impl Fn(&mut Vec<Extension>)) -> Bytes {
    let key = stored::authority_key();
    let subject = authority_name(&key.network()).unwrap();
    let profile = Bent { straight: Profile::Authority { subject }, bend };
    issue(&key, profile, 1, life(), key.spki()).unwrap()
}

fn check(der: &[u8]) -> Result<Member, Refusal> {
    check_member(&stored::authority(&stored::authority_key()), der)
}

fn replace<T: AssociatedOid>(extensions: &mut [Extension], by: &T)
where
    for<'a> &'a T: ToExtension<Error = x509_cert::der::Error>,
{
    let new = by.to_extension(&Name::default(), &[]).unwrap();
    *extensions.iter_mut().find(|one| one.extn_id == T::OID).unwrap() = new;
}

fn without<T: AssociatedOid>(extensions: &mut Vec<Extension>) {
    let before = extensions.len();
    extensions.retain(|one| one.extn_id != T::OID);
    assert_eq!(extensions.len() + 1, before);
}

fn unknown(critical: bool) -> Extension {
    Extension {
        extn_id: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1"),
        critical,
        extn_value: x509_cert::der::asn1::OctetString::new(vec![5, 0]).unwrap(),
    }
}

fn uri(text: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
}

#[test]
fn a_member_certificate_says_who_number_and_how_long() {
    let der = bent(|_| ());
    let member = check(&der).unwrap();
    assert_eq!((member.name.name.as_str(), member.serial), ("alice", 1));
    assert_eq!(member.peer, stored::member("alice").peer());
    assert_eq!((member.not_before, member.not_after), life());
    let of = terms(&der).unwrap();
    assert_eq!((of.not_before, of.not_after, of.voucher), (life().0, life().1, None));
    assert!(der.len() < 2_048, "a page of the register must fit into one answer");
}

#[test]
fn serial_numbers_up_to_the_largest_come_back() {
    let alice = stored::member("alice");
    for serial in [1, 127, 128, 255, 256, 65_535, u64::MAX] {
        let der = issue(&stored::authority_key(), members_profile(), serial, life(), alice.spki());
        assert_eq!(check(&der.unwrap()).unwrap().serial, serial);
    }
    let der = issue(&stored::authority_key(), members_profile(), 0, life(), alice.spki());
    assert_eq!(check(&der.unwrap()).err(), Some(Refusal::CertificateBad));
}

/// FAULTS group C, 25 and 26: never by another key, whatever it claims.
#[test]
fn a_certificate_of_another_authority_is_foreign() {
    let other = stored::other_authority_key();
    let theirs = stored::certificate(&other, "alice", "alice", 1);
    assert_eq!(check(&theirs), Err(Refusal::CertificateForeign));
    // The other key, under the right authority's name and key identifier.
    let ours = AuthorityKeyIdentifier::try_from(
        SubjectPublicKeyInfoRef::from_der(stored::authority_key().spki()).unwrap(),
    )
    .unwrap();
    let straight = members_profile();
    let bend = |extensions: &mut Vec<Extension>| {
        let new = (&ours).to_extension(&Name::default(), &[]).unwrap();
        *extensions.iter_mut().find(|e| e.extn_id == AuthorityKeyIdentifier::OID).unwrap() = new;
    };
    let alice = stored::member("alice");
    let posing = issue(&other, Bent { straight, bend }, 1, life(), alice.spki()).unwrap();
    assert_eq!(check(&posing), Err(Refusal::CertificateForeign));
}

#[test]
fn a_certificate_with_any_byte_changed_is_refused() {
    let der = bent(|_| ());
    let authority = stored::authority(&stored::authority_key());
    for at in (0..der.len()).step_by(7) {
        let mut changed = der.to_vec();
        changed[at] ^= 0x01;
        assert!(check_member(&authority, &changed).is_err(), "byte {at}");
    }
}

/// FAULTS group C, 28.
#[test]
fn a_certificate_for_another_peer_id_than_its_keys_is_refused() {
    let bobs = SubjectAltName(vec![uri(&format!("p2p:{}", stored::member("bob").peer()))]);
    let der = bent(|extensions| replace(extensions, &bobs));
    assert_eq!(check(&der), Err(Refusal::CertificateOfOther));
}

#[test]
fn the_alternative_name_is_one_peer_id_and_nothing_else() {
    let own = uri(&format!("p2p:{}", stored::member("alice").peer()));
    let dns = GeneralName::DnsName(Ia5String::new("example.org").unwrap());
    for names in [
        vec![],
        vec![own.clone(), own.clone()],
        vec![own.clone(), dns.clone()],
        vec![dns],
        vec![uri("p2p:")],
        vec![uri("p2p:QmNobody")],
        vec![uri(&stored::member("alice").peer().to_string())],
        vec![uri("https://example.org/")],
    ] {
        let der = bent(|extensions| replace(extensions, &SubjectAltName(names.clone())));
        assert_eq!(check(&der), Err(Refusal::CertificateBad), "{names:?}");
    }
}

#[test]
fn a_member_certificate_lacks_none_of_its_extensions() {
    let bad = Err(Refusal::CertificateBad);
    assert_eq!(check(&bent(without::<SubjectAltName>)), bad);
    assert_eq!(check(&bent(without::<KeyUsage>)), bad);
    assert_eq!(check(&bent(without::<ExtendedKeyUsage>)), bad);
    assert_eq!(check(&bent(without::<BasicConstraints>)), bad);
    assert_eq!(check(&bent(without::<SubjectKeyIdentifier>)), bad);
    assert_eq!(check(&bent(without::<AuthorityKeyIdentifier>)), bad);
}

#[test]
fn a_member_certificate_can_neither_certify_nor_do_anything_but_sign() {
    let bad = Err(Refusal::CertificateBad);
    let authority = BasicConstraints { ca: true, path_len_constraint: None };
    assert_eq!(check(&bent(|all| replace(all, &authority))), bad);
    let pathlen = BasicConstraints { ca: false, path_len_constraint: Some(0) };
    assert_eq!(check(&bent(|all| replace(all, &pathlen))), bad);
    for usage in [
        KeyUsages::KeyCertSign.into(),
        KeyUsages::DigitalSignature | KeyUsages::KeyCertSign,
        KeyUsages::DigitalSignature | KeyUsages::CRLSign,
        KeyUsages::KeyEncipherment.into(),
    ] {
        assert_eq!(check(&bent(|all| replace(all, &KeyUsage(usage)))), bad, "{usage:?}");
    }
    for usage in [vec![], vec![SERVER_AUTH], vec![CLIENT_AUTH, SERVER_AUTH]] {
        assert_eq!(check(&bent(|all| replace(all, &ExtendedKeyUsage(usage.clone())))), bad);
    }
    let mild = |all: &mut Vec<Extension>| {
        all.iter_mut().find(|one| one.extn_id == KeyUsage::OID).unwrap().critical = false;
    };
    assert_eq!(check(&bent(mild)), bad);
}

#[test]
fn key_identifiers_are_those_of_the_keys() {
    let bobs = SubjectKeyIdentifier::try_from(
        SubjectPublicKeyInfoRef::from_der(stored::member("bob").spki()).unwrap(),
    )
    .unwrap();
    let der = bent(|all| replace(all, &bobs));
    assert_eq!(check(&der), Err(Refusal::CertificateBad));
}

#[test]
fn unknown_extensions_pass_only_while_they_are_not_critical() {
    assert!(check(&bent(|all| all.push(unknown(false)))).is_ok());
    let bad = Err(Refusal::CertificateBad);
    assert_eq!(check(&bent(|all| all.push(unknown(true)))), bad);
    assert_eq!(check(&bent(|all| all.extend([unknown(false), unknown(false)]))), bad);
    let twice = |all: &mut Vec<Extension>| {
        let usage = all.iter().find(|one| one.extn_id == KeyUsage::OID).unwrap().clone();
        all.push(usage);
    };
    assert_eq!(check(&bent(twice)), bad);
}

#[test]
fn a_certificate_without_extensions_is_version_1_and_refused() {
    let der = bent(Vec::clear);
    assert_eq!(Certificate::from_der(&der).unwrap().tbs_certificate().version(), Version::V1);
    assert_eq!(check(&der), Err(Refusal::CertificateBad));
}

#[test]
fn a_validity_that_ends_before_it_starts_is_refused() {
    let alice = stored::member("alice");
    let (from, until) = life();
    for life in [(until, from), (from, from)] {
        let der = issue(&stored::authority_key(), members_profile(), 1, life, alice.spki());
        assert_eq!(check(&der.unwrap()), Err(Refusal::CertificateBad));
    }
}

#[test]
fn another_signature_algorithm_is_refused() {
    let key = stored::authority_key();
    let raw = rsa::RsaPrivateKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap();
    let old = rsa::pkcs1v15::SigningKey::<Sha256>::new(raw.clone());
    let short = rsa::pss::SigningKey::<Sha256>::new_with_salt_len(raw, 20);
    let builder = || {
        let (from, until) = life();
        let validity = Validity::new(time(from).unwrap(), time(until).unwrap());
        let spki = SubjectPublicKeyInfo::from_der(stored::member("alice").spki()).unwrap();
        CertificateBuilder::new(members_profile(), SerialNumber::from(1_u64), validity, spki)
            .unwrap()
    };
    let pkcs1 = builder()
        .build_with_rng::<_, rsa::pkcs1v15::Signature, _>(&old, &mut stored::rng(1))
        .unwrap();
    assert_eq!(check(&pkcs1.to_der().unwrap()), Err(Refusal::CertificateBad));
    let salted =
        builder().build_with_rng::<_, rsa::pss::Signature, _>(&short, &mut stored::rng(1)).unwrap();
    assert_eq!(check(&salted.to_der().unwrap()), Err(Refusal::CertificateBad));
}

#[test]
fn a_certified_name_must_be_allowed_and_in_its_one_form() {
    let named = |subject: Name| {
        let Profile::Member { issuer, peer, .. } = members_profile() else { panic!() };
        let profile = Profile::Member { issuer, subject, peer, voucher: None };
        let alice = stored::member("alice");
        check(&issue(&stored::authority_key(), profile, 1, life(), alice.spki()).unwrap())
    };
    for name in ["", "system", "bob (verified)", "аlice", "Zoe\u{308}", "a\u{202e}b", "a\nb"] {
        assert_eq!(named(common_name(name).unwrap()).err(), Some(Refusal::NameBad), "{name:?}");
    }
    assert_eq!(named(Name::default()).err(), Some(Refusal::CertificateBad));
    for subject in ["CN=alice,O=Example", "CN=alice+O=Example", "O=alice", "CN=alice,CN=bob"] {
        let refused = named(subject.parse().unwrap()).err();
        assert_eq!(refused, Some(Refusal::CertificateBad), "{subject}");
    }
}

/// FAULTS group C, 27.
#[test]
fn a_certificate_over_a_weak_key_is_refused() {
    let weak = rsa::RsaPrivateKey::from_pkcs8_pem(stored::WEAK).unwrap();
    let spki = rsa::pkcs8::EncodePublicKey::to_public_key_der(weak.as_ref()).unwrap();
    let Profile::Member { issuer, subject, .. } = members_profile() else { panic!() };
    let peer = PeerId::of_rsa_spki(spki.as_bytes());
    let profile = Profile::Member { issuer, subject, peer, voucher: None };
    let der = issue(&stored::authority_key(), profile, 1, life(), spki.as_bytes()).unwrap();
    assert_eq!(check(&der), Err(Refusal::CertificateBad));
}

/// FAULTS group C, 32.
#[test]
fn a_certificate_beyond_the_limit_or_with_slack_is_refused() {
    let filler = Extension {
        extn_value: x509_cert::der::asn1::OctetString::new(vec![0; 9_000]).unwrap(),
        ..unknown(false)
    };
    let bad = Err(Refusal::CertificateBad);
    assert_eq!(check(&bent(|all| all.push(filler.clone()))), bad);
    assert_eq!(check(&vec![0x30; 1 << 20]), bad);
    let der = bent(|_| ());
    assert_eq!(check(&[&der[..], &[0]].concat()), bad);
    assert_eq!(check(&der[..der.len() - 1]), bad);
    assert_eq!(check(&[]), bad);
}

#[test]
fn a_length_written_long_where_short_would_do_is_refused() {
    // BER allows it, DER does not; else one certificate had many encodings.
    let der = bent(|_| ());
    let mut reader = x509_cert::der::SliceReader::new(&der).unwrap();
    let header = Header::decode(&mut reader).unwrap();
    let length = u32::from(header.length());
    let [_, a, b, c] = length.to_be_bytes();
    let padded = [&[0x30, 0x83, a, b, c][..], &der[4..]].concat();
    assert_eq!(check(&padded), Err(Refusal::CertificateBad));
}

#[test]
fn an_authority_certificate_says_its_network() {
    let key = stored::authority_key();
    let authority = check_authority(&key.authority(stored::NOW).unwrap()).unwrap();
    assert_eq!(authority.network, key.network());
    assert_eq!(authority.network, NetworkId(Sha256::digest(key.spki()).into()));
    let (from, until) = bounds(parse(&authority.der).unwrap().tbs_certificate());
    assert!(from < stored::NOW && until == stored::NOW.after(AUTHORITY_LIFE));
}

#[test]
fn an_authority_certificate_that_breaks_a_rule_is_refused() {
    let bad = Err(Refusal::CertificateBad);
    assert!(check_authority(&bent_root(|_| ())).is_ok());
    assert_eq!(check_authority(&bent_root(without::<BasicConstraints>)), bad);
    assert_eq!(check_authority(&bent_root(without::<KeyUsage>)), bad);
    assert_eq!(check_authority(&bent_root(without::<SubjectKeyIdentifier>)), bad);
    assert_eq!(check_authority(&bent_root(|all| all.push(unknown(true)))), bad);
    for (ca, path_len_constraint) in [(false, None), (true, None), (true, Some(1))] {
        let constraints = BasicConstraints { ca, path_len_constraint };
        assert_eq!(check_authority(&bent_root(|all| replace(all, &constraints))), bad);
    }
    for usage in [KeyUsages::KeyCertSign.into(), KeyUsages::KeyCertSign | KeyUsages::KeyAgreement] {
        assert_eq!(check_authority(&bent_root(|all| replace(all, &KeyUsage(usage)))), bad);
    }
    for id in [BasicConstraints::OID, KeyUsage::OID] {
        let mild = |all: &mut Vec<Extension>| {
            all.iter_mut().find(|one| one.extn_id == id).unwrap().critical = false;
        };
        assert_eq!(check_authority(&bent_root(mild)), bad);
    }
    assert_eq!(
        check_authority(&stored::certificate(&stored::authority_key(), "bob", "bob", 1)),
        bad
    );
}

#[test]
fn an_authority_certificate_signed_by_another_key_or_misnamed_is_refused() {
    let (key, other) = (stored::authority_key(), stored::other_authority_key());
    let subject = authority_name(&key.network()).unwrap();
    let foreign = issue(&other, Profile::Authority { subject }, 1, life(), key.spki()).unwrap();
    assert_eq!(check_authority(&foreign), Err(Refusal::CertificateBad));
    let subject = authority_name(&other.network()).unwrap();
    let misnamed = issue(&key, Profile::Authority { subject }, 1, life(), key.spki()).unwrap();
    assert_eq!(check_authority(&misnamed), Err(Refusal::CertificateBad));
}

#[test]
fn pem_comes_back_and_prose_above_it_is_skipped() {
    let der = bent(|_| ());
    let pem = to_pem(&der).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert_eq!(from_pem(pem.as_bytes()).unwrap(), der);
    assert_eq!(from_pem(format!("Certificate:\n  Data\n{pem}").as_bytes()).unwrap(), der);
    for bad in ["", "hello", "-----BEGIN CERTIFICATE-----", &"x".repeat(1 << 20)] {
        assert_eq!(from_pem(bad.as_bytes()), Err(Refusal::CertificateBad));
    }
    let key = include_bytes!("../../../tests/keys/alice.pem");
    assert_eq!(from_pem(key), Err(Refusal::CertificateBad));
}

#[test]
fn reasons_written_by_people_become_those_of_x509() {
    assert_eq!(crl_reason("Laptop stolen"), CrlReason::KeyCompromise);
    assert_eq!(crl_reason("key compromised"), CrlReason::KeyCompromise);
    assert_eq!(crl_reason("replaced"), CrlReason::Superseded);
    assert_eq!(crl_reason("left the company"), CrlReason::CessationOfOperation);
    assert_eq!(crl_reason(""), CrlReason::PrivilegeWithdrawn);
}

/// Runs the real thing; a machine without it fails here, it is part of what we promise.
fn openssl(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("openssl must be installed to run this test");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn at(seconds_later: u64) -> String {
    (stored::NOW.0 / 1000 + seconds_later).to_string()
}

/// `authority.pem`, `alice.pem`, `bob.pem`, and `crl.pem` that revokes bob, in a directory.
fn exported() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let key = stored::authority_key();
    let authority = stored::authority(&key);
    let write =
        |name: &str, text: &[u8]| std::fs::write(directory.path().join(name), text).unwrap();
    write("authority.pem", to_pem(&authority.der).unwrap().as_bytes());
    for (serial, name) in [(1, "alice"), (2, "bob")] {
        let der = stored::certificate(&key, name, name, serial);
        write(&format!("{name}.pem"), to_pem(&der).unwrap().as_bytes());
    }
    let order = CrlOrder {
        number: 3,
        this_update: stored::NOW,
        next_update: stored::NOW.after(crate::limits::CRL_LIFE),
        revoked: vec![(2, stored::NOW, "stolen".to_owned())],
    };
    write("crl.der", &key.crl(&authority, &order).unwrap());
    let order = CrlOrder { number: 1, revoked: vec![], ..order };
    write("empty.der", &key.crl(&authority, &order).unwrap());
    let (ok, text) =
        openssl(directory.path(), &["crl", "-inform", "DER", "-in", "crl.der", "-out", "crl.pem"]);
    assert!(ok, "{text}");
    directory
}

#[test]
fn openssl_verifies_a_member_certificate_strictly() {
    let directory = exported();
    let verify = |name: &str, when: &str| {
        let strict = ["verify", "-x509_strict", "-attime", when, "-CAfile", "authority.pem", name];
        openssl(directory.path(), &strict)
    };
    let (ok, text) = verify("alice.pem", &at(60));
    assert!(ok && text.contains("alice.pem: OK"), "{text}");
    let (ok, text) = verify("alice.pem", &at(91 * 86_400));
    assert!(!ok && text.contains("expired"), "{text}");
    let (_, text) = openssl(directory.path(), &["x509", "-in", "alice.pem", "-noout", "-text"]);
    let uri = format!("URI:p2p:{}", stored::member("alice").peer());
    for expected in ["rsassaPss", "CN = alice", "CA:FALSE", "Digital Signature", &uri] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
}

#[test]
fn openssl_sees_the_purposes_of_both_certificates() {
    let directory = exported();
    for purpose in ["sslclient", "sslserver"] {
        let (ok, text) = openssl(
            directory.path(),
            &[
                "verify",
                "-x509_strict",
                "-purpose",
                purpose,
                "-attime",
                &at(60),
                "-CAfile",
                "authority.pem",
                "alice.pem",
            ],
        );
        assert!(ok, "{purpose}: {text}");
    }
    let (_, text) = openssl(directory.path(), &["x509", "-in", "authority.pem", "-noout", "-text"]);
    for expected in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "p2pgroup authority "] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
}

#[test]
fn openssl_reads_the_revocation_list_and_heeds_it() {
    let directory = exported();
    let run = |arguments: &[&str]| openssl(directory.path(), arguments);
    let (ok, text) = run(&["crl", "-in", "crl.pem", "-CAfile", "authority.pem", "-noout", "-text"]);
    assert!(ok && text.contains("verify OK"), "{text}");
    for expected in ["Version 2", "X509v3 CRL Number", "Serial Number: 02", "Key Compromise"] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    let (ok, text) = run(&["crl", "-inform", "DER", "-in", "empty.der", "-noout", "-text"]);
    assert!(ok && text.contains("No Revoked Certificates"), "{text}");
    let when = at(60);
    let verify = |name| {
        run(&[
            "verify",
            "-x509_strict",
            "-crl_check",
            "-attime",
            &when,
            "-CAfile",
            "authority.pem",
            "-CRLfile",
            "crl.pem",
            name,
        ])
    };
    let (ok, text) = verify("alice.pem");
    assert!(ok, "{text}");
    let (ok, text) = verify("bob.pem");
    assert!(!ok && text.contains("revoked"), "{text}");
}
