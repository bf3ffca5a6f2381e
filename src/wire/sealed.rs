//! A sealed entry, as bytes and as a value: a header in the clear and a ciphertext.
//! Owns: the layout of the header, and the hash that chains sealed entries.
//! Must not know: keys, rooms, order, what the ciphertext says.
//! Invariants: one header has one encoding, so that what is hashed and what is authenticated are
//! the bytes as received; the hash outlives the ciphertext.
//! Start reading at: [`Sealed`].
//!
//! ```text
//! header      1  version, 1
//!            32  network          16  room
//!         34|38  author            8  incarnation
//!            16  session salt      8  seq (from 1)
//!            32  previous hash    32  key id
//!             8  Lamport time      8  expiry, Unix milliseconds; 0: never
//! entry hash = H("p2pgroup/1 sealed entry", header, H("p2pgroup/1 ciphertext", ciphertext))
//! ```

use bytes::Bytes;
use prost::Message;

use super::pb;
use crate::ids::{Hash, Incarnation, KeyId, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt};
use crate::limits::SEALED_BYTES_MAX;
use crate::refusal::Refusal;
use crate::time::Wall;

const VERSION: u8 = 1;
/// The fields of an entry as protobuf names them: 1 and 2, with a length.
const HEADER_TAG: u8 = 0x0a;
const CIPHERTEXT_TAG: u8 = 0x12;
/// Bytes of the tag that ends a ciphertext.
const TAG_BYTES: usize = 16;

/// All of an entry that is not secret; authenticated with the ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The network.
    pub network: NetworkId,
    /// The author log.
    pub log: LogId,
    /// Drawn at the start of the process that wrote it.
    pub session_salt: SessionSalt,
    /// Its place in the log.
    pub seq: Seq,
    /// Hash of the entry before.
    pub previous: Hash,
    /// Which room secret its key comes from.
    pub key_id: KeyId,
    /// Lamport time.
    pub lamport: u64,
    /// When it expires, if ever.
    pub expires_at: Option<Wall>,
}

/// A sealed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What it says in the clear.
    pub header: Header,
    /// The header as received: the associated data.
    pub header_bytes: Bytes,
    /// What it says under a key.
    pub body: Body,
}

/// The part of an entry that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Still there.
    Ciphertext(Bytes),
    /// Deleted; its hash remains, so that the chain verifies.
    Deleted(Hash),
}

impl Header {
    /// The one encoding of this header.
    pub fn encode(&self) -> Bytes {
        let expires_at = self.expires_at.map_or(0, |at| at.0);
        [
            &[VERSION][..],
            self.network.as_bytes(),
            self.log.room.as_bytes(),
            // A peer id's length follows from its first byte.
            self.log.author.as_bytes(),
            &self.log.incarnation.0.to_be_bytes(),
            self.session_salt.as_bytes(),
            &self.seq.0.to_be_bytes(),
            self.previous.as_bytes(),
            self.key_id.as_bytes(),
            &self.lamport.to_be_bytes(),
            &expires_at.to_be_bytes(),
        ]
        .concat()
        .into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut rest = Rest(bytes);
        if rest.take::<1>()? != [VERSION] {
            return Err(Refusal::VersionOther);
        }
        let network = NetworkId(rest.take()?);
        let room = RoomId(rest.take()?);
        let author = rest.peer()?;
        let incarnation = Incarnation(rest.number()?);
        let session_salt = SessionSalt(rest.take()?);
        let seq = Seq(rest.number()?);
        let previous = Hash(rest.take()?);
        let key_id = KeyId(rest.take()?);
        let lamport = rest.number()?;
        let expires_at = rest.number()?;
        if seq == Seq(0) || !rest.0.is_empty() {
            return Err(Refusal::FieldBad);
        }
        Ok(Self {
            network,
            log: LogId { room, author, incarnation },
            session_salt,
            seq,
            previous,
            key_id,
            lamport,
            expires_at: (expires_at != 0).then_some(Wall(expires_at)),
        })
    }
}

