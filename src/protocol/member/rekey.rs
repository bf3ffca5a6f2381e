//! A room's group: who makes it, who comes in, who is taken out, and when keys are renewed.
//! Owns: when something is asked for, staged, submitted and tried again.
//! Must not know: MLS; which commit is valid (`room/keys` judges).
//! Invariants: a commit is merged when it was ordered, and no earlier (24); joining and every
//! repair are one way: group info, external commit.
//! Start reading at: [`Member::go_on_with_keys`].
//!
//! ```text
//!  no group ──► proposed by the founder, later by whoever finds nobody inside ──► ordered: in
//!  out ──► RoomAsk ──► RoomInfo ──► external commit, stored ──► submitted ──► ordered: in
//!   ▲                                       another came first ──┐
//!   └────────────── cannot follow, thrown out, another group ◄───┘
//! ```

use super::grants::after;
use super::keys::{Began, Errand, FIRST_WAIT, Followed, LONGEST_WAIT};
use super::talks::Talk;
use super::{Context, Member};
use crate::ids::{GroupId, Index, IntentId, PeerId, RoomId};
use crate::limits::{CUT_LOGS_MAX, CUTS_MAX};
use crate::protocol::ledger::Ledger;
use crate::protocol::room::Standing;
use crate::protocol::room::keys::schedule::RoomSecret;
use crate::protocol::room::keys::{Error, Wish};
use crate::protocol::roster::Roster;
use crate::protocol::{EpochView, Notice};
use crate::time::{Millis, Now};
use crate::wire::frame::Body;
use crate::wire::order::{Cut, Order};
use crate::wire::sync::Sync as Frame;

/// How long somebody outside looks for somebody inside before it proposes a new group.
const LOOK_FOR: Millis = Millis(3_000);
/// Keys are renewed after so long …
const REKEY_AFTER: Millis = Millis(24 * 3_600_000);
/// … or when so much was said under them, by the room's Lamport clock …
const REKEY_SAID: u64 = 1_000;
/// … but not so soon after they were.
const REKEY_PAUSE: Millis = Millis(600_000);
/// Of those who may take a leaf out, the next waits so much longer than the one before.
const TURN: Millis = Millis(500);

impl Member {
    /// Somebody who holds our key is out: until an epoch without it is agreed on we seal under a key
    /// of our own, which members ask us for.
    pub(super) fn seal_apart(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let has_key = self.talks.rooms.get(&room).is_some_and(|it| it.keys.key().is_some());
        if has_key && !self.setup.mistakes.no_own_key {
            self.make_own_key(room, cx);
        }
    }

    pub(super) fn make_own_key(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let secret = RoomSecret::new(self.chance.bytes());
        let applied = self.ledger.as_ref().map(Ledger::applied).unwrap_or_default();
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let (key, writes) = talk.keys.add_own(secret);
        cx.actions.writes.extend(writes);
        cx.actions.writes.push(talk.keys.note_since(key, applied));
        cx.actions.writes.push(talk.keys.note_own(key));
        cx.actions.writes.push(talk.keys.seal_under(key));
    }

    /// A commit of the group in force was ordered.
    pub(super) fn on_commit(
        &mut self,
        room: RoomId,
        (index, by): (Index, PeerId),
        (group, commit): (GroupId, &bytes::Bytes),
        cx: &mut Context<'_>,
    ) {
        let (Some(ledger), Some(talk)) = (&self.ledger, self.talks.rooms.get_mut(&room)) else {
            return;
        };
        let judge = Standing { roster: ledger.roster(), state: &talk.state, at: index };
        let (followed, writes) = talk.keys.follow(group, commit, &judge);
        cx.actions.writes.extend(writes);
        let is_said = followed == Followed::Stranded
            || (followed == Followed::Yes && self.setup.mistakes.claims_falsely);
        if is_said && by != self.me {
            cx.actions.writes.push(talk.keys.strand(index));
        }
        let is_cut_off = followed == Followed::Stranded && by != self.me;
        if is_cut_off {
            cx.actions.writes.push(talk.keys.cut(index));
        }
        match followed {
            Followed::Yes => self.adopt(room, index, cx),
            Followed::Skipped => {}
            Followed::Lost | Followed::Stranded => {
                // Not all at once: of several who were too late one shall be first.
                talk.keys.way.next = cx.now.mono.after(self.chance.between(Millis(0), FIRST_WAIT));
            }
        }
        if is_cut_off {
            self.tell_room(room, "stranded", Some(by), cx);
        }
    }

