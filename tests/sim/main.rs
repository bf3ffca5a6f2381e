//! Whole cores under faults: every run is a function of its seed.
//! Owns: how many seeds, on how many threads, and how a failing one is shown.
//! Must not know: what is checked.
//! Invariants: a failing seed is printed as one command that repeats it.
//! Start reading at: [`plan::run`].
//!
//! One seed again, with everything that happened:
//! `P2PGROUP_SEED=123 cargo test --test sim one_seed -- --nocapture`
#![expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test: what is wrong shall stop it and be shown"
)]

mod absent;
mod broken;
mod checks;
mod dice;
mod disk;
mod erasing;
mod faults;
mod full;
mod invented;
mod inviting;
mod large;
mod link;
mod lying;
mod node;
mod oracle;
mod plan;
mod poison;
mod proofs;
mod restored;
mod revoking;
mod rooms;
mod searching;
mod spoiling;
mod start;
mod trace;
mod turn;
mod withheld;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use broken::{Broken, Hunt};
use p2pgroup::protocol::control::Mistakes;
use p2pgroup::time::Millis;
use plan::Outcome;
use world::Violation;

const HUNTS: [Hunt; 6] = [
    Hunt::Crashes,
    Hunt::PowerLosses,
    Hunt::OldCopies,
    Hunt::LostDisks,
    Hunt::Rooms,
    Hunt::Forgeries,
];

fn run(seed: u64, broken: Broken, keeps_lines: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| plan::run(seed, broken, keeps_lines))).unwrap_or_else(|why| {
        let text = why
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| why.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        let text = text.unwrap_or_default();
        Outcome {
            violation: Some(Violation { name: "no_panic", text }),
            hash: 0,
            lines: Vec::new(),
            happenings: 0,
            virtual_ms: 0,
        }
    })
}

