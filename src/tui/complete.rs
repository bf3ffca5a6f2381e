//! Tab: names, rooms and commands, completed.
//! Owns: what a beginning may become, in which order.
//! Must not know: keys, drawing.
//! Invariants: only what stands before the cursor changes; Tab again goes on, and comes back to
//! what was typed.
//! Start reading at: [`start`].

use super::Door;
use super::state::State;
use crate::text::one_line;

/// A completion under way.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    before: String,
    typed: String,
    found: Vec<String>,
    at: usize,
}

impl Completion {
    /// The next possibility; after the last what was typed.
    pub(super) fn step(&mut self, is_forward: bool) {
        let count = self.found.len() + 1;
        self.at = if is_forward { self.at + 1 } else { self.at + count - 1 } % count;
    }

    /// What stands before the cursor now.
    pub(super) fn line(&self) -> String {
        format!("{}{}", self.before, self.found.get(self.at).unwrap_or(&self.typed))
    }
}

/// What the word before the cursor may become; `None`: nothing.
pub(super) fn start(state: &State, door: &dyn Door) -> Option<Completion> {
    let (line, _) = state.editor.parts();
    let at = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, typed) = line.split_at_checked(at)?;
    let is_command = line.starts_with('/') && !line.starts_with("//");
    let found = if is_command && before.is_empty() {
        commands(typed, door)
    } else if let Some(beginning) = typed.strip_prefix('#') {
        rooms(state, beginning, "#")
    } else if let Some(beginning) = typed.strip_prefix('@') {
        names(state, beginning, "@", " ")
    } else if matches!(before.trim_end(), "/go" | "/join") {
        rooms(state, typed, "")
    } else if typed.is_empty() {
        Vec::new()
    } else {
        names(state, typed, "", if before.is_empty() { ": " } else { " " })
    };
    let (before, typed) = (before.to_owned(), typed.to_owned());
    (!found.is_empty()).then_some(Completion { before, typed, found, at: 0 })
}

fn begins(name: &str, with: &str) -> bool {
    name.to_lowercase().starts_with(&with.to_lowercase())
}

fn commands(typed: &str, door: &dyn Door) -> Vec<String> {
    let beginning = typed.trim_start_matches('/');
    let mut found: Vec<String> = door
        .verbs()
        .into_iter()
        .filter_map(|verb| verb.name.split(' ').next())
        .filter(|name| begins(name, beginning))
        .map(|name| format!("/{name} "))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn rooms(state: &State, typed: &str, sign: &str) -> Vec<String> {
    let names = state.rooms.iter().map(|room| room.name.as_str());
    names.filter(|name| begins(name, typed)).map(|name| format!("{sign}{name} ")).collect()
}

/// Those who spoke last come first.
fn names(state: &State, typed: &str, sign: &str, end: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let spoke = state.room().into_iter().flat_map(|room| room.messages().rev().take(200));
    let spoke = spoke.filter(|said| !said.is_own).map(|said| said.from.clone());
    let known = state.members.values().map(|member| one_line(&member.name));
    for name in spoke.chain(known) {
        if begins(&name, typed) && name != state.me && !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| format!("{sign}{name}{end}")).collect()
}
