use super::super::testkeys as stored;
use super::*;
use crate::identity::Issuer;
use crate::time::Wall;
use crate::wire::identity::{Admission, OrderCommand};

fn sealed(key: &AuthorityKey, question: &[u8], reply: &AuthorityReply) -> Bytes {
    let body = reply.encode();
    let bytes = answer_bytes(question, &body);
    let signature = Issuer::sign(key, AuthorityDomain::Answer, &bytes).unwrap().into();
    AuthoritySignedIn { body, signature }.encode()
}

fn unsealed(reply: &AuthorityReply) -> Bytes {
    AuthoritySignedIn { body: reply.encode(), signature: Bytes::new() }.encode()
}

fn refusal<T: fmt::Debug>(result: Result<T, Refused>) -> Refusal {
    result.unwrap_err().refusal
}

#[test]
fn an_answer_is_believed_only_to_its_own_question_and_from_its_authority() {
    let (key, other) = (stored::authority_key(), stored::other_authority_key());
    let authority = stored::authority(&key);
    let reply = AuthorityReply::Done("done".to_owned());
    let open =
        |question: &[u8], answer: &Bytes| open(&stored::device(1), &authority, question, answer);
    let answer = sealed(&key, b"question", &reply);
    assert_eq!(open(b"question", &answer), Ok(reply.clone()));
    assert_eq!(refusal(open(b"another", &answer)), Refusal::SignatureBad);
    let forged = sealed(&other, b"question", &reply);
    assert_eq!(refusal(open(b"question", &forged)), Refusal::SignatureBad);
    let mut altered = AuthoritySignedIn::decode(&answer).unwrap();
    altered.body = AuthorityReply::Done("DONE".to_owned()).encode();
    assert_eq!(refusal(open(b"question", &altered.encode())), Refusal::SignatureBad);
}

#[test]
fn a_signed_no_is_the_error_with_its_detail() {
    let key = stored::authority_key();
    let no = Refused::new(Refusal::NameTaken, "alice (key 3f9a..c1)");
    let answer = sealed(&key, b"q", &AuthorityReply::No(no.clone()));
    let authority = stored::authority(&key);
    assert_eq!(open(&stored::device(1), &authority, b"q", &answer), Err(no));
}

#[test]
fn an_unsigned_answer_is_at_most_a_refusal_to_try_again() {
    let authority = stored::authority(&stored::authority_key());
    let open = |reply: AuthorityReply| {
        refusal(open(&stored::device(1), &authority, b"q", &unsealed(&reply)))
    };
    assert_eq!(open(AuthorityReply::No(Refusal::TooMany.into())), Refusal::TooMany);
    assert_eq!(open(AuthorityReply::No(Refusal::NameTaken.into())), Refusal::SignatureBad);
    assert_eq!(open(AuthorityReply::No(Refusal::CertificateRevoked.into())), Refusal::SignatureBad);
    assert_eq!(open(AuthorityReply::Certificate(Bytes::from_static(b"x"))), Refusal::SignatureBad);
}

#[test]
fn an_authority_introduces_itself_under_its_own_signature() {
    let (key, other) = (stored::authority_key(), stored::other_authority_key());
    let about = |key: &AuthorityKey| AuthorityReply::About {
        authority: stored::authority(key).der,
        admission: Admission::Approve,
        work_bits: 21,
    };
    let open = |answer: &Bytes| open_about(&stored::device(1), b"q", answer);
    let (authority, admission, bits) = open(&sealed(&key, b"q", &about(&key))).unwrap();
    assert_eq!((authority.network, admission, bits), (key.network(), Admission::Approve, 21));
    // Another's certificate cannot be shown as one's own.
    assert_eq!(refusal(open(&sealed(&other, b"q", &about(&key)))), Refusal::SignatureBad);
    assert_eq!(refusal(open(&sealed(&key, b"p", &about(&key)))), Refusal::SignatureBad);
    assert_eq!(refusal(open(&unsealed(&about(&key)))), Refusal::SignatureBad);
}

#[test]
fn an_order_is_signed_over_everything_it_says() {
    let key = stored::authority_key();
    let order = OrderIn {
        network: key.network(),
        at: stored::NOW,
        nonce: [4; 16],
        command: OrderCommand::Approve { name: "bob".to_owned() },
    };
    let ask = make_order(&key, &order).unwrap();
    let AuthorityQuestion::Order { order: bytes } = ask.question else { panic!() };
    let signed = AuthoritySignedIn::decode(&bytes).unwrap();
    assert_eq!(OrderIn::decode(&signed.body), Ok(order.clone()));
    let holds = |body: &[u8]| {
        let authority = stored::authority(&key);
        let domain = AuthorityDomain::Order;
        stored::device(1).authority_signed(&authority, domain, body, &signed.signature)
    };
    assert!(holds(&signed.body));
    assert!(!holds(&OrderIn { at: Wall(1), ..order }.encode()));
}

#[test]
fn a_pin_is_a_fingerprint_or_a_certificate_file() {
    let key = stored::authority_key();
    let authority = stored::authority(&key);
    let unread = |_: &str| -> std::io::Result<Vec<u8>> { panic!("no file is meant") };
    let hex = authority.fingerprint();
    let colons: Vec<_> =
        hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
    for text in [hex.clone(), hex.to_uppercase(), format!("SHA256:{hex}"), colons.join(":")] {
        assert!(Pin::parse(&text, unread).unwrap().is_of(&authority), "{text}");
    }
    let pem = certificate::to_pem(&authority.der).unwrap();
    let pin = Pin::parse("authority.pem", |_| Ok(pem.clone().into_bytes())).unwrap();
    assert!(pin.is_of(&authority));
    assert!(!pin.is_of(&stored::authority(&stored::other_authority_key())));
}

#[test]
fn a_pin_that_is_neither_is_refused_with_what_was_given() {
    let missing = Pin::parse("nowhere.pem", |_| Err(std::io::ErrorKind::NotFound.into()));
    let refused = missing.unwrap_err();
    assert_eq!(refused.refusal, Refusal::ConfigUnreadable);
    assert!(refused.detail.starts_with("nowhere.pem: "));
    let member = stored::certificate(&stored::authority_key(), "bob", "bob", 1);
    let pem = certificate::to_pem(&member).unwrap().into_bytes();
    assert_eq!(refusal(Pin::parse("bob.pem", |_| Ok(pem))), Refusal::CertificateBad);
    for text in ["", "abc", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &"a".repeat(4096)] {
        assert_eq!(Pin::of_fingerprint(text), None, "{text}");
    }
}
