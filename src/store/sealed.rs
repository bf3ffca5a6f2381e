//! Keys at rest under a passphrase: what a key file holds when it is no good without one.
//! Owns: the way from a passphrase to a key, the two forms of a sealed file, sealed records.
//! Must not know: which files there are, who is asked for a passphrase.
//! Invariants: nothing sealed is altered or moved to another file unseen; what came from a
//! passphrase is cleared from memory; the price of a guess is stored beside what it guards.
//! Start reading at: [`Passphrase`].
//!
//! ```text
//! under a passphrase  "p2pgroup passphrase\n" ‖ version (2) ‖ KiB (4) ‖ passes (4) ‖ lanes (4)
//!                     ‖ salt (16) ‖ nonce (12) ‖ AES-256-GCM(argon2id(passphrase, salt), secret)
//! under a key         "p2pgroup sealed key\n" ‖ version (2) ‖ nonce (12)
//!                     ‖ AES-256-GCM(HKDF(database key), secret; with the file's name)
//! ```
//! A passphrase wraps the database's key, which is random: another passphrase is one small file
//! written anew. The other key files are under the database's key, so the one rename that replaces
//! that small file changes what opens them all.

use std::fmt;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::vault::random;
use crate::limits::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN};
use crate::refusal::{Refusal, Refused};

const UNDER_PASSPHRASE: &[u8] = b"p2pgroup passphrase\n";
const UNDER_KEY: &[u8] = b"p2pgroup sealed key\n";
/// Of both forms.
const VERSION: u16 = 1;
pub(super) const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 12;

/// What a person knows and no file holds.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// From text as typed: in NFC, since keyboards differ in how they make the same letters.
    ///
    /// # Refusals
    /// [`Refusal::PassphraseWrong`] if it can be none: empty, or too long.
    pub fn new(typed: &Zeroizing<String>) -> Result<Self, Refused> {
        if typed.is_empty() || typed.len() > PASSPHRASE_BYTES_MAX {
            let detail = format!("it has 1 to {PASSPHRASE_BYTES_MAX} bytes");
            return Err(Refused::new(Refusal::PassphraseWrong, detail));
        }
        Ok(Self(Zeroizing::new(crate::text::nfc(typed))))
    }

    /// Whether it may be set: one that opens what was set before is never too short.
    ///
    /// # Refusals
    /// [`Refusal::PassphraseWeak`].
    pub fn check_strength(&self) -> Result<(), Refused> {
        match self.0.chars().count() {
            PASSPHRASE_CHARS_MIN.. => Ok(()),
            _ => Err(Refusal::PassphraseWeak.into()),
        }
    }

    /// The key it stands for, with this salt, at this price.
    pub(super) fn key(
        &self,
        cost: Cost,
        salt: &[u8; SALT_LEN],
    ) -> Result<Zeroizing<[u8; 32]>, Refused> {
        let mut key = Zeroizing::new([0; 32]);
        Params::new(cost.kib, cost.passes, cost.lanes, Some(32))
            .and_then(|params| {
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                    self.0.as_bytes(),
                    salt,
                    &mut *key,
                )
            })
            .map_err(|error| Refused::new(Refusal::Internal, format!("argon2: {error}")))?;
        Ok(key)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What one guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// RFC 9106's second choice, but for its four lanes: these would be computed one after another
    /// here and side by side by whoever guesses. A tenth of a second and 64 MiB.
    pub(super) const NOW: Self = Self { kib: 64 << 10, passes: 3, lanes: 1 };

    /// For tests, which guess nothing.
    #[cfg(test)]
    pub(super) const LEAST: Self = Self { kib: 64, passes: 1, lanes: 1 };

    pub(super) fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let parts = [self.kib, self.passes, self.lanes].map(u32::to_be_bytes);
        for (to, from) in bytes.iter_mut().zip(parts.as_flattened()) {
            *to = *from;
        }
        bytes
    }

    /// What a file claims: never more than a machine can be asked for.
    pub(super) fn decode(bytes: &[u8; 12]) -> Option<Self> {
        let mut parts = bytes.as_chunks::<4>().0.iter().map(|part| u32::from_be_bytes(*part));
        let cost = Self { kib: parts.next()?, passes: parts.next()?, lanes: parts.next()? };
        let is_sane = (8..=1 << 20).contains(&cost.kib)
            && (1..=64).contains(&cost.passes)
            && (1..=16).contains(&cost.lanes);
        is_sane.then_some(cost)
    }
}

/// Whether these bytes of a file are no good without a passphrase.
pub(super) fn is_under_passphrase(bytes: &[u8]) -> bool {
    bytes.starts_with(UNDER_PASSPHRASE)
}

