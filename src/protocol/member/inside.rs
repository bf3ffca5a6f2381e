//! What a check from outside may see of the rooms of a member: for the simulator alone.
//! Owns: nothing.
//! Must not know: what is looked for.
//! Invariants: looking changes nothing.
//! Start reading at: [`Member::room_ids`].

use super::Member;
use crate::ids::{GroupId, Hash, KeyId, LogId, PeerId, RoomId, Seq};
use crate::protocol::room::{Room, State};

#[doc(hidden)]
impl Member {
    /// The rooms we are in, or on our way into.
    pub fn room_ids(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.talks.rooms.keys().copied()
    }

    /// A room as it is typed here.
    pub fn room_typed(&self, room: &RoomId) -> String {
        self.room_label(room)
    }

    /// How a room stands, as far as it is known here.
    pub fn room_state(&self, room: &RoomId) -> Option<&State> {
        self.talks.state(room)
    }

    /// With whom a link is wanted and is not up.
    pub fn links_lacking(&self) -> Vec<PeerId> {
        let wanted = self.links_wanted().into_iter();
        wanted.filter(|peer| !self.links.contains_key(peer)).collect()
    }

    /// What is said in a room we are in.
    pub fn room_said(&self, room: &RoomId) -> Option<&Room> {
        self.talks.rooms.get(room).map(|talk| &talk.room)
    }

    /// The epoch held of a room, and its authenticator.
    pub fn room_epoch(&self, room: &RoomId) -> Option<(GroupId, u64, Hash)> {
        let group = self.talks.rooms.get(room)?.keys.group()?;
        Some((group.group(), group.epoch(), group.authenticator()))
    }

    /// Who is in the epoch that is held of a room.
    pub fn room_leaves(&self, room: &RoomId) -> Option<Vec<PeerId>> {
        let group = self.talks.rooms.get(room)?.keys.group()?;
        Some(group.leaves().into_iter().map(|leaf| leaf.peer).collect())
    }

    /// Whether we could write in a room at once.
    pub fn room_has_key(&self, room: &RoomId) -> bool {
        let talk = self.talks.rooms.get(room);
        talk.is_some_and(|talk| talk.keys.key().is_some() && talk.state.is_ordered())
    }

    /// Keys of a room that are waited for.
    pub fn room_waits_for(&self, room: &RoomId) -> Vec<KeyId> {
        let talk = self.talks.rooms.get(room);
        talk.map(|talk| talk.keys.waiting.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether an entry of our own is with a keeper, as far as it said.
    pub fn is_kept(&self, log: &LogId, seq: Seq) -> bool {
        !self.keeping.kept_by(log, seq).is_empty()
    }

    /// Whether a key of a room is held whole.
    pub fn room_holds(&self, room: &RoomId, key: &KeyId) -> bool {
        self.talks.rooms.get(room).is_some_and(|talk| talk.keys.ring.secret(key).is_some())
    }
}
