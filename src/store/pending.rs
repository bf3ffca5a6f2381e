//! Ends of logs that lie beyond a gap, as SQL.
//! Owns: every statement about the table `pending`.
//! Must not know: how long an end is kept, when the gap before it closes.
//! Invariants: no head, no index and no arrival speaks of what lies here.
//! Start reading at: [`of_room`].

use rusqlite::{Connection, params};

use crate::ids::{RoomId, Seq};
use crate::protocol::StoredEntry;
use crate::store::heads::{Heads, integer, signature_bytes};
use crate::store::reads::{entry, number};

/// The entry replaces what lay at its place: one that lost what it said.
pub(super) fn add(conn: &Connection, log: i64, stored: &StoredEntry) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO pending (log, seq, lamport, hash, signature, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        log,
        integer(stored.seq.0),
        integer(stored.lamport),
        stored.hash.as_bytes(),
        signature_bytes(stored.signature.as_ref()),
        &stored.bytes[..]
    ])?;
    Ok(())
}

/// It loses what it said, if it lies here.
pub(super) fn erase(conn: &Connection, log: i64, stored: &StoredEntry) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE pending SET bytes = ?4 WHERE log = ?1 AND seq = ?2 AND hash = ?3")?
        .execute(params![log, integer(stored.seq.0), stored.hash.as_bytes(), &stored.bytes[..]])?;
    Ok(())
}

pub(super) fn remove(conn: &Connection, log: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pending WHERE log = ?1")?.execute([log])?;
    Ok(())
}

pub(super) fn of_room(
    conn: &Connection,
    heads: &Heads,
    room: RoomId,
) -> rusqlite::Result<Vec<StoredEntry>> {
    // Nearly always there are none, and then one look into an empty table says so.
    let mut logs = conn.prepare_cached("SELECT DISTINCT log FROM pending")?;
    let logs: Vec<i64> = logs.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut named: Vec<_> = logs
        .into_iter()
        .filter_map(|id| heads.name(id).filter(|log| log.room == room).map(|log| (*log, id)))
        .collect();
    named.sort_unstable();
    let mut statement = conn.prepare_cached(
        "SELECT seq, lamport, hash, signature, bytes FROM pending WHERE log = ?1 ORDER BY seq",
    )?;
    let mut found = Vec::new();
    for (log, id) in named {
        let rows = statement.query_map([id], |row| entry(row, log, Seq(number(row, 0)?)))?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}
