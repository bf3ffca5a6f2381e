//! `/copy`: what stands on the screen in pieces, whole on the clipboard of the terminal.
//! Owns: what is meant by it, how the terminal is told, and which invites were made on this screen.
//! Must not know: keys, the terminal itself.
//! Invariants: what goes to the clipboard is harmless as it is on the screen, ends in no new line, and
//! has a bound; nothing goes there but by a person's command.
//! Start reading at: `State::copy`.
//!
//! By OSC 52, which goes through ssh, and through tmux where its `set-clipboard` is on. No terminal
//! says whether it obeyed.

use super::cells::clip;
use super::look::Said;
use super::room::Item;
use super::state::{Effect, State};
use crate::protocol::Notice;
use crate::text::{grouped, lines};
use crate::time::Now;

/// What a clipboard is given at most; some terminals take no more than 74,994 bytes in base64.
const COPY_BYTES_MAX: usize = 48 << 10;
/// A word from this length on may be broken over rows: an invite, a code, a link.
const LONG: usize = 20;
/// Lines that are looked through for one.
const ITEMS_MAX: usize = 500;
/// Digits that name a message at the least.
const ID_DIGITS_MIN: usize = 4;
/// Columns of what is shown of it.
const SHOWN: usize = 24;
/// Invites that are kept.
const INVITES_MAX: usize = 16;

/// What tells a terminal to put a text on its clipboard.
pub fn osc52(text: &str) -> Vec<u8> {
    format!("\u{1b}]52;c;{}\u{7}", base64(text.as_bytes())).into_bytes()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for three in bytes.chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for n in 0..4_usize {
            let digit = usize::try_from((bits >> (18 - 6 * n)) & 63).unwrap_or(0);
            let digit = DIGITS.get(digit).map_or('=', |digit| char::from(*digit));
            text.push(if n > three.len() { '=' } else { digit });
        }
    }
    text
}

/// The longest word of a line, if it is a long one. What stands around it is none of it.
fn long_word(line: &str) -> Option<&str> {
    let words = line.split_whitespace().map(|word| word.trim_matches(['(', ')', '<', '>', '"']));
    // Of a QR code every row is long, and no word.
    let words = words.filter(|word| word.contains(|c: char| c.is_ascii_alphanumeric()));
    words.max_by_key(|word| word.len()).filter(|word| word.len() >= LONG)
}

impl State {
    /// Copies what these words mean: nothing, the newest long word on this screen; `last`, the newest
    /// message; an id, the message whose id begins so; with `id` before it that message's id.
    pub(super) fn copy(&mut self, words: &str, now: Now) {
        let (of_id, what) = match words.strip_prefix("id").map(str::trim_start) {
            Some(what) if words.len() == 2 || words.starts_with("id ") => (true, what),
            _ => (false, words),
        };
        let found = match what {
            "" if !of_id => self.newest_long_word().ok_or("nothing here is long and in one piece"),
            "" | "last" => self.newest_said().and_then(|said| self.text_of(said, of_id)),
            digits => self.said_of_id(digits).and_then(|said| self.text_of(said, of_id)),
        };
        match found {
            Ok(text) if text.len() > COPY_BYTES_MAX => {
                self.say_hint("that is too long for a clipboard: /export writes a file", now);
            }
            Ok(text) => {
                let count = grouped(u64::try_from(text.chars().count()).unwrap_or(u64::MAX));
                let shown = clip(&text.replace('\n', " "), SHOWN);
                self.say_hint(&format!("copied {count} characters: {shown}"), now);
                self.effects.push(Effect::Copy(text));
            }
            Err(why) => self.say_hint(why, now),
        }
    }

    fn newest_long_word(&self) -> Option<String> {
        let items = self.room()?.items().rev().take(ITEMS_MAX);
        let texts = items.filter_map(|item| match item {
            Item::News(line, _) => Some(line),
            Item::Said(said) if said.is_deleted => None,
            Item::Said(said) => Some(&said.text),
        });
        texts.filter_map(|text| long_word(text)).map(str::to_owned).next()
    }

    fn newest_said(&self) -> Result<&Said, &'static str> {
        let newest = self.room().and_then(|room| room.newest());
        newest.ok_or("nothing was said here yet")
    }

    fn said_of_id(&self, digits: &str) -> Result<&Said, &'static str> {
        let digits = digits.to_ascii_lowercase();
        let is_id =
            digits.len() >= ID_DIGITS_MIN && digits.bytes().all(|it| it.is_ascii_hexdigit());
        if !is_id {
            return Err("usage: /copy [id] [last|ID]; ID: four or more digits of a message's");
        }
        let begins = |said: &&Said| said.id().is_some_and(|id| id.to_string().starts_with(&digits));
        let mut found =
            self.room().into_iter().flat_map(|room| room.messages().rev().filter(begins));
        match (found.next(), found.next()) {
            (Some(said), None) => Ok(said),
            (None, _) => Err("no message here begins with that: scroll to it first"),
            (Some(_), Some(_)) => Err("several messages begin with that: more digits, please"),
        }
    }

    /// All of it, also what is not shown of a long one.
    fn text_of(&self, said: &Said, of_id: bool) -> Result<String, &'static str> {
        let id = said.id();
        if of_id {
            return id.map(|id| id.to_string()).ok_or("it is not stored yet");
        }
        if said.is_deleted {
            return Err(match said.is_ended {
                true => "that message has expired",
                false => "that message was deleted",
            });
        }
        let told = id.and_then(|id| self.fold.told(&id));
        let text = told.map_or_else(|| said.text.clone(), |told| lines(&told.view.text));
        Ok(text.trim_end().to_owned())
    }

    /// Whether an answer is a long word to pass on. An invite is told this once alone: it is kept, to
    /// be told again at the end.
    pub(super) fn is_to_be_copied(&mut self, answer: &Notice) -> bool {
        let Notice::Invite { text: Some(text), .. } = answer else {
            return matches!(answer, Notice::Code { .. });
        };
        if self.invites.len() < INVITES_MAX && !self.invites.contains(text) {
            self.invites.push(text.clone());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clipboard_gets_the_text_and_the_terminal_nothing_else() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{fb}\u{1b}]0;\u{7}", "w7sbXTA7Bw=="),
        ] {
            assert_eq!(osc52(text), format!("\u{1b}]52;c;{coded}\u{7}").into_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_long_word_is_found_in_its_line() {
        let code = "p2pgroup1-abcdefghijklmnopqrstuvw";
        assert_eq!(long_word(code), Some(code));
        assert_eq!(long_word(&format!("take this ({code}) today")), Some(code));
        assert_eq!(long_word("nothing long is in here"), None);
        assert_eq!(long_word(&"\u{2588}\u{2580}".repeat(30)), None);
    }
}
