//! Who may write to us alone: messages of strangers wait as requests, or come with our contact code.
//! Owns: whom we let write to us, who waits, the code and how often it was guessed at.
//! Must not know: how a direct room is made and kept; it is made and kept whoever is in it.
//! Invariants: what waits is stored and acknowledged, and shown to nobody before it is accepted;
//! every decision is stored; whoever we wrote to is no stranger.
//! Start reading at: [`Member::stranger_in`] and [`Member::judge_stranger`].
//!
//! The gate stands at the receiver: rooms of two, their keys and their sync are as ever. Everybody
//! shares `main` with everybody, so that alone makes nobody known.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Context, Member};
use crate::identity::words;
use crate::ids::{CommandId, PeerId, RoomId, Seq, Signature};
use crate::limits::{CODE_GUESSES_MAX, REQUEST_ENTRIES_MAX, REQUESTS_MAX};
use crate::protocol::ledger::Ledger;
use crate::protocol::room::Draft;
use crate::protocol::{
    ContactCommand, Notice, Reads, RequestKind, RequestState, RequestView, StoredEntry, Write,
};
use crate::refusal::{Refusal, Refused};
use crate::terms::Direct;
use crate::time::{Millis, Mono, Wall};
use crate::wire::order::{Entry, Kind};

/// Our code: since when (8 bytes), and its words.
const CODE: &str = "contact/code";
/// What was decided about somebody: one letter, and when (8 bytes).
const PEER: &str = "contact/peer/";
/// For so long the wrong codes of somebody are counted.
const GUESSED_FOR: Millis = Millis(3_600_000);

/// What was decided about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may write to us.
    Accepted(Wall),
    /// It waits for a yes.
    Waiting(Wall),
    /// It got a no.
    Refused(Wall),
}

impl Standing {
    fn encode(self) -> Bytes {
        let (letter, at) = match self {
            Self::Accepted(at) => (b'a', at),
            Self::Waiting(at) => (b'w', at),
            Self::Refused(at) => (b'r', at),
        };
        [&[letter][..], &at.0.to_be_bytes()].concat().into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, at) = bytes.split_first()?;
        let at = Wall(u64::from_be_bytes(at.try_into().ok()?));
        match letter {
            b'a' => Some(Self::Accepted(at)),
            b'w' => Some(Self::Waiting(at)),
            b'r' => Some(Self::Refused(at)),
            _ => None,
        }
    }
}

/// Whom we let write to us.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    standings: BTreeMap<PeerId, Standing>,
    code: Option<(String, Wall)>,
    /// Wrong codes of somebody, and since when they are counted.
    guesses: BTreeMap<PeerId, (u32, Mono)>,
}

impl Contacts {
    pub(super) fn load(reads: &dyn Reads) -> Self {
        let standings = reads.settings(PEER).into_iter().filter_map(|(key, value)| {
            Some((PeerId::parse(key.strip_prefix(PEER)?)?, Standing::decode(&value)?))
        });
        let code = reads.setting(CODE).and_then(|bytes| {
            let (at, words) = bytes.split_first_chunk::<8>()?;
            Some((String::from_utf8(words.to_vec()).ok()?, Wall(u64::from_be_bytes(*at))))
        });
        Self { standings: standings.collect(), code, guesses: BTreeMap::new() }
    }

    fn decide(&mut self, peer: PeerId, standing: Standing) -> Write {
        self.standings.insert(peer, standing);
        Write::Setting { key: format!("{PEER}{peer}"), value: Some(standing.encode()) }
    }

    /// Whether one more code of somebody may be looked at; it counts until it turns out right.
    fn may_guess(&mut self, peer: &PeerId, now: Mono) -> bool {
        self.guesses.retain(|_, (_, since)| now.since(*since) < GUESSED_FOR);
        let (count, _) = self.guesses.entry(*peer).or_insert((0, now));
        *count = count.saturating_add(1);
        *count <= CODE_GUESSES_MAX
    }
}

/// What the proof of a contact code signs: who shows it in which room of two.
pub(super) fn contact_body(room: RoomId, by: &PeerId) -> Vec<u8> {
    [b"contact".as_slice(), room.as_bytes(), by.as_bytes()].concat()
}

impl Member {
    /// The other one of a direct room.
    fn other_in(&self, room: &RoomId) -> Option<PeerId> {
        let talk = self.talks.rooms.get(room).filter(|talk| talk.is_direct())?;
        let members = talk.state.snapshot().members.keys().chain(&talk.state.charter().with);
        members.copied().find(|peer| *peer != self.me)
    }

