//! The loop around the terminal interface: keys, notices, time and the terminal itself.
//! Owns: the terminal while it is taken, and the pace of drawing.
//! Must not know: what keys and notices mean.
//! Invariants: frames come at their pace, and none if nothing changed; the terminal is given
//! back on every way out, a panic and a signal included.
//! Start reading at: [`run`].

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
    KeyCode, KeyEventKind, KeyModifiers,
};
use ratatui::crossterm::terminal::{
    self, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use tokio::sync::mpsc;

use super::bell::Bell;
use super::bindings::Bindings;
use super::copy::osc52;
use super::link::Link;
use super::pace::Pace;
use super::state::{Effect, Event, Key, Press, State};
use super::work::Going;
use super::{Door, draw, look};
use crate::node::clock::Clock;
use crate::protocol::{InviteText, Notice};
use crate::refusal::{Refusal, Refused};

/// Events taken before the screen gets its turn.
const TURN_MAX: usize = 4_096;
/// Keys that may wait: a hand, or a paste that the terminal does not mark as such.
const KEYS_MAX: usize = 1_024;

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, if it is taken. May be called from any thread, and twice.
pub fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut out = std::io::stdout();
    // Each on its own: the others are worth it even if one fails.
    drop(execute!(out, DisableFocusChange, DisableBracketedPaste));
    drop(execute!(out, LeaveAlternateScreen, cursor::Show));
    drop(disable_raw_mode());
    drop(out.flush());
}

/// Takes the terminal: raw keys, a screen of its own. [`give_back`] ends it, a panic does, too.
///
/// # Errors
/// There is no terminal, or it does not obey.
pub fn take() -> std::io::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
    enable_raw_mode()?;
    IS_TAKEN.store(true, Ordering::Release);
    execute!(
        std::io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableFocusChange,
        cursor::Hide
    )
}

/// How wide an answer may be that is no words: the window, or the messages' pane where the screen is
/// taken. `None`: there is no terminal.
pub fn columns() -> Option<usize> {
    let (columns, _) = terminal::size().ok()?;
    let columns = usize::from(columns);
    Some(match IS_TAKEN.load(Ordering::Acquire) {
        true => draw::widths(columns).1.saturating_sub(look::NEWS_LEAD),
        false => columns,
    })
}

/// Gives the terminal back when it goes.
pub(super) struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// A key as the machine knows it; `None`: it has no meaning.
fn press(key: event::KeyEvent) -> Option<Press> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let (mut code, ctrl) = (key.code, key.modifiers.contains(KeyModifiers::CONTROL));
    if let KeyCode::Char(c) = code
        && ctrl
    {
        code = KeyCode::Char(c.to_ascii_lowercase());
    }
    let key_is = match code {
        KeyCode::Char(c) if c.is_control() => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Esc => Key::Esc,
        _ => return None,
    };
    Some(Press { key: key_is, alt: key.modifiers.contains(KeyModifiers::ALT), ctrl })
}

/// Reads keys until the terminal is gone or nobody wants them.
fn read_keys(keys: &mpsc::Sender<Event>) {
    while let Ok(read) = event::read() {
        let event = match read {
            event::Event::Key(key) => match press(key) {
                Some(press) => Event::Press(press),
                None => continue,
            },
            event::Event::Paste(text) => Event::Paste(text),
            #[cfg(not(unix))]
            event::Event::Resize(width, height) => Event::Resize(width, height),
            #[cfg(unix)]
            event::Event::Resize(..) => continue,
            event::Event::FocusGained => Event::Focus(true),
            event::Event::FocusLost => Event::Focus(false),
            event::Event::Mouse(_) => continue,
        };
        if keys.blocking_send(event).is_err() {
            return;
        }
    }
}

/// Tells of every change of the terminal's size. `event::read` forgets the one that comes at the
/// moment of a key.
#[cfg(unix)]
fn listen_for_sizes(keys: &mpsc::Sender<Event>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut changes = signal(SignalKind::window_change())?;
    // Without keys the terminal is gone, and nobody must wait for its size.
    let sizes = keys.downgrade();
    drop(tokio::spawn(async move {
        while changes.recv().await.is_some() {
            let Some(sizes) = sizes.upgrade() else { return };
            let Ok((width, height)) = terminal::size() else { continue };
            if sizes.send(Event::Resize(width, height)).await.is_err() {
                return;
            }
        }
    }));
    Ok(())
}

/// Reads keys on a thread of their own, and hears of the terminal's size.
pub(super) fn listen_for_keys() -> Result<mpsc::Receiver<Event>, Refused> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    #[cfg(unix)]
    listen_for_sizes(&sender).map_err(|error| no_terminal(&error))?;
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || read_keys(&sender))
        .map_err(|error| no_terminal(&error))?;
    Ok(keys)
}

/// What a screen is run with.
#[derive(Debug)]
pub struct Screen {
    /// The name, as far as it is known.
    pub me: String,
    /// Whether to use colours.
    pub is_colored: bool,
    /// How to call the person.
    pub bell: Bell,
    /// What the log says meanwhile.
    pub log: mpsc::Receiver<String>,
    /// What is heard of work beside the talk.
    pub going: mpsc::Receiver<Going>,
    /// Keys bound anew.
    pub bindings: Bindings,
}

