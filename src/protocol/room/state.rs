//! How a room stands: what it is, who is in it as what, and whose logs end where.
//! Owns: the rules of who may order what in a room.
//! Must not know: MLS, links, what is said, how orders are sealed.
//! Invariants: a function of the orders alone, in the order of the control log, and of the roster
//! as it stood at each: so every member of the room comes to the same (9), and what a member may do
//! is checked by everybody who reads it, not by its own program.
//! Start reading at: [`State::apply`].

mod suspension;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::identity::{Domain, Proofs, name};
use crate::ids::{
    DeviceKey, GroupId, Index, LogId, NetworkRole, PeerId, RoomId, RoomOrigin, Seq, Signature,
};
use crate::protocol::roster::Roster;
use crate::refusal::{Refusal, Refused};
use crate::terms::{History, Keep, Role};
use crate::time::Wall;
use crate::wire::order::{Barrier, Charter, Cut, Entry, Kind, Order, Seat, Setting, Snapshot};
use crate::wire::sync::Head;

pub use self::suspension::{Commits, until};
pub use crate::wire::order::Made;

/// A room as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    room: RoomId,
    at: Snapshot,
}

/// Where an order stands: what else its verdict hangs on.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The roster, at this place or later.
    pub roster: &'a Roster,
    /// The place.
    pub index: Index,
    /// For the proof of a join code.
    pub proofs: &'a dyn Proofs,
    /// The leader's stamp.
    pub stamp: Wall,
    /// What was ordered before.
    pub commits: &'a dyn Commits,
    /// For the tests that prove the tests: one member is most of them.
    pub is_hasty: bool,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("index", &self.index).finish_non_exhaustive()
    }
}

/// What an order changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There is a new room.
    Created,
    /// Keys are agreed on in another group.
    Grouped,
    /// A commit of the group in force; the members judge it.
    Commit {
        /// The group.
        group: GroupId,
        /// The commit.
        commit: bytes::Bytes,
    },
    /// Somebody is in the room now.
    Entered(PeerId),
    /// Somebody asks to be let in.
    Asked(PeerId),
    /// Somebody left.
    Left(PeerId),
    /// Somebody was thrown out, and why.
    Kicked(PeerId, String),
    /// Somebody has another role.
    RoleSet(PeerId, Role),
    /// The room was changed.
    Set(Setting),
    /// The room ended.
    Deleted,
    /// Somebody cannot follow a commit of this member.
    Stranded(PeerId),
    /// Most could not follow a commit of a member: it may commit no more.
    Suspended {
        /// Who.
        peer: PeerId,
        /// The commit's place in the control log.
        commit: Index,
    },
    /// Somebody may commit again.
    Forgiven(PeerId),
}

impl State {
    /// The room `main`.
    pub fn main(history: History) -> Self {
        let charter = Charter { history, ..Charter::new(Kind::Main, "main".to_owned()) };
        Self::new(RoomId::MAIN, charter)
    }

    /// A room whose creation is not ordered yet.
    pub fn new(room: RoomId, charter: Charter) -> Self {
        Self { room, at: Snapshot::new(charter) }
    }

    /// A room of our own making. Only who is in it can tell of it, unless everybody may know of it.
    pub fn founded(origin: RoomOrigin, charter: Charter) -> Self {
        let is_plain = charter.kind.is_plain();
        let mut state = Self::new(RoomId::of(&origin), charter);
        state.at.origin = Some(origin).filter(|_| !is_plain);
        state
    }

    /// A room as stored, or as told by one of its members.
    pub fn of(room: RoomId, at: Snapshot) -> Self {
        Self { room, at }
    }

    /// Which room.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// How it stands.
    pub fn snapshot(&self) -> &Snapshot {
        &self.at
    }

    /// What it is.
    pub fn charter(&self) -> &Charter {
        &self.at.charter
    }

    /// Where its keys are agreed on.
    pub fn group(&self) -> Option<GroupId> {
        self.at.group
    }

    /// The last entry that concerned its group.
    pub fn moved_at(&self) -> Index {
        self.at.moved_at
    }

    /// The last entry that was looked at.
    pub fn handled(&self) -> Index {
        self.at.handled
    }

