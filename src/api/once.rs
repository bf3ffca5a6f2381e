//! `Idempotency-Key`: a send that is asked for twice happens once, also over a crash.
//! Owns: which keys were used for what, in a file of the home.
//! Must not know: how a message is sent.
//! Invariants: that a key is in use is on the disk before its message is handed over, and what came
//! of it before it is answered; a key in use for another body is refused.
//! Start reading at: [`Once::begin`].
//!
//! A process that was killed between the two leaves a key that says where the talk ended before.
//! Whoever comes again with it looks from there on whether the message was stored.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::limits::{API_KEY_BYTES_MAX, API_KEYS_MAX};
use crate::refusal::{Refusal, Refused};

const FILE: &str = "api.keys";
/// Of a line: two hashes in hex, a number, an id.
const LINE_BYTES_MAX: u64 = 256;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// It is new; it is noted now.
    Fresh,
    /// It was handed over after this place, and what came of it was never noted.
    Begun(u64),
    /// Its message has this id.
    Done(String),
}

#[derive(Clone, Debug)]
struct Row {
    body: String,
    after: u64,
    id: Option<String>,
}

/// The keys used.
#[derive(Debug)]
pub(super) struct Once {
    path: PathBuf,
    book: Mutex<Book>,
    /// One key at a time: whoever comes second finds what came of it.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Book {
    rows: BTreeMap<String, Row>,
    order: VecDeque<String>,
    lines: usize,
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// What a file holds, so that it is known if it comes again.
pub(super) fn hash_of(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

impl Book {
    fn put(&mut self, key: &str, row: Row) {
        if self.rows.insert(key.to_owned(), row).is_none() {
            self.order.push_back(key.to_owned());
        }
        while self.order.len() > API_KEYS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.rows.remove(&oldest);
            }
        }
    }
}

fn line(key: &str, row: &Row) -> String {
    format!("{key} {} {} {}\n", row.body, row.after, row.id.as_deref().unwrap_or("-"))
}

impl Once {
    /// Reads the keys of earlier processes.
    pub(super) fn open(home: &Path) -> Self {
        let path = home.join(FILE);
        let mut text = String::new();
        let keys = u64::try_from(API_KEYS_MAX).unwrap_or(u64::MAX);
        let most = keys.saturating_mul(4).saturating_mul(LINE_BYTES_MAX);
        let read =
            std::fs::File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text));
        if let Err(error) = read
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the keys used cannot be read");
        }
        let mut book = Book::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            // A line that a crash cut short says nothing.
            let [key, body, after, id] = words.as_slice() else { continue };
            let Ok(after) = after.parse() else { continue };
            let id = (*id != "-").then(|| (*id).to_owned());
            book.put(key, Row { body: (*body).to_owned(), after, id });
            book.lines = book.lines.saturating_add(1);
        }
        Self { path, book: Mutex::new(book), turn: tokio::sync::Mutex::default() }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a key is in use for a body from after this place on, or tells what is known.
    ///
    /// # Refusals
    /// [`Refusal::KeyReused`] for another body; [`Refusal::RequestBad`]; [`Refusal::HomeUnusable`]:
    /// what cannot be noted is not sent.
    pub(super) fn begin(&self, key: &str, body: &str, after: u64) -> Result<Used, Refused> {
        if key.is_empty() || key.len() > API_KEY_BYTES_MAX {
            let detail = format!("an Idempotency-Key has 1 to {API_KEY_BYTES_MAX} bytes");
            return Err(Refused::new(Refusal::RequestBad, detail));
        }
        let (key, body) = (hash(key), hash(body));
        let mut book = self.book();
        if let Some(row) = book.rows.get(&key) {
            if row.body != body {
                return Err(Refusal::KeyReused.into());
            }
            return Ok(match &row.id {
                Some(id) => Used::Done(id.clone()),
                None => Used::Begun(row.after),
            });
        }
        let row = Row { body, after, id: None };
        self.write(&mut book, &line(&key, &row))?;
        book.put(&key, row);
        Ok(Used::Fresh)
    }

    /// Notes what came of a key.
    ///
    /// # Refusals
    /// [`Refusal::HomeUnusable`].
    pub(super) fn done(&self, key: &str, id: &str) -> Result<(), Refused> {
        let key = hash(key);
        let mut book = self.book();
        let Some(row) = book.rows.get(&key).cloned() else { return Ok(()) };
        let row = Row { id: Some(id.to_owned()), ..row };
        self.write(&mut book, &line(&key, &row))?;
        book.put(&key, row);
        Ok(())
    }

    /// What was refused may be tried again under its key.
    pub(super) fn forget(&self, key: &str) {
        let key = hash(key);
        let mut book = self.book();
        if book.rows.remove(&key).is_some() {
            book.order.retain(|it| *it != key);
        }
    }

    fn write(&self, book: &mut Book, line: &str) -> Result<(), Refused> {
        let unusable = |error: std::io::Error| {
            Refused::new(Refusal::HomeUnusable, format!("{}: {error}", self.path.display()))
        };
        if book.lines > API_KEYS_MAX.saturating_mul(3) {
            self.shorten(book).map_err(unusable)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path).map_err(unusable)?;
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(unusable)?;
        book.lines = book.lines.saturating_add(1);
        Ok(())
    }

    /// Writes the file anew with what still counts.
    fn shorten(&self, book: &mut Book) -> std::io::Result<()> {
        let rows = book.order.iter().filter_map(|key| Some(line(key, book.rows.get(key)?)));
        let text: String = rows.collect();
        let fresh = self.path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        options.create(true).write(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        book.lines = book.order.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_used_once_also_by_a_later_process() {
        let home = tempfile::tempdir().unwrap();
        let once = Once::open(home.path());
        assert_eq!(once.begin("k", "body", 7), Ok(Used::Fresh));
        assert_eq!(once.begin("k", "body", 9), Ok(Used::Begun(7)));
        assert_eq!(once.begin("k", "other", 9).unwrap_err().refusal, Refusal::KeyReused);
        let once = Once::open(home.path());
        assert_eq!(once.begin("k", "body", 9), Ok(Used::Begun(7)));
        once.done("k", "12ab").unwrap();
        let once = Once::open(home.path());
        assert_eq!(once.begin("k", "body", 9), Ok(Used::Done("12ab".to_owned())));
        assert_eq!(once.begin("", "body", 9).unwrap_err().refusal, Refusal::RequestBad);
        let long = "x".repeat(API_KEY_BYTES_MAX + 1);
        assert_eq!(once.begin(&long, "body", 9).unwrap_err().refusal, Refusal::RequestBad);
        once.begin("n", "body", 1).unwrap();
        once.forget("n");
        assert_eq!(once.begin("n", "other", 1), Ok(Used::Fresh));
    }

    #[test]
    fn old_keys_make_room_and_a_line_cut_short_is_nothing() {
        let home = tempfile::tempdir().unwrap();
        let once = Once::open(home.path());
        let mut book = once.book();
        for number in 0..API_KEYS_MAX + 5 {
            let row = Row { body: String::new(), after: 0, id: None };
            book.put(&hash(&number.to_string()), row);
        }
        assert_eq!((book.rows.len(), book.order.len()), (API_KEYS_MAX, API_KEYS_MAX));
        once.shorten(&mut book).unwrap();
        assert_eq!(book.lines, API_KEYS_MAX);
        drop(book);
        let path = home.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.truncate(text.len() - 5);
        std::fs::write(&path, text).unwrap();
        assert_eq!(Once::open(home.path()).book().rows.len(), API_KEYS_MAX - 1);
    }
}
