//! Invites as events.
//! Owns: their field names and order.
//! Must not know: what is in an invite.
//! Invariants: the invite itself appears once, when it is made.
//! Start reading at: [`write()`].

use serde::Serialize;

use super::line::line;
use crate::node::operator::invites::{InviteRow, InviteState};
use crate::time::Wall;

#[derive(Serialize)]
struct Invite<'a> {
    event: &'static str,
    at: &'a str,
    id: &'a str,
    state: &'static str,
    uses: u32,
    name: Option<&'a str>,
    room: Option<&'a str>,
    issued_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<&'a str>,
}

/// A row, with the text to pass on where it is new.
pub(super) fn write(at: &str, row: &InviteRow, text: Option<&str>, out: &mut Vec<u8>) {
    let given = |text: &'_ String| !text.is_empty();
    let event = Invite {
        event: "invite",
        at,
        id: &row.id,
        state: invite_state(row.state),
        uses: row.uses,
        name: given(&row.name).then_some(row.name.as_str()),
        room: given(&row.room).then_some(row.room.as_str()),
        issued_at: row.issued_at.rfc3339(),
        expires_at: row.expires_at.rfc3339(),
        revoked_at: row.revoked_at.map(Wall::rfc3339),
        reason: row.revoked_at.map(|_| row.reason.as_str()),
        invite: text,
    };
    line(&event, out);
}

/// An invite's state as printed.
pub(in crate::cli) fn invite_state(state: InviteState) -> &'static str {
    match state {
        InviteState::Valid => "valid",
        InviteState::Expired => "expired",
        InviteState::Revoked => "revoked",
    }
}
