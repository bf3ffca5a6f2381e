//! The keys of a room as this member holds them, and how they are stored.
//! Owns: the group, the keyring, the key to seal under, entries whose key is not here yet.
//! Must not know: who is asked, how intents reach the leader (`rekey`, `grants`).
//! Invariants: every change is a row in the transaction of what caused it, so that all of it is
//! rebuilt by [`RoomKeys::load`]; nothing is sealed under a key that somebody removed holds (23).
//! Start reading at: [`RoomKeys`].

mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use self::waiting::{Waiting, waiting_of};
use crate::ids::{GroupId, Hash, Index, KeyId, LogId, PeerId, RoomId, Seq, SessionSalt};
use crate::protocol::room::Standing;
use crate::protocol::room::keys::keyring::{Keyring, Session};
use crate::protocol::room::keys::orders::OrderKey;
use crate::protocol::room::keys::schedule::{ChunkKey, RoomSecret};
use crate::protocol::room::keys::{Changes, Error, KeyAgreement, KeyAgreements, Rows, Verdict};
use crate::protocol::{Reads, Write};
use crate::time::{Millis, Mono, Wall};
use crate::wire::order::Order;

/// What is stored of a room's keys, under the room's prefix.
const GROUP: &str = "group/";
const KEYS: &str = "keys/";
const WAITING: &str = "waiting/";
/// A group of our own making that is not the room's yet: the group it is to replace.
const CANDIDATE: &str = "candidate";
/// Under which key we seal.
const KEY: &str = "key";
/// The key of orders, as told by who let us in, until the epoch is ours.
const VISITING: &str = "visiting";
/// Since which control entry a key is in force.
const SINCE: &str = "since/";
/// Keys that we made for ourselves.
const OWN: &str = "own/";

/// The place of a commit that we could not follow, until it is said.
const STRANDED: &str = "stranded";
/// The same, until we hold an epoch again.
const CUT_OFF: &str = "cut off";

/// The first wait before something is tried again.
pub(super) const FIRST_WAIT: Millis = Millis(200);
/// The longest.
pub(super) const LONGEST_WAIT: Millis = Millis(2_000);
/// From where on sessions are needed.
pub(super) type Sessions = BTreeMap<Session, Seq>;

/// What one key opens of one log: the entries of one session.
pub(super) type Stretch = (LogId, SessionSalt);

/// The keys of a room.
#[derive(Debug)]
pub(super) struct RoomKeys {
    prefix: String,
    pub(super) from: &'static dyn KeyAgreements,
    /// The group, as far as we are in it or on our way into it.
    pub(super) agreed: Option<Box<dyn KeyAgreement>>,
    /// The names of its stored rows.
    rows: BTreeSet<Bytes>,
    /// The group is our own proposal, in the place of this one.
    pub(super) candidate: Option<Option<GroupId>>,
    pub(super) ring: Keyring,
    key: Option<KeyId>,
    visiting: Option<OrderKey>,
    /// Since which control entry the keys held are in force.
    since: BTreeMap<KeyId, Index>,
    /// Those that we made for ourselves, to seal under after a removal.
    own: BTreeSet<KeyId>,
    pub(super) waiting: Waiting,
    pub(super) way: Way,
    pub(super) errand: Option<Errand>,
    pub(super) wants: Wants,
    /// When it is our turn to renew the keys, if somebody must.
    pub(super) rekey_at: Option<Mono>,
    /// A person asked for it.
    pub(super) is_rekey_wished: bool,
    /// Where the epoch held began, as far as this process saw: for the rule that keys do not grow old.
    pub(super) began: Option<Began>,
    /// The control entry and the epoch at which nobody had to go, so that it is looked at once.
    pub(super) clean_at: Option<(Index, u64)>,
    /// Logs of which an entry did not open, told already.
    pub(super) unreadable: BTreeSet<LogId>,
    /// The place of a commit that we could not follow, until it is said.
    stranded: Option<Index>,
    /// The same, until we hold an epoch again.
    cut_off: Option<Index>,
    /// Nothing of ours is committed before that: the last was void, for we are suspended.
    pub(super) held_until: Mono,
}

