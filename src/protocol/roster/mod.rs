//! Who belongs: a pure function of the control log.
//! Owns: members with their names, keys, certificates and roles; the uses of vouchers; revocations.
//! Must not know: ballots, who leads, who is reachable.
//! Invariants: apply is pure (9), every change traces to an authorised intent (10), at most once
//! (11), nobody without a certificate, no two with one name skeleton (12).
//! Start reading at: [`Roster`].

mod apply;
mod roles;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use apply::{Change, Ordered};
pub use roles::RoleChange;

use crate::identity::{Authority, Credential};
use crate::ids::{
    DeviceKey, Hash, Incarnation, Index, IntentId, NetworkRole, PeerId, RoomId, VoucherId,
};
use crate::time::Wall;

/// The members of a network at a position of its control log.
#[derive(Clone, Debug)]
pub struct Roster {
    authority: Authority,
    members: BTreeMap<PeerId, Member>,
    by_skeleton: BTreeMap<String, PeerId>,
    /// In the order of admission; never shrinks.
    order: Vec<PeerId>,
    taken: BTreeSet<IntentId>,
    revoked: BTreeSet<u64>,
    rooms: BTreeMap<RoomId, Place>,
    vouchers: BTreeMap<VoucherId, Vouching>,
    /// In the order they came.
    role_changes: Vec<RoleChange>,
    applied: Index,
}

/// What became of a voucher on this history.
#[derive(Clone, Debug, Default)]
struct Vouching {
    /// Who came in by it, in order; those who were removed still count.
    by: Vec<PeerId>,
    is_revoked: bool,
    /// Whether it was withdrawn with those who came in by it.
    are_members_out: bool,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// The certified name.
    pub name: String,
    /// What must be unique of it.
    pub skeleton: String,
    /// What it may do in the network.
    pub role: NetworkRole,
    /// The number of the newest certificate.
    pub serial: u64,
    /// How long it holds.
    pub not_after: Wall,
    /// The newest credential, to be passed on.
    pub credential: Bytes,
    /// The device keys by database incarnation, oldest first.
    pub devices: Vec<(Incarnation, DeviceKey)>,
    /// Since when.
    pub admitted_at: Index,
    /// When it was removed, by the leader's stamp.
    pub removed_at: Option<Wall>,
    /// By which entry it was removed.
    pub removed_by: Option<Index>,
    /// Since which entry a device key is its own, those of databases long gone included.
    pub bound: BTreeMap<DeviceKey, Index>,
}

/// What everybody knows of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Who created it; nobody the room `main`.
    by: Option<PeerId>,
    /// The last entry that concerned it.
    moved_at: Index,
}

impl Member {
    /// Whether it belongs now.
    pub fn is_in(&self) -> bool {
        self.removed_at.is_none()
    }

    /// The device key of one of its databases.
    pub fn key_of(&self, incarnation: Incarnation) -> Option<DeviceKey> {
        self.devices.iter().find(|(life, _)| *life == incarnation).map(|(_, key)| *key)
    }

    /// Whether it belonged when this entry was applied.
    pub fn was_in(&self, at: Index) -> bool {
        self.admitted_at <= at && self.removed_by.is_none_or(|by| by > at)
    }

    /// Whether a device key was its own when this entry was applied.
    pub fn was_bound(&self, key: &DeviceKey, at: Index) -> bool {
        self.bound.get(key).is_some_and(|since| *since <= at)
    }

    /// The newest database and its key.
    pub fn newest(&self) -> Option<(Incarnation, DeviceKey)> {
        self.devices.last().copied()
    }
}

impl Roster {
    /// The roster before the first control entry: the founder alone.
    pub fn founded(authority: Authority, founder: &Credential) -> Self {
        let mut roster = Self {
            authority,
            members: BTreeMap::new(),
            by_skeleton: BTreeMap::new(),
            order: Vec::new(),
            taken: BTreeSet::new(),
            revoked: BTreeSet::new(),
            rooms: [(RoomId::MAIN, Place::default())].into(),
            vouchers: BTreeMap::new(),
            role_changes: Vec::new(),
            applied: Index(0),
        };
        roster.enter(founder, Index(0));
        roster.give_to_founder(&founder.peer);
        roster
    }

