//! Who is linked with whom, in JSON.
//! Owns: the names of these fields.
//! Must not know: who was asked.
//! Invariants: as in `events.rs`.
//! Start reading at: [`Links`].

use serde::Serialize;

use super::data::{Link, millis};
use super::line::line;
use super::shapes::Answered;
use crate::protocol::{ClockView, LinksView, SeenView, ToldLink};

#[derive(Serialize)]
pub(super) struct Links<'a> {
    links: Vec<Link<'a>>,
    others: Vec<Other<'a>>,
    untold: &'a [String],
}

#[derive(Serialize)]
struct Other<'a> {
    from: &'a str,
    name: &'a str,
    direct: bool,
    rtt_ms: Option<f64>,
    told_by: &'a [String],
}

impl<'a> Other<'a> {
    fn of(told: &'a ToldLink) -> Self {
        let [from, name] = &told.between;
        Self {
            from,
            name,
            direct: !told.is_relayed,
            rtt_ms: told.rtt_micros.map(millis),
            told_by: &told.told_by,
        }
    }
}

impl<'a> Links<'a> {
    pub(super) fn of(view: &'a LinksView) -> Self {
        Self {
            links: view.own.iter().map(Link::of).collect(),
            others: view.others.iter().map(Other::of).collect(),
            untold: &view.untold,
        }
    }
}

/// At which address somebody sees this machine.
#[derive(Serialize)]
pub(super) struct Seen<'a> {
    by: &'a str,
    address: &'a str,
    dialled: bool,
}

impl<'a> Seen<'a> {
    pub(super) fn of(view: &'a SeenView) -> Self {
        Self { by: &view.by, address: &view.seen.address, dialled: view.seen.is_outbound }
    }
}

/// Where somebody else's clock stands.
#[derive(Serialize)]
pub(super) struct Clock<'a> {
    name: &'a str,
    ahead_ms: i64,
}

impl<'a> Clock<'a> {
    pub(super) fn of(view: &'a ClockView) -> Self {
        Self { name: &view.name, ahead_ms: view.ahead }
    }
}

/// The answer to `links`.
pub(super) fn write(at: &str, view: &LinksView, reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "links", at, reference, data: Links::of(view) }, out);
}
