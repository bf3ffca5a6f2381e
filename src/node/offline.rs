//! A member's store, asked while no process runs on it.
//! Owns: opening it without changing what it says, and its index brought up to date.
//! Must not know: the terminal, the network.
//! Invariants: no home is made; nothing is sent; the store stays locked while it is asked.
//! Start reading at: [`Offline::open`].

use std::path::Path;

use super::clock::Clock;
use super::{keys, start};
use crate::config::Config;
use crate::identity::keys::Device;
use crate::protocol::check::{self, Report};
use crate::protocol::member::Member;
use crate::protocol::{AuditView, MessageView, Words};
use crate::refusal::{Refusal, Refused};
use crate::store::{Home, Passphrase, Store, Sync};

/// The space of a member's control log.
const SPACE: &str = "main";

/// A member at rest.
pub struct Offline {
    member: Member,
    store: Store,
    _home: Home,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Offline {
    /// Opens the store of the member of this home, with the passphrase that it is under.
    ///
    /// # Refusals
    /// [`Refusal::NotAMember`] if there is none; [`Refusal::HomeInUse`] while one runs; whatever
    /// keeps the store from opening.
    pub fn open(config: &Config, passphrase: Option<&Passphrase>) -> Result<Self, Refused> {
        let home = locked(config)?;
        let mut store = Store::open_with(&home, passphrase)?;
        let now = Clock::start().now();
        let member = start::member_core(config, &home, &mut store, now)?;
        loop {
            let ended = member.expire_step(now.wall, &store);
            if ended.is_empty() {
                break;
            }
            store.begin();
            store.apply(ended)?;
            store.commit(Sync::Normal)?;
        }
        Ok(Self { member, store, _home: home })
    }

    /// The newest messages of a room, oldest first.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`], [`Refusal::DatabaseFailed`].
    pub fn history(&mut self, room: &str, last: usize) -> Result<Vec<MessageView>, Refused> {
        let messages = self.member.history(room, last, &self.store)?;
        self.read(messages)
    }

    /// The rooms that can be read, by name.
    pub fn rooms(&mut self) -> Vec<String> {
        self.member.room_names()
    }

    /// The newest messages that hold these words, newest first, of a room or of all. Indexes first what the
    /// member had no time for; `told` hears how many entries of how many.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`], [`Refusal::DatabaseFailed`].
    pub fn search(
        &mut self,
        room: Option<&str>,
        words: &Words,
        last: usize,
        mut told: impl FnMut(u64, u64),
    ) -> Result<Vec<MessageView>, Refused> {
        let (mut done, of) = (0_u64, self.store.unindexed_count()?);
        loop {
            let step = self.member.index_step(&self.store);
            if step.is_empty() {
                break;
            }
            done = done.saturating_add(u64::try_from(step.len()).unwrap_or(u64::MAX));
            told(done, of);
            self.store.begin();
            self.store.apply(step)?;
            self.store.commit(Sync::Normal)?;
        }
        let messages = self.member.search(room, words, last, &self.store)?;
        self.read(messages)
    }

    /// How many entries of a room are stored; a few of them may be no messages.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`].
    pub fn entry_count(&mut self, room: &str) -> Result<u64, Refused> {
        self.member.entry_count(room)
    }

    /// Every message of a room, oldest first, until `take` says no.
    ///
    /// # Refusals
    /// [`Refusal::RoomUnknown`], [`Refusal::DatabaseFailed`].
    pub fn walk(
        &mut self,
        room: &str,
        take: impl FnMut(MessageView) -> bool,
    ) -> Result<(), Refused> {
        self.member.walk(room, &self.store, take)?;
        self.read(())
    }

    /// What the control log changed.
    pub fn audit(&self) -> Vec<AuditView> {
        self.member.audit()
    }

    /// An answer that a failed read may have cut short is none.
    fn read<T>(&self, answer: T) -> Result<T, Refused> {
        self.store.is_sound()?;
        Ok(answer)
    }
}

/// Looks anew at every chain, hash and signature of the member of this home; `told` hears how many
/// entries of how many.
///
/// # Refusals
/// As [`Offline::open`]; [`Refusal::DatabaseFailed`] if a table cannot be read.
pub fn verify(
    config: &Config,
    passphrase: Option<&Passphrase>,
    mut told: impl FnMut(u64, u64),
) -> Result<Report, Refused> {
    let home = locked(config)?;
    let store = Store::open_with(&home, passphrase)?;
    let survey = store.survey(SPACE)?;
    // Any device can check; this one is thrown away.
    let proofs = Device::create(&mut keys::fresh_rng()?);
    let of = survey.logs.iter().fold(0_u64, |sum, (_, last)| sum.saturating_add(last.0));
    let report = check::check(&survey, &store, &proofs, &mut |done| told(done, of));
    match store.is_sound() {
        // What could not be read is among the faults, and so is why.
        Err(_) if !survey.damage.is_empty() => Ok(report),
        sound => sound.map(|()| report).map_err(Refused::from),
    }
}

/// The home of a member at rest.
pub(super) fn locked(config: &Config) -> Result<Home, Refused> {
    let path = config.member_home()?;
    if !path.join(keys::MEMBER_KEY).exists() {
        let detail = format!("{} holds no member", path.display());
        return Err(Refused::new(Refusal::NotAMember, detail));
    }
    Home::open(path)
}

/// The refusal for a file that cannot be written.
pub fn unwritable(path: &Path, error: &std::io::Error) -> Refused {
    Refused::new(Refusal::FileUnwritable, format!("{}: {error}", path.display()))
}
