//! Admission signed in advance: the authority signs a voucher, its key certifies whoever comes.
//! Owns: the making and the checking of vouchers, and of what is certified with them.
//! Must not know: how often one was used, what time it is.
//! Invariants: a `Voucher` exists only under its authority's signature; only its key certifies.
//! Start reading at: [`Voucher::verify`], `check_vouched`.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::keys::{self, MemberKey, VoucherKey};
use super::name::CheckedName;
use super::{Authority, AuthorityDomain, Domain, Issuer, Proofs, name};
use crate::ids::{DeviceKey, NetworkId, PeerId, VoucherId};
use crate::limits::{CERTIFICATE_BACKDATE, CERTIFICATE_LIFE};
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::identity::AuthoritySignedIn;
use crate::wire::identity::voucher::{VouchedIn, VoucherIn};

/// An admission that the authority signed in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The network.
    pub network: NetworkId,
    /// Its id: what the control log counts the uses of.
    pub id: VoucherId,
    /// The key that certifies whoever comes with it.
    pub key: DeviceKey,
    /// How many it admits.
    pub uses: u32,
    /// When it was signed, by the authority's clock.
    pub issued_at: Wall,
    /// Until when it admits, by the stamp of the leader who orders the admission.
    pub expires_at: Wall,
    /// Whom alone it admits.
    pub name: Option<String>,
    /// Which room it leads to.
    pub room: Option<String>,
    /// The member who asked for it; `None`: the operator.
    pub by: Option<PeerId>,
}

impl Voucher {
    /// Checks a voucher of this authority.
    ///
    /// # Refusals
    /// [`Refusal::VoucherBad`], [`Refusal::NetworkOther`].
    pub fn verify(
        proofs: &dyn Proofs,
        authority: &Authority,
        bytes: &Bytes,
    ) -> Result<Self, Refusal> {
        let signed = AuthoritySignedIn::decode(bytes).map_err(bad)?;
        let body = VoucherIn::decode(&signed.body).map_err(bad)?;
        if body.network != authority.network {
            return Err(Refusal::NetworkOther);
        }
        let domain = AuthorityDomain::Voucher;
        if !proofs.authority_signed(authority, domain, &signed.body, &signed.signature) {
            return Err(Refusal::VoucherBad);
        }
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            network: body.network,
            id: body.id,
            key: body.key,
            uses: body.uses,
            issued_at: body.issued_at,
            expires_at: body.expires_at,
            name: given(body.name),
            room: given(body.room),
            by: body.by,
        })
    }

    /// What the control log counts of it.
    pub fn to_use(&self) -> VoucherUse {
        let (id, uses, by) = (self.id, self.uses, self.by);
        VoucherUse { id, uses, expires_at: self.expires_at, by }
    }

    /// From when until when somebody certified with it may stay without having met the authority:
    /// as long as a certificate lasts that was issued on its last day.
    pub fn validity(&self) -> (Wall, Wall) {
        let from = Wall(self.issued_at.0.saturating_sub(CERTIFICATE_BACKDATE.0));
        (from, self.expires_at.after(CERTIFICATE_LIFE))
    }
}

/// What the control log counts: a member came, or would come, by this voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoucherUse {
    /// Which.
    pub id: VoucherId,
    /// How many it admits.
    pub uses: u32,
    /// Until when it admits.
    pub expires_at: Wall,
    /// The member who asked for it, and must be an admin while it admits; `None`: the operator.
    pub by: Option<PeerId>,
}

/// Opens what a certificate says of a voucher.
const URI: &str = "p2pgroup-voucher:";

impl VoucherUse {
    /// As a certificate carries it.
    pub(super) fn to_uri(self) -> String {
        let by = self.by.map(|by| format!(":{by}")).unwrap_or_default();
        format!("{URI}{}:{}:{}{by}", self.id, self.uses, self.expires_at.0)
    }

