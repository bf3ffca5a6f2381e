//! The screen: state to cells.
//! Owns: where everything stands, which panes fold away, the colours.
//! Must not know: the terminal, keys.
//! Invariants: drawing changes nothing; only the sixteen colours that every terminal has, and
//! without colours everything still says what it is.
//! Start reading at: [`draw`].

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};

use super::cells::{clip, drawn, pad, width, wrap};
use super::look::{Row, Tone, ruler};
use super::room::Room;
use super::state::{MAIN, Question, State};
use super::work::Working;
use crate::protocol::MemberState;
use crate::text::one_line;

/// The least columns at which the rooms have a pane, and at which the members do.
const ROOMS_FROM: usize = 72;
const MEMBERS_FROM: usize = 80;
/// Rows of the line that is typed, at the most.
const INPUT_ROWS_MAX: usize = 6;

/// How much room there is for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panes {
    /// Columns of the rooms; 0: folded away.
    pub rooms: usize,
    /// Columns and rows of the messages.
    pub talk: (usize, usize),
    /// Columns of the members; 0: folded away.
    pub members: usize,
    /// Rows of the line that is typed.
    pub input: usize,
}

/// Where everything goes, on a screen of this size with this much typed.
pub fn panes(state: &State) -> Panes {
    let (columns, rows) = (usize::from(state.size.0), usize::from(state.size.1));
    let (rooms, talk, members) = widths(columns);
    let input = input_rows(state, columns).0.len().clamp(1, INPUT_ROWS_MAX.min(rows / 3).max(1));
    Panes { rooms, talk: (talk, rows.saturating_sub(2 + input)), members, input }
}

/// Columns of the rooms, the messages and the members, in a window of so many.
pub(super) fn widths(columns: usize) -> (usize, usize, usize) {
    let side = (columns / 6).clamp(12, 20);
    let rooms = if columns >= ROOMS_FROM { side } else { 0 };
    let members = if columns >= MEMBERS_FROM { side + 2 } else { 0 };
    // A line between panes each.
    let lines = usize::from(rooms > 0) + usize::from(members > 0);
    (rooms, columns.saturating_sub(rooms + members + lines), members)
}

/// The styles there are, or their stand-ins without colours.
#[derive(Clone, Copy, Debug)]
struct Paint {
    is_colored: bool,
}

impl Paint {
    fn fg(self, color: Color) -> Style {
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }

    fn of(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Dim => Style::new().add_modifier(Modifier::DIM),
            Tone::Name(hue) => {
                let colors = [
                    Color::Red,
                    Color::Green,
                    Color::Yellow,
                    Color::Blue,
                    Color::Magenta,
                    Color::Cyan,
                ];
                let color = colors.get(usize::from(hue)).copied().unwrap_or(Color::Cyan);
                self.fg(color).add_modifier(Modifier::BOLD)
            }
            Tone::Mention => self.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Mark => self.fg(Color::Green),
            Tone::Bad => self.fg(Color::Red),
            Tone::News => self.fg(Color::Cyan).add_modifier(Modifier::DIM),
            Tone::Day => Style::new().add_modifier(Modifier::DIM),
            Tone::Marker => self.fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// A brush over a buffer: text by columns, never outside.
struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
}

impl Canvas<'_> {
    /// Writes text and gives the column behind it.
    fn text(&mut self, x: usize, y: usize, text: &str, max: usize, style: Style) -> usize {
        let (Ok(column), Ok(row)) = (u16::try_from(x), u16::try_from(y)) else { return x };
        if column >= self.area.width || row >= self.area.height {
            return x;
        }
        let max = max.min(usize::from(self.area.width - column));
        let text = &*drawn(text);
        let (end, _) =
            self.buffer.set_stringn(self.area.x + column, self.area.y + row, text, max, style);
        usize::from(end.saturating_sub(self.area.x))
    }

