//! A room as it stands at a place of the control log, as bytes and as a value.
//! Owns: its encoding and bounds.
//! Must not know: how a room comes to stand so (`room/state`).
//! Invariants: members and cuts are bounded, and each peer is named once.
//! Start reading at: [`Snapshot`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::charter::{decode_charter, encode_charter, role_number, role_of};
use super::{Charter, bytes, decode_cut, encode_cut, group_id, peer};
use crate::ids::{GroupId, Hash, Incarnation, Index, PeerId, RoomId, RoomOrigin, Seq};
use crate::limits::{CLAIMS_MAX, COMMITS_MAX, MEMBERS_MAX};
use crate::refusal::Refusal;
use crate::terms::Role;
use crate::time::Wall;
use crate::wire::order::Cut;
use crate::wire::pb;

/// A member's place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// What it may do.
    pub role: Role,
    /// By which entry it came in.
    pub since: Index,
}

/// Where somebody's logs end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// By incarnation the last entry that counts, and its hash.
    pub heads: BTreeMap<Incarnation, (Seq, Hash)>,
    /// Whether logs not named count for nothing.
    pub is_barred: bool,
}

/// A commit as it was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Who had it ordered.
    pub by: PeerId,
    /// The leader's stamp.
    pub at: Wall,
}

/// Who said that it cannot follow a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranded {
    /// Who made the commit.
    pub by: PeerId,
    /// Who cannot follow it.
    pub said: BTreeSet<PeerId>,
}

/// Somebody of whose commits most could not follow one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// That commit's place in the control log.
    pub commit: Index,
    /// By which entry it may commit no more.
    pub since: Index,
    /// The leader's stamp of that entry.
    pub at: Wall,
    /// Whether an admin ended it.
    pub is_forgiven: bool,
}

/// How a room stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is.
    pub charter: Charter,
    /// Who is in it; empty for the room `main`, which has everybody.
    pub members: BTreeMap<PeerId, Seat>,
    /// Who asked to come in and waits for a yes.
    pub waiting: BTreeSet<PeerId>,
    /// Who was thrown out, and comes back by an invitation alone.
    pub kicked: BTreeSet<PeerId>,
    /// Whose logs end where.
    pub cuts: BTreeMap<PeerId, Barrier>,
    /// Where its keys are agreed on.
    pub group: Option<GroupId>,
    /// The last entry that concerned the group.
    pub moved_at: Index,
    /// The last entry that was applied.
    pub handled: Index,
    /// By which entry it was created; 0: not ordered yet.
    pub created_at: Index,
    /// Whether its owner ended it.
    pub is_deleted: bool,
    /// Whether a rule by which messages are deleted was ever set: so chains without some of their
    /// ciphertexts are in order.
    pub was_kept: bool,
    /// By the commit's place in the control log: who cannot follow it.
    pub stranded: BTreeMap<Index, Stranded>,
    /// Who may not commit, or might not a while ago.
    pub suspended: BTreeMap<PeerId, Suspension>,
    /// Of a sealed room: its newest commits, by their places. Who came later opens none of them in
    /// the control log.
    pub commits: BTreeMap<Index, Made>,
    /// Of a sealed room: what its id is the hash of.
    pub origin: Option<RoomOrigin>,
}

impl Snapshot {
    /// A room about which nothing was ordered yet.
    pub fn new(charter: Charter) -> Self {
        Self {
            charter,
            members: BTreeMap::new(),
            waiting: BTreeSet::new(),
            kicked: BTreeSet::new(),
            cuts: BTreeMap::new(),
            group: None,
            moved_at: Index(0),
            handled: Index(0),
            created_at: Index(0),
            is_deleted: false,
            was_kept: false,
            stranded: BTreeMap::new(),
            suspended: BTreeMap::new(),
            commits: BTreeMap::new(),
            origin: None,
        }
    }

    /// Whether it is told by somebody who is, or was, in this sealed room, or was told of it by one.
    pub fn is_genuine(&self, room: &RoomId) -> bool {
        self.origin.is_some_and(|origin| RoomId::of(&origin) == *room)
    }

    /// The bytes to store or to tell.
    pub fn encode(&self) -> Bytes {
        self.to_pb().encode_to_vec().into()
    }

    /// Reads a room as stored.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`].
    pub fn decode(from: &[u8]) -> Result<Self, Refusal> {
        Self::from_pb(pb::RoomState::decode(from).map_err(|_| Refusal::FrameBad)?)
    }

