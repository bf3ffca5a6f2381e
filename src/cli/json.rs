//! The `--json` contract: one object a line in, one object a line out.
//! Owns: the shape of every event and every command that scripts rely on.
//! Must not know: where lines come from and go to.
//! Invariants: every event has `event` and `at`; a line that is not understood changes nothing.
//! Start reading at: [`Face::notice`], [`read`].

mod compare;
mod data;
mod delivery;
mod demo;
mod events;
mod files;
mod invites;
mod line;
mod links;
mod local;
mod network;
mod people;
mod rooms;
mod seen;
mod shapes;
mod stamp;
mod stored;
mod table;
#[cfg(test)]
mod tests;

pub(super) use self::demo::demo;
pub(super) use self::events::state_name;
pub(super) use self::files::reason;
pub(super) use self::invites::invite_state;
pub(super) use self::line::line as value;
#[cfg(unix)]
pub(super) use self::local::tokens;
pub(super) use self::local::{doctor, made, part, parted, share};
pub(super) use self::table::commands;

use std::borrow::Cow;

use serde::Deserialize;

use self::events::Pen;
use self::rooms::ChangeData;
use self::stamp::Stamp;
use self::table::{allowed, bare, fields_in};
use super::network::{FIELDS, Given};
use super::slash::{self, Slash};
use super::{Answer, Asked, Question, Wish};
use crate::limits::{HISTORY_MAX, REF_BYTES_MAX, SINCE_MAX, TEXT_BYTES_MAX};
use crate::node::operator::invites::InviteRow;
use crate::protocol::check::Report;
use crate::protocol::{Command, MessagePlace, MessageView, Notice, PeopleCommand, Words};
use crate::refusal::{Refusal, Refused};
use crate::time::Wall;

/// The room that every network has.
pub(super) const MAIN: &str = "main";
const HISTORY_DEFAULT: usize = 100;

/// Text borrowed from the line where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// All fields that any command may have. One flat struct, because an enum tagged inside would
/// copy every field first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    cmd: Text<'a>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    line: Option<Text<'a>>,
    #[serde(borrow, rename = "ref")]
    reference: Option<Text<'a>>,
    last: Option<usize>,
    after: Option<u64>,
    #[serde(borrow)]
    before: Option<Text<'a>>,
    #[serde(borrow)]
    words: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    verified: Option<bool>,
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    uses: Option<u32>,
    #[serde(borrow)]
    expires: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    entry: Option<Text<'a>>,
    #[serde(borrow)]
    code: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
}

impl Fields<'_> {
    /// The names of the fields that were given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("room", self.room.is_some()),
            ("text", self.text.is_some()),
            ("line", self.line.is_some()),
            ("last", self.last.is_some()),
            ("after", self.after.is_some()),
            ("before", self.before.is_some()),
            ("words", self.words.is_some()),
            ("name", self.name.is_some()),
            ("verified", self.verified.is_some()),
            ("role", self.role.is_some()),
            ("reason", self.reason.is_some()),
            ("uses", self.uses.is_some()),
            ("expires", self.expires.is_some()),
            ("id", self.id.is_some()),
            ("entry", self.entry.is_some()),
            ("code", self.code.is_some()),
            ("path", self.path.is_some()),
        ];
        given.into_iter().filter(|(_, is)| *is).map(|(name, _)| name)
    }
}

/// The `ref` of an object whose other fields are not what they should be.
fn reference_of(line: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let text = value.get("ref")?.as_str()?;
    (text.len() <= REF_BYTES_MAX).then(|| text.to_owned())
}

