//! What OpenMLS stands on: cryptography, randomness from our seed, and its state as rows.
//! Owns: which rows of that state have changed since they were last stored.
//! Must not know: rooms, commits, members.
//! Invariants: what [`Provider::load`] is given after [`Provider::changes`] were written is what
//! was there.
//! Start reading at: [`Provider`].
//!
//! OpenMLS draws its randomness here, but HPKE encapsulates with a generator of its own, seeded by
//! the system: a run with MLS cannot be replayed byte for byte, which is why there is a toy.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use openmls_traits::OpenMlsProvider;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{Changes, Error, Rows};
use crate::identity::Proofs;
use crate::ids::Hash;

/// One group's provider.
pub(super) struct Provider {
    crypto: RustCrypto,
    rand: Seeded,
    storage: MemoryStorage,
    /// What is on disk, by hash: OpenMLS does not say what it touched.
    stored: BTreeMap<Vec<u8>, Hash>,
}

impl Provider {
    /// With nothing stored.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            crypto: RustCrypto::default(),
            rand: Seeded(Mutex::new(ChaCha20Rng::from_seed(seed))),
            storage: MemoryStorage::default(),
            stored: BTreeMap::new(),
        }
    }

    /// With what is stored.
    pub(super) fn load(rows: &[(Bytes, Bytes)], seed: [u8; 32]) -> Result<Self, Error> {
        let mut provider = Self::new(seed);
        provider.insert(rows)?;
        provider.stored = rows.iter().map(|(key, value)| (key.to_vec(), mark(value))).collect();
        Ok(provider)
    }

    /// Rows from elsewhere, which are not stored here yet.
    pub(super) fn insert(&self, rows: &[(Bytes, Bytes)]) -> Result<(), Error> {
        let mut values = self.storage.values.write().map_err(|_| POISONED)?;
        values.extend(rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        Ok(())
    }

    /// A row of our own; OpenMLS's rows begin with labels of theirs.
    pub(super) fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let mut values = self.storage.values.write().map_err(|_| POISONED)?;
        match value {
            Some(value) => values.insert(key.to_vec(), value.to_vec()),
            None => values.remove(key),
        };
        Ok(())
    }

    /// A row of our own.
    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let values = self.storage.values.read().map_err(|_| POISONED)?;
        Ok(values.get(key).cloned().map(Bytes::from))
    }

    /// All rows, in order.
    pub(super) fn rows(&self) -> Result<Rows, Error> {
        let values = self.storage.values.read().map_err(|_| POISONED)?;
        let mut rows: Rows = values
            .iter()
            .map(|(key, value)| (Bytes::from(key.clone()), Bytes::from(value.clone())))
            .collect();
        rows.sort();
        Ok(rows)
    }

    /// What changed since the last call, or since `load`.
    pub(super) fn changes(&mut self) -> Result<Changes, Error> {
        let values = self.storage.values.read().map_err(|_| POISONED)?;
        let now: BTreeMap<Vec<u8>, Hash> =
            values.iter().map(|(key, value)| (key.clone(), mark(value))).collect();
        let gone = self.stored.keys().filter(|key| !now.contains_key(*key));
        let mut changes: Changes = gone.map(|key| (Bytes::from(key.clone()), None)).collect();
        for (key, hash) in &now {
            if self.stored.get(key) != Some(hash) {
                let value = values.get(key).cloned().map(Bytes::from);
                changes.push((Bytes::from(key.clone()), value));
            }
        }
        drop(values);
        self.stored = now;
        Ok(changes)
    }
}

const POISONED: Error = Error::Internal("the state of a group is poisoned");

fn mark(value: &[u8]) -> Hash {
    Hash::of("row", &[value])
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({} rows)", self.stored.len())
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = RustCrypto;
    type RandProvider = Seeded;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }
    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }
    fn rand(&self) -> &Seeded {
        &self.rand
    }
}

/// Rows as one value: lengths and bytes.
pub(super) fn encode_rows(rows: &Rows) -> Bytes {
    let mut bytes = Vec::new();
    for part in rows.iter().flat_map(|(key, value)| [key, value]) {
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes.into()
}

/// Undoes [`encode_rows`].
pub(super) fn decode_rows(bytes: &Bytes) -> Option<Rows> {
    let (mut rest, mut parts) = (bytes.clone(), Vec::new());
    while !rest.is_empty() {
        let (len, _) = rest.split_first_chunk::<4>()?;
        let end = usize::try_from(u32::from_be_bytes(*len)).ok()?.checked_add(4)?;
        if end > rest.len() {
            return None;
        }
        parts.push(rest.slice(4..end));
        rest = rest.slice(end..);
    }
    let pairs = parts.chunks_exact(2);
    pairs.remainder().is_empty().then(|| {
        pairs.filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect()
    })
}

/// Randomness from a seed.
pub(super) struct Seeded(Mutex<ChaCha20Rng>);

impl OpenMlsRand for Seeded {
    type Error = Infallible;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Infallible> {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        Ok(bytes)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, Infallible> {
        let mut bytes = vec![0; len];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        Ok(bytes)
    }
}

/// The device key, as MLS signs with it.
pub(super) struct LeafSigner<'a>(pub(super) &'a dyn Proofs);

impl Signer for LeafSigner<'_> {
    fn sign(&self, content: &[u8]) -> Result<Vec<u8>, SignerError> {
        let signature = self.0.sign_mls(content).ok_or(SignerError::SigningError)?;
        Ok(signature.as_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
