//! The directories of the person who runs this.
//! Owns: what they are called on each system.
//! Must not know: what is kept in them.
//! Invariants: nothing is created here.
//! Start reading at: [`Places::of_this_user`].

use std::path::PathBuf;

/// The directories of the person who runs this.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Where p2pgroup keeps data.
    pub data: Option<PathBuf>,
    /// Where p2pgroup's settings lie.
    pub config: Option<PathBuf>,
    /// Where files from elsewhere are looked for, if there is such a directory.
    pub downloads: Option<PathBuf>,
}

impl Places {
    /// As this system has them.
    pub fn of_this_user() -> Self {
        let user = directories::UserDirs::new();
        let downloads = user.and_then(|dirs| dirs.download_dir().map(PathBuf::from));
        let downloads = downloads.filter(|path| path.is_dir());
        match directories::ProjectDirs::from("", "", "p2pgroup") {
            Some(dirs) => Self {
                data: Some(dirs.data_dir().to_owned()),
                config: Some(dirs.config_dir().to_owned()),
                downloads,
            },
            None => Self { downloads, ..Self::default() },
        }
    }
}

/// Where sockets lie while something runs, for its owner alone; it may not be there yet. Never a
/// directory in which others may write: somebody could wait there in the place of a member.
pub fn runtime_dir() -> PathBuf {
    let dirs = directories::ProjectDirs::from("", "", "p2pgroup");
    dirs.map_or_else(
        || PathBuf::from("/"),
        |dirs| dirs.runtime_dir().map_or_else(|| dirs.data_dir().join("run"), PathBuf::from),
    )
}
