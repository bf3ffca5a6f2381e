//! Whole control cores in a small world of their own: a clock, links, disks.

mod elections;
mod leaving;
mod refusals;
mod voting;
mod world;
