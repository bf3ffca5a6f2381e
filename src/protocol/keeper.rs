//! A keeper: what others leave with it, for how long, and how much of it.
//! Owns: quota, shares and expiry of deposits; which shelves linked members ask for.
//! Must not know: rooms, keys, what a deposit holds; who is in which room.
//! Invariants: never more than the quota is stored, nor more than its share by one depositor; what
//! goes is what came first; nothing is taken but from a member that belongs, under its signature;
//! what is said to be kept is on the disk.
//! Start reading at: [`Keeper::take`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::roster::Roster;
use super::{DepositRow, KeepView, Reads, StoredDeposit, Write};
use crate::identity::{Domain, Proofs};
use crate::ids::{NetworkId, PeerId, ShelfId};
use crate::limits::{
    COLLECTED_BYTES_MAX, COLLECTED_MAX, DEPOSIT_PADDED_BYTES, DEPOSIT_ROW_BYTES, KEEP_SHARES,
    SHELVES_TOLD_MAX,
};
use crate::refusal::Refusal;
use crate::terms::KeeperRule;
use crate::time::Wall;
use crate::wire::keep::{Deposit, Keep, Shelved, deposit_body};

/// Rows looked at in one turn for what must go. More than the smallest deposits that make room for
/// the largest one.
const ROWS: usize = 512;
/// Deposits read at once for who collects them.
const READ: usize = 4;
const _: () = assert!(ROWS * (DEPOSIT_PADDED_BYTES[0] + 512) > DEPOSIT_PADDED_BYTES[5] + 540);
const _: () = assert!(DEPOSIT_ROW_BYTES == 512);

/// Who asks and where: what a verdict hangs on.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The network and ourselves.
    pub place: (NetworkId, PeerId),
    /// Who belongs.
    pub roster: &'a Roster,
    /// For the signature.
    pub proofs: &'a dyn Proofs,
    /// What is stored.
    pub reads: &'a dyn Reads,
    /// By the clock here.
    pub now: Wall,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What is to be written, and what is said once that is on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// First.
    pub writes: Vec<Write>,
    /// Then, synced.
    pub says: Vec<(PeerId, Keep)>,
}

/// What one depositor has here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    count: u64,
    bytes: u64,
}

/// The keeper's books; the deposits themselves are on the disk.
#[derive(Clone, Debug)]
pub struct Keeper {
    rule: KeeperRule,
    last: u64,
    shares: BTreeMap<PeerId, Share>,
    /// When the oldest came, if it was looked up since something went.
    oldest: Option<Wall>,
    /// Which shelves linked members asked for, and whether they were told all that lies there.
    asked: BTreeMap<PeerId, BTreeMap<ShelfId, bool>>,
    /// What goes was chosen in this turn, and what is stored does not show it yet.
    has_chosen: bool,
}

/// What a deposit counts.
const fn counted(bytes: u64) -> u64 {
    bytes.saturating_add(DEPOSIT_ROW_BYTES)
}

impl Keeper {
    /// The books, from what is stored.
    pub fn load(rule: KeeperRule, reads: &dyn Reads) -> Self {
        let share = |(peer, count, bytes): (PeerId, u64, u64)| {
            let rows = count.saturating_mul(DEPOSIT_ROW_BYTES);
            (peer, Share { count, bytes: bytes.saturating_add(rows) })
        };
        Self {
            rule,
            last: reads.last_deposit(),
            shares: reads.depositors().into_iter().map(share).collect(),
            oldest: None,
            asked: BTreeMap::new(),
            has_chosen: false,
        }
    }

    /// How much is kept.
    pub fn view(&self) -> KeepView {
        let deposits = self.shares.values().map(|share| share.count).sum();
        KeepView { deposits, bytes: self.bytes(), quota: self.rule.quota }
    }

    fn bytes(&self) -> u64 {
        self.shares.values().map(|share| share.bytes).sum()
    }

    /// A link is gone.
    pub fn on_unlink(&mut self, peer: &PeerId) {
        self.asked.remove(peer);
    }

