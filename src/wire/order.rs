//! What is ordered about rooms, and how a room stands, as bytes and as values.
//! Owns: their encoding and bounds.
//! Must not know: who may order what (`room/state` judges), how orders are sealed.
//! Invariants: what is decoded is within its bounds; a name or a text in it is not yet harmless.
//! Start reading at: [`Order`], [`Charter`].

mod charter;
mod receipt;
mod state;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;

pub use self::charter::{Charter, Entry, Kind, Setting};
use self::charter::{
    decode_charter, decode_setting, encode_charter, encode_setting, role_number, role_of,
};
pub use self::receipt::Receipt;
pub use self::state::{Barrier, Made, Seat, Snapshot, Stranded, Suspension};
use super::pb;
use crate::ids::{GroupId, Hash, Incarnation, Index, KeyId, PeerId, Seq, Signature};
use crate::limits::{COMMIT_BYTES_MAX, CUT_LOGS_MAX, CUTS_MAX, DETAIL_BYTES_MAX, ORDER_SEALED_MAX};
use crate::refusal::Refusal;
use crate::terms::Role;

/// Where somebody's logs in a room end: of each the last entry that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Whose.
    pub peer: PeerId,
    /// The ends, in ascending order.
    pub heads: Vec<(Incarnation, Seq, Hash)>,
}

/// Something about a room that is to be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To agree on keys in another group from now on.
    Group {
        /// The group.
        group: GroupId,
        /// The group it takes the place of; `None`: there is none yet.
        replaces: Option<GroupId>,
    },
    /// A commit of the room's group.
    Commit {
        /// The group.
        group: GroupId,
        /// The MLS message.
        commit: Bytes,
        /// Where the logs end of those whom the network removed, and who now leave the group.
        cuts: Vec<Cut>,
    },
    /// A new room, its author the owner.
    Create {
        /// Its group.
        group: GroupId,
        /// What it is.
        charter: Box<Charter>,
    },
    /// To have somebody in the room.
    Invite {
        /// Whom.
        peer: PeerId,
        /// As what.
        role: Role,
    },
    /// To come into a listed room.
    Join {
        /// That one knows the join code.
        proof: Option<Signature>,
    },
    /// To leave the room.
    Leave {
        /// Where one's own logs end.
        cut: Cut,
    },
    /// To have somebody out of the room.
    Kick {
        /// Whom, and where its logs end.
        cut: Cut,
        /// Why.
        reason: String,
    },
    /// To give a member another role.
    Role {
        /// Whom.
        peer: PeerId,
        /// Which.
        role: Role,
        /// Who shall only read writes nothing after this.
        cut: Option<Cut>,
    },
    /// To change what the room is.
    Set(Setting),
    /// To end the room.
    Delete,
    /// To have it known that one was in the epoch before a commit and cannot follow it.
    Stranded {
        /// Its place in the control log.
        commit: Index,
    },
    /// To let a suspended member commit again.
    Forgive {
        /// Whom.
        peer: PeerId,
    },
}

/// An order as the control log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomOrder {
    /// For all to read.
    Plain(Bytes),
    /// For the room's members.
    Sealed(SealedOrder),
}

/// An order under an epoch's order key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedOrder {
    /// The name of the key.
    pub key: KeyId,
    /// Random.
    pub nonce: [u8; 12],
    /// With its tag.
    pub ciphertext: Bytes,
}

impl RoomOrder {
    /// The bytes for the control log.
    pub fn encode(&self) -> Bytes {
        let body = match self {
            Self::Plain(order) => pb::room_order::Body::Plain(order.clone()),
            Self::Sealed(it) => pb::room_order::Body::Sealed(pb::SealedOrder {
                key: Bytes::copy_from_slice(it.key.as_bytes()),
                nonce: Bytes::copy_from_slice(&it.nonce),
                ciphertext: it.ciphertext.clone(),
            }),
        };
        pb::RoomOrder { body: Some(body) }.encode_to_vec().into()
    }

    /// Reads an order as the control log holds it.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FrameTooLong`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > ORDER_SEALED_MAX {
            return Err(Refusal::FrameTooLong);
        }
        let it = pb::RoomOrder::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)?;
        Ok(match it.body.ok_or(Refusal::FieldBad)? {
            pb::room_order::Body::Plain(order) => Self::Plain(order),
            pb::room_order::Body::Sealed(it) => Self::Sealed(SealedOrder {
                key: KeyId::from_bytes(&it.key).ok_or(Refusal::FieldBad)?,
                nonce: it.nonce.as_ref().try_into().map_err(|_| Refusal::FieldBad)?,
                ciphertext: it.ciphertext,
            }),
        })
    }
}

