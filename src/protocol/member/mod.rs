//! The core of `p2pgroup join`: routes an event to the part it belongs to and merges the actions.
//! Owns: the parts, and the stage a member is in.
//! Must not know: any rule of election, roster, room or sync; those are theirs.
//! Invariants: speaking needs no leader, majority, bootstrap or authority (17).
//! Start reading at: [`Member::handle`].

mod asked;
mod budget;
mod compare;
mod contact;
mod context;
mod contradictions;
mod delivery;
mod desk;
mod dials;
mod expiry;
mod files;
mod forks;
mod grants;
mod hearsay;
mod holder;
mod ignoring;
mod inside;
mod invited;
mod inviting;
mod joining;
mod keeping;
mod keys;
mod leaving;
pub mod life;
mod links;
mod meshing;
mod newest;
mod ordering;
mod orders;
mod people;
mod places;
mod punching;
mod quota;
mod reading;
mod receipts;
mod rekey;
mod retention;
mod revocations;
mod rooms;
mod saying;
mod searching;
mod setup;
mod spread;
mod suspended;
mod talk;
mod talks;
mod terms;
mod vantage;
mod views;
mod welcome;
mod wishes;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use self::asked::Indexing;
use self::budget::Budget;
use self::contact::Contacts;
use self::context::Context;
use self::desk::Desk;
use self::dials::Dials;
use self::expiry::Expiry;
use self::files::Files;
use self::hearsay::Hearsay;
use self::ignoring::Ignoring;
use self::inviting::Inviting;
use self::joining::Joining;
use self::keeping::Keeping;
use self::leaving::{Leaving, Outcast};
use self::links::PeerLink;
use self::meshing::Meshing;
use self::people::People;
use self::places::Places;
use self::punching::Punching;
use self::quota::Quotas;
use self::receipts::Receipts;
use self::retention::Retention;
use self::searching::Searches;
use self::talks::Talks;
use self::views::Views;
use self::wishes::Wishes;
use super::chance::Chance;
use super::control::{Input, Voter};
use super::ledger::{Ledger, Place, Turn};
use super::room::keys::KeyAgreements;
use super::room::keys::mls::Mls;
use super::roster::Change;
use super::{Actions, Address, Command, Core, Event, Notice, Reads, Send};
use crate::identity::genesis::Genesis;
use crate::identity::{Authority, Credential, Proofs};
use crate::ids::{CommandId, Index, IntentId, NetworkId, PeerId, SessionSalt};
use crate::limits::{ASKS_BURST, ASKS_PER_SECOND, ROOM_ORDERS_BURST, ROOM_ORDERS_PER_SECOND};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono, Now, Wall};
use crate::wire::frame::{Body, Frame};

pub use self::desk::invite_view;
pub use self::holder::Holder;
pub use self::quota::Quota;
pub use self::setup::{Reach, Setup, Trust};
pub use self::talks::fresh_log;

/// Room keys agreed on by MLS: the ones to use.
pub const MLS: &dyn KeyAgreements = &Mls;

/// A member.
pub struct Member {
    setup: Setup,
    proofs: Rc<dyn Proofs>,
    holder: Rc<dyn Holder>,
    chance: Chance,
    me: PeerId,
    name: String,
    listening: Vec<Address>,
    authority: Option<Authority>,
    credential: Option<Credential>,
    genesis: Option<Genesis>,
    ledger: Option<Ledger>,
    /// A bootstrap that is linked: who, and in which life.
    witness: Option<Voter>,
    links: BTreeMap<PeerId, PeerLink>,
    dials: Dials,
    punching: Punching,
    meshing: Meshing,
    hearsay: Hearsay,
    joining: Joining,
    talks: Talks,
    keeping: Keeping,
    /// What the stored control log changed, to be looked at when the core starts.
    recalled: Vec<(Index, Change)>,
    /// Which of the entries that came at once the rooms are at; the roster is at the last of them.
    changing: Option<Index>,
    views: Views,
    people: People,
    places: Places,
    contacts: Contacts,
    ignoring: Ignoring,
    quotas: Quotas,
    /// Room orders of each member that we order while we lead.
    room_orders: Budget,
    /// Ways into rooms and keys, answered to those who ask.
    asks: Budget,
    indexing: Indexing,
    searches: Searches,
    receipts: Receipts,
    retention: Retention,
    expiry: Expiry,
    files: Files,
    /// The time of the last event: what has ended by then is not shown.
    clock: Wall,
    wishes: Wishes,
    inviting: Inviting,
    desk: Desk,
    /// Intents from here and from others that wait to be ordered by us.
    submitted: BTreeMap<IntentId, (Option<PeerId>, Bytes)>,
    leaving: Option<Leaving>,
    outcast: Outcast,
    control_wake: Option<Mono>,
    next_statement: Mono,
    next_revocations: Mono,
}

