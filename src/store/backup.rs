//! A member's home in one file, and a home from such a file.
//! Owns: which files are in a backup, and the copy of the database that goes into it.
//! Must not know: what a life is: which values a copy must forget, it is told.
//! Invariants: a backup is whole or absent, and so is a restored home; the database in a backup is
//! not the one it was made from, whoever opens it; nothing of either lies on a disk in the clear
//! that did not before.
//! Start reading at: [`create`], [`restore`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::archive::{FRAME_MAX, Opener, Sealer};
use super::lock::{self, Home, unusable};
use super::sealed::Passphrase;
use super::vault::{DATABASE_KEY, keep_private, sync_directory};
use super::{DATABASE, PAGE_PROOF, Store, connect, refused, writes};
use crate::protocol::Write;
use crate::refusal::{Refusal, Refused};

/// The copy of the database while a backup is made; under the same key.
const COPY: &str = "store.copy";
/// Where a home is made, until it is whole; the number of the process follows.
const PART: &str = "restoring-";
/// What a frame is.
const ABOUT: u8 = 0;
const FILE: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;

/// What is restored besides the database and its key, where it is there.
const FILES: &[&str] = &["member.key", "invited"];

/// What a backup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Lines for people: what it is of, and when it was made.
    pub text: String,
    /// Bytes of the files in it.
    pub bytes: u64,
}

impl Store {
    /// A copy of the database under the same key, changed by these writes.
    fn copy(&mut self, path: &Path, changes: Vec<Write>) -> Result<(), Refused> {
        remove(path)?;
        // SQLite would create it readable by others; an empty file it takes as it is.
        let mut options = OpenOptions::new();
        keep_private(options.write(true).create_new(true))
            .open(path)
            .map_err(|error| unusable(path, &error))?;
        let failed = |error: rusqlite::Error| refused(path, &error);
        // What it is not told, SQLCipher decides by this.
        let proof = format!("PRAGMA cipher_default_hmac_algorithm = {PAGE_PROOF}");
        self.conn.execute_batch(&proof).map_err(failed)?;
        self.conn.execute("VACUUM INTO ?1", [path.to_string_lossy().as_ref()]).map_err(failed)?;
        let conn = connect(path, &self.vault.key).map_err(failed)?;
        let mut tail = super::tail::Tail::load(&conn).map_err(failed)?;
        let mut heads = super::heads::Heads::load(&conn, &tail).map_err(failed)?;
        // What is forgotten leaves no trace in pages that are free now. Not by a second VACUUM,
        // which would hold all of it in memory.
        conn.execute_batch("PRAGMA secure_delete = ON; BEGIN IMMEDIATE").map_err(failed)?;
        let mut patterns = super::patterns::Patterns::default();
        let mut tables = writes::Tables {
            conn: &conn,
            heads: &mut heads,
            tail: &mut tail,
            patterns: &mut patterns,
        };
        for change in changes {
            writes::apply(&mut tables, change).map_err(failed)?;
        }
        conn.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
        conn.close().map_err(|(_, error)| failed(error))
    }
}

/// Writes all of this home into a file, its database changed by these writes. What was in the file
/// is replaced once the backup is whole. `told` hears how many bytes of how many are written.
///
/// # Refusals
/// [`Refusal::FileUnwritable`], [`Refusal::HomeUnusable`], [`Refusal::DatabaseFailed`].
pub fn create(
    home: &Home,
    mut store: Store,
    changes: Vec<Write>,
    text: &str,
    (file, passphrase): (&Path, &Passphrase),
    told: &mut dyn FnMut(u64, u64),
) -> Result<About, Refused> {
    passphrase.check_strength()?;
    let unwritable = |error: io::Error| {
        Refused::new(Refusal::FileUnwritable, format!("{}: {error}", file.display()))
    };
    let part =
        beside(file, "part").ok_or_else(|| unwritable(io::ErrorKind::IsADirectory.into()))?;
    let copy = home.path().join(COPY);
    let made = store
        .copy(&copy, changes)
        .and_then(|()| write(home, &copy, text, (&part, passphrase), &unwritable, told))
        .and_then(|about| {
            let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
            fs::rename(&part, file)
                .and_then(|()| sync_directory(directory.unwrap_or(Path::new("."))))
                .map_err(unwritable)?;
            Ok(about)
        });
    remove(&copy)?;
    if made.is_err() {
        drop(fs::remove_file(&part));
    }
    made
}

