//! The rooms and author logs in memory, each log with its head.
//! Owns: the numbers under which the tables know them, and what the running transaction changed.
//! Must not know: when a transaction starts or ends; it is told.
//! Invariants: outside a transaction this is what the tables say.
//! Start reading at: [`Heads`].

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::ids::{Hash, Incarnation, LogId, PeerId, RoomId, Seq, Signature};
use crate::protocol::{StoredEntry, StoredHead};
use crate::store::reads::{blob, number};
use crate::store::tail::Tail;

/// Heads are written to the tables once in so many entries: one page less to encrypt and write for
/// every message, for reading so many entries of each log at the start.
const WRITTEN_EVERY: u64 = 256;
/// Entries looked at together when those follow that came early.
const FOLLOWED: usize = 512;
/// Bits of an entry's place that hold its seq; the log's number lies above.
const SEQ_BITS: u32 = 40;

/// What is known of a log without reading its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// Its number in the tables.
    pub(super) id: i64,
    /// Its room's number.
    pub(super) room: i64,
    /// The newest entry without a gap before it.
    pub(super) seq: Seq,
    pub(super) hash: Hash,
    pub(super) lamport: u64,
    /// The last entry up to `seq` that has a signature.
    pub(super) signed: Seq,
    /// The highest seq stored at all.
    pub(super) last: Seq,
    /// What the tables say of `seq`; the entries after it tell the rest.
    written: Seq,
}

/// Every room and log there is.
#[derive(Debug, Default)]
pub(super) struct Heads {
    rooms: BTreeMap<RoomId, i64>,
    logs: BTreeMap<LogId, Log>,
    names: BTreeMap<i64, LogId>,
    /// What the logs were before the transaction touched them; `None`: not there.
    before: BTreeMap<LogId, Option<Log>>,
    /// The rooms that the transaction created.
    created: Vec<RoomId>,
}

impl Heads {
    pub(super) fn load(conn: &Connection, tail: &Tail) -> rusqlite::Result<Self> {
        let mut heads = Self::default();
        let mut rooms = conn.prepare("SELECT id, room FROM rooms")?;
        let mut rows = rooms.query([])?;
        while let Some(row) = rows.next()? {
            heads.rooms.insert(blob(row, 1, RoomId::from_bytes)?, row.get(0)?);
        }
        let mut logs = conn.prepare(
            "SELECT logs.id, logs.room, rooms.room, author, incarnation,
                    seq, hash, lamport, signed, last
             FROM logs JOIN rooms ON rooms.id = logs.room",
        )?;
        let mut rows = logs.query([])?;
        while let Some(row) = rows.next()? {
            let name = LogId {
                room: blob(row, 2, RoomId::from_bytes)?,
                author: blob(row, 3, PeerId::from_bytes)?,
                incarnation: Incarnation(row.get::<_, i64>(4)?.cast_unsigned()),
            };
            let log = Log {
                id: row.get(0)?,
                room: row.get(1)?,
                seq: Seq(number(row, 5)?),
                hash: blob(row, 6, Hash::from_bytes)?,
                lamport: number(row, 7)?,
                signed: Seq(number(row, 8)?),
                last: Seq(number(row, 9)?),
                written: Seq(number(row, 5)?),
            };
            heads.names.insert(log.id, name);
            heads.logs.insert(name, log);
        }
        for log in heads.logs.values_mut() {
            log.follow(conn, tail)?;
        }
        Ok(heads)
    }

    /// The log's number and head, if it was ever heard of.
    pub(super) fn log(&self, name: &LogId) -> Option<&Log> {
        self.logs.get(name)
    }

    pub(super) fn room(&self, room: &RoomId) -> Option<i64> {
        self.rooms.get(room).copied()
    }

    /// The log with this number.
    pub(super) fn name(&self, id: i64) -> Option<&LogId> {
        self.names.get(&id)
    }

