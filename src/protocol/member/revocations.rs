//! The authority's revocations on their way into the control log: its leader asks for them.
//! Owns: when it asks, and which of the answer is news.
//! Must not know: what a revocation does (`roster` knows).
//! Invariants: nothing is submitted that the authority did not sign or that is in force already.
//! Start reading at: [`Member::ask_revocations`].

use bytes::Bytes;

use super::joining::What;
use super::{Context, Member};
use crate::identity::revocation::Revocation;
use crate::ids::IntentId;
use crate::time::Millis;
use crate::wire::roster::Wish;

/// How often the authority is asked for revocations.
const REVOCATIONS_EVERY: Millis = Millis(15_000);

impl Member {
    /// A page of the authority's list.
    pub(super) fn take_revocations(
        &mut self,
        revocations: Vec<Bytes>,
        next: Option<u64>,
        cx: &mut Context<'_>,
    ) {
        self.joining.revocations_from = next.unwrap_or(0);
        if next.is_some() {
            self.next_revocations = cx.now.mono;
        }
        for revocation in revocations {
            self.submit_revocation(revocation, cx);
        }
    }

    fn submit_revocation(&mut self, revocation: Bytes, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        let authority = ledger.roster().authority();
        let known = Revocation::verify(&*self.proofs, authority, &revocation);
        let is_news = known.is_ok_and(|it| ledger.roster().is_news(&it.of));
        if !is_news {
            return;
        }
        let id = IntentId(self.chance.bytes());
        let Some(bytes) = self.make_intent(id, &Wish::Revoke { revocation }) else {
            return;
        };
        self.on_submit(None, bytes, cx);
    }

    /// The leader looks at the authority's list from time to time.
    pub(super) fn ask_revocations(&mut self, cx: &mut Context<'_>) {
        let leads = self.ledger.as_ref().is_some_and(|it| it.control().is_leader());
        let is_deaf = self.setup.mistakes.deaf_to_authority;
        if leads && !is_deaf && cx.now.mono >= self.next_revocations {
            self.next_revocations = cx.now.mono.after(REVOCATIONS_EVERY);
            self.joining.next_ask = cx.now.mono;
            self.ask(What::Revocations, cx);
        }
        if leads && !is_deaf {
            cx.actions.wake_by(Some(self.next_revocations));
        }
    }
}
