//! What a member and a keeper tell each other, as bytes and as values.
//! Owns: the encoding of deposits and of what is collected.
//! Must not know: what a deposit holds, how it is sealed, who may bring one.
//! Invariants: a deposit has one of six lengths; counts are within limits.
//! Start reading at: [`Keep`].

use bytes::Bytes;
use prost::Message as _;

use super::pb;
use super::sync::{Page, Secret, decode_page, decode_secrets, encode_page};
use crate::ids::{Hash, Index, NetworkId, PeerId, ShelfId, Signature};
use crate::limits::{COLLECTED_MAX, DEPOSIT_PADDED_BYTES, SHELVES_MAX};
use crate::refusal::Refusal;
use crate::time::Wall;

/// Bytes of a deposit beside what is padded: a nonce and a tag.
pub const DEPOSIT_EXTRA_BYTES: usize = 12 + 16;

/// Something to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Where it lies.
    pub shelf: ShelfId,
    /// A nonce, and what is sealed under it.
    pub sealed: Bytes,
    /// By the device key of who brings it.
    pub signature: Signature,
}

/// What lies on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// Which.
    pub shelf: ShelfId,
    /// Deposits in the order they came.
    pub sealed: Vec<Bytes>,
    /// The number of the last.
    pub upto: u64,
    /// Whether there is or may be more.
    pub has_more: bool,
}

/// A frame between a member and a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// "Keep this."
    Deposit(Deposit),
    /// What became of it.
    Deposited {
        /// Which.
        hash: Hash,
        /// Whether it is on the keeper's disk.
        is_kept: bool,
        /// The longest that it is kept.
        until: Wall,
    },
    /// "What lies on these shelves, after these numbers?"
    Collect(Vec<(ShelfId, u64)>),
    /// What lies there.
    Collected {
        /// By shelf.
        shelves: Vec<Shelved>,
        /// Whether it answers a question.
        is_answer: bool,
    },
}

impl Deposit {
    /// What names it.
    pub fn hash(&self) -> Hash {
        deposit_hash(&self.shelf, &self.sealed)
    }
}

/// What names a deposit.
pub fn deposit_hash(shelf: &ShelfId, sealed: &Bytes) -> Hash {
    Hash::of("p2pgroup/1 deposit", &[shelf.as_bytes(), sealed])
}

/// What the signature of a deposit covers: it is for one keeper of one network.
pub fn deposit_body(network: NetworkId, keeper: &PeerId, hash: &Hash) -> Bytes {
    [network.as_bytes(), keeper.as_bytes(), hash.as_bytes()].concat().into()
}

/// What a deposit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Entries of one log.
    pub page: Page,
    /// Keys of entries among them, and since which control entry each is in force.
    pub secrets: Vec<(Secret, Index)>,
    /// The control entry since which the epoch is in force under which it is sealed.
    pub index: Index,
}

impl Kept {
    /// The bytes to be sealed.
    pub fn encode(&self) -> Bytes {
        let kept = pb::Kept {
            page: Some(encode_page(&self.page)),
            secrets: self.secrets.iter().map(|(secret, _)| id(secret.0.as_slice())).collect(),
            since: self.secrets.iter().map(|(_, since)| since.0).collect(),
            index: self.index.0,
        };
        kept.encode_to_vec().into()
    }

    /// Reads what was opened.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let kept = pb::Kept::decode(bytes).map_err(|_| Refusal::FrameBad)?;
        Ok(Self {
            page: decode_page(kept.page.ok_or(Refusal::FieldBad)?)?,
            secrets: decode_secrets(&kept.secrets, &kept.since)?,
            index: Index(kept.index),
        })
    }
}

