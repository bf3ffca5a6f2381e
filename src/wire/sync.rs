//! What two members tell each other about the logs they hold, as bytes and as values.
//! Owns: the encoding of vectors, pages, wishes and acknowledgements.
//! Must not know: what is inside an envelope.
//! Invariants: counts and lengths are within limits; a page's signatures ascend and cover its end.
//! Start reading at: [`Sync`].

use bytes::Bytes;
use zeroize::Zeroizing;

use super::order::Snapshot;
use super::pb;
use crate::ids::{
    GroupId, Hash, Incarnation, Index, KeyId, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt,
    Signature,
};
use crate::limits::{
    CHUNKS_MAX, GROUP_INFO_BYTES_MAX, KEYS_MAX, MARKS_MAX, PAGE_ENTRIES_MAX, PENDING_LOGS_MAX,
    VECTOR_MAX,
};
use crate::refusal::Refusal;

/// The head of an author log: how far somebody holds it, and the hash there. Of a forked log the
/// place of the fork, and a hash over the branches kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// The log.
    pub log: LogId,
    /// The highest contiguous seq held.
    pub seq: Seq,
    /// The hash of that entry.
    pub hash: Hash,
}

/// A stretch of an author log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The log.
    pub log: LogId,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
}

/// Entries of one author log in order, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which log.
    pub log: LogId,
    /// The envelopes as their author encoded them.
    pub envelopes: Vec<Bytes>,
    /// Signatures over the entry at a seq, ascending.
    pub signatures: Vec<(Seq, Signature)>,
}

/// A member's word that it holds a log up to a place, on its disk: passed on to the log's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose word it is.
    pub by: PeerId,
    /// Which of its device keys signed it.
    pub life: Incarnation,
    /// What it holds.
    pub head: Head,
    /// Over [`mark_bytes`].
    pub signature: Signature,
}

/// The bytes that a [`Mark`]'s signature covers.
pub fn mark_bytes(network: &NetworkId, by: &PeerId, head: &Head) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    bytes.extend_from_slice(network.as_bytes());
    bytes.extend_from_slice(head.log.room.as_bytes());
    // A peer id's length follows from its first byte, so the concatenation is unambiguous.
    bytes.extend_from_slice(by.as_bytes());
    bytes.extend_from_slice(head.log.author.as_bytes());
    bytes.extend_from_slice(&head.log.incarnation.0.to_be_bytes());
    bytes.extend_from_slice(&head.seq.0.to_be_bytes());
    bytes.extend_from_slice(head.hash.as_bytes());
    bytes
}

/// A frame of sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sync {
    /// What the sender holds of a room.
    Vector {
        /// The room.
        room: RoomId,
        /// By author log.
        heads: Vec<Head>,
        /// Whether the receiver should tell its own.
        wants_answer: bool,
        /// What the sender has beyond gaps, one stretch of a log: it need not be sent again, and
        /// counts as held by nobody.
        pending: Vec<Span>,
    },
    /// Entries.
    Entries(Page),
    /// "Send me this log from here on."
    Want {
        /// Which log.
        log: LogId,
        /// The first entry wanted.
        from: Seq,
        /// The hash of the entry before it.
        previous: Hash,
    },
    /// "On my disk, up to here."
    Ack {
        /// The room.
        room: RoomId,
        /// By author log.
        heads: Vec<Head>,
    },
    /// "I store no more of what you write in this room."
    Full {
        /// The room.
        room: RoomId,
    },
    /// What others hold of somebody's logs, by their own word.
    Marks {
        /// The room.
        room: RoomId,
        /// Each signed by who holds it.
        marks: Vec<Mark>,
    },
    /// "How do I come into this room's group?"
    RoomAsk {
        /// The room.
        room: RoomId,
    },
    /// What an external commit needs.
    RoomInfo {
        /// The room.
        room: RoomId,
        /// The group and its info; `None`: the sender is not in it itself.
        info: Option<(GroupId, Bytes)>,
        /// The control entries that the sender has applied.
        index: Index,
        /// Of a room that not everybody may know: how it stands, and the key of its orders.
        inside: Option<Box<Inside>>,
    },
    /// "I hold this epoch of the room's group."
    RoomEpoch {
        /// The room.
        room: RoomId,
        /// The group.
        group: GroupId,
        /// The epoch.
        epoch: u64,
        /// Equal for all who hold it.
        authenticator: Hash,
    },
    /// "Give me these keys."
    KeyWant {
        /// The room.
        room: RoomId,
        /// Their names.
        keys: Vec<KeyId>,
    },
    /// Room secrets.
    KeyGrant {
        /// The room.
        room: RoomId,
        /// Each is known by its hash; and since which control entry it is in force.
        secrets: Vec<(Secret, Index)>,
        /// The control entries that the sender has applied.
        index: Index,
        /// Keys that open a session of a log from a place on.
        chunks: Vec<ChunkGrant>,
        /// What the room's rules keep from the asker.
        withheld: Vec<KeyId>,
    },
}

