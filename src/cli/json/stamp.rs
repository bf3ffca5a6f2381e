//! Moments as text, many a millisecond.
//! Owns: the short way from one moment to the next.
//! Must not know: what happened then.
//! Invariants: the text is that of [`Wall::rfc3339`], always.
//! Start reading at: [`Stamp`].

use crate::time::Wall;

/// RFC 3339 of a moment; within one second only the milliseconds are written anew.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<u64>,
    text: String,
}

impl Stamp {
    pub(super) fn of(&mut self, wall: Wall) -> &str {
        const UP_TO_SECONDS: usize = "2026-11-21T09:41:07.".len();
        let second = wall.0 / 1_000;
        if self.second == Some(second) && self.text.len() == UP_TO_SECONDS + 4 {
            self.text.truncate(UP_TO_SECONDS);
            let mut rest = wall.0 % 1_000;
            for place in [100, 10, 1] {
                let digit = u32::try_from(rest / place).unwrap_or(0);
                self.text.push(char::from_digit(digit, 10).unwrap_or('0'));
                rest %= place;
            }
            self.text.push('Z');
        } else {
            self.text = wall.rfc3339();
            // Past the year 9999 all moments look the same.
            self.second = (second < 253_402_300_800).then_some(second);
        }
        &self.text
    }
}
