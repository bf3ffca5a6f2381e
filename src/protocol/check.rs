//! Whether a member's store proves what it shows: every chain, hash and signature looked at anew.
//! Owns: what a sound store is, and how a fault is named.
//! Must not know: what entries say, how they came here, what to do about a fault.
//! Invariants: nothing is believed because it is stored; it takes one page of a log at a time.
//! Start reading at: [`check`].

use std::fmt::Write as _;

use super::control::Chain as Signed;
use super::ledger::witness_of;
use super::roster::{Member, Roster};
use super::{Reads, StoredEntry, room};
use crate::identity::genesis::Genesis;
use crate::identity::{Domain, Proofs};
use crate::ids::{DeviceKey, Hash, Index, LogId, NetworkId, Seq};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::refusal::Refusal;
use crate::time::Wall;
use crate::wire::control::{Ballot, Entry, Payload, VoterSet};
use crate::wire::sealed::{Header, Sealed};

/// The space of a member's control log.
const SPACE: &str = "main";
/// Control entries read at once.
const CONTROL_PAGE: usize = 64;
/// Faults named; the rest is counted.
const NAMED_MAX: usize = 100;

/// What the hands found that no core can read: the shape of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Every author log with the highest seq stored.
    pub logs: Vec<(LogId, Seq)>,
    /// Entries that belong to no log.
    pub strays: u64,
    /// The highest control index stored.
    pub control_last: Index,
    /// What the database says is damaged.
    pub damage: Vec<String>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries looked at.
    pub entries: u64,
    /// Author logs.
    pub logs: u64,
    /// Signatures over entries that hold.
    pub batches: u64,
    /// Logs that fork; each branch proves it.
    pub forks: u64,
    /// Control entries.
    pub control: u64,
    /// How many of them are committed.
    pub committed: u64,
    /// Committed entries that took no effect, for a reason that no fault of the store explains.
    pub void: u64,
    /// Who belongs by the committed log.
    pub members: u64,
    /// What is wrong, the first of it.
    pub faults: Vec<Fault>,
    /// How much is wrong.
    pub fault_count: u64,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `control log`, `log of bob (3f…)`, `database`.
    pub place: String,
    /// What.
    pub what: String,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, place: &str, what: impl Into<String>) {
        self.fault_count = self.fault_count.saturating_add(1);
        if self.faults.len() < NAMED_MAX {
            self.faults.push(Fault { place: place.to_owned(), what: what.into() });
        }
    }
}

/// Checks all that a member has stored; `told` hears how many entries of logs were looked at.
pub fn check(
    survey: &Survey,
    reads: &dyn Reads,
    proofs: &dyn Proofs,
    told: &mut dyn FnMut(u64),
) -> Report {
    let mut report = Report::default();
    for what in &survey.damage {
        report.fault("database", what.clone());
    }
    if survey.strays > 0 {
        report.fault("database", format!("{} entries belong to no log", survey.strays));
    }
    let genesis = reads.setting("network/genesis").map(|bytes| Genesis::verify(&bytes, proofs));
    let roster = match genesis {
        Some(Ok(genesis)) => Some(control(&genesis, survey, reads, proofs, &mut report)),
        Some(Err(refusal)) => {
            report.fault("genesis", refusal.why());
            None
        }
        // A member that was never in holds nothing.
        None if survey.logs.is_empty() && survey.control_last == Index(0) => None,
        None => {
            report.fault("genesis", "is missing");
            None
        }
    };
    if let Some(roster) = roster {
        report.members = count(roster.members().filter(|member| member.is_in()).count());
        for (log, last) in &survey.logs {
            Chain::new(*log, &roster, proofs, &mut report).check(*last, reads, told);
        }
    }
    report
}

