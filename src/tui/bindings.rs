//! Keys that a person bound anew: each stands for the key that does it by default.
//! Owns: which key stands for which.
//! Must not know: what a key does.
//! Invariants: a key whose action has another key does nothing.
//! Start reading at: [`Bindings::meant`].

use super::state::{Key, Press};

/// A key with its words, as `/keys` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What it does by name.
    pub action: String,
    /// Which key does it by default, as `ctrl+n`.
    pub preset: String,
    /// Which key does it.
    pub key: String,
    /// What it does in words.
    pub about: String,
}

/// All keys that can be bound.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    all: Vec<Bound>,
    /// What is pressed, and what is meant; `None`: nothing.
    changed: Vec<(Press, Option<Press>)>,
}

/// A key as it is written: `ctrl+`, `alt+`, then its name or character.
fn press(text: &str) -> Option<Press> {
    let (ctrl, rest) = text.strip_prefix("ctrl+").map_or((false, text), |rest| (true, rest));
    let (alt, rest) = rest.strip_prefix("alt+").map_or((false, rest), |rest| (true, rest));
    let mut chars = rest.chars();
    let key = match (rest, chars.next(), chars.next()) {
        ("enter", ..) => Key::Enter,
        ("tab", ..) => Key::Tab,
        ("backtab", ..) => Key::BackTab,
        ("backspace", ..) => Key::Backspace,
        ("delete", ..) => Key::Delete,
        ("left", ..) => Key::Left,
        ("right", ..) => Key::Right,
        ("up", ..) => Key::Up,
        ("down", ..) => Key::Down,
        ("home", ..) => Key::Home,
        ("end", ..) => Key::End,
        ("pageup", ..) => Key::PageUp,
        ("pagedown", ..) => Key::PageDown,
        ("space", ..) => Key::Char(' '),
        (_, Some(c), None) => Key::Char(c),
        _ => return None,
    };
    Some(Press { key, alt, ctrl })
}

impl Bindings {
    /// With these keys.
    pub fn new(all: Vec<Bound>) -> Self {
        let new = all.iter().filter(|it| it.key != it.preset);
        let mut changed: Vec<(Press, Option<Press>)> = new
            .clone()
            .filter_map(|it| Some((press(&it.key)?, Some(press(&it.preset)?))))
            .collect();
        let left = new.filter_map(|it| press(&it.preset));
        // Whose key went elsewhere, and nobody took it.
        let left: Vec<Press> = left.filter(|it| !changed.iter().any(|(by, _)| by == it)).collect();
        changed.extend(left.into_iter().map(|it| (it, None)));
        Self { all, changed }
    }

    /// What a key means; `None`: nothing.
    pub fn meant(&self, press: Press) -> Option<Press> {
        match self.changed.iter().find(|(by, _)| *by == press) {
            Some((_, meant)) => *meant,
            None => Some(press),
        }
    }

    /// One line for each, for a person.
    pub fn lines(&self) -> Vec<String> {
        let line = |it: &Bound| {
            let was = match it.key == it.preset {
                true => String::new(),
                false => format!(" (instead of {})", it.preset),
            };
            format!("{:<14} {:<14} {}{was}", it.key, it.action, it.about)
        };
        self.all.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(action: &str, preset: &str, key: &str) -> Bound {
        let [action, preset, key] = [action, preset, key].map(str::to_owned);
        Bound { action, preset, key, about: String::new() }
    }

    #[test]
    fn a_bound_key_means_the_default_one_and_that_one_nothing() {
        let bindings = Bindings::new(vec![
            bound("next-room", "ctrl+n", "ctrl+right"),
            bound("search", "ctrl+r", "ctrl+n"),
            bound("redraw", "ctrl+l", "ctrl+l"),
        ]);
        let p = |text: &str| press(text).unwrap();
        assert_eq!(bindings.meant(p("ctrl+right")), Some(p("ctrl+n")));
        assert_eq!(bindings.meant(p("ctrl+n")), Some(p("ctrl+r")));
        assert_eq!(bindings.meant(p("ctrl+r")), None);
        assert_eq!(bindings.meant(p("ctrl+l")), Some(p("ctrl+l")));
        assert_eq!(bindings.meant(p("x")), Some(p("x")));
        let lines = bindings.lines();
        assert!(lines[0].starts_with("ctrl+right     next-room") && lines[0].contains("ctrl+n"));
        assert_eq!(lines.len(), 3);
        assert_eq!(press("ctrl+alt+x"), Some(Press { key: Key::Char('x'), alt: true, ctrl: true }));
        assert_eq!(press("nothing"), None);
    }
}
