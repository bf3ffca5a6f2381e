//! What a command line sets.
//! Owns: which setting a flag speaks of, for which role, and where else settings come from.
//! Must not know: what a setting does.
//! Invariants: a flag that is not there sets nothing.
//! Start reading at: [`Args::config`].

use super::{Args, IdVerb, InviteVerb, Verb};
use crate::cli::backup::BackupVerb;
use crate::config::{Config, Flag, INVITE_ENV, Key, Places, RoleKind, Sources, Value};
use crate::node::Invite;
use crate::refusal::{Refusal, Refused};

impl Args {
    /// The settings for this command line.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(in crate::cli) fn config(&self, invite: Option<&Invite>) -> Result<Config, Refused> {
        let mut flags = invite.map(Invite::flags).unwrap_or_default();
        flags.extend(self.flags());
        let sources = Sources {
            file: self.globals.config.clone(),
            env: std::env::vars_os().collect(),
            flags,
            places: Places::of_this_user(),
        };
        Config::load(self.role(), &sources)
    }

    /// The invite to come in by, from a flag, a file or the environment.
    ///
    /// # Errors
    /// [`Refusal::InviteBad`], [`Refusal::ConfigUnreadable`]; [`Refusal::VoucherName`] where
    /// another name was given than the invite is for.
    pub(in crate::cli) fn invite(&self) -> Result<Option<Invite>, Refused> {
        let Verb::Join(join) = &self.verb else {
            return Ok(None);
        };
        let invite = match (&join.invite, &join.invite_file) {
            (Some(text), _) => Invite::read(text)?,
            (None, Some(path)) => Invite::read_file(path)?,
            (None, None) => match std::env::var_os(INVITE_ENV) {
                Some(text) if !text.is_empty() => Invite::read(&text.to_string_lossy())?,
                _ => return Ok(None),
            },
        };
        match join.name.as_deref().map(crate::text::nfc) {
            Some(name) if !invite.name().is_empty() && name != invite.name() => {
                let detail = format!("it is for {}, not for {name}", invite.name());
                Err(Refused::new(Refusal::VoucherName, detail))
            }
            _ => Ok(Some(invite)),
        }
    }

    fn role(&self) -> RoleKind {
        match &self.verb {
            Verb::Bootstrap(_) => RoleKind::Bootstrap,
            Verb::Invite { verb } if verb.by().is_some() => RoleKind::Member,
            Verb::Keyauth(_) | Verb::Invite { .. } => RoleKind::Keyauth,
            _ => RoleKind::Member,
        }
    }

    fn flags(&self) -> Vec<Flag> {
        let mut flags = Flags(Vec::new());
        let globals = &self.globals;
        let (home, listen) = match self.role() {
            RoleKind::Member => (Key::HomeMember, Key::ListenMember),
            RoleKind::Bootstrap => (Key::HomeBootstrap, Key::ListenBootstrap),
            RoleKind::Keyauth => (Key::HomeKeyauth, Key::ListenKeyauth),
        };
        let path = globals.home.as_ref().map(|home| home.to_string_lossy().into_owned());
        flags.text(home, "--home", path);
        flags.text(Key::Color, "--color", globals.color.clone());
        let log = match globals.verbose {
            0 if globals.quiet => Some(("--quiet", "error")),
            0 => None,
            1 => Some(("-v", "warn,p2pgroup=info")),
            2 => Some(("-vv", "info,p2pgroup=debug")),
            _ => Some(("-vvv", "debug,p2pgroup=trace")),
        };
        if let Some((flag, level)) = log {
            flags.text(Key::Log, flag, Some(level.to_owned()));
        }
        match &self.verb {
            Verb::Join(join) => {
                flags.text(Key::Name, "--name", join.name.clone());
                flags.list(listen, "--listen", &join.listen);
                flags.list(Key::Bootstrap, "--bootstrap", &join.bootstrap);
                flags.text(Key::Keyauth, "--keyauth", join.keyauth.clone());
                flags.text(Key::Authority, "--authority", join.authority.clone());
                flags.text(Key::Api, "--api", join.api.clone());
                if join.no_embedded {
                    flags.push(Key::Embedded, "--no-embedded", Value::Switch(false));
                }
                if join.keep {
                    flags.push(Key::Keep, "--keep", Value::Switch(true));
                }
            }
            Verb::Local(verb) => verb.flags(&mut flags),
            Verb::Bootstrap(bootstrap) => flags.list(listen, "--listen", &bootstrap.listen),
            Verb::Keyauth(keyauth) => {
                flags.list(listen, "--listen", &keyauth.listen);
                flags.text(Key::Admission, "--admission", keyauth.admission.clone());
            }
            Verb::History { whose, .. } => {
                flags.text(Key::Name, "--name", whose.named.name.clone());
            }
            Verb::Search { whose, .. } | Verb::Export { whose, .. } => {
                flags.text(Key::Name, "--name", whose.named.name.clone());
            }
            Verb::Verify { member, .. } | Verb::Audit { member } => {
                flags.text(Key::Name, "--name", member.name.clone());
            }
            Verb::Invite { verb } if verb.by().is_some() => {
                flags.text(Key::Name, "--by", verb.by().map(str::to_owned));
            }
            Verb::Invite { verb: InviteVerb::Create { bootstrap, keyauth, .. } } => {
                flags.list(Key::Bootstrap, "--bootstrap", bootstrap);
                flags.text(Key::Keyauth, "--keyauth", keyauth.clone());
            }
            Verb::Id { verb: IdVerb::Passphrase(change) } => {
                flags.text(Key::Name, "--name", change.named.name.clone());
            }
            Verb::Backup { verb: BackupVerb::Create { member, .. } } => {
                flags.text(Key::Name, "--name", member.name.clone());
            }
            Verb::Backup { verb: BackupVerb::Restore { name, .. } } => {
                flags.text(Key::Name, "--name", name.clone());
            }
            Verb::Demo
            | Verb::Invite { .. }
            | Verb::Id { .. }
            | Verb::Backup { .. }
            | Verb::Config { .. } => {}
        }
        flags.0
    }
}

