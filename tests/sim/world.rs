//! Whole cores in one process: a virtual clock, a queue of happenings, and the driver's order.
//! Owns: nodes, time, crashes at every boundary of a turn.
//! Must not know: what is right; `checks/` say so.
//! Invariants: a run is a function of its seed and options.
//! Start reading at: [`World::turn`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use p2pgroup::ids::{CommandId, DeviceKey, Incarnation, LogId, PeerId, RoomId, SessionSalt};
use p2pgroup::limits::EVENTS_PER_TURN_MAX;
use p2pgroup::protocol::authority::{AuthorityCore, AuthoritySetup};
use p2pgroup::protocol::bootstrap::{self, Bootstrap};
use p2pgroup::protocol::control::Mistakes;
use p2pgroup::protocol::ledger::Ledger;
use p2pgroup::protocol::member::{self, Member, Trust};
use p2pgroup::protocol::room::Room;
use p2pgroup::protocol::room::keys::toy::Toy as ToyKeys;
use p2pgroup::protocol::{
    Address, Command, Core, Durability, Event, MessageId, Notice, Reads, Send, Timers, Write,
};
use p2pgroup::terms::KeeperRule;
use p2pgroup::time::{Millis, Mono, Now, Wall};
use p2pgroup::wire::frame::{Body, Frame};
use p2pgroup::wire::identity::Admission;
use p2pgroup::wire::keep::Keep;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::checks::{Checks, Seen};
use crate::disk::Disk;
use crate::link::Net;
use crate::oracle::Oracle;
use crate::proofs::{Toy, ToyHolder, ToyIssuer, network};
use crate::trace::Trace;

/// As the driver waits.
/// What a keeper takes.
const SHELVES: KeeperRule = KeeperRule { quota: 64 << 20, age: Millis(600_000) };
const ACK_DELAY: u64 = 5;
const SENT_DELAY: u64 = 2;
const SOFT_DELAY: u64 = 1_000;
const WALL: u64 = 1_795_000_000_000;
const KEYAUTH: &str = "/sim/keyauth";
const BOOTSTRAP: &str = "/sim/bootstrap";

/// Randomness of the world itself.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64, stream: u8) -> Self {
        let mut bytes = [stream; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
    /// Both ends included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }
    pub fn below(&mut self, count: usize) -> usize {
        (self.number() % count.max(1) as u64) as usize
    }
    pub fn one_in(&mut self, count: u64) -> bool {
        self.number().is_multiple_of(count)
    }
    pub fn percent(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// Which faults come often, so that what they bring to light is found soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hunt {
    Crashes,
    PowerLosses,
    OldCopies,
    LostDisks,
    Rooms,
}

/// What may be broken on purpose.
#[derive(Clone, Copy, Default)]
pub struct Broken {
    pub control: Mistakes,
    /// Hashes in vectors and acknowledgements are as the receiver would have them.
    pub bare_seq: bool,
    /// What is told to be held says nothing of forked logs.
    pub silent_forks: bool,
    /// Acknowledgements do not wait for the sync.
    pub ack_before_store: bool,
    /// A keeper says that it keeps, and does not.
    pub keeper_forgets: bool,
    /// A keeper hands what lies with it to somebody else.
    pub gives_elsewhere: bool,
    /// What waits to be acknowledged is, although it could not be stored.
    pub acks_unstored: bool,
    /// People are told that something is stored, although it could not be.
    pub tells_unstored: bool,
    /// A core goes on after a transaction that failed.
    pub keeps_core: bool,
    /// Posts that wait in the core are forgotten with it when a transaction fails.
    pub forgets_held: bool,
    /// What a core writes when it is loaded again is never written.
    pub drops_first_writes: bool,
    /// No mistake: what a run looks for.
    pub hunt: Option<Hunt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Member,
    Bootstrap,
    Authority,
}

/// What is drawn anew for every time that a core is loaded.
pub struct Once {
    pub salt: SessionSalt,
    pub seed: [u8; 32],
}

pub enum Running {
    Member(Box<Member>),
    Bootstrap(Box<Bootstrap>),
    Authority(Box<AuthorityCore>),
}

impl Running {
    pub fn core(&mut self) -> &mut dyn Core {
        match self {
            Self::Member(core) => core.as_mut(),
            Self::Bootstrap(core) => core.as_mut(),
            Self::Authority(core) => core.as_mut(),
        }
    }
    fn takes_commands(&self) -> bool {
        match self {
            Self::Member(core) => core.takes_commands(),
            _ => true,
        }
    }
}

pub struct Node {
    pub id: usize,
    pub label: String,
    pub name: String,
    pub kind: Kind,
    pub peer: PeerId,
    pub disk: Disk,
    pub running: Option<Running>,
    /// Counts starts; what was under way for an earlier one is void.
    pub boot: u64,
    pub incarnation: Incarnation,
    pub device: DeviceKey,
    /// Of databases that are gone.
    pub past_devices: Vec<DeviceKey>,
    pub is_ready: bool,
    /// It left by its own will, or was told to go.
    pub is_over: bool,
    pub asked_to_exit_at: Option<u64>,
    spki: Vec<u8>,
    /// Whether it comes by the one invite there is.
    is_invited: bool,
    booted_at: u64,
    /// How long its monotonic clock stood still.
    stood_still: u64,
    skew: u64,
    inbox: VecDeque<Event>,
    has_turn: bool,
    busy_until: u64,
    asleep_until: u64,
    wake: u64,
    pub wake_at: Option<Mono>,
    /// Acknowledgements that wait for a sync, and when that is due.
    acks: Vec<Send>,
    /// Acknowledgements that may leave.
    ready: Vec<Send>,
    sync_at: Option<u64>,
    /// Notices that wait for the same, after own entries that are committed and not synced.
    pub late: Vec<Notice>,
    has_sent: bool,
    has_lost_power: bool,
    moves: u64,
    pub copy: Option<Disk>,
    /// Whether it keeps what others leave with it.
    pub is_keeper: bool,
    /// Nobody starts it again until the plan says so.
    pub stays_off: bool,
    /// Until when nothing can be committed.
    pub full_until: u64,
    /// Posts whose effects are in the open transaction, or that wait in the core.
    pub unanswered: BTreeSet<CommandId>,
    /// Posts of the running turn.
    pub open_commands: Vec<CommandId>,
    /// Messages shown that are not committed.
    shown: Vec<MessageId>,
    /// Messages shown whose transaction failed: they come again and are not shown again.
    shown_before: BTreeSet<MessageId>,
    /// Turns at one instant, to find a core that spins.
    spin: (u64, u32),
}

impl Node {
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }
    pub fn is_asleep(&self, now: u64) -> bool {
        self.asleep_until > now
    }
    pub fn address(&self) -> Address {
        match self.kind {
            Kind::Member => format!("/sim/{}/{}", self.id, self.moves),
            Kind::Bootstrap => BOOTSTRAP.to_owned(),
            Kind::Authority => KEYAUTH.to_owned(),
        }
    }
    pub fn ledger(&self) -> Option<&Ledger> {
        match self.running.as_ref()? {
            Running::Member(core) => core.ledger(),
            Running::Bootstrap(core) => core.ledger(&network()),
            Running::Authority(_) => None,
        }
    }
    /// The space of its control log.
    pub fn space(&self) -> String {
        match self.kind {
            Kind::Member => "main".to_owned(),
            _ => network().to_string(),
        }
    }
    pub fn member(&self) -> Option<&Member> {
        match self.running.as_ref()? {
            Running::Member(core) => Some(core),
            _ => None,
        }
    }
    /// Whether it can write at once into a room, as it is typed.
    pub fn has_key_of(&self, room: &str) -> bool {
        self.member().is_some_and(|it| {
            it.room_ids().any(|id| it.room_typed(&id) == room && it.room_has_key(&id))
        })
    }
    /// The rooms it is in, as it knows.
    pub fn rooms(&self) -> Vec<RoomId> {
        let Some(member) = self.member() else { return Vec::new() };
        let Some(roster) = member.ledger().map(Ledger::roster) else { return Vec::new() };
        let is_in = |id: &RoomId| {
            let state = member.room_state(id);
            state.is_some_and(|state| state.is_ordered() && state.is_in(&self.peer, roster))
        };
        member.room_ids().filter(is_in).collect()
    }
    /// What its clock says.
    pub fn wall(&self, now: u64) -> Wall {
        self.time(now).wall
    }
    /// Since when its process runs and nothing stopped it.
    pub fn awake_since(&self) -> u64 {
        self.booted_at.max(self.asleep_until)
    }
    pub fn takes_commands(&self) -> bool {
        self.running.as_ref().is_some_and(Running::takes_commands)
    }
    /// How long it may have handled nothing since then.
    pub fn pauses_since(&self, at: u64) -> u64 {
        if self.asleep_until > at { self.asleep_until - at + 2_000 } else { 0 }
    }
    /// Its transaction failed: what rested on it is forgotten.
    pub fn undone(&mut self) {
        self.disk.roll_back();
        self.acks.clear();
        (self.sync_at, self.has_sent) = (None, false);
        self.shown_before.extend(self.shown.drain(..));
    }
    pub fn time(&self, now: u64) -> Now {
        let mono = now - self.booted_at - self.stood_still + 1_000;
        Now { mono: Mono(mono), wall: Wall(WALL + now + self.skew) }
    }
}

