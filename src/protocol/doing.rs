//! What takes its time.
//! Owns: [`Doing`] and its words.
//! Must not know: how far it is, how that is shown.
//! Invariants: a word for programs never changes.
//! Start reading at: [`Doing`].

/// What is done for a command that takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Looking through what is stored.
    Searching,
    /// Reading a file, so that it can be sent.
    Reading,
}

impl Doing {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Reading => "reading the file",
        }
    }

    /// In one word, for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Searching => "search",
            Self::Reading => "read",
        }
    }

    /// What has this word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Searching, Self::Reading].into_iter().find(|it| it.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_what_has_it() {
        assert_eq!(Doing::of_word("search"), Some(Doing::Searching));
        assert_eq!(Doing::of_word("read"), Some(Doing::Reading));
        assert_eq!(Doing::of_word("searching"), None);
    }
}
