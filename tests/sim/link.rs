//! Links between nodes: reliable and ordered while they last, and they do not last.
//! Owns: which end believes what, what is on the way, what a partition holds up.
//! Must not know: what a frame says.
//! Invariants: frames of one direction keep their order; every `LinkUp` has one `LinkDown`.
//! Start reading at: [`World::send_frame`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use p2pgroup::ids::{PeerId, RequestId};
use p2pgroup::limits::{QUEUE_FRAMES_MAX, STRANGER_FRAME_BYTES_MAX};
use p2pgroup::protocol::{Address, Event, Link, Transport};

use crate::world::{Happening, World};

/// How one end sees its connection.
struct End {
    conn: u64,
    has_trust: bool,
}

/// All links of a world.
#[derive(Default)]
pub struct Net {
    ends: BTreeMap<(usize, usize), End>,
    /// The ends of a connection that still work; those not up yet included.
    open: BTreeSet<(u64, usize)>,
    /// When the last frame of a direction arrives.
    last: BTreeMap<(u64, usize), u64>,
    /// Held up by a partition.
    stuck: BTreeMap<(usize, usize), Vec<(u64, Bytes)>>,
    /// Directions in which nothing passes.
    pub cut: BTreeSet<(usize, usize)>,
    conns: u64,
    asks: BTreeMap<u64, (usize, usize, u64, RequestId)>,
    last_ask: u64,
}

impl World {
    /// Milliseconds on the way.
    fn delay(&mut self) -> u64 {
        let (low, high) = self.delays;
        self.dice.between(low, high)
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.net.cut.contains(&(one, other)) || self.net.cut.contains(&(other, one))
    }

    pub fn has_link(&self, from: usize, to: usize) -> bool {
        self.net.ends.contains_key(&(from, to))
    }

    pub fn send_frame(&mut self, from: usize, to: usize, bytes: Bytes) {
        let Some(end) = self.net.ends.get(&(from, to)) else { return };
        let conn = end.conn;
        if !self.net.open.contains(&(conn, to)) {
            return;
        }
        self.oracle.asks(from, &bytes);
        if self.net.cut.contains(&(from, to)) {
            let stuck = self.net.stuck.entry((from, to)).or_default();
            stuck.push((conn, bytes));
            if stuck.len() > QUEUE_FRAMES_MAX {
                self.drop_conn(from, to);
            }
            return;
        }
        self.pass_on(from, to, conn, bytes);
    }

    fn pass_on(&mut self, from: usize, to: usize, conn: u64, bytes: Bytes) {
        let at = (self.now + self.delay()).max(*self.net.last.get(&(conn, to)).unwrap_or(&0));
        self.net.last.insert((conn, to), at);
        let twice = self.duplicates && self.dice.one_in(50);
        if twice {
            self.at(at, Happening::Arrive { from, to, conn, bytes: bytes.clone() });
        }
        self.at(at, Happening::Arrive { from, to, conn, bytes });
    }

    pub fn arrive(&mut self, from: usize, to: usize, conn: u64, bytes: Bytes) {
        let Some(end) = self.net.ends.get(&(to, from)).filter(|end| end.conn == conn) else {
            return;
        };
        if bytes.len() > STRANGER_FRAME_BYTES_MAX && !end.has_trust {
            let what = format!("a long frame from {} before trust", self.nodes[from].label);
            self.say(to, &what);
            return self.drop_conn(to, from);
        }
        let peer = self.nodes[from].peer;
        let Some(bytes) = self.tamper(from, to, bytes) else { return };
        self.oracle.brings(to, &bytes);
        self.push(to, Event::Frame { from: peer, bytes });
    }

    pub fn trust(&mut self, at: usize, peer: PeerId) {
        if let Some(other) = self.node_of(&peer)
            && let Some(end) = self.net.ends.get_mut(&(at, other))
        {
            end.has_trust = true;
        }
    }

