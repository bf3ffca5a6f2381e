//! A backup as a file: sealed frames, one after another.
//! Owns: the format, and what tells a wrong passphrase, a cut file and an altered one apart.
//! Must not know: what is in a frame.
//! Invariants: nothing is handed on before its frame was checked; no frame can be left out, moved
//! or taken from another backup; memory is one frame, however long the file.
//! Start reading at: [`Sealer`], [`Opener`].
//!
//! ```text
//! header  "p2pgroup backup\n" ‖ version (2) ‖ KiB (4) ‖ passes (4) ‖ lanes (4) ‖ salt (16)
//!         ‖ check (16): HKDF of the key, tells a wrong passphrase
//!         ‖ sum (8): of all before, tells an altered header from a wrong passphrase
//! frame   length (4; the highest bit: this is the last one)
//!         ‖ AES-256-GCM(HKDF of the key, nonce = is last (4) ‖ number (8), frame; with the header)
//! ```
//! The key is argon2id of the passphrase and the salt, which is drawn for each backup: so numbers
//! are good nonces.

use std::io::{ErrorKind, Read, Write};

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::sealed::{Cost, Passphrase};
use super::vault::random;
use crate::refusal::{Refusal, Refused};

const MAGIC: &[u8; 16] = b"p2pgroup backup\n";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 16 + 2 + 12 + 16 + 16 + 8;
/// A frame before it is sealed.
pub(super) const FRAME_MAX: usize = 64 << 10;
const TAG_LEN: usize = 16;
const IS_LAST: u32 = 1 << 31;

/// The keys of one backup.
struct Keys {
    frames: Aes256Gcm,
    check: [u8; 16],
}

impl Keys {
    fn of(passphrase: &Passphrase, cost: Cost, salt: &[u8; 16]) -> Result<Self, Refused> {
        let key = passphrase.key(cost, salt)?;
        let derived = Hkdf::<Sha256>::new(None, &*key);
        let (mut frames, mut check) = (Zeroizing::new([0; 32]), [0; 16]);
        derived
            .expand(b"p2pgroup/1 backup frames", &mut *frames)
            .and_then(|()| derived.expand(b"p2pgroup/1 backup check", &mut check))
            .map_err(|error| Refused::new(Refusal::Internal, error.to_string()))?;
        Ok(Self { frames: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*frames)), check })
    }
}

fn sum(bytes: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut sum = [0; 8];
    for (to, from) in sum.iter_mut().zip(hash) {
        *to = from;
    }
    sum
}

fn nonce(number: u64, is_last: bool) -> Nonce<U12> {
    let mut bytes = [0; 12];
    let parts = [u32::from(is_last).to_be_bytes().as_slice(), &number.to_be_bytes()].concat();
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    Nonce::from(bytes)
}

/// Writes a backup.
pub(super) struct Sealer<W> {
    keys: Keys,
    header: Vec<u8>,
    number: u64,
    to: W,
}

impl<W: Write> Sealer<W> {
    pub(super) fn begin(
        to: W,
        passphrase: &Passphrase,
        unwritable: &dyn Fn(std::io::Error) -> Refused,
    ) -> Result<Self, Refused> {
        Self::begin_at(Cost::NOW, to, passphrase, unwritable)
    }

    fn begin_at(
        cost: Cost,
        mut to: W,
        passphrase: &Passphrase,
        unwritable: &dyn Fn(std::io::Error) -> Refused,
    ) -> Result<Self, Refused> {
        let salt = random()?;
        let keys = Keys::of(passphrase, cost, &salt)?;
        let mut header =
            [MAGIC.as_slice(), &VERSION.to_be_bytes(), &cost.encode(), &salt, &keys.check].concat();
        header.extend(sum(&header));
        to.write_all(&header).map_err(unwritable)?;
        Ok(Self { keys, header, number: 0, to })
    }

