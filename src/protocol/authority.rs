//! Core of `keyauth`: one name, one key; issues, lists and revokes certificates.
//! Owns: the rules of admission, the one genesis of the network, the revocation list.
//! Must not know: who leads, what is said, RSA, X.509.
//! Invariants: every answer is signed and follows its writes; one genesis for ever.
//! Start reading at: [`AuthorityCore`].

mod askers;
mod crl;
mod orders;
mod register;
mod rights;
mod vouchers;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use self::askers::Askers;
use self::crl::Crl;
use self::orders::{Orders, dated};
use self::register::{Register, Registered};
use self::rights::Trusted;
use self::vouchers::Vouchers;
use self::work::Shown;
use super::{
    Actions, Address, CertificateRow, CertificateState, Command, Core, Event, MemberState,
    MemberView, Notice, Reads, Ready, Send, Status, Write,
};
use crate::identity::genesis::{self, Genesis};
use crate::identity::name::{self, CheckedName};
use crate::identity::voucher::VoucherUse;
use crate::identity::{Authority, AuthorityDomain, CertificateOrder, Issuer, Proofs, answer, keys};
use crate::ids::{CommandId, Incarnation, PeerId, RequestId};
use crate::limits::{CERTIFICATE_BACKDATE, CERTIFICATE_LIFE, CERTIFICATE_RENEW, CLOCK_SKEW_MAX};
use crate::refusal::{Refusal, Refused};
use crate::time::{Now, Wall};
use crate::wire::identity::{
    Admission, AuthorityAsk, AuthorityQuestion, AuthorityReply, AuthoritySignedIn, GenesisIn,
    LookupBy, RegisterRow, RegisterState,
};

/// Where the authority's own certificate (DER) is stored.
pub const CERTIFICATE_KEY: &str = "authority/certificate";
/// Where the encoded genesis is stored.
pub const GENESIS_KEY: &str = "authority/genesis";
/// Where signed revocations are stored, by serial number in 20 digits.
const REVOCATION_PREFIX: &str = "authority/revocation/";

/// What the authority is given once; [`AuthorityCore::load`] takes it again after a failed write.
#[derive(Clone)]
pub struct AuthoritySetup {
    /// Signs: the authority's key.
    pub issuer: Arc<dyn Issuer + std::marker::Send + Sync>,
    /// Checks.
    pub proofs: Arc<dyn Proofs + std::marker::Send + Sync>,
    /// Whom to admit.
    pub admission: Admission,
    /// How much work is asked of newcomers: tries, as a power of two; 0: none.
    pub work_bits: u32,
    /// Our own peer id.
    pub peer: PeerId,
    /// Seed of the core's randomness.
    pub seed: [u8; 32],
}

impl fmt::Debug for AuthoritySetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthoritySetup({:?} {:?})", self.issuer.network(), self.admission)
    }
}

/// Who asks to be certified, as far as proved.
struct Asking {
    checked: CheckedName,
    peer: PeerId,
    spki: Bytes,
    voucher: Option<VoucherUse>,
}

/// The key authority as a machine.
#[derive(Debug)]
pub struct AuthorityCore {
    setup: AuthoritySetup,
    authority: Option<Authority>,
    register: Register,
    vouchers: Vouchers,
    /// Signed revocations: of certificates by serial number, of vouchers above all of those.
    revocations: BTreeMap<u64, Bytes>,
    crl: Crl,
    genesis: Option<Bytes>,
    orders: Orders,
    rights: Trusted,
    askers: Askers,
    rng: ChaCha20Rng,
    listen: Vec<Address>,
    is_ready: bool,
}

impl AuthorityCore {
    /// From what is stored; with nothing stored, a new authority.
    ///
    /// # Refusals
    /// [`Refusal::AuthorityChanged`]: stored by another key; [`Refusal::CertificateBad`]: damaged.
    pub fn load(setup: AuthoritySetup, reads: &dyn Reads) -> Result<Self, Refused> {
        let stored = reads.setting(CERTIFICATE_KEY);
        let authority = stored.map(|der| setup.proofs.authority(&der)).transpose()?;
        let network = setup.issuer.network();
        if authority.as_ref().is_some_and(|authority| authority.network != network) {
            let detail = "the stored state belongs to another authority key";
            return Err(Refused::new(Refusal::AuthorityChanged, detail));
        }
        let register = Register::load(reads, setup.issuer.as_ref())?;
        let vouchers = Vouchers::load(reads)?;
        let revocations = reads.settings(REVOCATION_PREFIX).into_iter();
        let serial = |key: &str| key.strip_prefix(REVOCATION_PREFIX)?.parse().ok();
        Ok(Self {
            authority,
            register,
            vouchers,
            revocations: revocations
                .filter_map(|(key, bytes)| Some((serial(&key)?, bytes)))
                .collect(),
            crl: Crl::load(reads),
            genesis: reads.setting(GENESIS_KEY),
            orders: Orders::load(reads),
            rights: Trusted::load(reads),
            askers: Askers::default(),
            rng: ChaCha20Rng::from_seed(setup.seed),
            listen: Vec::new(),
            is_ready: false,
            setup,
        })
    }

