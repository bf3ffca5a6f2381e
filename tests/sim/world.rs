//! Whole cores in one process: a virtual clock and a queue of happenings.
//! Owns: nodes, time, what happens next.
//! Must not know: how a node handles it (`turn.rs`); what is right (`checks/`).
//! Invariants: a run is a function of its seed and options.
//! Start reading at: [`World::run_until`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use p2pgroup::identity::Proofs as _;
use p2pgroup::identity::keys::Device;
use p2pgroup::ids::{CommandId, DeviceKey, Incarnation, LogId, PeerId, RoomId, SessionSalt};
use p2pgroup::protocol::room::Room;
use p2pgroup::protocol::{Address, Command, Event, Unanswered};

use crate::broken::Broken;
use crate::checks::{Checks, Seen};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::link::Net;
use crate::lying::Liar;
use crate::node::{Kind, Node};
use crate::oracle::Oracle;
use crate::proofs::network;
use crate::trace::Trace;

/// Where the servers are.
pub const KEYAUTH: &str = "/sim/keyauth";
pub const BOOTSTRAP: &str = "/sim/bootstrap";

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
    /// Whether keys are agreed on by real MLS; then no run repeats another byte for byte.
    pub has_mls: bool,
    /// A leader that tells two stories.
    pub liar: Option<Liar>,
    pub checks: Checks,
    pub queue: BTreeMap<(u64, u64), Happening>,
    pub order: u64,
    pub commands: u64,
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
            has_mls: false,
            liar: None,
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
        let drawn = self.dice.bytes();
        let leaf = self.has_mls.then(|| Arc::new(Device::from_secret(&drawn)));
        let device = leaf.as_ref().map_or(DeviceKey(drawn), |it| it.device());
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
            leaf,
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
            spoils: false,
            is_mended: false,
            is_stubborn: false,
            lies: false,
            full_until: 0,
            unanswered: Unanswered::default(),
            waiting: BTreeSet::new(),
            true_late: 0,
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

    pub fn happen(&mut self, what: Happening) {
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

    pub fn plan_turn(&mut self, node: usize) {
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
}
