//! Keys at rest: files that only their owner may read.
//! Owns: the key files of a home, and the key of its database.
//! Must not know: what a key is for.
//! Invariants: a key file is whole or absent, is synced before it is used, is 0600 or refused.
//! Start reading at: [`Home::key_file`].

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::sealed::{self, Passphrase};
use crate::limits::PASSPHRASE_BYTES_MAX;
use crate::refusal::{Refusal, Refused};
use crate::store::lock::{Home, unusable};

/// A key file at the largest: a PKCS#8 RSA key of 8192 bits has under 8 KiB.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// The file with the database's key: 32 random bytes in hex, or these under a passphrase.
pub(super) const DATABASE_KEY: &str = "database.key";

impl Home {
    /// The bytes of a key file, or nothing if there is none.
    ///
    /// # Refusals
    /// `key_file_open` if others may read it, `home_unusable` if it cannot be read.
    pub fn key_file(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        read_key_file(&self.file(name)?)
    }

    /// Writes a key file, or replaces it. When this returns, it is on disk; at every moment before,
    /// the file is absent or the old one.
    ///
    /// # Refusals
    /// `home_unusable`.
    pub fn write_key_file(&self, name: &str, bytes: &[u8]) -> Result<(), Refused> {
        let path = self.file(name)?;
        let beside = self.file(&format!("{name}.new"))?;
        replace(self.path(), &path, &beside, bytes).map_err(|error| unusable(&path, &error))
    }

    fn file(&self, name: &str) -> Result<PathBuf, Refused> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(_)), None) => Ok(self.path().join(name)),
            _ => Err(unusable(Path::new(name), &io::Error::other("not a file name"))),
        }
    }
}

/// Reads a key file without the home's lock: for an operator beside the running process.
///
/// # Refusals
/// `key_file_open` if others may read it, `home_unusable` if it cannot be read.
pub fn read_key_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, &error)),
    };
    let metadata = file.metadata().map_err(|error| unusable(path, &error))?;
    if !metadata.is_file() || metadata.len() > KEY_FILE_BYTES_MAX {
        return Err(unusable(path, &io::Error::other("not a key file")));
    }
    if is_open_to_others(&metadata) {
        let line = format!("run: chmod 600 {}", path.display());
        return Err(Refused::new(Refusal::KeyFileOpen, line));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let capacity = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    Read::by_ref(&mut file)
        .take(metadata.len())
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(path, &error))?;
    Ok(Some(bytes))
}

/// The key that opens all else in a home.
pub(super) struct Vault {
    /// The database's key in hex.
    pub(super) key: Zeroizing<String>,
    /// Whether it lies under a passphrase, and other keys under it.
    pub(super) is_sealed: bool,
}

/// The database's key. Both the key and the empty database file are created on first use, in this
/// order, so that no database is ever without its key; a passphrase given then guards it from the
/// start.
pub(super) fn open(
    home: &Home,
    database: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<Vault, Refused> {
    let is_new = match fs::metadata(database) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(unusable(database, &error)),
    };
    let vault = match home.key_file(DATABASE_KEY)? {
        Some(bytes) => unlocked(&bytes, passphrase)?,
        None if is_new => {
            let key = drawn()?;
            home.write_key_file(DATABASE_KEY, &locked(&key, passphrase)?)?;
            Vault { key, is_sealed: passphrase.is_some() }
        }
        None => {
            let line = format!("{DATABASE_KEY} is missing beside {}", database.display());
            return Err(Refused::new(Refusal::DatabaseKey, line));
        }
    };
    if is_new {
        // SQLite would create it readable by others; its log takes over the mode of this file.
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        keep_private(&mut options)
            .open(database)
            .and_then(|_| sync_directory(home.path()))
            .map_err(|error| unusable(database, &error))?;
    }
    Ok(vault)
}

