//! The room's group: who makes it, who comes in, who is taken out, and when keys are renewed.
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
use super::keys::{Errand, FIRST_WAIT, Followed, LONGEST_WAIT};
use super::{Context, Member};
use crate::ids::{CommandId, GroupId, Index, IntentId, PeerId, RoomId};
use crate::protocol::room::Standing;
use crate::protocol::room::keys::schedule::RoomSecret;
use crate::protocol::room::keys::{Error, Wish};
use crate::protocol::roster::{Change, Roster};
use crate::protocol::{EpochView, Notice};
use crate::refusal::{Refusal, Refused};
use crate::time::Millis;
use crate::wire::frame::Body;
use crate::wire::sync::Sync as Frame;

/// How long somebody outside looks for somebody inside before it proposes a new group.
const LOOK_FOR: Millis = Millis(3_000);
/// Of those who may take a leaf out, the next waits so much longer than the one before.
const TURN: Millis = Millis(500);

impl Member {
    /// What the stored control log holds that the keys have not followed yet.
    pub(super) fn recall_keys(&mut self, cx: &mut Context<'_>) {
        for (index, change) in std::mem::take(&mut self.recalled) {
            self.change_keys(index, &change, cx);
        }
    }

    /// What an ordered entry means for the keys.
    pub(super) fn change_keys(&mut self, index: Index, change: &Change, cx: &mut Context<'_>) {
        if index <= self.talk.keys.handled {
            return;
        }
        match change {
            Change::Removed { peer, .. } if *peer != self.me => self.seal_apart(cx),
            Change::VoucherRevoked(_, removed, _)
                if !removed.is_empty() && !removed.contains(&self.me) =>
            {
                self.seal_apart(cx);
            }
            Change::Regrouped(RoomId::MAIN) => self.settle_group(cx),
            Change::Ordered { room: RoomId::MAIN, group, commit } => {
                self.on_commit(index, *group, commit, cx);
            }
            _ => return,
        }
        let write = self.talk.keys.handle(index);
        cx.actions.writes.push(write);
    }

    /// Somebody who holds our key was removed: until an epoch without it is agreed on we seal under
    /// a key of our own, which members ask us for.
    fn seal_apart(&mut self, cx: &mut Context<'_>) {
        if self.talk.keys.key().is_some() {
            self.make_own_key(cx);
        }
    }

    fn make_own_key(&mut self, cx: &mut Context<'_>) {
        let secret = RoomSecret::new(self.chance.bytes());
        match self.talk.keys.add(secret) {
            Ok((key, writes)) => {
                cx.actions.writes.extend(writes);
                let write = self.talk.keys.seal_under(key);
                cx.actions.writes.push(write);
            }
            Err(error) => tracing::warn!(%error, "no key of our own"),
        }
    }

