//! The steps of the demo as events.
//! Owns: their shape.
//! Must not know: who listens.
//! Invariants: as in `events.rs`.
//! Start reading at: [`demo`].

use serde::Serialize;

use super::line::line;
use super::shapes::Answered;
use crate::node::demo::{Figures, NAMES, Scene, Step};

/// A step: its name, when it came, and what it is about.
#[derive(Default, Serialize)]
struct Data<'a> {
    step: &'static str,
    ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a [usize]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Told>,
}

#[derive(Serialize)]
struct Told {
    holds: bool,
    members: usize,
    leaderless_ms: u64,
    terms: [u64; 2],
    said: usize,
    said_leaderless: usize,
    delivered: usize,
    expected: usize,
    lost: usize,
    twice: usize,
    same_order: bool,
    catch_up_ms: u64,
    missed: usize,
    took_ms: u64,
}

impl From<&Figures> for Told {
    fn from(it: &Figures) -> Self {
        Self {
            holds: it.holds(),
            members: it.members,
            leaderless_ms: it.leaderless.0,
            terms: [it.terms.0, it.terms.1],
            said: it.said,
            said_leaderless: it.said_leaderless,
            delivered: it.delivered,
            expected: it.expected,
            lost: it.lost,
            twice: it.doubled,
            same_order: it.is_same,
            catch_up_ms: it.catch_up.0,
            missed: it.missed,
            took_ms: it.took.0,
        }
    }
}

fn name(member: usize) -> Option<&'static str> {
    NAMES.get(member).copied()
}

/// Writes a step as an event.
pub(in crate::cli) fn demo(step: &Step, out: &mut Vec<u8>) {
    let of = |step| Data { step, ..Data::default() };
    let data = match &step.scene {
        Scene::Serving { role, address } => {
            Data { name: Some(role), address: Some(address), ..of("serving") }
        }
        Scene::Joined { member, took } => {
            Data { name: name(*member), took_ms: Some(took.0), ..of("joined") }
        }
        Scene::Knows { member, leader } => Data {
            name: name(*member),
            leader: leader.and_then(|(who, _)| name(who)),
            term: leader.map(|(_, term)| term),
            ..of("knows")
        },
        Scene::Settled { leader, term } => {
            Data { leader: name(*leader), term: Some(*term), ..of("settled") }
        }
        Scene::Said { member, text } => {
            Data { name: name(*member), text: Some(text), ..of("said") }
        }
        Scene::Talk { said, held } => Data { said: Some(*said), held: Some(held), ..of("talk") },
        Scene::Killed { member } => Data { name: name(*member), ..of("killed") },
        Scene::Elected { leader, term, after } => Data {
            leader: name(*leader),
            term: Some(*term),
            took_ms: Some(after.0),
            ..of("elected")
        },
        Scene::Restarted { member } => Data { name: name(*member), ..of("restarted") },
        Scene::CaughtUp { member, after, missed } => Data {
            name: name(*member),
            took_ms: Some(after.0),
            missed: Some(*missed),
            ..of("caught_up")
        },
        Scene::Done(figures) => Data { figures: Some(figures.into()), ..of("done") },
    };
    let at = crate::node::wall().rfc3339();
    let data = Data { ms: step.at.0, ..data };
    line(&Answered { event: "demo", at: &at, reference: None, data }, out);
}
