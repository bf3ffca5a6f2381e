//! The tables, as numbered steps from an empty file to this program's schema.
//! Owns: every `CREATE` and `ALTER`, and the database's version number.
//! Must not know: what is read or written through the tables.
//! Invariants: a step is whole or absent; a step that was released is never edited.
//! Start reading at: [`STEPS`].

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::refusal::{Refusal, Refused};
use crate::store::refused;

pub(super) type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// Step n, counted from 1, leads from version n - 1 to version n.
pub(super) const STEPS: &[Step] =
    &[foundation, words, arrivals, expiries, deposits, patterns, pending, named, signed];

/// The version in which control entries are signed by their leader.
const SIGNED: u32 = 9;

/// Brings the database to this program's version; a newer one is left untouched, and so is one with
/// a control log that nobody signed: who could vouch for it now?
pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), Refused> {
    if has_unsigned_log(conn).map_err(|error| refused(path, &error))? {
        let line = format!(
            "{}: its control log is not signed; the network must begin anew, with new homes for \
             bootstrap, authority and members",
            path.display()
        );
        return Err(Refused::new(Refusal::DatabaseOlder, line));
    }
    migrate_by(conn, path, STEPS)
}

fn has_unsigned_log(conn: &Connection) -> rusqlite::Result<bool> {
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 || found >= SIGNED {
        return Ok(false);
    }
    conn.query_row("SELECT EXISTS (SELECT 1 FROM control)", [], |row| row.get(0))
}

fn migrate_by(conn: &mut Connection, path: &Path, steps: &[Step]) -> Result<(), Refused> {
    let found: u32 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| refused(path, &error))?;
    if usize::try_from(found).unwrap_or(usize::MAX) > steps.len() {
        let known = steps.len();
        let line = format!("{} has schema {found}, this program knows {known}", path.display());
        return Err(Refused::new(Refusal::DatabaseNewer, line));
    }
    for (version, step) in (1_u32..).zip(steps).filter(|(version, _)| *version > found) {
        run(conn, version, *step).map_err(|error| refused(path, &error))?;
    }
    Ok(())
}

