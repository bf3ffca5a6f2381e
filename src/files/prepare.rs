//! Making a file ready for sending: it is read once, sealed and hashed, and stays where it is.
//! Owns: the first reading of a file.
//! Must not know: to whom it is sent.
//! Invariants: what is not a plain file is not sent; a file that changes meanwhile is not sent.
//! Start reading at: [`prepare`].

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Hand;
use super::disk::Shelf;
use super::seal::{self, Sealer};
use crate::ids::CommandId;
use crate::protocol::FileReport;
use crate::refusal::{Refusal, Refused};
use crate::terms::{FileKey, FileTerms};

/// It is told how far the reading is at each hundredth, but not more often than once in so many
/// bytes; and, since it is waited for as long as it says so, at least once in so many.
const TELL_EVERY: (u64, u64) = (8 << 20, 64 << 20);

/// Reads a file and reports what it is.
pub(super) async fn prepare(
    hand: Rc<Hand>,
    command: CommandId,
    path: String,
    name: String,
    key: FileKey,
) {
    let (shelf, reports) = (hand.shelf.clone(), hand.reports.clone());
    let tell = move |done, of| {
        // Where much waits to be heard already, this can be missed.
        reports.try_send(FileReport::Reading { command, done, of }).ok();
    };
    let read = tokio::task::spawn_blocking(move || read(&shelf, &path, (name, key), tell));
    let report = match read.await {
        Ok(Ok((terms, name, path))) => FileReport::Prepared { command, terms, name, path },
        Ok(Err(refused)) => FileReport::NotPrepared { command, refused },
        Err(error) => {
            let refused = Refused::new(Refusal::Internal, error.to_string());
            FileReport::NotPrepared { command, refused }
        }
    };
    hand.report(report).await;
}

fn read(
    shelf: &Shelf,
    path: &str,
    (name, key): (String, FileKey),
    tell: impl Fn(u64, u64),
) -> Result<(FileTerms, String, String), Refused> {
    let unread =
        |error: std::io::Error| Refused::new(Refusal::FileUnread, format!("{path}: {error}"));
    // From the root on, so that it is found again whatever directory a later start is in.
    let whole: PathBuf = Path::new(path).canonicalize().map_err(unread)?;
    let mut file = super::disk::open_source(&whole).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    let whole = whole.into_os_string().into_string();
    let whole = whole.map_err(|_| Refused::new(Refusal::FileUnread, "its path is not in UTF-8"))?;
    let chunk = FileTerms::chunk_for(size)
        .ok_or_else(|| Refused::new(Refusal::FileTooLarge, format!("{size} bytes")))?;
    let mut terms = FileTerms { id: seal::id(0, 0, &[]), key, size, chunk };
    let sealer = Sealer::new(&terms.key);
    let (mut hashes, mut buffer) = (Vec::new(), Vec::new());
    let every = (size / 100).clamp(TELL_EVERY.0, TELL_EVERY.1);
    let (mut done, mut told) = (0_u64, 0_u64);
    for index in 0..terms.chunks() {
        read_chunk(&mut file, terms.length(index), &mut buffer).map_err(unread)?;
        done = done.saturating_add(u64::from(terms.length(index)));
        if done.saturating_sub(told) >= every {
            told = done;
            tell(done, size);
        }
        sealer.seal(index, &mut buffer).ok_or(Refusal::Internal)?;
        hashes.extend_from_slice(&seal::hash(&buffer));
    }
    if file.read(&mut [0]).map_err(unread)? > 0 {
        return Err(Refused::new(Refusal::FileUnread, format!("{path}: it is being written")));
    }
    terms.id = seal::id(size, chunk, &hashes);
    shelf.keep_hashes(&terms.id, &hashes).map_err(unread)?;
    // A link goes by its own name: that is what its person called it.
    let name = if name.is_empty() { path.to_owned() } else { name };
    Ok((terms, crate::text::file_name(&name), whole))
}

fn read_chunk(file: &mut File, length: u32, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.resize(usize::try_from(length).unwrap_or(0), 0);
    file.read_exact(buffer)
}
