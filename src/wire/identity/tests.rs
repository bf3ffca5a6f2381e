use super::reply::row_out;
use super::*;
use crate::refusal::Refused;
use crate::time::Millis;

fn peer(byte: u8) -> PeerId {
    PeerId::of_ed25519(&DeviceKey([byte; 32]))
}

fn row(serial: u64, state: RegisterState) -> RegisterRow {
    RegisterRow {
        serial,
        name: "alice".to_owned(),
        peer: peer(1),
        state,
        certificate: Bytes::from_static(b"der"),
        asked_at: Wall(5),
        revoked_at: (state == RegisterState::Revoked).then_some(Wall(6)),
        reason: String::new(),
    }
}

fn questions() -> Vec<AuthorityQuestion> {
    vec![
        AuthorityQuestion::About,
        AuthorityQuestion::Register {
            name: "alice".to_owned(),
            spki: Bytes::from_static(b"spki"),
            possession: Bytes::from_static(b"proof"),
            credential: Bytes::new(),
            work: Some(Work { at: Wall(7), counters: [u64::MAX; 16] }),
        },
        AuthorityQuestion::Lookup(LookupBy::Name("bob".to_owned())),
        AuthorityQuestion::Lookup(LookupBy::Peer(peer(2))),
        AuthorityQuestion::List { from: 0 },
        AuthorityQuestion::Crl { from: u64::MAX },
        AuthorityQuestion::Found {
            credential: Bytes::from_static(b"credential"),
            witness: peer(3),
            witness_incarnation: Incarnation(u64::MAX),
        },
        AuthorityQuestion::Order { order: Bytes::from_static(b"order") },
        AuthorityQuestion::Entrusted { order: Bytes::from_static(b"order") },
    ]
}

fn replies() -> Vec<AuthorityReply> {
    use RegisterState::{Revoked, Valid, Waiting};
    vec![
        AuthorityReply::About {
            authority: Bytes::from_static(b"der"),
            admission: Admission::Approve,
            work_bits: 20,
        },
        AuthorityReply::Certificate(Bytes::from_static(b"der")),
        AuthorityReply::No(Refused::new(Refusal::NameTaken, "alice")),
        AuthorityReply::Rows {
            rows: vec![row(1, Waiting), row(2, Valid), row(3, Revoked)],
            next: Some(9),
        },
        AuthorityReply::Rows { rows: vec![], next: None },
        AuthorityReply::Crl {
            crl: Bytes::from_static(b"crl"),
            revocations: vec![Bytes::from_static(b"one")],
            next: None,
        },
        AuthorityReply::Genesis(Bytes::from_static(b"genesis")),
        AuthorityReply::Done("done".to_owned()),
        AuthorityReply::Voucher(Bytes::from_static(b"voucher")),
        AuthorityReply::Vouchers {
            rows: vec![voucher::VoucherRow {
                number: 3,
                voucher: Bytes::from_static(b"voucher"),
                revoked_at: Some(Wall(7)),
                reason: "lost".to_owned(),
            }],
            next: Some(4),
        },
    ]
}

#[test]
fn every_question_survives_its_bytes() {
    for question in questions() {
        let ask = AuthorityAsk { nonce: [7; 16], question };
        assert_eq!(AuthorityAsk::decode(&ask.encode()), Ok(ask));
    }
}

