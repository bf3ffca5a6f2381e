//! Reading back and reading on: the messages before one that is shown, and what a person has read.
//! Owns: how a message that is shown is found again, and the note up to where a room was read.
//! Must not know: how messages are shown, what counts as read.
//! Invariants: a page is bounded; the note stays on this home, nobody else learns of it.
//! Start reading at: [`Member::earlier`].

use bytes::Bytes;

use super::{Context, Member};
use crate::ids::{CommandId, RoomId};
use crate::limits::HISTORY_MAX;
use crate::protocol::{Command, MessageId, MessagePlace, MessageView, Notice, Reads, Write};
use crate::refusal::{Refusal, Refused};

fn seen_key(room: RoomId) -> String {
    format!("seen/{room}")
}

impl Member {
    /// The messages of a room right before one of them, oldest first; none: that one is the first.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`], [`Refusal::NotInRoom`]; [`Refusal::MessageUnknown`] if it is not
    /// stored here any more.
    pub fn earlier(
        &mut self,
        name: &str,
        before: MessagePlace,
        last: usize,
        reads: &dyn Reads,
    ) -> Result<Vec<MessageView>, Refused> {
        let Some(mut reader) = self.room_called(name)? else { return Ok(Vec::new()) };
        let room = reader.room;
        let is_meant = |it: &crate::protocol::StoredEntry| MessageId::of(&it.hash) == before.id;
        let Some(mut entry) = room.entry_at((before.peer, before.seq), is_meant, reads) else {
            return Err(Refused::new(Refusal::MessageUnknown, before.id.to_string()));
        };
        let last = last.clamp(1, HISTORY_MAX);
        // A page of entries that cannot be opened is not yet the beginning.
        loop {
            let page = room.before(&entry, last, reads);
            let Some((first, _)) = page.first() else { return Ok(Vec::new()) };
            entry = first.clone();
            let shown = reader.views(&page, reads);
            if !shown.is_empty() {
                return Ok(shown);
            }
        }
    }

    pub(super) fn on_reading(&mut self, id: CommandId, command: Command, cx: &mut Context<'_>) {
        match command {
            Command::Earlier { room, before, last } => self.on_earlier(id, &room, before, last, cx),
            Command::Seen { room, upto } => self.on_seen(id, &room, upto, cx),
            _ => {}
        }
    }

    fn on_earlier(
        &mut self,
        id: CommandId,
        name: &str,
        before: MessagePlace,
        last: usize,
        cx: &mut Context<'_>,
    ) {
        match self.earlier(name, before, last, cx.reads) {
            Ok(messages) => cx.notice(Notice::History { command: id, messages }),
            Err(refused) => cx.fail(id, refused),
        }
    }

    fn on_seen(
        &mut self,
        command: CommandId,
        name: &str,
        upto: Option<MessageId>,
        cx: &mut Context<'_>,
    ) {
        let room = match self.room_named(name) {
            Ok(room) => room,
            Err(refused) => return cx.fail(command, refused),
        };
        let key = seen_key(room);
        let noted = match upto {
            None => {
                cx.reads.setting(&key).and_then(|it| it.as_ref().try_into().ok().map(MessageId))
            }
            Some(id) => {
                let value = Some(Bytes::copy_from_slice(&id.0));
                cx.actions.writes.push(Write::Setting { key, value });
                Some(id)
            }
        };
        cx.notice(Notice::Seen { command, room: name.to_owned(), upto: noted });
    }
}
