//! What goes into a control core and what comes out.
//! Owns: [`Setup`], [`Input`], [`Output`], [`Happened`].
//! Must not know: what the core makes of them.
//! Invariants: the order of the fields of [`Output`] is the law: written, then sent, then told.
//! Start reading at: [`Input`].

use bytes::Bytes;

use crate::ids::{Hash, Index, IntentId, NetworkId, PeerId};
use crate::protocol::{Timers, Write};
use crate::refusal::Refusal;
use crate::time::Mono;
use crate::wire::control::{Ballot, Entry, Message, Voter, VoterSet};

/// What the log starts from: the founding, which every member knows by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The genesis the authority signed.
    pub genesis_hash: Hash,
    /// The voters before the first entry; normally the witness alone.
    pub voters: VoterSet,
}

/// What a control core is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The network; part of everything signed.
    pub network: NetworkId,
    /// Under which name the log is stored.
    pub space: String,
    /// Oneself as a voter.
    pub me: Voter,
    /// `false` for the witness.
    pub can_lead: bool,
    /// What the log starts from.
    pub base: Base,
    /// The timers.
    pub timers: Timers,
    /// For ranks and timeouts.
    pub seed: [u8; 32],
    /// For the checker and the simulator only.
    pub mistakes: Mistakes,
}

/// Mistakes to be found by the model checker and the simulator: each breaks one rule.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Compares terms where whole ballots must be compared.
    pub term_only: bool,
    /// Counts the witness only to break a tie.
    pub tie_break_witness: bool,
    /// Changes voters before the change before is committed, two at once.
    pub two_voters_per_entry: bool,
    /// A new leader appends no entry of its own and changes voters at once.
    pub no_own_entry: bool,
    /// A grant leaves before the promise is on disk.
    pub grant_before_write: bool,
    /// A promise is never written.
    pub forgotten_promise: bool,
    /// Acknowledgements of learners count.
    pub counts_learners: bool,
    /// Entries of older ballots are committed by counting.
    pub stale_commit: bool,
    /// Votes are given without looking at the candidate's log.
    pub log_blind: bool,
    /// A voter counts in any life of its database.
    pub incarnation_blind: bool,
    /// Appends of lower ballots are taken.
    pub takes_lower: bool,
    /// Entries are taken whoever signed them.
    pub signature_blind: bool,
    /// Logs that are equal in ballot and index are taken for equal.
    pub chain_blind: bool,
    /// Of the room's keys: a commit is merged when it is made, not when it is ordered.
    pub eager_merge: bool,
    /// Of the room's keys: every process start uses the same session salt.
    pub no_salt: bool,
    /// Of the room's keys: who knows that somebody is gone goes on under the key it holds.
    pub no_own_key: bool,
    /// Of rooms: who was put out is talked with as before.
    pub gone_stay_linked: bool,
    /// Of rooms: what has ended stays as it is.
    pub keeps_ended: bool,
    /// Of rooms: the end of a log beyond a gap is acknowledged.
    pub acks_pending: bool,
    /// Of the mesh: what comes is passed on to nobody, nor told.
    pub passes_nothing: bool,
    /// Of the mesh: what comes is passed on to all who are linked, its giver included.
    pub passes_back: bool,
    /// Of keepers: nothing is left with them.
    pub leaves_nothing: bool,
    /// Of keepers: what is left is sealed under a key of `main`, which they hold, too.
    pub open_shelves: bool,
    /// Of revocations: the authority is never asked for them.
    pub deaf_to_authority: bool,
    /// Of receipts: who is away counts as done.
    pub hasty_receipts: bool,
    /// Of suspensions: the word of one member is enough.
    pub hasty_suspension: bool,
    /// Of suspensions: what a suspended member commits is followed all the same. Of one member alone:
    /// that of a program of its own.
    pub suspension_unheeded: bool,
    /// Not a mistake: a member that says of others' commits that it cannot follow them, and can.
    pub claims_falsely: bool,
    /// Not a mistake: the ends of logs are shown first where they are a few entries ahead.
    pub early_newest: bool,
    /// Not a mistake: time plays no part, and the test chooses the voters.
    pub timeless: bool,
}

/// What a control core is told.
#[expect(clippy::large_enum_variant, reason = "made and consumed at once, never stored")]
#[derive(Clone, Debug)]
pub enum Input {
    /// First input after `load`.
    Started,
    /// From a peer whose link is up.
    Message {
        /// Who; proved by the transport.
        from: PeerId,
        /// What.
        message: Message,
    },
    /// A link is up.
    LinkUp {
        /// To whom.
        peer: PeerId,
    },
    /// The last link is gone.
    LinkDown {
        /// To whom.
        peer: PeerId,
    },
    /// The members that are not removed, in order of admission, oneself included.
    Members(Vec<Voter>),
    /// Linked peers whose certificates hold, members here or not: our roster may lag behind theirs.
    Certified(Vec<Voter>),
    /// The bootstrap we are linked with now, in its present life.
    Witness(Option<Voter>),
    /// Order this.
    Propose {
        /// Given by its author.
        id: IntentId,
        /// The encoded intent.
        bytes: Bytes,
    },
    /// It said goodbye.
    Left {
        /// Who.
        peer: PeerId,
    },
    /// We exit. Ends with [`Happened::MayExit`].
    Leave,
    /// The deadline passed.
    Woke,
}

/// What must happen, in the order of the fields.
#[derive(Debug, Default)]
#[must_use]
pub struct Output {
    /// One transaction, synced to disk.
    pub writes: Vec<Write>,
    /// Only after the writes are on disk.
    pub sends: Vec<(PeerId, Message)>,
    /// What the parent should know.
    pub happened: Vec<Happened>,
    /// When to hand in [`Input::Woke`]; replaces the deadline before it.
    pub wake_at: Option<Mono>,
}

impl Output {
    /// Takes over what a later input led to; its deadline replaces the one before.
    pub fn absorb(&mut self, later: Self) {
        self.writes.extend(later.writes);
        self.sends.extend(later.sends);
        self.happened.extend(later.happened);
        self.wake_at = later.wake_at;
    }
}

/// What a control core tells its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Entries up to here hold for ever.
    Committed {
        /// The newest of them.
        upto: Index,
    },
    /// Who is followed changed.
    LeaderChanged {
        /// The leader.
        leader: Option<PeerId>,
        /// Its ballot; without a leader the promise.
        ballot: Ballot,
    },
    /// We lead.
    Elected,
    /// We led.
    Deposed {
        /// For a log line.
        why: &'static str,
    },
    /// A proposal made here is committed.
    Ordered {
        /// Which.
        id: IntentId,
        /// Where.
        index: Index,
    },
    /// A proposal made here was not taken, or its fate is unknown: submit it again, same id.
    NotOrdered {
        /// Which.
        id: IntentId,
        /// Why.
        refusal: Refusal,
    },
    /// [`super::Control::presence`] changed.
    PresenceChanged,
    /// A message was refused and changed nothing.
    Refused {
        /// Whose.
        from: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// A leader signed two different entries for one place.
    Contradicted {
        /// Ours, and the one that came.
        pair: Box<[Entry; 2]>,
    },
    /// All that could be handed over is.
    MayExit,
}
