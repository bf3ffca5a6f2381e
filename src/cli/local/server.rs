//! The running member's end of its socket: each connection is a face that speaks `--json`.
//! Owns: the connections.
//! Must not know: what a command does.
//! Invariants: a connection that is not read slows only itself; one whose input has ended is
//! answered to the end and then closed.
//! Start reading at: [`serve`].
//!
//! Besides the commands of the contract a connection takes `attach`, which says what it wants
//! (`answers_only` leaves out what it did not ask for, `shown` adds to every answer the lines that a
//! person would read, for a terminal of so many `columns`, `progress` tells how far a search is and the
//! reading of a file, `rpc` has all that comes be JSON-RPC); `follow`, which tells every message after a place once; and `export`. Whoever
//! speaks JSON-RPC is answered in it (`rpc.rs`).

mod export;

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
use super::rpc::{self, Ask, Rpc};
use crate::cli::args::Format;
use crate::cli::console::invites::Window;
use crate::cli::console::{self, Clock, Style};
use crate::cli::export::{Exports, Step};
use crate::cli::{Answer, Asked, Question, Wish, json};
use crate::ids::CommandId;
use crate::limits::{FACES_MAX, INPUT_LINE_BYTES_MAX};
use crate::node::{self, Face, Follow, Followed, Handle, Lagged, Told};
use crate::protocol::{Command, Notice};
use crate::refusal::{Refusal, Refused};

/// Output is written at the latest when so much has gathered.
const OUTPUT_BYTES: usize = 64 << 10;
/// Answers that need no node, on their way out.
const ANSWERS_MAX: usize = 64;

/// Opens the socket.
///
/// # Errors
/// [`Refusal::HomeUnusable`].
pub(in crate::cli) fn listen(path: &Path) -> Result<UnixListener, Refused> {
    node::local_socket(path).map_err(|error| {
        Refused::new(Refusal::HomeUnusable, format!("{}: {error}", path.display()))
    })
}

