//! Who may appoint, dismiss and remove whom.
//! Owns: the rules of roles, and the record of their changes.
//! Must not know: signatures (`apply` checks them first), rooms.
//! Invariants: every role traces to the founding, an authorised intent or a succession (10); while
//! anybody belongs, an owner does.
//! Start reading at: [`Roster::check_role`].
//!
//! As people know it from other group chats: an admin appoints and dismisses admins and removes
//! members and admins; owners alone appoint, dismiss and remove owners. Anybody may step down, and
//! may leave for good by removing itself. The last owner does neither without naming another.

use super::Roster;
use crate::ids::{Index, IntentId, NetworkRole, PeerId};
use crate::refusal::{Refusal, Refused};

/// A role that somebody got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// By which entry.
    pub index: Index,
    /// Who.
    pub peer: PeerId,
    /// Which.
    pub role: NetworkRole,
    /// From whom; `None`: nobody was an owner any more, and it was next.
    pub by: Option<PeerId>,
}

impl Roster {
    /// A member's role; somebody who does not belong has the least.
    pub fn role_of(&self, peer: &PeerId) -> NetworkRole {
        self.members.get(peer).filter(|it| it.is_in()).map_or(NetworkRole::Member, |it| it.role)
    }

    /// The role that somebody had when this entry was applied.
    pub fn role_at(&self, peer: &PeerId, at: Index) -> NetworkRole {
        let changes = self.role_changes.iter().rev();
        let last = changes.filter(|it| it.peer == *peer).find(|it| it.index <= at);
        match last {
            Some(change) => change.role,
            None if self.founder() == Some(*peer) => NetworkRole::Owner,
            None => NetworkRole::Member,
        }
    }

    /// Every change of a role, in order.
    pub fn role_changes(&self) -> &[RoleChange] {
        &self.role_changes
    }

    /// Whether this intent took effect.
    pub fn has_taken(&self, id: &IntentId) -> bool {
        self.taken.contains(id)
    }

    pub(super) fn give_to_founder(&mut self, founder: &PeerId) {
        if let Some(member) = self.members.get_mut(founder) {
            member.role = NetworkRole::Owner;
        }
    }

    /// Whether `author`, who belongs, may give `peer` this role.
    ///
    /// # Refusals
    /// [`Refusal::NotAllowed`], [`Refusal::LastOwner`], [`Refusal::NotAMember`],
    /// [`Refusal::Removed`]; [`Refusal::FrameUnexpected`] if it has that role.
    pub(super) fn check_role(
        &self,
        author: &PeerId,
        peer: &PeerId,
        role: NetworkRole,
    ) -> Result<(), Refused> {
        let member = self.members.get(peer).ok_or(Refusal::NotAMember)?;
        if !member.is_in() {
            return Err(Refused::new(Refusal::Removed, &member.name));
        }
        if member.role == role {
            let detail = format!("{} has that role", member.name);
            return Err(Refused::new(Refusal::FrameUnexpected, detail));
        }
        let steps_down = author == peer && role < member.role;
        if !steps_down && !self.may_decide(author, member.role.max(role)) {
            return Err(self.not_allowed(author));
        }
        self.keep_an_owner(peer)
    }

    /// Whether `author`, who belongs, may remove `peer`.
    ///
    /// # Refusals
    /// [`Refusal::NotAllowed`], [`Refusal::LastOwner`], [`Refusal::NotAMember`];
    /// [`Refusal::FrameUnexpected`] if it is out already.
    pub(super) fn check_removal(&self, author: &PeerId, peer: &PeerId) -> Result<(), Refused> {
        let member = self.members.get(peer).ok_or(Refusal::NotAMember)?;
        if !member.is_in() {
            let detail = format!("{} was removed before", member.name);
            return Err(Refused::new(Refusal::FrameUnexpected, detail));
        }
        if author != peer && !self.may_decide(author, member.role) {
            return Err(self.not_allowed(author));
        }
        self.keep_an_owner(peer)
    }

    /// Whether `author` decides about somebody who has, or is to have, this role.
    fn may_decide(&self, author: &PeerId, role: NetworkRole) -> bool {
        match self.role_of(author) {
            NetworkRole::Owner => true,
            NetworkRole::Admin => role < NetworkRole::Owner,
            NetworkRole::Member => false,
        }
    }

    fn not_allowed(&self, author: &PeerId) -> Refused {
        let (name, role) = (self.name_of(author), self.role_of(author).name());
        Refused::new(Refusal::NotAllowed, format!("{name} has the role {role}"))
    }

    /// Whether an owner is left without this one.
    fn keep_an_owner(&self, aside: &PeerId) -> Result<(), Refused> {
        let is_owner = |peer: &PeerId| self.role_of(peer) == NetworkRole::Owner;
        if !is_owner(aside) || self.order.iter().any(|peer| peer != aside && is_owner(peer)) {
            return Ok(());
        }
        Err(Refused::new(Refusal::LastOwner, self.name_of(aside)))
    }

    pub(super) fn set_role(
        &mut self,
        peer: PeerId,
        role: NetworkRole,
        by: Option<PeerId>,
        index: Index,
    ) {
        if let Some(member) = self.members.get_mut(&peer) {
            member.role = role;
            self.role_changes.push(RoleChange { index, peer, role, by });
        }
    }

    /// The authority may remove the last owner: then whoever is an admin for longest is the next,
    /// and without admins whoever is a member for longest. Else nobody could ever appoint anybody.
    pub(super) fn succeed(&mut self, index: Index) {
        let first = |role: NetworkRole| {
            let belongs = |peer: &&PeerId| self.members.get(peer).is_some_and(|it| it.is_in());
            self.order.iter().filter(belongs).find(|peer| self.role_of(peer) == role).copied()
        };
        if first(NetworkRole::Owner).is_some() {
            return;
        }
        if let Some(heir) = first(NetworkRole::Admin).or_else(|| first(NetworkRole::Member)) {
            self.set_role(heir, NetworkRole::Owner, None, index);
        }
    }

    /// Who is removed by a member has no valid certificate any more. A voucher's number is 0, and
    /// others came by vouchers, too.
    pub(super) fn outdate(&mut self, peer: &PeerId) {
        let serial = self.members.get(peer).map(|member| member.serial);
        self.revoked.extend(serial.filter(|serial| *serial != 0));
    }
}
