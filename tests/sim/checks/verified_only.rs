//! Invariant 20: nothing is stored, shown or passed on but under its author's signature.
//! Owns: what it remembers for that.
//! Must not know: how the cores come to it.
//! Invariants: what its author did not write exists nowhere else.
//! Start reading at: `see`.

use p2pgroup::identity::{Domain, Proofs};
use p2pgroup::protocol::room::batch_bytes;
use p2pgroup::protocol::{MessageId, Notice, StoredEntry, Write};
use p2pgroup::wire::frame::Body;
use p2pgroup::wire::sealed::Sealed;
use p2pgroup::wire::sync::{Page, Sync};

use super::{Check, Seen};
use crate::proofs::{Toy, network};
use crate::world::World;

#[derive(Default)]
pub struct Verified;

fn passed_on(world: &World, page: &Page) -> Result<(), String> {
    let hash = |bytes| Sealed::decode(bytes).map(|it| it.hash());
    let hashes: Result<Vec<_>, _> = page.envelopes.iter().map(hash).collect();
    let hashes = hashes.map_err(|refusal| format!("passes on what is no entry: {refusal}"))?;
    for hash in &hashes {
        if !world.oracle.authored.contains_key(&MessageId::of(hash)) {
            return Err("passes on what its author did not write".to_owned());
        }
    }
    let first = world.oracle.authored[&MessageId::of(&hashes[0])].seq;
    let last = first.0 + hashes.len() as u64 - 1;
    if page.signatures.last().is_none_or(|(seq, _)| seq.0 != last) {
        return Err("passes on entries beyond the last signature".to_owned());
    }
    let keys: Vec<_> = world.keys_of(&page.log.author);
    for (seq, signature) in &page.signatures {
        let hash = &hashes[(seq.0 - first.0) as usize];
        let bytes = batch_bytes(network(), &page.log, *seq, hash);
        if !keys.iter().any(|key| Toy::of(*key).verify(key, Domain::Batch, &bytes, signature)) {
            return Err("passes on a bad signature".to_owned());
        }
    }
    Ok(())
}

impl Check for Verified {
    fn name(&self) -> &'static str {
        "verified_only"
    }

    fn see(&mut self, seen: &Seen<'_>, world: &World) -> Result<(), String> {
        let authored = &world.oracle.authored;
        match seen {
            Seen::Stored { node, writes } => {
                for write in *writes {
                    let entries = match write {
                        Write::Entry(entry) | Write::Received(entry) | Write::Pending(entry) => {
                            std::slice::from_ref(entry)
                        }
                        Write::Fork(entries) => entries.as_slice(),
                        _ => continue,
                    };
                    let is_known =
                        |it: &StoredEntry| authored.contains_key(&MessageId::of(&it.hash));
                    if !entries.iter().all(is_known) {
                        let label = &world.nodes[*node].label;
                        return Err(format!("{label} stores what nobody wrote"));
                    }
                }
            }
            Seen::Told { node, notice: Notice::Message(message) } => {
                let written = authored.get(&message.id);
                let is_true = written.is_some_and(|it| {
                    it.text.as_ref().is_none_or(|text| *text == message.text)
                        && world.nodes[it.node].peer == message.peer
                });
                if !is_true {
                    let label = &world.nodes[*node].label;
                    return Err(format!("{label} shows what {} did not write", message.from));
                }
            }
            Seen::Sent { node, body: Body::Sync(Sync::Entries(page)), .. } => {
                passed_on(world, page)
                    .map_err(|text| format!("{} {text}", world.nodes[*node].label))?;
            }
            _ => {}
        }
        Ok(())
    }
}
