//! What has an end of its own is gone after it: neither shown, nor kept, nor passed on.
//! Owns: when what each node stores ends.
//! Must not know: how the cores come to it.
//! Invariants: by the clock of whoever has it; some seconds of patience for who was not awake.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::ids::{LogId, Seq};
use p2pgroup::protocol::{Notice, Reads, Write};
use p2pgroup::wire::frame::Body;
use p2pgroup::wire::sealed::{expires_at, is_deleted};
use p2pgroup::wire::sync::Sync;

use super::{Check, Seen};
use crate::world::World;

/// For one slow turn, and the steps before it.
const PATIENCE: u64 = 3_000;

#[derive(Default)]
pub struct Ended {
    /// By node what ends when.
    due: BTreeMap<usize, BTreeMap<u64, BTreeSet<(LogId, Seq)>>>,
}

impl Check for Ended {
    fn name(&self) -> &'static str {
        "ended_is_gone"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        match seen {
            Seen::Stored { node, writes } => {
                for write in *writes {
                    let (Write::Entry(entry) | Write::Received(entry) | Write::Pending(entry)) =
                        write
                    else {
                        continue;
                    };
                    if let Some(at) = expires_at(&entry.bytes).filter(|_| !is_deleted(&entry.bytes))
                    {
                        let due = self.due.entry(*node).or_default().entry(at.0).or_default();
                        due.insert((entry.log, entry.seq));
                    }
                }
            }
            Seen::Started { node } => {
                // What a crash took away is noted again when it comes again; an older copy, too.
                let mut due: BTreeMap<u64, BTreeSet<(LogId, Seq)>> = BTreeMap::new();
                let disk = &world.nodes[*node].disk;
                let pending = disk.all_pending().values();
                for entry in disk.all_entries().values().chain(pending).flat_map(|it| it.values()) {
                    if let Some(at) = expires_at(&entry.bytes).filter(|_| !is_deleted(&entry.bytes))
                    {
                        due.entry(at.0).or_default().insert((entry.log, entry.seq));
                    }
                }
                self.due.insert(*node, due);
            }
            Seen::Told { node, notice: Notice::Message(message) } => {
                let it = &world.nodes[*node];
                if message.expires_at.is_some_and(|at| at.0 + PATIENCE < it.wall(world.now).0) {
                    return Err(format!("{} shows {}, which has ended", it.label, message.id));
                }
            }
            Seen::Sent { node, body: Body::Sync(Sync::Entries(page)), .. } => {
                let it = &world.nodes[*node];
                let now = it.wall(world.now).0;
                let has_ended = |bytes| expires_at(bytes).is_some_and(|at| at.0 + PATIENCE < now);
                if page.envelopes.iter().any(|it| has_ended(it) && !is_deleted(it)) {
                    return Err(format!("{} passes on what has ended", it.label));
                }
            }
            Seen::Turned { node } => {
                let it = &world.nodes[*node];
                let Some(due) = self.due.get_mut(node) else { return Ok(()) };
                let is_settled = world.now > it.awake_since() + PATIENCE;
                let now = it.wall(world.now).0;
                while let Some(first) = due.first_entry()
                    && is_settled
                    && first.key() + PATIENCE < now
                {
                    for (log, seq) in first.remove() {
                        let pending = it.disk.pending(log.room).into_iter();
                        let held = it.disk.entries(log, seq, 1).into_iter().chain(pending);
                        let mut held = held.filter(|it| it.log == log && it.seq == seq);
                        if held.any(|entry| !is_deleted(&entry.bytes)) {
                            let label = &it.label;
                            return Err(format!("{label} keeps {seq} of a log, which has ended"));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
