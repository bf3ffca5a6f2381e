//! The core of `p2pgroup bootstrap`: knows who leads which network, and witnesses elections.
//! Owns: one witness and the newest leader statement for each network.
//! Must not know: messages, keys, rooms; it holds the control log and nothing else of a group.
//! Invariants: founds nothing without the authority's genesis; an empty database never votes until
//! a log names its life (6).
//! Start reading at: [`Bootstrap::handle`].

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::chance::Chance;
use super::control::{self, Ballot, Happened, Input, Mistakes, Statement, Voter};
use super::ledger::{Ledger, Place, Turn};
use super::{
    Actions, Address, Command, Core, Event, LeaderView, Link, LinkView, Notice, Reads, Ready, Send,
    Status, Timers, Write,
};
use crate::identity::genesis::Genesis;
use crate::identity::{Credential, Proofs};
use crate::ids::{CommandId, Incarnation, NetworkId, PeerId};
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, CERTIFICATE_GRACE, CLOCK_SKEW_MAX, FRAME_BYTES_MAX,
    STATEMENT_LIFE,
};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono, Now};
use crate::wire::frame::{Body, Frame, Hello};
use crate::wire::identity::voucher::RootAsk;
use crate::wire::roster::{Presence, PresenceState};

/// What a bootstrap is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Ourselves: an Ed25519 peer id, so that the key travels in it.
    pub me: PeerId,
    /// The life of the database.
    pub incarnation: Incarnation,
    /// Timers.
    pub timers: Timers,
    /// Randomness.
    pub seed: [u8; 32],
    /// How many networks are served.
    pub networks_max: usize,
    /// For the tests that prove the tests.
    pub mistakes: Mistakes,
}

/// A bootstrap.
pub struct Bootstrap {
    setup: Setup,
    proofs: Rc<dyn Proofs>,
    chance: Chance,
    networks: BTreeMap<NetworkId, Network>,
    links: BTreeMap<PeerId, PeerLink>,
    listening: Vec<Address>,
    is_announced: bool,
}

struct Network {
    ledger: Ledger,
    statement: Option<Told>,
    wake: Option<Mono>,
}

/// The newest statement of a leader.
struct Told {
    bytes: Bytes,
    ballot: Ballot,
    addresses: Vec<Address>,
    at: Mono,
}

#[derive(Clone, Debug)]
struct PeerLink {
    link: Link,
    rtt_micros: Option<u64>,
    known: Option<(NetworkId, Credential)>,
    /// Where it listens, by its own account.
    addresses: Vec<Address>,
    wants_leads: bool,
    since: Mono,
}

/// Members in one frame, each with as many and as long addresses as it may claim.
const INTRODUCED_AT_ONCE: usize = 128;
const _: () =
    assert!(INTRODUCED_AT_ONCE * (ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 8) + 64) < FRAME_BYTES_MAX);
/// A link whose other end has not said who it is by then is hung up on.
const HELLO_DEADLINE: Millis = Millis(10_000);

struct Context<'a> {
    now: Now,
    reads: &'a dyn Reads,
    actions: Actions,
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap").field("networks", &self.networks.len()).finish()
    }
}

impl Bootstrap {
    /// Rebuilds a bootstrap from its database.
    ///
    /// # Refusals
    /// What is stored does not hold.
    pub fn load(
        setup: Setup,
        proofs: Rc<dyn Proofs>,
        reads: &dyn Reads,
        now: Now,
    ) -> Result<Self, Refused> {
        let chance = Chance::new(setup.seed);
        let mut bootstrap = Self {
            setup,
            proofs,
            chance,
            networks: BTreeMap::new(),
            links: BTreeMap::new(),
            listening: Vec::new(),
            is_announced: false,
        };
        for (_, bytes) in reads.settings("genesis/") {
            let genesis = Genesis::verify(&bytes, &*bootstrap.proofs)?;
            bootstrap.found(genesis, reads, now)?;
        }
        Ok(bootstrap)
    }

    /// Control log and roster of a network: for the simulator's checks.
    #[doc(hidden)]
    pub fn ledger(&self, network: &NetworkId) -> Option<&Ledger> {
        self.networks.get(network).map(|it| &it.ledger)
    }

    fn me(&self) -> Option<Voter> {
        super::ledger::witness(self.setup.me, self.setup.incarnation)
    }

