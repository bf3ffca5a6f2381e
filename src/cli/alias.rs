//! Lines of one's own: a name in the settings that stands for a line.
//! Owns: what becomes of a typed line that begins with one.
//! Must not know: what a line does.
//! Invariants: what an alias stands for is not looked at for aliases again; a command of ours cannot
//! be given another meaning.
//! Start reading at: [`Aliases::expand`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::slash;
use crate::config::{Config, Origin};
use crate::refusal::{Refusal, Refused};

/// The names with their lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// Those of the settings.
    ///
    /// # Errors
    /// [`Refusal::ConfigBad`]: a name is a command already.
    pub(super) fn of(config: &Config) -> Result<Self, Refused> {
        let taken = config.aliases.iter().find(|(name, _)| slash::is_command(name));
        if let Some((name, _)) = taken {
            let shown = config.shown.iter().find(|shown| shown.path == "aliases");
            let origin = shown.map(|it| match &it.origin {
                Origin::File { .. } => config.alias_places.get(name).unwrap_or(&it.origin),
                other => other,
            });
            let place = origin.map(|it| format!("{it}: ")).unwrap_or_default();
            let detail = format!("{place}aliases: {name}: /{name} is a command");
            return Err(Refused::new(Refusal::ConfigBad, detail));
        }
        Ok(Self(config.aliases.iter().cloned().collect()))
    }

    /// The line that is meant: `$1` to `$9` are the words behind the name, `$*` all of them, `$$` is a
    /// dollar; where none of them stands in it, the words come at its end.
    pub(super) fn expand<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let named = line.strip_prefix('/').filter(|rest| !rest.starts_with('/'));
        let Some(rest) = named.filter(|_| !self.0.is_empty()) else { return Cow::Borrowed(line) };
        let (name, words) = match rest.split_once(char::is_whitespace) {
            Some((name, words)) => (name, words.trim()),
            None => (rest.trim_end(), ""),
        };
        let Some(template) = self.0.get(name) else { return Cow::Borrowed(line) };
        let mut out = String::new();
        let mut is_used = false;
        let mut chars = template.chars().peekable();
        while let Some(c) = chars.next() {
            let next = chars.peek().copied().filter(|_| c == '$');
            match next {
                Some('*') => out.push_str(words),
                Some('$') => out.push('$'),
                Some(digit @ '1'..='9') => {
                    let at = digit.to_digit(10).and_then(|it| usize::try_from(it).ok());
                    let word = words.split_whitespace().nth(at.unwrap_or(1).saturating_sub(1));
                    out.push_str(word.unwrap_or_default());
                }
                _ => {
                    out.push(c);
                    continue;
                }
            }
            is_used |= next != Some('$');
            chars.next();
        }
        if !is_used && !words.is_empty() {
            out.push(' ');
            out.push_str(words);
        }
        Cow::Owned(out.trim_end().to_owned())
    }

    /// As bytes, where they are text.
    pub(super) fn expand_bytes<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let is_named = line.first() == Some(&b'/') && !self.0.is_empty();
        match std::str::from_utf8(line) {
            Ok(text) if is_named => match self.expand(text) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            _ => Cow::Borrowed(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_its_line_with_the_words_behind_it() {
        let pairs = [
            ("w", "/who"),
            ("ops", "/say #ops $*"),
            ("swap", "$2 $1 costs $$5"),
            ("again", "/again $*"),
        ];
        let own = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
        let aliases = Aliases(pairs.into_iter().map(own).collect());
        for (typed, meant) in [
            ("/w", "/who"),
            ("/w  x y", "/who x y"),
            ("/ops deploy   now", "/say #ops deploy   now"),
            ("/ops", "/say #ops"),
            ("/swap a b", "b a costs $5"),
            ("/swap a", " a costs $5"),
            ("/again 1", "/again 1"),
            ("//w", "//w"),
            ("w", "w"),
            ("/who", "/who"),
            ("/wh", "/wh"),
        ] {
            assert_eq!(aliases.expand(typed), meant, "{typed}");
            assert_eq!(&*aliases.expand_bytes(typed.as_bytes()), meant.as_bytes());
        }
        assert_eq!(&*aliases.expand_bytes(b"/w\xff"), b"/w\xff");
    }

    #[test]
    fn an_alias_that_is_a_command_is_refused_with_its_own_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yml");
        std::fs::write(&file, "mdns: false\naliases:\n  w: /who\n  who: /members\n").unwrap();
        let sources = crate::config::Sources { file: Some(file.clone()), ..Default::default() };
        let config = Config::load(crate::config::RoleKind::Member, &sources).unwrap();
        let no = Aliases::of(&config).unwrap_err();
        assert_eq!(no.refusal, Refusal::ConfigBad);
        let told = format!("{}:4: aliases: who: /who is a command", file.display());
        assert_eq!(no.detail, told);
    }

    #[test]
    fn a_command_keeps_its_meaning() {
        assert!(slash::is_command("who") && slash::is_command("part"));
        assert!(!slash::is_command("w"));
    }
}
