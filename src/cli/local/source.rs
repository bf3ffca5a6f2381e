//! What `send` is to say: its argument, or what comes by stdin.
//! Owns: how stdin is cut into messages.
//! Must not know: how a message is sent.
//! Invariants: a line is handed on as soon as it is whole, for who writes it may never end; never more
//! is held than a few lines, and of none more than a message may have.
//! Start reading at: [`Source::open`].

use std::io::{BufRead, Read};

use tokio::sync::mpsc;

use crate::limits::TEXT_BYTES_MAX;
use crate::refusal::{Refusal, Refused};
use crate::text::grouped;

/// Lines that wait to be sent.
const WAITING_MAX: usize = 64;
/// One byte more than a text and the end of its line may have.
const READ_MAX: usize = TEXT_BYTES_MAX + 3;

/// Where the messages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// It is one.
    One(Option<String>),
    /// Each line of stdin is.
    Lines(mpsc::Receiver<Result<String, Refused>>),
}

impl Source {
    /// The text itself; `-` stands for stdin, of which each line may be a message.
    ///
    /// # Errors
    /// What is no text, or is too long for a message.
    pub(super) fn open(text: &str, has_lines: bool) -> Result<Self, Refused> {
        if text != "-" {
            return Ok(Self::One(Some(text.to_owned())));
        }
        if !has_lines {
            return Ok(Self::One(Some(whole(std::io::stdin().lock())?)));
        }
        let (to, lines) = mpsc::channel(WAITING_MAX);
        let read = move || {
            for line in lines_of(std::io::stdin().lock()) {
                // Who sends them may have ended.
                if to.blocking_send(line).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
        thread.map_err(|error| Refused::new(Refusal::Internal, format!("no thread: {error}")))?;
        Ok(Self::Lines(lines))
    }

    /// The next one; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<String, Refused>> {
        match self {
            Self::One(text) => text.take().map(Ok),
            Self::Lines(lines) => lines.recv().await,
        }
    }
}

fn unread(error: &std::io::Error) -> Refused {
    Refused::new(Refusal::CommandBad, format!("stdin cannot be read: {error}"))
}

/// As `$(…)` has it: the end of the last line is not part of a text.
fn text(mut bytes: Vec<u8>, what: &str) -> Result<String, Refused> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(Refused::new(Refusal::MessageTooLong, what));
    }
    String::from_utf8(bytes)
        .map_err(|_| Refused::new(Refusal::CommandBad, format!("{what} is not UTF-8")))
}

fn bound() -> u64 {
    u64::try_from(READ_MAX).unwrap_or(u64::MAX)
}

/// All of it as one message.
fn whole(from: impl Read) -> Result<String, Refused> {
    let mut bytes = Vec::new();
    from.take(bound()).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    text(bytes, "stdin")
}

/// Each line as a message, empty ones left out; nothing after the first that is none.
fn lines_of(mut from: impl BufRead) -> impl Iterator<Item = Result<String, Refused>> {
    let (mut number, mut is_over) = (0_u64, false);
    let mut next = move || {
        let mut bytes = Vec::new();
        if let Err(error) = from.by_ref().take(bound()).read_until(b'\n', &mut bytes) {
            return Some(Err(unread(&error)));
        }
        number = number.saturating_add(1);
        let what = format!("line {} of stdin", grouped(number));
        (!bytes.is_empty()).then(|| text(bytes, &what))
    };
    let lines = std::iter::from_fn(move || {
        let line = if is_over { None } else { next() };
        is_over = !matches!(line, Some(Ok(_)));
        line
    });
    lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(bytes: &[u8]) -> Vec<Result<String, Refusal>> {
        lines_of(bytes).map(|line| line.map_err(|refused| refused.refusal)).collect()
    }

    #[test]
    fn each_line_is_a_message_and_what_is_none_ends_them() {
        let said = |text: &str| Ok(text.to_owned());
        assert_eq!(
            codes(b"one\n\n\r\ntwo\r\n three "),
            [said("one"), said("two"), said(" three ")]
        );
        assert_eq!(codes(b""), []);
        assert_eq!(codes(b"ok\n\xff\nmore\n"), [said("ok"), Err(Refusal::CommandBad)]);
        let full = "a".repeat(TEXT_BYTES_MAX);
        let lines = format!("{full}\r\n{full}a\nmore\n");
        assert_eq!(codes(lines.as_bytes()), [Ok(full), Err(Refusal::MessageTooLong)]);
        let refused = lines_of(&b"a\n\n\xff"[..]).last().unwrap().unwrap_err();
        assert_eq!(refused.detail, "line 3 of stdin is not UTF-8");
    }

    #[test]
    fn all_of_stdin_is_one_message_and_one_too_long_is_not_cut_within_a_letter() {
        assert_eq!(whole(&b"two\nlines\n"[..]), Ok("two\nlines".to_owned()));
        assert_eq!(whole(&b"\r\n"[..]), Ok(String::new()));
        let full = "😀".repeat(TEXT_BYTES_MAX / 4);
        assert_eq!(whole(format!("{full}\n").as_bytes()), Ok(full.clone()));
        for more in ["a", "😀", &full] {
            let refused = whole(format!("{full}{more}").as_bytes()).unwrap_err();
            assert_eq!(refused.refusal, Refusal::MessageTooLong, "{} more", more.len());
        }
        assert_eq!(whole(&b"\xff"[..]).unwrap_err().refusal, Refusal::CommandBad);
    }
}