/// Runs seeds on all processors, or until one fails; the violations by seed.
fn run_all(
    seeds: impl Iterator<Item = u64> + Send,
    broken: Broken,
    stops_at_first: bool,
) -> Vec<(u64, Violation)> {
    let is_over = AtomicBool::new(false);
    let seeds = Mutex::new(seeds);
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = { seeds.lock().unwrap().next() } {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Some(violation) = run(seed, broken, false).violation {
                        found.lock().unwrap().push((seed, violation));
                        is_over.store(stops_at_first, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(seed, _)| *seed);
    found
}

/// Shows what failed, and the end of what led to it.
fn report(found: &[(u64, Violation)]) {
    for (seed, violation) in found {
        eprintln!("seed {seed}: {}: {}", violation.name, violation.text);
        eprintln!("  P2PGROUP_SEED={seed} cargo test --test sim one_seed -- --nocapture");
    }
    if let Some((seed, _)) = found.first() {
        let lines = run(*seed, Broken::default(), true).lines;
        for line in lines.iter().skip(lines.len().saturating_sub(60)) {
            eprintln!("{line}");
        }
    }
    assert!(found.is_empty(), "{} seeds fail", found.len());
}

#[expect(clippy::disallowed_methods, reason = "which seeds to run is said from outside")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn a_thousand_seeds_keep_every_invariant() {
    let first = variable("P2PGROUP_SEED_FROM").unwrap_or(1);
    let count = variable("P2PGROUP_SEEDS").unwrap_or(1_000);
    report(&run_all(first..first + count, Broken::default(), false));
}

#[test]
fn seeds_that_failed_once_hold() {
    let seeds: Vec<u64> = include_str!("seeds.txt")
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    report(&run_all(seeds.into_iter(), Broken::default(), false));
}

/// With `P2PGROUP_SEED`: that seed, and everything that happened in it. `P2PGROUP_HUNT`: 0 to 5, for
/// a seed of `the_clean_cores_stand_what_finds_the_mistakes`.
#[test]
fn one_seed() {
    let seed = variable("P2PGROUP_SEED");
    let hunts = HUNTS;
    let hunt =
        variable("P2PGROUP_HUNT").and_then(|it| hunts.get(usize::try_from(it).ok()?).copied());
    let broken = Broken { hunt, ..Broken::default() };
    let outcome = run(seed.unwrap_or(1), broken, seed.is_some());
    for line in &outcome.lines {
        eprintln!("{line}");
    }
    if seed.is_some() {
        eprintln!("{} happenings, {} virtual ms", outcome.happenings, outcome.virtual_ms);
    }
    assert_eq!(outcome.violation, None);
}

#[test]
fn a_run_replays_byte_for_byte() {
    for seed in 0..20 {
        let (one, other) =
            (run(seed, Broken::default(), false), run(seed, Broken::default(), true));
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!(one.happenings, other.happenings, "seed {seed}");
    }
}

#[test]
fn every_mistake_made_on_purpose_is_found() {
    let clean = Broken::default();
    let hunting = |hunt| Broken { hunt: Some(hunt), ..clean };
    let control = |hunt, control| Broken { control, ..hunting(hunt) };
    let none = Mistakes::default();
    let forgotten = Mistakes { forgotten_promise: true, ..none };
    let early = Mistakes { grant_before_write: true, ..none };
    let two = Mistakes { two_voters_per_entry: true, ..none };
    let bare = Mistakes { no_own_entry: true, ..none };
    let blind = Mistakes { incarnation_blind: true, ..none };
    let eager = Mistakes { eager_merge: true, ..none };
    let unsalted = Mistakes { no_salt: true, ..none };
    let open = Mistakes { no_own_key: true, ..none };
    let friendly = Mistakes { gone_stay_linked: true, ..none };
    let lasting = Mistakes { keeps_ended: true, ..none };
    let gullible = Mistakes { signature_blind: true, ..none };
    let mistakes = [
        ("forgotten_promise", control(Hunt::Crashes, forgotten), 300),
        ("grant_before_write", control(Hunt::Crashes, early), 300),
        ("two_voters_per_entry", control(Hunt::Crashes, two), 300),
        ("no_own_entry", control(Hunt::Crashes, bare), 300),
        ("incarnation_blind", control(Hunt::LostDisks, blind), 600),
        ("ack_before_store", Broken { ack_before_store: true, ..hunting(Hunt::PowerLosses) }, 300),
        ("silent_forks", Broken { silent_forks: true, ..hunting(Hunt::OldCopies) }, 600),
        ("eager_merge", control(Hunt::Crashes, eager), 300),
        ("no_salt", control(Hunt::OldCopies, unsalted), 600),
        ("no_own_key", control(Hunt::Rooms, open), 300),
        ("gone_stay_linked", control(Hunt::Rooms, friendly), 1_200),
        ("keeps_ended", control(Hunt::Rooms, lasting), 100),
        ("signature_blind", control(Hunt::Forgeries, gullible), 300),
        ("bare_seq", Broken { bare_seq: true, ..hunting(Hunt::OldCopies) }, 2_000),
    ];
    let mut missed = Vec::new();
    for (name, broken, seeds) in mistakes {
        match run_all(1..=seeds, broken, true).first() {
            Some((seed, violation)) => {
                eprintln!("{name}: seed {seed}: {}: {}", violation.name, violation.text);
            }
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// What is shown ahead is not told to be held: the mistake is found where much is missing.
#[test]
fn an_end_that_is_acknowledged_is_found() {
    let broken = mistaken(Mistakes { acks_pending: true, ..Mistakes::default() });
    let run = |seed| plan::back_to_a_long_log(seed, broken);
    finds("acks_pending", 0..1, "acknowledged_survives", run);
}

/// Runs so many seeds of a plan, or the one that is asked for, with everything that happened.
fn hold(count: u64, run: impl Fn(u64, bool) -> Outcome) {
    let one = variable("P2PGROUP_SEED");
    let count = variable("P2PGROUP_SEEDS").unwrap_or(count);
    for seed in one.map_or(0..count, |seed| seed..seed + 1) {
        let outcome = run(seed, one.is_some());
        for line in &outcome.lines {
            eprintln!("{line}");
        }
        eprintln!("seed {seed}: {} happenings, {} ms", outcome.happenings, outcome.virtual_ms);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

/// In one of these seeds what the mistake breaks first is this.
fn finds(mistake: &str, mut seeds: std::ops::Range<u64>, name: &str, run: impl Fn(u64) -> Outcome) {
    let is_found = seeds.any(|seed| {
        let found = run(seed).violation;
        if let Some(found) = &found {
            eprintln!("{mistake}: seed {seed}: {}: {}", found.name, found.text);
        }
        found.is_some_and(|it| it.name == name)
    });
    assert!(is_found, "{mistake}");
}

fn mistaken(control: Mistakes) -> Broken {
    Broken { control, ..Broken::default() }
}

#[test]
fn a_large_group_talks_over_few_links_and_everybody_gets_everything_once() {
    hold(4, |seed, keeps_lines| large::run(seed, Broken::default(), keeps_lines));
}

#[test]
fn who_passes_on_nothing_or_everything_back_is_found() {
    let none = Mistakes::default();
    for (mistakes, what, name) in [
        (Mistakes { passes_nothing: true, ..none }, "passes_nothing", "everybody_hears_it_soon"),
        (Mistakes { passes_back: true, ..none }, "passes_back", "passed_on_once"),
    ] {
        finds(what, 1..2, name, |seed| large::run(seed, mistaken(mistakes), false));
    }
}

#[test]
fn two_who_are_never_on_at_the_same_time_reach_each_other_by_a_keeper_that_opens_nothing() {
    hold(12, |seed, keeps_lines| absent::run(seed, Broken::default(), keeps_lines));
}

#[test]
fn a_keeper_that_forgets_gives_elsewhere_or_can_open_and_who_leaves_nothing_are_found() {
    let (clean, none) = (Broken::default(), Mistakes::default());
    let open = mistaken(Mistakes { open_shelves: true, ..none });
    let silent = mistaken(Mistakes { leaves_nothing: true, ..none });
    for (broken, what, name) in [
        (Broken { keeper_forgets: true, ..clean }, "keeper_forgets", "the_keeper_alone_delivers"),
        (Broken { gives_elsewhere: true, ..clean }, "gives_elsewhere", "keepers_blind"),
        (silent, "leaves_nothing", "the_keeper_alone_delivers"),
        (open, "open_shelves", "keepers_blind"),
    ] {
        finds(what, 1..2, name, |seed| absent::run(seed, broken, false));
    }
}

#[test]
fn a_revocation_across_a_partition_is_in_force_everywhere_after_the_heal() {
    let (runs, apart) = (Cell::new(0), Cell::new(0));
    hold(8, |seed, keeps_lines| {
        let (outcome, is_apart) = revoking::run(seed, Broken::default(), keeps_lines);
        runs.set(runs.get() + 1);
        apart.set(apart.get() + u64::from(is_apart));
        outcome
    });
    eprintln!("in {} one side knew, and the other did not", apart.get());
    assert!(apart.get() * 3 > runs.get() || variable("P2PGROUP_SEED").is_some());
}

#[test]
fn a_revocation_unheard_a_hasty_receipt_and_an_old_key_are_found() {
    let none = Mistakes::default();
    for (control, what, name) in [
        (Mistakes { deaf_to_authority: true, ..none }, "deaf_to_authority", "revoked_everywhere"),
        (Mistakes { hasty_receipts: true, ..none }, "hasty_receipts", "receipts_true"),
        (Mistakes { no_own_key: true, ..none }, "no_own_key", "removed_read_no_more"),
    ] {
        finds(what, 0..8, name, |seed| revoking::run(seed, mistaken(control), false).0);
    }
}

#[test]
fn a_leader_that_tells_two_stories_is_named_to_all_and_nobody_s_log_breaks() {
    hold(8, |seed, keeps_lines| lying::run(seed, Broken::default(), keeps_lines));
}

#[test]
fn logs_taken_for_equal_by_ballot_and_index_are_found() {
    let control = Mistakes { chain_blind: true, ..Mistakes::default() };
    let found = lying::run(0, Broken { control, ..Broken::default() }, false).violation;
    assert_eq!(found.map(|it| it.name), Some("contradictions_are_told"));
}

#[test]
fn a_full_disk_stores_and_acknowledges_nothing_says_so_and_recovers() {
    hold(6, |seed, keeps_lines| full::run(seed, Broken::default(), keeps_lines));
}

#[test]
fn what_is_done_wrong_with_a_full_disk_is_found() {
    let clean = Broken::default();
    for (broken, what, name) in [
        (Broken { acks_unstored: true, ..clean }, "acks_unstored", "acknowledged_survives"),
        (Broken { tells_unstored: true, ..clean }, "tells_unstored", "unstored_unsaid"),
        (Broken { keeps_core: true, ..clean }, "keeps_core", "acknowledged_survives"),
        (Broken { forgets_held: true, ..clean }, "forgets_held", "sending_needs_nobody"),
        (Broken { forgets_held: true, ..clean }, "forgets_held", "commands_answered"),
    ] {
        finds(what, 0..40, name, |seed| full::run(seed, broken, false));
    }
}

#[test]
fn what_is_past_its_time_is_gone_with_its_keys() {
    for seed in 0..2 {
        assert_eq!(erasing::past_its_time(seed, false).violation, None, "seed {seed}");
    }
    let found = erasing::past_its_time(0, true).violation.map(|it| it.name);
    assert_eq!(found, Some("past_its_time_is_gone"), "a disk that forgets nothing is found");
}

#[test]
fn a_clock_set_back_an_hour_deposes_nobody_and_loses_nothing() {
    for seed in 0..20 {
        let outcome = plan::clock_set_back(seed, seed % 2 == 0);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn who_comes_back_is_shown_the_newest_first_and_in_the_end_everything_once() {
    for seed in 0..3 {
        let outcome = plan::back_to_a_long_log(seed, Broken::default());
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn who_came_by_an_invite_is_invited_although_many_changes_come_first() {
    for seed in 0..2 {
        let (outcome, is_in) = inviting::behind_many_changes(seed);
        assert_eq!((outcome.violation, is_in), (None, true), "seed {seed}");
    }
}

#[test]
fn a_search_goes_on_in_steps_between_which_one_talks_and_says_how_far_it_is() {
    let quick = searching::steps(1, Millis(1), 1_000).unwrap();
    assert!(quick.turns > 4 && quick.is_heard, "{quick:?}");
    assert_eq!((&quick.found, &quick.told), (&searching::all(), &Vec::new()));
    let slow = searching::steps(1, Millis(300), 1_000).unwrap();
    assert_eq!(slow.found, searching::all());
    assert!(slow.told.len() > 2 && slow.told.is_sorted(), "{slow:?}");
    assert!(slow.told.iter().all(|(done, of)| *done >= 1_000 && done <= of), "{slow:?}");
    // What is older than enough is not looked at.
    let few = searching::steps(1, Millis(1), 3).unwrap();
    assert_eq!(few.found.as_slice(), &searching::all()[..3]);
    assert!(few.turns < quick.turns, "{few:?}");
}

#[test]
fn a_step_of_a_search_reads_little_however_much_is_found_in_the_index_and_where_it_ends() {
    let deleted = 40;
    let read = searching::much(1, deleted).unwrap();
    let all = (0..3_000 - deleted).rev().map(|at| format!("walnut {at}"));
    assert!(read.found.iter().eq(&all.collect::<Vec<_>>()), "{read:?}");
    assert!(read.most < 1_000 && read.turns > 10, "{} in {} turns", read.most, read.turns);
}

#[test]
fn searches_have_their_turns_and_one_too_many_is_refused() {
    let two = searching::together(1, 2).unwrap();
    let [(1, first), (2, second)] = two.answered[..] else { panic!("{two:?}") };
    assert!(first > 4 && second <= first + 2 && two.refused.is_empty(), "{two:?}");
    let many = searching::together(1, 70).unwrap();
    assert_eq!(many.answered.len(), 64, "{many:?}");
    assert_eq!(many.refused, (65..=70).collect::<Vec<_>>());
}

#[test]
fn who_comes_back_from_a_backup_while_nobody_of_its_room_is_there_waits_for_them() {
    for seed in 0..10 {
        assert_eq!(restored::alone(seed).violation, None, "seed {seed}");
    }
}

#[test]
fn who_cannot_follow_a_commit_talks_on_and_comes_back_and_its_author_commits_nothing_more() {
    for seed in 0..16 {
        let outcome = spoiling::run(seed, Broken::default(), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

/// The same with real MLS: commits that are signed and tagged as they should be, and open nowhere. Its
/// randomness is its own, so a seed gives the plan and not each byte.
#[test]
fn who_cannot_follow_a_poisoned_commit_of_mls_comes_back_and_its_author_commits_nothing_more() {
    for seed in 0..8 {
        let outcome = spoiling::run(seed, Broken::default(), true);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn what_a_rule_withheld_is_read_once_another_rule_hands_it_over() {
    for seed in 0..4 {
        assert_eq!(withheld::run(seed).violation, None, "seed {seed}");
    }
}

#[test]
fn who_is_told_inventions_of_a_room_comes_into_the_true_one() {
    for seed in 0..4 {
        assert_eq!(invented::run(seed).violation, None, "seed {seed}");
    }
}

#[test]
fn who_says_falsely_that_it_cannot_follow_suspends_nobody() {
    for seed in 0..4 {
        let outcome = spoiling::lied_about(seed, Broken::default());
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

#[test]
fn a_suspension_that_is_hasty_or_not_heeded_is_found() {
    let none = Mistakes::default();
    let hasty = mistaken(Mistakes { hasty_suspension: true, ..none });
    let name = "only_who_spoils_is_suspended";
    finds("hasty_suspension", 0..2, name, |seed| spoiling::lied_about(seed, hasty));
    let unheeded = mistaken(Mistakes { suspension_unheeded: true, ..none });
    let name = "suspended_commits_nothing";
    finds("suspension_unheeded", 2..4, name, |seed| spoiling::run(seed, unheeded, false));
}

/// The faults that bring the mistakes to light break nothing by themselves.
#[test]
fn the_clean_cores_stand_what_finds_the_mistakes() {
    for hunt in HUNTS {
        eprintln!("{hunt:?}");
        report(&run_all(1..=60, Broken { hunt: Some(hunt), ..Broken::default() }, false));
    }
}
