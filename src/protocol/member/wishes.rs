//! What a person here wishes about members: another role, or to be rid of one.
//! Owns: such intents until they are ordered or refused, across restarts too.
//! Must not know: who may wish what (`roster` knows).
//! Invariants: each is answered once when it is asked for, and told once when it is settled.
//! Start reading at: [`Member::on_wish`].
//!
//! ```text
//!  command ──► judged here ──► stored, submitted until ordered ──► told: ordered
//!                 └► a no           └► no majority: told that it waits
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use super::keys::{FIRST_WAIT, LONGEST_WAIT};
use super::{Context, Member};
use crate::ids::{CommandId, IntentId, PeerId};
use crate::limits::{DETAIL_BYTES_MAX, WISHES_MAX};
use crate::protocol::{Command, Notice, Reads, WishState, WishView, Write};
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};
use crate::wire::roster::{IntentIn, Submitted, Wish};

/// Where they are stored, by the intent's id.
const WISHES: &str = "wishes/";
/// Who asked is told after this time that its wish waits.
const PATIENCE: Millis = Millis(2_500);

/// Wishes under way.
#[derive(Debug, Default)]
pub(super) struct Wishes(BTreeMap<IntentId, Open>);

#[derive(Debug)]
struct Open {
    intent: Bytes,
    wish: Wish,
    /// Who asked, until it was answered.
    command: Option<CommandId>,
    answer_by: Mono,
    next: Mono,
    wait: Millis,
    /// Whether a leader said that this, or the same by somebody else, is ordered.
    is_ordered: bool,
}

impl Wishes {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let stored = reads.settings(WISHES).into_iter();
        Self(
            stored
                .filter_map(|(_, intent)| {
                    let IntentIn { id, wish, .. } = IntentIn::decode(&intent).ok()?;
                    Some((id, Open::new(intent, wish, None, Mono(0))))
                })
                .collect(),
        )
    }
}

impl Open {
    fn new(intent: Bytes, wish: Wish, command: Option<CommandId>, now: Mono) -> Self {
        let answer_by = now.after(PATIENCE);
        Self { intent, wish, command, answer_by, next: now, wait: FIRST_WAIT, is_ordered: false }
    }
}

fn key(id: &IntentId) -> String {
    let hex: String = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{WISHES}{hex}")
}

/// Whom a wish is about.
fn subject(wish: &Wish) -> Option<PeerId> {
    match wish {
        Wish::Role { peer, .. } | Wish::Remove { peer, .. } => Some(*peer),
        Wish::Admit { .. } | Wish::Revoke { .. } | Wish::Room { .. } => None,
    }
}

/// Whether the newer takes the place of the older.
fn replaces(newer: &Wish, older: &Wish) -> bool {
    subject(newer) == subject(older)
        && std::mem::discriminant(newer) == std::mem::discriminant(older)
}

impl Member {
    /// A person wishes something about a member.
    pub(super) fn on_wish(&mut self, id: CommandId, command: Command, cx: &mut Context<'_>) {
        if let Err(refused) = self.try_wish(id, command, cx) {
            cx.fail(id, refused);
        }
    }

    fn try_wish(
        &mut self,
        command_id: CommandId,
        command: Command,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let wish = match command {
            Command::Role { name, role } => Wish::Role { peer: self.named(&name)?, role },
            Command::Remove { name, reason } => {
                if reason.len() > DETAIL_BYTES_MAX {
                    let detail = format!("a reason has at most {DETAIL_BYTES_MAX} bytes");
                    return Err(Refused::new(Refusal::CommandBad, detail));
                }
                Wish::Remove { peer: self.named(&name)?, reason }
            }
            _ => return Err(Refusal::CommandBad.into()),
        };
        let id = IntentId(self.chance.bytes());
        let intent = self.make_intent(id, &wish).ok_or(Refusal::NotAMember)?;
        let ledger = self.ledger.as_ref().ok_or(Refusal::NotAMember)?;
        match ledger.would_take(&intent, cx.now.wall, &*self.proofs) {
            Ok(_) => {}
            Err(refused) if refused.refusal == Refusal::FrameUnexpected => {
                self.drop_wishes_like(&wish, cx);
                self.tell_wish(Some(command_id), &wish, WishState::Ordered, cx);
                return Ok(());
            }
            Err(refused) => return Err(refused),
        }
        self.drop_wishes_like(&wish, cx);
        if self.wishes.0.len() >= WISHES_MAX {
            return Err(Refused::new(Refusal::TooMany, "so many wishes wait already"));
        }
        cx.write(&key(&id), intent.clone());
        self.wishes.0.insert(id, Open::new(intent, wish, Some(command_id), cx.now.mono));
        Ok(())
    }

    /// The member of this name, removed ones included.
    fn named(&self, name: &str) -> Result<PeerId, Refused> {
        let wanted = crate::text::nfc(name);
        let ledger = self.ledger.as_ref().ok_or(Refusal::NotAMember)?;
        let found = ledger.roster().members().find(|member| member.name == wanted);
        found.map(|member| member.peer).ok_or_else(|| Refused::new(Refusal::NameUnknown, name))
    }

    /// Of two wishes about one thing the later counts, unless the earlier was ordered meanwhile.
    fn drop_wishes_like(&mut self, wish: &Wish, cx: &mut Context<'_>) {
        let open = self.wishes.0.iter();
        let like: Vec<IntentId> =
            open.filter(|(_, open)| replaces(wish, &open.wish)).map(|(id, _)| *id).collect();
        for id in like {
            if let Some(Open { command: Some(command), .. }) = self.close_wish(&id, cx) {
                cx.fail(command, Refused::new(Refusal::FrameUnexpected, "a later one came first"));
            }
        }
    }

