//! Whether all who are linked hold the same: heads against heads, room by room.
//! Owns: what counts as the same, as missing, as different.
//! Must not know: how it is shown.
//! Invariants: asking changes nothing; only what a member itself told since it is linked counts.
//! Start reading at: [`Member::compare_heads`].

use super::{Context, Member};
use crate::ids::{CommandId, LogId, PeerId, Seq};
use crate::protocol::ledger::Ledger;
use crate::protocol::{CompareView, ComparedMember, ComparedRoom, Notice, Reads, SpanView};
use crate::wire::sync::Head;

impl Member {
    pub(super) fn on_compare(&self, command: CommandId, cx: &mut Context<'_>) {
        let compared = Box::new(self.compare_heads(cx.reads));
        cx.notice(Notice::Compared { command, compared });
    }

    /// Compares the heads of all rooms with those that linked members told.
    pub fn compare_heads(&self, reads: &dyn Reads) -> CompareView {
        let mut view = CompareView::default();
        let roster = self.ledger.as_ref().map(Ledger::roster);
        for (id, talk) in &self.talks.rooms {
            let ours = talk.room.vector();
            let entries: u64 = ours.iter().map(|head| head.seq.0).sum();
            view.entries = view.entries.saturating_add(entries);
            view.logs = view.logs.saturating_add(ours.len());
            let mut room = ComparedRoom { room: self.room_label(id), entries, with: Vec::new() };
            let Some(roster) = roster else { continue };
            let others = talk.state.members(roster).map(|(peer, _)| peer);
            for peer in others.filter(|peer| *peer != self.me) {
                if !talk.sync.is_linked(&peer) {
                    view.unlinked.push(self.label(&peer));
                    continue;
                }
                let theirs = talk.sync.told_all(&peer);
                room.with.push(self.compared(&peer, &ours, &theirs, reads));
            }
            view.rooms.push(room);
        }
        view.unlinked.sort();
        view.unlinked.dedup();
        view
    }

    fn compared(
        &self,
        peer: &PeerId,
        ours: &[Head],
        theirs: &[Head],
        reads: &dyn Reads,
    ) -> ComparedMember {
        let mut with = ComparedMember { name: self.label(peer), ..ComparedMember::default() };
        let span = |log: &LogId, first: Seq, last: Seq| SpanView {
            from: self.label(&log.author),
            incarnation: log.incarnation,
            first,
            last,
        };
        for head in ours {
            let there = theirs.iter().find(|it| it.log == head.log);
            let (seq, hash) = there.map_or((Seq(0), None), |it| (it.seq, Some(it.hash)));
            if seq < head.seq {
                with.lacks.push(span(&head.log, Seq(seq.0.saturating_add(1)), head.seq));
            }
            if seq > head.seq {
                with.ahead.push(span(&head.log, Seq(head.seq.0.saturating_add(1)), seq));
                continue;
            }
            // What it holds of the log must be what is held here.
            let here = match seq {
                Seq(0) => None,
                seq if seq == head.seq => Some(head.hash),
                seq => reads.entries(head.log, seq, 1).first().map(|entry| entry.hash),
            };
            if here.is_some() && here != hash {
                with.differs.push(span(&head.log, seq, seq));
            }
        }
        for head in theirs.iter().filter(|head| head.seq > Seq(0)) {
            if !ours.iter().any(|it| it.log == head.log) {
                with.ahead.push(span(&head.log, Seq(1), head.seq));
            }
        }
        with
    }
}
