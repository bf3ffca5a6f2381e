//! The names of things: fixed-size newtypes, so that a hash is never taken for a key.
//! Owns: their text forms and their parsing.
//! Must not know: what any of them is used for.
//! Invariants: a `PeerId` is always one of the two libp2p forms we accept.
//! Start reading at: [`PeerId`].

use std::fmt;

use sha2::{Digest, Sha256};

/// Who is at the other end of a connection: libp2p's peer id.
///
/// Either the SHA-256 multihash of an RSA key (members) or an inlined Ed25519 key (bootstrap and
/// key authority processes). Ordered by its bytes. Displayed in base58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    // Compared field by field: every form starts with a different length byte, so the order is
    // total and the padding never decides.
    len: u8,
    bytes: [u8; Self::LEN_MAX],
}

impl PeerId {
    const LEN_MAX: usize = 38;
    const RSA_PREFIX: [u8; 2] = [0x12, 0x20];
    const ED25519_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

    /// Accepts the multihash bytes of the two forms above, nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let known = (bytes.len() == 34 && bytes.starts_with(&Self::RSA_PREFIX))
            || (bytes.len() == 38 && bytes.starts_with(&Self::ED25519_PREFIX));
        if !known {
            return None;
        }
        let mut padded = [0; Self::LEN_MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { len: u8::try_from(bytes.len()).ok()?, bytes: padded })
    }

    /// The peer id of an RSA public key given as SubjectPublicKeyInfo DER (libp2p "peer ids" spec).
    pub fn of_rsa_spki(spki: &[u8]) -> Self {
        // PublicKey { Type: RSA (0), Data: spki } in libp2p's protobuf.
        let mut message = vec![0x08, 0x00, 0x12];
        let mut rest = spki.len();
        while rest >= 0x80 {
            message.push(0x80 | u8::try_from(rest & 0x7f).unwrap_or(0));
            rest >>= 7;
        }
        message.push(u8::try_from(rest).unwrap_or(0));
        message.extend_from_slice(spki);
        let mut bytes = [0; Self::LEN_MAX];
        for (to, from) in
            bytes.iter_mut().zip(Self::RSA_PREFIX.into_iter().chain(Sha256::digest(&message)))
        {
            *to = from;
        }
        Self { len: 34, bytes }
    }

    /// The peer id of an Ed25519 public key.
    pub fn of_ed25519(key: &DeviceKey) -> Self {
        let mut bytes = [0; Self::LEN_MAX];
        for (to, from) in bytes.iter_mut().zip(Self::ED25519_PREFIX.into_iter().chain(key.0)) {
            *to = from;
        }
        Self { len: 38, bytes }
    }

    /// The key inside an Ed25519 peer id; `None` for the RSA form, which holds only a hash.
    pub fn ed25519(&self) -> Option<DeviceKey> {
        self.as_bytes().strip_prefix(&Self::ED25519_PREFIX).and_then(DeviceKey::from_bytes)
    }

    /// The multihash bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// Parses base58 as libp2p writes it.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        Self::from_bytes(&bs58::decode(text).into_vec().ok()?)
    }

    /// The last six characters: enough to tell peers apart in a log line.
    pub fn short(&self) -> String {
        let text = self.to_string();
        let start = text.len().saturating_sub(6);
        text.get(start..).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.as_bytes()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId(..{})", self.short())
    }
}

/// Base58 as everybody in libp2p writes it.
pub mod base58 {
    /// As text.
    pub fn encode(bytes: &[u8]) -> String {
        bs58::encode(bytes).into_string()
    }

    /// From text; `None`: not base58.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        bs58::decode(text).into_vec().ok()
    }
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Exactly the right number of bytes, or nothing.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("..)")
            }
        }
    };
}

bytes_id!(
    /// A network: SHA-256 of the authority's public key (SubjectPublicKeyInfo DER).
    NetworkId, 32);
bytes_id!(
    /// A SHA-256 hash of something in canonical bytes.
    Hash, 32);
bytes_id!(
    /// A device's Ed25519 public key; it signs votes, intents, statements and entries.
    DeviceKey, 32);
bytes_id!(
    /// An Ed25519 signature.
    Signature, 64);
bytes_id!(
    /// The id its author gave an intent, so that it takes effect at most once.
    IntentId, 16);
bytes_id!(
    /// A voucher: an admission that the authority signed in advance.
    VoucherId, 16);
