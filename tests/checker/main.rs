//! A model checker over the real control core: three members and the witness, every order of a
//! bounded number of candidacies, proposals, voter changes, pulls, crashes and deliveries.
//! Owns: the searches and what they must find, and must not.
//! Must not know: how the core keeps its invariants.
//! Invariants: a run is the same each time; the clean core breaks nothing; every mistake is found.
//! Start reading at: [`search::exhaust`].

#![expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what is wrong shall stop it"
)]

mod invariants;
mod model;
mod search;
mod toy;

use model::{Budget, Model, Step};
use p2pgroup::protocol::control::Mistakes;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const W: usize = 3;

#[test]
fn no_order_of_events_breaks_an_invariant() {
    let small = Budget { campaigns: 2, ..Budget::default() };
    let one = Budget { campaigns: 1, ..small };
    // Who votes at first, who may ask for votes, what may happen how often, states at most.
    let searches = [
        Search::new("one candidacy", &[A, B, W], &[A], &[A, B, W], one),
        Search::new("two candidacies", &[A, B, W], &[A, B], &[A, B, W], small),
        Search::new(
            "one leader, two proposals",
            &[A, W],
            &[A],
            &[A, W],
            Budget { proposals: 2, ..one },
        ),
        Search::new(
            "two candidacies, a proposal",
            &[A, W],
            &[A, B],
            &[A, B, W],
            Budget { proposals: 1, ..small },
        ),
        Search::new(
            "two candidacies, a crash",
            &[A, B, W],
            &[A, B],
            &[A, B, W],
            Budget { crashes: 1, ..small },
        ),
        Search::new(
            "a voter change, a crash",
            &[A, W],
            &[A, C],
            &[A, C, W],
            Budget { changes: 1, crashes: 1, ..small },
        ),
        Search::new(
            "parked, then pulled",
            &[W],
            &[A, B],
            &[A, B, W],
            Budget { proposals: 1, pulls: 1, ..small },
        ),
        Search::new(
            "a voter that lost its disk",
            &[A, B, C],
            &[A, B],
            &[A, B, C],
            Budget { wipes: 1, ..small },
        ),
        Search::new(
            "everybody",
            &[A, B, C],
            &[A, B, C],
            &[A, B, C, W],
            Budget { changes: 1, crashes: 1, ..small },
        ),
    ];
    let (mut total, mut whole) = (0, 0);
    for search in searches {
        let mut model = Model::new(search.voters, Mistakes::default());
        (model.candidates, model.ranks) = (search.candidates, &[1]);
        model.present = search.present;
        let found = search::exhaust(&mut model, search.budget, 150_000);
        let extent = if found.is_whole { "all of them" } else { "bounded" };
        println!("{}: {} states, {} steps deep, {extent}", search.name, found.states, found.depth);
        assert_eq!(found.violation, None, "{}", search.name);
        total += found.states;
        whole += usize::from(found.is_whole);
    }
    assert!(whole >= 2, "no search came to its end");
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
    let large = Budget::LARGE;
    let mistakes = [
        ("term_only", Mistakes { term_only: true, ..clean }, large),
        ("tie_break_witness", Mistakes { tie_break_witness: true, ..clean }, large),
        ("two_voters_per_entry", Mistakes { two_voters_per_entry: true, ..clean }, large),
        ("no_own_entry", Mistakes { no_own_entry: true, ..clean }, large),
        ("grant_before_write", Mistakes { grant_before_write: true, ..clean }, large),
        ("forgotten_promise", Mistakes { forgotten_promise: true, ..clean }, large),
        ("counts_learners", Mistakes { counts_learners: true, ..clean }, large),
        ("log_blind", Mistakes { log_blind: true, ..clean }, large),
        ("incarnation_blind", Mistakes { incarnation_blind: true, ..clean }, large),
    ];
    let mut missed = Vec::new();
    for (name, mistakes, budget) in mistakes {
        let found = find(mistakes, budget);
        match found {
            Some(found) => println!("{name}: {} after {} steps", found.what, found.trace.len()),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Counting for an older ballot goes unseen while every leader first appends an entry of its own, so
/// that rule is broken with it, along the one way that shows the difference (Ongaro 5.4.2).
#[test]
fn committing_an_older_ballot_by_counting_is_found() {
    let old_way = |mistakes| {
        let mut model = Model::new(&[A, B, C], mistakes);
        model.present = &[A, B, C];
        let mut run = search::Run::new(
            &mut model,
            Budget { campaigns: 4, proposals: 2, ..Budget::default() },
        );
        // A leads and holds an entry alone; so does C after it.
        run.elect(A, B, 1)?;
        run.step(Step::Propose(A))?;
        run.elect(C, B, 2)?;
        run.step(Step::Propose(C))?;
        // A learns that it was outbid, leads again, and brings its old entry to B.
        run.deliver(A, B)?;
        run.deliver(B, A)?;
        run.elect(A, B, 1)?;
        for _ in 0..2 {
            run.deliver(A, B)?;
            run.deliver(B, A)?;
        }
        // C, whose entry is of a higher ballot, follows A for a moment and is elected by B.
        run.deliver(A, C)?;
        run.elect(C, B, 1)
    };
    let missing = Mistakes { no_own_entry: true, ..Mistakes::default() };
    assert_eq!(old_way(missing), Ok(()), "without counting it does no harm");
    let both = Mistakes { stale_commit: true, ..missing };
    assert_eq!(old_way(both), Err("committed_in_later_leaders"));
}

/// A voter that takes an append below its promise helps to commit what the newer leader lacks.
#[test]
fn taking_an_append_of_a_lower_ballot_is_found() {
    let late_append = |mistakes| {
        let mut model = Model::new(&[A, B, C], mistakes);
        model.present = &[A, B, C];
        let budget = Budget { campaigns: 2, ..Budget::default() };
        let mut run = search::Run::new(&mut model, budget);
        run.elect(A, B, 1)?;
        run.elect(C, B, 2)?;
        run.deliver(A, B)?;
        run.deliver(B, A)
    };
    assert_eq!(late_append(Mistakes::default()), Ok(()));
    let mistake = Mistakes { takes_lower: true, ..Mistakes::default() };
    assert_eq!(late_append(mistake), Err("committed_in_later_leaders"));
}

/// Walks until a mistake shows.
fn find(mistakes: Mistakes, budget: Budget) -> Option<search::Violation> {
    // Few in sight first: less happens at once, so what is wrong shows sooner.
    let worlds: [(&[usize], &'static [usize]); 6] = [
        (&[A, B, C], &[A, B, C]),
        (&[A, B, W], &[A, B, W]),
        (&[A, B, C], &[A, B, C, W]),
        (&[A, B, C, W], &[A, B, C, W]),
        (&[A, B], &[A, B, C, W]),
        (&[W], &[A, B, C, W]),
    ];
    worlds.iter().find_map(|(voters, present)| {
        let mut model = Model::new(voters, mistakes);
        model.present = present;
        search::walk(&mut model, budget, 0..2_500, 160)
    })
}

/// One exhaustive search: who votes at first, who asks for votes, who is there, what may happen.
struct Search {
    name: &'static str,
    voters: &'static [usize],
    candidates: &'static [usize],
    present: &'static [usize],
    budget: Budget,
}

impl Search {
    fn new(
        name: &'static str,
        voters: &'static [usize],
        candidates: &'static [usize],
        present: &'static [usize],
        budget: Budget,
    ) -> Self {
        Self { name, voters, candidates, present, budget }
    }
}
