//! Sealing what is ordered about a room that not everybody may know.
//! Owns: the key of an epoch's orders, its name, the cipher.
//! Must not know: what orders say, who may give them.
//! Invariants: the key of orders opens no entry; a nonce is random and of 96 bits, and an epoch has
//! few orders.
//! Start reading at: [`OrderKey`].

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use bytes::Bytes;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::schedule::RoomSecret;
use crate::ids::{Hash, KeyId, NetworkId, PeerId, RoomId};
use crate::limits::ORDER_SEALED_MAX;
use crate::wire::order::SealedOrder;

/// Under which the orders of one epoch of a room are sealed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct OrderKey([u8; 32]);

impl OrderKey {
    /// That of an epoch.
    pub fn of(secret: &RoomSecret) -> Self {
        let mut key = [0; 32];
        let hkdf = Hkdf::<Sha256>::new(Some(b"p2pgroup/1 order key"), secret.expose());
        // 32 bytes can always be expanded; the crate refuses 8,161 and more.
        let is_done = hkdf.expand(b"p2pgroup/1 orders", &mut key).is_ok();
        debug_assert!(is_done);
        Self(key)
    }

    /// As it was told.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored, or told to who was invited.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its name.
    pub fn id(&self, room: RoomId) -> KeyId {
        KeyId(Hash::of("p2pgroup/1 order key id", &[room.as_bytes(), &self.0]).0)
    }

    /// Seals an order; `nonce` is fresh. `None` if it is too long.
    pub fn seal(&self, order: &[u8], nonce: [u8; 12], at: &Address) -> Option<SealedOrder> {
        let mut buffer = pad(order)?;
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.0));
        cipher.encrypt_in_place(&Nonce::from(nonce), &at.data(), &mut buffer).ok()?;
        Some(SealedOrder { key: self.id(at.room), nonce, ciphertext: buffer.into() })
    }

    /// Opens an order; `None` if it was not sealed under this key for this place.
    pub fn open(&self, order: &SealedOrder, at: &Address) -> Option<Bytes> {
        if order.key != self.id(at.room) {
            return None;
        }
        let mut buffer = order.ciphertext.to_vec();
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.0));
        cipher.decrypt_in_place(&Nonce::from(order.nonce), &at.data(), &mut buffer).ok()?;
        unpad(&buffer)
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrderKey(..)")
    }
}

/// What an order is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The network.
    pub network: NetworkId,
    /// The room.
    pub room: RoomId,
    /// Who wishes it.
    pub by: PeerId,
}

impl Address {
    fn data(&self) -> Vec<u8> {
        let (network, room) = (self.network.as_bytes(), self.room.as_bytes());
        [b"p2pgroup/1 order".as_slice(), network, room, self.by.as_bytes()].concat()
    }
}

/// Orders are as long as the next of 256 bytes, 1, 4, 16 … KiB, so that a name's length does not
/// show.
fn pad(order: &[u8]) -> Option<Vec<u8>> {
    let needed = order.len().checked_add(4)?;
    let mut size: usize = 256;
    while size < needed {
        size = size.checked_mul(2)?;
    }
    let size = size.min(ORDER_SEALED_MAX - 256).max(needed);
    let mut padded = Vec::with_capacity(size.saturating_add(16));
    padded.extend_from_slice(&u32::try_from(order.len()).ok()?.to_be_bytes());
    padded.extend_from_slice(order);
    padded.resize(size, 0);
    Some(padded)
}

fn unpad(padded: &[u8]) -> Option<Bytes> {
    let (len, rest) = padded.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    rest.get(..len).map(Bytes::copy_from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceKey;

    fn address(number: u8) -> Address {
        let by = PeerId::of_ed25519(&DeviceKey([number; 32]));
        Address { network: NetworkId([1; 32]), room: RoomId([2; 16]), by }
    }

    #[test]
    fn an_order_opens_under_its_key_and_at_its_place_alone() {
        let key = OrderKey::of(&RoomSecret::new([7; 32]));
        let sealed = key.seal(b"an order", [3; 12], &address(1)).unwrap();
        assert_eq!(key.open(&sealed, &address(1)).as_deref(), Some(b"an order".as_slice()));
        assert_eq!(key.open(&sealed, &address(2)), None);
        let other = Address { room: RoomId([9; 16]), ..address(1) };
        assert_eq!(key.open(&sealed, &other), None);
        assert_eq!(OrderKey::of(&RoomSecret::new([8; 32])).open(&sealed, &address(1)), None);
        assert_eq!(sealed.ciphertext.len(), 256 + 16);
    }

    #[test]
    fn lengths_show_in_steps() {
        let key = OrderKey::new([1; 32]);
        let len =
            |text: usize| key.seal(&vec![5; text], [0; 12], &address(1)).unwrap().ciphertext.len();
        assert_eq!((len(0), len(252), len(253)), (272, 272, 528));
        let long = vec![6; 300_000];
        let sealed = key.seal(&long, [0; 12], &address(1)).unwrap();
        assert_eq!(key.open(&sealed, &address(1)).unwrap(), long);
        assert!(sealed.ciphertext.len() < ORDER_SEALED_MAX);
    }
}