    fn row(&mut self, (x, y): (usize, usize), row: &Row, max: usize, paint: Paint) {
        let end = x + max;
        let mut at = x;
        for (tone, text) in &row.spans {
            let mut style = paint.of(*tone);
            if row.is_chosen {
                style = style.add_modifier(Modifier::REVERSED);
            }
            at = self.text(at, y, text, end.saturating_sub(at), style);
        }
        if row.is_chosen && at < end {
            self.text(at, y, &" ".repeat(end - at), end - at, paint.bar());
        }
    }
}

/// Draws the whole screen.
pub fn draw(state: &State, is_colored: bool, frame: &mut Frame<'_>) {
    let area = frame.area();
    let paint = Paint { is_colored };
    let panes = panes(state);
    let mut canvas = Canvas { buffer: frame.buffer_mut(), area };
    let rows = usize::from(area.height);
    head(state, &panes, paint, &mut canvas);
    let left = panes.rooms + usize::from(panes.rooms > 0);
    if panes.rooms > 0 {
        rooms(state, &panes, paint, &mut canvas);
    }
    talk(state, left, &panes, paint, &mut canvas);
    if panes.members > 0 {
        members(state, left + panes.talk.0, &panes, paint, &mut canvas);
    }
    status(state, rows.saturating_sub(panes.input + 1), paint, &mut canvas);
    let cursor = input(state, &panes, paint, &mut canvas);
    if let (Ok(x), Ok(y)) = (u16::try_from(cursor.0), u16::try_from(cursor.1)) {
        frame.set_cursor_position(Position::new(area.x + x, area.y + y));
    }
}

/// How a room is called on the screen.
fn title(room: &Room) -> String {
    let name = one_line(&room.name);
    if name.starts_with('@') { name } else { format!("#{name}") }
}

fn count(room: &Room) -> String {
    let more = if room.is_uncounted { "+" } else { "" };
    match (room.unread, room.mentions) {
        (0, _) => String::new(),
        (unread, 0) => format!("{unread}{more}"),
        (unread, mentions) => format!("{unread}{more} @{mentions}"),
    }
}

/// The uppermost row: which room this is and what it is about; where the rooms have no pane, which
/// there are.
fn head(state: &State, panes: &Panes, paint: Paint, canvas: &mut Canvas<'_>) {
    let columns = usize::from(canvas.area.width);
    let mut line = String::from(" ");
    if panes.rooms == 0 {
        line.push_str(&tabs(state, columns.saturating_sub(1)));
    } else if let Some(room) = state.room() {
        line.push_str(&title(room));
        if let Some(view) = &room.view {
            let about = if view.topic.is_empty() { &view.description } else { &view.topic };
            if !about.is_empty() {
                line.push_str(&format!(": {}", one_line(about)));
            }
            if view.is_archived {
                line.push_str(" (archived)");
            }
        }
    }
    canvas.text(0, 0, &pad(&line, columns), columns, paint.bar());
}

/// The rooms in one row, the one that one is in always in sight: what does not fit before it is left
/// out from the left, with `…` in its place.
fn tabs(state: &State, columns: usize) -> String {
    let tab = |(at, room): (usize, &Room)| {
        let (open, close) = if at == state.here { ("[", "]") } else { ("", "") };
        let count = match count(room) {
            count if count.is_empty() => count,
            count => format!(" {count}"),
        };
        format!("{open}{} {}{count}{close}  ", at + 1, title(room))
    };
    let tabs: Vec<String> = state.rooms.iter().enumerate().map(tab).collect();
    let upto_here = tabs.get(..=state.here).unwrap_or_default();
    let is_last = state.here + 1 >= tabs.len();
    // Behind it a sign says that there are more.
    let mut room = columns.saturating_sub(usize::from(!is_last));
    let mut first = upto_here.len();
    for (at, tab) in upto_here.iter().enumerate().rev() {
        let wide = width(if at == state.here { tab.trim_end() } else { tab });
        let sign = if at == 0 { 0 } else { 2 };
        if at < state.here && wide + sign > room {
            break;
        }
        (room, first) = (room.saturating_sub(wide), at);
    }
    let sign = if first > 0 { "… " } else { "" };
    let shown = tabs.get(first..).unwrap_or_default().concat();
    clip(&format!("{sign}{}", shown.trim_end()), columns)
}

