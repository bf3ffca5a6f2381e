//! What others say of their links, so that a person sees who is linked with whom.
//! Owns: who was asked and when, what was told and how long it counts, who waits for it.
//! Must not know: how it is shown, whether it is true.
//! Invariants: nobody is asked unless somebody looks; only members are asked, heeded, named and
//! answered; one's own links go before what others say of them; nothing of it is stored.
//! Start reading at: [`Member::on_links`].

use std::collections::BTreeMap;

use super::{Context, Member};
use crate::ids::{CommandId, PeerId};
use crate::limits::{HEARSAY_MAX, HEARSAY_WAITING_MAX};
use crate::protocol::ledger::Ledger;
use crate::protocol::{LinksView, Notice, ToldLink, Transport};
use crate::time::{Millis, Mono};
use crate::wire::frame::Body;
use crate::wire::links::Neighbour;

/// How often somebody is asked while we look.
const ASK_EVERY: Millis = Millis(4_000);
/// How soon after an answer we answer the same member again: half of that, for clocks and queues.
const ANSWER_EVERY: Millis = Millis(2_000);
/// How long who looks waits for answers; who has not answered by then is named.
const PATIENCE: Millis = Millis(1_000);
/// How long what was told counts.
const FORGET_AFTER: Millis = Millis(30_000);

/// What others said, and who was asked.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    asked: BTreeMap<PeerId, Asked>,
    told: BTreeMap<PeerId, Told>,
    /// Whom we answered.
    answered: BTreeMap<PeerId, Mono>,
    /// Commands that wait for answers, and until when.
    waiting: Vec<(CommandId, Mono)>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Mono,
    is_open: bool,
}

#[derive(Debug)]
struct Told {
    at: Mono,
    links: Vec<Neighbour>,
    /// Whether all of it found room here.
    is_whole: bool,
}

/// A link between two others, by what was told of it.
#[derive(Debug)]
struct Heard {
    at: Mono,
    link: Neighbour,
    told_by: Vec<PeerId>,
}

impl Hearsay {
    /// Whether somebody is to be asked now; it counts as asked from then on.
    fn asks(&mut self, peer: PeerId, now: Mono) -> bool {
        let is_due = self.asked.get(&peer).is_none_or(|asked| asked.at.after(ASK_EVERY) <= now);
        if is_due {
            self.asked.insert(peer, Asked { at: now, is_open: true });
        }
        is_due
    }

    /// Whether somebody who asks is answered now; it counts as answered from then on.
    fn answers(&mut self, peer: PeerId, now: Mono) -> bool {
        let is_due = self.answered.get(&peer).is_none_or(|at| at.after(ANSWER_EVERY) <= now);
        if is_due {
            self.answered.insert(peer, now);
        }
        is_due
    }

    /// Takes what somebody told, if it was asked: in place of what it told before.
    fn hear(&mut self, from: PeerId, mut links: Vec<Neighbour>, now: Mono) {
        let Some(asked) = self.asked.get_mut(&from).filter(|asked| asked.is_open) else {
            return;
        };
        asked.is_open = false;
        self.told.remove(&from);
        let held: usize = self.told.values().map(|told| told.links.len()).sum();
        let room = HEARSAY_MAX.saturating_sub(held);
        let is_whole = links.len() <= room;
        links.truncate(room);
        links.shrink_to_fit();
        self.told.insert(from, Told { at: now, links, is_whole });
    }

    /// Who is linked no more is asked no more, and what it told of its links is over.
    pub(super) fn on_unlink(&mut self, peer: &PeerId) {
        self.asked.remove(peer);
        self.told.remove(peer);
        self.answered.remove(peer);
    }

    /// Whether somebody was asked so lately that an answer may be on its way.
    fn is_awaited(&self, now: Mono) -> bool {
        self.asked.values().any(|asked| asked.is_open && asked.at.after(PATIENCE) > now)
    }

    /// The commands that wait no longer, and none of them again.
    fn ready(&mut self, now: Mono) -> Vec<CommandId> {
        let is_awaited = self.is_awaited(now);
        self.waiting.extract_if(.., |(_, at)| !is_awaited || *at <= now).map(|it| it.0).collect()
    }

    fn forget(&mut self, now: Mono) {
        self.told.retain(|_, told| told.at.after(FORGET_AFTER) > now);
    }