    /// The heads of a room, of logs that have one.
    pub(super) fn of_room(&self, room: RoomId) -> Vec<StoredHead> {
        // Logs are ordered by room first.
        let first = |(name, _): &(&LogId, &Log)| name.room < room;
        self.logs
            .iter()
            .skip_while(first)
            .take_while(|(name, _)| name.room == room)
            .filter(|(_, log)| log.seq > Seq(0))
            .map(|(name, log)| StoredHead {
                log: *name,
                seq: log.seq,
                hash: log.hash,
                lamport: log.lamport,
                signed: log.signed,
            })
            .collect()
    }

    /// Every log that has an entry, with the highest seq stored.
    pub(super) fn lasts(&self) -> Vec<(LogId, Seq)> {
        let has_entry = |(_, log): &(&LogId, &Log)| log.last > Seq(0);
        self.logs.iter().filter(has_entry).map(|(name, log)| (*name, log.last)).collect()
    }

    /// The logs of a room with their heads.
    pub(super) fn logs_of(&self, room: RoomId) -> impl Iterator<Item = (&LogId, &Log)> {
        let first = move |(name, _): &(&LogId, &Log)| name.room < room;
        self.logs.iter().skip_while(first).take_while(move |(name, _)| name.room == room)
    }

    /// The log as the transaction may change it; written to the tables if it is new there.
    pub(super) fn touch(&mut self, conn: &Connection, name: &LogId) -> rusqlite::Result<&mut Log> {
        if !self.logs.contains_key(name) {
            let log = self.create(conn, name)?;
            self.before.insert(*name, None);
            self.names.insert(log.id, *name);
            self.logs.insert(*name, log);
        }
        let log = self.logs.get_mut(name).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        self.before.entry(*name).or_insert(Some(*log));
        Ok(log)
    }

    /// Writes the heads that cannot be told from the entries, and those that would take long; part
    /// of the transaction that changed them.
    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut update = conn.prepare_cached(
            "UPDATE logs SET seq = ?2, hash = ?3, lamport = ?4, signed = ?5, last = ?6
             WHERE id = ?1",
        )?;
        for (name, before) in &self.before {
            let Some(log) = self.logs.get_mut(name) else { continue };
            if log.must_be_written(before.as_ref()) {
                log.written = log.seq;
                update.execute(params![
                    log.id,
                    integer(log.seq.0),
                    log.hash.as_bytes(),
                    integer(log.lamport),
                    integer(log.signed.0),
                    integer(log.last.0)
                ])?;
            }
        }
        Ok(())
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self) {
        self.before.clear();
        self.created.clear();
    }

    /// The transaction is gone.
    pub(super) fn restore(&mut self) {
        for (name, before) in std::mem::take(&mut self.before) {
            match before {
                Some(log) => {
                    self.logs.insert(name, log);
                }
                None => {
                    if let Some(log) = self.logs.remove(&name) {
                        self.names.remove(&log.id);
                    }
                }
            }
        }
        for room in std::mem::take(&mut self.created) {
            self.rooms.remove(&room);
        }
    }

    fn create(&mut self, conn: &Connection, name: &LogId) -> rusqlite::Result<Log> {
        let room = match self.rooms.get(&name.room) {
            Some(id) => *id,
            None => {
                conn.prepare_cached("INSERT INTO rooms (room) VALUES (?1)")?
                    .execute([name.room.as_bytes()])?;
                let id = conn.last_insert_rowid();
                self.rooms.insert(name.room, id);
                self.created.push(name.room);
                id
            }
        };
        conn.prepare_cached(
            "INSERT INTO logs (room, author, incarnation, seq, hash, lamport, signed, last)
             VALUES (?1, ?2, ?3, 0, ?4, 0, 0, 0)",
        )?
        .execute(params![
            room,
            name.author.as_bytes(),
            name.incarnation.0.cast_signed(),
            Hash::ZERO.as_bytes()
        ])?;
        Ok(Log {
            id: conn.last_insert_rowid(),
            room,
            seq: Seq(0),
            hash: Hash::ZERO,
            lamport: 0,
            signed: Seq(0),
            last: Seq(0),
            written: Seq(0),
        })
    }
}

