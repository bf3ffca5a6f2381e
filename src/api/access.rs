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
use crate::text::one_line;
use crate::time::Wall;

/// The first token, for everything, as it is.
const FIRST: &str = "api.token";
/// The others, a line each: `scope hash` or `hook hash room`; behind a tab when it was made, in Unix
/// milliseconds; behind another one its label. Lines of before have no label, older ones no time.
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

/// A token that was shown, as it is known again later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown(blake3::Hash);

impl Shown {
    pub(super) fn of(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }
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
    pub(super) fn grant(&self, token: Shown) -> Option<Grant> {
        let Shown(given) = token;
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
            let Some(row) = Row::of(line) else { continue };
            if row.hash == given {
                found = Some(row.grant);
            }
        }
        found
    }
}

/// A line of the file.
struct Row {
    hash: blake3::Hash,
    grant: Grant,
    made_at: Option<Wall>,
    label: Option<String>,
}

impl Row {
    fn of(line: &str) -> Option<Self> {
        // No name of a room holds a tab, and no label.
        let mut parts = line.split('\t');
        let (line, made_at) = (parts.next()?, parts.next().unwrap_or_default());
        let label = parts.next().filter(|it| !it.is_empty()).map(str::to_owned);
        let mut words = line.splitn(3, ' ');
        let (kind, hash, room) = (words.next()?, words.next()?, words.next());
        let grant = match (kind, room) {
            ("hook", room) => Grant::Hook(room?.to_owned()),
            (kind, _) => Grant::Scope(Scope::parse(kind)?),
        };
        let hash = blake3::Hash::from_hex(hash).ok()?;
        Some(Self { hash, grant, made_at: made_at.parse().ok().map(Wall), label })
    }

    fn listed(self) -> Token {
        let id = self.hash.to_hex().chars().take(ID_DIGITS).collect();
        Token { id, grant: self.grant, made_at: self.made_at, label: self.label }
    }
}

/// A token as it is listed: nothing of it leads back to the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// How it is named here: `first`, or the beginning of its hash.
    pub id: String,
    /// What it is good for.
    pub grant: Grant,
    /// When it was made, where that was noted.
    pub made_at: Option<Wall>,
    /// What its person calls it.
    pub label: Option<String>,
}

/// Digits of an id.
const ID_DIGITS: usize = 12;
/// The id of the first token.
const FIRST_ID: &str = "first";

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

/// A label is one that a list shows as it was written, and that names one token alone.
fn check_label(home: &Path, label: &str) -> Result<(), Refused> {
    let bad = |why: String| Err(Refused::new(Refusal::CommandBad, why));
    if label.is_empty() || label.len() > NAME_BYTES_MAX || one_line(label) != label {
        return bad(format!(
            "a label has 1 to {NAME_BYTES_MAX} bytes, none of which disturb a line"
        ));
    }
    let is_taken = |token: &Token| token.id == label || token.label.as_deref() == Some(label);
    match label == FIRST_ID || list_tokens(home)?.iter().any(is_taken) {
        true => bad(format!("a token is called {label} already: p2pgroup api list")),
        false => Ok(()),
    }
}

fn add(
    home: &Path,
    label: Option<&str>,
    line: impl FnOnce(&blake3::Hash) -> String,
) -> Result<String, Refused> {
    if let Some(label) = label {
        check_label(home, label)?;
    }
    let path = home.join(OTHERS);
    let known = read(&path).unwrap_or_default();
    if known.lines().count() >= API_TOKENS_MAX {
        let detail =
            format!("{} holds {API_TOKENS_MAX} tokens; delete lines of it", path.display());
        return Err(Refused::new(Refusal::TooMany, detail));
    }
    let token = node::secret()?;
    let end = label.map(|label| format!("\t{label}")).unwrap_or_default();
    let line = format!("{}\t{}{end}", line(&blake3::hash(token.as_bytes())), node::wall().0);
    let written = private(&path).and_then(|mut file| writeln!(file, "{line}"));
    written.map_err(|error| unusable(&path, &error))?;
    Ok(token.as_str().to_owned())
}

/// Makes a token, perhaps with a label; it is shown once, and only its hash is kept.
///
/// # Refusals
/// [`Refusal::HomeUnusable`], [`Refusal::TooMany`]; [`Refusal::CommandBad`] for a label that another
/// one has, or that is none.
pub fn create_token(home: &Path, scope: Scope, label: Option<&str>) -> Result<String, Refused> {
    add(home, label, |hash| format!("{} {hash}", scope.name()))
}

