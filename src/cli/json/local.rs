//! What only a connection to a running member hears: places, gaps, lines for a person, exports.
//! Owns: the shape of these events.
//! Must not know: who listens.
//! Invariants: as in `events.rs`; a place is a whole number and means nothing elsewhere.
//! Start reading at: [`Face::followed`].

use serde::Serialize;

use super::Face;
use super::line::line;
use super::shapes::{Answered, Ended, Told};
#[cfg(unix)]
use crate::api::{Grant, Token};
use crate::cli::Asked;
use crate::protocol::{Doing, MessageView, Notice};

#[derive(Serialize)]
struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upto: Option<u64>,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Nothing {}

impl Face {
    /// A message with its place.
    pub(in crate::cli) fn followed(&mut self, number: u64, view: MessageView, out: &mut Vec<u8>) {
        let start = out.len();
        self.notice(Notice::Message(view), None, out);
        // Every event begins with its brace.
        if out.len() > start {
            let place = format!("\"cursor\":{number},");
            let first = start.saturating_add(1);
            out.splice(first..first, place.into_bytes());
        }
    }

    /// What lay before a place was deleted unread.
    pub(in crate::cli) fn gap(&mut self, upto: u64, out: &mut Vec<u8>) {
        let data = Place { cursor: None, upto: Some(upto) };
        let at = self.at.of((self.now)());
        line(&Answered { event: "gap", at, reference: None, data }, out);
    }

    /// All there is was told.
    pub(in crate::cli) fn caught_up(&mut self, upto: u64, out: &mut Vec<u8>) {
        let data = Place { cursor: Some(upto), upto: None };
        let at = self.at.of((self.now)());
        line(&Answered { event: "caught_up", at, reference: None, data }, out);
    }

    /// It read too slowly: some events were left out.
    pub(in crate::cli) fn lagged(&mut self, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        line(&Ended { event: "lagged", at }, out);
    }

    /// The next answer as a person reads it.
    pub(in crate::cli) fn shown(&mut self, text: &str, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        line(&Told { event: "shown", at, text }, out);
    }
}

/// A part of what was to be written out.
pub(in crate::cli) fn part(text: &str, reference: Option<&str>, out: &mut Vec<u8>) {
    let at = crate::node::wall().rfc3339();
    line(&Answered { event: "part", at: &at, reference, data: Text { text } }, out);
}

#[derive(Serialize)]
struct Going {
    doing: &'static str,
    done: u64,
    of: u64,
}

/// How far something is that takes its time: told to those alone who want to hear of it.
pub(super) fn progress(
    at: &str,
    (doing, done, of): (Doing, u64, u64),
    asked: Option<&Asked>,
    out: &mut Vec<u8>,
) {
    let Some(asked) = asked else { return };
    let reference = asked.reference.as_deref();
    let data = Going { doing: doing.word(), done, of };
    line(&Answered { event: "progress", at, reference, data }, out);
}

#[derive(Serialize)]
struct Share {
    text: &'static str,
    done: u64,
    of: u64,
}

/// A part that holds nothing and says how far it is: so much `of` all, which is 0 while nobody knows.
pub(in crate::cli) fn share(done: u64, of: u64, reference: Option<&str>, out: &mut Vec<u8>) {
    let at = crate::node::wall().rfc3339();
    let data = Share { text: "", done, of };
    line(&Answered { event: "part", at: &at, reference, data }, out);
}

/// That was all of it.
pub(in crate::cli) fn parted(reference: Option<&str>, out: &mut Vec<u8>) {
    let at = crate::node::wall().rfc3339();
    line(&Answered { event: "parted", at: &at, reference, data: Nothing {} }, out);
}

#[derive(Serialize)]
struct Findings<'a> {
    ok: bool,
    findings: &'a [serde_json::Value],
}

/// What a look at everything found.
pub(in crate::cli) fn doctor(ok: bool, findings: &[serde_json::Value], out: &mut Vec<u8>) {
    let at = crate::node::wall().rfc3339();
    let data = Findings { ok, findings };
    line(&Answered { event: "doctor", at: &at, reference: None, data }, out);
}

/// A token of the API, as it is listed.
#[cfg(unix)]
#[derive(Serialize)]
struct TokenData<'a> {
    id: &'a str,
    kind: &'static str,
    scope: Option<&'static str>,
    room: Option<&'a str>,
    made_at: Option<String>,
    label: Option<&'a str>,
}

#[cfg(unix)]
#[derive(Serialize)]
struct Tokens<'a> {
    tokens: Vec<TokenData<'a>>,
}

/// Which tokens there are, or which one was taken back.
#[cfg(unix)]
pub(in crate::cli) fn tokens(tokens: &[Token], out: &mut Vec<u8>) {
    let data = Tokens { tokens: tokens.iter().map(TokenData::of).collect() };
    let at = crate::node::wall().rfc3339();
    line(&Answered { event: "tokens", at: &at, reference: None, data }, out);
}

#[cfg(unix)]
impl<'a> TokenData<'a> {
    fn of(token: &'a Token) -> Self {
        let (kind, scope, room) = match &token.grant {
            Grant::Scope(scope) => ("token", Some(scope.name()), None),
            Grant::Hook(room) => ("hook", None, Some(room.as_str())),
        };
        let made_at = token.made_at.map(crate::time::Wall::rfc3339);
        let label = token.label.as_deref();
        Self { id: &token.id, kind, scope, room, made_at, label }
    }
}

/// What was made, shown only now.
pub(in crate::cli) fn made(kind: &'static str, text: &str, out: &mut Vec<u8>) {
    let at = crate::node::wall().rfc3339();
    line(&Answered { event: kind, at: &at, reference: None, data: Text { text } }, out);
}
