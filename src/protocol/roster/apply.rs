//! One control entry after another changes the roster, or is void, for all alike.
//! Owns: who may wish what.
//! Must not know: clocks: the time of an entry is the leader's stamp in it.
//! Invariants: a void entry changes nothing but the position; the same log gives the same roster.
//! Start reading at: [`Roster::apply`].

use super::{Member, Place, Roster};
use crate::identity::revocation::Revocation;
use crate::identity::voucher::VoucherUse;
use crate::identity::{Credential, Domain, Proofs};
use crate::ids::{Index, IntentId, NetworkRole, PeerId, RoomId, VoucherId};
use crate::limits::{CLOCK_SKEW_MAX, MEMBERS_MAX, ROOMS_PER_MEMBER_MAX};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;
use crate::wire::identity::Withdrawn;
use crate::wire::roster::{IntentIn, Wish};

/// Databases kept of one member; the oldest stays, since its entries may still travel.
const DEVICES_MAX: usize = 64;

/// What an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Somebody new.
    Admitted(PeerId),
    /// A renewed certificate or a new database of a member.
    Renewed(PeerId),
    /// Somebody was removed.
    Removed {
        /// Who.
        peer: PeerId,
        /// By which member; `None`: by the authority.
        by: Option<PeerId>,
        /// Why; may be empty.
        reason: String,
    },
    /// Somebody's role was changed, by whom.
    Role(PeerId, PeerId),
    /// Something about a room was ordered; whether it holds, the room's members judge.
    Ordered(Ordered),
    /// A voucher holds no more; who was removed with it, and why.
    VoucherRevoked(VoucherId, Vec<PeerId>, String),
    /// The entry held nothing for the roster.
    Nothing,
}

/// An order about a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The room.
    pub room: RoomId,
    /// Whether the room begins with it.
    pub is_new: bool,
    /// Who wished it; a member.
    pub by: PeerId,
    /// The wish's id.
    pub id: IntentId,
    /// The encoded order.
    pub order: bytes::Bytes,
}

/// A verified wish; only [`Roster::verify`] makes one.
struct Verified {
    id: IntentId,
    wish: VerifiedWish,
}

enum VerifiedWish {
    Admit(Credential),
    Revoke(Revocation),
    Room(Ordered),
    Role { author: PeerId, peer: PeerId, role: NetworkRole },
    Remove { author: PeerId, peer: PeerId, reason: String },
}

impl Roster {
    /// Takes the entry at `index`, stamped `at` by the leader who ordered it.
    ///
    /// # Refusals
    /// Why the entry is void; the roster is unchanged but for its position.
    pub fn apply(
        &mut self,
        index: Index,
        at: Wall,
        intent: Option<&bytes::Bytes>,
        proofs: &dyn Proofs,
    ) -> Result<Change, Refused> {
        self.applied = index;
        let Some(intent) = intent else {
            return Ok(Change::Nothing);
        };
        let verified = self.verify(intent, at, proofs)?;
        self.taken.insert(verified.id);
        Ok(match verified.wish {
            VerifiedWish::Admit(credential) => {
                let is_new = !self.members.contains_key(&credential.peer);
                self.enter(&credential, index);
                if is_new {
                    Change::Admitted(credential.peer)
                } else {
                    Change::Renewed(credential.peer)
                }
            }
            VerifiedWish::Revoke(revocation) => self.withdraw(revocation, index, at),
            VerifiedWish::Room(ordered) => {
                let by = ordered.is_new.then_some(ordered.by);
                let place = self.rooms.entry(ordered.room).or_insert(Place { by, moved_at: index });
                place.moved_at = index;
                Change::Ordered(ordered)
            }
            VerifiedWish::Role { author, peer, role } => {
                self.set_role(peer, role, Some(author), index);
                Change::Role(peer, author)
            }
            VerifiedWish::Remove { author, peer, reason } => {
                self.outdate(&peer);
                self.remove(&peer, index, at);
                Change::Removed { peer, by: Some(author), reason }
            }
        })
    }

    fn withdraw(&mut self, revocation: Revocation, index: Index, at: Wall) -> Change {
        let reason = revocation.reason;
        match revocation.of {
            Withdrawn::Certificate { serial, peer } => {
                self.revoked.insert(serial);
                match self.remove(&peer, index, at) {
                    true => Change::Removed { peer, by: None, reason },
                    false => Change::Nothing,
                }
            }
            Withdrawn::Voucher { id, with_members } => {
                let vouching = self.vouchers.entry(id).or_default();
                vouching.is_revoked = true;
                let by = if with_members { vouching.by.clone() } else { Vec::new() };
                vouching.are_members_out |= with_members;
                let removed = by.into_iter().filter(|peer| self.remove(peer, index, at)).collect();
                Change::VoucherRevoked(id, removed, reason)
            }
        }
    }

