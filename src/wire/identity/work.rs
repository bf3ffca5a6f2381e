//! Proof of work, as bytes and as a value.
//! Owns: its encoding.
//! Must not know: whether it is enough (`identity` checks).
//! Invariants: work has a counter for each of its parts.
//! Start reading at: [`Work`].

use crate::limits::WORK_PARTS;
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::pb;

/// Work done for a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// When it was begun, by the worker's clock.
    pub at: Wall,
    /// What was found for each part.
    pub counters: [u64; WORK_PARTS],
}

pub(super) fn work_out(work: &Work) -> pb::Work {
    pb::Work { at: work.at.0, counters: work.counters.to_vec() }
}

pub(super) fn work_in(work: pb::Work) -> Result<Work, Refusal> {
    let counters = work.counters.try_into().map_err(|_| Refusal::FieldBad)?;
    Ok(Work { at: Wall(work.at), counters })
}