    /// There is an epoch that we hold: we seal under it unless somebody who is out holds it too.
    fn adopt(&mut self, room: RoomId, index: Index, cx: &mut Context<'_>) {
        let (Some(ledger), Some(talk)) = (&self.ledger, self.talks.rooms.get_mut(&room)) else {
            return;
        };
        let (key, writes) = match talk.keys.take_epoch() {
            Ok(taken) => taken,
            Err(error) => return tracing::warn!(%error, "an epoch without a key"),
        };
        cx.actions.writes.extend(writes);
        cx.actions.writes.push(talk.keys.note_since(key, index));
        let is_clean = talk.keys.agreed.as_deref().is_some_and(|agreed| {
            agreed.leaves().iter().all(|leaf| talk.state.is_in(&leaf.peer, ledger.roster()))
        });
        if is_clean {
            cx.actions.writes.push(talk.keys.seal_under(key));
        } else if talk.keys.key().is_none() {
            self.make_own_key(room, cx);
        }
        self.receipts.is_stale = true;
        self.open_waiting(room, key, cx);
        self.tell_epoch(room, cx);
        self.tell_members_epoch(room, None, cx);
    }

    /// Before `ready` nothing is told; with it this is, if it still holds.
    pub(super) fn tell_epoch(&mut self, room: RoomId, cx: &mut Context<'_>) {
        if !self.joining.is_announced() {
            self.joining.epochs.insert(room);
            return;
        }
        let is_told = self.stranger_in(&room).is_none();
        if let Some(view) = self.epoch_view(room).filter(|_| is_told) {
            cx.notice(Notice::Epoch(view));
        }
    }

    /// The room's epoch, for people; `None` while we are not in it.
    pub(super) fn epoch_view(&self, room: RoomId) -> Option<EpochView> {
        let talk = self.talks.rooms.get(&room)?;
        let group = talk.keys.group()?;
        let members = group.leaves().iter().map(|leaf| self.label(&leaf.peer)).collect();
        Some(EpochView {
            room: self.room_label(&room),
            epoch: group.epoch(),
            members,
            authenticator: group.authenticator(),
        })
    }

    /// Brings the group in line with the room's.
    pub(super) fn settle_group(&mut self, room: RoomId, index: Index, cx: &mut Context<'_>) {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let current = talk.state.group();
        let keys = &mut talk.keys;
        let Some(ours) = keys.agreed.as_deref().map(|agreed| agreed.group()) else {
            return;
        };
        match keys.candidate {
            Some(_) if current == Some(ours) => {
                let write = keys.settle();
                cx.actions.writes.push(write);
                cx.actions.writes.extend(keys.end_visit());
                self.adopt(room, index, cx);
            }
            Some(replaces) if current == replaces => {}
            None if current == Some(ours) => {}
            _ => {
                cx.actions.writes.extend(keys.forget_group());
                cx.actions.writes.extend(keys.end_visit());
            }
        }
    }

    /// The next step in every room, whichever is due.
    pub(super) fn go_on_with_keys(&mut self, cx: &mut Context<'_>) {
        self.take_early(cx);
        let rooms: Vec<RoomId> = self.talks.rooms.keys().copied().collect();
        for room in rooms {
            self.go_on_with_keys_of(room, cx);
        }
        self.go_on_ordering(cx);
    }

    /// Whether the control log is known as far as a room followed it; after a start it may not be.
    pub(super) fn is_in_step(&self, talk: &Talk) -> bool {
        self.ledger.as_ref().is_some_and(|it| it.applied() >= talk.state.handled())
    }

    fn go_on_with_keys_of(&mut self, room: RoomId, cx: &mut Context<'_>) {
        self.go_on_wanting(room, cx);
        let is_leaving = self.leaving.is_some_and(|it| it.is_handing_over);
        let in_step = self.talks.rooms.get(&room).is_some_and(|talk| self.is_in_step(talk));
        if is_leaving || !in_step || !self.is_current() {
            return;
        }
        let applied = self.ledger.as_ref().map(Ledger::applied).unwrap_or_default();
        self.settle_group(room, applied, cx);
        self.say_stranded(room, cx);
        if self.holds_back(room, cx) {
            return;
        }
        match self.talks.rooms.get(&room).map(|talk| &talk.keys) {
            None => return,
            Some(keys) if keys.agreed.is_none() => self.look_for_the_group(room, cx),
            Some(keys) if keys.candidate.is_none() => self.renew_keys(room, cx),
            Some(_) => {}
        }
        self.run_errand(room, cx);
    }