    fn found(&mut self, genesis: Genesis, reads: &dyn Reads, now: Now) -> Result<(), Refused> {
        let network = genesis.network;
        let place = Place {
            space: network.to_string(),
            me: self.me().ok_or(Refusal::Internal)?,
            can_lead: false,
            timers: self.setup.timers,
            seed: self.chance.bytes(),
            mistakes: self.setup.mistakes,
        };
        let (ledger, _) = Ledger::load(place, genesis, reads, now, &*self.proofs)?;
        self.networks.insert(network, Network { ledger, statement: None, wake: None });
        Ok(())
    }

    fn send(to: PeerId, network: NetworkId, body: Body, cx: &mut Context<'_>) {
        let bytes = Frame { network, body }.encode();
        cx.actions.sends.push(Send::Frame { to, bytes });
    }

    fn refuse(&self, peer: PeerId, refused: impl Into<Refused>, cx: &mut Context<'_>) {
        let Refused { refusal, detail } = refused.into();
        tracing::warn!(code = refusal.code(), peer = %peer, "refused");
        let network = self.network_of(&peer).unwrap_or(NetworkId([0; 32]));
        Self::send(peer, network, Body::Refused { refusal, detail }, cx);
        cx.actions.sends.push(Send::Close { peer });
    }

    fn network_of(&self, peer: &PeerId) -> Option<NetworkId> {
        self.links.get(peer).and_then(|link| link.known.as_ref()).map(|(network, _)| *network)
    }

    fn greet(&self, peer: PeerId, cx: &mut Context<'_>) {
        let hello = Hello {
            authority: Bytes::new(),
            credential: Bytes::new(),
            genesis: Bytes::new(),
            incarnation: self.setup.incarnation,
            addresses: self.listening.iter().take(ADDRESSES_MAX).cloned().collect(),
            is_bootstrap: true,
            keeps: false,
            tells_links: false,
            session: None,
            at: Some(cx.now.wall),
        };
        Self::send(peer, NetworkId([0; 32]), Body::Hello(hello), cx);
    }

    fn control(&mut self, network: NetworkId, input: Input, cx: &mut Context<'_>) {
        let Some(served) = self.networks.get_mut(&network) else {
            return;
        };
        let Turn { output, .. } = served.ledger.handle(input, cx.now, &*self.proofs);
        served.wake = output.wake_at;
        cx.actions.writes.extend(output.writes);
        for (to, message) in output.sends {
            Self::send(to, network, Body::Control(message), cx);
        }
        for happened in output.happened {
            match happened {
                Happened::Refused { from, refusal } => {
                    tracing::warn!(code = refusal.code(), peer = %from, "refused");
                }
                Happened::Contradicted { pair } => {
                    cx.actions.writes.extend(control::keep(&network, &pair));
                }
                _ => {}
            }
        }
    }

