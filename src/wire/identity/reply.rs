//! What the authority replies: bytes to typed values and back.
//! Owns: which fields a reply must have and how long they may be.
//! Must not know: whether the signature around it holds, what was asked.
//! Invariants: a decoded reply is complete and in range.
//! Start reading at: [`AuthorityReply`].

use bytes::Bytes;
use prost::Message;

use super::voucher::{VoucherRow, voucher_row_in, voucher_row_out};
use super::{bounded, decode, named, number, short};
use crate::ids::PeerId;
use crate::limits::{
    ASK_BYTES_MAX, CERTIFICATE_BYTES_MAX, DETAIL_BYTES_MAX, REGISTER_PAGE_MAX, VOUCHER_BYTES_MAX,
    WORK_BITS_MAX,
};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;
use crate::wire::pb;

/// Whom an authority admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Everybody whose name is free.
    Open,
    /// Whom the operator approves, and whoever brings an invite.
    Approve,
    /// Whoever brings an invite.
    Voucher,
}

impl Admission {
    /// As in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approve => "approve",
            Self::Voucher => "voucher",
        }
    }
}

/// What the authority replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityReply {
    /// To [`About`](super::AuthorityQuestion::About).
    About {
        /// Its own certificate (DER).
        authority: Bytes,
        /// Whom it admits.
        admission: Admission,
        /// How much work it asks of newcomers: tries, as a power of two; 0: none.
        work_bits: u32,
    },
    /// To [`Register`](super::AuthorityQuestion::Register): the certificate (DER).
    Certificate(Bytes),
    /// A no.
    No(Refused),
    /// To [`Lookup`](super::AuthorityQuestion::Lookup) and lists.
    Rows {
        /// By serial number.
        rows: Vec<RegisterRow>,
        /// Where the next page starts.
        next: Option<u64>,
    },
    /// To [`Crl`](super::AuthorityQuestion::Crl).
    Crl {
        /// The revocation list (DER); empty on later pages.
        crl: Bytes,
        /// Encoded revocations, to be verified one by one.
        revocations: Vec<Bytes>,
        /// Where the next page starts.
        next: Option<u64>,
    },
    /// To [`Found`](super::AuthorityQuestion::Found): the encoded genesis, to be verified.
    Genesis(Bytes),
    /// What an order did, for people.
    Done(String),
    /// A voucher as ordered, signed.
    Voucher(Bytes),
    /// The authority's account of its vouchers.
    Vouchers {
        /// By number.
        rows: Vec<VoucherRow>,
        /// Where the next page starts.
        next: Option<u64>,
    },
}

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterState {
    /// For the operator to approve.
    Waiting,
    /// Issued.
    Valid,
    /// Withdrawn.
    Revoked,
}

/// A row of the register as shown to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRow {
    /// The authority's number.
    pub serial: u64,
    /// The name.
    pub name: String,
    /// Whose.
    pub peer: PeerId,
    /// Where it stands.
    pub state: RegisterState,
    /// The certificate (DER); empty while waiting.
    pub certificate: Bytes,
    /// When it was asked for.
    pub asked_at: Wall,
    /// When it was revoked.
    pub revoked_at: Option<Wall>,
    /// Why it was revoked.
    pub reason: String,
}

