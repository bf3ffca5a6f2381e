//! Collecting from keepers what was left there while we were away.
//! Owns: which shelves are asked for, how far each was read, what becomes of what lies there.
//! Must not know: who left it.
//! Invariants: shelves are read from the oldest epoch on, so that no page leaves a gap before it;
//! how far a shelf was read is stored together with what it held.
//! Start reading at: [`Member::want_shelves`].

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::{Context, Member};
use super::{Asked, KeeperLink};
use crate::ids::{Incarnation, Index, KeyId, PeerId, RoomId, ShelfId};
use crate::limits::SHELVES_MAX;
use crate::protocol::ledger::Ledger;
use crate::protocol::room::Accepted;
use crate::protocol::room::keys::schedule::RoomSecret;
use crate::protocol::{Reads, Write};
use crate::wire::frame::Body;
use crate::wire::keep::{Keep, Kept, Shelved};
use crate::wire::sealed::Sealed;
use crate::wire::sync::{Head, Page};

/// Epochs of a room whose shelves are asked for, the newest: keys change by the day, and a keeper
/// keeps for weeks.
const EPOCHS_MAX: usize = 64;
/// How far a shelf was read.
const READ: &str = "keeping/read/";

fn read_key(keeper: &PeerId, shelf: &ShelfId) -> String {
    format!("{READ}{keeper}/{shelf}")
}

/// The number up to which a shelf was read, if that was in this life of the keeper.
fn read_upto(stored: Option<Bytes>, life: Incarnation) -> u64 {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
    let upto = stored.and_then(|bytes| {
        let (of, upto) = bytes.split_first_chunk::<8>()?;
        (u64::from_be_bytes(*of) == life.0).then(|| number(upto))?
    });
    upto.unwrap_or_default()
}

impl KeeperLink {
    /// What was asked, one question at a time: the oldest epochs first.
    fn next_question(&mut self) -> Option<Keep> {
        if self.is_asking || self.to_ask.is_empty() {
            return None;
        }
        let count = self.to_ask.len().min(SHELVES_MAX);
        let shelves = self.to_ask.drain(..count);
        let asked = shelves.filter_map(|shelf| Some((shelf, self.asked.get(&shelf)?.after)));
        let asked: Vec<(ShelfId, u64)> = asked.collect();
        self.is_asking = !asked.is_empty();
        self.is_asking.then_some(Keep::Collect(asked))
    }
}

impl Member {
    /// The shelves of a room that are new to us, at a keeper.
    pub(super) fn want_shelves(&mut self, room: RoomId, keeper: PeerId, reads: &dyn Reads) {
        let Some(talk) = self.talks.rooms.get(&room) else {
            return;
        };
        let dated = |id: KeyId| Some((talk.keys.since(&id)?, id));
        let mut keys: Vec<(Index, KeyId)> = talk.keys.ring.ids().filter_map(dated).collect();
        keys.sort_unstable();
        let newest = keys.split_off(keys.len().saturating_sub(EPOCHS_MAX));
        for (_, key) in newest {
            let Some(shelf) = self.deposit_key(room, &key, keeper).map(|it| it.shelf()) else {
                continue;
            };
            let Some(link) = self.keeping.keepers.get_mut(&keeper) else {
                return;
            };
            if link.asked.contains_key(&shelf) {
                continue;
            }
            let after = read_upto(reads.setting(&read_key(&keeper, &shelf)), link.life);
            link.asked.insert(shelf, Asked { room, key, after });
            link.to_ask.push(shelf);
        }
    }

    /// Asks every keeper for what was not asked yet.
    pub(super) fn ask_keepers(&mut self, cx: &mut Context<'_>) {
        let mut questions = Vec::new();
        for (keeper, link) in &mut self.keeping.keepers {
            if !std::mem::replace(&mut link.is_pruned, true) {
                // Of epochs long gone nothing is remembered.
                let prefix = format!("{READ}{keeper}/");
                let is_old = |name: &str| {
                    let shelf = name.strip_prefix(&prefix).and_then(ShelfId::parse);
                    shelf.is_none_or(|shelf| !link.asked.contains_key(&shelf))
                };
                let stored = cx.reads.settings(&prefix).into_iter().map(|(name, _)| name);
                let forget = |key| Write::Setting { key, value: None };
                cx.actions.writes.extend(stored.filter(|name| is_old(name)).map(forget));
            }
            questions.extend(link.next_question().map(|question| (*keeper, question)));
        }
        for (keeper, question) in questions {
            self.send(keeper, Body::Keep(question), cx);
        }
    }

