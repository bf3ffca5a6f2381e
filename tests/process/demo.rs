//! `p2pgroup demo`: what it claims, and that nothing of it stays.
//! Owns: the claims of its figures.
//! Must not know: how it is played.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{LONG, Proc, json, program};

fn demo(dir: &Path, arguments: &[&str]) -> Proc {
    let mut command = Command::new(program());
    command
        .env("TMPDIR", dir)
        .arg("demo")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Proc::start("demo", command)
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn the_demo_ends_by_itself_with_figures_that_hold_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ended = demo(dir.path(), &["--json"]).ended(LONG * 4);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    let at = |step: &str| {
        let found = ended.events.iter().position(|it| it["step"] == step);
        found.unwrap_or_else(|| panic!("no {step}: {}", ended.text()))
    };
    // One after another, and the talk goes on while there is no leader.
    let steps = ["serving", "joined", "settled", "killed", "elected", "restarted", "caught_up"];
    let places: Vec<usize> = steps.iter().map(|step| at(step)).collect();
    assert!(places.is_sorted(), "{places:?}");
    let (killed, elected) = (&ended.events[at("killed")], &ended.events[at("elected")]);
    assert_eq!(killed["name"], ended.events[at("settled")]["leader"]);
    assert_ne!(elected["leader"], killed["name"]);
    assert_eq!(ended.events[at("caught_up")]["name"], killed["name"]);
    let figures = &ended.events.last().unwrap()["figures"];
    assert_eq!((&figures["holds"], &figures["lost"]), (&json!(true), &json!(0)), "{figures}");
    // Counted once more, from what was told on the way.
    let said = ended.events.iter().filter(|it| it["step"] == "said").count();
    assert_eq!((&figures["said"], &figures["delivered"]), (&json!(said), &json!(said * 4)));
    assert_eq!(figures["leaderless_ms"], elected["took_ms"]);
    assert!(is_empty(dir.path()));
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind_either() {
    let dir = tempfile::tempdir().unwrap();
    let demo = demo(dir.path(), &["--plain"]);
    demo.wait_from(0, LONG, "a member is in", |it| {
        it.as_str().is_some_and(|line| line.contains("alice is in"))
    });
    assert!(!is_empty(dir.path()));
    demo.signal("INT");
    assert_eq!(demo.ended(LONG * 4).code, Some(130));
    assert!(is_empty(dir.path()));
}
