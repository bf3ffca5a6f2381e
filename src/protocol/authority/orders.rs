//! What the operator orders: approve, revoke, list; signed with the authority's own key.
//! Owns: the check that an order is the operator's, fresh, and given once; what it does.
//! Must not know: how the operator typed it.
//! Invariants: no order is heeded twice, across restarts too.
//! Start reading at: [`AuthorityCore::order`].

use bytes::Bytes;

use super::vouchers::Wanted;
use super::{AuthorityCore, REVOCATION_PREFIX, shown_key};
use crate::identity::{AuthorityDomain, name, revocation};
use crate::limits::{ORDER_FRESH, ORDERS_MAX, REVOKED_MAX};
use crate::protocol::{CertificateRow, CertificateState, Notice, Write};
use crate::refusal::{Refusal, Refused};
use crate::text;
use crate::time::Wall;
use crate::wire::identity::{
    AuthorityReply, AuthoritySignedIn, OrderCommand, OrderIn, RevocationIn, Withdrawn,
};

/// Where the orders heeded lately are stored.
const ORDERS_KEY: &str = "authority/orders";

/// Orders heeded while they were fresh: when given, and their nonce.
#[derive(Debug, Default)]
pub(super) struct Orders {
    heeded: Vec<(Wall, [u8; 16])>,
}

impl Orders {
    pub(super) fn load(reads: &dyn crate::protocol::Reads) -> Self {
        let stored = reads.setting(ORDERS_KEY).unwrap_or_default();
        let heeded = stored.chunks_exact(24).filter_map(|chunk| {
            let (at, nonce) = chunk.split_at_checked(8)?;
            Some((Wall(u64::from_be_bytes(at.try_into().ok()?)), nonce.try_into().ok()?))
        });
        Self { heeded: heeded.collect() }
    }

    fn heed(&mut self, order: &OrderIn, now: Wall) -> Result<Write, Refused> {
        let age = now.since(order.at).max(order.at.since(now));
        if age > ORDER_FRESH {
            let detail = format!("given at {}, and here it is {now}", order.at);
            return Err(Refused::new(Refusal::OrderStale, detail));
        }
        self.heeded.retain(|(at, _)| now <= at.after(ORDER_FRESH));
        if self.heeded.iter().any(|(_, nonce)| *nonce == order.nonce) {
            return Err(Refused::new(Refusal::OrderStale, "heeded before"));
        }
        if self.heeded.len() >= ORDERS_MAX {
            return Err(Refusal::TooMany.into());
        }
        self.heeded.push((order.at, order.nonce));
        let mut value = Vec::new();
        for (at, nonce) in &self.heeded {
            value.extend_from_slice(&at.0.to_be_bytes());
            value.extend_from_slice(nonce);
        }
        Ok(Write::Setting { key: ORDERS_KEY.to_owned(), value: Some(value.into()) })
    }
}

impl AuthorityCore {
    /// Heeds an order if it is the operator's.
    pub(super) fn order(
        &mut self,
        order: &Bytes,
        now: Wall,
        writes: &mut Vec<Write>,
        notices: &mut Vec<Notice>,
    ) -> Result<AuthorityReply, Refused> {
        let signed = AuthoritySignedIn::decode(order)?;
        let authority = self.authority(now, writes)?;
        let domain = AuthorityDomain::Order;
        let proofs = &self.setup.proofs;
        if !proofs.authority_signed(&authority, domain, &signed.body, &signed.signature) {
            return Err(Refusal::SignatureBad.into());
        }
        let order = OrderIn::decode(&signed.body)?;
        if order.network != authority.network {
            return Err(Refusal::NetworkOther.into());
        }
        let heeded = self.orders.heed(&order, now)?;
        match order.command {
            // Nothing changes, so nothing needs to be remembered on disk.
            OrderCommand::List { from } => Ok(self.list(from)),
            OrderCommand::Vouchers { from } => Ok(self.vouchers.page(from, None)),
            OrderCommand::Waiting { from } => Ok(self.waiting(from)),
            OrderCommand::Invite { key, uses, life, name, room } => {
                let wanted = Wanted { key, uses, life, name, room, by: None };
                let (signed, text) = self.invite(wanted, now, writes)?;
                writes.push(heeded);
                notices.push(Notice::Info { text });
                Ok(AuthorityReply::Voucher(signed))
            }
            OrderCommand::RevokeVoucher { id, reason, with_members } => {
                let reason = text::one_line(&reason);
                let text = self.revoke_voucher(id, &reason, with_members, now, writes)?;
                writes.push(heeded);
                notices.push(Notice::Info { text: text.clone() });
                Ok(AuthorityReply::Done(text))
            }
            OrderCommand::Approve { name } => {
                let text = self.approve(&name, now, writes)?;
                writes.push(heeded);
                notices.push(Notice::Info { text: text.clone() });
                Ok(AuthorityReply::Done(text))
            }
            OrderCommand::TurnDown { name, reason } => {
                let text = self.turn_down(&name, &text::one_line(&reason), now, writes)?;
                writes.push(heeded);
                notices.push(Notice::Info { text: text.clone() });
                Ok(AuthorityReply::Done(text))
            }
            OrderCommand::Entrust { name, rights } => {
                let text = self.entrust(&name, rights, writes)?;
                writes.push(heeded);
                notices.push(Notice::Info { text: text.clone() });
                Ok(AuthorityReply::Done(text))
            }
            OrderCommand::Revoke { name, reason } => {
                let text = self.revoke(&name, &text::one_line(&reason), now, writes)?;
                writes.push(heeded);
                notices.push(Notice::Info { text: text.clone() });
                Ok(AuthorityReply::Done(text))
            }
        }
    }

