//! What members may order here: invites of their own, and who is let in.
//! Owns: who was entrusted with what by the operator, and what each may do with it.
//! Must not know: who is an admin of the group: the control log says so, and it is not ours.
//! Invariants: a right is the operator's to give; only the founder has both from the start.
//! Start reading at: [`AuthorityCore::entrusted`].
//!
//! The connection proves whose order it is: a member's peer id is its certified key. So an order
//! needs no signature of its own, and nobody can play one again.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::vouchers::Wanted;
use super::{AuthorityCore, shown};
use crate::identity::genesis::Genesis;
use crate::ids::PeerId;
use crate::limits::VOUCHERS_OPEN_MAX;
use crate::protocol::{Actions, CertificateState, Notice, Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::text;
use crate::time::Wall;
use crate::wire::identity::{AuthorityReply, OrderCommand, OrderIn, Rights};

/// Where they are stored, by peer id.
const RIGHTS_PREFIX: &str = "authority/rights/";

/// What the operator said about each member it said anything about.
#[derive(Debug, Default)]
pub(super) struct Trusted(BTreeMap<PeerId, Rights>);

impl Trusted {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let stored = reads.settings(RIGHTS_PREFIX).into_iter();
        Self(
            stored
                .filter_map(|(key, value)| {
                    let peer = PeerId::parse(key.strip_prefix(RIGHTS_PREFIX)?)?;
                    let bits = value.first()?;
                    let rights = Rights { invites: bits & 1 != 0, approvals: bits & 2 != 0 };
                    Some((peer, rights))
                })
                .collect(),
        )
    }

    fn put(&mut self, peer: PeerId, rights: Rights) -> Write {
        self.0.insert(peer, rights);
        let bits = u8::from(rights.invites) | u8::from(rights.approvals) << 1;
        let key = format!("{RIGHTS_PREFIX}{peer}");
        Write::Setting { key, value: Some(Bytes::copy_from_slice(&[bits])) }
    }
}

impl AuthorityCore {
    /// Carries out a member's order, as far as it may give it.
    pub(super) fn entrusted(
        &mut self,
        from: PeerId,
        order: &Bytes,
        now: Wall,
        actions: &mut Actions,
    ) -> Result<AuthorityReply, Refused> {
        let order = OrderIn::decode(order)?;
        if order.network != self.setup.issuer.network() {
            return Err(Refusal::NetworkOther.into());
        }
        let row = self.register.of_peer(&from).map(|known| &known.row);
        let row = row.filter(|row| row.state == CertificateState::Valid);
        let name = row.ok_or(Refusal::NotAMember)?.name.clone();
        let rights = self.rights_of(&from);
        let need = |has: bool, what: &str| {
            let detail = || format!("{name} may not {what} here; p2pgroup keyauth allow {name}");
            if has { Ok(()) } else { Err(Refused::new(Refusal::NotAllowed, detail())) }
        };
        let writes = &mut actions.writes;
        let (reply, text) = match order.command {
            OrderCommand::Invite { key, uses, life, name: whom, room } => {
                need(rights.invites, "invite")?;
                if self.vouchers.open_of(from, now) >= VOUCHERS_OPEN_MAX {
                    return Err(Refused::new(Refusal::TooMany, "so many of its invites are open"));
                }
                let wanted = Wanted { key, uses, life, name: whom, room, by: Some(from) };
                let (signed, text) = self.invite(wanted, now, writes)?;
                (AuthorityReply::Voucher(signed), text)
            }
            OrderCommand::Vouchers { from: first } => {
                need(rights.invites, "invite")?;
                return Ok(self.vouchers.page(first, Some(from)));
            }
            OrderCommand::RevokeVoucher { id, reason, .. } => {
                need(rights.invites, "invite")?;
                if self.vouchers.maker(id) != Some(Some(from)) {
                    return Err(Refused::new(Refusal::VoucherUnknown, id.to_string()));
                }
                let reason = text::one_line(&reason);
                let text = self.revoke_voucher(id, &reason, false, now, writes)?;
                (AuthorityReply::Done(text.clone()), text)
            }
            OrderCommand::Waiting { from: first } => {
                need(rights.approvals, "approve anybody")?;
                return Ok(self.waiting(first));
            }
            OrderCommand::Approve { name: whom } => {
                need(rights.approvals, "approve anybody")?;
                let text = self.approve(&whom, now, writes)?;
                (AuthorityReply::Done(text.clone()), text)
            }
            OrderCommand::TurnDown { name: whom, reason } => {
                need(rights.approvals, "approve anybody")?;
                let text = self.turn_down(&whom, &text::one_line(&reason), now, writes)?;
                (AuthorityReply::Done(text.clone()), text)
            }
            OrderCommand::List { .. }
            | OrderCommand::Revoke { .. }
            | OrderCommand::Entrust { .. } => {
                return Err(Refused::new(Refusal::NotAllowed, "that is the operator's"));
            }
        };
        actions.notices.push(Notice::Info { text: format!("{text}; ordered by {name}") });
        Ok(reply)
    }

    /// What the operator entrusted a member with; the founder with both, unless it said otherwise.
    fn rights_of(&self, peer: &PeerId) -> Rights {
        let is_founder = || {
            let genesis = self.genesis.as_ref().map(|it| Genesis::verify(it, &*self.setup.proofs));
            genesis.is_some_and(|it| it.is_ok_and(|it| it.founder.peer == *peer))
        };
        match self.rights.0.get(peer) {
            Some(rights) => *rights,
            None if is_founder() => Rights { invites: true, approvals: true },
            None => Rights::default(),
        }
    }

    /// The operator says what a member may order.
    pub(super) fn entrust(
        &mut self,
        name: &str,
        rights: Rights,
        writes: &mut Vec<Write>,
    ) -> Result<String, Refused> {
        let row = self.named(name)?;
        writes.push(self.rights.put(row.peer, rights));
        let what = match (rights.invites, rights.approvals) {
            (true, true) => "may invite and approve",
            (true, false) => "may invite",
            (false, true) => "may approve",
            (false, false) => "may neither invite nor approve",
        };
        Ok(format!("{} {what}", row.name))
    }

    pub(super) fn waiting(&self, from: u64) -> AuthorityReply {
        let (rows, next) = self.register.waiting(from);
        AuthorityReply::Rows { rows: rows.into_iter().map(shown).collect(), next }
    }

    /// Turns a name down that waits; who is certified stays so.
    pub(super) fn turn_down(
        &mut self,
        name: &str,
        reason: &str,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<String, Refused> {
        match self.named(name)?.state {
            CertificateState::Waiting => self.revoke(name, reason, now, writes),
            CertificateState::Valid | CertificateState::Revoked => {
                Err(Refused::new(Refusal::NameUnknown, format!("{name} does not wait")))
            }
        }
    }
}