fn rooms(state: &State, panes: &Panes, paint: Paint, canvas: &mut Canvas<'_>) {
    let height = panes.talk.1;
    // The room one is in is always in sight.
    let first = (state.here + 1).saturating_sub(height);
    for y in 0..height {
        if let Some(room) = state.rooms.get(first + y) {
            let (number, count) = (first + y + 1, count(room));
            let width_left =
                panes.rooms.saturating_sub(width(&count) + usize::from(!count.is_empty()));
            let name = if number <= 10 {
                format!("{} {}", number % 10, title(room))
            } else {
                format!("  {}", title(room))
            };
            let mut style = match (room.mentions, room.unread) {
                _ if room.is_muted() => paint.of(Tone::Dim),
                (0, 0) => Style::new(),
                (0, _) => Style::new().add_modifier(Modifier::BOLD),
                _ => paint.of(Tone::Mention),
            };
            if first + y == state.here {
                style = style.add_modifier(Modifier::REVERSED);
            }
            let at = canvas.text(0, y + 1, &pad(&name, width_left), width_left, style);
            let rest = panes.rooms.saturating_sub(at);
            let count = format!("{}{count}", " ".repeat(rest.saturating_sub(width(&count))));
            canvas.text(at, y + 1, &count, rest, style);
        }
        canvas.text(panes.rooms, y + 1, "│", 1, paint.of(Tone::Dim));
    }
}

fn talk(state: &State, x: usize, panes: &Panes, paint: Paint, canvas: &mut Canvas<'_>) {
    let (columns, height) = panes.talk;
    if let Some((Question::Authority { fingerprint, address }, _)) = &state.question {
        let text = format!(
            "The key authority at {address} is not known here yet. Its fingerprint is\n\n\
             {fingerprint}\n\nCompare it with its operator's, by another way than this network. \
             Is it the same?"
        );
        let lines: Vec<String> = text.split('\n').flat_map(|line| wrap(line, columns)).collect();
        for (y, line) in lines.iter().take(height).enumerate() {
            canvas.text(x, y + 1, line, columns, Style::new().add_modifier(Modifier::BOLD));
        }
        return;
    }
    if state.results.is_some() {
        return results(state, x, panes, paint, canvas);
    }
    let Some(room) = state.room() else { return };
    let (rows, _) = room.sight(columns, height);
    let top = height.saturating_sub(rows.len());
    for (y, row) in rows.iter().enumerate() {
        canvas.row((x, top + y + 1), row, columns, paint);
    }
    if room.asked.is_some() && top == 0 {
        let note = " reading earlier messages… ";
        canvas.text(x, 1, &clip(note, columns), columns, paint.bar());
    }
}

fn results(state: &State, x: usize, panes: &Panes, paint: Paint, canvas: &mut Canvas<'_>) {
    let Some(results) = &state.results else { return };
    let (columns, height) = panes.talk;
    let words = one_line(&results.words);
    let title = match (&state.searching, results.found.len()) {
        (Some(searching), _) => searching.title(&words),
        (None, 0) => format!("nothing with {words} was found; Esc closes"),
        (None, count) => format!("{count} with {words}: Up, Down, Enter goes there, Esc closes"),
    };
    canvas.row((x, 1), &ruler(Tone::Marker, &title, columns), columns, paint);
    let shown = height.saturating_sub(1);
    let first = (results.at + 1).saturating_sub(shown);
    for (n, (view, moment)) in results.found.iter().enumerate().skip(first).take(shown) {
        let (hour, minute) = moment.clock;
        let text = one_line(view.text.split('\n').next().unwrap_or_default());
        let from = one_line(&view.from);
        let from = match crate::text::action(&text) {
            Some(_) => format!("* {from}"),
            None => format!("<{from}>"),
        };
        let text = crate::text::action(&text).map_or(text.clone(), str::to_owned);
        let head = format!("{} {hour:02}:{minute:02} {from} ", moment.day);
        let row =
            Row { spans: vec![(Tone::Dim, head), (Tone::Plain, text)], is_chosen: n == results.at };
        // The newest stands lowest, as everywhere.
        canvas.row((x, height.saturating_sub(n - first)), &row, columns, paint);
    }
}

