//! The rooms a member is in, and those it knows of.
//! Owns: what is held of each of them, how it is loaded and stored.
//! Must not know: what is said in them, who is asked for what.
//! Invariants: one's own logs have one life in all rooms, so that all are opened anew together.
//! Start reading at: [`Talks`].

use std::collections::{BTreeMap, BTreeSet};

use super::keeping::past::{self, Past};
use super::keys::RoomKeys;
use super::newest::Newest;
use super::ordering::Ordering;
use super::spread::Spread;
use super::welcome::Early;
use crate::ids::{
    CommandId, GroupId, Hash, Incarnation, LogId, NetworkId, PeerId, RoomId, Seq, SessionSalt,
};
use crate::protocol::room::keys::keyring::Keyring;
use crate::protocol::room::keys::{self, KeyAgreements};
use crate::protocol::room::{Draft, Room, State, check_stored};
use crate::protocol::roster::Roster;
use crate::protocol::sync::Sync;
use crate::protocol::{Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::terms::History;
use crate::time::Mono;
use crate::wire::order::Snapshot;

/// The incarnation of one's own logs, once it differs from the database's.
const LIFE_KEY: &str = "room/main/incarnation";
/// How rooms stand.
const STATES: &str = "rooms/";
/// New logs of our own for what others say of the old ones, until the next start: for an old copy one is
/// enough, and nobody who lies gets more.
const REOPENED_MAX: usize = 8;
/// Messages that may wait for admission.
const HELD_MAX: usize = 256;
/// The rooms of a member.
#[derive(Debug)]
pub(super) struct Talks {
    salt: SessionSalt,
    pub(super) from: &'static dyn KeyAgreements,
    history: History,
    /// The network, ourselves, and the life of our logs; once they are known.
    pub(super) place: Option<(NetworkId, PeerId, Incarnation)>,
    /// Those we are in, or on our way into.
    pub(super) rooms: BTreeMap<RoomId, Talk>,
    /// Others that we know of.
    pub(super) known: BTreeMap<RoomId, State>,
    /// The keys of rooms that we were in: what was said stays readable to who comes back.
    left: BTreeMap<RoomId, RoomKeys>,
    /// What is shown ahead of what is before it.
    pub(super) newest: Newest,
    /// Messages from before `ready`, and to which room.
    pub(super) held: Vec<(CommandId, String, Draft)>,
    /// Whether we are admitted and announced.
    pub(super) is_open: bool,
    /// What people want ordered about rooms.
    pub(super) orderings: Vec<Ordering>,
    /// Ways into rooms, told by members who are ahead of us.
    pub(super) early: Vec<Early>,
    /// How often others said that they hold more of our logs than we do.
    reopened: usize,
}

/// A room one is in.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) state: State,
    pub(super) room: Room,
    pub(super) sync: Sync,
    /// How what others say is passed on, where not everybody is linked with everybody.
    pub(super) spread: Spread,
    /// Beside the room: a group cannot be copied, and a room can.
    pub(super) keys: RoomKeys,
    /// Messages that wait for a key, or for our own head to be asked for.
    pub(super) held: Vec<(CommandId, Draft)>,
    pub(super) hold_until: Option<Mono>,
    pub(super) has_posted: bool,
    pub(super) takes_input: bool,
    /// What others are known to hold of our log, restarts included.
    pub(super) held_by: BTreeMap<PeerId, Seq>,
    /// The same of our logs of before.
    pub(super) past: Past,
    /// Which epoch others said to hold.
    pub(super) epochs: BTreeMap<PeerId, (GroupId, u64)>,
}

/// From the next start on, messages go into new logs: the ends of the old ones are not known here.
pub fn fresh_log(life: Incarnation) -> Write {
    Write::Setting { key: LIFE_KEY.to_owned(), value: Some(life.0.to_be_bytes().to_vec().into()) }
}

