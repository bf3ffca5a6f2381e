//! Whether all hold the same, as lines.
//! Owns: the words for what is missing.
//! Must not know: how it was compared.
//! Invariants: every member is named that lacks something.
//! Start reading at: [`lines`].

use std::collections::BTreeSet;

use crate::cli::offline::of;
use crate::protocol::{CompareView, SpanView};
use crate::text::one_line;

/// The answer to `/compare`.
pub(super) fn lines(view: &CompareView) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut all, mut not_same) = (BTreeSet::new(), BTreeSet::new());
    for room in &view.rooms {
        for member in &room.with {
            all.insert(&member.name);
            let place = format!("#{} {}", one_line(&room.room), one_line(&member.name));
            let kinds = [
                ("lacks", &member.lacks),
                ("has, and you lack,", &member.ahead),
                ("holds something else in place of", &member.differs),
            ];
            for (what, spans) in kinds {
                for span in spans {
                    not_same.insert(&member.name);
                    lines.push(format!("{place} {what} {}", said(span)));
                }
            }
        }
    }
    let entries = of(view.entries, "entry", "entries");
    let logs = of(u64::try_from(view.logs).unwrap_or(u64::MAX), "log", "logs");
    let same = all.len().saturating_sub(not_same.len());
    lines.push(format!("{entries} in {logs}, no gap, same head on {same} of {}", all.len()));
    if !view.unlinked.is_empty() {
        let names: Vec<String> = view.unlinked.iter().map(|name| one_line(name)).collect();
        lines.push(format!("not connected, so not compared: {}", names.join(", ")));
    }
    lines
}

fn said(span: &SpanView) -> String {
    let from = one_line(&span.from);
    match span.first == span.last {
        true => format!("number {} of {from}", span.first),
        false => format!("numbers {} to {} of {from}", span.first, span.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, Seq};
    use crate::protocol::{ComparedMember, ComparedRoom};

    #[test]
    fn what_is_missing_where_is_said_by_name() {
        let member = |name: &str| ComparedMember { name: name.to_owned(), ..Default::default() };
        let span = |from: &str, first, last| SpanView {
            from: from.to_owned(),
            incarnation: Incarnation(1),
            first: Seq(first),
            last: Seq(last),
        };
        let room = |with| ComparedRoom { room: "main".to_owned(), entries: 1_204, with };
        let view = CompareView {
            entries: 1_204,
            logs: 3,
            rooms: vec![room(vec![member("bob"), member("carol")])],
            unlinked: Vec::new(),
        };
        assert!(view.is_same());
        assert_eq!(lines(&view), ["1,204 entries in 3 logs, no gap, same head on 2 of 2"]);
        let carol = ComparedMember {
            lacks: vec![span("alice", 7, 9)],
            ahead: vec![span("dave", 1, 1)],
            differs: vec![span("eve\u{7}", 3, 3)],
            ..member("carol")
        };
        let unlinked = vec!["frank".to_owned()];
        let view = CompareView { rooms: vec![room(vec![member("bob"), carol])], unlinked, ..view };
        assert!(!view.is_same());
        assert_eq!(
            lines(&view),
            [
                "#main carol lacks numbers 7 to 9 of alice",
                "#main carol has, and you lack, number 1 of dave",
                "#main carol holds something else in place of number 3 of eve\\u{7}",
                "1,204 entries in 3 logs, no gap, same head on 1 of 2",
                "not connected, so not compared: frank",
            ]
        );
    }
}
