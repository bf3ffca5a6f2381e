//! What the operator of a key authority orders, and what is exported for other programs.
//! Owns: the way from a command line to a running authority, or to its files.
//! Must not know: the terminal.
//! Invariants: an order changes nothing unless the authority's own key signed it.
//! Start reading at: [`order`].

use std::path::Path;

use crate::config::Config;
use crate::protocol::CertificateRow;
use crate::refusal::{Refusal, Refused};

/// What an operator wants of the running authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The whole register.
    List,
    /// Certify a name that waits.
    Approve {
        /// The name.
        name: String,
    },
    /// Withdraw a certificate.
    Revoke {
        /// The name.
        name: String,
        /// Why; may be empty.
        reason: String,
    },
}

/// What came of an order: the rows asked for, or the row that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderResult {
    /// Rows of the register, by serial number.
    pub rows: Vec<CertificateRow>,
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// SHA-256 of the certified public key, in hex.
    pub fingerprint: String,
}

/// Carries out an order at the authority that runs on this home.
///
/// # Refusals
/// [`Refusal::NothingRunning`], [`Refusal::NameUnknown`], whatever keeps the home from opening.
pub async fn order(_config: &Config, _order: Order) -> Result<OrderResult, Refused> {
    std::future::ready(Err(Refused::new(Refusal::Internal, "orders are not connected yet"))).await
}

/// Writes the authority's certificate as PEM.
///
/// # Refusals
/// [`Refusal::HomeUnusable`], and whatever keeps the file from being written.
pub fn export_authority(_config: &Config, _file: &Path) -> Result<Exported, Refused> {
    Err(Refused::new(Refusal::Internal, "the export is not connected yet"))
}

/// Writes one's own certificate as PEM.
///
/// # Refusals
/// [`Refusal::HomeUnusable`], and whatever keeps the file from being written.
pub fn export_id(_config: &Config, _file: &Path) -> Result<Exported, Refused> {
    Err(Refused::new(Refusal::Internal, "the export is not connected yet"))
}