/// Understands a line of input.
pub(super) fn read(line: &[u8]) -> Wish {
    let bad = |what: String| Refused::new(Refusal::CommandBad, what);
    // The deserializer would also take an array for a struct.
    let is_object = line.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !is_object {
        return Wish::failed(bad("expected a JSON object".to_owned()), None);
    }
    let mut fields: Fields<'_> = match serde_json::from_slice(line) {
        Ok(fields) => fields,
        Err(error) => return Wish::failed(bad(error.to_string()), reference_of(line)),
    };
    let reference = fields.reference.take().map(|text| text.0.into_owned());
    if reference.as_ref().is_some_and(|text| text.len() > REF_BYTES_MAX) {
        return Wish::failed(bad(format!("ref is longer than {REF_BYTES_MAX} bytes")), None);
    }
    let Some(allowed) = allowed(&fields.cmd.0) else {
        return Wish::failed(unknown(&fields.cmd.0), reference);
    };
    if let Some(name) = fields.given().find(|name| !allowed.contains(name)) {
        return Wish::failed(bad(format!("{} takes no {name}", fields.cmd.0)), reference);
    }
    if fields_in(FIELDS, &fields.cmd.0).is_some() {
        return read_network(fields, reference);
    }
    if fields_in(rooms::COMMANDS, &fields.cmd.0).is_some() {
        return read_room(fields, reference);
    }
    if fields_in(files::COMMANDS, &fields.cmd.0).is_some() {
        return read_files(fields, reference);
    }
    if fields.cmd.0 == "search" {
        return read_search(fields, reference);
    }
    let room = fields.room.take().map_or_else(|| MAIN.to_owned(), |text| text.0.into_owned());
    match fields.cmd.0.as_ref() {
        "send" => match fields.text {
            None => Wish::failed(bad("send needs text".to_owned()), reference),
            Some(text) => match check_text(&text.0) {
                Err(refused) => Wish::failed(refused, reference),
                Ok(()) => {
                    let expires = fields.expires.map(|text| text.0.into_owned());
                    match slash::send(room, text.0.into_owned(), expires.as_deref()) {
                        Ok(command) => plain(command, reference),
                        Err(what) => Wish::failed(bad(what), reference),
                    }
                }
            },
        },
        "reply" | "edit" | "delete" | "react" | "unreact" | "app" => {
            match saying(&fields.cmd.0, room, (fields.id, fields.name), fields.text) {
                Ok(command) => plain(command, reference),
                Err(refused) => Wish::failed(refused, reference),
            }
        }
        "since" => {
            let count = fields.last.unwrap_or(SINCE_MAX).min(SINCE_MAX);
            plain(Command::Since { after: fields.after.unwrap_or(0), count }, reference)
        }
        "history" | "seen" => read_past(fields, room, reference),
        "slash" => match fields.line {
            None => Wish::failed(bad("slash needs line".to_owned()), reference),
            Some(line) => read_slash(line.0.into_owned(), reference),
        },
        "deliveries" => match fields.before.map(|text| seen::place(&text.0)).transpose() {
            Ok(before) => plain(deliveries(room, before, fields.last), reference),
            Err(refused) => Wish::failed(refused, reference),
        },
        "info" => match fields.id {
            None => Wish::failed(bad("info needs id".to_owned()), reference),
            Some(id) => plain(Command::Delivery { id: id.0.into_owned() }, reference),
        },
        "verify" => match verify(fields.name, fields.verified) {
            Ok(command) => plain(command, reference),
            Err(refused) => Wish::failed(refused, reference),
        },
        "leader" => {
            let asked = Asked { reference, question: Question::Leader };
            Wish::command(Command::Status, Some(asked))
        }
        other => plain(bare(other), reference),
    }
}

/// Something about a message, or for an application.
fn saying(
    cmd: &str,
    room: String,
    (id, name): (Option<Text<'_>>, Option<Text<'_>>),
    text: Option<Text<'_>>,
) -> Result<Command, Refused> {
    let bad = |what: &str| Refused::new(Refusal::CommandBad, format!("{cmd} needs {what}"));
    let text = text.map(|text| text.0.into_owned()).unwrap_or_default();
    if cmd == "app" {
        let kind = name.ok_or_else(|| bad("name"))?.0.into_owned();
        check_text(&text)?;
        return Ok(Command::Apply { room, kind, text });
    }
    let to = id.ok_or_else(|| bad("id"))?.0.into_owned();
    let deed = slash::deed(cmd, &text).ok_or_else(|| bad("text"))?;
    Ok(Command::Say { room, to, deed })
}

/// A command that needs nothing but its number, to be answered in its own form.
fn plain(command: Command, reference: Option<String>) -> Wish {
    let asked = reference.map(|r| Asked { reference: Some(r), question: Question::Plain });
    Wish::command(command, asked)
}

/// Understands a command about rooms.
fn read_room(fields: Fields<'_>, reference: Option<String>) -> Wish {
    let text = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
    let given = rooms::Given {
        room: text(fields.room).unwrap_or_else(|| MAIN.to_owned()),
        name: text(fields.name),
        role: text(fields.role),
        reason: text(fields.reason),
        entry: text(fields.entry),
        code: text(fields.code),
        text: text(fields.text),
        last: fields.last,
    };
    match rooms::read(&fields.cmd.0, given) {
        Some(Ok(command)) => plain(command, reference),
        Some(Err(refused)) => Wish::failed(refused, reference),
        None => Wish::failed(unknown(&fields.cmd.0), reference),
    }
}

