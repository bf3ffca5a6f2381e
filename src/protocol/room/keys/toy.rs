//! Agreement on room keys without cryptography, for the simulator: byte for byte the same in every
//! run, and the same events as MLS.
//! Owns: the toy's commits, group infos and welcomes.
//! Must not know: MLS.
//! Invariants: an epoch's secret is fresh, and nothing one held before leads to it; the rules of
//! `rules` are the real ones.
//! Start reading at: [`Toy`].
//!
//! Every commit brings a fresh secret, hidden for each leaf that remains under that leaf's device
//! key, which is public: it keeps honest code honest and hides nothing from an attacker. Commits are
//! not signed either; the intents that carry them are.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::rules::{self, Change, Judge, Leaf, Proposed};
use super::schedule::RoomSecret;
use super::{
    Begun, Changes, Error, KeyAgreement, KeyAgreements, KeyPackage, Pending, Verdict, Wish,
    commit_hash,
};
use crate::identity::Proofs;
use crate::ids::{DeviceKey, GroupId, Hash, PeerId, RoomId};
use crate::limits::{COMMIT_BYTES_MAX, GROUP_INFO_BYTES_MAX, MEMBERS_MAX};

const ROW_STATE: &[u8] = b"toy state";
const ROW_PENDING: &[u8] = b"toy pending";

/// Makes toy groups.
#[derive(Clone, Copy, Debug)]
pub struct Toy {
    /// Whether nobody but its maker can follow what is committed.
    spoils: bool,
}

impl Toy {
    /// As it should be.
    pub const SOUND: Self = Self { spoils: false };
    /// That of a member with a program of its own, which keeps everybody else out.
    pub const SPOILING: Self = Self { spoils: true };
}

/// What everybody may see of a group, and what its members hold.
#[derive(Clone, PartialEq, Eq)]
struct State {
    group: GroupId,
    epoch: u64,
    /// Hash over all commits so far.
    history: Hash,
    leaves: Vec<Leaf>,
}

/// How far we are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    In,
    Joining,
    Out,
}

struct Group {
    room: RoomId,
    me: Leaf,
    state: State,
    secret: [u8; 32],
    stage: Stage,
    pending: Option<Pending>,
    seed: Hash,
    spoils: bool,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Toy({:?} {} {:?})", self.state.group, self.state.epoch, self.stage)
    }
}

/// A toy commit.
struct Commit {
    group: GroupId,
    epoch: u64,
    history: Hash,
    by: Leaf,
    is_external: bool,
    added: Vec<Leaf>,
    removed: Vec<Leaf>,
    /// Hash of the fresh secret.
    check: Hash,
    /// The secret, hidden for each leaf after it, in their order.
    shares: Vec<Hash>,
}

