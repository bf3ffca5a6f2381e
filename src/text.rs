//! Text from other people, made harmless before it meets a terminal or a log.
//! Owns: which characters may be shown and what the others turn into.
//! Must not know: where the text is shown.
//! Invariants: what leaves here holds no control character but, in [`lines`], the newline.
//! Start reading at: [`one_line`].

use unicode_normalization::UnicodeNormalization;

use crate::limits::FILE_NAME_BYTES_MAX;

/// Characters that change how the text around them is shown: bidi marks, invisible ones, tags.
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The text as one line: control and deceptive characters become visible escapes.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut shown, c);
    }
    shown
}

/// The text as lines: as [`one_line`], but newlines stay and tabs become spaces.
pub fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            other => push(&mut shown, other),
        }
    }
    shown
}

fn push(shown: &mut String, c: char) {
    // Emoji need the joiner and the presentation selectors; they reorder nothing.
    if matches!(c, '\u{200D}' | '\u{FE0E}' | '\u{FE0F}') {
        shown.push(c);
    } else if c.is_control() || is_deceptive(c) {
        shown.extend(c.escape_unicode());
    } else {
        shown.push(c);
    }
}

/// What somebody does rather than says: a message that begins with `/me ` is shown as
/// `* alice waves`. The word is part of its text, so that older versions show all of it.
pub fn action(text: &str) -> Option<&str> {
    text.strip_prefix("/me ").map(str::trim_start).filter(|rest| !rest.is_empty())
}

/// Columns of a bar.
const BAR: u64 = 10;

/// How much of something is done: a bar and its share.
pub fn bar(done: u64, of: u64) -> String {
    let share = |parts: u64| {
        let share = u128::from(done).saturating_mul(parts.into()).checked_div(of.into());
        share.and_then(|it| u64::try_from(it).ok()).unwrap_or(parts).min(parts)
    };
    let cells = |count: u64| usize::try_from(count).unwrap_or(0);
    let full = "█".repeat(cells(share(BAR)));
    let left = "░".repeat(cells(BAR.saturating_sub(share(BAR))));
    format!("{full}{left} {}%", share(100))
}

/// NFC, the form in which names are compared and stored.
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// The name under which a file from elsewhere may lie in a directory of ours, whatever it claims to
/// be called: one part of a path, no hidden file, no device, nothing that steers a terminal.
pub fn file_name(claimed: &str) -> String {
    let last = claimed.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept = |c: char| match c {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
        c if c.is_control() || is_deceptive(c) => '_',
        c if c.is_whitespace() => ' ',
        c => c,
    };
    let name: String = last.chars().map(kept).collect();
    let name = name.trim_matches(' ').trim_end_matches(['.', ' ']);
    // A leading dot hides it, a leading dash makes it an option of whoever is given its name.
    let hidden = if name.starts_with(['.', '-', '~']) { "_" } else { "" };
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let device = if DEVICES.contains(&stem.as_str()) { "_" } else { "" };
    let name = format!("{hidden}{device}{name}");
    if name.is_empty() {
        return "file".to_owned();
    }
    shortened(&name)
}

/// At most so many bytes, and its ending stays.
fn shortened(name: &str) -> String {
    if name.len() <= FILE_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| name.len().saturating_sub(*dot) <= ENDING_BYTES_MAX);
    let (stem, ending) = dot.and_then(|dot| name.split_at_checked(dot)).unwrap_or((name, ""));
    let room = stem.floor_char_boundary(FILE_NAME_BYTES_MAX.saturating_sub(ending.len()));
    let stem = stem.get(..room).unwrap_or_default().trim_end_matches([' ', '.']);
    format!("{stem}{ending}")
}

/// An ending worth keeping, such as `.tar.gz` has two of.
const ENDING_BYTES_MAX: usize = 16;
/// What names a device on some systems, whatever ending follows.
const DEVICES: [&str; 24] = [
    "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "COM1", "COM2", "COM3", "COM4", "COM5",
    "COM6", "COM7", "COM8", "COM9", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8",
    "LPT9",
];

/// A size in bytes as people read it.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, bits)| bytes >> bits > 0);
    let Some((unit, bits)) = unit else { return format!("{bytes} bytes") };
    let tenths = bytes.saturating_mul(10) >> bits;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A number with a comma before every third digit.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Says that messages of somebody are missing in a talk, for now.
pub fn on_their_way(missing: u64, name: &str) -> String {
    let (are, their) = if missing == 1 {
        ("message", "is still on its")
    } else {
        ("messages", "are still on their")
    };
    format!("{} {are} of {name} {their} way", grouped(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_name_and_nothing_that_would_lead_it_elsewhere() {
        for (claimed, name) in [
            ("holiday.jpg", "holiday.jpg"),
            ("../../.ssh/authorized_keys", "authorized_keys"),
            ("C:\\Windows\\system32\\evil.dll", "evil.dll"),
            ("NUL", "_NUL"),
            ("com1.txt", "_com1.txt"),
            ("-rf", "_-rf"),
            (".bashrc", "_.bashrc"),
            ("..", "file"),
            ("", "file"),
            ("/", "file"),
            (" . ", "file"),
            ("a\u{1b}[2Jb\nc", "a_[2Jb_c"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe"),
            ("what?.txt ", "what_.txt"),
            ("ends.", "ends"),
            ("日本 語.txt", "日本 語.txt"),
        ] {
            assert_eq!(file_name(claimed), name, "{claimed:?}");
        }
        let long = format!("{}.tar", "ü".repeat(300));
        let name = file_name(&long);
        assert!(name.len() <= FILE_NAME_BYTES_MAX && name.ends_with("ü.tar"), "{name}");
        for claimed in ["-rf", "..", "NUL", &long, "a/./.b", "~x", ". .x", "-.-", "x. ."] {
            let once = file_name(claimed);
            assert_eq!(file_name(&once), once, "a name that is fit stays as it is");
        }
    }

    #[test]
    fn a_bar_shows_the_share_that_is_done_and_is_full_only_then() {
        for (done, of, shown) in [
            (0, 40_000, "░░░░░░░░░░ 0%"),
            (14_000, 40_000, "███░░░░░░░ 35%"),
            (39_999, 40_000, "█████████░ 99%"),
            (40_000, 40_000, "██████████ 100%"),
            // More than was thought; nothing to do at all; so much that a product would not fit.
            (41_000, 40_000, "██████████ 100%"),
            (0, 0, "██████████ 100%"),
            (u64::MAX / 2, u64::MAX, "████░░░░░░ 49%"),
        ] {
            assert_eq!(bar(done, of), shown);
        }
    }

    #[test]
    fn a_size_is_told_in_units_that_people_know() {
        for (bytes, shown) in [(12, "12 bytes"), (1536, "1.5 KiB"), (400_000_000, "381.4 MiB")] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn escapes_that_would_move_the_cursor_are_shown() {
        assert_eq!(one_line("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(one_line("\u{202e}evil\r\n"), "\\u{202e}evil\\u{d}\\u{a}");
        assert_eq!(one_line("c1 \u{9b}31m"), "c1 \\u{9b}31m");
    }

    #[test]
    fn lines_keep_newlines_and_emoji_stay_whole() {
        assert_eq!(lines("a\nb\tc"), "a\nb    c");
        assert_eq!(one_line("👩\u{200d}🚀"), "👩\u{200d}🚀");
    }
}
