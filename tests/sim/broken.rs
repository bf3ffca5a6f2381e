//! What may be broken on purpose, and what a run looks for.
//! Owns: the list.
//! Must not know: who finds it.
//! Invariants: nothing is broken unless it is said here.
//! Start reading at: [`Broken`].

use p2pgroup::protocol::control::Mistakes;

/// Which faults come often, so that what they bring to light is found soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hunt {
    Crashes,
    PowerLosses,
    OldCopies,
    LostDisks,
    Rooms,
    Forgeries,
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
    /// No mistake: what a run looks for.
    pub hunt: Option<Hunt>,
}
