//! Words that people bring from elsewhere: irssi, weechat, Signal, Slack.
//! Owns: what to type here instead.
//! Must not know: how a command is understood.
//! Invariants: none of these words is a command of ours.
//! Start reading at: [`instead`].

/// Words, and what does that here.
const WORDS: &[(&[&str], &str)] = &[
    (&["op", "mod"], "/room role NAME admin, or /role NAME admin for the whole network"),
    (&["deop", "voice", "unsilence"], "/room role NAME member"),
    (&["silence", "devoice", "quiet"], "/room role NAME reader: reads on, and writes nothing"),
    (
        &["ban", "kickban"],
        "/kick NAME out of this room, or /remove NAME out of the network for good",
    ),
    (&["block"], "/ignore NAME"),
    (&["unblock"], "/unignore NAME"),
    (&["away", "back"], "nothing: who is not connected is away"),
    (&["qr"], "/invite create, which shows one"),
    (&["file", "attach", "upload", "dcc"], "/send FILE; /files lists them"),
    (&["download"], "/get ID; /files lists them"),
    (&["list", "channels"], "/rooms"),
    (&["j"], "/join ROOM"),
    (&["close", "wc"], "/leave"),
    (&["win", "window", "buffer", "switch"], "/go ROOM, or Alt and its number"),
    (&["m", "dm", "notice", "whisper"], "/msg NAME text"),
    (&["connect", "server", "disconnect"], "/links and /status, which tell how one is connected"),
    (&["set", "bind", "alias"], "config.yml; p2pgroup config show prints every setting"),
    (&["users", "members"], "/who"),
    (&["disappear", "expire", "timer"], "/say --expires 10m text, or /room keep DAYS"),
    (&["bye", "q"], "/exit"),
    (&["log", "backlog", "scrollback"], "/history, or PgUp on the screen"),
];

/// What to type in place of a word that is no command.
pub(super) fn instead(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    WORDS.iter().find(|(words, _)| words.contains(&name.as_str())).map(|(_, here)| *here)
}

#[cfg(test)]
mod tests {
    use super::super::{is_command, parse};
    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn what_others_call_so_leads_to_what_it_is_called_here() {
        for (words, here) in WORDS {
            for word in *words {
                assert!(!is_command(word), "/{word} is a command");
                let refused = parse(&format!("/{word} bob"), "main").unwrap_err();
                assert_eq!(refused.refusal, Refusal::CommandUnknown);
                assert_eq!(refused.detail, format!("/{word}; here it is {here}"));
            }
            let named = here.split(' ').next().unwrap().trim_end_matches([';', ',']);
            if let Some(name) = named.strip_prefix('/') {
                assert!(is_command(name), "{here}");
            }
        }
        assert_eq!(instead("OP"), instead("op"));
        assert_eq!(instead("whoo"), None);
    }
}