impl Sync {
    /// The room it is about.
    pub fn room(&self) -> RoomId {
        match self {
            Self::Entries(page) => page.log.room,
            Self::Want { log, .. } => log.room,
            Self::Vector { room, .. }
            | Self::Ack { room, .. }
            | Self::Full { room }
            | Self::Marks { room, .. }
            | Self::RoomAsk { room }
            | Self::RoomInfo { room, .. }
            | Self::RoomEpoch { room, .. }
            | Self::KeyWant { room, .. }
            | Self::KeyGrant { room, .. } => *room,
        }
    }
}

/// What only the members of a room know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// How it stands.
    pub state: Snapshot,
    /// The key of the orders in this epoch.
    pub order_key: Secret,
}

/// A chunk key on its way over a direct link.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkGrant {
    /// The name of the room secret it derives from.
    pub key: KeyId,
    /// Of which log.
    pub log: LogId,
    /// Of which session of it.
    pub salt: SessionSalt,
    /// The key, as the keyring encodes it.
    pub chunk: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ChunkGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkGrant").field("log", &self.log).finish_non_exhaustive()
    }
}

/// Bytes of an encoded chunk key.
const CHUNK_BYTES: usize = 72;

/// A room secret on its way over a direct link.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn id_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn encode_head(head: &Head) -> pb::Head {
    pb::Head {
        author: id_bytes(head.log.author.as_bytes()),
        incarnation: head.log.incarnation.0,
        seq: head.seq.0,
        hash: id_bytes(head.hash.as_bytes()),
    }
}

fn encode_heads(heads: &[Head]) -> Vec<pb::Head> {
    heads.iter().map(encode_head).collect()
}

fn decode_heads(room: RoomId, heads: Vec<pb::Head>) -> Result<Vec<Head>, Refusal> {
    if heads.len() > VECTOR_MAX {
        return Err(Refusal::FieldBad);
    }
    heads.iter().map(|head| decode_head(room, head)).collect()
}

fn decode_head(room: RoomId, head: &pb::Head) -> Result<Head, Refusal> {
    Ok(Head {
        log: log_id(room, &head.author, head.incarnation)?,
        seq: Seq(head.seq),
        hash: Hash::from_bytes(&head.hash).ok_or(Refusal::FieldBad)?,
    })
}

fn encode_mark(mark: &Mark) -> pb::Mark {
    pb::Mark {
        by: id_bytes(mark.by.as_bytes()),
        life: mark.life.0,
        head: Some(encode_head(&mark.head)),
        signature: id_bytes(mark.signature.as_bytes()),
    }
}

fn decode_mark(room: RoomId, mark: &pb::Mark) -> Result<Mark, Refusal> {
    Ok(Mark {
        by: PeerId::from_bytes(&mark.by).ok_or(Refusal::FieldBad)?,
        life: Incarnation(mark.life),
        head: decode_head(room, mark.head.as_ref().ok_or(Refusal::FieldBad)?)?,
        signature: Signature::from_bytes(&mark.signature).ok_or(Refusal::FieldBad)?,
    })
}

fn decode_spans(room: RoomId, spans: Vec<pb::Span>) -> Result<Vec<Span>, Refusal> {
    if spans.len() > PENDING_LOGS_MAX {
        return Err(Refusal::FieldBad);
    }
    let span = |span: pb::Span| match span.first {
        first if first == 0 || first > span.last => Err(Refusal::FieldBad),
        first => Ok(Span {
            log: log_id(room, &span.author, span.incarnation)?,
            first: Seq(first),
            last: Seq(span.last),
        }),
    };
    spans.into_iter().map(span).collect()
}

fn log_id(room: RoomId, author: &[u8], incarnation: u64) -> Result<LogId, Refusal> {
    let author = PeerId::from_bytes(author).ok_or(Refusal::FieldBad)?;
    Ok(LogId { room, author, incarnation: Incarnation(incarnation) })
}

fn room_id(bytes: &[u8]) -> Result<RoomId, Refusal> {
    RoomId::from_bytes(bytes).ok_or(Refusal::FieldBad)
}

pub(super) fn encode_page(page: &Page) -> pb::Entries {
    pb::Entries {
        room: id_bytes(page.log.room.as_bytes()),
        author: id_bytes(page.log.author.as_bytes()),
        incarnation: page.log.incarnation.0,
        envelopes: page.envelopes.clone(),
        signatures: page
            .signatures
            .iter()
            .map(|(seq, signature)| pb::Signed {
                seq: seq.0,
                signature: id_bytes(signature.as_bytes()),
            })
            .collect(),
    }
}

