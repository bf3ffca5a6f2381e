//! The tree of commands and flags.
//! Owns: every name on the command line, and its help.
//! Must not know: what happens then.
//! Invariants: a flag that sets something is a setting too, so `config show` knows it.
//! Start reading at: [`Args`].

mod invite;
mod local;
mod orders;
mod settings;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

pub(super) use self::invite::{InviteVerb, room, span};
pub(super) use self::local::{ApiVerb, LocalVerb, Wait};
pub(super) use self::orders::{ConfigVerb, IdVerb, KeyauthOrder};
use super::backup::BackupVerb;
use super::secret::Lock;
use crate::limits::HISTORY_MAX;

const EXAMPLES: &str = "\
Examples:
  p2pgroup demo                       watch a group survive the death of its leader
  p2pgroup join --name alice          start a group here, or join the one that is here
  p2pgroup join --name bob            in another terminal: they talk
  p2pgroup bootstrap                  the one known address, on a machine of its own
  p2pgroup keyauth                    the authority over names, on a machine of its own
  p2pgroup join --name carol --bootstrap host:9001 --keyauth host:8999 --no-embedded
  p2pgroup send '#ops' 'done' --wait all --name bob     by the member that runs
  p2pgroup tail --json --since 0 --name bob            everything once, then what is new
  p2pgroup search 'depl*' --name bob   in what bob has stored, running or not
  p2pgroup verify --name bob          whether all of it is whole and signed
  p2pgroup backup create FILE --name bob
  p2pgroup invite create              one line that brings somebody in, also later
  p2pgroup join --name dave --invite-file FILE
  p2pgroup config show                every setting and where it came from";

const AFTER: &str = "\
Exit codes: 0 ok, 1 other, 2 usage, 3 network or I/O, 4 not trusted or not admitted,
5 too many requests, 6 stored but not delivered in time, 7 nothing is running,
130 interrupted twice.

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
  p2pgroup join --name dave --invite-file invite.txt
  echo 'backup done' | p2pgroup join --name cron --quiet
  p2pgroup join --name bot --json
  p2pgroup join --name box --daemon    goes on without input; p2pgroup do /exit --name box ends it")]
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
  p2pgroup keyauth --admission voucher
  p2pgroup keyauth list
  p2pgroup keyauth approve bob
  p2pgroup keyauth allow bob invites
  p2pgroup keyauth revoke mallory --reason 'left the company'
  p2pgroup keyauth export authority.pem")]
    Keyauth(Keyauth),
    /// Watch a group of five live through the death of its leader.
    ///
    /// Starts a bootstrap, a key authority and five members in this process, on homes that are
    /// removed at the end and on this machine's own addresses; lets them talk, kills the leader,
    /// shows the election, starts it again, shows its catch-up, and ends with the figures: exit code
    /// 0 if nothing was lost, told twice or out of order.
    #[command(before_help = "\
Examples:
  p2pgroup demo
  p2pgroup demo --plain
  p2pgroup demo --json | jq 'select(.step == \"done\").figures'")]
    Demo,
    #[command(flatten)]
    Local(LocalVerb),
    /// Print the newest messages, of a member that runs or of its store
    #[command(before_help = "\
Examples:
  p2pgroup history --name alice --last 50
  p2pgroup history --home DIR --json")]
    History {
        /// Whose store
        #[command(flatten)]
        whose: Whose,
        /// How many messages
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = count)]
        last: usize,
    },
    /// Find messages by their words, newest first, with a member that runs or in its store
    #[command(before_help = "\
Examples:
  p2pgroup search deploy failed --name alice
  p2pgroup search deploy --room ops --name alice
  p2pgroup search 'depl*' --last 5 --json --home DIR")]
    Search {
        /// Whose store
        #[command(flatten)]
        whose: Which,
        /// Words that a message must all hold, in any case; a word may end in *
        #[arg(required = true)]
        words: Vec<String>,
        /// How many messages at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = count)]
        last: usize,
    },
    /// Write all messages of a room or of all rooms out, of a member that runs or of its store
    #[command(before_help = "\
