//! Toy keys: signatures that anybody could make, but that bind exactly what real ones bind.
//! Owns: the encoding of toy certificates and authorities, and the rules they keep.
//! Must not know: links, clocks, what the cores do with any of it.
//! Invariants: the same inputs give the same bytes; what is changed no longer verifies.
//! Start reading at: [`Toy`].

use std::sync::Arc;

use bytes::Bytes;
use p2pgroup::identity::keys::Device;
use p2pgroup::identity::voucher::{self, Voucher, VoucherUse};
use p2pgroup::identity::{
    Authority, AuthorityDomain, CertificateOrder, Credential, CrlOrder, Domain, Issuer, Proofs,
    Terms, name,
};
use p2pgroup::ids::{DeviceKey, Hash, Incarnation, NetworkId, PeerId, Signature, VoucherId};
use p2pgroup::protocol::member::Holder;
use p2pgroup::refusal::Refusal;
use p2pgroup::time::Wall;
use p2pgroup::wire::identity::voucher::{VouchedIn, VoucherIn};
use p2pgroup::wire::identity::{Certified, CredentialIn};

/// The one voucher there is, and its key.
pub const VOUCHER: VoucherId = VoucherId([7; 16]);
const VOUCHER_KEY: DeviceKey = DeviceKey([77; 32]);

/// The authority's "key"; its network id is the hash of it.
pub const AUTHORITY: &[u8] = b"toy authority key";

pub fn network() -> NetworkId {
    NetworkId(Hash::of("toy network", &[AUTHORITY]).0)
}

fn seal(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    Hash::of(domain, parts).0
}

/// A device's signing half and everybody's checking half; the key that signs what MLS signs, if
/// that is in use.
pub struct Toy(pub DeviceKey, pub Option<Arc<Device>>);

impl Toy {
    pub fn of(device: DeviceKey) -> Self {
        Self(device, None)
    }
}

impl Proofs for Toy {
    fn device(&self) -> DeviceKey {
        self.0
    }
    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        let mut whole = [0; 64];
        whole[..32].copy_from_slice(&seal(domain.tag(), &[self.0.as_bytes(), bytes]));
        Signature(whole)
    }
    fn sign_mls(&self, content: &[u8]) -> Option<Signature> {
        self.1.as_ref()?.sign_mls(content)
    }
    fn verify(&self, key: &DeviceKey, domain: Domain, bytes: &[u8], by: &Signature) -> bool {
        Self::of(*key).sign(domain, bytes) == *by
    }
    fn authority(&self, der: &Bytes) -> Result<Authority, Refusal> {
        if der.as_ref() != AUTHORITY {
            return Err(Refusal::CertificateBad);
        }
        Ok(Authority { network: network(), der: der.clone() })
    }
    fn credential(&self, authority: &Authority, bytes: &Bytes) -> Result<Credential, Refusal> {
        let given = CredentialIn::decode(bytes)?;
        let certificate = match &given.certified {
            Certified::ByAuthority(der) => {
                Certificate::decode(der).ok_or(Refusal::CertificateBad)?
            }
            Certified::ByVoucher(bytes) => Certificate::vouched(self, authority, bytes)?,
        };
        if certificate.network != authority.network {
            return Err(Refusal::CertificateForeign);
        }
        let peer = PeerId::of_rsa_spki(&certificate.spki);
        let sealed = possession_of_device(&peer, &given.device, given.incarnation);
        if given.signature != sealed.as_slice() {
            return Err(Refusal::SignatureBad);
        }
        let checked = name::check(&certificate.name).map_err(|_| Refusal::NameBad)?;
        Ok(Credential {
            peer,
            name: checked.name,
            skeleton: checked.skeleton,
            serial: certificate.serial,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            device: given.device,
            incarnation: given.incarnation,
            voucher: certificate.voucher,
            bytes: bytes.clone(),
        })
    }
    fn authority_signed(
        &self,
        _: &Authority,
        domain: AuthorityDomain,
        bytes: &[u8],
        signature: &[u8],
    ) -> bool {
        signature == seal(domain.tag(), &[AUTHORITY, bytes])
    }
}

fn possession_of_device(peer: &PeerId, device: &DeviceKey, life: Incarnation) -> [u8; 32] {
    seal("toy credential", &[peer.as_bytes(), device.as_bytes(), &life.0.to_be_bytes()])
}

struct Certificate {
    serial: u64,
    not_before: Wall,
    not_after: Wall,
    network: NetworkId,
    spki: Vec<u8>,
    name: String,
    voucher: Option<VoucherUse>,
}

impl Certificate {
    /// What a voucher says in place of the authority.
    fn vouched(toy: &Toy, authority: &Authority, bytes: &Bytes) -> Result<Self, Refusal> {
        let given = VouchedIn::decode(bytes)?;
        let voucher = Voucher::verify(toy, authority, &given.voucher)?;
        let bound = vouched_bytes(&given.name, &given.spki);
        if !toy.verify(&voucher.key, Domain::Voucher, &bound, &given.signature) {
            return Err(Refusal::VoucherBad);
        }
        let (not_before, not_after) = voucher.validity();
        Ok(Self {
            serial: 0,
            not_before,
            not_after,
            network: voucher.network,
            spki: given.spki.to_vec(),
            name: given.name,
            voucher: Some(voucher.to_use()),
        })
    }

    fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        let (uses, expires_at) =
            self.voucher.map_or((0, 0), |it| (u64::from(it.uses), it.expires_at.0));
        for number in [self.serial, self.not_before.0, self.not_after.0, uses, expires_at] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(self.network.as_bytes());
        bytes.push(self.spki.len() as u8);
        bytes.extend_from_slice(&self.spki);
        bytes.extend_from_slice(self.name.as_bytes());
        let sealed = seal("toy certificate", &[AUTHORITY, &bytes]);
        bytes.extend_from_slice(&sealed);
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let body = bytes.get(..bytes.len().checked_sub(32)?)?;
        if bytes[body.len()..] != seal("toy certificate", &[AUTHORITY, body]) {
            return None;
        }
        let number = |at: usize| Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let spki_len = usize::from(*body.get(72)?);
        let uses = u32::try_from(number(24)?).ok()?;
        let expires_at = Wall(number(32)?);
        Some(Self {
            serial: number(0)?,
            not_before: Wall(number(8)?),
            not_after: Wall(number(16)?),
            network: NetworkId::from_bytes(body.get(40..72)?)?,
            spki: body.get(73..73 + spki_len)?.to_vec(),
            name: String::from_utf8(body.get(73 + spki_len..)?.to_vec()).ok()?,
            voucher: (uses != 0).then_some(VoucherUse { id: VOUCHER, uses, expires_at, by: None }),
        })
    }
}

/// The holder of a member's toy RSA key.
pub struct ToyHolder {
    pub spki: Vec<u8>,
    pub device: DeviceKey,
    /// How many may come by the invite that it brings.
    pub uses: Option<u32>,
}

fn vouched_bytes(name: &str, spki: &[u8]) -> [u8; 32] {
    seal("toy vouched", &[name.as_bytes(), spki])
}

impl Holder for ToyHolder {
    fn peer(&self) -> PeerId {
        PeerId::of_rsa_spki(&self.spki)
    }
    fn spki(&self) -> Vec<u8> {
        self.spki.clone()
    }
    fn possession(
        &self,
        network: NetworkId,
        name: &str,
        nonce: &[u8; 16],
    ) -> Result<Vec<u8>, Refusal> {
        Ok(possession(&network, name, &self.spki, nonce))
    }
    fn credential(
        &self,
        _: NetworkId,
        certified: &Certified,
        life: Incarnation,
    ) -> Result<Bytes, Refusal> {
        let signature = possession_of_device(&self.peer(), &self.device, life);
        Ok(CredentialIn {
            certified: certified.clone(),
            device: self.device,
            incarnation: life,
            signature: Bytes::copy_from_slice(&signature),
        }
        .encode())
    }
    fn vouched(&self, name: &str) -> Option<Result<Bytes, Refusal>> {
        let body = VoucherIn {
            network: network(),
            id: VOUCHER,
            key: VOUCHER_KEY,
            uses: self.uses?,
            issued_at: Wall(0),
            expires_at: Wall(u64::MAX >> 1),
            name: String::new(),
            room: String::new(),
            by: None,
        };
        let signature =
            Toy::of(VOUCHER_KEY).sign(Domain::Voucher, &vouched_bytes(name, &self.spki));
        let (spki, name) = (self.spki.clone().into(), name.to_owned());
        let voucher = voucher::make(&ToyIssuer, &body);
        Some(voucher.map(|voucher| VouchedIn { voucher, spki, name, signature }.encode()))
    }
}

fn possession(network: &NetworkId, name: &str, spki: &[u8], nonce: &[u8; 16]) -> Vec<u8> {
    seal("toy possession", &[network.as_bytes(), name.as_bytes(), spki, nonce]).to_vec()
}

/// The signing half of the toy authority.
pub struct ToyIssuer;

impl Issuer for ToyIssuer {
    fn network(&self) -> NetworkId {
        network()
    }
    fn authority(&self, _: Wall) -> Result<Bytes, Refusal> {
        Ok(Bytes::from_static(AUTHORITY))
    }
    fn certificate(&self, order: &CertificateOrder<'_>) -> Result<Bytes, Refusal> {
        Ok(Certificate {
            serial: order.serial,
            not_before: order.not_before,
            not_after: order.not_after,
            network: network(),
            spki: order.spki.to_vec(),
            name: order.name.to_owned(),
            voucher: order.voucher,
        }
        .encode())
    }
    fn crl(&self, _: &Authority, order: &CrlOrder) -> Result<Bytes, Refusal> {
        Ok(Bytes::copy_from_slice(&order.number.to_be_bytes()))
    }
    fn sign(&self, domain: AuthorityDomain, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(seal(domain.tag(), &[AUTHORITY, bytes]).to_vec())
    }
    fn possession(
        &self,
        name: &str,
        spki: &[u8],
        nonce: &[u8; 16],
        signature: &[u8],
    ) -> Result<PeerId, Refusal> {
        if possession(&network(), name, spki, nonce) == signature {
            Ok(PeerId::of_rsa_spki(spki))
        } else {
            Err(Refusal::PossessionUnproved)
        }
    }
    fn terms(&self, der: &[u8]) -> Result<Terms, Refusal> {
        let certificate = Certificate::decode(der).ok_or(Refusal::CertificateBad)?;
        let (not_before, not_after) = (certificate.not_before, certificate.not_after);
        Ok(Terms { not_before, not_after, voucher: certificate.voucher })
    }
}
