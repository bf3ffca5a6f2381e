//! Invites as events.
//! Owns: their field names and order.
//! Must not know: what is in an invite.
//! Invariants: the invite itself appears once, when it is made.
//! Start reading at: [`write()`].

use serde::Serialize;

use super::line::line;
use super::shapes::Answered;
use crate::protocol::{InviteState, InviteView};
use crate::time::Wall;

/// An invite, as far as it may be shown.
#[derive(Serialize)]
pub(super) struct Invite<'a> {
    id: &'a str,
    state: &'static str,
    uses: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<usize>,
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

impl<'a> Invite<'a> {
    /// With the text to pass on where it is new.
    pub(super) fn of(view: &'a InviteView, text: Option<&'a str>) -> Self {
        let given = |text: &'a String| (!text.is_empty()).then_some(text.as_str());
        Self {
            id: &view.id,
            state: invite_state(view.state),
            uses: view.uses,
            used: view.used,
            name: given(&view.name),
            room: given(&view.room),
            issued_at: view.issued_at.rfc3339(),
            expires_at: view.expires_at.rfc3339(),
            revoked_at: view.revoked_at.map(Wall::rfc3339),
            reason: view.revoked_at.map(|_| view.reason.as_str()),
            invite: text,
        }
    }
}

/// A row, with the text to pass on where it is new.
pub(super) fn write(
    at: &str,
    view: &InviteView,
    text: Option<&str>,
    reference: Option<&str>,
    out: &mut Vec<u8>,
) {
    line(&Answered { event: "invite", at, reference, data: Invite::of(view, text) }, out);
}

/// An invite's state as printed.
pub(in crate::cli) fn invite_state(state: InviteState) -> &'static str {
    match state {
        InviteState::Valid => "valid",
        InviteState::Expired => "expired",
        InviteState::Revoked => "revoked",
    }
}
