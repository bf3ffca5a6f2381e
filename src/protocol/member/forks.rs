//! Forked logs among members: who asks whom for what differs, and what people are told.
//! Owns: asking for branches, handing them out, the report of a fork, history.
//! Must not know: which branches are kept; the room chooses.
//! Invariants: whoever hears of another head than its own asks for what is behind it, so all come
//! to keep the same (22); every branch that is handed out ends with its signature (20).
//! Start reading at: [`Member::want_branches`].

use super::expiry::without_ended;
use super::{Context, Member};
use crate::ids::{CommandId, Hash, LogId, PeerId, RoomId, Seq};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::protocol::room::{self, Draft};
use crate::protocol::sync;
use crate::protocol::{Notice, Saying, StoredEntry, Write};
use crate::time::Millis;
use crate::wire::frame::Body;
use crate::wire::sync::{Head, Page, Sync as Frame};

/// Messages of a log that ended which are sent again, at the most: what two homes of one member
/// write before they hear of each other.
const AGAIN_MAX: usize = 4_096;

impl Member {
    /// Who holds something else than we do is asked for it. `is_vector`: not only an
    /// acknowledgement, which comes with every page and would be asked about again and again.
    pub(super) fn want_branches(
        &mut self,
        from: PeerId,
        room: RoomId,
        heads: &[Head],
        is_vector: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(room) = self.talks.rooms.get(&room).map(|talk| &talk.room) else {
            return;
        };
        let differing = heads.iter().filter(|head| room.differs(head, cx.reads));
        let wanted: Vec<(LogId, Seq)> = differing
            .filter_map(|head| match room.kept(&head.log) {
                Some(kept) => is_vector.then(|| (head.log, head.seq.min(kept.at))),
                None => Some((head.log, head.seq)),
            })
            .collect();
        for (log, start) in wanted {
            self.want_branch(from, log, start, cx);
        }
    }

    pub(super) fn want_branch(&self, from: PeerId, log: LogId, start: Seq, cx: &mut Context<'_>) {
        let want = Frame::Want { log, from: start, previous: Hash::ZERO };
        self.send(from, Body::Sync(want), cx);
    }

    /// Somebody asks for a log from a place on: of one that forks what stands before the fork, then
    /// every branch that is kept.
    pub(super) fn on_want(&mut self, from: PeerId, log: LogId, start: Seq, cx: &mut Context<'_>) {
        let start = start.max(Seq(1));
        let Some(room) = self.talks.rooms.get(&log.room).map(|talk| &talk.room) else {
            return;
        };
        let fork = room.kept(&log).map(|kept| kept.at);
        let mut entries = cx.reads.entries(log, start, PAGE_ENTRIES_MAX);
        let end = entries.last().map(|entry| entry.seq);
        let has = self.talks.rooms.get(&log.room);
        sync::end(&mut entries, has.and_then(|it| it.sync.end_before(&from, &log, start)));
        if let Some(at) = fork {
            // What stands before the fork may need an entry after it for its signature.
            let is_end = |it: &StoredEntry| it.seq.next() >= at && it.signature.is_some();
            let count =
                entries.iter().position(is_end).map_or(entries.len(), |it| it.saturating_add(1));
            entries.truncate(if start < at { count } else { 0 });
        }
        if let Some(page) = sync::page(log, entries) {
            let page = without_ended(page, cx.now.wall);
            self.send(from, Body::Sync(Frame::Entries(page)), cx);
        }
        if fork.is_some_and(|at| start >= at || end.is_some_and(|end| end.next() >= at)) {
            self.send_branches(&[from], log, room::branches(log, cx.reads), cx);
        }
    }

    fn send_branches(
        &self,
        to: &[PeerId],
        log: LogId,
        branches: Vec<Vec<StoredEntry>>,
        cx: &mut Context<'_>,
    ) {
        for page in branches.into_iter().filter_map(|branch| sync::page(log, branch)) {
            let page = without_ended(page, cx.now.wall);
            for peer in to {
                self.send(*peer, Body::Sync(Frame::Entries(page.clone())), cx);
            }
        }
    }

