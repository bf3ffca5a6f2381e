//! From nothing to a member: authority, certificate, genesis, admission; and renewal later.
//! Owns: what is asked next, and what a person is told while it has not come.
//! Must not know: whether a wish is authorised (`roster` judges it at the leader).
//! Invariants: every wait is said once and tried again with back-off; no step is a dead end.
//! Start reading at: [`Member::go_on_joining`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::links::PeerLink;
use super::terms::Working;
use super::{Context, Member};
use crate::identity::{Authority, Domain, answer};
use crate::ids::{IntentId, PeerId, RequestId, RoomId};
use crate::protocol::chance::Chance;
use crate::protocol::control::Statement;
use crate::protocol::{Address, Notice, Send};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};
use crate::wire::frame::Body;
use crate::wire::identity::voucher::RootAsk;
use crate::wire::identity::{AuthorityAsk, AuthorityQuestion, AuthorityReply, Certified};
use crate::wire::roster::{Submitted, Wish, intent, intent_body};

const FIRST_WAIT: Millis = Millis(200);
/// Short, since a person waits.
const LONGEST_WAIT: Millis = Millis(2_000);
/// A wait shorter than this is not worth a line.
const QUIET_WAIT: Millis = Millis(700);
/// A certificate with less than this left is renewed.
const RENEW_BEFORE: Millis = Millis(30 * 24 * 3_600_000);
const RENEW_EVERY: Millis = Millis(3_600_000);
/// Who came by an invite looks for the authority this soon, then less and less often.
const FIRST_REGISTER_WAIT: Millis = Millis(2_000);

/// What is under way on the way in.
#[derive(Debug)]
pub(super) struct Joining {
    asked: BTreeMap<RequestId, Asked>,
    last_request: u64,
    pub(super) next_ask: Mono,
    ask_wait: Millis,
    /// An authority that a person is asked about.
    pub(super) unconfirmed: Option<Authority>,
    /// Whether the bootstrap said that it knows no group of this network.
    is_unfounded: bool,
    /// The leader as the bootstrap or a member told.
    leader: Option<PeerId>,
    admit: Option<IntentId>,
    next_submit: Mono,
    submit_wait: Millis,
    next_renewal: Mono,
    /// How long a member that came by an invite waits until it looks for the authority again.
    register_wait: Millis,
    /// Whether a person was told why the authority does not certify us.
    is_no_told: bool,
    /// Whether the authority itself is asked next who it is, though the bootstrap may tell.
    is_about_next: bool,
    /// Whether the group knows a certificate of ours that is newer than our voucher.
    has_newer: bool,
    pub(super) work: Working,
    /// From where on the authority is asked for revocations.
    pub(super) revocations_from: u64,
    /// What is waited for, since when, and whether a person was told.
    awaited: Option<(String, Mono, bool)>,
    /// Since when we are a current member in this process; `ready` follows.
    in_since: Option<Mono>,
    is_announced: bool,
    /// Rooms whose epoch is told with `ready`, because it came before.
    pub(super) epochs: BTreeSet<RoomId>,
}

#[derive(Clone, Debug)]
struct Asked {
    what: What,
    question: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The bootstrap, for the authority's certificate.
    Root,
    About,
    /// Asked once more of an authority that is known: how much work it asks for.
    Terms,
    Register,
    Found,
    Revocations,
}

impl Joining {
    pub(super) fn new(chance: &mut Chance) -> Self {
        Self {
            asked: BTreeMap::new(),
            last_request: chance.number() >> 32,
            next_ask: Mono(0),
            ask_wait: FIRST_WAIT,
            unconfirmed: None,
            is_unfounded: false,
            leader: None,
            admit: None,
            next_submit: Mono(0),
            submit_wait: FIRST_WAIT,
            next_renewal: Mono(0),
            register_wait: FIRST_REGISTER_WAIT,
            is_no_told: false,
            is_about_next: false,
            has_newer: false,
            work: Working::default(),
            revocations_from: 0,
            awaited: None,
            in_since: None,
            is_announced: false,
            epochs: BTreeSet::from([RoomId::MAIN]),
        }
    }

    pub(super) fn is_announced(&self) -> bool {
        self.is_announced
    }

    /// Who leads, as the bootstrap or a member told last.
    pub(super) fn leader(&self) -> Option<PeerId> {
        self.leader
    }

