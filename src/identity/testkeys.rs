//! Stored RSA keys for tests: making one takes seconds in an unoptimised build.
//! Owns: five members, two authorities, one key too weak.
//! Must not know: what is tested.
//! Invariants: compiled for tests only; the same files serve process tests (`tests/keys/`).
//! Start reading at: [`member`].

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::keys::{AuthorityKey, Device, MemberKey, make_credential};
use super::{Authority, CertificateOrder, Issuer};
use crate::ids::Incarnation;
use crate::limits::CERTIFICATE_LIFE;
use crate::time::Wall;
use crate::wire::identity::Certified;

/// The names of the members whose keys are stored.
pub const MEMBERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// A moment to issue certificates at: 2026-11-21.
pub const NOW: Wall = Wall(1_795_254_067_000);
/// An RSA-2048 key (PKCS#8 PEM), to be refused.
pub const WEAK: &str = include_str!("../../tests/keys/weak.pem");

/// A generator with a seed of its own.
pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// One of [`MEMBERS`].
pub fn member(name: &str) -> MemberKey {
    let pem = match name {
        "alice" => include_str!("../../tests/keys/alice.pem"),
        "bob" => include_str!("../../tests/keys/bob.pem"),
        "carol" => include_str!("../../tests/keys/carol.pem"),
        "dave" => include_str!("../../tests/keys/dave.pem"),
        "erin" => include_str!("../../tests/keys/erin.pem"),
        other => panic!("no key is stored for {other}"),
    };
    MemberKey::from_pkcs8_pem(pem, &mut rng(1)).unwrap()
}

/// The authority of most tests.
pub fn authority_key() -> AuthorityKey {
    let pem = include_str!("../../tests/keys/authority.pem");
    AuthorityKey::from_pkcs8_pem(pem, &mut rng(2)).unwrap()
}

/// The authority of another network.
pub fn other_authority_key() -> AuthorityKey {
    let pem = include_str!("../../tests/keys/other_authority.pem");
    AuthorityKey::from_pkcs8_pem(pem, &mut rng(3)).unwrap()
}

/// The checked self-signed certificate of an authority.
pub fn authority(key: &AuthorityKey) -> Authority {
    super::certificate::check_authority(&key.authority(NOW).unwrap()).unwrap()
}

/// A certificate of `issuer` for a stored key, valid from [`NOW`] on.
pub fn certificate(issuer: &AuthorityKey, holder: &str, name: &str, serial: u64) -> Bytes {
    let key = member(holder);
    let (not_before, not_after) = (NOW, NOW.after(CERTIFICATE_LIFE));
    let order =
        CertificateOrder { serial, name, spki: key.spki(), not_before, not_after, voucher: None };
    issuer.certificate(&order).unwrap()
}

/// A device with its own stored secret.
pub fn device(seed: u8) -> Device {
    Device::from_secret(&[seed; 32])
}

/// The encoded credential of one of [`MEMBERS`] under its own name.
pub fn credential(issuer: &AuthorityKey, name: &str, serial: u64, device: &Device) -> Bytes {
    let der = certificate(issuer, name, name, serial);
    let incarnation = Incarnation(7);
    let key = super::Proofs::device(device);
    let certified = Certified::ByAuthority(der);
    make_credential(&member(name), &issuer.network(), certified, key, incarnation).unwrap()
}
