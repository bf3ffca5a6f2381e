//! Cores, a clock, links with a millisecond of delay, and disks that survive a crash.
//! Owns: who is up, what is on the way, what time it is.
//! Must not know: what a core should do.
//! Invariants: the same calls give the same run.
//! Start reading at: [`World`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::*;
use crate::identity::{Authority, AuthorityDomain, Credential, Domain};
use crate::ids::{DeviceKey, Hash, LogId, NetworkId, RoomId, Seq};
use crate::protocol::{CertificateRow, StoredEntry, StoredHead, Timers};
use crate::time::Wall;

pub(super) const NETWORK: NetworkId = NetworkId([7; 32]);
pub(super) const WALL: u64 = 1_795_000_000_000;

/// Signatures that anybody could make, but that bind exactly what real ones bind.
pub(super) struct Toy(pub(super) DeviceKey);

pub(super) fn toy_sign(key: &DeviceKey, domain: Domain, bytes: &[u8]) -> Signature {
    let half = Hash::of(domain.tag(), &[key.as_bytes(), bytes]).0;
    let mut whole = [0; 64];
    whole[..32].copy_from_slice(&half);
    Signature(whole)
}

impl Proofs for Toy {
    fn device(&self) -> DeviceKey {
        self.0
    }
    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        toy_sign(&self.0, domain, bytes)
    }
    fn verify(&self, key: &DeviceKey, domain: Domain, bytes: &[u8], by: &Signature) -> bool {
        toy_sign(key, domain, bytes) == *by
    }
    fn authority(&self, der: &Bytes) -> Result<Authority, Refusal> {
        Ok(Authority { network: NETWORK, der: der.clone() })
    }
    fn credential(&self, _: &Authority, bytes: &Bytes) -> Result<Credential, Refusal> {
        let id = *bytes.first().ok_or(Refusal::CertificateBad)?;
        Ok(Credential {
            peer: peer(id),
            name: String::new(),
            skeleton: String::new(),
            serial: 1,
            not_before: Wall(0),
            not_after: Wall(u64::MAX),
            device: key(id),
            incarnation: Incarnation(1),
            voucher: None,
            bytes: bytes.clone(),
        })
    }
    fn authority_signed(&self, _: &Authority, _: AuthorityDomain, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

#[derive(Clone, Default)]
pub(super) struct Disk {
    settings: BTreeMap<String, Bytes>,
    rows: BTreeMap<u64, Bytes>,
}

impl Disk {
    pub(super) fn write(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Setting { key, value: Some(value) } => {
                    self.settings.insert(key.clone(), value.clone());
                }
                Write::Control { index, bytes, .. } => {
                    self.rows.insert(index.0, bytes.clone());
                }
                Write::ControlCut { from, .. } => {
                    self.rows.split_off(&from.0);
                }
                other => panic!("control writes no {other:?}"),
            }
        }
    }
}

impl Reads for Disk {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.settings.get(key).cloned()
    }
    fn settings(&self, _: &str) -> Vec<(String, Bytes)> {
        Vec::new()
    }
    fn control(&self, _: &str, from: Index, count: usize) -> Vec<Bytes> {
        self.rows.range(from.0..).take(count).map(|(_, bytes)| bytes.clone()).collect()
    }
    fn control_spaces(&self) -> Vec<String> {
        Vec::new()
    }
    fn heads(&self, _: RoomId) -> Vec<StoredHead> {
        Vec::new()
    }
    fn entries(&self, _: LogId, _: Seq, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn newest(&self, _: RoomId, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn held(&self, _: LogId) -> Vec<(PeerId, Seq)> {
        Vec::new()
    }
    fn forks(&self, _: LogId) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        Vec::new()
    }
}

pub(super) fn key(id: u8) -> DeviceKey {
    DeviceKey([id; 32])
}

pub(super) fn peer(id: u8) -> PeerId {
    PeerId::of_ed25519(&key(id))
}

pub(super) const W: u8 = 0;
pub(super) const A: u8 = 1;
pub(super) const B: u8 = 2;
pub(super) const C: u8 = 3;
pub(super) const D: u8 = 4;
pub(super) const E: u8 = 5;
pub(super) const F: u8 = 6;

