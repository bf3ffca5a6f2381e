//! The tree of commands and flags.
//! Owns: every name on the command line, its help, and which setting it speaks of.
//! Must not know: what happens then.
//! Invariants: a flag that sets something is a setting too, so `config show` knows it.
//! Start reading at: [`Args`].

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::config::{Config, Flag, Key, Places, RoleKind, Sources, Value};
use crate::refusal::Refused;

const EXAMPLES: &str = "\
Examples:
  p2pgroup join --name alice          start a group here, or join the one that is here
  p2pgroup join --name bob            in another terminal: they talk
  p2pgroup bootstrap                  the one known address, on a machine of its own
  p2pgroup keyauth                    the authority over names, on a machine of its own
  p2pgroup join --name carol --bootstrap host:9001 --keyauth host:8999 --no-embedded
  p2pgroup config show                every setting and where it came from";

const AFTER: &str = "\
Exit codes: 0 ok, 1 other, 2 usage, 3 network or I/O, 4 not trusted or not admitted,
7 nothing is running, 130 interrupted twice.

Settings come from config.yml (--config, or p2pgroup/config.yml in your configuration
directory), then from P2PGROUP_* in the environment, then from flags. With --json, stdin and
stdout carry one JSON object a line; the README describes them.";

/// Serverless group chat.
#[derive(Debug, Parser)]
#[command(name = "p2pgroup", version, about = "Group chat with no server that reads or keeps the messages", long_about = None)]
#[command(before_help = EXAMPLES, after_help = AFTER, propagate_version = true)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Flags that every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Globals {
    /// Read settings from this file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep this process's state here
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Speak JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Line mode, also in a terminal
    #[arg(long, global = true)]
    plain: bool,
    /// No notices, only messages and answers
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Log more to stderr; twice or three times for still more
    #[arg(short, long = "verbose", global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN")]
    color: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Join the group, or start it
    #[command(before_help = "\
Examples:
  p2pgroup join --name alice
  p2pgroup join --name bob --bootstrap 192.0.2.1:9001 --keyauth 192.0.2.1:8999 --no-embedded
  echo 'backup done' | p2pgroup join --name cron --quiet
  p2pgroup join --name bot --json")]
    Join(Join),
    /// Run the rendezvous: the one known address
    #[command(before_help = "\
Examples:
  p2pgroup bootstrap
  p2pgroup bootstrap --listen 0.0.0.0:9001 --home /var/lib/p2pgroup/bootstrap")]
    Bootstrap(Bootstrap),
    /// Run the key authority, or give it orders
    #[command(before_help = "\
Examples:
  p2pgroup keyauth
  p2pgroup keyauth --admission approve
  p2pgroup keyauth list
  p2pgroup keyauth approve bob
  p2pgroup keyauth revoke mallory --reason 'left the company'
  p2pgroup keyauth export authority.pem")]
    Keyauth(Keyauth),
    /// One's own identity
    #[command(before_help = "\
Examples:
  p2pgroup id export alice.pem --home DIR")]
    Id {
        /// What of it
        #[command(subcommand)]
        verb: IdVerb,
    },
    /// The settings
    #[command(before_help = "\
Examples:
  p2pgroup config show
  p2pgroup config show --config ./config.yml --json")]
    Config {
        /// What of them
        #[command(subcommand)]
        verb: ConfigVerb,
    },
}

/// Flags of `join`.
#[derive(Debug, clap::Args)]
pub(super) struct Join {
    /// The name to be known by; without it, the one stored in the home
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Listen here: host:port or multiaddr [default: every interface, a free port]
    #[arg(long, value_name = "ADDR", num_args = 1.., action = ArgAction::Append)]
    listen: Vec<String>,
    /// Where the bootstrap answers, or where the embedded one listens [default: 127.0.0.1:9001]
    #[arg(long, value_name = "ADDR", num_args = 1.., action = ArgAction::Append)]
    bootstrap: Vec<String>,
    /// Where the key authority answers, or where the embedded one listens [default: 127.0.0.1:8999]
    #[arg(long, value_name = "ADDR")]
    keyauth: Option<String>,
    /// Trust this authority only: a PEM file or a fingerprint
    #[arg(long, value_name = "FILE|FINGERPRINT")]
    authority: Option<String>,
    /// Never host bootstrap and key authority in this process
    #[arg(long)]
    no_embedded: bool,
}

/// Flags of `bootstrap`.
#[derive(Debug, clap::Args)]
pub(super) struct Bootstrap {
    /// Listen here: host:port or multiaddr [default: every interface, port 9001, TCP and QUIC]
    #[arg(long, value_name = "ADDR", num_args = 1.., action = ArgAction::Append)]
    listen: Vec<String>,
}

