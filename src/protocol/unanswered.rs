//! Commands that were handed over and not answered.
//! Owns: their numbers, and which of them came in the running turn.
//! Must not know: what a command does, who asked.
//! Invariants: a command is answered also if the core that held it is loaded again.
//! Start reading at: [`Unanswered::undone`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Event, Notice};
use crate::ids::CommandId;

/// What is to be answered by whoever runs a core.
#[derive(Debug, Default)]
pub struct Unanswered {
    /// Whether others may have been asked to carry it out.
    open: BTreeMap<CommandId, bool>,
    /// Those of the running turn: nothing of them has left.
    turn: BTreeSet<CommandId>,
    is_leaving: bool,
}

impl Unanswered {
    /// This is handed to the core.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Posts { posts, .. } => {
                self.turn.extend(posts.iter().map(|(id, _)| *id));
                self.open.extend(posts.iter().map(|(id, _)| (*id, false)));
            }
            Event::Command { command: Command::Exit, .. } => self.is_leaving = true,
            Event::Command { id, command } => {
                self.turn.insert(*id);
                if command.is_answered() {
                    self.open.insert(*id, command.is_for_others());
                }
            }
            _ => {}
        }
    }

    /// What was handed over so far is as safe as it asked to be.
    pub fn end_turn(&mut self) {
        self.turn.clear();
    }

    /// This is told.
    pub fn told(&mut self, notice: &Notice) {
        if let Some(id) = notice.command() {
            self.open.remove(&id);
        }
    }

    /// Whether the core was told to end: one that is loaded again does not know, and has no more to
    /// hand over.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// The running turn came to nothing and the core was loaded again: what it is to answer. Nothing
    /// waits any more; `told` is told all the same.
    pub fn undone(&mut self, told: &[Notice]) -> Event {
        let turn = std::mem::take(&mut self.turn);
        let told: BTreeSet<CommandId> = told.iter().filter_map(Notice::command).collect();
        let (asked, held): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|(id, is_for_others)| *is_for_others && !turn.contains(id));
        let commands: BTreeSet<CommandId> = held.into_keys().chain(turn).collect();
        Event::NotStored {
            commands: commands.difference(&told).copied().collect(),
            asked: asked.into_keys().filter(|id| !told.contains(id)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    fn note(unanswered: &mut Unanswered, id: u64, command: Command) {
        unanswered.note(&Event::Command { id: CommandId(id), command });
    }

    fn failed(id: u64) -> Notice {
        let (command, refused) = (Some(CommandId(id)), Refusal::NotStored.into());
        Notice::Failed { command, refused, is_fatal: false }
    }

    /// The commands that are undone, and those that others may carry out.
    fn undone(unanswered: &mut Unanswered, told: &[Notice]) -> (Vec<u64>, Vec<u64>) {
        let Event::NotStored { commands, asked } = unanswered.undone(told) else { panic!() };
        let plain = |ids: Vec<CommandId>| ids.into_iter().map(|id| id.0).collect();
        (plain(commands), plain(asked))
    }

    fn remove() -> Command {
        Command::Remove { name: "bob".to_owned(), reason: String::new() }
    }

    #[test]
    fn whoever_waits_is_answered_once_and_hears_what_may_come_about_all_the_same() {
        let mut unanswered = Unanswered::default();
        note(&mut unanswered, 1, remove());
        note(&mut unanswered, 2, Command::Links);
        note(&mut unanswered, 3, Command::Status);
        note(&mut unanswered, 4, Command::Links);
        unanswered.end_turn();
        unanswered.told(&failed(3));
        let posts = vec![(CommandId(5), "x".to_owned().into())];
        unanswered.note(&Event::Posts { room: "main".to_owned(), posts });
        note(&mut unanswered, 6, remove());
        // Of what came in this turn nothing has left.
        assert_eq!(undone(&mut unanswered, &[failed(4)]), (vec![2, 5, 6], vec![1]));
        assert_eq!(undone(&mut unanswered, &[]), (vec![], vec![]));
    }

    #[test]
    fn what_nothing_answers_is_not_waited_for_and_an_exit_is_not_forgotten() {
        let mut unanswered = Unanswered::default();
        let trust = || Command::TrustAuthority { is_trusted: true };
        note(&mut unanswered, 1, trust());
        assert_eq!(undone(&mut unanswered, &[]), (vec![1], vec![]));
        note(&mut unanswered, 2, trust());
        unanswered.end_turn();
        assert!(!unanswered.is_leaving());
        note(&mut unanswered, 3, Command::Exit);
        assert_eq!(undone(&mut unanswered, &[]), (vec![], vec![]));
        assert!(unanswered.is_leaving());
    }
}