/// Follows the control log and gives the roster that its committed part leads to.
fn control(
    genesis: &Genesis,
    survey: &Survey,
    reads: &dyn Reads,
    proofs: &dyn Proofs,
    report: &mut Report,
) -> Roster {
    const PLACE: &str = "control log";
    let mut roster = Roster::founded(genesis.authority.clone(), &genesis.founder);
    let stored = reads.setting(&format!("control/{SPACE}/commit"));
    let commit = stored.and_then(|bytes| bytes.as_ref().try_into().ok()).map(u64::from_be_bytes);
    let commit = Index(commit.unwrap_or_default());
    let mut voters = VoterSet::new(witness_of(genesis)).unwrap_or_default();
    let mut signed = Some(Signed::new(genesis.network, voters.clone()));
    let (mut last, mut ballot, mut stamp) = (Index(0), Ballot::ZERO, Wall(0));
    loop {
        let page = reads.control(SPACE, last.next(), CONTROL_PAGE);
        for bytes in &page {
            let index = last.next();
            last = index;
            report.control = report.control.saturating_add(1);
            let entry = match Entry::decode(bytes) {
                Ok(entry) => entry,
                Err(refusal) => {
                    report.fault(PLACE, format!("entry {index}: {}", refusal.why()));
                    signed = None;
                    continue;
                }
            };
            if entry.index != index {
                report
                    .fault(PLACE, format!("entry {index} says that it is number {}", entry.index));
            }
            if entry.ballot < ballot || entry.stamp < stamp {
                report.fault(PLACE, format!("entry {index} is older than the one before it"));
            }
            (ballot, stamp) = (ballot.max(entry.ballot), stamp.max(entry.stamp));
            if let Payload::Voters(set) = &entry.payload {
                if voters.distance(set) > 1 {
                    report.fault(PLACE, format!("entry {index} changes several voters at once"));
                }
                voters = set.clone();
            }
            // Each vouches for all before it: behind the first fault nothing can be said.
            if let Some(chain) = &mut signed
                && let Err(refusal) = chain.follow(&entry, proofs)
            {
                report.fault(PLACE, format!("entry {index}: {}", refusal.why()));
                signed = None;
            }
            if index <= commit {
                report.committed = report.committed.saturating_add(1);
                apply(&mut roster, &entry, index, proofs, report);
            }
        }
        if page.is_empty() {
            break;
        }
    }
    if last < survey.control_last {
        let what = format!("entry {} is missing; there are later ones", last.next());
        report.fault(PLACE, what);
    }
    if last < commit {
        report.fault(PLACE, format!("{commit} entries are committed, {last} are there"));
    }
    roster
}

fn apply(
    roster: &mut Roster,
    entry: &Entry,
    index: Index,
    proofs: &dyn Proofs,
    report: &mut Report,
) {
    let intent = match &entry.payload {
        Payload::Intent { bytes, .. } => Some(bytes),
        Payload::Empty | Payload::Voters(_) => None,
    };
    if let Err(refused) = roster.apply(index, entry.stamp, intent, proofs) {
        // No leader orders what nobody signed: it was changed here.
        match refused.refusal {
            Refusal::SignatureBad
            | Refusal::FrameBad
            | Refusal::FieldBad
            | Refusal::FrameTooLong
            | Refusal::CertificateBad
            | Refusal::CertificateForeign
            | Refusal::CertificateOfOther
            | Refusal::NetworkOther => {
                report.fault("control log", format!("entry {index}: {refused}"));
            }
            _ => report.void = report.void.saturating_add(1),
        }
    }
}

/// What a stored entry says of itself.
struct Outline {
    network: NetworkId,
    log: LogId,
    seq: Seq,
    previous: Hash,
    lamport: u64,
    hash: Hash,
}

/// The one place that knows how an entry is laid out. No key is needed: what is hashed and signed
/// is the header and the ciphertext.
fn outline(entry: &StoredEntry) -> Result<Outline, Refusal> {
    let it = Sealed::decode(&entry.bytes)?;
    let hash = it.hash();
    let Header { network, log, seq, previous, lamport, .. } = it.header;
    Ok(Outline { network, log, seq, previous, lamport, hash })
}

/// One author log being checked.
struct Chain<'a> {
    log: LogId,
    place: String,
    network: NetworkId,
    keys: Vec<DeviceKey>,
    proofs: &'a dyn Proofs,
    report: &'a mut Report,
    /// The entry before: its place, hash and Lamport time; no hash after a gap.
    seq: Seq,
    hash: Option<Hash>,
    lamport: u64,
    signed: Seq,
}

impl<'a> Chain<'a> {
    fn new(log: LogId, roster: &Roster, proofs: &'a dyn Proofs, report: &'a mut Report) -> Self {
        let author = roster.member(&log.author);
        let mut place = format!("log of {}", roster.name_of(&log.author));
        // Writing into a String cannot fail.
        let _ = write!(place, " ({})", log.incarnation);
        report.logs = report.logs.saturating_add(1);
        Self {
            log,
            place,
            network: roster.authority().network,
            keys: author.map(|author| keys_of(author, &log)).unwrap_or_default(),
            proofs,
            report,
            seq: Seq(0),
            hash: Some(Hash::ZERO),
            lamport: 0,
            signed: Seq(0),
        }
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.report.fault(&self.place, what);
    }

