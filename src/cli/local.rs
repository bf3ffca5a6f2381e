//! The socket of a running member, by which other programs of the same person reach it.
//! Owns: where it lies.
//! Must not know: what is said over it.
//! Invariants: nobody but its owner can connect: it is 0600, in a home that is the owner's.
//! Start reading at: [`path`].

pub(super) mod client;
pub(super) mod doctor;
pub(super) mod lines;
pub(super) mod rpc;
pub(super) mod server;
mod source;
pub(super) mod stored;
pub(super) mod tokens;
pub(super) mod verbs;

use std::path::{Path, PathBuf};

/// Its name in the home.
const SOCKET: &str = "control.sock";
/// The system keeps no longer paths of sockets: 104 bytes with the end on some.
const PATH_BYTES_MAX: usize = 100;

/// Where the socket of the member of this home lies: in the home; where that path is too long for
/// the system, in a directory of this user under the name of the home.
pub(super) fn path(home: &Path) -> PathBuf {
    let inside = home.join(SOCKET);
    if inside.as_os_str().len() <= PATH_BYTES_MAX {
        return inside;
    }
    // The same for both sides, however each wrote the path of the home.
    let whole = std::fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    let name = blake3::hash(whole.as_os_str().as_encoded_bytes()).to_hex();
    let name: String = name.chars().take(32).collect();
    crate::config::runtime_dir().join(format!("{name}.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_with_a_long_path_has_a_socket_all_the_same() {
        assert_eq!(path(Path::new("/h/alice")), Path::new("/h/alice/control.sock"));
        let long = |end: &str| PathBuf::from(format!("/h/{}/{end}", "x".repeat(100)));
        let (a, b) = (path(&long("a")), path(&long("b")));
        assert!(a != b && a == path(&long("a")));
        assert!(a.as_os_str().len() <= PATH_BYTES_MAX, "{}", a.display());
    }
}
