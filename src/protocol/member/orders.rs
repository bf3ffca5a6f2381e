//! Intents on their way into the control log: judged by the leader, and answered.
//! Owns: which submitted intents wait, and what their authors are told.
//! Must not know: who may wish what (`roster` knows), how entries are ordered (`control`).
//! Invariants: every intent taken here is answered once; nothing void is proposed knowingly.
//! Start reading at: [`Member::on_submit`].

use bytes::Bytes;

use super::{Context, Member};
use crate::ids::{IntentId, PeerId};
use crate::protocol::control::Input;
use crate::refusal::{Refusal, Refused};
use crate::wire::frame::Body;
use crate::wire::roster::{IntentIn, Submitted, Wish};

impl Member {
    /// An intent to be ordered: from a peer, or our own.
    pub(super) fn on_submit(&mut self, from: Option<PeerId>, bytes: Bytes, cx: &mut Context<'_>) {
        let Some(ledger) = &self.ledger else {
            return;
        };
        let (id, author, is_of_room) = match IntentIn::decode(&bytes) {
            Ok(intent) => (intent.id, intent.author, matches!(intent.wish, Wish::Room { .. })),
            Err(refusal) => {
                if let Some(from) = from {
                    self.refuse(from, refusal, cx);
                }
                return;
            }
        };
        if !ledger.control().is_leader() {
            let refused = match ledger.control().leader() {
                Some(_) => Refusal::NotLeader.into(),
                None => Refused::new(Refusal::NoLeader, self.frozen_because(cx.now)),
            };
            return self.answer_submit(from, id, Some(refused), cx);
        }
        if let Some(refused) = self.judge(&bytes, cx) {
            return self.answer_submit(from, id, refused, cx);
        }
        if !self.ledger.as_ref().is_some_and(|it| it.control().has_quorum(cx.now)) {
            let because = Refused::new(Refusal::NoQuorum, self.frozen_because(cx.now));
            return self.answer_submit(from, id, Some(because), cx);
        }
        // The log judges no order about a room, and void ones stay in it like all others.
        let is_new = !self.submitted.contains_key(&id);
        if is_of_room && is_new && !self.room_orders.take_one(&author, cx.now.mono) {
            let why = Refused::new(Refusal::TooMany, "changes of rooms");
            return self.answer_submit(from, id, Some(why), cx);
        }
        self.submitted.insert(id, (from, bytes.clone()));
        self.control(Input::Propose { id, bytes }, cx);
    }

    /// `None`: may be ordered. `Some(None)`: is in force already. `Some(Some(_))`: a no.
    fn judge(&self, bytes: &Bytes, cx: &Context<'_>) -> Option<Option<Refused>> {
        let ledger = self.ledger.as_ref()?;
        match ledger.would_take(bytes, cx.now.wall, &*self.proofs) {
            Ok(_) => None,
            Err(refused) if refused.refusal == Refusal::FrameUnexpected => Some(None),
            Err(refused) => Some(Some(refused)),
        }
    }

    /// An intent was committed, or will not be by us.
    pub(super) fn on_ordered(
        &mut self,
        id: IntentId,
        refusal: Option<Refusal>,
        cx: &mut Context<'_>,
    ) {
        let Some((from, bytes)) = self.submitted.remove(&id) else {
            return;
        };
        let refused = match refusal {
            Some(refusal) => Some(refusal.into()),
            // Committed; void all the same if something ordered before it stood in the way.
            None => self.judge(&bytes, cx).flatten(),
        };
        self.answer_submit(from, id, refused, cx);
    }

    fn answer_submit(
        &mut self,
        from: Option<PeerId>,
        id: IntentId,
        refused: Option<Refused>,
        cx: &mut Context<'_>,
    ) {
        let leader = self
            .ledger
            .as_ref()
            .and_then(|it| it.control().leader())
            .map(|(peer, _)| peer)
            .filter(|_| refused.as_ref().is_some_and(|it| it.refusal == Refusal::NotLeader));
        let addresses = match leader {
            Some(peer) if peer == self.me => self.listening.clone(),
            Some(peer) => self.dials.addresses_of(&peer),
            None => Vec::new(),
        };
        let refused = refused.map(|it| (it.refusal, it.detail));
        let answer = Submitted { id, refused, leader, addresses };
        match from {
            Some(peer) => self.send(peer, Body::Submitted(answer), cx),
            None => self.on_submitted(self.me, answer, cx),
        }
    }
}
