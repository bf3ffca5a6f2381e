//! Vouchers at the authority: ordered, kept, withdrawn; and who registers by one.
//! Owns: nothing.
//! Must not know: the control log.
//! Invariants: none.
//! Start reading at: the first test.

use super::*;
use crate::identity::keys::VoucherKey;
use crate::identity::voucher::{self, Voucher};
use crate::ids::VoucherId;
use crate::limits::VOUCHER_LIFE_MAX;
use crate::wire::identity::voucher::VoucherRow;

const HOUR: Millis = Millis(3_600_000);

fn key(seed: u8) -> VoucherKey {
    VoucherKey::from_secret(&[seed; 32])
}

impl Desk {
    fn invite(&mut self, seed: u8, uses: u32, name: &str) -> Result<Bytes, Refused> {
        self.invite_for(seed, uses, name, HOUR)
    }

    fn invite_for(
        &mut self,
        seed: u8,
        uses: u32,
        name: &str,
        life: Millis,
    ) -> Result<Bytes, Refused> {
        let (key, room) = (key(seed).public(), "ops".to_owned());
        let name = name.to_owned();
        match self.order(OrderCommand::Invite { key, uses, life, name, room })? {
            AuthorityReply::Voucher(signed) => Ok(signed),
            other => panic!("no voucher but {other:?}"),
        }
    }

    fn vouchers(&mut self) -> Vec<VoucherRow> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(first) = from {
            match self.order(OrderCommand::Vouchers { from: first }).unwrap() {
                AuthorityReply::Vouchers { rows, next } => {
                    assert!(rows.len() <= REGISTER_PAGE_MAX);
                    all.extend(rows);
                    from = next;
                }
                other => panic!("no vouchers but {other:?}"),
            }
        }
        all
    }

    fn withdraw(&mut self, id: VoucherId, with_members: bool) -> Result<AuthorityReply, Refused> {
        let reason = "lost".to_owned();
        self.order(OrderCommand::RevokeVoucher { id, reason, with_members })
    }

    /// Registers with the credential that a voucher gives.
    fn come(&mut self, signed: &Bytes, seed: u8, who: &str) -> Result<Bytes, Refused> {
        let member = stored::member(who);
        let vouched = voucher::vouch(&key(seed), signed, &member, who).unwrap();
        let certified = Certified::ByVoucher(vouched);
        let device = stored::device(1).device();
        let network = self.authority.network;
        let bytes = make_credential(&member, &network, certified, device, Incarnation(7)).unwrap();
        self.register_with(&member, who, &bytes)
    }

    fn opened(&self, signed: &Bytes) -> Voucher {
        Voucher::verify(&stored::device(3), &self.authority, signed).unwrap()
    }
}

#[test]
fn a_voucher_is_signed_as_ordered_and_kept_across_restarts() {
    let mut desk = Desk::open(Admission::Approve);
    let signed = desk.invite(70, 3, "bob").unwrap();
    let voucher = desk.opened(&signed);
    assert_eq!((voucher.uses, voucher.key), (3, key(70).public()));
    assert_eq!((voucher.name.as_deref(), voucher.room.as_deref()), (Some("bob"), Some("ops")));
    assert_eq!(voucher.expires_at, desk.now.wall.after(HOUR));
    desk.invite(71, 1, "").unwrap();
    desk.restart(Admission::Approve);
    desk.asked = 100;
    let rows = desk.vouchers();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rows[0].voucher, signed);
    assert_ne!(rows[0].body().unwrap().id, rows[1].body().unwrap().id);
}

#[test]
fn many_vouchers_come_in_pages() {
    let mut desk = Desk::open(Admission::Open);
    for _ in 0..REGISTER_PAGE_MAX + 3 {
        desk.invite(70, 1, "").unwrap();
    }
    let rows = desk.vouchers();
    let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
    let count = u64::try_from(REGISTER_PAGE_MAX + 3).unwrap();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
}

#[test]
fn orders_for_vouchers_that_cannot_be_are_refused() {
    let mut desk = Desk::open(Admission::Open);
    desk.register(&stored::member("alice"), "alice").unwrap();
    assert_eq!(code(desk.invite(70, 1, "alice")), Refusal::NameTaken);
    assert_eq!(code(desk.invite(70, 1, "a1ice")), Refusal::NameLooksAlike);
    assert_eq!(code(desk.invite(70, 1, "bo\u{202e}b")), Refusal::NameBad);
    assert_eq!(code(desk.invite(70, 0, "")), Refusal::FieldBad);
    assert_eq!(code(desk.invite_for(70, 1, "", Millis(0))), Refusal::FieldBad);
    let long = VOUCHER_LIFE_MAX.times(2);
    assert_eq!(code(desk.invite_for(70, 1, "", long)), Refusal::FieldBad);
    assert_eq!(code(desk.withdraw(VoucherId([1; 16]), false)), Refusal::VoucherUnknown);
    assert!(desk.vouchers().is_empty());
}

