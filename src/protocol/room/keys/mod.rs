//! Under which keys a room talks: how they are agreed on, derived, held and used.
//! Owns: [`KeyAgreement`] and [`KeyAgreements`], behind which OpenMLS and the toy of the simulator
//! look alike; the rules of a leaf and of a commit ([`rules`]).
//! Must not know: how commits are ordered, who carries welcomes, what a control entry looks like.
//! Invariants: at most one commit is merged per epoch, and only one that was ordered (24); what is
//! publicly invalid for one is so for all who hold the epoch.
//! Start reading at: [`KeyAgreement`].
//!
//! ```text
//!   stage ──► pending, stored ──► ordered by the control log ──► ordered(): merged
//!                  │                       another came first ──► ordered(): merged, pending gone
//!                  └─ restart: load()                             stage again
//!   cannot follow (BadPrivate), pending lost, welcome missed ──► join_external ──► ordered()
//! ```

pub mod deposit;
pub mod keyring;
pub mod mls;
pub mod orders;
mod provider;
pub mod rules;
pub mod schedule;
pub mod seal;
#[cfg(test)]
mod tests;
pub mod toy;
mod visible;

use std::fmt;

use bytes::Bytes;

pub use self::rules::{Change, Judge, Leaf};
use self::schedule::RoomSecret;
use crate::identity::Proofs;
use crate::ids::{GroupId, Hash, PeerId, RoomId};

/// Rows to be written in the transaction of what caused them: a value, or none to delete it.
pub type Changes = Vec<(Bytes, Option<Bytes>)>;

/// Rows as stored.
pub type Rows = Vec<(Bytes, Bytes)>;

/// Why something could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What was handed in, or stored, is not what it should be.
    #[error("malformed")]
    Malformed,
    /// A rule of the room forbids it.
    #[error("against the rules of the room: {0}")]
    Refused(&'static str),
    /// A commit of our own waits for its order.
    #[error("a commit is pending")]
    Pending,
    /// We are not in the room, or not yet.
    #[error("not in the room")]
    NotMember,
    /// The welcome is for somebody else, or its key package was used up.
    #[error("the welcome is for another key package")]
    NotForUs,
    /// A leaf of an earlier life of ours, under another device key, is still in the room; only a
    /// member can replace it: remove and add in one commit.
    #[error("an earlier life of this member is still in the room")]
    OldLeaf,
    /// No key of this name is held.
    #[error("no such key")]
    KeyUnknown,
    /// The payload is too long to be sealed.
    #[error("too long")]
    TooLong,
    /// More keys than a room may have.
    #[error("too many keys")]
    Full,
    /// Our own code or the library contradicts itself; load again from what is stored.
    #[error("internal: {0}")]
    Internal(&'static str),
}

/// A commit made here that waits to be ordered. Stored: it survives a restart.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name in the order.
    pub hash: Hash,
    /// To be ordered.
    pub commit: Bytes,
    /// To be sent to those added, once the commit is ordered.
    pub welcome: Option<Bytes>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({:?})", self.hash)
    }
}

impl Pending {
    /// A commit that is to be ordered, and what follows it.
    pub fn new(commit: Bytes, welcome: Option<Bytes>) -> Self {
        Self { hash: commit_hash(&commit), commit, welcome }
    }

    /// A length, the commit, the welcome.
    fn encode(&self) -> Bytes {
        let len = u32::try_from(self.commit.len()).unwrap_or(u32::MAX).to_be_bytes();
        let welcome = self.welcome.clone().unwrap_or_default();
        [&len[..], &self.commit, &welcome].concat().into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let (len, _) = bytes.split_first_chunk::<4>()?;
        let end = usize::try_from(u32::from_be_bytes(*len)).ok()?.checked_add(4)?;
        if end > bytes.len() {
            return None;
        }
        let welcome = bytes.slice(end..);
        Some(Self::new(bytes.slice(4..end), (!welcome.is_empty()).then_some(welcome)))
    }
}

/// What a commit's place in the order means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is merged: there is a new epoch. If `is_out`, our own leaf is gone and there is none for
    /// us. A pending commit that was not this one is gone; its maker stages again.
    Merged {
        /// What it changed.
        change: Change,
        /// Whether we are out.
        is_out: bool,
    },
    /// Invalid for everybody who holds this epoch; skipped by all alike.
    BadPublic(&'static str),
    /// Valid for all to see, and we cannot follow: rejoin from a group info, by external commit.
    BadPrivate(&'static str),
}

/// Who joins and leaves by a commit. With neither it renews the keys.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Key packages of those to be added.
    pub add: Vec<Bytes>,
    /// Those to be removed.
    pub remove: Vec<PeerId>,
}

