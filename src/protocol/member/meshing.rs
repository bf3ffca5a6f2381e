//! With whom a link is kept, and when one is given up.
//! Owns: who is wanted; links that nobody wants any more; links for a while, for what needs one.
//! Must not know: how somebody is dialled, what a link carries.
//! Invariants: with up to `max_links` others everybody who belongs is wanted; whoever has no link at
//! all wants everybody; a link is given up by who opened it, when nothing is under way on it.
//! Start reading at: [`Member::links_wanted`].

use std::collections::{BTreeMap, BTreeSet};

use super::links::PeerLink;
use super::{Context, Member};
use crate::ids::PeerId;
use crate::limits::LINKS_SPARE_MAX;
use crate::protocol::Send;
use crate::protocol::mesh::Mesh;
use crate::time::{Millis, Mono};
use crate::wire::roster::PresenceState;

/// A link that is not wanted any more stays so long: those who come and go move others about.
const LINGER: Millis = Millis(20_000);
/// How often links are looked at.
const LOOK_EVERY: Millis = Millis(1_000);
/// How often somebody is looked for who needs a link of its own.
const VISIT_EVERY: Millis = Millis(4_000);
/// How long such a link is wanted.
const VISIT_FOR: Millis = Millis(10_000);
/// How many of them at once.
const VISITS_MAX: usize = 4;

/// Links beyond the mesh, and those that are too many.
#[derive(Debug, Default)]
pub(super) struct Meshing {
    /// Whether not everybody is wanted.
    is_on: bool,
    /// Since when a link is not wanted.
    spare: BTreeMap<PeerId, Mono>,
    /// Who is linked with for a while, and until when.
    visits: BTreeMap<PeerId, Mono>,
    /// Who needed a link when it was looked last: only who does so twice gets one.
    needy: BTreeSet<PeerId>,
    look_at: Mono,
    visit_at: Mono,
}

impl Member {
    /// With whom a link should be.
    pub(super) fn links_wanted(&self) -> BTreeSet<PeerId> {
        let mut wanted = BTreeSet::new();
        match self.ledger.as_ref().filter(|_| self.is_in()) {
            Some(ledger) => {
                let members = ledger.roster().members().filter(|member| member.is_in());
                wanted.extend(members.map(|member| member.peer));
            }
            // Not admitted yet: anybody known may lead to the leader.
            None => wanted.extend(self.dials.known()),
        }
        wanted.remove(&self.me);
        if self.is_in() && wanted.len() > self.setup.max_links && !self.wants_all() {
            wanted = self.links_chosen(&wanted);
        }
        wanted
    }

    /// Whether a link with everybody is kept however many they are: leader and voters, so that
    /// everybody hears the leader, and the next one at once; a keeper, so that everybody finds it;
    /// and whoever is linked with nobody.
    fn wants_all(&self) -> bool {
        self.keeping.is_keeper()
            || self.hubs().contains(&self.me)
            || !self.links.values().any(PeerLink::is_member)
    }

    /// The leader and the voters.
    fn hubs(&self) -> BTreeSet<PeerId> {
        let Some(control) = self.ledger.as_ref().map(|it| it.control()) else {
            return BTreeSet::new();
        };
        let voters = control.voters().as_slice().iter().filter(|voter| !voter.is_witness);
        let leader = control.leader().map(|(peer, _)| peer).or(self.joining.leader());
        voters.map(|voter| voter.peer).chain(leader).collect()
    }

    /// Of very many: the hubs, the neighbours in each large room, everybody in the small ones, and
    /// who needs a link of its own.
    fn links_chosen(&self, all: &BTreeSet<PeerId>) -> BTreeSet<PeerId> {
        let mut chosen = self.hubs();
        chosen.extend(self.meshing.visits.keys());
        // Perhaps nobody else has what they sent: who is linked stays so until it is here.
        let senders = self.files_wait_for().map(|(_, by)| by);
        chosen.extend(senders.filter(|by| self.links.get(by).is_some_and(PeerLink::is_member)));
        // Keepers hold what others left for us.
        chosen.extend(self.keeping.linked_keepers());
        let Some(roster) = self.ledger.as_ref().map(|it| it.roster()) else { return chosen };
        for talk in self.talks.rooms.values().filter(|talk| talk.state.is_ordered()) {
            if talk.spread.is_on() {
                chosen.extend(talk.spread.links());
            } else {
                chosen.extend(talk.state.members(roster).map(|(peer, _)| peer));
            }
        }
        chosen.retain(|peer| all.contains(peer));
        chosen
    }

    /// Whether somebody is there, as far as is known: the leader's word, or a link.
    fn is_there(&self, peer: &PeerId) -> bool {
        let is_away = matches!(
            self.views.presence.get(peer),
            Some(PresenceState::Away | PresenceState::Left)
        );
        *peer == self.me || !is_away || self.links.get(peer).is_some_and(PeerLink::is_member)
    }

    /// Whether somebody is there, and not dialled in vain again and again.
    fn is_reached(&self, peer: &PeerId) -> bool {
        let is_linked = self.links.get(peer).is_some_and(PeerLink::is_member);
        *peer == self.me || is_linked || !self.dials.is_unreachable(peer)
    }

