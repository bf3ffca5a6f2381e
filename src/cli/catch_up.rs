//! How far a member has caught up, a search is or the reading of a file, in line mode on a terminal.
//! Owns: when that is asked, and when it is worth a line.
//! Must not know: how the line is written.
//! Invariants: nothing is shown in the first second; what is asked here is answered nowhere else; one
//! question at most is under way.
//! Start reading at: [`Watch::on`].

use super::console::Clock;
use crate::ids::CommandId;
use crate::protocol::Notice;
use crate::text::bar;
use crate::time::{Millis, Mono, Now};
use crate::tui::catch_up::CatchUp;
use crate::tui::look::Moment;

/// How often it is asked how much is still to come, and when it begins to be shown.
const SECOND: Millis = Millis(1_000);

/// Looks at what comes.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Clock,
    catch_up: CatchUp,
    /// Somebody is there who may hold more.
    is_news: bool,
    asked: Option<CommandId>,
    asked_at: Mono,
    going: Option<Going>,
}

/// Something a person asked for that takes its time.
#[derive(Debug)]
struct Going {
    command: CommandId,
    since: Mono,
    /// How far it is, in words.
    line: String,
}

impl Watch {
    pub(super) fn new(clock: Clock) -> Self {
        let (catch_up, asked, asked_at) = (CatchUp::default(), None, Mono(0));
        Self { clock, catch_up, is_news: false, asked, asked_at, going: None }
    }

    /// Takes a notice; whether it answers what was asked here.
    pub(super) fn on(&mut self, notice: &Notice, now: Now) -> bool {
        match notice {
            Notice::Message(view) => {
                let at = Moment::of(self.clock.at(view.sent_at));
                self.catch_up.came(view.sent_at, at, now);
            }
            Notice::Status { command, status } if self.asked == Some(*command) => {
                self.catch_up.behind(status.behind, now);
            }
            Notice::Ready(_) | Notice::Member(_) => self.is_news = true,
            Notice::Progress { command, doing, done, of } => {
                let line = format!("{} {}", doing.name(), bar(*done, *of));
                let before = self.going.take().filter(|it| it.command == *command);
                let since = before.map_or(now.mono, |it| it.since);
                self.going = Some(Going { command: *command, since, line });
            }
            _ => {}
        }
        if self.going.as_ref().is_some_and(|it| notice.command() == Some(it.command)) {
            self.going = None;
        }
        let is_ours = self.asked.is_some() && notice.command() == self.asked;
        if is_ours {
            self.asked = None;
        }
        is_ours
    }

    /// Whether the status is to be asked for: while something comes, and once after links came up.
    pub(super) fn wants_status(&self, now: Now) -> bool {
        let is_wanted = self.catch_up.since().is_some() || self.is_news;
        is_wanted && self.asked.is_none() && now.mono.since(self.asked_at) >= SECOND
    }

    /// It was asked for under this number.
    pub(super) fn ask(&mut self, number: CommandId, now: Now) {
        (self.asked, self.asked_at, self.is_news) = (Some(number), now.mono, false);
    }

    /// How far it is, if it takes its time.
    pub(super) fn line(&mut self, now: Now) -> Option<String> {
        let is_slow = |it: &&Going| now.mono.since(it.since) >= SECOND;
        if let Some(going) = self.going.as_ref().filter(is_slow) {
            return Some(going.line.clone());
        }
        if self.catch_up.is_over(now) {
            return None;
        }
        let since = self.catch_up.since()?;
        self.catch_up.line().filter(|_| now.mono.since(since) >= SECOND)
    }

    /// When it is to be looked at again although nothing came.
    pub(super) fn wakes_at(&self) -> Option<Mono> {
        let asks = self.catch_up.since().is_some() || self.is_news;
        let asks_at = (asks && self.asked.is_none()).then(|| self.asked_at.after(SECOND));
        let going = self.going.as_ref().map(|it| it.since.after(SECOND));
        self.catch_up.ends_at().into_iter().chain(asks_at).chain(going).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, PeerId, Seq};
    use crate::protocol::{About, Doing, MessageId, MessageView, Status};
    use crate::time::Wall;