    /// The links between two members, oneself aside: each once. What was told last counts, and of
    /// two ends that were heard the one that has measured.
    fn heard(&self, me: &PeerId, belongs: impl Fn(&PeerId) -> bool) -> Vec<([PeerId; 2], Heard)> {
        let mut pairs: BTreeMap<[PeerId; 2], Heard> = BTreeMap::new();
        for (from, told) in self.told.iter().filter(|(from, _)| *from != me && belongs(from)) {
            for link in told.links.iter().filter(|link| belongs(&link.peer)) {
                if link.peer == *from || link.peer == *me {
                    continue;
                }
                let key = [(*from).min(link.peer), (*from).max(link.peer)];
                let Some(heard) = pairs.get_mut(&key) else {
                    pairs.insert(key, Heard { at: told.at, link: *link, told_by: vec![*from] });
                    continue;
                };
                heard.told_by.push(*from);
                let (older, newer) =
                    if told.at > heard.at { (heard.link, *link) } else { (*link, heard.link) };
                heard.at = heard.at.max(told.at);
                heard.link = newer;
                heard.link.rtt_micros = newer.rtt_micros.or(older.rtt_micros);
            }
        }
        pairs.into_iter().collect()
    }
}

impl Member {
    /// Somebody looks at who is linked with whom: those who are linked with us are asked, and the
    /// answer waits a moment for theirs.
    pub(super) fn on_links(&mut self, command: CommandId, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        let tell: Vec<PeerId> = self
            .links
            .iter()
            .filter(|(_, link)| link.tells_links)
            .map(|(peer, _)| *peer)
            .filter(|peer| self.belongs_with_us(peer))
            .collect();
        for peer in tell {
            if self.hearsay.asks(peer, now) {
                self.send(peer, Body::LinksAsk, cx);
            }
        }
        if self.hearsay.waiting.len() < HEARSAY_WAITING_MAX {
            // Told at the end of this turn if nobody is waited for.
            self.hearsay.waiting.push((command, now.after(PATIENCE)));
        } else {
            self.tell_links(command, cx);
        }
    }

    /// Answers who waited long enough, or for nobody.
    pub(super) fn go_on_hearing(&mut self, cx: &mut Context<'_>) {
        if self.hearsay.waiting.is_empty() && self.hearsay.told.is_empty() {
            return;
        }
        self.hearsay.forget(cx.now.mono);
        for command in self.hearsay.ready(cx.now.mono) {
            self.tell_links(command, cx);
        }
        cx.actions.wake_by(self.hearsay.waiting.iter().map(|(_, at)| *at).min());
    }

    /// Another member looks. Whoever does not belong, or asks too often, gets no answer.
    pub(super) fn on_links_ask(&mut self, from: PeerId, cx: &mut Context<'_>) {
        if !self.belongs_with_us(&from) || !self.hearsay.answers(from, cx.now.mono) {
            return;
        }
        let links = self
            .links
            .iter()
            .filter(|(peer, link)| **peer != from && link.is_member() && self.belongs_with_us(peer))
            .map(|(peer, link)| Neighbour {
                peer: *peer,
                is_relayed: link.link.transport == Transport::Relay,
                rtt_micros: link.rtt_micros.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
            })
            .take(crate::limits::MEMBERS_MAX)
            .collect();
        self.send(from, Body::Links(links), cx);
    }

    /// What another member says of its links. Unasked it counts for nothing.
    pub(super) fn on_links_told(&mut self, from: PeerId, links: Vec<Neighbour>, now: Mono) {
        if !self.belongs_with_us(&from) {
            return;
        }
        let links = links
            .into_iter()
            .filter(|link| link.peer != from && self.belongs_with_us(&link.peer))
            .collect();
        self.hearsay.hear(from, links, now);
    }

    /// Whether both belong: another member, and we.
    fn belongs_with_us(&self, peer: &PeerId) -> bool {
        let roster = self.ledger.as_ref().map(Ledger::roster);
        *peer != self.me && roster.is_some_and(|it| it.is_in(peer) && it.is_in(&self.me))
    }

    fn tell_links(&self, command: CommandId, cx: &mut Context<'_>) {
        let links = Box::new(self.all_links());
        cx.notice(Notice::Links { command, links });
    }

    fn all_links(&self) -> LinksView {
        let mut view = LinksView { own: self.link_views(), ..LinksView::default() };
        let Some(roster) = self.ledger.as_ref().map(Ledger::roster) else {
            return view;
        };
        let heard = self.hearsay.heard(&self.me, |peer| roster.is_in(peer));
        view.others = heard
            .into_iter()
            .map(|([one, other], heard)| {
                let mut between = [self.label(&one), self.label(&other)];
                between.sort();
                let mut told_by: Vec<String> =
                    heard.told_by.iter().map(|peer| self.label(peer)).collect();
                told_by.sort();
                ToldLink {
                    between,
                    is_relayed: heard.link.is_relayed,
                    rtt_micros: heard.link.rtt_micros.map(u64::from),
                    told_by,
                }
            })
            .collect();
        view.others.sort_by(|one, other| one.between.cmp(&other.between));
        let is_told = |peer: &PeerId| self.hearsay.told.get(peer).is_some_and(|it| it.is_whole);
        view.untold = roster
            .members()
            .filter(|member| member.is_in() && member.peer != self.me && !is_told(&member.peer))
            .map(|member| member.name.clone())
            .collect();
        view.untold.sort();
        view
    }
}

#[cfg(test)]
mod tests;
