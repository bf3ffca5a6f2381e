//! How much room text takes on a screen, and where it breaks.
//! Owns: measuring, clipping and wrapping, by graphemes.
//! Must not know: what the text is; colours.
//! Invariants: no line is wider than asked, save one grapheme that is itself; nothing is lost.
//! Start reading at: [`wrap`].

use std::borrow::Cow;
use std::ops::RangeInclusive;

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// The columns of one grapheme, exactly as they will be drawn.
fn columns(grapheme: &str) -> usize {
    // A control character is not drawn; none should come so far.
    if grapheme.chars().any(char::is_control) { 0 } else { usize::from(grapheme.cell_width()) }
}

/// The columns that a text takes in one line.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true).map(columns).sum()
}

/// The text as it is drawn, as wide as before. Terminals disagree on how wide a flag and a skin tone
/// are: tmux 3.3 keeps the two halves of a flag in cells of their own and a tone in two more, so that
/// what is written over the first half leaves the other one there. So a flag is drawn as its letters,
/// and a tone behind what it colours not at all.
pub fn drawn(text: &str) -> Cow<'_, str> {
    const TONES: RangeInclusive<char> = '\u{1F3FB}'..='\u{1F3FF}';
    let is_odd = |c: char| letter(c).is_some() || TONES.contains(&c);
    if text.is_ascii() || !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut drawn = String::with_capacity(text.len());
    for grapheme in text.graphemes(true) {
        for (n, c) in grapheme.chars().enumerate() {
            match letter(c) {
                Some(letter) => drawn.push(letter),
                None if n > 0 && TONES.contains(&c) => {}
                None => drawn.push(c),
            }
        }
    }
    Cow::Owned(drawn)
}

/// The letter that a half of a flag stands for.
fn letter(c: char) -> Option<char> {
    let at = u32::from(c).checked_sub(0x1F1E6).filter(|at| *at < 26)?;
    char::from_u32(u32::from('A') + at)
}

/// What of the text fits, with `…` where something was left out.
pub fn clip(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut used = 1;
    for grapheme in text.graphemes(true) {
        used += columns(grapheme);
        if used > max {
            break;
        }
        clipped.push_str(grapheme);
    }
    if max > 0 {
        clipped.push('…');
    }
    clipped
}

/// The text, clipped, with spaces up to that width.
pub fn pad(text: &str, to: usize) -> String {
    let mut padded = clip(text, to);
    padded.extend(std::iter::repeat_n(' ', to.saturating_sub(width(&padded))));
    padded
}

/// Whether a line may be broken between these two: beside a space, and beside what is written without
/// spaces.
fn may_break(before: &str, after: &str) -> bool {
    let is_loose = |grapheme: Option<&str>| {
        grapheme.is_none_or(|it| it.chars().all(char::is_whitespace) || columns(it) > 1)
    };
    is_loose(before.graphemes(true).next_back()) || is_loose(after.graphemes(true).next())
}

/// What stays together where it fits into a row: a date, a path, a word with its brackets; what does not
/// fit falls into its words.
fn pieces(line: &str, max: usize) -> Vec<&str> {
    let mut pieces: Vec<&str> = Vec::new();
    // Of the piece that is being put together: where it begins, and its words.
    let (mut start, mut wide, mut words) = (0, 0, Vec::new());
    for (at, word) in line.split_word_bound_indices() {
        let piece = line.get(start..at).unwrap_or_default();
        if may_break(piece, word) || wide > max {
            close(piece, &mut words, max, &mut pieces);
            (start, wide) = (at, 0);
        }
        wide += width(word);
        words.push(word);
    }
    close(line.get(start..).unwrap_or_default(), &mut words, max, &mut pieces);
    pieces
}

/// A piece is whole; these are its words.
fn close<'a>(piece: &'a str, words: &mut Vec<&'a str>, max: usize, pieces: &mut Vec<&'a str>) {
    if width(piece) <= max {
        words.clear();
        pieces.push(piece);
    } else {
        pieces.append(words);
    }
}

/// Breaks one line into several: between words where there are any, else between graphemes.
pub fn wrap(line: &str, max: usize) -> Vec<String> {
    let max = max.max(1);
    if line.is_ascii() && line.len() <= max {
        return vec![line.to_owned()];
    }
    let mut rows = Vec::new();
    let (mut row, mut used) = (String::new(), 0);
    for word in pieces(line, max) {
        let wide = width(word);
        if used + wide <= max {
            row.push_str(word);
            used += wide;
        } else if word.trim().is_empty() {
            // The break stands for the space.
            rows.push(std::mem::take(&mut row));
            used = 0;
        } else if wide <= max {
            rows.push(std::mem::take(&mut row).trim_end().to_owned());
            row.push_str(word);
            used = wide;
        } else {
            for grapheme in word.graphemes(true) {
                let wide = columns(grapheme);
                if used + wide > max && used > 0 {
                    rows.push(std::mem::take(&mut row));
                    used = 0;
                }
                row.push_str(grapheme);
                used += wide;
            }
        }
    }
    if !row.is_empty() || rows.is_empty() {
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_emoji_and_marks_are_measured_as_they_are_drawn() {
        for (text, columns) in [
            ("abc", 3),
            ("日本", 4),
            ("e\u{301}", 1),
            ("👩\u{200d}🚀", 2),
            ("🇩🇪", 2),
            ("שלום", 4),
            ("", 0),
        ] {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn a_flag_is_drawn_as_its_letters_and_a_skin_tone_not_at_all_as_wide_as_before() {
        for (text, shown) in [
            ("go 🇩🇪🇫🇷!", "go DEFR!"),
            ("🇩", "D"),
            ("👍🏽 ok", "👍 ok"),
            ("👩🏽\u{200d}🚀", "👩\u{200d}🚀"),
            ("🏽", "🏽"),
            ("日本 e\u{301}", "日本 e\u{301}"),
        ] {
            assert_eq!(drawn(text), shown);
            assert_eq!(width(text), width(shown), "{text}");
        }
    }

    #[test]
    fn lines_break_between_words_and_long_words_between_graphemes() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("日本語日本", 5), ["日本", "語日", "本"]);
        // What belongs together stays so where it fits.
        assert_eq!(wrap("until 2027-02-21 (or so)", 12), ["until", "2027-02-21", "(or so)"]);
        assert_eq!(wrap("see /a/b-c.d/e", 10), ["see", "/a/b-c.d/e"]);
        assert_eq!(wrap("see /a/b-c.d/e", 7), ["see /a/", "b-c.d/e"]);
        assert_eq!(wrap("in 日本語日本", 8), ["in 日本", "語日本"]);
        assert_eq!(wrap("a 👩\u{200d}🚀👩\u{200d}🚀", 3), ["a", "👩\u{200d}🚀", "👩\u{200d}🚀"]);
        for max in 1..20 {
            let text = "the 日本 quick👩\u{200d}🚀 brown שלום fooooooooooooooooox";
            let rows = wrap(text, max);
            assert!(rows.iter().all(|row| width(row) <= max.max(2)), "{max}: {rows:?}");
            let kept = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            assert_eq!(kept(&rows.concat()), kept(text), "{max}");
        }
    }

    #[test]
    fn what_does_not_fit_is_clipped_visibly() {
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("日本語", 4), "日…");
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abc", 0), "");
        assert_eq!(pad("日", 4), "日  ");
    }
}