impl KeyAgreements for Toy {
    fn key_package(
        &self,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<KeyPackage, Error> {
        let mut out = Out::default();
        out.leaf(&Leaf { peer: me, device: proofs.device() });
        out.bytes(&seed);
        let public = Bytes::from(out.0);
        Ok(KeyPackage { private: public.clone(), public })
    }

    fn create(
        &self,
        room: RoomId,
        group: GroupId,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        let me = Leaf { peer: me, device: proofs.device() };
        let state = State { group, epoch: 0, history: Hash::ZERO, leaves: vec![me] };
        let secret = Hash::of("toy first secret", &[&seed]).0;
        Ok(begin(Group {
            room,
            me,
            state,
            secret,
            stage: Stage::In,
            pending: None,
            seed: Hash(seed),
            spoils: self.spoils,
        }))
    }

    fn load(
        &self,
        room: RoomId,
        me: PeerId,
        rows: &[(Bytes, Bytes)],
        seed: [u8; 32],
    ) -> Result<Box<dyn KeyAgreement>, Error> {
        let row = |name: &[u8]| rows.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let mut it = In(row(ROW_STATE).ok_or(Error::Malformed)?);
        let mut read = || {
            let stage = match it.take::<1>()? {
                [0] => Stage::In,
                [1] => Stage::Joining,
                _ => Stage::Out,
            };
            Some((stage, it.leaf()?, it.take::<32>()?, it.state()?))
        };
        let (stage, own, secret, state) = read().ok_or(Error::Malformed)?;
        let pending = match row(ROW_PENDING) {
            Some(row) => Some(Pending::decode(row).ok_or(Error::Malformed)?),
            None => None,
        };
        if own.peer != me {
            return Err(Error::Malformed);
        }
        let spoils = self.spoils;
        Ok(Box::new(Group {
            room,
            me: own,
            state,
            secret,
            stage,
            pending,
            seed: Hash(seed),
            spoils,
        }))
    }

    fn join_external(
        &self,
        room: RoomId,
        me: PeerId,
        info: &Bytes,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        let me = Leaf { peer: me, device: proofs.device() };
        let state = whole(info, GROUP_INFO_BYTES_MAX, |it| it.state()).ok_or(Error::Malformed)?;
        rules::check_leaves(&state.leaves, judge).map_err(Error::Refused)?;
        if state.leaves.iter().any(|leaf| leaf.peer == me.peer && *leaf != me) {
            return Err(Error::OldLeaf);
        }
        let removed = state.leaves.iter().filter(|leaf| **leaf == me).copied().collect();
        let mut group = Group {
            room,
            me,
            state,
            secret: [0; 32],
            stage: Stage::Joining,
            pending: None,
            seed: Hash(seed),
            spoils: self.spoils,
        };
        let commit = group.commit(true, Vec::new(), removed);
        group.pending = Some(Pending::new(commit, None));
        Ok(begin(group))
    }

    fn join_welcome(
        &self,
        room: RoomId,
        me: PeerId,
        welcome: &Bytes,
        private: &Bytes,
        judge: &dyn Judge,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        let (own, name) = package(private).ok_or(Error::Malformed)?;
        let read = |it: &mut In<'_>| Some((it.state()?, it.list(|it| it.take::<64>())?));
        let (state, shares) = whole(welcome, GROUP_INFO_BYTES_MAX, read).ok_or(Error::Malformed)?;
        let secret = shares.iter().find_map(|share| {
            let (to, hidden) = share.split_first_chunk::<32>()?;
            let hidden = <[u8; 32]>::try_from(hidden).ok()?;
            (*to == name.0).then(|| mask(&own.device, &state.group, state.epoch, &hidden))
        });
        let secret = secret.ok_or(Error::NotForUs)?;
        rules::check_leaves(&state.leaves, judge).map_err(Error::Refused)?;
        if own.peer != me || !state.leaves.contains(&own) {
            return Err(Error::Malformed);
        }
        Ok(begin(Group {
            room,
            me: own,
            state,
            secret,
            stage: Stage::In,
            pending: None,
            seed: Hash(seed),
            spoils: self.spoils,
        }))
    }
}

fn begin(group: Group) -> Begun {
    let changes = group.rows();
    (Box::new(group), changes)
}

impl Group {
    fn rows(&self) -> Changes {
        let mut out = Out::default();
        out.bytes(&[match self.stage {
            Stage::In => 0,
            Stage::Joining => 1,
            Stage::Out => 2,
        }]);
        out.leaf(&self.me);
        out.bytes(&self.secret);
        out.state(&self.state);
        vec![
            (Bytes::from_static(ROW_STATE), Some(out.0.into())),
            (Bytes::from_static(ROW_PENDING), self.pending.as_ref().map(Pending::encode)),
        ]
    }

    fn commit(&mut self, is_external: bool, added: Vec<Leaf>, removed: Vec<Leaf>) -> Bytes {
        self.seed = Hash::of("toy seed", &[self.seed.as_bytes()]);
        let fresh = Hash::of("toy fresh secret", &[self.seed.as_bytes()]);
        let State { group, epoch, history, .. } = self.state;
        let mut commit = Commit {
            group,
            epoch,
            history,
            by: self.me,
            is_external,
            added,
            removed,
            check: Hash::of("toy check", &[fresh.as_bytes()]),
            shares: Vec::new(),
        };
        let next = epoch.saturating_add(1);
        commit.shares = commit
            .leaves_after(&self.state.leaves)
            .iter()
            .map(|leaf| match self.spoils && !is_external && *leaf != self.me {
                true => Hash::ZERO,
                false => Hash(mask(&leaf.device, &group, next, &fresh.0)),
            })
            .collect();
        commit.encode()
    }

    /// Judges a commit by what everybody can see.
    fn inspect(
        &self,
        bytes: &Bytes,
        judge: &dyn Judge,
    ) -> Result<(Commit, Change, State), &'static str> {
        let commit = whole(bytes, COMMIT_BYTES_MAX, Commit::read).ok_or("malformed")?;
        if commit.group != self.state.group {
            return Err("of another group");
        }
        if commit.epoch != self.state.epoch || commit.history != self.state.history {
            return Err("of another epoch");
        }
        let leaves = &self.state.leaves;
        let is_in = |leaf: &Leaf| leaves.contains(leaf);
        if !commit.removed.iter().all(is_in) || (!commit.is_external && !is_in(&commit.by)) {
            return Err("of leaves that are not there");
        }
        if !commit.is_external && commit.removed.contains(&commit.by) {
            return Err("its maker removed itself");
        }
        let proposed = Proposed {
            by: commit.by,
            renewed: None,
            is_external: commit.is_external,
            added: commit.added.clone(),
            removed: commit.removed.clone(),
        };
        let change = rules::check(leaves, &proposed, judge)?;
        let after = commit.leaves_after(leaves);
        if commit.shares.len() != after.len() {
            return Err("a share for each, and no more");
        }
        let history = Hash::of("toy history", &[commit.history.as_bytes(), bytes]);
        let epoch = commit.epoch.saturating_add(1);
        let state = State { group: commit.group, epoch, history, leaves: after };
        Ok((commit, change, state))
    }

