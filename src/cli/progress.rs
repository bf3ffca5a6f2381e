//! A line on stderr while something takes longer than a second, where a person sees it.
//! Owns: that line, and the thread that writes it.
//! Must not know: what is done meanwhile.
//! Invariants: nothing is written where stderr is no terminal, nor in the first second; the line is
//! gone before anything else is printed.
//! Start reading at: [`Progress::start`].

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::report;

/// How often the line is written, and how often that is nothing yet.
const TICK: Duration = Duration::from_millis(250);
const SILENT_TICKS: u64 = 4;

/// Something that goes on; over when it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    count: Arc<AtomicU64>,
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins; `what` as in "checking the store".
    pub(super) fn start(what: &'static str) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let shown = if std::io::stderr().is_terminal() { show(what, &count) } else { None };
        Self { count, shown }
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: usize) {
        self.count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.shown.take() {
            drop(over);
            // It only waits for that.
            thread.join().ok();
        }
    }
}

fn show(what: &'static str, count: &Arc<AtomicU64>) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (over, is_over) = channel();
    let count = Arc::clone(count);
    let run = move || {
        let mut ticks: u64 = 0;
        while is_over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            ticks = ticks.saturating_add(1);
            if ticks >= SILENT_TICKS {
                report::complain(&line(what, ticks / SILENT_TICKS, count.load(Ordering::Relaxed)));
            }
        }
        if ticks >= SILENT_TICKS {
            report::complain("\r\u{1b}[K");
        }
    };
    let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(run).ok()?;
    Some((over, thread))
}

/// The line, in place of the one before.
fn line(what: &str, seconds: u64, bytes: u64) -> String {
    let done = match bytes / (1 << 20) {
        0 => String::new(),
        mib => format!(", {mib} MiB"),
    };
    format!("\r\u{1b}[K{what}… {seconds} s{done}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_for_how_long_and_how_much() {
        assert_eq!(line("checking the store", 3, 0), "\r\u{1b}[Kchecking the store… 3 s");
        assert_eq!(line("exporting", 12, 5 << 20), "\r\u{1b}[Kexporting… 12 s, 5 MiB");
    }
}
