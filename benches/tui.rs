//! From a key press to the frame that shows it, while a thousand messages a second come in.
//!
//! ```text
//! cargo bench --bench tui
//! ```
//!
//! The machine, the renderer, ratatui's comparison of frames and the bytes for the terminal are
//! the real ones, at the pace of the real loop; the terminal itself is left out. Figures are in
//! docs/benchmarks.md; nothing here fails by the clock.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench: what is wrong shall stop it, and what it measures is printed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use p2pgroup::ids::{CommandId, DeviceKey, PeerId, Seq};
use p2pgroup::protocol::{MessageId, MessageView, Notice};
use p2pgroup::time::{Mono, Now, Wall};
use p2pgroup::tui::draw::draw;
use p2pgroup::tui::pace::Pace;
use p2pgroup::tui::state::{Event, Key, Press, State};
use p2pgroup::tui::{Door, Fits, Told, Typed};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

const SECONDS: u64 = 20;
/// What counts as missed.
const FRAME: Duration = Duration::from_millis(16);

struct Mute(u64);

/// A terminal that takes everything and shows nothing.
#[derive(Clone, Default)]
struct Sink(Arc<AtomicU64>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Door for Mute {
    fn number(&mut self) -> CommandId {
        self.0 += 1;
        CommandId(self.0)
    }
    fn read(&mut self, _: &str, _: &mut String) -> Typed {
        Typed::default()
    }
    fn tell(&mut self, _: Notice) -> Told {
        Told::default()
    }
    fn fits(&self, _: &str) -> Fits {
        Fits::default()
    }
    fn local(&self, at: Wall) -> Option<time::OffsetDateTime> {
        time::OffsetDateTime::from_unix_timestamp((at.0 / 1_000) as i64).ok()
    }
}

fn message(number: u64) -> MessageView {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let author = number % 20;
    MessageView {
        id: MessageId(id),
        room: if number.is_multiple_of(3) { "ops" } else { "main" }.to_owned(),
        from: format!("member{author:02}"),
        peer: PeerId::of_ed25519(&DeviceKey([author as u8; 32])),
        seq: Seq(number),
        lamport: number,
        about: p2pgroup::protocol::About::Nothing,
        text: format!(
            "message {number}: something that somebody says, long enough to be broken \
                       into two lines on most screens, with 日本語 and 👩\u{200d}🚀 in it"
        ),
        sent_at: Wall(1_795_254_067_250 + number),
        expires_at: None,
        is_own: false,
        is_fork: false,
        missing: 0,
        is_ignored: false,
    }
}

/// So many messages a second, and a key now and then.
fn traffic(rate: u64) -> Receiver<(Instant, Event)> {
    let (sender, events) = sync_channel(4_096);
    std::thread::spawn(move || {
        let start = Instant::now();
        let (mut said, mut keys) = (0, 0);
        while start.elapsed() < Duration::from_secs(SECONDS) {
            let millis = start.elapsed().as_millis() as u64;
            while said < millis * rate / 1_000 {
                said += 1;
                let notice = Event::Notice(Notice::Message(message(said)));
                if sender.send((Instant::now(), notice)).is_err() {
                    return;
                }
            }
            // About thirty a second, at uneven times, as a quick hand does.
            while keys * 33 + keys * keys % 17 < millis {
                keys += 1;
                let key = match keys % 40 {
                    0 => Key::Backspace,
                    1 => Key::PageUp,
                    8 => Key::End,
                    n => Key::Char(char::from(b'a' + (n % 26) as u8)),
                };
                let press = Press { key, alt: false, ctrl: false };
                if sender.send((Instant::now(), Event::Press(press))).is_err() {
                    return;
                }
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    events
}

fn measure(size: (u16, u16), rate: u64) {
    let events = traffic(rate);
    let mut state = State::new("alice", size);
    let mut door = Mute(0);
    let sink = Sink::default();
    let viewport = Viewport::Fixed(Rect::new(0, 0, size.0, size.1));
    let mut terminal =
        Terminal::with_options(CrosstermBackend::new(sink.clone()), TerminalOptions { viewport })
            .expect("a terminal in memory");
    let start = Instant::now();
    let mono = || Mono(start.elapsed().as_millis() as u64 + 1_000);
    let mut pace = Pace::default();
    let mut pressed: Vec<Instant> = Vec::new();
    let mut waits: Vec<Duration> = Vec::new();
    let (mut frames, mut said, mut busy) = (0_u64, 0_u64, Duration::ZERO);
    let mut is_over = false;
    while !is_over {
        let wait = pace
            .frame_at()
            .map_or(Duration::from_millis(50), |at| Duration::from_millis(at.since(mono()).0));
        let mut next = match events.recv_timeout(wait) {
            Ok(event) => Some(event),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                is_over = true;
                None
            }
        };
        let began = Instant::now();
        let mut count = 0;
        while let Some((at, event)) = next.take() {
            let is_key = matches!(event, Event::Press(_));
            said += u64::from(!is_key);
            if is_key {
                pressed.push(at);
            }
            let now = Now { mono: mono(), wall: Wall(1_795_254_067_250 + mono().0) };
            state.handle(event, now, &mut door);
            if std::mem::take(&mut state.is_dirty) {
                pace.changed(is_key);
            }
            count += 1;
            if !is_key && count < 4_096 {
                next = events.try_recv().ok();
            }
        }
        if pace.frame_at().is_some_and(|at| at <= mono()) {
            terminal.draw(|frame| draw(&state, true, frame)).expect("memory");
            pace.drawn(mono());
            frames += 1;
            waits.extend(pressed.drain(..).map(|at| at.elapsed()));
        }
        busy += began.elapsed();
    }
    waits.sort_unstable();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_micros() as f64 / 1e3;
    let missed = waits.iter().filter(|wait| **wait > FRAME).count();
    println!(
        "{}x{} at {rate}/s: {} keys, {missed} later than 16 ms; median {:.1} ms, 99 % {:.1} ms, \
         worst {:.1} ms; {said} messages, {frames} frames, {} bytes a frame, {:.1} % of one core",
        size.0,
        size.1,
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        sink.0.load(Ordering::Relaxed) / frames.max(1),
        busy.as_secs_f64() / SECONDS as f64 * 100.0,
    );
}

fn main() {
    for size in [(80, 24), (200, 60)] {
        measure(size, 1_000);
    }
    measure((120, 40), 5_000);
}
