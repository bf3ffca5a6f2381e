//! Messages said lately, so that what is said about one can name it.
//! Owns: their first words.
//! Must not know: what becomes of a message.
//! Invariants: bounded; what it gives is harmless and on one line.
//! Start reading at: [`Recent::text`].

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::{About, MessageId, MessageView};
use crate::text::{action, lines, one_line};

/// Messages remembered.
const KEPT_MAX: usize = 512;
/// Characters of one that are shown.
const WORDS_CHARS: usize = 32;
/// Digits of the id of one that is not remembered.
const DIGITS: usize = 8;

/// What was said lately.
#[derive(Debug, Default)]
pub(in crate::cli) struct Recent {
    words: BTreeMap<MessageId, String>,
    order: VecDeque<MessageId>,
}

impl Recent {
    /// Remembers a message.
    pub(in crate::cli) fn note(&mut self, view: &MessageView) {
        if !view.about.is_said() || self.words.contains_key(&view.id) {
            return;
        }
        let action = action(&view.text);
        let text = action.unwrap_or(&view.text);
        let mut words: String = one_line(text).chars().take(WORDS_CHARS).collect();
        if text.chars().nth(WORDS_CHARS).is_some() {
            words.push('…');
        }
        let id = match view.about {
            // Further words about it mean the message.
            About::Edit(of) => of,
            _ => view.id,
        };
        let from = one_line(&view.from);
        let words =
            if action.is_some() { format!("* {from} {words}") } else { format!("{from}: {words}") };
        if self.words.insert(id, words).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > KEPT_MAX {
            self.order.pop_front().and_then(|oldest| self.words.remove(&oldest));
        }
    }

    /// The message's text with what it is about.
    pub(in crate::cli) fn text(&self, view: &MessageView) -> String {
        let text = lines(&view.text);
        match &view.about {
            About::Nothing => text,
            About::Reply(of) => format!("[to {}] {text}", self.words(of)),
            About::Edit(of) => format!("[instead of {}] {text}", self.words(of)),
            // What it said is not said once more.
            About::Deletion(of) => format!("[deleted the message {}]", digits(of)),
            About::Reaction { to, is_removed: false } => {
                format!("[{} on {}]", one_line(&view.text), self.words(to))
            }
            About::Reaction { to, is_removed: true } => {
                format!("[no more {} on {}]", one_line(&view.text), self.words(to))
            }
            About::File(terms) => super::files::brought(terms, &view.text, view.is_own),
            About::Application(name) => {
                format!("[{} bytes for {}]", view.text.len(), one_line(name))
            }
        }
    }

    fn words(&self, id: &MessageId) -> String {
        self.words.get(id).cloned().unwrap_or_else(|| digits(id))
    }
}

fn digits(id: &MessageId) -> String {
    id.to_string().chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, PeerId, Seq};
    use crate::time::Wall;

    fn said(n: u16, text: &str, about: About) -> MessageView {
        let mut id = [9; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        MessageView {
            id: MessageId(id),
            room: "main".to_owned(),
            from: "al\u{1b}ice".to_owned(),
            peer: PeerId::of_ed25519(&DeviceKey([1; 32])),
            seq: Seq(1),
            lamport: 1,
            text: text.to_owned(),
            about,
            sent_at: Wall(1),
            expires_at: None,
            is_own: false,
            is_fork: false,
            missing: 0,
            is_ignored: false,
        }
    }

    #[test]
    fn what_is_said_about_a_message_names_it_by_its_first_words() {
        let mut recent = Recent::default();
        let first =
            said(1, "a question that is \u{1b}[2J longer than one wants to read", About::Nothing);
        recent.note(&first);
        let text = recent.text(&said(2, "yes", About::Reply(first.id)));
        assert!(text.starts_with("[to al") && text.ends_with("…] yes"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        recent.note(&said(3, "shorter", About::Edit(first.id)));
        let mark = About::Reaction { to: first.id, is_removed: false };
        assert!(recent.text(&said(4, "+1", mark)).ends_with(": shorter]"));
        assert!(
            recent
                .text(&said(5, "", About::Deletion(first.id)))
                .starts_with("[deleted the message ")
        );
        let unknown = About::Reply(MessageId([0xab; 16]));
        assert_eq!(recent.text(&said(6, "hm", unknown)), "[to abababab] hm");
        let poll = About::Application("poll/1".to_owned());
        assert_eq!(recent.text(&said(7, "{}", poll)), "[2 bytes for poll/1]");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut recent = Recent::default();
        (0..2_000).for_each(|n| recent.note(&said(n, "x", About::Nothing)));
        assert_eq!((recent.words.len(), recent.order.len()), (KEPT_MAX, KEPT_MAX));
    }
}
