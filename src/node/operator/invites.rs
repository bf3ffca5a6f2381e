//! Invites as an operator orders them: made, listed, withdrawn.
//! Owns: the voucher's secret while it is put into an invite, and nowhere else.
//! Must not know: the terminal.
//! Invariants: the secret half of a voucher key never reaches the authority, nor any disk.
//! Start reading at: [`create`].

use zeroize::Zeroizing;

use super::Desk;
use crate::config::Config;
use crate::identity::keys::VoucherKey;
use crate::ids::VoucherId;
use crate::node::clock::wall;
use crate::protocol::member::{Reach, invite_view};
pub use crate::protocol::{InviteState, InviteView as InviteRow};
use crate::refusal::{Refusal, Refused};
use crate::time::Millis;
use crate::wire::identity::voucher::{InviteIn, VoucherIn, VoucherRow};
use crate::wire::identity::{AuthorityReply, AuthoritySignedIn, OrderCommand};

/// An invite as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many it admits.
    pub uses: u32,
    /// For how long.
    pub life: Millis,
    /// Whom alone; empty: anybody.
    pub name: String,
    /// Which room it leads to; empty: none.
    pub room: String,
}

/// A new invite.
#[derive(Clone)]
pub struct Created {
    /// What the authority keeps of it.
    pub row: InviteRow,
    /// What to pass on, to one person and by a way that others do not read.
    pub text: Zeroizing<String>,
    /// Whether every address in it is of this machine.
    pub is_local: bool,
}

impl std::fmt::Debug for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Created({:?})", self.row)
    }
}

/// Makes an invite.
///
/// # Refusals
/// As [`super::order`]; [`Refusal::NameTaken`], [`Refusal::NameLooksAlike`], [`Refusal::NameBad`].
pub async fn create(config: &Config, wanted: Wanted) -> Result<Created, Refused> {
    let Wanted { uses, life, name, room } = wanted;
    let mut desk = Desk::open(config).await?;
    let key = VoucherKey::create(&mut desk.rng);
    let order = OrderCommand::Invite { key: key.public(), uses, life, name, room };
    let AuthorityReply::Voucher(signed) = desk.order(order).await? else {
        return Err(Refusal::FrameUnexpected.into());
    };
    let voucher = VoucherIn::decode(&AuthoritySignedIn::decode(&signed)?.body)?;
    if voucher.key != key.public() {
        return Err(Refusal::VoucherBad.into());
    }
    let Reach { keyauth, is_local } = crate::node::start::reach(config);
    let bootstrap = config.bootstrap.clone();
    let row =
        VoucherRow { number: 1, voucher: signed.clone(), revoked_at: None, reason: String::new() };
    let row = shown(row)?;
    let invite = InviteIn { voucher, signed, secret: key.secret(), bootstrap, keyauth };
    Ok(Created { row, text: invite.to_text(), is_local })
}

/// Every invite, in the order they were made.
///
/// # Refusals
/// As [`super::order`].
pub async fn list(config: &Config) -> Result<Vec<InviteRow>, Refused> {
    rows(&mut Desk::open(config).await?).await
}

/// Withdraws the invite whose id starts with `id`, and on wish whoever came in by it.
///
/// # Refusals
/// As [`super::order`]; [`Refusal::VoucherUnknown`].
pub async fn revoke(
    config: &Config,
    id: &str,
    reason: &str,
    with_members: bool,
) -> Result<InviteRow, Refused> {
    let mut desk = Desk::open(config).await?;
    let id = id.to_lowercase();
    let meant: Vec<InviteRow> =
        rows(&mut desk).await?.into_iter().filter(|row| row.id.starts_with(&id)).collect();
    let found = match meant.as_slice() {
        [one] if !id.is_empty() => VoucherId::parse(&one.id),
        [] | [_] => None,
        _ => return Err(Refused::new(Refusal::VoucherUnknown, format!("{id} is of several"))),
    };
    let id = found.ok_or_else(|| Refused::new(Refusal::VoucherUnknown, id))?;
    let reason = reason.to_owned();
    desk.order(OrderCommand::RevokeVoucher { id, reason, with_members }).await?;
    let id = id.to_string();
    let row = rows(&mut desk).await?.into_iter().find(|row| row.id == id);
    row.ok_or_else(|| Refusal::VoucherUnknown.into())
}

async fn rows(desk: &mut Desk) -> Result<Vec<InviteRow>, Refused> {
    let mut rows = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        match desk.order(OrderCommand::Vouchers { from: first }).await? {
            AuthorityReply::Vouchers { rows: page, next } => {
                for row in page {
                    rows.push(shown(row)?);
                }
                from = next;
            }
            _ => return Err(Refusal::FrameUnexpected.into()),
        }
    }
    Ok(rows)
}

fn shown(row: VoucherRow) -> Result<InviteRow, Refused> {
    Ok(invite_view(row, None, wall())?)
}
