//! Runs a role with a face: input to commands, notices to output, signals to a clean end.
//! Owns: the threads around a running role.
//! Must not know: what lines look like.
//! Invariants: leaving takes at most `LEAVE_DEADLINE`, whatever blocks; a closed stdout is no error;
//! no process ends beside a node that has not left, but for that deadline.
//! Start reading at: [`serve`].
//!
//! ```text
//!   stdin ─► reader thread ─ batches ─► node ─ notices ─► main thread (`shown.rs`) ─► stdout
//!               └──── what needs no node ────────────────────▲
//!   signals ─► guard thread ─ leave ─► node
//! ```
//! The reader hands over on its own and the main thread may block in a write, so neither slows the
//! node more than its queues allow; the guard waits for nobody.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc};

use super::alias::Aliases;
use super::args::Globals;
use super::beside::{Beside, Wanted};
use super::console::{self, Clock, Style};
use super::export::{Exports, Order, Step};
use super::input::{Line, Lines};
use super::shown::{Desk, Face, Shown};
use super::{Answer, Wish, json, operator, report, screen};
use crate::config::{Color, Config};
use crate::limits::{EVENTS_PER_TURN_MAX, INPUT_LINE_BYTES_MAX, LEAVE_DEADLINE, TEXT_BYTES_MAX};
use crate::node::passphrase::Passphrase;
use crate::node::{self, Batch, Input, Invite, Node, Role};
use crate::protocol::Command;
use crate::refusal::{Refusal, Refused};

/// Runs a member.
///
/// # Errors
/// What keeps it from starting.
pub(super) fn member(
    config: Config,
    invite: Option<Invite>,
    passphrase: Option<Passphrase>,
    is_daemon: bool,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let can_ask = !is_daemon
        && !globals.json
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal();
    let role = Role::Member { name: config.name.clone(), can_ask, invite, passphrase };
    if can_ask && !globals.is_plain() && !config.is_dumb {
        return screen::member(role, config, globals);
    }
    serve(role, config, is_daemon, globals)
}

/// Runs a bootstrap.
///
/// # Errors
/// What keeps it from starting.
pub(super) fn bootstrap(config: Config, globals: &Globals) -> Result<ExitCode, Refused> {
    serve(Role::Bootstrap, config, false, globals)
}

/// Runs a key authority.
///
/// # Errors
/// What keeps it from starting.
pub(super) fn keyauth(config: Config, globals: &Globals) -> Result<ExitCode, Refused> {
    serve(Role::Authority, config, false, globals)
}

/// The runtime of the face; the node has its own threads.
///
/// # Errors
/// The system gives none.
pub(super) fn runtime() -> Result<Runtime, Refused> {
    Builder::new_current_thread().enable_all().build().map_err(|error| operator::no_runtime(&error))
}

fn serve(
    role: Role,
    config: Config,
    is_daemon: bool,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let runtime = runtime()?;
    let aliases = Aliases::of(&config)?;
    let is_member = matches!(role, Role::Member { .. });
    let is_terminal = std::io::stdout().is_terminal();
    let style = Style {
        is_colored: match config.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !globals.is_plain(),
        },
        is_quiet: globals.quiet,
        clock: Clock::Local,
    };
    let face = if globals.json {
        Face::Json(json::Face::new(node::wall))
    } else {
        Face::Lines(console::Face::new(style))
    };
    let earlier = if is_member && !globals.json { config.history_on_join } else { 0 };
    runtime.block_on(async {
        let wanted = if is_member { Wanted::of(&config)? } else { Wanted::default() };
        let node = Node::start(role, config).await?;
        let desk = Desk::default();
        let leaving = Arc::new(Notify::new());
        let (answers, local) = mpsc::channel(EVENTS_PER_TURN_MAX);
        // A server that lost its input goes on; in a terminal it does not take the input at all,
        // for it may stand in the background.
        let takes_input = if is_member { !is_daemon } else { !std::io::stdin().is_terminal() };
        let exports = Exports::new(node.handle());
        let reader = takes_input.then(|| Reader {
            is_json: globals.json,
            aliases: aliases.clone(),
            ends_with_input: is_member,
            input: node.input(),
            desk: desk.clone(),
            answers,
            exports: exports.clone(),
            leaving: Arc::clone(&leaving),
            handle: Handle::current(),
        });
        let surrounded = Beside::start(&node, wanted).and_then(|beside| {
            guard(node.input(), Arc::clone(&leaving))?;
            reader.map_or(Ok(()), |reader| spawn("input", move || reader.run()))?;
            Ok(beside)
        });
        let beside = match surrounded {
            Ok(beside) => beside,
            Err(refused) => {
                node.leave().await;
                return Err(refused);
            }
        };
        let shown = Shown::new(face, node, desk, (local, leaving), earlier);
        let code = shown.run().await;
        // What was being written ends with the node, and takes its half of a file with it.
        exports.finish();
        beside.end();
        Ok(ExitCode::from(code))
    })
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(|_| ())
        .map_err(|error| Refused::new(Refusal::Internal, format!("no thread: {error}")))
}

/// The thread that reads input.
struct Reader {
    is_json: bool,
    aliases: Aliases,
    ends_with_input: bool,
    input: Input,
    desk: Desk,
    answers: mpsc::Sender<Answer>,
    exports: Exports,
    leaving: Arc<Notify>,
    handle: Handle,
}

