//! The web page: fixed files, the same for everybody, and the pictures it cannot draw itself.
//! Owns: which files there are, and what a browser may do with them.
//! Must not know: tokens: the page brings its own, as any other program.
//! Invariants: a page of ours asks no other host for anything, runs no script but its own files,
//! and is shown in no other page's frame; nothing in a file depends on who asks.
//! Start reading at: [`FILES`].

use axum::extract::Extension;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use qrcode::{Color, EcLevel, QrCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Here;
use super::access::Scope;
use super::guard::Granted;
use super::problem::Problem;
use crate::limits::QR_BYTES_MAX;

/// Path, kind and bytes of every file.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("web/index.html")),
    ("/web/style.css", "text/css; charset=utf-8", include_str!("web/style.css")),
    ("/web/icon.svg", "image/svg+xml", include_str!("web/icon.svg")),
    ("/web/app.js", SCRIPT, include_str!("web/app.js")),
    ("/web/api.js", SCRIPT, include_str!("web/api.js")),
    ("/web/dom.js", SCRIPT, include_str!("web/dom.js")),
    ("/web/files.js", SCRIPT, include_str!("web/files.js")),
    ("/web/group.js", SCRIPT, include_str!("web/group.js")),
    ("/web/messages.js", SCRIPT, include_str!("web/messages.js")),
    ("/web/panels.js", SCRIPT, include_str!("web/panels.js")),
    ("/web/room.js", SCRIPT, include_str!("web/room.js")),
    ("/web/text.js", SCRIPT, include_str!("web/text.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What the page may do: its own files, this API, and nothing made of text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];

/// Whether a path is one of the files, which need no token.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|(name, ..)| *name == path)
}

/// Adds them to a router.
pub(super) fn add(mut app: Router<Here>) -> Router<Here> {
    for (path, ..) in FILES {
        app = app.route(path, axum::routing::get(file));
    }
    app.route("/v1/qr", axum::routing::post(picture))
}

async fn file(uri: Uri) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(path, ..)| *path == uri.path()) else {
        return super::problem::not_found().await.into_response();
    };
    let mut response = (*text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What to show to a camera.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    text: String,
}

/// A text as a QR code: rows of modules, `1` for dark. In a body, for it may be a secret.
async fn picture(
    Extension(granted): Extension<Granted>,
    body: Result<Json<Shown>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    granted.needs(Scope::Read)?;
    let Json(Shown { text }) = body.map_err(|error| Problem::bad(error.body_text()))?;
    let too_long = || Problem::bad(format!("a QR code holds at most {QR_BYTES_MAX} bytes"));
    if text.is_empty() || text.len() > QR_BYTES_MAX {
        return Err(too_long());
    }
    let code = QrCode::with_error_correction_level(&text, EcLevel::L).map_err(|_| too_long())?;
    let width = code.width();
    let colors = code.into_colors();
    let rows = colors.chunks(width.max(1)).map(|row| {
        row.iter().map(|color| if *color == Color::Dark { '1' } else { '0' }).collect::<String>()
    });
    Ok(Json(json!({ "size": width, "rows": rows.collect::<Vec<_>>() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_host_and_holds_no_script_but_its_files() {
        for (path, _, text) in FILES {
            for wrong in ["http://", "https://", "//cdn", "eval(", "innerHTML", "document.write"] {
                let others = text.lines().filter(|line| {
                    line.contains(wrong) && !line.contains("http://www.w3.org/2000/svg")
                });
                assert_eq!(others.count(), 0, "{path}: {wrong}");
            }
        }
        let (_, _, index) = FILES[0];
        let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
        assert!(!index.contains("style=") && !index.split_whitespace().any(is_handler), "{index}");
        for part in index.split('"').filter(|part| part.starts_with('/')) {
            assert!(is_file(part), "{part} is not served");
        }
        // Every module that another one imports is served.
        for (path, _, text) in FILES {
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit('\'').nth(1).unwrap_or_default().trim_start_matches("./");
                assert!(is_file(&format!("/web/{name}")), "{path}: {line}");
            }
        }
    }
}
