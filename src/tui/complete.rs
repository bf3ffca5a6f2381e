//! Tab: names, rooms, commands and what may follow in them, completed.
//! Owns: which of those that may stand there what is typed begins, in which order.
//! Must not know: keys, drawing; what may follow in a command (the [`Door`] does).
//! Invariants: only what stands before the cursor changes; Tab again goes on, and comes back to
//! what was typed.
//! Start reading at: [`start`].

use super::state::State;
use super::{Door, Fit, Fits};
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

    /// Whether a directory is all there is: what is in it comes next.
    pub(super) fn leads_on(&self) -> bool {
        matches!(self.found.as_slice(), [only] if only.ends_with('/'))
    }

    /// What stands before the cursor now.
    pub(super) fn line(&self) -> String {
        format!("{}{}", self.before, self.found.get(self.at).unwrap_or(&self.typed))
    }
}

/// What the word before the cursor may become; `None`: nothing.
pub(super) fn start(state: &State, door: &dyn Door) -> Option<Completion> {
    let (line, _) = state.editor.parts();
    let word = line.rfind(char::is_whitespace);
    let word = word.and_then(|at| Some(at + line.get(at..)?.chars().next()?.len_utf8()));
    let at = word.unwrap_or(0);
    let is_command = line.starts_with('/') && !line.starts_with("//");
    let fits = match is_command {
        true => door.fits(line),
        false => Fits { at, of: vec![Fit::Text] },
    };
    let (before, typed) = line.split_at_checked(fits.at)?;
    let found: Vec<String> =
        fits.of.into_iter().flat_map(|fit| found(state, fit, before, typed)).collect();
    let (before, typed) = (before.to_owned(), typed.to_owned());
    (!found.is_empty()).then_some(Completion { before, typed, found, at: 0 })
}

fn found(state: &State, fit: Fit, before: &str, typed: &str) -> Vec<String> {
    let (sign, name) = match typed.strip_prefix('#') {
        Some(name) => ("#", name),
        None => ("", typed),
    };
    match fit {
        Fit::Word(word) if begins(&word, typed) => vec![word],
        Fit::Word(_) => Vec::new(),
        Fit::Joinable => rooms(state.joinable.iter().map(String::as_str), name, sign),
        Fit::Room => rooms(state.rooms.iter().map(|room| room.name.as_str()), name, sign),
        Fit::Text if sign == "#" => {
            rooms(state.rooms.iter().map(|room| room.name.as_str()), name, sign)
        }
        Fit::Member | Fit::Text if typed.starts_with('@') => {
            names(state, typed.trim_start_matches('@'), "@", " ")
        }
        Fit::Text if typed.is_empty() => Vec::new(),
        Fit::Text if before.is_empty() => names(state, typed, "", ": "),
        Fit::Member | Fit::Text => names(state, typed, "", " "),
    }
}

fn begins(name: &str, with: &str) -> bool {
    name.to_lowercase().starts_with(&with.to_lowercase())
}

fn rooms<'a>(names: impl Iterator<Item = &'a str>, typed: &str, sign: &str) -> Vec<String> {
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
