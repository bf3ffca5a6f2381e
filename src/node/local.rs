//! Sockets in the file system, for programs of the same person.
//! Owns: that nobody else can connect.
//! Must not know: what is said over them.
//! Invariants: a socket has its name only once it is closed to others.
//! Start reading at: [`local_socket`].

use std::io;
use std::path::Path;

use tokio::net::UnixListener;

/// Opens a socket, 0600, within a tokio runtime; what an earlier process left there is replaced.
///
/// # Errors
/// What keeps it from being opened.
pub fn local_socket(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
    }
    // A file of somebody's is not ours to replace.
    if let Ok(known) = path.symlink_metadata()
        && !std::os::unix::fs::FileTypeExt::is_socket(&known.file_type())
    {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name"));
    }
    // Under another name until it is closed to others, so that nobody comes before that.
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&fresh, private)?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}