    pub(super) fn is_waiting_for(&self, peer: &PeerId) -> bool {
        !self.is_announced && self.leader == Some(*peer)
    }

    /// A bootstrap is there: what failed for want of it may be tried at once.
    pub(super) fn on_bootstrap(&mut self) {
        self.next_ask = Mono(0);
        self.is_unfounded = false;
    }

    /// A member is linked: it may lead, or know who does.
    pub(super) fn on_member(&mut self, now: Mono) {
        self.next_submit = now;
        self.submit_wait = FIRST_WAIT;
    }

    /// A number for a question.
    pub(super) fn next_request(&mut self) -> RequestId {
        self.last_request = self.last_request.wrapping_add(1);
        RequestId(self.last_request)
    }

    fn back_off(&mut self, now: Mono) {
        self.next_ask = now.after(self.ask_wait);
        self.ask_wait = Millis(self.ask_wait.0.saturating_mul(2)).min(LONGEST_WAIT);
    }
}

impl Member {
    /// The next step, whichever is missing.
    pub(super) fn go_on_joining(&mut self, cx: &mut Context<'_>) {
        if self.leaving.is_some_and(|it| it.is_handing_over) {
            return;
        }
        if self.authority.is_none() {
            let has_invite = self.invited_to().is_some();
            let is_root = has_invite && !self.joining.is_about_next;
            self.ask(if is_root { What::Root } else { What::About }, cx);
        } else if self.credential.is_none() {
            if !self.use_invite(cx) {
                self.ask(What::Register, cx);
            }
        } else if self.ledger.is_none() {
            if self.joining.is_unfounded {
                // The authority founds only for those in its register.
                self.ask(if self.is_vouched() { What::Register } else { What::Found }, cx);
            } else if self.witness.is_none() {
                let text = format!("the bootstrap at {}", self.setup.bootstrap.join(", "));
                self.wait_for(&text, cx);
            }
        } else if !self.is_current() {
            if self.joining.has_newer && self.is_vouched() {
                self.ask(What::Register, cx);
            } else {
                self.submit_admit(cx);
            }
        } else {
            self.announce(cx);
            self.renew(cx);
            self.ask_revocations(cx);
        }
    }

    /// Says once what is waited for, if the wait is long enough to notice.
    pub(super) fn wait_for(&mut self, what: &str, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        match self.joining.awaited.as_mut() {
            Some((known, since, is_said)) if known == what => {
                if !*is_said && now.since(*since) >= QUIET_WAIT {
                    *is_said = true;
                    let text = format!("waiting for {what}; trying again");
                    cx.notice(Notice::Waiting { text });
                }
            }
            _ => self.joining.awaited = Some((what.to_owned(), now, false)),
        }
        if let Some((_, since, false)) = self.joining.awaited {
            cx.actions.wake_by(Some(since.after(QUIET_WAIT)));
        }
    }

    pub(super) fn ask(&mut self, what: What, cx: &mut Context<'_>) {
        let is_asked = self.joining.asked.values().any(|asked| asked.what == what);
        if is_asked || self.joining.unconfirmed.is_some() {
            return;
        }
        if cx.now.mono < self.joining.next_ask {
            cx.actions.wake_by(Some(self.joining.next_ask));
            return;
        }
        if what == What::Register && self.joining.work.needs_terms() {
            return self.ask(What::Terms, cx);
        }
        if what == What::Register && !self.is_work_done(cx) {
            return;
        }
        let Some((addresses, question)) = self.question(what) else {
            return;
        };
        let id = self.joining.next_request();
        self.joining.asked.insert(id, Asked { what, question: question.clone() });
        cx.actions.sends.push(Send::Ask { id, peer: None, addresses, bytes: question });
    }

    /// Whom to ask, and what.
    fn question(&mut self, what: What) -> Option<(Vec<Address>, Bytes)> {
        if what == What::Root {
            let network = self.invited_to()?;
            return Some((self.setup.bootstrap.clone(), RootAsk { network }.encode()));
        }
        let nonce: [u8; 16] = self.chance.bytes();
        let question = self.authority_question(what, &nonce)?;
        Some((self.setup.keyauth.clone(), AuthorityAsk { nonce, question }.encode()))
    }

