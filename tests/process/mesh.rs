//! A group with more members than each keeps links.
//! Owns: what must hold there: everybody hears everything, and authors know it.
//! Must not know: who is linked with whom.
//! Invariants: as in `main.rs`.
//! Start reading at: the test.

use std::collections::BTreeSet;

use crate::harness::{LONG, Lab, Proc, list, same_talk};

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/// Waits until all see all as active, and the same one leads for all.
fn together(members: &[&Proc]) -> String {
    let mut leader = String::new();
    for member in members {
        let status = member.until("all are there and somebody leads", |status| {
            let is_active = |name: &str| {
                list(&status["members"])
                    .iter()
                    .any(|row| row["name"] == *name && row["state"] == "active")
            };
            let leads = status["leader"]["name"].as_str().unwrap_or_default();
            members.iter().all(|it| is_active(&it.name))
                && members.iter().any(|it| it.name == leads)
                && status["quorum"] == true
        });
        leader = status["leader"]["name"].as_str().unwrap().to_owned();
    }
    leader
}

/// Each says something; all hear it, and each is told of all.
fn talk(members: &[&Proc], what: &str) {
    let said: Vec<(usize, String)> = (0..members.len())
        .map(|at| (at, members[at].say(&format!("{what} from {}", members[at].name))))
        .collect();
    for (author, id) in said {
        for other in members.iter().filter(|it| it.name != members[author].name) {
            let what = format!("{} has {id}", other.name);
            members[author].wait_from(0, LONG, &what, |e| {
                e["event"] == "delivered" && e["id"] == *id && e["to"] == *other.name
            });
        }
    }
}

#[test]
fn a_group_past_max_links_talks_over_few_links_and_goes_on_without_its_leader() {
    let lab = Lab::new().with("MAX_LINKS", "2");
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let members: Vec<Proc> = NAMES.iter().map(|name| lab.join(name)).collect();
    let all: Vec<&Proc> = members.iter().collect();
    let leader = together(&all);
    let wanted: BTreeSet<u64> =
        all.iter().map(|it| it.status()["links_wanted"].as_u64().unwrap()).collect();
    // Leader and voters keep everybody, the others do not.
    assert!(wanted.contains(&7) && wanted.iter().any(|count| *count < 7), "{wanted:?}");
    talk(&all, "one");
    same_talk(&all, 8);

    let at = members.iter().position(|it| it.name == leader).unwrap();
    members[at].kill();
    let left: Vec<&Proc> = all.iter().copied().filter(|it| it.name != leader).collect();
    // Nobody need lead for that.
    talk(&left, "two");
    let next = together(&left);
    assert_ne!(next, leader);
    talk(&left, "three");
    same_talk(&left, 22);
    left.iter().for_each(|it| it.assert_heard_once());
}
