//! Who somebody is, and how that is proved.
//! Owns: keys, certificates, names; the [`Proofs`] every core is given.
//! Must not know: rooms, leaders, what is signed.
//! Invariants: a `Credential` exists only after its whole chain was checked.
//! Start reading at: [`Proofs`].

pub mod answer;
pub mod certificate;
pub mod genesis;
pub mod keys;
pub mod name;
pub mod revocation;
#[cfg(test)]
pub mod testkeys;
pub mod voucher;
pub mod words;
pub mod work;

use std::fmt;

use bytes::Bytes;

use self::voucher::VoucherUse;
use crate::ids::{DeviceKey, Incarnation, NetworkId, PeerId, Signature};
use crate::refusal::Refusal;
use crate::time::Wall;

/// What a signature is for. It is part of what gets signed, so a vote is never taken for an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// "I would vote for you" (`control`).
    PreVote,
    /// "I vote for you" (`control`).
    Vote,
    /// "You may be elected at once" (`control`).
    HandOver,
    /// "I lead" (`control`).
    Statement,
    /// "I order this, here" (`control`).
    Entry,
    /// A signed wish (`roster`).
    Intent,
    /// The head of a batch of entries (`room`).
    Batch,
    /// "This key may use this name", by a voucher's key.
    Voucher,
    /// "This member knows the join code", by the code's key.
    JoinCode,
    /// "Keep this for me", to one keeper (`keeper`).
    Deposit,
    /// "I hold this log up to here" (`sync`).
    Mark,
}

impl Domain {
    /// The bytes that open what is signed.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::PreVote => "p2pgroup/1 pre-vote",
            Self::Vote => "p2pgroup/1 vote",
            Self::HandOver => "p2pgroup/1 hand-over",
            Self::Statement => "p2pgroup/1 statement",
            Self::Entry => "p2pgroup/1 entry",
            Self::Intent => "p2pgroup/1 intent",
            Self::Batch => "p2pgroup/1 batch",
            Self::Voucher => "p2pgroup/1 voucher",
            Self::JoinCode => "p2pgroup/1 join code",
            Self::Deposit => "p2pgroup/1 deposit",
            Self::Mark => "p2pgroup/1 mark",
        }
    }
}

/// Whether these bytes are an MLS `SignContent`: a label's length in one byte (at most 63), then
/// `MLS 1.0 `. All that is signed under a [`Domain`] begins with the letter `p`, so no signature
/// of the one kind is ever one of the other, and one device key may make both.
pub fn is_mls(content: &[u8]) -> bool {
    content.split_first().is_some_and(|(len, rest)| {
        let label = rest.get(..usize::from(*len)).unwrap_or_default();
        *len < 64 && label.starts_with(b"MLS 1.0 ")
    })
}

/// What the authority's own signatures are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityDomain {
    /// An answer to a question.
    Answer,
    /// The one genesis of a network.
    Genesis,
    /// A revocation.
    Revocation,
    /// An operator's order to the running authority.
    Order,
    /// An admission in advance.
    Voucher,
}

impl AuthorityDomain {
    /// The bytes that open what is signed.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Answer => "p2pgroup/1 authority answer",
            Self::Genesis => "p2pgroup/1 genesis",
            Self::Revocation => "p2pgroup/1 revocation",
            Self::Order => "p2pgroup/1 authority order",
            Self::Voucher => "p2pgroup/1 authority voucher",
        }
    }
}

/// An authority one has decided to believe: its self-signed X.509 certificate, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// The network it stands for: SHA-256 of its public key.
    pub network: NetworkId,
    /// Its certificate (DER).
    pub der: Bytes,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?})", self.network)
    }
}

/// A member's proof of who it is: a certificate over its RSA key, or a voucher's signature over it
/// until the member meets the authority, and that RSA key's signature over the device key that
/// signs everything else. Only [`Proofs::credential`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The member: fingerprint of the certified RSA key.
    pub peer: PeerId,
    /// The certified name (NFC).
    pub name: String,
    /// The skeleton of the name, which is unique in a network.
    pub skeleton: String,
    /// The certificate's number at the authority; 0 where a voucher stands in its place.
    pub serial: u64,
    /// Not valid before.
    pub not_before: Wall,
    /// Not valid after.
    pub not_after: Wall,
    /// The key that signs votes, intents and entries.
    pub device: DeviceKey,
    /// The life of the database that holds the device key.
    pub incarnation: Incarnation,
    /// The voucher it came by, where it came by one: counted once, when it enters.
    pub voucher: Option<VoucherUse>,
    /// The encoded `pb::Credential`, to be passed on as received.
    pub bytes: Bytes,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} {:?} #{})", self.name, self.peer, self.serial)
    }
}

