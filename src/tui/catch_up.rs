//! What was missed and comes now: how much of it is there.
//! Owns: what counts as missed, when that is worth a word, and the word.
//! Must not know: what was said, where it is shown.
//! Invariants: a few messages are not worth a word; it is over when nothing missed came for a while.
//! Start reading at: [`CatchUp`].

use super::look::Moment;
use crate::text::{bar, grouped};
use crate::time::{Millis, Mono, Now, Wall};

/// A message that is older than this when it comes was missed, …
pub const MISSED: Millis = Millis(30_000);
/// … and so many of them take long enough to be told about.
const MANY: u64 = 10;
/// So much that others hold is told about although nothing of it was shown yet: of what was said
/// before one came, not everything may be for one to read.
const MUCH: u64 = 1_000;
/// It is over when nothing missed came for so long, …
const QUIET: Millis = Millis(1_500);
/// … or, while others are known to hold more, for so long: who has it may be busy.
const STALLED: Millis = Millis(6_000);

/// What was missed and comes now, if anything does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatchUp(Option<Going>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Going {
    /// How many messages came, and when the last of them was sent.
    count: u64,
    at: Option<Moment>,
    /// How many entries others held more than we did, and how many they still do, as far as is known.
    of: u64,
    behind: u64,
    since: Mono,
    last: Mono,
}

impl Going {
    fn new(now: Now) -> Self {
        Self { count: 0, at: None, of: 0, behind: 0, since: now.mono, last: now.mono }
    }
}

impl CatchUp {
    /// A message came; whether it was missed.
    pub fn came(&mut self, sent_at: Wall, at: Moment, now: Now) -> bool {
        if now.wall.since(sent_at) <= MISSED {
            return false;
        }
        let going = self.0.get_or_insert(Going::new(now));
        going.count = going.count.saturating_add(1);
        (going.at, going.last) = (Some(at), now.mono);
        true
    }

    /// Others hold so many entries more, by the status; whether that changes what is shown.
    pub fn behind(&mut self, more: u64, now: Now) -> bool {
        if self.0.is_none() && more < MUCH {
            return false;
        }
        let going = self.0.get_or_insert(Going::new(now));
        // Others go on writing meanwhile.
        going.of = going.of.saturating_add(more.saturating_sub(going.behind));
        if more < going.behind {
            going.last = now.mono;
        }
        std::mem::replace(&mut going.behind, more) != more
    }

    /// When it is over, if nothing more comes.
    pub fn ends_at(&self) -> Option<Mono> {
        self.0.map(|it| it.last.after(if it.behind > 0 { STALLED } else { QUIET }))
    }

    /// Whether it is over by now, and was not before.
    pub fn is_over(&mut self, now: Now) -> bool {
        let is_over = self.ends_at().is_some_and(|at| at <= now.mono);
        if is_over {
            self.0 = None;
        }
        is_over
    }

    /// Since when something comes.
    pub fn since(&self) -> Option<Mono> {
        self.0.map(|it| it.since)
    }

    /// How far it is.
    pub fn line(&self) -> Option<String> {
        let it = self.0.filter(|it| it.count >= MANY || it.of >= MUCH)?;
        let mut line = "catching up".to_owned();
        if it.of > 0 {
            line = format!("{line} {}", bar(it.of.saturating_sub(it.behind), it.of));
        }
        if let Some(Moment { day, clock: (hour, minute) }) = it.at {
            let count = grouped(it.count);
            line = format!("{line}: {count} messages, at {day} {hour:02}:{minute:02}");
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Wall = Wall(1_795_254_067_250);

    fn now(after: u64) -> Now {
        Now { mono: Mono(1_000).after(Millis(after)), wall: DAY.after(Millis(after)) }
    }

    fn came(catch_up: &mut CatchUp, count: u64, after: u64) {
        let at = Moment::of(time::OffsetDateTime::from_unix_timestamp(1_795_250_000).ok());
        for _ in 0..count {
            assert!(catch_up.came(Wall(1_795_250_000_000), at, now(after)));
        }
    }

    #[test]
    fn the_bar_stands_at_what_came_of_what_the_others_held_and_is_full_at_the_end() {
        let mut catch_up = CatchUp::default();
        came(&mut catch_up, 9, 0);
        assert_eq!(catch_up.line(), None, "a few are there at once");
        came(&mut catch_up, 2_991, 10);
        let tail = "messages, at 2026-11-21 08:33";
        let line = |shown: &str| Some(format!("catching up{shown} {tail}"));
        assert_eq!(catch_up.line(), line(": 3,000"), "how many there are is not known yet");
        assert!(catch_up.behind(10_000, now(20)));
        assert_eq!(catch_up.line(), line(" ░░░░░░░░░░ 0%: 3,000"));
        assert!(!catch_up.behind(10_000, now(30)), "that changes nothing");
        came(&mut catch_up, 3_000, 40);
        assert!(catch_up.behind(7_000, now(50)));
        assert_eq!(catch_up.line(), line(" ███░░░░░░░ 30%: 6,000"));
        // Others went on writing.
        assert!(catch_up.behind(9_000, now(60)));
        assert_eq!(catch_up.line(), line(" ██░░░░░░░░ 25%: 6,000"));
        assert!(catch_up.behind(0, now(70)));
        assert_eq!(catch_up.line(), line(" ██████████ 100%: 6,000"));
    }

    #[test]
    fn it_is_over_after_a_quiet_and_the_next_begins_anew() {
        let mut catch_up = CatchUp::default();
        assert!(!catch_up.behind(5, now(0)) && !catch_up.is_over(now(0)), "nothing comes");
        let at = Moment::of(None);
        assert!(!catch_up.came(DAY, at, now(30_000)), "it was on its way");
        came(&mut catch_up, 20, 0);
        came(&mut catch_up, 1, 1_000);
        assert!(!catch_up.is_over(now(2_499)));
        assert_eq!((catch_up.since(), catch_up.ends_at()), (Some(Mono(1_000)), Some(Mono(3_500))));
        assert!(catch_up.is_over(now(2_500)) && !catch_up.is_over(now(2_600)));
        assert_eq!(catch_up.line(), None);
        came(&mut catch_up, 10, 5_000);
        let line = catch_up.line().unwrap_or_default();
        assert!(line.starts_with("catching up: 10 messages"), "{line}");
    }

    #[test]
    fn what_is_not_for_one_to_read_has_a_bar_too_as_long_as_it_comes() {
        let mut catch_up = CatchUp::default();
        assert!(!catch_up.behind(999, now(0)), "that is there at once");
        assert!(catch_up.behind(2_000, now(0)));
        assert_eq!(catch_up.line().as_deref(), Some("catching up ░░░░░░░░░░ 0%"));
        // Who has it is busy for a while.
        assert!(!catch_up.is_over(now(5_900)));
        assert!(catch_up.behind(1_000, now(5_900)));
        assert!(!catch_up.is_over(now(11_800)));
        assert_eq!(catch_up.line().as_deref(), Some("catching up █████░░░░░ 50%"));
        assert!(!catch_up.behind(1_000, now(11_800)) && catch_up.is_over(now(11_900)), "stalled");
        assert!(catch_up.behind(2_000, now(20_000)) && catch_up.behind(0, now(21_000)));
        assert!(!catch_up.is_over(now(22_400)) && catch_up.is_over(now(22_500)));
    }
}
