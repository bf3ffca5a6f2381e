//! Commands asked of the member that runs on a home, and what is printed of the program itself.
//! Owns: their names and flags.
//! Must not know: how they are asked.
//! Invariants: as in `args.rs`.
//! Start reading at: [`LocalVerb`].

use std::path::PathBuf;

use clap::Subcommand;

use super::settings::Flags;
use super::{Named, Whom};
use crate::config::Key;
use crate::time::Millis;

/// What to ask a running member.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LocalVerb {
    /// Send a message by the member that runs here.
    ///
    /// Prints the message's id once it is stored. With --wait it ends when the members it goes to
    /// said that they hold it, or after --timeout with exit code 6: then it is stored and queued.
    #[command(before_help = "\
Examples:
  p2pgroup send 'backup done' --name alice
  p2pgroup send '#ops' 'deploy starts' --wait all --timeout 30s --name alice
  p2pgroup send @bob 'lunch?' --name alice
  p2pgroup send '#ops' 'the door code is 1234' --expires 10m --name alice
  p2pgroup send '#ops' --file backup.log --wait all --timeout 5m --name alice
  p2pgroup send @bob --file keys.txt --expires 1d --name alice
  df -h | p2pgroup send '#ops' - --name alice
  tail -f app.log | p2pgroup send '#log' - --lines --name alice")]
    Send {
        /// By whom
        #[command(flatten)]
        whom: Whom,
        /// The room (#ops, or @bob for a member alone; without it #main) and the text; - is stdin
        #[arg(required_unless_present = "file", num_args = 1..=2, value_name = "[ROOM] TEXT")]
        what: Vec<String>,
        /// A file in place of the text; the members of the room fetch it from here and each other
        #[arg(long, value_name = "FILE", conflicts_with = "lines")]
        file: Option<PathBuf>,
        /// Each line of stdin is a message, sent as soon as it is there; else all of it is one
        #[arg(long)]
        lines: bool,
        /// After this time the message is gone on every member, and a file can be had from nobody:
        /// 90s, 10m, 24h or 7d
        #[arg(long, value_name = "TIME", value_parser = life)]
        expires: Option<String>,
        /// Until when to wait
        #[arg(long, value_enum, default_value = "stored", value_name = "FOR")]
        wait: Wait,
        /// How long to wait at most, once all is handed over and a file is read: 500ms, 10s, 5m
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = short)]
        timeout: Millis,
    },
    /// Print what is said from now on, or from a cursor on; until interrupted.
    ///
    /// One message a line: time, room, author and text with tabs between them; with --json the
    /// events, and in every message its cursor. Whoever comes again with --since gets everything
    /// after it once, in the order it arrived here.
    #[command(before_help = "\
Examples:
  p2pgroup tail --name alice
  p2pgroup tail --json --since 0 --name alice | jq -r .text
  p2pgroup tail --json --since 1204 --name alice")]
    Tail {
        /// Whose
        #[command(flatten)]
        whom: Whom,
        /// After this cursor; 0 is before everything [default: what is new]
        #[arg(long, value_name = "CURSOR")]
        since: Option<u64>,
        /// Of this room alone
        #[arg(long, value_name = "ROOM")]
        room: Option<String>,
    },
    /// Who belongs, and where they stand
    #[command(before_help = "\
Examples:
  p2pgroup members --name alice
  p2pgroup members --json --home DIR")]
    Members(Whom),
    /// The rooms one is in, and those one may join
    #[command(before_help = "\
Examples:
  p2pgroup rooms --name alice")]
    Rooms(Whom),
    /// How a room stands, or what of it to change: as /room in a member's terminal.
    #[command(before_help = "\
Examples:
  p2pgroup room '#ops' --name alice
  p2pgroup room create ops free 'what breaks' --name alice
  p2pgroup room '#ops' invite bob admin --name alice
  p2pgroup room '#ops' keep 30 --name alice")]
    Room {
        /// Whose
        #[command(flatten)]
        whom: Whom,
        /// As after /room; p2pgroup do '/help room' tells all
        #[arg(value_name = "WHAT")]
        what: Vec<String>,
    },
    /// Leader, quorum, voters, links, queues
    #[command(before_help = "\
Examples:
  p2pgroup status --name alice
  p2pgroup status --json --name alice | jq .quorum")]
    Status(Whom),
    /// Who leads, in which term
    #[command(before_help = "\
Examples:
  p2pgroup leader --name alice")]
    Leader(Whom),
    /// Who is linked with whom, directly or by a relay, with round-trip times
    ///
    /// Of links between two others it says who told of them. Members that are linked are asked, and
    /// waited for up to a second.
    #[command(before_help = "\
Examples:
  p2pgroup links --name alice
  p2pgroup links --json --name alice | jq '.others[] | [.from, .name, .rtt_ms]'")]
    Links(Whom),
    /// Any command that is typed in a member's terminal
    #[command(before_help = "\
Examples:
  p2pgroup do /receipts --name alice
  p2pgroup do '/kick #ops mallory spam' --name alice
  p2pgroup do '/info 3f9a' --name alice
  p2pgroup do /help --name alice
  p2pgroup do /exit --name alice")]
    Do {
        /// By whom
        #[command(flatten)]
        whom: Whom,
        /// The command with its slash
        line: String,
    },
    /// Speak JSON-RPC 2.0 with the member that runs, over stdin and stdout; docs/rpc.md tells how.
    ///
    /// One request a line; methods are the commands of --json, as roomCreate. Ends with its input,
    /// once all is answered.
    #[command(before_help = "\
Examples:
  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}' | p2pgroup rpc --name alice")]
    Rpc(Whom),
    /// What is reachable and how, what is not, and what to do about it
    #[command(before_help = "\