/// Where an epoch began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    pub(super) epoch: u64,
    /// The leader's stamp of its commit.
    pub(super) at: Wall,
    /// The room's Lamport time then, or when this process began.
    pub(super) lamport: u64,
    pub(super) seen: Mono,
}

/// The way into the group.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Since when we are out and look for it.
    pub(super) since: Option<Mono>,
    pub(super) next: Mono,
    pub(super) wait: Millis,
    /// Who said that it is not in the group either.
    pub(super) out: BTreeSet<PeerId>,
    pub(super) last: Option<PeerId>,
    /// A group info, and the control entries its giver had applied.
    pub(super) info: Option<(PeerId, Index, GroupId, Bytes)>,
}

/// An intent on its way to the leader.
#[derive(Debug)]
pub(super) struct Errand {
    /// What it is about, so that it is given up when that is settled.
    pub(super) subject: Hash,
    pub(super) intent: Bytes,
    pub(super) next: Mono,
    pub(super) wait: Millis,
}

/// Keys that are asked for.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) next: Option<Mono>,
    pub(super) wait: Millis,
    pub(super) last: Option<PeerId>,
    /// Whoever passed an entry on is asked first.
    pub(super) hint: Option<PeerId>,
    pub(super) after: Option<KeyId>,
    /// Who said of which keys that the room's rules keep them from us.
    pub(super) withheld: BTreeMap<PeerId, BTreeSet<KeyId>>,
    /// By which entry the rule came by which they do: who says so without it is asked again.
    pub(super) rule_at: Index,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// There is a new epoch.
    Yes,
    /// It is void for all, or not for us.
    Skipped,
    /// We are out: the way back is an external commit.
    Lost,
    /// The same, and for what its maker did: we held the epoch before.
    Stranded,
}

impl RoomKeys {
    pub(super) fn new(room: RoomId, from: &'static dyn KeyAgreements) -> Self {
        Self {
            prefix: prefix(room),
            from,
            agreed: None,
            rows: BTreeSet::new(),
            candidate: None,
            ring: Keyring::new(room),
            key: None,
            visiting: None,
            since: BTreeMap::new(),
            own: BTreeSet::new(),
            waiting: Waiting::default(),
            way: Way::default(),
            errand: None,
            wants: Wants::default(),
            rekey_at: None,
            is_rekey_wished: false,
            began: None,
            clean_at: None,
            unreadable: BTreeSet::new(),
            stranded: None,
            cut_off: None,
            held_until: Mono(0),
        }
    }

