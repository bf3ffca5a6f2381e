//! What is shown as rows of text: one message, one line of news, days, marks.
//! Owns: the form of every row in the middle of the screen.
//! Must not know: where on the screen a row stands, which colours there are.
//! Invariants: what others wrote is harmless here and cannot pass for a row of ours; a message has
//! at most `SHOWN_LINES_MAX` lines and says how many more there were.
//! Start reading at: [`Said::rows`].

use std::collections::BTreeSet;

use super::cells::{clip, width, wrap};
use crate::ids::{CommandId, PeerId};
use crate::limits::SHOWN_LINES_MAX;
use crate::protocol::{MessageId, MessagePlace, MessageView};
use crate::text::{lines, one_line};
use crate::time::Wall;

/// What a piece of a row is, so that the renderer can colour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// What people say.
    Plain,
    /// The time of day, hints.
    Dim,
    /// A name; the number tells members apart.
    Name(u8),
    /// A message that names us.
    Mention,
    /// How far a message has come.
    Mark,
    /// It did not come far; errors.
    Bad,
    /// News and answers.
    News,
    /// Day lines.
    Day,
    /// Where one stopped reading.
    Marker,
}

/// A row of the middle pane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its pieces from left to right.
    pub spans: Vec<(Tone, String)>,
    /// Whether it belongs to the message that is chosen.
    pub is_chosen: bool,
}

impl Row {
    fn of(tone: Tone, text: String) -> Self {
        Self { spans: vec![(tone, text)], is_chosen: false }
    }

    fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| width(text)).sum()
    }
}

/// The time of day, as a person has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The day.
    pub day: time::Date,
    /// The hour and the minute.
    pub clock: (u8, u8),
}

impl Moment {
    /// Of what the wall says.
    pub fn of(at: Option<time::OffsetDateTime>) -> Self {
        let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        Self { day: at.date(), clock: (at.hour(), at.minute()) }
    }
}

/// How far one's own message has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is not one's own, or nothing is known since this start.
    None,
    /// It is not stored yet.
    Typed(CommandId),
    /// These hold it.
    Sent(BTreeSet<String>),
    /// It was refused, and why.
    Failed(String),
}

/// A message on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// How commands name it; `None` until it is stored.
    pub place: Option<MessagePlace>,
    /// The author's name, harmless.
    pub from: String,
    /// Which of six colours.
    pub hue: u8,
    /// The text, harmless and folded.
    pub text: String,
    /// When its author says it was sent.
    pub sent_at: Wall,
    /// The same on the wall.
    pub moment: Moment,
    /// Whether oneself wrote it.
    pub is_own: bool,
    /// Whether it names us.
    pub is_mention: bool,
    /// How far it has come.
    pub mark: Mark,
}

/// One of six colours, always the same for a peer.
pub(super) fn hue(peer: &PeerId) -> u8 {
    peer.as_bytes().last().copied().unwrap_or(0) % 6
}

/// The text as it may be shown: harmless, and no more lines than a person wants.
pub fn folded(text: &str) -> String {
    // Half-width sound marks are counted twice where they are drawn; the full ones look alike.
    let text = lines(text).replace('\u{FF9E}', "\u{309B}").replace('\u{FF9F}', "\u{309C}");
    let count = text.split('\n').count();
    if count <= SHOWN_LINES_MAX {
        return text;
    }
    let mut kept: Vec<String> = text.split('\n').take(SHOWN_LINES_MAX).map(str::to_owned).collect();
    kept.push(format!("({} more lines)", count - SHOWN_LINES_MAX));
    kept.join("\n")
}

/// Whether the text holds the name as a word of its own, with or without `@`, in any case.
pub fn names(text: &str, name: &str) -> bool {
    if name.is_empty() || text.len() < name.len() {
        return false;
    }
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(&name).any(|(at, found)| {
        let before = text.get(..at).and_then(|it| it.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|it| it.chars().next());
        !is_word(before) && !is_word(after)
    })
}