    fn authority_question(&self, what: What, nonce: &[u8; 16]) -> Option<AuthorityQuestion> {
        Some(match what {
            What::Root => return None,
            What::About | What::Terms => AuthorityQuestion::About,
            What::Register => AuthorityQuestion::Register {
                name: self.name.clone(),
                spki: self.holder.spki().into(),
                possession: self
                    .holder
                    .possession(self.authority.as_ref()?.network, &self.name, nonce)
                    .ok()?
                    .into(),
                credential: match &self.credential {
                    Some(credential) if self.is_vouched() => credential.bytes.clone(),
                    _ => Bytes::new(),
                },
                work: self.joining.work.done.clone(),
            },
            What::Found => {
                let witness = self.witness?;
                AuthorityQuestion::Found {
                    credential: self.credential.as_ref()?.bytes.clone(),
                    witness: witness.peer,
                    witness_incarnation: witness.incarnation,
                }
            }
            What::Revocations => AuthorityQuestion::Crl { from: self.joining.revocations_from },
        })
    }

    pub(super) fn on_answered(
        &mut self,
        id: RequestId,
        result: Result<(PeerId, Bytes), String>,
        cx: &mut Context<'_>,
    ) {
        if self.take_desk_answer(id, &result, cx) {
            return;
        }
        let Some(asked) = self.joining.asked.remove(&id) else {
            return;
        };
        let answer = match result {
            Ok((_, answer)) => answer,
            Err(why) => {
                if asked.what != What::Revocations && !self.joining.is_announced {
                    let text = self.silent(&why);
                    self.wait_for(&text, cx);
                }
                self.joining.is_about_next = asked.what == What::Root;
                return self.joining.back_off(cx.now.mono);
            }
        };
        let taken = match asked.what {
            What::Root => self.take_root(&answer, cx),
            What::About => self.take_about(&asked.question, &answer, cx),
            _ => self.take_reply(&asked, &answer, cx),
        };
        match taken {
            Ok(()) => {
                self.joining.ask_wait = FIRST_WAIT;
                self.joining.next_ask = cx.now.mono;
            }
            Err(refused) => self.on_authority_no(asked.what, refused, cx),
        }
    }

    /// Who does not answer. Two may tell who the authority is, and one line stands for both: a
    /// line that changes all the time would never be old enough to be said.
    fn silent(&self, why: &str) -> String {
        let keyauth = self.setup.keyauth.join(", ");
        if self.authority.is_none() && self.invited_to().is_some() {
            let bootstrap = self.setup.bootstrap.join(", ");
            return format!("the bootstrap at {bootstrap}, or the key authority at {keyauth}");
        }
        format!("the key authority at {keyauth}: {why}")
    }

    fn on_authority_no(&mut self, what: What, refused: Refused, cx: &mut Context<'_>) {
        self.joining.is_about_next = what == What::Root;
        if matches!(refused.refusal, Refusal::WorkMissing | Refusal::WorkTooLittle) {
            self.joining.work.was_refused();
        }
        let is_hopeless = refused.refusal.exit() == 4 && !refused.refusal.is_retryable();
        if what == What::Root {
            tracing::info!(%refused, "the bootstrap does not show this network's authority");
            let text = self.silent("");
            self.wait_for(&text, cx);
        } else if what == What::Revocations || self.is_in() {
            tracing::warn!(%refused, "the authority said no");
            if self.is_vouched() && !std::mem::replace(&mut self.joining.is_no_told, true) {
                let text = format!("the key authority does not certify this member: {refused}");
                cx.notice(Notice::Info { text });
            }
        } else if is_hopeless {
            return cx.fatal(refused);
        } else {
            self.wait_for(&format!("the key authority: {refused}"), cx);
        }
        self.joining.back_off(cx.now.mono);
    }

    fn take_reply(
        &mut self,
        asked: &Asked,
        bytes: &Bytes,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let authority = self.authority.as_ref().ok_or(Refusal::AuthorityUnknown)?;
        let reply = answer::open(&*self.proofs, authority, &asked.question, bytes);
        let reply = reply.map_err(|refused| match refused.refusal {
            // It answers under another key than the one believed here.
            Refusal::SignatureBad => Refused::new(
                Refusal::AuthorityChanged,
                format!("pinned here: {}", authority.fingerprint()),
            ),
            _ => refused,
        })?;
        match reply {
            AuthorityReply::Certificate(der) if asked.what == What::Register => {
                self.take_certificate(der, cx)
            }
            AuthorityReply::About { work_bits, .. } if asked.what == What::Terms => {
                self.joining.work.ask_for(work_bits);
                Ok(())
            }
            AuthorityReply::Genesis(genesis) if asked.what == What::Found => {
                self.learn_genesis(&genesis, cx);
                Ok(())
            }
            AuthorityReply::Crl { revocations, next, .. } if asked.what == What::Revocations => {
                self.take_revocations(revocations, next, cx);
                Ok(())
            }
            _ => Err(Refusal::FrameUnexpected.into()),
        }
    }