Examples:
  p2pgroup export --name alice --format md --output talk.md
  p2pgroup export --name alice --room ops --format txt
  p2pgroup export --name alice --format jsonl | jq -r .text")]
    Export {
        /// Whose store
        #[command(flatten)]
        whose: Which,
        /// jsonl (exact, one message a line), md or txt
        #[arg(long, value_enum)]
        format: Format,
        /// Write to this file instead of stdout; what was in it is replaced
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check what is stored: with a member that runs against every member it is linked with, else
    /// every chain, hash and signature in its store.
    ///
    /// With the name of another member it shows the safety words of both, as /verify does: whoever
    /// sees the same ones there is who you think. Then ok marks that member as verified.
    #[command(before_help = "\
Examples:
  p2pgroup verify --name alice
  p2pgroup verify --home DIR --json
  p2pgroup verify bob --name alice
  p2pgroup verify bob ok --name alice")]
    Verify {
        /// Another member, to compare safety words with
        #[arg(value_name = "MEMBER")]
        other: Option<String>,
        /// ok: the words are the same, mark that member; undo: take the mark away
        #[arg(value_name = "ok|undo", value_parser = ["ok", "undo"])]
        mark: Option<String>,
        /// Whose store
        #[command(flatten)]
        member: Named,
    },
    /// Print who was admitted and removed, when and under which leader
    #[command(before_help = "\
Examples:
  p2pgroup audit --name alice
  p2pgroup audit --home DIR --json")]
    Audit {
        /// Whose store
        #[command(flatten)]
        member: Named,
    },
    /// Invite somebody: make, list and withdraw invites, of this machine's key authority or a member
    #[command(before_help = "\
Examples:
  p2pgroup invite create
  p2pgroup invite create --by alice --room ops     by the member that runs
  p2pgroup invite create --name bob --expires 7d --bootstrap 192.0.2.1:9001 > bob.invite
  p2pgroup invite create --uses 20 --expires 2h
  p2pgroup invite list
  p2pgroup invite revoke 3f9a --reason 'sent to the wrong person' --with-members")]
    Invite {
        /// What of them
        #[command(subcommand)]
        verb: InviteVerb,
    },
    /// One's own identity
    #[command(before_help = "\
Examples:
  p2pgroup id export alice.pem --home DIR
  p2pgroup id passphrase --name alice
  p2pgroup id passphrase --name alice --passphrase-file OLD --new-passphrase-file NEW")]
    Id {
        /// What of it
        #[command(subcommand)]
        verb: IdVerb,
    },
    /// A member's home in one encrypted file, and back; no process may run on the home
    #[command(before_help = "\
Examples:
  p2pgroup backup create alice.backup --name alice
  p2pgroup backup verify alice.backup
  p2pgroup backup restore alice.backup --home DIR")]
    Backup {
        /// What to do
        #[command(subcommand)]
        verb: BackupVerb,
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
    /// Come in by this invite; it needs nothing else, and the key authority may be off.
    ///
    /// An invite is a secret, and others on this machine may read a command line: better put it
    /// into a file (--invite-file) or into the environment (P2PGROUP_INVITE).
    #[arg(long, value_name = "INVITE", conflicts_with = "invite_file")]
    invite: Option<String>,
    /// Come in by the invite in this file
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,
    // No documentation comment: rustdoc would take the address for a link.
    #[arg(
        long,
        value_name = "ADDR",
        help = "Serve the local API here: 127.0.0.1:PORT, [::1]:PORT or unix:PATH"
    )]
    api: Option<String>,
    /// Take no input and go on without it, until a signal or p2pgroup do /exit ends it
    #[arg(long)]
    pub(super) daemon: bool,
    /// Never host bootstrap and key authority in this process
    #[arg(long)]
    no_embedded: bool,
    /// Keep for those who are away what is said in rooms this member is not in, sealed
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    pub(super) lock: Lock,
}

/// Which running member is asked; --home names it, too.
#[derive(Debug, clap::Args)]
pub(super) struct Whom {
    /// The member of this name on this machine
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Which member's store a command reads; --home names it, too.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The member of this name on this machine
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    pub(super) lock: Lock,
}

/// Which talk a command reads.
#[derive(Debug, clap::Args)]
pub(super) struct Whose {
    #[command(flatten)]
    pub(super) named: Named,
    /// The room
    #[arg(long, value_name = "ROOM", default_value = super::json::MAIN)]
    pub(super) room: String,
}

