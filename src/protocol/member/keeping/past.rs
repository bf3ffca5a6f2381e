//! Our own logs of before: what was said ahead of a loss of power, or by an older copy of this home,
//! and has not come to everybody.
//! Owns: what others are known to hold of these logs, restarts included.
//! Must not know: how anything is left with a keeper.
//! Invariants: nobody counts as holding what it did not tell, by the hash, to hold; nothing is left
//! of a log that forked.
//! Start reading at: [`Talk::own_logs`].

use std::collections::BTreeMap;

use super::super::talks::Talk;
use super::super::{Context, Member};
use crate::ids::{LogId, PeerId, RoomId, Seq};
use crate::protocol::room::Room;
use crate::protocol::{Reads, Write};
use crate::wire::sync::Head;

/// By log of before: who holds it up to where.
pub(in crate::protocol::member) type Past = BTreeMap<LogId, BTreeMap<PeerId, Seq>>;

/// What is stored of it.
pub(in crate::protocol::member) fn load(room: &Room, reads: &dyn Reads) -> Past {
    let own = room.own();
    let before = room.logs().filter(|log| log.author == own.author && **log != own);
    before.map(|log| (*log, reads.held(*log).into_iter().collect())).collect()
}

impl Talk {
    /// Our logs here, and their ends: those of before, and at last the one written now.
    pub(super) fn own_logs(&self) -> Vec<(LogId, Seq)> {
        let head = |log: &LogId| Some(self.room.head(log)).filter(|it| it.forked_at.is_none());
        let before = self.past.keys().filter_map(|log| Some((*log, head(log)?.seq)));
        before.chain([(self.room.own(), self.own_head().0)]).collect()
    }

    /// Up to where somebody is known to hold a log of ours.
    pub(super) fn held_of(&self, log: &LogId, peer: &PeerId) -> Seq {
        let held = if *log == self.room.own() { Some(&self.held_by) } else { self.past.get(log) };
        held.and_then(|held| held.get(peer)).copied().unwrap_or_default()
    }
}

impl Member {
    /// Somebody says what it holds: of our logs of before, too.
    pub(in crate::protocol::member) fn note_past(
        &mut self,
        (room, from): (RoomId, PeerId),
        heads: &[Head],
        cx: &mut Context<'_>,
    ) {
        let Some(talk) = self.talks.rooms.get_mut(&room) else {
            return;
        };
        for Head { log, seq, hash } in heads {
            let Some(held) = talk.past.get_mut(log) else {
                continue;
            };
            if held.get(&from).is_some_and(|upto| upto >= seq) {
                continue;
            }
            let ours = cx.reads.entries(*log, *seq, 1);
            if ours.first().is_some_and(|it| it.seq == *seq && it.hash == *hash) {
                held.insert(from, *seq);
                cx.actions.writes.push(Write::Held { log: *log, by: from, upto: *seq });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::{Hash, Incarnation, NetworkId, SessionSalt};
    use crate::protocol::StoredEntry;
    use crate::protocol::room::tests::Shelf;

    const ROOM: RoomId = RoomId([1; 16]);

    fn peer(name: &[u8]) -> PeerId {
        PeerId::of_rsa_spki(name)
    }

    fn log(name: &[u8], life: u64) -> LogId {
        LogId { room: ROOM, author: peer(name), incarnation: Incarnation(life) }
    }

    /// Two logs of alice and one of bob; carol told what she holds of each.
    fn stored() -> Shelf {
        let mut shelf = Shelf::default();
        for log in [log(b"alice", 1), log(b"alice", 2), log(b"bob", 1)] {
            let (seq, hash, bytes) = (Seq(9), Hash([9; 32]), Bytes::new());
            shelf.put(&[StoredEntry { log, seq, lamport: 9, hash, signature: None, bytes }]);
            shelf.held.insert(log, vec![(peer(b"carol"), Seq(log.incarnation.0 + 3))]);
        }
        shelf
    }

    #[test]
    fn of_ones_own_logs_those_of_before_are_known_with_who_holds_them() {
        let (network, salt, stored) = (NetworkId([2; 32]), SessionSalt([3; 16]), stored());
        let room = Room::load(ROOM, network, peer(b"alice"), Incarnation(2), salt, &stored);
        let held = BTreeMap::from([(peer(b"carol"), Seq(4))]);
        assert_eq!(load(&room, &stored), BTreeMap::from([(log(b"alice", 1), held)]));
        // After a loss of power there is a new log, and both are of before.
        let room = Room::load(ROOM, network, peer(b"alice"), Incarnation(3), salt, &stored);
        let logs: Vec<LogId> = load(&room, &stored).into_keys().collect();
        assert_eq!(logs, [log(b"alice", 1), log(b"alice", 2)]);
    }
}