    pub(in crate::wire) fn to_pb(&self) -> pb::RoomState {
        let members = self.members.iter().map(|(who, seat)| pb::RoomMember {
            peer: bytes(who.as_bytes()),
            role: role_number(seat.role),
            since: seat.since.0,
        });
        let cuts = self.cuts.iter().map(|(who, barrier)| {
            let heads = barrier.heads.iter().map(|(life, (seq, hash))| (*life, *seq, *hash));
            let cut = encode_cut(&Cut { peer: *who, heads: heads.collect() });
            pb::RoomCut { cut: Some(cut), is_barred: barrier.is_barred }
        });
        pb::RoomState {
            charter: Some(encode_charter(&self.charter)),
            members: members.collect(),
            group: self.group.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
            moved_at: self.moved_at.0,
            handled: self.handled.0,
            cuts: cuts.collect(),
            waiting: self.waiting.iter().map(|it| bytes(it.as_bytes())).collect(),
            kicked: self.kicked.iter().map(|it| bytes(it.as_bytes())).collect(),
            created_at: self.created_at.0,
            is_deleted: self.is_deleted,
            was_kept: self.was_kept,
            stranded: self.stranded.iter().map(encode_stranded).collect(),
            suspended: self.suspended.iter().map(encode_suspension).collect(),
            commits: self.commits.iter().map(encode_commit).collect(),
            origin: self.origin.map(|it| bytes(it.as_bytes())).unwrap_or_default(),
        }
    }

    pub(in crate::wire) fn from_pb(it: pb::RoomState) -> Result<Self, Refusal> {
        let lengths = [it.members.len(), it.cuts.len(), it.waiting.len(), it.kicked.len()];
        let is_long = lengths.into_iter().any(|len| len > MEMBERS_MAX);
        let said: usize = it.stranded.iter().map(|it| it.said.len()).sum();
        let claims = it.stranded.len().max(said);
        if is_long || it.suspended.len() > MEMBERS_MAX || claims > MEMBERS_MAX * CLAIMS_MAX {
            return Err(Refusal::FieldBad);
        }
        if it.commits.len() > COMMITS_MAX {
            return Err(Refusal::FieldBad);
        }
        let mut members = BTreeMap::new();
        for member in &it.members {
            let seat = Seat { role: role_of(member.role)?, since: Index(member.since) };
            members.insert(peer(&member.peer)?, seat);
        }
        let mut cuts = BTreeMap::new();
        for cut in &it.cuts {
            let Cut { peer, heads } = decode_cut(cut.cut.as_ref().ok_or(Refusal::FieldBad)?)?;
            let heads = heads.into_iter().map(|(life, seq, hash)| (life, (seq, hash))).collect();
            cuts.insert(peer, Barrier { heads, is_barred: cut.is_barred });
        }
        Ok(Self {
            charter: decode_charter(it.charter.ok_or(Refusal::FieldBad)?)?,
            members,
            waiting: it.waiting.iter().map(|it| peer(it)).collect::<Result<_, _>>()?,
            kicked: it.kicked.iter().map(|it| peer(it)).collect::<Result<_, _>>()?,
            cuts,
            group: match it.group.is_empty() {
                true => None,
                false => Some(group_id(&it.group)?),
            },
            moved_at: Index(it.moved_at),
            handled: Index(it.handled),
            created_at: Index(it.created_at),
            is_deleted: it.is_deleted,
            was_kept: it.was_kept,
            stranded: it.stranded.iter().map(decode_stranded).collect::<Result<_, _>>()?,
            suspended: it.suspended.iter().map(decode_suspension).collect::<Result<_, _>>()?,
            commits: it.commits.iter().map(decode_commit).collect::<Result<_, _>>()?,
            origin: match it.origin.is_empty() {
                true => None,
                false => Some(RoomOrigin::from_bytes(&it.origin).ok_or(Refusal::FieldBad)?),
            },
        })
    }
}

fn encode_stranded((commit, it): (&Index, &Stranded)) -> pb::RoomStranded {
    pb::RoomStranded {
        commit: commit.0,
        by: bytes(it.by.as_bytes()),
        said: it.said.iter().map(|it| bytes(it.as_bytes())).collect(),
    }
}

fn decode_stranded(it: &pb::RoomStranded) -> Result<(Index, Stranded), Refusal> {
    let said = it.said.iter().map(|it| peer(it)).collect::<Result<_, _>>()?;
    Ok((Index(it.commit), Stranded { by: peer(&it.by)?, said }))
}

fn encode_suspension((who, it): (&PeerId, &Suspension)) -> pb::RoomSuspension {
    pb::RoomSuspension {
        peer: bytes(who.as_bytes()),
        commit: it.commit.0,
        since: it.since.0,
        at: it.at.0,
        is_forgiven: it.is_forgiven,
    }
}

fn decode_suspension(it: &pb::RoomSuspension) -> Result<(PeerId, Suspension), Refusal> {
    let suspension = Suspension {
        commit: Index(it.commit),
        since: Index(it.since),
        at: Wall(it.at),
        is_forgiven: it.is_forgiven,
    };
    Ok((peer(&it.peer)?, suspension))
}

fn encode_commit((index, it): (&Index, &Made)) -> pb::RoomCommit {
    pb::RoomCommit { index: index.0, by: bytes(it.by.as_bytes()), at: it.at.0 }
}

fn decode_commit(it: &pb::RoomCommit) -> Result<(Index, Made), Refusal> {
    Ok((Index(it.index), Made { by: peer(&it.by)?, at: Wall(it.at) }))
}
