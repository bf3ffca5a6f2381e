//! The one genesis of a network: who founded it, and which bootstrap witnesses.
//! Owns: its making and its checking.
//! Must not know: who may found (`protocol/authority` decides), what the founder does with it.
//! Invariants: a `Genesis` exists only under the signature of the authority that it names.
//! Start reading at: [`Genesis::verify`].

use bytes::Bytes;

use super::{Authority, AuthorityDomain, Credential, Issuer, Proofs};
use crate::ids::{Hash, Incarnation, NetworkId, PeerId};
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::identity::{AuthoritySignedIn, GenesisIn};

/// What every control log of a network starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The network.
    pub network: NetworkId,
    /// Its authority.
    pub authority: Authority,
    /// The first member.
    pub founder: Credential,
    /// The bootstrap that is the first voter.
    pub witness: PeerId,
    /// The life of the witness's database that may vote.
    pub witness_incarnation: Incarnation,
    /// When, by the authority's clock.
    pub created_at: Wall,
    /// Random, so that no two are alike.
    pub nonce: [u8; 16],
    /// As received, to be passed on.
    pub bytes: Bytes,
    hash: Hash,
}

impl Genesis {
    /// Checks a genesis: its authority's certificate, that authority's signature, the founder's
    /// credential. Whether it is the authority one believes is for the caller to compare.
    ///
    /// # Refusals
    /// Those of [`Proofs::authority`] and [`Proofs::credential`]; [`Refusal::SignatureBad`],
    /// [`Refusal::NetworkOther`], [`Refusal::FrameTooLong`], [`Refusal::FrameBad`],
    /// [`Refusal::FieldBad`].
    pub fn verify(bytes: &Bytes, proofs: &dyn Proofs) -> Result<Self, Refusal> {
        let signed = AuthoritySignedIn::decode(bytes)?;
        let body = GenesisIn::decode(&signed.body)?;
        let authority = proofs.authority(&body.authority)?;
        if authority.network != body.network {
            return Err(Refusal::NetworkOther);
        }
        let domain = AuthorityDomain::Genesis;
        if !proofs.authority_signed(&authority, domain, &signed.body, &signed.signature) {
            return Err(Refusal::SignatureBad);
        }
        Ok(Self {
            network: body.network,
            founder: proofs.credential(&authority, &body.founder)?,
            authority,
            witness: body.witness,
            witness_incarnation: body.witness_incarnation,
            created_at: body.created_at,
            nonce: body.nonce,
            bytes: bytes.clone(),
            hash: hash_of(&signed.body),
        })
    }

    /// Hash of what the authority signed. The signature is left out: the same body in other
    /// wrapping is the same genesis.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

/// Signs a genesis; gives the bytes that travel.
///
/// # Refusals
/// [`Refusal::Internal`] if the key does not sign.
pub fn make(issuer: &dyn Issuer, body: &GenesisIn) -> Result<Bytes, Refusal> {
    let body = body.encode();
    let signature = issuer.sign(AuthorityDomain::Genesis, &body)?.into();
    Ok(AuthoritySignedIn { body, signature }.encode())
}

fn hash_of(body: &[u8]) -> Hash {
    Hash::of(AuthorityDomain::Genesis.tag(), &[body])
}

#[cfg(test)]
mod tests {
    use super::super::keys::AuthorityKey;
    use super::super::testkeys as stored;
    use super::*;
    use crate::ids::DeviceKey;

    fn body(key: &AuthorityKey) -> GenesisIn {
        GenesisIn {
            network: key.network(),
            authority: stored::authority(key).der,
            founder: stored::credential(key, "alice", 1, &stored::device(1)),
            witness: PeerId::of_ed25519(&DeviceKey([9; 32])),
            witness_incarnation: Incarnation(3),
            created_at: stored::NOW,
            nonce: [5; 16],
        }
    }

    #[test]
    fn a_genesis_is_verified_by_anybody_from_its_bytes_alone() {
        let key = stored::authority_key();
        let bytes = make(&key, &body(&key)).unwrap();
        let genesis = Genesis::verify(&bytes, &stored::device(8)).unwrap();
        assert_eq!(genesis.network, key.network());
        assert_eq!(genesis.founder.name, "alice");
        assert_eq!(genesis.witness_incarnation, Incarnation(3));
        assert_eq!(genesis.bytes, bytes);
    }

    #[test]
    fn other_wrapping_of_one_genesis_has_the_same_hash() {
        let key = stored::authority_key();
        let body = body(&key);
        let (one, other) = (make(&key, &body).unwrap(), make(&key, &body).unwrap());
        assert_ne!(one, other, "the signature is salted");
        let hash = |bytes| Genesis::verify(bytes, &stored::device(8)).unwrap().hash();
        assert_eq!(hash(&one), hash(&other));
        let changed = make(&key, &GenesisIn { nonce: [6; 16], ..body }).unwrap();
        assert_ne!(hash(&one), hash(&changed));
    }

    #[test]
    fn a_genesis_by_another_key_or_for_another_network_is_refused() {
        let (key, other) = (stored::authority_key(), stored::other_authority_key());
        let verify = |bytes: &Bytes| Genesis::verify(bytes, &stored::device(8));
        let foreign = make(&other, &body(&key)).unwrap();
        assert_eq!(verify(&foreign), Err(Refusal::SignatureBad));
        let mixed = make(&key, &GenesisIn { network: other.network(), ..body(&key) }).unwrap();
        assert_eq!(verify(&mixed), Err(Refusal::NetworkOther));
        let founder = stored::credential(&other, "alice", 1, &stored::device(1));
        let founder = make(&key, &GenesisIn { founder, ..body(&key) }).unwrap();
        assert_eq!(verify(&founder), Err(Refusal::CertificateForeign));
        let whole = make(&key, &body(&key)).unwrap();
        let cut = whole.slice(..whole.len() - 1);
        assert!(verify(&cut).is_err());
    }
}
