//! What an entry says, as bytes and as a value: what is under the seal.
//! Owns: its encoding.
//! Must not know: rooms, keys, order.
//! Invariants: a text is within its bound, whoever sealed it.
//! Start reading at: [`Payload`].

use bytes::Bytes;
use prost::Message;

use super::pb;
use crate::ids::Signature;
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
    /// To somebody one has not talked with: that one was given its contact code.
    pub code_proof: Option<Signature>,
}

impl Payload {
    /// The bytes that are sealed. Fields may be added: what one does not know is left alone.
    pub fn encode(&self) -> Vec<u8> {
        let content = Some(pb::payload::Content::Text(self.text.clone()));
        let code_proof = self.code_proof.map(|it| Bytes::copy_from_slice(it.as_bytes()));
        let code_proof = code_proof.unwrap_or_default();
        pb::Payload { sent_at: self.sent_at.0, content, code_proof }.encode_to_vec()
    }

    /// Reads what was sealed.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`], [`Refusal::MessageTooLong`],
    /// [`Refusal::VersionOther`] for a kind that a newer version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let it = pb::Payload::decode(bytes).map_err(|_| Refusal::FrameBad)?;
        let code_proof = match it.code_proof.len() {
            0 => None,
            _ => Some(Signature::from_bytes(&it.code_proof).ok_or(Refusal::FieldBad)?),
        };
        match it.content {
            None => Err(Refusal::VersionOther),
            Some(pb::payload::Content::Text(text)) if text.len() > TEXT_BYTES_MAX => {
                Err(Refusal::MessageTooLong)
            }
            Some(pb::payload::Content::Text(text)) => {
                Ok(Self { sent_at: Wall(it.sent_at), text, code_proof })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_survives_its_bytes_and_a_text_over_the_limit_does_not() {
        let said = |text: &str, code_proof| {
            let text = text.to_owned();
            Payload { sent_at: Wall(5), text, code_proof }
        };
        for payload in [said("hi \u{1b}[2J", None), said("hi", Some(Signature([7; 64])))] {
            assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
        }
        let long = said(&"x".repeat(TEXT_BYTES_MAX + 1), None);
        assert_eq!(Payload::decode(&long.encode()), Err(Refusal::MessageTooLong));
    }

    #[test]
    fn what_only_a_newer_version_says_is_told_apart() {
        let payload = |content, code_proof: &'static [u8]| {
            let code_proof = Bytes::from_static(code_proof);
            pb::Payload { sent_at: 5, content, code_proof }.encode_to_vec()
        };
        assert_eq!(Payload::decode(&payload(None, b"")), Err(Refusal::VersionOther));
        let text = Some(pb::payload::Content::Text("hi".to_owned()));
        assert_eq!(Payload::decode(&payload(text, b"short")), Err(Refusal::FieldBad));
    }
}