/// Writes all of it into a new file, and has it on disk.
fn write(
    home: &Home,
    copy: &Path,
    text: &str,
    (part, passphrase): (&Path, &Passphrase),
    unwritable: &dyn Fn(io::Error) -> Refused,
    told: &mut dyn FnMut(u64, u64),
) -> Result<About, Refused> {
    remove(part)?;
    let mut options = OpenOptions::new();
    let opened = keep_private(options.write(true).create_new(true)).open(part);
    let to = BufWriter::new(opened.map_err(unwritable)?);
    let mut sealer = Sealer::begin(to, passphrase, unwritable)?;
    sealer.frame(&[&[ABOUT], text.as_bytes()].concat(), false, unwritable)?;
    let mut bytes = 0_u64;
    let paths = [(DATABASE, copy.to_owned()), (DATABASE_KEY, home.path().join(DATABASE_KEY))];
    let others = FILES.iter().map(|name| (*name, home.path().join(name)));
    let paths: Vec<(&str, PathBuf)> = paths.into_iter().chain(others).collect();
    // What is not there has none, and is looked at below.
    let sizes = paths.iter().map(|(_, path)| path.metadata().map_or(0, |it| it.len()));
    let of = sizes.fold(0, u64::saturating_add);
    for (name, path) in paths {
        let mut from = match File::open(&path) {
            Ok(from) => from,
            Err(error) if error.kind() == io::ErrorKind::NotFound && FILES.contains(&name) => {
                continue;
            }
            Err(error) => return Err(unusable(&path, &error)),
        };
        sealer.frame(&[&[FILE], name.as_bytes()].concat(), false, unwritable)?;
        let mut buffer = Zeroizing::new(vec![DATA; FRAME_MAX]);
        loop {
            let room = buffer.get_mut(1..).unwrap_or_default();
            let got = from.read(room).map_err(|error| unusable(&path, &error))?;
            if got == 0 {
                break;
            }
            bytes = bytes.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
            told(bytes, of);
            sealer.frame(buffer.get(..=got).unwrap_or_default(), false, unwritable)?;
        }
    }
    sealer.frame(&[END], true, unwritable)?;
    let to = sealer.into_inner().into_inner().map_err(|error| unwritable(error.into_error()))?;
    to.sync_all().map_err(unwritable)?;
    Ok(About { text: text.to_owned(), bytes })
}

/// Reads a whole backup and says what it is; `told` hears how many bytes of how many are read.
///
/// # Refusals
/// [`Refusal::BackupBad`], [`Refusal::BackupNewer`], [`Refusal::BackupTruncated`],
/// [`Refusal::BackupAltered`], [`Refusal::BackupUnread`], [`Refusal::PassphraseWrong`].
pub fn verify(
    file: &Path,
    passphrase: &Passphrase,
    told: &mut dyn FnMut(u64, u64),
) -> Result<About, Refused> {
    read(file, passphrase, None, told)
}

/// Makes a home of a backup. At every moment the home is whole or absent; `told` as in [`verify`].
///
/// # Refusals
/// [`Refusal::HomeNotEmpty`], [`Refusal::HomeUnusable`], and those of [`verify`].
pub fn restore(
    file: &Path,
    passphrase: &Passphrase,
    home: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<About, Refused> {
    let is_empty = match fs::read_dir(home) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(unusable(home, &error)),
    };
    if !is_empty {
        return Err(Refused::new(Refusal::HomeNotEmpty, home.display().to_string()));
    }
    let unusable = |error: io::Error| unusable(home, &error);
    let part = beside(home, &format!("{PART}{}", std::process::id()))
        .ok_or_else(|| unusable(io::ErrorKind::InvalidInput.into()))?;
    let parent = part.parent().unwrap_or(Path::new("."));
    clear_dead(home);
    private_directory(parent, true)
        .and_then(|()| private_directory(&part, false))
        .map_err(unusable)?;
    // Says that we live; the home is ours until we are done.
    let mut lock = Some(lock::hold(&part.join(lock::LOCK)).map_err(unusable)?);
    let moved = read(file, passphrase, Some(&part), told).and_then(|about| {
        if cfg!(windows) {
            // A directory with an open file in it does not move there.
            lock = None;
        }
        // Over an empty directory, or none.
        sync_directory(&part)
            .and_then(|()| fs::rename(&part, home))
            .and_then(|()| sync_directory(parent))
            .map_err(unusable)?;
        Ok(about)
    });
    if moved.is_err() {
        // A home in parts is of no use to anybody, but it holds keys.
        drop(fs::remove_dir_all(&part));
    }
    drop(lock);
    moved
}

