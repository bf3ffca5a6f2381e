//! Files in `--json`: commands about them, and how far each is.
//! Owns: their fields.
//! Must not know: how a file is carried.
//! Invariants: a path goes in and out, never what lies there; the key of a file is never shown.
//! Start reading at: [`read`], [`FileData`].

use serde::Serialize;

use super::line::line;
use super::shapes::Answered;
use crate::cli::args::span;
use crate::protocol::{Command, FileCommand, FileView};
use crate::refusal::{Refusal, Refused};
use crate::terms::About;
use crate::time::Wall;

/// The commands of this file, and the fields that each may have.
pub(super) const COMMANDS: &[(&str, &[&str])] = &[
    ("send_file", &["room", "path", "name", "expires"]),
    ("files", &[]),
    ("get", &["id", "name"]),
    ("drop", &["id"]),
];

/// Understands such a command.
pub(super) fn read(
    cmd: &str,
    room: String,
    (path, id, name): (Option<String>, Option<String>, Option<String>),
    expires: Option<&str>,
) -> Result<Command, Refused> {
    let bad = |what: String| Refused::new(Refusal::CommandBad, what);
    let lacks = |what: &str| Refused::new(Refusal::CommandBad, format!("{cmd} needs {what}"));
    let name = name.unwrap_or_default();
    let id = || id.ok_or_else(|| lacks("id"));
    Ok(Command::File(match cmd {
        "send_file" => {
            let life = expires.map(span).transpose().map_err(bad)?;
            FileCommand::Send { room, path: path.ok_or_else(|| lacks("path"))?, name, life }
        }
        "get" => FileCommand::Get { id: id()?, name },
        "drop" => FileCommand::Drop { id: id()? },
        _ => FileCommand::List,
    }))
}

/// What a message says of the file it brings.
#[derive(Serialize)]
pub(super) struct Brought<'a> {
    id: String,
    name: &'a str,
    size: u64,
}

impl<'a> Brought<'a> {
    pub(super) fn of(about: &About, name: &'a str) -> Option<Self> {
        let terms = about.file()?;
        Some(Self { id: terms.id.to_string(), name, size: terms.size })
    }
}

/// A file, and how far it is.
#[derive(Serialize)]
pub(super) struct FileData<'a> {
    id: String,
    room: &'a str,
    message: String,
    name: &'a str,
    size: u64,
    from: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own: bool,
    have: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl<'a> FileData<'a> {
    pub(super) fn of(view: &'a FileView) -> Self {
        Self {
            id: view.id.to_string(),
            room: &view.room,
            message: view.message.to_string(),
            name: &view.name,
            size: view.size,
            from: &view.from,
            own: view.is_own,
            have: view.have,
            state: view.state.name(),
            reason: view.reason.as_ref().map(reason),
            code: view.reason.as_ref().map(|it| it.refusal.code()),
            path: view.path.as_deref(),
            expires_at: view.expires_at.map(Wall::rfc3339),
        }
    }
}

/// Why a file is where it is, in one sentence.
pub(in crate::cli) fn reason(refused: &Refused) -> String {
    match refused.detail.as_str() {
        "" => refused.refusal.why().to_owned(),
        detail => format!("{}: {detail}", refused.refusal.why()),
    }
}

/// All files.
#[derive(Serialize)]
pub(super) struct FilesData<'a> {
    files: Vec<FileData<'a>>,
}

impl<'a> FilesData<'a> {
    pub(super) fn of(views: &'a [FileView]) -> Self {
        Self { files: views.iter().map(FileData::of).collect() }
    }
}

pub(super) fn file(at: &str, view: &FileView, reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "file", at, reference, data: FileData::of(view) }, out);
}

pub(super) fn files(at: &str, views: &[FileView], reference: Option<&str>, out: &mut Vec<u8>) {
    line(&Answered { event: "files", at, reference, data: FilesData::of(views) }, out);
}