pub(super) fn voter(id: u8) -> Voter {
    Voter { peer: peer(id), incarnation: Incarnation(1), key: key(id), is_witness: id == W }
}

pub(super) fn set(ids: &[u8]) -> VoterSet {
    VoterSet::new(ids.iter().map(|id| voter(*id))).unwrap()
}

pub(super) fn intent(n: u8) -> IntentId {
    IntentId([n; 16])
}

pub(super) fn setup(id: u8) -> Setup {
    Setup {
        network: NETWORK,
        space: "main".to_owned(),
        me: voter(id),
        can_lead: id != W,
        base: Base { genesis_hash: Hash::ZERO, voters: set(&[W]) },
        timers: Timers::LAN,
        seed: [id; 32],
        mistakes: Mistakes::default(),
    }
}

pub(super) struct Node {
    pub(super) core: Control,
    pub(super) disk: Disk,
    pub(super) is_up: bool,
    pub(super) wake_at: Option<Mono>,
    pub(super) happened: Vec<(u64, Happened)>,
    /// Times at which it heard a leader.
    pub(super) heard: Vec<u64>,
    setup: Setup,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<u8, Node>,
    pub(super) members: Vec<u8>,
    pub(super) cut: BTreeSet<(u8, u8)>,
    pub(super) bytes: RefCell<u64>,
    wire: Vec<(u64, u8, u8, Message)>,
}

impl World {
    /// The witness and these members, everybody admitted, all linked, nobody leads yet.
    pub(super) fn of(members: &[u8]) -> Self {
        let mut world = Self {
            now: 1_000,
            nodes: BTreeMap::new(),
            members: members.to_vec(),
            cut: BTreeSet::new(),
            bytes: RefCell::new(0),
            wire: Vec::new(),
        };
        for id in members.iter().copied().chain([W]) {
            world.nodes.insert(
                id,
                Node {
                    core: Control::load(setup(id), &Disk::default(), world.time()),
                    disk: Disk::default(),
                    is_up: false,
                    wake_at: None,
                    happened: Vec::new(),
                    heard: Vec::new(),
                    setup: setup(id),
                },
            );
        }
        for id in members.iter().copied().chain([W]) {
            world.start(id);
        }
        world
    }

    /// The same after the voters are what the table asks for.
    pub(super) fn settled(members: &[u8]) -> Self {
        let mut world = Self::of(members);
        world.run(4_000);
        world
    }