    /// Somebody leaves something here.
    ///
    /// # Refusals
    /// [`Refusal::Removed`] or [`Refusal::NotAMember`] for who does not belong,
    /// [`Refusal::SignatureBad`].
    pub fn take(
        &mut self,
        from: PeerId,
        deposit: Deposit,
        scene: &Scene<'_>,
    ) -> Result<Outcome, Refusal> {
        let member = scene.roster.member(&from).ok_or(Refusal::NotAMember)?;
        if !member.is_in() {
            return Err(Refusal::Removed);
        }
        let hash = deposit.hash();
        let (network, me) = scene.place;
        let body = deposit_body(network, &me, &hash);
        let signed = |key| scene.proofs.verify(key, Domain::Deposit, &body, &deposit.signature);
        if !member.devices.iter().rev().any(|(_, key)| signed(key)) {
            return Err(Refusal::SignatureBad);
        }
        let mut outcome = Outcome::default();
        let mut answer = |is_kept: bool, at: Wall| {
            let until = at.after(self.rule.age);
            outcome.says.push((from, Keep::Deposited { hash, is_kept, until }));
        };
        if let Some(at) = scene.reads.deposited_at(hash) {
            // It came before, and its answer was lost.
            answer(true, at);
            return Ok(outcome);
        }
        let size = counted(u64::try_from(deposit.sealed.len()).unwrap_or(u64::MAX));
        let Some(gone) = self.room_for(size, from, scene.reads) else {
            answer(false, scene.now);
            return Ok(outcome);
        };
        answer(true, scene.now);
        self.has_chosen = true;
        outcome.writes.extend(self.withdraw(&gone));
        self.last = self.last.saturating_add(1);
        let share = self.shares.entry(from).or_default();
        share.count = share.count.saturating_add(1);
        share.bytes = share.bytes.saturating_add(size);
        self.tell(from, &deposit, &mut outcome);
        outcome.writes.push(Write::Deposit(StoredDeposit {
            number: self.last,
            shelf: deposit.shelf,
            by: from,
            hash,
            at: scene.now,
            sealed: deposit.sealed,
        }));
        Ok(outcome)
    }

    /// What must go so that this fits: of its depositor's first, then of all; `None`: it never does.
    fn room_for(&self, size: u64, by: PeerId, reads: &dyn Reads) -> Option<Vec<DepositRow>> {
        let share = self.rule.quota / KEEP_SHARES;
        let theirs = self.shares.get(&by).map_or(0, |share| share.bytes);
        let mut gone = Vec::new();
        free(theirs.saturating_add(size).checked_sub(share), &mut gone, || {
            reads.oldest_deposits(Some(by), ROWS)
        })?;
        let freed: u64 = gone.iter().map(|row: &DepositRow| counted(row.bytes)).sum();
        let all = self.bytes().saturating_sub(freed).saturating_add(size);
        free(all.checked_sub(self.rule.quota), &mut gone, || reads.oldest_deposits(None, ROWS))?;
        Some(gone)
    }

    /// Members that asked for this shelf, and were told all that lay there, are told of it.
    fn tell(&self, from: PeerId, deposit: &Deposit, outcome: &mut Outcome) {
        let waits = |asked: &BTreeMap<ShelfId, bool>| asked.get(&deposit.shelf) == Some(&true);
        let waiting = self.asked.iter().filter(|(peer, asked)| **peer != from && waits(asked));
        for (peer, _) in waiting {
            let shelved = Shelved {
                shelf: deposit.shelf,
                sealed: vec![deposit.sealed.clone()],
                upto: self.last,
                has_more: false,
            };
            let news = Keep::Collected { shelves: vec![shelved], is_answer: false };
            outcome.says.push((*peer, news));
        }
    }

    fn withdraw(&mut self, gone: &[DepositRow]) -> Option<Write> {
        for row in gone {
            let Some(share) = self.shares.get_mut(&row.by) else { continue };
            share.count = share.count.saturating_sub(1);
            share.bytes = share.bytes.saturating_sub(counted(row.bytes));
            if share.count == 0 {
                self.shares.remove(&row.by);
            }
        }
        self.oldest = None;
        (!gone.is_empty()).then(|| Write::Withdraw(gone.iter().map(|row| row.number).collect()))
    }

