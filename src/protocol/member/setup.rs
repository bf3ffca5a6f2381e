//! What a member is started with.
//! Owns: [`Setup`], and which authority is believed.
//! Must not know: where the values come from.
//! Invariants: randomness enters here alone.
//! Start reading at: [`Setup`].

use super::quota::Quota;
use crate::ids::{Incarnation, NetworkId, SessionSalt};
use crate::protocol::control::Mistakes;
use crate::protocol::room::keys::KeyAgreements;
use crate::protocol::{Address, Timers};
use crate::terms::{Direct, FilesRule, History, KeeperRule};

/// Which authority is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The one with this network id, as pinned by a person.
    Pinned(NetworkId),
    /// The first one seen: its address is on this machine.
    First,
    /// A person must confirm.
    Ask,
    /// Nobody is there to confirm.
    Refuse,
}

/// How others reach the key authority, for invites made here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Its address; empty where it is of no use to others.
    pub keyauth: Address,
    /// Whether every address in such an invite is of this machine.
    pub is_local: bool,
}

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The name to be known by; empty: the one stored.
    pub name: String,
    /// Where the bootstrap is.
    pub bootstrap: Vec<Address>,
    /// Where the key authority is.
    pub keyauth: Vec<Address>,
    /// What invites made here say of the key authority.
    pub reach: Reach,
    /// Which authority is believed when none is pinned yet.
    pub trust: Trust,
    /// The life of the database.
    pub incarnation: Incarnation,
    /// Drawn for this load of the core.
    pub salt: SessionSalt,
    /// How room keys are agreed on.
    pub agreements: &'static dyn KeyAgreements,
    /// What of the room `main` new members may read, until an order sets it.
    pub history: History,
    /// Who may write to us alone without asking first.
    pub direct: Direct,
    /// What one author may have us store.
    pub quota: Quota,
    /// Which files are fetched by themselves, and how much of the disk they may take.
    pub files: FilesRule,
    /// Whether we keep what others leave for those who are away, and how much of it.
    pub keep: Option<KeeperRule>,
    /// Up to so many links everybody keeps one with everybody.
    pub max_links: usize,
    /// Whether relayed links become direct by hole punching.
    pub punches: bool,
    /// Timers.
    pub timers: Timers,
    /// Randomness.
    pub seed: [u8; 32],
    /// For the tests that prove the tests.
    pub mistakes: Mistakes,
}
