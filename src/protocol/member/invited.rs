//! The way in by an invite: the authority may be off, so its certificate comes from the bootstrap.
//! Owns: what stands in place of a certificate until the authority is met.
//! Must not know: the voucher's secret (`Holder` uses it), whether the voucher still admits.
//! Invariants: an authority that somebody else shows is believed only if it is the pinned one.
//! Start reading at: [`Member::use_invite`].

use bytes::Bytes;

use super::{Context, Member, Trust, stored_certificate};
use crate::identity::Credential;
use crate::ids::{NetworkId, PeerId};
use crate::protocol::Reads;
use crate::refusal::{Refusal, Refused};
use crate::wire::identity::Certified;

/// Where what a voucher certified is stored; the voucher's secret never is.
const VOUCHED_KEY: &str = "identity/vouched";

impl Member {
    /// What says that our key may use our name, as far as it is at hand.
    pub(super) fn certified(&self, reads: &dyn Reads) -> Result<Option<Certified>, Refusal> {
        if let Some(certificate) = stored_certificate(reads) {
            return Ok(Some(Certified::ByAuthority(certificate)));
        }
        let vouched = match self.holder.vouched(&self.name) {
            // A new invite counts more than an earlier one, which may have been refused.
            Some(vouched) => Some(vouched?),
            None => reads.setting(VOUCHED_KEY),
        };
        Ok(vouched.map(Certified::ByVoucher))
    }

    /// Takes the invite for a certificate; `false`: there is none.
    pub(super) fn use_invite(&mut self, cx: &mut Context<'_>) -> bool {
        match self.try_invite(cx) {
            Ok(is_used) => is_used,
            Err(refused) => {
                cx.fatal(refused);
                true
            }
        }
    }

    fn try_invite(&mut self, cx: &mut Context<'_>) -> Result<bool, Refused> {
        let Some(vouched) = self.holder.vouched(&self.name) else {
            return Ok(false);
        };
        let vouched = vouched?;
        let authority = self.authority.as_ref().ok_or(Refusal::AuthorityUnknown)?;
        let certified = Certified::ByVoucher(vouched.clone());
        let life = self.setup.incarnation;
        let bytes = self.holder.credential(authority.network, &certified, life)?;
        let credential = self.proofs.credential(authority, &bytes)?;
        cx.write(VOUCHED_KEY, vouched);
        self.take_credential(credential, cx)?;
        Ok(true)
    }

    /// From now on this is who we are.
    pub(super) fn take_credential(
        &mut self,
        credential: Credential,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        if credential.peer != self.me || credential.name != self.name {
            return Err(Refusal::CertificateName.into());
        }
        cx.write("identity/name", self.name.clone().into_bytes().into());
        self.credential = Some(credential);
        self.dials.touch();
        // Links that came up before wait for our hello.
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        for peer in peers {
            self.greet(peer, cx);
        }
        Ok(())
    }

    /// Whether a voucher stands in place of our certificate.
    pub(super) fn is_vouched(&self) -> bool {
        self.credential.as_ref().is_some_and(|it| it.serial == 0)
    }

    /// The network whose authority's certificate the bootstrap is to show.
    pub(super) fn invited_to(&self) -> Option<NetworkId> {
        match self.setup.trust {
            Trust::Pinned(network) if self.holder.vouched(&self.name).is_some() => Some(network),
            _ => None,
        }
    }

    /// The bootstrap's answer to whose network this is.
    pub(super) fn take_root(&mut self, der: &Bytes, cx: &mut Context<'_>) -> Result<(), Refused> {
        if der.is_empty() {
            // It has not met the network; the authority itself may answer.
            return Err(Refusal::NetworkUnknown.into());
        }
        let authority = self.proofs.authority(der)?;
        if self.invited_to() != Some(authority.network) {
            return Err(Refusal::NetworkOther.into());
        }
        self.believe(authority, cx);
        Ok(())
    }
}
