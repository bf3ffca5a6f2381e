//! A disk in memory: what the store promises to the cores, and how it fails.
//! Owns: the rows, what a crash takes back and what a power loss takes back.
//! Must not know: why anything is written.
//! Invariants: answers as the store's; a transaction is there whole or not at all.
//! Start reading at: [`Disk`].

use std::cell::Cell;
use std::collections::btree_map::{BTreeMap, Entry};

use bytes::Bytes;
use p2pgroup::ids::{Hash, Index, LogId, PeerId, RoomId, Seq, ShelfId};
use p2pgroup::protocol::{
    CertificateRow, DepositRow, Hits, Reads, Shown, StoredDeposit, StoredEntry, StoredHead, Words,
    Write,
};
use p2pgroup::time::Wall;

/// How to take back one write.
#[derive(Clone)]
enum Undo {
    Setting(String, Option<Bytes>),
    Control(String, Index, Option<Bytes>),
    Entry(LogId, Seq, Option<StoredEntry>),
    Held(LogId, PeerId, Option<Seq>),
    Fork(LogId, Option<Vec<StoredEntry>>),
    Pending(LogId, Option<BTreeMap<u64, StoredEntry>>),
    Certificate(u64, Option<CertificateRow>),
    Expiry((LogId, Seq), Option<Wall>),
    /// The number, what stood there, and the highest number before.
    Deposit(u64, Option<StoredDeposit>, u64),
}

/// What an index of words knows; what was handed to it is not taken back.
#[derive(Clone, Default)]
pub struct Texts {
    /// By Lamport time and number.
    rows: BTreeMap<u64, (LogId, Seq, String)>,
    upto: BTreeMap<LogId, Seq>,
}

/// Rows of it that are looked at for one page.
const ROWS: usize = 100;

/// A database.
#[derive(Clone, Default)]
pub struct Disk {
    settings: BTreeMap<String, Bytes>,
    control: BTreeMap<(String, u64), Bytes>,
    entries: BTreeMap<LogId, BTreeMap<u64, StoredEntry>>,
    held: BTreeMap<(LogId, PeerId), Seq>,
    forks: BTreeMap<LogId, Vec<StoredEntry>>,
    pending: BTreeMap<LogId, BTreeMap<u64, StoredEntry>>,
    certificates: BTreeMap<u64, CertificateRow>,
    expiries: BTreeMap<(LogId, Seq), Wall>,
    deposits: BTreeMap<u64, StoredDeposit>,
    last_deposit: u64,
    /// If an index is kept.
    pub texts: Option<Texts>,
    /// How many entries were read, ever.
    pub read: Cell<usize>,
    /// A mistake: nothing is erased.
    pub is_lax: bool,
    /// A mistake: what is left here is not kept.
    pub forgets_deposits: bool,
    /// The running transaction.
    open: Vec<Undo>,
    /// Committed but not synced: gone with the power.
    soft: Vec<Undo>,
}

