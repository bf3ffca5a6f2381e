//! What is asked of the stored talk and the control log: audit, the whole of a room; and the index
//! that makes a search quick.
//! Owns: when words are handed to the index, and what an audit says.
//! Must not know: how the index is kept, how answers are shown.
//! Invariants: every text comes from `Room::view`, opened by the keyring; what cannot be opened is
//! no message, and its words follow when its key does; indexing waits for quiet and goes in bounded
//! steps.
//! Start reading at: [`Reader`] and [`Member::go_on_indexing`].

use super::ignoring::Ignoring;
use super::rooms::MAIN;
use super::{Context, Member};
use crate::ids::{CommandId, Index, LogId, PeerId, RoomId, Seq};
use crate::protocol::control::{Payload, VoterSet};
use crate::protocol::ledger::{Ledger, witness_of};
use crate::protocol::room::Room;
use crate::protocol::room::keys::keyring::{Keyring, Opened};
use crate::protocol::roster::{Change, Ordered, Roster};
use crate::protocol::{
    About, AuditView, MessageView, Notice, Reads, SinceView, StoredEntry, Write, search,
};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono, Wall};
use crate::wire::order::{Order, RoomOrder};
use crate::wire::sealed::{Body, Sealed};

/// Entries indexed in one step, and bytes of them, whichever comes first.
const STEP_ENTRIES: usize = 128;
const STEP_BYTES: usize = 64 << 10;
/// Indexing begins when nothing was said for so long …
const QUIET: Millis = Millis(2_000);
/// … or after so long at the latest.
const LATEST: Millis = Millis(30_000);
/// Between two steps.
const PAUSE: Millis = Millis(25);

fn keeps_index(room: &Room, reads: &dyn Reads) -> bool {
    reads.lacking(room.id(), 0).is_some()
}

/// When the next step is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Indexing {
    due: Option<Mono>,
    latest: Option<Mono>,
}

/// A room with what opens and names its entries.
pub(super) struct Reader<'a> {
    label: String,
    pub(super) room: &'a Room,
    ring: &'a mut Keyring,
    roster: Option<&'a Roster>,
    ignoring: &'a Ignoring,
    now: Wall,
}

impl Reader<'_> {
    /// What cannot be opened, or not yet, is no message.
    pub(super) fn shown(&mut self, entry: &StoredEntry, is_fork: bool) -> Option<MessageView> {
        let sealed = Sealed::decode(&entry.bytes).ok()?;
        if sealed.header.expires_at.is_some_and(|at| at <= self.now) {
            return None;
        }
        let Opened::Plain(says) = self.ring.open(&sealed) else { return None };
        let author = &entry.log.author;
        let name = self.roster.map_or_else(|| author.short(), |roster| roster.name_of(author));
        let is_ignored = self.ignoring.is_ignored(author);
        let view = self.room.view(entry, says, (&self.label, name));
        Some(MessageView { is_fork, is_ignored, ..view })
    }

    /// Entries of a room in its order as messages, and where something is missing between them.
    pub(super) fn views(
        &mut self,
        entries: &[(StoredEntry, bool)],
        reads: &dyn Reads,
    ) -> Vec<MessageView> {
        let mut gaps = self.room.gaps(reads);
        // What lies before the first of them is not between them.
        let is_here =
            |log: &LogId, at: Seq| entries.iter().any(|(it, _)| it.log == *log && it.seq == at);
        gaps.retain(|log, gap| is_here(log, gap.before));
        let view = |(entry, is_fork): &(StoredEntry, bool)| {
            let mut view = self.shown(entry, *is_fork)?;
            if gaps.get(&entry.log).is_some_and(|gap| entry.seq >= gap.before) {
                view.missing = gaps.remove(&entry.log).map_or(0, |gap| gap.missing);
            }
            Some(view)
        };
        entries.iter().filter_map(view).collect()
    }

    /// Whether one of these entries, that follow it in its log, deletes a message.
    pub(super) fn is_deleted(&mut self, view: &MessageView, later: &[StoredEntry]) -> bool {
        let of = if let About::Edit(of) = view.about { of } else { view.id };
        let mut abouts = later.iter().filter_map(|entry| Some(self.shown(entry, false)?.about));
        abouts.any(|about| about == About::Deletion(of))
    }

    /// The words of an entry; none if it cannot be opened.
    fn words(&mut self, entry: &StoredEntry, is_late: bool) -> Write {
        let view = self.shown(entry, false);
        let view = view.filter(|view| view.about.is_said());
        let words = view.map(|view| search::tokens(&view.text).join(" ")).unwrap_or_default();
        let (log, seq, lamport) = (entry.log, entry.seq, entry.lamport);
        Write::Words { log, seq, lamport, words, is_late }
    }
}

