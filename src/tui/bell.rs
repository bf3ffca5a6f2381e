//! Calling the person: a bell, a notification of the terminal, a program of theirs.
//! Owns: how somebody is called.
//! Must not know: when.
//! Invariants: what others wrote is never an argument, never read by a shell, and never a control
//! character for the terminal; at most one such program runs, and not for long.
//! Start reading at: [`Bell::ring`].

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::cells::clip;
use crate::text::one_line;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Columns of a notification.
const NOTE_MAX: usize = 120;

/// How the terminal calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    #[default]
    None,
    /// BEL.
    Bell,
    /// OSC 9: a notification, where the terminal knows it.
    Osc9,
}

/// How a person is called.
#[derive(Debug, Default)]
pub struct Bell {
    /// By the terminal.
    pub tone: Tone,
    /// By this program, too.
    pub hook: Option<PathBuf>,
    /// Whether it runs.
    pub is_running: Arc<AtomicBool>,
}

/// What the terminal is sent.
pub fn sound(tone: Tone, from: &str, text: &str) -> Vec<u8> {
    match tone {
        Tone::None => Vec::new(),
        Tone::Bell => vec![0x07],
        Tone::Osc9 => {
            let note = clip(&one_line(&format!("{from}: {text}")), NOTE_MAX);
            format!("\u{1b}]9;{note}\u{7}").into_bytes()
        }
    }
}

impl Bell {
    /// Calls.
    pub fn ring(&self, out: &mut impl Write, room: &str, from: &str, text: &str) {
        let sound = sound(self.tone, from, text);
        // A terminal that takes no bell is no reason to stop.
        drop(out.write_all(&sound).and_then(|()| out.flush()));
        let Some(hook) = &self.hook else { return };
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_running = Arc::clone(&self.is_running);
        let mut command = tokio::process::Command::new(hook);
        // No argument: what somebody wrote must not become an option.
        command
            .env("P2PGROUP_MESSAGE_ROOM", one_line(room))
            .env("P2PGROUP_MESSAGE_FROM", one_line(from))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let text = text.to_owned();
        tokio::spawn(async move {
            let work = async {
                let mut child = command.spawn()?;
                if let Some(mut stdin) = child.stdin.take() {
                    // A program need not read what it is told.
                    drop(stdin.write_all(text.as_bytes()).await);
                }
                child.wait().await
            };
            match tokio::time::timeout(PATIENCE, work).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the program of notify_command failed"),
                Err(_) => tracing::warn!("the program of notify_command took too long"),
            }
            is_running.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_ends_no_notification_early_and_starts_no_other() {
        assert_eq!(sound(Tone::None, "bob", "x"), b"");
        assert_eq!(sound(Tone::Bell, "bob", "x"), b"\x07");
        let sent = sound(Tone::Osc9, "b\u{7}ob", "hi\u{1b}]52;c;aGk=\u{7}\u{9c}");
        let inner = sent.strip_prefix(b"\x1b]9;").unwrap().strip_suffix(b"\x07").unwrap();
        let inner = std::str::from_utf8(inner).unwrap();
        assert!(!inner.chars().any(char::is_control), "{inner:?}");
        assert!(sound(Tone::Osc9, "bob", &"x".repeat(9_000)).len() < 200);
    }
}
