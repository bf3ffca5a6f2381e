//! The world of the model checker: four real cores with disks, and all messages ever sent.
//! Owns: which steps there are from a state, and what a step does.
//! Must not know: which order of steps is tried.
//! Invariants: a message, once sent, may be delivered never, once or often, in any order: that is
//! loss, duplication and reordering; a crash may fall between any two steps, so also between a
//! write and the sends that follow it.
//! Start reading at: [`Model::apply`].

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use bytes::Bytes;
use p2pgroup::ids::{DeviceKey, Hash as Sha, Incarnation, IntentId, NetworkId, PeerId};
use p2pgroup::protocol::Timers;
use p2pgroup::protocol::control::{
    Ballot, Base, Control, Happened, Input, Message, Mistakes, Output, Position, Setup, Voter,
    VoterSet,
};
use p2pgroup::refusal::Refusal;
use p2pgroup::time::{Mono, Now, Wall};

use crate::invariants;
use crate::toy::{Disk, Toy};

pub(crate) const NODES: usize = 4;
pub(crate) const WITNESS: usize = 3;
pub(crate) const NETWORK: NetworkId = NetworkId([1; 32]);

/// How often each kind of step may happen in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) campaigns: u8,
    pub(crate) proposals: u8,
    pub(crate) changes: u8,
    pub(crate) pulls: u8,
    pub(crate) crashes: u8,
    pub(crate) wipes: u8,
}

impl Budget {
    pub(crate) const LARGE: Self =
        Self { campaigns: 6, proposals: 3, changes: 3, pulls: 3, crashes: 3, wipes: 1 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Campaign(usize, u32),
    Deliver(u32),
    Propose(usize),
    /// Add or remove this voter; both at once where the mistake allows it.
    Change(usize, usize, Option<usize>),
    Pull(usize, usize),
    Crash(usize),
    Wipe(usize),
}

/// A core and its disk.
pub(crate) struct Node {
    pub(crate) core: Control,
    pub(crate) disk: Disk,
    node: usize,
    incarnation: u64,
}

/// A state: numbers of interned nodes, numbers of interned messages, what may still happen, and
/// what was observed so far.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) nodes: [u32; NODES],
    pub(crate) net: Rc<Vec<u32>>,
    pub(crate) budget: Budget,
    pub(crate) seen: Rc<Seen>,
}

/// What an outside observer remembers.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// Every entry ever committed, with the ballot under which that happened first.
    pub(crate) committed: Vec<(Position, Ballot)>,
    /// Every ballot that led.
    pub(crate) elected: Vec<Ballot>,
}

pub(crate) struct Model {
    voters: VoterSet,
    /// Who may ask for votes, and with which ranks.
    pub(crate) candidates: &'static [usize],
    pub(crate) ranks: &'static [u32],
    /// Who is linked with whom: everybody here with everybody here.
    pub(crate) present: &'static [usize],
    mistakes: Mistakes,
    nodes: Vec<Rc<Node>>,
    node_ids: BTreeMap<u128, u32>,
    messages: Vec<(usize, usize, Message)>,
    message_ids: BTreeMap<u128, u32>,
    /// A node's answer to a message depends on nothing else, so it is computed once.
    answers: BTreeMap<(u32, u32), (u32, Vec<u32>)>,
}

pub(crate) const NOW: Now = Now { mono: Mono(1_000), wall: Wall(1_000) };

fn key(node: usize) -> DeviceKey {
    DeviceKey([node as u8 + 1; 32])
}

pub(crate) fn peer(node: usize) -> PeerId {
    PeerId::of_ed25519(&key(node))
}

fn voter(node: usize, incarnation: u64) -> Voter {
    let incarnation = Incarnation(incarnation);
    Voter { peer: peer(node), incarnation, key: key(node), is_witness: node == WITNESS }
}

