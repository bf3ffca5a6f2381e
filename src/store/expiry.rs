//! Which entries end when.
//! Owns: the table `expiries`.
//! Must not know: what time it is, what becomes of an entry that has ended.
//! Invariants: a place has one end, the first that was noted; it is crossed out when the entry is
//! erased.
//! Start reading at: [`ended`].

use rusqlite::{Connection, OptionalExtension, params};

use super::heads::{Heads, integer, parts};
use super::reads::number;
use crate::ids::{LogId, Seq};
use crate::time::Wall;

/// Notes when the entry at a place ends.
pub(super) fn note(conn: &Connection, place: i64, at: Wall) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO expiries (place, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![place, integer(at.0)])?;
    Ok(())
}

/// Nothing ends at this place any more.
pub(super) fn cross_out(conn: &Connection, place: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM expiries WHERE place = ?1")?.execute([place])?;
    Ok(())
}

/// Where something has ended by then, the earliest first.
pub(super) fn ended(
    conn: &Connection,
    heads: &Heads,
    until: Wall,
    count: usize,
) -> rusqlite::Result<Vec<(LogId, Seq)>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement =
        conn.prepare_cached("SELECT place FROM expiries WHERE at <= ?1 ORDER BY at LIMIT ?2")?;
    let mut rows = statement.query(params![integer(until.0), count])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (log, seq) = parts(row.get(0)?);
        found.extend(heads.name(log).map(|log| (*log, seq)));
    }
    Ok(found)
}

/// When the next one ends.
pub(super) fn next(conn: &Connection) -> rusqlite::Result<Option<Wall>> {
    conn.prepare_cached("SELECT at FROM expiries ORDER BY at LIMIT 1")?
        .query_row([], |row| number(row, 0).map(Wall))
        .optional()
}