/// Serves whoever connects until the node has ended; then closes the connections.
pub(in crate::cli) async fn serve(handle: Handle, listener: UnixListener) {
    let mut connections = JoinSet::new();
    let exports = Exports::new(handle.clone());
    loop {
        let stream = tokio::select! {
            () = handle.ended() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < FACES_MAX => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let (handle, exports) = (handle.clone(), exports.clone());
                connections.spawn(async move { attend(&handle, &exports, stream).await });
            }
            Err(error) => {
                // Too many open files: let some connections end.
                tracing::warn!(%error, "a local connection could not be taken");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
    exports.finish();
}

async fn attend(handle: &Handle, exports: &Exports, stream: UnixStream) {
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
    let reader = Reader { handle, exports, face: &face, desk: &desk, answers };
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
    /// Whether it is told how far what takes its time is.
    #[serde(default)]
    progress: bool,
    /// How wide its terminal is, if it has one: for what is shown and is no words.
    #[serde(default)]
    columns: Option<usize>,
    /// Whether it speaks JSON-RPC from here on, whatever it says next.
    #[serde(default)]
    rpc: bool,
}

/// From where on it wants to hear what is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    after: Option<u64>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// What it wants written out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    /// None: all rooms.
    room: Option<String>,
    #[serde(default)]
    format: Format,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// What is of the connection alone.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
enum Own {
    Attach(Wants),
    Follow(From),
    Export(Export),
}

/// What reader and writer share.
#[derive(Debug, Default)]
struct Desk(Mutex<Asks>);

#[derive(Debug, Default)]
struct Asks {
    under_way: BTreeMap<CommandId, Option<Asked>>,
    wants: Wants,
    is_following: bool,
    /// Since it spoke JSON-RPC for the first time, or said that it will.
    rpc: Option<Rpc>,
}

impl Desk {
    fn asks(&self) -> std::sync::MutexGuard<'_, Asks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written without the node's telling it.
enum Said {
    /// An answer that needs no node.
    Here(Answer),
    /// Lines that are whole.
    Lines(Vec<u8>),
    /// What is said from now on comes from here.
    Follow(Box<Follow>),
    /// No more of that.
    Unfollow,
}

struct Reader<'a> {
    handle: &'a Handle,
    exports: &'a Exports,
    face: &'a Face,
    desk: &'a Desk,
    /// Dropped at the end of input: so the writer knows.
    answers: mpsc::Sender<Said>,
}

impl Reader<'_> {
    async fn run(self, from: OwnedReadHalf) {
        let mut lines = Lines::new(BufReader::new(from), INPUT_LINE_BYTES_MAX);
        while let Ok(Some(line)) = lines.next().await {
            let wish = match line {
                Line::TooLong if self.desk.asks().rpc.is_some() => {
                    let mut out = Vec::new();
                    Rpc::too_long(&mut out);
                    if self.answers.send(Said::Lines(out)).await.is_err() {
                        return;
                    }
                    continue;
                }
                Line::TooLong => {
                    let refused = Refused::new(Refusal::MessageTooLong, "the line was skipped");
                    Wish::failed(refused, None)
                }
                Line::Whole(line) if self.is_rpc(&line) => match self.calls(&line).await {
                    Some(()) => continue,
                    None => return,
                },
                Line::Whole(line) => match self.line(&line).await {
                    Some(()) => continue,
                    None => return,
                },
            };
            if self.act(wish).await.is_none() {
                return;
            }
        }
    }

    /// A line of the contract, or one of our own; `None` as below.
    async fn line(&self, line: &[u8]) -> Option<()> {
        match own(line) {
            Some(Ok(own)) => self.own(own).await,
            Some(Err((refused, reference))) => {
                self.answers.send(Said::Here(Answer::Failed { refused, reference })).await.ok()
            }
            None => self.act(json::read(line)).await,
        }
    }

    fn is_rpc(&self, line: &[u8]) -> bool {
        self.desk.asks().rpc.is_some() || rpc::is_call(line)
    }

    /// A line of JSON-RPC; `None` as below.
    async fn calls(&self, line: &[u8]) -> Option<()> {
        let mut out = Vec::new();
        let asks = {
            let mut desk = self.desk.asks();
            desk.rpc.get_or_insert_default().take(line, &mut out)
        };
        if !out.is_empty() {
            self.answers.send(Said::Lines(out)).await.ok()?;
        }
        for ask in asks {
            match ask {
                Ask::Line(line) => self.line(&line).await?,
                Ask::Subscribe { after, reference } => {
                    self.own(Own::Follow(From { after, reference })).await?;
                }
                Ask::Unsubscribe { reference } => {
                    self.desk.asks().is_following = false;
                    self.answers.send(Said::Unfollow).await.ok()?;
                    self.done(reference.as_deref()).await?;
                }
            }
        }
        Some(())
    }

    /// Tells a caller that it is done, where it called; `None` as below.
    async fn done(&self, reference: Option<&str>) -> Option<()> {
        let mut out = Vec::new();
        if let (Some(rpc), Some(reference)) = (&mut self.desk.asks().rpc, reference) {
            rpc.done(reference, &mut out);
        }
        if out.is_empty() {
            return Some(());
        }
        self.answers.send(Said::Lines(out)).await.ok()
    }

    /// `None`: there is nobody left to tell.
    async fn own(&self, own: Own) -> Option<()> {
        let (refused, reference) = match own {
            Own::Attach(wants) => {
                let mut asks = self.desk.asks();
                asks.wants = wants;
                if wants.rpc {
                    asks.rpc.get_or_insert_default();
                }
                return Some(());
            }
            Own::Follow(From { after, reference }) => match self.handle.follow(after).await {
                Ok(follow) => {
                    self.desk.asks().is_following = true;
                    self.done(reference.as_deref()).await?;
                    return self.answers.send(Said::Follow(Box::new(follow))).await.ok();
                }
                Err(refused) => (refused, reference),
            },
            Own::Export(Export { room, format, reference }) => {
                match self.export(room, format, reference.as_deref()).await {
                    Ok(heard) => return heard,
                    Err(refused) => (refused, reference),
                }
            }
        };
        self.answers.send(Said::Here(Answer::Failed { refused, reference })).await.ok()
    }

    /// `None`: there is nobody left to tell.
    async fn act(&self, wish: Wish) -> Option<()> {
        if let Some(answer) = wish.answer {
            self.answers.send(Said::Here(answer)).await.ok()?;
        }
        if let Some(order) = wish.export {
            let answers = self.answers.clone();
            let refused = self.exports.start(order, move |step| {
                if let Step::Over(answer) = step {
                    // Whoever asked may be gone.
                    answers.blocking_send(Said::Here(answer)).ok();
                }
            });
            if let Some(refused) = refused {
                self.answers.send(Said::Here(refused)).await.ok()?;
            }
        }
        let Some((command, asked)) = wish.command else { return Some(()) };
        let number = self.face.number();
        if command == Command::Exit {
            // It is answered by the end of the connection.
            let reference = asked.and_then(|asked| asked.reference);
            self.done(reference.as_deref()).await?;
        } else {
            self.desk.asks().under_way.insert(number, asked);
        }
        self.face.hand_over(vec![(number, command)]).await
    }
}

/// One of our own commands, or what is wrong with it; `None` if it is another one.
fn own(line: &[u8]) -> Option<Result<Own, (Refused, Option<String>)>> {
    // Most lines are messages: look before parsing.
    let names: [&[u8]; 3] = [b"\"attach\"", b"\"follow\"", b"\"export\""];
    let is_there = |name: &[u8]| line.windows(name.len()).any(|part| part == name);
    if !names.into_iter().any(is_there) {
        return None;
    }
    let error = match serde_json::from_slice(line) {
        Ok(own) => return Some(Ok(own)),
        Err(error) => error,
    };
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let cmd = value.get("cmd")?.as_str()?;
    if !matches!(cmd, "attach" | "follow" | "export") {
        return None;
    }
    let reference = value.get("ref").and_then(|it| it.as_str()).map(str::to_owned);
    let what = format!("{cmd}: {error}");
    Some(Err((Refused::new(Refusal::CommandBad, what), reference)))
}

struct Writer<'a> {
    face: &'a Face,
    desk: &'a Desk,
    local: mpsc::Receiver<Said>,
    to: OwnedWriteHalf,
    follow: Option<Box<Follow>>,
    pen: json::Face,
    person: console::Face,
    out: Vec<u8>,
}

