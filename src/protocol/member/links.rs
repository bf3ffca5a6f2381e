//! Links to other members and to the bootstrap: who is at the other end, and may they stay.
//! Owns: the hello in both directions.
//! Must not know: what is said afterwards.
//! Invariants: nothing but a hello is taken from a peer whose credential was not checked.
//! Start reading at: [`Member::on_hello`].

use super::{Context, Member};
use crate::identity::Credential;
use crate::identity::genesis::Genesis;
use crate::ids::PeerId;
use crate::limits::{CERTIFICATE_GRACE, CLOCK_SKEW_MAX};
use crate::protocol::control::Input;
use crate::protocol::ledger::witness;
use crate::protocol::{Address, Link, Notice, Send};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono, Wall};
use crate::wire::frame::{Body, Hello};
use crate::wire::roster::{Presence, PresenceState};

/// The side with the greater peer id waits this long for the other to dial, and who joins this
/// long for the leader.
const HOLD_BACK: Millis = Millis(1_000);

/// A link whose other end has not said who it is by then is hung up on.
const HELLO_DEADLINE: Millis = Millis(10_000);

/// A link that is up.
#[derive(Clone, Debug)]
pub(super) struct PeerLink {
    pub(super) link: Link,
    pub(super) rtt_micros: Option<u64>,
    pub(super) is_greeted: bool,
    pub(super) since: Mono,
    /// Whether it says with whom it is linked, if asked.
    pub(super) tells_links: bool,
    /// Who it is, once its hello was checked.
    pub(super) known: Option<Known>,
    /// What time it was there, in its hello, and when we heard it.
    pub(super) clock: Option<(Wall, Mono)>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// A certified member, or one who would be.
    Member(Box<Credential>),
    /// A bootstrap.
    Bootstrap,
}

impl PeerLink {
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    pub(super) fn is_member(&self) -> bool {
        matches!(self.known, Some(Known::Member(_)))
    }

    /// What it showed, if it is a member's.
    pub(super) fn credential(&self) -> Option<bytes::Bytes> {
        match &self.known {
            Some(Known::Member(credential)) => Some(credential.bytes.clone()),
            _ => None,
        }
    }
}

impl Member {
    pub(super) fn on_listening(&mut self, addresses: Vec<Address>, cx: &mut Context<'_>) {
        self.listening = addresses;
        self.views.is_stale = true;
        // The leader passes our addresses on; tell everybody linked anew.
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        for peer in peers {
            self.greet(peer, cx);
        }
    }

    pub(super) fn on_link_up(&mut self, peer: PeerId, link: Link, cx: &mut Context<'_>) {
        if peer == self.me {
            cx.notice(Notice::Info { text: Refused::from(Refusal::IdentityInUse).to_string() });
            cx.actions.sends.push(Send::Close { peer });
            return;
        }
        self.punching.linked(peer, link.transport, cx.now.mono);
        let state = PeerLink {
            link,
            rtt_micros: None,
            is_greeted: false,
            since: cx.now.mono,
            tells_links: false,
            known: None,
            clock: None,
        };
        self.links.insert(peer, state);
        self.dials.linked(peer);
        self.greet(peer, cx);
    }

    /// Says who we are; needs a certificate.
    pub(super) fn greet(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        let (Some(authority), Some(credential)) = (&self.authority, &self.credential) else {
            return;
        };
        let hello = Hello {
            authority: authority.der.clone(),
            credential: credential.bytes.clone(),
            genesis: self.genesis.as_ref().map(|it| it.bytes.clone()).unwrap_or_default(),
            incarnation: self.setup.incarnation,
            addresses: self.listening.iter().take(crate::limits::ADDRESSES_MAX).cloned().collect(),
            is_bootstrap: false,
            keeps: self.keeping.is_keeper(),
            tells_links: true,
            session: Some(self.setup.salt),
            at: Some(cx.now.wall),
        };
        if let Some(link) = self.links.get_mut(&peer) {
            link.is_greeted = true;
        }
        self.send(peer, Body::Hello(hello), cx);
    }

