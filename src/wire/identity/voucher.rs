//! Vouchers, what is certified with them, and the invites that carry them: bytes and values.
//! Owns: which fields must be there and how long they may be; the text form of an invite.
//! Must not know: whether a signature holds, whether a voucher may still be used.
//! Invariants: a decoded value is complete and in range; an invite has one text form only.
//! Start reading at: [`VoucherIn`], [`InviteIn`].

use std::fmt;

use bytes::Bytes;
use prost::Message;
use zeroize::Zeroizing;

use super::{AuthoritySignedIn, bounded, decode, named};
use crate::ids::{DeviceKey, Hash, NetworkId, PeerId, Signature, VoucherId, base58};
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, CERTIFICATE_BYTES_MAX, INVITE_CHARS_MAX, VOUCHED_BYTES_MAX,
    VOUCHER_BYTES_MAX, VOUCHER_ROOM_BYTES_MAX, VOUCHER_USES_MAX,
};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;
use crate::wire::pb;

/// What opens an invite: the program, and the version of what follows.
const INVITE_PREFIX: &str = "p2pgroup1-";
const CHECKSUM_TAG: &str = "p2pgroup/1 invite";
const CHECKSUM_BYTES: usize = 4;

/// The body of a voucher, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoucherIn {
    /// The network.
    pub network: NetworkId,
    /// Its id.
    pub id: VoucherId,
    /// The key that certifies whoever comes with it.
    pub key: DeviceKey,
    /// How many it admits.
    pub uses: u32,
    /// When it was signed, by the authority's clock.
    pub issued_at: Wall,
    /// Until when it admits.
    pub expires_at: Wall,
    /// Whom alone it admits; empty: anybody.
    pub name: String,
    /// Which room it leads to; empty: none.
    pub room: String,
    /// The member who asked for it; `None`: the operator.
    pub by: Option<PeerId>,
}

impl VoucherIn {
    /// The bytes that get signed.
    pub fn encode(&self) -> Bytes {
        let message = pb::VoucherBody {
            network: Bytes::copy_from_slice(self.network.as_bytes()),
            id: Bytes::copy_from_slice(self.id.as_bytes()),
            key: Bytes::copy_from_slice(self.key.as_bytes()),
            uses: self.uses,
            issued_at: self.issued_at.0,
            expires_at: self.expires_at.0,
            name: self.name.clone(),
            room: self.room.clone(),
            by: self.by.map(|by| Bytes::copy_from_slice(by.as_bytes())).unwrap_or_default(),
        };
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let message: pb::VoucherBody = decode(bytes, VOUCHER_BYTES_MAX)?;
        Ok(Self {
            network: NetworkId::from_bytes(&message.network).ok_or(Refusal::FieldBad)?,
            id: VoucherId::from_bytes(&message.id).ok_or(Refusal::FieldBad)?,
            key: DeviceKey::from_bytes(&message.key).ok_or(Refusal::FieldBad)?,
            uses: uses(message.uses)?,
            issued_at: Wall(message.issued_at),
            expires_at: Wall(message.expires_at),
            name: named(message.name)?,
            room: room(message.room)?,
            by: match message.by.is_empty() {
                true => None,
                false => Some(PeerId::from_bytes(&message.by).ok_or(Refusal::FieldBad)?),
            },
        })
    }
}

/// How many a voucher admits.
pub(super) fn uses(uses: u32) -> Result<u32, Refusal> {
    if (1..=VOUCHER_USES_MAX).contains(&uses) { Ok(uses) } else { Err(Refusal::FieldBad) }
}

/// The name of a room: opaque here, and short.
pub(super) fn room(room: String) -> Result<String, Refusal> {
    if room.len() <= VOUCHER_ROOM_BYTES_MAX { Ok(room) } else { Err(Refusal::FieldBad) }
}

/// A joiner's key and name under a voucher, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchedIn {
    /// The encoded voucher, signed by the authority.
    pub voucher: Bytes,
    /// The joiner's RSA key (SPKI DER).
    pub spki: Bytes,
    /// The name it goes by.
    pub name: String,
    /// By the voucher key, over network, voucher, name and key.
    pub signature: Signature,
}

impl VouchedIn {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let message = pb::Vouched {
            voucher: self.voucher.clone(),
            spki: self.spki.clone(),
            name: self.name.clone(),
            signature: Bytes::copy_from_slice(self.signature.as_bytes()),
        };
        message.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let message: pb::Vouched = decode(bytes, VOUCHED_BYTES_MAX)?;
        Ok(Self {
            voucher: bounded(message.voucher, VOUCHER_BYTES_MAX)?,
            spki: bounded(message.spki, CERTIFICATE_BYTES_MAX)?,
            name: named(message.name)?,
            signature: Signature::from_bytes(&message.signature).ok_or(Refusal::FieldBad)?,
        })
    }
}

/// A row of the authority's account of vouchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoucherRow {
    /// The authority's number for it.
    pub number: u64,
    /// The encoded voucher, signed.
    pub voucher: Bytes,
    /// When it was revoked.
    pub revoked_at: Option<Wall>,
    /// Why it was revoked.
    pub reason: String,
}