    /// What lies on the shelves we asked for.
    pub(super) fn on_collected(
        &mut self,
        from: PeerId,
        shelves: Vec<Shelved>,
        is_answer: bool,
        cx: &mut Context<'_>,
    ) {
        let mut more = Vec::new();
        let mut is_progress = false;
        for shelved in shelves {
            let Some(link) = self.keeping.keepers.get(&from) else {
                return;
            };
            let Some(asked) = link.asked.get(&shelved.shelf).copied() else {
                continue;
            };
            if shelved.upto > asked.after {
                is_progress = true;
                if !self.take_shelved((from, asked), &shelved, cx) {
                    // Its author is not known here yet: read again once the room has moved on.
                    if let Some(link) = self.keeping.keepers.get_mut(&from) {
                        link.asked.remove(&shelved.shelf);
                    }
                    continue;
                }
                self.note_read(from, &shelved, cx);
            }
            if shelved.has_more {
                more.push(shelved.shelf);
            }
        }
        let Some(link) = self.keeping.keepers.get_mut(&from) else {
            return;
        };
        if is_answer {
            link.is_asking = false;
        }
        // Who has nothing and says that there is more is not asked for ever.
        if is_progress {
            more.append(&mut link.to_ask);
            link.to_ask = more;
        }
    }

    fn note_read(&mut self, from: PeerId, shelved: &Shelved, cx: &mut Context<'_>) {
        let Some(link) = self.keeping.keepers.get_mut(&from) else {
            return;
        };
        if let Some(asked) = link.asked.get_mut(&shelved.shelf) {
            asked.after = shelved.upto;
        }
        let value = [link.life.0, shelved.upto].map(u64::to_be_bytes).concat();
        cx.write(&read_key(&from, &shelved.shelf), value.into());
    }

    /// Opens what lay on a shelf. `false` if a page cannot be judged yet.
    fn take_shelved(
        &mut self,
        (from, asked): (PeerId, Asked),
        shelved: &Shelved,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(key) = self.deposit_key(asked.room, &asked.key, from) else {
            return true;
        };
        let mut is_whole = true;
        for sealed in &shelved.sealed {
            let kept = key.open(sealed).and_then(|bytes| Kept::decode(bytes).ok());
            match kept.filter(|kept| kept.page.log.room == asked.room) {
                Some(kept) => {
                    self.take_keys(asked.room, &kept, cx);
                    is_whole &= self.take_kept(from, &kept.page, cx);
                }
                None => tracing::warn!(keeper = %from, "a deposit that does not open"),
            }
        }
        is_whole
    }

    /// Takes the keys that come with a page, before the page: what is told is told as it is stored.
    /// Only those that an entry of the page names; a key is known by its hash.
    fn take_keys(&mut self, room: RoomId, kept: &Kept, cx: &mut Context<'_>) {
        let applied = self.ledger.as_ref().map(Ledger::applied);
        if applied.is_none_or(|applied| applied < kept.index) {
            return;
        }
        let headers = kept.page.envelopes.iter().filter_map(|it| Sealed::decode(it).ok());
        let named: BTreeSet<KeyId> = headers.map(|it| it.header.key_id).collect();
        for (secret, since) in &kept.secrets {
            let secret = RoomSecret::new(*secret.0);
            let key = secret.id(room);
            let Some(talk) = self.talks.rooms.get_mut(&room) else {
                return;
            };
            if !named.contains(&key) || talk.keys.ring.secret(&key).is_some() {
                continue;
            }
            match talk.keys.add(secret) {
                Ok((key, writes)) => {
                    cx.actions.writes.extend(writes);
                    cx.actions.writes.push(talk.keys.note_since(key, *since));
                    self.open_waiting(room, key, cx);
                }
                Err(error) => tracing::warn!(%error, "a key cannot be kept"),
            }
        }
    }

    /// Takes a page that a keeper had, as one that a member sends.
    fn take_kept(&mut self, keeper: PeerId, page: &Page, cx: &mut Context<'_>) -> bool {
        if let Some(ahead) = self.own_ahead(page) {
            self.on_own_head_ahead(ahead, cx);
            return true;
        }
        if self.is_full_for(page.log.room, &page.log.author, cx.now.mono) {
            return false;
        }
        match self.judge_page(keeper, page, cx) {
            None => return false,
            Some(Ok(Accepted::New(entries))) => {
                self.take_new(keeper, page.log.room, entries, cx);
            }
            Some(Ok(Accepted::Fork { at, is_new, entries })) => {
                self.on_fork(page, (at, is_new), entries, cx);
            }
            // What is missing before it only members have.
            Some(Ok(Accepted::Known | Accepted::Gap | Accepted::Lacking | Accepted::Before(_))) => {
            }
            Some(Err(broken)) => {
                tracing::warn!(code = broken.0.code(), author = %page.log.author, "a kept page");
            }
        }
        true
    }

    /// A page of our own log that goes further than we do: this home is an older copy.
    fn own_ahead(&self, page: &Page) -> Option<Head> {
        let talk = self.talks.rooms.get(&page.log.room)?;
        let (seq, _) = page.signatures.last()?;
        let is_ahead = talk.room.own() == page.log && talk.own_head().0 < *seq;
        let sealed = Sealed::decode(page.envelopes.last()?).ok()?;
        is_ahead.then(|| Head { log: page.log, seq: *seq, hash: sealed.hash() })
    }
}
