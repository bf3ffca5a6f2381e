//! The other end of a running member's socket: for commands that do one thing and end.
//! Owns: one connection.
//! Must not know: what is done with an answer.
//! Invariants: every wait ends by its deadline, which begins anew with each word of how far it is; nothing
//! is believed about a line but its bound.
//! Start reading at: [`Connection::ask`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::io::{ErrorKind, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::lines::{self, Lines};
use crate::protocol::Doing;
use crate::refusal::{Refusal, Refused};

/// A line of a running member: history comes as one line a message, a status is the longest.
const LINE_BYTES_MAX: usize = 64 << 20;

/// A connection to a running member.
#[derive(Debug)]
pub(in crate::cli) struct Connection {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    last: u64,
}

/// Something the member said.
#[derive(Debug)]
pub(in crate::cli) struct Event {
    value: Value,
    /// The line as it came.
    raw: Vec<u8>,
}

impl std::ops::Deref for Event {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl Event {
    /// The line as it came, without the reference that was ours alone.
    pub(in crate::cli) fn line(&self) -> Vec<u8> {
        let mut line = self.raw.clone();
        // In a text it would stand with escaped quotes.
        let reference = format!(",\"ref\":{}", self.value["ref"]).into_bytes();
        if let Some(at) = line.windows(reference.len()).position(|part| part == reference) {
            line.drain(at..at.saturating_add(reference.len()));
        }
        line.push(b'\n');
        line
    }
}

/// What came of a question.
#[derive(Debug, Default)]
pub(in crate::cli) struct Heard {
    /// The events that answer, in their order.
    pub(in crate::cli) events: Vec<Event>,
    /// The lines for a person.
    pub(in crate::cli) shown: String,
}

impl Heard {
    /// The event that ends the answer.
    pub(in crate::cli) fn last(&self) -> &Value {
        self.events.last().map_or(&Value::Null, |event| &event.value)
    }
}

/// A part of an export.
#[derive(Debug)]
pub(in crate::cli) struct Part {
    pub(in crate::cli) text: String,
    /// How much of all is done, where that was said.
    pub(in crate::cli) share: Option<(u64, u64)>,
}

impl Connection {
    /// Connects; `answers_only` leaves out what was not asked for.
    ///
    /// # Errors
    /// [`Refusal::NothingRunning`]; [`Refusal::HomeUnusable`] where it is not ours.
    pub(in crate::cli) async fn open(home: &Path, answers_only: bool) -> Result<Self, Refused> {
        let path = super::path(home);
        let connected = UnixStream::connect(&path).await;
        let stream = connected.map_err(|error| unconnected(&error, home, &path))?;
        let (read, write) = stream.into_split();
        let mut connection = Self::over(read, write);
        connection.write(&attach(answers_only, None)).await?;
        Ok(connection)
    }

    fn over(read: OwnedReadHalf, write: OwnedWriteHalf) -> Self {
        Self { lines: Lines::new(BufReader::new(read), LINE_BYTES_MAX), write, last: 0 }
    }

    async fn write(&mut self, command: &Value) -> Result<(), Refused> {
        let line = format!("{command}\n");
        self.write.write_all(line.as_bytes()).await.map_err(|_| gone())
    }

    /// Orders something; gives the reference that its answer will carry.
    pub(in crate::cli) async fn order(&mut self, mut command: Value) -> Result<String, Refused> {
        self.last = self.last.saturating_add(1);
        let reference = self.last.to_string();
        if let Some(fields) = command.as_object_mut() {
            fields.insert("ref".to_owned(), Value::from(reference.as_str()));
        }
        self.write(&command).await?;
        Ok(reference)
    }