    fn judge_ordered(&mut self, bytes: &Bytes, judge: &dyn Judge) -> Verdict {
        let is_own = self.pending.as_ref().is_some_and(|own| own.hash == commit_hash(bytes));
        let is_joining = self.stage == Stage::Joining;
        let (commit, change, next) = match self.inspect(bytes, judge) {
            Ok(judged) => judged,
            Err(rule) => {
                if is_own {
                    self.pending = None;
                    self.stage = if is_joining { Stage::Out } else { self.stage };
                }
                return Verdict::BadPublic(rule);
            }
        };
        if is_joining && !is_own {
            (self.stage, self.pending) = (Stage::Out, None);
            return Verdict::BadPrivate("another commit came first");
        }
        // As in MLS, what one made oneself opens only while one still holds it.
        if !is_own && commit.by == self.me && !commit.is_external {
            return Verdict::BadPrivate("its secrets are of no use here");
        }
        let Some(at) = next.leaves.iter().position(|leaf| *leaf == self.me) else {
            (self.stage, self.pending, self.secret) = (Stage::Out, None, [0; 32]);
            self.state = next;
            return Verdict::Merged { change, is_out: true };
        };
        // A leaf of ours that we did not put there is a copy of us, which has just thrown us out.
        if commit.is_external && commit.by == self.me && !is_own {
            (self.stage, self.pending, self.secret) = (Stage::Out, None, [0; 32]);
            self.state = next;
            return Verdict::Merged { change, is_out: true };
        }
        let share = commit.shares.get(at).copied().unwrap_or(Hash::ZERO);
        let fresh = mask(&self.me.device, &next.group, next.epoch, &share.0);
        if Hash::of("toy check", &[&fresh]) != commit.check {
            return Verdict::BadPrivate("its secrets are of no use here");
        }
        (self.stage, self.pending, self.secret, self.state) = (Stage::In, None, fresh, next);
        Verdict::Merged { change, is_out: false }
    }
}

impl KeyAgreement for Group {
    fn group(&self) -> GroupId {
        self.state.group
    }
    fn epoch(&self) -> u64 {
        self.state.epoch
    }
    fn authenticator(&self) -> Hash {
        Hash::of("toy epoch", &[self.state.history.as_bytes(), &self.secret])
    }
    fn leaves(&self) -> Vec<Leaf> {
        self.state.leaves.clone()
    }
    fn is_member(&self) -> bool {
        self.stage == Stage::In
    }

    fn secret(&self) -> Result<RoomSecret, Error> {
        if !self.is_member() {
            return Err(Error::NotMember);
        }
        let parts: [&[u8]; 3] = [&self.secret, self.state.history.as_bytes(), self.room.as_bytes()];
        Ok(RoomSecret::new(Hash::of("toy room secret", &parts).0))
    }

    fn group_info(&self, _: &dyn Proofs) -> Result<Bytes, Error> {
        if !self.is_member() {
            return Err(Error::NotMember);
        }
        let mut out = Out::default();
        out.state(&self.state);
        Ok(out.0.into())
    }

    fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    fn stage(&mut self, wish: &Wish, judge: &dyn Judge, _: &dyn Proofs) -> Result<Changes, Error> {
        if !self.is_member() {
            return Err(Error::NotMember);
        }
        if self.pending.is_some() {
            return Err(Error::Pending);
        }
        let packages = wish.add.iter().map(package).collect::<Option<Vec<_>>>();
        let packages = packages.ok_or(Error::Malformed)?;
        let at = |peer: &PeerId| self.state.leaves.iter().find(|leaf| leaf.peer == *peer).copied();
        let removed = wish.remove.iter().map(at).collect::<Option<Vec<_>>>();
        let removed = removed.ok_or(Error::Refused("not in the room"))?;
        let added = packages.iter().map(|(leaf, _)| *leaf).collect();
        let bytes = self.commit(false, added, removed);
        let (commit, _, next) = self.inspect(&bytes, judge).map_err(Error::Refused)?;
        let welcome = (!packages.is_empty()).then(|| {
            let mut out = Out::default();
            out.state(&next);
            out.list(&packages, |out, (leaf, name)| {
                let at = next.leaves.iter().position(|one| one == leaf).unwrap_or(0);
                out.bytes(name.as_bytes());
                out.bytes(commit.shares.get(at).unwrap_or(&Hash::ZERO).as_bytes());
            });
            Bytes::from(out.0)
        });
        self.pending = Some(Pending::new(bytes, welcome));
        Ok(self.rows())
    }