enum Next {
    Told(Option<Box<Told>>),
    Said(Option<Said>),
    Followed(Result<Option<Followed>, Refused>),
}

impl<'a> Writer<'a> {
    fn new(
        face: &'a Face,
        desk: &'a Desk,
        local: mpsc::Receiver<Said>,
        to: OwnedWriteHalf,
    ) -> Self {
        let style = Style { is_colored: false, is_quiet: false, clock: Clock::Local };
        Self {
            face,
            desk,
            local,
            to,
            follow: None,
            pen: json::Face::new(node::wall),
            person: console::Face::new(style),
            out: Vec::new(),
        }
    }

    async fn run(mut self) {
        let mut is_read_out = false;
        loop {
            while self.out.len() < OUTPUT_BYTES {
                if let Ok(said) = self.local.try_recv() {
                    self.said(said);
                } else if let Some(told) = self.face.try_next() {
                    self.told(told);
                } else {
                    break;
                }
            }
            self.translate();
            if !self.out.is_empty() {
                if self.to.write_all(&self.out).await.is_err() {
                    return;
                }
                self.out.clear();
                continue;
            }
            if is_read_out {
                // Whoever only follows goes on listening; who calls has no more to call.
                let asks = self.desk.asks();
                let is_done = self.follow.is_none() || asks.rpc.is_some();
                if is_done && asks.under_way.is_empty() {
                    break;
                }
            }
            let follow = &mut self.follow;
            let is_following = follow.is_some();
            let followed = async {
                match follow {
                    Some(follow) => follow.next().await,
                    None => Ok(None),
                }
            };
            let next = tokio::select! {
                told = self.face.next() => Next::Told(told.map(Box::new)),
                said = self.local.recv(), if !is_read_out => Next::Said(said),
                followed = followed, if is_following => Next::Followed(followed),
            };
            match next {
                Next::Told(Some(told)) => self.told(*told),
                Next::Told(None) | Next::Followed(Ok(None)) => break,
                Next::Said(Some(said)) => self.said(said),
                // Whoever only follows may have no more to say.
                Next::Said(None) => is_read_out = true,
                Next::Followed(Ok(Some(followed))) => self.followed(followed),
                Next::Followed(Err(refused)) => {
                    self.pen.failed(&refused, None, true, &mut self.out);
                    break;
                }
            }
        }
        self.translate();
        // Whoever is gone reads nothing.
        self.to.write_all(&self.out).await.ok();
        self.to.shutdown().await.ok();
    }