    /// What is kept of a forked log changed. The fork itself is passed on to everybody at once,
    /// branches that are found later go along with the vectors.
    pub(super) fn on_fork(
        &mut self,
        page: &Page,
        (at, is_new): (Seq, bool),
        entries: Vec<StoredEntry>,
        cx: &mut Context<'_>,
    ) {
        let log = page.log;
        if is_new {
            let name = self.label(&log.author);
            let text = format!(
                "{name} wrote two different messages as number {at}: its home was copied, or it \
                 cheats; that log ends there"
            );
            cx.notice(Notice::Info { text });
            let mut branches: Vec<Vec<StoredEntry>> = Vec::new();
            for entry in &entries {
                match branches.last_mut().filter(|_| entry.seq > at) {
                    Some(branch) => branch.push(entry.clone()),
                    None => branches.push(vec![entry.clone()]),
                }
            }
            let talk = self.talks.rooms.get(&log.room);
            let peers = talk.map(super::talks::Talk::linked).unwrap_or_default();
            self.send_branches(&peers, log, branches, cx);
        }
        self.want_keys_of(&entries, cx);
        let lost = if is_new && log.author == self.me {
            self.said_past(log, at, &entries, cx)
        } else {
            Vec::new()
        };
        for entry in &entries {
            self.note_expiry(entry, cx);
        }
        cx.actions.writes.push(Write::Fork(entries));
        self.forget_end(&log, cx);
        if self.talks.rooms.get(&log.room).is_some_and(|talk| talk.room.own() == log) {
            self.write_elsewhere(cx);
        }
        self.say_again(log.room, lost, cx);
    }

    /// What we wrote into a log of ours from a fork on and nobody is shown any more. It was told to
    /// be sent, so it must not vanish.
    fn said_past(
        &mut self,
        log: LogId,
        at: Seq,
        kept: &[StoredEntry],
        cx: &Context<'_>,
    ) -> Vec<Draft> {
        let mut lost = Vec::new();
        let mut next = at;
        while lost.len() < AGAIN_MAX {
            let page = cx.reads.entries(log, next, PAGE_ENTRIES_MAX);
            let Some(last) = page.last().map(|entry| entry.seq) else { break };
            let is_shown = |it: &StoredEntry| {
                it.seq == at && kept.iter().any(|kept| kept.seq == at && kept.hash == it.hash)
            };
            for entry in page.iter().filter(|it| !is_shown(it)) {
                let view = self.message_of(entry);
                lost.extend(view.map(|view| Draft {
                    saying: Saying { text: view.text, about: view.about },
                    code_proof: None,
                    life: view.expires_at.map(|at| Millis(at.0.saturating_sub(cx.now.wall.0))),
                }));
            }
            next = last.next();
        }
        lost.truncate(AGAIN_MAX);
        lost
    }

    /// Says in the log that is open now what was lost with another.
    fn say_again(&mut self, room: RoomId, lost: Vec<Draft>, cx: &mut Context<'_>) {
        let count = lost.len();
        let Some(talk) = self.talks.rooms.get_mut(&room).filter(|_| count > 0) else {
            return;
        };
        // Nobody asked under a number; that they are sent is told all the same.
        talk.held.splice(0..0, lost.into_iter().map(|draft| (CommandId(0), draft)));
        let text = format!("{count} of your messages ended with that log and are sent again");
        cx.notice(Notice::Info { text });
        self.release_posts(room, cx);
    }

    pub(super) fn on_history(
        &mut self,
        id: CommandId,
        name: &str,
        last: usize,
        cx: &mut Context<'_>,
    ) {
        match self.history(name, last, cx.reads) {
            Ok(messages) => cx.notice(Notice::History { command: id, messages }),
            Err(refused) => cx.fail(id, refused),
        }
    }
}
