//! What an admin orders at the key authority: invites of its own, and who is let in.
//! Owns: orders under way; the secret of a voucher until its invite is made; who waits, as told.
//! Must not know: whether the authority heeds an order.
//! Invariants: the secret half of a voucher key reaches neither the authority nor any disk.
//! Start reading at: [`Member::on_desk`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Context, Member, Reach};
use crate::identity::answer;
use crate::identity::keys::VoucherKey;
use crate::ids::{CommandId, NetworkRole, PeerId, RequestId, VoucherId};
use crate::protocol::{
    Command, InviteState, InviteText, InviteView, Notice, RequestKind, RequestState, RequestView,
    Send,
};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono, Wall};
use crate::wire::identity::voucher::{InviteIn, VoucherIn, VoucherRow};
use crate::wire::identity::{
    AuthorityAsk, AuthorityQuestion, AuthorityReply, AuthoritySignedIn, OrderCommand, OrderIn,
    RegisterRow,
};

/// How often somebody who may approve looks for those who wait.
const LOOK_EVERY: Millis = Millis(20_000);

/// Orders under way.
#[derive(Debug, Default)]
pub(super) struct Desk {
    asked: BTreeMap<RequestId, Asked>,
    /// When to look again for those who wait; `None`: the authority said that it is not for us.
    next_look: Option<Mono>,
    is_looking: bool,
    /// Those who wait and were told.
    told: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Asked {
    question: Bytes,
    /// Who asked; `None`: we look by ourselves.
    command: Option<CommandId>,
    what: What,
}

/// What the answer is for.
enum What {
    Invite(Zeroizing<[u8; 32]>),
    Invites(Vec<VoucherRow>),
    /// First all of them: people write the beginning of an id.
    Find(String, String, Vec<VoucherRow>),
    Revoke(Box<InviteView>),
    Waiting(Vec<RegisterRow>),
    Approve(String),
    Refuse(String),
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invite(_) => "Invite(..)",
            Self::Invites(_) => "Invites",
            Self::Find(..) => "Find",
            Self::Revoke(_) => "Revoke",
            Self::Waiting(_) => "Waiting",
            Self::Approve(_) => "Approve",
            Self::Refuse(_) => "Refuse",
        })
    }
}

/// A row of the authority's account, for people; `used`: how many came in by it, where known.
///
/// # Refusals
/// As [`VoucherRow::body`].
pub fn invite_view(row: VoucherRow, used: Option<usize>, now: Wall) -> Result<InviteView, Refusal> {
    let body = row.body()?;
    let state = match row.revoked_at {
        Some(_) => InviteState::Revoked,
        None if body.expires_at < now => InviteState::Expired,
        None => InviteState::Valid,
    };
    Ok(InviteView {
        id: body.id.to_string(),
        name: body.name,
        room: body.room,
        uses: body.uses,
        used,
        issued_at: body.issued_at,
        expires_at: body.expires_at,
        state,
        revoked_at: row.revoked_at,
        reason: row.reason,
    })
}

impl Member {
    /// An admin orders something at the authority.
    pub(super) fn on_desk(&mut self, id: CommandId, command: Command, cx: &mut Context<'_>) {
        if let Err(refused) = self.try_desk(id, command, cx) {
            cx.fail(id, refused);
        }
    }

    fn try_desk(
        &mut self,
        id: CommandId,
        command: Command,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        // The authority does not know who is an admin: the group does.
        let role = self.own_role();
        if role < NetworkRole::Admin {
            let detail = format!("{} has the role {}", self.name, role.name());
            return Err(Refused::new(Refusal::NotAllowed, detail));
        }
        let (order, what) = match command {
            Command::Invite { uses, life, name, room } => {
                if !room.is_empty() {
                    self.leads_to(&room)?;
                }
                let key = VoucherKey::from_secret(&self.chance.bytes());
                let what = What::Invite(key.secret());
                let order = OrderCommand::Invite { key: key.public(), uses, life, name, room };
                (order, what)
            }
            Command::Invites => (OrderCommand::Vouchers { from: 0 }, What::Invites(Vec::new())),
            Command::RevokeInvite { id, reason } => {
                let what = What::Find(id.to_lowercase(), reason, Vec::new());
                (OrderCommand::Vouchers { from: 0 }, what)
            }
            Command::Requests => (OrderCommand::Waiting { from: 0 }, What::Waiting(Vec::new())),
            Command::Approve { name } => {
                let what = What::Approve(crate::text::nfc(&name));
                (OrderCommand::Approve { name }, what)
            }
            Command::Refuse { name, reason } => {
                let what = What::Refuse(crate::text::nfc(&name));
                (OrderCommand::TurnDown { name, reason }, what)
            }
            _ => return Err(Refusal::CommandBad.into()),
        };
        self.order(Some(id), order, what, cx);
        Ok(())
    }

