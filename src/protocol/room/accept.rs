//! Entries from others: accepted in order under a verified signature, or not at all.
//! Owns: the rules an entry must keep to follow the one before.
//! Must not know: whom the page came from; it may come from anyone.
//! Invariants: what is refused changes nothing.
//! Start reading at: [`Room::accept`].

use super::{LogHead, Room, batch_bytes};
use crate::identity::{Domain, Proofs};
use crate::ids::{DeviceKey, Seq, Signature};
use crate::limits::{BATCH_MAX, EXPIRY_SKEW, LAMPORT_JUMP_MAX};
use crate::protocol::{Reads, StoredEntry};
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::sealed::{Body, Header, Sealed};
use crate::wire::sync::Page;

/// What a page brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// New entries, in order, to be stored and shown.
    New(Vec<(StoredEntry, Sealed)>),
    /// Nothing that was not held before.
    Known,
    /// Entries before it are missing; ask from the head.
    Gap,
    /// What entries say was taken out before their end, by the clock of whoever sent them: somebody
    /// else may have it.
    Lacking,
    /// The author forked before the first entry of this page; the place is found from here on.
    Before(Seq),
    /// The author signed several entries at one place, and what is kept of them changed.
    Fork {
        /// The place.
        at: Seq,
        /// Whether it was not known that the log forks there.
        is_new: bool,
        /// All that is kept now, each branch up to its signature: replaces what was kept before.
        entries: Vec<StoredEntry>,
    },
}

/// A page of the longest texts holds more entries than these, so none is skipped on the way back.
const STEP_BACK: u64 = 4;

/// Entries of a page, each following the one before.
pub type Chain = Vec<(StoredEntry, Sealed)>;

/// Where to look for a fork that lies before this entry.
pub(super) fn before(seq: Seq) -> Accepted {
    Accepted::Before(Seq(seq.0.saturating_sub(STEP_BACK).max(1)))
}

/// What the verdict on entries without their ciphertext hangs on, and on those that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The time here.
    pub now: Wall,
    /// Whether nobody else who is linked holds more of the log.
    pub is_last_source: bool,
    /// Entries after this one were written a moment ago, and come from their author.
    pub fresh_after: Option<Seq>,
}

impl Lack {
    /// Nothing but the time.
    pub fn of(now: Wall) -> Self {
        Self { now, is_last_source: false, fresh_after: None }
    }
}

/// How an entry without its ciphertext is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bare {
    Fine,
    Early,
    Broken,
}

/// Why a page is refused; the sender is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub Refusal);

/// The signatures that are kept go to the entries they cover the end of.
fn sign(chain: &mut Chain, kept: &[(Seq, Signature)]) {
    for (entry, _) in chain {
        entry.signature =
            kept.iter().find(|(seq, _)| *seq == entry.seq).map(|(_, signature)| *signature);
    }
}

impl Room {
    /// Judges a page against what is held. `key` is the author's device key.
    ///
    /// # Refusals
    /// [`Refusal::EntryBroken`], [`Refusal::EntryFar`], [`Refusal::SignatureBad`], or what
    /// [`Sealed::decode`] refuses.
    pub fn accept(
        &mut self,
        page: &Page,
        key: &DeviceKey,
        lack: Lack,
        (reads, proofs): (&dyn Reads, &dyn Proofs),
    ) -> Result<Accepted, Broken> {
        let Some(chain) = self.chain(page, lack)? else {
            return Ok(Accepted::Lacking);
        };
        let head = self.head(&page.log);
        let Some((first, _)) = chain.first() else {
            return Err(Broken(Refusal::EntryBroken));
        };
        let Some((last, _)) = chain.last() else {
            return Err(Broken(Refusal::EntryBroken));
        };
        if !self.counts(first) {
            // Beyond the cut: nobody's.
            return Ok(Accepted::Known);
        }
        if head.forked_at.is_some() {
            return self.branch(page, &chain, (key, proofs), reads);
        }
        let start = first.seq;
        if start > head.seq.next() {
            return Ok(Accepted::Gap);
        }
        // Equal hashes at one place mean equal histories up to it, so one comparison is enough.
        let overlap = last.seq.min(head.seq);
        let held = match overlap {
            _ if overlap < start => None,
            _ if overlap == head.seq => Some(head.hash),
            _ => reads.entries(page.log, overlap, 1).first().map(|entry| entry.hash),
        };
        let theirs = chain.iter().find(|(entry, _)| entry.seq == overlap);
        if held.zip(theirs).is_some_and(|(ours, (theirs, _))| ours != theirs.hash) {
            return self.branch(page, &chain, (key, proofs), reads);
        }
        if last.seq <= head.seq {
            return Ok(Accepted::Known);
        }
        let fresh: Vec<_> = chain.into_iter().filter(|(entry, _)| entry.seq > head.seq).collect();
        if fresh.first().is_some_and(|(_, sealed)| sealed.header.previous != head.hash) {
            if head.seq == Seq(0) {
                return Err(Broken(Refusal::EntryBroken));
            }
            // It continues a history other than ours: the fork lies before this page.
            return Ok(before(start));
        }
        self.check_lamport(head, &fresh)?;
        let kept = self.verify_signatures(page, &fresh, key, proofs)?;
        let mut fresh = fresh;
        sign(&mut fresh, &kept);
        if let Some((entry, _)) = fresh.last() {
            let new = LogHead {
                seq: entry.seq,
                hash: entry.hash,
                lamport: entry.lamport,
                forked_at: None,
            };
            self.lamport = self.lamport.max(entry.lamport);
            self.logs.insert(page.log, new);
            self.revision = self.revision.saturating_add(1);
        }
        Ok(Accepted::New(fresh))
    }

