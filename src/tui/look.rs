//! What is shown as rows of text: one message, one line of news, days, marks.
//! Owns: the form of every row in the middle of the screen.
//! Must not know: where on the screen a row stands, which colours there are.
//! Invariants: what others wrote is harmless here and cannot pass for a row of ours; of a long message
//! the beginning is shown until it is opened.
//! Start reading at: [`Said::rows`].

use std::collections::BTreeSet;

use super::cells::{clip, width, wrap};
use super::long::lay;
use crate::ids::{CommandId, PeerId, Seq};
use crate::limits::SHOWN_LINES_MAX;
use crate::protocol::fold;
use crate::protocol::{About, MessageId, MessagePlace};
use crate::text::{action, lines, on_their_way, one_line, size};
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
    /// Where it stands among the others.
    pub order: (u64, PeerId, Seq),
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// The text, harmless.
    pub text: String,
    /// Whether all of it is shown, however long it is.
    pub is_open: bool,
    /// Whether its author changed it.
    pub is_edited: bool,
    /// Whether its author deleted it, or it has ended.
    pub is_deleted: bool,
    /// Whether it has ended by itself.
    pub is_ended: bool,
    /// Whether its text is for a program, not for a person.
    pub is_for_programs: bool,
    /// Whether it says what its author does: `* alice waves`.
    pub is_action: bool,
    /// The marks on it, harmless, and who put them there.
    pub marks: Vec<(String, Vec<String>)>,
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

/// So many who put the same mark are named.
const NAMED_MAX: usize = 3;

/// One of six colours, always the same for a peer.
pub(super) fn hue(peer: &PeerId) -> u8 {
    peer.as_bytes().last().copied().unwrap_or(0) % 6
}

/// The text as it may be shown.
pub fn harmless(text: &str) -> String {
    // Half-width sound marks are counted twice where they are drawn; the full ones look alike.
    lines(text).replace('\u{FF9E}', "\u{309B}").replace('\u{FF9F}', "\u{309C}")
}

/// The same, and no more lines than a program that calls somebody wants.
pub fn folded(text: &str) -> String {
    let text = harmless(text);
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
    /// A message as it stands now.
    pub fn of(told: &fold::Told, me: &str, moment: Moment) -> Self {
        let view = &told.view;
        let mut said = Self {
            place: Some(view.place()),
            from: one_line(&view.from),
            hue: hue(&view.peer),
            order: (view.lamport, view.peer, view.seq),
            reply_to: None,
            text: String::new(),
            is_open: false,
            is_edited: false,
            is_deleted: false,
            is_ended: false,
            is_for_programs: false,
            is_action: false,
            marks: Vec::new(),
            sent_at: view.sent_at,
            moment,
            is_own: view.is_own,
            is_mention: false,
            mark: Mark::None,
        };
        said.stands(told, me);
        said
    }

    /// What later messages made of it.
    pub fn stands(&mut self, told: &fold::Told, me: &str) {
        let view = &told.view;
        self.text = match &view.about {
            About::Application(name) => {
                self.is_for_programs = true;
                format!("[{} bytes for {}]", view.text.len(), one_line(name))
            }
            About::File(terms) => {
                let digits: String = terms.id.to_string().chars().take(8).collect();
                let get = if view.is_own { String::new() } else { format!(": /get {digits}") };
                format!("[file {}, {}{get}]", one_line(&view.text), size(terms.size))
            }
            _ => {
                let action = action(&view.text);
                self.is_action = action.is_some();
                harmless(action.unwrap_or(&view.text))
            }
        };
        if view.missing > 0 {
            let gap = on_their_way(view.missing, &one_line(&view.from));
            self.text.insert_str(0, &format!("[before it {gap}] "));
        }
        if view.is_fork {
            self.text.insert_str(0, "[one of several at its place] ");
        }
        if let About::Reply(to) = view.about {
            self.reply_to = Some(to);
        }
        (self.is_edited, self.is_deleted) = (told.is_edited, told.is_deleted);
        self.is_ended = told.is_ended;
        self.is_mention = !view.is_own && !self.is_for_programs && names(&view.text, me);
        let names_of = |names: &BTreeSet<String>| names.iter().map(|it| one_line(it)).collect();
        self.marks = told.marks.iter().map(|(it, by)| (one_line(it), names_of(by))).collect();
    }

    /// What stands in place of its text, if that is gone.
    fn gone(&self) -> Option<&'static str> {
        let word = if self.is_ended { "(expired)" } else { "(deleted)" };
        self.is_deleted.then_some(word)
    }

    /// Its first words, for who answers it.
    pub fn quote(&self) -> String {
        let text = self.gone().unwrap_or(&self.text);
        let text = text.split('\n').next().unwrap_or_default();
        match self.is_action {
            true => format!("* {} {text}", self.from),
            false => format!("{}: {text}", self.from),
        }
    }

    fn marks_text(&self) -> String {
        let marks: Vec<String> = self
            .marks
            .iter()
            .map(|(mark, by)| match by.as_slice() {
                few if few.len() <= NAMED_MAX => format!("{mark} {}", few.join(", ")),
                many => format!("{mark} {}", many.len()),
            })
            .collect();
        marks.join("   ")
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

    /// Its rows in this width; `others` should have it, `quote` begins what it answers.
    pub fn rows(
        &self,
        max: usize,
        others: usize,
        quote: Option<&str>,
        is_chosen: bool,
    ) -> Vec<Row> {
        let (hour, minute) = self.moment.clock;
        let name = clip(&self.from, (max / 3).max(6));
        // Further lines stand under the name, so that none of them can pass for a message.
        let first = width(&name) + 9;
        let indent = if first * 2 > max { 6.min(max / 4) } else { first };
        // Both take as many columns.
        let name = if self.is_action { format!("* {name}") } else { format!("<{name}>") };
        let mut rows = vec![Row {
            spans: vec![
                (Tone::Dim, format!("{hour:02}:{minute:02} ")),
                (Tone::Name(self.hue), name),
                (Tone::Plain, " ".to_owned()),
            ],
            is_chosen,
        }];
        let mut is_open = first < max;
        let mut add = |tone: Tone, part: &str, rows: &mut Vec<Row>| match rows.last_mut() {
            Some(row) if std::mem::take(&mut is_open) => row.spans.push((tone, part.to_owned())),
            _ => {
                let spans = vec![(Tone::Plain, " ".repeat(indent)), (tone, part.to_owned())];
                rows.push(Row { spans, is_chosen });
            }
        };
        if let Some(quote) = quote {
            let room = if first < max { max - first } else { max.saturating_sub(indent) };
            add(Tone::Dim, &clip(&format!("↳ {quote}"), room), &mut rows);
        }
        let head = (quote.is_none() && first < max).then(|| max - first);
        let tone = match (self.is_mention, self.is_for_programs) {
            (true, _) => Tone::Mention,
            (_, true) => Tone::Dim,
            _ => Tone::Plain,
        };
        if let Some(word) = self.gone() {
            add(Tone::Dim, word, &mut rows);
        } else {
            let laid = lay(&self.text, head, max.saturating_sub(indent), self.is_open);
            for part in &laid.rows {
                add(tone, part, &mut rows);
            }
            if let Some(more) = laid.more {
                // Which key chooses is as it was bound.
                let more = format!("… {more}: choose it, Enter");
                add(Tone::Dim, &clip(&more, max.saturating_sub(indent)), &mut rows);
            }
        }
        let edited =
            (self.is_edited && !self.is_deleted).then(|| (Tone::Dim, "(edited)".to_owned()));
        for (tone, mark) in edited.into_iter().chain(self.mark_text(others)) {
            match rows.last_mut() {
                Some(last) if last.width() + 1 + width(&mark) <= max => {
                    last.spans.push((tone, format!(" {mark}")));
                }
                _ => add(tone, &clip(&mark, max.saturating_sub(indent)), &mut rows),
            }
        }
        if !self.marks.is_empty() && !self.is_deleted {
            add(Tone::Dim, &clip(&self.marks_text(), max.saturating_sub(indent)), &mut rows);
        }
        rows
    }
}

