//! What one does not want to hear of: members whose messages are not shown, rooms that do not call.
//! Owns: both lists; they stay on this home, and nobody else learns of them.
//! Must not know: how messages are shown, what a call is.
//! Invariants: what an ignored member writes is stored, passed on and acknowledged as ever; who is
//! ignored is ignored by its key; both lists grow no longer than the roster and the rooms are.
//! Start reading at: [`Member::ignore`].

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Context, Member};
use crate::ids::{CommandId, PeerId, RoomId};
use crate::protocol::{MemberView, Notice, Reads, Write};
use crate::refusal::{Refusal, Refused};

/// Whose messages are not shown: by peer id.
const IGNORED: &str = "ignored/";
/// Which rooms do not call: by id.
const MUTED: &str = "muted/";

/// What one does not want to hear of.
#[derive(Debug, Default)]
pub(super) struct Ignoring {
    members: BTreeSet<PeerId>,
    rooms: BTreeSet<RoomId>,
}

impl Ignoring {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let names = |prefix: &'static str| {
            let rows = reads.settings(prefix).into_iter();
            rows.filter_map(move |(key, _)| key.strip_prefix(prefix).map(str::to_owned))
        };
        Self {
            members: names(IGNORED).filter_map(|peer| PeerId::parse(&peer)).collect(),
            rooms: names(MUTED).filter_map(|room| RoomId::parse(&room)).collect(),
        }
    }

    pub(super) fn is_ignored(&self, peer: &PeerId) -> bool {
        self.members.contains(peer)
    }

    pub(super) fn is_muted(&self, room: &RoomId) -> bool {
        self.rooms.contains(room)
    }
}

/// The row that says so, or its end.
fn row(key: String, is_there: bool) -> Write {
    Write::Setting { key, value: is_there.then(|| Bytes::from_static(&[1])) }
}

impl Member {
    /// Whether a member's messages are shown from now on.
    ///
    /// # Refusals
    /// [`Refusal::NameUnknown`], [`Refusal::NotAMember`].
    pub(super) fn ignore(
        &mut self,
        name: &str,
        is_ignored: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let peer = self.person_named(name)?;
        if peer == self.me {
            return Err(Refused::new(Refusal::NameUnknown, "that is you"));
        }
        cx.actions.writes.push(row(format!("{IGNORED}{peer}"), is_ignored));
        match is_ignored {
            true => self.ignoring.members.insert(peer),
            false => self.ignoring.members.remove(&peer),
        };
        // Every face is told how the member stands now.
        self.views.is_stale = true;
        Ok(())
    }

    /// Those whose messages are not shown.
    pub(super) fn ignored(&self) -> Vec<MemberView> {
        self.member_views().into_iter().filter(|member| member.is_ignored).collect()
    }

    pub(super) fn on_mute(
        &mut self,
        command: CommandId,
        name: &str,
        is_muted: bool,
        cx: &mut Context<'_>,
    ) {
        let room = match self.room_named(name) {
            Ok(room) => room,
            Err(refused) => return cx.fail(command, refused),
        };
        cx.actions.writes.push(row(format!("{MUTED}{room}"), is_muted));
        match is_muted {
            true => self.ignoring.rooms.insert(room),
            false => self.ignoring.rooms.remove(&room),
        };
        match self.room_view(&room) {
            Some(view) => cx.notice(Notice::Room { command, room: Box::new(view) }),
            None => cx.fail(command, Refusal::NoKeys),
        }
    }
}
