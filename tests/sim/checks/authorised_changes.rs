//! Invariant 10: every change of the roster traces to an authorised, signed intent.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: names, keys, roles and removals are exactly those of verified intents in the history.
//! Start reading at: `see`.

use std::collections::{BTreeMap, BTreeSet};

use p2pgroup::identity::revocation::Revocation;
use p2pgroup::identity::{Domain, Proofs};
use p2pgroup::ids::{DeviceKey, Incarnation, Index, NetworkRole, PeerId};
use p2pgroup::protocol::control::Payload;
use p2pgroup::wire::identity::Withdrawn;
use p2pgroup::wire::roster::{IntentIn, Wish};

use super::{Check, Seen};
use crate::proofs::Toy;
use crate::world::World;

#[derive(Default)]
pub struct Authorised {
    taken: usize,
    founder: Option<(PeerId, DeviceKey)>,
    wished: BTreeSet<(PeerId, String, Incarnation, DeviceKey)>,
    revoked: BTreeSet<PeerId>,
    /// Of these, by the authority.
    withdrawn: BTreeSet<PeerId>,
    given: BTreeSet<(PeerId, NetworkRole)>,
    seen: BTreeMap<usize, (u64, Index)>,
}

impl Authorised {
    /// Whether somebody who was admitted signed this.
    fn is_signed(&self, intent: &IntentIn, toy: &Toy) -> bool {
        let admitted = self.wished.iter().map(|(peer, _, _, key)| (*peer, *key));
        let mut keys = admitted.chain(self.founder).filter(|(peer, _)| *peer == intent.author);
        keys.any(|(_, key)| toy.verify(&key, Domain::Intent, &intent.body, &intent.signature))
    }

    fn take(&mut self, world: &World) {
        let toy = Toy::of(DeviceKey([0; 32]));
        let authority = world.nodes.iter().find_map(|it| it.ledger());
        let Some(authority) = authority.map(|it| it.roster().authority().clone()) else { return };
        while let Some((entry, _)) = world.oracle.history.get(self.taken) {
            self.taken += 1;
            let Payload::Intent { bytes, .. } = &entry.payload else { continue };
            let Ok(intent) = IntentIn::decode(bytes) else { continue };
            match &intent.wish {
                Wish::Admit { credential } => {
                    let Ok(it) = toy.credential(&authority, credential) else { continue };
                    let (body, by) = (&intent.body, &intent.signature);
                    if it.peer == intent.author && toy.verify(&it.device, Domain::Intent, body, by)
                    {
                        self.wished.insert((it.peer, it.name, it.incarnation, it.device));
                    }
                }
                Wish::Revoke { revocation } => {
                    if let Ok(it) = Revocation::verify(&toy, &authority, revocation) {
                        // Nobody here came by a voucher.
                        if let Withdrawn::Certificate { peer, .. } = it.of {
                            self.revoked.insert(peer);
                            self.withdrawn.insert(peer);
                        }
                    }
                }
                Wish::Remove { peer, .. } => {
                    if self.is_signed(&intent, &toy) {
                        self.revoked.insert(*peer);
                    }
                }
                Wish::Role { peer, role } => {
                    if self.is_signed(&intent, &toy) {
                        self.given.insert((*peer, *role));
                    }
                }
                Wish::Room { .. } => {}
            }
        }
    }
}

impl Check for Authorised {
    fn name(&self) -> &'static str {
        "authorised_changes"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let (Seen::Started { node } | Seen::Turned { node }) = seen else { return Ok(()) };
        let it = &world.nodes[*node];
        let Some(ledger) = it.ledger() else { return Ok(()) };
        let place = (it.boot, ledger.applied());
        if self.seen.insert(*node, place) == Some(place) {
            return Ok(());
        }
        // A node that crashed between commit and report starts ahead of the record: look again then.
        if usize::try_from(ledger.applied().0).is_ok_and(|it| it > world.oracle.history.len()) {
            self.seen.remove(node);
            return Ok(());
        }
        let founder = &ledger.genesis().founder;
        self.founder = Some((founder.peer, founder.device));
        self.take(world);
        for member in ledger.roster().members() {
            for (life, key) in &member.devices {
                let is_founding = member.peer == founder.peer
                    && (*life, *key) == (founder.incarnation, founder.device);
                let wish = (member.peer, member.name.clone(), *life, *key);
                if !is_founding && !self.wished.contains(&wish) {
                    return Err(format!("nobody wished for {} {life}", member.name));
                }
            }
            let role = member.role;
            let has_it_from_start = match member.peer == founder.peer {
                true => role == NetworkRole::Owner,
                false => role == NetworkRole::Member,
            };
            // Where the authority puts the last owner out, somebody succeeds it.
            let is_heir = role == NetworkRole::Owner
                && ledger
                    .roster()
                    .members()
                    .any(|it| it.role == role && !it.is_in() && self.withdrawn.contains(&it.peer))
                && !ledger
                    .roster()
                    .members()
                    .any(|it| it.role == role && it.is_in() && it.peer != member.peer);
            if !is_heir && !has_it_from_start && !self.given.contains(&(member.peer, role)) {
                return Err(format!("nobody wished for {} to be {}", member.name, role.name()));
            }
            if !member.is_in() && !self.revoked.contains(&member.peer) {
                return Err(format!("nobody wished for the removal of {}", member.name));
            }
        }
        Ok(())
    }
}
