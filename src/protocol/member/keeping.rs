//! Keepers: what we leave with them for those who are away, and what we collect from them.
//! Owns: which linked members keep, what each of them has of our logs, how far we collected; and
//! our own books, if we keep.
//! Must not know: how much a keeper takes (`keeper`), how a deposit is sealed (`room/keys`).
//! Invariants: a keeper in the room is a member of it and is left nothing; what is collected goes
//! the way of every page, so a keeper is believed nothing (20); what a keeper acknowledged is
//! delivered to nobody.
//! Start reading at: [`Member::go_on_keeping`].

mod collecting;
pub(super) mod past;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::expiry::without_ended;
use super::talks::Talk;
use super::{Context, Member};
use crate::identity::Domain;
use crate::ids::{Hash, Incarnation, Index, KeyId, LogId, PeerId, RoomId, Seq, ShelfId};
use crate::limits::{KEYS_MAX, PAGE_ENTRIES_MAX};
use crate::protocol::keeper::{Keeper, Scene};
use crate::protocol::ledger::Ledger;
use crate::protocol::room::keys::deposit::{DepositKey, Place};
use crate::protocol::roster::Roster;
use crate::protocol::sync::page_within;
use crate::protocol::{KeepView, Reads, Write};
use crate::refusal::Refusal;
use crate::terms::KeeperRule;
use crate::time::{Millis, Mono, Wall};
use crate::wire::frame::Body;
use crate::wire::keep::{self, Deposit, Keep, deposit_body};
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Page, Secret};

/// Keepers that have the same: of more, one loses nothing by another.
const KEEPERS_PER_ROOM: usize = 3;
/// Deposits under way to one keeper before it acknowledges.
const WINDOW: usize = 4;
/// Bytes of entries in one deposit, where what is under one signature allows.
const PAGE_BYTES: usize = 224 << 10;
/// Of one log at most the newest so many are left: who lacks more asks members for it.
const ENTRIES_MAX: u64 = 4_096;
/// A keeper that did not take something is asked again after this.
const PAUSE: Millis = Millis(10_000);
/// A clean exit waits for no keeper that acknowledged nothing for so long.
const FLUSH_PATIENCE: Millis = Millis(1_500);
/// What keepers have of our logs.
const KEPT: &str = "keeping/kept/";

/// Keepers, seen from here.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Our own books, if we keep.
    keeper: Option<Keeper>,
    next_tidy: Mono,
    /// Linked members that keep.
    keepers: BTreeMap<PeerId, KeeperLink>,
    /// What keepers have of our logs.
    kept: BTreeMap<(PeerId, LogId), Kept>,
}

/// A linked keeper.
#[derive(Debug)]
struct KeeperLink {
    life: Incarnation,
    asked: BTreeMap<ShelfId, Asked>,
    to_ask: Vec<ShelfId>,
    is_asking: bool,
    under_way: BTreeMap<Hash, (LogId, Seq, Seq)>,
    /// Up to where our logs were sent on this link.
    sent: BTreeMap<LogId, Seq>,
    progress_at: Mono,
    /// It did not take something.
    paused_until: Option<Mono>,
    /// What each room looked like when it was seen to last.
    looked: BTreeMap<RoomId, Look>,
    /// Own entries that were not stored yet when they were to be read: looked at once more.
    unstored: BTreeMap<RoomId, Seq>,
    is_pruned: bool,
}

/// A shelf that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    room: RoomId,
    key: KeyId,
    after: u64,
}

/// What a keeper has of a log: all from one place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    life: Incarnation,
    from: Seq,
    upto: Seq,
    /// The longest that it is kept.
    until: Wall,
}

/// What decides whether something is to be left or collected.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    own: (LogId, Seq),
    handled: Index,
    key: Option<KeyId>,
    epoch: Option<u64>,
    keys: usize,
    linked: Vec<PeerId>,
    keepers: Vec<PeerId>,
    is_leaving: bool,
}

impl Kept {
    fn encode(self) -> Bytes {
        let numbers = [self.life.0, self.from.0, self.upto.0, self.until.0];
        numbers.map(u64::to_be_bytes).concat().into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at.checked_add(8)?)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        let (life, from) = (Incarnation(number(0)?), Seq(number(8)?));
        Some(Self { life, from, upto: Seq(number(16)?), until: Wall(number(24)?) })
    }
}

