//! The invariants of whole cores, one file each.
//! Owns: the list of them, and what they are shown.
//! Must not know: how a run is driven.
//! Invariants: a check reads and never changes the world.
//! Start reading at: [`Seen`].

mod acknowledged_survives;
mod apply_is_pure;
mod authorised_changes;
mod certified_members;
mod committed_in_later_leaders;
mod deliveries_true;
mod ended_is_gone;
mod equal_entries;
mod equal_position_equal_log;
mod forks_are_reported;
mod intents_once;
mod keepers_blind;
mod nonces_once;
mod one_leader_per_ballot;
mod one_merge_per_epoch;
mod only_who_spoils_is_suspended;
mod past_the_cut;
mod promise_never_decreases;
mod receipts_true;
mod removed_read_no_more;
pub mod revoked_everywhere;
mod rooms_stand_equal;
mod sending_needs_nobody;
mod unnamed_never_counts;
mod unstored_unsaid;
mod verified_only;
mod voters_change_by_one;

use p2pgroup::protocol::{Notice, Write};
use p2pgroup::wire::frame::Body;

use crate::world::{Violation, World};

/// What a check is shown, as it happens.
pub enum Seen<'a> {
    /// A node was loaded from its disk.
    Started { node: usize },
    /// A transaction was committed.
    Stored { node: usize, writes: &'a [Write] },
    /// A frame was handed to the network.
    Sent { node: usize, to: usize, body: &'a Body },
    /// A face was told something.
    Told { node: usize, notice: &'a Notice },
    /// A turn is over.
    Turned { node: usize },
    /// All is healed and quiet.
    Ended,
}

/// An invariant.
pub trait Check {
    fn name(&self) -> &'static str;
    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String>;
}

#[derive(Default)]
pub struct Checks(Vec<Box<dyn Check>>);

impl Checks {
    pub fn all() -> Self {
        Self(vec![
            Box::<one_leader_per_ballot::OneLeader>::default(),
            Box::<promise_never_decreases::Promise>::default(),
            Box::<committed_in_later_leaders::Committed>::default(),
            Box::<equal_position_equal_log::EqualLogs>::default(),
            Box::<voters_change_by_one::VoterSteps>::default(),
            Box::<unnamed_never_counts::Unnamed>::default(),
            Box::<apply_is_pure::Pure>::default(),
            Box::<authorised_changes::Authorised>::default(),
            Box::<intents_once::Once>::default(),
            Box::<certified_members::Certified>::default(),
            Box::<sending_needs_nobody::Sending>::default(),
            Box::<acknowledged_survives::Acknowledged>::default(),
            Box::<equal_entries::EqualEntries>::default(),
            Box::<verified_only::Verified>::default(),
            Box::<forks_are_reported::Forks>::default(),
            Box::<nonces_once::Nonces>::default(),
            Box::<removed_read_no_more::Removed>::default(),
            Box::<one_merge_per_epoch::Epochs>::default(),
            Box::<keepers_blind::Blind>::default(),
            Box::<receipts_true::Receipts>::default(),
            Box::<revoked_everywhere::Revoked>::default(),
            Box::<unstored_unsaid::Unsaid>::default(),
            Box::<past_the_cut::PastTheCut>::default(),
            Box::<deliveries_true::Deliveries>::default(),
            Box::<ended_is_gone::Ended>::default(),
            Box::<rooms_stand_equal::Standing>::default(),
            Box::<only_who_spoils_is_suspended::Just>::default(),
        ])
    }

    pub fn see(&mut self, seen: &Seen<'_>, world: &mut World) -> Result<(), Violation> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut oracle = std::mem::take(&mut world.oracle);
        let known = match seen {
            Seen::Stored { node, writes } => {
                oracle.stored(world, *node, writes);
                Ok(())
            }
            Seen::Turned { node } => oracle.commits(world, *node),
            _ => Ok(()),
        };
        world.oracle = oracle;
        known.map_err(|text| Violation { name: "one_history", text })?;
        for check in &mut self.0 {
            let name = check.name();
            check.see(seen, world).map_err(|text| Violation { name, text })?;
        }
        Ok(())
    }
}
