//! Files: the frames of the stream on which one is fetched, the terms in a message, the stored row.
//! Owns: their layout; which chunks somebody has, as bits.
//! Must not know: who may fetch what, where a file lies.
//! Invariants: a frame's length is bounded before its body is read; bits beyond the last chunk are none.
//! Start reading at: [`Wish`], [`Answer`].
//!
//! ```text
//!  length, 4 bytes, big endian | kind, 1 byte | body          (the length counts kind and body)
//! ```
//!
//! No protobuf here: a chunk is read to where it is opened, and written from where it was sealed,
//! without a copy between.

use bytes::Bytes;
use prost::Message;

use super::pb;
use crate::ids::{FileId, MessageId, NetworkId, PeerId, RoomId};
use crate::limits::{FILE_CHUNKS_MAX, FILE_FRAME_BYTES_MAX, FILE_WISH_BYTES_MAX};
use crate::refusal::Refusal;
use crate::terms::{FileKey, FileState, FileTerms};
use crate::time::Wall;

/// The bytes before a frame's body: its length and its kind.
pub const HEAD_BYTES: usize = 5;
/// The bytes of a chunk's frame before the sealed chunk: its head, and which chunk it is.
pub const CHUNK_HEAD_BYTES: usize = HEAD_BYTES + 4;
/// The bytes of a chunk's hash.
pub const HASH_BYTES: usize = 32;

/// What who fetches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// First: this file of this network.
    Open(NetworkId, FileId),
    /// The hashes of its chunks.
    Hashes,
    /// These chunks, in this order.
    Chunks {
        /// The first.
        first: u32,
        /// How many.
        count: u32,
    },
}

impl Wish {
    /// The whole frame.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Open(network, id) => frame(1, &[network.as_bytes(), id.as_bytes()]),
            Self::Hashes => frame(2, &[]),
            Self::Chunks { first, count } => {
                frame(3, &[&first.to_be_bytes(), &count.to_be_bytes()])
            }
        }
    }

    /// Reads one, without its length.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`].
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, Refusal> {
        match (kind, body.len()) {
            (1, 64) => {
                let (network, id) = body.split_at_checked(32).ok_or(Refusal::FrameBad)?;
                let network = NetworkId::from_bytes(network).ok_or(Refusal::FrameBad)?;
                Ok(Self::Open(network, FileId::from_bytes(id).ok_or(Refusal::FrameBad)?))
            }
            (2, 0) => Ok(Self::Hashes),
            (3, 8) => {
                let (first, count) = body.split_at_checked(4).ok_or(Refusal::FrameBad)?;
                Ok(Self::Chunks { first: number(first)?, count: number(count)? })
            }
            _ => Err(Refusal::FrameBad),
        }
    }
}

/// What who has a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It has these chunks; again when there are more.
    Has(Chunks),
    /// The hashes of all chunks.
    Hashes(&'a [u8]),
    /// A chunk.
    Chunk {
        /// Which.
        index: u32,
        /// Its sealed bytes.
        sealed: &'a [u8],
    },
    /// It cannot be had here, and why.
    No(Why),
}

/// Why somebody does not give a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has none of it, or may not give it to who asks.
    Unknown,
    /// What it has is not what was sent any more.
    Changed,
    /// It gives as much to others as it can.
    Busy,
}

impl Answer<'_> {
    /// The whole frame. A chunk's is written from where it was sealed: see [`chunk_head`].
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Has(chunks) => frame(17, &[&chunks.count.to_be_bytes(), &chunks.bits]),
            Self::Hashes(hashes) => frame(18, &[hashes]),
            Self::Chunk { index, sealed } => frame(19, &[&index.to_be_bytes(), sealed]),
            Self::No(why) => {
                let code = match why {
                    Why::Unknown => 0,
                    Why::Changed => 1,
                    Why::Busy => 2,
                };
                frame(20, &[&[code]])
            }
        }
    }
}