    /// The authority all of it rests on.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A member, removed ones included.
    pub fn member(&self, peer: &PeerId) -> Option<&Member> {
        self.members.get(peer)
    }

    /// Who founded the network.
    pub fn founder(&self) -> Option<PeerId> {
        self.order.first().copied()
    }

    /// Whether this peer belongs now.
    pub fn is_in(&self, peer: &PeerId) -> bool {
        self.members.get(peer).is_some_and(Member::is_in)
    }

    /// A member's name, or the end of the peer id for somebody unknown.
    pub fn name_of(&self, peer: &PeerId) -> String {
        self.members.get(peer).map_or_else(|| peer.short(), |member| member.name.clone())
    }

    /// All members ever, in the order of admission.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.order.iter().filter_map(|peer| self.members.get(peer))
    }

    /// Whether a certificate with this number was withdrawn.
    pub fn is_revoked(&self, serial: u64) -> bool {
        self.revoked.contains(&serial)
    }

    /// Whether there is or was such a room.
    pub fn has_room(&self, room: &RoomId) -> bool {
        self.rooms.contains_key(room)
    }

    /// How many rooms one member created, those included that are no more.
    pub fn rooms_by(&self, member: &PeerId) -> usize {
        self.rooms.values().filter(|place| place.by.as_ref() == Some(member)).count()
    }

    /// The last entry that concerned a room.
    pub fn moved_at(&self, room: &RoomId) -> Index {
        self.rooms.get(room).map_or(Index(0), |place| place.moved_at)
    }

    /// How many came in by a voucher.
    pub fn uses_of(&self, voucher: &VoucherId) -> usize {
        self.vouchers.get(voucher).map_or(0, |vouching| vouching.by.len())
    }

    /// Who came in by a voucher, in that order.
    pub fn came_by(&self, voucher: &VoucherId) -> &[PeerId] {
        self.vouchers.get(voucher).map_or(&[], |vouching| &vouching.by)
    }

    /// Whether a voucher was withdrawn.
    pub fn is_voucher_revoked(&self, voucher: &VoucherId) -> bool {
        self.vouchers.get(voucher).is_some_and(|vouching| vouching.is_revoked)
    }

    /// The position up to which the log is applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// One hash over all of it: equal on every replica at one index (invariant 9).
    pub fn state_hash(&self) -> Hash {
        let mut parts = Vec::new();
        for member in self.members() {
            let devices: Vec<u8> = member
                .devices
                .iter()
                .flat_map(|(life, key)| life.0.to_be_bytes().into_iter().chain(key.0))
                .collect();
            let removed = member.removed_at.map_or(0, |at| at.0);
            parts.push(
                Hash::of(
                    "member",
                    &[
                        member.peer.as_bytes(),
                        member.name.as_bytes(),
                        member.role.name().as_bytes(),
                        &member.serial.to_be_bytes(),
                        &devices,
                        &member.admitted_at.0.to_be_bytes(),
                        &removed.to_be_bytes(),
                    ],
                )
                .0,
            );
        }
        let revoked: Vec<u8> = self.revoked.iter().flat_map(|s| s.to_be_bytes()).collect();
        let mut vouchers = Vec::new();
        for (id, vouching) in &self.vouchers {
            vouchers.extend_from_slice(id.as_bytes());
            vouchers.push(u8::from(vouching.is_revoked));
            vouchers.push(u8::from(vouching.are_members_out));
            vouchers.extend_from_slice(&vouching.by.len().to_be_bytes());
            vouchers.extend(vouching.by.iter().flat_map(PeerId::as_bytes));
        }
        let index = self.applied.0.to_be_bytes();
        let mut all: Vec<&[u8]> = parts.iter().map(<[u8; 32]>::as_slice).collect();
        let rooms: Vec<u8> = self
            .rooms
            .iter()
            .flat_map(|(room, place)| {
                let by = place.by.map(|by| by.as_bytes().to_vec()).unwrap_or_default();
                [room.as_bytes(), &by, &place.moved_at.0.to_be_bytes()].concat()
            })
            .collect();
        all.push(&rooms);
        all.push(&revoked);
        all.push(&vouchers);
        all.push(&index);
        Hash::of("p2pgroup/1 roster", &all)
    }
}
