//! The terminal interface, as the command line starts it.
//! Owns: when a screen is taken instead of lines, and the words it borrows from line mode.
//! Must not know: keys, how anything is drawn.
//! Invariants: a line means and answers on the screen what it means and answers in line mode.
//! Start reading at: [`Speech`], [`member`].

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::{Notify as Bell, mpsc};

use super::alias::Aliases;
use super::args::Globals;
use super::beside::{Beside, Wanted};
use super::console::{self, Clock, Style};
use super::export::{Exports, Order, Step};
use super::{Answer, Asked, report, serve, slash};
use crate::config::{Color, Config, Notify};
use crate::ids::CommandId;
use crate::node::{Input, Node, Role};
use crate::protocol::Notice;
use crate::refusal::Refused;
use crate::time::Wall;
use crate::tui::bindings::{Bindings, Bound};
use crate::tui::link::Link;
use crate::tui::work::{Going, Work};
use crate::tui::{Door, Fits, Screen, Told, Typed, bell, run};

/// Lines of the log that wait to be shown.
const LOG_MAX: usize = 64;
/// Steps of an export that wait to be shown.
const STEPS_MAX: usize = 16;
/// Commands whose answers may be on their way.
const ASKED_MAX: usize = 10_000;

/// Runs a member on the whole screen.
///
/// # Errors
/// What keeps it from starting.
pub(super) fn member(role: Role, config: Config, globals: &Globals) -> Result<ExitCode, Refused> {
    let runtime = serve::runtime()?;
    let tone = match config.notify {
        Notify::None => bell::Tone::None,
        Notify::Bell => bell::Tone::Bell,
        Notify::Osc9 => bell::Tone::Osc9,
    };
    let aliases = Aliases::of(&config)?;
    let bound = |it: &crate::config::keys::Binding| Bound {
        action: it.action.to_owned(),
        preset: it.preset.to_owned(),
        key: it.key.clone(),
        about: it.about.to_owned(),
    };
    let (log, lines) = mpsc::channel(LOG_MAX);
    let (steps, going) = mpsc::channel(STEPS_MAX);
    let screen = Screen {
        me: config.name.clone(),
        is_colored: config.color != Color::Never,
        bell: bell::Bell { tone, hook: config.notify_command.clone(), ..bell::Bell::default() },
        log: lines,
        going,
        bindings: Bindings::new(config.keys.iter().map(bound).collect()),
    };
    let is_quiet = globals.quiet;
    runtime.block_on(async {
        let wanted = Wanted::of(&config)?;
        let node = Node::start(role, config).await?;
        let leaving = Arc::new(Bell::new());
        let surrounded = Beside::start(&node, wanted).and_then(|beside| {
            serve::guard(node.input(), Arc::clone(&leaving))?;
            Ok(beside)
        });
        let beside = match surrounded {
            Ok(beside) => beside,
            Err(refused) => {
                node.leave().await;
                return Err(refused);
            }
        };
        let exports = Exports::new(node.handle());
        let writing = exports.clone();
        let begin = Box::new(move |order| begun(&exports, order, steps.clone()));
        let mut speech = Speech { aliases, begin, ..Speech::new(node.input(), is_quiet) };
        report::divert(Some(log));
        let ended = run::run(Link::new(node), screen, &mut speech, || leaving.notify_one()).await;
        report::divert(None);
        // What was being written ends with the node, and takes its half of a file with it.
        drop(speech);
        writing.finish();
        beside.end();
        let ended = ended?;
        if !ended.invites.is_empty() {
            report::complain("made on that screen; here once more, so that it is not lost:\n");
        }
        for invite in &ended.invites {
            report::print(format!("{}\n", invite.text.as_str()).as_bytes())?;
        }
        Ok(match ended.fatal {
            None => ExitCode::SUCCESS,
            Some(refused) => {
                report::complain(&report::person(&refused, true));
                ExitCode::from(refused.refusal.exit())
            }
        })
    })
}

