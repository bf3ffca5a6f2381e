//! The program as people and scripts meet it: real processes, real sockets, kill -9.
//! Owns: what can be seen from outside.
//! Must not know: anything but the command line, `--json` and the exit codes.
//! Invariants: no test waits for a guessed time; a failure shows what every process said.
//! Start reading at: `harness.rs`, then `basics.rs`.
#![cfg(unix)]
#![expect(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail by panicking, watches the clock, and prints what it measured"
)]

mod api;
mod basics;
mod browser;
mod contacts;
mod delivery;
mod demo;
mod document;
mod endurance;
mod expiry;
mod failover;
mod features;
mod files;
mod harness;
mod hostile;
mod invites;
mod keepers;
mod kills;
mod lab;
mod lines;
mod many;
mod mdns;
mod members;
mod mesh;
mod net;
mod offline;
mod oneshot;
mod partition;
mod people;
mod punching;
mod quota;
mod random;
mod refusals;
mod retention;
mod rooms;
mod rpc;
mod sayings;
mod secrets;
mod servers;
mod stores;
mod tui;
mod web;
mod webhooks;
mod work;
