//! The flags of what one orders the authority, and asks of one's identity and settings.
//! Owns: their words, and the examples.
//! Must not know: what they do.
//! Invariants: every one begins with examples of itself.
//! Start reading at: [`KeyauthOrder`].

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::secret::Change;

/// Orders to a key authority.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyauthOrder {
    /// Print the register
    #[command(before_help = "Examples:\n  p2pgroup keyauth list\n  p2pgroup keyauth list --json")]
    List,
    /// Certify a name that waits
    #[command(before_help = "Examples:\n  p2pgroup keyauth approve bob")]
    Approve {
        /// The name
        name: String,
    },
    /// Withdraw a certificate
    #[command(before_help = "Examples:\n  p2pgroup keyauth revoke bob --reason \"lost laptop\"")]
    Revoke {
        /// The name
        name: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Let a member make invites, and approve those who wait
    #[command(
        before_help = "Examples:\n  p2pgroup keyauth allow alice\n  p2pgroup keyauth allow alice invites"
    )]
    Allow {
        /// The name
        name: String,
        /// What: invites, approvals
        #[arg(value_name = "RIGHT", default_values = ["invites", "approvals"],
              value_parser = ["invites", "approvals"])]
        rights: Vec<String>,
    },
    /// Let a member order nothing here any more
    #[command(before_help = "Examples:\n  p2pgroup keyauth disallow alice")]
    Disallow {
        /// The name
        name: String,
    },
    /// Write the authority's certificate as PEM
    #[command(before_help = "Examples:\n  p2pgroup keyauth export authority.pem")]
    Export {
        /// Where to
        file: PathBuf,
    },
}

/// What of one's identity.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum IdVerb {
    /// Write one's own certificate as PEM
    #[command(
        before_help = "Examples:\n  p2pgroup id export alice.pem\n  p2pgroup id export alice.pem --home ~/p2p/alice"
    )]
    Export {
        /// Where to
        file: PathBuf,
    },
    /// Put the home under a passphrase, change it or remove it; no process may run on the home.
    ///
    /// Keys and messages are then no good to whoever takes the disk. A passphrase that is lost
    /// cannot be had back.
    #[command(
        before_help = "Examples:\n  p2pgroup id passphrase\n  p2pgroup id passphrase --home ~/p2p/alice"
    )]
    Passphrase(Change),
}

/// What of the settings.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigVerb {
    /// Print every setting and where it came from
    #[command(
        before_help = "Examples:\n  p2pgroup config show\n  p2pgroup config show --config ./config.yml"
    )]
    Show,
}