/// Understands a command about files.
fn read_files(fields: Fields<'_>, reference: Option<String>) -> Wish {
    let text = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
    let room = text(fields.room).unwrap_or_else(|| MAIN.to_owned());
    let given = (text(fields.path), text(fields.id), text(fields.name));
    match files::read(&fields.cmd.0, room, given, text(fields.expires).as_deref()) {
        Ok(command) => plain(command, reference),
        Err(refused) => Wish::failed(refused, reference),
    }
}

/// Understands a command about who belongs.
fn read_network(fields: Fields<'_>, reference: Option<String>) -> Wish {
    let text = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
    let given = Given {
        name: text(fields.name),
        role: text(fields.role),
        reason: text(fields.reason),
        uses: fields.uses,
        expires: text(fields.expires),
        room: text(fields.room),
        id: text(fields.id),
    };
    match given.command(&fields.cmd.0) {
        Ok(command) => plain(command, reference),
        Err(what) => Wish::failed(Refused::new(Refusal::CommandBad, what), reference),
    }
}

/// Where one's own messages among the newest of a room have arrived, or among those before one.
fn deliveries(room: String, before: Option<MessagePlace>, last: Option<usize>) -> Command {
    let last = last.unwrap_or(HISTORY_DEFAULT).min(HISTORY_MAX);
    Command::Deliveries { room, before, last }
}

fn unknown(cmd: &str) -> Refused {
    let shown: String = cmd.chars().take(64).collect();
    let what = match crate::config::nearest(&shown, commands()) {
        Some(near) => format!("unknown cmd \"{shown}\"; did you mean \"{near}\"?"),
        None => format!("unknown cmd \"{shown}\""),
    };
    Refused::new(Refusal::CommandBad, what)
}

fn verify(name: Option<Text<'_>>, is_verified: Option<bool>) -> Result<Command, Refused> {
    let name = name.ok_or_else(|| Refused::new(Refusal::CommandBad, "verify needs name"))?;
    let name = name.0.into_owned();
    Ok(Command::People(PeopleCommand::Verify { name, is_verified }))
}

/// What was said in a room, and how far it was read.
fn read_past(fields: Fields<'_>, room: String, reference: Option<String>) -> Wish {
    if fields.cmd.0 == "seen" {
        return match seen::read(room, fields.id.as_ref().map(|text| text.0.as_ref())) {
            Ok(command) => plain(command, reference),
            Err(refused) => Wish::failed(refused, reference),
        };
    }
    let last = fields.last.unwrap_or(HISTORY_DEFAULT);
    if last > HISTORY_MAX {
        let what = format!("last is at most {HISTORY_MAX}");
        return Wish::failed(Refused::new(Refusal::CommandBad, what), reference);
    }
    match fields.before.map(|text| seen::place(&text.0)) {
        None => {
            let asked = Asked { reference, question: Question::History { room: room.clone() } };
            Wish::command(Command::History { room, last }, Some(asked))
        }
        Some(Err(refused)) => Wish::failed(refused, reference),
        Some(Ok(before)) => {
            let question = Question::History { room: room.clone() };
            let command = Command::Earlier { room, before, last };
            Wish::command(command, Some(Asked { reference, question }))
        }
    }
}

/// Asks for messages that hold words; the answer names the room and the words, also when it is
/// empty.
fn read_search(fields: Fields<'_>, reference: Option<String>) -> Wish {
    let last = fields.last.unwrap_or(HISTORY_DEFAULT);
    if last > HISTORY_MAX {
        let what = format!("last is at most {HISTORY_MAX}");
        return Wish::failed(Refused::new(Refusal::CommandBad, what), reference);
    }
    let room = fields.room.map(|text| text.0.into_owned());
    let typed = fields.words.map(|text| text.0.into_owned()).unwrap_or_default();
    match Words::parse(&typed) {
        Err(refused) => Wish::failed(refused, reference),
        Ok(words) => {
            let question = Question::Search { room: room.clone(), words: typed };
            let asked = Asked { reference, question };
            Wish::command(Command::Search { room, words, last }, Some(asked))
        }
    }
}

/// What keeps a text from being sent.
pub(super) fn check_text(text: &str) -> Result<(), Refused> {
    if text.is_empty() {
        return Err(Refusal::MessageEmpty.into());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Refused::new(Refusal::MessageTooLong, format!("{} bytes", text.len())));
    }
    Ok(())
}

