//! One's own entries on their way into the database, in a small file beside it.
//! Owns: the journal of a home: written, read at the start, emptied.
//! Must not know: what entries say, when a transaction starts or ends; it is told.
//! Invariants: what was noted is in the file or in the database, whatever ends the process; a record
//! that is not whole is none; the file is empty when everything is committed.
//! Start reading at: [`Journal`].
//!
//! A message that comes alone leaves as soon as no end of the process can take it back. A commit
//! encrypts and writes some pages for that; this file takes one short write, and the commit follows
//! when the message is on its way.
//!
//! ```text
//! salt (16) ‖ records          record = number (8) ‖ length (4) ‖ AES-256-GCM(HKDF(database key, salt),
//!                                       nonce = 0000 ‖ number, entry)
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::lock::unusable;
use super::sealed::{Records, SALT_LEN};
use super::vault::{keep_private, random};
use crate::ids::{Hash, Incarnation, LogId, PeerId, RoomId, Seq, Signature};
use crate::protocol::StoredEntry;
use crate::refusal::Refused;

/// The journal's file name in the home.
const JOURNAL: &str = "entries.journal";
/// So much is in it at the most: some entries of the longest kind. A commit follows each within
/// milliseconds, unless the database has no space.
const BYTES_MAX: u64 = 1 << 20;
/// Number and length before each record.
const HEAD_LEN: usize = 12;

/// What was noted and is not committed.
pub(super) struct Journal {
    path: PathBuf,
    key: Zeroizing<String>,
    /// Open from the first note on, with the salt it begins with and what seals.
    open: Option<(File, [u8; SALT_LEN], Records)>,
    /// Of the file, as far as it is known to be good.
    length: u64,
    noted: Vec<StoredEntry>,
}

impl Journal {
    /// Reads what an earlier process left.
    ///
    /// # Refusals
    /// `home_unusable`.
    pub(super) fn load(home: &Path, database_key: &Zeroizing<String>) -> Result<Self, Refused> {
        let path = home.join(JOURNAL);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|it| it.take(BYTES_MAX).read_to_end(&mut bytes)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unusable(&path, &error));
            }
            _ => {}
        }
        let noted = match bytes.split_first_chunk::<SALT_LEN>() {
            Some((salt, records)) => read(records, &Records::new(database_key, salt)?),
            None => Vec::new(),
        };
        let length = u64::try_from(bytes.len()).unwrap_or(BYTES_MAX);
        Ok(Self { path, key: database_key.clone(), open: None, length, noted })
    }

    /// What was noted and is not committed, in the order in which it was noted.
    pub(super) fn noted(&self) -> &[StoredEntry] {
        &self.noted
    }

    /// Writes an entry down, if there is room for it; gives whether there was. After an error it is
    /// not written.
    pub(super) fn note(&mut self, entry: &StoredEntry) -> io::Result<bool> {
        if self.open.is_none() {
            let salt = random().map_err(io::Error::other)?;
            let records = Records::new(&self.key, &salt).map_err(io::Error::other)?;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            self.open = Some((keep_private(&mut options).open(&self.path)?, salt, records));
            self.length = 0;
        }
        let Some((file, salt, records)) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (number, sealed) = records.seal(&encode(entry)).ok_or(io::ErrorKind::InvalidData)?;
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        let salt: &[u8] = if self.length == 0 { salt } else { &[] };
        let record =
            [salt, &number.to_be_bytes(), &length.to_be_bytes(), sealed.as_slice()].concat();
        let end = self.length.saturating_add(u64::try_from(record.len()).unwrap_or(u64::MAX));
        if end > BYTES_MAX {
            return Ok(false);
        }
        if let Err(error) = file.write_all(&record) {
            // A part of it may have been written; what follows must not stand behind that.
            file.set_len(self.length)?;
            file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length = end;
        self.noted.push(entry.clone());
        Ok(true)
    }

    /// What was noted survives the loss of power, too.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |(file, ..)| file.sync_data())
    }

    /// Everything noted is committed.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.noted.clear();
        if self.length == 0 {
            return Ok(());
        }
        match &mut self.open {
            Some((file, ..)) => {
                file.set_len(0)?;
                file.rewind()?;
            }
            None => OpenOptions::new().write(true).open(&self.path)?.set_len(0)?,
        }
        self.length = 0;
        Ok(())
    }
}

/// As far as it is whole: behind the last record a loss of power may have left anything.
fn read(mut bytes: &[u8], records: &Records) -> Vec<StoredEntry> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() {
        let (number, length) = numbers(head);
        let Some((sealed, rest)) = rest.split_at_checked(length) else { break };
        let Some(entry) = records.open(number, sealed).and_then(|it| decode(&it)) else { break };
        entries.push(entry);
        bytes = rest;
    }
    if !bytes.is_empty() {
        tracing::warn!(bytes = bytes.len(), "the journal ends with a record that is not whole");
    }
    entries
}

fn numbers(head: &[u8; HEAD_LEN]) -> (u64, usize) {
    let [a, b, c, d, e, f, g, h, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), length)
}

fn encode(entry: &StoredEntry) -> Vec<u8> {
    let signature: &[u8] = entry.signature.as_ref().map_or(&[], |it| it.as_bytes());
    let fields: [&[u8]; 8] = [
        entry.log.room.as_bytes(),
        entry.log.author.as_bytes(),
        &entry.log.incarnation.0.to_be_bytes(),
        &entry.seq.0.to_be_bytes(),
        entry.hash.as_bytes(),
        &entry.lamport.to_be_bytes(),
        signature,
        &entry.bytes,
    ];
    let mut bytes = Vec::with_capacity(entry.bytes.len().saturating_add(256));
    for field in fields {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<StoredEntry> {
    let mut field = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(field)
    };
    let number = |field: &[u8]| field.try_into().ok().map(u64::from_be_bytes);
    let room = RoomId::from_bytes(field()?)?;
    let author = PeerId::from_bytes(field()?)?;
    let incarnation = Incarnation(number(field()?)?);
    let seq = Seq(number(field()?)?);
    let hash = Hash::from_bytes(field()?)?;
    let lamport = number(field()?)?;
    let signature = match field()? {
        [] => None,
        signature => Some(Signature::from_bytes(signature)?),
    };
    let entry = Bytes::copy_from_slice(field()?);
    let log = LogId { room, author, incarnation };
    bytes.is_empty().then_some(StoredEntry { log, seq, hash, lamport, signature, bytes: entry })
}