    /// Works out anew how the members of each room are linked.
    pub(super) fn look_at_mesh(&mut self) {
        let Some(roster) = self.ledger.as_ref().map(|it| it.roster()) else { return };
        let most = self.setup.max_links;
        let size = roster.members().filter(|member| member.is_in()).count();
        self.meshing.is_on = self.is_in() && size > most.saturating_add(1);
        if !self.meshing.is_on && !self.talks.rooms.values().any(|talk| talk.spread.is_on()) {
            return;
        }
        let hubs = self.hubs();
        let mut meshes = Vec::new();
        for (room, talk) in &self.talks.rooms {
            let all: BTreeSet<PeerId> = talk.state.members(roster).map(|(peer, _)| peer).collect();
            if !self.meshing.is_on || all.len() <= most.saturating_add(1) {
                meshes.push((*room, None));
                continue;
            }
            let there: BTreeSet<PeerId> =
                all.iter().filter(|peer| self.is_there(peer)).copied().collect();
            let reached: BTreeSet<PeerId> =
                there.iter().filter(|peer| self.is_reached(peer)).copied().collect();
            let mesh = Mesh::new(&there, &hubs, all.len(), most);
            let mut near = mesh.near(&self.me);
            let mut links = mesh.links_of(&self.me);
            if reached != there {
                // Who is not reached is jumped over, and tried on.
                let other = Mesh::new(&reached, &hubs, all.len(), most);
                near.extend(other.near(&self.me));
                links.extend(other.links_of(&self.me));
            }
            meshes.push((*room, Some((mesh, near, links))));
        }
        for (room, mesh) in meshes {
            if let Some(talk) = self.talks.rooms.get_mut(&room) {
                talk.spread.set(mesh);
            }
        }
    }

    /// What is due: links given up that are too many, links for a while.
    pub(super) fn go_on_meshing(&mut self, cx: &mut Context<'_>) {
        if !self.meshing.is_on {
            self.meshing.spare.clear();
            return;
        }
        let now = cx.now.mono;
        if now >= self.meshing.look_at {
            self.meshing.look_at = now.after(LOOK_EVERY);
            self.look_for_visits(now);
            self.close_spare(cx);
        }
        cx.actions.wake_by(Some(self.meshing.look_at));
    }

    /// Gives up what is not wanted any more. Whoever opened a link does so: the other end may still
    /// want it. Links opened from elsewhere stay, up to a bound.
    fn close_spare(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let wanted = self.links_wanted();
        let roster = self.ledger.as_ref().map(|it| it.roster());
        // Who is on the way in is not ours to judge.
        let is_in = |peer: &PeerId| roster.is_some_and(|roster| roster.is_in(peer));
        let mut spare: BTreeMap<PeerId, Mono> = BTreeMap::new();
        for (peer, _) in self.links.iter().filter(|(peer, link)| link.is_member() && is_in(peer)) {
            if !wanted.contains(peer) {
                let since = self.meshing.spare.get(peer).copied().unwrap_or(now);
                spare.insert(*peer, since);
            }
        }
        let opened = |peer: &PeerId| self.links.get(peer).is_some_and(|it| it.link.is_outbound);
        let (ours, theirs): (Vec<_>, Vec<_>) =
            spare.iter().map(|(peer, since)| (*since, *peer)).partition(|(_, peer)| opened(peer));
        let mut theirs = theirs;
        theirs.sort();
        let too_many = theirs.len().saturating_sub(LINKS_SPARE_MAX);
        let due = ours.into_iter().chain(theirs.into_iter().take(too_many));
        for (since, peer) in due {
            let is_idle = self.talks.unacknowledged(&peer) == 0;
            if is_idle && now.since(since) >= LINGER {
                tracing::debug!(peer = %peer, "a link that is not wanted any more is closed");
                cx.actions.sends.push(Send::Close { peer });
            }
        }
        self.meshing.spare = spare;
    }

    /// Opens a link with who needs one of its own: entries of ours that it has not confirmed,
    /// a receipt that waits for its word, keys or a file that only it may have.
    fn look_for_visits(&mut self, now: Mono) {
        self.meshing.visits.retain(|_, until| now < *until);
        if now < self.meshing.visit_at {
            return;
        }
        self.meshing.visit_at = now.after(VISIT_EVERY);
        let needy = self.needy();
        let mut room = VISITS_MAX.saturating_sub(self.meshing.visits.len());
        let twice: Vec<PeerId> = needy.intersection(&self.meshing.needy).copied().collect();
        // By chance, so that one who is never reached keeps nobody waiting.
        let start = usize::try_from(self.chance.number() % 4_096).unwrap_or(0);
        let count = twice.len();
        for peer in twice.into_iter().cycle().skip(start).take(count) {
            if room > 0 && self.meshing.visits.insert(peer, now.after(VISIT_FOR)).is_none() {
                room = room.saturating_sub(1);
                self.dials.touch();
            }
        }
        self.meshing.needy = needy;
    }

    /// Who is there, has no link with us, and something is wanted of it.
    fn needy(&self) -> BTreeSet<PeerId> {
        let mut needy = BTreeSet::new();
        let Some(roster) = self.ledger.as_ref().map(|it| it.roster()) else { return needy };
        for (room, talk) in self.talks.rooms.iter().filter(|(_, talk)| talk.spread.is_on()) {
            let head = talk.own_head().0;
            let lacks = |peer: &PeerId| talk.held_by.get(peer).copied().unwrap_or_default() < head;
            let keys = !talk.keys.waiting.is_empty();
            let members = talk.state.members(roster).map(|(peer, _)| peer);
            let far = members.filter(|it| *it != self.me && !self.links.contains_key(it));
            for peer in far.filter(|peer| talk.spread.is_there(peer)) {
                if lacks(&peer) || keys || self.receipts_wait_for(*room, &peer) {
                    needy.insert(peer);
                }
            }
            let senders = self.files_wait_for().filter(|(of, _)| of == room);
            needy.extend(senders.map(|(_, by)| by).filter(|by| talk.spread.is_there(by)));
        }
        needy.retain(|peer| *peer != self.me && !self.links.contains_key(peer));
        needy
    }
}
