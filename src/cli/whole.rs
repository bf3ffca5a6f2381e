//! A file that is there whole or not at all, whatever ends the writing of it.
//! Owns: the name under which it is written, and what happens to a file that has its name already.
//! Must not know: what is written.
//! Invariants: a plain file is replaced once all of its successor is on the disk; what we make is for
//! its owner alone; a name that is taken is not written over on the way.
//! Start reading at: [`WholeFile::create`].

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::node::offline::unwritable;
use crate::refusal::Refused;

/// Names tried for one file.
const NAMES_MAX: u32 = 1_000;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct WholeFile {
    /// As its person called it.
    path: PathBuf,
    file: BufWriter<File>,
    /// Where it lies while it is not whole, and where it goes; nowhere if what it is written to is no
    /// plain file.
    way: Option<(PathBuf, PathBuf)>,
}

impl WholeFile {
    /// Begins; a plain file that is there stays as it is until the end.
    ///
    /// # Errors
    /// [`crate::refusal::Refusal::FileUnwritable`].
    pub(super) fn create(path: &Path) -> Result<Self, Refused> {
        Self::begin(path).map_err(|error| unwritable(path, &error))
    }

    fn begin(path: &Path) -> io::Result<Self> {
        let own = path.to_owned();
        // Where a link leads is replaced, not the link.
        let to = path.canonicalize().unwrap_or_else(|_| own.clone());
        if to.metadata().is_ok_and(|it| !it.is_file()) {
            // A pipe or a device has no other beside it.
            let file = BufWriter::new(OpenOptions::new().write(true).open(&to)?);
            return Ok(Self { path: own, file, way: None });
        }
        let name = to.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
        for number in 0..NAMES_MAX {
            let beside = to.with_file_name(format!(".{name}.{}-{number}.new", std::process::id()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&beside) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                opened => {
                    let file = BufWriter::new(opened?);
                    return Ok(Self { path: own, file, way: Some((beside, to)) });
                }
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Writes more.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.file.write_all(bytes).map_err(|error| unwritable(&self.path, &error))
    }

    /// It is whole: brings it to the disk and gives it its name.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub(super) fn finish(mut self) -> Result<(), Refused> {
        self.end().map_err(|error| unwritable(&self.path, &error))
    }

    fn end(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let Some((beside, to)) = self.way.clone() else {
            // What is no plain file has no disk to be brought to, and says so.
            return match self.file.get_ref().sync_all() {
                Err(error) if error.kind() != ErrorKind::InvalidInput => Err(error),
                _ => Ok(()),
            };
        };
        self.file.get_ref().sync_all()?;
        std::fs::rename(beside, &to)?;
        self.way = None;
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
        #[cfg(unix)]
        File::open(dir.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.way {
            // It never became whole; where it cannot be removed there is nobody to tell.
            drop(std::fs::remove_file(beside));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|it| it.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_stays_until_all_of_the_new_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("talk.txt");
        std::fs::write(&path, "whole").unwrap();
        let mut half = WholeFile::create(&path).unwrap();
        half.write(b"ha").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        drop(half);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["talk.txt"], "nothing is left of the half");
        let mut new = WholeFile::create(&path).unwrap();
        new.write(b"new").unwrap();
        new.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["talk.txt"]);
        let no = WholeFile::create(&dir.path().join("nowhere/x")).unwrap_err();
        assert_eq!(no.refusal, Refusal::FileUnwritable);
    }

    #[test]
    #[cfg(unix)]
    fn it_is_for_its_owner_alone_also_where_others_could_read_what_was_there() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("talk.txt"), dir.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&path, &link).unwrap();
        let mut new = WholeFile::create(&link).unwrap();
        new.write(b"new").unwrap();
        new.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink(), "where it leads was replaced");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_device_is_written_to_and_a_full_one_says_so() {
        let mut null = WholeFile::create(Path::new("/dev/null")).unwrap();
        null.write(b"x").unwrap();
        null.finish().unwrap();
        let mut full = WholeFile::create(Path::new("/dev/full")).unwrap();
        full.write(b"x").unwrap();
        assert_eq!(full.finish().unwrap_err().refusal, Refusal::FileUnwritable);
    }
}
