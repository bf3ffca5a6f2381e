//! Files on the disk: what is kept of them in the home, and where those from others are written.
//! Owns: names in the download directory, the notes that a later start goes on from.
//! Must not know: streams, peers, what is in a chunk.
//! Invariants: a name that is there is never written over, a symbolic link never followed; a file has
//! its name only once it is whole and on the disk.
//! Start reading at: [`Shelf`], [`Part`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::ids::FileId;
use crate::limits::FILE_CHUNKS_MAX;
use crate::wire::file::{Chunks, HASH_BYTES};

/// What a file is called while it is not whole.
const PART: &str = "part";
/// Names tried for one file.
const NAMES_MAX: u32 = 10_000;
/// A note at the most: a path, and a bit for each chunk.
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// Where the home keeps what is known of files: the hashes of those that are here or come, and how
/// far those that come are.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn hashes_path(&self, id: &FileId) -> PathBuf {
        self.dir.join(format!("{id}.hashes"))
    }

    fn note_path(&self, id: &FileId) -> PathBuf {
        self.dir.join(format!("{id}.part"))
    }

    /// The hashes of a file's chunks, as they were kept; the caller checks them.
    pub(super) fn hashes(&self, id: &FileId) -> Option<Vec<u8>> {
        let max = u64::from(FILE_CHUNKS_MAX).saturating_mul(u64::try_from(HASH_BYTES).ok()?);
        read_bounded(&self.hashes_path(id), max)
    }

    pub(super) fn keep_hashes(&self, id: &FileId, hashes: &[u8]) -> io::Result<()> {
        self.write(&self.hashes_path(id), hashes)
    }

    /// Forgets a file that is here, or comes no more.
    pub(super) fn forget(&self, id: &FileId) {
        drop(fs::remove_file(self.hashes_path(id)));
        drop(fs::remove_file(self.note_path(id)));
    }

    /// Removes what came of a file.
    pub(super) fn forget_part(&self, id: &FileId) {
        if let Some((path, _)) = self.note(id) {
            // What is noted may be another's by now: only what is named as a part goes.
            if path.extension().is_some_and(|it| it == PART) {
                drop(fs::remove_file(path));
            }
        }
    }

    /// Removes a file that lies here because a program sent it, with the directory that is its own.
    pub(super) fn forget_sent(&self, path: &Path) {
        let sent = self.dir.join("sent").canonicalize();
        if let Ok(sent) = sent
            && let Some(own) = path.parent().filter(|own| own.parent() == Some(sent.as_path()))
        {
            drop(fs::remove_file(path));
            drop(fs::remove_dir(own));
        }
    }

    /// Where a file is being put together, and which chunks of it are there.
    pub(super) fn note(&self, id: &FileId) -> Option<(PathBuf, Vec<u8>)> {
        let bytes = read_bounded(&self.note_path(id), NOTE_BYTES_MAX)?;
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let (path, bits) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        Some((PathBuf::from(String::from_utf8(path.to_vec()).ok()?), bits.to_vec()))
    }

    /// Notes it for a later start.
    pub(super) fn keep_note(&self, id: &FileId, path: &Path, held: &Chunks) -> io::Result<()> {
        let path = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let length = u32::try_from(path.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let bytes = [&length.to_be_bytes(), path.as_bytes(), held.bits()].concat();
        self.write(&self.note_path(id), &bytes)
    }

    pub(super) fn forget_note(&self, id: &FileId) {
        drop(fs::remove_file(self.note_path(id)));
    }

    /// Whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        make_dir(&self.dir)?;
        let fresh = path.with_extension("new");
        drop(fs::remove_file(&fresh));
        fresh_file(&fresh)?.write_all(bytes)?;
        fs::rename(fresh, path)
    }
}

fn read_bounded(path: &Path, max: u64) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (u64::try_from(bytes.len()).ok()? <= max).then_some(bytes)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// A file that was not there: not even as a link.
fn fresh_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Opens without following a link in the last place.
#[cfg(unix)]
fn no_link(options: &mut OpenOptions) {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    if let Ok(flags) = i32::try_from(flags.bits()) {
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags);
    }
}

/// Other systems have no word for it here.
#[cfg(not(unix))]
fn no_link(_: &mut OpenOptions) {}

/// A plain file to be read; its path is whole, so that a link in the last place was put there since.
pub(super) fn open_source(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Of a pipe the opening would wait for a writer.
    no_link(&mut options);
    plain(options.open(path)?)
}

fn plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"))
    }
}

/// Reads a chunk's bytes, all of them.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Reads a chunk's bytes, all of them.
#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