#[test]
fn a_promised_name_is_kept_free_until_the_voucher_ends() {
    let mut desk = Desk::open(Admission::Open);
    let signed = desk.invite(70, 1, "dave").unwrap();
    let erin = stored::member("erin");
    assert_eq!(code(desk.register(&erin, "dave")), Refusal::NameTaken);
    assert_eq!(code(desk.register(&erin, "Dave")), Refusal::NameTaken);
    assert_eq!(code(desk.invite(71, 1, "dave")), Refusal::NameTaken);
    desk.come(&signed, 70, "dave").unwrap();
    assert_eq!(code(desk.invite(72, 1, "dave")), Refusal::NameTaken);
    desk.invite(73, 1, "bob").unwrap();
    desk.later(HOUR);
    desk.register(&stored::member("bob"), "bob").unwrap();
    let row = desk.vouchers().remove(0);
    let id = desk.opened(&row.voucher).id;
    desk.withdraw(id, false).unwrap();
}

#[test]
fn who_brings_a_voucher_is_certified_at_once_and_its_certificate_says_so() {
    for admission in [Admission::Approve, Admission::Voucher, Admission::Open] {
        let mut desk = Desk::open(admission);
        let signed = desk.invite(70, 1, "").unwrap();
        // Its end says until when somebody may come in; the control log judges that.
        desk.later(HOUR.times(2));
        let der = desk.come(&signed, 70, "dave").unwrap();
        let voucher = check_member(&desk.authority, &der).unwrap().voucher.unwrap();
        assert_eq!(voucher, desk.opened(&signed).to_use());
        assert_eq!(desk.come(&signed, 70, "dave"), Ok(der), "asking again");
        // A renewed certificate still says so, also if the voucher is not shown again.
        desk.restart(admission);
        desk.later(Millis(70 * DAY));
        let der = desk.register(&stored::member("dave"), "dave").unwrap();
        let renewed = check_member(&desk.authority, &der).unwrap();
        assert_eq!((renewed.serial, renewed.voucher), (2, Some(voucher)));
    }
}

#[test]
fn without_a_good_voucher_the_policy_decides() {
    let mut desk = Desk::open(Admission::Voucher);
    let signed = desk.invite(70, 1, "").unwrap();
    let erin = stored::member("erin");
    assert_eq!(code(desk.register(&erin, "erin")), Refusal::VoucherNeeded);
    desk.come(&signed, 70, "dave").unwrap();
    assert_eq!(code(desk.come(&signed, 70, "erin")), Refusal::VoucherSpent);
    let other = desk.invite(71, 1, "").unwrap();
    desk.withdraw(desk.opened(&other).id, false).unwrap();
    assert_eq!(code(desk.come(&other, 71, "erin")), Refusal::VoucherRevoked);
    // Signed by this key, and not in our account: ours was lost.
    let mut fresh = Desk::open(Admission::Voucher);
    assert_eq!(code(fresh.come(&signed, 70, "dave")), Refusal::VoucherBad);
    desk.restart(Admission::Approve);
    assert_eq!(code(desk.come(&other, 71, "erin")), Refusal::ApprovalPending);
    desk.approve("erin").unwrap();
    desk.come(&other, 71, "erin").unwrap();
    desk.restart(Admission::Open);
    desk.register(&stored::member("bob"), "bob").unwrap();
}

#[test]
fn a_voucher_shown_for_another_key_or_name_is_refused() {
    let mut desk = Desk::open(Admission::Voucher);
    let signed = desk.invite(70, 2, "").unwrap();
    let (dave, erin) = (stored::member("dave"), stored::member("erin"));
    let vouched = voucher::vouch(&key(70), &signed, &dave, "dave").unwrap();
    let device = stored::device(1).device();
    let network = desk.authority.network;
    let bytes =
        make_credential(&dave, &network, Certified::ByVoucher(vouched), device, Incarnation(7));
    let bytes = bytes.unwrap();
    assert_eq!(code(desk.register_with(&erin, "erin", &bytes)), Refusal::CertificateOfOther);
    assert_eq!(code(desk.register_with(&dave, "daisy", &bytes)), Refusal::CertificateOfOther);
    let nonsense = Bytes::from_static(b"nonsense");
    assert_eq!(code(desk.register_with(&dave, "dave", &nonsense)), Refusal::CertificateBad);
    desk.register_with(&dave, "dave", &bytes).unwrap();
}

#[test]
fn withdrawn_vouchers_are_told_to_members_after_the_certificates() {
    let mut desk = Desk::open(Admission::Open);
    desk.register(&stored::member("alice"), "alice").unwrap();
    let signed = desk.invite(70, 2, "").unwrap();
    let id = desk.opened(&signed).id;
    desk.withdraw(id, false).unwrap();
    desk.withdraw(id, false).unwrap();
    desk.revoke("alice").unwrap();
    let of = |desk: &mut Desk| -> Vec<Withdrawn> {
        let (_, revocations) = desk.crl();
        let proofs = stored::device(3);
        let verify = |bytes| Revocation::verify(&proofs, &desk.authority, bytes).unwrap().of;
        revocations.iter().map(verify).collect()
    };
    let alice = Withdrawn::Certificate { serial: 1, peer: stored::member("alice").peer() };
    let mut with_members = false;
    assert_eq!(of(&mut desk), [alice, Withdrawn::Voucher { id, with_members }]);
    with_members = true;
    desk.withdraw(id, with_members).unwrap();
    desk.restart(Admission::Open);
    desk.asked = 100;
    assert_eq!(of(&mut desk), [alice, Withdrawn::Voucher { id, with_members }]);
    assert!(desk.vouchers()[0].revoked_at.is_some());
}
