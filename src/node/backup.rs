//! Backups of a member's home, made and used while no process runs on it.
//! Owns: what a backup says of itself, and that what is restored begins a new life.
//! Must not know: how a backup is written, the terminal.
//! Invariants: the database in a backup was made to forget its life before it was written, so
//! nothing that happens to a restored home can bring that life back.
//! Start reading at: [`create`].

use std::path::Path;

use bytes::Bytes;

use crate::config::Config;
use crate::protocol::{Reads as _, Write, member};
use crate::refusal::Refused;
use crate::store::{Passphrase, Store, backup};

use super::{offline, start, wall};

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Of which member.
    pub name: String,
    /// When it was made, as it says.
    pub made_at: String,
    /// Bytes of the files in it.
    pub bytes: u64,
}

impl From<backup::About> for Backup {
    fn from(about: backup::About) -> Self {
        let mut lines = about.text.lines().map(crate::text::one_line);
        let mut next = || lines.next().unwrap_or_default();
        Self { name: next(), made_at: next(), bytes: about.bytes }
    }
}

/// Writes a backup of the member of this home. `passphrase` opens the home, `under` the backup; `told`
/// hears how many bytes of how many are written.
///
/// # Refusals
/// Whatever keeps the home from opening, or the file from being written.
pub fn create(
    config: &Config,
    passphrase: Option<&Passphrase>,
    (file, under): (&Path, &Passphrase),
    mut told: impl FnMut(u64, u64),
) -> Result<Backup, Refused> {
    under.check_strength()?;
    let home = offline::locked(config)?;
    let store = Store::open_with(&home, passphrase)?;
    let mut changes = member::life::new_life(&store);
    // The machine of before says nothing about the next one.
    changes.push(Write::Setting { key: start::BOOT_KEY.to_owned(), value: None });
    let name = store.setting("identity/name").unwrap_or_else(Bytes::new);
    let text = format!("{}\n{}\n", String::from_utf8_lossy(&name), wall().rfc3339());
    store.is_sound()?;
    Ok(backup::create(&home, store, changes, &text, (file, under), &mut told)?.into())
}

/// Reads a whole backup and checks it; `told` hears how many bytes of how many are read.
///
/// # Refusals
/// As [`backup::verify`].
pub fn verify(
    file: &Path,
    under: &Passphrase,
    mut told: impl FnMut(u64, u64),
) -> Result<Backup, Refused> {
    Ok(backup::verify(file, under, &mut told)?.into())
}

/// Makes a home of a backup: under the passphrase that the home it was made of was under;
/// `told` as in [`verify`].
///
/// # Refusals
/// As [`backup::restore`].
pub fn restore(
    config: &Config,
    file: &Path,
    under: &Passphrase,
    mut told: impl FnMut(u64, u64),
) -> Result<Backup, Refused> {
    Ok(backup::restore(file, under, config.member_home()?, &mut told)?.into())
}
