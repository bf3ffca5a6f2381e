//! Whose clock is wrong, where clocks differ.
//! Owns: who is believed.
//! Must not know: how clocks were compared, and how it is said.
//! Invariants: nobody is called wrong unless more than half of all, oneself among them, agree.
//! Start reading at: [`judge`].

/// How far clocks may be apart before one is called wrong.
pub(super) const SKEW_MS: u64 = 5_000;

/// Who is how far ahead of ours, in milliseconds; less than zero: behind.
pub(super) type Clock = (String, i64);

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clocks {
    /// All are about the same.
    Same,
    /// So many of so many others agree with each other, and are so far ahead of ours.
    OursWrong {
        /// How far, as the one in their middle has it.
        ahead: i64,
        /// How many of the others agree.
        agree: usize,
    },
    /// Most agree with ours; these do not.
    TheirsWrong(Vec<Clock>),
    /// These differ from ours, and no more than half agree on anything.
    Undecided(Vec<Clock>),
}

/// Judges by what the clocks of others show.
pub(super) fn judge(others: &[Clock]) -> Clocks {
    let is_off = |(_, ahead): &&Clock| ahead.unsigned_abs() > SKEW_MS;
    let off: Vec<Clock> = others.iter().filter(is_off).cloned().collect();
    if off.is_empty() {
        return Clocks::Same;
    }
    // Our own stands at 0, and counts like every other one.
    let mut all: Vec<i64> = others.iter().map(|(_, ahead)| *ahead).chain([0]).collect();
    all.sort_unstable();
    let group = |first: &i64| -> Vec<i64> {
        let agrees = |it: &&i64| **it >= *first && it.abs_diff(*first) <= SKEW_MS;
        all.iter().filter(agrees).copied().collect()
    };
    let largest = all.iter().map(group).max_by_key(|group| (group.len(), group.contains(&0)));
    let group = largest.unwrap_or_default();
    if group.len().saturating_mul(2) <= all.len() {
        return Clocks::Undecided(off);
    }
    match group.get(group.len() / 2) {
        Some(ahead) if !group.contains(&0) => {
            Clocks::OursWrong { ahead: *ahead, agree: group.len() }
        }
        _ => Clocks::TheirsWrong(off),
    }
}

/// A length of time in words.
pub(super) fn span(ahead: i64) -> String {
    let seconds = ahead.unsigned_abs() / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(ahead: &[i64]) -> Vec<Clock> {
        let name = |(at, ahead): (usize, &i64)| (format!("m{at}"), *ahead);
        ahead.iter().enumerate().map(name).collect()
    }

    #[test]
    fn the_clock_that_most_do_not_agree_with_is_wrong_also_if_it_is_ours() {
        let judged = |ahead: &[i64]| judge(&others(ahead));
        assert_eq!(judged(&[]), Clocks::Same);
        assert_eq!(judged(&[4_000, -4_000]), Clocks::Same);
        assert_eq!(judged(&[61_000, 60_000]), Clocks::OursWrong { ahead: 61_000, agree: 2 });
        assert_eq!(judged(&[-61_000; 3]), Clocks::OursWrong { ahead: -61_000, agree: 3 });
        assert_eq!(
            judged(&[90_000, 90_500, 91_000, 300]),
            Clocks::OursWrong { ahead: 90_500, agree: 3 }
        );
        let wrong = vec![("m1".to_owned(), 61_000)];
        assert_eq!(judged(&[200, 61_000]), Clocks::TheirsWrong(wrong));
        // One against one, and each its own: nobody can tell.
        for unclear in [&[61_000][..], &[61_000, 122_000], &[0, 61_000, 61_000]] {
            assert!(matches!(judged(unclear), Clocks::Undecided(_)), "{unclear:?}");
        }
        assert!(matches!(judged(&[i64::MAX, i64::MIN]), Clocks::Undecided(_)));
    }

    #[test]
    fn spans_are_said_as_people_do() {
        let spans = [61_000, -119_999, 120_000, 7_200_000, -200_000_000].map(span);
        assert_eq!(spans, ["61 s", "119 s", "2 min", "2 h", "2 days"]);
    }
}