    /// Everything up to this entry was looked at.
    pub fn handle(&mut self, index: Index) {
        self.at.handled = self.at.handled.max(index);
    }

    /// Whether there is, or was, a rule by which messages are deleted.
    pub fn may_lack(&self) -> bool {
        self.at.was_kept || self.at.charter.keep != Keep::default()
    }

    /// Whether its creation was ordered.
    pub fn is_ordered(&self) -> bool {
        self.room == RoomId::MAIN || self.at.created_at > Index(0)
    }

    /// The role of a member now; `None`: not in the room.
    pub fn role_of(&self, peer: &PeerId, roster: &Roster) -> Option<Role> {
        if !roster.is_in(peer) || self.at.is_deleted {
            return None;
        }
        self.seat_of(peer, roster, roster.applied())
    }

    fn role_at(&self, peer: &PeerId, scene: &Scene<'_>) -> Option<Role> {
        let is_in = scene.roster.member(peer).is_some_and(|it| it.was_in(scene.index));
        if is_in { self.seat_of(peer, scene.roster, scene.index) } else { None }
    }

    fn seat_of(&self, peer: &PeerId, roster: &Roster, at: Index) -> Option<Role> {
        match self.at.charter.kind {
            Kind::Main => Some(match roster.role_at(peer, at) {
                NetworkRole::Owner => Role::Owner,
                NetworkRole::Admin => Role::Admin,
                NetworkRole::Member => Role::Member,
            }),
            Kind::Private | Kind::Listed | Kind::Direct => {
                self.at.members.get(peer).map(|seat| seat.role)
            }
        }
    }

    /// Whether somebody is in the room.
    pub fn is_in(&self, peer: &PeerId, roster: &Roster) -> bool {
        self.role_of(peer, roster).is_some()
    }

    /// Whether somebody's leaf may stand, as the roster stood at a place.
    pub fn has_seat(&self, peer: &PeerId) -> bool {
        !self.at.is_deleted
            && (self.at.charter.kind == Kind::Main || self.at.members.contains_key(peer))
    }

    /// Whether somebody may write.
    pub fn may_write(&self, peer: &PeerId, roster: &Roster) -> bool {
        self.role_of(peer, roster).is_some_and(|role| role >= Role::Member)
    }

    /// Since when somebody is in the room.
    pub fn since(&self, peer: &PeerId, roster: &Roster) -> Index {
        let admitted = roster.member(peer).map_or(Index(0), |member| member.admitted_at);
        self.at.members.get(peer).map_or(admitted, |seat| seat.since)
    }

    /// Those who are in it now.
    pub fn members<'a>(&'a self, roster: &'a Roster) -> impl Iterator<Item = (PeerId, Role)> + 'a {
        roster
            .members()
            .filter_map(|member| self.role_of(&member.peer, roster).map(|role| (member.peer, role)))
    }

    /// Up to where a log counts; `None`: as far as it goes.
    pub fn end_of(&self, log: &LogId) -> Option<Seq> {
        let barrier = self.at.cuts.get(&log.author)?;
        match barrier.heads.get(&log.incarnation) {
            Some((seq, _)) => Some(*seq),
            None => barrier.is_barred.then_some(Seq(0)),
        }
    }

    /// The head of a log that was cut, as far as it was.
    pub fn cut_head(&self, log: LogId) -> Option<Head> {
        let (seq, hash) = *self.at.cuts.get(&log.author)?.heads.get(&log.incarnation)?;
        Some(Head { log, seq, hash })
    }