    /// The next event. Cancel safe, as its lines are.
    ///
    /// # Errors
    /// [`Refusal::NothingRunning`] once the member has ended.
    pub(in crate::cli) async fn next(&mut self) -> Result<Event, Refused> {
        loop {
            match self.lines.next().await {
                Ok(Some(lines::Line::Whole(line))) => {
                    if let Ok(value) = serde_json::from_slice(&line) {
                        return Ok(Event { value, raw: line });
                    }
                }
                Ok(Some(lines::Line::TooLong)) => {}
                Ok(None) | Err(_) => return Err(gone()),
            }
        }
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// The no that it is; [`Refusal::TimedOut`]; [`Refusal::NothingRunning`].
    pub(in crate::cli) async fn ask(
        &mut self,
        command: Value,
        within: Duration,
    ) -> Result<Heard, Refused> {
        self.ask_and_see(command, within, |_, _, _| {}).await
    }

    /// As [`Connection::ask`]; `told` hears what is done, and how much of how much, where that takes its
    /// time: it has the time anew whenever it says so.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub(in crate::cli) async fn ask_and_see(
        &mut self,
        command: Value,
        within: Duration,
        told: impl Fn(Doing, u64, u64),
    ) -> Result<Heard, Refused> {
        let is_slash = command["cmd"] == "slash";
        if is_slash && std::io::stdout().is_terminal() {
            // What is no words is as wide as there is room here, not where the member runs.
            self.write(&attach(true, crate::tui::run::columns())).await?;
        }
        let reference = self.order(command).await?;
        self.answer(&reference, is_slash, within, told).await
    }

    /// The next part of an export; `None` after the last.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub(in crate::cli) async fn part(&mut self, reference: &str) -> Result<Option<Part>, Refused> {
        loop {
            let event = self.next().await?;
            let is_fatal = event["event"] == "error" && event["fatal"] == true;
            if let Some(no) = no(&event).filter(|_| is_fatal || event["ref"] == *reference) {
                return Err(no);
            }
            match event["event"].as_str() {
                Some("part") => {
                    let text = event["text"].as_str().unwrap_or_default().to_owned();
                    return Ok(Some(Part { text, share: share(&event) }));
                }
                Some("parted") => return Ok(None),
                _ => {}
            }
        }
    }

    async fn answer(
        &mut self,
        reference: &str,
        is_slash: bool,
        within: Duration,
        told: impl Fn(Doing, u64, u64),
    ) -> Result<Heard, Refused> {
        let mut heard = Heard::default();
        let late = tokio::time::sleep(within);
        tokio::pin!(late);
        loop {
            let event = tokio::select! {
                event = self.next() => event?,
                () = &mut late => {
                    let detail = format!("no answer within {} s", within.as_secs());
                    return Err(Refused::new(Refusal::TimedOut, detail));
                }
            };
            if event["event"] == "shown" {
                heard.shown.push_str(event["text"].as_str().unwrap_or_default());
                continue;
            }
            if event["event"] == "error" && event["fatal"] == true {
                return Err(refused(&event));
            }
            if event["ref"] != *reference {
                continue;
            }
            if is_progress(&event) {
                late.set(tokio::time::sleep(within));
                let doing = event["doing"].as_str().and_then(Doing::of_word);
                if let Some((doing, (done, of))) = doing.zip(share(&event)) {
                    told(doing, done, of);
                }
                continue;
            }
            if let Some(no) = no(&event) {
                return Err(no);
            }
            // History and search come as messages and one event that ends them; what was sent by a
            // slash command as `sent` and its result.
            let is_part = event["event"] == "message" && event["history"] == true
                || event["event"] == "part"
                || is_slash && event["event"] != "result";
            heard.events.push(event);
            if !is_part {
                return Ok(heard);
            }
        }
    }
}

/// What a connection wants to hear: how far something is, too, since it is waited for as long as it
/// goes on.
fn attach(answers_only: bool, columns: Option<usize>) -> Value {
    json!({
        "cmd": "attach",
        "answers_only": answers_only,
        "shown": true,
        "progress": true,
        "columns": columns,
    })
}

/// Why there is no connection.
pub(super) fn unconnected(error: &std::io::Error, home: &Path, path: &Path) -> Refused {
    let detail = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!("no member runs on {}", home.display())
        }
        _ => format!("{}: {error}", path.display()),
    };
    match error.kind() {
        // Somebody else's may well run.
        ErrorKind::PermissionDenied => Refused::new(Refusal::HomeUnusable, detail),
        _ => Refused::new(Refusal::NothingRunning, detail),
    }
}

fn gone() -> Refused {
    Refused::new(Refusal::NothingRunning, "the member has ended")
}

/// Whether an event only says how far something is; the answer follows.
pub(in crate::cli) fn is_progress(event: &Value) -> bool {
    event["event"] == "progress"
}

/// How much is done of how much, if an event says so.
pub(in crate::cli) fn share(event: &Value) -> Option<(u64, u64)> {
    event["done"].as_u64().zip(event["of"].as_u64())
}