impl AuthorityReply {
    /// The bytes that get signed.
    pub fn encode(&self) -> Bytes {
        use pb::authority_reply::Reply;
        let reply = match self.clone() {
            Self::About { authority, admission, work_bits } => Reply::About(pb::AuthorityAbout {
                authority,
                admission: match admission {
                    Admission::Open => 1,
                    Admission::Approve => 2,
                    Admission::Voucher => 3,
                },
                work_bits,
            }),
            Self::Certificate(der) => Reply::Certificate(der),
            Self::No(refused) => Reply::No(pb::AuthorityNo {
                code: refused.refusal.code().to_owned(),
                detail: cut(&refused.detail),
            }),
            Self::Rows { rows, next } => Reply::Rows(pb::AuthorityRows {
                rows: rows.into_iter().map(row_out).collect(),
                next: next.unwrap_or(0),
            }),
            Self::Crl { crl, revocations, next } => {
                Reply::Crl(pb::AuthorityCrl { crl, revocations, next: next.unwrap_or(0) })
            }
            Self::Genesis(bytes) => Reply::Genesis(bytes),
            Self::Done(text) => Reply::Done(cut(&text)),
            Self::Voucher(bytes) => Reply::Voucher(bytes),
            Self::Vouchers { rows, next } => Reply::Vouchers(pb::VoucherRows {
                rows: rows.into_iter().map(voucher_row_out).collect(),
                next: next.unwrap_or(0),
            }),
        };
        pb::AuthorityReply { reply: Some(reply) }.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        use pb::authority_reply::Reply;
        let message: pb::AuthorityReply = decode(bytes, ASK_BYTES_MAX)?;
        Ok(match message.reply.ok_or(Refusal::FieldBad)? {
            Reply::About(about) => Self::About {
                authority: bounded(about.authority, CERTIFICATE_BYTES_MAX)?,
                admission: match about.admission {
                    1 => Admission::Open,
                    2 => Admission::Approve,
                    3 => Admission::Voucher,
                    _ => return Err(Refusal::FieldBad),
                },
                work_bits: work_bits(about.work_bits)?,
            },
            Reply::Certificate(der) => Self::Certificate(bounded(der, CERTIFICATE_BYTES_MAX)?),
            Reply::No(no) => {
                let refusal = Refusal::from_code(&no.code).ok_or(Refusal::FieldBad)?;
                Self::No(Refused::new(refusal, short(no.detail)?))
            }
            Reply::Rows(page) => {
                counted(page.rows.len())?;
                let rows = page.rows.into_iter().map(row_in).collect::<Result<_, _>>()?;
                Self::Rows { rows, next: next(page.next) }
            }
            Reply::Crl(page) => {
                counted(page.revocations.len())?;
                Self::Crl { crl: page.crl, revocations: page.revocations, next: next(page.next) }
            }
            Reply::Genesis(bytes) => Self::Genesis(bytes),
            Reply::Done(text) => Self::Done(short(text)?),
            Reply::Voucher(bytes) => Self::Voucher(bounded(bytes, VOUCHER_BYTES_MAX)?),
            Reply::Vouchers(page) => {
                counted(page.rows.len())?;
                let rows = page.rows.into_iter().map(voucher_row_in).collect::<Result<_, _>>()?;
                Self::Vouchers { rows, next: next(page.next) }
            }
        })
    }
}

pub(super) fn row_out(row: RegisterRow) -> pb::AuthorityRow {
    pb::AuthorityRow {
        serial: row.serial,
        name: row.name,
        peer: Bytes::copy_from_slice(row.peer.as_bytes()),
        state: match row.state {
            RegisterState::Waiting => 1,
            RegisterState::Valid => 2,
            RegisterState::Revoked => 3,
        },
        certificate: row.certificate,
        asked_at: row.asked_at.0,
        revoked_at: row.revoked_at.map_or(0, |at| at.0),
        reason: cut(&row.reason),
    }
}

fn row_in(row: pb::AuthorityRow) -> Result<RegisterRow, Refusal> {
    if row.certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(Refusal::FieldBad);
    }
    Ok(RegisterRow {
        serial: number(row.serial)?,
        name: named(row.name)?,
        peer: PeerId::from_bytes(&row.peer).ok_or(Refusal::FieldBad)?,
        state: match row.state {
            1 => RegisterState::Waiting,
            2 => RegisterState::Valid,
            3 => RegisterState::Revoked,
            _ => return Err(Refusal::FieldBad),
        },
        certificate: row.certificate,
        asked_at: Wall(row.asked_at),
        revoked_at: (row.revoked_at != 0).then_some(Wall(row.revoked_at)),
        reason: short(row.reason)?,
    })
}

/// More than this nobody shall do because an authority says so.
fn work_bits(bits: u32) -> Result<u32, Refusal> {
    if bits <= WORK_BITS_MAX { Ok(bits) } else { Err(Refusal::FieldBad) }
}

fn counted(items: usize) -> Result<(), Refusal> {
    if items <= REGISTER_PAGE_MAX { Ok(()) } else { Err(Refusal::FieldBad) }
}

fn next(serial: u64) -> Option<u64> {
    (serial != 0).then_some(serial)
}

/// At most so many bytes of what we say ourselves, ending between characters.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(DETAIL_BYTES_MAX)).unwrap_or_default().to_owned()
}