impl<'a> Answer<'a> {
    /// Reads one, without its length.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`].
    pub fn decode(kind: u8, body: &'a [u8]) -> Result<Self, Refusal> {
        match kind {
            17 => {
                let (count, bits) = body.split_at_checked(4).ok_or(Refusal::FrameBad)?;
                Ok(Self::Has(Chunks::from_bits(number(count)?, bits).ok_or(Refusal::FrameBad)?))
            }
            18 => Ok(Self::Hashes(body)),
            19 => {
                let (index, sealed) = body.split_at_checked(4).ok_or(Refusal::FrameBad)?;
                Ok(Self::Chunk { index: number(index)?, sealed })
            }
            20 => match body {
                // What a newer version says is a no all the same.
                [1] => Ok(Self::No(Why::Changed)),
                [2] => Ok(Self::No(Why::Busy)),
                [_] => Ok(Self::No(Why::Unknown)),
                _ => Err(Refusal::FrameBad),
            },
            _ => Err(Refusal::FrameBad),
        }
    }
}

fn number(bytes: &[u8]) -> Result<u32, Refusal> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| Refusal::FrameBad)
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(body.saturating_add(1)).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(body.saturating_add(HEAD_BYTES));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.push(kind);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// What stands before a sealed chunk of this length in its frame.
pub fn chunk_head(index: u32, sealed_bytes: u32) -> [u8; CHUNK_HEAD_BYTES] {
    let mut head = [0; CHUNK_HEAD_BYTES];
    let length = sealed_bytes.saturating_add(5).to_be_bytes();
    let bytes = length.into_iter().chain([19]).chain(index.to_be_bytes());
    head.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    head
}

/// The kind of a frame and the length of its body, from its first bytes.
///
/// # Refusals
/// [`Refusal::FrameTooLong`], [`Refusal::FrameBad`].
pub fn read_head(head: [u8; HEAD_BYTES], bytes_max: usize) -> Result<(u8, usize), Refusal> {
    let [a, b, c, d, kind] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let body = length.checked_sub(1).ok_or(Refusal::FrameBad)?;
    if body > bytes_max { Err(Refusal::FrameTooLong) } else { Ok((kind, body)) }
}

/// Some of a file's chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    count: u32,
    bits: Vec<u8>,
    held: u32,
}

impl Chunks {
    /// None of so many.
    pub fn none(count: u32) -> Self {
        Self { count, bits: vec![0; bytes_for(count)], held: 0 }
    }

    /// All of so many.
    pub fn all(count: u32) -> Self {
        let mut chunks = Self::none(count);
        (0..count).for_each(|index| chunks.add(index));
        chunks
    }

    /// From bits as they are sent; `None`: they are not those of so many chunks.
    pub fn from_bits(count: u32, bits: &[u8]) -> Option<Self> {
        if count > FILE_CHUNKS_MAX || bits.len() != bytes_for(count) {
            return None;
        }
        let mut chunks = Self::none(count);
        let given = |index: u32| {
            let byte = usize::try_from(index / 8).ok().and_then(|at| bits.get(at));
            byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
        };
        (0..count).filter(|index| given(*index)).for_each(|index| chunks.add(index));
        Some(chunks)
    }

    /// As they are sent and stored.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// How many there are in all.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many of them these are.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Whether these are all of them.
    pub fn is_whole(&self) -> bool {
        self.held == self.count
    }

    /// Whether this one is among them.
    pub fn has(&self, index: u32) -> bool {
        let byte = usize::try_from(index / 8).ok().and_then(|at| self.bits.get(at));
        index < self.count && byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// One more.
    pub fn add(&mut self, index: u32) {
        if index < self.count
            && !self.has(index)
            && let Some(byte) = usize::try_from(index / 8).ok().and_then(|at| self.bits.get_mut(at))
        {
            *byte |= 1 << (index % 8);
            self.held = self.held.saturating_add(1);
        }
    }

    /// One less.
    pub fn remove(&mut self, index: u32) {
        if self.has(index)
            && let Some(byte) = usize::try_from(index / 8).ok().and_then(|at| self.bits.get_mut(at))
        {
            *byte &= !(1 << (index % 8));
            self.held = self.held.saturating_sub(1);
        }
    }
}

fn bytes_for(count: u32) -> usize {
    usize::try_from(count.div_ceil(8)).unwrap_or(0)
}

/// A file that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its terms.
    pub terms: FileTerms,
    /// Its name.
    pub name: String,
    /// Where it was sent.
    pub room: RoomId,
    /// By whom.
    pub author: PeerId,
    /// With which message.
    pub message: MessageId,
    /// Where it stands; what only keeps it back for now is not stored.
    pub state: FileState,
    /// Where it lies, once it is here.
    pub path: String,
    /// Whether it was sent from here.
    pub is_own: bool,
    /// The name it shall have here; empty: its own.
    pub rename: String,
    /// Since when it is known here.
    pub at: Wall,
    /// When it is known no more, as its message.
    pub expires_at: Option<Wall>,
}