fn state_key(room: RoomId) -> String {
    match room {
        RoomId::MAIN => format!("{STATES}main"),
        other => format!("{STATES}{other}"),
    }
}

/// How a room stands, to be stored.
pub(super) fn store_state(state: &State) -> Write {
    let value = Some(state.snapshot().encode());
    Write::Setting { key: state_key(state.room()), value }
}

impl Talks {
    pub(super) fn new(
        salt: SessionSalt,
        from: &'static dyn KeyAgreements,
        history: History,
    ) -> Self {
        Self {
            salt,
            from,
            history,
            place: None,
            rooms: BTreeMap::new(),
            known: BTreeMap::new(),
            left: BTreeMap::new(),
            newest: Newest::default(),
            held: Vec::new(),
            is_open: false,
            orderings: Vec::new(),
            early: Vec::new(),
            reopened: 0,
        }
    }

    /// Loads the rooms and their keys. `seed` gives a fresh secret each time.
    pub(super) fn open(
        &mut self,
        (network, me, life): (NetworkId, PeerId, Incarnation),
        seed: &mut dyn FnMut() -> [u8; 32],
        reads: &dyn Reads,
    ) -> Result<(), Refused> {
        let life = reads
            .setting(LIFE_KEY)
            .and_then(|bytes| bytes.as_ref().try_into().ok())
            .map_or(life, |bytes| Incarnation(u64::from_be_bytes(bytes)));
        reads.newest(RoomId::MAIN, 1).iter().try_for_each(check_stored)?;
        self.place = Some((network, me, life));
        let damaged = || Refused::new(Refusal::DatabaseFailed, "a stored room is damaged");
        let mut states = BTreeMap::from([(RoomId::MAIN, State::main(self.history))]);
        for (name, value) in reads.settings(STATES) {
            let name = name.strip_prefix(STATES).unwrap_or_default();
            let snapshot = Snapshot::decode(&value).map_err(|_| damaged())?;
            let room = match name {
                "main" => RoomId::MAIN,
                other => RoomId::parse(other).ok_or_else(damaged)?,
            };
            states.insert(room, State::of(room, snapshot));
        }
        for state in states.into_values() {
            if state.has_seat(&me) || !state.is_ordered() {
                let talk = self.talk(state, seed(), reads).map_err(|_| {
                    Refused::new(Refusal::DatabaseFailed, "a room's keys are damaged")
                })?;
                if let Some(mut talk) = talk {
                    self.newest.load(&talk.room, &mut talk.keys.ring, reads);
                    self.rooms.insert(talk.state.room(), talk);
                }
            } else {
                self.known.insert(state.room(), state);
            }
        }
        Ok(())
    }

    fn talk(
        &self,
        state: State,
        seed: [u8; 32],
        reads: &dyn Reads,
    ) -> Result<Option<Talk>, keys::Error> {
        let Some((network, me, life)) = self.place else {
            return Ok(None);
        };
        let id = state.room();
        let mut room = Room::load(id, network, me, life, self.salt, reads);
        room.rule(&state);
        Ok(Some(Talk {
            sync: Sync::new(id, room.own()),
            spread: Spread::default(),
            held_by: reads.held(room.own()).into_iter().collect(),
            past: past::load(&room, reads),
            keys: RoomKeys::load(id, me, (self.from, seed), reads)?,
            state,
            room,
            held: Vec::new(),
            hold_until: None,
            has_posted: false,
            takes_input: true,
            epochs: BTreeMap::new(),
        }))
    }

    /// Whether one more log may be opened because somebody says that it holds more of the present one.
    pub(super) fn may_reopen(&mut self) -> bool {
        self.reopened = self.reopened.saturating_add(1);
        self.reopened <= REOPENED_MAX
    }

