//! How far a member has caught up, a search is or the reading of a file, in line mode on a terminal.
//! Owns: when that is asked, and when it is worth a line.
//! Must not know: how the line is written.
//! Invariants: nothing is shown in the first second; what is asked here is answered nowhere else; one
//! question at most is under way.
//! Start reading at: [`Watch::on`].

use std::collections::BTreeMap;

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
    /// What a person asked for that takes its time.
    going: BTreeMap<CommandId, Going>,
}

/// Something that goes on.
#[derive(Debug)]
struct Going {
    since: Mono,
    /// How far it is, in words.
    line: String,
}

impl Watch {
    pub(super) fn new(clock: Clock) -> Self {
        let (catch_up, asked, asked_at) = (CatchUp::default(), None, Mono(0));
        Self { clock, catch_up, is_news: false, asked, asked_at, going: BTreeMap::new() }
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
                let since = self.going.get(command).map_or(now.mono, |it| it.since);
                self.going.insert(*command, Going { since, line });
            }
            _ => {}
        }
        if let Some(answered) = notice.command() {
            self.going.remove(&answered);
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
        let is_over = self.catch_up.is_over(now);
        // Of several the one that was asked for first.
        let first = self.going.values().min_by_key(|it| it.since);
        if let Some(going) = first.filter(|it| now.mono.since(it.since) >= SECOND) {
            return Some(going.line.clone());
        }
        if is_over {
            return None;
        }
        let since = self.catch_up.since()?;
        self.catch_up.line().filter(|_| now.mono.since(since) >= SECOND)
    }

    /// When it is to be looked at again although nothing came: what is shown already waits for news.
    pub(super) fn wakes_at(&self, now: Now) -> Option<Mono> {
        let asks = self.catch_up.since().is_some() || self.is_news;
        let asks_at = (asks && self.asked.is_none()).then(|| self.asked_at.after(SECOND));
        let going = self.going.values().map(|it| it.since.after(SECOND));
        let going = going.filter(|at| *at > now.mono).min();
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
        assert_eq!((watch.line(now(999)), watch.wakes_at(now(999))), (None, Some(Mono(6_000))));
        watch.ask(CommandId(9), now(1_000));
        assert!(watch.on(&status(9, 49), now(1_010)));
        let line = watch.line(now(1_010)).unwrap_or_default();
        assert_eq!(line, "catching up ███░░░░░░░ 30%: 30 messages, at 2026-11-21 08:33");
        watch.ask(CommandId(10), now(2_000));
        assert!(watch.on(&status(10, 0), now(2_000)));
        assert_eq!(watch.wakes_at(now(2_000)), Some(Mono(8_000)), "it asks again");
        watch.ask(CommandId(11), now(3_000));
        assert_eq!(watch.wakes_at(now(3_000)), Some(Mono(8_500)));
        assert_eq!((watch.line(now(3_500)), watch.wakes_at(now(3_500))), (None, None));
    }

    fn at(number: u64, done: u64) -> Notice {
        let (command, doing) = (CommandId(number), Doing::Searching);
        Notice::Progress { command, doing, done, of: 20_000 }
    }

    fn found(number: u64) -> Notice {
        Notice::Found { command: CommandId(number), messages: Vec::new() }
    }

    #[test]
    fn a_search_that_takes_over_a_second_has_a_bar_until_it_is_answered() {
        let mut watch = Watch::new(Clock::Utc);
        assert!(!watch.on(&at(7, 2_000), now(500)));
        let wakes = watch.wakes_at(now(1_400));
        assert_eq!((watch.line(now(1_400)), wakes), (None, Some(Mono(6_500))));
        watch.on(&at(7, 6_000), now(1_450));
        assert_eq!(watch.line(now(1_500)).as_deref(), Some("searching ███░░░░░░░ 30%"));
        assert_eq!(watch.wakes_at(now(1_500)), None, "it is shown; news come by themselves");
        assert!(!watch.on(&found(8), now(1_600)) && watch.line(now(1_600)).is_some());
        assert!(!watch.on(&found(7), now(1_700)), "it is shown");
        assert_eq!((watch.line(now(1_700)), watch.wakes_at(now(1_700))), (None, None));
    }

    #[test]
    fn of_two_searches_the_first_is_shown_and_then_the_other() {
        let mut watch = Watch::new(Clock::Utc);
        for after in [0, 300, 600, 900] {
            watch.on(&at(7, 6_000), now(after));
            watch.on(&at(8, 12_000), now(after + 100));
        }
        assert_eq!(watch.wakes_at(now(1_000)), Some(Mono(6_100)), "for the other one");
        let first = Some("searching ███░░░░░░░ 30%");
        assert_eq!(watch.line(now(1_000)).as_deref(), first);
        assert_eq!((watch.line(now(1_100)).as_deref(), watch.wakes_at(now(1_100))), (first, None));
        watch.on(&found(7), now(1_200));
        let second = Some("searching ██████░░░░ 60%");
        assert_eq!((watch.line(now(1_200)).as_deref(), watch.wakes_at(now(1_200))), (second, None));
    }

    #[test]
    fn a_catch_up_that_is_over_during_a_search_wakes_nobody() {
        let mut watch = Watch::new(Clock::Utc);
        watch.on(&missed(), now(0));
        watch.ask(CommandId(9), now(0));
        watch.on(&at(7, 6_000), now(0));
        assert!(watch.line(now(1_600)).is_some());
        assert_eq!(watch.wakes_at(now(1_600)), None);
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
