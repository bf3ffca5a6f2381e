//! Credentials and the talk with the authority: bytes to typed values and back.
//! Owns: which fields must be there and how long they may be.
//! Must not know: whether a signature holds (`identity` checks), what a question leads to.
//! Invariants: a decoded value is complete and in range; bodies are kept as received.
//! Start reading at: [`AuthorityAsk`], [`AuthorityReply`].

mod order;
mod reply;
pub mod voucher;
mod work;

use bytes::Bytes;
use prost::Message;

pub use self::order::{OrderCommand, OrderIn, Rights};
pub use self::reply::{Admission, AuthorityReply, RegisterRow, RegisterState};
pub use self::work::Work;
use super::pb;
use crate::ids::{DeviceKey, Incarnation, NetworkId, PeerId, VoucherId};
use crate::limits::{
    ASK_BYTES_MAX, CERTIFICATE_BYTES_MAX, CREDENTIAL_BYTES_MAX, DETAIL_BYTES_MAX, NAME_BYTES_MAX,
    ORDER_BYTES_MAX, RSA_SIGNATURE_BYTES_MAX, VOUCHED_BYTES_MAX,
};
use crate::refusal::Refusal;
use crate::time::Wall;

/// A name as handed in, before `identity::name` judges it: its own refusal says more than ours.
const NAME_IN_BYTES_MAX: usize = NAME_BYTES_MAX * 16;

/// What says that a key may use a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certified {
    /// The authority itself: X.509 DER.
    ByAuthority(Bytes),
    /// A voucher that the authority signed in advance: an encoded [`voucher::VouchedIn`].
    ByVoucher(Bytes),
}

/// A credential as received: well-formed, nothing proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialIn {
    /// What says that the member's key may use its name.
    pub certified: Certified,
    /// The key that signs everything else.
    pub device: DeviceKey,
    /// The life of the database that holds it.
    pub incarnation: Incarnation,
    /// RSA-PSS by the certified key.
    pub signature: Bytes,
}

