//! Sealing and opening one entry under its chunk key.
//! Owns: the padding, the nonce, the cipher.
//! Must not know: where keys come from, who holds them.
//! Invariants: the whole header is authenticated; a text's length shows only as one of a few sizes.
//! Start reading at: [`Cipher`].
//!
//! ```text
//! padded = length of the payload (4 bytes) ‖ payload ‖ zeros, to 256 B, 1, 4, 16, 64 or 65 KiB
//! ciphertext = AES-256-GCM(chunk key, nonce = 0000 ‖ seq, data = header, padded) ‖ tag (16 bytes)
//! ```

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::schedule::ChunkKey;
use crate::ids::Seq;
use crate::limits::PADDED_BYTES;
use crate::wire::room::Payload;
use crate::wire::sealed::{Body, Header, Sealed};

/// The cipher of one chunk of a log. The crate clears its keys when dropped.
pub struct Cipher(Aes256Gcm);

impl Cipher {
    /// The cipher of a chunk.
    pub fn new(key: &ChunkKey) -> Self {
        Self(Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.key())))
    }

    /// Seals a payload. The header names the place the key is for; a place is sealed once.
    /// `None` if the payload is too long.
    pub fn seal(&self, header: Header, payload: &Payload) -> Option<Sealed> {
        let mut buffer = pad(&payload.encode())?;
        let data = header.encode();
        self.0.encrypt_in_place(&nonce(header.seq), &data, &mut buffer).ok()?;
        Some(Sealed::new(header, Bytes::from(buffer)))
    }

    /// Opens an entry; `None` if its ciphertext was not sealed under this key and this header, or
    /// holds nothing we can read, or was deleted.
    pub fn open(&self, entry: &Sealed) -> Option<Payload> {
        let Body::Ciphertext(ciphertext) = &entry.body else {
            return None;
        };
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let (nonce, data) = (nonce(entry.header.seq), &entry.header_bytes);
        self.0.decrypt_in_place(&nonce, data, &mut *buffer).ok()?;
        Payload::decode(unpad(&buffer)?).ok()
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// The seq, so that no two entries of a log share one.
fn nonce(seq: Seq) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().skip(4).zip(seq.0.to_be_bytes()) {
        *to = from;
    }
    Nonce::from(bytes)
}

/// Length, payload, zeros. The buffer has room for the tag.
fn pad(payload: &[u8]) -> Option<Vec<u8>> {
    let size = padded_size(payload.len())?;
    let mut padded = Vec::with_capacity(size.saturating_add(16));
    padded.extend_from_slice(&u32::try_from(payload.len()).ok()?.to_be_bytes());
    padded.extend_from_slice(payload);
    padded.resize(size, 0);
    Some(padded)
}

/// Undoes [`pad`]; anything else than what it makes is refused, so that padding carries nothing.
fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (len, rest) = padded.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (payload, zeros) = rest.split_at_checked(len)?;
    let is_exact = padded_size(len) == Some(padded.len());
    (is_exact && zeros.iter().all(|byte| *byte == 0)).then_some(payload)
}

fn padded_size(payload_bytes: usize) -> Option<usize> {
    let needed = payload_bytes.saturating_add(4);
    PADDED_BYTES.into_iter().find(|size| *size >= needed)
}
