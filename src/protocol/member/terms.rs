//! What the authority says of itself: who it is, and how much work it asks of newcomers.
//! Owns: which authority is believed; the work while it is done.
//! Must not know: whether the work is enough (the authority judges).
//! Invariants: no turn works longer than some milliseconds, so nobody waits for it.
//! Start reading at: [`Member::take_about`], [`Member::is_work_done`].

use bytes::Bytes;

use super::{Context, Member, Trust};
use crate::identity::work::Search;
use crate::identity::{Authority, answer};
use crate::limits::CLOCK_SKEW_MAX;
use crate::protocol::Notice;
use crate::refusal::{Refusal, Refused};
use crate::time::{Millis, Mono};
use crate::wire::identity::Work;

/// Tries in one turn: two to five milliseconds.
const TRIES: u32 = 10_000;
/// Between two turns, for everything else to have its own.
const PAUSE: Millis = Millis(1);

/// The work for a registration.
#[derive(Debug, Default)]
pub(super) struct Working {
    /// How much the authority asks for, as far as it said.
    bits: Option<u32>,
    search: Option<Search>,
    next: Mono,
    pub(super) done: Option<Work>,
}

impl Working {
    /// The authority says how much.
    pub(super) fn ask_for(&mut self, bits: u32) {
        *self = Self { bits: Some(bits), ..Self::default() };
    }

    /// The authority did not take what it got: it is asked again how much.
    pub(super) fn was_refused(&mut self) {
        *self = Self { bits: None, next: Mono(1), ..Self::default() };
    }

    /// Whether the authority must say how much it asks for.
    pub(super) fn needs_terms(&self) -> bool {
        self.bits.is_none() && self.next == Mono(1)
    }
}

impl Member {
    /// Goes on with the work; whether there is none left to do. An authority that nobody asked
    /// about it says so when we register.
    pub(super) fn is_work_done(&mut self, cx: &mut Context<'_>) -> bool {
        let (now, spki) = (cx.now, || self.holder.spki());
        let Some(network) = self.authority.as_ref().map(|authority| authority.network) else {
            return true;
        };
        let working = &mut self.joining.work;
        let half = Millis(CLOCK_SKEW_MAX.0 / 2);
        if working.done.as_ref().is_some_and(|it| now.wall.since(it.at) > half) {
            working.done = None;
        }
        let bits = working.bits.unwrap_or(0);
        if bits == 0 || working.done.is_some() {
            return true;
        }
        if now.mono < working.next {
            cx.actions.wake_by(Some(working.next));
            return false;
        }
        let name = &self.name;
        let search = working
            .search
            .get_or_insert_with(|| Search::new(&network, name, &spki(), now.wall, bits));
        working.done = search.step(TRIES);
        if working.done.is_some() {
            working.search = None;
            return true;
        }
        working.next = now.mono.after(PAUSE);
        cx.actions.wake_by(Some(working.next));
        self.wait_for("the proof of work that the key authority asks of newcomers", cx);
        false
    }

    pub(super) fn take_about(
        &mut self,
        question: &Bytes,
        bytes: &Bytes,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let (authority, _, bits) = answer::open_about(&*self.proofs, question, bytes)?;
        self.joining.work.ask_for(bits);
        match self.setup.trust {
            Trust::Pinned(network) if network != authority.network => {
                let detail = format!("pinned {network}, found {}", authority.network);
                Err(Refused::new(Refusal::AuthorityChanged, detail))
            }
            Trust::Pinned(_) | Trust::First => {
                self.believe(authority, cx);
                Ok(())
            }
            Trust::Ask => {
                let address = self.setup.keyauth.join(", ");
                let fingerprint = authority.fingerprint();
                cx.notice(Notice::ConfirmAuthority { fingerprint, address });
                self.joining.unconfirmed = Some(authority);
                Ok(())
            }
            Trust::Refuse => Err(Refused::new(
                Refusal::AuthorityUnknown,
                format!("its fingerprint is {}", authority.fingerprint()),
            )),
        }
    }

    pub(super) fn on_trust(&mut self, is_trusted: bool, cx: &mut Context<'_>) {
        let Some(authority) = self.joining.unconfirmed.take() else {
            return;
        };
        if is_trusted {
            self.believe(authority, cx);
        } else {
            cx.fatal(Refused::new(Refusal::AuthorityUnknown, "not confirmed"));
        }
    }

    pub(super) fn believe(&mut self, authority: Authority, cx: &mut Context<'_>) {
        cx.write("identity/authority", authority.der.clone());
        self.authority = Some(authority);
    }
}