    pub(super) fn on_hello(&mut self, from: PeerId, hello: Hello, cx: &mut Context<'_>) {
        if hello.is_bootstrap {
            return self.on_bootstrap(from, &hello, cx);
        }
        let credential = match self.check_hello(from, &hello, cx.now.wall) {
            Ok(credential) => credential,
            Err(refused) => {
                tracing::warn!(code = refused.refusal.code(), peer = %from, %refused, "refused");
                let Refused { refusal, detail } = refused;
                self.send(from, Body::Refused { refusal, detail }, cx);
                cx.actions.sends.push(Send::Close { peer: from });
                return;
            }
        };
        cx.actions.sends.push(Send::Trust { peer: from });
        self.dials.learn(from, hello.addresses.clone());
        self.remember_addresses(from, cx);
        self.compare(&credential, cx);
        self.note_place(&credential, hello.session, cx);
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        let writes = self.keeping.on_hello(from, hello.keeps, hello.incarnation, cx.now.mono);
        cx.actions.writes.extend(writes);
        let is_first = !link.is_known();
        link.tells_links = hello.tells_links;
        link.clock = hello.at.map(|at| (at, cx.now.mono));
        link.known = Some(Known::Member(Box::new(credential)));
        if !link.is_greeted {
            self.greet(from, cx);
        }
        if self.genesis.is_none() && !hello.genesis.is_empty() {
            self.learn_genesis(&hello.genesis, cx);
        }
        if is_first {
            // Whoever is linked is not gone, whatever it or the leader said before.
            self.views.presence.remove(&from);
            self.dials.touch();
            self.meet(from, cx);
            self.joining.on_member(cx.now.mono);
        }
        self.views.is_stale = true;
        self.views.is_presence_stale = true;
    }

