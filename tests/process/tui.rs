//! The terminal interface in a real terminal: tmux holds it, types, and shows what is on it.
//!
//! What is compared is the screen as text, as a person would read it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::harness::{LONG, LOOK, Lab, program};

/// How long a key may be without effect before a person presses it again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(3);

/// A terminal of its own, with a program in it.
struct Screen {
    lab_dir: std::path::PathBuf,
    socket: String,
    name: String,
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.command(&["kill-server"]).output());
    }
}

impl Screen {
    /// Starts a member in a terminal of this size.
    fn join(lab: &Lab, name: &str, size: (u16, u16), more: &[&str]) -> Self {
        Self::run(lab, name, size, more, "")
    }

    /// The same with settings of the shell before it.
    fn run(lab: &Lab, name: &str, size: (u16, u16), more: &[&str], before: &str) -> Self {
        lab.prepare(name, &format!("{name}.pem"));
        let mut args: Vec<String> =
            lab.join_args(name, more).into_iter().filter(|arg| arg != "--json").collect();
        args.push("--no-embedded".to_owned());
        args.insert(0, program());
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        Self::open(lab, name, size, &format!("{before}{}", quoted.join(" ")))
    }

    /// A command in a terminal of its own; behind it, its exit code and the terminal's settings.
    fn open(lab: &Lab, name: &str, (columns, rows): (u16, u16), command: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let line = format!(
            "{command}; echo \"code $?\"; \
             stty -a | tr ';' '\\n' | grep -wo -e '-*icanon' -e '-*echo' | sort -r; \
             exec sleep 1000"
        );
        let settings = lab.dir.path().join("tmux.conf");
        std::fs::write(&settings, "set -g status off\nset -s escape-time 0\n").unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("{name}-{count}");
        let lab_dir = lab.dir.path().to_owned();
        let screen = Self { lab_dir, socket, name: name.to_owned() };
        let size = (columns.to_string(), rows.to_string());
        let settings = settings.to_str().unwrap();
        let mut command = lab.wrapped("tmux", &["-u", "-L", &screen.socket, "-f", settings]);
        command.env("TMUX_TMPDIR", &screen.lab_dir);
        command.args(["new-session", "-d", "-x", &size.0, "-y", &size.1, &line]);
        match command.output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "tmux: {said}");
            }
            Err(error) => panic!("these tests need tmux; install it (apt install tmux): {error}"),
        }
        screen
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.socket]).args(args).env("TMUX_TMPDIR", &self.lab_dir);
        command
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "tmux {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The screen as text.
    fn rows(&self) -> Vec<String> {
        let shown = self.tmux(&["capture-pane", "-p"]);
        shown.lines().map(|row| row.trim_end().to_owned()).collect()
    }

    /// Keys by tmux' names.
    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    /// Types text, and Enter.
    fn line(&self, text: &str) {
        self.write(text);
        self.keys(&["Enter"]);
    }

    fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Waits until the screen is so.
    fn until(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let rows = self.rows();
            if is(&rows) {
                return rows;
            }
            let shown = rows.join("\n");
            assert!(start.elapsed() < LONG, "{}: no {what} in\n{shown}", self.name);
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a row holds this text.
    fn sees(&self, text: &str) -> Vec<String> {
        self.until(text, |rows| rows.iter().any(|row| row.contains(text)))
    }

    fn loses(&self, text: &str) {
        self.until(&format!("end of {text}"), |rows| !rows.iter().any(|row| row.contains(text)));
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    fn process(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = Command::new("pgrep").args(["-P", shell.trim()]).output().unwrap();
        String::from_utf8(children.stdout).unwrap().trim().to_owned()
    }

    /// The program has ended so, and the terminal is as it was.
    fn ended(&self, code: i32) {
        let rows = self.until("end", |rows| rows.iter().any(|row| row == "echo" || row == "-echo"));
        assert!(rows.contains(&format!("code {code}")), "{rows:#?}");
        assert!(
            rows.contains(&"icanon".to_owned()) && rows.contains(&"echo".to_owned()),
            "{rows:#?}"
        );
        assert_eq!(
            self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]),
            "0 1\n"
        );
    }
}

fn status(rows: &[String]) -> &str {
    &rows[rows.len() - 2]
}

