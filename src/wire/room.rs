//! What an entry says, as bytes and as a value: what is under the seal.
//! Owns: its encoding.
//! Must not know: rooms, keys, order.
//! Invariants: a text is within its bound, whoever sealed it.
//! Start reading at: [`Payload`].

use prost::Message;

use super::pb;
use crate::limits::TEXT_BYTES_MAX;
use crate::refusal::Refusal;
use crate::time::Wall;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_survives_its_bytes_and_a_text_over_the_limit_does_not() {
        let payload = Payload { sent_at: Wall(5), text: "hi \u{1b}[2J".to_owned() };
        assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
        let long = Payload { sent_at: Wall(5), text: "x".repeat(TEXT_BYTES_MAX + 1) };
        assert_eq!(Payload::decode(&long.encode()), Err(Refusal::MessageTooLong));
    }

    #[test]
    fn what_only_a_newer_version_says_is_told_apart() {
        let other = pb::Payload { sent_at: 5, content: None }.encode_to_vec();
        assert_eq!(Payload::decode(&other), Err(Refusal::VersionOther));
    }
}