/// How often a leader renews its statement at the bootstrap, unless something changes.
const STATEMENT_EVERY: Millis = Millis(5_000);

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.name).field("me", &self.me).finish()
    }
}

impl Member {
    /// Rebuilds a member from its database.
    ///
    /// # Refusals
    /// What is stored does not hold: [`Refusal::DatabaseFailed`]; or the name given is not the
    /// stored one: [`Refusal::KeyHasOtherName`].
    pub fn load(
        setup: Setup,
        proofs: Rc<dyn Proofs>,
        holder: Rc<dyn Holder>,
        reads: &dyn Reads,
        now: Now,
    ) -> Result<Self, Refused> {
        let mut chance = Chance::new(setup.seed);
        let me = holder.peer();
        let stored = |key: &str| reads.setting(key);
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let stored_name = stored("identity/name").map(text);
        let name = match (stored_name, setup.name.as_str()) {
            (Some(stored), "") => stored,
            (Some(stored), given) if stored == crate::text::nfc(given) => stored,
            (Some(stored), _) if stored_certificate(reads).is_some() => {
                return Err(Refused::new(Refusal::KeyHasOtherName, stored));
            }
            (_, given) => crate::text::nfc(given),
        };
        let authority = match stored("identity/authority") {
            Some(der) => Some(proofs.authority(&der)?),
            None => None,
        };
        if let (Some(authority), Trust::Pinned(network)) = (&authority, &setup.trust)
            && authority.network != *network
        {
            let detail = format!("pinned here: {}", authority.network);
            return Err(Refused::new(Refusal::AuthorityChanged, detail));
        }
        let mut member = Self {
            talks: Talks::new(
                if setup.mistakes.no_salt { SessionSalt([0; 16]) } else { setup.salt },
                setup.agreements,
                setup.history,
            ),
            keeping: Keeping::load(setup.keep, me, reads),
            recalled: Vec::new(),
            changing: None,
            joining: Joining::new(&mut chance),
            dials: Dials::default(),
            punching: Punching::default(),
            meshing: Meshing::default(),
            hearsay: Hearsay::default(),
            views: Views::default(),
            people: People::load(reads),
            places: Places::default(),
            contacts: Contacts::load(reads),
            ignoring: Ignoring::load(reads),
            quotas: Quotas::load(setup.quota, reads),
            room_orders: Budget::new(ROOM_ORDERS_BURST, ROOM_ORDERS_PER_SECOND),
            asks: Budget::new(ASKS_BURST, ASKS_PER_SECOND),
            indexing: Indexing::default(),
            searches: Searches::default(),
            receipts: Receipts::load(reads),
            retention: Retention::default(),
            expiry: Expiry::default(),
            files: Files::load(setup.files, reads),
            clock: now.wall,
            wishes: Wishes::load(reads),
            inviting: Inviting::load(reads),
            desk: Desk::default(),
            proofs,
            holder,
            chance,
            me,
            name,
            listening: Vec::new(),
            authority,
            credential: None,
            genesis: None,
            ledger: None,
            witness: None,
            links: BTreeMap::new(),
            submitted: BTreeMap::new(),
            leaving: None,
            outcast: Outcast::default(),
            control_wake: None,
            next_statement: Mono(0),
            next_revocations: now.mono,
            setup,
        };
        member.load_credential(reads)?;
        member.recall_addresses(reads);
        if let (Some(bytes), true) = (stored("network/genesis"), member.credential.is_some()) {
            let genesis = Genesis::verify(&bytes, &*member.proofs)?;
            member.found(genesis, reads, now)?;
        }
        Ok(member)
    }

    fn load_credential(&mut self, reads: &dyn Reads) -> Result<(), Refused> {
        if let (Some(authority), Some(certified)) = (&self.authority, self.certified(reads)?) {
            let bytes =
                self.holder.credential(authority.network, &certified, self.setup.incarnation)?;
            self.credential = Some(self.proofs.credential(authority, &bytes)?);
        }
        Ok(())
    }