    /// Takes an order that stands at `scene` and was wished by `by`.
    ///
    /// # Refusals
    /// Why it is void; nothing has changed then.
    pub fn apply(
        &mut self,
        order: &Order,
        by: PeerId,
        scene: &Scene<'_>,
    ) -> Result<Effect, Refused> {
        if self.at.is_deleted {
            return Err(Refusal::RoomUnknown.into());
        }
        if let Order::Create { group, charter } = order {
            return self.create(*group, charter, by, scene);
        }
        if let Order::Join { proof } = order {
            return self.join(proof.as_ref(), by, scene);
        }
        let role = self.role_at(&by, scene).ok_or(Refusal::NotInRoom)?;
        let is_of_keys = matches!(order, Order::Group { .. } | Order::Commit { .. });
        if is_of_keys && !self.may_commit(&by, scene.stamp) {
            return Err(Refusal::Suspended.into());
        }
        let effect = match order {
            Order::Create { .. } | Order::Join { .. } => return Err(Refusal::Internal.into()),
            Order::Group { group, replaces } => {
                if self.at.group != *replaces || *replaces == Some(*group) {
                    return Err(Refusal::RoomMoved.into());
                }
                self.at.group = Some(*group);
                self.at.moved_at = scene.index;
                Effect::Grouped
            }
            Order::Commit { group, commit, cuts } => {
                if self.at.group != Some(*group) {
                    return Err(Refusal::RoomMoved.into());
                }
                for cut in cuts {
                    self.cut_removed(cut, scene);
                }
                self.at.moved_at = scene.index;
                self.note_commit(by, scene);
                Effect::Commit { group: *group, commit: commit.clone() }
            }
            Order::Invite { peer, role: seat } => self.invite((by, role), (*peer, *seat), scene)?,
            Order::Leave { cut } => {
                self.needs_seats()?;
                if cut.peer != by {
                    return Err(not_allowed("each leaves for itself alone"));
                }
                let owners = |it: &&Seat| it.role == Role::Owner;
                let is_last = self.at.members.len() > 1
                    && role == Role::Owner
                    && self.at.members.values().filter(owners).count() == 1;
                if is_last {
                    let why = "the last owner names another first: /room role NAME owner";
                    return Err(not_allowed(why));
                }
                self.at.members.remove(&by);
                self.close(cut);
                Effect::Left(by)
            }
            Order::Kick { cut, reason } => {
                self.needs_seats()?;
                let theirs = self.seat(&cut.peer)?;
                let outranks = theirs < role || role == Role::Owner;
                if cut.peer == by {
                    return Err(not_allowed("to go yourself: /leave"));
                }
                if role < Role::Admin || !outranks {
                    let why = "an admin has members and readers out, an owner everybody";
                    return Err(not_allowed(why));
                }
                self.at.members.remove(&cut.peer);
                self.at.kicked.insert(cut.peer);
                self.close(cut);
                Effect::Kicked(cut.peer, reason.clone())
            }
            Order::Role { peer, role: seat, cut } => {
                self.set_role((by, role), (*peer, *seat), cut.as_ref())?
            }
            Order::Set(setting) => self.set(setting, role)?,
            Order::Delete => {
                self.needs_seats()?;
                if role < Role::Owner {
                    return Err(not_allowed("only an owner ends a room"));
                }
                self.at.is_deleted = true;
                Effect::Deleted
            }
            Order::Stranded { commit } => self.claim(*commit, by, scene)?,
            Order::Forgive { peer } => self.forgive(*peer, (by, role), scene)?,
        };
        Ok(effect)
    }

    fn create(
        &mut self,
        group: GroupId,
        charter: &Charter,
        by: PeerId,
        scene: &Scene<'_>,
    ) -> Result<Effect, Refused> {
        if self.is_ordered() || charter.kind == Kind::Main {
            return Err(Refusal::RoomExists.into());
        }
        check_charter(charter)?;
        let seat = |role| Seat { role, since: scene.index };
        let mut members = BTreeMap::new();
        match (charter.kind, charter.with) {
            (Kind::Direct, Some(with)) if with != by => {
                members.insert(by, seat(Role::Member));
                members.insert(with, seat(Role::Member));
            }
            (Kind::Private | Kind::Listed, None) => {
                members.insert(by, seat(Role::Owner));
            }
            _ => return Err(Refusal::FieldBad.into()),
        }
        self.at.charter = charter.clone();
        self.at.members = members;
        self.at.group = Some(group);
        self.at.created_at = scene.index;
        self.at.moved_at = scene.index;
        Ok(Effect::Created)
    }

