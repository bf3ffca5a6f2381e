//! Admission by voucher: counted, ended, withdrawn; the same on every replica.
//! Owns: nothing.
//! Must not know: who leads.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::identity::keys::VoucherKey;
use crate::identity::voucher::{self, VoucherUse};
use crate::identity::{CertificateOrder, Issuer as _};
use crate::ids::VoucherId;
use crate::wire::identity::voucher::VoucherIn;

const HOUR: Millis = Millis(3_600_000);

fn id(seed: u8) -> VoucherId {
    VoucherId([seed; 16])
}

/// A voucher for so many, for an hour; its key follows from its id.
fn signed(key: &AuthorityKey, seed: u8, uses: u32) -> Bytes {
    signed_for(key, seed, uses, None)
}

/// As asked for by a member.
fn signed_for(key: &AuthorityKey, seed: u8, uses: u32, by: Option<PeerId>) -> Bytes {
    let body = VoucherIn {
        network: key.network(),
        id: id(seed),
        key: VoucherKey::from_secret(&[seed; 32]).public(),
        uses,
        issued_at: stored::NOW,
        expires_at: stored::NOW.after(HOUR),
        name: String::new(),
        room: String::new(),
        by,
    };
    voucher::make(key, &body).unwrap()
}

/// The admission of a stored member under a name, by that voucher, from its n-th database.
fn come(key: &AuthorityKey, who: &str, name: &str, (seed, uses): (u8, u32), n: u8) -> Bytes {
    let vouched = voucher::vouch(
        &VoucherKey::from_secret(&[seed; 32]),
        &signed(key, seed, uses),
        &stored::member(who),
        name,
    );
    admit_by(key, who, Certified::ByVoucher(vouched.unwrap()), n)
}

fn admit_by(key: &AuthorityKey, who: &str, certified: Certified, n: u8) -> Bytes {
    let device = stored::device(n);
    let life = Incarnation(u64::from(n));
    let credential =
        make_credential(&stored::member(who), &key.network(), certified, device.device(), life);
    let admit = Wish::Admit { credential: credential.unwrap() };
    // Whose wish it is, is part of its id here, so that no two tests meet in one.
    wish(key, who, n.wrapping_mul(31), &admit, &device)
}

/// A certificate for somebody who registered by a voucher.
fn certified(key: &AuthorityKey, who: &str, (seed, uses): (u8, u32), serial: u64) -> Certified {
    let member = stored::member(who);
    let expires_at = stored::NOW.after(HOUR);
    let order = CertificateOrder {
        serial,
        name: who,
        spki: member.spki(),
        not_before: stored::NOW,
        not_after: stored::NOW.after(Millis(90 * 24 * HOUR.0)),
        voucher: Some(VoucherUse { id: id(seed), uses, expires_at, by: None }),
    };
    Certified::ByAuthority(key.certificate(&order).unwrap())
}

fn withdraw(key: &AuthorityKey, seed: u8, with_members: bool, n: u8) -> Bytes {
    let body = RevocationIn {
        network: key.network(),
        of: Withdrawn::Voucher { id: id(seed), with_members },
        revoked_at: stored::NOW,
        reason: "lost".to_owned(),
    };
    let revocation = revocation::make(key, &body).unwrap();
    wish(key, "alice", n, &Wish::Revoke { revocation }, &stored::device(1))
}

fn peer(name: &str) -> PeerId {
    stored::member(name).peer()
}

#[test]
fn a_voucher_admits_as_many_as_it_says_and_two_replicas_agree() {
    let key = stored::authority_key();
    let (mut one, mut other) = (founded(&key), founded(&key));
    let by = (70, 2);
    // All three were ordered before any was applied: the third is void everywhere.
    let log = [come(&key, "bob", "bob", by, 2), come(&key, "carol", "carol", by, 3)];
    let third = come(&key, "dave", "dave", by, 4);
    assert!(
        log.iter()
            .chain([&third])
            .all(|bytes| { one.would_take(bytes, stored::NOW, &stored::device(8)).is_ok() })
    );
    for roster in [&mut one, &mut other] {
        let admitted = Ok(Change::Admitted(peer("bob")));
        assert_eq!(apply(roster, stored::NOW, &log[0]), admitted);
        let before = roster.state_hash();
        assert_eq!(apply(roster, stored::NOW, &log[1]), Ok(Change::Admitted(peer("carol"))));
        assert_ne!(roster.state_hash(), before);
        assert_eq!(apply(roster, stored::NOW, &third), Err(Refusal::VoucherSpent));
        assert_eq!((roster.uses_of(&id(70)), roster.is_in(&peer("dave"))), (2, false));
    }
    assert_eq!(one.state_hash(), other.state_hash());
    // Another voucher is another count.
    let again = come(&key, "dave", "dave", (71, 1), 5);
    assert_eq!(apply(&mut one, stored::NOW, &again), Ok(Change::Admitted(peer("dave"))));
}