/// Makes a token that sends into one room, for an incoming webhook.
///
/// # Refusals
/// As [`create_token`]; [`Refusal::RoomUnknown`] for what cannot be a room's name.
pub fn create_hook(home: &Path, room: &str, label: Option<&str>) -> Result<String, Refused> {
    let room = room.strip_prefix('#').unwrap_or(room);
    if room.is_empty() || room.len() > NAME_BYTES_MAX * 2 || room.chars().any(char::is_control) {
        return Err(Refused::new(Refusal::RoomUnknown, room));
    }
    add(home, label, |hash| format!("hook {hash} {room}"))
}

/// All tokens of a home, the first one first.
///
/// # Refusals
/// [`Refusal::HomeUnusable`].
pub fn list_tokens(home: &Path) -> Result<Vec<Token>, Refused> {
    let first = stored(&home.join(FIRST))?.filter(|token| !token.trim().is_empty());
    let first = first.map(|_| Token {
        id: FIRST_ID.to_owned(),
        grant: Grant::Scope(Scope::Admin),
        made_at: None,
        label: None,
    });
    let others = stored(&home.join(OTHERS))?.unwrap_or_default();
    Ok(first.into_iter().chain(others.lines().filter_map(Row::of).map(Row::listed)).collect())
}

/// Takes a token back, named by its label, its id or the beginning of that: it is worth nothing from
/// now on.
///
/// # Refusals
/// [`Refusal::TokenUnknown`], [`Refusal::HomeUnusable`].
pub fn revoke_token(home: &Path, id: &str) -> Result<Token, Refused> {
    let known = list_tokens(home)?;
    let labelled = known.iter().find(|token| token.label.as_deref() == Some(id));
    let mut meant = known.iter().filter(|token| !id.is_empty() && token.id.starts_with(id));
    let named = (labelled, meant.next(), meant.next());
    let ((Some(token), ..) | (None, Some(token), None)) = named else {
        return Err(Refused::new(Refusal::TokenUnknown, id));
    };
    if token.id == FIRST_ID {
        let path = home.join(FIRST);
        std::fs::remove_file(&path).map_err(|error| unusable(&path, &error))?;
        return Ok(token.clone());
    }
    let path = home.join(OTHERS);
    let others = stored(&path)?.unwrap_or_default();
    let is_it = |line: &str| Row::of(line).is_some_and(|row| row.listed().id == token.id);
    let kept: String =
        others.lines().filter(|line| !is_it(line)).map(|line| format!("{line}\n")).collect();
    // Whole under its name or not at all: half of it would take others back, too.
    let new = home.join(format!("{OTHERS}.new"));
    let written = match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => private(&new),
    };
    written
        .and_then(|mut file| file.write_all(kept.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&new, &path))
        .map_err(|error| unusable(&path, &error))?;
    Ok(token.clone())
}