fn unlocked(bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<Vault, Refused> {
    match (sealed::is_under_passphrase(bytes), passphrase) {
        (true, Some(passphrase)) => {
            let key = checked(&sealed::unseal(bytes, passphrase)?)?;
            Ok(Vault { key, is_sealed: true })
        }
        (true, None) => Err(Refusal::PassphraseNeeded.into()),
        // Whoever gives one believes that the home is guarded by it.
        (false, Some(_)) => Err(Refusal::PassphraseNone.into()),
        (false, None) => Ok(Vault { key: checked(bytes)?, is_sealed: false }),
    }
}

fn locked(key: &str, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, Refused> {
    Ok(Zeroizing::new(match passphrase {
        Some(passphrase) => {
            passphrase.check_strength()?;
            sealed::seal(key.as_bytes(), passphrase)?
        }
        None => key.as_bytes().to_vec(),
    }))
}

impl Home {
    /// Puts the home under another passphrase, or under none, and with it the other key files
    /// named. At every moment one of the two passphrases opens all of it.
    ///
    /// # Refusals
    /// [`Refusal::PassphraseNeeded`], [`Refusal::PassphraseWrong`], [`Refusal::PassphraseNone`] for
    /// the one before; [`Refusal::PassphraseWeak`] for the new one; `home_unusable`.
    pub fn change_passphrase(
        &self,
        before: Option<&Passphrase>,
        after: Option<&Passphrase>,
        files: &[&str],
    ) -> Result<(), Refused> {
        let Some(bytes) = self.key_file(DATABASE_KEY)? else {
            let line = format!("{DATABASE_KEY} is missing in {}", self.path().display());
            return Err(Refused::new(Refusal::DatabaseKey, line));
        };
        let vault = unlocked(&bytes, before)?;
        let bytes = locked(&vault.key, after)?;
        if after.is_some() {
            // First, and whatever becomes of the rest: the key that opens these stays the same.
            for name in files {
                self.seal_key_file(name, &vault.key)?;
            }
        }
        self.write_key_file(DATABASE_KEY, &bytes)
    }

    /// Whether nothing of this home opens without a passphrase; no lock is needed to ask.
    ///
    /// # Refusals
    /// As [`Home::key_file`].
    pub fn is_under_passphrase(home: &Path) -> Result<bool, Refused> {
        let bytes = read_key_file(&home.join(DATABASE_KEY))?;
        Ok(bytes.is_some_and(|bytes| sealed::is_under_passphrase(&bytes)))
    }

    /// A key file as it was before it was sealed. In a home under a passphrase it is sealed now, if
    /// it was not.
    pub(super) fn open_key_file(
        &self,
        name: &str,
        vault: &Vault,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        if vault.is_sealed {
            self.seal_key_file(name, &vault.key)?;
        }
        match self.key_file(name)? {
            Some(bytes) if sealed::is_under_key(&bytes) => {
                sealed::unseal_file(&bytes, &vault.key, name).map(Some)
            }
            bytes => Ok(bytes),
        }
    }

    fn seal_key_file(&self, name: &str, key: &str) -> Result<(), Refused> {
        match self.key_file(name)? {
            Some(bytes) if !sealed::is_under_key(&bytes) => {
                self.write_key_file(name, &sealed::seal_file(&bytes, key, name)?)
            }
            _ => Ok(()),
        }
    }
}

/// A passphrase from a file, which only its owner may read, or from a pipe: the first line.
///
/// # Refusals
/// [`Refusal::KeyFileOpen`] if others may read it, [`Refusal::PassphraseUnread`],
/// [`Refusal::PassphraseWrong`] if it holds none.
pub fn read_passphrase(path: &Path) -> Result<Passphrase, Refused> {
    let unread = |error: &io::Error| {
        Refused::new(Refusal::PassphraseUnread, format!("{}: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| unread(&error))?;
    let metadata = file.metadata().map_err(|error| unread(&error))?;
    if metadata.is_file() && is_open_to_others(&metadata) {
        let line = format!("run: chmod 600 {}", path.display());
        return Err(Refused::new(Refusal::KeyFileOpen, line));
    }
    let limit = PASSPHRASE_BYTES_MAX.saturating_add(3);
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    file.take(u64::try_from(limit).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(|error| unread(&error))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line)
        .map_err(|_| unread(&io::Error::other("its first line is not UTF-8")))?;
    Passphrase::new(&Zeroizing::new(text.to_owned()))
}

/// Random bytes of the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refused::new(Refusal::Internal, format!("no randomness: {error}")))?;
    Ok(bytes)
}

fn drawn() -> Result<Zeroizing<String>, Refused> {
    let bytes = Zeroizing::new(random::<32>()?);
    let mut key = Zeroizing::new(String::with_capacity(64));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            key.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    Ok(key)
}

/// It goes into a statement, so nothing but hex digits may.
fn checked(bytes: &[u8]) -> Result<Zeroizing<String>, Refused> {
    let bytes = bytes.trim_ascii();
    let is_hex = bytes.len() == 64 && bytes.iter().all(u8::is_ascii_hexdigit);
    match String::from_utf8(bytes.to_vec()) {
        Ok(key) if is_hex => Ok(Zeroizing::new(key)),
        Ok(mut key) => {
            key.zeroize();
            Err(Refused::new(Refusal::DatabaseKey, format!("{DATABASE_KEY} is damaged")))
        }
        Err(_) => Err(Refused::new(Refusal::DatabaseKey, format!("{DATABASE_KEY} is damaged"))),
    }
}

fn replace(directory: &Path, path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a process that died here left behind may have any mode.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = keep_private(&mut options).open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    sync_directory(directory)
}

/// Whether the file system under this directory takes nothing more.
pub(super) fn is_full(directory: &Path) -> bool {
    let path = directory.join("space.probe");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let result = keep_private(&mut options).open(&path).and_then(|mut file| {
        file.write_all(&[0; 8_192])?;
        file.sync_all()
    });
    let is_removed = fs::remove_file(&path).is_ok();
    tracing::debug!(?result, is_removed, "asked the file system for space");
    result.is_err_and(|error| takes_no_more(&error))
}

/// Whether the file system takes nothing more: no space, no quota, or mounted read-only.
pub(super) fn takes_no_more(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// Files created with these options are their owner's alone.
#[cfg(unix)]
pub(super) fn keep_private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

/// Elsewhere the directory's access list is inherited.
#[cfg(not(unix))]
pub(super) fn keep_private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn is_open_to_others(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_metadata: &Metadata) -> bool {
    false
}

/// A new name is on disk only once its directory is.
#[cfg(unix)]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
