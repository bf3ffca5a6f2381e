//! The revocation list: for X.509 software as one list, for members as signed statements.
//! Owns: when a list is made anew, its number, its pages.
//! Must not know: who revokes, how a list is signed.
//! Invariants: numbers only grow, across restarts too; a revocation outdates the list before it.
//! Start reading at: [`AuthorityCore::crl_page`].

use bytes::Bytes;

use super::AuthorityCore;
use crate::identity::CrlOrder;
use crate::limits::{CRL_LIFE, CRL_RENEW, REGISTER_PAGE_MAX};
use crate::protocol::{Reads, Write};
use crate::refusal::Refused;
use crate::time::Wall;
use crate::wire::identity::AuthorityReply;

/// Where the newest list is stored, with its number.
const CRL_KEY: &str = "authority/crl";

impl AuthorityCore {
    pub(super) fn crl_page(
        &mut self,
        from: u64,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<AuthorityReply, Refused> {
        let crl = if from == 0 { self.current_crl(now, writes)? } else { Bytes::new() };
        let mut page = self.revocations.range(from..);
        let revocations =
            page.by_ref().take(REGISTER_PAGE_MAX).map(|(_, bytes)| bytes.clone()).collect();
        let next = page.next().map(|(serial, _)| *serial);
        Ok(AuthorityReply::Crl { crl, revocations, next })
    }

    fn current_crl(&mut self, now: Wall, writes: &mut Vec<Write>) -> Result<Bytes, Refused> {
        if let Some(der) = self.crl.current(now) {
            return Ok(der);
        }
        let authority = self.authority(now, writes)?;
        let revoked = self
            .register
            .revoked(now)
            .map(|row| (row.serial, row.revoked_at.unwrap_or_default(), row.reason.clone()));
        let order = CrlOrder {
            number: self.crl.number.saturating_add(1),
            this_update: now,
            next_update: now.after(CRL_LIFE),
            revoked: revoked.collect(),
        };
        let der = self.setup.issuer.crl(&authority, &order)?;
        self.crl = Crl { number: order.number, made_at: now, der: der.clone() };
        writes.push(self.crl.write());
        Ok(der)
    }
}

/// The newest revocation list. Its number grows for ever (RFC 5280 5.2.3), so it is stored even
/// while the list itself is out of date.
#[derive(Debug, Default)]
pub(super) struct Crl {
    pub(super) number: u64,
    made_at: Wall,
    /// Empty while out of date.
    der: Bytes,
}

impl Crl {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let read = || {
            let stored = reads.setting(CRL_KEY)?;
            let (number, rest) = stored.split_first_chunk::<8>()?;
            let (made_at, der) = rest.split_first_chunk::<8>()?;
            Some(Self {
                number: u64::from_be_bytes(*number),
                made_at: Wall(u64::from_be_bytes(*made_at)),
                der: Bytes::copy_from_slice(der),
            })
        };
        read().unwrap_or_default()
    }

    /// Young enough, and not from a future that a corrected clock took back.
    fn current(&self, now: Wall) -> Option<Bytes> {
        let is_young = self.made_at <= now && now.since(self.made_at) < CRL_RENEW;
        (is_young && !self.der.is_empty()).then(|| self.der.clone())
    }

    /// Something was revoked: the next who asks gets a new list.
    pub(super) fn outdate(&mut self) -> Write {
        self.der = Bytes::new();
        self.write()
    }

    fn write(&self) -> Write {
        let (number, made_at) = (self.number.to_be_bytes(), self.made_at.0.to_be_bytes());
        let value = [number.as_slice(), made_at.as_slice(), &self.der].concat();
        Write::Setting { key: CRL_KEY.to_owned(), value: Some(value.into()) }
    }
}