    fn on_frame(&mut self, from: PeerId, bytes: &Bytes, cx: &mut Context<'_>) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(refusal) => return self.refuse(from, refusal, cx),
        };
        let network = frame.network;
        let is_known = self.network_of(&from) == Some(network);
        match frame.body {
            Body::Hello(hello) => self.on_hello(from, network, &hello, cx),
            Body::Refused { .. } => {}
            _ if !is_known => self.refuse(from, Refusal::FrameUnexpected, cx),
            Body::WhoLeads => {
                if let Some(link) = self.links.get_mut(&from) {
                    link.wants_leads = true;
                }
                self.tell_leads(from, network, cx);
            }
            Body::Statement(bytes) => self.on_statement(from, network, &bytes, cx),
            Body::Control(message) => self.control(network, Input::Message { from, message }, cx),
            Body::Goodbye => self.control(network, Input::Left { peer: from }, cx),
            Body::Submit(_)
            | Body::Submitted(_)
            | Body::Presence { .. }
            | Body::Evidence(_)
            | Body::Sync(_)
            | Body::Keep(_)
            | Body::LinksAsk
            | Body::Links(_)
            | Body::Leads { .. } => self.refuse(from, Refusal::FrameUnexpected, cx),
        }
    }

    fn on_hello(&mut self, from: PeerId, network: NetworkId, hello: &Hello, cx: &mut Context<'_>) {
        if let Err(refused) = self.take_hello(from, network, hello, cx) {
            return self.refuse(from, refused, cx);
        }
        cx.actions.sends.push(Send::Trust { peer: from });
        self.introduce(from, network, &hello.addresses, cx);
        self.tell_certified(network, cx);
        self.control(network, Input::LinkUp { peer: from }, cx);
        if self.links.get(&from).is_some_and(|link| link.wants_leads) {
            self.tell_leads(from, network, cx);
        }
    }

    /// Tells the linked members of a network where a newcomer is, and the newcomer where they are.
    /// A leader does this too; but where all moved at once nobody leads, and nobody would find the
    /// others.
    fn introduce(
        &mut self,
        newcomer: PeerId,
        network: NetworkId,
        addresses: &[Address],
        cx: &mut Context<'_>,
    ) {
        let Some(link) = self.links.get_mut(&newcomer) else {
            return;
        };
        if link.addresses == addresses {
            return;
        }
        link.addresses = addresses.to_vec();
        let is_of = |link: &PeerLink| link.known.as_ref().is_some_and(|(it, _)| *it == network);
        let others = self.links.iter().filter(|(peer, link)| **peer != newcomer && is_of(link));
        let seen = |peer: PeerId, addresses: &[Address]| Presence {
            peer,
            state: PresenceState::Active,
            addresses: addresses.to_vec(),
        };
        let mut members = Vec::new();
        for (peer, link) in others {
            let body = Body::Presence { version: 0, members: vec![seen(newcomer, addresses)] };
            Self::send(*peer, network, body, cx);
            members.push(seen(*peer, &link.addresses));
        }
        for members in members.chunks(INTRODUCED_AT_ONCE) {
            let body = Body::Presence { version: 0, members: members.to_vec() };
            Self::send(newcomer, network, body, cx);
        }
    }

    fn take_hello(
        &mut self,
        from: PeerId,
        network: NetworkId,
        hello: &Hello,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let authority = self.proofs.authority(&hello.authority)?;
        if authority.network != network {
            return Err(Refusal::NetworkOther.into());
        }
        let credential = self.proofs.credential(&authority, &hello.credential)?;
        if credential.peer != from {
            return Err(Refusal::CertificateOfOther.into());
        }
        let now = cx.now.wall;
        if credential.not_after.after(CERTIFICATE_GRACE) < now {
            let detail = format!("valid until {}; here it is {now}", credential.not_after);
            return Err(Refused::new(Refusal::CertificateExpired, detail));
        }
        if credential.not_before > now.after(CLOCK_SKEW_MAX) {
            let detail = format!("valid from {}; here it is {now}", credential.not_before);
            return Err(Refused::new(Refusal::CertificateEarly, detail));
        }
        if let Some(served) = self.networks.get(&network) {
            let roster = served.ledger.roster();
            if roster.member(&from).is_some_and(|member| !member.is_in()) {
                return Err(Refused::new(Refusal::Removed, &credential.name));
            }
            if roster.is_revoked(credential.serial) {
                return Err(Refused::new(Refusal::CertificateRevoked, &credential.name));
            }
            roster.may_come(&credential, now)?;
        }
        if let Some(link) = self.links.get_mut(&from) {
            link.known = Some((network, credential));
        }
        if !hello.genesis.is_empty() && !self.networks.contains_key(&network) {
            self.serve(network, &hello.genesis, cx)?;
        }
        Ok(())
    }

    /// A network not seen here before, shown by one of its members.
    fn serve(
        &mut self,
        network: NetworkId,
        genesis: &Bytes,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        if self.networks.len() >= self.setup.networks_max {
            return Err(Refusal::NetworksFull.into());
        }
        let genesis = Genesis::verify(genesis, &*self.proofs)?;
        if genesis.network != network {
            return Err(Refusal::NetworkOther.into());
        }
        let key = format!("genesis/{network}");
        cx.actions.writes.push(Write::Setting { key, value: Some(genesis.bytes.clone()) });
        self.found(genesis, cx.reads, cx.now)?;
        self.control(network, Input::Started, cx);
        self.control(network, Input::Witness(self.me()), cx);
        let told: Vec<PeerId> = self
            .links
            .iter()
            .filter(|(_, link)| link.wants_leads)
            .filter(|(_, link)| link.known.as_ref().is_some_and(|(it, _)| *it == network))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in told {
            self.control(network, Input::LinkUp { peer }, cx);
            self.tell_leads(peer, network, cx);
        }
        Ok(())
    }

    fn tell_certified(&mut self, network: NetworkId, cx: &mut Context<'_>) {
        let certified = self
            .links
            .values()
            .filter_map(|link| link.known.as_ref())
            .filter(|(it, _)| *it == network)
            .map(|(_, credential)| Voter {
                peer: credential.peer,
                incarnation: credential.incarnation,
                key: credential.device,
                is_witness: false,
            })
            .collect();
        self.control(network, Input::Certified(certified), cx);
    }

    fn on_statement(
        &mut self,
        from: PeerId,
        network: NetworkId,
        bytes: &Bytes,
        cx: &mut Context<'_>,
    ) {
        let verified = Statement::decode(bytes)
            .and_then(|it| it.verify(&*self.proofs, cx.now.wall).map(|leader| (it, leader)));
        let (statement, (authority, leader)) = match verified {
            Ok(verified) => verified,
            Err(refusal) => return self.refuse(from, refusal, cx),
        };
        let Some(served) = self.networks.get_mut(&network) else {
            return self.refuse(from, Refusal::NetworkUnknown, cx);
        };
        let is_ours = authority.network == network
            && leader.peer == from
            && statement.genesis_hash == served.ledger.genesis_hash();
        if !is_ours {
            return self.refuse(from, Refusal::StatementBad, cx);
        }
        let known =
            served.statement.as_ref().filter(|it| cx.now.mono.since(it.at) < STATEMENT_LIFE);
        let promised = served.ledger.control().promised();
        let is_stale = known.is_some_and(|it| it.ballot > statement.ballot)
            || promised > statement.ballot && served.ledger.control().is_voter();
        if is_stale {
            // Not a crime: a leader that was replaced has not heard of it yet.
            let detail = format!("known is {promised}");
            let body = Body::Refused { refusal: Refusal::BallotStale, detail };
            return Self::send(from, network, body, cx);
        }
        let is_news = known
            .is_none_or(|it| it.ballot != statement.ballot || it.addresses != statement.addresses);
        let is_new_leader = known.is_none_or(|it| it.ballot != statement.ballot);
        served.statement = Some(Told {
            bytes: bytes.clone(),
            ballot: statement.ballot,
            addresses: statement.addresses,
            at: cx.now.mono,
        });
        if is_new_leader {
            cx.actions.notices.push(Notice::Leader(Some(LeaderView {
                name: leader.name,
                peer: leader.peer,
                generation: statement.ballot.generation,
                term: statement.ballot.term,
            })));
        }
        if is_news {
            let asking: Vec<PeerId> = self
                .links
                .iter()
                .filter(|(peer, link)| link.wants_leads && **peer != from)
                .filter(|(_, link)| link.known.as_ref().is_some_and(|(it, _)| *it == network))
                .map(|(peer, _)| *peer)
                .collect();
            for peer in asking {
                self.tell_leads(peer, network, cx);
            }
        }
    }

    fn tell_leads(&self, to: PeerId, network: NetworkId, cx: &mut Context<'_>) {
        let served = self.networks.get(&network);
        let told = served
            .and_then(|it| it.statement.as_ref())
            .filter(|it| cx.now.mono.since(it.at) < STATEMENT_LIFE);
        let body = Body::Leads {
            statement: told.map(|it| it.bytes.clone()).unwrap_or_default(),
            genesis: served.map(|it| it.ledger.genesis().bytes.clone()).unwrap_or_default(),
            age_ms: told.map_or(0, |it| cx.now.mono.since(it.at).0),
        };
        Self::send(to, network, body, cx);
    }

    fn on_command(&self, command: CommandId, asked: &Command, cx: &mut Context<'_>) {
        let notice = match asked {
            Command::Exit => Notice::Exited,
            Command::Status => Notice::Status { command, status: Box::new(self.status()) },
            Command::Members => Notice::Members { command, members: Vec::new() },
            _ => no_talk(command),
        };
        cx.actions.notices.push(notice);
    }

    fn status(&self) -> Status {
        let links = self.links.iter().map(|(peer, link)| LinkView {
            name: link.known.as_ref().map_or_else(|| peer.short(), |(_, it)| it.name.clone()),
            transport: link.link.transport,
            address: link.link.address.clone(),
            rtt_micros: link.rtt_micros,
            unacknowledged: 0,
        });
        Status {
            name: "bootstrap".to_owned(),
            role: "bootstrap",
            links: links.collect(),
            bootstrap: true,
            ..Status::default()
        }
    }

    fn announce(&mut self, cx: &mut Context<'_>) {
        if self.is_announced || self.listening.is_empty() {
            return;
        }
        self.is_announced = true;
        cx.actions.notices.push(Notice::Ready(Ready {
            role: "bootstrap",
            name: String::new(),
            peer: self.setup.me,
            network: String::new(),
            listen: self.listening.clone(),
            leader: None,
        }));
    }

    /// The certificate of the authority behind a network, for somebody who has its fingerprint.
    fn root(&self, question: &Bytes) -> Option<Bytes> {
        let asked = RootAsk::decode(question).ok()?;
        let served = self.networks.get(&asked.network)?;
        Some(served.ledger.genesis().authority.der.clone())
    }

    fn on_link_down(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        if let Some((network, _)) = self.links.remove(&peer).and_then(|link| link.known) {
            self.control(network, Input::LinkDown { peer }, cx);
        }
    }
}