    fn join(
        &mut self,
        proof: Option<&Signature>,
        by: PeerId,
        scene: &Scene<'_>,
    ) -> Result<Effect, Refused> {
        let is_known = scene.roster.member(&by).is_some_and(|it| it.was_in(scene.index));
        if self.at.charter.kind != Kind::Listed || !is_known {
            return Err(Refusal::RoomUnknown.into());
        }
        if self.at.members.contains_key(&by) {
            return Err(Refusal::AlreadyInRoom.into());
        }
        // Who was thrown out comes back by an invitation alone.
        if self.at.kicked.contains(&by) {
            return Err(not_allowed("you were put out of it: an admin can invite you again"));
        }
        match self.at.charter.entry {
            Entry::Invited => Err(not_allowed("one comes in by invitation alone: ask an admin")),
            Entry::Free => self.seat_new(by, Role::Member, scene),
            Entry::Approval => {
                self.at.waiting.insert(by);
                Ok(Effect::Asked(by))
            }
            Entry::Code(key) => match proof {
                Some(proof) if self.is_proved(&key, &by, proof, scene) => {
                    self.seat_new(by, Role::Member, scene)
                }
                _ => Err(Refusal::CodeWrong.into()),
            },
        }
    }

    fn is_proved(
        &self,
        key: &DeviceKey,
        by: &PeerId,
        proof: &Signature,
        scene: &Scene<'_>,
    ) -> bool {
        scene.proofs.verify(key, Domain::JoinCode, &join_body(self.room, by), proof)
    }

    fn seat_new(&mut self, peer: PeerId, role: Role, scene: &Scene<'_>) -> Result<Effect, Refused> {
        let is_in = |it: &&PeerId| scene.roster.member(it).is_some_and(|it| it.was_in(scene.index));
        let count = self.at.members.keys().filter(is_in).count();
        let capacity = self.at.charter.capacity.and_then(|it| usize::try_from(it).ok());
        if capacity.is_some_and(|capacity| count >= capacity) {
            return Err(Refusal::RoomFull.into());
        }
        self.at.members.insert(peer, Seat { role, since: scene.index });
        self.at.waiting.remove(&peer);
        self.at.kicked.remove(&peer);
        self.bar(peer, role == Role::Reader);
        Ok(Effect::Entered(peer))
    }

    fn invite(
        &mut self,
        (by, role): (PeerId, Role),
        (peer, seat): (PeerId, Role),
        scene: &Scene<'_>,
    ) -> Result<Effect, Refused> {
        self.needs_seats()?;
        if role < Role::Admin || seat > role || peer == by {
            return Err(not_allowed("admins and owners invite others, up to their own role"));
        }
        if !scene.roster.member(&peer).is_some_and(|it| it.was_in(scene.index)) {
            return Err(Refusal::NameUnknown.into());
        }
        if self.at.members.contains_key(&peer) {
            return Err(Refusal::AlreadyInRoom.into());
        }
        self.seat_new(peer, seat, scene)
    }

    fn set_role(
        &mut self,
        (by, role): (PeerId, Role),
        (peer, seat): (PeerId, Role),
        cut: Option<&Cut>,
    ) -> Result<Effect, Refused> {
        self.needs_seats()?;
        let theirs = self.seat(&peer)?;
        let may = match role {
            Role::Owner => true,
            Role::Admin => theirs < Role::Admin && seat < Role::Admin,
            Role::Member | Role::Reader => false,
        };
        let owners = self.at.members.values().filter(|it| it.role == Role::Owner).count();
        let is_last = theirs == Role::Owner && seat < Role::Owner && owners == 1;
        if is_last {
            return Err(not_allowed("the last owner names another first: /room role NAME owner"));
        }
        if !may || (peer == by && seat >= theirs) {
            let why = "an owner gives any role, an admin those of member and reader, nobody more to \
                       oneself";
            return Err(not_allowed(why));
        }
        match (seat, cut) {
            (Role::Reader, Some(cut)) if cut.peer == peer => self.close(cut),
            (Role::Reader, _) => return Err(Refusal::FieldBad.into()),
            _ => self.bar(peer, false),
        }
        if let Some(place) = self.at.members.get_mut(&peer) {
            place.role = seat;
        }
        Ok(Effect::RoleSet(peer, seat))
    }

