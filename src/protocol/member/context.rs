//! One turn of a member: what it may read, and what it wants done.
//! Owns: the gathering of actions.
//! Must not know: why anything is done.
//! Invariants: what is gathered stays in order.
//! Start reading at: [`Context`].

use bytes::Bytes;

use crate::ids::CommandId;
use crate::protocol::{Actions, Notice, Reads, Write};
use crate::refusal::{Refusal, Refused};
use crate::time::Now;

/// The parts of one turn: what is told, and where actions are gathered.
pub(super) struct Context<'a> {
    pub(super) now: Now,
    pub(super) reads: &'a dyn Reads,
    pub(super) actions: Actions,
}

impl Context<'_> {
    pub(super) fn write(&mut self, key: &str, value: Bytes) {
        self.actions.writes.push(Write::Setting { key: key.to_owned(), value: Some(value) });
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.actions.notices.push(notice);
    }

    pub(super) fn fail(&mut self, command: CommandId, refused: impl Into<Refused>) {
        self.actions.notices.push(Notice::failed(command, refused.into()));
    }

    /// The core was loaded again meanwhile: of these nothing is stored, and those may come about.
    pub(super) fn not_stored(&mut self, commands: Vec<CommandId>, asked: Vec<CommandId>) {
        for id in commands {
            self.fail(id, Refusal::NotStored);
        }
        for id in asked {
            let detail = "the disk was full meanwhile";
            self.fail(id, Refused::new(Refusal::TimedOut, detail));
        }
    }

    pub(super) fn fatal(&mut self, refused: impl Into<Refused>) {
        let failed = Notice::Failed { command: None, refused: refused.into(), is_fatal: true };
        self.actions.notices.push(failed);
        self.actions.notices.push(Notice::Exited);
    }
}