    /// Who writes to us alone in this room and may not yet; `None` in every other room.
    pub(super) fn stranger_in(&self, room: &RoomId) -> Option<PeerId> {
        self.other_in(room).filter(|peer| !self.is_known_to_us(peer, room))
    }

    /// Whether everything of a room is closed here, and stays so until we say otherwise.
    pub(super) fn is_shut(&self, room: &RoomId) -> bool {
        let standing = self.other_in(room).and_then(|it| self.contacts.standings.get(&it).copied());
        let stranger = matches!(standing, Some(Standing::Refused(_)));
        stranger && self.stranger_in(room).is_some()
    }

    fn is_known_to_us(&self, peer: &PeerId, direct: &RoomId) -> bool {
        match self.contacts.standings.get(peer) {
            Some(Standing::Accepted(_)) => return true,
            Some(Standing::Refused(_)) => return false,
            Some(Standing::Waiting(_)) | None => {}
        }
        let has_written = self.talks.rooms.get(direct).is_some_and(|talk| {
            // Its maker is who writes first.
            talk.own_head().0 > Seq(0) || !talk.held.is_empty() || !talk.state.is_ordered()
        });
        self.setup.direct == Direct::Everyone
            || has_written
            || self.people.is_verified(peer)
            || self.shares_a_room(peer)
    }

    /// Whether both are in a room into which somebody let them: `main`, and one that everybody may
    /// enter as they like, say nothing.
    fn shares_a_room(&self, peer: &PeerId) -> bool {
        let Some(roster) = self.ledger.as_ref().map(Ledger::roster) else {
            return false;
        };
        self.talks.rooms.values().map(|talk| &talk.state).any(|state| {
            let is_closed = match state.charter().kind {
                Kind::Private => true,
                Kind::Listed => state.charter().entry != Entry::Free,
                Kind::Main | Kind::Direct => false,
            };
            is_closed && state.is_in(&self.me, roster) && state.is_in(peer, roster)
        })
    }

    /// Somebody writes to us who may: what was shown once is not closed later, when it is in no
    /// room with us any more.
    pub(super) fn note_known(&mut self, room: RoomId, cx: &mut Context<'_>) {
        if let Some(peer) = self.other_in(&room)
            && self.setup.direct != Direct::Everyone
            && !self.contacts.standings.contains_key(&peer)
        {
            cx.actions.writes.push(self.contacts.decide(peer, Standing::Accepted(cx.now.wall)));
        }
    }

    /// We write into this room: whoever is there is no stranger from now on.
    pub(super) fn befriend(&mut self, room: &RoomId, cx: &mut Context<'_>) {
        let Some(peer) = self.other_in(room) else {
            return;
        };
        let before = self.contacts.standings.get(&peer).copied();
        if matches!(before, Some(Standing::Accepted(_))) {
            return;
        }
        cx.actions.writes.push(self.contacts.decide(peer, Standing::Accepted(cx.now.wall)));
        if before.is_none() {
            return;
        }
        self.show_request(*room, &[], cx);
        if let Some(talk) = self.talks.rooms.get_mut(room) {
            // What was held back comes now: both tell each other anew what they hold.
            talk.sync.on_unlink(&peer);
        }
        self.talk_in_all(*room, cx);
    }

    /// Somebody who waits for our yes has it by other ways.
    pub(super) fn settle_request(&mut self, peer: &PeerId, cx: &mut Context<'_>) {
        if matches!(self.contacts.standings.get(peer), Some(Standing::Waiting(_)))
            && let Some(room) = self.direct_with(peer)
        {
            self.befriend(&room, cx);
        }
    }

    /// Nothing of a room of two comes in any more.
    fn shut(&mut self, room: RoomId, peer: PeerId, cx: &mut Context<'_>) {
        if self.talks.rooms.get(&room).is_some_and(|talk| talk.sync.is_linked(&peer)) {
            self.tell_full((room, peer), cx);
        }
        if let Some(talk) = self.talks.rooms.get_mut(&room) {
            talk.sync.on_unlink(&peer);
        }
    }

