//! What one author may have us store, and what is said when that is used up.
//! Owns: whose entries are taken no more, here, and who takes no more of ours.
//! Must not know: who is linked, what entries say.
//! Invariants: of who is over its bound nothing is stored nor acknowledged; nobody else notices.
//! Start reading at: [`Member::is_full_for`].

use std::collections::BTreeSet;

use super::{Context, Member};
use crate::ids::{PeerId, RoomId};
use crate::protocol::Notice;
use crate::refusal::{Refusal, Refused};
use crate::wire::frame::Body;
use crate::wire::sync::Sync as Frame;

impl Member {
    /// Whether no more is stored of what somebody writes in a room.
    pub(super) fn is_full_for(&self, room: RoomId, author: &PeerId) -> bool {
        self.is_request_full(&room) && *author != self.me
    }

    /// Those of whom no more is stored in a room.
    pub(super) fn full_in(&self, room: RoomId) -> BTreeSet<PeerId> {
        self.stranger_in(&room).filter(|it| self.is_full_for(room, it)).into_iter().collect()
    }

    /// Says so to the author.
    pub(super) fn tell_full(&self, (room, to): (RoomId, PeerId), cx: &mut Context<'_>) {
        self.send_ack(to, Body::Sync(Frame::Full { room }), cx);
    }

    /// A linked member stores no more of what we write in a room.
    pub(super) fn on_full(&mut self, (room, from): (RoomId, PeerId), cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        if talk.sync.on_full(&from, cx.now.mono) {
            let detail = format!("{} in {}", self.label(&from), self.room_label(&room));
            let refused = Refused::new(Refusal::QuotaFull, detail);
            cx.notice(Notice::Failed { command: None, refused, is_fatal: false });
        }
    }
}