/// Writes a chunk's bytes, all of them.
#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Writes a chunk's bytes, all of them.
#[cfg(not(unix))]
pub(super) fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// A file that is being put together in the download directory.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Part {
    /// A new one, under a name that nobody has.
    pub(super) fn create(downloads: &Path, name: &str) -> io::Result<Self> {
        make_dir(downloads)?;
        let (file, path) = first_free(|number| {
            let path = downloads.join(format!("{}.{PART}", numbered(name, number)));
            Ok((fresh_file(&path)?, path))
        })?;
        Ok(Self { file, path })
    }

    /// One that an earlier start began. A link that was put in its place is refused.
    pub(super) fn reopen(path: PathBuf) -> io::Result<Self> {
        if path.extension().is_none_or(|it| it != PART) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        no_link(&mut options);
        Ok(Self { file: plain(options.open(&path)?)?, path })
    }

    /// It is whole and on the disk: gives it a name that nobody has, beside where it lies.
    pub(super) fn finish(path: &Path, name: &str) -> io::Result<PathBuf> {
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        // The name is taken by an empty file first, so that nothing is replaced but that.
        let whole = first_free(|number| {
            let whole = dir.join(numbered(name, number));
            fresh_file(&whole).map(|_| whole)
        })?;
        if let Err(error) = fs::rename(path, &whole) {
            // Somebody took the part away: the name that was taken for it must not stay.
            drop(fs::remove_file(&whole));
            return Err(error);
        }
        File::open(dir)?.sync_all()?;
        Ok(whole)
    }
}

/// Tries names until one is free.
fn first_free<T>(attempt: impl Fn(u32) -> io::Result<T>) -> io::Result<T> {
    for number in 1..NAMES_MAX {
        match attempt(number) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `a.txt`, `a (2).txt`, …
fn numbered(name: &str, number: u32) -> String {
    if number == 1 {
        return name.to_owned();
    }
    match name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        Some((stem, ending)) => format!("{stem} ({number}).{ending}"),
        None => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_a_number_and_nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.txt"), "mine").unwrap();
        fs::write(dir.path().join("a.txt.part"), "mine, too").unwrap();
        let part = Part::create(dir.path(), "a.txt").unwrap();
        assert_eq!(part.path, dir.path().join("a (2).txt.part"));
        write_at(&part.file, b"theirs", 0).unwrap();
        let whole = Part::finish(&part.path, "a.txt").unwrap();
        assert_eq!(whole, dir.path().join("a (2).txt"));
        assert_eq!(fs::read(&whole).unwrap(), b"theirs");
        assert_eq!(fs::read(dir.path().join("a.txt")).unwrap(), b"mine");
        assert!(Part::finish(&part.path, "b.txt").is_err(), "its part is gone");
        assert!(!dir.path().join("b.txt").exists());
        assert_eq!((numbered("a", 3), numbered(".x", 2)), ("a (3)".into(), ".x (2)".into()));
    }

    #[test]
    #[cfg(unix)]
    fn no_link_in_the_download_directory_is_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        for name in ["a.txt.part", "a.txt"] {
            symlink(&target, dir.path().join(name)).unwrap();
        }
        let part = Part::create(dir.path(), "a.txt").unwrap();
        let whole = Part::finish(&part.path, "a.txt").unwrap();
        assert_eq!(whole, dir.path().join("a (2).txt"));
        assert!(!target.exists(), "a link to nowhere makes no file there");
        fs::write(&target, "mine").unwrap();
        let linked = dir.path().join("a.txt.part");
        assert!(Part::reopen(linked).is_err(), "a link in the place of a part is refused");
        assert!(Part::reopen(target).is_err(), "what is not called a part is none");
        assert!(open_source(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_note_is_found_again_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path().join("files"));
        let (id, mut held) = (FileId([7; 32]), Chunks::none(20));
        held.add(9);
        assert_eq!(shelf.note(&id), None);
        let part = Part::create(dir.path(), "x").unwrap();
        shelf.keep_note(&id, &part.path, &held).unwrap();
        let (path, bits) = shelf.note(&id).unwrap();
        assert_eq!((path, Chunks::from_bits(20, &bits)), (part.path.clone(), Some(held)));
        shelf.forget_part(&id);
        assert!(!part.path.exists());
        let (own, other) = (dir.path().join("files/sent/1"), dir.path().join("other"));
        fs::create_dir_all(&own).unwrap();
        for path in [own.join("a"), other.clone()] {
            fs::write(&path, "x").unwrap();
            shelf.forget_sent(&path.canonicalize().unwrap());
        }
        assert!(!own.exists() && other.exists(), "what is not the home's own stays");
        fs::write(shelf.note_path(&id), [0, 0, 0, 200, 1]).unwrap();
        assert_eq!(shelf.note(&id), None);
    }
}
