//! Events about who belongs: what became of a wish, who made which invite, who waits.
//! Owns: their field names and order.
//! Must not know: who may wish what.
//! Invariants: as in `events.rs`.
//! Start reading at: [`Wish`].

use serde::Serialize;

use super::events::Pen;
use super::invites::Invite;
use super::line::line;
use super::shapes::Answered;
use crate::protocol::{InviteView, RequestView, WishState, WishView};
use crate::time::Wall;

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

/// The answer to a question for invites.
#[derive(Serialize)]
pub(super) struct Invites<'a> {
    invites: Vec<Invite<'a>>,
}

impl<'a> Invites<'a> {
    pub(super) fn of(views: &'a [InviteView]) -> Self {
        Self { invites: views.iter().map(|view| Invite::of(view, None)).collect() }
    }
}

/// Somebody who waits to be let in, or to write to us, or waits no more.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_at: Option<String>,
}

impl<'a> Request<'a> {
    pub(super) fn of(view: &'a RequestView) -> Self {
        Self {
            kind: view.kind.name(),
            name: &view.name,
            peer_id: view.peer.map(|peer| peer.to_string()),
            state: view.state.name(),
            asked_at: view.asked_at.map(Wall::rfc3339),
        }
    }
}

/// The answer to a question for those who wait.
#[derive(Serialize)]
pub(super) struct Requests<'a> {
    requests: Vec<Request<'a>>,
}

impl<'a> Requests<'a> {
    pub(super) fn of(views: &'a [RequestView]) -> Self {
        Self { requests: views.iter().map(Request::of).collect() }
    }
}

impl Pen {
    pub(super) fn invites(
        &mut self,
        at: &str,
        views: &[InviteView],
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "invites", at, reference, data: Invites::of(views) }, out);
    }

    pub(super) fn request(
        &mut self,
        at: &str,
        view: &RequestView,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "request", at, reference, data: Request::of(view) }, out);
    }

    pub(super) fn requests(
        &mut self,
        at: &str,
        views: &[RequestView],
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "requests", at, reference, data: Requests::of(views) }, out);
    }

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