    /// Our own certificate; made at the first need of it.
    fn authority(&mut self, now: Wall, writes: &mut Vec<Write>) -> Result<Authority, Refused> {
        if let Some(authority) = &self.authority {
            return Ok(authority.clone());
        }
        let der = self.setup.issuer.authority(now)?;
        let authority = self.setup.proofs.authority(&der)?;
        let key = CERTIFICATE_KEY.to_owned();
        writes.push(Write::Setting { key, value: Some(der) });
        self.authority = Some(authority.clone());
        Ok(authority)
    }

    fn started(&mut self, now: Wall, actions: &mut Actions) {
        if let Err(refused) = self.authority(now, &mut actions.writes) {
            actions.notices.push(Notice::Failed { command: None, refused, is_fatal: true });
        }
    }

    fn listening(&mut self, addresses: Vec<Address>, actions: &mut Actions) {
        self.listen = addresses;
        if self.is_ready || self.listen.is_empty() {
            return;
        }
        self.is_ready = true;
        actions.notices.push(Notice::Ready(Ready {
            role: "keyauth",
            name: String::new(),
            peer: self.setup.peer,
            network: self.setup.issuer.network().to_string(),
            listen: self.listen.clone(),
            leader: None,
        }));
    }

    fn asked(&mut self, from: PeerId, id: RequestId, bytes: &Bytes, now: Now) -> Actions {
        let mut actions = Actions::default();
        let is_known = self
            .register
            .of_peer(&from)
            .is_some_and(|known| known.row.state == CertificateState::Valid);
        let reply = if self.askers.may_ask(from, is_known, now.mono) {
            self.reply(from, bytes, now.wall, &mut actions)
        } else {
            Err(Refusal::TooMany.into())
        };
        let reply = reply.unwrap_or_else(AuthorityReply::No);
        actions.sends.push(Send::Answer { id, bytes: self.sealed(bytes, &reply) });
        actions
    }

    fn reply(
        &mut self,
        from: PeerId,
        bytes: &Bytes,
        now: Wall,
        actions: &mut Actions,
    ) -> Result<AuthorityReply, Refused> {
        let Actions { writes, notices, .. } = actions;
        let ask = AuthorityAsk::decode(bytes)?;
        match ask.question {
            AuthorityQuestion::About => {
                let authority = self.authority(now, writes)?.der;
                let (admission, work_bits) = (self.setup.admission, self.work_bits());
                Ok(AuthorityReply::About { authority, admission, work_bits })
            }
            AuthorityQuestion::Register { name, spki, possession, credential, work } => {
                let checked = name::check(&name)?;
                let shown = Shown { name: &name, spki: &spki, work: work.as_ref() };
                if credential.is_empty() {
                    self.check_work(&shown, now)?;
                }
                let issuer = &self.setup.issuer;
                let peer = issuer.possession(&name, &spki, &ask.nonce, &possession)?;
                let authority = self.authority(now, writes)?;
                let voucher = self.brought(&authority, &credential, &checked, peer)?;
                if voucher.is_none_or(|voucher| self.opens(&voucher, &peer).is_err()) {
                    self.check_work(&shown, now)?;
                }
                let asking = Asking { checked, peer, spki, voucher };
                self.register(&asking, now, writes, notices)
            }
            AuthorityQuestion::Lookup(by) => self.lookup(&by),
            AuthorityQuestion::List { from } => Ok(self.list(from)),
            AuthorityQuestion::Crl { from } => self.crl_page(from, now, writes),
            AuthorityQuestion::Found { credential, witness, witness_incarnation } => {
                let witness = (witness, witness_incarnation);
                self.found(from, &credential, witness, now, writes, notices)
            }
            AuthorityQuestion::Order { order } => self.order(&order, now, writes, notices),
            AuthorityQuestion::Entrusted { order } => self.entrusted(from, &order, now, actions),
        }
    }