fn run(conn: &mut Connection, version: u32, step: Step) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    step(&transaction)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// Settings, the control log, author logs, the authority's register.
///
/// An entry's `id` is `log << 40 | seq`: the rows of a log lie together in order without an index
/// of their own, and `entries_shown`, which ends in the id as every index does, holds display
/// order but for the order of authors within one Lamport time, which the read settles. So an
/// insert touches two trees, both mostly at their ends.
fn foundation(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE settings (
             key   TEXT PRIMARY KEY,
             value BLOB NOT NULL
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE control (
             space TEXT NOT NULL,
             idx   INTEGER NOT NULL,
             bytes BLOB NOT NULL,
             PRIMARY KEY (space, idx)
         ) STRICT;

         CREATE TABLE rooms (
             id   INTEGER PRIMARY KEY,
             room BLOB NOT NULL UNIQUE
         ) STRICT;

         -- seq, hash, lamport: an entry without a gap before it (seq 0: none), not long ago the
         -- newest; signed: the last of these with a signature; last: the highest seq stored then.
         -- The entries after seq tell the rest.
         CREATE TABLE logs (
             id          INTEGER PRIMARY KEY,
             room        INTEGER NOT NULL REFERENCES rooms (id),
             author      BLOB NOT NULL,
             incarnation INTEGER NOT NULL,
             seq         INTEGER NOT NULL,
             hash        BLOB NOT NULL,
             lamport     INTEGER NOT NULL,
             signed      INTEGER NOT NULL,
             last        INTEGER NOT NULL,
             UNIQUE (room, author, incarnation)
         ) STRICT;

         CREATE TABLE entries (
             id        INTEGER PRIMARY KEY,
             room      INTEGER NOT NULL,
             lamport   INTEGER NOT NULL,
             hash      BLOB NOT NULL,
             signature BLOB,
             bytes     BLOB NOT NULL
         ) STRICT;
         CREATE INDEX entries_shown ON entries (room, lamport);

         CREATE TABLE held (
             log  INTEGER NOT NULL REFERENCES logs (id),
             peer BLOB NOT NULL,
             seq  INTEGER NOT NULL,
             PRIMARY KEY (log, peer)
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE forks (
             log       INTEGER NOT NULL REFERENCES logs (id),
             seq       INTEGER NOT NULL,
             hash      BLOB NOT NULL,
             lamport   INTEGER NOT NULL,
             signature BLOB,
             bytes     BLOB NOT NULL,
             PRIMARY KEY (log, seq, hash)
         ) STRICT;

         CREATE TABLE certificates (
             serial     INTEGER PRIMARY KEY,
             name       TEXT NOT NULL,
             skeleton   TEXT NOT NULL,
             peer       BLOB NOT NULL,
             spki       BLOB NOT NULL,
             state      TEXT NOT NULL CHECK (state IN ('waiting', 'valid', 'revoked')),
             der        BLOB NOT NULL,
             asked_at   INTEGER NOT NULL,
             revoked_at INTEGER,
             reason     TEXT NOT NULL
         ) STRICT;",
    )
}

/// The words of entries, for the search.
///
/// `texts` holds an index and no text. Its rows are numbered in display order as far as Lamport
/// times tell it (`lamport << 20 | n`), so that the newest are found first without looking at all;
/// `places` leads from there to the entry. The words come cut and in lower case, and the tokenizer
/// takes everything but ASCII signs and spaces for part of one.
fn words(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE VIRTUAL TABLE texts USING fts5 (
             words, content = '', contentless_delete = 1, tokenize = 'ascii'
         );

         CREATE TABLE places (
             id    INTEGER PRIMARY KEY,
             entry INTEGER NOT NULL UNIQUE
         ) STRICT;

         -- seq: up to where the words of the log were handed over.
         CREATE TABLE indexed (
             log INTEGER PRIMARY KEY REFERENCES logs (id),
             seq INTEGER NOT NULL
         ) STRICT;",
    )
}

/// Entries in the order they came, which is that of the file: whatever the number of authors, a
/// transaction writes at the end of one tree, and who was away can ask for what came after.
///
/// Where a log's entries lie (`arrivals`, by `log << 40 | seq`) and how a room shows them (`shown`)
/// is written for many at once; of those after `settled` memory knows it, see `store/tail.rs`.
fn arrivals(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "DROP INDEX entries_shown;
         ALTER TABLE entries RENAME TO logged;

         CREATE TABLE entries (
             id        INTEGER PRIMARY KEY,
             place     INTEGER NOT NULL,
             room      INTEGER NOT NULL,
             lamport   INTEGER NOT NULL,
             hash      BLOB NOT NULL,
             signature BLOB,
             bytes     BLOB NOT NULL
         ) STRICT;

         CREATE TABLE arrivals (
             place INTEGER PRIMARY KEY,
             entry INTEGER NOT NULL
         ) STRICT;

         CREATE TABLE shown (
             room    INTEGER NOT NULL,
             lamport INTEGER NOT NULL,
             place   INTEGER NOT NULL,
             PRIMARY KEY (room, lamport, place)
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE settled (
             one   INTEGER PRIMARY KEY CHECK (one = 1),
             entry INTEGER NOT NULL
         ) STRICT;

         INSERT INTO entries (place, room, lamport, hash, signature, bytes)
             SELECT id, room, lamport, hash, signature, bytes FROM logged ORDER BY lamport, id;
         INSERT INTO arrivals SELECT place, id FROM entries ORDER BY place;
         INSERT INTO shown SELECT room, lamport, place FROM entries
             ORDER BY room, lamport, place;
         INSERT INTO settled SELECT 1, coalesce(max(id), 0) FROM entries;
         DROP TABLE logged;",
    )
}

