//! The changes of the tables, one function for each kind of write.
//! Owns: every `INSERT`, `UPDATE` and `DELETE` of content.
//! Must not know: why something is written.
//! Invariants: the first entry at a place stays; what others hold only grows.
//! Start reading at: [`apply`].

use rusqlite::{Connection, OptionalExtension, params};

use crate::ids::{Hash, Index, LogId, PeerId, Seq};
use crate::protocol::{CertificateRow, StoredEntry, Write};
use crate::store::expiry;
use crate::store::heads::{Heads, integer, signature_bytes};
use crate::store::patterns::Patterns;
use crate::store::reads::{blob, state_name};
use crate::store::tail::Tail;
use crate::store::{deposits, index, pending};

/// What a write changes: the tables, and what is known of them in memory.
pub(super) struct Tables<'a> {
    pub(super) conn: &'a Connection,
    pub(super) heads: &'a mut Heads,
    pub(super) tail: &'a mut Tail,
    pub(super) patterns: &'a mut Patterns,
}

/// Makes one change within the running transaction.
pub(super) fn apply(tables: &mut Tables<'_>, write: Write) -> rusqlite::Result<()> {
    let Tables { conn, heads, tail, .. } = tables;
    match write {
        Write::Entry(stored) | Write::Received(stored) => entry(tables, &stored),
        Write::Opened { log, seq } => opened(conn, heads, tail, &log, seq),
        Write::Held { log, by, upto } => held(conn, heads, &log, &by, upto),
        Write::Setting { key, value: Some(value) } => setting(conn, &key, &value),
        Write::Setting { key, value: None } => {
            conn.prepare_cached("DELETE FROM settings WHERE key = ?1")?.execute([key])?;
            Ok(())
        }
        Write::Control { space, index, bytes } => control(conn, &space, index, &bytes),
        Write::ControlCut { space, from } => {
            conn.prepare_cached("DELETE FROM control WHERE space = ?1 AND idx >= ?2")?
                .execute(params![space, integer(from.0)])?;
            Ok(())
        }
        Write::Fork(entries) => fork(conn, heads, &entries),
        Write::Pending(stored) => pending::add(conn, heads.touch(conn, &stored.log)?.id, &stored),
        Write::PendingGone(log) => match heads.log(&log) {
            Some(log) => pending::remove(conn, log.id),
            None => Ok(()),
        },
        Write::Erase(entries) => erase(conn, heads, tail, &entries),
        Write::Expires { log, seq, at } => match heads.touch(conn, &log)?.place(seq) {
            Some(place) => expiry::note(conn, place, at),
            None => Ok(()),
        },
        Write::Words { log, seq, lamport, words, is_late } => {
            index::add(conn, (heads, tail), &log, (seq, lamport), &words, is_late)
        }
        Write::Certificate(row) => certificate(conn, &row),
        Write::Deposit(row) => deposits::add(conn, &row),
        Write::Withdraw(numbers) => deposits::withdraw(conn, &numbers),
    }
}

fn entry(tables: &mut Tables<'_>, stored: &StoredEntry) -> rusqlite::Result<()> {
    let Tables { conn, heads, tail, patterns } = tables;
    let log = heads.touch(conn, &stored.log)?;
    let (Some(place), Ok(lamport)) = (log.place(stored.seq), i64::try_from(stored.lamport)) else {
        tracing::warn!(log = ?stored.log, seq = %stored.seq, "an entry out of range is not stored");
        return Ok(());
    };
    if stored.seq == Seq(0) {
        tracing::warn!(log = ?stored.log, "an entry without a place is not stored");
        return Ok(());
    }
    // Past the highest there is nothing to compare with, which is nearly always.
    if stored.seq <= log.last
        && let Some(id) = tail.find(conn, place)?
        && let Some((hash, is_signed)) = present(conn, id)?
    {
        if hash != stored.hash {
            tracing::warn!(log = ?stored.log, seq = %stored.seq, "the place of an entry is taken");
        } else if let (Some(signature), false) = (&stored.signature, is_signed) {
            conn.prepare_cached("UPDATE entries SET signature = ?2 WHERE id = ?1")?
                .execute(params![id, signature.as_bytes()])?;
            log.now_signed(stored.seq);
        }
        return Ok(());
    }
    let (pattern, packed) = patterns.pack(conn, log.id, &stored.bytes)?.unzip();
    conn.prepare_cached(
        "INSERT INTO entries (place, room, lamport, hash, signature, bytes, pattern)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        place,
        log.room,
        lamport,
        stored.hash.as_bytes(),
        signature_bytes(stored.signature.as_ref()),
        packed.as_deref().unwrap_or(&stored.bytes),
        pattern
    ])?;
    tail.add(place, conn.last_insert_rowid(), log.room, lamport);
    log.stored(conn, tail, stored)
}

