//! Copies in the home directory for other programs: certificates as PEM, addresses as text.
//! Owns: those files, and the lock of the home they are in.
//! Must not know: what the certificates mean.
//! Invariants: nothing secret is copied; a copy follows the commit of what it shows.
//! Start reading at: `Mirror`.

use std::path::PathBuf;

use bytes::Bytes;

use crate::identity::certificate;
use crate::protocol::authority::CERTIFICATE_KEY;
use crate::protocol::{Reads, Write};
use crate::store::Home;

/// The authority's own certificate.
pub const AUTHORITY_FILE: &str = "authority.pem";
/// A member's own certificate.
pub const CERTIFICATE_FILE: &str = "certificate.pem";
/// Where the running process listens, one multiaddr a line.
pub const ADDRESSES_FILE: &str = "addresses";

/// Keeps the copies.
#[derive(Debug)]
pub(super) struct Mirror {
    home: Home,
    pending: Vec<(&'static str, Bytes)>,
}

impl Mirror {
    pub(super) fn new(home: Home) -> Self {
        Self { home, pending: Vec::new() }
    }

    /// Copies what is stored already, for homes from before there was a copy.
    pub(super) fn catch_up(&mut self, reads: &dyn Reads) {
        for key in [CERTIFICATE_KEY, "identity/certificate"] {
            if let Some(der) = reads.setting(key) {
                self.pending.extend(file_of(key).map(|file| (file, der)));
            }
        }
        self.write();
    }

    /// Notes what of these writes is copied once they are committed.
    pub(super) fn note(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Setting { key, value: Some(der) } = write {
                self.pending.extend(file_of(key).map(|file| (file, der.clone())));
            }
        }
    }

    /// The transaction failed.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    /// The transaction is committed.
    pub(super) fn write(&mut self) {
        for (file, der) in std::mem::take(&mut self.pending) {
            if let Ok(pem) = certificate::to_pem(&der) {
                self.save(file, pem.as_bytes());
            }
        }
    }

    /// Where the process listens now.
    pub(super) fn addresses(&self, addresses: &[String]) {
        self.save(ADDRESSES_FILE, addresses.join("\n").as_bytes());
    }

    fn save(&self, file: &str, bytes: &[u8]) {
        let path: PathBuf = self.home.path().join(file);
        if std::fs::read(&path).is_ok_and(|known| known == bytes) {
            return;
        }
        if let Err(error) = std::fs::write(&path, bytes) {
            tracing::warn!(path = %path.display(), %error, "a copy could not be written");
        }
    }
}

fn file_of(key: &str) -> Option<&'static str> {
    match key {
        CERTIFICATE_KEY => Some(AUTHORITY_FILE),
        "identity/certificate" => Some(CERTIFICATE_FILE),
        _ => None,
    }
}