/// Starts an export, of which is told step by step; the answer if it is refused at once.
fn begun(exports: &Exports, order: Order, steps: mpsc::Sender<Going>) -> Option<Answer> {
    let what = work(&order).what;
    exports.start(order, move |step| {
        let on = |done, of| Going::On(Work { what: what.clone(), done, of });
        // The screen may be gone.
        match step {
            Step::Counting(done) => drop(steps.try_send(on(done, None))),
            Step::Writing(done, of) => drop(steps.try_send(on(done, Some(of)))),
            Step::Over(answer) => drop(steps.blocking_send(Going::Over(answered(&answer)))),
        }
    })
}

/// An export that begins.
fn work(order: &Order) -> Work {
    Work { what: format!("exporting {}", order.export.place()), done: 0, of: None }
}

fn answered(answer: &Answer) -> Told {
    let style = Style { is_colored: false, is_quiet: false, clock: Clock::Local };
    let (mut out, mut err) = (String::new(), String::new());
    console::Face::new(style).answer(answer, &mut out, &mut err);
    told(&out, &err)
}

/// How exports begin.
type Begin = Box<dyn FnMut(Order) -> Option<Answer>>;

/// The words of line mode.
pub(crate) struct Speech {
    number: Box<dyn FnMut() -> CommandId>,
    face: console::Face,
    asked: BTreeMap<CommandId, Asked>,
    clock: Clock,
    aliases: Aliases,
    begin: Begin,
}

impl std::fmt::Debug for Speech {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speech").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}

impl Speech {
    fn new(input: Input, is_quiet: bool) -> Self {
        Self::with(Box::new(move || input.number()), is_quiet, Clock::Local)
    }

    fn with(number: Box<dyn FnMut() -> CommandId>, is_quiet: bool, clock: Clock) -> Self {
        let style = Style { is_colored: false, is_quiet, clock };
        let (asked, aliases) = (BTreeMap::new(), Aliases::default());
        // Nobody to ask.
        let begin: Begin = Box::new(|_| None);
        Self { number, face: console::Face::new(style), asked, clock, aliases, begin }
    }

    /// With numbers of its own and in UTC.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let mut last = 0;
        let number = move || {
            last += 1;
            CommandId(last)
        };
        Self::with(Box::new(number), false, Clock::Utc)
    }
}

/// Lines as line mode writes them, without what marks them there.
fn told(out: &str, err: &str) -> Told {
    let lines = out.lines().map(|line| line.strip_prefix("-- ").unwrap_or(line).to_owned());
    // What, what to do, and the code, in one line each.
    let mut errors: Vec<String> = Vec::new();
    for line in err.lines() {
        match errors.last_mut().filter(|_| line.starts_with(' ')) {
            Some(error) => {
                error.push_str(if line.trim_start().starts_with('[') { " " } else { "; " });
                error.push_str(line.trim_start());
            }
            None => errors.push(line.to_owned()),
        }
    }
    Told { lines: lines.collect(), errors }
}

impl Door for Speech {
    fn number(&mut self) -> CommandId {
        (self.number)()
    }

    fn read(&mut self, line: &str, here: &mut String) -> Typed {
        let line = self.aliases.expand(line);
        let wish = console::read(line.as_bytes(), false, here);
        let (mut out, mut err) = (String::new(), String::new());
        if let Some(answer) = &wish.answer {
            self.face.answer(answer, &mut out, &mut err);
        }
        let work = wish.export.as_ref().map(work);
        let refused = wish.export.and_then(|order| (self.begin)(order));
        if let Some(refused) = &refused {
            self.face.answer(refused, &mut out, &mut err);
        }
        let work = work.filter(|_| refused.is_none());
        let command = wish.command.map(|(command, asked)| {
            let number = self.number();
            if self.asked.len() >= ASKED_MAX {
                self.asked.pop_first();
            }
            self.asked.extend(asked.map(|asked| (number, asked)));
            (number, command)
        });
        Typed { command, told: told(&out, &err), work }
    }

    fn tell(&mut self, notice: Notice) -> Told {
        let asked = notice.command().and_then(|number| self.asked.remove(&number));
        let (mut out, mut err) = (String::new(), String::new());
        self.face.notice(notice, asked.as_ref(), &mut out, &mut err);
        told(&out, &err)
    }

    fn fits(&self, line: &str) -> Fits {
        slash::fits(line)
    }

    fn local(&self, at: Wall) -> Option<time::OffsetDateTime> {
        self.clock.at(at)
    }
}
