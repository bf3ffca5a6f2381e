//! The keys: a member's and an authority's RSA key, a device's Ed25519 key.
//! Owns: making, storing, signing, checking; the only file that signs with a private key.
//! Must not know: what the signed bytes say, X.509.
//! Invariants: keys leave memory when dropped, are never printed; RSA signing is always blinded.
//! Start reading at: [`Device`], [`MemberKey`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use ed25519_dalek::Signer as _;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use rsa::signature::{RandomizedSigner, SignatureEncoding, Verifier};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey, pss};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::name::CheckedName;
use super::voucher::VoucherUse;
use super::{Authority, AuthorityDomain, Credential, Domain, Proofs, certificate, is_mls, voucher};
use crate::ids::{DeviceKey, Incarnation, NetworkId, PeerId, Signature};
use crate::limits::{CERTIFICATE_BYTES_MAX, CREDENTIAL_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::identity::{Certified, CredentialIn};

/// What a member signs when it proves that it holds the key it registers.
const POSSESSION_TAG: &str = "p2pgroup/1 possession";
/// What a member's RSA key signs over its device key.
const CREDENTIAL_TAG: &str = "p2pgroup/1 credential";
/// PKCS#8 of an RSA key of the largest size is well below this.
const PKCS8_BYTES_MAX: usize = 8 << 10;

/// A device's Ed25519 key: signs votes, intents, statements and entries; checks everything.
pub struct Device {
    key: ed25519_dalek::SigningKey,
    /// Others' keys as points: to find the point of a key costs a tenth of a verification.
    points: Mutex<BTreeMap<DeviceKey, ed25519_dalek::VerifyingKey>>,
}

/// Points remembered: those of the largest network, and some who do not belong.
const POINTS_MAX: usize = crate::limits::MEMBERS_MAX * 2;

impl Device {
    /// A new key.
    pub fn create<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        Self::from_secret(&secret)
    }

    /// The key as stored.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(secret), points: Mutex::default() }
    }

    fn point(&self, key: &DeviceKey) -> Option<ed25519_dalek::VerifyingKey> {
        let found = || ed25519_dalek::VerifyingKey::from_bytes(&key.0).ok();
        // Whoever would have to wait finds it anew.
        let Ok(mut points) = self.points.try_lock() else { return found() };
        if let Some(point) = points.get(key) {
            return Some(*point);
        }
        let point = found()?;
        if points.len() >= POINTS_MAX {
            points.clear();
        }
        points.insert(*key, point);
        Some(point)
    }

    /// The bytes to store.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({:?})", self.device())
    }
}

impl Proofs for Device {
    fn device(&self) -> DeviceKey {
        DeviceKey(self.key.verifying_key().to_bytes())
    }

    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        Signature(self.key.sign(&tagged(domain.tag(), bytes)).to_bytes())
    }

    fn sign_mls(&self, content: &[u8]) -> Option<Signature> {
        is_mls(content).then(|| Signature(self.key.sign(content).to_bytes()))
    }

    fn code_key(&self, code: &str) -> Option<DeviceKey> {
        Some(code_device(code).device())
    }

    fn code_proof(&self, code: &str, bytes: &[u8]) -> Option<Signature> {
        Some(code_device(code).sign(Domain::JoinCode, bytes))
    }

    fn verify(&self, key: &DeviceKey, domain: Domain, bytes: &[u8], by: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&by.0);
        self.point(key)
            .is_some_and(|key| key.verify_strict(&tagged(domain.tag(), bytes), &signature).is_ok())
    }

    fn authority(&self, der: &Bytes) -> Result<Authority, Refusal> {
        certificate::check_authority(der)
    }

    fn credential(&self, authority: &Authority, bytes: &Bytes) -> Result<Credential, Refusal> {
        check_credential(self, authority, bytes)
    }

    fn authority_signed(
        &self,
        authority: &Authority,
        domain: AuthorityDomain,
        bytes: &[u8],
        signature: &[u8],
    ) -> bool {
        certificate::authority_key(authority)
            .is_ok_and(|key| is_signed(&key, domain.tag(), bytes, signature))
    }
}

/// The key that stands for a room's join code: the room shows the public half, and who signs with
/// the other knows the code.
fn code_device(code: &str) -> Device {
    let tag = b"p2pgroup/1 join code key".as_slice();
    let secret: [u8; 32] =
        Sha256::new().chain_update(tag).chain_update(code.trim()).finalize().into();
    Device::from_secret(&Zeroizing::new(secret))
}