    /// Builds control log, roster and room once the network's genesis is known.
    fn found(&mut self, genesis: Genesis, reads: &dyn Reads, now: Now) -> Result<(), Refused> {
        let credential = self.credential.as_ref().ok_or(Refusal::NotAMember)?;
        let place = Place {
            space: "main".to_owned(),
            me: Voter {
                peer: self.me,
                incarnation: self.setup.incarnation,
                key: credential.device,
                is_witness: false,
            },
            can_lead: true,
            timers: self.setup.timers,
            seed: self.chance.bytes(),
            mistakes: self.setup.mistakes,
        };
        let network = genesis.authority.network;
        let (ledger, changes) = Ledger::load(place, genesis.clone(), reads, now, &*self.proofs)?;
        let (place, chance) = ((network, self.me, self.setup.incarnation), &mut self.chance);
        self.talks.open(place, &mut || chance.bytes(), reads)?;
        self.recalled = changes;
        self.ledger = Some(ledger);
        self.genesis = Some(genesis);
        Ok(())
    }

    /// Control log and roster, once the network is known: for the simulator's checks.
    #[doc(hidden)]
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// Whether the committed roster holds us.
    fn is_in(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.roster().is_in(&self.me))
    }

    /// Whether the committed roster knows this life of our database.
    fn is_current(&self) -> bool {
        self.ledger.as_ref().and_then(|ledger| ledger.roster().member(&self.me)).is_some_and(
            |member| {
                member.is_in()
                    && member.newest().is_some_and(|(life, _)| life == self.setup.incarnation)
                    && self.credential.as_ref().is_some_and(|it| it.serial <= member.serial)
            },
        )
    }

    fn send(&self, to: PeerId, body: Body, cx: &mut Context<'_>) {
        let frame = self.frame(to, body);
        cx.actions.sends.extend(frame);
    }

    fn send_ack(&self, to: PeerId, body: Body, cx: &mut Context<'_>) {
        let frame = self.frame(to, body);
        cx.actions.acks.extend(frame);
    }

    fn frame(&self, to: PeerId, body: Body) -> Option<Send> {
        let network = self.authority.as_ref()?.network;
        Some(Send::Frame { to, bytes: Frame { network, body }.encode() })
    }

    /// Hands an input to control and carries out what it wants.
    fn control(&mut self, input: Input, cx: &mut Context<'_>) {
        let Some(ledger) = self.ledger.as_mut() else {
            return;
        };
        let turn = ledger.handle(input, cx.now, &*self.proofs);
        self.take_turn(turn, cx);
    }

    fn take_turn(&mut self, turn: Turn, cx: &mut Context<'_>) {
        cx.actions.writes.extend(turn.output.writes);
        for (to, message) in turn.output.sends {
            self.send(to, Body::Control(message), cx);
        }
        self.control_wake = turn.output.wake_at;
        for (index, change) in &turn.changes {
            self.changing = Some(*index);
            self.on_change(*index, change, cx);
        }
        self.changing = None;
        for happened in turn.output.happened {
            self.on_happened(happened, cx);
        }
    }

    fn on_change(&mut self, index: Index, change: &Change, cx: &mut Context<'_>) {
        self.change_rooms(index, change, cx);
        self.inviting.is_due = true;
        self.views.is_stale = true;
        self.dials.touch();
        match change {
            Change::Admitted(peer) | Change::Renewed(peer) => {
                if *peer == self.me {
                    // From now on everybody linked is somebody to talk with.
                    let linked: Vec<PeerId> = self.links.keys().copied().collect();
                    for peer in linked {
                        self.meet(peer, cx);
                    }
                } else {
                    self.meet(*peer, cx);
                }
            }
            Change::Removed { peer, by, reason } => self.on_member_removed(*peer, *by, reason, cx),
            Change::VoucherRevoked(id, removed, reason) => {
                cx.notice(Notice::Info { text: format!("the invite {id} is revoked") });
                for peer in removed {
                    self.on_member_removed(*peer, None, reason, cx);
                }
            }
            Change::Role(..) | Change::Ordered(_) | Change::Nothing => {}
        }
    }

    fn on_frame(&mut self, from: PeerId, bytes: &Bytes, cx: &mut Context<'_>) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(refusal) => return self.refuse(from, refusal, cx),
        };
        let network = self.authority.as_ref().map(|authority| authority.network);
        let is_open = match frame.body {
            Body::Hello(_) => true,
            // A no to a hello comes from somebody who does not know the network yet.
            Body::Refused { .. } => frame.network == NetworkId([0; 32]),
            _ => false,
        };
        if !is_open && network != Some(frame.network) {
            return self.refuse(from, Refusal::NetworkOther, cx);
        }
        let is_known = self.links.get(&from).is_some_and(PeerLink::is_known);
        match frame.body {
            Body::Hello(hello) => self.on_hello(from, hello, cx),
            Body::Refused { refusal, detail } => self.on_refused(from, refusal, detail, cx),
            _ if !is_known => self.refuse(from, Refusal::FrameUnexpected, cx),
            Body::Control(_) | Body::Sync(_) | Body::Presence { .. } => {
                self.dials.welcomed(from);
                self.on_talk(from, frame.body, cx);
            }
            Body::Goodbye => self.on_goodbye(from, cx),
            Body::Submit(intent) => self.on_submit(Some(from), intent, cx),
            Body::Submitted(answer) => self.on_submitted(from, answer, cx),
            Body::Evidence(it) => self.on_evidence(from, it, cx),
            Body::Keep(keep) => self.on_keep(from, keep, cx),
            Body::LinksAsk => self.on_links_ask(from, cx),
            Body::Links(links) => self.on_links_told(from, links, cx.now.mono),
            Body::Leads { statement, genesis, .. } => {
                self.on_leads(from, &statement, &genesis, cx);
            }
            Body::WhoLeads | Body::Statement(_) => {
                self.refuse(from, Refusal::FrameUnexpected, cx);
            }
        }
    }

    /// What only members say to each other.
    fn on_talk(&mut self, from: PeerId, body: Body, cx: &mut Context<'_>) {
        match body {
            Body::Control(message) => self.control(Input::Message { from, message }, cx),
            Body::Presence { members, .. } => self.on_presence(from, members),
            Body::Sync(sync) => self.on_sync(from, sync, cx),
            _ => {}
        }
    }

    /// A peer is at fault: it is told, counted, and hung up on.
    fn refuse(&self, peer: PeerId, refusal: Refusal, cx: &mut Context<'_>) {
        tracing::warn!(code = refusal.code(), peer = %peer, "refused");
        self.send(peer, Body::Refused { refusal, detail: String::new() }, cx);
        cx.actions.sends.push(Send::Close { peer });
    }

    fn on_command(&mut self, id: CommandId, command: Command, cx: &mut Context<'_>) {
        match command {
            Command::Send { room, text } => self.on_posts(&room, vec![(id, text.into())], cx),
            Command::Say { room, to, deed } => self.on_say(id, &room, &to, deed, cx),
            Command::Apply { room, kind, text } => self.on_apply(id, &room, kind, text, cx),
            Command::Status => {
                let status = Box::new(self.status(cx.now));
                cx.notice(Notice::Status { command: id, status });
            }
            Command::Members => {
                let members = self.member_views();
                cx.notice(Notice::Members { command: id, members });
            }
            Command::History { room, last } => self.on_history(id, &room, last, cx),
            Command::Earlier { .. } | Command::Seen { .. } => self.on_reading(id, command, cx),
            Command::Since { after, count } => self.on_since(id, after, count, cx),
            Command::Search { .. } => self.on_search(id, &command, cx),
            Command::Delivery { id: of } => self.on_delivery(id, &of, cx),
            Command::Deliveries { room, before, last } => {
                self.on_deliveries(id, room, before, last, cx);
            }
            Command::Audit => cx.notice(Notice::Audit { command: id, records: self.audit() }),
            Command::Compare => self.on_compare(id, cx),
            Command::Links => self.on_links(id, cx),
            Command::People(asked) => self.on_people(id, asked, cx),
            Command::Mute { room, is_muted } => self.on_mute(id, &room, is_muted, cx),
            Command::Room { room } => {
                let named = self.room_named(&room);
                match named.and_then(|it| self.room_view(&it).ok_or(Refusal::NoKeys.into())) {
                    Ok(view) => cx.notice(Notice::Room { command: id, room: Box::new(view) }),
                    Err(refused) => cx.fail(id, refused),
                }
            }
            Command::Rooms => {
                let rooms = self.room_views();
                cx.notice(Notice::Rooms { command: id, rooms });
            }
            Command::Receipts => self.on_receipts(id, cx),
            Command::Act { room, action } => self.on_room_command(id, &room, action, cx),
            Command::Direct { name, text } => self.on_direct(id, &name, text, cx),
            Command::SendFor { room, text, life } => self.on_send_for(id, &room, text, life, cx),
            Command::Contact(asked) => self.on_contact(id, asked, cx),
            Command::File(asked) => self.on_files(id, asked, cx),
            Command::Refuse { name, .. } if self.refuse_request(id, &name, cx) => {}
            Command::Role { .. } | Command::Remove { .. } => self.on_wish(id, command, cx),
            Command::Invite { .. }
            | Command::Invites
            | Command::RevokeInvite { .. }
            | Command::Requests
            | Command::Approve { .. }
            | Command::Refuse { .. } => self.on_desk(id, command, cx),
            Command::TrustAuthority { is_trusted } => self.on_trust(is_trusted, cx),
            Command::Exit => self.on_exit(cx),
        }
    }
}

