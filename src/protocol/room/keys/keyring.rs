//! The keys of a room that a member holds: whole epochs, and single logs from a chunk on.
//! Owns: which secret opens which entry; what of it is stored and what is deleted.
//! Must not know: how keys were agreed on, who may be given one.
//! Invariants: an entry is tried under the key it names and no other; what is deleted opens
//! nothing any more, in memory neither; every change is a row to be stored.
//! Start reading at: [`Keyring::open`].

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::schedule::{ChunkKey, RoomSecret};
use super::seal::Cipher;
use super::{Changes, Error};
use crate::ids::{Incarnation, KeyId, LogId, PeerId, RoomId, Seq, SessionSalt};
use crate::limits::{CHUNK_KEYS_MAX, KEYRING_MAX};
use crate::wire::room::Payload;
use crate::wire::sealed::{Body, Header, Sealed};

/// One session of one log under one room secret: what a chunk key belongs to.
pub type Session = (KeyId, LogId, SessionSalt);

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// What it says.
    Plain(Payload),
    /// We do not hold its key, or no longer, or only that of later chunks: ask for it.
    Unknown(KeyId),
    /// We hold its key, and it does not open, or holds nothing we can read. Nothing else is tried.
    Unreadable,
    /// Its ciphertext was deleted.
    Deleted,
}

/// The keys of one room.
#[derive(Debug)]
pub struct Keyring {
    room: RoomId,
    secrets: BTreeMap<KeyId, RoomSecret>,
    grants: BTreeMap<Session, ChunkKey>,
    recent: Recent,
}

impl Keyring {
    /// No key.
    pub fn new(room: RoomId) -> Self {
        let (secrets, grants) = (BTreeMap::new(), BTreeMap::new());
        Self { room, secrets, grants, recent: Recent::default() }
    }

    /// The keys as stored.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a row is none of ours.
    pub fn load(room: RoomId, rows: &[(Bytes, Bytes)]) -> Result<Self, Error> {
        let mut keyring = Self::new(room);
        for (name, value) in rows {
            keyring.load_row(name, value).ok_or(Error::Malformed)?;
        }
        Ok(keyring)
    }

    fn load_row(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let (kind, name) = name.split_first()?;
        if *kind == SECRET {
            let secret = RoomSecret::new(value.try_into().ok()?);
            let id = KeyId::from_bytes(name)?;
            (secret.id(self.room) == id).then(|| self.secrets.insert(id, secret))?;
        } else if *kind == GRANT {
            self.grants.insert(session_of(self.room, name)?, ChunkKey::decode(value)?);
        } else {
            return None;
        }
        Some(())
    }