    fn take_certificate(&mut self, der: Bytes, cx: &mut Context<'_>) -> Result<(), Refused> {
        let authority = self.authority.as_ref().ok_or(Refusal::AuthorityUnknown)?;
        let certified = Certified::ByAuthority(der.clone());
        let life = self.setup.incarnation;
        let bytes = self.holder.credential(authority.network, &certified, life)?;
        let credential = self.proofs.credential(authority, &bytes)?;
        self.take_credential(credential, cx)?;
        cx.write("identity/certificate", der);
        Ok(())
    }

    /// What the bootstrap knows.
    pub(super) fn on_leads(
        &mut self,
        from: PeerId,
        statement: &Bytes,
        genesis: &Bytes,
        cx: &mut Context<'_>,
    ) {
        if self.witness.is_none_or(|voter| voter.peer != from) {
            return self.refuse(from, Refusal::FrameUnexpected, cx);
        }
        if !genesis.is_empty() && self.genesis.is_none() {
            self.learn_genesis(genesis, cx);
        }
        // Founding is asked for only where nothing is known of a group, here or there.
        self.joining.is_unfounded = genesis.is_empty() && self.genesis.is_none();
        if statement.is_empty() {
            self.joining.leader = None;
            return;
        }
        let verified = Statement::decode(statement)
            .map_err(Refused::from)
            .and_then(|it| Ok((it.verify(&*self.proofs, cx.now.wall)?, it)));
        let ((authority, leader), statement) = match verified {
            Ok(verified) => verified,
            Err(refused) => {
                tracing::warn!(code = refused.refusal.code(), peer = %from, "a bad statement");
                return;
            }
        };
        let is_ours = self.authority.as_ref().is_some_and(|it| it.network == authority.network)
            && self.genesis.as_ref().is_none_or(|it| it.hash() == statement.genesis_hash);
        if is_ours && leader.peer != self.me {
            self.dials.learn(leader.peer, statement.addresses);
            self.joining.leader = Some(leader.peer);
            self.joining.next_submit = cx.now.mono;
            self.views.presence.remove(&leader.peer);
        }
    }

    /// Asks a leader, or whoever may know it, to order our admission.
    fn submit_admit(&mut self, cx: &mut Context<'_>) {
        if cx.now.mono < self.joining.next_submit {
            cx.actions.wake_by(Some(self.joining.next_submit));
            return;
        }
        self.joining.next_submit = cx.now.mono.after(self.joining.submit_wait);
        self.joining.submit_wait =
            Millis(self.joining.submit_wait.0.saturating_mul(2)).min(LONGEST_WAIT);
        cx.actions.wake_by(Some(self.joining.next_submit));
        let Some(credential) = self.credential.as_ref().map(|it| it.bytes.clone()) else {
            return;
        };
        let id = match self.joining.admit {
            Some(id) => id,
            None => IntentId(self.chance.bytes()),
        };
        self.joining.admit = Some(id);
        let Some(bytes) = self.make_intent(id, &Wish::Admit { credential }) else {
            return;
        };
        if !self.submit(bytes, cx) && !self.is_in() {
            let what = self.who_must_come();
            self.wait_for(&what, cx);
        }
    }