/// Gives an entry the newest number. Renewed, not copied: its row leaves its page.
fn opened(
    conn: &Connection,
    heads: &Heads,
    tail: &mut Tail,
    log: &LogId,
    seq: Seq,
) -> rusqlite::Result<()> {
    let Some(place) = heads.log(log).and_then(|log| log.place(seq)) else { return Ok(()) };
    let Some(id) = tail.find(conn, place)? else { return Ok(()) };
    let last: i64 =
        conn.prepare_cached("SELECT max(id) FROM entries")?.query_row([], |row| row.get(0))?;
    let newest = last.saturating_add(1);
    conn.prepare_cached("UPDATE entries SET id = ?2 WHERE id = ?1")?.execute([id, newest])?;
    tail.renumber(place, newest);
    Ok(())
}

/// The hash of the entry with this number, and whether it has a signature.
fn present(conn: &Connection, id: i64) -> rusqlite::Result<Option<(Hash, bool)>> {
    conn.prepare_cached("SELECT hash, signature IS NOT NULL FROM entries WHERE id = ?1")?
        .query_row([id], |row| Ok((blob(row, 0, Hash::from_bytes)?, row.get(1)?)))
        .optional()
}

fn held(
    conn: &Connection,
    heads: &mut Heads,
    log: &LogId,
    by: &PeerId,
    upto: Seq,
) -> rusqlite::Result<()> {
    let log = heads.touch(conn, log)?;
    conn.prepare_cached(
        "INSERT INTO held (log, peer, seq) VALUES (?1, ?2, ?3)
         ON CONFLICT (log, peer) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
    )?
    .execute(params![log.id, by.as_bytes(), integer(upto.0)])?;
    Ok(())
}

fn setting(conn: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO settings (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![key, value])?;
    Ok(())
}

fn control(conn: &Connection, space: &str, index: Index, bytes: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO control (space, idx, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (space, idx) DO UPDATE SET bytes = excluded.bytes",
    )?
    .execute(params![space, integer(index.0), bytes])?;
    Ok(())
}

fn fork(conn: &Connection, heads: &mut Heads, kept: &[StoredEntry]) -> rusqlite::Result<()> {
    let Some(first) = kept.first() else { return Ok(()) };
    let log = heads.touch(conn, &first.log)?;
    conn.prepare_cached("DELETE FROM forks WHERE log = ?1")?.execute([log.id])?;
    for stored in kept {
        conn.prepare_cached(
            "INSERT INTO forks (log, seq, hash, lamport, signature, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            log.id,
            integer(stored.seq.0),
            stored.hash.as_bytes(),
            integer(stored.lamport),
            signature_bytes(stored.signature.as_ref()),
            &stored.bytes[..]
        ])?;
    }
    Ok(())
}

/// `PRAGMA secure_delete` sees to it that no page keeps what was there.
fn erase(
    conn: &Connection,
    heads: &Heads,
    tail: &Tail,
    entries: &[StoredEntry],
) -> rusqlite::Result<()> {
    for stored in entries {
        let Some(log) = heads.log(&stored.log) else { continue };
        pending::erase(conn, log.id, stored)?;
        let Some(place) = log.place(stored.seq) else { continue };
        expiry::cross_out(conn, place)?;
        let Some(id) = tail.find(conn, place)? else { continue };
        conn.prepare_cached(
            "UPDATE entries SET bytes = ?3, pattern = NULL WHERE id = ?1 AND hash = ?2",
        )?
        .execute(params![id, stored.hash.as_bytes(), &stored.bytes[..]])?;
        index::remove(conn, place)?;
    }
    index::purge(conn)
}

fn certificate(conn: &Connection, row: &CertificateRow) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO certificates
             (serial, name, skeleton, peer, spki, state, der, asked_at, revoked_at, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        integer(row.serial),
        row.name,
        row.skeleton,
        row.peer.as_bytes(),
        row.spki,
        state_name(row.state),
        row.der,
        integer(row.asked_at.0),
        row.revoked_at.map(|at| integer(at.0)),
        row.reason
    ])?;
    Ok(())
}
