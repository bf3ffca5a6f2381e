//! Two ways through the model: every state in order of distance, and long seeded walks.
//! Owns: what was visited, and the way to a violation.
//! Must not know: what a step means.
//! Invariants: the same model and bounds give the same result.
//! Start reading at: [`exhaust`].

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;
use std::ops::Range;

use crate::model::{Budget, Model, State, Step, digest};

/// A broken invariant and the steps that led there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) what: &'static str,
    pub(crate) trace: Vec<String>,
}

/// What a search saw.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) depth: usize,
    /// Whether nothing was left to visit.
    pub(crate) is_whole: bool,
    pub(crate) violation: Option<Violation>,
}

/// Breadth first, so that the first violation is a shortest one.
pub(crate) fn exhaust(model: &mut Model, budget: Budget, states_max: usize) -> Found {
    let first = model.start(budget);
    let mut visited = BTreeSet::from([identity(&first)]);
    let mut queue = VecDeque::from([(first, 0, 0)]);
    // The step that led to each state, and from which.
    let mut ways: Vec<Option<(usize, Step)>> = vec![None];
    let mut depth = 0;
    while let Some((state, place, distance)) = queue.pop_front() {
        depth = distance;
        if visited.len() >= states_max {
            return Found { states: visited.len(), depth, is_whole: false, violation: None };
        }
        for step in model.steps(&state) {
            match model.apply(&state, step) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    if visited.insert(identity(&next)) {
                        queue.push_back((next, ways.len(), distance + 1));
                        ways.push(Some((place, step)));
                    }
                }
                Err(what) => {
                    let mut trace = vec![model.tell(step)];
                    let mut at = place;
                    while let Some((from, step)) = ways[at] {
                        trace.push(model.tell(step));
                        at = from;
                    }
                    trace.reverse();
                    let violation = Some(Violation { what, trace });
                    return Found { states: visited.len(), depth, is_whole: false, violation };
                }
            }
        }
    }
    Found { states: visited.len(), depth, is_whole: true, violation: None }
}

fn identity(state: &State) -> u128 {
    digest(|hasher| state.hash(hasher))
}

/// One chosen way through the model.
pub(crate) struct Run<'a> {
    model: &'a mut Model,
    state: State,
}

impl<'a> Run<'a> {
    pub(crate) fn new(model: &'a mut Model, budget: Budget) -> Self {
        let state = model.start(budget);
        Self { model, state }
    }

    pub(crate) fn step(&mut self, step: Step) -> Result<(), &'static str> {
        if let Some(next) = self.model.apply(&self.state, step)? {
            self.state = next;
        }
        Ok(())
    }

    /// Delivers what one node sent to another last.
    pub(crate) fn deliver(&mut self, from: usize, to: usize) -> Result<(), &'static str> {
        let sent = self.state.net.iter().copied().filter(|id| self.model.is_between(*id, from, to));
        let last = sent.max().expect("something was sent");
        self.step(Step::Deliver(last))
    }

    /// A candidate asks, one voter answers, and that suffices.
    pub(crate) fn elect(&mut self, who: usize, by: usize, rank: u32) -> Result<(), &'static str> {
        self.step(Step::Campaign(who, rank))?;
        self.deliver(who, by)?;
        self.deliver(by, who)?;
        assert!(self.model.node(self.state.nodes[who]).core.is_leader(), "{who} leads");
        Ok(())
    }
}

/// Walks at random, one walk a seed: deeper than the search reaches.
pub(crate) fn walk(
    model: &mut Model,
    budget: Budget,
    seeds: Range<u64>,
    steps_max: usize,
) -> Option<Violation> {
    for seed in seeds {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut state = model.start(budget);
        let mut trace = Vec::new();
        for _ in 0..steps_max {
            let steps = model.steps(&state);
            // xorshift64*
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            let drawn = random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
            let Some(step) = steps.get(drawn as usize % steps.len().max(1)) else { break };
            match model.apply(&state, *step) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    trace.push(*step);
                    state = next;
                }
                Err(what) => {
                    trace.push(*step);
                    let trace = trace.into_iter().map(|step| model.tell(step)).collect();
                    return Some(Violation { what, trace });
                }
            }
        }
    }
    None
}
