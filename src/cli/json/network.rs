//! Events about who belongs: what became of a wish.
//! Owns: their field names and order.
//! Must not know: who may wish what.
//! Invariants: as in `events.rs`.
//! Start reading at: [`Wish`].

use serde::Serialize;

use super::events::{Answered, Pen};
use super::line::line;
use crate::protocol::{WishState, WishView};

/// What became of a wish about a member.
#[derive(Serialize)]
pub(super) struct Wish<'a> {
    what: &'static str,
    name: &'a str,
    peer_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
}

impl<'a> Wish<'a> {
    pub(super) fn of(view: &'a WishView) -> Self {
        let (state, because) = match &view.state {
            WishState::Ordered => ("ordered", None),
            WishState::Waiting { because } => ("waiting", Some(because.as_str())),
        };
        Self {
            what: if view.role.is_some() { "role" } else { "remove" },
            name: &view.name,
            peer_id: view.peer.to_string(),
            role: view.role.map(crate::ids::NetworkRole::name),
            reason: view.role.is_none().then_some(view.reason.as_str()),
            state,
            because,
        }
    }
}

impl Pen {
    pub(super) fn wish(
        &mut self,
        at: &str,
        view: &WishView,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "wish", at, reference, data: Wish::of(view) }, out);
    }
}
