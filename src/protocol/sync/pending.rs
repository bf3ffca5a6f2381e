//! What linked members have beyond gaps: it is not sent to them again.
//! Owns: where a page for such a member ends, and which end of our own log is sent ahead.
//! Must not know: how the other side keeps it.
//! Invariants: it counts as held by nobody; who asks for it in spite of it is sent it.
//! Start reading at: [`Sync::on_pending`].

use super::{Frame, NEWEST_ASKED, NEWEST_COUNT, Sync};
use crate::ids::{LogId, PeerId, Seq};
use crate::protocol::{Reads, StoredEntry};
use crate::wire::sync::Span;

/// A page ends before what its reader has, if what is before that can be proved without it.
pub fn end(entries: &mut Vec<StoredEntry>, end: Option<Seq>) {
    let Some(end) = end else { return };
    if entries.iter().any(|it| it.seq < end && it.signature.is_some()) {
        entries.retain(|it| it.seq < end);
    }
}

impl Sync {
    /// A member said what it has beyond gaps: all of it.
    pub fn on_pending(&mut self, from: &PeerId, spans: &[Span]) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.pending = spans.iter().map(|it| (it.log, (it.first, it.last))).collect();
        }
    }

    /// Where a page from this entry on ends for a member. Who asks for what it said to have lost
    /// it.
    pub fn end_before(&self, to: &PeerId, log: &LogId, from: Seq) -> Option<Seq> {
        let (first, _) = self.peers.get(to)?.pending.get(log)?;
        (from < *first).then_some(*first)
    }

    /// How much of our log was sent to a member, what it has taken for sent, and how much it
    /// acknowledged.
    pub(super) fn next_for(&mut self, to: &PeerId, own_head: Seq) -> Option<(Seq, Seq)> {
        let own = self.own;
        let peer = self.peers.get_mut(to)?;
        if let Some((first, last)) = peer.pending.get(&own)
            && peer.sent.next() >= *first
            && peer.sent < *last
            && *last <= own_head
        {
            peer.sent = *last;
        }
        Some((peer.sent, peer.acked))
    }

    /// The end of our log, for who lacks much before it and has not got it yet.
    pub(super) fn take_newest(
        &mut self,
        to: &PeerId,
        own_head: Seq,
        reads: &dyn Reads,
    ) -> Option<Frame> {
        let own = self.own;
        let peer = self.peers.get_mut(to)?;
        if !std::mem::take(&mut peer.is_newest_due) {
            return None;
        }
        let after = match peer.pending.get(&own) {
            Some((_, last)) if *last >= own_head => return None,
            Some((_, last)) if own_head.0.saturating_sub(last.0) <= NEWEST_COUNT => *last,
            _ => Seq(own_head.0.saturating_sub(NEWEST_ASKED)),
        };
        self.own_page(after, None, reads).map(|(_, frame)| frame)
    }
}
