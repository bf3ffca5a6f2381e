//! The encrypted database of one process: everything that must outlive it.
//! Owns: the home directory and its lock, SQLCipher, transactions, durability.
//! Must not know: what the bytes mean, who may write them, what time it is.
//! Invariants: a transaction is whole or absent; memory follows what is committed; what was
//! committed with [`Sync::Full`] survives power loss; damage is an error, never other data.
//! Start reading at: [`Store`].
//!
//! ```text
//!   begin ── apply ── reads ── apply ── commit(Full) ──► on disk, now send
//!     ▲                 │                   │
//!     └── rollback ◄────┴── Full or Failed ─┘      memory is as it was at begin
//! ```

mod archive;
pub mod backup;
mod deposits;
mod expiry;
mod heads;
mod index;
mod journal;
mod lock;
mod patterns;
mod pending;
mod reads;
mod schema;
mod sealed;
mod tail;
mod vault;
mod writes;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use crate::protocol::{StoredEntry, Write};
use crate::refusal::{Refusal, Refused};

use heads::Heads;
use journal::Journal;
pub(crate) use lock::Held;
pub use lock::Home;
use patterns::Patterns;
pub use sealed::Passphrase;
use tail::Tail;
pub use vault::{read_key_file, read_passphrase};
use writes::Tables;

/// The database's file name in the home.
const DATABASE: &str = "store.db";
/// What may be cached of the database, in KiB; a member's memory is counted in tens of MiB.
const CACHE_KIB: u32 = 2_048;
/// Pages in the write-ahead log before they move to the database (16 MiB): rare enough for
/// floods, small enough to be read again in a moment after a crash.
const CHECKPOINT_PAGES: u32 = 4_096;
/// What proves that a page was not changed: of the two that count as safe the one that today's
/// processors compute by themselves, in less than half the time.
const PAGE_PROOF: &str = "HMAC_SHA256";
/// The one of databases made by earlier versions, which keep it.
const PAGE_PROOF_BEFORE: &str = "HMAC_SHA512";
/// Prepared statements kept; more than there are.
const STATEMENTS: usize = 64;

/// Why something was not stored or not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No space, no quota left, or the file system became read-only: nothing was stored, and it
    /// may work again later.
    #[error("no space left for the database")]
    Full,
    /// Anything else. Never tried again: the process ends, and the next one starts from what is
    /// on disk.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::new(Refusal::DatabaseFailed, error.to_string())
    }
}

/// What a commit must survive before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The loss of power: this and every earlier commit are on the disk itself.
    Full,
    /// The end of the process. Power loss may take it away, but never without all later ones.
    Normal,
}

/// An open database. Only one process has it, and one thread in it.
///
/// Reads see the writes applied so far, committed or not. After an error of [`Store::apply`] or
/// [`Store::commit`] the transaction is gone and everything is as it was before it.
pub struct Store {
    conn: Connection,
    heads: Heads,
    tail: Tail,
    patterns: Patterns,
    journal: Journal,
    /// Whether SQLite has a transaction of ours; it starts with the first write.
    is_begun: bool,
    /// Whether something is committed that power loss could still take.
    is_unsynced: bool,
    /// The write-ahead log, opened for syncing only.
    wal: Option<File>,
    directory: PathBuf,
    /// The first error of a read, or of a sync.
    failure: RefCell<Option<Error>>,
    vault: vault::Vault,
    /// The home stays locked for as long as its database is open.
    _lock: Arc<Held>,
}

impl Store {
    /// Opens the database of this home, which is under no passphrase.
    ///
    /// # Refusals
    /// As [`Store::open_with`].
    pub fn open(home: &Home) -> Result<Self, Refused> {
        Self::open_with(home, None)
    }

    /// Opens the database of this home, creates it on first use, then under this passphrase, and
    /// brings it to this program's schema.
    ///
    /// # Refusals
    /// `database_key` (wrong key or damaged), `database_newer`, `database_older`, `database_failed`,
    /// `key_file_open`, `home_unusable`; `passphrase_needed`, `passphrase_wrong`,
    /// `passphrase_none`, `passphrase_weak` for a new home.
    pub fn open_with(home: &Home, passphrase: Option<&Passphrase>) -> Result<Self, Refused> {
        let path = home.path().join(DATABASE);
        let vault = vault::open(home, &path, passphrase)?;
        let mut conn = connect(&path, &vault.key).map_err(|error| refused(&path, &error))?;
        schema::migrate(&mut conn, &path)?;
        let tail = Tail::load(&conn).map_err(|error| refused(&path, &error))?;
        let heads = Heads::load(&conn, &tail).map_err(|error| refused(&path, &error))?;
        let journal = Journal::load(home.path(), &vault.key)?;
        let mut store = Self {
            conn,
            heads,
            tail,
            patterns: Patterns::default(),
            journal,
            is_begun: false,
            // What an earlier process committed may not have reached the disk.
            is_unsynced: true,
            wal: None,
            directory: home.path().to_owned(),
            failure: RefCell::new(None),
            vault,
            _lock: home.lock(),
        };
        if store.recall()? {
            store.commit(Sync::Normal)?;
        }
        Ok(store)
    }

