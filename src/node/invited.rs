//! An invite as a joining process uses it: what it says beforehand, and what is kept of it.
//! Owns: the file in the home that keeps where an invite led to, for later starts.
//! Must not know: whether the voucher in it still admits.
//! Invariants: the secret of an invite is never written anywhere.
//! Start reading at: [`Invite`].

use std::path::Path;

use super::mirror::AUTHORITY_FILE;
use crate::config::{Config, Flag, Key, Origin, Value};
use crate::identity::answer::Pin;
use crate::ids::NetworkId;
use crate::limits::INVITE_CHARS_MAX;
use crate::refusal::{Refusal, Refused};
use crate::store::Home;
use crate::wire::identity::voucher::InviteIn;

/// Where an invite led to: addresses and the authority's fingerprint, nothing secret.
const INVITED_FILE: &str = "invited";

/// An invite that somebody brought along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite(Box<InviteIn>);

impl Invite {
    /// From the text that a person passed on.
    ///
    /// # Refusals
    /// [`Refusal::InviteBad`].
    pub fn read(text: &str) -> Result<Self, Refused> {
        InviteIn::from_text(text).map(|invite| Self(Box::new(invite)))
    }

    /// From a file that holds it.
    ///
    /// # Refusals
    /// [`Refusal::InviteBad`], [`Refusal::ConfigUnreadable`].
    pub fn read_file(path: &Path) -> Result<Self, Refused> {
        use std::io::Read;
        let limit = u64::try_from(INVITE_CHARS_MAX).unwrap_or(u64::MAX).saturating_mul(2);
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|why| {
                let detail = format!("{}: {why}", path.display());
                Refused::new(Refusal::ConfigUnreadable, detail)
            })?;
        Self::read(&text)
    }

    /// Whom alone it admits; empty: anybody.
    pub fn name(&self) -> &str {
        &self.0.voucher.name
    }

    /// Where the bootstrap answers.
    pub fn bootstrap(&self) -> &[String] {
        &self.0.bootstrap
    }

    /// Where the key authority answers; empty: nobody said.
    pub fn keyauth(&self) -> &str {
        &self.0.keyauth
    }

    /// The fingerprint of the authority that signed it, if it is what it says.
    pub fn fingerprint(&self) -> String {
        self.0.voucher.network.to_string()
    }

    pub(super) fn network(&self) -> NetworkId {
        self.0.voucher.network
    }

    /// What it says, as settings; what is said besides comes after it and counts more.
    pub fn flags(&self) -> Vec<Flag> {
        let text = |key: Key, text: &str| {
            let value = Value::Text(text.to_owned());
            (!text.is_empty()).then_some(Flag { key, flag: "--invite", value })
        };
        let bootstrap = self.bootstrap();
        let list = (!bootstrap.is_empty()).then(|| Flag {
            key: Key::Bootstrap,
            flag: "--invite",
            value: Value::List(bootstrap.to_vec()),
        });
        let flags = [
            text(Key::Name, self.name()),
            list,
            text(Key::Keyauth, self.keyauth()),
            text(Key::Authority, &self.fingerprint()),
        ];
        flags.into_iter().flatten().collect()
    }

    pub(super) fn into_inner(self) -> InviteIn {
        *self.0
    }
}

/// Keeps where an invite led to.
pub(super) fn remember(home: &Home, invite: &Invite) -> Result<(), Refused> {
    let mut text = format!("authority {}\n", invite.fingerprint());
    for address in invite.bootstrap() {
        text.push_str(&format!("bootstrap {address}\n"));
    }
    if !invite.keyauth().is_empty() {
        text.push_str(&format!("keyauth {}\n", invite.keyauth()));
    }
    let path = home.path().join(INVITED_FILE);
    std::fs::write(&path, text)
        .map_err(|why| Refused::new(Refusal::HomeUnusable, format!("{}: {why}", path.display())))
}

/// What an earlier invite says takes the place of defaults, and of nothing else.
pub(super) fn recall(mut config: Config) -> Config {
    if config.home.as_os_str().is_empty() {
        return config;
    }
    let Ok(text) = std::fs::read_to_string(config.home.join(INVITED_FILE)) else {
        return config;
    };
    let kept = |word: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(first, _)| *first == word).map(|(_, rest)| rest.to_owned()).collect()
    };
    let (bootstrap, keyauth) = (kept("bootstrap"), kept("keyauth"));
    if is_default(&config, "bootstrap") && !bootstrap.is_empty() {
        config.bootstrap = bootstrap;
    }
    if let (true, Some(keyauth)) = (is_default(&config, "keyauth"), keyauth.into_iter().next()) {
        config.keyauth = keyauth;
    }
    if config.authority.is_none() {
        config.authority = kept("authority").into_iter().next();
    }
    // This machine may host for its own network only; for another it would found a second one.
    config.embedded = config.embedded && hosts(&config);
    config
}

/// Whether the embedded roles of this machine are those of the pinned authority.
pub(super) fn hosts(config: &Config) -> bool {
    let pinned = config.authority.as_deref().and_then(Pin::of_fingerprint);
    let pem = std::fs::read(config.embedded_home.join("keyauth").join(AUTHORITY_FILE));
    let own = pem.ok().and_then(|pem| Pin::of_certificate(&pem).ok());
    pinned.is_some() && pinned == own
}

/// Whether nobody said anything about a setting.
pub(super) fn is_default(config: &Config, path: &str) -> bool {
    let shown = config.shown.iter().find(|shown| shown.path == path);
    shown.is_none_or(|shown| shown.origin == Origin::Default)
}
