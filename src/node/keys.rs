//! The secrets of a home: found where they lie, or made.
//! Owns: the files and settings that hold them, and where randomness comes from.
//! Must not know: which role uses them, what it decides.
//! Invariants: what is made is stored before it is used; files are 0600.
//! Start reading at: [`rsa_key`], [`node_key`].

use bytes::Bytes;
use getrandom::SysRng;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _, TryRng as _};
use zeroize::Zeroizing;

use super::start::commit;
use crate::identity::keys::{MemberKey, VoucherKey, make_credential};
use crate::identity::voucher;
use crate::ids::{DeviceKey, Incarnation, NetworkId, PeerId};
use crate::protocol::member::Holder;
use crate::protocol::{Reads as _, Write};
use crate::refusal::{Refusal, Refused};
use crate::store::{Home, Store};
use crate::wire::identity::{Certified, voucher::InviteIn};

/// A member's RSA key (PKCS#8 PEM or DER).
pub(super) const MEMBER_KEY: &str = "member.key";
/// The authority's RSA key.
pub(super) const AUTHORITY_KEY: &str = "authority.key";
/// The Ed25519 key of a bootstrap or key authority process.
pub(super) const NODE_KEY: &str = "node.key";

/// Randomness for keys and seeds, from the operating system.
pub(super) fn fresh_rng() -> Result<ChaCha20Rng, Refused> {
    let mut seed = Zeroizing::new([0; 32]);
    SysRng
        .try_fill_bytes(&mut *seed)
        .map_err(|error| Refused::new(Refusal::Internal, format!("no randomness: {error}")))?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

/// 32 random bytes in hex: for tokens.
///
/// # Refusals
/// [`Refusal::Internal`]: the system gives no randomness.
pub fn secret() -> Result<Zeroizing<String>, Refused> {
    let mut bytes = Zeroizing::new([0; 32]);
    fresh_rng()?.fill_bytes(&mut *bytes);
    Ok(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// A member's keys, as its core uses them.
pub(super) struct Keys {
    pub(super) member: MemberKey,
    pub(super) device: DeviceKey,
    pub(super) invite: Option<InviteIn>,
}

impl Holder for Keys {
    fn peer(&self) -> PeerId {
        self.member.peer()
    }
    fn spki(&self) -> Vec<u8> {
        self.member.spki().to_vec()
    }
    fn possession(
        &self,
        network: NetworkId,
        name: &str,
        nonce: &[u8; 16],
    ) -> Result<Vec<u8>, Refusal> {
        self.member.possession(&network, name, nonce)
    }
    fn credential(
        &self,
        network: NetworkId,
        certified: &Certified,
        life: Incarnation,
    ) -> Result<Bytes, Refusal> {
        make_credential(&self.member, &network, certified.clone(), self.device, life)
    }
    fn vouched(&self, name: &str) -> Option<Result<Bytes, Refusal>> {
        let invite = self.invite.as_ref()?;
        let key = VoucherKey::from_secret(&invite.secret);
        Some(voucher::vouch(&key, &invite.signed, &self.member, name))
    }
}

/// An RSA key of this file; made by `create` where there is none.
pub(super) fn rsa_key(
    (home, store): (&Home, &Store),
    file: &str,
    rng: &mut ChaCha20Rng,
    create: impl FnOnce(&mut ChaCha20Rng) -> Result<Zeroizing<Vec<u8>>, Refusal>,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    match store.key_file(home, file)? {
        Some(stored) => der_of(stored, rng),
        None => {
            let der = create(rng)?;
            store.write_key_file(home, file, &der)?;
            Ok(der)
        }
    }
}

/// Keys may have been brought along as PEM.
pub(super) fn der_of(
    stored: Zeroizing<Vec<u8>>,
    rng: &mut ChaCha20Rng,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    match std::str::from_utf8(&stored) {
        Ok(pem) if pem.starts_with("-----BEGIN") => {
            Ok(MemberKey::from_pkcs8_pem(pem, rng)?.to_pkcs8_der()?)
        }
        _ => Ok(stored),
    }
}

/// The key of a process that has no RSA key of its own.
pub(super) fn node_key(home: &Home, rng: &mut ChaCha20Rng) -> Result<Zeroizing<[u8; 32]>, Refused> {
    let mut secret = Zeroizing::new([0; 32]);
    match home.key_file(NODE_KEY)? {
        Some(stored) => {
            let bad = || Refused::new(Refusal::HomeUnusable, format!("{NODE_KEY} is damaged"));
            *secret = stored.as_slice().try_into().map_err(|_| bad())?;
        }
        None => {
            rng.fill_bytes(&mut *secret);
            home.write_key_file(NODE_KEY, &*secret)?;
        }
    }
    Ok(secret)
}

/// The life of this database: drawn once.
pub(super) fn incarnation(
    store: &mut Store,
    rng: &mut ChaCha20Rng,
) -> Result<Incarnation, Refused> {
    const KEY: &str = "identity/incarnation";
    if let Some(stored) = store.setting(KEY)
        && let Ok(bytes) = <[u8; 8]>::try_from(&*stored)
    {
        return Ok(Incarnation(u64::from_be_bytes(bytes)));
    }
    let drawn = rng.next_u64();
    save(store, KEY, Bytes::copy_from_slice(&drawn.to_be_bytes()))?;
    Ok(Incarnation(drawn))
}

/// A secret in the database: drawn once.
pub(super) fn secret_setting(
    store: &mut Store,
    key: &str,
    rng: &mut ChaCha20Rng,
) -> Result<Zeroizing<[u8; 32]>, Refused> {
    let mut secret = Zeroizing::new([0; 32]);
    if let Some(stored) = store.setting(key)
        && let Ok(bytes) = <[u8; 32]>::try_from(&*stored)
    {
        *secret = bytes;
        return Ok(secret);
    }
    rng.fill_bytes(&mut *secret);
    save(store, key, Bytes::copy_from_slice(&*secret))?;
    Ok(secret)
}

pub(super) fn save(store: &mut Store, key: &str, value: Bytes) -> Result<(), Refused> {
    commit(store, vec![Write::Setting { key: key.to_owned(), value: Some(value) }])
}