#[test]
fn a_member_is_counted_once_whatever_becomes_of_it() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let by = (70, 1);
    let late = stored::NOW.after(HOUR).after(Millis(1));
    let bob = peer("bob");
    apply(&mut roster, stored::NOW, &come(&key, "bob", "bob", by, 2)).unwrap();
    // A new database, long after the voucher's time and uses are over.
    let renewed = come(&key, "bob", "bob", by, 3);
    assert_eq!(apply(&mut roster, late, &renewed), Ok(Change::Renewed(bob)));
    // The authority is met, at last.
    let met = admit_by(&key, "bob", certified(&key, "bob", by, 9), 4);
    assert_eq!(apply(&mut roster, late, &met), Ok(Change::Renewed(bob)));
    assert_eq!((roster.uses_of(&id(70)), roster.member(&bob).unwrap().serial), (1, 9));
    // Nobody takes its place, nor its name.
    let other = come(&key, "carol", "carol", by, 5);
    assert_eq!(apply(&mut roster, stored::NOW, &other), Err(Refusal::VoucherSpent));
    let named = come(&key, "carol", "b0b", (71, 1), 6);
    assert_eq!(apply(&mut roster, stored::NOW, &named), Err(Refusal::NameLooksAlike));
    // And it does not go back to the voucher.
    let back = come(&key, "bob", "bob", by, 7);
    assert_eq!(apply(&mut roster, stored::NOW, &back), Err(Refusal::CertificateBad));
}

#[test]
fn a_certificate_got_by_a_voucher_counts_as_the_voucher_does() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let by = (70, 1);
    let late = stored::NOW.after(HOUR).after(Millis(1));
    let bob = admit_by(&key, "bob", certified(&key, "bob", by, 2), 2);
    assert_eq!(apply(&mut roster, late, &bob), Err(Refusal::VoucherExpired));
    assert_eq!(apply(&mut roster, stored::NOW, &bob), Ok(Change::Admitted(peer("bob"))));
    let carol = come(&key, "carol", "carol", by, 3);
    assert_eq!(apply(&mut roster, stored::NOW, &carol), Err(Refusal::VoucherSpent));
    let carol = admit_by(&key, "carol", certified(&key, "carol", by, 3), 4);
    assert_eq!(apply(&mut roster, stored::NOW, &carol), Err(Refusal::VoucherSpent));
}

#[test]
fn a_voucher_ends_by_the_leaders_stamp() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let bytes = come(&key, "bob", "bob", (70, 1), 2);
    let end = stored::NOW.after(HOUR);
    let late = apply(&mut roster, end.after(Millis(1)), &bytes);
    assert_eq!(late, Err(Refusal::VoucherExpired));
    let early = Wall(stored::NOW.0 - CLOCK_SKEW_MAX.0 - HOUR.0);
    assert_eq!(apply(&mut roster, early, &bytes), Err(Refusal::CertificateEarly));
    // Who is only talked to is judged by other clocks than the leader's.
    let bob = crate::wire::roster::IntentIn::decode(&bytes).unwrap().wish;
    let Wish::Admit { credential } = bob else { panic!("{bob:?}") };
    let bob = stored::device(8).credential(roster.authority(), &credential).unwrap();
    let code = |at: Wall| roster.may_come(&bob, at).map_err(|it| it.refusal);
    assert_eq!(code(end.after(CLOCK_SKEW_MAX)), Ok(()));
    assert_eq!(code(end.after(CLOCK_SKEW_MAX).after(Millis(1))), Err(Refusal::VoucherExpired));
    assert_eq!(apply(&mut roster, end, &bytes), Ok(Change::Admitted(peer("bob"))));
    assert_eq!(roster.may_come(&bob, end.after(CLOCK_SKEW_MAX.times(2))), Ok(()));
}

