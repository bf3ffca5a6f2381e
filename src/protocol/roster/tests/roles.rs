//! Who may appoint, dismiss and remove whom.
//! Owns: nothing.
//! Must not know: who leads.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::ids::NetworkRole::{Admin, Member as Plain, Owner};
use crate::ids::{NetworkRole, PeerId};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn peer(name: &str) -> PeerId {
    stored::member(name).peer()
}

/// Wishes, one after another, each with an id of its own.
struct Group {
    key: AuthorityKey,
    roster: Roster,
    log: Vec<Bytes>,
}

impl Group {
    fn of_four() -> Self {
        let key = stored::authority_key();
        let mut group = Self { roster: founded(&key), key, log: Vec::new() };
        for (n, name) in (2..).zip(NAMES.into_iter().skip(1)) {
            let bytes = admit(&group.key, name, n, n.into());
            apply(&mut group.roster, stored::NOW, &bytes).unwrap();
            group.log.push(bytes);
        }
        group
    }

    fn device(author: &str) -> Device {
        let place = NAMES.iter().position(|name| *name == author).unwrap();
        stored::device(u8::try_from(place + 1).unwrap())
    }

    fn wish(&mut self, author: &str, wish: &Wish) -> Result<Change, Refusal> {
        let id = u8::try_from(self.log.len() + 100).unwrap();
        let bytes = super::wish(&self.key, author, id, wish, &Self::device(author));
        let judged = self.roster.would_take(&bytes, stored::NOW, &stored::device(8)).map(|_| ());
        let taken = apply(&mut self.roster, stored::NOW, &bytes);
        self.log.push(bytes);
        assert_eq!(judged.map_err(|it| it.refusal), taken.clone().map(|_| ()));
        taken
    }

    fn role(&mut self, author: &str, name: &str, role: NetworkRole) -> Result<Change, Refusal> {
        self.wish(author, &Wish::Role { peer: peer(name), role })
    }

    fn remove(&mut self, author: &str, name: &str) -> Result<Change, Refusal> {
        let reason = "gone\u{1b}".to_owned();
        self.wish(author, &Wish::Remove { peer: peer(name), reason })
    }

    fn roles(&self) -> [NetworkRole; 4] {
        NAMES.map(|name| self.roster.role_of(&peer(name)))
    }
}

#[test]
fn the_founder_is_the_owner_and_the_others_are_members() {
    assert_eq!(Group::of_four().roles(), [Owner, Plain, Plain, Plain]);
}

#[test]
fn an_ordinary_member_appoints_dismisses_and_removes_nobody_not_even_for_itself() {
    let mut group = Group::of_four();
    assert_eq!(group.role("bob", "bob", Owner), Err(Refusal::NotAllowed));
    assert_eq!(group.role("bob", "bob", Admin), Err(Refusal::NotAllowed));
    assert_eq!(group.role("bob", "carol", Admin), Err(Refusal::NotAllowed));
    assert_eq!(group.role("bob", "alice", Plain), Err(Refusal::NotAllowed));
    assert_eq!(group.remove("bob", "carol"), Err(Refusal::NotAllowed));
    assert_eq!(group.remove("bob", "alice"), Err(Refusal::NotAllowed));
    assert_eq!(group.roles(), [Owner, Plain, Plain, Plain]);
    assert_eq!(group.roster.members().filter(|it| it.is_in()).count(), 4);
}

#[test]
fn an_admin_decides_about_all_but_owners_and_an_owner_about_all() {
    let mut group = Group::of_four();
    let (alice, bob, carol) = (peer("alice"), peer("bob"), peer("carol"));
    assert_eq!(group.role("alice", "bob", Admin), Ok(Change::Role(bob, alice)));
    assert_eq!(group.role("bob", "carol", Admin), Ok(Change::Role(carol, bob)));
    assert_eq!(group.role("bob", "carol", Owner), Err(Refusal::NotAllowed));
    assert_eq!(group.role("bob", "alice", Admin), Err(Refusal::NotAllowed));
    assert_eq!(group.remove("bob", "alice"), Err(Refusal::NotAllowed));
    assert_eq!(group.role("carol", "bob", Plain), Ok(Change::Role(bob, carol)));
    assert_eq!(group.role("bob", "carol", Plain), Err(Refusal::NotAllowed), "no more");
    let out = |name: &str, by: &str| {
        let reason = "gone\\u{1b}".to_owned();
        Ok(Change::Removed { peer: peer(name), by: Some(peer(by)), reason })
    };
    assert_eq!(group.remove("carol", "bob"), out("bob", "carol"));
    assert_eq!(group.role("alice", "dave", Owner), Ok(Change::Role(peer("dave"), alice)));
    assert_eq!(group.remove("dave", "alice"), out("alice", "dave"));
    assert_eq!(group.roles(), [Plain, Plain, Admin, Owner], "who is out has no say");
}

#[test]
fn anybody_steps_down_and_leaves_for_good_save_the_last_owner() {
    let mut group = Group::of_four();
    assert_eq!(group.role("alice", "alice", Admin), Err(Refusal::LastOwner));
    assert_eq!(group.remove("alice", "alice"), Err(Refusal::LastOwner));
    group.role("alice", "bob", Owner).unwrap();
    group.role("alice", "alice", Admin).unwrap();
    assert_eq!(group.role("bob", "bob", Plain), Err(Refusal::LastOwner));
    group.role("alice", "alice", Plain).unwrap();
    assert_eq!(group.role("alice", "alice", Admin), Err(Refusal::NotAllowed), "not up again");
    group.remove("alice", "alice").unwrap();
    assert!(!group.roster.is_in(&peer("alice")));
}

