//! What an entry says, as bytes and as a value: what is under the seal.
//! Owns: its encoding.
//! Must not know: rooms, keys, order.
//! Invariants: a text is within its bound, whoever sealed it.
//! Start reading at: [`Payload`].

use bytes::Bytes;
use prost::Message;

use super::pb;
use crate::ids::{MessageId, Signature};
use crate::refusal::Refusal;
use crate::terms::{About, Saying};
use crate::time::Wall;

/// What a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// When, by the author's clock.
    pub sent_at: Wall,
    /// The text.
    pub text: String,
    /// What it is about.
    pub about: About,
    /// To somebody one has not talked with: that one was given its contact code.
    pub code_proof: Option<Signature>,
}

impl Payload {
    /// The bytes that are sealed. Fields may be added: what one does not know is left alone.
    pub fn encode(&self) -> Vec<u8> {
        use pb::payload::Content;
        let text = self.text.clone();
        let bytes = |id: &MessageId| Bytes::copy_from_slice(&id.0);
        let content = match &self.about {
            About::Nothing => Content::Text(text),
            About::Reply(to) => Content::Reply(pb::Reply { to: bytes(to), text }),
            About::Edit(of) => Content::Edit(pb::Edit { of: bytes(of), text }),
            About::Deletion(of) => Content::Deletion(bytes(of)),
            About::Reaction { to, is_removed } => Content::Reaction(pb::Reaction {
                to: bytes(to),
                mark: text,
                is_removed: *is_removed,
            }),
            About::Application(kind) => {
                Content::Application(pb::Application { kind: kind.clone(), text })
            }
            About::File(terms) => Content::File(super::file::terms_to(terms, text)),
        };
        let content = Some(content);
        let code_proof = self.code_proof.map(|it| Bytes::copy_from_slice(it.as_bytes()));
        let code_proof = code_proof.unwrap_or_default();
        pb::Payload { sent_at: self.sent_at.0, content, code_proof }.encode_to_vec()
    }

    /// Reads what was sealed.
    ///
    /// # Refusals
    /// [`Refusal::FrameBad`], [`Refusal::FieldBad`], what [`Saying::check`] says,
    /// [`Refusal::VersionOther`] for a kind that a newer version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        use pb::payload::Content;
        let it = pb::Payload::decode(bytes).map_err(|_| Refusal::FrameBad)?;
        let code_proof = match it.code_proof.len() {
            0 => None,
            _ => Some(Signature::from_bytes(&it.code_proof).ok_or(Refusal::FieldBad)?),
        };
        let id = |bytes: Bytes| {
            <[u8; 16]>::try_from(&bytes[..]).map(MessageId).map_err(|_| Refusal::FieldBad)
        };
        let (text, about) = match it.content.ok_or(Refusal::VersionOther)? {
            Content::Text(text) => (text, About::Nothing),
            Content::Reply(it) => (it.text, About::Reply(id(it.to)?)),
            Content::Edit(it) => (it.text, About::Edit(id(it.of)?)),
            Content::Deletion(of) => (String::new(), About::Deletion(id(of)?)),
            Content::Reaction(it) => {
                (it.mark, About::Reaction { to: id(it.to)?, is_removed: it.is_removed })
            }
            Content::Application(it) => (it.text, About::Application(it.kind)),
            Content::File(it) => {
                let (terms, name) = super::file::terms_of(it)?;
                (name, About::File(Box::new(terms)))
            }
        };
        let saying = Saying { text, about };
        // An empty text was never sent by a program of ours, and does no harm.
        if !saying.text.is_empty() || !saying.about.is_said() {
            saying.check()?;
        }
        let Saying { text, about } = saying;
        Ok(Self { sent_at: Wall(it.sent_at), text, about, code_proof })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{APPLICATION_BYTES_MAX, MARK_BYTES_MAX, TEXT_BYTES_MAX};

    fn said(text: &str, about: About) -> Payload {
        Payload { sent_at: Wall(5), text: text.to_owned(), about, code_proof: None }
    }

    #[test]
    fn a_payload_survives_its_bytes_whatever_it_is_about() {
        let of = MessageId([7; 16]);
        for payload in [
            said("hi \u{1b}[2J", About::Nothing),
            Payload { code_proof: Some(Signature([7; 64])), ..said("hi", About::Nothing) },
            said("yes", About::Reply(of)),
            said("hi, all", About::Edit(of)),
            said("", About::Deletion(of)),
            said("👍🏽", About::Reaction { to: of, is_removed: false }),
            said("+1", About::Reaction { to: of, is_removed: true }),
            said("{\"votes\":3}", About::Application("org.example.poll/1".to_owned())),
        ] {
            assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
        }
    }

    #[test]
    fn what_is_over_its_limit_or_no_mark_is_refused_whoever_sealed_it() {
        let of = MessageId([7; 16]);
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let mark = |text: &str| said(text, About::Reaction { to: of, is_removed: false });
        let application = |name: &str| said("x", About::Application(name.to_owned()));
        for (payload, refusal) in [
            (said(&long, About::Nothing), Refusal::MessageTooLong),
            (said(&long, About::Edit(of)), Refusal::MessageTooLong),
            (mark(&"x".repeat(MARK_BYTES_MAX + 1)), Refusal::FieldBad),
            (mark("two words"), Refusal::FieldBad),
            (mark("\u{1b}"), Refusal::FieldBad),
            (mark(""), Refusal::MessageEmpty),
            (application(""), Refusal::FieldBad),
            (application("two words"), Refusal::FieldBad),
            (application(&"x".repeat(APPLICATION_BYTES_MAX + 1)), Refusal::FieldBad),
        ] {
            assert_eq!(Payload::decode(&payload.encode()), Err(refusal), "{:?}", payload.about);
        }
        let short = pb::payload::Content::Deletion(Bytes::from_static(&[1; 15]));
        let short = pb::Payload { sent_at: 5, content: Some(short), code_proof: Bytes::new() };
        let short = short.encode_to_vec();
        assert_eq!(Payload::decode(&short), Err(Refusal::FieldBad));
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