impl CredentialIn {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let (certificate, vouched) = match self.certified.clone() {
            Certified::ByAuthority(certificate) => (certificate, Bytes::new()),
            Certified::ByVoucher(vouched) => (Bytes::new(), vouched),
        };
        let message = pb::Credential {
            certificate,
            vouched,
            device_key: Bytes::copy_from_slice(&self.device.0),
            incarnation: self.incarnation.0,
            signature: self.signature.clone(),
        };
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::CertificateBad`], [`Refusal::SignatureBad`] where the lengths cannot be right.
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > CREDENTIAL_BYTES_MAX {
            return Err(Refusal::CertificateBad);
        }
        let message = pb::Credential::decode(bytes.clone()).map_err(|_| Refusal::CertificateBad)?;
        let (certificate, vouched) = (message.certificate, message.vouched);
        if certificate.len() > CERTIFICATE_BYTES_MAX || vouched.len() > VOUCHED_BYTES_MAX {
            return Err(Refusal::CertificateBad);
        }
        let certified = match (certificate.is_empty(), vouched.is_empty()) {
            (false, true) => Certified::ByAuthority(certificate),
            (true, false) => Certified::ByVoucher(vouched),
            _ => return Err(Refusal::CertificateBad),
        };
        let device = DeviceKey::from_bytes(&message.device_key).ok_or(Refusal::SignatureBad)?;
        if message.signature.is_empty() || message.signature.len() > RSA_SIGNATURE_BYTES_MAX {
            return Err(Refusal::SignatureBad);
        }
        Ok(Self {
            certified,
            device,
            incarnation: Incarnation(message.incarnation),
            signature: message.signature,
        })
    }
}

/// A body and the authority's signature over it, as received: nothing proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritySignedIn {
    /// What was signed, as received.
    pub body: Bytes,
    /// RSA-PSS by the authority; may be empty on some refusals.
    pub signature: Bytes,
}

impl AuthoritySignedIn {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let message =
            pb::AuthoritySigned { body: self.body.clone(), signature: self.signature.clone() };
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let message: pb::AuthoritySigned = decode(bytes, ASK_BYTES_MAX)?;
        if message.body.is_empty() || message.signature.len() > RSA_SIGNATURE_BYTES_MAX {
            return Err(Refusal::FieldBad);
        }
        Ok(Self { body: message.body, signature: message.signature })
    }
}

/// The body of a genesis, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisIn {
    /// The network.
    pub network: NetworkId,
    /// The authority's certificate (DER).
    pub authority: Bytes,
    /// The founder's encoded credential.
    pub founder: Bytes,
    /// The bootstrap that witnesses.
    pub witness: PeerId,
    /// The life of the witness's database.
    pub witness_incarnation: Incarnation,
    /// When, by the authority's clock.
    pub created_at: Wall,
    /// Random.
    pub nonce: [u8; 16],
}

impl GenesisIn {
    /// The bytes that get signed.
    pub fn encode(&self) -> Bytes {
        let message = pb::GenesisBody {
            network: Bytes::copy_from_slice(&self.network.0),
            authority: self.authority.clone(),
            founder: self.founder.clone(),
            witness: Bytes::copy_from_slice(self.witness.as_bytes()),
            witness_incarnation: self.witness_incarnation.0,
            created_at: self.created_at.0,
            nonce: Bytes::copy_from_slice(&self.nonce),
        };
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let message: pb::GenesisBody = decode(bytes, ASK_BYTES_MAX)?;
        Ok(Self {
            network: NetworkId::from_bytes(&message.network).ok_or(Refusal::FieldBad)?,
            authority: bounded(message.authority, CERTIFICATE_BYTES_MAX)?,
            founder: bounded(message.founder, CREDENTIAL_BYTES_MAX)?,
            witness: PeerId::from_bytes(&message.witness).ok_or(Refusal::FieldBad)?,
            witness_incarnation: Incarnation(message.witness_incarnation),
            created_at: Wall(message.created_at),
            nonce: nonce(&message.nonce)?,
        })
    }
}

/// What the authority withdraws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// A certificate.
    Certificate {
        /// Its number.
        serial: u64,
        /// Whose it was.
        peer: PeerId,
    },
    /// A voucher.
    Voucher {
        /// Which.
        id: VoucherId,
        /// Whether those who came in with it are out again.
        with_members: bool,
    },
}

/// The body of a revocation, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationIn {
    /// The network.
    pub network: NetworkId,
    /// What is withdrawn.
    pub of: Withdrawn,
    /// When, by the authority's clock.
    pub revoked_at: Wall,
    /// Why, for people.
    pub reason: String,
}

impl RevocationIn {
    /// The bytes that get signed.
    pub fn encode(&self) -> Bytes {
        let mut message = pb::RevocationBody {
            network: Bytes::copy_from_slice(&self.network.0),
            revoked_at: self.revoked_at.0,
            reason: self.reason.clone(),
            ..pb::RevocationBody::default()
        };
        match self.of {
            Withdrawn::Certificate { serial, peer } => {
                message.serial = serial;
                message.peer = Bytes::copy_from_slice(peer.as_bytes());
            }
            Withdrawn::Voucher { id, with_members } => {
                message.voucher = Bytes::copy_from_slice(id.as_bytes());
                message.with_members = with_members;
            }
        }
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let message: pb::RevocationBody = decode(bytes, ORDER_BYTES_MAX)?;
        let of = if message.voucher.is_empty() {
            Withdrawn::Certificate {
                serial: number(message.serial)?,
                peer: PeerId::from_bytes(&message.peer).ok_or(Refusal::FieldBad)?,
            }
        } else {
            let id = VoucherId::from_bytes(&message.voucher).ok_or(Refusal::FieldBad)?;
            Withdrawn::Voucher { id, with_members: message.with_members }
        };
        Ok(Self {
            network: NetworkId::from_bytes(&message.network).ok_or(Refusal::FieldBad)?,
            of,
            revoked_at: Wall(message.revoked_at),
            reason: short(message.reason)?,
        })
    }
}

/// A question to the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityAsk {
    /// Random; makes the answer one to this question alone.
    pub nonce: [u8; 16],
    /// What is asked.
    pub question: AuthorityQuestion,
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityQuestion {
    /// Who are you, and whom do you admit?
    About,
    /// Certify my key.
    Register {
        /// The name wanted.
        name: String,
        /// The key (SPKI DER).
        spki: Bytes,
        /// `MemberKey::possession` over network, name, key and the ask's nonce.
        possession: Bytes,
        /// The encoded credential of whoever came by a voucher; else empty.
        credential: Bytes,
        /// Work done for it, where the authority asks for some.
        work: Option<Work>,
    },
    /// Whose key is it?
    Lookup(LookupBy),
    /// The register from a number on.
    List {
        /// The first number wanted.
        from: u64,
    },
    /// What was revoked, from a number on.
    Crl {
        /// The first number wanted.
        from: u64,
    },
    /// May I found the group?
    Found {
        /// The asker's encoded credential.
        credential: Bytes,
        /// The bootstrap that shall witness.
        witness: PeerId,
        /// The life of the witness's database.
        witness_incarnation: Incarnation,
    },
    /// An operator's order: an encoded [`AuthoritySignedIn`] over an [`OrderIn`].
    Order {
        /// The order.
        order: Bytes,
    },
    /// An order of a member, which the connection proves it is from: an encoded [`OrderIn`].
    Entrusted {
        /// The order.
        order: Bytes,
    },
}

/// What to look up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupBy {
    /// A name.
    Name(String),
    /// A peer id.
    Peer(PeerId),
}

impl AuthorityAsk {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        use pb::authority_ask::Question;
        let question = match self.question.clone() {
            AuthorityQuestion::About => Question::About(pb::AskAbout {}),
            AuthorityQuestion::Register { name, spki, possession, credential, work } => {
                let work = work.as_ref().map(work::work_out);
                Question::Register(pb::AskRegister { name, spki, possession, credential, work })
            }
            AuthorityQuestion::Lookup(by) => {
                use pb::ask_lookup::By;
                let by = match by {
                    LookupBy::Name(name) => By::Name(name),
                    LookupBy::Peer(peer) => By::Peer(Bytes::copy_from_slice(peer.as_bytes())),
                };
                Question::Lookup(pb::AskLookup { by: Some(by) })
            }
            AuthorityQuestion::List { from } => Question::List(pb::AskList { from }),
            AuthorityQuestion::Crl { from } => Question::Crl(pb::AskCrl { from }),
            AuthorityQuestion::Found { credential, witness, witness_incarnation } => {
                Question::Found(pb::AskFound {
                    credential,
                    witness: Bytes::copy_from_slice(witness.as_bytes()),
                    witness_incarnation: witness_incarnation.0,
                })
            }
            AuthorityQuestion::Order { order } => Question::Order(order),
            AuthorityQuestion::Entrusted { order } => Question::Entrusted(order),
        };
        let nonce = Bytes::copy_from_slice(&self.nonce);
        pb::AuthorityAsk { nonce, question: Some(question) }.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        use pb::authority_ask::Question;
        // No question is longer than a credential or an order.
        let message: pb::AuthorityAsk = decode(bytes, ORDER_BYTES_MAX)?;
        let question = match message.question.ok_or(Refusal::FieldBad)? {
            Question::About(_) => AuthorityQuestion::About,
            Question::Register(ask) => AuthorityQuestion::Register {
                name: named(ask.name)?,
                spki: bounded(ask.spki, CERTIFICATE_BYTES_MAX)?,
                possession: bounded(ask.possession, RSA_SIGNATURE_BYTES_MAX)?,
                credential: at_most(ask.credential, CREDENTIAL_BYTES_MAX)?,
                work: ask.work.map(work::work_in).transpose()?,
            },
            Question::Lookup(ask) => AuthorityQuestion::Lookup(lookup_by(ask)?),
            Question::List(ask) => AuthorityQuestion::List { from: ask.from },
            Question::Crl(ask) => AuthorityQuestion::Crl { from: ask.from },
            Question::Found(ask) => AuthorityQuestion::Found {
                credential: bounded(ask.credential, CREDENTIAL_BYTES_MAX)?,
                witness: PeerId::from_bytes(&ask.witness).ok_or(Refusal::FieldBad)?,
                witness_incarnation: Incarnation(ask.witness_incarnation),
            },
            Question::Order(order) => {
                AuthorityQuestion::Order { order: bounded(order, ORDER_BYTES_MAX)? }
            }
            Question::Entrusted(order) => {
                AuthorityQuestion::Entrusted { order: bounded(order, ORDER_BYTES_MAX)? }
            }
        };
        Ok(Self { nonce: nonce(&message.nonce)?, question })
    }
}

fn lookup_by(ask: pb::AskLookup) -> Result<LookupBy, Refusal> {
    use pb::ask_lookup::By;
    Ok(match ask.by.ok_or(Refusal::FieldBad)? {
        By::Name(name) => LookupBy::Name(named(name)?),
        By::Peer(peer) => LookupBy::Peer(PeerId::from_bytes(&peer).ok_or(Refusal::FieldBad)?),
    })
}

fn decode<M: Message + Default>(bytes: &Bytes, bytes_max: usize) -> Result<M, Refusal> {
    if bytes.len() > bytes_max {
        return Err(Refusal::FrameTooLong);
    }
    M::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)
}

fn bounded(bytes: Bytes, bytes_max: usize) -> Result<Bytes, Refusal> {
    let is_right = !bytes.is_empty() && bytes.len() <= bytes_max;
    if is_right { Ok(bytes) } else { Err(Refusal::FieldBad) }
}

fn at_most(bytes: Bytes, bytes_max: usize) -> Result<Bytes, Refusal> {
    if bytes.len() <= bytes_max { Ok(bytes) } else { Err(Refusal::FieldBad) }
}

fn nonce(bytes: &[u8]) -> Result<[u8; 16], Refusal> {
    bytes.try_into().map_err(|_| Refusal::FieldBad)
}

fn number(serial: u64) -> Result<u64, Refusal> {
    if serial == 0 { Err(Refusal::FieldBad) } else { Ok(serial) }
}

fn named(name: String) -> Result<String, Refusal> {
    if name.len() <= NAME_IN_BYTES_MAX { Ok(name) } else { Err(Refusal::FieldBad) }
}

fn short(text: String) -> Result<String, Refusal> {
    if text.len() <= DETAIL_BYTES_MAX { Ok(text) } else { Err(Refusal::FieldBad) }
}

#[cfg(test)]
mod tests;
