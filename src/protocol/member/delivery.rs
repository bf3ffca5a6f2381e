//! Where a message has arrived: who holds it, who lacks it, and since when.
//! Owns: what counts as holding, and which message a few digits of an id mean.
//! Must not know: how it is shown.
//! Invariants: nobody is said to hold a message who did not say so, or write it; asking changes
//! nothing.
//! Start reading at: [`Member::on_delivery`].

use super::{Context, Member};
use crate::ids::{CommandId, Index, PeerId, RoomId};
use crate::limits::HISTORY_MAX;
use crate::protocol::ledger::Ledger;
use crate::protocol::{
    DeliveryState, DeliveryView, LackView, MessageId, MessagePlace, Notice, Reads, StoredEntry,
};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;
use crate::wire::sync::Head;

/// Digits of an id that name a message, at the least: enough for some tens of messages.
const ID_DIGITS_MIN: usize = 4;
const ID_DIGITS_MAX: usize = 32;
/// Entries of each room that are looked through where the index does not reach, the newest.
const LOOKED_MAX: usize = 20_000;
/// Entries that one beginning of an id finds: enough to say that it is ambiguous.
const CALLED_MAX: usize = 16;

/// The first and the last id that begin so.
fn between(digits: &str) -> Option<(MessageId, MessageId)> {
    let filled = |digit: &str| {
        let left = ID_DIGITS_MAX.saturating_sub(digits.len());
        MessageId::parse(&format!("{digits}{}", digit.repeat(left)))
    };
    filled("0").zip(filled("f"))
}

impl Member {
    pub(super) fn on_delivery(&mut self, command: CommandId, id: &str, cx: &mut Context<'_>) {
        self.keeping.forget_old(cx.now.wall);
        match self.delivery(id, cx.reads) {
            Ok(delivery) => cx.notice(Notice::Delivery { command, delivery: Box::new(delivery) }),
            Err(refused) => cx.fail(command, refused),
        }
    }

    /// Where the message has arrived whose id begins so.
    ///
    /// # Refusals
    /// [`Refusal::CommandBad`] for what is no id, [`Refusal::MessageUnknown`],
    /// [`Refusal::MessageAmbiguous`].
    pub fn delivery(&mut self, id: &str, reads: &dyn Reads) -> Result<DeliveryView, Refused> {
        let (entry, is_fork) = self.message_called(id, reads)?;
        Ok(self.delivery_of(&entry, is_fork, reads))
    }

    pub(super) fn on_deliveries(
        &mut self,
        command: CommandId,
        room: String,
        before: Option<MessagePlace>,
        last: usize,
        cx: &mut Context<'_>,
    ) {
        self.keeping.forget_old(cx.now.wall);
        match self.deliveries(&room, before, last, cx.reads) {
            Ok(deliveries) => cx.notice(Notice::Deliveries { command, room, deliveries }),
            Err(refused) => cx.fail(command, refused),
        }
    }

    /// Where one's own messages of a page have arrived, oldest first: from what is stored, so an
    /// earlier process counts, too.
    ///
    /// # Refusals
    /// As [`Member::earlier`].
    pub fn deliveries(
        &mut self,
        name: &str,
        before: Option<MessagePlace>,
        last: usize,
        reads: &dyn Reads,
    ) -> Result<Vec<DeliveryView>, Refused> {
        let last = last.clamp(1, HISTORY_MAX);
        let Some(reader) = self.room_called(name)? else { return Ok(Vec::new()) };
        let page = match before {
            None => reader.room.newest(last, reads),
            Some(before) => {
                let is_meant = |it: &StoredEntry| MessageId::of(&it.hash) == before.id;
                let entry = reader.room.entry_at((before.peer, before.seq), is_meant, reads);
                let unknown = || Refused::new(Refusal::MessageUnknown, before.id.to_string());
                reader.room.before(&entry.ok_or_else(unknown)?, last, reads)
            }
        };
        let own: Vec<_> = page.into_iter().filter(|(it, _)| it.log.author == self.me).collect();
        Ok(own.iter().map(|(entry, is_fork)| self.delivery_of(entry, *is_fork, reads)).collect())
    }