impl Log {
    /// Reads on from what the tables say of the log's head.
    fn follow(&mut self, conn: &Connection, tail: &Tail) -> rusqlite::Result<()> {
        let end = self.id.saturating_add(1).saturating_mul(1 << SEQ_BITS);
        let Some(written) = self.place(self.seq) else { return Ok(()) };
        if let Some(last) = tail.last(conn, (written, end))? {
            self.last = parts(last).1;
            self.close_gap(conn, tail)?;
        }
        Ok(())
    }

    /// Whether the entries after the written head would not tell it, or not soon enough.
    fn must_be_written(&self, before: Option<&Self>) -> bool {
        let is_far = self.seq.0.saturating_sub(self.written.0) >= WRITTEN_EVERY;
        let is_signed_late =
            before.is_some_and(|before| before.seq == self.seq && before.signed != self.signed);
        is_far || is_signed_late
    }

    /// Takes note of an entry that was just stored.
    pub(super) fn stored(
        &mut self,
        conn: &Connection,
        tail: &Tail,
        entry: &StoredEntry,
    ) -> rusqlite::Result<()> {
        self.last = self.last.max(entry.seq);
        if entry.seq != self.seq.next() {
            return Ok(());
        }
        self.advance(entry.seq, entry.hash, entry.lamport, entry.signature.is_some());
        if self.last > self.seq {
            self.close_gap(conn, tail)?;
        }
        Ok(())
    }

    /// Takes note that an entry stored without a signature got one.
    pub(super) fn now_signed(&mut self, seq: Seq) {
        if seq <= self.seq {
            self.signed = self.signed.max(seq);
        }
    }

    fn advance(&mut self, seq: Seq, hash: Hash, lamport: u64, is_signed: bool) {
        self.seq = seq;
        self.hash = hash;
        self.lamport = lamport;
        if is_signed {
            self.signed = seq;
        }
    }

    /// Entries that came early follow now.
    fn close_gap(&mut self, conn: &Connection, tail: &Tail) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(
            "SELECT hash, lamport, signature IS NOT NULL FROM entries WHERE id = ?1",
        )?;
        while self.last > self.seq {
            let next = (self.place(self.seq.next()), self.place(self.last));
            let (Some(next), Some(last)) = next else { return Ok(()) };
            let run = tail.range(conn, (next, last), FOLLOWED)?;
            let run = run.into_iter().zip(next..).take_while(|((place, _), at)| place == at);
            let mut is_over = true;
            for ((place, entry), _) in run {
                let mut rows = statement.query([entry])?;
                let Some(row) = rows.next()? else { return Ok(()) };
                let seq = parts(place).1;
                self.advance(seq, blob(row, 0, Hash::from_bytes)?, number(row, 1)?, row.get(2)?);
                is_over = false;
            }
            if is_over {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The place of an entry of this log; none for a seq that no log reaches.
    pub(super) fn place(&self, seq: Seq) -> Option<i64> {
        let seq = i64::try_from(seq.0).ok().filter(|seq| *seq < 1 << SEQ_BITS)?;
        self.id.checked_mul(1 << SEQ_BITS)?.checked_add(seq)
    }
}

/// The log's number and the seq in an entry's place.
pub(super) fn parts(place: i64) -> (i64, Seq) {
    let place = place.cast_unsigned();
    ((place >> SEQ_BITS).cast_signed(), Seq(place & ((1 << SEQ_BITS) - 1)))
}

/// SQLite's integers end at 2^63; nothing real lies beyond.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A signature as it is stored.
pub(super) fn signature_bytes(signature: Option<&Signature>) -> Option<&[u8]> {
    signature.map(|signature| -> &[u8] { signature.as_bytes() })
}
