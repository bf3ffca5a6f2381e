//! What concerns people and their keys, as lines.
//! Owns: how members, safety words and alarms read.
//! Must not know: how keys become words, what sets an alarm off.
//! Invariants: words stand in groups that can be read aloud; the same on both sides.
//! Start reading at: [`verify_lines`].

use super::{Clock, links};
use crate::ids::{NetworkRole, PeerId};
use crate::protocol::{AlarmView, MemberView, Transport, VerifyView, WhoisView};
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

/// A member in one line.
pub(super) fn member_line(member: &MemberView) -> String {
    let mut line = format!("{}: {}", one_line(&member.name), member.state.name());
    if member.role != NetworkRole::Member {
        line.push_str(", ");
        line.push_str(member.role.name());
    }
    for (is, word) in [
        (member.is_self, "you"),
        (member.is_verified, "verified"),
        (member.is_voter, "voter"),
        (member.is_linked, "linked"),
        (member.is_ignored, "ignored"),
    ] {
        if is {
            line.push_str(", ");
            line.push_str(word);
        }
    }
    line
}

/// All that is known of a member, the most useful first.
pub(super) fn whois_lines(view: &WhoisView, clock: Clock) -> Vec<String> {
    let name = one_line(&view.member.name);
    let time = |wall| match clock.at(wall) {
        Some(at) => format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute()),
        None => "at an unknown time".to_owned(),
    };
    let mut lines = vec![member_line(&view.member)];
    lines.extend(view.removed_at.map(|at| format!("removed {}", time(at))));
    lines.push(format!("key {}", view.member.peer));
    lines.push(match view.serial {
        0 => format!("came by an invite, which holds until {}", time(view.not_after)),
        serial => {
            format!("certificate {serial} of the key authority, until {}", time(view.not_after))
        }
    });
    if !view.member.is_self {
        lines.push(match view.verified_at {
            Some(at) => format!("verified {}", time(at)),
            None => format!("not verified: /verify {name}"),
        });
        lines.push(match (&view.link, view.member.last_seen) {
            (Some(link), _) => {
                let way = if link.transport == Transport::Relay { "relayed" } else { "direct" };
                let (how, rtt) = (link.transport.name(), links::rtt(link.rtt_micros));
                format!("linked {way} ({how}), round trip {rtt}")
            }
            (None, Some(at)) => format!("not linked; last seen {}", time(at)),
            (None, None) => "not linked; not seen since this start".to_owned(),
        });
    }
    if !view.rooms.is_empty() {
        let rooms: Vec<String> = view.rooms.iter().map(|room| one_line(room)).collect();
        lines.push(format!("rooms you share: {}", rooms.join(", ")));
    }
    if view.member.is_ignored {
        lines.push(format!("what it writes is not shown: /unignore {name}"));
    }
    lines
}

/// Who is ignored.
pub(super) fn ignored_line(members: &[MemberView]) -> String {
    let names: Vec<String> = members.iter().map(|member| one_line(&member.name)).collect();
    match names.as_slice() {
        [] => "nobody is ignored".to_owned(),
        names => {
            format!("ignored here: {}; /unignore NAME shows what they write", names.join(", "))
        }
    }
}

/// An alarm and its code.
pub(super) fn alarm_line(alarm: &AlarmView) -> String {
    format!("ALARM: {} [{}]", one_line(&alarm.message), alarm.code)
}

/// One of six colours that are read well on light and dark, always the same for a peer.
pub(super) fn hue(peer: &PeerId) -> u8 {
    31 + peer.as_bytes().last().copied().unwrap_or(0) % 6
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
