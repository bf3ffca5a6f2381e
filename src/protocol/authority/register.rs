//! The register: which key has which name, by serial number.
//! Owns: the rows in memory and their two indexes.
//! Must not know: who asks, what is signed, what time it is.
//! Invariants: one peer has one name; one skeleton one peer; serial numbers have no gaps.
//! Start reading at: [`Register::put`].

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::voucher::VoucherUse;
use crate::identity::{Issuer, name};
use crate::ids::{PeerId, VoucherId};
use crate::limits::{CERTIFICATE_GRACE, REGISTER_MAX, REGISTER_PAGE_MAX, WAITING_MAX};
use crate::protocol::{CertificateRow, CertificateState, Reads, Write};
use crate::refusal::Refusal;
use crate::time::Wall;

/// A row, and what its certificate says about its end.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) row: CertificateRow,
    /// `Wall(0)` while there is no certificate.
    pub(super) not_after: Wall,
    /// The voucher it came by.
    pub(super) voucher: Option<VoucherUse>,
}

impl Registered {
    /// Whether a revocation of it still says something: nobody accepts it past the grace.
    fn is_in_force(&self, now: Wall) -> bool {
        !self.row.der.is_empty() && now <= self.not_after.after(CERTIFICATE_GRACE)
    }
}

#[derive(Debug, Default)]
pub(super) struct Register {
    rows: BTreeMap<u64, Registered>,
    /// The newest row of each peer.
    by_peer: BTreeMap<PeerId, u64>,
    /// The newest row of each name that is spoken for, by its skeleton and by its look.
    by_looks: BTreeMap<String, u64>,
    waiting: usize,
}

impl Register {
    pub(super) fn load(reads: &dyn Reads, issuer: &dyn Issuer) -> Result<Self, Refusal> {
        let mut register = Self::default();
        for row in reads.certificates() {
            register.put(row, issuer)?;
        }
        Ok(register)
    }

    /// Takes a row in, in place of the one with its number, and gives the write that stores it.
    pub(super) fn put(
        &mut self,
        row: CertificateRow,
        issuer: &dyn Issuer,
    ) -> Result<Write, Refusal> {
        let (not_after, voucher) = if row.der.is_empty() {
            (Wall(0), None)
        } else {
            let terms = issuer.terms(&row.der)?;
            (terms.not_after, terms.voucher)
        };
        let serial = row.serial;
        let is_waiting = row.state == CertificateState::Waiting;
        let was_waiting =
            self.get(serial).is_some_and(|old| old.row.state == CertificateState::Waiting);
        self.waiting = self.waiting.saturating_sub(usize::from(was_waiting));
        self.waiting = self.waiting.saturating_add(usize::from(is_waiting));
        newest(&mut self.by_peer, row.peer, serial);
        let was_turned_down = row.state == CertificateState::Revoked && row.der.is_empty();
        if was_turned_down {
            // Never certified, so nobody pinned the name: it is free again.
            self.by_looks.retain(|_, holder| *holder != serial);
        } else {
            newest(&mut self.by_looks, row.skeleton.clone(), serial);
            newest(&mut self.by_looks, name::look_of(&row.name), serial);
        }
        let write = Write::Certificate(row.clone());
        self.rows.insert(serial, Registered { row, not_after, voucher });
        Ok(write)
    }

    pub(super) fn get(&self, serial: u64) -> Option<&Registered> {
        self.rows.get(&serial)
    }

    /// The newest row of a peer.
    pub(super) fn of_peer(&self, peer: &PeerId) -> Option<&Registered> {
        self.by_peer.get(peer).and_then(|serial| self.rows.get(serial))
    }

    /// The newest row of whoever holds a name with this skeleton or look.
    pub(super) fn holder(&self, skeleton: &str) -> Option<&Registered> {
        self.by_looks.get(skeleton).and_then(|serial| self.rows.get(serial))
    }

    /// How many peers came by a voucher, one of them aside.
    pub(super) fn others_by(&self, voucher: VoucherId, aside: &PeerId) -> usize {
        let by = self.rows.values().filter(|it| it.voucher.is_some_and(|it| it.id == voucher));
        let peers: BTreeSet<&PeerId> = by.map(|it| &it.row.peer).collect();
        peers.into_iter().filter(|peer| *peer != aside).count()
    }

    /// All rows of a peer, by number.
    pub(super) fn all_of(&self, peer: &PeerId) -> impl Iterator<Item = &Registered> {
        self.rows.values().filter(move |registered| registered.row.peer == *peer)
    }

    /// The newest row of every peer, by number.
    pub(super) fn newest(&self) -> impl Iterator<Item = &CertificateRow> {
        let is_newest = |row: &CertificateRow| self.by_peer.get(&row.peer) == Some(&row.serial);
        self.rows.values().map(|registered| &registered.row).filter(move |row| is_newest(row))
    }

    /// Certificates revoked that some might still take for good, by number.
    pub(super) fn revoked(&self, now: Wall) -> impl Iterator<Item = &CertificateRow> {
        self.rows
            .values()
            .filter(move |registered| registered.is_in_force(now))
            .map(|registered| &registered.row)
            .filter(|row| row.state == CertificateState::Revoked)
    }

    /// A page of rows from a number on, and where the next starts.
    pub(super) fn page(&self, from: u64) -> (Vec<&CertificateRow>, Option<u64>) {
        let mut rows: Vec<_> = self
            .rows
            .range(from..)
            .take(REGISTER_PAGE_MAX.saturating_add(1))
            .map(|(_, registered)| &registered.row)
            .collect();
        let next = rows.get(REGISTER_PAGE_MAX).map(|row| row.serial);
        rows.truncate(REGISTER_PAGE_MAX);
        (rows, next)
    }

    /// Those who wait, by number, from one on, and where the next page starts.
    pub(super) fn waiting(&self, from: u64) -> (Vec<&CertificateRow>, Option<u64>) {
        let waiting = self.rows.range(from..).map(|(_, registered)| &registered.row);
        let mut waiting = waiting.filter(|row| row.state == CertificateState::Waiting);
        let rows = waiting.by_ref().take(REGISTER_PAGE_MAX).collect();
        (rows, waiting.next().map(|row| row.serial))
    }

    /// The number after the last.
    pub(super) fn next_serial(&self) -> u64 {
        self.rows.last_key_value().map_or(1, |(serial, _)| serial.saturating_add(1))
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= REGISTER_MAX
    }

    pub(super) fn is_waiting_room_full(&self) -> bool {
        self.waiting >= WAITING_MAX
    }
}

fn newest<K: Ord>(index: &mut BTreeMap<K, u64>, key: K, serial: u64) {
    let known = index.entry(key).or_insert(serial);
    *known = serial.max(*known);
}