    fn check_hello(&self, from: PeerId, hello: &Hello, now: Wall) -> Result<Credential, Refused> {
        let authority = self.authority.as_ref().ok_or(Refusal::NetworkUnknown)?;
        if hello.authority != authority.der
            && self.proofs.authority(&hello.authority)?.network != authority.network
        {
            return Err(Refusal::NetworkOther.into());
        }
        let credential = self.proofs.credential(authority, &hello.credential)?;
        if credential.peer != from {
            return Err(Refusal::CertificateOfOther.into());
        }
        if credential.not_before > now.after(CLOCK_SKEW_MAX) {
            let detail = format!("valid from {}; here it is {now}", credential.not_before);
            return Err(Refused::new(Refusal::CertificateEarly, detail));
        }
        if let Some(genesis) = &self.genesis
            && !hello.genesis.is_empty()
            && !self.is_same_genesis(&hello.genesis, genesis)
        {
            return Err(Refusal::GenesisOther.into());
        }
        let roster = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster);
        let is_member = roster.is_some_and(|roster| roster.is_in(&from));
        // Members get a grace, so that an authority that is off kills no group.
        let grace = if is_member { CERTIFICATE_GRACE } else { Millis(0) };
        if credential.not_after.after(grace) < now {
            let detail = format!("valid until {}; here it is {now}", credential.not_after);
            return Err(Refused::new(Refusal::CertificateExpired, detail));
        }
        if let Some(roster) = roster {
            if roster.member(&from).is_some_and(|member| !member.is_in()) {
                return Err(Refused::new(Refusal::Removed, &credential.name));
            }
            if roster.is_revoked(credential.serial) {
                return Err(Refused::new(Refusal::CertificateRevoked, &credential.name));
            }
            roster.may_come(&credential, now)?;
        }
        Ok(credential)
    }

    fn is_same_genesis(&self, theirs: &bytes::Bytes, ours: &Genesis) -> bool {
        // The signature is salted, so equal hashes may come in other bytes.
        *theirs == ours.bytes
            || Genesis::verify(theirs, &*self.proofs).is_ok_and(|it| it.hash() == ours.hash())
    }

    /// A certified peer is linked: control and sync may use it as far as it belongs.
    pub(super) fn meet(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        if !self.links.get(&peer).is_some_and(PeerLink::is_member) {
            return;
        }
        let Some(ledger) = &self.ledger else {
            return;
        };
        let are_in = ledger.roster().is_in(&peer) && ledger.roster().is_in(&self.me);
        self.tell_known(cx);
        self.control(Input::LinkUp { peer }, cx);
        if are_in {
            self.talk_with(peer, cx);
            self.tell_evidence(peer, cx);
            self.note_seen_member(peer, cx);
        }
        self.views.is_presence_stale = true;
    }

    /// Who is linked and certified: control listens to them even while our roster lags behind.
    pub(super) fn tell_known(&mut self, cx: &mut Context<'_>) {
        let certified = self
            .links
            .values()
            .filter_map(|link| match &link.known {
                Some(Known::Member(credential)) => Some(crate::protocol::control::Voter {
                    peer: credential.peer,
                    incarnation: credential.incarnation,
                    key: credential.device,
                    is_witness: false,
                }),
                _ => None,
            })
            .collect();
        self.control(Input::Certified(certified), cx);
    }

    fn on_bootstrap(&mut self, from: PeerId, hello: &Hello, cx: &mut Context<'_>) {
        let Some(voter) = witness(from, hello.incarnation) else {
            return self.refuse(from, Refusal::FieldBad, cx);
        };
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        link.known = Some(Known::Bootstrap);
        link.clock = hello.at.map(|at| (at, cx.now.mono));
        let address = link.link.address.clone();
        cx.actions.sends.push(Send::Trust { peer: from });
        self.dials.bootstrap_linked();
        self.witness = Some(voter);
        self.joining.on_bootstrap();
        self.send(from, Body::WhoLeads, cx);
        self.control(Input::Witness(Some(voter)), cx);
        self.control(Input::LinkUp { peer: from }, cx);
        self.next_statement = cx.now.mono;
        // Members behind NAT are reached through the bootstrap's relay.
        cx.actions.sends.push(Send::Reserve { relay: from, addresses: vec![address] });
        self.views.is_stale = true;
    }

    pub(super) fn learn_genesis(&mut self, bytes: &bytes::Bytes, cx: &mut Context<'_>) {
        let checked = Genesis::verify(bytes, &*self.proofs).map_err(Refused::from);
        let genesis = match checked {
            Ok(genesis) => genesis,
            Err(refused) => {
                tracing::warn!(%refused, "a genesis that does not hold");
                return;
            }
        };
        let network = self.authority.as_ref().map(|authority| authority.network);
        if Some(genesis.authority.network) != network || self.genesis.is_some() {
            return;
        }
        cx.write("network/genesis", genesis.bytes.clone());
        if let Err(refused) = self.found(genesis, cx.reads, cx.now) {
            tracing::warn!(%refused, "a genesis that cannot be used");
            return;
        }
        self.recall_rooms(cx);
        self.control(Input::Started, cx);
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        for peer in peers {
            // The bootstrap learns the network from our hello.
            self.greet(peer, cx);
            self.meet(peer, cx);
        }
        if let Some(voter) = self.witness {
            self.control(Input::Witness(Some(voter)), cx);
            self.control(Input::LinkUp { peer: voter.peer }, cx);
            self.send(voter.peer, Body::WhoLeads, cx);
        }
    }

    pub(super) fn on_link_down(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        self.views.seen_at.remove(&peer);
        let Some(link) = self.links.remove(&peer) else {
            return;
        };
        self.punching.unlinked(&peer, cx.now.mono);
        self.talks.on_unlink(&peer);
        self.keeping.on_unlink(&peer);
        let is_certified = link.credential().is_some();
        self.people.unlinked(&peer, is_certified.then_some(cx.now.wall));
        if is_certified {
            self.note_seen_member(peer, cx);
        }
        self.hearsay.on_unlink(&peer);
        if self.witness.is_some_and(|voter| voter.peer == peer) {
            self.witness = None;
            self.dials.bootstrap_lost(cx.now.mono);
            self.control(Input::Witness(None), cx);
        } else {
            self.dials.lost(peer, cx.now.mono);
            if link.known.is_none() {
                self.dials.bootstrap_lost(cx.now.mono);
            }
        }
        self.control(Input::LinkDown { peer }, cx);
        self.views.is_stale = true;
    }

    pub(super) fn on_goodbye(&mut self, from: PeerId, cx: &mut Context<'_>) {
        if self.links.get(&from).is_some_and(PeerLink::is_member) {
            self.views.presence.insert(from, PresenceState::Left);
            self.dials.touch();
            self.control(Input::Left { peer: from }, cx);
            self.talks.on_unlink(&from);
            self.views.is_stale = true;
        }
    }

    /// A removed member is told so and hung up on.
    pub(super) fn part(&mut self, peer: PeerId, refusal: Refusal, cx: &mut Context<'_>) {
        self.talks.on_unlink(&peer);
        if self.links.contains_key(&peer) {
            self.refuse(peer, refusal, cx);
        }
    }

    /// The leader's view of who is where.
    pub(super) fn on_presence(&mut self, from: PeerId, members: Vec<Presence>) {
        if self.witness.is_some_and(|witness| witness.peer == from) {
            // Who is linked with the bootstrap, and where: a hint for dialling, no more.
            for presence in members.into_iter().filter(|it| it.peer != self.me) {
                self.dials.learn(presence.peer, presence.addresses);
            }
            return;
        }
        let leads = self.ledger.as_ref().and_then(|it| it.control().leader());
        if leads.is_none_or(|(leader, _)| leader != from) {
            return;
        }
        self.dials.touch();
        for presence in members {
            let before = self.views.presence.insert(presence.peer, presence.state);
            if presence.state == PresenceState::Active && before != Some(PresenceState::Active) {
                self.dials.is_there(&presence.peer);
            }
            if presence.peer != self.me {
                self.dials.learn(presence.peer, presence.addresses);
            }
        }
        self.views.is_stale = true;
    }

    /// Hangs up on whoever does not say who it is.
    fn drop_silent(&self, cx: &mut Context<'_>) {
        if self.credential.is_none() {
            return;
        }
        for (peer, link) in self.links.iter().filter(|(_, link)| !link.is_known()) {
            let deadline = link.since.after(HELLO_DEADLINE);
            if cx.now.mono >= deadline {
                cx.actions.sends.push(Send::Close { peer: *peer });
            } else {
                cx.actions.wake_by(Some(deadline));
            }
        }
    }

    /// Dials whoever belongs and is not linked, and the bootstrap.
    pub(super) fn go_on_dialling(&mut self, cx: &mut Context<'_>) {
        self.drop_silent(cx);
        if self.credential.is_none() || self.leaving.is_some_and(|it| it.is_handing_over) {
            return;
        }
        let now = cx.now.mono;
        if !self.dials.is_look_due(now) {
            return cx.actions.wake_by(self.dials.look_at());
        }
        self.look_at_mesh();
        let wanted = self.wanted();
        for peer in &wanted {
            if self.comes_later(peer) {
                self.dials.hold_back(*peer, now.after(HOLD_BACK));
            } else {
                self.dials.go_ahead(*peer);
            }
            if let Some(addresses) = self.dials.due(*peer, now) {
                cx.actions.sends.push(Send::Dial { peer: Some(*peer), addresses });
            }
        }
        let wants_bootstrap = self.witness.is_none();
        if wants_bootstrap {
            for address in self.setup.bootstrap.clone() {
                if self.dials.bootstrap_due(&address, now) {
                    cx.actions.sends.push(Send::Dial { peer: None, addresses: vec![address] });
                }
            }
        }
        self.dials.looked(&wanted, wants_bootstrap);
        cx.actions.wake_by(self.dials.look_at());
    }

    /// Whether a peer is dialled only if no link comes in another way. Of two members the one with
    /// the lesser peer id dials. Whoever is not admitted yet is dialled by nobody, and needs one:
    /// the leader, whom the bootstrap names.
    fn comes_later(&self, peer: &PeerId) -> bool {
        let is_other_first = if self.is_in() { *peer < self.me } else { self.witness.is_some() };
        is_other_first && !self.joining.is_waiting_for(peer)
    }

    /// Who is wanted, has no link and did not say goodbye.
    fn wanted(&self) -> Vec<PeerId> {
        self.links_wanted()
            .into_iter()
            .filter(|peer| !self.links.contains_key(peer))
            .filter(|peer| self.views.presence.get(peer) != Some(&PresenceState::Left))
            .collect()
    }

    /// Where a peer was found is kept for the next start.
    fn remember_addresses(&self, peer: PeerId, cx: &mut Context<'_>) {
        let addresses = self.dials.addresses_of(&peer).join("\n");
        let key = format!("peers/{peer}");
        let is_same = cx.reads.setting(&key).is_some_and(|known| known == addresses.as_bytes());
        if !is_same {
            cx.write(&key, addresses.into_bytes().into());
        }
    }

    /// What an earlier start found.
    pub(super) fn recall_addresses(&mut self, reads: &dyn crate::protocol::Reads) {
        for (key, value) in reads.settings("peers/") {
            let peer = key.strip_prefix("peers/").and_then(PeerId::parse);
            if let (Some(peer), Ok(text)) = (peer, std::str::from_utf8(&value)) {
                self.dials.learn(peer, text.lines().map(str::to_owned).collect());
            }
        }
    }
}