    fn close_wish(&mut self, id: &IntentId, cx: &mut Context<'_>) -> Option<Open> {
        let open = self.wishes.0.remove(id)?;
        cx.actions.writes.push(Write::Setting { key: key(id), value: None });
        Some(open)
    }

    fn tell_wish(
        &self,
        command: Option<CommandId>,
        wish: &Wish,
        state: WishState,
        cx: &mut Context<'_>,
    ) {
        let (peer, role, reason) = match wish {
            Wish::Role { peer, role } => (*peer, Some(*role), String::new()),
            Wish::Remove { peer, reason } => (*peer, None, reason.clone()),
            _ => return,
        };
        let view = WishView { name: self.label(&peer), peer, role, reason, state };
        cx.notice(Notice::Wish { command, wish: view });
    }

    /// What is to be ordered is submitted until it is.
    pub(super) fn go_on_wishing(&mut self, cx: &mut Context<'_>) {
        if self.wishes.0.is_empty() || self.leaving.is_some() {
            return;
        }
        // Nobody would take it from us before; who asked hears all the same that it waits.
        let (may_submit, now) = (self.is_current(), cx.now.mono);
        let ids: Vec<IntentId> = self.wishes.0.keys().copied().collect();
        for id in ids {
            if self.is_wish_settled(&id, cx) {
                if let Some(open) = self.close_wish(&id, cx) {
                    self.tell_wish(open.command, &open.wish, WishState::Ordered, cx);
                }
                continue;
            }
            let Some(open) = self.wishes.0.get_mut(&id) else { continue };
            if may_submit && now >= open.next {
                open.next = now.after(open.wait);
                open.wait = open.wait.times(2).min(LONGEST_WAIT);
                let intent = open.intent.clone();
                self.submit(intent, cx);
            }
            // Our own leader may have answered at once.
            let Some(open) = self.wishes.0.get(&id) else { continue };
            cx.actions.wake_by(may_submit.then_some(open.next));
            if open.command.is_some() {
                if now >= open.answer_by {
                    self.tell_waiting(&id, String::new(), cx);
                } else {
                    cx.actions.wake_by(Some(open.answer_by));
                }
            }
        }
    }

    /// Whether it took effect, or the same by somebody else did.
    fn is_wish_settled(&self, id: &IntentId, cx: &Context<'_>) -> bool {
        let (Some(ledger), Some(open)) = (&self.ledger, self.wishes.0.get(id)) else {
            return false;
        };
        ledger.roster().has_taken(id)
            || open.is_ordered
                && ledger
                    .would_take(&open.intent, cx.now.wall, &*self.proofs)
                    .is_err_and(|it| it.refusal == Refusal::FrameUnexpected)
    }

    /// Who asked hears that it is not ordered yet, and why; and once more when it is.
    fn tell_waiting(&mut self, id: &IntentId, because: String, cx: &mut Context<'_>) {
        let frozen = self.frozen_because(cx.now);
        let Some(open) = self.wishes.0.get_mut(id) else { return };
        let Some(command) = open.command.take() else { return };
        let wish = open.wish.clone();
        let because = [because, frozen].into_iter().find(|it| !it.is_empty());
        let because = because.unwrap_or_else(|| "no leader has ordered it yet".to_owned());
        self.tell_wish(Some(command), &wish, WishState::Waiting { because }, cx);
    }

    /// A leader's answer; whether it is about a wish from here.
    pub(super) fn take_wish_answer(&mut self, answer: &Submitted, cx: &mut Context<'_>) -> bool {
        let Some(open) = self.wishes.0.get_mut(&answer.id) else { return false };
        match &answer.refused {
            None => {
                open.is_ordered = true;
                // Our own log brings it; asked again only if it does not come.
                open.next = cx.now.mono.after(LONGEST_WAIT);
            }
            Some((Refusal::NotLeader, _)) => {
                if let Some(leader) = answer.leader {
                    self.dials.learn(leader, answer.addresses.clone());
                }
            }
            Some((refusal, detail)) if refusal.is_retryable() => {
                self.tell_waiting(&answer.id, detail.clone(), cx);
            }
            Some((refusal, detail)) => {
                let refused = Refused::new(*refusal, detail);
                let command = self.close_wish(&answer.id, cx).and_then(|open| open.command);
                cx.notice(Notice::Failed { command, refused, is_fatal: false });
            }
        }
        true
    }

    /// Somebody was removed: it is told and hung up on, everybody else hears by whom.
    pub(super) fn on_member_removed(
        &mut self,
        peer: PeerId,
        by: Option<PeerId>,
        reason: &str,
        cx: &mut Context<'_>,
    ) {
        let by = by.map(|by| if by == peer { "itself".to_owned() } else { self.label(&by) });
        if peer == self.me {
            let why = match &by {
                Some(by) if reason.is_empty() => format!("by {by}"),
                Some(by) => format!("by {by}: {reason}"),
                None => reason.to_owned(),
            };
            return cx.fatal(Refused::new(Refusal::Removed, why));
        }
        if let Some(by) = by
            && self.joining.is_announced()
        {
            let colon = if reason.is_empty() { "" } else { ": " };
            let text = format!("{} was removed by {by}{colon}{reason}", self.label(&peer));
            cx.notice(Notice::Info { text });
        }
        self.part(peer, Refusal::Removed, cx);
    }
}
