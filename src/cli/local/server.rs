//! The running member's end of its socket: each connection is a face that speaks `--json`.
//! Owns: the connections.
//! Must not know: what a command does.
//! Invariants: a connection that is not read slows only itself; one whose input has ended is
//! answered to the end and then closed.
//! Start reading at: [`serve`].
//!
//! Besides the commands of the contract a connection takes `{"cmd":"attach"}`, which says what it
//! wants: `answers_only` leaves out what it did not ask for, `shown` adds to every answer the
//! lines that a person would read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lines::{Line, Lines};
use crate::cli::console::{self, Clock, Style};
use crate::cli::{Answer, Asked, Wish, json};
use crate::ids::CommandId;
use crate::limits::{FACES_MAX, INPUT_LINE_BYTES_MAX};
use crate::node::{self, Face, Handle, Lagged, Told};
use crate::protocol::{Command, Notice};
use crate::refusal::{Refusal, Refused};

/// Output is written at the latest when so much has gathered.
const OUTPUT_BYTES: usize = 64 << 10;
/// Answers that need no node, on their way out.
const ANSWERS_MAX: usize = 64;

/// Opens the socket; what an earlier process left there is replaced.
///
/// # Errors
/// [`Refusal::HomeUnusable`].
pub(in crate::cli) fn listen(path: &Path) -> Result<UnixListener, Refused> {
    let unusable = |error: std::io::Error| {
        Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
    };
    if let Some(directory) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory).map_err(unusable)?;
    }
    // Under another name until it is closed to others, so that nobody comes before that.
    let fresh = path.with_extension("new");
    if let Err(error) = std::fs::remove_file(&fresh)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(unusable(error));
    }
    let listener = UnixListener::bind(&fresh).map_err(unusable)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&fresh, private).map_err(unusable)?;
    std::fs::rename(&fresh, path).map_err(unusable)?;
    Ok(listener)
}

/// Serves whoever connects until the node has ended; then closes the connections.
pub(in crate::cli) async fn serve(handle: Handle, listener: UnixListener) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = handle.ended() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < FACES_MAX => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let handle = handle.clone();
                connections.spawn(async move { attend(&handle, stream).await });
            }
            Err(error) => {
                // Too many open files: let some connections end.
                tracing::warn!(%error, "a local connection could not be taken");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn attend(handle: &Handle, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let face = match handle.face() {
        Ok(face) => face,
        Err(refused) => {
            let mut out = Vec::new();
            json::Face::new(node::wall).failed(&refused, None, true, &mut out);
            // Nobody may be there to read it.
            write.write_all(&out).await.ok();
            return;
        }
    };
    let desk = Desk::default();
    let (answers, local) = mpsc::channel(ANSWERS_MAX);
    let reader = Reader { face: &face, desk: &desk, answers };
    let writer = Writer::new(&face, &desk, local, write);
    let reading = reader.run(read);
    let writing = writer.run();
    tokio::pin!(reading, writing);
    tokio::select! {
        () = &mut writing => {}
        // Whoever asked and is not listening any more is seen when writing.
        () = &mut reading => writing.await,
    }
}

/// What a connection wants to hear.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wants {
    #[serde(default)]
    answers_only: bool,
    #[serde(default)]
    shown: bool,
}

#[derive(Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
enum Preamble {
    Attach(Wants),
}

/// What reader and writer share.
#[derive(Debug, Default)]
struct Desk(Mutex<Asks>);

#[derive(Debug, Default)]
struct Asks {
    under_way: BTreeMap<CommandId, Option<Asked>>,
    wants: Wants,
}

impl Desk {
    fn asks(&self) -> std::sync::MutexGuard<'_, Asks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader<'a> {
    face: &'a Face,
    desk: &'a Desk,
    /// Dropped at the end of input: so the writer knows.
    answers: mpsc::Sender<Answer>,
}

impl Reader<'_> {
    async fn run(self, from: OwnedReadHalf) {
        let mut lines = Lines::new(BufReader::new(from), INPUT_LINE_BYTES_MAX);
        while let Ok(Some(line)) = lines.next().await {
            let wish = match line {
                Line::TooLong => {
                    let refused = Refused::new(Refusal::MessageTooLong, "the line was skipped");
                    Wish::failed(refused, None)
                }
                Line::Whole(line) => match attached(&line) {
                    Some(wants) => {
                        self.desk.asks().wants = wants;
                        continue;
                    }
                    None => json::read(&line),
                },
            };
            if self.act(wish).await.is_none() {
                return;
            }
        }
    }

