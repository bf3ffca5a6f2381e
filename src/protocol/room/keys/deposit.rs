//! Sealing what is left with a keeper, which is in the network and not in the room.
//! Owns: the shelf of an epoch at a keeper, the key of what lies there, the padding.
//! Must not know: who brings what, how long it is kept, what a page says.
//! Invariants: whoever holds the epoch's secret finds the shelf and opens what lies there, and
//! nobody else; a shelf shows neither its room nor that it is one room's with any other, not even
//! to two keepers together; a nonce is random and of 96 bits, and an epoch ends by the thousand.
//! Start reading at: [`DepositKey`].
//!
//! ```text
//! room secret ─ HKDF(network, room, keeper) ─┬─► shelf id: what the keeper sees
//!                                            └─► key: AES-256-GCM of padded pages
//! ```

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use bytes::Bytes;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::schedule::RoomSecret;
use crate::ids::{NetworkId, PeerId, RoomId, ShelfId};
use crate::limits::DEPOSIT_PADDED_BYTES;

/// What opens a shelf of one keeper.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DepositKey {
    #[zeroize(skip)]
    shelf: ShelfId,
    key: [u8; 32],
}

/// Whose shelf it is, and at which keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The network.
    pub network: NetworkId,
    /// The room.
    pub room: RoomId,
    /// The keeper.
    pub keeper: PeerId,
}

impl DepositKey {
    /// That of an epoch.
    pub fn of(secret: &RoomSecret, at: &Place) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(b"p2pgroup/1 deposit"), secret.expose());
        let expand = |what: &[u8]| {
            let mut bytes = [0; 32];
            let info = [what, at.network.as_bytes(), at.room.as_bytes(), at.keeper.as_bytes()];
            // 32 bytes can always be expanded; the crate refuses 8,161 and more.
            let is_done = hkdf.expand_multi_info(&info, &mut bytes).is_ok();
            debug_assert!(is_done);
            bytes
        };
        Self { shelf: ShelfId(expand(b"shelf")), key: expand(b"key") }
    }

    /// Where it lies.
    pub fn shelf(&self) -> ShelfId {
        self.shelf
    }

    /// Seals a page; `nonce` is fresh. `None` if it is too long.
    pub fn seal(&self, page: &[u8], nonce: [u8; 12]) -> Option<Bytes> {
        let needed = page.len().checked_add(4)?;
        let size = DEPOSIT_PADDED_BYTES.into_iter().find(|size| *size >= needed)?;
        let mut buffer = Vec::with_capacity(size.saturating_add(16));
        buffer.extend_from_slice(&u32::try_from(page.len()).ok()?.to_be_bytes());
        buffer.extend_from_slice(page);
        buffer.resize(size, 0);
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.key));
        cipher.encrypt_in_place(&Nonce::from(nonce), self.shelf.as_bytes(), &mut buffer).ok()?;
        Some([nonce.as_slice(), &buffer].concat().into())
    }

    /// Opens a deposit; `None` if it was not sealed for this shelf.
    pub fn open(&self, sealed: &[u8]) -> Option<Bytes> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
        let mut buffer = sealed.to_vec();
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.key));
        cipher.decrypt_in_place(&Nonce::from(*nonce), self.shelf.as_bytes(), &mut buffer).ok()?;
        let (len, rest) = buffer.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        rest.get(..len).map(Bytes::copy_from_slice)
    }
}

impl fmt::Debug for DepositKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DepositKey({:?})", self.shelf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceKey;

    fn keeper(number: u8) -> PeerId {
        PeerId::of_ed25519(&DeviceKey([number; 32]))
    }

    fn place() -> Place {
        Place { network: NetworkId([1; 32]), room: RoomId([2; 16]), keeper: keeper(1) }
    }

    #[test]
    fn shelves_differ_by_room_epoch_keeper_and_network() {
        let secret = RoomSecret::new([7; 32]);
        let of = |secret: &RoomSecret, at: Place| DepositKey::of(secret, &at);
        let all = [
            of(&secret, place()),
            // After a removal: another epoch.
            of(&RoomSecret::new([8; 32]), place()),
            of(&secret, Place { room: RoomId([3; 16]), ..place() }),
            of(&secret, Place { keeper: keeper(2), ..place() }),
            of(&secret, Place { network: NetworkId([2; 32]), ..place() }),
        ];
        let sealed = all[0].seal(b"a page", [9; 12]).unwrap();
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert_ne!(one.shelf(), other.shelf());
                assert_ne!(one.key, other.key);
            }
            let opened = one.open(&sealed);
            assert_eq!(opened.as_deref(), (at == 0).then_some(b"a page".as_slice()));
        }
        // Whoever holds the secret comes to the same.
        assert_eq!(of(&RoomSecret::new([7; 32]), place()), all[0]);
    }

    #[test]
    fn an_altered_deposit_does_not_open_and_lengths_show_in_steps() {
        let key = DepositKey::of(&RoomSecret::new([7; 32]), &place());
        let len = |bytes: usize| key.seal(&vec![5; bytes], [0; 12]).map(|it| it.len() - 28);
        assert_eq!((len(0), len(1_020), len(1_021)), (Some(1_024), Some(1_024), Some(4_096)));
        assert_eq!((len((512 << 10) - 4), len((512 << 10) - 3)), (Some(512 << 10), None));
        let sealed = key.seal(b"a page", [9; 12]).unwrap();
        for at in [0, 12, sealed.len() - 1] {
            let mut altered = sealed.to_vec();
            altered[at] ^= 1;
            assert_eq!(key.open(&altered), None);
        }
        assert_eq!(key.open(&sealed[..20]), None);
        assert!(!format!("{key:?}").contains("key"));
    }
}