    /// Asks one linked member after the other for the way in.
    fn look_for_the_group(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let since = *talk.keys.way.since.get_or_insert(now);
        if talk.keys.way.info.is_some() {
            self.come_in(room, cx);
        }
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let way = &mut talk.keys.way;
        if talk.keys.agreed.is_some() {
            return;
        }
        if now < way.next {
            return cx.actions.wake_by(Some(way.next));
        }
        way.wait = Millis(way.wait.0.saturating_mul(2)).max(FIRST_WAIT).min(LONGEST_WAIT);
        way.next = now.after(way.wait);
        cx.actions.wake_by(Some(way.next));
        let linked = talk.sync.linked();
        let left: Vec<PeerId> =
            linked.iter().filter(|peer| !way.out.contains(peer)).copied().collect();
        let has_group = talk.state.group();
        if has_group.is_some()
            && let Some(peer) = after(&left, way.last)
        {
            way.last = Some(peer);
            return self.send(peer, Body::Sync(Frame::RoomAsk { room }), cx);
        }
        way.out.clear();
        let is_founder =
            self.ledger.as_ref().is_some_and(|it| it.genesis().founder.peer == self.me)
                && has_group.is_none();
        if is_founder || now.since(since) >= LOOK_FOR {
            self.propose_group(room, has_group, cx);
        }
    }

    /// Nobody who could let us in is there: a new group, if the leader orders it.
    fn propose_group(&mut self, room: RoomId, replaces: Option<GroupId>, cx: &mut Context<'_>) {
        let leader = self.ledger.as_ref().and_then(|it| it.control().leader());
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let is_near = |peer: PeerId| peer == self.me || self.links.contains_key(&peer);
        if !leader.is_some_and(|(peer, _)| is_near(peer)) {
            return;
        }
        if !talk.state.charter().kind.is_plain() {
            // Only who can seal an order can have a new group ordered.
            let Some(key) = talk.keys.order_key() else {
                return;
            };
            cx.actions.writes.push(talk.keys.visit(key));
        }
        let (group, seed) = (GroupId(self.chance.bytes()), self.chance.bytes());
        match talk.keys.from.create(room, group, self.me, &*self.proofs, seed) {
            Ok((agreed, changes)) => {
                let writes = talk.keys.begin(agreed, changes, Some(replaces));
                cx.actions.writes.extend(writes);
            }
            Err(error) => tracing::warn!(%error, "no group"),
        }
    }

    /// Makes an external commit from a group info that is exactly as old as what we know.
    fn come_in(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let (Some(ledger), Some(talk)) = (&self.ledger, self.talks.rooms.get_mut(&room)) else {
            return;
        };
        let roster = ledger.roster();
        let Some((from, index, group, info)) = talk.keys.way.info.take() else {
            return;
        };
        let applied = roster.applied();
        if index > applied {
            // Its giver is ahead of us; the log will come.
            talk.keys.way.info = Some((from, index, group, info));
            return;
        }
        let is_fresh = talk.state.group() == Some(group);
        if !is_fresh || index < talk.state.moved_at() {
            talk.keys.way.next = cx.now.mono;
            return;
        }
        let judge = Standing { roster, state: &talk.state, at: applied };
        let (seed, agreements, me) = (self.chance.bytes(), talk.keys.from, self.me);
        let joined = agreements.join_external(room, me, &info, &judge, &*self.proofs, seed);
        match joined {
            Ok((agreed, changes)) => {
                let writes = talk.keys.begin(agreed, changes, None);
                cx.actions.writes.extend(writes);
                self.merge_early(room, cx);
            }
            // Somebody inside takes the leaf of our lost database out.
            Err(Error::OldLeaf) => {}
            Err(error) => {
                tracing::warn!(%error, peer = %from, "a group info that leads nowhere");
                talk.keys.way.out.insert(from);
            }
        }
    }

