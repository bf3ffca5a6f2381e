//! Commands about invites.
//! Owns: their names and flags, and how a length of time is written.
//! Must not know: how an invite is made.
//! Invariants: as in `args.rs`.
//! Start reading at: [`InviteVerb`].

use clap::{ArgAction, Subcommand};

use crate::limits::{VOUCHER_LIFE_MAX, VOUCHER_ROOM_BYTES_MAX, VOUCHER_USES_MAX};
use crate::time::Millis;

/// What of the invites.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum InviteVerb {
    /// Make one: a line to pass on, and in a terminal a QR code of it.
    ///
    /// The key authority of this machine makes it, running or not. With --by it is the member of that
    /// name that runs here, as /invite create in its terminal: an admin or owner of the network, for
    /// whom the key authority signs it, wherever that runs; it brings whoever comes into the room of
    /// --room.
    #[command(
        before_help = "Examples:\n  p2pgroup invite create --name bob --expires 7d > bob.invite\n  p2pgroup invite create --uses 20 --expires 2h\n  p2pgroup invite create --by alice --room ops"
    )]
    Create {
        /// How many it admits
        #[arg(long, value_name = "N", default_value_t = 1,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(VOUCHER_USES_MAX)))]
        uses: u32,
        /// For how long: 90s, 30m, 24h or 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
        expires: Millis,
        /// Only for whoever takes this name, which is kept free until then
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        /// The room it leads to; only a member's invite (--by) brings somebody into it
        #[arg(long, value_name = "ROOM", default_value = "", value_parser = room)]
        room: String,
        /// By the member of this name that runs here, instead of the key authority
        #[arg(long, value_name = "MEMBER", conflicts_with_all = ["bootstrap", "keyauth"])]
        by: Option<String>,
        /// Where the bootstrap answers, as the invite says it [default: as in the settings]
        #[arg(long, value_name = "ADDR", num_args = 1.., action = ArgAction::Append)]
        bootstrap: Vec<String>,
        /// Where the key authority answers, as the invite says it [default: as in the settings]
        #[arg(long, value_name = "ADDR")]
        keyauth: Option<String>,
    },
    /// Print all that were made; how often each was used, the group knows
    #[command(
        before_help = "Examples:\n  p2pgroup invite list\n  p2pgroup invite list --json\n  p2pgroup invite list --by alice"
    )]
    List {
        /// Those that the member of this name made, which runs here
        #[arg(long, value_name = "MEMBER")]
        by: Option<String>,
    },
    /// Withdraw one
    #[command(
        before_help = "Examples:\n  p2pgroup invite revoke 3fa9\n  p2pgroup invite revoke 3fa9 --with-members --reason leaked"
    )]
    Revoke {
        /// Its id, or the first characters of it
        id: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Remove also whoever came in by it
        #[arg(long)]
        with_members: bool,
        /// One that the member of this name made, which runs here
        #[arg(long, value_name = "MEMBER", conflicts_with = "with_members")]
        by: Option<String>,
    },
}

impl InviteVerb {
    /// The member whose invites they are; `None`: they are the key authority's.
    pub(in crate::cli) fn by(&self) -> Option<&str> {
        let (Self::Create { by, .. } | Self::List { by } | Self::Revoke { by, .. }) = self;
        by.as_deref()
    }
}

/// A length of time as people write it.
pub(in crate::cli) fn span(text: &str) -> Result<Millis, String> {
    let wrong = || format!("expected a number with s, m, h or d, such as 24h; found \"{text}\"");
    let at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(at).ok_or_else(wrong)?;
    let millis: u64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let span = number.checked_mul(millis).map(Millis).ok_or_else(wrong)?;
    if span == Millis(0) || span > VOUCHER_LIFE_MAX {
        return Err("expected a time from 1s to 366d".to_owned());
    }
    Ok(span)
}

pub(in crate::cli) fn room(text: &str) -> Result<String, String> {
    if text.len() > VOUCHER_ROOM_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("a room's name has at most {VOUCHER_ROOM_BYTES_MAX} bytes"));
    }
    Ok(crate::text::nfc(text))
}