#[test]
fn every_reply_survives_its_bytes() {
    for reply in replies() {
        assert_eq!(AuthorityReply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn cut_and_flipped_bytes_never_panic() {
    let asks =
        questions().into_iter().map(|question| AuthorityAsk { nonce: [7; 16], question }.encode());
    for bytes in asks.chain(replies().iter().map(AuthorityReply::encode)) {
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0xff;
            for bytes in [bytes.slice(..at), flipped.into()] {
                // Whatever comes out, it came out; most of it is refused.
                let _ = AuthorityAsk::decode(&bytes);
                let _ = AuthorityReply::decode(&bytes);
                let _ = CredentialIn::decode(&bytes);
                let _ = GenesisIn::decode(&bytes);
                let _ = RevocationIn::decode(&bytes);
                let _ = OrderIn::decode(&bytes);
            }
        }
    }
}

#[test]
fn questions_without_a_field_or_out_of_range_are_refused() {
    use pb::authority_ask::Question;
    let decode = |nonce: &'static [u8], question| {
        let nonce = Bytes::from_static(nonce);
        AuthorityAsk::decode(&pb::AuthorityAsk { nonce, question }.encode_to_vec().into())
    };
    let sixteen: &[u8] = b"0123456789abcdef";
    let about = || Some(Question::About(pb::AskAbout {}));
    assert!(decode(b"0123456789abcdef", about()).is_ok());
    let bad = Err(Refusal::FieldBad);
    assert_eq!(decode(b"", about()), bad);
    assert_eq!(decode(b"short", about()), bad);
    assert_eq!(decode(b"0123456789abcdefX", about()), bad);
    assert_eq!(decode(b"0123456789abcdef", None), bad);
    assert_eq!(sixteen.len(), 16);
    let register = |name: usize, spki: usize, possession: usize| {
        let ask = pb::AskRegister {
            name: "x".repeat(name),
            spki: vec![0; spki].into(),
            possession: vec![0; possession].into(),
            credential: Bytes::new(),
            work: None,
        };
        decode(b"0123456789abcdef", Some(Question::Register(ask))).err()
    };
    let field = Some(Refusal::FieldBad);
    assert_eq!(register(5, 422, 384), None);
    assert_eq!(register(0, 422, 384), None, "the rule for names says more about an empty one");
    assert_eq!(register(1_025, 422, 384), field);
    assert_eq!(register(5, 0, 384), field);
    assert_eq!(register(5, 8_193, 384), field);
    assert_eq!(register(5, 422, 0), field);
    assert_eq!(register(5, 422, 513), field);
    let lookup = |by| decode(b"0123456789abcdef", Some(Question::Lookup(pb::AskLookup { by })));
    assert_eq!(lookup(None), bad);
    assert_eq!(lookup(Some(pb::ask_lookup::By::Peer(Bytes::from_static(b"nobody")))), bad);
    let found = |witness: &'static [u8]| {
        decode(
            b"0123456789abcdef",
            Some(Question::Found(pb::AskFound {
                credential: Bytes::from_static(b"x"),
                witness: Bytes::from_static(witness),
                witness_incarnation: 1,
            })),
        )
    };
    assert_eq!(found(b""), bad);
}

#[test]
fn bytes_beyond_the_limit_are_refused_unread() {
    let long: Bytes = vec![0xff; ASK_BYTES_MAX + 1].into();
    assert_eq!(AuthorityAsk::decode(&long), Err(Refusal::FrameTooLong));
    assert_eq!(AuthorityReply::decode(&long), Err(Refusal::FrameTooLong));
    assert_eq!(AuthoritySignedIn::decode(&long), Err(Refusal::FrameTooLong));
    assert_eq!(CredentialIn::decode(&long), Err(Refusal::CertificateBad));
}

#[test]
fn replies_of_unknown_kind_state_or_length_are_refused() {
    use pb::authority_reply::Reply;
    let decode = |reply| {
        AuthorityReply::decode(&pb::AuthorityReply { reply: Some(reply) }.encode_to_vec().into())
    };
    let bad = Err(Refusal::FieldBad);
    let authority = Bytes::from_static(b"der");
    assert_eq!(
        decode(Reply::About(pb::AuthorityAbout { authority, admission: 4, work_bits: 0 })),
        bad
    );
    let no = |code: &str, detail: usize| {
        Reply::No(pb::AuthorityNo { code: code.to_owned(), detail: "x".repeat(detail) })
    };
    assert_eq!(decode(no("no_such_code", 0)), bad);
    assert_eq!(decode(no("name_taken", 201)), bad);
    let rows = |change: fn(&mut pb::AuthorityRow), count: usize| {
        let mut row = row_out(row(1, RegisterState::Valid));
        change(&mut row);
        decode(Reply::Rows(pb::AuthorityRows { rows: vec![row; count], next: 0 }))
    };
    assert!(rows(|_| (), 64).is_ok());
    assert_eq!(rows(|_| (), 65), bad);
    assert_eq!(rows(|row| row.state = 4, 1), bad);
    assert_eq!(rows(|row| row.serial = 0, 1), bad);
    assert_eq!(rows(|row| row.peer = Bytes::new(), 1), bad);
    let many = vec![Bytes::new(); 65];
    assert_eq!(
        decode(Reply::Crl(pb::AuthorityCrl { crl: Bytes::new(), revocations: many, next: 0 })),
        bad
    );
    let nothing = pb::AuthorityReply { reply: None }.encode_to_vec();
    assert_eq!(AuthorityReply::decode(&nothing.into()), bad);
}

