//! The demo as a running picture, and its steps and figures in words.
//! Owns: what of the demo is on the screen, and the words for it in line mode.
//! Must not know: how the demo runs.
//! Invariants: drawing changes nothing; without colours everything still says what it is.
//! Start reading at: [`Picture::take`], [`draw`].

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use tokio::sync::mpsc;

use super::cells::{clip, pad, width};
use super::run::{Taken, listen_for_keys, no_terminal, take};
use super::state::{Event, Key};
use crate::node::demo::{Figures, NAMES, Scene, Step};
use crate::refusal::Refused;
use crate::time::Millis;

/// Lines of the story that are kept.
const STORY_MAX: usize = 200;
/// How long the last picture stays.
const LAST: std::time::Duration = std::time::Duration::from_millis(2_500);
/// Columns of a name, and of where a member stands.
const NAME: usize = 8;
const STANDING: usize = 26;

/// Seconds with one digit.
fn seconds(time: Millis) -> String {
    format!("{}.{} s", time.0 / 1_000, time.0 % 1_000 / 100)
}

/// Seconds with two digits, for what is short.
fn precisely(time: Millis) -> String {
    format!("{}.{:02} s", time.0 / 1_000, time.0 % 1_000 / 10)
}

fn name(member: usize) -> &'static str {
    NAMES.get(member).copied().unwrap_or("?")
}

/// A step as a line for a person; `None`: it only moves the picture.
pub fn words(scene: &Scene) -> Option<String> {
    Some(match scene {
        Scene::Serving { role: "bootstrap", address } => {
            format!("the bootstrap runs at {address}")
        }
        Scene::Serving { address, .. } => format!("the key authority runs at {address}"),
        Scene::Joined { member, took } => {
            format!("{} is in, after {}", name(*member), precisely(*took))
        }
        Scene::Settled { leader, term } => {
            format!("all are linked with all; {} leads (term {term})", name(*leader))
        }
        Scene::Killed { member } => {
            format!("{}, who leads, is killed in the middle of the talk", name(*member))
        }
        Scene::Elected { leader, term, after } => {
            format!("{} leads (term {term}); {} without a leader", name(*leader), precisely(*after))
        }
        Scene::Restarted { member } => format!("{} is started again", name(*member)),
        Scene::CaughtUp { member, after, missed } => {
            let after = precisely(*after);
            format!(
                "{} is back and has the {missed} messages it missed, after {after}",
                name(*member)
            )
        }
        Scene::Done(_) => "every store was compared with every other".to_owned(),
        Scene::Knows { .. } | Scene::Said { .. } | Scene::Talk { .. } => return None,
    })
}

/// The figures, one line each: what, and how much.
pub fn figures(figures: &Figures) -> Vec<(&'static str, String)> {
    let it = figures;
    let order = if it.is_same { "one order everywhere" } else { "NOT the same everywhere" };
    vec![
        (
            "without a leader",
            format!(
                "{}, then term {} after term {}",
                precisely(it.leaderless),
                it.terms.1,
                it.terms.0
            ),
        ),
        ("messages said", format!("{}, {} of them without a leader", it.said, it.said_leaderless)),
        ("delivered", format!("{} of {}", it.delivered, it.expected)),
        ("lost", it.lost.to_string()),
        ("twice", it.doubled.to_string()),
        ("order", order.to_owned()),
        ("catch-up", format!("{} messages in {}", it.missed, precisely(it.catch_up))),
        ("all of it", seconds(it.took)),
    ]
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Absent,
    In,
    Dead,
    Returning,
}

#[derive(Clone, Debug, Default)]
struct Figure {
    standing: Standing,
    /// The leader it knows.
    leader: Option<(usize, u64)>,
    held: usize,
    /// What it said last.
    text: String,
}

/// All that the picture shows.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    at: Millis,
    servers: Vec<String>,
    members: Vec<Figure>,
    said: usize,
    story: VecDeque<(Millis, String)>,
    figures: Option<Figures>,
}