/// Removes what restores into this home left behind that were killed: it holds keys. One that lives
/// holds its lock; it makes the lock first of all, so what has none holds nothing, or is not ours.
pub(super) fn clear_dead(home: &Path) {
    let (Some(prefix), Some(parent)) = (beside(home, PART), home.parent()) else { return };
    let Some(prefix) = prefix.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
        return;
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let is_one = pid
            .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|digit| digit.is_ascii_digit()));
        if is_one && lock::is_dead(&entry.path().join(lock::LOCK)) {
            tracing::info!(path = %entry.path().display(), "a restore that was killed is cleared");
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Reads all of it; into this directory, if one is given.
fn read(
    file: &Path,
    passphrase: &Passphrase,
    into: Option<&Path>,
    told: &mut dyn FnMut(u64, u64),
) -> Result<About, Refused> {
    let unread = |error: io::Error| {
        Refused::new(Refusal::BackupUnread, format!("{}: {error}", file.display()))
    };
    let from = File::open(file).map_err(unread)?;
    // The seals around it are little.
    let of = from.metadata().map_or(0, |it| it.len());
    let from = BufReader::new(from);
    let named = |refused: Refused| match refused.detail.is_empty() {
        true => Refused::new(refused.refusal, file.display().to_string()),
        false => refused,
    };
    let mut opener = Opener::begin(from, passphrase).map_err(named)?;
    // Sealed by somebody who knows the passphrase, and yet nothing we wrote.
    let strange = || Refused::new(Refusal::BackupBad, file.display().to_string());
    let mut about = About::default();
    let mut seen: Vec<String> = Vec::new();
    let mut to: Option<(PathBuf, File)> = None;
    let mut is_whole = false;
    while let Some(frame) = opener.frame().map_err(named)? {
        let (kind, body) = frame.split_first().ok_or_else(strange)?;
        let text = || std::str::from_utf8(body).map(str::to_owned).map_err(|_| strange());
        match *kind {
            ABOUT => about.text = text()?,
            FILE => {
                let name = text()?;
                let is_known = name == DATABASE || name == DATABASE_KEY || FILES.contains(&&*name);
                if !is_known || seen.contains(&name) {
                    return Err(strange());
                }
                finish(&mut to)?;
                if let Some(path) = into.map(|directory| directory.join(&name)) {
                    let mut options = OpenOptions::new();
                    let opened = keep_private(options.write(true).create_new(true)).open(&path);
                    to = Some((path.clone(), opened.map_err(|error| unusable(&path, &error))?));
                }
                seen.push(name);
            }
            DATA if !seen.is_empty() => {
                about.bytes =
                    about.bytes.saturating_add(u64::try_from(body.len()).unwrap_or(u64::MAX));
                told(about.bytes, of);
                if let Some((path, to)) = &mut to {
                    to.write_all(body).map_err(|error| unusable(path, &error))?;
                }
            }
            END => is_whole = true,
            _ => return Err(strange()),
        }
    }
    finish(&mut to)?;
    let has = |name: &str| seen.iter().any(|seen| seen == name);
    if is_whole && has(DATABASE) && has(DATABASE_KEY) { Ok(about) } else { Err(strange()) }
}

fn finish(to: &mut Option<(PathBuf, File)>) -> Result<(), Refused> {
    match to.take() {
        Some((path, file)) => file.sync_all().map_err(|error| unusable(&path, &error)),
        None => Ok(()),
    }
}

fn private_directory(path: &Path, is_recursive: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(is_recursive);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The path with something added to its name.
fn beside(path: &Path, more: &str) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_owned();
    name.push(format!(".{more}"));
    Some(path.with_file_name(name))
}

/// Removes a file of ours from before, and what SQLite keeps beside one.
fn remove(path: &Path) -> Result<(), Refused> {
    let beside = ["-wal", "-shm", "-journal"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    for path in beside.iter().map(PathBuf::as_path).chain([path]) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unusable(path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::Reads as _;
    use crate::protocol::member::life::new_life;
    use crate::store::Sync;

    fn stored(store: &mut Store, keys: &[&str]) {
        store.begin();
        let value = Some(Bytes::from_static(b"of this life"));
        let write = |key: &&str| Write::Setting { key: (*key).to_owned(), value: value.clone() };
        store.apply(keys.iter().map(write).collect()).unwrap();
        store.commit(Sync::Full).unwrap();
    }

    const KEPT: [&str; 6] = [
        "identity/name",
        "identity/certificate",
        "control/main/promise",
        "room/main/keys/00",
        "room/main/key",
        "verified/somebody",
    ];
    const FORGOTTEN: [&str; 5] = [
        "identity/device",
        "identity/incarnation",
        "room/main/incarnation",
        "room/main/group/00ff",
        "room/main/candidate",
    ];

    #[test]
    fn what_is_restored_holds_all_but_the_life_it_was_copied_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let passphrase = Passphrase::new(&Zeroizing::new("correct horse".to_owned())).unwrap();
        let home = Home::open(&path("home")).unwrap();
        let mut store = Store::open(&home).unwrap();
        stored(&mut store, &[KEPT.as_slice(), &FORGOTTEN].concat());
        store.write_key_file(&home, "member.key", b"the key").unwrap();
        let changes = new_life(&store);
        let to = (path("file").clone(), &passphrase);
        let mut told = Vec::new();
        let mut tell = |done, of| told.push((done, of));
        let made = create(&home, store, changes, "text", (&to.0, to.1), &mut tell).unwrap();
        assert_eq!(told.last(), Some(&(made.bytes, made.bytes)), "all of it is told of");
        let mut read = Vec::new();
        let mut tell = |done, of| read.push((done, of));
        assert_eq!(verify(&to.0, &passphrase, &mut tell).unwrap(), made);
        assert!(read.len() == told.len() && read.iter().all(|(done, of)| done <= of), "{read:?}");
        assert!(made.bytes > 4_096 && made.text == "text");
        // The home itself forgets nothing.
        let store = Store::open(&home).unwrap();
        assert!(KEPT.iter().chain(&FORGOTTEN).all(|key| store.setting(key).is_some()));
        drop(store);

        restore(&to.0, &passphrase, &path("again"), &mut |_, _| {}).unwrap();
        let bytes = fs::read(path("again").join(DATABASE)).unwrap();
        assert!(!bytes.starts_with(b"SQLite") && !bytes.windows(9).any(|it| it == b"this life"));
        let again = Home::open(&path("again")).unwrap();
        let store = Store::open(&again).unwrap();
        assert_eq!(store.key_file(&again, "member.key").unwrap().unwrap().as_slice(), b"the key");
        for key in KEPT {
            assert_eq!(store.setting(key).as_deref(), Some(b"of this life".as_slice()), "{key}");
        }
        for key in FORGOTTEN {
            assert_eq!(store.setting(key), None, "{key}");
        }
        let question = "PRAGMA cipher_hmac_algorithm";
        let proof: String = store.conn.query_row(question, [], |row| row.get(0)).unwrap();
        assert_eq!(proof, PAGE_PROOF, "as a new one");
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 3, "nothing else was left behind");
    }

    #[test]
    fn a_dead_restore_is_cleared_and_a_live_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let made = |name: &str| {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("member.key"), b"secret").unwrap();
        };
        let others = ["home.restoring-", "home.restoring-1x", "home2.restoring-3"];
        let alike =
            ["home.restoring-1", "home.restoring-2", "home.restoring-4", "home.restoring-5"];
        others.iter().chain(&alike).for_each(|name| made(name));
        for name in ["home.restoring-1", "home2.restoring-3"] {
            drop(lock::hold(&path(name).join(lock::LOCK)).unwrap());
        }
        fs::write(path("home.restoring-5").join(lock::LOCK), "").unwrap();
        let live = lock::hold(&path("home.restoring-2").join(lock::LOCK)).unwrap();
        drop(Home::open(&path("home")).unwrap());
        assert!(!path("home.restoring-1").exists(), "it was dead");
        assert!(path("home.restoring-2").join("member.key").exists(), "it lives");
        assert!(path("home.restoring-4").exists(), "nothing says what it is");
        assert!(path("home.restoring-5").exists(), "it begins this moment");
        assert!(others.iter().all(|name| path(name).exists()), "not of this home");
        drop(live);
        drop(Home::open(&path("home")).unwrap());
        assert!(!path("home.restoring-2").exists());
    }

    #[test]
    fn what_a_killed_backup_left_behind_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new(&Zeroizing::new("correct horse".to_owned())).unwrap();
        let home = Home::open(&dir.path().join("home")).unwrap();
        let file = dir.path().join("file");
        for left in [home.path().join(COPY), dir.path().join("file.part")] {
            fs::write(left, b"half").unwrap();
        }
        fs::write(home.path().join(format!("{COPY}-wal")), b"half").unwrap();
        let store = Store::open(&home).unwrap();
        create(&home, store, Vec::new(), "", (&file, &passphrase), &mut |_, _| {}).unwrap();
        assert!(verify(&file, &passphrase, &mut |_, _| {}).is_ok());
        assert!(!home.path().join(COPY).exists() && !dir.path().join("file.part").exists());
    }
}