impl StoredFile {
    /// As stored.
    pub fn encode(&self) -> Bytes {
        let state = match self.state {
            FileState::Offered => 0,
            FileState::Fetching | FileState::Paused => 1,
            FileState::Complete => 2,
            FileState::Failed => 3,
        };
        let row = pb::StoredFile {
            file: Some(terms_to(&self.terms, self.name.clone())),
            room: Bytes::copy_from_slice(self.room.as_bytes()),
            author: Bytes::copy_from_slice(self.author.as_bytes()),
            message: Bytes::copy_from_slice(&self.message.0),
            state,
            path: self.path.clone(),
            is_own: self.is_own,
            rename: self.rename.clone(),
            at: self.at.0,
            expires_at: self.expires_at.map_or(0, |at| at.0),
        };
        row.encode_to_vec().into()
    }

    /// Reads what was stored; `None`: it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let row = pb::StoredFile::decode(bytes).ok()?;
        let (terms, name) = terms_of(row.file?).ok()?;
        Some(Self {
            terms,
            name,
            room: RoomId::from_bytes(&row.room)?,
            author: PeerId::from_bytes(&row.author)?,
            message: MessageId(row.message.as_ref().try_into().ok()?),
            state: match row.state {
                1 => FileState::Fetching,
                2 => FileState::Complete,
                3 => FileState::Failed,
                _ => FileState::Offered,
            },
            path: row.path,
            is_own: row.is_own,
            rename: row.rename,
            at: Wall(row.at),
            expires_at: (row.expires_at > 0).then_some(Wall(row.expires_at)),
        })
    }
}

pub(super) fn terms_to(terms: &FileTerms, name: String) -> pb::File {
    pb::File {
        id: Bytes::copy_from_slice(terms.id.as_bytes()),
        key: Bytes::copy_from_slice(&terms.key.0),
        size: terms.size,
        chunk: terms.chunk,
        name,
    }
}

pub(super) fn terms_of(file: pb::File) -> Result<(FileTerms, String), Refusal> {
    let terms = FileTerms {
        id: FileId::from_bytes(&file.id).ok_or(Refusal::FieldBad)?,
        key: FileKey(file.key.as_ref().try_into().map_err(|_| Refusal::FieldBad)?),
        size: file.size,
        chunk: file.chunk,
    };
    terms.check()?;
    // Whatever its author called it: from here on it is a name and nothing else.
    Ok((terms, crate::text::file_name(&file.name)))
}