#[test]
fn what_we_say_ourselves_is_cut_between_characters() {
    let long = AuthorityReply::Done("ä".repeat(150));
    let Ok(AuthorityReply::Done(text)) = AuthorityReply::decode(&long.encode()) else { panic!() };
    assert_eq!(text, "ä".repeat(100));
    let no = AuthorityReply::No(Refused::new(Refusal::NameTaken, "x".repeat(500)));
    assert!(AuthorityReply::decode(&no.encode()).is_ok());
}

#[test]
fn a_genesis_and_a_revocation_and_an_order_survive_their_bytes() {
    let genesis = GenesisIn {
        network: NetworkId([1; 32]),
        authority: Bytes::from_static(b"der"),
        founder: Bytes::from_static(b"credential"),
        witness: peer(1),
        witness_incarnation: Incarnation(2),
        created_at: Wall(3),
        nonce: [4; 16],
    };
    assert_eq!(GenesisIn::decode(&genesis.encode()), Ok(genesis.clone()));
    let nobody = GenesisIn { founder: Bytes::new(), ..genesis };
    assert_eq!(GenesisIn::decode(&nobody.encode()), Err(Refusal::FieldBad));
    let revocation = RevocationIn {
        network: NetworkId([1; 32]),
        of: Withdrawn::Certificate { serial: 4, peer: peer(1) },
        revoked_at: Wall(5),
        reason: "stolen".to_owned(),
    };
    assert_eq!(RevocationIn::decode(&revocation.encode()), Ok(revocation.clone()));
    for with_members in [false, true] {
        let of = Withdrawn::Voucher { id: VoucherId([6; 16]), with_members };
        let revocation = RevocationIn { of, ..revocation.clone() };
        assert_eq!(RevocationIn::decode(&revocation.encode()), Ok(revocation));
    }
    let long = RevocationIn { reason: "x".repeat(201), ..revocation };
    assert_eq!(RevocationIn::decode(&long.encode()), Err(Refusal::FieldBad));
    for command in [
        OrderCommand::Approve { name: "bob".to_owned() },
        OrderCommand::Revoke { name: "bob".to_owned(), reason: "stolen".to_owned() },
        OrderCommand::List { from: 0 },
        OrderCommand::Invite {
            key: DeviceKey([8; 32]),
            uses: 3,
            life: Millis(5),
            name: "bob".to_owned(),
            room: String::new(),
        },
        OrderCommand::Vouchers { from: 9 },
        OrderCommand::Waiting { from: u64::MAX },
        OrderCommand::TurnDown { name: "bob".to_owned(), reason: "who?".to_owned() },
        OrderCommand::Entrust {
            name: "bob".to_owned(),
            rights: Rights { invites: true, approvals: false },
        },
        OrderCommand::RevokeVoucher {
            id: VoucherId([6; 16]),
            reason: "lost".to_owned(),
            with_members: true,
        },
    ] {
        let order = OrderIn { network: NetworkId([1; 32]), at: Wall(1), nonce: [2; 16], command };
        assert_eq!(OrderIn::decode(&order.encode()), Ok(order));
    }
}