pub(super) fn decode_page(page: pb::Entries) -> Result<Page, Refusal> {
    if page.envelopes.is_empty()
        || page.envelopes.len() > PAGE_ENTRIES_MAX
        || page.signatures.is_empty()
        || page.signatures.len() > page.envelopes.len()
    {
        return Err(Refusal::FieldBad);
    }
    let mut signatures = Vec::with_capacity(page.signatures.len());
    for signed in &page.signatures {
        let signature = Signature::from_bytes(&signed.signature).ok_or(Refusal::FieldBad)?;
        if signatures.last().is_some_and(|(seq, _): &(Seq, _)| seq.0 >= signed.seq) {
            return Err(Refusal::FieldBad);
        }
        signatures.push((Seq(signed.seq), signature));
    }
    Ok(Page {
        log: log_id(room_id(&page.room)?, &page.author, page.incarnation)?,
        envelopes: page.envelopes,
        signatures,
    })
}

fn decode_keys(keys: &[Bytes]) -> Result<Vec<KeyId>, Refusal> {
    if keys.len() > KEYS_MAX {
        return Err(Refusal::FieldBad);
    }
    keys.iter().map(|key| KeyId::from_bytes(key).ok_or(Refusal::FieldBad)).collect()
}

pub(super) fn decode_secrets(
    secrets: &[Bytes],
    since: &[u64],
) -> Result<Vec<(Secret, Index)>, Refusal> {
    if secrets.len() > KEYS_MAX || secrets.len() != since.len() {
        return Err(Refusal::FieldBad);
    }
    let both = secrets.iter().zip(since);
    both.map(|(secret, since)| Ok((secret_of(secret)?, Index(*since)))).collect()
}

fn secret_of(bytes: &[u8]) -> Result<Secret, Refusal> {
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| Refusal::FieldBad)?;
    Ok(Secret(Zeroizing::new(bytes)))
}

fn encode_chunk(grant: &ChunkGrant) -> pb::ChunkGrant {
    pb::ChunkGrant {
        key: id_bytes(grant.key.as_bytes()),
        author: id_bytes(grant.log.author.as_bytes()),
        incarnation: grant.log.incarnation.0,
        salt: id_bytes(grant.salt.as_bytes()),
        chunk: id_bytes(&grant.chunk),
    }
}

fn decode_chunk(room: RoomId, it: &pb::ChunkGrant) -> Result<ChunkGrant, Refusal> {
    if it.chunk.len() != CHUNK_BYTES {
        return Err(Refusal::FieldBad);
    }
    Ok(ChunkGrant {
        key: KeyId::from_bytes(&it.key).ok_or(Refusal::FieldBad)?,
        log: log_id(room, &it.author, it.incarnation)?,
        salt: SessionSalt::from_bytes(&it.salt).ok_or(Refusal::FieldBad)?,
        chunk: Zeroizing::new(it.chunk.to_vec()),
    })
}

pub(super) fn encode(sync: &Sync) -> pb::SyncFrame {
    use pb::sync_frame::Body;
    let body = match sync {
        Sync::Vector { room, heads, wants_answer, pending } => Body::Vector(pb::Vector {
            room: id_bytes(room.as_bytes()),
            heads: encode_heads(heads),
            wants_answer: *wants_answer,
            pending: pending
                .iter()
                .map(|span| pb::Span {
                    author: id_bytes(span.log.author.as_bytes()),
                    incarnation: span.log.incarnation.0,
                    first: span.first.0,
                    last: span.last.0,
                })
                .collect(),
        }),
        Sync::Entries(page) => Body::Entries(encode_page(page)),
        Sync::Want { log, from, previous } => Body::Want(pb::Want {
            room: id_bytes(log.room.as_bytes()),
            author: id_bytes(log.author.as_bytes()),
            incarnation: log.incarnation.0,
            from: from.0,
            previous: id_bytes(previous.as_bytes()),
        }),
        Sync::Ack { room, heads } => {
            Body::Ack(pb::Ack { room: id_bytes(room.as_bytes()), heads: encode_heads(heads) })
        }
        Sync::Full { room } => Body::Full(pb::Full { room: id_bytes(room.as_bytes()) }),
        Sync::Marks { room, marks } => Body::Marks(pb::Marks {
            room: id_bytes(room.as_bytes()),
            marks: marks.iter().map(encode_mark).collect(),
        }),
        Sync::RoomAsk { room } => Body::RoomAsk(pb::RoomAsk { room: id_bytes(room.as_bytes()) }),
        Sync::RoomEpoch { room, group, epoch, authenticator } => Body::RoomEpoch(pb::RoomEpoch {
            room: id_bytes(room.as_bytes()),
            group: id_bytes(group.as_bytes()),
            epoch: *epoch,
            authenticator: id_bytes(authenticator.as_bytes()),
        }),
        Sync::RoomInfo { room, info, index, inside } => {
            let (group, info) = match info {
                Some((group, info)) => (id_bytes(group.as_bytes()), info.clone()),
                None => (Bytes::new(), Bytes::new()),
            };
            Body::RoomInfo(pb::RoomInfo {
                room: id_bytes(room.as_bytes()),
                group,
                info,
                index: index.0,
                state: inside.as_ref().map(|it| it.state.to_pb()),
                order_key: inside
                    .as_ref()
                    .map(|it| id_bytes(it.order_key.0.as_slice()))
                    .unwrap_or_default(),
            })
        }
        Sync::KeyWant { room, keys } => Body::KeyWant(pb::KeyWant {
            room: id_bytes(room.as_bytes()),
            keys: keys.iter().map(|key| id_bytes(key.as_bytes())).collect(),
        }),
        Sync::KeyGrant { room, secrets, index, chunks, withheld } => Body::KeyGrant(pb::KeyGrant {
            room: id_bytes(room.as_bytes()),
            secrets: secrets.iter().map(|(secret, _)| id_bytes(secret.0.as_slice())).collect(),
            since: secrets.iter().map(|(_, since)| since.0).collect(),
            index: index.0,
            chunks: chunks.iter().map(encode_chunk).collect(),
            withheld: withheld.iter().map(|key| id_bytes(key.as_bytes())).collect(),
        }),
    };
    pb::SyncFrame { body: Some(body) }
}

