//! A leader that ordered two different things at one place: the proof, and what people are told.
//! Owns: when two entries and the credentials of their leader are a proof; the alarm `two_orders`.
//! Must not know: how the two were found, whom they are passed on to.
//! Invariants: nobody is named but under two signatures of its own certified keys; one alarm a leader.
//! Start reading at: [`Member::two_orders`].

use bytes::Bytes;

use super::people::ALARM;
use super::{Context, Member};
use crate::identity::Credential;
use crate::ids::{DeviceKey, Hash, PeerId};
use crate::protocol::control::{self, Payload};
use crate::protocol::{AlarmView, EvidenceView};
use crate::time::Wall;
use crate::wire::control::Entry;
use crate::wire::frame::Evidence;
use crate::wire::roster::{IntentIn, Wish};

const CODE: &str = "two_orders";

/// Two different things that one leader ordered at one place.
pub(super) struct Orders {
    leader: Credential,
    at: Entry,
}

impl Orders {
    pub(super) fn subject(&self) -> String {
        format!("{ALARM}{CODE}/{}", Hash::of("p2pgroup/1 alarm", &[self.leader.peer.as_bytes()]))
    }
}

/// Whether an alarm stored under this key rests on control entries.
pub(super) fn is_of_orders(key: &str) -> bool {
    key.strip_prefix(ALARM).and_then(|it| it.strip_prefix(CODE)).is_some()
}

impl Member {
    /// Control found two entries of one leader that differ.
    pub(super) fn on_contradicted(&mut self, pair: &[Entry; 2], cx: &mut Context<'_>) {
        let [one, other] = pair;
        let Some(leader) = one.ballot.peer else { return };
        let name = self.label(&leader);
        tracing::warn!(peer = %leader, name, index = %one.index, "a leader contradicts itself");
        let credentials = [one, other].map(|entry| self.credential_of(&leader, &entry.signer));
        let [Some(first), Some(second)] = credentials else { return };
        let entries = Some([one.encode(), other.encode()]);
        self.take_evidence(Evidence { credentials: [first, second], entries }, cx);
    }

    /// The credential that binds a device key to a member, of whichever of its lives.
    fn credential_of(&self, peer: &PeerId, key: &DeviceKey) -> Option<Bytes> {
        let ledger = self.ledger.as_ref()?;
        let authority = ledger.roster().authority();
        let binds = |bytes: &Bytes| {
            let credential = self.proofs.credential(authority, bytes);
            credential.is_ok_and(|it| it.peer == *peer && it.device == *key)
        };
        let newest = ledger.roster().member(peer).map(|member| member.credential.clone());
        let founder = Some(ledger.genesis().founder.bytes.clone());
        let linked = self.links.get(peer).and_then(|link| link.credential());
        let mut known = newest.into_iter().chain(founder).chain(linked);
        known.find(|it| binds(it)).or_else(|| {
            // Of a life that is over: as it came into the log.
            let control = ledger.control();
            let mut at = control.last().0;
            while let Some(entry) = control.entry(at) {
                at = at.before();
                let Payload::Intent { bytes, .. } = &entry.payload else { continue };
                let Ok(intent) = IntentIn::decode(bytes) else { continue };
                let Wish::Admit { credential } = intent.wish else { continue };
                if intent.author == *peer && binds(&credential) {
                    return Some(credential);
                }
            }
            None
        })
    }

    /// Whether evidence with entries proves what it says.
    pub(super) fn two_orders(&self, it: &Evidence) -> Option<Orders> {
        let authority = self.authority.as_ref()?;
        let [one, other] = it.entries.as_ref()?;
        let (one, other) = (Entry::decode(one).ok()?, Entry::decode(other).ok()?);
        let [first, second] = &it.credentials;
        let leader = self.proofs.credential(authority, first).ok()?;
        let again = self.proofs.credential(authority, second).ok()?;
        let is_theirs = |credential: &Credential, entry: &Entry| {
            entry.ballot.peer == Some(credential.peer) && entry.signer == credential.device
        };
        let is_proof = is_theirs(&leader, &one)
            && is_theirs(&again, &other)
            && control::contradict(&authority.network, &one, &other, &*self.proofs);
        is_proof.then_some(Orders { leader, at: one })
    }

    pub(super) fn orders_view(&self, at: Wall, it: &Evidence, orders: &Orders) -> AlarmView {
        let Orders { leader, at: entry } = orders;
        let is_verified = self.people.is_verified(&leader.peer);
        let name = self.label(&leader.peer);
        let whose = match (leader.peer == self.me, is_verified) {
            (true, _) => format!("{name}, which is you,"),
            (_, true) => format!("{name}, whom you verified,"),
            _ => name.clone(),
        };
        let message = format!(
            "{whose} as leader of term {} ordered two different things as number {} and signed both: \
             not everybody here holds the same list of members any more; talk goes on; remove {name}, \
             and let whoever no longer follows the others join again with a new home",
            entry.ballot.term, entry.index
        );
        let evidence = vec![EvidenceView {
            name: leader.name.clone(),
            peer: leader.peer,
            serial: leader.serial,
            credential: leader.bytes.clone(),
        }];
        let entries = it.entries.clone().map(Vec::from).unwrap_or_default();
        AlarmView { code: CODE, name, message, is_verified, at, evidence, entries }
    }
}
