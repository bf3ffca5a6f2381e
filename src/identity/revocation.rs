//! The authority withdrew a certificate or a voucher: a statement that any member verifies by itself.
//! Owns: its making and its checking.
//! Must not know: who decides to revoke, who is told.
//! Invariants: a `Revocation` exists only under its authority's signature.
//! Start reading at: [`Revocation::verify`].

use bytes::Bytes;

use super::{Authority, AuthorityDomain, Issuer, Proofs};
use crate::ids::NetworkId;
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::identity::{AuthoritySignedIn, RevocationIn, Withdrawn};

/// A certificate or a voucher that holds no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The network.
    pub network: NetworkId,
    /// What is withdrawn.
    pub of: Withdrawn,
    /// When, by the authority's clock.
    pub revoked_at: Wall,
    /// Why; free of control characters.
    pub reason: String,
    /// As received, to be passed on.
    pub bytes: Bytes,
}

impl Revocation {
    /// Checks a revocation by this authority.
    ///
    /// # Refusals
    /// [`Refusal::NetworkOther`], [`Refusal::SignatureBad`], [`Refusal::FrameTooLong`],
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn verify(
        proofs: &dyn Proofs,
        authority: &Authority,
        bytes: &Bytes,
    ) -> Result<Self, Refusal> {
        let signed = AuthoritySignedIn::decode(bytes)?;
        let body = RevocationIn::decode(&signed.body)?;
        if body.network != authority.network {
            return Err(Refusal::NetworkOther);
        }
        let domain = AuthorityDomain::Revocation;
        if !proofs.authority_signed(authority, domain, &signed.body, &signed.signature) {
            return Err(Refusal::SignatureBad);
        }
        Ok(Self {
            network: body.network,
            of: body.of,
            revoked_at: body.revoked_at,
            reason: crate::text::one_line(&body.reason),
            bytes: bytes.clone(),
        })
    }
}

/// Signs a revocation; gives the bytes that travel.
///
/// # Refusals
/// [`Refusal::Internal`] if the key does not sign.
pub fn make(issuer: &dyn Issuer, body: &RevocationIn) -> Result<Bytes, Refusal> {
    let body = body.encode();
    let signature = issuer.sign(AuthorityDomain::Revocation, &body)?.into();
    Ok(AuthoritySignedIn { body, signature }.encode())
}

#[cfg(test)]
mod tests {
    use super::super::testkeys as stored;
    use super::*;

    fn certificate(serial: u64) -> Withdrawn {
        Withdrawn::Certificate { serial, peer: stored::member("bob").peer() }
    }

    fn body(network: NetworkId) -> RevocationIn {
        RevocationIn {
            network,
            of: certificate(4),
            revoked_at: stored::NOW,
            reason: "laptop\u{1b} stolen".to_owned(),
        }
    }

    #[test]
    fn a_revocation_is_verified_offline_and_its_reason_is_harmless() {
        let key = stored::authority_key();
        let bytes = make(&key, &body(key.network())).unwrap();
        let authority = stored::authority(&key);
        let revocation = Revocation::verify(&stored::device(1), &authority, &bytes).unwrap();
        assert_eq!((revocation.of, revocation.revoked_at), (certificate(4), stored::NOW));
        assert_eq!(revocation.reason, "laptop\\u{1b} stolen");
    }

    #[test]
    fn a_revocation_forged_altered_or_of_another_network_is_refused() {
        let (key, other) = (stored::authority_key(), stored::other_authority_key());
        let authority = stored::authority(&key);
        let verify = |bytes: &Bytes| Revocation::verify(&stored::device(1), &authority, bytes);
        let forged = make(&other, &body(key.network())).unwrap();
        assert_eq!(verify(&forged), Err(Refusal::SignatureBad));
        let foreign = make(&other, &body(other.network())).unwrap();
        assert_eq!(verify(&foreign), Err(Refusal::NetworkOther));
        let mut signed =
            AuthoritySignedIn::decode(&make(&key, &body(key.network())).unwrap()).unwrap();
        signed.body = RevocationIn { of: certificate(5), ..body(key.network()) }.encode();
        assert_eq!(verify(&signed.encode()), Err(Refusal::SignatureBad));
        // A genesis' or answer's signature is none over a revocation.
        let body = body(key.network()).encode();
        let signature = Issuer::sign(&key, AuthorityDomain::Answer, &body).unwrap().into();
        let reused = AuthoritySignedIn { body, signature }.encode();
        assert_eq!(verify(&reused), Err(Refusal::SignatureBad));
    }
}