    /// What a dial will come to.
    pub fn dial(&mut self, from: usize, peer: Option<PeerId>, addresses: Vec<Address>) {
        let target = addresses.iter().find_map(|address| self.node_at(address));
        let boot = self.nodes[from].boot;
        let wait = match target {
            Some(to) if to != from && !self.is_cut(from, to) => self.delay() * 3,
            _ => self.dice.between(5, 3_000),
        };
        let at = self.now + wait;
        self.at(at, Happening::Dialled { from, boot, peer, addresses, target });
    }

    pub fn dialled(
        &mut self,
        from: usize,
        boot: u64,
        peer: Option<PeerId>,
        addresses: Vec<Address>,
        target: Option<usize>,
    ) {
        if self.nodes[from].boot != boot || !self.nodes[from].is_up() {
            return;
        }
        let reached = target.filter(|to| {
            let node = &self.nodes[*to];
            *to != from
                && node.is_up()
                && !node.is_asleep(self.now)
                && !self.is_cut(from, *to)
                && peer.is_none_or(|peer| peer == node.peer)
        });
        let Some(to) = reached else {
            return self.push(from, Event::DialFailed { addresses });
        };
        if self.is_whole(from, to) {
            if peer.is_none() {
                self.push(from, Event::DialFailed { addresses });
            }
            return;
        }
        self.net.conns += 1;
        let conn = self.net.conns;
        let (mine, theirs) = (self.now + 1, self.now + self.delay() + 1);
        for (one, other, at) in [(from, to, mine), (to, from, theirs)] {
            self.net.open.insert((conn, one));
            self.net.last.insert((conn, one), at);
            self.at(at, Happening::Up { one, other, conn, is_outbound: one == from });
        }
    }

    /// Whether both ends of some connection work or come up just now.
    fn is_whole(&self, one: usize, other: usize) -> bool {
        let conn = |a, b| self.net.ends.get(&(a, b)).map(|end| end.conn);
        let is_both =
            |conn| self.net.open.contains(&(conn, one)) && self.net.open.contains(&(conn, other));
        let coming = (self.net.conns.saturating_sub(16)..=self.net.conns).any(is_both);
        coming || conn(one, other).is_some_and(is_both) || conn(other, one).is_some_and(is_both)
    }

    pub fn up(&mut self, one: usize, other: usize, conn: u64, is_outbound: bool) {
        if !self.net.open.contains(&(conn, one)) {
            return;
        }
        self.down(one, other, None);
        self.net.ends.insert((one, other), End { conn, has_trust: false });
        let address = self.nodes[other].address();
        let link = Link { transport: Transport::Tcp, address, is_outbound };
        let peer = self.nodes[other].peer;
        self.say(one, &format!("link up with {}", self.nodes[other].label.clone()));
        self.push(one, Event::LinkUp { peer, link });
    }

    /// One end learns that its connection (a certain one, or any) is gone.
    pub fn down(&mut self, one: usize, other: usize, conn: Option<u64>) {
        let is_meant = |end: &&End| conn.is_none_or(|conn| conn == end.conn);
        let Some(conn) = self.net.ends.get(&(one, other)).filter(is_meant).map(|end| end.conn)
        else {
            if let Some(conn) = conn {
                self.net.open.remove(&(conn, one));
            }
            return;
        };
        self.net.ends.remove(&(one, other));
        self.net.open.remove(&(conn, one));
        self.net.stuck.remove(&(one, other));
        self.say(one, &format!("link down with {}", self.nodes[other].label.clone()));
        let peer = self.nodes[other].peer;
        self.push(one, Event::LinkDown { peer });
        self.tell_end(one, other, conn, true);
    }

    /// The other end learns of the end: at once, or when it stops hearing.
    fn tell_end(&mut self, gone: usize, other: usize, conn: u64, is_told: bool) {
        if !self.net.open.contains(&(conn, other)) {
            return;
        }
        let is_told = is_told && !self.is_cut(gone, other);
        let soonest = *self.net.last.get(&(conn, other)).unwrap_or(&0);
        let wait = if is_told { self.delay() } else { self.dice.between(5_000, 15_000) };
        let at = (self.now + wait).max(soonest);
        self.at(at, Happening::Down { one: other, other: gone, conn });
    }

    /// Both ends lose the connection, one of them now.
    pub fn drop_conn(&mut self, one: usize, other: usize) {
        self.down(one, other, None);
    }