    /// Seals a frame of at most [`FRAME_MAX`].
    pub(super) fn frame(
        &mut self,
        plain: &[u8],
        is_last: bool,
        unwritable: &dyn Fn(std::io::Error) -> Refused,
    ) -> Result<(), Refused> {
        let payload = Payload { msg: plain, aad: &self.header };
        let sealed = self
            .keys
            .frames
            .encrypt(&nonce(self.number, is_last), payload)
            .map_err(|_| Refused::new(Refusal::Internal, "a frame cannot be sealed"))?;
        self.number = self.number.saturating_add(1);
        let len = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        let len = if is_last { len | IS_LAST } else { len };
        self.to
            .write_all(&len.to_be_bytes())
            .and_then(|()| self.to.write_all(&sealed))
            .map_err(unwritable)
    }

    pub(super) fn into_inner(self) -> W {
        self.to
    }
}

/// Reads a backup.
pub(super) struct Opener<R> {
    keys: Keys,
    header: [u8; HEADER_LEN],
    number: u64,
    is_over: bool,
    from: R,
}

impl<R: Read> Opener<R> {
    /// # Refusals
    /// [`Refusal::BackupBad`], [`Refusal::BackupNewer`], [`Refusal::BackupTruncated`],
    /// [`Refusal::BackupAltered`], [`Refusal::BackupUnread`], [`Refusal::PassphraseWrong`].
    pub(super) fn begin(mut from: R, passphrase: &Passphrase) -> Result<Self, Refused> {
        let mut header = [0; HEADER_LEN];
        let got = fill(&mut from, &mut header)?;
        let known = header.get(..got).unwrap_or_default();
        let magic = known.get(..MAGIC.len()).unwrap_or(known);
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(Refusal::BackupBad.into());
        }
        if got < MAGIC.len() + 2 {
            return Err(Refusal::BackupTruncated.into());
        }
        let (head, given) = header.split_at(HEADER_LEN - 8);
        let rest = head.get(MAGIC.len()..).unwrap_or_default();
        let altered = || Refused::from(Refusal::BackupAltered);
        let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(altered)?;
        let version = u16::from_be_bytes(*version);
        // What follows in another version is not known.
        if version > VERSION {
            let detail = format!("it has version {version}, this program knows {VERSION}");
            return Err(Refused::new(Refusal::BackupNewer, detail));
        }
        if got < HEADER_LEN {
            return Err(Refusal::BackupTruncated.into());
        }
        let (cost, rest) = rest.split_first_chunk::<12>().ok_or_else(altered)?;
        let (salt, check) = rest.split_first_chunk::<16>().ok_or_else(altered)?;
        let cost = Cost::decode(cost).filter(|_| sum(head) == given && version == VERSION);
        let keys = Keys::of(passphrase, cost.ok_or_else(altered)?, salt)?;
        if keys.check != check {
            return Err(Refusal::PassphraseWrong.into());
        }
        Ok(Self { keys, header, number: 0, is_over: false, from })
    }

    /// The next frame; `None` after the last.
    ///
    /// # Refusals
    /// [`Refusal::BackupTruncated`], [`Refusal::BackupAltered`], [`Refusal::BackupUnread`].
    pub(super) fn frame(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        let mut len = [0; 4];
        let got = fill(&mut self.from, &mut len)?;
        if self.is_over {
            // Something was added.
            return if got == 0 { Ok(None) } else { Err(Refusal::BackupAltered.into()) };
        }
        if got < len.len() {
            return Err(Refusal::BackupTruncated.into());
        }
        let len = u32::from_be_bytes(len);
        let is_last = len & IS_LAST != 0;
        let len = usize::try_from(len & !IS_LAST).unwrap_or(usize::MAX);
        if !(TAG_LEN..=FRAME_MAX + TAG_LEN).contains(&len) {
            return Err(Refusal::BackupAltered.into());
        }
        let mut sealed = vec![0; len];
        if fill(&mut self.from, &mut sealed)? < len {
            return Err(Refusal::BackupTruncated.into());
        }
        let payload = Payload { msg: &sealed, aad: &self.header };
        let plain = self
            .keys
            .frames
            .decrypt(&nonce(self.number, is_last), payload)
            .map_err(|_| Refused::from(Refusal::BackupAltered))?;
        self.number = self.number.saturating_add(1);
        self.is_over = is_last;
        Ok(Some(Zeroizing::new(plain)))
    }
}

