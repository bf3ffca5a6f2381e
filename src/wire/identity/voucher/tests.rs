//! Vouchers and invites as bytes and as text.
//! Owns: nothing.
//! Must not know: signatures.
//! Invariants: none.
//! Start reading at: the first test.

use proptest::prelude::*;

use super::*;

fn voucher() -> VoucherIn {
    VoucherIn {
        network: NetworkId([1; 32]),
        id: VoucherId([2; 16]),
        key: DeviceKey([3; 32]),
        uses: 5,
        issued_at: Wall(6),
        expires_at: Wall(7),
        name: "bob".to_owned(),
        room: "ops".to_owned(),
        by: Some(PeerId::of_ed25519(&DeviceKey([5; 32]))),
    }
}

fn invite() -> InviteIn {
    let body = voucher().encode();
    let signed = AuthoritySignedIn { body, signature: Bytes::from(vec![9; 384]) }.encode();
    InviteIn {
        voucher: voucher(),
        signed,
        secret: Zeroizing::new([4; 32]),
        bootstrap: vec!["192.0.2.1:9001".to_owned(), "/ip6/::1/tcp/9001".to_owned()],
        keyauth: "192.0.2.1:8999".to_owned(),
    }
}

fn refused(text: &str) -> Refusal {
    InviteIn::from_text(text).unwrap_err().refusal
}

#[test]
fn vouchers_and_what_they_certify_survive_their_bytes() {
    assert_eq!(VoucherIn::decode(&voucher().encode()), Ok(voucher()));
    let anybodys = VoucherIn { name: String::new(), room: String::new(), ..voucher() };
    assert_eq!(VoucherIn::decode(&anybodys.encode()), Ok(anybodys));
    let vouched = VouchedIn {
        voucher: invite().signed,
        spki: Bytes::from(vec![5; 422]),
        name: "bob".to_owned(),
        signature: Signature([6; 64]),
    };
    assert_eq!(VouchedIn::decode(&vouched.encode()), Ok(vouched));
    let (number, reason) = (3, "lost".to_owned());
    for revoked_at in [None, Some(Wall(8))] {
        let row =
            VoucherRow { number, voucher: invite().signed, revoked_at, reason: reason.clone() };
        assert_eq!(row.body(), Ok(voucher()));
        assert_eq!(VoucherRow::decode(&row.encode()), Ok(row));
    }
    let ask = RootAsk { network: NetworkId([8; 32]) };
    assert_eq!(RootAsk::decode(&ask.encode()), Ok(ask));
}

#[test]
fn vouchers_out_of_range_are_refused() {
    let refused = |voucher: VoucherIn| VoucherIn::decode(&voucher.encode()).unwrap_err();
    for uses in [0, VOUCHER_USES_MAX + 1, u32::MAX] {
        assert_eq!(refused(VoucherIn { uses, ..voucher() }), Refusal::FieldBad);
    }
    let long = "x".repeat(VOUCHER_ROOM_BYTES_MAX + 1);
    assert_eq!(refused(VoucherIn { room: long, ..voucher() }), Refusal::FieldBad);
    let longer = VoucherIn { name: "x".repeat(2_000), ..voucher() };
    assert_eq!(refused(longer), Refusal::FrameTooLong);
}

#[test]
fn an_invite_survives_its_text_and_the_space_around_it() {
    let text = invite().to_text();
    assert!(text.starts_with("p2pgroup1-") && text.len() < 1_000, "{}", text.len());
    assert_eq!(InviteIn::from_text(&text), Ok(invite()));
    assert_eq!(InviteIn::from_text(&format!("  {}\r\n", *text)), Ok(invite()));
    assert!(!format!("{:?}", invite()).contains("4, 4"), "the secret is not printed");
}

#[test]
fn what_is_no_invite_is_refused() {
    for text in ["", "p2pgroup1-", "p2pgroup1-1", "p2pgroup2-abc", "hello", "p2pgroup1-\u{430}"] {
        assert_eq!(refused(text), Refusal::InviteBad, "{text}");
    }
    assert_eq!(refused(&"p2pgroup1-".repeat(2_000)), Refusal::InviteBad);
    let nowhere = InviteIn { bootstrap: Vec::new(), ..invite() };
    assert_eq!(refused(&nowhere.to_text()), Refusal::InviteBad);
    let escape = InviteIn { keyauth: "\u{1b}[2J".to_owned(), ..invite() };
    assert_eq!(refused(&escape.to_text()), Refusal::InviteBad);
    let crowd = InviteIn { bootstrap: vec!["a:1".to_owned(); ADDRESSES_MAX + 1], ..invite() };
    assert_eq!(refused(&crowd.to_text()), Refusal::InviteBad);
}

#[test]
fn every_single_wrong_character_is_noticed() {
    const DIGITS: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let text = invite().to_text();
    for at in 0..text.len() {
        let was = text.as_bytes()[at];
        let next = DIGITS.bytes().position(|it| it == was).map_or(0, |it| (it + 1) % 58);
        let mut wrong = text.as_bytes().to_vec();
        wrong[at] = DIGITS.as_bytes()[next];
        assert_eq!(refused(std::str::from_utf8(&wrong).unwrap()), Refusal::InviteBad, "at {at}");
        assert_eq!(refused(text.get(..at).unwrap()), Refusal::InviteBad, "cut at {at}");
    }
}

proptest! {
    #[test]
    fn an_invite_with_characters_exchanged_is_refused(
        at in 0_usize..800, by in any::<char>(), more in "[1-9A-HJ-NP-Za-km-z]{0,3}",
    ) {
        let text = invite().to_text();
        let at = at % text.len();
        let wrong: String = text
            .chars()
            .enumerate()
            .flat_map(|(n, c)| if n == at { format!("{by}{more}") } else { c.to_string() }.chars().collect::<Vec<_>>())
            .collect();
        prop_assume!(wrong.trim() != text.as_str());
        prop_assert_eq!(refused(&wrong), Refusal::InviteBad);
    }

    #[test]
    fn no_text_makes_reading_panic(text in ".{0,200}") {
        prop_assert!(InviteIn::from_text(&text).is_err());
        let word = format!("p2pgroup1-{text}");
        prop_assert!(InviteIn::from_text(&word).is_err());
    }
}
