//! Work asked of strangers, and of nobody else.
//! Owns: nothing.
//! Must not know: how it is searched for.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::identity::work::Search;
use crate::wire::identity::Work;

const BITS: u32 = 8;

fn working(admission: Admission) -> Desk {
    let setup = AuthoritySetup { work_bits: BITS, ..setup(admission, stored::authority_key()) };
    let mut desk = Desk::open(admission);
    desk.core = AuthorityCore::load(setup, &desk.disk).unwrap();
    desk
}

fn work(desk: &Desk, key: &MemberKey, name: &str) -> Option<Work> {
    let mut search = Search::new(&desk.authority.network, name, key.spki(), desk.now.wall, BITS);
    search.step(1_000_000)
}

#[test]
fn an_open_authority_certifies_strangers_for_their_work_and_says_how_much() {
    let mut desk = working(Admission::Open);
    let alice = stored::member("alice");
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::WorkMissing);
    desk.work = work(&desk, &stored::member("bob"), "alice");
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::WorkTooLittle);
    desk.work = work(&desk, &alice, "alice");
    desk.later(Millis(DAY + 1));
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::WorkMissing, "of these days");
    desk.work = work(&desk, &alice, "alice");
    let certificate = desk.register(&alice, "alice").unwrap();
    // Whoever is certified renews without.
    desk.work = None;
    assert_eq!(desk.register(&alice, "alice"), Ok(certificate));
    let bytes = AuthorityAsk { nonce: [1; 16], question: AuthorityQuestion::About }.encode();
    let answer = desk.put(stranger(1), &bytes);
    let about = answer::open_about(&stored::device(3), &bytes, &answer).unwrap();
    assert_eq!((about.1, about.2), (Admission::Open, BITS));
}

#[test]
fn a_registration_without_work_costs_the_authority_neither_signature_nor_row() {
    let mut desk = working(Admission::Approve);
    let alice = stored::member("alice");
    let question = AuthorityQuestion::Register {
        name: "alice".to_owned(),
        spki: Bytes::copy_from_slice(alice.spki()),
        // Not even looked at.
        possession: Bytes::from_static(b"no proof"),
        credential: Bytes::new(),
        work: None,
    };
    let bytes = AuthorityAsk { nonce: [1; 16], question }.encode();
    let answer = AuthoritySignedIn::decode(&desk.put(alice.peer(), &bytes)).unwrap();
    assert!(answer.signature.is_empty());
    let Ok(AuthorityReply::No(no)) = AuthorityReply::decode(&answer.body) else { panic!() };
    assert_eq!((no.refusal, no.detail.as_str()), (Refusal::WorkMissing, "8 bits are needed"));
    assert!(desk.rows(0).0.is_empty());
    desk.work = work(&desk, &alice, "alice");
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::ApprovalPending);
    assert_eq!(desk.rows(0).0.len(), 1);
}

#[test]
fn where_invites_alone_open_the_door_no_work_is_asked_for() {
    let mut desk = working(Admission::Voucher);
    let alice = stored::member("alice");
    assert_eq!(code(desk.register(&alice, "alice")), Refusal::VoucherNeeded);
}
