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

/// How far something is.
#[derive(Debug, Default)]
struct Done {
    bytes: AtomicU64,
    /// Parts, and how many there are; 0 while that is not known.
    parts: AtomicU64,
    of: AtomicU64,
}

/// Something that goes on; over when it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    done: Arc<Done>,
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins; `what` as in "checking the store".
    pub(super) fn start(what: &'static str) -> Self {
        let done = Arc::<Done>::default();
        let shown = if std::io::stderr().is_terminal() { show(what, &done) } else { None };
        Self { done, shown }
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: usize) {
        self.done.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// So many parts of so many are done: from now on with a bar.
    pub(super) fn at(&self, parts: u64, of: u64) {
        self.done.parts.store(parts, Ordering::Relaxed);
        self.done.of.store(of, Ordering::Relaxed);
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

fn show(what: &'static str, done: &Arc<Done>) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (over, is_over) = channel();
    let done = Arc::clone(done);
    let run = move || {
        let mut ticks: u64 = 0;
        while is_over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            ticks = ticks.saturating_add(1);
            if ticks >= SILENT_TICKS {
                report::complain(&line(what, ticks / SILENT_TICKS, &done));
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
fn line(what: &str, seconds: u64, done: &Done) -> String {
    let bytes = match done.bytes.load(Ordering::Relaxed) / (1 << 20) {
        0 => String::new(),
        mib => format!(", {mib} MiB"),
    };
    let how_far = match done.of.load(Ordering::Relaxed) {
        0 => "…".to_owned(),
        of => format!(" {},", crate::text::bar(done.parts.load(Ordering::Relaxed), of)),
    };
    format!("\r\u{1b}[K{what}{how_far} {seconds} s{bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_for_how_long_and_how_much() {
        let progress = Progress { done: Arc::default(), shown: None };
        let shown = |what, seconds| line(what, seconds, &progress.done);
        assert_eq!(shown("checking the store", 3), "\r\u{1b}[Kchecking the store… 3 s");
        progress.add(5 << 20);
        assert_eq!(shown("exporting", 12), "\r\u{1b}[Kexporting… 12 s, 5 MiB");
        progress.at(3, 10);
        assert_eq!(shown("exporting", 12), "\r\u{1b}[Kexporting ███░░░░░░░ 30%, 12 s, 5 MiB");
        progress.at(10, 10);
        assert_eq!(shown("exporting", 13), "\r\u{1b}[Kexporting ██████████ 100%, 13 s, 5 MiB");
    }
}
