//! A group of whole cores over real stores and real keys, in one thread and in virtual time: what a
//! role costs is measured without sockets, threads and other processes.
//! Owns: the nodes, their links, the order of a turn as `node/driver.rs` has it.
//! Must not know: what is measured.
//! Invariants: time goes on only when nothing is left to do; cost is processor time of this thread.
//! Start reading at: [`Group`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2pgroup::identity::Proofs as _;
use p2pgroup::identity::keys::{AuthorityKey, Device, MemberKey, make_credential};
use p2pgroup::ids::{CommandId, DeviceKey, Incarnation, NetworkId, PeerId, RequestId, SessionSalt};
use p2pgroup::limits::EVENTS_PER_TURN_MAX;
use p2pgroup::protocol::authority::{AuthorityCore, AuthoritySetup};
use p2pgroup::protocol::bootstrap::{self, Bootstrap};
use p2pgroup::protocol::control::Mistakes;
use p2pgroup::protocol::member::{self, Holder, Member, Trust};
use p2pgroup::protocol::{
    Actions, Core, Durability, Event, Link, Notice, Send, Timers, Transport, Write,
};
use p2pgroup::refusal::Refusal;
use p2pgroup::store::{Home, Store, Sync};
use p2pgroup::time::{Mono, Now, Wall};
use p2pgroup::wire::identity::{Admission, Certified};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// As the driver waits.
const ACK_DELAY: u64 = 5;
const SENT_DELAY: u64 = 2;
const SOFT_DELAY: u64 = 1_000;
const WALL: u64 = 1_795_000_000_000;
const KEYAUTH: &str = "/bench/keyauth";
const BOOTSTRAP: &str = "/bench/bootstrap";

/// Processor time of this thread.
pub fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// What a node was told to tell.
#[derive(Debug, Default)]
pub struct Told {
    pub is_ready: bool,
    pub messages: u64,
    pub sent: u64,
    pub leader: Option<String>,
}

/// What a node cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub core: Duration,
    pub store: Duration,
}

/// What a node is, and what it needs to start.
enum Kind {
    Authority(Arc<AuthorityKey>),
    Bootstrap,
    Member(Rc<Keys>),
}

pub struct Node {
    name: String,
    kind: Kind,
    device: [u8; 32],
    pub peer: PeerId,
    store: Store,
    core: Option<Box<dyn Core>>,
    inbox: VecDeque<Event>,
    links: BTreeSet<PeerId>,
    wake_at: Option<Mono>,
    acks: Vec<Send>,
    sync_at: Option<u64>,
    pub told: Told,
    pub cost: Cost,
}

impl Node {
    fn address(&self) -> String {
        format!("/bench/{}", self.name)
    }
}

/// Some processes on one machine.
pub struct Group {
    pub nodes: Vec<Node>,
    rng: ChaCha20Rng,
    folder: tempfile::TempDir,
    now: u64,
    asked: BTreeMap<RequestId, (usize, RequestId, usize)>,
    last_asked: u64,
}

/// A member's keys, as `node/start.rs` hands them to its core.
struct Keys {
    member: MemberKey,
    device: DeviceKey,
}

impl Holder for Keys {
    fn peer(&self) -> PeerId {
        self.member.peer()
    }
    fn spki(&self) -> Vec<u8> {
        self.member.spki().to_vec()
    }
    fn possession(
        &self,
        network: NetworkId,
        name: &str,
        nonce: &[u8; 16],
    ) -> Result<Vec<u8>, Refusal> {
        self.member.possession(&network, name, nonce)
    }
    fn credential(
        &self,
        network: NetworkId,
        certified: &Certified,
        life: Incarnation,
    ) -> Result<Bytes, Refusal> {
        make_credential(&self.member, &network, certified.clone(), self.device, life)
    }
    fn vouched(&self, _: &str) -> Option<Result<Bytes, Refusal>> {
        None
    }
}

