//! The fields of events.
//! Owns: their names and their order.
//! Must not know: which event follows from what.
//! Invariants: a field is never renamed nor given another meaning.
//! Start reading at: [`Message`].

use serde::Serialize;
use serde::ser::SerializeSeq;

use super::data::What;
use super::files::Brought;
use crate::config::Value;
use crate::protocol::MessageId;

/// A message's id in hex, without a heap.
pub(super) struct Hex([u8; 32]);

impl Hex {
    pub(super) fn of(id: MessageId) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
        let mut hex = [b'0'; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(id.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(hex)
    }
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// So many messages of somebody right before the next are still on their way.
#[derive(Serialize)]
pub(super) struct Gap<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) room: &'a str,
    pub(super) from: &'a str,
    pub(super) peer_id: &'a str,
    pub(super) missing: u64,
    /// The place of the message after them in its author's log.
    pub(super) before: u64,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) id: &'a str,
    pub(super) room: &'a str,
    pub(super) from: &'a str,
    pub(super) peer_id: &'a str,
    pub(super) seq: u64,
    pub(super) lamport: u64,
    pub(super) text: &'a str,
    pub(super) sent_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Brought<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) history: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) fork: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) ignored: bool,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Sent<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) id: &'a str,
    pub(super) room: &'a str,
    pub(super) seq: u64,
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Brought<'a>>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Delivered<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) id: &'a str,
    pub(super) to: &'a str,
}

#[derive(Serialize)]
pub(super) struct Started<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) peer_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) network: &'a str,
    pub(super) listen: &'a [String],
    #[serde(flatten)]
    pub(super) leader: Option<Leads<'a>>,
}

#[derive(Serialize)]
pub(super) struct Leads<'a> {
    pub(super) leader: Option<&'a str>,
    pub(super) term: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Leader<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) peer_id: Option<String>,
    pub(super) generation: Option<u64>,
    pub(super) term: Option<u64>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Changed<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) name: &'a str,
    pub(super) peer_id: String,
    pub(super) state: &'static str,
    pub(super) role: &'static str,
    pub(super) verified: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) ignored: bool,
}

#[derive(Serialize)]
pub(super) struct Told<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) text: &'a str,
}

#[derive(Serialize)]
pub(super) struct Failed<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    #[serde(flatten)]
    pub(super) what: What<'a>,
    pub(super) fatal: bool,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
}

/// An event that answers something, around its data.
#[derive(Serialize)]
pub(super) struct Answered<'a, T> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
    #[serde(flatten)]
    pub(super) data: T,
}

#[derive(Serialize)]
pub(super) struct Outcome<'a, T> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) line: &'a str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a str>,
    pub(super) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<What<'a>>,
}

#[derive(Serialize)]
pub(super) struct Nothing {}

#[derive(Serialize)]
pub(super) struct Asks<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) fingerprint: &'a str,
    pub(super) address: &'a str,
}

#[derive(Serialize)]
pub(super) struct Ended<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
}

#[derive(Serialize)]
pub(super) struct Row<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) serial: u64,
    pub(super) name: &'a str,
    pub(super) peer_id: String,
    pub(super) state: &'static str,
    pub(super) asked_at: String,
    pub(super) revoked_at: Option<String>,
    pub(super) reason: &'a str,
}

#[derive(Serialize)]
pub(super) struct Exported<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) file: &'a str,
    pub(super) fingerprint: &'a str,
}

#[derive(Serialize)]
pub(super) struct Set<'a> {
    pub(super) event: &'static str,
    pub(super) at: &'a str,
    pub(super) setting: &'a str,
    #[serde(serialize_with = "value")]
    pub(super) value: &'a Value,
    pub(super) from: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(super) fn is_false(it: &bool) -> bool {
    !*it
}

pub(super) fn value<S: serde::Serializer>(value: &&Value, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::None => to.serialize_none(),
        Value::Switch(on) => to.serialize_bool(*on),
        Value::Number(number) => to.serialize_u64(*number),
        Value::Text(text) => to.serialize_str(text),
        Value::List(items) => {
            let mut list = to.serialize_seq(Some(items.len()))?;
            for item in items {
                list.serialize_element(item)?;
            }
            list.end()
        }
        Value::Pairs(pairs) => to.collect_map(pairs.iter().map(|(name, text)| (name, text))),
    }
}
