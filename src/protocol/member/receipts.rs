//! The receipt of a removal: who holds keys without the one who was put out, who does not yet, and
//! what was the last that it could read.
//! Owns: the receipts, and when people are told of them.
//! Must not know: how keys are agreed on, who may remove whom.
//! Invariants: a member counts as done when it told, over its own link, that it holds an epoch
//! whose leaves are without the removed one; who is away stays pending until it is back, restarts
//! included.
//! Start reading at: [`Member::go_on_with_receipts`].

use std::collections::{BTreeMap, BTreeSet};

use super::talks::Talk;
use super::{Context, Member};
use crate::ids::{CommandId, GroupId, Index, KeyId, PeerId, RoomId, Seq};
use crate::protocol::ledger::Ledger;
use crate::protocol::{Notice, Reads, ReceiptView, Write};
use crate::time::{Millis, Mono};
use crate::wire::order::Receipt;
use crate::wire::sealed::Sealed;

/// Under which receipts are stored.
const RECEIPTS: &str = "receipt/";
/// Receipts kept; of more the oldest goes.
const RECEIPTS_MAX: usize = 256;
/// Entries looked through for the last one that was readable.
const LOOK_BACK: usize = 2_000;
/// How long a receipt waits for the key of an entry: whoever has it tells whether the removed one could
/// have it. After that the entry counts as readable.
const KEYS_WITHIN: Millis = Millis(3_000);

/// From what somebody tells of its epoch until the receipts are looked at.
const LOOK_PAUSE: Millis = Millis(50);

/// The receipts of a member.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    all: BTreeMap<(Index, PeerId), Slip>,
    /// Something changed that may bring one further.
    pub(super) is_stale: bool,
    /// When to look again, whatever happens.
    look_at: Option<Mono>,
}

/// A receipt, and what of it is in memory alone.
#[derive(Debug)]
struct Slip {
    kept: Receipt,
    /// By room the first epoch seen without the removed one.
    clean: BTreeMap<RoomId, (GroupId, u64)>,
    /// How many were done when it was told last.
    told: Option<usize>,
    /// Until when it waits for keys before it is whole.
    keys_by: Option<Mono>,
}

impl Receipts {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let stored = reads.settings(RECEIPTS).into_iter();
        let kept = stored.filter_map(|(_, bytes)| Receipt::decode(&bytes).ok());
        let slip = |kept: Receipt| Slip { kept, clean: BTreeMap::new(), told: None, keys_by: None };
        let all = kept.map(|kept| ((kept.index, kept.peer), slip(kept))).collect();
        Self { all, is_stale: true, look_at: None }
    }

    /// Somebody told of its epoch: what several tell at once, or one again and again, is one look.
    pub(super) fn look_soon(&mut self, now: Mono) {
        let soon = now.after(LOOK_PAUSE);
        self.look_at = Some(self.look_at.map_or(soon, |at| at.min(soon)));
    }
}

fn key_of(receipt: &Receipt) -> String {
    let peer: String = receipt.peer.to_string();
    format!("{RECEIPTS}{:020}/{peer}", receipt.index.0)
}

fn store(receipt: &Receipt) -> Write {
    Write::Setting { key: key_of(receipt), value: Some(receipt.encode()) }
}