fn read_slash(line: String, reference: Option<String>) -> Wish {
    let refuse = |refused: Refused, line: String, reference: Option<String>| {
        Wish::answered(Answer::SlashFailed { line, reference, refused })
    };
    if !line.starts_with('/') && line.trim_end() != "$exit" {
        let refused = Refused::new(Refusal::CommandBad, "a slash command starts with /");
        return refuse(refused, line, reference);
    }
    let slash = match slash::parse(&line, MAIN) {
        Ok(slash) => slash,
        Err(refused) => return refuse(refused, line, reference),
    };
    let command = match &slash {
        Slash::Help(topic) => {
            return match slash::help(topic.as_deref()) {
                Ok(entries) => {
                    let is_brief = topic.is_none();
                    Wish::answered(Answer::Helped { line, reference, entries, is_brief })
                }
                Err(refused) => refuse(refused, line, reference),
            };
        }
        Slash::Leader => Command::Status,
        Slash::Do(command) => command.clone(),
        Slash::Go(_) => {
            let why = "lines of JSON name their room: {\"cmd\":\"send\",\"room\":…}";
            return refuse(Refused::new(Refusal::CommandBad, why), line, reference);
        }
        Slash::Exit => {
            let leaving = Wish::answered(Answer::Leaving { line, reference });
            return Wish { command: Some((Command::Exit, None)), ..leaving };
        }
        Slash::Export(export) => return Wish::export(export.clone(), line, reference),
        Slash::Say { room, text } => {
            if let Err(refused) = check_text(text) {
                return refuse(refused, line, reference);
            }
            Command::Send { room: room.clone(), text: text.clone() }
        }
    };
    Wish::command(command, Some(Asked { reference, question: Question::Slash { line, slash } }))
}

/// Writes events.
pub(super) struct Face {
    pen: Pen,
    now: fn() -> Wall,
    at: Stamp,
}

impl Face {
    pub(super) fn new(now: fn() -> Wall) -> Self {
        Self { pen: Pen::default(), now, at: Stamp::default() }
    }

    /// A notice as a line; `asked` is what the command it answers was about.
    pub(super) fn notice(&mut self, notice: Notice, asked: Option<Asked>, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        let pen = &mut self.pen;
        if let Some(Asked { reference, question: Question::Slash { line, slash } }) = &asked {
            pen.result(at, notice, line, slash, reference.as_deref(), out);
            return;
        }
        let reference = asked.as_ref().and_then(|asked| asked.reference.as_deref());
        let is_about_leader =
            asked.as_ref().is_some_and(|asked| asked.question == Question::Leader);
        match notice {
            Notice::Ready(ready) => pen.ready(at, &ready, out),
            Notice::Leader(leader) => pen.leader(at, leader.as_ref(), None, out),
            Notice::Status { status, .. } if is_about_leader => {
                pen.leader(at, status.leader.as_ref(), reference, out);
            }
            Notice::Member(member) => pen.member(at, &member, out),
            Notice::Sent { message, .. } => pen.sent(at, &message, reference, out),
            Notice::Message(message) => pen.message(at, &message, false, reference, out),
            Notice::Delivered { id, to } => pen.delivered(at, id, &to, out),
            Notice::Status { status, .. } => pen.status(at, &status, reference, out),
            Notice::Members { members, .. } => pen.members(at, &members, reference, out),
            Notice::History { messages, .. } => {
                for message in &messages {
                    pen.message(at, message, true, reference, out);
                }
                let room = match &asked {
                    Some(Asked { question: Question::History { room }, .. }) => room,
                    _ => MAIN,
                };
                pen.history(at, room, messages.len(), reference, out);
            }
            Notice::Since { page, .. } => pen.since(at, &page, reference, out),
            Notice::Found { messages, .. } => {
                for message in &messages {
                    pen.message(at, message, true, reference, out);
                }
                let (room, words) = match &asked {
                    Some(Asked { question: Question::Search { room, words }, .. }) => {
                        (room.as_deref(), words.as_str())
                    }
                    _ => (Some(MAIN), ""),
                };
                pen.found(at, (room, words), messages.len(), reference, out);
            }
            Notice::Progress { doing, done, of, .. } => {
                local::progress(at, (doing, done, of), asked.as_ref(), out);
            }
            Notice::Delivery { delivery, .. } => delivery::write(at, &delivery, reference, out),
            Notice::Audit { records, .. } => pen.audit(at, &records, reference, out),
            Notice::Compared { compared, .. } => compare::write(at, &compared, reference, out),
            Notice::Links { links, .. } => links::write(at, &links, reference, out),
            Notice::Verify { verify, .. } => people::verify(at, &verify, reference, out),
            Notice::Alarm(alarm) => people::alarm(at, &alarm, out),
            Notice::Alarms { alarms, .. } => people::alarms(at, &alarms, reference, out),
            Notice::Whois { whois, .. } => people::whois(at, &whois, reference, out),
            Notice::Ignored { members, .. } => people::ignored(at, &members, reference, out),
            Notice::Epoch(epoch) => pen.epoch(at, &epoch, reference, out),
            Notice::Room { room, .. } => pen.room(at, &ChangeData::state(&room), reference, out),
            Notice::Receipt(receipt) => pen.receipt(at, &receipt, out),
            Notice::Receipts { receipts, .. } => pen.receipts(at, &receipts, reference, out),
            Notice::Rooms { rooms, .. } => pen.rooms(at, &rooms, reference, out),
            Notice::RoomChanged(change) => {
                pen.room(at, &ChangeData::of(&change), reference, out);
            }
            Notice::Invite { invite, text, .. } => {
                let text = text.as_ref().map(|it| it.text.as_str());
                invites::write(at, &invite, text, reference, out);
            }
            Notice::Invites { invites, .. } => pen.invites(at, &invites, reference, out),
            Notice::Code { code, since, .. } => rooms::code(at, (&code, since), reference, out),
            Notice::Request { request, .. } => pen.request(at, &request, reference, out),
            Notice::Requests { requests, .. } => pen.requests(at, &requests, reference, out),
            Notice::Wish { wish, .. } => pen.wish(at, &wish, reference, out),
            Notice::File { file, .. } => files::file(at, &file, reference, out),
            Notice::Files { files, .. } => files::files(at, &files, reference, out),
            Notice::Rekeying { .. } => rooms::rekeying(at, reference, out),
            Notice::ConfirmAuthority { fingerprint, address } => {
                pen.confirm(at, &fingerprint, &address, out);
            }
            Notice::Waiting { text } => pen.text(at, "waiting", &text, out),
            Notice::Info { text } => pen.text(at, "info", &text, out),
            Notice::Failed { refused, is_fatal, .. } => {
                pen.error(at, &refused, reference, is_fatal, out);
            }
            Notice::Deliveries { room, deliveries, .. } => {
                delivery::write_all(at, &room, &deliveries, reference, out);
            }
            Notice::Seen { room, upto, .. } => seen::write(at, &room, upto, reference, out),
            Notice::Exited => pen.exited(at, out),
        }
    }

