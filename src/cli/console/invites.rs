//! An invite in lines for people, and its picture where there is a terminal to show it.
//! Owns: whose terminal that is.
//! Must not know: how an invite is made, how a picture is drawn.
//! Invariants: a picture goes to whoever asked, as wide as its terminal has room, and into no pipe.
//! Start reading at: [`Face::invite`].

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::Face;
use crate::cli::invite;
use crate::protocol::{InviteText, InviteView};
use crate::tui::run::columns;

/// Where answers are shown that are no words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Window {
    /// In the terminal of this process, if it has one.
    #[default]
    Own,
    /// In the terminal of whoever asks, which has so many columns; `None`: in no terminal.
    Asker(Option<usize>),
}

impl Window {
    /// How wide a picture may be; `None`: there is nobody to see one.
    fn columns(self) -> Option<Option<usize>> {
        match self {
            Self::Own => std::io::stdout().is_terminal().then(columns),
            Self::Asker(columns) => columns.map(Some),
        }
    }
}

impl Face {
    /// From now on answers are for this window.
    pub(in crate::cli) fn show_in(&mut self, window: Window) {
        self.window = window;
    }

    /// An invite on a line of its own, so that it can be copied; in a terminal with its picture.
    pub(super) fn invite(&self, view: &InviteView, text: Option<&InviteText>, out: &mut String) {
        let Some(InviteText { text, is_local }) = text else {
            return self.answer_line(invite::row_line(view).trim_end(), out);
        };
        if let Some(columns) = self.window.columns()
            && let Some(picture) = invite::picture(text, self.style.is_colored, columns)
        {
            out.push_str(&picture);
        }
        for line in invite::notes(view, *is_local).lines() {
            self.answer_line(line, out);
        }
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{}", text.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::{Clock, Style};
    use crate::protocol::InviteState;
    use crate::time::Wall;

    fn view() -> InviteView {
        InviteView {
            id: "3f9a".to_owned(),
            name: String::new(),
            room: String::new(),
            uses: 1,
            used: None,
            issued_at: Wall(0),
            expires_at: Wall(1_000),
            state: InviteState::Valid,
            revoked_at: None,
            reason: String::new(),
        }
    }

    #[test]
    fn the_picture_is_for_the_terminal_of_who_asks() {
        let style = Style { is_colored: false, is_quiet: false, clock: Clock::Utc };
        let mut face = Face::new(style);
        let view = view();
        let text = InviteText {
            text: zeroize::Zeroizing::new("p2pgroup1-abc".to_owned()),
            is_local: false,
        };
        let mut shown = |window| {
            let mut out = String::new();
            face.show_in(window);
            face.invite(&view, Some(&text), &mut out);
            out
        };
        let is_drawn = |shown: &str| shown.contains(['█', '▀', '▄']);
        assert!(is_drawn(&shown(Window::Asker(Some(80)))));
        assert!(shown(Window::Asker(Some(10))).contains("columns wide, and there are 10 here"));
        let into_a_pipe = shown(Window::Asker(None));
        assert!(into_a_pipe.starts_with("-- invite ") && !is_drawn(&into_a_pipe), "{into_a_pipe}");
        assert!(into_a_pipe.ends_with("\np2pgroup1-abc\n"));
    }
}