/// Reads until the buffer is full or the file ends; how much there was.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Refused> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => got = got.saturating_add(more),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Refused::new(Refusal::BackupUnread, error.to_string())),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Passphrase {
        Passphrase::new(&Zeroizing::new(text.to_owned())).unwrap()
    }

    fn sealed(frames: &[&[u8]]) -> Vec<u8> {
        let fails = |error| panic!("{error}");
        let mut sealer =
            Sealer::begin_at(Cost::LEAST, Vec::new(), &said("correct horse"), &fails).unwrap();
        for (at, frame) in frames.iter().enumerate() {
            sealer.frame(frame, at + 1 == frames.len(), &fails).unwrap();
        }
        sealer.into_inner()
    }

    fn opened(bytes: &[u8], passphrase: &str) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut opener =
            Opener::begin(bytes, &said(passphrase)).map_err(|refused| refused.refusal)?;
        let mut frames = Vec::new();
        while let Some(frame) = opener.frame().map_err(|refused| refused.refusal)? {
            frames.push(frame.to_vec());
        }
        Ok(frames)
    }

    #[test]
    fn what_was_sealed_opens_under_its_passphrase_alone() {
        let bytes = sealed(&[b"one", &[7; FRAME_MAX], b""]);
        let frames = opened(&bytes, "correct horse").unwrap();
        assert_eq!(frames, [b"one".to_vec(), vec![7; FRAME_MAX], Vec::new()]);
        assert_eq!(opened(&bytes, "correct hors"), Err(Refusal::PassphraseWrong));
        assert_eq!(opened(b"PK\x03\x04 some other file", "x"), Err(Refusal::BackupBad));
        assert_eq!(opened(b"", "x"), Err(Refusal::BackupBad));
    }

    #[test]
    fn a_cut_file_an_altered_one_and_a_newer_one_are_told_apart() {
        let bytes = sealed(&[b"one", b"two", b"three"]);
        for len in 1..bytes.len() {
            let no = opened(&bytes[..len], "correct horse");
            assert_eq!(no, Err(Refusal::BackupTruncated), "{len}");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let expected: &[Refusal] = match at {
                0..16 => &[Refusal::BackupBad],
                16..18 => &[Refusal::BackupNewer],
                // A length may now reach past the end.
                _ => &[Refusal::BackupAltered, Refusal::BackupTruncated],
            };
            let no = opened(&bad, "correct horse").unwrap_err();
            assert!(expected.contains(&no), "{at}: {no:?}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(opened(&longer, "correct horse"), Err(Refusal::BackupAltered));
        let mut newer = bytes;
        newer[17] = 2;
        assert_eq!(opened(&newer, "correct horse"), Err(Refusal::BackupNewer));
    }

    #[test]
    fn frames_cannot_be_left_out_or_moved() {
        let bytes = sealed(&[b"one", b"two", b"end"]);
        let frame = 4 + 3 + TAG_LEN;
        let part = |n: usize| &bytes[HEADER_LEN + n * frame..HEADER_LEN + (n + 1) * frame];
        let head = &bytes[..HEADER_LEN];
        for moved in [[head, part(1), part(0), part(2)].concat(), [head, part(0), part(2)].concat()]
        {
            assert_eq!(opened(&moved, "correct horse"), Err(Refusal::BackupAltered));
        }
        let other = sealed(&[b"one", b"two", b"end"]);
        let mixed = [&bytes[..HEADER_LEN + frame], &other[HEADER_LEN + frame..]].concat();
        assert_eq!(opened(&mixed, "correct horse"), Err(Refusal::BackupAltered));
    }
}
