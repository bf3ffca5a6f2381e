//! A new life of a member's database: what a copy of it must not take along.
//! Owns: which stored values stand for one life and no other.
//! Must not know: why there is a copy.
//! Invariants: a copy without these signs nothing and seals nothing in the place of the database it
//! was copied from.
//! Start reading at: [`new_life`].

use crate::protocol::{Reads, Write};

/// What must be forgotten so that a copy begins a new life.
///
/// The life and the device key: the next start draws new ones, so the voter of before does not
/// vote again with an old promise, and is admitted anew. The logs written into: the next start
/// writes into new ones, so no place is signed twice, and no nonce is used twice under one key.
/// The groups that agree on keys: the copy comes in by an external commit, under its new device
/// key. What it read so far stays readable: the keys of the past are not among these.
pub fn new_life(reads: &dyn Reads) -> Vec<Write> {
    let of_rooms = reads.settings("room/").into_iter().map(|(key, _)| key).filter(|key| {
        key.ends_with("/incarnation") || key.ends_with("/candidate") || key.contains("/group/")
    });
    ["identity/incarnation", "identity/device"]
        .map(str::to_owned)
        .into_iter()
        .chain(of_rooms)
        .map(|key| Write::Setting { key, value: None })
        .collect()
}
