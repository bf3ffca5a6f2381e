//! A no over HTTP: RFC 9457, with the code that it has everywhere.
//! Owns: which status a refusal has.
//! Must not know: who asked for what.
//! Invariants: every answer that is no success is one of these.
//! Start reading at: [`Problem`].

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::refusal::{Refusal, Refused};

/// A no, and where a reader may go on.
#[derive(Debug)]
pub(super) struct Problem {
    refused: Refused,
    status: StatusCode,
    earliest: Option<u64>,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self { status: status_of(refused.refusal), refused, earliest: None }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Refused::from(refusal).into()
    }
}

impl Problem {
    /// What lay before this place is gone.
    pub(super) fn gone(earliest: u64) -> Self {
        let detail = format!("the earliest is {earliest}");
        let refused = Refused::new(Refusal::CursorGone, detail);
        Self { earliest: Some(earliest), ..refused.into() }
    }

    /// A request that says something wrong.
    pub(super) fn bad(what: impl AsRef<str>) -> Self {
        Refused::new(Refusal::RequestBad, what).into()
    }

    pub(super) fn with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// The status for a refusal: by its meaning where HTTP has a word for it, else by whose mistake it
/// is.
fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::TokenMissing => StatusCode::UNAUTHORIZED,
        Refusal::RoomUnknown
        | Refusal::NameUnknown
        | Refusal::MessageUnknown
        | Refusal::FileUnknown
        | Refusal::VoucherUnknown => StatusCode::NOT_FOUND,
        Refusal::MessageTooLong | Refusal::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::CursorGone => StatusCode::GONE,
        Refusal::CursorUnknown => StatusCode::BAD_REQUEST,
        Refusal::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        other => match other.exit() {
            2 => StatusCode::BAD_REQUEST,
            4 => StatusCode::FORBIDDEN,
            5 => StatusCode::TOO_MANY_REQUESTS,
            6 => StatusCode::GATEWAY_TIMEOUT,
            3 | 7 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        },
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let refusal = self.refused.refusal;
        let mut body = json!({
            "type": format!("urn:p2pgroup:{}", refusal.code()),
            "title": refusal.why(),
            "status": self.status.as_u16(),
            "detail": self.refused.detail,
            "code": refusal.code(),
            "hint": refusal.hint(),
            "retryable": refusal.is_retryable(),
        });
        if let (Some(earliest), Some(body)) = (self.earliest, body.as_object_mut()) {
            body.insert("earliest".to_owned(), earliest.into());
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        let wants_token = header::HeaderValue::from_static("Bearer");
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, wants_token);
        }
        response
    }
}

/// There is no such path.
pub(super) async fn not_found() -> Problem {
    Problem::bad("no such path; /v1/openapi.json lists them").with(StatusCode::NOT_FOUND)
}

/// The path knows no such method.
pub(super) async fn not_allowed() -> Problem {
    Problem::bad("this path knows no such method").with(StatusCode::METHOD_NOT_ALLOWED)
}
