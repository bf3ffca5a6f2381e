//! Commands that do one thing and end, asked of the member that runs on a home.
//! Owns: which question each asks, how its answer is printed, and its exit code.
//! Must not know: how a connection works.
//! Invariants: stdout gets answers alone; with `--json` what the member said, unchanged; a message
//! is said to be delivered only when the members it went to said that they hold it.
//! Start reading at: [`ask`], [`send`].

#![expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::client::{self, Connection, Event, Heard, Part};
use super::source::Source;
use crate::cli::args::{Globals, Wait};
use crate::cli::progress::Progress;
use crate::cli::shown::pipe;
use crate::cli::{columns, report, serve};
use crate::config::Config;
use crate::protocol::Doing;
use crate::refusal::{Refusal, Refused};
use crate::text::one_line;
use crate::time::Millis;

/// How long an answer may take that no flag speaks of.
pub(in crate::cli) const PATIENCE: Duration = Duration::from_secs(30);
/// How often delivery is asked for although nothing was heard of it.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);
/// How often it is looked whether anybody still reads what is printed.
const READER_EVERY: Duration = Duration::from_millis(1_000);
/// Messages under way to the member at once.
const UNDER_WAY_MAX: usize = 256;

/// Asks one thing and prints the answer: as the member said it, or the lines for a person.
///
/// # Errors
/// The no that it is.
pub(in crate::cli) fn ask(
    config: &Config,
    question: Value,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let heard = asked(config, question)?;
    print(&heard, globals.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks one thing; what takes its time is shown meanwhile.
///
/// # Errors
/// The no that it is; [`Refusal::NothingRunning`].
pub(in crate::cli) fn asked(config: &Config, question: Value) -> Result<Heard, Refused> {
    let home = config.member_home()?.to_owned();
    // Gone before the answer is printed.
    let progress = OnceCell::new();
    let told = |doing: Doing, done, of| {
        progress.get_or_init(|| Progress::start(doing.name())).at(done, of);
    };
    serve::runtime()?.block_on(async {
        Connection::open(&home, true).await?.ask_and_see(question, PATIENCE, told).await
    })
}

/// Asks for an export; gives its parts as they come, each within the time that an answer may take.
///
/// # Errors
/// As [`asked`].
pub(in crate::cli) fn parts(
    config: &Config,
    question: Value,
) -> Result<impl Iterator<Item = Result<Part, Refused>>, Refused> {
    let home = config.member_home()?.to_owned();
    let runtime = serve::runtime()?;
    let (mut connection, reference) = runtime.block_on(async {
        let mut connection = Connection::open(&home, true).await?;
        let reference = connection.order(question).await?;
        Ok::<_, Refused>((connection, reference))
    })?;
    let mut is_over = false;
    Ok(std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let part = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, connection.part(&reference)).await.unwrap_or_else(|_| {
                let detail = format!("no answer within {} s", PATIENCE.as_secs());
                Err(Refused::new(Refusal::TimedOut, detail))
            })
        });
        is_over = !matches!(part, Ok(Some(_)));
        part.transpose()
    }))
}

/// A slash command as a question.
pub(in crate::cli) fn slash(line: &str) -> Value {
    json!({ "cmd": "slash", "line": line })
}

/// Prints an answer: as the member said it, or the lines for a person; into a pipe columns where it
/// is a list.
///
/// # Errors
/// [`Refusal::FileUnwritable`].
pub(in crate::cli) fn print(heard: &Heard, is_json: bool) -> Result<(), Refused> {
    if !is_json && columns::are_wanted() {
        let events = heard.events.iter().map(|event| &**event);
        let lines = columns::of(events).unwrap_or_else(|| columns::plain(&heard.shown));
        return report::print(lines.as_bytes()).map(drop);
    }
    if !is_json {
        return report::print(heard.shown.as_bytes()).map(drop);
    }
    let lines: Vec<u8> = heard.events.iter().flat_map(Event::line).collect();
    report::print(&lines).map(drop)
}

/// What to send, and what to wait for.
#[derive(Debug)]
pub(in crate::cli) struct Sending {
    pub(in crate::cli) room: String,
    /// `-`: from stdin.
    pub(in crate::cli) text: String,
    /// A file in its place, from the root on.
    pub(in crate::cli) path: Option<std::path::PathBuf>,
    /// After how long it is gone, as typed.
    pub(in crate::cli) expires: Option<String>,
    /// Whether each line of stdin is a message.
    pub(in crate::cli) has_lines: bool,
    pub(in crate::cli) wait: Wait,
    pub(in crate::cli) timeout: Millis,
}

