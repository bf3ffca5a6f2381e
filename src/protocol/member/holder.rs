//! What a member is told by who starts it: whose key it has, whom it believes, where others reach it.
//! Owns: these values, and the contract with the holder of the RSA key.
//! Must not know: what is done with them.
//! Invariants: the RSA key stays with its holder.
//! Start reading at: [`Holder`].

use bytes::Bytes;

use crate::ids::{Incarnation, NetworkId, PeerId};
use crate::refusal::Refusal;
use crate::wire::identity::Certified;

/// What the holder of a member's RSA key does for the core; `identity` in production.
pub trait Holder {
    /// Whose key it is.
    fn peer(&self) -> PeerId;
    /// The public key (SPKI DER).
    fn spki(&self) -> Vec<u8>;
    /// Proof of possession, for a registration.
    ///
    /// # Refusals
    /// [`Refusal::Internal`].
    fn possession(
        &self,
        network: NetworkId,
        name: &str,
        nonce: &[u8; 16],
    ) -> Result<Vec<u8>, Refusal>;
    /// The credential that binds this database's device key to what certifies the RSA key.
    ///
    /// # Refusals
    /// [`Refusal::Internal`].
    fn credential(
        &self,
        network: NetworkId,
        certified: &Certified,
        life: Incarnation,
    ) -> Result<Bytes, Refusal>;
    /// What stands in place of a certificate for this name, by the invite given; `None`: none was.
    ///
    /// # Refusals
    /// [`Refusal::InviteBad`].
    fn vouched(&self, name: &str) -> Option<Result<Bytes, Refusal>>;
}