/// Columns before each line of news.
pub(super) const NEWS_LEAD: usize = 3;

/// A line of news or of an answer, in this width.
pub fn news_rows(text: &str, is_bad: bool, max: usize) -> Vec<Row> {
    let tone = if is_bad { Tone::Bad } else { Tone::News };
    let mut rows = Vec::new();
    let max = max.saturating_sub(NEWS_LEAD);
    for line in text.split('\n') {
        let mut parts = wrap(line, max);
        let hang = second_column(line).filter(|column| parts.len() > 1 && column * 2 <= max);
        if let (Some(column), Some(first)) = (hang, parts.first().cloned()) {
            // What belongs to the second column stays there.
            let rest = line.get(first.len()..).unwrap_or_default().trim_start();
            let rest = wrap(rest, max.saturating_sub(column)).into_iter();
            let rest = rest.map(|part| format!("{}{part}", " ".repeat(column)));
            parts = std::iter::once(first).chain(rest).collect();
        }
        for (n, part) in parts.into_iter().enumerate() {
            let lead = if n == 0 { "-- " } else { "   " };
            rows.push(Row::of(tone, format!("{lead}{part}")));
        }
    }
    rows
}

/// Where the second of two columns begins in a line: behind the first gap of two spaces or more.
fn second_column(line: &str) -> Option<usize> {
    let words = line.trim_start();
    let lead = line.len().saturating_sub(words.len());
    let gap = words.find("  ")?;
    let rest = words.get(gap..)?;
    let spaces = rest.len().saturating_sub(rest.trim_start().len());
    (spaces < rest.len()).then(|| lead + width(words.get(..gap).unwrap_or_default()) + spaces)
}

/// A line across the pane with a word in it.
pub fn ruler(tone: Tone, word: &str, max: usize) -> Row {
    let word = clip(&format!(" {word} "), max.saturating_sub(4));
    let rest = max.saturating_sub(width(&word) + 2);
    Row::of(tone, format!("──{word}{}", "─".repeat(rest)))
}