impl Disk {
    /// Makes one change within the running transaction.
    pub fn apply(&mut self, write: Write) {
        match write {
            Write::Setting { key, value } => {
                let before = match value {
                    Some(value) => self.settings.insert(key.clone(), value),
                    None => self.settings.remove(&key),
                };
                self.open.push(Undo::Setting(key, before));
            }
            Write::Control { space, index, bytes } => {
                let before = self.control.insert((space.clone(), index.0), bytes);
                self.open.push(Undo::Control(space, index, before));
            }
            Write::ControlCut { space, from } => {
                let gone: Vec<u64> = self
                    .control
                    .range((space.clone(), from.0)..)
                    .take_while(|((of, _), _)| *of == space)
                    .map(|((_, index), _)| *index)
                    .collect();
                for index in gone {
                    let before = self.control.remove(&(space.clone(), index));
                    self.open.push(Undo::Control(space.clone(), Index(index), before));
                }
            }
            Write::Entry(entry) | Write::Received(entry) => self.entry(entry),
            Write::Held { log, by, upto } => {
                let before = self.held.get(&(log, by)).copied();
                if before.is_none_or(|seq| seq < upto) {
                    self.held.insert((log, by), upto);
                    self.open.push(Undo::Held(log, by, before));
                }
            }
            Write::Fork(kept) => {
                if let Some(log) = kept.first().map(|it| it.log) {
                    let before = self.forks.insert(log, kept);
                    self.open.push(Undo::Fork(log, before));
                }
            }
            Write::Pending(entry) => {
                let log = entry.log;
                self.open.push(Undo::Pending(log, self.pending.get(&log).cloned()));
                self.pending.entry(log).or_default().insert(entry.seq.0, entry);
            }
            Write::PendingGone(log) => {
                let before = self.pending.remove(&log);
                self.open.push(Undo::Pending(log, before));
            }
            Write::Opened { .. } => {}
            Write::Erase(_) if self.is_lax => {}
            Write::Erase(erased) => self.erase(erased),
            Write::Words { log, seq, lamport, words, is_late } => {
                let Some(texts) = &mut self.texts else { return };
                let number = (lamport << 20) + texts.rows.len() as u64;
                texts.rows.insert(number, (log, seq, words));
                if !is_late {
                    texts.upto.insert(log, seq);
                }
            }
            Write::Expires { log, seq, at } => {
                // The first day noted stays, also of an entry that comes with it.
                if let Entry::Vacant(slot) = self.expiries.entry((log, seq)) {
                    slot.insert(at);
                    self.open.push(Undo::Expiry((log, seq), None));
                }
            }
            Write::Deposit(_) if self.forgets_deposits => {}
            Write::Deposit(row) => {
                let (number, last) = (row.number, self.last_deposit);
                self.last_deposit = last.max(number);
                let before = self.deposits.insert(number, row);
                self.open.push(Undo::Deposit(number, before, last));
            }
            Write::Withdraw(numbers) => {
                for number in numbers {
                    let before = self.deposits.remove(&number);
                    self.open.push(Undo::Deposit(number, before, self.last_deposit));
                }
            }
            Write::Certificate(row) => {
                let serial = row.serial;
                let before = self.certificates.insert(serial, row);
                self.open.push(Undo::Certificate(serial, before));
            }
        }
    }

    fn erase(&mut self, erased: Vec<StoredEntry>) {
        for entry in erased {
            let (id, seq) = (entry.log, entry.seq);
            let ahead = self.pending.get_mut(&id);
            let before = ahead.as_deref().cloned();
            let ahead = ahead.and_then(|it| it.get_mut(&seq.0));
            if let Some(ahead) = ahead.filter(|it| it.hash == entry.hash) {
                *ahead = entry.clone();
                self.open.push(Undo::Pending(id, before));
            }
            let ended = self.expiries.remove(&(id, seq));
            self.open.push(Undo::Expiry((id, seq), ended));
            let held = self.entries.get_mut(&id).and_then(|log| log.get_mut(&seq.0));
            if let Some(held) = held.filter(|held| held.hash == entry.hash) {
                let before = std::mem::replace(held, entry);
                self.open.push(Undo::Entry(id, seq, Some(before)));
            }
        }
    }

    /// The first entry at a place stays; a signature may come later.
    fn entry(&mut self, entry: StoredEntry) {
        let log = self.entries.entry(entry.log).or_default();
        let (id, seq) = (entry.log, entry.seq);
        let before = log.get(&seq.0).cloned();
        match &before {
            None => {
                log.insert(seq.0, entry);
            }
            Some(held) if held.hash == entry.hash && held.signature.is_none() => {
                log.insert(seq.0, entry);
            }
            Some(_) => return,
        }
        self.open.push(Undo::Entry(id, seq, before));
    }

    /// Whether something waits to be committed.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The transaction is on disk, and with a sync everything before it too.
    pub fn commit(&mut self, is_synced: bool) {
        let open = std::mem::take(&mut self.open);
        if is_synced {
            self.soft.clear();
        } else {
            self.soft.extend(open);
        }
    }

    /// The process ends before the commit.
    pub fn roll_back(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.take_back(open);
    }

    /// The power is gone: what was not synced is lost.
    pub fn lose_power(&mut self) {
        self.roll_back();
        let soft = std::mem::take(&mut self.soft);
        self.take_back(soft);
    }

