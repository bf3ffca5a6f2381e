//! Sealing and opening the chunks of a file, and the hashes that name it.
//! Owns: the cipher, the nonce, the hash.
//! Must not know: where bytes come from and go to.
//! Invariants: one key and nonce for one chunk of one file: a chunk of a file that changed is sealed to
//! be hashed, and never leaves, for its hash is another one.
//! Start reading at: [`Sealer`].
//!
//! ```text
//! sealed chunk = AES-256-GCM(file key, nonce = 00000000 ‖ number as 8 bytes, chunk) ‖ tag (16 bytes)
//! file id      = BLAKE3, derive key mode(size ‖ bytes of a chunk ‖ BLAKE3 of each sealed chunk)
//! ```

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::ids::FileId;
use crate::terms::{FileKey, FileTerms};
use crate::wire::file::HASH_BYTES;

/// What the hashes of a file are hashed under.
const DOMAIN: &str = "p2pgroup 2026-11 file id";

/// Seals and opens the chunks of one file.
pub(super) struct Sealer(Option<LessSafeKey>);

impl Sealer {
    pub(super) fn new(key: &FileKey) -> Self {
        // It refuses keys of another length alone.
        Self(UnboundKey::new(&AES_256_GCM, &key.0).ok().map(LessSafeKey::new))
    }

    /// Seals a chunk where it lies, and adds its tag.
    pub(super) fn seal(&self, index: u32, chunk: &mut Vec<u8>) -> Option<()> {
        self.seal_behind(0, index, chunk)
    }

    /// Seals a chunk that lies behind so many bytes, and adds its tag.
    pub(super) fn seal_behind(&self, head: usize, index: u32, bytes: &mut Vec<u8>) -> Option<()> {
        let (key, chunk) = (self.0.as_ref()?, bytes.get_mut(head..)?);
        let tag = key.seal_in_place_separate_tag(nonce(index), Aad::empty(), chunk).ok()?;
        bytes.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens a chunk where it lies; gives the bytes without the tag.
    pub(super) fn open<'a>(&self, index: u32, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let chunk = self.0.as_ref()?.open_in_place(nonce(index), Aad::empty(), sealed).ok()?;
        Some(chunk)
    }
}

fn nonce(index: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(8).zip(index.to_be_bytes()).for_each(|(to, byte)| *to = byte);
    Nonce::assume_unique_for_key(nonce)
}

/// The hash of a sealed chunk.
pub(super) fn hash(sealed: &[u8]) -> [u8; HASH_BYTES] {
    *blake3::hash(sealed).as_bytes()
}

/// The id of a file of this size and these hashes.
pub(super) fn id(size: u64, chunk: u32, hashes: &[u8]) -> FileId {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(&size.to_be_bytes()).update(&chunk.to_be_bytes()).update(hashes);
    FileId(*hasher.finalize().as_bytes())
}

/// The hashes of all chunks of a file, checked against its id.
#[derive(Clone, Debug)]
pub(super) struct Hashes(std::rc::Rc<[u8]>);

impl Hashes {
    /// `None`: they are not those of the file.
    pub(super) fn check(terms: &FileTerms, hashes: &[u8]) -> Option<Self> {
        let count = usize::try_from(terms.chunks()).ok()?;
        let is_all = hashes.len() == count.checked_mul(HASH_BYTES)?;
        (is_all && id(terms.size, terms.chunk, hashes) == terms.id).then(|| Self(hashes.into()))
    }

    /// Whether this is the sealed chunk of that number.
    pub(super) fn is(&self, index: u32, sealed: &[u8]) -> bool {
        let at = usize::try_from(index).ok().and_then(|index| index.checked_mul(HASH_BYTES));
        let expected = at.and_then(|at| self.0.get(at..at.saturating_add(HASH_BYTES)));
        expected == Some(&hash(sealed)[..])
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_behind_a_head_is_sealed_as_one_alone() {
        let sealer = Sealer::new(&FileKey([7; 32]));
        let (mut alone, mut behind) = (b"chunk".to_vec(), b"headchunk".to_vec());
        sealer.seal(3, &mut alone).unwrap();
        sealer.seal_behind(4, 3, &mut behind).unwrap();
        assert_eq!((&behind[..4], &behind[4..]), (&b"head"[..], &alone[..]));
        assert_eq!(sealer.open(3, &mut alone).unwrap(), b"chunk");
        assert_eq!(sealer.seal_behind(9, 3, &mut b"short".to_vec()), None);
    }
}