/// A key package: handed out once, kept until a welcome uses it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPackage {
    /// To be handed out.
    pub public: Bytes,
    /// To be stored, and given to `join_welcome`; then deleted, so that it is never used again.
    pub private: Bytes,
}

impl fmt::Debug for KeyPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPackage(..)")
    }
}

/// A group one is in, or on the way into, by an ordered commit.
///
/// Every method that changes something gives the rows to write in the same transaction. After an
/// [`Error::Internal`] or a transaction that failed the group is loaded again.
pub trait KeyAgreement: fmt::Debug + Send {
    /// Which group.
    fn group(&self) -> GroupId;
    /// Its epoch.
    fn epoch(&self) -> u64;
    /// Equal here and there if the epoch is the same.
    fn authenticator(&self) -> Hash;
    /// Who is in it, in the order of the leaves.
    fn leaves(&self) -> Vec<Leaf>;
    /// Whether we hold the epoch. Not before one's own joining was ordered, not after removal.
    fn is_member(&self) -> bool;
    /// The room's secret in this epoch.
    ///
    /// # Errors
    /// [`Error::NotMember`].
    fn secret(&self) -> Result<RoomSecret, Error>;
    /// What somebody needs to join by external commit, the tree included.
    ///
    /// # Errors
    /// [`Error::NotMember`].
    fn group_info(&self, proofs: &dyn Proofs) -> Result<Bytes, Error>;
    /// Our own commit that waits for its order.
    fn pending(&self) -> Option<&Pending>;
    /// Makes a commit and keeps it pending until it is ordered.
    ///
    /// # Errors
    /// [`Error::Pending`], [`Error::NotMember`], [`Error::Malformed`] for a key package,
    /// [`Error::Refused`] for what nobody would accept.
    fn stage(
        &mut self,
        wish: &Wish,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
    ) -> Result<Changes, Error>;
    /// Gives up the pending commit; not for one's own joining. If it is ordered all the same, we
    /// cannot follow.
    ///
    /// # Errors
    /// [`Error::Internal`].
    fn clear(&mut self) -> Result<Changes, Error>;
    /// A commit was ordered; `judge` as of its place in the order.
    ///
    /// # Errors
    /// [`Error::NotMember`] if we are out, [`Error::Internal`].
    fn ordered(&mut self, commit: &Bytes, judge: &dyn Judge) -> Result<(Verdict, Changes), Error>;
}

/// A group and the rows it starts with.
pub type Begun = (Box<dyn KeyAgreement>, Changes);

/// Where groups come from. `seed` is fresh for every call, and secret.
pub trait KeyAgreements: fmt::Debug + Send + Sync {
    /// A key package for `me`.
    ///
    /// # Errors
    /// [`Error::Internal`].
    fn key_package(
        &self,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<KeyPackage, Error>;
    /// A new group with one leaf.
    ///
    /// # Errors
    /// [`Error::Internal`].
    fn create(
        &self,
        room: RoomId,
        group: GroupId,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error>;
    /// A group as stored.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    fn load(
        &self,
        room: RoomId,
        me: PeerId,
        rows: &[(Bytes, Bytes)],
        seed: [u8; 32],
    ) -> Result<Box<dyn KeyAgreement>, Error>;
    /// Joins by external commit: the pending commit of the result is to be ordered. All commits
    /// ordered since `info` was made must be given to `ordered`, in order.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Refused`], [`Error::OldLeaf`].
    fn join_external(
        &self,
        room: RoomId,
        me: PeerId,
        info: &Bytes,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error>;
    /// Joins by welcome; the commit it belongs to was ordered.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NotForUs`], [`Error::Refused`].
    fn join_welcome(
        &self,
        room: RoomId,
        me: PeerId,
        welcome: &Bytes,
        private: &Bytes,
        judge: &dyn Judge,
        seed: [u8; 32],
    ) -> Result<Begun, Error>;
}

/// A commit's name in the order.
pub fn commit_hash(commit: &Bytes) -> Hash {
    Hash::of("p2pgroup/1 commit", &[commit])
}