    /// Says what is to be said as the other side speaks.
    fn translate(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if let Some(rpc) = &mut self.desk.asks().rpc {
            let lines = std::mem::take(&mut self.out);
            rpc.heard(&lines, &mut self.out);
        }
    }

    /// From here on, and not for what is about to be written.
    fn follow(&mut self, follow: Option<Box<Follow>>) {
        self.translate();
        if let Some(rpc) = &mut self.desk.asks().rpc {
            rpc.subscribe(follow.is_some());
        }
        self.follow = follow;
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Here(answer) => self.answer(&answer),
            Said::Lines(lines) => self.out.extend_from_slice(&lines),
            Said::Follow(follow) => self.follow(Some(follow)),
            Said::Unfollow => self.follow(None),
        }
    }

    fn followed(&mut self, followed: Followed) {
        match followed {
            Followed::Message(number, message) => {
                self.pen.followed(number, *message, &mut self.out);
            }
            Followed::Gap(upto) => self.pen.gap(upto, &mut self.out),
            Followed::CaughtUp(upto) => self.pen.caught_up(upto, &mut self.out),
            // The face of this connection was told the same.
            Followed::Live(_) => {}
        }
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
        if let Notice::Progress { command, .. } = &notice {
            return self.under_way(*command, &notice);
        }
        let (asked, wants, is_following) = {
            let mut asks = self.desk.asks();
            let asked = notice.command().and_then(|number| asks.under_way.remove(&number));
            (asked, asks.wants, asks.is_following)
        };
        let is_end = matches!(notice, Notice::Exited | Notice::Failed { is_fatal: true, .. });
        if asked.is_none() && wants.answers_only && !is_end {
            return;
        }
        let is_answer = asked.is_some();
        // Whoever follows is told every message by its place.
        if is_following && !is_answer && matches!(notice, Notice::Message(_) | Notice::Sent { .. })
        {
            return;
        }
        let asked = asked.flatten();
        if wants.shown && is_answer {
            self.person.show_in(Window::Asker(wants.columns));
            let (mut text, mut errors) = (String::new(), String::new());
            self.person.notice(notice.clone(), asked.as_ref(), &mut text, &mut errors);
            self.shown(&text);
        }
        self.pen.notice(notice, asked, &mut self.out);
    }

    /// Something takes its time; its answer follows.
    fn under_way(&mut self, command: CommandId, notice: &Notice) {
        let reference = {
            let asks = self.desk.asks();
            let asked = asks.under_way.get(&command).filter(|_| asks.wants.progress);
            let Some(asked) = asked else { return };
            asked.as_ref().and_then(|asked| asked.reference.clone())
        };
        let asked = Asked { reference, question: Question::Plain };
        self.pen.notice(notice.clone(), Some(asked), &mut self.out);
    }

    fn shown(&mut self, text: &str) {
        if !text.is_empty() {
            self.pen.shown(text, &mut self.out);
        }
    }
}