/// How it ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What ended it, if not a person.
    pub fatal: Option<Refused>,
    /// Invites that were made on the screen, which is gone.
    pub invites: Vec<InviteText>,
}

pub(super) fn no_terminal(error: &std::io::Error) -> Refused {
    Refused::new(Refusal::Internal, format!("the terminal: {error}; --plain needs less of it"))
}

type OnScreen = Terminal<CrosstermBackend<std::io::Stdout>>;

fn obey(
    effect: Effect,
    link: &mut Link,
    bell: &Bell,
    terminal: &mut OnScreen,
    leaving: &impl Fn(),
) -> Result<(), Refused> {
    match effect {
        Effect::Hand(number, command) => link.hand(number, command),
        Effect::Ring(room, from, text) => bell.ring(terminal.backend_mut(), &room, &from, &text),
        // Not `clear`, which asks the terminal where the cursor is and waits for the keys' thread.
        Effect::Redraw => {
            let size = terminal.size().map_err(|error| no_terminal(&error))?;
            terminal.resize(size.into()).map_err(|error| no_terminal(&error))?;
        }
        Effect::Copy(text) => {
            let out = terminal.backend_mut();
            let told = out.write_all(&osc52(&text)).and_then(|()| Write::flush(out));
            told.map_err(|error| no_terminal(&error))?;
        }
        Effect::Leaving => leaving(),
    }
    Ok(())
}

/// What a person does is shown at once, what others do a moment later.
fn is_by_hand(event: &Event) -> bool {
    !matches!(event, Event::Notice(_) | Event::Woke | Event::Log(_) | Event::Going(_))
}

/// Takes the terminal and shows the member until it has ended. `leaving` is told when a person
/// has asked for that.
///
/// # Errors
/// The terminal cannot be taken, or is lost; by then the member has left.
pub async fn run(
    mut link: Link,
    screen: Screen,
    door: &mut dyn Door,
    leaving: impl Fn(),
) -> Result<Ended, Refused> {
    let ended = show(&mut link, screen, door, &leaving).await;
    if ended.is_err() {
        link.end().await;
    }
    ended
}

async fn show(
    link: &mut Link,
    mut screen: Screen,
    door: &mut dyn Door,
    leaving: &impl Fn(),
) -> Result<Ended, Refused> {
    let clock = Clock::start();
    take().map_err(|error| no_terminal(&error))?;
    let _taken = Taken;
    let mut terminal =
        Terminal::new(CrosstermBackend::new(std::io::stdout())).map_err(|it| no_terminal(&it))?;
    let size = terminal.size().map_err(|error| no_terminal(&error))?;
    let mut keys = listen_for_keys()?;
    let mut state = State::new(&screen.me, (size.width, size.height));
    state.bindings = std::mem::take(&mut screen.bindings);
    let mut ended = Ended::default();
    let mut pace = Pace::default();
    pace.changed(true);
    let (mut has_keys, mut has_log, mut has_going) = (true, true, true);
    let mut came: Vec<Event> = Vec::new();
    let mut is_over = false;
    loop {
        for event in came.drain(..) {
            if let Event::Notice(Notice::Failed { refused, is_fatal: true, .. }) = &event {
                ended.fatal = Some(refused.clone());
                leaving();
            }
            let is_by_hand = is_by_hand(&event);
            let is_last = matches!(event, Event::Notice(Notice::Exited));
            for effect in state.handle(event, clock.now(), door) {
                obey(effect, link, &screen.bell, &mut terminal, leaving)?;
            }
            if std::mem::take(&mut state.is_dirty) {
                pace.changed(is_by_hand);
            }
            is_over |= is_last;
        }
        if is_over {
            ended.invites = std::mem::take(&mut state.invites);
            return Ok(ended);
        }
        let now = clock.now().mono;
        let frame_at = pace.frame_at();
        if frame_at.is_some_and(|at| at <= now) {
            terminal
                .draw(|frame| draw::draw(&state, screen.is_colored, frame))
                .map_err(|error| no_terminal(&error))?;
            pace.drawn(now);
            continue;
        }
        let wake_at = state.wake_at().into_iter().chain(frame_at).min();
        let sleep = wake_at.map(|at| clock.instant(at));
        tokio::select! {
            biased;
            key = keys.recv(), if has_keys => match key {
                Some(event) => came.push(event),
                // The terminal is gone, and with it the person.
                None => {
                    has_keys = false;
                    link.leave();
                    leaving();
                }
            },
            () = async {
                match sleep {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            } => came.push(Event::Woke),
            line = screen.log.recv(), if has_log => match line {
                Some(line) => came.push(Event::Log(line)),
                None => has_log = false,
            },
            going = screen.going.recv(), if has_going => match going {
                Some(going) => came.push(Event::Going(going)),
                None => has_going = false,
            },
            next = link.next() => match next {
                Some(notice) => came.push(Event::Notice(notice)),
                None => is_over = true,
            },
        }
        // What is there already is taken together, so that a frame shows all of it.
        while !is_over && came.len() < TURN_MAX {
            if let Ok(event) = keys.try_recv() {
                came.push(event);
                break;
            }
            match link.now() {
                Some(Some(notice)) => came.push(Event::Notice(notice)),
                Some(None) => is_over = true,
                None => break,
            }
        }
    }
}
