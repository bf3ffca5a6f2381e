//! Intents, and what leads to and from the leader, as bytes and as values.
//! Owns: their encoding; the exact bytes an intent's signature covers.
//! Must not know: whether an intent is authorised (`roster` judges).
//! Invariants: an `IntentIn` is complete and within limits, and nothing in it is verified.
//! Start reading at: [`IntentIn`].

use bytes::Bytes;
use prost::Message;

use super::pb;
use crate::ids::{IntentId, NetworkId, PeerId, RoomId, Signature};
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, INTENT_BYTES_MAX, MEMBERS_MAX, ORDER_SEALED_MAX,
};
use crate::refusal::Refusal;

/// What somebody wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To be admitted, or to have a renewed certificate or a new database known.
    Admit {
        /// The encoded credential.
        credential: Bytes,
    },
    /// To have the authority's revocation in force.
    Revoke {
        /// The encoded revocation, signed by the authority.
        revocation: Bytes,
    },
    /// To have something about a room ordered.
    Room {
        /// The room.
        room: RoomId,
        /// Whether the room begins with it.
        is_new: bool,
        /// The encoded [`RoomOrder`](super::order::RoomOrder); judged by the room's members alone.
        order: Bytes,
    },
}

/// An intent as received: well-formed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentIn {
    /// Who wishes.
    pub author: PeerId,
    /// For which network.
    pub network: NetworkId,
    /// Its id.
    pub id: IntentId,
    /// What.
    pub wish: Wish,
    /// The bytes under the signature.
    pub body: Bytes,
    /// The author's signature over `body`.
    pub signature: Signature,
}

/// The body of an intent: what gets signed.
pub fn intent_body(network: NetworkId, id: IntentId, wish: &Wish) -> Bytes {
    let wish = match wish {
        Wish::Admit { credential } => {
            pb::intent_body::Wish::Admit(pb::Admit { credential: credential.clone() })
        }
        Wish::Revoke { revocation } => {
            pb::intent_body::Wish::Revoke(pb::Revoke { revocation: revocation.clone() })
        }
        Wish::Room { room, is_new, order } => pb::intent_body::Wish::Room(pb::Room {
            room: Bytes::copy_from_slice(room.as_bytes()),
            is_new: *is_new,
            order: order.clone(),
        }),
    };
    let body = pb::IntentBody {
        network: Bytes::copy_from_slice(network.as_bytes()),
        id: Bytes::copy_from_slice(id.as_bytes()),
        wish: Some(wish),
    };
    body.encode_to_vec().into()
}

/// The whole intent.
pub fn intent(author: PeerId, body: &Bytes, signature: &Signature) -> Bytes {
    let intent = pb::Intent {
        author: Bytes::copy_from_slice(author.as_bytes()),
        body: body.clone(),
        signature: Bytes::copy_from_slice(signature.as_bytes()),
    };
    intent.encode_to_vec().into()
}

impl IntentIn {
    /// Reads an intent.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > INTENT_BYTES_MAX {
            return Err(Refusal::FrameTooLong);
        }
        let intent = pb::Intent::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)?;
        let body = pb::IntentBody::decode(intent.body.clone()).map_err(|_| Refusal::FrameBad)?;
        let wish = match body.wish.ok_or(Refusal::FieldBad)? {
            pb::intent_body::Wish::Admit(admit) => Wish::Admit { credential: admit.credential },
            pb::intent_body::Wish::Revoke(revoke) => Wish::Revoke { revocation: revoke.revocation },
            pb::intent_body::Wish::Room(it) if it.order.len() <= ORDER_SEALED_MAX => Wish::Room {
                room: RoomId::from_bytes(&it.room).ok_or(Refusal::FieldBad)?,
                is_new: it.is_new,
                order: it.order,
            },
            pb::intent_body::Wish::Room(_) => return Err(Refusal::FrameTooLong),
        };
        Ok(Self {
            author: PeerId::from_bytes(&intent.author).ok_or(Refusal::FieldBad)?,
            network: NetworkId::from_bytes(&body.network).ok_or(Refusal::FieldBad)?,
            id: IntentId::from_bytes(&body.id).ok_or(Refusal::FieldBad)?,
            wish,
            body: intent.body,
            signature: Signature::from_bytes(&intent.signature).ok_or(Refusal::FieldBad)?,
        })
    }
}