    /// `None`: there is nobody left to tell.
    async fn act(&self, wish: Wish) -> Option<()> {
        if let Some(answer) = wish.answer {
            self.answers.send(answer).await.ok()?;
        }
        let Some((command, asked)) = wish.command else { return Some(()) };
        let number = self.face.number();
        if command != Command::Exit {
            self.desk.asks().under_way.insert(number, asked);
        }
        self.face.hand_over(vec![(number, command)]).await
    }
}

fn attached(line: &[u8]) -> Option<Wants> {
    // Most lines are messages: look before parsing.
    let word = b"\"attach\"";
    if !line.windows(word.len()).any(|part| part == word) {
        return None;
    }
    let Preamble::Attach(wants) = serde_json::from_slice(line).ok()?;
    Some(wants)
}

struct Writer<'a> {
    face: &'a Face,
    desk: &'a Desk,
    local: mpsc::Receiver<Answer>,
    to: OwnedWriteHalf,
    pen: json::Face,
    person: console::Face,
    out: Vec<u8>,
}

enum Next {
    Told(Option<Told>),
    Answer(Option<Answer>),
}

impl<'a> Writer<'a> {
    fn new(
        face: &'a Face,
        desk: &'a Desk,
        local: mpsc::Receiver<Answer>,
        to: OwnedWriteHalf,
    ) -> Self {
        let style = Style { is_colored: false, is_quiet: false, clock: Clock::Local };
        Self {
            face,
            desk,
            local,
            to,
            pen: json::Face::new(node::wall),
            person: console::Face::new(style),
            out: Vec::new(),
        }
    }

    async fn run(mut self) {
        let mut is_read_out = false;
        loop {
            while self.out.len() < OUTPUT_BYTES {
                if let Ok(answer) = self.local.try_recv() {
                    self.answer(&answer);
                } else if let Some(told) = self.face.try_next() {
                    self.told(told);
                } else {
                    break;
                }
            }
            if !self.out.is_empty() {
                if self.to.write_all(&self.out).await.is_err() {
                    return;
                }
                self.out.clear();
                continue;
            }
            if is_read_out && self.desk.asks().under_way.is_empty() {
                break;
            }
            let next = tokio::select! {
                told = self.face.next() => Next::Told(told),
                answer = self.local.recv(), if !is_read_out => Next::Answer(answer),
            };
            match next {
                Next::Told(Some(told)) => self.told(told),
                Next::Told(None) => break,
                Next::Answer(Some(answer)) => self.answer(&answer),
                Next::Answer(None) => is_read_out = true,
            }
        }
        // Whoever is gone reads nothing.
        self.to.write_all(&self.out).await.ok();
        self.to.shutdown().await.ok();
    }

    fn answer(&mut self, answer: &Answer) {
        if self.desk.asks().wants.shown {
            let (mut text, mut errors) = (String::new(), String::new());
            self.person.answer(answer, &mut text, &mut errors);
            self.shown(&text);
        }
        self.pen.answer(answer, &mut self.out);
    }

    fn told(&mut self, told: Told) {
        let notice = match told {
            Err(Lagged) => return self.pen.lagged(&mut self.out),
            Ok(notice) => notice,
        };
        let (asked, wants) = {
            let mut asks = self.desk.asks();
            (notice.command().and_then(|number| asks.under_way.remove(&number)), asks.wants)
        };
        let is_end = matches!(notice, Notice::Exited | Notice::Failed { is_fatal: true, .. });
        if asked.is_none() && wants.answers_only && !is_end {
            return;
        }
        let is_answer = asked.is_some();
        let asked = asked.flatten();
        if wants.shown && is_answer {
            let (mut text, mut errors) = (String::new(), String::new());
            self.person.notice(notice.clone(), asked.as_ref(), &mut text, &mut errors);
            self.shown(&text);
        }
        self.pen.notice(notice, asked, &mut self.out);
    }

    fn shown(&mut self, text: &str) {
        if !text.is_empty() {
            self.pen.shown(text, &mut self.out);
        }
    }
}
