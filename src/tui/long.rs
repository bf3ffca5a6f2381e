//! Texts as rows; of long ones the beginning, and how much more there is.
//! Owns: when a text is long, and what of it is shown until somebody opens it.
//! Must not know: who wrote it, how its message is opened.
//! Invariants: of a text that is not open no more is laid out than can be shown of it, what is behind that
//! is only counted; how much is left out is said.
//! Start reading at: [`lay`].

use super::cells::wrap;
use crate::text::{grouped, size};

/// A text of more rows than this is long …
const LONG_FROM: usize = 20;
/// … and shows so many.
const SHOWN: usize = 10;

/// A text as rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Laid {
    pub(super) rows: Vec<String>,
    /// What is left out, in words.
    pub(super) more: Option<String>,
}

/// Lays a text out: its first row in `head` columns where there is room for it behind something else, all
/// others in `max`.
pub(super) fn lay(text: &str, head: Option<usize>, max: usize, is_open: bool) -> Laid {
    // Of each its line, and whether that ends with it.
    let mut rows: Vec<(usize, bool, String)> = Vec::new();
    let mut is_long = false;
    for (n, line) in text.split('\n').enumerate() {
        // More can never be shown, however narrow the screen is.
        let most = (LONG_FROM + 2).saturating_mul(max.max(head.unwrap_or(0)).max(1));
        let cut = line.char_indices().nth(most).filter(|_| !is_open);
        let mut line = cut.map_or(line, |(at, _)| line.get(..at).unwrap_or_default());
        if let Some(head) = head.filter(|_| n == 0) {
            let part = wrap(line, head).into_iter().next().unwrap_or_default();
            line = line.get(part.len()..).unwrap_or_default().trim_start();
            rows.push((n, false, part));
        }
        if !line.is_empty() || n > 0 || head.is_none() {
            rows.extend(wrap(line, max).into_iter().map(|part| (n, false, part)));
        }
        if let Some((_, is_end, _)) = rows.last_mut().filter(|_| cut.is_none()) {
            *is_end = true;
        }
        is_long = !is_open && (cut.is_some() || rows.len() > LONG_FROM);
        if is_long {
            rows.truncate(SHOWN);
            break;
        }
    }
    let (last, is_whole) = rows.last().map_or((0, true), |(n, is_end, _)| (*n, *is_end));
    let rows: Vec<String> = rows.into_iter().map(|(_, _, row)| row).collect();
    let more = is_long.then(|| more(text, last, is_whole, &rows));
    Laid { rows, more }
}

/// What is behind these rows, the last of which is of this line and may be the end of it.
fn more(text: &str, last: usize, is_whole: bool, rows: &[String]) -> String {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    if !is_whole {
        let shown = rows.iter().map(String::len).sum::<usize>().saturating_add(last);
        return format!("{} more", size(count(text.len().saturating_sub(shown))));
    }
    match text.split('\n').skip(last + 1).count() {
        1 => "1 more line".to_owned(),
        lines => format!("{} more lines", grouped(count(lines))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(text: &str, head: Option<usize>, max: usize) -> (Vec<String>, Option<String>) {
        let Laid { rows, more } = lay(text, head, max, false);
        (rows, more)
    }

    #[test]
    fn a_text_begins_behind_something_and_goes_on_below() {
        let rows = |text: &str, head| laid(text, head, 10).0;
        assert_eq!(rows("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(rows("one", Some(7)), ["one"]);
        assert_eq!(rows("one two three", None), ["one two", "three"]);
        assert_eq!(rows("a\n\nb", Some(5)), ["a", "", "b"]);
        assert_eq!((rows("", None), rows("", Some(3))), (vec![String::new()], vec![String::new()]));
    }

    #[test]
    fn of_a_long_one_the_beginning_is_shown_and_how_much_is_left() {
        let lines = |count: usize| vec!["x"; count].join("\n");
        assert_eq!(laid(&lines(20), Some(5), 10), (vec!["x".to_owned(); 20], None));
        let (rows, more) = laid(&lines(21), Some(5), 10);
        assert_eq!((rows.len(), more.as_deref()), (10, Some("11 more lines")));
        let (rows, more) = laid(&lines(10_000), None, 10);
        assert_eq!((rows.len(), more.as_deref()), (10, Some("9,990 more lines")));
        let (rows, more) = laid(&"x".repeat(64 << 10), Some(30), 40);
        assert_eq!((rows.len(), more.as_deref()), (10, Some("63.6 KiB more")));
        // Most of it is behind the last row in the same line.
        let (_, more) = laid(&format!("{}\n{}", "x".repeat(65_000), "y"), None, 40);
        assert_eq!(more.as_deref(), Some("63.0 KiB more"));
        let (_, more) = laid(&format!("{}{}\ny", "x\n".repeat(9), "x".repeat(800)), None, 40);
        assert_eq!(more.as_deref(), Some("762 bytes more"));
        let (_, more) = laid(&format!("{}\n{}", "x".repeat(400), "x\n".repeat(11)), None, 40);
        assert_eq!(more.as_deref(), Some("12 more lines"));
        // Marks that take no room do not hide that something was cut.
        let (rows, more) = laid(&"\u{301}".repeat(30_000), None, 40);
        assert!(rows.len() <= 10 && more.is_some(), "{more:?}");
    }

    #[test]
    fn opened_it_is_all_there() {
        let text = format!("{}\n{}", "word ".repeat(10_000), "\n".repeat(3_000));
        let Laid { rows, more } = lay(&text, Some(20), 60, true);
        assert_eq!((rows.len() > 3_800, more), (true, None));
        let kept = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
        assert_eq!(kept(&rows.concat()), kept(&text));
    }
}