    pub(super) fn approve(
        &mut self,
        name: &str,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<String, Refused> {
        let row = self.named(name)?;
        match row.state {
            CertificateState::Waiting => {
                let row = self.certify(row, None, now, writes)?;
                Ok(format!("{} is certified, number {}", row.name, row.serial))
            }
            CertificateState::Valid => {
                Ok(format!("{} was certified before, number {}", row.name, row.serial))
            }
            CertificateState::Revoked => {
                Err(Refused::new(Refusal::CertificateRevoked, revoked(&row)))
            }
        }
    }

    pub(super) fn revoke(
        &mut self,
        name: &str,
        reason: &str,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<String, Refused> {
        let newest = self.named(name)?;
        let is_live = |row: &CertificateRow| row.state != CertificateState::Revoked;
        let rows: Vec<_> = self.register.all_of(&newest.peer).map(|one| one.row.clone()).collect();
        let live: Vec<_> = rows.into_iter().filter(is_live).collect();
        if live.is_empty() {
            return Ok(format!("{} {}", newest.name, revoked(&newest)));
        }
        if self.register.revoked(now).count().saturating_add(live.len()) > REVOKED_MAX {
            return Err(Refused::new(Refusal::TooMany, "the revocation list is full"));
        }
        // Signed first: whatever fails, fails before anything has changed.
        let mut signed = Vec::new();
        for row in live.iter().filter(|row| !row.der.is_empty()) {
            let body = RevocationIn {
                network: self.setup.issuer.network(),
                of: Withdrawn::Certificate { serial: row.serial, peer: row.peer },
                revoked_at: now,
                reason: reason.to_owned(),
            };
            signed.push((row.serial, revocation::make(self.setup.issuer.as_ref(), &body)?));
        }
        let was_certified = !signed.is_empty();
        for row in live {
            let row = CertificateRow {
                state: CertificateState::Revoked,
                revoked_at: Some(now),
                reason: reason.to_owned(),
                ..row
            };
            writes.push(self.register.put(row, self.setup.issuer.as_ref())?);
        }
        for (serial, bytes) in signed {
            let key = format!("{REVOCATION_PREFIX}{serial:020}");
            writes.push(Write::Setting { key, value: Some(bytes.clone()) });
            self.revocations.insert(serial, bytes);
        }
        writes.push(self.crl.outdate());
        let (name, key) = (&newest.name, shown_key(&newest.spki));
        Ok(if was_certified {
            format!("{name} (key {key}) is revoked")
        } else {
            format!("{name} (key {key}) is turned down")
        })
    }

    /// The newest row of exactly this name.
    pub(super) fn named(&self, typed: &str) -> Result<CertificateRow, Refused> {
        let typed = text::nfc(typed);
        match self.register.holder(&name::skeleton_of(&typed)) {
            Some(holder) if holder.row.name == typed => Ok(holder.row.clone()),
            Some(holder) => {
                let detail = format!("{typed}; did you mean {}?", holder.row.name);
                Err(Refused::new(Refusal::NameUnknown, detail))
            }
            None => Err(Refused::new(Refusal::NameUnknown, typed)),
        }
    }
}

/// `was revoked on 2026-11-02: stolen`.
pub(super) fn revoked(row: &CertificateRow) -> String {
    let on = dated(row.revoked_at.unwrap_or_default());
    if row.reason.is_empty() {
        format!("was revoked on {on}")
    } else {
        format!("was revoked on {on}: {}", row.reason)
    }
}

/// The day, in UTC.
pub(super) fn dated(at: Wall) -> String {
    at.rfc3339().chars().take_while(|c| *c != 'T').collect()
}