    pub(super) fn time(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(WALL + self.now) }
    }

    pub(super) fn core(&self, id: u8) -> &Control {
        &self.nodes[&id].core
    }

    pub(super) fn start(&mut self, id: u8) {
        let now = self.time();
        let node = self.nodes.get_mut(&id).unwrap();
        node.core = Control::load(node.setup.clone(), &node.disk, now);
        node.is_up = true;
        self.input(id, Input::Started);
        let members = self.members.iter().map(|id| voter(*id)).collect();
        self.input(id, Input::Members(members));
        for other in self.up() {
            self.link(id, other);
        }
    }

    pub(super) fn up(&self) -> Vec<u8> {
        self.nodes.iter().filter(|(_, node)| node.is_up).map(|(id, _)| *id).collect()
    }

    fn link(&mut self, one: u8, other: u8) {
        if one == other || self.cut.contains(&(one.min(other), one.max(other))) {
            return;
        }
        for (from, to) in [(one, other), (other, one)] {
            let input = match to {
                W => Input::Witness(Some(self.nodes[&W].setup.me)),
                _ => Input::LinkUp { peer: peer(to) },
            };
            self.input(from, input);
        }
    }

    fn unlink(&mut self, one: u8, other: u8) {
        self.wire.retain(|(_, from, to, _)| {
            !matches!((*from, *to), pair
            if pair == (one, other) || pair == (other, one))
        });
        for (from, to) in [(one, other), (other, one)] {
            if self.nodes[&from].is_up {
                self.input(from, Input::LinkDown { peer: peer(to) });
            }
        }
    }

    /// Killed, its connections reset.
    pub(super) fn kill(&mut self, id: u8) {
        self.nodes.get_mut(&id).unwrap().is_up = false;
        for other in self.up() {
            self.unlink(id, other);
        }
    }

    /// Frozen, its connections open.
    pub(super) fn freeze(&mut self, id: u8) {
        self.nodes.get_mut(&id).unwrap().is_up = false;
    }

    pub(super) fn thaw(&mut self, id: u8) {
        self.nodes.get_mut(&id).unwrap().is_up = true;
        self.input(id, Input::Woke);
    }

    /// With an empty database, which is another life.
    pub(super) fn wipe(&mut self, id: u8, incarnation: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.disk = Disk::default();
        node.setup.me.incarnation = Incarnation(incarnation);
    }

    pub(super) fn part(&mut self, one: u8, other: u8) {
        self.cut.insert((one.min(other), one.max(other)));
        self.unlink(one, other);
    }

    pub(super) fn heal(&mut self) {
        for (one, other) in std::mem::take(&mut self.cut) {
            self.link(one, other);
        }
    }

    pub(super) fn admit(&mut self, id: u8) {
        self.members.push(id);
        self.nodes.insert(
            id,
            Node {
                core: Control::load(setup(id), &Disk::default(), self.time()),
                disk: Disk::default(),
                is_up: false,
                wake_at: None,
                happened: Vec::new(),
                heard: Vec::new(),
                setup: setup(id),
            },
        );
        let members: Vec<Voter> = self.members.iter().map(|id| voter(*id)).collect();
        for other in self.up() {
            self.input(other, Input::Members(members.clone()));
        }
        self.start(id);
    }

    pub(super) fn input(&mut self, id: u8, input: Input) {
        let now = self.time();
        let node = self.nodes.get_mut(&id).unwrap();
        if matches!(&input, Input::Message { message: Message::Append(_), .. }) {
            node.heard.push(now.mono.0);
        }
        let output = node.core.handle(input, now, &Toy(key(id)));
        node.disk.write(&output.writes);
        node.happened.extend(output.happened.into_iter().map(|what| (now.mono.0, what)));
        node.wake_at = output.wake_at;
        for (to, message) in output.sends {
            let Some(to) = (0..=F).find(|id| peer(*id) == to) else { continue };
            let pair = (id.min(to), id.max(to));
            let is_frozen = self.nodes.get(&to).is_none_or(|node| !node.is_up);
            if !self.cut.contains(&pair) && !is_frozen {
                *self.bytes.borrow_mut() += u64::try_from(message.encode().len()).unwrap();
                // Whatever is sent survives its encoding.
                assert_eq!(crate::wire::control::decode(&message.encode()), Ok(message.clone()));
                self.wire.push((self.now + 1, id, to, message));
            }
        }
    }

    /// Lets so many milliseconds pass.
    pub(super) fn run(&mut self, span: u64) {
        let end = self.now + span;
        while self.now < end {
            self.now += 1;
            let due: Vec<_> = self.wire.extract_if(.., |message| message.0 <= self.now).collect();
            for (_, from, to, message) in due {
                if self.nodes[&to].is_up {
                    self.input(to, Input::Message { from: peer(from), message });
                }
            }
            for id in self.up() {
                if self.nodes[&id].wake_at.is_some_and(|at| at.0 <= self.now) {
                    self.input(id, Input::Woke);
                }
            }
        }
    }

    /// Those up that lead.
    pub(super) fn leaders(&self) -> Vec<u8> {
        self.up().into_iter().filter(|id| self.core(*id).is_leader()).collect()
    }

    pub(super) fn leader(&self) -> u8 {
        let leaders = self.leaders();
        assert_eq!(leaders.len(), 1, "one leader");
        leaders[0]
    }

    pub(super) fn propose(&mut self, id: u8, n: u8) {
        self.input(id, Input::Propose { id: intent(n), bytes: Bytes::from(vec![n; 8]) });
    }

    pub(super) fn has(&self, id: u8, what: impl Fn(&Happened) -> bool) -> bool {
        self.nodes[&id].happened.iter().any(|(_, happened)| what(happened))
    }

    pub(super) fn holds(&self, id: u8, n: u8) -> bool {
        let core = self.core(id);
        (1..=core.commit().0).any(|index| {
            matches!(core.entry(Index(index)).map(|entry| &entry.payload),
                Some(Payload::Intent { id, .. }) if *id == intent(n))
        })
    }

    pub(super) fn forget_happened(&mut self) {
        for node in self.nodes.values_mut() {
            node.happened.clear();
            node.heard.clear();
        }
    }
}