impl Reader {
    fn run(self) {
        // A slash before the longest text, and the \r of other systems.
        let limit = if self.is_json { INPUT_LINE_BYTES_MAX } else { TEXT_BYTES_MAX + 2 };
        let mut lines = Lines::new(std::io::stdin().lock(), limit);
        let mut batch = Batch::new();
        let mut here = json::MAIN.to_owned();
        loop {
            while let Some(line) = lines.take() {
                let wish = self.read(&line, &mut here);
                if !self.act(wish, &mut batch) {
                    return;
                }
            }
            // Everything that had arrived is understood: hand it over before waiting for more.
            if !self.hand_over(&mut batch) {
                return;
            }
            match lines.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "input cannot be read");
                    break;
                }
            }
        }
        if let Some(line) = lines.rest() {
            let wish = self.read(&line, &mut here);
            if !self.act(wish, &mut batch) {
                return;
            }
        }
        if self.ends_with_input {
            self.act(Wish::command(Command::Exit, None), &mut batch);
        } else {
            self.hand_over(&mut batch);
        }
    }

    fn read(&self, line: &Line<'_>, here: &mut String) -> Wish {
        match line {
            Line::TooLong => {
                Wish::failed(Refused::new(Refusal::MessageTooLong, "the line was skipped"), None)
            }
            Line::Whole(line) if self.is_json => json::read(line),
            Line::Whole(line) => {
                // A question is answered once; a line that is no answer asks again.
                let is_asking = self.desk.is_asking.load(Ordering::Acquire);
                let line = self.aliases.expand_bytes(line);
                let wish = console::read(&line, is_asking, here);
                if is_asking && wish.command.is_some() {
                    self.desk.is_asking.store(false, Ordering::Release);
                }
                wish
            }
        }
    }

    /// `false`: there is nobody left to tell, or the node was told to leave.
    fn act(&self, wish: Wish, batch: &mut Batch) -> bool {
        if let Some(answer) = wish.answer
            && self.answers.blocking_send(answer).is_err()
        {
            return false;
        }
        if let Some(order) = wish.export
            && !self.export(order, batch)
        {
            return false;
        }
        let Some((command, asked)) = wish.command else { return true };
        let is_exit = command == Command::Exit;
        if is_exit {
            // Lines take effect in their order; a signal waits for nothing.
            self.hand_over(batch);
            self.exports.finish();
        }
        let number = self.input.number();
        if let Some(asked) = asked {
            self.desk.note(number, asked);
        }
        batch.push((number, command));
        if is_exit {
            self.hand_over(batch);
            self.leaving.notify_one();
            return false;
        }
        batch.len() < EVENTS_PER_TURN_MAX || self.hand_over(batch)
    }

    /// Writes a room out beside what comes next; `false` as above.
    fn export(&self, order: Order, batch: &mut Batch) -> bool {
        // What was said before it is part of it; lines that are piped in may order one after another.
        if !self.hand_over(batch) {
            return false;
        }
        self.exports.finish();
        let answers = self.answers.clone();
        let refused = self.exports.start(order, move |step| {
            if let Step::Over(answer) = step {
                // Nobody may be there to tell.
                answers.blocking_send(answer).ok();
            }
        });
        refused.is_none_or(|answer| self.answers.blocking_send(answer).is_ok())
    }

    fn hand_over(&self, batch: &mut Batch) -> bool {
        batch.is_empty()
            || self.handle.block_on(self.input.hand_over(std::mem::take(batch))).is_some()
    }
}

/// Starts the thread that turns signals into a clean end, and an end that hangs into a quick one.
pub(super) fn guard(input: Input, leaving: Arc<Notify>) -> Result<(), Refused> {
    let runtime = runtime()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(|error| operator::no_runtime(&error))?
    };
    spawn("guard", move || {
        let code = runtime.block_on(watch(signals, input, leaving));
        crate::tui::give_back();
        std::process::exit(i32::from(code));
    })
}

/// Waits for a signal that ends the process.
pub(super) async fn signalled() {
    match Signals::new() {
        Ok(mut signals) => drop(signals.next().await),
        Err(error) => {
            tracing::warn!(%error, "signals are not heard");
            std::future::pending().await
        }
    }
}

/// The exit code to end with at once. Ends only if the process does not end by itself.
async fn watch(mut signals: Signals, input: Input, leaving: Arc<Notify>) -> u8 {
    let mut was_signalled = tokio::select! {
        _ = signals.next() => true,
        () = leaving.notified() => false,
    };
    if was_signalled {
        input.leave();
    }
    let deadline = tokio::time::sleep(std::time::Duration::from_millis(LEAVE_DEADLINE.0));
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            is_interrupt = signals.next() => {
                if was_signalled && is_interrupt {
                    return report::INTERRUPTED;
                }
                // The way out may stand behind commands that wait; a signal does not.
                input.leave();
                was_signalled = true;
            }
            () = &mut deadline => return Refusal::Internal.exit(),
        }
    }
}

/// The signals that end a process.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one: whether a person interrupts.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
            _ = self.hang_up.recv() => false,
        }
    }
}

/// The signals that end a process.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> bool {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        true
    }
}
