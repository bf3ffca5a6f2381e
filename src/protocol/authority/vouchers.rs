//! The authority's account of its vouchers: signed in advance, listed, withdrawn.
//! Owns: the rows, and the names that vouchers keep free.
//! Must not know: the secret of any of them, how often one was used (the control log counts).
//! Invariants: a name is promised to one voucher or key only; a withdrawn voucher stays withdrawn.
//! Start reading at: [`AuthorityCore::invite`].

use std::collections::BTreeMap;

use bytes::Bytes;
use rand_core::Rng;

use super::orders::dated;
use super::{AuthorityCore, REVOCATION_PREFIX, taken};
use crate::identity::voucher::VoucherUse;
use crate::identity::{Authority, name, revocation, voucher};
use crate::ids::{DeviceKey, PeerId, VoucherId};
use crate::limits::{REGISTER_PAGE_MAX, VOUCHER_LIFE_MAX, VOUCHERS_MAX};
use crate::protocol::{Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::text;
use crate::time::{Millis, Wall};
use crate::wire::identity::voucher::{VoucherIn, VoucherRow};
use crate::wire::identity::{AuthorityReply, RevocationIn, Withdrawn};

/// Where the rows are stored, by number in 20 digits.
const VOUCHER_PREFIX: &str = "authority/voucher/";
/// Revocations of certificates are listed by serial number, those of vouchers by the number of
/// the voucher above this.
const REVOCATIONS_FROM: u64 = 1 << 63;

/// A voucher as ordered.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: DeviceKey,
    pub(super) uses: u32,
    pub(super) life: Millis,
    pub(super) name: String,
    pub(super) room: String,
    /// The member who asks; `None`: the operator.
    pub(super) by: Option<PeerId>,
}

/// Every voucher signed here, by number.
#[derive(Debug, Default)]
pub(super) struct Vouchers(BTreeMap<u64, Kept>);

#[derive(Debug)]
struct Kept {
    row: VoucherRow,
    body: VoucherIn,
}

impl Kept {
    /// Whether somebody may still come with it.
    fn is_open(&self, now: Wall) -> bool {
        self.row.revoked_at.is_none() && now <= self.body.expires_at
    }
}

impl Vouchers {
    pub(super) fn load(reads: &dyn Reads) -> Result<Self, Refusal> {
        let mut rows = BTreeMap::new();
        for (_, bytes) in reads.settings(VOUCHER_PREFIX) {
            let row = VoucherRow::decode(&bytes)?;
            let body = row.body()?;
            rows.insert(row.number, Kept { row, body });
        }
        Ok(Self(rows))
    }

    /// Takes a row in, in place of the one with its number, and gives the write that stores it.
    fn put(&mut self, row: VoucherRow) -> Result<Write, Refusal> {
        let body = row.body()?;
        let key = format!("{VOUCHER_PREFIX}{:020}", row.number);
        let write = Write::Setting { key, value: Some(row.encode()) };
        self.0.insert(row.number, Kept { row, body });
        Ok(write)
    }

    /// A page of rows from a number on, and where the next starts; `by`: only that member's.
    pub(super) fn page(&self, from: u64, by: Option<PeerId>) -> AuthorityReply {
        let of = |kept: &&Kept| by.is_none() || kept.body.by == by;
        let kept = self.0.range(from..).map(|(_, kept)| kept);
        let mut page = kept.filter(of).map(|kept| &kept.row);
        let rows = page.by_ref().take(REGISTER_PAGE_MAX).cloned().collect();
        AuthorityReply::Vouchers { rows, next: page.next().map(|row| row.number) }
    }

    /// The open voucher that a name is promised to.
    pub(super) fn holder(&self, skeleton: &str, look: &str, now: Wall) -> Option<VoucherId> {
        let is_near = |kept: &&Kept| {
            !kept.body.name.is_empty()
                && [skeleton, look].iter().any(|it| {
                    *it == name::skeleton_of(&kept.body.name)
                        || *it == name::look_of(&kept.body.name)
                })
        };
        let open = self.0.values().filter(|kept| kept.is_open(now));
        open.filter(is_near).map(|kept| kept.body.id).next()
    }

    /// Who asked for a voucher; `None`: nobody, for there is none.
    pub(super) fn maker(&self, id: VoucherId) -> Option<Option<PeerId>> {
        self.of_id(id).map(|kept| kept.body.by)
    }

    /// How many of a member's vouchers still admit.
    pub(super) fn open_of(&self, by: PeerId, now: Wall) -> usize {
        self.0.values().filter(|kept| kept.body.by == Some(by) && kept.is_open(now)).count()
    }

    fn of_id(&self, id: VoucherId) -> Option<&Kept> {
        self.0.values().find(|kept| kept.body.id == id)
    }

    fn next_number(&self) -> u64 {
        self.0.last_key_value().map_or(1, |(number, _)| number.saturating_add(1))
    }
}