    /// Renews the keys if somebody must go, or a person asked for it.
    fn renew_keys(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let (now, now_wall) = (cx.now.mono, cx.now.wall);
        let (Some(ledger), Some(talk)) = (&self.ledger, self.talks.rooms.get_mut(&room)) else {
            return;
        };
        let roster = ledger.roster();
        let Some(group) = talk.keys.group().filter(|group| group.pending().is_none()) else {
            return;
        };
        let place = (roster.applied(), group.epoch());
        let is_old = is_old(talk, ledger, cx.now);
        let Some(group) = talk.keys.group() else {
            return;
        };
        if talk.keys.clean_at == Some(place) && !talk.keys.is_rekey_wished && !is_old {
            return;
        }
        let leaves = group.leaves();
        let is_stale = |peer: &PeerId, device| {
            let member = roster.member(peer).filter(|_| talk.state.is_in(peer, roster));
            member.and_then(|it| it.newest()).is_none_or(|(_, newest)| newest != device)
        };
        let stale: Vec<PeerId> = leaves
            .iter()
            .filter(|leaf| leaf.peer != self.me && is_stale(&leaf.peer, leaf.device))
            .map(|leaf| leaf.peer)
            .collect();
        if stale.is_empty() && !talk.keys.is_rekey_wished && !is_old {
            talk.keys.rekey_at = None;
            talk.keys.clean_at = Some(place);
            return;
        }
        // Who comes first in the order of those who are there begins; the others wait their turn.
        let is_before = |peer: &PeerId| *peer < self.me && talk.sync.is_linked(peer);
        let begins = |peer: &PeerId| !stale.contains(peer) && talk.state.may_commit(peer, now_wall);
        let before = leaves.iter().filter(|leaf| begins(&leaf.peer));
        let turn = before.filter(|leaf| is_before(&leaf.peer)).count();
        let turn = if talk.keys.is_rekey_wished { 0 } else { turn };
        let wait = TURN.times(u64::try_from(turn).unwrap_or(u64::MAX));
        let at = *talk.keys.rekey_at.get_or_insert(now.after(wait));
        if now < at {
            return cx.actions.wake_by(Some(at));
        }
        let judge = Standing { roster, state: &talk.state, at: roster.applied() };
        let wish = Wish { add: Vec::new(), remove: stale };
        let Some(agreed) = talk.keys.agreed.as_deref_mut() else {
            return;
        };
        match agreed.stage(&wish, &judge, &*self.proofs) {
            Ok(changes) => {
                let writes = talk.keys.store_group(changes);
                cx.actions.writes.extend(writes);
                self.merge_early(room, cx);
            }
            Err(error) => {
                tracing::warn!(%error, "no commit could be made");
                talk.keys.rekey_at = Some(now.after(LONGEST_WAIT));
                cx.actions.wake_by(talk.keys.rekey_at);
            }
        }
    }

    /// For the tests that prove the tests: as if a commit needed no order.
    fn merge_early(&mut self, room: RoomId, cx: &mut Context<'_>) {
        if !self.setup.mistakes.eager_merge {
            return;
        }
        let pending = self.talks.rooms.get(&room).and_then(|talk| {
            let agreed = talk.keys.agreed.as_deref()?;
            Some((agreed.group(), agreed.pending()?.commit.clone()))
        });
        let applied = self.ledger.as_ref().map(Ledger::applied);
        if let (Some((group, commit)), Some(applied)) = (pending, applied) {
            let order = Order::Commit { group, commit: commit.clone(), cuts: Vec::new() };
            let id = IntentId(self.chance.bytes());
            if let Some((intent, _)) = self.make_order(room, id, &order) {
                self.submit(intent, cx);
            }
            self.on_commit(room, (applied, self.me), (group, &commit), cx);
        }
    }

