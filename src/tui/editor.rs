//! The line that is being typed.
//! Owns: its text, the cursor, what was cut, and the lines typed before.
//! Must not know: what a line means.
//! Invariants: the cursor stands between graphemes; the text is never longer than a message.
//! Start reading at: [`Editor`].

use unicode_segmentation::UnicodeSegmentation;

use crate::limits::TEXT_BYTES_MAX;

/// Lines remembered.
const PAST_MAX: usize = 500;

/// A text with a cursor.
#[derive(Clone, Debug, Default)]
pub struct Editor {
    before: String,
    after: String,
    cut: String,
    past: Vec<String>,
    /// Which of `past` is shown, and what was being typed before.
    recalled: Option<(usize, String)>,
}

impl Editor {
    /// The text.
    pub fn text(&self) -> String {
        format!("{}{}", self.before, self.after)
    }

    /// What stands before the cursor, and after it.
    pub fn parts(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }

    /// Whether nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Puts text at the cursor, as far as a message may be long. `false`: it was too long.
    pub fn insert(&mut self, text: &str) -> bool {
        let room = (TEXT_BYTES_MAX + 2).saturating_sub(self.before.len() + self.after.len());
        if text.len() > room {
            return false;
        }
        self.before.push_str(text);
        true
    }

    /// Replaces all; the cursor goes to the end.
    pub fn set(&mut self, text: &str) {
        text.clone_into(&mut self.before);
        self.after.clear();
    }

    /// Replaces what stands before the cursor.
    pub fn set_before(&mut self, text: &str) {
        text.clone_into(&mut self.before);
    }

    /// Takes the line, and remembers it.
    pub fn take(&mut self) -> String {
        let text = self.text();
        self.set("");
        self.recalled = None;
        if !text.trim().is_empty() && self.past.last() != Some(&text) {
            self.past.push(text.clone());
            if self.past.len() > PAST_MAX {
                self.past.remove(0);
            }
        }
        text
    }

    /// Drops what is typed.
    pub fn clear(&mut self) {
        self.set("");
        self.recalled = None;
    }

    /// One grapheme to the left.
    pub fn left(&mut self) {
        let last = self.before.graphemes(true).next_back().map_or(0, str::len);
        let tail = self.before.split_off(self.before.len() - last);
        self.after.insert_str(0, &tail);
    }

    /// One grapheme to the right.
    pub fn right(&mut self) {
        let first = self.after.graphemes(true).next().map_or(0, str::len);
        self.before.extend(self.after.drain(..first));
    }

    /// To the start of the line.
    pub fn home(&mut self) {
        let start = self.before.rfind('\n').map_or(0, |at| at + 1);
        let tail = self.before.split_off(start);
        self.after.insert_str(0, &tail);
    }

    /// To the end of the line.
    pub fn end(&mut self) {
        let end = self.after.find('\n').unwrap_or(self.after.len());
        self.before.extend(self.after.drain(..end));
    }

    /// Deletes the grapheme before the cursor.
    pub fn backspace(&mut self) {
        let last = self.before.graphemes(true).next_back().map_or(0, str::len);
        self.before.truncate(self.before.len() - last);
    }

    /// Deletes the grapheme after the cursor.
    pub fn delete(&mut self) {
        let first = self.after.graphemes(true).next().map_or(0, str::len);
        self.after.drain(..first);
    }

    fn word_start(&self) -> usize {
        let trimmed = self.before.trim_end();
        trimmed.rfind(char::is_whitespace).map_or(0, |at| {
            at + trimmed.get(at..).and_then(|it| it.chars().next()).map_or(1, char::len_utf8)
        })
    }

    /// Cuts everything before the cursor.
    pub fn cut_start(&mut self) {
        self.cut = std::mem::take(&mut self.before);
    }

    /// Cuts everything after the cursor.
    pub fn cut_end(&mut self) {
        self.cut = std::mem::take(&mut self.after);
    }

    /// Cuts the word before the cursor.
    pub fn cut_word(&mut self) {
        self.cut = self.before.split_off(self.word_start());
    }

    /// Puts what was cut last at the cursor.
    pub fn paste_cut(&mut self) {
        let cut = std::mem::take(&mut self.cut);
        self.insert(&cut);
        self.cut = cut;
    }

    /// To the start of the word before the cursor.
    pub fn word_left(&mut self) {
        let tail = self.before.split_off(self.word_start());
        self.after.insert_str(0, &tail);
    }

    /// Behind the word after the cursor.
    pub fn word_right(&mut self) {
        let start = self.after.len() - self.after.trim_start().len();
        let rest = self.after.trim_start();
        let end = start + rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.before.extend(self.after.drain(..end));
    }

    /// The line typed before.
    pub fn older(&mut self) {
        let at = self.recalled.as_ref().map_or(self.past.len(), |(at, _)| *at);
        let Some(line) = at.checked_sub(1).and_then(|at| self.past.get(at)).cloned() else {
            return;
        };
        let draft = self.recalled.take().map_or_else(|| self.text(), |(_, draft)| draft);
        self.recalled = Some((at - 1, draft));
        self.set(&line);
    }

    /// The line typed after; then what was being typed.
    pub fn newer(&mut self) {
        let Some((at, draft)) = self.recalled.take() else { return };
        match self.past.get(at + 1).cloned() {
            Some(line) => {
                self.recalled = Some((at + 1, draft));
                self.set(&line);
            }
            None => self.set(&draft),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        assert!(editor.insert(text));
        editor
    }

    #[test]
    fn the_cursor_moves_by_graphemes_and_words() {
        let mut line = typed("ab 👩\u{200d}🚀");
        line.left();
        assert_eq!(line.parts(), ("ab ", "👩\u{200d}🚀"));
        line.backspace();
        line.insert("x");
        line.right();
        line.right();
        assert_eq!(line.parts(), ("abx👩\u{200d}🚀", ""));
        line.backspace();
        assert_eq!(line.text(), "abx");
        let mut line = typed("one two three");
        line.word_left();
        line.word_left();
        assert_eq!(line.parts(), ("one ", "two three"));
        line.word_right();
        assert_eq!(line.parts(), ("one two", " three"));
        line.home();
        line.delete();
        line.end();
        assert_eq!(line.parts(), ("ne two three", ""));
    }

    #[test]
    fn what_is_cut_can_be_put_elsewhere() {
        let mut line = typed("one two three");
        line.cut_word();
        assert_eq!(line.text(), "one two ");
        line.home();
        line.paste_cut();
        assert_eq!(line.parts(), ("three", "one two "));
        line.cut_end();
        line.cut_start();
        assert_eq!(line.text(), "");
        line.paste_cut();
        assert_eq!(line.text(), "three");
    }

    #[test]
    fn lines_are_recalled_and_the_draft_comes_back() {
        let mut line = typed("first");
        line.take();
        line.insert("second");
        line.take();
        line.insert("draft");
        line.older();
        line.older();
        line.older();
        assert_eq!(line.text(), "first");
        line.newer();
        assert_eq!(line.text(), "second");
        line.newer();
        assert_eq!(line.text(), "draft");
        line.newer();
        assert_eq!(line.text(), "draft");
    }

    #[test]
    fn a_line_is_no_longer_than_a_message() {
        let mut line = typed(&"x".repeat(TEXT_BYTES_MAX));
        assert!(!line.insert("yyy"));
        assert_eq!(line.text().len(), TEXT_BYTES_MAX);
    }
}
