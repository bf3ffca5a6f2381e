//! What others left here to be kept, as SQL.
//! Owns: every statement about the table `deposits`.
//! Must not know: who may leave what, how much, how long.
//! Invariants: a number is given once, also after all deposits are gone.
//! Start reading at: [`add`].

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::ids::{Hash, PeerId, ShelfId};
use crate::protocol::{DepositRow, StoredDeposit};
use crate::store::heads::integer;
use crate::store::reads::{blob, bytes, limit, number};
use crate::time::Wall;

pub(super) fn add(conn: &Connection, row: &StoredDeposit) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO deposits (number, shelf, depositor, hash, at, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        integer(row.number),
        row.shelf.as_bytes(),
        row.by.as_bytes(),
        row.hash.as_bytes(),
        integer(row.at.0),
        &row.sealed[..]
    ])?;
    Ok(())
}

pub(super) fn withdraw(conn: &Connection, numbers: &[u64]) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("DELETE FROM deposits WHERE number = ?1")?;
    for number in numbers {
        statement.execute([integer(*number)])?;
    }
    Ok(())
}

pub(super) fn depositors(conn: &Connection) -> rusqlite::Result<Vec<(PeerId, u64, u64)>> {
    conn.prepare_cached(
        "SELECT depositor, count(*), sum(length(sealed)) FROM deposits GROUP BY depositor",
    )?
    .query_map([], |row| Ok((blob(row, 0, PeerId::from_bytes)?, number(row, 1)?, number(row, 2)?)))?
    .collect()
}

pub(super) fn last(conn: &Connection) -> rusqlite::Result<u64> {
    let last = conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'deposits'")?
        .query_row([], |row| number(row, 0))
        .optional()?;
    Ok(last.unwrap_or_default())
}

pub(super) fn oldest(
    conn: &Connection,
    by: Option<PeerId>,
    count: usize,
) -> rusqlite::Result<Vec<DepositRow>> {
    let Some(by) = by else {
        return conn
            .prepare_cached(
                "SELECT number, depositor, at, length(sealed) FROM deposits
                 ORDER BY number LIMIT ?1",
            )?
            .query_map([limit(count)], deposit_row)?
            .collect();
    };
    conn.prepare_cached(
        "SELECT number, depositor, at, length(sealed) FROM deposits
         WHERE depositor = ?1 ORDER BY number LIMIT ?2",
    )?
    .query_map(params![by.as_bytes(), limit(count)], deposit_row)?
    .collect()
}

fn deposit_row(row: &Row<'_>) -> rusqlite::Result<DepositRow> {
    Ok(DepositRow {
        number: number(row, 0)?,
        by: blob(row, 1, PeerId::from_bytes)?,
        at: Wall(number(row, 2)?),
        bytes: number(row, 3)?,
    })
}

pub(super) fn came_at(conn: &Connection, hash: &Hash) -> rusqlite::Result<Option<Wall>> {
    conn.prepare_cached("SELECT at FROM deposits WHERE hash = ?1")?
        .query_row([hash.as_bytes()], |row| Ok(Wall(number(row, 0)?)))
        .optional()
}

pub(super) fn on_shelf(
    conn: &Connection,
    shelf: ShelfId,
    after: u64,
    count: usize,
) -> rusqlite::Result<Vec<(u64, Bytes)>> {
    conn.prepare_cached(
        "SELECT number, sealed FROM deposits WHERE shelf = ?1 AND number > ?2
         ORDER BY number LIMIT ?3",
    )?
    .query_map(params![shelf.as_bytes(), integer(after), limit(count)], |row| {
        Ok((number(row, 0)?, bytes(row, 1)?))
    })?
    .collect()
}