/// What is to happen.
#[derive(Clone)]
pub enum Happening {
    Turn {
        node: usize,
        boot: u64,
    },
    Wake {
        node: usize,
        boot: u64,
        wake: u64,
    },
    Sync {
        node: usize,
        boot: u64,
    },
    Start {
        node: usize,
    },
    Arrive {
        from: usize,
        to: usize,
        conn: u64,
        bytes: Bytes,
    },
    Dialled {
        from: usize,
        boot: u64,
        peer: Option<PeerId>,
        addresses: Vec<Address>,
        target: Option<usize>,
    },
    Up {
        one: usize,
        other: usize,
        conn: u64,
        is_outbound: bool,
    },
    Down {
        one: usize,
        other: usize,
        conn: u64,
    },
    GiveUp {
        one: usize,
        other: usize,
        conn: u64,
    },
    Asked {
        from: usize,
        to: usize,
        number: u64,
        bytes: Bytes,
    },
    Answered {
        number: u64,
        bytes: Bytes,
    },
    NoAnswer {
        number: u64,
    },
    /// Left to the plan.
    Plan(u32),
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub name: &'static str,
    pub text: String,
}

/// Where a turn is cut short.
#[derive(Clone, Copy)]
enum Cut {
    BeforeCommit,
    AfterSends(usize),
    AfterNotices(usize),
}

pub struct World {
    pub now: u64,
    pub dice: Dice,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub oracle: Oracle,
    pub trace: Trace,
    pub violation: Option<Violation>,
    pub authority: usize,
    pub bootstrap: usize,
    pub broken: Broken,
    /// Least and most delay of a frame.
    pub delays: (u64, u64),
    pub duplicates: bool,
    /// One turn in so many is cut short; 0 for none.
    pub crashes: u64,
    /// One frame in so many of an evil peer is changed; 0 for none.
    pub tampers: u64,
    pub is_slow: bool,
    /// Up to so many links everybody keeps one with everybody.
    pub max_links: usize,
    /// How often each entry was sent to each node, if it is counted.
    pub copies: Option<BTreeMap<(usize, LogId, u64), usize>>,
    /// How many the one invite admits; as many come by it, if there are so many. 0: none does.
    pub invited: u32,
    checks: Checks,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    commands: u64,
    /// The plan's own happenings that came due.
    pub due: Vec<u32>,
}

