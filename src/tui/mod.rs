//! The terminal interface: rooms, messages, members and a line to type, on a whole screen.
//! Owns: what is on the screen, what keys do, and the terminal while it is taken.
//! Must not know: store, net; how commands are spelled and answered in words (a [`Door`] does).
//! Invariants: no control character of others reaches the terminal; the terminal is given back
//! however the process ends, kill -9 aside; nothing is drawn unless something changed.
//! Start reading at: [`state::State::handle`], [`draw::draw`], [`run::run`].
//!
//! ```text
//!   keys ─ thread ─┐                                    ┌─► draw (state ─► cells), 60 a second
//!   notices ─ node ┼─► run ─► state.handle ─► effects ──┼─► commands ─► node
//!   deadline ──────┘          (no clock, no terminal)   └─► bell, hook
//! ```

pub mod bell;
pub mod bindings;
pub mod catch_up;
pub mod cells;
mod complete;
pub mod copy;
pub mod demo;
pub mod draw;
pub mod editor;
mod ending;
mod ignoring;
mod keys;
pub mod link;
mod long;
pub mod look;
mod notices;
pub mod pace;
mod pages;
pub mod room;
pub mod run;
pub mod state;
#[cfg(test)]
mod tests;
mod transfers;
pub mod work;

use crate::ids::CommandId;
use crate::protocol::{Command, Notice};
use crate::time::Wall;

pub use self::run::{Screen, give_back, take};
use self::work::Work;

/// What line mode knows and the screen borrows: how commands are typed, how answers read, what time
/// it is on the wall.
pub trait Door {
    /// A fresh number for a command.
    fn number(&mut self) -> CommandId;
    /// Understands a typed line; `here` is the room it is typed in, and changes with `/go`.
    fn read(&mut self, line: &str, here: &mut String) -> Typed;
    /// What line mode would say to this notice: harmless lines.
    fn tell(&mut self, notice: Notice) -> Told;
    /// What may stand at the end of a command that is being typed.
    fn fits(&self, line: &str) -> Fits;
    /// The time of day as a person has it on the wall.
    fn local(&self, at: Wall) -> Option<time::OffsetDateTime>;
}

/// A typed line, understood.
#[derive(Debug, Default)]
pub struct Typed {
    /// What it asks of the node; the answer under this number reads as in line mode.
    pub command: Option<(CommandId, Command)>,
    /// What is answered at once.
    pub told: Told,
    /// What was begun beside the talk; [`work::Going`] tells of it.
    pub work: Option<Work>,
}

/// Lines for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// News and answers.
    pub lines: Vec<String>,
    /// A no.
    pub errors: Vec<String>,
}

/// What may stand at the end of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fits {
    /// Where it begins, in bytes.
    pub at: usize,
    /// What, in the order of the offer.
    pub of: Vec<Fit>,
}

/// Something that may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// This, with what goes between it and the next: a word of the command, the path of a file.
    Word(String),
    /// A room that one is in.
    Room,
    /// A room that one may come into.
    Joinable,
    /// A member.
    Member,
    /// Words of a person, in which names are completed once they are begun.
    Text,
}