fn stored_certificate(reads: &dyn Reads) -> Option<Bytes> {
    reads.setting("identity/certificate")
}

impl Core for Member {
    fn handle(&mut self, event: Event, now: Now, reads: &dyn Reads) -> Actions {
        let mut cx = Context { now, reads, actions: Actions::default() };
        self.clock = now.wall;
        let is_start = matches!(event, Event::Started);
        match event {
            Event::Started => {
                self.dials.touch();
                self.recall_rooms(&mut cx);
                self.control(Input::Started, &mut cx);
                self.views.is_stale = true;
            }
            Event::Listening { addresses } => self.on_listening(addresses, &mut cx),
            Event::LinkUp { peer, link } => self.on_link_up(peer, link, &mut cx),
            Event::LinkDown { peer } => self.on_link_down(peer, &mut cx),
            Event::Frame { from, bytes } => self.on_frame(from, &bytes, &mut cx),
            Event::DialFailed { addresses } => self.dials.failed(&addresses, now.mono),
            Event::Asked { id, .. } => {
                // Members answer no questions; an empty answer ends the wait.
                cx.actions.sends.push(Send::Answer { id, bytes: Bytes::new() });
            }
            Event::Answered { id, result } => self.on_answered(id, result, &mut cx),
            Event::Discovered { peer, addresses } => self.dials.learn(peer, addresses),
            Event::Command { id, command } => self.on_command(id, command, &mut cx),
            Event::Posts { room, posts } => {
                let drafts = posts.into_iter().map(|(id, text)| (id, text.into())).collect();
                self.on_posts(&room, drafts, &mut cx);
            }
            Event::NotStored { commands, asked } => cx.not_stored(commands, asked),
            Event::RoundTrip { peer, micros } => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.rtt_micros = Some(micros);
                }
            }
            Event::SeenAt { peer, seen } => self.on_seen_at(peer, seen),
            Event::Punched { peer, moved } => self.on_punched(peer, moved, now.mono),
            Event::File(report) => self.on_file(report, &mut cx),
            Event::Woke => {}
        }
        self.go_on(&mut cx);
        self.go_on_indexing(is_start, &mut cx);
        self.go_on_searching(&mut cx);
        self.go_on_erasing(&mut cx);
        self.go_on_expiring(&mut cx);
        cx.actions
    }

    fn takes_commands(&self) -> bool {
        self.talks.takes_input()
    }
}

impl Member {
    /// What is due by now, after every event: each part looks at its own deadline.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        if self.control_wake.is_some_and(|at| at <= cx.now.mono) {
            self.control(Input::Woke, cx);
        }
        self.go_on_joining(cx);
        self.go_on_dialling(cx);
        self.go_on_punching(cx);
        self.go_on_meshing(cx);
        self.go_on_leading(cx);
        self.go_on_with_keys(cx);
        self.go_on_with_receipts(cx);
        self.go_on_wishing(cx);
        self.go_on_inviting(cx);
        self.look_who_waits(cx);
        self.go_on_talking(cx);
        self.go_on_keeping(cx);
        self.go_on_fetching(cx);
        self.go_on_hearing(cx);
        self.go_on_leaving(cx);
        self.refresh_views(cx);
        cx.actions.wake_by(self.control_wake);
    }
}