    /// The bytes of a key file of this database's home; sealed on disk if the home is under a
    /// passphrase.
    ///
    /// # Refusals
    /// As [`Home::key_file`]; `database_key` if it is another home's.
    pub fn key_file(&self, home: &Home, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        home.open_key_file(name, &self.vault)
    }

    /// Writes a key file of this database's home, sealed if the home is under a passphrase.
    ///
    /// # Refusals
    /// `home_unusable`.
    pub fn write_key_file(&self, home: &Home, name: &str, bytes: &[u8]) -> Result<(), Refused> {
        if self.vault.is_sealed {
            home.write_key_file(name, &sealed::seal_file(bytes, &self.vault.key, name)?)
        } else {
            home.write_key_file(name, bytes)
        }
    }

    /// Starts a transaction. It costs nothing until something is written.
    pub fn begin(&mut self) {
        // What a forgotten transaction left must not slip into this one.
        if self.is_begun {
            tracing::error!("a transaction was begun inside another; the first is dropped");
            self.rollback();
        }
    }

    /// Writes within the transaction.
    pub fn apply(&mut self, writes: Vec<Write>) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let result = self.is_sound().and_then(|()| {
            self.begin_writing()
                .and_then(|()| {
                    let mut tables = Tables {
                        conn: &self.conn,
                        heads: &mut self.heads,
                        tail: &mut self.tail,
                        patterns: &mut self.patterns,
                    };
                    writes.into_iter().try_for_each(|write| writes::apply(&mut tables, write))
                })
                .map_err(|error| self.classify(&error))
        });
        if result.is_err() {
            self.rollback();
        }
        result
    }

    /// Notes an entry: no end of the process takes it from here on. It belongs to the next commit,
    /// whatever is applied until then. Whether there was room: so much is noted, and no more, until
    /// something is committed. After an error the transaction is gone, and the entry is not noted.
    pub fn note(&mut self, entry: &StoredEntry) -> Result<bool, Error> {
        let noted = self.is_sound().and_then(|()| {
            self.journal.note(entry).map_err(|error| {
                let failed = || Error::Failed(format!("cannot write the journal: {error}"));
                if vault::takes_no_more(&error) { Error::Full } else { failed() }
            })
        });
        if noted.is_err() {
            self.rollback();
        }
        noted
    }

    /// After a transaction that failed, or an end that was none: what was noted and is not committed
    /// is applied in a new one, for reads to see. Whether there was any.
    pub fn recall(&mut self) -> Result<bool, Error> {
        if self.journal.noted().is_empty() {
            return Ok(false);
        }
        self.begin();
        self.apply_noted()?;
        // Who wrote it is told that it is stored, although the database may have no space for it yet.
        self.journal.sync().map_err(|error| {
            let error = Error::Failed(format!("cannot sync the journal: {error}"));
            self.fail(error.clone());
            error
        })?;
        Ok(true)
    }

    /// What of the noted is not applied yet.
    fn apply_noted(&mut self) -> Result<(), Error> {
        let is_absent =
            |it: &&StoredEntry| self.heads.log(&it.log).is_none_or(|log| log.last < it.seq);
        let absent = self.journal.noted().iter().filter(is_absent);
        let absent = absent.cloned().map(Write::Entry).collect();
        self.apply(absent)
    }

    /// Ends the transaction: all of it is stored, or nothing.
    ///
    /// With [`Sync::Full`] everything committed before is synced too, even if this transaction
    /// wrote nothing. Refuses what was decided on a failed read.
    pub fn commit(&mut self, sync: Sync) -> Result<(), Error> {
        let committed = self.is_sound().and_then(|()| self.apply_noted());
        let committed = committed.and_then(|()| self.commit_writing());
        if committed.is_err() {
            self.rollback();
            return committed;
        }
        match sync {
            Sync::Full => self.sync(),
            Sync::Normal => Ok(()),
        }
    }

    /// Drops the transaction, if there is one.
    pub fn rollback(&mut self) {
        self.heads.restore();
        self.tail.restore();
        self.patterns.restore();
        self.is_begun = false;
        // After some errors SQLite has already rolled back by itself.
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            self.fail(Error::Failed(format!("cannot roll back: {error}")));
        }
        // A read that found no space to spill pages was part of what is dropped now.
        self.failure.borrow_mut().take_if(|error| *error == Error::Full);
    }

    /// Whether every read so far has succeeded. After an error what was read may be missing, and
    /// what was decided on it must not be stored or sent.
    pub fn is_sound(&self) -> Result<(), Error> {
        match &*self.failure.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn begin_writing(&mut self) -> rusqlite::Result<()> {
        if !self.is_begun {
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.is_begun = true;
        }
        Ok(())
    }

    fn commit_writing(&mut self) -> Result<(), Error> {
        if !self.is_begun {
            return Ok(());
        }
        if self.conn.is_autocommit() {
            return Err(Error::Failed("the transaction ended by itself".to_owned()));
        }
        self.heads
            .flush(&self.conn)
            .and_then(|()| self.tail.flush(&self.conn))
            .and_then(|()| self.conn.prepare_cached("COMMIT")?.execute([]))
            .map_err(|error| self.classify(&error))?;
        self.heads.keep();
        self.tail.keep();
        self.patterns.keep();
        self.is_begun = false;
        self.is_unsynced = true;
        // What stays in it is found to be in the database.
        if let Err(error) = self.journal.clear() {
            tracing::warn!(%error, "the journal cannot be emptied");
        }
        Ok(())
    }

    /// SQLite refuses to change `synchronous` inside a transaction, and only its end shows whether
    /// it must survive power loss. So the database runs with NORMAL, which orders everything that
    /// recovery needs, and the one sync that FULL adds, that of the log after a commit, is done
    /// here. Pages reach the database only after SQLite itself synced the log.
    fn sync(&mut self) -> Result<(), Error> {
        if !self.is_unsynced {
            return Ok(());
        }
        // An error is final: a second sync would succeed without the pages that were lost.
        self.sync_log().map_err(|error| {
            let error = Error::Failed(format!("cannot sync the database: {error}"));
            self.fail(error.clone());
            error
        })?;
        self.is_unsynced = false;
        Ok(())
    }

    fn sync_log(&mut self) -> io::Result<()> {
        let log = match self.wal.take() {
            Some(log) => log,
            None => match File::open(self.directory.join(format!("{DATABASE}-wal"))) {
                // Nothing was written since the log was last moved into the database and synced.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                opened => opened?,
            },
        };
        log.sync_data()?;
        self.wal = Some(log);
        Ok(())
    }

    /// Remembers the first error; it decides.
    fn fail(&self, error: Error) {
        tracing::error!(%error, "the database failed");
        self.failure.borrow_mut().get_or_insert(error);
    }

    fn classify(&self, error: &rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => Error::Full,
            // SQLite names only ENOSPC; a spent quota or a read-only remount looks like any
            // failed write, so ask the file system.
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
                if vault::is_full(&self.directory) =>
            {
                Error::Full
            }
            _ => Error::Failed(error.to_string()),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Opens the file and proves that the key fits.
fn connect(path: &Path, key: &Zeroizing<String>) -> rusqlite::Result<Connection> {
    match connect_by(path, key, PAGE_PROOF) {
        // Made before there was a choice.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            connect_by(path, key, PAGE_PROOF_BEFORE)
        }
        connected => connected,
    }
}

fn connect_by(path: &Path, key: &Zeroizing<String>, proof: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // The library would write to stderr by itself; its errors reach us as errors.
    conn.execute_batch("PRAGMA cipher_log_level = NONE")?;
    let statement = Zeroizing::new(format!("PRAGMA key = \"x'{}'\"", key.as_str()));
    conn.execute_batch(&statement)?;
    // Exclusive before the first access: with the home locked nobody shares the database, and the
    // index of the log then lives in our memory instead of a shared file.
    conn.execute_batch(&format!(
        "PRAGMA cipher_hmac_algorithm = {proof};
         PRAGMA cipher_memory_security = OFF;
         PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{CACHE_KIB};
         SELECT count(*) FROM sqlite_master;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {};
         PRAGMA trusted_schema = OFF;",
        u64::from(CHECKPOINT_PAGES) * 4_096 * 2
    ))?;
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidQuery);
    }
    Ok(conn)
}

/// An error while opening, as one line.
fn refused(path: &Path, error: &rusqlite::Error) -> Refused {
    let refusal = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Refusal::DatabaseKey,
        _ => Refusal::DatabaseFailed,
    };
    Refused::new(refusal, format!("{}: {error}", path.display()))
}