    /// As a certificate carries it; it has one form only.
    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(URI)?.split(':');
        let (id, uses, expires_at) = (parts.next()?, parts.next()?, parts.next()?);
        let found = Self {
            id: VoucherId::parse(id)?,
            uses: uses.parse().ok()?,
            expires_at: Wall(expires_at.parse().ok()?),
            by: match parts.next() {
                Some(by) => Some(PeerId::parse(by)?),
                None => None,
            },
        };
        (found.to_uri() == uri).then_some(found)
    }
}

/// Signs a voucher; gives the bytes that travel.
///
/// # Refusals
/// [`Refusal::Internal`] if the key does not sign.
pub fn make(issuer: &dyn Issuer, body: &VoucherIn) -> Result<Bytes, Refusal> {
    let body = body.encode();
    let signature = issuer.sign(AuthorityDomain::Voucher, &body)?.into();
    Ok(AuthoritySignedIn { body, signature }.encode())
}

/// A key and a name that a voucher stands for.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    pub(super) voucher: Voucher,
    pub(super) name: CheckedName,
    pub(super) peer: PeerId,
    pub(super) key: rsa::RsaPublicKey,
}

/// Checks what was certified with a voucher, against every rule but time, uses and revocation.
///
/// # Refusals
/// [`Refusal::VoucherBad`], [`Refusal::VoucherName`], [`Refusal::NetworkOther`],
/// [`Refusal::NameBad`], [`Refusal::CertificateBad`] for a key that we do not certify.
pub(super) fn check_vouched(
    proofs: &dyn Proofs,
    authority: &Authority,
    bytes: &Bytes,
) -> Result<Vouched, Refusal> {
    let given = VouchedIn::decode(bytes).map_err(bad)?;
    let voucher = Voucher::verify(proofs, authority, &given.voucher)?;
    let bound = vouched_bytes(&authority.network, voucher.id, &given.name, &given.spki);
    if !proofs.verify(&voucher.key, Domain::Voucher, &bound, &given.signature) {
        return Err(Refusal::VoucherBad);
    }
    let checked = name::check(&given.name).map_err(|refused| refused.refusal)?;
    if checked.name != given.name {
        return Err(Refusal::NameBad);
    }
    if voucher.name.as_ref().is_some_and(|only| *only != checked.name) {
        return Err(Refusal::VoucherName);
    }
    let key = keys::public_key(&given.spki)?;
    Ok(Vouched { voucher, name: checked, peer: PeerId::of_rsa_spki(&given.spki), key })
}

/// Certifies a member's key and name with a voucher; gives the bytes that stand in place of a
/// certificate.
///
/// # Refusals
/// [`Refusal::InviteBad`] if this key is not the voucher's.
pub fn vouch(
    key: &VoucherKey,
    signed: &Bytes,
    member: &MemberKey,
    name: &str,
) -> Result<Bytes, Refusal> {
    let body = VoucherIn::decode(&AuthoritySignedIn::decode(signed)?.body)?;
    if key.public() != body.key {
        return Err(Refusal::InviteBad);
    }
    let bound = vouched_bytes(&body.network, body.id, name, member.spki());
    Ok(VouchedIn {
        voucher: signed.clone(),
        spki: Bytes::copy_from_slice(member.spki()),
        name: name.to_owned(),
        signature: key.sign(&bound),
    }
    .encode())
}

/// Fixed lengths, so that no byte can move from the name to the key.
fn vouched_bytes(network: &NetworkId, id: VoucherId, name: &str, spki: &[u8]) -> Vec<u8> {
    let (name, spki) = (Sha256::digest(name.as_bytes()), Sha256::digest(spki));
    [network.as_bytes(), id.as_bytes(), name.as_slice(), spki.as_slice()].concat()
}

fn bad(_why: Refusal) -> Refusal {
    Refusal::VoucherBad
}

#[cfg(test)]
mod tests;
