//! How much work a stranger must show before its registration costs us anything.
//! Owns: of whom it is asked.
//! Must not know: how it is done and checked (`identity` does).
//! Invariants: whoever is registered, or brings an invite that opens the door, is asked for none.
//! Start reading at: [`AuthorityCore::work_bits`].

use crate::identity::work;
use crate::ids::PeerId;
use crate::refusal::Refused;
use crate::time::Wall;
use crate::wire::identity::{Admission, Work};

use super::AuthorityCore;

/// What of a registration tells whether work is needed, and whether it was done.
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) spki: &'a [u8],
    pub(super) work: Option<&'a Work>,
}

impl AuthorityCore {
    /// What is asked of strangers. Where invites alone open the door, they are work enough.
    pub(super) fn work_bits(&self) -> u32 {
        match self.setup.admission {
            Admission::Open | Admission::Approve => self.setup.work_bits,
            Admission::Voucher => 0,
        }
    }

    /// Whether somebody without an invite has worked for its registration: some hashes tell.
    ///
    /// # Refusals
    /// [`crate::refusal::Refusal::WorkMissing`], [`crate::refusal::Refusal::WorkTooLittle`].
    pub(super) fn check_work(&self, shown: &Shown<'_>, now: Wall) -> Result<(), Refused> {
        let bits = self.work_bits();
        if bits == 0 || self.register.of_peer(&PeerId::of_rsa_spki(shown.spki)).is_some() {
            return Ok(());
        }
        let network = self.setup.issuer.network();
        work::check(&network, shown.name, shown.spki, shown.work, bits, now)
    }
}
