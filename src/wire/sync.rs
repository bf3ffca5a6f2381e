//! What two members tell each other about the logs they hold, as bytes and as values.
//! Owns: the encoding of vectors, pages, wishes and acknowledgements.
//! Must not know: what is inside an envelope.
//! Invariants: counts and lengths are within limits; a page's signatures ascend and cover its end.
//! Start reading at: [`Sync`].

use bytes::Bytes;
use zeroize::Zeroizing;

use super::pb;
use crate::ids::{GroupId, Hash, Incarnation, Index, KeyId, LogId, PeerId, RoomId, Seq, Signature};
use crate::limits::{GROUP_INFO_BYTES_MAX, KEYS_MAX, PAGE_ENTRIES_MAX, VECTOR_MAX};
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
        /// Each is known by its hash.
        secrets: Vec<Secret>,
        /// The control entries that the sender has applied.
        index: Index,
    },
}

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

fn encode_heads(heads: &[Head]) -> Vec<pb::Head> {
    heads
        .iter()
        .map(|head| pb::Head {
            author: id_bytes(head.log.author.as_bytes()),
            incarnation: head.log.incarnation.0,
            seq: head.seq.0,
            hash: id_bytes(head.hash.as_bytes()),
        })
        .collect()
}

fn decode_heads(room: RoomId, heads: Vec<pb::Head>) -> Result<Vec<Head>, Refusal> {
    if heads.len() > VECTOR_MAX {
        return Err(Refusal::FieldBad);
    }
    heads
        .into_iter()
        .map(|head| {
            Ok(Head {
                log: log_id(room, &head.author, head.incarnation)?,
                seq: Seq(head.seq),
                hash: Hash::from_bytes(&head.hash).ok_or(Refusal::FieldBad)?,
            })
        })
        .collect()
}

fn log_id(room: RoomId, author: &[u8], incarnation: u64) -> Result<LogId, Refusal> {
    let author = PeerId::from_bytes(author).ok_or(Refusal::FieldBad)?;
    Ok(LogId { room, author, incarnation: Incarnation(incarnation) })
}

fn room_id(bytes: &[u8]) -> Result<RoomId, Refusal> {
    RoomId::from_bytes(bytes).ok_or(Refusal::FieldBad)
}

fn encode_page(page: &Page) -> pb::Entries {
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

fn decode_page(page: pb::Entries) -> Result<Page, Refusal> {
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

fn decode_secrets(secrets: &[Bytes]) -> Result<Vec<Secret>, Refusal> {
    if secrets.len() > KEYS_MAX {
        return Err(Refusal::FieldBad);
    }
    let secret = |bytes: &Bytes| {
        let bytes = <[u8; 32]>::try_from(bytes.as_ref()).map_err(|_| Refusal::FieldBad)?;
        Ok(Secret(Zeroizing::new(bytes)))
    };
    secrets.iter().map(secret).collect()
}

pub(super) fn encode(sync: &Sync) -> pb::SyncFrame {
    use pb::sync_frame::Body;
    let body = match sync {
        Sync::Vector { room, heads, wants_answer } => Body::Vector(pb::Vector {
            room: id_bytes(room.as_bytes()),
            heads: encode_heads(heads),
            wants_answer: *wants_answer,
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
        Sync::RoomAsk { room } => Body::RoomAsk(pb::RoomAsk { room: id_bytes(room.as_bytes()) }),
        Sync::RoomInfo { room, info, index } => {
            let (group, info) = match info {
                Some((group, info)) => (id_bytes(group.as_bytes()), info.clone()),
                None => (Bytes::new(), Bytes::new()),
            };
            Body::RoomInfo(pb::RoomInfo {
                room: id_bytes(room.as_bytes()),
                group,
                info,
                index: index.0,
            })
        }
        Sync::KeyWant { room, keys } => Body::KeyWant(pb::KeyWant {
            room: id_bytes(room.as_bytes()),
            keys: keys.iter().map(|key| id_bytes(key.as_bytes())).collect(),
        }),
        Sync::KeyGrant { room, secrets, index } => Body::KeyGrant(pb::KeyGrant {
            room: id_bytes(room.as_bytes()),
            secrets: secrets.iter().map(|secret| id_bytes(secret.0.as_slice())).collect(),
            index: index.0,
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
        Body::RoomAsk(it) => Sync::RoomAsk { room: room_id(&it.room)? },
        Body::RoomInfo(it) => Sync::RoomInfo {
            room: room_id(&it.room)?,
            info: match it.info.len() {
                0 => None,
                len if len > GROUP_INFO_BYTES_MAX => return Err(Refusal::FieldBad),
                _ => Some((GroupId::from_bytes(&it.group).ok_or(Refusal::FieldBad)?, it.info)),
            },
            index: Index(it.index),
        },
        Body::KeyWant(it) => {
            Sync::KeyWant { room: room_id(&it.room)?, keys: decode_keys(&it.keys)? }
        }
        Body::KeyGrant(it) => Sync::KeyGrant {
            room: room_id(&it.room)?,
            secrets: decode_secrets(&it.secrets)?,
            index: Index(it.index),
        },
    })
}
