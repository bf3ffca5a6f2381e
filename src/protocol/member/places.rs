//! One identity in two places: a copied home that runs twice.
//! Owns: the last processes of everybody who said hello, and whom people were warned about.
//! Must not know: links, addresses, logs.
//! Invariants: whoever starts again, however often, raises no alarm; one finding, one alarm.
//! Start reading at: [`Places::saw`].
//!
//! A process has a salt of its own, and a home runs one process at a time: so a salt that another
//! one of the same key followed never comes back. Where it does, both run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Context, Member};
use crate::identity::Credential;
use crate::ids::{PeerId, SessionSalt};
use crate::protocol::{AlarmView, EvidenceView, Notice};

/// Processes of one key that are remembered: who comes back after as many others is not noticed.
const REMEMBERED: usize = 8;
/// Keys of which processes are remembered.
const PEERS_MAX: usize = 4_096;

/// The processes that said hello.
#[derive(Debug, Default)]
pub(super) struct Places {
    seen: BTreeMap<PeerId, VecDeque<SessionSalt>>,
    told: BTreeSet<PeerId>,
}

impl Places {
    /// A process of this key said hello; whether that shows for the first time that two of them
    /// run.
    fn saw(&mut self, peer: PeerId, session: SessionSalt) -> bool {
        if !self.seen.contains_key(&peer) && self.seen.len() >= PEERS_MAX {
            return false;
        }
        let seen = self.seen.entry(peer).or_default();
        if seen.back() == Some(&session) {
            return false;
        }
        let is_back = seen.contains(&session);
        seen.retain(|it| *it != session);
        seen.push_back(session);
        if seen.len() > REMEMBERED {
            seen.pop_front();
        }
        is_back && self.told.insert(peer)
    }
}

impl Member {
    /// Somebody says in which process it runs.
    pub(super) fn note_place(
        &mut self,
        credential: &Credential,
        session: Option<SessionSalt>,
        cx: &mut Context<'_>,
    ) {
        let peer = credential.peer;
        let roster = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster);
        let is_in = roster.is_some_and(|roster| roster.is_in(&peer));
        if !is_in || !session.is_some_and(|session| self.places.saw(peer, session)) {
            return;
        }
        let name = self.label(&peer);
        let message = format!(
            "{name} runs in two places at the same time: its home was copied, and whoever has the \
             copy reads and writes as {name}; ask {name}, and remove it if that was not its doing"
        );
        let evidence = vec![EvidenceView {
            name: name.clone(),
            peer,
            serial: credential.serial,
            credential: credential.bytes.clone(),
        }];
        let is_verified = self.people.is_verified(&peer);
        let (code, at) = ("two_places", cx.now.wall);
        let alarm =
            AlarmView { code, name, message, is_verified, at, evidence, entries: Vec::new() };
        cx.notice(Notice::Alarm(Box::new(alarm)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_comes_back_after_another_is_noticed_once_and_no_restart_is() {
        let salt = |n| SessionSalt([n; 16]);
        let (bob, carol) = (PeerId::of_rsa_spki(b"bob"), PeerId::of_rsa_spki(b"carol"));
        let mut places = Places::default();
        // Links come and go, processes follow each other.
        for n in [1, 1, 1, 2, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11] {
            assert!(!places.saw(bob, salt(n)), "{n}");
        }
        assert!(!places.saw(carol, salt(10)), "another key");
        assert!(places.saw(bob, salt(10)), "it ran on");
        assert!(!places.saw(bob, salt(11)) && !places.saw(bob, salt(10)), "told once");
        assert!(!places.saw(carol, salt(1)));
        assert!(places.saw(carol, salt(10)));
        assert!(places.seen.values().all(|it| it.len() <= REMEMBERED));
    }
}
