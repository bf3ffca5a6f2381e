//! Settings of how things look and sound to a person.
//! Owns: the words of `color` and `notify`.
//! Must not know: terminals.
//! Invariants: none of its own.
//! Start reading at: [`Notify`].

/// How the terminal calls a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Not at all.
    None,
    /// With its bell.
    Bell,
    /// With a notification, where it knows OSC 9.
    Osc9,
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Notify {
    pub(super) fn of(word: Option<&str>) -> Self {
        match word {
            Some("none") => Self::None,
            Some("osc9") => Self::Osc9,
            _ => Self::Bell,
        }
    }
}

impl Color {
    pub(super) fn of(word: Option<&str>) -> Self {
        match word {
            Some("always") => Self::Always,
            Some("never") => Self::Never,
            _ => Self::Auto,
        }
    }
}
