//! A node of the world: a core, its disk, its clocks.
//! Owns: what is of one node alone.
//! Must not know: links, what is right.
//! Invariants: what is lost with a process is not on its disk.
//! Start reading at: [`Node`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use p2pgroup::identity::keys::Device;
use p2pgroup::ids::{CommandId, DeviceKey, Incarnation, PeerId, RoomId, SessionSalt};
use p2pgroup::protocol::authority::AuthorityCore;
use p2pgroup::protocol::bootstrap::Bootstrap;
use p2pgroup::protocol::ledger::Ledger;
use p2pgroup::protocol::member::Member;
use p2pgroup::protocol::{Address, Command, Core, Event, MessageId, Notice, Send, Unanswered};
use p2pgroup::time::{Mono, Now, Wall};

use crate::disk::Disk;
use crate::proofs::network;
use crate::world::{BOOTSTRAP, KEYAUTH};

const WALL: u64 = 1_795_000_000_000;

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
    pub fn takes_commands(&self) -> bool {
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
    /// The real half of it, where keys are agreed on by real MLS.
    pub leaf: Option<Arc<Device>>,
    /// Of databases that are gone.
    pub past_devices: Vec<DeviceKey>,
    pub is_ready: bool,
    /// It left by its own will, or was told to go.
    pub is_over: bool,
    pub asked_to_exit_at: Option<u64>,
    pub spki: Vec<u8>,
    /// Whether it comes by the one invite there is.
    pub is_invited: bool,
    pub booted_at: u64,
    /// How long its monotonic clock stood still.
    pub stood_still: u64,
    pub skew: u64,
    pub inbox: VecDeque<Event>,
    pub has_turn: bool,
    pub busy_until: u64,
    pub asleep_until: u64,
    pub wake: u64,
    pub wake_at: Option<Mono>,
    /// Acknowledgements that wait for a sync, and when that is due.
    pub acks: Vec<Send>,
    /// Acknowledgements that may leave.
    pub ready: Vec<Send>,
    pub sync_at: Option<u64>,
    /// Notices that wait for the same, after own entries that are committed and not synced.
    pub late: Vec<Notice>,
    /// So many of them rest on what is committed.
    pub true_late: usize,
    pub has_sent: bool,
    pub has_lost_power: bool,
    pub moves: u64,
    pub copy: Option<Disk>,
    /// Whether it keeps what others leave with it.
    pub is_keeper: bool,
    /// Nobody starts it again until the plan says so.
    pub stays_off: bool,
    /// Nobody but it can follow its commits.
    pub spoils: bool,
    /// Not any more.
    pub is_mended: bool,
    /// Its program heeds no suspension of its own.
    pub is_stubborn: bool,
    /// It says of others' commits that it cannot follow them, and can.
    pub lies: bool,
    /// Until when nothing can be committed.
    pub full_until: u64,
    /// What its core is to answer, by its program's account.
    pub unanswered: Unanswered,
    /// Who asked for something and was not answered, whatever became of the core.
    pub waiting: BTreeSet<CommandId>,
    /// Messages shown that are not committed.
    pub shown: Vec<MessageId>,
    /// Messages shown whose transaction failed: they come again and are not shown again.
    pub shown_before: BTreeSet<MessageId>,
    /// Turns at one instant, to find a core that spins.
    pub spin: (u64, u32),
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
    /// Whether it may commit nothing in a room, as it knows.
    pub fn is_suspended(&self, room: &RoomId) -> bool {
        let state = self.member().and_then(|it| it.room_state(room));
        let it = state.and_then(|it| it.snapshot().suspended.get(&self.peer));
        it.is_some_and(|it| !it.is_forgiven)
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
    /// These are handed to its core.
    pub fn note_commands(&mut self, event: &Event) {
        self.unanswered.note(event);
        match event {
            Event::Posts { posts, .. } => self.waiting.extend(posts.iter().map(|(id, _)| *id)),
            Event::Command { command: Command::Exit | Command::TrustAuthority { .. }, .. } => {}
            Event::Command { id, .. } => drop(self.waiting.insert(*id)),
            _ => {}
        }
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
