//! Control log and roster in step: what is ordered and who therefore belongs.
//! Owns: the passing on of committed entries to the roster, and of its members back to control.
//! Must not know: rooms, links, faces.
//! Invariants: the roster is exactly the committed log applied.
//! Start reading at: [`Ledger::handle`].

use bytes::Bytes;

use super::control::VoterSet;
use super::control::{Base, Control, Happened, Input, Mistakes, Output, Payload, Setup, Voter};
use super::roster::{Change, Roster};
use super::{Reads, Timers};
use crate::identity::Proofs;
use crate::identity::genesis::Genesis;
use crate::ids::{DeviceKey, Hash, Incarnation, Index, PeerId};
use crate::refusal::{Refusal, Refused};
use crate::time::{Now, Wall};

/// Who we are to the control log, and how it is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where the log is stored (`Write::Control`).
    pub space: String,
    /// Ourselves.
    pub me: Voter,
    /// Whether we may lead.
    pub can_lead: bool,
    /// Timers.
    pub timers: Timers,
    /// Randomness.
    pub seed: [u8; 32],
    /// For the tests that prove the tests.
    pub mistakes: Mistakes,
}

/// Control log and roster of one network.
#[derive(Clone, Debug)]
pub struct Ledger {
    genesis: Genesis,
    control: Control,
    roster: Roster,
    history: Vec<(Index, Result<Change, Refused>)>,
}

/// What an input led to.
#[derive(Debug, Default)]
pub struct Turn {
    /// What control wants written and sent, and when it wants to wake.
    pub output: Output,
    /// What changed in the roster, in order, and by which entry.
    pub changes: Vec<(Index, Change)>,
}

impl Ledger {
    /// Builds it from the genesis and what is stored; says what is committed, too.
    ///
    /// # Refusals
    /// [`Refusal::GenesisOther`] when the founder's credential does not hold under the authority.
    pub fn load(
        place: Place,
        genesis: Genesis,
        reads: &dyn Reads,
        now: Now,
        proofs: &dyn Proofs,
    ) -> Result<(Self, Vec<(Index, Change)>), Refused> {
        let network = genesis.authority.network;
        let founder = &genesis.founder;
        let witness = witness_of(&genesis).ok_or(Refusal::GenesisOther)?;
        let roster = Roster::founded(genesis.authority.clone(), founder);
        let setup = Setup {
            network,
            space: place.space,
            me: place.me,
            can_lead: place.can_lead,
            base: Base {
                genesis_hash: genesis.hash(),
                voters: VoterSet::new([witness]).ok_or(Refusal::GenesisOther)?,
            },
            timers: place.timers,
            seed: place.seed,
            mistakes: place.mistakes,
        };
        let control = Control::load(setup, reads, now);
        let mut ledger = Self { genesis, control, roster, history: Vec::new() };
        // The stored log beyond its known commit is applied when its commit is heard of.
        let changes = ledger.apply_committed(proofs);
        Ok((ledger, changes))
    }

    /// Passes an input to control and applies what it commits.
    pub fn handle(&mut self, input: Input, now: Now, proofs: &dyn Proofs) -> Turn {
        let is_start = matches!(input, Input::Started);
        let mut turn =
            Turn { output: self.control.handle(input, now, proofs), changes: Vec::new() };
        let committed =
            turn.output.happened.iter().any(|it| matches!(it, Happened::Committed { .. }));
        if committed {
            turn.changes = self.apply_committed(proofs);
        }
        if is_start || !turn.changes.is_empty() {
            let members = Input::Members(self.voters_in());
            let more = self.control.handle(members, now, proofs);
            turn.output.absorb(more);
            // A change of the members may itself commit something (a group of one).
            turn.changes.extend(self.apply_committed(proofs));
        }
        turn
    }

    fn apply_committed(&mut self, proofs: &dyn Proofs) -> Vec<(Index, Change)> {
        let mut changes = Vec::new();
        while self.roster.applied() < self.control.commit() {
            let index = self.roster.applied().next();
            let Some(entry) = self.control.entry(index) else {
                break;
            };
            let (stamp, intent) = (entry.stamp, intent_in(&entry.payload));
            match self.roster.apply(index, stamp, intent.as_ref(), proofs) {
                Ok(Change::Nothing) => {}
                Ok(change) => {
                    self.history.push((index, Ok(change.clone())));
                    changes.push((index, change));
                }
                Err(refused) => {
                    tracing::warn!(%index, %refused, "void control entry");
                    self.history.push((index, Err(refused)));
                }
            }
        }
        changes
    }

    /// The members as control sees them: everybody who belongs, with the newest database.
    fn voters_in(&self) -> Vec<Voter> {
        self.roster
            .members()
            .filter(|member| member.is_in())
            .filter_map(|member| {
                let (incarnation, key) = member.newest()?;
                Some(Voter { peer: member.peer, incarnation, key, is_witness: false })
            })
            .collect()
    }

    /// Whether an intent would take effect, judged by the committed roster.
    ///
    /// # Refusals
    /// Why not.
    pub fn would_take(
        &self,
        intent: &Bytes,
        at: Wall,
        proofs: &dyn Proofs,
    ) -> Result<crate::ids::IntentId, Refused> {
        self.roster.would_take(intent, at, proofs)
    }

    /// What the committed entries changed in the roster, and which of them are void and why.
    pub fn history(&self) -> &[(Index, Result<Change, Refused>)] {
        &self.history
    }

    /// Who leads and what is ordered.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Who belongs.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What the network was founded with.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Its hash.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis.hash()
    }

    /// The applied position.
    pub fn applied(&self) -> Index {
        self.roster.applied()
    }
}

/// The witness a genesis names; its key is inside its peer id.
pub fn witness_of(genesis: &Genesis) -> Option<Voter> {
    witness(genesis.witness, genesis.witness_incarnation)
}

/// A bootstrap as a voter.
pub fn witness(peer: PeerId, incarnation: Incarnation) -> Option<Voter> {
    let key: DeviceKey = peer.ed25519()?;
    Some(Voter { peer, incarnation, key, is_witness: true })
}

fn intent_in(payload: &Payload) -> Option<Bytes> {
    match payload {
        Payload::Intent { bytes, .. } => Some(bytes.clone()),
        Payload::Empty | Payload::Voters(_) => None,
    }
}