/// Signing and checking, as given to the cores. `keys::Device` in production; a toy with the same
/// rules in the simulator, where a run must replay byte for byte and in microseconds.
pub trait Proofs {
    /// One's own device key.
    fn device(&self) -> DeviceKey;
    /// Signs with one's own device key.
    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature;
    /// Signs what RFC 9420 5.1.2 says is signed, and nothing else: `None` for other bytes, and from
    /// keys that stand in for real ones. The same key signs under our domains: see [`is_mls`].
    fn sign_mls(&self, _content: &[u8]) -> Option<Signature> {
        None
    }
    /// The public key of a room's join code: `None` from keys that stand in for real ones.
    fn code_key(&self, _code: &str) -> Option<DeviceKey> {
        None
    }
    /// Proof that one knows a room's join code, bound to these bytes.
    fn code_proof(&self, _code: &str, _bytes: &[u8]) -> Option<Signature> {
        None
    }
    /// Whether `key` signed these bytes for this purpose (strict verification).
    fn verify(&self, key: &DeviceKey, domain: Domain, bytes: &[u8], by: &Signature) -> bool;
    /// Checks an authority's self-signed certificate (RSA at least 3072, constraints, signature).
    ///
    /// # Refusals
    /// [`Refusal::CertificateBad`].
    fn authority(&self, der: &Bytes) -> Result<Authority, Refusal>;
    /// Checks a credential's whole chain but time and revocation, which the caller judges by the
    /// validity it finds in the result.
    ///
    /// # Refusals
    /// [`Refusal::CertificateBad`], [`Refusal::CertificateForeign`], [`Refusal::CertificateOfOther`],
    /// [`Refusal::NameBad`], [`Refusal::SignatureBad`], [`Refusal::VoucherBad`],
    /// [`Refusal::VoucherName`], [`Refusal::NetworkOther`].
    fn credential(&self, authority: &Authority, bytes: &Bytes) -> Result<Credential, Refusal>;
    /// Whether the authority's RSA key signed these bytes for this purpose.
    fn authority_signed(
        &self,
        authority: &Authority,
        domain: AuthorityDomain,
        bytes: &[u8],
        signature: &[u8],
    ) -> bool;
}

/// What a certificate of one's own says about its time and its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Not valid before.
    pub not_before: Wall,
    /// Not valid after.
    pub not_after: Wall,
    /// The voucher its holder came by.
    pub voucher: Option<VoucherUse>,
}

/// A certificate to be issued.
#[derive(Clone, Copy, Debug)]
pub struct CertificateOrder<'a> {
    /// The authority's number for it.
    pub serial: u64,
    /// Whom it names; checked.
    pub name: &'a str,
    /// The key it certifies (SPKI DER); checked.
    pub spki: &'a [u8],
    /// Not valid before.
    pub not_before: Wall,
    /// Not valid after.
    pub not_after: Wall,
    /// The voucher that the key came by; written into the certificate, so that it counts.
    pub voucher: Option<VoucherUse>,
}

/// A revocation list to be issued.
#[derive(Clone, Debug)]
pub struct CrlOrder {
    /// Its number; grows with every list.
    pub number: u64,
    /// Made when.
    pub this_update: Wall,
    /// Good until.
    pub next_update: Wall,
    /// Serial numbers, when and why revoked; in ascending order.
    pub revoked: Vec<(u64, Wall, String)>,
}

/// The signing half of an authority, as given to its core: RSA and X.509 stay on this floor, and
/// the randomness of signatures with them. `keys::AuthorityKey` in production.
pub trait Issuer {
    /// The network it stands for.
    fn network(&self) -> NetworkId;
    /// Its own certificate, self-signed anew (DER).
    ///
    /// # Refusals
    /// [`Refusal::Internal`].
    fn authority(&self, now: Wall) -> Result<Bytes, Refusal>;
    /// A member's certificate (DER).
    ///
    /// # Refusals
    /// [`Refusal::Internal`].
    fn certificate(&self, order: &CertificateOrder<'_>) -> Result<Bytes, Refusal>;
    /// A revocation list (DER).
    ///
    /// # Refusals
    /// [`Refusal::Internal`].
    fn crl(&self, authority: &Authority, order: &CrlOrder) -> Result<Bytes, Refusal>;
    /// Signs with the authority's key.
    ///
    /// # Refusals
    /// [`Refusal::Internal`].
    fn sign(&self, domain: AuthorityDomain, bytes: &[u8]) -> Result<Vec<u8>, Refusal>;
    /// Checks a key handed in and the proof that its sender holds it; gives the key's peer id.
    ///
    /// # Refusals
    /// [`Refusal::CertificateBad`] for a key it does not certify, [`Refusal::PossessionUnproved`].
    fn possession(
        &self,
        name: &str,
        spki: &[u8],
        nonce: &[u8; 16],
        signature: &[u8],
    ) -> Result<PeerId, Refusal>;
    /// From when until when a certificate of its own holds, and the voucher in it.
    ///
    /// # Refusals
    /// [`Refusal::CertificateBad`].
    fn terms(&self, der: &[u8]) -> Result<Terms, Refusal>;
}
