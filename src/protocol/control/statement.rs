//! "I lead", signed, for those who are not in the log: joiners and the bootstrap.
//! Owns: making and verifying statements.
//! Must not know: who asks, how addresses are dialled.
//! Invariants: a verified statement is a certified leader's, under a ballot a majority of the
//! listed voters signed for.
//! Start reading at: [`Statement::verify`].

use bytes::Bytes;

use super::chain::Candidacy;
use super::{Control, Role};
use crate::identity::{Authority, Credential, Domain, Proofs};
use crate::ids::Signature;
use crate::limits::{CERTIFICATE_GRACE, CLOCK_SKEW_MAX, STATEMENT_LIFE};
use crate::protocol::Address;
use crate::refusal::Refusal;
use crate::time::{Now, Wall};
use crate::wire::control::{Statement, Voter, VoterSet};

impl Control {
    /// A fresh statement; only from a leader whose own entry is committed and whom a majority
    /// answers.
    pub fn statement(
        &self,
        credential: Bytes,
        authority: Bytes,
        addresses: Vec<Address>,
        now: Now,
        proofs: &dyn Proofs,
    ) -> Option<Statement> {
        let Role::Leader(lead) = &self.role else { return None };
        if self.log.commit() < lead.own || !self.has_quorum(now) {
            return None;
        }
        let mut statement = Statement {
            network: self.setup.network,
            genesis_hash: self.setup.base.genesis_hash,
            ballot: lead.ballot,
            credential,
            authority,
            addresses,
            proof: lead.proof.clone(),
            last: self.log.last(),
            commit: self.log.commit(),
            issued_at: now.wall,
            signature: Signature([0; 64]),
        };
        statement.signature = proofs.sign(Domain::Statement, &statement.signed_bytes());
        Some(statement)
    }
}

impl Statement {
    /// The voters by whom its maker was elected.
    pub fn voters(&self) -> &VoterSet {
        &self.proof.voters
    }

    /// Checks everything that can be checked without the log: authority, credential, signature,
    /// votes, and that it was issued about now. Clocks differ, so "now" is generous here; whoever
    /// holds a statement counts its 30 seconds by its own monotonic clock from receipt.
    ///
    /// # Refusals
    /// Those of [`Proofs::authority`] and [`Proofs::credential`], [`Refusal::NetworkOther`],
    /// [`Refusal::StatementExpired`], [`Refusal::StatementBad`], [`Refusal::SignatureBad`],
    /// [`Refusal::CertificateExpired`], [`Refusal::CertificateEarly`].
    pub fn verify(
        &self,
        proofs: &dyn Proofs,
        now: Wall,
    ) -> Result<(Authority, Credential), Refusal> {
        let skew = CLOCK_SKEW_MAX.0 + STATEMENT_LIFE.0;
        if now.since(self.issued_at).0 > skew || self.issued_at.since(now).0 > skew {
            return Err(Refusal::StatementExpired);
        }
        let authority = proofs.authority(&self.authority)?;
        if authority.network != self.network {
            return Err(Refusal::NetworkOther);
        }
        let credential = proofs.credential(&authority, &self.credential)?;
        if now > credential.not_after.after(CERTIFICATE_GRACE) {
            return Err(Refusal::CertificateExpired);
        }
        if credential.not_before > now.after(CLOCK_SKEW_MAX) {
            return Err(Refusal::CertificateEarly);
        }
        if self.ballot.peer != Some(credential.peer) || self.commit > self.last.index {
            return Err(Refusal::StatementBad);
        }
        let bytes = self.signed_bytes();
        if !proofs.verify(&credential.device, Domain::Statement, &bytes, &self.signature) {
            return Err(Refusal::SignatureBad);
        }
        if self.proof.key == credential.device && self.is_carried(proofs) {
            Ok((authority, credential))
        } else {
            Err(Refusal::StatementBad)
        }
    }

    /// Whether a majority of the listed voters signed for the ballot.
    fn is_carried(&self, proofs: &dyn Proofs) -> bool {
        let set = &self.proof.voters;
        let candidacy = Candidacy::of(&self.network, &self.ballot, &self.proof);
        let has_voted = |voter: &&Voter| {
            // The peer id of a witness is its key: nobody can be put in its place.
            let is_itself = voter.peer.ed25519().is_none_or(|key| key == voter.key);
            is_itself && candidacy.has_vote(voter, proofs)
        };
        set.as_slice().iter().filter(has_voted).count() >= set.majority()
    }
}
