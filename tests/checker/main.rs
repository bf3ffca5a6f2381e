//! A model checker over the real control core: three members and the witness, every order of a
//! bounded number of candidacies, proposals, voter changes, pulls, crashes and deliveries.
//! Owns: the searches and what they must find, and must not.
//! Must not know: how the core keeps its invariants.
//! Invariants: a run is the same each time; the clean core breaks nothing; every mistake is found.
//! Start reading at: [`search::exhaust`].

mod invariants;
mod model;
mod search;
mod toy;

use model::{Budget, Model, NODES};
use p2pgroup::protocol::control::Mistakes;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const W: usize = 3;

#[test]
fn no_order_of_events_breaks_an_invariant() {
    let small = Budget { campaigns: 2, ..Budget::default() };
    let searches: [(&str, &[usize], Budget); 6] = [
        ("two candidacies and a proposal", &[A, B, W], Budget { proposals: 1, ..small }),
        ("two candidacies and a crash", &[A, B, W], Budget { crashes: 1, ..small }),
        ("a voter added", &[A, B, W], Budget { changes: 1, ..small }),
        ("a voter added and a crash", &[A, W], Budget { changes: 1, crashes: 1, ..small }),
        ("parked, pulled and led by another", &[W], Budget { proposals: 1, pulls: 1, ..small }),
        ("a voter that lost its disk", &[A, B, C], Budget { wipes: 1, ..small }),
    ];
    let mut total = 0;
    for (name, voters, budget) in searches {
        let mut model = Model::new(voters, Mistakes::default());
        let found = search::exhaust(&mut model, budget, 120_000);
        println!(
            "{name}: {} states, depth {}, whole: {}",
            found.states, found.depth, found.is_whole
        );
        assert_eq!(found.violation, None, "{name}");
        total += found.states;
    }
    println!("{total} states, no violation");
    assert!(total > 50_000, "the search reached too little");
}

#[test]
fn long_random_runs_break_no_invariant() {
    for voters in [&[A, B, C][..], &[A, B, W], &[A, B, C, W], &[W], &[A, W]] {
        let mut model = Model::new(voters, Mistakes::default());
        let found = search::walk(&mut model, Budget::LARGE, 0..400, 120);
        assert_eq!(found, None, "voters {voters:?}");
    }
}

#[test]
fn every_seeded_mistake_is_found() {
    let clean = Mistakes::default();
    let mistakes = [
        ("term_only", Mistakes { term_only: true, ..clean }),
        ("tie_break_witness", Mistakes { tie_break_witness: true, ..clean }),
        ("two_voters_per_entry", Mistakes { two_voters_per_entry: true, ..clean }),
        ("no_own_entry", Mistakes { no_own_entry: true, ..clean }),
        ("grant_before_write", Mistakes { grant_before_write: true, ..clean }),
        ("forgotten_promise", Mistakes { forgotten_promise: true, ..clean }),
        ("counts_learners", Mistakes { counts_learners: true, ..clean }),
        ("stale_commit", Mistakes { stale_commit: true, ..clean }),
        ("log_blind", Mistakes { log_blind: true, ..clean }),
        ("incarnation_blind", Mistakes { incarnation_blind: true, ..clean }),
        ("takes_lower", Mistakes { takes_lower: true, ..clean }),
    ];
    let mut missed = Vec::new();
    for (name, mistakes) in mistakes {
        let found =
            [&[A, B, C][..], &[A, B, W], &[A, B, C, W], &[A, B], &[W]].iter().find_map(|voters| {
                let mut model = Model::new(voters, mistakes);
                search::walk(&mut model, Budget::LARGE, 0..3_000, 120)
            });
        match found {
            Some(found) => println!("{name}: {} after {} steps", found.what, found.trace.len()),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    assert_eq!(NODES, 4);
}
