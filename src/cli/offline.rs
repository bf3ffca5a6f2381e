//! Commands on a member's store alone: history, search, export, verify, audit.
//! Owns: how their results look.
//! Must not know: how a store is read.
//! Invariants: what other people wrote moves no cursor and is no markup; JSON Lines are exact.
//! Start reading at: [`export`].

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{Format, Globals, Named};
use super::console::recent::Recent;
use super::console::{self, Clock, Style, audit_line};
use super::progress::Progress;
use super::whole::WholeFile;
use super::{Asked, Question, columns, json, report, serve};
use crate::config::{Color, Config};
use crate::ids::CommandId;
use crate::node::{self, offline, offline::Offline};
use crate::protocol::check::Report;
use crate::protocol::fold::Deletions;
use crate::protocol::{MessageView, Notice, Words};
use crate::refusal::{Refusal, Refused};
use crate::text::{action, grouped, one_line};

/// Nobody asked by number.
const COMMAND: CommandId = CommandId(0);
/// In place of a text that its author deleted.
const DELETED: &str = "[deleted]";
/// Output is written when so much has gathered.
const OUTPUT_BYTES: usize = 64 << 10;

/// The store; if a process has it, with what to do about that.
///
/// # Errors
/// What keeps it from being opened.
pub(super) fn open(config: &Config, named: &Named) -> Result<Offline, Refused> {
    let passphrase = named.lock.passphrase(config)?;
    Offline::open(config, passphrase.as_ref()).map_err(in_use)
}

/// For what a running member cannot be asked.
pub(super) fn at_rest(refused: Refused) -> Refused {
    if refused.refusal != Refusal::HomeInUse {
        return refused;
    }
    let detail = format!("{}; end it first, with /exit", refused.detail);
    Refused { detail, ..refused }
}

fn in_use(refused: Refused) -> Refused {
    if refused.refusal != Refusal::HomeInUse {
        return refused;
    }
    let detail = format!("{}; ask it: /history, /search, /audit", refused.detail);
    Refused { detail, ..refused }
}

/// Prints the newest messages.
///
/// # Errors
/// What keeps them from being read.
pub(super) fn history(
    mut store: Offline,
    room: &str,
    last: usize,
    config: &Config,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let messages = store.history(room, last)?;
    let question = Question::History { room: room.to_owned() };
    show(Notice::History { command: COMMAND, messages }, question, config, globals)
}

/// Prints the newest messages with these words, newest first.
///
/// # Errors
/// What keeps them from being read; no words.
pub(super) fn search(
    mut store: Offline,
    (room, question): (Option<&str>, Question),
    words: &Words,
    last: usize,
    (config, globals): (&Config, &Globals),
) -> Result<ExitCode, Refused> {
    let progress = Progress::start("searching");
    let messages = store.search(room, words, last, |done, of| progress.at(done, of))?;
    drop(progress);
    show(Notice::Found { command: COMMAND, messages }, question, config, globals)
}

