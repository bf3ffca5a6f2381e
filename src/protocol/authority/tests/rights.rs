//! What members may order at the authority.
//! Owns: nothing.
//! Must not know: the group's roles.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::ids::VoucherId;
use crate::limits::VOUCHERS_OPEN_MAX;
use crate::wire::identity::Rights;
use crate::wire::identity::voucher::VoucherIn;

const HOUR: Millis = Millis(3_600_000);

impl Desk {
    /// An order of whoever the connection proves to be there.
    fn asks(&mut self, name: &str, command: OrderCommand) -> Result<AuthorityReply, Refused> {
        self.asked += 1;
        let order = self.ordered(command).encode();
        self.ask(stored::member(name).peer(), AuthorityQuestion::Entrusted { order })
    }

    fn allow(&mut self, name: &str, invites: bool, approvals: bool) {
        let (name, rights) = (name.to_owned(), Rights { invites, approvals });
        self.order(OrderCommand::Entrust { name, rights }).unwrap();
    }

    fn invites(&mut self, name: &str) -> Result<VoucherId, Refused> {
        let key = DeviceKey([7; 32]);
        let (whom, room) = (String::new(), String::new());
        let wanted = OrderCommand::Invite { key, uses: 2, life: HOUR, name: whom, room };
        match self.asks(name, wanted)? {
            AuthorityReply::Voucher(signed) => {
                let body = AuthoritySignedIn::decode(&signed).unwrap().body;
                let voucher = VoucherIn::decode(&body).unwrap();
                assert_eq!(voucher.by, Some(stored::member(name).peer()));
                Ok(voucher.id)
            }
            other => panic!("no voucher but {other:?}"),
        }
    }

    fn invites_of(&mut self, name: &str) -> Vec<VoucherId> {
        match self.asks(name, OrderCommand::Vouchers { from: 0 }).unwrap() {
            AuthorityReply::Vouchers { rows, next: None } => {
                rows.iter().map(|row| row.body().unwrap().id).collect()
            }
            other => panic!("no vouchers but {other:?}"),
        }
    }

    fn waiting_for(&mut self, name: &str) -> Result<Vec<String>, Refused> {
        match self.asks(name, OrderCommand::Waiting { from: 0 })? {
            AuthorityReply::Rows { rows, next: None } => {
                Ok(rows.into_iter().map(|row| row.name).collect())
            }
            other => panic!("no rows but {other:?}"),
        }
    }
}

fn group(admission: Admission) -> Desk {
    let mut desk = Desk::open(admission);
    for name in ["alice", "bob"] {
        let registered = desk.register(&stored::member(name), name);
        if admission == Admission::Approve {
            assert_eq!(code(registered), Refusal::ApprovalPending);
            desk.approve(name).unwrap();
        }
    }
    desk
}

#[test]
fn a_member_invites_only_if_entrusted_and_sees_and_withdraws_only_its_own() {
    let mut desk = group(Admission::Open);
    assert_eq!(code(desk.invites("bob")), Refusal::NotAllowed);
    assert_eq!(code(desk.invites("carol")), Refusal::NotAMember, "nobody we certified");
    desk.allow("bob", true, false);
    let bobs = desk.invites("bob").unwrap();
    desk.allow("alice", true, false);
    let alices = desk.invites("alice").unwrap();
    assert_eq!(desk.invites_of("bob"), [bobs]);
    assert_eq!(desk.invites_of("alice"), [alices]);
    let revoke = |id| OrderCommand::RevokeVoucher {
        id,
        reason: "lost".to_owned(),
        // Whoever came in stays: who is in is not for an invite's maker to say.
        with_members: true,
    };
    assert_eq!(code(desk.asks("bob", revoke(alices))), Refusal::VoucherUnknown);
    desk.asks("bob", revoke(bobs)).unwrap();
    let (_, revocations) = desk.crl();
    assert_eq!(revocations.len(), 1);
    // What the operator gave outlives a restart, and goes when it says so.
    desk.restart(Admission::Open);
    desk.asked = 500;
    desk.invites("bob").unwrap();
    desk.allow("bob", false, false);
    assert_eq!(code(desk.invites("bob")), Refusal::NotAllowed);
    desk.invites("alice").unwrap();
    desk.revoke("alice").unwrap();
    assert_eq!(code(desk.invites("alice")), Refusal::NotAMember, "revoked");
}

