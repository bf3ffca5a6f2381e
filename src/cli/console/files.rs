//! Files in lines for people: what was sent, how far it is, where it lies.
//! Owns: the wording, and how often progress is worth a line.
//! Must not know: how a file is carried.
//! Invariants: names and paths are made harmless.
//! Start reading at: [`Progress::line`].

use std::collections::BTreeMap;

use crate::cli::json::reason;
use crate::ids::FileId;
use crate::protocol::FileView;
use crate::terms::{FileState, FileTerms};
use crate::text::{one_line, size};

/// Digits of an id that are shown: enough to name it.
const DIGITS: usize = 8;
/// Files whose last line is remembered.
const SHOWN_MAX: usize = 256;
/// Progress is told in steps of so many percent.
const STEP: u64 = 25;

/// What was told last of each file.
#[derive(Debug, Default)]
pub(super) struct Progress(BTreeMap<FileId, (FileState, u64)>);

impl Progress {
    /// A line about a file, if there is something new to say.
    pub(super) fn line(&mut self, view: &FileView, is_asked: bool) -> Option<String> {
        let step = percent(view) / STEP;
        let told = (view.state, if view.state == FileState::Fetching { step } else { 0 });
        if self.0.len() >= SHOWN_MAX && !self.0.contains_key(&view.id) {
            self.0.pop_first();
        }
        let before = self.0.insert(view.id, told);
        // That it is offered stands in its message; that it is here is told as soon as it is checked.
        let is_between = view.state == FileState::Fetching && view.have >= view.size;
        let is_news = before != Some(told) && view.state != FileState::Offered && !is_between;
        (is_asked || is_news).then(|| line(view))
    }
}

/// A file in one line.
pub(super) fn line(view: &FileView) -> String {
    let (name, size) = (one_line(&view.name), size(view.size));
    let id: String = digits(&view.id);
    let what = match view.state {
        FileState::Offered => {
            format!("{size}, from {}; /get {id} fetches it", one_line(&view.from))
        }
        FileState::Fetching => format!("{}% of {size}", percent(view)),
        FileState::Paused => format!("paused at {}% of {size}", percent(view)),
        FileState::Complete if view.is_own => format!("{size}, sent from here"),
        FileState::Complete => {
            let path = view.path.as_deref().unwrap_or_default();
            format!("{size}, is here: {}", one_line(path))
        }
        FileState::Failed if view.is_own => format!("{size}, cannot be had from here any more"),
        FileState::Failed => format!("{size}, could not be fetched; /get {id} tries again"),
    };
    let why = view.reason.as_ref().map(|it| format!(" ({})", one_line(&reason(it))));
    let end = view.expires_at.map(|at| format!("; to be had until {at}")).unwrap_or_default();
    format!("{id} {name}: {what}{}{end}", why.unwrap_or_default())
}

/// What a message that brings a file says; one's own is here already.
pub(in crate::cli) fn brought(terms: &FileTerms, name: &str, is_own: bool) -> String {
    match is_own {
        true => format!("[file {}, {}]", one_line(name), size(terms.size)),
        false => {
            format!("[file {}, {}: /get {}]", one_line(name), size(terms.size), digits(&terms.id))
        }
    }
}

fn digits(id: &FileId) -> String {
    id.to_string().chars().take(DIGITS).collect()
}

fn percent(view: &FileView) -> u64 {
    view.have.saturating_mul(100).checked_div(view.size).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::refusal::Refusal;
    use crate::time::Wall;

    fn view(state: FileState, have: u64) -> FileView {
        FileView {
            id: FileId([0xab; 32]),
            room: "main".to_owned(),
            message: MessageId([1; 16]),
            name: "a\u{1b}.txt".to_owned(),
            size: 4 << 20,
            from: "bob".to_owned(),
            is_own: false,
            have,
            state,
            reason: None,
            path: Some("/d/a.txt".to_owned()),
            expires_at: None,
        }
    }

    #[test]
    fn progress_is_told_in_steps_and_the_end_always() {
        let mut progress = Progress::default();
        assert_eq!(progress.line(&view(FileState::Offered, 0), false), None);
        let mut told = Vec::new();
        for mib in 0..4 {
            for half in [0, 1 << 19] {
                told.extend(progress.line(&view(FileState::Fetching, (mib << 20) + half), false));
            }
        }
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[1], "abababab a\\u{1b}.txt: 25% of 4.0 MiB");
        assert_eq!(
            progress.line(&view(FileState::Fetching, 4 << 20), false),
            None,
            "as good as here"
        );
        let done = progress.line(&view(FileState::Complete, 4 << 20), false).unwrap();
        assert_eq!(done, "abababab a\\u{1b}.txt: 4.0 MiB, is here: /d/a.txt");
        assert_eq!(progress.line(&view(FileState::Complete, 4 << 20), false), None);
        assert!(progress.line(&view(FileState::Complete, 4 << 20), true).is_some());
        let paused = FileView {
            reason: Some(Refusal::FilesQuota.into()),
            ..view(FileState::Paused, 1 << 20)
        };
        let changed = FileView {
            is_own: true,
            reason: Some(Refusal::FileChanged.into()),
            ..view(FileState::Failed, 4 << 20)
        };
        let told = line(&changed);
        assert!(told.contains("4.0 MiB, cannot be had from here any more ("), "{told}");
        let line = progress.line(&paused, false).unwrap();
        assert!(line.ends_with("paused at 25% of 4.0 MiB (files may take no more of the disk)"));
        let ends = FileView { expires_at: Some(Wall(0)), ..view(FileState::Complete, 4 << 20) };
        assert!(super::line(&ends).ends_with("/d/a.txt; to be had until 1970-01-01T00:00:00.000Z"));
    }
}
