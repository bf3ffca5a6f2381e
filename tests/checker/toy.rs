//! Signatures and a disk for the model checker.
//! Owns: a toy that binds what real signatures bind, and a store that is two maps.
//! Must not know: what is signed or stored.
//! Invariants: equal calls give equal bytes.
//! Start reading at: [`Toy`].

use std::collections::BTreeMap;

use bytes::Bytes;
use p2pgroup::identity::{Authority, AuthorityDomain, Credential, Domain, Proofs};
use p2pgroup::ids::{DeviceKey, Index, LogId, PeerId, RoomId, Seq, Signature};
use p2pgroup::protocol::{CertificateRow, Reads, StoredEntry, StoredHead, Write};
use p2pgroup::refusal::Refusal;

/// Signs with a few additions: a state costs microseconds, not milliseconds.
pub(crate) struct Toy(pub(crate) DeviceKey);

pub(crate) fn sign(key: &DeviceKey, domain: Domain, bytes: &[u8]) -> Signature {
    let mut whole = [0; 64];
    let parts = domain.tag().bytes().chain(key.0).chain(bytes.iter().copied());
    // FNV-1a, 64 bits, seven times with different starts would be no stronger here.
    let hash = parts.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    whole[..8].copy_from_slice(&hash.to_be_bytes());
    Signature(whole)
}

impl Proofs for Toy {
    fn device(&self) -> DeviceKey {
        self.0
    }
    fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        sign(&self.0, domain, bytes)
    }
    fn verify(&self, key: &DeviceKey, domain: Domain, bytes: &[u8], by: &Signature) -> bool {
        sign(key, domain, bytes) == *by
    }
    fn authority(&self, _: &Bytes) -> Result<Authority, Refusal> {
        Err(Refusal::CertificateBad)
    }
    fn credential(&self, _: &Authority, _: &Bytes) -> Result<Credential, Refusal> {
        Err(Refusal::CertificateBad)
    }
    fn authority_signed(&self, _: &Authority, _: AuthorityDomain, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// What survives a crash.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Disk {
    settings: BTreeMap<String, Bytes>,
    rows: BTreeMap<u64, Bytes>,
}

impl Disk {
    pub(crate) fn write(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Setting { key, value: Some(value) } => {
                    self.settings.insert(key.clone(), value.clone());
                }
                Write::Control { index, bytes, .. } => {
                    self.rows.insert(index.0, bytes.clone());
                }
                Write::ControlCut { from, .. } => {
                    self.rows.split_off(&from.0);
                }
                other => panic!("control writes no {other:?}"),
            }
        }
    }
}

impl Reads for Disk {
    fn setting(&self, key: &str) -> Option<Bytes> {
        self.settings.get(key).cloned()
    }
    fn settings(&self, _: &str) -> Vec<(String, Bytes)> {
        Vec::new()
    }
    fn control(&self, _: &str, from: Index, count: usize) -> Vec<Bytes> {
        self.rows.range(from.0..).take(count).map(|(_, bytes)| bytes.clone()).collect()
    }
    fn control_spaces(&self) -> Vec<String> {
        Vec::new()
    }
    fn heads(&self, _: RoomId) -> Vec<StoredHead> {
        Vec::new()
    }
    fn entries(&self, _: LogId, _: Seq, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn newest(&self, _: RoomId, _: usize) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn held(&self, _: LogId) -> Vec<(PeerId, Seq)> {
        Vec::new()
    }
    fn forks(&self, _: LogId) -> Vec<StoredEntry> {
        Vec::new()
    }
    fn certificates(&self) -> Vec<CertificateRow> {
        Vec::new()
    }
}