impl Keeping {
    /// What is stored; `rule` if we keep.
    pub(super) fn load(rule: Option<KeeperRule>, me: PeerId, reads: &dyn Reads) -> Self {
        let stored = reads.settings(KEPT).into_iter();
        let kept = stored.filter_map(|(name, value)| {
            let mut parts = name.strip_prefix(KEPT)?.split('/');
            let keeper = PeerId::parse(parts.next()?)?;
            let room = RoomId::parse(parts.next()?)?;
            let incarnation = Incarnation(u64::from_str_radix(parts.next()?, 16).ok()?);
            let log = LogId { room, author: me, incarnation };
            Some(((keeper, log), Kept::decode(&value)?))
        });
        Self {
            kept: kept.collect(),
            keeper: rule.map(|rule| Keeper::load(rule, reads)),
            ..Self::default()
        }
    }

    /// Whether we keep what others leave.
    pub(super) fn is_keeper(&self) -> bool {
        self.keeper.is_some()
    }

    /// Linked members that keep.
    pub(super) fn linked_keepers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.keepers.keys().copied()
    }

    /// How much we keep.
    pub(super) fn view(&self) -> Option<KeepView> {
        self.keeper.as_ref().map(Keeper::view)
    }

    /// What was to be kept no longer than until now is counted on no more.
    pub(super) fn forget_old(&mut self, now: Wall) {
        self.kept.retain(|_, kept| now < kept.until);
    }

    /// Who has an entry of our own in its care, as far as it said.
    pub(super) fn kept_by(&self, log: &LogId, seq: Seq) -> Vec<PeerId> {
        let has = |kept: &Kept| kept.from <= seq && seq <= kept.upto;
        let of_log = self.kept.iter().filter(|((_, of), _)| of == log);
        of_log.filter(|(_, kept)| has(kept)).map(|((by, _), _)| *by).collect()
    }

    /// Whether an exit should still wait for a keeper.
    pub(super) fn is_flushing(&self, now: Mono) -> bool {
        let waits = |it: &KeeperLink| {
            !it.under_way.is_empty() && now.since(it.progress_at) < FLUSH_PATIENCE
        };
        self.keepers.values().any(waits)
    }

    /// A link is gone.
    pub(super) fn on_unlink(&mut self, peer: &PeerId) {
        self.keepers.remove(peer);
        if let Some(keeper) = &mut self.keeper {
            keeper.on_unlink(peer);
        }
    }

    /// A linked member says whether it keeps. What it kept in another life it has no more.
    pub(super) fn on_hello(
        &mut self,
        peer: PeerId,
        keeps: bool,
        life: Incarnation,
        now: Mono,
    ) -> Vec<Write> {
        if !keeps {
            self.keepers.remove(&peer);
            return Vec::new();
        }
        self.keepers.entry(peer).or_insert_with(|| KeeperLink {
            life,
            asked: BTreeMap::new(),
            to_ask: Vec::new(),
            is_asking: false,
            under_way: BTreeMap::new(),
            sent: BTreeMap::new(),
            progress_at: now,
            paused_until: None,
            looked: BTreeMap::new(),
            unstored: BTreeMap::new(),
            is_pruned: false,
        });
        let is_lost = |(by, _): &(PeerId, LogId), kept: &Kept| *by == peer && kept.life != life;
        let lost: Vec<(PeerId, LogId)> =
            self.kept.iter().filter(|(at, kept)| is_lost(at, kept)).map(|(at, _)| *at).collect();
        let forget = |at: (PeerId, LogId)| {
            self.kept.remove(&at);
            Write::Setting { key: kept_key(&at), value: None }
        };
        lost.into_iter().map(forget).collect()
    }

    /// More of a log is in a keeper's care.
    fn note_kept(&mut self, at: (PeerId, LogId), new: Kept) -> Write {
        let before = self
            .kept
            .get(&at)
            .filter(|it| it.life == new.life && it.from <= new.from && new.from <= it.upto.next());
        let kept = before.map_or(new, |it| Kept {
            from: it.from,
            upto: it.upto.max(new.upto),
            until: it.until.min(new.until),
            ..new
        });
        self.kept.insert(at, kept);
        Write::Setting { key: kept_key(&at), value: Some(kept.encode()) }
    }
}

fn kept_key((keeper, log): &(PeerId, LogId)) -> String {
    format!("{KEPT}{keeper}/{}/{:016x}", log.room, log.incarnation.0)
}

