//! Text from other people, made harmless before it meets a terminal or a log.
//! Owns: which characters may be shown and what the others turn into.
//! Must not know: where the text is shown.
//! Invariants: what leaves here holds no control character but, in [`lines`], the newline.
//! Start reading at: [`one_line`].

use unicode_normalization::UnicodeNormalization;

/// Characters that change how the text around them is shown: bidi marks, invisible ones, tags.
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The text as one line: control and deceptive characters become visible escapes.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut shown, c);
    }
    shown
}

/// The text as lines: as [`one_line`], but newlines stay and tabs become spaces.
pub fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            other => push(&mut shown, other),
        }
    }
    shown
}

fn push(shown: &mut String, c: char) {
    // Emoji need the joiner and the presentation selectors; they reorder nothing.
    if matches!(c, '\u{200D}' | '\u{FE0E}' | '\u{FE0F}') {
        shown.push(c);
    } else if c.is_control() || is_deceptive(c) {
        shown.extend(c.escape_unicode());
    } else {
        shown.push(c);
    }
}

/// NFC, the form in which names are compared and stored.
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_would_move_the_cursor_are_shown() {
        assert_eq!(one_line("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(one_line("\u{202e}evil\r\n"), "\\u{202e}evil\\u{d}\\u{a}");
        assert_eq!(one_line("c1 \u{9b}31m"), "c1 \\u{9b}31m");
    }

    #[test]
    fn lines_keep_newlines_and_emoji_stay_whole() {
        assert_eq!(lines("a\nb\tc"), "a\nb    c");
        assert_eq!(one_line("👩\u{200d}🚀"), "👩\u{200d}🚀");
    }
}