    /// The entry whose message's id begins so, and whether it is one of several at its place.
    ///
    /// # Refusals
    /// As [`Member::delivery`].
    pub(super) fn message_called(
        &self,
        id: &str,
        reads: &dyn Reads,
    ) -> Result<(StoredEntry, bool), Refused> {
        let digits = id.to_ascii_lowercase();
        let is_id = (ID_DIGITS_MIN..=ID_DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_id {
            let why = format!("an id is {ID_DIGITS_MIN} to {ID_DIGITS_MAX} hex digits");
            return Err(Refused::new(Refusal::CommandBad, why));
        }
        let mut found: Vec<(StoredEntry, bool)> = Vec::new();
        let indexed = between(&digits).and_then(|ids| reads.called(ids, CALLED_MAX));
        for (id, talk) in &self.talks.rooms {
            let room = &talk.room;
            let shown = match (&indexed, reads.unindexed(*id, LOOKED_MAX)) {
                (Some(indexed), Some(mut candidates)) => {
                    // So many would not be the newest of them.
                    if candidates.len() >= LOOKED_MAX {
                        candidates = reads.newest(*id, LOOKED_MAX);
                    }
                    candidates.extend(indexed.iter().filter(|it| it.log.room == *id).cloned());
                    let mut shown = room.shown(candidates, reads);
                    shown.extend(room.pending(reads).into_iter().map(|it| (it, false)));
                    shown
                }
                _ => room.newest(LOOKED_MAX, reads),
            };
            let is_meant =
                |it: &StoredEntry| MessageId::of(&it.hash).to_string().starts_with(&digits);
            found.extend(shown.into_iter().filter(|(it, _)| is_meant(it)));
        }
        // One may have been indexed while it was still looked through.
        found.sort_by_key(|(it, _)| it.hash);
        found.dedup_by_key(|(it, _)| it.hash);
        if found.len() > 1 {
            let ids = found.iter().take(3).map(|(it, _)| MessageId::of(&it.hash).to_string());
            let ids: Vec<String> = ids.collect();
            return Err(Refused::new(Refusal::MessageAmbiguous, ids.join(", ")));
        }
        found.pop().ok_or_else(|| Refused::new(Refusal::MessageUnknown, digits))
    }

    fn delivery_of(
        &mut self,
        entry: &StoredEntry,
        is_fork: bool,
        reads: &dyn Reads,
    ) -> DeliveryView {
        let room = entry.log.room;
        let sent_at = self.message_of(entry).map(|view| view.sent_at);
        let (mut to, mut lacks) = (Vec::new(), Vec::new());
        for peer in self.others_in(room, &entry.log.author) {
            if self.is_held(&peer, entry, is_fork, reads) {
                to.push(self.label(&peer));
            } else {
                // Nobody lacks what was said before it came.
                let since = sent_at.max(self.entered_at(room, &peer));
                lacks.push(LackView { name: self.label(&peer), since });
            }
        }
        let state = match (to.len(), lacks.len()) {
            (0, _) => DeliveryState::Queued,
            (_, 0) => DeliveryState::All,
            _ => DeliveryState::Delivered,
        };
        let kept_by = if lacks.is_empty() || is_fork {
            Vec::new()
        } else {
            self.keeping.kept_by(&entry.log, entry.seq)
        };
        DeliveryView {
            id: MessageId::of(&entry.hash),
            room: self.room_label(&room),
            from: self.label(&entry.log.author),
            peer: entry.log.author,
            seq: entry.seq,
            sent_at,
            state,
            to,
            lacks,
            kept_by: kept_by.iter().map(|peer| self.label(peer)).collect(),
        }
    }

    /// Those who are in the room now, without the author, in the order of their names.
    fn others_in(&self, room: RoomId, author: &PeerId) -> Vec<PeerId> {
        let roster = self.ledger.as_ref().map(Ledger::roster);
        let (Some(talk), Some(roster)) = (self.talks.rooms.get(&room), roster) else {
            return Vec::new();
        };
        let others = talk.state.members(roster).map(|(peer, _)| peer);
        let mut others: Vec<PeerId> = others.filter(|peer| peer != author).collect();
        others.sort_by_key(|peer| self.label(peer));
        others
    }

    /// Whether somebody is known to hold an entry: by what it acknowledged of our own logs, now or
    /// in an earlier process, and by what it told since it is linked of all others.
    fn is_held(
        &self,
        peer: &PeerId,
        entry: &StoredEntry,
        is_fork: bool,
        reads: &dyn Reads,
    ) -> bool {
        let Some(talk) = self.talks.rooms.get(&entry.log.room) else {
            return false;
        };
        if *peer == self.me {
            return true;
        }
        let told = talk.sync.told_by(peer, &entry.log);
        if is_fork {
            // The head of a forked log stands for all branches that are kept.
            return told.is_some_and(|(seq, hash)| {
                Head { log: entry.log, seq, hash } == talk.room.told(&entry.log)
            });
        }
        let acknowledged = || {
            let held = reads.held(entry.log);
            held.iter().any(|(by, upto)| by == peer && *upto >= entry.seq)
        };
        match told {
            Some((seq, hash)) if seq == entry.seq && hash == entry.hash => true,
            Some((seq, _)) if seq > entry.seq => true,
            _ => entry.log.author == self.me && acknowledged(),
        }
    }

    /// When somebody came into the room, by the leader's stamp.
    fn entered_at(&self, room: RoomId, peer: &PeerId) -> Option<Wall> {
        let ledger = self.ledger.as_ref()?;
        match self.talks.rooms.get(&room)?.state.since(peer, ledger.roster()) {
            Index(0) => Some(ledger.genesis().created_at),
            index => ledger.control().entry(index).map(|entry| entry.stamp),
        }
    }
}

impl DeliveryView {
    /// How many should have it: all in the room but its author.
    pub fn of(&self) -> usize {
        self.to.len().saturating_add(self.lacks.len())
    }
}
