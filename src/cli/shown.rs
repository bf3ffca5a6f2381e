//! Notices as output: by the main thread, or at once by the node's own.
//! Owns: the one writer of stdout and stderr, and when it writes.
//! Must not know: what lines look like, where input comes from.
//! Invariants: what comes together is written together; nothing waits for a reader but the main
//! thread; lines are whole, and in the order of the notices.
//! Start reading at: [`Shown::run`].

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use tokio::sync::{Notify, mpsc};

use super::catch_up::Watch;
use super::{Answer, Asked, Question, console, json, report, slash};
use crate::ids::CommandId;
use crate::node::clock::Clock;
use crate::node::{Input, Node, Show};
use crate::protocol::{Command, Notice};

/// Output is written at the latest when so much has gathered.
const OUTPUT_BYTES: usize = 64 << 10;
/// A text up to this size makes a line that any pipe with room takes whole: `PIPE_BUF` of POSIX is
/// 4,096 bytes on Linux, JSON writes six for one at the most, and names are bounded.
const QUICK_TEXT_MAX: usize = 256;

/// What reader and writer share.
#[derive(Clone, Default)]
pub(super) struct Desk {
    /// What the commands under way were about, where their answers need it.
    asked: Arc<Mutex<BTreeMap<CommandId, Asked>>>,
    /// Whether the next line answers a question.
    pub(super) is_asking: Arc<AtomicBool>,
}

impl Desk {
    pub(super) fn note(&self, number: CommandId, asked: Asked) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(number, asked);
    }
    fn recall(&self, number: CommandId) -> Option<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }
}

/// How a role is shown.
pub(super) enum Face {
    Json(json::Face),
    Lines(console::Face),
}

/// Notices in, output out.
pub(super) struct Shown {
    screen: Arc<Mutex<Screen>>,
    node: Node,
    local: mpsc::Receiver<Answer>,
    leaving: Arc<Notify>,
    /// How many earlier messages to show once ready.
    earlier: usize,
    /// How far it has caught up, where a person sees it.
    watch: Option<Watch>,
    clock: Clock,
}

/// What turns notices into bytes, and the bytes that wait to be written.
struct Screen {
    face: Face,
    desk: Desk,
    out: Out,
    input: Input,
    leaving: Arc<Notify>,
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    pub(super) fn new(
        face: Face,
        node: Node,
        desk: Desk,
        (local, leaving): (mpsc::Receiver<Answer>, Arc<Notify>),
        earlier: usize,
    ) -> Self {
        let input = node.input();
        let is_seen = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let watch = match &face {
            Face::Lines(_) if is_seen => Some(Watch::new(console::Clock::Local)),
            _ => None,
        };
        let screen = Screen { face, desk, out: Out::default(), input, leaving };
        let leaving = Arc::clone(&screen.leaving);
        let (screen, clock) = (Arc::new(Mutex::new(screen)), Clock::start());
        Self { screen, node, local, leaving, earlier, watch, clock }
    }

    /// Until the node has ended; then the exit code.
    pub(super) async fn run(mut self) -> u8 {
        if pipe::is_stdout() {
            self.node.show_quickly(quickly(Arc::clone(&self.screen)));
        }
        let mut code = 0;
        let mut has_local = true;
        loop {
            while let Ok(answer) = self.local.try_recv() {
                lock(&self.screen).answer(&answer);
            }
            // What is already there is written together; what is written is flushed before waiting.
            let notice = match self.node.notice().now_or_never() {
                Some(notice) => notice,
                None => {
                    let wakes = self.look_at_catch_up();
                    lock(&self.screen).flush();
                    self.node.shown();
                    tokio::select! {
                        notice = self.node.notice() => notice,
                        () = wakes => continue,
                        answer = self.local.recv(), if has_local => {
                            match answer {
                                Some(answer) => lock(&self.screen).answer(&answer),
                                None => has_local = false,
                            }
                            continue;
                        }
                    }
                }
            };
            let Some(notice) = notice else { break };
            if self.watch.as_mut().is_some_and(|watch| watch.on(&notice, self.clock.now())) {
                continue;
            }
            let is_last = notice == Notice::Exited;
            if let Notice::Failed { refused, is_fatal: true, .. } = &notice {
                code = refused.refusal.exit();
                self.leaving.notify_one();
            }
            if matches!(notice, Notice::Ready(_)) && self.earlier > 0 {
                self.ask_earlier();
            }
            lock(&self.screen).notice(notice);
            if is_last {
                break;
            }
        }
        let mut screen = lock(&self.screen);
        screen.out.under.clear();
        screen.flush();
        code.max(screen.out.code)
    }

