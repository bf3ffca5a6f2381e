//! The envelope of an entry, as bytes and as a value.
//! Owns: its encoding, and the hash that chains entries.
//! Must not know: rooms, keys, order.
//! Invariants: the hash is over the bytes as received, never over an encoding made again.
//! Start reading at: [`Envelope`].

use bytes::Bytes;
use prost::Message;

use super::pb;
use crate::ids::{Hash, Incarnation, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt};
use crate::limits::{PAGE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::refusal::Refusal;
use crate::time::Wall;

/// One entry of an author log (DESIGN: "Envelope").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
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
    /// Lamport time.
    pub lamport: u64,
    /// When it expires, if ever.
    pub expires_at: Option<Wall>,
    /// What it carries. Sealed payloads, with their key id, come with rooms under keys.
    pub payload: Payload,
}

/// What a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// When, by the author's clock.
    pub sent_at: Wall,
    /// The text.
    pub text: String,
}

impl Payload {
    /// The bytes that are sealed. Fields may be added: what one does not know is left alone.
    pub fn encode(&self) -> Vec<u8> {
        let content = Some(pb::payload::Content::Text(self.text.clone()));
        pb::Payload { sent_at: self.sent_at.0, content }.encode_to_vec()
    }

    /// Reads what was sealed.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::MessageTooLong`], [`Refusal::VersionOther`] for a kind
    /// that a newer version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let it = pb::Payload::decode(bytes).map_err(|_| Refusal::FrameBad)?;
        match it.content {
            None => Err(Refusal::VersionOther),
            Some(pb::payload::Content::Text(text)) if text.len() > TEXT_BYTES_MAX => {
                Err(Refusal::MessageTooLong)
            }
            Some(pb::payload::Content::Text(text)) => Ok(Self { sent_at: Wall(it.sent_at), text }),
        }
    }
}

/// The hash of an entry: over its bytes as received.
pub fn entry_hash(bytes: &[u8]) -> Hash {
    Hash::of("p2pgroup/1 entry", &[bytes])
}

impl Envelope {
    /// The bytes that are hashed, stored and sent.
    pub fn encode(&self) -> Bytes {
        let payload = pb::Payload {
            sent_at: self.payload.sent_at.0,
            content: Some(pb::payload::Content::Text(self.payload.text.clone())),
        };
        let envelope = pb::Envelope {
            network: Bytes::copy_from_slice(self.network.as_bytes()),
            room: Bytes::copy_from_slice(self.log.room.as_bytes()),
            author: Bytes::copy_from_slice(self.log.author.as_bytes()),
            incarnation: self.log.incarnation.0,
            session_salt: Bytes::copy_from_slice(self.session_salt.as_bytes()),
            seq: self.seq.0,
            previous: Bytes::copy_from_slice(self.previous.as_bytes()),
            key_id: Bytes::new(),
            lamport: self.lamport,
            expires_at: self.expires_at.map_or(0, |at| at.0),
            ciphertext: Bytes::new(),
            plain: payload.encode_to_vec().into(),
        };
        envelope.encode_to_vec().into()
    }

    /// Reads an envelope.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`], [`Refusal::MessageTooLong`],
    /// [`Refusal::VersionOther`] for a sealed one, which this version cannot open.
    pub fn decode(bytes: &Bytes) -> Result<Self, Refusal> {
        if bytes.len() > PAGE_BYTES_MAX {
            return Err(Refusal::FrameTooLong);
        }
        let it = pb::Envelope::decode(bytes.clone()).map_err(|_| Refusal::FrameBad)?;
        if !it.key_id.is_empty() || !it.ciphertext.is_empty() {
            return Err(Refusal::VersionOther);
        }
        let payload = pb::Payload::decode(it.plain).map_err(|_| Refusal::FrameBad)?;
        let Some(pb::payload::Content::Text(text)) = payload.content else {
            return Err(Refusal::FieldBad);
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(Refusal::MessageTooLong);
        }
        if it.seq == 0 {
            return Err(Refusal::FieldBad);
        }
        Ok(Self {
            network: NetworkId::from_bytes(&it.network).ok_or(Refusal::FieldBad)?,
            log: LogId {
                room: RoomId::from_bytes(&it.room).ok_or(Refusal::FieldBad)?,
                author: PeerId::from_bytes(&it.author).ok_or(Refusal::FieldBad)?,
                incarnation: Incarnation(it.incarnation),
            },
            session_salt: SessionSalt::from_bytes(&it.session_salt).ok_or(Refusal::FieldBad)?,
            seq: Seq(it.seq),
            previous: Hash::from_bytes(&it.previous).ok_or(Refusal::FieldBad)?,
            lamport: it.lamport,
            expires_at: (it.expires_at != 0).then_some(Wall(it.expires_at)),
            payload: Payload { sent_at: Wall(payload.sent_at), text },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            network: NetworkId([1; 32]),
            log: LogId {
                room: RoomId::MAIN,
                author: PeerId::of_rsa_spki(b"alice"),
                incarnation: Incarnation(3),
            },
            session_salt: SessionSalt([4; 16]),
            seq: Seq(1),
            previous: Hash::ZERO,
            lamport: 1,
            expires_at: None,
            payload: Payload { sent_at: Wall(5), text: "hi \u{1b}[2J".to_owned() },
        }
    }

    #[test]
    fn an_envelope_survives_its_bytes_and_its_hash_covers_them() {
        let bytes = envelope().encode();
        assert_eq!(Envelope::decode(&bytes), Ok(envelope()));
        let other = Envelope { lamport: 2, ..envelope() }.encode();
        assert_ne!(entry_hash(&bytes), entry_hash(&other));
    }

    #[test]
    fn texts_over_the_limit_and_entries_without_a_place_are_refused() {
        let text = "x".repeat(TEXT_BYTES_MAX + 1);
        let long = Envelope { payload: Payload { sent_at: Wall(5), text }, ..envelope() };
        assert_eq!(Envelope::decode(&long.encode()), Err(Refusal::MessageTooLong));
        let nowhere = Envelope { seq: Seq(0), ..envelope() };
        assert_eq!(Envelope::decode(&nowhere.encode()), Err(Refusal::FieldBad));
    }

    #[test]
    fn a_sealed_entry_is_for_a_newer_version() {
        let sealed = pb::Envelope { key_id: vec![1].into(), ..pb::Envelope::default() };
        let bytes = sealed.encode_to_vec().into();
        assert_eq!(Envelope::decode(&bytes), Err(Refusal::VersionOther));
    }
}