/// When entries end that have an end: `place` is `log << 40 | seq`.
fn expiries(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE expiries (
             place INTEGER PRIMARY KEY,
             at    INTEGER NOT NULL
         ) STRICT;
         CREATE INDEX expiries_at ON expiries (at);",
    )
}

/// What others left here to be kept. A shelf's deposits are read in the order they came; what goes
/// is what came first, of all or of one depositor. `AUTOINCREMENT` remembers the highest number
/// ever given.
fn deposits(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE deposits (
             number    INTEGER PRIMARY KEY AUTOINCREMENT,
             shelf     BLOB NOT NULL,
             depositor BLOB NOT NULL,
             hash      BLOB NOT NULL UNIQUE,
             at        INTEGER NOT NULL,
             sealed    BLOB NOT NULL
         ) STRICT;
         CREATE INDEX deposits_shelf ON deposits (shelf, number);
         CREATE INDEX deposits_of ON deposits (depositor, number);",
    )
}

/// How entries of a log begin; `entries.pattern`: what its bytes are told by, see
/// `store/patterns.rs`. `NULL`: they are all there.
fn patterns(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE patterns (
             id    INTEGER PRIMARY KEY,
             log   INTEGER NOT NULL,
             bytes BLOB NOT NULL
         ) STRICT;
         CREATE INDEX patterns_of ON patterns (log);
         ALTER TABLE entries ADD COLUMN pattern INTEGER;",
    )
}

/// Ends of logs whose rest is on its way. They lie apart: what is told to be held, and everything
/// that reads a log, speaks of what has no gap before it.
fn pending(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE pending (
             log       INTEGER NOT NULL REFERENCES logs (id),
             seq       INTEGER NOT NULL,
             lamport   INTEGER NOT NULL,
             hash      BLOB NOT NULL,
             signature BLOB,
             bytes     BLOB NOT NULL,
             PRIMARY KEY (log, seq)
         ) STRICT;",
    )
}

/// Entries by the beginning of their hash, which is their message's id. Hashes come in no order, so
/// each would cost a page of its own: they are written with the words, in quiet moments.
fn named(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE named (
             id    BLOB NOT NULL,
             place INTEGER NOT NULL,
             PRIMARY KEY (id, place)
         ) STRICT, WITHOUT ROWID;
         INSERT INTO named
             SELECT substr(hash, 1, 16), place FROM entries
             JOIN indexed ON indexed.log = place >> 40
             WHERE place & ((1 << 40) - 1) <= indexed.seq
             ORDER BY 1;",
    )
}