impl Sealed {
    /// A header and what was sealed under it.
    pub fn new(header: Header, ciphertext: Bytes) -> Self {
        let header_bytes = header.encode();
        Self { header, header_bytes, body: Body::Ciphertext(ciphertext) }
    }

    /// The bytes that are stored and sent.
    pub fn encode(&self) -> Bytes {
        let (ciphertext, ciphertext_hash) = match &self.body {
            Body::Ciphertext(ciphertext) => (ciphertext.clone(), Bytes::new()),
            Body::Deleted(hash) => (Bytes::new(), Bytes::copy_from_slice(hash.as_bytes())),
        };
        let header = self.header_bytes.clone();
        pb::Sealed { header, ciphertext, ciphertext_hash }.encode_to_vec().into()
    }

    /// Reads a sealed entry.
    ///
    /// # Refusals
    /// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`], [`Refusal::FieldBad`],
    /// [`Refusal::VersionOther`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > SEALED_BYTES_MAX {
            return Err(Refusal::FrameTooLong);
        }
        let it = pb::Sealed::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)?;
        // One entry, one encoding: nothing rides along that the hash does not cover.
        if it.encode_to_vec() != *bytes {
            return Err(Refusal::FieldBad);
        }
        let header = Header::decode(&it.header)?;
        let body = match (it.ciphertext.len(), it.ciphertext_hash.len()) {
            (0, _) => {
                Body::Deleted(Hash::from_bytes(&it.ciphertext_hash).ok_or(Refusal::FieldBad)?)
            }
            (len, 0) if len > TAG_BYTES => Body::Ciphertext(it.ciphertext),
            _ => return Err(Refusal::FieldBad),
        };
        Ok(Self { header, header_bytes: it.header, body })
    }

    /// The hash that the next entry names, and that signatures cover.
    pub fn hash(&self) -> Hash {
        let body = match &self.body {
            Body::Ciphertext(ciphertext) => Hash::of("p2pgroup/1 ciphertext", &[ciphertext]),
            Body::Deleted(hash) => *hash,
        };
        Hash::of("p2pgroup/1 sealed entry", &[&self.header_bytes, body.as_bytes()])
    }

    /// The same without its ciphertext.
    #[must_use]
    pub fn deleted(&self) -> Self {
        let body = match &self.body {
            Body::Ciphertext(ciphertext) => Hash::of("p2pgroup/1 ciphertext", &[ciphertext]),
            Body::Deleted(hash) => *hash,
        };
        Self { body: Body::Deleted(body), ..self.clone() }
    }
}

/// When an entry ends, if ever, without reading all of it: the last field of its header. What is no
/// entry has no end.
pub fn expires_at(bytes: &[u8]) -> Option<Wall> {
    let (header, _) = header_and_rest(bytes)?;
    let at = u64::from_be_bytes(*header.last_chunk::<8>()?);
    (at != 0).then_some(Wall(at))
}

/// Whether an entry has lost its ciphertext, without reading all of it.
pub fn is_deleted(bytes: &[u8]) -> bool {
    header_and_rest(bytes).is_some_and(|(_, rest)| rest.first() != Some(&CIPHERTEXT_TAG))
}

/// The header is the first field, and its length fits two bytes at the most.
fn header_and_rest(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[HEADER_TAG])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        low if low < 0x80 => (usize::from(low), rest),
        low => {
            let (high, rest) = rest.split_first().filter(|(high, _)| **high < 0x80)?;
            (usize::from(low & 0x7f) | usize::from(*high) << 7, rest)
        }
    };
    rest.split_at_checked(length)
}