    /// What is to be ordered is submitted until it is, or until there is something else.
    fn run_errand(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        let Some((subject, mut order)) = talk.keys.errand_order() else {
            talk.keys.errand = None;
            return;
        };
        if talk.keys.errand.as_ref().is_none_or(|it| it.subject != subject) {
            let roster = self.ledger.as_ref().map(Ledger::roster);
            match (&mut order, roster) {
                (Order::Commit { cuts, .. }, Some(roster)) => *cuts = cuts_of(talk, roster),
                (Order::Group { group, .. }, _) if !talk.state.is_ordered() => {
                    let charter = Box::new(talk.state.charter().clone());
                    order = Order::Create { group: *group, charter };
                }
                _ => {}
            }
            let id = IntentId(self.chance.bytes());
            let Some((intent, _)) = self.make_order(room, id, &order) else {
                return;
            };
            let errand = Errand { subject, intent, next: now, wait: FIRST_WAIT };
            if let Some(talk) = self.talks.rooms.get_mut(&room) {
                talk.keys.errand = Some(errand);
            }
        }
        let talk = self.talks.rooms.get_mut(&room);
        let Some(errand) = talk.and_then(|talk| talk.keys.errand.as_mut()) else {
            return;
        };
        if now >= errand.next {
            errand.next = now.after(errand.wait);
            errand.wait = Millis(errand.wait.0.saturating_mul(2)).min(LONGEST_WAIT);
            let (next, intent) = (errand.next, errand.intent.clone());
            cx.actions.wake_by(Some(next));
            self.submit(intent, cx);
        } else {
            cx.actions.wake_by(Some(errand.next));
        }
    }
}

/// Whether the epoch of a room that others are in, too, has been in use for long enough.
fn is_old(talk: &mut Talk, ledger: &Ledger, now: Now) -> bool {
    let Some(group) = talk.keys.group() else { return false };
    let (epoch, lamport) = (group.epoch(), talk.room.lamport());
    let stamp = || {
        let since = talk.keys.since(&group.secret().ok()?.id(talk.state.room()))?;
        ledger.control().entry(since).map(|entry| entry.stamp)
    };
    let began = match talk.keys.began.filter(|began| began.epoch == epoch) {
        Some(began) => began,
        None => {
            let began = Began { epoch, at: stamp().unwrap_or(now.wall), lamport, seen: now.mono };
            talk.keys.began = Some(began);
            began
        }
    };
    // Asked at every turn: who is in is looked at last.
    began.is_over(lamport, now) && talk.keys.group().is_some_and(|group| group.leaves().len() > 1)
}

impl Began {
    /// Whether an epoch that began so has been in use for long enough.
    fn is_over(&self, lamport: u64, now: Now) -> bool {
        let is_said = lamport.saturating_sub(self.lamport) >= REKEY_SAID
            && now.mono.since(self.seen) >= REKEY_PAUSE;
        is_said || now.wall.since(self.at) >= REKEY_AFTER
    }
}

/// Where the logs end here of those whom the network removed and no order cut yet.
fn cuts_of(talk: &Talk, roster: &Roster) -> Vec<Cut> {
    let snapshot = talk.state.snapshot();
    let removed = roster.members().filter(|member| {
        !member.is_in() && snapshot.cuts.get(&member.peer).is_none_or(|it| !it.is_barred)
    });
    removed.take(CUTS_MAX).map(|member| cut_of(talk, member.peer)).collect()
}

/// Where somebody's logs end here.
pub(super) fn cut_of(talk: &Talk, peer: PeerId) -> Cut {
    let mut heads = talk.room.heads_of(&peer);
    let first = heads.len().saturating_sub(CUT_LOGS_MAX);
    Cut { peer, heads: heads.split_off(first) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Mono, Wall};

    const BEGAN: Began = Began { epoch: 3, at: Wall(5_000), lamport: 100, seen: Mono(70) };

    fn at(mono: u64, wall: u64) -> Now {
        Now { mono: Mono(70 + mono), wall: Wall(5_000 + wall) }
    }

    #[test]
    fn keys_grow_old_by_the_leaders_stamp_whenever_this_process_began() {
        let age = REKEY_AFTER.0;
        assert!(!BEGAN.is_over(100, at(0, 0)) && !BEGAN.is_over(100, at(age, age - 1)));
        assert!(BEGAN.is_over(100, at(1, age)), "also right after a start");
        // A clock that stands before the stamp renews nothing.
        assert!(!BEGAN.is_over(100, Now { mono: Mono(70), wall: Wall(0) }));
    }

    #[test]
    fn keys_are_used_up_by_what_is_said_but_not_again_and_again() {
        let pause = REKEY_PAUSE.0;
        let said = 100 + REKEY_SAID;
        assert!(!BEGAN.is_over(said - 1, at(pause, pause)));
        assert!(BEGAN.is_over(said, at(pause, pause)));
        assert!(!BEGAN.is_over(said * 100, at(pause - 1, pause)), "a flood renews none");
        // The Lamport time of another, older store.
        assert!(!BEGAN.is_over(0, at(pause, pause)));
    }
}