/// Whether these bytes of a file are no good without the database's key.
pub(super) fn is_under_key(bytes: &[u8]) -> bool {
    bytes.starts_with(UNDER_KEY)
}

/// Seals a secret under a passphrase, at the price of today.
pub(super) fn seal(secret: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, Refused> {
    seal_at(Cost::NOW, secret, passphrase)
}

fn seal_at(cost: Cost, secret: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, Refused> {
    let salt: [u8; SALT_LEN] = random()?;
    let key = passphrase.key(cost, &salt)?;
    let head = [UNDER_PASSPHRASE, &VERSION.to_be_bytes(), &cost.encode(), &salt].concat();
    close(head, &key, secret, b"")
}

/// Opens what [`seal`] made.
///
/// # Refusals
/// [`Refusal::PassphraseWrong`], also if the file was altered: what it holds cannot tell the two
/// apart; [`Refusal::DatabaseNewer`], [`Refusal::DatabaseKey`].
pub(super) fn unseal(bytes: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (head, rest) = body(bytes, UNDER_PASSPHRASE)?;
    let (cost, rest) = rest.split_first_chunk::<12>().ok_or_else(damaged)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_LEN>().ok_or_else(damaged)?;
    let key = passphrase.key(Cost::decode(cost).ok_or_else(damaged)?, salt)?;
    let head = [head, cost, salt].concat();
    open(&head, &key, rest, b"").map_err(|()| Refusal::PassphraseWrong.into())
}

/// Seals a secret of the file of this name under a key drawn for all files of a home.
pub(super) fn seal_file(secret: &[u8], database_key: &str, name: &str) -> Result<Vec<u8>, Refused> {
    let head = [UNDER_KEY, &VERSION.to_be_bytes()].concat();
    close(head, &*file_key(database_key)?, secret, name.as_bytes())
}

/// Opens what [`seal_file`] made.
///
/// # Refusals
/// [`Refusal::DatabaseKey`]: another home's, or damaged; [`Refusal::DatabaseNewer`].
pub(super) fn unseal_file(
    bytes: &[u8],
    database_key: &str,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (head, rest) = body(bytes, UNDER_KEY)?;
    open(head, &*file_key(database_key)?, rest, name.as_bytes()).map_err(|()| {
        Refused::new(Refusal::DatabaseKey, format!("{name} is not of this home, or damaged"))
    })
}

fn file_key(database_key: &str) -> Result<Zeroizing<[u8; 32]>, Refused> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, database_key.as_bytes())
        .expand(b"p2pgroup/1 key files", &mut *key)
        .map_err(|error| Refused::new(Refusal::Internal, error.to_string()))?;
    Ok(key)
}

/// What follows the magic and the version, and these two.
fn body<'a>(bytes: &'a [u8], magic: &[u8]) -> Result<(&'a [u8], &'a [u8]), Refused> {
    let (head, rest) = bytes.split_at_checked(magic.len() + 2).ok_or_else(damaged)?;
    match head.last_chunk::<2>().map(|version| u16::from_be_bytes(*version)) {
        Some(VERSION) => Ok((head, rest)),
        Some(newer) if newer > VERSION => {
            let detail = format!("a key file has version {newer}, this program knows {VERSION}");
            Err(Refused::new(Refusal::DatabaseNewer, detail))
        }
        _ => Err(damaged()),
    }
}

fn close(
    mut head: Vec<u8>,
    key: &[u8; 32],
    secret: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, Refused> {
    let nonce: [u8; NONCE_LEN] = random()?;
    let aad = [head.as_slice(), context].concat();
    let sealed = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
        .encrypt(&Nonce::<U12>::from(nonce), Payload { msg: secret, aad: &aad })
        .map_err(|_| Refused::new(Refusal::Internal, "a key cannot be sealed"))?;
    head.extend_from_slice(&nonce);
    head.extend_from_slice(&sealed);
    Ok(head)
}

fn open(
    head: &[u8],
    key: &[u8; 32],
    rest: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ()> {
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(())?;
    let aad = [head, context].concat();
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
        .decrypt(&Nonce::<U12>::from(*nonce), Payload { msg: sealed, aad: &aad })
        .map(Zeroizing::new)
        .map_err(|_| ())
}

/// What seals the records of one file, each under the next number.
pub(super) struct Records {
    cipher: Aes256Gcm,
    last: u64,
}

impl Records {
    /// For a file that begins with this salt, which no other file of this home begins with.
    pub(super) fn new(database_key: &str, salt: &[u8; SALT_LEN]) -> Result<Self, Refused> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), database_key.as_bytes())
            .expand(b"p2pgroup/1 journal", &mut *key)
            .map_err(|error| Refused::new(Refusal::Internal, error.to_string()))?;
        Ok(Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)), last: 0 })
    }

    /// A record's number, and the record sealed under it.
    pub(super) fn seal(&mut self, record: &[u8]) -> Option<(u64, Vec<u8>)> {
        self.last = self.last.checked_add(1)?;
        let sealed = self.cipher.encrypt(&numbered(self.last), record).ok()?;
        Some((self.last, sealed))
    }

    /// `None`: it is not of this file, not under this number, or not whole.
    pub(super) fn open(&self, number: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.cipher.decrypt(&numbered(number), sealed).ok()
    }
}

