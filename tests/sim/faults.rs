//! What befalls nodes: kills, losses of power, of disks and of time; lies on the way.
//! Owns: what each of them does to a node.
//! Must not know: when they happen.
//! Invariants: what survives is what would survive on a real machine.
//! Start reading at: [`World::kill`].

use bytes::Bytes;
use p2pgroup::ids::{DeviceKey, Incarnation};
use p2pgroup::protocol::member;
use p2pgroup::wire::frame::Frame;

use crate::checks::Checks;
use crate::disk::Disk;
use crate::node::Kind;
use crate::world::{Happening, World};

impl World {
    /// The process ends in the middle of something, and nobody starts it again.
    pub fn switch_off(&mut self, node: usize) {
        self.say(node, "is switched off");
        self.nodes[node].running = None;
        self.nodes[node].disk.roll_back();
        self.unplug(node, true);
    }

    /// The process ends in the middle of something.
    pub fn kill(&mut self, node: usize, how: &str) {
        self.say(node, &format!("is killed {how}"));
        self.nodes[node].running = None;
        self.nodes[node].disk.roll_back();
        self.unplug(node, true);
        self.restart_later(node);
    }

    pub fn lose_power(&mut self, node: usize) {
        self.say(node, "loses its power");
        self.nodes[node].running = None;
        self.nodes[node].disk.lose_power();
        self.nodes[node].has_lost_power = true;
        self.unplug(node, false);
        self.restart_later(node);
    }

    pub fn restart_later(&mut self, node: usize) {
        let wait = match self.dice.below(3) {
            0 => self.dice.between(1, 100),
            1 => self.dice.between(100, 3_000),
            _ => self.dice.between(3_000, 15_000),
        };
        if self.dice.one_in(4) {
            self.nodes[node].moves += 1;
        }
        let at = self.now + wait;
        self.at(at, Happening::Start { node });
    }

    /// The database is gone; the key file is not.
    pub fn wipe(&mut self, node: usize) {
        self.say(node, "loses its database");
        self.oracle.lost.insert(node);
        self.nodes[node].running = None;
        self.unplug(node, true);
        let life = Incarnation(self.dice.number());
        let device = DeviceKey(self.dice.bytes());
        let it = &mut self.nodes[node];
        it.disk = Disk::default();
        it.copy = None;
        it.incarnation = life;
        it.past_devices.push(it.device);
        if it.kind == Kind::Member {
            it.device = device;
        }
        self.restart_later(node);
    }

    /// What was said is from an older copy.
    pub fn restore(&mut self, node: usize) {
        let Some(copy) = self.nodes[node].copy.take() else { return };
        self.say(node, "goes on with an older copy of what was said");
        self.oracle.lost.insert(node);
        self.nodes[node].running = None;
        self.unplug(node, true);
        self.nodes[node].disk.roll_back();
        self.nodes[node].disk.restore_talk(&copy);
        self.restart_later(node);
    }

    /// A backup takes the place of the database: it has forgotten what a new life must not have.
    pub fn restore_backup(&mut self, node: usize) {
        let Some(copy) = self.nodes[node].copy.take() else { return };
        self.say(node, "goes on with a backup");
        self.oracle.lost.insert(node);
        self.nodes[node].running = None;
        self.unplug(node, true);
        let (life, device) = (Incarnation(self.dice.number()), DeviceKey(self.dice.bytes()));
        let it = &mut self.nodes[node];
        it.disk = copy;
        it.disk.roll_back();
        for write in member::life::new_life(&it.disk) {
            it.disk.apply(write);
        }
        it.disk.commit(true);
        it.incarnation = life;
        it.past_devices.push(it.device);
        it.device = device;
        self.restart_later(node);
    }

    /// Somebody sets a node's clock.
    pub fn set_clock(&mut self, node: usize, ahead: u64) {
        self.say(node, &format!("sets its clock {ahead} ms ahead of the world's"));
        self.nodes[node].skew = ahead;
    }

    /// Awake, up, and nothing goes wrong any more.
    pub fn calm(&mut self) {
        (self.crashes, self.tampers, self.is_slow) = (0, 0, false);
        self.heal();
        for node in 0..self.nodes.len() {
            let now = self.now;
            let it = &mut self.nodes[node];
            if it.is_asleep(now) {
                it.stood_still = it.stood_still.saturating_sub(it.asleep_until - now);
                it.asleep_until = now;
                if it.has_turn {
                    let boot = it.boot;
                    self.at(now, Happening::Turn { node, boot });
                }
            }
            if !self.nodes[node].is_up() {
                let at = now + self.dice.between(0, 1_000);
                self.at(at, Happening::Start { node });
            }
        }
    }

    /// Nothing is handled for a while; the monotonic clock may stand still with it.
    pub fn sleep(&mut self, node: usize, span: u64, stands_still: bool) {
        self.say(node, &format!("sleeps for {span} ms"));
        let now = self.now;
        let it = &mut self.nodes[node];
        it.asleep_until = now + span;
        if stands_still {
            it.stood_still += span;
        }
        for other in 0..self.nodes.len() {
            self.expect_silence(node, other);
        }
    }

    /// From here on a plan looks itself: one of the leaders breaks what all others keep.
    pub fn look_away(&mut self) {
        self.checks = Checks::default();
    }

    /// An evil peer changes what it passes on, or keeps it.
    pub fn tamper(&mut self, from: usize, to: usize, bytes: Bytes) -> Option<Bytes> {
        if let Some(liar) = self.liar.as_ref().filter(|it| it.node == from).cloned() {
            let Ok(Frame { network, body }) = Frame::decode(&bytes) else { return Some(bytes) };
            let body = liar.tells(self, to, body)?;
            return Some(Frame { network, body }.encode());
        }
        Some(self.tampered(from, to, bytes))
    }

    fn tampered(&mut self, from: usize, to: usize, bytes: Bytes) -> Bytes {
        let (is_bare, is_silent) = (self.broken.bare_seq, self.broken.silent_forks);
        let is_evil = self.tampers > 0 && self.dice.one_in(self.tampers);
        if !is_bare && !is_silent && !is_evil {
            return bytes;
        }
        let Ok(mut frame) = Frame::decode(&bytes) else { return bytes };
        if is_bare {
            crate::oracle::strip_hashes(&mut frame.body, &self.nodes[to].disk);
        }
        if is_silent {
            crate::oracle::strip_forks(&mut frame.body, &self.nodes[from].disk);
        }
        if is_evil && crate::oracle::falsify(&mut frame.body, &mut self.dice) {
            self.say(from, "says what is not so");
        }
        frame.encode()
    }
}
