//! Who may ask for what: tokens with scopes, and from where.
//! Owns: the files of tokens in the home, and the hosts that a request may name.
//! Must not know: what a request is about.
//! Invariants: files of tokens are 0600; of all tokens but the first only the hash is kept; they are
//! compared in constant time; the hosts are a list that is fixed before anybody asks.
//! Start reading at: [`Access::grant`].

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use axum::http::header::{self, HeaderMap};

use crate::limits::{API_TOKENS_MAX, NAME_BYTES_MAX};
use crate::node;
use crate::refusal::{Refusal, Refused};

/// The first token, for everything, as it is.
const FIRST: &str = "api.token";
/// The others: `scope hash` or `hook hash room`, a line each.
const OTHERS: &str = "api.tokens";
/// What a file of tokens may hold.
const BYTES_MAX: u64 = 256 << 10;

/// What a token is good for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To read everything.
    Read,
    /// To send messages, too.
    Send,
    /// Everything.
    Admin,
}

impl Scope {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Admin => "admin",
        }
    }

    /// As it was written.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Send, Self::Admin].into_iter().find(|scope| scope.name() == name)
    }
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// To ask in an `Authorization` header.
    Scope(Scope),
    /// To send into this room, as the end of a path.
    Hook(String),
}

/// Who may ask, and from where.
#[derive(Debug)]
pub(super) struct Access {
    home: PathBuf,
    hosts: Vec<String>,
}

impl Access {
    pub(super) fn new(home: &Path, port: Option<u16>) -> Self {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let hosts = match port {
            Some(port) => names.iter().map(|name| format!("{name}:{port}")).collect(),
            None => names.iter().map(|name| (*name).to_owned()).collect(),
        };
        Self { home: home.to_owned(), hosts }
    }

    /// Whether the request was meant for this API, and no page of another one sent it.
    pub(super) fn check_source(
        &self,
        headers: &HeaderMap,
        host: Option<&str>,
    ) -> Result<(), Refused> {
        let text = |value: &header::HeaderValue| value.to_str().unwrap_or("?").to_owned();
        let named = headers.get_all(header::HOST).iter().map(text).collect::<Vec<_>>();
        let named = match (named.as_slice(), host) {
            ([], Some(host)) => host.to_owned(),
            ([one], _) => one.clone(),
            _ => return Err(Refused::new(Refusal::OriginForeign, "a Host is named once")),
        };
        if !self.hosts.contains(&named.to_ascii_lowercase()) {
            return Err(Refused::new(Refusal::OriginForeign, format!("Host: {named}")));
        }
        for origin in headers.get_all(header::ORIGIN).iter().map(text) {
            let is_ours = origin
                .strip_prefix("http://")
                .is_some_and(|host| self.hosts.iter().any(|known| known == host));
            if !is_ours {
                return Err(Refused::new(Refusal::OriginForeign, format!("Origin: {origin}")));
            }
        }
        Ok(())
    }

