//! Invites that lead into a room: who comes by one is invited into the room by who made it.
//! Owns: which of our invites lead where, and whom they brought there.
//! Must not know: how an invite admits, how an order is ordered.
//! Invariants: the room is known to its members alone: neither the authority nor the control log
//! says more of it than the name that was typed; whoever leaves the room is not brought back.
//! Start reading at: [`Member::go_on_inviting`].
//!
//! The invitation is an order like any other, judged by everybody in the room. The authority cannot
//! put anybody into a room, and a voucher is no right: only who made it invites, as long as it may.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Context, Member};
use crate::ids::{CommandId, PeerId, RoomId, VoucherId};
use crate::limits::INVITES_LEADING_MAX;
use crate::protocol::ledger::Ledger;
use crate::protocol::room::State;
use crate::protocol::{Notice, Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::terms::Role;
use crate::time::Wall;
use crate::wire::order::Order;

/// What leads where: `inviting/ID`, with the room, when it ends, and who was brought in by it.
const KEY: &str = "inviting/";
/// What is known of an invite this long after its end is forgotten: who came by it is in by then.
const KEPT_AFTER: crate::time::Millis = crate::time::Millis(30 * 86_400_000);

/// Our invites that lead into rooms.
#[derive(Debug, Default)]
pub(super) struct Inviting {
    leading: BTreeMap<VoucherId, Leading>,
    /// Somebody was admitted, or a room changed.
    pub(super) is_due: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Leading {
    room: RoomId,
    expires_at: Wall,
    done: Vec<PeerId>,
}

impl Leading {
    fn encode(&self) -> Bytes {
        let mut bytes = self.room.as_bytes().to_vec();
        bytes.extend_from_slice(&self.expires_at.0.to_be_bytes());
        for peer in &self.done {
            let peer = peer.as_bytes();
            bytes.extend(u8::try_from(peer.len()));
            bytes.extend_from_slice(peer);
        }
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (room, bytes) = bytes.split_at_checked(RoomId::MAIN.as_bytes().len())?;
        let (at, mut rest) = bytes.split_at_checked(8)?;
        let expires_at = Wall(u64::from_be_bytes(at.try_into().ok()?));
        let mut done = Vec::new();
        while let Some((length, bytes)) = rest.split_first() {
            let (peer, left) = bytes.split_at_checked(usize::from(*length))?;
            done.push(PeerId::from_bytes(peer)?);
            rest = left;
        }
        Some(Self { room: RoomId::from_bytes(room)?, expires_at, done })
    }
}

impl Inviting {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let row = |(key, value): (String, Bytes)| {
            let id = VoucherId::parse(key.strip_prefix(KEY)?)?;
            Some((id, Leading::decode(&value)?))
        };
        let leading = reads.settings(KEY).into_iter().filter_map(row).collect();
        Self { leading, is_due: true }
    }

    fn write(&self, id: &VoucherId) -> Write {
        let value = self.leading.get(id).map(Leading::encode);
        Write::Setting { key: format!("{KEY}{id}"), value }
    }
}

impl Member {
    /// The room that an invite of ours is to lead into.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`], [`Refusal::NotInRoom`]; [`Refusal::NotAllowed`] to who may invite
    /// nobody there; [`Refusal::TooMany`].
    pub(super) fn leads_to(&self, name: &str) -> Result<RoomId, Refused> {
        let room = self.room_named(name)?;
        let roster = self.ledger.as_ref().map(Ledger::roster).ok_or(Refusal::NotAMember)?;
        let state = self.talks.state(&room).ok_or(Refusal::RoomUnknown)?;
        // Everybody is in the room of all.
        if room == RoomId::MAIN {
            return Ok(room);
        }
        match state.role_of(&self.me, roster) {
            None => Err(Refused::new(Refusal::NotInRoom, name)),
            Some(role) if role < Role::Admin => {
                let detail = format!("in {name} you have the role {}", role.name());
                Err(Refused::new(Refusal::NotAllowed, detail))
            }
            Some(_) if state.charter().kind == crate::wire::order::Kind::Direct => {
                Err(Refused::new(Refusal::NotAllowed, "a talk of two has no room for a third"))
            }
            Some(_) if self.inviting.leading.len() >= INVITES_LEADING_MAX => {
                Err(Refused::new(Refusal::TooMany, "invites that lead into rooms"))
            }
            Some(_) => Ok(room),
        }
    }

    /// An invite was made that leads into a room.
    pub(super) fn note_leading(
        &mut self,
        id: VoucherId,
        room: RoomId,
        expires_at: Wall,
        cx: &mut Context<'_>,
    ) {
        if room == RoomId::MAIN {
            return;
        }
        self.inviting.leading.insert(id, Leading { room, expires_at, done: Vec::new() });
        cx.actions.writes.push(self.inviting.write(&id));
    }

    /// Who came by an invite of ours is invited into the room it leads to.
    pub(super) fn go_on_inviting(&mut self, cx: &mut Context<'_>) {
        if self.inviting.leading.is_empty() || !std::mem::take(&mut self.inviting.is_due) {
            return;
        }
        let Some(roster) = self.ledger.as_ref().map(Ledger::roster) else { return };
        let (mut in_room, mut wanted, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for (id, leading) in &self.inviting.leading {
            let state = self.talks.state(&leading.room);
            let came = roster.came_by(id).iter().filter(|it| !leading.done.contains(it));
            for peer in came.filter(|peer| roster.is_in(peer)) {
                let is_in = state.is_some_and(|state| state.has_seat(peer));
                let list = if is_in { &mut in_room } else { &mut wanted };
                list.push((*id, leading.room, *peer));
            }
            let is_over = leading.expires_at.after(KEPT_AFTER) < cx.now.wall;
            let is_gone = state.is_none_or(|state: &State| !state.has_seat(&self.me));
            if is_over || (is_gone && self.is_current() && cx.now.wall > leading.expires_at) {
                old.push(*id);
            }
        }
        for (id, room, peer) in wanted {
            if !self.is_current() || self.is_inviting(room, &peer) {
                continue;
            }
            let order = Order::Invite { peer, role: Role::Member };
            match self.begin_order(CommandId(0), room, order, cx) {
                Ok(()) => {}
                // Not yet: the room is looked at again with its next change.
                Err(refused) if refused.refusal == Refusal::NoKeys => {}
                // Others come first.
                Err(refused) if refused.refusal == Refusal::TooMany => {
                    self.inviting.is_due = true;
                    break;
                }
                Err(refused) => {
                    let (name, label) = (self.label(&peer), self.room_label(&room));
                    let text = format!("{name} came by your invite to {label}: {refused}");
                    cx.notice(Notice::Info { text });
                    in_room.push((id, room, peer));
                }
            }
        }
        for (id, _, peer) in in_room {
            if let Some(leading) = self.inviting.leading.get_mut(&id) {
                leading.done.push(peer);
            }
            cx.actions.writes.push(self.inviting.write(&id));
        }
        for id in old {
            self.inviting.leading.remove(&id);
            cx.actions.writes.push(self.inviting.write(&id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_where_is_read_as_it_was_written() {
        let peers = vec![PeerId::of_rsa_spki(b"dave"), PeerId::of_rsa_spki(b"erin")];
        for done in [Vec::new(), peers] {
            let leading = Leading { room: RoomId([7; 16]), expires_at: Wall(5), done };
            assert_eq!(Leading::decode(&leading.encode()), Some(leading));
        }
        assert_eq!(Leading::decode(b"short"), None);
    }
}
