//! Keys of the terminal interface, and lines of one's own, as settings.
//! Owns: the names of what keys do, their defaults, and how a key is written.
//! Must not know: the terminal, what a key does.
//! Invariants: no two actions have one key; what types or ends everything cannot be taken away.
//! Start reading at: [`ACTIONS`], [`bindings`].

use super::settings::nearest;

/// What a key does, which key does it unless the settings say otherwise, and the words for it.
pub const ACTIONS: &[(&str, &str, &str)] = &[
    ("new-line", "alt+enter", "a new line within the message; Ctrl+J, too"),
    ("room-1", "alt+1", "to the first room"),
    ("room-2", "alt+2", "to the second room"),
    ("room-3", "alt+3", "to the third room"),
    ("room-4", "alt+4", "to the fourth room"),
    ("room-5", "alt+5", "to the fifth room"),
    ("room-6", "alt+6", "to the sixth room"),
    ("room-7", "alt+7", "to the seventh room"),
    ("room-8", "alt+8", "to the eighth room"),
    ("room-9", "alt+9", "to the ninth room"),
    ("room-10", "alt+0", "to the tenth room"),
    ("next-active", "alt+a", "to a room with something new"),
    ("next-room", "ctrl+n", "to the next room"),
    ("previous-room", "ctrl+p", "to the room before"),
    ("page-up", "pageup", "earlier messages"),
    ("page-down", "pagedown", "later messages"),
    ("choose-up", "alt+up", "choose the message above"),
    ("choose-down", "alt+down", "choose the message below"),
    ("complete", "tab", "complete a name, a room or a command"),
    ("complete-back", "backtab", "the completion before"),
    ("search", "ctrl+r", "search in this room"),
    ("redraw", "ctrl+l", "draw everything anew"),
    ("line-start", "ctrl+a", "to the start of the line; Home, too"),
    ("line-end", "ctrl+e", "to its end; End, too"),
    ("cut-start", "ctrl+u", "cut what is before the cursor"),
    ("cut-end", "ctrl+k", "cut what is behind it"),
    ("cut-word", "ctrl+w", "cut the word before it"),
    ("put", "ctrl+y", "put what was cut"),
    ("word-left", "alt+b", "a word back"),
    ("word-right", "alt+f", "a word on"),
    ("quit", "ctrl+d", "quit, where the line is empty"),
];

/// Keys that have names; a character stands for itself.
const NAMED: &[&str] = &[
    "enter",
    "tab",
    "backtab",
    "backspace",
    "delete",
    "left",
    "right",
    "up",
    "down",
    "home",
    "end",
    "pageup",
    "pagedown",
    "space",
];

/// A key that is bound: to what, its default, and what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The action.
    pub action: &'static str,
    /// Which key has it by default.
    pub preset: &'static str,
    /// Which key has it.
    pub key: String,
    /// The words for it.
    pub about: &'static str,
}

/// A key in its one form: `ctrl+`, `alt+`, then its name or character in lower case.
fn normal(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let (mut rest, mut ctrl, mut alt) = (text.as_str(), false, false);
    loop {
        let cut = |name: &str| rest.strip_prefix(name).filter(|more| !more.is_empty());
        if let Some(more) = cut("ctrl+").or_else(|| cut("ctrl-")).filter(|_| !ctrl) {
            (rest, ctrl) = (more, true);
        } else if let Some(more) = cut("alt+").or_else(|| cut("alt-")).filter(|_| !alt) {
            (rest, alt) = (more, true);
        } else {
            break;
        }
    }
    let mut chars = rest.chars();
    let is_char = chars.next().is_some_and(|c| !c.is_control() && !c.is_whitespace())
        && chars.next().is_none();
    if !is_char && !NAMED.contains(&rest) {
        return None;
    }
    let held = format!("{}{}", if ctrl { "ctrl+" } else { "" }, if alt { "alt+" } else { "" });
    Some(format!("{held}{rest}"))
}

/// Whether a key types, sends, or is the way out, so that nothing else may have it.
fn is_kept(key: &str) -> bool {
    let is_typed = !key.contains('+') || key == "+";
    let is_function = ["pageup", "pagedown", "tab", "backtab"].contains(&key);
    is_typed && !is_function || ["ctrl+c", "ctrl+j", "ctrl+h", "ctrl+i", "ctrl+m"].contains(&key)
}

