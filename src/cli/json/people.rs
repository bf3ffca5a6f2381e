//! What concerns people and their keys, as events: passphrases.
//! Owns: their field names and order.
//! Must not know: how keys are kept and compared.
//! Invariants: no event holds a secret.
//! Start reading at: [`Face::passphrase`].

use serde::Serialize;

use super::Face;
use super::line::line;

#[derive(Serialize)]
struct Passphrase<'a> {
    event: &'static str,
    at: &'a str,
    state: &'static str,
}

impl Face {
    /// What became of the passphrase of a home: `set`, `changed` or `removed`.
    pub(in crate::cli) fn passphrase(&mut self, state: &'static str, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        line(&Passphrase { event: "passphrase", at, state }, out);
    }
}
