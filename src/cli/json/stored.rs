//! Events about what is stored: what was found, what the control log changed, what a check says.
//! Owns: their field names and order.
//! Must not know: whether a process runs or only its store was asked.
//! Invariants: as in `events.rs`.
//! Start reading at: [`Audit`].

use serde::Serialize;

use super::events::Pen;
use super::line::line;
use super::shapes::Answered;
use crate::protocol::AuditView;
use crate::protocol::check::Report;

#[derive(Serialize)]
struct Found<'a> {
    /// None: all rooms.
    room: Option<&'a str>,
    words: &'a str,
    count: usize,
}

/// What the control log changed.
#[derive(Serialize)]
pub(super) struct Audit<'a> {
    changes: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Change<'a> {
    index: u64,
    stamp: String,
    what: &'static str,
    name: &'a str,
    peer_id: Option<String>,
    detail: &'a str,
    leader: Option<&'a str>,
    leader_peer_id: Option<String>,
    generation: u64,
    term: u64,
}

impl<'a> Audit<'a> {
    pub(super) fn of(records: &'a [AuditView]) -> Self {
        let change = |it: &'a AuditView| Change {
            index: it.index.0,
            stamp: it.at.rfc3339(),
            what: it.what,
            name: &it.name,
            peer_id: it.peer.map(|peer| peer.to_string()),
            detail: &it.detail,
            leader: it.leader_peer.map(|_| it.leader.as_str()),
            leader_peer_id: it.leader_peer.map(|peer| peer.to_string()),
            generation: it.generation,
            term: it.term,
        };
        Self { changes: records.iter().map(change).collect() }
    }
}

#[derive(Serialize)]
struct Verified<'a> {
    ok: bool,
    entries: u64,
    logs: u64,
    batches: u64,
    forks: u64,
    control: u64,
    committed: u64,
    void: u64,
    members: u64,
    fault_count: u64,
    faults: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct Fault<'a> {
    place: &'a str,
    what: &'a str,
}

impl<'a> Verified<'a> {
    fn of(report: &'a Report) -> Self {
        let fault =
            |it: &'a crate::protocol::check::Fault| Fault { place: &it.place, what: &it.what };
        Self {
            ok: report.is_sound(),
            entries: report.entries,
            logs: report.logs,
            batches: report.batches,
            forks: report.forks,
            control: report.control,
            committed: report.committed,
            void: report.void,
            members: report.members,
            fault_count: report.fault_count,
            faults: report.faults.iter().map(fault).collect(),
        }
    }
}

impl Pen {
    pub(super) fn found(
        &mut self,
        at: &str,
        (room, words): (Option<&str>, &str),
        count: usize,
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let data = Found { room, words, count };
        line(&Answered { event: "search", at, reference, data }, out);
    }

    pub(super) fn audit(
        &mut self,
        at: &str,
        records: &[AuditView],
        reference: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        line(&Answered { event: "audit", at, reference, data: Audit::of(records) }, out);
    }

    pub(super) fn verified(&mut self, at: &str, report: &Report, out: &mut Vec<u8>) {
        line(&Answered { event: "verified", at, reference: None, data: Verified::of(report) }, out);
    }
}