impl Member {
    /// A room by its name; `None` before there is a network.
    pub(super) fn room_called(&mut self, name: &str) -> Result<Option<Reader<'_>>, Refused> {
        let room = self.room_named(name)?;
        if !self.talks.rooms.is_empty() && !self.talks.rooms.contains_key(&room) {
            return Err(Refused::new(Refusal::NotInRoom, name));
        }
        if self.stranger_in(&room).is_some() {
            return Err(Refused::new(Refusal::RequestWaiting, name));
        }
        Ok(self.reader(room))
    }

    /// `None` also while somebody waits there for our yes.
    pub(super) fn reader(&mut self, room: RoomId) -> Option<Reader<'_>> {
        if self.stranger_in(&room).is_some() {
            return None;
        }
        let label = self.room_label(&room);
        let roster = self.ledger.as_ref().map(Ledger::roster);
        let now = self.clock;
        let (room, ring) = self.talks.rooms.get_mut(&room)?.opened();
        let ignoring = &self.ignoring;
        Some(Reader { label, room, ring, roster, ignoring, now })
    }

    /// An entry as a message; `None` if it cannot be opened.
    pub(super) fn message_of(&mut self, entry: &StoredEntry) -> Option<MessageView> {
        self.reader(entry.log.room)?.shown(entry, false)
    }

    /// The newest messages of a room, oldest first.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`].
    pub fn history(
        &mut self,
        name: &str,
        last: usize,
        reads: &dyn Reads,
    ) -> Result<Vec<MessageView>, Refused> {
        let Some(mut reader) = self.room_called(name)? else { return Ok(Vec::new()) };
        let newest = reader.room.newest(last, reads);
        Ok(reader.views(&newest, reads))
    }

    pub(super) fn on_since(
        &mut self,
        command: CommandId,
        after: u64,
        count: usize,
        cx: &mut Context<'_>,
    ) {
        let page = Box::new(self.since(after, count.min(crate::limits::SINCE_MAX), cx.reads));
        cx.notice(Notice::Since { command, page });
    }

    /// What arrived after a number, in all rooms, looking at so many entries.
    pub fn since(&mut self, after: u64, count: usize, reads: &dyn Reads) -> SinceView {
        let last = reads.last_arrival();
        let mut page = SinceView { upto: after.min(last), last, ..SinceView::default() };
        for (number, entry) in reads.arrived(page.upto, count) {
            page.upto = number;
            let is_deleted =
                Sealed::decode(&entry.bytes).is_ok_and(|it| matches!(it.body, Body::Deleted(_)));
            if is_deleted {
                page.deleted_upto = Some(number);
                continue;
            }
            let counts =
                self.talks.rooms.get(&entry.log.room).is_some_and(|it| it.room.counts(&entry));
            let view = counts.then(|| self.message_of(&entry)).flatten();
            page.messages.extend(view.map(|view| (number, view)));
        }
        page
    }

    /// How many entries of a room are held.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`].
    pub fn entry_count(&mut self, name: &str) -> Result<u64, Refused> {
        let Some(reader) = self.room_called(name)? else { return Ok(0) };
        let heads = reader.room.vector();
        Ok(heads.iter().fold(0, |sum, head| sum.saturating_add(head.seq.0)))
    }

    /// Every message of a room, oldest first, one at a time; until `take` says no.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`].
    pub fn walk(
        &mut self,
        name: &str,
        reads: &dyn Reads,
        mut take: impl FnMut(MessageView) -> bool,
    ) -> Result<(), Refused> {
        let Some(mut reader) = self.room_called(name)? else { return Ok(()) };
        let walk = reader.room.walk(reads);
        let mut messages = walk.filter_map(|(it, fork)| reader.shown(&it, fork));
        let _ = messages.all(&mut take);
        Ok(())
    }

    /// The rooms one is in and reads, by name, the first one of all first.
    pub fn room_names(&mut self) -> Vec<String> {
        let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
        let read = rooms.into_iter().filter(|room| self.stranger_in(room).is_none());
        let mut names: Vec<String> = read.map(|room| self.room_label(&room)).collect();
        names.sort_by_key(|name| (name != MAIN, name.clone()));
        names
    }

    /// The words of the next entries that the index lacks; none when it has all.
    pub fn index_step(&mut self, reads: &dyn Reads) -> Vec<Write> {
        let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
        let mut writes = Vec::new();
        let mut bytes: usize = 0;
        for room in rooms {
            let Some(mut reader) = self.reader(room) else { continue };
            let left = STEP_ENTRIES.saturating_sub(writes.len());
            for entry in reads.unindexed(room, left).unwrap_or_default() {
                if bytes > STEP_BYTES {
                    return writes;
                }
                bytes = bytes.saturating_add(entry.bytes.len());
                writes.push(reader.words(&entry, false));
            }
        }
        writes
    }

    /// The key of an entry came: its words follow.
    pub(super) fn index_late(&mut self, entry: &StoredEntry, cx: &mut Context<'_>) {
        let reader = self.reader(entry.log.room);
        if let Some(mut reader) = reader.filter(|it| keeps_index(it.room, cx.reads)) {
            cx.actions.writes.push(reader.words(entry, true));
        }
    }

    /// Hands words to the index, once it is quiet; `is_start`: there may be some from before.
    pub(super) fn go_on_indexing(&mut self, is_start: bool, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let is_news = cx
            .actions
            .writes
            .iter()
            .any(|write| matches!(write, Write::Entry(_) | Write::Received(_)));
        if self.indexing.due.is_some_and(|due| due <= now) {
            let step = self.index_step(cx.reads);
            self.indexing.due = Some(now.after(PAUSE));
            if step.is_empty() {
                self.indexing = Indexing::default();
            }
            cx.actions.writes.extend(step);
        }
        let is_kept = self.talks.main().is_some_and(|talk| keeps_index(&talk.room, cx.reads));
        if (is_start || is_news) && is_kept {
            let latest = *self.indexing.latest.get_or_insert(now.after(LATEST));
            let quiet = now.after(QUIET);
            // In talk without end quiet is not waited for.
            let is_late = quiet > latest && self.indexing.due.is_some();
            if !is_late {
                self.indexing.due = Some(quiet);
            }
        }
        cx.actions.wake_by(self.indexing.due);
    }

    /// What the committed control log changed, from the genesis on.
    pub fn audit(&self) -> Vec<AuditView> {
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let genesis = ledger.genesis();
        let mut records = vec![AuditView {
            index: Index(0),
            at: genesis.created_at,
            what: "founded",
            name: genesis.founder.name.clone(),
            peer: Some(genesis.founder.peer),
            detail: String::new(),
            leader: String::new(),
            leader_peer: None,
            generation: 0,
            term: 0,
        }];
        for (index, change) in ledger.history() {
            let (what, peer, detail) = match change {
                Ok(Change::Admitted(peer)) => ("admitted", Some(*peer), String::new()),
                Ok(Change::Renewed(peer)) => ("renewed", Some(*peer), String::new()),
                Ok(Change::Removed { peer, by, reason }) => {
                    let by = by.map(|by| format!("by {}", self.label(&by)));
                    let detail = [by, (!reason.is_empty()).then(|| reason.clone())];
                    let detail: Vec<String> = detail.into_iter().flatten().collect();
                    ("removed", Some(*peer), detail.join(": "))
                }
                Ok(Change::Ordered(ordered)) => self.audit_order(ordered),
                Ok(Change::VoucherRevoked(id, gone, reason)) => {
                    let detail = format!("{id}: {reason}");
                    records.extend(self.record(*index, "voucher_revoked", None, detail));
                    for peer in gone {
                        records.extend(self.record(*index, "removed", Some(*peer), reason.clone()));
                    }
                    continue;
                }
                // Told below, with those that nobody wished for.
                Ok(Change::Role(..) | Change::Nothing) => continue,
                Err(refused) => ("void", None, refused.to_string()),
            };
            records.extend(self.record(*index, what, peer, detail));
        }
        for change in ledger.roster().role_changes() {
            let from = match change.by {
                Some(by) => format!("{} by {}", change.role.name(), self.label(&by)),
                None => format!("{}: no owner was left", change.role.name()),
            };
            records.extend(self.record(change.index, "role", Some(change.peer), from));
        }
        self.audit_voters(&mut records);
        self.audit_suspended(&mut records);
        records.sort_by_key(|record| record.index);
        records
    }

    /// What was ordered about a room, by whom; of a room that not everybody may know no more.
    fn audit_order(&self, ordered: &Ordered) -> (&'static str, Option<PeerId>, String) {
        let by = Some(ordered.by);
        let label = self.room_label(&ordered.room);
        let Ok(RoomOrder::Plain(bytes)) = RoomOrder::decode(&ordered.order) else {
            return ("room_changed", by, label);
        };
        let about = |peer: &PeerId, more: &str| format!("{label}: {} {more}", self.label(peer));
        match Order::decode(&bytes) {
            Ok(Order::Group { .. }) => ("regrouped", by, label),
            Ok(Order::Commit { .. }) => ("rekeyed", by, label),
            Ok(Order::Create { .. }) => ("room_created", by, label),
            Ok(Order::Invite { peer, role }) => ("room_invited", by, about(&peer, role.name())),
            Ok(Order::Join { .. }) => ("room_joined", by, label),
            Ok(Order::Leave { .. }) => ("room_left", by, label),
            Ok(Order::Kick { cut, reason }) => ("room_kicked", by, about(&cut.peer, &reason)),
            Ok(Order::Role { peer, role, .. }) => ("room_role", by, about(&peer, role.name())),
            Ok(Order::Set(_)) => ("room_set", by, label),
            Ok(Order::Delete) => ("room_deleted", by, label),
            Ok(Order::Stranded { commit }) => ("room_stranded", by, format!("{label}: {commit}")),
            Ok(Order::Forgive { peer }) => ("room_forgiven", by, about(&peer, "may commit again")),
            Err(_) => ("room_changed", by, label),
        }
    }

    /// Nobody orders it: it follows from what members said.
    fn audit_suspended(&self, records: &mut Vec<AuditView>) {
        let rooms = self.talks.rooms.values().map(|talk| &talk.state);
        for state in rooms.chain(self.talks.known.values()) {
            let label = self.room_label(&state.room());
            for (peer, it) in &state.snapshot().suspended {
                let detail = format!("{label}: most could not follow {}", it.commit);
                records.extend(self.record(it.since, "room_suspended", Some(*peer), detail));
            }
        }
    }

    fn audit_voters(&self, records: &mut Vec<AuditView>) {
        let Some(ledger) = &self.ledger else { return };
        let mut before = VoterSet::new(witness_of(ledger.genesis())).unwrap_or_default();
        let mut index = Index(1);
        while let Some(entry) = ledger.control().entry(index)
            && index <= ledger.applied()
        {
            if let Payload::Voters(set) = &entry.payload {
                let gone = before.as_slice().iter().filter(|voter| !set.contains(voter));
                let new = set.as_slice().iter().filter(|voter| !before.contains(voter));
                let changes = gone
                    .map(|voter| ("voter_removed", voter))
                    .chain(new.map(|voter| ("voter_added", voter)));
                for (what, voter) in changes {
                    let record = self.record(index, what, Some(voter.peer), String::new());
                    records.extend(record.map(|record| match voter.is_witness {
                        true => AuditView { name: "witness".to_owned(), ..record },
                        false => record,
                    }));
                }
                before = set.clone();
            }
            index = index.next();
        }
    }

    fn record(
        &self,
        index: Index,
        what: &'static str,
        peer: Option<PeerId>,
        detail: String,
    ) -> Option<AuditView> {
        let entry = self.ledger.as_ref()?.control().entry(index)?;
        let leader_peer = entry.ballot.peer;
        Some(AuditView {
            index,
            at: entry.stamp,
            what,
            name: peer.map(|peer| self.label(&peer)).unwrap_or_default(),
            peer,
            detail,
            leader: leader_peer.map(|peer| self.label(&peer)).unwrap_or_default(),
            leader_peer,
            generation: entry.ballot.generation,
            term: entry.ballot.term,
        })
    }
}