    /// Whether it belonged until now.
    fn remove(&mut self, peer: &PeerId, index: Index, at: Wall) -> bool {
        match self.members.get_mut(peer) {
            Some(member) if member.is_in() => {
                member.removed_at = Some(at);
                member.removed_by = Some(index);
                self.succeed(index);
                true
            }
            _ => false,
        }
    }

    /// Whether a revocation says something that is not in force yet.
    pub fn is_news(&self, of: &Withdrawn) -> bool {
        match of {
            Withdrawn::Certificate { serial, .. } => !self.revoked.contains(serial),
            Withdrawn::Voucher { id, with_members } => self
                .vouchers
                .get(id)
                .is_none_or(|it| !it.is_revoked || *with_members && !it.are_members_out),
        }
    }

    /// Whether an intent would take effect now: what a leader asks before it orders one.
    ///
    /// # Refusals
    /// Why it would be void.
    pub fn would_take(
        &self,
        intent: &bytes::Bytes,
        at: Wall,
        proofs: &dyn Proofs,
    ) -> Result<IntentId, Refused> {
        self.verify(intent, at, proofs).map(|verified| verified.id)
    }

    fn verify(
        &self,
        bytes: &bytes::Bytes,
        at: Wall,
        proofs: &dyn Proofs,
    ) -> Result<Verified, Refused> {
        let intent = IntentIn::decode(bytes)?;
        if intent.network != self.authority.network {
            return Err(Refusal::NetworkOther.into());
        }
        if self.taken.contains(&intent.id) {
            return Err(Refused::new(Refusal::FrameUnexpected, "this intent was ordered before"));
        }
        let wish = match &intent.wish {
            Wish::Admit { credential } => {
                let credential = proofs.credential(&self.authority, credential)?;
                if credential.peer != intent.author {
                    return Err(Refusal::CertificateOfOther.into());
                }
                // A credential proves its device key, so the key may sign its own admission.
                if !proofs.verify(
                    &credential.device,
                    Domain::Intent,
                    &intent.body,
                    &intent.signature,
                ) {
                    return Err(Refusal::SignatureBad.into());
                }
                self.may_enter(&credential, at)?;
                VerifiedWish::Admit(credential)
            }
            Wish::Revoke { revocation } => {
                let revocation = Revocation::verify(proofs, &self.authority, revocation)?;
                if !self.is_news(&revocation.of) {
                    return Err(Refused::new(Refusal::FrameUnexpected, "revoked before"));
                }
                VerifiedWish::Revoke(revocation)
            }
            Wish::Room { room, is_new, order } => {
                self.check_author(&intent, proofs)?;
                self.check_room(*room, *is_new, &intent.author)?;
                let (room, is_new, by) = (*room, *is_new, intent.author);
                let (id, order) = (intent.id, order.clone());
                VerifiedWish::Room(Ordered { room, is_new, by, id, order })
            }
            Wish::Role { peer, role } => {
                self.check_author(&intent, proofs)?;
                self.check_role(&intent.author, peer, *role)?;
                VerifiedWish::Role { author: intent.author, peer: *peer, role: *role }
            }
            Wish::Remove { peer, reason } => {
                self.check_author(&intent, proofs)?;
                self.check_removal(&intent.author, peer)?;
                let reason = crate::text::one_line(reason);
                VerifiedWish::Remove { author: intent.author, peer: *peer, reason }
            }
        };
        Ok(Verified { id: intent.id, wish })
    }

    /// Rooms are few enough, and begin once.
    fn check_room(&self, room: RoomId, is_new: bool, by: &PeerId) -> Result<(), Refused> {
        if is_new == self.has_room(&room) {
            return Err(Refused::new(Refusal::RoomUnknown, room.to_string()));
        }
        if is_new && self.rooms_by(by) >= ROOMS_PER_MEMBER_MAX {
            return Err(Refused::new(Refusal::TooMany, "this member has created too many rooms"));
        }
        Ok(())
    }

    /// Whether a member wishes this, under the key of one of its databases.
    fn check_author(&self, intent: &IntentIn, proofs: &dyn Proofs) -> Result<(), Refused> {
        let author = self.members.get(&intent.author).filter(|author| author.is_in());
        let author = author.ok_or(Refusal::NotAMember)?;
        let (body, by) = (&intent.body, &intent.signature);
        let is_signed =
            author.devices.iter().rev().any(|it| proofs.verify(&it.1, Domain::Intent, body, by));
        if is_signed { Ok(()) } else { Err(Refusal::SignatureBad.into()) }
    }

