//! What concerns people and their keys, as lines.
//! Owns: how safety words and alarms read.
//! Must not know: how keys become words, what sets an alarm off.
//! Invariants: words stand in groups that can be read aloud; the same on both sides.
//! Start reading at: [`verify_lines`].

use crate::protocol::{AlarmView, VerifyView};
use crate::text::one_line;

/// Words in one breath.
const GROUP: usize = 3;

/// The words in groups, and what to do with them.
pub(super) fn verify_lines(view: &VerifyView) -> Vec<String> {
    let name = one_line(&view.name);
    let mut lines = vec![format!(
        "compare with {name}, aloud or side by side; in any other way than this chat:"
    )];
    for pair in view.words.chunks(2 * GROUP) {
        let groups: Vec<String> = pair.chunks(GROUP).map(|words| words.join(" ")).collect();
        lines.push(format!("    {}", groups.join("   ")));
    }
    lines.push(match view.verified_at {
        Some(at) => format!("{name} is verified since {at}; /verify {name} undo takes it back"),
        None => format!("if {name} sees the same words: /verify {name} ok"),
    });
    lines
}

/// An alarm and its code.
pub(super) fn alarm_line(alarm: &AlarmView) -> String {
    format!("ALARM: {} [{}]", one_line(&alarm.message), alarm.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, PeerId};
    use crate::time::Wall;

    #[test]
    fn words_stand_in_groups_of_three_and_say_what_comes_next() {
        let words = "a b c d e f g h i j k l".split(' ').map(str::to_owned).collect();
        let peer = PeerId::of_ed25519(&DeviceKey([1; 32]));
        let view = VerifyView { name: "bob".to_owned(), peer, words, verified_at: None };
        let lines = verify_lines(&view);
        assert_eq!(
            &lines[1..],
            [
                "    a b c   d e f",
                "    g h i   j k l",
                "if bob sees the same words: /verify bob ok",
            ]
        );
        let lines = verify_lines(&VerifyView { verified_at: Some(Wall(0)), ..view });
        assert!(lines[3].starts_with("bob is verified since 1970-01-01T00:00:00"), "{lines:?}");
    }
}