/// Flags of `keyauth`.
#[derive(Debug, clap::Args)]
pub(super) struct Keyauth {
    /// Listen here: host:port or multiaddr [default: every interface, port 8999]
    #[arg(long, value_name = "ADDR", num_args = 1.., action = ArgAction::Append)]
    listen: Vec<String>,
    /// Whom to certify: open (whoever asks for a free name) or approve (whom you approve)
    #[arg(long, value_name = "POLICY")]
    admission: Option<String>,
    /// An order instead
    #[command(subcommand)]
    pub(super) order: Option<KeyauthOrder>,
}

/// Orders to a key authority.
#[derive(Debug, Subcommand)]
pub(super) enum KeyauthOrder {
    /// Print the register
    List,
    /// Certify a name that waits
    Approve {
        /// The name
        name: String,
    },
    /// Withdraw a certificate
    Revoke {
        /// The name
        name: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Write the authority's certificate as PEM
    Export {
        /// Where to
        file: PathBuf,
    },
}

/// What of one's identity.
#[derive(Debug, Subcommand)]
pub(super) enum IdVerb {
    /// Write one's own certificate as PEM
    Export {
        /// Where to
        file: PathBuf,
    },
}

/// What of the settings.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Print every setting and where it came from
    Show,
}

impl Args {
    /// The settings for this command line.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(super) fn config(&self) -> Result<Config, Refused> {
        let sources = Sources {
            file: self.globals.config.clone(),
            env: std::env::vars_os().collect(),
            flags: self.flags(),
            places: Places::of_this_user(),
        };
        Config::load(self.role(), &sources)
    }

    fn role(&self) -> RoleKind {
        match self.verb {
            Verb::Bootstrap(_) => RoleKind::Bootstrap,
            Verb::Keyauth(_) => RoleKind::Keyauth,
            Verb::Join(_) | Verb::Id { .. } | Verb::Config { .. } => RoleKind::Member,
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
                if join.no_embedded {
                    flags.push(Key::Embedded, "--no-embedded", Value::Switch(false));
                }
            }
            Verb::Bootstrap(bootstrap) => flags.list(listen, "--listen", &bootstrap.listen),
            Verb::Keyauth(keyauth) => {
                flags.list(listen, "--listen", &keyauth.listen);
                flags.text(Key::Admission, "--admission", keyauth.admission.clone());
            }
            Verb::Id { .. } | Verb::Config { .. } => {}
        }
        flags.0
    }
}

struct Flags(Vec<Flag>);

impl Flags {
    fn push(&mut self, key: Key, flag: &'static str, value: Value) {
        self.0.push(Flag { key, flag, value });
    }
    fn text(&mut self, key: Key, flag: &'static str, text: Option<String>) {
        if let Some(text) = text {
            self.push(key, flag, Value::Text(text));
        }
    }
    fn list(&mut self, key: Key, flag: &'static str, items: &[String]) {
        if !items.is_empty() {
            self.push(key, flag, Value::List(items.to_vec()));
        }
    }
}

impl Globals {
    /// Whether JSON was asked for; it wins over line mode.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether line mode was asked for by name.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(std::iter::once("p2pgroup").chain(line.split(' '))).unwrap()
    }

    fn flag(args: &Args, key: Key) -> Option<Value> {
        args.flags().into_iter().find(|flag| flag.key == key).map(|flag| flag.value)
    }

    #[test]
    fn the_tree_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn flags_that_scripts_rely_on_are_taken_everywhere() {
        for line in [
            "--json join --name alice",
            "join --name alice --json",
            "keyauth list --json --home x --config y --quiet -v --plain",
            "--home x bootstrap --listen 127.0.0.1:1 /ip4/127.0.0.1/tcp/2",
            "keyauth --listen 127.0.0.1:1 --json",
            "id export a.pem --home x",
            "config show --json",
        ] {
            parse(line);
        }
    }

    #[test]
    fn several_addresses_follow_one_flag_or_several() {
        let list =
            |items: &[&str]| Some(Value::List(items.iter().map(|&i| i.to_owned()).collect()));
        let args = parse("join --listen a:1 b:2 --bootstrap c:3 --bootstrap d:4 --no-embedded");
        assert_eq!(flag(&args, Key::ListenMember), list(&["a:1", "b:2"]));
        assert_eq!(flag(&args, Key::Bootstrap), list(&["c:3", "d:4"]));
        assert_eq!(flag(&args, Key::Embedded), Some(Value::Switch(false)));
        assert_eq!(flag(&args, Key::Keyauth), None);
    }

    #[test]
    fn home_and_listen_speak_of_the_role_that_runs() {
        let args = parse("bootstrap --listen a:1 --home x");
        assert_eq!(flag(&args, Key::HomeBootstrap), Some(Value::Text("x".to_owned())));
        assert!(flag(&args, Key::ListenBootstrap).is_some());
        assert_eq!(flag(&args, Key::HomeMember), None);
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