    fn take_back(&mut self, undos: Vec<Undo>) {
        for undo in undos.into_iter().rev() {
            match undo {
                Undo::Setting(key, before) => put(&mut self.settings, key, before),
                Undo::Control(space, index, before) => {
                    put(&mut self.control, (space, index.0), before);
                }
                Undo::Entry(log, seq, before) => {
                    put(self.entries.entry(log).or_default(), seq.0, before);
                }
                Undo::Held(log, by, before) => put(&mut self.held, (log, by), before),
                Undo::Pending(log, before) => put(&mut self.pending, log, before),
                Undo::Fork(log, before) => put(&mut self.forks, log, before),
                Undo::Certificate(serial, before) => put(&mut self.certificates, serial, before),
                Undo::Expiry(place, before) => put(&mut self.expiries, place, before),
                Undo::Deposit(number, before, last) => {
                    put(&mut self.deposits, number, before);
                    self.last_deposit = last;
                }
            }
        }
    }

    /// What was said is that of an older copy; the control log and its promise are not.
    pub fn restore_talk(&mut self, copy: &Self) {
        self.entries.clone_from(&copy.entries);
        self.held.clone_from(&copy.held);
        self.forks.clone_from(&copy.forks);
        self.pending.clone_from(&copy.pending);
        self.expiries.clone_from(&copy.expiries);
        self.settings.retain(|key, _| !key.starts_with("room"));
        let kept = copy.settings.iter().filter(|(key, _)| key.starts_with("room"));
        self.settings.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
        self.open.clear();
        self.soft.clear();
    }

    /// Every entry of a room, by log.
    pub fn all_entries(&self) -> &BTreeMap<LogId, BTreeMap<u64, StoredEntry>> {
        &self.entries
    }

    /// Every entry beyond a gap.
    pub fn all_pending(&self) -> &BTreeMap<LogId, BTreeMap<u64, StoredEntry>> {
        &self.pending
    }

    pub fn all_forks(&self) -> &BTreeMap<LogId, Vec<StoredEntry>> {
        &self.forks
    }
}

impl Disk {
    /// The entries of a room as they are shown.
    fn shown(&self, room: RoomId) -> Vec<&StoredEntry> {
        let of_room = self.entries.iter().filter(|(log, _)| log.room == room);
        let mut all: Vec<&StoredEntry> = of_room.flat_map(|(_, it)| it.values()).collect();
        all.sort_by_key(|it| (it.lamport, it.log.author, it.log.incarnation, it.seq));
        all
    }

    fn last_of(&self, all: Vec<&StoredEntry>, count: usize) -> Vec<StoredEntry> {
        let first = all.len().saturating_sub(count);
        self.counted(all.into_iter().skip(first).cloned().collect())
    }