impl VoucherRow {
    /// What the authority signed.
    ///
    /// # Refusals
    /// As [`AuthoritySignedIn::decode`] and [`VoucherIn::decode`].
    pub fn body(&self) -> Result<VoucherIn, Refusal> {
        VoucherIn::decode(&AuthoritySignedIn::decode(&self.voucher)?.body)
    }

    /// As stored by the authority.
    pub fn encode(&self) -> Bytes {
        voucher_row_out(self.clone()).encode_to_vec().into()
    }

    /// As stored by the authority.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        voucher_row_in(decode(bytes, VOUCHED_BYTES_MAX)?)
    }
}

pub(super) fn voucher_row_out(row: VoucherRow) -> pb::VoucherRow {
    pb::VoucherRow {
        number: row.number,
        voucher: row.voucher,
        revoked_at: row.revoked_at.map_or(0, |at| at.0),
        reason: row.reason,
    }
}

pub(super) fn voucher_row_in(row: pb::VoucherRow) -> Result<VoucherRow, Refusal> {
    Ok(VoucherRow {
        number: super::number(row.number)?,
        voucher: bounded(row.voucher, VOUCHER_BYTES_MAX)?,
        revoked_at: (row.revoked_at != 0).then_some(Wall(row.revoked_at)),
        reason: super::short(row.reason)?,
    })
}

/// All that somebody needs to come in, as handed over by a person. Nothing in it is proved.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteIn {
    /// What the voucher says.
    pub voucher: VoucherIn,
    /// The encoded voucher, signed.
    pub signed: Bytes,
    /// The secret half of the voucher key: whoever has it may use the voucher.
    pub secret: Zeroizing<[u8; 32]>,
    /// Where the bootstrap answers.
    pub bootstrap: Vec<String>,
    /// Where the key authority answers; empty where nobody said.
    pub keyauth: String,
}

impl fmt::Debug for InviteIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteIn({:?})", self.voucher.id)
    }
}

impl InviteIn {
    /// As a person passes it on: one word.
    pub fn to_text(&self) -> Zeroizing<String> {
        let message = pb::Invite {
            voucher: self.signed.clone(),
            secret: Bytes::copy_from_slice(&*self.secret),
            bootstrap: self.bootstrap.clone(),
            keyauth: self.keyauth.clone(),
        };
        let mut bytes = Zeroizing::new(message.encode_to_vec());
        let checksum = Hash::of(CHECKSUM_TAG, &[&bytes]);
        bytes.extend_from_slice(checksum.0.get(..CHECKSUM_BYTES).unwrap_or_default());
        Zeroizing::new(format!("{INVITE_PREFIX}{}", base58::encode(&bytes)))
    }

    /// From what a person passed on; space around it is ignored.
    ///
    /// # Refusals
    /// [`Refusal::InviteBad`].
    pub fn from_text(text: &str) -> Result<Self, Refused> {
        let bad = |what: &str| Refused::new(Refusal::InviteBad, what);
        let text = text.trim();
        if text.len() > INVITE_CHARS_MAX {
            return Err(bad("it is too long"));
        }
        let Some(word) = text.strip_prefix(INVITE_PREFIX) else {
            return Err(bad("it does not start with p2pgroup1-"));
        };
        let bytes = Zeroizing::new(base58::decode(word).ok_or_else(|| bad("a character"))?);
        let (bytes, checksum) = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or_else(|| bad("it is too short"))?;
        if Hash::of(CHECKSUM_TAG, &[bytes]).0.get(..CHECKSUM_BYTES) != Some(checksum) {
            return Err(bad("a character is wrong or missing"));
        }
        let message = pb::Invite::decode(bytes).map_err(|_| bad("it is of another version"))?;
        Self::checked(message).map_err(|refusal| bad(refusal.why()))
    }

    fn checked(message: pb::Invite) -> Result<Self, Refusal> {
        let signed = bounded(message.voucher, VOUCHER_BYTES_MAX)?;
        let voucher = VoucherIn::decode(&AuthoritySignedIn::decode(&signed)?.body)?;
        let secret = <[u8; 32]>::try_from(&*message.secret).map_err(|_| Refusal::FieldBad)?;
        let fits = |address: &String| {
            address.len() <= ADDRESS_BYTES_MAX && address.chars().all(|c| c.is_ascii_graphic())
        };
        let addresses = &message.bootstrap;
        let is_right = !addresses.is_empty()
            && addresses.len() <= ADDRESSES_MAX
            && addresses.iter().all(fits)
            && fits(&message.keyauth);
        if !is_right {
            return Err(Refusal::FieldBad);
        }
        Ok(Self {
            voucher,
            signed,
            secret: Zeroizing::new(secret),
            bootstrap: message.bootstrap,
            keyauth: message.keyauth,
        })
    }
}

/// The question to a bootstrap: which authority stands behind a network?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootAsk {
    /// The network.
    pub network: NetworkId,
}

impl RootAsk {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let network = Bytes::copy_from_slice(self.network.as_bytes());
        pb::AskRoot { network }.encode_to_vec().into()
    }

    /// From received bytes.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        let message: pb::AskRoot = decode(bytes, 64)?;
        let network = NetworkId::from_bytes(&message.network).ok_or(Refusal::FieldBad)?;
        Ok(Self { network })
    }
}

#[cfg(test)]
mod tests;
