//! What one author may have others store.
//! Owns: nothing but its cases.
//! Must not know: how stored bytes are counted.
//! Invariants: see each test's name.
//! Start reading at: the first test.

use serde_json::json;

use crate::lab::Lab;
use crate::rooms::done;

#[test]
fn an_author_that_is_over_its_quota_is_told_and_nobody_else_notices() {
    let mut lab = Lab::new();
    let _servers = [lab.bootstrap(), lab.keyauth()];
    let (alice, carol) = (lab.join("alice"), lab.join("carol"));
    lab.env.insert("P2PGROUP_QUOTA_AUTHOR_MIB".to_owned(), "1".to_owned());
    let bob = lab.join("bob");
    done(&alice, json!({"cmd": "room_history", "room": "main", "text": "all"}));
    let long = "x".repeat(60_000);
    for number in 0..30 {
        alice.say(&format!("{number} {long}"));
    }
    carol.hear(&format!("29 {long}"));
    let told = alice.wait("bob is full", |e| e["event"] == "error" && e["code"] == "quota_full");
    assert!(told["message"].as_str().unwrap().contains("bob"), "{told}");
    let heard = bob.heard().len();
    assert!((10..30).contains(&heard), "{heard}");
    // Others are stored, and so is what alice has others order.
    carol.say("still here");
    bob.hear("still here");
    bob.say("me too");
    alice.hear("me too");
    alice.say("to carol at least");
    carol.hear("to carol at least");
    assert!(!bob.heard().contains(&"to carol at least".to_owned()));
    bob.exit();

    // It is remembered, and a higher bound lets all of it in.
    let bob = lab.join("bob");
    carol.say("after the restart");
    bob.hear("after the restart");
    assert!(!bob.heard().iter().any(|text| text == "to carol at least"));
    bob.exit();
    lab.env.insert("P2PGROUP_QUOTA_AUTHOR_MIB".to_owned(), "64".to_owned());
    let bob = lab.join("bob");
    bob.hear("to carol at least");
}
