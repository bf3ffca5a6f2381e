//! The way out: messages, leadership, goodbye; and how somebody learns that it was removed.
//! Owns: how far a clean exit has come; who of the voters says that we are out.
//! Must not know: how leadership is handed over.
//! Invariants: an exit takes at most `LEAVE_MAX`; no single peer's word makes a member leave.
//! Start reading at: [`Member::on_exit`], [`Member::on_refused`].

use std::collections::BTreeSet;

use super::{Context, Member};
use crate::ids::{NetworkRole, PeerId};
use crate::protocol::Notice;
use crate::protocol::control::Input;
use crate::protocol::ledger::witness_of;
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};
use crate::wire::frame::Body;

/// How long an exit may take in all; faces promise 5 s.
const LEAVE_MAX: Millis = Millis(4_000);

/// How far a clean exit has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// When it ends, whatever has not been done.
    deadline: Mono,
    /// Whether control was told.
    pub(super) is_handing_over: bool,
    /// Whether control is done.
    pub(super) may_exit: bool,
}

/// Who says that we do not belong any more.
#[derive(Debug, Default)]
pub(super) struct Outcast(BTreeSet<PeerId>);

impl Member {
    pub(super) fn on_exit(&mut self, cx: &mut Context<'_>) {
        if self.leaving.is_none() {
            let deadline = cx.now.mono.after(LEAVE_MAX);
            self.leaving = Some(Leaving { deadline, is_handing_over: false, may_exit: false });
            cx.actions.wake_by(Some(deadline));
        }
    }

    /// Messages first, then leadership, then goodbye; each only as long as the deadline allows.
    pub(super) fn go_on_leaving(&mut self, cx: &mut Context<'_>) {
        let Some(mut leaving) = self.leaving else {
            return;
        };
        let is_late = cx.now.mono >= leaving.deadline;
        let is_flushing = self.keeping.is_flushing(cx.now.mono);
        if (self.talks.has_unsent(cx.now.mono) || is_flushing) && !is_late {
            cx.actions.wake_by(Some(leaving.deadline));
            return;
        }
        if !leaving.is_handing_over {
            leaving.is_handing_over = true;
            leaving.may_exit = !self.is_in();
            self.leaving = Some(leaving);
            if !leaving.may_exit {
                self.control(Input::Leave, cx);
            }
        }
        let may_exit = self.leaving.is_some_and(|leaving| leaving.may_exit);
        if may_exit || is_late {
            let peers: Vec<PeerId> = self.links.keys().copied().collect();
            for peer in peers {
                self.send(peer, Body::Goodbye, cx);
                self.note_seen_member(peer, cx);
            }
            cx.notice(Notice::Exited);
        } else {
            cx.actions.wake_by(Some(leaving.deadline));
        }
    }

    pub(super) fn on_refused(
        &mut self,
        from: PeerId,
        refusal: Refusal,
        detail: String,
        cx: &mut Context<'_>,
    ) {
        tracing::info!(code = refusal.code(), peer = %from, detail, "we were refused");
        let is_final = matches!(
            refusal,
            Refusal::CertificateRevoked
                | Refusal::Removed
                | Refusal::CertificateExpired
                | Refusal::CertificateEarly
                | Refusal::NameTaken
                | Refusal::NameLooksAlike
                | Refusal::CertificateOfOther
                | Refusal::CertificateForeign
                | Refusal::VoucherSpent
                | Refusal::VoucherExpired
                | Refusal::VoucherRevoked
                | Refusal::VoucherBad
        );
        if !is_final {
            return;
        }
        // Who belongs already stays on when one peer says no: it may be that peer's mistake.
        let is_out = matches!(refusal, Refusal::Removed | Refusal::CertificateRevoked);
        if is_out {
            self.dials.refused(from);
        }
        let is_news = !is_out || !self.outcast.0.contains(&from);
        if !self.is_in() || is_out && self.is_outcast(from) {
            cx.fatal(Refused::new(refusal, detail));
        } else if is_news {
            cx.notice(Notice::Info { text: Refused::new(refusal, detail).to_string() });
        }
    }

    /// Who was away when it was removed does not get the log that says so: nobody talks with it
    /// any more. It believes the majority of the voters it knows of; they could remove it, too. Of
    /// these some may have been removed since, and say nothing any more: in their place it believes
    /// as many of the witness and of those who may remove members, but never one alone.
    fn is_outcast(&mut self, from: PeerId) -> bool {
        self.outcast.0.insert(from);
        let Some(ledger) = &self.ledger else {
            return true;
        };
        let voters = ledger.control().voters().as_slice();
        let saying = |judges: &BTreeSet<PeerId>| judges.intersection(&self.outcast.0).count();
        let mut judges: BTreeSet<PeerId> = voters.iter().map(|voter| voter.peer).collect();
        let most = voters.len() / 2;
        if saying(&judges) > most {
            return true;
        }
        judges.extend(witness_of(ledger.genesis()).map(|witness| witness.peer));
        let roster = ledger.roster().members();
        let may_remove = roster.filter(|it| it.is_in() && it.role != NetworkRole::Member);
        judges.extend(may_remove.map(|member| member.peer));
        saying(&judges) > most.max(1)
    }
}
