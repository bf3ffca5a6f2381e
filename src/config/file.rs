//! The settings file: YAML to values, each with its line.
//! Owns: the reading of `config.yml`, and every sentence about what is wrong in it.
//! Must not know: the environment, flags, what the settings are for.
//! Invariants: nothing is taken from a file that has any mistake; every mistake names its line.
//! Start reading at: [`parse`].

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::settings::{self, Key, Kind, SETTINGS, Setting, Value};

/// What one line of the file says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) line: u64,
    /// Of names with text, the line of each.
    pub(super) names: Vec<(String, u64)>,
}

/// A mistake in the file.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Where, if the mistake has a place.
    pub(super) line: Option<u64>,
    /// What is wrong.
    pub(super) what: String,
}

/// Reads the text of a settings file.
pub(super) fn parse(text: &str) -> Result<Vec<Said>, Mistake> {
    if text.starts_with('\u{feff}') {
        return Err(Mistake {
            line: Some(1),
            what: "the file starts with a byte order mark; save it as plain UTF-8".to_owned(),
        });
    }
    if text.trim().is_empty() {
        return Err(Mistake { line: None, what: "the file is empty".to_owned() });
    }
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_comment) {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    };
    let root: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| mistake(&error))?;
    let Node::Section(entries) = root.value else {
        return Err(Mistake {
            line: line_of(&root),
            what: "expected lines of the form \"setting: value\"".to_owned(),
        });
    };
    let mut said = Vec::new();
    section("", entries, &mut said)?;
    Ok(said)
}

fn section(
    path: &str,
    entries: Vec<(Spanned<String>, Node)>,
    said: &mut Vec<Said>,
) -> Result<(), Mistake> {
    for (key, node) in entries {
        let line = line_of(&key);
        let key = key.value;
        let full = if path.is_empty() { key } else { format!("{path}.{key}") };
        if let (Some(setting), Node::Section(entries)) = (settings::by_path(&full), &node)
            && setting.kind == Kind::Pairs
        {
            let value = pairs(setting, &full, entries)?;
            let names = entries.iter().map(|(name, _)| (name.value.clone(), line_of(name)));
            let names = names.filter_map(|(name, line)| Some((name, line?))).collect();
            said.push(Said { setting, value, line: line.unwrap_or(0), names });
        } else if let Some(setting) = settings::by_path(&full) {
            let value = value(setting, node)
                .map_err(|what| Mistake { line, what: format!("{full}: {what}") })?;
            said.push(Said { setting, value, line: line.unwrap_or(0), names: Vec::new() });
        } else if settings::is_section(&full) {
            match node {
                Node::Section(entries) => section(&full, entries, said)?,
                // A section whose settings are all commented out.
                Node::Nothing => {}
                _ => {
                    return Err(Mistake {
                        line,
                        what: format!("{full}: expected settings of its own, one a line below it"),
                    });
                }
            }
        } else {
            let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
            let sections = SETTINGS.iter().filter_map(|s| s.path.split_once('.')).map(|(s, _)| s);
            let paths = || SETTINGS.iter().map(|setting| setting.path);
            // The whole path first; then the last word alone, for what stands in a wrong section.
            let near = settings::nearest(&full, paths().chain(sections)).or_else(|| {
                let word = full.rsplit('.').next().unwrap_or(&full);
                settings::nearest(word, paths().map(last))
                    .and_then(|near| paths().find(|path| last(path) == near))
            });
            let what = match near {
                Some(near) => format!("unknown setting \"{full}\"; did you mean \"{near}\"?"),
                None => format!("unknown setting \"{full}\""),
            };
            return Err(Mistake { line, what });
        }
    }
    Ok(())
}

/// Names with text; each is judged alone first, so that a mistake is told with its own line.
fn pairs(
    setting: &'static Setting,
    full: &str,
    entries: &[(Spanned<String>, Node)],
) -> Result<Value, Mistake> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, node) in entries {
        let wrong = |what: String| Mistake { line: line_of(name), what: format!("{full}: {what}") };
        let text = match node {
            Node::Text(text) => text.clone(),
            Node::Number(number) => number.to_string(),
            _ => return Err(wrong(format!("{}: expected text (in quotes)", name.value))),
        };
        pairs.push((name.value.clone(), text));
        // All up to here: two keys may change places only together.
        let is_last = pairs.len() == entries.len();
        let judged = match is_last || setting.key != Key::Keys {
            true => setting.check(Value::Pairs(pairs.clone())),
            false => {
                let alone = pairs.last().cloned().into_iter().collect();
                let alone = setting.check(Value::Pairs(alone));
                alone.or_else(|what| {
                    // What it clashes with may have gone elsewhere: said at the end.
                    if what.contains(" is bound to ") { Ok(Value::None) } else { Err(what) }
                })
            }
        };
        judged.map_err(wrong)?;
    }
    Ok(Value::Pairs(pairs))
}

fn value(setting: &Setting, node: Node) -> Result<Value, String> {
    let value = match node {
        Node::Nothing => Value::None,
        Node::Switch(on) => Value::Switch(on),
        Node::Number(number) => Value::Number(number),
        Node::Other(found) => return Err(format!("{found} fits no setting")),
        Node::Text(text) => Value::Text(text),
        Node::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| match item {
                    Node::Text(text) => Ok(text),
                    _ => Err("expected a list of text".to_owned()),
                })
                .collect::<Result<_, _>>()?,
        ),
        Node::Section(_) => return Err("expected a value, found settings below it".to_owned()),
    };
    setting.check(value)
}

fn line_of<T>(node: &Spanned<T>) -> Option<u64> {
    Some(node.referenced.line()).filter(|line| *line > 0)
}

fn mistake(error: &serde_saphyr::Error) -> Mistake {
    let formatter: &dyn serde_saphyr::MessageFormatter = &serde_saphyr::UserMessageFormatter;
    let what = formatter.format_message(error.without_snippet());
    Mistake {
        line: error.location().map(|at| at.line()).filter(|line| *line > 0),
        what: crate::text::one_line(&what),
    }
}

/// YAML as it stands, before anybody asks what it means.
#[derive(Debug)]
enum Node {
    Nothing,
    Switch(bool),
    Number(u64),
    /// A negative or broken number, which no setting takes.
    Other(String),
    Text(String),
    List(Vec<Self>),
    Section(Vec<(Spanned<String>, Self)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        inner.deserialize_any(self)
    }
    fn visit_bool<E>(self, on: bool) -> Result<Node, E> {
        Ok(Node::Switch(on))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(u64::try_from(number).map_or_else(|_| Node::Other(number.to_string()), Node::Number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Other(number.to_string()))
    }
    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Section(entries))
    }
}
