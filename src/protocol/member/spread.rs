//! Passing on what others say, and what becomes of it, in rooms where not everybody is linked with
//! everybody.
//! Owns: how each room's members are linked, who passes on whose entries here, marks on their way.
//! Must not know: how links come about (`meshing`).
//! Invariants: only what was verified and is among the writes is passed on, to members of the room
//! alone (20); a mark is believed by its signature and by nothing else; with up to `max_links`
//! members nothing here does anything.
//! Start reading at: [`Member::pass_on`] and [`Member::go_on_spreading`].

use std::collections::{BTreeMap, BTreeSet};

use super::talks::Talk;
use super::{Context, Member};
use crate::identity::Domain;
use crate::ids::{LogId, PeerId, RoomId, Seq};
use crate::protocol::StoredEntry;
use crate::protocol::mesh::{Mesh, Tree};
use crate::protocol::sync::Marks;
use crate::refusal::Refusal;
use crate::wire::frame::Body;
use crate::wire::sync::{Head, Mark, mark_bytes};

/// How one room's members are linked; `None` in `mesh`: everybody with everybody.
#[derive(Debug, Default)]
pub(super) struct Spread {
    mesh: Option<Mesh>,
    /// Who is told what came: neighbours, and those in place of neighbours that are not reached.
    near: BTreeSet<PeerId>,
    /// With whom a link is kept: these, and the hubs.
    links: BTreeSet<PeerId>,
    /// By author, as they are asked for.
    trees: BTreeMap<PeerId, Tree>,
    pub(super) marks: Marks,
    /// Whether all that is held is to be marked once more, as after a start.
    is_unmarked: bool,
}

impl Spread {
    /// The room's members are linked so from now on: the graph, and in it our neighbours and links.
    pub(super) fn set(&mut self, to: Option<(Mesh, BTreeSet<PeerId>, BTreeSet<PeerId>)>) {
        let (mesh, near, links) = match to {
            Some((mesh, near, links)) => (Some(mesh), near, links),
            None => (None, BTreeSet::new(), BTreeSet::new()),
        };
        (self.near, self.links) = (near, links);
        if self.mesh != mesh {
            self.is_unmarked = true;
            self.trees.clear();
            self.marks.reroute();
            self.mesh = mesh;
        }
        self.marks.touch();
    }

    /// With whom a link is kept.
    pub(super) fn links(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.links.iter().copied()
    }

    /// Whether not everybody is linked with everybody.
    pub(super) fn is_on(&self) -> bool {
        self.mesh.is_some()
    }

    /// Whether somebody is taken for being there.
    pub(super) fn is_there(&self, peer: &PeerId) -> bool {
        self.mesh.as_ref().is_some_and(|mesh| mesh.has(peer))
    }

    fn tree(&mut self, author: &PeerId, me: &PeerId) -> Option<(&Mesh, &Tree)> {
        let mesh = self.mesh.as_ref()?;
        let tree = self.trees.entry(*author).or_insert_with(|| mesh.tree(author, me));
        Some((mesh, tree))
    }
}

impl Talk {
    /// Over whom an author is reached: itself, who passes its entries on to us, or whoever is nearer
    /// to it than we are.
    fn way_to(&mut self, author: &PeerId, me: &PeerId) -> Option<PeerId> {
        if self.sync.is_linked(author) {
            return Some(*author);
        }
        let sync = &self.sync;
        let (mesh, tree) = self.spread.tree(author, me)?;
        let mine = mesh.depth(tree, me)?;
        let parent = tree.parent.filter(|parent| sync.is_linked(parent));
        parent.or_else(|| {
            let linked = sync.linked().into_iter();
            let by_depth = linked.filter_map(|peer| Some((mesh.depth(tree, &peer)?, peer)));
            by_depth.filter(|(depth, _)| *depth < mine).min().map(|(_, peer)| peer)
        })
    }
}

impl Member {
    /// Entries of somebody else are new here: those for whom we are the one to do so get them from
    /// us, and neighbours hear of them.
    pub(super) fn pass_on(
        &mut self,
        (room, from): (RoomId, PeerId),
        entries: &[StoredEntry],
        cx: &mut Context<'_>,
    ) {
        let (me, mistakes) = (self.me, self.setup.mistakes);
        let (Some(log), Some(talk)) =
            (entries.first().map(|it| it.log), self.talks.rooms.get_mut(&room))
        else {
            return;
        };
        if !talk.spread.is_on() || mistakes.passes_nothing {
            return;
        }
        talk.sync.note_news(log, cx.now.mono);
        let tree = talk.spread.tree(&log.author, &me);
        let mut to = tree.map(|(_, tree)| tree.children.clone()).unwrap_or_default();
        to.retain(|peer| *peer != from);
        if mistakes.passes_back {
            to = talk.sync.linked();
        }
        let sends = talk.sync.pass_on(entries, &to);
        self.send_sync(sends, cx);
    }