impl Sending {
    fn command(&self, text: &str) -> Value {
        if let Some(path) = &self.path {
            let room = self.room.strip_prefix('#').unwrap_or(&self.room);
            let path = path.to_string_lossy();
            return match &self.expires {
                None => json!({ "cmd": "send_file", "room": room, "path": path }),
                Some(expires) => {
                    json!({ "cmd": "send_file", "room": room, "path": path, "expires": expires })
                }
            };
        }
        let room = self.room.strip_prefix('#').unwrap_or(&self.room);
        match (self.room.strip_prefix('@'), &self.expires) {
            (Some(name), None) => json!({ "cmd": "msg", "name": name, "text": text }),
            (_, None) => json!({ "cmd": "send", "room": room, "text": text }),
            (_, Some(expires)) => {
                json!({ "cmd": "send", "room": room, "text": text, "expires": expires })
            }
        }
    }
}

/// Sends, and waits as long as was asked for.
///
/// # Errors
/// What keeps a message from being sent; [`Refusal::NotDelivered`].
pub(in crate::cli) fn send(
    config: &Config,
    sending: &Sending,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let home = config.member_home()?.to_owned();
    let mut source = match sending.path {
        Some(_) => Source::One(Some(String::new())),
        None => Source::open(&sending.text, sending.has_lines)?,
    };
    let reading = sending.path.as_ref().map(|_| Progress::start("reading the file"));
    let mut delivery = Delivery {
        sending,
        is_json: globals.json,
        reading,
        given: 0,
        under_way: 0,
        sent: BTreeMap::new(),
    };
    serve::runtime()?.block_on(async {
        let answers_only = sending.wait == Wait::Stored;
        let mut connection = Connection::open(&home, answers_only).await?;
        delivery.run(&mut connection, &mut source).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What became of the messages sent.
struct Delivery<'a> {
    sending: &'a Sending,
    is_json: bool,
    /// While a file is read.
    reading: Option<Progress>,
    /// How many were handed over.
    given: usize,
    /// Those of them of which nothing was heard yet.
    under_way: usize,
    /// Those stored and not yet as far as is waited for.
    sent: BTreeMap<String, String>,
}

impl Delivery<'_> {
    /// Ends once all there is to send is as far as is waited for; what is refused is the last.
    async fn run(&mut self, to: &mut Connection, source: &mut Source) -> Result<(), Refused> {
        let within = Duration::from_millis(self.sending.timeout.0);
        let mut asked: BTreeMap<String, String> = BTreeMap::new();
        let (mut has_more, mut refused) = (true, None);
        let late = tokio::time::sleep(within);
        tokio::pin!(late);
        while has_more || self.under_way > 0 || !self.sent.is_empty() {
            let may_take = has_more && self.under_way < UNDER_WAY_MAX;
            tokio::select! {
                text = source.next(), if may_take => match text {
                    Some(Ok(text)) => {
                        to.order(self.sending.command(&text)).await?;
                        (self.given, self.under_way) = (self.given + 1, self.under_way + 1);
                        late.set(tokio::time::sleep(within));
                    }
                    Some(Err(no)) => (refused, has_more) = (Some(no), false),
                    None => has_more = false,
                },
                event = to.next() => {
                    let event = event?;
                    if client::is_progress(&event) {
                        // A file is still read.
                        self.read(&event);
                        late.set(tokio::time::sleep(within));
                    } else if let Some(no) = self.on_event(&event, &mut asked, to).await? {
                        (refused, has_more) = (Some(no), false);
                    }
                }
                // News may have been left out: ask for all that is open.
                () = tokio::time::sleep(LOOK_EVERY), if !self.sent.is_empty() => {
                    for id in self.sent.keys() {
                        let number = to.order(json!({ "cmd": "info", "id": id })).await?;
                        asked.insert(number, id.clone());
                    }
                }
                // Whoever writes what is to be sent may take as long as it likes.
                () = &mut late, if !may_take => return Err(self.late()),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn read(&self, event: &Event) {
        if let (Some(reading), Some((done, of))) = (&self.reading, client::share(event)) {
            reading.at(done, of);
        }
    }

    /// The no to a message, if it is one.
    async fn on_event(
        &mut self,
        event: &Event,
        asked: &mut BTreeMap<String, String>,
        to: &mut Connection,
    ) -> Result<Option<Refused>, Refused> {
        let number = event["ref"].as_str().unwrap_or_default();
        if !event["ref"].is_null() {
            // The line goes before anything is printed.
            self.reading = None;
        }
        match event["event"].as_str() {
            Some("error" | "result") if !event["ref"].is_null() || event["fatal"] == true => {
                let Some(no) = client::no(event) else { return Ok(None) };
                if event["fatal"] == true || asked.contains_key(number) {
                    return Err(no);
                }
                self.under_way = self.under_way.saturating_sub(1);
                return Ok(Some(no));
            }
            Some("sent") if !event["ref"].is_null() => {
                self.under_way = self.under_way.saturating_sub(1);
                let id = event["id"].as_str().unwrap_or_default().to_owned();
                if self.is_json {
                    report::print(&event.line())?;
                } else if self.sending.wait == Wait::Stored {
                    report::print(format!("{id}\n").as_bytes())?;
                }
                if self.sending.wait != Wait::Stored {
                    let number = to.order(json!({ "cmd": "info", "id": id })).await?;
                    asked.insert(number, id.clone());
                    self.sent.insert(id, "stored".to_owned());
                }
            }
            Some("delivered") => {
                let id = event["id"].as_str().unwrap_or_default();
                if self.sent.contains_key(id) {
                    let number = to.order(json!({ "cmd": "info", "id": id })).await?;
                    asked.insert(number, id.to_owned());
                }
            }
            Some("delivery") => {
                if let Some(id) = asked.remove(number) {
                    self.heard(&id, event)?;
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn heard(&mut self, id: &str, event: &Event) -> Result<(), Refused> {
        let count = |field: &str| event[field].as_array().map_or(0, Vec::len);
        let (to, lacks) = (count("to"), count("lacks"));
        let of = to.saturating_add(lacks);
        let is_enough = match self.sending.wait {
            Wait::Stored => true,
            Wait::One => to > 0 || of == 0,
            Wait::All => lacks == 0,
        };
        let Some(state) = self.sent.get_mut(id) else { return Ok(()) };
        *state = format!("{to} of {of}");
        if !is_enough {
            return Ok(());
        }
        let line = format!("{id}\tdelivered to {state}\n");
        self.sent.remove(id);
        let line = if self.is_json { event.line() } else { line.into_bytes() };
        report::print(&line).map(drop)
    }

    fn late(&self) -> Refused {
        if self.under_way > 0 {
            // Nobody said that they are stored.
            let detail = format!("{} of {} may be stored or not", self.under_way, self.given);
            return Refused::new(Refusal::TimedOut, detail);
        }
        let shown: Vec<String> = self
            .sent
            .iter()
            .take(3)
            .map(|(id, state)| format!("{id}: {}", one_line(state)))
            .collect();
        let detail = format!("{} of {} wait ({})", self.sent.len(), self.given, shown.join("; "));
        Refused::new(Refusal::NotDelivered, detail)
    }
}

/// Prints what is said from a place on, until interrupted.
///
/// # Errors
/// [`Refusal::CursorUnknown`], [`Refusal::CursorGone`]; [`Refusal::RoomUnknown`],
/// [`Refusal::NotInRoom`]; [`Refusal::NothingRunning`] once the member has ended.
pub(in crate::cli) fn tail(
    config: &Config,
    since: Option<u64>,
    room: Option<&str>,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let home = config.member_home()?.to_owned();
    serve::runtime()?.block_on(async {
        let mut connection = Connection::open(&home, false).await?;
        if let Some(room) = room {
            can_hear(&mut connection, room).await?;
        }
        connection.order(json!({ "cmd": "follow", "after": since })).await?;
        // Of its own: what comes, of other rooms too, does not put it off.
        let mut looks = tokio::time::interval(READER_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = connection.next() => event?,
                // `tail | head` ends when head does, and not with the next message.
                _ = looks.tick() => {
                    if pipe::is_read_no_more() {
                        return Ok(ExitCode::SUCCESS);
                    }
                    continue;
                }
            };
            let is_heard = match event["event"].as_str() {
                Some("message") if event["cursor"].is_null() => continue,
                Some("message") => tell(&event, room, globals.json)?,
                Some("error") => match client::no(&event) {
                    Some(no) => return Err(no),
                    None => true,
                },
                // What goes with an answer for people.
                Some("shown" | "sent") => continue,
                Some("gap") => {
                    let detail = format!("the earliest is {}", event["upto"]);
                    return Err(Refused::new(Refusal::CursorGone, detail));
                }
                Some(_) if globals.json => report::print(&event.line())?,
                _ => true,
            };
            if !is_heard {
                return Ok(ExitCode::SUCCESS);
            }
        }
    })
}

/// Nothing would ever come from a room that is not there, or that the member is not in.
async fn can_hear(connection: &mut Connection, room: &str) -> Result<(), Refused> {
    match connection.ask(json!({ "cmd": "room", "room": room }), PATIENCE).await {
        Ok(heard) if heard.last()["in"] == false => Err(Refused::new(Refusal::NotInRoom, room)),
        // Nothing is known of the rooms yet: what comes later is heard.
        Err(refused) if refused.refusal == Refusal::NoKeys => Ok(()),
        heard => heard.map(drop),
    }
}

/// `false`: nobody reads any more.
fn tell(event: &Event, room: Option<&str>, is_json: bool) -> Result<bool, Refused> {
    let field = |name: &str| event[name].as_str().unwrap_or_default();
    if room.is_some_and(|room| room.strip_prefix('#').unwrap_or(room) != field("room")) {
        return Ok(true);
    }
    if is_json {
        return report::print(&event.line());
    }
    report::print(format!("{}\n", columns::message(event).join("\t")).as_bytes())
}