    fn set(&mut self, setting: &Setting, role: Role) -> Result<Effect, Refused> {
        let needed = match setting {
            Setting::Topic(_) | Setting::Description(_) => Role::Admin,
            _ => Role::Owner,
        };
        let is_main = self.at.charter.kind == Kind::Main;
        let is_for_all =
            matches!(setting, Setting::Topic(_) | Setting::History(_) | Setting::Keep(_));
        let is_direct = self.at.charter.kind == Kind::Direct;
        let may = if is_direct { matches!(setting, Setting::Keep(_)) } else { role >= needed };
        if is_direct && !may {
            return Err(not_allowed("of a talk of two only how long it is kept can be set"));
        }
        if is_main && !is_for_all {
            let why = "main is for everybody: its topic, history and keep can be set";
            return Err(not_allowed(why));
        }
        // Before who may: nobody can.
        if matches!(setting, Setting::Entry(_)) && self.at.charter.kind != Kind::Listed {
            let why = "a private room is entered by invitation alone, and stays so: \
                       /room invite NAME; /room create NAME free makes one that all may find";
            return Err(not_allowed(why));
        }
        if !may {
            let who = if needed == Role::Owner { "an owner" } else { "an admin" };
            return Err(not_allowed(&format!("only {who} of the room sets that")));
        }
        let charter = &mut self.at.charter;
        match setting.clone() {
            Setting::Name(name) => {
                check_name(&name)?;
                charter.name = name;
            }
            Setting::Topic(topic) => charter.topic = topic,
            Setting::Description(text) => charter.description = text,
            Setting::Entry(entry) => charter.entry = entry,
            Setting::Capacity(capacity) => charter.capacity = capacity,
            Setting::History(history) => charter.history = history,
            Setting::Keep(keep) => {
                self.at.was_kept |= charter.keep != Keep::default() || keep != Keep::default();
                charter.keep = keep;
            }
            Setting::Archived(is_archived) => charter.is_archived = is_archived,
        }
        Ok(Effect::Set(setting.clone()))
    }

    fn needs_seats(&self) -> Result<(), Refused> {
        match self.at.charter.kind {
            Kind::Main => Err(not_allowed("everybody is in main")),
            Kind::Private | Kind::Listed | Kind::Direct => Ok(()),
        }
    }

    fn seat(&self, peer: &PeerId) -> Result<Role, Refused> {
        Ok(self.at.members.get(peer).ok_or(Refusal::NotInRoom)?.role)
    }

    /// Somebody's logs end here, for good; what it writes elsewhere counts for nothing either.
    fn close(&mut self, cut: &Cut) {
        let heads = cut.heads.iter().map(|(life, seq, hash)| (*life, (*seq, *hash)));
        let barrier = self
            .at
            .cuts
            .entry(cut.peer)
            .or_insert_with(|| Barrier { heads: BTreeMap::new(), is_barred: true });
        for (life, head) in heads {
            barrier.heads.entry(life).or_insert(head);
        }
        barrier.is_barred = true;
    }

    /// Whether somebody may write into logs that were not cut.
    fn bar(&mut self, peer: PeerId, is_barred: bool) {
        match self.at.cuts.get_mut(&peer) {
            Some(barrier) => barrier.is_barred = is_barred,
            None if is_barred => {
                let heads = BTreeMap::new();
                self.at.cuts.insert(peer, Barrier { heads, is_barred });
            }
            None => {}
        }
    }

    /// The first cut of a removed member holds.
    fn cut_removed(&mut self, cut: &Cut, scene: &Scene<'_>) {
        let is_out = scene.roster.member(&cut.peer).is_some_and(|it| !it.was_in(scene.index));
        if is_out && self.at.cuts.get(&cut.peer).is_none_or(|barrier| !barrier.is_barred) {
            self.close(cut);
        }
    }
}

/// A no that says why, and what to do.
fn not_allowed(why: &str) -> Refused {
    Refused::new(Refusal::NotAllowed, why)
}

/// What the proof of a join code signs.
pub fn join_body(room: RoomId, by: &PeerId) -> Vec<u8> {
    [room.as_bytes(), by.as_bytes()].concat()
}

fn check_charter(charter: &Charter) -> Result<(), Refused> {
    if charter.kind != Kind::Direct {
        check_name(&charter.name)?;
    }
    if charter.kind != Kind::Listed && charter.entry != Entry::Invited {
        return Err(Refusal::FieldBad.into());
    }
    Ok(())
}

/// Names of rooms keep the rules of names.
///
/// # Refusals
/// [`Refusal::NameBad`].
pub fn check_name(typed: &str) -> Result<String, Refused> {
    Ok(name::check(typed)?.name)
}