    /// Somebody asks for what lies on shelves. Who knows a shelf's name was in the room.
    pub fn collect(&mut self, from: PeerId, shelves: &[(ShelfId, u64)], scene: &Scene<'_>) -> Keep {
        let mut given = Vec::new();
        let (mut bytes, mut count, mut is_full) = (0_usize, 0_usize, false);
        for (shelf, after) in shelves {
            let mut shelved =
                Shelved { shelf: *shelf, sealed: Vec::new(), upto: *after, has_more: is_full };
            while !is_full {
                let found = scene.reads.deposits(*shelf, shelved.upto, READ);
                let is_last = found.len() < READ;
                for (number, sealed) in found {
                    bytes = bytes.saturating_add(sealed.len());
                    is_full = count > 0 && (bytes > COLLECTED_BYTES_MAX || count >= COLLECTED_MAX);
                    if is_full {
                        shelved.has_more = true;
                        break;
                    }
                    count = count.saturating_add(1);
                    shelved.upto = number;
                    shelved.sealed.push(sealed);
                }
                if is_last {
                    break;
                }
            }
            self.note_asked(from, *shelf, !shelved.has_more);
            if shelved.has_more || !shelved.sealed.is_empty() {
                given.push(shelved);
            }
        }
        Keep::Collected { shelves: given, is_answer: true }
    }

    fn note_asked(&mut self, from: PeerId, shelf: ShelfId, has_all: bool) {
        let asked = self.asked.entry(from).or_default();
        if asked.len() < SHELVES_TOLD_MAX || asked.contains_key(&shelf) {
            asked.insert(shelf, has_all);
        }
    }

    /// What is due to go: of those who were removed, what is too old, and what no longer fits a
    /// quota that was made smaller. And when to look again; the clock may jump, so it is wall time.
    pub fn tidy(&mut self, scene: &Scene<'_>) -> (Option<Write>, Option<Wall>) {
        if std::mem::take(&mut self.has_chosen) {
            return (None, Some(scene.now));
        }
        let gone = self.overdue(scene);
        if !gone.is_empty() {
            return (self.withdraw(&gone), Some(scene.now));
        }
        if self.shares.is_empty() {
            return (None, None);
        }
        if let Some(oldest) = self.oldest.filter(|it| it.after(self.rule.age) > scene.now) {
            return (None, Some(oldest.after(self.rule.age)));
        }
        let rows = scene.reads.oldest_deposits(None, ROWS);
        let (gone, stays): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.at.after(self.rule.age) <= scene.now);
        let write = self.withdraw(&gone);
        self.oldest = stays.first().map(|row| row.at);
        let next = self.oldest.map_or(scene.now, |oldest| oldest.after(self.rule.age));
        (write, Some(next))
    }
}

impl Keeper {
    /// What goes whatever its age, as much of it as one turn reaches.
    fn overdue(&self, scene: &Scene<'_>) -> Vec<DepositRow> {
        let share = self.rule.quota / KEEP_SHARES;
        let is_out =
            |peer: &PeerId| scene.roster.member(peer).is_some_and(|member| !member.is_in());
        if let Some(peer) = self.shares.keys().find(|peer| is_out(peer)) {
            return scene.reads.oldest_deposits(Some(*peer), ROWS);
        }
        let mut gone = Vec::new();
        let large = self.shares.iter().find(|(_, it)| it.bytes > share);
        let (by, excess) = match large {
            Some((peer, it)) => (Some(*peer), it.bytes.checked_sub(share)),
            None => (None, self.bytes().checked_sub(self.rule.quota)),
        };
        // If that is not enough, the next turn goes on.
        let _ = free(excess, &mut gone, || scene.reads.oldest_deposits(by, ROWS));
        gone
    }
}

/// Adds what came first to what goes, until so many bytes are free; `None`: that is not enough.
fn free(
    excess: Option<u64>,
    gone: &mut Vec<DepositRow>,
    oldest: impl FnOnce() -> Vec<DepositRow>,
) -> Option<()> {
    let Some(excess) = excess.filter(|excess| *excess > 0) else {
        return Some(());
    };
    let known: Vec<u64> = gone.iter().map(|row| row.number).collect();
    let mut freed: u64 = 0;
    for row in oldest().into_iter().filter(|row| !known.contains(&row.number)) {
        if freed >= excess {
            break;
        }
        freed = freed.saturating_add(counted(row.bytes));
        gone.push(row);
    }
    (freed >= excess).then_some(())
}