/// All keys, with those that the settings bind anew.
///
/// # Errors
/// What is wrong, for a person.
pub fn bindings(pairs: &[(String, String)]) -> Result<Vec<Binding>, String> {
    let mut all: Vec<Binding> = ACTIONS
        .iter()
        .map(|&(action, preset, about)| Binding { action, preset, key: preset.to_owned(), about })
        .collect();
    for (action, key) in pairs {
        let Some(binding) = all.iter_mut().find(|it| it.action == action) else {
            let known = ACTIONS.iter().map(|(name, ..)| *name);
            return Err(match nearest(action, known) {
                Some(near) => format!("unknown action \"{action}\"; did you mean \"{near}\"?"),
                None => format!("unknown action \"{action}\"; /keys lists them"),
            });
        };
        let normal = normal(key).ok_or_else(|| {
            format!("{action}: expected a key such as ctrl+n, alt+1 or pageup, found \"{key}\"")
        })?;
        if is_kept(&normal) {
            return Err(format!("{action}: {normal} is what types, sends or quits"));
        }
        binding.key = normal;
    }
    for (at, one) in all.iter().enumerate() {
        if let Some(other) = all.iter().skip(at.saturating_add(1)).find(|it| it.key == one.key) {
            return Err(format!("{} is bound to {} and to {}", one.key, one.action, other.action));
        }
    }
    Ok(all)
}

/// Whether these may be lines of one's own: a name is one word, and a line is there.
///
/// # Errors
/// What is wrong, for a person.
pub(super) fn check_aliases(pairs: &[(String, String)]) -> Result<(), String> {
    for (name, line) in pairs {
        let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.chars().count() > 32 || !name.chars().all(is_word) {
            return Err(format!("\"{name}\": a name is one word without the slash"));
        }
        if line.trim().is_empty() || line.contains(['\n', '\r']) {
            return Err(format!("{name}: expected one line, such as \"/say #ops $*\""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(pairs: &[(&str, &str)]) -> Result<Vec<Binding>, String> {
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        bindings(&pairs.iter().map(own).collect::<Vec<_>>())
    }

    #[test]
    fn the_defaults_are_written_in_their_one_form_and_none_is_double() {
        for binding in bound(&[]).unwrap() {
            assert_eq!(normal(binding.preset).as_deref(), Some(binding.preset));
            assert!(!is_kept(binding.preset), "{}", binding.action);
            assert_eq!(binding.key, binding.preset);
        }
    }

    #[test]
    fn nothing_needs_the_prefix_of_tmux_and_screens_is_not_the_only_way() {
        for (action, key, about) in ACTIONS {
            assert_ne!(*key, "ctrl+b", "{action}");
            assert!(*key != "ctrl+a" || about.contains("Home, too"), "{action}");
        }
    }

    #[test]
    fn a_key_is_bound_anew_and_mistakes_are_named() {
        let all = bound(&[("next-room", "Ctrl-Right"), ("search", "ctrl+n")]).unwrap();
        let key = |action: &str| all.iter().find(|it| it.action == action).unwrap().key.clone();
        assert_eq!((key("next-room"), key("search")), ("ctrl+right".into(), "ctrl+n".into()));
        for (pairs, why) in [
            (&[("nextroom", "ctrl+x")][..], "did you mean \"next-room\""),
            (&[("zzzz", "ctrl+x")], "/keys lists them"),
            (&[("search", "ctrl+")], "expected a key"),
            (&[("search", "hyper+x")], "expected a key"),
            (&[("search", "x")], "types, sends or quits"),
            (&[("search", "enter")], "types, sends or quits"),
            (&[("search", "ctrl+c")], "types, sends or quits"),
            (&[("search", "ctrl+n")], "ctrl+n is bound to next-room and to search"),
        ] {
            let no = bound(pairs).unwrap_err();
            assert!(no.contains(why), "{no}");
        }
    }

    #[test]
    fn an_alias_has_a_name_of_one_word_and_a_line() {
        let check =
            |name: &str, line: &str| check_aliases(&[(name.to_owned(), line.to_owned())]).is_ok();
        assert!(check("w", "/who") && check("hi-all", "hello $*"));
        assert!(!check("", "/who") && !check("a b", "/who") && !check("/w", "/who"));
        assert!(!check("w", " ") && !check("w", "a\nb"));
    }
}
