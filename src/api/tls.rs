//! TLS for what is posted to other programs: whom it trusts, and how a no reads.
//! Owns: the roots, the system's and those of the settings, and the sessions.
//! Must not know: what is posted, and which addresses may be posted to.
//! Invariants: a certificate counts for the name that was asked for alone, up to a root that is
//! trusted; nothing is sent before that is known.
//! Start reading at: [`Trust::session`].

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::refusal::{Refusal, Refused};

/// A file of roots is read up to here: the hundred and more that a system trusts take 250 KiB.
const ROOTS_BYTES_MAX: u64 = 4 << 20;

/// Whom the other end's certificate must lead to.
#[derive(Debug, Default)]
pub struct Trust {
    /// A file of further roots, in PEM.
    more: Option<PathBuf>,
    /// Read at the first need, and anew after a certificate that led to nobody: roots come and go
    /// while a member runs for months.
    known: Mutex<Option<Arc<ClientConfig>>>,
}

impl Trust {
    /// The system's roots, and those of this file.
    ///
    /// # Refusals
    /// [`Refusal::ConfigBad`] if the file holds none.
    pub fn open(more: Option<PathBuf>) -> Result<Self, Refused> {
        let trust = Self { more, known: Mutex::default() };
        trust.further().map_err(|what| Refused::new(Refusal::ConfigBad, what))?;
        Ok(trust)
    }

    /// A session with whoever is at the other end, once it has shown that it is this host.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(super) async fn session(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is no name that a certificate could be for"))?;
        let config = self.config()?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
            let tls = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
            match tls {
                Some(no @ rustls::Error::InvalidCertificate(why)) => {
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    format!("{}: {no}", said(host, why))
                }
                _ => format!("no TLS with {host}: {error}"),
            }
        })
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*known {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "some of the system's roots cannot be read");
        }
        // A system may hold roots that are none any more.
        roots.add_parsable_certificates(system.certs);
        for root in self.further()? {
            roots.add(root).map_err(|error| self.wrong(&error.to_string()))?;
        }
        if roots.is_empty() {
            let why = "this system trusts no root; install its package of certificates \
                       (ca-certificates), or name a file by webhook_ca";
            return Err(why.to_owned());
        }
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        *known = Some(Arc::clone(&config));
        Ok(config)
    }

    /// The roots of the file.
    fn further(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let Some(path) = &self.more else { return Ok(Vec::new()) };
        let mut pem = Vec::new();
        let limit = ROOTS_BYTES_MAX.saturating_add(1);
        std::fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut pem))
            .map_err(|error| self.wrong(&error.to_string()))?;
        if u64::try_from(pem.len()).unwrap_or(u64::MAX) > ROOTS_BYTES_MAX {
            return Err(self.wrong(&format!("more than {} MiB", ROOTS_BYTES_MAX >> 20)));
        }
        let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrong(&error.to_string()))?;
        if roots.is_empty() {
            return Err(self.wrong("no certificate in PEM"));
        }
        let mut judged = RootCertStore::empty();
        for root in &roots {
            judged.add(root.clone()).map_err(|error| self.wrong(&error.to_string()))?;
        }
        Ok(roots)
    }

    fn wrong(&self, what: &str) -> String {
        let path = self.more.as_deref().unwrap_or_else(|| std::path::Path::new(""));
        format!("webhook_ca: {}: {what}", path.display())
    }
}

/// What is wrong with a certificate, before the words of the library.
fn said(host: &str, why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} leads to no root that is trusted here; webhook_ca names a \
             file of further ones"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is not for {host}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet; is the clock right?")
        }
        _ => format!("the certificate of {host} does not hold"),
    }
}

#[cfg(test)]
mod tests;
