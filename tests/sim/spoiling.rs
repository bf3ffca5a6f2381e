//! A member whose commits nobody else can follow, and one that says so falsely.
//! Owns: the plans, how soon the others go on, and that it commits nothing more.
//! Must not know: how a group is agreed on.
//! Invariants: talk goes on in every room, whoever cannot follow; a room that its network may read
//! has keys again without the one who spoiled them, a private one when that one lets the others in;
//! in both its commits count for nothing from then on.
//! Start reading at: [`run`].

use std::collections::BTreeSet;

use p2pgroup::ids::{GroupId, Hash, Index, RoomId};
use p2pgroup::protocol::roster::Change;
use p2pgroup::protocol::{Command, Notice, RoomAction, RoomEntry};
use p2pgroup::terms::History;
use p2pgroup::wire::order::{Order, RoomOrder};

use crate::absent;
use crate::broken::Broken;
use crate::node::Node;
use crate::plan::{self, Outcome};
use crate::rooms;
use crate::world::World;

/// As `plan::found` adds them; the last one spoils.
const ALICE: usize = 2;
const BOB: usize = 3;
const CAROL: usize = 4;
const DAVE: usize = 5;
/// Who is put out comes back by then, in peace.
const BACK: u64 = 20_000;
const HOUR: u64 = 3_600_000;
const WHAT: &str = "who_cannot_follow_comes_back";
const VOID: &str = "suspended_commits_nothing";