    /// Signed, but for refusals that are not worth the work: they come in floods.
    fn sealed(&self, question: &[u8], reply: &AuthorityReply) -> Bytes {
        let body = reply.encode();
        let is_cheap = matches!(reply, AuthorityReply::No(no) if answer::is_cheap(no.refusal));
        let signature = if is_cheap {
            Ok(Vec::new())
        } else {
            let bytes = answer::answer_bytes(question, &body);
            self.setup.issuer.sign(AuthorityDomain::Answer, &bytes)
        };
        match signature {
            Ok(signature) => AuthoritySignedIn { body, signature: signature.into() }.encode(),
            Err(refusal) => {
                let body = AuthorityReply::No(refusal.into()).encode();
                AuthoritySignedIn { body, signature: Bytes::new() }.encode()
            }
        }
    }

    fn register(
        &mut self,
        asking: &Asking,
        now: Wall,
        writes: &mut Vec<Write>,
        notices: &mut Vec<Notice>,
    ) -> Result<AuthorityReply, Refused> {
        let Asking { checked, peer, spki, voucher } = asking;
        let (peer, voucher) = (*peer, *voucher);
        if let Some(known) = self.register.of_peer(&peer) {
            return self.register_again(known.clone(), asking, now, writes);
        }
        let same = self.register.holder(&checked.skeleton);
        if let Some(holder) = same.or_else(|| self.register.holder(&checked.look)) {
            return Err(taken(&holder.row, &checked.name));
        }
        self.unpromised(checked, voucher, now)?;
        if self.register.is_full() {
            return Err(Refused::new(Refusal::TooMany, "the register is full"));
        }
        let row = CertificateRow {
            serial: self.register.next_serial(),
            name: checked.name.clone(),
            skeleton: checked.skeleton.clone(),
            peer,
            spki: spki.to_vec(),
            state: CertificateState::Waiting,
            der: Vec::new(),
            asked_at: now,
            revoked_at: None,
            reason: String::new(),
        };
        let key = shown_key(spki);
        match self.is_welcome(voucher, &peer)? {
            true => {
                let row = self.certify(row, voucher, now, writes)?;
                let text = format!("{} (key {key}) is certified, number {}", row.name, row.serial);
                notices.push(Notice::Info { text });
                Ok(AuthorityReply::Certificate(row.der.into()))
            }
            false => {
                if self.register.is_waiting_room_full() {
                    let detail = "too many registrations wait for the operator";
                    return Err(Refused::new(Refusal::TooMany, detail));
                }
                writes.push(self.register.put(row, self.setup.issuer.as_ref())?);
                let text = format!("{} (key {key}) asks to be certified", checked.name);
                notices.push(Notice::Info { text });
                Err(Refused::new(Refusal::ApprovalPending, &checked.name))
            }
        }
    }

    /// Whether this key is certified at once; `false`: it waits for the operator.
    fn is_welcome(&self, voucher: Option<VoucherUse>, peer: &PeerId) -> Result<bool, Refused> {
        let is_open = match &voucher {
            Some(voucher) => self.opens(voucher, peer),
            None => Err(Refusal::VoucherNeeded.into()),
        };
        match self.setup.admission {
            Admission::Open => Ok(true),
            Admission::Approve => Ok(is_open.is_ok()),
            Admission::Voucher => is_open.map(|()| true),
        }
    }