/// The no in an event, if it is one.
pub(in crate::cli) fn no(event: &Value) -> Option<Refused> {
    match event["event"].as_str() {
        Some("error") => Some(refused(event)),
        Some("result") if event["ok"] == false => Some(refused(&event["error"])),
        _ => None,
    }
}

/// A no as it was before it became an event.
fn refused(event: &Value) -> Refused {
    let code = event["code"].as_str().unwrap_or_default();
    let refusal = Refusal::from_code(code).unwrap_or(Refusal::Internal);
    let message = event["message"].as_str().unwrap_or_default();
    let detail = message.strip_prefix(refusal.why()).unwrap_or(message);
    Refused::new(refusal, detail.strip_prefix(": ").unwrap_or(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_ours_is_no_sign_that_nothing_runs() {
        let (home, path) = (Path::new("/h"), Path::new("/h/control.sock"));
        for (kind, refusal, says) in [
            (ErrorKind::NotFound, Refusal::NothingRunning, "no member runs on /h"),
            (ErrorKind::ConnectionRefused, Refusal::NothingRunning, "no member runs on /h"),
            (ErrorKind::PermissionDenied, Refusal::HomeUnusable, "/h/control.sock: "),
            (ErrorKind::Other, Refusal::NothingRunning, "/h/control.sock: "),
        ] {
            let refused = unconnected(&kind.into(), home, path);
            assert_eq!(refused.refusal, refusal, "{kind}");
            assert!(refused.detail.starts_with(says), "{}", refused.detail);
        }
    }

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, write) = ours.into_split();
        (Connection::over(read, write), theirs)
    }

    #[tokio::test]
    async fn how_far_it_is_is_no_answer_and_gives_the_time_anew() {
        let (mut connection, mut member) = pair();
        let saying = async {
            for (doing, done) in [("search", 1), ("search", 2), ("dance", 3), ("read", 4)] {
                tokio::time::sleep(Duration::from_millis(1_000)).await;
                let line = json!({ "event": "progress", "ref": "1", "doing": doing, "done": done,
                    "of": 9 });
                member.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            }
            member.write_all(b"{\"event\":\"search\",\"ref\":\"1\"}\n").await.unwrap();
        };
        let told = std::cell::RefCell::new(Vec::new());
        let question = json!({ "cmd": "search" });
        let hear = |doing: Doing, done, of| told.borrow_mut().push((doing, done, of));
        let asked = connection.ask_and_see(question, Duration::from_secs(3), hear);
        let (heard, ()) = tokio::join!(asked, saying);
        assert_eq!(heard.unwrap().last()["event"], "search");
        let of = |doing, done| (doing, done, 9);
        let (searching, reading) = (Doing::Searching, Doing::Reading);
        assert_eq!(told.take(), [of(searching, 1), of(searching, 2), of(reading, 4)]);
        let late = connection.ask(json!({ "cmd": "search" }), Duration::from_millis(50)).await;
        assert_eq!(late.unwrap_err().refusal, Refusal::TimedOut);
    }

    #[tokio::test]
    async fn an_event_of_which_half_was_there_is_whole_later() {
        let (mut connection, mut member) = pair();
        member.write_all(b"{\"event\":").await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(20), connection.next()).await;
        assert!(waited.is_err());
        member.write_all(b"\"ready\"}\n").await.unwrap();
        assert_eq!(connection.next().await.unwrap()["event"], "ready");
    }

    #[test]
    fn a_no_is_the_same_after_its_way_through_an_event() {
        for refusal in [Refusal::RoomUnknown, Refusal::TimedOut, Refusal::NotDelivered] {
            for detail in ["", "ops", "a: b"] {
                let before = Refused::new(refusal, detail);
                let mut line = Vec::new();
                crate::cli::json::Face::new(crate::node::wall)
                    .failed(&before, None, false, &mut line);
                let event: Value = serde_json::from_slice(&line).unwrap();
                assert_eq!(no(&event), Some(before));
            }
        }
        assert_eq!(no(&json!({ "event": "result", "ok": true })), None);
        let result = json!({ "event": "result", "ok": false, "error": { "code": "no_keys" } });
        assert_eq!(no(&result).map(|it| it.refusal), Some(Refusal::NoKeys));
    }
}