/// Dave renews the keys of `main` and of a private room, alone follows, and is away or stays; his
/// program heeds that he is suspended, or does not. `has_mls`: with real keys.
pub fn run(seed: u64, broken: Broken, has_mls: bool) -> Outcome {
    let mut world = World::new(seed, broken, false);
    world.has_mls = has_mls;
    let (is_away, is_stubborn, ends) = (seed.is_multiple_of(2), seed % 4 > 1, seed % 8 > 3);
    if let Some(den) = spoil(&mut world, seed, is_away, is_stubborn)
        && commits_nothing(&mut world, den, is_stubborn, ends)
    {
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

/// Carol says of everybody's commits that she cannot follow them, in `main` and a private room.
pub fn lied_about(seed: u64, broken: Broken) -> Outcome {
    let mut world = World::new(seed, broken, false);
    let mut dice = crate::dice::Dice::new(seed, 3);
    plan::found(&mut world, 4, 500, &mut dice);
    world.nodes[CAROL].lies = true;
    let mut is_quiet = plan::quiet(&mut world, 20_000);
    for node in [ALICE, BOB, DAVE, ALICE] {
        if is_quiet {
            act(&mut world, node, "main", RoomAction::Rekey);
            let next = world.now + 2_000;
            world.run_until(next);
            is_quiet = world.violation.is_none() && plan::quiet(&mut world, 20_000);
        }
    }
    let said = lies(&world, RoomId::MAIN).len();
    if is_quiet && said < 3 {
        world.fail("only_who_spoils_is_suspended", format!("carol lied {said} times"));
    }
    if is_quiet {
        lies_in_private(&mut world);
    }
    let is_quiet = is_quiet && world.violation.is_none();
    if is_quiet {
        plan::settle(&mut world);
    }
    Outcome::of(&world)
}

/// The same in a private room of all four.
fn lies_in_private(world: &mut World) {
    let (entry, description) = (RoomEntry::Invited, String::new());
    act(world, ALICE, "den", RoomAction::Create { entry, is_listed: false, description });
    for node in [BOB, CAROL, DAVE] {
        if plan::quiet(world, 20_000) {
            let name = world.nodes[node].name.clone();
            act(world, ALICE, "den", RoomAction::Invite { name, role: None });
        }
    }
    let den = world.nodes[ALICE].rooms().into_iter().find(|it| *it != RoomId::MAIN);
    let Some(den) = den.filter(|_| plan::quiet(world, 20_000)) else { return };
    let before = lies(world, den);
    for node in [ALICE, BOB, DAVE] {
        act(world, node, "den", RoomAction::Rekey);
        let next = world.now + 2_000;
        world.run_until(next);
        if world.violation.is_some() || !plan::quiet(world, 20_000) {
            return;
        }
    }
    let said = lies(world, den).difference(&before).count();
    if said < 3 {
        world.fail("only_who_spoils_is_suspended", format!("carol lied {said} times in private"));
    }
}

/// Of which commits carol said that she could not follow them, as far as that counts.
fn lies(world: &World, room: RoomId) -> BTreeSet<Index> {
    let state = world.nodes[ALICE].member().and_then(|it| it.room_state(&room));
    let stranded = state.map(|it| &it.snapshot().stranded).into_iter().flatten();
    let theirs = stranded.filter(|(_, it)| it.said.contains(&world.nodes[CAROL].peer));
    theirs.map(|(commit, _)| *commit).collect()
}

/// What alice's control log holds of somebody's orders about `main`, past a place.
fn orders(world: &World, by: usize, past: Index, is_it: impl Fn(&Order) -> bool) -> usize {
    let read = |it: &RoomOrder| match it {
        RoomOrder::Plain(bytes) => Order::decode(bytes).ok(),
        RoomOrder::Sealed(_) => None,
    };
    let all = ordered(world, by, past, RoomId::MAIN);
    all.iter().filter_map(read).filter(is_it).count()
}

/// The same, of any room, sealed or not.
fn ordered(world: &World, by: usize, past: Index, room: RoomId) -> Vec<RoomOrder> {
    let Some(ledger) = world.nodes[ALICE].ledger() else { return Vec::new() };
    let theirs = ledger.history().iter().filter_map(|(index, change)| match change {
        Ok(Change::Ordered(it)) if it.by == world.nodes[by].peer && it.room == room => {
            Some((*index, it))
        }
        _ => None,
    });
    let later = theirs.filter(|(index, _)| *index > past);
    later.filter_map(|(_, it)| RoomOrder::decode(&it.order).ok()).collect()
}

/// All others in a room say that dave is suspended there: by which entry.
fn suspended_since(world: &World, room: RoomId) -> Option<Index> {
    let since = |node: usize| {
        let state = world.nodes[node].member()?.room_state(&room)?;
        Some(state.snapshot().suspended.get(&world.nodes[DAVE].peer)?.since)
    };
    let first = since(ALICE)?;
    others(room).iter().all(|it| since(*it) == Some(first)).then_some(first)
}

/// Who is in a room from the first beside dave; alice is the first of them.
fn others(room: RoomId) -> &'static [usize] {
    if room == RoomId::MAIN { &[ALICE, BOB, CAROL] } else { &[ALICE, BOB] }
}

impl World {
    /// Somebody is told that it cannot follow keys of a room, and shown whose they are.
    pub fn cut_off(&mut self, node: usize, notice: &Notice) {
        let Notice::RoomChanged(change) = notice else { return };
        if change.what != "stranded" {
            return;
        }
        let told = change.room.stranded.iter().filter(|it| it.is_cut_off);
        let told = told.map(|it| (node, change.room.id, it.peer));
        self.oracle.cut_off.extend(told);
    }
}

type Epoch = (GroupId, u64, Hash);

fn epoch(world: &World, node: usize, room: RoomId) -> Option<Epoch> {
    world.nodes[node].member().and_then(|it| it.room_epoch(&room))
}

fn is_of_keys(order: &Order) -> bool {
    matches!(order, Order::Commit { .. } | Order::Group { .. })
}

/// He reads and is read as before.
fn talks_on(world: &mut World, room: RoomId, typed: &str) {
    for author in [DAVE, ALICE] {
        let name = world.nodes[author].name.clone();
        world.post_in(author, typed, vec![format!("{name} talks on in {typed}")]);
    }
    let unread = |world: &World| {
        let pairs = [(DAVE, ALICE), (DAVE, BOB), (ALICE, DAVE)].into_iter();
        let mut unread =
            pairs.filter_map(|(author, reader)| absent::unread(world, room, author, reader));
        unread.next()
    };
    if !absent::until(world, BACK, |world| unread(world).is_none()) {
        world.fail(VOID, unread(world).unwrap_or_default());
    }
}

/// He is in the epoch of the others again: by an owner's word, or when his time is over.
fn comes_back(world: &mut World, den: RoomId, since: Index, ends: bool) {
    // What was broken is mended, or he would be suspended again.
    world.switch_off(DAVE);
    world.nodes[DAVE].is_mended = true;
    world.start(DAVE);
    let founder = world.nodes[ALICE].ledger().and_then(|it| it.roster().founder());
    let owner = founder.and_then(|it| world.node_of(&it)).filter(|it| *it != DAVE);
    match owner.filter(|_| !ends) {
        Some(owner) => {
            let name = world.nodes[DAVE].name.clone();
            act(world, owner, "main", RoomAction::Forgive { name: name.clone() });
            act(world, ALICE, "den", RoomAction::Forgive { name });
        }
        None => {
            // His clock is ahead: what he tries too early is void, and he is patient.
            let skew = world.nodes.iter().map(|it| it.skew).max().unwrap_or(0);
            world.nodes.iter_mut().for_each(|it| it.skew = skew + 22 * HOUR);
            world.nodes[DAVE].skew = skew + 26 * HOUR;
            let next = world.now + 50_000;
            world.run_until(next);
            let count = orders(world, DAVE, since, is_of_keys);
            if count > 2 && world.violation.is_none() {
                world.fail(VOID, format!("dave tried {count} times"));
            }
            world.nodes.iter_mut().for_each(|it| it.skew = skew + 26 * HOUR);
        }
    }
    let is_back = |world: &World| {
        let now = world.nodes[DAVE].wall(world.now);
        [RoomId::MAIN, den].into_iter().all(|room| {
            let theirs = epoch(world, ALICE, room);
            let state = world.nodes[DAVE].member().and_then(|it| it.room_state(&room));
            let may = state.is_some_and(|it| it.may_commit(&world.nodes[DAVE].peer, now));
            theirs.is_some() && epoch(world, DAVE, room) == theirs && may
        })
    };
    if !absent::until(world, BACK + 60_000, is_back) {
        world.fail(VOID, "dave does not come back".to_owned());
    }
}

/// What dave commits from now on in either room is void for all; he talks there as before, and the
/// others renew keys.
fn commits_nothing(world: &mut World, den: RoomId, is_stubborn: bool, ends: bool) -> bool {
    world.nodes[DAVE].stays_off = false;
    world.start(DAVE);
    // Carol comes into the private room as soon as somebody can let her in: she opens nothing of what
    // was ordered there before, and counts as all do.
    if !absent::until(world, BACK, |world| epoch(world, ALICE, den).is_some()) {
        world.fail(VOID, "nobody lets alice in".to_owned());
    }
    let name = world.nodes[CAROL].name.clone();
    act(world, ALICE, "den", RoomAction::Invite { name, role: None });
    let is_there = |world: &World| world.nodes[DAVE].is_up() && world.nodes[DAVE].is_ready;
    let is_told = |world: &World| {
        [ALICE, BOB, CAROL].iter().all(|it| world.oracle.accused.contains(&(*it, DAVE)))
    };
    let is_in = |world: &World| epoch(world, CAROL, den).is_some();
    let is_known = |it: &World| {
        let rooms = [RoomId::MAIN, den];
        rooms.iter().all(|room| suspended_since(it, *room).is_some())
            && is_told(it)
            && is_there(it)
            && is_in(it)
    };
    if !absent::until(world, BACK, is_known) {
        world.fail(VOID, "dave is not suspended".to_owned());
    }
    for (room, typed) in [(RoomId::MAIN, "main"), (den, "den")] {
        is_void(world, (room, typed), is_stubborn, ends);
    }
    let since = suspended_since(world, RoomId::MAIN);
    if let Some(since) = since.filter(|_| !is_stubborn && world.violation.is_none()) {
        comes_back(world, den, since, ends);
    }
    world.violation.is_none()
}

fn is_void(world: &mut World, (room, typed): (RoomId, &str), is_stubborn: bool, ends: bool) {
    let Some(since) = suspended_since(world, room).filter(|_| world.violation.is_none()) else {
        return;
    };
    let before = epoch(world, ALICE, room);
    act(world, DAVE, typed, RoomAction::Rekey);
    let next = world.now + 30_000;
    world.run_until(next);
    let count = match room {
        RoomId::MAIN => orders(world, DAVE, since, is_of_keys),
        // They are sealed, and what is void leaves no trace in the room's state: he orders nothing else.
        other => ordered(world, DAVE, since, other).len(),
    };
    if world.violation.is_none() && (count > 0) != is_stubborn {
        world.fail(VOID, format!("dave had {count} commits ordered in {typed}"));
    }
    let is_new = |it: &usize| epoch(world, *it, room) != before;
    if others(room).iter().any(is_new) && world.violation.is_none() {
        world.fail(VOID, format!("others followed dave in {typed}"));
    }
    // Also where keys are handed to nobody who came late: he did not.
    let founder = world.nodes[ALICE].ledger().and_then(|it| it.roster().founder());
    let owner = founder.and_then(|it| world.node_of(&it)).filter(|_| room == RoomId::MAIN);
    if let Some(owner) = owner.filter(|_| ends) {
        for (node, action) in
            [(owner, RoomAction::History(History::None)), (ALICE, RoomAction::Rekey)]
        {
            act(world, node, "main", action);
            let next = world.now + 3_000;
            world.run_until(next);
        }
        let state = world.nodes[ALICE].member().and_then(|it| it.room_state(&room));
        let is_none = state.is_some_and(|it| it.charter().history == History::None);
        if !is_none && world.violation.is_none() {
            world.fail(VOID, "keys are handed over as before".to_owned());
        }
    }
    talks_on(world, room, typed);
    act(world, ALICE, typed, RoomAction::Rekey);
    let is_new = |world: &World| {
        let new = epoch(world, ALICE, room);
        let all = others(room);
        new.is_some() && new != before && all.iter().all(|it| epoch(world, *it, room) == new)
    };
    if !absent::until(world, BACK, is_new) {
        world.fail(VOID, format!("the others renew no keys of {typed}"));
    }
}

fn act(world: &mut World, node: usize, room: &str, action: RoomAction) {
    world.command(node, Command::Act { room: room.to_owned(), action });
}

fn spoil(world: &mut World, seed: u64, is_away: bool, is_stubborn: bool) -> Option<RoomId> {
    let mut dice = crate::dice::Dice::new(seed, 3);
    plan::found(world, 4, 500, &mut dice);
    (world.nodes[DAVE].spoils, world.nodes[DAVE].is_stubborn) = (true, is_stubborn);
    if !plan::quiet(world, 20_000) {
        return None;
    }
    let (entry, description) = (RoomEntry::Invited, String::new());
    act(world, ALICE, "den", RoomAction::Create { entry, is_listed: false, description });
    for node in [BOB, DAVE] {
        if !plan::quiet(world, 20_000) {
            return None;
        }
        let name = world.nodes[node].name.clone();
        act(world, ALICE, "den", RoomAction::Invite { name, role: None });
    }
    if !plan::quiet(world, 20_000) {
        return None;
    }
    let Some(den) = world.nodes[BOB].rooms().into_iter().find(|it| *it != RoomId::MAIN) else {
        world.fail(WHAT, "no room".to_owned());
        return None;
    };
    let epoch = |world: &World, id| world.nodes[DAVE].member().and_then(|it| it.room_epoch(&id));
    let before = [RoomId::MAIN, den].map(|id| epoch(world, id));
    for room in ["main", "den"] {
        act(world, DAVE, room, RoomAction::Rekey);
    }
    // As soon as dave alone is in the new epochs, or the others may be back by his help already.
    let is_spoilt = |world: &World| {
        [RoomId::MAIN, den].map(|id| epoch(world, id)) != before
            && [RoomId::MAIN, den].iter().zip(before).all(|(id, was)| epoch(world, *id) != was)
    };
    let end = world.now + 5_000;
    while !is_spoilt(world) && world.now < end && world.violation.is_none() {
        let next = world.now + 1;
        world.run_until(next);
    }
    let is_lost = |world: &World, id| {
        world.nodes[ALICE].member().is_some_and(|it| it.room_epoch(id) != epoch(world, *id))
    };
    if !is_spoilt(world) || ![RoomId::MAIN, den].iter().any(|id| is_lost(world, id)) {
        world.fail(WHAT, "nothing was spoilt".to_owned());
        return None;
    }
    if is_away {
        world.nodes[DAVE].stays_off = true;
        world.switch_off(DAVE);
        let next = world.now + 1_000;
        world.run_until(next);
        let dave = world.nodes[DAVE].peer;
        let is_told = |it: &usize| world.oracle.cut_off.contains(&(*it, den, dave));
        if !others(den).iter().all(is_told) {
            world.fail(WHAT, "not all who are cut off are told so".to_owned());
        }
        // What is still to be said of it outlives the process.
        world.switch_off(BOB);
        world.start(BOB);
    }
    talk_goes_on(world, den, is_away).then_some(den)
}

fn talk_goes_on(world: &mut World, den: RoomId, is_away: bool) -> bool {
    for (author, room) in [(ALICE, "den"), (BOB, "den"), (ALICE, "main"), (BOB, "main")] {
        let name = world.nodes[author].name.clone();
        world.post_in(author, room, vec![format!("{name} goes on in {room}")]);
    }
    let unread = |world: &World| {
        let pairs = [(ALICE, BOB), (BOB, ALICE)].into_iter();
        pairs
            .flat_map(|pair| [(pair, den), (pair, RoomId::MAIN)])
            .find_map(|((author, reader), id)| absent::unread(world, id, author, reader))
    };
    let held = |world: &World| {
        let is_there = |it: &&Node| it.id != DAVE || !is_away;
        let nodes: Vec<&Node> = world.members().filter(is_there).collect();
        let epochs: Vec<_> =
            nodes.iter().map(|it| it.member()?.room_epoch(&RoomId::MAIN)).collect();
        match epochs.first() {
            Some(Some(first)) => epochs.iter().all(|it| *it == Some(*first)),
            _ => false,
        }
    };
    let is_well = |world: &World| {
        let rooms = world.rooms();
        let in_den = rooms.get(&den).map(|nodes| rooms::is_one_epoch(world, den, nodes));
        unread(world).is_none() && held(world) && (is_away || in_den == Some(Ok(())))
    };
    if !absent::until(world, BACK, is_well) {
        let why = unread(world).unwrap_or_else(|| "no keys in common".to_owned());
        world.fail(WHAT, why);
    }
    world.violation.is_none()
}
