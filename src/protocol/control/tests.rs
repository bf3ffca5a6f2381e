//! Whole control cores in a small world of their own: a clock, links, disks.
//! Owns: nothing but its cases.
//! Must not know: anything outside the control core.
//! Invariants: see each test's name.
//! Start reading at: [`world`].

mod doubts;
mod elections;
mod leaving;
mod refusals;
mod signatures;
mod world;