impl Picture {
    /// Takes a step in.
    pub fn take(&mut self, step: &Step) {
        self.at = step.at;
        self.members.resize_with(NAMES.len(), Figure::default);
        if let Some(line) = words(&step.scene) {
            if self.story.len() >= STORY_MAX {
                self.story.pop_front();
            }
            self.story.push_back((step.at, line));
        }
        let stands = |members: &mut Vec<Figure>, member: usize, standing| {
            if let Some(figure) = members.get_mut(member) {
                figure.standing = standing;
                figure.leader = figure.leader.filter(|_| standing == Standing::In);
            }
        };
        match &step.scene {
            Scene::Serving { role, .. } => self.servers.push((*role).to_owned()),
            Scene::Joined { member, .. } => stands(&mut self.members, *member, Standing::In),
            Scene::Killed { member } => stands(&mut self.members, *member, Standing::Dead),
            Scene::Restarted { member } => stands(&mut self.members, *member, Standing::Returning),
            Scene::Knows { member, leader } => {
                if let Some(figure) = self.members.get_mut(*member) {
                    figure.leader = *leader;
                }
            }
            Scene::Settled { leader, term } | Scene::Elected { leader, term, .. } => {
                for figure in self.members.iter_mut().filter(|it| it.standing == Standing::In) {
                    figure.leader = Some((*leader, *term));
                }
            }
            Scene::Said { member, text } => {
                if let Some(figure) = self.members.get_mut(*member) {
                    figure.text.clone_from(text);
                }
            }
            Scene::Talk { said, held } => {
                self.said = *said;
                for (figure, held) in self.members.iter_mut().zip(held) {
                    figure.held = *held;
                }
            }
            Scene::CaughtUp { .. } => {}
            Scene::Done(figures) => self.figures = Some(figures.clone()),
        }
    }
}

struct Brush<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    is_colored: bool,
}

impl Brush<'_> {
    /// Writes text and gives the column behind it.
    fn text(&mut self, x: usize, y: usize, text: &str, style: Style) -> usize {
        let (Ok(column), Ok(row)) = (u16::try_from(x), u16::try_from(y)) else { return x };
        if column >= self.area.width || row >= self.area.height {
            return x;
        }
        let max = usize::from(self.area.width.saturating_sub(column));
        let (column, row) = (self.area.x.saturating_add(column), self.area.y.saturating_add(row));
        let (end, _) = self.buffer.set_stringn(column, row, text, max, style);
        usize::from(end.saturating_sub(self.area.x))
    }

    fn fg(&self, color: Color) -> Style {
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }
}

/// Draws the picture.
pub fn draw(picture: &Picture, is_colored: bool, frame: &mut Frame<'_>) {
    let area = frame.area();
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let mut brush = Brush { buffer: frame.buffer_mut(), area, is_colored };
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let servers = picture.servers.join(", ");
    let title = format!(
        " p2pgroup demo  {}  {} messages said  {servers}",
        seconds(picture.at),
        picture.said
    );
    brush.text(0, 0, &pad(&clip(&title, columns), columns), bar);
    let mut y: usize = 2;
    for (member, figure) in picture.members.iter().enumerate() {
        row(picture, (member, figure), y, &mut brush);
        y = y.saturating_add(1);
    }
    y = y.saturating_add(1);
    if let Some(figures) = &picture.figures {
        let is_good = figures.holds();
        let style = brush.fg(if is_good { Color::Green } else { Color::Red });
        for (what, much) in self::figures(figures) {
            brush.text(1, y, &format!("{what:>17}  {much}"), style.add_modifier(Modifier::BOLD));
            y = y.saturating_add(1);
        }
        y = y.saturating_add(1);
    }
    let left = rows.saturating_sub(y).saturating_sub(1);
    let first = picture.story.len().saturating_sub(left);
    for (at, line) in picture.story.iter().skip(first) {
        let end = brush.text(1, y, &format!("{:>7}  ", seconds(*at)), dim);
        brush.text(end, y, line, Style::new());
        y = y.saturating_add(1);
    }
    let hint = " q ends it ";
    brush.text(0, rows.saturating_sub(1), &pad(hint, columns), bar);
}