    /// Somebody linked holds this: if it is more than we hold, it is asked for soon.
    pub(super) fn hear_of_more(&mut self, room: RoomId, heads: &[Head], cx: &Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room).filter(|talk| talk.spread.is_on()) else {
            return;
        };
        let is_more =
            |head: &Head| head.log != talk.room.own() && talk.room.head(&head.log).seq < head.seq;
        if heads.iter().any(is_more) {
            talk.sync.note_lack(cx.now.mono);
        }
    }

    /// What is due in a room: neighbours told, marks made and passed on, what is missing asked for.
    pub(super) fn go_on_spreading(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room).filter(|talk| talk.spread.is_on()) else {
            return;
        };
        let mut news = talk.sync.take_news(cx.now.mono);
        let heads: Vec<Head> = news.iter().map(|log| talk.room.told(log)).collect();
        let sends = talk.sync.tell(&heads, &talk.spread.near);
        if !talk.sync.linked().is_empty() && std::mem::take(&mut talk.spread.is_unmarked) {
            news = talk.room.vector().into_iter().map(|head| head.log).collect();
        }
        let lacks = talk.sync.take_lack(cx.now.mono);
        self.send_sync(sends, cx);
        self.mark(room, &news);
        self.pass_marks_on(room, cx);
        if lacks {
            self.ask_for_missing(room, cx);
        }
        if let Some(talk) = self.talks.rooms.get(&room) {
            cx.actions.wake_by(talk.sync.spread_at());
        }
    }

    /// Says what we hold of logs whose authors have no link with us.
    fn mark(&mut self, room: RoomId, news: &BTreeSet<LogId>) {
        let Some(network) = self.authority.as_ref().map(|it| it.network) else { return };
        let (me, life) = (self.me, self.setup.incarnation);
        let Some(talk) = self.talks.rooms.get_mut(&room) else { return };
        let is_far = |log: &&LogId| log.author != me && !talk.sync.is_linked(&log.author);
        let mut made = Vec::new();
        for log in news.iter().filter(is_far) {
            let head = talk.room.told(log);
            if head.seq > Seq(0)
                && talk.spread.marks.newest(log, &me) != Some((head.seq, head.hash))
            {
                let signature = self.proofs.sign(Domain::Mark, &mark_bytes(&network, &me, &head));
                made.push(Mark { by: me, life, head, signature });
            }
        }
        made.into_iter().for_each(|mark| talk.spread.marks.take(mark));
    }

    fn pass_marks_on(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let me = self.me;
        let Some(talk) = self.talks.rooms.get_mut(&room) else { return };
        let mut marks = std::mem::take(&mut talk.spread.marks);
        let mut ways: BTreeMap<PeerId, Option<PeerId>> = BTreeMap::new();
        for author in marks.authors() {
            ways.insert(author, talk.way_to(&author, &me));
        }
        let sends = marks.due(room, |author| ways.get(author).copied().flatten());
        talk.spread.marks = marks;
        for (to, frame) in sends {
            // What we hold must be on the disk before it is told.
            self.send_ack(to, Body::Sync(frame), cx);
        }
    }

    /// What others hold, on its way to us or to another author.
    pub(super) fn on_marks(
        &mut self,
        (room, from): (RoomId, PeerId),
        marks: Vec<Mark>,
        cx: &mut Context<'_>,
    ) {
        for mark in marks {
            if let Err(refusal) = self.on_mark((room, from), mark, cx) {
                return self.refuse(from, refusal, cx);
            }
        }
        self.pass_marks_on(room, cx);
    }

    fn on_mark(
        &mut self,
        (room, from): (RoomId, PeerId),
        mark: Mark,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let (Some(ledger), Some(authority)) = (&self.ledger, &self.authority) else {
            return Ok(());
        };
        let (roster, network) = (ledger.roster(), authority.network);
        let Some(talk) = self.talks.rooms.get(&room) else { return Ok(()) };
        let (author, head) = (mark.head.log.author, mark.head);
        let are_in = talk.state.is_in(&mark.by, roster) && talk.state.is_in(&author, roster);
        if !are_in || mark.by == self.me || mark.by == author || !talk.spread.marks.is_news(&mark) {
            return Ok(());
        }
        // On their way they are kept in large groups only, of logs that are there.
        let is_known = talk.room.head(&head.log).seq > Seq(0);
        if author != self.me && !(talk.spread.is_on() && is_known) {
            return Ok(());
        }
        // Its newest key may not have reached us.
        let key = roster.member(&mark.by).and_then(|member| member.key_of(mark.life));
        let Some(key) = key else { return Ok(()) };
        let bytes = mark_bytes(&network, &mark.by, &head);
        if !self.proofs.verify(&key, Domain::Mark, &bytes, &mark.signature) {
            tracing::warn!(peer = %from, "a mark that its author did not sign");
            return Err(Refusal::SignatureBad);
        }
        let by = mark.by;
        let is_ours = author == self.me;
        let Some(talk) = self.talks.rooms.get_mut(&room) else { return Ok(()) };
        if !is_ours {
            talk.spread.marks.take(mark);
            return Ok(());
        }
        if head.log != talk.room.own() {
            return Ok(());
        }
        // More than we wrote is no more than a claim here: what its vector says over a link decides.
        if head.seq <= talk.own_head().0 && !talk.room.differs(&head, cx.reads) {
            self.told_delivered((room, by), Some((Seq(0), head.seq)), cx);
        }
        Ok(())
    }
}
