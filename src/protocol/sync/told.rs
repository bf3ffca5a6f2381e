//! What linked members said: questions that change nothing.
//! Owns: how others see what each of them holds.
//! Must not know: what follows from it.
//! Invariants: nothing here changes anything.
//! Start reading at: [`Sync::told_by`].

use std::collections::BTreeMap;

use super::{Peer, Sync};
use crate::ids::{Hash, LogId, PeerId, Seq};
use crate::wire::sync::Head;

impl Sync {
    /// Whether a member is linked.
    pub fn is_linked(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// What a linked member said to hold of a log.
    pub fn told_by(&self, peer: &PeerId, log: &LogId) -> Option<(Seq, Hash)> {
        self.peers.get(peer)?.held.get(log).copied()
    }

    /// Whether somebody else who is linked said to hold more of a log than this.
    pub fn others_have(&self, but: &PeerId, log: &LogId, ours: Seq) -> bool {
        let has_more = |peer: &Peer| peer.held.get(log).is_some_and(|(seq, _)| *seq > ours);
        self.peers.iter().any(|(id, peer)| id != but && has_more(peer))
    }

    /// How many entries linked members said to hold beyond our heads; `head` as in [`Sync::wants`].
    pub fn behind(&self, head: impl Fn(&LogId) -> Option<(Seq, Hash)>) -> u64 {
        let mut most: BTreeMap<&LogId, Seq> = BTreeMap::new();
        for (log, (seq, _)) in self.peers.values().flat_map(|peer| &peer.held) {
            if *log != self.own {
                let known = most.entry(log).or_default();
                *known = (*known).max(*seq);
            }
        }
        let lacks = |(log, theirs): (&LogId, Seq)| Some(theirs.0.saturating_sub(head(log)?.0.0));
        most.into_iter().filter_map(lacks).fold(0, u64::saturating_add)
    }

    /// All that a linked member said to hold.
    pub fn told_all(&self, peer: &PeerId) -> Vec<Head> {
        let held = self.peers.get(peer).map(|peer| peer.held.iter());
        let head =
            |(log, (seq, hash)): (&LogId, &(Seq, Hash))| Head { log: *log, seq: *seq, hash: *hash };
        held.into_iter().flatten().map(head).collect()
    }

    /// The linked members, in the order of their peer ids.
    pub fn linked(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// Linked members that have not yet said what they hold.
    pub fn awaits_vectors(&self) -> bool {
        self.peers.values().any(|peer| !peer.is_ready)
    }
}