/// A member: its mark, its name, where it stands, how much of the talk it has, what it said last.
fn row(picture: &Picture, (member, figure): (usize, &Figure), y: usize, brush: &mut Brush<'_>) {
    let leads = figure.leader.filter(|(leader, _)| *leader == member);
    let (mark, color, standing) = match (figure.standing, leads, figure.leader) {
        (Standing::Absent, ..) => ("·", Color::Reset, "is coming in".to_owned()),
        (Standing::Dead, ..) => ("✗", Color::Red, "killed".to_owned()),
        (Standing::Returning, ..) => ("○", Color::Yellow, "comes back".to_owned()),
        (Standing::In, Some((_, term)), _) => ("★", Color::Green, format!("leads, term {term}")),
        (Standing::In, None, Some((leader, term))) => {
            ("●", Color::Green, format!("follows {}, term {term}", name(leader)))
        }
        (Standing::In, None, None) => ("●", Color::Yellow, "knows no leader".to_owned()),
    };
    let style = brush.fg(color);
    let mut x = brush.text(1, y, mark, style.add_modifier(Modifier::BOLD));
    x = x.saturating_add(1);
    brush.text(x, y, &pad(name(member), NAME), style.add_modifier(Modifier::BOLD));
    x = x.saturating_add(NAME);
    brush.text(x, y, &pad(&clip(&standing, STANDING), STANDING), style);
    x = x.saturating_add(STANDING);
    let columns = usize::from(brush.area.width);
    let room = columns.saturating_sub(x).saturating_sub(8) / 2;
    let filled = room.saturating_mul(figure.held).checked_div(picture.said).unwrap_or(0);
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(room.saturating_sub(filled)));
    x = brush.text(x, y, &bar, style);
    x = brush.text(x, y, &format!(" {:<5}", figure.held), Style::new());
    let text = clip(&figure.text, columns.saturating_sub(x).saturating_sub(1));
    debug_assert!(width(&text) <= columns);
    brush.text(x, y, &text, Style::new().add_modifier(Modifier::DIM));
}

/// Shows the demo on the whole screen, until it is over or a person ends it (`false`).
///
/// # Errors
/// The terminal cannot be taken.
pub async fn run(steps: &mut mpsc::Receiver<Step>, is_colored: bool) -> Result<bool, Refused> {
    take().map_err(|error| no_terminal(&error))?;
    let _taken = Taken;
    let mut terminal =
        Terminal::new(CrosstermBackend::new(std::io::stdout())).map_err(|it| no_terminal(&it))?;
    let mut keys = listen_for_keys()?;
    let mut picture = Picture::default();
    let mut is_done = false;
    loop {
        terminal
            .draw(|frame| draw(&picture, is_colored, frame))
            .map_err(|error| no_terminal(&error))?;
        tokio::select! {
            key = keys.recv() => match key {
                // Drawn again, whatever it was.
                Some(event) if !ends(&event) => {}
                _ => return Ok(is_done),
            },
            step = steps.recv(), if !is_done => match step {
                Some(step) => {
                    picture.take(&step);
                    // All that is there makes one picture.
                    while let Ok(step) = steps.try_recv() {
                        picture.take(&step);
                    }
                    is_done = picture.figures.is_some();
                }
                // It failed; why is said outside.
                None => return Ok(true),
            },
            () = tokio::time::sleep(LAST), if is_done => return Ok(true),
        }
    }
}

