//! The proof of work that an authority asks of newcomers.
//! Owns: nothing.
//! Must not know: how it is done.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use crate::harness::{LONG, Lab};

#[test]
fn a_newcomer_works_for_its_registration_and_whoever_is_in_does_not() {
    let lab = Lab::new().with("WORK_BITS", "18");
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    keyauth.wait("alice is certified", |e| {
        e["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("alice ") && text.contains("number 1"))
    });
    let bob = lab.join("bob");
    alice.say("well worked");
    bob.hear("well worked");
    bob.exit();
    lab.join("bob").say("here again");
}

#[test]
fn a_newcomer_that_knows_the_authority_is_told_how_much_to_work() {
    let mut lab = Lab::new().with("ADMISSION", "voucher");
    let (_bootstrap, keyauth) = (lab.bootstrap(), lab.keyauth());
    // It pins the authority, and gets no further.
    assert_eq!(lab.start("alice").ended(LONG).fatal(), "voucher_needed");
    keyauth.kill();
    lab = lab.with("ADMISSION", "open").with("WORK_BITS", "12");
    let _keyauth = lab.keyauth();
    lab.join("alice");
}