impl World {
    pub fn new(seed: u64, broken: Broken, keeps_lines: bool) -> Self {
        let mut world = Self {
            now: 0,
            dice: Dice::new(seed, 1),
            nodes: Vec::new(),
            net: Net::default(),
            oracle: Oracle::default(),
            trace: Trace::new(keeps_lines),
            violation: None,
            authority: 0,
            bootstrap: 1,
            broken,
            delays: (1, 5),
            duplicates: false,
            crashes: 0,
            tampers: 0,
            is_slow: false,
            max_links: 32,
            copies: None,
            invited: 0,
            checks: Checks::all(),
            queue: BTreeMap::new(),
            order: 0,
            commands: 0,
            due: Vec::new(),
        };
        // Drawn apart, so that the other draws of a seed stay as they were.
        let mut dice = Dice::new(seed, 3);
        world.invited = if dice.percent(40) { dice.below(4) as u32 + 1 } else { 0 };
        world.add(Kind::Authority, "keyauth");
        world.add(Kind::Bootstrap, "bootstrap");
        world
    }

    pub fn add(&mut self, kind: Kind, name: &str) -> usize {
        let id = self.nodes.len();
        let spki = format!("toy rsa key {id}").into_bytes();
        let device = DeviceKey(self.dice.bytes());
        let peer = match kind {
            Kind::Member => PeerId::of_rsa_spki(&spki),
            _ => PeerId::of_ed25519(&device),
        };
        let earlier = self.nodes.iter().filter(|it| it.is_invited).count();
        let is_invited =
            kind == Kind::Member && u32::try_from(earlier).is_ok_and(|it| it < self.invited);
        self.nodes.push(Node {
            id,
            label: if kind == Kind::Member { format!("{id}:{name}") } else { name.to_owned() },
            name: name.to_owned(),
            kind,
            peer,
            disk: Disk::default(),
            running: None,
            boot: 0,
            incarnation: Incarnation(self.dice.number()),
            device,
            past_devices: Vec::new(),
            is_ready: false,
            is_over: false,
            asked_to_exit_at: None,
            spki,
            is_invited,
            booted_at: 0,
            stood_still: 0,
            skew: self.dice.between(0, 3_600_000),
            inbox: VecDeque::new(),
            has_turn: false,
            busy_until: 0,
            asleep_until: 0,
            wake: 0,
            wake_at: None,
            acks: Vec::new(),
            ready: Vec::new(),
            sync_at: None,
            late: Vec::new(),
            has_sent: false,
            has_lost_power: false,
            moves: 0,
            copy: None,
            is_keeper: false,
            stays_off: false,
            full_until: 0,
            unanswered: BTreeSet::new(),
            open_commands: Vec::new(),
            shown: Vec::new(),
            shown_before: BTreeSet::new(),
            spin: (0, 0),
        });
        id
    }

    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.kind == Kind::Member)
    }

    pub fn node_of(&self, peer: &PeerId) -> Option<usize> {
        self.nodes.iter().position(|node| node.peer == *peer)
    }

    /// A room as a node's disk has it, under the rules that the node knows.
    pub fn room(&self, node: &Node, id: RoomId) -> Room {
        let salt = SessionSalt([0; 16]);
        let mut room = Room::load(id, network(), node.peer, Incarnation(0), salt, &node.disk);
        if let Some(state) = node.member().and_then(|it| it.room_state(&id)) {
            room.rule(state);
        }
        room
    }

    /// The rooms that anybody is in, and who that is.
    pub fn rooms(&self) -> BTreeMap<RoomId, Vec<&Node>> {
        let mut rooms: BTreeMap<RoomId, Vec<&Node>> = BTreeMap::new();
        for node in self.members().filter(|it| it.is_up() && it.is_ready) {
            for id in node.rooms() {
                rooms.entry(id).or_default().push(node);
            }
        }
        rooms
    }

    /// Whether members hold two entries at one place of this log.
    pub fn is_forked(&self, log: &LogId) -> bool {
        self.members().any(|it| it.disk.all_forks().get(log).is_some_and(|it| !it.is_empty()))
    }

    /// The device keys a member ever had.
    pub fn keys_of(&self, peer: &PeerId) -> Vec<DeviceKey> {
        let node = self.node_of(peer).map(|node| &self.nodes[node]);
        node.map(|it| it.past_devices.iter().copied().chain([it.device]).collect())
            .unwrap_or_default()
    }

    pub fn node_at(&self, address: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.address() == address)
    }

    pub fn at(&mut self, time: u64, what: Happening) {
        self.order += 1;
        self.queue.insert((time.max(self.now), self.order), what);
    }

    pub fn say(&mut self, node: usize, text: &str) {
        let label = self.nodes[node].label.clone();
        self.trace.note(self.now, &label, text.as_bytes(), || text.to_owned());
    }

    pub fn fail(&mut self, name: &'static str, text: String) {
        if self.violation.is_none() {
            self.trace.note(self.now, "CHECK", text.as_bytes(), || format!("{name}: {text}"));
            self.violation = Some(Violation { name, text });
        }
    }

    pub fn see(&mut self, seen: &Seen<'_>) {
        let mut checks = std::mem::take(&mut self.checks);
        let found = checks.see(seen, self);
        self.checks = checks;
        if let Err(violation) = found {
            self.fail(violation.name, violation.text);
        }
    }

    /// The checks that look at the end of a run.
    pub fn finish(&mut self) {
        self.see(&Seen::Ended);
    }

    /// Runs until a time, a plan's happening or a violation.
    pub fn run_until(&mut self, end: u64) {
        while self.violation.is_none() && self.due.is_empty() {
            let Some(entry) = self.queue.first_entry().filter(|it| it.key().0 <= end) else {
                self.now = self.now.max(end);
                return;
            };
            let ((time, _), what) = entry.remove_entry();
            self.now = self.now.max(time);
            self.happen(what);
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Turn { node, boot } => {
                if self.nodes[node].boot == boot {
                    self.nodes[node].has_turn = false;
                    self.turn(node);
                }
            }
            Happening::Wake { node, boot, wake } => {
                let it = &self.nodes[node];
                if it.boot == boot && it.wake == wake && it.is_up() {
                    self.push(node, Event::Woke);
                }
            }
            Happening::Sync { node, boot } => {
                if self.nodes[node].boot == boot && self.nodes[node].is_up() {
                    self.plan_turn(node);
                }
            }
            Happening::Start { node } => self.start(node),
            Happening::Arrive { from, to, conn, bytes } => self.arrive(from, to, conn, bytes),
            Happening::Dialled { from, boot, peer, addresses, target } => {
                self.dialled(from, boot, peer, addresses, target);
            }
            Happening::Up { one, other, conn, is_outbound } => {
                self.up(one, other, conn, is_outbound);
            }
            Happening::Down { one, other, conn } => self.down(one, other, Some(conn)),
            Happening::GiveUp { one, other, conn } => self.give_up(one, other, conn),
            Happening::Asked { from, to, number, bytes } => self.asked(from, to, number, bytes),
            Happening::Answered { number, bytes } => self.answered(number, Ok(bytes)),
            Happening::NoAnswer { number } => {
                self.answered(number, Err("nobody answers".to_owned()));
            }
            Happening::Plan(what) => self.due.push(what),
        }
    }

    /// An event for a node; it is handled in the node's next turn.
    pub fn push(&mut self, node: usize, event: Event) {
        if self.nodes[node].is_up() {
            self.nodes[node].inbox.push_back(event);
            self.plan_turn(node);
        }
    }

    fn plan_turn(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if !it.has_turn {
            it.has_turn = true;
            let (at, boot) = (self.now.max(it.busy_until).max(it.asleep_until), it.boot);
            self.at(at, Happening::Turn { node, boot });
        }
    }

    /// Whether somebody was put out of the network for good.
    pub fn is_out(&self, node: usize) -> bool {
        let peer = self.nodes[node].peer;
        let ledgers = self.nodes.iter().filter_map(Node::ledger);
        ledgers.into_iter().any(|it| it.roster().member(&peer).is_some_and(|it| !it.is_in()))
    }

    pub fn start(&mut self, node: usize) {
        let is_off = self.nodes[node].stays_off || self.oracle.fatal.contains_key(&node);
        if self.nodes[node].is_up() || is_off {
            return;
        }
        let once = Once { salt: SessionSalt(self.dice.bytes()), seed: self.dice.bytes() };
        let life = Incarnation(u64::from_be_bytes(self.dice.bytes()));
        let now = self.now;
        let it = &mut self.nodes[node];
        if std::mem::take(&mut it.has_lost_power) && matches!(it.kind, Kind::Member) {
            it.disk.apply(member::fresh_log(life));
            it.disk.commit(true);
        }
        it.boot += 1;
        it.booted_at = now;
        it.stood_still = 0;
        it.inbox.clear();
        it.acks.clear();
        it.sync_at = None;
        it.late.clear();
        it.has_sent = false;
        it.shown.clear();
        it.shown_before.clear();
        it.unanswered.clear();
        it.full_until = 0;
        it.has_turn = false;
        it.busy_until = 0;
        it.asleep_until = 0;
        (it.is_ready, it.is_over, it.asked_to_exit_at) = (false, false, None);
        if let Err(why) = self.load(node, once) {
            return self.fail("every_disk_loads", why);
        }
        let addresses = vec![self.nodes[node].address()];
        self.say(node, "starts");
        self.push(node, Event::Started);
        self.push(node, Event::Listening { addresses });
        self.see(&Seen::Started { node });
    }

    /// The core as its disk has it; never twice under one salt, nor from one seed.
    pub fn load(&mut self, node: usize, once: Once) -> Result<(), String> {
        let (now, broken) = (self.now, self.broken);
        let Once { salt, seed } = once;
        let it = &mut self.nodes[node];
        let time = it.time(now);
        let proofs: Rc<Toy> = Rc::new(Toy(it.device));
        let loaded = match it.kind {
            Kind::Member => {
                let setup = member::Setup {
                    name: it.name.clone(),
                    bootstrap: vec![BOOTSTRAP.to_owned()],
                    keyauth: vec![KEYAUTH.to_owned()],
                    reach: Default::default(),
                    trust: if it.is_invited { Trust::Pinned(network()) } else { Trust::First },
                    incarnation: it.incarnation,
                    salt,
                    agreements: &ToyKeys,
                    history: p2pgroup::terms::History::All,
                    // What waits for a yes is not taken without bounds: nobody says yes here.
                    direct: p2pgroup::terms::Direct::Everyone,
                    quota: member::Quota::default(),
                    files: Default::default(),
                    keep: it.is_keeper.then_some(SHELVES),
                    max_links: self.max_links,
                    timers: Timers::LAN,
                    seed,
                    mistakes: Mistakes { early_newest: it.id.is_multiple_of(2), ..broken.control },
                };
                // Who has used it once does not bring it again.
                let is_new = Reads::setting(&it.disk, "identity/vouched").is_none();
                let uses = (it.is_invited && is_new).then_some(self.invited);
                let holder = ToyHolder { spki: it.spki.clone(), device: it.device, uses };
                Member::load(setup, proofs, Rc::new(holder), &it.disk, time)
                    .map(|core| Running::Member(Box::new(core)))
            }
            Kind::Bootstrap => {
                let setup = bootstrap::Setup {
                    me: it.peer,
                    incarnation: it.incarnation,
                    timers: Timers::LAN,
                    seed,
                    networks_max: 16,
                    mistakes: broken.control,
                };
                Bootstrap::load(setup, proofs, &it.disk, time)
                    .map(|core| Running::Bootstrap(Box::new(core)))
            }
            Kind::Authority => {
                let setup = AuthoritySetup {
                    issuer: Arc::new(ToyIssuer),
                    proofs: Arc::new(Toy(it.device)),
                    admission: Admission::Open,
                    work_bits: 0,
                    peer: it.peer,
                    seed,
                };
                AuthorityCore::load(setup, &it.disk).map(|core| Running::Authority(Box::new(core)))
            }
        };
        match loaded {
            Ok(core) => it.running = Some(core),
            Err(refused) => return Err(format!("{} does not load: {refused}", it.label)),
        }
        Ok(())
    }

    /// Handles what is there in one transaction, then sends, then tells: as `node/driver.rs` does.
    fn turn(&mut self, node: usize) {
        let it = &self.nodes[node];
        let has_work = !it.inbox.is_empty() || it.sync_at.is_some_and(|at| at <= self.now);
        if !it.is_up() || !has_work {
            return;
        }
        if self.nodes[node].is_asleep(self.now) {
            return self.plan_turn(node);
        }
        let spin = &mut self.nodes[node].spin;
        *spin = if spin.0 == self.now { (self.now, spin.1 + 1) } else { (self.now, 0) };
        if spin.1 > 500 {
            let text = format!("{} has 500 turns at one instant", self.nodes[node].label);
            return self.fail("nobody_spins", text);
        }
        let cut = self.draw_cut();
        let count = self.nodes[node].inbox.len().min(EVENTS_PER_TURN_MAX);
        let mut writes: Vec<Write> = Vec::new();
        let (mut sends, mut acks, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut events: Vec<Event> = self.nodes[node].inbox.drain(..count).collect();
        for event in events.drain(..) {
            self.note_event(node, &event);
            self.note_commands(node, &event);
            let it = &mut self.nodes[node];
            let now = it.time(self.now);
            let Some(running) = it.running.as_mut() else { return };
            let actions = running.core().handle(event, now, &it.disk);
            for write in &actions.writes {
                it.disk.apply(write.clone());
            }
            writes.extend(actions.writes);
            sends.extend(actions.sends);
            acks.extend(actions.acks);
            notices.extend(actions.notices);
            it.wake_at = actions.wake_at;
        }
        if matches!(cut, Some(Cut::BeforeCommit)) {
            return self.kill(node, "before the commit");
        }
        if !self.commit(node, &writes, acks, &mut notices) {
            return self.undo(node, notices);
        }
        sends.append(&mut self.nodes[node].ready);
        self.nodes[node].open_commands.clear();
        if !writes.is_empty() {
            self.see(&Seen::Stored { node, writes: &writes });
        }
        for (count, send) in sends.into_iter().enumerate() {
            if matches!(cut, Some(Cut::AfterSends(after)) if after == count) {
                return self.kill(node, "between two sends");
            }
            self.send(node, send);
        }
        for (count, notice) in notices.into_iter().enumerate() {
            if matches!(cut, Some(Cut::AfterNotices(after)) if after == count) {
                return self.kill(node, "between two notices");
            }
            self.tell(node, &notice);
            if !self.nodes[node].is_up() {
                return;
            }
        }
        self.see(&Seen::Turned { node });
        self.go_on(node);
    }

    /// Commits as far as what was written asks; makes ready the acknowledgements that may leave now,
    /// and holds back notices that wait for a sync: as `node/driver.rs` does. `false` if the disk is
    /// full.
    fn commit(
        &mut self,
        node: usize,
        writes: &[Write],
        acks: Vec<Send>,
        notices: &mut Vec<Notice>,
    ) -> bool {
        let (now, is_hasty) = (self.now, self.broken.ack_before_store);
        let it = &mut self.nodes[node];
        let needs = writes.iter().map(Write::durability).max().unwrap_or(Durability::Soft);
        it.acks.extend(acks);
        let is_due = it.sync_at.is_some_and(|at| at <= now);
        let is_committed = needs != Durability::Soft || is_due;
        if is_committed && it.full_until > now && it.disk.is_open() {
            return false;
        }
        if is_committed {
            it.shown.clear();
        }
        if needs == Durability::Synced || is_due {
            it.disk.commit(true);
            it.sync_at = None;
            it.has_sent = false;
            it.late.append(notices);
            *notices = std::mem::take(&mut it.late);
            it.ready = std::mem::take(&mut it.acks);
            return true;
        }
        let mut wait = if writes.is_empty() { None } else { Some(SOFT_DELAY) };
        if needs == Durability::Committed {
            it.disk.commit(false);
            it.has_sent = true;
            wait = Some(SENT_DELAY);
        }
        if !it.acks.is_empty() {
            wait = Some(wait.map_or(ACK_DELAY, |wait| wait.min(ACK_DELAY)));
        }
        if it.has_sent {
            it.late.append(notices);
        }
        if let Some(due) = wait.map(|wait| now + wait)
            && it.sync_at.is_none_or(|at| due < at)
        {
            it.sync_at = Some(due);
            let boot = it.boot;
            self.at(due, Happening::Sync { node, boot });
        }
        if is_hasty {
            self.nodes[node].ready = std::mem::take(&mut self.nodes[node].acks);
        }
        true
    }

    /// The transaction failed; with a mistake something of it leaves all the same.
    fn undo(&mut self, node: usize, notices: Vec<Notice>) {
        if self.broken.acks_unstored {
            for ack in std::mem::take(&mut self.nodes[node].acks) {
                self.send(node, ack);
            }
        }
        if self.broken.tells_unstored {
            for notice in notices {
                self.tell(node, &notice);
            }
        }
        self.start_over(node);
    }

    /// As the driver notes whom it must answer if a transaction fails.
    fn note_commands(&mut self, node: usize, event: &Event) {
        let it = &mut self.nodes[node];
        match event {
            Event::Posts { posts, .. } => {
                it.open_commands.extend(posts.iter().map(|(id, _)| *id));
                it.unanswered.extend(posts.iter().map(|(id, _)| *id));
            }
            Event::Command { id, .. } => it.open_commands.push(*id),
            _ => {}
        }
    }

    /// Written in its own time.
    pub fn write_later(&mut self, node: usize, writes: Vec<Write>) {
        if writes.is_empty() || self.broken.drops_first_writes {
            return;
        }
        for write in writes {
            self.nodes[node].disk.apply(write);
        }
        let (due, boot) = (self.now + SOFT_DELAY, self.nodes[node].boot);
        self.nodes[node].sync_at = Some(due);
        self.at(due, Happening::Sync { node, boot });
    }

    fn draw_cut(&mut self) -> Option<Cut> {
        if self.crashes == 0 || !self.dice.one_in(self.crashes) {
            return None;
        }
        Some(match self.dice.below(4) {
            0 => Cut::BeforeCommit,
            1 => Cut::AfterSends(0),
            2 => Cut::AfterSends(self.dice.below(4)),
            _ => Cut::AfterNotices(self.dice.below(2)),
        })
    }

    /// Until the next turn: a disk takes time, and a deadline is kept.
    pub fn go_on(&mut self, node: usize) {
        let cost = if self.is_slow && self.dice.one_in(40) {
            self.dice.between(20, 600)
        } else {
            self.dice.between(0, 1)
        };
        let now = self.now;
        let it = &mut self.nodes[node];
        it.busy_until = now + cost;
        it.wake += 1;
        if let Some(at) = it.wake_at {
            let at = (at.0 + it.booted_at + it.stood_still).saturating_sub(1_000);
            let (at, boot, wake) = (at.max(now + cost), it.boot, it.wake);
            self.at(at, Happening::Wake { node, boot, wake });
        }
        if !self.nodes[node].inbox.is_empty() {
            self.plan_turn(node);
        }
    }

    fn note_event(&mut self, node: usize, event: &Event) {
        let label = &self.nodes[node].label;
        let (bytes, text): (&[u8], String) = match event {
            Event::Frame { from, bytes } => {
                let from = self.node_of(from).map(|it| self.nodes[it].label.clone());
                let label = label.clone();
                self.trace.note(self.now, &label, bytes, || {
                    let body = Frame::decode(bytes).map(|frame| short(&frame.body));
                    format!("<- {} {}", from.unwrap_or_default(), body.unwrap_or_default())
                });
                return;
            }
            Event::Asked { bytes, .. } => (bytes, "asked".to_owned()),
            Event::Answered { result: Ok((_, bytes)), .. } => (bytes, "answered".to_owned()),
            Event::Answered { result: Err(why), .. } => (b"no", format!("no answer: {why}")),
            Event::Posts { posts, .. } => (b"posts", format!("posts {}", posts.len())),
            Event::Command { command, .. } => (b"command", format!("{command:?}")),
            Event::DialFailed { addresses } => (b"dial", format!("dial failed {addresses:?}")),
            Event::Woke => (b"woke", "woke".to_owned()),
            _ => return,
        };
        self.trace.note(self.now, label, bytes, || text);
    }

    pub fn send(&mut self, node: usize, send: Send) {
        match send {
            Send::Frame { to, bytes } => {
                let Some(mut other) = self.node_of(&to) else { return };
                if let Ok(frame) = Frame::decode(&bytes) {
                    let body = &frame.body;
                    if self.broken.gives_elsewhere
                        && matches!(body, Body::Keep(Keep::Collected { .. }))
                    {
                        other = self.someone_else(node, other);
                    }
                    self.see(&Seen::Sent { node, to: other, body });
                    if let (Some(copies), Body::Sync(p2pgroup::wire::sync::Sync::Entries(page))) =
                        (self.copies.as_mut(), body)
                    {
                        crate::large::count(copies, other, page);
                    }
                    if !matches!(body, Body::Hello(_)) {
                        let label = self.nodes[node].label.clone();
                        let to = self.nodes[other].label.clone();
                        self.trace
                            .note(self.now, &label, &bytes, || format!("-> {to} {}", short(body)));
                    }
                } else {
                    let text = format!("{} sends what cannot be read", self.nodes[node].label);
                    self.fail("what_is_sent_can_be_read", text);
                }
                self.send_frame(node, other, bytes);
            }
            Send::Dial { peer, addresses } => self.dial(node, peer, addresses),
            Send::Trust { peer } => self.trust(node, peer),
            Send::Close { peer } => {
                if let Some(other) = self.node_of(&peer) {
                    self.say(node, &format!("hangs up on {}", self.nodes[other].label.clone()));
                    self.drop_conn(node, other);
                }
            }
            Send::Ask { id, addresses, bytes, .. } => self.ask(node, id, &addresses, bytes),
            Send::Answer { id, bytes } => self.answer(id, bytes),
            Send::Reserve { .. } | Send::File(_) => {}
        }
    }

    /// A member that a frame for another one may go to by mistake.
    fn someone_else(&self, node: usize, meant: usize) -> usize {
        let mut others = self.members().map(|it| it.id);
        let is_linked = |it: &usize| *it != meant && self.has_link(node, *it);
        others.find(is_linked).unwrap_or(meant)
    }

    pub fn tell(&mut self, node: usize, notice: &Notice) {
        let it = &mut self.nodes[node];
        if let Some(id) = notice.command() {
            it.unanswered.remove(&id);
        }
        if let Notice::Message(message) = notice {
            if it.shown_before.contains(&message.id) {
                return;
            }
            if it.disk.is_open() {
                it.shown.push(message.id);
            }
        }
        let text = format!("{notice:?}");
        let label = self.nodes[node].label.clone();
        self.trace.note(self.now, &label, text.as_bytes(), || format!("** {text}"));
        match notice {
            Notice::Ready(_) => self.nodes[node].is_ready = true,
            Notice::Exited => {
                let is_told = true;
                self.nodes[node].disk.commit(true);
                self.nodes[node].running = None;
                self.nodes[node].is_over = true;
                self.unplug(node, is_told);
                self.restart_later(node);
            }
            // No plan gives two members one name.
            Notice::Failed { is_fatal: true, refused, .. } => {
                if !self.is_out(node) {
                    let text = format!("{} is thrown out: {refused}", self.nodes[node].label);
                    return self.fail("nobody_is_thrown_out", text);
                }
                self.say(node, "was removed, and ends");
                self.nodes[node].disk.commit(true);
                self.nodes[node].running = None;
                self.unplug(node, true);
            }
            _ => {}
        }
        if let Notice::Message(message) = notice {
            let boot = self.nodes[node].boot;
            self.oracle.shown.push((node, boot, message.seq));
        }
        self.oracle.told(node, notice);
        self.see(&Seen::Told { node, notice });
    }

    /// The process ends in the middle of something, and nobody starts it again.
    pub fn switch_off(&mut self, node: usize) {
        self.say(node, "is switched off");
        self.nodes[node].running = None;
        self.nodes[node].disk.roll_back();
        self.unplug(node, true);
    }

    /// The process ends in the middle of something.
    pub fn kill(&mut self, node: usize, how: &str) {
        self.say(node, &format!("is killed {how}"));
        self.nodes[node].running = None;
        self.nodes[node].disk.roll_back();
        self.unplug(node, true);
        self.restart_later(node);
    }

    pub fn lose_power(&mut self, node: usize) {
        self.say(node, "loses its power");
        self.nodes[node].running = None;
        self.nodes[node].disk.lose_power();
        self.nodes[node].has_lost_power = true;
        self.unplug(node, false);
        self.restart_later(node);
    }

    fn restart_later(&mut self, node: usize) {
        let wait = match self.dice.below(3) {
            0 => self.dice.between(1, 100),
            1 => self.dice.between(100, 3_000),
            _ => self.dice.between(3_000, 15_000),
        };
        if self.dice.one_in(4) {
            self.nodes[node].moves += 1;
        }
        let at = self.now + wait;
        self.at(at, Happening::Start { node });
    }

    /// The database is gone; the key file is not.
    pub fn wipe(&mut self, node: usize) {
        self.say(node, "loses its database");
        self.oracle.lost.insert(node);
        self.nodes[node].running = None;
        self.unplug(node, true);
        let life = Incarnation(self.dice.number());
        let device = DeviceKey(self.dice.bytes());
        let it = &mut self.nodes[node];
        it.disk = Disk::default();
        it.copy = None;
        it.incarnation = life;
        it.past_devices.push(it.device);
        if it.kind == Kind::Member {
            it.device = device;
        }
        self.restart_later(node);
    }

    /// What was said is from an older copy.
    pub fn restore(&mut self, node: usize) {
        let Some(copy) = self.nodes[node].copy.take() else { return };
        self.say(node, "goes on with an older copy of what was said");
        self.oracle.lost.insert(node);
        self.nodes[node].running = None;
        self.unplug(node, true);
        self.nodes[node].disk.roll_back();
        self.nodes[node].disk.restore_talk(&copy);
        self.restart_later(node);
    }

    /// A backup takes the place of the database: it has forgotten what a new life must not have.
    pub fn restore_backup(&mut self, node: usize) {
        let Some(copy) = self.nodes[node].copy.take() else { return };
        self.say(node, "goes on with a backup");
        self.oracle.lost.insert(node);
        self.nodes[node].running = None;
        self.unplug(node, true);
        let (life, device) = (Incarnation(self.dice.number()), DeviceKey(self.dice.bytes()));
        let it = &mut self.nodes[node];
        it.disk = copy;
        it.disk.roll_back();
        for write in member::life::new_life(&it.disk) {
            it.disk.apply(write);
        }
        it.disk.commit(true);
        it.incarnation = life;
        it.past_devices.push(it.device);
        it.device = device;
        self.restart_later(node);
    }

    /// Somebody sets a node's clock.
    pub fn set_clock(&mut self, node: usize, ahead: u64) {
        self.say(node, &format!("sets its clock {ahead} ms ahead of the world's"));
        self.nodes[node].skew = ahead;
    }

    /// Awake, up, and nothing goes wrong any more.
    pub fn calm(&mut self) {
        (self.crashes, self.tampers, self.is_slow) = (0, 0, false);
        self.heal();
        for node in 0..self.nodes.len() {
            let now = self.now;
            let it = &mut self.nodes[node];
            if it.is_asleep(now) {
                it.stood_still = it.stood_still.saturating_sub(it.asleep_until - now);
                it.asleep_until = now;
                if it.has_turn {
                    let boot = it.boot;
                    self.at(now, Happening::Turn { node, boot });
                }
            }
            if !self.nodes[node].is_up() {
                let at = now + self.dice.between(0, 1_000);
                self.at(at, Happening::Start { node });
            }
        }
    }

    /// Nothing is handled for a while; the monotonic clock may stand still with it.
    pub fn sleep(&mut self, node: usize, span: u64, stands_still: bool) {
        self.say(node, &format!("sleeps for {span} ms"));
        let now = self.now;
        let it = &mut self.nodes[node];
        it.asleep_until = now + span;
        if stands_still {
            it.stood_still += span;
        }
        for other in 0..self.nodes.len() {
            self.expect_silence(node, other);
        }
    }

    pub fn post(&mut self, node: usize, texts: Vec<String>) {
        self.post_in(node, "main", texts);
    }

    pub fn post_in(&mut self, node: usize, room: &str, texts: Vec<String>) {
        if !self.nodes[node].is_up() || !self.nodes[node].takes_commands() {
            return;
        }
        let mut posts = Vec::new();
        for text in texts {
            self.commands += 1;
            posts.push((CommandId(self.commands), text.into()));
        }
        for (id, text) in &posts {
            self.oracle.posted((*id, text), &self.nodes[node], room, self.now);
        }
        self.push(node, Event::Posts { room: room.to_owned(), posts });
    }

    pub fn command(&mut self, node: usize, command: Command) {
        self.commands += 1;
        if command == Command::Exit {
            self.nodes[node].asked_to_exit_at = Some(self.now);
        }
        let id = CommandId(self.commands);
        self.push(node, Event::Command { id, command });
    }

    /// An evil peer changes what it passes on.
    pub fn tamper(&mut self, from: usize, to: usize, bytes: Bytes) -> Bytes {
        let (is_bare, is_silent) = (self.broken.bare_seq, self.broken.silent_forks);
        let is_evil = self.tampers > 0 && self.dice.one_in(self.tampers);
        if !is_bare && !is_silent && !is_evil {
            return bytes;
        }
        let Ok(mut frame) = Frame::decode(&bytes) else { return bytes };
        if is_bare {
            crate::oracle::strip_hashes(&mut frame.body, &self.nodes[to].disk);
        }
        if is_silent {
            crate::oracle::strip_forks(&mut frame.body, &self.nodes[from].disk);
        }
        if is_evil && crate::oracle::falsify(&mut frame.body, &mut self.dice) {
            self.say(from, "says what is not so");
        }
        frame.encode()
    }
}

