//! Which names are allowed, and which two names a person could take for each other.
//! Owns: the rules, and the skeleton that must be unique in a network (UTS 39).
//! Must not know: which names are taken.
//! Invariants: a checked name is NFC, of one script, and holds nothing invisible.
//! Start reading at: [`check`].

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{GeneralSecurityProfile, MixedScript, skeleton};

use crate::limits::{NAME_BYTES_MAX, NAME_CHARS_MAX, NAME_MARKS_MAX};
use crate::refusal::{Refusal, Refused};
use crate::text;

/// A name that passed every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedName {
    /// The name in NFC: as shown, certified and compared.
    pub name: String,
    /// What it looks like: two names with one skeleton cannot both be in a network.
    pub skeleton: String,
    /// What it looks like as it is written. The authority keeps it apart from the skeletons and
    /// looks of all other names, too.
    pub look: String,
}

/// Words a reader would take for the program itself, or for everybody.
const RESERVED: &[&str] = &[
    "system",
    "leader",
    "witness",
    "bootstrap",
    "keyauth",
    "authority",
    "main",
    "everyone",
    "all",
    "here",
    "p2pgroup",
];

/// Checks a name as typed or as certified.
///
/// # Refusals
/// [`Refusal::NameBad`], with the rule that it breaks.
pub fn check(name: &str) -> Result<CheckedName, Refused> {
    // Before anything is allocated: NFC of the longest allowed name is never this long undone.
    if name.len() > NAME_BYTES_MAX * 4 {
        return Err(bad("", &format!("longer than {NAME_BYTES_MAX} bytes")));
    }
    let name = text::nfc(name);
    rule(&name).map_err(|why| bad(&name, why))?;
    let (skeleton, look) = (skeleton_of(&name), look_of(&name));
    if RESERVED.iter().map(|word| skeleton_of(word)).any(|word| word == skeleton || word == look) {
        return Err(bad(&name, "reserved"));
    }
    Ok(CheckedName { name, skeleton, look })
}

/// What a name looks like when case is ignored: folded, confusable characters replaced (UTS 39),
/// folded again because the table gives capitals for some small letters and the other way round.
pub fn skeleton_of(name: &str) -> String {
    merged(&fold(&skeleton(&fold(name)).collect::<String>()))
}

/// What a name looks like as it is written: `НАТ` in Cyrillic capitals is `HAT`, while the small
/// letters, which [`skeleton_of`] judges by, look like nothing Latin.
pub fn look_of(name: &str) -> String {
    merged(&fold(&skeleton(name).collect::<String>()))
}

/// The table takes a capital I for a small l. Where case is ignored, i is the third of them.
fn merged(skeleton: &str) -> String {
    skeleton.replace('i', "l")
}

fn rule(name: &str) -> Result<(), &'static str> {
    let Some(first) = name.chars().next() else {
        return Err("empty");
    };
    if name.len() > NAME_BYTES_MAX || name.chars().count() > NAME_CHARS_MAX {
        return Err("longer than 32 characters or 64 bytes");
    }
    if name.chars().any(|c| c.is_control() || text::is_deceptive(c)) {
        return Err("holds control or invisible characters");
    }
    if name.chars().any(char::is_whitespace) {
        return Err("holds a space");
    }
    if has_pile_of_marks(name) {
        return Err("holds more than 4 marks on one letter");
    }
    if !name.chars().all(is_allowed) {
        return Err("holds characters other than letters, digits, marks, '-', '_' and '.'");
    }
    if !first.is_alphanumeric() {
        return Err("does not start with a letter or digit");
    }
    if !name.is_single_script() {
        return Err("mixes scripts");
    }
    Ok(())
}

/// The General Security Profile of UTS 39 without the punctuation that it allows inside words,
/// of which some are quotes and separators in shells, paths and our own output.
fn is_allowed(c: char) -> bool {
    matches!(c, '-' | '_' | '.')
        || (c.identifier_allowed() && (c.is_alphanumeric() || is_combining_mark(c)))
}

/// Counted after taking characters apart, since the first mark often melts into its letter.
fn has_pile_of_marks(name: &str) -> bool {
    let mut marks = 0;
    name.nfd().any(|c| {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        marks > NAME_MARKS_MAX
    })
}

