//! The edge where bytes become typed values: lengths are bounded, fields checked, once.
//! Owns: the protobuf types (`pb`), which do not leave this floor.
//! Must not know: what a frame leads to.
//! Invariants: what is decoded is complete and in range; signatures are over received bytes.
//! Start reading at: [`codec`].

pub mod codec;
pub mod control;
pub mod file;
pub mod frame;
pub mod identity;
pub mod keep;
pub mod links;
pub mod order;
pub mod room;
pub mod roster;
pub mod sealed;
pub mod sync;

/// At most `bytes` bytes of a text, cut at a character.
fn clip(text: &str, bytes: usize) -> String {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default().to_owned()
}

/// The types generated from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub(crate) mod pb {
    include!(concat!(env!("OUT_DIR"), "/p2pgroup.v1.rs"));
}
