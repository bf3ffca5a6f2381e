//! From a room's secret to the key of one entry.
//! Owns: the derivations, and how far they reach.
//! Must not know: MLS, who holds what, what is sealed.
//! Invariants: no (key, nonce) pair is used for two plaintexts (21): author, life, session salt
//! and seq all go in; a chunk key opens its chunk and later ones, never an earlier one.
//! Start reading at: [`ChunkKey`].
//!
//! ```text
//! room secret ─ HKDF(room, author, incarnation, salt) ─► stretch 0 ─► stretch 1 ─► …   one way
//!                                                           │            │
//!                                                        chunk 0      chunk 1024
//!                                                           ▼            ▼
//!                                                        chunk 1        …              one way
//!                                                           ⋮
//! AES-256-GCM key of chunk n, for the 64 seqs from 64 n + 1; nonce = seq
//! ```
//! Two levels, because a session may begin at any seq: every key is some thousand steps away.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ids::{Hash, KeyId, LogId, RoomId, Seq, SessionSalt};
use crate::limits::{CHUNK_ENTRIES, STRETCH_CHUNKS, STRETCHES_MAX};

/// What the members of a room share in one epoch.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RoomSecret([u8; 32]);

impl RoomSecret {
    /// The secret as agreed on, or as stored.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored or sealed to somebody.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its name.
    pub fn id(&self, room: RoomId) -> KeyId {
        KeyId(Hash::of("p2pgroup/1 key id", &[room.as_bytes(), &self.0]).0)
    }
}

impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret(..)")
    }
}

/// The keys of one session of one author log from a chunk on: what is derived on the way to an
/// entry's key, and what a grant hands over.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChunkKey {
    index: u64,
    chunk: [u8; 32],
    /// The stretch after the one of `index`: leads to all chunks of later stretches.
    next_stretch: [u8; 32],
}

impl ChunkKey {
    /// Bytes of a stored chunk key.
    pub const BYTES: usize = 72;

    /// The first chunk of a session.
    pub fn first(secret: &RoomSecret, log: &LogId, salt: &SessionSalt) -> Self {
        let info = [
            b"p2pgroup/1 log keys".as_slice(),
            log.room.as_bytes(),
            log.author.as_bytes(),
            &log.incarnation.0.to_be_bytes(),
            salt.as_bytes(),
        ];
        let mut stretch = Zeroizing::new([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(Some(b"p2pgroup/1 room key"), secret.expose());
        // 32 bytes can always be expanded; the crate refuses 8,161 and more.
        let is_done = hkdf.expand_multi_info(&info, stretch.as_mut_slice()).is_ok();
        debug_assert!(is_done);
        Self::of_stretch(0, &stretch)
    }

    /// The chunk an entry belongs to.
    pub fn index_of(seq: Seq) -> u64 {
        seq.0.saturating_sub(1).checked_div(CHUNK_ENTRIES).unwrap_or(0)
    }

    /// Which chunk this is: it opens entries from this one on.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The key of a later chunk; `None` for an earlier one, and past the end of a log's keys.
    pub fn advance(&self, to: u64) -> Option<Self> {
        let (stretch, target) = (stretch_of(self.index), stretch_of(to));
        if to < self.index || target >= STRETCHES_MAX {
            return None;
        }
        let mut at = self.clone();
        if target > stretch {
            let mut root = Zeroizing::new(at.next_stretch);
            for _ in stretch.saturating_add(1)..target {
                *root = *derive(&root, b"p2pgroup/1 next stretch");
            }
            at = Self::of_stretch(target, &root);
        }
        for _ in at.index..to {
            at.chunk = *derive(&at.chunk, b"p2pgroup/1 next chunk");
        }
        at.index = to;
        Some(at)
    }

    /// The AES-256-GCM key of this chunk.
    pub fn key(&self) -> Zeroizing<[u8; 32]> {
        derive(&self.chunk, b"p2pgroup/1 chunk key")
    }

    /// The bytes to store, or to seal to somebody.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let index = self.index.to_be_bytes();
        Zeroizing::new([&index[..], &self.chunk, &self.next_stretch].concat())
    }

    /// A chunk key as stored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk::<8>()?;
        let (chunk, rest) = rest.split_first_chunk::<32>()?;
        let index = u64::from_be_bytes(*index);
        let next_stretch = <[u8; 32]>::try_from(rest).ok()?;
        (stretch_of(index) < STRETCHES_MAX).then_some(Self { index, chunk: *chunk, next_stretch })
    }

    fn of_stretch(stretch: u64, root: &[u8; 32]) -> Self {
        Self {
            index: stretch.saturating_mul(STRETCH_CHUNKS),
            chunk: *derive(root, b"p2pgroup/1 first chunk"),
            next_stretch: *derive(root, b"p2pgroup/1 next stretch"),
        }
    }
}

impl fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkKey(from {})", self.index)
    }
}

fn stretch_of(chunk: u64) -> u64 {
    chunk.checked_div(STRETCH_CHUNKS).unwrap_or(0)
}

/// One step: HKDF-Expand, which cannot be undone.
fn derive(from: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut to = Zeroizing::new([0; 32]);
    // A key of 32 bytes is as long as the hash, which is all that is asked of it.
    let is_done = Hkdf::<Sha256>::from_prk(from)
        .is_ok_and(|hkdf| hkdf.expand(label, to.as_mut_slice()).is_ok());
    debug_assert!(is_done);
    to
}
