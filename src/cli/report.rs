//! An error becomes lines for a person or an event for a program, and an exit code.
//! Owns: the form of error lines, the exit codes, logging to stderr.
//! Must not know: what went wrong where.
//! Invariants: an error's first line says all that matters; codes never change.
//! Start reading at: [`person`].
//!
//! Exit codes: 0 ok, 1 other, 2 usage, 3 network or I/O, 4 not trusted or not admitted,
//! 5 too many requests, 6 not delivered in time, 7 nothing is running, 130 interrupted twice.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::json;
use crate::config::Config;
use crate::refusal::{Refusal, Refused};

/// The exit code after a second interrupt.
pub(super) const INTERRUPTED: u8 = 130;

/// An error as a person reads it: what and why, what to do now, code and exit class.
pub(super) fn person(refused: &Refused, is_fatal: bool) -> String {
    let refusal = refused.refusal;
    let mut lines = format!("error: {refused}\n");
    if !refusal.hint().is_empty() {
        lines.push_str("  try: ");
        lines.push_str(refusal.hint());
        lines.push('\n');
    }
    lines.push_str("  [");
    lines.push_str(refusal.code());
    if is_fatal {
        lines.push_str(&format!(", exit {}", refusal.exit()));
    }
    lines.push_str("]\n");
    lines
}

/// Ends a process that did not get to its work.
pub(super) fn end(refused: &Refused, is_json: bool) -> ExitCode {
    if is_json {
        let mut face = json::Face::new(crate::node::wall);
        let mut line = Vec::new();
        face.failed(refused, None, true, &mut line);
        if print(&line).is_err() {
            // There is one place left to say it.
            complain(&person(refused, true));
        }
    } else {
        complain(&person(refused, true));
    }
    ExitCode::from(refused.refusal.exit())
}

/// Ends a process that was called wrongly, or only asked for help.
pub(super) fn usage(error: &clap::Error, is_json: bool) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return match print(text.as_bytes()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(refused) => end(&refused, is_json),
        };
    }
    if is_json {
        let first = text.lines().next().unwrap_or_default();
        let what = first.strip_prefix("error: ").unwrap_or(first);
        return end(&Refused::new(Refusal::CommandBad, what), true);
    }
    complain(&crate::text::lines(&text));
    ExitCode::from(Refusal::CommandBad.exit())
}

/// Writes to stdout. `false`: nobody reads any more, which is no failure: it has seen enough.
///
/// # Errors
/// [`Refusal::FileUnwritable`], as by a full disk.
pub(super) fn print(bytes: &[u8]) -> Result<bool, Refused> {
    let mut stdout = std::io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Whether what is printed goes into a file.
#[cfg(unix)]
pub(super) fn is_into_a_file() -> bool {
    is_a_file(&std::io::stdout())
}

#[cfg(unix)]
fn is_a_file(it: &impl std::os::fd::AsFd) -> bool {
    let copy = it.as_fd().try_clone_to_owned();
    copy.and_then(|copy| std::fs::File::from(copy).metadata()).is_ok_and(|it| it.is_file())
}

/// Elsewhere that is not known.
#[cfg(not(unix))]
pub(super) fn is_into_a_file() -> bool {
    false
}

fn written(written: std::io::Result<()>) -> Result<bool, Refused> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Refused::new(Refusal::FileUnwritable, format!("stdout: {error}"))),
    }
}

/// Writes to stderr; where that fails there is nobody to tell.
pub(super) fn complain(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Starts logging to stderr.
///
/// # Errors
/// [`Refusal::ConfigBad`]: the filter is not understood.
pub(super) fn log(config: &Config) -> Result<(), Refused> {
    let filter = EnvFilter::builder()
        .parse(&config.log)
        .map_err(|error| Refused::new(Refusal::ConfigBad, format!("log: {error}")))?;
    // A second start in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_timer(Stamp)
        .with_writer(Records)
        .try_init();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

struct Stamp;

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        w.write_str(&crate::node::wall().rfc3339())
    }
}

struct Records;

impl<'a> MakeWriter<'a> for Records {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record
    }
}

/// Takes one whole record a call and writes it as one line: a peer's name must not start a second
/// one, nor move the cursor.
struct Record;

/// Where the log goes while a screen is shown on the terminal that stderr is.
static SCREEN: Mutex<Option<mpsc::Sender<String>>> = Mutex::new(None);

/// Has the log go to a screen, where it would spoil it otherwise; or to stderr again.
pub(super) fn divert(to: Option<mpsc::Sender<String>>) {
    let to = to.filter(|_| std::io::stderr().is_terminal());
    *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

impl Write for Record {
    fn write(&mut self, record: &[u8]) -> std::io::Result<usize> {
        if let Some(screen) = &*SCREEN.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody reads as fast as a log can be written: what does not fit is left out.
            drop(screen.try_send(one_record(record).trim_end().to_owned()));
            return Ok(record.len());
        }
        complain(&one_record(record));
        Ok(record.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn one_record(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    let mut line = crate::text::one_line(text.trim_end_matches('\n'));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_why_what_next_and_the_code() {
        let refused = Refused::new(Refusal::NameTaken, "alice");
        assert_eq!(
            person(&refused, true),
            "error: the name is taken by another key: alice\n  try: choose another name, or use \
             the home directory that holds this name's key\n  [name_taken, exit 4]\n"
        );
        let refused = Refused::from(Refusal::MessageEmpty);
        assert_eq!(person(&refused, false), "error: the message is empty\n  [message_empty]\n");
    }

    #[test]
    fn only_a_reader_who_is_gone_is_no_failure() {
        assert_eq!(written(Ok(())), Ok(true));
        assert_eq!(written(Err(ErrorKind::BrokenPipe.into())), Ok(false));
        let full = written(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!((full.refusal, full.refusal.exit()), (Refusal::FileUnwritable, 3));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_told_from_a_pipe_and_from_what_is_thrown_away() {
        assert!(is_a_file(&tempfile::tempfile().unwrap()));
        assert!(!is_a_file(&std::io::pipe().unwrap().1));
        assert!(!is_a_file(&std::fs::File::create("/dev/null").unwrap()));
    }

    #[test]
    fn no_name_is_an_error_of_usage_that_names_the_flag() {
        let text = person(&Refusal::NameMissing.into(), true);
        assert!(text.contains("--name") && text.contains("[name_missing, exit 2]"));
    }

    #[test]
    fn a_record_is_one_harmless_line() {
        assert_eq!(
            one_record(b"WARN name=\"x\n2026 ERROR leader\x1b[2J\"\n"),
            "WARN name=\"x\\u{a}2026 ERROR leader\\u{1b}[2J\"\n"
        );
    }
}