#[test]
fn three_talk_switch_rooms_complete_names_search_resize_and_quit() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = Screen::run(&lab, "alice", (100, 30), &[], "P2PGROUP_DIRECT=everyone ");
    alice.sees("leader alice (term 1)");
    let bob = Screen::join(&lab, "bob", (80, 24), &[]);
    let carol = Screen::join(&lab, "carol", (60, 15), &[]);
    carol.sees("leader alice");
    alice.until("three members", |rows| {
        ["● alice owner", "● bob", "● carol"]
            .iter()
            .all(|it| rows.iter().any(|row| row.ends_with(it)))
    });
    alice.until("two links", |rows| status(rows).contains("2 direct · quorum"));

    // They talk.
    alice.line("good morning, all");
    bob.sees("<alice> good morning, all");
    carol.sees("<alice> good morning, all");
    alice.sees("<alice> good morning, all ✓");
    // A name is completed, and whoever is named sees it elsewhere.
    bob.write("car");
    bob.keys(&["Tab"]);
    bob.sees("#main> carol:");
    bob.line("is the backup done?");
    carol.sees("<bob> carol: is the backup done?");
    // Two lines, and what would be a command.
    carol.write("yes");
    carol.keys(&["M-Enter"]);
    carol.line("since four");
    carol.line("//who is asking");
    let rows = alice.sees("<carol> /who is asking");
    let at = rows.iter().position(|row| row.contains("<carol> yes")).unwrap();
    assert!(rows[at + 1].contains("│              since four"), "{rows:#?}");
    // An answer to a message, changed afterwards; a mark on it; one that is taken back.
    alice.line("/reply last who do you think");
    carol.sees("↳ carol: /who is asking");
    alice.line("/edit last who do you think?");
    carol.sees("who do you think? (edited)");
    bob.keys(&["M-Up"]);
    bob.sees("in a command . stands for it");
    bob.line("/react . +1");
    for screen in [&alice, &carol] {
        screen.sees("+1 bob");
    }
    alice.line("forget this");
    bob.sees("forget this");
    alice.line("/delete last");
    for screen in [&alice, &bob, &carol] {
        screen.sees("<alice> (deleted)");
        screen.loses("forget this");
    }
    carol.line("/nonsense");
    carol.sees("error: no such command: /nonsense");
    assert!(!alice.rows().concat().contains("nonsense"));

    rooms_switch(&alice, &bob, &carol);
    searches_and_resizes(&alice);
    leave_each_in_another_way(&alice, &bob, &carol);
}

fn rooms_switch(alice: &Screen, bob: &Screen, carol: &Screen) {
    // A room of two of them.
    alice.line("/room create ops");
    alice.sees("#ops>");
    alice.sees("you created the room ops");
    alice.line("/room invite bob");
    bob.sees("2 #ops");
    alice.line("bob, look here");
    let rows = bob.sees("1 @1");
    assert!(rows[2].starts_with("2 #ops"), "{rows:#?}");
    bob.keys(&["M-2"]);
    let rows = bob.sees("<alice> bob, look here");
    assert!(!rows.concat().contains("good morning"), "{rows:#?}");
    bob.line("I see");
    alice.sees("<bob> I see");
    // Esc and then a key stands for Alt.
    bob.keys(&["Escape"]);
    bob.keys(&["1"]);
    bob.sees("<alice> good morning, all");
    bob.sees("#main>");

    // To one alone.
    carol.line("/msg alice psst");
    alice.until("a message to her alone", |rows| {
        rows[3].ends_with("1 @1") || rows[3].contains("1 @1│")
    });
    alice.keys(&["M-a"]);
    alice.sees("<carol> psst");
    alice.sees("@carol>");
    alice.keys(&["C-n"]);
    alice.sees("#main>");
}

fn searches_and_resizes(alice: &Screen) {
    // A search goes where a message is.
    alice.keys(&["C-r"]);
    alice.line("backup");
    alice.sees("1 with backup");
    alice.keys(&["Enter"]);
    alice.loses("1 with backup");
    alice.sees("<bob> carol: is the backup done?");
    alice.keys(&["End"]);

    // Smaller and larger.
    alice.resize(60, 15);
    let rows =
        alice.until("folded panes", |rows| rows.len() == 15 && rows[0].contains("[1 #main]"));
    assert!(!rows.concat().contains('│'), "{rows:#?}");
    alice.resize(120, 40);
    alice.until("panes", |rows| rows.len() == 40 && rows[1].starts_with("1 #main"));
    alice.keys(&["C-l"]);
    alice.sees("<carol> /who is asking");
}