    /// A no that did not come from the node.
    pub(super) fn failed(
        &mut self,
        refused: &Refused,
        reference: Option<&str>,
        is_fatal: bool,
        out: &mut Vec<u8>,
    ) {
        let at = self.at.of((self.now)());
        self.pen.error(at, refused, reference, is_fatal, out);
    }

    /// An answer that did not need the node.
    pub(super) fn answer(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        let pen = &mut self.pen;
        match answer {
            Answer::Failed { refused, reference } => {
                pen.error(at, refused, reference.as_deref(), false, out);
            }
            Answer::SlashFailed { line, reference, refused } => {
                pen.result_failed(at, line, reference.as_deref(), refused, out);
            }
            Answer::Helped { line, reference, entries, .. } => {
                pen.helped(at, line, reference.as_deref(), entries, out);
            }
            Answer::Leaving { line, reference } => {
                pen.leaving(at, line, reference.as_deref(), out);
            }
            Answer::Exported { line, reference, exported } => {
                pen.written_out(at, line, reference.as_deref(), exported, out);
            }
        }
    }

    /// A row of the authority's register.
    pub(super) fn certificate(&mut self, row: &crate::protocol::CertificateRow, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        self.pen.certificate(at, row, out);
    }

    /// An invite, with the text to pass on where it is new.
    pub(super) fn invite(&mut self, row: &InviteRow, text: Option<&str>, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        invites::write(at, row, text, None, out);
    }

    /// What an export wrote, and where.
    pub(super) fn exported(&mut self, file: &str, fingerprint: &str, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        self.pen.exported(at, file, fingerprint, out);
    }

    /// A setting.
    pub(super) fn setting(&mut self, shown: &crate::config::Shown, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        self.pen.setting(at, shown, out);
    }

    /// What a check of the store found.
    pub(super) fn verified(&mut self, report: &Report, out: &mut Vec<u8>) {
        let at = self.at.of((self.now)());
        self.pen.verified(at, report, out);
    }
}

/// A message as exported: a line of its own, with nothing of this machine in it.
/// Of a deleted one its text is empty.
pub(super) fn exported(view: &MessageView, is_deleted: bool, out: &mut Vec<u8>) {
    let mut data = data::MessageData::of(view);
    data.deleted = is_deleted;
    line::line(&data, out);
}