impl Group {
    /// An authority and a bootstrap, started.
    pub fn new() -> Self {
        let mut group = Self {
            nodes: Vec::new(),
            rng: ChaCha20Rng::from_seed([7; 32]),
            folder: tempfile::tempdir().expect("a folder"),
            now: 1_000,
            asked: BTreeMap::new(),
            last_asked: 0,
        };
        let key = AuthorityKey::create(&mut group.rng).expect("an RSA key");
        group.add("keyauth", Kind::Authority(Arc::new(key)));
        group.add("bootstrap", Kind::Bootstrap);
        group
    }

    /// A new member, started; gives its place among the nodes.
    pub fn join(&mut self, name: &str) -> usize {
        let member = MemberKey::create(&mut self.rng).expect("an RSA key");
        // The device's half is set by `add`.
        self.add(name, Kind::Member(Rc::new(Keys { member, device: DeviceKey([0; 32]) })))
    }

    fn add(&mut self, name: &str, kind: Kind) -> usize {
        let mut device = [0; 32];
        self.rng.fill_bytes(&mut device);
        let public = Device::from_secret(&device).device();
        let kind = match kind {
            Kind::Member(keys) => match Rc::try_unwrap(keys) {
                Ok(keys) => Kind::Member(Rc::new(Keys { device: public, ..keys })),
                Err(shared) => Kind::Member(shared),
            },
            kind => kind,
        };
        let peer = match &kind {
            Kind::Member(keys) => keys.member.peer(),
            _ => PeerId::of_ed25519(&public),
        };
        let home = Home::open(&self.folder.path().join(name)).expect("a home");
        let store = Store::open(&home).expect("a store");
        let id = self.nodes.len();
        self.nodes.push(Node {
            name: name.to_owned(),
            kind,
            device,
            peer,
            store,
            core: None,
            inbox: VecDeque::new(),
            links: BTreeSet::new(),
            wake_at: None,
            acks: Vec::new(),
            sync_at: None,
            told: Told::default(),
            cost: Cost::default(),
        });
        self.start(id);
        id
    }

    /// Starts a node that does not run.
    pub fn start(&mut self, id: usize) {
        let (mut seed, mut salt) = ([0; 32], [0; 16]);
        self.rng.fill_bytes(&mut seed);
        self.rng.fill_bytes(&mut salt);
        let now = self.time();
        let node = &mut self.nodes[id];
        let device = Device::from_secret(&node.device);
        let life = Incarnation(u64::try_from(id).unwrap_or_default().wrapping_add(77));
        let core: Box<dyn Core> = match &node.kind {
            Kind::Authority(key) => {
                let issuer = Arc::clone(key);
                let (admission, peer) = (Admission::Open, node.peer);
                let setup = AuthoritySetup {
                    issuer,
                    proofs: Arc::new(device),
                    admission,
                    work_bits: 0,
                    peer,
                    seed,
                };
                Box::new(AuthorityCore::load(setup, &node.store).expect("an authority"))
            }
            Kind::Bootstrap => {
                let setup = bootstrap::Setup {
                    me: node.peer,
                    incarnation: life,
                    timers: Timers::LAN,
                    seed,
                    networks_max: 16,
                    mistakes: Mistakes::default(),
                };
                let proofs = Rc::new(device);
                Box::new(Bootstrap::load(setup, proofs, &node.store, now).expect("a bootstrap"))
            }
            Kind::Member(keys) => {
                let setup = member::Setup {
                    name: node.name.clone(),
                    bootstrap: vec![BOOTSTRAP.to_owned()],
                    keyauth: vec![KEYAUTH.to_owned()],
                    trust: Trust::First,
                    incarnation: life,
                    salt: SessionSalt(salt),
                    agreements: member::MLS,
                    history: p2pgroup::terms::History::DEFAULT,
                    direct: p2pgroup::terms::Direct::Known,
                    quota: member::Quota::default(),
                    max_links: 32,
                    punches: true,
                    files: Default::default(),
                    keep: None,
                    reach: member::Reach::default(),
                    timers: Timers::LAN,
                    seed,
                    mistakes: Mistakes::default(),
                };
                let (proofs, holder) = (Rc::new(device), Rc::clone(keys));
                let loaded = Member::load(setup, proofs, holder, &node.store, now);
                Box::new(loaded.expect("a member"))
            }
        };
        node.core = Some(core);
        node.told = Told::default();
        let addresses = vec![node.address()];
        node.inbox = VecDeque::from([Event::Started, Event::Listening { addresses }]);
    }