/// Of which rooms a command reads.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    #[command(flatten)]
    pub(super) named: Named,
    /// The room [default: all rooms one is in]
    #[arg(long, value_name = "ROOM")]
    pub(super) room: Option<String>,
}

/// How messages are written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// One JSON object a message.
    #[default]
    Jsonl,
    /// Markdown.
    Md,
    /// Plain text.
    Txt,
}

impl Format {
    /// As it is typed, and as names of files end.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Md => "md",
            Self::Txt => "txt",
        }
    }

    /// The format of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Jsonl, Self::Md, Self::Txt].into_iter().find(|it| it.name() == name)
    }
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
    /// Whom to certify: open (whoever asks for a free name), approve (whom you approve, and whoever
    /// brings an invite) or voucher (whoever brings an invite)
    #[arg(long, value_name = "POLICY")]
    admission: Option<String>,
    /// An order instead
    #[command(subcommand)]
    pub(super) order: Option<KeyauthOrder>,
}

/// How many messages may be asked for at once.
fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=HISTORY_MAX).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {HISTORY_MAX} is needed"))
}

impl Globals {
    /// Whether line mode was asked for by name.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(std::iter::once("p2pgroup").chain(line.split(' '))).unwrap()
    }

    #[test]
    fn every_command_begins_with_examples_of_itself() {
        fn look(command: &clap::Command, path: &str) {
            let mut subs = command.get_subcommands().peekable();
            let help = command.get_before_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:") && help.contains(path), "{path}: {help}");
            let is_end = subs.peek().is_none();
            let lines: Vec<&str> =
                help.lines().skip(1).filter(|line| is_end && !line.is_empty()).collect();
            for line in lines.iter().filter(|line| line.trim_start().starts_with("p2pgroup")) {
                // What stands behind two spaces is said of it.
                let plain = line.trim().split("  ").next().unwrap();
                let plain = plain.split(['>', '|', ';', '&']).next().unwrap().trim();
                let words = shlex(plain);
                let parsed = <Args as clap::CommandFactory>::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|it| it.to_string()));
            }
            for sub in subs {
                look(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        fn shlex(line: &str) -> Vec<String> {
            let parts = line.split(['"', '\'']).enumerate();
            let words = parts.flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            words.collect()
        }
        look(&<Args as clap::CommandFactory>::command(), "p2pgroup");
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
            "history --name x --last 5 --json",
            "search a b* --home x --last 5 -q",
            "export --format md --output a.md --room main --name x",
            "verify --home x --json",
            "verify bob --name x --json",
            "verify bob undo --name x",
            "audit --name x --json",
            "audit --name x --passphrase-file p",
            "join --name x --passphrase-file p",
            "id passphrase --name x --passphrase-file p --new-passphrase-file q --json",
            "id passphrase --home x --remove",
            "backup create f --name x --passphrase-file p --backup-passphrase-file q",
            "backup verify f --json",
            "backup restore f --home x --json",
        ] {
            parse(line);
        }
    }

    #[test]
    fn an_invite_lasts_as_long_as_people_write() {
        let hour = 3_600_000;
        for (text, millis) in
            [("90s", 90_000), ("30m", hour / 2), ("24h", 24 * hour), ("366d", 366 * 24 * hour)]
        {
            assert_eq!(span(text), Ok(Millis(millis)), "{text}");
        }
        for wrong in
            ["", "h", "24", "24 h", "-1h", "0s", "367d", "1.5h", "9999999999999999999d", "5\u{e9}"]
        {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_an_invite_is_made_with_is_checked_before_anything_is_asked() {
        let refused = |line: &str| {
            Args::try_parse_from(std::iter::once("p2pgroup").chain(line.split(' '))).is_err()
        };
        assert!(!refused("invite create --uses 4096 --expires 7d --name bob --room ops"));
        assert!(refused("invite create --uses 0"));
        assert!(refused("invite create --uses 4097"));
        assert!(refused("invite create --expires soon"));
        assert!(refused(&format!("invite create --room {}", "x".repeat(65))));
        assert!(refused("join --invite a --invite-file b"));
    }
}
