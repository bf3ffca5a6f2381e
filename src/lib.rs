#![doc = include_str!("../ARCHITECTURE.md")]

#[cfg(unix)]
pub mod api;
pub mod cli;
pub mod config;
pub mod files;
pub mod identity;
pub mod ids;
pub mod limits;
pub mod net;
pub mod node;
pub mod protocol;
pub mod refusal;
pub mod store;
pub mod terms;
pub mod text;
pub mod time;
pub mod tui;
pub mod wire;