    /// Ends a node without a word.
    pub fn stop(&mut self, id: usize) {
        self.sync(id);
        let node = &mut self.nodes[id];
        (node.core, node.sync_at, node.wake_at) = (None, None, None);
        node.inbox.clear();
        node.acks.clear();
        let peer = node.peer;
        for other in std::mem::take(&mut node.links) {
            self.unlink(other, peer);
        }
    }

    /// Hands a node something.
    pub fn push(&mut self, id: usize, event: Event) {
        if self.nodes[id].core.is_some() {
            self.nodes[id].inbox.push_back(event);
        }
    }

    /// Lets a node post these texts, as fast as the face does.
    pub fn post(&mut self, id: usize, texts: Vec<String>) {
        let posts = texts.into_iter().map(|text| (CommandId(1), text.into())).collect();
        self.push(id, Event::Posts { room: "main".to_owned(), posts });
    }

    /// Goes on until it is so; whether it came to be within so many virtual milliseconds.
    pub fn run_until(&mut self, limit: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.saturating_add(limit);
        loop {
            if is_so(self) {
                return true;
            }
            let mut has_worked = false;
            for id in 0..self.nodes.len() {
                has_worked |= self.turn(id);
            }
            if !has_worked && !self.advance(end) {
                return is_so(self);
            }
        }
    }

    /// On to the next deadline; whether there is one before the end.
    fn advance(&mut self, end: u64) -> bool {
        let running = self.nodes.iter().filter(|node| node.core.is_some());
        let deadlines = running.flat_map(|node| [node.wake_at.map(|at| at.0), node.sync_at]);
        let next = deadlines.flatten().min().filter(|at| *at <= end);
        self.now = next.unwrap_or(end).max(self.now);
        for id in 0..self.nodes.len() {
            if self.nodes[id].sync_at.is_some_and(|at| at <= self.now) {
                self.sync(id);
            }
            let node = &mut self.nodes[id];
            if node.core.is_some() && node.wake_at.take_if(|at| at.0 <= self.now).is_some() {
                node.inbox.push_back(Event::Woke);
            }
        }
        next.is_some()
    }

