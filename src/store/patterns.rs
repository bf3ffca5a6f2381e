//! Entries of one log begin alike: what they share is stored once.
//! Owns: the table `patterns`, and how bytes are written as what differs from a pattern.
//! Must not know: what the bytes mean, when a transaction starts or ends; it is told.
//! Invariants: what is unpacked is what was packed; a pattern that a row names never changes;
//! nothing that may have to be deleted is in a pattern.
//! Start reading at: [`Patterns::pack`].
//!
//! Of a short message a third is network, room, author, session and key, the same at the same place
//! in entry after entry. Pages are what a message costs most, to encrypt and to write; so what is
//! known already is left out.
//!
//! ```text
//! packed   (same, other, `other` bytes)*   up to the pattern's length, then the rest as it is
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

/// Bytes of a pattern: fewer than the shortest header, so that no pattern holds anything of a text.
/// At most 255, for lengths are one byte.
const PATTERN_BYTES: usize = 192;
/// A pattern that saves less is not worth naming …
const SAVED_MIN: usize = 48;
/// … and one that saves this much is as good as a new one.
const SAVED_GOOD: usize = 112;
/// A run of equal bytes shorter than this costs more to tell than to repeat.
const RUN_MIN: usize = 3;
/// Patterns kept for reading.
const KNOWN_MAX: usize = 1_024;

/// A pattern and its number in the table.
#[derive(Clone, Debug)]
struct Pattern {
    id: i64,
    bytes: Bytes,
}

/// What the next entry of a log is compared with.
#[derive(Debug, Default)]
struct Guide {
    pattern: Option<Pattern>,
    /// How the last entry began that the pattern did not fit well.
    seen: Option<Bytes>,
}

/// The patterns at hand.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    guides: BTreeMap<i64, Guide>,
    /// By number; for reading.
    known: RefCell<BTreeMap<i64, Bytes>>,
    /// Whether the running transaction made one.
    is_changed: bool,
}

impl Patterns {
    /// How the bytes of a log's entry are stored: the pattern's number, and what differs from it;
    /// `None`: as they are. May store a new pattern.
    pub(super) fn pack(
        &mut self,
        conn: &Connection,
        log: i64,
        bytes: &[u8],
    ) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
        let Some(head) = bytes.get(..PATTERN_BYTES) else { return Ok(None) };
        if !self.guides.contains_key(&log) {
            let pattern = newest(conn, log)?;
            self.guides.insert(log, Guide { pattern, seen: None });
        }
        let Some(guide) = self.guides.get_mut(&log) else { return Ok(None) };
        let by_pattern = guide
            .pattern
            .as_ref()
            .and_then(|pattern| Some((pattern.id, packed(&pattern.bytes, bytes, SAVED_MIN)?)));
        let is_good = |packed: &[u8]| packed.len().saturating_add(SAVED_GOOD) <= bytes.len();
        if by_pattern.as_ref().is_some_and(|(_, packed)| is_good(packed)) {
            return Ok(by_pattern);
        }
        if let Some(seen) = guide.seen.take()
            && let Some(packed) = packed(&seen, bytes, SAVED_GOOD)
        {
            conn.prepare_cached("INSERT INTO patterns (log, bytes) VALUES (?1, ?2)")?
                .execute(params![log, &seen[..]])?;
            let id = conn.last_insert_rowid();
            guide.pattern = Some(Pattern { id, bytes: seen });
            self.is_changed = true;
            return Ok(Some((id, packed)));
        }
        guide.seen = Some(Bytes::copy_from_slice(head));
        Ok(by_pattern)
    }

    /// The bytes that were packed with a pattern; `None`: damaged.
    pub(super) fn unpack(
        &self,
        conn: &Connection,
        pattern: i64,
        packed: &[u8],
    ) -> rusqlite::Result<Option<Bytes>> {
        let known = self.known.borrow().get(&pattern).cloned();
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                let found: Option<Vec<u8>> = conn
                    .prepare_cached("SELECT bytes FROM patterns WHERE id = ?1")?
                    .query_row([pattern], |row| row.get(0))
                    .optional()?;
                let Some(found) = found.map(Bytes::from) else { return Ok(None) };
                let mut known = self.known.borrow_mut();
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(pattern, found.clone());
                found
            }
        };
        Ok(unpacked(&bytes, packed))
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self) {
        self.is_changed = false;
    }

    /// The transaction is gone.
    pub(super) fn restore(&mut self) {
        if std::mem::take(&mut self.is_changed) {
            // The number of one that is gone will be another's.
            self.guides.clear();
            self.known.borrow_mut().clear();
        }
    }
}

fn newest(conn: &Connection, log: i64) -> rusqlite::Result<Option<Pattern>> {
    conn.prepare_cached("SELECT id, bytes FROM patterns WHERE log = ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([log], |row| {
            Ok(Pattern { id: row.get(0)?, bytes: Bytes::from(row.get::<_, Vec<u8>>(1)?) })
        })
        .optional()
}