Examples:
  p2pgroup doctor --name alice
  p2pgroup doctor --json --home DIR")]
    Doctor(Whom),
    /// Tokens for the local API of a member (join --api)
    #[command(before_help = "\
Examples:
  p2pgroup join --name alice --daemon --api 127.0.0.1:8700
  p2pgroup api token --scope send --label backups --name alice
  p2pgroup api hook '#ops' --label ci --name alice
  p2pgroup api list --name alice
  p2pgroup api revoke backups --name alice")]
    Api {
        /// What to do
        #[command(subcommand)]
        verb: ApiVerb,
    },
    /// Print the address of the web page of a running member (join --api), its token included
    ///
    /// To be opened in a browser on this machine. The token is in the part after #, which browsers
    /// send to nobody; the page takes it out of the address bar.
    #[command(before_help = "\
Examples:
  p2pgroup join --name alice --daemon --api 127.0.0.1:8700
  xdg-open $(p2pgroup web --name alice)
  p2pgroup web --scope read --name alice")]
    Web {
        /// Whose
        #[command(flatten)]
        whom: Whom,
        /// What the page may do: read, send or admin; a token for less than all is made anew
        #[arg(long, value_parser = ["read", "send", "admin"], default_value = "admin")]
        scope: String,
    },
    /// Print completions for a shell
    #[command(before_help = "\
Examples:
  p2pgroup completions bash > ~/.local/share/bash-completion/completions/p2pgroup
  p2pgroup completions zsh > ~/.zfunc/_p2pgroup
  p2pgroup completions fish > ~/.config/fish/completions/p2pgroup.fish")]
    Completions {
        /// Which
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all pages into a directory
    #[command(before_help = "\
Examples:
  p2pgroup man | man -l -
  p2pgroup man ~/.local/share/man/man1")]
    Man {
        /// Where to
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// What of the local API.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ApiVerb {
    /// Make a token and print it; it is shown only now
    #[command(
        before_help = "Examples:\n  p2pgroup api token --name alice --scope send\n  p2pgroup api token --name alice --label grafana"
    )]
    Token {
        /// Whose
        #[command(flatten)]
        whom: Whom,
        /// What it is good for: read, send or admin
        #[arg(long, value_parser = ["read", "send", "admin"], default_value = "read")]
        scope: String,
        /// What to call it in api list; api revoke takes it, too
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
    },
    /// Make the path of an incoming webhook, which sends into one room, and print it
    #[command(
        before_help = "Examples:\n  p2pgroup api hook --name alice main\n  p2pgroup api hook --name alice '#ops' --label ci"
    )]
    Hook {
        /// Whose
        #[command(flatten)]
        whose: Named,
        /// The room, which that member is in
        room: String,
        /// What to call it in api list; api revoke takes it, too
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
    },
    /// Print all tokens and hooks: id, what it is good for, room, when it was made, label; never itself
    #[command(
        before_help = "Examples:\n  p2pgroup api list --name alice\n  p2pgroup api list --json --home DIR"
    )]
    List(Whom),
    /// Take a token or a hook back: it is worth nothing from now on
    #[command(
        before_help = "Examples:\n  p2pgroup api revoke grafana --name alice\n  p2pgroup api revoke 3fa94c01b2d7 --name alice\n  p2pgroup api revoke first --name alice"
    )]
    Revoke {
        /// Whose
        #[command(flatten)]
        whom: Whom,
        /// Its label, its id or the first characters of that; first: the one in api.token, of which
        /// the next start makes another
        #[arg(value_name = "LABEL|ID")]
        id: String,
    },
}

/// Until when a sender waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Wait {
    /// It is on this machine's disk.
    Stored,
    /// Another member holds it.
    One,
    /// All who are in the room hold it.
    All,
}

/// How long a message lives, as it was written.
fn life(text: &str) -> Result<String, String> {
    super::span(text).map(|_| text.to_owned())
}

/// A wait as people write it.
fn short(text: &str) -> Result<Millis, String> {
    let wrong = || format!("expected a number with ms, s or m, such as 10s; found \"{text}\"");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => match (text.strip_suffix('s'), text.strip_suffix('m')) {
            (Some(number), _) => (number, 1_000),
            (None, Some(number)) => (number, 60_000),
            (None, None) => return Err(wrong()),
        },
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let wait = number.checked_mul(unit).filter(|millis| *millis <= 24 * 3_600_000);
    wait.map(Millis).ok_or_else(|| "a wait lasts a day at most".to_owned())
}

impl LocalVerb {
    pub(super) fn flags(&self, flags: &mut Flags) {
        let whom = match self {
            Self::Send { whom, .. }
            | Self::Tail { whom, .. }
            | Self::Room { whom, .. }
            | Self::Do { whom, .. }
            | Self::Web { whom, .. }
            | Self::Members(whom)
            | Self::Rooms(whom)
            | Self::Status(whom)
            | Self::Leader(whom)
            | Self::Links(whom)
            | Self::Rpc(whom)
            | Self::Doctor(whom) => whom,
            Self::Api { verb: ApiVerb::Hook { whose, .. } } => {
                return flags.text(Key::Name, "--name", whose.name.clone());
            }
            Self::Api {
                verb:
                    ApiVerb::Token { whom, .. } | ApiVerb::Revoke { whom, .. } | ApiVerb::List(whom),
            } => whom,
            Self::Completions { .. } | Self::Man { .. } => return,
        };
        flags.text(Key::Name, "--name", whom.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_as_people_write_it() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("0s", 0)] {
            assert_eq!(short(text), Ok(Millis(millis)), "{text}");
        }
        for wrong in ["", "s", "10", "10 s", "-1s", "1.5s", "1h", "2000m", "99999999999999999999s"]
        {
            assert!(short(wrong).is_err(), "{wrong}");
        }
    }
}
