//! The asking side of the talk with an authority: which answers are believed, and orders made.
//! Owns: the check that an answer belongs to its question; the pin of an authority.
//! Must not know: how questions travel, what an answer is used for.
//! Invariants: an unsigned answer is never more than a refusal that costs nothing to believe.
//! Start reading at: [`open`].

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::keys::AuthorityKey;
use super::{Authority, AuthorityDomain, Proofs, certificate};
use crate::ids::NetworkId;
use crate::refusal::{Refusal, Refused};
use crate::wire::identity::{
    AuthorityAsk, AuthorityQuestion, AuthorityReply, AuthoritySignedIn, OrderIn,
};

/// Opens an answer of a known authority to one's own question. A no inside becomes the error.
///
/// # Refusals
/// [`Refusal::SignatureBad`] for an answer that the authority did not give to this question;
/// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`]; whatever it refused.
pub fn open(
    proofs: &dyn Proofs,
    authority: &Authority,
    question: &[u8],
    answer: &Bytes,
) -> Result<AuthorityReply, Refused> {
    let signed = AuthoritySignedIn::decode(answer)?;
    let reply = AuthorityReply::decode(&signed.body)?;
    if signed.signature.is_empty() {
        return Err(unsigned(&reply));
    }
    check(proofs, authority, question, &signed)?;
    match reply {
        AuthorityReply::No(refused) => Err(refused),
        reply => Ok(reply),
    }
}

/// Opens the answer to [`AuthorityQuestion::About`], which brings the certificate that its
/// signature is checked with, whom it admits and how much work it asks for. Whether to believe that authority is for a pin or a person to say.
///
/// # Refusals
/// As [`open`]; [`Refusal::CertificateBad`].
pub fn open_about(
    proofs: &dyn Proofs,
    question: &[u8],
    answer: &Bytes,
) -> Result<(Authority, crate::wire::identity::Admission, u32), Refused> {
    let signed = AuthoritySignedIn::decode(answer)?;
    match AuthorityReply::decode(&signed.body)? {
        AuthorityReply::About { authority, admission, work_bits } => {
            let authority = proofs.authority(&authority)?;
            check(proofs, &authority, question, &signed)?;
            Ok((authority, admission, work_bits))
        }
        reply => Err(unsigned(&reply)),
    }
}

/// What the authority signs for an answer: to this question, this reply.
pub fn answer_bytes(question: &[u8], reply: &[u8]) -> Vec<u8> {
    [Sha256::digest(question).as_slice(), reply].concat()
}

/// An operator's order, signed with the authority's own key, as the question that carries it.
///
/// # Refusals
/// [`Refusal::Internal`] if the key does not sign.
pub fn make_order(key: &AuthorityKey, order: &OrderIn) -> Result<AuthorityAsk, Refusal> {
    let body = order.encode();
    let signature = key.sign(AuthorityDomain::Order.tag(), &body)?.into();
    let order_bytes = AuthoritySignedIn { body, signature }.encode();
    Ok(AuthorityAsk {
        nonce: order.nonce,
        question: AuthorityQuestion::Order { order: order_bytes },
    })
}

fn check(
    proofs: &dyn Proofs,
    authority: &Authority,
    question: &[u8],
    signed: &AuthoritySignedIn,
) -> Result<(), Refusal> {
    let bytes = answer_bytes(question, &signed.body);
    let domain = AuthorityDomain::Answer;
    if proofs.authority_signed(authority, domain, &bytes, &signed.signature) {
        Ok(())
    } else {
        Err(Refusal::SignatureBad)
    }
}

/// Nobody vouches for these: only "not now", "not for nothing" and "not understood" are taken at their word.
fn unsigned(reply: &AuthorityReply) -> Refused {
    match reply {
        AuthorityReply::No(refused) if is_cheap(refused.refusal) => refused.clone(),
        _ => Refusal::SignatureBad.into(),
    }
}

/// Refusals that the authority sends without a signature.
pub fn is_cheap(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::TooMany
            | Refusal::WorkMissing
            | Refusal::WorkTooLittle
            | Refusal::FrameTooLong
            | Refusal::FrameBad
            | Refusal::FieldBad
            | Refusal::Internal
    )
}

impl Authority {
    /// SHA-256 of its public key in hex: what people compare. Also the network's id.
    pub fn fingerprint(&self) -> String {
        self.network.to_string()
    }
}

/// The authority that somebody chose beforehand, by `--authority FILE|FINGERPRINT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// The network it stands for.
    pub network: NetworkId,
}

impl Pin {
    /// A fingerprint as shown (64 hex digits; colons, spaces and `sha256:` are ignored).
    pub fn of_fingerprint(text: &str) -> Option<Self> {
        if text.len() > 256 {
            return None;
        }
        let text = text.trim().to_ascii_lowercase();
        let digits = text.strip_prefix("sha256:").unwrap_or(&text);
        let mut bytes = Vec::with_capacity(32);
        let mut high = None;
        for c in digits.chars().filter(|c| !matches!(c, ':' | ' ')) {
            let digit = u8::try_from(c.to_digit(16)?).ok()?;
            match high.take() {
                None => high = Some(digit << 4),
                Some(first) => bytes.push(first | digit),
            }
        }
        if high.is_some() {
            return None;
        }
        NetworkId::from_bytes(&bytes).map(|network| Self { network })
    }

    /// The authority's certificate as exported (PEM).
    ///
    /// # Refusals
    /// [`Refusal::CertificateBad`].
    pub fn of_certificate(pem: &[u8]) -> Result<Self, Refusal> {
        let authority = certificate::check_authority(&certificate::from_pem(pem)?)?;
        Ok(Self { network: authority.network })
    }

    /// What was given with `--authority`: a fingerprint, else the name of a file, read by `read`.
    ///
    /// # Refusals
    /// [`Refusal::ConfigUnreadable`] if the file cannot be read, [`Refusal::CertificateBad`].
    pub fn parse(
        argument: &str,
        read: impl FnOnce(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, Refused> {
        if let Some(pin) = Self::of_fingerprint(argument) {
            return Ok(pin);
        }
        let pem = read(argument)
            .map_err(|why| Refused::new(Refusal::ConfigUnreadable, format!("{argument}: {why}")))?;
        Self::of_certificate(&pem).map_err(|refusal| Refused::new(refusal, argument))
    }

    /// Whether this is the authority chosen.
    pub fn is_of(&self, authority: &Authority) -> bool {
        self.network == authority.network
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.network)
    }
}

#[cfg(test)]
mod tests;
