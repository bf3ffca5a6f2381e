//! Up to where a person has read a room, and the place before which a page is asked for.
//! Owns: how both are written.
//! Must not know: how messages are found.
//! Invariants: as in `events.rs`.
//! Start reading at: [`read`], [`place`].

use serde::Serialize;

use super::line::line;
use super::shapes::Answered;
use crate::ids::{MessageId, PeerId, Seq};
use crate::protocol::{Command, MessagePlace};
use crate::refusal::{Refusal, Refused};

#[derive(Serialize)]
struct SeenData<'a> {
    room: &'a str,
    id: Option<String>,
}

/// With an id: notes it; without: asks for what was noted.
pub(super) fn read(room: String, id: Option<&str>) -> Result<Command, Refused> {
    let bad = || Refused::new(Refusal::CommandBad, "id is the whole id of a message");
    let upto = id.map(|id| MessageId::parse(id).ok_or_else(bad)).transpose()?;
    Ok(Command::Seen { room, upto })
}

/// A message as `ID.PEER_ID.SEQ`: its fields lead to it without a search.
pub(super) fn place(text: &str) -> Result<MessagePlace, Refused> {
    let parse = || {
        let mut parts = text.split('.');
        let id = MessageId::parse(parts.next()?)?;
        let peer = PeerId::parse(parts.next()?)?;
        let seq = Seq(parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(MessagePlace { id, peer, seq })
    };
    let what = "before is id, peer_id and seq of a message with dots between them";
    parse().ok_or_else(|| Refused::new(Refusal::CommandBad, what))
}

pub(super) fn write(
    at: &str,
    room: &str,
    upto: Option<MessageId>,
    reference: Option<&str>,
    out: &mut Vec<u8>,
) {
    let data = SeenData { room, id: upto.map(|id| id.to_string()) };
    line(&Answered { event: "seen", at, reference, data }, out);
}