    /// A message of somebody who may not write to us yet: it passes with our code, waits, or is
    /// dropped. What passes is shown by [`Member::show_request`], all of it in order.
    pub(super) fn judge_stranger(
        &mut self,
        peer: PeerId,
        room: RoomId,
        proof: Option<&Signature>,
        cx: &mut Context<'_>,
    ) {
        if proof.is_some_and(|proof| self.is_code_proved(&peer, room, proof, cx.now.mono)) {
            cx.actions.writes.push(self.contacts.decide(peer, Standing::Accepted(cx.now.wall)));
            return;
        }
        if self.contacts.standings.contains_key(&peer) {
            return;
        }
        let waiting = self
            .contacts
            .standings
            .values()
            .filter(|it| matches!(it, Standing::Waiting(_)))
            .count();
        if waiting >= REQUESTS_MAX {
            // Nobody looks through more; it is told when there is room again and it writes again.
            return;
        }
        cx.actions.writes.push(self.contacts.decide(peer, Standing::Waiting(cx.now.wall)));
        if self.setup.direct != Direct::Code {
            let request = self.request_of(peer, RequestState::Waiting, Some(cx.now.wall));
            cx.notice(Notice::Request { command: None, request });
        }
    }

    fn is_code_proved(
        &mut self,
        peer: &PeerId,
        room: RoomId,
        proof: &Signature,
        now: Mono,
    ) -> bool {
        let code = self.contacts.code.as_ref().and_then(|(words, _)| self.proofs.code_key(words));
        let Some(key) = code else {
            return false;
        };
        if !self.contacts.may_guess(peer, now) {
            return false;
        }
        let body = contact_body(room, peer);
        let domain = crate::identity::Domain::JoinCode;
        let is_right = self.proofs.verify(&key, domain, &body, proof);
        if is_right {
            self.contacts.guesses.remove(peer);
        }
        is_right
    }

    /// Whether a stranger has left as much as one may before a yes.
    pub(super) fn is_request_full(&self, room: &RoomId) -> bool {
        let Some(stranger) = self.stranger_in(room) else {
            return false;
        };
        let entries = self.talks.rooms.get(room).map_or(0, |talk| {
            let heads = talk.room.heads_of(&stranger).into_iter();
            heads.fold(0_u64, |sum, (_, seq, _)| sum.saturating_add(seq.0))
        });
        entries >= REQUEST_ENTRIES_MAX
    }

    /// What waited is shown: what is stored, and what came a moment ago and is not stored yet.
    pub(super) fn show_request(
        &mut self,
        room: RoomId,
        fresh: &[StoredEntry],
        cx: &mut Context<'_>,
    ) {
        let most = usize::try_from(REQUEST_ENTRIES_MAX).unwrap_or(usize::MAX);
        let stored = self.talks.rooms.get(&room).map(|talk| talk.room.newest(most, cx.reads));
        let stored = stored.unwrap_or_default().into_iter().map(|(entry, _)| entry);
        let is_stored = |entry: &StoredEntry| !fresh.iter().any(|it| it.hash == entry.hash);
        let entries: Vec<StoredEntry> =
            stored.filter(is_stored).chain(fresh.iter().cloned()).collect();
        self.tell_room(room, "entered", Some(self.me), cx);
        let me = self.me;
        for entry in entries.iter().filter(|entry| entry.log.author != me) {
            if let Some(message) = self.message_of(entry) {
                cx.notice(Notice::Message(message));
                if !fresh.iter().any(|it| it.hash == entry.hash) {
                    // Who follows what arrives has passed it.
                    let (log, seq) = (entry.log, entry.seq);
                    cx.actions.writes.push(Write::Opened { log, seq });
                }
            }
        }
    }

    fn request_of(&self, peer: PeerId, state: RequestState, at: Option<Wall>) -> RequestView {
        let name = self.label(&peer);
        RequestView { name, peer: Some(peer), asked_at: at, state, kind: RequestKind::Direct }
    }

    /// Those who wait for a yes to write to us, by name. Who belongs no more needs none, and who is
    /// no stranger any more has it.
    fn requests(&self) -> Vec<RequestView> {
        let roster = self.ledger.as_ref().map(Ledger::roster);
        let is_open = |peer: &PeerId| {
            let is_known = |room: &RoomId| self.is_known_to_us(peer, room);
            roster.is_some_and(|roster| roster.is_in(peer))
                && !self.direct_with(peer).as_ref().is_some_and(is_known)
        };
        let waiting =
            self.contacts.standings.iter().filter_map(|(peer, standing)| match standing {
                Standing::Waiting(at) => Some((*peer, *at)),
                Standing::Accepted(_) | Standing::Refused(_) => None,
            });
        let mut requests: Vec<RequestView> = waiting
            .filter(|(peer, _)| is_open(peer))
            .map(|(peer, at)| self.request_of(peer, RequestState::Waiting, Some(at)))
            .collect();
        requests.sort_by(|one, other| one.name.cmp(&other.name));
        requests
    }