fn members(state: &State, x: usize, panes: &Panes, paint: Paint, canvas: &mut Canvas<'_>) {
    let (height, columns) = (panes.talk.1, panes.members);
    let present = state.present();
    for y in 0..height {
        canvas.text(x, y + 1, "│", 1, paint.of(Tone::Dim));
        let is_last = y + 1 == height && present.len() > height;
        if is_last {
            let more = format!("  and {} more", present.len() - y);
            canvas.text(x + 1, y + 1, &more, columns, paint.of(Tone::Dim));
            continue;
        }
        let Some((member, role)) = present.get(y) else { continue };
        let is_there = member.state == MemberState::Active;
        let (dot, style) =
            if is_there { ("●", paint.fg(Color::Green)) } else { ("○", paint.of(Tone::Dim)) };
        canvas.text(x + 1, y + 1, dot, 1, style);
        let role = match *role {
            _ if member.is_ignored => "ignored",
            "member" => "",
            role => role,
        };
        let verified = if member.is_verified { " ✓" } else { "" };
        let tail = format!("{verified} {role}");
        let tail = tail.trim_end();
        let name = clip(&one_line(&member.name), columns.saturating_sub(2 + width(tail)));
        let style = if is_there { Style::new() } else { paint.of(Tone::Dim) };
        let at = canvas.text(x + 3, y + 1, &name, columns.saturating_sub(2), style);
        let rest = (x + 1 + columns).saturating_sub(at);
        canvas.text(at, y + 1, tail, rest, paint.of(Tone::Dim));
    }
}

/// The parts of the status line, what matters most first.
fn status_parts(state: &State) -> Vec<String> {
    let mut parts = Vec::new();
    if state.is_leaving {
        parts.push("leaving…".to_owned());
    }
    let me = if state.me.is_empty() { "…".to_owned() } else { one_line(&state.me) };
    parts.push(me);
    parts.extend(state.catch_up.line());
    parts.extend(state.working.as_ref().and_then(Working::line));
    parts.extend(state.transfers.line().map(str::to_owned));
    if !state.is_ready {
        parts.push("joining…".to_owned());
        return parts;
    }
    let frozen = state.brief.as_ref().filter(|it| !it.has_quorum);
    if let Some(brief) = frozen {
        parts.push(format!("membership frozen: {}", brief.frozen_because));
    }
    if let Some(room) = state.room() {
        parts.push(title(room));
    }
    parts.push(match &state.leader {
        Some(leader) => format!("leader {} (term {})", one_line(&leader.name), leader.term),
        None => "no leader".to_owned(),
    });
    if let Some(brief) = &state.brief {
        parts.push(match (brief.direct, brief.relayed) {
            (0, 0) => "no links".to_owned(),
            (direct, 0) => format!("{direct} direct"),
            (direct, relayed) => format!("{direct} direct, {relayed} relayed"),
        });
        if brief.queued > 0 {
            parts.push(format!("queue {}", brief.queued));
        }
        if brief.has_quorum {
            parts.push("quorum".to_owned());
        }
    }
    parts
}

/// Columns in which the beginning of a part is still worth something.
const CUT: usize = 16;

