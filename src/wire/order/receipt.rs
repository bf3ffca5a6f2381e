//! The receipt of a removal as it is stored.
//! Owns: its encoding.
//! Must not know: when it is complete.
//! Invariants: what is decoded is whole.
//! Start reading at: [`Receipt`].

use bytes::Bytes;
use prost::Message;

use super::{bytes, peer};
use crate::ids::{Index, PeerId, RoomId, Seq};
use crate::limits::ROOMS_MAX;
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::pb;

/// Who was put out, and how far the rest have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who.
    pub peer: PeerId,
    /// Of which room; `None`: of the network.
    pub room: Option<RoomId>,
    /// By which entry of the control log.
    pub index: Index,
    /// When, by the leader's stamp.
    pub at: Wall,
    /// When all others were known to hold keys without it.
    pub done_at: Option<Wall>,
    /// By room the last entry that it could read: its author and place.
    pub last: Vec<(RoomId, PeerId, Seq)>,
}

impl Receipt {
    /// The bytes to store.
    pub fn encode(&self) -> Bytes {
        let last = self.last.iter().map(|(room, author, seq)| pb::LastReadable {
            room: bytes(room.as_bytes()),
            author: bytes(author.as_bytes()),
            seq: seq.0,
        });
        let receipt = pb::Receipt {
            peer: bytes(self.peer.as_bytes()),
            room: self.room.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
            index: self.index.0,
            at: self.at.0,
            done_at: self.done_at.map_or(0, |it| it.0),
            last: last.collect(),
        };
        receipt.encode_to_vec().into()
    }

    /// Reads a receipt as stored.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(from: &[u8]) -> Result<Self, Refusal> {
        let it = pb::Receipt::decode(from).map_err(|_| Refusal::FrameBad)?;
        if it.last.len() > ROOMS_MAX {
            return Err(Refusal::FieldBad);
        }
        let room = |from: &[u8]| RoomId::from_bytes(from).ok_or(Refusal::FieldBad);
        let last = it.last.iter().map(|it| Ok((room(&it.room)?, peer(&it.author)?, Seq(it.seq))));
        Ok(Self {
            peer: peer(&it.peer)?,
            room: if it.room.is_empty() { None } else { Some(room(&it.room)?) },
            index: Index(it.index),
            at: Wall(it.at),
            done_at: (it.done_at > 0).then_some(Wall(it.done_at)),
            last: last.collect::<Result<_, Refusal>>()?,
        })
    }
}