    /// What the token of a request is good for; `None`: it is no token of ours.
    pub(super) fn grant(&self, token: &str) -> Option<Grant> {
        let given = blake3::hash(token.as_bytes());
        // Read anew each time: a token that was taken back is worth nothing at once.
        let first = read(&self.home.join(FIRST)).unwrap_or_default();
        let first = first.trim();
        // The comparison of hashes takes as long wherever they differ.
        if !first.is_empty() && blake3::hash(first.as_bytes()) == given {
            return Some(Grant::Scope(Scope::Admin));
        }
        let others = read(&self.home.join(OTHERS)).unwrap_or_default();
        let mut found = None;
        for line in others.lines().take(API_TOKENS_MAX) {
            let mut words = line.splitn(3, ' ');
            let (kind, hash, room) = (words.next(), words.next(), words.next());
            let is_it = hash.and_then(|hash| blake3::Hash::from_hex(hash).ok()) == Some(given);
            let grant = match (kind, room) {
                (Some("hook"), Some(room)) => Some(Grant::Hook(room.to_owned())),
                (Some(kind), _) => Scope::parse(kind).map(Grant::Scope),
                (None, _) => None,
            };
            if is_it {
                found = grant;
            }
        }
        found
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn unusable(path: &Path, error: &std::io::Error) -> Refused {
    Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
}

/// The token for everything, which is made unless there is one.
///
/// # Refusals
/// [`Refusal::HomeUnusable`].
pub fn first_token(home: &Path) -> Result<String, Refused> {
    let path = home.join(FIRST);
    if let Ok(token) = read(&path)
        && !token.trim().is_empty()
    {
        return Ok(token.trim().to_owned());
    }
    let token = node::secret()?;
    let written = private(&path).and_then(|mut file| writeln!(file, "{}", token.as_str()));
    written.map_err(|error| unusable(&path, &error))?;
    Ok(token.as_str().to_owned())
}

fn add(home: &Path, line: impl FnOnce(&blake3::Hash) -> String) -> Result<String, Refused> {
    let path = home.join(OTHERS);
    let known = read(&path).unwrap_or_default();
    if known.lines().count() >= API_TOKENS_MAX {
        let detail =
            format!("{} holds {API_TOKENS_MAX} tokens; delete lines of it", path.display());
        return Err(Refused::new(Refusal::TooMany, detail));
    }
    let token = node::secret()?;
    let line = line(&blake3::hash(token.as_bytes()));
    let written = private(&path).and_then(|mut file| writeln!(file, "{line}"));
    written.map_err(|error| unusable(&path, &error))?;
    Ok(token.as_str().to_owned())
}

/// Makes a token; it is shown once, and only its hash is kept.
///
/// # Refusals
/// [`Refusal::HomeUnusable`], [`Refusal::TooMany`].
pub fn create_token(home: &Path, scope: Scope) -> Result<String, Refused> {
    add(home, |hash| format!("{} {hash}", scope.name()))
}

/// Makes a token that sends into one room, for an incoming webhook.
///
/// # Refusals
/// As [`create_token`]; [`Refusal::RoomUnknown`] for what cannot be a room's name.
pub fn create_hook(home: &Path, room: &str) -> Result<String, Refused> {
    let room = room.strip_prefix('#').unwrap_or(room);
    if room.is_empty() || room.len() > NAME_BYTES_MAX * 2 || room.chars().any(char::is_control) {
        return Err(Refused::new(Refusal::RoomUnknown, room));
    }
    add(home, |hash| format!("hook {hash} {room}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_scope_and_gone_when_its_line_is() {
        let home = tempfile::tempdir().unwrap();
        let access = Access::new(home.path(), Some(8_700));
        assert_eq!(access.grant(""), None);
        first_token(home.path()).unwrap();
        let first = std::fs::read_to_string(home.path().join(FIRST)).unwrap();
        first_token(home.path()).unwrap();
        assert_eq!(first, std::fs::read_to_string(home.path().join(FIRST)).unwrap());
        assert_eq!(access.grant(first.trim()), Some(Grant::Scope(Scope::Admin)));
        let send = create_token(home.path(), Scope::Send).unwrap();
        let hook = create_hook(home.path(), "#night shift").unwrap();
        assert_eq!(access.grant(&send), Some(Grant::Scope(Scope::Send)));
        assert_eq!(access.grant(&hook), Some(Grant::Hook("night shift".to_owned())));
        for wrong in [String::new(), "x".to_owned(), send.replacen('a', "b", 1), format!("{send}0")]
        {
            let is_same = wrong == send;
            assert!(is_same || access.grant(&wrong).is_none(), "{wrong}");
        }
        for file in [FIRST, OTHERS] {
            use std::os::unix::fs::PermissionsExt;
            let mode = home.path().join(file).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let others = std::fs::read_to_string(home.path().join(OTHERS)).unwrap();
        assert!(!others.contains(&send) && !others.contains(&hook));
        std::fs::write(home.path().join(OTHERS), "").unwrap();
        assert_eq!(access.grant(&send), None);
        assert_eq!(
            create_hook(home.path(), "a\nadmin b").unwrap_err().refusal,
            Refusal::RoomUnknown
        );
    }

    #[test]
    fn requests_for_or_from_elsewhere_are_refused() {
        let access = Access::new(Path::new("/nowhere"), Some(8_700));
        let check = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            access.check_source(&headers, None).is_ok()
        };
        for host in ["127.0.0.1:8700", "localhost:8700", "LOCALHOST:8700", "[::1]:8700"] {
            assert!(check(host, None), "{host}");
        }
        assert!(check("127.0.0.1:8700", Some("http://localhost:8700")));
        for host in ["evil.example:8700", "127.0.0.1", "localhost:8701", "127.0.0.1.evil:8700"] {
            assert!(!check(host, None), "{host}");
        }
        for origin in ["null", "http://evil.example", "https://localhost:8700", "http://localhost"]
        {
            assert!(!check("127.0.0.1:8700", Some(origin)), "{origin}");
        }
        assert!(access.check_source(&HeaderMap::new(), None).is_err());
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, "127.0.0.1:8700".parse().unwrap());
        twice.append(header::HOST, "evil.example".parse().unwrap());
        assert!(access.check_source(&twice, None).is_err());
    }
}