impl Member {
    /// Something between a member and a keeper.
    pub(super) fn on_keep(&mut self, from: PeerId, frame: Keep, cx: &mut Context<'_>) {
        match frame {
            Keep::Deposit(deposit) => self.on_deposit(from, deposit, cx),
            Keep::Collect(shelves) => {
                let answer = self.as_keeper(cx, |keeper, scene| {
                    scene.roster.is_in(&from).then(|| keeper.collect(from, &shelves, scene))
                });
                match answer {
                    // What was not synced yet is given out no sooner.
                    Some(Some(answer)) => self.send_ack(from, Body::Keep(answer), cx),
                    // Its admission has not reached us.
                    Some(None) => {}
                    None => self.refuse(from, Refusal::FrameUnexpected, cx),
                }
            }
            Keep::Deposited { hash, is_kept, until } => {
                self.on_deposited(from, hash, is_kept.then_some(until), cx);
            }
            Keep::Collected { shelves, is_answer } => {
                self.on_collected(from, shelves, is_answer, cx);
            }
        }
    }

    fn as_keeper<T>(
        &mut self,
        cx: &Context<'_>,
        act: impl FnOnce(&mut Keeper, &Scene<'_>) -> T,
    ) -> Option<T> {
        let network = self.authority.as_ref()?.network;
        let roster = self.ledger.as_ref().map(Ledger::roster)?;
        let (reads, now) = (cx.reads, cx.now.wall);
        let scene = Scene { place: (network, self.me), roster, proofs: &*self.proofs, reads, now };
        self.keeping.keeper.as_mut().map(|keeper| act(keeper, &scene))
    }

    fn on_deposit(&mut self, from: PeerId, deposit: Deposit, cx: &mut Context<'_>) {
        let hash = deposit.hash();
        match self.as_keeper(cx, |keeper, scene| keeper.take(from, deposit, scene)) {
            Some(Ok(outcome)) => {
                self.keeping.next_tidy = cx.now.mono;
                cx.actions.writes.extend(outcome.writes);
                for (to, says) in outcome.says {
                    self.send_ack(to, Body::Keep(says), cx);
                }
            }
            // Its admission has not reached us; it asks again.
            Some(Err(Refusal::NotAMember)) => {
                let until = cx.now.wall;
                let answer = Keep::Deposited { hash, is_kept: false, until };
                self.send_ack(from, Body::Keep(answer), cx);
            }
            Some(Err(refusal)) => self.refuse(from, refusal, cx),
            None => self.refuse(from, Refusal::FrameUnexpected, cx),
        }
    }

    /// A keeper says whether it has what we left; until when, if it does.
    fn on_deposited(
        &mut self,
        from: PeerId,
        hash: Hash,
        until: Option<Wall>,
        cx: &mut Context<'_>,
    ) {
        let Some(link) = self.keeping.keepers.get_mut(&from) else {
            return;
        };
        let Some((log, start, upto)) = link.under_way.remove(&hash) else {
            return;
        };
        link.progress_at = cx.now.mono;
        link.looked.remove(&log.room);
        let life = link.life;
        match until {
            Some(until) => {
                let kept = Kept { life, from: start, upto, until };
                cx.actions.writes.push(self.keeping.note_kept((from, log), kept));
            }
            None => {
                link.paused_until = Some(cx.now.mono.after(PAUSE));
                // What came after it would leave a gap.
                link.under_way.clear();
                link.sent.clear();
            }
        }
    }

    /// What is due: what goes from our own shelves, what is left with others and collected there.
    pub(super) fn go_on_keeping(&mut self, cx: &mut Context<'_>) {
        self.go_on_tidying(cx);
        let is_handing_over = self.leaving.is_some_and(|it| it.is_handing_over);
        if self.keeping.keepers.is_empty() || is_handing_over || !self.is_current() {
            return;
        }
        for link in self.keeping.keepers.values_mut() {
            match link.paused_until {
                Some(until) if until <= cx.now.mono => {
                    link.paused_until = None;
                    link.looked.clear();
                }
                until => cx.actions.wake_by(until),
            }
            if !link.under_way.is_empty() && self.leaving.is_some() {
                cx.actions.wake_by(Some(link.progress_at.after(FLUSH_PATIENCE)));
            }
        }
        let rooms = self.talks.rooms.keys().filter(|room| **room != RoomId::MAIN);
        let rooms: Vec<RoomId> = rooms.copied().collect();
        for room in rooms {
            self.look_after(room, cx);
        }
        self.ask_keepers(cx);
    }

    fn go_on_tidying(&mut self, cx: &mut Context<'_>) {
        if self.keeping.keeper.is_none() {
            return;
        }
        if cx.now.mono >= self.keeping.next_tidy {
            let Some((write, next)) = self.as_keeper(cx, Keeper::tidy) else {
                return;
            };
            cx.actions.writes.extend(write);
            // At least every hour: the clock may have been set.
            let wait = next.map_or(TIDY_EVERY, |next| next.since(cx.now.wall).min(TIDY_EVERY));
            self.keeping.next_tidy = cx.now.mono.after(wait);
        }
        cx.actions.wake_by(Some(self.keeping.next_tidy));
    }

    fn look_after(&mut self, room: RoomId, cx: &mut Context<'_>) {
        let Some(look) = self.look_at(room) else {
            return;
        };
        let is_seen = |peer: &PeerId| {
            self.keeping.keepers.get(peer).and_then(|it| it.looked.get(&room)) == Some(&look)
        };
        let changed: Vec<PeerId> =
            look.keepers.iter().filter(|peer| !is_seen(peer)).copied().collect();
        if changed.is_empty() {
            return;
        }
        let chosen = self.chosen(room, &look);
        for keeper in changed {
            self.want_shelves(room, keeper, cx.reads);
            let key = chosen.iter().find(|(peer, _)| *peer == keeper).map(|(_, key)| key);
            let unstored = key.and_then(|key| self.leave_with((room, keeper), key, cx));
            let Some(link) = self.keeping.keepers.get_mut(&keeper) else {
                continue;
            };
            match unstored {
                // What was posted in this turn is there in the next.
                Some(seq) if link.unstored.insert(room, seq) != Some(seq) => {
                    cx.actions.wake_by(Some(cx.now.mono));
                }
                _ => {
                    link.looked.insert(room, look.clone());
                }
            }
        }
    }

    fn look_at(&self, room: RoomId) -> Option<Look> {
        let roster = self.ledger.as_ref().map(Ledger::roster)?;
        let talk = self.talks.rooms.get(&room)?;
        if !talk.state.is_ordered() || !self.is_in_step(talk) {
            // Started a moment ago: what was left is taken with the control log that goes with it.
            return None;
        }
        let is_outside = |peer: &PeerId| roster.is_in(peer) && !talk.state.is_in(peer, roster);
        Some(Look {
            own: (talk.room.own(), talk.own_head().0),
            handled: talk.state.handled(),
            key: talk.keys.key(),
            epoch: talk.keys.group().map(|group| group.epoch()),
            keys: talk.keys.ring.ids().count(),
            linked: talk.sync.linked(),
            keepers: self.keeping.keepers.keys().filter(|it| is_outside(it)).copied().collect(),
            is_leaving: self.leaving.is_some(),
        })
    }

    fn deposit_key(&self, room: RoomId, key: &KeyId, keeper: PeerId) -> Option<DepositKey> {
        let network = self.authority.as_ref()?.network;
        let keys = &self.talks.rooms.get(&room)?.keys;
        let mut secret = keys.ring.secret(key)?;
        if self.setup.mistakes.open_shelves {
            let main = &self.talks.rooms.get(&RoomId::MAIN)?.keys;
            secret = main.ring.secret(&main.key()?)?;
        }
        Some(DepositKey::of(secret, &Place { network, room, keeper }))
    }

    /// With whom we leave what is said, and under which keys. Nothing under a key of our own: only
    /// an epoch's key is found by who was away, and one that somebody removed holds is none.
    fn chosen(&self, room: RoomId, look: &Look) -> Vec<(PeerId, DepositKey)> {
        let is_agreed = |talk: &Talk, key: &KeyId| {
            let secret = talk.keys.group().and_then(|group| group.secret().ok());
            secret.is_some_and(|secret| secret.id(room) == *key)
        };
        let talk = self.talks.rooms.get(&room);
        let Some(key) = look.key.filter(|key| talk.is_some_and(|talk| is_agreed(talk, key))) else {
            return Vec::new();
        };
        let keys = look.keepers.iter();
        let mut chosen: Vec<(PeerId, DepositKey)> = keys
            .filter_map(|keeper| Some((*keeper, self.deposit_key(room, &key, *keeper)?)))
            .collect();
        // Shelves are as good as chance, and the same for all members.
        chosen.sort_by_key(|(_, key)| key.shelf());
        chosen.truncate(KEEPERS_PER_ROOM);
        chosen
    }

    /// The first entry of our own that somebody may lack who is not here to get it.
    fn first_lacked(&self, talk: &Talk, log: &LogId) -> Option<Seq> {
        let roster = self.ledger.as_ref().map(Ledger::roster)?;
        let is_leaving = self.leaving.is_some();
        let away = talk
            .state
            .members(roster)
            .map(|(peer, _)| peer)
            .filter(|peer| *peer != self.me && (is_leaving || !talk.sync.is_linked(peer)));
        away.map(|peer| talk.held_of(log, &peer)).min().map(Seq::next)
    }

    /// Leaves with a keeper what somebody away lacks of our logs, within the window. Gives the first
    /// entry that should be there and could not be read.
    fn leave_with(
        &mut self,
        (room, keeper): (RoomId, PeerId),
        key: &DepositKey,
        cx: &mut Context<'_>,
    ) -> Option<Seq> {
        if self.setup.mistakes.leaves_nothing {
            return None;
        }
        let logs = self.talks.rooms.get(&room)?.own_logs();
        let mut unstored = None;
        for log in logs {
            // The last one is the one that grows.
            unstored = self.leave_log(log, keeper, key, cx);
        }
        unstored
    }

    fn leave_log(
        &mut self,
        (log, head): (LogId, Seq),
        keeper: PeerId,
        key: &DepositKey,
        cx: &mut Context<'_>,
    ) -> Option<Seq> {
        let talk = self.talks.rooms.get(&log.room)?;
        let lacked = self.first_lacked(talk, &log).filter(|_| !talk.room.is_cut(&log))?;
        let oldest = Seq(head.0.saturating_sub(ENTRIES_MAX.saturating_sub(1)));
        let mut next = lacked.max(oldest);
        let kept = self.keeping.kept.get(&(keeper, log)).filter(|it| it.until > cx.now.wall);
        if let Some(kept) = kept.filter(|it| it.from <= next) {
            next = next.max(kept.upto.next());
        }
        let network = self.authority.as_ref()?.network;
        let roster = self.ledger.as_ref().map(Ledger::roster)?;
        let link = self.keeping.keepers.get_mut(&keeper)?;
        next = next.max(link.sent.get(&log).map_or(Seq(0), |sent| sent.next()));
        if next <= head && link.under_way.is_empty() {
            // The wait for an acknowledgement begins now.
            link.progress_at = cx.now.mono;
        }
        let mut unstored = None;
        let mut sends = Vec::new();
        while next <= head && link.under_way.len() < WINDOW && link.paused_until.is_none() {
            let entries = cx.reads.entries(log, next, PAGE_ENTRIES_MAX);
            let page = page_within(log, entries, PAGE_BYTES);
            let page = page.map(|page| without_ended(page, cx.now.wall));
            let Some((page, upto)) = page.and_then(|page| {
                let upto = page.signatures.last().map(|(seq, _)| *seq)?;
                Some((page, upto))
            }) else {
                unstored = Some(next);
                break;
            };
            let start = std::mem::replace(&mut next, upto.next());
            link.sent.insert(log, upto);
            let kept = with_keys(page, talk, roster);
            let Some(sealed) = key.seal(&kept.encode(), self.chance.bytes()) else {
                tracing::warn!(%start, "a page too long for a keeper");
                continue;
            };
            let mut deposit =
                Deposit { shelf: key.shelf(), sealed, signature: crate::ids::Signature([0; 64]) };
            let hash = deposit.hash();
            let body = deposit_body(network, &keeper, &hash);
            deposit.signature = self.proofs.sign(Domain::Deposit, &body);
            link.under_way.insert(hash, (log, start, upto));
            sends.push(Keep::Deposit(deposit));
        }
        for deposit in sends {
            self.send(keeper, Body::Keep(deposit), cx);
        }
        unstored
    }
}

/// A page with the keys of what in it is not sealed under the epoch's own: said between a removal
/// and the next agreed keys, or before keys were renewed. As with every grant, a key goes only where
/// all who are in the room belong to it since before the key.
fn with_keys(page: Page, talk: &Talk, roster: &Roster) -> keep::Kept {
    let own = talk.keys.key();
    // Whoever holds the epoch's key knows of all that was known when it was agreed on, and nothing
    // is left under it any more once somebody who holds it is out.
    let index = own.and_then(|key| talk.keys.since(&key)).unwrap_or_default();
    let entered = talk.state.members(roster).map(|(peer, _)| talk.state.since(&peer, roster)).max();
    let headers = page.envelopes.iter().filter_map(|it| Sealed::decode(it).ok());
    let named: BTreeSet<KeyId> = headers.map(|it| it.header.key_id).collect();
    let secrets = named.iter().filter(|key| Some(**key) != own).filter_map(|key| {
        let since = talk.keys.since(key).filter(|since| Some(*since) >= entered)?;
        let secret = talk.keys.ring.secret(key)?;
        Some((Secret(zeroize::Zeroizing::new(*secret.expose())), since))
    });
    let secrets = secrets.take(KEYS_MAX).collect();
    keep::Kept { page, secrets, index }
}

/// What is due to go from our shelves is looked for at least this often.
const TIDY_EVERY: Millis = Millis(3_600_000);