fn status(state: &State, y: usize, paint: Paint, canvas: &mut Canvas<'_>) {
    let columns = usize::from(canvas.area.width);
    let below = state.room().map_or(0, |room| room.below);
    let right = match (&state.hint, below) {
        (Some((hint, _)), _) => format!(" {} ", one_line(hint)),
        (None, 0) if state.room().is_some_and(|it| it.is_detached) => " ↓ End: newest ".to_owned(),
        (None, 0) => String::new(),
        (None, below) => format!(" ↓ {below} new "),
    };
    let right = clip(&right, columns * 2 / 3);
    let max = columns.saturating_sub(width(&right));
    let mut left = String::new();
    for part in status_parts(state) {
        let gap = if left.is_empty() { " " } else { " · " };
        let part = format!("{gap}{part}");
        let room = max.saturating_sub(width(&left));
        if width(&part) > room {
            // Of one that is long on every screen like this the beginning says more than nothing.
            if left.is_empty() || (room >= CUT && width(&part) > max / 2) {
                left.push_str(&clip(&part, room));
            }
            break;
        }
        left.push_str(&part);
    }
    let at = canvas.text(0, y, &pad(&left, max), max, paint.bar());
    canvas.text(at, y, &right, columns, paint.bar().add_modifier(Modifier::BOLD));
}

/// The rows of what is being typed, and where the cursor stands in them.
fn input_rows(state: &State, columns: usize) -> (Vec<String>, (usize, usize)) {
    let (prompt, editor) = match &state.question {
        Some((Question::Authority { .. }, answer)) => ("the same? (yes/no) ".to_owned(), answer),
        Some((Question::Search, answer)) => ("search: ".to_owned(), answer),
        Some((Question::Paste(text), answer)) => {
            let count = text.trim_end_matches('\n').split('\n').count();
            (format!("paste {count} lines as one message? (y/n) "), answer)
        }
        None => {
            let room = state.room().map_or_else(|| MAIN.to_owned(), title);
            (format!("{}> ", clip(&room, columns / 4)), &state.editor)
        }
    };
    let max = columns.max(2) - 1;
    let (before, after) = editor.parts();
    let harmless = crate::text::lines;
    let mut rows: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        // The beginning goes on where the row before ends.
        let mut parts = text.split('\n');
        let open =
            format!("{}{}", rows.pop().unwrap_or_default(), parts.next().unwrap_or_default());
        for line in std::iter::once(open.as_str()).chain(parts) {
            rows.extend(broken(line, max));
        }
        (width(rows.last().map_or("", String::as_str)), rows.len().saturating_sub(1))
    };
    let cursor = add(&format!("{prompt}{}", harmless(before)));
    add(&harmless(after));
    (rows, cursor)
}

/// Breaks a line at the column, wherever that is: the cursor must not jump while words grow.
fn broken(line: &str, max: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for piece in unicode_segmentation::UnicodeSegmentation::graphemes(line, true) {
        let wide = width(piece);
        if used + wide > max {
            rows.push(String::new());
            used = 0;
        }
        if let Some(row) = rows.last_mut() {
            row.push_str(piece);
        }
        used += wide;
    }
    rows
}

/// Draws the line that is typed; gives the cursor.
fn input(state: &State, panes: &Panes, paint: Paint, canvas: &mut Canvas<'_>) -> (usize, usize) {
    let (columns, height) = (usize::from(canvas.area.width), usize::from(canvas.area.height));
    let (rows, (x, row)) = input_rows(state, columns);
    let first = (row + 1).saturating_sub(panes.input);
    let top = height.saturating_sub(panes.input);
    for (y, line) in rows.iter().skip(first).take(panes.input).enumerate() {
        canvas.text(0, top + y, line, columns, Style::new());
    }
    let is_asking = state.question.is_some();
    if is_asking && let Some(line) = rows.first() {
        canvas.text(0, top, line, columns, paint.of(Tone::Mention));
    }
    (x.min(columns.saturating_sub(1)), top + row - first)
}
