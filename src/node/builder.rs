//! A member within another program: settings by name, no command line, no terminal.
//! Owns: [`Builder`].
//! Must not know: how a member runs.
//! Invariants: settings pass the same checks as those of the command line; neither the settings file
//! nor the environment of whoever runs the program counts.
//! Start reading at: [`Builder::start`].

use std::path::{Path, PathBuf};

use super::hub::Handle;
use super::passphrase::Passphrase;
use super::{Invite, Node, Role};
use crate::config::{Config, Flag, Key, Places, RoleKind, Sources, Value};
use crate::refusal::Refused;

/// What a member is started with; whatever is not said is as for `p2pgroup join`.
///
/// ```no_run
/// use p2pgroup::node::Node;
/// use p2pgroup::protocol::{Command, Notice};
///
/// # async fn example() -> Result<(), p2pgroup::refusal::Refused> {
/// let handle = Node::builder().name("echo").home("/var/lib/echo").start().await?;
/// let events = handle.events()?;
/// while let Some(told) = events.next().await {
///     if let Ok(Notice::Message(message)) = told {
///         let text = format!("{} said: {}", message.from, message.text);
///         handle.command(Command::Send { room: message.room, text }).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    flags: Vec<Flag>,
    invite: Option<Invite>,
    passphrase: Option<Passphrase>,
}

impl Builder {
    fn set(mut self, key: Key, flag: &'static str, value: Value) -> Self {
        self.flags.push(Flag { key, flag, value });
        self
    }

    fn list(
        self,
        key: Key,
        flag: &'static str,
        items: impl IntoIterator<Item: Into<String>>,
    ) -> Self {
        let items = items.into_iter().map(Into::into).collect();
        self.set(key, flag, Value::List(items))
    }

    /// The name to be known by.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(Key::Name, "Builder::name", Value::Text(name.into()))
    }

    /// Where the member keeps its keys and messages; one process a home.
    pub fn home(self, path: impl Into<PathBuf>) -> Self {
        let path: PathBuf = path.into();
        self.set(Key::HomeMember, "Builder::home", text(&path))
    }

    /// Where to listen: `host:port` or multiaddrs.
    pub fn listen(self, addresses: impl IntoIterator<Item: Into<String>>) -> Self {
        self.list(Key::ListenMember, "Builder::listen", addresses)
    }

    /// Where the bootstrap answers.
    pub fn bootstrap(self, addresses: impl IntoIterator<Item: Into<String>>) -> Self {
        self.list(Key::Bootstrap, "Builder::bootstrap", addresses)
    }

    /// Where the key authority answers.
    pub fn keyauth(self, address: impl Into<String>) -> Self {
        self.set(Key::Keyauth, "Builder::keyauth", Value::Text(address.into()))
    }

    /// The authority to believe: a PEM file or a fingerprint. One on another machine that was never
    /// seen before is believed only if it is named here, for there is nobody to ask.
    pub fn authority(self, pin: impl Into<String>) -> Self {
        self.set(Key::Authority, "Builder::authority", Value::Text(pin.into()))
    }

    /// Whether to host bootstrap and key authority in this process while nobody else does.
    pub fn embedded(self, is_on: bool) -> Self {
        self.set(Key::Embedded, "Builder::embedded", Value::Switch(is_on))
    }

    /// Where hosted roles keep their state.
    pub fn embedded_home(self, path: impl AsRef<Path>) -> Self {
        let path = text(path.as_ref());
        self.set(Key::EmbeddedHome, "Builder::embedded_home", path)
    }

    /// Whether to find members on the local network.
    pub fn mdns(self, is_on: bool) -> Self {
        self.set(Key::Mdns, "Builder::mdns", Value::Switch(is_on))
    }

    /// Comes in by an invite. What it says of addresses and authority counts unless said otherwise.
    pub fn invite(mut self, invite: Invite) -> Self {
        self.invite = Some(invite);
        self
    }

    /// What the home is under, or will be if it is new.
    pub fn passphrase(mut self, passphrase: Passphrase) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Starts the member, within a tokio runtime; returns once its home is open and it listens.
    /// [`Handle::ready`] waits until it is in. It leaves when asked to.
    ///
    /// # Refusals
    /// Settings that are wrong; whatever keeps the home, the store or the sockets from opening.
    pub async fn start(self) -> Result<Handle, Refused> {
        let mut flags = self.invite.as_ref().map(Invite::flags).unwrap_or_default();
        flags.extend(self.flags);
        let places = Places { config: None, ..Places::of_this_user() };
        let sources = Sources { file: None, env: Vec::new(), flags, places };
        let config = Config::load(RoleKind::Member, &sources)?;
        let role = Role::Member {
            name: config.name.clone(),
            can_ask: false,
            invite: self.invite,
            passphrase: self.passphrase,
        };
        let mut node = Node::start(role, config).await?;
        let handle = node.handle();
        // There is no main face, so nobody to hold the member back.
        tokio::spawn(async move { while node.notice().await.is_some() {} });
        Ok(handle)
    }
}

fn text(path: &Path) -> Value {
    Value::Text(path.display().to_string())
}