#[test]
fn the_founder_is_entrusted_from_the_start() {
    let mut desk = group(Admission::Open);
    assert_eq!(code(desk.invites("alice")), Refusal::NotAllowed);
    let certificate = desk.register(&stored::member("alice"), "alice").unwrap();
    desk.found(&stored::member("alice"), &certificate).unwrap();
    desk.invites("alice").unwrap();
    assert_eq!(code(desk.invites("bob")), Refusal::NotAllowed);
    desk.allow("alice", false, true);
    assert_eq!(code(desk.invites("alice")), Refusal::NotAllowed, "the operator said otherwise");
}

#[test]
fn a_member_lets_in_and_turns_down_only_if_entrusted_and_only_who_waits() {
    let mut desk = group(Admission::Approve);
    for name in ["carol", "dave"] {
        let waits = desk.register(&stored::member(name), name);
        assert_eq!(code(waits), Refusal::ApprovalPending);
    }
    let approve = |name: &str| OrderCommand::Approve { name: name.to_owned() };
    let refuse = |name: &str| {
        let (name, reason) = (name.to_owned(), "who are you".to_owned());
        OrderCommand::TurnDown { name, reason }
    };
    desk.allow("bob", true, false);
    assert_eq!(code(desk.waiting_for("bob")), Refusal::NotAllowed);
    assert_eq!(code(desk.asks("bob", approve("carol"))), Refusal::NotAllowed);
    assert_eq!(code(desk.asks("bob", refuse("carol"))), Refusal::NotAllowed);
    assert_eq!(code(desk.asks("carol", approve("carol"))), Refusal::NotAMember, "it waits itself");
    desk.allow("bob", false, true);
    assert_eq!(desk.waiting_for("bob").unwrap(), ["carol", "dave"]);
    desk.asks("bob", approve("carol")).unwrap();
    desk.asks("bob", refuse("dave")).unwrap();
    assert!(desk.waiting_for("bob").unwrap().is_empty());
    assert!(desk.register(&stored::member("carol"), "carol").is_ok());
    // Nobody is thrown out this way, and nothing else is ordered.
    assert_eq!(code(desk.asks("bob", refuse("alice"))), Refusal::NameUnknown);
    assert_eq!(code(desk.asks("bob", OrderCommand::List { from: 0 })), Refusal::NotAllowed);
    let rights = Rights { invites: true, approvals: true };
    let entrust = OrderCommand::Entrust { name: "bob".to_owned(), rights };
    assert_eq!(code(desk.asks("bob", entrust)), Refusal::NotAllowed);
    let revoke = OrderCommand::Revoke { name: "alice".to_owned(), reason: String::new() };
    assert_eq!(code(desk.asks("bob", revoke)), Refusal::NotAllowed);
}

#[test]
fn a_members_order_for_another_network_or_too_many_invites_is_refused() {
    let mut desk = group(Admission::Open);
    desk.allow("bob", true, true);
    let order = OrderIn {
        network: stored::other_authority_key().network(),
        ..desk.ordered(OrderCommand::Waiting { from: 0 })
    };
    let question = AuthorityQuestion::Entrusted { order: order.encode() };
    let bob = stored::member("bob").peer();
    assert_eq!(code(desk.ask(bob, question)), Refusal::NetworkOther);
    for _ in 0..VOUCHERS_OPEN_MAX {
        desk.invites("bob").unwrap();
    }
    assert_eq!(code(desk.invites("bob")), Refusal::TooMany);
    desk.later(HOUR);
    desk.later(HOUR);
    desk.invites("bob").unwrap();
}