    fn own_role(&self) -> NetworkRole {
        let roster = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster);
        roster.map_or(NetworkRole::Member, |roster| roster.role_of(&self.me))
    }

    fn order(
        &mut self,
        command: Option<CommandId>,
        order: OrderCommand,
        what: What,
        cx: &mut Context<'_>,
    ) {
        let Some(network) = self.authority.as_ref().map(|authority| authority.network) else {
            return;
        };
        let nonce: [u8; 16] = self.chance.bytes();
        let order = OrderIn { network, at: cx.now.wall, nonce, command: order }.encode();
        let question = AuthorityQuestion::Entrusted { order };
        let bytes = AuthorityAsk { nonce, question }.encode();
        let id = self.joining.next_request();
        self.desk.asked.insert(id, Asked { question: bytes.clone(), command, what });
        let addresses = self.setup.keyauth.clone();
        cx.actions.sends.push(Send::Ask { id, peer: None, addresses, bytes });
    }

    /// The authority's answer; whether it is to an order from here.
    pub(super) fn take_desk_answer(
        &mut self,
        id: RequestId,
        result: &Result<(PeerId, Bytes), String>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(asked) = self.desk.asked.remove(&id) else {
            return false;
        };
        let command = asked.command;
        let taken = match result {
            Ok((_, bytes)) => self.take_desk_reply(asked, bytes, cx),
            Err(why) => {
                let at = self.setup.keyauth.join(", ");
                Err(Refused::new(Refusal::AuthoritySilent, format!("{at}: {why}")))
            }
        };
        if let Err(refused) = taken {
            match command {
                Some(command) => cx.fail(command, refused),
                // Whoever is entrusted later is so from its next start on, or when it asks.
                None if refused.refusal == Refusal::NotAllowed => self.desk.next_look = None,
                None => tracing::debug!(%refused, "nobody says who waits"),
            }
        }
        true
    }

    fn take_desk_reply(
        &mut self,
        asked: Asked,
        bytes: &Bytes,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let authority = self.authority.as_ref().ok_or(Refusal::AuthorityUnknown)?;
        let reply = answer::open(&*self.proofs, authority, &asked.question, bytes)?;
        let command = asked.command;
        match (asked.what, reply) {
            (What::Invite(secret), AuthorityReply::Voucher(signed)) => {
                self.made_invite(command, secret, signed, cx)
            }
            (What::Invites(mut rows), AuthorityReply::Vouchers { rows: page, next }) => {
                rows.extend(page);
                if let Some(from) = next {
                    self.order(command, OrderCommand::Vouchers { from }, What::Invites(rows), cx);
                } else if let Some(command) = command {
                    let views = rows.into_iter().map(|row| self.view_of_invite(row, cx.now.wall));
                    let invites = views.collect::<Result<_, _>>()?;
                    cx.notice(Notice::Invites { command, invites });
                }
                Ok(())
            }
            (What::Find(id, reason, mut rows), AuthorityReply::Vouchers { rows: page, next }) => {
                rows.extend(page);
                if let Some(from) = next {
                    let what = What::Find(id, reason, rows);
                    self.order(command, OrderCommand::Vouchers { from }, what, cx);
                    return Ok(());
                }
                self.revoke_found(command, &id, reason, rows, cx)
            }
            (What::Revoke(invite), AuthorityReply::Done(_)) => {
                cx.notice(Notice::Invite { command, invite, text: None });
                Ok(())
            }
            (What::Waiting(mut rows), AuthorityReply::Rows { rows: page, next }) => {
                rows.extend(page);
                match next {
                    Some(from) => {
                        let what = What::Waiting(rows);
                        self.order(command, OrderCommand::Waiting { from }, what, cx);
                    }
                    None => self.tell_waiting_room(command, rows, cx),
                }
                Ok(())
            }
            (What::Approve(name), AuthorityReply::Done(_)) => {
                self.settled_request(command, name, RequestState::Approved, cx);
                Ok(())
            }
            (What::Refuse(name), AuthorityReply::Done(_)) => {
                self.settled_request(command, name, RequestState::Refused, cx);
                Ok(())
            }
            _ => Err(Refusal::FrameUnexpected.into()),
        }
    }

    fn view_of_invite(&self, row: VoucherRow, now: Wall) -> Result<InviteView, Refusal> {
        let id = row.body()?.id;
        let roster = self.ledger.as_ref().map(crate::protocol::ledger::Ledger::roster);
        invite_view(row, roster.map(|roster| roster.uses_of(&id)), now)
    }

    fn made_invite(
        &mut self,
        command: Option<CommandId>,
        secret: Zeroizing<[u8; 32]>,
        signed: Bytes,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let voucher = VoucherIn::decode(&AuthoritySignedIn::decode(&signed)?.body)?;
        if voucher.key != VoucherKey::from_secret(&secret).public() {
            return Err(Refusal::VoucherBad.into());
        }
        let (revoked_at, reason) = (None, String::new());
        let row = VoucherRow { number: 1, voucher: signed.clone(), revoked_at, reason };
        if !voucher.room.is_empty() {
            let room = self.leads_to(&voucher.room)?;
            self.note_leading(voucher.id, room, voucher.expires_at, cx);
        }
        let invite = self.view_of_invite(row, cx.now.wall)?;
        let bootstrap = self.setup.bootstrap.clone();
        let Reach { keyauth, is_local } = self.setup.reach.clone();
        let text = InviteIn { voucher, signed, secret, bootstrap, keyauth }.to_text();
        let text = Some(InviteText { text, is_local });
        cx.notice(Notice::Invite { command, invite: Box::new(invite), text });
        Ok(())
    }

    fn revoke_found(
        &mut self,
        command: Option<CommandId>,
        id: &str,
        reason: String,
        rows: Vec<VoucherRow>,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let views = rows.into_iter().map(|row| self.view_of_invite(row, cx.now.wall));
        let views: Vec<InviteView> = views.collect::<Result<_, _>>()?;
        let mut meant = views.into_iter().filter(|it| !id.is_empty() && it.id.starts_with(id));
        let unknown = |what: String| Refused::new(Refusal::VoucherUnknown, what);
        let found = meant.next().ok_or_else(|| unknown(id.to_owned()))?;
        if meant.next().is_some() {
            return Err(unknown(format!("{id} is of several")));
        }
        let voucher = VoucherId::parse(&found.id).ok_or(Refusal::VoucherUnknown)?;
        let invite = InviteView {
            state: InviteState::Revoked,
            revoked_at: Some(found.revoked_at.unwrap_or(cx.now.wall)),
            reason: reason.clone(),
            ..found
        };
        let order = OrderCommand::RevokeVoucher { id: voucher, reason, with_members: false };
        self.order(command, order, What::Revoke(Box::new(invite)), cx);
        Ok(())
    }

    fn tell_waiting_room(
        &mut self,
        command: Option<CommandId>,
        rows: Vec<RegisterRow>,
        cx: &mut Context<'_>,
    ) {
        let request = |row: RegisterRow| RequestView {
            name: row.name,
            peer: Some(row.peer),
            asked_at: Some(row.asked_at),
            state: RequestState::Waiting,
            kind: RequestKind::Admission,
        };
        let requests: Vec<RequestView> = rows.into_iter().map(request).collect();
        let waiting: BTreeSet<PeerId> = requests.iter().filter_map(|it| it.peer).collect();
        let told = std::mem::replace(&mut self.desk.told, waiting);
        match command {
            Some(command) => {
                self.desk.next_look.get_or_insert(cx.now.mono.after(LOOK_EVERY));
                cx.notice(Notice::Requests { command, requests });
            }
            None => {
                let is_news = |it: &RequestView| it.peer.is_some_and(|peer| !told.contains(&peer));
                for request in requests.into_iter().filter(is_news) {
                    cx.notice(Notice::Request { command: None, request });
                }
            }
        }
    }

    fn settled_request(
        &self,
        command: Option<CommandId>,
        name: String,
        state: RequestState,
        cx: &mut Context<'_>,
    ) {
        let kind = RequestKind::Admission;
        let request = RequestView { name, peer: None, asked_at: None, state, kind };
        cx.notice(Notice::Request { command, request });
    }

    /// An admin looks for those who wait from time to time, if the authority lets it.
    pub(super) fn look_who_waits(&mut self, cx: &mut Context<'_>) {
        if !self.joining.is_announced() || self.own_role() < NetworkRole::Admin {
            // From the next time on that it is one.
            self.desk.is_looking = false;
            return;
        }
        if !std::mem::replace(&mut self.desk.is_looking, true) {
            self.desk.next_look = Some(cx.now.mono);
        }
        let Some(next) = self.desk.next_look else {
            return;
        };
        if cx.now.mono < next {
            return cx.actions.wake_by(Some(next));
        }
        self.desk.next_look = Some(cx.now.mono.after(LOOK_EVERY));
        cx.actions.wake_by(self.desk.next_look);
        self.order(None, OrderCommand::Waiting { from: 0 }, What::Waiting(Vec::new()), cx);
    }
}