    /// The keys as stored. What of a group cannot be read is left: the way back in is always open.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a keyring or a waiting entry.
    pub(super) fn load(
        room: RoomId,
        me: PeerId,
        (from, seed): (&'static dyn KeyAgreements, [u8; 32]),
        reads: &dyn Reads,
    ) -> Result<Self, Error> {
        let mut keys = Self::new(room, from);
        let at = |name: &str| format!("{}{name}", prefix(room));
        let rows = rows(&at(GROUP), reads)?;
        keys.rows = rows.iter().map(|(name, _)| name.clone()).collect();
        if !rows.is_empty() {
            keys.agreed = from.load(room, me, &rows, seed).ok();
        }
        let candidate = reads.setting(&at(CANDIDATE)).filter(|_| keys.agreed.is_some());
        keys.candidate = candidate.map(|bytes| GroupId::from_bytes(&bytes));
        keys.ring = Keyring::load(room, &self::rows(&at(KEYS), reads)?)?;
        keys.key = reads.setting(&at(KEY)).and_then(|bytes| KeyId::from_bytes(&bytes));
        let visiting = reads.setting(&at(VISITING)).and_then(|it| it.as_ref().try_into().ok());
        keys.visiting = visiting.map(OrderKey::new);
        let place = |name| reads.setting(&at(name)).and_then(|it| index_of(&it));
        (keys.stranded, keys.cut_off) = (place(STRANDED), place(CUT_OFF));
        for (name, value) in self::rows(&at(SINCE), reads)? {
            let key = KeyId::from_bytes(&name).ok_or(Error::Malformed)?;
            keys.since.insert(key, index_of(&value).ok_or(Error::Malformed)?);
        }
        for (name, _) in self::rows(&at(OWN), reads)? {
            keys.own.insert(KeyId::from_bytes(&name).ok_or(Error::Malformed)?);
        }
        for (name, value) in self::rows(&at(WAITING), reads)? {
            let (id, stretch, seq) = waiting_of(room, &name, &value).ok_or(Error::Malformed)?;
            keys.waiting.insert(id, stretch, seq);
        }
        Ok(keys)
    }

    /// The key to seal under: that of the newest merged epoch.
    pub(super) fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// Whether we hold the group's epoch, and the group is the room's.
    pub(super) fn group(&self) -> Option<&dyn KeyAgreement> {
        let group = self.agreed.as_deref().filter(|_| self.candidate.is_none())?;
        group.is_member().then_some(group)
    }

    /// What is to be ordered now, and what it is about.
    pub(super) fn errand_order(&self) -> Option<(Hash, Order)> {
        let agreed = self.agreed.as_deref()?;
        let group = agreed.group();
        if let Some(replaces) = self.candidate {
            let subject = Hash::of("p2pgroup/1 group", &[group.as_bytes()]);
            return Some((subject, Order::Group { group, replaces }));
        }
        let pending = agreed.pending()?;
        let (commit, cuts) = (pending.commit.clone(), Vec::new());
        Some((pending.hash, Order::Commit { group, commit, cuts }))
    }

    /// The key of the orders as they are sealed now, as far as it is known here.
    pub(super) fn order_key(&self) -> Option<OrderKey> {
        let agreed = self.agreed.as_deref().filter(|it| it.is_member());
        let agreed = agreed.filter(|_| self.candidate.flatten().is_none());
        match agreed.and_then(|agreed| agreed.secret().ok()) {
            Some(secret) => Some(OrderKey::of(&secret)),
            None => self.visiting.clone(),
        }
    }

    /// Somebody inside told the key of the orders.
    pub(super) fn visit(&mut self, key: OrderKey) -> Write {
        let write = self.setting(VISITING, Some(Bytes::copy_from_slice(key.expose())));
        self.visiting = Some(key);
        write
    }

    /// What was told is of no use any more: we are inside, or the epoch went on without us. A key of
    /// an epoch that is over would open here alone what is sealed under it.
    pub(super) fn end_visit(&mut self) -> Option<Write> {
        self.visiting.take().map(|_| self.setting(VISITING, None))
    }

    /// The place of a commit that we could not follow, and of which that is still to be said.
    pub(super) fn stranded(&self) -> Option<Index> {
        self.stranded
    }

    /// The place of the commit for which we hold no epoch.
    pub(super) fn cut_off(&self) -> Option<Index> {
        self.cut_off
    }

    /// We cannot follow this commit.
    pub(super) fn strand(&mut self, index: Index) -> Write {
        self.stranded = Some(index);
        self.setting(STRANDED, Some(bytes_of(index)))
    }

    /// For want of this commit we hold no epoch.
    pub(super) fn cut(&mut self, index: Index) -> Write {
        self.cut_off = Some(index);
        self.setting(CUT_OFF, Some(bytes_of(index)))
    }

    /// All that is to be said of this commit is said.
    pub(super) fn is_said(&mut self, index: Index) -> Option<Write> {
        self.stranded.take_if(|it| *it == index).map(|_| self.setting(STRANDED, None))
    }

    /// Since which control entry a key is in force.
    pub(super) fn since(&self, key: &KeyId) -> Option<Index> {
        self.since.get(key).copied()
    }

    /// A key is in force since this entry.
    pub(super) fn note_since(&mut self, key: KeyId, index: Index) -> Write {
        self.since.insert(key, index);
        let name = row_name(SINCE, key.as_bytes());
        self.setting(&name, Some(bytes_of(index)))
    }

    /// We made this key for ourselves.
    pub(super) fn note_own(&mut self, key: KeyId) -> Write {
        self.own.insert(key);
        self.setting(&row_name(OWN, key.as_bytes()), Some(Bytes::new()))
    }

    /// Whether we made this key for ourselves.
    pub(super) fn is_own(&self, key: &KeyId) -> bool {
        self.own.contains(key)
    }

    /// Of these keys only what opens these sessions from there on is kept; nothing changes of those
    /// that are in use. Whoever needs one again asks for it.
    pub(super) fn narrow(&mut self, keys: &BTreeSet<KeyId>, kept: &Sessions) -> Vec<Write> {
        let secret = self.agreed.as_deref().and_then(|agreed| agreed.secret().ok());
        let in_force = secret.map(|secret| secret.id(self.ring.room()));
        let is_in_use = |key: &KeyId| self.key == Some(*key) || in_force == Some(*key);
        let past: Vec<KeyId> = keys.iter().filter(|key| !is_in_use(key)).copied().collect();
        let mut writes = Vec::new();
        for key in past {
            let of_key = kept.iter().filter(|((id, _, _), _)| *id == key);
            let places: Vec<_> =
                of_key.map(|((_, log, salt), from)| (*log, *salt, *from)).collect();
            let changes = self.ring.narrow(&key, &places);
            writes.extend(self.key_rows(changes));
        }
        writes
    }

    fn setting(&self, name: &str, value: Option<Bytes>) -> Write {
        Write::Setting { key: format!("{}{name}", self.prefix), value }
    }

    /// A group takes the place of what was there.
    pub(super) fn begin(
        &mut self,
        agreed: Box<dyn KeyAgreement>,
        changes: Changes,
        candidate: Option<Option<GroupId>>,
    ) -> Vec<Write> {
        let mut writes = self.forget_group();
        self.agreed = Some(agreed);
        writes.extend(self.store_group(changes));
        self.candidate = candidate;
        if let Some(replaces) = candidate {
            let bytes = replaces.map_or(Bytes::new(), |it| Bytes::copy_from_slice(it.as_bytes()));
            writes.push(self.setting(CANDIDATE, Some(bytes)));
        }
        writes
    }

    /// Our proposal became the room's group.
    pub(super) fn settle(&mut self) -> Write {
        self.candidate = None;
        self.setting(CANDIDATE, None)
    }

    /// Nothing of the group is kept; what was said under its keys stays readable.
    pub(super) fn forget_group(&mut self) -> Vec<Write> {
        self.agreed = None;
        self.errand = None;
        self.rekey_at = None;
        self.clean_at = None;
        self.way = Way::default();
        let rows = std::mem::take(&mut self.rows);
        let mut writes: Vec<Write> =
            rows.iter().map(|name| self.setting(&row_name(GROUP, name), None)).collect();
        if self.candidate.take().is_some() {
            writes.push(self.setting(CANDIDATE, None));
        }
        writes
    }

    /// We are in the room no more. Who comes back seals under no key of before: others who went
    /// meanwhile may hold it.
    pub(super) fn on_quit(&mut self) -> Vec<Write> {
        let mut writes = self.forget_group();
        (self.key, self.visiting) = (None, None);
        self.wants = Wants::default();
        (self.began, self.stranded, self.cut_off) = (None, None, None);
        writes.extend([KEY, VISITING, STRANDED, CUT_OFF].map(|name| self.setting(name, None)));
        writes
    }

    pub(super) fn store_group(&mut self, changes: Changes) -> Vec<Write> {
        for (name, value) in &changes {
            match value {
                Some(_) => self.rows.insert(name.clone()),
                None => self.rows.remove(name),
            };
        }
        let row = |(name, value): (Bytes, _)| self.setting(&row_name(GROUP, &name), value);
        changes.into_iter().map(row).collect()
    }

    /// What of ours waits to be ordered is given up.
    pub(super) fn give_up(&mut self) -> Vec<Write> {
        (self.errand, self.rekey_at, self.is_rekey_wished) = (None, None, false);
        let is_candidate = self.candidate.is_some();
        let Some(agreed) = self.agreed.as_deref_mut() else {
            return Vec::new();
        };
        if is_candidate || !agreed.is_member() {
            return self.forget_group();
        }
        if agreed.pending().is_none() {
            return Vec::new();
        }
        match agreed.clear() {
            Ok(changes) => self.store_group(changes),
            Err(_) => self.forget_group(),
        }
    }

    /// A commit of this group was ordered.
    pub(super) fn follow(
        &mut self,
        group: GroupId,
        commit: &Bytes,
        judge: &Standing<'_>,
    ) -> (Followed, Vec<Write>) {
        let Some(agreed) = self.agreed.as_deref_mut().filter(|it| it.group() == group) else {
            // Somebody is inside: a group of our own in the place of theirs is not needed.
            let mut writes: Vec<Write> = self.end_visit().into_iter().collect();
            if self.candidate.is_some() {
                writes.extend(self.forget_group());
            }
            return (Followed::Skipped, writes);
        };
        let was_member = agreed.is_member();
        let (verdict, changes) = match agreed.ordered(commit, judge) {
            Ok(followed) => followed,
            Err(error) => {
                tracing::warn!(%error, "the room's group is lost");
                let mut writes = self.forget_group();
                writes.extend(self.end_visit());
                return (Followed::Lost, writes);
            }
        };
        let is_on = agreed.is_member() || agreed.pending().is_some();
        let mut writes = self.store_group(changes);
        let followed = match verdict {
            Verdict::Merged { is_out: false, .. } => Followed::Yes,
            Verdict::BadPublic(rule) if is_on => {
                tracing::info!(rule, "a commit is void");
                Followed::Skipped
            }
            Verdict::BadPublic(why) | Verdict::BadPrivate(why) => {
                tracing::info!(why, "cannot follow a commit");
                let is_bad = was_member && matches!(verdict, Verdict::BadPrivate(_));
                if is_bad { Followed::Stranded } else { Followed::Lost }
            }
            Verdict::Merged { .. } => Followed::Lost,
        };
        if matches!(followed, Followed::Lost | Followed::Stranded) {
            writes.extend(self.forget_group());
        }
        if followed != Followed::Skipped {
            writes.extend(self.end_visit());
        }
        (followed, writes)
    }

    /// What was withheld may be handed over now: from this entry on the room's rule is another one.
    pub(super) fn ask_anew(&mut self, rule_at: Index) {
        self.wants.withheld.clear();
        self.wants.rule_at = rule_at;
    }

    /// Somebody whose control log reaches so far says that the room's rule keeps these keys from us.
    pub(super) fn withheld_by(&mut self, peer: PeerId, keys: &[KeyId], applied: Index) {
        if applied >= self.wants.rule_at {
            let waited = keys.iter().filter(|key| self.waiting.contains_key(key));
            self.wants.withheld.entry(peer).or_default().extend(waited);
        }
    }

    /// The secret of the epoch comes into the keyring; gives its name.
    pub(super) fn take_epoch(&mut self) -> Result<(KeyId, Vec<Write>), Error> {
        let secret = self.agreed.as_deref().ok_or(Error::NotMember)?.secret()?;
        self.rekey_at = None;
        self.is_rekey_wished = false;
        let (key, mut writes) = self.add_own(secret);
        writes.extend(self.cut_off.take().map(|_| self.setting(CUT_OFF, None)));
        Ok((key, writes))
    }

    /// A secret that we agreed on, or made, comes into the keyring, however many others handed us.
    pub(super) fn add_own(&mut self, secret: RoomSecret) -> (KeyId, Vec<Write>) {
        let (id, changes) = self.ring.add_own(secret);
        (id, self.key_rows(changes))
    }

    /// A secret that somebody handed us comes into the keyring.
    pub(super) fn add(&mut self, secret: RoomSecret) -> Result<(KeyId, Vec<Write>), Error> {
        let (id, changes) = self.ring.add(secret)?;
        Ok((id, self.key_rows(changes)))
    }

    /// A granted chunk key comes into the keyring.
    pub(super) fn grant(&mut self, session: Session, key: ChunkKey) -> Result<Vec<Write>, Error> {
        let changes = self.ring.grant(session, key)?;
        Ok(self.key_rows(changes))
    }

    fn key_rows(&self, changes: Changes) -> Vec<Write> {
        let write = |(name, value): (Bytes, _)| self.setting(&row_name(KEYS, &name), value);
        changes.into_iter().map(write).collect()
    }

    /// From now on we seal under this key.
    pub(super) fn seal_under(&mut self, key: KeyId) -> Write {
        self.key = Some(key);
        self.setting(KEY, Some(Bytes::copy_from_slice(key.as_bytes())))
    }
}

fn bytes_of(index: Index) -> Bytes {
    Bytes::copy_from_slice(&index.0.to_be_bytes())
}

fn index_of(stored: &Bytes) -> Option<Index> {
    stored.as_ref().try_into().ok().map(|it| Index(u64::from_be_bytes(it)))
}

/// Under which everything of a room is stored among the settings.
pub(super) fn prefix(room: RoomId) -> String {
    match room {
        RoomId::MAIN => "room/main/".to_owned(),
        other => format!("room/{other}/"),
    }
}

fn row_name(prefix: &str, name: &[u8]) -> String {
    name.iter().fold(prefix.to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// The rows under a prefix, by their names as they were given.
fn rows(prefix: &str, reads: &dyn Reads) -> Result<Rows, Error> {
    let stored = reads.settings(prefix).into_iter();
    stored
        .map(|(name, value)| {
            let name = name.strip_prefix(prefix).and_then(unhex).ok_or(Error::Malformed)?;
            Ok((name, value))
        })
        .collect()
}

fn unhex(text: &str) -> Option<Bytes> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::limits::KEYRING_MAX;
    use crate::protocol::room::keys::toy::Toy;
    use crate::protocol::tests::Disk;

    fn load(disk: &Disk) -> (Option<Index>, Option<Index>) {
        let me = PeerId::of_ed25519(&crate::ids::DeviceKey([7; 32]));
        let keys = RoomKeys::load(RoomId::MAIN, me, (&Toy::SOUND, [1; 32]), disk).unwrap();
        (keys.stranded(), keys.cut_off())
    }

    #[test]
    fn that_one_is_cut_off_and_what_is_to_be_said_of_it_outlive_the_process() {
        let mut disk = Disk::default();
        let mut keys = RoomKeys::new(RoomId::MAIN, &Toy::SOUND);
        let (bad, next) = (Index(9), Index(12));
        disk.store([keys.strand(bad), keys.cut(bad)]);
        assert_eq!(load(&disk), (Some(bad), Some(bad)));
        assert_eq!(keys.is_said(next), None, "that is about another one");
        disk.store(keys.is_said(bad));
        assert_eq!(load(&disk), (None, Some(bad)), "until an epoch is here");
        disk.store([keys.strand(next), keys.cut(next)]);
        disk.store(keys.on_quit());
        assert_eq!(load(&disk), (None, None));
    }
    #[test]
    fn who_does_not_know_of_the_new_rule_yet_is_asked_again() {
        let mut keys = RoomKeys::new(RoomId::MAIN, &Toy::SOUND);
        let (alice, key) = (PeerId::of_rsa_spki(b"alice"), KeyId([1; 32]));
        let log = LogId { room: RoomId::MAIN, author: alice, incarnation: Incarnation(1) };
        keys.wait_for(key, (log, SessionSalt([0; 16])), Seq(1)).unwrap();
        let is_asked = |keys: &RoomKeys| {
            keys.wants.withheld.get(&alice).is_none_or(|withheld| !withheld.contains(&key))
        };
        keys.withheld_by(alice, &[key, KeyId([2; 32])], Index(5));
        assert!(!is_asked(&keys));
        assert_eq!(keys.wants.withheld[&alice].len(), 1, "what is not waited for is not noted");
        keys.ask_anew(Index(9));
        assert!(is_asked(&keys));
        keys.withheld_by(alice, &[key], Index(8));
        assert!(is_asked(&keys), "by the rule before");
        keys.withheld_by(alice, &[key], Index(9));
        assert!(!is_asked(&keys));
    }

    #[test]
    fn an_epoch_of_our_own_has_room_however_many_keys_others_handed_us() {
        let mut keys = RoomKeys::new(RoomId::MAIN, &Toy::SOUND);
        let secret = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            RoomSecret::new(bytes)
        };
        let full = (0..=KEYRING_MAX).find(|number| keys.add(secret(*number)).is_err());
        assert!(full.is_some());
        let (key, writes) = keys.add_own(secret(KEYRING_MAX + 1));
        assert!(!writes.is_empty() && keys.ring.secret(&key).is_some());
    }
}