    /// Judges a page that leaves a gap before it, to be shown, and kept beside the log: one unbroken
    /// chain, signed to its end. What does not count here, or not yet, is left.
    ///
    /// # Refusals
    /// As [`Room::accept`].
    pub fn glance(
        &self,
        page: &Page,
        key: &DeviceKey,
        lack: Lack,
        proofs: &dyn Proofs,
    ) -> Result<Chain, Broken> {
        let chain = self.chain(page, lack)?.unwrap_or_default();
        let far = self.lamport.saturating_add(LAMPORT_JUMP_MAX);
        let is_fine = |(last, _): &(StoredEntry, Sealed)| {
            self.is_open(&page.log) && self.counts(last) && last.lamport <= far
        };
        if !chain.last().is_some_and(is_fine) {
            return Ok(Vec::new());
        }
        let kept = self.verify_signatures(page, &chain, key, proofs)?;
        let mut chain = chain;
        sign(&mut chain, &kept);
        Ok(chain)
    }

    /// How an entry without its ciphertext is taken: it was taken out on the way because it has
    /// ended, or because the room has, or had, a rule that deletes.
    fn bare(&self, header: &Header, lack: Lack) -> Bare {
        let is_fresh = lack.fresh_after.is_some_and(|after| header.seq > after);
        match header.expires_at {
            _ if self.may_lack && !is_fresh => Bare::Fine,
            None => Bare::Broken,
            Some(at) if at <= lack.now.after(EXPIRY_SKEW) || lack.is_last_source => Bare::Fine,
            Some(_) => Bare::Early,
        }
    }

    /// Decodes a page and checks that it is one unbroken chain of one log of this network. What has
    /// ended loses its ciphertext. `None`: what some of them say was taken out too early.
    fn chain(&self, page: &Page, lack: Lack) -> Result<Option<Chain>, Broken> {
        let mut chain: Chain = Vec::with_capacity(page.envelopes.len());
        let mut is_early = false;
        for bytes in &page.envelopes {
            let mut sealed = Sealed::decode(bytes).map_err(Broken)?;
            let mut bytes = bytes.clone();
            let is_whole = match &sealed.body {
                Body::Ciphertext(_) => {
                    if sealed.header.expires_at.is_some_and(|at| at <= lack.now) {
                        sealed = sealed.deleted();
                        bytes = sealed.encode();
                    }
                    true
                }
                Body::Deleted(_) => {
                    let bare = self.bare(&sealed.header, lack);
                    is_early |= bare == Bare::Early;
                    bare != Bare::Broken
                }
            };
            let header = &sealed.header;
            let follows = chain.last().is_none_or(|(before, _)| {
                header.seq == before.seq.next()
                    && header.previous == before.hash
                    && header.lamport > before.lamport
            });
            if !follows || !is_whole || header.log != page.log || header.network != self.network {
                return Err(Broken(Refusal::EntryBroken));
            }
            let entry = StoredEntry {
                log: page.log,
                seq: header.seq,
                hash: sealed.hash(),
                lamport: header.lamport,
                signature: None,
                bytes,
            };
            chain.push((entry, sealed));
        }
        Ok((!is_early).then_some(chain))
    }

    fn check_lamport(&self, head: LogHead, fresh: &[(StoredEntry, Sealed)]) -> Result<(), Broken> {
        if fresh.first().is_some_and(|(entry, _)| entry.lamport <= head.lamport) {
            return Err(Broken(Refusal::EntryBroken));
        }
        let far = self.lamport.saturating_add(LAMPORT_JUMP_MAX);
        if fresh.last().is_some_and(|(entry, _)| entry.lamport > far) {
            return Err(Broken(Refusal::EntryFar));
        }
        Ok(())
    }

    /// Verifies the signature that covers the end and those worth keeping for shorter pages: one
    /// every [`BATCH_MAX`] entries.
    pub(super) fn verify_signatures(
        &self,
        page: &Page,
        chain: &[(StoredEntry, Sealed)],
        key: &DeviceKey,
        proofs: &dyn Proofs,
    ) -> Result<Vec<(Seq, Signature)>, Broken> {
        let last = chain.last().map(|(entry, _)| entry.seq).unwrap_or_default();
        let batch = u64::try_from(BATCH_MAX).unwrap_or(u64::MAX);
        let mut kept: Vec<(Seq, Signature)> = Vec::new();
        let mut since = chain.first().map_or(0, |(entry, _)| entry.seq.0);
        for (seq, signature) in &page.signatures {
            let Some((entry, _)) = chain.iter().find(|(entry, _)| entry.seq == *seq) else {
                continue;
            };
            if *seq != last && seq.0.saturating_sub(since) < batch {
                continue;
            }
            let signed = batch_bytes(self.network, &page.log, *seq, &entry.hash);
            if !proofs.verify(key, Domain::Batch, &signed, signature) {
                return Err(Broken(Refusal::SignatureBad));
            }
            since = seq.0;
            kept.push((*seq, *signature));
        }
        match kept.last() {
            Some((seq, _)) if *seq == last => Ok(kept),
            _ => Err(Broken(Refusal::SignatureBad)),
        }
    }
}