fn id(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn shelf(bytes: &[u8]) -> Result<ShelfId, Refusal> {
    ShelfId::from_bytes(bytes).ok_or(Refusal::FieldBad)
}

/// Lengths say little where there are few, and a keeper counts on no deposit being tiny.
fn sealed(bytes: Bytes) -> Result<Bytes, Refusal> {
    let padded = bytes.len().checked_sub(DEPOSIT_EXTRA_BYTES);
    let is_known = padded.is_some_and(|length| DEPOSIT_PADDED_BYTES.contains(&length));
    if is_known { Ok(bytes) } else { Err(Refusal::FieldBad) }
}

pub(super) fn encode(frame: &Keep) -> pb::KeepFrame {
    use pb::keep_frame::Body;
    let body = match frame {
        Keep::Deposit(it) => Body::Deposit(pb::Deposit {
            shelf: id(it.shelf.as_bytes()),
            sealed: it.sealed.clone(),
            signature: id(it.signature.as_bytes()),
        }),
        Keep::Deposited { hash, is_kept, until } => Body::Deposited(pb::Deposited {
            hash: id(hash.as_bytes()),
            is_kept: *is_kept,
            until: until.0,
        }),
        Keep::Collect(shelves) => Body::Collect(pb::Collect {
            shelves: shelves
                .iter()
                .map(|(shelf, after)| pb::Shelf { shelf: id(shelf.as_bytes()), after: *after })
                .collect(),
        }),
        Keep::Collected { shelves, is_answer } => Body::Collected(pb::Collected {
            shelves: shelves
                .iter()
                .map(|it| pb::Shelved {
                    shelf: id(it.shelf.as_bytes()),
                    sealed: it.sealed.clone(),
                    upto: it.upto,
                    has_more: it.has_more,
                })
                .collect(),
            is_answer: *is_answer,
        }),
    };
    pb::KeepFrame { body: Some(body) }
}

pub(super) fn decode(frame: pb::KeepFrame) -> Result<Keep, Refusal> {
    use pb::keep_frame::Body;
    Ok(match frame.body.ok_or(Refusal::FrameBad)? {
        Body::Deposit(it) => Keep::Deposit(Deposit {
            shelf: shelf(&it.shelf)?,
            sealed: sealed(it.sealed)?,
            signature: Signature::from_bytes(&it.signature).ok_or(Refusal::FieldBad)?,
        }),
        Body::Deposited(it) => Keep::Deposited {
            hash: Hash::from_bytes(&it.hash).ok_or(Refusal::FieldBad)?,
            is_kept: it.is_kept,
            until: Wall(it.until),
        },
        Body::Collect(it) => {
            if it.shelves.len() > SHELVES_MAX {
                return Err(Refusal::FieldBad);
            }
            let asked = it.shelves.iter().map(|it| Ok((shelf(&it.shelf)?, it.after)));
            Keep::Collect(asked.collect::<Result<_, Refusal>>()?)
        }
        Body::Collected(it) => {
            let count: usize = it.shelves.iter().map(|it| it.sealed.len()).sum();
            if it.shelves.len() > SHELVES_MAX || count > COLLECTED_MAX {
                return Err(Refusal::FieldBad);
            }
            let shelves = it.shelves.into_iter().map(|it| {
                Ok(Shelved {
                    shelf: shelf(&it.shelf)?,
                    sealed: it.sealed.into_iter().map(sealed).collect::<Result<_, Refusal>>()?,
                    upto: it.upto,
                    has_more: it.has_more,
                })
            });
            let shelves = shelves.collect::<Result<_, Refusal>>()?;
            Keep::Collected { shelves, is_answer: it.is_answer }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, LogId, RoomId, Seq};

    fn back(frame: &Keep) -> Result<Keep, Refusal> {
        decode(encode(frame))
    }

    fn deposit(bytes: usize) -> Keep {
        let sealed = vec![1; bytes].into();
        Keep::Deposit(Deposit { shelf: ShelfId([2; 32]), sealed, signature: Signature([3; 64]) })
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let sealed: Vec<Bytes> = vec![vec![5; 1_024 + DEPOSIT_EXTRA_BYTES].into()];
        let shelved = Shelved { shelf: ShelfId([4; 32]), sealed, upto: 9, has_more: true };
        for frame in [
            deposit(4_096 + DEPOSIT_EXTRA_BYTES),
            Keep::Deposited { hash: Hash([6; 32]), is_kept: true, until: Wall(7) },
            Keep::Collect(vec![(ShelfId([8; 32]), 1), (ShelfId([9; 32]), 0)]),
            Keep::Collected { shelves: vec![shelved], is_answer: true },
        ] {
            assert_eq!(back(&frame), Ok(frame));
        }
        let author = PeerId::of_rsa_spki(b"somebody");
        let log = LogId { room: RoomId([1; 16]), author, incarnation: Incarnation(2) };
        let signatures = vec![(Seq(1), Signature([4; 64]))];
        let page = Page { log, envelopes: vec![Bytes::from_static(b"entry")], signatures };
        let secret = Secret(zeroize::Zeroizing::new([9; 32]));
        let kept = Kept { page, secrets: vec![(secret, Index(3))], index: Index(4) };
        assert_eq!(Kept::decode(kept.encode()), Ok(kept));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for bytes in [0, 27, 1_024, 1_025 + DEPOSIT_EXTRA_BYTES, (512 << 10) + 29] {
            assert_eq!(back(&deposit(bytes)), Err(Refusal::FieldBad), "{bytes}");
        }
        let many = Keep::Collect(vec![(ShelfId([8; 32]), 1); SHELVES_MAX + 1]);
        assert_eq!(back(&many), Err(Refusal::FieldBad));
        let sealed = vec![Bytes::from(vec![5; 1_024 + DEPOSIT_EXTRA_BYTES]); COLLECTED_MAX + 1];
        let shelved = Shelved { shelf: ShelfId([4; 32]), sealed, upto: 9, has_more: false };
        let many = Keep::Collected { shelves: vec![shelved], is_answer: false };
        assert_eq!(back(&many), Err(Refusal::FieldBad));
        assert_eq!(Kept::decode(Bytes::from_static(b"\xff\xff")), Err(Refusal::FrameBad));
        assert_eq!(Kept::decode(Bytes::new()), Err(Refusal::FieldBad));
    }
}