    /// Takes in an epoch's secret as somebody handed it over; gives its name and the row to store.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn add(&mut self, secret: RoomSecret) -> Result<(KeyId, Changes), Error> {
        if !self.secrets.contains_key(&secret.id(self.room)) {
            self.check_room()?;
        }
        Ok(self.add_own(secret))
    }

    /// The same of a secret that was agreed on or made here: for it there is always room, whatever
    /// others handed over.
    pub fn add_own(&mut self, secret: RoomSecret) -> (KeyId, Changes) {
        let id = secret.id(self.room);
        if self.secrets.contains_key(&id) {
            return (id, Changes::new());
        }
        let row = (secret_row(&id), Some(Bytes::copy_from_slice(secret.expose())));
        self.secrets.insert(id, secret);
        (id, vec![row])
    }

    /// Takes in a granted chunk key. One that opens less than what is held changes nothing.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Malformed`] for another room's.
    pub fn grant(&mut self, session: Session, key: ChunkKey) -> Result<Changes, Error> {
        if session.1.room != self.room {
            return Err(Error::Malformed);
        }
        let held = self.grants.get(&session).map(ChunkKey::index);
        if self.secrets.contains_key(&session.0) || held.is_some_and(|held| held <= key.index()) {
            return Ok(Changes::new());
        }
        self.check_room()?;
        let row = (grant_row(&session), Some(Bytes::copy_from_slice(&key.encode())));
        self.grants.insert(session, key);
        Ok(vec![row])
    }

    /// Whose keys they are.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// The names of the epochs held whole.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.secrets.keys().copied()
    }

    /// An epoch's secret, to be handed on.
    pub fn secret(&self, id: &KeyId) -> Option<&RoomSecret> {
        self.secrets.get(id)
    }

    /// Whether a session is held from a later place on, so that what is before it stays closed.
    pub fn is_granted(&self, session: &Session) -> bool {
        self.grants.contains_key(session)
    }

    /// Whether a part of what this key opens can be opened.
    pub fn has_grant(&self, id: &KeyId) -> bool {
        self.grants.keys().any(|(held, _, _)| held == id)
    }

    /// The key of a session from an entry on, to be handed on.
    pub fn chunk_key(&self, session: &Session, from: Seq) -> Option<ChunkKey> {
        self.root(session)?.advance(ChunkKey::index_of(from))
    }

    /// Seals an entry under the secret its header names.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`], [`Error::TooLong`].
    pub fn seal(&mut self, header: Header, payload: &Payload) -> Result<Sealed, Error> {
        let cipher = self.cipher(&header).ok_or(Error::KeyUnknown)?;
        cipher.seal(header, payload).ok_or(Error::TooLong)
    }

    /// Opens an entry.
    pub fn open(&mut self, entry: &Sealed) -> Opened {
        if matches!(entry.body, Body::Deleted(_)) {
            return Opened::Deleted;
        }
        let id = entry.header.key_id;
        let is_held = entry.header.log.room == self.room && self.secrets.contains_key(&id);
        match self.cipher(&entry.header) {
            Some(cipher) => cipher.open(entry).map_or(Opened::Unreadable, Opened::Plain),
            // Past the end of a log's keys: asking for the key again would bring nothing.
            None if is_held => Opened::Unreadable,
            None => Opened::Unknown(id),
        }
    }

    /// Deletes an epoch: its secret, and what was granted or derived of it.
    pub fn forget(&mut self, id: &KeyId) -> Changes {
        self.recent.forget(id);
        let mut changes = Changes::new();
        if self.secrets.remove(id).is_some() {
            changes.push((secret_row(id), None));
        }
        let sessions: Vec<Session> =
            self.grants.keys().filter(|(held, _, _)| held == id).copied().collect();
        for session in sessions {
            self.grants.remove(&session);
            changes.push((grant_row(&session), None));
        }
        changes
    }

    /// Deletes what opens entries before these places: the epoch's secret, for good, is replaced
    /// by the chunk keys of these sessions from there on. For past epochs alone: what is not
    /// named here opens no more. What is held from a later place on stays as it is.
    pub fn narrow(&mut self, id: &KeyId, kept: &[(LogId, SessionSalt, Seq)]) -> Changes {
        let key_of = |session: &Session, from| {
            self.chunk_key(session, from).or_else(|| self.grants.get(session).cloned())
        };
        let keys: Vec<(Session, ChunkKey)> = kept
            .iter()
            .map(|(log, salt, from)| ((*id, *log, *salt), *from))
            .filter_map(|(session, from)| Some((session, key_of(&session, from)?)))
            .collect();
        let held = self.grants.keys().filter(|(held, _, _)| held == id).count();
        let is_same = |(session, key): &(Session, ChunkKey)| self.grants.get(session) == Some(key);
        if !self.secrets.contains_key(id) && held == keys.len() && keys.iter().all(is_same) {
            return Changes::new();
        }
        let mut changes = self.forget(id);
        for (session, key) in keys {
            changes.push((grant_row(&session), Some(Bytes::copy_from_slice(&key.encode()))));
            self.grants.insert(session, key);
        }
        changes
    }

    fn check_room(&self) -> Result<(), Error> {
        let held = self.secrets.len().saturating_add(self.grants.len());
        if held < KEYRING_MAX { Ok(()) } else { Err(Error::Full) }
    }

    fn root(&self, session: &Session) -> Option<ChunkKey> {
        let (id, log, salt) = session;
        let whole = self.secrets.get(id).map(|secret| ChunkKey::first(secret, log, salt));
        whole.or_else(|| self.grants.get(session).cloned())
    }

    fn cipher(&mut self, header: &Header) -> Option<&Cipher> {
        if header.log.room != self.room {
            return None;
        }
        let session = (header.key_id, header.log, header.session_salt);
        let index = ChunkKey::index_of(header.seq);
        if !self.recent.has(&session, index) {
            let near = self.recent.before(&session, index);
            let key = near.or_else(|| self.root(&session))?.advance(index)?;
            self.recent.put(session, key);
        }
        self.recent.cipher(&session)
    }
}

/// The chunk keys used last, so that entry after entry costs no derivation.
#[derive(Debug, Default)]
struct Recent {
    keys: BTreeMap<Session, (ChunkKey, Cipher)>,
    /// In order of their first use; the oldest goes.
    order: VecDeque<Session>,
}

impl Recent {
    fn has(&self, session: &Session, index: u64) -> bool {
        self.keys.get(session).is_some_and(|(key, _)| key.index() == index)
    }

    fn before(&self, session: &Session, index: u64) -> Option<ChunkKey> {
        self.keys.get(session).map(|(key, _)| key).filter(|key| key.index() <= index).cloned()
    }

    fn cipher(&self, session: &Session) -> Option<&Cipher> {
        self.keys.get(session).map(|(_, cipher)| cipher)
    }

    fn put(&mut self, session: Session, key: ChunkKey) {
        let cipher = Cipher::new(&key);
        if self.keys.insert(session, (key, cipher)).is_none() {
            self.order.push_back(session);
        }
        while self.order.len() > CHUNK_KEYS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, id: &KeyId) {
        self.keys.retain(|(held, _, _), _| held != id);
        self.order.retain(|(held, _, _)| held != id);
    }
}

const SECRET: u8 = b's';
const GRANT: u8 = b'g';

fn secret_row(id: &KeyId) -> Bytes {
    [&[SECRET][..], id.as_bytes()].concat().into()
}

fn grant_row((id, log, salt): &Session) -> Bytes {
    let incarnation = log.incarnation.0.to_be_bytes();
    [&[GRANT][..], id.as_bytes(), &incarnation, salt.as_bytes(), log.author.as_bytes()]
        .concat()
        .into()
}

fn session_of(room: RoomId, name: &[u8]) -> Option<Session> {
    let (id, name) = name.split_first_chunk::<32>()?;
    let (incarnation, name) = name.split_first_chunk::<8>()?;
    let (salt, author) = name.split_first_chunk::<16>()?;
    let author = PeerId::from_bytes(author)?;
    let log = LogId { room, author, incarnation: Incarnation(u64::from_be_bytes(*incarnation)) };
    Some((KeyId(*id), log, SessionSalt(*salt)))
}