    fn on_commit(
        &mut self,
        index: Index,
        group: GroupId,
        commit: &bytes::Bytes,
        cx: &mut Context<'_>,
    ) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        let judge = Standing { roster: ledger.roster(), at: index };
        let (followed, writes) = self.talk.keys.follow(group, commit, &judge);
        cx.actions.writes.extend(writes);
        match followed {
            Followed::Yes => self.adopt(cx),
            Followed::Skipped => {}
            Followed::Lost => {
                // Not all at once: of several who were too late one shall be first.
                let wait = self.chance.between(Millis(0), FIRST_WAIT);
                self.talk.keys.way.next = cx.now.mono.after(wait);
            }
        }
    }

    /// There is an epoch that we hold: we seal under it unless somebody removed holds it too.
    fn adopt(&mut self, cx: &mut Context<'_>) {
        let (key, writes) = match self.talk.keys.take_epoch() {
            Ok(taken) => taken,
            Err(error) => return tracing::warn!(%error, "an epoch without a key"),
        };
        cx.actions.writes.extend(writes);
        let roster = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster);
        let is_clean = self.talk.keys.agreed.as_deref().is_some_and(|agreed| {
            agreed.leaves().iter().all(|leaf| roster.is_some_and(|it| it.is_in(&leaf.peer)))
        });
        if is_clean {
            let write = self.talk.keys.seal_under(key);
            cx.actions.writes.push(write);
        } else if self.talk.keys.key().is_none() {
            self.make_own_key(cx);
        }
        self.open_waiting(key, cx);
        self.tell_epoch(cx);
    }

    /// Nothing is told before `ready`.
    pub(super) fn tell_epoch(&self, cx: &mut Context<'_>) {
        if let Some(view) = self.epoch_view().filter(|_| self.joining.is_announced()) {
            cx.notice(Notice::Epoch(view));
        }
    }

    /// The room's epoch, for people; `None` while we are not in it.
    pub(super) fn epoch_view(&self) -> Option<EpochView> {
        let group = self.talk.keys.group()?;
        let members = group.leaves().iter().map(|leaf| self.label(&leaf.peer)).collect();
        Some(EpochView {
            room: super::talk::MAIN.to_owned(),
            epoch: group.epoch(),
            members,
            authenticator: group.authenticator(),
        })
    }

    /// A person asks how the room's keys stand, or for new ones.
    pub(super) fn on_room(
        &mut self,
        command: CommandId,
        room: &str,
        renews: bool,
        cx: &mut Context<'_>,
    ) {
        if room != super::talk::MAIN {
            return cx.fail(command, Refused::new(Refusal::RoomUnknown, room));
        }
        match self.epoch_view() {
            None => cx.fail(command, Refusal::NoKeys),
            Some(epoch) if !renews => cx.notice(Notice::Room { command, epoch }),
            Some(_) => {
                self.talk.keys.is_rekey_wished = true;
                self.talk.keys.rekey_at = None;
                cx.notice(Notice::Rekeying { command });
            }
        }
    }

    /// Brings the group in line with the roster's.
    fn settle_group(&mut self, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        let current = ledger.roster().group(&RoomId::MAIN);
        let keys = &mut self.talk.keys;
        let Some(ours) = keys.agreed.as_deref().map(|agreed| agreed.group()) else {
            return;
        };
        match keys.candidate {
            Some(_) if current == Some(ours) => {
                let write = keys.settle();
                cx.actions.writes.push(write);
                self.adopt(cx);
            }
            Some(replaces) if current == replaces => {}
            None if current == Some(ours) => {}
            _ => cx.actions.writes.extend(keys.forget_group()),
        }
    }

    /// The next step, whichever is due.
    pub(super) fn go_on_with_keys(&mut self, cx: &mut Context<'_>) {
        self.go_on_wanting(cx);
        let is_leaving = self.leaving.is_some_and(|it| it.is_handing_over);
        let follows = |roster: &Roster| roster.applied() >= self.talk.keys.handled;
        // After a start the control log may know less than the keys have followed already.
        let is_behind = !self.ledger.as_ref().is_some_and(|ledger| follows(ledger.roster()));
        if is_leaving || is_behind || !self.is_current() {
            return;
        }
        self.settle_group(cx);
        if self.talk.keys.agreed.is_none() {
            self.look_for_the_group(cx);
        } else if self.talk.keys.candidate.is_none() {
            self.renew_keys(cx);
        }
        self.run_errand(cx);
    }

    /// Asks one linked member after the other for the way in.
    fn look_for_the_group(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let since = *self.talk.keys.way.since.get_or_insert(now);
        if self.talk.keys.way.info.is_some() {
            self.come_in(cx);
        }
        let way = &mut self.talk.keys.way;
        if self.talk.keys.agreed.is_some() {
            return;
        }
        if now < way.next {
            return cx.actions.wake_by(Some(way.next));
        }
        way.wait = Millis(way.wait.0.saturating_mul(2)).max(FIRST_WAIT).min(LONGEST_WAIT);
        way.next = now.after(way.wait);
        cx.actions.wake_by(Some(way.next));
        let linked = self.talk.linked();
        let way = &mut self.talk.keys.way;
        let left: Vec<PeerId> =
            linked.iter().filter(|peer| !way.out.contains(peer)).copied().collect();
        let has_group = self.ledger.as_ref().and_then(|it| it.roster().group(&RoomId::MAIN));
        if has_group.is_some()
            && let Some(peer) = after(&left, way.last)
        {
            way.last = Some(peer);
            return self.send(peer, Body::Sync(Frame::RoomAsk { room: RoomId::MAIN }), cx);
        }
        way.out.clear();
        let is_founder =
            self.ledger.as_ref().is_some_and(|it| it.genesis().founder.peer == self.me)
                && has_group.is_none();
        if is_founder || now.since(since) >= LOOK_FOR {
            self.propose_group(has_group, cx);
        }
    }

    /// Nobody who could let us in is there: a new group, if the leader orders it.
    fn propose_group(&mut self, replaces: Option<GroupId>, cx: &mut Context<'_>) {
        let leader = self.ledger.as_ref().and_then(|it| it.control().leader());
        let is_near = |peer: PeerId| peer == self.me || self.talk.is_linked(&peer);
        if !leader.is_some_and(|(peer, _)| is_near(peer)) {
            return;
        }
        let (group, seed) = (GroupId(self.chance.bytes()), self.chance.bytes());
        let from = self.talk.keys.from;
        match from.create(RoomId::MAIN, group, self.me, &*self.proofs, seed) {
            Ok((agreed, changes)) => {
                let writes = self.talk.keys.begin(agreed, changes, Some(replaces));
                cx.actions.writes.extend(writes);
            }
            Err(error) => tracing::warn!(%error, "no group"),
        }
    }

    /// Somebody wants to come in.
    pub(super) fn on_room_ask(&self, from: PeerId, cx: &mut Context<'_>) {
        let Some(roster) = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster) else {
            return;
        };
        let group = self.talk.keys.group().filter(|group| {
            roster.group(&RoomId::MAIN) == Some(group.group())
                && roster.applied() >= self.talk.keys.handled
        });
        let info = group.and_then(|group| {
            let info = group.group_info(&*self.proofs);
            Some((group.group(), info.ok()?))
        });
        let answer = Frame::RoomInfo { room: RoomId::MAIN, info, index: roster.applied() };
        self.send(from, Body::Sync(answer), cx);
    }

    /// The way in, or that this member does not know it either.
    pub(super) fn on_room_info(
        &mut self,
        from: PeerId,
        info: Option<(GroupId, bytes::Bytes)>,
        index: Index,
        cx: &mut Context<'_>,
    ) {
        let way = &mut self.talk.keys.way;
        if self.talk.keys.agreed.is_some() || way.last != Some(from) {
            return;
        }
        match info {
            Some((group, info)) => way.info = Some((from, index, group, info)),
            None => {
                way.out.insert(from);
                way.next = cx.now.mono;
            }
        }
    }

    /// Makes an external commit from a group info that is exactly as old as what we know.
    fn come_in(&mut self, cx: &mut Context<'_>) {
        let Some(roster) = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster) else {
            return;
        };
        let Some((from, index, group, info)) = self.talk.keys.way.info.take() else {
            return;
        };
        let applied = roster.applied();
        if index > applied {
            // Its giver is ahead of us; the log will come.
            self.talk.keys.way.info = Some((from, index, group, info));
            return;
        }
        let is_fresh = roster.group(&RoomId::MAIN) == Some(group);
        if !is_fresh || index < roster.moved_at(&RoomId::MAIN) {
            self.talk.keys.way.next = cx.now.mono;
            return;
        }
        let (judge, seed) = (Standing { roster, at: applied }, self.chance.bytes());
        let (agreements, me) = (self.talk.keys.from, self.me);
        let joined = agreements.join_external(RoomId::MAIN, me, &info, &judge, &*self.proofs, seed);
        match joined {
            Ok((agreed, changes)) => {
                let writes = self.talk.keys.begin(agreed, changes, None);
                cx.actions.writes.extend(writes);
                self.merge_early(cx);
            }
            // Somebody inside takes the leaf of our lost database out.
            Err(Error::OldLeaf) => {}
            Err(error) => {
                tracing::warn!(%error, peer = %from, "a group info that leads nowhere");
                self.talk.keys.way.out.insert(from);
            }
        }
    }

    /// Renews the keys if somebody must go, or a person asked for it.
    fn renew_keys(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let Some(roster) = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster) else {
            return;
        };
        let Some(group) = self.talk.keys.group().filter(|group| group.pending().is_none()) else {
            return;
        };
        let place = (roster.applied(), group.epoch());
        if self.talk.keys.clean_at == Some(place) && !self.talk.keys.is_rekey_wished {
            return;
        }
        let leaves = group.leaves();
        let is_stale = |peer: &PeerId, device| {
            let member = roster.member(peer).filter(|member| member.is_in());
            member.and_then(|it| it.newest()).is_none_or(|(_, newest)| newest != device)
        };
        let stale: Vec<PeerId> = leaves
            .iter()
            .filter(|leaf| leaf.peer != self.me && is_stale(&leaf.peer, leaf.device))
            .map(|leaf| leaf.peer)
            .collect();
        if stale.is_empty() && !self.talk.keys.is_rekey_wished {
            self.talk.keys.rekey_at = None;
            self.talk.keys.clean_at = Some(place);
            return;
        }
        // Who comes first in the order of those who are there begins; the others wait their turn.
        let is_before = |peer: &PeerId| *peer < self.me && self.talk.is_linked(peer);
        let before = leaves.iter().filter(|leaf| !stale.contains(&leaf.peer));
        let turn = before.filter(|leaf| is_before(&leaf.peer)).count();
        let turn = if self.talk.keys.is_rekey_wished { 0 } else { turn };
        let wait = TURN.times(u64::try_from(turn).unwrap_or(u64::MAX));
        let at = *self.talk.keys.rekey_at.get_or_insert(now.after(wait));
        if now < at {
            return cx.actions.wake_by(Some(at));
        }
        let judge = Standing { roster, at: roster.applied() };
        let wish = Wish { add: Vec::new(), remove: stale };
        let Some(agreed) = self.talk.keys.agreed.as_deref_mut() else {
            return;
        };
        match agreed.stage(&wish, &judge, &*self.proofs) {
            Ok(changes) => {
                let writes = self.talk.keys.store_group(changes);
                cx.actions.writes.extend(writes);
                self.merge_early(cx);
            }
            Err(error) => {
                tracing::warn!(%error, "no commit could be made");
                self.talk.keys.rekey_at = Some(now.after(LONGEST_WAIT));
                cx.actions.wake_by(self.talk.keys.rekey_at);
            }
        }
    }

    /// For the tests that prove the tests: as if a commit needed no order.
    fn merge_early(&mut self, cx: &mut Context<'_>) {
        if !self.setup.mistakes.eager_merge {
            return;
        }
        let pending = self.talk.keys.agreed.as_deref().and_then(|agreed| {
            let commit = agreed.pending()?.commit.clone();
            Some((agreed.group(), commit))
        });
        let applied = self.ledger.as_ref().map(|it| it.applied());
        if let (Some((group, commit)), Some(applied)) = (pending, applied) {
            let id = IntentId(self.chance.bytes());
            let wish = crate::wire::roster::Wish::Commit {
                room: RoomId::MAIN,
                group,
                commit: commit.clone(),
            };
            if let Some(intent) = self.make_intent(id, &wish) {
                self.submit(intent, cx);
            }
            self.on_commit(applied, group, &commit, cx);
        }
    }

    /// What is to be ordered is submitted until it is, or until there is something else.
    fn run_errand(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let Some((subject, wish)) = self.talk.keys.errand_wish() else {
            self.talk.keys.errand = None;
            return;
        };
        if self.talk.keys.errand.as_ref().is_none_or(|it| it.subject != subject) {
            let id = IntentId(self.chance.bytes());
            let Some(intent) = self.make_intent(id, &wish) else {
                return;
            };
            let errand = Errand { subject, intent, next: now, wait: FIRST_WAIT };
            self.talk.keys.errand = Some(errand);
        }
        let Some(errand) = self.talk.keys.errand.as_mut() else {
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
