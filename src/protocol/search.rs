//! What is searched for, and what a text offers to a search: words, the same for index and scan.
//! Owns: how a text falls into words, and when a text holds those that are asked for.
//! Must not know: rooms, entries, how an index is kept.
//! Invariants: a word holds no space, no quote, no control character; what the index finds is what
//! [`Words::matches`] finds.
//! Start reading at: [`Words::parse`].

use crate::refusal::{Refusal, Refused};
use crate::text::{is_deceptive, nfc};

/// Words of one question at most.
const TERMS_MAX: usize = 16;
/// Characters of one word that count.
const TOKEN_CHARS_MAX: usize = 64;

/// What is searched for: a text must hold all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<Term>);

/// One word as typed; it may fall into several, which must then follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Never empty.
    pub tokens: Vec<String>,
    /// Whether the last of them may go on: `deploy*`.
    pub is_prefix: bool,
}

impl Words {
    /// Understands what was typed: words, each of which may end in `*`.
    ///
    /// # Refusals
    /// [`Refusal::CommandBad`]: there is no word in it, or there are too many.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut terms = Vec::new();
        for typed in text.split_whitespace() {
            let tokens = tokens(typed);
            if !tokens.is_empty() {
                terms.push(Term { tokens, is_prefix: typed.ends_with('*') });
            }
        }
        match terms.len() {
            0 => Err(Refused::new(Refusal::CommandBad, "a search needs a word to look for")),
            1..=TERMS_MAX => Ok(Self(terms)),
            _ => {
                let detail = format!("a search takes at most {TERMS_MAX} words");
                Err(Refused::new(Refusal::CommandBad, detail))
            }
        }
    }

    /// What must all be in a text.
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// Whether a text holds all of it.
    pub fn matches(&self, text: &str) -> bool {
        let tokens = tokens(text);
        self.0.iter().all(|term| term.is_in(&tokens))
    }
}

impl Term {
    fn is_in(&self, tokens: &[String]) -> bool {
        let Some((last, first)) = self.tokens.split_last() else { return false };
        tokens.windows(self.tokens.len()).any(|window| {
            window.split_last().is_some_and(|(end, start)| {
                let is_end = end == last || self.is_prefix && end.starts_with(last.as_str());
                start == first && is_end
            })
        })
    }
}

/// The words of a text in order: in lower case, without what stands between them. Scripts without
/// spaces and emoji fall into single characters.
pub fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut length = 0;
    let mut end = |word: &mut String, length: &mut usize| {
        if !word.is_empty() {
            found.push(std::mem::take(word));
        }
        *length = 0;
    };
    for c in nfc(text).chars().flat_map(char::to_lowercase) {
        match part(c) {
            Part::Between => end(&mut word, &mut length),
            Part::Alone => {
                end(&mut word, &mut length);
                word.push(c);
                end(&mut word, &mut length);
            }
            Part::Inside if length < TOKEN_CHARS_MAX => {
                word.push(c);
                length = length.saturating_add(1);
            }
            Part::Inside | Part::Nothing => {}
        }
    }
    end(&mut word, &mut length);
    found
}

enum Part {
    Inside,
    Alone,
    Between,
    Nothing,
}

fn part(c: char) -> Part {
    match c {
        c if c.is_ascii_alphanumeric() => Part::Inside,
        c if c.is_ascii() || c.is_whitespace() || c.is_control() => Part::Between,
        // Marks that are not seen part nothing.
        c if is_deceptive(c) => Part::Nothing,
        '\u{2E80}'..='\u{2FFF}'
        | '\u{3040}'..='\u{30FF}'
        | '\u{3400}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}' => Part::Alone,
        '\u{2600}'..='\u{27BF}' | '\u{1F000}'..='\u{1FAFF}' => Part::Alone,
        c if c.is_alphanumeric() => Part::Inside,
        '\u{80}'..='\u{BF}'
        | '\u{D7}'
        | '\u{F7}'
        | '\u{2000}'..='\u{2BFF}'
        | '\u{3000}'..='\u{303F}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF00}'..='\u{FFEF}' => Part::Between,
        // Combining marks and signs of scripts that have them.
        _ => Part::Inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(words: &str, text: &str) -> bool {
        Words::parse(words).unwrap().matches(text)
    }

    #[test]
    fn a_text_falls_into_words_without_case_and_signs() {
        assert_eq!(tokens("Deploy (v2.1) DONE!"), ["deploy", "v2", "1", "done"]);
        assert_eq!(tokens("\u{1b}[2J\"quoted\" a\u{0301}pfel"), ["2j", "quoted", "ápfel"]);
        assert_eq!(tokens("你好 hi🚀"), ["你", "好", "hi", "🚀"]);
        assert_eq!(tokens(" .,;\n"), Vec::<String>::new());
        assert_eq!(tokens(&"x".repeat(100)), ["x".repeat(64)]);
    }

    #[test]
    fn all_words_must_be_there_whole_or_as_far_as_the_star() {
        assert!(finds("DONE deploy", "the deploy is done"));
        assert!(!finds("deploy gone", "the deploy is done"));
        assert!(!finds("depl", "the deploy is done") && finds("depl*", "the deploy is done"));
        assert!(finds("v2.1", "now v2.1") && !finds("v2.1", "v2 and 1"));
        assert!(finds("v2.1*", "now v2.17"));
        assert!(
            finds("ÄRGER", "viel ärger") && finds("你好", "说你好吗") && !finds("你好", "好你")
        );
    }

    #[test]
    fn a_search_without_words_or_with_too_many_is_refused() {
        for bad in ["", "  ", "* ...", &"a ".repeat(17)] {
            assert_eq!(Words::parse(bad).unwrap_err().refusal, Refusal::CommandBad, "{bad}");
        }
    }
}