    /// A connection that no longer works in some direction is given up.
    pub fn give_up(&mut self, one: usize, other: usize, conn: u64) {
        let is_dead = self.is_cut(one, other)
            || self.nodes[one].is_asleep(self.now)
            || self.nodes[other].is_asleep(self.now);
        if is_dead {
            for (one, other) in [(one, other), (other, one)] {
                self.down(one, other, Some(conn));
            }
        }
    }

    /// All connections of a node will be given up unless it comes back.
    pub fn expect_silence(&mut self, one: usize, other: usize) {
        if let Some(end) = self.net.ends.get(&(one, other)) {
            let conn = end.conn;
            let at = self.now + self.dice.between(5_000, 15_000);
            self.at(at, Happening::GiveUp { one, other, conn });
        }
    }

    /// The process is gone, and with it its ends.
    pub fn unplug(&mut self, node: usize, is_told: bool) {
        let ends: Vec<(usize, u64)> = self
            .net
            .ends
            .iter()
            .filter(|((one, _), _)| *one == node)
            .map(|((_, other), end)| (*other, end.conn))
            .collect();
        for (other, conn) in ends {
            self.net.ends.remove(&(node, other));
            self.net.open.remove(&(conn, node));
            self.net.stuck.remove(&(node, other));
            self.tell_end(node, other, conn, is_told);
        }
        let pending: Vec<(u64, usize)> =
            self.net.open.iter().filter(|(_, one)| *one == node).copied().collect();
        for (conn, _) in pending {
            self.net.open.remove(&(conn, node));
            // The other end comes up with nobody there, and learns it soon.
            let other = self.net.open.iter().find(|(it, _)| *it == conn).map(|(_, it)| *it);
            if let Some(other) = other {
                self.tell_end(node, other, conn, is_told);
            }
        }
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        if self.net.cut.insert((from, to)) {
            self.say(from, &format!("no longer reaches {}", self.nodes[to].label.clone()));
            self.expect_silence(from, to);
        }
    }

    /// Everything passes again; what was held up arrives.
    pub fn heal(&mut self) {
        self.net.cut.clear();
        for ((from, to), frames) in std::mem::take(&mut self.net.stuck) {
            for (conn, bytes) in frames {
                if self.net.open.contains(&(conn, to)) {
                    self.pass_on(from, to, conn, bytes);
                }
            }
        }
    }

    pub fn ask(&mut self, from: usize, id: RequestId, addresses: &[Address], bytes: Bytes) {
        let to = addresses.iter().find_map(|it| self.node_at(it)).unwrap_or(self.authority);
        self.net.last_ask += 1;
        let number = self.net.last_ask;
        let boot = self.nodes[from].boot;
        self.net.asks.insert(number, (from, to, boot, id));
        let is_reached = self.nodes[to].is_up() && !self.is_cut(from, to);
        let (wait, deadline) = if is_reached {
            (self.delay(), 8_000)
        } else {
            (self.delay(), self.dice.between(5, 3_000))
        };
        if is_reached {
            let at = self.now + wait;
            self.at(at, Happening::Asked { from, to, number, bytes });
        }
        let at = self.now + deadline;
        self.at(at, Happening::NoAnswer { number });
    }

    pub fn asked(&mut self, from: usize, to: usize, number: u64, bytes: Bytes) {
        let peer = self.nodes[from].peer;
        self.push(to, Event::Asked { from: peer, id: RequestId(number), bytes });
    }

    pub fn answer(&mut self, number: RequestId, bytes: Bytes) {
        let at = self.now + self.delay();
        self.at(at, Happening::Answered { number: number.0, bytes });
    }

    pub fn answered(&mut self, number: u64, result: Result<Bytes, String>) {
        let Some((from, to, boot, id)) = self.net.asks.remove(&number) else { return };
        if self.nodes[from].boot == boot && self.nodes[from].is_up() {
            let peer = self.nodes[to].peer;
            let result = result.map(|bytes| (peer, bytes));
            self.push(from, Event::Answered { id, result });
        }
    }
}
