//! Whether all hold the same, in JSON.
//! Owns: the names of these fields.
//! Must not know: how it was compared.
//! Invariants: as in `events.rs`.
//! Start reading at: [`Compared`].

use serde::Serialize;

use super::line::line;
use super::shapes::Answered;
use crate::protocol::{CompareView, ComparedMember, SpanView};

#[derive(Serialize)]
pub(super) struct Compared<'a> {
    ok: bool,
    entries: u64,
    logs: usize,
    rooms: Vec<Room<'a>>,
    unlinked: &'a [String],
}

#[derive(Serialize)]
struct Room<'a> {
    room: &'a str,
    entries: u64,
    with: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    name: &'a str,
    same: bool,
    lacks: Vec<Span<'a>>,
    ahead: Vec<Span<'a>>,
    differs: Vec<Span<'a>>,
}

#[derive(Serialize)]
struct Span<'a> {
    from: &'a str,
    incarnation: String,
    first: u64,
    last: u64,
}

impl<'a> Span<'a> {
    fn of(view: &'a SpanView) -> Self {
        Self {
            from: &view.from,
            incarnation: view.incarnation.to_string(),
            first: view.first.0,
            last: view.last.0,
        }
    }
}

fn spans(spans: &[SpanView]) -> Vec<Span<'_>> {
    spans.iter().map(Span::of).collect()
}

impl<'a> Compared<'a> {
    pub(super) fn of(view: &'a CompareView) -> Self {
        let member = |it: &'a ComparedMember| Member {
            name: &it.name,
            same: it.is_same(),
            lacks: spans(&it.lacks),
            ahead: spans(&it.ahead),
            differs: spans(&it.differs),
        };
        let rooms = view.rooms.iter().map(|it| Room {
            room: &it.room,
            entries: it.entries,
            with: it.with.iter().map(member).collect(),
        });
        Self {
            ok: view.is_same(),
            entries: view.entries,
            logs: view.logs,
            rooms: rooms.collect(),
            unlinked: &view.unlinked,
        }
    }
}

/// The answer to `compare`.
pub(super) fn write(at: &str, view: &CompareView, reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "compared", at, reference, data: Compared::of(view) }, out);
}