    /// A key we know asks again: the same certificate, or a new one when it runs out.
    fn register_again(
        &mut self,
        known: Registered,
        asking: &Asking,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<AuthorityReply, Refused> {
        let Registered { row, not_after, voucher } = known;
        let voucher = voucher.or(asking.voucher);
        if row.state == CertificateState::Revoked {
            let detail = format!("{} {}", row.name, orders::revoked(&row));
            return Err(Refused::new(Refusal::CertificateRevoked, detail));
        }
        if row.name != asking.checked.name {
            return Err(Refused::new(Refusal::KeyHasOtherName, row.name));
        }
        let row = match row.state {
            CertificateState::Waiting if !self.is_welcome(voucher, &row.peer)? => {
                return Err(Refused::new(Refusal::ApprovalPending, row.name));
            }
            // The operator opened the door after it knocked.
            CertificateState::Waiting => self.certify(row, voucher, now, writes)?,
            _ if now.after(CERTIFICATE_RENEW) < not_after => row,
            _ if self.register.is_full() => {
                return Err(Refused::new(Refusal::TooMany, "the register is full"));
            }
            _ => {
                let serial = self.register.next_serial();
                self.certify(CertificateRow { serial, asked_at: now, ..row }, voucher, now, writes)?
            }
        };
        Ok(AuthorityReply::Certificate(row.der.into()))
    }

    /// Issues the certificate of a row and takes the row into the register.
    fn certify(
        &mut self,
        row: CertificateRow,
        voucher: Option<VoucherUse>,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<CertificateRow, Refused> {
        self.authority(now, writes)?;
        let issuer = self.setup.issuer.as_ref();
        let der = issuer.certificate(&CertificateOrder {
            serial: row.serial,
            name: &row.name,
            spki: &row.spki,
            not_before: Wall(now.0.saturating_sub(CERTIFICATE_BACKDATE.0)),
            not_after: now.after(CERTIFICATE_LIFE),
            voucher,
        })?;
        let row = CertificateRow { state: CertificateState::Valid, der: der.to_vec(), ..row };
        writes.push(self.register.put(row.clone(), issuer)?);
        Ok(row)
    }

    fn lookup(&self, by: &LookupBy) -> Result<AuthorityReply, Refused> {
        let (found, what) = match by {
            LookupBy::Name(typed) => {
                let typed = crate::text::nfc(typed);
                let holder = self.register.holder(&name::skeleton_of(&typed));
                (holder.filter(|holder| holder.row.name == typed), typed)
            }
            LookupBy::Peer(peer) => (self.register.of_peer(peer), peer.to_string()),
        };
        match found {
            Some(found) => Ok(AuthorityReply::Rows { rows: vec![shown(&found.row)], next: None }),
            None => Err(Refused::new(Refusal::NameUnknown, what)),
        }
    }

    fn list(&self, from: u64) -> AuthorityReply {
        let (rows, next) = self.register.page(from);
        AuthorityReply::Rows { rows: rows.into_iter().map(shown).collect(), next }
    }

    /// The one genesis: signed for the first member that asks, shown to every other.
    fn found(
        &mut self,
        from: PeerId,
        credential: &Bytes,
        (witness, witness_incarnation): (PeerId, Incarnation),
        now: Wall,
        writes: &mut Vec<Write>,
        notices: &mut Vec<Notice>,
    ) -> Result<AuthorityReply, Refused> {
        let authority = self.authority(now, writes)?;
        let founder = self.setup.proofs.credential(&authority, credential)?;
        if founder.peer != from {
            return Err(Refusal::CertificateOfOther.into());
        }
        let row = self.register.get(founder.serial).map(|known| &known.row);
        let row = row.filter(|row| row.peer == from && row.name == founder.name);
        // Signed by us and not in our register: ours was lost, and its numbers start anew.
        let row = row.ok_or(Refusal::CertificateBad)?;
        if row.state == CertificateState::Revoked {
            let detail = format!("{} {}", row.name, orders::revoked(row));
            return Err(Refused::new(Refusal::CertificateRevoked, detail));
        }
        if now > founder.not_after {
            let detail = format!("on {}; here it is {now}", founder.not_after);
            return Err(Refused::new(Refusal::CertificateExpired, detail));
        }
        if now.after(CLOCK_SKEW_MAX) < founder.not_before {
            let detail = format!("valid from {}; here it is {now}", founder.not_before);
            return Err(Refused::new(Refusal::CertificateEarly, detail));
        }
        if let Some(genesis) = &self.genesis {
            return Ok(AuthorityReply::Genesis(genesis.clone()));
        }
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        let body = GenesisIn {
            network: authority.network,
            authority: authority.der,
            founder: founder.bytes,
            witness,
            witness_incarnation,
            created_at: now,
            nonce,
        };
        let bytes = genesis::make(self.setup.issuer.as_ref(), &body)?;
        Genesis::verify(&bytes, self.setup.proofs.as_ref())?;
        writes.push(Write::Setting { key: GENESIS_KEY.to_owned(), value: Some(bytes.clone()) });
        self.genesis = Some(bytes.clone());
        notices.push(Notice::Info { text: format!("{} founds the network", founder.name) });
        Ok(AuthorityReply::Genesis(bytes))
    }

    fn command(&self, id: CommandId, command: &Command) -> Notice {
        match command {
            Command::Status => Notice::Status { command: id, status: Box::new(self.status()) },
            Command::Members => Notice::Members { command: id, members: self.members() },
            Command::Exit => Notice::Exited,
            Command::Send { .. }
            | Command::History { .. }
            | Command::Earlier { .. }
            | Command::Seen { .. }
            | Command::Since { .. }
            | Command::Say { .. }
            | Command::Apply { .. }
            | Command::Search { .. }
            | Command::Audit
            | Command::Compare
            | Command::Links
            | Command::Delivery { .. }
            | Command::Deliveries { .. }
            | Command::People(_)
            | Command::Mute { .. }
            | Command::Room { .. }
            | Command::Role { .. }
            | Command::Remove { .. }
            | Command::Invite { .. }
            | Command::Invites
            | Command::RevokeInvite { .. }
            | Command::Requests
            | Command::Approve { .. }
            | Command::Refuse { .. }
            | Command::Rooms
            | Command::Receipts
            | Command::Act { .. }
            | Command::Direct { .. }
            | Command::Contact(_)
            | Command::File(_)
            | Command::SendFor { .. }
            | Command::TrustAuthority { .. } => Notice::failed(id, no_talk()),
        }
    }

    fn status(&self) -> Status {
        Status {
            network: self.setup.issuer.network().to_string(),
            members: self.members(),
            role: "keyauth",
            ..Status::default()
        }
    }

    /// Whom we certified, as active: who is there is not ours to know; who waits is no member.
    fn members(&self) -> Vec<MemberView> {
        let view = |row: &CertificateRow| {
            let state = match (row.state, row.der.is_empty()) {
                (CertificateState::Waiting, _) | (CertificateState::Revoked, true) => return None,
                (CertificateState::Valid, _) => MemberState::Active,
                (CertificateState::Revoked, false) => MemberState::Removed,
            };
            Some(MemberView::of_certificate(row.name.clone(), row.peer, state))
        };
        self.register.newest().filter_map(view).collect()
    }
}

impl Core for AuthorityCore {
    fn handle(&mut self, event: Event, now: Now, _reads: &dyn Reads) -> Actions {
        let mut actions = Actions::default();
        match event {
            Event::Started => self.started(now.wall, &mut actions),
            Event::Listening { addresses } => self.listening(addresses, &mut actions),
            Event::Asked { from, id, bytes } => actions = self.asked(from, id, &bytes, now),
            Event::Command { id, command } => actions.notices.push(self.command(id, &command)),
            Event::Posts { posts, .. } => {
                actions
                    .notices
                    .extend(posts.into_iter().map(|(id, _)| Notice::failed(id, no_talk())));
            }
            Event::NotStored { commands, asked } => {
                let failed = |id| Notice::failed(id, Refusal::NotStored.into());
                actions.notices.extend(commands.into_iter().chain(asked).map(failed));
            }
            // We answer questions and keep no streams.
            Event::Frame { from, .. } => actions.sends.push(Send::Close { peer: from }),
            Event::LinkUp { .. }
            | Event::LinkDown { .. }
            | Event::DialFailed { .. }
            | Event::Answered { .. }
            | Event::Discovered { .. }
            | Event::RoundTrip { .. }
            | Event::SeenAt { .. }
            | Event::Punched { .. }
            | Event::File(_)
            | Event::Woke => {}
        }
        actions
    }
}

fn no_talk() -> Refused {
    Refused::new(Refusal::CommandBad, "the key authority holds no talk")
}

/// The name is another key's: the same name, or one that looks like it.
fn taken(holder: &CertificateRow, wanted: &str) -> Refused {
    let (name, key, on) = (&holder.name, shown_key(&holder.spki), dated(holder.asked_at));
    let what = match holder.state {
        CertificateState::Waiting => "was asked for",
        CertificateState::Valid | CertificateState::Revoked => "was certified",
    };
    let refusal = if name == wanted { Refusal::NameTaken } else { Refusal::NameLooksAlike };
    Refused::new(refusal, format!("{name} (key {key}) {what} on {on}"))
}

/// The ends of a key's fingerprint: `3f9a..c1`.
fn shown_key(spki: &[u8]) -> String {
    let hex = keys::fingerprint(spki);
    let (head, tail) = (hex.get(..4).unwrap_or_default(), hex.get(62..).unwrap_or_default());
    format!("{head}..{tail}")
}

fn shown(row: &CertificateRow) -> RegisterRow {
    RegisterRow {
        serial: row.serial,
        name: row.name.clone(),
        peer: row.peer,
        state: match row.state {
            CertificateState::Waiting => RegisterState::Waiting,
            CertificateState::Valid => RegisterState::Valid,
            CertificateState::Revoked => RegisterState::Revoked,
        },
        certificate: Bytes::copy_from_slice(&row.der),
        asked_at: row.asked_at,
        revoked_at: row.revoked_at,
        reason: row.reason.clone(),
    }
}

#[cfg(test)]
mod tests;
