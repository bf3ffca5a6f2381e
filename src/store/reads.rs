//! What the cores may read, as SQL.
//! Owns: every `SELECT` of content, and the conversion of rows.
//! Must not know: what is done with the answers.
//! Invariants: a row that cannot be read or does not fit is an error that is remembered, never a
//! shorter or different answer that counts.
//! Start reading at: `impl Reads for Store`.

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

use crate::ids::{Hash, Index, LogId, PeerId, RoomId, Seq, ShelfId, Signature};
use crate::protocol::check::Survey;
use crate::protocol::{
    CertificateRow, CertificateState, DepositRow, Hits, MessageId, Reads, Shown, StoredEntry,
    StoredHead, Words,
};
use crate::store::expiry;
use crate::store::heads::{integer, parts};
use crate::store::{Error, Store, deposits, index, pending};
use crate::time::Wall;

/// Bytes of found entries after which a page ends.
const HITS_BYTES_MAX: usize = 1 << 20;

impl Reads for Store {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.answered(|| {
            self.conn
                .prepare_cached("SELECT value FROM settings WHERE key = ?1")?
                .query_row([key], |row| bytes(row, 0))
                .optional()
        })
    }

    fn settings(&self, prefix: &str) -> Vec<(String, Bytes)> {
        self.answered(|| {
            let mut statement = self
                .conn
                .prepare_cached("SELECT key, value FROM settings WHERE key >= ?1 ORDER BY key")?;
            let mut rows = statement.query([prefix])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                found.push((key, bytes(row, 1)?));
            }
            Ok(found)
        })
    }

    /// Ends before a gap, and is empty if the first one is missing: an answer has no indices, so
    /// each must follow from its place.
    fn control(&self, space: &str, from: Index, count: usize) -> Vec<Bytes> {
        self.answered(|| {
            let mut next = integer(from.0.max(1));
            let mut statement = self.conn.prepare_cached(
                "SELECT idx, bytes FROM control WHERE space = ?1 AND idx >= ?2
                 ORDER BY idx LIMIT ?3",
            )?;
            let mut rows = statement.query(params![space, next, limit(count)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(0)? != next {
                    break;
                }
                found.push(bytes(row, 1)?);
                next = next.saturating_add(1);
            }
            Ok(found)
        })
    }

    fn control_spaces(&self) -> Vec<String> {
        self.answered(|| {
            // One step in the index for each space, however long its log is.
            let mut statement =
                self.conn.prepare_cached("SELECT min(space) FROM control WHERE space > ?1")?;
            let mut found: Vec<String> = Vec::new();
            loop {
                let last = found.last().map_or("", String::as_str);
                match statement.query_row([last], |row| row.get(0))? {
                    Some(space) => found.push(space),
                    None => return Ok(found),
                }
            }
        })
    }

    fn heads(&self, room: RoomId) -> Vec<StoredHead> {
        self.heads.of_room(room)
    }

    fn entries(&self, log: LogId, from: Seq, count: usize) -> Vec<StoredEntry> {
        let Some(known) = self.heads.log(&log) else { return Vec::new() };
        let (Some(first), Some(last)) = (known.place(from), known.place(known.last)) else {
            return Vec::new();
        };
        self.answered(|| {
            let mut statement = self.conn.prepare_cached(ENTRY)?;
            let run = self.tail.range(&self.conn, (first, last), count)?.into_iter();
            run.map(|(place, id)| {
                statement.query_row([id], |row| self.entry(row, log, parts(place).1))
            })
            .collect()
        })
    }

    fn newest(&self, room: RoomId, count: usize) -> Vec<StoredEntry> {
        self.listed(room, count, None)
    }

    fn older(&self, room: RoomId, than: Shown, count: usize) -> Vec<StoredEntry> {
        self.listed(room, count, Some(than))
    }

    fn arrived(&self, after: u64, count: usize) -> Vec<(u64, StoredEntry)> {
        self.answered(|| {
            let mut statement = self.conn.prepare_cached(
                "SELECT id, lamport, hash, signature, bytes, pattern, place FROM entries
                 WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let mut rows = statement.query(params![integer(after), limit(count)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (log, seq) = parts(row.get(6)?);
                let log = *self.heads.name(log).ok_or_else(|| unfit(row, 6, Type::Integer))?;
                found.push((number(row, 0)?, self.entry(row, log, seq)?));
            }
            Ok(found)
        })
    }

    fn last_arrival(&self) -> u64 {
        self.answered(|| {
            self.conn
                .prepare_cached("SELECT coalesce(max(id), 0) FROM entries")?
                .query_row([], |row| number(row, 0))
        })
    }

    fn lacking(&self, room: RoomId, count: usize) -> Option<Vec<(LogId, Seq, usize)>> {
        Some(self.answered(|| index::unindexed(&self.conn, &self.heads, room, count)))
    }

    fn expired(&self, until: Wall, count: usize) -> Vec<(LogId, Seq)> {
        self.answered(|| expiry::ended(&self.conn, &self.heads, until, count))
    }

    fn next_expiry(&self) -> Option<Wall> {
        self.answered(|| expiry::next(&self.conn))
    }

    fn search(&self, room: RoomId, words: &Words, from: Option<u64>, count: usize) -> Hits {
        let Some(room) = self.heads.room(&room) else { return Hits::default() };
        let from = (room, from.map_or(i64::MAX, integer));
        self.answered(|| {
            let page = index::search(&self.conn, &self.heads, words, from, count)?;
            let mut hits = Hits { looked: page.looked, ..Hits::default() };
            let (mut next, mut bytes) = (page.next, 0_usize);
            for (row, place) in page.rows {
                if bytes >= HITS_BYTES_MAX {
                    next = Some(row);
                    break;
                }
                let found = self.at([place])?;
                bytes = found.iter().fold(bytes, |sum, it| sum.saturating_add(it.bytes.len()));
                hits.entries.extend(found);
            }
            hits.next = next.map(i64::cast_unsigned);
            Ok(hits)
        })
    }

    fn pending(&self, room: RoomId) -> Vec<StoredEntry> {
        self.answered(|| pending::of_room(&self.conn, &self.heads, room))
    }

    fn called(
        &self,
        (first, last): (MessageId, MessageId),
        count: usize,
    ) -> Option<Vec<StoredEntry>> {
        Some(self.answered(|| self.at(index::called(&self.conn, (first, last), count)?)))
    }

    fn held(&self, log: LogId) -> Vec<(PeerId, Seq)> {
        let Some(known) = self.heads.log(&log) else { return Vec::new() };
        self.answered(|| {
            self.conn
                .prepare_cached("SELECT peer, seq FROM held WHERE log = ?1 ORDER BY peer")?
                .query_map([known.id], |row| {
                    Ok((blob(row, 0, PeerId::from_bytes)?, Seq(number(row, 1)?)))
                })?
                .collect()
        })
    }

    fn forks(&self, log: LogId) -> Vec<StoredEntry> {
        let Some(known) = self.heads.log(&log) else { return Vec::new() };
        self.answered(|| {
            self.conn
                .prepare_cached(
                    "SELECT seq, lamport, hash, signature, bytes FROM forks
                     WHERE log = ?1 ORDER BY seq, hash",
                )?
                .query_map([known.id], |row| entry(row, log, Seq(number(row, 0)?)))?
                .collect()
        })
    }

    fn certificates(&self) -> Vec<CertificateRow> {
        self.answered(|| {
            self.conn
                .prepare_cached(
                    "SELECT serial, name, skeleton, peer, spki, state, der,
                            asked_at, revoked_at, reason
                     FROM certificates ORDER BY serial",
                )?
                .query_map([], certificate)?
                .collect()
        })
    }

    fn depositors(&self) -> Vec<(PeerId, u64, u64)> {
        self.answered(|| deposits::depositors(&self.conn))
    }

    fn last_deposit(&self) -> u64 {
        self.answered(|| deposits::last(&self.conn))
    }

    fn oldest_deposits(&self, by: Option<PeerId>, count: usize) -> Vec<DepositRow> {
        self.answered(|| deposits::oldest(&self.conn, by, count))
    }

    fn deposited_at(&self, hash: Hash) -> Option<Wall> {
        self.answered(|| deposits::came_at(&self.conn, &hash))
    }

    fn deposits(&self, shelf: ShelfId, after: u64, count: usize) -> Vec<(u64, Bytes)> {
        self.answered(|| deposits::on_shelf(&self.conn, shelf, after, count))
    }
}

impl Store {
    /// The shape of the tables, and what the database itself says of its pages: for a check of
    /// everything.
    ///
    /// # Errors
    /// A table that cannot be read; what is damaged but readable is in the answer.
    pub fn survey(&self, space: &str) -> Result<Survey, Error> {
        self.is_sound()?;
        let survey = || {
            Ok(Survey {
                logs: self.heads.lasts(),
                strays: self.conn.query_row(
                    "SELECT count(*) FROM entries WHERE NOT EXISTS
                         (SELECT 1 FROM logs WHERE logs.id = entries.place >> 40
                                               AND logs.room = entries.room)",
                    [],
                    |row| number(row, 0),
                )?,
                control_last: self.conn.query_row(
                    "SELECT coalesce(max(idx), 0) FROM control WHERE space = ?1",
                    [space],
                    |row| Ok(Index(number(row, 0)?)),
                )?,
                damage: self.damage()?,
            })
        };
        survey().map_err(|error: rusqlite::Error| self.classify(&error))
    }

    /// How many entries lack their words in the index.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unindexed_count(&self) -> Result<u64, Error> {
        index::unindexed_count(&self.conn, &self.heads).map_err(|error| self.classify(&error))
    }

    fn damage(&self) -> rusqlite::Result<Vec<String>> {
        let mut found = Vec::new();
        for question in ["PRAGMA cipher_integrity_check", "PRAGMA integrity_check(20)"] {
            let mut statement = self.conn.prepare(question)?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            for row in rows.take(DAMAGE_MAX) {
                found.extend(Some(row?).filter(|row| row != "ok"));
            }
        }
        Ok(found)
    }

    /// A read that fails answers nothing and is remembered.
    fn answered<T: Default>(&self, read: impl FnOnce() -> rusqlite::Result<T>) -> T {
        read().unwrap_or_else(|error| {
            self.fail(self.classify(&error));
            T::default()
        })
    }

    /// The last entries of a room, or the last before one, in display order: (Lamport time, author,
    /// incarnation, seq).
    fn listed(&self, room: RoomId, count: usize, than: Option<Shown>) -> Vec<StoredEntry> {
        let Some(room) = self.heads.room(&room).filter(|_| count > 0) else { return Vec::new() };
        self.answered(|| {
            let upto = than.map_or(i64::MAX, |than| integer(than.lamport).saturating_sub(1));
            let mut looked = self.tail.newest(&self.conn, room, upto, count)?;
            // Of the Lamport time it stands in, others may come before it.
            if let Some(than) = than {
                let same = self.tail.newest(&self.conn, room, integer(than.lamport), 1)?;
                looked.extend(same.into_iter().filter(|(lamport, _)| *lamport > upto));
            }
            let mut keys = Vec::new();
            for (lamport, place) in looked {
                let (number, seq) = parts(place);
                // A row without a log is a stray: `survey` counts those.
                let Some(log) = self.heads.name(number) else { continue };
                let key = Shown { lamport: lamport.cast_unsigned(), log: *log, seq };
                if than.is_none_or(|than| key < than) {
                    keys.push((key, place));
                }
            }
            keys.sort_unstable();
            let first = keys.len().saturating_sub(count);
            let mut statement = self.conn.prepare_cached(ENTRY)?;
            let mut found = Vec::new();
            for (key, place) in keys.into_iter().skip(first) {
                let Some(id) = self.tail.find(&self.conn, place)? else { continue };
                found.push(statement.query_row([id], |row| self.entry(row, key.log, key.seq))?);
            }
            Ok(found)
        })
    }

    /// The entries at these places; what an index says too much is left out.
    fn at(&self, places: impl IntoIterator<Item = i64>) -> rusqlite::Result<Vec<StoredEntry>> {
        let mut statement = self.conn.prepare_cached(ENTRY)?;
        let mut found = Vec::new();
        for place in places {
            let (number, seq) = parts(place);
            let Some(log) = self.heads.name(number) else { continue };
            let Some(id) = self.tail.find(&self.conn, place)? else { continue };
            let row = statement.query_row([id], |row| self.entry(row, *log, seq));
            found.extend(row.optional()?);
        }
        Ok(found)
    }

    /// A row of `lamport, hash, signature, bytes, pattern` from the second column on.
    fn entry(&self, row: &Row<'_>, log: LogId, seq: Seq) -> rusqlite::Result<StoredEntry> {
        let Some(pattern) = row.get::<_, Option<i64>>(5)? else { return entry(row, log, seq) };
        let packed = row.get_ref(4)?.as_blob()?;
        let bytes = self.patterns.unpack(&self.conn, pattern, packed)?;
        let bytes = bytes.ok_or_else(|| unfit(row, 4, Type::Blob))?;
        Ok(StoredEntry { bytes, ..entry(row, log, seq)? })
    }
}

/// A row of `lamport, hash, signature, bytes` from the second column on, whose bytes are all there.
pub(super) fn entry(row: &Row<'_>, log: LogId, seq: Seq) -> rusqlite::Result<StoredEntry> {
    let signature = match row.get_ref(3)?.as_blob_or_null()? {
        Some(bytes) => Some(Signature::from_bytes(bytes).ok_or_else(|| unfit(row, 3, Type::Blob))?),
        None => None,
    };
    Ok(StoredEntry {
        log,
        seq,
        hash: blob(row, 2, Hash::from_bytes)?,
        lamport: number(row, 1)?,
        signature,
        bytes: bytes(row, 4)?,
    })
}

/// An entry by its number.
const ENTRY: &str =
    "SELECT id, lamport, hash, signature, bytes, pattern FROM entries WHERE id = ?1";

fn certificate(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    let state = row.get_ref(5)?.as_str()?;
    Ok(CertificateRow {
        serial: number(row, 0)?,
        name: row.get(1)?,
        skeleton: row.get(2)?,
        peer: blob(row, 3, PeerId::from_bytes)?,
        spki: row.get(4)?,
        state: STATES
            .into_iter()
            .find(|known| state_name(*known) == state)
            .ok_or_else(|| unfit(row, 5, Type::Text))?,
        der: row.get(6)?,
        asked_at: Wall(number(row, 7)?),
        revoked_at: match row.get::<_, Option<i64>>(8)? {
            Some(_) => Some(Wall(number(row, 8)?)),
            None => None,
        },
        reason: row.get(9)?,
    })
}

/// Damaged places named.
const DAMAGE_MAX: usize = 20;

const STATES: [CertificateState; 3] =
    [CertificateState::Waiting, CertificateState::Valid, CertificateState::Revoked];

/// A certificate's state as it is stored.
pub(super) const fn state_name(state: CertificateState) -> &'static str {
    match state {
        CertificateState::Waiting => "waiting",
        CertificateState::Valid => "valid",
        CertificateState::Revoked => "revoked",
    }
}

/// A column of fixed-size bytes.
pub(super) fn blob<T>(
    row: &Row<'_>,
    column: usize,
    from_bytes: impl FnOnce(&[u8]) -> Option<T>,
) -> rusqlite::Result<T> {
    from_bytes(row.get_ref(column)?.as_blob()?).ok_or_else(|| unfit(row, column, Type::Blob))
}

/// A column with a number that is never negative.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| unfit(row, column, Type::Integer))
}

pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}

fn unfit(row: &Row<'_>, column: usize, found: Type) -> rusqlite::Error {
    let name = row.as_ref().column_name(column).unwrap_or("?").to_owned();
    rusqlite::Error::InvalidColumnType(column, name, found)
}

/// SQLite's limits are signed.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