impl Order {
    /// The bytes to be ordered, or to be sealed.
    pub fn encode(&self) -> Bytes {
        use pb::order::Order as Pb;
        let order = match self {
            Self::Group { group, replaces } => Pb::Group(pb::OrderGroup {
                group: bytes(group.as_bytes()),
                replaces: replaces.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
            }),
            Self::Commit { group, commit, cuts } => Pb::Commit(pb::OrderCommit {
                group: bytes(group.as_bytes()),
                commit: commit.clone(),
                cuts: cuts.iter().map(encode_cut).collect(),
            }),
            Self::Create { group, charter } => Pb::Create(pb::OrderCreate {
                group: bytes(group.as_bytes()),
                charter: Some(encode_charter(charter)),
            }),
            Self::Invite { peer, role } => Pb::Invite(pb::OrderInvite {
                peer: bytes(peer.as_bytes()),
                role: role_number(*role),
            }),
            Self::Join { proof } => Pb::Join(pb::OrderJoin {
                proof: proof.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
            }),
            Self::Leave { cut } => Pb::Leave(pb::OrderLeave { cut: Some(encode_cut(cut)) }),
            Self::Kick { cut, reason } => {
                Pb::Kick(pb::OrderKick { cut: Some(encode_cut(cut)), reason: reason.clone() })
            }
            Self::Role { peer, role, cut } => Pb::Role(pb::OrderRole {
                peer: bytes(peer.as_bytes()),
                role: role_number(*role),
                cut: cut.as_ref().map(encode_cut),
            }),
            Self::Set(setting) => Pb::Set(pb::Setting { setting: Some(encode_setting(setting)) }),
            Self::Delete => Pb::Delete(pb::OrderDelete {}),
            Self::Stranded { commit } => Pb::Stranded(pb::OrderStranded { commit: commit.0 }),
            Self::Forgive { peer } => {
                Pb::Forgive(pb::OrderForgive { peer: bytes(peer.as_bytes()) })
            }
        };
        pb::Order { order: Some(order) }.encode_to_vec().into()
    }

    /// Reads an order.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`], [`Refusal::VersionOther`] for one that a newer
    /// version knows.
    pub fn decode(from: &[u8]) -> Result<Self, Refusal> {
        use pb::order::Order as Pb;
        let it = pb::Order::decode(from).map_err(|_| Refusal::FrameBad)?;
        Ok(match it.order.ok_or(Refusal::VersionOther)? {
            Pb::Group(it) => Self::Group {
                group: group_id(&it.group)?,
                replaces: match it.replaces.is_empty() {
                    true => None,
                    false => Some(group_id(&it.replaces)?),
                },
            },
            Pb::Commit(it) => {
                if it.commit.len() > COMMIT_BYTES_MAX || it.cuts.len() > CUTS_MAX {
                    return Err(Refusal::FieldBad);
                }
                Self::Commit {
                    group: group_id(&it.group)?,
                    commit: it.commit,
                    cuts: it.cuts.iter().map(decode_cut).collect::<Result<_, _>>()?,
                }
            }
            Pb::Create(it) => Self::Create {
                group: group_id(&it.group)?,
                charter: Box::new(decode_charter(it.charter.ok_or(Refusal::FieldBad)?)?),
            },
            Pb::Invite(it) => Self::Invite { peer: peer(&it.peer)?, role: role_of(it.role)? },
            Pb::Join(it) => Self::Join {
                proof: match it.proof.is_empty() {
                    true => None,
                    false => Some(Signature::from_bytes(&it.proof).ok_or(Refusal::FieldBad)?),
                },
            },
            Pb::Leave(it) => Self::Leave { cut: decode_cut(&it.cut.ok_or(Refusal::FieldBad)?)? },
            Pb::Kick(it) => Self::Kick {
                cut: decode_cut(&it.cut.ok_or(Refusal::FieldBad)?)?,
                reason: text(it.reason, DETAIL_BYTES_MAX)?,
            },
            Pb::Role(it) => Self::Role {
                peer: peer(&it.peer)?,
                role: role_of(it.role)?,
                cut: it.cut.as_ref().map(decode_cut).transpose()?,
            },
            Pb::Set(it) => Self::Set(decode_setting(it.setting.ok_or(Refusal::VersionOther)?)?),
            Pb::Delete(_) => Self::Delete,
            Pb::Stranded(it) => Self::Stranded { commit: Index(it.commit) },
            Pb::Forgive(it) => Self::Forgive { peer: peer(&it.peer)? },
        })
    }
}

fn bytes(from: &[u8]) -> Bytes {
    Bytes::copy_from_slice(from)
}

fn group_id(from: &[u8]) -> Result<GroupId, Refusal> {
    GroupId::from_bytes(from).ok_or(Refusal::FieldBad)
}

fn peer(from: &[u8]) -> Result<PeerId, Refusal> {
    PeerId::from_bytes(from).ok_or(Refusal::FieldBad)
}

fn text(text: String, bytes_max: usize) -> Result<String, Refusal> {
    if text.len() > bytes_max { Err(Refusal::FieldBad) } else { Ok(text) }
}

fn encode_cut(cut: &Cut) -> pb::Cut {
    let heads = cut.heads.iter().map(|(life, seq, hash)| pb::Head {
        author: Bytes::new(),
        incarnation: life.0,
        seq: seq.0,
        hash: bytes(hash.as_bytes()),
    });
    pb::Cut { peer: bytes(cut.peer.as_bytes()), heads: heads.collect() }
}

fn decode_cut(cut: &pb::Cut) -> Result<Cut, Refusal> {
    if cut.heads.len() > CUT_LOGS_MAX {
        return Err(Refusal::FieldBad);
    }
    let mut heads: Vec<(Incarnation, Seq, Hash)> = Vec::with_capacity(cut.heads.len());
    for head in &cut.heads {
        let life = Incarnation(head.incarnation);
        if heads.last().is_some_and(|(before, _, _)| *before >= life) {
            return Err(Refusal::FieldBad);
        }
        let hash = Hash::from_bytes(&head.hash).ok_or(Refusal::FieldBad)?;
        heads.push((life, Seq(head.seq), hash));
    }
    Ok(Cut { peer: peer(&cut.peer)?, heads })
}