const _: () = assert!(FILE_FRAME_BYTES_MAX > (4 << 20) + 16 + CHUNK_HEAD_BYTES);
const _: () = assert!(FILE_WISH_BYTES_MAX > 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FILE_CHUNK_BYTES_MIN;

    fn parts(frame: &[u8]) -> (u8, &[u8]) {
        let head: [u8; HEAD_BYTES] = frame[..HEAD_BYTES].try_into().unwrap();
        let (kind, length) = read_head(head, FILE_FRAME_BYTES_MAX).unwrap();
        assert_eq!(frame.len(), HEAD_BYTES + length);
        (kind, &frame[HEAD_BYTES..])
    }

    #[test]
    fn every_frame_survives_its_bytes() {
        let open = Wish::Open(NetworkId([1; 32]), FileId([2; 32]));
        for wish in [open, Wish::Hashes, Wish::Chunks { first: 7, count: 9 }] {
            let bytes = wish.encode();
            let (kind, body) = parts(&bytes);
            assert_eq!(Wish::decode(kind, body), Ok(wish));
            assert!(bytes.len() <= FILE_WISH_BYTES_MAX);
        }
        let mut some = Chunks::none(11);
        [0, 3, 10].into_iter().for_each(|index| some.add(index));
        let no = [Why::Unknown, Why::Changed, Why::Busy].map(Answer::No);
        let chunk = Answer::Chunk { index: 5, sealed: b"sealed" };
        for answer in no.into_iter().chain([Answer::Has(some), Answer::Hashes(&[1; 64]), chunk]) {
            let bytes = answer.encode();
            let (kind, body) = parts(&bytes);
            assert_eq!(Answer::decode(kind, body), Ok(answer));
        }
        let whole = Answer::Chunk { index: 5, sealed: b"sealed" }.encode();
        assert_eq!(whole[..CHUNK_HEAD_BYTES], chunk_head(5, 6));
    }

    #[test]
    fn what_is_no_frame_is_refused_before_its_body_is_read() {
        assert_eq!(read_head([0, 0, 0, 0, 1], 128), Err(Refusal::FrameBad));
        assert_eq!(read_head([0, 0, 0, 130, 1], 128), Err(Refusal::FrameTooLong));
        assert_eq!(read_head([0xff; 5], FILE_FRAME_BYTES_MAX), Err(Refusal::FrameTooLong));
        for (kind, body) in [(0, &[][..]), (1, &[0; 63]), (2, &[0]), (3, &[0; 9]), (17, &[0; 8])] {
            assert_eq!(Wish::decode(kind, body), Err(Refusal::FrameBad), "{kind}");
        }
        let many = (FILE_CHUNKS_MAX + 1).to_be_bytes();
        for (kind, body) in [(17, &many[..]), (17, &[0; 3]), (17, &[0, 0, 0, 9, 1]), (19, &[0; 3])]
        {
            assert_eq!(Answer::decode(kind, body), Err(Refusal::FrameBad), "{kind}");
        }
    }

    #[test]
    fn bits_beyond_the_last_chunk_are_none() {
        let all = Chunks::from_bits(9, &[0xff, 0xff]).unwrap();
        assert!(all.is_whole() && all.held() == 9 && !all.has(9) && all == Chunks::all(9));
        let mut some = all.clone();
        some.remove(8);
        some.remove(8);
        assert!(!some.is_whole() && some.held() == 8 && some.bits() == [0xff, 0]);
        assert_eq!(Chunks::from_bits(9, &[0xff]), None);
        assert!(Chunks::none(0).is_whole());
    }

    #[test]
    fn a_stored_file_survives_its_bytes_and_a_foreign_name_becomes_harmless() {
        let size = 3 * u64::from(FILE_CHUNK_BYTES_MIN) + 1;
        let terms = FileTerms {
            id: FileId([1; 32]),
            key: FileKey([2; 32]),
            size,
            chunk: FileTerms::chunk_for(size).unwrap(),
        };
        assert_eq!((terms.chunks(), terms.length(3), terms.length(4)), (4, 1, 0));
        assert!(!format!("{terms:?}").contains("2, 2"), "the key is not shown");
        let file = StoredFile {
            terms: terms.clone(),
            name: "a.txt".to_owned(),
            room: RoomId::MAIN,
            author: PeerId::of_ed25519(&crate::ids::DeviceKey([3; 32])),
            message: MessageId([4; 16]),
            state: FileState::Complete,
            path: "/tmp/a.txt".to_owned(),
            is_own: true,
            rename: String::new(),
            at: Wall(5),
            expires_at: None,
        };
        let ends = StoredFile { expires_at: Some(Wall(9)), ..file.clone() };
        assert_eq!(StoredFile::decode(&ends.encode()), Some(ends));
        assert_eq!(StoredFile::decode(&file.encode()), Some(file));
        let named = |name: &str| terms_of(terms_to(&terms, name.to_owned())).unwrap().1;
        assert_eq!(named("../../.ssh/authorized_keys"), "authorized_keys");
        let other = FileTerms { chunk: 1, ..terms };
        assert_eq!(terms_of(terms_to(&other, "x".to_owned())), Err(Refusal::FieldBad));
        assert_eq!(FileTerms::chunk_for(u64::MAX), None);
    }
}