#[test]
fn a_size_that_changes_at_the_moment_of_a_key_is_seen() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = Screen::join(&lab, "alice", (100, 30), &[]);
    alice.sees("leader alice (term 1)");
    let signal = |name: &str| Command::new("kill").args([name, &alice.process()]).status().unwrap();
    for (columns, rows, first) in [(60, 15, "[1 #main]"), (100, 30, "#main")] {
        // It finds both when it goes on.
        assert!(signal("-STOP").success());
        alice.write("x");
        alice.resize(columns, rows);
        assert!(signal("-CONT").success());
        alice.until("panes of this size", |seen| {
            seen.len() == usize::from(rows) && seen[0].trim_start().starts_with(first)
        });
    }
    alice.sees("#main> xx");
    alice.keys(&["C-u"]);
    alice.line("/exit");
    alice.ended(0);
}

fn leave_each_in_another_way(alice: &Screen, bob: &Screen, carol: &Screen) {
    carol.line("/exit");
    carol.ended(0);
    alice.sees("○ carol");
    bob.write("never said");
    bob.keys(&["C-c"]);
    bob.sees("Ctrl+C once more quits");
    bob.keys(&["C-c"]);
    bob.ended(0);
    assert!(!alice.rows().concat().contains("never said"));
    Command::new("kill").args(["-TERM", &alice.process()]).status().unwrap();
    alice.ended(0);
}

#[test]
fn ten_thousand_messages_scroll_by_from_the_store_and_what_was_read_is_known() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = lab.join("alice");
    let bob = lab.join("bob");
    for chunk in 0..100 {
        let lines: String = (0..100)
            .map(|n| {
                format!(
                    "{{\"cmd\":\"send\",\"text\":\"line {:05} of many\"}}\n",
                    chunk * 100 + n + 1
                )
            })
            .collect();
        alice.feed(&lines);
    }
    alice.wait("the last is stored", |e| e["event"] == "sent" && e["text"] == "line 10000 of many");
    alice.exit();
    let number =
        |row: &String| -> Option<u32> { row.split("line ").nth(1)?.get(..5)?.parse().ok() };
    let numbers = |rows: &[String]| rows.iter().filter_map(number).collect::<Vec<u32>>();
    let screen = Screen::join(&lab, "alice", (120, 60), &[]);
    // A picture taken in the middle of a frame is no screen yet.
    let is_whole =
        |shown: &[u32]| shown.len() > 20 && shown.windows(2).all(|two| two[0] + 1 == two[1]);
    let page = |is: &dyn Fn(&[u32]) -> bool| {
        let is_next = |rows: &[String]| is_whole(&numbers(rows)) && is(&numbers(rows));
        numbers(&screen.until("page without a gap", is_next))
    };
    let mut seen = page(&|shown| shown.last() == Some(&10_000));
    while seen[0] > 1 {
        let first = seen[0];
        screen.keys(&["PageUp"]);
        // At the oldest message here the key has no effect until older ones are read: press again.
        let mut pressed = Instant::now();
        let start = Instant::now();
        let shown = loop {
            let shown = numbers(&screen.rows());
            if is_whole(&shown) && shown[0] < first {
                break shown;
            }
            assert!(start.elapsed() < LONG, "{first}: {:#?}", screen.rows());
            if pressed.elapsed() > AGAIN {
                screen.keys(&["PageUp"]);
                pressed = Instant::now();
            }
            std::thread::sleep(LOOK);
        };
        let meets = |shown: &[u32]| shown.contains(&first) || shown.last() == Some(&(first - 1));
        let shown = if meets(&shown) {
            shown
        } else {
            // Two presses counted: one page back.
            screen.keys(&["PageDown"]);
            page(&|shown| shown[0] < first && meets(shown))
        };
        seen.splice(0..0, shown.into_iter().take_while(|number| *number < first));
    }
    assert_eq!(seen, (1..=10_000).collect::<Vec<u32>>());
    screen.keys(&["End"]);
    screen.sees("line 10000");
    screen.line("/exit");
    screen.ended(0);
    // Meanwhile somebody writes; what is new is told from what was read.
    bob.hear("line 10000 of many");
    bob.say("while you were away");
    bob.say("and again");
    let screen = Screen::join(&lab, "alice", (120, 60), &[]);
    // What is new may come before what was there is read.
    let rows = screen.until("what is new below what was read", |rows| {
        let has = |text: &str| rows.iter().any(|row| row.contains(text));
        has("<bob> and again") && has("── new ──") && has("line 10000")
    });
    let at = |text: &str| rows.iter().position(|row| row.contains(text)).unwrap();
    assert!(at("line 10000") < at("while you were away"), "{rows:#?}");
    screen.line("/exit");
    screen.ended(0);
    bob.exit();
}