/// What differs from the pattern; `None` if that saves less than `saved`.
fn packed(pattern: &[u8], bytes: &[u8], saved: usize) -> Option<Vec<u8>> {
    let (head, rest) = bytes.split_at_checked(pattern.len())?;
    let mut packed = Vec::with_capacity(bytes.len());
    let (mut pattern, mut head) = (pattern, head);
    while !head.is_empty() {
        let same = alike(pattern, head);
        (pattern, head) = (pattern.get(same..)?, head.get(same..)?);
        let other = unlike(pattern, head);
        let (told, after) = head.split_at_checked(other)?;
        packed.push(u8::try_from(same).ok()?);
        packed.push(u8::try_from(other).ok()?);
        packed.extend_from_slice(told);
        (pattern, head) = (pattern.get(other..)?, after);
    }
    packed.extend_from_slice(rest);
    (packed.len().saturating_add(saved) <= bytes.len()).then_some(packed)
}

/// How many bytes are equal from the start.
fn alike(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// How many bytes come before the next run that is worth telling.
fn unlike(a: &[u8], b: &[u8]) -> usize {
    let mut run = 0_usize;
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        run = if a == b { run.saturating_add(1) } else { 0 };
        if run == RUN_MIN {
            return at.saturating_add(1).saturating_sub(RUN_MIN);
        }
    }
    a.len().min(b.len())
}

fn unpacked(pattern: &[u8], packed: &[u8]) -> Option<Bytes> {
    let mut bytes = Vec::with_capacity(packed.len().saturating_add(pattern.len()));
    let (mut pattern, mut packed) = (pattern, packed);
    while !pattern.is_empty() {
        let ([same, other], told) = packed.split_first_chunk()?;
        let (same, other) = (usize::from(*same), usize::from(*other));
        if same.saturating_add(other) == 0 {
            return None;
        }
        let (told, after) = told.split_at_checked(other)?;
        bytes.extend_from_slice(pattern.get(..same)?);
        bytes.extend_from_slice(told);
        pattern = pattern.get(same.saturating_add(other)..)?;
        packed = after;
    }
    bytes.extend_from_slice(packed);
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE patterns (id INTEGER PRIMARY KEY, log, bytes)").unwrap();
        conn
    }

    /// An entry as it may be: a session, a place, what was before it, and a text.
    fn entry(session: u8, seq: u8) -> Vec<u8> {
        let mut bytes = vec![session; 110];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, seq]);
        bytes.extend([seq.wrapping_mul(7); 32]);
        bytes.extend([session; 32]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, seq, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(vec![seq ^ 0x5a; 272]);
        bytes
    }

    fn stored(patterns: &mut Patterns, conn: &Connection, bytes: &[u8]) -> (Option<i64>, usize) {
        match patterns.pack(conn, 1, bytes).unwrap() {
            Some((id, packed)) => {
                let back = patterns.unpack(conn, id, &packed).unwrap().unwrap();
                assert_eq!(&back[..], bytes);
                (Some(id), packed.len())
            }
            None => (None, bytes.len()),
        }
    }

    #[test]
    fn the_second_entry_of_a_session_makes_a_pattern_that_the_next_ones_need() {
        let (conn, mut patterns) = (table(), Patterns::default());
        let full = entry(1, 1).len();
        assert_eq!(stored(&mut patterns, &conn, &entry(1, 1)), (None, full));
        for seq in 2..100 {
            let (id, len) = stored(&mut patterns, &conn, &entry(1, seq));
            assert_eq!(id, Some(1));
            assert!(len + SAVED_GOOD <= full, "{len} of {full}");
        }
        // Another session fits the old one not at all, and has its own from its second entry on.
        assert_eq!(stored(&mut patterns, &conn, &entry(2, 1)).0, None);
        assert_eq!(stored(&mut patterns, &conn, &entry(2, 2)).0, Some(2));
        assert_eq!(stored(&mut patterns, &conn, &entry(2, 3)).0, Some(2));
        // As after a start.
        let mut patterns = Patterns::default();
        assert_eq!(stored(&mut patterns, &conn, &entry(2, 4)).0, Some(2));
    }

    #[test]
    fn a_pattern_of_a_transaction_that_is_gone_is_forgotten() {
        let (conn, mut patterns) = (table(), Patterns::default());
        conn.execute_batch("BEGIN").unwrap();
        stored(&mut patterns, &conn, &entry(1, 1));
        assert_eq!(stored(&mut patterns, &conn, &entry(1, 2)).0, Some(1));
        conn.execute_batch("ROLLBACK").unwrap();
        patterns.restore();
        stored(&mut patterns, &conn, &entry(3, 1));
        assert_eq!(stored(&mut patterns, &conn, &entry(3, 2)).0, Some(1));
        patterns.keep();
        assert_eq!(stored(&mut patterns, &conn, &entry(3, 3)).0, Some(1));
    }

    #[test]
    fn what_is_short_is_stored_as_it_is() {
        let (conn, mut patterns) = (table(), Patterns::default());
        for _ in 0..3 {
            assert_eq!(patterns.pack(&conn, 1, &[1; PATTERN_BYTES - 1]).unwrap(), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(
            pattern in proptest::collection::vec(0..3_u8, 0..PATTERN_BYTES),
            bytes in proptest::collection::vec(0..3_u8, 0..400),
        ) {
            if let Some(small) = packed(&pattern, &bytes, 0) {
                prop_assert_eq!(&unpacked(&pattern, &small).unwrap()[..], &bytes[..]);
            }
        }

        #[test]
        fn damage_is_told_or_harmless(
            pattern in proptest::collection::vec(any::<u8>(), 0..=PATTERN_BYTES),
            small in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            if let Some(bytes) = unpacked(&pattern, &small) {
                prop_assert!(bytes.len() <= small.len() + pattern.len());
            }
        }
    }
}