    fn counted(&self, found: Vec<StoredEntry>) -> Vec<StoredEntry> {
        self.read.set(self.read.get() + found.len());
        found
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

impl Reads for Disk {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.settings.get(key).cloned()
    }
    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let range = self.settings.range(prefix.to_owned()..);
        range
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
    fn control(&self, space: &str, from: Index, count: usize) -> Vec<Bytes> {
        let first = from.0.max(1);
        (first..)
            .map_while(|index| self.control.get(&(space.to_owned(), index)).cloned())
            .take(count)
            .collect()
    }
    fn control_spaces(&self) -> Vec<String> {
        let mut spaces: Vec<String> = self.control.keys().map(|(space, _)| space.clone()).collect();
        spaces.dedup();
        spaces
    }
    fn heads(&self, room: RoomId) -> Vec<StoredHead> {
        let of_room = self.entries.iter().filter(|(log, _)| log.room == room);
        of_room
            .filter_map(|(log, entries)| {
                let run = entries.iter().zip(1..).take_while(|((seq, _), at)| **seq == *at);
                let run: Vec<&StoredEntry> = run.map(|((_, entry), _)| entry).collect();
                let last = run.last()?;
                let signed = run.iter().rev().find(|it| it.signature.is_some());
                Some(StoredHead {
                    log: *log,
                    seq: last.seq,
                    hash: last.hash,
                    lamport: last.lamport,
                    signed: signed.map_or(Seq(0), |it| it.seq),
                })
            })
            .collect()
    }
    fn entries(&self, log: LogId, from: Seq, count: usize) -> Vec<StoredEntry> {
        let Some(entries) = self.entries.get(&log) else { return Vec::new() };
        self.counted(entries.range(from.0..).take(count).map(|(_, entry)| entry.clone()).collect())
    }
    fn newest(&self, room: RoomId, count: usize) -> Vec<StoredEntry> {
        self.last_of(self.shown(room), count)
    }
    fn older(&self, room: RoomId, than: Shown, count: usize) -> Vec<StoredEntry> {
        let mut all = self.shown(room);
        let shown = |it: &StoredEntry| Shown { lamport: it.lamport, log: it.log, seq: it.seq };
        all.retain(|it| shown(it) < than);
        self.last_of(all, count)
    }
    fn lacking(&self, room: RoomId, count: usize) -> Option<Vec<(LogId, Seq, usize)>> {
        let texts = self.texts.as_ref()?;
        let (mut lacking, mut left) = (Vec::new(), count);
        for head in self.heads(room) {
            let upto = texts.upto.get(&head.log).map_or(0, |it| it.0);
            let lacks = left.min((head.seq.0 - upto) as usize);
            if lacks > 0 {
                lacking.push((head.log, Seq(upto + 1), lacks));
                left -= lacks;
            }
        }
        Some(lacking)
    }
    fn search(&self, room: RoomId, words: &Words, from: Option<u64>, count: usize) -> Hits {
        let mut hits = Hits::default();
        let Some(texts) = &self.texts else { return hits };
        for (number, (log, seq, text)) in texts.rows.range(..=from.unwrap_or(u64::MAX)).rev() {
            if hits.looked == ROWS || hits.entries.len() == count {
                hits.next = Some(*number);
                break;
            }
            if words.matches(text) {
                hits.looked += 1;
                let entry = self.entries.get(log).and_then(|it| it.get(&seq.0));
                hits.entries.extend(entry.filter(|it| it.log.room == room).cloned());
            }
        }
        hits.entries = self.counted(hits.entries);
        hits
    }
    fn held(&self, log: LogId) -> Vec<(PeerId, Seq)> {
        let of_log = self.held.iter().filter(|((of, _), _)| *of == log);
        of_log.map(|((_, by), seq)| (*by, *seq)).collect()
    }
    fn pending(&self, room: RoomId) -> Vec<StoredEntry> {
        let of_room = self.pending.iter().filter(|(log, _)| log.room == room);
        of_room.flat_map(|(_, it)| it.values().cloned()).collect()
    }
    fn forks(&self, log: LogId) -> Vec<StoredEntry> {
        self.forks.get(&log).cloned().unwrap_or_default()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        self.certificates.values().cloned().collect()
    }
    fn expired(&self, until: Wall, count: usize) -> Vec<(LogId, Seq)> {
        let mut ended: Vec<_> = self.expiries.iter().filter(|(_, at)| **at <= until).collect();
        ended.sort_by_key(|(_, at)| **at);
        ended.into_iter().take(count).map(|(place, _)| *place).collect()
    }
    fn next_expiry(&self) -> Option<Wall> {
        self.expiries.values().min().copied()
    }
    fn depositors(&self) -> Vec<(PeerId, u64, u64)> {
        let mut shares: BTreeMap<PeerId, (u64, u64)> = BTreeMap::new();
        for row in self.deposits.values() {
            let (count, bytes) = shares.entry(row.by).or_default();
            (*count, *bytes) = (*count + 1, *bytes + row.sealed.len() as u64);
        }
        shares.into_iter().map(|(by, (count, bytes))| (by, count, bytes)).collect()
    }
    fn last_deposit(&self) -> u64 {
        self.last_deposit
    }
    fn oldest_deposits(&self, by: Option<PeerId>, count: usize) -> Vec<DepositRow> {
        let rows = self.deposits.values().filter(|row| by.is_none_or(|by| row.by == by));
        let row = |row: &StoredDeposit| DepositRow {
            number: row.number,
            by: row.by,
            at: row.at,
            bytes: row.sealed.len() as u64,
        };
        rows.take(count).map(row).collect()
    }
    fn deposited_at(&self, hash: Hash) -> Option<Wall> {
        self.deposits.values().find(|row| row.hash == hash).map(|row| row.at)
    }
    fn deposits(&self, shelf: ShelfId, after: u64, count: usize) -> Vec<(u64, Bytes)> {
        let later = self.deposits.range(after + 1..).filter(|(_, row)| row.shelf == shelf);
        later.take(count).map(|(number, row)| (*number, row.sealed.clone())).collect()
    }
}