pub(crate) fn digest(what: impl Fn(&mut DefaultHasher)) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        what(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

impl Model {
    pub(crate) fn new(voters: &[usize], mistakes: Mistakes) -> Self {
        Self {
            voters: VoterSet::new(voters.iter().map(|node| voter(*node, 1))).unwrap(),
            candidates: &[0, 1, 2],
            ranks: &[1, 2],
            present: &[0, 1, 2, 3],
            mistakes: Mistakes { timeless: true, ..mistakes },
            nodes: Vec::new(),
            node_ids: BTreeMap::new(),
            messages: Vec::new(),
            message_ids: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(crate) fn start(&mut self, budget: Budget) -> State {
        let nodes = std::array::from_fn(|node| self.boot(node, Disk::default(), 1));
        State { nodes, net: Rc::new(Vec::new()), budget, seen: Rc::default() }
    }

    pub(crate) fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    /// A core as its disk left it, linked with everybody.
    fn boot(&mut self, node: usize, disk: Disk, incarnation: u64) -> u32 {
        let setup = Setup {
            network: NETWORK,
            space: String::new(),
            me: voter(node, incarnation),
            can_lead: node != WITNESS,
            base: Base { genesis_hash: Sha::ZERO, voters: self.voters.clone() },
            timers: Timers::LAN,
            seed: [0; 32],
            mistakes: self.mistakes,
        };
        let mut core = Control::load(setup, &disk, NOW);
        let members = (0..WITNESS).map(|n| voter(n, if n == node { incarnation } else { 1 }));
        let mut inputs = vec![Input::Started, Input::Members(members.collect())];
        let present = self.present;
        for other in present.iter().copied().filter(|other| *other != node) {
            inputs.push(match other {
                WITNESS => Input::Witness(Some(voter(WITNESS, 1))),
                _ => Input::LinkUp { peer: peer(other) },
            });
        }
        for input in inputs {
            // What it asks others for at this moment is lost; pulls are steps of their own.
            let _ = core.handle(input, NOW, &Toy(key(node)));
        }
        self.intern(Node { node, core, disk, incarnation })
    }

    fn intern(&mut self, node: Node) -> u32 {
        let id = digest(|hasher| {
            node.core.fingerprint(hasher);
            node.disk.hash(hasher);
            (node.node, node.incarnation).hash(hasher);
        });
        let next = self.nodes.len() as u32;
        *self.node_ids.entry(id).or_insert_with(|| {
            self.nodes.push(Rc::new(node));
            next
        })
    }

    fn message(&mut self, from: usize, to: PeerId, message: Message) -> u32 {
        let to = (0..NODES).find(|node| peer(*node) == to).unwrap();
        let id = digest(|hasher| (from, to, &message).hash(hasher));
        let next = self.messages.len() as u32;
        *self.message_ids.entry(id).or_insert_with(|| {
            self.messages.push((from, to, message));
            next
        })
    }

    /// Everything that may happen next.
    pub(crate) fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps: Vec<Step> = state.net.iter().map(|id| Step::Deliver(*id)).collect();
        let budget = state.budget;
        for (node, id) in state.nodes.iter().enumerate() {
            let core = &self.node(*id).core;
            if budget.campaigns > 0 && self.candidates.contains(&node) && !core.is_leader() {
                steps.extend(self.ranks.iter().map(|rank| Step::Campaign(node, *rank)));
            }
            if core.is_leader() && budget.proposals > 0 {
                steps.push(Step::Propose(node));
            }
            if core.is_leader() && budget.changes > 0 {
                steps.extend((0..NODES).map(|other| Step::Change(node, other, None)));
                if self.mistakes.two_voters_per_entry {
                    let pairs = [(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)];
                    steps.extend(pairs.map(|(one, two)| Step::Change(node, one, Some(two))));
                }
            }
            if budget.pulls > 0 && node != WITNESS && !core.is_leader() {
                steps.extend((0..NODES).filter(|o| *o != node).map(|o| Step::Pull(node, o)));
            }
            if budget.crashes > 0 {
                steps.push(Step::Crash(node));
            }
            if budget.wipes > 0 && node != WITNESS {
                steps.push(Step::Wipe(node));
            }
        }
        steps
    }

    /// What a step leads to; `None` if to nothing new, an error if it breaks an invariant.
    pub(crate) fn apply(
        &mut self,
        state: &State,
        step: Step,
    ) -> Result<Option<State>, &'static str> {
        let mut budget = state.budget;
        let (node, (id, sends)) = match step {
            Step::Deliver(message) => {
                let to = self.messages[message as usize].1;
                (to, self.deliver(state.nodes[to], message))
            }
            Step::Campaign(node, rank) => {
                budget.campaigns -= 1;
                // Real ranks are random: two lives of a database never draw the same.
                let life = self.node(state.nodes[node]).incarnation as u32;
                let act =
                    |core: &mut Control, toy: &Toy| core.campaign_now([rank, life, 0, 0], NOW, toy);
                (node, self.act(node, state.nodes[node], act))
            }
            Step::Propose(node) => {
                budget.proposals -= 1;
                let id = IntentId([budget.proposals; 16]);
                let input = Input::Propose { id, bytes: Bytes::from_static(b"intent") };
                let act = |core: &mut Control, toy: &Toy| core.handle(input, NOW, toy);
                (node, self.act(node, state.nodes[node], act))
            }
            Step::Change(node, other, second) => {
                budget.changes -= 1;
                let set = self.node(state.nodes[node]).core.voters().clone();
                let Some(next) = toggled(Some(set), other) else { return Ok(None) };
                let Some(next) = second.map_or(Some(next.clone()), |s| toggled(Some(next), s))
                else {
                    return Ok(None);
                };
                let act = |core: &mut Control, toy: &Toy| core.change_voters_now(next, NOW, toy);
                (node, self.act(node, state.nodes[node], act))
            }
            Step::Pull(node, other) => {
                budget.pulls -= 1;
                let act = |core: &mut Control, toy: &Toy| core.want_log_now(peer(other), NOW, toy);
                (node, self.act(node, state.nodes[node], act))
            }
            Step::Crash(node) => {
                budget.crashes -= 1;
                let before = self.nodes[state.nodes[node] as usize].clone();
                (node, (self.boot(node, before.disk.clone(), before.incarnation), Vec::new()))
            }
            Step::Wipe(node) => {
                budget.wipes -= 1;
                (node, (self.boot(node, Disk::default(), 2), Vec::new()))
            }
        };
        let before = state.nodes[node];
        if before == id && sends.iter().all(|id| state.net.binary_search(id).is_ok()) {
            return Ok(None);
        }
        let mut next = State { budget, ..state.clone() };
        next.nodes[node] = id;
        for message in &sends {
            if let Err(place) = next.net.binary_search(message) {
                Rc::make_mut(&mut next.net).insert(place, *message);
            }
        }
        let sent: Vec<&Message> = sends.iter().map(|id| &self.messages[*id as usize].2).collect();
        let seen = invariants::check(self, state, &next, node, step, &sent)?;
        if let Some(seen) = seen {
            next.seen = Rc::new(seen);
        }
        Ok(Some(next))
    }

    fn deliver(&mut self, node: u32, message: u32) -> (u32, Vec<u32>) {
        if let Some(answer) = self.answers.get(&(node, message)) {
            return answer.clone();
        }
        let (from, to, text) = self.messages[message as usize].clone();
        let input = Input::Message { from: peer(from), message: text };
        let answer = self.act(to, node, |core, toy| core.handle(input, NOW, toy));
        self.answers.insert((node, message), answer.clone());
        answer
    }

    fn act(
        &mut self,
        node: usize,
        id: u32,
        act: impl FnOnce(&mut Control, &Toy) -> Output,
    ) -> (u32, Vec<u32>) {
        let before = self.nodes[id as usize].clone();
        let (mut core, mut disk) = (before.core.clone(), before.disk.clone());
        let output = act(&mut core, &Toy(key(node)));
        // Nobody here lies, so nobody is taken for a liar, whatever else goes wrong.
        let suspects = |it: &Happened| {
            let is_forged = matches!(it, Happened::Refused { refusal: Refusal::EntryForged, .. });
            is_forged || matches!(it, Happened::Contradicted { .. })
        };
        let is_clean = self.mistakes == Mistakes { timeless: true, ..Mistakes::default() };
        assert!(!is_clean || !output.happened.iter().any(suspects), "an honest leader is accused");
        disk.write(&output.writes);
        let sends: Vec<u32> =
            output.sends.into_iter().map(|(to, text)| self.message(node, to, text)).collect();
        (self.intern(Node { node, core, disk, incarnation: before.incarnation }), sends)
    }

    pub(crate) fn is_between(&self, message: u32, from: usize, to: usize) -> bool {
        let (sender, receiver, _) = &self.messages[message as usize];
        (*sender, *receiver) == (from, to)
    }

    /// A step in words.
    pub(crate) fn tell(&self, step: Step) -> String {
        match step {
            Step::Deliver(id) => {
                let (from, to, message) = &self.messages[id as usize];
                format!("{from} to {to}: {message:?}")
            }
            other => format!("{other:?}"),
        }
    }
}

/// The set with a voter more, or without it.
fn toggled(set: Option<VoterSet>, node: usize) -> Option<VoterSet> {
    let set = set?;
    match set.voter(&peer(node)) {
        Some(_) => set.without(&peer(node)),
        None => set.with(voter(node, 1)),
    }
}