    /// Whether somebody who is no member yet may come in by this voucher at that time.
    ///
    /// # Refusals
    /// [`Refusal::VoucherRevoked`], [`Refusal::VoucherExpired`], [`Refusal::VoucherSpent`].
    fn may_use(&self, voucher: &VoucherUse, at: Wall) -> Result<(), Refused> {
        let id = voucher.id.to_string();
        if self.is_voucher_revoked(&voucher.id) {
            return Err(Refused::new(Refusal::VoucherRevoked, id));
        }
        if let Some(by) = voucher.by
            && self.role_of(&by) < NetworkRole::Admin
        {
            let detail = format!("{id}; {} is no admin any more", self.name_of(&by));
            return Err(Refused::new(Refusal::VoucherRevoked, detail));
        }
        if voucher.expires_at < at {
            let detail = format!("valid until {}; the time is {at}", voucher.expires_at);
            return Err(Refused::new(Refusal::VoucherExpired, detail));
        }
        let uses = usize::try_from(voucher.uses).unwrap_or(usize::MAX);
        if self.uses_of(&voucher.id) >= uses {
            let detail = format!("{id} admits {}", voucher.uses);
            return Err(Refused::new(Refusal::VoucherSpent, detail));
        }
        Ok(())
    }

    /// Whether to talk with whoever shows this credential, as far as its voucher goes. Clocks
    /// differ: the end of a voucher is judged by a leader's stamp, and here only when long over.
    ///
    /// # Refusals
    /// [`Refusal::VoucherRevoked`], [`Refusal::VoucherExpired`], [`Refusal::VoucherSpent`].
    pub fn may_come(&self, credential: &Credential, now: Wall) -> Result<(), Refused> {
        self.judge_voucher(credential, Wall(now.0.saturating_sub(CLOCK_SKEW_MAX.0)))
    }

    /// Who is or was a member came in already: its voucher was counted then.
    fn judge_voucher(&self, credential: &Credential, at: Wall) -> Result<(), Refused> {
        match &credential.voucher {
            Some(voucher) if !self.members.contains_key(&credential.peer) => {
                self.may_use(voucher, at)
            }
            _ => Ok(()),
        }
    }

    /// Whether this credential may be (or stay) a member's at that time.
    pub fn may_enter(&self, credential: &Credential, at: Wall) -> Result<(), Refused> {
        if self.revoked.contains(&credential.serial) {
            return Err(Refused::new(Refusal::CertificateRevoked, &credential.name));
        }
        if credential.not_before > at.after(CLOCK_SKEW_MAX) {
            let detail = format!("valid from {}; the time is {at}", credential.not_before);
            return Err(Refused::new(Refusal::CertificateEarly, detail));
        }
        if credential.not_after < at {
            let detail = format!("valid until {}; the time is {at}", credential.not_after);
            return Err(Refused::new(Refusal::CertificateExpired, detail));
        }
        if let Some(owner) = self.by_skeleton.get(&credential.skeleton)
            && *owner != credential.peer
        {
            let refusal = match self.members.get(owner) {
                Some(member) if member.name == credential.name => Refusal::NameTaken,
                _ => Refusal::NameLooksAlike,
            };
            return Err(Refused::new(refusal, self.name_of(owner)));
        }
        self.judge_voucher(credential, at)?;
        match self.members.get(&credential.peer) {
            Some(member) if !member.is_in() => Err(Refused::new(Refusal::Removed, &member.name)),
            Some(member) if member.skeleton != credential.skeleton => {
                Err(Refused::new(Refusal::KeyHasOtherName, &member.name))
            }
            Some(member) if member.serial > credential.serial => {
                Err(Refused::new(Refusal::CertificateBad, "a newer certificate is known"))
            }
            Some(member)
                if member
                    .key_of(credential.incarnation)
                    .is_some_and(|key| key != credential.device) =>
            {
                Err(Refused::new(Refusal::CertificateBad, "this database has another key"))
            }
            None if self.members.len() >= MEMBERS_MAX => {
                Err(Refused::new(Refusal::TooMany, "the network is full"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn enter(&mut self, credential: &Credential, index: Index) {
        let device = (credential.incarnation, credential.device);
        match self.members.get_mut(&credential.peer) {
            Some(member) => {
                member.serial = credential.serial;
                member.not_after = credential.not_after;
                member.credential = credential.bytes.clone();
                // The newest incarnation stands last: it is the one that may vote.
                member.devices.retain(|known| *known != device);
                if member.devices.len() >= DEVICES_MAX {
                    member.devices.remove(1);
                }
                member.devices.push(device);
                member.bound.entry(credential.device).or_insert(index);
            }
            None => {
                if let Some(voucher) = &credential.voucher {
                    self.vouchers.entry(voucher.id).or_default().by.push(credential.peer);
                }
                self.order.push(credential.peer);
                self.by_skeleton.insert(credential.skeleton.clone(), credential.peer);
                self.members.insert(
                    credential.peer,
                    Member {
                        peer: credential.peer,
                        name: credential.name.clone(),
                        skeleton: credential.skeleton.clone(),
                        role: NetworkRole::Member,
                        serial: credential.serial,
                        not_after: credential.not_after,
                        credential: credential.bytes.clone(),
                        devices: vec![device],
                        admitted_at: index,
                        removed_at: None,
                        removed_by: None,
                        bound: [(credential.device, index)].into(),
                    },
                );
            }
        }
    }
}