/// The key of a voucher: whoever holds it may bring somebody in with that voucher.
pub struct VoucherKey(Device);

impl VoucherKey {
    /// A new key.
    pub fn create<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(Device::create(rng))
    }

    /// The key as an invite carries it.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(Device::from_secret(secret))
    }

    /// The bytes for an invite.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        self.0.secret()
    }

    /// The half that the authority signs.
    pub fn public(&self) -> DeviceKey {
        self.0.device()
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Signature {
        self.0.sign(Domain::Voucher, bytes)
    }
}

impl fmt::Debug for VoucherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VoucherKey({:?})", self.public())
    }
}

/// A member's RSA key. It is also its libp2p identity, so that a connection proves its possession.
pub struct MemberKey(Pair);

/// An authority's RSA key: the root of a network.
pub struct AuthorityKey(Pair);

macro_rules! rsa_key {
    ($name:ident) => {
        impl $name {
            /// A new RSA-3072 key. Slow: a third of a second, and seconds in an unoptimised build.
            ///
            /// # Refusals
            /// [`Refusal::Internal`] if no key comes out.
            pub fn create<R: CryptoRng + ?Sized>(rng: &mut R) -> Result<Self, Refusal> {
                let bits = usize::try_from(RSA_BITS_MIN).map_err(|_| Refusal::Internal)?;
                let key = RsaPrivateKey::new(rng, bits).map_err(|_| Refusal::Internal)?;
                Pair::new(key, rng).map(Self)
            }

            /// The key as stored. `rng` seeds the randomness of its signatures.
            ///
            /// # Refusals
            /// [`Refusal::HomeUnusable`] if this is no RSA key of a size we accept.
            pub fn from_pkcs8_der<R: CryptoRng + ?Sized>(
                der: &[u8],
                rng: &mut R,
            ) -> Result<Self, Refusal> {
                if der.len() > PKCS8_BYTES_MAX {
                    return Err(Refusal::HomeUnusable);
                }
                let key = RsaPrivateKey::from_pkcs8_der(der).map_err(|_| Refusal::HomeUnusable)?;
                Pair::new(key, rng).map(Self)
            }

            /// As [`Self::from_pkcs8_der`], from PEM.
            ///
            /// # Refusals
            /// [`Refusal::HomeUnusable`] if this is no RSA key of a size we accept.
            pub fn from_pkcs8_pem<R: CryptoRng + ?Sized>(
                pem: &str,
                rng: &mut R,
            ) -> Result<Self, Refusal> {
                if pem.len() > PKCS8_BYTES_MAX * 2 {
                    return Err(Refusal::HomeUnusable);
                }
                let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(|_| Refusal::HomeUnusable)?;
                Pair::new(key, rng).map(Self)
            }

            /// The bytes to store, and what libp2p takes as its RSA identity.
            ///
            /// # Refusals
            /// [`Refusal::Internal`] if the key cannot be encoded.
            pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
                self.0.to_pkcs8_der()
            }

            /// The public key as SubjectPublicKeyInfo DER.
            pub fn spki(&self) -> &[u8] {
                &self.0.spki
            }

            /// Signs with RSA-PSS-SHA256, blinded.
            ///
            /// # Refusals
            /// [`Refusal::Internal`] if the key does not sign.
            pub fn sign(&self, tag: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
                self.0.sign(tag, bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

rsa_key!(MemberKey);
rsa_key!(AuthorityKey);

impl MemberKey {
    /// The peer id of this key.
    pub fn peer(&self) -> PeerId {
        PeerId::of_rsa_spki(&self.0.spki)
    }

    /// Proves to the authority of `network` that this key is held by who asks for `name`.
    ///
    /// # Refusals
    /// [`Refusal::Internal`] if the key does not sign.
    pub fn possession(
        &self,
        network: &NetworkId,
        name: &str,
        nonce: &[u8; 16],
    ) -> Result<Vec<u8>, Refusal> {
        self.sign(POSSESSION_TAG, &possession_bytes(network, name, self.spki(), nonce))
    }
}

impl AuthorityKey {
    /// The network this key stands for.
    pub fn network(&self) -> NetworkId {
        NetworkId(Sha256::digest(&self.0.spki).into())
    }

    /// For `certificate`, which signs what X.509 says is signed.
    pub(super) fn with_signer<T>(
        &self,
        sign: impl FnOnce(&pss::SigningKey<Sha256>, &mut ChaCha20Rng) -> T,
    ) -> T {
        sign(&self.0.key, &mut self.0.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What both RSA keys are made of.
struct Pair {
    key: pss::SigningKey<Sha256>,
    spki: Vec<u8>,
    // Salts and blinding; seeded once, so that signing needs no source of randomness at hand.
    rng: Mutex<ChaCha20Rng>,
}

impl Pair {
    fn new<R: CryptoRng + ?Sized>(key: RsaPrivateKey, rng: &mut R) -> Result<Self, Refusal> {
        check_strength(key.as_ref()).map_err(|_| Refusal::HomeUnusable)?;
        let spki = key.as_ref().to_public_key_der().map_err(|_| Refusal::Internal)?.into_vec();
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let rng = Mutex::new(ChaCha20Rng::from_seed(seed));
        Ok(Self { key: pss::SigningKey::new(key), spki, rng })
    }

    fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let document = self.key.to_pkcs8_der().map_err(|_| Refusal::Internal)?;
        Ok(Zeroizing::new(document.as_bytes().to_vec()))
    }

    fn sign(&self, tag: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = self.key.try_sign_with_rng(&mut *rng, &tagged(tag, bytes));
        Ok(signature.map_err(|_| Refusal::Internal)?.to_vec())
    }
}

/// A public key others handed in: DER without a byte too many, of a size and exponent we accept.
///
/// # Refusals
/// [`Refusal::CertificateBad`].
pub(super) fn public_key(spki: &[u8]) -> Result<RsaPublicKey, Refusal> {
    if spki.len() > CERTIFICATE_BYTES_MAX {
        return Err(Refusal::CertificateBad);
    }
    let key = RsaPublicKey::from_public_key_der(spki).map_err(|_| Refusal::CertificateBad)?;
    check_strength(&key)?;
    // One key, one encoding: else one key had several peer ids.
    let encoded = key.to_public_key_der().map_err(|_| Refusal::CertificateBad)?;
    if encoded.as_bytes() == spki { Ok(key) } else { Err(Refusal::CertificateBad) }
}

/// Modulus within bounds; an odd exponent above 1. The crate refuses even and oversized ones when
/// decoding; said again here, because it is our rule and not its default.
fn check_strength(key: &RsaPublicKey) -> Result<(), Refusal> {
    let exponent = key.e_bytes();
    let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    let significant = exponent.iter().skip_while(|byte| **byte == 0);
    let is_one = significant.eq([1].iter());
    let has_size = (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.n().bits());
    if has_size && is_odd && !is_one { Ok(()) } else { Err(Refusal::CertificateBad) }
}

/// Whether this RSA key signed these bytes for the purpose that `tag` names.
pub(super) fn is_signed(key: &RsaPublicKey, tag: &str, bytes: &[u8], signature: &[u8]) -> bool {
    is_signed_raw(key, &tagged(tag, bytes), signature)
}

/// As [`is_signed`], without a tag: for X.509.
pub(super) fn is_signed_raw(key: &RsaPublicKey, bytes: &[u8], signature: &[u8]) -> bool {
    signature.len() == key.size()
        && pss::Signature::try_from(signature).is_ok_and(|signature| {
            pss::VerifyingKey::<Sha256>::new(key.clone()).verify(bytes, &signature).is_ok()
        })
}

/// Checks a proof of possession as made by [`MemberKey::possession`]; gives the key's peer id.
///
/// # Refusals
/// [`Refusal::CertificateBad`] for a key we do not certify, [`Refusal::PossessionUnproved`].
pub fn check_possession(
    network: &NetworkId,
    name: &str,
    spki: &[u8],
    nonce: &[u8; 16],
    signature: &[u8],
) -> Result<PeerId, Refusal> {
    let key = public_key(spki)?;
    let bytes = possession_bytes(network, name, spki, nonce);
    if is_signed(&key, POSSESSION_TAG, &bytes, signature) {
        Ok(PeerId::of_rsa_spki(spki))
    } else {
        Err(Refusal::PossessionUnproved)
    }
}

/// A member's proof of who it is, encoded: what it is certified by, its device key, and its RSA key's
/// signature that the one belongs to the other within this life of its database.
///
/// # Refusals
/// [`Refusal::Internal`] if the key does not sign.
pub fn make_credential(
    member: &MemberKey,
    network: &NetworkId,
    certified: Certified,
    device: DeviceKey,
    incarnation: Incarnation,
) -> Result<Bytes, Refusal> {
    let bound = credential_bytes(network, &member.peer(), incarnation, &device);
    let signature = Bytes::from(member.sign(CREDENTIAL_TAG, &bound)?);
    Ok(CredentialIn { certified, device, incarnation, signature }.encode())
}

/// A member's paper, of either kind.
struct Paper {
    name: CheckedName,
    peer: PeerId,
    serial: u64,
    validity: (Wall, Wall),
    key: RsaPublicKey,
    voucher: Option<VoucherUse>,
}

fn check_certified(
    proofs: &dyn Proofs,
    authority: &Authority,
    certified: &Certified,
) -> Result<Paper, Refusal> {
    Ok(match certified {
        Certified::ByAuthority(der) => {
            let member = certificate::check_member(authority, der)?;
            Paper {
                name: member.name,
                peer: member.peer,
                serial: member.serial,
                validity: (member.not_before, member.not_after),
                key: member.key,
                voucher: member.voucher,
            }
        }
        Certified::ByVoucher(bytes) => {
            let vouched = voucher::check_vouched(proofs, authority, bytes)?;
            Paper {
                name: vouched.name,
                peer: vouched.peer,
                serial: 0,
                validity: vouched.voucher.validity(),
                key: vouched.key,
                voucher: Some(vouched.voucher.to_use()),
            }
        }
    })
}

fn check_credential(
    proofs: &dyn Proofs,
    authority: &Authority,
    bytes: &Bytes,
) -> Result<Credential, Refusal> {
    if bytes.len() > CREDENTIAL_BYTES_MAX {
        return Err(Refusal::CertificateBad);
    }
    let given = CredentialIn::decode(bytes)?;
    let member = check_certified(proofs, authority, &given.certified)?;
    // A key of small order would let anybody sign for it; a key written in a second way would be
    // a second device (RFC 8032 leaves both open).
    let is_sound = ed25519_dalek::VerifyingKey::from_bytes(&given.device.0).is_ok_and(|device| {
        !device.is_weak() && device.to_edwards().compress().to_bytes() == given.device.0
    });
    if !is_sound {
        return Err(Refusal::SignatureBad);
    }
    let bound =
        credential_bytes(&authority.network, &member.peer, given.incarnation, &given.device);
    if !is_signed(&member.key, CREDENTIAL_TAG, &bound, &given.signature) {
        return Err(Refusal::SignatureBad);
    }
    Ok(Credential {
        peer: member.peer,
        name: member.name.name,
        skeleton: member.name.skeleton,
        serial: member.serial,
        not_before: member.validity.0,
        not_after: member.validity.1,
        device: given.device,
        incarnation: given.incarnation,
        voucher: member.voucher,
        bytes: bytes.clone(),
    })
}

/// The tag says what a signature is for; the zero ends it, so no tag is the start of another.
fn tagged(tag: &str, bytes: &[u8]) -> Vec<u8> {
    [tag.as_bytes(), &[0], bytes].concat()
}

/// Fixed lengths but the peer id, whose first bytes tell its own.
fn credential_bytes(
    network: &NetworkId,
    peer: &PeerId,
    incarnation: Incarnation,
    device: &DeviceKey,
) -> Vec<u8> {
    [network.as_bytes(), peer.as_bytes(), &incarnation.0.to_be_bytes(), device.as_bytes()].concat()
}

/// Fixed lengths around two hashes, so that no byte can move from the name to the key.
fn possession_bytes(network: &NetworkId, name: &str, spki: &[u8], nonce: &[u8; 16]) -> Vec<u8> {
    let (name, spki) = (Sha256::digest(name.as_bytes()), Sha256::digest(spki));
    [network.as_bytes(), name.as_slice(), spki.as_slice(), nonce].concat()
}

/// SHA-256 of a public key (SPKI DER) in hex: what people compare.
pub fn fingerprint(spki: &[u8]) -> String {
    NetworkId(Sha256::digest(spki).into()).to_string()
}

#[cfg(test)]
mod tests;