/// No table changes. The version tells apart what holds control entries from before they were signed.
fn signed(_: &Transaction<'_>) -> rusqlite::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(conn: &Connection) -> Vec<String> {
        conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn version(conn: &Connection) -> u32 {
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_step_that_is_cut_short_leaves_the_version_before_it() {
        let first: Step = |t| t.execute_batch("CREATE TABLE a (x)");
        let broken: Step = |t| t.execute_batch("CREATE TABLE b (x); DROP TABLE a; SELECT nothing");
        let second: Step = |t| t.execute_batch("CREATE TABLE c (x)");
        let mut conn = Connection::open_in_memory().unwrap();
        let path = Path::new("x");
        let refused = migrate_by(&mut conn, path, &[first, broken, second]).unwrap_err();
        assert_eq!(refused.refusal, Refusal::DatabaseFailed);
        assert_eq!((version(&conn), tables(&conn)), (1, vec!["a".to_owned()]));
        migrate_by(&mut conn, path, &[first, second]).unwrap();
        assert_eq!((version(&conn), tables(&conn)), (2, vec!["a".to_owned(), "c".to_owned()]));
        migrate_by(&mut conn, path, &[first, second]).unwrap();
        let refused = migrate_by(&mut conn, path, &[first]).unwrap_err();
        assert_eq!(refused.refusal, Refusal::DatabaseNewer);
        assert_eq!(refused.detail, "x has schema 2, this program knows 1");
    }

    #[test]
    fn a_database_of_the_foundation_keeps_its_entries_and_gets_an_index() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate_by(&mut conn, Path::new("x"), &[foundation]).unwrap();
        conn.execute_batch(
            "INSERT INTO rooms VALUES (1, x'aa');
             INSERT INTO entries VALUES (5, 1, 7, x'bb', NULL, x'cc')",
        )
        .unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        assert_eq!(usize::try_from(version(&conn)), Ok(STEPS.len()));
        let row: (i64, i64) = conn
            .query_row(
                "SELECT place, entries.lamport FROM entries JOIN arrivals USING (place)
                 JOIN shown USING (place) WHERE entry = id",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(row, (5, 7));
        conn.execute_batch("INSERT INTO texts (rowid, words) VALUES (1, 'one two')").unwrap();
        let found: i64 = conn
            .query_row("SELECT rowid FROM texts WHERE texts MATCH '\"two\"'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(found, 1);
    }

    #[test]
    fn a_database_before_ends_and_ids_gets_both_and_keeps_what_it_has() {
        let mut conn = Connection::open_in_memory().unwrap();
        let before: &[Step] = &[foundation, words, arrivals, expiries, deposits];
        migrate_by(&mut conn, Path::new("x"), before).unwrap();
        conn.execute_batch(
            "INSERT INTO rooms VALUES (1, x'aa');
             INSERT INTO logs VALUES (1, 1, x'bb', 0, 2, x'00', 2, 2, 2);
             INSERT INTO entries (place, room, lamport, hash, signature, bytes) VALUES
                 ((1 << 40) + 1, 1, 1, x'a1a2a3a4a5a6a7a8b1b2b3b4b5b6b7b8cc', NULL, x'01'),
                 ((1 << 40) + 2, 1, 2, x'd1d2d3d4d5d6d7d8e1e2e3e4e5e6e7e8cc', x'00', x'02');
             INSERT INTO indexed VALUES (1, 1);",
        )
        .unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        assert_eq!(usize::try_from(version(&conn)), Ok(STEPS.len()));
        // The one whose words were taken in is found by its id; the other follows with its words.
        let named: Vec<(Vec<u8>, i64)> = conn
            .prepare("SELECT id, place FROM named")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let id = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8];
        let rest = [0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8];
        assert_eq!(named, [([id, rest].concat(), (1 << 40) + 1)]);
        let count = |table: &str| -> i64 {
            let question = format!("SELECT count(*) FROM {table}");
            conn.query_row(&question, [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("entries"), count("pending")), (2, 0));
    }

    #[test]
    fn a_control_log_from_before_signatures_is_refused_in_one_line_and_left_as_it_is() {
        let mut conn = Connection::open_in_memory().unwrap();
        let before = &STEPS[..STEPS.len() - 1];
        migrate_by(&mut conn, Path::new("x"), before).unwrap();
        conn.execute_batch("INSERT INTO control VALUES ('main', 1, x'aa')").unwrap();
        let refused = migrate(&mut conn, Path::new("x")).unwrap_err();
        assert_eq!(refused.refusal, Refusal::DatabaseOlder);
        assert!(refused.detail.starts_with("x: its control log is not signed; the network must"));
        assert_eq!(usize::try_from(version(&conn)), Ok(STEPS.len() - 1));
        // An authority's, or that of a member that never came in, holds none and goes on.
        conn.execute_batch("DELETE FROM control").unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        assert_eq!(version(&conn), SIGNED);
        conn.execute_batch("INSERT INTO control VALUES ('main', 1, x'aa')").unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
    }

    #[test]
    fn every_table_is_strict() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, Path::new("x")).unwrap();
        let loose: u32 = conn
            .query_row(
                "SELECT count(*) FROM pragma_table_list
                 WHERE type = 'table' AND NOT strict AND name NOT LIKE 'sqlite_%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        let is_own = |name: &String| !name.starts_with("texts") && !name.starts_with("sqlite_");
        let own = tables(&conn).into_iter().filter(is_own);
        assert_eq!((loose, own.count()), (0, 18));
    }
}
