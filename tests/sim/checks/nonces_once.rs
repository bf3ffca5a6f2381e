//! Invariant 21: no key and nonce is used for two plaintexts, whatever crashes, and whichever old
//! copy goes on.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: key id, log and session salt lead to the key, seq is the nonce.
//! Start reading at: `see`.

use std::collections::BTreeMap;

use p2pgroup::ids::{Hash, KeyId, LogId, Seq, SessionSalt};
use p2pgroup::protocol::Write;
use p2pgroup::wire::sealed::Sealed;

use super::{Check, Seen};
use crate::world::World;

#[derive(Default)]
pub struct Nonces(BTreeMap<(KeyId, LogId, SessionSalt, Seq), Hash>);

impl Check for Nonces {
    fn name(&self) -> &'static str {
        "nonces_once"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let Seen::Stored { node, writes } = seen else { return Ok(()) };
        for write in *writes {
            let Write::Entry(entry) = write else { continue };
            let Ok(sealed) = Sealed::decode(&entry.bytes) else { continue };
            let header = &sealed.header;
            let place = (header.key_id, header.log, header.session_salt, header.seq);
            let before = *self.0.entry(place).or_insert(entry.hash);
            if before != entry.hash {
                let label = &world.nodes[*node].label;
                return Err(format!("{label} seals two messages under one key and nonce"));
            }
        }
        Ok(())
    }
}