fn show(
    notice: Notice,
    question: Question,
    config: &Config,
    globals: &Globals,
) -> Result<ExitCode, Refused> {
    let asked = Asked { reference: None, question };
    let mut out = Vec::new();
    if globals.json {
        json::Face::new(node::wall).notice(notice, Some(asked), &mut out);
    } else if columns::are_wanted() {
        let mut lines = Vec::new();
        json::Face::new(node::wall).notice(notice, Some(asked), &mut lines);
        let events: Vec<serde_json::Value> =
            lines.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice).collect();
        out.extend_from_slice(columns::of(&events).unwrap_or_default().as_bytes());
    } else {
        let style = Style {
            is_colored: config.color == Color::Always,
            is_quiet: globals.quiet,
            clock: Clock::Local,
        };
        let (mut text, mut errors) = (String::new(), String::new());
        console::Face::new(style).notice(notice, Some(&asked), &mut text, &mut errors);
        out.extend_from_slice(text.as_bytes());
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what the control log changed.
///
/// # Errors
/// What keeps it from being read.
pub(super) fn audit(store: &Offline, is_json: bool) -> Result<ExitCode, Refused> {
    let records = store.audit();
    let mut out = Vec::new();
    if is_json {
        let notice = Notice::Audit { command: COMMAND, records };
        json::Face::new(node::wall).notice(notice, None, &mut out);
    } else {
        for record in &records {
            out.extend_from_slice(audit_line(record).as_bytes());
            out.push(b'\n');
        }
    }
    report::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks everything that is stored. The exit code says whether it is sound.
///
/// # Errors
/// What keeps it from being read.
pub(super) fn verify(config: &Config, named: &Named, is_json: bool) -> Result<ExitCode, Refused> {
    let passphrase = named.lock.passphrase(config)?;
    let progress = Progress::start("checking every chain, hash and signature");
    let found = offline::verify(config, passphrase.as_ref(), |done, of| progress.at(done, of));
    let found = found.map_err(in_use)?;
    drop(progress);
    let mut out = Vec::new();
    if is_json {
        json::Face::new(node::wall).verified(&found, &mut out);
    } else {
        out.extend_from_slice(told(&found).as_bytes());
    }
    report::print(&out)?;
    Ok(if found.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(found: &Report) -> String {
    let mut text = String::new();
    for fault in &found.faults {
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(text, "{}: {}", one_line(&fault.place), one_line(&fault.what));
    }
    let named = u64::try_from(found.faults.len()).unwrap_or(u64::MAX);
    let more = found.fault_count.saturating_sub(named);
    if more > 0 {
        let _ = writeln!(text, "and {} more faults", grouped(more));
    }
    let _ = write!(
        text,
        "{} in {}",
        of(found.entries, "entry", "entries"),
        of(found.logs, "log", "logs")
    );
    text.push_str(match found.is_sound() {
        true => ", no gap, every batch signed\n",
        false => "; not all is as it must be\n",
    });
    if found.forks > 0 {
        let _ = writeln!(text, "{}, kept as proof", of(found.forks, "log forks", "logs fork"));
    }
    let _ = writeln!(
        text,
        "control log: {}, {} committed, {} void; {}",
        of(found.control, "entry", "entries"),
        grouped(found.committed),
        grouped(found.void),
        of(found.members, "member", "members")
    );
    text
}

/// So many of something, in words.
pub(super) fn of(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// Writes all messages of a room out, oldest first; or of all rooms, one after the other.
///
/// # Errors
/// What keeps them from being read, or the file from being written.
pub(super) fn export(
    mut store: Offline,
    room: Option<&str>,
    format: Format,
    output: Option<&Path>,
) -> Result<ExitCode, Refused> {
    let rooms = room.map_or_else(|| store.rooms(), |room| vec![room.to_owned()]);
    let of = rooms.iter().try_fold(0_u64, |sum, room| {
        Ok::<_, Refused>(sum.saturating_add(store.entry_count(room)?))
    })?;
    let mut sink = Sink::open(output)?;
    let progress = sink.progress();
    let (mut done, mut goes_on) = (0, true);
    for (at, name) in rooms.iter().enumerate() {
        // Read once for what was deleted: a deletion comes after what it is about.
        let mut deletions = Deletions::default();
        store.walk(name, |message| {
            deletions.note(&message);
            true
        })?;
        let mut pen = Pen::new(format, deletions);
        if room.is_none() {
            pen.heading(name, at == 0, &mut sink.data);
        }
        store.walk(name, |message| {
            pen.write(&message, &mut sink.data);
            done += 1;
            if let Some(progress) = &progress {
                progress.at(done, of);
            }
            goes_on = sink.data.len() < OUTPUT_BYTES || sink.flush();
            goes_on
        })?;
        if !goes_on {
            break;
        }
    }
    sink.flush();
    sink.end()
}

/// Writes out what a running member gave, as it is.
///
/// # Errors
/// What keeps the file from being written, or the parts from coming.
pub(super) fn exported(
    parts: impl Iterator<Item = Result<(String, Option<(u64, u64)>), Refused>>,
    output: Option<&Path>,
) -> Result<ExitCode, Refused> {
    let mut sink = Sink::open(output)?;
    let progress = sink.progress();
    for part in parts {
        let (text, share) = part?;
        if let Some(progress) = &progress {
            progress.add(text.len());
            share.into_iter().for_each(|(done, of)| progress.at(done, of));
        }
        sink.data.extend_from_slice(text.as_bytes());
        if !sink.flush() {
            break;
        }
    }
    sink.end()
}

/// Where an export goes.
struct Sink {
    data: Vec<u8>,
    file: Option<WholeFile>,
    failed: Option<Refused>,
    /// A signal came while a file was written: its half goes before the process does.
    is_interrupted: Arc<AtomicBool>,
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, Refused> {
        let file = path.map(WholeFile::create).transpose()?;
        let is_interrupted = Arc::<AtomicBool>::default();
        if file.is_some() {
            heed_signals(Arc::clone(&is_interrupted))?;
        }
        Ok(Self { data: Vec::new(), file, failed: None, is_interrupted })
    }

    /// Shown while a file is written, also one that the shell opened; in a terminal the text itself
    /// is, and a pipe may lead to who shows it.
    fn progress(&self) -> Option<Progress> {
        let is_file = self.file.is_some() || report::is_into_a_file();
        is_file.then(|| Progress::start("exporting"))
    }

    /// `false`: it takes no more.
    fn flush(&mut self) -> bool {
        let data = std::mem::take(&mut self.data);
        let written = match &mut self.file {
            None => report::print(&data),
            Some(file) => file.write(&data).map(|()| true),
        };
        let is_written = written.unwrap_or_else(|refused| {
            self.failed.get_or_insert(refused);
            false
        });
        is_written && !self.is_interrupted.load(Ordering::Acquire)
    }

    fn end(self) -> Result<ExitCode, Refused> {
        match (self.failed, self.file) {
            (Some(refused), _) => return Err(refused),
            (None, Some(_)) if self.is_interrupted.load(Ordering::Acquire) => {
                return Ok(ExitCode::from(report::INTERRUPTED));
            }
            (None, Some(file)) => file.finish()?,
            (None, None) => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// From now on the first signal is noted, and the second one ends the process.
fn heed_signals(is_interrupted: Arc<AtomicBool>) -> Result<(), Refused> {
    let runtime = serve::runtime()?;
    serve::spawn("signals", move || {
        runtime.block_on(async {
            serve::signalled().await;
            is_interrupted.store(true, Ordering::Release);
            serve::signalled().await;
            std::process::exit(report::INTERRUPTED.into());
        });
    })
}

/// Writes messages in a format.
pub(super) struct Pen {
    format: Format,
    /// The day of the message before.
    day: String,
    /// So that what is about a message says about which.
    recent: Recent,
    deletions: Deletions,
}

impl Pen {
    /// For one room, of which these were deleted, as far as is known.
    pub(super) fn new(format: Format, deletions: Deletions) -> Self {
        Self { format, day: String::new(), recent: Recent::default(), deletions }
    }

    /// Says which room follows; JSON Lines name it in each.
    pub(super) fn heading(&self, room: &str, is_first: bool, out: &mut Vec<u8>) {
        let name = one_line(room);
        let place = if name.starts_with('@') { name } else { format!("#{name}") };
        let gap = if is_first { "" } else { "\n" };
        let line = match self.format {
            Format::Jsonl => return,
            Format::Txt => format!("{gap}== {place} ==\n"),
            Format::Md => format!("{gap}# {}\n\n", escaped(&place)),
        };
        out.extend_from_slice(line.as_bytes());
    }

    /// What was deleted may have been so only just now.
    pub(super) fn note(&mut self, messages: &[MessageView]) {
        messages.iter().for_each(|message| self.deletions.note(message));
    }

    pub(super) fn write(&mut self, message: &MessageView, out: &mut Vec<u8>) {
        let hidden = self.deletions.shown(message);
        let is_deleted = hidden.is_some();
        let message = hidden.as_ref().unwrap_or(message);
        let stamp = message.sent_at.rfc3339();
        // 2026-11-21T14:05:10.123Z
        let (day, time) = stamp.split_once('T').unwrap_or((&stamp, ""));
        let time: String = time.chars().take(8).collect();
        let mut text = String::new();
        if self.format == Format::Jsonl {
            return json::exported(message, is_deleted, out);
        }
        let message = &match is_deleted {
            true => MessageView { text: DELETED.to_owned(), ..message.clone() },
            false => message.clone(),
        };
        let said = self.recent.text(message);
        self.recent.note(message);
        let action = action(&said).filter(|_| message.about.is_said()).map(str::to_owned);
        let is_action = action.is_some();
        let said = action.unwrap_or(said);
        match self.format {
            Format::Jsonl => {}
            Format::Txt => {
                let fork = if message.is_fork { "[one of several at its place] " } else { "" };
                let said = said.replace('\n', "\n    ");
                let (open, close) = if is_action { ("* ", "") } else { ("<", ">") };
                let from = one_line(&message.from);
                let _ = writeln!(text, "{day} {time} {open}{from}{close} {fork}{said}");
            }
            Format::Md => {
                if self.day != day {
                    let gap = if self.day.is_empty() { "" } else { "\n" };
                    let _ = writeln!(text, "{gap}## {day}\n");
                    day.clone_into(&mut self.day);
                }
                let fork = if message.is_fork { "*one of several at its place* " } else { "" };
                let name = escaped(&one_line(&message.from));
                let said = escaped(&said).replace('\n', "\\\n  ");
                let sign = if is_action { "\\* " } else { "" };
                let _ = writeln!(text, "- {time} {sign}**{name}** {fork}{said}");
            }
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// The text as Markdown that shows just this: no link, no picture, no markup.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            // Many readers make links of bare addresses.
            ':' | '@' => {
                let _ = write!(shown, "&#{};", u32::from(c));
            }
            c if c.is_ascii_punctuation() && !matches!(c, ',' | ';' | '?' | '\'' | '"' | '/') => {
                shown.push('\\');
                shown.push(c);
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, PeerId, Seq};
    use crate::protocol::MessageId;
    use crate::time::Wall;

    fn written(format: Format, texts: &[&str]) -> String {
        let mut pen = Pen::new(format, Deletions::default());
        let mut out = Vec::new();
        for text in texts {
            pen.write(&message(text), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    fn message(text: &str) -> MessageView {
        MessageView {
            id: MessageId([1; 16]),
            room: "main".to_owned(),
            from: "bob\u{1b}[2J".to_owned(),
            peer: PeerId::of_ed25519(&DeviceKey([1; 32])),
            seq: Seq(7),
            lamport: 1,
            about: crate::protocol::About::Nothing,
            text: text.to_owned(),
            sent_at: Wall(1_795_269_910_123),
            expires_at: None,
            is_own: false,
            is_fork: false,
            missing: 0,
            is_ignored: false,
        }
    }

    #[test]
    fn what_is_about_a_message_is_told_apart_from_what_is_said() {
        use crate::protocol::About;
        for (format, lines) in [
            (Format::Txt, ["[+1 on bob\\u{1b}[2J: yes]", "[instead of bob\\u{1b}[2J: yes] no"]),
            (Format::Md, ["\\[\\+1 on bob", "\\[instead of bob"]),
        ] {
            let mut pen = Pen::new(format, Deletions::default());
            let mut out = Vec::new();
            pen.write(&message("yes"), &mut out);
            let to = message("yes").id;
            let mark = About::Reaction { to, is_removed: false };
            for (number, about, text) in [(2, mark, "+1"), (3, About::Edit(to), "no")] {
                let id = MessageId([number; 16]);
                pen.write(&MessageView { id, about, ..message(text) }, &mut out);
            }
            let text = String::from_utf8(out).unwrap();
            assert!(lines.iter().all(|line| text.contains(line)), "{text}");
        }
    }

    #[test]
    fn an_action_is_exported_as_one() {
        let text = written(Format::Txt, &["/me waves"]);
        assert_eq!(text, "2026-11-21 14:05:10 * bob\\u{1b}[2J waves\n");
        let text = written(Format::Md, &["/me waves"]);
        assert!(text.contains("- 14:05:10 \\* **bob") && text.ends_with("** waves\n"), "{text}");
        assert!(written(Format::Jsonl, &["/me waves"]).contains("\"text\":\"/me waves\""));
    }

    #[test]
    fn what_its_author_deleted_is_not_written_out_also_not_in_an_answer_to_it() {
        use crate::protocol::About;
        let secret = message("the door code is 1234");
        let said = |number, about, text: &str| MessageView {
            id: MessageId([number; 16]),
            about,
            ..message(text)
        };
        let talk = [
            secret.clone(),
            said(2, About::Reply(secret.id), "thanks"),
            said(3, About::Edit(secret.id), "the door code is 5678"),
            said(4, About::Deletion(secret.id), ""),
            said(5, About::Nothing, "kept"),
        ];
        for format in [Format::Txt, Format::Md, Format::Jsonl] {
            let mut pen = Pen::new(format, Deletions::default());
            let mut out = Vec::new();
            pen.note(&talk);
            talk.iter().for_each(|message| pen.write(message, &mut out));
            let text = String::from_utf8(out).unwrap();
            assert!(!text.contains("code") && text.contains("kept"), "{text}");
            match format {
                Format::Jsonl => {
                    let lines: Vec<serde_json::Value> =
                        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                    let deleted: Vec<bool> = lines.iter().map(|it| it["deleted"] == true).collect();
                    assert_eq!(deleted, [true, false, true, false, false], "{text}");
                    assert_eq!(
                        (&lines[0]["text"], &lines[3]["kind"]),
                        (&"".into(), &"deletion".into())
                    );
                }
                // The message, its edit, and what is said to it.
                _ => assert_eq!(text.matches("[deleted").count(), 5, "{text}"),
            }
        }
    }

    #[test]
    fn each_room_has_a_heading_that_nobody_can_write() {
        let pen = |format| Pen::new(format, Deletions::default());
        let mut out = Vec::new();
        pen(Format::Txt).heading("ops", true, &mut out);
        pen(Format::Txt).heading("@bob\u{1b}", false, &mut out);
        pen(Format::Md).heading("a*b", false, &mut out);
        pen(Format::Jsonl).heading("ops", false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "== #ops ==\n\n== @bob\\u{1b} ==\n\n# \\#a\\*b\n\n");
    }

    #[test]
    fn a_text_export_holds_no_control_character_and_no_line_that_passes_for_another() {
        assert_eq!(
            written(Format::Txt, &["a\u{1b}]0;x\u{7}\n2026-01-01 00:00:00 <eve> hi\r"]),
            "2026-11-21 14:05:10 <bob\\u{1b}[2J> a\\u{1b}]0;x\\u{7}\n    \
             2026-01-01 00:00:00 <eve> hi\\u{d}\n"
        );
    }

    #[test]
    fn a_markdown_export_shows_what_was_typed_and_loads_nothing() {
        let text = written(Format::Md, &["![x](http://e.example/p.png) <img> # *a*", "b\n## c"]);
        let expected = "## 2026-11-21\n\n- 14:05:10 **bob\\\\u\\{1b\\}\\[2J** \
             \\!\\[x\\]\\(http&#58;//e\\.example/p\\.png\\) &lt;img\\> \\# \\*a\\*\n\
             - 14:05:10 **bob\\\\u\\{1b\\}\\[2J** b\\\n  \\#\\# c\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_lines_are_exact() {
        let text = written(Format::Jsonl, &["a\u{1b}\u{202e}\"b\n"]);
        assert!(text.is_ascii() && text.ends_with("}\n") && text.lines().count() == 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["text"], "a\u{1b}\u{202e}\"b\n");
        assert_eq!((&line["from"], &line["seq"]), (&"bob\u{1b}[2J".into(), &7.into()));
        assert!(line.get("at").is_none() && line.get("event").is_none());
    }

    #[test]
    fn a_report_says_what_is_there_or_what_is_wrong_where() {
        let sound =
            Report { entries: 1_204, logs: 5, control: 12, members: 1, ..Report::default() };
        assert_eq!(
            told(&sound),
            "1,204 entries in 5 logs, no gap, every batch signed\n\
             control log: 12 entries, 0 committed, 0 void; 1 member\n"
        );
        let fault = crate::protocol::check::Fault {
            place: "log of bob\u{7} (1)".to_owned(),
            what: "entries 3 to 4 are missing".to_owned(),
        };
        let broken = Report { faults: vec![fault], fault_count: 2, entries: 1, ..sound };
        let text = told(&broken);
        assert!(text.starts_with("log of bob\\u{7} (1): entries 3 to 4 are missing\nand 1 more"));
        assert!(text.contains("1 entry in 5 logs; not all is as it must be"), "{text}");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
