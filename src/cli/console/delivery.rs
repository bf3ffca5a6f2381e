//! Where a message has arrived, for a person.
//! Owns: its lines.
//! Must not know: how it is known.
//! Invariants: names of others are harmless here.
//! Start reading at: [`lines`].

use super::Clock;
use crate::protocol::{DeliveryState, DeliveryView};
use crate::text::one_line;
use crate::time::Wall;

/// Which message, how far it has come, and who lacks it.
pub(super) fn lines(view: &DeliveryView, clock: Clock) -> Vec<String> {
    let moment = |wall: Option<Wall>| match wall.and_then(|wall| clock.at(wall)) {
        Some(at) => {
            let (hour, minute, second) = (at.hour(), at.minute(), at.second());
            format!("{} {hour:02}:{minute:02}:{second:02}", at.date())
        }
        None => "an unknown time".to_owned(),
    };
    let (room, from) = (one_line(&view.room), one_line(&view.from));
    let sent = moment(view.sent_at);
    let mut lines = vec![format!("{}: {} of {from} in {room}, {sent}", view.id, view.seq)];
    let to: Vec<String> = view.to.iter().map(|name| one_line(name)).collect();
    lines.push(match (view.state, view.of()) {
        (_, 0) => "nobody else is in the room".to_owned(),
        (DeliveryState::Queued, of) => format!("queued: none of {of} is known to have it"),
        (_, of) => format!("delivered {} of {of}: {}", to.len(), to.join(", ")),
    });
    if !view.kept_by.is_empty() {
        let by: Vec<String> = view.kept_by.iter().map(|name| one_line(name)).collect();
        lines.push(format!("kept by {}", by.join(", ")));
    }
    for lack in &view.lacks {
        lines.push(format!("{} lacks it since {}", one_line(&lack.name), moment(lack.since)));
    }
    lines
}