    fn time(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(WALL + self.now) }
    }

    /// Handles what is there in one transaction, then sends, then tells.
    fn turn(&mut self, id: usize) -> bool {
        let now = self.time();
        let node = &mut self.nodes[id];
        let Some(core) = node.core.as_mut().filter(|_| !node.inbox.is_empty()) else {
            return false;
        };
        let count = node.inbox.len().min(EVENTS_PER_TURN_MAX);
        let mut outgoing = Actions::default();
        let mut needs = Durability::Soft;
        for event in node.inbox.drain(..count) {
            let began = clock();
            let actions = core.handle(event, now, &node.store);
            let handled = clock();
            node.cost.core += handled - began;
            node.wake_at = actions.wake_at;
            if !actions.writes.is_empty() {
                let asked = actions.writes.iter().map(Write::durability).max();
                needs = needs.max(asked.unwrap_or(Durability::Soft));
                let due = now.mono.0 + SOFT_DELAY;
                node.sync_at = Some(node.sync_at.map_or(due, |at| at.min(due)));
                node.store.apply(actions.writes).expect("space");
                node.cost.store += clock() - handled;
            }
            outgoing.sends.extend(actions.sends);
            outgoing.notices.extend(actions.notices);
            node.acks.extend(actions.acks);
        }
        let wait = match needs {
            Durability::Synced => 0,
            Durability::Committed => SENT_DELAY,
            Durability::Soft if node.acks.is_empty() => SOFT_DELAY,
            Durability::Soft => ACK_DELAY,
        };
        if needs == Durability::Committed {
            let began = clock();
            node.store.commit(Sync::Normal).expect("space");
            node.cost.store += clock() - began;
        }
        let due = now.mono.0 + wait;
        node.sync_at = Some(node.sync_at.map_or(due, |at| at.min(due)));
        if wait == 0 {
            self.sync(id);
        }
        self.release(id, outgoing);
        true
    }

    fn sync(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        let began = clock();
        node.store.commit(Sync::Full).expect("space");
        node.cost.store += clock() - began;
        node.sync_at = None;
        let acks = std::mem::take(&mut node.acks);
        self.release(id, Actions { sends: acks, ..Actions::default() });
    }

    fn release(&mut self, id: usize, outgoing: Actions) {
        for send in outgoing.sends {
            self.send(id, send);
        }
        let told = &mut self.nodes[id].told;
        for notice in outgoing.notices {
            match notice {
                Notice::Ready(_) => told.is_ready = true,
                Notice::Message(_) => told.messages += 1,
                Notice::Sent { .. } => told.sent += 1,
                Notice::Leader(leader) => told.leader = leader.map(|leader| leader.name),
                Notice::Failed { refused, .. } => panic!("{}: {refused}", self.nodes[id].name),
                _ => {}
            }
        }
    }

    fn at(&self, addresses: &[String]) -> Option<usize> {
        let running = |node: &Node| node.core.is_some() && addresses.contains(&node.address());
        self.nodes.iter().position(running)
    }

    fn by(&self, peer: &PeerId) -> Option<usize> {
        self.nodes.iter().position(|node| node.peer == *peer)
    }

    fn send(&mut self, id: usize, send: Send) {
        let me = self.nodes[id].peer;
        match send {
            Send::Frame { to, bytes } => {
                if self.nodes[id].links.contains(&to)
                    && let Some(other) = self.by(&to)
                {
                    self.push(other, Event::Frame { from: me, bytes });
                }
            }
            Send::Dial { addresses, .. } => match self.at(&addresses) {
                Some(other) => self.link(id, other),
                None => self.push(id, Event::DialFailed { addresses }),
            },
            Send::Close { peer } => {
                self.unlink(peer, me);
                self.unlink(me, peer);
            }
            Send::Ask { id: request, addresses, bytes, .. } => match self.at(&addresses) {
                Some(other) => {
                    self.last_asked += 1;
                    let number = RequestId(self.last_asked);
                    self.asked.insert(number, (id, request, other));
                    self.push(other, Event::Asked { from: me, id: number, bytes });
                }
                None => {
                    let result = Err("nobody there".to_owned());
                    self.push(id, Event::Answered { id: request, result });
                }
            },
            Send::Answer { id: number, bytes } => {
                if let Some((asker, request, answerer)) = self.asked.remove(&number) {
                    let result = Ok((self.nodes[answerer].peer, bytes));
                    self.push(asker, Event::Answered { id: request, result });
                }
            }
            Send::Trust { .. } | Send::Reserve { .. } | Send::Punch { .. } | Send::File(_) => {}
        }
    }

    fn link(&mut self, one: usize, other: usize) {
        let (me, peer) = (self.nodes[one].peer, self.nodes[other].peer);
        if !self.nodes[one].links.insert(peer) {
            return;
        }
        self.nodes[other].links.insert(me);
        for (id, peer, is_outbound) in [(one, peer, true), (other, me, false)] {
            let link = Link { transport: Transport::Tcp, address: String::new(), is_outbound };
            self.push(id, Event::LinkUp { peer, link });
        }
    }

    fn unlink(&mut self, at: PeerId, peer: PeerId) {
        if let Some(id) = self.by(&at)
            && self.nodes[id].links.remove(&peer)
        {
            self.push(id, Event::LinkDown { peer });
        }
    }
}