impl Said {
    /// A message as it came.
    pub fn of(view: &MessageView, me: &str, moment: Moment) -> Self {
        let mut text = folded(&view.text);
        if view.is_fork {
            text.insert_str(0, "[one of several at its place] ");
        }
        Self {
            place: Some(view.place()),
            from: one_line(&view.from),
            hue: hue(&view.peer),
            text,
            sent_at: view.sent_at,
            moment,
            is_own: view.is_own,
            is_mention: !view.is_own && names(&view.text, me),
            mark: Mark::None,
        }
    }

    /// Its id, once it is stored.
    pub fn id(&self) -> Option<MessageId> {
        self.place.map(|place| place.id)
    }

    fn mark_text(&self, others: usize) -> Option<(Tone, String)> {
        Some(match &self.mark {
            Mark::None => return None,
            Mark::Typed(_) => (Tone::Dim, "…".to_owned()),
            Mark::Sent(to) if to.is_empty() => (Tone::Dim, "…".to_owned()),
            Mark::Sent(to) if to.len() >= others => (Tone::Mark, "✓".to_owned()),
            Mark::Sent(to) => (Tone::Mark, format!("{}/{others}", to.len())),
            Mark::Failed(why) => (Tone::Bad, format!("! {why}")),
        })
    }

    /// Its rows in this width; `others` should have it.
    pub fn rows(&self, max: usize, others: usize, is_chosen: bool) -> Vec<Row> {
        let (hour, minute) = self.moment.clock;
        let name = clip(&self.from, (max / 3).max(6));
        let head = vec![
            (Tone::Dim, format!("{hour:02}:{minute:02} ")),
            (Tone::Name(self.hue), format!("<{name}>")),
            (Tone::Plain, " ".to_owned()),
        ];
        // Further lines stand under the name, so that none of them can pass for a message.
        let first = width(&name) + 9;
        let indent = if first * 2 > max { 6.min(max / 4) } else { first };
        let tone = if self.is_mention { Tone::Mention } else { Tone::Plain };
        let mut rows: Vec<Row> = Vec::new();
        for (n, line) in self.text.split('\n').enumerate() {
            let mut left = line.to_owned();
            if n == 0 {
                let mut row = Row { spans: head.clone(), is_chosen };
                if first < max {
                    let mut parts = wrap(line, max - first).into_iter();
                    let part = parts.next().unwrap_or_default();
                    left = if first == indent {
                        parts.collect::<Vec<_>>().join("\n")
                    } else {
                        line.get(part.len()..).unwrap_or_default().trim_start().to_owned()
                    };
                    row.spans.push((tone, part));
                }
                rows.push(row);
                if left.is_empty() {
                    continue;
                }
            }
            for part in left.split('\n').flat_map(|it| wrap(it, max.saturating_sub(indent))) {
                let spans = vec![(Tone::Plain, " ".repeat(indent)), (tone, part)];
                rows.push(Row { spans, is_chosen });
            }
        }
        if let Some((tone, mark)) = self.mark_text(others)
            && let Some(last) = rows.last_mut()
        {
            if last.width() + 1 + width(&mark) <= max {
                last.spans.push((tone, format!(" {mark}")));
            } else {
                let mark = clip(&mark, max.saturating_sub(indent));
                let spans = vec![(Tone::Plain, " ".repeat(indent)), (tone, mark)];
                rows.push(Row { spans, is_chosen });
            }
        }
        rows
    }
}

/// A line of news or of an answer, in this width.
pub fn news_rows(text: &str, is_bad: bool, max: usize) -> Vec<Row> {
    let tone = if is_bad { Tone::Bad } else { Tone::News };
    let mut rows = Vec::new();
    for line in text.split('\n') {
        for (n, part) in wrap(line, max.saturating_sub(3)).into_iter().enumerate() {
            let lead = if n == 0 { "-- " } else { "   " };
            rows.push(Row::of(tone, format!("{lead}{part}")));
        }
    }
    rows
}

/// A line across the pane with a word in it.
pub fn ruler(tone: Tone, word: &str, max: usize) -> Row {
    let word = clip(&format!(" {word} "), max.saturating_sub(4));
    let rest = max.saturating_sub(width(&word) + 2);
    Row::of(tone, format!("──{word}{}", "─".repeat(rest)))
}
