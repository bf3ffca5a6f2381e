//! The program as people and scripts meet it: real processes, real sockets, kill -9.
//! Owns: what can be seen from outside.
//! Must not know: anything but the command line, `--json` and the exit codes.
//! Invariants: no test waits for a guessed time; a failure shows what every process said.
//! Start reading at: `harness.rs`, then `basics.rs`.
#![cfg(unix)]
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no public face")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::too_many_lines,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test: what is wrong shall stop it, and it looks at the clock"
)]

mod basics;
mod endurance;
mod failover;
mod harness;
mod hostile;
mod lab;
mod lines;
mod refusals;
mod servers;