/// What is set, flag by flag.
pub(super) struct Flags(Vec<Flag>);

impl Flags {
    pub(super) fn push(&mut self, key: Key, flag: &'static str, value: Value) {
        self.0.push(Flag { key, flag, value });
    }
    pub(super) fn text(&mut self, key: Key, flag: &'static str, text: Option<String>) {
        if let Some(text) = text {
            self.push(key, flag, Value::Text(text));
        }
    }
    pub(super) fn list(&mut self, key: Key, flag: &'static str, items: &[String]) {
        if !items.is_empty() {
            self.push(key, flag, Value::List(items.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(std::iter::once("p2pgroup").chain(line.split(' '))).unwrap()
    }

    fn flag(args: &Args, key: Key) -> Option<Value> {
        args.flags().into_iter().find(|flag| flag.key == key).map(|flag| flag.value)
    }

    #[test]
    fn several_addresses_follow_one_flag_or_several() {
        let list =
            |items: &[&str]| Some(Value::List(items.iter().map(|&i| i.to_owned()).collect()));
        let args = parse("join --listen a:1 b:2 --bootstrap c:3 --bootstrap d:4 --no-embedded");
        assert_eq!(flag(&args, Key::ListenMember), list(&["a:1", "b:2"]));
        assert_eq!(flag(&args, Key::Bootstrap), list(&["c:3", "d:4"]));
        assert_eq!(flag(&args, Key::Embedded), Some(Value::Switch(false)));
        assert_eq!((flag(&args, Key::Keyauth), flag(&args, Key::Keep)), (None, None));
        assert_eq!(flag(&parse("join --keep"), Key::Keep), Some(Value::Switch(true)));
    }

    #[test]
    fn home_and_listen_speak_of_the_role_that_runs() {
        let args = parse("bootstrap --listen a:1 --home x");
        assert_eq!(flag(&args, Key::HomeBootstrap), Some(Value::Text("x".to_owned())));
        assert!(flag(&args, Key::ListenBootstrap).is_some());
        assert_eq!(flag(&args, Key::HomeMember), None);
    }

    #[test]
    fn an_invite_is_made_with_settings_of_the_authority() {
        let args = parse("invite create --bootstrap a:1 b:2 --keyauth c:3 --home x");
        assert!(flag(&args, Key::Bootstrap).is_some() && flag(&args, Key::Keyauth).is_some());
        assert_eq!(flag(&args, Key::HomeKeyauth), Some(Value::Text("x".to_owned())));
    }

    #[test]
    fn each_v_says_more_and_quiet_says_less() {
        let log = |line: &str| flag(&parse(line), Key::Log);
        assert_eq!(log("join"), None);
        assert_eq!(log("join --quiet"), Some(Value::Text("error".to_owned())));
        assert_eq!(log("join -vv"), Some(Value::Text("info,p2pgroup=debug".to_owned())));
        assert_eq!(log("join -q -v"), Some(Value::Text("warn,p2pgroup=info".to_owned())));
    }
}