    fn now(after: u64) -> Now {
        let wall = Wall(1_795_254_067_250);
        Now { mono: Mono(5_000).after(Millis(after)), wall: wall.after(Millis(after)) }
    }

    fn missed() -> Notice {
        Notice::Message(MessageView {
            id: MessageId([1; 16]),
            room: "main".to_owned(),
            from: "bob".to_owned(),
            peer: PeerId::of_ed25519(&DeviceKey([1; 32])),
            seq: Seq(7),
            lamport: 1,
            about: About::Nothing,
            text: "x".to_owned(),
            sent_at: Wall(1_795_250_000_000),
            expires_at: None,
            is_own: false,
            is_fork: false,
            missing: 0,
            is_ignored: false,
        })
    }

    fn status(number: u64, behind: u64) -> Notice {
        let status = Box::new(Status { behind, ..Status::default() });
        Notice::Status { command: CommandId(number), status }
    }

    #[test]
    fn a_long_catch_up_is_shown_with_a_bar_until_it_is_over() {
        let mut watch = Watch::new(Clock::Utc);
        assert!(!watch.wants_status(now(0)), "nothing comes");
        for _ in 0..30 {
            assert!(!watch.on(&missed(), now(0)));
        }
        assert!(watch.wants_status(now(0)));
        watch.ask(CommandId(7), now(0));
        assert!(!watch.wants_status(now(2_000)), "one is under way");
        assert!(!watch.on(&status(8, 5), now(10)), "a person asked for that");
        assert!(watch.on(&status(7, 70), now(10)));
        assert!(!watch.on(&status(7, 70), now(10)), "once");
        assert!(!watch.wants_status(now(900)) && watch.wants_status(now(1_000)));
        assert_eq!((watch.line(now(999)), watch.wakes_at()), (None, Some(Mono(6_000))));
        watch.ask(CommandId(9), now(1_000));
        assert!(watch.on(&status(9, 49), now(1_010)));
        let line = watch.line(now(1_010)).unwrap_or_default();
        assert_eq!(line, "catching up ███░░░░░░░ 30%: 30 messages, at 2026-11-21 08:33");
        watch.ask(CommandId(10), now(2_000));
        assert!(watch.on(&status(10, 0), now(2_000)));
        assert_eq!(watch.wakes_at(), Some(Mono(8_000)), "it asks again");
        watch.ask(CommandId(11), now(3_000));
        assert_eq!(watch.wakes_at(), Some(Mono(8_500)));
        assert_eq!((watch.line(now(3_500)), watch.wakes_at()), (None, None));
    }

    #[test]
    fn a_search_that_takes_over_a_second_has_a_bar_until_it_is_answered() {
        let mut watch = Watch::new(Clock::Utc);
        let at = |done| Notice::Progress {
            command: CommandId(7),
            doing: Doing::Searching,
            done,
            of: 20_000,
        };
        assert!(!watch.on(&at(2_000), now(500)));
        assert_eq!((watch.line(now(1_400)), watch.wakes_at()), (None, Some(Mono(6_500))));
        watch.on(&at(6_000), now(1_450));
        assert_eq!(watch.line(now(1_500)).as_deref(), Some("searching ███░░░░░░░ 30%"));
        let found = |number| Notice::Found { command: CommandId(number), messages: Vec::new() };
        assert!(!watch.on(&found(8), now(1_600)) && watch.line(now(1_600)).is_some());
        assert!(!watch.on(&found(7), now(1_700)), "it is shown");
        assert_eq!((watch.line(now(1_700)), watch.wakes_at()), (None, None));
    }

    #[test]
    fn what_is_there_within_a_second_is_no_word_worth() {
        let mut watch = Watch::new(Clock::Utc);
        for _ in 0..5_000 {
            watch.on(&missed(), now(0));
        }
        assert_eq!(watch.line(now(900)), None);
        assert_eq!(watch.line(now(1_600)), None);
    }
}
