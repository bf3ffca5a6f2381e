//! Answers for a pipe: lists as lines of columns with tabs between them, all else as plain lines.
//! Owns: which columns a list has, and in which order.
//! Must not know: who answered.
//! Invariants: a column is added at the end only; one that says nothing is `-`; what people wrote is harmless and on one line, so
//! that no text passes for another line or column.
//! Start reading at: [`of`].

use std::io::IsTerminal as _;

use serde_json::Value;

use crate::text::one_line;

/// What stands before an answer on a terminal.
const MARK: &str = "-- ";

/// The columns of one entry.
type Row = fn(&Value) -> Vec<String>;

/// A column that says nothing.
const NOTHING: &str = "-";

/// Whether stdout goes to a program or a file.
pub(super) fn are_wanted() -> bool {
    !std::io::stdout().is_terminal()
}

/// The answer in these events as columns; `None` if there is a list in none of them.
pub(super) fn of<'a>(events: impl IntoIterator<Item = &'a Value>) -> Option<String> {
    let mut out = String::new();
    let mut is_list = false;
    for event in events {
        let data = if event["event"] == "result" { &event["data"] } else { event };
        let list = |field: &str| data[field].as_array();
        let rows: Vec<Vec<String>> = match event["event"].as_str() {
            Some("message") => vec![message(event)],
            // They end what came as messages.
            Some("history" | "search") => Vec::new(),
            Some("members") => list("members")?.iter().map(member).collect(),
            Some("rooms") => list("rooms")?.iter().map(room).collect(),
            Some("files") => list("files")?.iter().map(file).collect(),
            Some("result") => {
                let lists: [(&str, Row); 5] = [
                    ("members", member),
                    ("rooms", room),
                    ("files", file),
                    ("invites", invite),
                    ("messages", message),
                ];
                // A room and a status have members, too, and are no list.
                let fields = data.as_object()?;
                let named =
                    lists.iter().find(|(name, _)| fields.len() == 1 && fields.contains_key(*name));
                let (name, row) = named?;
                list(name)?.iter().map(row).collect()
            }
            _ => return None,
        };
        is_list = true;
        for row in rows {
            out.push_str(&row.join("\t"));
            out.push('\n');
        }
    }
    is_list.then_some(out)
}

/// Lines for a person, of a member that runs, without what marks them as an answer.
pub(super) fn plain(shown: &str) -> String {
    let lines = shown.split_inclusive('\n');
    lines.map(|line| line.strip_prefix(MARK).unwrap_or(line)).collect()
}

/// When, where, who, what; of what is about another message its kind and that one's id.
pub(super) fn message(event: &Value) -> Vec<String> {
    let text = |field: &str| one_line(event[field].as_str().unwrap_or_default());
    let mut row: Vec<String> = ["sent_at", "room", "from", "text"].map(text).into();
    if event["kind"].is_string() {
        row.extend([text("kind"), text("of")]);
    }
    row
}

fn texts(value: &Value, fields: &[&str]) -> Vec<String> {
    let text = |field: &&str| match &value[*field] {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        Value::String(text) => one_line(text),
        other => one_line(&other.to_string()),
    };
    fields.iter().map(text).collect()
}

/// A word, or nothing.
fn flag(value: &Value, field: &str, word: &str) -> String {
    if value[field] == true { word } else { NOTHING }.to_owned()
}

fn member(value: &Value) -> Vec<String> {
    let mut row = texts(value, &["name", "state", "role"]);
    let flags =
        [("self", "you"), ("linked", "linked"), ("voter", "voter"), ("verified", "verified")];
    row.extend(flags.map(|(field, word)| flag(value, field, word)));
    row.extend(texts(value, &["last_seen"]));
    row
}

fn room(value: &Value) -> Vec<String> {
    let mut row = texts(value, &["room", "kind"]);
    row.push(flag(value, "in", "in"));
    row.push(value["members"].as_array().map_or(0, Vec::len).to_string());
    row.extend(texts(value, &["topic"]));
    row
}

fn file(value: &Value) -> Vec<String> {
    texts(value, &["id", "room", "from", "name", "size", "have", "state", "path"])
}

fn invite(value: &Value) -> Vec<String> {
    // As `p2pgroup invite list` has them.
    texts(value, &["id", "state", "uses", "name", "room", "expires_at", "used"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_one_line_each_with_tabs_and_what_people_wrote_breaks_none() {
        let member = json!({
            "name": "bob\u{1b}", "peer_id": "x", "state": "active", "role": "admin",
            "self": false, "voter": true, "linked": true, "verified": false,
        });
        let line = "bob\\u{1b}\tactive\tadmin\t-\tlinked\tvoter\t-\t-\n";
        let direct = json!({ "event": "members", "members": [member] });
        assert_eq!(of([&direct]).as_deref(), Some(line));
        let mut away = member.clone();
        away["last_seen"] = json!("2026-11-21T09:41:07.250Z");
        let away = json!({ "event": "members", "members": [away] });
        assert!(of([&away]).unwrap().ends_with("\t-\t2026-11-21T09:41:07.250Z\n"));
        let slash = json!({ "event": "result", "ok": true, "data": { "members": [member] } });
        assert_eq!(of([&slash]).as_deref(), Some(line));
        let message = |text: &str, kind: Option<&str>| {
            json!({
                "event": "message", "sent_at": "T", "room": "ops", "from": "a\tb", "text": text,
                "kind": kind, "of": kind.map(|_| "3f"), "history": true,
            })
        };
        let end = json!({ "event": "history", "room": "ops", "count": 2 });
        let shown = of([&message("one\ntwo\t3", None), &message("new", Some("edit")), &end]);
        let expected = "T\tops\ta\\u{9}b\tone\\u{a}two\\u{9}3\nT\tops\ta\\u{9}b\tnew\tedit\t3f\n";
        assert_eq!(shown.as_deref(), Some(expected));
        let nothing = json!({ "event": "search", "words": "x", "count": 0 });
        assert_eq!(of([&nothing]).as_deref(), Some(""), "nothing found is no line");
        let rooms = json!({ "event": "rooms", "rooms": [
            { "room": "ops", "kind": "listed", "in": true, "members": [{}, {}], "topic": "t" }
        ] });
        assert_eq!(of([&rooms]).as_deref(), Some("ops\tlisted\tin\t2\tt\n"));
    }

    #[test]
    fn what_is_no_list_stays_as_it_is_without_its_mark() {
        let status = json!({ "event": "result", "data": { "name": "a", "members": [{}] } });
        assert_eq!(of([&status]), None);
        assert_eq!(of([&json!({ "event": "compared" })]), None);
        assert_eq!(of([]), None);
        assert_eq!(
            plain("-- one\n[x] <bob> -- two\n  -- three\n"),
            "one\n[x] <bob> -- two\n  -- three\n"
        );
    }
}