bytes_id!(
    /// A room.
    RoomId, 16);
bytes_id!(
    /// What the id of a room is the hash of. Who shows it was told of the room by somebody in it.
    RoomOrigin, 32);
bytes_id!(
    /// Who agrees on a room's keys: one MLS group. A room that is rebooted gets another.
    GroupId, 16);
bytes_id!(
    /// A room secret's name: a collision-resistant hash of it. Epoch numbers are ambiguous after a
    /// fork, and AES-GCM does not commit to its key.
    KeyId, 32);
bytes_id!(
    /// A room in one epoch as one keeper sees it: known to who holds the epoch's secret, and to
    /// nobody else.
    ShelfId, 32);
bytes_id!(
    /// A file: what its sealed chunks and its size hash to, so that whoever brings it is checked.
    FileId, 32);
bytes_id!(
    /// 16 random bytes of one process start; part of what makes (key, nonce) pairs unique.
    SessionSalt, 16);

/// Bytes from hex as printed.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect()
}

impl VoucherId {
    /// Parses hex as printed.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(&unhex(text)?)
    }
}

impl ShelfId {
    /// Parses hex as printed.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(&unhex(text)?)
    }
}

impl FileId {
    /// Parses hex as printed.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(&unhex(text)?)
    }
}

impl RoomId {
    /// Parses hex as printed.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(&unhex(text)?)
    }

    /// The room of this origin.
    pub fn of(origin: &RoomOrigin) -> Self {
        let hash = Hash::of("room", &[origin.as_bytes()]);
        Self(hash.0.first_chunk().copied().unwrap_or_default())
    }

    /// The room `main`, which every network has from its start.
    pub const MAIN: Self = Self(*b"p2pgroup    main");
}

impl Hash {
    /// SHA-256 over the parts, each preceded by its length, so that no two lists collide.
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in std::iter::once(&domain.as_bytes()).chain(parts) {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The hash before the first: what a chain starts from.
    pub const ZERO: Self = Self([0; 32]);
}

/// One life of a database: drawn at random when the database is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A position in the control log. The first entry has index 1; 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// The next position.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// The position before; 0 stays 0.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in an author log. The first entry has seq 1; 0 is "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The next position.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// The position before; 0 stays 0.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message's id: the first half of its entry's hash, so the same on every member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// The id of the message in the entry with this hash.
    pub fn of(hash: &Hash) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(hash.0) {
            *to = from;
        }
        Self(id)
    }

    /// Parses hex as printed.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// An author log: what one incarnation of one member wrote into one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The room.
    pub room: RoomId,
    /// Who wrote.
    pub author: PeerId,
    /// In which life of the author's database.
    pub incarnation: Incarnation,
}

/// What a member may do in the network; ordered, so that more rights are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkRole {
    /// Talks.
    #[default]
    Member,
    /// Also appoints and dismisses admins, and removes whoever is no owner.
    Admin,
    /// Also appoints, dismisses and removes owners.
    Owner,
}

impl NetworkRole {
    /// Every role, lowest first.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// As printed and typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// From what somebody typed.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == text)
    }
}

/// A command's number, given by the face that issued it and echoed in what answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// A request's number: pairs an `Ask` with its answer, and a question with our reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_survives_its_text_form() {
        let rsa = PeerId::of_rsa_spki(&[7; 422]);
        let ed = PeerId::of_ed25519(&DeviceKey([9; 32]));
        for id in [rsa, ed] {
            assert_eq!(PeerId::parse(&id.to_string()), Some(id));
            assert_eq!(PeerId::from_bytes(id.as_bytes()), Some(id));
        }
        assert!(rsa.to_string().starts_with("Qm"));
        assert!(ed.to_string().starts_with("12D3KooW"));
        assert_eq!(ed.ed25519(), Some(DeviceKey([9; 32])));
        assert_eq!(rsa.ed25519(), None);
    }

    #[test]
    fn other_multihashes_are_no_peer_ids() {
        for bytes in [&[][..], &[0x12, 0x20], &[0x11; 34], &[0x00; 38]] {
            assert_eq!(PeerId::from_bytes(bytes), None);
        }
    }

    #[test]
    fn moving_a_byte_between_parts_changes_the_hash() {
        assert_ne!(Hash::of("d", &[b"ab", b"c"]), Hash::of("d", &[b"a", b"bc"]));
    }
}