    fn check(mut self, last: Seq, reads: &dyn Reads, told: &mut dyn FnMut(u64)) {
        if self.keys.is_empty() {
            self.fault("its author is not in the roster");
        }
        loop {
            let page = reads.entries(self.log, self.seq.next(), PAGE_ENTRIES_MAX);
            if page.is_empty() {
                break;
            }
            for entry in &page {
                self.entry(entry);
            }
            told(self.report.entries);
        }
        if self.seq < last {
            let what = format!("entries {} to {last} are missing", self.seq.next());
            self.fault(what);
        }
        if self.signed < self.seq {
            let what = match self.signed.next() {
                only if only == self.seq => format!("entry {only} is not signed"),
                first => format!("entries {first} to {} are not signed", self.seq),
            };
            self.fault(what);
        }
        let head = reads.heads(self.log.room).into_iter().find(|head| head.log == self.log);
        if head.is_some_and(|head| head.seq == self.seq && Some(head.hash) != self.hash) {
            self.fault("its head is another than its last entry");
        }
        self.branches(reads);
    }

    fn entry(&mut self, entry: &StoredEntry) {
        self.report.entries = self.report.entries.saturating_add(1);
        if entry.seq > self.seq.next() {
            let (first, end) = (self.seq.next(), entry.seq.before());
            self.fault(if first == end {
                format!("entry {first} is missing")
            } else {
                format!("entries {first} to {end} are missing")
            });
            self.hash = None;
        }
        let at = entry.seq;
        match outline(entry) {
            Err(refusal) => self.fault(format!("entry {at}: {}", refusal.why())),
            Ok(it) => {
                if it.hash != entry.hash {
                    self.fault(format!("entry {at} has another hash than the one stored"));
                }
                if it.log != self.log || it.seq != at || it.network != self.network {
                    self.fault(format!("entry {at} was written for another place"));
                }
                if self.hash.is_some_and(|hash| hash != it.previous) {
                    self.fault(format!("entry {at} does not follow the one before it"));
                }
                if it.lamport != entry.lamport || it.lamport <= self.lamport {
                    self.fault(format!("entry {at} has a wrong Lamport time"));
                }
                self.lamport = it.lamport;
            }
        }
        if entry.signature.is_some() {
            // What is signed is the hash: a broken chain before it was named above.
            if self.is_signed(entry) {
                self.report.batches = self.report.batches.saturating_add(1);
            } else {
                self.fault(format!("entry {at} has a wrong signature"));
            }
            self.signed = at;
        }
        (self.seq, self.hash) = (at, Some(entry.hash));
    }

    fn is_signed(&self, entry: &StoredEntry) -> bool {
        let signed = room::batch_bytes(self.network, &self.log, entry.seq, &entry.hash);
        entry.signature.is_some_and(|signature| {
            let holds = |key| self.proofs.verify(key, Domain::Batch, &signed, &signature);
            self.keys.iter().any(holds)
        })
    }

    /// What is kept of a fork proves it: each branch is whole up to its signature.
    fn branches(&mut self, reads: &dyn Reads) {
        let branches = room::branches(self.log, reads);
        if !branches.is_empty() {
            self.report.forks = self.report.forks.saturating_add(1);
        }
        for branch in branches {
            let Some(root) = branch.first() else { continue };
            let is_whole = branch.iter().all(|entry| {
                outline(entry).is_ok_and(|it| {
                    it.hash == entry.hash
                        && it.log == self.log
                        && it.seq == entry.seq
                        && it.network == self.network
                })
            });
            if !is_whole || !branch.last().is_some_and(|end| self.is_signed(end)) {
                let what = format!("a branch kept of its fork at {} proves nothing", root.seq);
                self.fault(what);
            }
        }
    }
}

/// The keys under which a log may be signed: that of its life, or, of a log that was opened anew,
/// any of its author's.
fn keys_of(author: &Member, log: &LogId) -> Vec<DeviceKey> {
    match author.key_of(log.incarnation) {
        Some(key) => vec![key],
        None => author.devices.iter().rev().map(|(_, key)| *key).collect(),
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