#[test]
fn a_terminal_that_knows_only_lines_gets_lines_and_so_does_who_asks_for_them() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let in_lines = |alice: &Screen| {
        alice.sees("-- you are alice in network");
        assert_eq!(alice.tmux(&["display-message", "-p", "#{alternate_on}"]), "0\n");
        alice.line("a line");
        alice.line("/leader");
        alice.sees("-- leader: alice");
        alice.keys(&["C-d"]);
        alice.ended(0);
    };
    in_lines(&Screen::join(&lab, "alice", (100, 30), &["--plain"]));
    in_lines(&Screen::run(&lab, "alice", (100, 30), &[], "TERM=dumb "));
}

#[test]
fn an_unknown_authority_is_asked_about_on_the_screen_and_a_no_ends_it() {
    let Some(address) = crate::refusals::outside() else {
        eprintln!("this machine has only a loopback address: nothing to see here");
        return;
    };
    let mut lab = Lab::new();
    lab.keyauth = lab.keyauth.replace("127.0.0.1", &address.to_string());
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = Screen::join(&lab, "alice", (80, 24), &[]);
    alice.sees("The key authority at");
    alice.sees("the same? (yes/no)");
    alice.line("perhaps");
    alice.sees("type yes or no");
    alice.keys(&["C-u"]);
    alice.line("yes");
    alice.sees("leader alice (term 1)");
    let bob = Screen::join(&lab, "bob", (80, 24), &[]);
    bob.sees("the same? (yes/no)");
    bob.line("no");
    // The error stands where the screen was.
    bob.ended(4);
    bob.sees("[authority_unknown, exit 4]");
    alice.line("/exit");
    alice.ended(0);
}

#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    const PANICS: &str = "P2PGROUP_TEST_PANICS";
    // The same test once more, in a terminal of its own.
    if std::env::var_os(PANICS).is_some() {
        p2pgroup::tui::take().unwrap();
        panic!("on purpose");
    }
    let lab = Lab::new();
    let this = std::env::current_exe().unwrap();
    let name = "tui::a_panic_gives_the_terminal_back_and_can_be_read";
    let line = format!("{PANICS}=1 '{}' --exact {name} --nocapture", this.display());
    let screen = Screen::open(&lab, "panic", (100, 40), &line);
    screen.ended(101);
    screen.sees("on purpose");
}

/// An invite is broken over rows, so it cannot be selected: `/copy` has the terminal take it whole, and
/// what was made on the screen is there once more when the screen is gone.
#[test]
fn an_invite_goes_to_the_clipboard_whole_and_is_not_lost_with_the_screen() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let alice = Screen::join(&lab, "alice", (80, 24), &[]);
    alice.sees("quorum");
    alice.tmux(&["set-option", "-s", "set-clipboard", "on"]);
    alice.line("/invite create");
    alice.sees("/copy puts it on the clipboard");
    alice.line("/copy");
    alice.sees("copied ");
    let copied = alice.tmux(&["show-buffer"]);
    assert!(copied.starts_with("p2pgroup") && copied.len() > 200, "{copied}");
    assert!(!copied.contains(char::is_whitespace), "{copied}");
    alice.line("/exit");
    alice.ended(0);
    let shown = alice.tmux(&["capture-pane", "-p", "-J"]);
    assert!(shown.lines().any(|line| line.trim_end() == copied), "{shown}");
    assert_eq!(shown.matches(&copied).count(), 1, "{shown}");
}
