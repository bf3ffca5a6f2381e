//! Members of a room who agree on keys, by MLS and by the toy, restarted at every step.
//! Owns: [`World`]: members, their stored rows, and one order of commits.
//! Must not know: control logs, links.
//! Invariants: every member is loaded from what was stored before everything it does.
//! Start reading at: [`World`].

mod agreement;
mod faults;
mod scale;
mod sealing;

use std::collections::{BTreeMap, BTreeSet};

use super::mls::Mls;
use super::toy::Toy;
use super::*;
use crate::identity::keys::Device;

const ROOM: RoomId = RoomId::MAIN;
const GROUP: GroupId = GroupId([9; 16]);

fn both() -> [&'static dyn KeyAgreements; 2] {
    [&Mls, &Toy::SOUND]
}

fn peer(number: u8) -> PeerId {
    PeerId::of_rsa_spki(&[number; 40])
}

/// Who belongs, as a control log would say it.
#[derive(Clone, Debug, Default)]
struct Roster {
    bound: BTreeSet<Leaf>,
    belong: BTreeSet<Leaf>,
    /// Who may add and remove others; empty: everybody.
    admins: BTreeSet<PeerId>,
}

impl Judge for Roster {
    fn is_bound(&self, leaf: &Leaf) -> bool {
        self.bound.contains(leaf)
    }
    fn may_hold(&self, leaf: &Leaf) -> bool {
        self.belong.contains(leaf)
    }
    fn may_change(&self, change: &Change) -> bool {
        let is_plain = change.is_external || (change.added.is_empty() && change.removed.is_empty());
        is_plain || self.admins.is_empty() || self.admins.contains(&change.by)
    }
}

struct Member {
    peer: PeerId,
    device: Device,
    rows: BTreeMap<Bytes, Bytes>,
    packages: Vec<KeyPackage>,
}

impl Member {
    fn leaf(&self) -> Leaf {
        Leaf { peer: self.peer, device: self.device.device() }
    }

    fn store(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }
}

/// Members and the order of their commits.
struct World {
    kind: &'static dyn KeyAgreements,
    members: Vec<Member>,
    roster: Roster,
    seed: u64,
}

impl World {
    /// So many members; the first makes the group.
    fn new(kind: &'static dyn KeyAgreements, count: u8) -> Self {
        let mut world = Self { kind, members: Vec::new(), roster: Roster::default(), seed: 0 };
        for number in 0..count {
            world.enter(number, number);
        }
        let (seed, first) = (world.seed(), &mut world.members[0]);
        let (_, changes) = kind.create(ROOM, GROUP, first.peer, &first.device, seed).unwrap();
        first.store(changes);
        world
    }

    /// With all of them in the room.
    fn full(kind: &'static dyn KeyAgreements, count: u8) -> Self {
        let mut world = Self::new(kind, count);
        let rest: Vec<usize> = (1..usize::from(count)).collect();
        world.invite(0, &rest);
        world
    }

    fn enter(&mut self, number: u8, device: u8) -> usize {
        let device = Device::from_secret(&[device.wrapping_add(1); 32]);
        let (rows, packages) = (BTreeMap::new(), Vec::new());
        let member = Member { peer: peer(number), device, rows, packages };
        self.roster.bound.insert(member.leaf());
        self.roster.belong.insert(member.leaf());
        self.members.push(member);
        self.members.len() - 1
    }

    fn seed(&mut self) -> [u8; 32] {
        self.seed += 1;
        Hash::of("test seed", &[&self.seed.to_be_bytes()]).0
    }

    /// The group as loaded from what is stored.
    fn load(&mut self, who: usize) -> Box<dyn KeyAgreement> {
        let (seed, member) = (self.seed(), &self.members[who]);
        let rows: Rows = member.rows.clone().into_iter().collect();
        self.kind.load(ROOM, member.peer, &rows, seed).unwrap()
    }

    fn package(&mut self, who: usize) -> Bytes {
        let (seed, kind, member) = (self.seed(), self.kind, &mut self.members[who]);
        let package = kind.key_package(member.peer, &member.device, seed).unwrap();
        member.packages.push(package.clone());
        package.public
    }

    fn try_stage(&mut self, who: usize, wish: &Wish) -> Result<Pending, Error> {
        let (mut group, member) = (self.load(who), &mut self.members[who]);
        let changes = group.stage(wish, &self.roster, &member.device)?;
        member.store(changes);
        Ok(self.load(who).pending().cloned().expect("it is stored"))
    }

    fn stage(&mut self, who: usize, add: &[usize], remove: &[usize]) -> Pending {
        let add = add.iter().map(|who| self.package(*who)).collect();
        let remove = remove.iter().map(|who| self.members[*who].peer).collect();
        self.try_stage(who, &Wish { add, remove }).unwrap()
    }

    fn order_at(&mut self, who: usize, commit: &Bytes) -> Result<Verdict, Error> {
        let mut group = self.load(who);
        let (verdict, changes) = group.ordered(commit, &self.roster)?;
        let (epoch, is_member) = (group.authenticator(), group.is_member());
        self.members[who].store(changes);
        let again = self.load(who);
        assert_eq!((again.authenticator(), again.is_member()), (epoch, is_member));
        assert_eq!(again.pending(), group.pending());
        Ok(verdict)
    }

    /// Gives a commit to these members; all must merge it.
    fn order(&mut self, commit: &Bytes, to: &[usize]) {
        for who in to {
            let verdict = self.order_at(*who, commit).unwrap();
            assert!(matches!(verdict, Verdict::Merged { .. }), "{who}: {verdict:?}");
        }
    }

    fn welcome(&mut self, who: usize, welcome: &Bytes) -> Result<(), Error> {
        let (seed, member) = (self.seed(), &mut self.members[who]);
        let private = member.packages.last().expect("a package").private.clone();
        let (peer, judge) = (member.peer, &self.roster);
        let (_, changes) = self.kind.join_welcome(ROOM, peer, welcome, &private, judge, seed)?;
        member.rows.clear();
        member.store(changes);
        member.packages.pop();
        Ok(())
    }

    /// Adds members by welcome; `who` alone follows.
    fn invite(&mut self, who: usize, others: &[usize]) {
        let pending = self.stage(who, others, &[]);
        self.order(&pending.commit, &[who]);
        for other in others {
            self.welcome(*other, pending.welcome.as_ref().expect("a welcome")).unwrap();
        }
    }

    /// Prepares a joining by external commit, from what `from` hands out.
    fn try_rejoin(&mut self, who: usize, from: usize) -> Result<Bytes, Error> {
        let group = self.load(from);
        let info = group.group_info(&self.members[from].device).unwrap();
        let (seed, member) = (self.seed(), &mut self.members[who]);
        let (peer, judge, device) = (member.peer, &self.roster, &member.device);
        let (group, changes) = self.kind.join_external(ROOM, peer, &info, judge, device, seed)?;
        member.rows.clear();
        member.store(changes);
        Ok(group.pending().expect("its own commit").commit.clone())
    }

    fn secret(&mut self, who: usize) -> RoomSecret {
        self.load(who).secret().unwrap()
    }

    /// That these share one epoch and one secret.
    fn agree(&mut self, who: &[usize]) {
        let first = self.load(who[0]);
        for other in who {
            let group = self.load(*other);
            assert!(group.is_member(), "{other}");
            assert_eq!(group.epoch(), first.epoch(), "{other}");
            assert_eq!(group.authenticator(), first.authenticator(), "{other}");
            assert_eq!(group.leaves(), first.leaves(), "{other}");
            assert_eq!(group.secret(), first.secret(), "{other}");
        }
    }
}