fn numbered(number: u64) -> Nonce<U12> {
    let mut nonce = [0; NONCE_LEN];
    nonce.iter_mut().skip(4).zip(number.to_be_bytes()).for_each(|(to, byte)| *to = byte);
    Nonce::<U12>::from(nonce)
}

fn damaged() -> Refused {
    Refused::new(Refusal::DatabaseKey, "a key file is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost::LEAST;

    fn said(text: &str) -> Passphrase {
        Passphrase::new(&Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn only_the_passphrase_that_sealed_a_secret_opens_it() {
        let sealed = seal_at(CHEAP, b"secret", &said("correct horse")).unwrap();
        assert!(is_under_passphrase(&sealed) && !is_under_key(&sealed));
        assert_eq!(unseal(&sealed, &said("correct horse")).unwrap().as_slice(), b"secret");
        for wrong in ["correct hors", "Correct horse", "correct horse "] {
            let refused = unseal(&sealed, &said(wrong)).unwrap_err();
            assert_eq!(refused.refusal, Refusal::PassphraseWrong, "{wrong}");
        }
        assert_ne!(sealed, seal_at(CHEAP, b"secret", &said("correct horse")).unwrap());
    }

    #[test]
    fn a_passphrase_is_the_same_on_every_keyboard_and_is_never_printed() {
        let sealed = seal_at(CHEAP, b"s", &said("caf\u{e9} au lait")).unwrap();
        assert!(unseal(&sealed, &said("cafe\u{301} au lait")).is_ok());
        assert_eq!(format!("{:?}", said("hunter22")), "Passphrase(..)");
        assert_eq!(said("7 chars").check_strength().unwrap_err().refusal, Refusal::PassphraseWeak);
        assert!(said("8 chars.").check_strength().is_ok());
        for none in [String::new(), "x".repeat(PASSPHRASE_BYTES_MAX + 1)] {
            assert!(Passphrase::new(&Zeroizing::new(none)).is_err());
        }
    }

    #[test]
    fn no_altered_byte_passes_and_a_newer_version_says_so() {
        let passphrase = said("correct horse");
        let sealed = seal_at(CHEAP, b"secret", &passphrase).unwrap();
        // The price is not among them: a dear one would be paid first.
        for at in (0..sealed.len()).filter(|at| !(22..34).contains(at)) {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(!is_under_passphrase(&bad) || unseal(&bad, &passphrase).is_err(), "{at}");
        }
        for len in 0..sealed.len() {
            assert!(unseal(&sealed[..len], &passphrase).is_err(), "{len}");
        }
        let mut newer = sealed;
        newer[21] = 2;
        assert_eq!(unseal(&newer, &passphrase).unwrap_err().refusal, Refusal::DatabaseNewer);
    }

    #[test]
    fn a_price_that_no_machine_pays_is_not_asked_for() {
        for cost in [CHEAP, Cost::NOW] {
            assert_eq!(Cost::decode(&cost.encode()), Some(cost));
        }
        for (kib, passes, lanes) in [(u32::MAX, 3, 1), (0, 3, 1), (64, 1_000, 1), (64, 1, 0)] {
            assert_eq!(Cost::decode(&Cost { kib, passes, lanes }.encode()), None);
        }
    }

    #[test]
    fn a_file_opens_under_its_homes_key_and_its_own_name() {
        let (key, other) = ("0a".repeat(32), "0b".repeat(32));
        let sealed = seal_file(b"secret", &key, "member.key").unwrap();
        assert!(is_under_key(&sealed));
        assert_eq!(unseal_file(&sealed, &key, "member.key").unwrap().as_slice(), b"secret");
        assert!(unseal_file(&sealed, &other, "member.key").is_err());
        assert!(unseal_file(&sealed, &key, "other.key").is_err());
    }
}
