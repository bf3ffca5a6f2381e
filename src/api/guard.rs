//! What every request passes: size, source, kind, token.
//! Owns: the order of these.
//! Must not know: what a path does.
//! Invariants: a token in a URL is refused, for URLs are logged; what has no token gets to
//! `/healthz`, the hooks and the files of the web page alone.
//! Start reading at: [`pass`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::{Access, Grant, Scope, Shown};
use super::problem::Problem;
use super::{Here, drain, page};
use crate::limits::API_HEADER_BYTES_MAX;
use crate::refusal::{Refusal, Refused};

/// The scope that the token of a request has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    scope: Scope,
    token: Shown,
}

impl Granted {
    /// Whether it is enough.
    pub(super) fn needs(self, scope: Scope) -> Result<(), Problem> {
        if self.scope >= scope {
            return Ok(());
        }
        let detail =
            format!("it needs {}, and the token is for {}", scope.name(), self.scope.name());
        Err(Refused::new(Refusal::ScopeMissing, detail).into())
    }

    pub(super) const fn scope(self) -> Scope {
        self.scope
    }

    /// Whether the token is good for as much still: what goes on after its request asks again.
    pub(super) fn holds(self, access: &Access) -> bool {
        matches!(access.grant(self.token), Some(Grant::Scope(scope)) if scope >= self.scope)
    }
}

/// The subprotocol by which a page brings its token to a WebSocket, for it can set no header.
const TOKEN_PROTOCOL: &str = "bearer.";

/// Lets a request in, or says why not; whoever is still sending then is heard out.
pub(super) async fn pass(State(here): State<Here>, request: Request, next: Next) -> Response {
    here.requests.fetch_add(1, Ordering::Relaxed);
    if request.method() == Method::GET {
        return answer(&here, request, next).await;
    }
    let (parts, body) = request.into_parts();
    let (headers, body) = (parts.headers.clone(), drain::Shared::new(body));
    let response = answer(&here, Request::from_parts(parts, body.body()), next).await;
    if !response.status().is_success() {
        body.drain(&headers).await;
    }
    response
}

async fn answer(here: &Here, mut request: Request, next: Next) -> Response {
    let granted = match check(here, &request) {
        Ok(granted) => granted,
        Err(problem) => {
            here.refused.fetch_add(1, Ordering::Relaxed);
            return finished(problem.into_response());
        }
    };
    if let Some(granted) = granted {
        request.extensions_mut().insert(granted);
    }
    finished(next.run(request).await)
}

/// A no is one of ours, whoever said it below us; and nothing is kept or taken for what it is not.
fn finished(mut response: Response) -> Response {
    let status = response.status();
    let kind = header::HeaderValue::from_static("application/problem+json");
    if status.is_client_error() && response.headers().get(header::CONTENT_TYPE) != Some(&kind) {
        let what = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
            _ => "the path cannot be read",
        };
        response = Problem::bad(what).with(status).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    let store = header::HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(store);
    response
}

fn check(here: &Arc<super::Shared>, request: &Request) -> Result<Option<Granted>, Problem> {
    let (headers, uri) = (request.headers(), request.uri());
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > API_HEADER_BYTES_MAX {
        let problem = Problem::bad("the headers are too large");
        return Err(problem.with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    here.access.check_source(headers, uri.host())?;
    if let Some(name) = token_in(uri) {
        let detail = format!("{name}: URLs are written into logs");
        return Err(Refused::new(Refusal::TokenInUrl, detail).into());
    }
    let path = uri.path();
    check_kind(request.method(), path, headers)?;
    if path == "/healthz" || path.starts_with("/v1/hooks/") || page::is_file(path) {
        return Ok(None);
    }
    let token = token_of(headers)
        .ok_or_else(|| Problem::from(Refused::new(Refusal::TokenMissing, "none was given")))?;
    let token = Shown::of(token);
    match here.access.grant(token) {
        Some(Grant::Scope(scope)) => Ok(Some(Granted { scope, token })),
        // A hook's token is for its path alone.
        Some(Grant::Hook(_)) | None => {
            Err(Refused::new(Refusal::TokenMissing, "the one given is not known").into())
        }
    }
}

fn token_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (kind, token) = value.to_str().ok()?.split_once(' ')?;
        return kind.eq_ignore_ascii_case("bearer").then_some(token.trim());
    }
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    protocols.split(',').find_map(|it| it.trim().strip_prefix(TOKEN_PROTOCOL))
}

/// A parameter of the query that looks like a token.
fn token_in(uri: &Uri) -> Option<&str> {
    let names = uri.query()?.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let known = ["token", "access_token", "api_key", "apikey", "key", "auth", "authorization"];
    names.into_iter().find(|name| known.contains(&name.to_ascii_lowercase().as_str()))
}

/// What a form on another page can send is never taken.
fn check_kind(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
        return Ok(());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let is_empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && headers.get(header::TRANSFER_ENCODING).is_none();
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        // A file, of whatever kind; but those that a form has.
        Some(kind) if path.starts_with("/v1/rooms/") && path.ends_with("/files") => {
            let of_forms =
                ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"];
            if of_forms.iter().any(|it| kind.eq_ignore_ascii_case(it)) {
                let problem = Problem::bad("a file is to be sent as application/octet-stream");
                return Err(problem.with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
            Ok(())
        }
        None if is_empty => Ok(()),
        _ => {
            let problem = Problem::bad("the body is to be application/json");
            Err(problem.with(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}
