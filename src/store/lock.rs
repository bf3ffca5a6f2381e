//! The home directory: created private, locked by one process.
//! Owns: the directory's creation and its lock file.
//! Must not know: what the files in it hold.
//! Invariants: while a [`Home`] or its database is open, no other process has it.
//! Start reading at: [`Home::open`].

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::refusal::{Refusal, Refused};
use crate::store::vault;

/// Whoever locks this file has the home. It is never removed: a removed file could be locked by
/// one process and created again by another.
pub(super) const LOCK: &str = "lock";

/// An opened, locked home directory.
pub struct Home {
    path: PathBuf,
    lock: Arc<Held>,
}

/// A file that we have locked, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(File);

impl Held {
    /// Locks it, unless somebody else has.
    pub(crate) fn try_new(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }

    /// Locks it as soon as nobody else has it.
    pub(crate) fn wait(file: File) -> io::Result<Self> {
        file.lock().map(|()| Self(file))
    }
}

impl Drop for Held {
    /// Closing would not do: a process that another thread is just starting has the open file, too,
    /// and the lock with it, until it has become another program.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

impl Home {
    /// Opens the directory, creates it for its owner alone if it is not there, and locks it.
    ///
    /// # Refusals
    /// `home_in_use`, `home_unusable`.
    pub fn open(path: &Path) -> Result<Self, Refused> {
        create(path).map_err(|error| unusable(path, &error))?;
        let file = path.join(LOCK);
        let lock = open(&file).map_err(|error| unusable(&file, &error))?;
        let mut lock = match Held::try_new(lock) {
            Ok(held) => held,
            Err((mut lock, TryLockError::WouldBlock)) => return Err(in_use(path, &mut lock)),
            Err((_, TryLockError::Error(error))) => return Err(unusable(&file, &error)),
        };
        // For whoever comes second; also finds out now whether anything can be written here.
        sign(&mut lock.0).map_err(|error| unusable(&file, &error))?;
        super::backup::clear_dead(path);
        Ok(Self { path: path.to_owned(), lock: Arc::new(lock) })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the home locked for as long as it is held.
    pub(super) fn lock(&self) -> Arc<Held> {
        Arc::clone(&self.lock)
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The refusal for a directory or a file in it that cannot be used.
pub(super) fn unusable(path: &Path, error: &io::Error) -> Refused {
    Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn open(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    vault::keep_private(&mut options).open(file)
}

/// Makes a lock file and holds it.
pub(super) fn hold(file: &Path) -> io::Result<Held> {
    let mut lock = Held::try_new(open(file)?).map_err(|(_, error)| io::Error::from(error))?;
    sign(&mut lock.0)?;
    Ok(lock)
}

/// Whether there is a lock file that somebody held and nobody holds. One without a number in it was
/// made this moment and is about to be held: it is not touched.
pub(super) fn is_dead(file: &Path) -> bool {
    let is_signed = |lock: &File| lock.metadata().is_ok_and(|it| it.len() > 0);
    File::open(file).is_ok_and(|lock| is_signed(&lock) && Held::try_new(lock).is_ok())
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    lock.sync_all()
}

fn in_use(path: &Path, lock: &mut File) -> Refused {
    let mut text = String::new();
    // The other process may not have signed yet; what is there is a number or not believed.
    let pid = match lock.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().ok(),
        Err(_) => None,
    };
    let by = pid.map_or_else(|| "by another process".to_owned(), |pid| format!("by pid {pid}"));
    Refused::new(Refusal::HomeInUse, format!("{} is in use {by}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_free_again_though_a_child_being_started_has_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let of_child = home.lock.0.try_clone().unwrap();
        assert_eq!(Home::open(dir.path()).unwrap_err().refusal, Refusal::HomeInUse);
        drop(home);
        assert!(Home::open(dir.path()).is_ok());
        drop(of_child);
    }
}