/// The leader's answer to a submitted intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Which intent.
    pub id: IntentId,
    /// `None`: committed.
    pub refused: Option<(Refusal, String)>,
    /// With [`Refusal::NotLeader`]: who leads, as far as known.
    pub leader: Option<PeerId>,
    /// And where.
    pub addresses: Vec<String>,
}

/// Where one member is, in the leader's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub peer: PeerId,
    /// In which state.
    pub state: PresenceState,
    /// Where it listens.
    pub addresses: Vec<String>,
}

/// The states a leader reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceState {
    /// Heard lately.
    Active,
    /// Unheard for `away_after`.
    Away,
    /// Said goodbye.
    Left,
}

pub(super) fn encode_submitted(it: &Submitted) -> pb::Submitted {
    let (code, detail) = match &it.refused {
        None => (String::new(), String::new()),
        Some((refusal, detail)) => (refusal.code().to_owned(), super::clip(detail, 200)),
    };
    pb::Submitted {
        id: Bytes::copy_from_slice(it.id.as_bytes()),
        code,
        detail,
        leader: it.leader.map(|p| Bytes::copy_from_slice(p.as_bytes())).unwrap_or_default(),
        addresses: it.addresses.clone(),
    }
}

pub(super) fn decode_submitted(it: pb::Submitted) -> Result<Submitted, Refusal> {
    let refused = if it.code.is_empty() {
        None
    } else {
        let refusal = Refusal::from_code(&it.code).unwrap_or(Refusal::Internal);
        Some((refusal, crate::text::one_line(&super::clip(&it.detail, 200))))
    };
    let leader = if it.leader.is_empty() {
        None
    } else {
        Some(PeerId::from_bytes(&it.leader).ok_or(Refusal::FieldBad)?)
    };
    Ok(Submitted {
        id: IntentId::from_bytes(&it.id).ok_or(Refusal::FieldBad)?,
        refused,
        leader,
        addresses: addresses(it.addresses)?,
    })
}

pub(super) fn encode_presence(version: u64, members: &[Presence]) -> pb::Presence {
    let members = members
        .iter()
        .map(|member| pb::MemberPresence {
            peer: Bytes::copy_from_slice(member.peer.as_bytes()),
            state: match member.state {
                PresenceState::Active => 1,
                PresenceState::Away => 2,
                PresenceState::Left => 3,
            },
            addresses: member.addresses.clone(),
        })
        .collect();
    pb::Presence { version, members }
}

pub(super) fn decode_presence(it: pb::Presence) -> Result<(u64, Vec<Presence>), Refusal> {
    if it.members.len() > MEMBERS_MAX {
        return Err(Refusal::FieldBad);
    }
    let mut members = Vec::with_capacity(it.members.len());
    for member in it.members {
        members.push(Presence {
            peer: PeerId::from_bytes(&member.peer).ok_or(Refusal::FieldBad)?,
            state: match member.state {
                1 => PresenceState::Active,
                2 => PresenceState::Away,
                3 => PresenceState::Left,
                _ => return Err(Refusal::FieldBad),
            },
            addresses: addresses(member.addresses)?,
        });
    }
    Ok((it.version, members))
}

/// Bounds addresses somebody claims; their syntax is `net`'s business.
pub(super) fn addresses(claimed: Vec<String>) -> Result<Vec<String>, Refusal> {
    let fits = |address: &String| {
        address.len() <= ADDRESS_BYTES_MAX && address.chars().all(|c| c.is_ascii_graphic())
    };
    if claimed.len() > ADDRESSES_MAX || !claimed.iter().all(fits) {
        return Err(Refusal::FieldBad);
    }
    Ok(claimed)
}