#[test]
fn a_removed_member_wishes_nothing_is_appointed_to_nothing_and_does_not_come_back() {
    let mut group = Group::of_four();
    group.role("alice", "bob", Admin).unwrap();
    group.remove("alice", "bob").unwrap();
    assert_eq!(group.role("bob", "carol", Admin), Err(Refusal::NotAMember));
    assert_eq!(group.remove("bob", "carol"), Err(Refusal::NotAMember));
    assert_eq!(group.role("alice", "bob", Admin), Err(Refusal::Removed));
    assert_eq!(group.remove("alice", "bob"), Err(Refusal::FrameUnexpected), "removed once");
    assert!(group.roster.is_revoked(2), "its certificate is as good as revoked");
    let again = admit(&group.key, "bob", 90, 2);
    assert_eq!(apply(&mut group.roster, stored::NOW, &again), Err(Refusal::CertificateRevoked));
    let renewed = admit(&group.key, "bob", 91, 9);
    assert_eq!(apply(&mut group.roster, stored::NOW, &renewed), Err(Refusal::Removed));
    let namesake = stored::certificate(&group.key, "erin", "bob", 10);
    let (network, certified) = (group.key.network(), Certified::ByAuthority(namesake));
    let (erin, device) = (stored::member("erin"), stored::device(9));
    let life = Incarnation(9);
    let credential = make_credential(&erin, &network, certified, device.device(), life).unwrap();
    let taken = wish(&group.key, "erin", 92, &Wish::Admit { credential }, &device);
    assert_eq!(apply(&mut group.roster, stored::NOW, &taken), Err(Refusal::NameTaken));
}

#[test]
fn a_wish_about_roles_counts_once_and_only_under_its_authors_key() {
    let mut group = Group::of_four();
    let bob = peer("bob");
    group.role("alice", "bob", Admin).unwrap();
    let replayed = group.log.last().unwrap().clone();
    group.role("alice", "bob", Plain).unwrap();
    let again = apply(&mut group.roster, stored::NOW, &replayed);
    assert_eq!(again, Err(Refusal::FrameUnexpected));
    let owner = Wish::Role { peer: bob, role: Owner };
    let forged = wish(&group.key, "alice", 80, &owner, &Group::device("bob"));
    assert_eq!(apply(&mut group.roster, stored::NOW, &forged), Err(Refusal::SignatureBad));
    let foreign =
        wish(&stored::other_authority_key(), "alice", 81, &owner, &Group::device("alice"));
    assert_eq!(apply(&mut group.roster, stored::NOW, &foreign), Err(Refusal::NetworkOther));
    let nobody = Wish::Role { peer: peer("erin"), role: Admin };
    assert_eq!(group.wish("alice", &nobody), Err(Refusal::NotAMember));
    assert_eq!(group.roles(), [Owner, Plain, Plain, Plain]);
}

#[test]
fn a_wish_with_a_reason_out_of_bounds_is_refused_before_it_is_judged() {
    let key = stored::authority_key();
    let long = Wish::Remove { peer: peer("bob"), reason: "x".repeat(201) };
    let long = wish(&key, "alice", 1, &long, &Group::device("alice"));
    assert_eq!(apply(&mut founded(&key), stored::NOW, &long), Err(Refusal::FieldBad));
    let fits = Wish::Remove { peer: peer("bob"), reason: "x".repeat(200) };
    let fits = wish(&key, "alice", 1, &fits, &Group::device("alice"));
    assert_eq!(apply(&mut founded(&key), stored::NOW, &fits), Err(Refusal::NotAMember));
}

#[test]
fn when_the_authority_removes_the_last_owner_the_eldest_admin_succeeds() {
    let mut group = Group::of_four();
    group.role("alice", "dave", Admin).unwrap();
    group.role("alice", "carol", Admin).unwrap();
    let revoke = |key: &AuthorityKey, serial: u64, peer: PeerId| {
        let body = RevocationIn {
            network: key.network(),
            of: Withdrawn::Certificate { serial, peer },
            revoked_at: stored::NOW,
            reason: String::new(),
        };
        Wish::Revoke { revocation: revocation::make(key, &body).unwrap() }
    };
    let wish = revoke(&group.key, 1, peer("alice"));
    group.wish("dave", &wish).unwrap();
    assert_eq!(group.roles(), [Plain, Plain, Owner, Admin]);
    let last = *group.roster.role_changes().last().unwrap();
    assert_eq!((last.peer, last.role, last.by), (peer("carol"), Owner, None));
    let wish = revoke(&group.key, 3, peer("carol"));
    group.wish("dave", &wish).unwrap();
    let wish = revoke(&group.key, 4, peer("dave"));
    group.wish("bob", &wish).unwrap();
    assert_eq!(group.roles(), [Plain, Owner, Plain, Plain], "no admin is left");
    // Two replicas agree on all of it.
    let mut other = founded(&group.key);
    for bytes in &group.log {
        let _ = apply(&mut other, stored::NOW, bytes);
    }
    assert_eq!(other.state_hash(), group.roster.state_hash());
    assert_eq!(other.role_changes(), group.roster.role_changes());
}
