//! The index of words and ids: which entries hold what is searched for, or are called so.
//! Owns: its four tables, and the language of FTS5.
//! Must not know: how a text falls into words, who may read it.
//! Invariants: an entry is in it once; what it says is a hint, the text decides.
//! Start reading at: [`add`] and [`search`].

use rusqlite::{Connection, OptionalExtension, params};

use crate::ids::{LogId, RoomId, Seq};
use crate::protocol::{MessageId, Words};
use crate::store::heads::{Heads, integer, parts};
use crate::store::reads::{limit, number};
use crate::store::tail::Tail;

/// Bits of a row's number that tell entries of one Lamport time apart.
const SAME_BITS: u32 = 20;
/// The last Lamport time that has numbers of its own; later ones share these.
const LAMPORT_LAST: u64 = (1 << (63 - SAME_BITS)) - 1;
/// Pages of the index written anew at a time, after words were taken out.
const PURGED_PAGES: i64 = 256;
/// Rows looked at for one page of a search: they may belong to other rooms.
const LOOKED_MAX: usize = 2_048;

/// Takes the words of an entry in; what is known already stays.
pub(super) fn add(
    conn: &Connection,
    (heads, tail): (&mut Heads, &Tail),
    name: &LogId,
    (seq, lamport): (Seq, u64),
    words: &str,
    is_late: bool,
) -> rusqlite::Result<()> {
    let log = *heads.touch(conn, name)?;
    let Some(entry) = log.place(seq) else { return Ok(()) };
    if !is_late {
        conn.prepare_cached(
            "INSERT INTO indexed (log, seq) VALUES (?1, ?2)
             ON CONFLICT (log) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
        )?
        .execute(params![log.id, integer(seq.0)])?;
        if let Some(number) = tail.find(conn, entry)? {
            conn.prepare_cached(
                "INSERT OR IGNORE INTO named (id, place)
                 SELECT substr(hash, 1, 16), place FROM entries WHERE id = ?1",
            )?
            .execute([number])?;
        }
    }
    if words.is_empty() {
        return Ok(());
    }
    let known: Option<i64> = conn
        .prepare_cached("SELECT id FROM places WHERE entry = ?1")?
        .query_row([entry], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(());
    }
    let first = integer(lamport.min(LAMPORT_LAST) << SAME_BITS);
    let end = first.saturating_add((1 << SAME_BITS) - 1);
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(id) FROM places WHERE id BETWEEN ?1 AND ?2")?
        .query_row([first, end], |row| row.get(0))?;
    let id = last.map_or(first, |last| last.saturating_add(1));
    if id > end {
        tracing::warn!(log = ?name, "too many entries of one Lamport time; one is not indexed");
        return Ok(());
    }
    conn.prepare_cached("INSERT INTO places (id, entry) VALUES (?1, ?2)")?.execute([id, entry])?;
    conn.prepare_cached("INSERT INTO texts (rowid, words) VALUES (?1, ?2)")?
        .execute(params![id, words])?;
    Ok(())
}

/// Takes the words of an entry out; [`purge`] follows.
pub(super) fn remove(conn: &Connection, entry: i64) -> rusqlite::Result<()> {
    let place: Option<i64> = conn
        .prepare_cached("SELECT id FROM places WHERE entry = ?1")?
        .query_row([entry], |row| row.get(0))
        .optional()?;
    let Some(place) = place else { return Ok(()) };
    conn.prepare_cached("DELETE FROM texts WHERE rowid = ?1")?.execute([place])?;
    conn.prepare_cached("DELETE FROM places WHERE id = ?1")?.execute([place])?;
    Ok(())
}

/// FTS5 marks what is deleted and drops it when it merges: so it merges on, some pages at a time,
/// until nothing that was deleted is left.
pub(super) fn purge(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO texts (texts, rank) VALUES ('merge', ?1)")?
        .execute([-PURGED_PAGES])?;
    Ok(())
}

/// Where entries of a room lack their words: log, first of them, how many; `count` at most in all.
pub(super) fn unindexed(
    conn: &Connection,
    heads: &Heads,
    room: RoomId,
    count: usize,
) -> rusqlite::Result<Vec<(LogId, Seq, usize)>> {
    let mut missing = Vec::new();
    if count == 0 {
        return Ok(missing);
    }
    let mut statement = conn.prepare_cached("SELECT seq FROM indexed WHERE log = ?1")?;
    let mut left = count;
    for (name, log) in heads.logs_of(room) {
        if left == 0 {
            break;
        }
        let done = statement.query_row([log.id], |row| number(row, 0)).optional()?;
        let done = done.unwrap_or_default();
        let lacks = usize::try_from(log.seq.0.saturating_sub(done)).unwrap_or(usize::MAX).min(left);
        if lacks > 0 {
            missing.push((*name, Seq(done).next(), lacks));
            left = left.saturating_sub(lacks);
        }
    }
    Ok(missing)
}

/// How many entries of all rooms lack their words.
pub(super) fn unindexed_count(conn: &Connection, heads: &Heads) -> rusqlite::Result<u64> {
    let indexed: u64 = conn
        .prepare_cached("SELECT coalesce(sum(seq), 0) FROM indexed")?
        .query_row([], |row| number(row, 0))?;
    let all = heads.lasts().iter().fold(0_u64, |sum, (_, last)| sum.saturating_add(last.0));
    Ok(all.saturating_sub(indexed))
}

/// A page of the entries of a room that hold these words, newest first.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The number of each row, and where its entry stands.
    pub(super) rows: Vec<(i64, i64)>,
    pub(super) looked: usize,
    /// The highest number that may follow; `None`: there is no more.
    pub(super) next: Option<i64>,
}

/// The newest entries of a room that hold these words, from this row back.
pub(super) fn search(
    conn: &Connection,
    heads: &Heads,
    words: &Words,
    (room, upto): (i64, i64),
    count: usize,
) -> rusqlite::Result<Page> {
    // The order of the joins is given: by the rows that match, from the newest on.
    let mut statement = conn.prepare_cached(
        "SELECT texts.rowid, places.entry FROM texts CROSS JOIN places ON places.id = texts.rowid
         WHERE texts MATCH ?1 AND texts.rowid <= ?2 ORDER BY texts.rowid DESC",
    )?;
    let mut rows = statement.query(params![question(words), upto])?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        let (number, entry): (i64, i64) = (row.get(0)?, row.get(1)?);
        if page.rows.len() >= count || page.looked >= LOOKED_MAX {
            page.next = Some(number);
            break;
        }
        page.looked = page.looked.saturating_add(1);
        let log = heads.name(parts(entry).0).and_then(|name| heads.log(name));
        if log.is_some_and(|log| log.room == room) {
            page.rows.push((number, entry));
        }
    }
    Ok(page)
}

/// Entries by their messages' ids, from one to another.
pub(super) const CALLED: &str = "SELECT place FROM named WHERE id >= ?1 AND id <= ?2 LIMIT ?3";

/// The places of entries whose messages' ids lie between these, both included.
pub(super) fn called(
    conn: &Connection,
    (first, last): (MessageId, MessageId),
    count: usize,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(CALLED)?;
    statement.query_map(params![first.0, last.0, limit(count)], |row| row.get(0))?.collect()
}

/// The words as FTS5 asks for them; no word holds a quote.
fn question(words: &Words) -> String {
    let terms = words.terms().iter().map(|term| {
        let star = if term.is_prefix { " *" } else { "" };
        format!("\"{}\"{star}", term.tokens.join(" "))
    });
    terms.collect::<Vec<_>>().join(" AND ")
}