impl AuthorityCore {
    /// Signs a voucher; gives its bytes, and what to tell.
    pub(super) fn invite(
        &mut self,
        wanted: Wanted,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<(Bytes, String), Refused> {
        if wanted.life == Millis(0) || wanted.life > VOUCHER_LIFE_MAX {
            return Err(Refused::new(Refusal::FieldBad, "an invite lasts up to 366 days"));
        }
        if self.vouchers.0.len() >= VOUCHERS_MAX {
            return Err(Refused::new(Refusal::TooMany, "the list of invites is full"));
        }
        let name = self.promised(&wanted.name, now)?;
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let body = VoucherIn {
            network: self.setup.issuer.network(),
            id: VoucherId(id),
            key: wanted.key,
            uses: wanted.uses,
            issued_at: now,
            expires_at: now.after(wanted.life),
            name,
            room: wanted.room,
            by: wanted.by,
        };
        self.authority(now, writes)?;
        let voucher = voucher::make(self.setup.issuer.as_ref(), &body)?;
        let number = self.vouchers.next_number();
        let (revoked_at, reason) = (None, String::new());
        let row = VoucherRow { number, voucher: voucher.clone(), revoked_at, reason };
        writes.push(self.vouchers.put(row)?);
        let whom = if body.name.is_empty() { "anybody" } else { &body.name };
        let (times, until) = (body.uses, body.expires_at);
        let text = format!("invite {} for {whom} ({times} in all) until {until}", body.id);
        Ok((voucher, text))
    }

    /// The name an invite is to be for, if it is free; empty stays empty.
    fn promised(&self, typed: &str, now: Wall) -> Result<String, Refused> {
        if typed.is_empty() {
            return Ok(String::new());
        }
        let checked = name::check(&text::nfc(typed))?;
        let same = self.register.holder(&checked.skeleton);
        if let Some(holder) = same.or_else(|| self.register.holder(&checked.look)) {
            return Err(taken(&holder.row, &checked.name));
        }
        self.unpromised(&checked, None, now)?;
        Ok(checked.name)
    }

    /// Whether no open voucher keeps this name for somebody else.
    pub(super) fn unpromised(
        &self,
        checked: &name::CheckedName,
        by: Option<VoucherUse>,
        now: Wall,
    ) -> Result<(), Refused> {
        match self.vouchers.holder(&checked.skeleton, &checked.look, now) {
            Some(id) if by.is_none_or(|voucher| voucher.id != id) => {
                Err(Refused::new(Refusal::NameTaken, format!("it is kept for invite {id}")))
            }
            _ => Ok(()),
        }
    }

    /// The voucher that somebody who registers came by.
    pub(super) fn brought(
        &self,
        authority: &Authority,
        credential: &Bytes,
        checked: &name::CheckedName,
        peer: PeerId,
    ) -> Result<Option<VoucherUse>, Refused> {
        if credential.is_empty() {
            return Ok(None);
        }
        let credential = self.setup.proofs.credential(authority, credential)?;
        if credential.peer != peer || credential.name != checked.name {
            return Err(Refusal::CertificateOfOther.into());
        }
        Ok(credential.voucher)
    }

    /// Whether a voucher opens the door to the register for one more.
    ///
    /// Its end is not looked at: it says until when somebody may come in, and who came in while the
    /// authority was off may register later. Who did not come in gains nothing: the voucher is
    /// written into the certificate, and the control log judges it there.
    pub(super) fn opens(&self, voucher: &VoucherUse, peer: &PeerId) -> Result<(), Refused> {
        let kept = self.vouchers.of_id(voucher.id).ok_or(Refusal::VoucherBad)?;
        let id = voucher.id.to_string();
        if kept.row.revoked_at.is_some() {
            return Err(Refused::new(Refusal::VoucherRevoked, id));
        }
        let uses = usize::try_from(voucher.uses).unwrap_or(usize::MAX);
        if self.register.others_by(voucher.id, peer) >= uses {
            return Err(Refused::new(Refusal::VoucherSpent, id));
        }
        Ok(())
    }

    /// Withdraws a voucher, and on wish whoever came in with it.
    pub(super) fn revoke_voucher(
        &mut self,
        id: VoucherId,
        reason: &str,
        with_members: bool,
        now: Wall,
        writes: &mut Vec<Write>,
    ) -> Result<String, Refused> {
        let unknown = || Refused::new(Refusal::VoucherUnknown, id.to_string());
        let row = self.vouchers.of_id(id).ok_or_else(unknown)?.row.clone();
        // Once more with its members, where it was revoked without them before.
        if let Some(at) = row.revoked_at
            && !with_members
        {
            return Ok(format!("the invite {id} was revoked on {}", dated(at)));
        }
        let body = RevocationIn {
            network: self.setup.issuer.network(),
            of: Withdrawn::Voucher { id, with_members },
            revoked_at: now,
            reason: reason.to_owned(),
        };
        let bytes = revocation::make(self.setup.issuer.as_ref(), &body)?;
        let number = REVOCATIONS_FROM.saturating_add(row.number);
        let row = VoucherRow { revoked_at: Some(now), reason: reason.to_owned(), ..row };
        writes.push(self.vouchers.put(row)?);
        let key = format!("{REVOCATION_PREFIX}{number:020}");
        writes.push(Write::Setting { key, value: Some(bytes.clone()) });
        self.revocations.insert(number, bytes);
        let whose = if with_members { ", with whoever came in by it" } else { "" };
        Ok(format!("the invite {id} is revoked{whose}"))
    }
}