/// Close to Unicode's full case folding: through capitals, so that ß and ss, ſ and s meet.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn bad(name: &str, why: &str) -> Refused {
    if name.is_empty() {
        Refused::new(Refusal::NameBad, why)
    } else {
        Refused::new(Refusal::NameBad, format!("{name}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(name: &str) -> String {
        match check(name) {
            Ok(checked) => panic!("{name:?} passed as {checked:?}"),
            Err(refused) => {
                assert_eq!(refused.refusal, Refusal::NameBad);
                refused.detail
            }
        }
    }

    fn same(one: &str, other: &str) -> bool {
        let (one, other) = (check(one).unwrap(), check(other).unwrap());
        [&one.skeleton, &one.look].iter().any(|key| [&other.skeleton, &other.look].contains(key))
    }

    #[test]
    fn ordinary_names_of_many_scripts_pass_in_nfc() {
        for name in [
            "alice",
            "Bob",
            "o-neill",
            "anna_maria",
            "j.doe",
            "x",
            "7of9",
            "Zoë",
            "Владимир",
            "Ελένη",
            "山田",
            "さくら",
            "ヤマダ太郎",
            "김철수",
            "محمد",
            "דוד",
            "अनिल",
            "สมชาย",
            "Nguyễn",
            "a234567890123456789012345678901b",
        ] {
            let checked = check(name).unwrap_or_else(|no| panic!("{name}: {no}"));
            assert_eq!(checked.name, text::nfc(name));
            assert!(!checked.skeleton.is_empty());
        }
    }

    /// FAULTS group D, 36 to 42.
    #[test]
    fn bad_names_are_refused_each_with_its_reason() {
        let marks = format!("a{}", "\u{0301}".repeat(10_000));
        let table: &[(&str, &str)] = &[
            ("", "empty"),
            ("abcdefghijklmnopqrstuvwxyz0123456", "longer than 32"),
            (&"山".repeat(22), "longer than 32"),
            (&"x".repeat(100_000), "longer than 64"),
            (&marks, "longer than 64"),
            ("a\u{0301}\u{0302}\u{0303}\u{0304}\u{0305}", "marks"),
            ("bоb", "mixes scripts"),
            ("аdmin", "mixes scripts"),
            ("alice\u{202e}", "invisible"),
            ("ali\u{200d}ce", "invisible"),
            ("ali\u{00ad}ce", "invisible"),
            ("alice\u{e0041}", "invisible"),
            ("alice\u{feff}", "invisible"),
            ("system", "reserved"),
            ("Leader", "reserved"),
            ("1eader", "reserved"),
            ("aII", "reserved"),
            ("EVERYONE", "reserved"),
            ("p2pgroup", "reserved"),
            ("bob (verified)", "space"),
            ("bob(verified)", "characters other"),
            ("<bob>", "characters other"),
            ("[bob]", "characters other"),
            ("bob\n", "control"),
            ("bob\u{1b}[2J", "control"),
            ("two words", "space"),
            ("a\u{a0}b", "space"),
            ("-rf", "does not start"),
            (".hidden", "does not start"),
            ("\u{0301}a", "does not start"),
            ("a/b", "characters other"),
            ("a:b", "characters other"),
            ("it's", "characters other"),
            ("bob✓", "characters other"),
            ("😀", "characters other"),
            ("ａｌｉｃｅ", "characters other"),
        ];
        for (name, reason) in table {
            let detail = why(name);
            assert!(detail.contains(reason), "{name:?}: {detail:?} lacks {reason:?}");
            assert!(!detail.chars().any(char::is_control), "{detail:?}");
        }
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("alice", "Alice"),
            ("alice", "ALICE"),
            ("alice", "a1ice"),
            ("alice", "aIice"),
            ("bob", "b0b"),
            ("modern", "rnodern"),
            ("асе", "ace"),
            ("ian", "lan"),
            ("НАТ", "HAT"),
            ("НАТ", "hat"),
            ("Нина", "нина"),
            ("νον", "vov"),
            ("Zoë", "Zoe\u{0308}"),
            ("Straße", "STRASSE"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_cyrillic_letter_in_a_latin_name_gives_the_same_skeleton() {
        // Mixed, so refused by its own rule; the skeleton meets all the same.
        assert_eq!(skeleton_of("аlice"), skeleton_of("alice"));
        assert_eq!(skeleton_of("bоb"), skeleton_of("bob"));
    }

    #[test]
    fn different_names_have_different_skeletons() {
        for (one, other) in [("alice", "alina"), ("bob", "rob"), ("anna", "hanna"), ("zoë", "zoe")]
        {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
