//! Where the newest entries lie, in memory until there are many.
//! Owns: the tables `arrivals`, `shown` and `settled`, and what they do not say yet.
//! Must not know: what entries say, when a transaction starts or ends; it is told.
//! Invariants: every entry is in the tables or here; outside a transaction this is what the rows
//! after `settled` say.
//! Start reading at: [`Tail`].
//!
//! A log's entries and a room's order are two trees beside the one that grows at its end. Written
//! with every message they would cost a page for each author; written for some thousand messages
//! at a time, in their order, they cost next to nothing.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};

/// Entries after which the tables are told.
const SETTLED_EVERY: usize = 4_096;

/// An entry's place in display order but for its author: room, Lamport time, `log << 40 | seq`.
type Shown = (i64, i64, i64);

/// The two of them before they were settled.
type Before = (BTreeMap<i64, i64>, BTreeSet<Shown>);

/// What the tables do not say yet.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// By place the number of the entry, in the order of arrival.
    arrivals: BTreeMap<i64, i64>,
    shown: BTreeSet<Shown>,
    /// What the running transaction put here, with the number before.
    changed: Vec<(i64, Option<i64>)>,
    added: Vec<Shown>,
    /// What was here before the running transaction settled it.
    before: Option<Box<Before>>,
}

impl Tail {
    /// Reads what came after the tables were told.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut tail = Self::default();
        let mut rows = conn.prepare(
            "SELECT id, place, room, lamport FROM entries
             WHERE id > (SELECT coalesce(max(entry), 0) FROM settled)",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let place = row.get(1)?;
            tail.arrivals.insert(place, row.get(0)?);
            // One that moved here is in the table already; there twice or once is the same.
            tail.shown.insert((row.get(2)?, row.get(3)?, place));
        }
        Ok(tail)
    }

    /// An entry was stored under this number.
    pub(super) fn add(&mut self, place: i64, entry: i64, room: i64, lamport: i64) {
        self.changed.push((place, self.arrivals.insert(place, entry)));
        let shown = (room, lamport, place);
        if self.shown.insert(shown) {
            self.added.push(shown);
        }
    }

    /// An entry got another number.
    pub(super) fn renumber(&mut self, place: i64, entry: i64) {
        self.changed.push((place, self.arrivals.insert(place, entry)));
    }

    /// The number of the entry at a place.
    pub(super) fn find(&self, conn: &Connection, place: i64) -> rusqlite::Result<Option<i64>> {
        if let Some(entry) = self.arrivals.get(&place) {
            return Ok(Some(*entry));
        }
        conn.prepare_cached("SELECT entry FROM arrivals WHERE place = ?1")?
            .query_row([place], |row| row.get(0))
            .optional()
    }

    /// The first `count` entries from one place to another: place and number, by place.
    pub(super) fn range(
        &self,
        conn: &Connection,
        (first, last): (i64, i64),
        count: usize,
    ) -> rusqlite::Result<Vec<(i64, i64)>> {
        if first > last || count == 0 {
            return Ok(Vec::new());
        }
        let newest = self.arrivals.range(first..=last).take(count);
        let newest: BTreeMap<i64, i64> = newest.map(|(place, entry)| (*place, *entry)).collect();
        // Nearly always what is asked for is all new or all old.
        if newest.len() == count && newest.keys().zip(first..).all(|(place, next)| *place == next) {
            return Ok(newest.into_iter().collect());
        }
        let mut found = newest;
        let mut statement = conn.prepare_cached(
            "SELECT place, entry FROM arrivals WHERE place >= ?1 AND place <= ?2
             ORDER BY place LIMIT ?3",
        )?;
        let count_max = i64::try_from(count).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![first, last, count_max])?;
        while let Some(row) = rows.next()? {
            // What moved is known better here.
            found.entry(row.get(0)?).or_insert(row.get(1)?);
        }
        Ok(found.into_iter().take(count).collect())
    }

    /// The highest place there is between two.
    pub(super) fn last(
        &self,
        conn: &Connection,
        (after, before): (i64, i64),
    ) -> rusqlite::Result<Option<i64>> {
        let settled: Option<i64> = conn
            .prepare_cached("SELECT max(place) FROM arrivals WHERE place > ?1 AND place < ?2")?
            .query_row([after, before], |row| row.get(0))?;
        let range = after.saturating_add(1)..before;
        let newest = if range.is_empty() { None } else { self.arrivals.range(range).next_back() };
        Ok(settled.max(newest.map(|(place, _)| *place)))
    }

    /// The last entries of a room up to a Lamport time: (Lamport time, place), in no order, `count`
    /// or more where there are so many.
    pub(super) fn newest(
        &self,
        conn: &Connection,
        room: i64,
        upto: i64,
        count: usize,
    ) -> rusqlite::Result<Vec<(i64, i64)>> {
        // The tables alone tell a time that is early enough: all of it counts, since those of one
        // time are ordered by author.
        let skipped = i64::try_from(count.saturating_sub(1)).unwrap_or(i64::MAX);
        let oldest: Option<i64> = conn
            .prepare_cached(
                "SELECT lamport FROM shown WHERE room = ?1 AND lamport <= ?2
                 ORDER BY lamport DESC LIMIT 1 OFFSET ?3",
            )?
            .query_row(params![room, upto, skipped], |row| row.get(0))
            .optional()?;
        let oldest = oldest.unwrap_or(i64::MIN);
        let range = (room, oldest, i64::MIN)..=(room, upto, i64::MAX);
        let newest = if oldest > upto { None } else { Some(self.shown.range(range)) };
        let mut found: BTreeSet<(i64, i64)> =
            newest.into_iter().flatten().map(|(_, lamport, place)| (*lamport, *place)).collect();
        let mut statement = conn.prepare_cached(
            "SELECT lamport, place FROM shown WHERE room = ?1 AND lamport >= ?2 AND lamport <= ?3",
        )?;
        let mut rows = statement.query([room, oldest, upto])?;
        while let Some(row) = rows.next()? {
            found.insert((row.get(0)?, row.get(1)?));
        }
        Ok(found.into_iter().collect())
    }

    /// Tells the tables, if there is much to tell; part of the transaction.
    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.arrivals.len() < SETTLED_EVERY {
            return Ok(());
        }
        let mut place =
            conn.prepare_cached("INSERT OR REPLACE INTO arrivals (place, entry) VALUES (?1, ?2)")?;
        for (at, entry) in &self.arrivals {
            place.execute([at, entry])?;
        }
        let mut show = conn.prepare_cached(
            "INSERT OR IGNORE INTO shown (room, lamport, place) VALUES (?1, ?2, ?3)",
        )?;
        for (room, lamport, place) in &self.shown {
            show.execute([room, lamport, place])?;
        }
        let newest = self.arrivals.values().max().copied();
        conn.prepare_cached("INSERT OR REPLACE INTO settled (one, entry) VALUES (1, ?1)")?
            .execute([newest])?;
        // As it was before the transaction, should it fail yet.
        self.undo();
        let arrivals = std::mem::take(&mut self.arrivals);
        self.before = Some(Box::new((arrivals, std::mem::take(&mut self.shown))));
        Ok(())
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self) {
        self.changed.clear();
        self.added.clear();
        self.before = None;
    }

    /// The transaction is gone.
    pub(super) fn restore(&mut self) {
        if let Some(before) = self.before.take() {
            (self.arrivals, self.shown) = *before;
        }
        self.undo();
    }

    fn undo(&mut self) {
        for (place, before) in std::mem::take(&mut self.changed).into_iter().rev() {
            match before {
                Some(entry) => self.arrivals.insert(place, entry),
                None => self.arrivals.remove(&place),
            };
        }
        for shown in std::mem::take(&mut self.added) {
            self.shown.remove(&shown);
        }
    }
}