/// What is left to read of a header.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Refusal::FieldBad)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, Refusal> {
        self.take().map(u64::from_be_bytes)
    }

    fn peer(&mut self) -> Result<PeerId, Refusal> {
        let len = if self.0.first() == Some(&0) { 38 } else { 34 };
        let (first, rest) = self.0.split_at_checked(len).ok_or(Refusal::FieldBad)?;
        self.0 = rest;
        PeerId::from_bytes(first).ok_or(Refusal::FieldBad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceKey;

    fn sealed(author: PeerId) -> Sealed {
        let header = Header {
            network: NetworkId([1; 32]),
            log: LogId { room: RoomId::MAIN, author, incarnation: Incarnation(3) },
            session_salt: SessionSalt([4; 16]),
            seq: Seq(1),
            previous: Hash::ZERO,
            key_id: KeyId([5; 32]),
            lamport: 1,
            expires_at: Some(Wall(9)),
        };
        Sealed::new(header, vec![7; 272].into())
    }

    #[test]
    fn a_sealed_entry_survives_its_bytes_and_its_hash_outlives_the_ciphertext() {
        for author in [PeerId::of_rsa_spki(b"alice"), PeerId::of_ed25519(&DeviceKey([9; 32]))] {
            let entry = sealed(author);
            assert_eq!(Sealed::decode(&entry.encode()), Ok(entry.clone()));
            let deleted = entry.deleted();
            assert_eq!(Sealed::decode(&deleted.encode()), Ok(deleted.clone()));
            assert_eq!(deleted.hash(), entry.hash());
            assert_eq!(deleted.deleted(), deleted);
            assert!(deleted.encode().len() < 300);
        }
    }

    #[test]
    fn the_end_of_an_entry_is_read_without_reading_all_of_it() {
        let entry = sealed(PeerId::of_rsa_spki(b"alice"));
        let never = Header { expires_at: None, ..entry.header.clone() };
        let never = Sealed::new(never, vec![7; 17].into());
        for (entry, at) in [(&entry, Some(Wall(9))), (&never, None)] {
            for (form, is_gone) in [(entry.clone(), false), (entry.deleted(), true)] {
                let bytes = form.encode();
                assert_eq!((expires_at(&bytes), is_deleted(&bytes)), (at, is_gone));
            }
        }
        let bytes = entry.encode();
        for length in 0..100 {
            assert_eq!(expires_at(bytes.get(..length).unwrap_or_default()), None);
        }
        assert_eq!(expires_at(b"\x0a\xff\xff\x01nothing"), None);
    }

    #[test]
    fn every_bit_of_header_and_ciphertext_counts() {
        let entry = sealed(PeerId::of_rsa_spki(b"alice"));
        let bytes = entry.encode();
        for at in 0..bytes.len() {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            if let Ok(other) = Sealed::decode(&other.into()) {
                assert_ne!(other.hash(), entry.hash(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_is_not_a_sealed_entry_is_refused() {
        let entry = sealed(PeerId::of_rsa_spki(b"alice"));
        let pb = |header: Bytes, ciphertext: &[u8], hash: &[u8]| {
            let ciphertext = Bytes::copy_from_slice(ciphertext);
            let ciphertext_hash = Bytes::copy_from_slice(hash);
            Bytes::from(pb::Sealed { header, ciphertext, ciphertext_hash }.encode_to_vec())
        };
        let header = entry.header_bytes.clone();
        let longer = Bytes::from([header.as_ref(), &[0]].concat());
        let newer = Bytes::from([&[2], header.get(1..).unwrap_or_default()].concat());
        let nowhere = Header { seq: Seq(0), ..entry.header.clone() }.encode();
        for (bytes, refusal) in [
            (pb(longer, &[1; 17], &[]), Refusal::FieldBad),
            (pb(newer, &[1; 17], &[]), Refusal::VersionOther),
            (pb(nowhere, &[1; 17], &[]), Refusal::FieldBad),
            (pb(header.slice(..header.len() - 1), &[1; 17], &[]), Refusal::FieldBad),
            (pb(header.clone(), &[1; 16], &[]), Refusal::FieldBad),
            (pb(header.clone(), &[], &[]), Refusal::FieldBad),
            (pb(header.clone(), &[1; 17], &[1; 32]), Refusal::FieldBad),
            (pb(header.clone(), &[1; SEALED_BYTES_MAX], &[]), Refusal::FrameTooLong),
            (Bytes::from([&entry.encode()[..], &[0x78, 1]].concat()), Refusal::FieldBad),
            (Bytes::from_static(b"\xff\xff"), Refusal::FrameBad),
        ] {
            assert_eq!(Sealed::decode(&bytes), Err(refusal));
        }
    }
}