    fn clear(&mut self) -> Result<Changes, Error> {
        if self.stage == Stage::In {
            self.pending = None;
        }
        Ok(self.rows())
    }

    fn ordered(&mut self, commit: &Bytes, judge: &dyn Judge) -> Result<(Verdict, Changes), Error> {
        if self.stage == Stage::Out {
            return Err(Error::NotMember);
        }
        let verdict = self.judge_ordered(commit, judge);
        Ok((verdict, self.rows()))
    }
}

impl Commit {
    fn leaves_after(&self, leaves: &[Leaf]) -> Vec<Leaf> {
        let remain = leaves.iter().filter(|leaf| !self.removed.contains(leaf));
        let own = self.is_external.then_some(&self.by);
        remain.chain(&self.added).chain(own).copied().collect()
    }

    fn encode(&self) -> Bytes {
        let mut out = Out::default();
        out.bytes(self.group.as_bytes());
        out.bytes(&self.epoch.to_be_bytes());
        out.bytes(self.history.as_bytes());
        out.leaf(&self.by);
        out.bytes(&[u8::from(self.is_external)]);
        out.list(&self.added, Out::leaf);
        out.list(&self.removed, Out::leaf);
        out.bytes(self.check.as_bytes());
        out.list(&self.shares, |out, share| out.bytes(share.as_bytes()));
        out.0.into()
    }

    fn read(it: &mut In<'_>) -> Option<Self> {
        Some(Self {
            group: GroupId(it.take()?),
            epoch: u64::from_be_bytes(it.take()?),
            history: Hash(it.take()?),
            by: it.leaf()?,
            is_external: it.take::<1>()? == [1],
            added: it.list(|it| it.leaf())?,
            removed: it.list(|it| it.leaf())?,
            check: Hash(it.take()?),
            shares: it.list(|it| it.take().map(Hash))?,
        })
    }
}

/// Whose a key package is, and its name.
fn package(bytes: &Bytes) -> Option<(Leaf, Hash)> {
    let read = |it: &mut In<'_>| {
        let leaf = it.leaf()?;
        it.take::<32>()?;
        Some(leaf)
    };
    Some((whole(bytes, 256, read)?, Hash::of("toy key package", &[bytes])))
}

/// Hides a secret for a leaf, and shows it again.
fn mask(device: &DeviceKey, group: &GroupId, epoch: u64, secret: &[u8; 32]) -> [u8; 32] {
    let parts = [device.as_bytes(), group.as_bytes(), &epoch.to_be_bytes()];
    let with = Zeroizing::new(Hash::of("toy mask", &parts).0);
    let mut hidden = *secret;
    hidden.iter_mut().zip(with.iter()).for_each(|(byte, with)| *byte ^= with);
    hidden
}

/// Reads a whole value of bounded size.
fn whole<T>(
    bytes: &Bytes,
    bytes_max: usize,
    read: impl FnOnce(&mut In<'_>) -> Option<T>,
) -> Option<T> {
    let mut it = In(bytes);
    let value = read(&mut it)?;
    (bytes.len() <= bytes_max && it.0.is_empty()).then_some(value)
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn leaf(&mut self, leaf: &Leaf) {
        self.bytes(leaf.peer.as_bytes());
        self.bytes(leaf.device.as_bytes());
    }
    fn list<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.bytes(&u32::try_from(items.len()).unwrap_or(u32::MAX).to_be_bytes());
        items.iter().for_each(|item| put(self, item));
    }
    fn state(&mut self, state: &State) {
        self.bytes(state.group.as_bytes());
        self.bytes(&state.epoch.to_be_bytes());
        self.bytes(state.history.as_bytes());
        self.list(&state.leaves, Self::leaf);
    }
}

struct In<'a>(&'a [u8]);

impl In<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }
    fn leaf(&mut self) -> Option<Leaf> {
        // A peer id's length follows from its first byte.
        let len = if self.0.first() == Some(&0) { 38 } else { 34 };
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Leaf { peer: PeerId::from_bytes(first)?, device: DeviceKey(self.take()?) })
    }
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(u32::from_be_bytes(self.take()?)).ok()?;
        if count > MEMBERS_MAX {
            return None;
        }
        (0..count).map(|_| one(self)).collect()
    }
    fn state(&mut self) -> Option<State> {
        Some(State {
            group: GroupId(self.take()?),
            epoch: u64::from_be_bytes(self.take()?),
            history: Hash(self.take()?),
            leaves: self.list(|it| it.leaf())?,
        })
    }
}