pub(super) fn decode(frame: pb::SyncFrame) -> Result<Sync, Refusal> {
    use pb::sync_frame::Body;
    Ok(match frame.body.ok_or(Refusal::FrameBad)? {
        Body::Vector(it) => {
            let room = room_id(&it.room)?;
            Sync::Vector {
                room,
                heads: decode_heads(room, it.heads)?,
                wants_answer: it.wants_answer,
                pending: decode_spans(room, it.pending)?,
            }
        }
        Body::Entries(it) => Sync::Entries(decode_page(it)?),
        Body::Want(it) => Sync::Want {
            log: log_id(room_id(&it.room)?, &it.author, it.incarnation)?,
            from: Seq(it.from),
            previous: Hash::from_bytes(&it.previous).ok_or(Refusal::FieldBad)?,
        },
        Body::Ack(it) => {
            let room = room_id(&it.room)?;
            Sync::Ack { room, heads: decode_heads(room, it.heads)? }
        }
        Body::Full(it) => Sync::Full { room: room_id(&it.room)? },
        Body::Marks(it) => {
            let room = room_id(&it.room)?;
            if it.marks.len() > MARKS_MAX {
                return Err(Refusal::FieldBad);
            }
            let marks = it.marks.iter().map(|mark| decode_mark(room, mark));
            Sync::Marks { room, marks: marks.collect::<Result<_, _>>()? }
        }
        Body::RoomAsk(it) => Sync::RoomAsk { room: room_id(&it.room)? },
        Body::RoomInfo(it) => Sync::RoomInfo {
            room: room_id(&it.room)?,
            info: match it.info.len() {
                0 => None,
                len if len > GROUP_INFO_BYTES_MAX => return Err(Refusal::FieldBad),
                _ => Some((GroupId::from_bytes(&it.group).ok_or(Refusal::FieldBad)?, it.info)),
            },
            index: Index(it.index),
            inside: match it.state {
                None => None,
                Some(state) => Some(Box::new(Inside {
                    state: Snapshot::from_pb(state)?,
                    order_key: secret_of(&it.order_key)?,
                })),
            },
        },
        Body::RoomEpoch(it) => Sync::RoomEpoch {
            room: room_id(&it.room)?,
            group: GroupId::from_bytes(&it.group).ok_or(Refusal::FieldBad)?,
            epoch: it.epoch,
            authenticator: Hash::from_bytes(&it.authenticator).ok_or(Refusal::FieldBad)?,
        },
        Body::KeyWant(it) => {
            Sync::KeyWant { room: room_id(&it.room)?, keys: decode_keys(&it.keys)? }
        }
        Body::KeyGrant(it) => {
            let room = room_id(&it.room)?;
            if it.chunks.len() > CHUNKS_MAX {
                return Err(Refusal::FieldBad);
            }
            Sync::KeyGrant {
                room,
                secrets: decode_secrets(&it.secrets, &it.since)?,
                index: Index(it.index),
                chunks: it
                    .chunks
                    .iter()
                    .map(|chunk| decode_chunk(room, chunk))
                    .collect::<Result<_, _>>()?,
                withheld: decode_keys(&it.withheld)?,
            }
        }
    })
}