    /// We are in this room from now on, or on our way into it.
    pub(super) fn enter(&mut self, state: State, seed: [u8; 32], reads: &dyn Reads) {
        let room = state.room();
        self.known.remove(&room);
        if let Some(talk) = self.rooms.get_mut(&room) {
            if talk.state.charter().history != state.charter().history {
                talk.keys.ask_anew(state.handled());
            }
            talk.room.rule(&state);
            talk.state = state;
            return;
        }
        match self.talk(state, seed, reads) {
            Ok(Some(mut talk)) => {
                // What is stored may be from before we left, if that was a moment ago.
                if let Some(keys) = self.left.remove(&room) {
                    talk.keys = keys;
                }
                self.rooms.insert(room, talk);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, %room, "a room cannot be entered"),
        }
    }

    /// We are in this room no more; what was said stays stored. Gives the messages that wait.
    pub(super) fn quit(&mut self, room: RoomId) -> (Vec<CommandId>, Vec<Write>) {
        let Some(mut talk) = self.rooms.remove(&room) else {
            return (Vec::new(), Vec::new());
        };
        let writes = talk.keys.on_quit();
        let mut writes = writes;
        self.newest.on_quit(room);
        writes.extend(self.newest.take_stale());
        self.known.insert(room, talk.state);
        self.left.insert(room, talk.keys);
        (talk.held.into_iter().map(|(id, _)| id).collect(), writes)
    }

    /// How a room stands.
    pub(super) fn state(&self, room: &RoomId) -> Option<&State> {
        self.rooms.get(room).map(|talk| &talk.state).or_else(|| self.known.get(room))
    }

    pub(super) fn main(&self) -> Option<&Talk> {
        self.rooms.get(&RoomId::MAIN)
    }

    /// Whether there is a key to write under, in the room of everybody.
    pub(super) fn has_key(&self) -> bool {
        self.main().is_some_and(|talk| talk.keys.key().is_some())
    }

    pub(super) fn takes_input(&self) -> bool {
        self.held.len() < HELD_MAX
            && self.rooms.values().all(|talk| talk.takes_input && talk.held.len() < HELD_MAX)
    }

    pub(super) fn on_unlink(&mut self, peer: &PeerId) {
        self.newest.on_unlink(peer);
        for talk in self.rooms.values_mut() {
            talk.sync.on_unlink(peer);
            talk.spread.marks.on_unlink(peer);
        }
    }

    /// Own entries sent to a linked member, in all rooms, and not acknowledged.
    pub(super) fn unacknowledged(&self, peer: &PeerId) -> u64 {
        self.rooms.values().map(|talk| talk.sync.unacknowledged(peer)).sum()
    }

    /// Whether an exit should still wait: messages held, or under way to somebody who listens.
    pub(super) fn has_unsent(&self, now: Mono) -> bool {
        let is_flushing = |it: &Talk| it.sync.is_flushing(it.own_head().0, now);
        !self.held.is_empty()
            || self.rooms.values().any(|it| !it.held.is_empty() || is_flushing(it))
    }
}

impl Talk {
    pub(super) fn own_head(&self) -> (Seq, Hash) {
        let head = self.room.head(&self.room.own());
        (head.seq, head.hash)
    }

    /// The room and what opens its entries.
    pub(super) fn opened(&mut self) -> (&Room, &mut Keyring) {
        (&self.room, &mut self.keys.ring)
    }

    /// The members that are linked and talk with us, in the order of their peer ids.
    pub(super) fn linked(&self) -> Vec<PeerId> {
        self.sync.linked()
    }
}

/// Where each log of a room is to go on: the head that we hold; none of a log that we take no more
/// of. `full`: the authors of whom we store no more.
pub(super) fn wanted<'a>(
    room: &'a Room,
    roster: &'a Roster,
    full: &'a BTreeSet<PeerId>,
) -> impl Fn(&LogId) -> Option<(Seq, Hash)> + 'a {
    move |log| {
        let held = room.head(log);
        let is_open = room.is_open(log)
            && !full.contains(&log.author)
            && roster.member(&log.author).is_some();
        is_open.then_some((held.seq, held.hash))
    }
}