impl Core for Bootstrap {
    fn handle(&mut self, event: Event, now: Now, reads: &dyn Reads) -> Actions {
        let mut cx = Context { now, reads, actions: Actions::default() };
        let networks: Vec<NetworkId> = self.networks.keys().copied().collect();
        match event {
            Event::Started => {
                let me = self.me();
                for network in &networks {
                    self.control(*network, Input::Started, &mut cx);
                    self.control(*network, Input::Witness(me), &mut cx);
                }
            }
            Event::Listening { addresses } => {
                self.listening = addresses;
                self.announce(&mut cx);
            }
            Event::LinkUp { peer, link } => {
                let state = PeerLink {
                    link,
                    rtt_micros: None,
                    known: None,
                    addresses: Vec::new(),
                    wants_leads: false,
                    since: now.mono,
                };
                self.links.insert(peer, state);
                self.greet(peer, &mut cx);
            }
            Event::LinkDown { peer } => self.on_link_down(peer, &mut cx),
            Event::Frame { from, bytes } => self.on_frame(from, &bytes, &mut cx),
            Event::Asked { id, bytes, .. } => {
                let bytes = self.root(&bytes).unwrap_or_default();
                cx.actions.sends.push(Send::Answer { id, bytes });
            }
            Event::Command { id, command } => self.on_command(id, &command, &mut cx),
            Event::Posts { posts, .. } => {
                cx.actions.notices.extend(posts.into_iter().map(|(id, _)| no_talk(id)));
            }
            Event::NotStored { commands, asked } => {
                let failed = |id| Notice::failed(id, Refusal::NotStored.into());
                cx.actions.notices.extend(commands.into_iter().chain(asked).map(failed));
            }
            Event::RoundTrip { peer, micros } => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.rtt_micros = Some(micros);
                }
            }
            Event::Answered { .. }
            | Event::DialFailed { .. }
            | Event::Discovered { .. }
            | Event::SeenAt { .. }
            | Event::Punched { .. }
            | Event::File(_)
            | Event::Woke => {}
        }
        for network in networks {
            let is_due = self
                .networks
                .get(&network)
                .is_some_and(|it| it.wake.is_some_and(|at| at <= cx.now.mono));
            if is_due {
                self.control(network, Input::Woke, &mut cx);
            }
        }
        for (peer, link) in self.links.iter().filter(|(_, link)| link.known.is_none()) {
            let deadline = link.since.after(HELLO_DEADLINE);
            if now.mono >= deadline {
                cx.actions.sends.push(Send::Close { peer: *peer });
            } else {
                cx.actions.wake_by(Some(deadline));
            }
        }
        let wake = self.networks.values().filter_map(|it| it.wake).min();
        cx.actions.wake_by(wake);
        cx.actions
    }
}

fn no_talk(command: CommandId) -> Notice {
    Notice::failed(command, Refused::new(Refusal::CommandUnknown, "a bootstrap takes no messages"))
}
