//! Files over HTTP: bytes in, to be sent; bytes out, of a file that is here.
//! Owns: the two paths whose bodies are no JSON.
//! Must not know: how a file travels.
//! Invariants: a body goes to the disk as it comes, never into memory; what is handed out is never
//! shown by a browser, whatever it holds.
//! Start reading at: [`upload`], [`content`].

use std::path::{Path as FilePath, PathBuf};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::Here;
use super::access::Scope;
use super::guard::Granted;
use super::once;
use super::problem::Problem;
use super::send::{FileWish, KEY, send_once};
use crate::limits::API_UPLOADS_MAX;
use crate::node;
use crate::protocol::{Command, FileCommand, FileView, Notice};
use crate::refusal::{Refusal, Refused};
use crate::terms::FileState;
use crate::text::file_name;

/// What is read of a file at once.
const READ_BYTES: usize = 256 << 10;

/// Takes a file and sends it: `POST /v1/rooms/{room}/files?name=NAME`, the bytes as the body.
pub(super) async fn upload(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    Path(room): Path<String>,
    wish: Result<Query<FileWish>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    granted.needs(Scope::Send)?;
    let Query(wish) = wish.map_err(|error| Problem::bad(error.body_text()))?;
    let _turn = here.uploads.try_acquire().map_err(|_| Problem::from(Refusal::TooMany))?;
    let name = file_name(wish.name.as_deref().unwrap_or_default());
    let dir = here.home.join("files").join("sent");
    let secret = node::secret()?;
    // A directory of its own, so that the file keeps its name.
    let own = dir.join(secret.get(..16).unwrap_or_default());
    let path = own.join(&name);
    let sent = async {
        let left = API_UPLOADS_MAX.saturating_sub(size_of(&dir));
        store(&path, left, body).await?;
        // Where it lies until then is another place each time.
        let bytes = match headers.contains_key(KEY) {
            true => {
                let path = path.clone();
                let hashed = spawn_blocking(move || once::hash_of(&path)).await;
                hashed.map_err(unwritten)?.map_err(unwritten)?
            }
            false => String::new(),
        };
        let mut same = json!({ "cmd": "send_file", "room": room, "name": name, "bytes": bytes });
        let mut command = json!({ "cmd": "send_file", "room": room, "path": path, "name": name });
        if let Some(expires) = &wish.expires {
            for it in [&mut same, &mut command] {
                let fields = it.as_object_mut().into_iter();
                fields.for_each(|it| drop(it.insert("expires".to_owned(), expires.clone().into())));
            }
        }
        send_once(&here, &headers, &wish.into(), (command, &same.to_string())).await
    };
    let sent = sent.await;
    if !sent.as_ref().is_ok_and(|(_, is_new)| *is_new) {
        drop(std::fs::remove_dir_all(&own));
    }
    sent.map(|(response, _)| response)
}

/// The bytes that lie in the directories of a directory.
fn size_of(dir: &FilePath) -> u64 {
    let inside = |dir: &FilePath| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = inside(dir).flat_map(|it| inside(&it.path()).collect::<Vec<_>>());
    files.filter_map(|it| it.metadata().ok()).map(|it| it.len()).fold(0, u64::saturating_add)
}

fn unwritten(error: impl std::fmt::Display) -> Refused {
    Refused::new(Refusal::FileUnwritable, error.to_string())
}

async fn store(path: &FilePath, left: u64, body: Body) -> Result<(), Problem> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let dir = path.parent().map(FilePath::to_owned).unwrap_or_default();
    builder.create(dir).map_err(unwritten)?;
    let mut file = std::fs::File::create_new(path).map_err(unwritten)?;
    let mut bytes = body.into_data_stream();
    let mut size: u64 = 0;
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| Problem::bad(format!("the body ended: {error}")))?;
        size = size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if size > left {
            let detail = format!("{left} bytes are left for files sent by the API");
            let refused = Refused::new(Refusal::FilesQuota, detail);
            return Err(Problem::from(refused).with(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let write = move || std::io::Write::write_all(&mut file, &chunk).map(|()| file);
        file = spawn_blocking(write).await.map_err(unwritten)?.map_err(unwritten)?;
    }
    Ok(())
}

/// A file that is here: `GET /v1/files/{id}/content`.
pub(super) async fn content(
    State(here): State<Here>,
    Extension(granted): Extension<Granted>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    granted.needs(Scope::Read)?;
    let view = called(&here, &id).await?;
    let path = view.path.as_ref().filter(|_| view.state == FileState::Complete);
    let unknown = || Refused::new(Refusal::FileUnknown, "it is not here, or not whole");
    let path = PathBuf::from(path.ok_or_else(unknown)?);
    let unread = |error: std::io::Error| Refused::new(Refusal::FileUnread, error.to_string());
    let open = move || {
        // What was put in its place since is not what was asked for.
        let is_plain = path.symlink_metadata()?.is_file();
        let file = std::fs::File::open(&path)?;
        Ok::<_, std::io::Error>((is_plain, file.metadata()?.len(), file))
    };
    let opened = spawn_blocking(open).await.map_err(|_| Refusal::Internal)?;
    let (is_plain, size, file) = opened.map_err(unread)?;
    if !is_plain || size != view.size {
        return Err(Refusal::FileChanged.into());
    }
    let bytes = stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let read = move || {
            let mut bytes = vec![0; READ_BYTES];
            let count = std::io::Read::read(&mut file, &mut bytes)?;
            bytes.truncate(count);
            Ok::<_, std::io::Error>((bytes, file))
        };
        match spawn_blocking(read).await.map_err(std::io::Error::other).and_then(|it| it) {
            Ok((bytes, _)) if bytes.is_empty() => None,
            Ok((bytes, file)) => Some((Ok(Bytes::from(bytes)), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let name = format!("attachment; filename*=UTF-8''{}", escaped(&view.name));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

async fn called(here: &Here, id: &str) -> Result<FileView, Problem> {
    let list = Command::File(FileCommand::List);
    let Notice::Files { files, .. } = here.handle.command(list).await? else {
        return Err(Refusal::Internal.into());
    };
    let is_meant = |it: &FileView| it.id.to_string() == id.to_ascii_lowercase();
    // Others may have sent something else under its id.
    let found = files.into_iter().filter(is_meant);
    found
        .max_by_key(|it| it.state == FileState::Complete)
        .ok_or_else(|| Refused::new(Refusal::FileUnknown, id).into())
}

/// A name as RFC 8187 has it in a header.
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_header_ends_no_header() {
        assert_eq!(escaped("a b\r\n\"ü.txt"), "a%20b%0D%0A%22%C3%BC.txt");
    }
}