/// A frame in a few words.
pub fn short(body: &Body) -> String {
    use p2pgroup::protocol::control::Message;
    use p2pgroup::wire::sync::Sync;
    match body {
        Body::Hello(_) => "hello".to_owned(),
        Body::Control(Message::Append(it)) => format!(
            "append {} after {} with {} commit {}{}",
            it.ballot,
            it.prev.index,
            it.entries.len(),
            it.commit,
            if it.proof.is_some() { " proof" } else { "" }
        ),
        Body::Control(Message::AppendReply(it)) => format!("append? {:?}", it.verdict),
        Body::Control(Message::Vote(it)) => format!("vote {} at {}", it.ballot, it.last.index),
        Body::Control(Message::PreVote(it)) => {
            format!("pre-vote {} at {}", it.ballot, it.last.index)
        }
        Body::Control(Message::VoteReply(it)) => {
            format!("vote? {} {}", it.ballot, it.grant.is_some())
        }
        Body::Control(Message::PreVoteReply(it)) => {
            format!("pre-vote? {} {} promised {}", it.ballot, it.grant.is_some(), it.promised)
        }
        Body::Control(Message::LogPage(it)) => format!("log page of {}", it.entries.len()),
        Body::Control(Message::LogWant(it)) => format!("log want from {}", it.last.index),
        Body::Control(Message::HandOver(it)) => format!("hand over {}", it.ballot),
        Body::Control(Message::Leaving) => "leaving".to_owned(),
        Body::Sync(Sync::RoomAsk { .. }) => "asks for the room".to_owned(),
        Body::Sync(Sync::RoomInfo { info, index, .. }) => {
            format!("room info {} at {index}", info.is_some())
        }
        Body::Sync(Sync::RoomEpoch { epoch, .. }) => format!("holds epoch {epoch}"),
        Body::Sync(Sync::KeyWant { keys, .. }) => format!("wants {} keys", keys.len()),
        Body::Sync(Sync::KeyGrant { secrets, .. }) => format!("gives {} keys", secrets.len()),
        Body::Sync(Sync::Vector { heads, wants_answer, .. }) => {
            format!("vector {} {wants_answer}", heads_text(heads))
        }
        Body::Sync(Sync::Ack { heads, .. }) => format!("ack {}", heads_text(heads)),
        Body::Sync(Sync::Entries(page)) => format!(
            "entries of {} {} {}",
            page.log.author.short(),
            page.log.incarnation,
            page.envelopes.len()
        ),
        Body::Sync(Sync::Want { log, from, .. }) => {
            format!("want {} from {from}", log.author.short())
        }
        Body::Submit(_) => "submit".to_owned(),
        Body::Submitted(it) => format!("submitted {:?}", it.refused),
        Body::Presence { .. } => "presence".to_owned(),
        Body::Leads { statement, genesis, .. } => {
            format!("leads {} {}", statement.len(), genesis.len())
        }
        Body::Statement(_) => "statement".to_owned(),
        Body::Refused { refusal, detail } => format!("refused {} {detail}", refusal.code()),
        Body::WhoLeads => "who leads".to_owned(),
        Body::Goodbye => "goodbye".to_owned(),
        Body::Sync(Sync::Full { .. }) => "full".to_owned(),
        Body::Sync(Sync::Marks { marks, .. }) => format!("{} marks", marks.len()),
        Body::Evidence(_) => "evidence".to_owned(),
        Body::Keep(it) => format!("keep {it:?}"),
        Body::LinksAsk => "asks for links".to_owned(),
        Body::Links(links) => format!("{} links", links.len()),
    }
}

fn heads_text(heads: &[p2pgroup::wire::sync::Head]) -> String {
    let text: Vec<String> = heads
        .iter()
        .map(|head| format!("{}.{}:{}", head.log.author.short(), head.log.incarnation, head.seq))
        .collect();
    text.join(" ")
}
