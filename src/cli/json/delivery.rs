//! Where a message has arrived, in JSON.
//! Owns: the field names and their order.
//! Must not know: how it is known.
//! Invariants: none.
//! Start reading at: [`DeliveryData`].

use serde::Serialize;

use super::line::line;
use super::shapes::Answered;
use crate::protocol::DeliveryView;
use crate::time::Wall;

/// Who holds a message, and who lacks it.
#[derive(Serialize)]
pub(super) struct DeliveryData<'a> {
    id: String,
    room: &'a str,
    from: &'a str,
    peer_id: String,
    seq: u64,
    sent_at: Option<String>,
    state: &'static str,
    of: usize,
    to: &'a [String],
    lacks: Vec<LackData<'a>>,
    kept_by: &'a [String],
}

#[derive(Serialize)]
struct LackData<'a> {
    name: &'a str,
    since: Option<String>,
}

impl<'a> DeliveryData<'a> {
    pub(super) fn of(view: &'a DeliveryView) -> Self {
        let lacks = view.lacks.iter();
        Self {
            id: view.id.to_string(),
            room: &view.room,
            from: &view.from,
            peer_id: view.peer.to_string(),
            seq: view.seq.0,
            sent_at: view.sent_at.map(Wall::rfc3339),
            state: view.state.name(),
            of: view.of(),
            to: &view.to,
            lacks: lacks
                .map(|it| LackData { name: &it.name, since: it.since.map(Wall::rfc3339) })
                .collect(),
            kept_by: &view.kept_by,
        }
    }
}

#[derive(Serialize)]
struct Deliveries<'a> {
    room: &'a str,
    messages: Vec<DeliveryData<'a>>,
}

/// Where one's own messages of a page have arrived.
pub(super) fn write_all(
    at: &str,
    room: &str,
    views: &[DeliveryView],
    reference: Option<&str>,
    out: &mut Vec<u8>,
) {
    let messages = views.iter().map(DeliveryData::of).collect();
    let data = Deliveries { room, messages };
    line(&Answered { event: "deliveries", at, reference, data }, out);
}

pub(super) fn write(at: &str, view: &DeliveryView, reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "delivery", at, reference, data: DeliveryData::of(view) }, out);
}