fn ends(event: &Event) -> bool {
    match event {
        Event::Press(press) => {
            matches!(press.key, Key::Char('q') | Key::Esc)
                || press.ctrl && matches!(press.key, Key::Char('c'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;

    fn screen(picture: &Picture, columns: u16, rows: u16, is_colored: bool) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(picture, is_colored, frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        if !is_colored {
            assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
        }
        (0..rows)
            .map(|y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>())
            .map(|row: String| row.trim_end().to_owned())
            .collect()
    }

    fn play(scenes: Vec<Scene>) -> Picture {
        let mut picture = Picture::default();
        for (at, scene) in (0..).zip(scenes) {
            picture.take(&Step { at: Millis(at * 500), scene });
        }
        picture
    }

    fn joined() -> Vec<Scene> {
        let mut scenes =
            vec![Scene::Serving { role: "bootstrap", address: "/ip4/127.0.0.1/tcp/1".into() }];
        scenes.extend((0..5).map(|member| Scene::Joined { member, took: Millis(321) }));
        scenes.push(Scene::Settled { leader: 2, term: 1 });
        scenes
    }

    #[test]
    fn the_picture_shows_who_leads_who_is_dead_and_how_much_each_has() {
        let mut scenes = joined();
        scenes.push(Scene::Said { member: 0, text: "1: good morning".to_owned() });
        scenes.push(Scene::Talk { said: 10, held: vec![10, 10, 5, 10, 0] });
        let rows = screen(&play(scenes.clone()), 100, 24, true);
        assert!(rows[0].contains("p2pgroup demo") && rows[0].contains("10 messages said"));
        assert!(rows[2].contains("● alice   follows carol, term 1"), "{rows:#?}");
        assert!(rows[2].contains("1: good morning"), "{rows:#?}");
        assert!(rows[4].contains("★ carol   leads, term 1"), "{rows:#?}");
        let bars = |row: &str| (row.matches('█').count(), row.matches('░').count());
        let full = bars(&rows[2]);
        assert!(full.1 == 0 && full.0 >= 20, "{rows:#?}");
        assert_eq!(bars(&rows[4]).0, full.0 / 2);
        assert_eq!(bars(&rows[6]), (0, full.0));
        assert!(rows.iter().any(|row| row.contains("all are linked with all; carol leads")));

        scenes.push(Scene::Killed { member: 2 });
        scenes.push(Scene::Knows { member: 0, leader: None });
        let rows = screen(&play(scenes.clone()), 100, 24, false);
        assert!(rows[2].contains("● alice   knows no leader"), "{rows:#?}");
        assert!(rows[4].contains("✗ carol   killed"), "{rows:#?}");

        scenes.push(Scene::Elected { leader: 1, term: 2, after: Millis(1_234) });
        scenes.push(Scene::Restarted { member: 2 });
        let rows = screen(&play(scenes.clone()), 100, 24, true);
        assert!(rows[3].contains("★ bob     leads, term 2"), "{rows:#?}");
        assert!(rows[4].contains("○ carol   comes back"), "{rows:#?}");
        assert!(rows.iter().any(|row| row.contains("1.23 s without a leader")), "{rows:#?}");
    }

    #[test]
    fn the_figures_stand_on_the_last_picture_and_say_what_did_not_hold() {
        let figures = Figures {
            members: 5,
            leaderless: Millis(1_230),
            terms: (1, 2),
            said: 100,
            said_leaderless: 12,
            delivered: 400,
            expected: 400,
            lost: 0,
            doubled: 0,
            is_same: true,
            catch_up: Millis(610),
            missed: 40,
            took: Millis(11_900),
        };
        assert!(figures.holds());
        let mut scenes = joined();
        scenes.push(Scene::Done(figures.clone()));
        let rows = screen(&play(scenes), 80, 24, true).join("\n");
        for line in ["1.23 s, then term 2 after term 1", "400 of 400", "one order everywhere"] {
            assert!(rows.contains(line), "{rows}");
        }
        let broken: [fn(&mut Figures); 6] = [
            |it| it.lost = 1,
            |it| it.doubled = 1,
            |it| it.is_same = false,
            |it| it.delivered = 399,
            |it| it.terms.1 = 1,
            |it| it.missed = 0,
        ];
        for breaks in broken {
            let mut other = figures.clone();
            breaks(&mut other);
            assert!(!other.holds(), "{other:?}");
        }
    }

    #[test]
    fn a_small_screen_is_no_trouble() {
        let mut scenes = joined();
        scenes.push(Scene::Done(Figures::default()));
        for (columns, rows) in [(1, 1), (20, 5), (60, 15), (300, 100)] {
            screen(&play(scenes.clone()), columns, rows, true);
        }
    }
}