    /// Hands an intent to the leader, or to whoever may know it; whether there was anybody.
    pub(super) fn submit(&mut self, bytes: Bytes, cx: &mut Context<'_>) -> bool {
        let control = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::control);
        if control.is_some_and(crate::protocol::control::Control::is_leader) {
            self.on_submit(None, bytes, cx);
            return true;
        }
        let known = control.and_then(|it| it.leader()).map(|(peer, _)| peer);
        let is_linked = |peer: &PeerId| self.links.get(peer).is_some_and(PeerLink::is_member);
        let target = known
            .or(self.joining.leader)
            .filter(is_linked)
            .or_else(|| self.links.iter().find(|(_, it)| it.is_member()).map(|(peer, _)| *peer));
        if let Some(peer) = target {
            self.send(peer, Body::Submit(bytes), cx);
        }
        target.is_some()
    }

    /// Whom a joiner without a link waits for.
    fn who_must_come(&self) -> String {
        match &self.ledger {
            Some(ledger) if ledger.applied() == crate::ids::Index(0) => {
                let founder = crate::text::one_line(&ledger.genesis().founder.name);
                Refused::new(Refusal::FoundingElsewhere, founder).to_string()
            }
            _ => "a member who leads this group".to_owned(),
        }
    }

    pub(super) fn make_intent(&self, id: IntentId, wish: &Wish) -> Option<Bytes> {
        let network = self.authority.as_ref()?.network;
        let body = intent_body(network, id, wish);
        let signature = self.proofs.sign(Domain::Intent, &body);
        Some(intent(self.me, &body, &signature))
    }

    pub(super) fn on_submitted(&mut self, from: PeerId, answer: Submitted, cx: &mut Context<'_>) {
        if self.take_wish_answer(&answer, cx) || self.joining.admit != Some(answer.id) {
            return;
        }
        let Some((refusal, detail)) = answer.refused else {
            // The log brings our admission; look again if it does not come.
            self.joining.submit_wait = LONGEST_WAIT;
            self.joining.next_submit = cx.now.mono.after(LONGEST_WAIT);
            return;
        };
        match refusal {
            Refusal::NotLeader => {
                if let Some(leader) = answer.leader {
                    self.dials.learn(leader, answer.addresses);
                    let is_news = self.joining.leader != Some(leader);
                    self.joining.leader = Some(leader);
                    if is_news && self.links.contains_key(&leader) {
                        self.joining.next_submit = cx.now.mono;
                    }
                }
            }
            // A database was lost that held a certificate; the authority gives the same again.
            Refusal::CertificateBad if self.is_vouched() => {
                self.joining.has_newer = true;
                self.joining.admit = None;
                self.joining.next_ask = cx.now.mono;
            }
            _ if refusal.is_retryable() || self.is_in() => {
                let refused = Refused::new(refusal, detail);
                if !self.is_in() {
                    self.wait_for(&format!("admission by {}: {refused}", self.label(&from)), cx);
                }
            }
            _ => cx.fatal(Refused::new(refusal, detail)),
        }
    }

    fn renew(&mut self, cx: &mut Context<'_>) {
        let Some(not_after) = self.credential.as_ref().map(|it| it.not_after) else {
            return;
        };
        let is_due = self.is_vouched() || not_after.since(cx.now.wall) < RENEW_BEFORE;
        if is_due && cx.now.mono >= self.joining.next_renewal {
            let wait = if self.is_vouched() { self.joining.register_wait } else { RENEW_EVERY };
            self.joining.register_wait = wait.times(2).min(RENEW_EVERY);
            self.joining.next_renewal = cx.now.mono.after(wait);
            self.joining.next_ask = cx.now.mono;
            self.joining.admit = None;
            self.ask(What::Register, cx);
            if not_after < cx.now.wall {
                let text = format!("this member's certificate expired at {not_after}; renewing");
                cx.notice(Notice::Info { text });
            }
        }
    }

    /// `ready`: a current member, and the leader known or waited for long enough.
    fn announce(&mut self, cx: &mut Context<'_>) {
        if self.joining.is_announced || self.listening.is_empty() {
            return;
        }
        let since = *self.joining.in_since.get_or_insert(cx.now.mono);
        let patience = self.setup.timers.election_max.times(2);
        let leader = self.leader_view();
        if leader.is_none() && cx.now.mono.since(since) < patience {
            cx.actions.wake_by(Some(since.after(patience)));
            return;
        }
        // Who is told `ready` can write at once, unless nobody is there to let us into the room.
        if !self.talks.has_key() && cx.now.mono.since(since) < patience.times(2) {
            cx.actions.wake_by(Some(since.after(patience.times(2))));
            return;
        }
        self.joining.is_announced = true;
        self.talks.is_open = true;
        self.views.is_stale = true;
        let ready = self.ready_view(leader);
        cx.notice(Notice::Ready(ready));
        for room in std::mem::take(&mut self.joining.epochs) {
            self.tell_epoch(room, cx);
        }
    }
}