    /// Says how far it has caught up, and asks how far that is; gives when to look again.
    fn look_at_catch_up(&mut self) -> impl Future<Output = ()> + use<> {
        let now = self.clock.now();
        let mut at = None;
        if let Some(watch) = &mut self.watch {
            let line = watch.line(now).unwrap_or_default();
            if watch.wants_status(now) {
                let input = self.node.input();
                let number = input.number();
                watch.ask(number, now);
                // Not awaited here: the node may wait for its notices to be read.
                tokio::spawn(async move { input.hand_over(vec![(number, Command::Status)]).await });
            }
            at = watch.wakes_at(now).map(|at| self.clock.instant(at));
            lock(&self.screen).out.under = line;
        }
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        }
    }

    fn ask_earlier(&mut self) {
        let last = std::mem::take(&mut self.earlier);
        let input = self.node.input();
        let number = input.number();
        let command = Command::History { room: json::MAIN.to_owned(), last };
        let slash = slash::Slash::Do(command.clone());
        let question = Question::Slash { line: String::new(), slash };
        lock(&self.screen).desk.note(number, Asked { reference: None, question });
        // Not awaited here: the node may wait for its notices to be read.
        tokio::spawn(async move { input.hand_over(vec![(number, command)]).await });
    }
}

/// Shows a short message that comes alone, if stdout takes it at once.
fn quickly(screen: Arc<Mutex<Screen>>) -> Show {
    Box::new(move |notice| {
        let is_short = match &notice {
            Notice::Message(message) => {
                message.text.len() <= QUICK_TEXT_MAX && message.missing == 0
            }
            Notice::Delivered { .. } => true,
            // An answer repeats what was asked, however long that was.
            _ => false,
        };
        let Ok(mut screen) = screen.try_lock() else { return Some(notice) };
        if !is_short || !screen.out.is_empty() || !pipe::takes_a_line() {
            return Some(notice);
        }
        screen.notice(notice);
        screen.flush();
        None
    })
}

impl Screen {
    fn notice(&mut self, notice: Notice) {
        let asked = notice.command().and_then(|number| self.desk.recall(number));
        if matches!(notice, Notice::ConfirmAuthority { .. }) {
            self.desk.is_asking.store(true, Ordering::Release);
        }
        match &mut self.face {
            Face::Json(face) => face.notice(notice, asked, &mut self.out.data),
            Face::Lines(face) => {
                let mut text = String::new();
                face.notice(notice, asked.as_ref(), &mut text, &mut self.out.errors);
                self.out.data.extend_from_slice(text.as_bytes());
            }
        }
        if self.out.data.len() > OUTPUT_BYTES {
            self.flush();
        }
    }

    fn answer(&mut self, answer: &Answer) {
        match &mut self.face {
            Face::Json(face) => face.answer(answer, &mut self.out.data),
            Face::Lines(face) => {
                let mut text = String::new();
                face.answer(answer, &mut text, &mut self.out.errors);
                self.out.data.extend_from_slice(text.as_bytes());
            }
        }
        if self.out.data.len() > OUTPUT_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.out.flush() {
            // Nobody reads any more: leave as if asked to.
            self.input.leave();
            self.leaving.notify_one();
        }
    }
}

/// What waits to be written.
#[derive(Default)]
struct Out {
    data: Vec<u8>,
    errors: String,
    /// What stands below all else on a terminal, and what stands there now.
    under: String,
    written_under: String,
    is_closed: bool,
    /// What the process ends with, if it was no reader's wish.
    code: u8,
}

impl Out {
    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.errors.is_empty()
    }

    /// `false` once, when it turns out that nobody reads.
    fn flush(&mut self) -> bool {
        let mut is_heard = true;
        if self.is_empty() && self.under == self.written_under {
            return is_heard;
        }
        if !self.written_under.is_empty() {
            report::complain("\r\u{1b}[K");
        }
        if !self.data.is_empty() {
            if !self.is_closed {
                let printed = report::print(&self.data);
                is_heard = matches!(printed, Ok(true));
                self.is_closed = !is_heard;
                if let Err(refused) = printed {
                    self.errors.push_str(&report::person(&refused, true));
                    self.code = refused.refusal.exit();
                }
            }
            self.data.clear();
        }
        if !self.errors.is_empty() {
            report::complain(&self.errors);
            self.errors.clear();
        }
        report::complain(&self.under);
        self.written_under.clone_from(&self.under);
        is_heard
    }
}

/// What a pipe promises: once it says that there is room it takes `PIPE_BUF` bytes without waiting.
/// A terminal promises nothing, and a file need not be asked.
#[cfg(unix)]
pub(super) mod pipe {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    pub(super) fn is_stdout() -> bool {
        let stdout = std::io::stdout();
        let copy = stdout.as_fd().try_clone_to_owned();
        let about = copy.and_then(|copy| std::fs::File::from(copy).metadata());
        about.is_ok_and(|it| it.file_type().is_fifo())
    }

    /// Whether it is one that nobody reads any more.
    pub(in crate::cli) fn is_read_no_more() -> bool {
        let stdout = std::io::stdout();
        // What is wrong with it is told without being asked for.
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&at_once)).is_ok()
            && asked.iter().any(|it| it.revents().contains(PollFlags::ERR))
    }

    pub(super) fn takes_a_line() -> bool {
        let stdout = std::io::stdout();
        let mut asked = [PollFd::new(&stdout, PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&at_once)).is_ok_and(|count| count == 1)
            && asked.iter().all(|it| it.revents() == PollFlags::OUT)
    }
}

/// Elsewhere everything goes the long way.
#[cfg(not(unix))]
pub(super) mod pipe {
    pub(in crate::cli) fn is_read_no_more() -> bool {
        false
    }

    pub(super) fn is_stdout() -> bool {
        false
    }

    pub(super) fn takes_a_line() -> bool {
        false
    }
}
