//! What the core of a member and its store cost, without sockets: processor time of one thread.
//!
//! ```text
//! cargo bench --bench core             all
//! cargo bench --bench core -- catch-up receiving what was said meanwhile, per entry
//! cargo bench --bench core -- admit    what the leader does for the hundredth member
//! cargo bench --bench core -- work     what a newcomer does before it registers
//! ```
//!
//! Ratios and bounds are in docs/benchmarks.md; nothing here fails by the clock.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    missing_docs,
    unreachable_pub,
    reason = "a bench: what is wrong shall stop it, and what it measures is printed"
)]

mod group;

use std::time::{Duration, Instant};

use group::{Cost, Group};
use p2pgroup::identity::work::Search;
use p2pgroup::ids::NetworkId;
use p2pgroup::time::Wall;

/// Bytes of a message.
const TEXT: usize = 200;
const ENTRIES: u64 = 200_000;
const MEMBERS: usize = 100;
/// Virtual milliseconds that a step may take.
const PATIENCE: u64 = 120_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    if is_wanted("catch-up") {
        catch_up();
    }
    if is_wanted("admit") {
        admit();
    }
    if is_wanted("work") {
        work();
    }
}

/// The proof of work of a registration: its median is that of twenty tries, which differ much.
fn work() {
    for bits in [18, 20, 21, 22] {
        let mut took: Vec<u128> = (0..20_u64)
            .map(|number| {
                let network = NetworkId([7; 32]);
                let key = number.to_be_bytes();
                let mut search = Search::new(&network, "alice", &key, Wall(0), bits);
                let start = Instant::now();
                while search.step(20_000).is_none() {}
                start.elapsed().as_millis()
            })
            .collect();
        took.sort_unstable();
        println!("work: {bits} bits: median {} ms, worst {} ms", took[10], took[19]);
    }
}

/// A member comes back and gets what another one wrote meanwhile, in pages as they come off the
/// wire: chain and signature checked, opened, stored, committed and synced.
fn catch_up() {
    let mut group = Group::new();
    let alice = group.join("alice");
    assert!(group.run_until(PATIENCE, |group| group.nodes[alice].told.is_ready), "no alice");
    let bob = group.join("bob");
    assert!(group.run_until(PATIENCE, |group| group.nodes[bob].told.is_ready), "no bob");
    group.stop(bob);
    let before = group.nodes[alice].cost;
    while group.nodes[alice].told.sent < ENTRIES {
        let first = group.nodes[alice].told.sent;
        group.post(alice, (0..64).map(|number| text(first + number)).collect());
        let has_sent = |group: &Group| group.nodes[alice].told.sent >= first + 64;
        assert!(group.run_until(PATIENCE, has_sent), "alice does not write");
    }
    print_cost("writing alone", ENTRIES, since(group.nodes[alice].cost, before));
    group.start(bob);
    let before = [group.nodes[alice].cost, group.nodes[bob].cost];
    let has_all = |group: &Group| group.nodes[bob].told.messages >= ENTRIES;
    assert!(group.run_until(PATIENCE, has_all), "bob lacks some");
    print_cost("catching up, receiver", ENTRIES, since(group.nodes[bob].cost, before[1]));
    print_cost("catching up, sender", ENTRIES, since(group.nodes[alice].cost, before[0]));
}

/// The leader admits one member after the other, each with its own leaf in the room's MLS tree.
fn admit() {
    let mut group = Group::new();
    let leader = group.join("m1");
    for number in 1..=MEMBERS {
        let member = if number == 1 { leader } else { group.join(&format!("m{number}")) };
        let before = group.nodes[leader].cost;
        let is_ready = |group: &Group| group.nodes[member].told.is_ready;
        assert!(group.run_until(PATIENCE, is_ready), "member {number} does not come in");
        // What follows on it: links with everybody, acknowledgements of the control log.
        group.run_until(500, |_| false);
        let cost = since(group.nodes[leader].cost, before);
        let leads = group.nodes[member].told.leader.as_deref() == Some("m1");
        if number == 2 || number % 20 == 0 {
            assert!(leads, "another one leads");
            println!(
                "admitting member {number}: leader {:.1} ms (core {:.1} ms, store {:.1} ms)",
                millis(cost.core + cost.store),
                millis(cost.core),
                millis(cost.store)
            );
        }
    }
}

fn text(number: u64) -> String {
    let mut text = format!("message {number} of a flood ");
    while text.len() < TEXT {
        text.push_str("and so on ");
    }
    text.truncate(TEXT);
    text
}

fn since(now: Cost, before: Cost) -> Cost {
    Cost { core: now.core - before.core, store: now.store - before.store }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn print_cost(what: &str, count: u64, cost: Cost) {
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let all = cost.core + cost.store;
    println!(
        "{what}: {:.1} µs an entry (core {:.1}, store {:.1}), {:.0} entries/s",
        each(all),
        each(cost.core),
        each(cost.store),
        1e6 / each(all)
    );
}