    pub(super) fn on_contact(
        &mut self,
        command: CommandId,
        asked: ContactCommand,
        cx: &mut Context<'_>,
    ) {
        let done = match asked {
            ContactCommand::Code { is_new } => {
                self.tell_code(command, is_new, cx);
                Ok(())
            }
            ContactCommand::Requests => {
                cx.notice(Notice::Requests { command, requests: self.requests() });
                Ok(())
            }
            ContactCommand::Accept { name } => self.accept(command, &name, cx),
            ContactCommand::Direct { name, text, code } => {
                self.show_code(command, &name, text, &code, cx)
            }
        };
        if let Err(refused) = done {
            cx.fail(command, refused);
        }
    }

    fn tell_code(&mut self, command: CommandId, is_new: bool, cx: &mut Context<'_>) {
        let before = self.contacts.code.clone().filter(|_| !is_new);
        let (code, since) = before.unwrap_or_else(|| {
            let code = (words::code(&self.chance.bytes()), cx.now.wall);
            let value = [&code.1.0.to_be_bytes()[..], code.0.as_bytes()].concat().into();
            cx.actions.writes.push(Write::Setting { key: CODE.to_owned(), value: Some(value) });
            self.contacts.guesses.clear();
            code
        });
        self.contacts.code = Some((code.clone(), since));
        cx.notice(Notice::Code { command, code, since });
    }

    /// The room of two in which somebody of this name waits, or was refused.
    fn direct_with(&self, peer: &PeerId) -> Option<RoomId> {
        let rooms = self.talks.rooms.keys();
        rooms.copied().find(|room| self.other_in(room).is_some_and(|other| other == *peer))
    }

    fn accept(
        &mut self,
        command: CommandId,
        name: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let peer = self.member_named(name)?;
        match self.direct_with(&peer) {
            Some(room) => self.befriend(&room, cx),
            // Before it has written: it need not wait then.
            None => {
                cx.actions.writes.push(self.contacts.decide(peer, Standing::Accepted(cx.now.wall)));
            }
        }
        let request = self.request_of(peer, RequestState::Approved, None);
        cx.notice(Notice::Request { command: Some(command), request });
        Ok(())
    }

    /// A no to somebody who waits to write to us; `false`: nobody of this name does.
    pub(super) fn refuse_request(
        &mut self,
        command: CommandId,
        name: &str,
        cx: &mut Context<'_>,
    ) -> bool {
        let Ok(peer) = self.member_named(name) else {
            return false;
        };
        if !matches!(self.contacts.standings.get(&peer), Some(Standing::Waiting(_))) {
            return false;
        }
        cx.actions.writes.push(self.contacts.decide(peer, Standing::Refused(cx.now.wall)));
        if let Some(room) = self.direct_with(&peer) {
            self.shut(room, peer, cx);
        }
        let request = self.request_of(peer, RequestState::Refused, None);
        cx.notice(Notice::Request { command: Some(command), request });
        true
    }

    /// A message that shows the code which the receiver gave us.
    fn show_code(
        &mut self,
        command: CommandId,
        name: &str,
        text: String,
        code: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let room = self.direct_room(name, cx)?;
        let code = code.trim().to_lowercase();
        let proof = self.proofs.code_proof(&code, &contact_body(room, &self.me));
        let code_proof = Some(proof.ok_or(Refusal::Internal)?);
        let label = self.room_label(&room);
        let draft = Draft { code_proof, ..Draft::from(text) };
        self.on_posts(&label, vec![(command, draft)], cx);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_survives_its_bytes() {
        for standing in [
            Standing::Accepted(Wall(1)),
            Standing::Waiting(Wall(u64::MAX)),
            Standing::Refused(Wall(0)),
        ] {
            assert_eq!(Standing::decode(&standing.encode()), Some(standing));
        }
        assert_eq!(Standing::decode(b"x00000000"), None);
        assert_eq!(Standing::decode(b"a"), None);
    }

    #[test]
    fn codes_are_guessed_at_a_few_times_an_hour() {
        let mut contacts = Contacts::default();
        let peer = PeerId::of_rsa_spki(b"mallory");
        let allowed = (0..100).filter(|_| contacts.may_guess(&peer, Mono(5))).count();
        assert_eq!(u32::try_from(allowed), Ok(CODE_GUESSES_MAX));
        assert!(
            contacts.may_guess(&PeerId::of_rsa_spki(b"bob"), Mono(5)),
            "others are not held up"
        );
        assert!(!contacts.may_guess(&peer, Mono(5 + GUESSED_FOR.0 - 1)));
        assert!(contacts.may_guess(&peer, Mono(5 + GUESSED_FOR.0)));
    }
}