#[test]
fn a_withdrawn_voucher_admits_nobody_and_on_wish_takes_its_members_along() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    let by = (70, 4);
    for (who, n) in [("bob", 2), ("carol", 3)] {
        apply(&mut roster, stored::NOW, &come(&key, who, who, by, n)).unwrap();
    }
    let forged = withdraw(&stored::other_authority_key(), 70, true, 10);
    assert_eq!(apply(&mut roster, stored::NOW, &forged), Err(Refusal::NetworkOther));
    let lost = |removed: &[PeerId]| {
        Ok(Change::VoucherRevoked(id(70), removed.to_vec(), "lost".to_owned()))
    };
    let first = withdraw(&key, 70, false, 11);
    assert_eq!(apply(&mut roster, stored::NOW, &first), lost(&[]));
    let dave = come(&key, "dave", "dave", by, 4);
    assert_eq!(apply(&mut roster, stored::NOW, &dave), Err(Refusal::VoucherRevoked));
    assert!(roster.is_in(&peer("bob")) && roster.is_in(&peer("carol")));
    let again = apply(&mut roster, stored::NOW, &withdraw(&key, 70, false, 12));
    assert_eq!(again, Err(Refusal::FrameUnexpected));
    let with = withdraw(&key, 70, true, 13);
    assert_eq!(apply(&mut roster, stored::NOW, &with), lost(&[peer("bob"), peer("carol")]));
    assert!(!roster.is_in(&peer("bob")) && !roster.is_in(&peer("carol")));
    let again = apply(&mut roster, stored::NOW, &withdraw(&key, 70, true, 14));
    assert_eq!(again, Err(Refusal::FrameUnexpected));
    let back = come(&key, "bob", "bob", by, 5);
    assert_eq!(apply(&mut roster, stored::NOW, &back), Err(Refusal::Removed));
    // Withdrawn before anybody heard of it.
    apply(&mut roster, stored::NOW, &withdraw(&key, 71, false, 15)).unwrap();
    let erin = come(&key, "erin", "erin", (71, 1), 6);
    assert_eq!(apply(&mut roster, stored::NOW, &erin), Err(Refusal::VoucherRevoked));
}

#[test]
fn a_voucher_overheard_or_forged_brings_nobody_in() {
    let key = stored::authority_key();
    let mut roster = founded(&key);
    // Signed by the right authority, vouched for by another key than the voucher's.
    let voucher = signed(&key, 70, 1);
    let wrong = voucher::vouch(
        &VoucherKey::from_secret(&[71; 32]),
        &signed(&key, 71, 1),
        &stored::member("bob"),
        "bob",
    );
    let mut given = crate::wire::identity::voucher::VouchedIn::decode(&wrong.unwrap()).unwrap();
    given.voucher = voucher;
    let bytes = admit_by(&key, "bob", Certified::ByVoucher(given.encode()), 2);
    assert_eq!(apply(&mut roster, stored::NOW, &bytes), Err(Refusal::VoucherBad));
    // Another's admission, submitted as one's own.
    let bobs = come(&key, "bob", "bob", (70, 1), 3);
    let credential = match crate::wire::roster::IntentIn::decode(&bobs).unwrap().wish {
        Wish::Admit { credential } => credential,
        other => panic!("{other:?}"),
    };
    let stolen = wish(&key, "carol", 4, &Wish::Admit { credential }, &stored::device(4));
    assert_eq!(apply(&mut roster, stored::NOW, &stolen), Err(Refusal::CertificateOfOther));
    assert_eq!((roster.members().count(), roster.uses_of(&id(70))), (1, 0));
}

#[test]
fn an_invite_admits_only_while_the_member_who_made_it_is_an_admin() {
    use crate::ids::NetworkRole::{Admin, Member as Plain};
    let key = stored::authority_key();
    let mut roster = founded(&key);
    apply(&mut roster, stored::NOW, &admit(&key, "bob", 2, 2)).unwrap();
    let bob = peer("bob");
    let by_bob = |who: &str, n: u8| {
        let signed = signed_for(&key, 70, 9, Some(bob));
        let voucher = VoucherKey::from_secret(&[70; 32]);
        let vouched = voucher::vouch(&voucher, &signed, &stored::member(who), who);
        admit_by(&key, who, Certified::ByVoucher(vouched.unwrap()), n)
    };
    let role = |roster: &mut Roster, n: u8, role| {
        let bytes = wish(&key, "alice", n, &Wish::Role { peer: bob, role }, &stored::device(1));
        apply(roster, stored::NOW, &bytes).unwrap();
    };
    let at = stored::NOW;
    assert_eq!(apply(&mut roster, at, &by_bob("carol", 3)), Err(Refusal::VoucherRevoked));
    role(&mut roster, 201, Admin);
    assert_eq!(apply(&mut roster, at, &by_bob("carol", 3)), Ok(Change::Admitted(peer("carol"))));
    role(&mut roster, 202, Plain);
    assert_eq!(apply(&mut roster, at, &by_bob("dave", 4)), Err(Refusal::VoucherRevoked));
    assert!(roster.is_in(&peer("carol")), "who is in stays in");
    role(&mut roster, 203, Admin);
    let remove = Wish::Remove { peer: bob, reason: String::new() };
    let bytes = wish(&key, "alice", 204, &remove, &stored::device(1));
    apply(&mut roster, at, &bytes).unwrap();
    assert_eq!(apply(&mut roster, at, &by_bob("dave", 4)), Err(Refusal::VoucherRevoked));
}