/// What a file of tokens holds; `None`: there is none.
fn stored(path: &Path) -> Result<Option<String>, Refused> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_scope_and_gone_when_its_line_is() {
        let home = tempfile::tempdir().unwrap();
        let access = Access::new(home.path(), Some(8_700));
        assert_eq!(access.grant(Shown::of("")), None);
        first_token(home.path()).unwrap();
        let first = std::fs::read_to_string(home.path().join(FIRST)).unwrap();
        first_token(home.path()).unwrap();
        assert_eq!(first, std::fs::read_to_string(home.path().join(FIRST)).unwrap());
        assert_eq!(access.grant(Shown::of(first.trim())), Some(Grant::Scope(Scope::Admin)));
        let send = create_token(home.path(), Scope::Send, None).unwrap();
        let hook = create_hook(home.path(), "#night shift", None).unwrap();
        assert_eq!(access.grant(Shown::of(&send)), Some(Grant::Scope(Scope::Send)));
        assert_eq!(access.grant(Shown::of(&hook)), Some(Grant::Hook("night shift".to_owned())));
        for wrong in [String::new(), "x".to_owned(), send.replacen('a', "b", 1), format!("{send}0")]
        {
            let is_same = wrong == send;
            assert!(is_same || access.grant(Shown::of(&wrong)).is_none(), "{wrong}");
        }
        for file in [FIRST, OTHERS] {
            use std::os::unix::fs::PermissionsExt;
            let mode = home.path().join(file).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let others = std::fs::read_to_string(home.path().join(OTHERS)).unwrap();
        assert!(!others.contains(&send) && !others.contains(&hook));
        std::fs::write(home.path().join(OTHERS), "").unwrap();
        assert_eq!(access.grant(Shown::of(&send)), None);
        assert_eq!(
            create_hook(home.path(), "a\nadmin b", None).unwrap_err().refusal,
            Refusal::RoomUnknown
        );
    }

    #[test]
    fn tokens_are_listed_without_what_they_are_and_taken_back_one_by_one() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let access = Access::new(home, Some(8_700));
        assert_eq!(list_tokens(home), Ok(Vec::new()));
        assert_eq!(revoke_token(home, "").unwrap_err().refusal, Refusal::TokenUnknown);
        let first = first_token(home).unwrap();
        let send = create_token(home, Scope::Send, None).unwrap();
        let hook = create_hook(home, "#night shift", None).unwrap();
        // As an older version wrote it.
        let old = format!("read {}\n", blake3::hash(b"old").to_hex());
        private(&home.join(OTHERS)).unwrap().write_all(old.as_bytes()).unwrap();
        let listed = list_tokens(home).unwrap();
        let grants: Vec<Grant> = listed.iter().map(|it| it.grant.clone()).collect();
        let expected = [
            Grant::Scope(Scope::Admin),
            Grant::Scope(Scope::Send),
            Grant::Hook("night shift".to_owned()),
            Grant::Scope(Scope::Read),
        ];
        assert_eq!(grants, expected);
        assert!(listed[1].made_at.is_some() && listed[3].made_at.is_none());
        assert!(listed.iter().all(|it| ![&first, &send, &hook].contains(&&it.id)));
        let beginning: String = listed[1].id.chars().take(11).collect();
        let taken = revoke_token(home, &beginning).unwrap();
        assert_eq!(taken, listed[1]);
        assert_eq!(access.grant(Shown::of(&send)), None);
        assert_eq!(access.grant(Shown::of(&hook)), Some(Grant::Hook("night shift".to_owned())));
        assert_eq!(access.grant(Shown::of("old")), Some(Grant::Scope(Scope::Read)));
        assert_eq!(revoke_token(home, &listed[1].id).unwrap_err().refusal, Refusal::TokenUnknown);
        revoke_token(home, "first").unwrap();
        assert_eq!((access.grant(Shown::of(&first)), list_tokens(home).unwrap().len()), (None, 2));
        use std::os::unix::fs::PermissionsExt;
        let mode = home.join(OTHERS).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_with_a_label_is_listed_and_taken_back_by_it() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let access = Access::new(home, None);
        let token = |label| create_token(home, Scope::Read, Some(label));
        let grafana = token("grafana").unwrap();
        let hook = create_hook(home, "night shift", Some("ci of main")).unwrap();
        let plain = create_token(home, Scope::Send, None).unwrap();
        // As the version before wrote it.
        let old = format!("read {}\t1700000000000\n", blake3::hash(b"old").to_hex());
        private(&home.join(OTHERS)).unwrap().write_all(old.as_bytes()).unwrap();
        let listed = list_tokens(home).unwrap();
        let labels: Vec<Option<&str>> = listed.iter().map(|it| it.label.as_deref()).collect();
        assert_eq!(labels, [Some("grafana"), Some("ci of main"), None, None]);
        assert_eq!(listed[1].grant, Grant::Hook("night shift".to_owned()));
        assert_eq!(listed[3].made_at, Some(Wall(1_700_000_000_000)));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for wrong in ["", "grafana", "first", "a\tb", "a\u{1b}[2J", &listed[0].id, &long] {
            assert_eq!(token(wrong).unwrap_err().refusal, Refusal::CommandBad, "{wrong:?}");
        }
        assert_eq!(revoke_token(home, "graf").unwrap_err().refusal, Refusal::TokenUnknown);
        assert_eq!(revoke_token(home, "grafana").unwrap(), listed[0]);
        assert_eq!(revoke_token(home, "ci of main").unwrap(), listed[1]);
        assert_eq!(
            (access.grant(Shown::of(&grafana)), access.grant(Shown::of(&hook))),
            (None, None)
        );
        assert_eq!(access.grant(Shown::of(&plain)), Some(Grant::Scope(Scope::Send)));
        assert_eq!(access.grant(Shown::of("old")), Some(Grant::Scope(Scope::Read)));
        token("grafana").unwrap();
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