impl Member {
    /// Somebody was put out of a room, or of the network.
    pub(super) fn begin_receipt(
        &mut self,
        peer: PeerId,
        room: Option<RoomId>,
        index: Index,
        cx: &mut Context<'_>,
    ) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        // What was before us is not ours to attest.
        let was_here = ledger.roster().member(&self.me).is_some_and(|it| it.was_in(index));
        let stamp = ledger.control().entry(index).map(|entry| entry.stamp);
        let (Some(at), true) = (stamp, was_here && peer != self.me) else {
            return;
        };
        let kept = Receipt { peer, room, index, at, done_at: None, last: Vec::new() };
        cx.actions.writes.push(store(&kept));
        let slip = Slip { kept, clean: BTreeMap::new(), told: None, keys_by: None };
        self.receipts.all.insert((index, peer), slip);
        self.receipts.is_stale = true;
        while self.receipts.all.len() > RECEIPTS_MAX {
            if let Some((_, oldest)) = self.receipts.all.pop_first() {
                let key = key_of(&oldest.kept);
                cx.actions.writes.push(Write::Setting { key, value: None });
            }
        }
    }

    /// Whether a receipt waits for somebody to say, over its own link, which epoch it holds.
    pub(super) fn receipts_wait_for(&self, room: RoomId, who: &PeerId) -> bool {
        let Some(talk) = self.talks.rooms.get(&room) else { return false };
        self.receipts.all.values().filter(|slip| slip.kept.done_at.is_none()).any(|slip| {
            let is_concerned = slip.kept.room.is_none_or(|of| of == room);
            let clean = slip.clean.get(&room);
            let holds = clean
                .zip(talk.epochs.get(who))
                .is_some_and(|((first, epoch), theirs)| theirs.0 != *first || theirs.1 >= *epoch);
            is_concerned && clean.is_some() && !holds
        })
    }

    /// Looks how far the receipts have come, and tells what is new.
    pub(super) fn go_on_with_receipts(&mut self, cx: &mut Context<'_>) {
        let is_time = self.receipts.look_at.is_some_and(|at| at <= cx.now.mono);
        // Before that nothing is told, and what came is looked at then.
        if (self.receipts.is_stale || is_time) && self.joining.is_announced() {
            (self.receipts.is_stale, self.receipts.look_at) = (false, None);
            self.look_at_receipts(cx);
        }
        cx.actions.wake_by(self.receipts.look_at);
    }

    fn look_at_receipts(&mut self, cx: &mut Context<'_>) {
        let open: Vec<(Index, PeerId)> = self
            .receipts
            .all
            .iter()
            .filter(|(_, slip)| slip.kept.done_at.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in open {
            self.look_at_receipt(key, cx);
        }
    }

    fn look_at_receipt(&mut self, key: (Index, PeerId), cx: &mut Context<'_>) {
        let (Some(ledger), Some(slip)) = (&self.ledger, self.receipts.all.get_mut(&key)) else {
            return;
        };
        let (roster, peer) = (ledger.roster(), slip.kept.peer);
        let is_concerned = |talk: &&Talk| match slip.kept.room {
            Some(room) => talk.state.room() == room,
            None => talk.state.has_seat(&peer),
        };
        let talks: Vec<&Talk> = self.talks.rooms.values().filter(is_concerned).collect();
        let (mut all, mut pending) = (BTreeSet::new(), BTreeSet::new());
        let (mut last, mut is_sure) = (Vec::new(), true);
        for talk in &talks {
            let room = talk.state.room();
            let group = talk.keys.group();
            let clean = group.filter(|it| it.leaves().iter().all(|leaf| leaf.peer != peer));
            if let Some(group) = clean {
                slip.clean.entry(room).or_insert((group.group(), group.epoch()));
            }
            let holds = |who: &PeerId| match (clean, slip.clean.get(&room)) {
                (Some(_), _) if *who == self.me => true,
                (Some(group), Some((first, epoch))) => {
                    talk.epochs.get(who).is_some_and(|(theirs, at)| {
                        *theirs == group.group() && (theirs != first || at >= epoch)
                    })
                }
                _ => false,
            };
            for (who, _) in talk.state.members(roster) {
                all.insert(who);
                let is_away = who != self.me && !talk.sync.is_linked(&who);
                if !(holds(&who) || is_away && self.setup.mistakes.hasty_receipts) {
                    pending.insert(who);
                }
            }
            if let Some((key, entry)) = last_readable(talk, slip.kept.index, cx.reads) {
                is_sure &= !talk.keys.waiting.contains_key(&key);
                last.push(entry);
            }
        }
        let done = all.len().saturating_sub(pending.len());
        if slip.told == Some(done) || talks.is_empty() {
            return;
        }
        if pending.is_empty() && !is_sure {
            let by = *slip.keys_by.get_or_insert(cx.now.mono.after(KEYS_WITHIN));
            if cx.now.mono < by {
                let earlier = self.receipts.look_at.map_or(by, |at| at.min(by));
                self.receipts.look_at = Some(earlier);
                return;
            }
        }
        slip.told = Some(done);
        slip.kept.last = last;
        if pending.is_empty() {
            slip.kept.done_at = Some(cx.now.wall);
        }
        cx.actions.writes.push(store(&slip.kept));
        let kept = slip.kept.clone();
        let view = self.receipt_view(&kept, all.len(), &pending);
        cx.notice(Notice::Receipt(view));
    }

    fn receipt_view(&self, kept: &Receipt, of: usize, pending: &BTreeSet<PeerId>) -> ReceiptView {
        let last = kept
            .last
            .iter()
            .map(|(room, author, seq)| (self.room_label(room), self.label(author), *seq));
        ReceiptView {
            kind: if kept.room.is_some() { "kicked" } else { "removed" },
            name: self.label(&kept.peer),
            room: kept.room.map(|room| self.room_label(&room)),
            at: kept.at,
            done: of.saturating_sub(pending.len()),
            of,
            pending: pending.iter().map(|peer| self.label(peer)).collect(),
            done_at: kept.done_at,
            last_readable: last.collect(),
        }
    }

    /// All receipts, the oldest first.
    pub(super) fn on_receipts(&mut self, command: CommandId, cx: &mut Context<'_>) {
        let roster = self.ledger.as_ref().map(Ledger::roster);
        let mut views = Vec::new();
        for slip in self.receipts.all.values() {
            let kept = &slip.kept;
            let rooms = self.talks.rooms.values().filter(|talk| match kept.room {
                Some(room) => talk.state.room() == room,
                None => talk.state.has_seat(&kept.peer),
            });
            let members = |talk: &Talk| -> Vec<PeerId> {
                let seated = roster.map(|roster| talk.state.members(roster).map(|(who, _)| who));
                seated.map(Iterator::collect).unwrap_or_default()
            };
            let all: BTreeSet<PeerId> = rooms.flat_map(members).collect();
            let count = if kept.done_at.is_some() { all.len() } else { slip.told.unwrap_or(0) };
            // Who is missing is told by the event; here it is how many.
            let mut view = self.receipt_view(kept, all.len(), &BTreeSet::new());
            view.done = count;
            views.push(view);
        }
        cx.notice(Notice::Receipts { command, receipts: views });
    }
}

/// The newest entry under a key from before the removal, which the removed one may hold, and that key.
/// Of a key that is not here nobody said yet how old it is.
fn last_readable(
    talk: &Talk,
    index: Index,
    reads: &dyn Reads,
) -> Option<(KeyId, (RoomId, PeerId, Seq))> {
    let newest = talk.room.newest(LOOK_BACK, reads);
    newest.iter().rev().find_map(|(entry, _)| {
        let key = Sealed::decode(&entry.bytes).ok()?.header.key_id;
        let is_old = talk.keys.since(&key).is_none_or(|since| since < index);
        is_old.then_some((key, (entry.log.room, entry.log.author, entry.seq)))
    })
}
